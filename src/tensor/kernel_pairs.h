/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_pairs.h - AVX-512: weights of two bytes, two values of sixteen rows in a register.
 *
 * Included by kernel_avx512.c only, behind its quantised weights: a lane is a row here too.
 *
 * Of f16, and of bf16 where the processor multiplies it no faster than f32, weights and activations
 * become integers of 16 bits (fixed.h).  The 32 products of a block are added exactly, in whatever
 * order; an element is then the sum over blocks, in order, of that integer times both steps, one
 * fused multiply-add each.
 *
 * Else bf16 meets bf16 in vdpbf16ps.  An element is a sum over pieces of PAIR_PANEL blocks in
 * order; in a piece the even pairs of values are added in order, and so are the odd ones, and then
 * both. Subnormal numbers count as zero, and so do weights that packed.h has no room for. */
#ifndef TENSOR_KERNEL_PAIRS_H
#define TENSOR_KERNEL_PAIRS_H

#include "tensor/fixed.h"

#define PAIRS      (Q_BLOCK / 2) /* in a block */
#define PAIR_PANEL 16            /* blocks that many vectors meet at a time */
#define PAIR_TILE  6             /* 2 groups x 6 vectors, twice: 24 registers */

/* Blocks of two groups of rows, [block][pair] each: as they lie, where those are integers. */
struct pair_panel {
    const __m512i *w[2];
    vec step[PAIR_PANEL][2]; /* of fixed.h */
    __m512i unpacked[2][PAIR_PANEL * PAIRS];
};

/* A block of activations as integers. */
struct x_fixed {
    int16_t q[Q_BLOCK];
    float step;
};

INLINE size_t blocks_of(size_t inner)
{
    return (inner + Q_BLOCK - 1) / Q_BLOCK;
}

/* ---- weights ---- */

/* Bytes [64 block, 64 block + 64) of sixteen rows: w[i] = the pairs i.  Behind the end of a row
 * there are zeros. */
INLINE void get_pairs(const struct rows16 *rows, size_t inner, size_t block, __m512i w[PAIRS])
{
    uint16_t end[GROUP][Q_BLOCK];
    struct rows16 last = {.stride = sizeof(end[0])};
    size_t at = block * Q_BLOCK;

    if (at + Q_BLOCK > inner) {
        memset(end, 0, sizeof(end));
        for (unsigned i = 0; i < GROUP; i++)
            memcpy(end[i], row_at(rows, i, 2 * at), 2 * (inner - at));
        for (unsigned i = 0; i < 4; i++)
            last.quarter[i] = (const char *)end[4 * i];
        rows = &last;
        at = 0;
    }
    for (unsigned i = 0; i < 4; i++)
        transpose16(rows, 2 * at + 16 * i, w + 4 * i);
}

/* The largest exponent in each lane, as f32 has it: 255 where there is NaN or infinity. */
INLINE __m512i largest_exponent(enum dtype type, const __m512i w[PAIRS])
{
    const __m512i magnitude = _mm512_set1_epi16(0x7fff);
    __m512i most = _mm512_setzero_si512();

    for (unsigned i = 0; i < PAIRS; i++)
        most = _mm512_max_epu16(most, _mm512_and_si512(w[i], magnitude));
    most = _mm512_max_epu16(most, _mm512_srli_epi32(most, 16));
    if (type == DTYPE_BF16)
        return _mm512_srli_epi32(_mm512_slli_epi32(most, 16), 23);
    return _mm512_srli_epi32(_mm512_castps_si512(low_halves(most)), 23);
}

/* A number below 2^16 in each lane, in both of its words. */
INLINE __m512i in_both_words(__m512i v)
{
    return _mm512_or_si512(v, _mm512_slli_epi32(v, 16));
}

/* The steps of integers in blocks with this largest exponent, as f32 has it; NaN where it is that
 * of NaN and infinity. */
INLINE vec fixed_steps(__m512i exponent)
{
    const __m512i least = _mm512_set1_epi32(FIXED_LEAST + 127), nan = _mm512_set1_epi32(0x7fc00000);
    __m512i e = _mm512_max_epi32(_mm512_sub_epi32(exponent, _mm512_set1_epi32(FIXED_BITS)), least);
    __mmask16 is_nan = _mm512_cmpeq_epi32_mask(exponent, _mm512_set1_epi32(255));

    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(_mm512_slli_epi32(e, 23), is_nan, nan));
}

