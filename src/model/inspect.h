/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.h - llmos_inspect_fd (llmos/model.h) for bytes that are in memory already. */
#ifndef MODEL_INSPECT_H
#define MODEL_INSPECT_H

#include "base/buf.h"

/* bytes: aligned to 8. */
int inspect_bytes(const void *bytes, size_t n, struct buf *json, struct llmos_error *err);

#endif
