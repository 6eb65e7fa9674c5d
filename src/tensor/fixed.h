/* SPDX-License-Identifier: Apache-2.0 */
/* fixed.h - numbers of 16 bits that share a power of two.
 *
 * What weights of F16 and BF16 and their activations become before they meet in AVX-512: a block of
 * 32 numbers is 32 integers times 2^e, e the exponent of the largest less 12.  Integers are then at
 * most 8192 in magnitude, 8188 for weights, so that 32 products fit a sum of 32 bits; the largest
 * number keeps 13 bits, where f16 has 11 and bf16 8, and the others lose what is below 2^-13 of
 * it. */
#ifndef TENSOR_FIXED_H
#define TENSOR_FIXED_H

#include <stdint.h>
#include <string.h>

#define FIXED_BITS  12   /* between the exponent of the largest number and e */
#define FIXED_LEAST -100 /* of e: what is below 2^-101 becomes zero */
#define FIXED_BIAS  127  /* of e in a byte: 2^e then has that exponent as f32 has it */
#define FIXED_NAN   255  /* there, of a block with NaN or infinity: zeros times infinity */

/* The least that the exponent of the largest number counts as, as f32 has it. */
#define FIXED_EXPONENT_LEAST (FIXED_LEAST + FIXED_BIAS + FIXED_BITS)

/* e of a block whose largest magnitude is `most`, which is finite. */
static inline int fixed_power(float most)
{
    uint32_t bits;
    int e;

    memcpy(&bits, &most, sizeof(bits));
    e = (int)(bits >> 23) - FIXED_BIAS - FIXED_BITS;
    return e > FIXED_LEAST ? e : FIXED_LEAST;
}

/* 2^e; e in [-126, 127]. */
static inline float fixed_step(int e)
{
    uint32_t bits = (uint32_t)(e + FIXED_BIAS) << 23;
    float step;

    memcpy(&step, &bits, sizeof(step));
    return step;
}

#endif
