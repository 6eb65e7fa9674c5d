/* SPDX-License-Identifier: Apache-2.0 */
/* quantizer.h - the QUANTIZE request: the model's file written anew, with smaller numbers.
 *
 * Runs to its end before anything else is done; meanwhile the host's CANCEL is heard. */
#ifndef ENGINE_QUANTIZER_H
#define ENGINE_QUANTIZER_H

#include "engine/serve.h"
#include "model/mix.h"

struct quantizer_job {
    const struct mix *mix;
    bool has_importance, requantize;
};

/* Answers request `id` with PROGRESS frames and DATA: JSON (docs/PROTOCOL.md).  LLMOS_ECANCELED,
 * LLMOS_ECLOSED, or why the file could not be written. */
int quantizer_run(struct serve *s, uint64_t id, const struct quantizer_job *job,
                  struct llmos_error *err);

#endif
