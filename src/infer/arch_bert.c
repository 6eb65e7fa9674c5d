/* SPDX-License-Identifier: Apache-2.0 */
/* arch_bert.c - BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019), which differs from it by its
 * vocabulary and its numbers, and DistilBERT (Sanh et al. 2019), by what it lacks and its head:
 * learned positions, norms behind each block, every token sees all others. */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op before[] = {
    /* kind         out          a          b        weight */
    {OP_EMBED,    SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_EMBED},
    {OP_SEGMENT,  SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_SEGMENTS},
    {OP_POSITION, SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_POSITIONS},
    {OP_LAYERNORM, SLOT_X,     SLOT_X,    SLOT_NONE, WEIGHT_EMBED_NORM, WEIGHT_EMBED_NORM_BIAS},
};

static const struct arch_op layer[] = {
    {OP_LINEAR,   SLOT_Q,      SLOT_X,    SLOT_NONE, WEIGHT_Q},
    {OP_LINEAR,   SLOT_K,      SLOT_X,    SLOT_NONE, WEIGHT_K},
    {OP_LINEAR,   SLOT_V,      SLOT_X,    SLOT_NONE, WEIGHT_V},
    {OP_BIAS,     SLOT_Q,      SLOT_NONE, SLOT_NONE, WEIGHT_Q_BIAS},
    {OP_BIAS,     SLOT_K,      SLOT_NONE, SLOT_NONE, WEIGHT_K_BIAS},
    {OP_BIAS,     SLOT_V,      SLOT_NONE, SLOT_NONE, WEIGHT_V_BIAS},
    {OP_ATTEND_TEXT, SLOT_A,   SLOT_K,    SLOT_V,    0},
    {OP_LINEAR,   SLOT_Y,      SLOT_A,    SLOT_NONE, WEIGHT_ATTN_OUT},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_ATTN_OUT_BIAS},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
    {OP_LAYERNORM, SLOT_X,     SLOT_X,    SLOT_NONE, WEIGHT_ATTN_OUT_NORM, WEIGHT_ATTN_OUT_NORM_BIAS},

    {OP_LINEAR,   SLOT_UP,     SLOT_X,    SLOT_NONE, WEIGHT_UP},
    {OP_BIAS,     SLOT_UP,     SLOT_NONE, SLOT_NONE, WEIGHT_UP_BIAS},
    {OP_ACTIVATE, SLOT_UP,     SLOT_NONE, SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_UP,   SLOT_NONE, WEIGHT_DOWN},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_DOWN_BIAS},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
    {OP_LAYERNORM, SLOT_X,     SLOT_X,    SLOT_NONE, WEIGHT_LAYER_NORM, WEIGHT_LAYER_NORM_BIAS},
};

static const struct arch_op head[] = {
    {OP_LINEAR,   SLOT_Y,      SLOT_P,    SLOT_NONE, WEIGHT_CLS},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_CLS_BIAS},
    {OP_TANH,     SLOT_Y,      SLOT_NONE, SLOT_NONE, 0},
    {OP_RELU,     SLOT_Y,      SLOT_NONE, SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_LOGITS, SLOT_Y,    SLOT_NONE, WEIGHT_CLS_OUT},
    {OP_BIAS,     SLOT_LOGITS, SLOT_NONE, SLOT_NONE, WEIGHT_CLS_OUT_BIAS},
};
/* clang-format on */

const struct arch arch_bert = {
    .before = ARCH_OPS(before), .layer = ARCH_OPS(layer), .head = ARCH_OPS(head)};
