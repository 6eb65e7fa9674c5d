/* SPDX-License-Identifier: Apache-2.0 */
/* experts.h - the feed-forward part of a mixture of experts (Shazeer et al. 2017): each row goes to
 * the few experts that a router likes best, and their results are added up by its weights.
 *
 * Rows are brought in the order of their experts, so that each expert's matrices are read once for
 * all rows that want it.  A row's result depends on the row alone: its experts are added in the
 * order of its own liking.  Everything is allocated beforehand; one thread drives, those of the
 * pool compute. */
#ifndef INFER_EXPERTS_H
#define INFER_EXPERTS_H

#include "base/pool.h"
#include "infer/carve.h"
#include "model/weights.h"
#include "tensor/backend.h"

struct route {
    uint32_t expert;
    float weight;
};

/* Rows of the run: x of h->n_embd numbers, strides apart; out does not overlap x. */
struct experts_run {
    const struct backend *backend; /* that of experts_carve, or what it has for generated tokens */
    uint32_t layer;
    size_t n, x_stride, out_stride;
    const float *x;
    float *out;
};

struct experts {
    const struct hparams *h;
    const struct weights *w;
    size_t ff_stride, width_stride, prepared_bytes;
    struct route *routes;        /* [row][used] */
    uint32_t *begin;             /* of each expert's entries, and behind the last */
    uint32_t *row_of, *entry_of; /* of each entry; of each route */
    float *gate, *up, *down;     /* of each entry */
    char *prepared[2];           /* of each entry, for gate (and down) and for up */
    struct experts_run run;
};

/* Cuts the scratch out of a block (carve.h); nothing if the model has no experts. */
void experts_carve(struct experts *e, const struct hparams *h, const struct weights *w,
                   const struct backend *backend, size_t rows_max, struct carve *c);

/* Chooses the experts of a row by the router's logits, one for each expert: the lower number among
 * equals.  Weights are shares of the softmax, of all or of the chosen.  Any
 * thread, each row once. */
void experts_route(struct experts *e, size_t row, const float *logits);

void experts_compute(struct experts *e, struct pool *pool, const struct experts_run *run);

#endif
