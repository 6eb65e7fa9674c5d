/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/rope.h"

#include "base/mem.h"
#include "test.h"

static void *rope_make(struct rope *r, const struct hparams *h, const struct tensor *factors)
{
    struct carve c = {0};

    rope_carve(r, h, &c);
    c = (struct carve){.at = mem_aligned(c.used)};
    rope_carve(r, h, &c);
    rope_init(r, h, factors);
    return c.at;
}

/* llama 2 stretched from 4096 to 65536 tokens. */
static const struct hparams stretched = {.rope_dims = 128,
                                         .rope_base = 10000,
                                         .rope_scaling = ROPE_YARN,
                                         .rope_factor = 16,
                                         .rope_ctx_orig = 4096,
                                         .yarn_ext = 1,
                                         .yarn_attn = 1,
                                         .yarn_beta_fast = 32,
                                         .yarn_beta_slow = 1};

TEST(rope_turns_pair_i_by_base_to_the_minus_2i_over_dims)
{
    struct hparams h = {.rope_dims = 8, .rope_base = 10000, .rope_factor = 1};
    struct rope r;
    void *block = rope_make(&r, &h, NULL);
    float table[8];

    rope_row(&r, 1000, table);
    for (int i = 0; i < 4; i++) {
        double angle = 1000 / pow(10, i);

        CHECK_NEAR((double)table[2 * i], cos(angle), 1e-7);
        CHECK_NEAR((double)table[2 * i + 1], sin(angle), 1e-7);
    }
    rope_row(&r, 0, table);
    CHECK_NEAR((double)table[0], 1, 0);
    CHECK_NEAR((double)table[1], 0, 0);
    mem_free(block);
}

TEST(rope_is_exact_at_far_positions)
{
    struct hparams h = {.rope_dims = 2, .rope_base = 10000, .rope_factor = 1};
    struct rope r;
    void *block = rope_make(&r, &h, NULL);
    float table[2];

    /* In float, position 2^24 + 1 would turn like 2^24. */
    rope_row(&r, (1 << 24) + 1, table);
    CHECK_NEAR((double)table[0], cos(16777217.0), 1e-7);
    mem_free(block);
}

/* Peng et al. 2023: pairs that turn more than 32 times within 4096 tokens are kept (up to pair 20),
 * pairs that turn less than once are divided by the factor (from pair 46), a ramp between. */
TEST(yarn_keeps_fast_pairs_divides_slow_ones_and_lengthens)
{
    struct rope r;
    void *block = rope_make(&r, &stretched, NULL);

    for (int i = 0; i < 64; i++) {
        double f = pow(10000, -i / 64.0), kept = i <= 20 ? 1 : i >= 46 ? 0 : (46 - i) / 26.0;

        CHECK_NEAR(r.frequency[i], f * kept + f / 16 * (1 - kept), 1e-12);
    }
    CHECK_NEAR((double)r.length, 0.1 * log(16) + 1, 1e-6);
    mem_free(block);
}

TEST(yarn_by_a_factor_of_one_changes_nothing)
{
    struct hparams h = stretched;
    struct rope r;
    void *block;

    h.rope_factor = 1;
    block = rope_make(&r, &h, NULL);
    for (int i = 0; i < 64; i++)
        CHECK_NEAR(r.frequency[i], pow(10000, -i / 64.0), 1e-12);
    CHECK_NEAR((double)r.length, 1, 0);
    mem_free(block);
}

TEST(yarn_stays_finite_at_the_edges_of_its_parameters)
{
    const float bases[] = {1, 1.0001f, 1e15f}, betas[] = {1e-3f, 1, 32, 1e6f};

    for (int n = 0; n < 3 * 4 * 4; n++) {
        struct hparams h = stretched;
        struct rope r;
        void *block;

        h.rope_base = bases[n % 3];
        h.yarn_beta_fast = betas[n / 3 % 4];
        h.yarn_beta_slow = betas[n / 12];
        h.rope_ctx_orig = 1;
        block = rope_make(&r, &h, NULL);
        for (int i = 0; i < 64; i++)
            CHECK(r.frequency[i] > 0 && r.frequency[i] <= 1);
        mem_free(block);
    }
}

TEST(llama3_divides_each_frequency_by_its_factor)
{
    float factor[4] = {1, 2, 8, 32};
    struct tensor t = {.type = DTYPE_F32, .n_dims = 1, .shape = {4, 1, 1, 1}, .data = factor};
    struct hparams h = {
        .rope_dims = 8, .rope_base = 500000, .rope_scaling = ROPE_LLAMA3, .rope_factor = 1};
    struct rope r;
    void *block = rope_make(&r, &h, &t);

    for (int i = 0; i < 4; i++)
        CHECK_NEAR(r.frequency[i], pow(500000, -i / 4.0) / (double)factor[i], 1e-12);
    mem_free(block);
}
