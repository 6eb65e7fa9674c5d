/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that go on behind each other's pages: same bytes, nothing lost, nothing shown. */
#include "engine/retrace.h"
#include "infer/session.h"
#include "tensor/backend.h"

#include "test.h"
#include "tiny_llama.h"

#define VOCABULARY 101
#define CONTEXT    320
#define NEW        6 /* tokens sampled behind a prompt */

static struct tiny_llama model;
static const char *kv_type; /* of every context */

static void model_init(enum dtype type, const char *cache)
{
    kv_type = cache;
    tiny_llama_init(&model, &tiny_hparams, type, NULL, 9);
}

static llmos_context *context_of(uint32_t threads, uint32_t batch, uint32_t sessions,
                                 uint32_t kv_tokens)
{
    struct llmos_context_options o = {.threads = threads,
                                      .context_tokens = CONTEXT,
                                      .sessions_max = sessions,
                                      .kv_tokens = kv_tokens,
                                      .kv_type = kv_type,
                                      .batch_tokens = batch};
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

static uint32_t free_tokens(const llmos_context *c, uint32_t *cached)
{
    struct llmos_context_info info;

    llmos_context_info(c, &info);
    if (cached)
        *cached = info.kv_tokens_cached;
    return info.kv_tokens_free;
}

static llmos_session *session_of(llmos_context *c, uint64_t domain, const int32_t *tokens, size_t n)
{
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;
    llmos_session *s = NULL;

    o.seed = 3;
    CHECK_INT(llmos_session_create(&s, c, &o, NULL), 0);
    CHECK_INT(llmos_session_set_domain(s, domain, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, n, NULL), 0);
    return s;
}

/* What a session says: its new tokens, and the logits from which it took the first and the last. */
struct answer {
    int32_t tokens[NEW];
    float first[VOCABULARY], last[VOCABULARY];
    size_t made;
};

static void answer_add(struct answer *a, const llmos_session *s, const struct llmos_step_out *out)
{
    if (out->token < 0)
        return;
    if (a->made == 0)
        memcpy(a->first, llmos_session_logits(s), sizeof(a->first));
    memcpy(a->last, llmos_session_logits(s), sizeof(a->last));
    a->tokens[a->made++] = out->token;
}

static void run_to_end(llmos_context *c, llmos_session *s, struct answer *a)
{
    struct llmos_step_out out;

    while (a->made < NEW) {
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        CHECK(!out.starved && !out.context_full);
        answer_add(a, s, &out);
    }
}

static size_t ask(llmos_context *c, uint64_t domain, const int32_t *tokens, size_t n,
                  struct answer *a)
{
    llmos_session *s = session_of(c, domain, tokens, n);
    size_t cached;

    *a = (struct answer){.made = 0};
    run_to_end(c, s, a);
    cached = llmos_session_cached(s);
    llmos_session_destroy(s);
    check_sound(c);
    return cached;
}

/* In a context that nobody has used. */
static void ask_afresh(const int32_t *tokens, size_t n, struct answer *a)
{
    llmos_context *c = context_of(1, 512, 1, 0);

    CHECK_INT(ask(c, LLMOS_DOMAIN_PRIVATE, tokens, n, a), 0);
    llmos_context_destroy(c);
}

static void check_same(const struct answer *a, const struct answer *b)
{
    CHECK(memcmp(a->tokens, b->tokens, sizeof(a->tokens)) == 0);
    CHECK(memcmp(a->first, b->first, sizeof(a->first)) == 0);
    CHECK(memcmp(a->last, b->last, sizeof(a->last)) == 0);
}

/* Prompts of n tokens: what two of one family share, they share from the beginning. */
static void prompt_of(int32_t *tokens, size_t n, uint64_t family, size_t shared, uint64_t rest)
{
    struct rng rng;

    rng_seed(&rng, family);
    for (size_t i = 0; i < n; i++) {
        if (i == shared)
            rng_seed(&rng, 1000 + rest);
        tokens[i] = (int32_t)rng_below(&rng, VOCABULARY - 1);
    }
    if (shared < n) /* else the first token behind could be alike by chance */
        tokens[shared] = VOCABULARY - 1;
}

static void hits_of_every_length(enum dtype type, const char *cache)
{
    const size_t shared[] = {0, 1, 2, 31, 63, 64, 65, 100, 127, 128, 129, 192, 250, 256, 257};
    const uint32_t batches[] = {512, 64, 7};
    int32_t first[300], tokens[300];
    struct answer expected, a;

    model_init(type, cache);
    prompt_of(first, 300, 1, 300, 0);
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
        prompt_of(tokens, 290, 1, shared[i], 7);
        ask_afresh(tokens, 290, &expected);
        for (size_t b = 0; b < 3; b++) {
            llmos_context *c = context_of(1 + (uint32_t)b, batches[b], 2, 0);

            CHECK_INT(ask(c, 1, first, 300, &a), 0);
            CHECK_INT(ask(c, 1, tokens, 290, &a), shared[i]);
            check_same(&a, &expected);
            CHECK_INT(ask(c, 1, tokens, 290, &a), 289); /* and now of itself, but the last */
            check_same(&a, &expected);
            CHECK_INT(ask(c, 2, tokens, 290, &a), 0);
            check_same(&a, &expected);
            llmos_context_destroy(c);
        }
    }
    tiny_llama_fini(&model);
}

