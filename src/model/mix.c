/* SPDX-License-Identifier: Apache-2.0 */
/* mix.c - see mix.h */
#include "model/mix.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum mix_id {
    MIX_Q4_K_M,
    MIX_Q4_K_S,
    MIX_Q5_K_M,
    MIX_Q5_K_S,
    MIX_Q6_K,
    MIX_Q3_K_M,
    MIX_Q3_K_S,
    MIX_Q2_K,
    MIX_IQ4_XS,
    MIX_IQ4_NL,
    MIX_Q8_0,
    MIX_Q5_1,
    MIX_Q5_0,
    MIX_Q4_1,
    MIX_Q4_0,
    MIX_MXFP4,
    MIX_TQ1_0,
    MIX_TQ2_0,
    MIX_F16,
    MIX_BF16,
    MIX_F32,
    MIX_COUNT
};

static const struct mix mixes[MIX_COUNT] = {
    [MIX_Q4_K_M] = {"Q4_K_M", 15, DTYPE_Q4_K},   [MIX_Q4_K_S] = {"Q4_K_S", 14, DTYPE_Q4_K},
    [MIX_Q5_K_M] = {"Q5_K_M", 17, DTYPE_Q5_K},   [MIX_Q5_K_S] = {"Q5_K_S", 16, DTYPE_Q5_K},
    [MIX_Q6_K] = {"Q6_K", 18, DTYPE_Q6_K},       [MIX_Q3_K_M] = {"Q3_K_M", 12, DTYPE_Q3_K},
    [MIX_Q3_K_S] = {"Q3_K_S", 11, DTYPE_Q3_K},   [MIX_Q2_K] = {"Q2_K", 10, DTYPE_Q2_K},
    [MIX_IQ4_XS] = {"IQ4_XS", 30, DTYPE_IQ4_XS}, [MIX_IQ4_NL] = {"IQ4_NL", 25, DTYPE_IQ4_NL},
    [MIX_Q8_0] = {"Q8_0", 7, DTYPE_Q8_0},        [MIX_Q5_1] = {"Q5_1", 9, DTYPE_Q5_1},
    [MIX_Q5_0] = {"Q5_0", 8, DTYPE_Q5_0},        [MIX_Q4_1] = {"Q4_1", 3, DTYPE_Q4_1},
    [MIX_Q4_0] = {"Q4_0", 2, DTYPE_Q4_0},        [MIX_MXFP4] = {"MXFP4", 38, DTYPE_MXFP4},
    [MIX_TQ1_0] = {"TQ1_0", 36, DTYPE_TQ1_0},    [MIX_TQ2_0] = {"TQ2_0", 37, DTYPE_TQ2_0},
    [MIX_F16] = {"F16", 1, DTYPE_F16},           [MIX_BF16] = {"BF16", 32, DTYPE_BF16},
    [MIX_F32] = {"F32", 0, DTYPE_F32},
};

const struct mix *mix_at(unsigned i)
{
    return i < MIX_COUNT ? &mixes[i] : NULL;
}

static bool is_same(const char *name, struct str other)
{
    size_t i = 0;

    while (i < other.len && name[i] && toupper((unsigned char)other.at[i]) == name[i])
        i++;
    return i == other.len && !name[i];
}

int mix_by_name(const struct mix **mix, struct str name, struct llmos_error *err)
{
    char list[256] = "";

    for (unsigned i = 0; i < MIX_COUNT; i++) {
        if (is_same(mixes[i].name, name)) {
            *mix = &mixes[i];
            return 0;
        }
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "",
                 mixes[i].name);
    }
    return fail(err, LLMOS_EINVAL, "there is no type '%.*s'; there are %s",
                (int)(name.len < 40 ? name.len : 40), name.at, list);
}

/* ---- which matrices ---- */

static bool has_part(struct str name, const char *part)
{
    return memmem(name.at, name.len, part, strlen(part)) != NULL;
}

bool mix_changes(struct str tensor, size_t inner, size_t rows)
{
    /* Small, and what depends on them is large: norms, routers, positions, convolutions. */
    static const char *const kept[] = {"_norm.weight",
                                       "ffn_gate_inp.weight",
                                       "ssm_conv1d.weight",
                                       "attn_rel_b.weight",
                                       "time_mix_first.weight",
                                       "time_mix_w1.weight",
                                       "time_mix_w2.weight",
                                       "time_mix_decay_w1.weight",
                                       "time_mix_decay_w2.weight",
                                       "time_mix_lerp_fused.weight"};

    if (inner < 2 || rows < 2 || !str_ends(tensor, STR("weight")) ||
        str_is(tensor, "position_embd.weight") || str_is(tensor, "token_types.weight"))
        return false;
    for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
        if (has_part(tensor, kept[i]))
            return false;
    return true;
}

