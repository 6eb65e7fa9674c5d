/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.h - number types of tensors: one table row each.
 *
 * Quantised types pack values into blocks; layouts as GGUF files hold them, little-endian.  Blocks
 * of 32 values; byte j of q holds value j in its low and value j + 16 in its high half: q8_0  f16
 * d; int8 q[32]                      value = d * q q4_0  f16 d; uint8 q[16] value = d * (nibble -
 * 8) q4_1  f16 d, m; uint8 q[16]                  value = d * nibble + m q5_0  f16 d; uint32 high;
 * uint8 q[16]        value = d * (nibble + 16 * bit j of high - 16) q5_1  f16 d, m; uint32 high;
 * uint8 q[16]     value = d * (nibble + 16 * bit j of high) + m Super-blocks of 256 values: q4_K
 * f16 d, dmin; uint8 scales[12]; uint8 q[128]: eight blocks of 32, each with a scale and a minimum
 * of 6 bits; value = d * scale * nibble - dmin * minimum.  The bytes 32 c to 32 c + 31 hold block 2
 * c in their low and block 2 c + 1 in their high halves.  Blocks 0 to 3 have their scales in the
 * low 6 bits of bytes 0 to 3 and their minima in those of 4 to 7; blocks 4 to 7 the low 4 bits of
 * both in bytes 8 to 11 (minima high) and the upper 2 in what the bytes 0 to 3 and 4 to 7 had left.
 *   q6_K  uint8 low[128], high[64]; int8 scale[16]; f16 d: sixteen blocks of 16;
 *         value = d * scale * (quant - 32).  Each half of 128 values has 64 bytes of low and 32 of
 *         high: value 32 k + l has its upper 2 bits at bit 2 k of high[l], its lower 4 in
 *         low[l + 32 (k % 2)], in the low half for k < 2. */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

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
    DTYPE_COUNT
};

struct dtype_info {
    const char *name;     /* "q8_0" */
    uint32_t gguf_id;     /* ggml type number in a GGUF file */
    uint32_t block;       /* values per block */
    uint32_t block_bytes; /* bytes per block */
    /* Plain and exact: the specification.  n is a multiple of block. */
    void (*to_f32)(const void *blocks, float *out, size_t n);
    void (*from_f32)(const float *x, void *blocks, size_t n);
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
struct block_q4_K {
    uint16_t d, dmin; /* f16 */
    uint8_t scales[12];
    uint8_t q[K_BLOCK / 2];
};
struct block_q6_K {
    uint8_t low[K_BLOCK / 2], high[K_BLOCK / 4];
    int8_t scale[K_BLOCK / 16];
    uint16_t d; /* f16 */
};

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
