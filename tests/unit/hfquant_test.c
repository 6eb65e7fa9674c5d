/* SPDX-License-Identifier: Apache-2.0 */
/* hfquant_test.c - quantised matrices of Hugging Face folders say what their makers' programs read
 * from them (tests/data/quant, by tools/hf_quantised.py), or nothing but a sentence. */
#include "base/file.h"
#include "base/mem.h"
#include "model/hfsource.h"
#include "test.h"

#include "hffixture.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

#define CONFIG(quantised) \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"quantization_config\": {" quantised "}}"
#define GPTQ(more)   CONFIG("\"quant_method\": \"gptq\", \"bits\": 4" more)
#define AWQ(more)    CONFIG("\"quant_method\": \"awq\", \"bits\": 4" more)
#define PACKED(bits) COMPRESSED("\"pack-quantized\"", "\"num_bits\": " bits)
#define COMPRESSED(format, weights)                                             \
    CONFIG("\"quant_method\": \"compressed-tensors\", \"format\": " format ", " \
           "\"config_groups\": {\"group_0\": {\"weights\": {" weights "}}}")
#define BNB CONFIG("\"quant_method\": \"bitsandbytes\"")

#define MODULE  "model.layers.0.mlp.up_proj."
#define ROWS    32
#define COLUMNS 64

static struct llmos_error err;

/* ---- what others read ---- */

/* error: of what is read, relative to the largest value; loss: of the blocks, likewise. */
static const struct vector {
    const char *name, *config;
    int blocks;
    double error, loss;
} vectors[] = {
    {"gptq-4", GPTQ(", \"group_size\": 32"), DTYPE_Q4_0, 0, 0},
    {"gptq-4", GPTQ(""), DTYPE_Q4_0, 0, 0}, /* as the tensors say */
    {"gptq-4-all", GPTQ(", \"group_size\": -1"), DTYPE_Q4_0, 0, 0},
    {"gptq-4-zeros", GPTQ(", \"group_size\": 32"), DTYPE_Q4_1, 0, 5e-4},
    {"gptq-4-order", GPTQ(", \"group_size\": 32, \"checkpoint_format\": \"gptq_v2\""), -1, 0, 0},
    {"gptq-2", GPTQ(", \"group_size\": 32"), DTYPE_Q4_0, 0, 0},
    {"gptq-3", GPTQ(", \"group_size\": 32"), DTYPE_Q4_0, 0, 0},
    {"gptq-3-v2", GPTQ(", \"group_size\": 32, \"checkpoint_format\": \"gptq_v2\""), DTYPE_Q4_0, 0,
     0},
    {"gptq-8", GPTQ(", \"group_size\": -1"), DTYPE_Q8_0, 0, 0},
    {"gptq-8-zeros", GPTQ(", \"group_size\": 32"), -1, 0, 0},
    {"awq", AWQ(", \"version\": \"gemm\", \"group_size\": 32"), DTYPE_Q4_1, 0, 5e-4},
    {"awq-all", AWQ(", \"group_size\": -1"), DTYPE_Q4_1, 0, 5e-4},
    {"packed-4", PACKED("4"), DTYPE_Q4_0, 0, 0},
    {"packed-4-zeros", PACKED("4"), DTYPE_Q4_1, 0, 5e-4},
    {"packed-4-order", PACKED("4"), -1, 0, 0},
    {"packed-3", PACKED("3"), DTYPE_Q4_0, 0, 0},
    {"packed-8", PACKED("8"), DTYPE_Q8_0, 0, 0},
    {"int8", COMPRESSED("\"int-quantized\"", ""), DTYPE_Q8_0, 0, 5e-4},
    {"int8-zero", COMPRESSED("\"naive-quantized\"", ""), -1, 0, 0},
    {"fp8-rows", COMPRESSED("\"float-quantized\"", ""), -1, 0, 0},
    {"fp8-all", COMPRESSED("\"float-quantized\"", ""), -1, 0, 0},
    {"fp8-blocks", COMPRESSED("\"float-quantized\"", "\"block_structure\": [24, 40]"), -1, 0, 0},
    {"nvfp4", COMPRESSED("\"nvfp4-pack-quantized\"", ""), -1, 0, 0},
    {"mxfp4", COMPRESSED("\"mxfp4-pack-quantized\"", ""), DTYPE_MXFP4, 0, 0},
    {"bnb-nf4", BNB, -1, 1e-7, 0},
    {"bnb-fp4", BNB, -1, 1e-7, 0},
    {"bnb-int8", BNB, DTYPE_Q8_0, 2e-7, 5e-4},
    {"fbgemm-fp8", CONFIG("\"quant_method\": \"fbgemm_fp8\""), -1, 0, 0},
};
#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

