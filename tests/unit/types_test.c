/* SPDX-License-Identifier: Apache-2.0 */
/* types_test.c - a model of any number type computes what its blocks say: what comes out is what
 * comes out of the same model with every block decoded to f32.
 *
 * Every type with a random llama, and every type that the quantiser writes with every family: the
 * models of tests/data, made wide enough.  A line for each, which a table of models is made of:
 * "# decoded llama q4_0 llama_yarn 1.2e-02", and "# rounded ..." for what the rounding of weights
 * changes. */
#include "llmos/encoder.h"
#include "llmos/session.h"

#include "reference.h"

#include "model/packfile.h"
#include "model/quantize.h"
#include "modelfile.h"
#include "tensor/packed.h"
#include "widened.h"

#define TOKENS   16
#define ROOM_MAX ((size_t)TOKENS * 512)

/* Of the largest number: activations have eight bits beside quantised weights, and are bf16 beside
 * bf16 without AVX-512.  A wrong scale or place gives 0.1 to 1. */
#define TOLERANCE       0.08
#define TOLERANCE_PLAIN 0.02

/* What comes out: logits, or a vector. */
struct numbers {
    float at[ROOM_MAX];
    size_t rows, columns;
};

struct said {
    struct numbers main, scores; /* of a classifier, if there is one */
};

static void ask(int32_t tokens[TOKENS], uint32_t n_vocab)
{
    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (int32_t)((5 + 37 * i) % n_vocab);
}

