/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_tile_attention.h - AVX-512: attention of prompts over keys and values of f16, by products
 * of pairs.
 *
 * Included by kernel_avx512.c only.  Two ways, in the same order: tiles of AMX, and where there are
 * none products of pairs in registers, which do twice what multiply-adds of f32 do.
 *
 * A score is an exponent, so its error counts.  For tiles, which multiply bf16 and add up f32, keys
 * are sums of two bf16, exactly, queries are rounded to such sums, of sixteen bits, and of the four
 * products that of both lows is left out.  In registers both are integers, of fifteen bits for 32
 * dimensions of a key, which have a power of two of their own, and of thirteen for a query, so that
 * the sum over these fits 32 bits and is exact.
 *
 * Weights and values are rounded to bf16, each off by 2^-8 of itself at most; weights are added up
 * as rounded, so that what they share out is still one.
 *
 * The keys and values of a block are made into tiles first, and then all rows of a job meet them,
 * 32 at a time.  A row's sums are the same whatever rows are beside it: what others see behind its
 * last key has no weight.  But zero times infinity is not zero: rows that see an infinite key or
 * value, or a NaN, are computed without tiles, in that block. */
#ifndef TENSOR_KERNEL_TILE_ATTENTION_H
#define TENSOR_KERNEL_TILE_ATTENTION_H

#include "tensor/kernel_tiles.h"

/* A block of so many dimensions, 392 KiB, and its rows take half of a thread's stack. */
#define TILED_DIM_MAX 256
#define PAIR_VALUES   32 /* of a tile's row of bf16 */
#define PAIR_ROWS     (2 * TILE_ROWS)
#define TILED_PAD     16 /* floats: the rows of a tile would else meet in few sets of a cache */

/* By integers: of 32 dimensions of a key the largest is below 2^14, and PAIR_VALUES products of
 * that and the largest of a query are below 2^31. */
#define KEY_EXPONENT  13
#define QUERY_LARGEST 4095
#define QUERY_LEAST   0x1p-100f /* smaller ones are zero */

typedef __m512i attend_tile[TILE_ROWS];

/* A block of keys and values, two tiles of sixteen columns beside each other. */
struct tiled_block {
    /* High, low; integers are where high is. */
    attend_tile k[ATTEND_BLOCK / PAIR_VALUES * TILED_DIM_MAX / PAIR_VALUES][2][2];
    vec key_step[ATTEND_BLOCK / LANES][TILED_DIM_MAX / PAIR_VALUES]; /* of integers */
    attend_tile v[TILED_DIM_MAX / PAIR_VALUES * ATTEND_BLOCK / PAIR_VALUES][2];
    vec not_finite[2]; /* NaN in some lane if some number is not */
};

/* Two tiles of rows, and what comes of them.  Rows that a job has not are multiplied too, whatever
 * they are. */
struct tiled_rows {
    attend_tile q[TILED_DIM_MAX / PAIR_VALUES][2][2]; /* high, low; likewise */
    float query_step[PAIR_ROWS];
    attend_tile p[ATTEND_BLOCK / PAIR_VALUES][2];
    float scores[PAIR_ROWS][ATTEND_BLOCK + TILED_PAD];
    float out[PAIR_ROWS][TILED_DIM_MAX + TILED_PAD];
} __attribute__((aligned(64)));

INLINE bool attends_in_pairs(const struct attention *a)
{
    return a->type == DTYPE_F16 && a->head_dim % PAIR_VALUES == 0 && a->head_dim <= TILED_DIM_MAX;
}

/* ---- keys and values ---- */

/* Pages of a block, of which the first `keys` are made into tiles; and what is read after them, to
 * be asked for meanwhile: NULL if nothing is. */
struct pages_read {
    const void *const *pages;
    const void *next;
    size_t dim, keys;
};

INLINE const char *page_after(const struct pages_read *r, size_t page)
{
    return (page + 1) * ATTEND_PAGE < r->keys ? r->pages[page + 1] : r->next;
}

