/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c - see bench.h */
#include "engine/bench.h"

#include "base/clock.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "base/rng.h"
#include "infer/session.h"
#include "model/work.h"
#include "tensor/limits.h"

#include <malloc.h>

#define WARM_UP_TOKENS 16 /* wakes the threads and touches every weight once */
#define DOMAIN         2  /* of our sequences: nobody else's tokens are random */
#define PROGRESS_NS    100000000u
/* Rarely enough that caches which lost weights to it do not matter. */
#define READ_EVERY_SECONDS 0.25

struct bench {
    struct serve *serve;
    uint64_t id;
    struct message_bench want;
    struct buf grammar;   /* empty: none */
    llmos_session **all;  /* want.sequences of them */
    struct limits limits; /* what the machine can do, all zero unless wanted */
    struct limit_memory memory;
    double prefill_seconds; /* of all prompts; 0: none */
    double decode_seconds;  /* of all steps */
    uint64_t done, total;   /* tokens */
    uint64_t said_ns;
};

static void say_progress(struct bench *b)
{
    uint64_t now = clock_ns();

    if (now - b->said_ns < PROGRESS_NS)
        return;
    b->said_ns = now;
    wire_put(b->serve->wire,
             &(struct message){.type = MESSAGE_PROGRESS,
                               .id = b->id,
                               .progress = {b->done < b->total ? b->done : b->total, b->total}});
}

/* One step of the first n of serve->sessions. */
static int step(struct bench *b, uint32_t n, struct llmos_error *err)
{
    struct serve *s = b->serve;
    int rc = llmos_context_step(s->context, s->sessions, n, s->outs, err);

    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        b->done += s->outs[i].computed;
        if (s->outs[i].starved || s->outs[i].context_full)
            rc = fail(err, LLMOS_EINTERNAL, "the cache was too small for what was measured");
    }
    say_progress(b);
    if (rc == 0)
        rc = serve_hear(s, 0, err);
    if (rc == 0 && s->alone_is_canceled)
        rc = fail(err, LLMOS_ECANCELED, "the measurement was canceled");
    return rc;
}

/* Computes what is queued: until every sequence has sampled a token. */
static int read_queued(struct bench *b, struct llmos_error *err)
{
    struct serve *s = b->serve;
    uint32_t left = b->want.sequences;
    int rc = 0;

    memcpy(s->sessions, b->all, left * sizeof(b->all[0]));
    while (rc == 0 && left > 0) {
        uint32_t kept = 0;

        rc = step(b, left, err);
        for (uint32_t i = 0; i < left; i++)
            if (s->outs[i].token < 0)
                s->sessions[kept++] = s->sessions[i];
        left = kept;
    }
    return rc;
}

/* Random tokens: a text would flatter a cache, and control tokens mean something to nobody here. */
static int queue_random(struct bench *b, uint64_t seed, uint32_t n, struct llmos_error *err)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(b->serve->model);
    uint64_t vocabulary = (uint64_t)llmos_token_count(t);
    int32_t *tokens = b->serve->tokens;
    int rc = 0;

    for (uint32_t k = 0; rc == 0 && k < b->want.sequences; k++) {
        struct rng rng;

        rng_seed(&rng, seed << 32 | k);
        for (uint32_t i = 0; i < n; i++)
            for (int tries = 0; tries < 100; tries++) {
                tokens[i] = (int32_t)rng_below(&rng, vocabulary);
                if (!llmos_token_is_control(t, tokens[i]))
                    break;
            }
        if (n > 0 && llmos_session_length(b->all[k]) == 0 && llmos_token_bos(t) >= 0)
            tokens[0] = llmos_token_bos(t);
        rc = llmos_session_append(b->all[k], tokens, n, err);
    }
    return rc;
}

static void end_sequences(struct bench *b)
{
    for (uint32_t k = 0; k < b->want.sequences; k++) {
        llmos_session_destroy(b->all[k]);
        b->all[k] = NULL;
    }
}

