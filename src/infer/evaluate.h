/* SPDX-License-Identifier: Apache-2.0 */
/* evaluate.h - a model reads a text in chunks: what it expected at each place, and what its
 * matrices were multiplied with.
 *
 * By the convention of llama.cpp's tools: the text is tokenized whole and cut into chunks, each of
 * which begins with BOS in the place of its first token if the model wants one, and only the second
 * half is scored, where there is something to go by.  Stands on forward.h, not on sessions: these
 * give the logits of one position a step.  One thread drives an evaluator. */
#ifndef INFER_EVALUATE_H
#define INFER_EVALUATE_H

#include "base/fail.h"
#include "llmos/model.h"
#include "tensor/backend.h"

#include <stddef.h>

#define EVALUATE_PIECE 64 /* scored positions computed together: bounds the memory of logits */

struct evaluator;

struct evaluate_options {
    unsigned threads;
    size_t chunk_tokens;           /* at least 4 */
    enum dtype kv_type;            /* f16 or q8_0 */
    const struct backend *backend; /* NULL: the best */
    uint64_t memory_max_bytes;     /* 0: no limit */
};

/* The model must outlive it. */
int evaluator_create(struct evaluator **e, const llmos_model *m, const struct evaluate_options *o,
                     struct llmos_error *err);
void evaluator_destroy(struct evaluator *e); /* NULL is fine */

/* Reads a chunk whole, and tells what each matrix is multiplied with: x[w->shape[0]], once a
 * token. */
typedef void (*evaluate_observer)(void *arg, const struct tensor *w, const float *x);
void evaluator_watch(struct evaluator *e, const int32_t *tokens, evaluate_observer observer,
                     void *arg);

/* Begins a chunk (chunk_tokens of them, which stay the caller's until the last piece). */
void evaluator_begin(struct evaluator *e, const int32_t *tokens);

/* Computes the next piece and returns how many of its positions are scored; 0: the chunk is over.
 * Two evaluators of the same chunk_tokens go through a chunk in the same pieces. */
size_t evaluator_next(struct evaluator *e);

/* Of the i-th scored position of the piece: its logits, and the token that followed. */
const float *evaluator_logits(const struct evaluator *e, size_t i);
int32_t evaluator_token(const struct evaluator *e, size_t i);

/* - log of the probability that logits give a token, in nats. */
double evaluate_surprise(const float *logits, size_t n_vocab, int32_t token);

/* The Kullback-Leibler divergence: what predicting by b costs, in nats, where a is the truth
 * (Kullback & Leibler 1951, eq. 2.2). */
double evaluate_divergence(const float *a, const float *b, size_t n_vocab);

#endif
