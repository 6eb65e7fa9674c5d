/* SPDX-License-Identifier: Apache-2.0 */
/* converted.h - folders of Hugging Face for a verb: converted now, with a bar, or found. */
#ifndef CLI_CONVERTED_H
#define CLI_CONVERTED_H

#include "sched/convert.h"

/* LLMOS_ECANCELED: the user halted it.  Errors name the folder. */
int converted_write(const char *folder, const char *out, const char *type,
                    const struct worker_options *worker, struct llmos_error *err);

/* The path of a model: itself, or, if it leads to a folder, that of the file in the cache, written
 * to `made`.  NULL and err: the folder cannot be converted. */
const char *converted_find(const char *path, const struct worker_options *worker, char *made,
                           size_t size, struct llmos_error *err);

#endif
