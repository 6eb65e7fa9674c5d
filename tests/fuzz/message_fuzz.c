/* SPDX-License-Identifier: Apache-2.0 */
/* message_fuzz.c - bytes of a socket, read as either side would; what is accepted must be encoded
 * back to the very same bytes. */
#include "net/message.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct frame *f, bool from_engine)
{
    struct message m;
    struct arena arena;
    struct buf again;

    arena_init(&arena, MESSAGE_ARENA_BYTES);
    buf_init(&again, FRAME_HEAD_BYTES + FRAME_TO_ENGINE_MAX);
    if (message_parse(&m, f, from_engine, &arena, NULL) == 0) {
        message_put(&again, &m);
        if (again.bad || !str_eq(buf_str(&again), (struct str){f->payload.at - FRAME_HEAD_BYTES,
                                                               f->payload.len + FRAME_HEAD_BYTES}))
            abort();
    }
    buf_fini(&again);
    arena_fini(&arena);
}

static void converse(const uint8_t *data, size_t size, bool from_engine)
{
    struct frame_reader r;
    struct frame f;

    frame_reader_init(&r, from_engine ? FRAME_TO_HOST_MAX : FRAME_TO_ENGINE_MAX);
    buf_put(&r.buf, data, size);
    while (frame_next(&r, &f, NULL) == 1)
        round_trip(&f, from_engine);
    frame_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    converse(data, size, true);
    converse(data, size, false);
    return 0;
}
