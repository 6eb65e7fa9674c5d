/* SPDX-License-Identifier: Apache-2.0 */
/* twin.h - a smaller model that runs ahead: every sequence has a twin in a context of that model,
 * which says greedily how it thinks that the sequence goes on.
 *
 * A twin holds the first tokens of its sequence, and behind them guesses.  What the sequence then
 * says decides how many of them were right; the rest is cut off when the twin is next asked
 * (llmos_session_truncate), and what it has not seen is appended.  A twin that lags far behind, as
 * after a long prompt, catches up by one batch each time, and guesses nothing until it has.
 *
 * Nothing is allocated after twins_carve.  One thread, that of the context. */
#ifndef INFER_TWIN_H
#define INFER_TWIN_H

#include "infer/carve.h"
#include "llmos/session.h"

struct twin {
    llmos_session *session;
    uint32_t sure; /* its first tokens that are those of the sequence */
};

struct twin_job {
    struct twin *twin;
    int32_t *tokens; /* of the sequence; guesses go behind them */
    uint32_t count, wanted;
    uint32_t made; /* guesses: as many as wanted, or fewer */
};

struct twins {
    llmos_context *context; /* of the smaller model; the owner's */
    bool is_broken;         /* it computes no number: nothing is asked any more */
    double guess_ns;        /* what a guess takes: a moving average; 0: unknown */
    struct twin_job *jobs;  /* one a sequence of a step: the caller fills them */
    llmos_session **sessions;
    struct twin_job **of;
    struct llmos_step_out *outs;
};

void twins_carve(struct twins *t, uint32_t sessions_max, struct carve *c);

/* Can the tokens of one model be those of the other?  LLMOS_EINVAL says what differs. */
int twins_check(const llmos_model *model, const llmos_model *draft_model, struct llmos_error *err);

/* The twin of a sequence that begins; its tokens are shared as those of the sequence. */
int twin_create(struct twin *twin, struct twins *t, struct llmos_error *err);
void twin_destroy(struct twin *twin);

/* The sequence was cut, or said something else: only so many tokens are common. */
void twin_agree(struct twin *twin, uint32_t count);

/* Makes the guesses of the first job_count jobs, in as many steps as the longest takes. */
void twins_guess(struct twins *t, size_t job_count);

#endif
