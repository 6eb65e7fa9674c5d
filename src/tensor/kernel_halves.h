/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_halves.h - AVX2: weights of two bytes, which become integers of as many (fixed.h).
 *
 * Included by kernel_avx2.c only. */
#ifndef TENSOR_KERNEL_HALVES_H
#define TENSOR_KERNEL_HALVES_H

#include "tensor/kernel_eights_panels.h"

/* ---- weights as they lie in a file ---- */

/* Block `block` of eight rows: w[i] = the pairs i.  Behind the end of a row there are zeros. */
INLINE void get_pairs(const struct rows *rows, size_t inner, size_t block, __m256i w[PAIRS])
{
    uint16_t end[GROUP][Q_BLOCK];
    struct rows last = {.stride = sizeof(end[0])};
    size_t at = block * Q_BLOCK;

    if (at + Q_BLOCK > inner) {
        memset(end, 0, sizeof(end));
        for (unsigned i = 0; i < GROUP; i++)
            memcpy(end[i], rows->half[i / 4] + i % 4 * rows->stride + 2 * at, 2 * (inner - at));
        last.half[0] = (const char *)end[0];
        last.half[1] = (const char *)end[4];
        rows = &last;
        at = 0;
    }
    for (unsigned i = 0; i < 4; i++)
        transpose8(rows, 2 * at + 16 * i, w + 4 * i);
}

/* The largest exponent in each lane, as f32 has it: 255 where there is NaN or infinity. */
INLINE __m256i largest_exponent(enum dtype type, const __m256i w[PAIRS])
{
    __m256i most = _mm256_setzero_si256();

    for (unsigned i = 0; i < PAIRS; i++)
        most = _mm256_max_epu16(most, _mm256_and_si256(w[i], _mm256_set1_epi16(0x7fff)));
    most = _mm256_max_epu16(most, _mm256_srli_epi32(most, 16));
    if (type == DTYPE_BF16)
        return _mm256_srli_epi32(_mm256_slli_epi32(most, 16), 23);
    return _mm256_srli_epi32(_mm256_castps_si256(low_halves(most)), 23);
}

/* The steps of integers in blocks with this largest exponent, as f32 has it; infinity, by which
 * zeros become NaN, where it is that of NaN and infinity. */
INLINE vec fixed_steps(__m256i exponent)
{
    const __m256i nan = _mm256_set1_epi32(FIXED_NAN);
    __m256i e = _mm256_max_epi32(exponent, _mm256_set1_epi32(FIXED_EXPONENT_LEAST));

    e = _mm256_blendv_epi8(_mm256_sub_epi32(e, _mm256_set1_epi32(FIXED_BITS)), nan,
                           _mm256_cmpeq_epi32(e, nan));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}

/* Makes integers of a block of f16; returns their steps. */
INLINE vec fix_f16(__m256i w[PAIRS])
{
    vec step = fixed_steps(largest_exponent(DTYPE_F16, w));
    vec inverse = v_div(v_set1(1), step); /* a power of two: exact */

    for (unsigned i = 0; i < PAIRS; i++) {
        __m256i even = _mm256_cvtps_epi32(v_mul(low_halves(w[i]), inverse));
        __m256i odd = _mm256_cvtps_epi32(v_mul(high_halves(w[i]), inverse));

        w[i] = _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa);
    }
    return step;
}

/* Integers of words as they are packed: bits 0 to 3 say how far an exponent is below the largest,
 * bit 4 is the sign, bits 5 to 11 are the mantissa.  Halves are rounded away from zero.
 *
 * A significand is multiplied by 2^-below in units of 2^-15.  That is one byte of a word, which is
 * looked up for each half of it: what belongs into the other half is zero in the table.  2^0 comes
 * out negative, and so does its product, of which only the magnitude is taken; what stands for zero
 * comes out as 2^-15, and rounding makes that zero. */
INLINE __m256i fixed_words(__m256i w)
{
    const __m256i shares = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(-128, 64, 32, 16, 8, 4, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0));
    const __m256i low_twice = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, 0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12, 14, 14));
    __m256i significand = _mm256_or_si256(_mm256_and_si256(w, _mm256_set1_epi16(0x7f << 5)),
                                          _mm256_set1_epi16(0x80 << 5));
    __m256i place = _mm256_and_si256(_mm256_shuffle_epi8(w, low_twice), _mm256_set1_epi8(0x1f));

    place = _mm256_xor_si256(place, _mm256_set1_epi16(8)); /* and bits 4 and 12: the sign */
    w = _mm256_mulhrs_epi16(significand, _mm256_shuffle_epi8(shares, place));
    return _mm256_sign_epi16(_mm256_abs_epi16(w), _mm256_slli_epi16(place, 3));
}

