/* SPDX-License-Identifier: Apache-2.0 */
/* toolcall_fuzz.c - any bytes as what a model says: calls found in them are calls of functions that
 * were offered, in order, with arguments that are JSON where no grammar vouches for them; and what
 * is told does not depend on where the pieces were cut. */
#include "base/json.h"
#include "daemon/toolcall.h"
#include "sched/schema.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct toolcall_parameter parameters[] = {{{"s", 1}, SCHEMA_STRING},
                                                       {{"n", 1}, SCHEMA_OTHERS},
                                                       {{"b", 1}, SCHEMA_STRING | SCHEMA_OTHERS}};
static const struct toolcall_function functions[] = {{.name = {"f", 1}},
                                                     {{"get_it", 6}, parameters, 3}};

struct heard {
    struct buf all, arguments; /* all: told, with marks where a call begins */
    uint32_t calls;
    bool is_strict;
};

static void end_call(struct heard *h)
{
    json_t *v = NULL;

    if (h->calls && !h->is_strict) {
        if (json_parse(&v, buf_str(&h->arguments), &(struct json_limits)JSON_LIMITS_INIT, NULL) < 0)
            abort();
        json_decref(v);
    }
    buf_clear(&h->arguments);
}

static void hear(void *cookie, enum toolcall_kind kind, uint32_t index, struct str text)
{
    struct heard *h = cookie;

    if (kind == TOOLCALL_BEGIN) {
        if (index != h->calls ||
            !(str_eq(text, functions[0].name) || str_eq(text, functions[1].name)))
            abort();
        end_call(h);
        h->calls++;
        buf_putc(&h->all, '\x01');
    } else if (kind == TOOLCALL_ARGUMENTS) {
        if (index + 1 != h->calls || text.len == 0)
            abort();
        buf_put(&h->arguments, text.at, text.len);
    }
    if (text.len == 0)
        abort();
    buf_put(&h->all, text.at, text.len);
}

static void parse(struct heard *h, const struct toolcall_parser *how, struct str text, size_t piece)
{
    struct toolcall_parser p = *how;

    *h = (struct heard){.is_strict = how->is_strict};
    buf_init(&h->all, 1 << 24);
    buf_init(&h->arguments, 1 << 24);
    p.cookie = h;
    toolcall_init(&p);
    for (size_t at = 0; at < text.len; at += piece)
        toolcall_put(&p, (struct str){text.at + at, text.len - at < piece ? text.len - at : piece});
    toolcall_end(&p);
    if (h->calls > how->calls_max || !toolcall_is_good(&p))
        abort();
    end_call(h);
    toolcall_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {
        "hermes",   "mistral",  "llama3",     "ministral", "granite", "harmony",
        "qwen3xml", "deepseek", "deepseek31", "glm",       "glm47",   "kimi",
        "phi4",     "nemotron", "apriel",     "command",   "seed",    "functionary"};
    struct toolcall_parser how = {
        .functions = functions, .function_count = 2, .calls_max = TOOLCALL_CALLS_MAX, .hear = hear};
    struct heard whole, cut;

    if (size == 0)
        return 0;
    how.format = callform_of(str_of(formats[data[0] % (sizeof(formats) / sizeof(formats[0]))]));
    how.is_strict = data[0] & 64;
    if (data[0] & 128)
        how.calls_max = 1;
    parse(&whole, &how, (struct str){(const char *)data + 1, size - 1}, size);
    parse(&cut, &how, (struct str){(const char *)data + 1, size - 1}, 1 + (data[0] >> 2 & 3));
    if (!str_eq(buf_str(&whole.all), buf_str(&cut.all)))
        abort();
    buf_fini(&whole.all);
    buf_fini(&whole.arguments);
    buf_fini(&cut.all);
    buf_fini(&cut.arguments);
    return 0;
}
