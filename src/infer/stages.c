/* SPDX-License-Identifier: Apache-2.0 */
/* stages.c - see stages.h */
#include "infer/stages.h"

#include <assert.h>

#define COLUMNS     64 /* elementwise work is split at multiples: four vectors of 16 floats */
#define FEW_COLUMNS 32 /* SHARE_FEW_COLUMNS: two groups of packed rows */

/* How an operation may be shared between threads: by columns, each with its own; by fewer of them,
 * where an element is one addition or multiplication, with the same bits in a vector and alone; by
 * heads; only by rows; or in a way of its own. */
enum share { SHARE_COLUMNS, SHARE_FEW_COLUMNS, SHARE_HEADS, SHARE_ROWS, SHARE_OWN };

static const enum share share_of[OP_KINDS] = {
    [OP_SEGMENT] = SHARE_ROWS,    [OP_ATTEND_TEXT] = SHARE_OWN,  [OP_EMBED] = SHARE_ROWS,
    [OP_POSITION] = SHARE_ROWS,   [OP_NORM] = SHARE_ROWS,        [OP_LAYERNORM] = SHARE_ROWS,
    [OP_LINEAR] = SHARE_OWN,      [OP_BIAS] = SHARE_FEW_COLUMNS, [OP_HEAD_NORM] = SHARE_HEADS,
    [OP_ROPE] = SHARE_HEADS,      [OP_STORE] = SHARE_OWN,        [OP_ATTEND] = SHARE_OWN,
    [OP_GLU] = SHARE_COLUMNS,     [OP_ACTIVATE] = SHARE_COLUMNS, [OP_TANH] = SHARE_COLUMNS,
    [OP_RELU] = SHARE_COLUMNS,    [OP_ADD] = SHARE_FEW_COLUMNS,  [OP_SCALE] = SHARE_FEW_COLUMNS,
    [OP_SOFTCAP] = SHARE_COLUMNS, [OP_ROUTE] = SHARE_ROWS,       [OP_EXPERTS] = SHARE_OWN,
    [OP_GATE] = SHARE_ROWS,
};

/* Does the model have what the operation is about?  made: a bit for each slot. */
static bool is_wanted(const struct hparams *h, const struct weights *w, const struct arch_op *op,
                      uint64_t made)
{
    if (op->kind == OP_ROPE)
        return h->rope_dims > 0;
    if (op->kind == OP_TANH || op->kind == OP_RELU)
        return h->label_relu == (op->kind == OP_RELU);
    if (op->factor != FACTOR_NONE)
        return op_factor(h, op) != 0 && (op->kind != OP_SCALE || op_factor(h, op) != 1);
    if (op->kind == OP_GLU && (made >> op->a & 1) == 0)
        return false;
    if (op->kind == OP_GLU || op->kind == OP_ACTIVATE)
        return (made >> op->out & 1) != 0;
    return !op_has_weight(op) || op->copies || weights_get(w, 0, op->weight);
}

static bool made_here(const struct stage *s, enum arch_slot slot)
{
    for (size_t i = 0; i < s->linear_count; i++)
        if (s->linear[i].out == slot)
            return true;
    return false;
}

/* May op be done by each thread on its own columns of the stage's products? */
static bool is_local(const struct stage *s, const struct arch_op *op)
{
    if (op->kind == OP_STORE)
        return made_here(s, op->a) && made_here(s, op->b);
    if (op->kind == OP_ADD) /* out is shared, and others may still be reading the stage's source */
        return made_here(s, op->a) && op->out != s->source;
    if (op->kind == OP_GLU)
        return made_here(s, op->out) && made_here(s, op->a);
    return share_of[op->kind] < SHARE_ROWS && made_here(s, op->out);
}

/* Does something from op on want what is in the slot now? */
static bool is_read(const struct arch_op *op, const struct arch_op *end, enum arch_slot slot)
{
    for (; op < end; op++) {
        if (op->a == slot || op->b == slot)
            return true;
        if (op->out == slot) /* changed, or made anew? */
            return !op_is_norm(op) && op->kind != OP_LINEAR;
    }
    return false;
}

