/* SPDX-License-Identifier: Apache-2.0 */
/* packcache.h - packed weights of models, kept in a folder under the hash of what they are made of.
 *
 * An entry is named by the SHA-256 of the model's whole content and by the layout, so a model can
 * only ever speak for itself.  Entries are written once, under a lock, by somebody who is given a
 * descriptor (prepare.h); then they get their name and are never written again.  The cache is
 * bounded: the longest unused go first, and whoever has one mapped keeps it.
 *
 * What is found is not trusted more than the model is: the engine checks it, and if it is damaged
 * packcache_remove makes room for a new one.  Any thread; several processes. */
#ifndef SCHED_PACKCACHE_H
#define SCHED_PACKCACHE_H

#include "sched/modelhash.h"
#include "tensor/packed.h"

#define PACKCACHE_BYTES_MAX (32ull << 30)

/* What is kept: packed weights, or models converted from folders of another format. */
enum packcache_kind { PACKCACHE_PACKED, PACKCACHE_CONVERTED };

struct packcache_options {
    enum packcache_kind kind;
    const char *folder; /* NULL: path_cache() */
    uint64_t bytes_max; /* 0: PACKCACHE_BYTES_MAX; never more than half of what would be free */
    bool is_shared;     /* others may read what is made here */
};

struct packcache;

int packcache_open(struct packcache **c, const struct packcache_options *options,
                   struct llmos_error *err);
void packcache_close(struct packcache *c); /* NULL is fine */

const struct cachefolder *packcache_folder(const struct packcache *c);

/* What the names of packed weights call the layout, behind the model's hash and a hyphen. */
#define PACKCACHE_STRING(n)    #n
#define PACKCACHE_STRING_OF(n) PACKCACHE_STRING(n)
#define PACKCACHE_LAYOUT       PACKCACHE_STRING_OF(PACKED_VERSION) "-" PACKCACHE_STRING_OF(PACKED_GROUP)

/* The packed weights of that model, opened for reading, and noted as used.  LLMOS_ENOTFOUND: there
 * are none; LLMOS_EUNSUPPORTED: they would be of no use on this processor. */
int packcache_get(const struct packcache *c, const struct modelhash *model,
                  struct llmos_error *err);

/* Its path, for those who open by name; it need not be there. */
int packcache_path(const struct packcache *c, const struct modelhash *model, char *path,
                   size_t size, struct llmos_error *err);

/* Of a damaged entry.  No error if it is gone already. */
void packcache_remove(const struct packcache *c, const struct modelhash *model);

/* An entry that is being made. */
struct packcache_entry {
    int fd;             /* write-only, empty */
    uint64_t bytes_max; /* what may be written */
    struct modelhash model;
};

/* 1: *e is to be filled, and then kept or dropped; 0: somebody has just made it.  LLMOS_EBUSY:
 * somebody is making it; LLMOS_ELIMIT: there is no room for a model of that size, although others
 * were removed; LLMOS_EDENIED and others: the folder cannot be written. */
int packcache_begin(const struct packcache *c, const struct modelhash *model, uint64_t model_bytes,
                    struct packcache_entry *e, struct llmos_error *err);
/* Nobody may be able to write to e->fd any more: its VCE has ended. */
int packcache_keep(const struct packcache *c, struct packcache_entry *e, struct llmos_error *err);
void packcache_drop(const struct packcache *c, struct packcache_entry *e);
/* As drop; and packcache_get says LLMOS_EUNSUPPORTED from now on. */
int packcache_mark_useless(const struct packcache *c, struct packcache_entry *e,
                           struct llmos_error *err);

/* An entry for people. */
struct packcache_item {
    struct modelhash model;
    char name[MODELHASH_NAME_SIZE]; /* the path of the model when it was read; "" if forgotten */
    uint64_t bytes;
    int64_t used_ns; /* since 1970 */
};

/* All entries, the longest unused first; mem_free(*items). */
int packcache_list(const struct packcache *c, struct packcache_item **items, size_t *count,
                   struct llmos_error *err);

/* Removes everything; the bytes that were held. */
int packcache_clean(const struct packcache *c, uint64_t *bytes, struct llmos_error *err);

#endif
