/* SPDX-License-Identifier: Apache-2.0 */
/* hparams.h - what an architecture needs to know about a model: one struct, whatever the file
 * format.
 *
 * Everything is checked on reading: positive, below its maximum, divisible where it must be, so
 * that code behind it may multiply without fear.  Maxima are far above every published model. */
#ifndef MODEL_HPARAMS_H
#define MODEL_HPARAMS_H

#include "model/family.h"
#include "model/gguf.h"

#define HPARAMS_LAYERS_MAX   1024
#define HPARAMS_WIDTH_MAX    (1 << 17)
#define HPARAMS_FF_MAX       (1 << 20)
#define HPARAMS_HEADS_MAX    1024
#define HPARAMS_HEAD_DIM_MAX 1024
#define HPARAMS_EXPERTS_MAX  1024
#define HPARAMS_USED_MAX     64 /* experts of one token */
#define HPARAMS_VOCAB_MAX    (1 << 22)
#define HPARAMS_CONTEXT_MAX  (1 << 27)
#define HPARAMS_SEGMENTS_MAX 16
#define HPARAMS_LABELS_MAX   4096

/* How the vectors of tokens become that of a text; numbers are those of llama.cpp's key. */
enum pooling { POOLING_NONE, POOLING_MEAN, POOLING_CLS, POOLING_LAST, POOLING_RANK };

enum rope_scaling { ROPE_NONE, ROPE_LINEAR, ROPE_YARN, ROPE_LLAMA3, ROPE_LONGROPE };

struct hparams {
    const struct family *family;
    char architecture[32]; /* its name: "llama" */
    char name[128];        /* general.name, cleaned; "" if absent */
    uint32_t n_layer, n_embd, n_ff, n_head, n_head_kv, n_vocab;
    uint32_t n_expert, n_expert_used; /* 0: the model has none */
    uint32_t n_ff_exp, n_ff_shared;
    bool experts_share_all; /* weights of experts are shares of all, else of those chosen */
    uint32_t n_ctx_train;
    uint32_t n_segments; /* kinds of text that tokens can be of; 0: it makes no difference */
    uint32_t n_labels;   /* of a classifier; 0: the model has none */
    /* Of texts, and of what a classifier looks at unless it looks at each token.  Never RANK: that
     * is CLS, or what the family's classifiers look at. */
    enum pooling pooling, label_pooling;
    bool labels_tokens;
    bool label_relu;    /* the dense layer of a classifier ends with relu, else as the family's */
    uint32_t head_dim;  /* of keys and queries; values have the same */
    bool rope_halves;   /* pairs (i, i + dims / 2), else (2i, 2i + 1) */
    uint32_t rope_dims; /* even, <= head_dim; 0: nothing is rotated */
    uint32_t rope_pattern; /* every n-th layer does not rotate; 0: all do */
    bool is_encoder;       /* tokens see the whole text, and vectors come out */
    enum activation activation;
    float rms_eps;   /* of RMSNorm or LayerNorm, whichever the family has */
    float rope_base; /* "theta", usually 10000 */
    enum rope_scaling rope_scaling;
    float rope_factor;      /* positions are divided by it (linear, yarn) */
    uint32_t rope_ctx_orig; /* yarn, longrope: context before scaling */
    float yarn_ext, yarn_attn, yarn_beta_fast, yarn_beta_slow;
    bool yarn_between;      /* the ramp begins and ends between pairs, else at whole ones */
    float window_rope_base; /* of layers with a window, which are not scaled; 0: as all others */
    /* Queries of layers with a window see the last `window` keys, in encoders those at most half of
     * it away; of every window_pattern layers
     * the last one has none (0: all have).  0: no layer has one. */
    uint32_t window, window_pattern;
    bool window_behind; /* the first of them, not the last */
    /* Factors, 0: none.  attn_scale: of scores, where it is not 1 / sqrt(head_dim). */
    float embedding_scale, residual_scale, attn_scale, logit_scale;
    float attn_softcap, logit_softcap; /* x becomes cap * tanh(x / cap); 0: it stays */
    bool tied_output;                  /* no output.weight: the embedding is used */
    uint64_t parameter_count;
    char file_type[16]; /* most frequent tensor type by bytes: "q8_0" */
};

/* Keys and values of one token in all layers, in f16.  The maxima above keep it below 2^32. */
static inline uint64_t hparams_kv_bytes(const struct hparams *h)
{
    return (uint64_t)h->n_layer * 2 * h->n_head_kv * h->head_dim * 2;
}

static inline bool hparams_has_window(const struct hparams *h, uint32_t layer)
{
    return h->window &&
           (!h->window_pattern || (layer + !h->window_behind) % h->window_pattern != 0);
}

/* Models with longrope turn all pairs of a sequence by other factors once it has more tokens than
 * the context before scaling. */
static inline bool hparams_is_long(const struct hparams *h, size_t tokens)
{
    return h->rope_scaling == ROPE_LONGROPE && tokens > h->rope_ctx_orig;
}

static inline bool hparams_rotates(const struct hparams *h, uint32_t layer)
{
    return !h->rope_pattern || (layer + 1) % h->rope_pattern != 0;
}

int hparams_read(struct hparams *h, const struct gguf *g, struct llmos_error *err);

#endif
