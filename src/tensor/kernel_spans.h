/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_spans.h - AVX-512: weights of super-blocks for prompts, as integers of 8 bits with one
 * step for 128 of them.
 *
 * Included by kernel_avx512.c only.  A product of blocks of 32 takes nine or ten operations of the
 * units that multiply for each eight that do, since scales hold for 16 or 32 values and minima are
 * products of their own.  Here small scales and minima are multiplied into the weights when a panel
 * is filled, and a span of 128 takes 33 for 32.  A weight is rounded anew by that, to half of a
 * 127th of what the largest of its span could be, and so is an activation, of 8 bits too, to a step
 * of step.h: together as coarse as llama.cpp's activations of such weights, which have one step for
 * 256, where some are far larger than others, and up to 38 % coarser where none is
 * (bench/NOTES.md).  Rounding so takes too long where few vectors share it, so what generates
 * tokens computes by blocks. */
#ifndef TENSOR_KERNEL_SPANS_H
#define TENSOR_KERNEL_SPANS_H

#include "tensor/kernel_panels.h"
#include "tensor/kernel_products.h"

#define SPAN        128
#define SPAN_BLOCKS (SPAN / Q_BLOCK)
#define SPAN_QUANTS 127 /* the largest magnitude of an integer */

/* Spans of two groups of rows. */
struct span_panel {
    struct {
        __m512i w[SPAN / 4][2]; /* four values of sixteen rows, and 128 */
        vec step[STEP_FACTORS][2];
    } spans[PANEL / SPAN_BLOCKS];
};

/* A span of activations. */
struct x_span {
    int8_t q[SPAN];
    float bias;         /* as x_biased has it: 127 * 127 * 128 is below 2^22 */
    int32_t start;      /* likewise */
    uint32_t factor_at; /* its place in a panel's steps, in bytes */
    uint32_t unused;
};

INLINE bool has_spans(enum dtype type)
{
    return parts(packed_as(type)) * Q_BLOCK == K_BLOCK;
}

/* ---- weights ---- */

/* Of a block, for each half: bytes, as unpack leaves them, times one number plus another are
 * weights; or so multiplied and shifted down by SPAN_SHIFT the weights of a span, and 128. */
#define SPAN_SHIFT 8

struct span_words {
    __m512i times[2], plus[2];
};

/* The largest magnitude of quants, whose zero is subtracted. */
INLINE float largest_quant(enum dtype type)
{
    return has_offset(type) ? (float)((1u << packed_bits(type)) - 1) : has_levels(type) ? 127 : 128;
}

/* The largest magnitude that weights can have. */
INLINE vec largest_weight(enum dtype type, vec quants, vec d, vec plus)
{
    vec most = has_offset(type) ? v_fma(d, quants, plus) : v_mul(d, quants);

    most = _mm512_abs_ps(most);
    return has_offset(type) ? v_max(_mm512_abs_ps(plus), most) : most; /* NaN stays: see v_max */
}

/* The steps of spans whose quants are no larger; NaN where some weights are not finite. */
INLINE vec span_steps(enum dtype type, float largest, const struct affine *s)
{
    __mmask16 is_finite = 0xffff;
    vec most = v_zero();

    for (unsigned k = 0; k < SPAN_BLOCKS; k++) {
        for (unsigned h = 0; h < halves_of(type); h++) {
            vec here = largest_weight(type, v_set1(largest), s[k].d[h], s[k].plus[h]);

            is_finite &= _mm512_cmp_ps_mask(here, v_set1(INFINITY), _CMP_LT_OQ);
            most = v_max(here, most);
        }
    }
    return _mm512_mask_mul_ps(v_set1(NAN), is_finite, most, v_set1(1.0f / SPAN_QUANTS));
}

INLINE __m512i same_words(__m512i v)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, v, _mm512_slli_epi32(v, 16));
}

