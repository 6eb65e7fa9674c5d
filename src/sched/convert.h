/* SPDX-License-Identifier: Apache-2.0 */
/* convert.h - makes a model file of a Hugging Face folder, in a VCE that can write it and nothing
 * else.
 *
 * The folder's files are opened and hashed here, and parsed only there.  May take minutes; the
 * calling thread does nothing else. */
#ifndef SCHED_CONVERT_H
#define SCHED_CONVERT_H

#include "sched/packcache.h"
#include "sched/worker.h"

enum convert_step { CONVERT_READING, CONVERT_WRITING };

struct convert_options {
    const char *folder;
    const char *type;                      /* of matrices, NULL: "auto"; HFCONVERT_TYPES */
    const struct packcache_options *place; /* of convert_to_cache; NULL: the usual one */
    /* Of the VCE: name, layers, programs, memory.  The rest is filled in here. */
    const struct worker_options *worker;
    /* Called several times a second; a negative value (LLMOS_ECANCELED) ends the work.  May be
     * NULL. */
    int (*progress)(void *arg, enum convert_step step, uint64_t done, uint64_t total);
    void *arg;
};

/* Into a new file, which gets its name when it is whole: who reads sees the old one or the new. */
int convert_to_file(const struct convert_options *o, const char *path, struct llmos_error *err);

/* Into the cache, unless it is there: *path is that of the model file, which stays until the cache
 * needs its room. */
int convert_to_cache(const struct convert_options *o, char *path, size_t size,
                     struct llmos_error *err);

#endif