INLINE void note_infinite(struct tiled_block *b, vec even, vec odd)
{
    b->not_finite[0] = v_fma(even, v_zero(), b->not_finite[0]);
    b->not_finite[1] = v_fma(odd, v_zero(), b->not_finite[1]);
}

/* Exponents of sixteen keys, each of the largest of 32 of its numbers. */
INLINE vec key_exponents(const uint16_t *k, __mmask16 some)
{
    vec most = v_set1(0x1p-24f); /* the smallest number above zero */

#pragma GCC unroll 4
    for (size_t d = 0; d < PAIR_VALUES; d++, k += ATTEND_PAGE)
        most = v_max(
            _mm512_abs_ps(_mm512_maskz_cvtph_ps(some, _mm256_loadu_si256((const void *)k))), most);
    return _mm512_getexp_ps(most);
}

/* Integers of both, as pairs. */
INLINE __m512i integer_pairs(vec even, vec odd)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_cvtps_epi32(even),
                                   _mm512_slli_epi32(_mm512_cvtps_epi32(odd), 16));
}

/* 32 dimensions, from d on, of sixteen keys, from `at` on. */
INLINE void pair_dims(struct tiled_block *b, const struct pages_read *r, size_t at, size_t d)
{
    const uint16_t *k =
        (const uint16_t *)r->pages[at / ATTEND_PAGE] + d * ATTEND_PAGE + at % ATTEND_PAGE;
    const __mmask16 some = first(r->keys - at);
    const vec raises = v_sub(v_set1(KEY_EXPONENT), key_exponents(k, some));
    const vec scale = _mm512_scalef_ps(v_set1(1), raises);
    const size_t tile = at / PAIR_VALUES * (r->dim / PAIR_VALUES) + d / PAIR_VALUES;
    __m512i *to = b->k[tile][0][at / LANES % 2];

    b->key_step[at / LANES][d / PAIR_VALUES] = _mm512_scalef_ps(v_set1(1), v_sub(v_zero(), raises));
#pragma GCC unroll 4
    for (size_t i = 0; i < PAIR_VALUES / 2; i++, k += 2 * ATTEND_PAGE) {
        vec even = _mm512_maskz_cvtph_ps(some, _mm256_loadu_si256((const void *)k));
        vec odd = _mm512_maskz_cvtph_ps(some, _mm256_loadu_si256((const void *)(k + ATTEND_PAGE)));

        note_infinite(b, even, odd);
        to[i] = integer_pairs(v_mul(even, scale), v_mul(odd, scale));
    }
}

/* Two dimensions, from d on, of a page's keys. */
INLINE void tile_dims(struct tiled_block *b, const struct pages_read *r, size_t at, size_t d)
{
    const uint16_t *k = (const uint16_t *)r->pages[at / ATTEND_PAGE] + d * ATTEND_PAGE;

    for (size_t i = 0; i < ATTEND_PAGE && at + i < r->keys; i += LANES, k += LANES) {
        size_t tile = (at + i) / PAIR_VALUES * (r->dim / PAIR_VALUES) + d / PAIR_VALUES;
        __mmask16 some = first(r->keys - at - i);
        vec even = _mm512_maskz_cvtph_ps(some, _mm256_loadu_si256((const void *)k));
        vec odd = _mm512_maskz_cvtph_ps(some, _mm256_loadu_si256((const void *)(k + ATTEND_PAGE)));

        note_infinite(b, even, odd);
        b->k[tile][0][i / LANES % 2][d % PAIR_VALUES / 2] =
            split_pairs(even, odd, &b->k[tile][1][i / LANES % 2][d % PAIR_VALUES / 2]);
    }
}

