/* SPDX-License-Identifier: Apache-2.0 */
/* hfmeta.c - see hfmeta.h */
#include "model/hfmeta.h"

#include "model/hparams.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define ROPE_PATHS(key) \
    "rope_scaling." key "|rope_parameters." key "|rope_parameters.full_attention." key

/* ---- what the conversion needs to know ---- */

/* A number of the rotation within [min, max]; absent: it stays. */
static int rope_number(const struct hffolder *f, const char *paths, double min, double max,
                       double *out, struct llmos_error *err)
{
    struct jdoc_ref v = hffolder_config(f, paths);
    double x = *out;

    if (jdoc_at(v) && (!jdoc_number(v, &x) || x < min || x > max))
        return fail(err, LLMOS_EFORMAT, "'%.*s' in '%s' is no number from %g to %g",
                    (int)strcspn(paths, "|"), paths, HFFOLDER_CONFIG, min, max);
    *out = x;
    return 0;
}

/* Does config.json say what a table writes? */
static bool says(struct jdoc_ref v, const char *value)
{
    double x;

    if (jdoc_is(v, JDOC_ARRAY))
        return strcmp(value, "[]") == 0 && jdoc_count(v) == 0;
    if (jdoc_is(v, JDOC_BOOL))
        return strcmp(value, jdoc_true(v) ? "true" : "false") == 0;
    if (jdoc_number(v, &x))
        return x == strtod(value, NULL);
    return str_is(jdoc_text(v), value);
}

static int check_need(const struct hffolder *f, const struct hfneed *need, struct llmos_error *err)
{
    struct jdoc_ref v = hffolder_config(f, need->key);
    char given[48] = "otherwise";
    double x;

    if (!jdoc_at(v) || says(v, need->value))
        return 0;
    if (jdoc_is(v, JDOC_BOOL))
        snprintf(given, sizeof(given), "%s", jdoc_true(v) ? "true" : "false");
    else if (jdoc_number(v, &x))
        snprintf(given, sizeof(given), "%g", x);
    else if (jdoc_is(v, JDOC_STRING))
        snprintf(given, sizeof(given), "'%.*s'", STR_ARG(jdoc_text(v)));
    return fail(err, LLMOS_EUNSUPPORTED,
                "'%.*s' in '%s' is %s; this version computes %s only where it is %s",
                (int)strcspn(need->key, "|"), need->key, HFFOLDER_CONFIG, given, f->arch->hf,
                need->value);
}

/* Which layers look through a window, and which rotate, as the running side will have it. */
static int foresee_layers(struct hparams *h, const struct hffolder *f, struct llmos_error *err)
{
    const struct family *family = family_by_name(str_of(f->arch->gguf));
    const struct hfkey *window = hfarch_key(f->arch, "attention.sliding_window");
    const struct hfkey *pattern = hfarch_key(f->arch, "attention.sliding_window_pattern");
    int rc = 0;

    *h = (struct hparams){.window_pattern = family->window_pattern,
                          .window_behind = family->window_behind,
                          .rope_pattern = family->rope_pattern};
    if (window) {
        h->window = (uint32_t)window->fallback;
        rc = hffolder_u32(f, window->from, 0, HPARAMS_CONTEXT_MAX, &h->window, err);
    }
    if (rc >= 0 && pattern)
        rc = hffolder_u32(f, pattern->from, 1, HPARAMS_LAYERS_MAX, &h->window_pattern, err);
    return rc < 0 ? rc : 0;
}

