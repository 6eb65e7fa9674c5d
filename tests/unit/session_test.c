/* SPDX-License-Identifier: Apache-2.0 */
#include "llmos/session.h"

#include "naive_llama.h"
#include "test.h"
#include "tiny_llama.h"

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
static double error_of(const struct tiny_llama *t, size_t n)
{
    size_t n_vocab = t->model.hparams.n_vocab;
    double *expected = calloc(n * n_vocab, sizeof(*expected)), wrong = 0, squares = 0;
    int32_t tokens[N];
    llmos_context *c = context_of(t, 1, 1, 1);
    llmos_session *s;
    struct llmos_step_out out;

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

static double error_with(const struct hparams *h, enum dtype type, const float *factors, size_t n)
{
    struct tiny_llama t;
    double error;

    tiny_llama_init(&t, h, type, factors, 1);
    error = error_of(&t, n);
    tiny_llama_fini(&t);
    return error;
}

/* 1e-3: a few roundings of the f16 cache fall the other way; a wrong head or angle gives 0.1 to 1.
 */
TEST(session_computes_what_the_naive_model_computes_in_every_float_type)
{
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_F32, NULL, N), 0, 1e-3);
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_F16, NULL, 30), 0, 1e-3);
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_BF16, NULL, 30), 0, 1e-3);
}

/* The judge uses the quantised weights as they are: what is left is the rounding of activations to
 * eight bits, seven times a layer. */
TEST(session_computes_what_the_naive_model_computes_with_quantised_weights)
{
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_Q8_0, NULL, 30), 0, 0.06);
    CHECK_NEAR(error_with(&tiny_hparams, DTYPE_Q4_0, NULL, 30), 0, 0.06);
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
    CHECK_NEAR(error_with(&h, DTYPE_BF16, NULL, 30), 0, 1e-3);
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

/* --- same seed, same bytes -------------------------------------------------------------------- */

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
