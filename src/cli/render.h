/* SPDX-License-Identifier: Apache-2.0 */
/* render.h - JSON as a person reads it.
 *
 * An object becomes lines "key  value", an object in it a section with a heading, a list of objects
 * a table.  Keys that end in "_bytes" show sizes, "_us" times.  The value comes from strangers: it
 * was bounded when it was parsed, and every text is cleaned here. */
#ifndef CLI_RENDER_H
#define CLI_RENDER_H

#include "base/buf.h"

#include <jansson.h>

void render(const json_t *value, struct buf *out);

/* One scalar or short list as a cell: 1.5 GiB, yes, [32, 64]. */
void render_cell(const char *key, const json_t *value, struct buf *out);

#endif
