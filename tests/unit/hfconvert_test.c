/* SPDX-License-Identifier: Apache-2.0 */
/* hfconvert_test.c - a Hugging Face folder becomes a GGUF file, or a sentence */
#include "model/hfconvert.h"

#include "base/mem.h"
#include "model/gguf.h"
#include "model/hparams.h"
#include "model/vocab.h"
#include "test.h"

#include "hffixture.h"
#include "modelfile.h"

#include <math.h>

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
    struct gguf_array scores, added;

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
    CHECK(gguf_get_array(&file, "llmos.added_tokens", GGUF_I32, &added, &err) == 1);
    CHECK_INT(added.count, 2);
    CHECK(gguf_array_i32(&added, 0) == 7 && gguf_array_i32(&added, 1) == TOKEN_RSTRIP);
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

/* ---- quantised folders ---- */

#define GPT_OSS                                                         \
    "{\"architectures\": [\"GptOssForCausalLM\"], \"hidden_size\": 8, " \
    "\"intermediate_size\": 4, \"num_hidden_layers\": 1, "              \
    "\"num_attention_heads\": 2, \"max_position_embeddings\": 9, "      \
    "\"num_local_experts\": 2, \"num_experts_per_tok\": 1, "            \
    "\"quantization_config\": {\"quant_method\": \"mxfp4\"}}"

#define EXPERTS "model.layers.0.mlp.experts."

/* OCP Microscaling Formats 1.0, 5.3.3: what the codes of E2M1 mean. */
static double e2m1(unsigned code)
{
    static const double magnitudes[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};

    return (code & 8 ? -1 : 1) * magnitudes[code & 7];
}

struct packed {
    unsigned char blocks[2 * 6 * 2 * 16], scales[2 * 6 * 2]; /* experts, rows, blocks of 32 */
};

static struct packed pack(void)
{
    struct packed p;

    for (size_t i = 0; i < sizeof(p.blocks); i++)
        p.blocks[i] = (unsigned char)(i * 37 + i / 16 * 11);
    for (size_t i = 0; i < sizeof(p.scales); i++)
        p.scales[i] = (unsigned char)(120 + i % 13);
    return p;
}

/* Value c of a row: byte c / 2, the lower half first, times two to its scale less 127. */
static double packed_at(const struct packed *p, size_t row, size_t c)
{
    size_t block = row * 2 + c / 32;
    unsigned char b = p->blocks[block * 16 + c % 32 / 2];

    return e2m1(c % 2 ? b >> 4 : b & 15) * pow(2, p->scales[block] - 127);
}

static void begin_packed(const struct packed *p)
{
    hffixture_init(&folder);
    hffixture_bytes(&folder, EXPERTS "gate_up_proj_blocks", "U8", "[2, 6, 2, 16]", p->blocks,
                    sizeof(p->blocks));
    hffixture_bytes(&folder, EXPERTS "gate_up_proj_scales", "U8", "[2, 6, 2]", p->scales,
                    sizeof(p->scales));
    hffixture_bytes(&folder, EXPERTS "down_proj_blocks", "U8", "[2, 6, 2, 16]", p->blocks,
                    sizeof(p->blocks));
    hffixture_bytes(&folder, EXPERTS "down_proj_scales", "U8", "[2, 6, 2]", p->scales,
                    sizeof(p->scales));
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(&folder, "config.json", STR(GPT_OSS));
}

static void check_packed(const struct packed *p, const char *name, size_t rows, size_t step,
                         size_t first)
{
    const struct gguf_tensor *t = gguf_find_tensor(&file, name);
    float out[2 * 6 * 64];

    CHECK(t && t->t.shape[0] == 64 && t->t.shape[1] == rows && t->t.shape[2] == 2);
    dtype_info(t->t.type)->to_f32(t->t.data, out, 2 * rows * 64);
    for (size_t e = 0; e < 2; e++)
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < 64; c++)
                CHECK_NEAR((double)out[(e * rows + r) * 64 + c],
                           packed_at(p, e * 6 + r * step + first, c), 0);
}

