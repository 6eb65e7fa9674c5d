/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that guess ahead: the same bytes, in fewer steps. */
#include "infer/session.h"

#include "test.h"
#include "tiny_llama.h"

#define VOCABULARY 101
#define SESSIONS   8
#define NEW        60

/* `drafter` is a draft model of the same vocabulary and other weights, so it is seldom right; one
 * that is right is the model itself. */
static struct tiny_llama model, drafter;

static llmos_context *context_with(struct llmos_context_options o)
{
    struct llmos_error err = {0};
    llmos_context *c = NULL;

    if (llmos_context_create(&c, &model.model, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    return c;
}

static void check_sound(const llmos_context *c)
{
    struct llmos_error why = {0};

    if (!context_is_sound(c, &why))
        TEST_FAIL("%s", why.text);
}

/* Every way to sample; greedy ones often enough that guesses are right. */
static struct llmos_sampling sampling_of(size_t i)
{
    static const struct llmos_logit_bias bias[] = {{3, 4.0f}, {4, -100.0f}, {5, 1.0f}};
    struct llmos_sampling o = {.top_p = 1, .repeat_penalty = 1, .seed = 5 + i};

    if (i % 2) {
        o.temperature = 0.3f + 0.2f * (float)(i % 5);
        o.top_k = 8;
    }
    if (i % 8 == 2 || i % 8 == 3)
        o.repeat_penalty = 1.1f;
    if (i % 8 == 4 || i % 8 == 5) {
        o.presence_penalty = 0.2f;
        o.frequency_penalty = 0.05f;
    }
    if (i % 8 == 6 || i % 8 == 7) {
        o.bias = bias;
        o.bias_count = 3;
    }
    return o;
}

/* A text that repeats itself with mistakes: there is always something to guess. */
static size_t prompt_of(size_t i, int32_t *tokens)
{
    size_t n = 30 + 23 * i % 90, period = 5 + i;
    struct rng rng;

    rng_seed(&rng, 40 + i);
    for (size_t t = 0; t < n; t++)
        tokens[t] = t < period || rng_below(&rng, 12) == 0 ? (int32_t)rng_below(&rng, VOCABULARY)
                                                           : tokens[t - period];
    return n;
}

static llmos_session *session_of(llmos_context *c, size_t i, uint64_t domain)
{
    struct llmos_sampling o = sampling_of(i);
    llmos_session *s = NULL;
    int32_t tokens[128];
    size_t n = prompt_of(i, tokens);

    CHECK_INT(llmos_session_create(&s, c, &o, NULL), 0);
    CHECK_INT(llmos_session_set_domain(s, domain, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, n, NULL), 0);
    return s;
}

struct said {
    int32_t tokens[NEW + LLMOS_DRAFT_MAX];
    size_t count;
    float logits[VOCABULARY]; /* from which the last was sampled */
};

struct totals {
    size_t steps, tokens, drafted, right;
};

static void hear(struct said *a, const llmos_session *s, const struct llmos_step_out *out,
                 struct totals *totals)
{
    if (out->token < 0) {
        CHECK_INT(out->more_count, 0);
        return;
    }
    CHECK(out->more_count <= out->drafted && out->drafted <= LLMOS_DRAFT_MAX);
    a->tokens[a->count++] = out->token;
    memcpy(a->tokens + a->count, out->more, out->more_count * sizeof(*out->more));
    a->count += out->more_count;
    memcpy(a->logits, llmos_session_logits(s), sizeof(a->logits));
    totals->tokens += 1 + out->more_count;
    totals->drafted += out->drafted;
    totals->right += out->more_count;
}

/* Sessions [first, first + count) together until each has said NEW tokens. */
static struct totals run(llmos_context *c, size_t first, size_t count, uint64_t domain,
                         struct said *said)
{
    llmos_session *all[SESSIONS], *s[SESSIONS];
    struct llmos_step_out out[SESSIONS];
    struct totals totals = {0};
    size_t alive;

    for (size_t i = 0; i < count; i++) {
        all[i] = session_of(c, first + i, domain);
        said[i].count = 0;
    }
    for (;; totals.steps++) {
        size_t at[SESSIONS];

        alive = 0;
        for (size_t i = 0; i < count; i++)
            if (said[i].count < NEW) {
                at[alive] = i;
                s[alive++] = all[i];
            }
        if (alive == 0)
            break;
        CHECK_INT(llmos_context_step(c, s, alive, out, NULL), 0);
        check_sound(c);
        for (size_t k = 0; k < alive; k++)
            hear(&said[at[k]], s[k], &out[k], &totals);
    }
    for (size_t i = 0; i < count; i++)
        llmos_session_destroy(all[i]);
    check_sound(c);
    return totals;
}

static void check_same(const struct said *a, const struct said *b)
{
    CHECK(a->count >= NEW && b->count >= NEW);
    CHECK(memcmp(a->tokens, b->tokens, NEW * sizeof(*a->tokens)) == 0);
    if (a->count == b->count)
        CHECK(memcmp(a->logits, b->logits, sizeof(a->logits)) == 0);
}

/* What each says without guesses, alone. */
static void say_plainly(struct said *said)
{
    llmos_context *c = context_with((struct llmos_context_options){.batch_tokens = 64});

    for (size_t i = 0; i < SESSIONS; i++)
        run(c, i, 1, LLMOS_DOMAIN_PRIVATE, &said[i]);
    llmos_context_destroy(c);
}

static void models_init(enum dtype type)
{
    struct hparams h = tiny_hparams;

    tiny_llama_init(&model, &h, type, NULL, 2);
    h.n_layer = 1;
    tiny_llama_init(&drafter, &h, DTYPE_F32, NULL, 7);
}

static void models_fini(void)
{
    tiny_llama_fini(&model);
    tiny_llama_fini(&drafter);
}

static void same_bytes(enum dtype type)
{
    static const uint32_t batches[] = {1, 7, 64, 512};
    static struct said plain[SESSIONS], said[SESSIONS];

    models_init(type);
    say_plainly(plain);
    for (uint32_t threads = 1; threads <= 4; threads++)
        for (uint32_t i = 0; i < 8; i++) {
            uint64_t domain = i & 1 ? LLMOS_DOMAIN_COMMON : LLMOS_DOMAIN_PRIVATE;
            llmos_context *c = context_with(
                (struct llmos_context_options){.threads = threads,
                                               .sessions_max = SESSIONS,
                                               .batch_tokens = batches[i / 2],
                                               .draft_max = 1 + (5 * i + threads) % LLMOS_DRAFT_MAX,
                                               .draft_lookup = threads % 4 < 2 || i % 4 == 3,
                                               .draft_model = threads == 2  ? &drafter.model
                                                              : threads > 2 ? &model.model
                                                                            : NULL});
            size_t together = 1 + (i + threads) % SESSIONS;

            if (i != 3) /* and once by what pays */
                context_guess_always(c);
            for (size_t first = 0; first < SESSIONS; first += together) {
                size_t n = first + together > SESSIONS ? SESSIONS - first : together;

                run(c, first, n, domain, said + first);
            }
            for (size_t k = 0; k < SESSIONS; k++)
                check_same(&plain[k], &said[k]);
            llmos_context_destroy(c);
        }
    models_fini();
}

TEST(guesses_change_no_byte_f32)
{
    same_bytes(DTYPE_F32);
}

TEST(guesses_change_no_byte_q8_0)
{
    same_bytes(DTYPE_Q8_0);
}

TEST(guesses_change_no_byte_q4_0)
{
    same_bytes(DTYPE_Q4_0);
}

TEST(guesses_that_are_right_save_steps)
{
    static struct said plain[SESSIONS], said[SESSIONS];
    struct totals t;
    llmos_context *c;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    say_plainly(plain);
    c = context_with((struct llmos_context_options){
        .sessions_max = SESSIONS, .draft_max = 8, .draft_lookup = true});
    context_guess_always(c);
    t = run(c, 0, SESSIONS, LLMOS_DOMAIN_PRIVATE, said);
    CHECK(t.right > 0 && t.right < t.drafted); /* some are wrong */
    t = run(c, 0, 1, LLMOS_DOMAIN_PRIVATE, said);
    check_same(&plain[0], said);
    CHECK(t.right > 5);
    CHECK_INT(t.steps + t.right, t.tokens);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

/* They need two or three pages each, ten together.  With seven, one always has what it needs to
 * end: nobody gives way here. */
TEST(sessions_with_too_few_pages_guess_and_say_the_same)
{
    static struct said plain[SESSIONS], said[SESSIONS];
    llmos_session *s[4], *waiting[4];
    struct llmos_step_out out[4];
    struct totals totals = {0};
    bool starved = false;
    llmos_context *c;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    say_plainly(plain);
    c = context_with((struct llmos_context_options){.context_tokens = 192,
                                                    .kv_tokens = 448,
                                                    .sessions_max = 4,
                                                    .draft_max = 16,
                                                    .draft_lookup = true});
    context_guess_always(c);
    for (size_t i = 0; i < 4; i++)
        s[i] = session_of(c, i, LLMOS_DOMAIN_PRIVATE);
    memset(said, 0, sizeof(said));
    for (size_t left = 4; left > 0;) {
        size_t at[4], n = 0;

        for (size_t i = 0; i < 4; i++)
            if (s[i]) {
                at[n] = i;
                waiting[n++] = s[i];
            }
        CHECK_INT(llmos_context_step(c, waiting, n, out, NULL), 0);
        check_sound(c);
        for (size_t k = 0; k < n; k++) {
            starved |= out[k].starved;
            hear(&said[at[k]], waiting[k], &out[k], &totals);
            if (said[at[k]].count < NEW)
                continue;
            llmos_session_destroy(s[at[k]]);
            s[at[k]] = NULL;
            left--;
        }
    }
    for (size_t i = 0; i < 4; i++)
        check_same(&plain[i], &said[i]);
    CHECK(totals.right > 0);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
    CHECK(starved);
}

/* The model is its own draft model: greedily it is always right. */
TEST(guesses_of_a_draft_model_that_knows_save_most_steps)
{
    static struct said plain[SESSIONS], said;
    struct totals t;
    llmos_context *c;

    models_init(DTYPE_F32);
    say_plainly(plain);
    c = context_with((struct llmos_context_options){.draft_max = 4, .draft_model = &model.model});
    context_guess_always(c);
    t = run(c, 0, 1, LLMOS_DOMAIN_PRIVATE, &said);
    check_same(&plain[0], &said);
    CHECK(t.steps <= 1 + (NEW + 4) / 5 + 1); /* the prompt, five tokens a step, a page's end */
    CHECK_INT(t.right, t.drafted);
    t = run(c, 1, 1, LLMOS_DOMAIN_PRIVATE, &said); /* sampled: not what is likeliest, always */
    check_same(&plain[1], &said);
    CHECK(t.right > 0 && t.right < t.drafted);
    llmos_context_destroy(c);
    models_fini();
}

/* It reads a long prompt in batches, beside steps of the model that guess nothing meanwhile. */
TEST(a_draft_model_catches_up_with_a_long_prompt)
{
    static struct said plain[SESSIONS], said;
    struct totals t;
    llmos_context *c;

    models_init(DTYPE_F32);
    say_plainly(plain);
    c = context_with((struct llmos_context_options){
        .batch_tokens = 9, .draft_max = 4, .draft_model = &model.model});
    context_guess_always(c);
    t = run(c, 0, 1, LLMOS_DOMAIN_PRIVATE, &said);
    check_same(&plain[0], &said);
    CHECK(t.right > 0);
    CHECK_INT(t.right, t.drafted);
    llmos_context_destroy(c);
    models_fini();
}

TEST(a_draft_model_that_computes_no_number_is_asked_no_more)
{
    static struct said plain[SESSIONS], said;
    struct totals t;
    llmos_context *c;

    models_init(DTYPE_F32);
    say_plainly(plain);
    ((float *)(uintptr_t)drafter.model.weights.model[WEIGHT_OUTPUT_NORM]->data)[0] = NAN;
    c = context_with((struct llmos_context_options){.draft_max = 4, .draft_model = &drafter.model});
    context_guess_always(c);
    t = run(c, 0, 1, LLMOS_DOMAIN_PRIVATE, &said);
    check_same(&plain[0], &said);
    CHECK_INT(t.drafted, 0);
    llmos_context_destroy(c);
    models_fini();
}

TEST(a_draft_model_of_another_vocabulary_is_refused)
{
    struct llmos_context_options o = {.draft_max = 4, .draft_model = &drafter.model};
    struct llmos_error err = {0};
    llmos_context *c = NULL;

    models_init(DTYPE_F32);
    drafter.model.hparams.n_vocab = 100;
    CHECK_INT(llmos_context_create(&c, &model.model, &o, &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "the draft model has 100 tokens, the model 101; both must have the same "
                        "vocabulary, as models of one family do");
    CHECK(!c);
    models_fini();
}

TEST(a_draft_model_counts_as_memory_of_the_context)
{
    struct llmos_context_options o = {.draft_max = 4};
    struct llmos_context_info info;
    struct llmos_error err = {0};
    llmos_context *c;
    uint64_t alone, both;

    models_init(DTYPE_F32);
    c = context_with(o);
    llmos_context_info(c, &info);
    alone = info.kv_bytes + info.scratch_bytes;
    llmos_context_destroy(c);
    o.draft_model = &drafter.model;
    c = context_with(o);
    llmos_context_info(c, &info);
    both = info.kv_bytes + info.scratch_bytes;
    llmos_context_destroy(c);
    CHECK(both > alone);
    o.memory_max_bytes = both;
    llmos_context_destroy(context_with(o));
    o.memory_max_bytes = both - 1;
    CHECK_INT(llmos_context_create(&c, &model.model, &o, &err), LLMOS_ENOMEM);
    CHECK_CONTAINS(err.text, "draft model: ");
    models_fini();
}

/* To the last token that fits, whatever room is left for guesses. */
TEST(guesses_end_with_the_context)
{
    static int32_t plain[128], guessed[128];

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    for (uint32_t context = 40; context < 110; context++) {
        size_t counts[2];

        for (int guesses = 0; guesses < 2; guesses++) {
            llmos_context *c = context_with(
                (struct llmos_context_options){.context_tokens = context,
                                               .draft_max = guesses ? LLMOS_DRAFT_MAX : 0,
                                               .draft_lookup = true});
            llmos_session *s = session_of(c, 0, LLMOS_DOMAIN_COMMON);
            int32_t *tokens = guesses ? guessed : plain;
            struct llmos_step_out out;

            context_guess_always(c);
            counts[guesses] = 0;
            do {
                CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
                if (out.token >= 0)
                    tokens[counts[guesses]++] = out.token;
                for (uint32_t i = 0; i < out.more_count; i++)
                    tokens[counts[guesses]++] = out.more[i];
            } while (!out.context_full);
            CHECK_INT(llmos_session_length(s), context);
            llmos_session_destroy(s);
            check_sound(c);
            llmos_context_destroy(c);
        }
        CHECK_INT(counts[0], context - 30);
        CHECK_INT(counts[1], counts[0]);
        CHECK(memcmp(plain, guessed, counts[0] * sizeof(*plain)) == 0);
    }
    tiny_llama_fini(&model);
}

TEST(sessions_that_report_logprobs_do_not_guess)
{
    struct llmos_sampling o = sampling_of(0);
    struct llmos_step_out out;
    llmos_context *c;
    llmos_session *s;
    int32_t tokens[128];
    size_t n = prompt_of(0, tokens);

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    c = context_with((struct llmos_context_options){.draft_max = 4, .draft_lookup = true});
    context_guess_always(c);
    o.want_logprob = true;
    CHECK_INT(llmos_session_create(&s, c, &o, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, n, NULL), 0);
    for (int i = 0; i < NEW; i++) {
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        CHECK_INT(out.drafted, 0);
        CHECK(out.logprob < 0);
    }
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

/* A draft of its own may not take the page that somebody else waits for. */
TEST(a_step_that_holds_a_prompt_makes_no_guesses)
{
    struct llmos_step_out out[2];
    llmos_session *s[2];
    llmos_context *c;
    size_t drafted = 0;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    c = context_with((struct llmos_context_options){
        .sessions_max = 2, .batch_tokens = 10, .draft_max = 4, .draft_lookup = true});
    context_guess_always(c);
    s[0] = session_of(c, 0, LLMOS_DOMAIN_PRIVATE);
    while (drafted == 0) {
        CHECK_INT(llmos_context_step(c, s, 1, out, NULL), 0);
        drafted = out[0].drafted;
    }
    s[1] = session_of(c, 1, LLMOS_DOMAIN_PRIVATE);
    do {
        CHECK_INT(llmos_context_step(c, s, 2, out, NULL), 0);
        CHECK_INT(out[0].drafted, 0);
    } while (out[1].token < 0);
    llmos_session_destroy(s[0]);
    llmos_session_destroy(s[1]);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(drafts_longer_than_possible_are_refused)
{
    struct llmos_context_options o = {.draft_max = LLMOS_DRAFT_MAX + 1};
    struct llmos_error err = {0};
    llmos_context *c = NULL;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    CHECK_INT(llmos_context_create(&c, &model.model, &o, &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "drafts of 17 tokens, at most 16 are possible");
    tiny_llama_fini(&model);
}

/* Weights that give no number behind a certain token, which the text holds as something to guess.
 */
TEST(a_guess_for_which_the_model_computes_no_number_ends_where_it_would_without)
{
    size_t made[2] = {0};
    int32_t bad = -1;

    for (int pass = 0; pass < 3; pass++) { /* the first only looks what will be said */
        struct llmos_context_options o = {.draft_max = pass == 2 ? 8 : 0, .draft_lookup = true};
        struct llmos_step_out out;
        llmos_context *c;
        llmos_session *s;

        tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
        if (bad >= 0) {
            float *row = (float *)(uintptr_t)model.model.weights.model[WEIGHT_EMBED]->data;

            row[(size_t)bad * tiny_hparams.n_embd] = NAN;
        }
        c = context_with(o);
        context_guess_always(c);
        s = session_of(c, 0, LLMOS_DOMAIN_PRIVATE);
        for (size_t n = 0; n < NEW;) {
            int rc = llmos_context_step(c, &s, 1, &out, NULL);

            if (rc < 0) {
                CHECK(pass > 0);
                CHECK_INT(rc, LLMOS_EFORMAT);
                made[pass - 1] = n;
                break;
            }
            n += out.token >= 0 ? 1 + out.more_count : 0;
            if (pass == 0 && n == 25)
                bad = out.token;
        }
        llmos_session_destroy(s);
        check_sound(c);
        llmos_context_destroy(c);
        tiny_llama_fini(&model);
    }
    CHECK_INT(made[1], made[0]);
}

/* --- truncate --- */

/* What is said behind the first `length` tokens of session i's prompt and `more` others. */
static void say_behind(llmos_context *c, llmos_session *s, int32_t *said)
{
    struct llmos_step_out out;

    for (size_t n = 0; n < 20;) {
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        check_sound(c);
        if (out.token >= 0)
            said[n++] = out.token;
        for (uint32_t i = 0; i < out.more_count && n < 20; i++)
            said[n++] = out.more[i];
    }
}

static void truncate_to_every_length(uint64_t domain, bool is_shared)
{
    llmos_context *c;
    struct llmos_sampling o = sampling_of(0);
    int32_t tokens[160], afresh[20], again[20];
    struct rng rng;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    rng_seed(&rng, 3);
    for (int i = 0; i < 160; i++)
        tokens[i] = (int32_t)rng_below(&rng, 9);
    c = context_with((struct llmos_context_options){.sessions_max = 3,
                                                    .batch_tokens = 40,
                                                    .draft_max = 4,
                                                    .draft_lookup = true,
                                                    .draft_model = domain ? &model.model : NULL});
    context_guess_always(c);
    for (size_t length = 0; length < 160; length += 1 + length % 3) {
        llmos_session *s[2], *other = NULL;
        struct llmos_step_out out;

        CHECK_INT(llmos_session_create(&s[0], c, &o, NULL), 0);
        CHECK_INT(llmos_session_append(s[0], tokens, length, NULL), 0);
        CHECK_INT(llmos_session_append(s[0], &tokens[7], 1, NULL), 0);
        say_behind(c, s[0], afresh);
        CHECK_INT(llmos_session_create(&s[1], c, &o, NULL), 0);
        CHECK_INT(llmos_session_set_domain(s[1], domain, NULL), 0);
        CHECK_INT(llmos_session_append(s[1], tokens, 160, NULL), 0);
        if (is_shared) { /* somebody else holds the pages, and goes on */
            CHECK_INT(llmos_session_create(&other, c, &o, NULL), 0);
            CHECK_INT(llmos_session_set_domain(other, domain, NULL), 0);
            CHECK_INT(llmos_session_append(other, tokens, 160, NULL), 0);
            while (llmos_session_pending(other) != 1)
                CHECK_INT(llmos_context_step(c, &other, 1, &out, NULL), 0);
        }
        while (llmos_session_length(s[1]) == 160)
            CHECK_INT(llmos_context_step(c, &s[1], 1, &out, NULL), 0);
        llmos_session_truncate(s[1], 1000); /* nothing */
        CHECK(llmos_session_length(s[1]) > 160);
        llmos_session_truncate(s[1], length);
        check_sound(c);
        CHECK_INT(llmos_session_length(s[1]), length);
        CHECK(!llmos_session_logits(s[1]));
        CHECK_INT(llmos_session_append(s[1], &tokens[7], 1, NULL), 0);
        CHECK(llmos_session_pending(s[1]) <= 64);
        say_behind(c, s[1], again);
        CHECK(memcmp(again, afresh, sizeof(again)) == 0);
        if (other)
            say_behind(c, other, again);
        llmos_session_destroy(other);
        llmos_session_destroy(s[0]);
        llmos_session_destroy(s[1]);
        check_sound(c);
    }
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(a_session_cut_to_any_length_goes_on_as_one_that_had_no_more)
{
    truncate_to_every_length(LLMOS_DOMAIN_PRIVATE, false);
}

TEST(a_session_cut_within_pages_of_the_cache_leaves_them_as_they_are)
{
    truncate_to_every_length(LLMOS_DOMAIN_COMMON, false);
    truncate_to_every_length(LLMOS_DOMAIN_COMMON, true);
}

TEST(a_session_cut_gives_its_pages_back)
{
    struct llmos_context_info info;
    struct llmos_step_out out;
    llmos_context *c;
    llmos_session *s;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 2);
    c = context_with((struct llmos_context_options){0});
    s = session_of(c, 3, LLMOS_DOMAIN_PRIVATE); /* 99 tokens */
    CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
    llmos_context_info(c, &info);
    CHECK_INT(info.kv_tokens_free, 128);
    llmos_session_truncate(s, 64);
    llmos_context_info(c, &info);
    CHECK_INT(info.kv_tokens_free, 192);
    CHECK_INT(llmos_session_pending(s), 0);
    llmos_session_truncate(s, 0);
    llmos_context_info(c, &info);
    CHECK_INT(info.kv_tokens_free, 256);
    CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
    CHECK_INT(out.token, -1);
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

/* --- memory --- */

TEST(guessing_allocates_nothing)
{
    static struct said said[SESSIONS];
    llmos_context *c;

    models_init(DTYPE_Q8_0);
    c = context_with((struct llmos_context_options){.threads = 2,
                                                    .sessions_max = SESSIONS,
                                                    .draft_max = 6,
                                                    .draft_lookup = true,
                                                    .draft_model = &drafter.model});
    context_guess_always(c);
    mem_fail_at(1);
    CHECK(run(c, 0, SESSIONS, LLMOS_DOMAIN_COMMON, said).drafted > 0);
    CHECK(!mem_failed());
    mem_fail_at(0);
    llmos_context_destroy(c);
    models_fini();
}

TEST(a_context_that_guesses_survives_every_failed_allocation)
{
    struct llmos_context_options o = {
        .threads = 2, .draft_max = 4, .draft_lookup = true, .draft_model = &drafter.model};

    models_init(DTYPE_F32);
    EVERY_ALLOCATION_FAILS
    {
        struct llmos_error err = {0};
        llmos_context *c = NULL;
        int rc = llmos_context_create(&c, &model.model, &o, &err);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        CHECK(rc == 0 ? c != NULL : !c && err.text[0]);
        llmos_context_destroy(c);
    }
    models_fini();
}
