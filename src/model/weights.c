/* SPDX-License-Identifier: Apache-2.0 */
/* weights.c - see weights.h */
#include "model/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

enum side { SIDE_1, SIDE_E, SIDE_F, SIDE_Q, SIDE_K, SIDE_V, SIDE_R2, SIDE_COUNT };

static const struct {
    const char *name; /* in a layer: behind "blk.N." */
    enum side inner, rows;
} roles[] = {
#define ROLE(role, name, inner, rows) {name, SIDE_##inner, SIDE_##rows},
    WEIGHTS_MODEL(ROLE) WEIGHTS_LAYER(ROLE)
#undef ROLE
};
_Static_assert(sizeof(roles) / sizeof(roles[0]) == WEIGHT_ROLE_COUNT, "one row for each role");

struct binder {
    const struct gguf *g;
    size_t side[SIDE_COUNT];
    struct llmos_error *err;
};

/* "f32 f16 ..." */
static const char *computable(char text[static 128])
{
    size_t n = 0;

    for (int t = 0; t < DTYPE_COUNT && n < 100; t++)
        n += (size_t)snprintf(text + n, 128 - n, "%s%s", n ? " " : "", dtype_info(t)->name);
    return text;
}

static int check_type(const struct gguf_tensor *t, struct llmos_error *err)
{
    const char *name = dtype_gguf_name(t->type_id);
    char list[128];

    if (t->dtype >= 0)
        return 0;
    if (!name)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "tensor '%.*s' has type number %" PRIu32
                    ", which nobody has heard of; this version can compute with: %s",
                    STR_ARG(t->name), t->type_id, computable(list));
    return fail(err, LLMOS_EUNSUPPORTED,
                "tensor '%.*s' has type %s, which this version cannot compute with; it can: %s",
                STR_ARG(t->name), name, computable(list));
}

static int check_shape(const struct binder *b, const struct gguf_tensor *t, enum weight_role role)
{
    size_t inner = b->side[roles[role].inner], rows = b->side[roles[role].rows];

    if (t->t.shape[0] == inner && t->t.shape[1] == rows && t->t.shape[2] == 1 && t->t.shape[3] == 1)
        return 0;
    return fail(
        b->err, LLMOS_EFORMAT, "tensor '%.*s' has shape %zu x %zu x %zu x %zu, %zu x %zu is needed",
        STR_ARG(t->name), t->t.shape[0], t->t.shape[1], t->t.shape[2], t->t.shape[3], inner, rows);
}

static int bind_role(const struct binder *b, const char *name, enum weight_role role,
                     const struct tensor **out)
{
    const struct gguf_tensor *t = gguf_find_tensor(b->g, name);
    int rc;

    if (!t)
        return fail(b->err, LLMOS_EFORMAT, "the file lacks tensor '%s'", name);
    rc = check_shape(b, t, role);
    if (rc == 0)
        rc = check_type(t, b->err);
    if (rc < 0)
        return rc;
    if (roles[role].rows == SIDE_1 && t->t.type != DTYPE_F32)
        return fail(b->err, LLMOS_EUNSUPPORTED, "tensor '%s' has type %s, f32 is needed", name,
                    dtype_info(t->t.type)->name);
    *out = &t->t;
    return 0;
}

/* Frequencies are divided by these; 64 numbers or so, checked once. */
static int check_rope_factors(const struct tensor *t, struct llmos_error *err)
{
    const float *factor = t->data;

    for (size_t i = 0; i < t->shape[0]; i++)
        if (!isfinite(factor[i]) || factor[i] <= 0)
            return fail(err, LLMOS_EFORMAT,
                        "tensor 'rope_freqs.weight' holds %g, positive numbers are needed",
                        (double)factor[i]);
    return 0;
}

