/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_quantize.c - llmos quantize: a model file with smaller numbers */
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/newfile.h"
#include "cli/table.h"
#include "cli/talk.h"
#include "model/mix.h"
#include "sched/hfopen.h"

#include <stdio.h>

/* What is written is at most so many times as long as what is read: f32 from types of 1.5 bits. */
#define GROWTH_MAX 24
#define KEYS_BYTES (16u << 20) /* of a file that has hardly more than keys */

struct quantize {
    bool json, requantize, tensors;
    const char *imatrix;
    struct talk_options room;
};

static const struct quantize quantize_defaults = {.json = false};

static const struct opt quantize_options[] = {
    OPT_STRING(0, "imatrix", struct quantize, imatrix, "FILE",
               "how important the columns of matrices are, see llmos-imatrix(1)"),
    OPT_FLAG(0, "requantize", struct quantize, requantize,
             "also from types that have lost something already"),
    OPT_U32('t', "threads", struct quantize, room.threads, "N", 1, 1024, "threads that compute",
            .default_text = "one for every usable core"),
    OPT_GROUP("Output"),
    OPT_FLAG(0, "tensors", struct quantize, tensors, "show the type and the error of every tensor"),
    OPT_FLAG('j', "json", struct quantize, json, "print one JSON object, with every tensor"),
    TALK_ROOM_OPTIONS(struct quantize, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command quantize_command = {
    .name = "llmos quantize",
    .summary = "make a model file with smaller numbers",
    .operands = "MODEL OUTPUT TYPE",
    .operand_why = "a model file, the file to make, and a type",
    .operands_min = 3,
    .operands_max = 3,
    .description =
        "Writes the model anew, its matrices in a type of fewer bits: Q4_K_M is the usual choice, "
        "Q6_K and Q8_0 are hardly worse than the original, Q3_K_M and Q2_K are for those who lack "
        "memory. The others are Q4_K_S, Q5_K_M, Q5_K_S, Q3_K_S, IQ4_XS, IQ4_NL, Q5_1, Q5_0, Q4_1, "
        "Q4_0, MXFP4, TQ1_0, TQ2_0, F16, BF16 and F32. A name with M or S is a mix: some matrices "
        "get more bits. They are the choices of llama.cpp, and its programs read the file.\n\n"
        "MODEL should hold f32, f16 or bf16. It is read in a VCE that can write the one file and "
        "nothing else. OUTPUT appears when it is whole.\n\n"
        "The error of a tensor is that of reading back what was written: the root mean square of "
        "the differences over that of the numbers, and the largest difference.",
    .examples = "llmos quantize model-f16.gguf model-q4.gguf Q4_K_M\n"
                "llmos quantize model-f16.gguf model-iq4.gguf IQ4_XS --imatrix model.imatrix",
    .see_also = "llmos-imatrix(1), llmos-perplexity(1), llmos-inspect(1)",
    .options = quantize_options,
    .defaults = &quantize_defaults,
};

/* ---- the report ---- */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static double number_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static void put_tensors(const json_t *report, struct buf *out)
{
    struct table t;
    const json_t *tensor;
    size_t i;

    table_init(&t);
    table_column(&t, "TENSOR", false);
    table_column(&t, "FROM", false);
    table_column(&t, "TO", false);
    table_column(&t, "ERROR", true);
    table_column(&t, "LARGEST", true);
    json_array_foreach(json_object_get(report, "tensors"), i, tensor)
    {
        bool is_changed = json_object_get(tensor, "rms_error") != NULL;

        table_cell(&t, str_of(text_of(tensor, "name")));
        table_cell(&t, str_of(text_of(tensor, "from")));
        table_cell(&t, str_of(text_of(tensor, "to")));
        if (is_changed) {
            table_cellf(&t, "%.5f", number_of(tensor, "rms_error"));
            table_cellf(&t, "%.3g", number_of(tensor, "largest_error"));
        } else {
            table_cell(&t, STR("-"));
            table_cell(&t, STR("-"));
        }
    }
    table_put(&t, "", out);
    table_fini(&t);
}

/* The tensor that lost most. */
static const json_t *worst_of(const json_t *report)
{
    const json_t *tensor, *worst = NULL;
    size_t i;

    json_array_foreach(json_object_get(report, "tensors"), i,
                       tensor) if (!worst || number_of(tensor, "rms_error") >
                                                 number_of(worst, "rms_error")) worst = tensor;
    return worst && number_of(worst, "rms_error") > 0 ? worst : NULL;
}

static void put_summary(const json_t *report, struct buf *out)
{
    const json_t *worst = worst_of(report);
    double bytes = number_of(report, "bytes"), values = number_of(report, "parameters");

    put_bytes(out, (uint64_t)number_of(report, "bytes_before"));
    buf_puts(out, " of weights became ");
    put_bytes(out, (uint64_t)bytes);
    buf_printf(out, ": %.2f bits a weight\n", values > 0 ? 8 * bytes / values : 0);
    if (!worst)
        return;
    buf_printf(out, "largest error: %.5f (%s, ", number_of(worst, "rms_error"),
               text_of(worst, "to"));
    screen_put_line(out, str_of(text_of(worst, "name")));
    buf_puts(out, ")\n");
}

static int show(const struct quantize *o, const struct buf *reply)
{
    static const struct json_limits limits = {TALK_REPLY_MAX, 8, 1u << 24};
    CLEANUP(buf) struct buf out = {.at = NULL};
    struct llmos_error err;
    json_t *report;

    buf_init(&out, TALK_REPLY_MAX);
    if (json_parse(&report, buf_str(reply), &limits, &err) < 0)
        return cli_error(&err);
    if (o->json) {
        buf_put(&out, reply->at, reply->len);
        buf_putc(&out, '\n');
    } else {
        if (o->tensors)
            put_tensors(report, &out);
        put_summary(report, &out);
    }
    json_decref(report);
    return cli_print_buf(&out);
}

/* ---- the work ---- */

struct work {
    const struct quantize *o;
    const char *model, *type;
    struct newfile to;
    int importance; /* descriptor; -1: none */
    struct vce_file files[2];
    unsigned file_count;
};

/* Of the files that the model is made from. */
static int source_bytes(const char *model, uint64_t *bytes, struct llmos_error *err)
{
    bool is_folder = hfopen_is_folder(model);
    struct hfopen folder;
    struct parts files;
    int rc = is_folder ? hfopen_open(&folder, model, err) : parts_open(&files, model, err);

    if (rc < 0)
        return fail_while(err, rc, "%s '%s'", is_folder ? "folder" : "model", model);
    *bytes = is_folder ? folder.bytes : files.bytes;
    if (is_folder)
        hfopen_close(&folder);
    else
        parts_close(&files);
    return 0;
}

static int open_files(struct work *w, const char *output, struct llmos_error *err)
{
    uint64_t bytes = 0;
    int rc = source_bytes(w->model, &bytes, err);

    if (rc < 0)
        return rc;
    if (w->o->imatrix) {
        w->importance = file_open_regular(w->o->imatrix, err);
        if (w->importance < 0)
            return fail_while(err, w->importance, "importance data '%s'", w->o->imatrix);
        w->files[w->file_count++] = (struct vce_file){
            .name = "importance data", .as = VCE_IMPORTANCE_FD, .fd = w->importance};
    }
    rc = newfile_open(&w->to, output, w->model, err);
    if (rc < 0)
        return rc;
    w->files[w->file_count++] =
        (struct vce_file){.name = "new model file",
                          .as = VCE_OUTPUT_FD,
                          .fd = w->to.fd,
                          .write_max_bytes = GROWTH_MAX * bytes + KEYS_BYTES};
    return 0;
}

static int make(struct work *w, struct buf *reply, struct llmos_error *err)
{
    struct talk_options room = w->o->room;
    struct message q = {.type = MESSAGE_QUANTIZE};
    struct talk t = {.worker = NULL};
    int rc;

    room.files = w->files;
    room.file_count = w->file_count;
    rc = talk_start(&t, w->model, PURPOSE_QUANTIZE, &room, err);
    q.quantize = (struct message_quantize){.type = str_of(w->type),
                                           .has_importance = w->importance >= 0,
                                           .requantize = w->o->requantize};
    if (rc == 0)
        rc = talk_ask(&t, &q, "quantizing", reply, err);
    talk_end(&t); /* and with it the last who could write */
    return rc == 0 ? newfile_keep(&w->to, err) : rc;
}

static int run(int argc, char **argv)
{
    struct quantize o = quantize_defaults;
    struct work w = {.o = &o, .to = {.fd = -1}, .importance = -1};
    CLEANUP(buf) struct buf reply = {.at = NULL};
    const struct mix *mix;
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_quantize, &o, argc, argv, &rest, &code))
        return code;
    w.model = rest.at[0];
    w.type = rest.at[2];
    if (mix_by_name(&mix, str_of(w.type), &err) < 0) {
        cli_error(&err);
        return EXIT_USAGE;
    }
    buf_init(&reply, TALK_REPLY_MAX);
    halt_catch();
    if (open_files(&w, rest.at[1], &err) < 0 || make(&w, &reply, &err) < 0)
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    else
        code = show(&o, &reply);
    newfile_drop(&w.to);
    if (w.importance >= 0)
        close(w.importance);
    return code;
}

const struct cli_verb cli_quantize = {"quantize", &quantize_command, run};
