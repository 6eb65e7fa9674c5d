/* SPDX-License-Identifier: Apache-2.0 */
/* packer.h - the PACK request: the model's weights, laid out for this processor, go to a file.
 *
 * Runs to its end before anything else is computed; meanwhile the host's CANCEL is heard. */
#ifndef ENGINE_PACKER_H
#define ENGINE_PACKER_H

#include "engine/serve.h"

/* Answers request `id` with PROGRESS frames and a last PACKED.  LLMOS_ECANCELED, LLMOS_ECLOSED, or
 * why the file could not be written. */
int packer_run(struct serve *s, uint64_t id, struct llmos_error *err);

#endif
