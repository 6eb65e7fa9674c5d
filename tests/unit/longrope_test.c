/* SPDX-License-Identifier: Apache-2.0 */
/* longrope_test.c - sequences that outgrow the context before scaling: what they say depends on
 * their tokens alone, however these came.  That it is what transformers says, reference_test and
 * hfrun_test see. */
#include "infer/session.h"

#include "reference.h"

#include "base/rng.h"

/* Of the model phi3_long: sequences of up to ORIGINAL tokens are short. */
#define ORIGINAL   16
#define VOCABULARY 64

#define CONTEXT 200

static llmos_context *context_of(const struct llmos_model *m, uint32_t draft_max)
{
    struct llmos_context_options o = {.context_tokens = CONTEXT,
                                      .sessions_max = 2,
                                      .draft_max = draft_max,
                                      .draft_lookup = draft_max > 0};
    struct llmos_error err = {0};
    llmos_context *c = NULL;

    if (llmos_context_create(&c, m, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    return c;
}

static void open_model(struct llmos_model *m)
{
    struct llmos_error err = {0};
    int fd = reference_file("reference", "phi3_long");

    if (reference_open_model(m, fd, true, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    CHECK_INT(m->hparams.rope_ctx_orig, ORIGINAL);
    CHECK_INT(m->hparams.n_vocab, VOCABULARY);
}

/* A text with a period, so that there is something to guess. */
static void text_of(int32_t tokens[static CONTEXT])
{
    struct rng rng;

    rng_seed(&rng, 3);
    for (size_t i = 0; i < CONTEXT; i++)
        tokens[i] = i < 5 || i % 11 == 0 ? (int32_t)rng_below(&rng, VOCABULARY) : tokens[i - 5];
}

static llmos_session *session_of(llmos_context *c, uint64_t domain)
{
    static const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};
    llmos_session *s;

    CHECK_INT(llmos_session_create(&s, c, &greedy, NULL), 0);
    CHECK_INT(llmos_session_set_domain(s, domain, NULL), 0);
    return s;
}

/* Steps until something is sampled, and takes it back; the logits that it was sampled from. */
static void hear(llmos_context *c, llmos_session *s, float logits[static VOCABULARY])
{
    struct llmos_step_out out = {.token = -1};
    struct llmos_error err = {0};
    size_t n = llmos_session_length(s);

    while (out.token < 0)
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
    memcpy(logits, llmos_session_logits(s), VOCABULARY * sizeof(*logits));
    llmos_session_truncate(s, n);
    if (!context_is_sound(c, &err))
        TEST_FAIL("%s", err.text);
}

/* What a session hears that shares with nobody and gets n tokens at once. */
static void hear_alone(const struct llmos_model *m, const int32_t *tokens, size_t n,
                       float logits[static VOCABULARY])
{
    llmos_context *c = context_of(m, 0);
    llmos_session *s = session_of(c, LLMOS_DOMAIN_PRIVATE);

    CHECK_INT(llmos_session_append(s, tokens, n, NULL), 0);
    hear(c, s, logits);
    llmos_session_destroy(s);
    llmos_context_destroy(c);
}

static void check_same(const struct llmos_model *m, const int32_t *tokens, size_t n,
                       const float *logits)
{
    float alone[VOCABULARY];

    hear_alone(m, tokens, n, alone);
    if (memcmp(alone, logits, sizeof(alone)) != 0)
        TEST_FAIL("other logits behind %zu tokens", n);
}

TEST(longrope_turns_with_the_length_and_not_with_the_context)
{
    int32_t tokens[CONTEXT];
    float logits[VOCABULARY];
    struct llmos_model m;
    llmos_context *c;
    llmos_session *s;

    open_model(&m);
    text_of(tokens);
    c = context_of(&m, 0);
    s = session_of(c, LLMOS_DOMAIN_PRIVATE);
    for (size_t n = 1; n <= 3 * ORIGINAL; n++) {
        CHECK_INT(llmos_session_append(s, tokens + n - 1, 1, NULL), 0);
        hear(c, s, logits);
        check_same(&m, tokens, n, logits);
    }
    for (size_t n = 3 * ORIGINAL; n > 5; n -= 5) {
        llmos_session_truncate(s, n - 1);
        CHECK_INT(llmos_session_append(s, tokens + n - 1, 1, NULL), 0);
        hear(c, s, logits);
        check_same(&m, tokens, n, logits);
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    reference_close_model(&m);
}

TEST(longrope_shares_only_what_was_rotated_alike)
{
    static const size_t lengths[] = {12, 150, 14, 16, 17, 100, 160, 9};
    int32_t tokens[CONTEXT];
    float logits[VOCABULARY];
    struct llmos_model m;
    size_t cached = 0;
    llmos_context *c;

    open_model(&m);
    text_of(tokens);
    c = context_of(&m, 0);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        llmos_session *s = session_of(c, LLMOS_DOMAIN_COMMON);

        CHECK_INT(llmos_session_append(s, tokens, lengths[i], NULL), 0);
        hear(c, s, logits);
        cached += llmos_session_cached(s) > 0;
        if (i == 1) /* all there is was rotated otherwise */
            CHECK_INT(llmos_session_cached(s), 0);
        check_same(&m, tokens, lengths[i], logits);
        llmos_session_destroy(s);
    }
    CHECK_INT(cached, 6);
    llmos_context_destroy(c);
    reference_close_model(&m);
}

#define SAID 40

/* The tokens that follow, with guesses or without; the number of guesses. */
static size_t speak(const struct llmos_model *m, const int32_t *tokens, size_t n,
                    uint32_t draft_max, int32_t said[static SAID + LLMOS_DRAFT_MAX])
{
    llmos_context *c = context_of(m, draft_max);
    llmos_session *s = session_of(c, LLMOS_DOMAIN_COMMON);
    size_t count = 0, drafted = 0;

    if (draft_max)
        context_guess_always(c);
    CHECK_INT(llmos_session_append(s, tokens, n, NULL), 0);
    while (count < SAID) {
        struct llmos_step_out out;

        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        drafted += out.drafted;
        if (out.token < 0)
            continue;
        said[count++] = out.token;
        memcpy(said + count, out.more, out.more_count * sizeof(*said));
        count += out.more_count;
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    return drafted;
}

TEST(longrope_guesses_nothing_behind_the_place_where_it_turns)
{
    int32_t tokens[CONTEXT], plain[SAID + LLMOS_DRAFT_MAX], guessed[SAID + LLMOS_DRAFT_MAX];
    size_t drafted = 0;
    struct llmos_model m;

    open_model(&m);
    text_of(tokens);
    for (size_t from = 0; from < 60; from++)
        for (size_t n = 9; n <= ORIGINAL; n += 3) {
            CHECK_INT(speak(&m, tokens + from, n, 0, plain), 0);
            drafted += speak(&m, tokens + from, n, 8, guessed);
            if (memcmp(plain, guessed, SAID * sizeof(*plain)) != 0)
                TEST_FAIL("%zu tokens from %zu go on otherwise with guesses", n, from);
        }
    CHECK(drafted > 1000);
    reference_close_model(&m);
}

TEST(longrope_is_no_number_of_a_domain)
{
    struct llmos_error err = {0};
    struct llmos_model m;
    llmos_context *c;
    llmos_session *s;

    open_model(&m);
    c = context_of(&m, 0);
    CHECK_INT(llmos_session_create(&s, c, NULL, NULL), 0);
    CHECK_INT(llmos_session_set_domain(s, UINT64_C(1) << 63, &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "domain 9223372036854775808, they end below 2^63");
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    reference_close_model(&m);
}