struct opened {
    struct hffile files[2];
    struct file_map map;
    struct hffolder folder;
    struct hfsources sources;
    struct arena arena;
};

static void open_vector(struct opened *o, const struct vector *v)
{
    const char *source = getenv("LLMOS_SOURCE");
    char path[4096];
    int fd;

    snprintf(path, sizeof(path), "%s/tests/data/quant/%s.safetensors", source ? source : ".",
             v->name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK_INT(file_map(&o->map, fd, &err), 0);
    close(fd);
    o->files[0] = (struct hffile){HFFOLDER_CONFIG, str_of(v->config)};
    o->files[1] = (struct hffile){HFFOLDER_ONE, {(const char *)o->map.at, o->map.len}};
    arena_init(&o->arena, 1 << 20);
    if (hffolder_read(&o->folder, o->files, 2, &err) < 0 ||
        hfsources_read(&o->sources, &o->folder, &o->arena, &err) < 0)
        TEST_FAIL("%s: %s", v->name, err.text);
}

static void close_vector(struct opened *o)
{
    arena_fini(&o->arena);
    hffolder_fini(&o->folder);
    file_unmap(&o->map);
}

struct matrix {
    float at[ROWS * COLUMNS];
    float largest;
};

static void read_expected(struct matrix *m, const struct opened *o)
{
    const struct hfsource *s = hfsources_find(&o->sources, "expected");

    CHECK(s && s->values == ROWS * COLUMNS);
    safetensors_read(s->tensor, 0, 1, m->at, ROWS * COLUMNS);
    m->largest = 0;
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        m->largest = fmaxf(m->largest, fabsf(m->at[i]));
    CHECK(m->largest > 0.5f && m->largest < 2);
}

static const struct hfquant *matrix_of(const struct opened *o)
{
    const struct hfsource *s = hfsources_find(&o->sources, MODULE "weight");

    CHECK_INT(o->sources.count, 2); /* it and what is expected */
    CHECK(s && s->quant && s->n_dims == 2 && s->shape[0] == ROWS && s->shape[1] == COLUMNS);
    return s->quant;
}

/* The larger of `worst` and the differences in a row; NaN if one of them is. */
static double worst_of(double worst, const float *got, const struct matrix *expected, uint64_t row)
{
    for (size_t c = 0; c < COLUMNS; c++) {
        double off = fabs((double)got[c] - (double)expected->at[row * COLUMNS + c]);

        if (!(off <= worst) && !isnan(worst))
            worst = off;
    }
    return worst;
}

TEST(hfquant_reads_what_the_makers_read)
{
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        struct matrix expected;
        struct opened o;
        double worst = 0;

        open_vector(&o, v);
        read_expected(&expected, &o);
        for (uint64_t row = 0; row < ROWS; row++) {
            float got[COLUMNS];

            hfquant_read(matrix_of(&o), row, 0, got, COLUMNS);
            worst = worst_of(worst, got, &expected, row);
        }
        if (!(worst <= v->error * (double)expected.largest))
            TEST_FAIL("%s is off by %g", v->name, worst);
        close_vector(&o);
    }
}

