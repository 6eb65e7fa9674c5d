/* SPDX-License-Identifier: Apache-2.0 */
/* arch.h - an architecture, written once: operations over named weights.
 *
 * A family of models is one file with three tables: what happens before the layers, in each layer,
 * and after them.  Every operation takes rows (one per token) from slots and leaves rows in a slot.
 * Nothing here says how it is computed: forward.c walks the tables over several threads, training
 * walks the same tables and then back. */
#ifndef INFER_ARCH_H
#define INFER_ARCH_H

#include "model/weights.h"

enum arch_slot {
    SLOT_NONE,
    SLOT_X, /* the residual stream */
    SLOT_H, /* normalised */
    SLOT_Q,
    SLOT_K,
    SLOT_V,
    SLOT_A, /* what attention found */
    SLOT_Y, /* a block's contribution */
    SLOT_GATE,
    SLOT_UP,
    SLOT_LOGITS,
    SLOT_COUNT
};

enum arch_op_kind {
    OP_EMBED,  /* out = row `token` of the weight */
    OP_NORM,   /* out = rmsnorm(a) * weight */
    OP_LINEAR, /* out = weight * a */
    OP_ROPE,   /* every head of out is rotated by the position, in place */
    OP_STORE,  /* a and b become keys and values of this layer at the position */
    OP_ATTEND, /* out = attention of the query heads in a over the positions stored so far */
    OP_SWIGLU, /* out = silu(out) * a */
    OP_ADD     /* out += a */
};

struct arch_op {
    enum arch_op_kind kind;
    enum arch_slot out, a, b;
    enum weight_role weight;
};

struct arch_ops {
    const struct arch_op *ops;
    size_t count;
};

struct arch {
    const char *name;      /* general.architecture */
    bool rope_interleaved; /* pairs (2i, 2i + 1), else (i, i + dims / 2) */
    struct arch_ops before, layer, after;
};

extern const struct arch arch_llama;

const struct arch *arch_by_name(const char *name); /* NULL: no such family */

#endif