/* ---- which type ---- */

enum role { ROLE_ATTN_V, ROLE_ATTN_K, ROLE_ATTN_OUTPUT, ROLE_ATTN_QKV, ROLE_FFN_DOWN, ROLE_COUNT };

static const char *const role_names[ROLE_COUNT] = {
    [ROLE_ATTN_V] = "attn_v.weight",
    [ROLE_ATTN_K] = "attn_k.weight",
    [ROLE_ATTN_OUTPUT] = "attn_output.weight",
    [ROLE_ATTN_QKV] = "attn_qkv.weight",
    [ROLE_FFN_DOWN] = "ffn_down",
};

enum when {
    ALWAYS,
    MORE_BITS, /* the first and the last eighth of the layers, and every third between */
    FIRST_EIGHTH,
    FIRST_SIXTEENTH,
    FIRST_TWO,
    FIRST_FOUR,
    SHARED, /* four or more query heads for one of keys and values */
    EIGHT_EXPERTS,
    WITH_IMPORTANCE, /* first eighth of the layers, if there are data */
    WITHOUT,         /* first eighth of the layers, if there are none */
};

/* The first rule that fits decides; without one it is the mix's own type. */
static const struct rule {
    enum role role;
    enum mix_id mix;
    enum when when;
    enum dtype type;
} rules[] = {
    {ROLE_ATTN_V, MIX_Q2_K, SHARED, DTYPE_Q4_K},
    {ROLE_ATTN_V, MIX_Q2_K, ALWAYS, DTYPE_Q3_K},
    {ROLE_ATTN_V, MIX_Q3_K_M, FIRST_TWO, DTYPE_Q5_K},
    {ROLE_ATTN_V, MIX_Q3_K_M, ALWAYS, DTYPE_Q4_K},
    {ROLE_ATTN_V, MIX_IQ4_NL, SHARED, DTYPE_Q5_K},
    {ROLE_ATTN_V, MIX_IQ4_XS, SHARED, DTYPE_Q5_K},
    {ROLE_ATTN_V, MIX_Q4_K_M, MORE_BITS, DTYPE_Q6_K},
    {ROLE_ATTN_V, MIX_Q5_K_M, MORE_BITS, DTYPE_Q6_K},
    {ROLE_ATTN_V, MIX_Q4_K_S, FIRST_FOUR, DTYPE_Q5_K},
    {ROLE_FFN_DOWN, MIX_Q2_K, ALWAYS, DTYPE_Q3_K},
    {ROLE_FFN_DOWN, MIX_Q3_K_M, FIRST_SIXTEENTH, DTYPE_Q5_K},
    {ROLE_FFN_DOWN, MIX_Q3_K_M, ALWAYS, DTYPE_Q4_K},
    {ROLE_FFN_DOWN, MIX_Q4_K_M, MORE_BITS, DTYPE_Q6_K},
    {ROLE_FFN_DOWN, MIX_Q5_K_M, MORE_BITS, DTYPE_Q6_K},
    {ROLE_FFN_DOWN, MIX_Q4_K_S, FIRST_EIGHTH, DTYPE_Q5_K},
    {ROLE_FFN_DOWN, MIX_IQ4_NL, WITHOUT, DTYPE_Q5_K},
    {ROLE_FFN_DOWN, MIX_IQ4_XS, WITHOUT, DTYPE_Q5_K},
    {ROLE_FFN_DOWN, MIX_Q4_0, WITH_IMPORTANCE, DTYPE_Q4_1},
    {ROLE_FFN_DOWN, MIX_Q5_0, WITH_IMPORTANCE, DTYPE_Q5_1},
    {ROLE_ATTN_OUTPUT, MIX_Q2_K, EIGHT_EXPERTS, DTYPE_Q5_K},
    {ROLE_ATTN_OUTPUT, MIX_Q3_K_M, EIGHT_EXPERTS, DTYPE_Q5_K},
    {ROLE_ATTN_OUTPUT, MIX_Q3_K_S, EIGHT_EXPERTS, DTYPE_Q5_K},
    {ROLE_ATTN_OUTPUT, MIX_IQ4_NL, EIGHT_EXPERTS, DTYPE_Q5_K},
    {ROLE_ATTN_OUTPUT, MIX_IQ4_XS, EIGHT_EXPERTS, DTYPE_Q5_K},
    {ROLE_ATTN_OUTPUT, MIX_Q4_K_S, EIGHT_EXPERTS, DTYPE_Q5_K},
    {ROLE_ATTN_OUTPUT, MIX_Q4_K_M, EIGHT_EXPERTS, DTYPE_Q5_K},
    {ROLE_ATTN_OUTPUT, MIX_Q2_K, ALWAYS, DTYPE_Q3_K},
    {ROLE_ATTN_OUTPUT, MIX_Q3_K_M, ALWAYS, DTYPE_Q4_K},
    {ROLE_ATTN_QKV, MIX_Q3_K_M, ALWAYS, DTYPE_Q4_K},
    {ROLE_ATTN_QKV, MIX_Q4_K_M, ALWAYS, DTYPE_Q5_K},
    {ROLE_ATTN_QKV, MIX_Q5_K_M, ALWAYS, DTYPE_Q6_K},
};