static int check_layers(const struct hffolder *f, const struct hfmeta *m, struct llmos_error *err)
{
    struct jdoc_ref types = hffolder_config(f, "layer_types");
    struct jdoc_ref turns = hffolder_config(f, "no_rope_layers");
    struct jdoc_ref type = jdoc_first(types, NULL), turn = jdoc_first(turns, NULL);
    struct hparams h;
    int rc = foresee_layers(&h, f, err);

    for (uint32_t i = 0; rc == 0 && i < m->layers; i++) {
        const char *kind = hparams_has_window(&h, i) ? "sliding_attention" : "full_attention";
        int64_t n;

        if (jdoc_at(type) && !str_is(jdoc_text(type), kind))
            rc = fail(err, LLMOS_EUNSUPPORTED,
                      "'layer_types' in '%s': this version computes layer %" PRIu32
                      " of such a model with %s only",
                      HFFOLDER_CONFIG, i, kind);
        else if (jdoc_at(turn) && (!jdoc_integer(turn, &n) || (n != 0) != hparams_rotates(&h, i)))
            rc = fail(err, LLMOS_EUNSUPPORTED,
                      "'no_rope_layers' in '%s': this version computes layer %" PRIu32
                      " of such a model only %s rotation",
                      HFFOLDER_CONFIG, i, hparams_rotates(&h, i) ? "with" : "without");
        type = jdoc_at(type) ? jdoc_next(types, type, NULL) : JDOC_ABSENT;
        turn = jdoc_at(turn) ? jdoc_next(turns, turn, NULL) : JDOC_ABSENT;
    }
    return rc;
}

/* What we would compute otherwise than it is meant. */
static int check_needs(const struct hffolder *f, const struct hfmeta *m, struct llmos_error *err)
{
    int rc = 0;

    for (unsigned i = 0; hfarch_need(i) && rc == 0; i++) {
        const struct hfneed *need = hfarch_need(i);

        if (!need->except || strcmp(need->except, f->arch->gguf) != 0)
            rc = check_need(f, need, err);
    }
    return rc == 0 ? check_layers(f, m, err) : rc;
}

/* What the table says of a key of ours. */
static int read_u32(const struct hffolder *f, const char *to, uint32_t max, uint32_t *out,
                    struct llmos_error *err)
{
    const struct hfkey *k = hfarch_key(f->arch, to);

    if (k->fallback > 0)
        *out = (uint32_t)k->fallback;
    return hffolder_u32(f, k->from, 1, max, out, err);
}

/* Of the dimensions of a head the first ones, where config.json names their share. */
static int read_rope_dims(struct hfmeta *m, const struct hffolder *f, struct llmos_error *err)
{
    double share = 1;
    int rc = rope_number(f, "partial_rotary_factor|" ROPE_PATHS("partial_rotary_factor"), 0, 1,
                         &share, err);

    m->rope_dims = (uint32_t)((double)m->head_dim * share);
    return rc;
}

static int read_head_dim(struct hfmeta *m, const struct hffolder *f, struct llmos_error *err)
{
    const struct hfkey *k = hfarch_key(f->arch, "attention.key_length");
    int rc;

    m->head_dim = k && k->fallback > 0 ? (uint32_t)k->fallback : m->width / m->heads;
    rc = hffolder_u32(f, "head_dim", 1, HPARAMS_HEAD_DIM_MAX, &m->head_dim, err);
    return rc < 0 ? rc : read_rope_dims(m, f, err);
}

int hfmeta_read(struct hfmeta *m, const struct hffolder *f, struct llmos_error *err)
{
    uint32_t pad = 0;
    int rc;

    *m = (struct hfmeta){.heads = 0};
    rc = read_u32(f, "attention.head_count", HPARAMS_HEADS_MAX, &m->heads, err);
    m->heads_kv = m->heads;
    if (rc >= 0)
        rc = read_u32(f, "attention.head_count_kv", HPARAMS_HEADS_MAX, &m->heads_kv, err);
    if (rc >= 0)
        rc = read_u32(f, "block_count", HPARAMS_LAYERS_MAX, &m->layers, err);
    if (rc >= 0)
        rc = read_u32(f, "embedding_length", HPARAMS_WIDTH_MAX, &m->width, err);
    if (rc >= 0)
        rc = hffolder_u32(f, "vocab_size", 1, HPARAMS_VOCAB_MAX, &m->vocab, err);
    if (rc < 0)
        return rc;
    if (!m->heads || !m->layers || !m->width)
        return fail(err, LLMOS_EFORMAT,
                    "'%s' does not say how many layers, heads or columns the model has",
                    HFFOLDER_CONFIG);
    rc = read_head_dim(m, f, err);
    if (rc >= 0 && f->arch->prefix[0] == 'r') {
        rc = hffolder_u32(f, "pad_token_id", 0, 64, &pad, err);
        m->position_offset = rc == 1 ? pad + 1 : 0;
    }
    if (rc >= 0 && !f->arch->is_encoder)
        rc = check_needs(f, m, err);
    return rc < 0 ? rc : 0;
}

