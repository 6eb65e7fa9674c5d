/* SPDX-License-Identifier: Apache-2.0 */
/* tiny_llama.h - a llama with random weights, made in memory: for tests that need a model and no
 * file. */
#ifndef TESTS_TINY_LLAMA_H
#define TESTS_TINY_LLAMA_H

#include "base/mem.h"
#include "base/rng.h"
#include "model/loaded.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct tiny_llama {
    struct llmos_model model;
    struct tensor tensors[WEIGHT_MODEL_COUNT + 16 * WEIGHT_LAYER_ROLES];
    const struct tensor *layers[16 * WEIGHT_LAYER_ROLES];
    size_t tensor_count;
};

static const struct hparams tiny_hparams = {
    .architecture = "llama",
    .n_layer = 3,
    .n_embd = 64,
    .n_ff = 160,
    .n_head = 4,
    .n_head_kv = 2,
    .n_vocab = 101,
    .n_ctx_train = 256,
    .head_dim = 16,
    .rope_dims = 16,
    .rms_eps = 1e-5f,
    .rope_base = 10000,
    .rope_factor = 1,
    .rope_ctx_orig = 256,
    .yarn_ext = 1,
    .yarn_attn = 1,
    .yarn_beta_fast = 32,
    .yarn_beta_slow = 1,
};

static const struct tensor *tiny_tensor(struct tiny_llama *t, struct rng *rng, enum dtype type,
                                        size_t inner, size_t rows, double scale, double middle)
{
    struct tensor *w = &t->tensors[t->tensor_count++];
    float *row = calloc(inner, sizeof(*row));
    char *data;

    *w = (struct tensor){.type = type,
                         .n_dims = rows == 1 ? 1 : 2,
                         .shape = {inner, rows, 1, 1},
                         .row_bytes = dtype_row_bytes(type, inner)};
    data = aligned_alloc(64, (w->row_bytes * rows + 63) / 64 * 64);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < inner; i++)
            row[i] = (float)(middle + scale * rng_normal(rng));
        dtype_info(type)->from_f32(row, NULL, data + r * w->row_bytes, inner);
    }
    w->data = data;
    free(row);
    return w;
}

/* The matrices are of `type`; h->tied_output decides whether there is an output matrix;
 * rope_factors, rope_dims / 2 of them, may be NULL. */
static void tiny_llama_init(struct tiny_llama *t, const struct hparams *h, enum dtype type,
                            const float *rope_factors, uint64_t seed)
{
    size_t e = h->n_embd, q = (size_t)h->n_head * h->head_dim;
    size_t k = (size_t)h->n_head_kv * h->head_dim;
    double by_e = 1.5 / sqrt((double)e), by_q = 1 / sqrt((double)q), by_f = 1 / sqrt(h->n_ff);
    struct weights *w = &t->model.weights;
    struct rng rng;

    memset(t, 0, sizeof(*t));
    rng_seed(&rng, seed);
    t->model.hparams = *h;
    w->layers = t->layers;
    w->model[WEIGHT_EMBED] = tiny_tensor(t, &rng, type, e, h->n_vocab, 1, 0);
    w->model[WEIGHT_OUTPUT_NORM] = tiny_tensor(t, &rng, DTYPE_F32, e, 1, 0.2, 1);
    w->model[WEIGHT_OUTPUT] = h->tied_output ? w->model[WEIGHT_EMBED]
                                             : tiny_tensor(t, &rng, type, e, h->n_vocab, by_e, 0);
    if (rope_factors) {
        w->model[WEIGHT_ROPE_FREQS] = tiny_tensor(t, &rng, DTYPE_F32, h->rope_dims / 2, 1, 0, 1);
        memcpy((void *)(uintptr_t)w->model[WEIGHT_ROPE_FREQS]->data, rope_factors,
               h->rope_dims / 2 * sizeof(float));
    }
    for (uint32_t l = 0; l < h->n_layer; l++) {
        const struct tensor **at = &t->layers[l * WEIGHT_LAYER_ROLES];

#define TINY(role, wtype, inner, rows, scale, middle) \
    at[WEIGHT_##role - WEIGHT_MODEL_COUNT] = tiny_tensor(t, &rng, wtype, inner, rows, scale, middle)
        TINY(ATTN_NORM, DTYPE_F32, e, 1, 0.2, 1);
        TINY(Q, type, e, q, by_e, 0);
        TINY(K, type, e, k, by_e, 0);
        TINY(V, type, e, k, by_e, 0);
        TINY(ATTN_OUT, type, q, e, by_q, 0);
        TINY(FFN_NORM, DTYPE_F32, e, 1, 0.2, 1);
        TINY(GATE, type, e, h->n_ff, by_e, 0);
        TINY(UP, type, e, h->n_ff, by_e, 0);
        TINY(DOWN, type, h->n_ff, e, by_f, 0);
#undef TINY
    }
}

static void tiny_llama_fini(struct tiny_llama *t)
{
    for (size_t i = 0; i < t->tensor_count; i++)
        free((void *)(uintptr_t)t->tensors[i].data);
}

#endif
