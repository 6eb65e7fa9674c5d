/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_digits.h - AMX: weights of two bytes, and what meets them, as integers of two digits.
 *
 * Included by kernel_avx512.c only.  Tiles multiply bytes, and what they wrote is dear: to make
 * floats of it, multiply and add takes longer than a product of a block of 32.  So one step holds
 * for a span of up to 512 weights of a row, another for as many activations, and all products of a
 * span are added as integers:
 *
 *   weights      w' = 256 wh + wl: integers of fixed.h times the share that their block's step has
 *                of the largest in the span;
 *   activations  x' = 256 xh + xl;
 *   products     w' x' / 256 = 256 wh xh + wh xl + wl xh, without wl xl.
 *
 * w' and x' are at most 32512 in magnitude, and digits lie between -128 and 127.  A span's sum is
 * then below 512 (127 32512 + 128 127) in magnitude and so below 2^31, and the same however it is
 * found:
 *
 *   one vector   w' xh + wh xl, of words;
 *   more         by tiles: a sum for wh xh, and one for the other two, of bytes. */
#ifndef TENSOR_KERNEL_DIGITS_H
#define TENSOR_KERNEL_DIGITS_H

#include "tensor/kernel_pairs.h"
#include "tensor/kernel_supers.h"

#define STRIP        64 /* values: a row of a tile */
#define SPAN_STRIPS  8  /* at most */
#define STRIP_BLOCKS (STRIP / Q_BLOCK)
#define SPAN_BLOCKS  (SPAN_STRIPS * STRIP_BLOCKS)
#define DIGITS_MOST  32512 /* of w' and x': wh and xh are at most 127 */

INLINE bool has_digits(enum dtype type)
{
    return type == DTYPE_F16 || type == DTYPE_BF16;
}

/* Strips of a row, the last filled up with zeros. */
INLINE struct spans digit_row(size_t inner)
{
    return spans_of((inner + STRIP - 1) / STRIP, SPAN_STRIPS);
}

/* ---- activations ----
 *
 * For tiles, of each strip the high digits and the low ones as bytes, of each four values the first
 * and the third before the second and the fourth, as registers of pairs have them; then of each
 * strip the high digits and the low ones as words; then a factor for each span. */

#define STRIP_BYTES (2 * STRIP)
#define STRIP_WORDS (4 * STRIP) /* in bytes */

INLINE size_t words_at(const struct spans *row)
{
    return row->units * STRIP_BYTES;
}

INLINE size_t factors_at(const struct spans *row)
{
    return row->units * (STRIP_BYTES + STRIP_WORDS);
}

INLINE float digit_factor(const struct spans *row, const char *x, size_t span)
{
    float factor;

    memcpy(&factor, x + factors_at(row) + span * sizeof(factor), sizeof(factor));
    return factor;
}

static size_t prepared_bytes_digits(size_t inner)
{
    struct spans row = digit_row(inner);

    return (factors_at(&row) + row.spans * sizeof(float) + 63) / 64 * 64;
}

/* In fours: the first, the third, the second, the fourth. */
INLINE __m512i crossed(__m512i v)
{
    return _mm512_shuffle_epi32(v, _MM_PERM_DBCA);
}

/* Sixteen integers at their places in a strip. */
INLINE void put_x_digits(__m512i q, char *bytes, char *words)
{
    __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
    __m512i low = _mm512_sub_epi32(q, _mm512_slli_epi32(high, 8));

    _mm_storeu_si128((void *)bytes, _mm512_cvtepi32_epi8(crossed(high)));
    _mm_storeu_si128((void *)(bytes + STRIP_BYTES / 2), _mm512_cvtepi32_epi8(crossed(low)));
    _mm256_storeu_si256((void *)words, _mm512_cvtepi32_epi16(high));
    _mm256_storeu_si256((void *)(words + STRIP_WORDS / 2), _mm512_cvtepi32_epi16(low));
}