/* ---- keys by table ---- */

/* "x": null, where a number would be. */
static bool is_null(const struct hffolder *f, const char *key)
{
    struct jdoc_ref root = jdoc_root(&f->config), text = jdoc_get(root, "text_config");

    return jdoc_is(jdoc_get(jdoc_at(text) ? text : root, key), JDOC_NULL);
}

static int put_f32(struct ggufwrite *w, const struct hffolder *f, const struct hfkey *k,
                   const char *key, struct jdoc_ref v, struct llmos_error *err)
{
    double x = is_null(f, k->from) ? 0 : k->fallback;

    if (jdoc_at(v) && !jdoc_number(v, &x))
        return fail(err, LLMOS_EFORMAT, "'%.*s' in '%s' is %s, not a number",
                    (int)strcspn(k->from, "|"), k->from, HFFOLDER_CONFIG, jdoc_type_name(v));
    ggufwrite_f32(w, key, (float)x);
    return 0;
}

static int put_inverse_root(struct ggufwrite *w, const struct hffolder *f, const struct hfmeta *m,
                            const struct hfkey *k, const char *key, struct llmos_error *err)
{
    uint32_t n = (uint32_t)k->fallback;
    int rc = hffolder_u32(f, k->from, 1, HPARAMS_WIDTH_MAX, &n, err);

    if (rc >= 0 && n != m->head_dim)
        ggufwrite_f32(w, key, 1 / sqrtf((float)n));
    return rc < 0 ? rc : 0;
}

static int put_u32(struct ggufwrite *w, const struct hffolder *f, const struct hfmeta *m,
                   const struct hfkey *k, const char *key, struct llmos_error *err)
{
    uint32_t n = k->kind == HFKEY_ROPE_DIMS ? m->rope_dims : (uint32_t)k->fallback;
    int rc = k->from ? hffolder_u32(f, k->from, 0, HPARAMS_CONTEXT_MAX, &n, err) : 0;

    if (rc < 0)
        return rc;
    if (k->kind == HFKEY_CONTEXT && n > m->position_offset)
        n -= m->position_offset;
    ggufwrite_u32(w, key, n);
    return 0;
}

static int put_key(struct ggufwrite *w, const struct hffolder *f, const struct hfmeta *m,
                   const struct hfkey *k, struct llmos_error *err)
{
    struct jdoc_ref v = k->from ? hffolder_config(f, k->from) : JDOC_ABSENT;
    char key[128];

    if (!jdoc_at(v) && k->kind != HFKEY_ROPE_DIMS && k->fallback == 0) {
        if (!k->is_needed)
            return 0;
        return fail(err, LLMOS_EFORMAT, "'%s' lacks '%.*s'", HFFOLDER_CONFIG,
                    (int)strcspn(k->from, "|"), k->from);
    }
    snprintf(key, sizeof(key), "%s.%s", f->arch->gguf, k->to);
    switch (k->kind) {
    case HFKEY_F32:
        return put_f32(w, f, k, key, v, err);
    case HFKEY_INVERSE_ROOT:
        return put_inverse_root(w, f, m, k, key, err);
    case HFKEY_BOOL:
        ggufwrite_bool(w, key, jdoc_true(v));
        return 0;
    default:
        return put_u32(w, f, m, k, key, err);
    }
}

/* A key of an earlier set is not put again by a later one. */
static bool is_put(const struct hfarch *a, unsigned set, const char *to)
{
    for (unsigned s = 0; s < set; s++)
        for (const struct hfkey *k = a->keys[s]; k && k->to; k++)
            if (strcmp(k->to, to) == 0)
                return true;
    return false;
}

static int put_keys(struct ggufwrite *w, const struct hffolder *f, const struct hfmeta *m,
                    struct llmos_error *err)
{
    const struct hfarch *a = f->arch;
    int rc = 0;

    for (unsigned set = 0; set < HFARCH_SETS && rc == 0; set++)
        for (const struct hfkey *k = a->keys[set]; k && k->to && rc == 0; k++)
            if (!is_put(a, set, k->to))
                rc = put_key(w, f, m, k, err);
    return rc;
}

/* ---- rotation ---- */

static struct str rope_kind(const struct hffolder *f)
{
    return jdoc_text(hffolder_config(f, ROPE_PATHS("rope_type") "|" ROPE_PATHS("type")));
}

