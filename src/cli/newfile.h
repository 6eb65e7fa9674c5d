/* SPDX-License-Identifier: Apache-2.0 */
/* newfile.h - a file that appears under its name when it is whole, and not before.
 *
 * It grows beside its place, under a hidden name, through a descriptor that can only write: what an
 * engine is given.  newfile_keep makes it durable and renames it; newfile_drop removes it. */
#ifndef CLI_NEWFILE_H
#define CLI_NEWFILE_H

#include "base/fail.h"

#include <limits.h>

struct newfile {
    const char *path; /* the caller's */
    char beside[PATH_MAX];
    int fd; /* -1: none */
};

/* source: the model that it is made from, no file of which it may replace; NULL: none.
 * LLMOS_EINVAL: they are the same, or the path is no regular file's. */
int newfile_open(struct newfile *f, const char *path, const char *source, struct llmos_error *err);
int newfile_keep(struct newfile *f, struct llmos_error *err);
void newfile_drop(struct newfile *f); /* a kept one, and one that was never opened, are fine */

#endif
