/* SPDX-License-Identifier: Apache-2.0 */
/* Real models against what another implementation made of them (see models/README.md there). */
#include "base/buf.h"
#include "base/file.h"
#include "llmos/llmos.h"

#include "perplexity.h"
#include "sanitizer.h"
#include "shared_file.h"
#include "test.h"

#include <jansson.h>

#define PROMPTS_MAX 8
#define GENERATED   160

struct expected {
    json_t *lines[PROMPTS_MAX];
    size_t count;
};

static llmos_model *open_model(const char *name)
{
    struct shared_path path = shared_file(name);
    struct llmos_error err = {0};
    llmos_model *m = NULL;

    if (!path.text[0])
        SKIP("the shared models are not here");
    if (llmos_model_open(&m, path.text, &err) < 0)
        TEST_FAIL("%s", err.text);
    return m;
}

static void read_expected(struct expected *e, const char *name)
{
    FILE *f = fopen(shared_file(name).text, "r");
    char line[8192];

    *e = (struct expected){.count = 0};
    CHECK(f);
    while (fgets(line, sizeof(line), f) && e->count < PROMPTS_MAX) {
        e->lines[e->count] = json_loads(line, 0, NULL);
        CHECK(e->lines[e->count++]);
    }
    fclose(f);
    CHECK(e->count > 0);
}

static llmos_session *begin(llmos_context *c, const llmos_model *m, const char *prompt)
{
    const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    int32_t tokens[256];
    llmos_session *s;
    long n = llmos_tokenize(llmos_model_tokenizer(m), prompt, strlen(prompt),
                            LLMOS_TOKENIZE_ADD_BOS, tokens, 256, NULL);

    CHECK(n > 0 && n <= 256);
    CHECK_INT(llmos_session_create(&s, c, &greedy, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, (size_t)n, NULL), 0);
    return s;
}

