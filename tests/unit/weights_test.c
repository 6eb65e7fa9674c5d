/* SPDX-License-Identifier: Apache-2.0 */
/* weights_test.c - every role gets its own tensor, of the right shape and type, or a sentence. */
#include "test.h"

#include "model/weights.h"
#include "modelfile.h"

enum {
    E = 8,
    F = 12,
    Q = 8,
    K = 4,
    D = 4,
    H = 2,
    V = 5,
    N = 3,
    FX = 6,
    FS = 10,
    P = 16,
    R2 = 2,
    S = 2,
    L = 3,
    LAYERS = 2
};

struct made {
    char name[64];
    enum weight_role role;
    uint64_t inner, rows;
    enum dtype type;
};

/* What is wrong with one of the tensors; nothing if name is NULL. */
struct flaw {
    const char *name;
    bool missing;
    uint64_t inner, rows; /* 0: as they should be */
    enum dtype type;
    float value; /* of every element; 0: 1 */
};

/* What every llama has, an output matrix, and frequency factors. */
static bool is_listed(enum weight_role role)
{
    const struct family *llama = family_by_name(STR("llama"));

    if (role < WEIGHT_MODEL_COUNT)
        return role == WEIGHT_OUTPUT || role == WEIGHT_ROPE_FREQS ||
               (llama->needs.model >> role & 1) != 0;
    return (llama->needs.layer >> (role - WEIGHT_MODEL_COUNT) & 1) != 0;
}

