/* SPDX-License-Identifier: Apache-2.0 */
/* packed.h - weights laid out for streaming: sixteen rows side by side.
 *
 * A matrix is cut into groups of PACKED_GROUP rows (the last one filled up with zeros), a group into
 * blocks along the row, and what a kernel needs of a block for all sixteen rows lies together, in
 * the order in which it is used: one stream through memory, no transposing, and every load aligned.
 * Values are those of the plain type, and products come out the same to the bit.
 *
 * Any thread, on disjoint groups. */
#ifndef TENSOR_PACKED_H
#define TENSOR_PACKED_H

#include "tensor/tensor.h"

#include <stdbool.h>

#define PACKED_GROUP 16
#define PACKED_ALIGN 64 /* of a packed matrix: a register, a cache line */
/* Raised whenever a byte of the layout changes: files made before are then made again. */
#define PACKED_VERSION 1

bool packed_has(enum dtype type); /* quantised types have a packed form, floats do not */

/* Bytes of the packed form of a tensor of this type and shape, a multiple of PACKED_ALIGN. */
size_t packed_bytes(enum dtype type, size_t inner, size_t rows);

/* Writes the groups [begin, end) of plain w, each packed_bytes(type, inner, PACKED_GROUP) long, to
 * out. */
void packed_write(const struct tensor *w, size_t begin, size_t end, void *out);

static inline size_t packed_groups(size_t rows)
{
    return (rows + PACKED_GROUP - 1) / PACKED_GROUP;
}

#endif