/* A span of x, of count values; returns what its integers are multiplied by. */
INLINE float prepare_span(const float *x, size_t count, size_t strips, char *bytes, char *words)
{
    const float most = largest_magnitude(x, count);
    float factor;

    if (!(most >= STEP_LEAST && most < STEP_MOST)) {
        memset(bytes, 0, strips * STRIP_BYTES);
        memset(words, 0, strips * STRIP_WORDS);
        return most < STEP_LEAST ? 0 : NAN;
    }
    factor = most / DIGITS_MOST;
    for (size_t i = 0; i < strips * STRIP; i += LANES) {
        vec v = i < count ? v_load_part(x + i, count - i) : v_zero();
        size_t strip = i / STRIP, at = i % STRIP;

        put_x_digits(_mm512_cvtps_epi32(v_mul(v, v_set1(1 / factor))),
                     bytes + strip * STRIP_BYTES + at, words + strip * STRIP_WORDS + 2 * at);
    }
    return factor;
}

static void prepare_digits(const float *x, size_t inner, char *out)
{
    const struct spans row = digit_row(inner);

    for (size_t span = 0; span < row.spans; span++) {
        size_t first = span * row.each, from = first * STRIP, strips = units_in(&row, span);
        size_t count = inner - from < strips * STRIP ? inner - from : strips * STRIP;
        float factor = prepare_span(x + from, count, strips, out + first * STRIP_BYTES,
                                    out + words_at(&row) + first * STRIP_WORDS);

        memcpy(out + factors_at(&row) + span * sizeof(factor), &factor, sizeof(factor));
    }
}

/* ---- weights ---- */

/* A block of rows as they lie in a file: all of a span are looked at first. */
struct plain_block {
    __m512i w[PAIRS];
    vec step;
};

/* A span of sixteen rows. */
struct digit_span {
    const struct tensor *w;
    struct rows16 rows;
    struct plain_block *plain; /* room for SPAN_BLOCKS, if rows are not packed */
    size_t lines_ahead;        /* of one vector */
    size_t first, blocks;      /* those that the rows have */
    vec inverse;               /* a whole share over the largest of the steps of blocks */
    vec scale;                 /* of a sum of products */
};

/* The step of block i of the span; infinity where numbers are NaN or infinite. */
INLINE vec digit_block_step(const bool is_packed, const struct digit_span *s, size_t i)
{
    if (!is_packed)
        return s->plain[i].step;
    return packed_steps(s->w, s->rows.out, s->first + i);
}

/* Integers of fixed.h fill words when they are multiplied by four. */
INLINE void get_plain(enum dtype type, struct digit_span *s, size_t i)
{
    s->plain[i].step = take_block(type, false, s->w, &s->rows, s->first + i, 0, s->plain[i].w);
    for (unsigned k = 0; k < PAIRS; k++)
        s->plain[i].w[k] = _mm512_slli_epi16(s->plain[i].w[k], 2);
}

/* The largest exponent of steps, as f32 has it.  Everything waits for it. */
INLINE __m512i largest_of_span(enum dtype type, const bool is_packed, struct digit_span *s)
{
    const char *front = (const char *)tensor_row(s->w, s->rows.out) + PACKED_GROUP * s->first;
    __m128i bytes = _mm_setzero_si128();
    vec step = v_zero();

    for (size_t i = 0; i < s->blocks && is_packed; i++, front += PACKED_GROUP)
        bytes = _mm_max_epu8(bytes, _mm_loadu_si128((const void *)front));
    if (is_packed)
        return _mm512_cvtepu8_epi32(bytes);
    for (size_t i = 0; i < s->blocks; i++) {
        get_plain(type, s, i);
        step = v_max(step, s->plain[i].step);
    }
    return _mm512_srli_epi32(_mm512_castps_si512(step), 23);
}

