/* SPDX-License-Identifier: Apache-2.0 */
/* step.h - the step between the 8-bit numbers of a block of activations.
 *
 * A block of 32 activations meets quantised weights as numbers of 8 bits times a step.  It is the
 * least of 2^e, 2^(e + 1/4), 2^(e + 1/2) and 2^(e + 3/4) that is not below max |x| / 127: coarser
 * than max |x| / 127 by 9 % on average, and in exchange a power of two, by which a sum is
 * multiplied exactly and which may therefore be hidden in its exponent, times one of four factors,
 * by which scales of weights can be multiplied ahead. */
#ifndef TENSOR_STEP_H
#define TENSOR_STEP_H

#include <stdint.h>
#include <string.h>

#define STEP_FACTORS 4

/* Blocks whose largest magnitude is below become zeros, so that 1 / step is finite and steps, of at
 * least 2^-97, times what scales weights of f16 have, of at least 2^-29, are no subnormal numbers;
 * from STEP_MOST on they count as infinite, so that 2^24 steps are finite. */
#define STEP_LEAST 0x1p-90f
#define STEP_MOST  0x1p110f

static const float step_factors[STEP_FACTORS] = {1, 0x1.306fep+0f, 0x1.6a09e6p+0f, 0x1.ae89fap+0f};

struct step {
    float power;     /* of two */
    unsigned factor; /* place in step_factors */
};

/* most: STEP_LEAST <= most < STEP_MOST. */
static inline struct step step_for(float most)
{
    float quotient = most / 127;
    uint32_t bits, mantissa;
    struct step s;

    memcpy(&bits, &quotient, sizeof(bits));
    mantissa = bits & 0x7fffff;
    s.factor = (mantissa > 0) + (mantissa > 0x1837f0) + (mantissa > 0x3504f3) +
               (mantissa > 0x5744fd); /* the factors' mantissas */
    bits = (bits >> 23) + s.factor / STEP_FACTORS;
    bits <<= 23;
    s.factor %= STEP_FACTORS;
    memcpy(&s.power, &bits, sizeof(bits));
    return s;
}

#endif