static void arch_key(const struct hffolder *f, const char *name, char key[static 96])
{
    snprintf(key, 96, "%s.%s", f->arch->gguf, name);
}

static int put_scaled(struct ggufwrite *w, const struct hffolder *f, const char *kind,
                      double *factor, struct llmos_error *err)
{
    double original = 0;
    char key[96];
    int rc = rope_number(f, ROPE_PATHS("factor"), 1e-3, 1e6, factor, err);

    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("original_max_position_embeddings"), 1, HPARAMS_CONTEXT_MAX,
                         &original, err);
    if (rc < 0)
        return rc;
    arch_key(f, "rope.scaling.type", key);
    ggufwrite_str(w, key, str_of(kind));
    arch_key(f, "rope.scaling.factor", key);
    ggufwrite_f32(w, key, (float)*factor);
    if (original > 0) {
        arch_key(f, "rope.scaling.original_context_length", key);
        ggufwrite_u32(w, key, (uint32_t)original);
    }
    return 0;
}

/* How much a yarn of this factor lengthens vectors (Peng et al. 2023, eq. 22). */
static double yarn_length(double factor, double scale)
{
    return factor > 1 ? 1 + 0.1 * scale * log(factor) : 1;
}

/* What config.json wants instead of the usual length, as a factor of that. */
static int put_yarn_length(struct ggufwrite *w, const struct hffolder *f, double factor,
                           struct llmos_error *err)
{
    double given = 0, scale = 0, all = 0, usual = 1 + 0.1 * log(factor);
    char key[96];
    int rc = rope_number(f, ROPE_PATHS("attention_factor"), 1e-3, 1e3, &given, err);

    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("mscale"), 0, 1e3, &scale, err);
    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("mscale_all_dim"), 0, 1e3, &all, err);
    if (rc < 0)
        return rc;
    if (given == 0)
        given = scale != 0 && all != 0 ? yarn_length(factor, scale) / yarn_length(factor, all)
                                       : yarn_length(factor, 1);
    arch_key(f, "rope.scaling.attn_factor", key);
    if (fabs(given / usual - 1) > 1e-7)
        ggufwrite_f32(w, key, (float)(given / usual));
    return 0;
}

/* Where the ramp between pairs that are kept and those that are divided begins and ends. */
static int put_yarn_ramp(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    static const struct {
        const char *from, *to;
    } betas[] = {{ROPE_PATHS("beta_fast"), "rope.scaling.yarn_beta_fast"},
                 {ROPE_PATHS("beta_slow"), "rope.scaling.yarn_beta_slow"}};
    struct jdoc_ref truncate = hffolder_config(f, ROPE_PATHS("truncate"));
    bool is_whole = !jdoc_at(truncate) || jdoc_true(truncate);
    char key[96];

    for (int i = 0; i < 2; i++) {
        double usual = i == 0 ? 32 : 1, x = usual;
        int rc = rope_number(f, betas[i].from, 1e-3, 1e6, &x, err);

        if (rc < 0)
            return rc;
        arch_key(f, betas[i].to, key);
        if (x != usual)
            ggufwrite_f32(w, key, (float)x);
    }
    arch_key(f, "rope.scaling.yarn_truncate", key);
    if (is_whole == family_by_name(str_of(f->arch->gguf))->yarn_between)
        ggufwrite_bool(w, key, is_whole);
    return 0;
}

static int read_context(const struct hffolder *f, uint32_t *context, uint32_t *original,
                        struct llmos_error *err)
{
    int rc = hffolder_u32(f, "max_position_embeddings", 1, HPARAMS_CONTEXT_MAX, context, err);

    *original = *context;
    if (rc >= 0)
        rc = hffolder_u32(
            f, "original_max_position_embeddings|" ROPE_PATHS("original_max_position_embeddings"),
            2, HPARAMS_CONTEXT_MAX, original, err);
    return rc < 0 ? rc : 0;
}

/* The factor may be left to what the context has grown by. */
static int put_yarn(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    uint32_t context = 0, original = 0;
    int rc = read_context(f, &context, &original, err);
    double factor = original ? (double)context / original : 1;

    if (rc == 0)
        rc = put_scaled(w, f, "yarn", &factor, err);
    if (rc == 0)
        rc = put_yarn_length(w, f, factor, err);
    return rc == 0 ? put_yarn_ramp(w, f, err) : rc;
}

