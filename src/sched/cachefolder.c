/* SPDX-License-Identifier: Apache-2.0 */
/* cachefolder.c - see cachefolder.h */
#include "sched/cachefolder.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/paths.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

/* Root's is fine: root decides with its mode whether others may read there. */
static int check_folder(const char *path, const struct stat *st, struct llmos_error *err)
{
    if (st->st_uid != geteuid() && st->st_uid != 0)
        return fail(err, LLMOS_EDENIED,
                    "the folder '%s' belongs to user %u; set LLMOS_CACHE to one of your own", path,
                    (unsigned)st->st_uid);
    if (st->st_mode & OTHERS_WRITE)
        return fail(err, LLMOS_EDENIED,
                    "others may write to the folder '%s' (mode %o); try chmod go-w", path,
                    (unsigned)st->st_mode & 07777);
    return 0;
}

int cachefolder_open(struct cachefolder *f, const char *path, bool is_shared,
                     struct llmos_error *err)
{
    CLEANUP(fd) int fd = -1;
    char made[PATH_MAX];
    struct stat st;
    int rc;

    if (snprintf(made, sizeof(made), "%s/", path) >= (int)sizeof(made))
        return fail(err, LLMOS_ELIMIT, "the name of the cache's folder is too long");
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        rc = path_make_parents(made, err);
        if (rc < 0)
            return rc;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 && is_shared)
            fchmod(fd, 0755);
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail_errno(err, "cannot open the folder '%s'", path);
    rc = check_folder(path, &st, err);
    if (rc < 0)
        return rc;
    *f = (struct cachefolder){.fd = take_fd(&fd), .owner = st.st_uid, .is_shared = is_shared};
    return 0;
}

void cachefolder_close(struct cachefolder *f)
{
    cleanup_fd(&f->fd);
    f->fd = -1;
}

static bool is_trusted(const struct cachefolder *f, const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_uid == f->owner && !(st->st_mode & OTHERS_WRITE);
}

int cachefolder_open_file(const struct cachefolder *f, const char *name, struct llmos_error *err)
{
    int fd = openat(f->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && is_trusted(f, &st))
        return fd;
    if (fd < 0 && errno != ELOOP)
        return fail_errno(err, "cannot open '%s' in the cache", name);
    if (fd >= 0)
        close(fd);
    unlinkat(f->fd, name, 0);
    return fail(err, LLMOS_ENOTFOUND, "'%s' in the cache is not what we have made", name);
}

int cachefolder_keep(const struct cachefolder *f, const char *temporary, const char *name, int fd,
                     struct llmos_error *err)
{
    /* Not flushed to the disk: what a power failure tears is noticed when it is used. */
    if (fchmod(fd, f->is_shared ? 0644 : 0600) < 0 || renameat(f->fd, temporary, f->fd, name) < 0)
        return fail_errno(err, "cannot keep '%s' in the cache", name);
    return 0;
}

static int by_use(const void *a, const void *b)
{
    const struct cachefile *x = a, *y = b;

    return x->used_ns != y->used_ns ? (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns)
                                    : strcmp(x->name, y->name);
}

struct listing {
    struct cachefile *at;
    size_t count, room;
};

static int add_file(struct listing *l, const char *name, const struct stat *st,
                    struct llmos_error *err)
{
    struct cachefile *file;

    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        struct cachefile *grown = mem_resize(l->at, room, sizeof(*grown));

        if (!grown)
            return fail(err, LLMOS_ENOMEM, "no memory to look into the cache");
        l->at = grown;
        l->room = room;
    }
    file = &l->at[l->count++];
    snprintf(file->name, sizeof(file->name), "%s", name);
    file->bytes = (uint64_t)st->st_size;
    file->used_ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    return 0;
}

static int list_into(struct listing *l, DIR *dir, const char *ending, struct llmos_error *err)
{
    struct dirent *e;
    int rc = 0;

    while (rc == 0 && l->count < CACHEFOLDER_FILES_MAX && (e = readdir(dir))) {
        struct stat st;

        if (str_ends(str_of(e->d_name), str_of(ending)) &&
            strlen(e->d_name) < CACHEFOLDER_NAME_SIZE &&
            fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            rc = add_file(l, e->d_name, &st, err);
    }
    return rc;
}

int cachefolder_list(const struct cachefolder *f, const char *ending, struct cachefile **files,
                     size_t *count, struct llmos_error *err)
{
    CLEANUP(fd) int fd = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct listing l = {.at = NULL};
    int rc;

    if (!dir)
        return fail_errno(err, "cannot look into the cache");
    fd = -1; /* it belongs to dir now */
    rc = list_into(&l, dir, ending, err);
    closedir(dir);
    if (rc < 0) {
        mem_free(l.at);
        return rc;
    }
    if (l.count)
        qsort(l.at, l.count, sizeof(*l.at), by_use);
    *files = l.at;
    *count = l.count;
    return 0;
}
