/* SPDX-License-Identifier: Apache-2.0 */
/* synth.c - see synth.h */
#include "model/synth.h"

#include "base/mem.h"
#include "model/ggufwrite.h"
#include "model/hparams.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#define SPACE    "\xe2\x96\x81"
#define MIX_NAME "q4_k_m"

static const struct {
    const char *name;
    struct synth_options options;
} shapes[] = {
    {"tiny", {2, 64, 4, 2, 128, 320, 256, DTYPE_F32, 1, false, false, false}},
    {"135m", {30, 576, 9, 3, 1536, 49152, 8192, DTYPE_F32, 1, true, false, false}},
    {"0.5b", {24, 896, 14, 2, 4864, 151936, 32768, DTYPE_F32, 1, true, false, false}},
    {"1b", {16, 2048, 32, 8, 8192, 128256, 131072, DTYPE_F32, 1, true, false, false}},
};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

int synth_shape(struct synth_options *o, const char *name, struct llmos_error *err)
{
    char list[128] = "";

    for (size_t i = 0; i < SHAPES; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            *o = shapes[i].options;
            return 0;
        }
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "",
                 shapes[i].name);
    }
    return fail(err, LLMOS_EINVAL, "there is no shape '%.40s'; there are %s", name, list);
}

int synth_type(struct synth_options *o, const char *name, struct llmos_error *err)
{
    char list[256] = MIX_NAME;

    o->k_mix = strcmp(name, MIX_NAME) == 0;
    o->type = DTYPE_Q4_K;
    for (int t = 0; !o->k_mix && t < DTYPE_COUNT; t++) {
        char lower[16];
        size_t n = 0;

        for (const char *at = dtype_info((enum dtype)t)->name; *at; at++)
            lower[n++] = (char)tolower((unsigned char)*at);
        lower[n] = '\0';
        o->type = (enum dtype)t;
        if (strcmp(lower, name) == 0)
            return 0;
        snprintf(list + strlen(list), sizeof(list) - strlen(list), ", %s", lower);
    }
    return o->k_mix ? 0
                    : fail(err, LLMOS_EINVAL, "there is no type '%.40s'; there are %s", name, list);
}

/* ---- the vocabulary ---- */

/* In this order after the special tokens.  Each of more than one letter is the union of two that
 * stand before it, so that merging finds it. */
