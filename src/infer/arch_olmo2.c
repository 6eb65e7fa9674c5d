/* SPDX-License-Identifier: Apache-2.0 */
/* arch_olmo2.c - OLMo 2 (OLMo Team 2025): norms only behind attention and feed-forward, and of all
 * queries and all keys of a position together; and OLMo 3 (2025), of which three layers of four
 * have a window. */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op before[] = {
    /* kind         out          a          b        weight */
    {OP_EMBED,    SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_EMBED},
};

static const struct arch_op layer[] = {
    {OP_LINEAR,   SLOT_Q,      SLOT_X,    SLOT_NONE, WEIGHT_Q},
    {OP_LINEAR,   SLOT_K,      SLOT_X,    SLOT_NONE, WEIGHT_K},
    {OP_LINEAR,   SLOT_V,      SLOT_X,    SLOT_NONE, WEIGHT_V},
    {OP_NORM,     SLOT_Q,      SLOT_Q,    SLOT_NONE, WEIGHT_Q_NORM_ALL},
    {OP_NORM,     SLOT_K,      SLOT_K,    SLOT_NONE, WEIGHT_K_NORM_ALL},
    {OP_ROPE,     SLOT_Q,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ROPE,     SLOT_K,      SLOT_NONE, SLOT_NONE, 0},
    {OP_STORE,    SLOT_NONE,   SLOT_K,    SLOT_V,    0},
    {OP_ATTEND,   SLOT_A,      SLOT_Q,    SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_A,    SLOT_NONE, WEIGHT_ATTN_OUT},
    {OP_NORM,     SLOT_Y,      SLOT_Y,    SLOT_NONE, WEIGHT_ATTN_POST_NORM},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},

    {OP_LINEAR,   SLOT_GATE,   SLOT_X,    SLOT_NONE, WEIGHT_GATE},
    {OP_LINEAR,   SLOT_UP,     SLOT_X,    SLOT_NONE, WEIGHT_UP},
    {OP_GLU,      SLOT_GATE,   SLOT_UP,   SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_Y,      SLOT_GATE, SLOT_NONE, WEIGHT_DOWN},
    {OP_NORM,     SLOT_Y,      SLOT_Y,    SLOT_NONE, WEIGHT_FFN_POST_NORM},
    {OP_ADD,      SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
};

static const struct arch_op after[] = {
    {OP_NORM,     SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_OUTPUT_NORM},
    {OP_LINEAR,   SLOT_LOGITS, SLOT_H,    SLOT_NONE, WEIGHT_OUTPUT},
};
/* clang-format on */

const struct arch arch_olmo2 = {ARCH_OPS(before), ARCH_OPS(layer), ARCH_OPS(after)};
