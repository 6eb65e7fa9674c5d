/* SPDX-License-Identifier: Apache-2.0 */
/* hfconvert_test.c - a Hugging Face folder becomes a GGUF file, or a sentence */
#include "model/hfconvert.h"

#include "base/mem.h"
#include "model/gguf.h"
#include "model/hparams.h"
#include "test.h"

#include "hffixture.h"
#include "modelfile.h"

static struct hffixture folder;
static struct llmos_error err;
static unsigned char *bytes;
static struct gguf file;

static int convert(int type)
{
    const struct hfconvert_options o = {.type = type, .name = STR("tiny")};
    int fd = memfd_create("out", MFD_CLOEXEC);
    size_t n;
    int rc;

    err = (struct llmos_error){0};
    CHECK(fd >= 0);
    rc = hfconvert(folder.files, folder.count, fd, &o, &err);
    free(bytes);
    bytes = modelfile_bytes(fd, &n);
    if (rc == 0 && gguf_parse(&file, bytes, n, &err) < 0)
        TEST_FAIL("what was made is refused: %s", err.text);
    return rc;
}

static void begin(void)
{
    hffixture_init(&folder);
    hffixture_close(&folder, "model.safetensors");
}

static float value(const char *name, size_t i)
{
    const struct gguf_tensor *t = gguf_find_tensor(&file, name);
    float out[256];

    CHECK(t && t->dtype >= 0);
    dtype_info((enum dtype)t->dtype)->to_f32(t->t.data, out, t->t.shape[0] * t->t.shape[1]);
    return out[i];
}

TEST(hfconvert_makes_a_llama_that_we_can_read)
{
    struct hparams h;
    uint64_t n;
    bool yes = false;
    struct gguf_array scores;

    begin();
    CHECK_INT(convert(HFTENSORS_AUTO), 0);
    CHECK_INT(hparams_read(&h, &file, &err), 0);
    CHECK_INT(h.n_layer, 1);
    CHECK_INT(h.n_head_kv, 1);
    CHECK_INT(h.n_vocab, 8);
    CHECK(gguf_get_bool(&file, "tokenizer.ggml.add_bos_token", &yes, &err) == 1 && yes);
    CHECK(gguf_get_u64(&file, "tokenizer.ggml.eos_token_id", 0, 9, &n, &err) == 1 && n == 2);
    CHECK(gguf_get_u64(&file, "tokenizer.ggml.eot_token_id", 0, 9, &n, &err) == 1 && n == 7);
    CHECK(gguf_get_array(&file, "tokenizer.ggml.scores", GGUF_F32, &scores, &err) == 1);
    CHECK(gguf_array_f32(&scores, 6) == 0.0f && gguf_array_f32(&scores, 4) < -1e6f);
    gguf_fini(&file);
    hffixture_fini(&folder);
}

/* Row 1 of a head of 4 was row 2: halves side by side become pairs. */
TEST(hfconvert_permutes_queries_and_keys)
{
    static const size_t was[] = {0, 2, 1, 3, 4, 6, 5, 7};

    begin();
    CHECK_INT(convert(DTYPE_F32), 0);
    for (size_t row = 0; row < 8; row++)
        CHECK(value("blk.0.attn_q.weight", row * 8 + 1) == (float)(was[row] * 8 + 1));
    for (size_t row = 0; row < 4; row++)
        CHECK(value("blk.0.attn_k.weight", row * 8) == (float)(was[row] * 8));
    CHECK(value("blk.0.attn_v.weight", 9) == 9.0f);
    gguf_fini(&file);
    hffixture_fini(&folder);
}

TEST(hfconvert_keeps_vectors_in_f32_and_turns_matrices)
{
    begin();
    CHECK_INT(convert(DTYPE_BF16), 0);
    CHECK_INT(gguf_find_tensor(&file, "output_norm.weight")->dtype, DTYPE_F32);
    CHECK_INT(gguf_find_tensor(&file, "blk.0.ffn_up.weight")->dtype, DTYPE_BF16);
    gguf_fini(&file);
    CHECK_INT(convert(DTYPE_Q8_0), 0); /* 8 and 16 columns are no blocks of 32 */
    CHECK_INT(gguf_find_tensor(&file, "blk.0.ffn_up.weight")->dtype, DTYPE_F16);
    gguf_fini(&file);
    hffixture_fini(&folder);
}

