/* SPDX-License-Identifier: Apache-2.0 */
/* file.c - see file.h */
#include "base/file.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
           : S_ISSOCK(mode) ? "a socket"
                            : "not a regular file";
}

/* -1 with errno 0 and *mode set when the thing is there but not a regular file. */
static int refuse(int fd, const char *path, mode_t mode, struct llmos_error *err)
{
    if (fd >= 0)
        close(fd);
    return fail(err, LLMOS_EINVAL, "cannot open '%s': it is %s, a regular file is needed", path,
                kind_of(mode));
}

int file_open_regular(const char *path, struct llmos_error *err)
{
    struct stat st;
    int fd;

    /* Look before opening: opening a device can do things.  Look again after: the name may have
     * moved. */
    if (stat(path, &st) < 0)
        return fail_errno(err, "cannot open '%s'", path);
    if (!S_ISREG(st.st_mode))
        return refuse(-1, path, st.st_mode, err);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail_errno(err, "cannot open '%s'", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return refuse(fd, path, st.st_mode, err);
    return fd;
}

static int read_fd(int fd, const char *path, struct buf *out, struct llmos_error *err)
{
    for (;;) {
        char chunk[16384];
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, "cannot read '%s'", path);
        if (n == 0)
            return buf_check(out, path, err);
        buf_put(out, chunk, (size_t)n);
        if (out->bad)
            return buf_check(out, path, err);
    }
}

int file_read(const char *path, struct buf *out, struct llmos_error *err)
{
    CLEANUP(fd) int fd = -1;

    if (strcmp(path, "-") == 0)
        return read_fd(STDIN_FILENO, "standard input", out, err);
    fd = file_open_regular(path, err);
    return fd < 0 ? fd : read_fd(fd, path, out, err);
}

int file_write_all(int fd, const void *bytes, size_t n)
{
    const char *at = bytes;

    while (n > 0) {
        ssize_t done = write(fd, at, n);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        at += done;
        n -= (size_t)done;
    }
    return 0;
}

int file_write_at(int fd, const void *bytes, size_t n, uint64_t at)
{
    const char *from = bytes;

    while (n > 0) {
        ssize_t done = pwrite(fd, from, n, (off_t)at);

        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        from += done;
        at += (uint64_t)done;
        n -= (size_t)done;
    }
    return 0;
}

int file_replace(const char *path, struct str bytes, struct llmos_error *err)
{
    CLEANUP(fd) int fd = -1;
    char temporary[4096];

    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= sizeof(temporary))
        return fail(err, LLMOS_ELIMIT, "cannot write '%s': the name is too long", path);
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return fail_errno(err, "cannot write '%s'", path);
    if (file_write_all(fd, bytes.at, bytes.len) < 0 || fsync(fd) < 0 || fchmod(fd, 0644) < 0 ||
        rename(temporary, path) < 0) {
        int rc = fail_errno(err, "cannot write '%s'", path);

        unlink(temporary);
        return rc;
    }
    return 0;
}

int file_map(struct file_map *m, int fd, struct llmos_error *err)
{
    struct stat st;
    void *at;

    if (fstat(fd, &st) < 0)
        return fail_errno(err, "cannot look at the file");
    if (!S_ISREG(st.st_mode))
        return fail(err, LLMOS_EINVAL, "the file is %s, a regular file is needed",
                    kind_of(st.st_mode));
    if (st.st_size == 0)
        return fail(err, LLMOS_EFORMAT, "the file is empty");
    at = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return fail_errno(err, "cannot map %lld bytes", (long long)st.st_size);
    /* Large pages where the file system has them; that a system knows none is no failure. */
    (void)madvise(at, (size_t)st.st_size, MADV_HUGEPAGE);
    *m = (struct file_map){at, (size_t)st.st_size};
    return 0;
}

void file_unmap(struct file_map *m)
{
    if (m->at)
        munmap((void *)(uintptr_t)m->at, m->len);
    *m = (struct file_map){NULL, 0};
}
