/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/file.h"
#include "base/reader.h"
#include "tensor/dtype.h"

#include <stdint.h>
#include <stdlib.h>

static uint32_t bits(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    return u;
}

struct half {
    float (*to_f32)(uint16_t);
    uint16_t (*from_f32)(float);
    unsigned mantissa_bits, infinity;
};
static const struct half f16 = {f16_to_f32, f32_to_f16, 10, 0x7c00};
static const struct half bf16 = {bf16_to_f32, f32_to_bf16, 7, 0x7f80};

static void check_round_trip(const struct half *t)
{
    for (unsigned h = 0; h < 65536; h++) {
        float f = t->to_f32((uint16_t)h);
        bool is_nan = (h & 0x7fff) > t->infinity;

        CHECK(!isnan(f) == !is_nan);
        CHECK(!signbit(f) == !(h & 0x8000));
        CHECK(!isinf(f) == ((h & 0x7fff) != t->infinity));
        /* A NaN comes back quiet, with its sign and payload. */
        CHECK_INT(t->from_f32(f), is_nan ? h | 1u << (t->mantissa_bits - 1) : h);
    }
}

/* Between each number and its neighbour: below the middle down, above it up, on it to even.  Above
 * the largest number lies infinity, as if it were the next power of two. */
static void check_rounding(const struct half *t)
{
    for (unsigned h = 0; h < t->infinity; h++) {
        double low = (double)t->to_f32((uint16_t)h), high = (double)t->to_f32((uint16_t)(h + 1));
        float middle;

        if (h + 1 == t->infinity)
            high = 2 * low - (double)t->to_f32((uint16_t)(h - 1));
        middle = (float)((low + high) / 2);
        CHECK((double)middle == (low + high) / 2);
        for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
            float s = sign ? -1.0f : 1.0f;

            CHECK_INT(t->from_f32(s * nextafterf(middle, 0)), sign | h);
            CHECK_INT(t->from_f32(s * middle), sign | ((h + 1) & ~1u));
            CHECK_INT(t->from_f32(s * nextafterf(middle, INFINITY)), sign | (h + 1));
            CHECK_INT(t->from_f32(s * (float)low), sign | h);
        }
    }
    CHECK_INT(t->from_f32(INFINITY), t->infinity);
    CHECK_INT(t->from_f32(-INFINITY), t->infinity | 0x8000);
}

TEST(f16_round_trips_in_all_patterns)
{
    check_round_trip(&f16);
}

TEST(f16_rounds_to_nearest_even)
{
    check_rounding(&f16);
    CHECK_INT(f32_to_f16(3.4e38f), 0x7c00);
    CHECK_INT(f32_to_f16(1e-45f), 0);
}

TEST(f16_known_values)
{
    CHECK(f16_to_f32(0x3c00) == 1.0f);
    CHECK(f16_to_f32(0x7bff) == 65504.0f);
    CHECK(f16_to_f32(0x0001) == 0x1p-24f);
    CHECK(f16_to_f32(0xc248) == -3.140625f);
}

TEST(bf16_round_trips_in_all_patterns)
{
    check_round_trip(&bf16);
}

TEST(bf16_rounds_to_nearest_even)
{
    check_rounding(&bf16);
    CHECK(bf16_to_f32(0x3f80) == 1.0f);
}

TEST(nan_with_a_payload_below_the_half_stays_nan)
{
    uint32_t u = 0x7f800001;
    float f;

    memcpy(&f, &u, sizeof(f));
    CHECK(isnan(f16_to_f32(f32_to_f16(f))));
    CHECK(isnan(bf16_to_f32(f32_to_bf16(f))));
}