TEST(hfconvert_stacks_experts_and_splits_those_that_are_interleaved)
{
    hffixture_init(&folder);
    for (int e = 0; e < 3; e++) {
        char name[96];

        snprintf(name, sizeof(name), "model.layers.0.block_sparse_moe.experts.%d.w1.weight", e);
        hffixture_tensor(&folder, name, "[4, 8]", 32);
    }
    hffixture_close(&folder, "model.safetensors");
    CHECK_INT(convert(DTYPE_F32), 0);
    CHECK_INT(gguf_find_tensor(&file, "blk.0.ffn_gate_exps.weight")->t.shape[2], 3);
    CHECK_INT(gguf_find_tensor(&file, "blk.0.ffn_gate_exps.weight")->t.shape[1], 4);
    gguf_fini(&file);
    hffixture_fini(&folder);

    hffixture_init(&folder);
    hffixture_tensor(&folder, "model.layers.0.mlp.experts.gate_up_proj", "[2, 3, 8]", 48);
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(&folder, "config.json",
                  STR("{\"architectures\": [\"GptOssForCausalLM\"], \"hidden_size\": 8, "
                      "\"intermediate_size\": 4, \"num_hidden_layers\": 1, "
                      "\"num_attention_heads\": 2, \"max_position_embeddings\": 9, "
                      "\"num_local_experts\": 2, \"num_experts_per_tok\": 1}"));
    CHECK_INT(convert(DTYPE_F32), 0);
    CHECK_INT(gguf_find_tensor(&file, "blk.0.ffn_up_exps.weight")->t.shape[0], 3);
    CHECK_INT(gguf_find_tensor(&file, "blk.0.ffn_up_exps.weight")->t.shape[1], 4);
    /* expert 0, row 1, column 2 of up: value 2 * 1 + 1 of input 2. */
    CHECK(value("blk.0.ffn_up_exps.weight", 3 + 2) == 2 * 8 + 3);
    CHECK(value("blk.0.ffn_gate_exps.weight", 3 + 2) == 2 * 8 + 2);
    gguf_fini(&file);
    hffixture_fini(&folder);
}

static void refuses(const char *name, const char *text, const char *why)
{
    begin();
    hffixture_set(&folder, name, text ? str_of(text) : (struct str){NULL, 0});
    if (convert(HFTENSORS_AUTO) == 0)
        TEST_FAIL("accepted '%s'", text ? text : "nothing");
    if (!strstr(err.text, why))
        TEST_FAIL("'%s' does not say '%s'", err.text, why);
    hffixture_fini(&folder);
}

#define CONFIG(more)                                                              \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 1, " more \
    "\"max_position_embeddings\": 32, \"vocab_size\": 8, \"rms_norm_eps\": 1e-5}"

TEST(hfconvert_says_what_is_wrong_with_the_configuration)
{
    refuses("config.json", NULL, "lacks 'config.json'");
    refuses("config.json", "{}", "no 'architectures'");
    refuses("config.json", "{\"architectures\": [\"XyzModel\"]}", "'XyzModel' is not known");
    refuses("config.json", "{\"architectures\": \"LlamaForCausalLM\"}", "no 'architectures'");
    refuses("config.json", CONFIG(""), "how many layers, heads or columns");
    refuses("config.json", CONFIG("\"hidden_size\": -8, \"num_attention_heads\": 2, "),
            "out of range");
    refuses("config.json", CONFIG("\"hidden_size\": \"8\", \"num_attention_heads\": 2, "),
            "a string");
    refuses("config.json", CONFIG("\"hidden_size\": 8, \"num_attention_heads\": 4294967296, "),
            "out of range");
    refuses("config.json", CONFIG("\"hidden_size\": 8, \"num_attention_heads\": 3, "),
            "cannot be divided");
    refuses("config.json",
            CONFIG("\"hidden_size\": 8, \"num_attention_heads\": 2, \"rope_scaling\": "
                   "{\"rope_type\": \"spiral\"}, "),
            "'spiral'");
    refuses("config.json",
            CONFIG("\"hidden_size\": 8, \"num_attention_heads\": 2, \"quantization_config\": "
                   "{\"quant_method\": \"gptq\"}, "),
            "'gptq'");
}