/* Makes integers of a block of bf16; returns their steps. */
INLINE vec fix_bf16(__m256i w[PAIRS])
{
    const __m256i zero = _mm256_set1_epi16(PACKED_ZERO), sign = _mm256_set1_epi16(1 << 4);
    const __m256i least = _mm256_set1_epi32(FIXED_EXPONENT_LEAST);
    __m256i largest = _mm256_max_epi32(largest_exponent(DTYPE_BF16, w), least);
    __m256i both = two_words(largest), none = _mm256_setzero_si256();
    __m256i is_nan = _mm256_cmpeq_epi16(both, _mm256_set1_epi16(FIXED_NAN));

    for (unsigned i = 0; i < PAIRS; i++) {
        __m256i e = _mm256_and_si256(_mm256_srli_epi16(w[i], 7), _mm256_set1_epi16(0xff));
        __m256i below = _mm256_min_epu16(_mm256_sub_epi16(both, e), zero);
        __m256i is_zero = _mm256_or_si256(_mm256_cmpeq_epi16(e, none), is_nan);

        below = _mm256_blendv_epi8(below, zero, is_zero);
        below = _mm256_or_si256(below, _mm256_and_si256(_mm256_srli_epi16(w[i], 11), sign));
        w[i] = fixed_words(_mm256_or_si256(_mm256_slli_epi16(w[i], 5), below));
    }
    return fixed_steps(largest);
}

INLINE vec get_halves(enum dtype type, const struct rows *rows, size_t inner, size_t block,
                      __m256i w[PAIRS])
{
    get_pairs(rows, inner, block, w);
    return type == DTYPE_F16 ? fix_f16(w) : fix_bf16(w);
}

/* ---- packed weights ---- */

/* Pairs that lie in lines together. */
INLINE unsigned pairs_together(enum dtype type)
{
    return type == DTYPE_F16 ? 8 : 4;
}

/* Half g of so many lines.  What lies ahead is asked for evenly: each half asks for every other
 * line. */
INLINE void load_half_lines(const char *p, const unsigned count, unsigned g, struct ask ask,
                            __m256i *to)
{
#pragma GCC unroll 7
    for (unsigned i = 0; i < count; i++)
        load_lines(half_of(p + 64 * i, g, 4), 1, i % 2 == g ? ask : ASK_NOTHING, to + i);
}

/* Eight words of 14 bits from seven, above whose lowest two bits the others lie: the eighth is in
 * those. */
INLINE void unpack_14(__m256i w[8])
{
    const __m256i two = _mm256_set1_epi16(3);

    w[7] = _mm256_slli_epi16(w[6], 14);
#pragma GCC unroll 6
    for (unsigned i = 0; i < 6; i++)
        w[7] =
            _mm256_or_si256(w[7], _mm256_slli_epi16(_mm256_and_si256(w[i], two), (int)(2 * i + 2)));
#pragma GCC unroll 8
    for (unsigned i = 0; i < 8; i++)
        w[i] = _mm256_srai_epi16(w[i], 2);
}

/* Four words of 12 bits from three: the fourth is in the highest bits of the others. */
INLINE void unpack_12(__m256i w[4])
{
    w[3] = _mm256_or_si256(
        _mm256_srli_epi16(w[0], 12),
        _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(w[1], 8), _mm256_set1_epi16(0xf0)),
                        _mm256_and_si256(_mm256_srli_epi16(w[2], 4), _mm256_set1_epi16(0xf00))));
#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++)
        w[i] = fixed_words(w[i]);
}

/* The pairs from `first` on, as many as lie together, of half g of a block of packed words. */
INLINE void unpack_halves(enum dtype type, const char *block, unsigned first, unsigned g,
                          struct ask ask, __m256i *w)
{
    const unsigned lines = pairs_together(type) * packed_bits(type) / 16;

    load_half_lines(block + first / pairs_together(type) * lines * 64, lines, g, ask, w);
    if (type == DTYPE_F16)
        unpack_14(w);
    else
        unpack_12(w);
}

/* The sixteen rows at r, which begin a group: bytes in front of their units, and units. */
struct word_rows {
    const char *front, *units;
};