static size_t list(struct made *tensors)
{
    size_t n = 0;

#define ADD(which, text, side, number)                                                     \
    if (is_listed(WEIGHT_##which)) {                                                       \
        tensors[n] = (struct made){.role = WEIGHT_##which, .inner = side, .rows = number}; \
        snprintf(tensors[n++].name, sizeof(tensors[0].name), "%s%s", prefix, text);        \
    }
    char prefix[16] = "";

    WEIGHTS_MODEL(ADD)
    for (int layer = 0; layer < LAYERS; layer++) {
        snprintf(prefix, sizeof(prefix), "blk.%d.", layer);
        WEIGHTS_LAYER(ADD)
    }
#undef ADD
    return n;
}

static unsigned char *model(const struct flaw *flaw, size_t *n)
{
    struct made tensors[64] = {0};
    size_t count = list(tensors), kept = 0;
    struct ggufwrite w;
    float x[128];
    int fd = modelfile_fd("", 0);

    ggufwrite_init(&w, fd);
    for (size_t i = 0; i < count; i++) {
        struct made t = tensors[i];
        bool is_flawed = flaw->name && strcmp(flaw->name, t.name) == 0;

        if (is_flawed && flaw->missing)
            continue;
        if (is_flawed) {
            t.inner = flaw->inner ? flaw->inner : t.inner;
            t.rows = flaw->rows ? flaw->rows : t.rows;
            t.type = flaw->type;
        }
        tensors[kept++] = t;
        ggufwrite_tensor(&w, t.name, t.type, (uint64_t[]){t.inner, t.rows}, t.rows > 1 ? 2 : 1);
    }
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    for (size_t i = 0; i < kept; i++) {
        bool is_flawed = flaw->name && strcmp(flaw->name, tensors[i].name) == 0;

        /* The number of the tensor is its content, but for the frequency factors. */
        for (size_t k = 0; k < 128; k++)
            x[k] = is_flawed && flaw->value != 0 ? flaw->value : (float)(i + 1);
        CHECK_INT(ggufwrite_values(&w, x, tensors[i].inner * tensors[i].rows, NULL), 0);
    }
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    return modelfile_bytes(fd, n);
}

/* Binds a model with this flaw; `look`, if any, looks at what was bound. */
static int bind_flawed(const struct flaw *flaw, bool tied, struct llmos_error *err,
                       void (*look)(const struct weights *w))
{
    struct hparams h = {.family = family_by_name(STR("llama")),
                        .n_layer = LAYERS,
                        .n_embd = E,
                        .n_ff = F,
                        .n_head = 2,
                        .n_head_kv = 1,
                        .head_dim = 4,
                        .rope_dims = 4,
                        .n_vocab = V,
                        .n_ctx_train = P,
                        .tied_output = tied};
    struct weights w;
    struct arena arena;
    struct gguf g;
    size_t n;
    unsigned char *bytes = model(flaw, &n);
    int rc;

    CHECK_INT(gguf_parse(&g, bytes, n, NULL), 0);
    arena_init(&arena, 65536);
    rc = weights_bind(&w, &g, &h, &arena, err);
    if (rc == 0 && look)
        look(&w);
    arena_fini(&arena);
    gguf_fini(&g);
    free(bytes);
    return rc;
}

static void look_at_each(const struct weights *w)
{
    struct made tensors[64] = {0};
    size_t count = list(tensors), in_layer = 0, of_model = 0;

    while (tensors[of_model].role < WEIGHT_MODEL_COUNT)
        of_model++;
    in_layer = (count - of_model) / LAYERS;
    for (size_t i = 0; i < count; i++) {
        size_t layer = i < of_model ? 0 : (i - of_model) / in_layer;
        const struct tensor *t = weights_get(w, (uint32_t)layer, tensors[i].role);

        CHECK(t);
        CHECK_INT(*(const float *)t->data, i + 1);
    }
    CHECK(!weights_get(w, 0, WEIGHT_Q_BIAS));
    CHECK_INT(weights_get(w, 1, WEIGHT_DOWN)->shape[0], F);
    CHECK_INT(weights_get(w, 1, WEIGHT_K)->shape[1], K);
}

TEST(weights_give_each_role_its_tensor)
{
    CHECK_INT(bind_flawed(&(struct flaw){0}, false, NULL, look_at_each), 0);
}

static void look_tied(const struct weights *w)
{
    CHECK(w->model[WEIGHT_OUTPUT] == w->model[WEIGHT_EMBED]);
    CHECK(!w->model[WEIGHT_ROPE_FREQS]);
}

TEST(weights_use_the_embedding_for_the_output_when_tied)
{
    struct flaw no_factors = {"rope_freqs.weight", .missing = true};

    CHECK_INT(bind_flawed(&no_factors, true, NULL, look_tied), 0);
}

TEST(weights_name_each_tensor_that_is_missing_or_has_another_shape)
{
    struct made tensors[64] = {0};
    size_t count = list(tensors);

    for (size_t i = 0; i < count; i++) {
        struct flaw missing = {tensors[i].name, .missing = true};
        struct flaw wide = {tensors[i].name, .inner = tensors[i].inner + 2};
        struct flaw tall = {tensors[i].name, .rows = tensors[i].rows + 1};
        struct llmos_error err = {0};

        if (strcmp(tensors[i].name, "rope_freqs.weight") != 0) {
            CHECK_INT(bind_flawed(&missing, false, &err, NULL), LLMOS_EFORMAT);
            CHECK_CONTAINS(err.text, "the file lacks tensor '");
            CHECK_CONTAINS(err.text, tensors[i].name);
        }
        CHECK_INT(bind_flawed(&wide, false, &err, NULL), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, tensors[i].name);
        CHECK_CONTAINS(err.text, " is needed");
        CHECK_INT(bind_flawed(&tall, false, &err, NULL), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, tensors[i].name);
    }
}

TEST(weights_of_norms_must_be_f32)
{
    struct flaw half = {"blk.1.ffn_norm.weight", .type = DTYPE_F16};
    struct llmos_error err = {0};

    CHECK_INT(bind_flawed(&half, false, &err, NULL), LLMOS_EUNSUPPORTED);
    CHECK_STR(err.text, "tensor 'blk.1.ffn_norm.weight' has type f16, f32 is needed");
    half.name = "blk.1.ffn_up.weight";
    CHECK_INT(bind_flawed(&half, false, &err, NULL), 0);
}

TEST(weights_refuse_frequency_factors_that_cannot_divide)
{
    static const float bad[] = {-1, NAN, INFINITY};

    for (size_t i = 0; i < 3; i++) {
        struct flaw flaw = {"rope_freqs.weight", .value = bad[i]};
        struct llmos_error err = {0};

        CHECK_INT(bind_flawed(&flaw, false, &err, NULL), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, "positive numbers are needed");
    }
}

/* Further tensors than those of every llama, bound as the family says. */
struct further {
    const char *name;
    uint64_t shape[2];
    unsigned n_dims;
};

static int bind_further(const char *family, const char *without, const struct further *more,
                        size_t count, struct weights *w, struct arena *arena, struct gguf *g,
                        unsigned char **bytes, struct llmos_error *err)
{
    struct hparams h = {.family = family_by_name(str_of(family)),
                        .n_layer = LAYERS,
                        .n_embd = E,
                        .n_ff = F,
                        .n_head = 2,
                        .n_head_kv = 1,
                        .head_dim = 4,
                        .rope_dims = 4,
                        .n_vocab = V,
                        .n_ctx_train = P};
    struct made tensors[64] = {0};
    size_t listed = list(tensors), n;
    struct ggufwrite writer;
    float x[256];
    int fd = modelfile_fd("", 0);

    for (size_t k = 0; k < 256; k++)
        x[k] = (float)k + 1; /* not 0: some are divided by */
    ggufwrite_init(&writer, fd);
    for (size_t i = 0; i < listed; i++)
        if (!strstr(tensors[i].name, without))
            ggufwrite_tensor(&writer, tensors[i].name, DTYPE_F32,
                             (uint64_t[]){tensors[i].inner, tensors[i].rows},
                             tensors[i].rows > 1 ? 2 : 1);
    for (size_t i = 0; i < count; i++)
        ggufwrite_tensor(&writer, more[i].name, DTYPE_F32, more[i].shape, more[i].n_dims);
    CHECK_INT(ggufwrite_begin(&writer, NULL), 0);
    for (size_t i = 0; i < listed; i++)
        if (!strstr(tensors[i].name, without))
            CHECK_INT(ggufwrite_values(&writer, x, tensors[i].inner * tensors[i].rows, NULL), 0);
    for (size_t i = 0; i < count; i++)
        CHECK_INT(ggufwrite_values(&writer, x,
                                   more[i].shape[0] * (more[i].n_dims > 1 ? more[i].shape[1] : 1),
                                   NULL),
                  0);
    CHECK_INT(ggufwrite_end(&writer, NULL), 0);
    ggufwrite_fini(&writer);
    *bytes = modelfile_bytes(fd, &n);
    CHECK_INT(gguf_parse(g, *bytes, n, NULL), 0);
    arena_init(arena, 65536);
    return weights_bind(w, g, &h, arena, err);
}

static int bind_more(const char *family, const char *without, const struct further *more,
                     size_t count, struct llmos_error *err, void (*look)(const struct weights *w))
{
    struct weights w;
    struct arena arena;
    struct gguf g;
    unsigned char *bytes;
    int rc = bind_further(family, without, more, count, &w, &arena, &g, &bytes, err);

    if (rc == 0 && look)
        look(&w);
    arena_fini(&arena);
    gguf_fini(&g);
    free(bytes);
    return rc;
}

static void look_at_views(const struct weights *w)
{
    for (uint32_t layer = 0; layer < LAYERS; layer++) {
        const struct tensor *q = weights_get(w, layer, WEIGHT_Q),
                            *k = weights_get(w, layer, WEIGHT_K);
        const struct tensor *v = weights_get(w, layer, WEIGHT_V);

        CHECK_INT(q->shape[1], Q);
        CHECK_INT(k->shape[1], K);
        CHECK_INT(*(const float *)q->data, 1);
        CHECK_INT(*(const float *)k->data, Q * E + 1);
        CHECK_INT(*(const float *)v->data, (Q + K) * E + 1);
        CHECK_INT(*(const float *)tensor_row(v, K - 1), (Q + K + K - 1) * E + 1);
    }
}

TEST(weights_that_a_file_keeps_as_one_become_views)
{
    const struct further whole[] = {{"blk.0.attn_qkv.weight", {E, Q + 2 * K}, 2},
                                    {"blk.1.attn_qkv.weight", {E, Q + 2 * K}, 2}};
    const struct further narrow[] = {{"blk.0.attn_qkv.weight", {E, Q + 2 * K}, 2},
                                     {"blk.1.attn_qkv.weight", {E, Q + K}, 2}};
    struct llmos_error err = {0};

    CHECK_INT(bind_more("llama", "attn_q.", narrow, 2, &err, NULL), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "tensor 'blk.1.attn_qkv.weight' has shape 8 x 12");
    CHECK_INT(bind_more("llama", "attn_q.", whole, 2, &err, look_at_views), 0);
}

TEST(weights_that_are_optional_are_in_all_layers_or_in_none)
{
    const struct further both[] = {{"blk.0.attn_q.bias", {Q}, 1}, {"blk.1.attn_q.bias", {Q}, 1}};
    struct llmos_error err = {0};

    CHECK_INT(bind_more("qwen2", "rope", both, 2, &err, NULL), 0);
    CHECK_INT(bind_more("qwen2", "rope", both, 1, &err, NULL), LLMOS_EFORMAT);
    CHECK_STR(err.text, "the file lacks tensor 'blk.1.attn_q.bias'");
    CHECK_INT(bind_more("qwen2", "rope", both + 1, 1, &err, NULL), LLMOS_EFORMAT);
    CHECK_STR(err.text, "the file has tensor 'blk.1.attn_q.bias', but none in layer 0");
}

TEST(weights_of_other_families_have_no_place)
{
    const struct further norm = {"blk.0.post_ffw_norm.weight", {E}, 1};
    const struct further positions = {"position_embd.weight", {E, P}, 2};
    struct llmos_error err = {0};

    CHECK_INT(bind_more("llama", "?", &norm, 1, &err, NULL), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "tensor 'blk.0.post_ffw_norm.weight' has no place in architecture");
    CHECK_INT(bind_more("llama", "?", &positions, 1, &err, NULL), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "tensor 'position_embd.weight' has no place in architecture 'llama'");
}
