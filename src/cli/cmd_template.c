/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_template.c - llmos template: a conversation as a chat template writes it */
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/talk.h"
#include "model/chat.h"
#include "model/jinja_lex.h"

#include <stdio.h>

#define JSON_MAX (12u << 20) /* fits a frame */

struct template
{
    struct talk_options room;
};

static const struct template template_defaults = {.room = {0}};

static const struct opt template_options[] = {
    TALK_ROOM_OPTIONS(struct template, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command template_command = {
    .name = "llmos template",
    .summary = "print a conversation as the chat template writes it",
    .operands = "MODEL|FILE",
    .operand_why = "a model file, or a chat template",
    .operands_min = 1,
    .operands_max = 1,
    .description =
        "Reads a conversation from standard input and prints the prompt that the chat template of "
        "a "
        "model file makes of it, or a template in a file of its own (Jinja, as transformers sets "
        "it "
        "up). Where the model has no template, a built-in format is used and named on standard "
        "error. The conversation is JSON: a list of messages, or an object with \"messages\" and "
        "whatever else the template knows: \"tools\", \"add_generation_prompt\" (true unless it "
        "says false), \"bos_token\". A model's template runs in a VCE.",
    .examples =
        "echo '[{\"role\": \"user\", \"content\": \"Hello\"}]' | llmos template model.gguf\n"
        "llmos template chatml.jinja < conversation.json",
    .see_also = "llmos-inspect(1), llmos-tokenize(1)",
    .options = template_options,
    .defaults = &template_defaults,
};

/* 1: the file is a model; 0: it is not.  Negative: it cannot be read. */
static int is_model(const char *path, struct llmos_error *err)
{
    CLEANUP(fd) int fd = file_open_regular(path, err);
    char magic[4] = "";

    if (fd < 0)
        return fd;
    if (pread(fd, magic, sizeof(magic), 0) < 0)
        return fail_errno(err, "cannot read '%s'", path);
    return memcmp(magic, "GGUF", 4) == 0;
}

static int render_model(const struct template *o, const char *path, struct str json,
                        struct buf *out)
{
    struct message q = {.type = MESSAGE_RENDER, .render = {json}};
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    int code;

    halt_catch();
    if (talk_start(&t, path, PURPOSE_TOKENIZE, &o->room, &err) < 0 ||
        talk_ask(&t, &q, "rendering", out, &err) < 0)
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    else
        code = cli_print_buf(out);
    if (code == 0 && strcmp(t.chat_format, "template") != 0)
        fprintf(stderr, "llmos: '%s' has no chat template, so this is the built-in format '%s'\n",
                path, t.chat_format);
    talk_end(&t);
    return code;
}

static int render_file(const char *path, struct str json, struct buf *out)
{
    CLEANUP(buf) struct buf source = {.at = NULL};
    struct llmos_error err;
    int rc;

    buf_init(&source, JINJA_TEMPLATE_BYTES_MAX);
    rc = file_read(path, &source, &err);
    if (rc == 0)
        rc = chat_render_source(buf_str(&source), json, out, &err);
    if (rc == 0)
        return cli_print_buf(out);
    fail_while(&err, rc, "'%s'", path);
    return cli_error(&err);
}

static int run(int argc, char **argv)
{
    struct template o = template_defaults;
    CLEANUP(buf) struct buf json = {.at = NULL};
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code, model;

    if (!cli_parse(&cli_template, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&json, JSON_MAX);
    buf_init(&out, TALK_REPLY_MAX);
    model = is_model(rest.at[0], &err);
    if (model < 0 || file_read("-", &json, &err) < 0)
        return cli_error(&err);
    return model ? render_model(&o, rest.at[0], buf_str(&json), &out)
                 : render_file(rest.at[0], buf_str(&json), &out);
}

const struct cli_verb cli_template = {"template", &template_command, run};
