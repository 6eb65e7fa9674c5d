/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_panels.h - AVX-512: packed quantised weights, and many vectors for either layout.
 *
 * Included by kernel_avx512.c only.  Few vectors meet weights as these stream by, sixteen rows at a
 * time; for many, blocks of 32 rows become a panel, in a level-1 cache, which tiles of vectors
 * pass. */
#ifndef TENSOR_KERNEL_PANELS_H
#define TENSOR_KERNEL_PANELS_H

#include "tensor/kernel_quants.h"

/* Bytes that several vectors fetch ahead, into level 2: arithmetic then leaves the processor no
 * room to look so far by itself.  With one vector it does, within a page (bench/NOTES.md). */
#define AHEAD 16384

/* The processor follows a stream by itself, but stops at the end of each page and has to find it
 * again.  Asks for the beginning of the second page behind the present one, if the next `bytes`
 * leave that (bench/NOTES.md). */
INLINE void fetch_page(const char *at, size_t bytes)
{
    const uintptr_t page = 4096;

    if (((uintptr_t)at ^ ((uintptr_t)at + bytes)) / page)
        __builtin_prefetch((const char *)(((uintptr_t)at / page + 2) * page), 0, 2);
}

/* Intel's processors follow the stream less well than they can be told to: there each line is asked
 * for into level 2 so many bytes before it is loaded, and into level 1 NEAR bytes before, with any
 * number of vectors.  They look ahead by themselves as well, as many instructions as they hold, and
 * the more lines that spans, the more they ask for at once and then wait: so some instructions that
 * do nothing lie between (bench/NOTES.md). */
#define LINES_AHEAD  6144
#define CACHED_AHEAD 8192 /* where weights stay in level 3 */
#define NEAR         3072
#define REST         ".rept 10\n\tnop\n\t.endr"

INLINE size_t lines_ahead(const struct tensor *w)
{
    return w->stays_cached ? CACHED_AHEAD : LINES_AHEAD;
}

/* ahead: what lines_ahead says, or 0 to ask for nothing. */
INLINE void ask_ahead(const char *p, size_t ahead)
{
    if (!ahead)
        return;
    __builtin_prefetch(p + ahead, 0, 2);
    __builtin_prefetch(p + NEAR);
    __asm__ volatile(REST ::: "memory"); /* nor does the compiler gather what asks */
}

INLINE __m512i load64(const char *p, size_t ahead)
{
    ask_ahead(p, ahead);
    return _mm512_loadu_si512(p);
}

/* The same of packed weights, which are aligned, never before what the source loads first: one load
 * ahead of others makes the processor lose the stream (bench/NOTES.md). */
INLINE __m512i next64(const char *p, size_t ahead)
{
    ask_ahead(p, ahead);
    return *(const volatile __m512i *)(const void *)p;
}

