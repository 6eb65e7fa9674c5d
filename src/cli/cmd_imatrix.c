/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_imatrix.c - llmos imatrix: which columns of a model's matrices are important */
#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/newfile.h"
#include "cli/talk.h"

#include <stdio.h>

#define TEXT_MAX (12u << 20) /* fits a frame */

struct imatrix_words {
    bool json;
    const char *output;
    uint32_t chunks;
    struct talk_options room;
};

static const struct imatrix_words imatrix_defaults = {.output = "imatrix.gguf"};

static const struct opt imatrix_options[] = {
    OPT_STRING('o', "output", struct imatrix_words, output, "FILE", "the file to make"),
    OPT_U32('c', "context", struct imatrix_words, room.context, "N", 4, 16777216,
            "tokens of a chunk", .default_text = "512, or what the model was trained with"),
    OPT_U32(0, "chunks", struct imatrix_words, chunks, "N", 1, UINT32_MAX, "read only so many",
            .default_text = "all of the text"),
    OPT_U32('t', "threads", struct imatrix_words, room.threads, "N", 1, 1024,
            "threads that compute", .default_text = "one for every usable core"),
    OPT_FLAG('j', "json", struct imatrix_words, json, "print one JSON object"),
    TALK_ROOM_OPTIONS(struct imatrix_words, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command imatrix_command = {
    .name = "llmos imatrix",
    .summary = "find out which columns of a model's matrices are important",
    .operands = "MODEL TEXT",
    .operand_why = "a model file and a text",
    .operands_min = 2,
    .operands_max = 2,
    .description =
        "Reads a text with the model and adds up the squares of what each column of each matrix is "
        "multiplied with. llmos quantize --imatrix takes more care of the columns where they are "
        "large. The text should be like what the model will be used for; some hundred thousand "
        "tokens are enough. The file is that of llama.cpp's llama-imatrix (GGUF), and either "
        "program reads the other's. TEXT may be '-'.",
    .examples = "llmos imatrix model-f16.gguf calibration.txt -o model.imatrix\n"
                "llmos quantize model-f16.gguf model-q3.gguf Q3_K_M --imatrix model.imatrix",
    .see_also = "llmos-quantize(1), llmos-perplexity(1)",
    .options = imatrix_options,
    .defaults = &imatrix_defaults,
};

/* What is gathered is small beside the weights. */
static uint64_t bytes_max(const char *model)
{
    return parts_bytes(model) + (16u << 20);
}

static int gather(const struct imatrix_words *o, const char *model, const char *name,
                  struct str text, const struct newfile *to, struct buf *reply,
                  struct llmos_error *err)
{
    const struct vce_file file = {.name = "file for importance data",
                                  .as = VCE_OUTPUT_FD,
                                  .fd = to->fd,
                                  .write_max_bytes = bytes_max(model)};
    struct message q = {.type = MESSAGE_EVALUATE};
    struct talk_options room = o->room;
    struct talk t = {.worker = NULL};
    int rc;

    room.files = &file;
    room.file_count = 1;
    q.evaluate = (struct message_evaluate){
        .kind = EVALUATE_IMPORTANCE,
        .chunk_tokens = o->room.context,
        .chunks_max = o->chunks,
        .name = str_of(strlen(name) <= MESSAGE_NAME_BYTES_MAX ? name : ""),
        .text = text};
    rc = talk_start(&t, model, PURPOSE_EVALUATE, &room, err);
    if (rc == 0)
        rc = talk_ask(&t, &q, "reading the text", reply, err);
    talk_end(&t); /* and with it the last who could write */
    return rc;
}

static int show(const struct imatrix_words *o, struct buf *reply)
{
    buf_putc(reply, '\n');
    return o->json ? cli_print_buf(reply) : EXIT_OK;
}

static int run(int argc, char **argv)
{
    struct imatrix_words o = imatrix_defaults;
    struct newfile to = {.fd = -1};
    CLEANUP(buf) struct buf text = {.at = NULL};
    CLEANUP(buf) struct buf reply = {.at = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_imatrix, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&text, TEXT_MAX);
    buf_init(&reply, 1 << 20);
    halt_catch();
    if (file_read(rest.at[1], &text, &err) < 0 ||
        newfile_open(&to, o.output, rest.at[0], &err) < 0 ||
        gather(&o, rest.at[0], rest.at[1], buf_str(&text), &to, &reply, &err) < 0 ||
        newfile_keep(&to, &err) < 0)
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    else
        code = show(&o, &reply);
    newfile_drop(&to);
    return code;
}

const struct cli_verb cli_imatrix = {"imatrix", &imatrix_command, run};
