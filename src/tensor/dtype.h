/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.h - number types of tensors: one table row each.
 *
 * Quantised types pack 32 values into a block with a scale; layouts as GGUF files hold them
 * (little-endian): q8_0: f16 d; int8 q[32]            value = d * q q4_0: f16 d; uint8 q[16] value
 * = d * (nibble - 8); byte j holds value j (low) and j + 16 (high) */
#ifndef TENSOR_DTYPE_H
#define TENSOR_DTYPE_H

#include <stddef.h>
#include <stdint.h>

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_COUNT };

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
struct block_q8_0 {
    uint16_t d; /* f16 */
    int8_t q[Q_BLOCK];
};
struct block_q4_0 {
    uint16_t d; /* f16 */
    uint8_t q[Q_BLOCK / 2];
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
