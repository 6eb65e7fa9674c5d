/* SPDX-License-Identifier: Apache-2.0 */
/* packed.h - weights laid out for streaming: sixteen rows side by side.
 *
 * A matrix is cut into strips of PACKED_STRIP columns (the last one has what is left), which lie
 * one behind the other, so that all rows of a strip pass before the next part of a vector is
 * needed: that part stays in level 1, which a long row would have pushed it out of.  A strip is cut
 * into groups of PACKED_GROUP rows (the last one filled up with zeros), a group
 * into blocks along the row, and what a kernel needs of a block for all sixteen rows lies together,
 * in the order in which it is used: one stream through memory, no transposing, and every load
 * aligned. Values are those of the plain type, or what kernels that read them make of them, and
 * products come out the same to the bit.
 *
 * Any thread, on disjoint groups. */
#ifndef TENSOR_PACKED_H
#define TENSOR_PACKED_H

#include "tensor/tensor.h"

#include <stdbool.h>

#define PACKED_GROUP 16
#define PACKED_ALIGN 64   /* of a packed matrix: a register, a cache line */
#define PACKED_STRIP 1024 /* whole panels of every kernel */
/* Raised whenever a byte of the layout changes: files made before are then made again. */
#define PACKED_VERSION 10

/* A unit: what lies together of a few blocks of 32 values, or of a super-block, of sixteen rows.
 *
 *   head    [2][16] f16 scales of the blocks and, for types with an offset, [2][16] f16 offsets;
 *           mxfp4: [4][16] bytes, the exponents;
 *           super-blocks: [16] f16 d, [16] f16 dmin or a list of levels (or zeros), then small
 *           scales:
 *           q4_K, q5_K  [3][16] dwords of four, as quants of 6 bits lie: scales of the blocks 0 to
 *                       3 and 4 to 7, then minima of the blocks 0, 2, 1, 3 and 4, 6, 5, 7
 *           q2_K        [16][16] bytes as they are in the file: scales below minima
 *           q3_K, q6_K  [16][16] int8        iq4_xs  [8][16] int8
 *           iq2_s       [8][16] bytes: s of the first sixteen values of a block below that of the
 *                       others, and a scale is 2 s + 1
 *           tq2_0       none: 1
 *   blocks  of 32 values each, as dwords of four values, a lane for each row (little-endian), in
 *           planes that hold the bits of quants from the lowest on:
 *           8 bits  [8][16] dwords, bytes with 128 added
 *           6 bits  [2][3][16] dwords, for sixteen values each: bytes hold a quant above their
 *                   lowest two bits, and those of dword k bits 2 k and 2 k + 1 of the quants of a
 *                   fourth dword in these two
 *           4 bits  [4][16] dwords: dword k has the quants 4 k .. 4 k + 3 in the low and those of
 *                   dword k + 4 in the high halves of its bytes
 *           2 bits  [2][16] dwords: bits 2 i, 2 i + 1 of byte j of dword h are those of quant
 *                   16 h + 4 i + j
 *           1 bit   [16] dwords: bit i of byte j is that of quant 4 i + j
 *           f16     [2][7][16] dwords of two words, for sixteen values each: words hold an integer
 *                   of fixed.h above their lowest two bits, and dword k bits 2 k and 2 k + 1 of
 *                   the integers of an eighth dword in these two
 *           bf16    [4][3][16] dwords of two words, for eight values each: words hold how far the
 *                   exponent is below the largest (bits 0 to 3), the sign (bit 4) and the mantissa
 *                   (bits 5 to 11), and dword k bits 4 k to 4 k + 3 of the same of a fourth dword
 *                   in the other four
 *
 * Floats have no head in a unit, but there are bytes in front of a strip's group of rows, [blocks,
 * filled up to fours][16]: the power of two of fixed.h.
 *
 * Quants are unsigned, without the offset that a type subtracts; the integers of f16 are signed.  A
 * row whose values do not fill its last unit ends with zeros.
 *
 * iq1, iq2, iq3 and tq name their values one by one here, instead of points of a lattice or digits
 * of a number, and lie as other types do (packed_as).  What differs between those of one layout is
 * in the list of levels, struct packed_levels. */
struct packed_unit {
    size_t blocks;       /* of 32 values */
    size_t scales;       /* offset of the small scales */
    size_t first, block; /* offset of block 0, bytes of each */
    size_t bytes;        /* a multiple of PACKED_ALIGN */
};

/* Behind d: places in this list are quants; a value is d * scale * factor * level. */
#define PACKED_LEVELS 32
struct packed_levels {
    uint8_t level[16]; /* with 128 added */
    float factor;
    float largest; /* magnitude of a level */
    uint8_t unused[8];
};

/* As what type it is laid out and multiplied: that which it is, or one whose layout holds it too.
 */
static inline enum dtype packed_as(enum dtype type)
{
    switch (type) {
    case DTYPE_IQ3_XXS:
    case DTYPE_IQ3_S:
        return DTYPE_IQ4_XS; /* 4 bits, and a scale for 32 values */
    case DTYPE_IQ1_S:
    case DTYPE_IQ1_M:
    case DTYPE_IQ2_XXS:
    case DTYPE_IQ2_XS:
        return DTYPE_IQ2_S; /* 3 bits, for 16 */
    case DTYPE_TQ1_0:
        return DTYPE_TQ2_0; /* 2 bits, for all */
    default:
        return type;
    }
}