/* A norm that only products want is not stored: they make it on the way in. */
static bool norms_products(const struct arch_op *op, const struct arch_op *end)
{
    enum arch_slot slot = op->out;

    if (!op_is_norm(op) || op + 1 == end || op[1].kind != OP_LINEAR || op[1].a != slot)
        return false;
    for (op++; op < end && op->kind == OP_LINEAR && op->a == slot; op++)
        ;
    return !is_read(op, end, slot);
}

static const struct arch_op *plan_linear(struct stage *s, const struct arch_op *op,
                                         const struct arch_op *end, size_t head_dim)
{
    enum arch_slot source;

    s->kind = STAGE_LINEAR;
    s->source = op->a;
    s->grain = FEW_COLUMNS;
    if (op->kind != OP_LINEAR)
        s->norm = op++;
    s->linear = op;
    source = s->norm ? s->norm->out : s->source;
    while (op < end && op->kind == OP_LINEAR && op->a == source &&
           s->linear_count < STAGE_LINEARS_MAX) {
        s->linear_count++;
        op++;
    }
    assert(s->linear_count > 0);
    s->local = op;
    while (op < end && is_local(s, op)) {
        s->alike |= op->kind == OP_GLU;
        if (share_of[op->kind] == SHARE_HEADS || op->kind == OP_STORE)
            s->grain = head_dim;
        else if (share_of[op->kind] == SHARE_COLUMNS && s->grain == FEW_COLUMNS)
            s->grain = COLUMNS;
        s->stores |= op->kind == OP_STORE;
        s->local_count++;
        op++;
    }
    s->is_glu = s->linear_count == 2 && s->local_count == 1 && s->local->kind == OP_GLU &&
                s->local->out == s->linear[0].out && !is_read(op, end, s->local->a);
    return op;
}

/* Does one product read what a GLU made in the stage before, and nothing else does? */
static bool feeds(const struct stage *glu, const struct stage *s, const struct arch_op *end)
{
    enum arch_slot slot = glu->local->out;

    return s->kind == STAGE_LINEAR && !s->norm && s->linear_count == 1 && s->source == slot &&
           !is_read(s->linear + 1, end, slot);
}

static const struct arch_op *plan_rows(struct stage *s, const struct arch_op *op,
                                       const struct arch_op *end)
{
    s->kind = STAGE_ROWS;
    s->local = op;
    while (op < end && share_of[op->kind] != SHARE_OWN && !norms_products(op, end)) {
        s->local_count++;
        op++;
    }
    return op;
}

void stages_plan(struct stages *stages, const struct arch_ops *ops, const struct hparams *h,
                 const struct weights *w, bool makes_logits)
{
    const struct arch_op *op = stages->ops, *end;
    uint64_t made = 0;
    size_t count = 0;

    *stages = (struct stages){.count = 0};
    assert(ops->count <= ARCH_OPS_MAX);
    for (size_t i = 0; i < ops->count; i++) {
        if (!is_wanted(h, w, &ops->ops[i], made) ||
            (!makes_logits && ops->ops[i].out == SLOT_LOGITS))
            continue;
        made |= UINT64_C(1) << ops->ops[i].out;
        if (ops->ops[i].kind == OP_GLU) /* once */
            made &= ~(UINT64_C(1) << ops->ops[i].a);
        stages->ops[count++] = ops->ops[i];
    }
    for (end = op + count; op < end;) {
        struct stage *s = &stages->at[stages->count++];

        /* Our own tables: whoever writes one that cannot be grouped sees it in the first test. */
        assert(stages->count <= STAGES_MAX);
        if (op->kind == OP_LINEAR || norms_products(op, end)) {
            op = plan_linear(s, op, end, h->head_dim);
        } else if (share_of[op->kind] != SHARE_OWN) {
            op = plan_rows(s, op, end);
        } else {
            s->kind = op->kind == OP_STORE         ? STAGE_STORE
                      : op->kind == OP_EXPERTS     ? STAGE_EXPERTS
                      : op->kind == OP_ATTEND_TEXT ? STAGE_TEXT
                                                   : STAGE_ATTEND;
            s->stores = op->kind == OP_STORE;
            s->linear = op++;
        }
        if (s > stages->at && s[-1].is_glu)
            s[-1].feeds_next = feeds(&s[-1], s, end);
    }
}
