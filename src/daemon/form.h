/* SPDX-License-Identifier: Apache-2.0 */
/* form.h - what an answer must be, from the fields in which the usual clients say so, as a grammar.
 *
 * OpenAI's response_format (json_object, json_schema), llama.cpp's grammar and json_schema, and
 * vLLM's guided_json, guided_regex, guided_choice, guided_grammar and structured_outputs.  One of
 * them.  Any thread. */
#ifndef DAEMON_FORM_H
#define DAEMON_FORM_H

#include "base/json.h"

/* Appends a grammar to out and returns 1, or 0: any text will do.  Negative with the fault. */
int form_take(const json_t *request, struct buf *out, struct json_fault *fault);

#endif