/* Makes integers of a block of f16; returns their steps. */
INLINE vec fix_f16(__m512i w[PAIRS])
{
    vec step = fixed_steps(largest_exponent(DTYPE_F16, w));
    vec inverse = v_div(v_set1(1), step); /* a power of two: exact */

    for (unsigned i = 0; i < PAIRS; i++) {
        __m512i even = _mm512_cvtps_epi32(v_mul(low_halves(w[i]), inverse));
        __m512i odd = _mm512_cvtps_epi32(v_mul(high_halves(w[i]), inverse));

        w[i] = _mm512_mask_blend_epi16(0xaaaaaaaa, even, _mm512_slli_epi32(odd, 16));
    }
    return step;
}

/* 2^14 in both words of a lane, or 0 where all numbers are below the least step. */
INLINE __m512i fixed_ones(__m512i largest)
{
    const __m512i least = _mm512_set1_epi32(FIXED_LEAST + 127 + FIXED_BITS);

    return _mm512_maskz_mov_epi32(_mm512_cmpge_epi32_mask(largest, least),
                                  _mm512_set1_epi16(1 << 14));
}

/* Integers of signs (bit 15) and mantissas (bits 0 to 6) of words; `below`: how far their exponents
 * are below the largest.  Halves are rounded away from zero. */
INLINE __m512i fixed_words(__m512i words, __m512i below, __m512i ones)
{
    const __m512i mantissa = _mm512_set1_epi16(0x7f << 6), hidden = _mm512_set1_epi16(0x80 << 6);
    const int both_or_third = 0xea;
    __m512i q =
        _mm512_ternarylogic_epi32(_mm512_slli_epi16(words, 6), mantissa, hidden, both_or_third);

    q = _mm512_mulhrs_epi16(q, _mm512_srlv_epi16(ones, below));
    return _mm512_mask_sub_epi16(q, _mm512_movepi16_mask(words), _mm512_setzero_si512(), q);
}

/* Makes integers of a block of bf16; returns their steps. */
INLINE vec fix_bf16(__m512i w[PAIRS])
{
    __m512i largest = largest_exponent(DTYPE_BF16, w), both = in_both_words(largest);
    __m512i ones = fixed_ones(largest);

    for (unsigned i = 0; i < PAIRS; i++) {
        __m512i e = _mm512_and_si512(_mm512_srli_epi16(w[i], 7), _mm512_set1_epi16(0xff));

        w[i] = fixed_words(w[i], _mm512_sub_epi16(both, e), ones);
    }
    return fixed_steps(largest);
}

/* Of bf16: what is below 2^-PACKED_SPAN of the largest in its lane becomes zero. */
INLINE void drop_small(__m512i w[PAIRS])
{
    const __m512i span = _mm512_set1_epi32(PACKED_SPAN), magnitude = _mm512_set1_epi16(0x7fff);
    __m512i least = _mm512_sub_epi32(largest_exponent(DTYPE_BF16, w), span);

    least = _mm512_max_epi32(least, _mm512_set1_epi32(1));
    least = in_both_words(_mm512_slli_epi32(least, 7));
    for (unsigned i = 0; i < PAIRS; i++)
        w[i] = _mm512_maskz_mov_epi16(
            _mm512_cmpge_epu16_mask(_mm512_and_si512(w[i], magnitude), least), w[i]);
}

/* ---- packed weights ---- */

/* Block b of the sixteen packed rows at r. */
INLINE const char *pairs_at(enum dtype type, const struct tensor *w, size_t r, size_t b)
{
    return (const char *)tensor_row(w, r) + packed_front(type, w->shape[0]) +
           packed_unit(type).bytes * b;
}

/* The byte that each of its rows has in front. */
INLINE __m512i packed_bytes(const struct tensor *w, size_t r, size_t b)
{
    const char *front = (const char *)tensor_row(w, r) + PACKED_GROUP * b;

    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)front));
}

/* The halves i of bytes that say how far exponents are below the largest. */
INLINE __m512i exponents_below(__m512i halves, unsigned i)
{
    return byte_bits(halves, 4 * i, 4, 0);
}

/* Bytes of words exchanged. */
INLINE __m512i swapped(__m512i words)
{
    return _mm512_shuffle_epi8(words,
                               _mm512_set4_epi32(0x0e0f0c0d, 0x0a0b0809, 0x06070405, 0x02030001));
}

