/* SPDX-License-Identifier: Apache-2.0 */
/* weights.h - the tensors of a model by role, bound by name and checked against the
 * hyperparameters.
 *
 * After weights_bind every non-NULL tensor has exactly the shape its role demands and a type we
 * compute with, so that the forward pass needs no check.  Missing tensors are errors that name
 * them, and so are unknown ones inside a layer (a bias): results without them would be wrong. Other
 * unknown tensors are ignored.  Tensors point into the file. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "model/hparams.h"

/* role, name in GGUF ("blk.N." in front for layers), shape {inner, rows}: E embd, F ff, Q head_dim
 * * n_head, K head_dim * n_head_kv, V vocab; 1 = a vector */
#define WEIGHTS_MODEL(X)                                                  \
    X(EMBED, "token_embd.weight", E, V)                                   \
    X(OUTPUT_NORM, "output_norm.weight", E, 1)                            \
    X(OUTPUT, "output.weight", E, V) /* the embedding itself when tied */ \
    X(ROPE_FREQS, "rope_freqs.weight", R2,                                \
      1) /* optional: llama 3 frequency factors, rope_dims / 2 */
#define WEIGHTS_LAYER(X)                    \
    X(ATTN_NORM, "attn_norm.weight", E, 1)  \
    X(Q, "attn_q.weight", E, Q)             \
    X(K, "attn_k.weight", E, K)             \
    X(V, "attn_v.weight", E, K)             \
    X(ATTN_OUT, "attn_output.weight", Q, E) \
    X(FFN_NORM, "ffn_norm.weight", E, 1)    \
    X(GATE, "ffn_gate.weight", E, F)        \
    X(UP, "ffn_up.weight", E, F)            \
    X(DOWN, "ffn_down.weight", F, E)

enum weight_role {
#define WEIGHT_ENUM(role, name, inner, rows) WEIGHT_##role,
    WEIGHTS_MODEL(WEIGHT_ENUM) WEIGHT_MODEL_COUNT,
    WEIGHT_LAYER_FIRST = WEIGHT_MODEL_COUNT - 1,
    WEIGHTS_LAYER(WEIGHT_ENUM) WEIGHT_ROLE_COUNT
#undef WEIGHT_ENUM
};
#define WEIGHT_LAYER_ROLES (WEIGHT_ROLE_COUNT - WEIGHT_MODEL_COUNT)

struct weights {
    const struct tensor *model[WEIGHT_MODEL_COUNT];
    /* layers[l * WEIGHT_LAYER_ROLES + role - WEIGHT_MODEL_COUNT] */
    const struct tensor **layers;
};

static inline const struct tensor *weights_get(const struct weights *w, uint32_t layer,
                                               enum weight_role role)
{
    return role < WEIGHT_MODEL_COUNT
               ? w->model[role]
               : w->layers[layer * WEIGHT_LAYER_ROLES + (role - WEIGHT_MODEL_COUNT)];
}

/* Tables go to the arena. Norm vectors must be f32 (every writer makes them so). */
int weights_bind(struct weights *w, const struct gguf *g, const struct hparams *h,
                 struct arena *arena, struct llmos_error *err);

#endif
