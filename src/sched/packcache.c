/* SPDX-License-Identifier: Apache-2.0 */
/* packcache.c - see packcache.h
 *
 * HASH-VERSION-GROUP.pack is an entry, .part one that is being made (and its lock), and
 * HASH-VERSION-GROUP-BACKEND.none says that there will be none for these kernels. */
#include "sched/packcache.h"

#include "base/file.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/paths.h"
#include "tensor/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define UNMADE   ".part"
#define USELESS  ".none"
#define MIB      ((uint64_t)1 << 20)
#define NONE_MAX 1024 /* marks that are kept: empty files */
#define TRIES    8    /* whoever has the lock before us may rename or remove what we have opened */

#define CONVERTED_VERSION 1 /* another one where conversion gives something else */

/* By enum packcache_kind. */
static const struct kind {
    const char *folder, *ending, *what;
} kinds[] = {{"packed", ".pack", "cache of packed weights"},
             {"converted", ".gguf", "cache of converted models"}};

struct packcache {
    const struct kind *kind;
    char path[PATH_MAX + 16];
    struct cachefolder folder;
    uint64_t bytes_max;
};

const struct cachefolder *packcache_folder(const struct packcache *c)
{
    return &c->folder;
}

static void name_of(const struct packcache *c, const struct modelhash *model, const char *ending,
                    char out[CACHEFOLDER_NAME_SIZE])
{
    bool is_mark = strcmp(ending, USELESS) == 0;

    if (c->kind == &kinds[PACKCACHE_CONVERTED]) {
        snprintf(out, CACHEFOLDER_NAME_SIZE, "%s-%d%s", model->hex, CONVERTED_VERSION, ending);
        return;
    }
    snprintf(out, CACHEFOLDER_NAME_SIZE, "%s-%s%s%s%s", model->hex, PACKCACHE_LAYOUT,
             is_mark ? "-" : "", is_mark ? backend_best()->name : "", ending);
}

int packcache_open(struct packcache **cache, const struct packcache_options *o,
                   struct llmos_error *err)
{
    char base[PATH_MAX];
    struct cachefolder outer;
    struct packcache *c;
    int rc = 0;

    if (!o->folder)
        rc = path_cache(base, sizeof(base), err);
    else if (snprintf(base, sizeof(base), "%s", o->folder) >= (int)sizeof(base))
        rc = fail(err, LLMOS_ELIMIT, "the name of the cache's folder is too long");
    if (rc < 0)
        return rc;
    c = mem_zalloc(1, sizeof(*c));
    if (!c)
        return fail(err, LLMOS_ENOMEM, "no memory for the cache");
    c->kind = &kinds[o->kind];
    snprintf(c->path, sizeof(c->path), "%s/%s", base, c->kind->folder);
    /* Who may write to the outer one could exchange the inner one. */
    rc = cachefolder_open(&outer, base, o->is_shared, err);
    if (rc == 0) {
        cachefolder_close(&outer);
        rc = cachefolder_open(&c->folder, c->path, o->is_shared, err);
    }
    if (rc < 0) {
        rc = fail_while(err, rc, "%s", c->kind->what);
        mem_free(c);
        return rc;
    }
    c->bytes_max = o->bytes_max ? o->bytes_max : PACKCACHE_BYTES_MAX;
    *cache = c;
    return 0;
}

void packcache_close(struct packcache *c)
{
    if (!c)
        return;
    cachefolder_close(&c->folder);
    mem_free(c);
}

