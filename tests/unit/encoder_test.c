/* SPDX-License-Identifier: Apache-2.0 */
/* encoder_test.c - vectors and scores are those of Hugging Face transformers: tiny random encoders,
 * made by tools/reference_encoders.py */
#include "llmos/encoder.h"

#include "reference.h"

#include "base/mem.h"

#define TOKENS_MAX 300
#define WIDTH_MAX  64
#define SCORES_MAX 256

/* Of the largest number.  Activations have eight bits where weights are quantised. */
#define TOLERANCE      1e-4
#define TOLERANCE_Q8_0 0.05

static const struct {
    const char *name;
    double tolerance;
} cases[] = {
    {"bert_mean", TOLERANCE},       {"bert_first", TOLERANCE},
    {"bert_q8_0", TOLERANCE_Q8_0},  {"bert_tanh", TOLERANCE},
    {"bert_classify", TOLERANCE},   {"bert_classify_q8_0", TOLERANCE_Q8_0},
    {"bert_rank", TOLERANCE},       {"bert_tokens", TOLERANCE},
    {"roberta_mean", TOLERANCE},    {"roberta_classify", TOLERANCE},
    {"roberta_tokens", TOLERANCE},  {"nomic_mean", TOLERANCE},
    {"modern_mean", TOLERANCE},     {"modern_q8_0", TOLERANCE_Q8_0},
    {"modern_biases", TOLERANCE},   {"modern_silu", TOLERANCE},
    {"modern_classify", TOLERANCE}, {"modern_classify_first", TOLERANCE},
    {"modern_tokens", TOLERANCE},   {"qwen3_last", TOLERANCE},
    {"qwen3_mean", TOLERANCE},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

struct asked {
    struct llmos_model model;
    int32_t tokens[TOKENS_MAX];
    size_t n, second;
    const float *vector, *scores; /* scores NULL: there is no classifier */
    size_t width, score_count;
};

static const float *numbers(const struct asked *a, const char *name, size_t *count)
{
    const struct gguf_tensor *t = gguf_find_tensor(&a->model.gguf, name);

    *count = t ? t->t.shape[0] * t->t.shape[1] : 0;
    return t ? t->t.data : NULL;
}

static void asked_open(struct asked *a, const char *name)
{
    struct llmos_error err = {0};
    int fd = reference_file("encoders", name);
    const float *tokens;
    size_t one;

    if (reference_open_model(&a->model, fd, &err) < 0)
        TEST_FAIL("%s: %s", name, err.text);
    close(fd);
    tokens = numbers(a, "reference.tokens", &a->n);
    CHECK(tokens && a->n <= TOKENS_MAX);
    for (size_t i = 0; i < a->n; i++)
        a->tokens[i] = (int32_t)tokens[i];
    a->second = (size_t)*numbers(a, "reference.second", &one);
    a->vector = numbers(a, "reference.vector", &a->width);
    CHECK_INT(a->width, a->model.hparams.n_embd);
    CHECK(a->width <= WIDTH_MAX);
    a->scores = numbers(a, "reference.scores", &a->score_count);
    CHECK(a->score_count <= SCORES_MAX);
}

static void asked_close(struct asked *a)
{
    reference_close_model(&a->model);
}

static llmos_encoder *encoder_of(const struct asked *a, uint32_t threads)
{
    struct llmos_encoder_options o = {.threads = threads};
    struct llmos_error err = {0};
    llmos_encoder *e = NULL;

    if (llmos_encoder_create(&e, &a->model, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    return e;
}

/* The largest difference, in units of the largest number. */
static double error_of(const float *x, const float *expected, size_t n)
{
    double most = 0, largest = 0;

    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)x[i] - (double)expected[i]));
        largest = fmax(largest, fabs((double)expected[i]));
    }
    return most / largest;
}

struct answer {
    float vector[WIDTH_MAX], scores[SCORES_MAX];
};

/* Both, where there are scores; the vector is that of one text. */
static void answer(llmos_encoder *e, const struct asked *a, struct answer *out)
{
    struct llmos_encoder_info info;

    memset(out, 0, sizeof(*out));
    CHECK_INT(llmos_encoder_embed(e, a->tokens, a->n, false, out->vector, NULL), 0);
    if (!a->scores)
        return;
    llmos_encoder_info(e, &info);
    CHECK_INT(info.labels * (info.classifier == LLMOS_CLASSIFIER_TOKEN ? a->n : 1), a->score_count);
    CHECK_INT(llmos_encoder_classify(e, a->tokens, a->n, a->second, out->scores, NULL), 0);
}

static double error_of_case(const struct asked *a)
{
    llmos_encoder *e = encoder_of(a, 1);
    struct answer got;
    double error = 0;

    answer(e, a, &got);
    llmos_encoder_destroy(e);
    if (a->second == a->n || a->model.hparams.n_segments < 2) /* else it is that of a pair */
        error = error_of(got.vector, a->vector, a->width);
    return a->scores ? fmax(error, error_of(got.scores, a->scores, a->score_count)) : error;
}