TEST(a_prompt_that_shares_any_number_of_tokens_gets_the_same_bytes_f32)
{
    hits_of_every_length(DTYPE_F32, "f16");
}

TEST(a_prompt_that_shares_any_number_of_tokens_gets_the_same_bytes_q8_0)
{
    hits_of_every_length(DTYPE_Q8_0, "f16");
}

TEST(a_prompt_that_shares_any_number_of_tokens_gets_the_same_bytes_from_a_cache_of_q8_0)
{
    hits_of_every_length(DTYPE_F32, "q8_0");
}

TEST(the_last_token_of_a_prompt_is_always_computed)
{
    const size_t lengths[] = {1, 2, 63, 64, 65, 128, 129};
    int32_t tokens[300];
    struct answer expected, a;
    llmos_context *c;

    model_init(DTYPE_F32, NULL);
    prompt_of(tokens, 300, 1, 300, 0);
    c = context_of(1, 512, 3, 0);
    ask(c, 1, tokens, 300, &a);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        ask_afresh(tokens, lengths[i], &expected);
        CHECK_INT(ask(c, 1, tokens, lengths[i], &a), lengths[i] - 1);
        check_same(&a, &expected);
    }
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(a_conversation_goes_on_behind_the_answer_of_its_last_turn)
{
    int32_t tokens[200];
    struct answer expected, a;
    llmos_context *c;

    model_init(DTYPE_F32, NULL);
    prompt_of(tokens, 200, 1, 200, 0);
    c = context_of(1, 512, 1, 0);
    ask(c, 1, tokens, 100, &a);
    memcpy(tokens + 100, a.tokens, sizeof(a.tokens));
    ask_afresh(tokens, 150, &expected);
    /* The last token of the answer was sampled, but never went through the model; the others were
     * no prompt, which other kernels may compute. */
    CHECK_INT(ask(c, 1, tokens, 150, &a), backend_best()->generates ? 100 : 100 + NEW - 1);
    check_same(&a, &expected);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

/* Where the answer's pages are not what a prompt finds, they are once it went through the model
 * again; in between others may come. */
TEST(an_answer_that_was_retraced_is_found_by_the_next_turn)
{
    struct retrace retrace = {.count = 0};
    struct answer expected, a = {.made = 0};
    int32_t tokens[200];
    llmos_context *c;
    llmos_session *s;
    bool has_kinds;

    model_init(DTYPE_Q8_0, NULL);
    prompt_of(tokens, 200, 1, 200, 0);
    c = context_of(1, 512, 1, 0);
    has_kinds = context_has_kinds(c);
    for (int i = 0; i < RETRACE_TEXTS + 2; i++) { /* more than are kept */
        s = session_of(c, 1, tokens, 100);
        a.made = 0;
        run_to_end(c, s, &a);
        retrace_keep(&retrace, c, s, 100);
        llmos_session_destroy(s);
    }
    CHECK_INT(retrace_has_work(&retrace), has_kinds);
    retrace_step(&retrace, c, 1);
    retrace_yield(&retrace);
    check_sound(c);
    ask(c, 2, tokens, 3, &expected); /* has the place of the only sequence */
    for (int i = 0; retrace_has_work(&retrace); i++) {
        CHECK(i < 1000);
        retrace_step(&retrace, c, 1);
    }
    check_sound(c);
    memcpy(tokens + 100, a.tokens, sizeof(a.tokens));
    ask_afresh(tokens, 150, &expected);
    CHECK_INT(ask(c, 1, tokens, 150, &a), 100 + NEW - !has_kinds);
    check_same(&a, &expected);
    retrace_fini(&retrace);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

/* It is given up where there is no memory, or no page. */
TEST(a_retrace_that_cannot_go_on_is_given_up)
{
    struct retrace retrace = {.count = 0};
    struct answer a = {.made = 0};
    llmos_session *s, *other;
    int32_t tokens[300];
    llmos_context *c;

    model_init(DTYPE_Q8_0, NULL);
    prompt_of(tokens, 300, 1, 200, 0);
    c = context_of(1, 512, 2, CONTEXT);
    s = session_of(c, 1, tokens, 100);
    run_to_end(c, s, &a);
    retrace_keep(&retrace, c, s, 100);
    llmos_session_destroy(s);
    other = session_of(c, 2, tokens, 300); /* has all pages */
    a.made = 0;
    run_to_end(c, other, &a);
    retrace_step(&retrace, c, 1);
    CHECK(!retrace_has_work(&retrace));
    llmos_session_destroy(other);
    check_sound(c);
    retrace_fini(&retrace);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(private_sessions_share_nothing_and_leave_nothing)
{
    int32_t tokens[200];
    struct answer a;
    llmos_context *c;
    uint32_t cached;

    model_init(DTYPE_F32, NULL);
    prompt_of(tokens, 200, 1, 200, 0);
    c = context_of(1, 512, 2, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(ask(c, LLMOS_DOMAIN_PRIVATE, tokens, 200, &a), 0);
        free_tokens(c, &cached);
        CHECK_INT(cached, 0);
    }
    CHECK_INT(ask(c, LLMOS_DOMAIN_COMMON, tokens, 200, &a), 0);
    CHECK_INT(ask(c, LLMOS_DOMAIN_PRIVATE, tokens, 200, &a), 0);
    CHECK_INT(ask(c, 1ull << 32, tokens, 200, &a), 0); /* not cut to 32 bits */
    CHECK_INT(ask(c, LLMOS_DOMAIN_COMMON, tokens, 200, &a), 199);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(the_domain_is_said_before_the_first_token)
{
    struct llmos_error err = {0};
    llmos_context *c;
    llmos_session *s;

    model_init(DTYPE_F32, NULL);
    c = context_of(1, 512, 1, 0);
    s = session_of(c, 1, (const int32_t[]){1, 2, 3}, 3);
    CHECK_INT(llmos_session_set_domain(s, 2, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "3 tokens already");
    llmos_session_destroy(s);
    s = session_of(c, 1, NULL, 0);
    CHECK_INT(llmos_session_set_domain(s, 2, &err), 0);
    llmos_session_destroy(s);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(cached_pages_are_free_for_whoever_needs_them)
{
    int32_t tokens[300];
    struct answer expected, a;
    llmos_context *c;
    uint32_t cached;

    model_init(DTYPE_F32, NULL);
    c = context_of(1, 512, 1, CONTEXT);
    for (uint64_t i = 0; i < 12; i++) {
        prompt_of(tokens, 300, i % 3, 300, 0);
        ask_afresh(tokens, 300, &expected);
        CHECK_INT(ask(c, 1 + i % 2, tokens, 300, &a), 0); /* the others have pushed it out */
        check_same(&a, &expected);
        CHECK_INT(free_tokens(c, &cached), CONTEXT);
        CHECK_INT(cached, CONTEXT);
    }
    prompt_of(tokens, 10, 50, 10, 0);
    ask(c, LLMOS_DOMAIN_PRIVATE, tokens, 10, &a);
    prompt_of(tokens, 300, 2, 300, 0);
    /* Of the last prompt the last page is gone, its beginning is still there. */
    CHECK_INT(ask(c, 2, tokens, 300, &a), 256);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(sessions_find_the_pages_of_one_that_still_runs)
{
    int32_t tokens[200];
    struct answer expected, a = {.made = 0};
    struct llmos_step_out out[3];
    llmos_session *s[3];
    llmos_context *c;

    model_init(DTYPE_F32, NULL);
    prompt_of(tokens, 200, 1, 200, 0);
    ask_afresh(tokens, 200, &expected);
    c = context_of(2, 512, 3, 0);
    s[0] = session_of(c, 1, tokens, 200);
    CHECK_INT(llmos_context_step(c, s, 1, out, NULL), 0);
    CHECK_INT(out[0].computed, 200);
    s[1] = session_of(c, 1, tokens, 200);
    CHECK_INT(llmos_context_step(c, s, 2, out, NULL), 0);
    CHECK_INT(out[1].computed, 8);
    CHECK_INT(llmos_session_cached(s[1]), 192);
    check_sound(c);
    answer_add(&a, s[1], &out[1]);
    llmos_session_destroy(s[0]); /* what it computed stays with the other */
    check_sound(c);
    run_to_end(c, s[1], &a);
    check_same(&a, &expected);
    CHECK_INT(free_tokens(c, NULL), 3 * CONTEXT - 256);
    llmos_session_destroy(s[1]);
    CHECK_INT(free_tokens(c, NULL), 3 * CONTEXT);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(choices_of_one_prompt_compute_it_once)
{
    struct llmos_step_out out[4];
    struct answer expected[2], a[4] = {{.made = 0}};
    int32_t tokens[200], others[200];
    llmos_session *s[4];
    llmos_context *c;

    model_init(DTYPE_F32, NULL);
    prompt_of(tokens, 200, 1, 200, 0);
    prompt_of(others, 200, 1, 70, 0);
    ask_afresh(tokens, 200, &expected[0]);
    ask_afresh(others, 200, &expected[1]);
    c = context_of(2, 512, 4, 0);
    for (int i = 0; i < 4; i++)
        s[i] = session_of(c, i == 3 ? 2 : 1, i == 2 ? others : tokens, 200);
    CHECK_INT(llmos_context_step(c, s, 4, out, NULL), 0);
    CHECK_INT(out[0].computed, 200);
    CHECK_INT(out[1].computed, 0); /* waits */
    CHECK_INT(out[2].computed, 0);
    CHECK(!out[1].starved && out[1].token < 0);
    CHECK_INT(out[3].computed, 200); /* of another domain */
    answer_add(&a[0], s[0], &out[0]);
    answer_add(&a[3], s[3], &out[3]);
    CHECK_INT(llmos_context_step(c, s, 4, out, NULL), 0);
    CHECK_INT(out[1].computed, 8);
    CHECK_INT(out[2].computed, 130);
    CHECK_INT(llmos_session_cached(s[2]), 70);
    for (int i = 0; i < 4; i++)
        answer_add(&a[i], s[i], &out[i]);
    for (int i = 0; i < 4; i++) {
        run_to_end(c, s[i], &a[i]);
        check_same(&a[i], &expected[i == 2]);
        check_sound(c);
    }
    for (int i = 0; i < 4; i++)
        llmos_session_destroy(s[i]);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(a_canceled_session_leaves_what_it_has_computed)
{
    int32_t tokens[200];
    struct answer expected, a;
    struct llmos_step_out out;
    llmos_session *s;
    llmos_context *c;

    model_init(DTYPE_F32, NULL);
    prompt_of(tokens, 200, 1, 200, 0);
    ask_afresh(tokens, 200, &expected);
    c = context_of(1, 30, 1, 0);
    s = session_of(c, 1, tokens, 200);
    for (int i = 0; i < 3; i++)
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
    llmos_session_destroy(s);
    CHECK_INT(ask(c, 1, tokens, 200, &a), 90);
    check_same(&a, &expected);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(a_step_that_fails_puts_nothing_into_the_cache)
{
    int32_t tokens[100];
    struct answer expected, a;
    struct llmos_step_out out;
    llmos_session *s;
    llmos_context *c;
    float *row, before[64];

    model_init(DTYPE_F32, NULL);
    row = (float *)(uintptr_t)tensor_row(weights_get(&model.model.weights, 0, WEIGHT_EMBED), 42);
    memcpy(before, row, sizeof(before));
    prompt_of(tokens, 100, 1, 100, 0);
    tokens[20] = 42;
    ask_afresh(tokens, 100, &expected);
    c = context_of(1, 512, 1, 0);
    for (int i = 0; i < 2; i++) {
        row[3] = NAN;
        s = session_of(c, 1, tokens, 100);
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), LLMOS_EFORMAT);
        check_sound(c);
        memcpy(row, before, sizeof(before));
        if (i == 1) { /* the pages that were taken for it serve when it is tried again */
            a = (struct answer){.made = 0};
            run_to_end(c, s, &a);
            check_same(&a, &expected);
        }
        llmos_session_destroy(s);
        if (i == 0)
            CHECK_INT(free_tokens(c, NULL), CONTEXT);
        check_sound(c);
    }
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(pages_of_a_step_that_failed_make_room_for_those_that_others_have_computed)
{
    struct answer expected, a = {.made = 0};
    int32_t tokens[200];
    struct llmos_step_out out;
    llmos_session *s;
    llmos_context *c;
    float *row, before[64];

    model_init(DTYPE_F32, NULL);
    row = (float *)(uintptr_t)tensor_row(weights_get(&model.model.weights, 0, WEIGHT_EMBED), 42);
    memcpy(before, row, sizeof(before));
    prompt_of(tokens, 200, 1, 200, 0);
    tokens[150] = 42;
    ask_afresh(tokens, 200, &expected);
    c = context_of(1, 512, 2, 0);
    s = session_of(c, 1, tokens, 200);
    row[3] = NAN;
    CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), LLMOS_EFORMAT);
    memcpy(row, before, sizeof(before));
    ask(c, 1, tokens, 190, &a); /* leaves two full pages and more */
    a.made = 0;
    run_to_end(c, s, &a);
    CHECK_INT(llmos_session_cached(s), 190);
    check_same(&a, &expected);
    check_sound(c);
    llmos_session_destroy(s);
    check_sound(c);
    CHECK_INT(free_tokens(c, NULL), 2 * CONTEXT);
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(only_the_same_page_behind_the_same_past_is_waited_for)
{
    int32_t tokens[2][200];
    struct llmos_step_out out[2];
    llmos_session *s[2];
    struct answer a;
    llmos_context *c;

    model_init(DTYPE_F32, NULL);
    c = context_of(1, 512, 2, 0);
    for (int i = 0; i < 2; i++) {
        prompt_of(tokens[i], 200, 5, 200, 0);
        tokens[i][3] = i; /* in the first page */
        ask(c, 1, tokens[i], 65, &a);
    }
    for (int i = 0; i < 2; i++)
        s[i] = session_of(c, 1, tokens[i], 200);
    CHECK_INT(llmos_context_step(c, s, 2, out, NULL), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(llmos_session_cached(s[i]), 65);
        CHECK_INT(out[i].computed, 135);
        llmos_session_destroy(s[i]);
    }
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

TEST(sharing_allocates_nothing)
{
    int32_t tokens[300];
    struct answer a;
    llmos_context *c;

    model_init(DTYPE_F32, NULL);
    c = context_of(2, 512, 1, CONTEXT);
    for (uint64_t i = 0; i < 12; i++) { /* found, copied, given up */
        prompt_of(tokens, 300, 1, 140, i % 3);
        mem_fail_at(1);
        CHECK((ask(c, 1 + i / 8, tokens, 300, &a) > 0) == (i != 0 && i != 8));
        CHECK(!mem_failed());
        mem_fail_at(0);
    }
    llmos_context_destroy(c);
    tiny_llama_fini(&model);
}

/* --- anything in any order --- */

#define PLAYERS 4
#define PROMPTS 40

static struct prompt {
    int32_t tokens[300];
    size_t n;
    struct answer expected;
} prompts[PROMPTS];

struct player {
    llmos_session *s;
    const struct prompt *prompt;
    struct answer a;
    size_t cached;
};

/* Three families; some prompts are beginnings of others, some part from them anywhere. */
static void prompts_init(struct rng *rng)
{
    for (size_t i = 0; i < PROMPTS; i++) {
        struct prompt *p = &prompts[i];
        size_t shared = rng_below(rng, 3) ? rng_below(rng, 300) : 64 * rng_below(rng, 5);

        p->n = 1 + rng_below(rng, 300);
        prompt_of(p->tokens, p->n, i % 3, shared, i);
        ask_afresh(p->tokens, p->n, &p->expected);
    }
}

static void player_end(struct player *p, llmos_context *c)
{
    llmos_session_destroy(p->s);
    p->s = NULL;
    check_sound(c);
}

/* One step of some of them; true if all of those could do nothing for want of pages. */
static bool step_some(llmos_context *c, struct player *players, struct rng *rng, uint32_t *finished)
{
    struct llmos_step_out out[PLAYERS];
    llmos_session *s[PLAYERS];
    struct player *of[PLAYERS];
    size_t n = 0, members = rng_below(rng, 3) ? 15 : 1 + rng_below(rng, 15);
    bool starved = true;

    for (size_t i = 0; i < PLAYERS; i++)
        if (players[i].s && members >> i & 1) {
            of[n] = &players[i];
            s[n++] = players[i].s;
        }
    if (n == 0)
        return false;
    CHECK_INT(llmos_context_step(c, s, n, out, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        CHECK(!out[i].context_full);
        starved &= out[i].starved;
        answer_add(&of[i]->a, s[i], &out[i]);
        if (of[i]->a.made < NEW)
            continue;
        check_same(&of[i]->a, &of[i]->prompt->expected);
        CHECK(llmos_session_cached(s[i]) < of[i]->prompt->n);
        player_end(of[i], c);
        (*finished)++;
    }
    check_sound(c);
    return starved;
}

static void play(uint32_t threads, uint32_t batch, uint32_t kv_tokens, int steps)
{
    struct player players[PLAYERS] = {{0}};
    llmos_context *c;
    struct rng rng;
    uint32_t finished = 0, starved = 0, canceled = 0;
    uint64_t cached = 0;

    rng_seed(&rng, batch);
    c = context_of(threads, batch, PLAYERS, kv_tokens);
    for (int step = 0; step < steps; step++) {
        size_t i = rng_below(&rng, PLAYERS);

        if (!players[i].s) {
            players[i] = (struct player){.prompt = &prompts[rng_below(&rng, PROMPTS)]};
            players[i].s =
                session_of(c, rng_below(&rng, 3), players[i].prompt->tokens, players[i].prompt->n);
        } else if (rng_below(&rng, 40) == 0) {
            player_end(&players[i], c);
            canceled++;
        }
        if (step_some(c, players, &rng, &finished)) { /* one gives way, as in the engine */
            for (i = PLAYERS; i-- > 0 && !players[i].s;)
                ;
            player_end(&players[i], c);
            starved++;
        }
        for (i = 0; i < PLAYERS; i++)
            if (players[i].s && llmos_session_cached(players[i].s) > players[i].cached) {
                cached += llmos_session_cached(players[i].s) - players[i].cached;
                players[i].cached = llmos_session_cached(players[i].s);
            }
    }
    for (size_t i = 0; i < PLAYERS; i++)
        player_end(&players[i], c);
    CHECK_INT(free_tokens(c, NULL), kv_tokens);
    printf(
        "# %u threads, batch %u, %u tokens: %u finished, %u canceled, %u gave way, %llu cached\n",
        threads, batch, kv_tokens, finished, canceled, starved, (unsigned long long)cached);
    CHECK(finished > 100 && canceled > 10 && cached > 1000);
    CHECK(starved > 0 || kv_tokens > 2 * CONTEXT);
    llmos_context_destroy(c);
}

static void play_all(const char *cache)
{
    struct rng rng;

    model_init(DTYPE_Q8_0, cache);
    rng_seed(&rng, 77);
    prompts_init(&rng);
    play(1, 100, CONTEXT, 3000);
    play(2, 512, CONTEXT + 64, 2000);
    play(3, 37, 2 * CONTEXT, 2000);
    play(1, 300, PLAYERS * CONTEXT, 2000);
    tiny_llama_fini(&model);
}

TEST(sessions_that_share_come_end_and_give_way_at_random_with_the_same_bytes)
{
    play_all("f16");
}

TEST(sessions_that_share_a_cache_of_q8_0_come_end_and_give_way_likewise)
{
    play_all("q8_0");
}