/* Tiles that no key has stay as they are: nobody looks at what comes of them. */
INLINE void tile_keys(const bool in_tiles, struct tiled_block *b, const struct pages_read *r)
{
    const size_t dims = in_tiles ? 2 : PAIR_VALUES; /* together */
    const size_t bytes = dims * ATTEND_PAGE * sizeof(uint16_t);

    for (size_t at = 0; at < r->keys; at += ATTEND_PAGE) {
        const char *next = page_after(r, at / ATTEND_PAGE);

        for (size_t d = 0; d < r->dim; d += dims) {
            if (next)
                fetch_level2(next + d / dims * bytes, bytes);
            if (in_tiles)
                tile_dims(b, r, at, d);
            for (size_t i = at; !in_tiles && i < at + ATTEND_PAGE && i < r->keys; i += LANES)
                pair_dims(b, r, i, d);
        }
    }
}

/* Behind the last key are zeros, to the end of a tile. */
INLINE void tile_values(struct tiled_block *b, const struct pages_read *r)
{
    const size_t steps = (r->keys + PAIR_VALUES - 1) / PAIR_VALUES;
    const size_t bytes = 2 * r->dim * sizeof(uint16_t);

    for (size_t at = 0; at < steps * PAIR_VALUES; at += 2) {
        const size_t row = at % ATTEND_PAGE;
        const uint16_t *v = (const uint16_t *)r->pages[at / ATTEND_PAGE] + row * r->dim;
        const char *next = page_after(r, at / ATTEND_PAGE);

        if (next)
            fetch_level2(next + row / 2 * bytes, bytes);
        for (size_t d = 0; d < r->dim; d += LANES, v += LANES) {
            vec even = at < r->keys ? v_f16(v) : v_zero();
            vec odd = at + 1 < r->keys ? v_f16(v + r->dim) : v_zero();

            note_infinite(b, even, odd);
            b->v[d / PAIR_VALUES * steps + at / PAIR_VALUES][d / LANES % 2][at % PAIR_VALUES / 2] =
                bf16_pairs(even, odd);
        }
    }
}

INLINE bool is_finite_f16(uint16_t h)
{
    return (h & 0x7c00) != 0x7c00;
}

/* Of `keys` of a block, so many come before the first that is not finite, or whose value is not. */
static __attribute__((noinline)) size_t finite_keys(const struct attention *a, size_t block,
                                                    size_t keys)
{
    for (size_t j = 0; j < keys; j++) {
        const size_t page = block * BLOCK_PAGES + j / ATTEND_PAGE, at = j % ATTEND_PAGE;
        const uint16_t *k = a->k_pages[page], *v = a->v_pages[page];

        for (size_t d = 0; d < a->head_dim; d++)
            if (!is_finite_f16(k[d * ATTEND_PAGE + at]) || !is_finite_f16(v[at * a->head_dim + d]))
                return j;
    }
    return keys;
}

INLINE void tile_some_keys(const bool in_tiles, struct tiled_block *b, const struct attention *a,
                           size_t block, size_t keys)
{
    const size_t page = block * BLOCK_PAGES, all = a->first + a->positions;
    const bool is_last = all <= (block + 1) * ATTEND_BLOCK;
    const void *const *k = a->k_pages + page, *const *v = a->v_pages + page;

    b->not_finite[0] = b->not_finite[1] = v_zero();
    tile_keys(in_tiles, b, &(struct pages_read){k, v[0], a->head_dim, keys});
    tile_values(b, &(struct pages_read){v, is_last ? NULL : k[BLOCK_PAGES], a->head_dim, keys});
}

/* Makes tiles of the first `keys` of a block, or of those before the first that is not finite;
 * returns how many. */
INLINE size_t tile_block(const bool in_tiles, struct tiled_block *b, const struct attention *a,
                         size_t block, size_t keys)
{
    tile_some_keys(in_tiles, b, a, block, keys);
    if (_mm512_cmpunord_ps_mask(b->not_finite[0], b->not_finite[1])) {
        keys = finite_keys(a, block, keys);
        tile_some_keys(in_tiles, b, a, block, keys);
    }
    return keys;
}