static const char *const pieces[] = {
    SPACE,      "e",        "t",        "a",         "o",          "i",         "n",
    "s",        "h",        "r",        "d",         "l",          "u",         "c",
    "m",        "w",        "f",        "g",         "y",          "p",         "b",
    "v",        "k",        "j",        "x",         "q",          "z",         SPACE "t",
    "he",       SPACE "a",  "in",       SPACE "the", "er",         "on",        "re",
    SPACE "s",  "nd",       "at",       SPACE "w",   SPACE "o",    "en",        "ou",
    SPACE "b",  "ed",       SPACE "h",  "it",        "is",         "ing",       SPACE "and",
    "an",       SPACE "c",  "or",       SPACE "f",   "es",         SPACE "in",  SPACE "m",
    SPACE "to", SPACE "d",  SPACE "p",  "ar",        SPACE "l",    "as",        SPACE "of",
    "ll",       "al",       SPACE "n",  SPACE "g",   "le",         SPACE "he",  SPACE "be",
    SPACE "re", SPACE "it", SPACE "is", "om",        "ic",         "ent",       "st",
    "ly",       "ver",      "ion",      "hat",       SPACE "that", SPACE SPACE,
};
/* Behind those, one character each. */
static const char characters[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,!?;:'\"-()[]{}<>/\\|@#$%&*+=_~^`\n\t";

#define PIECES     (sizeof(pieces) / sizeof(pieces[0]))
#define LETTERS    27 /* the least that a vocabulary has of them */
#define CHARACTERS (sizeof(characters) - 1)

struct piece {
    char text[32];
    int32_t kind; /* as in the file: 1 normal, 2 unknown, 3 control, 6 byte */
    float score;
};

static uint32_t special_count(const struct synth_options *o)
{
    return 3 + (o->no_bytes ? 0 : 256) + (o->chatml ? 2 : 0);
}

static struct piece special_at(const struct synth_options *o, uint32_t id)
{
    static const char *const names[] = {"<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"};
    struct piece p = {.kind = 3};
    bool is_byte = id >= 3 && id < 3 + 256 && !o->no_bytes;

    if (id >= 3 && !is_byte && !o->no_bytes)
        id -= 256;
    if (is_byte)
        snprintf(p.text, sizeof(p.text), "<0x%02X>", id - 3);
    else
        snprintf(p.text, sizeof(p.text), "%s", names[id]);
    p.kind = is_byte ? 6 : id == 0 ? 2 : 3;
    return p;
}

static struct piece piece_at(const struct synth_options *o, uint32_t id)
{
    struct piece p = {.kind = 1};

    if (id < special_count(o))
        return special_at(o, id);
    id -= special_count(o);
    p.score = -(float)(id + 1);
    if (id < PIECES)
        snprintf(p.text, sizeof(p.text), "%s", pieces[id]);
    else if (id < PIECES + CHARACTERS)
        p.text[0] = characters[id - PIECES];
    else /* all of one length, so that none is the beginning of another: merging makes none of them
          */
        snprintf(p.text, sizeof(p.text), SPACE "x%07" PRIu32, id);
    return p;
}

static void write_vocabulary(struct ggufwrite *w, const struct synth_options *o)
{
    ggufwrite_str(w, "tokenizer.ggml.model", STR("llama"));
    ggufwrite_array(w, "tokenizer.ggml.tokens", GGUF_STRING, o->vocabulary);
    for (uint32_t id = 0; id < o->vocabulary; id++)
        ggufwrite_put_str(w, str_of(piece_at(o, id).text));
    ggufwrite_array(w, "tokenizer.ggml.scores", GGUF_F32, o->vocabulary);
    for (uint32_t id = 0; id < o->vocabulary; id++)
        ggufwrite_put_f32(w, piece_at(o, id).score);
    ggufwrite_array(w, "tokenizer.ggml.token_type", GGUF_I32, o->vocabulary);
    for (uint32_t id = 0; id < o->vocabulary; id++)
        ggufwrite_put_i32(w, piece_at(o, id).kind);
    ggufwrite_u32(w, "tokenizer.ggml.unknown_token_id", 0);
    ggufwrite_u32(w, "tokenizer.ggml.bos_token_id", 1);
    ggufwrite_u32(w, "tokenizer.ggml.eos_token_id", 2);
    ggufwrite_bool(w, "tokenizer.ggml.add_bos_token", true);
    ggufwrite_bool(w, "tokenizer.ggml.add_eos_token", false);
    if (o->chatml)
        ggufwrite_str(
            w, "tokenizer.chat_template",
            str_of(o->chat_template
                       ? o->chat_template
                       : "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
                         "<|im_end|>\n{% endfor %}{{ '<|im_start|>assistant\\n' }}"));
}

static void write_keys(struct ggufwrite *w, const struct synth_options *o)
{
    ggufwrite_str(w, "general.architecture", STR("llama"));
    ggufwrite_str(w, "general.name", STR("synthetic"));
    ggufwrite_u32(w, "llama.block_count", o->layers);
    ggufwrite_u32(w, "llama.context_length", o->context);
    ggufwrite_u32(w, "llama.embedding_length", o->width);
    ggufwrite_u32(w, "llama.feed_forward_length", o->hidden);
    ggufwrite_u32(w, "llama.attention.head_count", o->heads);
    ggufwrite_u32(w, "llama.attention.head_count_kv", o->heads_kv);
    ggufwrite_u32(w, "llama.rope.dimension_count", o->width / o->heads);
    ggufwrite_f32(w, "llama.rope.freq_base", 10000.0f);
    ggufwrite_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    ggufwrite_u32(w, "llama.vocab_size", o->vocabulary);
}

/* ---- the weights ---- */

/* A larger tensor is put together from rows that begin at random places of a pool of values:
 * making and quantising 10^9 different ones would take longer than what is to be measured with
 * them.  One pool serves all tensors of a type and width of the distribution: four widths, at most
 * three types. */
#define POOL_VALUES (1u << 20)
#define POOLS_MAX   12
#define SMALL       (1u << 16) /* a tensor of so many values gets its own */
#define FEW         (1u << 12) /* likewise, and fresh in a pool, of types that search long */

struct pool_of {
    enum dtype type;
    float width;
    unsigned char *blocks;
};

struct weaver {
    const struct synth_options *o;
    struct ggufwrite *w;
    struct llmos_error *err;
    uint64_t random, bytes_done, bytes_total;
    bool declare; /* first round: the table; second: the values */
    float *values;
    struct pool_of pools[POOLS_MAX];
    unsigned pool_count;
    int rc;
};

/* SplitMix64 (Steele, Lea & Flood 2014). */
static uint64_t next_random(struct weaver *v)
{
    uint64_t z = v->random += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Uniform in (-width, width). */
static void fill(struct weaver *v, float *x, size_t n, float width)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)(next_random(v) >> 40) * 0x1p-23f - 1.0f) * width;
}

