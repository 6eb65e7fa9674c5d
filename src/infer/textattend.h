/* SPDX-License-Identifier: Apache-2.0 */
/* textattend.h - attention within texts that are there as a whole: every row over all rows of its
 * text, before and behind it, or over those within reach.
 *
 * Keys and values are the rows of the run as they are, in f32: nothing is kept, so nothing is
 * rounded.  Several texts stand behind each other in a run.  A result depends on its text alone:
 * jobs of rows are the same whatever thread computes them and whatever stands beside it. */
#ifndef INFER_TEXTATTEND_H
#define INFER_TEXTATTEND_H

#include "infer/carve.h"
#include "model/hparams.h"
#include "tensor/backend.h"

#define TEXTATTEND_ALL SIZE_MAX

struct textattend_text {
    size_t row, count; /* of the run */
    uint64_t work;     /* of the texts before it */
};

struct textattend {
    const struct backend *backend;
    size_t head_dim, n_head, n_head_kv;
    float scale;
    size_t stride; /* floats of a row of scores, and of a dimension of the keys */
    /* scratch of each thread */
    float *scores; /* [TEXT_ROWS][key] */
    float *keys;   /* of one head [dimension][key] */

    struct textattend_text *texts; /* one more than there are: the end */
    size_t count;
};

/* q[n][n_head * head_dim], k and v[n][n_head_kv * head_dim], strides in floats. */
struct textattend_run {
    const float *q, *k, *v;
    float *out; /* [n][n_head * head_dim] */
    size_t q_stride, k_stride, v_stride, out_stride;
    size_t reach; /* a row sees those at most so far away */
};

void textattend_carve(struct textattend *t, const struct hparams *h, const struct backend *backend,
                      unsigned threads, size_t rows_max, struct carve *c);

/* What the runs that follow are of: textattend_begin, then each text from the first row on. */
void textattend_begin(struct textattend *t);
void textattend_add(struct textattend *t, size_t count);

/* The share of a thread. */
void textattend_compute(const struct textattend *t, const struct textattend_run *run, unsigned part,
                        unsigned parts);

#endif
