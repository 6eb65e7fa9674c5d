/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.c - conversions of every number type to and from f32, plain and exact. */
#include "tensor/dtype.h"
#include "tensor/kquant.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float f)
{
    uint32_t u;

    memcpy(&u, &f, sizeof(u));
    return u;
}

static float float_of(uint32_t u)
{
    float f;

    memcpy(&f, &u, sizeof(f));
    return f;
}

/* f16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. */
float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;
    float f;

    if (exponent == 31)
        return float_of(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) { /* zero or subnormal: an integer times 2^-24, exact in f32 */
        f = (float)mantissa * 0x1p-24f;
        return sign ? -f : f;
    }
    return float_of(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
}

uint16_t f32_to_f16(float f)
{
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;

    if (a > 0x7f800000u) /* NaN: quiet, with the upper bits of its payload, as processors do it */
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x47800000u) /* 2^16 and more */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) {
        /* Below 2^-14 the result is a multiple of 2^-24.  That is the last place of f32 numbers in
         * [0.5, 1): adding 0.5 makes the hardware round to it, to nearest even. */
        return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - bits_of(0.5f)));
    }
    /* Half of the last place less one, plus the last bit that stays: ties go to even.  A carry runs
     * into the exponent and, past the largest, to infinity: both right. */
    a += 0xfffu + (a >> 13 & 1u);
    return (uint16_t)(sign | ((a >> 13) - ((127u - 15u) << 10)));
}