INLINE struct word_rows packed_word_rows(enum dtype type, const struct tensor *w, size_t r)
{
    const char *at = tensor_row(w, r);

    return (struct word_rows){at, at + packed_front(type, w->shape[0])};
}

/* Of block b, half g. */
INLINE vec packed_steps(const struct word_rows *rows, size_t b, unsigned g)
{
    __m256i e = lane_bytes(rows->front + PACKED_GROUP * b + GROUP * g, false);

    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}

/* ---- few vectors ---- */

/* sum[t] += `count` pairs from `first` on times T vectors. */
INLINE void add_some_pairs(const unsigned T, const __m256i *w, unsigned first, unsigned count,
                           const char *x, size_t x_bytes, __m256i sum[STREAM_T])
{
    for (unsigned i = 0; i < count; i++)
        for (unsigned t = 0; t < T; t++)
            sum[t] = add_pairs(sum[t], w[i], two_values(words_at(x + t * x_bytes, 0), first + i));
}

INLINE void stream_half_rows(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    struct rows rows = plain_rows(j->w, r, j->row_end);
    const char *next = tensor_row(j->w, r + GROUP < j->row_end ? r + GROUP : r);
    size_t inner = j->w->shape[0];
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = v_zero();
    for (size_t b = 0; b < blocks_of(inner); b++, next += 2 * GROUP * Q_BLOCK) {
        const char *x = j->x + b * sizeof(struct x_words);
        __m256i w[PAIRS], sum[STREAM_T];
        vec step = get_halves(type, &rows, inner, b, w);

        fetch_level2(next, 2 * GROUP * Q_BLOCK);
        for (unsigned t = 0; t < T; t++)
            sum[t] = _mm256_setzero_si256();
        add_some_pairs(T, w, 0, PAIRS, x, j->x_bytes, sum);
        for (unsigned t = 0; t < T; t++)
            acc[t] = add_words(sum[t], step, words_at(x + t * j->x_bytes, 0), acc[t]);
    }
    for (unsigned t = 0; t < T; t++)
        put_lanes(j->out + t * j->out_stride, &rows, acc[t]);
}

/* acc[g][t] += block b of sixteen packed rows times T vectors. */
INLINE void stream_word_block(const unsigned T, enum dtype type, const struct word_rows *rows,
                              size_t b, struct ask ask, const struct quant_job *j,
                              vec acc[2][STREAM_T])
{
    const char *x = j->x + b * sizeof(struct x_words);
    const unsigned count = pairs_together(type);
    __m256i sum[2][STREAM_T];

    for (unsigned g = 0; g < 2; g++)
        for (unsigned t = 0; t < T; t++)
            sum[g][t] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (unsigned i = 0; i < PAIRS; i += count) {
#pragma GCC unroll 2
        for (unsigned g = 0; g < 2; g++) {
            __m256i w[8];

            unpack_halves(type, rows->units + b * packed_unit(type).bytes, i, g, ask, w);
            add_some_pairs(T, w, i, count, x, j->x_bytes, sum[g]);
        }
    }
    for (unsigned g = 0; g < 2; g++)
        for (unsigned t = 0; t < T; t++)
            acc[g][t] = add_words(sum[g][t], packed_steps(rows, b, g),
                                  words_at(x + t * j->x_bytes, 0), acc[g][t]);
}

/* Sixteen rows from r on of a strip, which begin a group. */
INLINE void stream_packed_halves(const unsigned T, enum dtype type, const struct quant_job *j,
                                 size_t r)
{
    const struct ask ask = ask_for(T, type, j->lines_ahead);
    const size_t blocks = blocks_of(j->w->shape[0]);
    const size_t front = packed_front(type, j->w->shape[0]);
    struct rows rows[2] = {packed_rows(j, r), packed_rows(j, r + GROUP)};
    const struct word_rows words = packed_word_rows(type, j->w, r);
    vec acc[2][STREAM_T];

    for (unsigned g = 0; g < 2; g++)
        for (unsigned t = 0; t < T; t++)
            acc[g][t] = j->adds ? get_lanes(j->out + t * j->out_stride, &rows[g]) : v_zero();
    fetch(words.front, front);
    /* Units ask for what lies so far behind them; nobody does for what lies behind the front. */
    fetch_level2(words.front + ask.level2, front);
    for (size_t b = 0; b < blocks; b++)
        stream_word_block(T, type, &words, b, ask, j, acc);
    for (unsigned g = 0; g < 2; g++)
        for (unsigned t = 0; t < T; t++)
            put_lanes(j->out + t * j->out_stride, &rows[g], acc[g][t]);
}

