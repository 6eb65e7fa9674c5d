/* SPDX-License-Identifier: Apache-2.0 */
/* bench.c - see bench.h */
#include "engine/bench.h"

#include "base/clock.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "base/rng.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>

#define WARM_UP_TOKENS 16 /* wakes the threads and touches every weight once */
#define REPEAT_MAX     1000

struct sample {
    double prefill_tokens_per_second, decode_tokens_per_second, first_token_ms;
};

struct bench {
    struct serve *serve;
    uint64_t id;
    struct message_bench want;
    int32_t *prompt;
    struct sample *samples;
    uint64_t done, total; /* tokens */
};

static void say_progress(struct bench *b)
{
    wire_put(
        b->serve->wire,
        &(struct message){.type = MESSAGE_PROGRESS, .id = b->id, .progress = {b->done, b->total}});
}

static int step(struct bench *b, llmos_session *session, struct llmos_step_out *out,
                struct llmos_error *err)
{
    int rc = llmos_context_step(b->serve->context, &session, 1, out, err);

    if (rc == 0)
        rc = serve_hear(b->serve, 0, err);
    if (rc == 0 && b->serve->bench_is_canceled)
        rc = fail(err, LLMOS_ECANCELED, "the measurement was canceled");
    return rc;
}

/* A prompt of n tokens and then `generate` more behind the first. */
static int measure(struct bench *b, llmos_session *session, uint32_t n, uint32_t generate,
                   struct sample *sample, struct llmos_error *err)
{
    uint64_t start = clock_ns(), first;
    struct llmos_step_out out = {.token = -1};
    int rc = llmos_session_append(session, b->prompt, n, err);

    while (rc == 0 && out.token < 0 && !out.context_full) {
        rc = step(b, session, &out, err);
        b->done += out.computed;
    }
    first = clock_ns();
    for (uint32_t i = 0; rc == 0 && i < generate; i++) {
        rc = step(b, session, &out, err);
        b->done++;
    }
    if (rc < 0)
        return rc;
    sample->first_token_ms = (double)(first - start) * 1e-6;
    sample->prefill_tokens_per_second = n / ((double)(first - start) * 1e-9);
    sample->decode_tokens_per_second = generate ? generate / clock_seconds_since(first) : 0;
    say_progress(b);
    return 0;
}

static int run_once(struct bench *b, uint32_t n, uint32_t generate, struct sample *sample,
                    struct llmos_error *err)
{
    struct llmos_sampling greedy = LLMOS_SAMPLING_INIT;
    llmos_session *session;
    int rc;

    greedy.temperature = 0;
    rc = llmos_session_create(&session, b->serve->context, &greedy, err);
    if (rc < 0)
        return rc;
    rc = measure(b, session, n, generate, sample, err);
    llmos_session_destroy(session);
    return rc;
}

