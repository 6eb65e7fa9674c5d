/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_classify.c - llmos classify: a label for each line, or for each token of it */
#include "base/jsontext.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/encode.h"
#include "cli/halt.h"

struct classify {
    bool pair;
    struct encode_options encode;
};

static const struct classify classify_defaults = {.pair = false};

static const struct opt classify_options[] = {
    OPT_GROUP("Labels"),
    ENCODE_SCORE_OPTIONS(struct classify, encode),
    OPT_FLAG(0, "pair", struct classify, pair,
             "each line is two texts with a tab between them, for models that judge pairs"),
    ENCODE_TEXT_OPTIONS(struct classify, encode),
    ENCODE_MODEL_OPTIONS(struct classify, encode),
    TALK_ROOM_OPTIONS(struct classify, encode.room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command classify_command = {
    .name = "llmos classify",
    .summary = "label lines of text with a classifier",
    .operands = "MODEL",
    .operand_why = "a model file or folder",
    .operands_min = 1,
    .operands_max = 1,
    .description =
        "MODEL is an encoder that was trained to tell kinds of texts, or of words, apart, and "
        "has names for them.\n\n" ENCODE_ABOUT_LINES
        "\n\nFor each a line is printed, in the order of the input, one JSON object:\n\n"
        "  {\"index\":0,\"label\":\"login\",\"scores\":{\"login\":0.97,\"policy\":0.03}}\n\n"
        "'label' is the one with the highest score; 'scores' has all, in the order of the model. "
        "Scores are shares of 1 (softmax), and of a model with one label a number from 0 to 1 "
        "(sigmoid): so it is with models that rerank. See --scores. Of a model that labels "
        "words the object is\n\n"
        "  "
        "{\"index\":0,\"tokens\":[{\"token\":\"Ada\",\"label\":\"B-PER\",\"score\":0.99},...]}\n\n"
        "with the tokens of the text as the model's vocabulary has them, spaces included, its own "
        "marks left out. " ENCODE_ABOUT_CUT
        " Of a pair it is the second text that is cut. Keys may "
        "be added, none will change.\n\n" ENCODE_ABOUT_EXIT,
    .examples = "llmos classify tickets.gguf < tickets.txt > labels.jsonl\n"
                "printf 'It rains.\\tThe street is wet.\\n' | llmos classify nli.gguf --pair",
    .see_also = "llmos-embed(1), llmos-rerank(1), llmos-convert(1)",
    .options = classify_options,
    .defaults = &classify_defaults,
};

struct output {
    const struct classify *options;
    const struct message_ready *model;
    double *scores; /* of a row */
    struct buf line;
    int code; /* of a write that failed */
};

/* The scores of a row, and which is highest. */
static uint32_t judge(struct output *o, const float *values)
{
    uint32_t best = 0, count = o->model->label_count;

    encode_scores(values, count, o->options->encode.scores, o->scores);
    for (uint32_t i = 1; i < count; i++)
        if (o->scores[i] > o->scores[best])
            best = i;
    return best;
}

static void put_scores(struct output *o, const struct encoded *e)
{
    uint32_t best = judge(o, e->values);

    buf_puts(&o->line, ",\"label\":");
    json_put_string(&o->line, o->model->labels[best]);
    buf_puts(&o->line, ",\"scores\":{");
    for (uint32_t i = 0; i < o->model->label_count; i++) {
        buf_puts(&o->line, i ? "," : "");
        json_put_string(&o->line, o->model->labels[i]);
        buf_putc(&o->line, ':');
        json_put_number(&o->line, o->scores[i]);
    }
    buf_putc(&o->line, '}');
}

static void put_tokens(struct output *o, const struct encoded *e)
{
    const char *parted = "";

    buf_puts(&o->line, ",\"tokens\":[");
    for (uint32_t i = 0; i < e->rows; i++) {
        uint32_t best;

        if (e->pieces[i].len == 0) /* a mark of the model's own */
            continue;
        best = judge(o, e->values + (size_t)i * e->width);
        buf_printf(&o->line, "%s{\"token\":", parted);
        json_put_string(&o->line, e->pieces[i]);
        buf_puts(&o->line, ",\"label\":");
        json_put_string(&o->line, o->model->labels[best]);
        buf_puts(&o->line, ",\"score\":");
        json_put_number(&o->line, o->scores[best]);
        buf_putc(&o->line, '}');
        parted = ",";
    }
    buf_putc(&o->line, ']');
}

static int put_labels(void *cookie, const struct encoded *e, struct llmos_error *err)
{
    struct output *o = cookie;

    buf_printf(&o->line, "{\"index\":%llu", (unsigned long long)e->index);
    encode_put_cut(&o->line, &o->options->encode, e->cut);
    if (o->model->classifier == CLASSIFIER_TOKEN)
        put_tokens(o, e);
    else
        put_scores(o, e);
    buf_puts(&o->line, "}\n");
    return encode_print(&o->line, &o->code, err);
}

/* Has the model labels, and can they be keys of an object? */
static int check_labels(const struct talk *t, struct llmos_error *err)
{
    const struct message_ready *r = &t->ready;

    if (r->classifier == CLASSIFIER_NONE)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "model '%s' (%s) has no classifier: it has no labels to choose from; llmos "
                    "embed makes vectors of texts with it",
                    t->path, t->architecture);
    for (uint32_t i = 0; i < r->label_count; i++)
        for (uint32_t j = 0; j < i; j++)
            if (str_eq(r->labels[i], r->labels[j]))
                return fail(err, LLMOS_EFORMAT,
                            "model '%s': labels %u and %u have the same name, they cannot be told "
                            "apart",
                            t->path, j, i);
    return 0;
}

static int classify(struct talk *t, const char *model_path, struct output *o,
                    struct llmos_error *err)
{
    const struct encode_job job = {.how = {.kind = ENCODE_CLASSIFY,
                                           .cuts = o->options->encode.truncate,
                                           .input = o->options->pair ? ENCODE_PAIR : ENCODE_TEXT},
                                   .what = "classifying",
                                   .sink = put_labels,
                                   .cookie = o};
    int rc = talk_start(t, model_path, PURPOSE_ENCODE, &o->options->encode.room, err);

    if (rc == 0)
        rc = check_labels(t, err);
    if (rc < 0)
        return rc;
    o->model = &t->ready;
    o->scores = mem_zalloc(t->ready.label_count, sizeof(double));
    if (!o->scores)
        return fail(err, LLMOS_ENOMEM, "no memory for %u scores", t->ready.label_count);
    return encode_lines(t, &job, err);
}

static int run(int argc, char **argv)
{
    struct classify o = classify_defaults;
    struct output out = {.options = &o};
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_classify, &o, argc, argv, &rest, &code))
        return code;
    buf_init(&out.line, TALK_REPLY_MAX);
    halt_catch();
    code = classify(&t, rest.at[0], &out, &err) < 0 ? encode_failed(out.code, &err) : EXIT_OK;
    talk_end(&t);
    mem_free(out.scores);
    buf_fini(&out.line);
    return code;
}

const struct cli_verb cli_classify = {"classify", &classify_command, run};
