/* SPDX-License-Identifier: Apache-2.0 */
/* frame.c - see frame.h */
#include "net/frame.h"

#include "base/reader.h"

#include <errno.h>
#include <unistd.h>

#define FILL_BYTES 65536
#define KEEP_BYTES (256u << 10) /* an idle reader gives back more than this */

void frame_reader_init(struct frame_reader *r, size_t payload_max)
{
    *r = (struct frame_reader){.payload_max = payload_max};
    /* One frame in the making and one read behind it: who takes every frame before filling again
     * never reaches this. */
    buf_init(&r->buf, FRAME_HEAD_BYTES + payload_max + FILL_BYTES);
}

void frame_reader_fini(struct frame_reader *r)
{
    buf_fini(&r->buf);
    r->consumed = 0;
}

/* Removes the frames that were taken.  Once a fill and not once a frame: what is left behind the
 * last whole frame is moved one time, however many frames came in one read. */
static void compact(struct frame_reader *r)
{
    buf_drop(&r->buf, r->consumed);
    r->consumed = 0;
    if (r->buf.len == 0 && r->buf.room > KEEP_BYTES)
        buf_fini(&r->buf);
}

long frame_fill(struct frame_reader *r, int fd, struct llmos_error *err)
{
    char *at;
    ssize_t n;

    compact(r);
    at = buf_reserve(&r->buf, FILL_BYTES);
    if (!at)
        return buf_check(&r->buf, "frames that nobody takes", err);
    do
        n = read(fd, at, FILL_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 0;
    if (n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE)))
        return fail(err, LLMOS_ECLOSED, "the other side has closed the connection");
    if (n < 0)
        return fail_errno(err, "cannot read from the connection");
    r->buf.len += (size_t)n;
    r->buf.at[r->buf.len] = '\0';
    return n;
}

int frame_next(struct frame_reader *r, struct frame *f, struct llmos_error *err)
{
    struct str left = buf_str(&r->buf);
    struct reader head;
    uint32_t bytes;
    uint16_t type, zero;
    uint64_t id;

    left.at += r->consumed;
    left.len -= r->consumed;
    if (left.len < FRAME_HEAD_BYTES)
        return 0;
    head = reader_of(left.at, FRAME_HEAD_BYTES);
    bytes = reader_u32(&head);
    type = reader_u16(&head);
    zero = reader_u16(&head);
    id = reader_u64(&head);
    if (zero != 0)
        return fail(err, LLMOS_EFORMAT, "a frame whose reserved field is %u instead of 0", zero);
    if (bytes > r->payload_max)
        return fail(err, LLMOS_ELIMIT, "a frame of %u bytes, at most %zu are accepted", bytes,
                    r->payload_max);
    if (left.len - FRAME_HEAD_BYTES < bytes)
        return 0;
    *f = (struct frame){type, id, {left.at + FRAME_HEAD_BYTES, bytes}};
    r->consumed += FRAME_HEAD_BYTES + bytes;
    return 1;
}

size_t frame_begin(struct buf *out, uint16_t type, uint64_t id)
{
    size_t mark = out->len;

    buf_put_u32(out, 0); /* frame_end knows */
    buf_put_u16(out, type);
    buf_put_u16(out, 0);
    buf_put_u64(out, id);
    return mark;
}

void frame_end(struct buf *out, size_t mark)
{
    size_t bytes;

    if (out->bad) { /* never leave half a frame: what is in front of it may still be sent */
        if (out->at) {
            out->len = mark;
            out->at[mark] = '\0';
        }
        return;
    }
    bytes = out->len - mark - FRAME_HEAD_BYTES;
    for (size_t i = 0; i < 4; i++)
        out->at[mark + i] = (char)(bytes >> (8 * i));
}
