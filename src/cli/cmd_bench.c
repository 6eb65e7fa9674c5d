/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_bench.c - llmos bench: how fast is a model on this machine, how near to what the machine can
 * do, and how fast beside others */
#include "base/file.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/mem.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/halt.h"
#include "cli/peer.h"
#include "cli/speed.h"
#include "cli/standin.h"
#include "cli/talk.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define POINTS_MAX 32
#define REPORT_MAX (1u << 20)

struct bench {
    bool json;
    uint32_t prompt, generate, repeat, depth, sequences, peer_timeout;
    const char *shape, *type, *keep, *peer_args, *csv, *sweep, *svg;
    struct opt_list peers;
    struct ask_options form;
    struct talk_options room;
};

static const struct bench bench_defaults = {
    .prompt = 512, .generate = 128, .repeat = 5, .sequences = 1, .peer_timeout = 600};

static const struct opt bench_options[] = {
    OPT_GROUP("Work"),
    OPT_U32('p', "prompt", struct bench, prompt, "N", 0, 1u << 20, "tokens to read; 0: none"),
    OPT_U32('g', "generate", struct bench, generate, "N", 0, 1u << 20, "tokens to make; 0: none"),
    OPT_U32('d', "depth", struct bench, depth, "N", 0, 1u << 24,
            "tokens of context that stand before either"),
    OPT_U32('n', "sequences", struct bench, sequences, "N", 1, 256,
            "sequences that are computed side by side; speeds are of all together"),
    OPT_U32('r', "repeat", struct bench, repeat, "N", 1, 1000,
            "runs; the figures are their medians"),
    OPT_STRING(0, "sweep", struct bench, sweep, "WHAT",
               "measure several points: 1 to all threads, 1 to 16 sequences (batch), or 512 to "
               "32768 tokens of context as far as model and memory allow",
               .choices = "threads|batch|context", .default_text = ""),
    OPT_STRING(0, "json-schema", struct bench, form.json_schema, "FILE|JSON",
               "make JSON that is valid for this schema, one text after the other",
               .default_text = ""),
    OPT_STRING(0, "grammar", struct bench, form.grammar, "FILE",
               "make texts of this grammar (GBNF)", .default_text = ""),
    OPT_GROUP("A model made for measuring"),
    OPT_STRING('s', "shape", struct bench, shape, "NAME",
               "make a model of this size with random weights instead of MODEL: tiny, 135m, 0.5b, "
               "1b",
               .default_text = ""),
    OPT_STRING(0, "type", struct bench, type, "TYPE",
               "number type of its weights, like q8_0, q4_0, f16, or the mix q4_k_m",
               .default_text = "q8_0"),
    OPT_STRING(0, "keep", struct bench, keep, "FILE", "keep it as this file", .default_text = ""),
    OPT_GROUP("Comparison"),
    OPT_LIST(0, "peer", struct bench, peers, "[NAME=]PATH",
             "run this llama-bench (of llama.cpp or ik_llama.cpp) in turn with us; it runs with "
             "your rights, outside any VCE"),
    OPT_STRING(0, "peer-args", struct bench, peer_args, "WORDS",
               "more options for it, parted by blanks, like '-fa 1'", .default_text = ""),
    OPT_U32(0, "peer-timeout", struct bench, peer_timeout, "SECONDS", 1, 86400,
            "end a run of it that takes longer"),
    OPT_GROUP("Output"),
    OPT_FLAG('j', "json", struct bench, json, "print JSON: one object, or a list for a sweep"),
    OPT_STRING(0, "csv", struct bench, csv, "FILE", "append a line for each measurement",
               .default_text = ""),
    OPT_STRING(0, "svg", struct bench, svg, "FILE", "draw a sweep", .default_text = ""),
    TALK_MODEL_OPTIONS(struct bench, room),
    TALK_ROOM_OPTIONS(struct bench, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command bench_command = {
    .name = "llmos bench",
    .summary = "measure the speed of a model",
    .operands = "[MODEL]",
    .operand_why = "a model file",
    .operands_min = 0,
    .operands_max = 1,
    .description =
        "Reads a prompt of made-up tokens and makes tokens, several times, in a VCE as always, and "
        "prints tokens per second, the time to the first token, the time to load, and the memory "
        "used. Prefill (reading) and decode (making) are measured apart, both behind --depth "
        "tokens, as llama-bench does."
        "\n\n"
        "It measures too what the machine can do with the same threads: how many operations a "
        "second, and, between steps of decoding, how fast memory is read. Decode is shown as a "
        "share of the reading that its weights need, prefill as a share of the operations of its "
        "linear layers.",
    .examples = "llmos bench model.gguf\n"
                "llmos bench --shape 1b --type q4_k_m --threads 4 --csv results.csv\n"
                "llmos bench model.gguf --peer llama.cpp/build/bin/llama-bench\n"
                "llmos bench --shape 135m --sweep threads --svg threads.svg",
    .see_also = "llmos-run(1), llmos-inspect(1)",
    .options = bench_options,
    .defaults = &bench_defaults,
};

/* What is measured, as the options and the sweep say. */
struct work {
    const struct bench *o;
    const char *path, *name; /* of the model */
    const char *type;        /* of one that was made */
    struct peer peers[PEERS_MAX];
    unsigned peer_count;
    struct message_bench want;
    uint32_t threads;         /* 0: all */
    uint32_t context_trained; /* known after the first point */
};

/* ---- medians ---- */

/* What is measured in every round.  The limits are, too, and shares are of the same round's:
 * whatever else the machine does then disturbs both. */
static const char *const keys[] = {
    "prefill_tokens_per_second",  "decode_tokens_per_second",  "time_to_first_token_ms",
    "limit_read_gb_per_second",   "limit_int8_gop_per_second", "limit_bf16_gflop_per_second",
    "limit_f32_gflop_per_second", "prefill_share_of_compute",  "decode_share_of_read"};
enum { PREFILL, DECODE, KEYS = sizeof(keys) / sizeof(keys[0]) };

/* Of ourselves and of each peer, round by round; 0: not measured. */
struct samples {
    double *at; /* [1 + PEERS_MAX][KEYS][repeat] */
    uint32_t repeat;
};

static double *samples_of(const struct samples *s, unsigned who, unsigned key)
{
    return s->at + ((size_t)who * KEYS + key) * s->repeat;
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median_of(const struct samples *s, unsigned who, unsigned key)
{
    double *v = samples_of(s, who, key);
    uint32_t n = s->repeat;

    qsort(v, n, sizeof(*v), by_number);
    return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

static int put_real(json_t *object, const char *key, double v, struct llmos_error *err)
{
    if (v > 0 && json_object_set_new(object, key, json_real(v)) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for the result");
    return 0;
}

static int put_text(json_t *object, const char *key, const char *v, struct llmos_error *err)
{
    /* A name may be any bytes; what is not UTF-8 is refused by the library. */
    if (json_object_set_new(object, key, json_string(v)) < 0 &&
        json_object_set_new(object, key, json_string("?")) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for the result");
    return 0;
}

/* ---- one point ---- */

static int ask_engine(struct talk *t, const struct message_bench *want, json_t **result,
                      struct llmos_error *err)
{
    static const struct json_limits limits = {REPORT_MAX, 8, 1u << 12};
    struct message q = {.type = MESSAGE_BENCH, .bench = *want};
    CLEANUP(buf) struct buf json = {.at = NULL};
    int rc;

    buf_init(&json, limits.bytes_max);
    rc = talk_ask(t, &q, "measuring", &json, err);
    if (rc < 0)
        return rc;
    rc = json_parse(result, buf_str(&json), &limits, err);
    if (rc < 0)
        return fail_while(err, rc, "what the engine measured");
    if (json_is_object(*result))
        return 0;
    json_decref(*result);
    return fail(err, LLMOS_EFORMAT, "what the engine measured is a list");
}

/* The last report becomes the point. */
static int ask_ourselves(const struct work *w, struct talk *t, uint32_t round, json_t **point,
                         struct samples *s, struct llmos_error *err)
{
    json_t *report;
    int rc = ask_engine(t, &w->want, &report, err);

    if (rc < 0)
        return rc;
    json_decref(*point);
    *point = report;
    if (json_object_set_new(report, "packed", json_boolean(t->ready.packing == PACKING_USED)) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for a result");
    rc = speed_add_shares(report, err);
    for (unsigned k = 0; k < KEYS; k++)
        samples_of(s, 0, k)[round] = json_number_value(json_object_get(report, keys[k]));
    return rc;
}

static int ask_peers(const struct work *w, const struct talk *t, uint32_t round, struct samples *s,
                     struct peer_speed *last, struct llmos_error *err)
{
    char first[PATH_MAX]; /* others do not look for the first part of a model */
    const struct peer_job job = {.model_path = first,
                                 .args = w->o->peer_args,
                                 .prompt = w->want.prompt,
                                 .generate = w->want.generate,
                                 .depth = w->want.depth,
                                 .threads = t->ready.threads,
                                 .timeout_seconds = w->o->peer_timeout};
    int rc = parts_first(w->path, first, sizeof(first), err);

    for (unsigned i = 0; rc == 0 && i < w->peer_count; i++) {
        rc = peer_run(&w->peers[i], &job, &last[i], err);
        if (rc < 0)
            return rc;
        samples_of(s, i + 1, PREFILL)[round] = last[i].prefill;
        samples_of(s, i + 1, DECODE)[round] = last[i].decode;
    }
    return rc;
}

static int put_peers(const struct work *w, json_t *point, const struct samples *s,
                     const struct peer_speed *last, struct llmos_error *err)
{
    static const char *const ratio_keys[] = {"prefill_ratio", "decode_ratio"};
    json_t *list = json_array();
    int rc = 0;

    if (json_object_set_new(point, "peers", list) < 0)
        return fail(err, LLMOS_ENOMEM, "no memory for the result");
    for (unsigned i = 0; rc == 0 && i < w->peer_count; i++) {
        json_t *peer = json_object();

        if (json_array_append_new(list, peer) < 0)
            return fail(err, LLMOS_ENOMEM, "no memory for the result");
        rc = put_text(peer, "name", w->peers[i].name, err);
        if (rc == 0)
            rc = put_text(peer, "version", last[i].version, err);
        for (unsigned k = PREFILL; rc == 0 && k <= DECODE; k++) {
            double ours = json_number_value(json_object_get(point, keys[k]));
            double theirs = median_of(s, i + 1, k);

            rc = put_real(peer, keys[k], theirs, err);
            if (rc == 0)
                rc = put_real(peer, ratio_keys[k], theirs > 0 ? ours / theirs : 0, err);
        }
    }
    return rc;
}

static int complete(const struct work *w, const struct talk *t, json_t *point,
                    const struct samples *s, const struct peer_speed *last, struct llmos_error *err)
{
    char cpu[128];
    int rc = 0;

    machine_cpu_name("", cpu, sizeof(cpu));
    for (unsigned k = 0; rc == 0 && k < KEYS; k++)
        rc = put_real(point, keys[k], median_of(s, 0, k), err);
    if (rc == 0)
        rc = put_text(point, "file", w->name, err);
    if (rc == 0 && w->o->shape) /* of a mix the engine names the type that most bytes have */
        rc = put_text(point, "file_type", w->type, err);
    if (rc == 0)
        rc = put_text(point, "cpu", cpu, err);
    if (rc == 0)
        rc = put_text(point, "version", cli_commit, err);
    if (rc == 0 &&
        (json_object_set_new(point, "repeat", json_integer(w->o->repeat)) < 0 ||
         /* What the engine says of itself is completed by what is seen from outside. */
         json_object_set_new(point, "memory_bytes",
                             json_integer((json_int_t)worker_memory_bytes(t->worker))) < 0))
        rc = fail(err, LLMOS_ENOMEM, "no memory for the result");
    return rc < 0 || !w->peer_count ? rc : put_peers(w, point, s, last, err);
}

static int run_rounds(const struct work *w, struct talk *t, json_t **point, struct llmos_error *err)
{
    struct samples s = {.repeat = w->o->repeat};
    struct peer_speed last[PEERS_MAX];
    int rc = 0;

    s.at = mem_zalloc((size_t)(1 + PEERS_MAX) * KEYS * s.repeat, sizeof(*s.at));
    if (!s.at)
        return fail(err, LLMOS_ENOMEM, "no memory for %u runs", s.repeat);
    for (uint32_t round = 0; rc == 0 && round < s.repeat; round++) {
        rc = ask_ourselves(w, t, round, point, &s, err);
        if (rc == 0)
            rc = ask_peers(w, t, round, &s, last, err);
    }
    if (rc == 0)
        rc = complete(w, t, *point, &s, last, err);
    mem_free(s.at);
    return rc;
}

/* An engine of its own, with no more memory than the work asks for unless the user says so. */
static int measure_point(struct work *w, json_t *points, struct llmos_error *err)
{
    struct talk_options room = w->o->room;
    struct talk t = {.worker = NULL};
    uint32_t most = w->want.prompt > w->want.generate ? w->want.prompt : w->want.generate;
    json_t *point = NULL;
    int rc;

    room.threads = w->threads;
    room.sequences = w->want.sequences;
    room.name = w->o->shape;
    if (!room.context)
        room.context = (w->want.depth ? w->want.depth : 1) + most + 1;
    rc = talk_start(&t, w->path, PURPOSE_RUN, &room, err);
    if (rc == 0) {
        w->context_trained = t.ready.context_trained;
        rc = run_rounds(w, &t, &point, err);
    }
    talk_end(&t);
    if (rc < 0)
        json_decref(point);
    else if (json_array_append_new(points, point) < 0)
        rc = fail(err, LLMOS_ENOMEM, "no memory for the result");
    return rc;
}

/* ---- several points ---- */

/* The values of a sweep; the count. */
static unsigned sweep_values(const char *name, uint32_t values[POINTS_MAX])
{
    static const uint32_t depths[] = {512, 2048, 8192, 32768};
    uint32_t cpus = machine_cpus();
    unsigned n = 0;

    if (strcmp(name, "context") == 0) {
        memcpy(values, depths, sizeof(depths));
        return sizeof(depths) / sizeof(depths[0]);
    }
    if (strcmp(name, "batch") == 0) {
        for (uint32_t v = 1; v <= 16; v *= 2)
            values[n++] = v;
        return n;
    }
    /* Where there are many, doubling shows the curve as well. */
    for (uint32_t v = 1; v < cpus; v += cpus <= 16 ? 1 : v)
        values[n++] = v;
    values[n++] = cpus;
    return n;
}

static void set_value(struct work *w, const char *sweep, uint32_t value)
{
    if (strcmp(sweep, "threads") == 0)
        w->threads = value;
    else if (strcmp(sweep, "batch") == 0)
        w->want.sequences = value;
    else
        w->want.depth = value;
}

/* What memory or model do not allow ends a sweep, but does not spoil it. */
static int sweep(struct work *w, json_t *points, struct llmos_error *err)
{
    uint32_t values[POINTS_MAX];
    unsigned n = sweep_values(w->o->sweep, values);

    for (unsigned i = 0; i < n; i++) {
        int rc;

        set_value(w, w->o->sweep, values[i]);
        if (json_array_size(points) > 0 && w->want.depth > w->context_trained) {
            fprintf(stderr,
                    "llmos: the model was trained with %u tokens, the sweep ends before %u\n",
                    w->context_trained, w->want.depth);
            return 0;
        }
        rc = measure_point(w, points, err);
        if (rc == LLMOS_ENOMEM && json_array_size(points) > 0) {
            fprintf(stderr, "llmos: the sweep ends before %u: %s\n", values[i], err->text);
            return 0;
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- peers ---- */

/* Leaves out, aloud, whom this measurement is not possible with. */
static int choose_peers(struct work *w, struct llmos_error *err)
{
    const struct bench *o = w->o;
    bool is_batch = o->sequences > 1 || (o->sweep && strcmp(o->sweep, "batch") == 0);
    bool has_depth = o->depth > 0 || (o->sweep && strcmp(o->sweep, "context") == 0);

    if (o->peers.count > PEERS_MAX)
        return fail(err, LLMOS_EINVAL, "%u peers, at most %d are possible", o->peers.count,
                    PEERS_MAX);
    for (unsigned i = 0; i < o->peers.count; i++) {
        struct peer *p = &w->peers[w->peer_count];
        int rc = peer_init(p, o->peers.at[i], err);

        if (rc == 0 && has_depth && !is_batch)
            rc = peer_ask_depth(p, err);
        if (rc < 0)
            return rc;
        if (is_batch || (has_depth && p->depth == PEER_NO_DEPTH))
            fprintf(stderr, "llmos: peer '%s' cannot measure this and is left out\n", p->name);
        else
            w->peer_count++;
    }
    return 0;
}

/* ---- all of it ---- */

static int print(const struct bench *o, const json_t *points)
{
    CLEANUP(buf) struct buf out = {.at = NULL};

    buf_init(&out, 16 * REPORT_MAX);
    if (o->json) {
        char *text = json_dumps(o->sweep ? points : json_array_get(points, 0),
                                JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));

        out.bad = !text;
        buf_puts(&out, text ? text : "");
        buf_putc(&out, '\n');
        mem_free(text); /* json.c gave the library our allocator */
    } else if (o->sweep) {
        speed_put_sweep(points, speed_sweep(o->sweep), &out);
    } else {
        speed_put_point(json_array_get(points, 0), &out);
    }
    return cli_print_buf(&out);
}

static int draw(const struct bench *o, const json_t *points, struct llmos_error *err)
{
    CLEANUP(buf) struct buf svg = {.at = NULL};
    int rc;

    buf_init(&svg, REPORT_MAX);
    speed_put_plot(points, speed_sweep(o->sweep), &svg);
    rc = buf_check(&svg, "the picture", err);
    return rc < 0 ? rc : file_replace(o->svg, buf_str(&svg), err);
}

/* Everything is written that can be: what was measured took long. */
static int show(const struct bench *o, const json_t *points)
{
    struct llmos_error err;
    int code = print(o, points);

    if (o->csv && speed_append_csv(o->csv, points, &err) < 0)
        code = cli_error(&err);
    if (o->svg && draw(o, points, &err) < 0)
        code = cli_error(&err);
    return code;
}

static int check_words(const struct bench *o, const struct opt_rest *rest, struct llmos_error *err)
{
    if (rest->count == 0 && !o->shape)
        return fail(err, LLMOS_EINVAL,
                    "a model file is missing: llmos bench MODEL, or llmos bench --shape NAME");
    if (rest->count > 0 && o->shape)
        return fail(err, LLMOS_EINVAL, "a model file and --shape exclude each other");
    if (!o->shape && (o->type || o->keep))
        return fail(err, LLMOS_EINVAL, "--%s is of a model that --shape makes",
                    o->type ? "type" : "keep");
    if (o->svg && !o->sweep)
        return fail(err, LLMOS_EINVAL, "--svg draws a sweep: say which with --sweep");
    if ((o->form.grammar || o->form.json_schema) && (o->peers.count || o->generate == 0))
        return fail(err, LLMOS_EINVAL,
                    "a grammar is kept by what we generate; --peer and --generate 0 exclude it");
    if (o->prompt == 0 && o->generate == 0)
        return fail(err, LLMOS_EINVAL, "--prompt 0 and --generate 0 leave nothing to measure");
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static int measure(struct work *w, struct standin *s, const struct opt_rest *rest, json_t *points,
                   struct llmos_error *err)
{
    const struct bench *o = w->o;
    int rc = choose_peers(w, err);

    w->type = o->type ? o->type : "q8_0";
    if (rc == 0 && o->shape)
        rc = standin_make(s, o->shape, w->type, o->keep, err);
    if (rc < 0)
        return rc;
    w->path = o->shape ? s->path : rest->at[0];
    w->name = o->shape ? o->shape : base_name(rest->at[0]);
    return o->sweep ? sweep(w, points, err) : measure_point(w, points, err);
}

static int run(int argc, char **argv)
{
    CLEANUP(buf) struct buf grammar = {.at = NULL};
    struct bench o = bench_defaults;
    struct work w = {.o = &o};
    struct standin s = {.fd = -1};
    struct llmos_error err;
    struct opt_rest rest;
    json_t *points;
    int code;

    if (!cli_parse(&cli_bench, &o, argc, argv, &rest, &code))
        return code;
    if (check_words(&o, &rest, &err) < 0) {
        cli_error(&err);
        return EXIT_USAGE;
    }
    if (ask_form(&o.form, &grammar, &err) < 0)
        return cli_error(&err);
    w.want =
        (struct message_bench){o.prompt, o.generate, o.depth, o.sequences, true, buf_str(&grammar)};
    w.threads = o.room.threads;
    halt_catch();
    points = json_array();
    if (measure(&w, &s, &rest, points, &err) < 0)
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    else
        code = show(&o, points);
    json_decref(points);
    standin_close(&s);
    return code;
}

const struct cli_verb cli_bench = {"bench", &bench_command, run};
