/* SPDX-License-Identifier: Apache-2.0 */
/* encoder_test.c - vectors and scores are those of Hugging Face transformers: tiny random encoders,
 * made by tools/reference_encoders.py */
#include "llmos/encoder.h"

#include "reference.h"

#include "base/mem.h"
#include "infer/evaluate.h"
#include "llmos/session.h"
#include "model/packfile.h"

#include <sys/mman.h>

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
    {"bert_mean", TOLERANCE},
    {"bert_first", TOLERANCE},
    {"bert_q8_0", TOLERANCE_Q8_0},
    {"bert_tanh", TOLERANCE},
    {"bert_classify", TOLERANCE},
    {"bert_classify_q8_0", TOLERANCE_Q8_0},
    {"bert_rank", TOLERANCE},
    {"bert_tokens", TOLERANCE},
    {"distilbert_mean", TOLERANCE},
    {"distilbert_classify", TOLERANCE},
    {"distilbert_tokens", TOLERANCE},
    {"roberta_mean", TOLERANCE},
    {"roberta_classify", TOLERANCE},
    {"roberta_tokens", TOLERANCE},
    {"nomic_mean", TOLERANCE},
    {"modern_mean", TOLERANCE},
    {"modern_q8_0", TOLERANCE_Q8_0},
    {"modern_biases", TOLERANCE},
    {"modern_silu", TOLERANCE},
    {"modern_classify", TOLERANCE},
    {"modern_classify_first", TOLERANCE},
    {"modern_tokens", TOLERANCE},
    {"qwen3_last", TOLERANCE},
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

    if (reference_open_model(&a->model, fd, true, &err) < 0)
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

/* --- steps of several texts --- */

#define STEP_TEXTS 9

static const char *const kinds[] = {
    "bert_mean",   "bert_first",      "bert_rank",     "bert_q8_0",  "bert_classify",
    "bert_tokens", "modern_classify", "modern_tokens", "qwen3_last", "qwen3_mean"};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Pieces of one text, of one token up to nearly all. */
struct several {
    struct llmos_encoder_text texts[STEP_TEXTS];
    struct answer out[STEP_TEXTS];
};

static void several_fill(struct several *s, const struct asked *a)
{
    memset(s->out, 0, sizeof(s->out));
    for (size_t i = 0; i < STEP_TEXTS; i++) {
        size_t begin = i * 3 % a->n, left = a->n - begin;
        size_t count = 1 + i * i * 5 % left;
        bool classifies = a->scores && i % 3;

        s->texts[i] =
            (struct llmos_encoder_text){.tokens = a->tokens + begin,
                                        .count = count,
                                        .segment_b = i % 2 ? count / 2 : count,
                                        .classifies = classifies,
                                        .normalizes = i % 2,
                                        .out = classifies ? s->out[i].scores : s->out[i].vector};
    }
}

/* All of them, in as many steps as it takes; how many. */
static size_t several_run(struct several *s, const struct asked *a, uint32_t threads,
                          uint32_t batch_tokens)
{
    struct llmos_encoder_options o = {.threads = threads, .batch_tokens = batch_tokens};
    size_t steps = 0;
    llmos_encoder *e = NULL;

    several_fill(s, a);
    CHECK_INT(llmos_encoder_create(&e, &a->model, &o, NULL), 0);
    for (size_t done = 0; done < STEP_TEXTS; steps++) {
        long n;

        mem_fail_at(1); /* a step allocates nothing */
        n = llmos_encoder_step(e, s->texts + done, STEP_TEXTS - done, NULL, NULL, NULL);
        CHECK(!mem_failed());
        mem_fail_at(0);
        CHECK(n > 0 && (size_t)n <= STEP_TEXTS - done);
        done += (size_t)n;
    }
    llmos_encoder_destroy(e);
    return steps;
}

TEST(texts_of_one_step_get_the_bytes_of_each_alone)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct several alone, other;
        struct asked a;

        asked_open(&a, kinds[i]);
        CHECK_INT(several_run(&alone, &a, 1, 1), STEP_TEXTS);
        for (uint32_t threads = 1; threads <= 3; threads++) {
            for (uint32_t batch = 7; batch < 2000; batch *= 3) {
                size_t steps = several_run(&other, &a, threads, batch);

                CHECK(batch < 500 || steps < STEP_TEXTS);
                if (memcmp(alone.out, other.out, sizeof(alone.out)) != 0)
                    TEST_FAIL("%s: other bytes with %u threads in steps of %u tokens", kinds[i],
                              threads, batch);
            }
        }
        asked_close(&a);
    }
}

