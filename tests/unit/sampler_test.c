/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/sampler.h"

#include "base/mem.h"
#include "test.h"

#include <float.h>

#define N 300

static struct sampler_scratch scratch_of(size_t n, void **block)
{
    struct sampler_scratch s;
    struct carve c = {0};

    sampler_carve(&s, n, &c);
    c = (struct carve){.at = *block = mem_aligned(c.used)};
    sampler_carve(&s, n, &c);
    return s;
}

static const struct llmos_sampling plain = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};
static const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};

/* One pick without history. */
static int pick(const struct llmos_sampling *o, const float *logits, size_t n, struct rng *rng,
                struct llmos_step_out *out)
{
    struct sampler_history none = {0};
    void *block;
    struct sampler_scratch s = scratch_of(n, &block);
    int rc = sampler_pick(o, logits, n, &none, NULL, rng, &s, out);

    for (size_t i = 0; i < n; i++)
        CHECK_INT(s.counts[i], 0);
    mem_free(block);
    return rc;
}

static int32_t pick_greedy(const float *logits, size_t n)
{
    struct llmos_step_out out = {.token = -1};
    struct rng rng = {{1, 2, 3, 4}}, before = rng;

    CHECK_INT(pick(&greedy, logits, n, &rng, &out), 0);
    CHECK(memcmp(&rng, &before, sizeof(rng)) == 0); /* nothing drawn */
    return out.token;
}

TEST(greedy_takes_the_largest_and_the_lowest_id_among_equals)
{
    const float logits[] = {1, 3, -2, 3, 2};
    const float same[] = {-5, -5, -5};

    CHECK_INT(pick_greedy(logits, 5), 1);
    CHECK_INT(pick_greedy(same, 3), 0);
}

TEST(a_logit_that_is_not_a_number_never_wins)
{
    const float logits[] = {NAN, -7, NAN, -3, NAN};
    const float infinite[] = {NAN, 5, INFINITY, INFINITY, -INFINITY};
    const struct llmos_sampling ways[] = {
        plain,
        {.temperature = 5, .top_k = 4, .top_p = 1, .repeat_penalty = 1},
        {.temperature = 5, .top_p = 0.99f, .repeat_penalty = 1},
        {.temperature = 5, .top_p = 1, .min_p = 0.01f, .repeat_penalty = 1},
        {.temperature = 1, .top_p = 1, .repeat_penalty = 1.1f, .presence_penalty = 1},
    };
    struct rng rng;

    CHECK_INT(pick_greedy(logits, 5), 3);
    CHECK_INT(pick_greedy(infinite, 5), 2);
    rng_seed(&rng, 1);
    for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++)
        for (int i = 0; i < 200; i++) {
            struct llmos_step_out out = {.token = -1};

            CHECK_INT(pick(&ways[w], logits, 5, &rng, &out), 0);
            CHECK(out.token == 1 || out.token == 3);
            CHECK_INT(pick(&ways[w], infinite, 5, &rng, &out), 0);
            CHECK(out.token == 2 || out.token == 3);
        }
}

TEST(logits_without_any_number_are_an_error_and_change_nothing)
{
    const float logits[] = {NAN, NAN, -INFINITY, NAN};
    const struct llmos_sampling usual = LLMOS_SAMPLING_INIT;
    struct llmos_step_out out = {.token = -1};
    struct rng rng = {{1, 2, 3, 4}}, before = rng;

    CHECK_INT(pick(&greedy, logits, 4, &rng, &out), LLMOS_EFORMAT);
    CHECK_INT(pick(&usual, logits, 4, &rng, &out), LLMOS_EFORMAT);
    CHECK(memcmp(&rng, &before, sizeof(rng)) == 0);
    CHECK_INT(out.token, -1);
}

/* --- against the obvious way: sort everything --- */

static const float *sorted_by;

static int by_logit(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

    if (sorted_by[x] != sorted_by[y])
        return sorted_by[x] > sorted_by[y] ? -1 : 1;
    return x < y ? -1 : 1;
}