INLINE vec sixteen_halves(const char *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

/* A block: w[i] = values 4 i .. 4 i + 3 of sixteen rows, unsigned, at the place in the byte that
 * get_quants gives them.  Lines are asked for so far ahead. */
INLINE void unpack(enum dtype type, const char *block, size_t ahead, __m512i w[8])
{
    const unsigned bits = packed_bits(type);
    const unsigned to = place_bits(type);
    const unsigned planes = bits & 7, fours = planes & 4 ? 4 : 0, twos = planes & 2 ? 2 : 0;
    __m512i four[4], two[2], one;

#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++)
        if (bits == 8)
            w[i] = load64(block + 64 * i, ahead);
    for (unsigned i = 0; i < fours; i++)
        four[i] = planes == 4 ? load64(block + 64 * i, ahead) : next64(block + 64 * i, ahead);
    for (unsigned i = 0; i < twos; i++)
        two[i] = next64(block + 64 * (fours + i), ahead);
    if (planes & 1)
        one = next64(block + 64 * (fours + twos), ahead);
    for (unsigned i = 0; i < fours; i++) {
        w[i] = byte_bits(four[i], 0, 4, to);
        w[i + 4] = byte_bits(four[i], 4, 4, to);
    }
    for (unsigned i = 0; i < 4 * twos; i++) {
        __m512i v = byte_bits(two[i / 4], i % 4 * 2, 2, to + fours);

        w[i] = fours ? _mm512_or_si512(w[i], v) : v;
    }
    for (unsigned i = 0; i < 8 && (planes & 1); i++)
        w[i] = _mm512_or_si512(w[i], byte_bits(one, i, 1, to + bits - 1));
    if (levels_of(type))
        look_up(type, w);
}

INLINE __m512i sixteen_bytes(const char *p, bool is_signed)
{
    __m128i v = _mm_loadu_si128((const void *)p);

    return is_signed ? _mm512_cvtepi8_epi32(v) : _mm512_cvtepu8_epi32(v);
}

INLINE __m512i sixteen_nibbles(const char *p, unsigned at)
{
    return bits(sixteen_bytes(p, false), at, 4, 0);
}

/* What get_minima gives of block k of a unit. */
INLINE struct two unpack_minima(enum dtype type, const char *unit, unsigned k)
{
    const char *small = unit + packed_unit(type).scales;
    vec m;

    if (type != DTYPE_Q2_K)
        return (struct two){v_zero(), v_zero()};
    m = v_sub(v_zero(), sixteen_halves(unit + 32));
    return (struct two){v_mul(m, _mm512_cvtepi32_ps(sixteen_nibbles(small + 32 * k, 4))),
                        v_mul(m, _mm512_cvtepi32_ps(sixteen_nibbles(small + 32 * k + 16, 4)))};
}

/* What get_small_scales gives of block k of a unit. */
INLINE struct small_scales unpack_small_scales(enum dtype type, const char *unit, unsigned k)
{
    const char *small = unit + packed_unit(type).scales;
    __m512i one;

    if (type == DTYPE_Q2_K)
        return (struct small_scales){sixteen_nibbles(small + 32 * k, 0),
                                     sixteen_nibbles(small + 32 * k + 16, 0)};
    if (has_halves(type))
        return (struct small_scales){sixteen_bytes(small + 32 * k, true),
                                     sixteen_bytes(small + 32 * k + 16, true)};
    one = sixteen_bytes(small + 16 * k, type == DTYPE_IQ4_XS);
    return (struct small_scales){one, one};
}

/* What get_scales gives of block k of a unit. */
INLINE struct two unpack_scales(enum dtype type, const char *unit, unsigned k)
{
    struct small_scales s;
    vec d;

    if (type == DTYPE_MXFP4)
        return (struct two){exponents(sixteen_bytes(unit + 16 * k, false)), v_zero()};
    if (parts(type) == 1) {
        d = placed(type, sixteen_halves(unit + 32 * k));
        return (struct two){d, has_offset(type) ? sixteen_halves(unit + 64 + 32 * k) : v_zero()};
    }
    d = placed(type, sixteen_halves(unit));
    s = unpack_small_scales(type, unit, k);
    return (struct two){v_mul(d, _mm512_cvtepi32_ps(s.low)),
                        has_halves(type) ? v_mul(d, _mm512_cvtepi32_ps(s.high)) : v_zero()};
}

/* What get_block_minima gives of a unit. */
INLINE void unpack_block_minima(enum dtype type, const char *unit, struct block_minima *m)
{
    const char *small = unit + packed_unit(type).scales + 128;

    for (unsigned i = 0; i < 4; i++, small += 32)
        m->pair[i] = two_words(_mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)small)),
                               _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)(small + 16))));
    m->d = v_sub(v_zero(), sixteen_halves(unit + 32));
}

/* A block's weights: bytes as unpack leaves them, less what zero is there, times d, plus another
 * number; each half of it has its own. */
struct affine {
    vec d[2], plus[2];
};

/* Of a block with scales and minima as get_scales and get_minima say them, and minima of the
 * super-block, in which it is number k. */
INLINE struct affine affine_of(enum dtype type, struct two s, struct two m,
                               const struct block_minima *minima, unsigned k)
{
    struct affine a = {{s.d, has_halves(type) ? s.second : s.d}, {v_zero(), v_zero()}};

    if (has_block_minima(type)) {
        __m512i pair = minima->pair[k / 2];

        pair =
            k % 2 ? _mm512_srli_epi32(pair, 16) : _mm512_and_si512(pair, _mm512_set1_epi32(0xffff));
        a.plus[0] = a.plus[1] = v_mul(minima->d, _mm512_cvtepi32_ps(pair));
    } else if (has_offset(type)) {
        a.plus[0] = has_halves(type) ? m.d : s.second;
        a.plus[1] = has_halves(type) ? m.second : s.second;
    }
    return a;
}

