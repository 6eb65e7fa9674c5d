/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_lanes.h - kernels over lanes of f32, written once and compiled for each instruction set.
 *
 * Included by kernel_avx2.c and kernel_avx512.c only, after they have defined `vec` (LANES floats),
 * the v_* operations below and TILE_T.  Everything is static: no code compiled for one processor
 * can be picked by the linker for another.
 *
 *   v_zero v_set1 v_load v_load_part v_store v_store_part v_add v_mul v_div v_min v_max v_fma
 *   v_round  to the nearest integer        v_scale2(p, n)  p * 2^n, n integral in [-152, 129]
 *   v_f16 v_f16_part v_bf16 v_bf16_part    load and widen
 *   v_to_f16 v_to_f16_part                 narrow and store
 *   v_sum4(a, b, c, d)                     the four sums over lanes, as __m128, by one fixed tree
 *   v_min, v_max give their second operand where one is NaN */
#ifndef TENSOR_KERNEL_LANES_H
#define TENSOR_KERNEL_LANES_H

#include "tensor/backend.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- float weights ----
 *
 * An element is a sum over pieces of CHUNK values in order; within a piece lane l sums the values
 * l, l + LANES, ... in order, and v_sum4 adds the lanes.  A chunk of TILE_T vectors stays in the
 * level-1 cache while ROW_BLOCK rows pass, and those rows' chunks stay in level 2 for all vectors.
 */
#define CHUNK      1024
#define ROW_BLOCK  64
#define STREAM_MAX 16 /* vectors; with more the time goes into arithmetic */

/* Brings weights that are streamed nearer.  Rows are read several at a time, each
 * of them too short for the processor to notice a stream; the rows that come next are one piece of
 * memory, and are asked for in its order. */
INLINE void fetch(const char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        _mm_prefetch(p + i, _MM_HINT_T0);
}

INLINE size_t dtype_bytes(enum dtype type)
{
    return type == DTYPE_F32 ? 4 : 2;
}

INLINE vec v_weights(enum dtype type, const char *w, size_t i)
{
    if (type == DTYPE_F32)
        return v_load((const float *)(const void *)w + i);
    return type == DTYPE_F16 ? v_f16(w + 2 * i) : v_bf16(w + 2 * i);
}

INLINE vec v_weights_part(enum dtype type, const char *w, size_t i, size_t n)
{
    if (type == DTYPE_F32)
        return v_load_part((const float *)(const void *)w + i, n);
    return type == DTYPE_F16 ? v_f16_part(w + 2 * i, n) : v_bf16_part(w + 2 * i, n);
}

/* sums[t] = the dot products of four rows with vector t, over values [begin, end). */
INLINE void dot_tile(const unsigned T, enum dtype type, const char *const w[4], const float *x,
                     size_t x_stride, size_t begin, size_t end, const char *next, __m128 *sums)
{
    vec acc[4][TILE_T];
    size_t i = begin;

    for (unsigned r = 0; r < 4; r++)
        for (unsigned t = 0; t < T; t++)
            acc[r][t] = v_zero();
    for (; i + LANES <= end; i += LANES) {
        vec xt[TILE_T];

        if (next)
            fetch(next + (i - begin) * 4 * dtype_bytes(type), LANES * 4 * dtype_bytes(type));
        for (unsigned t = 0; t < T; t++)
            xt[t] = v_load(x + t * x_stride + i);
        for (unsigned r = 0; r < 4; r++) {
            vec wr = v_weights(type, w[r], i);

            for (unsigned t = 0; t < T; t++)
                acc[r][t] = v_fma(wr, xt[t], acc[r][t]);
        }
    }
    if (i < end) {
        for (unsigned r = 0; r < 4; r++) {
            vec wr = v_weights_part(type, w[r], i, end - i);

            for (unsigned t = 0; t < T; t++)
                acc[r][t] = v_fma(wr, v_load_part(x + t * x_stride + i, end - i), acc[r][t]);
        }
    }
    for (unsigned t = 0; t < T; t++)
        sums[t] = v_sum4(acc[0][t], acc[1][t], acc[2][t], acc[3][t]);
}

/* The four row pointers from r on; beyond the end the last row stands in, its result is dropped. */
INLINE void four_rows(const struct tensor *w, size_t r, size_t row_end, const char *rows[4])
{
    for (size_t i = 0; i < 4; i++)
        rows[i] = tensor_row(w, r + i < row_end ? r + i : row_end - 1);
}

