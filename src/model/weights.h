/* SPDX-License-Identifier: Apache-2.0 */
/* weights.h - the tensors of a model by role, bound by name and checked against the
 * hyperparameters.
 *
 * After weights_bind every non-NULL tensor has exactly the shape its role demands and a type we
 * compute with, and every tensor that the family needs is there, so that the forward pass needs no
 * check but whether an optional one is NULL: it is so in all layers or in none.  Missing tensors
 * are errors that name them, and so are those that a family has no place for (a bias): results
 * without them would be wrong.  Tensors whose names mean nothing to us are ignored outside layers.
 *
 * Tensors point into the file.  Where a file keeps several matrices as one, roles are views of its
 * rows. */
#ifndef MODEL_WEIGHTS_H
#define MODEL_WEIGHTS_H

#include "model/hparams.h"

/* role, name in GGUF ("blk.N." in front for layers), shape {inner, rows}: E embd, F ff, Q head_dim
 * * n_head, K head_dim * n_head_kv, D head_dim, H n_head, V vocab, P trained context, R2 rope_dims
 * / 2, S segments, L labels, N n_expert, FX ff of an expert, FS ff of what all rows share beside
 * them; 1 = a vector. EXP_* matrices are as many as there are experts, one behind the other. */
#define WEIGHTS_MODEL(X)                                                           \
    X(EMBED, "token_embd.weight", E, V)                                            \
    X(OUTPUT_NORM, "output_norm.weight", E, 1)                                     \
    X(OUTPUT, "output.weight", E, V)          /* the embedding itself when tied */ \
    X(ROPE_FREQS, "rope_freqs.weight", R2, 1) /* llama 3 divides by these */       \
    X(ROPE_LONG, "rope_factors_long.weight", R2, 1)                                \
    X(ROPE_SHORT, "rope_factors_short.weight", R2, 1)                              \
    X(POSITIONS, "position_embd.weight", E, P)                                     \
    X(OUTPUT_NORM_BIAS, "output_norm.bias", E, 1)                                  \
    X(OUTPUT_BIAS, "output.bias", V, 1)                                            \
    X(SEGMENTS, "token_types.weight", E, S)                                        \
    X(EMBED_NORM, "token_embd_norm.weight", E, 1)                                  \
    X(EMBED_NORM_BIAS, "token_embd_norm.bias", E, 1)                               \
    X(CLS, "cls.weight", E, E)                                                     \
    X(CLS_BIAS, "cls.bias", E, 1)                                                  \
    X(CLS_NORM, "cls.norm.weight", E, 1)                                           \
    X(CLS_NORM_BIAS, "cls.norm.bias", E, 1)                                        \
    X(CLS_OUT, "cls.output.weight", E, L)                                          \
    X(CLS_OUT_BIAS, "cls.output.bias", L, 1)
#define WEIGHTS_LAYER(X)                                  \
    X(ATTN_NORM, "attn_norm.weight", E, 1)                \
    X(Q, "attn_q.weight", E, Q)                           \
    X(K, "attn_k.weight", E, K)                           \
    X(V, "attn_v.weight", E, K)                           \
    X(ATTN_OUT, "attn_output.weight", Q, E)               \
    X(FFN_NORM, "ffn_norm.weight", E, 1)                  \
    X(GATE, "ffn_gate.weight", E, F)                      \
    X(UP, "ffn_up.weight", E, F)                          \
    X(DOWN, "ffn_down.weight", F, E)                      \
    X(ATTN_NORM_BIAS, "attn_norm.bias", E, 1)             \
    X(Q_BIAS, "attn_q.bias", Q, 1)                        \
    X(K_BIAS, "attn_k.bias", K, 1)                        \
    X(V_BIAS, "attn_v.bias", K, 1)                        \
    X(Q_NORM, "attn_q_norm.weight", D, 1)                 \
    X(K_NORM, "attn_k_norm.weight", D, 1)                 \
    X(Q_NORM_ALL, "attn_q_norm.weight", Q, 1)             \
    X(K_NORM_ALL, "attn_k_norm.weight", K, 1)             \
    X(ATTN_OUT_BIAS, "attn_output.bias", E, 1)            \
    X(ATTN_POST_NORM, "post_attention_norm.weight", E, 1) \
    X(FFN_NORM_BIAS, "ffn_norm.bias", E, 1)               \
    X(GATE_BIAS, "ffn_gate.bias", F, 1)                   \
    X(UP_BIAS, "ffn_up.bias", F, 1)                       \
    X(DOWN_BIAS, "ffn_down.bias", E, 1)                   \
    X(FFN_POST_NORM, "post_ffw_norm.weight", E, 1)        \
    X(ATTN_OUT_NORM, "attn_output_norm.weight", E, 1)     \
    X(ATTN_OUT_NORM_BIAS, "attn_output_norm.bias", E, 1)  \
    X(LAYER_NORM, "layer_output_norm.weight", E, 1)       \
    X(LAYER_NORM_BIAS, "layer_output_norm.bias", E, 1)    \
    X(SINKS, "attn_sinks.weight", H, 1)                   \
    X(ROUTER, "ffn_gate_inp.weight", E, N)                \
    X(ROUTER_BIAS, "ffn_gate_inp.bias", N, 1)             \
    X(EXP_GATE, "ffn_gate_exps.weight", E, FX)            \
    X(EXP_UP, "ffn_up_exps.weight", E, FX)                \
    X(EXP_DOWN, "ffn_down_exps.weight", FX, E)            \
    X(EXP_GATE_BIAS, "ffn_gate_exps.bias", FX, N)         \
    X(EXP_UP_BIAS, "ffn_up_exps.bias", FX, N)             \
    X(EXP_DOWN_BIAS, "ffn_down_exps.bias", E, N)          \
    X(SHARED_ROUTER, "ffn_gate_inp_shexp.weight", E, 1)   \
    X(SHARED_GATE, "ffn_gate_shexp.weight", E, FS)        \
    X(SHARED_UP, "ffn_up_shexp.weight", E, FS)            \
    X(SHARED_DOWN, "ffn_down_shexp.weight", FS, E)

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

/* Tables go to the arena.  Vectors must be f32 (every writer makes them so).  LLMOS_EFORMAT: a
 * tensor is missing or has the wrong shape; LLMOS_EUNSUPPORTED: it has no place or another type. */
int weights_bind(struct weights *w, const struct gguf *g, const struct hparams *h,
                 struct arena *arena, struct llmos_error *err);

/* Whether files of the family have a place for that tensor in a layer ("blk.0.attn_q.bias"); true
 * of what is in none. */
bool weights_know(const struct family *f, struct str name);

#endif
