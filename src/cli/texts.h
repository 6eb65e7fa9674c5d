/* SPDX-License-Identifier: Apache-2.0 */
/* texts.h - the lines of standard input, one text each, as far as they have come.
 *
 * A line ends with a newline, in front of which a carriage return is dropped; the last one may end
 * with the input.  Its bytes are any, zeros included.  One thread. */
#ifndef CLI_TEXTS_H
#define CLI_TEXTS_H

#include "base/buf.h"

#define TEXTS_LINE_MAX (1u << 20) /* bytes: past what any encoder takes, and within a frame */

struct texts {
    int fd;
    struct buf buf;
    size_t at, seen;      /* where the next line begins; up to here no newline stands in it */
    uint64_t count;       /* of lines that were given */
    uint64_t done, total; /* bytes that were given; of a regular file, else 0 */
    bool has_ended;       /* the input, and all lines are given */
    bool is_closed;       /* the input: there may be lines left */
};

void texts_init(struct texts *t, int fd); /* fd stays the caller's */
void texts_fini(struct texts *t);

/* 1: a line, valid until the next call, and t->count was its number; 0: none is there, for now or,
 * if t->has_ended, for good.  Never waits.  LLMOS_ELIMIT: the line is too long, and named. */
int texts_next(struct texts *t, struct str *line, struct llmos_error *err);

#endif
