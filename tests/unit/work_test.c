/* SPDX-License-Identifier: Apache-2.0 */
/* work_test.c - the costs of a token, counted by hand for small models. */
#include "test.h"

#include "model/loaded.h"
#include "model/work.h"
#include "tensor/backend.h"

#include "modelfile.h"

#define E 64
#define F 128
#define V 320

static struct work work_for(enum dtype type, bool tied)
{
    struct synth_options o;
    struct work work;
    llmos_model *m;

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0); /* 2 layers, 2 KV heads of 4 */
    o.type = type;
    o.tied_output = tied;
    m = modelfile_open_synth(&o);
    work_of(&work, m);
    llmos_model_close(m);
    return work;
}

/* Of the two layers: q and output, k and v of half the rows, three of the feed-forward part. */
#define LAYERS (2ull * (2 * E * E + 2 * E * E / 2 + 3 * E * F))

TEST(work_counts_matrices_of_layers_for_every_token_and_the_output_apart)
{
    struct work w = work_for(DTYPE_F32, false);

    CHECK_INT(w.layers[WORK_F32], LAYERS);
    CHECK_INT(w.output[WORK_F32], E * V);
    CHECK_INT(w.layers[WORK_INT8] + w.layers[WORK_BF16] + w.output[WORK_INT8], 0);
    /* all matrices, five norms, and one row of the embedding */
    CHECK_INT(w.decode_bytes, 4 * (LAYERS + E * V + 5 * E + E));
}

static enum work_unit unit_of_quants(void)
{
    return backend_has_tiles(backend_best(), DTYPE_Q8_0) ? WORK_BF16 : WORK_INT8;
}

TEST(work_reads_a_tied_embedding_once)
{
    /* Where sums of neighbours are widened one by one, three instructions do the work of two. */
    uint64_t halves = backend_best()->prepared_form(DTYPE_Q8_0) == FORM_NEIGHBOURS ? 3 : 2;
    struct work w = work_for(DTYPE_Q8_0, true);

    CHECK_INT(w.layers[unit_of_quants()], halves * LAYERS / 2);
    CHECK_INT(w.output[unit_of_quants()], halves * E * V / 2);
    CHECK_INT(w.decode_bytes, (LAYERS + E * V) / 32 * 34 + 4 * 5 * E);
}

TEST(work_counts_the_experts_that_a_token_has)
{
    enum { ROWS = 16, USED = 3 };
    const struct tensor experts = {
        .type = DTYPE_F32, .n_dims = 3, .shape = {E, ROWS, 8, 1}, .row_bytes = 4 * E};
    struct synth_options o;
    struct work without, with;
    llmos_model *m;

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    m = modelfile_open_synth(&o);
    work_of(&without, m);
    m->weights.layers[WEIGHT_LAYER_ROLES + WEIGHT_EXP_UP - WEIGHT_MODEL_COUNT] = &experts;
    m->hparams.n_expert_used = USED;
    work_of(&with, m);
    CHECK_INT(with.layers[WORK_F32] - without.layers[WORK_F32], USED * E * ROWS);
    CHECK_INT(with.decode_bytes - without.decode_bytes, USED * 4 * E * ROWS);
    llmos_model_close(m);
}

TEST(work_knows_who_multiplies_which_type)
{
    const struct backend *b = backend_best();

    if (b->prepared_form(DTYPE_BF16) == FORM_FIXED)
        CHECK_INT(work_for(DTYPE_BF16, true).layers[WORK_INT8], 2 * LAYERS);
    else
        CHECK_INT(work_for(DTYPE_BF16, true).layers[WORK_BF16], LAYERS);
    if (backend_has_tiles(b, DTYPE_F16))
        CHECK_INT(work_for(DTYPE_F16, true).layers[WORK_BF16], 3 * LAYERS);
    else if (b->prepared_form(DTYPE_F16) == FORM_FIXED)
        CHECK_INT(work_for(DTYPE_F16, true).layers[WORK_INT8], 2 * LAYERS);
    else
        CHECK_INT(work_for(DTYPE_F16, true).layers[WORK_F32], LAYERS);
    CHECK_INT(work_for(DTYPE_Q5_1, true).layers[unit_of_quants()], LAYERS);
}
