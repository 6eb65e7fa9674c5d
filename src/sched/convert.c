/* SPDX-License-Identifier: Apache-2.0 */
/* convert.c - see convert.h */
#include "sched/convert.h"

#include "base/file.h"
#include "base/mem.h"
#include "sched/hfopen.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TURN_MS     100
#define REQUEST     1
#define SILENCE_MAX 6000 /* turns without a word: ten minutes for one piece from a slow disk */
#define GROWTH_MAX  8    /* 4 bits become 32 */
#define SLACK_BYTES ((uint64_t)64 << 20) /* what tables and paddings may add */
#define MEMORY_MAX  ((uint64_t)4 << 30)  /* thirty times the JSON of the largest tokenizers */

struct converting {
    const struct convert_options *options;
    struct hfopen folder;
    char name[256]; /* of the model: the folder's */
    uint64_t done, total, before;
};

static int tell(struct converting *c, enum convert_step step)
{
    const struct convert_options *o = c->options;

    return o->progress ? o->progress(o->arg, step, c->done, c->total) : 0;
}

/* The last part of the folder's whole path: "." has a name, too. */
static void name_folder(struct converting *c)
{
    char whole[PATH_MAX];
    const char *name = realpath(c->options->folder, whole) ? strrchr(whole, '/') : NULL;

    snprintf(c->name, sizeof(c->name), "%.250s", name && name[1] ? name + 1 : "model");
}

/* ---- in the VCE ---- */

static int start(struct worker **w, struct converting *c, int out_fd, uint64_t bytes_max,
                 struct llmos_error *err)
{
    struct worker_options worker = *c->options->worker;
    struct vce_file files[1 + MESSAGE_FILES_MAX];

    files[0] = (struct vce_file){.name = "file for the converted model",
                                 .as = VCE_OUTPUT_FD,
                                 .fd = out_fd,
                                 .write_max_bytes = bytes_max};
    for (unsigned i = 0; i < c->folder.count; i++)
        files[1 + i] = (struct vce_file){
            .name = c->folder.names[i], .as = VCE_FOLDER_FD + (int)i, .fd = c->folder.fds[i]};
    worker.model_path = worker.draft_path = NULL;
    worker.packcache = NULL;
    worker.files = files;
    worker.file_count = 1 + c->folder.count;
    if (!worker.memory_max_bytes)
        worker.memory_max_bytes = MEMORY_MAX;
    worker.setup = (struct message_setup){
        .purpose = PURPOSE_CONVERT, .threads = 1, .memory_max_bytes = worker.memory_max_bytes};
    return worker_start(w, &worker, err);
}

static int ask(struct worker *w, const struct converting *c, struct llmos_error *err)
{
    struct str names[MESSAGE_FILES_MAX];
    struct message m = {.type = MESSAGE_CONVERT, .id = REQUEST};

    for (unsigned i = 0; i < c->folder.count; i++)
        names[i] = str_of(c->folder.names[i]);
    m.convert =
        (struct message_convert){.type = str_of(c->options->type ? c->options->type : "auto"),
                                 .name = str_of(c->name),
                                 .count = c->folder.count,
                                 .files = names};
    return worker_send(w, &m, err);
}

/* 1: it is finished. */
static int hear(struct worker *w, struct converting *c, const struct message *m,
                struct llmos_error *err)
{
    switch (m->type) {
    case MESSAGE_READY:
        return ask(w, c, err);
    case MESSAGE_PROGRESS:
        c->done = m->progress.done;
        c->total = m->progress.total;
        return 0;
    case MESSAGE_PACKED:
        return 1;
    case MESSAGE_ERROR:
        return fail(err, m->error.code < 0 ? m->error.code : LLMOS_EINTERNAL, "%.*s",
                    STR_ARG(m->error.text));
    default:
        return 0;
    }
}

