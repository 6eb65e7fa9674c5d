/* SPDX-License-Identifier: Apache-2.0 */
/* openai_fuzz.c - any bytes as the body of a request: a fault that can be told, or something that
 * an engine accepts, because its frame can be read again. */
#include "daemon/openai.h"
#include "daemon/reply.h"
#include "infer/grammar.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What we would send is what the engine's parser takes. */
static void send_and_parse(const struct message_generate *g)
{
    struct message m = {.type = MESSAGE_GENERATE, .id = 1, .generate = *g}, again;
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

static const struct callform *tool_format(void *owner, struct str model)
{
    (void)owner;
    return callform_of(model); /* the request says which */
}

/* Grammars that we write are grammars. */
static const struct thought_format *thought_format(void *owner, struct str model)
{
    static const char *const forms[] = {"",        "think",   "mistral", "granite",
                                        "harmony", "command", "cohere2", "seed"};

    (void)owner;
    return thought_format_of(str_of(forms[model.len % (sizeof(forms) / sizeof(forms[0]))]));
}

static void check_grammar(struct str text)
{
    struct llmos_error err = {0};
    struct grammar *g = NULL;

    if (text.len && grammar_compile(&g, text, &err) == LLMOS_EFORMAT)
        abort();
    grammar_destroy(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct openai_models models = {tool_format, thought_format, NULL};
    static const struct json_limits limits = {1 << 16, 16, 2000};
    struct openai_request r;
    struct openai_fault fault;
    struct arena arena;
    struct buf out;
    json_t *v = NULL;

    if (size == 0)
        return 0;
    arena_init(&arena, 8 << 20);
    if (openai_parse(&r, data[0] & 1, (struct str){(const char *)data + 1, size - 1}, &limits,
                     &models, &arena, &fault) == 0) {
        if (r.calls.format)
            check_grammar(r.prompts[0].grammar);
        if (r.prompt_count < 1 || r.n < 1 || r.best_of < r.n ||
            r.prompt_count * r.best_of > OPENAI_CHOICES_MAX)
            abort();
        for (uint32_t i = 0; i < r.prompt_count; i++)
            send_and_parse(&r.prompts[i]);
    } else {
        buf_init(&out, 1 << 16);
        reply_error(&out, &fault);
        if (fault.status < 400 ||
            json_parse(&v, buf_str(&out), &(struct json_limits){1 << 16, 4, 32}, NULL) < 0)
            abort();
        json_decref(v);
        buf_fini(&out);
    }
    arena_fini(&arena);
    return 0;
}