INLINE void put_rows(__m128 sums, float *out, size_t count)
{
    float f[4];

    if (count >= 4) {
        _mm_storeu_ps(out, sums);
        return;
    }
    _mm_storeu_ps(f, sums);
    for (size_t i = 0; i < count; i++)
        out[i] = f[i];
}

INLINE __m128 get_rows(const float *out, size_t count)
{
    float f[4] = {0};

    if (count >= 4)
        return _mm_loadu_ps(out);
    for (size_t i = 0; i < count; i++)
        f[i] = out[i];
    return _mm_loadu_ps(f);
}

struct float_job {
    const struct tensor *w;
    const float *x;
    float *out;
    size_t x_stride, out_stride, row_end;
    bool streams; /* few vectors: rows are taken to their end, and the next ones fetched */
};

INLINE void float_tile(const unsigned T, enum dtype type, const struct float_job *j, size_t r,
                       size_t t, size_t begin, size_t end)
{
    const char *rows[4], *next = NULL;
    __m128 sums[TILE_T];
    size_t count = j->row_end - r;

    four_rows(j->w, r, j->row_end, rows);
    /* Chunks are fetched as they lie in memory, not as they will be used: all are, by the end. */
    if (j->streams && t == 0 && r + 4 < j->row_end)
        next = (const char *)tensor_row(j->w, r + 4) + begin * 4 * dtype_bytes(type);
    dot_tile(T, type, rows, j->x + t * j->x_stride, j->x_stride, begin, end, next, sums);
    for (unsigned i = 0; i < T; i++) {
        float *out = j->out + (t + i) * j->out_stride + r;

        put_rows(begin == 0 ? sums[i] : _mm_add_ps(get_rows(out, count), sums[i]), out, count);
    }
}

/* T vectors, from t on, of one chunk of the rows [r, r_end). */
INLINE void float_rows(const unsigned T, enum dtype type, const struct float_job *j, size_t r,
                       size_t r_end, size_t t, size_t begin, size_t end)
{
    for (; r < r_end; r += 4)
        float_tile(T, type, j, r, t, begin, end);
}

#define UP_TO_TILE(t) ((t) < TILE_T ? (t) : TILE_T)

INLINE void float_block(enum dtype type, const struct float_job *j, size_t r, size_t r_end,
                        size_t n, size_t begin, size_t end)
{
    size_t t = 0;

    for (; t + TILE_T <= n; t += TILE_T)
        float_rows(TILE_T, type, j, r, r_end, t, begin, end);
    if (n - t == 1)
        float_rows(1, type, j, r, r_end, t, begin, end);
    else if (n - t == 2)
        float_rows(2, type, j, r, r_end, t, begin, end);
    else if (n - t == 3)
        float_rows(UP_TO_TILE(3), type, j, r, r_end, t, begin, end);
    else if (n - t == 4)
        float_rows(UP_TO_TILE(4), type, j, r, r_end, t, begin, end);
    else if (n - t == 5)
        float_rows(UP_TO_TILE(5), type, j, r, r_end, t, begin, end);
}

INLINE void float_matmul(enum dtype type, const struct float_job *j, size_t row_begin, size_t n)
{
    size_t inner = j->w->shape[0];
    size_t block = j->streams ? 4 : ROW_BLOCK;

    for (size_t r = row_begin; r < j->row_end; r += block) {
        size_t r_end = j->row_end - r < block ? j->row_end : r + block;
        size_t i = 0;

        do { /* once even if inner is 0: the sum of nothing is 0 */
            size_t end = inner - i < CHUNK ? inner : i + CHUNK;

            float_block(type, j, r, r_end, n, i, end);
            i = end;
        } while (i < inner);
    }
}

static void matmul_f32(const struct float_job *j, size_t row_begin, size_t n)
{
    float_matmul(DTYPE_F32, j, row_begin, n);
}

static void matmul_f16(const struct float_job *j, size_t row_begin, size_t n)
{
    float_matmul(DTYPE_F16, j, row_begin, n);
}

static void matmul_bf16(const struct float_job *j, size_t row_begin, size_t n)
{
    float_matmul(DTYPE_BF16, j, row_begin, n);
}

static void matmul_floats(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                          size_t x_bytes, size_t n, float *out, size_t out_stride)
{
    struct float_job j = {w, x, out, x_bytes / sizeof(float), out_stride, row_end, n <= STREAM_MAX};

    if (w->type == DTYPE_F32)
        matmul_f32(&j, row_begin, n);
    else if (w->type == DTYPE_F16)
        matmul_f16(&j, row_begin, n);
    else
        matmul_bf16(&j, row_begin, n);
}

