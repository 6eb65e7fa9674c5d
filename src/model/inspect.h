/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.h - llmos_inspect_fd (llmos/model.h) for models in several files, and for what is in
 * memory already. */
#ifndef MODEL_INSPECT_H
#define MODEL_INSPECT_H

#include "model/parts.h"

int inspect_maps(const struct file_map *parts, unsigned count, struct buf *json,
                 struct llmos_error *err);

/* *json as llmos_inspect_fd. */
int inspect_parts(const int *fds, unsigned count, char **json, size_t *length,
                  struct llmos_error *err);

#endif