static int by_number(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median of one of the three numbers, which stand first in each sample. */
static double median(const struct bench *b, size_t field, double *sorted)
{
    uint32_t n = b->want.repeat;

    for (uint32_t i = 0; i < n; i++)
        memcpy(&sorted[i], (const char *)&b->samples[i] + field, sizeof(double));
    qsort(sorted, n, sizeof(double), by_number);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

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

static void put_report(struct buf *json, const struct bench *b, double *sorted)
{
    const struct serve *s = b->serve;
    struct llmos_model_info model;
    struct llmos_context_info context;
    struct mallinfo2 heap = mallinfo2();
    struct rusage usage = {0};

    llmos_model_info(s->model, &model);
    llmos_context_info(s->context, &context);
    getrusage(RUSAGE_SELF, &usage);
    buf_putc(json, '{');
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
    put_number(json, "repeat", b->want.repeat);
    put_number(json, "load_ms", (double)s->load_us * 1e-3);
    put_number(json, "prefill_tokens_per_second",
               median(b, offsetof(struct sample, prefill_tokens_per_second), sorted));
    put_number(json, "decode_tokens_per_second",
               median(b, offsetof(struct sample, decode_tokens_per_second), sorted));
    put_number(json, "time_to_first_token_ms",
               median(b, offsetof(struct sample, first_token_ms), sorted));
    put_number(json, "kv_bytes", (double)context.kv_bytes);
    put_number(json, "scratch_bytes", (double)context.scratch_bytes);
    /* What was asked of the system for ourselves, touched or not; the weights are mapped. */
    put_number(json, "private_bytes", (double)(heap.arena + heap.hblkhd));
    put_number(json, "rss_bytes",
               (double)usage.ru_maxrss * 1024); /* at its highest, with weights */
    json->len -= json->bad ? 0 : 2;
    buf_puts(json, "}");
}

static int report(struct bench *b, struct llmos_error *err)
{
    double *sorted = mem_zalloc(b->want.repeat, sizeof(*sorted));
    struct buf json;
    int rc;

    if (!sorted)
        return fail(err, LLMOS_ENOMEM, "no memory for %u results", b->want.repeat);
    buf_init(&json, 65536);
    put_report(&json, b, sorted);
    rc = buf_check(&json, "the report", err);
    if (rc == 0)
        wire_put(
            b->serve->wire,
            &(struct message){.type = MESSAGE_DATA, .id = b->id, .data = {buf_str(&json), true}});
    buf_fini(&json);
    mem_free(sorted);
    return rc;
}

/* Random tokens: a text would flatter a cache, and control tokens mean something to nobody here. */
static void make_prompt(struct bench *b)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(b->serve->model);
    uint64_t vocabulary = (uint64_t)llmos_token_count(t);
    struct rng rng;

    rng_seed(&rng, 1);
    for (uint32_t i = 0; i < b->want.prompt; i++) {
        for (int tries = 0; tries < 100; tries++) {
            b->prompt[i] = (int32_t)rng_below(&rng, vocabulary);
            if (!llmos_token_is_control(t, b->prompt[i]))
                break;
        }
    }
    if (llmos_token_bos(t) >= 0)
        b->prompt[0] = llmos_token_bos(t);
}

static int run(struct bench *b, struct llmos_error *err)
{
    uint32_t warm_up = b->want.prompt < WARM_UP_TOKENS ? b->want.prompt : WARM_UP_TOKENS;
    struct sample unused;
    int rc;

    make_prompt(b);
    b->total = warm_up + (uint64_t)b->want.repeat * (b->want.prompt + b->want.generate);
    rc = run_once(b, warm_up, 0, &unused, err);
    for (uint32_t i = 0; rc == 0 && i < b->want.repeat; i++)
        rc = run_once(b, b->want.prompt, b->want.generate, &b->samples[i], err);
    return rc < 0 ? rc : report(b, err);
}

int bench_run(struct serve *s, uint64_t id, const struct message_bench *want,
              struct llmos_error *err)
{
    struct bench b = {.serve = s, .id = id, .want = *want};
    int rc;

    if (want->prompt == 0 || want->repeat == 0 || want->repeat > REPEAT_MAX)
        return fail(err, LLMOS_EINVAL,
                    "a measurement needs at least 1 prompt token and 1 to %d runs", REPEAT_MAX);
    if ((uint64_t)want->prompt + want->generate + 1 > s->context_tokens)
        return fail(
            err, LLMOS_ECONTEXT,
            "a prompt of %u tokens and %u generated ones need a context of %llu, this one holds "
            "%u; try --context or fewer tokens",
            want->prompt, want->generate, (unsigned long long)want->prompt + want->generate + 1,
            s->context_tokens);
    b.prompt = mem_zalloc(want->prompt, sizeof(*b.prompt));
    b.samples = mem_zalloc(want->repeat, sizeof(*b.samples));
    rc = b.prompt && b.samples ? run(&b, err)
                               : fail(err, LLMOS_ENOMEM, "no memory for %u tokens", want->prompt);
    mem_free(b.prompt);
    mem_free(b.samples);
    return rc;
}