static bool applies(enum when when, const struct mix_model *m, uint32_t layer)
{
    uint32_t n = m->layers;
    bool is_early = layer < n / 8;

    switch (when) {
    case ALWAYS:
        return true;
    case MORE_BITS:
        return is_early || layer >= (uint64_t)n * 7 / 8 || (layer - n / 8) % 3 == 2;
    case FIRST_EIGHTH:
        return is_early;
    case FIRST_SIXTEENTH:
        return layer < n / 16;
    case FIRST_TWO:
        return layer < 2;
    case FIRST_FOUR:
        return layer < 4;
    case SHARED:
        return m->heads_kv && m->heads / m->heads_kv >= 4;
    case EIGHT_EXPERTS:
        return m->experts == 8;
    case WITH_IMPORTANCE:
        return is_early && m->has_importance;
    default:
        return is_early && !m->has_importance;
    }
}

/* N of "blk.N."; 0 for other names. */
static uint32_t layer_of(struct str name)
{
    uint32_t n = 0;

    if (!str_starts(name, STR("blk.")))
        return 0;
    for (size_t i = 4; i < name.len && isdigit((unsigned char)name.at[i]) && n < 100000000; i++)
        n = n * 10 + (uint32_t)(name.at[i] - '0');
    return n;
}

static enum dtype type_by_rules(const struct mix *mix, const struct mix_model *m, struct str tensor)
{
    uint32_t layer = layer_of(tensor);
    enum dtype type = mix->type;
    int role = 0;

    while (role < ROLE_COUNT && !has_part(tensor, role_names[role]))
        role++;
    if ((role == ROLE_ATTN_V || role == ROLE_ATTN_K) && m->experts == 8)
        return DTYPE_Q8_0;
    for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
        if ((int)rules[i].role == role && &mixes[rules[i].mix] == mix &&
            applies(rules[i].when, m, layer)) {
            type = rules[i].type;
            break;
        }
    /* Llama 2 of 70 billion parameters has few values: they cost little. */
    if (role == ROLE_ATTN_V && m->layers == 80 && m->heads != m->heads_kv &&
        (type == DTYPE_Q3_K || type == DTYPE_Q4_K))
        type = DTYPE_Q5_K;
    return type;
}

/* The type of about as many bits with blocks of 32. */
static enum dtype stand_in(enum dtype type, size_t inner)
{
    static const struct {
        enum dtype of, is;
    } pairs[] = {{DTYPE_Q4_K, DTYPE_Q5_0},
                 {DTYPE_Q5_K, DTYPE_Q5_1},
                 {DTYPE_Q6_K, DTYPE_Q8_0},
                 {DTYPE_TQ1_0, DTYPE_Q4_0},
                 {DTYPE_TQ2_0, DTYPE_Q4_0}};
    enum dtype is = DTYPE_IQ4_NL;

    if (inner % dtype_info(type)->block == 0)
        return type;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++)
        if (pairs[i].of == type)
            is = pairs[i].is;
    return inner % dtype_info(is)->block == 0 ? is : DTYPE_F16;
}

enum dtype mix_type(const struct mix *mix, const struct mix_model *m, struct str tensor,
                    size_t inner)
{
    bool is_embedding = str_is(tensor, "token_embd.weight");
    enum dtype type = mix->type;

    if (dtype_info(type)->block == 1)
        return type;
    if (str_is(tensor, "output.weight") || (is_embedding && m->tied_output))
        type = inner % dtype_info(type)->block || type == DTYPE_Q8_0 ? DTYPE_Q8_0 : DTYPE_Q6_K;
    else if (is_embedding)
        type = type == DTYPE_TQ1_0 || type == DTYPE_TQ2_0 ? DTYPE_Q4_K : type;
    else
        type = type_by_rules(mix, m, tensor);
    return stand_in(type, inner);
}