/* ---- products of tiles ---- */

/* Two tiles of rows, or the first; and two of columns: four sums, or two. */
INLINE void attend_load_rows(const bool two, const attend_tile x[2])
{
    _tile_loadd(TILE_X, x[0], TILE_ROW_BYTES);
    if (two)
        _tile_loadd(TILE_X_TOO, x[1], TILE_ROW_BYTES);
}

INLINE void attend_load_columns(const attend_tile w[2])
{
    _tile_loadd(TILE_W, w[0], TILE_ROW_BYTES);
    _tile_loadd(TILE_W_TOO, w[1], TILE_ROW_BYTES);
}

INLINE void attend_products(const bool two)
{
    _tile_dpbf16ps(0, TILE_X, TILE_W);
    _tile_dpbf16ps(1, TILE_X, TILE_W_TOO);
    if (two) {
        _tile_dpbf16ps(2, TILE_X_TOO, TILE_W);
        _tile_dpbf16ps(3, TILE_X_TOO, TILE_W_TOO);
    }
}

INLINE void attend_store(const bool two, float *to, size_t stride)
{
    const size_t bytes = stride * sizeof(*to);

    _tile_stored(0, to, bytes);
    _tile_stored(1, to + LANES, bytes);
    if (two) {
        _tile_stored(2, to + TILE_ROWS * stride, bytes);
        _tile_stored(3, to + TILE_ROWS * stride + LANES, bytes);
    }
}

/* Scores of the first `keys` of the block. */
INLINE void tiled_scores(const bool two, const struct tiled_block *b, struct tiled_rows *r,
                         size_t dim, size_t keys)
{
    const attend_tile(*k)[2][2] = b->k;
    enum { HIGH, LOW };

    for (size_t at = 0; at < keys; at += PAIR_VALUES) {
        tiles_zero(two);
        for (size_t d = 0; d < dim / PAIR_VALUES; d++, k++) {
            attend_load_rows(two, r->q[d][LOW]);
            attend_load_columns((*k)[HIGH]);
            attend_products(two);
            attend_load_rows(two, r->q[d][HIGH]);
            attend_products(two);
            attend_load_columns((*k)[LOW]);
            attend_products(two);
        }
        attend_store(two, &r->scores[0][at], ATTEND_BLOCK + TILED_PAD);
    }
}

/* Of `tiled` keys of the block the first `keys`, values times weights. */
INLINE void tiled_values(const bool two, const struct tiled_block *b, struct tiled_rows *r,
                         size_t dim, size_t keys, size_t tiled)
{
    const size_t steps = (tiled + PAIR_VALUES - 1) / PAIR_VALUES;

    for (size_t d = 0; d < dim; d += PAIR_VALUES) {
        const attend_tile(*v)[2] = b->v + d / PAIR_VALUES * steps;

        tiles_zero(two);
        for (size_t k = 0; k * PAIR_VALUES < keys; k++) {
            attend_load_rows(two, r->p[k]);
            attend_load_columns(v[k]);
            attend_products(two);
        }
        attend_store(two, &r->out[0][d], TILED_DIM_MAX + TILED_PAD);
    }
}

/* ---- products in registers ---- */

#define PAIR_T 8 /* rows that share a register of pairs, of two that are loaded */

/* PAIR_T rows' sums over 32 dimensions of 32 keys. */
INLINE void paired_dims(const __m512i *q, const attend_tile k[2], __m512i sum[PAIR_T][2])
{
    for (unsigned s = 0; s < PAIR_T; s++)
        sum[s][0] = sum[s][1] = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (size_t i = 0; i < PAIR_VALUES / 2; i++)
        for (unsigned s = 0; s < PAIR_T; s++) {
            __m512i two = word_at((const char *)(q + s) + 4 * i);

            sum[s][0] = _mm512_dpwssd_epi32(sum[s][0], k[0][i], two);
            sum[s][1] = _mm512_dpwssd_epi32(sum[s][1], k[1][i], two);
        }
}