static int32_t obvious_pick(const struct llmos_sampling *o, const float *logits, size_t n, double u)
{
    int32_t order[N];
    double p[N], total = 0, sum = 0, most;
    size_t kept = o->top_k && o->top_k < n ? o->top_k : n, nucleus = 0;

    for (size_t i = 0; i < n; i++)
        order[i] = (int32_t)i;
    sorted_by = logits;
    qsort(order, n, sizeof(*order), by_logit);
    most = (double)logits[order[0]];
    for (size_t i = 0; i < kept; i++)
        total += p[i] = exp(((double)logits[order[i]] - most) / (double)o->temperature);
    while (nucleus < kept && sum < (double)o->top_p * total)
        sum += p[nucleus++];
    nucleus = nucleus ? nucleus : 1;
    while (nucleus > 1 && p[nucleus - 1] < (double)o->min_p)
        nucleus--;
    total = sum = 0;
    for (size_t i = 0; i < nucleus; i++)
        total += p[i];
    for (size_t i = 0; i < nucleus; i++)
        if ((sum += p[i]) > u * total)
            return order[i];
    return order[nucleus - 1];
}

TEST(top_k_top_p_min_p_and_temperature_agree_with_sorting_everything)
{
    const uint32_t top_k[] = {0, 1, 2, 40, 299, 300, 1000000};
    const float top_p[] = {0, 0.1f, 0.5f, 0.95f, 0.9999f, 1};
    const float min_p[] = {0, 0.05f, 0.9f, 1};
    const float temperature[] = {0.01f, 0.7f, 1, 3, 100};
    float logits[N];
    struct rng rng, numbers;

    rng_seed(&rng, 5);
    rng_seed(&numbers, 6);
    for (int n = 0; n < 7 * 6 * 4 * 5 * 3; n++) {
        struct llmos_sampling o = {.temperature = temperature[n % 5],
                                   .top_k = top_k[n / 5 % 7],
                                   .top_p = top_p[n / 35 % 6],
                                   .min_p = min_p[n / 210 % 4],
                                   .repeat_penalty = 1};
        struct llmos_step_out out = {.token = -1};
        struct rng before;

        /* Rounded, so that there are ties. */
        for (size_t i = 0; i < N; i++)
            logits[i] = (float)(round(4 * 3 * rng_normal(&rng)) / 4);
        before = numbers;
        CHECK_INT(pick(&o, logits, N, &numbers, &out), 0);
        if ((o.top_k == 0 || o.top_k >= N) && o.top_p >= 1)
            continue; /* drawn in order of the ids: below */
        CHECK_INT(out.token, obvious_pick(&o, logits, N, rng_uniform(&before)));
        CHECK(memcmp(&before, &numbers, sizeof(before)) == 0); /* one number a draw */
    }
}

TEST(a_flat_distribution_makes_the_nucleus_nearly_the_whole_vocabulary)
{
    struct llmos_sampling o = {.temperature = 1, .top_p = 0.9f, .repeat_penalty = 1};
    static float logits[5000];
    int32_t largest = 0;
    struct rng rng;

    rng_seed(&rng, 8);
    for (int i = 0; i < 300; i++) {
        struct llmos_step_out out;

        CHECK_INT(pick(&o, logits, 5000, &rng, &out), 0);
        CHECK(out.token < 4501); /* equals: the lower ids are kept */
        largest = out.token > largest ? out.token : largest;
    }
    CHECK(largest > 4300);
}

TEST(draws_from_all_tokens_follow_the_distribution)
{
    const float logits[] = {logf(0.1f), logf(0.2f), NAN, logf(0.3f), logf(0.4f), -INFINITY};
    const double expected[] = {0.1, 0.2, 0, 0.3, 0.4, 0};
    const int draws = 40000;
    int seen[6] = {0};
    struct rng rng;

    rng_seed(&rng, 3);
    for (int i = 0; i < draws; i++) {
        struct llmos_step_out out;

        CHECK_INT(pick(&plain, logits, 6, &rng, &out), 0);
        seen[out.token]++;
    }
    for (int i = 0; i < 6; i++) /* five standard deviations */
        CHECK_NEAR(seen[i], draws * expected[i], 5 * sqrt(draws * expected[i] * (1 - expected[i])));
}

TEST(a_temperature_of_nearly_nothing_is_greedy_and_never_divides_by_zero)
{
    struct llmos_sampling o = plain;
    const float logits[] = {1, 3, 2, 2.999f};
    const float steps[] = {1e-45f, 1e-38f, 1e-5f};
    struct rng rng;

    rng_seed(&rng, 1);
    for (size_t i = 0; i < 3; i++) {
        struct llmos_step_out out;

        o.temperature = steps[i];
        CHECK_INT(pick(&o, logits, 4, &rng, &out), 0);
        CHECK_INT(out.token, 1);
        o.top_k = 3;
        CHECK_INT(pick(&o, logits, 4, &rng, &out), 0);
        CHECK_INT(out.token, 1);
    }
}

/* --- bias and penalties --- */