/* Long texts of Phi-3 rotate by other factors, and attention is sharpened by one number. */
static int put_longrope(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    uint32_t context = 0, original = 0;
    double scale, attn = 0;
    char key[96];
    int rc = read_context(f, &context, &original, err);

    if (rc < 0)
        return rc;
    if (!original)
        return fail(err, LLMOS_EFORMAT, "'%s' lacks 'original_max_position_embeddings'",
                    HFFOLDER_CONFIG);
    scale = (double)context / original;
    rc = rope_number(f, ROPE_PATHS("factor"), 1e-3, 1e6, &scale, err);
    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("attention_factor"), 1e-3, 1e3, &attn, err);
    if (rc < 0)
        return rc;
    if (attn == 0)
        attn = scale > 1 ? sqrt(1 + log(scale) / log((double)original)) : 1;
    arch_key(f, "rope.scaling.attn_factor", key);
    ggufwrite_f32(w, key, (float)attn);
    return 0;
}

static int put_rope(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    struct str kind = rope_kind(f);
    double factor = 1;

    if (!kind.at || str_is(kind, "default") || str_is(kind, "llama3"))
        return 0;
    if (str_is(kind, "linear"))
        return put_scaled(w, f, "linear", &factor, err);
    if (str_is(kind, "yarn"))
        return put_yarn(w, f, err);
    if (str_is(kind, "longrope") || str_is(kind, "su"))
        return put_longrope(w, f, err);
    return fail(err, LLMOS_EUNSUPPORTED,
                "'rope_scaling.rope_type' in '%s' is '%.*s'; this version knows: default linear "
                "yarn llama3 longrope",
                HFFOLDER_CONFIG, (int)(kind.len < 40 ? kind.len : 40), kind.at);
}

/* Llama 3: waves longer than the old context are slowed by `factor`, short ones stay, and between
 * them it changes smoothly (its configuration_llama.py, "llama3"). */
static int llama3_factors(const struct hffolder *f, const struct hfmeta *m, float *out,
                          struct llmos_error *err)
{
    double base = 10000, factor = 8, low = 1, high = 4, context = 8192;
    int rc = rope_number(f, "rope_theta|rope_parameters.rope_theta", 1, 1e15, &base, err);

    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("factor"), 1e-3, 1e6, &factor, err);
    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("low_freq_factor"), 1e-3, 1e6, &low, err);
    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("high_freq_factor"), 1e-3, 1e6, &high, err);
    if (rc == 0)
        rc = rope_number(f, ROPE_PATHS("original_max_position_embeddings"), 1, HPARAMS_CONTEXT_MAX,
                         &context, err);
    if (rc < 0)
        return rc;
    if (!(high > low) || m->head_dim / 2 > HFMETA_FACTORS_MAX)
        return fail(err, LLMOS_EFORMAT, "'%s': high_freq_factor is not above low_freq_factor",
                    HFFOLDER_CONFIG);
    for (uint32_t i = 0; i < m->head_dim / 2; i++) {
        double length = 2 * M_PI * pow(base, 2.0 * i / m->head_dim);
        double smooth = (context / length - low) / (high - low);

        if (length < context / high)
            out[i] = 1;
        else if (length > context / low)
            out[i] = (float)factor;
        else
            out[i] = (float)(1 / ((1 - smooth) / factor + smooth));
    }
    return (int)(m->head_dim / 2);
}

static int list_factors(const struct hffolder *f, const struct hfmeta *m, const char *paths,
                        float *out, struct llmos_error *err)
{
    struct jdoc_ref list = hffolder_config(f, paths);
    uint32_t n = 0;

    if (jdoc_count(list) != m->rope_dims / 2 || m->rope_dims / 2 > HFMETA_FACTORS_MAX ||
        !jdoc_is(list, JDOC_ARRAY))
        return fail(err, LLMOS_EFORMAT, "'%.*s' in '%s' has not %" PRIu32 " factors",
                    (int)strcspn(paths, "|"), paths, HFFOLDER_CONFIG, m->rope_dims / 2);
    for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v); v = jdoc_next(list, v, NULL)) {
        double x;

        if (!jdoc_number(v, &x))
            return fail(err, LLMOS_EFORMAT, "a factor in '%.*s' is no number",
                        (int)strcspn(paths, "|"), paths);
        out[n++] = (float)x;
    }
    return (int)n;
}

