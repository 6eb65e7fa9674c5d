/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_avx2.c - kernels for x86-64 processors with AVX2, FMA and F16C. */
#include "tensor/backend.h"
#include "tensor/cpu.h"

#include <immintrin.h>
#include <string.h>

typedef __m256 vec;
#define LANES       8
#define TILE_T      3 /* 4 rows x 3 vectors of accumulators, 3 of x, 1 of w: 16 registers */
#define ATTEND_VECS 2 /* 6 rows x 2 vectors of accumulators, 2 of keys or values, 1 of q or p */

#define V static inline __attribute__((always_inline))

V vec v_zero(void)
{
    return _mm256_setzero_ps();
}

V vec v_set1(float f)
{
    return _mm256_set1_ps(f);
}

V vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

/* The first n of eight lanes. */
V __m256i first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

V vec v_load_part(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, first(n));
}

V void v_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

V void v_store_part(float *p, vec v, size_t n)
{
    _mm256_maskstore_ps(p, first(n), v);
}

V vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

V vec v_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

V vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

V vec v_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

V vec v_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

V vec v_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

V vec v_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

V vec v_round(vec v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* In two steps, since 2^n alone may be out of range. */
V vec v_scale2(vec p, vec n)
{
    __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1),
            bias = _mm256_set1_epi32(127);
    __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);

    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}

V __m128i halves_part(const void *p, size_t n)
{
    uint16_t h[8] = {0};

    memcpy(h, p, n * sizeof(*h));
    return _mm_loadu_si128((const void *)h);
}

V vec v_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

V vec v_f16_part(const void *p, size_t n)
{
    return _mm256_cvtph_ps(halves_part(p, n));
}

V vec widen_bf16(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

V vec v_bf16(const void *p)
{
    return widen_bf16(_mm_loadu_si128(p));
}

V vec v_bf16_part(const void *p, size_t n)
{
    return widen_bf16(halves_part(p, n));
}

V void v_to_f16(uint16_t *p, vec v)
{
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

V void v_to_f16_part(uint16_t *p, vec v, size_t n)
{
    uint16_t h[8];

    v_to_f16(h, v);
    memcpy(p, h, n * sizeof(*h));
}

V vec v_if(bool yes, vec a, vec b)
{
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_set1_epi32(-(int)yes)));
}

V float v_most(vec v)
{
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

V __m128 v_sum4(vec a, vec b, vec c, vec d)
{
    vec ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    vec cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    vec low = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd)));
    vec high = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd)));
    vec s = _mm256_add_ps(low, high);

    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#include "tensor/kernel_lanes.h"

/* ---- quantised weights ----
 *
 * The 32 products of a block are added exactly, four to a lane of eight; the lanes go on in f32,
 * block after block, times both scales.  v_sum4 adds the lanes. */

#define Q_TILE_T 2

INLINE __m256i weight_quants(enum dtype type, const char *block)
{
    __m128i q;

    if (type == DTYPE_Q8_0)
        return _mm256_loadu_si256((const void *)(block + 2));
    q = _mm_loadu_si128((const void *)(block + 2));
    return _mm256_sub_epi8(
        _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15)),
        _mm256_set1_epi8(8));
}

INLINE float block_scale(const char *block)
{
    uint16_t d;

    memcpy(&d, block, sizeof(d));
    return _cvtsh_ss(d);
}

INLINE void quant_tile(const unsigned T, enum dtype type, const char *const rows[4], const char *x,
                       size_t x_bytes, size_t blocks, const char *next, __m128 *sums)
{
    const size_t block_bytes =
        type == DTYPE_Q8_0 ? sizeof(struct block_q8_0) : sizeof(struct block_q4_0);
    vec acc[4][Q_TILE_T];

    for (unsigned r = 0; r < 4; r++)
        for (unsigned t = 0; t < T; t++)
            acc[r][t] = v_zero();
    for (size_t b = 0; b < blocks; b++) {
        if (next)
            fetch(next + 4 * b * block_bytes, 4 * block_bytes);
        for (unsigned r = 0; r < 4; r++) {
            const char *block = rows[r] + b * block_bytes;
            __m256i w = weight_quants(type, block), size = _mm256_abs_epi8(w);
            vec d = v_set1(block_scale(block));

            for (unsigned t = 0; t < T; t++) {
                const struct x_q8 *xb = x_block(x + t * x_bytes, b);
                __m256i xq = _mm256_loadu_si256((const void *)xb->q);
                /* |w| * (x with w's sign): two products are at most 2 * 128 * 127 < 2^15. */
                __m256i pairs = _mm256_maddubs_epi16(size, _mm256_sign_epi8(xq, w));
                __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));

                acc[r][t] = v_fma(_mm256_cvtepi32_ps(fours), v_mul(d, v_set1(xb->d)), acc[r][t]);
            }
        }
    }
    for (unsigned t = 0; t < T; t++)
        sums[t] = v_sum4(acc[0][t], acc[1][t], acc[2][t], acc[3][t]);
}

INLINE void quant_matmul(enum dtype type, const struct tensor *w, size_t row_begin, size_t row_end,
                         const char *x, size_t x_bytes, size_t n, float *out, size_t out_stride)
{
    size_t blocks = w->shape[0] / Q_BLOCK;

    for (size_t r = row_begin; r < row_end; r += 4) {
        const char *rows[4], *next = NULL;
        __m128 sums[Q_TILE_T];
        size_t t = 0;

        if (n <= Q_TILE_T && r + 4 < row_end)
            next = tensor_row(w, r + 4);
        four_rows(w, r, row_end, rows);
        for (; t + Q_TILE_T <= n; t += Q_TILE_T) {
            quant_tile(Q_TILE_T, type, rows, x + t * x_bytes, x_bytes, blocks, next, sums);
            for (unsigned i = 0; i < Q_TILE_T; i++)
                put_rows(sums[i], out + (t + i) * out_stride + r, row_end - r);
        }
        if (t < n) {
            quant_tile(1, type, rows, x + t * x_bytes, x_bytes, blocks, next, sums);
            put_rows(sums[0], out + t * out_stride + r, row_end - r);
        }
    }
}

static void matmul(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride)
{
    size_t x_bytes = prepared_bytes(w->type, w->shape[0]);

    if (w->type == DTYPE_Q8_0)
        quant_matmul(DTYPE_Q8_0, w, row_begin, row_end, x, x_bytes, n, out, out_stride);
    else if (w->type == DTYPE_Q4_0)
        quant_matmul(DTYPE_Q4_0, w, row_begin, row_end, x, x_bytes, n, out, out_stride);
    else
        matmul_floats(w, row_begin, row_end, x, x_bytes, n, out, out_stride);
}

const struct backend backend_avx2 = {.name = "avx2", .usable = cpu_has_avx2, BACKEND_LANES};
