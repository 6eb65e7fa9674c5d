/* SPDX-License-Identifier: Apache-2.0 */
/* arch_llama.c - the llama family (Touvron et al. 2023): RMSNorm, rotary positions, grouped-query
 * attention, SwiGLU. */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op before[] = {
    /* kind       out          a          b        weight */
    {OP_EMBED,  SLOT_X,      SLOT_NONE, SLOT_NONE, WEIGHT_EMBED},
};

static const struct arch_op layer[] = {
    {OP_NORM,   SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_ATTN_NORM},
    {OP_LINEAR, SLOT_Q,      SLOT_H,    SLOT_NONE, WEIGHT_Q},
    {OP_LINEAR, SLOT_K,      SLOT_H,    SLOT_NONE, WEIGHT_K},
    {OP_LINEAR, SLOT_V,      SLOT_H,    SLOT_NONE, WEIGHT_V},
    {OP_ROPE,   SLOT_Q,      SLOT_NONE, SLOT_NONE, 0},
    {OP_ROPE,   SLOT_K,      SLOT_NONE, SLOT_NONE, 0},
    {OP_STORE,  SLOT_NONE,   SLOT_K,    SLOT_V,    0},
    {OP_ATTEND, SLOT_A,      SLOT_Q,    SLOT_NONE, 0},
    {OP_LINEAR, SLOT_Y,      SLOT_A,    SLOT_NONE, WEIGHT_ATTN_OUT},
    {OP_ADD,    SLOT_X,      SLOT_Y,    SLOT_NONE, 0},

    {OP_NORM,   SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_FFN_NORM},
    {OP_LINEAR, SLOT_GATE,   SLOT_H,    SLOT_NONE, WEIGHT_GATE},
    {OP_LINEAR, SLOT_UP,     SLOT_H,    SLOT_NONE, WEIGHT_UP},
    {OP_SWIGLU, SLOT_GATE,   SLOT_UP,   SLOT_NONE, 0},
    {OP_LINEAR, SLOT_Y,      SLOT_GATE, SLOT_NONE, WEIGHT_DOWN},
    {OP_ADD,    SLOT_X,      SLOT_Y,    SLOT_NONE, 0},
};

static const struct arch_op after[] = {
    {OP_NORM,   SLOT_H,      SLOT_X,    SLOT_NONE, WEIGHT_OUTPUT_NORM},
    {OP_LINEAR, SLOT_LOGITS, SLOT_H,    SLOT_NONE, WEIGHT_OUTPUT},
};
/* clang-format on */

#define OPS(table)                                \
    {                                             \
        table, sizeof(table) / sizeof((table)[0]) \
    }

const struct arch arch_llama = {
    .name = "llama",
    .rope_interleaved = true,
    .before = OPS(before),
    .layer = OPS(layer),
    .after = OPS(after),
};