/* Of bf16: how far an exponent may be below the largest of its block; 4 bits hold it.  What is
 * smaller has PACKED_ZERO there, as do subnormal numbers: it becomes no integer but zero. */
#define PACKED_SPAN 14
#define PACKED_ZERO 15

/* Of a value: 14, 12, 8, 6, or a plane for each bit of this number that is set. */
static inline unsigned packed_bits(enum dtype type)
{
    switch (packed_as(type)) {
    case DTYPE_F16:
        return 14;
    case DTYPE_BF16:
        return 12;
    case DTYPE_Q8_0:
        return 8;
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q5_K:
        return 5;
    case DTYPE_Q6_K:
        return 6;
    case DTYPE_Q3_K:
    case DTYPE_IQ2_S:
        return 3;
    case DTYPE_Q2_K:
    case DTYPE_TQ2_0:
        return 2;
    default:
        return 4;
    }
}

static inline struct packed_unit packed_unit(enum dtype type)
{
    bool has_offset = type == DTYPE_Q4_1 || type == DTYPE_Q5_1;
    struct packed_unit u = {.blocks = 2, .scales = 64, .block = 64u * packed_bits(type)};

    u.first = has_offset ? 128 : 64;
    switch (packed_as(type)) {
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
        u.blocks = 8;
        u.first = 64 + 192;
        break;
    case DTYPE_Q2_K:
    case DTYPE_Q3_K:
    case DTYPE_Q6_K:
        u.blocks = 8;
        u.first = 64 + 256;
        break;
    case DTYPE_IQ4_XS:
    case DTYPE_IQ2_S:
        u.blocks = 8;
        u.first = 64 + 128;
        break;
    case DTYPE_TQ2_0:
        u.blocks = 8;
        break;
    case DTYPE_MXFP4:
        u.blocks = 4;
        break;
    case DTYPE_F16:
    case DTYPE_BF16:
        u.blocks = 1;
        u.first = 0;
        break;
    default:
        break;
    }
    u.bytes = u.first + u.blocks * u.block;
    return u;
}

/* Of q4_K and q5_K: the place of block k's minimum among those of its super-block. */
static inline size_t packed_minimum(size_t k)
{
    return k % 4 == 1 ? k + 1 : k % 4 == 2 ? k - 1 : k;
}

static inline size_t packed_groups(size_t rows)
{
    return (rows + PACKED_GROUP - 1) / PACKED_GROUP;
}

/* Of a strip of so many columns, here and below.  Bytes in front of the units of sixteen rows. */
static inline size_t packed_front(enum dtype type, size_t columns)
{
    size_t blocks = (columns + Q_BLOCK - 1) / Q_BLOCK;
    bool has_front = type == DTYPE_F16 || type == DTYPE_BF16;

    return has_front ? (blocks + 3) / 4 * 4 * PACKED_GROUP : 0;
}

/* Bytes of sixteen rows. */
static inline size_t packed_group_bytes(enum dtype type, size_t columns)
{
    struct packed_unit u = packed_unit(type);
    size_t blocks = (columns + Q_BLOCK - 1) / Q_BLOCK;

    return packed_front(type, columns) + (blocks + u.blocks - 1) / u.blocks * u.bytes;
}

/* Columns of the strip that begins at column `first`. */
static inline size_t packed_columns(size_t inner, size_t first)
{
    return inner - first < PACKED_STRIP ? inner - first : PACKED_STRIP;
}

/* The packed form at `data` of a plain matrix, or of several behind each other. */
static inline struct tensor packed_form(const struct tensor *w, const void *data)
{
    size_t inner = w->shape[0], whole = inner / PACKED_STRIP;
    struct tensor p = *w;

    p.is_packed = true;
    p.strip_bytes = packed_group_bytes(w->type, PACKED_STRIP) / PACKED_GROUP;
    p.row_bytes = packed_group_bytes(w->type, inner % PACKED_STRIP) / PACKED_GROUP;
    p.row_bytes += whole * p.strip_bytes;
    p.data = data;
    return p;
}

/* The strip at column `first` of a packed matrix, as one that has no other. */
static inline struct tensor packed_strip(const struct tensor *w, size_t first)
{
    size_t before = first / PACKED_STRIP * w->strip_bytes;
    struct tensor strip = *w;

    strip.shape[0] = packed_columns(w->shape[0], first);
    strip.row_bytes = strip.shape[0] == PACKED_STRIP ? w->strip_bytes : w->row_bytes - before;
    strip.data = (const char *)w->data + packed_groups(w->shape[1]) * PACKED_GROUP * before;
    return strip;
}

bool packed_has(enum dtype type); /* is there a packed form */

/* Writes the groups [begin, end) of the strip at column `first` of plain w to out, group by group.
 */
void packed_write(const struct tensor *w, size_t first, size_t begin, size_t end, void *out);

#endif
