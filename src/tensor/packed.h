/* SPDX-License-Identifier: Apache-2.0 */
/* packed.h - weights laid out for streaming: sixteen rows side by side.
 *
 * A matrix is cut into groups of PACKED_GROUP rows (the last one filled up with zeros), a group
 * into blocks along the row, and what a kernel needs of a block for all sixteen rows lies together,
 * in the order in which it is used: one stream through memory, no transposing, and every load
 * aligned. Values are those of the plain type, and products come out the same to the bit.
 *
 * Rows of two-byte floats lie by fours, [4 fours of a group][PACKED_STEP steps][4 rows]
 * [PACKED_STEP values], the last step filled up with zeros: a step of a row is a cache line.
 *
 * Any thread, on disjoint groups. */
#ifndef TENSOR_PACKED_H
#define TENSOR_PACKED_H

#include "tensor/tensor.h"

#include <stdbool.h>

#define PACKED_GROUP 16
#define PACKED_ALIGN 64 /* of a packed matrix: a register, a cache line */
/* Raised whenever a byte of the layout changes: files made before are then made again. */
#define PACKED_VERSION 2

#define PACKED_STEP 32 /* floats of a row */
#define PACKED_FOUR 4  /* rows of floats side by side */

/* Of quantised types.  A unit: what lies together of two blocks of 32 values, or of a super-block,
 * of sixteen rows.
 *
 *   head    [2][16] f16 scales of the blocks and, for types with an offset, [2][16] f16 offsets;
 *           super-blocks: [16] f16 d, [16] f16 dmin (q6_K: zeros), then 256 bytes of small scales:
 *           q4_K [8][16] scales, [8][16] minima, a byte each;  q6_K [16][16] int8
 *   blocks  of 32 values each, as dwords of four values, a lane for each row (little-endian):
 *           q8_0   [8][16] dwords, bytes with 128 added
 *           others [4][16] dwords: dword k has the quants 4 k .. 4 k + 3 in the low and those of
 *                  dword k + 4 in the high halves of its bytes; then, if quants have more bits,
 *           q5     [16] dwords: bit i of byte j is the fifth bit of quant 4 i + j
 *           q6_K   [2][16] dwords: bits 2 i, 2 i + 1 of byte j of dword h are the upper two bits of
 *                  quant 16 h + 4 i + j
 *
 * Quants are unsigned, without the offset that a type subtracts.  A row of an odd number of blocks
 * ends with half a unit of zeros. */
struct packed_unit {
    size_t blocks;               /* of 32 values */
    size_t scales;               /* offset of the small scales */
    size_t first, block, second; /* offset of block 0, bytes of each, offset in it of the further
                                    bits */
    size_t bytes;                /* a multiple of PACKED_ALIGN */
};

static inline struct packed_unit packed_unit(enum dtype type)
{
    bool is_super = type == DTYPE_Q4_K || type == DTYPE_Q6_K;
    bool has_offset = type == DTYPE_Q4_1 || type == DTYPE_Q5_1;
    struct packed_unit u = {.blocks = is_super ? 8 : 2, .scales = 64, .second = 256};

    u.first = is_super ? 320 : has_offset ? 128 : 64;
    u.block = type == DTYPE_Q8_0                         ? 512
              : type == DTYPE_Q5_0 || type == DTYPE_Q5_1 ? 320
              : type == DTYPE_Q6_K                       ? 384
                                                         : 256;
    u.bytes = u.first + u.blocks * u.block;
    return u;
}

static inline size_t packed_groups(size_t rows)
{
    return (rows + PACKED_GROUP - 1) / PACKED_GROUP;
}

/* Where value i of a row of floats lies, counted in values from where value 0 does. */
static inline size_t packed_float_at(size_t i)
{
    return i / PACKED_STEP * (PACKED_FOUR * PACKED_STEP) + i % PACKED_STEP;
}

/* Bytes of sixteen rows. */
static inline size_t packed_group_bytes(enum dtype type, size_t inner)
{
    struct packed_unit u = packed_unit(type);

    if (type == DTYPE_F16 || type == DTYPE_BF16)
        return (inner + PACKED_STEP - 1) / PACKED_STEP * PACKED_STEP * PACKED_GROUP * 2;
    return (inner / Q_BLOCK + u.blocks - 1) / u.blocks * u.bytes;
}

bool packed_has(enum dtype type); /* is there a packed form */

/* Writes the groups [begin, end) of plain w to out, group by group. */
void packed_write(const struct tensor *w, size_t begin, size_t end, void *out);

#endif
