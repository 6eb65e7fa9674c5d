/* SPDX-License-Identifier: Apache-2.0 */
#include "llmos/session.h"

#include "naive_llama.h"
#include "test.h"
#include "tiny_llama.h"

#include "tensor/backend.h"

#define N 90 /* tokens of a test sequence: more than a page of the cache */

static void random_tokens(int32_t *tokens, size_t n, uint32_t n_vocab, uint64_t seed)
{
    struct rng rng;

    rng_seed(&rng, seed);
    for (size_t i = 0; i < n; i++)
        tokens[i] = (int32_t)rng_below(&rng, n_vocab);
}

static const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};

static llmos_context *context_of(const struct tiny_llama *t, uint32_t threads, uint32_t sessions,
                                 uint32_t batch)
{
    struct llmos_context_options o = {
        .threads = threads, .sessions_max = sessions, .batch_tokens = batch};
    struct llmos_error err = {0};
    llmos_context *c = NULL;

    if (llmos_context_create(&c, &t->model, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    return c;
}

/* The root of the mean square of the difference to the naive logits over all positions, in units of
 * their own: the batch is one token, so that each step leaves the logits of one position.  (Single
 * elements differ by more where a key falls to the other side of a rounding to f16.) */
static double error_of(const struct tiny_llama *t, const char *kv_type, size_t n)
{
    struct llmos_context_options o = {.batch_tokens = 1, .kv_type = kv_type};
    size_t n_vocab = t->model.hparams.n_vocab;
    double *expected = calloc(n * n_vocab, sizeof(*expected)), wrong = 0, squares = 0;
    int32_t tokens[N];
    llmos_context *c;
    llmos_session *s;
    struct llmos_step_out out;

    CHECK_INT(llmos_context_create(&c, &t->model, &o, NULL), 0);
    random_tokens(tokens, n, t->model.hparams.n_vocab, 3);
    naive_llama(&t->model, tokens, n, expected);
    for (size_t i = 0; i < n * n_vocab; i++)
        squares += expected[i] * expected[i];
    CHECK_INT(llmos_session_create(&s, c, &greedy, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, n, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        CHECK_INT(out.computed, 1);
        for (size_t j = 0; j < n_vocab; j++)
            wrong += pow((double)llmos_session_logits(s)[j] - expected[i * n_vocab + j], 2);
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    free(expected);
    return sqrt(wrong / squares);
}

static double error_with_cache(const char *kv_type, const struct hparams *h, enum dtype type,
                               const float *factors, size_t n)
{
    struct tiny_llama t;
    double error;

    tiny_llama_init(&t, h, type, factors, 1);
    error = error_of(&t, kv_type, n);
    tiny_llama_fini(&t);
    return error;
}

static double error_with(const struct hparams *h, enum dtype type, const float *factors, size_t n)
{
    return error_with_cache(NULL, h, type, factors, n);
}

/* 1e-3: a few roundings of the f16 cache fall the other way; a wrong head or angle gives 0.1 to 1.
 */
TEST(session_computes_what_the_naive_model_computes_in_every_float_type)
{
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_F32, NULL, N), 0, 1e-3);
    /* Where they are made fixed (fixed.h), weights and activations lose some of theirs. */
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_F16, NULL, 30), 0, 3e-3);
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_BF16, NULL, 30), 0, 3e-3);
}

/* The judge uses the quantised weights as they are: what is left is the rounding of activations to
 * eight bits, seven times a layer. */
TEST(session_computes_what_the_naive_model_computes_with_quantised_weights)
{
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_Q8_0, NULL, 30), 0, 0.06);
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_Q4_0, NULL, 30), 0, 0.06);
}

/* The judge knows f16 only: what is left is the rounding of queries, keys and values to eight bits,
 * which may cost what that of activations costs; a wrong scale or place gives 0.1 to 1. */
TEST(session_computes_what_the_naive_model_computes_with_a_cache_of_q8_0)
{
    struct hparams h = tiny_hparams;
    const uint32_t dims[] = {2, 6, 16, 24, 32, 40, 64, 80};

    for (size_t i = 0; i < sizeof(dims) / sizeof(dims[0]); i++) {
        h.head_dim = dims[i];
        h.rope_dims = dims[i] < h.rope_dims ? dims[i] : h.rope_dims;
        CHECK_NEAR(error_with_cache("q8_0", &h, DTYPE_F32, NULL, dims[i] == 24 ? N : 30), 0, 0.06);
        CHECK(error_with_cache("q8_0", &h, DTYPE_F32, NULL, 30) > 1e-4); /* it was asked for */
    }
}

TEST(session_computes_every_grouping_of_heads)
{
    struct hparams h = tiny_hparams;
    const uint32_t heads_kv[] = {1, 2, 4};

    for (size_t i = 0; i < 3; i++) {
        h.n_head_kv = heads_kv[i];
        CHECK_NEAR(error_with(&h, DTYPE_F32, NULL, 30), 0, 1e-3);
    }
    h.n_head = h.n_head_kv = 3; /* heads do not fill the width, and 3 * 24 is no multiple of 64 */
    h.head_dim = 24;
    h.rope_dims = 8;
    CHECK_NEAR(error_with(&h, DTYPE_F32, NULL, 30), 0, 1e-3);
}