/* Sequences that have read `depth` tokens, which are the same each time: what an earlier
 * measurement has computed of them is taken from the cache. */
static int begin_sequences(struct bench *b, uint32_t depth, struct llmos_error *err)
{
    struct llmos_sampling greedy = LLMOS_SAMPLING_INIT;
    int rc = 0;

    greedy.temperature = 0;
    for (uint32_t k = 0; rc == 0 && k < b->want.sequences; k++) {
        rc = llmos_session_create(&b->all[k], b->serve->context, &greedy, err);
        if (rc == 0 && depth > 0)
            rc = llmos_session_set_domain(b->all[k], DOMAIN, err);
    }
    if (rc == 0 && depth > 0)
        rc = queue_random(b, 0, depth, err);
    return rc == 0 && depth > 0 ? read_queued(b, err) : rc;
}

/* The token that was sampled behind the depth is the first of the prompt.  The others differ from
 * one measurement to the next, so that no cache knows them. */
static int measure_prefill(struct bench *b, uint32_t depth, uint32_t prompt, double *seconds,
                           struct llmos_error *err)
{
    int rc = begin_sequences(b, depth, err);
    uint64_t start;

    if (rc == 0)
        rc = queue_random(b, b->id, depth ? prompt - 1 : prompt, err);
    start = clock_ns();
    if (rc == 0)
        rc = read_queued(b, err);
    *seconds = clock_seconds_since(start);
    end_sequences(b);
    return rc;
}

/* Something must stand in front of the first token. */
static uint32_t first_of_decode(const struct message_bench *want)
{
    return want->depth ? want->depth : 1;
}

static int set_grammar(struct bench *b, uint32_t k, struct llmos_error *err)
{
    const struct llmos_grammar g = {.text = b->grammar.at, .length = b->grammar.len};

    return llmos_session_set_grammar(b->all[k], &g, err);
}

/* A text that is complete is followed by another one. */
static int begin_texts_again(struct bench *b, struct llmos_error *err)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(b->serve->model);
    int rc = 0;

    for (uint32_t k = 0; rc == 0 && b->grammar.len && k < b->want.sequences; k++) {
        const struct llmos_step_out *out = &b->serve->outs[k];

        if (out->complete || llmos_token_ends_generation(t, out->token))
            rc = set_grammar(b, k, err);
    }
    return rc;
}

static double read_memory(struct bench *b)
{
    return limit_memory_read(&b->memory, context_pool(b->serve->context));
}

static int decode_step(struct bench *b, struct llmos_error *err)
{
    uint64_t start = clock_ns();
    int rc = step(b, b->want.sequences, err);

    if (rc == 0)
        rc = begin_texts_again(b, err);
    b->decode_seconds += clock_seconds_since(start);
    return rc;
}

/* What memory gives changes within seconds where there are neighbours: so it is measured between
 * steps, and the limit is the mean of what it gave meanwhile. */
static int measure_decode(struct bench *b, struct llmos_error *err)
{
    int rc = begin_sequences(b, first_of_decode(&b->want), err);
    double gbs = read_memory(b), readings = 1;

    for (uint32_t k = 0; rc == 0 && b->grammar.len && k < b->want.sequences; k++)
        rc = set_grammar(b, k, err);
    memcpy(b->serve->sessions, b->all, b->want.sequences * sizeof(b->all[0]));
    for (uint32_t i = 0; rc == 0 && i < b->want.generate; i++) {
        rc = decode_step(b, err);
        if (b->decode_seconds >= readings * READ_EVERY_SECONDS || i + 1 == b->want.generate) {
            gbs += read_memory(b);
            readings++;
        }
    }
    b->limits.read_gbs = gbs / readings;
    end_sequences(b);
    return rc;
}

/* ---- the report ---- */

