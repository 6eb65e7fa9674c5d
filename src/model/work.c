/* SPDX-License-Identifier: Apache-2.0 */
/* work.c - see work.h */
#include "model/work.h"

#include "model/loaded.h"
#include "tensor/backend.h"

static enum work_unit unit_of(enum dtype type)
{
    enum form form = backend_best()->prepared_form(type);

    if (backend_has_tiles(backend_best(), type))
        return WORK_BF16;
    if (form == FORM_Q8 || form == FORM_NEIGHBOURS || form == FORM_FIXED)
        return WORK_INT8;
    return type == DTYPE_BF16 ? WORK_BF16 : WORK_F32;
}

/* Halves of products of the unit that take as long as one of the type: of 16 bits there are half as
 * many, sums of two bf16 take three, and sums of neighbours three instructions for two. */
static uint64_t halves_of(enum dtype type)
{
    enum form form = backend_best()->prepared_form(type);

    if (backend_has_tiles(backend_best(), type))
        return type == DTYPE_F16 ? 6 : 2;
    return form == FORM_FIXED ? 4 : form == FORM_NEIGHBOURS ? 3 : 2;
}

static void add(struct work *work, uint64_t *products, const struct tensor *t, uint32_t experts)
{
    uint64_t rows;

    if (!t)
        return;
    rows = t->shape[1] * (t->n_dims > 2 ? experts : 1);
    work->decode_bytes += t->row_bytes * rows;
    if (t->n_dims > 1) /* a vector of a norm costs next to nothing */
        products[unit_of(t->type)] += t->shape[0] * rows * halves_of(t->type) / 2;
}

void work_of(struct work *work, const llmos_model *model)
{
    const struct weights *w = &model->weights;
    const struct tensor *embedding = w->model[WEIGHT_EMBED];
    const uint32_t experts = model->hparams.n_expert_used;

    *work = (struct work){.decode_bytes = 0};
    for (uint32_t l = 0; l < model->hparams.n_layer; l++)
        for (int role = WEIGHT_MODEL_COUNT; role < WEIGHT_ROLE_COUNT; role++)
            add(work, work->layers, weights_get(w, l, (enum weight_role)role), experts);
    add(work, work->output, w->model[WEIGHT_OUTPUT_NORM], 1);
    add(work, work->output, w->model[WEIGHT_OUTPUT], 1);
    if (embedding != w->model[WEIGHT_OUTPUT])
        work->decode_bytes += embedding->row_bytes; /* one row is looked up */
}