int packcache_get(const struct packcache *c, const struct modelhash *model, struct llmos_error *err)
{
    char name[CACHEFOLDER_NAME_SIZE], mark[CACHEFOLDER_NAME_SIZE];
    int fd;

    name_of(c, model, c->kind->ending, name);
    name_of(c, model, USELESS, mark);
    if (faccessat(c->folder.fd, mark, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return fail(err, LLMOS_EUNSUPPORTED, "packed weights are of no use on this processor");
    fd = cachefolder_open_file(&c->folder, name, err);
    if (fd >= 0) /* in a folder of root's this fails, and root does it */
        utimensat(c->folder.fd, name, NULL, AT_SYMLINK_NOFOLLOW);
    return fd;
}

int packcache_path(const struct packcache *c, const struct modelhash *model, char *path,
                   size_t size, struct llmos_error *err)
{
    char name[CACHEFOLDER_NAME_SIZE];

    name_of(c, model, c->kind->ending, name);
    if (snprintf(path, size, "%s/%s", c->path, name) >= (int)size)
        return fail(err, LLMOS_ELIMIT, "the name of the cache's folder is too long");
    return 0;
}

void packcache_remove(const struct packcache *c, const struct modelhash *model)
{
    char name[CACHEFOLDER_NAME_SIZE];

    name_of(c, model, c->kind->ending, name);
    unlinkat(c->folder.fd, name, 0);
}

/* --- room ------------------------------------------------------------------------------------- */

/* What makers that have died left behind: nobody has it locked. */
static void remove_unmade(const struct packcache *c)
{
    struct cachefile *files;
    size_t count;

    if (cachefolder_list(&c->folder, UNMADE, &files, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        int fd =
            openat(c->folder.fd, files[i].name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(c->folder.fd, files[i].name, 0);
        cleanup_fd(&fd);
    }
    mem_free(files);
}

static void remove_marks(const struct packcache *c)
{
    struct cachefile *files;
    size_t count;

    if (cachefolder_list(&c->folder, USELESS, &files, &count, NULL) < 0)
        return;
    for (size_t i = 0; i + NONE_MAX < count; i++)
        unlinkat(c->folder.fd, files[i].name, 0);
    mem_free(files);
}

/* What all entries together may have: half of what would be free without them, or the limit. */
static int find_limit(const struct packcache *c, uint64_t used, uint64_t *limit,
                      struct llmos_error *err)
{
    struct statvfs fs;
    uint64_t half;

    if (fstatvfs(c->folder.fd, &fs) < 0)
        return fail_errno(err, "cannot see how much room the cache has");
    half = ((uint64_t)fs.f_bavail * fs.f_frsize + used) / 2;
    *limit = half < c->bytes_max ? half : c->bytes_max;
    return 0;
}

/* Removes the longest unused until `wanted` bytes fit beside the rest, but never `spared`. */
static int make_room(const struct packcache *c, uint64_t wanted, const char *spared,
                     uint64_t *limit, struct llmos_error *err)
{
    CLEANUP(free) struct cachefile *files = NULL;
    uint64_t used = 0;
    size_t count;
    int rc = cachefolder_list(&c->folder, c->kind->ending, &files, &count, err);

    for (size_t i = 0; rc == 0 && i < count; i++)
        used += files[i].bytes;
    if (rc == 0)
        rc = find_limit(c, used, limit, err);
    if (rc < 0)
        return rc;
    if (wanted > *limit)
        return fail(err, LLMOS_ELIMIT,
                    "they need about %llu MiB, the cache may hold %llu MiB there",
                    (unsigned long long)(wanted / MIB), (unsigned long long)(*limit / MIB));
    for (size_t i = 0; i < count && used + wanted > *limit; i++) {
        if (strcmp(files[i].name, spared) == 0)
            continue;
        if (unlinkat(c->folder.fd, files[i].name, 0) == 0)
            used -= files[i].bytes;
    }
    return 0;
}

/* --- making an entry -------------------------------------------------------------------------- */

/* 1: fd has the lock and is what has the name; 0: try again; LLMOS_EBUSY: somebody else has it. */
static int lock(const struct packcache *c, const char *name, int fd, struct llmos_error *err)
{
    struct stat mine, named;

    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? fail(err, LLMOS_EBUSY, "somebody else is making them")
                                    : fail_errno(err, "cannot lock '%s'", name);
    if (fstat(fd, &mine) < 0)
        return fail_errno(err, "cannot look at '%s'", name);
    return fstatat(c->folder.fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           mine.st_dev == named.st_dev && mine.st_ino == named.st_ino && S_ISREG(mine.st_mode);
}

static int open_locked(const struct packcache *c, const char *name, struct llmos_error *err)
{
    for (int i = 0; i < TRIES; i++) {
        CLEANUP(fd)
        int fd = openat(c->folder.fd, name,
                        O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
        int rc;

        if (fd < 0 && errno == ELOOP) {
            unlinkat(c->folder.fd, name, 0);
            continue;
        }
        if (fd < 0)
            return fail_errno(err, "cannot write into the cache");
        rc = lock(c, name, fd, err);
        if (rc < 0)
            return rc;
        if (rc == 1)
            return take_fd(&fd);
    }
    return fail(err, LLMOS_EBUSY, "others are making them");
}

/* Of the packed weights of a model.  A matrix may take sixteen rows for one, and 3 bits for 1.5;
 * but what is larger than the model, and than memory, would be read from a disk each time. */
static uint64_t most_bytes(uint64_t model_bytes)
{
    uint64_t most = 3 * model_bytes + MIB, alike = model_bytes + model_bytes / 4;
    uint64_t memory = machine_memory().total_bytes;

    if (memory == 0 || most <= memory)
        return most;
    return alike < memory ? memory : alike;
}

int packcache_begin(const struct packcache *c, const struct modelhash *model, uint64_t model_bytes,
                    struct packcache_entry *e, struct llmos_error *err)
{
    char name[CACHEFOLDER_NAME_SIZE], unmade[CACHEFOLDER_NAME_SIZE];
    uint64_t limit = 0, most = most_bytes(model_bytes);
    CLEANUP(fd) int fd = -1;
    int there;
    int rc;

    name_of(c, model, c->kind->ending, name);
    name_of(c, model, UNMADE, unmade);
    remove_unmade(c);
    remove_marks(c);
    fd = open_locked(c, unmade, err);
    if (fd < 0)
        return fd;
    there = packcache_get(c, model, NULL);
    if (there >= 0) {
        close(there);
        unlinkat(c->folder.fd, unmade, 0);
        return 0;
    }
    rc = make_room(c, model_bytes, name, &limit, err);
    if (rc == 0 && ftruncate(fd, 0) < 0)
        rc = fail_errno(err, "cannot empty '%s'", unmade);
    if (rc < 0) {
        unlinkat(c->folder.fd, unmade, 0);
        return rc;
    }
    *e = (struct packcache_entry){
        .fd = take_fd(&fd), .bytes_max = most < limit ? most : limit, .model = *model};
    return 1;
}

void packcache_drop(const struct packcache *c, struct packcache_entry *e)
{
    char unmade[CACHEFOLDER_NAME_SIZE];

    name_of(c, &e->model, UNMADE, unmade);
    unlinkat(c->folder.fd, unmade, 0);
    cleanup_fd(&e->fd);
    e->fd = -1;
}

int packcache_keep(const struct packcache *c, struct packcache_entry *e, struct llmos_error *err)
{
    char name[CACHEFOLDER_NAME_SIZE], unmade[CACHEFOLDER_NAME_SIZE];
    uint64_t limit;
    int rc;

    name_of(c, &e->model, c->kind->ending, name);
    name_of(c, &e->model, UNMADE, unmade);
    rc = cachefolder_keep(&c->folder, unmade, name, e->fd, err);
    if (rc < 0) {
        packcache_drop(c, e);
        return rc;
    }
    cleanup_fd(&e->fd);
    e->fd = -1;
    make_room(c, 0, name, &limit, NULL); /* it may have become larger than we had thought */
    return 0;
}

int packcache_mark_useless(const struct packcache *c, struct packcache_entry *e,
                           struct llmos_error *err)
{
    char mark[CACHEFOLDER_NAME_SIZE];
    int fd;

    packcache_drop(c, e);
    name_of(c, &e->model, USELESS, mark);
    fd = openat(c->folder.fd, mark, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                c->folder.is_shared ? 0644 : 0600);
    if (fd < 0)
        return fail_errno(err, "cannot write into the cache");
    close(fd);
    return 0;
}

/* --- for people ------------------------------------------------------------------------------- */

int packcache_list(const struct packcache *c, struct packcache_item **items, size_t *count,
                   struct llmos_error *err)
{
    CLEANUP(free) struct cachefile *files = NULL;
    struct packcache_item *list;
    size_t n;
    int rc = cachefolder_list(&c->folder, c->kind->ending, &files, &n, err);

    if (rc < 0)
        return rc;
    list = mem_zalloc(n, sizeof(*list));
    if (!list)
        return fail(err, LLMOS_ENOMEM, "no memory to list the cache");
    for (size_t i = 0; i < n; i++) {
        snprintf(list[i].model.hex, MODELHASH_HEX_SIZE, "%.*s", MODELHASH_HEX_SIZE - 1,
                 files[i].name);
        list[i].bytes = files[i].bytes;
        list[i].used_ns = files[i].used_ns;
        modelhash_name(&c->folder, &list[i].model, list[i].name);
    }
    *items = list;
    *count = n;
    return 0;
}

int packcache_clean(const struct packcache *c, uint64_t *bytes, struct llmos_error *err)
{
    CLEANUP(free) struct cachefile *files = NULL;
    uint64_t removed = 0;
    size_t count;
    int rc = cachefolder_list(&c->folder, "", &files, &count, err);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        size_t n = strlen(files[i].name), m = strlen(UNMADE);

        if (n >= m && strcmp(files[i].name + n - m, UNMADE) == 0) /* somebody may be at it */
            continue;
        if (unlinkat(c->folder.fd, files[i].name, 0) == 0)
            removed += files[i].bytes;
        else
            rc = fail_errno(err, "cannot remove '%s' from the cache", files[i].name);
    }
    remove_unmade(c);
    *bytes = removed;
    return rc;
}