/* Makes floats of signs and mantissas and of exponents: two pairs of words (packed.h). */
INLINE void join_bf16(__m512i words, __m512i exponent, __m512i w[2])
{
    const __m512i place = _mm512_set1_epi16(0x7f80);
    const int third_asks = 0xe4;

    w[0] = _mm512_ternarylogic_epi32(_mm512_slli_epi16(exponent, 7), words, place, third_asks);
    w[1] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(exponent, 1), swapped(words), place,
                                     third_asks);
}

/* largest: a byte in each lane. */
INLINE void unpack_bf16(const char *block, __m512i largest, __m512i w[PAIRS])
{
    const __m512i four_times = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    const __m512i zero = _mm512_set1_epi8(PACKED_ZERO);

    largest = _mm512_shuffle_epi8(largest, four_times);
    for (unsigned i = 0; i < PAIRS / 4; i++, block += 3 * 64, w += 4) {
        __m512i halves = next64(block);

        for (unsigned high = 0; high < 2; high++) {
            __m512i words = next64(block + 64 + 64 * high), e = exponents_below(halves, high);

            e = _mm512_maskz_sub_epi8(_mm512_cmpneq_epi8_mask(e, zero), largest, e);
            join_bf16(words, e, w + 2 * high);
        }
    }
}

/* The same as integers; returns their steps. */
INLINE vec unpack_fixed_bf16(const char *block, __m512i largest, __m512i w[PAIRS])
{
    __m512i ones = fixed_ones(largest);

    for (unsigned i = 0; i < PAIRS / 4; i++, block += 3 * 64, w += 4) {
        __m512i halves = next64(block);

        for (unsigned high = 0; high < 2; high++) {
            __m512i words = next64(block + 64 + 64 * high), below = exponents_below(halves, high);
            __m512i first = _mm512_and_si512(below, _mm512_set1_epi16(0xff));

            w[2 * high] = fixed_words(words, first, ones);
            w[2 * high + 1] = fixed_words(swapped(words), _mm512_srli_epi16(below, 8), ones);
        }
    }
    return fixed_steps(largest);
}

/* Sixteen rows times few vectors. */
struct pair_stream {
    const struct quant_job *j;
    struct rows16 rows;
    const char *next; /* plain: the sixteen rows behind them */
};

/* A block as kernels multiply it, from either layout; returns the steps of integers. */
INLINE vec take_plain(enum dtype type, const bool is_fixed, const struct tensor *w,
                      const struct rows16 *rows, size_t block, __m512i pairs[PAIRS])
{
    get_pairs(rows, w->shape[0], block, pairs);
    if (is_fixed)
        return type == DTYPE_F16 ? fix_f16(pairs) : fix_bf16(pairs);
    drop_small(pairs);
    return v_zero();
}

INLINE vec take_packed(enum dtype type, const bool is_fixed, const struct tensor *w,
                       const struct rows16 *rows, size_t block, __m512i pairs[PAIRS])
{
    const char *at = pairs_at(type, w, rows->out, block);
    __m512i front = packed_bytes(w, rows->out, block);

    if (type == DTYPE_BF16 && is_fixed)
        return unpack_fixed_bf16(at, front, pairs);
    if (type == DTYPE_BF16) {
        unpack_bf16(at, front, pairs);
        return v_zero();
    }
    for (unsigned i = 0; i < PAIRS; i++)
        pairs[i] = load64(at + 64 * i);
    return exponents(front);
}

INLINE vec take_block(enum dtype type, const bool is_fixed, const bool is_packed,
                      const struct tensor *w, const struct rows16 *rows, size_t block,
                      __m512i pairs[PAIRS])
{
    return is_packed ? take_packed(type, is_fixed, w, rows, block, pairs)
                     : take_plain(type, is_fixed, w, rows, block, pairs);
}

/* Fills `count` blocks from b on of group g of a panel. */
INLINE void pair_panel_fill(enum dtype type, const bool is_fixed, const struct tensor *w,
                            const struct rows16 *rows, unsigned g, size_t b, size_t count,
                            struct pair_panel *p)
{
    if (w->is_packed && type == DTYPE_F16) {
        p->w[g] = (const void *)pairs_at(type, w, rows->out, b);
        for (size_t i = 0; i < count; i++)
            p->step[i][g] = exponents(packed_bytes(w, rows->out, b + i));
        return;
    }
    p->w[g] = p->unpacked[g];
    for (size_t i = 0; i < count; i++) {
        __m512i *to = p->unpacked[g] + i * PAIRS;

        p->step[i][g] = w->is_packed ? take_packed(type, is_fixed, w, rows, b + i, to)
                                     : take_plain(type, is_fixed, w, rows, b + i, to);
    }
}