/* ---- activations for quantised weights ---- */

enum { FORM_F32, FORM_Q8 };

struct x_q8 {
    int8_t q[Q_BLOCK];
    float d;
    float d_sum; /* d times the sum of q: what an offset of all weights is multiplied by */
    int32_t minus_128_sum; /* of q: what weights made unsigned are off by */
    int32_t minus_128_low; /* of the first sixteen */
};

INLINE const struct x_q8 *x_block(const char *x, size_t b)
{
    return (const struct x_q8 *)(const void *)x + b;
}

/* Blocks of 32 weights in a block of the file: they have a scale each. */
INLINE size_t parts(enum dtype type)
{
    return type == DTYPE_Q4_K || type == DTYPE_Q6_K ? K_BLOCK / Q_BLOCK : 1;
}

/* The offset that all weights of a block have, besides their scale. */
INLINE bool has_offset(enum dtype type)
{
    return type == DTYPE_Q4_1 || type == DTYPE_Q5_1 || type == DTYPE_Q4_K;
}

INLINE size_t block_bytes(enum dtype type)
{
    switch (type) {
    case DTYPE_Q8_0:
        return sizeof(struct block_q8_0);
    case DTYPE_Q4_0:
        return sizeof(struct block_q4_0);
    case DTYPE_Q4_1:
        return sizeof(struct block_q4_1);
    case DTYPE_Q5_0:
        return sizeof(struct block_q5_0);
    case DTYPE_Q5_1:
        return sizeof(struct block_q5_1);
    case DTYPE_Q4_K:
        return sizeof(struct block_q4_K);
    default:
        return sizeof(struct block_q6_K);
    }
}

static unsigned prepared_form(enum dtype weights)
{
    return dtype_info(weights)->block > 1 ? FORM_Q8 : FORM_F32;
}

static size_t prepared_bytes(enum dtype weights, size_t inner)
{
    size_t bytes = prepared_form(weights) == FORM_Q8 ? inner / Q_BLOCK * sizeof(struct x_q8)
                                                     : inner * sizeof(float);

    return (bytes + 63) / 64 * 64;
}

/* Largest of eight lanes. */
INLINE int32_t max_epi32(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtsi128_si32(m);
}

INLINE int32_t sum_epi32(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/* As the reference does it, to the bit: magnitudes compare like integers, and NaN and infinity are
 * the largest of them. */
INLINE void quantise_block(const float *x, struct x_q8 *out)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 v[4], scale;
    __m256i most = _mm256_setzero_si256(), q[4], bytes;
    int32_t most_bits, low, high;
    float most_f;

    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_loadu_ps(x + 8 * i);
        most = _mm256_max_epi32(most, _mm256_castps_si256(_mm256_and_ps(v[i], magnitude)));
    }
    most_bits = max_epi32(most);
    memcpy(&most_f, &most_bits, sizeof(most_f));
    if (most_bits >= 0x7f800000 || most_f < 1e-30f) {
        most_f = most_bits >= 0x7f800000 ? NAN : 0;
        *out = (struct x_q8){.d = most_f, .d_sum = most_f};
        return;
    }
    out->d = most_f / 127;
    scale = _mm256_set1_ps(1 / out->d);
    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], scale));
    bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    /* Packing works in halves: dwords come as 0 2 4 6 | 1 3 5 7. */
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((void *)out->q, bytes);
    low = sum_epi32(_mm256_add_epi32(q[0], q[1]));
    high = sum_epi32(_mm256_add_epi32(q[2], q[3]));
    out->d_sum = out->d * (float)(low + high);
    out->minus_128_sum = -128 * (low + high);
    out->minus_128_low = -128 * low;
}

static void prepare(enum dtype weights, const float *x, size_t inner, void *out)
{
    struct x_q8 *blocks = out;

    if (prepared_form(weights) == FORM_F32) {
        memcpy(out, x, inner * sizeof(float));
        return;
    }
    for (size_t b = 0; b < inner / Q_BLOCK; b++)
        quantise_block(x + b * Q_BLOCK, &blocks[b]);
}

/* ---- the rest of a layer ---- */

/* e^x = 2^n e^r with |r| <= ln 2 / 2, e^r by its series to r^7: the rest is below 2^-27.  Beyond
 * the clamps the result is 0 or infinity in any case. */
