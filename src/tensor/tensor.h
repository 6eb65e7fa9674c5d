/* SPDX-License-Identifier: Apache-2.0 */
/* tensor.h - a view of numbers that somebody else owns.
 *
 * Row-major with the innermost dimension first, as in GGUF: shape[0] is the length of a row,
 * shape[1] the number of rows.  A weight matrix w of shape {inner, rows} maps x[inner] to
 * out[rows]. */
#ifndef TENSOR_TENSOR_H
#define TENSOR_TENSOR_H

#include "tensor/dtype.h"

#include <stdbool.h>

#define TENSOR_DIMS_MAX 4

struct tensor {
    enum dtype type;
    unsigned n_dims;
    size_t shape[TENSOR_DIMS_MAX]; /* 1 beyond n_dims */
    size_t row_bytes;
    size_t strip_bytes; /* packed: as row_bytes, of each strip but the last */
    const void *data;   /* read-only, at least 4-byte aligned, not necessarily 64 */
    /* Sixteen rows side by side (packed.h): only matmul of a backend that reads_packed takes it,
     * and tensor_row finds only rows that begin a group, of a matrix of one strip. */
    bool is_packed;
    bool stays_cached; /* likely: with all that is read as often it fits the caches */
};

static inline const void *tensor_row(const struct tensor *t, size_t row)
{
    return (const char *)t->data + row * t->row_bytes;
}

#endif
