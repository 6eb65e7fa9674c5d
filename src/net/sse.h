/* SPDX-License-Identifier: Apache-2.0 */
/* sse.h - server-sent events, written. */
#ifndef NET_SSE_H
#define NET_SSE_H

#include "base/buf.h"

#define SSE_CONTENT_TYPE "text/event-stream; charset=utf-8"

/* Appends one event whose data is the text; a line break inside starts another data line, so that
 * no text can forge an event. */
void sse_put(struct buf *out, struct str data);

/* As sse_put, with the data written in place: begin, put JSON (which has no line breaks), end. */
static inline void sse_begin(struct buf *out)
{
    buf_puts(out, "data: ");
}

static inline void sse_end(struct buf *out)
{
    buf_puts(out, "\n\n");
}

#endif
