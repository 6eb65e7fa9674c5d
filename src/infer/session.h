/* SPDX-License-Identifier: Apache-2.0 */
/* session.h - what tests and the benchmark may ask of a context beyond llmos/session.h. */
#ifndef INFER_SESSION_H
#define INFER_SESSION_H

#include "base/pool.h"
#include "llmos/session.h"

/* Is every page of the cache in exactly one state, and held by as many sessions as it counts?  If
 * not, `why` says which is not. */
bool context_is_sound(const llmos_context *context, struct llmos_error *why);

/* The threads that compute it, for others' use while nothing is stepped. */
struct pool *context_pool(const llmos_context *context);

/* From now on every draft is made as long as there is room for it, whether it pays or not: what a
 * session says must not depend on it, and what pays depends on the machine. */
void context_guess_always(llmos_context *context);

/* From now on the session says these tokens, which stay the caller's, whatever it samples, and
 * behind the last what it samples: how fast a text would be said that this model would not say. */
void session_replay(llmos_session *session, const int32_t *tokens, uint32_t count);

/* Are generated tokens computed by other kernels than those of prompts, so that pages with the ones
 * are not found for the others? */
bool context_has_kinds(const llmos_context *context);

/* All that it has seen and queued, llmos_session_length of them; until it changes. */
const int32_t *session_tokens(const llmos_session *session);

#endif
