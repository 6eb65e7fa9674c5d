/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_pairs.h - AVX-512: weights of two bytes, two values of sixteen rows in a register.
 *
 * Included by kernel_avx512.c only.  A lane is a row here too.
 *
 * Weights and activations become integers of 16 bits (fixed.h).  The 32 products of a block are
 * added exactly, in whatever order; an element is then the sum over blocks, in order, of that
 * integer times both steps, one fused multiply-add each.
 *
 * For many vectors there are two ways to the same integer, and a processor has the faster one.
 * Where adding needs units that multiply (Intel's), products are added as they are.  Where it does
 * not (AMD's), six of sixteen are saved (Winograd 1968, "A new algorithm for inner product"):
 *
 *   x1 w1 + x2 w2 = (x1 + w2) (x2 + w1) - x1 x2 - w1 w2
 *
 * The last two are sums over a vector's and over a row's own block, made once.  Numbers x1 + w2 fit
 * 16 bits, and what does not fit 32 on the way comes back, since all is modulo 2^32.  Two of eight
 * pairs are multiplied as they are: so neither the units that multiply nor the others wait. */
#ifndef TENSOR_KERNEL_PAIRS_H
#define TENSOR_KERNEL_PAIRS_H

#include "tensor/fixed.h"
#include "tensor/kernel_panels.h"
#include "tensor/kernel_products.h"

#define PAIRS      (Q_BLOCK / 2) /* in a block */
#define HALF       (PAIRS / 2)   /* value v has v + 16 for a partner, pair i the pair i + 8 */
#define PAIR_PANEL 8             /* blocks that many vectors meet at a time: half of level 1 */
#define PAIR_TILE  6             /* 2 groups x 6 vectors, twice: 24 registers */

/* Blocks of two groups of rows, side by side: loads a power of two apart would hinder each other.
 */
struct pair_panel {
    struct pair_block {
        __m512i w[PAIRS][2];
        vec step[2];               /* of fixed.h */
        __m512i minus_products[2]; /* of partners */
    } blocks[PAIR_PANEL];
};

/* A block of activations as integers. */
struct x_fixed {
    int16_t q[Q_BLOCK];
    float step;
    int32_t minus_products; /* of partners */
};

/* ---- weights ---- */

/* Bytes [64 block, 64 block + 64) of sixteen rows: w[i] = the pairs i.  Behind the end of a row
 * there are zeros. */
INLINE void get_pairs(const struct rows *rows, size_t inner, size_t block, __m512i w[PAIRS])
{
    uint16_t end[GROUP][Q_BLOCK];
    struct rows last = {.stride = sizeof(end[0])};
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

/* The steps of integers in blocks with this largest exponent, as f32 has it; infinity, by which
 * zeros become NaN, where it is that of NaN and infinity. */
INLINE vec fixed_steps(__m512i exponent)
{
    const __m512i nan = _mm512_set1_epi32(FIXED_NAN);
    __m512i e = _mm512_max_epi32(exponent, _mm512_set1_epi32(FIXED_EXPONENT_LEAST));

    e = _mm512_mask_sub_epi32(nan, _mm512_cmpneq_epi32_mask(e, nan), e,
                              _mm512_set1_epi32(FIXED_BITS));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
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

/* What makes integers of the significands of bf16: 2^-i in units of 2^-15, for i = 0 to 14, zero
 * for PACKED_ZERO; and the same negative.  2^0 does not fit, but rounding makes up for it. */
static const int16_t fixed_shares[32] __attribute__((aligned(64))) = {
    32767,  16384,  8192,  4096,  2048,  1024,  512,  256,  128,  64,  32,  16,  8,  4,  2,  0,
    -32768, -16384, -8192, -4096, -2048, -1024, -512, -256, -128, -64, -32, -16, -8, -4, -2, 0,
};

/* Integers of mantissas (bits 5 to 11 of words) and of how far exponents are below the largest
 * (bits 0 to 3; bit 4 is the sign; others do not matter).  Halves are rounded up. */
INLINE __m512i fixed_words(__m512i mantissa, __m512i below)
{
    const __m512i bits = _mm512_set1_epi16(0x7f << 5), hidden = _mm512_set1_epi16(0x80 << 5);
    enum { both_or_third = 0xea };

    return _mm512_mulhrs_epi16(_mm512_ternarylogic_epi32(mantissa, bits, hidden, both_or_third),
                               _mm512_permutexvar_epi16(below, _mm512_load_si512(fixed_shares)));
}

/* Makes integers of a block of bf16; returns their steps. */
INLINE vec fix_bf16(__m512i w[PAIRS])
{
    const __m512i zero = _mm512_set1_epi16(PACKED_ZERO), sign = _mm512_set1_epi16(1 << 4);
    const __m512i least = _mm512_set1_epi32(FIXED_EXPONENT_LEAST);
    __m512i largest = _mm512_max_epi32(largest_exponent(DTYPE_BF16, w), least);
    __m512i both = two_words(largest, largest);
    __mmask32 is_nan = _mm512_cmpeq_epi16_mask(both, _mm512_set1_epi16(FIXED_NAN));

    for (unsigned i = 0; i < PAIRS; i++) {
        __m512i e = _mm512_and_si512(_mm512_srli_epi16(w[i], 7), _mm512_set1_epi16(0xff));
        __m512i below = _mm512_min_epu16(_mm512_sub_epi16(both, e), zero);

        below = _mm512_mask_mov_epi16(below, _mm512_testn_epi16_mask(e, e) | is_nan, zero);
        below = _mm512_or_si512(below, _mm512_and_si512(_mm512_srli_epi16(w[i], 11), sign));
        w[i] = fixed_words(_mm512_slli_epi16(w[i], 5), below);
    }
    return fixed_steps(largest);
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

/* a where `bits` are set, b elsewhere. */
INLINE __m512i selected(int16_t bits, __m512i a, __m512i b)
{
    enum { first_asks = 0xca };

    return _mm512_ternarylogic_epi32(_mm512_set1_epi16(bits), a, b, first_asks);
}

/* Eight words of 14 bits from seven: the eighth is in the lowest bits of the others, which keep
 * them. */
INLINE void unpack_14(const char *p, struct ask ask, __m512i w[8])
{
    __m512i first, second, third;

    load_lines(p, 7, ask, w);
    first = selected(0x3, w[0], _mm512_slli_epi16(w[1], 2));
    second = selected(0x3, w[2], _mm512_slli_epi16(w[3], 2));
    third = selected(0x3, w[4], _mm512_slli_epi16(w[5], 2));
    first = selected(0xf, first, _mm512_slli_epi16(second, 4));
    third = selected(0xf, third, _mm512_slli_epi16(w[6], 4));
    w[7] = _mm512_slli_epi16(selected(0xff, first, _mm512_slli_epi16(third, 8)), 2);
}

/* Four words of 12 bits from three: the fourth is in the highest bits of the others. */
INLINE void unpack_12(const char *p, struct ask ask, __m512i w[4])
{
    load_lines(p, 3, ask, w);
    w[3] = selected(0xf, _mm512_srli_epi16(w[0], 12), _mm512_srli_epi16(w[1], 8));
    w[3] = selected(0xff, w[3], _mm512_srli_epi16(w[2], 4));
}

/* A block of sixteen packed rows: integers, of f16 above two other bits. */
INLINE void take_packed_words(enum dtype type, const struct tensor *w, size_t r, size_t block,
                              struct ask ask, __m512i pairs[PAIRS])
{
    const char *at = pairs_at(type, w, r, block);

    if (type == DTYPE_F16) {
        unpack_14(at, ask, pairs);
        unpack_14(at + 7 * 64, ask, pairs + 8);
        return;
    }
    for (unsigned i = 0; i < PAIRS; i += 4, at += 3 * 64) {
        unpack_12(at, ask, pairs + i);
        for (unsigned k = i; k < i + 4; k++)
            pairs[k] = fixed_words(pairs[k], pairs[k]);
    }
}

/* The steps of its rows. */
INLINE vec packed_steps(const struct tensor *w, size_t r, size_t block)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(packed_bytes(w, r, block), 23));
}

INLINE vec take_packed(enum dtype type, const struct tensor *w, size_t r, size_t block,
                       struct ask ask, __m512i pairs[PAIRS])
{
    take_packed_words(type, w, r, block, ask, pairs);
    for (unsigned i = 0; i < PAIRS && type == DTYPE_F16; i++)
        pairs[i] = _mm512_srai_epi16(pairs[i], 2);
    return packed_steps(w, r, block);
}

/* A block of either layout; returns the steps of integers. */
INLINE vec take_block(enum dtype type, const bool is_packed, const struct tensor *w,
                      const struct rows *rows, size_t block, struct ask ask, __m512i pairs[PAIRS])
{
    if (is_packed)
        return take_packed(type, w, rows->out, block, ask, pairs);
    get_pairs(rows, w->shape[0], block, pairs);
    return type == DTYPE_F16 ? fix_f16(pairs) : fix_bf16(pairs);
}

/* Of the pairs i and i + HALF: is one of their two products saved? */
INLINE bool saves_product(unsigned i)
{
    return i % 3 != 2;
}

/* A bit for each pair. */
INLINE __mmask8 saved_products(void)
{
    unsigned bits = 0;

    for (unsigned i = 0; i < HALF; i++)
        bits |= (unsigned)saves_product(i) << i;
    return (__mmask8)bits;
}

INLINE __m512i minus_products_of(const __m512i w[PAIRS])
{
    __m512i sum = _mm512_setzero_si512();

    for (unsigned i = 0; i < HALF; i++)
        if (saves_product(i))
            sum = _mm512_dpwssd_epi32(sum, w[i], w[i + HALF]);
    return _mm512_sub_epi32(_mm512_setzero_si512(), sum);
}

/* Fills `count` blocks from b on of group g of a panel. */
INLINE void pair_panel_fill(enum dtype type, const struct quant_job *j, const struct tensor *w,
                            const struct rows *rows, unsigned g, size_t b, size_t count,
                            struct pair_panel *p)
{
    for (size_t i = 0; i < count; i++) {
        struct pair_block *to = &p->blocks[i];
        __m512i pairs[PAIRS];

        to->step[g] = take_block(type, w->is_packed, w, rows, b + i, ASK_NOTHING, pairs);
        for (unsigned k = 0; k < PAIRS; k++)
            to->w[k][g] = pairs[k];
        if (j->saves_products)
            to->minus_products[g] = minus_products_of(pairs);
    }
}

INLINE const struct x_fixed *fixed_at(const char *x, size_t b)
{
    return (const struct x_fixed *)(const void *)x + b;
}

/* Sixteen rows times few vectors. */
struct pair_stream {
    const struct quant_job *j;
    struct rows rows;
    size_t last;      /* vector; it stands in for those behind it */
    const char *next; /* plain: the sixteen rows behind them */
};

INLINE size_t vector_of(const struct pair_stream *s, size_t t)
{
    return t < s->last ? t : s->last;
}

/* Few vectors: brings near what comes behind block b of sixteen rows. */
INLINE void fetch_behind(enum dtype type, const bool is_packed, const struct pair_stream *s,
                         struct ask ask, size_t b)
{
    if (!is_packed)
        fetch(s->next + b * 64 * PAIRS, 64 * PAIRS);
    else if (!ask.level2)
        fetch_page(pairs_at(type, s->j->w, s->rows.out, b), packed_unit(type).bytes);
}

/* One vector: brings near what lies in front of sixteen rows.  A line of that is needed every four
 * blocks, and each would interrupt the stream that the processor follows (bench/NOTES.md). */
INLINE void fetch_front(enum dtype type, const struct pair_stream *s)
{
    if (!s->j->lines_ahead)
        fetch((const char *)tensor_row(s->j->w, s->rows.out),
              packed_front(type, s->j->w->shape[0]));
}

/* ---- products of integers ---- */

/* acc += a block's sums times both steps. */
INLINE vec add_fixed(__m512i sum, vec step, const struct x_fixed *x, vec acc)
{
    return v_fma(_mm512_cvtepi32_ps(sum), v_mul(step, v_set1(x->step)), acc);
}

/* sum += a block of the panel times x. */
INLINE void fixed_dots(const unsigned T, const struct pair_block *p, const char *x, size_t x_bytes,
                       __m512i sum[2][PAIR_TILE])
{
    for (unsigned t = 0; t < T; t++)
        sum[0][t] = sum[1][t] = _mm512_setzero_si512();
    for (unsigned i = 0; i < PAIRS; i++) {
        __m512i w0 = p->w[i][0], w1 = p->w[i][1];

        for (unsigned t = 0; t < T; t++) {
            __m512i xt = word_at(fixed_at(x + t * x_bytes, 0)->q + 2 * i);

            sum[0][t] = _mm512_dpwssd_epi32(sum[0][t], w0, xt);
            sum[1][t] = _mm512_dpwssd_epi32(sum[1][t], w1, xt);
        }
    }
}

/* The same with half of the products. */
INLINE void fixed_dots_winograd(const unsigned T, const struct pair_block *p, const char *x,
                                size_t x_bytes, __m512i sum[2][PAIR_TILE])
{
    for (unsigned t = 0; t < T; t++) {
        __m512i start = _mm512_set1_epi32(fixed_at(x + t * x_bytes, 0)->minus_products);

        for (unsigned g = 0; g < 2; g++)
            sum[g][t] = _mm512_add_epi32(start, p->minus_products[g]);
    }
#pragma GCC unroll 8
    for (unsigned i = 0; i < HALF; i++) {
        __m512i low0 = p->w[i][0], high0 = p->w[i + HALF][0];
        __m512i low1 = p->w[i][1], high1 = p->w[i + HALF][1];

        for (unsigned t = 0; t < T; t++) {
            const int16_t *q = fixed_at(x + t * x_bytes, 0)->q + 2 * i;
            __m512i low = word_at(q), high = word_at(q + Q_BLOCK / 2);

            if (!saves_product(i)) {
                sum[0][t] = _mm512_dpwssd_epi32(sum[0][t], low, low0);
                sum[1][t] = _mm512_dpwssd_epi32(sum[1][t], low, low1);
                sum[0][t] = _mm512_dpwssd_epi32(sum[0][t], high, high0);
                sum[1][t] = _mm512_dpwssd_epi32(sum[1][t], high, high1);
                continue;
            }
            sum[0][t] = _mm512_dpwssd_epi32(sum[0][t], _mm512_add_epi16(low, high0),
                                            _mm512_add_epi16(high, low0));
            sum[1][t] = _mm512_dpwssd_epi32(sum[1][t], _mm512_add_epi16(low, high1),
                                            _mm512_add_epi16(high, low1));
        }
    }
}

/* sums (+)= panel * x for T vectors. */
INLINE void fixed_tile(const unsigned T, const bool saves_products, const struct pair_panel *p,
                       size_t count, const struct panel_x *v, sums2 *sums, bool is_first)
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

        for (unsigned t = 0; t < T; t++)
            _mm_prefetch(x + (v->ahead + t) * v->x_bytes, _MM_HINT_T0);
        if (saves_products)
            fixed_dots_winograd(T, &p->blocks[b], x, v->x_bytes, sum);
        else
            fixed_dots(T, &p->blocks[b], x, v->x_bytes, sum);
        for (unsigned t = 0; t < T; t++)
            for (unsigned g = 0; g < 2; g++)
                acc[g][t] = add_fixed(sum[g][t], p->blocks[b].step[g],
                                      fixed_at(x + t * v->x_bytes, 0), acc[g][t]);
    }
#pragma GCC unroll 6
    for (unsigned t = 0; t < T; t++)
#pragma GCC unroll 2
        for (unsigned g = 0; g < 2; g++)
            sums[t][g] = acc[g][t];
}

/* A block times one of T vectors: a product waits for the one before it in its sum, and one vector
 * has no others to go on with. */
INLINE __m512i stream_dot(const unsigned T, const __m512i w[PAIRS], const int16_t *x)
{
    const unsigned sums = T == 1 ? 4 : 2;
    __m512i sum[4];

    for (unsigned i = 0; i < sums; i++)
        sum[i] = _mm512_setzero_si512();
    for (unsigned i = 0; i < PAIRS; i++)
        sum[i % sums] = _mm512_dpwssd_epi32(sum[i % sums], w[i], word_at(x + 2 * i));
    for (unsigned i = 2; i < sums; i++)
        sum[i - 2] = _mm512_add_epi32(sum[i - 2], sum[i]);
    return _mm512_add_epi32(sum[0], sum[1]);
}

INLINE void fixed_stream(const unsigned T, enum dtype type, const bool is_packed,
                         const struct pair_stream *s)
{
    const struct ask ask = ask_for(T, type, s->j->lines_ahead);
    size_t blocks = blocks_of(s->j->w->shape[0]);
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = sums_so_far(s->j, vector_of(s, t), s->rows.out);
    if (T == 1 && is_packed)
        fetch_front(type, s);
    for (size_t b = 0; b < blocks; b++) {
        __m512i w[PAIRS];
        vec step;

        fetch_behind(type, is_packed, s, ask, b);
        step = take_block(type, is_packed, s->j->w, &s->rows, b, ask, w);
        for (unsigned t = 0; t < T; t++) {
            const struct x_fixed *x = fixed_at(s->j->x + vector_of(s, t) * s->j->x_bytes, b);
            acc[t] = add_fixed(stream_dot(T, w, x->q), step, x, acc[t]);
        }
    }
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(s->j->out + vector_of(s, t) * s->j->out_stride + s->rows.out,
                              s->rows.lanes, acc[t]);
}

/* ---- all of a product ---- */

typedef void (*pair_streamer)(const struct pair_stream *s);

/* How a type is multiplied: functions for fewer and fewer vectors. */
struct pair_kind {
    struct panel_kind panels[2]; /* all products; half of them */
    size_t passes;               /* as STREAM_PASSES */
    struct pair_streams {
        pair_streamer of;
        size_t vectors;
    } plain[3], packed[4];
};

#define FIXED_TILE(name, T, saves_products)                                                 \
    static void name(const void *panel, size_t count, const struct panel_x *v, sums2 *sums, \
                     bool is_first)                                                         \
    {                                                                                       \
        fixed_tile(T, saves_products, panel, count, v, sums, is_first);                     \
    }
FIXED_TILE(fixed_tile6, 6, false)
FIXED_TILE(fixed_tile6_winograd, 6, true)
FIXED_TILE(fixed_tile2, 2, false)
FIXED_TILE(fixed_tile1, 1, false)

#define FIXED_STREAM(name, T, TYPE, is_packed)    \
    static void name(const struct pair_stream *s) \
    {                                             \
        fixed_stream(T, TYPE, is_packed, s);      \
    }
#define PAIR_PANELS(type, tile6)                         \
    {                                                    \
        PAIR_PANEL, sizeof(struct x_fixed), type##_fill, \
        {                                                \
            {tile6, PAIR_TILE}, {fixed_tile2, 2},        \
            {                                            \
                fixed_tile1, 1                           \
            }                                            \
        }                                                \
    }
#define PAIR_KIND(type, TYPE, passes)                                                    \
    static void type##_fill(const struct quant_job *j, const struct tensor *w,           \
                            const struct rows *rows, unsigned g, size_t b, size_t count, \
                            void *panel)                                                 \
    {                                                                                    \
        pair_panel_fill(TYPE, j, w, rows, g, b, count, panel);                           \
    }                                                                                    \
    FIXED_STREAM(type##_plain4, 4, TYPE, false)                                          \
    FIXED_STREAM(type##_plain2, 2, TYPE, false)                                          \
    FIXED_STREAM(type##_plain1, 1, TYPE, false)                                          \
    FIXED_STREAM(type##_packed8, 8, TYPE, true)                                          \
    FIXED_STREAM(type##_packed4, 4, TYPE, true)                                          \
    FIXED_STREAM(type##_packed2, 2, TYPE, true)                                          \
    FIXED_STREAM(type##_packed1, 1, TYPE, true)                                          \
    static const struct pair_kind pairs_##type = {                                       \
        {PAIR_PANELS(type, fixed_tile6), PAIR_PANELS(type, fixed_tile6_winograd)},       \
        passes,                                                                          \
        {{type##_plain4, 4}, {type##_plain2, 2}, {type##_plain1, 1}},                    \
        {{type##_packed8, 8}, {type##_packed4, 4}, {type##_packed2, 2}, {type##_packed1, 1}}};
PAIR_KIND(f16, DTYPE_F16, 5)
PAIR_KIND(bf16, DTYPE_BF16, 3)

static struct pair_stream pair_stream_of(const struct quant_job *j, size_t r)
{
    struct pair_stream s = {.j = j};

    if (j->w->is_packed)
        s.rows = (struct rows){.out = r, .lanes = lanes_of(j, r)};
    else
        s.rows = plain_rows(j->w, r, j->row_end);
    s.next = tensor_row(j->w, r + GROUP < j->row_end ? r + GROUP : r);
    return s;
}

/* All rows from r on of a matrix, or of a strip; step: rows of a group. */
static void pair_streams(const struct pair_kind *kind, const struct quant_job *job, size_t r,
                         size_t step, size_t n)
{
    for (; r < job->row_end; r += step) {
        const struct pair_streams *some = job->w->is_packed ? kind->packed : kind->plain;
        struct quant_job j = *job;
        struct pair_stream s = pair_stream_of(&j, r);

        for (size_t t = 0; t < n; t += some->vectors) {
            while (some->vectors > 1 && some[1].vectors >= n - t)
                some++;
            s.last = (some->vectors < n - t ? some->vectors : n - t) - 1;
            j.x = job->x + t * j.x_bytes;
            j.out = job->out + t * j.out_stride;
            some->of(&s);
        }
    }
}

static void pair_strips(const struct pair_kind *kind, const struct quant_job *job, size_t n)
{
    size_t b = 0;

    do { /* once even if there are no blocks: the sum of nothing is 0 */
        struct strip s = strip_of(job->w, b);
        struct quant_job j = job_of_strip(job, &s, sizeof(struct x_fixed));

        pair_streams(kind, &j, first_row(&j), rows_of_group(&s.w), n);
        b += blocks_of(s.w.shape[0]);
    } while (b < blocks_of(job->w->shape[0]));
}

static void pair_matmul(const struct pair_kind *kind, const struct quant_job *j, size_t n)
{
    size_t passes = j->w->is_packed ? kind->passes : 1, r = first_row(j);

    if (n <= passes * STREAM_T || rows_of_group(j->w) == 1)
        pair_strips(kind, j, n);
    else
        all_panels(&kind->panels[j->saves_products], j, r, n);
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
        out[b].minus_products = -sum_epi32(_mm256_maskz_mov_epi32(
            saved_products(),
            _mm256_madd_epi16(_mm256_loadu_si256((const void *)out[b].q),
                              _mm256_loadu_si256((const void *)(out[b].q + Q_BLOCK / 2)))));
    }
}

#endif
