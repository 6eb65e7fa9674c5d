/* SPDX-License-Identifier: Apache-2.0 */
/* hparams.c - see hparams.h */
#include "model/hparams.h"

#include "base/near.h"
#include "model/clean.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* "llama.block_count" for "block_count". */
static const char *key_of(const struct hparams *h, const char *name, char key[static 96])
{
    snprintf(key, 96, "%s.%s", h->architecture, name);
    return key;
}

/* 1: read; 0: absent, *out as it was. */
static int get_u32(const struct gguf *g, const struct hparams *h, const char *name, uint64_t min,
                   uint64_t max, uint32_t *out, struct llmos_error *err)
{
    char key[96];
    uint64_t v;
    int rc = gguf_get_u64(g, key_of(h, name, key), min, max, &v, err);

    if (rc > 0)
        *out = (uint32_t)v;
    return rc;
}

static int need_u32(const struct gguf *g, const struct hparams *h, const char *name, uint64_t max,
                    uint32_t *out, struct llmos_error *err)
{
    int rc = get_u32(g, h, name, 1, max, out, err);

    if (rc == 0)
        return fail(err, LLMOS_EFORMAT, "the file lacks key '%s.%s'", h->architecture, name);
    return rc < 0 ? rc : 0;
}

/* 1: read and within [min, max]; 0: absent. */
static int get_f32(const struct gguf *g, const struct hparams *h, const char *name, double min,
                   double max, float *out, struct llmos_error *err)
{
    char key[96];
    float v;
    int rc = gguf_get_f32(g, key_of(h, name, key), &v, err);

    if (rc <= 0)
        return rc;
    if ((double)v < min || (double)v > max)
        return fail(err, LLMOS_EFORMAT, "key '%s' is %g, %g to %g is possible", key, (double)v, min,
                    max);
    *out = v;
    return 1;
}

static int unknown_family(struct str name, struct llmos_error *err)
{
    char word[NEAR_WORD_MAX + 1], list[160];
    struct near near = {.word = word};
    size_t n = 0;

    clean_name(word, sizeof(word), name);
    for (unsigned i = 0; family_at(i); i++) {
        near_offer(&near, family_at(i)->name);
        if (n < sizeof(list))
            n += (size_t)snprintf(list + n, sizeof(list) - n, " %s", family_at(i)->name);
    }
    if (near.best)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "architecture '%s' is not supported; the nearest is '%s', this version runs:%s",
                    word, near.best, list);
    return fail(err, LLMOS_EUNSUPPORTED, "architecture '%s' is not supported; this version runs:%s",
                word, list);
}

static int read_architecture(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct str name;
    int rc = gguf_get_str(g, "general.architecture", &name, err);

    if (rc < 0)
        return rc;
    if (rc == 0)
        return fail(err, LLMOS_EFORMAT, "the file lacks key 'general.architecture'");
    h->family = family_by_name(name);
    if (!h->family)
        return unknown_family(name, err);
    h->activation = h->family->activation;
    h->is_encoder = h->family->is_encoder;
    clean_name(h->architecture, sizeof(h->architecture), name);
    rc = gguf_get_str(g, "general.name", &name, err);
    if (rc > 0)
        clean_name(h->name, sizeof(h->name), name);
    return rc < 0 ? rc : 0;
}

static int read_shares(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    bool of_chosen;
    char key[96];
    int rc = gguf_get_bool(g, key_of(h, "expert_weights_norm", key), &of_chosen, err);

    if (rc > 0)
        h->experts_share_all = !of_chosen;
    return rc < 0 ? rc : 0;
}

