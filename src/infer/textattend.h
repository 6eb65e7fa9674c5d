/* SPDX-License-Identifier: Apache-2.0 */
/* textattend.h - attention within a text that is there as a whole: every row over all rows, before
 * and behind it, or over those within reach.
 *
 * Keys and values are the rows of the run as they are, in f32: nothing is kept, so nothing is
 * rounded.  Both products are those of the back end.  A result depends on the text alone: tiles of
 * rows are the same whatever thread computes them. */
#ifndef INFER_TEXTATTEND_H
#define INFER_TEXTATTEND_H

#include "infer/carve.h"
#include "model/hparams.h"
#include "tensor/backend.h"

#define TEXTATTEND_ALL SIZE_MAX

struct textattend {
    const struct backend *backend;
    size_t rows_max, head_dim, n_head, n_head_kv;
    float scale;
    size_t stride;         /* floats of a row of scores, and of a dimension of the values */
    size_t prepared_bytes; /* the longest vector: of a query or of a row of weights */
    /* scratch of each thread */
    char *prepared; /* [row of the tile] */
    float *scores;  /* [row of the tile][key] */
    float *values;  /* of one head [dimension][key] */
};

/* q[n][n_head * head_dim], k and v[n][n_head_kv * head_dim], strides in floats. */
struct textattend_run {
    const float *q, *k, *v;
    float *out; /* [n][n_head * head_dim] */
    size_t q_stride, k_stride, v_stride, out_stride;
    size_t n;
    size_t reach; /* a row sees those at most so far away */
};

void textattend_carve(struct textattend *t, const struct hparams *h, const struct backend *backend,
                      unsigned threads, size_t rows_max, struct carve *c);

/* The share of a thread. */
void textattend_compute(const struct textattend *t, const struct textattend_run *run, unsigned part,
                        unsigned parts);

#endif