TEST(hfconvert_keeps_what_blocks_of_mxfp4_say)
{
    static const int types[] = {HFTENSORS_AUTO, DTYPE_F32, DTYPE_BF16}; /* all of them exact */
    const struct packed p = pack();

    for (size_t i = 0; i < 3; i++) {
        begin_packed(&p);
        CHECK_INT(convert(types[i]), 0);
        CHECK_INT(gguf_find_tensor(&file, "blk.0.ffn_gate_exps.weight")->dtype,
                  i ? types[i] : DTYPE_MXFP4);
        check_packed(&p, "blk.0.ffn_gate_exps.weight", 3, 2, 0);
        check_packed(&p, "blk.0.ffn_up_exps.weight", 3, 2, 1);
        check_packed(&p, "blk.0.ffn_down_exps.weight", 6, 1, 0);
        gguf_fini(&file);
        hffixture_fini(&folder);
    }
}

static void refuses_packed(const char *type, const char *blocks, const char *scales,
                           const char *why)
{
    const struct packed p = pack();

    hffixture_init(&folder);
    hffixture_bytes(&folder, EXPERTS "gate_up_proj_blocks", type, blocks, p.blocks,
                    sizeof(p.blocks));
    if (scales)
        hffixture_bytes(&folder, EXPERTS "gate_up_proj_scales", "U8", scales, p.scales,
                        sizeof(p.scales));
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(&folder, "config.json", STR(GPT_OSS));
    if (convert(HFTENSORS_AUTO) == 0)
        TEST_FAIL("accepted blocks of %s", blocks);
    CHECK_CONTAINS(err.text, why);
    hffixture_fini(&folder);
}

TEST(hfconvert_refuses_blocks_that_do_not_fit_their_scales)
{
    refuses_packed("U8", "[2, 6, 2, 16]", NULL, "gate_up_proj_blocks' lacks its '_scales'");
    refuses_packed("U8", "[2, 6, 2, 16]", "[2, 2, 6]", "has not one byte for each block");
    refuses_packed("U8", "[2, 6, 2, 16]", "[24]", "has not one byte for each block");
    refuses_packed("U8", "[2, 6, 4, 8]", "[2, 6, 2]", "is not of blocks of 16 bytes");
    refuses_packed("U8", "[2, 6, 32]", "[2, 6, 2]", "is not of blocks of 16 bytes");
    refuses_packed("I8", "[2, 6, 2, 16]", "[2, 6, 2]", "is not of blocks of 16 bytes");
    refuses_packed("U8", "[4, 3, 2, 16]", "[4, 3, 2]", "its rows are odd");
}

#define CONFIG(more)                                                              \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"num_hidden_layers\": 1, " more \
    "\"max_position_embeddings\": 32, \"vocab_size\": 8, \"rms_norm_eps\": 1e-5}"

#define GATE "model.layers.0.block_sparse_moe.gate."
#define FP8(more)                                                                      \
    CONFIG("\"hidden_size\": 8, \"num_attention_heads\": 2, \"quantization_config\": " \
           "{\"quant_method\": \"fp8\"" more "}, ")

/* OCP 8-bit Floating Point 1.0, E4M3. */
static double e4m3(unsigned code)
{
    unsigned e = code >> 3 & 15, m = code & 7;

    return (code & 128 ? -1 : 1) * (e ? pow(2, (int)e - 7) * (1 + m / 8.0) : m * pow(2, -9));
}

/* A matrix of 4 x 64 that has every code (but NaN), and these scales of it. */
static int convert_fp8(const char *config, const char *name, const char *type, const char *shape,
                       const void *scales, size_t n)
{
    unsigned char codes[256];

    for (unsigned i = 0; i < 256; i++)
        codes[i] = (unsigned char)((i & 0x7f) == 0x7f ? i - 1 : i);
    hffixture_init(&folder);
    hffixture_bytes(&folder, GATE "weight", "F8_E4M3", "[4, 64]", codes, sizeof(codes));
    if (name)
        hffixture_bytes(&folder, name, type, shape, scales, n);
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(&folder, "config.json", str_of(config));
    return convert(HFTENSORS_AUTO);
}