/* For the integers of a block: half of one is added, which rounds. */
INLINE struct span_words span_words(enum dtype type, const struct affine *s, vec inverse)
{
    const __m512i middle = _mm512_set1_epi32((128 << SPAN_SHIFT) + (1 << (SPAN_SHIFT - 1)));
    struct span_words w;

    for (unsigned h = 0; h < halves_of(type); h++) {
        __m512i times = _mm512_cvtps_epi32(v_mul(s->d[h], inverse)), plus;

        if (has_offset(type))
            plus = _mm512_add_epi32(middle, _mm512_cvtps_epi32(v_mul(s->plus[h], inverse)));
        else /* less what a quant of zero is off by */
            plus = _mm512_sub_epi32(middle, _mm512_slli_epi32(times, 7));
        w.times[h] = same_words(times);
        w.plus[h] = same_words(plus);
    }
    return w;
}

INLINE __m512i span_bytes(__m512i quants, __m512i times, __m512i plus)
{
    const __m512i low = _mm512_set1_epi16(0xff), high = _mm512_set1_epi16((short)0xff00);
    __m512i even = _mm512_mullo_epi16(_mm512_and_si512(quants, low), times);
    __m512i odd = _mm512_mullo_epi16(_mm512_srli_epi16(quants, 8), times);
    enum { first_or_both_others = 0xf8 };

    even = _mm512_srli_epi16(_mm512_add_epi16(even, plus), SPAN_SHIFT);
    return _mm512_ternarylogic_epi32(even, _mm512_add_epi16(odd, plus), high, first_or_both_others);
}

/* What numbers are multiplied by for a span with this step; 0 where there are none. */
INLINE vec span_inverse(vec step)
{
    return _mm512_maskz_div_ps(_mm512_cmp_ps_mask(step, v_zero(), _CMP_GT_OQ),
                               v_set1(1 << SPAN_SHIFT), step);
}

INLINE void put_span_steps(struct span_panel *p, size_t span, unsigned g, vec step)
{
    for (unsigned i = 0; i < STEP_FACTORS; i++)
        p->spans[span].step[i][g] = v_mul(step, v_set1(step_factors[i]));
}

INLINE void put_span_block(enum dtype type, struct span_panel *p, size_t b, unsigned g,
                           const __m512i quants[8], const struct span_words *w)
{
    __m512i(*to)[2] = p->spans[b / SPAN_BLOCKS].w + b % SPAN_BLOCKS * 8;

#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++) {
        const unsigned half = has_halves(type) ? i / 4 : 0;

        to[i][g] = span_bytes(quants[i], w->times[half], w->plus[half]);
    }
}

/* `count` blocks from b on, of whole super-blocks. */
INLINE void span_unpack(enum dtype type, const struct tensor *w, size_t r, unsigned g, size_t b,
                        size_t count, struct span_panel *p)
{
    const struct packed_unit u = packed_unit(type);
    const char *unit = (const char *)tensor_row(w, r) + b / u.blocks * u.bytes;

    for (size_t i = 0; i < count; i += u.blocks, unit += u.bytes) {
        const struct common common = unpack_common(type, unit);
        struct block_minima minima;

        if (has_block_minima(type))
            unpack_block_minima(unit, &common, &minima);
#pragma GCC unroll 2
        for (unsigned from = 0; from < 8; from += SPAN_BLOCKS) {
            struct affine s[SPAN_BLOCKS];
            vec step, inverse;

#pragma GCC unroll 4
            for (unsigned k = 0; k < SPAN_BLOCKS; k++)
                s[k] = affine_of(type, unpack_scales(type, unit, &common, from + k),
                                 unpack_minima(type, unit, &common, from + k), &minima, from + k);
            step = span_steps(
                type, lists_levels(type) ? levels_in(unit)->largest : largest_quant(type), s);
            inverse = span_inverse(step);
            put_span_steps(p, (i + from) / SPAN_BLOCKS, g, step);
#pragma GCC unroll 4
            for (unsigned k = 0; k < SPAN_BLOCKS; k++) {
                struct span_words words = span_words(type, &s[k], inverse);
                __m512i v[8];

                unpack(type, unit, from + k, ASK_NOTHING, v);
                put_span_block(type, p, i + from + k, g, v, &words);
            }
        }
    }
}

