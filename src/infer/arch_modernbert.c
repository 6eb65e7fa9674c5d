/* SPDX-License-Identifier: Apache-2.0 */
/* arch_modernbert.c - ModernBERT (Warner et al. 2024): norms before each block, rotation, a gate
 * in the feed-forward part; most layers see only what is near on either side. */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op before[] = {
    /* kind         out          a          b        weight */
    {OP_EMBED,    SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_EMBED},
    {OP_LAYERNORM, SLOT_X,     SLOT_X,    SLOT_NONE, WEIGHT_EMBED_NORM, WEIGHT_EMBED_NORM_BIAS},
};

static const struct arch_op layer[] = {
    /* what the first layer gets has just been normalised */
    {OP_LAYERNORM, SLOT_H,     SLOT_X,    SLOT_NONE, WEIGHT_ATTN_NORM, WEIGHT_ATTN_NORM_BIAS, .copies = true},
    {OP_LINEAR,   SLOT_Q,      SLOT_H,    SLOT_NONE, WEIGHT_Q},
    {OP_LINEAR,   SLOT_K,      SLOT_H,    SLOT_NONE, WEIGHT_K},
    {OP_LINEAR,   SLOT_V,      SLOT_H,    SLOT_NONE, WEIGHT_V},
    {OP_BIAS,     SLOT_Q,      SLOT_NONE, SLOT_NONE, WEIGHT_Q_BIAS},
    {OP_BIAS,     SLOT_K,      SLOT_NONE, SLOT_NONE, WEIGHT_K_BIAS},
    {OP_BIAS,     SLOT_V,      SLOT_NONE, SLOT_NONE, WEIGHT_V_BIAS},
    {OP_ROPE,     SLOT_Q,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ROPE,     SLOT_K,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ATTEND_TEXT, SLOT_A,   SLOT_K,    SLOT_V,    0},
    {OP_LINEAR,   SLOT_Y,      SLOT_A,    SLOT_NONE, WEIGHT_ATTN_OUT},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_ATTN_OUT_BIAS},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},

    {OP_LAYERNORM, SLOT_H,     SLOT_X,    SLOT_NONE, WEIGHT_FFN_NORM, WEIGHT_FFN_NORM_BIAS},
    {OP_LINEAR,   SLOT_GATE,   SLOT_H,    SLOT_NONE, WEIGHT_GATE},
    {OP_LINEAR,   SLOT_UP,     SLOT_H,    SLOT_NONE, WEIGHT_UP},
    {OP_BIAS,     SLOT_GATE,   SLOT_NONE, SLOT_NONE, WEIGHT_GATE_BIAS},
    {OP_BIAS,     SLOT_UP,     SLOT_NONE, SLOT_NONE, WEIGHT_UP_BIAS},
    {OP_GLU,      SLOT_GATE,   SLOT_UP,   SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_GATE, SLOT_NONE, WEIGHT_DOWN},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_DOWN_BIAS},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
};

static const struct arch_op after[] = {
    {OP_LAYERNORM, SLOT_H,     SLOT_X,    SLOT_NONE, WEIGHT_OUTPUT_NORM, WEIGHT_OUTPUT_NORM_BIAS},
};

static const struct arch_op head[] = {
    {OP_LINEAR,   SLOT_Y,      SLOT_P,    SLOT_NONE, WEIGHT_CLS},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_CLS_BIAS},
    {OP_ACTIVATE, SLOT_Y,      SLOT_NONE, SLOT_NONE, 0},
    {OP_LAYERNORM, SLOT_Y,     SLOT_Y,    SLOT_NONE, WEIGHT_CLS_NORM, WEIGHT_CLS_NORM_BIAS},
    {OP_LINEAR,   SLOT_LOGITS, SLOT_Y,    SLOT_NONE, WEIGHT_CLS_OUT},
    {OP_BIAS,     SLOT_LOGITS, SLOT_NONE, SLOT_NONE, WEIGHT_CLS_OUT_BIAS},
};
/* clang-format on */

const struct arch arch_modernbert = {ARCH_OPS(before), ARCH_OPS(layer), ARCH_OPS(after),
                                     ARCH_OPS(head)};
