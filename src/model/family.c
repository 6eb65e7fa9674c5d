/* SPDX-License-Identifier: Apache-2.0 */
/* family.c - see family.h */
#include "model/family.h"

#include "model/weights.h"

#include <stddef.h>

#define M(role) (UINT64_C(1) << WEIGHT_##role)
#define L(role) (UINT64_C(1) << (WEIGHT_##role - WEIGHT_MODEL_COUNT))

_Static_assert(WEIGHT_MODEL_COUNT <= 64 && WEIGHT_LAYER_ROLES <= 64, "a bit for each role");

#define ATTENTION   (L(Q) | L(K) | L(V) | L(ATTN_OUT))
#define QKV_BIASES  (L(Q_BIAS) | L(K_BIAS) | L(V_BIAS))
#define ATTN_BIASES (QKV_BIASES | L(ATTN_OUT_BIAS))
#define GATED       (L(GATE) | L(UP) | L(DOWN))
#define PRE_NORMS   (L(ATTN_NORM) | L(FFN_NORM))
#define POST_NORMS  (L(ATTN_POST_NORM) | L(FFN_POST_NORM))
#define HEAD_NORMS  (L(Q_NORM) | L(K_NORM))
#define EXPERTS     (L(ROUTER) | L(EXP_GATE) | L(EXP_UP) | L(EXP_DOWN))
#define EXP_BIASES  (L(ROUTER_BIAS) | L(EXP_GATE_BIAS) | L(EXP_UP_BIAS) | L(EXP_DOWN_BIAS))
#define SHARED      (L(SHARED_ROUTER) | L(SHARED_GATE) | L(SHARED_UP) | L(SHARED_DOWN))
#define ENDS        (M(EMBED) | M(OUTPUT_NORM))
#define EMBED_NORMS (M(EMBED_NORM) | M(EMBED_NORM_BIAS))
#define OUT_NORMS   (L(ATTN_OUT_NORM) | L(ATTN_OUT_NORM_BIAS) | L(LAYER_NORM) | L(LAYER_NORM_BIAS))
#define HEAD        (M(CLS) | M(CLS_BIAS) | M(CLS_OUT) | M(CLS_OUT_BIAS))

#define LLAMA_NEEDS .needs = {ENDS, PRE_NORMS | ATTENTION | GATED}

