/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "model/mix.h"

static const struct mix *named(const char *name)
{
    const struct mix *mix = NULL;

    CHECK_INT(mix_by_name(&mix, str_of(name), NULL), 0);
    return mix;
}

static int type(const char *mix, const struct mix_model *m, const char *tensor, size_t inner)
{
    return (int)mix_type(named(mix), m, str_of(tensor), inner);
}

static const struct mix_model model = {.layers = 32, .heads = 32, .heads_kv = 8};

TEST(mixes_are_found_whatever_the_case)
{
    const struct mix *mix;
    struct llmos_error err;

    CHECK_STR(named("q4_k_m")->name, "Q4_K_M");
    CHECK_INT(named("Q4_K_M")->file_type, 15);
    for (unsigned i = 0; mix_at(i); i++)
        CHECK(named(mix_at(i)->name) == mix_at(i));
    CHECK_INT(mix_by_name(&mix, STR("Q4"), &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "there is no type 'Q4'; there are Q4_K_M");
    CHECK_INT(mix_by_name(&mix, STR(""), &err), LLMOS_EINVAL);
}

TEST(only_matrices_of_weights_change)
{
    CHECK(mix_changes(STR("blk.0.attn_q.weight"), 64, 64));
    CHECK(mix_changes(STR("blk.0.ffn_down_exps.weight"), 64, 512));
    CHECK(mix_changes(STR("token_embd.weight"), 64, 320));
    CHECK(!mix_changes(STR("blk.0.attn_norm.weight"), 64, 1));
    CHECK(!mix_changes(STR("blk.0.attn_q_norm.weight"), 64, 8));
    CHECK(!mix_changes(STR("blk.0.attn_q.bias"), 64, 64));
    CHECK(!mix_changes(STR("blk.0.ffn_gate_inp.weight"), 64, 8));
    CHECK(!mix_changes(STR("position_embd.weight"), 64, 512));
    CHECK(!mix_changes(STR("weight"), 64, 1));
    CHECK(!mix_changes(STR(""), 64, 64));
}

/* As llama.cpp chooses for a model like Mistral 7B. */
TEST(more_bits_go_where_they_do_most)
{
    CHECK_INT(type("Q4_K_M", &model, "blk.0.attn_q.weight", 4096), DTYPE_Q4_K);
    CHECK_INT(type("Q4_K_M", &model, "blk.0.attn_v.weight", 4096), DTYPE_Q6_K);
    CHECK_INT(type("Q4_K_M", &model, "blk.4.attn_v.weight", 4096), DTYPE_Q4_K);
    CHECK_INT(type("Q4_K_M", &model, "blk.6.ffn_down.weight", 4096), DTYPE_Q6_K);
    CHECK_INT(type("Q4_K_M", &model, "blk.28.ffn_down.weight", 4096), DTYPE_Q6_K);
    CHECK_INT(type("Q4_K_M", &model, "output.weight", 4096), DTYPE_Q6_K);
    CHECK_INT(type("Q4_K_M", &model, "token_embd.weight", 4096), DTYPE_Q4_K);
    CHECK_INT(type("Q4_K_S", &model, "blk.3.attn_v.weight", 4096), DTYPE_Q5_K);
    CHECK_INT(type("Q4_K_S", &model, "blk.4.attn_v.weight", 4096), DTYPE_Q4_K);
    CHECK_INT(type("Q3_K_M", &model, "blk.1.attn_v.weight", 4096), DTYPE_Q5_K);
    CHECK_INT(type("Q3_K_M", &model, "blk.2.attn_v.weight", 4096), DTYPE_Q4_K);
    CHECK_INT(type("Q3_K_M", &model, "blk.2.attn_output.weight", 4096), DTYPE_Q4_K);
    CHECK_INT(type("Q2_K", &model, "blk.9.attn_v.weight", 4096), DTYPE_Q4_K);
    CHECK_INT(type("Q2_K", &model, "blk.9.ffn_down.weight", 4096), DTYPE_Q3_K);
    CHECK_INT(type("Q2_K", &model, "blk.9.ffn_up.weight", 4096), DTYPE_Q2_K);
    CHECK_INT(type("Q8_0", &model, "output.weight", 4096), DTYPE_Q8_0);
    CHECK_INT(type("Q4_0", &model, "output.weight", 4096), DTYPE_Q6_K);
    CHECK_INT(type("F16", &model, "output.weight", 4096), DTYPE_F16);
}

TEST(the_model_and_the_data_decide_with)
{
    struct mix_model m = model;

    CHECK_INT(type("Q4_0", &m, "blk.0.ffn_down.weight", 4096), DTYPE_Q4_0);
    CHECK_INT(type("IQ4_XS", &m, "blk.0.ffn_down.weight", 4096), DTYPE_Q5_K);
    m.has_importance = true;
    CHECK_INT(type("Q4_0", &m, "blk.0.ffn_down.weight", 4096), DTYPE_Q4_1);
    CHECK_INT(type("IQ4_XS", &m, "blk.0.ffn_down.weight", 4096), DTYPE_IQ4_XS);
    m.heads_kv = 32;
    CHECK_INT(type("Q2_K", &m, "blk.9.attn_v.weight", 4096), DTYPE_Q3_K);
    m.experts = 8;
    CHECK_INT(type("Q4_K_M", &m, "blk.9.attn_v.weight", 4096), DTYPE_Q8_0);
    CHECK_INT(type("Q4_K_M", &m, "blk.9.attn_output.weight", 4096), DTYPE_Q5_K);
    m.tied_output = true;
    CHECK_INT(type("Q4_K_M", &m, "token_embd.weight", 4096), DTYPE_Q6_K);
}

TEST(short_rows_get_blocks_of_32)
{
    CHECK_INT(type("Q4_K_M", &model, "blk.9.attn_q.weight", 576), DTYPE_Q5_0);
    CHECK_INT(type("Q4_K_M", &model, "blk.0.attn_v.weight", 576), DTYPE_Q8_0);
    CHECK_INT(type("Q4_K_M", &model, "output.weight", 576), DTYPE_Q8_0);
    CHECK_INT(type("Q5_K_S", &model, "blk.9.attn_q.weight", 576), DTYPE_Q5_1);
    CHECK_INT(type("Q2_K", &model, "blk.9.attn_q.weight", 576), DTYPE_IQ4_NL);
    CHECK_INT(type("Q4_0", &model, "output.weight", 576), DTYPE_Q8_0);
    CHECK_INT(type("Q4_0", &model, "blk.9.attn_q.weight", 80), DTYPE_F16);
    CHECK_INT(type("Q4_K_M", &model, "blk.9.attn_q.weight", 80), DTYPE_F16);
}
