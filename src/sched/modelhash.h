/* SPDX-License-Identifier: Apache-2.0 */
/* modelhash.h - the SHA-256 of a model, and which files have been read for it.
 *
 * Reading a large file each time would take as long as loading it.  So the folder keeps a small
 * file for each model, named by device and inode: size, times of modification and change, hash,
 * name. What differs in any of them, or cannot be parsed, is read again.  Any thread. */
#ifndef SCHED_MODELHASH_H
#define SCHED_MODELHASH_H

#include "model/parts.h"
#include "sched/cachefolder.h"

#define MODELHASH_HEX_SIZE  65
#define MODELHASH_NAME_SIZE 1024
#define MODELHASH_KNOWN_MAX 1024 /* the longest unused are forgotten */

struct modelhash {
    char hex[MODELHASH_HEX_SIZE];
};

/* Called now and then; a negative value ends the work and is its result. */
typedef int (*modelhash_progress)(void *arg, uint64_t done, uint64_t total);

/* 1: the file that is open as fd is known; 0: it is not. */
int modelhash_find(const struct cachefolder *f, int fd, struct modelhash *hash);

/* Reads all of the file.  LLMOS_EBUSY: it changed meanwhile.  It is remembered if the folder can be
 * written, with the name (a path), which is for people. */
int modelhash_make(const struct cachefolder *f, int fd, const char *name,
                   modelhash_progress progress, void *arg, struct modelhash *hash,
                   struct llmos_error *err);

/* The same of a model in several files; of one it is that file's hash. */
int modelhash_find_parts(const struct cachefolder *f, const struct parts *p,
                         struct modelhash *hash);
int modelhash_make_parts(const struct cachefolder *f, const struct parts *p, const char *name,
                         modelhash_progress progress, void *arg, struct modelhash *hash,
                         struct llmos_error *err);

/* Of a short text: names and hashes of several files make one for all of them. */
int modelhash_text(struct str text, struct modelhash *hash, struct llmos_error *err);

/* Remembers the name of what is in several files. */
void modelhash_set_name(const struct cachefolder *f, const struct modelhash *hash,
                        const char *name);

/* The name under which a hash was seen last; false: it is not known. */
bool modelhash_name(const struct cachefolder *f, const struct modelhash *hash,
                    char name[MODELHASH_NAME_SIZE]);

#endif
