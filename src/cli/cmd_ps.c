/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_ps.c - llmos ps: which models run */
#include "base/mem.h"
#include "cli/admin.h"
#include "cli/cli.h"
#include "cli/screen.h"
#include "cli/table.h"

struct ps {
    bool json, isolation;
    const char *socket;
};

static const struct ps ps_defaults = {.socket = NULL};

static const struct opt ps_options[] = {
    OPT_FLAG('i', "isolation", struct ps, isolation,
             "show which layers of isolation hold for each model, and why one does not"),
    OPT_FLAG('j', "json", struct ps, json, "print what the daemon says, as JSON"),
    ADMIN_OPTIONS(struct ps, socket),
    OPT_END,
};

static const struct opt_command ps_command = {
    .name = "llmos ps",
    .summary = "show the models that the daemon runs",
    .description = "Lists the virtual computing environments (VCEs) of the daemon: model, state, "
                   "process, memory without the shared weights, how the cache keeps keys and "
                   "values, requests at work and waiting, and tokens per second.",
    .examples = "llmos ps\n"
                "llmos ps --isolation",
    .see_also = "llmos-stop(1), llmosd(8)",
    .options = ps_options,
    .defaults = &ps_defaults,
};

static void text_cell(struct table *t, const json_t *vce, const char *key)
{
    const json_t *v = json_object_get(vce, key);

    if (json_is_string(v))
        table_cell(t, (struct str){json_string_value(v), json_string_length(v)});
    else if (json_is_integer(v) && json_integer_value(v) == 0 && strcmp(key, "pid") == 0)
        table_cell(t, STR("-"));
    else if (json_is_integer(v))
        table_cellf(t, "%lld", (long long)json_integer_value(v));
    else if (json_is_number(v))
        table_cellf(t, "%.1f", json_number_value(v));
    else
        table_cell(t, STR("-"));
}

static void size_cell(struct table *t, const json_t *vce, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(vce, key));
    char space[64];
    struct buf text = {.at = space, .room = sizeof(space), .limit_bytes = sizeof(space) - 1};

    if (v > 0)
        put_bytes(&text, (uint64_t)v);
    else
        buf_putc(&text, '-');
    table_cell(t, buf_str(&text));
}

/* Why a model does not run. */
static void put_reason(const json_t *vce, struct buf *out)
{
    const char *name = json_string_value(json_object_get(vce, "name"));
    const char *state = json_string_value(json_object_get(vce, "state"));
    const char *reason = json_string_value(json_object_get(vce, "reason"));

    if (!name || !reason || !*reason || (state && strcmp(state, "ready") == 0))
        return;
    screen_put_line(out, str_of(name));
    buf_puts(out, ": ");
    screen_put_line(out, str_of(reason));
    buf_putc(out, '\n');
}

static void put_vces(const json_t *vces, struct buf *out)
{
    struct table t;

    table_init(&t);
    table_column(&t, "MODEL", false);
    table_column(&t, "STATE", false);
    table_column(&t, "PID", true);
    table_column(&t, "MEMORY", true);
    table_column(&t, "PACKED", false);
    table_column(&t, "CACHE", false);
    table_column(&t, "RUNNING", true);
    table_column(&t, "WAITING", true);
    table_column(&t, "TOKENS/S", true);
    for (size_t i = 0; i < json_array_size(vces); i++) {
        const json_t *vce = json_array_get(vces, i);

        text_cell(&t, vce, "name");
        text_cell(&t, vce, "state");
        text_cell(&t, vce, "pid");
        size_cell(&t, vce, "memory_bytes");
        text_cell(&t, vce, "packed");
        text_cell(&t, vce, "kv_type");
        text_cell(&t, vce, "running");
        text_cell(&t, vce, "waiting");
        text_cell(&t, vce, "tokens_per_second");
    }
    table_put(&t, "", out);
    table_fini(&t);
    for (size_t i = 0; i < json_array_size(vces); i++)
        put_reason(json_array_get(vces, i), out);
}

static void put_layers(const json_t *vce, struct buf *out)
{
    const json_t *layers = json_object_get(vce, "isolation");
    struct table t;

    if (out->len)
        buf_putc(out, '\n');
    screen_put_line(out, str_of(json_string_value(json_object_get(vce, "name"))
                                    ? json_string_value(json_object_get(vce, "name"))
                                    : "?"));
    buf_putc(out, '\n');
    table_init(&t);
    table_column(&t, "LAYER", false);
    table_column(&t, "HOLDS", false);
    table_column(&t, "DETAIL", false);
    table_column(&t, "PROMISE", false);
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);

        text_cell(&t, layer, "layer");
        table_cell(&t, json_is_true(json_object_get(layer, "holds")) ? STR("yes") : STR("NO"));
        text_cell(&t, layer, "detail");
        text_cell(&t, layer, "promise");
    }
    table_put(&t, "  ", out);
    table_fini(&t);
}

static int show(const struct ps *o, const json_t *reply, struct buf *out)
{
    const json_t *vces = json_object_get(reply, "vces");
    struct llmos_error err;

    if (!json_is_array(vces)) {
        fail(&err, LLMOS_EFORMAT, "the daemon's reply has no list of VCEs");
        return cli_error(&err);
    }
    if (o->isolation)
        for (size_t i = 0; i < json_array_size(vces); i++)
            put_layers(json_array_get(vces, i), out);
    else
        put_vces(vces, out);
    return cli_print_buf(out);
}

static int run(int argc, char **argv)
{
    struct ps o = ps_defaults;
    CLEANUP(buf) struct buf text = {.at = NULL};
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    json_t *reply;
    int code;

    if (!cli_parse(&cli_ps, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&text, 8u << 20);
    buf_init(&out, 64u << 20);
    if (admin_call(o.socket, "GET", "/admin/v1/vces", &reply, &text, &err) < 0)
        return cli_error(&err);
    if (o.json) {
        if (text.len && text.at[text.len - 1] != '\n')
            buf_putc(&text, '\n');
        code = cli_print_buf(&text);
    } else {
        code = show(&o, reply, &out);
    }
    json_decref(reply);
    return code;
}

const struct cli_verb cli_ps = {"ps", &ps_command, run};