static int read_experts(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    int rc = get_u32(g, h, "expert_count", 0, HPARAMS_EXPERTS_MAX, &h->n_expert, err);

    if (rc < 0)
        return rc;
    if (h->n_expert == 0 && h->family->experts_only)
        return fail(err, LLMOS_EFORMAT, "the file lacks key '%s.expert_count', or it is 0",
                    h->architecture);
    if (h->n_expert == 0)
        return 0;
    if (!h->family->expert_needs)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "the model mixes %" PRIu32
                    " experts, which this version cannot compute in architecture '%s'",
                    h->n_expert, h->architecture);
    rc = need_u32(g, h, "expert_used_count", HPARAMS_USED_MAX, &h->n_expert_used, err);
    if (rc < 0)
        return rc;
    if (h->n_expert_used > h->n_expert)
        return fail(err, LLMOS_EFORMAT,
                    "each token uses %" PRIu32 " experts, the model has %" PRIu32, h->n_expert_used,
                    h->n_expert);
    h->n_ff_exp = h->n_ff_shared = h->n_ff;
    h->experts_share_all = h->family->experts_share_all;
    rc = get_u32(g, h, "expert_feed_forward_length", 1, HPARAMS_FF_MAX, &h->n_ff_exp, err);
    if (rc >= 0)
        rc = get_u32(g, h, "expert_shared_feed_forward_length", 1, HPARAMS_FF_MAX, &h->n_ff_shared,
                     err);
    return rc < 0 ? rc : read_shares(h, g, err);
}

static int read_heads(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    uint32_t values_dim;
    int rc;

    rc = need_u32(g, h, "attention.head_count", HPARAMS_HEADS_MAX, &h->n_head, err);
    if (rc < 0)
        return rc;
    h->n_head_kv = h->n_head;
    rc = get_u32(g, h, "attention.head_count_kv", 1, HPARAMS_HEADS_MAX, &h->n_head_kv, err);
    if (rc < 0)
        return rc;
    if (h->n_head % h->n_head_kv != 0)
        return fail(err, LLMOS_EFORMAT, "%" PRIu32 " heads cannot share %" PRIu32 " KV heads",
                    h->n_head, h->n_head_kv);
    rc = get_u32(g, h, "attention.key_length", 1, HPARAMS_HEAD_DIM_MAX, &h->head_dim, err);
    if (rc < 0)
        return rc;
    if (rc == 0 && (h->n_embd % h->n_head != 0 || h->n_embd / h->n_head > HPARAMS_HEAD_DIM_MAX))
        return fail(err, LLMOS_EFORMAT,
                    "a width of %" PRIu32 " cannot be divided among %" PRIu32
                    " heads of at most %d",
                    h->n_embd, h->n_head, HPARAMS_HEAD_DIM_MAX);
    if (rc == 0)
        h->head_dim = h->n_embd / h->n_head;
    values_dim = h->head_dim;
    rc = get_u32(g, h, "attention.value_length", 1, HPARAMS_HEAD_DIM_MAX, &values_dim, err);
    if (rc < 0)
        return rc;
    if (values_dim != h->head_dim)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "keys are %" PRIu32 " wide and values %" PRIu32
                    "; this version needs them equal",
                    h->head_dim, values_dim);
    return 0;
}

static int read_scaling_kind(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct str kind = STR("");
    char key[96];
    int rc = gguf_get_str(g, key_of(h, "rope.scaling.type", key), &kind, err);

    if (rc < 0)
        return rc;
    if (rc == 0) /* the old way was linear, by a factor alone */
        h->rope_scaling = h->rope_factor != 1.0f ? ROPE_LINEAR : ROPE_NONE;
    else if (str_is(kind, "none"))
        h->rope_scaling = ROPE_NONE;
    else if (str_is(kind, "linear"))
        h->rope_scaling = ROPE_LINEAR;
    else if (str_is(kind, "yarn"))
        h->rope_scaling = ROPE_YARN;
    else if (str_is(kind, "llama3"))
        h->rope_scaling = ROPE_LLAMA3;
    else if (str_is(kind, "longrope"))
        h->rope_scaling = ROPE_LONGROPE;
    else
        return fail(err, LLMOS_EUNSUPPORTED,
                    "key '%s' is '%.*s'; this version knows: none linear yarn llama3 longrope", key,
                    STR_ARG(kind));
    return 0;
}