INLINE vec v_exp(vec x)
{
    vec n, r, p;

    x = v_min(v_set1(89), v_max(v_set1(-105), x));
    n = v_round(v_mul(x, v_set1(0x1.715476p+0f)));
    r = v_fma(n, v_set1(-0x1.62ep-1f), x); /* the upper 13 bits of ln 2: the product is exact */
    r = v_fma(n, v_set1(-0x1.0bfbe8p-15f), r);
    p = v_set1(1.0f / 5040);
    p = v_fma(p, r, v_set1(1.0f / 720));
    p = v_fma(p, r, v_set1(1.0f / 120));
    p = v_fma(p, r, v_set1(1.0f / 24));
    p = v_fma(p, r, v_set1(1.0f / 6));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1));
    p = v_fma(p, r, v_set1(1));
    return v_scale2(p, n);
}

/* Eight sums in double, lane i mod 8, added in order. */
static void rmsnorm(const float *x, const float *w, size_t n, float eps, float *out)
{
    double lanes[8] = {0}, sum = 0;
    size_t i = 0;
    float scale;

    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l++)
            lanes[l] += (double)x[i + l] * (double)x[i + l];
    for (; i < n; i++)
        lanes[i % 8] += (double)x[i] * (double)x[i];
    for (size_t l = 0; l < 8; l++)
        sum += lanes[l];
    scale = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (i = 0; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

INLINE vec v_swiglu(vec gate, vec up)
{
    vec e = v_exp(v_sub(v_zero(), gate));

    return v_mul(v_div(gate, v_add(v_set1(1), e)), up);
}

static void swiglu(float *gate, const float *up, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(gate + i, v_swiglu(v_load(gate + i), v_load(up + i)));
    if (i < n)
        v_store_part(gate + i, v_swiglu(v_load_part(gate + i, n - i), v_load_part(up + i, n - i)),
                     n - i);
}

static void rope(float *restrict head, const float *restrict table, size_t dims, bool interleaved)
{
    if (interleaved) {
        for (size_t i = 0; i < dims / 2; i++) {
            float c = table[2 * i], s = table[2 * i + 1], x = head[2 * i], y = head[2 * i + 1];

            head[2 * i] = x * c - y * s;
            head[2 * i + 1] = x * s + y * c;
        }
        return;
    }
    for (size_t i = 0; i < dims / 2; i++) {
        float c = table[2 * i], s = table[2 * i + 1], x = head[i], y = head[i + dims / 2];

        head[i] = x * c - y * s;
        head[i + dims / 2] = x * s + y * c;
    }
}

static void f32_to_f16_row(const float *x, uint16_t *out, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_to_f16(out + i, v_load(x + i));
    if (i < n)
        v_to_f16_part(out + i, v_load_part(x + i, n - i), n - i);
}

static void row_to_f32(enum dtype type, const void *row, float *out, size_t n)
{
    size_t i = 0;

    if (type != DTYPE_F16 && type != DTYPE_BF16) {
        backend_ref.row_to_f32(type, row, out, n);
        return;
    }
    for (; i + LANES <= n; i += LANES)
        v_store(out + i, v_weights(type, row, i));
    if (i < n)
        v_store_part(out + i, v_weights_part(type, row, i, n - i), n - i);
}

/* ---- attention ---- */

/* Walks over the rows of a paged cache in position order, without a division each. */
struct walk {
    const uint16_t *const *page; /* the next one */
    const uint16_t *row;
    size_t tokens, stride, left; /* left: rows of this page */
};

INLINE struct walk walk_from_start(const uint16_t *const *pages, size_t tokens, size_t stride)
{
    return (struct walk){.page = pages, .tokens = tokens, .stride = stride};
}

/* At most `most` rows that lie together; *count of them, from the one returned on. */
INLINE const uint16_t *walk_rows(struct walk *w, size_t most, size_t *count)
{
    const uint16_t *row;

    if (w->left == 0) {
        w->row = *w->page++;
        w->left = w->tokens;
    }
    *count = w->left < most ? w->left : most;
    row = w->row;
    w->row += *count * w->stride;
    w->left -= *count;
    return row;
}

/* scores[j] = scale * q k_j; returns the largest. NaN scores need not win: they spoil the sum of
 * exponentials, and so everything, all the same. */
static float score_keys(const float *q, struct walk k, size_t keys, size_t head_dim, float scale,
                        float *scores)
{
    __m128 most = _mm_set1_ps(-INFINITY);
    float f[4];

    for (size_t j = 0; j < keys; j += 4) {
        const char *rows[4] = {NULL};
        __m128 s;

        for (size_t i = 0, one; i < 4; i++) /* beyond the end the last key stands in */
            rows[i] = j + i < keys ? (const char *)walk_rows(&k, 1, &one) : rows[i - 1];
        dot_tile(1, DTYPE_F16, rows, q, 0, 0, head_dim, NULL, &s);
        s = _mm_mul_ps(s, _mm_set1_ps(scale));
        most = _mm_max_ps(s, most);
        put_rows(s, scores + j, keys - j);
    }
    _mm_storeu_ps(f, most);
    return fmaxf(fmaxf(f[0], f[1]), fmaxf(f[2], f[3]));
}

/* scores[j] = exp(scores[j] - most); returns their sum, over lanes as in a dot product. */
static float exponentials(float *scores, size_t keys, float most)
{
    vec sum = v_zero(), m = v_set1(most);
    size_t j = 0;
    float f[4];

    for (; j + LANES <= keys; j += LANES) {
        vec e = v_exp(v_sub(v_load(scores + j), m));

        v_store(scores + j, e);
        sum = v_add(sum, e);
    }
    if (j < keys) {
        v_store_part(scores + j, v_exp(v_sub(v_load_part(scores + j, keys - j), m)), keys - j);
        sum = v_add(sum, v_load_part(scores + j, keys - j));
    }
    _mm_storeu_ps(f, v_sum4(sum, sum, sum, sum));
    return f[0];
}

#define COLUMNS 8 /* vectors of accumulators: 128 or 64 dimensions in one pass over the keys */

/* out = sum_j p_j v_j / total for C vectors of columns from `from` on; of the last, `part` lanes.
 */
INLINE void mix_values(const unsigned C, struct walk v, const float *p, size_t keys, size_t from,
                       size_t part, float total, float *out)
{
    vec acc[COLUMNS], whole = v_set1(total);

    for (unsigned c = 0; c < C; c++)
        acc[c] = v_zero();
    for (size_t j = 0; j < keys;) {
        size_t count;
        const uint16_t *row = walk_rows(&v, keys - j, &count) + from;

        for (size_t end = j + count; j < end; j++, row += v.stride) {
            vec pj = v_set1(p[j]);

            for (unsigned c = 0; c < C; c++) {
                const uint16_t *at = row + c * LANES;

                acc[c] = v_fma(pj, part < LANES ? v_f16_part(at, part) : v_f16(at), acc[c]);
            }
        }
    }
    for (unsigned c = 0; c < C; c++) {
        if (part < LANES)
            v_store_part(out + from + c * LANES, v_div(acc[c], whole), part);
        else
            v_store(out + from + c * LANES, v_div(acc[c], whole));
    }
}

static void attend(const float *q, const uint16_t *const *k_pages, const uint16_t *const *v_pages,
                   size_t page_tokens, size_t stride, size_t keys, size_t head_dim, float scale,
                   float *scores, float *out)
{
    struct walk k = walk_from_start(k_pages, page_tokens, stride);
    struct walk v = walk_from_start(v_pages, page_tokens, stride);
    size_t i = 0;
    float total;

    if (keys == 0) {
        memset(out, 0, head_dim * sizeof(*out));
        return;
    }
    total = exponentials(scores, keys, score_keys(q, k, keys, head_dim, scale, scores));
    for (; i + COLUMNS * LANES <= head_dim; i += COLUMNS * LANES)
        mix_values(COLUMNS, v, scores, keys, i, LANES, total, out);
    for (; i + COLUMNS / 2 * LANES <= head_dim; i += COLUMNS / 2 * LANES)
        mix_values(COLUMNS / 2, v, scores, keys, i, LANES, total, out);
    for (; i + LANES <= head_dim; i += LANES)
        mix_values(1, v, scores, keys, i, LANES, total, out);
    if (i < head_dim)
        mix_values(1, v, scores, keys, i, head_dim - i, total, out);
}

#define BACKEND_LANES                                                                     \
    .prepared_form = prepared_form, .prepared_bytes = prepared_bytes, .prepare = prepare, \
    .matmul = matmul, .rmsnorm = rmsnorm, .add = add, .swiglu = swiglu, .rope = rope,     \
    .attend = attend, .f32_to_f16_row = f32_to_f16_row, .row_to_f32 = row_to_f32

#endif
