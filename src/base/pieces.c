/* SPDX-License-Identifier: Apache-2.0 */
/* pieces.c - see pieces.h */
#include "base/pieces.h"

#include "base/fail.h"
#include "base/file.h"
#include "base/mem.h"

#include <string.h>

void pieces_init(struct pieces *p, int fd, pieces_written written, void *arg)
{
    *p = (struct pieces){.fd = fd, .written = written, .arg = arg};
}

void pieces_fini(struct pieces *p)
{
    mem_free(p->piece);
    p->piece = NULL;
}

static int flush(struct pieces *p, struct llmos_error *err)
{
    size_t n = p->used;
    uint64_t at = p->at;

    if (file_write_at(p->fd, p->piece, n, at) < 0)
        return fail_errno(err, "%zu bytes behind %llu", n, (unsigned long long)at);
    p->at += n;
    p->used = 0;
    return p->written ? p->written(p->arg, p->piece, n, at, err) : 0;
}

int pieces_put(struct pieces *p, const void *bytes, size_t n, struct llmos_error *err)
{
    const char *from = bytes;

    if (!p->piece)
        p->piece = mem_aligned(PIECE_BYTES);
    if (!p->piece)
        return fail(err, LLMOS_ENOMEM, "no memory for a piece of %u bytes", PIECE_BYTES);
    while (n > 0) {
        size_t some = n < PIECE_BYTES - p->used ? n : PIECE_BYTES - p->used;

        if (from)
            memcpy(p->piece + p->used, from, some);
        else
            memset(p->piece + p->used, 0, some);
        from = from ? from + some : NULL;
        p->used += some;
        n -= some;
        if (p->used == PIECE_BYTES) {
            int rc = flush(p, err);

            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

uint64_t pieces_length(const struct pieces *p)
{
    return p->at + p->used;
}

int pieces_end(struct pieces *p, struct llmos_error *err)
{
    return p->used ? flush(p, err) : 0;
}
