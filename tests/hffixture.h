/* SPDX-License-Identifier: Apache-2.0 */
/* hffixture.h - a Hugging Face folder in memory: a llama of one layer, 8 columns, 2 heads, and
 * files that a test may exchange.  Values are small whole numbers that tell where they stood. */
#ifndef TESTS_HFFIXTURE_H
#define TESTS_HFFIXTURE_H

#include "base/buf.h"
#include "model/hfconvert.h"

#include <stdio.h>

#define HFFIXTURE_CONFIG                                                                          \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 8, \"intermediate_size\": 16, " \
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "          \
    "\"max_position_embeddings\": 32, \"vocab_size\": 8, \"rms_norm_eps\": 1e-5, "                \
    "\"rope_theta\": 10000.0, \"eos_token_id\": [2, 7]}"

#define HFFIXTURE_TOKENIZER                                                                   \
    "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true}, "              \
    "{\"id\": 2, \"content\": \"</s>\", \"special\": true}, "                                 \
    "{\"id\": 7, \"content\": \"<|im_end|>\", \"special\": false, \"rstrip\": true}], "       \
    "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", "     \
    "\"prepend\": \"\\u2581\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, "   \
    "\"content\": \"\\u2581\"}]}, \"post_processor\": {\"type\": \"TemplateProcessing\", "    \
    "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, {\"Sequence\": {\"id\": \"A\"}}]}, " \
    "\"model\": {\"type\": \"BPE\", \"byte_fallback\": true, \"unk_token\": \"<unk>\", "      \
    "\"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2, \"<0x0A>\": 3, \"a\": 4, \"b\": 5, "  \
    "\"ab\": 6}, \"merges\": [\"a b\"]}}"

struct hffixture {
    struct hffile files[HFFOLDER_FILES_MAX];
    unsigned count;
    struct buf header, values;
    struct buf shard;
};

static inline void hffixture_tensor(struct hffixture *x, const char *name, const char *shape,
                                    uint32_t values)
{
    size_t from = x->values.len;

    for (uint32_t i = 0; i < values; i++)
        buf_put_f32(&x->values, (float)(i % 256));
    buf_printf(&x->header,
               "%s\"%s\": {\"dtype\": \"F32\", \"shape\": %s, \"data_offsets\": [%zu, %zu]}",
               x->header.len > 1 ? ", " : "", name, shape, from, x->values.len);
}

/* Any type: its name in the file, and bytes. */
static inline void hffixture_bytes(struct hffixture *x, const char *name, const char *type,
                                   const char *shape, const void *bytes, size_t n)
{
    size_t from = x->values.len;

    buf_put(&x->values, bytes, n);
    buf_printf(&x->header,
               "%s\"%s\": {\"dtype\": \"%s\", \"shape\": %s, \"data_offsets\": [%zu, %zu]}",
               x->header.len > 1 ? ", " : "", name, type, shape, from, x->values.len);
}

/* A file that is there already is exchanged; bytes of NULL: it is taken away. */
static inline void hffixture_set(struct hffixture *x, const char *name, struct str bytes)
{
    for (unsigned i = 0; i < x->count; i++)
        if (strcmp(x->files[i].name, name) == 0) {
            x->files[i] = x->files[--x->count];
            break;
        }
    if (bytes.at)
        x->files[x->count++] = (struct hffile){name, bytes};
}

/* outer: stands in front of the names of all tensors. */
static inline void hffixture_init_as(struct hffixture *x, const char *outer)
{
    static const struct {
        const char *name, *shape;
        uint32_t values;
    } tensors[] = {
        {"model.embed_tokens.weight", "[8, 8]", 64},
        {"model.norm.weight", "[8]", 8},
        {"lm_head.weight", "[8, 8]", 64},
        {"model.layers.0.input_layernorm.weight", "[8]", 8},
        {"model.layers.0.post_attention_layernorm.weight", "[8]", 8},
        {"model.layers.0.self_attn.q_proj.weight", "[8, 8]", 64},
        {"model.layers.0.self_attn.k_proj.weight", "[4, 8]", 32},
        {"model.layers.0.self_attn.v_proj.weight", "[4, 8]", 32},
        {"model.layers.0.self_attn.o_proj.weight", "[8, 8]", 64},
        {"model.layers.0.mlp.gate_proj.weight", "[16, 8]", 128},
        {"model.layers.0.mlp.up_proj.weight", "[16, 8]", 128},
        {"model.layers.0.mlp.down_proj.weight", "[8, 16]", 128},
    };
    char name[128];

    memset(x, 0, sizeof(*x));
    buf_init(&x->header, 1 << 16);
    buf_init(&x->values, 1 << 16);
    buf_init(&x->shard, 1 << 20);
    buf_puts(&x->header, "{");
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++) {
        snprintf(name, sizeof(name), "%s%s", outer, tensors[i].name);
        hffixture_tensor(x, name, tensors[i].shape, tensors[i].values);
    }
    hffixture_set(x, "config.json", STR(HFFIXTURE_CONFIG));
    hffixture_set(x, "tokenizer.json", STR(HFFIXTURE_TOKENIZER));
}

static inline void hffixture_init(struct hffixture *x)
{
    hffixture_init_as(x, "");
}

/* Puts the tensors that were described into a file of that name. */
static inline void hffixture_close(struct hffixture *x, const char *name)
{
    buf_puts(&x->header, "}");
    buf_put_u64(&x->shard, x->header.len);
    buf_put(&x->shard, x->header.at, x->header.len);
    buf_put(&x->shard, x->values.at, x->values.len);
    hffixture_set(x, name, buf_str(&x->shard));
}

static inline void hffixture_fini(struct hffixture *x)
{
    buf_fini(&x->header);
    buf_fini(&x->values);
    buf_fini(&x->shard);
}

#endif