/* Two kinds scale by tensors of factors, and their files mostly name no kind. */
static int read_scaling_tensors(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    static const struct {
        enum rope_scaling kind;
        const char *name, *tensor;
    } needed[] = {{ROPE_LLAMA3, "llama3", "rope_freqs.weight"},
                  {ROPE_LONGROPE, "longrope", "rope_factors_long.weight"},
                  {ROPE_LONGROPE, "longrope", "rope_factors_short.weight"}};

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        bool is_there = gguf_find_tensor(g, needed[i].tensor);

        if (h->rope_scaling == ROPE_NONE && is_there)
            h->rope_scaling = needed[i].kind;
        if (h->rope_scaling == needed[i].kind && !is_there)
            return fail(err, LLMOS_EFORMAT, "the file lacks tensor '%s', which %s scaling needs",
                        needed[i].tensor, needed[i].name);
    }
    if (h->rope_scaling != ROPE_LINEAR && h->rope_scaling != ROPE_YARN)
        h->rope_factor = 1.0f;
    return 0;
}

/* A key of our own: for llama.cpp the ramp always begins and ends at whole pairs. */
static int read_truncation(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    bool truncates = !h->family->yarn_between;
    char key[96];
    int rc = gguf_get_bool(g, key_of(h, "rope.scaling.yarn_truncate", key), &truncates, err);

    h->yarn_between = !truncates;
    return rc < 0 ? rc : 0;
}

static int read_scaling(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    float attn = 1.0f;
    int rc;

    h->rope_factor = 1.0f;
    h->rope_ctx_orig = h->n_ctx_train;
    h->yarn_attn = 1.0f;
    h->yarn_beta_fast = 32.0f;
    h->yarn_beta_slow = 1.0f;
    rc = get_f32(g, h, "rope.scaling.factor", 1e-3, 1e6, &h->rope_factor, err);
    if (rc == 0)
        rc = get_f32(g, h, "rope.scale_linear", 1e-3, 1e6, &h->rope_factor, err);
    if (rc >= 0)
        rc = get_u32(g, h, "rope.scaling.original_context_length", 1, HPARAMS_CONTEXT_MAX,
                     &h->rope_ctx_orig, err);
    if (rc >= 0)
        rc = read_scaling_kind(h, g, err);
    if (rc >= 0)
        rc = read_scaling_tensors(h, g, err);
    if (rc >= 0)
        rc = get_f32(g, h, "rope.scaling.attn_factor", 1e-3, 1e3, &attn, err);
    h->yarn_ext = h->rope_scaling == ROPE_YARN ? 1.0f : 0.0f;
    if (rc >= 0)
        rc = get_f32(g, h, "rope.scaling.yarn_ext_factor", 0, 1e3, &h->yarn_ext, err);
    if (rc >= 0)
        rc = get_f32(g, h, "rope.scaling.yarn_attn_factor", 1e-3, 1e3, &h->yarn_attn, err);
    if (rc >= 0)
        rc = get_f32(g, h, "rope.scaling.yarn_beta_fast", 1e-3, 1e6, &h->yarn_beta_fast, err);
    if (rc >= 0)
        rc = get_f32(g, h, "rope.scaling.yarn_beta_slow", 1e-3, 1e6, &h->yarn_beta_slow, err);
    h->yarn_attn *= attn;
    return rc < 0 ? rc : read_truncation(h, g, err);
}

static int read_rope(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    int rc;

    if (h->family->no_rope)
        return 0;
    h->rope_halves = h->family->rope_halves;
    h->rope_pattern = h->family->rope_pattern;
    h->rope_dims = h->head_dim;
    rc = get_u32(g, h, "rope.dimension_count", 1, h->head_dim, &h->rope_dims, err);
    if (rc < 0)
        return rc;
    if (h->rope_dims % 2 != 0)
        return fail(err, LLMOS_EFORMAT,
                    "%" PRIu32 " dimensions cannot be rotated: the number must be even",
                    h->rope_dims);
    h->rope_base = 10000.0f;
    rc = get_f32(g, h, "rope.freq_base", 1, 1e15, &h->rope_base, err);
    h->window_rope_base = h->family->window_unscaled ? h->rope_base : h->family->window_rope_base;
    if (rc >= 0)
        rc = get_f32(g, h, "rope.freq_base_swa", 1, 1e15, &h->window_rope_base, err);
    return rc < 0 ? rc : read_scaling(h, g, err);
}

