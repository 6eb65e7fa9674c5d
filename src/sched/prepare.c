/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.c - see prepare.h */
#include "sched/prepare.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>

#define TURN_MS     100
#define REQUEST     1
#define ONE_CORE    100  /* percent */
#define SILENCE_MAX 6000 /* turns without a word: ten minutes for one piece from a slow disk */

struct preparing {
    const struct prepare_options *options;
    uint64_t done, total, bytes_max; /* of the file */
};

static int tell(struct preparing *p, enum prepare_step step)
{
    const struct prepare_options *o = p->options;

    return o->progress ? o->progress(o->arg, step, p->done, p->total) : 0;
}

static int tell_reading(void *arg, uint64_t done, uint64_t total)
{
    struct preparing *p = arg;

    p->done = done;
    p->total = total;
    return tell(p, PREPARE_READING);
}

static int start(struct worker **w, const struct prepare_options *o, const struct parts *model,
                 const struct packcache_entry *e, struct llmos_error *err)
{
    const struct vce_file output = {.name = "file for packed weights",
                                    .as = VCE_OUTPUT_FD,
                                    .fd = e->fd,
                                    .write_max_bytes = e->bytes_max};
    struct worker_options worker = *o->worker;

    worker.model_path = NULL;
    worker.model_files = model;
    worker.packcache = NULL;
    worker.files = &output;
    worker.file_count = 1;
    worker.is_background = o->is_background;
    worker.cpu_percent = o->is_background ? ONE_CORE : 0;
    worker.setup = (struct message_setup){
        .purpose = PURPOSE_PACK, .threads = 1, .memory_max_bytes = o->worker->memory_max_bytes};
    return worker_start(w, &worker, err);
}

/* As soon as it is known, before the disk is full of what has to go again. */
static int check_room(const struct preparing *p, struct llmos_error *err)
{
    if (p->total <= p->bytes_max)
        return 0;
    return fail(err, LLMOS_ELIMIT,
                "packed weights would take %.1f MiB, and may take %.1f: what memory holds, or the "
                "cache has room for",
                (double)p->total / (1 << 20), (double)p->bytes_max / (1 << 20));
}

/* 1: it is finished, and *helps says how. */
static int hear(struct worker *w, struct preparing *p, const struct message *m, bool *helps,
                struct llmos_error *err)
{
    const struct message ask = {.type = MESSAGE_PACK, .id = REQUEST};

    switch (m->type) {
    case MESSAGE_READY:
        return worker_send(w, &ask, err);
    case MESSAGE_PROGRESS:
        p->done = m->progress.done;
        p->total = m->progress.total;
        return check_room(p, err);
    case MESSAGE_PACKED:
        *helps = m->packed.helps;
        return 1;
    case MESSAGE_ERROR:
        return fail(err, m->error.code, "%.*s", STR_ARG(m->error.text));
    default:
        return 0;
    }
}

static int let_pack(struct worker *w, struct preparing *p, bool *helps, struct llmos_error *err)
{
    unsigned silence = 0;

    p->done = p->total = 0;
    for (;;) {
        struct message m;
        int rc = worker_receive(w, &m, TURN_MS, err);

        if (rc < 0)
            return rc;
        silence = rc == 0 ? silence + 1 : 0;
        if (silence > SILENCE_MAX)
            return fail(err, LLMOS_EBUSY, "the engine said nothing for ten minutes");
        if (rc == 1)
            rc = hear(w, p, &m, helps, err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = tell(p, PREPARE_PACKING);
        if (rc < 0)
            return fail(err, rc, "packing was interrupted");
    }
}

static int make(struct preparing *p, const struct parts *model, const struct packcache_entry *e,
                bool *helps, struct llmos_error *err)
{
    struct worker *w = NULL;
    int rc = start(&w, p->options, model, e, err);

    p->bytes_max = e->bytes_max;
    if (rc == 0)
        rc = let_pack(w, p, helps, err);
    worker_destroy(w); /* and with it the last who could write */
    return rc;
}

/* What was packed is what was hashed only if nobody wrote to it in between. */
static bool is_unchanged(const struct packcache *c, const struct parts *model,
                         const struct modelhash *hash)
{
    struct modelhash now;

    return modelhash_find_parts(packcache_folder(c), model, &now) == 1 &&
           strcmp(now.hex, hash->hex) == 0;
}

static int find_or_make(struct preparing *p, const struct parts *model,
                        const struct modelhash *hash, struct llmos_error *err)
{
    struct packcache *c = p->options->cache;
    struct packcache_entry e;
    bool helps = false;
    int rc = packcache_get(c, hash, NULL);

    if (rc >= 0)
        close(rc);
    if (rc >= 0 || rc == LLMOS_EUNSUPPORTED)
        return rc < 0 ? PREPARE_USELESS : PREPARE_PRESENT;
    rc = packcache_begin(c, hash, model->bytes, &e, err);
    if (rc <= 0)
        return rc < 0 ? rc : PREPARE_PRESENT;
    rc = make(p, model, &e, &helps, err);
    if (rc == 0 && !is_unchanged(c, model, hash))
        rc = fail(err, LLMOS_EBUSY, "the model changed while it was packed; try again");
    if (rc < 0) {
        packcache_drop(c, &e);
        return rc;
    }
    if (!helps)
        rc = packcache_mark_useless(c, &e, err);
    else
        rc = packcache_keep(c, &e, err);
    return rc < 0 ? rc : helps ? PREPARE_MADE : PREPARE_USELESS;
}

int prepare_model(const struct prepare_options *o, struct llmos_error *err)
{
    const struct cachefolder *folder = packcache_folder(o->cache);
    struct preparing p = {.options = o};
    CLEANUP(parts) struct parts model = {.count = 0};
    char whole[PATH_MAX];
    const char *name = realpath(o->worker->model_path, whole);
    struct modelhash hash;
    int rc = parts_open(&model, o->worker->model_path, err);

    if (rc < 0)
        return rc;
    if (modelhash_find_parts(folder, &model, &hash) == 0)
        rc = modelhash_make_parts(folder, &model, name ? name : "", tell_reading, &p, &hash, err);
    return rc < 0 ? rc : find_or_make(&p, &model, &hash, err);
}