static int bind_model(struct weights *w, const struct binder *b, bool tied)
{
    int rc = bind_role(b, roles[WEIGHT_EMBED].name, WEIGHT_EMBED, &w->model[WEIGHT_EMBED]);

    if (rc == 0)
        rc = bind_role(b, roles[WEIGHT_OUTPUT_NORM].name, WEIGHT_OUTPUT_NORM,
                       &w->model[WEIGHT_OUTPUT_NORM]);
    w->model[WEIGHT_OUTPUT] = w->model[WEIGHT_EMBED];
    if (rc == 0 && !tied)
        rc = bind_role(b, roles[WEIGHT_OUTPUT].name, WEIGHT_OUTPUT, &w->model[WEIGHT_OUTPUT]);
    if (rc < 0 || !gguf_find_tensor(b->g, roles[WEIGHT_ROPE_FREQS].name))
        return rc;
    rc = bind_role(b, roles[WEIGHT_ROPE_FREQS].name, WEIGHT_ROPE_FREQS,
                   &w->model[WEIGHT_ROPE_FREQS]);
    return rc < 0 ? rc : check_rope_factors(w->model[WEIGHT_ROPE_FREQS], b->err);
}

static int bind_layers(struct weights *w, const struct binder *b, uint32_t layers)
{
    for (uint32_t l = 0; l < layers; l++)
        for (int role = WEIGHT_MODEL_COUNT; role < WEIGHT_ROLE_COUNT; role++) {
            char name[64];
            int rc;

            snprintf(name, sizeof(name), "blk.%" PRIu32 ".%s", l, roles[role].name);
            rc = bind_role(
                b, name, role,
                &w->layers[l * WEIGHT_LAYER_ROLES + (unsigned)(role - WEIGHT_MODEL_COUNT)]);
            if (rc < 0)
                return rc;
        }
    return 0;
}

/* "attn_q.weight" of "blk.7.attn_q.weight" */
static struct str name_in_layer(struct str name)
{
    size_t i = 4;

    while (i < name.len && name.at[i] != '.')
        i++;
    i += i < name.len;
    return (struct str){name.at + i, name.len - i};
}

static bool is_known_in_layer(struct str name)
{
    for (int role = WEIGHT_MODEL_COUNT; role < WEIGHT_ROLE_COUNT; role++)
        if (str_is(name, roles[role].name))
            return true;
    /* Old files repeat the rotary frequencies that follow from the header. */
    return str_is(name, "attn_rot_embd.weight") || str_is(name, "rope_freqs.weight");
}

/* A tensor of a layer that we do not know (a bias, an expert) would change every result: leaving it
 * out silently would be worse than refusing. */
static int refuse_strangers(const struct gguf *g, struct llmos_error *err)
{
    for (size_t i = 0; i < g->tensor_count; i++) {
        struct str name = g->tensors[i].name;

        if (str_starts(name, STR("blk.")) && !is_known_in_layer(name_in_layer(name)))
            return fail(err, LLMOS_EUNSUPPORTED,
                        "tensor '%.*s' has no place in architecture 'llama' as this version "
                        "computes it",
                        STR_ARG(name));
    }
    return 0;
}

int weights_bind(struct weights *w, const struct gguf *g, const struct hparams *h,
                 struct arena *arena, struct llmos_error *err)
{
    struct weights bound = {0};
    struct binder b = {.g = g, .err = err};
    int rc;

    b.side[SIDE_1] = 1;
    b.side[SIDE_E] = h->n_embd;
    b.side[SIDE_F] = h->n_ff;
    b.side[SIDE_Q] = (size_t)h->head_dim * h->n_head;
    b.side[SIDE_K] = (size_t)h->head_dim * h->n_head_kv;
    b.side[SIDE_V] = h->n_vocab;
    b.side[SIDE_R2] = h->rope_dims / 2;
    if (h->n_layer > g->tensor_count) /* before a table is made for them */
        return fail(err, LLMOS_EFORMAT, "%" PRIu32 " layers are promised, the file has %zu tensors",
                    h->n_layer, g->tensor_count);
    bound.layers =
        arena_array(arena, const struct tensor *, (size_t)h->n_layer *WEIGHT_LAYER_ROLES);
    if (!bound.layers)
        return fail(err, LLMOS_ENOMEM, "no memory for a table of %" PRIu32 " layers", h->n_layer);
    rc = bind_model(&bound, &b, h->tied_output);
    if (rc == 0)
        rc = bind_layers(&bound, &b, h->n_layer);
    if (rc == 0)
        rc = refuse_strangers(g, err);
    if (rc == 0)
        *w = bound;
    return rc;
}