/* A number, or for each layer whether it has a window: then as the family has it. */
static int read_window_pattern(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct gguf_array layers;
    char key[96];
    const struct gguf_value *v = gguf_find(g, key_of(h, "attention.sliding_window_pattern", key));
    int rc;

    if (!v || v->type != GGUF_ARRAY) {
        rc = get_u32(g, h, "attention.sliding_window_pattern", 0, HPARAMS_LAYERS_MAX,
                     &h->window_pattern, err);
        return rc < 0 ? rc : 0;
    }
    rc = gguf_get_array(g, key, GGUF_BOOL, &layers, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < h->n_layer; i++)
        if (i >= layers.count || (gguf_array_i32(&layers, i) != 0) != hparams_has_window(h, i))
            return fail(err, LLMOS_EUNSUPPORTED,
                        "key '%s' says otherwise of layer %" PRIu32
                        " than this version computes architecture '%s'",
                        key, i, h->architecture);
    return 0;
}

static int read_window(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    int rc;

    h->window = h->family->window;
    h->window_pattern = h->family->window_pattern;
    h->window_behind = h->family->window_behind;
    rc = get_u32(g, h, "attention.sliding_window", h->is_encoder, HPARAMS_CONTEXT_MAX, &h->window,
                 err);
    return rc < 0 ? rc : read_window_pattern(h, g, err);
}

/* Factors that are not 1 and caps that are not infinite; the file leaves others out. */
static int read_factors(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    const struct {
        const char *key;
        float *to;
    } factors[] = {{"embedding_scale", &h->embedding_scale},
                   {"residual_scale", &h->residual_scale},
                   {"attention.scale", &h->attn_scale},
                   {"logit_scale", &h->logit_scale},
                   {"attn_logit_softcapping", &h->attn_softcap},
                   {"final_logit_softcapping", &h->logit_softcap}};
    int rc = 0;

    if (h->family->scales_embedding)
        h->embedding_scale = sqrtf((float)h->n_embd);
    h->attn_softcap = h->family->attn_softcap;
    h->logit_softcap = h->family->logit_softcap;
    if (h->family->odd_scale_layers == h->n_layer)
        h->attn_scale = 1 / sqrtf((float)h->n_embd / (float)h->n_head);
    for (size_t i = 0; rc >= 0 && i < sizeof(factors) / sizeof(factors[0]); i++)
        rc = get_f32(g, h, factors[i].key, 0, 1e9, factors[i].to, err);
    /* What the file names, logits are divided by. */
    if (rc >= 0 && h->logit_scale != 0)
        h->logit_scale = 1 / h->logit_scale;
    return rc < 0 ? rc : 0;
}

static int read_norm(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    static const char *const names[] = {"attention.layer_norm_rms_epsilon",
                                        "attention.layer_norm_epsilon"};
    const char *name = names[h->family->layer_norm];
    int rc = get_f32(g, h, name, 1e-15, 1, &h->rms_eps, err);

    if (rc == 0) /* llama.cpp calls it so where config.json says "norm_eps" (ModernBERT) */
        rc = get_f32(g, h, names[!h->family->layer_norm], 1e-15, 1, &h->rms_eps, err);
    if (rc == 0)
        return fail(err, LLMOS_EFORMAT, "the file lacks key '%s.%s'", h->architecture, name);
    return rc < 0 ? rc : 0;
}

