/* SPDX-License-Identifier: Apache-2.0 */
/* types_test.c - a model of any number type computes what its blocks say: the logits are those of
 * the same model with every block decoded to f32.
 *
 * The types of 256 values a block with a model of our own, those of 32 with every family of
 * tests/data/reference.  "# decoded llama q4_0 llama_yarn 1.2e-02": a line for each. */
#include "llmos/session.h"

#include "reference.h"

#include "model/quantize.h"
#include "modelfile.h"

#include <dirent.h>

#define TOKENS    16
#define VOCAB_MAX 512

/* Of the largest logit: activations have eight bits beside quantised weights, and are bf16 beside
 * bf16 where the processor multiplies these.  A wrong scale or place gives 0.1 to 1. */
#define TOLERANCE       0.08
#define TOLERANCE_PLAIN 0.02

struct logits {
    float at[TOKENS][VOCAB_MAX];
    size_t count;
};

static llmos_session *session_of(llmos_context *c, uint32_t n_vocab)
{
    static const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    int32_t tokens[TOKENS];
    llmos_session *s;

    for (uint32_t i = 0; i < TOKENS; i++)
        tokens[i] = (int32_t)((5 + 37 * i) % n_vocab);
    CHECK_INT(llmos_session_create(&s, c, &greedy, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, TOKENS, NULL), 0);
    return s;
}

/* Token by token.  Closes fd. */
static void run(int fd, struct llmos_model *m, struct logits *out)
{
    struct llmos_context_options o = {.threads = 1, .sessions_max = 1, .batch_tokens = 1};
    struct llmos_error err = {0};
    llmos_context *c = NULL;
    llmos_session *s;

    if (reference_open_model(m, fd, &err) < 0 || llmos_context_create(&c, m, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    out->count = m->hparams.n_vocab;
    CHECK(out->count <= VOCAB_MAX);
    s = session_of(c, m->hparams.n_vocab);
    for (size_t i = 0; i < TOKENS; i++) {
        struct llmos_step_out step;

        CHECK_INT(llmos_context_step(c, &s, 1, &step, NULL), 0);
        memcpy(out->at[i], llmos_session_logits(s), out->count * sizeof(float));
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The largest difference, in units of the largest logit; of a model with experts the median over
 * the places, since a rounding may choose another expert. */
static double difference(const struct logits *a, const struct logits *b, bool has_experts)
{
    double most[TOKENS] = {0}, largest = 0;

    for (size_t i = 0; i < TOKENS; i++)
        for (size_t k = 0; k < a->count; k++) {
            most[i] = fmax(most[i], fabs((double)a->at[i][k] - (double)b->at[i][k]));
            largest = fmax(largest, fabs((double)b->at[i][k]));
        }
    qsort(most, TOKENS, sizeof(most[0]), by_size);
    return most[has_experts ? TOKENS / 2 : TOKENS - 1] / largest;
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

/* fd: a model with matrices of this type.  Closes it. */
static void check(int fd, enum dtype type, const char *name)
{
    static struct logits blocks, decoded;
    bool is_plain = dtype_info(type)->block == 1;
    struct llmos_model m;
    double error;

    run(as(fd, "F32"), &m, &decoded);
    reference_close_model(&m);
    run(fd, &m, &blocks);
    error = difference(&blocks, &decoded, m.hparams.n_expert > 0);
    printf("# decoded %s %s %s %.1e\n", m.hparams.architecture, dtype_info(type)->name, name,
           error);
    reference_close_model(&m);
    if (!(error < (is_plain ? TOLERANCE_PLAIN : TOLERANCE)))
        TEST_FAIL("%s of %s differs by %g of its largest logit", name, dtype_info(type)->name,
                  error);
}

TEST(every_type_computes_what_its_blocks_say)
{
    for (int t = 0; t < DTYPE_COUNT; t++) {
        struct synth_options o = {3, 256, 4, 2, 512, 320, 64, (enum dtype)t, 5, false, true, false};

        const struct dtype_info *info = dtype_info((enum dtype)t);

        printf("# type %s %.4g\n", info->name, 8.0 * info->block_bytes / info->block);
        check(modelfile_synth(&o), (enum dtype)t, "wide");
    }
}

static int is_model(const struct dirent *file)
{
    size_t n = strlen(file->d_name);

    return n > 5 && strcmp(file->d_name + n - 5, ".gguf") == 0 && !strstr(file->d_name, "_q8_0");
}

static void check_family(const char *name)
{
    static const char *const mixes[] = {"BF16", "F16",  "Q8_0", "Q5_1",
                                        "Q5_0", "Q4_1", "Q4_0", "IQ4_NL"};
    int fd = reference_file("reference", name);

    for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++) {
        const struct mix *mix;

        CHECK_INT(mix_by_name(&mix, str_of(mixes[i]), NULL), 0);
        check(as(fd, mixes[i]), mix->type, name);
    }
    close(fd);
}

TEST(every_family_computes_what_its_blocks_say)
{
    const char *source = getenv("LLMOS_SOURCE");
    struct dirent **files;
    char path[4096];
    int n;

    snprintf(path, sizeof(path), "%s/tests/data/reference", source ? source : ".");
    n = scandir(path, &files, is_model, alphasort);
    CHECK(n > 20);
    for (int i = 0; i < n; i++) {
        files[i]->d_name[strlen(files[i]->d_name) - 5] = '\0';
        check_family(files[i]->d_name);
        free(files[i]);
    }
    free(files);
}
