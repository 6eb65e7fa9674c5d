/* SPDX-License-Identifier: Apache-2.0 */
/* "Same seed, same bytes" over everything at once: types of weights, threads, how many run
 * together, how prompts are cut, what is found in the cache, and who has to give way and begin
 * again. */
#include "infer/session.h"

#include "sanitizer.h"
#include "test.h"
#include "tiny_llama.h"

#define VOCABULARY 101
#define CONTEXT    192
#define ASKERS     16
#define NEW        5
#define LONGEST    160

/* Rows of 256, which every type can hold. */
static const struct hparams wide_hparams = {
    .architecture = "llama",
    .n_layer = 2,
    .n_embd = 256,
    .n_ff = 256,
    .n_head = 4,
    .n_head_kv = 2,
    .n_vocab = VOCABULARY,
    .n_ctx_train = CONTEXT,
    .head_dim = 64,
    .rope_dims = 64,
    .rms_eps = 1e-5f,
    .rope_base = 10000,
    .rope_factor = 1,
    .rope_ctx_orig = CONTEXT,
    .yarn_ext = 1,
    .yarn_attn = 1,
    .yarn_beta_fast = 32,
    .yarn_beta_slow = 1,
};

/* How the askers are served. */
struct way {
    uint32_t threads, together, batch, kv_tokens;
    uint64_t domain;
};

struct asker {
    int32_t prompt[LONGEST], said[NEW];
    float logits[VOCABULARY]; /* from which the last was taken */
    size_t length, made;
    llmos_session *s; /* NULL: waits, or is done when all is said */
};

static struct tiny_llama model;
static struct asker expected[ASKERS], askers[ASKERS];
static uint32_t gave_way, found;
static bool is_crowded; /* somebody gave way, and nobody has ended since: nobody begins */

/* Four families that begin alike: within a page, to its end, over it, and not at all. */
static void make_prompt(struct asker *a, size_t i)
{
    static const size_t shared[] = {40, 64, 100, 0};
    struct rng rng;

    a->length = 20 + i * 37 % (LONGEST - 20);
    rng_seed(&rng, i % 4);
    for (size_t t = 0; t < a->length; t++) {
        if (t == shared[i % 4])
            rng_seed(&rng, 100 + i);
        a->prompt[t] = (int32_t)rng_below(&rng, VOCABULARY);
    }
}

static void begin(struct asker *a, size_t i, llmos_context *c, uint64_t domain)
{
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;

    o.seed = i;
    o.temperature = i % 3 == 0 ? 0 : 0.9f;
    o.repeat_penalty = i % 2 ? 1.1f : 1;
    a->made = 0; /* who gave way says it all again */
    CHECK_INT(llmos_session_create(&a->s, c, &o, NULL), 0);
    CHECK_INT(llmos_session_set_domain(a->s, domain, NULL), 0);
    CHECK_INT(llmos_session_append(a->s, a->prompt, a->length, NULL), 0);
}

static void leave(struct asker *a)
{
    llmos_session_destroy(a->s);
    a->s = NULL;
}

static void hear(struct asker *a, const struct llmos_step_out *out)
{
    CHECK(!out->context_full);
    if (out->token < 0)
        return;
    memcpy(a->logits, llmos_session_logits(a->s), sizeof(a->logits));
    a->said[a->made++] = out->token;
    if (a->made < NEW)
        return;
    found += (uint32_t)llmos_session_cached(a->s);
    leave(a);
    is_crowded = false;
}

