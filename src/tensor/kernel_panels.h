/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_panels.h - AVX-512: packed quantised weights, and many vectors for either layout.
 *
 * Included by kernel_avx512.c only.  Few vectors meet weights as these stream by, sixteen rows at a
 * time; for many, blocks of 32 rows become a panel, in a level-1 cache, which tiles of vectors
 * pass. */
#ifndef TENSOR_KERNEL_PANELS_H
#define TENSOR_KERNEL_PANELS_H

#include "tensor/kernel_quants.h"

/* What the blocks of a super-block have in common: computed once, which compilers do not see behind
 * loads whose order they must keep. */
struct common {
    vec d, m; /* m: of q2_K */
    struct sixes sixes;
};

INLINE struct common unpack_common(enum dtype type, const char *unit)
{
    struct common c = {v_zero(), v_zero(), unpack_sixes(type, unit, 0)};

    if (parts(type) > 1)
        c.d = placed(type, unpack_d(type, unit, 0));
    if (type == DTYPE_Q2_K)
        c.m = v_sub(v_zero(), v_f16(unit + 32));
    return c;
}

/* What get_minima gives of block k of a unit. */
INLINE struct two unpack_minima(enum dtype type, const char *unit, const struct common *c,
                                unsigned k)
{
    const char *small = unit + packed_unit(type).scales;

    if (type != DTYPE_Q2_K)
        return (struct two){v_zero(), v_zero()};
    return (struct two){v_mul(c->m, _mm512_cvtepi32_ps(lane_nibbles(small + 32 * k, 4))),
                        v_mul(c->m, _mm512_cvtepi32_ps(lane_nibbles(small + 32 * k + 16, 4)))};
}

/* What get_scales gives of block k of a unit. */
INLINE struct two unpack_scales(enum dtype type, const char *unit, const struct common *c,
                                unsigned k)
{
    struct small_scales s;
    vec d;

    if (type == DTYPE_MXFP4)
        return (struct two){exponents(lane_bytes(unit + 16 * k, false)), v_zero()};
    if (parts(type) == 1) {
        d = placed(type, v_f16(unit + 32 * k));
        return (struct two){d, has_offset(type) ? v_f16(unit + 64 + 32 * k) : v_zero()};
    }
    s = unpack_small_scales(type, unit, 0, &c->sixes, k);
    return (struct two){v_mul(c->d, _mm512_cvtepi32_ps(s.low)),
                        has_halves(type) ? v_mul(c->d, _mm512_cvtepi32_ps(s.high)) : v_zero()};
}

/* What get_block_minima gives of a unit. */
INLINE void unpack_block_minima(const char *unit, const struct common *c, struct block_minima *m)
{
    for (unsigned i = 0; i < 2; i++) {
        m->pair[2 * i] = _mm512_and_si512(c->sixes.four[2 + i], _mm512_set1_epi16(0xff));
        m->pair[2 * i + 1] = _mm512_srli_epi16(c->sixes.four[2 + i], 8);
    }
    m->d = v_sub(v_zero(), v_f16(unit + 32));
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

/* The group at r; behind the end the one before once more, not stored. */
INLINE struct rows packed_rows(const struct quant_job *j, size_t r)
{
    if (r < j->row_end)
        return (struct rows){.out = r, .lanes = lanes_of(j, r)};
    return (struct rows){.out = r - GROUP};
}

/* A line of results.  Past the caches: nothing is read before it is written, and nothing that is
 * needed sooner has to leave; whoever writes so ends by sfence. */
INLINE void put_line(float *out, const struct rows *rows, vec v, const bool past_caches)
{
    out += rows->out;
    if (past_caches && rows->lanes == 0xffff && (uintptr_t)out % 64 == 0)
        _mm512_stream_ps(out, v);
    else
        _mm512_mask_storeu_ps(out, rows->lanes, v);
}

/* Of vector t and the rows at r. */
INLINE vec sums_so_far(const struct quant_job *j, size_t t, size_t r)
{
    return _mm512_maskz_loadu_ps(j->adds ? lanes_of(j, r) : 0, j->out + t * j->out_stride + r);
}

/* Few vectors, sixteen rows from r on of a strip, which begin a group. */
INLINE void stream_packed(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    const struct packed_unit u = packed_unit(type);
    const struct ask ask = ask_for(T, type, j->lines_ahead);
    size_t blocks = j->w->shape[0] / Q_BLOCK;
    const char *unit = tensor_row(j->w, r);
    struct block_minima minima;
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = sums_so_far(j, t, r);
    for (size_t b = 0; b < blocks; b += u.blocks, unit += u.bytes) {
        struct common common;

        begin_unit(&u, unit, ask);
        common = unpack_common(type, unit);
#pragma GCC unroll 8
        for (unsigned k = 0; k < u.blocks; k++) {
            struct two s = unpack_scales(type, unit, &common, k);
            struct two m = unpack_minima(type, unit, &common, k);
            __m512i w[8];

            if (b + k == blocks) /* an odd number of blocks */
                break;
            unpack(type, unit, k, ask, w);
            for (unsigned t = 0; t < T; t++)
                acc[t] = stream_block(type, w, s, m, x_at(j->x + t * j->x_bytes, b + k), acc[t]);
        }
        if (!has_block_minima(type))
            continue;
        unpack_block_minima(unit, &common, &minima);
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
INLINE void panel_fill(enum dtype type, const struct tensor *matrix, const struct rows *rows,
                       unsigned g, size_t b, size_t count, struct panel *p)
{
    (void)matrix;
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
        const struct common common = unpack_common(type, unit);

#pragma GCC unroll 8
        for (unsigned k = 0; k < u.blocks; k++) {
            __m512i v[8];

            unpack(type, unit, k, ASK_NOTHING, v);
            for (unsigned c = 0; c < 8; c++)
                p->w[i + k][c][g] = v[c];
            panel_scales(type, p, i + k, g, unpack_scales(type, unit, &common, k),
                         unpack_minima(type, unit, &common, k));
        }
        if (has_block_minima(type)) {
            unpack_block_minima(unit, &common, &minima);
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
