/* SPDX-License-Identifier: Apache-2.0 */
/* templatesign.h - by which pieces of text a chat template shows how its model answers.
 *
 * Tables of toolformat.c and thoughtformat.c.  Any thread. */
#ifndef MODEL_TEMPLATESIGN_H
#define MODEL_TEMPLATESIGN_H

#include "base/str.h"

struct templatesign {
    const char *name;
    const char *has[2]; /* NULL: no further one */
};

/* The name of the first that fits; "": none. */
const char *templatesign_find(const struct templatesign *table, size_t count, struct str template);

#endif