INLINE void digit_span_begin(enum dtype type, const bool is_packed, struct digit_span *s,
                             size_t first_strip, size_t strips)
{
    const float unit = 256.0f * 0x1p13f / DIGITS_MOST;
    size_t all = blocks_of(s->w->shape[0]);
    __m512i largest, inverse;
    __mmask16 is_finite;

    s->first = first_strip * STRIP_BLOCKS;
    s->blocks = all - s->first < strips * STRIP_BLOCKS ? all - s->first : strips * STRIP_BLOCKS;
    largest = largest_of_span(type, is_packed, s);
    is_finite = _mm512_cmpneq_epi32_mask(largest, _mm512_set1_epi32(FIXED_NAN));
    inverse = _mm512_sub_epi32(_mm512_set1_epi32(2 * FIXED_BIAS), largest);
    s->inverse = _mm512_maskz_mul_ps(is_finite, v_set1(DIGITS_MOST),
                                     _mm512_castsi512_ps(_mm512_slli_epi32(inverse, 23)));
    s->scale = _mm512_mask_mul_ps(v_set1(NAN), is_finite, v_set1(unit),
                                  _mm512_castsi512_ps(_mm512_slli_epi32(largest, 23)));
}

/* The integers of block i, times four. */
INLINE void digit_raw(enum dtype type, const bool is_packed, const struct digit_span *s, size_t i,
                      size_t ahead, __m512i w[PAIRS])
{
    if (!is_packed) {
        memcpy(w, s->plain[i].w, sizeof(s->plain[i].w));
        return;
    }
    take_packed_words(type, s->w, s->rows.out, s->first + i, ahead, w);
    for (unsigned k = 0; k < PAIRS; k++)
        w[k] = type == DTYPE_F16 ? _mm512_andnot_si512(_mm512_set1_epi16(3), w[k])
                                 : _mm512_slli_epi16(w[k], 2);
}

/* The share of block i, in both halves of lanes. */
INLINE __m512i digit_share(const bool is_packed, const struct digit_span *s, size_t i)
{
    __m512i share = _mm512_cvtps_epi32(v_mul(digit_block_step(is_packed, s, i), s->inverse));

    return two_words(share, share);
}

/* (w' + 128) / 256 */
INLINE __m512i high_digits(__m512i words)
{
    return _mm512_mulhrs_epi16(words, _mm512_set1_epi16(128));
}

/* The lower bytes of both words: digits of four values. */
INLINE __m512i four_digits(__m512i even, __m512i odd)
{
    return selected(0xff, even, _mm512_slli_epi16(odd, 8));
}

/* acc + a span's part of the result. */
INLINE vec digit_add(__m512i sum, vec scale, float factor, vec acc)
{
    return v_fma(_mm512_cvtepi32_ps(sum), v_mul(scale, v_set1(factor)), acc);
}

/* ---- one vector ---- */

/* Adds block i to four sums, so that additions need not wait for each other. */
INLINE void digit_stream_block(enum dtype type, const bool is_packed, const struct digit_span *s,
                               size_t i, const char *words, __m512i sums[4])
{
    const __m512i share = digit_share(is_packed, s, i);
    __m512i w[PAIRS];

    digit_raw(type, is_packed, s, i, s->lines_ahead, w);
#pragma GCC unroll 16
    for (unsigned k = 0; k < PAIRS; k++) {
        __m512i both = _mm512_mulhrs_epi16(w[k], share), *sum = sums + k % 2 * 2;
        const char *x = words + 4 * k;

        sum[0] = _mm512_dpwssd_epi32(sum[0], both, two_values(x));
        sum[1] = _mm512_dpwssd_epi32(sum[1], high_digits(both), two_values(x + STRIP_WORDS / 2));
    }
}

/* Sixteen rows from r on. */
INLINE void digit_stream(enum dtype type, const bool is_packed, const struct quant_job *j, size_t r)
{
    const struct spans row = digit_row(j->w->shape[0]);
    struct plain_block plain[SPAN_BLOCKS];
    struct digit_span s = {.w = j->w,
                           .rows = {.out = r, .lanes = lanes_of(j, r)},
                           .plain = plain,
                           .lines_ahead = j->lines_ahead};
    vec acc = v_zero();

    if (!is_packed)
        s.rows = sixteen_rows(j->w, r, j->row_end);
    for (size_t span = 0; span < row.spans; span++) {
        const char *words = j->x + words_at(&row) + span * row.each * STRIP_WORDS;
        __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                           _mm512_setzero_si512()};

        digit_span_begin(type, is_packed, &s, span * row.each, units_in(&row, span));
        for (size_t i = 0; i < s.blocks; i++)
            digit_stream_block(
                type, is_packed, &s, i,
                words + i / STRIP_BLOCKS * STRIP_WORDS + i % STRIP_BLOCKS * 2 * Q_BLOCK, sums);
        acc = digit_add(_mm512_add_epi32(_mm512_add_epi32(sums[0], sums[1]),
                                         _mm512_add_epi32(sums[2], sums[3])),
                        s.scale, digit_factor(&row, j->x, span), acc);
    }
    _mm512_mask_storeu_ps(j->out + s.rows.out, s.rows.lanes, acc);
}

