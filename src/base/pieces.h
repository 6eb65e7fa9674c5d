/* SPDX-License-Identifier: Apache-2.0 */
/* pieces.h - a large file, written from its beginning in pieces of 2 MiB at multiples of 2 MiB.
 *
 * File systems that keep such a write together map it with large pages, and weights are read two to
 * three times as fast then (bench/NOTES.md).  One thread. */
#ifndef BASE_PIECES_H
#define BASE_PIECES_H

#include "llmos/error.h"

#include <stddef.h>
#include <stdint.h>

#define PIECE_BYTES (2u << 20)

/* Called with each piece that has been written, the last of which may be shorter; a negative value
 * ends the work.  err may be filled. */
typedef int (*pieces_written)(void *arg, const char *piece, size_t bytes, uint64_t at,
                              struct llmos_error *err);

struct pieces {
    int fd; /* the caller's; its own offset is neither used nor moved */
    char *piece;
    size_t used;
    uint64_t at; /* where the piece will stand */
    pieces_written written;
    void *arg;
};

/* No memory is taken before the first byte.  written: NULL: nobody is told. */
void pieces_init(struct pieces *p, int fd, pieces_written written, void *arg);
void pieces_fini(struct pieces *p);

/* Appends n bytes; zeros where `bytes` is NULL. */
int pieces_put(struct pieces *p, const void *bytes, size_t n, struct llmos_error *err);
uint64_t pieces_length(const struct pieces *p);            /* so far */
int pieces_end(struct pieces *p, struct llmos_error *err); /* writes what is left */

#endif