/* The lanes of the group at r that are asked for. */
INLINE __mmask16 lanes_of(const struct quant_job *j, size_t r)
{
    __mmask16 lanes = first(j->row_end - r);

    return j->row_begin > r ? (__mmask16)(lanes & ~first(j->row_begin - r)) : lanes;
}

/* Few vectors, sixteen rows from r on, which begin a group. */
INLINE void stream_packed(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    const struct packed_unit u = packed_unit(type);
    size_t blocks = j->w->shape[0] / Q_BLOCK;
    const char *unit = tensor_row(j->w, r);
    struct block_minima minima;
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = v_zero();
    for (size_t b = 0; b < blocks; b += u.blocks, unit += u.bytes) {
        if (j->lines_ahead) {
            fetch_level2(unit + j->lines_ahead, u.first);
            fetch(unit + NEAR, u.first);
        } else if (T > 1)
            fetch_level2(unit + AHEAD, u.bytes);
        else
            fetch_page(unit, u.bytes);
#pragma GCC unroll 8
        for (unsigned k = 0; k < u.blocks; k++) {
            struct two s = unpack_scales(type, unit, k), m = unpack_minima(type, unit, k);
            __m512i w[8];

            if (b + k == blocks) /* an odd number of blocks */
                break;
            unpack(type, unit + u.first + k * u.block, j->lines_ahead, w);
            for (unsigned t = 0; t < T; t++)
                acc[t] = stream_block(type, w, s, m, x_at(j->x + t * j->x_bytes, b + k), acc[t]);
        }
        if (!has_block_minima(type))
            continue;
        unpack_block_minima(type, unit, &minima);
        for (unsigned t = 0; t < T; t++)
            acc[t] = add_block_minima(&minima, x_at(j->x + t * j->x_bytes, b), acc[t]);
    }
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(j->out + t * j->out_stride + r, lanes_of(j, r), acc[t]);
}

/* Blocks of 2 groups of rows, transposed.  Scales are there times each factor of a step; what a
 * type does not have is not touched. */
struct panel {
    __m512i w[PANEL][8][2];
    vec d[PANEL][STEP_FACTORS][2];
    vec high_d[PANEL][STEP_FACTORS][2]; /* of the upper halves of blocks */
    vec offset[PANEL][2];
    struct two minima[PANEL][2];
    struct {
        __m512i pair[4][2];
        vec d[2];
    } block_minima[PANEL / 8];
};

INLINE void panel_scales(enum dtype type, struct panel *p, size_t b, unsigned g, struct two s,
                         struct two m)
{
    for (unsigned i = 0; i < STEP_FACTORS; i++) {
        p->d[b][i][g] = v_mul(s.d, v_set1(step_factors[i]));
        if (has_halves(type))
            p->high_d[b][i][g] = v_mul(s.second, v_set1(step_factors[i]));
    }
    if (has_halves(type) && has_offset(type))
        p->minima[b][g] = m;
    else if (has_offset(type) && !has_block_minima(type))
        p->offset[b][g] = s.second;
}

INLINE void panel_block_minima(struct panel *p, size_t b, unsigned g, const struct block_minima *m)
{
    for (unsigned i = 0; i < 4; i++)
        p->block_minima[b / 8].pair[i][g] = m->pair[i];
    p->block_minima[b / 8].d[g] = m->d;
}

/* `count` blocks from b on; both are multiples of a super-block's. */
INLINE void panel_fill(enum dtype type, const struct rows16 *rows, unsigned g, size_t b,
                       size_t count, struct panel *p)
{
    for (size_t i = 0; i < count; i += parts(type)) {
        size_t offset = (b + i) / parts(type) * block_bytes(type);
        struct block_minima minima;
        struct head h;

        get_head(type, rows, offset, &h);
#pragma GCC unroll 4
        for (unsigned part = 0; part < parts(type); part += together(type)) {
            __m512i w[TOGETHER_MAX][8];

            get_quants(type, rows, offset, part, &h, w);
#pragma GCC unroll 4
            for (unsigned k = 0; k < together(type); k++) {
                for (unsigned v = 0; v < 8; v++)
                    p->w[i + part + k][v][g] = w[k][v];
                panel_scales(type, p, i + part + k, g, get_scales(type, &h, part + k),
                             get_minima(type, &h, part + k));
            }
        }
        if (has_block_minima(type)) {
            get_block_minima(&h, &minima);
            panel_block_minima(p, i, g, &minima);
        }
    }
}

