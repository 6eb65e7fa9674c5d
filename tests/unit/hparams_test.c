/* SPDX-License-Identifier: Apache-2.0 */
/* hparams_test.c - what is read from the keys of a model, and what is refused. */
#include "test.h"

#include "model/hparams.h"
#include "modelfile.h"

/* One more key than a good header has, or one instead. */
struct change {
    const char *key;
    enum gguf_type type;
    uint32_t u;
    float f;
    const char *s;
};

static void put(struct ggufwrite *w, const struct change *c)
{
    if (c->type == GGUF_STRING)
        ggufwrite_str(w, c->key, str_of(c->s));
    else if (c->type == GGUF_F32)
        ggufwrite_f32(w, c->key, c->f);
    else
        ggufwrite_u32(w, c->key, c->u);
}

static const struct change good[] = {
    {"general.architecture", GGUF_STRING, .s = "llama"},
    {"llama.block_count", GGUF_U32, 1},
    {"llama.context_length", GGUF_U32, 4096},
    {"llama.embedding_length", GGUF_U32, 8},
    {"llama.feed_forward_length", GGUF_U32, 8},
    {"llama.attention.head_count", GGUF_U32, 2},
    {"llama.attention.layer_norm_rms_epsilon", GGUF_F32, .f = 1e-5f},
};

/* Reads hyperparameters of a header with these changes and the tensors "token_embd.weight" {8, 5}
 * and, if `factors`, "rope_freqs.weight". */
static int read_header(struct hparams *h, const struct change *changes, size_t count,
                       const char *without, bool factors, struct llmos_error *err)
{
    int fd = modelfile_fd("", 0), rc;
    struct ggufwrite w;
    struct gguf g;
    unsigned char *bytes;
    size_t n;

    ggufwrite_init(&w, fd);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        bool changed = without && strcmp(without, good[i].key) == 0;

        for (size_t k = 0; k < count; k++)
            changed |= strcmp(changes[k].key, good[i].key) == 0;
        if (!changed)
            put(&w, &good[i]);
    }
    for (size_t k = 0; k < count; k++)
        put(&w, &changes[k]);
    ggufwrite_tensor(&w, "token_embd.weight", DTYPE_F32, (uint64_t[]){8, 5}, 2);
    if (factors)
        ggufwrite_tensor(&w, "rope_freqs.weight", DTYPE_F32, (uint64_t[]){2}, 1);
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_values(&w, (float[40]){0}, 40, NULL), 0);
    if (factors)
        CHECK_INT(ggufwrite_values(&w, (float[]){1, 2}, 2, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    bytes = modelfile_bytes(fd, &n);
    CHECK_INT(gguf_parse(&g, bytes, n, NULL), 0);
    rc = hparams_read(h, &g, err);
    gguf_fini(&g);
    free(bytes);
    return rc;
}

static int read_changed(struct hparams *h, const struct change *changes, size_t count, bool factors,
                        struct llmos_error *err)
{
    return read_header(h, changes, count, NULL, factors, err);
}

#define READ(h, err, factors, ...)                    \
    read_changed((h), (struct change[]){__VA_ARGS__}, \
                 sizeof((struct change[]){__VA_ARGS__}) / sizeof(struct change), (factors), (err))

TEST(hparams_have_the_defaults_of_the_format)
{
    struct hparams h;

    CHECK_INT(read_changed(&h, NULL, 0, false, NULL), 0);
    CHECK_STR(h.architecture, "llama");
    CHECK_STR(h.name, "");
    CHECK_INT(h.n_head_kv, 2);
    CHECK_INT(h.head_dim, 4);
    CHECK_INT(h.rope_dims, 4);
    CHECK_INT(h.n_vocab, 5);
    CHECK_NEAR((double)h.rope_base, 10000, 0);
    CHECK_INT(h.rope_scaling, ROPE_NONE);
    CHECK_NEAR((double)h.rope_factor, 1, 0);
    CHECK(h.tied_output);
    CHECK_INT(h.parameter_count, 40);
    CHECK_STR(h.file_type, "f32");
    CHECK_INT(hparams_kv_bytes(&h), 1 * 2 * 2 * 4 * 2);
}

TEST(hparams_take_a_head_size_of_its_own)
{
    struct llmos_error err = {0};
    struct hparams h;

    CHECK_INT(READ(&h, &err, false, {"llama.attention.key_length", GGUF_U32, 6},
                   {"llama.attention.value_length", GGUF_U32, 6}),
              0);
    CHECK_INT(h.head_dim, 6);
    CHECK_INT(READ(&h, &err, false, {"llama.attention.value_length", GGUF_U32, 6}),
              LLMOS_EUNSUPPORTED);
    CHECK_STR(err.text, "keys are 4 wide and values 6; this version needs them equal");
    CHECK_INT(READ(&h, &err, false, {"llama.attention.key_length", GGUF_U32, 1025}), LLMOS_EFORMAT);
}

TEST(hparams_know_each_way_of_scaling)
{
    struct hparams h;

    CHECK_INT(READ(&h, NULL, false, {"llama.rope.scale_linear", GGUF_F32, .f = 4}), 0);
    CHECK_INT(h.rope_scaling, ROPE_LINEAR);
    CHECK_NEAR((double)h.rope_factor, 4, 0);
    CHECK_INT(READ(&h, NULL, false, {"llama.rope.scaling.type", GGUF_STRING, .s = "linear"},
                   {"llama.rope.scaling.factor", GGUF_F32, .f = 2}),
              0);
    CHECK_INT(h.rope_scaling, ROPE_LINEAR);
    CHECK_NEAR((double)h.rope_factor, 2, 0);
    CHECK_INT(READ(&h, NULL, false, {"llama.rope.scaling.type", GGUF_STRING, .s = "none"},
                   {"llama.rope.scaling.factor", GGUF_F32, .f = 2}),
              0);
    CHECK_INT(h.rope_scaling, ROPE_NONE);
    CHECK_NEAR((double)h.rope_factor, 1, 0);
    CHECK_INT(READ(&h, NULL, false, {"llama.rope.scaling.type", GGUF_STRING, .s = "yarn"},
                   {"llama.rope.scaling.factor", GGUF_F32, .f = 16},
                   {"llama.rope.scaling.original_context_length", GGUF_U32, 2048}),
              0);
    CHECK_INT(h.rope_scaling, ROPE_YARN);
    CHECK_INT(h.rope_ctx_orig, 2048);
    CHECK_NEAR((double)h.yarn_ext, 1, 0);
    CHECK_NEAR((double)h.yarn_beta_fast, 32, 0);
    CHECK_INT(read_changed(&h, NULL, 0, true, NULL), 0);
    CHECK_INT(h.rope_scaling, ROPE_LLAMA3);
}

TEST(hparams_refuse_scalings_that_cannot_be)
{
    struct llmos_error err = {0};
    struct hparams h;

    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.type", GGUF_STRING, .s = "dynamic"}),
              LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "'dynamic'; this version knows: none linear yarn llama3 longrope");
    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.type", GGUF_STRING, .s = "longrope"}),
              LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "lacks tensor 'rope_factors_long.weight', which longrope");
    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.type", GGUF_STRING, .s = "llama3"}),
              LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "lacks tensor 'rope_freqs.weight'");
    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.factor", GGUF_F32, .f = 0}),
              LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.factor", GGUF_F32, .f = NAN}),
              LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.factor", GGUF_F32, .f = -4}),
              LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.yarn_beta_fast", GGUF_F32, .f = 0}),
              LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.rope.scaling.original_context_length", GGUF_U32, 0}),
              LLMOS_EFORMAT);
}

