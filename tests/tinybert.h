/* SPDX-License-Identifier: Apache-2.0 */
/* tinybert.h - a BERT of a few kilobytes with random weights, for tests: it spells words in
 * letters.
 *
 * Its texts have at most TINYBERT_TOKENS tokens, [CLS] and [SEP] included.  No test framework: a
 * program for shell tests uses it as well. */
#ifndef TESTS_TINYBERT_H
#define TESTS_TINYBERT_H

#include "model/ggufwrite.h"

#include <stdio.h>

#define TINYBERT_TOKENS 32
#define TINYBERT_WIDTH  16
#define TINYBERT_LABELS 3

/* What a kind of it is called, how many labels it has, and whether they are of tokens. */
static const struct tinybert_kind {
    const char *name;
    unsigned labels;
    bool labels_tokens;
} tinybert_kinds[] = {{"embed", 0, false},
                      {"classify", TINYBERT_LABELS, false},
                      {"tags", TINYBERT_LABELS, true},
                      {"rank", 1, false}};

static inline const struct tinybert_kind *tinybert_find(const char *name)
{
    for (size_t i = 0; i < sizeof(tinybert_kinds) / sizeof(tinybert_kinds[0]); i++)
        if (strcmp(tinybert_kinds[i].name, name) == 0)
            return &tinybert_kinds[i];
    return NULL;
}

static const struct tinybert_tensor {
    const char *name;     /* in a layer: behind "blk.N." */
    unsigned inner, rows; /* rows 0: a vector */
} tinybert_model[] =
    {
        {"token_embd.weight", TINYBERT_WIDTH, 58},
        {"position_embd.weight", TINYBERT_WIDTH, TINYBERT_TOKENS},
        {"token_types.weight", TINYBERT_WIDTH, 2},
        {"token_embd_norm.weight", TINYBERT_WIDTH, 0},
        {"token_embd_norm.bias", TINYBERT_WIDTH, 0},
},
  tinybert_layer[] = {
      {"attn_q.weight", TINYBERT_WIDTH, TINYBERT_WIDTH},
      {"attn_q.bias", TINYBERT_WIDTH, 0},
      {"attn_k.weight", TINYBERT_WIDTH, TINYBERT_WIDTH},
      {"attn_k.bias", TINYBERT_WIDTH, 0},
      {"attn_v.weight", TINYBERT_WIDTH, TINYBERT_WIDTH},
      {"attn_v.bias", TINYBERT_WIDTH, 0},
      {"attn_output.weight", TINYBERT_WIDTH, TINYBERT_WIDTH},
      {"attn_output.bias", TINYBERT_WIDTH, 0},
      {"attn_output_norm.weight", TINYBERT_WIDTH, 0},
      {"attn_output_norm.bias", TINYBERT_WIDTH, 0},
      {"ffn_up.weight", TINYBERT_WIDTH, 32},
      {"ffn_up.bias", 32, 0},
      {"ffn_down.weight", 32, TINYBERT_WIDTH},
      {"ffn_down.bias", TINYBERT_WIDTH, 0},
      {"layer_output_norm.weight", TINYBERT_WIDTH, 0},
      {"layer_output_norm.bias", TINYBERT_WIDTH, 0},
};
#define TINYBERT_LAYERS      2
#define TINYBERT_MODEL_COUNT (sizeof(tinybert_model) / sizeof(tinybert_model[0]))
#define TINYBERT_LAYER_COUNT (sizeof(tinybert_layer) / sizeof(tinybert_layer[0]))

/* Six marks, then letters that begin a word, then letters that go on in one. */
static inline void tinybert_vocabulary(struct ggufwrite *w)
{
    static const char *const marks[] = {"[PAD]", "[UNK]",         "[CLS]",
                                        "[SEP]", "\xe2\x96\x81.", "\xe2\x96\x81!"};
    static const unsigned kinds[] = {3, 2, 3, 3, 1, 1}; /* control, unknown, ..., normal */
    char piece[8];

    ggufwrite_str(w, "tokenizer.ggml.model", STR("bert"));
    ggufwrite_array(w, "tokenizer.ggml.tokens", GGUF_STRING, 58);
    for (unsigned i = 0; i < 58; i++) {
        if (i >= 6)
            snprintf(piece, sizeof(piece), "%s%c", i < 32 ? "\xe2\x96\x81" : "",
                     'a' + (char)((i - 6) % 26));
        ggufwrite_put_str(w, str_of(i < 6 ? marks[i] : piece));
    }
    ggufwrite_array(w, "tokenizer.ggml.token_type", GGUF_I32, 58);
    for (unsigned i = 0; i < 58; i++)
        ggufwrite_put_i32(w, i < 6 ? (int32_t)kinds[i] : 1);
    ggufwrite_u32(w, "tokenizer.ggml.unknown_token_id", 1);
    ggufwrite_u32(w, "tokenizer.ggml.cls_token_id", 2);
    ggufwrite_u32(w, "tokenizer.ggml.seperator_token_id", 3);
}