/* The same from packed weights, of the group at r; a unit at a time. */
INLINE void panel_unpack(enum dtype type, const struct tensor *w, size_t r, unsigned g, size_t b,
                         size_t count, struct panel *p)
{
    const struct packed_unit u = packed_unit(type);
    const char *unit = (const char *)tensor_row(w, r) + b / u.blocks * u.bytes;
    struct block_minima minima;

    for (size_t i = 0; i < count; i += u.blocks, unit += u.bytes) {
#pragma GCC unroll 8
        for (unsigned k = 0; k < u.blocks; k++) {
            __m512i v[8];

            unpack(type, unit + u.first + k * u.block, 0, v);
            for (unsigned c = 0; c < 8; c++)
                p->w[i + k][c][g] = v[c];
            panel_scales(type, p, i + k, g, unpack_scales(type, unit, k),
                         unpack_minima(type, unit, k));
        }
        if (has_block_minima(type)) {
            unpack_block_minima(type, unit, &minima);
            panel_block_minima(p, i, g, &minima);
        }
    }
}

/* The scales times the factor of x. */
INLINE vec factored(const vec (*scales)[2], const struct x_biased *x, unsigned g)
{
    return _mm512_load_ps((const char *)&scales[0][g] + x->factor_at);
}

/* sum += the groups [from, to) of a block, for T vectors and both groups of rows. */
INLINE void panel_dots(const unsigned T, const __m512i (*w)[2], const char *x, size_t x_bytes,
                       unsigned from, unsigned to, __m512i sum[2][Q_TILE_T])
{
    for (unsigned i = from; i < to; i++) {
        __m512i w0 = w[i][0], w1 = w[i][1];

        for (unsigned t = 0; t < T; t++) {
            __m512i xt = four_values(x_at(x + t * x_bytes, 0), i);

            sum[0][t] = _mm512_dpbusd_epi32(sum[0][t], w0, xt);
            sum[1][t] = _mm512_dpbusd_epi32(sum[1][t], w1, xt);
        }
    }
}

/* acc += block b of the panel times x, which begins with that block. */
INLINE void panel_block(const unsigned T, enum dtype type, const struct panel *p, size_t b,
                        const char *x, size_t x_bytes, vec acc[2][Q_TILE_T])
{
    __m512i sum[2][Q_TILE_T];

    for (unsigned t = 0; t < T; t++) {
        const struct x_biased *xb = x_at(x + t * x_bytes, 0);

        sum[0][t] = sum[1][t] = start_from(type, xb, &xb->start);
    }
    panel_dots(T, p->w[b], x, x_bytes, 0, 8, sum);
    for (unsigned t = 0; t < T; t++) {
        const struct x_biased *xb = x_at(x + t * x_bytes, 0);

        for (unsigned g = 0; g < 2; g++)
            acc[g][t] = add_block(type, factored(p->d[b], xb, g), p->offset[b][g], xb, sum[g][t],
                                  acc[g][t]);
    }
}

/* acc += the minima of the super-block that ends with block b, and with block `last` of x. */
INLINE void panel_sums(const unsigned T, const struct panel *p, size_t b, const char *last,
                       size_t x_bytes, vec acc[2][Q_TILE_T])
{
    const char *x = last - 7 * sizeof(struct x_biased);
    __m512i sum[2][Q_TILE_T];

    for (unsigned t = 0; t < T; t++)
        sum[0][t] = sum[1][t] = _mm512_castps_si512(v_set1(sums_bias(x_at(x + t * x_bytes, 0))));
    for (unsigned i = 0; i < 4; i++) {
        __m512i m0 = p->block_minima[b / 8].pair[i][0], m1 = p->block_minima[b / 8].pair[i][1];

        for (unsigned t = 0; t < T; t++) {
            __m512i two = _mm512_set1_epi32(sums_at(x_at(x + t * x_bytes, 0), i));

            sum[0][t] = _mm512_dpwssd_epi32(sum[0][t], m0, two);
            sum[1][t] = _mm512_dpwssd_epi32(sum[1][t], m1, two);
        }
    }
    for (unsigned t = 0; t < T; t++) {
        vec bias = v_set1(sums_bias(x_at(x + t * x_bytes, 0)));

        for (unsigned g = 0; g < 2; g++)
            acc[g][t] = v_fma(v_sub(_mm512_castsi512_ps(sum[g][t]), bias),
                              p->block_minima[b / 8].d[g], acc[g][t]);
    }
}

