/* SPDX-License-Identifier: Apache-2.0 */
/* draft.h - how long a draft pays: what a step of more rows costs, and how often a guess is right.
 *
 * A draft of k tokens, each right with probability a if those before it are, makes a step give
 * (1 - a^(k+1)) / (1 - a) tokens on average instead of one (Leviathan, Kalman and Matias 2023,
 * arXiv 2211.17192, equation 1); it pays where the step becomes longer by less than that.  Both
 * sides are measured, `a` for each session and source of drafts, the time of a step for each number
 * of rows in the context.  All of it decides on speed, never on what is sampled.
 *
 * Where a draft does not pay, none is made, except now and then to look again: after 16 chances,
 * then 32, ... up to DRAFT_PAUSE_MAX.  Nothing is allocated.  One thread. */
#ifndef INFER_DRAFT_H
#define INFER_DRAFT_H

#include <stdint.h>

/* A step of more rows than this computes more than it waits for weights: guesses do not pay. */
#define DRAFT_ROWS_MAX  32
#define DRAFT_PAUSE_MIN 16
#define DRAFT_PAUSE_MAX 1024

struct draft_cost {
    double ns[DRAFT_ROWS_MAX + 1];     /* of the forward pass, by rows; 0: unknown */
    uint32_t when[DRAFT_ROWS_MAX + 1]; /* the note that was the last of so many rows */
    uint32_t notes;
};

/* A step of so many rows, none of a prompt, took so long. */
void draft_cost_note(struct draft_cost *c, uint32_t rows, uint64_t ns);

/* What a step of so many rows, 1 to DRAFT_ROWS_MAX, will take: measured lately, else between its
 * neighbours; in no unit as long as nothing was measured. */
double draft_cost_of(const struct draft_cost *c, uint32_t rows);

struct draft_odds {
    double right;         /* that a guess is, if those before it are: a moving average */
    uint32_t wait, pause; /* chances to let pass before looking again; pause: the last time's */
};

void draft_odds_init(struct draft_odds *o, double right);

/* `right` of `guessed` were. */
void draft_odds_note(struct draft_odds *o, uint32_t guessed, uint32_t right);

/* A step that will have `rows` rows and give `tokens` tokens: by how many guesses of one session,
 * at most most, it should be extended, if each also takes guess_ns to make.  0: none. */
uint32_t draft_length(struct draft_odds *o, const struct draft_cost *c, uint32_t rows,
                      double tokens, uint32_t most, double guess_ns);

double draft_tokens(const struct draft_odds *o, uint32_t guesses); /* given beyond the first */

#endif
