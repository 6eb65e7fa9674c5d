/* SPDX-License-Identifier: Apache-2.0 */
/* arch_llama.c - the llama family (Touvron et al. 2023): RMSNorm, rotary positions, grouped-query
 * attention, SwiGLU; and those that differ from it by biases (Qwen 2), by norms of each head's
 * queries and keys (Qwen 3), by factors (Granite), by how a file keeps its matrices (Phi 3), by
 * layers that do not rotate (SmolLM 3), or by experts instead of one feed-forward part (Mixtral,
 * Qwen; gpt-oss, whose files give the norm before them another name). */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op before[] = {
    /* kind         out          a          b        weight */
    {OP_EMBED,    SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_EMBED},
    {OP_SCALE,    SLOT_X,      SLOT_NONE, SLOT_NONE, .factor = FACTOR_EMBEDDING},
};

static const struct arch_op layer[] = {
    {OP_NORM,     SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_ATTN_NORM},
    {OP_LINEAR,   SLOT_Q,      SLOT_H,    SLOT_NONE, WEIGHT_Q},
    {OP_LINEAR,   SLOT_K,      SLOT_H,    SLOT_NONE, WEIGHT_K},
    {OP_LINEAR,   SLOT_V,      SLOT_H,    SLOT_NONE, WEIGHT_V},
    {OP_BIAS,     SLOT_Q,      SLOT_NONE, SLOT_NONE, WEIGHT_Q_BIAS},
    {OP_BIAS,     SLOT_K,      SLOT_NONE, SLOT_NONE, WEIGHT_K_BIAS},
    {OP_BIAS,     SLOT_V,      SLOT_NONE, SLOT_NONE, WEIGHT_V_BIAS},
    {OP_HEAD_NORM, SLOT_Q,     SLOT_NONE, SLOT_NONE, WEIGHT_Q_NORM},
    {OP_HEAD_NORM, SLOT_K,     SLOT_NONE, SLOT_NONE, WEIGHT_K_NORM},
    {OP_ROPE,     SLOT_Q,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ROPE,     SLOT_K,      SLOT_NONE, SLOT_NONE, 0},
    {OP_STORE,    SLOT_NONE,   SLOT_K,    SLOT_V,    0},
    {OP_ATTEND,   SLOT_A,      SLOT_Q,    SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_A,    SLOT_NONE, WEIGHT_ATTN_OUT},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_ATTN_OUT_BIAS},
    {OP_SCALE,    SLOT_Y,      SLOT_NONE, SLOT_NONE, .factor = FACTOR_RESIDUAL},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},

    {OP_NORM,     SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_FFN_NORM},
    {OP_NORM,     SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_ATTN_POST_NORM},
    {OP_LINEAR,   SLOT_GATE,   SLOT_H,    SLOT_NONE, WEIGHT_GATE},
    {OP_LINEAR,   SLOT_UP,     SLOT_H,    SLOT_NONE, WEIGHT_UP},
    {OP_BIAS,     SLOT_GATE,   SLOT_NONE, SLOT_NONE, WEIGHT_GATE_BIAS},
    {OP_BIAS,     SLOT_UP,     SLOT_NONE, SLOT_NONE, WEIGHT_UP_BIAS},
    {OP_GLU,      SLOT_GATE,   SLOT_UP,   SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_GATE, SLOT_NONE, WEIGHT_DOWN},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_DOWN_BIAS},

    {OP_LINEAR,   SLOT_ROUTER, SLOT_H,    SLOT_NONE, WEIGHT_ROUTER},
    {OP_BIAS,     SLOT_ROUTER, SLOT_NONE, SLOT_NONE, WEIGHT_ROUTER_BIAS},
    {OP_ROUTE,    SLOT_NONE,   SLOT_ROUTER, SLOT_NONE, WEIGHT_ROUTER},
    {OP_EXPERTS,  SLOT_Y,      SLOT_H,    SLOT_NONE, WEIGHT_EXP_DOWN},

    {OP_LINEAR,   SLOT_GATE,   SLOT_H,    SLOT_NONE, WEIGHT_SHARED_GATE},
    {OP_LINEAR,   SLOT_UP,     SLOT_H,    SLOT_NONE, WEIGHT_SHARED_UP},
    {OP_GLU,      SLOT_GATE,   SLOT_UP,   SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_S,      SLOT_GATE, SLOT_NONE, WEIGHT_SHARED_DOWN},
    {OP_LINEAR,   SLOT_SHARE,  SLOT_H,    SLOT_NONE, WEIGHT_SHARED_ROUTER},
    {OP_GATE,     SLOT_S,      SLOT_SHARE, SLOT_NONE, WEIGHT_SHARED_ROUTER},
    {OP_ADD,      SLOT_Y,      SLOT_S,    SLOT_NONE, WEIGHT_SHARED_ROUTER},

    {OP_SCALE,    SLOT_Y,      SLOT_NONE, SLOT_NONE, .factor = FACTOR_RESIDUAL},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
};

static const struct arch_op after[] = {
    {OP_NORM,     SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_OUTPUT_NORM},
    {OP_LINEAR,   SLOT_LOGITS, SLOT_H,    SLOT_NONE, WEIGHT_OUTPUT},
    {OP_BIAS,     SLOT_LOGITS, SLOT_NONE, SLOT_NONE, WEIGHT_OUTPUT_BIAS},
    {OP_SCALE,    SLOT_LOGITS, SLOT_NONE, SLOT_NONE, .factor = FACTOR_LOGITS},
};
/* clang-format on */

const struct arch arch_llama = {ARCH_OPS(before), ARCH_OPS(layer), ARCH_OPS(after)};