/* ---- tiles ---- */

#define DIGITS_X_HIGH 4
#define DIGITS_X_LOW  TILE_X

/* A strip of sixteen rows: digits of fours of values. */
struct digit_tiles {
    __m512i high[16], low[16];
};

/* A span of two groups of rows. */
struct digit_panel {
    struct digit_tiles w[SPAN_STRIPS][2];
    vec scale[2];
};

/* Digits of a strip: of the blocks i and i + 1 of the span. */
INLINE void digit_fill(enum dtype type, const bool is_packed, const struct digit_span *s, size_t i,
                       size_t ahead, struct digit_tiles *to)
{
    for (size_t end = i + STRIP_BLOCKS, at = 0; i < end; i++, at += Q_BLOCK / 4) {
        __m512i share, w[PAIRS];

        if (i >= s->blocks) { /* an odd number of blocks */
            memset(to->high + at, 0, sizeof(to->high) / STRIP_BLOCKS);
            memset(to->low + at, 0, sizeof(to->low) / STRIP_BLOCKS);
            break;
        }
        share = digit_share(is_packed, s, i);
        digit_raw(type, is_packed, s, i, ahead, w);
#pragma GCC unroll 8
        for (unsigned k = 0; k < Q_BLOCK / 4; k++) {
            __m512i even = _mm512_mulhrs_epi16(w[2 * k], share);
            __m512i odd = _mm512_mulhrs_epi16(w[2 * k + 1], share);

            to->high[at + k] = four_digits(high_digits(even), high_digits(odd));
            to->low[at + k] = four_digits(even, odd);
        }
    }
}

/* What tiles wrote, for vectors and both groups; where it is added. */
struct digit_written {
    struct {
        int32_t high[TILE_VECTORS][LANES], both[TILE_VECTORS][LANES];
    } sums[2];
    const float *factors;
    sums2 *to;
} __attribute__((aligned(64)));

/* Adds what is written for the vectors [from, to). */
INLINE void digit_take(const struct digit_panel *p, size_t from, size_t to,
                       const struct digit_written *f)
{
    for (size_t t = from; t < to; t++) {
#pragma GCC unroll 2
        for (unsigned g = 0; g < 2; g++) {
            __m512i high = _mm512_load_si512(f->sums[g].high[t]);
            __m512i both = _mm512_load_si512(f->sums[g].both[t]);

            f->to[t][g] = digit_add(_mm512_add_epi32(_mm512_slli_epi32(high, 8), both), p->scale[g],
                                    f->factors[t], f->to[t][g]);
        }
    }
}

/* Sums of group g are in the tiles 2 g and 2 g + 1, and rest for three products. */
INLINE void digit_products(const struct digit_tiles w[2], const char *x, size_t x_bytes)
{
    _tile_loadd(DIGITS_X_HIGH, x, x_bytes);
    _tile_loadd(TILE_W, w[0].high, sizeof(vec));
    _tile_loadd(TILE_W_TOO, w[1].high, sizeof(vec));
    _tile_loadd(DIGITS_X_LOW, x + STRIP, x_bytes);
    _tile_dpbssd(1, DIGITS_X_LOW, TILE_W);
    _tile_dpbssd(3, DIGITS_X_LOW, TILE_W_TOO);
    _tile_dpbssd(0, DIGITS_X_HIGH, TILE_W);
    _tile_loadd(TILE_W, w[0].low, sizeof(vec));
    _tile_dpbssd(2, DIGITS_X_HIGH, TILE_W_TOO);
    _tile_loadd(TILE_W_TOO, w[1].low, sizeof(vec));
    _tile_dpbssd(1, DIGITS_X_HIGH, TILE_W);
    _tile_dpbssd(3, DIGITS_X_HIGH, TILE_W_TOO);
}