/* Few vectors: brings near what comes behind block b of sixteen rows. */
INLINE void fetch_behind(const unsigned T, enum dtype type, const bool is_packed,
                         const struct pair_stream *s, size_t b)
{
    if (!is_packed)
        fetch(s->next + b * 64 * PAIRS, 64 * PAIRS);
    else if (T > 1)
        fetch_level2(pairs_at(type, s->j->w, s->rows.out, b) + AHEAD, packed_unit(type).bytes);
    else
        fetch_page(pairs_at(type, s->j->w, s->rows.out, b), packed_unit(type).bytes);
}

/* ---- products of integers ---- */

INLINE const struct x_fixed *fixed_at(const char *x, size_t b)
{
    return (const struct x_fixed *)(const void *)x + b;
}

/* Two values at p, in all lanes. */
INLINE __m512i two_values(const void *p)
{
    int32_t v;

    memcpy(&v, p, sizeof(v));
    return _mm512_set1_epi32(v);
}

/* acc += a block's sums times both steps. */
INLINE vec add_fixed(__m512i sum, vec step, const struct x_fixed *x, vec acc)
{
    return v_fma(_mm512_cvtepi32_ps(sum), v_mul(step, v_set1(x->step)), acc);
}

/* sums (+)= panel * x for T vectors; those of the next tile are fetched. */
INLINE void fixed_tile(const unsigned T, const struct pair_panel *p, size_t count,
                       const struct panel_x *v, sums2 *sums, bool is_first)
{
    vec acc[2][PAIR_TILE];

#pragma GCC unroll 6
    for (unsigned t = 0; t < T; t++)
#pragma GCC unroll 2
        for (unsigned g = 0; g < 2; g++)
            acc[g][t] = is_first ? v_zero() : sums[t][g];
    for (size_t b = 0; b < count; b++) {
        const char *x = v->x + b * sizeof(struct x_fixed);
        __m512i sum[2][PAIR_TILE];

#pragma GCC unroll 6
        for (unsigned t = 0; t < T; t++) {
            _mm_prefetch(x + (v->ahead + t) * v->x_bytes, _MM_HINT_T0);
            sum[0][t] = sum[1][t] = _mm512_setzero_si512();
        }
        for (unsigned i = 0; i < PAIRS; i++) {
            __m512i w0 = p->w[0][b * PAIRS + i], w1 = p->w[1][b * PAIRS + i];

            for (unsigned t = 0; t < T; t++) {
                __m512i xt = two_values(fixed_at(x + t * v->x_bytes, 0)->q + 2 * i);

                sum[0][t] = _mm512_dpwssd_epi32(sum[0][t], w0, xt);
                sum[1][t] = _mm512_dpwssd_epi32(sum[1][t], w1, xt);
            }
        }
        for (unsigned t = 0; t < T; t++)
            for (unsigned g = 0; g < 2; g++)
                acc[g][t] =
                    add_fixed(sum[g][t], p->step[b][g], fixed_at(x + t * v->x_bytes, 0), acc[g][t]);
    }
#pragma GCC unroll 6
    for (unsigned t = 0; t < T; t++)
#pragma GCC unroll 2
        for (unsigned g = 0; g < 2; g++)
            sums[t][g] = acc[g][t];
}

INLINE void put_stream(const unsigned T, const struct pair_stream *s, const vec acc[STREAM_T])
{
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(s->j->out + t * s->j->out_stride + s->rows.out, s->rows.lanes,
                              acc[t]);
}

INLINE void fixed_stream(const unsigned T, enum dtype type, const bool is_packed,
                         const struct pair_stream *s)
{
    size_t blocks = blocks_of(s->j->w->shape[0]);
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = v_zero();
    for (size_t b = 0; b < blocks; b++) {
        __m512i w[PAIRS];
        vec step;

        fetch_behind(T, type, is_packed, s, b);
        step = take_block(type, true, is_packed, s->j->w, &s->rows, b, w);
        for (unsigned t = 0; t < T; t++) {
            const struct x_fixed *x = fixed_at(s->j->x + t * s->j->x_bytes, b);
            __m512i sum[4];

            for (unsigned i = 0; i < 4; i++)
                sum[i] = _mm512_setzero_si512();
            for (unsigned i = 0; i < PAIRS; i++)
                sum[i % 4] = _mm512_dpwssd_epi32(sum[i % 4], w[i], two_values(x->q + 2 * i));
            sum[0] = _mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]),
                                      _mm512_add_epi32(sum[2], sum[3]));
            acc[t] = add_fixed(sum[0], step, x, acc[t]);
        }
    }
    put_stream(T, s, acc);
}

