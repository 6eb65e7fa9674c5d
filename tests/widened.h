/* SPDX-License-Identifier: Apache-2.0 */
/* widened.h - a model of tests/data made larger: its keys and its kinds of tensors, 256 wide or
 * more, so that rows fit every number type.
 *
 * Matrices are random and as large as the model's own would be; vectors are the model's, repeated.
 * Everything is f32.  Include it after reference.h. */
#ifndef TESTS_WIDENED_H
#define TESTS_WIDENED_H

#include "base/rng.h"
#include "model/ggufwrite.h"

#include <math.h>
#include <sys/mman.h>

#define WIDENED_WIDTH  256
#define WIDENED_HIDDEN 512
#define WIDENED_CHUNK  4096
#define WIDENED_SEED   11

struct widening {
    const struct gguf *g;
    struct hparams from, to;
    struct ggufwrite w;
};

static inline struct hparams widened_hparams(const struct hparams *from, uint32_t hidden)
{
    struct hparams h = *from;

    for (h.n_embd = WIDENED_WIDTH; h.n_embd % h.n_head != 0;)
        h.n_embd += WIDENED_WIDTH;
    h.n_ff = hidden;
    h.n_ff_exp = h.n_ff_exp ? hidden : 0;
    h.n_ff_shared = h.n_ff_shared ? hidden : 0;
    h.head_dim = h.n_embd / h.n_head;
    h.rope_dims = h.rope_dims ? h.head_dim : 0;
    return h;
}

/* --- keys --- */

static inline void widened_key(struct widening *x, const struct gguf_value *v)
{
    const struct {
        const char *ending;
        uint32_t value;
    } sizes[] = {
        {".embedding_length", x->to.n_embd},        {"feed_forward_length", x->to.n_ff},
        {".attention.key_length", x->to.head_dim},  {".attention.value_length", x->to.head_dim},
        {".rope.dimension_count", x->to.rope_dims},
    };
    struct gguf_value other = *v;

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t n = strlen(sizes[i].ending);

        if (v->key.len > n && memcmp(v->key.at + v->key.len - n, sizes[i].ending, n) == 0)
            other.u = sizes[i].value;
    }
    ggufwrite_value(&x->w, &other);
}

/* --- shapes --- */

/* A side of a tensor by its letters in weights.h. */
static inline size_t widened_side(const struct hparams *h, const char *letters)
{
    const size_t k = (size_t)h->head_dim * h->n_head_kv, q = (size_t)h->head_dim * h->n_head;
    const struct {
        const char *letters;
        size_t side;
    } sides[] = {
        {"1", 1},
        {"E", h->n_embd},
        {"F", h->n_ff},
        {"Q", q},
        {"K", k},
        {"D", h->head_dim},
        {"H", h->n_head},
        {"V", h->n_vocab},
        {"P", h->n_ctx_train},
        {"R2", h->rope_dims / 2},
        {"S", h->n_segments},
        {"L", h->n_labels},
        {"N", h->n_expert},
        {"FX", h->n_ff_exp},
        {"FS", h->n_ff_shared},
        {"Q K V", q + 2 * k},
        {"F F", 2 * (size_t)h->n_ff},
    };

    for (size_t i = 0; i < sizeof(sides) / sizeof(sides[0]); i++)
        if (strcmp(sides[i].letters, letters) == 0)
            return sides[i].side;
    TEST_FAIL("weights.h has a side %s", letters);
    return 0;
}

/* The shape that a tensor of this name and shape has in the larger model. */
static inline void widened_shape(const struct widening *x, const struct gguf_tensor *t,
                                 uint64_t shape[TENSOR_DIMS_MAX])
{
    static const struct {
        const char *name, *inner, *rows;
    } roles[] = {
#define ROLE(role, name, inner, rows) {name, #inner, #rows},
        WEIGHTS_MODEL(ROLE) WEIGHTS_LAYER(ROLE)
#undef ROLE
            {"attn_qkv.weight", "E", "Q K V"},
        {"attn_qkv.bias", "Q K V", "1"},
        {"ffn_up.weight", "E", "F F"},
        {"ffn_up.bias", "F F", "1"},
    };
    struct str name = t->name;

    if (str_starts(name, STR("blk."))) {
        const char *dot = memchr(name.at + 4, '.', name.len - 4);

        name = (struct str){dot + 1, name.len - (size_t)(dot + 1 - name.at)};
    }
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        if (!str_is(name, roles[i].name) ||
            widened_side(&x->from, roles[i].inner) != t->t.shape[0] ||
            widened_side(&x->from, roles[i].rows) != t->t.shape[1])
            continue;
        shape[0] = widened_side(&x->to, roles[i].inner);
        shape[1] = widened_side(&x->to, roles[i].rows);
        shape[2] = t->t.shape[2];
        shape[3] = t->t.shape[3];
        return;
    }
    TEST_FAIL("tensor '%.*s' has no role of this shape", STR_ARG(t->name));
}