/* Values are exact multiples of the scale, so quantising loses nothing. */
TEST(quantised_types_keep_what_they_can_hold)
{
    float x[2 * Q_BLOCK], back[2 * Q_BLOCK];
    struct block_q8_0 q8[2];
    struct block_q4_0 q4[2];

    for (int i = 0; i < 2 * Q_BLOCK; i++)
        x[i] = (i < Q_BLOCK ? 0.5f : -0.25f) * (float)(i % Q_BLOCK == 3 ? -127 : i * 3 % 127);
    dtype_info(DTYPE_Q8_0)->from_f32(x, NULL, q8, 2 * Q_BLOCK);
    dtype_info(DTYPE_Q8_0)->to_f32(q8, back, 2 * Q_BLOCK);
    CHECK_INT(q8[0].d, 0x3800);
    for (int i = 0; i < 2 * Q_BLOCK; i++)
        CHECK(x[i] == back[i]);

    for (int i = 0; i < 2 * Q_BLOCK; i++)
        x[i] = (i < Q_BLOCK ? 0.5f : -2.0f) * (float)(i % 16 - 8);
    dtype_info(DTYPE_Q4_0)->from_f32(x, NULL, q4, 2 * Q_BLOCK);
    dtype_info(DTYPE_Q4_0)->to_f32(q4, back, 2 * Q_BLOCK);
    for (int i = 0; i < 2 * Q_BLOCK; i++)
        CHECK(x[i] == back[i]);
}

TEST(q4_0_holds_value_j_low_and_j_plus_16_high)
{
    struct block_q4_0 b = {.d = 0x3c00};
    float out[Q_BLOCK];

    b.q[5] = 0x2f;
    dtype_info(DTYPE_Q4_0)->to_f32(&b, out, Q_BLOCK);
    CHECK(out[5] == 7.0f && out[21] == -6.0f && out[0] == -8.0f);
}

TEST(q5_1_takes_the_fifth_bit_of_value_j_from_bit_j)
{
    struct block_q5_1 b = {.d = 0x3c00, .m = 0xc000}; /* 1, -2 */
    float out[Q_BLOCK];

    b.q[5] = 0x2f;
    b.high[0] = 1 << 5;
    b.high[2] = 1 << 5; /* bit 21 */
    dtype_info(DTYPE_Q5_1)->to_f32(&b, out, Q_BLOCK);
    CHECK(out[5] == 29.0f && out[21] == 16.0f && out[0] == -2.0f);
}

TEST(q5_0_and_q4_1_are_centred_and_offset)
{
    struct block_q5_0 q5 = {.d = 0x4000};              /* 2 */
    struct block_q4_1 q4 = {.d = 0x3c00, .m = 0x4200}; /* 1, 3 */
    float out[Q_BLOCK];

    q5.q[0] = 0x10;
    q5.high[0] = 1;
    dtype_info(DTYPE_Q5_0)->to_f32(&q5, out, Q_BLOCK);
    CHECK(out[0] == 0 && out[16] == -30.0f && out[1] == -32.0f);
    q4.q[15] = 0xa1;
    dtype_info(DTYPE_Q4_1)->to_f32(&q4, out, Q_BLOCK);
    CHECK(out[15] == 4.0f && out[31] == 13.0f && out[0] == 3.0f);
}

