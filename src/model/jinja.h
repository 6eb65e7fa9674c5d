/* SPDX-License-Identifier: Apache-2.0 */
/* jinja.h - the chat templates that model files carry: Jinja as transformers sets it up.
 *
 * A template is a program of a stranger: it sees nothing but its variables, and what it may cost is
 * bounded (struct jinja_limits).  Parsed once, read-only, any number of threads may render it at
 * the same time, each into a store of its own. */
#ifndef MODEL_JINJA_H
#define MODEL_JINJA_H

#include "model/jinja_value.h"

struct jinja_template;

/* LLMOS_EFORMAT names the line and what is wrong there. */
int jinja_create(struct jinja_template **t, struct str source, struct llmos_error *err);
void jinja_destroy(struct jinja_template *t); /* NULL is fine */

/* variables: a dict in the store.  *out lies in the store; its marks say which bytes are somebody's
 * words.  Errors: what the template raises and what it does wrong (EINVAL), what it may not do
 * (EDENIED), what is too much (ELIMIT, ENOMEM); with the line. */
int jinja_render(const struct jinja_template *t, struct jinja_store *store,
                 struct jinja_value variables, struct jinja_str *out);

#endif
