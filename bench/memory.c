/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - what many VCEs of one model cost together: weights once, and what each has of its own.
 *
 *     memory [OPTIONS] MODEL
 *
 * Starts engines as llmosd does, asks each once so that everything is in use, and adds up what the
 * kernel says of them (smaps_rollup): Pss counts a page that n processes share as one n-th to each,
 * so its sum is the memory that all need together.  Beside it what the engines announced before the
 * fact: weights, KV cache, scratch. */
#include "quantile.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/opt.h"
#include "cli/table.h"
#include "sched/worker.h"

#include <stdio.h>

#define ENGINES_MAX  256
#define ASKED_TOKENS 16
#define FIRST_TOKEN  3 /* behind <unk>, <s>, </s> */
#define NEW_TOKENS   4
#define ANSWER_MS    120000
#define REPORT_MAX   (1u << 20)

struct options {
    uint32_t engines, context, sessions, threads;
    bool json;
};

static const struct options defaults = {.engines = 10, .sessions = 1, .threads = 1};

static const struct opt option_table[] = {
    OPT_U32('n', "engines", struct options, engines, "N", 1, ENGINES_MAX, "engines at once"),
    OPT_U32(0, "context", struct options, context, "N", 0, 1u << 24, "longest sequence in tokens",
            .default_text = "as the model says"),
    OPT_U32(0, "sessions", struct options, sessions, "N", 1, 1024, "sequences of each engine"),
    OPT_U32('t', "threads", struct options, threads, "N", 1, 1024, "threads of each engine"),
    OPT_FLAG('j', "json", struct options, json, "print one JSON object"),
    OPT_END,
};

static const struct opt_command command = {
    .name = "memory",
    .summary = "measure the memory of many VCEs of one model",
    .operands = "MODEL",
    .operand_why = "a model file",
    .operands_min = 1,
    .operands_max = 1,
    .description = "Prints what all engines take together (sum of Pss) against what one file of "
                   "weights and their caches need, and what one of them has for itself.",
    .examples = "memory model.gguf --engines 10 --context 512",
    .options = option_table,
    .defaults = &defaults,
};

struct engine {
    struct worker *worker;
    struct message_ready ready;
    double pss, rss, own; /* bytes; own: private, clean or dirty */
};

/* ---- start and ask ---- */

static int next(struct engine *e, struct message *m, struct llmos_error *err)
{
    int rc = worker_receive(e->worker, m, ANSWER_MS, err);

    if (rc == 0)
        return fail(err, LLMOS_EIO, "an engine has said nothing for %d seconds", ANSWER_MS / 1000);
    if (rc == 1 && m->type == MESSAGE_ERROR)
        return fail(err, m->error.code, "%.*s", STR_ARG(m->error.text));
    return rc;
}

static int start(struct engine *e, const struct options *o, const char *path,
                 struct llmos_error *err)
{
    struct worker_options w = {.name = "memory",
                               .model_path = path,
                               .setup = {.purpose = PURPOSE_RUN,
                                         .threads = o->threads,
                                         .context_tokens = o->context,
                                         .sessions_max = o->sessions}};
    struct message m;
    int rc = worker_start(&e->worker, &w, err);

    if (rc == 0)
        rc = next(e, &m, err);
    if (rc < 0)
        return rc;
    e->ready = m.ready; /* READY comes first; its texts are not used */
    return 0;
}

static int ask(struct engine *e, struct llmos_error *err)
{
    int32_t tokens[ASKED_TOKENS];
    struct message m = {.type = MESSAGE_GENERATE,
                        .id = 1,
                        .generate = {.prompt_kind = PROMPT_TOKENS,
                                     .tokens = tokens,
                                     .count = ASKED_TOKENS,
                                     .max_tokens = NEW_TOKENS,
                                     .ignore_eos = true,
                                     .top_p = 1,
                                     .repeat_penalty = 1}};
    int rc;

    for (int i = 0; i < ASKED_TOKENS; i++)
        tokens[i] = FIRST_TOKEN + i;
    rc = worker_send(e->worker, &m, err);
    while (rc >= 0 && m.type != MESSAGE_DONE)
        rc = next(e, &m, err);
    return rc < 0 ? rc : 0;
}

/* ---- what the kernel says ---- */

/* "\nPss:   1234 kB" */
static double bytes_behind(const char *text, const char *key)
{
    const char *line = strstr(text, key);

    return line ? (double)strtoull(line + strlen(key), NULL, 10) * 1024 : 0;
}

static int look(struct engine *e, struct llmos_error *err)
{
    CLEANUP(buf) struct buf text = {.limit_bytes = 65536};
    char path[64];
    int rc;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)worker_vce(e->worker)->pid);
    rc = file_read(path, &text, err);
    if (rc < 0)
        return rc;
    e->pss = bytes_behind(buf_str(&text).at, "\nPss:");
    e->rss = bytes_behind(buf_str(&text).at, "\nRss:");
    e->own = bytes_behind(buf_str(&text).at, "\nPrivate_Clean:") +
             bytes_behind(buf_str(&text).at, "\nPrivate_Dirty:");
    if (e->pss == 0)
        return fail(err, LLMOS_EFORMAT, "'%s' does not say Pss", path);
    return 0;
}