/* ---- products of bf16 ---- */

#define BF16 static inline __attribute__((always_inline, target("avx512bf16")))

BF16 vec bf16_dot(vec sum, __m512i w, const char *x, unsigned pair)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)two_values(x + 4 * pair));
}

/* As fixed_tile. */
BF16 void bf16_tile(const unsigned T, const struct pair_panel *p, size_t count,
                    const struct panel_x *v, sums2 *sums, bool is_first)
{
    vec even[2][PAIR_TILE], odd[2][PAIR_TILE];

#pragma GCC unroll 6 /* or gcc clears them in memory */
    for (unsigned t = 0; t < T; t++)
        even[0][t] = even[1][t] = odd[0][t] = odd[1][t] = v_zero();
    for (size_t b = 0; b < count; b++) {
        const char *x = v->x + b * 2 * Q_BLOCK;

        for (unsigned t = 0; t < T; t++)
            _mm_prefetch(x + (v->ahead + t) * v->x_bytes, _MM_HINT_T0);
        for (unsigned i = 0; i < PAIRS; i += 2) {
            for (unsigned t = 0; t < T; t++) {
                for (unsigned g = 0; g < 2; g++) {
                    const char *xt = x + t * v->x_bytes;

                    const __m512i *w = p->w[g] + b * PAIRS + i;

                    even[g][t] = bf16_dot(even[g][t], w[0], xt, i);
                    odd[g][t] = bf16_dot(odd[g][t], w[1], xt, i + 1);
                }
            }
        }
    }
#pragma GCC unroll 6
    for (unsigned t = 0; t < T; t++) {
#pragma GCC unroll 2
        for (unsigned g = 0; g < 2; g++) {
            vec sum = v_add(even[g][t], odd[g][t]);

            sums[t][g] = is_first ? sum : v_add(sums[t][g], sum);
        }
    }
}

/* As fixed_stream. */
BF16 void bf16_stream(const unsigned T, enum dtype type, const bool is_packed,
                      const struct pair_stream *s)
{
    size_t blocks = blocks_of(s->j->w->shape[0]);
    vec even[STREAM_T], odd[STREAM_T], acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = even[t] = odd[t] = v_zero();
    for (size_t b = 0; b < blocks; b++) {
        __m512i w[PAIRS];

        fetch_behind(T, type, is_packed, s, b);
        take_block(type, false, is_packed, s->j->w, &s->rows, b, w);
        for (unsigned t = 0; t < T; t++) {
            const char *x = s->j->x + t * s->j->x_bytes + b * 2 * Q_BLOCK;

            for (unsigned i = 0; i < PAIRS; i += 2) {
                even[t] = bf16_dot(even[t], w[i], x, i);
                odd[t] = bf16_dot(odd[t], w[i + 1], x, i + 1);
            }
        }
        if (b % PAIR_PANEL != PAIR_PANEL - 1 && b + 1 < blocks)
            continue;
        for (unsigned t = 0; t < T; t++) {
            vec sum = v_add(even[t], odd[t]);

            acc[t] = b < PAIR_PANEL ? sum : v_add(acc[t], sum);
            even[t] = odd[t] = v_zero();
        }
    }
    put_stream(T, s, acc);
}

/* ---- all of a product ---- */

/* How a type is multiplied. */
struct pair_kind {
    void (*fill)(const struct tensor *w, const struct rows16 *rows, unsigned g, size_t b,
                 size_t count, struct pair_panel *p);
    size_t x_block; /* bytes of a block of activations */
    size_t passes;  /* over packed weights, in place of a panel */
    struct {
        void (*of)(const struct pair_panel *p, size_t count, const struct panel_x *v, sums2 *sums,
                   bool is_first);
        size_t vectors;
    } tiles[3];
    struct pair_streams {
        void (*of)(const struct pair_stream *s);
        size_t vectors;
    } plain[3], packed[4];
};