TEST(session_computes_a_tied_output)
{
    struct hparams h = tiny_hparams;

    h.tied_output = true;
    CHECK_NEAR(error_with(&h, DTYPE_F32, NULL, 30), 0, 1e-3);
    CHECK_NEAR(error_with(&h, DTYPE_BF16, NULL, 30), 0, 3e-3);
}

TEST(session_computes_every_scaling_of_rope)
{
    const float factors[8] = {1, 1, 1.5f, 2, 4, 8, 8, 8};
    struct hparams h = tiny_hparams;

    CHECK_NEAR(error_with(&h, DTYPE_F32, factors, N), 0, 1e-3);
    h.rope_base = 500000;
    h.rope_scaling = ROPE_LLAMA3;
    CHECK_NEAR(error_with(&h, DTYPE_F32, factors, N), 0, 1e-3);
    h.rope_factor = 4;
    h.rope_scaling = ROPE_LINEAR;
    CHECK_NEAR(error_with(&h, DTYPE_F32, NULL, N), 0, 1e-3);
    h.rope_base = 10000;
    h.rope_scaling = ROPE_YARN;
    CHECK_NEAR(error_with(&h, DTYPE_F32, NULL, N), 0, 1e-3);
}

/* --- same seed, same bytes --- */

#define SEQUENCES 8
#define NEW       24

struct run {
    int32_t tokens[SEQUENCES][NEW];
    float logits[SEQUENCES][101]; /* of the last position */
};

static size_t prompt_length(size_t i)
{
    return 3 + 19 * i % 77; /* 3 to 73: within a page and over its end */
}

static struct llmos_sampling sampling_of(size_t i)
{
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;

    o.seed = i;
    o.temperature = i % 3 == 0 ? 0 : 0.9f;
    o.repeat_penalty = i % 2 ? 1.1f : 1;
    return o;
}

/* Sequences [first, first + count) together in one context, until each has NEW tokens. */
static void run_sequences(const struct tiny_llama *t, uint32_t threads, uint32_t batch,
                          size_t first, size_t count, struct run *run)
{
    llmos_context *c = context_of(t, threads, (uint32_t)count, batch);
    llmos_session *all[SEQUENCES], *s[SEQUENCES];
    size_t made[SEQUENCES] = {0}, alive;
    struct llmos_step_out out[SEQUENCES];

    for (size_t i = 0; i < count; i++) {
        struct llmos_sampling o = sampling_of(first + i);
        int32_t tokens[N];

        random_tokens(tokens, prompt_length(first + i), t->model.hparams.n_vocab, 50 + first + i);
        CHECK_INT(llmos_session_create(&all[i], c, &o, NULL), 0);
        CHECK_INT(llmos_session_append(all[i], tokens, prompt_length(first + i), NULL), 0);
    }
    do {
        size_t at[SEQUENCES];

        alive = 0;
        for (size_t i = 0; i < count; i++)
            if (made[i] < NEW) {
                at[alive] = i;
                s[alive++] = all[i];
            }
        CHECK_INT(llmos_context_step(c, s, alive, out, NULL), 0);
        for (size_t k = 0; k < alive; k++) {
            size_t i = at[k];

            if (out[k].token < 0)
                continue;
            run->tokens[first + i][made[i]++] = out[k].token;
            if (made[i] == NEW)
                memcpy(run->logits[first + i], llmos_session_logits(s[k]), sizeof(run->logits[0]));
        }
    } while (alive);
    for (size_t i = 0; i < count; i++)
        llmos_session_destroy(all[i]);
    llmos_context_destroy(c);
}

static void check_same(const struct run *a, const struct run *b)
{
    CHECK(memcmp(a->tokens, b->tokens, sizeof(a->tokens)) == 0);
    CHECK(memcmp(a->logits, b->logits, sizeof(a->logits)) == 0);
}

static void same_bytes(enum dtype type)
{
    const uint32_t batches[] = {1, 7, 64, 512};
    struct tiny_llama t;
    static struct run alone, run;

    tiny_llama_init(&t, &tiny_hparams, type, NULL, 2);
    for (size_t i = 0; i < SEQUENCES; i++)
        run_sequences(&t, 1, 512, i, 1, &alone);
    for (size_t b = 0; b < 4; b++)
        for (uint32_t threads = 1; threads <= 4; threads++) {
            memset(&run, 0, sizeof(run));
            run_sequences(&t, threads, batches[b], 0, SEQUENCES, &run);
            check_same(&alone, &run);
        }
    for (size_t count = 2; count < SEQUENCES; count++) {
        memset(&run, 0, sizeof(run));
        for (size_t i = 0; i < SEQUENCES; i += count)
            run_sequences(&t, 2, 20, i, i + count > SEQUENCES ? SEQUENCES - i : count, &run);
        check_same(&alone, &run);
    }
    tiny_llama_fini(&t);
}