TEST(hfquant_has_blocks_that_say_the_same)
{
    for (size_t i = 0; i < VECTORS; i++) {
        const struct vector *v = &vectors[i];
        struct matrix expected;
        struct opened o;
        double worst = 0;

        open_vector(&o, v);
        read_expected(&expected, &o);
        if (hfquant_block_type(matrix_of(&o)) != v->blocks)
            TEST_FAIL("%s becomes type %d", v->name, hfquant_block_type(matrix_of(&o)));
        for (uint64_t row = 0; row < ROWS && v->blocks >= 0; row++) {
            unsigned char blocks[COLUMNS / Q_BLOCK * sizeof(struct block_q8_0)];
            float got[COLUMNS];

            hfquant_blocks(matrix_of(&o), (enum dtype)v->blocks, row, 0, blocks, COLUMNS);
            dtype_info((enum dtype)v->blocks)->to_f32(blocks, got, COLUMNS);
            worst = worst_of(worst, got, &expected, row);
        }
        worst /= (double)expected.largest;
        if (!(worst <= v->loss))
            TEST_FAIL("%s in blocks is off by %g", v->name, worst);
        if (i == 0 || strcmp(v->name, v[-1].name) != 0)
            printf("# layout %s %s %.1e\n", v->name,
                   v->blocks >= 0 ? dtype_info((enum dtype)v->blocks)->name : "-", worst);
        close_vector(&o);
    }
}

TEST(hfquant_reads_from_any_column)
{
    for (size_t i = 0; i < VECTORS; i++) {
        float whole[COLUMNS], part[COLUMNS];
        struct opened o;

        open_vector(&o, &vectors[i]);
        for (uint64_t row = 0; row < ROWS; row += 5) {
            hfquant_read(matrix_of(&o), row, 0, whole, COLUMNS);
            for (size_t from = 0; from < COLUMNS; from += 7) {
                size_t n = COLUMNS - from < 19 ? COLUMNS - from : 19;

                hfquant_read(matrix_of(&o), row, from, part, n);
                CHECK(memcmp(part, whole + from, n * sizeof(*part)) == 0);
            }
        }
        close_vector(&o);
    }
}

/* ---- what nobody may read ---- */

struct part {
    const char *name, *type, *shape;
    size_t bytes;
};
#define PARTS_MAX 6

static struct hffixture fixture;

/* Zeros, but for what a test puts first into the last of the parts. */
static int read_parts(const char *config, const struct part *parts, const char *last)
{
    static const unsigned char zeros[4096];
    struct hffolder folder;
    struct hfsources sources;
    struct arena arena;
    int rc;

    err = (struct llmos_error){0};
    hffixture_init(&fixture);
    hffixture_set(&fixture, HFFOLDER_CONFIG, str_of(config));
    for (size_t i = 0; i < PARTS_MAX && parts[i].name; i++) {
        bool is_last = last && (i + 1 == PARTS_MAX || !parts[i + 1].name);
        char name[128];

        snprintf(name, sizeof(name), "model.layers.0.x.%s", parts[i].name);
        hffixture_bytes(&fixture, name, parts[i].type, parts[i].shape,
                        is_last ? last : (const char *)zeros, parts[i].bytes);
    }
    hffixture_close(&fixture, HFFOLDER_ONE);
    arena_init(&arena, 1 << 20);
    rc = hffolder_read(&folder, fixture.files, fixture.count, &err);
    if (rc == 0) {
        rc = hfsources_read(&sources, &folder, &arena, &err);
        hffolder_fini(&folder);
    }
    arena_fini(&arena);
    hffixture_fini(&fixture);
    return rc;
}

static void refuses(const char *config, const struct part *parts, const char *last, const char *why)
{
    if (read_parts(config, parts, last) == 0)
        TEST_FAIL("accepted what should say '%s'", why);
    CHECK_CONTAINS(err.text, why);
}
#define REFUSES(config, last, why, ...) \
    refuses(config, (const struct part[PARTS_MAX]){__VA_ARGS__}, last, why)

