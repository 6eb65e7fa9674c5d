/* SPDX-License-Identifier: Apache-2.0 */
/* callshape.h - how a chat template wants calls of functions that were made before: some add
 * arguments to a text, and fail with an object; some write a call only where `content` is none.
 *
 * Found by rendering a small conversation in each shape: the first in which the call is seen is the
 * one, and the plain shape (arguments as an object, content as a text) where it is in none.  Any
 * thread. */
#ifndef MODEL_CALLSHAPE_H
#define MODEL_CALLSHAPE_H

#include "model/jinja.h"

struct callshape {
    bool is_text;      /* arguments are JSON as a text */
    bool is_none_said; /* who called something and said nothing has the content none */
};

/* LLMOS_ENOMEM, or 0. */
int callshape_find(struct callshape *shape, const struct jinja_template *t);

/* Messages in the plain shape get this one.  variables: as a template gets them. */
void callshape_apply(struct jinja_store *s, const struct callshape *shape,
                     struct jinja_value variables);

#endif