TEST(session_gives_the_same_bytes_whatever_threads_batch_and_chunks_f32)
{
    same_bytes(DTYPE_F32);
}

TEST(session_gives_the_same_bytes_whatever_threads_batch_and_chunks_q8_0)
{
    same_bytes(DTYPE_Q8_0);
}

TEST(session_gives_the_same_bytes_whatever_threads_batch_and_chunks_q4_0)
{
    same_bytes(DTYPE_Q4_0);
}

/* --- long contexts, whose keys are shared between threads --- */

#define LONG     1100 /* five blocks of keys */
#define LONG_NEW 8

struct long_run {
    int32_t tokens[LONG_NEW];
    float logits[LONG_NEW][101];
};

/* A long prompt and what follows, beside `others` short ones that are in the same batches. */
static void run_long(const struct tiny_llama *t, const char *kv_type, uint32_t threads,
                     uint32_t batch, size_t others, struct long_run *run)
{
    struct llmos_context_options o = {.threads = threads,
                                      .sessions_max = 4,
                                      .batch_tokens = batch,
                                      .context_tokens = LONG + 99,
                                      .kv_type = kv_type};
    llmos_context *c;
    llmos_session *s[4];
    struct llmos_step_out out[4];
    static int32_t prompt[LONG];
    size_t made = 0;

    CHECK_INT(llmos_context_create(&c, &t->model, &o, NULL), 0);
    random_tokens(prompt, LONG, 101, 77);
    for (size_t i = 0; i <= others; i++) {
        CHECK_INT(llmos_session_create(&s[i], c, &greedy, NULL), 0);
        CHECK_INT(llmos_session_append(s[i], prompt, i ? 10 * i : LONG, NULL), 0);
    }
    while (made < LONG_NEW) {
        CHECK_INT(llmos_context_step(c, s, others + 1, out, NULL), 0);
        if (out[0].token < 0)
            continue;
        memcpy(run->logits[made], llmos_session_logits(s[0]), sizeof(run->logits[made]));
        run->tokens[made++] = out[0].token;
        if (made == LONG_NEW / 2) /* the next ones come alone */
            while (others > 0)
                llmos_session_destroy(s[others--]);
    }
    llmos_session_destroy(s[0]);
    llmos_context_destroy(c);
}

TEST(a_long_context_gives_the_same_bytes_whatever_threads_batch_and_company)
{
    static const uint32_t batches[] = {1, 7, 64, 500, 2000};
    static const char *const kv_types[] = {"f16", "q8_0"};
    static struct long_run alone[2], run;
    struct hparams h = tiny_hparams;
    struct tiny_llama t;

    h.n_ctx_train = 2 * LONG;
    for (uint32_t i = 0; i < 30; i++) {
        h.n_head_kv = 1u << i / 10;
        tiny_llama_init(&t, &h, DTYPE_F32, NULL, 9);
        for (size_t k = 0; k < 2; k++) {
            if (i % 10 == 0)
                run_long(&t, kv_types[k], 1, 1, 0, &alone[k]);
            run_long(&t, kv_types[k], 1 + i % 4, batches[i % 5], i % 3, &run);
            CHECK(memcmp(&run, &alone[k], sizeof(run)) == 0);
        }
        CHECK(memcmp(&alone[0], &alone[1], sizeof(run)) != 0);
        tiny_llama_fini(&t);
    }
}

/* --- any company, any order --- */

struct player {
    llmos_session *s;
    size_t which, made;
};

static void player_start(struct player *p, llmos_context *c, size_t which)
{
    struct llmos_sampling o = sampling_of(which);
    int32_t tokens[N];

    *p = (struct player){.which = which};
    random_tokens(tokens, prompt_length(which), 101, 50 + which);
    CHECK_INT(llmos_session_create(&p->s, c, &o, NULL), 0);
    CHECK_INT(llmos_session_append(p->s, tokens, prompt_length(which), NULL), 0);
}