float bf16_to_f32(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t f32_to_bf16(float f)
{
    uint32_t u = bits_of(f);

    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static void f32_copy_out(const void *blocks, float *out, size_t n)
{
    memcpy(out, blocks, n * sizeof(float));
}

static void f32_copy_in(const float *x, void *blocks, size_t n)
{
    memcpy(blocks, x, n * sizeof(float));
}

/* Rows in files may lie at odd addresses: elements are fetched by memcpy. */
static uint16_t u16_at(const void *p, size_t i)
{
    uint16_t v;

    memcpy(&v, (const char *)p + i * sizeof(v), sizeof(v));
    return v;
}

static void u16_put(void *p, size_t i, uint16_t v)
{
    memcpy((char *)p + i * sizeof(v), &v, sizeof(v));
}

static void f16_to_row(const void *blocks, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f16_to_f32(u16_at(blocks, i));
}

static void f16_from_row(const float *x, void *blocks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        u16_put(blocks, i, f32_to_f16(x[i]));
}

static void bf16_to_row(const void *blocks, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_to_f32(u16_at(blocks, i));
}

static void bf16_from_row(const float *x, void *blocks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        u16_put(blocks, i, f32_to_bf16(x[i]));
}

/* The element of largest magnitude with its sign; NaN if any element is not finite. */
static float extreme(const float *x)
{
    float most = 0;

    for (size_t i = 0; i < Q_BLOCK; i++) {
        if (!isfinite(x[i]))
            return NAN;
        if (fabsf(x[i]) > fabsf(most))
            most = x[i];
    }
    return most;
}

/* x / d to the nearest integer (ties to even) within [low, high]; 0 where d is 0, infinite or NaN:
 * an infinite or NaN scale alone makes the whole block NaN when it is read back. */
static int quant(float x, float d, int low, int high)
{
    float q;

    if (d == 0 || !isfinite(d))
        return 0;
    q = rintf(x / d);
    return q < (float)low ? low : q > (float)high ? high : (int)q;
}

static void q8_0_to_row(const void *blocks, float *out, size_t n)
{
    for (size_t b = 0; b < n / Q_BLOCK; b++) {
        struct block_q8_0 block;

        memcpy(&block, (const char *)blocks + b * sizeof(block), sizeof(block));
        for (size_t i = 0; i < Q_BLOCK; i++)
            out[b * Q_BLOCK + i] = f16_to_f32(block.d) * (float)block.q[i];
    }
}

static void q8_0_from_row(const float *x, void *blocks, size_t n)
{
    for (size_t b = 0; b < n / Q_BLOCK; b++, x += Q_BLOCK) {
        struct block_q8_0 block;
        float d;

        block.d = f32_to_f16(fabsf(extreme(x)) / 127);
        d = f16_to_f32(block.d); /* the quants fit the scale as it is stored */
        for (size_t i = 0; i < Q_BLOCK; i++)
            block.q[i] = (int8_t)quant(x[i], d, -127, 127);
        memcpy((char *)blocks + b * sizeof(block), &block, sizeof(block));
    }
}

/* The types with 4 and 5 bits differ in what stands in front of the nibbles only. */
static void nibbles_to_row(const uint8_t *q, const uint8_t *high, float d, int bias, float m,
                           float *out)
{
    for (size_t j = 0; j < Q_BLOCK; j++) {
        int v = (j < Q_BLOCK / 2 ? q[j] & 15 : q[j - Q_BLOCK / 2] >> 4) - bias;

        if (high)
            v += (high[j / 8] >> j % 8 & 1) << 4;
        out[j] = d * (float)v + m;
    }
}

/* Value j becomes the nearest v with d * v + m, v + bias in [0, most]. */
static void nibbles_from_row(const float *x, float d, int bias, int most, float m, uint8_t *q,
                             uint8_t *high)
{
    memset(q, 0, Q_BLOCK / 2);
    if (high)
        memset(high, 0, Q_BLOCK / 8);
    for (size_t j = 0; j < Q_BLOCK; j++) {
        unsigned v = (unsigned)(quant(x[j] - m, d, -bias, most - bias) + bias);

        q[j % (Q_BLOCK / 2)] |= (uint8_t)((v & 15) << (j < Q_BLOCK / 2 ? 0 : 4));
        if (high)
            high[j / 8] |= (uint8_t)((v >> 4 & 1) << j % 8);
    }
}

/* Scale and minimum of `most` steps over the range of x, as they are stored.  What does not fit f16
 * makes the scale NaN, and so every value. */
static void range(const float *x, int most, uint16_t *d, uint16_t *m)
{
    float low = x[0], high = x[0];

    for (size_t i = 1; i < Q_BLOCK; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    *m = f32_to_f16(low);
    *d = f32_to_f16((high - f16_to_f32(*m)) / (float)most);
    if (isnan(extreme(x)) || !isfinite(f16_to_f32(*m)))
        *d = f32_to_f16(NAN);
}

static void q4_0_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q4_0 b;

    for (const char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), out += Q_BLOCK) {
        memcpy(&b, at, sizeof(b));
        nibbles_to_row(b.q, NULL, f16_to_f32(b.d), 8, 0, out);
    }
}

/* The range is -8 .. 7: the extreme element becomes -8, whatever its sign. */
static void q4_0_from_row(const float *x, void *blocks, size_t n)
{
    struct block_q4_0 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        b.d = f32_to_f16(extreme(x) / -8);
        nibbles_from_row(x, f16_to_f32(b.d), 8, 15, 0, b.q, NULL);
        memcpy(at, &b, sizeof(b));
    }
}

static void q4_1_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q4_1 b;

    for (const char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), out += Q_BLOCK) {
        memcpy(&b, at, sizeof(b));
        nibbles_to_row(b.q, NULL, f16_to_f32(b.d), 0, f16_to_f32(b.m), out);
    }
}

static void q4_1_from_row(const float *x, void *blocks, size_t n)
{
    struct block_q4_1 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        range(x, 15, &b.d, &b.m);
        nibbles_from_row(x, f16_to_f32(b.d), 0, 15, f16_to_f32(b.m), b.q, NULL);
        memcpy(at, &b, sizeof(b));
    }
}

static void q5_0_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q5_0 b;

    for (const char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), out += Q_BLOCK) {
        memcpy(&b, at, sizeof(b));
        nibbles_to_row(b.q, b.high, f16_to_f32(b.d), 16, 0, out);
    }
}

/* The range is -16 .. 15: the extreme element becomes -16, whatever its sign. */
static void q5_0_from_row(const float *x, void *blocks, size_t n)
{
    struct block_q5_0 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        b.d = f32_to_f16(extreme(x) / -16);
        nibbles_from_row(x, f16_to_f32(b.d), 16, 31, 0, b.q, b.high);
        memcpy(at, &b, sizeof(b));
    }
}

