/* SPDX-License-Identifier: Apache-2.0 */
/* hparams.c - see hparams.h */
#include "model/hparams.h"

#include "model/clean.h"

#include <inttypes.h>
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

static int read_architecture(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct str name;
    int rc = gguf_get_str(g, "general.architecture", &name, err);

    if (rc < 0)
        return rc;
    if (rc == 0)
        return fail(err, LLMOS_EFORMAT, "the file lacks key 'general.architecture'");
    if (!str_is(name, "llama"))
        return fail(err, LLMOS_EUNSUPPORTED,
                    "architecture '%.*s' is not supported; this version runs: llama",
                    STR_ARG(name));
    memcpy(h->architecture, "llama", sizeof("llama"));
    rc = gguf_get_str(g, "general.name", &name, err);
    if (rc > 0)
        clean_name(h->name, sizeof(h->name), name);
    return rc < 0 ? rc : 0;
}

static int read_heads(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    uint32_t values_dim, experts = 0;
    int rc = get_u32(g, h, "expert_count", 0, UINT32_MAX, &experts, err);

    if (rc < 0)
        return rc;
    if (experts > 0)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "the model mixes %" PRIu32 " experts, which this version cannot compute",
                    experts);
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
    else
        return fail(err, LLMOS_EUNSUPPORTED,
                    "key '%s' is '%.*s'; this version knows: none linear yarn llama3", key,
                    STR_ARG(kind));
    /* Llama 3 scales by a tensor of factors, and its files name no kind. */
    if (h->rope_scaling == ROPE_NONE && gguf_find_tensor(g, "rope_freqs.weight"))
        h->rope_scaling = ROPE_LLAMA3;
    if (h->rope_scaling == ROPE_LLAMA3 && !gguf_find_tensor(g, "rope_freqs.weight"))
        return fail(err, LLMOS_EFORMAT,
                    "the file lacks tensor 'rope_freqs.weight', which llama3 scaling needs");
    if (h->rope_scaling == ROPE_NONE || h->rope_scaling == ROPE_LLAMA3)
        h->rope_factor = 1.0f;
    return 0;
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
    return rc < 0 ? rc : 0;
}

static int read_rope(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    int rc;

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
    return rc < 0 ? rc : read_scaling(h, g, err);
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
        rc = read_heads(h, g, err);
    if (rc == 0)
        rc = read_rope(h, g, err);
    if (rc == 0)
        rc = get_f32(g, h, "attention.layer_norm_rms_epsilon", 1e-12, 1, &h->rms_eps, err);
    if (rc == 0)
        return fail(err, LLMOS_EFORMAT, "the file lacks key '%s.attention.layer_norm_rms_epsilon'",
                    h->architecture);
    sum_up(h, g);
    return rc < 0 ? rc : 0;
}

int hparams_read(struct hparams *h, const struct gguf *g, struct llmos_error *err)
{
    struct hparams read = {.architecture = ""};
    int rc = read_all(&read, g, err);

    if (rc == 0)
        *h = read;
    return rc;
}