/* Every scale and minimum of a q4_K block has a bit pattern of its own. */
TEST(q4_K_unpacks_scales_and_minima_of_six_bits)
{
    static const unsigned scale[8] = {1, 18, 35, 52, 7, 24, 41, 63};
    static const unsigned min[8] = {62, 45, 28, 11, 5, 20, 38, 51};
    struct block_q4_K b = {.d = 0x3c00, .dmin = 0x4000}; /* 1, 2 */
    float out[K_BLOCK];

    for (int j = 0; j < 4; j++) {
        b.scales[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        b.scales[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        b.scales[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
    b.q[32 + 7] = 0xc3;  /* value 7 of blocks 2 and 3 */
    b.q[96 + 31] = 0x4f; /* value 31 of blocks 6 and 7 */
    dtype_info(DTYPE_Q4_K)->to_f32(&b, out, K_BLOCK);
    for (int j = 0; j < 8; j++)
        CHECK(out[32 * j] == -2.0f * (float)min[j]);
    CHECK(out[2 * 32 + 7] == 3.0f * 35 - 2 * 28);
    CHECK(out[3 * 32 + 7] == 12.0f * 52 - 2 * 11);
    CHECK(out[6 * 32 + 31] == 15.0f * 41 - 2 * 38);
    CHECK(out[7 * 32 + 31] == 4.0f * 63 - 2 * 51);
}

TEST(q6_K_finds_its_bits_and_scales)
{
    struct block_q6_K b = {.d = 0x3800}; /* 0.5 */
    float out[K_BLOCK];

    for (int j = 0; j < 16; j++)
        b.scale[j] = (int8_t)(j % 2 ? -j - 1 : j + 1);
    b.low[64 + 32 + 20] = 0x5a; /* values 128 + 32 + 20 (low) and 128 + 96 + 20 (high) */
    b.high[32 + 20] = 0x8c;     /* 0, 3, 0, 2 for the values 20, 52, 84, 116 of the half */
    dtype_info(DTYPE_Q6_K)->to_f32(&b, out, K_BLOCK);
    CHECK(out[0] == -16.0f && out[16] == 32.0f && out[255] == 256.0f);
    CHECK(out[128 + 20] == 0.5f * -10 * -32);
    CHECK(out[128 + 32 + 20] == 0.5f * -12 * (0x3a - 32));
    CHECK(out[128 + 96 + 20] == 0.5f * -16 * (0x25 - 32));
}

/* Random blocks, and the values that ggml reads in them (tests/data/blocks: type number, bytes of a
 * block, values, then the block and its values). */
TEST(blocks_read_as_in_ggml)
{
    const char *source = getenv("LLMOS_SOURCE");
    struct buf file = {.limit_bytes = 64 << 20};
    char path[4096];
    struct reader r;
    size_t count = 0, of_type[DTYPE_COUNT] = {0};

    snprintf(path, sizeof(path), "%s/tests/data/blocks", source ? source : ".");
    CHECK_INT(file_read(path, &file, NULL), 0);
    r = reader_of(file.at, file.len);
    while (reader_left(&r) > 0) {
        uint32_t id = reader_u32(&r), bytes = reader_u32(&r), n = reader_u32(&r);
        int t = dtype_by_gguf_id(id);
        const void *block = reader_bytes(&r, bytes);
        float out[K_BLOCK];
        size_t wrong = 0;

        if (t < 0 || !block || dtype_info((enum dtype)t)->block_bytes != bytes ||
            dtype_info((enum dtype)t)->block != n) {
            CHECK(!"the file of blocks is whole");
            break;
        }
        dtype_info((enum dtype)t)->to_f32(block, out, n);
        for (size_t i = 0; i < n; i++) {
            float expected = reader_f32(&r);

            wrong += isnan(expected) ? !isnan(out[i]) : !(out[i] == expected);
        }
        if (wrong > 0)
            printf("# %s: %zu of %u values\n", dtype_info((enum dtype)t)->name, wrong, n);
        CHECK_INT(wrong, 0);
        of_type[t]++;
        count++;
    }
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (of_type[t])
            printf("# blocks %s %zu\n", dtype_info((enum dtype)t)->name, of_type[t]);
    CHECK(count >= DTYPE_COUNT - 3);
    buf_fini(&file);
}

/* Of the largest magnitude in a block.  With a sign of its own, a type cannot reach the far end
 * (its range is -8 .. 7) and errs by a whole step there; a minimum and a scale need half a step of
 * a range twice as large.  Scales in 6 bits are a little off besides. */
static const double worst_error[DTYPE_COUNT] = {
    [DTYPE_Q8_0] = 0.57 / 127, [DTYPE_Q4_0] = 1.01 / 8,  [DTYPE_Q4_1] = 1.02 / 15,
    [DTYPE_Q5_0] = 1.02 / 16,  [DTYPE_Q5_1] = 1.04 / 31, [DTYPE_Q4_K] = 0.16,
    [DTYPE_Q6_K] = 0.045,      [DTYPE_Q2_K] = 0.6,       [DTYPE_Q3_K] = 0.32,
    [DTYPE_Q5_K] = 0.09,       [DTYPE_IQ4_NL] = 0.2,     [DTYPE_IQ4_XS] = 0.2,
    [DTYPE_MXFP4] = 0.35,      [DTYPE_TQ1_0] = 1.01,     [DTYPE_TQ2_0] = 1.01,
    [DTYPE_IQ1_S] = 1.6,       [DTYPE_IQ1_M] = 1.6,      [DTYPE_IQ2_XXS] = 1.3,
    [DTYPE_IQ2_XS] = 1.3,      [DTYPE_IQ2_S] = 1.3,      [DTYPE_IQ3_XXS] = 1.3,
    [DTYPE_IQ3_S] = 1.0,
};

TEST(quantising_errs_by_at_most_half_a_step)
{
    float x[K_BLOCK], back[K_BLOCK];
    char block[sizeof(float) * K_BLOCK];

    for (unsigned seed = 1; seed < (test_is_brief() ? 60 : 500); seed++) {
        uint32_t s = seed;

        for (int i = 0; i < K_BLOCK; i++) {
            s = s * 1664525u + 1013904223u;
            x[i] = (float)(int32_t)s * 0x1p-31f;
        }
        for (int t = DTYPE_Q8_0; t < DTYPE_COUNT; t++) {
            dtype_info((enum dtype)t)->from_f32(x, NULL, block, K_BLOCK);
            dtype_info((enum dtype)t)->to_f32(block, back, K_BLOCK);
            for (int i = 0; i < K_BLOCK; i++) {
                float most = 0;

                for (int k = i / Q_BLOCK * Q_BLOCK; k < i / Q_BLOCK * Q_BLOCK + Q_BLOCK; k++)
                    most = fmaxf(most, fabsf(x[k]));
                CHECK_NEAR((double)back[i], (double)x[i], worst_error[t] * (double)most);
            }
        }
    }
}

/* Numbers spread as weights are: a sum of uniform ones.  Root mean square error over that of the
 * numbers. */
static double noise(enum dtype t)
{
    static float x[64 * K_BLOCK], back[64 * K_BLOCK];
    static char blocks[sizeof(x)];
    double error = 0, size = 0;
    uint32_t s = 1;

    for (size_t i = 0; i < 64 * K_BLOCK; i++) {
        double sum = 0;

        for (int k = 0; k < 12; k++) {
            s = s * 1664525u + 1013904223u;
            sum += (double)(int32_t)s * 0x1p-31;
        }
        x[i] = (float)sum;
    }
    dtype_info(t)->from_f32(x, NULL, blocks, 64 * K_BLOCK);
    dtype_info(t)->to_f32(blocks, back, 64 * K_BLOCK);
    for (size_t i = 0; i < 64 * K_BLOCK; i++) {
        error += pow((double)back[i] - (double)x[i], 2);
        size += pow((double)x[i], 2);
    }
    return sqrt(error / size);
}

TEST(more_bits_make_less_noise)
{
    static const enum dtype order[] = {
        DTYPE_Q8_0,  DTYPE_Q6_K, DTYPE_Q5_K,    DTYPE_Q5_0, DTYPE_Q4_K,   DTYPE_IQ4_XS, DTYPE_Q4_0,
        DTYPE_MXFP4, DTYPE_Q3_K, DTYPE_IQ3_XXS, DTYPE_Q2_K, DTYPE_IQ2_XS, DTYPE_IQ1_S};
    double of[DTYPE_COUNT];

    for (int t = 0; t < DTYPE_COUNT; t++) {
        of[t] = noise((enum dtype)t);
        printf("# %s: %.4f\n", dtype_info((enum dtype)t)->name, of[t]);
    }
    for (size_t i = 1; i < sizeof(order) / sizeof(*order); i++)
        if (!(of[order[i - 1]] < of[order[i]]))
            TEST_FAIL("%s has no less noise than %s", dtype_info(order[i - 1])->name,
                      dtype_info(order[i])->name);
    CHECK(of[DTYPE_Q4_K] < 0.075 && of[DTYPE_Q6_K] < 0.018);
}

TEST(a_block_with_nan_or_infinity_reads_back_as_nan)
{
    float bad[] = {NAN, INFINITY, -INFINITY};

    for (int t = DTYPE_Q8_0; t < DTYPE_COUNT; t++) {
        for (int k = 0; k < 3; k++) {
            size_t n = dtype_info((enum dtype)t)->block;
            float x[K_BLOCK] = {1, 2, 3}, back[K_BLOCK];
            char block[K_BLOCK];

            x[7] = bad[k];
            dtype_info((enum dtype)t)->from_f32(x, NULL, block, n);
            dtype_info((enum dtype)t)->to_f32(block, back, n);
            for (size_t i = 0; i < n; i++)
                CHECK(isnan(back[i]));
        }
    }
}

TEST(values_beyond_the_scale_do_not_read_back_as_numbers)
{
    static const float large[] = {1e9f, -1e9f, 3e38f, -3e38f};

    for (int t = DTYPE_Q8_0; t < DTYPE_COUNT; t++) {
        for (int k = 0; k < 4; k++) {
            float x[K_BLOCK] = {1, -2, large[k], 4}, back[K_BLOCK];
            char block[K_BLOCK];

            if (t == DTYPE_MXFP4) /* its scale reaches as far as f32 */
                continue;
            x[4] = -large[k];
            dtype_info((enum dtype)t)->from_f32(x, NULL, block, dtype_info((enum dtype)t)->block);
            dtype_info((enum dtype)t)->to_f32(block, back, dtype_info((enum dtype)t)->block);
            CHECK(!isfinite(back[2]));
        }
    }
}

TEST(zeros_and_tiny_values_quantise_to_zero)
{
    float x[K_BLOCK] = {1e-40f, -1e-30f}, back[K_BLOCK];
    char block[K_BLOCK];

    for (int t = DTYPE_Q8_0; t < DTYPE_COUNT; t++) {
        size_t n = dtype_info((enum dtype)t)->block;

        dtype_info((enum dtype)t)->from_f32(x, NULL, block, n);
        dtype_info((enum dtype)t)->to_f32(block, back, n);
        /* A scale of f16 cannot be that small, one of eight bits can. */
        for (size_t i = 0; i < n; i++)
            CHECK(t == DTYPE_MXFP4 ? fabsf(back[i]) <= 2e-30f : back[i] == 0);
    }
}

TEST(rows_may_lie_at_odd_addresses)
{
    char at[2 * K_BLOCK * 4 + 1];
    float x[2 * K_BLOCK], back[2 * K_BLOCK];

    for (int i = 0; i < 2 * K_BLOCK; i++)
        x[i] = (float)(i % 8);
    for (int t = 0; t < DTYPE_COUNT; t++) {
        dtype_info((enum dtype)t)->from_f32(x, NULL, at + 1, 2 * K_BLOCK);
        dtype_info((enum dtype)t)->to_f32(at + 1, back, 2 * K_BLOCK);
        for (int i = 0; i < 2 * K_BLOCK; i++)
            CHECK_NEAR((double)back[i], (double)x[i], t < DTYPE_Q2_K ? 0.9 : 7 * worst_error[t]);
    }
}

TEST(types_are_found_by_name_and_number)
{
    CHECK_INT(dtype_by_gguf_id(0), DTYPE_F32);
    CHECK_INT(dtype_by_gguf_id(8), DTYPE_Q8_0);
    CHECK_INT(dtype_by_gguf_id(30), DTYPE_BF16);
    CHECK_INT(dtype_by_gguf_id(12), DTYPE_Q4_K);
    CHECK_INT(dtype_by_gguf_id(10), DTYPE_Q2_K);
    CHECK_INT(dtype_by_gguf_id(9), -1);
    CHECK_INT(dtype_by_gguf_id(UINT32_MAX), -1);
    CHECK_INT(dtype_by_name("q4_0"), DTYPE_Q4_0);
    CHECK_INT(dtype_by_name("q4_K"), DTYPE_Q4_K);
    CHECK_INT(dtype_by_name("q2_K"), DTYPE_Q2_K);
    CHECK_INT(dtype_by_name("q2_k"), -1);
    CHECK_STR(dtype_gguf_name(12), "q4_K");
    CHECK_STR(dtype_gguf_name(30), "bf16");
    CHECK_STR(dtype_gguf_name(39), "mxfp4");
    CHECK(dtype_gguf_name(1000) == NULL);
    for (int t = 0; t < DTYPE_COUNT; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);

        CHECK_STR(dtype_gguf_name(info->gguf_id), info->name);
        CHECK_INT(dtype_row_bytes((enum dtype)t, 512), 512 / info->block * info->block_bytes);
    }
    CHECK(bits(1.0f) == 0x3f800000);
}