#define VOCAB(vocab, merges)                                                     \
    "{\"model\": {\"type\": \"BPE\", \"byte_fallback\": true, \"vocab\": " vocab \
    ", \"merges\": " merges "}}"

TEST(hfconvert_says_what_is_wrong_with_the_tokenizer)
{
    refuses("tokenizer.json", NULL, "no tokenizer that this version can read");
    refuses("tokenizer.json", "{\"model\": {\"type\": \"Magic\"}}", "'Magic'");
    refuses("tokenizer.json", VOCAB("{}", "[]"), "not an object with tokens");
    refuses("tokenizer.json", VOCAB("{\"a\": 9}", "[]"), "the embedding has 8 rows");
    refuses("tokenizer.json", VOCAB("{\"a\": -1}", "[]"), "has number -1");
    refuses("tokenizer.json", VOCAB("{\"a\": 9223372036854775808}", "[]"), "has no number");
    refuses("tokenizer.json", VOCAB("{\"a\": 1, \"b\": 1}", "[]"), "same number 1");
    refuses("tokenizer.json", VOCAB("{\"a\": 1, \"a\": 2}", "[]"), "twice");
    refuses("tokenizer.json", VOCAB("{\"a\": 1, \"b\": 2}", "[\"a b\"]"), "not in the vocabulary");
    refuses("tokenizer.json", VOCAB("{\"a\": 1, \"ab\": 2}", "[[\"a\", \"b\"]]"),
            "not in the vocabulary");
    refuses("tokenizer.json", VOCAB("{\"a\": 1}", "[[\"a\", \"\"]]"), "not in the vocabulary");
    refuses("tokenizer.json", VOCAB("{\"a\": 1}", "[\"a\"]"), "no pair");
    refuses("tokenizer.json", VOCAB("{\"a\": 1}", "[7]"), "no pair");
    refuses("tokenizer.json",
            "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
            "\"Split\", \"pattern\": {\"Regex\": \"(x+x+)+y\"}}, {\"type\": \"ByteLevel\", "
            "\"use_regex\": false}]}, "
            "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 1}, \"merges\": []}}",
            "(x+x+)+y");
}

TEST(hfconvert_says_what_is_wrong_with_shards)
{
    struct arena arena;
    struct str shards[HFFOLDER_SHARDS_MAX];

    arena_init(&arena, 1 << 20);
    CHECK_INT(hffolder_shards(STR("{\"weight_map\": {\"a\": \"../../etc/passwd\"}}"), &arena,
                              shards, &err),
              LLMOS_EFORMAT);
    CHECK(strstr(err.text, "'../../etc/passwd'"));
    CHECK_INT(hffolder_shards(STR("{\"weight_map\": {\"a\": \"../x.safetensors\"}}"), &arena,
                              shards, &err),
              LLMOS_EFORMAT);
    CHECK_INT(hffolder_shards(STR("{\"weight_map\": {\"a\": 7}}"), &arena, shards, &err),
              LLMOS_EFORMAT);
    CHECK_INT(hffolder_shards(STR("{\"weight_map\": []}"), &arena, shards, &err), LLMOS_EFORMAT);
    CHECK_INT(hffolder_shards(STR("{\"weight_map\": {\"a\": \"x.safetensors\", \"b\": "
                                  "\"x.safetensors\", \"c\": \"y.safetensors\"}}"),
                              &arena, shards, &err),
              2);
    CHECK(str_is(shards[1], "y.safetensors"));
    arena_fini(&arena);

    hffixture_init(&folder);
    hffixture_close(&folder, "model-1.safetensors");
    hffixture_set(&folder, HFFOLDER_INDEX,
                  STR("{\"weight_map\": {\"model.norm.weight\": \"model-1.safetensors\", "
                      "\"model.layers.0.mlp.x.weight\": \"model-1.safetensors\"}}"));
    CHECK_INT(convert(HFTENSORS_AUTO), LLMOS_EFORMAT);
    CHECK(strstr(err.text, "no file has it"));
    hffixture_fini(&folder);
}