INLINE void digit_sums_begin(void)
{
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
}

INLINE void digit_sums_end(struct digit_written *out)
{
    _tile_stored(0, out->sums[0].high, sizeof(vec));
    _tile_stored(1, out->sums[0].both, sizeof(vec));
    _tile_stored(2, out->sums[1].high, sizeof(vec));
    _tile_stored(3, out->sums[1].both, sizeof(vec));
}

/* The panel times sixteen vectors at x; meanwhile adds what was written before, if that is not
 * NULL. */
INLINE void digit_multiply(const struct digit_panel *p, size_t strips, const char *x,
                           size_t x_bytes, struct digit_written *out,
                           const struct digit_written *before)
{
    digit_sums_begin();
    for (size_t i = 0; i < strips; i++) {
        digit_products(p->w[i], x + i * STRIP_BYTES, x_bytes);
        if (before)
            digit_take(p, TILE_VECTORS * i / strips, TILE_VECTORS * (i + 1) / strips, before);
    }
    digit_sums_end(out);
}

/* Factors of a span of n vectors at x, beside each other. */
INLINE void get_digit_factors(const struct spans *row, const char *x, size_t x_bytes, size_t span,
                              size_t n, float *to)
{
    for (size_t t = 0; t < n; t++)
        to[t] = digit_factor(row, x + t * x_bytes, span);
}

/* Brings near a share of the packed rows that make the next panel: those of the next pair, or of
 * the first one in the next span. */
INLINE void fetch_next_panel(enum dtype type, const struct panel_rows *two, size_t first_strip,
                             size_t strips, size_t tile, size_t tiles)
{
    const size_t bytes = strips * STRIP_BLOCKS * packed_unit(type).bytes;

    for (unsigned g = 0; g < 2; g++)
        fetch_level2(pairs_at(type, two->w[g], two->rows[g].out, first_strip * STRIP_BLOCKS) +
                         bytes * tile / tiles,
                     bytes / tiles);
}

/* SUMS_MAX vectors at most, a tile at least, times PAIRS_MAX pairs of groups at most. */
INLINE void digit_panels(enum dtype type, const bool is_packed, const struct quant_job *j, size_t r,
                         size_t n)
{
    const struct spans row = digit_row(j->w->shape[0]);
    const size_t pairs = pairs_from(j, r, PAIRS_MAX);
    sums2 sums[PAIRS_MAX][SUMS_MAX];
    struct digit_written written[2];
    struct plain_block plain[SPAN_BLOCKS];
    float factors[SUMS_MAX];
    struct digit_panel p;

    for (size_t pair = 0; pair < pairs; pair++)
        memset(sums[pair], 0, tiles_of(n) * TILE_VECTORS * sizeof(sums[0][0]));
    for (size_t span = 0; span < row.spans; span++) {
        const size_t first = span * row.each, count = units_in(&row, span);

        for (size_t tile = 0; tile < tiles_of(n); tile++)
            get_digit_factors(&row, j->x + tile_at(n, tile) * j->x_bytes, j->x_bytes, span,
                              TILE_VECTORS, factors + tile * TILE_VECTORS);
        for (size_t pair = 0; pair < pairs; pair++) {
            const bool is_last = pair + 1 == pairs;
            struct panel_rows two = two_groups(j, r, pair);
            struct panel_rows next = two_groups(j, r, is_last ? 0 : pair + 1);
            struct digit_written *before = NULL;

            for (unsigned g = 0; g < 2; g++) {
                struct digit_span s = {.w = two.w[g], .rows = two.rows[g], .plain = plain};

                digit_span_begin(type, is_packed, &s, first, count);
                p.scale[g] = s.scale;
                for (size_t i = 0; i < count; i++)
                    digit_fill(type, is_packed, &s, i * STRIP_BLOCKS, 0, &p.w[i][g]);
            }
            __asm__ volatile("" ::: "memory"); /* the panel is written */
            for (size_t tile = 0; tile < tiles_of(n); tile++) {
                struct digit_written *now = &written[tile % 2];
                const char *x = j->x + tile_at(n, tile) * j->x_bytes;

                if (is_packed)
                    fetch_next_panel(type, &next, is_last ? first + count : first, count, tile,
                                     tiles_of(n));
                now->factors = factors + tile * TILE_VECTORS;
                now->to = sums[pair] + tile * TILE_VECTORS;
                digit_multiply(&p, count, x + first * STRIP_BYTES, j->x_bytes, now, before);
                before = now;
            }
            digit_take(&p, 0, TILE_VECTORS, before);
        }
    }
    for (size_t pair = 0; pair < pairs; pair++)
        put_tiles(sums[pair], two_groups(j, r, pair).rows, j, n);
}