/* scale[row / block_rows][column / block_columns] */
static void check_fp8(const float *scales, size_t block_rows, size_t block_columns, size_t across)
{
    const struct gguf_tensor *t = gguf_find_tensor(&file, "blk.0.ffn_gate_inp.weight");
    const float *got = t ? t->t.data : NULL;

    CHECK(got && t->dtype == DTYPE_F32 && t->t.shape[0] == 64 && t->t.shape[1] == 4);
    for (size_t i = 0; i < 256; i++) {
        float scale = scales[i / 64 / block_rows * across + i % 64 / block_columns];
        unsigned code = (i & 0x7f) == 0x7f ? (unsigned)i - 1 : (unsigned)i;

        CHECK_NEAR((double)got[i], (double)((float)e4m3(code) * scale), 0);
    }
    gguf_fini(&file);
    hffixture_fini(&folder);
}

TEST(hfconvert_scales_matrices_of_fp8)
{
    static const float all = 0.37f, rows[4] = {1, -2, 0.1f, 3e-3f},
                       blocks[4] = {0.5f, 1.7f, 11, 0.013f};
    static const uint16_t half = 0x3fc0; /* 1.5 as bf16 */
    static const float half_value = 1.5f;

    CHECK_INT(convert_fp8(FP8(), GATE "weight_scale", "F32", "[]", &all, 4), 0);
    check_fp8(&all, 4, 64, 1);
    CHECK_INT(convert_fp8(FP8(), GATE "weight_scale_inv", "BF16", "[1, 1]", &half, 2), 0);
    check_fp8(&half_value, 4, 64, 1); /* also as a block of 128 x 128 that is not full */
    CHECK_INT(convert_fp8(FP8(), GATE "weight_scale", "F32", "[4, 1]", rows, 16), 0);
    check_fp8(rows, 1, 64, 1);
    CHECK_INT(convert_fp8(FP8(", \"weight_block_size\": [2, 48]"), GATE "weight_scale_inv", "F32",
                          "[2, 2]", blocks, 16),
              0);
    check_fp8(blocks, 2, 48, 2);
}

static void refuses_fp8(int rc, const char *why)
{
    if (rc == 0)
        TEST_FAIL("accepted what should say '%s'", why);
    CHECK_CONTAINS(err.text, why);
    hffixture_fini(&folder);
}

TEST(hfconvert_refuses_fp8_whose_scales_do_not_fit)
{
    static const float s[8] = {1, 1, 1, 1, 1, 1, 1, 1};

    refuses_fp8(convert_fp8(FP8(), NULL, NULL, NULL, NULL, 0),
                "is FP8 and lacks its '_scale_inv' or '_scale'");
    refuses_fp8(convert_fp8(FP8(), GATE "weight_scale", "F32", "[2]", s, 8),
                "does not fit the matrix that it scales");
    refuses_fp8(convert_fp8(FP8(), GATE "weight_scale_inv", "F32", "[2, 4]", s, 32),
                "does not fit the matrix that it scales");
    refuses_fp8(convert_fp8(FP8(", \"weight_block_size\": [2, 0]"), GATE "weight_scale", "F32",
                            "[1]", s, 4),
                "is not two numbers from 1 to 65536");
    refuses_fp8(
        convert_fp8(FP8(", \"weight_block_size\": [2]"), GATE "weight_scale", "F32", "[1]", s, 4),
        "is not two numbers from 1 to 65536");
    refuses_fp8(convert_fp8(FP8(), GATE "weight_scale", "U8", "[4]", s, 4), "is no floating-point");
    refuses_fp8(convert_fp8(FP8(), "model.layers.0.mlp.up_proj.weight_scale", "F32", "[1]", s, 4),
                "lacks its '_scale_inv'");
}

#define INT8                                                                           \
    CONFIG("\"hidden_size\": 8, \"num_attention_heads\": 2, \"quantization_config\": " \
           "{\"quant_method\": \"compressed-tensors\", \"format\": \"int-quantized\"}, ")

/* 4 x 32 numbers from -64, by a scale for each row. */
static void put_int8(const char *module, const float scales[4])
{
    signed char codes[4 * 32];
    char name[128];

    for (int i = 0; i < 4 * 32; i++)
        codes[i] = (signed char)(i - 64);
    snprintf(name, sizeof(name), "%s.weight", module);
    hffixture_bytes(&folder, name, "I8", "[4, 32]", codes, sizeof(codes));
    snprintf(name, sizeof(name), "%s.weight_scale", module);
    hffixture_bytes(&folder, name, "F32", "[4, 1]", scales, 4 * sizeof(*scales));
}

