/* SPDX-License-Identifier: Apache-2.0 */
/* chat.h - how a conversation is written for a model: the built-in formats.
 *
 * The public calls are in llmos/tokenizer.h. */
#ifndef MODEL_CHAT_H
#define MODEL_CHAT_H

#include "model/vocab.h"

/* Sets t->chat by the marks in the file's chat template, or, in files without one, by the control
 * tokens that are there; "plain" when nothing is recognised. */
int chat_recognise(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err);

#endif
