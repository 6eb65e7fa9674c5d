/* SPDX-License-Identifier: Apache-2.0 */
/* sse_test.c - claims about sse.h */
#include "net/sse.h"

#include "test.h"

TEST(sse_writes_one_event)
{
    struct buf out;

    buf_init(&out, 256);
    sse_put(&out, STR("{\"a\":1}"));
    sse_begin(&out);
    buf_puts(&out, "[DONE]");
    sse_end(&out);
    CHECK_STR(out.at, "data: {\"a\":1}\n\ndata: [DONE]\n\n");
    buf_fini(&out);
}

TEST(sse_lets_no_text_forge_an_event)
{
    struct buf out;

    buf_init(&out, 256);
    sse_put(&out, STR("a\n\ndata: b\r\nc\rd"));
    CHECK_STR(out.at, "data: a\ndata: \ndata: data: b\ndata: c\ndata: d\n\n");
    buf_fini(&out);
}
