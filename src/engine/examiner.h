/* SPDX-License-Identifier: Apache-2.0 */
/* examiner.h - the EVALUATE request: how well a model predicts a text, or what its matrices are
 * multiplied with there.
 *
 * Runs to its end before anything else is computed; meanwhile the host's CANCEL is heard. */
#ifndef ENGINE_EXAMINER_H
#define ENGINE_EXAMINER_H

#include "engine/serve.h"

/* Answers request `id` with PROGRESS frames and DATA: JSON (docs/PROTOCOL.md).  The sums of
 * EVALUATE_IMPORTANCE go to the output file.  LLMOS_ECANCELED, LLMOS_ECLOSED, or what is wrong. */
int examiner_run(struct serve *s, uint64_t id, const struct message_evaluate *want,
                 struct llmos_error *err);

#endif
