/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.h - number types of tensors: one table row each.
 *
 * Quantised types pack values into blocks; layouts as GGUF files hold them, little-endian.
 *
 * Blocks of 32 values; byte j of q holds value j in its low and value j + 16 in its high half:
 *
 *   q8_0    f16 d; int8 q[32]                     value = d * q
 *   q4_0    f16 d; uint8 q[16]                    value = d * (nibble - 8)
 *   q4_1    f16 d, m; uint8 q[16]                 value = d * nibble + m
 *   q5_0    f16 d; uint32 high; uint8 q[16]       value = d * (nibble + 16 * bit j of high - 16)
 *   q5_1    f16 d, m; uint32 high; uint8 q[16]    value = d * (nibble + 16 * bit j of high) + m
 *   iq4_nl  f16 d; uint8 q[16]                    value = d * iq4_levels[nibble]
 *   mxfp4   uint8 e; uint8 q[16]                  value = 2^(e - 128) * mxfp4_levels[nibble]
 *
 * Super-blocks of 256 values: kquant.h and iquant.h have those of more than one scale, and
 *
 *   tq1_0   uint8 five[48], four[4]; f16 d        value = d * (digit - 1)
 *   tq2_0   uint8 q[64]; f16 d                    value = d * (two bits - 1)
 *
 * tq2_0: value 128 h + 32 k + l has bits 2 k of q[32 h + l].  tq1_0: a byte is a fraction of 256
 * whose digits in base 3 are values; digit k of byte l is value 32 k + l for l < 32, then
 * 160 + 16 k + l - 32, and of four[l] 240 + 4 k + l. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q8_0,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q4_K,
    DTYPE_Q6_K,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q5_K,
    DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,
    DTYPE_MXFP4,
    DTYPE_TQ1_0,
    DTYPE_TQ2_0,
    DTYPE_IQ1_S,
    DTYPE_IQ1_M,
    DTYPE_IQ2_XXS,
    DTYPE_IQ2_XS,
    DTYPE_IQ2_S,
    DTYPE_IQ3_XXS,
    DTYPE_IQ3_S,
    DTYPE_COUNT
};

struct dtype_info {
    const char *name;     /* "q8_0" */
    uint32_t gguf_id;     /* ggml type number in a GGUF file */
    uint32_t block;       /* values per block */
    uint32_t block_bytes; /* bytes per block */
    /* Plain and exact: the specification.  n is a multiple of block. */
    void (*to_f32)(const void *blocks, float *out, size_t n);
    /* importance: n weights of the squared errors, not negative, or NULL: those that suit the type.
     * A block that has NaN or infinity, or numbers that no scale can hold, reads back as NaN. */
    void (*from_f32)(const float *x, const float *importance, void *blocks, size_t n);
};

#define Q_BLOCK 32
#define K_BLOCK 256
struct block_q8_0 {
    uint16_t d; /* f16 */
    int8_t q[Q_BLOCK];
};
struct block_q4_0 {
    uint16_t d; /* f16 */
    uint8_t q[Q_BLOCK / 2];
};
struct block_q4_1 {
    uint16_t d, m; /* f16 */
    uint8_t q[Q_BLOCK / 2];
};
struct block_q5_0 {
    uint16_t d; /* f16 */
    uint8_t high[4];
    uint8_t q[Q_BLOCK / 2];
};
struct block_q5_1 {
    uint16_t d, m; /* f16 */
    uint8_t high[4];
    uint8_t q[Q_BLOCK / 2];
};
struct block_q2_K {
    uint8_t scales[K_BLOCK / 16], q[K_BLOCK / 4];
    uint16_t d, dmin; /* f16 */
};
struct block_q3_K {
    uint8_t high[K_BLOCK / 8], q[K_BLOCK / 4], scales[12];
    uint16_t d; /* f16 */
};
struct block_q4_K {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t q[K_BLOCK / 2];
};
struct block_q5_K {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t high[K_BLOCK / 8], q[K_BLOCK / 2];
};
struct block_q6_K {
    uint8_t low[K_BLOCK / 2], high[K_BLOCK / 4];
    int8_t scale[K_BLOCK / 16];
    uint16_t d; /* f16 */
};
struct block_iq4_nl {
    uint16_t d; /* f16 */
    uint8_t q[Q_BLOCK / 2];
};
struct block_iq4_xs {
    uint16_t d; /* f16 */
    uint16_t high;
    uint8_t low[K_BLOCK / 64], q[K_BLOCK / 2];
};
struct block_mxfp4 {
    uint8_t e, q[Q_BLOCK / 2];
};
struct block_tq1_0 {
    uint8_t five[48], four[4];
    uint16_t d; /* f16 */
};
struct block_tq2_0 {
    uint8_t q[K_BLOCK / 4];
    uint16_t d; /* f16 */
};

/* Types whose products are made of integers, with kernels of their own.  Weights of the others are
 * decoded to f32, a tile at a time, or multiplied as packed.h has them. */
static inline bool dtype_is_integer(enum dtype t)
{
    return t >= DTYPE_Q8_0 && t <= DTYPE_MXFP4;
}

/* F(name, type) for each of them. */
/* clang-format off */
#define FOR_EACH_INTEGER_TYPE(F) \
    F(q8_0, DTYPE_Q8_0) F(q4_0, DTYPE_Q4_0) F(q4_1, DTYPE_Q4_1) \
    F(q5_0, DTYPE_Q5_0) F(q5_1, DTYPE_Q5_1) \
    F(q4_k, DTYPE_Q4_K) F(q6_k, DTYPE_Q6_K) F(q2_k, DTYPE_Q2_K) \
    F(q3_k, DTYPE_Q3_K) F(q5_k, DTYPE_Q5_K) \
    F(iq4_nl, DTYPE_IQ4_NL) F(iq4_xs, DTYPE_IQ4_XS) \
    F(mxfp4, DTYPE_MXFP4)
/* clang-format on */

extern const int8_t iq4_levels[16], mxfp4_levels[16];
float mxfp4_scale(uint8_t e); /* 2^(e - 128); NaN for 255 */
/* Value i of a super-block, and 1: 0 to 2; what tq2_0 does not write may be 3. */
unsigned tq1_0_digit(const struct block_tq1_0 *b, size_t i);
unsigned tq2_0_digit(const struct block_tq2_0 *b, size_t i);

const struct dtype_info *dtype_info(enum dtype t);
int dtype_by_gguf_id(uint32_t id);   /* -1: a type that we do not know */
int dtype_by_name(const char *name); /* -1 likewise */
const char *dtype_gguf_name(
    uint32_t id); /* the name of any ggml type, known or not: "q4_K"; NULL if unheard of */
/* Bytes of a row of n values, n a multiple of the block; n comes checked. */
size_t dtype_row_bytes(enum dtype t, size_t n);

/* IEEE half and bfloat16; rounding to nearest even, infinities and NaN kept. */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);

#endif