/* `copies` sequences of each prompt, all in one batch, each to continue as expected. */
static void check_continuations(const llmos_model *m, const struct expected *e, uint32_t threads,
                                size_t copies)
{
    size_t count = e->count * copies, made = 0;
    struct llmos_context_options o = {.threads = threads,
                                      .context_tokens = 256,
                                      .sessions_max = (uint32_t)count,
                                      .batch_tokens = 37};
    llmos_session *s[PROMPTS_MAX * PROMPTS_MAX];
    struct llmos_step_out out[PROMPTS_MAX * PROMPTS_MAX];
    struct buf text[PROMPTS_MAX * PROMPTS_MAX];
    size_t tokens[PROMPTS_MAX * PROMPTS_MAX] = {0};
    llmos_context *c;

    CHECK_INT(llmos_context_create(&c, m, &o, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        s[i] = begin(c, m, json_string_value(json_object_get(e->lines[i % e->count], "prompt")));
        buf_init(&text[i], 1 << 16);
    }
    while (made < count * GENERATED) {
        CHECK_INT(llmos_context_step(c, s, count, out, NULL), 0);
        for (size_t i = 0; i < count; i++) {
            const char *piece;
            size_t n;

            if (out[i].token < 0 || tokens[i]++ >= GENERATED)
                continue;
            n = llmos_token_piece(llmos_model_tokenizer(m), out[i].token, false, &piece);
            buf_put(&text[i], piece, n);
            made++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        CHECK_STR(text[i].at, json_string_value(json_object_get(e->lines[i % e->count], "text")));
        buf_fini(&text[i]);
        llmos_session_destroy(s[i]);
    }
    llmos_context_destroy(c);
}

static void continues_as_expected(const char *model, const char *expected)
{
    llmos_model *m = open_model(model);
    struct expected e;

    read_expected(&e, expected);
    check_continuations(m, &e, 1, 1);
    check_continuations(m, &e, 2, 1);
    check_continuations(m, &e, 4, 1);
    check_continuations(m, &e, 2, 8 / e.count);
    for (size_t i = 0; i < e.count; i++)
        json_decref(e.lines[i]);
    llmos_model_close(m);
}

TEST(stories260k_f32_continues_as_expected)
{
    continues_as_expected("models/stories260K/stories260K.gguf",
                          "models/stories260K/stories260K.expected.jsonl");
}

TEST(stories260k_f16_continues_as_expected)
{
    continues_as_expected("models/stories260K/stories260K-F16.gguf",
                          "models/stories260K/stories260K-F16.expected.jsonl");
}

TEST(babyllama_f32_continues_as_expected)
{
    continues_as_expected("models/babyllama/babyllama105-F32.gguf",
                          "models/babyllama/babyllama105-F32.expected.jsonl");
}

/* --- perplexity --- */

struct text {
    int32_t *tokens;
    size_t count;
};

static struct text read_text(const llmos_model *m, const char *name)
{
    struct llmos_error err = {0};
    struct text t;
    struct buf b;
    long count;

    buf_init(&b, 1 << 20);
    CHECK_INT(file_read(shared_file(name).text, &b, &err), 0);
    t.tokens = calloc(b.len + 1, sizeof(*t.tokens));
    count = llmos_tokenize(m->tokenizer, b.at, b.len, LLMOS_TOKENIZE_ADD_BOS, t.tokens, b.len + 1,
                           &err);
    CHECK(count > 256);
    t.count = (size_t)count;
    buf_fini(&b);
    return t;
}

/* The best back end on the whole text, each other one on its beginning against it. */
static void check_perplexity(const char *model, const char *text, double expected, double tolerance)
{
    llmos_model *m = HAS_SANITIZER ? NULL : open_model(model);
    struct text t;
    double all, start;

    if (!m)
        SKIP("a minute of arithmetic under a sanitizer");
    t = read_text(m, text);
    all = perplexity_of(m, backend_best(), t.tokens, t.count, 256, 0, 2);
    printf("# %s: %.4f, expected %.4f (%s)\n", model, all, expected, backend_best()->name);
    CHECK_NEAR(all, expected, tolerance * expected);
    start = perplexity_of(m, backend_best(), t.tokens, t.count, 256, 1, 1);
    for (unsigned i = 0; backend_at(i); i++)
        if (backend_at(i)->usable())
            CHECK_NEAR(perplexity_of(m, backend_at(i), t.tokens, t.count, 256, 1, 2), start,
                       tolerance * start);
    free(t.tokens);
    llmos_model_close(m);
}

TEST(stories260k_has_the_published_perplexity)
{
    check_perplexity("models/stories260K/stories260K.gguf", "models/ppl_text_ts60k.txt", 4.9144,
                     0.003);
    check_perplexity("models/stories260K/stories260K-F16.gguf", "models/ppl_text_ts60k.txt", 4.9144,
                     0.003);
}

TEST(babyllama_has_the_published_perplexity)
{
    check_perplexity("models/babyllama/babyllama105-F32.gguf", "models/ppl_text_ascii.txt", 2.3681,
                     0.003);
}

TEST(babyllama_quantised_has_the_published_perplexity)
{
    check_perplexity("models/babyllama/babyllama105-Q8_0.gguf", "models/ppl_text_ascii.txt", 2.3698,
                     0.01);
    check_perplexity("models/babyllama/babyllama105-Q4_0.gguf", "models/ppl_text_ascii.txt", 2.6024,
                     0.01);
    check_perplexity("models/babyllama/babyllama105-Q5_1.gguf", "models/ppl_text_ascii.txt", 2.4101,
                     0.01);
}

/* What a cache of q8_0 costs.  The divergence goes with the square of what numbers are off by,
 * 1/254 of a block's largest at most.  The bounds are twice what was measured; one bit less in
 * every number would cost four times as much, and a scale in the wrong place spoils everything.
 * Three quarters and more of it come from keys and values: the rest is that of queries. */
static void check_cache(const char *model, const char *text, double bound)
{
    llmos_model *m = HAS_SANITIZER ? NULL : open_model(model);
    struct perplexity_change c;
    struct text t;

    if (!m)
        SKIP("a minute of arithmetic under a sanitizer");
    t = read_text(m, text);
    c = perplexity_of_cache(m, DTYPE_Q8_0, t.tokens, t.count, 256, 2);
    printf("# %s: KL divergence %.2e, at most %.2e; perplexity %.4f, with f16 %.4f\n", model,
           c.divergence, c.largest, c.after, c.before);
    CHECK(c.divergence > 1e-6 && c.divergence < bound); /* 0: it was not asked for */
    CHECK_NEAR(c.after, c.before, 5e-3 * c.before);
    free(t.tokens);
    llmos_model_close(m);
}

TEST(a_cache_of_q8_0_hardly_changes_what_stories260k_predicts)
{
    check_cache("models/stories260K/stories260K.gguf", "models/ppl_text_ts60k.txt", 5e-3);
}

TEST(a_cache_of_q8_0_hardly_changes_what_babyllama_predicts)
{
    check_cache("models/babyllama/babyllama105-F32.gguf", "models/ppl_text_ascii.txt", 4e-4);
}
