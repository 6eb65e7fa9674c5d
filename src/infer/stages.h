/* SPDX-License-Identifier: Apache-2.0 */
/* stages.h - the operations of a table (arch.h) grouped into stages: between two of them threads
 * meet, within one each needs only its own part of what the stage made. */
#ifndef INFER_STAGES_H
#define INFER_STAGES_H

#include "infer/arch.h"

#define STAGES_MAX        16
#define STAGE_LINEARS_MAX 4 /* products of one source in a stage: q, k, v */

/* Rows: every thread does all of a few rows.  Linear: its own columns of all rows.  Store: its own
 * heads of all rows. */
enum stage_kind { STAGE_ROWS, STAGE_LINEAR, STAGE_STORE, STAGE_ATTEND, STAGE_TEXT, STAGE_EXPERTS };

struct stage {
    enum stage_kind kind;
    const struct arch_op *norm;   /* on the way in; NULL: none */
    const struct arch_op *linear; /* products of the same source; or the one operation */
    const struct arch_op *local;  /* what a thread does with its own columns, or its own rows */
    size_t linear_count, local_count;
    enum arch_slot source;
    size_t grain;    /* columns that stay together: a head, 64 or 32 */
    bool alike;      /* the products are combined element by element: split each in the same way */
    bool stores;     /* keys and values */
    bool is_glu;     /* two products, of which a GLU is all that is wanted */
    bool feeds_next; /* that is all that the next stage's one product reads, and nobody else */
};

/* A table without what the model does not have. */
struct stages {
    struct arch_op ops[ARCH_OPS_MAX];
    struct stage at[STAGES_MAX];
    size_t count, first; /* first: of the stages of all layers */
};

static inline float op_factor(const struct hparams *h, const struct arch_op *op)
{
    const float factors[] = {
        [FACTOR_NONE] = 0,
        [FACTOR_EMBEDDING] = h->embedding_scale,
        [FACTOR_RESIDUAL] = h->residual_scale,
        [FACTOR_LOGITS] = h->logit_scale,
        [FACTOR_LOGIT_CAP] = h->logit_softcap,
    };

    return factors[op->factor];
}

static inline bool op_has_weight(const struct arch_op *op)
{
    return op->kind == OP_EMBED || op->weight != 0;
}

static inline bool op_is_norm(const struct arch_op *op)
{
    return op->kind == OP_NORM || op->kind == OP_LAYERNORM;
}

/* What a model has of a table.  makes_logits: else a head follows the table, and what makes logits
 * of the vocabulary is left out. */
void stages_plan(struct stages *stages, const struct arch_ops *ops, const struct hparams *h,
                 const struct weights *w, bool makes_logits);

#endif
