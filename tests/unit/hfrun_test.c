/* SPDX-License-Identifier: Apache-2.0 */
/* hfrun_test.c - folders that transformers wrote, converted and run: the same tokens, and the same
 * probabilities that transformers computed (tools/hf_folders.py and hf_quantised.py, "references").
 *
 * For the quantised folders it computed with the numbers that the formulas of their formats give.
 */
#include "base/mem.h"
#include "llmos/session.h"
#include "test.h"

#include "hfmodel.h"

#include <math.h>

#define STEPS 12

/* What is converted without a loss, or nearly so: FP8 times its scales is no bf16.  What blocks are
 * multiplied with is rounded to 8 bits, keys and values to f16. */
static const struct folder {
    const char *name;
    int type;
    double tolerance; /* of a log-probability */
} folders[] = {
    {"hf-llama", HFTENSORS_AUTO, 1e-4}, {"hf-longrope", HFTENSORS_AUTO, 1e-4},
    {"hf-mxfp4", HFTENSORS_AUTO, 4e-2}, {"hf-mxfp4", DTYPE_F32, 1e-4},
    {"hf-fp8", DTYPE_F32, 1e-4},        {"hf-gptq-4", HFTENSORS_AUTO, 6e-2},
    {"hf-gptq-4", DTYPE_F32, 1e-3},     {"hf-awq", DTYPE_F32, 1e-3},
};
#define FOLDERS (sizeof(folders) / sizeof(folders[0]))

static const char *path_of(const struct folder *folder, const char *name)
{
    static char path[4096];
    const char *source = getenv("LLMOS_SOURCE");

    snprintf(path, sizeof(path), "%s/tests/data/%s/%s", source ? source : ".", folder->name, name);
    return path;
}

static llmos_model *convert_and_open(const struct folder *folder)
{
    return hfmodel_open(path_of(folder, "."), folder->type);
}

struct expected {
    int32_t prompt[64], tokens[STEPS];
    int count;
    double logprobs[STEPS];
};

static struct expected read_expected(const struct folder *folder)
{
    FILE *f = fopen(path_of(folder, "expected.txt"), "r");
    struct expected e = {.count = 0};

    CHECK(f && fscanf(f, "%d", &e.count) == 1 && e.count > 0 && e.count < 64);
    for (int i = 0; i < e.count; i++)
        CHECK(fscanf(f, "%d", &e.prompt[i]) == 1);
    for (int i = 0; i < STEPS; i++)
        CHECK(fscanf(f, "%d %lf", &e.tokens[i], &e.logprobs[i]) == 2);
    fclose(f);
    return e;
}

TEST(hfrun_tokenizes_as_the_folders_tokenizer_does)
{
    for (size_t k = 0; k < FOLDERS; k++) {
        struct expected e = read_expected(&folders[k]);
        llmos_model *m = convert_and_open(&folders[k]);
        const char *text = "the and than";
        struct llmos_error err;
        int32_t tokens[64];

        CHECK_INT(llmos_tokenize(llmos_model_tokenizer(m), text, strlen(text),
                                 LLMOS_TOKENIZE_ADD_BOS, tokens, 64, &err),
                  e.count);
        for (int i = 0; i < e.count; i++)
            CHECK_INT(tokens[i], e.prompt[i]);
        llmos_model_close(m);
    }
}

/* The most likely token again and again, with its log-probability. */
static void continues(const struct folder *folder)
{
    struct llmos_context_options options = LLMOS_CONTEXT_OPTIONS_INIT;
    struct llmos_sampling sampling = LLMOS_SAMPLING_INIT;
    struct expected e = read_expected(folder);
    llmos_model *m = convert_and_open(folder);
    double worst = 0;
    llmos_context *context;
    llmos_session *session;

    sampling.temperature = 0;
    sampling.want_logprob = true;
    CHECK_INT(llmos_context_create(&context, m, &options, NULL), 0);
    CHECK_INT(llmos_session_create(&session, context, &sampling, NULL), 0);
    CHECK_INT(llmos_session_append(session, e.prompt, (size_t)e.count, NULL), 0);
    for (int i = 0; i < STEPS; i++) {
        struct llmos_step_out out = {.token = -1};

        CHECK_INT(llmos_context_step(context, &session, 1, &out, NULL), 0);
        CHECK_INT(out.token, e.tokens[i]);
        worst = fmax(worst, fabs((double)out.logprob - e.logprobs[i]));
    }
    printf("# %s: off by %.1e at most\n", folder->name, worst);
    CHECK(worst < folder->tolerance);
    llmos_session_destroy(session);
    llmos_context_destroy(context);
    llmos_model_close(m);
}

TEST(hfrun_computes_what_transformers_computes)
{
    for (size_t k = 0; k < FOLDERS; k++)
        continues(&folders[k]);
}

/* As a folder in FP8 is converted unless told otherwise: 8 bits of each product are left. */
TEST(hfrun_fp8_as_bf16_says_nearly_the_same)
{
    const struct folder fp8 = {"hf-fp8", HFTENSORS_AUTO, 8e-2}; /* twice what it was */

    continues(&fp8);
}