TEST(hfconvert_stacks_quantised_experts)
{
    static const float scales[2][4] = {{1, 2, 0.5f, 1}, {0.25f, 1, 3, 4}};
    const struct gguf_tensor *t;
    float got[2 * 4 * 32];

    hffixture_init(&folder);
    put_int8("model.layers.0.block_sparse_moe.experts.0.w1", scales[0]);
    put_int8("model.layers.0.block_sparse_moe.experts.1.w1", scales[1]);
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(&folder, "config.json", STR(INT8));
    CHECK_INT(convert(HFTENSORS_AUTO), 0);
    t = gguf_find_tensor(&file, "blk.0.ffn_gate_exps.weight");
    CHECK(t && t->dtype == DTYPE_Q8_0 && t->t.shape[1] == 4 && t->t.shape[2] == 2);
    dtype_info(DTYPE_Q8_0)->to_f32(t->t.data, got, 2 * 4 * 32);
    for (int i = 0; i < 2 * 4 * 32; i++)
        CHECK_NEAR((double)got[i], (double)scales[i / 128][i / 32 % 4] * (i % 128 - 64), 0);
    gguf_fini(&file);
    hffixture_fini(&folder);
}

/* What GPT-2 keeps the other way round is a matrix like others once it is quantised. */
TEST(hfconvert_does_not_turn_quantised_matrices)
{
    static const float scales[4] = {1, 1, 1, 1};
    const struct gguf_tensor *t;

    hffixture_init(&folder);
    buf_clear(&folder.header);
    buf_clear(&folder.values);
    buf_puts(&folder.header, "{");
    hffixture_tensor(&folder, "wte.weight", "[8, 8]", 64);
    put_int8("h.0.mlp.c_proj", scales);
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(&folder, "config.json",
                  STR("{\"architectures\": [\"GPT2LMHeadModel\"], \"n_embd\": 8, \"n_head\": 2, "
                      "\"n_layer\": 1, \"n_positions\": 9, \"quantization_config\": "
                      "{\"quant_method\": \"compressed-tensors\"}}"));
    CHECK_INT(convert(DTYPE_F32), 0);
    t = gguf_find_tensor(&file, "blk.0.ffn_down.weight");
    CHECK(t && t->t.shape[0] == 32 && t->t.shape[1] == 4);
    CHECK(value("blk.0.ffn_down.weight", 33) == 33 - 64);
    gguf_fini(&file);
    hffixture_fini(&folder);
}

TEST(hfconvert_tells_files_without_tensors_from_none)
{
    const struct str config = STR(CONFIG("\"hidden_size\": 8, \"num_attention_heads\": 2, "));

    hffixture_init(&folder);
    hffixture_set(&folder, "config.json", config);
    CHECK_INT(convert(HFTENSORS_AUTO), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "it lacks 'model.safetensors'");
    buf_clear(&folder.header);
    buf_clear(&folder.values);
    buf_puts(&folder.header, "{");
    hffixture_close(&folder, "model.safetensors");
    CHECK_INT(convert(HFTENSORS_AUTO), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "files have no tensors");
    hffixture_fini(&folder);
}

#define SHAPE "\"hidden_size\": 8, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
#define GEMMA2(more)                                                                     \
    "{\"architectures\": [\"Gemma2ForCausalLM\"], \"num_hidden_layers\": 1, " SHAPE more \
    "\"head_dim\": 4, \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5}"

static void convert_with(const char *config)
{
    begin();
    hffixture_set(&folder, "config.json", str_of(config));
    if (convert(HFTENSORS_AUTO) < 0)
        TEST_FAIL("%s", err.text);
}

static void end(void)
{
    gguf_fini(&file);
    hffixture_fini(&folder);
}

static double number(const char *key)
{
    float x = -1;

    if (gguf_get_f32(&file, key, &x, &err) < 1)
        TEST_FAIL("no '%s'", key);
    return (double)x;
}