/* The largest logit after the changes, found by probing: greedy with a rival that is raised. */
static int32_t greedy_after(const struct llmos_sampling *o, const float *logits, size_t n,
                            const int32_t *tokens, const uint8_t *generated, size_t count)
{
    struct sampler_history h = {tokens, generated, count};
    struct llmos_step_out out = {.token = -1};
    struct rng rng = {{1, 2, 3, 4}};
    void *block;
    struct sampler_scratch s = scratch_of(n, &block);

    CHECK_INT(sampler_pick(o, logits, n, &h, NULL, &rng, &s, &out), 0);
    for (size_t i = 0; i < n; i++)
        CHECK_INT(s.counts[i], 0);
    mem_free(block);
    return out.token;
}

TEST(logit_bias_adds_and_bans)
{
    const float logits[] = {5, 4, 3};
    const struct llmos_logit_bias add[] = {{1, 1.5f}}, tie[] = {{1, 1}};
    const struct llmos_logit_bias ban[] = {{0, -100}, {1, -1e30f}};
    struct llmos_sampling o = greedy;

    o.bias_count = 1;
    o.bias = add;
    CHECK_INT(greedy_after(&o, logits, 3, NULL, NULL, 0), 1);
    o.bias = tie;
    CHECK_INT(greedy_after(&o, logits, 3, NULL, NULL, 0), 0);
    o.bias = ban;
    o.bias_count = 2;
    CHECK_INT(greedy_after(&o, logits, 3, NULL, NULL, 0), 2);
    o.temperature = 100; /* banned whatever the draw */
    for (int i = 0; i < 50; i++)
        CHECK_INT(greedy_after(&o, logits, 3, NULL, NULL, 0), 2);
}

TEST(repeat_penalty_divides_positive_and_multiplies_negative_logits_once)
{
    const int32_t tokens[] = {0, 0, 0, 2};
    const uint8_t generated[4] = {0};
    struct llmos_sampling o = greedy;

    o.repeat_penalty = 2;
    /* 8 / 2 = 4: once, although it stands there three times */
    CHECK_INT(greedy_after(&o, (const float[]){8, 3.9f, -1}, 3, tokens, generated, 4), 0);
    CHECK_INT(greedy_after(&o, (const float[]){8, 4.1f, -1}, 3, tokens, generated, 4), 1);
    /* -1 * 2 = -2 */
    CHECK_INT(greedy_after(&o, (const float[]){-90, -2.1f, -1}, 3, tokens, generated, 4), 2);
    CHECK_INT(greedy_after(&o, (const float[]){-90, -1.9f, -1}, 3, tokens, generated, 4), 1);
    o.repeat_last = 1; /* looks back on token 2 only */
    CHECK_INT(greedy_after(&o, (const float[]){8, 7.9f, -1}, 3, tokens, generated, 4), 0);
}

TEST(repeat_penalty_looks_back_on_64_tokens_unless_told)
{
    int32_t tokens[65] = {0};
    const uint8_t generated[65] = {0};
    const float logits[] = {0.5f, 8, 5};
    struct llmos_sampling o = greedy;

    tokens[0] = 1;
    o.repeat_penalty = 2;
    CHECK_INT(greedy_after(&o, logits, 3, tokens, generated, 64), 2);
    CHECK_INT(greedy_after(&o, logits, 3, tokens, generated, 65), 1);
    o.repeat_last = UINT32_MAX;
    CHECK_INT(greedy_after(&o, logits, 3, tokens, generated, 65), 2);
}

TEST(presence_counts_once_frequency_every_time_and_the_prompt_not_at_all)
{
    const int32_t tokens[] = {0, 0, 0, 1};
    const uint8_t generated[] = {0, 1, 1, 0};
    struct llmos_sampling o = greedy;

    o.presence_penalty = 1.5f; /* 5 - 1.5 */
    CHECK_INT(greedy_after(&o, (const float[]){5, 3.4f}, 2, tokens, generated, 4), 0);
    CHECK_INT(greedy_after(&o, (const float[]){5, 3.6f}, 2, tokens, generated, 4), 1);
    o.presence_penalty = 0;
    o.frequency_penalty = 1; /* 5 - 2 * 1 */
    CHECK_INT(greedy_after(&o, (const float[]){5, 2.9f}, 2, tokens, generated, 4), 0);
    CHECK_INT(greedy_after(&o, (const float[]){5, 3.1f}, 2, tokens, generated, 4), 1);
    o.frequency_penalty = -1; /* may be wanted: 5 + 2 */
    CHECK_INT(greedy_after(&o, (const float[]){5, 6.9f}, 2, tokens, generated, 4), 0);
}

