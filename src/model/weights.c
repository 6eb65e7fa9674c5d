/* SPDX-License-Identifier: Apache-2.0 */
/* weights.c - see weights.h */
#include "model/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum side {
    SIDE_1,
    SIDE_E,
    SIDE_F,
    SIDE_Q,
    SIDE_K,
    SIDE_D,
    SIDE_H,
    SIDE_V,
    SIDE_P,
    SIDE_R2,
    SIDE_S,
    SIDE_L,
    SIDE_N,
    SIDE_FX,
    SIDE_FS,
    SIDE_COUNT
};

static const struct {
    const char *name; /* in a layer: behind "blk.N." */
    enum side inner, rows;
} roles[] = {
#define ROLE(role, name, inner, rows) {name, SIDE_##inner, SIDE_##rows},
    WEIGHTS_MODEL(ROLE) WEIGHTS_LAYER(ROLE)
#undef ROLE
};
_Static_assert(sizeof(roles) / sizeof(roles[0]) == WEIGHT_ROLE_COUNT, "one row for each role");

/* Matrices, or vectors, that some files keep as one, end to end. */
#define FUSED_MAX 3
static const struct fused {
    const char *name;
    enum weight_role parts[FUSED_MAX];
    unsigned count;
} fused[] = {
    {"attn_qkv.weight", {WEIGHT_Q, WEIGHT_K, WEIGHT_V}, 3},
    {"attn_qkv.bias", {WEIGHT_Q_BIAS, WEIGHT_K_BIAS, WEIGHT_V_BIAS}, 3},
    {"ffn_up.weight", {WEIGHT_GATE, WEIGHT_UP}, 2},
    {"ffn_up.bias", {WEIGHT_GATE_BIAS, WEIGHT_UP_BIAS}, 2},
};
#define FUSED_COUNT (sizeof(fused) / sizeof(fused[0]))

struct binder {
    const struct gguf *g;
    const char *family;
    struct family_roles needs, may;
    uint64_t later;
    struct arena *arena; /* for views */
    size_t side[SIDE_COUNT];
    struct llmos_error *err;
};

/* "f32 f16 ..." */
static const char *computable(char text[static 256])
{
    size_t n = 0;

    for (int t = 0; t < DTYPE_COUNT && n < 240; t++)
        n += (size_t)snprintf(text + n, 256 - n, "%s%s", n ? " " : "", dtype_info(t)->name);
    return text;
}

