/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_rerank.c - llmos rerank: lines in the order in which they answer a question */
#include "base/jsontext.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/encode.h"
#include "cli/halt.h"

#include <stdlib.h>

#define TEXTS_BYTES_MAX (256u << 20) /* of all lines: they are kept until the last is scored */

struct rerank {
    uint32_t top;
    bool raw;
    struct encode_options encode;
};

static const struct rerank rerank_defaults = {.top = 0};

static const struct opt rerank_options[] = {
    OPT_GROUP("Lines"),
    OPT_U32('n', "top", struct rerank, top, "N", 1, UINT32_MAX, "print only the best N lines",
            .default_text = "all"),
    OPT_FLAG(0, "raw", struct rerank, raw,
             "scores are the model's own numbers; else they lie between 0 and 1"),
    ENCODE_TEXT_OPTIONS(struct rerank, encode),
    ENCODE_MODEL_OPTIONS(struct rerank, encode),
    TALK_ROOM_OPTIONS(struct rerank, encode.room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command rerank_command = {
    .name = "llmos rerank",
    .summary = "sort lines of text by how well they answer",
    .operands = "MODEL QUERY",
    .operand_why = "a model file or folder and a question",
    .operands_min = 2,
    .operands_max = 2,
    .description =
        "MODEL is an encoder that was trained to tell how well a text answers a question; it reads "
        "both together.\n\n" ENCODE_ABOUT_LINES " All of them together may have 256 MiB.\n\n"
        "When the last is scored the lines are printed, the best first, each as one JSON "
        "object:\n\n"
        "  {\"index\":3,\"score\":0.93,\"text\":\"Your parcel is in the hall.\"}\n\n"
        "Lines of the same score stay in the order of the input. Scores are what the sigmoid makes "
        "of the model's number. In 'text', bytes that are no UTF-8 become U+FFFD. " ENCODE_ABOUT_CUT
        " The question is never cut. Keys may be added, none will change.\n\n" ENCODE_ABOUT_EXIT,
    .examples = "llmos rerank reranker.gguf 'Where is my parcel?' --top 3 < answers.txt",
    .see_also = "llmos-embed(1), llmos-classify(1), llmos-convert(1)",
    .options = rerank_options,
    .defaults = &rerank_defaults,
};

struct ranked {
    uint64_t index;
    double score;
    struct str text;
    uint32_t cut;
};

struct list {
    const struct rerank *options;
    struct arena texts;
    struct ranked *at;
    size_t count, room;
};

static int keep(void *cookie, const struct encoded *e, struct llmos_error *err)
{
    struct list *l = cookie;
    struct ranked *to;
    char *text;

    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 256;
        struct ranked *grown = mem_resize(l->at, room, sizeof(*grown));

        if (!grown)
            return fail(err, LLMOS_ENOMEM, "no memory for %zu lines", room);
        l->at = grown;
        l->room = room;
    }
    text = arena_strndup(&l->texts, e->text.at, e->text.len);
    if (!text)
        return fail(err, LLMOS_ELIMIT,
                    "the lines have more than %u MiB, or there is no memory for them; try fewer",
                    TEXTS_BYTES_MAX >> 20);
    to = &l->at[l->count++];
    *to = (struct ranked){.index = e->index, .text = {text, e->text.len}, .cut = e->cut};
    encode_scores(e->values, 1, l->options->raw ? "raw" : "sigmoid", &to->score);
    return 0;
}

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int print(struct list *l)
{
    CLEANUP(buf) struct buf line = {.at = NULL};
    size_t count = l->options->top && l->options->top < l->count ? l->options->top : l->count;
    int code = EXIT_OK;

    buf_init(&line, TALK_REPLY_MAX);
    if (l->count)
        qsort(l->at, l->count, sizeof(*l->at), by_score);
    for (size_t i = 0; i < count && code == EXIT_OK; i++) {
        const struct ranked *r = &l->at[i];

        buf_printf(&line, "{\"index\":%llu", (unsigned long long)r->index);
        encode_put_cut(&line, &l->options->encode, r->cut);
        buf_puts(&line, ",\"score\":");
        json_put_number(&line, r->score);
        buf_puts(&line, ",\"text\":");
        json_put_string(&line, r->text);
        buf_puts(&line, "}\n");
        code = cli_print_buf(&line);
        buf_clear(&line);
    }
    return code;
}

static int check_model(const struct talk *t, struct llmos_error *err)
{
    const struct message_ready *r = &t->ready;

    if (r->classifier != CLASSIFIER_NONE && r->classifier != CLASSIFIER_TOKEN &&
        r->label_count == 1)
        return 0;
    return fail(err, LLMOS_EUNSUPPORTED,
                "model '%s' (%s) is no reranker: it does not give a pair of texts one score%s",
                t->path, t->architecture,
                r->classifier == CLASSIFIER_NONE ? "; llmos embed makes vectors of texts with it"
                                                 : "; llmos classify labels texts with it");
}

static int rank(struct talk *t, const char *model_path, const char *query, struct list *l,
                struct llmos_error *err)
{
    const struct encode_job job = {.how = {.kind = ENCODE_CLASSIFY,
                                           .cuts = l->options->encode.truncate,
                                           .input = ENCODE_PAIR,
                                           .text = str_of(query)},
                                   .what = "ranking",
                                   .sink = keep,
                                   .cookie = l};
    int rc = talk_start(t, model_path, PURPOSE_ENCODE, &l->options->encode.room, err);

    if (rc == 0)
        rc = check_model(t, err);
    return rc < 0 ? rc : encode_lines(t, &job, err);
}

static int run(int argc, char **argv)
{
    struct rerank o = rerank_defaults;
    struct list l = {.options = &o};
    struct talk t = {.worker = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_rerank, &o, argc, argv, &rest, &code))
        return code;
    arena_init(&l.texts, TEXTS_BYTES_MAX);
    halt_catch();
    code =
        rank(&t, rest.at[0], rest.at[1], &l, &err) < 0 ? encode_failed(EXIT_OK, &err) : print(&l);
    talk_end(&t);
    arena_fini(&l.texts);
    mem_free(l.at);
    return code;
}

const struct cli_verb cli_rerank = {"rerank", &rerank_command, run};
