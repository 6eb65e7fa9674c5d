/* SPDX-License-Identifier: Apache-2.0 */
/* hparams.h - what an architecture needs to know about a model: one struct, whatever the file
 * format.
 *
 * Everything is checked on reading: positive, below its maximum, divisible where it must be, so
 * that code behind it may multiply without fear.  Maxima are far above every published model. */
#ifndef MODEL_HPARAMS_H
#define MODEL_HPARAMS_H

#include "model/gguf.h"

#define HPARAMS_LAYERS_MAX   1024
#define HPARAMS_WIDTH_MAX    (1 << 17)
#define HPARAMS_FF_MAX       (1 << 20)
#define HPARAMS_HEADS_MAX    1024
#define HPARAMS_HEAD_DIM_MAX 1024
#define HPARAMS_VOCAB_MAX    (1 << 22)
#define HPARAMS_CONTEXT_MAX  (1 << 27)

enum rope_scaling { ROPE_NONE, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3 };

struct hparams {
    char architecture[32]; /* "llama" */
    char name[128];        /* general.name, cleaned; "" if absent */
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, n_vocab;
    uint32_t n_ctx_train;
    uint32_t head_dim;  /* of keys and queries; values have the same */
    uint32_t rope_dims; /* even, <= head_dim */
    float rms_eps;
    float rope_base; /* "theta", usually 10000 */
    enum rope_scaling rope_scaling;
    float rope_factor;      /* positions are divided by it (linear, yarn) */
    uint32_t rope_ctx_orig; /* yarn: context before scaling */
    float yarn_ext, yarn_attn, yarn_beta_fast, yarn_beta_slow;
    bool tied_output; /* no output.weight: the embedding is used */
    uint64_t parameter_count;
    char file_type[16]; /* most frequent tensor type by bytes: "q8_0" */
};

/* Keys and values of one token in all layers, in f16.  The maxima above keep it below 2^32. */
static inline uint64_t hparams_kv_bytes(const struct hparams *h)
{
    return (uint64_t)h->n_layer * 2 * h->n_head_kv * h->head_dim * 2;
}

int hparams_read(struct hparams *h, const struct gguf *g, struct llmos_error *err);

#endif