static int check_type(const struct gguf_tensor *t, struct llmos_error *err)
{
    const char *name = dtype_gguf_name(t->type_id);
    char list[256];

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

static bool is_vector(enum weight_role role)
{
    return roles[role].rows == SIDE_1;
}

static bool is_of_experts(enum weight_role role)
{
    return role >= WEIGHT_EXP_GATE && role <= WEIGHT_EXP_DOWN;
}

/* Read as floats, and not multiplied by. */
static bool is_added(enum weight_role role)
{
    return is_vector(role) || (role >= WEIGHT_EXP_GATE_BIAS && role <= WEIGHT_EXP_DOWN_BIAS);
}

/* How many rows, or numbers of a vector, a role has. */
static size_t length_of(const struct binder *b, enum weight_role role)
{
    return b->side[is_vector(role) ? roles[role].inner : roles[role].rows];
}

/* A tensor that shall be like that of the role, but for `length` rows or numbers. */
static int check_shape(const struct binder *b, const struct gguf_tensor *t, enum weight_role role,
                       size_t length)
{
    size_t inner = is_vector(role) ? length : b->side[roles[role].inner];
    size_t rows = is_vector(role) ? 1 : length, depth = is_of_experts(role) ? b->side[SIDE_N] : 1;

    if (t->t.shape[0] == inner && t->t.shape[1] == rows && t->t.shape[2] == depth &&
        t->t.shape[3] == 1)
        return 0;
    return fail(b->err, LLMOS_EFORMAT,
                "tensor '%.*s' has shape %zu x %zu x %zu x %zu, %zu x %zu x %zu is needed",
                STR_ARG(t->name), t->t.shape[0], t->t.shape[1], t->t.shape[2], t->t.shape[3], inner,
                rows, depth);
}

static int check(const struct binder *b, const struct gguf_tensor *t, enum weight_role role,
                 size_t length)
{
    int rc = check_shape(b, t, role, length);

    if (rc == 0)
        rc = check_type(t, b->err);
    if (rc == 0 && is_added(role) && t->t.type != DTYPE_F32)
        return fail(b->err, LLMOS_EUNSUPPORTED, "tensor '%.*s' has type %s, f32 is needed",
                    STR_ARG(t->name), dtype_info(t->t.type)->name);
    return rc;
}

/* *out stays NULL where the file has no such tensor. */
static int bind_role(const struct binder *b, const char *name, enum weight_role role,
                     const struct tensor **out)
{
    const struct gguf_tensor *t = gguf_find_tensor(b->g, name);
    int rc = t ? check(b, t, role, length_of(b, role)) : 0;

    if (rc == 0 && t)
        *out = &t->t;
    return rc;
}

static int need(const struct binder *b, const char *name, const struct tensor *t)
{
    return t ? 0 : fail(b->err, LLMOS_EFORMAT, "the file lacks tensor '%s'", name);
}

/* Frequencies are divided by these; 64 numbers or so, checked once. */
static int check_rope_factors(const struct weights *w, enum weight_role role,
                              struct llmos_error *err)
{
    const struct tensor *t = w->model[role];
    const float *factor = t ? t->data : NULL;

    for (size_t i = 0; t && i < t->shape[0]; i++)
        if (!isfinite(factor[i]) || factor[i] <= 0)
            return fail(err, LLMOS_EFORMAT, "tensor '%s' holds %g, positive numbers are needed",
                        roles[role].name, (double)factor[i]);
    return 0;
}

static int bind_model(struct weights *w, const struct binder *b, bool tied)
{
    const struct family_roles needs = b->needs, may = b->may;
    int rc = 0;

    for (int role = 0; rc == 0 && role < WEIGHT_MODEL_COUNT; role++) {
        if (((needs.model | may.model) >> role & 1) == 0)
            continue;
        rc = bind_role(b, roles[role].name, role, &w->model[role]);
        if (rc == 0 && needs.model >> role & 1)
            rc = need(b, roles[role].name, w->model[role]);
    }
    if (may.model >> WEIGHT_OUTPUT & 1) { /* else it has no such end: an encoder */
        if (tied)
            w->model[WEIGHT_OUTPUT] = w->model[WEIGHT_EMBED];
        else if (rc == 0)
            rc = need(b, roles[WEIGHT_OUTPUT].name, w->model[WEIGHT_OUTPUT]);
    }
    if (rc == 0)
        rc = check_rope_factors(w, WEIGHT_ROPE_FREQS, b->err);
    if (rc == 0)
        rc = check_rope_factors(w, WEIGHT_ROPE_LONG, b->err);
    return rc < 0 ? rc : check_rope_factors(w, WEIGHT_ROPE_SHORT, b->err);
}

struct layer_name {
    char text[64];
};

static struct layer_name layer_name(uint32_t layer, const char *name)
{
    struct layer_name n;

    snprintf(n.text, sizeof(n.text), "blk.%" PRIu32 ".%s", layer, name);
    return n;
}

static const struct tensor **slot_of(const struct weights *w, uint32_t layer, enum weight_role role)
{
    return &w->layers[layer * WEIGHT_LAYER_ROLES + (unsigned)(role - WEIGHT_MODEL_COUNT)];
}

/* The parts of a fused tensor become views of its rows. */
static int bind_views(const struct weights *w, const struct binder *b, uint32_t layer,
                      const struct fused *set, const struct tensor *whole)
{
    struct tensor *views = arena_array(b->arena, struct tensor, set->count);
    size_t from = 0;

    if (!views)
        return fail(b->err, LLMOS_ENOMEM, "no memory for the parts of '%s'", set->name);
    for (unsigned i = 0; i < set->count; i++) {
        enum weight_role role = set->parts[i];
        size_t length = length_of(b, role),
               unit = is_vector(role) ? sizeof(float) : whole->row_bytes;

        views[i] = *whole;
        views[i].data = (const char *)whole->data + from * unit;
        views[i].shape[is_vector(role) ? 0 : 1] = length;
        if (is_vector(role))
            views[i].row_bytes = length * unit;
        *slot_of(w, layer, role) = &views[i];
        from += length;
    }
    return 0;
}

static bool is_among(uint64_t layer_roles, enum weight_role role)
{
    return layer_roles >> (role - WEIGHT_MODEL_COUNT) & 1;
}

static bool has_role(const struct binder *b, enum weight_role role)
{
    return is_among(b->needs.layer | b->may.layer, role);
}

/* Where the file lacks the first part under its own name and has the whole. */
static int bind_fused(const struct weights *w, const struct binder *b, uint32_t layer,
                      const struct fused *set)
{
    const struct gguf_tensor *t = gguf_find_tensor(b->g, layer_name(layer, set->name).text);
    struct layer_name first = layer_name(layer, roles[set->parts[0]].name);
    size_t length = 0;
    int rc;

    if (!t || !has_role(b, set->parts[0]) || gguf_find_tensor(b->g, first.text))
        return 0;
    for (unsigned i = 0; i < set->count; i++)
        length += length_of(b, set->parts[i]);
    if (t->t.shape[is_vector(set->parts[0]) ? 0 : 1] != length &&
        strcmp(set->name, roles[set->parts[1]].name) == 0)
        return 0; /* it is the second part, and the first one is missing */
    rc = check(b, t, set->parts[0], length);
    return rc < 0 ? rc : bind_views(w, b, layer, set, &t->t);
}

/* Optional tensors are in all layers or in none: the first one decides; or the second one, where
 * the first may lack them. */
static int bind_layer_role(const struct weights *w, const struct binder *b, uint32_t layer,
                           enum weight_role role)
{
    struct layer_name name = layer_name(layer, roles[role].name);
    const struct tensor **slot = slot_of(w, layer, role);
    uint32_t first = b->later >> (role - WEIGHT_MODEL_COUNT) & 1;
    bool needed = layer >= first && (b->needs.layer >> (role - WEIGHT_MODEL_COUNT) & 1);
    int rc = *slot ? 0 : bind_role(b, name.text, role, slot);

    if (rc == 0 && layer > first && *slot && !*slot_of(w, first, role))
        return fail(b->err, LLMOS_EFORMAT, "the file has tensor '%s', but none in layer %" PRIu32,
                    name.text, first);
    if (rc == 0 && (needed || (layer > first && *slot_of(w, first, role))))
        rc = need(b, name.text, *slot);
    return rc;
}

static int bind_layer(const struct weights *w, const struct binder *b, uint32_t layer)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < FUSED_COUNT; i++)
        rc = bind_fused(w, b, layer, &fused[i]);
    for (int role = WEIGHT_MODEL_COUNT; rc == 0 && role < WEIGHT_ROLE_COUNT; role++)
        if (has_role(b, role))
            rc = bind_layer_role(w, b, layer, role);
    return rc;
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

