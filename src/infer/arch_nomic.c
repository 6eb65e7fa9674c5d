/* SPDX-License-Identifier: Apache-2.0 */
/* arch_nomic.c - nomic-bert (Nussbaum et al. 2024): BERT that rotates instead of learning
 * positions, with a gate in the feed-forward part, and no biases but those of norms. */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op before[] = {
    /* kind         out          a          b        weight */
    {OP_EMBED,    SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_EMBED},
    {OP_SEGMENT,  SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_SEGMENTS},
    {OP_LAYERNORM, SLOT_X,     SLOT_X,    SLOT_NONE, WEIGHT_EMBED_NORM, WEIGHT_EMBED_NORM_BIAS},
};

static const struct arch_op layer[] = {
    {OP_LINEAR,   SLOT_Q,      SLOT_X,    SLOT_NONE, WEIGHT_Q},
    {OP_LINEAR,   SLOT_K,      SLOT_X,    SLOT_NONE, WEIGHT_K},
    {OP_LINEAR,   SLOT_V,      SLOT_X,    SLOT_NONE, WEIGHT_V},
    {OP_ROPE,     SLOT_Q,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ROPE,     SLOT_K,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ATTEND_TEXT, SLOT_A,   SLOT_K,    SLOT_V,    0},
    {OP_LINEAR,   SLOT_Y,      SLOT_A,    SLOT_NONE, WEIGHT_ATTN_OUT},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
    {OP_LAYERNORM, SLOT_X,     SLOT_X,    SLOT_NONE, WEIGHT_ATTN_OUT_NORM, WEIGHT_ATTN_OUT_NORM_BIAS},

    {OP_LINEAR,   SLOT_GATE,   SLOT_X,    SLOT_NONE, WEIGHT_GATE},
    {OP_LINEAR,   SLOT_UP,     SLOT_X,    SLOT_NONE, WEIGHT_UP},
    {OP_GLU,      SLOT_GATE,   SLOT_UP,   SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_GATE, SLOT_NONE, WEIGHT_DOWN},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
    {OP_LAYERNORM, SLOT_X,     SLOT_X,    SLOT_NONE, WEIGHT_LAYER_NORM, WEIGHT_LAYER_NORM_BIAS},
};
/* clang-format on */

const struct arch arch_nomic = {.before = ARCH_OPS(before), .layer = ARCH_OPS(layer)};
