/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_inspect.c - llmos inspect: what is in a model file */
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/render.h"
#include "cli/talk.h"

struct inspect {
    bool json;
    struct talk_options room;
};

static const struct inspect inspect_defaults = {.json = false};

static const struct opt inspect_options[] = {
    OPT_FLAG('j', "json", struct inspect, json, "print the JSON that the tables are made from"),
    TALK_ROOM_OPTIONS(struct inspect, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command inspect_command = {
    .name = "llmos inspect",
    .summary = "show what is in a model file",
    .operands = "MODEL",
    .operand_why = "a model file",
    .operands_min = 1,
    .operands_max = 1,
    .description = "Prints the metadata, hyperparameters and tensors of a model file, and the "
                   "memory that running it needs. The file is parsed in a VCE, and also shown if "
                   "it can be parsed but not run.",
    .examples = "llmos inspect model.gguf\n"
                "llmos inspect --json model.gguf | jq .tensors",
    .see_also = "llmos-run(1), llmos-tokenize(1)",
    .options = inspect_options,
    .defaults = &inspect_defaults,
};

/* A hundred thousand tensors with their shapes, and then some. */
static const struct json_limits inspect_limits = {64u << 20, 16, 4u << 20};

static int show(const struct inspect *o, struct str json)
{
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct llmos_error err;
    json_t *value;

    if (json_parse(&value, json, &inspect_limits, &err) < 0) {
        fail_while(&err, err.code, "what the engine says of the model");
        return cli_error(&err);
    }
    buf_init(&out, TALK_REPLY_MAX);
    if (o->json) {
        buf_put(&out, json.at, json.len);
        if (json.len > 0 && json.at[json.len - 1] != '\n')
            buf_putc(&out, '\n');
    } else {
        render(value, &out);
    }
    json_decref(value);
    return cli_print_buf(&out);
}

static int run(int argc, char **argv)
{
    struct inspect o = inspect_defaults;
    struct message q = {.type = MESSAGE_INSPECT};
    CLEANUP(buf) struct buf json = {.at = NULL};
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_inspect, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&json, inspect_limits.bytes_max);
    halt_catch();
    if (talk_start(&t, rest.at[0], PURPOSE_INSPECT, &o.room, &err) < 0 ||
        talk_ask(&t, &q, "reading the model", &json, &err) < 0)
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    else
        code = show(&o, buf_str(&json));
    talk_end(&t);
    return code;
}

const struct cli_verb cli_inspect = {"inspect", &inspect_command, run};
