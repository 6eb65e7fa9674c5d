/* SPDX-License-Identifier: Apache-2.0 */
/* newfile.c - see newfile.h */
#include "cli/newfile.h"

#include "model/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Any part of it. */
static bool is_source(const char *source, const struct stat *to)
{
    bool is_same = false;
    struct parts p;
    struct stat st;

    if (parts_open(&p, source, NULL) < 0) /* whoever reads it says why */
        return false;
    for (unsigned i = 0; i < p.count; i++)
        is_same |= fstat(p.fds[i], &st) == 0 && st.st_dev == to->st_dev && st.st_ino == to->st_ino;
    parts_close(&p);
    return is_same;
}

static int check_place(const char *path, const char *source, struct llmos_error *err)
{
    struct stat to;

    if (stat(path, &to) < 0)
        return errno == ENOENT ? 0 : fail_errno(err, "cannot write '%s'", path);
    if (!S_ISREG(to.st_mode))
        return fail(err, LLMOS_EINVAL, "cannot write '%s': it is no regular file", path);
    if (source && is_source(source, &to))
        return fail(err, LLMOS_EINVAL,
                    "'%s' and '%s' are the same file; give the result another name", source, path);
    return 0;
}

int newfile_open(struct newfile *f, const char *path, const char *source, struct llmos_error *err)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    int rc = check_place(path, source, err);
    int n;

    *f = (struct newfile){.path = path, .fd = -1};
    if (rc < 0)
        return rc;
    n = snprintf(f->beside, sizeof(f->beside), "%.*s.%s.%ld.part", (int)(name - path), path, name,
                 (long)getpid());
    if (n < 0 || (size_t)n >= sizeof(f->beside))
        return fail(err, LLMOS_EINVAL, "the path '%.80s...' is too long", path);
    f->fd = open(f->beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    return f->fd < 0 ? fail_errno(err, "cannot write '%s'", path) : 0;
}

int newfile_keep(struct newfile *f, struct llmos_error *err)
{
    if (fsync(f->fd) < 0 || rename(f->beside, f->path) < 0)
        return fail_errno(err, "cannot write '%s'", f->path);
    close(f->fd);
    f->fd = -1;
    return 0;
}

void newfile_drop(struct newfile *f)
{
    if (f->fd < 0)
        return;
    close(f->fd);
    unlink(f->beside);
    f->fd = -1;
}
