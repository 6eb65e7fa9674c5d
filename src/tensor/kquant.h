/* SPDX-License-Identifier: Apache-2.0 */
/* kquant.h - the types of super-blocks, to and from f32: rows of the table in dtype.c. */
#ifndef TENSOR_KQUANT_H
#define TENSOR_KQUANT_H

#include "tensor/dtype.h"

void q4_k_to_row(const void *blocks, float *out, size_t n);
void q4_k_from_row(const float *x, void *blocks, size_t n);
void q6_k_to_row(const void *blocks, float *out, size_t n);
void q6_k_from_row(const float *x, void *blocks, size_t n);

/* Scale and minimum, 6 bits each, of block j of eight. */
static inline void q4_k_scale(const uint8_t scales[12], size_t j, unsigned *scale, unsigned *min)
{
    if (j < 4) {
        *scale = scales[j] & 63u;
        *min = scales[j + 4] & 63u;
        return;
    }
    *scale = (scales[j + 4] & 15u) | (unsigned)(scales[j - 4] >> 6) << 4;
    *min = (unsigned)(scales[j + 4] >> 4) | (unsigned)(scales[j] >> 6) << 4;
}

/* Value i of 256, in [0, 63]. */
static inline unsigned q6_k_quant(const struct block_q6_K *b, size_t i)
{
    size_t half = i / 128, k = i / 32 % 4, l = i % 32;
    unsigned low = b->low[64 * half + 32 * (k % 2) + l];

    return (k < 2 ? low & 15u : low >> 4) | (b->high[32 * half + l] >> 2 * k & 3u) << 4;
}

#endif
