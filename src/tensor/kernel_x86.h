/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_x86.h - what kernel_lanes.h needs besides `vec`, for both x86-64 includers: AVX2, F16C. */
#ifndef TENSOR_KERNEL_X86_H
#define TENSOR_KERNEL_X86_H

#include "tensor/backend.h"

#include <immintrin.h>

#define V static inline __attribute__((always_inline))

#define MAKES_PACKED true

typedef __m128 quad;

V quad quad_load(const float *p)
{
    return _mm_loadu_ps(p);
}

V void quad_store(float *p, quad v)
{
    _mm_storeu_ps(p, v);
}

V quad quad_add(quad a, quad b)
{
    return _mm_add_ps(a, b);
}

V float quad_first(quad v)
{
    return _mm_cvtss_f32(v);
}

/* Largest of eight lanes. */
V int32_t max_epi32(__m256i v)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return _mm_cvtsi128_si32(m);
}

V int32_t sum_epi32(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

V int32_t most_magnitude(const float *x)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256i most = _mm256_setzero_si256();

    for (int i = 0; i < 4; i++)
        most = _mm256_max_epi32(
            most, _mm256_castps_si256(_mm256_and_ps(_mm256_loadu_ps(x + 8 * i), magnitude)));
    return max_epi32(most);
}

V void quants(const float *x, float scale, int8_t *out, int32_t *low, int32_t *high)
{
    __m256i q[4], bytes;

    for (int i = 0; i < 4; i++)
        q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * i), _mm256_set1_ps(scale)));
    bytes = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    /* Packing works in halves: dwords come as 0 2 4 6 | 1 3 5 7. */
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((void *)out, bytes);
    *low = sum_epi32(_mm256_add_epi32(q[0], q[1]));
    *high = sum_epi32(_mm256_add_epi32(q[2], q[3]));
}

V void transpose_8x8(__m128i r[8])
{
    __m128i a[8], b[8];

    for (unsigned i = 0; i < 4; i++) {
        a[2 * i] = _mm_unpacklo_epi16(r[2 * i], r[2 * i + 1]);
        a[2 * i + 1] = _mm_unpackhi_epi16(r[2 * i], r[2 * i + 1]);
    }
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 2; k++) {
            b[4 * i + 2 * k] = _mm_unpacklo_epi32(a[4 * i + k], a[4 * i + 2 + k]);
            b[4 * i + 2 * k + 1] = _mm_unpackhi_epi32(a[4 * i + k], a[4 * i + 2 + k]);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        r[2 * i] = _mm_unpacklo_epi64(b[i], b[4 + i]);
        r[2 * i + 1] = _mm_unpackhi_epi64(b[i], b[4 + i]);
    }
}

V void store_keys_8x8(const float *x, size_t stride, uint16_t *page)
{
    __m128i r[8];

    for (unsigned i = 0; i < 8; i++)
        r[i] = _mm256_cvtps_ph(_mm256_loadu_ps(x + i * stride),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    transpose_8x8(r);
    for (unsigned i = 0; i < 8; i++)
        _mm_storeu_si128((void *)(page + i * ATTEND_PAGE), r[i]);
}

#endif
