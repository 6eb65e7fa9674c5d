/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_words.h - AVX2: integers of 16 bits, two values of eight rows in a register.
 *
 * Included by kernel_avx2.c only.  A lane is a row.
 *
 * Weights of two bytes and their activations become integers of 16 bits (fixed.h): one instruction
 * multiplies sixteen of them where a multiply-add of floats does eight, and conversions are left to
 * whoever fills a panel.
 *
 * The 32 products of a block are added exactly, in whatever order; an element is then the sum over
 * blocks, in order, of that integer times both steps, one fused multiply-add each. */
#ifndef TENSOR_KERNEL_WORDS_H
#define TENSOR_KERNEL_WORDS_H

#include "tensor/fixed.h"
#include "tensor/kernel_job.h"

#if defined(__AVXVNNI__) || defined(__AVX512VNNI__)
#define VNNI 1
#else
#define VNNI 0
#endif

#define IS_HALVES(type) ((type) == DTYPE_F16 || (type) == DTYPE_BF16)

#define PAIRS (Q_BLOCK / 2) /* in a block */

/* A block of activations as integers. */
struct x_words {
    int16_t q[Q_BLOCK];
    float step;
};

INLINE const struct x_words *words_at(const char *x, size_t b)
{
    return (const struct x_words *)(const void *)x + b;
}

/* Two values of a vector, as all lanes have them. */
INLINE __m256i two_values(const struct x_words *x, unsigned i)
{
    int32_t v;

    memcpy(&v, x->q + 2 * i, sizeof(v));
    return _mm256_set1_epi32(v);
}

INLINE __m256i add_pairs(__m256i sum, __m256i w, __m256i x)
{
#if defined(__AVXVNNI__)
    sum = _mm256_dpwssd_avx_epi32(sum, w, x);
    HOLD(sum);
#elif VNNI
    sum = _mm256_dpwssd_epi32(sum, w, x);
    HOLD(sum);
#else
    ADD_IN_PLACE("vpaddd", sum, _mm256_madd_epi16(w, x));
#endif
    return sum;
}

/* acc += a block's sums times both steps. */
INLINE vec add_words(__m256i sum, vec step, const struct x_words *x, vec acc)
{
    return v_fma(v_mul(_mm256_cvtepi32_ps(sum), step), v_set1(x->step), acc);
}

/* sum = a block of G groups of rows, w[i * G + g], times T vectors. */
INLINE void word_sums(const unsigned G, const unsigned T, const __m256i *w, const char *x,
                      size_t x_bytes, __m256i sum[][Q_TILE_T])
{
    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < G; g++)
            sum[g][t] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (unsigned i = 0; i < PAIRS; i++) {
        for (unsigned t = 0; t < T; t++) {
            __m256i xt = two_values(words_at(x + t * x_bytes, 0), i);

            for (unsigned g = 0; g < G; g++)
                sum[g][t] = add_pairs(sum[g][t], w[i * G + g], xt);
        }
    }
}

/* ---- activations ---- */

/* A line more than there are blocks: the same block of the vectors of a tile would else be in the
 * same set of the cache, where rows are powers of two. */
static size_t words_bytes(size_t inner)
{
    return (blocks_of(inner) * sizeof(struct x_words) + 127) / 64 * 64;
}

/* x * factor of 32 numbers, to the nearest integers. */
INLINE void put_words(const float *x, float factor, int16_t *out)
{
    for (unsigned i = 0; i < Q_BLOCK; i += 16) {
        __m256i low = _mm256_cvtps_epi32(v_mul(v_load(x + i), v_set1(factor)));
        __m256i high = _mm256_cvtps_epi32(v_mul(v_load(x + i + 8), v_set1(factor)));

        /* Packing works in halves. */
        low = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        _mm256_storeu_si256((void *)(out + i), low);
    }
}

static void prepare_words(const float *x, size_t inner, struct x_words *out)
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
            out[b] = (struct x_words){.step = NAN};
            continue;
        }
        e = fixed_power(most);
        out[b].step = fixed_step(e);
        put_words(x, fixed_step(-e), out[b].q);
    }
}

#endif