static bool count_down(void *left)
{
    return (*(unsigned *)left)-- > 0;
}

TEST(a_step_ends_between_layers_when_nobody_wants_it)
{
    for (size_t i = 0; i < KINDS; i++) {
        struct llmos_error err;
        struct several s, again;
        struct asked a;
        llmos_encoder *e;

        asked_open(&a, kinds[i]);
        e = encoder_of(&a, 2);
        several_fill(&s, &a);
        for (unsigned layers = 0; layers < a.model.hparams.n_layer; layers++) {
            unsigned left = layers;

            CHECK_INT(llmos_encoder_step(e, s.texts, STEP_TEXTS, count_down, &left, &err),
                      LLMOS_ECANCELED);
            CHECK_STR(err.text, "interrupted");
        }
        /* and leaves nothing behind */
        CHECK(llmos_encoder_step(e, s.texts, 1, NULL, NULL, NULL) == 1);
        several_run(&again, &a, 1, 1);
        CHECK(memcmp(&s.out[0], &again.out[0], sizeof(s.out[0])) == 0);
        llmos_encoder_destroy(e);
        asked_close(&a);
    }
}

TEST(a_step_ends_before_a_text_that_cannot_be_read)
{
    int32_t wrong[] = {1, 64};
    struct llmos_error err;
    struct several s;
    struct asked a;
    llmos_encoder *e;

    asked_open(&a, "bert_mean");
    e = encoder_of(&a, 1);
    several_fill(&s, &a);
    s.texts[2].tokens = wrong;
    s.texts[2].count = 2;
    CHECK_INT(llmos_encoder_step(e, s.texts, STEP_TEXTS, NULL, NULL, &err), 2);
    CHECK_INT(llmos_encoder_step(e, s.texts + 2, STEP_TEXTS - 2, NULL, NULL, &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "token 64 is outside the vocabulary of 64");
    CHECK_INT(llmos_encoder_step(e, s.texts, 0, NULL, NULL, &err), 0);
    llmos_encoder_destroy(e);
    asked_close(&a);
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

static void check_kind(const char *name, enum llmos_classifier classifier,
                       enum llmos_pooling pooling, uint32_t labels, const char *last)
{
    struct llmos_encoder_info info;
    struct asked a;
    llmos_encoder *e;

    asked_open(&a, name);
    e = encoder_of(&a, 1);
    llmos_encoder_info(e, &info);
    CHECK_INT(info.classifier, classifier);
    CHECK_INT(info.pooling, pooling);
    CHECK_INT(info.labels, labels);
    CHECK_STR(llmos_encoder_label(e, labels - 1), last);
    CHECK(!llmos_encoder_label(e, labels));
    llmos_encoder_destroy(e);
    asked_close(&a);
}

TEST(encoders_know_their_labels)
{
    check_kind("bert_classify", LLMOS_CLASSIFIER_SEQUENCE, LLMOS_POOLING_CLS, 5, "kind 4");
    check_kind("modern_classify", LLMOS_CLASSIFIER_SEQUENCE, LLMOS_POOLING_MEAN, 3, "kind 2");
    check_kind("bert_rank", LLMOS_CLASSIFIER_RANK, LLMOS_POOLING_CLS, 1, "LABEL_0");
    check_kind("roberta_tokens", LLMOS_CLASSIFIER_TOKEN, LLMOS_POOLING_MEAN, 7, "LABEL_6");
}

TEST(the_second_text_of_a_pair_makes_a_difference_where_the_model_has_segments)
{
    static const char *const names[] = {"bert_rank", "roberta_classify"};

    for (size_t i = 0; i < 2; i++) {
        float one[SCORES_MAX], pair[SCORES_MAX];
        struct asked a;
        llmos_encoder *e;

        asked_open(&a, names[i]);
        e = encoder_of(&a, 1);
        CHECK_INT(llmos_encoder_classify(e, a.tokens, a.n, a.n, one, NULL), 0);
        CHECK_INT(llmos_encoder_classify(e, a.tokens, a.n, 5, pair, NULL), 0);
        CHECK((one[0] != pair[0]) == (a.model.hparams.n_segments > 1));
        llmos_encoder_destroy(e);
        asked_close(&a);
    }
}

TEST(encoders_with_packed_weights_say_the_same)
{
    static const char *const names[] = {"bert_classify_q8_0", "modern_q8_0"};

    for (size_t i = 0; i < 2; i++) {
        int fd = memfd_create("packed", MFD_CLOEXEC);
        struct llmos_error err = {0};
        struct answer plain, packed;
        struct asked a;
        llmos_encoder *e;

        asked_open(&a, names[i]);
        e = encoder_of(&a, 2);
        answer(e, &a, &plain);
        llmos_encoder_destroy(e);
        if (!packfile_helps(&a.model)) {
            asked_close(&a);
            close(fd);
            SKIP("the kernels for this processor read no packed weights");
        }
        if (packfile_write(fd, &a.model, NULL, NULL, &err) < 0 ||
            packfile_use(&a.model, fd, NULL, &err) < 0)
            TEST_FAIL("%s", err.text);
        CHECK(weights_get(&a.model.weights, 1, WEIGHT_K)->is_packed);
        e = encoder_of(&a, 2);
        answer(e, &a, &packed);
        CHECK(memcmp(&plain, &packed, sizeof(plain)) == 0);
        llmos_encoder_destroy(e);
        asked_close(&a);
        close(fd);
    }
}

TEST(encoders_generate_nothing_and_say_so)
{
    struct evaluate_options o = {.threads = 1, .chunk_tokens = 8, .kv_type = DTYPE_F16};
    struct llmos_error err;
    struct evaluator *v = NULL;
    llmos_context *c = NULL;
    struct asked a;

    asked_open(&a, "nomic_mean");
    CHECK_INT(llmos_context_create(&c, &a.model, NULL, &err), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "'nomic-bert' reads whole texts and generates none");
    CHECK_INT(evaluator_create(&v, &a.model, &o, &err), LLMOS_EUNSUPPORTED);
    CHECK(!c && !v);
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
    static const char *const names[] = {"bert_classify", "modern_tokens", "qwen3_last"};
    struct llmos_encoder_options o = {.threads = 2};

    for (size_t i = 0; i < 3; i++) {
        int fd = reference_file("encoders", names[i]);

        EVERY_ALLOCATION_FAILS
        {
            struct llmos_model m;
            llmos_encoder *e = NULL;
            int rc = reference_open_model(&m, fd, true, NULL);

            if (rc == 0)
                rc = llmos_encoder_create(&e, &m, &o, NULL);
            CHECK(rc == 0 || rc == LLMOS_ENOMEM);
            llmos_encoder_destroy(e);
            reference_close_model(&m);
        }
        close(fd);
    }
}

/* --- hostile files --- */

/* What is written behind a name in the header: for a key its type (u32) and its value, for a tensor
 * the number of dimensions (u32), each of them (u64), type (u32) and offset (u64). */
struct patch {
    const char *name;
    size_t at; /* bytes behind the name; NAME: the name itself */
    uint64_t value;
    unsigned width;
};
#define NAME        SIZE_MAX
#define KEY(v)      4, v, 4
#define BOOL_KEY(v) 4, v, 1
#define INNER(v)    4, v, 8
#define ROWS(v)     12, v, 8
#define OFFSET_2(v) 24, v, 8 /* of a matrix */
#define GONE        NAME, 'x', 1
#define FILE_ROOM   (1 << 20) /* behind the file: for a tensor that becomes larger */

struct hostile {
    const char *file;
    int code;
    const char *says;
    struct patch patches[2];
};

static const struct hostile hostiles[] = {
    {"bert_mean",
     LLMOS_EFORMAT,
     "the file lacks tensor 'token_embd_norm.weight'",
     {{"token_embd_norm.weight", GONE}}},
    {"bert_mean",
     LLMOS_EFORMAT,
     "the file lacks tensor 'blk.1.attn_output_norm.bias'",
     {{"blk.1.attn_output_norm.bias", GONE}}},
    {"bert_mean",
     LLMOS_EFORMAT,
     "lacks tensor 'position_embd.weight'",
     {{"position_embd.weight", GONE}}},
    {"modern_mean",
     LLMOS_EFORMAT,
     "the file lacks tensor 'blk.1.attn_norm.weight'",
     {{"blk.1.attn_norm.weight", GONE}}},
    {"bert_rank",
     LLMOS_EFORMAT,
     "lacks tensor 'cls.output.weight', which a model that ranks",
     {{"cls.output.weight", GONE}}},
    {"bert_classify",
     LLMOS_EFORMAT,
     "'cls.weight' has shape 32 x 16 x 1 x 1, 32 x 32 x 1 is needed",
     {{"cls.weight", ROWS(16)}}},
    {"bert_classify",
     LLMOS_EFORMAT,
     "'cls.output.weight' has shape 16 x 5 x 1 x 1, 32 x 5 x 1 is needed",
     {{"cls.output.weight", INNER(16)}}},
    {"bert_classify",
     LLMOS_EFORMAT,
     "'cls.output.bias' has shape 4 x 1 x 1 x 1, 5 x 1 x 1 is needed",
     {{"cls.output.bias", INNER(4)}}},
    {"bert_classify",
     LLMOS_EFORMAT,
     "names 5 labels, the classifier has 4",
     {{"cls.output.bias", INNER(4)}, {"cls.output.weight", ROWS(4)}}},
    {"bert_classify",
     LLMOS_EFORMAT,
     "tensor 'cls.output.weight'",
     {{"cls.output.weight", ROWS(UINT64_C(1) << 31)}}},
    {"bert_classify",
     LLMOS_ELIMIT,
     "'cls.output.weight' has 5000 rows, at most 4096",
     {{"cls.output.weight", ROWS(5000)}, {"cls.output.weight", OFFSET_2(1 << 17)}}},
    {"bert_classify",
     LLMOS_EFORMAT,
     "bert.classifier.output_labels",
     {{"bert.classifier.output_labels", 8, UINT64_C(1) << 31, 8}}},
    {"modern_mean",
     LLMOS_EFORMAT,
     "'modern-bert.attention.sliding_window' is 0",
     {{"modern-bert.attention.sliding_window", KEY(0)}}},
    {"bert_mean",
     LLMOS_EUNSUPPORTED,
     "'bert.pooling_type' is 5; this version knows: 0 none, 1 mean",
     {{"bert.pooling_type", KEY(5)}}},
    {"modern_classify_first",
     LLMOS_EUNSUPPORTED,
     "'modern-bert.classifier.pooling_type' is 3",
     {{"modern-bert.classifier.pooling_type", KEY(3)}}},
    {"bert_mean",
     LLMOS_EUNSUPPORTED,
     "'bert.attention.causal' is true",
     {{"bert.attention.causal", BOOL_KEY(1)}}},
    {"bert_tanh",
     LLMOS_EUNSUPPORTED,
     "'bert.hidden_activation' is 'gelu_neX'",
     {{"bert.hidden_activation", 12 + 7, 'X', 1}}},
};

static void apply(unsigned char *bytes, size_t n, const struct patch *p)
{
    size_t length = strlen(p->name);
    unsigned char with_length[128] = {(unsigned char)length}, *at;

    memcpy(with_length + 8, p->name, length);
    at = memmem(bytes, n, with_length, 8 + length);
    CHECK(at);
    at += p->at == NAME ? 8 + length - 1 : 8 + length + p->at;
    memcpy(at, &p->value, p->width); /* little-endian, as the file */
}

static int patched_file(const struct hostile *h)
{
    int fd = reference_file("encoders", h->file), out = memfd_create("hostile", MFD_CLOEXEC);
    struct file_map map;
    size_t room;
    unsigned char *bytes;

    CHECK_INT(file_map(&map, fd, NULL), 0);
    room = map.len + FILE_ROOM;
    bytes = calloc(1, room);
    CHECK(bytes && out >= 0);
    memcpy(bytes, map.at, map.len);
    for (size_t i = 0; i < 2 && h->patches[i].name; i++)
        apply(bytes, map.len, &h->patches[i]);
    CHECK_INT(file_write_all(out, bytes, room), 0);
    free(bytes);
    file_unmap(&map);
    close(fd);
    return out;
}

TEST(whatever_is_wrong_with_a_file_is_said_in_a_sentence)
{
    for (size_t i = 0; i < sizeof(hostiles) / sizeof(hostiles[0]); i++) {
        const struct hostile *h = &hostiles[i];
        int fd = patched_file(h), rc;
        struct llmos_error err = {0};
        struct llmos_model m;
        llmos_encoder *e = NULL;

        rc = reference_open_model(&m, fd, true, &err);
        if (rc == 0)
            rc = llmos_encoder_create(&e, &m, NULL, &err);
        if (rc != h->code || !strstr(err.text, h->says))
            TEST_FAIL("'%s' with another '%s' gives %d: %s", h->file, h->patches[0].name, rc,
                      err.text);
        CHECK(!e);
        reference_close_model(&m);
        close(fd);
    }
}