/* ---- many vectors ---- */

struct half_panel {
    struct half_block {
        __m256i w[PAIRS][2];
        vec step[2];
    } blocks[PANEL];
};

INLINE void half_panel_put(struct half_block *to, unsigned g, vec step, const __m256i w[PAIRS])
{
    for (unsigned i = 0; i < PAIRS; i++)
        to->w[i][g] = w[i];
    to->step[g] = step;
}

/* `count` blocks from b on. */
INLINE void half_panel_fill(enum dtype type, const struct tensor *w, const struct rows *rows,
                            unsigned g, size_t b, size_t count, struct half_panel *p)
{
    __m256i pairs[PAIRS];

    for (size_t i = 0; i < count; i++) {
        vec step = get_halves(type, rows, w->shape[0], b + i, pairs);

        half_panel_put(&p->blocks[i], g, step, pairs);
    }
}

/* The same from packed weights, of the eight rows at r. */
INLINE void half_panel_unpack(enum dtype type, const struct tensor *w, size_t r, unsigned g,
                              size_t b, size_t count, struct half_panel *p)
{
    struct word_rows rows = packed_word_rows(type, w, r / PACKED_GROUP * PACKED_GROUP);
    const unsigned half = r / GROUP % 2;
    __m256i pairs[PAIRS];

    for (size_t i = 0; i < count; i++) {
        const char *block = rows.units + (b + i) * packed_unit(type).bytes;

        for (unsigned k = 0; k < PAIRS; k += pairs_together(type))
            unpack_halves(type, block, k, half, ASK_NOTHING, pairs + k);
        half_panel_put(&p->blocks[i], g, packed_steps(&rows, b + i, half), pairs);
    }
}

/* sums (+)= panel * x for T vectors. */
INLINE void half_tile(const unsigned T, const struct half_panel *p, size_t count,
                      const struct panel_x *v, sums2 *sums, bool is_first)
{
    vec acc[2][Q_TILE_T];

    take_sums(T, sums, v->ahead, is_first, acc);
    for (size_t b = 0; b < count; b++) {
        const char *x = v->x + b * sizeof(struct x_words);
        __m256i sum[2][Q_TILE_T];

        for (unsigned t = 0; t < T; t++)
            _mm_prefetch(x + (v->ahead + t) * v->x_bytes, _MM_HINT_T0);
        word_sums(2, T, p->blocks[b].w[0], x, v->x_bytes, sum);
        for (unsigned t = 0; t < T; t++)
            for (unsigned g = 0; g < 2; g++)
                acc[g][t] = add_words(sum[g][t], p->blocks[b].step[g],
                                      words_at(x + t * v->x_bytes, 0), acc[g][t]);
    }
    leave_sums(T, sums, acc);
}

/* ---- words or bytes: what kernel_products.h includes ---- */

struct panel {
    union {
        struct eights_panel eights;
        struct half_panel halves;
    };
};

INLINE void stream_rows(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    if (IS_HALVES(type))
        stream_half_rows(T, type, j, r);
    else
        stream_eights(T, type, j, r);
}

INLINE void stream_packed(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    if (IS_HALVES(type))
        stream_packed_halves(T, type, j, r);
    else
        stream_packed_eights(T, type, j, r);
}

INLINE void panel_fill(enum dtype type, const struct tensor *w, const struct rows *rows, unsigned g,
                       size_t b, size_t count, struct panel *p)
{
    if (IS_HALVES(type))
        half_panel_fill(type, w, rows, g, b, count, &p->halves);
    else
        eights_panel_fill(type, rows, g, b, count, &p->eights);
}

INLINE void panel_unpack(enum dtype type, const struct tensor *w, size_t r, unsigned g, size_t b,
                         size_t count, struct panel *p)
{
    if (IS_HALVES(type))
        half_panel_unpack(type, w, r, g, b, count, &p->halves);
    else
        eights_panel_unpack(type, w, r, g, b, count, &p->eights);
}

INLINE void panel_tile(const unsigned T, enum dtype type, const struct panel *p, size_t count,
                       const struct panel_x *v, sums2 *sums, bool is_first)
{
    if (IS_HALVES(type))
        half_tile(T, &p->halves, count, v, sums, is_first);
    else
        eights_tile(T, type, &p->eights, count, v, sums, is_first);
}

#endif