/* A tile of vectors at most times two groups of rows, whose digits are multiplied strip by strip
 * as they are made. */
INLINE void digit_pair(enum dtype type, const bool is_packed, const struct quant_job *j, size_t r,
                       size_t n)
{
    const struct spans row = digit_row(j->w->shape[0]);
    const struct panel_rows two = two_groups(j, r, 0);
    struct plain_block plain[2][SPAN_BLOCKS];
    struct digit_span s[2] = {{.w = two.w[0], .rows = two.rows[0], .plain = plain[0]},
                              {.w = two.w[1], .rows = two.rows[1], .plain = plain[1]}};
    sums2 sums[TILE_VECTORS];
    float factors[TILE_VECTORS];
    struct digit_written written;
    struct digit_panel p;

    written.factors = factors;
    written.to = sums;
    memset(sums, 0, sizeof(sums));
    for (size_t span = 0; span < row.spans; span++) {
        const size_t first = span * row.each;

        get_digit_factors(&row, j->x, j->x_bytes, span, n, factors);
        for (unsigned g = 0; g < 2; g++) {
            digit_span_begin(type, is_packed, &s[g], first, units_in(&row, span));
            p.scale[g] = s[g].scale;
        }
        digit_sums_begin();
        for (size_t i = 0; i < units_in(&row, span); i++) {
            struct digit_tiles *w = p.w[i % 2]; /* the one before may still be read */

            for (unsigned g = 0; g < 2; g++)
                digit_fill(type, is_packed, &s[g], i * STRIP_BLOCKS, j->lines_ahead, &w[g]);
            __asm__ volatile("" ::: "memory"); /* they are written */
            digit_products(w, j->x + (first + i) * STRIP_BYTES, j->x_bytes);
        }
        digit_sums_end(&written);
        digit_take(&p, 0, n, &written);
    }
    put_sums(sums, two.rows, j, n);
}

/* ---- all of a product ---- */

/* Types and layouts have functions of their own, since each needs half of a thread's stack. */
#define DIGIT_KIND(name, TYPE, is_packed)                                    \
    static void name##_stream(const struct quant_job *j, size_t r)           \
    {                                                                        \
        digit_stream(TYPE, is_packed, j, r);                                 \
    }                                                                        \
    static void name##_pair(const struct quant_job *j, size_t r, size_t n)   \
    {                                                                        \
        digit_pair(TYPE, is_packed, j, r, n);                                \
    }                                                                        \
    static void name##_panels(const struct quant_job *j, size_t r, size_t n) \
    {                                                                        \
        digit_panels(TYPE, is_packed, j, r, n);                              \
    }                                                                        \
    static const struct tiled_kind name = {.packed = {name##_stream},        \
                                           .plain = {name##_stream},         \
                                           .few = name##_pair,               \
                                           .few_least = 2,                   \
                                           .few_rows = 2 * GROUP,            \
                                           .panels = name##_panels};

DIGIT_KIND(digits_f16, DTYPE_F16, false)
DIGIT_KIND(digits_f16_packed, DTYPE_F16, true)
DIGIT_KIND(digits_bf16, DTYPE_BF16, false)
DIGIT_KIND(digits_bf16_packed, DTYPE_BF16, true)

static const struct tiled_kind *digit_kind(const struct tensor *w)
{
    if (w->type == DTYPE_F16)
        return w->is_packed ? &digits_f16_packed : &digits_f16;
    return w->is_packed ? &digits_bf16_packed : &digits_bf16;
}

#endif