static int read_vocabulary(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    const struct gguf_tensor *embedding = gguf_find_tensor(g, "token_embd.weight");
    struct gguf_array tokens;
    uint32_t count;
    int rc;

    if (g->tensor_count == 0)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "the file has no tensors: it holds a vocabulary only and cannot be run");
    if (!embedding)
        return fail(err, LLMOS_EFORMAT, "the file lacks tensor 'token_embd.weight'");
    if (embedding->t.shape[1] > HPARAMS_VOCAB_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "tensor 'token_embd.weight' has %zu rows, at most %d are accepted",
                    embedding->t.shape[1], HPARAMS_VOCAB_MAX);
    h->n_vocab = (uint32_t)embedding->t.shape[1];
    rc = gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, err);
    if (rc < 0)
        return rc;
    if (rc > 0 && tokens.count != h->n_vocab)
        return fail(err, LLMOS_EFORMAT,
                    "tensor 'token_embd.weight' has %" PRIu32 " rows, the vocabulary has %" PRIu64
                    " tokens",
                    h->n_vocab, tokens.count);
    count = h->n_vocab;
    rc = get_u32(g, h, "vocab_size", 0, UINT32_MAX, &count, err);
    if (rc < 0)
        return rc;
    if (count != h->n_vocab)
        return fail(err, LLMOS_EFORMAT,
                    "tensor 'token_embd.weight' has %" PRIu32
                    " rows, key '%s.vocab_size' is %" PRIu32,
                    h->n_vocab, h->architecture, count);
    return 0;
}

/* Rows of a table that not every model has; 0: it has none. */
static int count_rows(const struct gguf *g, const char *name, size_t most, uint32_t *out,
                      struct llmos_error *err)
{
    const struct gguf_tensor *t = gguf_find_tensor(g, name);

    if (t && t->t.shape[1] > most)
        return fail(err, LLMOS_ELIMIT, "tensor '%s' has %zu rows, at most %zu are accepted", name,
                    t->t.shape[1], most);
    *out = t ? (uint32_t)t->t.shape[1] : 0;
    return 0;
}

/* Whether a key agrees with how the family is computed. */
static int read_direction(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    bool is_causal = !h->is_encoder;
    char key[96];
    int rc = gguf_get_bool(g, key_of(h, "attention.causal", key), &is_causal, err);

    if (rc < 0)
        return rc;
    if (is_causal == h->is_encoder)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "key '%s' is %s, but this version computes architecture '%s' so that tokens "
                    "see %s",
                    key, is_causal ? "true" : "false", h->architecture,
                    is_causal ? "all others" : "only those before them");
    return 0;
}

static int read_activation(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct str name;
    char key[96];
    int rc = gguf_get_str(g, key_of(h, "hidden_activation", key), &name, err);

    if (rc <= 0)
        return rc;
    if (!activation_by_name(name, &h->activation))
        return fail(err, LLMOS_EUNSUPPORTED,
                    "key '%s' is '%.*s'; this version knows: " ACTIVATION_NAMES, key,
                    (int)(name.len < 40 ? name.len : 40), name.at);
    if (h->n_expert > 0 && h->activation != ACTIVATION_SILU)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "key '%s' is '%.*s'; this version computes experts with silu only", key,
                    STR_ARG(name));
    return 0;
}

/* 1: read; 0: absent. */
static int get_pooling(const struct gguf *g, const struct hparams *h, const char *name,
                       enum pooling most, enum pooling *out, struct llmos_error *err)
{
    uint32_t type = POOLING_NONE;
    int rc = get_u32(g, h, name, 0, UINT32_MAX, &type, err);

    if (rc == 1 && type > most)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "key '%s.%s' is %" PRIu32
                    "; this version knows: 0 none, 1 mean, 2 first token, 3 last token, 4 rank",
                    h->architecture, name, type);
    if (rc == 1)
        *out = (enum pooling)type;
    return rc;
}

/* What a classifier says something about, and what it looks at: keys of our own, since llama.cpp
 * knows only classifiers of texts, which look at what their family does. */