/* All that run take a step.  If none could for want of pages, the youngest gives way. */
static void step(llmos_context *c, struct asker *const *running, size_t n)
{
    struct llmos_step_out out[ASKERS];
    llmos_session *s[ASKERS];
    bool starved = true;

    for (size_t i = 0; i < n; i++)
        s[i] = running[i]->s;
    CHECK_INT(llmos_context_step(c, s, n, out, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        starved &= out[i].starved;
        hear(running[i], &out[i]);
    }
    if (!starved)
        return;
    CHECK(n > 1); /* one alone has all pages */
    leave(running[n - 1]);
    is_crowded = true;
    gave_way++;
}

/* Everybody is served, `together` at a time, in the order of asking. */
static void serve(const struct way *w)
{
    struct llmos_context_options o = {.threads = w->threads,
                                      .context_tokens = CONTEXT,
                                      .sessions_max = w->together,
                                      .kv_tokens = w->kv_tokens,
                                      .batch_tokens = w->batch};
    struct asker *running[ASKERS];
    struct llmos_error err = {0};
    llmos_context *c;
    size_t n;

    if (llmos_context_create(&c, &model.model, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    is_crowded = false;
    do {
        n = 0;
        for (size_t i = 0; i < ASKERS && n < w->together; i++) {
            struct asker *a = &askers[i];

            if (!a->s && (a->made == NEW || is_crowded))
                continue;
            if (!a->s)
                begin(a, i, c, w->domain);
            running[n++] = a;
        }
        if (n)
            step(c, running, n);
    } while (n);
    llmos_context_destroy(c);
}

static void check_way(const struct way *w)
{
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.s = NULL};
        make_prompt(&askers[i], i);
    }
    serve(w);
    for (size_t i = 0; i < ASKERS; i++)
        if (memcmp(askers[i].said, expected[i].said, sizeof(askers[i].said)) != 0 ||
            memcmp(askers[i].logits, expected[i].logits, sizeof(askers[i].logits)) != 0)
            TEST_FAIL("asker %zu is told something else with %u threads, %u together, batch %u, "
                      "%u tokens of cache, domain %u",
                      i, w->threads, w->together, w->batch, w->kv_tokens, (unsigned)w->domain);
}

/* Each alone: nothing is shared, the prompt comes whole. */
static void expect(void)
{
    const struct way alone = {
        .threads = 1, .together = 1, .batch = 512, .domain = LLMOS_DOMAIN_PRIVATE};

    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.s = NULL};
        make_prompt(&askers[i], i);
    }
    serve(&alone);
    memcpy(expected, askers, sizeof(expected));
}

static void every_way(enum dtype type)
{
    static const uint32_t batches[] = {512, 64, 7};
    uint32_t turn = 0;

    tiny_llama_init(&model, &wide_hparams, type, NULL, 11);
    expect();
    gave_way = found = 0;
    for (uint32_t together = 1; together <= ASKERS; together += HAS_SANITIZER ? 5 : 1)
        for (uint32_t threads = 1; threads <= 4; threads++, turn++) {
            struct way w = {.threads = threads,
                            .together = together,
                            .batch = batches[turn % 3],
                            .domain =
                                (turn + turn / 8) % 2 ? LLMOS_DOMAIN_COMMON : LLMOS_DOMAIN_PRIVATE};

            /* Of each four ways one has pages for hardly more than the longest sequence. */
            w.kv_tokens = (turn + together) % 4 == 3 ? CONTEXT + 64 : 0;
            check_way(&w);
        }
    printf("# %s: %u ways, %u gave way, %u tokens were found\n", dtype_info(type)->name, turn,
           gave_way, found);
    CHECK(gave_way > 2);
    CHECK(found > 1000);
    tiny_llama_fini(&model);
}

#define EVERY_WAY(name, type)                                                   \
    TEST(an_answer_is_the_same_alone_together_found_cut_and_begun_again_##name) \
    {                                                                           \
        every_way(type);                                                        \
    }

EVERY_WAY(f32, DTYPE_F32)
EVERY_WAY(f16, DTYPE_F16)
EVERY_WAY(bf16, DTYPE_BF16)
EVERY_WAY(q8_0, DTYPE_Q8_0)
EVERY_WAY(q4_0, DTYPE_Q4_0)
EVERY_WAY(q4_k, DTYPE_Q4_K)
EVERY_WAY(q6_k, DTYPE_Q6_K)
EVERY_WAY(q2_k, DTYPE_Q2_K)
EVERY_WAY(iq4_xs, DTYPE_IQ4_XS)