/* ---- what comes out ---- */

struct sums {
    double pss, own, rss; /* of all; the median one's */
    double weights, kv, scratch;
    double needed; /* weights once and every cache */
    uint32_t engines;
};

static void add_up(struct sums *s, const struct engine *e, uint32_t count)
{
    double own[ENGINES_MAX], rss[ENGINES_MAX];

    *s = (struct sums){.engines = count,
                       .weights = (double)e->ready.weight_bytes,
                       .kv = (double)e->ready.kv_bytes,
                       .scratch = (double)e->ready.scratch_bytes};
    for (uint32_t i = 0; i < count; i++) {
        s->pss += e[i].pss;
        own[i] = e[i].own;
        rss[i] = e[i].rss;
    }
    s->own = quantile(own, count, 0.5);
    s->rss = quantile(rss, count, 0.5);
    s->needed = s->weights + s->kv * count;
}

static void put_json(struct buf *out, const struct sums *s)
{
    buf_printf(out,
               "{\"engines\": %u, \"weight_bytes\": %.0f, \"kv_bytes\": %.0f, "
               "\"scratch_bytes\": %.0f, \"pss_sum_bytes\": %.0f, \"weights_and_kv_bytes\": %.0f, "
               "\"ratio\": %.4f, \"private_bytes_median\": %.0f, \"rss_bytes_median\": %.0f}\n",
               s->engines, s->weights, s->kv, s->scratch, s->pss, s->needed, s->pss / s->needed,
               s->own, s->rss);
}

static void put_row(struct table *t, const char *what, double bytes)
{
    table_cell(t, str_of(what));
    table_cellf(t, "%.2f", bytes / (1 << 20));
    table_cell(t, STR("MiB"));
}

static void put_table(struct buf *out, const struct sums *s)
{
    struct table t;

    table_init(&t);
    table_column(&t, NULL, false);
    table_column(&t, "", true);
    table_column(&t, "", false);
    put_row(&t, "weights, of all together", s->weights);
    put_row(&t, "KV cache of each", s->kv);
    put_row(&t, "scratch of each", s->scratch);
    put_row(&t, "needed: weights and every KV cache", s->needed);
    put_row(&t, "taken: sum of Pss", s->pss);
    put_row(&t, "one engine's own (private, median)", s->own);
    put_row(&t, "of that not KV cache", s->own - s->kv);
    put_row(&t, "one engine's RSS, shared pages in it", s->rss);
    table_put(&t, "", out);
    table_fini(&t);
    buf_printf(out, "%u engines take %.3f of what weights and caches need\n", s->engines,
               s->pss / s->needed);
}

static int measure(const struct options *o, const char *path, struct engine *engines,
                   struct buf *out, struct llmos_error *err)
{
    struct sums s;
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < o->engines; i++) {
        rc = start(&engines[i], o, path, err);
        if (rc == 0)
            rc = ask(&engines[i], err);
    }
    for (uint32_t i = 0; rc == 0 && i < o->engines; i++)
        rc = look(&engines[i], err);
    if (rc < 0)
        return rc;
    add_up(&s, engines, o->engines);
    (o->json ? put_json : put_table)(out, &s);
    return buf_check(out, "the report", err);
}

/* The programs of the same build, unless another folder is named. */
static void look_beside(void)
{
    char folder[4096], *slash;
    ssize_t n = readlink("/proc/self/exe", folder, sizeof(folder) - 4);

    if (n <= 0)
        return;
    folder[n] = '\0';
    slash = strrchr(folder, '/');
    strcpy(slash, "/..");
    setenv("LLMOS_LIBEXEC", folder, 0);
}

int main(int argc, char **argv)
{
    CLEANUP(buf) struct buf text = {.limit_bytes = REPORT_MAX};
    static struct engine engines[ENGINES_MAX];
    struct options o = defaults;
    struct llmos_error err;
    struct opt_rest rest;
    int rc = opt_parse(&command, &o, argc, argv, &rest, &err);

    if (rc > OPT_GO) {
        opt_show(&text, &command, (enum opt_result)rc, OPT_WIDTH_PLAIN, "");
        fputs(buf_str(&text).at, stdout);
        return 0;
    }
    if (rc < 0) {
        fprintf(stderr, "memory: %s\n", err.text);
        return OPT_EXIT_USAGE;
    }
    look_beside();
    rc = measure(&o, rest.at[0], engines, &text, &err);
    for (uint32_t i = 0; i < o.engines; i++)
        worker_destroy(engines[i].worker);
    if (rc < 0)
        fprintf(stderr, "memory: %s\n", err.text);
    else
        fputs(text.at, stdout);
    return rc < 0 ? 1 : 0;
}