static void q5_1_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q5_1 b;

    for (const char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), out += Q_BLOCK) {
        memcpy(&b, at, sizeof(b));
        nibbles_to_row(b.q, b.high, f16_to_f32(b.d), 0, f16_to_f32(b.m), out);
    }
}

static void q5_1_from_row(const float *x, void *blocks, size_t n)
{
    struct block_q5_1 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        range(x, 31, &b.d, &b.m);
        nibbles_from_row(x, f16_to_f32(b.d), 0, 31, f16_to_f32(b.m), b.q, b.high);
        memcpy(at, &b, sizeof(b));
    }
}

static const struct dtype_info infos[DTYPE_COUNT] = {
    [DTYPE_F32] = {"f32", 0, 1, 4, f32_copy_out, f32_copy_in},
    [DTYPE_F16] = {"f16", 1, 1, 2, f16_to_row, f16_from_row},
    [DTYPE_BF16] = {"bf16", 30, 1, 2, bf16_to_row, bf16_from_row},
    [DTYPE_Q8_0] = {"q8_0", 8, Q_BLOCK, sizeof(struct block_q8_0), q8_0_to_row, q8_0_from_row},
    [DTYPE_Q4_0] = {"q4_0", 2, Q_BLOCK, sizeof(struct block_q4_0), q4_0_to_row, q4_0_from_row},
    [DTYPE_Q4_1] = {"q4_1", 3, Q_BLOCK, sizeof(struct block_q4_1), q4_1_to_row, q4_1_from_row},
    [DTYPE_Q5_0] = {"q5_0", 6, Q_BLOCK, sizeof(struct block_q5_0), q5_0_to_row, q5_0_from_row},
    [DTYPE_Q5_1] = {"q5_1", 7, Q_BLOCK, sizeof(struct block_q5_1), q5_1_to_row, q5_1_from_row},
    [DTYPE_Q4_K] = {"q4_K", 12, K_BLOCK, sizeof(struct block_q4_K), q4_k_to_row, q4_k_from_row},
    [DTYPE_Q6_K] = {"q6_K", 14, K_BLOCK, sizeof(struct block_q6_K), q6_k_to_row, q6_k_from_row},
};
_Static_assert(sizeof(struct block_q8_0) == 34 && sizeof(struct block_q4_0) == 18 &&
                   sizeof(struct block_q4_1) == 20 && sizeof(struct block_q5_0) == 22 &&
                   sizeof(struct block_q5_1) == 24 && sizeof(struct block_q4_K) == 144 &&
                   sizeof(struct block_q6_K) == 210,
               "blocks are laid out as in files");

const struct dtype_info *dtype_info(enum dtype t)
{
    return &infos[t];
}

int dtype_by_gguf_id(uint32_t id)
{
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (infos[t].gguf_id == id)
            return t;
    return -1;
}

int dtype_by_name(const char *name)
{
    for (int t = 0; t < DTYPE_COUNT; t++)
        if (strcmp(infos[t].name, name) == 0)
            return t;
    return -1;
}

const char *dtype_gguf_name(uint32_t id)
{
    /* 4, 5 and 31 to 33, 36 to 38 were given out and withdrawn; old files may still have them. */
    static const char *const names[] = {
        "f32",   "f16",        "q4_0",       "q4_1",       "q4_2",     "q4_3",     "q5_0",
        "q5_1",  "q8_0",       "q8_1",       "q2_K",       "q3_K",     "q4_K",     "q5_K",
        "q6_K",  "q8_K",       "iq2_xxs",    "iq2_xs",     "iq3_xxs",  "iq1_s",    "iq4_nl",
        "iq3_s", "iq2_s",      "iq4_xs",     "i8",         "i16",      "i32",      "i64",
        "f64",   "iq1_m",      "bf16",       "q4_0_4_4",   "q4_0_4_8", "q4_0_8_8", "tq1_0",
        "tq2_0", "iq4_nl_4_4", "iq4_nl_4_8", "iq4_nl_8_8", "mxfp4",
    };

    return id < sizeof(names) / sizeof(*names) ? names[id] : NULL;
}

size_t dtype_row_bytes(enum dtype t, size_t n)
{
    return n / infos[t].block * infos[t].block_bytes;
}