static int read_classifier(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct str activation = {NULL, 0};
    char key[96];
    int rc = count_rows(g, "cls.output.weight", HPARAMS_LABELS_MAX, &h->n_labels, err);

    h->label_pooling = h->family->labels_mean ? POOLING_MEAN : POOLING_CLS;
    if (rc == 0)
        rc = get_pooling(g, h, "classifier.pooling_type", POOLING_CLS, &h->label_pooling, err);
    if (rc >= 0)
        rc = gguf_get_bool(g, key_of(h, "classifier.labels_tokens", key), &h->labels_tokens, err);
    if (rc >= 0)
        rc = gguf_get_str(g, key_of(h, "classifier.activation", key), &activation, err);
    if (rc < 0)
        return rc;
    h->label_relu = str_is(activation, "relu");
    if (h->label_relu || !activation.at)
        return 0;
    return fail(err, LLMOS_EUNSUPPORTED, "key '%s' is '%.*s'; this version knows: relu", key,
                (int)(activation.len < 40 ? activation.len : 40), activation.at);
}

static int read_encoder(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    int rc = read_direction(h, g, err);

    if (rc == 0)
        rc = read_activation(h, g, err);
    if (rc == 0)
        rc = count_rows(g, "token_types.weight", HPARAMS_SEGMENTS_MAX, &h->n_segments, err);
    if (rc == 0)
        rc = read_classifier(h, g, err);
    if (rc == 0)
        rc = get_pooling(g, h, "pooling_type", POOLING_RANK, &h->pooling, err);
    if (rc >= 0 && h->pooling == POOLING_RANK && h->n_labels == 0)
        return fail(err, LLMOS_EFORMAT,
                    "the file lacks tensor 'cls.output.weight', which a model that ranks needs");
    return rc < 0 ? rc : 0;
}

/* The type that most bytes have. */
static void sum_up(struct hparams *h, const struct gguf *g)
{
    uint64_t bytes[64] = {0};
    unsigned most = 0;

    for (size_t i = 0; i < g->tensor_count; i++) {
        const struct gguf_tensor *t = &g->tensors[i];

        h->parameter_count +=
            (uint64_t)t->t.shape[0] * t->t.shape[1] * t->t.shape[2] * t->t.shape[3];
        if (t->type_id < 64)
            bytes[t->type_id] += t->bytes;
    }
    for (unsigned i = 0; i < 64; i++)
        if (bytes[i] > bytes[most])
            most = i;
    snprintf(h->file_type, sizeof(h->file_type), "%s",
             dtype_gguf_name(most) ? dtype_gguf_name(most) : "unknown");
    h->tied_output = !gguf_find_tensor(g, "output.weight");
}

static int read_all(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    int rc = read_architecture(h, g, err);

    if (rc == 0)
        rc = read_vocabulary(h, g, err);
    if (rc == 0)
        rc = need_u32(g, h, "block_count", HPARAMS_LAYERS_MAX, &h->n_layer, err);
    if (rc == 0)
        rc = need_u32(g, h, "embedding_length", HPARAMS_WIDTH_MAX, &h->n_embd, err);
    if (rc == 0)
        rc = need_u32(g, h, "feed_forward_length", HPARAMS_FF_MAX, &h->n_ff, err);
    if (rc == 0)
        rc = need_u32(g, h, "context_length", HPARAMS_CONTEXT_MAX, &h->n_ctx_train, err);
    if (rc == 0)
        rc = read_experts(h, g, err);
    if (rc == 0)
        rc = read_heads(h, g, err);
    if (rc == 0)
        rc = read_rope(h, g, err);
    if (rc == 0)
        rc = read_window(h, g, err);
    if (rc == 0)
        rc = read_factors(h, g, err);
    if (rc == 0)
        rc = read_norm(h, g, err);
    if (rc == 0)
        rc = read_encoder(h, g, err);
    sum_up(h, g);
    return rc;
}

int hparams_read(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct hparams read = {.architecture = ""};
    int rc = read_all(&read, g, err);

    if (rc == 0)
        *h = read;
    return rc;
}
