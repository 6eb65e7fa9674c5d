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

V vec v_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}

V vec v_i8_part(const void *p, size_t n)
{
    int8_t q[8] = {0};

    memcpy(q, p, n);
    return v_i8(q);
}

/* Fours of keys as their sizes, which vpmaddubsw wants unsigned, and their signs, which q takes
 * over: two products are at most 2 * 127 * 127 < 2^15. */
typedef __m256i ints;
typedef struct {
    __m256i size, sign;
} keys4;

V ints i_start(int32_t minus_128_sum)
{
    (void)minus_128_sum;
    return _mm256_setzero_si256();
}

V keys4 i_keys(const void *p)
{
    __m256i k = _mm256_loadu_si256(p);

    return (keys4){_mm256_abs_epi8(k), k};
}

V ints i_dot(ints sum, keys4 k, int32_t q)
{
    __m256i pairs = _mm256_maddubs_epi16(k.size, _mm256_sign_epi8(_mm256_set1_epi32(q), k.sign));

    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

V vec v_of_ints(ints i)
{
    return _mm256_cvtepi32_ps(i);
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

/* Scales and offsets of the 32-blocks in one block of four rows. */
struct scales {
    float d[4][K_BLOCK / 16]; /* q6_K: two for a 32-block */
    float m[4][K_BLOCK / Q_BLOCK];
};

INLINE float half_at(const char *p)
{
    uint16_t h;

    memcpy(&h, p, sizeof(h));
    return _cvtsh_ss(h);
}

INLINE uint32_t dword_at(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

/* out[i] = byte i * f, of the eight in two dwords. */
INLINE void widen_bytes(uint32_t low, uint32_t high, float f, float *out)
{
    __m128i bytes = _mm_cvtsi64_si128((long long)((uint64_t)high << 32 | low));

    v_store(out, v_mul(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)), v_set1(f)));
}

INLINE void get_scales(enum dtype type, const char *block, unsigned r, struct scales *s)
{
    if (type == DTYPE_Q4_K) {
        const uint32_t six = 0x3f3f3f3f, four = 0x0f0f0f0f, two = 0x30303030;
        uint32_t a = dword_at(block + 4), b = dword_at(block + 8), c = dword_at(block + 12);

        widen_bytes(a & six, (c & four) | (a >> 2 & two), half_at(block), s->d[r]);
        widen_bytes(b & six, (c >> 4 & four) | (b >> 2 & two), -half_at(block + 2), s->m[r]);
        return;
    }
    if (type == DTYPE_Q6_K) {
        vec d = v_set1(half_at(block + offsetof(struct block_q6_K, d)));
        const char *scale = block + offsetof(struct block_q6_K, scale);

        for (unsigned i = 0; i < 2; i++) {
            __m128i bytes = _mm_loadl_epi64((const void *)(scale + 8 * i));

            v_store(s->d[r] + 8 * i, v_mul(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)), d));
        }
        return;
    }
    s->d[r][0] = half_at(block);
    if (has_offset(type))
        s->m[r][0] = half_at(block + 2);
}

/* Lanes 0 to 3 sum the first sixteen values of a 32-block, lanes 4 to 7 the others. */
INLINE vec lane_scales(enum dtype type, const struct scales *s, unsigned r, size_t part)
{
    if (type != DTYPE_Q6_K)
        return v_set1(s->d[r][part]);
    return _mm256_set_m128(_mm_set1_ps(s->d[r][2 * part + 1]), _mm_set1_ps(s->d[r][2 * part]));
}

INLINE __m256i nibbles(const char *p)
{
    __m128i q = _mm_loadu_si128((const void *)p);

    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15));
}

/* 16 in byte i where bit i of the dword is set. */
INLINE __m256i fifth_bits(const char *p)
{
    const __m256i spread =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i bytes = _mm256_shuffle_epi8(_mm256_set1_epi32((int)dword_at(p)), spread);

    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit),
                            _mm256_set1_epi8(16));
}

INLINE __m256i shifted(const char *p, size_t bits, char mask)
{
    __m256i v = _mm256_srl_epi16(_mm256_loadu_si256((const void *)p), _mm_cvtsi32_si128((int)bits));

    return _mm256_and_si256(v, _mm256_set1_epi8(mask));
}

INLINE __m256i q6_k_quants(const char *block, size_t part)
{
    size_t half = part / 4, k = part % 4;
    __m256i low = shifted(block + 64 * half + 32 * (k % 2), k / 2 * 4, 15);
    __m256i high = shifted(block + K_BLOCK / 2 + 32 * half, 2 * k, 3);

    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
}

INLINE __m256i weight_quants(enum dtype type, const char *block, size_t part)
{
    switch (type) {
    case DTYPE_Q8_0:
        return _mm256_loadu_si256((const void *)(block + 2));
    case DTYPE_Q4_0:
        return _mm256_sub_epi8(nibbles(block + 2), _mm256_set1_epi8(8));
    case DTYPE_Q4_1:
        return nibbles(block + 4);
    case DTYPE_Q5_0:
        return _mm256_sub_epi8(_mm256_or_si256(nibbles(block + 6), fifth_bits(block + 2)),
                               _mm256_set1_epi8(16));
    case DTYPE_Q5_1:
        return _mm256_or_si256(nibbles(block + 8), fifth_bits(block + 4));
    case DTYPE_Q4_K:
        return shifted(block + 16 + part / 2 * 32, part % 2 * 4, 15);
    default:
        return _mm256_sub_epi8(q6_k_quants(block, part), _mm256_set1_epi8(32));
    }
}

