/* SPDX-License-Identifier: Apache-2.0 */
/* kquant.h - super-blocks of 256 values with small scales, to and from f32: rows of the table in
 * dtype.c.
 *
 *   q2_K    uint8 scales[16], q[64]; f16 d, dmin: sixteen blocks of 16;
 *           value = d * (scales & 15) * quant - dmin * (scales >> 4)
 *   q3_K    uint8 high[32], q[64], scales[12]; f16 d: sixteen blocks of 16;
 *           value = d * (scale - 32) * (quant - 4)
 *   q4_K    f16 d, dmin; uint8 scales[12], q[128]: eight blocks of 32, each with a scale and a
 *           minimum of 6 bits; value = d * scale * nibble - dmin * minimum
 *   q5_K    the same with uint8 high[32] in front of q: bit j of high[l] is the fifth of value
 *           32 j + l
 *   q6_K    uint8 low[128], high[64]; int8 scale[16]; f16 d: sixteen blocks of 16;
 *           value = d * scale * (quant - 32)
 *   iq4_xs  f16 d; uint16 high; uint8 low[4], q[128]: eight blocks of 32 as in iq4_nl;
 *           value = d * (scale - 32) * iq4_levels[nibble]
 *
 * q2_K, q3_K: value 128 h + 32 k + l has two bits at bit 2 k of q[32 h + l], and its third at bit
 * 4 h + k of high[l].  q4_K, q5_K: the bytes 32 c to 32 c + 31 of q hold block 2 c in their low and
 * block 2 c + 1 in their high halves.  q6_K: each half of 128 values has 64 bytes of low and 32 of
 * high: value 32 k + l has its upper 2 bits at bit 2 k of high[l], its lower 4 in
 * low[l + 32 (k % 2)], in the low half for k < 2.  Packed scales: q3_k_scale, q4_k_scale,
 * iq4_xs_scale below. */
#ifndef TENSOR_KQUANT_H
#define TENSOR_KQUANT_H

#include "tensor/dtype.h"

void q2_k_to_row(const void *blocks, float *out, size_t n);
void q2_k_from_row(const float *x, const float *importance, void *blocks, size_t n);
void q3_k_to_row(const void *blocks, float *out, size_t n);
void q3_k_from_row(const float *x, const float *importance, void *blocks, size_t n);
void q4_k_to_row(const void *blocks, float *out, size_t n);
void q4_k_from_row(const float *x, const float *importance, void *blocks, size_t n);
void q5_k_to_row(const void *blocks, float *out, size_t n);
void q5_k_from_row(const float *x, const float *importance, void *blocks, size_t n);
void q6_k_to_row(const void *blocks, float *out, size_t n);
void q6_k_from_row(const float *x, const float *importance, void *blocks, size_t n);
void iq4_xs_to_row(const void *blocks, float *out, size_t n);
void iq4_xs_from_row(const float *x, const float *importance, void *blocks, size_t n);

/* Scale and minimum, 6 bits each, of block j of eight: those of blocks 0 to 3 lie in the low bits
 * of bytes 0 to 3 and 4 to 7; those of 4 to 7 have their lower four bits in bytes 8 to 11 (minima
 * high) and the upper two in what the bytes 0 to 3 and 4 to 7 had left. */
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

/* Of block j of sixteen, in [-32, 31]: the lower four bits in half j / 8 of byte j % 8, the upper
 * two at bit 2 (j / 4) of byte 8 + j % 4. */
static inline int q3_k_scale(const uint8_t scales[12], size_t j)
{
    unsigned low = j < 8 ? scales[j] & 15u : scales[j - 8] >> 4;

    return (int)(low | (scales[8 + j % 4] >> 2 * (j / 4) & 3u) << 4) - 32;
}

/* Value i of 256, in [0, 63]. */
static inline unsigned q6_k_quant(const struct block_q6_K *b, size_t i)
{
    size_t half = i / 128, k = i / 32 % 4, l = i % 32;
    unsigned low = b->low[64 * half + 32 * (k % 2) + l];

    return (k < 2 ? low & 15u : low >> 4) | (b->high[32 * half + l] >> 2 * k & 3u) << 4;
}

/* Of block j of eight, in [-32, 31]. */
static inline int iq4_xs_scale(const struct block_iq4_xs *b, size_t j)
{
    return (int)((b->low[j / 2] >> 4 * (j % 2) & 15u) | ((unsigned)b->high >> 2 * j & 3u) << 4) -
           32;
}

#endif