INLINE void span_fill(enum dtype type, const struct rows *rows, unsigned g, size_t b, size_t count,
                      struct span_panel *p)
{
    for (size_t i = 0; i < count; i += parts(type)) {
        size_t offset = (b + i) / parts(type) * block_bytes(type);
        struct block_minima minima;
        struct affine s[K_BLOCK / Q_BLOCK];
        vec inverse[K_BLOCK / SPAN];
        struct head h;

        get_head(type, rows, offset, &h);
        if (has_block_minima(type))
            get_block_minima(&h, &minima);
#pragma GCC unroll 8
        for (unsigned k = 0; k < parts(type); k++)
            s[k] = affine_of(type, get_scales(type, &h, k), get_minima(type, &h, k), &minima, k);
        for (unsigned k = 0; k < K_BLOCK / SPAN; k++) {
            vec step = span_steps(type, largest_quant(type), s + k * SPAN_BLOCKS);

            put_span_steps(p, i / SPAN_BLOCKS + k, g, step);
            inverse[k] = span_inverse(step);
        }
#pragma GCC unroll 4
        for (unsigned part = 0; part < parts(type); part += together(type)) {
            __m512i w[TOGETHER_MAX][8];

            get_quants(type, rows, offset, part, &h, w);
#pragma GCC unroll 4
            for (unsigned k = part; k < part + together(type); k++) {
                struct span_words words = span_words(type, &s[k], inverse[k / SPAN_BLOCKS]);

                put_span_block(type, p, i + k, g, w[k - part], &words);
            }
        }
    }
}

/* ---- products ---- */

INLINE const struct x_span *span_at(const char *x, size_t span)
{
    return (const struct x_span *)(const void *)x + span;
}

/* acc += a span of the panel times x. */
INLINE void span_products(const unsigned T, const struct span_panel *p, size_t span, const char *x,
                          size_t x_bytes, vec acc[2][Q_TILE_T])
{
    __m512i sum[2][Q_TILE_T];

    for (unsigned t = 0; t < T; t++)
        sum[0][t] = sum[1][t] = _mm512_set1_epi32(span_at(x + t * x_bytes, 0)->start);
    for (unsigned at = 0; at < SPAN / 4; at += 8) {
#pragma GCC unroll 8
        for (unsigned i = at; i < at + 8; i++) {
            __m512i w0 = p->spans[span].w[i][0], w1 = p->spans[span].w[i][1];

            for (unsigned t = 0; t < T; t++) {
                __m512i four = word_at(span_at(x + t * x_bytes, 0)->q + 4 * i);

                sum[0][t] = _mm512_dpbusd_epi32(sum[0][t], w0, four);
                sum[1][t] = _mm512_dpbusd_epi32(sum[1][t], w1, four);
            }
        }
    }
    for (unsigned t = 0; t < T; t++) {
        const struct x_span *xs = span_at(x + t * x_bytes, 0);
        const char *steps = (const char *)p->spans[span].step + xs->factor_at;

        for (unsigned g = 0; g < 2; g++)
            acc[g][t] = v_fma(v_sub(_mm512_castsi512_ps(sum[g][t]), v_set1(xs->bias)),
                              _mm512_load_ps(steps + g * sizeof(vec)), acc[g][t]);
    }
}

INLINE void span_tile(const unsigned T, const struct span_panel *p, size_t spans,
                      const struct panel_x *v, sums2 *sums, bool is_first)
{
    vec acc[2][Q_TILE_T];

    take_sums(T, sums, v->ahead, is_first, acc);
    for (size_t span = 0; span < spans; span++) {
        const char *x = v->x + span * sizeof(struct x_span);

        for (unsigned t = 0; t < T; t++)
            for (unsigned at = 0; at < sizeof(struct x_span); at += 64)
                _mm_prefetch(x + (v->ahead + t) * v->x_bytes + at, _MM_HINT_T0);
        span_products(T, p, span, x, v->x_bytes, acc);
    }
    leave_sums(T, sums, acc);
}

#define SPAN_TILE(name, T)                                                                  \
    static void name(const void *panel, size_t count, const struct panel_x *v, sums2 *sums, \
                     bool is_first)                                                         \
    {                                                                                       \
        span_tile(T, panel, count / SPAN_BLOCKS, v, sums, is_first);                        \
    }