/* Half a block, which has scales d of its own. */
INLINE void panel_half(const unsigned T, enum dtype type, const struct panel *p, size_t b,
                       const vec (*d)[2], const unsigned from, const char *x, size_t x_bytes,
                       vec acc[2][Q_TILE_T])
{
    __m512i sum[2][Q_TILE_T];

    for (unsigned t = 0; t < T; t++) {
        const struct x_biased *xb = x_at(x + t * x_bytes, 0);

        sum[0][t] = sum[1][t] = start_from(type, xb, from ? &xb->start_high : &xb->start_low);
    }
    panel_dots(T, p->w[b], x, x_bytes, from, from + 4, sum);
    for (unsigned t = 0; t < T; t++) {
        const struct x_biased *xb = x_at(x + t * x_bytes, 0);

        for (unsigned g = 0; g < 2; g++)
            acc[g][t] = v_fma(unbiased(sum[g][t], xb), factored(d, xb, g), acc[g][t]);
    }
}

INLINE void panel_halves(const unsigned T, enum dtype type, const struct panel *p, size_t b,
                         const char *x, size_t x_bytes, vec acc[2][Q_TILE_T])
{
    panel_half(T, type, p, b, p->d[b], 0, x, x_bytes, acc);
    panel_half(T, type, p, b, p->high_d[b], 4, x, x_bytes, acc);
    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < 2; g++)
            acc[g][t] = add_minima(type, p->minima[b][g], x_at(x + t * x_bytes, 0), acc[g][t]);
}

/* Sums of two groups of rows for as many vectors as meet a panel.  They rest here from panel to
 * panel, since results lie a row of them apart: where that is a power of two they would push each
 * other out of the caches. */
#define SUMS_MAX 528 /* of whole tiles, which are of 6 or of 16 */

typedef vec sums2[2];

/* Vectors of a tile, and how far on the next tile is, which is fetched. */
struct panel_x {
    const char *x;
    size_t x_bytes, ahead;
};

/* The sums of a tile so far; those of the next one are asked for. */
INLINE void take_sums(const unsigned T, const sums2 *sums, size_t ahead, bool is_first,
                      vec acc[2][Q_TILE_T])
{
    for (unsigned t = 0; t < T; t++) {
        for (unsigned g = 0; g < 2; g++) {
            acc[g][t] = is_first ? v_zero() : sums[t][g];
            _mm_prefetch((const char *)&sums[t + ahead][g], _MM_HINT_T0);
        }
    }
}

INLINE void leave_sums(const unsigned T, sums2 *sums, vec acc[2][Q_TILE_T])
{
    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < 2; g++)
            sums[t][g] = acc[g][t];
}

/* sums (+)= panel * x for T vectors. */
INLINE void panel_tile(const unsigned T, enum dtype type, const struct panel *p, size_t count,
                       const struct panel_x *v, sums2 *sums, bool is_first)
{
    vec acc[2][Q_TILE_T];

    take_sums(T, sums, v->ahead, is_first, acc);
    for (size_t b = 0; b < count; b++) {
        const char *x = v->x + b * sizeof(struct x_biased);

        for (unsigned t = 0; t < T; t++)
            _mm_prefetch(x + (v->ahead + t) * v->x_bytes, _MM_HINT_T0);
        if (has_halves(type))
            panel_halves(T, type, p, b, x, v->x_bytes, acc);
        else
            panel_block(T, type, p, b, x, v->x_bytes, acc);
        if (has_block_minima(type) && b % 8 == 7)
            panel_sums(T, p, b, x, v->x_bytes, acc);
    }
    leave_sums(T, sums, acc);
}

#endif
