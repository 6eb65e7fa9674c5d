/* SPDX-License-Identifier: Apache-2.0 */
/* arch.h - an architecture, written once: operations over named weights.
 *
 * Families that are computed alike share one file with three tables: what happens before the
 * layers, in each layer, and after them.  Every operation takes rows (one per token) from slots and
 * leaves rows in a slot.  What a model does not have falls away: an operation whose weight the file
 * lacks (a bias), a factor that is not set, a rotation of no dimensions, and work on what nothing
 * has made.  Nothing here says how it is computed: forward.c walks the tables over several threads,
 * training walks the same tables and then back. */
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
    SLOT_ROUTER, /* how well each expert suits */
    SLOT_S,      /* what the shared expert contributes, */
    SLOT_SHARE,  /* and how much of it, one number */
    SLOT_P,      /* what a classifier looks at: a vector of a text, or one of each token */
    SLOT_LOGITS,
    SLOT_COUNT
};

enum arch_op_kind {
    OP_EMBED,       /* out = row `token` of the weight */
    OP_POSITION,    /* out += row `position` of the weight */
    OP_SEGMENT,     /* out += row `segment` of the weight: which text of a pair it is */
    OP_NORM,        /* out = rmsnorm(a) * weight */
    OP_LAYERNORM,   /* out = layernorm(a) * weight + bias */
    OP_LINEAR,      /* out = weight * a */
    OP_BIAS,        /* out += weight */
    OP_HEAD_NORM,   /* every head of out becomes rmsnorm(head) * weight, in place */
    OP_ROPE,        /* every head of out is rotated by the position, in place */
    OP_STORE,       /* a and b become keys and values of this layer at the position */
    OP_ATTEND,      /* out = attention of the query heads in a over the positions stored so far */
    OP_ATTEND_TEXT, /* out = attention of the query heads in SLOT_Q over keys a and values b of all
                     * rows, which are one text */
    OP_GLU,         /* out = activation(out) * a, that of the family (family.h) */
    OP_ACTIVATE,    /* out = activation(out) */
    OP_TANH,        /* out = tanh(out), of a classifier that does not say relu */
    OP_RELU,        /* out = max(out, 0), of one that does */
    OP_ADD,         /* out += a */
    OP_ROUTE,       /* the experts of the row are chosen by a */
    OP_EXPERTS,     /* out = those experts of a, by their weights */
    OP_GATE,        /* out *= sigmoid(the number in a) */
    OP_SCALE,       /* out *= factor */
    OP_SOFTCAP,     /* out = factor * tanh(out / factor) */
    OP_KINDS
};

enum arch_factor {
    FACTOR_NONE,
    FACTOR_EMBEDDING,
    FACTOR_RESIDUAL,
    FACTOR_LOGITS,
    FACTOR_LOGIT_CAP
};

struct arch_op {
    enum arch_op_kind kind;
    enum arch_slot out, a, b;
    enum weight_role weight;
    enum weight_role bias; /* of OP_LAYERNORM */
    enum arch_factor factor;
    bool copies; /* of OP_LAYERNORM: in a layer without the weight out = a */
};

struct arch_ops {
    const struct arch_op *ops;
    size_t count;
};
#define ARCH_OPS(table)                           \
    {                                             \
        table, sizeof(table) / sizeof((table)[0]) \
    }
#define ARCH_OPS_MAX 40 /* of one table */

/* Encoders end with vectors: then what comes behind the last layer may be nothing.  head: what a
 * classifier does with those in SLOT_P. */
struct arch {
    struct arch_ops before, layer, after, head;
};

extern const struct arch arch_llama, arch_gemma, arch_olmo2, arch_gpt2, arch_bert, arch_nomic,
    arch_modernbert;

/* The head of a model: without a dense layer in between where it has none, or nothing at all. */
const struct arch_ops *arch_head(const struct arch *arch, const struct weights *w);

const struct arch *arch_by_name(const char *name); /* of a family; NULL: no such */

#endif