/* --- log-probabilities --- */

TEST(logprobs_are_of_the_models_own_distribution)
{
    const float logits[] = {1, 2, 3, 2};
    const struct llmos_logit_bias bias[] = {{2, -100}};
    struct llmos_sampling o = {.temperature = 0,
                               .top_p = 1,
                               .repeat_penalty = 1,
                               .bias = bias,
                               .bias_count = 1,
                               .logprobs = 3,
                               .want_logprob = true};
    double total = log(exp(1) + 2 * exp(2) + exp(3));
    struct llmos_step_out out;
    struct rng rng = {{1, 2, 3, 4}};

    CHECK_INT(pick(&o, logits, 4, &rng, &out), 0);
    CHECK_INT(out.token, 1);
    CHECK_NEAR((double)out.logprob, 2 - total, 1e-6);
    CHECK_INT(out.top_count, 3);
    CHECK_INT(out.top[0].token, 2);
    CHECK_INT(out.top[1].token, 1); /* equals: the lower id first */
    CHECK_INT(out.top[2].token, 3);
    CHECK_NEAR((double)out.top[0].logprob, 3 - total, 1e-6);
    o.logprobs = 20; /* more than there are */
    CHECK_INT(pick(&o, logits, 4, &rng, &out), 0);
    CHECK_INT(out.top_count, 4);
}

TEST(logprobs_of_huge_logits_do_not_overflow)
{
    const float logits[] = {3e38f, 3e38f, -3e38f, NAN, INFINITY};
    struct llmos_sampling o = {.top_p = 1, .repeat_penalty = 1, .logprobs = 5};
    struct llmos_step_out out;
    struct rng rng = {{1, 2, 3, 4}};

    CHECK_INT(pick(&o, logits, 3, &rng, &out), 0);
    CHECK_INT(out.token, 0);
    CHECK_NEAR((double)out.logprob, log(0.5), 1e-6);
    CHECK_INT(out.top_count, 3);
    CHECK(isfinite(out.top[2].logprob));
    CHECK_INT(pick(&o, logits, 5, &rng, &out), 0);
    CHECK_INT(out.token, 4);
    CHECK_NEAR((double)out.logprob, 0, 1e-6);
    CHECK_INT(out.top_count, 4); /* what is not a number is not listed */
    for (uint32_t i = 0; i < out.top_count; i++)
        CHECK(isfinite(out.top[i].logprob));
}

/* --- options --- */

