/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "tensor/dtype.h"

#include <stdint.h>

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
    dtype_info(DTYPE_Q8_0)->from_f32(x, q8, 2 * Q_BLOCK);
    dtype_info(DTYPE_Q8_0)->to_f32(q8, back, 2 * Q_BLOCK);
    CHECK_INT(q8[0].d, 0x3800);
    for (int i = 0; i < 2 * Q_BLOCK; i++)
        CHECK(x[i] == back[i]);

    for (int i = 0; i < 2 * Q_BLOCK; i++)
        x[i] = (i < Q_BLOCK ? 0.5f : -2.0f) * (float)(i % 16 - 8);
    dtype_info(DTYPE_Q4_0)->from_f32(x, q4, 2 * Q_BLOCK);
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

TEST(quantising_errs_by_at_most_half_a_step)
{
    static const enum dtype types[] = {DTYPE_Q8_0, DTYPE_Q4_0};
    float x[Q_BLOCK], back[Q_BLOCK];
    char block[64];

    for (unsigned seed = 1; seed < 2000; seed++) {
        uint32_t s = seed;
        float most = 0;

        for (int i = 0; i < Q_BLOCK; i++) {
            s = s * 1664525u + 1013904223u;
            x[i] = (float)(int32_t)s * 0x1p-31f;
            most = fmaxf(most, fabsf(x[i]));
        }
        for (int t = 0; t < 2; t++) {
            /* q4_0 cannot reach the far end (its range is -8 .. 7): a whole step there; the scale
             * itself is off by a half of 2^-10. */
            float worst = types[t] == DTYPE_Q8_0 ? most / 127 * 0.57f : most / 8 * 1.01f;

            dtype_info(types[t])->from_f32(x, block, Q_BLOCK);
            dtype_info(types[t])->to_f32(block, back, Q_BLOCK);
            for (int i = 0; i < Q_BLOCK; i++)
                CHECK_NEAR((double)back[i], (double)x[i], (double)worst);
        }
    }
}

TEST(a_block_with_nan_or_infinity_reads_back_as_nan)
{
    static const enum dtype types[] = {DTYPE_Q8_0, DTYPE_Q4_0};
    float bad[] = {NAN, INFINITY, -INFINITY};

    for (int t = 0; t < 2; t++) {
        for (int k = 0; k < 3; k++) {
            float x[Q_BLOCK] = {1, 2, 3}, back[Q_BLOCK];
            char block[64];

            x[7] = bad[k];
            dtype_info(types[t])->from_f32(x, block, Q_BLOCK);
            dtype_info(types[t])->to_f32(block, back, Q_BLOCK);
            for (int i = 0; i < Q_BLOCK; i++)
                CHECK(isnan(back[i]));
        }
    }
}

TEST(zeros_and_tiny_values_quantise_to_zero)
{
    float x[Q_BLOCK] = {1e-40f, -1e-30f}, back[Q_BLOCK];
    char block[64];

    for (int t = DTYPE_Q8_0; t <= DTYPE_Q4_0; t++) {
        dtype_info((enum dtype)t)->from_f32(x, block, Q_BLOCK);
        dtype_info((enum dtype)t)->to_f32(block, back, Q_BLOCK);
        for (int i = 0; i < Q_BLOCK; i++)
            CHECK(back[i] == 0);
    }
}

TEST(rows_may_lie_at_odd_addresses)
{
    char at[4 * Q_BLOCK * 4 + 1];
    float x[4 * Q_BLOCK], back[4 * Q_BLOCK];

    for (int i = 0; i < 4 * Q_BLOCK; i++)
        x[i] = (float)(i % 8);
    for (int t = 0; t < DTYPE_COUNT; t++) {
        dtype_info((enum dtype)t)->from_f32(x, at + 1, 4 * Q_BLOCK);
        dtype_info((enum dtype)t)->to_f32(at + 1, back, 4 * Q_BLOCK);
        for (int i = 0; i < 4 * Q_BLOCK; i++)
            CHECK_NEAR((double)back[i], (double)x[i], 0.9);
    }
}

TEST(types_are_found_by_name_and_number)
{
    CHECK_INT(dtype_by_gguf_id(0), DTYPE_F32);
    CHECK_INT(dtype_by_gguf_id(8), DTYPE_Q8_0);
    CHECK_INT(dtype_by_gguf_id(30), DTYPE_BF16);
    CHECK_INT(dtype_by_gguf_id(12), -1);
    CHECK_INT(dtype_by_gguf_id(UINT32_MAX), -1);
    CHECK_INT(dtype_by_name("q4_0"), DTYPE_Q4_0);
    CHECK_INT(dtype_by_name("q4_K"), -1);
    CHECK_STR(dtype_gguf_name(12), "q4_K");
    CHECK_STR(dtype_gguf_name(30), "bf16");
    CHECK_STR(dtype_gguf_name(39), "mxfp4");
    CHECK(dtype_gguf_name(1000) == NULL);
    for (int t = 0; t < DTYPE_COUNT; t++) {
        const struct dtype_info *info = dtype_info((enum dtype)t);

        CHECK_STR(dtype_gguf_name(info->gguf_id), info->name);
        CHECK_INT(dtype_row_bytes((enum dtype)t, 64), 64 / info->block * info->block_bytes);
    }
    CHECK(bits(1.0f) == 0x3f800000);
}
