/* SPDX-License-Identifier: Apache-2.0 */
/* chat.h - how a conversation is written for a model: by the chat template of its file, or by a
 * built-in one.
 *
 * Both are Jinja (jinja.h).  What somebody said is marked on its way through the template, so that
 * only what the template itself writes can become a special token.  The public calls are in
 * llmos/tokenizer.h. */
#ifndef MODEL_CHAT_H
#define MODEL_CHAT_H

#include "model/vocab.h"

struct buf;

/* Sets t->chat: the file's chat template, or, in files without one, the built-in format whose
 * control tokens are there; "plain" when none are.  A template that cannot be parsed is no failure
 * here: the conversation that would need it says why. */
int chat_create(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err);
void chat_destroy(struct chat *chat); /* NULL is fine */

/* A template without a model, over a conversation as llmos_chat_render takes it; appended to out.
 */
int chat_render_source(struct str source, struct str json, struct buf *out,
                       struct llmos_error *err);

#endif
