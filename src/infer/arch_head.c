/* SPDX-License-Identifier: Apache-2.0 */
/* arch_head.c - what stands behind an encoder: labels of a vector, directly or by way of another
 * layer. */
#include "infer/arch.h"

/* clang-format off */
static const struct arch_op dense[] = {
    /* kind         out          a          b        weight */
    {OP_LINEAR,   SLOT_Y,      SLOT_P,    SLOT_NONE, WEIGHT_CLS},
    {OP_BIAS,     SLOT_Y,      SLOT_NONE, SLOT_NONE, WEIGHT_CLS_BIAS},
    {OP_TANH,     SLOT_Y,      SLOT_NONE, SLOT_NONE, 0},
    {OP_LINEAR,   SLOT_LOGITS, SLOT_Y,    SLOT_NONE, WEIGHT_CLS_OUT},
    {OP_BIAS,     SLOT_LOGITS, SLOT_NONE, SLOT_NONE, WEIGHT_CLS_OUT_BIAS},
};

static const struct arch_op direct[] = {
    {OP_LINEAR,   SLOT_LOGITS, SLOT_P,    SLOT_NONE, WEIGHT_CLS_OUT},
    {OP_BIAS,     SLOT_LOGITS, SLOT_NONE, SLOT_NONE, WEIGHT_CLS_OUT_BIAS},
};
/* clang-format on */

const struct arch_ops *arch_head(const struct weights *w)
{
    static const struct arch_ops by_dense = ARCH_OPS(dense), directly = ARCH_OPS(direct);
    static const struct arch_ops none = {NULL, 0};

    if (!w->model[WEIGHT_CLS_OUT])
        return &none;
    return w->model[WEIGHT_CLS] ? &by_dense : &directly;
}