TEST(hparams_bound_a_mixture_of_experts)
{
    struct llmos_error err = {0};
    struct hparams h;

    CHECK_INT(READ(&h, &err, false, {"llama.expert_count", GGUF_U32, 8}), LLMOS_EFORMAT);
    CHECK_STR(err.text, "the file lacks key 'llama.expert_used_count'");
    CHECK_INT(READ(&h, &err, false, {"llama.expert_count", GGUF_U32, 1025}), LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.expert_count", GGUF_U32, 8},
                   {"llama.expert_used_count", GGUF_U32, 9}),
              LLMOS_EFORMAT);
    CHECK_STR(err.text, "each token uses 9 experts, the model has 8");
    CHECK_INT(READ(&h, &err, false, {"llama.expert_count", GGUF_U32, 8},
                   {"llama.expert_used_count", GGUF_U32, 2}),
              0);
    CHECK_INT(h.n_ff_exp, h.n_ff);
    CHECK_INT(READ(&h, &err, false, {"llama.expert_count", GGUF_U32, 0}), 0);
}

TEST(hparams_name_a_key_that_is_missing)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct llmos_error err = {0};
        struct hparams h;
        char says[128];

        CHECK_INT(read_header(&h, NULL, 0, good[i].key, false, &err), LLMOS_EFORMAT);
        snprintf(says, sizeof(says), "the file lacks key '%s'", good[i].key);
        CHECK_STR(err.text, says);
    }
}

TEST(hparams_clean_the_name_of_the_model)
{
    struct hparams h;

    CHECK_INT(
        READ(&h, NULL, false, {"general.name", GGUF_STRING, .s = "a\x1b[31m\xff\xc2\x9b\xc3\xa9"}),
        0);
    CHECK_STR(h.name, "a?[31m??\xc3\xa9");
}

TEST(hparams_name_the_architectures_there_are)
{
    struct llmos_error err = {0};
    struct hparams h;

    CHECK_INT(READ(&h, &err, false, {"general.architecture", GGUF_STRING, .s = "qwne3"}),
              LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "architecture 'qwne3' is not supported; the nearest is 'qwen3'");
    CHECK_INT(READ(&h, &err, false, {"general.architecture", GGUF_STRING, .s = "mamba"}),
              LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(err.text, "architecture 'mamba' is not supported; this version runs: llama");
}

TEST(hparams_bound_windows_factors_and_caps)
{
    struct llmos_error err = {0};
    struct hparams h;

    CHECK_INT(READ(&h, &err, false, {"llama.attention.sliding_window", GGUF_U32, 7},
                   {"llama.logit_scale", GGUF_F32, .f = 4}),
              0);
    CHECK(hparams_has_window(&h, 0));
    CHECK_NEAR((double)h.logit_scale, 0.25, 0);
    CHECK_INT(READ(&h, &err, false, {"llama.attention.sliding_window", GGUF_U32, 1u << 30}),
              LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.attention.sliding_window_pattern", GGUF_U32, 1u << 30}),
              LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.residual_scale", GGUF_F32, .f = NAN}), LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.attn_logit_softcapping", GGUF_F32, .f = -1}),
              LLMOS_EFORMAT);
    CHECK_INT(READ(&h, &err, false, {"llama.rope.freq_base_swa", GGUF_F32, .f = 0}), LLMOS_EFORMAT);
}
