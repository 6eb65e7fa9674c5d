/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_embed.c - llmos embed: a vector for each line */
#include "base/jsontext.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/encode.h"
#include "cli/halt.h"

struct embed {
    bool no_normalize;
    struct encode_options encode;
};

static const struct embed embed_defaults = {.no_normalize = false};

static const struct opt embed_options[] = {
    OPT_GROUP("Vectors"),
    OPT_FLAG(0, "no-normalize", struct embed, no_normalize,
             "leave vectors as the model makes them; else their length is made 1"),
    ENCODE_TEXT_OPTIONS(struct embed, encode),
    ENCODE_MODEL_OPTIONS(struct embed, encode),
    TALK_ROOM_OPTIONS(struct embed, encode.room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command embed_command = {
    .name = "llmos embed",
    .summary = "turn lines of text into vectors",
    .operands = "MODEL",
    .operand_why = "a model file or folder",
    .operands_min = 1,
    .operands_max = 1,
    .description =
        "Texts that say alike have vectors that point alike: what is near to a question may "
        "answer it. Models made for that are encoders (bert and its kin); one that generates "
        "works as well, if less. How the tokens' vectors become one is said by the "
        "model.\n\n" ENCODE_ABOUT_LINES
        "\n\nFor each a line is printed, in the order of the input, one JSON object:\n\n"
        "  {\"index\":0,\"tokens\":5,\"embedding\":[0.0125,-0.25,...]}\n\n"
        "'tokens' counts what the model read, its own marks included. The numbers have all digits "
        "of a single-precision float. " ENCODE_ABOUT_CUT
        " Keys may be added, none will change.\n\n" ENCODE_ABOUT_EXIT,
    .examples = "llmos embed all-minilm.gguf < questions.txt > vectors.jsonl\n"
                "echo 'Where is my parcel?' | llmos embed ./all-MiniLM-L6-v2",
    .see_also = "llmos-classify(1), llmos-rerank(1), llmos-convert(1)",
    .options = embed_options,
    .defaults = &embed_defaults,
};

struct output {
    const struct embed *options;
    struct buf line;
    int code; /* of a write that failed */
};

static int put_vector(void *cookie, const struct encoded *e, struct llmos_error *err)
{
    struct output *o = cookie;

    buf_printf(&o->line, "{\"index\":%llu,\"tokens\":%u", (unsigned long long)e->index, e->tokens);
    encode_put_cut(&o->line, &o->options->encode, e->cut);
    buf_puts(&o->line, ",\"embedding\":[");
    for (uint32_t i = 0; i < e->width; i++) {
        if (i)
            buf_putc(&o->line, ',');
        json_put_float(&o->line, e->values[i]);
    }
    buf_puts(&o->line, "]}\n");
    return encode_print(&o->line, &o->code, err);
}

static int run(int argc, char **argv)
{
    struct embed o = embed_defaults;
    struct output out = {.options = &o};
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_embed, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&out.line, 64 * MESSAGE_WIDTH_MAX);
    halt_catch();
    if (talk_start(&t, rest.at[0], PURPOSE_ENCODE, &o.encode.room, &err) < 0 ||
        encode_lines(&t,
                     &(struct encode_job){.how = {.kind = ENCODE_EMBED,
                                                  .normalizes = !o.no_normalize,
                                                  .cuts = o.encode.truncate},
                                          .what = "embedding",
                                          .sink = put_vector,
                                          .cookie = &out},
                     &err) < 0)
        code = encode_failed(out.code, &err);
    else
        code = EXIT_OK;
    talk_end(&t);
    buf_fini(&out.line);
    return code;
}

const struct cli_verb cli_embed = {"embed", &embed_command, run};