static void refuses_tensor(const char *name, const char *shape, uint32_t values, const char *why)
{
    hffixture_init(&folder);
    hffixture_tensor(&folder, name, shape, values);
    hffixture_close(&folder, "model.safetensors");
    if (convert(HFTENSORS_AUTO) == 0)
        TEST_FAIL("accepted '%s'", name);
    if (!strstr(err.text, why))
        TEST_FAIL("'%s' does not say '%s'", err.text, why);
    hffixture_fini(&folder);
}

TEST(hfconvert_refuses_tensors_without_a_place)
{
    refuses_tensor("model.layers.0.mlp.mystery.weight", "[8]", 8, "has no place");
    refuses_tensor("model.layers.1.mlp.up_proj.weight", "[8]", 8, "says 1 layers");
    refuses_tensor("model.layers.00.mlp.up_proj.weight", "[8]", 8, "has no place");
    refuses_tensor("embed_tokens.weight", "[8, 8]", 64, "become 'token_embd.weight'");
    refuses_tensor("model.layers.0.block_sparse_moe.experts.1.w1.weight", "[4, 8]", 32,
                   "without a gap");
    refuses_tensor("model.layers.0.self_attn.q_proj.bias", "[7]", 7, "cannot be divided");
    refuses_tensor("model.layers.0.mlp.up_proj.bias", "[0]", 0, "has no values");
}

static void survives(const char *name, struct str text)
{
    unsigned long n = 0;
    bool has_failed;
    int rc;

    begin();
    hffixture_set(&folder, name, text);
    do {
        const struct hfconvert_options o = {.type = DTYPE_F16, .name = STR("tiny")};
        int fd = memfd_create("out", MFD_CLOEXEC);

        mem_fail_at(++n);
        rc = hfconvert(folder.files, folder.count, fd, &o, &err);
        has_failed = mem_failed();
        mem_fail_at(0);
        close(fd);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
    } while (has_failed);
    CHECK_INT(rc, 0);
    hffixture_fini(&folder);
}

TEST(hfconvert_survives_every_failed_allocation)
{
    survives("tokenizer.json", STR(HFFIXTURE_TOKENIZER));
    survives("tokenizer.json",
             STR("{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", "
                 "\"vocab\": {\"a\": 1, \"b\": 2, \"ab\": 3}, \"merges\": [[\"a\", \"b\"]]}}"));
    survives("tokenizer.json",
             STR("{\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": "
                 "\"AAAA\"}, \"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", -1.5]]}}"));
    survives("tokenizer.json", STR("{\"model\": {\"type\": \"WordPiece\", \"vocab\": "
                                   "{\"[UNK]\": 0, \"a\": 1, \"##b\": 2}}}"));
    survives("tokenizer.model", STR("\x0a\x05\x0a\x03"
                                    "abc"
                                    "\x12\x02\x18\x02"));
    free(bytes);
    bytes = NULL;
}

/* Spaces that are marked, a word that goes on, a mark in brackets. */
TEST(hfconvert_writes_wordpiece_as_llama_cpp_does)
{
    struct gguf_array tokens;
    struct str model;
    bool yes = false;

    begin();
    hffixture_set(&folder, "tokenizer.json", (struct str){NULL, 0});
    hffixture_set(&folder, "vocab.txt", STR("[UNK]\na\n##b\n"));
    CHECK_INT(convert(HFTENSORS_AUTO), 0);
    CHECK(gguf_get_str(&file, "tokenizer.ggml.model", &model, &err) == 1 && str_is(model, "bert"));
    CHECK(gguf_get_array(&file, "tokenizer.ggml.tokens", GGUF_STRING, &tokens, &err) == 1);
    CHECK(str_is(gguf_array_str(&tokens, 0), "[UNK]"));
    CHECK(str_is(gguf_array_str(&tokens, 1), "\xe2\x96\x81"
                                             "a"));
    CHECK(str_is(gguf_array_str(&tokens, 2), "b"));
    CHECK(str_is(gguf_array_str(&tokens, 3), "[PAD3]"));
    CHECK(gguf_get_bool(&file, "tokenizer.ggml.normalizer.lowercase", &yes, &err) == 1 && yes);
    gguf_fini(&file);
    hffixture_fini(&folder);
}
