/* SPDX-License-Identifier: Apache-2.0 */
/* retrace.h - answers, computed once more as what they are when a conversation goes on: parts of a
 * prompt.
 *
 * Where prompts have kernels of their own (tensor/backend.h), what an answer has stored is not what
 * a prompt with the same tokens stores, so the next turn would find its own beginning only up to
 * there.  While nothing else is to be done, the tokens of the last answers go through the model
 * again, a few at a time: whoever comes waits for no more than these, or for a batch where the
 * prompt before them is gone from the cache as well.  What was computed is found in the tree of
 * pages (infer/prefix.h).  Nothing is lost if it never comes to that: the next turn computes what
 * is missing.
 *
 * One thread, that of the context. */
#ifndef ENGINE_RETRACE_H
#define ENGINE_RETRACE_H

#include "llmos/session.h"

#include <stdbool.h>

#define RETRACE_TEXTS 8 /* the last ones; older ones are given up */

struct retrace_text {
    int32_t *tokens;
    uint32_t count, prompt; /* prompt: of these, the first ones */
};

struct retrace {
    struct retrace_text texts[RETRACE_TEXTS]; /* the first is next */
    uint32_t count;
    llmos_session *session; /* of the first; NULL: not begun */
};

/* Notes what a session that ends has said behind the first `prompt` of its tokens.  Nothing if that
 * is found as it is, or if there is no memory to note it. */
void retrace_keep(struct retrace *r, const llmos_context *context, const llmos_session *session,
                  uint32_t prompt);

bool retrace_has_work(const struct retrace *r);

/* Computes some tokens, with no other session in the step. */
void retrace_step(struct retrace *r, llmos_context *context, uint64_t domain);

/* Gives back the sequence and the pages that it holds; what is complete of them stays in the tree.
 */
void retrace_yield(struct retrace *r);

void retrace_fini(struct retrace *r); /* before the context goes */

#endif