/* Quantisers of these take up to 20 us a value. */
static bool searches(enum dtype type)
{
    return type >= DTYPE_Q2_K;
}

/* NULL: no memory. */
static const unsigned char *pool_of(struct weaver *v, enum dtype type, float width)
{
    size_t fresh = searches(type) ? FEW : POOL_VALUES;
    struct pool_of *p = v->pools;

    while (p < v->pools + v->pool_count && (p->type != type || p->width != width))
        p++;
    if (p < v->pools + v->pool_count)
        return p->blocks;
    assert(v->pool_count < POOLS_MAX);
    *p = (struct pool_of){type, width, mem_alloc(dtype_row_bytes(type, POOL_VALUES))};
    if (!p->blocks)
        return NULL;
    v->pool_count++;
    fill(v, v->values, fresh, width);
    dtype_info(type)->from_f32(v->values, NULL, p->blocks, fresh);
    for (size_t i = fresh; i < POOL_VALUES; i += fresh)
        memcpy(p->blocks + dtype_row_bytes(type, i), p->blocks, dtype_row_bytes(type, fresh));
    return p->blocks;
}

static int write_from_pool(struct weaver *v, enum dtype type, float width, uint64_t inner,
                           uint64_t rows)
{
    const struct dtype_info *t = dtype_info(type);
    size_t row_bytes = dtype_row_bytes(type, inner);
    size_t starts = (POOL_VALUES - inner) / t->block + 1;
    const unsigned char *blocks = pool_of(v, type, width);

    if (!blocks)
        return fail(v->err, LLMOS_ENOMEM, "no memory for %u random numbers", POOL_VALUES);
    for (uint64_t r = 0; r < rows; r++) {
        size_t start = next_random(v) % starts;
        int rc = ggufwrite_blocks(v->w, blocks + start * t->block_bytes, row_bytes, v->err);

        if (rc < 0)
            return rc;
        v->bytes_done += row_bytes;
        if (v->o->progress && r % 1024 == 0 &&
            !v->o->progress(v->o->cookie, v->bytes_done, v->bytes_total))
            return fail(v->err, LLMOS_ECANCELED, "interrupted");
    }
    return 0;
}

/* As llama.cpp names it: some layers are worth more bits. */
static bool gets_more_bits(uint32_t layer, uint32_t layers)
{
    return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

enum dtype synth_mix(const struct synth_options *o, const char *name, uint32_t layer,
                     uint64_t inner)
{
    bool is_whole = inner % K_BLOCK == 0;
    bool more = strcmp(name, "output.weight") == 0 ||
                (o->tied_output && strcmp(name, "token_embd.weight") == 0) ||
                ((strstr(name, ".attn_v.") || strstr(name, ".ffn_down.")) &&
                 gets_more_bits(layer, o->layers));

    if (more)
        return is_whole ? DTYPE_Q6_K : DTYPE_Q8_0;
    return is_whole ? DTYPE_Q4_K : DTYPE_Q5_0;
}

/* gain: the variance of what comes out, for inputs of variance 1; 0: a vector of ones. */
static void weave(struct weaver *v, const char *name, uint32_t layer, uint64_t inner, uint64_t rows,
                  double gain)
{
    enum dtype type = gain > 0 ? v->o->type : DTYPE_F32;
    float width = (float)sqrt(3 * gain / (double)inner);
    uint64_t n = inner * rows;

    if (v->rc < 0)
        return;
    if (gain > 0 && v->o->k_mix)
        type = synth_mix(v->o, name, layer, inner);
    if (v->declare) {
        ggufwrite_tensor(v->w, name, type, (uint64_t[]){inner, rows}, rows > 1 ? 2 : 1);
        v->bytes_total += dtype_row_bytes(type, inner) * rows;
        return;
    }
    if (gain > 0 && n > (searches(type) ? FEW : SMALL)) {
        v->rc = write_from_pool(v, type, width, inner, rows);
        return;
    }
    if (gain > 0)
        fill(v, v->values, n, width);
    else
        for (uint64_t i = 0; i < n; i++)
            v->values[i] = 1.0f;
    v->rc = ggufwrite_values(v->w, v->values, n, v->err);
}

static void weave_layer(struct weaver *v, uint32_t layer)
{
    const struct synth_options *o = v->o;
    uint32_t kv = o->width / o->heads * o->heads_kv;
    double share = 0.5 / o->layers; /* what each of 2 * layers parts adds to the residual stream */
    const struct {
        const char *name;
        uint64_t inner, rows;
        double gain;
    } tensors[] = {
        {"attn_norm", o->width, 1, 0},
        {"attn_q", o->width, o->width, 1},
        {"attn_k", o->width, kv, 1},
        {"attn_v", o->width, kv, 1},
        {"attn_output", o->width, o->width, share},
        {"ffn_norm", o->width, 1, 0},
        {"ffn_gate", o->width, o->hidden, 1},
        {"ffn_up", o->width, o->hidden, 1},
        {"ffn_down", o->hidden, o->width, share},
    };

    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        char name[64];

        snprintf(name, sizeof(name), "blk.%" PRIu32 ".%s.weight", layer, tensors[i].name);
        weave(v, name, layer, tensors[i].inner, tensors[i].rows, tensors[i].gain);
    }
}

