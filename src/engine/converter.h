/* SPDX-License-Identifier: Apache-2.0 */
/* converter.h - the CONVERT request: the files of a Hugging Face folder become a model file.
 *
 * Runs to its end before anything else is computed; meanwhile the host's CANCEL is heard. */
#ifndef ENGINE_CONVERTER_H
#define ENGINE_CONVERTER_H

#include "engine/serve.h"

/* Answers request `id` with PROGRESS frames and a last PACKED.  LLMOS_ECANCELED, LLMOS_ECLOSED, or
 * what is wrong with the folder. */
int converter_run(struct serve *s, uint64_t id, const struct message_convert *c,
                  struct llmos_error *err);

#endif
