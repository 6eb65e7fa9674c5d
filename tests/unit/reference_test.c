/* SPDX-License-Identifier: Apache-2.0 */
/* reference_test.c - every family computes what Hugging Face transformers computes: tiny random
 * models and their logits, made by tools/reference_models.py. */
#include "llmos/session.h"

#include "reference.h"

#include "base/mem.h"
#include "model/packfile.h"
#include "tensor/backend.h"

#include <sys/mman.h>

#define N_MAX     40
#define VOCAB_MAX 128

/* Of the largest logit.  What is left besides roundings of f32 are the few keys and values that
 * fall to the other side of a rounding to f16. */
#define TOLERANCE 1e-4

static const char *const names[] = {
    "llama",
    "llama_biases",
    "llama_linear",
    "llama_yarn",
    "llama_yarn_between",
    "llama3",
    "mistral",
    "smollm3",
    "qwen2",
    "qwen3",
    "phi3",
    "phi3_long",
    "phi3_short",
    "phi4_mini",
    "granite",
    "gemma2",
    "gemma3",
    "olmo2",
    "olmo3",
    "gpt2",
    "starcoder2",
    "gemma",
    "mixtral",
    "qwen2moe",
    "qwen3moe",
    "qwen3moe_shares",
    "gpt_oss",
};
#define NAMES (sizeof(names) / sizeof(names[0]))

struct reference {
    struct llmos_model model; /* without a tokenizer: the files have none */
    int32_t tokens[N_MAX];
    size_t n, n_vocab;
    const float *logits; /* [n][n_vocab] */
    float largest;
};

/* widens: weights of f16 become f32. */
static void reference_open_as(struct reference *r, const char *name, bool widens)
{
    struct llmos_model *m = &r->model;
    const struct gguf_tensor *tokens, *logits;
    struct llmos_error err = {0};
    int fd = reference_file("reference", name);

    memset(r, 0, sizeof(*r));
    if (reference_open_model(m, fd, widens, &err) < 0)
        TEST_FAIL("%s: %s", name, err.text);
    close(fd);
    tokens = gguf_find_tensor(&m->gguf, "reference.tokens");
    logits = gguf_find_tensor(&m->gguf, "reference.logits");
    CHECK(tokens && logits && tokens->t.shape[0] <= N_MAX);
    r->n = tokens->t.shape[0];
    r->n_vocab = m->hparams.n_vocab;
    CHECK_INT(logits->t.shape[0], r->n_vocab);
    CHECK_INT(logits->t.shape[1], r->n);
    r->logits = logits->t.data;
    for (size_t i = 0; i < r->n; i++)
        r->tokens[i] = (int32_t)((const float *)tokens->t.data)[i];
    for (size_t i = 0; i < r->n * r->n_vocab; i++)
        r->largest = fmaxf(r->largest, fabsf(r->logits[i]));
}

static void reference_open(struct reference *r, const char *name)
{
    reference_open_as(r, name, true);
}

static void reference_close(struct reference *r)
{
    reference_close_model(&r->model);
}

