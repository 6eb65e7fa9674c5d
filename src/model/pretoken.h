/* SPDX-License-Identifier: Apache-2.0 */
/* pretoken.h - the pre_tokenizer of a tokenizer.json as a name of pretokenizer.h. */
#ifndef MODEL_PRETOKEN_H
#define MODEL_PRETOKEN_H

#include "model/jsondoc.h"

/* For BPE over bytes.  NULL and err: no name has these steps. */
const char *pretoken_name(struct jdoc_ref pre_tokenizer, bool ignore_merges,
                          struct llmos_error *err);

#endif
