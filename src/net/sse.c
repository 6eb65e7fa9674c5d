/* SPDX-License-Identifier: Apache-2.0 */
/* sse.c - see sse.h */
#include "net/sse.h"

void sse_put(struct buf *out, struct str data)
{
    sse_begin(out);
    for (size_t i = 0; i < data.len; i++) {
        char c = data.at[i];

        if (c == '\r' && i + 1 < data.len && data.at[i + 1] == '\n')
            continue;
        if (c == '\n' || c == '\r')
            buf_puts(out, "\ndata: ");
        else
            buf_putc(out, c);
    }
    sse_end(out);
}
