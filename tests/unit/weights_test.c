/* SPDX-License-Identifier: Apache-2.0 */
/* weights_test.c - every role gets its own tensor, of the right shape and type, or a sentence. */
#include "test.h"

#include "model/weights.h"
#include "modelfile.h"

enum { E = 8, F = 12, Q = 8, K = 4, V = 5, R2 = 2, LAYERS = 2 };

struct made {
    char name[64];
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

static size_t list(struct made *tensors)
{
    size_t n = 0;

#define ADD_MODEL(role, text, side, number)                         \
    snprintf(tensors[n].name, sizeof(tensors[n].name), "%s", text); \
    tensors[n].inner = side;                                        \
    tensors[n++].rows = number;
#define ADD_LAYER(role, text, side, number)                                       \
    snprintf(tensors[n].name, sizeof(tensors[n].name), "blk.%d.%s", layer, text); \
    tensors[n].inner = side;                                                      \
    tensors[n++].rows = number;
    WEIGHTS_MODEL(ADD_MODEL)
    for (int layer = 0; layer < LAYERS; layer++) {
        WEIGHTS_LAYER(ADD_LAYER)
    }
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
    struct hparams h = {.n_layer = LAYERS,
                        .n_embd = E,
                        .n_ff = F,
                        .n_head = 2,
                        .n_head_kv = 1,
                        .head_dim = 4,
                        .rope_dims = 4,
                        .n_vocab = V,
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
    for (int role = 0; role < WEIGHT_ROLE_COUNT; role++)
        for (int layer = 0; layer < LAYERS; layer++) {
            const struct tensor *t = weights_get(w, (uint32_t)layer, role);
            int number = role < WEIGHT_MODEL_COUNT ? role : role + layer * WEIGHT_LAYER_ROLES;

            CHECK(t);
            CHECK_INT(*(const float *)t->data, number + 1);
        }
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