#define PAIR_TILE_OF(kind, T, TARGET)                                                   \
    TARGET static void kind##_tile##T(const struct pair_panel *p, size_t count,         \
                                      const struct panel_x *v, sums2 *sums, bool first) \
    {                                                                                   \
        kind##_tile(T, p, count, v, sums, first);                                       \
    }
#define PAIR_STREAM_OF(name, kind, layout, T, TYPE, TARGET)            \
    TARGET static void name##_##layout##T(const struct pair_stream *s) \
    {                                                                  \
        kind##_stream(T, TYPE, layout##_is_packed, s);                 \
    }
#define PAIR_TILES_OF(kind, TARGET) \
    PAIR_TILE_OF(kind, 6, TARGET)   \
    PAIR_TILE_OF(kind, 2, TARGET)   \
    PAIR_TILE_OF(kind, 1, TARGET)
#define PAIR_KIND(name, kind, TYPE, TARGET, X_BLOCK)                                       \
    static void name##_fill(const struct tensor *w, const struct rows16 *rows, unsigned g, \
                            size_t b, size_t count, struct pair_panel *p)                  \
    {                                                                                      \
        pair_panel_fill(TYPE, kind##_wants_integers, w, rows, g, b, count, p);             \
    }                                                                                      \
    PAIR_STREAM_OF(name, kind, plain, 4, TYPE, TARGET)                                     \
    PAIR_STREAM_OF(name, kind, plain, 2, TYPE, TARGET)                                     \
    PAIR_STREAM_OF(name, kind, plain, 1, TYPE, TARGET)                                     \
    PAIR_STREAM_OF(name, kind, packed, 8, TYPE, TARGET)                                    \
    PAIR_STREAM_OF(name, kind, packed, 4, TYPE, TARGET)                                    \
    PAIR_STREAM_OF(name, kind, packed, 2, TYPE, TARGET)                                    \
    PAIR_STREAM_OF(name, kind, packed, 1, TYPE, TARGET)                                    \
    static const struct pair_kind name = {                                                 \
        name##_fill,                                                                       \
        X_BLOCK,                                                                           \
        kind##_passes,                                                                     \
        {{kind##_tile6, 6}, {kind##_tile2, 2}, {kind##_tile1, 1}},                         \
        {{name##_plain4, 4}, {name##_plain2, 2}, {name##_plain1, 1}},                      \
        {{name##_packed8, 8}, {name##_packed4, 4}, {name##_packed2, 2}, {name##_packed1, 1}}};
#define FOR_BF16 __attribute__((target("avx512bf16")))

enum { fixed_wants_integers = 1, bf16_wants_integers = 0 };
enum {
    fixed_passes = 2 * STREAM_PASSES,
    bf16_passes = STREAM_PASSES
}; /* bf16 is unpacked in each */
enum { plain_is_packed = 0, packed_is_packed = 1 };

PAIR_TILES_OF(fixed, )
PAIR_TILES_OF(bf16, FOR_BF16)
PAIR_KIND(fixed_f16, fixed, DTYPE_F16, , sizeof(struct x_fixed))
PAIR_KIND(fixed_bf16, fixed, DTYPE_BF16, , sizeof(struct x_fixed))
PAIR_KIND(pairs_bf16, bf16, DTYPE_BF16, FOR_BF16, 2 * Q_BLOCK)

/* Two groups of rows from r on, times at most SUMS_MAX vectors. */
static void pair_rows(const struct pair_kind *kind, const struct quant_job *j, size_t r, size_t n)
{
    size_t blocks = blocks_of(j->w->shape[0]), b = 0;
    size_t block_bytes = j->w->is_packed ? packed_unit(j->w->type).bytes : 64 * PAIRS;
    struct panel_rows two = two_groups(j, r);
    sums2 sums[SUMS_MAX];
    struct pair_panel p;

    do { /* once even if there are no blocks: the sum of nothing is 0 */
        size_t count = blocks - b < PAIR_PANEL ? blocks - b : PAIR_PANEL;
        struct panel_x v = {.x_bytes = j->x_bytes};

        fetch_level2(two.next, 2 * block_bytes * count);
        two.next += 2 * block_bytes * count;
        for (unsigned g = 0; g < 2; g++)
            kind->fill(j->w, &two.rows[g], g, b, count, &p);
        for (size_t t = 0, k = 0; t < n; t += kind->tiles[k].vectors) {
            while (kind->tiles[k].vectors > n - t)
                k++;
            v.x = j->x + t * j->x_bytes + b * kind->x_block;
            v.ahead = n - t >= 2 * kind->tiles[k].vectors ? kind->tiles[k].vectors : 0;
            kind->tiles[k].of(&p, count, &v, sums + t, b == 0);
        }
        b += count;
    } while (b < blocks);
    put_sums(sums, two.rows, j, n);
}

static void pair_panels(const struct pair_kind *kind, const struct quant_job *job, size_t r,
                        size_t n)
{
    for (; r < job->row_end; r += 2 * GROUP) {
        struct quant_job j = *job;

        for (size_t t = 0, some; t < n; t += some) {
            some = n - t < SUMS_MAX ? n - t : SUMS_MAX;
            pair_rows(kind, &j, r, some);
            j.x += some * j.x_bytes;
            j.out += some * j.out_stride;
        }
    }
}

static struct pair_stream pair_stream_of(const struct quant_job *j, size_t r)
{
    struct pair_stream s = {.j = j};

    if (j->w->is_packed)
        s.rows = (struct rows16){.out = r, .lanes = lanes_of(j, r)};
    else
        s.rows = sixteen_rows(j->w, r, j->row_end);
    s.next = tensor_row(j->w, r + GROUP < j->row_end ? r + GROUP : r);
    return s;
}

/* step: rows of a group. */
static void pair_streams(const struct pair_kind *kind, const struct quant_job *job, size_t r,
                         size_t step, size_t n)
{
    for (; r < job->row_end; r += step) {
        const struct pair_streams *some = job->w->is_packed ? kind->packed : kind->plain;
        struct quant_job j = *job;
        struct pair_stream s = pair_stream_of(&j, r);

        for (size_t t = 0; t < n; t += some->vectors) {
            while (some->vectors > n - t)
                some++;
            j.x = job->x + t * j.x_bytes;
            j.out = job->out + t * j.out_stride;
            some->of(&s);
        }
    }
}

static void pair_matmul(const struct pair_kind *kind, const struct quant_job *j, size_t n)
{
    size_t step = !j->w->is_packed && j->w->shape[1] < GROUP ? 1 : GROUP; /* see sixteen_rows */
    size_t r = j->w->is_packed ? j->row_begin / GROUP * GROUP : j->row_begin;

    if (n <= (j->w->is_packed ? kind->passes * STREAM_T : STREAM_T) || step == 1)
        pair_streams(kind, j, r, step, n);
    else
        pair_panels(kind, j, r, n);
}

/* ---- activations ---- */

static size_t fixed_bytes(size_t inner)
{
    return (blocks_of(inner) * sizeof(struct x_fixed) + 127) / 64 * 64;
}

static void prepare_fixed(const float *x, size_t inner, struct x_fixed *out)
{
    for (size_t b = 0; b < blocks_of(inner); b++, x += Q_BLOCK) {
        size_t left = inner - b * Q_BLOCK;
        float end[Q_BLOCK] = {0}, most;
        int32_t most_bits;
        int e;

        if (left < Q_BLOCK)
            x = memcpy(end, x, left * sizeof(*x));
        most_bits = most_magnitude(x);
        memcpy(&most, &most_bits, sizeof(most));
        if (!isfinite(most)) {
            out[b] = (struct x_fixed){.step = NAN};
            continue;
        }
        e = fixed_power(most);
        out[b].step = fixed_step(e);
        for (unsigned i = 0; i < Q_BLOCK; i += LANES) {
            __m512i q = _mm512_cvtps_epi32(v_mul(v_load(x + i), v_set1(fixed_step(-e))));

            _mm256_storeu_si256((void *)(out[b].q + i), _mm512_cvtepi32_epi16(q));
        }
    }
}

__attribute__((target("avx512bf16"))) static void prepare_bf16(const float *x, size_t inner,
                                                               uint16_t *out)
{
    memset(out + inner / Q_BLOCK * Q_BLOCK, 0,
           blocks_of(inner) * Q_BLOCK * 2 - inner / Q_BLOCK * Q_BLOCK * 2);
    for (size_t i = 0; i < inner; i += LANES) {
        size_t count = inner - i < LANES ? inner - i : LANES;
        __m256bh h = _mm512_cvtneps_pbh(v_load_part(x + i, count));

        _mm256_mask_storeu_epi16(out + i, first(count), (__m256i)h);
    }
}

#endif
