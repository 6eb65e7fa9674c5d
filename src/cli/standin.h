/* SPDX-License-Identifier: Apache-2.0 */
/* standin.h - a model file made for measuring: real shapes and types, random weights (synth.h).
 *
 * It has no name unless the user wants to keep it, so that nothing is left behind however the
 * program ends. */
#ifndef CLI_STANDIN_H
#define CLI_STANDIN_H

#include "base/fail.h"

struct standin {
    int fd;          /* -1: none */
    char path[4096]; /* by which this process and those it starts can open it */
};

/* keep: the file to make (replaced if it is there), or NULL: a file without a name in $TMPDIR (or
 * /tmp), or in memory where that folder has no such files.  Shows a bar; LLMOS_ECANCELED: the user
 * wants no more (halt.h), and a kept file is removed. */
int standin_make(struct standin *s, const char *shape, const char *type, const char *keep,
                 struct llmos_error *err);
void standin_close(struct standin *s); /* {.fd = -1} is fine */

#endif
