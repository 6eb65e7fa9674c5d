/* SPDX-License-Identifier: Apache-2.0 */
/* hfllama_test.c - a folder that transformers wrote, converted and run: the same tokens, and the
 * same probabilities that transformers computed (tools/hf_folders.py, "reference") */
#include "base/mem.h"
#include "llmos/session.h"
#include "model/hfconvert.h"
#include "test.h"

#include "modelfile.h"

#define STEPS 12

static const char *const names[] = {"config.json", "generation_config.json", "tokenizer.json",
                                    "tokenizer_config.json", "model.safetensors"};
#define FILES (sizeof(names) / sizeof(names[0]))

static const char *path_of(const char *name)
{
    static char path[4096];
    const char *source = getenv("LLMOS_SOURCE");

    snprintf(path, sizeof(path), "%s/tests/data/hf-llama/%s", source ? source : ".", name);
    return path;
}

static llmos_model *convert_and_open(int type)
{
    const struct hfconvert_options o = {.type = type, .name = STR("tiny")};
    struct hffile files[FILES];
    struct file_map maps[FILES];
    struct llmos_error err;
    llmos_model *m = NULL;
    int out = memfd_create("out", MFD_CLOEXEC);

    for (size_t i = 0; i < FILES; i++) {
        int fd = open(path_of(names[i]), O_RDONLY | O_CLOEXEC);

        CHECK(fd >= 0);
        CHECK_INT(file_map(&maps[i], fd, &err), 0);
        close(fd);
        files[i] = (struct hffile){names[i], {(const char *)maps[i].at, maps[i].len}};
    }
    if (hfconvert(files, FILES, out, &o, &err) < 0 || llmos_model_open_fd(&m, out, &err) < 0)
        TEST_FAIL("%s", err.text);
    for (size_t i = 0; i < FILES; i++)
        file_unmap(&maps[i]);
    close(out);
    return m;
}

struct expected {
    int32_t prompt[64], tokens[STEPS];
    int count;
    double logprobs[STEPS];
};

static struct expected read_expected(void)
{
    FILE *f = fopen(path_of("expected.txt"), "r");
    struct expected e = {.count = 0};

    CHECK(f && fscanf(f, "%d", &e.count) == 1 && e.count > 0 && e.count < 64);
    for (int i = 0; i < e.count; i++)
        CHECK(fscanf(f, "%d", &e.prompt[i]) == 1);
    for (int i = 0; i < STEPS; i++)
        CHECK(fscanf(f, "%d %lf", &e.tokens[i], &e.logprobs[i]) == 2);
    fclose(f);
    return e;
}

TEST(hfllama_tokenizes_as_its_tokenizer_does)
{
    struct expected e = read_expected();
    llmos_model *m = convert_and_open(HFTENSORS_AUTO);
    const char *text = "the and than";
    struct llmos_error err;
    int32_t tokens[64];

    CHECK_INT(llmos_tokenize(llmos_model_tokenizer(m), text, strlen(text), LLMOS_TOKENIZE_ADD_BOS,
                             tokens, 64, &err),
              e.count);
    for (int i = 0; i < e.count; i++)
        CHECK_INT(tokens[i], e.prompt[i]);
    llmos_model_close(m);
}

TEST(hfllama_computes_what_transformers_computes)
{
    struct llmos_context_options options = LLMOS_CONTEXT_OPTIONS_INIT;
    struct llmos_sampling sampling = LLMOS_SAMPLING_INIT;
    struct expected e = read_expected();
    llmos_model *m = convert_and_open(HFTENSORS_AUTO);
    struct llmos_error err;
    llmos_context *context;
    llmos_session *session;

    sampling.temperature = 0;
    sampling.want_logprob = true;
    CHECK_INT(llmos_context_create(&context, m, &options, &err), 0);
    CHECK_INT(llmos_session_create(&session, context, &sampling, &err), 0);
    CHECK_INT(llmos_session_append(session, e.prompt, (size_t)e.count, &err), 0);
    for (int i = 0; i < STEPS; i++) {
        struct llmos_step_out out = {.token = -1};

        CHECK_INT(llmos_context_step(context, &session, 1, &out, &err), 0);
        CHECK_INT(out.token, e.tokens[i]);
        CHECK_NEAR(out.logprob, e.logprobs[i], 1e-2); /* keys and values are kept in f16 */
    }
    llmos_session_destroy(session);
    llmos_context_destroy(context);
    llmos_model_close(m);
}