/* As tiled_scores, of n rows. */
INLINE void paired_scores(const struct tiled_block *b, struct tiled_rows *r, size_t dim,
                          size_t keys, size_t n)
{
    const size_t parts = dim / PAIR_VALUES;

    for (size_t at = 0; at < keys; at += PAIR_VALUES)
        for (size_t i = 0; i < (n + PAIR_T - 1) / PAIR_T * parts; i++) {
            const size_t t = i / parts * PAIR_T, d = i % parts;
            __m512i sum[PAIR_T][2];

            paired_dims(&r->q[d][0][t / TILE_ROWS][t % TILE_ROWS],
                        b->k[at / PAIR_VALUES * parts + d][0], sum);
            for (unsigned s = 0; s < PAIR_T; s++)
                for (unsigned c = 0; c < 2; c++) {
                    float *to = &r->scores[t + s][at + c * LANES];
                    vec score = _mm512_cvtepi32_ps(sum[s][c]);
                    vec step = b->key_step[at / LANES + c][d];

                    score = d > 0 ? v_fma(score, step, v_load(to)) : v_mul(score, step);
                    if (d + 1 == parts)
                        score = v_mul(score, v_set1(r->query_step[t + s]));
                    v_store(to, score);
                }
        }
}

/* As tiled_values. */
INLINE void paired_values(const struct tiled_block *b, struct tiled_rows *r, size_t dim,
                          size_t keys, size_t tiled, size_t n)
{
    const size_t steps = (tiled + PAIR_VALUES - 1) / PAIR_VALUES;

    for (size_t d = 0; d < dim; d += PAIR_VALUES) {
        const attend_tile(*v)[2] = b->v + d / PAIR_VALUES * steps;

        for (size_t t = 0; t < n; t += PAIR_T) {
            vec sum[PAIR_T][2];

            for (unsigned s = 0; s < PAIR_T; s++)
                sum[s][0] = sum[s][1] = v_zero();
            for (size_t k = 0; k * PAIR_VALUES < keys; k++) {
                const __m512i *p = &r->p[k][t / TILE_ROWS][t % TILE_ROWS];

#pragma GCC unroll 16
                for (size_t i = 0; i < PAIR_VALUES / 2; i++)
                    for (unsigned s = 0; s < PAIR_T; s++) {
                        __m512bh two = (__m512bh)word_at((const char *)(p + s) + 4 * i);

                        sum[s][0] = _mm512_dpbf16_ps(sum[s][0], two, (__m512bh)v[k][0][i]);
                        sum[s][1] = _mm512_dpbf16_ps(sum[s][1], two, (__m512bh)v[k][1][i]);
                    }
            }
            for (unsigned s = 0; s < PAIR_T; s++)
                for (unsigned c = 0; c < 2; c++)
                    v_store(&r->out[t + s][d + c * LANES], sum[s][c]);
        }
    }
}

/* ---- weights ---- */

/* 2^x for x <= 0, rounded to bf16.  2^f, 0 <= f < 1, is a polynomial that is off by 2^-13 of itself
 * at most, a 16th of what rounding may add; the sum with a number whose last place is that of a
 * bf16 below 2 rounds it.  Minus infinity has a fraction of zero, and so a weight of zero. */
INLINE vec attend_weight(vec x)
{
    const float rounds = 0x1.8p16f;
    vec f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC), p;

    p = v_set1(0x1.3baaa6p-4f);
    p = v_fma(p, f, v_set1(0x1.d2378ap-3f));
    p = v_fma(p, f, v_set1(0x1.63e658p-1f));
    p = v_fma(p, f, v_set1(1 + rounds));
    return _mm512_scalef_ps(v_sub(p, v_set1(rounds)), x);
}