/* Token by token. */
static void generate(const struct llmos_model *m, const int32_t *tokens, struct numbers *out)
{
    static const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    struct llmos_context_options o = {.threads = 1, .sessions_max = 1, .batch_tokens = 1};
    struct llmos_error err = {0};
    llmos_context *c = NULL;
    llmos_session *s;

    if (llmos_context_create(&c, m, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    CHECK_INT(llmos_session_create(&s, c, &greedy, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, TOKENS, NULL), 0);
    out->rows = TOKENS;
    out->columns = m->hparams.n_vocab;
    CHECK(out->rows * out->columns <= ROOM_MAX);
    for (size_t i = 0; i < TOKENS; i++) {
        struct llmos_step_out step;

        CHECK_INT(llmos_context_step(c, &s, 1, &step, NULL), 0);
        memcpy(out->at + i * out->columns, llmos_session_logits(s), out->columns * sizeof(float));
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
}

static void encode(const struct llmos_model *m, const int32_t *tokens, struct said *out)
{
    struct llmos_encoder_options o = {.threads = 1};
    struct llmos_encoder_info info;
    struct llmos_error err = {0};
    llmos_encoder *e = NULL;

    if (llmos_encoder_create(&e, m, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    llmos_encoder_info(e, &info);
    out->main.rows = 1;
    out->main.columns = info.width;
    CHECK_INT(llmos_encoder_embed(e, tokens, TOKENS, false, out->main.at, NULL), 0);
    if (info.classifier != LLMOS_CLASSIFIER_NONE) {
        out->scores.rows = info.classifier == LLMOS_CLASSIFIER_TOKEN ? TOKENS : 1;
        out->scores.columns = info.labels;
        CHECK_INT(llmos_encoder_classify(e, tokens, TOKENS, TOKENS, out->scores.at, NULL), 0);
    }
    llmos_encoder_destroy(e);
}

/* Closes fd; h says what the model is. */
static void run(int fd, struct hparams *h, struct said *out)
{
    struct llmos_error err = {0};
    int32_t tokens[TOKENS];
    struct llmos_model m;

    if (reference_open_model(&m, fd, false, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    *h = m.hparams;
    out->scores.rows = 0;
    ask(tokens, h->n_vocab);
    if (h->is_encoder)
        encode(&m, tokens, out);
    else
        generate(&m, tokens, &out->main);
    reference_close_model(&m);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The largest difference, in units of the largest number; of a model with experts the median over
 * the places, since a rounding may choose another expert. */
static double difference(const struct numbers *a, const struct numbers *b, bool has_experts)
{
    double most[TOKENS] = {0}, largest = 0;

    for (size_t i = 0; i < a->rows; i++)
        for (size_t k = 0; k < a->columns; k++) {
            size_t at = i * a->columns + k;

            most[i] = fmax(most[i], fabs((double)a->at[at] - (double)b->at[at]));
            largest = fmax(largest, fabs((double)b->at[at]));
        }
    qsort(most, a->rows, sizeof(most[0]), by_size);
    return a->rows ? most[has_experts ? a->rows / 2 : a->rows - 1] / largest : 0;
}

static double error_of(const struct said *a, const struct said *b, bool has_experts)
{
    return fmax(difference(&a->main, &b->main, has_experts),
                difference(&a->scores, &b->scores, has_experts));
}

/* The model in fd as this mix has it; "F32" decodes. */
static int as(int fd, const char *mix)
{
    struct quantize_options o = {.requantize = true};
    int out = modelfile_fd("", 0);
    struct llmos_error err = {0};
    struct file_map map;
    struct gguf g;

    CHECK_INT(mix_by_name(&o.mix, str_of(mix), NULL), 0);
    CHECK_INT(pool_create(&o.pool, 1, NULL), 0);
    if (file_map(&map, fd, &err) < 0 || gguf_parse(&g, map.at, map.len, &err) < 0 ||
        quantize_write(out, &g, &o, &err) < 0)
        TEST_FAIL("%s: %s", mix, err.text);
    gguf_fini(&g);
    file_unmap(&map);
    pool_destroy(o.pool);
    return out;
}

/* fd: a model with matrices of this type, which is closed.  exact: what the model says whose
 * weights were rounded, or NULL. */
static void check(int fd, enum dtype type, const char *name, const struct said *exact)
{
    static struct said blocks, decoded;
    bool is_plain = dtype_info(type)->block == 1;
    const char *type_name = dtype_info(type)->name;
    struct hparams h;
    double error;

    run(as(fd, "F32"), &h, &decoded);
    run(fd, &h, &blocks);
    error = error_of(&blocks, &decoded, h.n_expert > 0);
    printf("# decoded %s %s %s %.1e\n", h.architecture, type_name, name, error);
    if (exact)
        printf("# rounded %s %s %s %.1e\n", h.architecture, type_name, name,
               error_of(&decoded, exact, h.n_expert > 0));
    if (!(error < (is_plain ? TOLERANCE_PLAIN : TOLERANCE)))
        TEST_FAIL("%s of %s differs by %g of its largest number", name, type_name, error);
}

TEST(every_type_computes_what_its_blocks_say)
{
    for (int t = 0; t < DTYPE_COUNT; t++) {
        struct synth_options o = {3, 256, 4, 2, 512, 320, 64, (enum dtype)t, 5, false, true, false};

        const struct dtype_info *info = dtype_info((enum dtype)t);

        printf("# type %s %.4g %u\n", info->name, 8.0 * info->block_bytes / info->block,
               info->block);
        check(modelfile_synth(&o), (enum dtype)t, "wide", NULL);
    }
}

/* One mix for each number type: the others of a type have some matrices in a larger one. */
static const char *const mixes[] = {
    "BF16", "F16",    "Q8_0",   "Q5_1",   "Q5_0",   "Q4_1", "Q4_0",  "IQ4_NL", "MXFP4",
    "Q6_K", "Q5_K_S", "Q4_K_S", "IQ4_XS", "Q3_K_S", "Q2_K", "TQ1_0", "TQ2_0",
};

/* The name of the model's family.  In a brief run it meets every fourth mix, from `first` on. */
static struct str check_model(const char *folder, const char *name, size_t first)
{
    size_t step = test_is_brief() ? 4 : 1;
    int small = reference_file(folder, name), fd = widened_file(small, WIDENED_HIDDEN);
    static struct said exact;
    struct hparams h;

    close(small);
    run(dup(fd), &h, &exact);
    for (size_t i = first % step; i < sizeof(mixes) / sizeof(mixes[0]); i += step) {
        const struct mix *mix;

        CHECK_INT(mix_by_name(&mix, str_of(mixes[i]), NULL), 0);
        check(as(fd, mixes[i]), mix->type, name, &exact);
    }
    close(fd);
    return str_of(h.family->name);
}

TEST(every_family_computes_what_its_blocks_say)
{
    static const struct {
        const char *folder, *name;
    } models[] = {
        {"encoders", "bert_classify"}, {"encoders", "nomic_mean"}, {"encoders", "modern_tokens"},
        {"reference", "llama"},        {"reference", "mixtral"},   {"reference", "qwen2"},
        {"reference", "qwen3"},        {"reference", "phi3"},      {"reference", "granite"},
        {"reference", "gemma"},        {"reference", "gemma2"},    {"reference", "gemma3"},
        {"reference", "smollm3"},      {"reference", "olmo2"},     {"reference", "gpt2"},
        {"reference", "starcoder2"},   {"reference", "qwen2moe"},  {"reference", "qwen3moe"},
        {"reference", "gpt_oss"},
    };
    bool seen[64] = {false};

    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        const struct family *f = family_by_name(check_model(models[i].folder, models[i].name, i));

        seen[f - family_at(0)] = true;
    }
    for (unsigned i = 0; family_at(i); i++)
        if (!seen[i])
            TEST_FAIL("no model of family %s is among them", family_at(i)->name);
}

/* Each expert has strips of its own, and so has each of their matrices. */
TEST(experts_of_several_strips_say_the_same_packed)
{
    static struct numbers plain, packed;
    int small = reference_file("reference", "mixtral");
    int wide = widened_file(small, PACKED_STRIP + 256), fd = as(wide, "Q8_0");
    int file = memfd_create("packed", MFD_CLOEXEC);
    struct llmos_error err = {0};
    int32_t tokens[TOKENS];
    struct llmos_model m;

    close(small);
    close(wide);
    if (reference_open_model(&m, fd, false, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    ask(tokens, m.hparams.n_vocab);
    generate(&m, tokens, &plain);
    if (packfile_helps(&m)) {
        if (packfile_write(file, &m, NULL, NULL, &err) < 0 ||
            packfile_use(&m, file, NULL, &err) < 0)
            TEST_FAIL("%s", err.text);
        CHECK(weights_get(&m.weights, 0, WEIGHT_EXP_DOWN)->is_packed);
        generate(&m, tokens, &packed);
    }
    close(file);
    reference_close_model(&m);
    if (packed.rows == 0)
        SKIP("the kernels for this processor read no packed weights");
    CHECK(memcmp(plain.at, packed.at, plain.rows * plain.columns * sizeof(float)) == 0);
}