TEST(every_encoder_computes_what_transformers_computes)
{
    for (size_t i = 0; i < CASES; i++) {
        struct asked a;
        double error;

        asked_open(&a, cases[i].name);
        error = error_of_case(&a);
        reference_print(&a.model, cases[i].name, error);
        if (!(error < cases[i].tolerance))
            TEST_FAIL("%s differs by %g of its largest number", cases[i].name, error);
        asked_close(&a);
    }
}

TEST(vectors_and_scores_depend_on_nothing_but_the_text)
{
    for (size_t i = 0; i < CASES; i++) {
        struct answer first, other;
        struct asked a;

        asked_open(&a, cases[i].name);
        for (uint32_t threads = 1; threads <= 4; threads++) {
            llmos_encoder *e = encoder_of(&a, threads);

            mem_fail_at(1);  /* a text allocates nothing */
            if (threads > 1) /* another text before it */
                CHECK_INT(llmos_encoder_embed(e, a.tokens + 1, 7, false, other.vector, NULL), 0);
            answer(e, &a, &other);
            CHECK(!mem_failed());
            mem_fail_at(0);
            if (threads == 1)
                first = other;
            if (memcmp(&first, &other, sizeof(first)) != 0)
                TEST_FAIL("%s: other bytes with %u threads", cases[i].name, threads);
            llmos_encoder_destroy(e);
        }
        asked_close(&a);
    }
}

TEST(normalised_vectors_have_length_1)
{
    float vector[WIDTH_MAX];
    double squares = 0;
    struct asked a;
    llmos_encoder *e;

    asked_open(&a, "bert_mean");
    e = encoder_of(&a, 1);
    CHECK_INT(llmos_encoder_embed(e, a.tokens, a.n, true, vector, NULL), 0);
    for (size_t i = 0; i < a.model.hparams.n_embd; i++)
        squares += (double)vector[i] * (double)vector[i];
    CHECK_NEAR(squares, 1, 1e-6);
    llmos_encoder_destroy(e);
    asked_close(&a);
}

TEST(encoders_say_what_they_are)
{
    struct llmos_encoder_info info;
    struct asked a;
    llmos_encoder *e;

    asked_open(&a, "bert_first");
    e = encoder_of(&a, 3);
    llmos_encoder_info(e, &info);
    CHECK_INT(info.pooling, LLMOS_POOLING_CLS);
    CHECK_INT(info.classifier, LLMOS_CLASSIFIER_NONE);
    CHECK_INT(info.threads, 3);
    CHECK_INT(info.width, 36);
    CHECK_INT(info.labels, 0);
    CHECK_INT(info.tokens_max, 80);
    CHECK(info.scratch_bytes > 0);
    CHECK(llmos_encoder_label(e, 0) == NULL);
    llmos_encoder_destroy(e);
    asked_close(&a);
}

TEST(encoders_refuse_texts_that_they_cannot_read)
{
    int32_t tokens[TOKENS_MAX] = {0};
    float vector[WIDTH_MAX] = {7};
    struct llmos_error err;
    struct asked a;
    llmos_encoder *e;

    asked_open(&a, "bert_mean");
    e = encoder_of(&a, 1);
    CHECK_INT(llmos_encoder_embed(e, tokens, 0, false, vector, &err), LLMOS_EINVAL);
    CHECK_INT(llmos_encoder_embed(e, tokens, 81, false, vector, &err), LLMOS_ECONTEXT);
    CHECK_STR(err.text, "the text has 81 tokens, at most 80 are read");
    tokens[1] = 64;
    CHECK_INT(llmos_encoder_embed(e, tokens, 3, false, vector, &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "token 64 is outside the vocabulary of 64");
    tokens[1] = -1;
    CHECK_INT(llmos_encoder_embed(e, tokens, 3, false, vector, &err), LLMOS_EINVAL);
    CHECK_INT(llmos_encoder_classify(e, tokens, 1, 1, vector, &err), LLMOS_EUNSUPPORTED);
    CHECK(vector[0] == 7);
    llmos_encoder_destroy(e);
    asked_close(&a);
}

TEST(encoders_refuse_what_does_not_fit)
{
    struct llmos_encoder_options o = {.tokens_max = 81};
    struct llmos_error err;
    llmos_encoder *e = NULL;
    struct asked a;

    asked_open(&a, "bert_mean");
    CHECK_INT(llmos_encoder_create(&e, &a.model, &o, &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "texts of 81 tokens, but the model has learned 80 positions");
    o = (struct llmos_encoder_options){.memory_max_bytes = 1000};
    CHECK_INT(llmos_encoder_create(&e, &a.model, &o, &err), LLMOS_ENOMEM);
    CHECK_CONTAINS(err.text, "texts of 80 tokens need");
    o = (struct llmos_encoder_options){.threads = 5000};
    CHECK_INT(llmos_encoder_create(&e, &a.model, &o, &err), LLMOS_EINVAL);
    CHECK(!e);
    asked_close(&a);
}

TEST(encoders_survive_every_failed_allocation)
{
    struct llmos_encoder_options o = {.threads = 2};
    struct asked a;

    asked_open(&a, "bert_mean");
    EVERY_ALLOCATION_FAILS
    {
        llmos_encoder *e = NULL;
        int rc = llmos_encoder_create(&e, &a.model, &o, NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        llmos_encoder_destroy(e);
    }
    asked_close(&a);
}