int hfmeta_factors(const struct hffolder *f, const struct hfmeta *m, unsigned which, float *out,
                   const char **tensor, struct llmos_error *err)
{
    static const char *const tensors[HFMETA_FACTORS] = {
        "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"};
    struct str kind = rope_kind(f);
    bool is_long = str_is(kind, "longrope") || str_is(kind, "su");

    *tensor = tensors[which];
    if (!kind.at)
        return 0;
    if (which == 0)
        return str_is(kind, "llama3") ? llama3_factors(f, m, out, err) : 0;
    if (!is_long)
        return 0;
    return which == 1 ? list_factors(f, m, ROPE_PATHS("long_factor"), out, err)
                      : list_factors(f, m, ROPE_PATHS("short_factor"), out, err);
}

/* ---- the rest ---- */

/* How the vectors of a text's tokens become one: sentence-transformers says so. */
static int put_pooling(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    static const struct {
        const char *mode;
        enum pooling pooling;
    } modes[] = {{"pooling_mode_mean_tokens", POOLING_MEAN},
                 {"pooling_mode_cls_token", POOLING_CLS},
                 {"pooling_mode_lasttoken", POOLING_LAST}};
    struct jdoc_ref p = jdoc_root(&f->pooling);
    enum pooling pooling = POOLING_NONE;
    unsigned count = 0;
    char key[96];

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
        if (jdoc_true(jdoc_get(p, modes[i].mode))) {
            pooling = modes[i].pooling;
            count++;
        }
    if (f->arch->labels == HFARCH_LABELS_TEXTS)
        pooling = POOLING_RANK;
    else if (jdoc_at(p) && count != 1)
        return fail(
            err, LLMOS_EUNSUPPORTED,
            "'1_Pooling/config.json' sets %u of the ways that this version knows to make one "
            "vector of a text's: mean_tokens cls_token lasttoken",
            count);
    arch_key(f, "pooling_type", key);
    if (pooling != POOLING_NONE)
        ggufwrite_u32(w, key, pooling);
    return 0;
}

/* Encoders always say it; of models that generate, those that differ from their family. */
static int put_activation(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    struct str name = jdoc_text(
        hffolder_config(f, "hidden_activation|hidden_act|activation_function|activation"));
    struct str of_head = jdoc_text(hffolder_config(f, "classifier_activation"));
    enum activation activation;
    char key[96];

    if (!name.at)
        return 0;
    if (str_is(name, "swiglu")) /* nomic-bert */
        name = STR("silu");
    if (f->arch->labels != HFARCH_NO_LABELS && of_head.at && !str_eq(of_head, name))
        return fail(err, LLMOS_EUNSUPPORTED,
                    "'%s': the classifier's activation is '%.*s' and not that of the layers, which "
                    "this version cannot compute",
                    HFFOLDER_CONFIG, (int)(of_head.len < 40 ? of_head.len : 40), of_head.at);
    if (!activation_by_name(name, &activation))
        return fail(err, LLMOS_EUNSUPPORTED,
                    "'%s' says activation '%.*s'; this version knows: " ACTIVATION_NAMES,
                    HFFOLDER_CONFIG, (int)(name.len < 40 ? name.len : 40), name.at);
    arch_key(f, "hidden_activation", key);
    if (f->arch->is_encoder || activation != family_by_name(str_of(f->arch->gguf))->activation)
        ggufwrite_str(w, key, name);
    return 0;
}

