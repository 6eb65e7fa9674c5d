/* SPDX-License-Identifier: Apache-2.0 */
/* imatrix.h - how important the columns of each matrix are: the mean square of what they are
 * multiplied with over a text ("importance matrix").
 *
 * Two kinds of file are read, both as llama.cpp writes them.  Today's is GGUF: key general.type is
 * "imatrix", and for each matrix NAME tensor "NAME.in_sum2" has sums of squares, a row for each
 * expert, and "NAME.counts" the number of activations of each.  The older one is a list: int32
 * entries, of each int32 name length, name, int32 calls, int32 values, f32 values (mean squares
 * times calls).  Values are finite and not negative, or the file is refused.
 *
 * The bytes need not outlive the struct.  Read-only after parsing: any thread. */
#ifndef MODEL_IMATRIX_H
#define MODEL_IMATRIX_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

struct imatrix_entry {
    struct str name; /* of the matrix: "blk.0.attn_q.weight" */
    size_t count;
    const float *values; /* mean squares, [expert][column] */
};

struct imatrix {
    struct imatrix_entry *entries;
    size_t entry_count;
    uint32_t chunks; /* of text that were read; 0: unknown */
    uint32_t *index; /* entries by name, internal */
    struct arena arena;
};

/* bytes: aligned to 8.  On failure nothing is left to free. */
int imatrix_parse(struct imatrix *im, const void *bytes, size_t n, struct llmos_error *err);
void imatrix_fini(struct imatrix *im);

const struct imatrix_entry *imatrix_find(const struct imatrix *im, struct str name); /* or NULL */

/* What was gathered of a matrix: sums[column], over count activations. */
struct imatrix_sums {
    struct str name;
    size_t columns;
    const float *sums;
    uint64_t count;
};

/* Writes today's kind of file.  dataset: where the text came from. */
int imatrix_write(int fd, const struct imatrix_sums *all, size_t n, struct str dataset,
                  uint32_t chunks, uint32_t chunk_tokens, struct llmos_error *err);

#endif
