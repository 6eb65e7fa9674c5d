/* SPDX-License-Identifier: Apache-2.0 */
/* toolparam.h - the parameters of a function for models that write them between tags, strings as
 * they are (struct callform_tags): which types each may have, and the grammar of all of them.
 *
 * Parameters come in the order of the schema, and no others.  Where a value may be a string or
 * something else, a string that begins like JSON stands in quotes.  Any thread. */
#ifndef DAEMON_TOOLPARAM_H
#define DAEMON_TOOLPARAM_H

#include "base/arena.h"
#include "daemon/toolcall.h"

/* Of the function with this JSON schema (NULL: none), into the arena. */
int toolparam_take(struct toolcall_function *f, const json_t *schema, struct arena *arena);

/* The rule NAME-root and others whose names begin so.  LLMOS_EUNSUPPORTED and others: the schema
 * says what cannot be kept. */
int toolparam_put(struct buf *out, const char *name, const struct callform_tags *tags,
                  const json_t *schema, struct llmos_error *err);
/* The same for any parameters, of which nothing is said. */
void toolparam_put_any(struct buf *out, const char *name, const struct callform_tags *tags);

#endif