static void put_number(struct buf *json, const char *key, double v)
{
    buf_printf(json, "\"%s\": ", key);
    json_put_number(json, v);
    buf_puts(json, ", ");
}

static void put_string(struct buf *json, const char *key, const char *v)
{
    buf_printf(json, "\"%s\": ", key);
    json_put_string(json, str_of(v));
    buf_puts(json, ", ");
}

static void put_model(struct buf *json, const struct bench *b)
{
    struct llmos_model_info model;
    struct llmos_context_info context;

    llmos_model_info(b->serve->model, &model);
    llmos_context_info(b->serve->context, &context);
    put_string(json, "model", model.name);
    put_string(json, "architecture", model.architecture);
    put_string(json, "file_type", model.file_type);
    put_string(json, "backend", context.backend);
    put_string(json, "kv_type", context.kv_type);
    put_number(json, "parameters", (double)model.parameters);
    put_number(json, "weight_bytes", (double)model.weight_bytes);
    put_number(json, "threads", context.threads);
    put_number(json, "prompt_tokens", b->want.prompt);
    put_number(json, "generated_tokens", b->want.generate);
    put_number(json, "depth", b->want.depth);
    put_number(json, "sequences", b->want.sequences);
    put_number(json, "load_ms", (double)b->serve->load_us * 1e-3);
    put_number(json, "kv_bytes", (double)context.kv_bytes);
    put_number(json, "scratch_bytes", (double)context.scratch_bytes);
    if (b->grammar.len)
        put_number(json, "grammar_bytes", (double)context.grammar_bytes);
}

static void put_speed(struct buf *json, const struct bench *b)
{
    double n = b->want.sequences;

    if (b->want.prompt > 0) {
        put_number(json, "prefill_tokens_per_second", n * b->want.prompt / b->prefill_seconds);
        put_number(json, "time_to_first_token_ms", b->prefill_seconds * 1e3);
    }
    if (b->want.generate > 0)
        put_number(json, "decode_tokens_per_second", n * b->want.generate / b->decode_seconds);
}

/* What is done for each token, and what the machine could do at most. */
static void put_limits(struct buf *json, const struct bench *b)
{
    static const char *const operations[WORK_UNITS] = {"prefill_int8_operations_per_token",
                                                       "prefill_bf16_operations_per_token",
                                                       "prefill_f32_operations_per_token"};
    struct work work;

    work_of(&work, b->serve->model);
    put_number(json, "decode_bytes_per_token", (double)work.decode_bytes / b->want.sequences);
    for (int u = 0; u < WORK_UNITS && b->want.prompt > 0; u++)
        put_number(json, operations[u],
                   2 * ((double)work.layers[u] + (double)work.output[u] / b->want.prompt));
    if (!b->want.want_limits)
        return;
    put_number(json, "limit_read_gb_per_second", b->limits.read_gbs);
    put_number(json, "limit_int8_gop_per_second", b->limits.int8_gops);
    put_number(json, "limit_bf16_gflop_per_second", b->limits.bf16_gflops);
    put_number(json, "limit_f32_gflop_per_second", b->limits.f32_gflops);
}

static void put_report(struct buf *json, const struct bench *b)
{
    struct mallinfo2 heap = mallinfo2();
    struct llmos_context_info context;

    llmos_context_info(b->serve->context, &context);
    buf_putc(json, '{');
    put_model(json, b);
    put_speed(json, b);
    put_limits(json, b);
    /* What was asked of the system for ourselves, touched or not; the weights are mapped. */
    put_number(json, "private_bytes",
               (double)(heap.arena + heap.hblkhd + context.kv_bytes + context.scratch_bytes));
    json->len -= json->bad ? 0 : 2;
    buf_puts(json, "}");
}

