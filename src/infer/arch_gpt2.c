/* SPDX-License-Identifier: Apache-2.0 */
/* arch_gpt2.c - GPT-2 (Radford et al. 2019): LayerNorm, biases, GELU, learned positions; and
 * StarCoder 2 (Lozhkov et al. 2024), which rotates instead. */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op before[] = {
    /* kind         out          a          b        weight */
    {OP_EMBED,    SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_EMBED},
    {OP_POSITION, SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_POSITIONS},
};

static const struct arch_op layer[] = {
    {OP_LAYERNORM, SLOT_H,     SLOT_X,    SLOT_NONE, WEIGHT_ATTN_NORM, WEIGHT_ATTN_NORM_BIAS},
    {OP_LINEAR,   SLOT_Q,      SLOT_H,    SLOT_NONE, WEIGHT_Q},
    {OP_LINEAR,   SLOT_K,      SLOT_H,    SLOT_NONE, WEIGHT_K},
    {OP_LINEAR,   SLOT_V,      SLOT_H,    SLOT_NONE, WEIGHT_V},
    {OP_BIAS,     SLOT_Q,      SLOT_NONE, SLOT_NONE, WEIGHT_Q_BIAS},
    {OP_BIAS,     SLOT_K,      SLOT_NONE, SLOT_NONE, WEIGHT_K_BIAS},
    {OP_BIAS,     SLOT_V,      SLOT_NONE, SLOT_NONE, WEIGHT_V_BIAS},
    {OP_ROPE,     SLOT_Q,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ROPE,     SLOT_K,      SLOT_NONE, SLOT_NONE, 0},
    {OP_STORE,    SLOT_NONE,   SLOT_K,    SLOT_V,    0},
    {OP_ATTEND,   SLOT_A,      SLOT_Q,    SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_A,    SLOT_NONE, WEIGHT_ATTN_OUT},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_ATTN_OUT_BIAS},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},

    {OP_LAYERNORM, SLOT_H,     SLOT_X,    SLOT_NONE, WEIGHT_FFN_NORM, WEIGHT_FFN_NORM_BIAS},
    {OP_LINEAR,   SLOT_UP,     SLOT_H,    SLOT_NONE, WEIGHT_UP},
    {OP_BIAS,     SLOT_UP,     SLOT_NONE, SLOT_NONE, WEIGHT_UP_BIAS},
    {OP_ACTIVATE, SLOT_UP,     SLOT_NONE, SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_UP,   SLOT_NONE, WEIGHT_DOWN},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_DOWN_BIAS},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
};

static const struct arch_op after[] = {
    {OP_LAYERNORM, SLOT_H,     SLOT_X,    SLOT_NONE, WEIGHT_OUTPUT_NORM, WEIGHT_OUTPUT_NORM_BIAS},
    {OP_LINEAR,   SLOT_LOGITS, SLOT_H,    SLOT_NONE, WEIGHT_OUTPUT},
};
/* clang-format on */

const struct arch arch_gpt2 = {ARCH_OPS(before), ARCH_OPS(layer), ARCH_OPS(after)};