static llmos_context *context_of(const struct reference *r, uint32_t threads, uint32_t batch,
                                 const char *kv_type)
{
    struct llmos_context_options o = {
        .threads = threads, .sessions_max = 2, .batch_tokens = batch, .kv_type = kv_type};
    struct llmos_error err = {0};
    llmos_context *c = NULL;

    if (llmos_context_create(&c, &r->model, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    return c;
}

static llmos_session *session_of(const struct reference *r, llmos_context *c, size_t n)
{
    static const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    llmos_session *s;

    CHECK_INT(llmos_session_create(&s, c, &greedy, NULL), 0);
    CHECK_INT(llmos_session_append(s, r->tokens, n, NULL), 0);
    return s;
}

/* The largest difference at position i, in units of the largest logit. */
static double error_at(const struct reference *r, const float *logits, size_t i)
{
    double most = 0;

    for (size_t k = 0; k < r->n_vocab; k++)
        most = fmax(most, fabs((double)logits[k] - (double)r->logits[i * r->n_vocab + k]));
    return most / (double)r->largest;
}

/* Token by token; the logits of all positions go to `all`. */
static double error_of(const struct reference *r, const char *kv_type, float *all)
{
    llmos_context *c = context_of(r, 1, 1, kv_type);
    llmos_session *s = session_of(r, c, r->n);
    struct llmos_step_out out;
    double worst = 0;

    for (size_t i = 0; i < r->n; i++) {
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        memcpy(all + i * r->n_vocab, llmos_session_logits(s), r->n_vocab * sizeof(float));
        worst = fmax(worst, error_at(r, all + i * r->n_vocab, i));
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    return worst;
}

TEST(every_family_computes_what_transformers_computes)
{
    for (size_t i = 0; i < NAMES; i++) {
        float all[N_MAX * VOCAB_MAX];
        struct reference r;
        double error;

        reference_open(&r, names[i]);
        error = error_of(&r, NULL, all);
        reference_print(&r.model, names[i], error);
        if (!(error < TOLERANCE))
            TEST_FAIL("%s differs by %g of its largest logit", names[i], error);
        reference_close(&r);
    }
}

/* The judge knows f16 only: a wrong place or scale gives 0.1 to 1. */
TEST(every_family_takes_a_cache_of_q8_0)
{
    for (size_t i = 0; i < NAMES; i++) {
        float all[N_MAX * VOCAB_MAX];
        struct reference r;
        double error;

        reference_open(&r, names[i]);
        error = error_of(&r, "q8_0", all);
        if (!(error < 0.05))
            TEST_FAIL("%s differs by %g of its largest logit", names[i], error);
        reference_close(&r);
    }
}

/* Two sessions, one of which is a few tokens behind, so that rows of both share batches. */
static void check_way(const struct reference *r, const char *name, const float *all,
                      uint32_t threads, uint32_t batch)
{
    llmos_context *c = context_of(r, threads, batch, NULL);
    size_t n[2] = {r->n, r->n - 5};
    llmos_session *s[2] = {session_of(r, c, n[0]), session_of(r, c, n[1])};
    bool done[2] = {false, false};

    mem_fail_at(1); /* a step allocates nothing */
    while (!done[0] || !done[1]) {
        struct llmos_step_out out[2];

        CHECK_INT(llmos_context_step(c, s, 2, out, NULL), 0);
        for (int k = 0; k < 2; k++) {
            if (done[k] || out[k].token < 0)
                continue;
            done[k] = true;
            if (memcmp(llmos_session_logits(s[k]), all + (n[k] - 1) * r->n_vocab,
                       r->n_vocab * sizeof(float)) != 0)
                TEST_FAIL("%s: other bytes with %u threads in batches of %u", name, threads, batch);
        }
    }
    CHECK(!mem_failed());
    mem_fail_at(0);
    llmos_session_destroy(s[0]);
    llmos_session_destroy(s[1]);
    llmos_context_destroy(c);
}

TEST(every_family_gives_the_same_bytes_however_it_is_cut)
{
    static const uint32_t batches[] = {3, 7, 32, 128};

    for (size_t i = 0; i < NAMES; i++) {
        float all[N_MAX * VOCAB_MAX];
        struct reference r;

        reference_open(&r, names[i]);
        error_of(&r, NULL, all);
        for (uint32_t threads = 1; threads <= 3; threads++)
            for (size_t b = 0; b < 4; b++)
                check_way(&r, names[i], all, threads, batches[b]);
        reference_close(&r);
    }
}

TEST(every_family_survives_every_failed_allocation)
{
    for (size_t i = 0; i < NAMES; i++) {
        int fd = reference_file("reference", names[i]);

        EVERY_ALLOCATION_FAILS
        {
            struct llmos_model m;
            int rc = reference_open_model(&m, fd, true, NULL);

            CHECK(rc == 0 || rc == LLMOS_ENOMEM);
            reference_close_model(&m);
        }
        close(fd);
    }
}

/* Whether anything was packed. */
static bool pack(struct reference *r)
{
    struct llmos_error err = {0};
    int fd;

    if (!packfile_helps(&r->model))
        return false;
    fd = memfd_create("packed", MFD_CLOEXEC);
    if (packfile_write(fd, &r->model, NULL, NULL, &err) < 0 ||
        packfile_use(&r->model, fd, NULL, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    return true;
}

TEST(every_family_computes_the_same_bytes_from_packed_weights)
{
    float plain[N_MAX * VOCAB_MAX], packed[N_MAX * VOCAB_MAX];
    size_t with_experts = 0;

    for (size_t i = 0; i < NAMES; i++) {
        const struct tensor *experts;
        struct reference r;
        bool is_packed;

        reference_open_as(&r, names[i], false);
        error_of(&r, NULL, plain);
        is_packed = pack(&r);
        if (is_packed)
            error_of(&r, NULL, packed);
        if (is_packed && memcmp(plain, packed, r.n * r.n_vocab * sizeof(float)) != 0)
            TEST_FAIL("%s differs", names[i]);
        experts = weights_get(&r.model.weights, 0, WEIGHT_EXP_UP);
        with_experts += experts && experts->is_packed;
        reference_close(&r);
    }
    CHECK(with_experts > 0 || !backend_reads_packed(backend_best(), DTYPE_F16));
}

/* Matrices that the file keeps as one are packed one by one.  Activations have eight bits here. */
TEST(views_of_fused_matrices_are_packed)
{
    float plain[N_MAX * VOCAB_MAX], packed[N_MAX * VOCAB_MAX];
    struct reference r;

    reference_open(&r, "phi3_q8_0");
    CHECK_NEAR(error_of(&r, NULL, plain), 0, 0.05);
    if (!pack(&r)) {
        reference_close(&r);
        SKIP("the kernels for this processor read no packed weights");
    }
    CHECK(weights_get(&r.model.weights, 1, WEIGHT_K)->is_packed);
    CHECK(weights_get(&r.model.weights, 1, WEIGHT_UP)->is_packed);
    error_of(&r, NULL, packed);
    CHECK(memcmp(plain, packed, r.n * r.n_vocab * sizeof(float)) == 0);
    reference_close(&r);
}