static bool is_known_in_layer(uint64_t known, struct str name)
{
    for (int role = WEIGHT_MODEL_COUNT; role < WEIGHT_ROLE_COUNT; role++)
        if (is_among(known, role) && str_is(name, roles[role].name))
            return true;
    for (size_t i = 0; i < FUSED_COUNT; i++)
        if (is_among(known, fused[i].parts[0]) && str_is(name, fused[i].name))
            return true;
    /* Old files repeat the rotary frequencies that follow from the header */
    return str_is(name, "attn_rot_embd.weight") || str_is(name, "rope_freqs.weight");
}

bool weights_know(const struct family *f, struct str name)
{
    return !str_starts(name, STR("blk.")) ||
           is_known_in_layer(f->needs.layer | f->may.layer | f->expert_needs, name_in_layer(name));
}

/* Outside layers: a name that other families have. */
static bool is_of_others(const struct binder *b, struct str name)
{
    uint64_t own = b->needs.model | b->may.model;

    for (int role = 0; role < WEIGHT_MODEL_COUNT; role++)
        if (str_is(name, roles[role].name))
            return (own >> role & 1) == 0;
    return false;
}

/* A tensor that we do not know (a bias, an expert) would change every result: leaving it out
 * silently would be worse than refusing. */
static int refuse_strangers(const struct binder *b)
{
    uint64_t known = b->needs.layer | b->may.layer;

    for (size_t i = 0; i < b->g->tensor_count; i++) {
        struct str name = b->g->tensors[i].name;
        bool is_in_layer = str_starts(name, STR("blk."));

        if (is_in_layer ? !is_known_in_layer(known, name_in_layer(name)) : is_of_others(b, name))
            return fail(b->err, LLMOS_EUNSUPPORTED,
                        "tensor '%.*s' has no place in architecture '%s' as this version "
                        "computes it",
                        STR_ARG(name), b->family);
    }
    return 0;
}