/* The products of 32 values, four to a lane.  Weights without an offset are signed: |w| * (x with
 * w's sign); two products are at most 2 * 128 * 127 < 2^15. */
INLINE vec fours(enum dtype type, __m256i w, __m256i x)
{
    __m256i pairs = has_offset(type)
                        ? _mm256_maddubs_epi16(w, x)
                        : _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));

    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

/* One 32-block of four rows, `part` of what lies at `at` in each. */
INLINE void quant_block(const unsigned T, enum dtype type, const char *const at[4], size_t part,
                        const struct scales *s, const char *x, size_t x_bytes, vec acc[4][Q_TILE_T])
{
    for (unsigned r = 0; r < 4; r++) {
        __m256i w = weight_quants(type, at[r], part);
        vec d = lane_scales(type, s, r, part);

        for (unsigned t = 0; t < T; t++) {
            const struct x_q8 *xb = x_block(x + t * x_bytes, 0);
            __m256i xq = _mm256_loadu_si256((const void *)xb->q);

            acc[r][t] = v_fma(fours(type, w, xq), v_mul(d, v_set1(xb->d)), acc[r][t]);
            if (has_offset(type)) /* in the first lane */
                acc[r][t] = v_fma(v_set1(s->m[r][part]),
                                  _mm256_zextps128_ps256(_mm_load_ss(&xb->d_sum)), acc[r][t]);
        }
    }
}

INLINE void quant_tile(const unsigned T, enum dtype type, const char *const rows[4], const char *x,
                       size_t x_bytes, size_t blocks, const char *next, __m128 *sums)
{
    const size_t bytes = block_bytes(type), fetched = 4 * bytes / parts(type);
    vec acc[4][Q_TILE_T];

    for (unsigned r = 0; r < 4; r++)
        for (unsigned t = 0; t < T; t++)
            acc[r][t] = v_zero();
    for (size_t b = 0; b < blocks; b++) {
        const char *at[4];
        struct scales s;

        for (unsigned r = 0; r < 4; r++) {
            at[r] = rows[r] + b * bytes;
            get_scales(type, at[r], r, &s);
        }
        for (size_t part = 0; part < parts(type); part++) {
            if (next)
                fetch(next + 4 * b * bytes + part * fetched, fetched);
            quant_block(T, type, at, part, &s, x, x_bytes, acc);
            x += sizeof(struct x_q8);
        }
    }
    for (unsigned t = 0; t < T; t++)
        sums[t] = v_sum4(acc[0][t], acc[1][t], acc[2][t], acc[3][t]);
}

INLINE void quant_matmul(enum dtype type, const struct tensor *w, size_t row_begin, size_t row_end,
                         const char *x, size_t x_bytes, size_t n, float *out, size_t out_stride)
{
    size_t blocks = w->shape[0] / (parts(type) * Q_BLOCK);

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

#define MATMUL(type, TYPE)                                                              \
    static void matmul_##type(const struct tensor *w, size_t row_begin, size_t row_end, \
                              const char *x, size_t x_bytes, size_t n, float *out,      \
                              size_t out_stride)                                        \
    {                                                                                   \
        quant_matmul(TYPE, w, row_begin, row_end, x, x_bytes, n, out, out_stride);      \
    }
MATMUL(q8_0, DTYPE_Q8_0)
MATMUL(q4_0, DTYPE_Q4_0)
MATMUL(q4_1, DTYPE_Q4_1)
MATMUL(q5_0, DTYPE_Q5_0)
MATMUL(q5_1, DTYPE_Q5_1)
MATMUL(q4_k, DTYPE_Q4_K)
MATMUL(q6_k, DTYPE_Q6_K)

static void matmul(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride)
{
    static void (*const quantised[DTYPE_COUNT])(const struct tensor *, size_t, size_t, const char *,
                                                size_t, size_t, float *, size_t) = {
        [DTYPE_Q8_0] = matmul_q8_0, [DTYPE_Q4_0] = matmul_q4_0, [DTYPE_Q4_1] = matmul_q4_1,
        [DTYPE_Q5_0] = matmul_q5_0, [DTYPE_Q5_1] = matmul_q5_1, [DTYPE_Q4_K] = matmul_q4_k,
        [DTYPE_Q6_K] = matmul_q6_k,
    };
    size_t x_bytes = prepared_bytes(w->type, w->shape[0]);

    if (quantised[w->type])
        quantised[w->type](w, row_begin, row_end, x, x_bytes, n, out, out_stride);
    else
        matmul_floats(w, row_begin, row_end, x, x_bytes, n, out, out_stride);
}

const struct backend backend_avx2 = {.name = "avx2", .usable = cpu_has_avx2, BACKEND_LANES};