/* Random members of four, in random order, step together; who is done makes room for the next. */
static size_t random_step(llmos_context *c, struct player *players, struct rng *rng,
                          const struct run *alone, bool *starved)
{
    llmos_session *s[4];
    struct player *of[4];
    struct llmos_step_out out[4];
    size_t n = 0, first = rng_below(rng, 4), members = 1 + rng_below(rng, 15), finished = 0;

    for (size_t i = 0; i < 4; i++) {
        struct player *p = &players[(first + i * (1 + 2 * (members & 1))) % 4];

        if (p->s && members >> i & 1) {
            of[n] = p;
            s[n++] = p->s;
        }
    }
    CHECK_INT(llmos_context_step(c, s, n, out, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        *starved |= out[i].starved;
        if (out[i].token < 0)
            continue;
        CHECK_INT(out[i].token, alone->tokens[of[i]->which][of[i]->made++]);
        if (of[i]->made < NEW)
            continue;
        CHECK(memcmp(llmos_session_logits(s[i]), alone->logits[of[i]->which],
                     sizeof(alone->logits[0])) == 0);
        llmos_session_destroy(s[i]);
        of[i]->s = NULL;
        finished++;
    }
    return finished;
}

TEST(sessions_in_any_company_and_order_with_too_few_pages_give_the_same_bytes)
{
    /* A sequence needs two pages at most, so four of them with five cannot all wait. */
    struct llmos_context_options o = {.threads = 2,
                                      .context_tokens = 128,
                                      .sessions_max = 4,
                                      .kv_tokens = 320,
                                      .batch_tokens = 11};
    static struct run alone;
    struct player players[4] = {{0}};
    struct tiny_llama t;
    llmos_context *c;
    struct rng rng;
    bool starved = false;

    tiny_llama_init(&t, &tiny_hparams, DTYPE_Q8_0, NULL, 2);
    for (size_t i = 0; i < SEQUENCES; i++)
        run_sequences(&t, 1, 512, i, 1, &alone);
    CHECK_INT(llmos_context_create(&c, &t.model, &o, NULL), 0);
    rng_seed(&rng, 12);
    for (size_t begun = 0, finished = 0; finished < 60;) {
        for (size_t i = 0; i < 4; i++)
            if (!players[i].s && begun < 60)
                player_start(&players[i], c, begun++ % SEQUENCES);
        finished += random_step(c, players, &rng, &alone, &starved);
    }
    CHECK(starved);
    llmos_context_destroy(c);
    tiny_llama_fini(&t);
}

/* --- what a step does, and what it refuses --- */

struct bench {
    struct tiny_llama t;
    llmos_context *c;
    llmos_session *s[SEQUENCES];
    struct llmos_step_out out[SEQUENCES];
    size_t count;
};

static void bench_init(struct bench *b, const struct llmos_context_options *o, size_t sessions)
{
    struct llmos_error err = {0};

    tiny_llama_init(&b->t, &tiny_hparams, DTYPE_F32, NULL, 4);
    if (llmos_context_create(&b->c, &b->t.model, o, &err) < 0)
        TEST_FAIL("%s", err.text);
    for (b->count = 0; b->count < sessions; b->count++)
        CHECK_INT(llmos_session_create(&b->s[b->count], b->c, &greedy, NULL), 0);
}

static void bench_fini(struct bench *b)
{
    for (size_t i = 0; i < b->count; i++)
        llmos_session_destroy(b->s[i]);
    llmos_context_destroy(b->c);
    tiny_llama_fini(&b->t);
}

static void prompt(struct bench *b, size_t i, size_t n)
{
    int32_t tokens[512];

    random_tokens(tokens, n, b->t.model.hparams.n_vocab, i);
    CHECK_INT(llmos_session_append(b->s[i], tokens, n, NULL), 0);
}

static void step(struct bench *b, size_t count)
{
    CHECK_INT(llmos_context_step(b->c, b->s, count, b->out, NULL), 0);
}

static uint32_t kv_free(const struct bench *b)
{
    struct llmos_context_info info;

    llmos_context_info(b->c, &info);
    return info.kv_tokens_free;
}

TEST(context_options_have_their_defaults)
{
    struct bench b;
    struct llmos_context_info info;

    bench_init(&b, NULL, 1);
    llmos_context_info(b.c, &info);
    CHECK_INT(info.context_tokens, 256); /* what the model was trained with */
    CHECK_INT(info.threads, 1);
    CHECK_INT(info.kv_tokens_total, 256);
    CHECK_INT(info.kv_tokens_free, 256);
    CHECK_INT(info.kv_bytes, 256 * 2 * 3 * 2 * 16 * 2); /* k and v, layers, heads, dim, f16 */
    CHECK(info.scratch_bytes > 0);
    CHECK_STR(info.backend, backend_best()->name);
    CHECK_STR(info.kv_type, "f16");
    bench_fini(&b);
}

TEST(a_cache_of_q8_0_takes_a_byte_a_number_and_two_a_block)
{
    struct llmos_context_options o = {.kv_type = "q8_0"};
    struct llmos_context_info info;
    struct bench b;

    bench_init(&b, &o, 1);
    llmos_context_info(b.c, &info);
    CHECK_STR(info.kv_type, "q8_0");
    CHECK_INT(info.kv_tokens_total, 256);
    CHECK_INT(info.kv_bytes,
              256 * 2 * 3 * 2 * (16 + 2)); /* k and v, layers, heads, dim and scale */
    bench_fini(&b);
}

TEST(prompts_share_what_decoding_leaves_first_sessions_first)
{
    struct llmos_context_options o = {.sessions_max = 4, .batch_tokens = 10};
    struct bench b;

    bench_init(&b, &o, 4);
    prompt(&b, 0, 14);
    prompt(&b, 1, 14);
    prompt(&b, 2, 1);
    step(&b, 4);
    CHECK_INT(b.out[0].computed, 9);
    CHECK_INT(b.out[1].computed, 0);
    CHECK_INT(b.out[2].computed, 1); /* one token pending: it decodes */
    CHECK_INT(b.out[3].computed, 0); /* nothing to do */
    CHECK_INT(b.out[0].token, -1);
    CHECK_INT(b.out[1].token, -1);
    CHECK(b.out[2].token >= 0);
    CHECK(!b.out[1].starved && !b.out[3].starved && !b.out[3].context_full);
    CHECK(llmos_session_logits(b.s[0]) && !llmos_session_logits(b.s[1]));
    CHECK_INT(llmos_session_pending(b.s[0]), 5);
    CHECK_INT(llmos_session_length(b.s[2]), 2);
    step(&b, 4);
    CHECK_INT(b.out[0].computed, 5);
    CHECK(b.out[0].token >= 0);
    CHECK_INT(b.out[1].computed, 4);
    bench_fini(&b);
}

TEST(a_batch_full_of_decoding_sessions_still_moves_a_prompt_on)
{
    struct llmos_context_options o = {.sessions_max = 3, .batch_tokens = 1};
    struct bench b;

    bench_init(&b, &o, 3);
    prompt(&b, 0, 1);
    prompt(&b, 1, 1);
    prompt(&b, 2, 3);
    step(&b, 3);
    CHECK(b.out[0].token >= 0 && b.out[1].token >= 0);
    CHECK_INT(b.out[2].computed, 1);
    bench_fini(&b);
}

TEST(a_full_context_ends_the_sequence)
{
    struct llmos_context_options o = {.context_tokens = 20};
    struct llmos_error err = {0};
    struct bench b;
    int32_t more[3] = {1, 2, 3};
    int made = 0;

    bench_init(&b, &o, 1);
    prompt(&b, 0, 15);
    do {
        step(&b, 1);
        made += b.out[0].token >= 0;
        CHECK(b.out[0].context_full == (b.out[0].token < 0));
    } while (!b.out[0].context_full);
    CHECK_INT(made, 5);
    CHECK_INT(llmos_session_length(b.s[0]), 20);
    CHECK_INT(llmos_session_pending(b.s[0]), 0);
    CHECK_INT(b.out[0].computed, 1);
    step(&b, 1); /* and stays so */
    CHECK(b.out[0].context_full && b.out[0].token == -1);
    CHECK_INT(b.out[0].computed, 0);
    CHECK_INT(llmos_session_append(b.s[0], more, 3, &err), LLMOS_ECONTEXT);
    bench_fini(&b);
}

TEST(a_prompt_that_fills_the_context_is_computed_and_ends)
{
    struct llmos_context_options o = {.context_tokens = 70, .batch_tokens = 512};
    struct bench b;

    bench_init(&b, &o, 1);
    prompt(&b, 0, 70);
    step(&b, 1);
    CHECK_INT(b.out[0].computed, 70);
    CHECK(b.out[0].context_full && b.out[0].token == -1);
    CHECK(llmos_session_logits(b.s[0]));
    bench_fini(&b);
}

TEST(append_refuses_what_does_not_fit_and_names_both_lengths)
{
    struct llmos_context_options o = {.context_tokens = 100};
    struct llmos_error err = {0};
    struct bench b;
    int32_t tokens[101] = {0};

    bench_init(&b, &o, 1);
    CHECK_INT(llmos_session_append(b.s[0], tokens, 101, &err), LLMOS_ECONTEXT);
    CHECK_STR(err.text, "the prompt has 101 tokens, the context holds 100");
    CHECK_INT(llmos_session_append(b.s[0], tokens, 30, &err), 0);
    CHECK_INT(llmos_session_append(b.s[0], tokens, 71, &err), LLMOS_ECONTEXT);
    CHECK_CONTAINS(err.text, "71 tokens");
    CHECK_CONTAINS(err.text, "30");
    CHECK_CONTAINS(err.text, "100");
    CHECK_INT(llmos_session_length(b.s[0]), 30);
    CHECK_INT(llmos_session_append(b.s[0], tokens, 70, &err), 0);
    CHECK_INT(llmos_session_append(b.s[0], NULL, 0, &err), 0);
    bench_fini(&b);
}

TEST(append_refuses_ids_outside_the_vocabulary_and_queues_nothing)
{
    const int32_t bad[] = {101, -1, INT32_MIN, INT32_MAX};
    struct llmos_error err = {0};
    struct bench b;

    bench_init(&b, NULL, 1);
    for (size_t i = 0; i < 4; i++) {
        int32_t tokens[] = {5, 100, bad[i]};

        CHECK_INT(llmos_session_append(b.s[0], tokens, 3, &err), LLMOS_EINVAL);
        CHECK_CONTAINS(err.text, "vocabulary of 101");
        CHECK_INT(llmos_session_length(b.s[0]), 0);
    }
    bench_fini(&b);
}

TEST(append_continues_behind_what_was_sampled)
{
    struct bench b;
    int32_t tokens[32], more[5] = {7, 8, 9, 10, 11}, last;
    float logits[101];
    size_t n = 6;

    bench_init(&b, &(struct llmos_context_options){.sessions_max = 2}, 2);
    random_tokens(tokens, n, 101, 0);
    CHECK_INT(llmos_session_append(b.s[0], tokens, n, NULL), 0);
    for (int i = 0; i < 4; i++) {
        step(&b, 1);
        tokens[n++] = b.out[0].token;
    }
    CHECK_INT(llmos_session_append(b.s[0], more, 5, NULL), 0);
    CHECK_INT(llmos_session_pending(b.s[0]), 6);
    step(&b, 1);
    last = b.out[0].token;
    memcpy(logits, llmos_session_logits(b.s[0]), sizeof(logits));
    memcpy(tokens + n, more, sizeof(more));
    if (backend_best()->generates) { /* generated tokens are not computed as a prompt's are */
        CHECK_INT(llmos_session_append(b.s[1], tokens, 6, NULL), 0);
        for (int i = 0; i < 4; i++)
            CHECK_INT(llmos_context_step(b.c, &b.s[1], 1, b.out, NULL), 0);
        n = 0;
        memcpy(tokens, more, sizeof(more));
    }
    CHECK_INT(llmos_session_append(b.s[1], tokens, n + 5, NULL), 0);
    CHECK_INT(llmos_context_step(b.c, &b.s[1], 1, b.out, NULL), 0);
    CHECK_INT(b.out[0].token, last);
    CHECK(memcmp(logits, llmos_session_logits(b.s[1]), sizeof(logits)) == 0);
    CHECK(!llmos_session_logits(b.s[0])); /* of the step before */
    bench_fini(&b);
}

TEST(sessions_starve_without_pages_and_go_on_when_others_end)
{
    struct llmos_context_options o = {
        .context_tokens = 128, .sessions_max = 3, .kv_tokens = 192, .batch_tokens = 200};
    struct bench b;

    bench_init(&b, &o, 3);
    prompt(&b, 0, 60);
    prompt(&b, 1, 100);
    prompt(&b, 2, 1);
    step(&b, 3);
    CHECK_INT(b.out[0].computed, 60);
    CHECK_INT(b.out[1].computed, 64); /* as far as the pages go */
    CHECK(!b.out[1].starved);
    CHECK_INT(b.out[2].computed, 1); /* it decodes: served first */
    CHECK_INT(kv_free(&b), 0);
    step(&b, 3);
    CHECK(b.out[1].starved && b.out[1].computed == 0 && b.out[1].token == -1);
    for (int i = 0; i < 3; i++)
        step(&b, 3);
    CHECK_INT(b.out[0].computed, 1); /* position 63 */
    step(&b, 3);
    CHECK(b.out[0].starved && !b.out[2].starved);
    llmos_session_destroy(b.s[--b.count]);
    CHECK_INT(kv_free(&b), 64);
    step(&b, 2);
    CHECK(!b.out[0].starved && b.out[0].token >= 0);
    CHECK(b.out[1].starved);
    bench_fini(&b);
}

TEST(a_starved_session_continues_with_the_same_bytes)
{
    struct llmos_context_options o = {.context_tokens = 128, .sessions_max = 2, .kv_tokens = 128};
    struct bench b;
    int32_t alone[30], token;
    int n = 0;

    bench_init(&b, &o, 2);
    prompt(&b, 0, 60);
    for (int i = 0; i < 30; i++) {
        step(&b, 1);
        alone[i] = b.out[0].token;
    }
    llmos_session_destroy(b.s[0]);
    CHECK_INT(llmos_session_create(&b.s[0], b.c, &greedy, NULL), 0);
    prompt(&b, 0, 60);
    prompt(&b, 1, 5);
    for (int i = 0; i < 60; i++) {
        if (i == 20) {
            llmos_session_destroy(b.s[1]);
            b.count = 1;
        }
        step(&b, b.count);
        token = b.out[0].token;
        CHECK(b.out[0].starved == (token < 0));
        if (token >= 0 && n < 30)
            CHECK_INT(token, alone[n++]);
    }
    CHECK_INT(n, 30);
    bench_fini(&b);
}

TEST(sessions_max_are_alive_at_a_time)
{
    struct llmos_error err = {0};
    struct bench b;
    llmos_session *one_more;

    bench_init(&b, &(struct llmos_context_options){.sessions_max = 3}, 3);
    CHECK_INT(llmos_session_create(&one_more, b.c, &greedy, &err), LLMOS_EBUSY);
    CHECK_CONTAINS(err.text, "3 sequences");
    llmos_session_destroy(b.s[1]);
    CHECK_INT(llmos_session_create(&b.s[1], b.c, &greedy, &err), 0);
    CHECK_INT(llmos_session_length(b.s[1]), 0);
    llmos_session_destroy(NULL);
    llmos_context_destroy(NULL);
    bench_fini(&b);
}

TEST(session_refuses_sampling_options_by_name)
{
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;
    struct llmos_error err = {0};
    struct bench b;
    llmos_session *s = NULL;

    bench_init(&b, NULL, 0);
    o.top_p = NAN;
    CHECK_INT(llmos_session_create(&s, b.c, &o, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "top_p");
    CHECK(!s);
    bench_fini(&b);
}

TEST(step_refuses_strangers_duplicates_and_too_many)
{
    struct llmos_error err = {0};
    struct bench a, b;
    llmos_session *both[2];
    llmos_session *many[3];

    bench_init(&a, &(struct llmos_context_options){.sessions_max = 2}, 2);
    bench_init(&b, NULL, 1);
    prompt(&a, 0, 3);
    both[0] = a.s[0];
    both[1] = b.s[0];
    CHECK_INT(llmos_context_step(a.c, both, 2, a.out, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "another context");
    both[1] = a.s[0];
    CHECK_INT(llmos_context_step(a.c, both, 2, a.out, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "twice");
    both[1] = NULL;
    CHECK_INT(llmos_context_step(a.c, both, 2, a.out, &err), LLMOS_EINVAL);
    many[0] = many[1] = many[2] = a.s[0];
    CHECK_INT(llmos_context_step(a.c, many, 3, a.out, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "3 sequences");
    CHECK_INT(llmos_session_pending(a.s[0]), 3);
    CHECK_INT(llmos_context_step(a.c, NULL, 0, NULL, &err), 0);
    step(&a, 1);
    CHECK_INT(a.out[0].computed, 3);
    bench_fini(&a);
    bench_fini(&b);
}

TEST(a_model_that_computes_no_number_is_an_error_that_changes_nothing)
{
    struct llmos_error err = {0};
    struct bench b;
    float *row, before[64];

    bench_init(&b, &(struct llmos_context_options){.sessions_max = 2}, 2);
    row = (float *)(uintptr_t)tensor_row(weights_get(&b.t.model.weights, 0, WEIGHT_EMBED), 42);
    memcpy(before, row, sizeof(before));
    row[3] = NAN;
    prompt(&b, 0, 9);
    CHECK_INT(llmos_session_append(b.s[1], (const int32_t[]){1, 42}, 2, NULL), 0);
    CHECK_INT(llmos_context_step(b.c, b.s, 2, b.out, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "the model computes no number");
    CHECK_CONTAINS(err.text, "sequence 1");
    CHECK_INT(llmos_session_pending(b.s[0]), 9);
    CHECK_INT(llmos_session_length(b.s[0]), 9);
    step(&b, 1); /* the other one is not harmed */
    CHECK(b.out[0].token >= 0);
    memcpy(row, before, sizeof(before));
    CHECK_INT(llmos_context_step(b.c, &b.s[1], 1, b.out, &err), 0);
    CHECK(b.out[0].token >= 0);
    bench_fini(&b);
}

TEST(a_session_sees_nothing_of_the_one_whose_pages_it_got)
{
    const int32_t others[120] = {50, 51, 52};
    struct bench b;
    float fresh[101];

    bench_init(&b, &(struct llmos_context_options){.context_tokens = 128}, 1);
    for (int round = 0; round < 2; round++) {
        prompt(&b, 0, 70);
        for (int i = 0; i < 20; i++)
            step(&b, 1);
        if (round == 0)
            memcpy(fresh, llmos_session_logits(b.s[0]), sizeof(fresh));
        CHECK(memcmp(fresh, llmos_session_logits(b.s[0]), sizeof(fresh)) == 0);
        llmos_session_destroy(b.s[0]);
        CHECK_INT(llmos_session_create(&b.s[0], b.c, &greedy, NULL), 0);
        CHECK_INT(llmos_session_append(b.s[0], others, 120, NULL), 0);
        step(&b, 1);
        llmos_session_destroy(b.s[0]);
        CHECK_INT(llmos_session_create(&b.s[0], b.c, &greedy, NULL), 0);
    }
    bench_fini(&b);
}

TEST(the_seed_decides_what_is_sampled)
{
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;
    int32_t made[3][16];
    struct bench b;

    bench_init(&b, NULL, 0);
    o.temperature = 2;
    o.top_k = 0;
    for (int run = 0; run < 3; run++) {
        o.seed = run < 2 ? 7 : 8;
        CHECK_INT(llmos_session_create(&b.s[0], b.c, &o, NULL), 0);
        prompt(&b, 0, 4);
        for (int i = 0; i < 16; i++) {
            step(&b, 1);
            made[run][i] = b.out[0].token;
        }
        llmos_session_destroy(b.s[0]);
    }
    CHECK(memcmp(made[0], made[1], sizeof(made[0])) == 0);
    CHECK(memcmp(made[0], made[2], sizeof(made[0])) != 0);
    bench_fini(&b);
}

/* --- memory --- */

TEST(context_survives_every_failed_allocation)
{
    struct llmos_context_options o = {.threads = 3, .sessions_max = 2};
    struct tiny_llama t;

    tiny_llama_init(&t, &tiny_hparams, DTYPE_Q8_0, NULL, 4);
    EVERY_ALLOCATION_FAILS
    {
        struct llmos_error err = {0};
        llmos_context *c = NULL;
        llmos_session *s = NULL;
        int rc = llmos_context_create(&c, &t.model, &o, &err);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        CHECK(rc == 0 ? c != NULL : !c && err.text[0]);
        if (rc == 0) {
            rc = llmos_session_create(&s, c, &greedy, &err);
            CHECK(rc == 0 || rc == LLMOS_ENOMEM);
            llmos_session_destroy(s);
        }
        llmos_context_destroy(c);
    }
    tiny_llama_fini(&t);
}

TEST(a_context_too_large_says_what_it_needs_and_what_would_fit)
{
    struct llmos_context_options o = {.context_tokens = 32768, .memory_max_bytes = 8 << 20};
    struct llmos_error err = {0};
    struct llmos_context_info info;
    struct tiny_llama t;
    llmos_context *c = NULL;
    uint32_t tried;

    tiny_llama_init(&t, &tiny_hparams, DTYPE_F32, NULL, 4);
    CHECK_INT(llmos_context_create(&c, &t.model, &o, &err), LLMOS_ENOMEM);
    CHECK(!c);
    CHECK_CONTAINS(err.text, "32768 tokens of context need 1");
    CHECK_CONTAINS(err.text, " MiB, 8.0 MiB are free; try --context ");
    o.context_tokens = tried = (uint32_t)atoi(strstr(err.text, "--context ") + 10);
    CHECK_INT(llmos_context_create(&c, &t.model, &o, &err), 0);
    llmos_context_info(c, &info);
    CHECK(info.kv_bytes + info.scratch_bytes <= 8 << 20);
    llmos_context_destroy(c);
    o.context_tokens += 64; /* it was the longest */
    CHECK_INT(llmos_context_create(&c, &t.model, &o, &err), LLMOS_ENOMEM);
    o.kv_type = "q8_0";
    CHECK_INT(llmos_context_create(&c, &t.model, &o, &err), 0);
    llmos_context_destroy(c);
    o.context_tokens = 32768;
    CHECK_INT(llmos_context_create(&c, &t.model, &o, &err), LLMOS_ENOMEM);
    CHECK((uint32_t)atoi(strstr(err.text, "--context ") + 10) > tried);
    o.kv_type = NULL;
    o.context_tokens = 4096;
    o.memory_max_bytes = 1 << 16;
    CHECK_INT(llmos_context_create(&c, &t.model, &o, &err), LLMOS_ENOMEM);
    CHECK_CONTAINS(err.text, "64.0 KiB are free");
    CHECK_CONTAINS(err.text, "smaller batch");
    tiny_llama_fini(&t);
}

TEST(context_options_out_of_range_are_refused)
{
    const struct {
        struct llmos_context_options o;
        int code;
        const char *why;
    } cases[] = {
        {{.threads = 100000}, LLMOS_EINVAL, "100000 threads"},
        {{.sessions_max = UINT32_MAX}, LLMOS_EINVAL, "4294967295 sequences"},
        {{.context_tokens = UINT32_MAX}, LLMOS_EINVAL, "4294967295 tokens"},
        {{.kv_type = "q4_0"}, LLMOS_EINVAL, "'q4_0', only as f16 or q8_0"},
        {{.context_tokens = 256, .kv_tokens = 100}, LLMOS_EINVAL, "KV pool of 100"},
        {{.context_tokens = 1 << 27, .sessions_max = 4096, .memory_max_bytes = 1 << 30},
         LLMOS_ENOMEM,
         "TiB"},
        {{.kv_tokens = UINT32_MAX, .memory_max_bytes = 1 << 30}, LLMOS_ENOMEM, "1.0 GiB are free"},
        {{.context_tokens = 1 << 27,
          .batch_tokens = UINT32_MAX,
          .sessions_max = 4096,
          .memory_max_bytes = 1 << 30},
         LLMOS_ENOMEM,
         "iB"},
    };
    struct tiny_llama t;

    tiny_llama_init(&t, &tiny_hparams, DTYPE_F32, NULL, 4);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct llmos_error err = {0};
        llmos_context *c = NULL;

        CHECK_INT(llmos_context_create(&c, &t.model, &cases[i].o, &err), cases[i].code);
        CHECK_CONTAINS(err.text, cases[i].why);
    }
    tiny_llama_fini(&t);
}

TEST(a_model_that_cannot_be_run_is_refused)
{
    struct llmos_error err = {0};
    struct tiny_llama t;
    llmos_context *c = NULL;

    tiny_llama_init(&t, &tiny_hparams, DTYPE_F32, NULL, 4);
    t.model.vocabulary_only = true;
    CHECK_INT(llmos_context_create(&c, &t.model, NULL, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "vocabulary");
    t.model.vocabulary_only = false;
    strcpy(t.model.hparams.architecture, "mamba");
    CHECK_INT(llmos_context_create(&c, &t.model, NULL, &err), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "'mamba'");
    tiny_llama_fini(&t);
}