static int weave_all(struct weaver *v, bool declare)
{
    const struct synth_options *o = v->o;

    v->declare = declare;
    weave(v, "token_embd.weight", 0, o->width, o->vocabulary, o->tied_output ? 4 : o->width);
    for (uint32_t l = 0; l < o->layers; l++)
        weave_layer(v, l);
    weave(v, "output_norm.weight", 0, o->width, 1, 0);
    if (!o->tied_output)
        weave(v, "output.weight", 0, o->width, o->vocabulary, 4);
    return v->rc;
}

/* ---- the file ---- */

static int check(const struct synth_options *o, struct llmos_error *err)
{
    uint32_t block = o->k_mix ? Q_BLOCK : dtype_info(o->type)->block;
    uint32_t least = special_count(o) + LETTERS;

    if (o->layers < 1 || o->layers > HPARAMS_LAYERS_MAX || o->width < 1 ||
        o->width > HPARAMS_WIDTH_MAX || o->hidden < 1 || o->hidden > HPARAMS_FF_MAX ||
        o->context < 1 || o->context > HPARAMS_CONTEXT_MAX || o->heads < 1 ||
        o->heads > HPARAMS_HEADS_MAX || o->heads_kv < 1)
        return fail(err, LLMOS_EINVAL, "a size of the model is 0 or too large");
    if (o->width % o->heads != 0 || o->width / o->heads % 2 != 0 || o->heads % o->heads_kv != 0)
        return fail(err, LLMOS_EINVAL,
                    "a width of %" PRIu32 ", %" PRIu32 " heads and %" PRIu32
                    " KV heads do not fit each other",
                    o->width, o->heads, o->heads_kv);
    if (o->width % block != 0 || o->hidden % block != 0)
        return fail(err, LLMOS_EINVAL, "type %s needs sizes that are multiples of %" PRIu32,
                    dtype_info(o->type)->name, block);
    if (o->vocabulary < least || o->vocabulary > HPARAMS_VOCAB_MAX)
        return fail(err, LLMOS_EINVAL, "%" PRIu32 " tokens; %" PRIu32 " to %d are possible",
                    o->vocabulary, least, HPARAMS_VOCAB_MAX);
    return 0;
}

static int write_all(struct weaver *v)
{
    int rc;

    write_keys(v->w, v->o);
    write_vocabulary(v->w, v->o);
    weave_all(v, true);
    rc = ggufwrite_begin(v->w, v->err);
    if (rc == 0)
        rc = weave_all(v, false);
    return rc < 0 ? rc : ggufwrite_end(v->w, v->err);
}

int synth_write(int fd, const struct synth_options *o, struct llmos_error *err)
{
    CLEANUP(free) float *values = NULL;
    struct ggufwrite w;
    struct weaver v = {.o = o, .w = &w, .err = err, .random = o->seed};
    int rc = check(o, err);

    if (rc < 0)
        return rc;
    v.values = values = mem_alloc(POOL_VALUES * sizeof(*values));
    if (!values)
        return fail(err, LLMOS_ENOMEM, "no memory for %u random numbers", POOL_VALUES);
    ggufwrite_init(&w, fd);
    rc = write_all(&v);
    ggufwrite_fini(&w);
    for (unsigned i = 0; i < v.pool_count; i++)
        mem_free(v.pools[i].blocks);
    return rc;
}