/* What a classifier looks at, where that is not the first token for all of a family. */
static int put_classifier(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    struct str pooling = jdoc_text(hffolder_config(f, "classifier_pooling"));
    char key[96];

    if (f->arch->labels == HFARCH_LABELS_TOKENS) {
        arch_key(f, "classifier.labels_tokens", key);
        ggufwrite_bool(w, key, true);
    }
    if (f->arch->labels_relu) {
        arch_key(f, "classifier.activation", key);
        ggufwrite_str(w, key, STR("relu"));
    }
    if (f->arch->labels != HFARCH_LABELS_TEXTS || !pooling.at)
        return 0;
    if (!str_is(pooling, "cls") && !str_is(pooling, "mean"))
        return fail(err, LLMOS_EUNSUPPORTED,
                    "'%s': 'classifier_pooling' is '%.*s'; this version knows: cls mean",
                    HFFOLDER_CONFIG, (int)(pooling.len < 40 ? pooling.len : 40), pooling.at);
    arch_key(f, "classifier.pooling_type", key);
    ggufwrite_u32(w, key, str_is(pooling, "cls") ? POOLING_CLS : POOLING_MEAN);
    return 0;
}

static int put_labels(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    struct jdoc_ref labels = hffolder_config(f, "id2label");
    char key[96], id[16];

    if (f->arch->labels == HFARCH_NO_LABELS || !jdoc_is(labels, JDOC_OBJECT))
        return 0;
    if (jdoc_count(labels) > HPARAMS_LABELS_MAX)
        return fail(err, LLMOS_ELIMIT, "%" PRIu32 " labels, at most %d are accepted",
                    jdoc_count(labels), HPARAMS_LABELS_MAX);
    arch_key(f, "classifier.output_labels", key);
    ggufwrite_array(w, key, GGUF_STRING, jdoc_count(labels));
    for (uint32_t i = 0; i < jdoc_count(labels); i++) {
        struct str label;

        snprintf(id, sizeof(id), "%" PRIu32, i);
        label = jdoc_text(jdoc_get(labels, id));
        if (!label.at)
            return fail(err, LLMOS_EFORMAT, "'id2label' in '%s' has no label %" PRIu32,
                        HFFOLDER_CONFIG, i);
        ggufwrite_put_str(w, label);
    }
    return 0;
}

static int put_encoder(struct ggufwrite *w, const struct hffolder *f, struct llmos_error *err)
{
    char key[96];
    int rc = put_pooling(w, f, err);

    if (rc < 0 || !f->arch->is_encoder)
        return rc;
    arch_key(f, "attention.causal", key);
    ggufwrite_bool(w, key, false);
    rc = put_classifier(w, f, err);
    return rc == 0 ? put_labels(w, f, err) : rc;
}

static void put_sampling(struct ggufwrite *w, const struct hffolder *f)
{
    static const struct {
        const char *from, *to;
    } floats[] = {{"temperature", "general.sampling.temp"},
                  {"top_p", "general.sampling.top_p"},
                  {"min_p", "general.sampling.min_p"},
                  {"repetition_penalty", "general.sampling.penalty_repeat"}};
    struct jdoc_ref root = jdoc_root(&f->generation);
    int64_t top_k;
    double x;

    if (jdoc_integer(jdoc_get(root, "top_k"), &top_k) && top_k >= 0 && top_k <= INT32_MAX)
        ggufwrite_u32(w, "general.sampling.top_k", (uint32_t)top_k);
    for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++)
        if (jdoc_number(jdoc_get(root, floats[i].from), &x) && x >= 0 && x <= 1000)
            ggufwrite_f32(w, floats[i].to, (float)x);
}

int hfmeta_put(struct ggufwrite *w, const struct hffolder *f, const struct hfmeta *m,
               struct str name, uint32_t file_type, struct llmos_error *err)
{
    char key[96];
    int rc;

    ggufwrite_str(w, "general.architecture", str_of(f->arch->gguf));
    ggufwrite_str(w, "general.type", STR("model"));
    ggufwrite_str(w, "general.name", name);
    ggufwrite_u32(w, "general.file_type", file_type);
    ggufwrite_u32(w, "general.quantization_version", 2);
    put_sampling(w, f);
    rc = put_keys(w, f, m, err);
    /* GPT-2 writes it only where it is not four times the width. */
    if (rc == 0 && !jdoc_at(hffolder_config(f, hfarch_key(f->arch, "feed_forward_length")->from))) {
        snprintf(key, sizeof(key), "%s.feed_forward_length", f->arch->gguf);
        ggufwrite_u32(w, key, 4 * m->width);
    }
    if (rc == 0)
        rc = put_activation(w, f, err);
    if (rc == 0)
        rc = put_rope(w, f, err);
    return rc == 0 ? put_encoder(w, f, err) : rc;
}