static int listen_to(struct worker *w, struct converting *c, struct llmos_error *err)
{
    unsigned silence = 0;

    c->done = c->total = 0;
    for (;;) {
        struct message m;
        int rc = worker_receive(w, &m, TURN_MS, err);

        if (rc < 0)
            return rc;
        silence = rc == 0 ? silence + 1 : 0;
        if (silence > SILENCE_MAX)
            return fail(err, LLMOS_EBUSY, "the engine said nothing for ten minutes");
        if (rc == 1)
            rc = hear(w, c, &m, err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
        rc = tell(c, CONVERT_WRITING);
        if (rc < 0)
            return fail(err, rc, "the conversion was interrupted");
    }
}

static int make(struct converting *c, int out_fd, uint64_t bytes_max, struct llmos_error *err)
{
    struct worker *w = NULL;
    int rc = start(&w, c, out_fd, bytes_max, err);

    if (rc == 0)
        rc = listen_to(w, c, err);
    worker_destroy(w); /* and with it the last who could write */
    /* A file that is torn by a power failure would be taken for a model. */
    if (rc == 0 && fdatasync(out_fd) < 0)
        rc = fail_errno(err, "cannot write the model file");
    return rc;
}

/* ---- to a file ---- */

int convert_to_file(const struct convert_options *o, const char *path, struct llmos_error *err)
{
    struct converting *c = mem_zalloc(1, sizeof(*c));
    char temporary[PATH_MAX];
    CLEANUP(fd) int fd = -1;
    int rc;

    if (!c)
        return fail(err, LLMOS_ENOMEM, "no memory to convert");
    c->options = o;
    name_folder(c);
    rc = hfopen_open(&c->folder, o->folder, err);
    if (rc == 0 && snprintf(temporary, sizeof(temporary), "%s.%d.part", path, (int)getpid()) >=
                       (int)sizeof(temporary))
        rc = fail(err, LLMOS_ELIMIT, "the name of the output is too long");
    if (rc == 0) {
        fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (fd < 0)
            rc = fail_errno(err, "cannot write '%s'", temporary);
    }
    if (rc == 0)
        rc = make(c, fd, GROWTH_MAX * c->folder.bytes + SLACK_BYTES, err);
    if (rc == 0 && rename(temporary, path) < 0)
        rc = fail_errno(err, "cannot write '%s'", path);
    if (rc < 0 && fd >= 0)
        unlink(temporary);
    hfopen_close(&c->folder);
    mem_free(c);
    return rc;
}

/* ---- to the cache ---- */

static int tell_reading(void *arg, uint64_t done, uint64_t total)
{
    struct converting *c = arg;

    (void)total;
    c->done = c->before + done;
    c->total = c->folder.bytes;
    return tell(c, CONVERT_READING);
}

/* One line for each file: what it is called, what it holds. */
static int hash_files(struct converting *c, const struct packcache *cache, bool may_read,
                      struct modelhash *hash, struct llmos_error *err)
{
    CLEANUP(buf) struct buf text = {.at = NULL};
    int rc;

    buf_init(&text, 1u << 20);
    buf_printf(&text, "%s\n%s\n", c->options->type ? c->options->type : "auto", c->name);
    c->before = 0;
    for (unsigned i = 0; i < c->folder.count; i++) {
        const struct cachefolder *f = packcache_folder(cache);
        struct modelhash one;
        struct stat st;

        rc = modelhash_find(f, c->folder.fds[i], &one);
        if (rc == 0 && !may_read)
            return fail(err, LLMOS_EBUSY, "the folder changed while it was converted; try again");
        if (rc == 0)
            rc =
                modelhash_make(f, c->folder.fds[i], c->folder.names[i], tell_reading, c, &one, err);
        if (rc < 0)
            return rc;
        if (fstat(c->folder.fds[i], &st) == 0)
            c->before += (uint64_t)st.st_size;
        buf_printf(&text, "%s %s\n", c->folder.names[i], one.hex);
    }
    rc = buf_check(&text, "the list of files", err);
    return rc < 0 ? rc : modelhash_text(buf_str(&text), hash, err);
}

static int make_entry(struct converting *c, struct packcache *cache, const struct modelhash *hash,
                      struct llmos_error *err)
{
    struct packcache_entry e;
    struct modelhash now;
    int rc = packcache_begin(cache, hash, c->folder.bytes, &e, err);

    if (rc <= 0)
        return rc;
    rc = make(c, e.fd, e.bytes_max, err);
    if (rc == 0)
        rc = hash_files(c, cache, false, &now, err);
    if (rc == 0 && strcmp(now.hex, hash->hex) != 0)
        rc = fail(err, LLMOS_EBUSY, "the folder changed while it was converted; try again");
    if (rc < 0) {
        packcache_drop(cache, &e);
        return rc;
    }
    return packcache_keep(cache, &e, err);
}

static int find_or_make(struct converting *c, struct packcache *cache, char *path, size_t size,
                        struct llmos_error *err)
{
    struct modelhash hash;
    char whole[PATH_MAX];
    int rc = hash_files(c, cache, true, &hash, err);
    int there;

    if (rc == 0)
        rc = packcache_path(cache, &hash, path, size, err);
    if (rc < 0)
        return rc;
    there = packcache_get(cache, &hash, NULL);
    if (there >= 0)
        close(there);
    else
        rc = make_entry(c, cache, &hash, err);
    if (rc == 0 && realpath(c->options->folder, whole))
        modelhash_set_name(packcache_folder(cache), &hash, whole);
    return rc;
}

int convert_to_cache(const struct convert_options *o, char *path, size_t size,
                     struct llmos_error *err)
{
    const struct packcache_options usual = {.kind = PACKCACHE_CONVERTED};
    struct converting *c = mem_zalloc(1, sizeof(*c));
    struct packcache *cache = NULL;
    int rc;

    if (!c)
        return fail(err, LLMOS_ENOMEM, "no memory to convert");
    c->options = o;
    name_folder(c);
    rc = hfopen_open(&c->folder, o->folder, err);
    if (rc == 0)
        rc = packcache_open(&cache, o->place ? o->place : &usual, err);
    if (rc == 0)
        rc = find_or_make(c, cache, path, size, err);
    packcache_close(cache);
    hfopen_close(&c->folder);
    mem_free(c);
    return rc;
}
