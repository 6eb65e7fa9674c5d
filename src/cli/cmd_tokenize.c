/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_tokenize.c - llmos tokenize: the tokens of a text */
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/talk.h"

#define TEXT_MAX (12u << 20) /* fits a frame */

struct tokenize {
    bool json, no_bos, special;
    struct talk_options room;
};

static const struct tokenize tokenize_defaults = {.json = false};

static const struct opt tokenize_options[] = {
    OPT_FLAG('j', "json", struct tokenize, json, "print {\"tokens\": [1, 2, 3]}"),
    OPT_FLAG(0, "no-bos", struct tokenize, no_bos,
             "leave out what the model wants at the beginning and the end"),
    OPT_FLAG(0, "special", struct tokenize, special,
             "special tokens written in the text, like </s>, are those tokens; else they are text"),
    TALK_ROOM_OPTIONS(struct tokenize, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command tokenize_command = {
    .name = "llmos tokenize",
    .summary = "print the tokens of a text",
    .operands = "MODEL",
    .operand_why = "a model file",
    .operands_min = 1,
    .operands_max = 1,
    .description =
        "Reads a text from standard input and prints the numbers of its tokens, parted "
        "by blanks, in one line. The text is taken as it is: a newline at its end counts."
        " The vocabulary is read in a VCE.",
    .examples = "printf 'Hello' | llmos tokenize model.gguf\n"
                "llmos tokenize model.gguf --json --no-bos < text",
    .see_also = "llmos-inspect(1)",
    .options = tokenize_options,
    .defaults = &tokenize_defaults,
};

static void put_tokens(const struct buf *tokens, bool json, struct buf *out)
{
    size_t count = tokens->len / sizeof(int32_t);

    buf_puts(out, json ? "{\"tokens\": [" : "");
    for (size_t i = 0; i < count; i++) {
        int32_t token;

        memcpy(&token, tokens->at + i * sizeof(token), sizeof(token));
        buf_printf(out, "%s%d", i == 0 ? "" : json ? ", " : " ", token);
    }
    buf_puts(out, json ? "]}\n" : "\n");
}

static int tokenize_text(const struct tokenize *o, const char *model_path, struct str text)
{
    struct message q = {.type = MESSAGE_TOKENIZE, .tokenize = {text, !o->no_bos, o->special}};
    CLEANUP(buf) struct buf tokens = {.at = NULL};
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    int code;

    buf_init(&tokens, TALK_REPLY_MAX);
    buf_init(&out, (size_t)4 * TALK_REPLY_MAX);
    halt_catch();
    if (talk_start(&t, model_path, PURPOSE_TOKENIZE, &o->room, &err) < 0 ||
        talk_ask(&t, &q, "tokenizing", &tokens, &err) < 0) {
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    } else {
        put_tokens(&tokens, o->json, &out);
        code = cli_print_buf(&out);
    }
    talk_end(&t);
    return code;
}

static int run(int argc, char **argv)
{
    struct tokenize o = tokenize_defaults;
    CLEANUP(buf) struct buf text = {.at = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_tokenize, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&text, TEXT_MAX);
    if (file_read("-", &text, &err) < 0)
        return cli_error(&err);
    return tokenize_text(&o, rest.at[0], buf_str(&text));
}

const struct cli_verb cli_tokenize = {"tokenize", &tokenize_command, run};
