/* SPDX-License-Identifier: Apache-2.0 */
/* iquant.h - super-blocks of 256 values that name points of a lattice, to and from f32: rows of the
 * table in dtype.c.
 *
 * Eight values are one point of eight coordinates or two of four (lattice.h), with a sign for each
 * value; iq1 has signs in its points and moves all eight by an eighth.  s is a small scale:
 *
 *   iq1_s    f16 d; uint8 q[32]; uint16 high[8]    d (2 s + 1) (point +- 1/8), s of 3 bits for 32
 *   iq1_m    uint8 q[32], high[16]; uint16 s[4]    the same, s for 16; d in the rest of s
 *   iq2_xxs  f16 d; uint32 q[8][2]                 d (s + 1/2) / 4 * point, s of 4 bits for 32
 *   iq2_xs   f16 d; uint16 q[32]; uint8 s[8]       the same, s for 16
 *   iq2_s    f16 d; uint8 q[32], signs[32], high[8], s[8]
 *   iq3_xxs  f16 d; uint8 q[64]; uint32 s[8]       d (s + 1/2) / 2 * point, s of 4 bits for 32
 *   iq3_s    f16 d; uint8 q[64], high[8], signs[32], s[4]    d (2 s + 1) * point
 *
 * Where signs take seven bits the eighth makes the number of negative ones even. */
#ifndef TENSOR_IQUANT_H
#define TENSOR_IQUANT_H

#include "tensor/dtype.h"

struct block_iq1_s {
    uint16_t d; /* f16 */
    uint8_t q[K_BLOCK / 8];
    uint16_t high[K_BLOCK / 32];
};
struct block_iq1_m {
    uint8_t q[K_BLOCK / 8], high[K_BLOCK / 16];
    uint16_t s[4];
};
struct block_iq2_xxs {
    uint16_t d; /* f16 */
    uint16_t q[K_BLOCK / 8];
};
struct block_iq2_xs {
    uint16_t d; /* f16 */
    uint16_t q[K_BLOCK / 8];
    uint8_t s[K_BLOCK / 32];
};
struct block_iq2_s {
    uint16_t d; /* f16 */
    uint8_t q[K_BLOCK / 8], signs[K_BLOCK / 8], high[K_BLOCK / 32], s[K_BLOCK / 32];
};
struct block_iq3_xxs {
    uint16_t d; /* f16 */
    uint8_t q[K_BLOCK / 4], s[K_BLOCK / 8];
};
struct block_iq3_s {
    uint16_t d; /* f16 */
    uint8_t q[K_BLOCK / 4], high[K_BLOCK / 32], signs[K_BLOCK / 8], s[K_BLOCK / 64];
};

#define IQUANT_ROW(type)                                          \
    void type##_to_row(const void *blocks, float *out, size_t n); \
    void type##_from_row(const float *x, const float *importance, void *blocks, size_t n)
IQUANT_ROW(iq1_s);
IQUANT_ROW(iq1_m);
IQUANT_ROW(iq2_xxs);
IQUANT_ROW(iq2_xs);
IQUANT_ROW(iq2_s);
IQUANT_ROW(iq3_xxs);
IQUANT_ROW(iq3_s);
#undef IQUANT_ROW

/* The numbers that values of a type are, times d, 2 s + 1 and a factor; at most sixteen. */
struct iquant_levels {
    int8_t level[16];
    float factor;
};

/* A super-block, value by value. */
struct iquant_places {
    uint16_t d;                  /* f16 */
    uint8_t scale[K_BLOCK / 16]; /* s of each sixteen values */
    uint8_t place[K_BLOCK];      /* in the list of levels */
};

/* Of one of the types above. */
void iquant_levels(enum dtype type, struct iquant_levels *levels);
void iquant_places(enum dtype type, const void *block, struct iquant_places *places);

#endif