TEST(hfquant_refuses_what_config_says_in_words_of_its_own)
{
    REFUSES(GPTQ(", \"checkpoint_format\": \"marlin\""), NULL,
            "tensors is 'marlin', this version reads gptq", {0});
    REFUSES(GPTQ(", \"pack_dtype\": \"int64\""), NULL, "packed words is 'int64'", {0});
    REFUSES(GPTQ(", \"group_size\": 0"), NULL, "neither -1 nor a number of columns", {0});
    REFUSES(GPTQ(", \"group_size\": \"all\""), NULL, "neither -1 nor a number of columns", {0});
    REFUSES(AWQ(", \"version\": \"gemv\""), NULL,
            "version of AWQ is 'gemv', this version reads gemm", {0});
    REFUSES(CONFIG("\"quant_method\": \"awq\", \"bits\": 8"), NULL, "out of range", {0});
    REFUSES(COMPRESSED("\"marlin-24\"", ""), NULL, "'marlin-24'", {0});
    REFUSES(CONFIG("\"quant_method\": \"compressed-tensors\", \"sparsity_config\": {\"format\": "
                   "\"sparse-24-bitmask\"}"),
            NULL, "'sparse-24-bitmask'", {0});
    REFUSES(CONFIG("\"quant_method\": \"compressed-tensors\", \"transform_config\": "
                   "{\"config_groups\": {\"R1\": {}}}"),
            NULL, "are rotated", {0});
    REFUSES(COMPRESSED("\"float-quantized\"", "\"block_structure\": [0, 4]"), NULL,
            "not two numbers from 1 to 65536", {0});
    REFUSES(CONFIG("\"quant_method\": \"quip\""), NULL, "quantised by 'quip'", {0});
}

/* 64 inputs, 32 outputs, groups of 32. */
#define QWEIGHT                           \
    {                                     \
        "qweight", "I32", "[8, 32]", 1024 \
    }
#define QZEROS                        \
    {                                 \
        "qzeros", "I32", "[2, 4]", 32 \
    }
#define SCALES                          \
    {                                   \
        "scales", "F16", "[2, 32]", 128 \
    }
#define G_IDX                       \
    {                               \
        "g_idx", "I32", "[64]", 256 \
    }

TEST(hfquant_refuses_gptq_and_awq_that_do_not_fit)
{
    static const char far[256] = {2}, before[256] = {-1, -1, -1, -1};

    REFUSES(GPTQ(""), NULL, "x.qweight' lacks its 'scales'", QWEIGHT);
    REFUSES(GPTQ(""), NULL, "x.qweight' lacks its 'qzeros'", QWEIGHT, SCALES);
    REFUSES(GPTQ(""), NULL, "x.qzeros' is part of a quantised matrix, but the matrix is not there",
            QZEROS, SCALES);
    REFUSES(GPTQ(""), NULL, "x.qweight' is no matrix of int32", {"qweight", "I8", "[8, 32]", 256},
            QZEROS, SCALES);
    REFUSES(GPTQ(""), NULL, "x.qweight' is no matrix of int32", {"qweight", "I32", "[0, 32]", 0},
            QZEROS, SCALES);
    REFUSES(GPTQ(""), NULL, "x.scales' has not a number for each group and output", QWEIGHT, QZEROS,
            {"scales", "F16", "[2, 31]", 124});
    REFUSES(GPTQ(""), NULL, "x.scales' has not a number for each group and output", QWEIGHT, QZEROS,
            {"scales", "I32", "[2, 32]", 256});
    REFUSES(GPTQ(""), NULL, "x.qzeros' is not of int32 for each group", QWEIGHT, SCALES,
            {"qzeros", "I32", "[1, 4]", 16});
    REFUSES(GPTQ(""), NULL, "x.qzeros' has not 2, 3, 4 or 8 bits for each output", QWEIGHT, SCALES,
            {"qzeros", "I32", "[2, 5]", 40});
    REFUSES(GPTQ(", \"group_size\": 16"), NULL, "has not the groups that 'config.json' says",
            QWEIGHT, QZEROS, SCALES);
    REFUSES(GPTQ(""), NULL, "x.g_idx' has not one number for each column", QWEIGHT, QZEROS, SCALES,
            {"g_idx", "I32", "[63]", 252});
    REFUSES(GPTQ(""), far, "x.g_idx' names a group that has no scale", QWEIGHT, QZEROS, SCALES,
            G_IDX);
    REFUSES(GPTQ(""), before, "x.g_idx' names a group that has no scale", QWEIGHT, QZEROS, SCALES,
            G_IDX);
    REFUSES(GPTQ(""), NULL, "x.weight' is there quantised and as it is", QWEIGHT, QZEROS, SCALES,
            {"weight", "F16", "[32, 64]", 4096});
    REFUSES(AWQ(""), NULL, "x.qzeros' has not 4 bits for each output",
            {"qweight", "I32", "[64, 4]", 1024}, SCALES, {"qzeros", "I32", "[2, 3]", 24});
    REFUSES(AWQ(""), NULL, "x.g_idx' orders groups, which AWQ does not",
            {"qweight", "I32", "[64, 4]", 1024}, SCALES, QZEROS, G_IDX);
    REFUSES(CONFIG(""), NULL, "but 'config.json' has no 'quantization_config.quant_method'",
            QWEIGHT, QZEROS, SCALES);
}

