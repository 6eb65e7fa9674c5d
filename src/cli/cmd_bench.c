/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_bench.c - llmos bench: how fast is a model on this machine */
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/render.h"
#include "cli/table.h"
#include "cli/talk.h"

struct bench {
    bool json;
    uint32_t prompt, generate, repeat;
    struct talk_options room;
};

static const struct bench bench_defaults = {.prompt = 512, .generate = 128, .repeat = 5};

static const struct opt bench_options[] = {
    OPT_GROUP("Work"),
    OPT_U32('p', "prompt", struct bench, prompt, "N", 1, 1u << 20, "tokens to read"),
    OPT_U32('g', "generate", struct bench, generate, "N", 1, 1u << 20, "tokens to make"),
    OPT_U32('r', "repeat", struct bench, repeat, "N", 1, 1000,
            "runs; the figures are their medians"),
    OPT_GROUP("Output"),
    OPT_FLAG('j', "json", struct bench, json, "print one JSON object"),
    TALK_MODEL_OPTIONS(struct bench, room),
    TALK_ROOM_OPTIONS(struct bench, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command bench_command = {
    .name = "llmos bench",
    .summary = "measure the speed of a model",
    .operands = "MODEL",
    .operand_why = "a model file",
    .operands_min = 1,
    .operands_max = 1,
    .description = "Reads a prompt of made-up tokens and makes tokens behind it, several times, in "
                   "a VCE as always, and prints tokens per second, the time to the first token, "
                   "the time to load, and the memory used.",
    .examples = "llmos bench model.gguf\n"
                "llmos bench model.gguf --prompt 2048 --generate 64 --threads 1 --json",
    .see_also = "llmos-run(1), llmos-inspect(1)",
    .options = bench_options,
    .defaults = &bench_defaults,
};

/* What the engine says of itself is completed by what is seen from outside. */
static int join(uint64_t memory_bytes, json_t *measured, struct llmos_error *err)
{
    if (json_object_set_new(measured, "memory_bytes", json_integer((json_int_t)memory_bytes)) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for the result");
    return 0;
}

static void put_rate(struct table *t, const char *what, const json_t *value, double factor,
                     const char *unit)
{
    table_cell(t, str_of(what));
    if (json_is_number(value))
        table_cellf(t, "%.*f", json_number_value(value) * factor < 100 ? 2 : 1,
                    json_number_value(value) * factor);
    else
        table_cell(t, STR("-"));
    table_cell(t, str_of(unit));
}

static void put_word(struct buf *out, const json_t *result, const char *key, const char *what)
{
    const json_t *value = json_object_get(result, key);

    if (!value)
        return;
    buf_puts(out, what);
    render_cell(key, value, out);
}

static void put_figures(const json_t *r, struct buf *out)
{
    struct table t;

    put_word(out, r, "model", "");
    put_word(out, r, "architecture", "  ");
    put_word(out, r, "file_type", " ");
    put_word(out, r, "backend", "  backend ");
    put_word(out, r, "kv_type", "  cache ");
    put_word(out, r, "threads", "  threads ");
    put_word(out, r, "prompt_tokens", "  prompt ");
    put_word(out, r, "generated_tokens", "  generate ");
    put_word(out, r, "repeat", "  repeat ");
    buf_putc(out, '\n');
    table_init(&t);
    table_column(&t, NULL, false);
    table_column(&t, NULL, true);
    table_column(&t, NULL, false);
    put_rate(&t, "prefill", json_object_get(r, "prefill_tokens_per_second"), 1, "tokens/s");
    put_rate(&t, "decode", json_object_get(r, "decode_tokens_per_second"), 1, "tokens/s");
    put_rate(&t, "first token", json_object_get(r, "time_to_first_token_ms"), 1, "ms");
    put_rate(&t, "load", json_object_get(r, "load_ms"), 1, "ms");
    put_rate(&t, "memory, weights included", json_object_get(r, "rss_bytes"), 1.0 / (1 << 20),
             "MiB");
    table_put(&t, "  ", out);
    table_fini(&t);
}

static int show(const struct bench *o, json_t *result)
{
    CLEANUP(buf) struct buf out = {.at = NULL};

    buf_init(&out, 1 << 20);
    if (o->json) {
        char *text = json_dumps(result, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));

        out.bad = !text;
        buf_puts(&out, text ? text : "");
        buf_putc(&out, '\n');
        mem_free(text); /* json.c gave the library our allocator */
    } else {
        put_figures(result, &out);
    }
    return cli_print_buf(&out);
}

static int measure(const struct bench *o, const char *model_path, struct talk *t, json_t **result,
                   struct llmos_error *err)
{
    static const struct json_limits limits = {1u << 20, 8, 1u << 16};
    struct message q = {.type = MESSAGE_BENCH, .bench = {o->prompt, o->generate, o->repeat}};
    struct talk_options room = o->room;
    CLEANUP(buf) struct buf json = {.at = NULL};
    int rc;

    /* No more memory than the work asks for, unless the user says so; one more for the last. */
    if (!room.context)
        room.context = o->prompt + o->generate + 1;
    buf_init(&json, limits.bytes_max);
    rc = talk_start(t, model_path, PURPOSE_RUN, &room, err);
    if (rc == 0)
        rc = talk_ask(t, &q, "measuring", &json, err);
    if (rc < 0)
        return rc;
    rc = json_parse(result, buf_str(&json), &limits, err);
    if (rc < 0)
        return fail_while(err, rc, "what the engine measured");
    rc = json_is_object(*result) ? join(worker_memory_bytes(t->worker), *result, err)
                                 : fail(err, LLMOS_EFORMAT, "what the engine measured is a list");
    if (rc < 0)
        json_decref(*result);
    return rc;
}

static int run(int argc, char **argv)
{
    struct bench o = bench_defaults;
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    json_t *result;
    int code;

    if (!cli_parse(&cli_bench, &o, argc, argv, &rest, &code))
        return code;
    halt_catch();
    if (measure(&o, rest.at[0], &t, &result, &err) < 0) {
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    } else {
        code = show(&o, result);
        json_decref(result);
    }
    talk_end(&t);
    return code;
}

const struct cli_verb cli_bench = {"bench", &bench_command, run};