/* As bf16, of numbers that are. */
INLINE __m512i upper_halves(vec low, vec high)
{
    const __m512i odd_words =
        _mm512_set_epi16(63, 61, 59, 57, 55, 53, 51, 49, 47, 45, 43, 41, 39, 37, 35, 33, 31, 29, 27,
                         25, 23, 21, 19, 17, 15, 13, 11, 9, 7, 5, 3, 1);

    return _mm512_permutex2var_epi16(_mm512_castps_si512(low), odd_words,
                                     _mm512_castps_si512(high));
}

/* The scores of the last keys, fewer than 32; behind them is minus infinity. */
INLINE void last_scores(const float *scores, size_t keys, vec to[2])
{
    const __mmask16 low = first(keys), high = keys > LANES ? first(keys - LANES) : 0;

    to[0] = _mm512_mask_loadu_ps(v_set1(-INFINITY), low, scores);
    to[1] = _mm512_mask_loadu_ps(v_set1(-INFINITY), high, scores + LANES);
}

INLINE float largest_of(const float *scores, size_t keys)
{
    vec most[2] = {v_set1(-FLT_MAX), v_set1(-FLT_MAX)}, last[2]; /* as in weigh */
    size_t j = 0;

    for (; j + PAIR_VALUES <= keys; j += PAIR_VALUES) {
        most[0] = v_max(v_load(scores + j), most[0]);
        most[1] = v_max(v_load(scores + j + LANES), most[1]);
    }
    last_scores(scores + j, keys - j, last);
    return v_most(v_max(v_max(last[0], most[0]), v_max(last[1], most[1])));
}

/* Weights of 32 keys, which are added to the sums. */
INLINE __m512i weights_of(vec low, vec high, vec most, vec sum[2])
{
    low = attend_weight(v_sub(low, most));
    high = attend_weight(v_sub(high, most));
    sum[0] = v_add(sum[0], low);
    sum[1] = v_add(sum[1], high);
    return upper_halves(low, high);
}

/* As weigh does it; weights are written as rows of tiles, zeros behind the last key up to `most`.
 */
INLINE void weigh_row(const float *scores, size_t keys, size_t most, attend_tile (*p)[2], float *m,
                      float *l)
{
    const float largest = largest_of(scores, keys);
    vec sum[2] = {v_zero(), v_zero()}, last[2];
    size_t j = 0;

    for (; j + PAIR_VALUES <= keys; j += PAIR_VALUES, p++)
        (*p)[0][0] =
            weights_of(v_load(scores + j), v_load(scores + j + LANES), v_set1(largest), sum);
    if (j < keys) {
        last_scores(scores + j, keys - j, last);
        (*p++)[0][0] = weights_of(last[0], last[1], v_set1(largest), sum);
        j += PAIR_VALUES;
    }
    for (; j < most; j += PAIR_VALUES)
        (*p++)[0][0] = _mm512_setzero_si512();
    sum[0] = v_add(sum[0], sum[1]);
    *m = largest;
    *l = quad_first(v_sum4(sum[0], sum[0], sum[0], sum[0]));
}

/* ---- rows ---- */

/* How rows meet a block, all of which see it. */
struct tiled_job {
    const struct attention *a;
    size_t begin; /* the block's first key */
    size_t tiled; /* keys of the block that are in tiles */
    float *partial;
    bool joins;
};

/* Keys of the block that a row sees, its window apart; never fewer than the row before. */
INLINE size_t keys_of_row(const struct attention *a, size_t row, size_t begin)
{
    size_t keys = a->first + row / a->heads + 1 - begin;

    return keys < ATTEND_BLOCK ? keys : ATTEND_BLOCK;
}

