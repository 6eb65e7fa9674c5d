/* SPDX-License-Identifier: Apache-2.0 */
/* forward_test.c - what a family's table becomes: each operation once, in as few stages as may be.
 */
#include "infer/forward.h"

#include "test.h"
#include "tiny_llama.h"

#include "tensor/backend.h"

static struct tiny_llama model;

/* Stages point into f. */
static void plan(struct forward *f)
{
    static const struct forward_limits limits = {
        .threads = 2, .rows_max = 8, .logits_max = 1, .context_tokens = 64};
    struct carve measure = {0};

    forward_carve(f, &model.model.hparams, &model.model.weights, &arch_llama, backend_best(),
                  &limits, &measure);
}

/* Of the operations between products. */
static size_t count_of(const struct stages *s, enum arch_op_kind kind)
{
    size_t n = 0;

    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->at[i].local_count; k++)
            n += s->at[i].local[k].kind == kind;
    return n;
}

/* Threads meet after each stage.  The table has a GLU for shared experts too, which this model has
 * not. */
TEST(a_layer_of_llama_has_five_stages_and_one_glu)
{
    struct forward f;

    tiny_llama_init(&model, &tiny_hparams, DTYPE_F32, NULL, 1);
    plan(&f);
    CHECK_INT(f.layer.count, 5);
    CHECK_INT(f.layer.at[0].kind, STAGE_LINEAR);
    CHECK_INT(f.layer.at[0].linear_count, 3);
    CHECK_INT(f.layer.at[1].kind, STAGE_ATTEND);
    CHECK_INT(f.layer.at[3].linear_count, 2);
    CHECK(f.layer.at[3].is_glu);
    CHECK_INT(count_of(&f.layer, OP_GLU), 1);
    CHECK_INT(count_of(&f.layer, OP_ADD), 2);
    tiny_llama_fini(&model);
}