static const struct family families[] = {
    {.name = "llama",
     LLAMA_NEEDS,
     .may = {M(OUTPUT) | M(ROPE_FREQS), ATTN_BIASES | L(GATE_BIAS) | L(UP_BIAS) | L(DOWN_BIAS)},
     .expert_needs = EXPERTS},
    {.name = "smollm3",
     LLAMA_NEEDS,
     .may = {M(OUTPUT) | M(ROPE_FREQS), ATTN_BIASES | L(GATE_BIAS) | L(UP_BIAS) | L(DOWN_BIAS)},
     .rope_pattern = 4},
    {.name = "qwen2",
     LLAMA_NEEDS,
     .may = {M(OUTPUT) | M(OUTPUT_BIAS), ATTN_BIASES},
     .rope_halves = true},
    {.name = "qwen3",
     .needs = {ENDS, PRE_NORMS | ATTENTION | GATED | HEAD_NORMS},
     .may = {M(OUTPUT), QKV_BIASES},
     .rope_halves = true},
    {.name = "qwen2moe",
     .needs = {ENDS, PRE_NORMS | ATTENTION},
     .may = {M(OUTPUT), QKV_BIASES},
     .expert_needs = EXPERTS | SHARED,
     .experts_only = true,
     .experts_share_all = true,
     .rope_halves = true},
    {.name = "qwen3moe",
     .needs = {ENDS, PRE_NORMS | ATTENTION | HEAD_NORMS},
     .may = {M(OUTPUT), 0},
     .expert_needs = EXPERTS,
     .experts_only = true,
     .rope_halves = true},
    {.name = "gpt-oss",
     .needs = {ENDS, L(ATTN_NORM) | L(ATTN_POST_NORM) | ATTENTION | ATTN_BIASES | L(SINKS)},
     .may = {M(OUTPUT), 0},
     .expert_needs = EXPERTS | EXP_BIASES,
     .experts_only = true,
     .clamps_swiglu = true,
     .yarn_between = true,
     .rope_halves = true,
     .window_pattern = 2},
    {.name = "phi3",
     LLAMA_NEEDS,
     .may = {M(OUTPUT) | M(ROPE_LONG) | M(ROPE_SHORT), 0},
     .rope_halves = true},
    {.name = "granite", LLAMA_NEEDS, .may = {M(OUTPUT) | M(ROPE_FREQS), ATTN_BIASES}},
    {.name = "gemma",
     LLAMA_NEEDS,
     .may = {M(OUTPUT), 0},
     .activation = ACTIVATION_GELU_TANH,
     .rope_halves = true,
     .scales_embedding = true},
    {.name = "gemma2",
     .needs = {ENDS, PRE_NORMS | POST_NORMS | ATTENTION | GATED},
     .may = {M(OUTPUT), 0},
     .activation = ACTIVATION_GELU_TANH,
     .rope_halves = true,
     .scales_embedding = true,
     .attn_softcap = 50,
     .logit_softcap = 30,
     .window = 4096,
     .window_pattern = 2,
     .odd_scale_layers = 46},
    {.name = "gemma3",
     .needs = {ENDS, PRE_NORMS | POST_NORMS | ATTENTION | GATED | HEAD_NORMS},
     .may = {M(OUTPUT), 0},
     .activation = ACTIVATION_GELU_TANH,
     .rope_halves = true,
     .scales_embedding = true,
     .window_pattern = 6,
     .window_rope_base = 10000,
     .odd_scale_layers = 62},
    {.name = "olmo2",
     .needs = {ENDS, POST_NORMS | ATTENTION | GATED | L(Q_NORM_ALL) | L(K_NORM_ALL)},
     .may = {M(OUTPUT), 0},
     .rope_halves = true,
     .window_pattern = 4,
     .window_unscaled = true},
    {.name = "gpt2",
     .needs = {ENDS | M(OUTPUT_NORM_BIAS) | M(POSITIONS),
               PRE_NORMS | L(ATTN_NORM_BIAS) | L(FFN_NORM_BIAS) | ATTENTION | ATTN_BIASES | L(UP) |
                   L(UP_BIAS) | L(DOWN) | L(DOWN_BIAS)},
     .may = {M(OUTPUT), 0},
     .activation = ACTIVATION_GELU_TANH,
     .layer_norm = true,
     .no_rope = true},
    {.name = "starcoder2",
     .needs = {ENDS | M(OUTPUT_NORM_BIAS),
               PRE_NORMS | L(ATTN_NORM_BIAS) | L(FFN_NORM_BIAS) | ATTENTION | L(UP) | L(DOWN)},
     .may = {M(OUTPUT), ATTN_BIASES | L(UP_BIAS) | L(DOWN_BIAS)},
     .activation = ACTIVATION_GELU_TANH,
     .layer_norm = true,
     .rope_halves = true},
    {.name = "bert",
     .needs = {M(EMBED) | M(POSITIONS) | EMBED_NORMS,
               ATTENTION | ATTN_BIASES | L(UP) | L(UP_BIAS) | L(DOWN) | L(DOWN_BIAS) | OUT_NORMS},
     .may = {M(SEGMENTS) | HEAD, 0},
     .activation = ACTIVATION_GELU,
     .is_encoder = true,
     .layer_norm = true,
     .no_rope = true},
    {.name = "nomic-bert",
     .needs = {M(EMBED) | M(SEGMENTS) | EMBED_NORMS, ATTENTION | GATED | OUT_NORMS},
     .is_encoder = true,
     .layer_norm = true,
     .rope_halves = true},
    {.name = "modern-bert",
     .needs = {ENDS | M(EMBED_NORM), PRE_NORMS | ATTENTION | GATED},
     .may = {M(EMBED_NORM_BIAS) | M(OUTPUT_NORM_BIAS) | HEAD | M(CLS_NORM) | M(CLS_NORM_BIAS),
             L(ATTN_NORM_BIAS) | L(FFN_NORM_BIAS) | ATTN_BIASES | L(GATE_BIAS) | L(UP_BIAS) |
                 L(DOWN_BIAS)},
     .later = L(ATTN_NORM) | L(ATTN_NORM_BIAS),
     .activation = ACTIVATION_GELU,
     .is_encoder = true,
     .layer_norm = true,
     .rope_halves = true,
     .window_pattern = 3,
     .window_behind = true,
     .window_rope_base = 10000,
     .labels_mean = true},
};

#define COUNT (sizeof(families) / sizeof(families[0]))

const struct family *family_at(unsigned i)
{
    return i < COUNT ? &families[i] : NULL;
}

bool activation_by_name(struct str name, enum activation *out)
{
    static const struct {
        const char *name;
        enum activation activation;
    } known[] = {{"gelu", ACTIVATION_GELU},
                 {"gelu_new", ACTIVATION_GELU_TANH},
                 {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
                 {"silu", ACTIVATION_SILU},
                 {"swish", ACTIVATION_SILU}};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (str_is(name, known[i].name)) {
            *out = known[i].activation;
            return true;
        }
    return false;
}

const struct family *family_by_name(struct str name)
{
    for (unsigned i = 0; i < COUNT; i++)
        if (str_is(name, families[i].name))
            return &families[i];
    return NULL;
}
