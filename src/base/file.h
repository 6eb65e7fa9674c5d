/* SPDX-License-Identifier: Apache-2.0 */
/* file.h - open, map, read whole, replace atomically. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/buf.h"

#include <unistd.h>

/* Opens a regular file for reading and returns its descriptor.  A directory, a FIFO, a device or a
 * socket is refused with a sentence; opening never blocks and never runs a driver's side effects
 * twice. */
int file_open_regular(const char *path, struct llmos_error *err);

/* The whole file appended to out, whose limit bounds it.  The path "-" is standard input. */
int file_read(const char *path, struct buf *out, struct llmos_error *err);

/* Writes a new file beside path and renames it over: a reader sees the old or the new bytes, never
 * a mixture. */
int file_replace(const char *path, struct str bytes, struct llmos_error *err);

/* All of n bytes, continuing after signals and short writes.  -1 and errno on failure. */
int file_write_all(int fd, const void *bytes, size_t n);
/* The same behind `at` bytes; the descriptor's own offset is neither used nor moved. */
int file_write_at(int fd, const void *bytes, size_t n, uint64_t at);

/* A regular file mapped read-only.  The file may shrink under us (another process truncates it):
 * the reader then gets SIGBUS, which ends only the VCE that mapped it. */
struct file_map {
    const unsigned char *at;
    size_t len;
};

int file_map(struct file_map *m, int fd, struct llmos_error *err); /* fd may be closed afterwards */
void file_unmap(struct file_map *m);

static inline void cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline int take_fd(int *fd)
{
    int taken = *fd;

    *fd = -1;
    return taken;
}

#endif
