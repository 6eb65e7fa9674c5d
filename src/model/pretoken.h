/* SPDX-License-Identifier: Apache-2.0 */
/* pretoken.h - how llama.cpp calls the way in which a tokenizer cuts text before it merges. */
#ifndef MODEL_PRETOKEN_H
#define MODEL_PRETOKEN_H

#include "model/jsondoc.h"

/* pre_tokenizer: of tokenizer.json, for BPE over bytes.  NULL and err: nobody knows it. */
const char *pretoken_name(struct jdoc_ref pre_tokenizer, struct llmos_error *err);

#endif