static inline void tinybert_metadata(struct ggufwrite *w, const struct tinybert_kind *kind)
{
    static const char *const labels[TINYBERT_LABELS] = {"calm", "say \"no\"", "h\xc3\xa9las"};

    ggufwrite_str(w, "general.architecture", STR("bert"));
    ggufwrite_str(w, "general.name", STR("tiny"));
    ggufwrite_u32(w, "bert.block_count", TINYBERT_LAYERS);
    ggufwrite_u32(w, "bert.context_length", TINYBERT_TOKENS);
    ggufwrite_u32(w, "bert.embedding_length", TINYBERT_WIDTH);
    ggufwrite_u32(w, "bert.feed_forward_length", 32);
    ggufwrite_u32(w, "bert.attention.head_count", 2);
    ggufwrite_f32(w, "bert.attention.layer_norm_epsilon", 1e-12f);
    ggufwrite_bool(w, "bert.attention.causal", false);
    ggufwrite_u32(w, "bert.pooling_type", kind->labels == 1 ? 4 : 1);
    if (kind->labels_tokens)
        ggufwrite_bool(w, "bert.classifier.labels_tokens", true);
    if (kind->labels > 1) {
        ggufwrite_array(w, "bert.classifier.output_labels", GGUF_STRING, kind->labels);
        for (unsigned i = 0; i < kind->labels; i++)
            ggufwrite_put_str(w, str_of(labels[i]));
    }
}

static inline void tinybert_declare(struct ggufwrite *w, const struct tinybert_tensor *t, int layer)
{
    const uint64_t shape[2] = {t->inner, t->rows};
    char name[64];

    if (layer < 0)
        snprintf(name, sizeof(name), "%s", t->name);
    else
        snprintf(name, sizeof(name), "blk.%d.%s", layer, t->name);
    ggufwrite_tensor(w, name, DTYPE_F32, shape, t->rows ? 2 : 1);
}

/* Weights of norms are near 1, all others between -1 and 1: large enough to tell texts apart. */
static inline int tinybert_fill(struct ggufwrite *w, const struct tinybert_tensor *t,
                                uint32_t *seed, struct llmos_error *err)
{
    bool is_scale = strstr(t->name, "norm.weight");
    size_t n = (size_t)t->inner * (t->rows ? t->rows : 1);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        float x;

        *seed = *seed * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        x = (float)(*seed >> 8) / (1 << 23) - 1;
        x = is_scale ? 1 + x / 4 : x;
        rc = ggufwrite_values(w, &x, 1, err);
    }
    return rc;
}

static inline int tinybert_write(int fd, const struct tinybert_kind *kind, struct llmos_error *err)
{
    const struct tinybert_tensor head[] = {{"cls.output.weight", TINYBERT_WIDTH, kind->labels},
                                           {"cls.output.bias", kind->labels, 0}};
    struct ggufwrite w;
    uint32_t seed = 1;
    int rc;

    ggufwrite_init(&w, fd);
    tinybert_metadata(&w, kind);
    tinybert_vocabulary(&w);
    for (size_t i = 0; i < TINYBERT_MODEL_COUNT; i++)
        tinybert_declare(&w, &tinybert_model[i], -1);
    for (int l = 0; l < TINYBERT_LAYERS; l++)
        for (size_t i = 0; i < TINYBERT_LAYER_COUNT; i++)
            tinybert_declare(&w, &tinybert_layer[i], l);
    for (size_t i = 0; kind->labels && i < 2; i++)
        tinybert_declare(&w, &head[i], -1);
    rc = ggufwrite_begin(&w, err);
    for (size_t i = 0; rc == 0 && i < TINYBERT_MODEL_COUNT; i++)
        rc = tinybert_fill(&w, &tinybert_model[i], &seed, err);
    for (unsigned l = 0; l < TINYBERT_LAYERS; l++)
        for (size_t i = 0; rc == 0 && i < TINYBERT_LAYER_COUNT; i++)
            rc = tinybert_fill(&w, &tinybert_layer[i], &seed, err);
    for (size_t i = 0; rc == 0 && kind->labels && i < 2; i++)
        rc = tinybert_fill(&w, &head[i], &seed, err);
    if (rc == 0)
        rc = ggufwrite_end(&w, err);
    ggufwrite_fini(&w);
    return rc;
}

#endif
