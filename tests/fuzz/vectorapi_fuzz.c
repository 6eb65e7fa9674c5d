/* SPDX-License-Identifier: Apache-2.0 */
/* vectorapi_fuzz.c - any bytes as the body of a request for vectors or ranks: a fault that can be
 * told, or something that an engine accepts, whose reply is JSON. */
#include "daemon/reply.h"
#include "daemon/vectorapi.h"

#include <stdint.h>
#include <stdlib.h>

#define WIDTH 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct json_limits limits = {1 << 20, 16, 20000};

/* What we would send is what the engine's parser takes. */
static void send_and_parse(const struct message_encode *e)
{
    struct message m = {.type = MESSAGE_ENCODE, .id = 1, .encode = *e}, again;
    struct frame_reader reader;
    struct arena arena;
    struct frame f;
    struct buf out;

    buf_init(&out, FRAME_TO_ENGINE_MAX);
    message_put(&out, &m);
    frame_reader_init(&reader, FRAME_TO_ENGINE_MAX);
    buf_put(&reader.buf, buf_str(&out).at, out.len);
    arena_init(&arena, 32 << 20);
    if (out.bad || frame_next(&reader, &f, NULL) != 1 ||
        message_parse(&again, &f, false, &arena, NULL) < 0)
        abort();
    arena_fini(&arena);
    frame_reader_fini(&reader);
    buf_fini(&out);
}

static void must_be_json(const struct buf *out)
{
    json_t *v = NULL;

    if (out->bad || json_parse(&v, buf_str(out), &limits, NULL) < 0)
        abort();
    json_decref(v);
}

static void reply_to(const struct vectorapi_request *r)
{
    static float values[VECTORAPI_TEXTS_MAX][WIDTH];
    static struct vectorapi_answer answers[VECTORAPI_TEXTS_MAX];
    struct buf out;

    for (uint32_t i = 0; i < r->count; i++) {
        for (uint32_t j = 0; j < WIDTH; j++)
            values[i][j] = (float)((i + 1) * 7919 % 1000) * 0.001f - 0.5f * (float)j;
        answers[i] = (struct vectorapi_answer){values[i], i};
    }
    buf_init(&out, 64 << 20);
    vectorapi_reply(&out, r, answers, WIDTH);
    if (out.len <= limits.bytes_max)
        must_be_json(&out);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vectorapi_request r;
    struct openai_fault fault;
    struct arena arena;
    struct buf out;

    if (size == 0)
        return 0;
    arena_init(&arena, 8 << 20);
    if (vectorapi_parse(&r, data[0] & 1, (struct str){(const char *)data + 1, size - 1}, &limits,
                        &arena, &fault) == 0) {
        if (r.count < 1 || r.count > VECTORAPI_TEXTS_MAX || r.top > r.count)
            abort();
        for (uint32_t i = 0; i < r.count; i++)
            send_and_parse(&r.asks[i]);
        reply_to(&r);
    } else {
        buf_init(&out, 1 << 16);
        reply_error(&out, &fault);
        if (fault.status < 400)
            abort();
        must_be_json(&out);
        buf_fini(&out);
    }
    arena_fini(&arena);
    return 0;
}