static void measure_sides(struct binder *b, const struct hparams *h)
{
    b->side[SIDE_1] = 1;
    b->side[SIDE_E] = h->n_embd;
    b->side[SIDE_F] = h->n_ff;
    b->side[SIDE_Q] = (size_t)h->head_dim * h->n_head;
    b->side[SIDE_K] = (size_t)h->head_dim * h->n_head_kv;
    b->side[SIDE_D] = h->head_dim;
    b->side[SIDE_V] = h->n_vocab;
    b->side[SIDE_P] = h->n_ctx_train;
    b->side[SIDE_R2] = h->rope_dims / 2;
    b->side[SIDE_S] = h->n_segments;
    b->side[SIDE_L] = h->n_labels;
    b->side[SIDE_H] = h->n_head;
    b->side[SIDE_N] = h->n_expert;
    b->side[SIDE_FX] = h->n_ff_exp;
    b->side[SIDE_FS] = h->n_ff_shared;
}

/* Experts stand where others have one feed-forward part. */
static void list_roles(struct binder *b, const struct hparams *h)
{
    const uint64_t one = UINT64_C(1);
    const uint64_t dense = one << (WEIGHT_GATE - WEIGHT_MODEL_COUNT) |
                           one << (WEIGHT_UP - WEIGHT_MODEL_COUNT) |
                           one << (WEIGHT_DOWN - WEIGHT_MODEL_COUNT);

    b->needs = h->family->needs;
    b->may = h->family->may;
    b->later = h->family->later;
    if (h->n_expert)
        b->needs.layer = (b->needs.layer & ~dense) | h->family->expert_needs;
}

int weights_bind(struct weights *w, const struct gguf *g, const struct hparams *h,
                 struct arena *arena, struct llmos_error *err)
{
    struct weights bound = {0};
    struct binder b = {.g = g, .family = h->family->name, .arena = arena, .err = err};
    int rc;

    measure_sides(&b, h);
    list_roles(&b, h);
    if (h->n_layer > g->tensor_count) /* before a table is made for them */
        return fail(err, LLMOS_EFORMAT, "%" PRIu32 " layers are promised, the file has %zu tensors",
                    h->n_layer, g->tensor_count);
    bound.layers =
        arena_array(arena, const struct tensor *, (size_t)h->n_layer *WEIGHT_LAYER_ROLES);
    if (!bound.layers)
        return fail(err, LLMOS_ENOMEM, "no memory for a table of %" PRIu32 " layers", h->n_layer);
    rc = bind_model(&bound, &b, h->tied_output);
    for (uint32_t l = 0; rc == 0 && l < h->n_layer; l++)
        rc = bind_layer(&bound, &b, l);
    if (rc == 0)
        rc = refuse_strangers(&b);
    if (rc == 0)
        *w = bound;
    return rc;
}