static void refused(const struct llmos_sampling *o, const char *why)
{
    struct llmos_error err = {0};

    CHECK_INT(sampler_check(o, 50, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, why);
}

TEST(options_out_of_range_are_named)
{
    const float bad[] = {NAN, -1e9f, 1e9f, INFINITY, -INFINITY, -FLT_MAX};
    const struct llmos_sampling good = LLMOS_SAMPLING_INIT;

    CHECK_INT(sampler_check(&good, 50, NULL), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct llmos_sampling o = good;
#define REFUSED(field) \
    o = good;          \
    o.field = bad[i];  \
    refused(&o, #field " is")
        REFUSED(temperature);
        REFUSED(top_p);
        REFUSED(min_p);
        REFUSED(repeat_penalty);
        REFUSED(presence_penalty);
        REFUSED(frequency_penalty);
#undef REFUSED
    }
}

TEST(options_with_bad_lists_are_named)
{
    struct llmos_logit_bias bias[LLMOS_BIAS_MAX] = {{50, 1}};
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;

    o.repeat_penalty = 0;
    refused(&o, "repeat_penalty is 0");
    o.repeat_penalty = 1;
    o.logprobs = 21;
    refused(&o, "logprobs is 21");
    o.logprobs = 0;
    o.bias = bias;
    o.bias_count = 1;
    refused(&o, "token 50");
    bias[0].token = -1;
    refused(&o, "token -1");
    bias[0] = (struct llmos_logit_bias){3, NAN};
    refused(&o, "token 3");
    bias[0].bias = INFINITY;
    refused(&o, "token 3");
    o.bias_count = LLMOS_BIAS_MAX + 1;
    refused(&o, "1025 entries");
    o.bias = NULL;
    o.bias_count = 3;
    refused(&o, "no list");
}

TEST(a_bias_that_bans_every_token_is_refused)
{
    struct llmos_logit_bias bias[51];
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;

    for (int i = 0; i < 51; i++)
        bias[i] = (struct llmos_logit_bias){i % 50, -100};
    o.bias = bias;
    o.bias_count = 51;
    refused(&o, "all 50");
    bias[0].bias = bias[50].bias = -99;
    CHECK_INT(sampler_check(&o, 50, NULL), 0);
}

/* --- grammars --- */

/* Tokens are the letters a to t and their pairs with what follows; the last one ends. */
static struct matcher *letters_matcher(const char *grammar, struct tokentrie **trie)
{
    static char text[N][2];
    struct str pieces[N];
    bool ends[N] = {false};
    struct grammar *g = NULL;
    struct matcher *m = NULL;

    for (size_t i = 0; i < N; i++) {
        text[i][0] = (char)('a' + i % 20);
        text[i][1] = (char)('a' + i / 20);
        pieces[i] = (struct str){text[i], i < 20 ? 1 : 2};
    }
    ends[N - 1] = true;
    CHECK_INT(tokentrie_of(trie, pieces, ends, N, NULL), 0);
    CHECK_INT(grammar_compile(&g, str_of(grammar), NULL), 0);
    CHECK_INT(matcher_create(&m, g, *trie, NULL), 0);
    return m;
}

/* One text of a grammar, each token against the same logits with everything banned that the grammar
 * does not allow. */
static void compare_with_bans(struct llmos_sampling o, const char *grammar, uint64_t seed)
{
    void *block;
    struct sampler_scratch s = scratch_of(N, &block);
    struct tokentrie *trie = NULL;
    struct matcher *m = letters_matcher(grammar, &trie);
    const struct sampler_history none = {.count = 0};
    struct rng logits_rng, with, without;

    rng_seed(&logits_rng, seed);
    rng_seed(&with, seed);
    rng_seed(&without, seed);
    for (int i = 0; i < 60 && !matcher_must_end(m); i++) {
        float logits[N], banned[N];
        struct llmos_step_out a, b;
        const uint64_t *mask;

        for (size_t t = 0; t < N; t++)
            banned[t] = logits[t] = (float)(3 * rng_normal(&logits_rng));
        CHECK_INT(sampler_pick(&o, logits, N, &none, m, &with, &s, &a), 0);
        mask = matcher_mask(m);
        for (size_t t = 0; t < N; t++)
            if (!(mask[t / 64] >> (t % 64) & 1))
                banned[t] = -INFINITY;
        CHECK_INT(sampler_pick(&o, banned, N, &none, NULL, &without, &s, &b), 0);
        CHECK_INT(a.token, b.token);
        CHECK(matcher_accept(m, (uint32_t)a.token));
    }
    matcher_destroy(m);
    tokentrie_destroy(trie);
    mem_free(block);
}

TEST(a_grammar_draws_as_if_there_were_no_other_tokens)
{
    static const char *const grammars[] = {
        "root ::= [a-t]*",
        "root ::= \"a\" [b-f]{2,9} (\"gh\" | \"ij\")*",
        "root ::= (\"ab\" | \"abc\" [d-t])+",
    };

    for (size_t g = 0; g < 3; g++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct llmos_sampling o = plain;

            compare_with_bans(greedy, grammars[g], seed);
            compare_with_bans(o, grammars[g], seed);
            o.top_k = 5;
            compare_with_bans(o, grammars[g], seed);
            o.top_p = 0.7f;
            o.top_k = 0;
            compare_with_bans(o, grammars[g], seed);
            o.min_p = 0.2f;
            compare_with_bans(o, grammars[g], seed);
        }
}

TEST(a_grammar_that_leaves_no_token_is_an_error)
{
    static const struct llmos_logit_bias ban_a[] = {{0, -100}, {20, -100}};
    struct llmos_sampling o = plain;
    void *block;
    struct sampler_scratch s = scratch_of(N, &block);
    struct tokentrie *trie = NULL;
    struct matcher *m = letters_matcher("root ::= \"ab\"", &trie);
    const struct sampler_history none = {.count = 0};
    float logits[N] = {0};
    struct llmos_step_out out;
    struct rng rng;

    rng_seed(&rng, 1);
    o.bias = ban_a;
    o.bias_count = 2;
    CHECK_INT(sampler_pick(&o, logits, N, &none, m, &rng, &s, &out), LLMOS_ENOTFOUND);
    o.bias_count = 1;
    CHECK_INT(sampler_pick(&o, logits, N, &none, m, &rng, &s, &out), 0);
    CHECK_INT(out.token, 20);
    matcher_destroy(m);
    tokentrie_destroy(trie);
    mem_free(block);
}
