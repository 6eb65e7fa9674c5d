/* SPDX-License-Identifier: Apache-2.0 */
/* sampler.h - from logits to the next token.
 *
 * The order is that of llmos/session.h: logit bias, penalties, then greedy, or top-k, temperature,
 * top-p, min-p and a draw.  Every draw takes one number from the generator whatever the options.
 * Sums are in double and in a fixed order; equals are ordered by the lower id.  A logit that is not
 * a number counts as impossible.
 *
 * A grammar bans what it does not allow behind bias and penalties, before anything is chosen: what
 * comes is drawn from the tokens that it allows, as if there were no others.  Log-probabilities are
 * those of the model without bias, penalties and grammar. */
#ifndef INFER_SAMPLER_H
#define INFER_SAMPLER_H

#include "base/rng.h"
#include "infer/carve.h"
#include "infer/matcher.h"
#include "llmos/session.h"

/* 0, or LLMOS_EINVAL with the option that is out of range. */
int sampler_check(const struct llmos_sampling *options, size_t n_vocab, struct llmos_error *err);

/* What the sequence holds so far, this position included. */
struct sampler_history {
    const int32_t *tokens;
    const uint8_t *generated; /* 1: sampled, 0: given */
    size_t count;
};

struct sampler_candidate {
    float logit;
    int32_t token;
};

/* Of one vocabulary each, one set a thread. */
struct sampler_scratch {
    float *logits;
    uint32_t *counts; /* zero between calls */
    struct sampler_candidate *candidates;
};

void sampler_carve(struct sampler_scratch *scratch, size_t n_vocab, struct carve *c);

/* Fills token, logprob, top and top_count of out.  The grammar may be NULL; it is asked, the token
 * is not accepted.  LLMOS_EFORMAT: no logit is a number; LLMOS_ENOTFOUND: bias and grammar leave no
 * token; or what fails in the grammar.  Then nothing has changed but the scratch. */
int sampler_pick(const struct llmos_sampling *options, const float *logits, size_t n_vocab,
                 const struct sampler_history *history, struct matcher *grammar, struct rng *rng,
                 const struct sampler_scratch *scratch, struct llmos_step_out *out);

#endif