static int report(struct bench *b, struct llmos_error *err)
{
    struct buf json;
    int rc;

    buf_init(&json, 65536);
    put_report(&json, b);
    rc = buf_check(&json, "the report", err);
    if (rc == 0)
        wire_put(
            b->serve->wire,
            &(struct message){.type = MESSAGE_DATA, .id = b->id, .data = {buf_str(&json), true}});
    buf_fini(&json);
    return rc;
}

/* ---- all of it ---- */

/* Another text each time, so that no measurement finds what an earlier one has computed.  The
 * message itself goes with the next one that is heard. */
static int keep_grammar(struct bench *b, struct llmos_error *err)
{
    buf_init(&b->grammar, MESSAGE_GRAMMAR_BYTES_MAX + 64);
    if (b->want.grammar.len) {
        buf_printf(&b->grammar, "# measurement %llu\n", (unsigned long long)b->id);
        buf_put(&b->grammar, b->want.grammar.at, b->want.grammar.len);
    }
    return buf_check(&b->grammar, "the grammar", err);
}

static void measure_limits(struct bench *b)
{
    struct pool *pool = context_pool(b->serve->context);

    if (!b->want.want_limits)
        return;
    /* Not all that is left: the weights are to stay in memory. */
    limit_memory_init(&b->memory, pool, b->serve->memory_left_bytes / 4);
    limits_measure(&b->limits, pool, &b->memory);
}

static int run(struct bench *b, struct llmos_error *err)
{
    const struct message_bench *w = &b->want;
    uint32_t warm_up = w->prompt > WARM_UP_TOKENS ? WARM_UP_TOKENS : w->prompt ? w->prompt : 1;
    double unused;
    int rc;

    b->total = w->sequences * (warm_up + (w->prompt ? (uint64_t)w->depth + w->prompt : 0) +
                               (w->generate ? (uint64_t)first_of_decode(w) + w->generate : 0));
    rc = measure_prefill(b, 0, warm_up, &unused, err);
    if (rc == 0 && w->prompt > 0)
        rc = measure_prefill(b, w->depth, w->prompt, &b->prefill_seconds, err);
    if (rc == 0)
        measure_limits(b);
    if (rc == 0 && w->generate > 0)
        rc = measure_decode(b, err);
    limit_memory_fini(&b->memory);
    return rc < 0 ? rc : report(b, err);
}

static int check(const struct serve *s, const struct message_bench *w, struct llmos_error *err)
{
    uint64_t most = w->prompt > w->generate ? w->prompt : w->generate;
    uint64_t needed = most + first_of_decode(w) + 1;

    if (most == 0 || w->sequences == 0)
        return fail(err, LLMOS_EINVAL,
                    "a measurement needs at least one token and one sequence to measure");
    if (w->sequences > s->sessions_max)
        return fail(err, LLMOS_EINVAL, "%u sequences side by side, this engine has %u",
                    w->sequences, s->sessions_max);
    if (needed > s->context_tokens)
        return fail(
            err, LLMOS_ECONTEXT,
            "a prompt of %u tokens or %u generated ones behind %u need a context of %llu, this one "
            "holds %u; try --context or fewer tokens",
            w->prompt, w->generate, w->depth, (unsigned long long)needed, s->context_tokens);
    return 0;
}

int bench_run(struct serve *s, uint64_t id, const struct message_bench *want,
              struct llmos_error *err)
{
    struct bench b = {.serve = s, .id = id, .want = *want, .said_ns = clock_ns()};
    int rc = check(s, want, err);

    if (rc == 0)
        rc = keep_grammar(&b, err);
    if (rc == 0) {
        b.all = mem_zalloc(want->sequences, sizeof(b.all[0]));
        rc = b.all ? 0 : fail(err, LLMOS_ENOMEM, "no memory for %u sequences", want->sequences);
    }
    if (rc < 0) {
        buf_fini(&b.grammar);
        return rc;
    }
    rc = run(&b, err);
    mem_free(b.all);
    buf_fini(&b.grammar);
    return rc;
}
