/* SPDX-License-Identifier: Apache-2.0 */
/* guess.h - how the sessions of a step might go on: by what they said before (lookup.h), or by what
 * a smaller model says (twin.h).
 *
 * Guesses stand behind the tokens of a session while a step lasts.  Their rows are computed with
 * the row of the last token; then tokens are sampled one by one as long as each is the guess of
 * which the next row was computed.  The rows behind are not counted as computed, so what they
 * stored is overwritten before anything reads it. */
#ifndef INFER_GUESS_H
#define INFER_GUESS_H

#include "infer/context.h"

/* Of a new session. */
void guesses_begin(struct llmos_session *s);

/* Makes guesses for the turns of a step, whose rows are all of sessions that decode, and `left`
 * more fit into the batch. */
void guesses_make(llmos_context *c, uint32_t rows, uint32_t left);

#endif
