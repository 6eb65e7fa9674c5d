/* SPDX-License-Identifier: Apache-2.0 */
/* cachefolder.h - a folder of files that can be made again, and that only its owner writes.
 *
 * It is opened once and then reached by descriptor only, so nobody can put another in its place.
 * Nothing in it is opened through a link, and a file that is not its owner's, or that others may
 * write, counts as absent.  Any thread, also several at once. */
#ifndef SCHED_CACHEFOLDER_H
#define SCHED_CACHEFOLDER_H

#include "base/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CACHEFOLDER_NAME_SIZE 160
#define CACHEFOLDER_FILES_MAX 65536 /* more are not looked at */

struct cachefolder {
    int fd;
    uid_t owner;
    bool is_shared; /* files are made readable for everybody */
};

/* Makes the folder (and those above it) if it is missing, readable for others only if is_shared.
 * LLMOS_EDENIED: it is neither ours nor root's, or others may write to it. */
int cachefolder_open(struct cachefolder *f, const char *path, bool is_shared,
                     struct llmos_error *err);
void cachefolder_close(struct cachefolder *f); /* fd -1 is fine */

/* A regular file for reading; LLMOS_ENOTFOUND also for what cannot be trusted, which is removed. */
int cachefolder_open_file(const struct cachefolder *f, const char *name, struct llmos_error *err);

/* A new name for what is open as fd: what had the name is replaced, what is open elsewhere stays.
 */
int cachefolder_keep(const struct cachefolder *f, const char *temporary, const char *name, int fd,
                     struct llmos_error *err);

struct cachefile {
    char name[CACHEFOLDER_NAME_SIZE];
    uint64_t bytes;
    int64_t used_ns; /* its time of modification, since 1970 */
};

/* The files whose names end so, the longest unused first; mem_free(*files). */
int cachefolder_list(const struct cachefolder *f, const char *ending, struct cachefile **files,
                     size_t *count, struct llmos_error *err);

#endif