TEST(hfconvert_says_how_queries_are_scaled_where_it_is_not_by_the_head)
{
    convert_with(GEMMA2("\"query_pre_attn_scalar\": 4, "));
    CHECK(!gguf_find(&file, "gemma2.attention.scale"));
    end();
    convert_with(GEMMA2("\"query_pre_attn_scalar\": 64, "));
    CHECK_NEAR(number("gemma2.attention.scale"), 0.125, 0);
    end();
    convert_with(GEMMA2("")); /* 256, as transformers has it */
    CHECK_NEAR(number("gemma2.attention.scale"), 0.0625, 0);
    end();
}

TEST(hfconvert_tells_no_cap_from_one_that_is_not_mentioned)
{
    convert_with(GEMMA2("\"final_logit_softcapping\": null, "));
    CHECK_NEAR(number("gemma2.attn_logit_softcapping"), 50, 0);
    CHECK_NEAR(number("gemma2.final_logit_softcapping"), 0, 0);
    end();
}

#define YARN(more)                                                                  \
    CONFIG(SHAPE "\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4, " more \
                 "\"original_max_position_embeddings\": 8}, ")

/* Vectors of the usual yarn are longer by 1 + 0.1 ln 4; keys say what differs from that. */
TEST(hfconvert_says_how_a_yarn_differs_from_the_usual_one)
{
    double usual = 1 + 0.1 * log(4);
    bool yes = true;

    convert_with(YARN(""));
    CHECK(!gguf_find(&file, "llama.rope.scaling.attn_factor"));
    CHECK(!gguf_find(&file, "llama.rope.scaling.yarn_truncate"));
    CHECK(!gguf_find(&file, "llama.rope.scaling.yarn_beta_fast"));
    end();
    convert_with(YARN("\"attention_factor\": 0.5, \"truncate\": false, \"beta_slow\": 2, "));
    CHECK_NEAR(number("llama.rope.scaling.attn_factor"), 0.5 / usual, 1e-7);
    CHECK_NEAR(number("llama.rope.scaling.yarn_beta_slow"), 2, 0);
    CHECK(gguf_get_bool(&file, "llama.rope.scaling.yarn_truncate", &yes, &err) == 1 && !yes);
    end();
    convert_with(YARN("\"mscale\": 0.5, \"mscale_all_dim\": 2, "));
    CHECK_NEAR(number("llama.rope.scaling.attn_factor"),
               (1 + 0.05 * log(4)) / (1 + 0.2 * log(4)) / usual, 1e-7);
    end();
}

TEST(hfconvert_takes_the_text_part_of_a_model_that_sees)
{
    struct hparams h;

    hffixture_init_as(&folder, "language_model.");
    hffixture_tensor(&folder, "vision_tower.patch.weight", "[2, 2]", 4);
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(
        &folder, "config.json",
        STR("{\"architectures\": [\"Mistral3ForConditionalGeneration\"], "
            "\"num_hidden_layers\": 7, \"text_config\": {" SHAPE
            "\"model_type\": \"mistral\", \"num_hidden_layers\": 1, \"rms_norm_eps\": 1e-5, "
            "\"sliding_window\": 5, \"max_position_embeddings\": 32, \"vocab_size\": 8}}"));
    if (convert(HFTENSORS_AUTO) < 0)
        TEST_FAIL("%s", err.text);
    CHECK_INT(hparams_read(&h, &file, &err), 0);
    CHECK_INT(h.n_layer, 1);
    CHECK_INT(h.window, 5);
    end();
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

TEST(hfconvert_says_what_is_wrong_with_the_configuration)
{
    refuses("config.json", NULL, "lacks 'config.json'");
    refuses("config.json", "{}", "no 'architectures'");
    refuses("config.json", "{\"architectures\": [\"XyzModel\"]}", "'XyzModel' is not known");
    refuses("config.json", "{\"architectures\": \"LlamaForCausalLM\"}", "no 'architectures'");
    refuses("config.json", "{\"architectures\": [\"BertForMaskedLM\"]}",
            "'BertForMaskedLM' guesses words that are hidden");
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
                   "{\"quant_method\": \"aqlm\"}, "),
            "quantised by 'aqlm', this version reads gptq, awq,");
}