/* Integers of a row's query, the t-th; NaN is their step if some number is none or infinite. */
INLINE void put_integers(struct tiled_rows *r, const float *q, size_t dim, float scale, size_t t)
{
    const float largest = largest_magnitude(q, dim);
    const bool is_some = largest > QUERY_LEAST && largest < INFINITY;
    const vec raises = v_set1(is_some ? QUERY_LARGEST / largest : 0);

    r->query_step[t] = largest < INFINITY ? largest / QUERY_LARGEST * scale : NAN;
    for (size_t d = 0; d < dim; d += LANES) {
        __m256i *to = (void *)&r->q[d / PAIR_VALUES][0][t / TILE_ROWS][t % TILE_ROWS];
        __m512i v = _mm512_cvtps_epi32(v_mul(v_load(q + d), raises));

        _mm256_store_si256(to + d / LANES % 2, _mm512_cvtepi32_epi16(v));
    }
}

INLINE void put_queries(const bool in_tiles, struct tiled_rows *r, const struct attention *a,
                        size_t row, size_t n)
{
    const float scale = a->scale * 0x1.715476p+0f; /* 1 / ln 2: powers of two from here on */

    for (size_t t = 0; t < n; t++, row++) {
        const float *q = a->q + row / a->heads * a->q_stride + row % a->heads * a->head_dim;

        if (!in_tiles)
            put_integers(r, q, a->head_dim, scale, t);
        for (size_t d = 0; in_tiles && d < a->head_dim / PAIR_VALUES; d++, q += PAIR_VALUES) {
            attend_tile(*to)[2] = r->q[d];

            to[0][t / TILE_ROWS][t % TILE_ROWS] = in_two_parts(
                v_mul(v_load(q), v_set1(scale)), v_mul(v_load(q + LANES), v_set1(scale)),
                &to[1][t / TILE_ROWS][t % TILE_ROWS]);
        }
    }
}

/* Values of n rows, at most sixteen, from the t-th on.  A sum that sank to zero from below is zero
 * like another, whatever zeros were added to it for the rows beside. */
INLINE void put_outs(const struct tiled_job *j, const struct tiled_rows *r, size_t row, size_t t,
                     size_t n, const float *mine, const float *its)
{
    const struct attention *a = j->a;

    for (size_t i = 0; i < n; i++) {
        float *out =
            j->partial ? j->partial + (row + t + i) * a->head_dim : attention_out(a, row + t + i);

        for (size_t d = 0; d < a->head_dim; d += LANES) {
            vec sum = v_add(v_load(r->out[t + i] + d), v_zero());

            if (j->joins)
                join_values(out + d, LANES, mine[i], its[i], sum);
            else
                v_store(out + d, sum);
        }
    }
}

INLINE void weigh_pair(const struct tiled_job *j, struct tiled_rows *r, size_t row, size_t n,
                       size_t most, float *m, float *l)
{
    const struct attention *a = j->a;

    for (size_t t = 0; t < n; t++) {
        const size_t keys = keys_of_row(a, row + t, j->begin);

        if (a->window || a->softcap != 0)
            narrow_scores(a, r->scores[t], keys,
                          hidden_keys(a, a->first + (row + t) / a->heads, j->begin, keys));
        weigh_row(r->scores[t], keys, most, (void *)&r->p[0][t / TILE_ROWS][t % TILE_ROWS], m + t,
                  l + t);
    }
}

INLINE void pair_scores(const bool in_tiles, const struct tiled_job *j, const struct tiled_block *b,
                        struct tiled_rows *r, size_t most, size_t n)
{
    if (!in_tiles)
        paired_scores(b, r, j->a->head_dim, most, n);
    else if (n > TILE_ROWS)
        tiled_scores(true, b, r, j->a->head_dim, most);
    else
        tiled_scores(false, b, r, j->a->head_dim, most);
}

INLINE void pair_values(const bool in_tiles, const struct tiled_job *j, const struct tiled_block *b,
                        struct tiled_rows *r, size_t most, size_t n)
{
    if (!in_tiles)
        paired_values(b, r, j->a->head_dim, most, j->tiled, n);
    else if (n > TILE_ROWS)
        tiled_values(true, b, r, j->a->head_dim, most, j->tiled);
    else
        tiled_values(false, b, r, j->a->head_dim, most, j->tiled);
}