SPAN_TILE(span_tile6, Q_TILE_T)
SPAN_TILE(span_tile2, 2)
SPAN_TILE(span_tile1, 1)

#define SPANS(type, TYPE)                                                                       \
    static __attribute__((noinline)) void type##_span_fill(                                     \
        const struct quant_job *j, const struct tensor *w, const struct rows *rows, unsigned g, \
        size_t b, size_t count, void *panel)                                                    \
    {                                                                                           \
        struct packed_part part;                                                                \
        struct made made;                                                                       \
                                                                                                \
        (void)j;                                                                                \
        if (find_packed(TYPE, w, rows->out, b, count, &made, &part))                            \
            span_unpack(TYPE, part.w, part.r, g, part.b, count, panel);                         \
        else if (has_plain_kernel(TYPE))                                                        \
            span_fill(TYPE, rows, g, b, count, panel);                                          \
    }                                                                                           \
    static const struct panel_kind spans_##type = {                                             \
        PANEL,                                                                                  \
        sizeof(struct x_span) / SPAN_BLOCKS,                                                    \
        type##_span_fill,                                                                       \
        {{span_tile6, Q_TILE_T}, {span_tile2, 2}, {span_tile1, 1}}};
SPANS(q4_k, DTYPE_Q4_K)
SPANS(q6_k, DTYPE_Q6_K)
SPANS(q2_k, DTYPE_Q2_K)
SPANS(q3_k, DTYPE_Q3_K)
SPANS(q5_k, DTYPE_Q5_K)
SPANS(iq4_xs, DTYPE_IQ4_XS)
SPANS(iq2_s, DTYPE_IQ2_S)
SPANS(tq2_0, DTYPE_TQ2_0)

static void span_matmul(enum dtype type, const struct quant_job *j, size_t n)
{
    static const struct panel_kind *const kinds[DTYPE_COUNT] = {
        [DTYPE_Q4_K] = &spans_q4_k,   [DTYPE_Q6_K] = &spans_q6_k,   [DTYPE_Q2_K] = &spans_q2_k,
        [DTYPE_Q3_K] = &spans_q3_k,   [DTYPE_Q5_K] = &spans_q5_k,   [DTYPE_IQ4_XS] = &spans_iq4_xs,
        [DTYPE_IQ2_S] = &spans_iq2_s, [DTYPE_TQ2_0] = &spans_tq2_0,
    };

    all_panels(kinds[packed_as(type)], j, first_row(j), n);
}

/* ---- activations ---- */

/* A line more than a row of a power of two would have. */
static size_t span_x_bytes(size_t inner)
{
    return (inner / SPAN * sizeof(struct x_span) / 64 | 1) * 64 + 64;
}

static void prepare_spans(const float *x, size_t inner, struct x_span *out)
{
    for (size_t span = 0; span < inner / SPAN; span++, x += SPAN, out++) {
        struct step step = {1, 0};
        __m512i sum = _mm512_setzero_si512();
        float scale = 0, largest = largest_magnitude(x, SPAN);
        int32_t bits;

        if (largest >= STEP_LEAST && largest < STEP_MOST) {
            step = step_for(largest);
            scale = 1 / (step.power * step_factors[step.factor]);
        } else if (!(largest < STEP_LEAST)) {
            step.power = NAN;
        }
        for (unsigned i = 0; i < SPAN; i += LANES) {
            vec scaled =
                v_mul(v_load(x + i), v_set1(scale)); /* zeros, where scale is, for NaN too */
            __m512i q = _mm512_maskz_cvtps_epi32(scale > 0 ? 0xffff : 0, scaled);

            sum = _mm512_add_epi32(sum, q);
            _mm_storeu_si128((void *)(out->q + i), _mm512_cvtepi32_epi8(q));
        }
        out->bias = 0x1.8p+23f * step.power;
        memcpy(&bits, &out->bias, sizeof(bits));
        out->start = bits - 128 * _mm512_reduce_add_epi32(sum);
        out->factor_at = step.factor * (uint32_t)sizeof(vec[2]);
    }
}

#endif