#define SHAPE                            \
    {                                    \
        "weight_shape", "I64", "[2]", 16 \
    }
#define WORDS                                   \
    {                                           \
        "weight_packed", "I32", "[32, 8]", 1024 \
    }
#define W_SCALE                                \
    {                                          \
        "weight_scale", "BF16", "[32, 2]", 128 \
    }
#define INT8                             \
    {                                    \
        "weight", "I8", "[32, 64]", 2048 \
    }

TEST(hfquant_refuses_compressed_tensors_that_do_not_fit)
{
    static const char sides[16] = {32, 0, 0, 0, 0, 0, 0, 0, 64},
                      wide[16] = {32, 0, 0, 0, 0, 0, 0, 0, 65},
                      large[16] = {32, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1};

    REFUSES(PACKED("4"), NULL, "x.weight_packed' lacks its 'weight_shape'", WORDS, W_SCALE);
    REFUSES(PACKED("4"), sides, "x.weight_packed' lacks its 'weight_scale'", WORDS, SHAPE);
    REFUSES(PACKED("4"), NULL, "x.weight_shape' is not the two sides", WORDS, W_SCALE, SHAPE);
    REFUSES(PACKED("4"), large, "x.weight_shape' is not the two sides", WORDS, W_SCALE, SHAPE);
    REFUSES(PACKED("4"), wide, "has not the bits for each column that 'config.json' says", WORDS,
            W_SCALE, SHAPE);
    REFUSES(PACKED("9"), sides, "has not the bits for each column that 'config.json' says", WORDS,
            W_SCALE, SHAPE);
    REFUSES(PACKED("4"), sides, "x.weight_scale' does not fit the matrix that it scales", WORDS,
            {"weight_scale", "BF16", "[32, 3]", 192}, SHAPE);
    REFUSES(PACKED("4"), sides, "x.weight_scale' has no values", WORDS,
            {"weight_scale", "BF16", "[32, 0]", 0}, SHAPE);
    REFUSES(PACKED("4"), sides, "x.weight_scale' scales and is no floating-point number", WORDS,
            {"weight_scale", "I32", "[32, 2]", 256}, SHAPE);
    REFUSES(PACKED("4"), sides, "x.weight_zero_point' has not a zero for each scale", WORDS,
            W_SCALE, {"weight_zero_point", "I32", "[3, 2]", 24}, SHAPE);
    REFUSES(COMPRESSED("\"int-quantized\"", ""), NULL, "x.weight' lacks its 'weight_scale'", INT8);
    REFUSES(COMPRESSED("\"int-quantized\"", ""), NULL, "x.weight_scale' does not fit", INT8,
            {"weight_scale", "F32", "[31]", 124});
    REFUSES(COMPRESSED("\"int-quantized\"", ""), NULL, "x.weight_zero_point' has not a zero", INT8,
            {"weight_scale", "F32", "[32]", 128}, {"weight_zero_point", "I8", "[31]", 31});
    REFUSES(COMPRESSED("\"nvfp4-pack-quantized\"", ""), NULL,
            "x.weight_global_scale' is not one f32", {"weight_packed", "U8", "[32, 32]", 1024},
            {"weight_scale", "F8_E4M3", "[32, 4]", 128}, {"weight_global_scale", "F32", "[2]", 8});
    REFUSES(COMPRESSED("\"float-quantized\"", ""), "\1",
            "x.weight_zero_point' has zeros other than 0", {"weight", "F8_E4M3", "[32, 64]", 2048},
            {"weight_scale", "F32", "[1]", 4}, {"weight_zero_point", "I8", "[1]", 1});
}