/* What rows_in_block does, for n rows. */
INLINE void tiled_pair(const bool in_tiles, const struct tiled_job *j, const struct tiled_block *b,
                       struct tiled_rows *r, size_t row, size_t n, float *m, float *l)
{
    const struct attention *a = j->a;
    const size_t most = keys_of_row(a, row + n - 1, j->begin);
    float block_m[PAIR_ROWS], block_l[PAIR_ROWS], mine[LANES], its[LANES];

    put_queries(in_tiles, r, a, row, n);
    pair_scores(in_tiles, j, b, r, most, n);
    weigh_pair(j, r, row, n, most, j->joins ? block_m : m, j->joins ? block_l : l);
    pair_values(in_tiles, j, b, r, most, n);
    for (size_t t = 0; t < n; t += LANES) {
        size_t some = n - t < LANES ? n - t : LANES;

        if (j->joins)
            join_sums(some, m + t, l + t, block_m + t, block_l + t, mine, its);
        put_outs(j, r, row, t, some, mine, its);
    }
}

/* So many rows from this one on, before `end`, see nothing but what is in tiles. */
INLINE size_t tiled_rows_from(const struct tiled_job *j, size_t row, size_t end)
{
    size_t n = end - row < PAIR_ROWS ? end - row : PAIR_ROWS;

    while (n > 0 && keys_of_row(j->a, row + n - 1, j->begin) > j->tiled)
        n--;
    return n;
}

/* As rows_in_block. */
INLINE void pair_rows_in_block(const bool in_tiles, const struct attention *a, size_t row,
                               size_t end, size_t block, float *partial, float *m, float *l)
{
    struct tiled_job j = {a, block * ATTEND_BLOCK, 0, partial,
                          !partial && block > attention_first_block(a)};
    struct tiled_block b;
    struct tiled_rows r;
    size_t n;

    j.tiled = tile_block(in_tiles, &b, a, block, keys_of_row(a, end - 1, j.begin));
    if (in_tiles)
        tiles_begin(TILE_ROWS);
    for (; (n = tiled_rows_from(&j, row, end)) > 0; row += n, m += n, l += n)
        tiled_pair(in_tiles, &j, &b, &r, row, n, m, l);
    if (in_tiles)
        _tile_release();
    if (row < end)
        rows_in_block(a, row, end, block, partial, m, l);
}

/* Apart from their callers, whose other rows need no such frame. */
static __attribute__((noinline)) void tiled_rows_in_block(const struct attention *a, size_t row,
                                                          size_t end, size_t block, float *partial,
                                                          float *m, float *l)
{
    pair_rows_in_block(true, a, row, end, block, partial, m, l);
}

static __attribute__((noinline)) void paired_rows_in_block(const struct attention *a, size_t row,
                                                           size_t end, size_t block, float *partial,
                                                           float *m, float *l)
{
    pair_rows_in_block(false, a, row, end, block, partial, m, l);
}

#define ATTEND_IN_PAIRS(name, rows_in_block_of)                                              \
    static void attend_##name(const struct attention *a)                                     \
    {                                                                                        \
        if (attends_in_pairs(a))                                                             \
            attend_by(rows_in_block_of, TILED_ROWS, a);                                      \
        else                                                                                 \
            attend(a);                                                                       \
    }                                                                                        \
    static void attend_block_##name(const struct attention *a, size_t block, float *partial) \
    {                                                                                        \
        if (attends_in_pairs(a))                                                             \
            attend_block_by(rows_in_block_of, a, block, partial);                            \
        else                                                                                 \
            attend_block(a, block, partial);                                                 \
    }
ATTEND_IN_PAIRS(tiled, tiled_rows_in_block)
ATTEND_IN_PAIRS(paired, paired_rows_in_block)

#endif