/* What would be computed otherwise than it is meant is refused by the name of its key. */
TEST(hfconvert_names_the_key_that_asks_for_what_is_not_computed)
{
    refuses("config.json", CONFIG(SHAPE "\"use_sliding_window\": true, "),
            "'use_sliding_window' in 'config.json' is true");
    refuses("config.json", CONFIG(SHAPE "\"partial_rotary_factor\": 0.5, "),
            "'partial_rotary_factor' in 'config.json' is 0.5");
    refuses("config.json", CONFIG(SHAPE "\"mlp_only_layers\": [3], "), "'mlp_only_layers'");
    refuses("config.json", CONFIG(SHAPE "\"layer_types\": [\"sliding_attention\"], "),
            "computes layer 0 of such a model with full_attention only");
    refuses("config.json", CONFIG(SHAPE "\"no_rope_layers\": [0], "),
            "computes layer 0 of such a model only with rotation");
    refuses("config.json", CONFIG(SHAPE "\"hidden_act\": \"relu2\", "), "activation 'relu2'");
    refuses("config.json", CONFIG(SHAPE "\"text_config\": {\"model_type\": \"qwen9\"}, "),
            "'text_config.model_type' in 'config.json' is 'qwen9'");
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
    refuses("tokenizer.json",
            "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": "
            "\"Split\", \"pattern\": {\"Regex\": \"\\\\p{N}\"}, \"behavior\": \"MergedWithNext\", "
            "\"invert\": false}, {\"type\": \"ByteLevel\"}]}, "
            "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 1}, \"merges\": []}}",
            "a split in 'tokenizer.json' is 'MergedWithNext'");
    refuses("tokenizer.json",
            "{\"normalizer\": {\"type\": \"NFKC\"}, \"model\": {\"type\": \"WordPiece\", "
            "\"vocab\": {\"a\": 1}}}",
            "'NFKC'");
    refuses("tokenizer.json",
            "{\"pre_tokenizer\": {\"type\": \"Whitespace\"}, \"model\": {\"type\": "
            "\"WordPiece\", \"continuing_subword_prefix\": \"@@\", \"vocab\": {\"a\": 1}}}",
            "begin with '@@'");
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

TEST(hfconvert_wants_a_matrix_for_each_scale)
{
    refuses_tensor("model.layers.0.mlp.up_proj.weight_scale", "[1]", 1,
                   "is part of a quantised matrix, but 'config.json' has no");
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

/* As some programs give every matrix that they quantise: Qwen 3 may have some of q, k and v. */
TEST(hfconvert_leaves_out_biases_that_are_zeros_and_have_no_place)
{
    static const char *const qwen =
        "{\"architectures\": [\"Qwen3ForCausalLM\"], \"hidden_size\": 8, "
        "\"intermediate_size\": 16, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
        "\"num_key_value_heads\": 1, \"max_position_embeddings\": 32, \"rms_norm_eps\": 1e-5}";
    static const unsigned char zeros[16], one[16] = {[1] = 0x3c};

    hffixture_init(&folder);
    hffixture_bytes(&folder, "model.layers.0.self_attn.o_proj.bias", "F16", "[8]", zeros, 16);
    hffixture_bytes(&folder, "model.layers.0.self_attn.q_proj.bias", "F16", "[8]", zeros, 16);
    hffixture_bytes(&folder, "model.layers.0.mlp.down_proj.bias", "F16", "[8]", one, 16);
    hffixture_close(&folder, "model.safetensors");
    hffixture_set(&folder, "config.json", str_of(qwen));
    CHECK_INT(convert(HFTENSORS_AUTO), 0);
    CHECK(!gguf_find_tensor(&file, "blk.0.attn_output.bias"));
    CHECK(gguf_find_tensor(&file, "blk.0.attn_q.bias"));
    CHECK(gguf_find_tensor(&file, "blk.0.ffn_down.bias")); /* who runs it refuses it by name */
    gguf_fini(&file);
    hffixture_fini(&folder);
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
    survives("tokenizer.json",
             STR("{\"pre_tokenizer\": {\"type\": \"Whitespace\"}, \"model\": {\"type\": "
                 "\"WordPiece\", \"vocab\": {\"[UNK]\": 0, \"a\": 1, \"##b\": 2}}}"));
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
    struct str model, steps;
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
    CHECK(gguf_get_str(&file, "llmos.wordpiece.steps", &steps, &err) == 1);
    CHECK(str_is(steps, "clean_text handle_chinese_chars strip_accents lowercase punctuation"));
    gguf_fini(&file);
    hffixture_fini(&folder);
}