#define NF4                               \
    {                                     \
        "weight", "U8", "[1024, 1]", 1024 \
    }
#define ABSMAX                              \
    {                                       \
        "weight.absmax", "F32", "[32]", 128 \
    }
#define MAP                                   \
    {                                         \
        "weight.quant_map", "F32", "[16]", 64 \
    }
#define STATE(n)                                                    \
    {                                                               \
        "weight.quant_state.bitsandbytes__nf4", "U8", "[" #n "]", n \
    }

TEST(hfquant_refuses_bitsandbytes_that_do_not_fit)
{
    REFUSES(BNB, NULL, "x.weight' lacks its 'SCB'", INT8);
    REFUSES(BNB, NULL, "x.SCB' has not a number for each row", INT8, {"SCB", "F32", "[31]", 124});
    REFUSES(BNB, "\1", "in an order of their own", INT8, {"SCB", "F32", "[32]", 128},
            {"weight_format", "U8", "[]", 1});
    REFUSES(BNB, "{,", "bitsandbytes__nf4'", NF4, ABSMAX, MAP, STATE(2));
    REFUSES(BNB, "{}", "does not say the shape and the size of blocks", NF4, ABSMAX, MAP, STATE(2));
    REFUSES(BNB, "{\"shape\":[32,64],\"blocksize\":0}", "does not say the shape", NF4, ABSMAX, MAP,
            STATE(31));
    REFUSES(BNB, "{\"shape\":[32,65],\"blocksize\":64}",
            "has not 4 bits for each value of its shape", NF4, ABSMAX, MAP, STATE(32));
    REFUSES(BNB, "{\"shape\":[4294967296,4294967297],\"blocksize\":64}", "has not 4 bits", NF4,
            ABSMAX, MAP, STATE(48));
    REFUSES(BNB, "{\"shape\":[32,64],\"blocksize\":32}",
            "x.weight.absmax' has another type or size", NF4, ABSMAX, MAP, STATE(32));
    REFUSES(BNB, "{\"shape\":[32,64],\"blocksize\":64}", "lacks its '.quant_map'", NF4, ABSMAX,
            STATE(32));
    REFUSES(BNB, "{\"shape\":[32,64],\"blocksize\":64}", "lacks its '.nested_quant_map'", NF4,
            {"weight.absmax", "U8", "[32]", 32}, MAP, STATE(32));
    REFUSES(BNB, NULL, "x.weight.absmax' is part of a quantised matrix", ABSMAX);
}

TEST(hfquant_survives_every_failed_allocation)
{
    for (size_t i = 0; i < VECTORS; i++) {
        unsigned long n = 0;
        struct opened o;
        bool has_failed;
        int rc;

        open_vector(&o, &vectors[i]);
        do {
            struct hfsources again;
            struct arena arena;

            arena_init(&arena, 1 << 20);
            mem_fail_at(++n);
            rc = hfsources_read(&again, &o.folder, &arena, &err);
            has_failed = mem_failed();
            mem_fail_at(0);
            arena_fini(&arena);
            CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        } while (has_failed);
        CHECK_INT(rc, 0);
        close_vector(&o);
    }
}