/* --- values --- */

static inline float *widened_values(const struct gguf_tensor *t, size_t *count)
{
    size_t n = 1;
    float *x;

    for (unsigned d = 0; d < TENSOR_DIMS_MAX; d++)
        n *= t->t.shape[d];
    x = malloc(n * sizeof(*x));
    CHECK(x);
    dtype_info(t->t.type)->to_f32(t->t.data, x, n);
    *count = n;
    return x;
}

/* Sums of as many products as a row has stay as large as they were; rows that are looked up have
 * numbers as large as before. */
static inline double widened_gain(const struct gguf_tensor *t, const float *x, size_t n,
                                  const uint64_t *shape)
{
    bool is_looked_up = str_is(t->name, "token_embd.weight") ||
                        str_is(t->name, "position_embd.weight") ||
                        str_is(t->name, "token_types.weight");
    double squares = 0;

    for (size_t i = 0; i < n; i++)
        squares += (double)x[i] * (double)x[i];
    return sqrt(squares / (double)n *
                (is_looked_up ? 1 : (double)t->t.shape[0] / (double)shape[0]));
}

static inline void widened_tensor(struct widening *x, const struct gguf_tensor *t,
                                  struct rng *random)
{
    uint64_t shape[TENSOR_DIMS_MAX], total;
    bool is_vector = t->t.shape[1] == 1;
    float chunk[WIDENED_CHUNK], *old;
    double gain;
    size_t n;

    widened_shape(x, t, shape);
    total = shape[0] * shape[1] * shape[2];
    old = widened_values(t, &n);
    gain = widened_gain(t, old, n, shape);
    for (uint64_t at = 0; at < total;) {
        size_t part = total - at < WIDENED_CHUNK ? (size_t)(total - at) : WIDENED_CHUNK;

        for (size_t i = 0; i < part; i++)
            chunk[i] = is_vector ? old[(at + i) % n] : (float)(gain * rng_normal(random));
        CHECK_INT(ggufwrite_values(&x->w, chunk, part, NULL), 0);
        at += part;
    }
    free(old);
}

/* --- the file --- */

static inline bool widened_counts(const struct gguf_tensor *t)
{
    return !str_starts(t->name, STR("reference."));
}

static inline void widened_declare(struct widening *x)
{
    for (size_t i = 0; i < x->g->value_count; i++)
        widened_key(x, &x->g->values[i]);
    for (size_t i = 0; i < x->g->tensor_count; i++) {
        const struct gguf_tensor *t = &x->g->tensors[i];
        uint64_t shape[TENSOR_DIMS_MAX];
        char name[64];

        if (!widened_counts(t))
            continue;
        widened_shape(x, t, shape);
        snprintf(name, sizeof(name), "%.*s", STR_ARG(t->name));
        ggufwrite_tensor(&x->w, name, DTYPE_F32, shape, t->t.n_dims);
    }
}

/* fd: a model of tests/data, which stays open.  hidden: a multiple of 256. */
static inline int widened_file(int fd, uint32_t hidden)
{
    int out = memfd_create("widened", MFD_CLOEXEC);
    struct llmos_error err = {0};
    struct llmos_model m;
    struct widening x;
    struct rng random;

    if (reference_open_model(&m, fd, false, &err) < 0)
        TEST_FAIL("%s", err.text);
    x.g = &m.gguf;
    x.from = m.hparams;
    x.to = widened_hparams(&m.hparams, hidden);
    rng_seed(&random, WIDENED_SEED);
    ggufwrite_init(&x.w, out);
    widened_declare(&x);
    CHECK_INT(ggufwrite_begin(&x.w, &err), 0);
    for (size_t i = 0; i < x.g->tensor_count; i++)
        if (widened_counts(&x.g->tensors[i]))
            widened_tensor(&x, &x.g->tensors[i], &random);
    CHECK_INT(ggufwrite_end(&x.w, &err), 0);
    ggufwrite_fini(&x.w);
    reference_close_model(&m);
    return out;
}

#endif
