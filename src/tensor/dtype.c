/* SPDX-License-Identifier: Apache-2.0 */
/* dtype.c - conversions of every number type to and from f32, plain and exact. */
#include "tensor/dtype.h"
#include "tensor/fit.h"
#include "tensor/iquant.h"
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

static void f32_copy_in(const float *x, const float *importance, void *blocks, size_t n)
{
    (void)importance;
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

static void f16_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    for (size_t i = 0; i < n; i++)
        u16_put(blocks, i, f32_to_f16(x[i]));
}

static void bf16_to_row(const void *blocks, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_to_f32(u16_at(blocks, i));
}

static void bf16_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    (void)importance;
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

static void q8_0_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    (void)importance; /* the largest value decides; there is little to win */
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

/* Squared errors count as their columns are important, and more where a value is large. */
static void weigh(const float *x, const float *importance, float *weight)
{
    float squares = 0;

    for (size_t i = 0; i < Q_BLOCK; i++)
        squares += x[i] * x[i];
    for (size_t i = 0; i < Q_BLOCK; i++)
        weight[i] = importance[i] * sqrtf(squares / Q_BLOCK + x[i] * x[i]);
}

/* Scale and minimum of `most` steps over the range of x, as they are stored.  What does not fit f16
 * makes the scale NaN, and so every value. */
static void range(const float *x, const float *importance, int most, uint16_t *d, uint16_t *m)
{
    float low = x[0], high = x[0], weight[Q_BLOCK];
    bool is_nan = isnan(extreme(x));

    for (size_t i = 1; i < Q_BLOCK; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    *m = f32_to_f16(low);
    *d = f32_to_f16((high - f16_to_f32(*m)) / (float)most);
    if (importance && !is_nan) {
        struct fit_range f;

        weigh(x, importance, weight);
        f = fit_range(x, weight, Q_BLOCK, most);
        *m = f32_to_f16(-f.min);
        *d = f32_to_f16(f.scale);
    }
    if (is_nan || !isfinite(f16_to_f32(*m)))
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

/* The scale for integers from low on: without importance the extreme element becomes `low`,
 * whatever its sign. */
static uint16_t scale_from(const float *x, const float *importance, int low)
{
    const struct fit_levels levels = {.low = low, .high = -low - 1};
    float most = extreme(x), weight[Q_BLOCK];

    if (!importance || isnan(most))
        return f32_to_f16(most / (float)low);
    weigh(x, importance, weight);
    return f32_to_f16(fit_scale(x, weight, Q_BLOCK, &levels));
}

static void q4_0_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    struct block_q4_0 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        b.d = scale_from(x, importance, -8);
        nibbles_from_row(x, f16_to_f32(b.d), 8, 15, 0, b.q, NULL);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + Q_BLOCK : NULL;
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

static void q4_1_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    struct block_q4_1 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        range(x, importance, 15, &b.d, &b.m);
        nibbles_from_row(x, f16_to_f32(b.d), 0, 15, f16_to_f32(b.m), b.q, NULL);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + Q_BLOCK : NULL;
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

static void q5_0_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    struct block_q5_0 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        b.d = scale_from(x, importance, -16);
        nibbles_from_row(x, f16_to_f32(b.d), 16, 31, 0, b.q, b.high);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + Q_BLOCK : NULL;
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

static void q5_1_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    struct block_q5_1 b;

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), x += Q_BLOCK) {
        range(x, importance, 31, &b.d, &b.m);
        nibbles_from_row(x, f16_to_f32(b.d), 0, 31, f16_to_f32(b.m), b.q, b.high);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + Q_BLOCK : NULL;
    }
}

/* ---- levels from a table ---- */

static void levels_to_f32(const uint8_t *q, const int8_t *levels, float d, float *out)
{
    for (size_t j = 0; j < Q_BLOCK / 2; j++) {
        out[j] = d * (float)levels[q[j] & 15];
        out[j + Q_BLOCK / 2] = d * (float)levels[q[j] >> 4];
    }
}

static void iq4_nl_to_row(const void *blocks, float *out, size_t n)
{
    struct block_iq4_nl b;

    for (const char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), out += Q_BLOCK) {
        memcpy(&b, at, sizeof(b));
        levels_to_f32(b.q, iq4_levels, f16_to_f32(b.d), out);
    }
}

static void iq4_nl_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    static const struct fit_levels levels = {iq4_levels, 16, 0, 0};

    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(struct block_iq4_nl), x += Q_BLOCK) {
        struct block_iq4_nl b = {.d = f32_to_f16(NAN)};
        bool is_nan = isnan(extreme(x));
        float weight[Q_BLOCK], size = 0, d;

        for (size_t i = 0; i < Q_BLOCK; i++)
            size += x[i] * x[i] / Q_BLOCK;
        size = sqrtf(size);
        for (size_t i = 0; i < Q_BLOCK; i++)
            weight[i] = size + fabsf(x[i]); /* better in perplexity than x^2, and than more of it */
        if (importance)
            weigh(x, importance, weight);
        if (!is_nan)
            b.d = f32_to_f16(fit_scale(x, weight, Q_BLOCK, &levels));
        d = f16_to_f32(b.d);
        for (size_t j = 0; j < Q_BLOCK && d != 0 && isfinite(d); j++)
            b.q[j % 16] |= (uint8_t)(fit_level(&levels, x[j] / d) << (j < 16 ? 0 : 4));
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + Q_BLOCK : NULL;
    }
}

/* Twice the values of E2M1, an exponent of two bits and one of fraction (OCP Microscaling Formats,
 * version 1.0, 5.3.3), so that they are integers. */
const int8_t mxfp4_levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
#define MXFP4_NAN 255

float mxfp4_scale(uint8_t e)
{
    return e == MXFP4_NAN ? NAN : ldexpf(1, e - 128);
}

static void mxfp4_to_row(const void *blocks, float *out, size_t n)
{
    struct block_mxfp4 b;

    for (const char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(b), out += Q_BLOCK) {
        memcpy(&b, at, sizeof(b));
        levels_to_f32(b.q, mxfp4_levels, mxfp4_scale(b.e), out);
    }
}

/* The code nearest to x, its sign in bit 3. */
static unsigned mxfp4_code(float x)
{
    unsigned code = 0;

    for (unsigned k = 0; k < 7; k++)
        code += 2 * fabsf(x) > (float)(mxfp4_levels[k] + mxfp4_levels[k + 1]);
    return code | (x < 0 && code ? 8u : 0u);
}

static float mxfp4_error(const float *x, const float *importance, uint8_t e)
{
    float d = mxfp4_scale(e), sum = 0;

    for (size_t i = 0; i < Q_BLOCK; i++) {
        float miss = x[i] - d * (float)mxfp4_levels[mxfp4_code(x[i] / d)];

        sum += (importance ? importance[i] : 1) * miss * miss;
    }
    return sum;
}

/* With the largest value at 6 of 2 * 6, or twice or half the scale, whichever errs least. */
static uint8_t mxfp4_exponent(const float *x, const float *importance)
{
    float most = fabsf(extreme(x)), least = HUGE_VALF;
    int from, best = 0;

    if (isnan(most))
        return MXFP4_NAN;
    if (most < 0x1p-126f)
        return 0;
    frexpf(most, &from); /* most is 2^from times [0.5, 1) */
    from += 128 - 4;     /* so that 8 is the level before it */
    for (int e = from - 1; e <= from + 1; e++) {
        float error;

        if (e < 0 || e >= MXFP4_NAN)
            continue;
        error = mxfp4_error(x, importance, (uint8_t)e);
        if (error < least) {
            least = error;
            best = e;
        }
    }
    return (uint8_t)(least < HUGE_VALF ? best : from < 0 ? 0 : from < MXFP4_NAN ? from : 254);
}

static void mxfp4_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    for (char *at = blocks; n > 0; n -= Q_BLOCK, at += sizeof(struct block_mxfp4), x += Q_BLOCK) {
        struct block_mxfp4 b = {.e = mxfp4_exponent(x, importance)};
        float d = mxfp4_scale(b.e);

        for (size_t j = 0; j < Q_BLOCK && b.e != MXFP4_NAN; j++)
            b.q[j % 16] |= (uint8_t)(mxfp4_code(x[j] / d) << (j < 16 ? 0 : 4));
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + Q_BLOCK : NULL;
    }
}

/* ---- three levels: -1, 0, 1 (for models that were trained so; Ma et al. 2024) ---- */

/* The largest magnitude of a super-block, as f16; NaN if any value is not finite. */
static uint16_t ternary_scale(const float *x)
{
    float most = 0;

    for (size_t i = 0; i < K_BLOCK; i += Q_BLOCK) {
        float of_block = fabsf(extreme(x + i));

        most = isnan(most) || isnan(of_block) ? NAN : fmaxf(most, of_block);
    }
    return f32_to_f16(most);
}

static unsigned ternary(float x, uint16_t d)
{
    return (unsigned)(quant(x, f16_to_f32(d), -1, 1) + 1);
}

unsigned tq2_0_digit(const struct block_tq2_0 *b, size_t i)
{
    return b->q[i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
}

static void tq2_0_to_row(const void *blocks, float *out, size_t n)
{
    struct block_tq2_0 b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t i = 0; i < K_BLOCK; i++)
            out[i] = f16_to_f32(b.d) * (float)((int)tq2_0_digit(&b, i) - 1);
    }
}

static void tq2_0_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_tq2_0), x += K_BLOCK) {
        struct block_tq2_0 b = {.d = ternary_scale(x)};

        for (size_t i = 0; i < K_BLOCK; i++)
            b.q[i / 128 * 32 + i % 32] |= (uint8_t)(ternary(x[i], b.d) << i % 128 / 32 * 2);
        memcpy(at, &b, sizeof(b));
    }
}

/* The byte of value i, and which of its digits, the most significant first. */
static size_t tq1_0_place(size_t i, size_t *digit)
{
    if (i < 160) {
        *digit = i / 32;
        return i % 32;
    }
    if (i < 240) {
        *digit = (i - 160) / 16;
        return 32 + (i - 160) % 16;
    }
    *digit = (i - 240) / 4;
    return 48 + (i - 240) % 4;
}

unsigned tq1_0_digit(const struct block_tq1_0 *b, size_t i)
{
    static const uint8_t power[5] = {1, 3, 9, 27, 81};
    size_t digit, place = tq1_0_place(i, &digit);
    uint8_t byte = place < 48 ? b->five[place] : b->four[place - 48];
    uint8_t rest = (uint8_t)(byte * power[digit]); /* what follows the digits before */

    return rest * 3u >> 8;
}

static void tq1_0_to_row(const void *blocks, float *out, size_t n)
{
    struct block_tq1_0 b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t i = 0; i < K_BLOCK; i++)
            out[i] = f16_to_f32(b.d) * (float)((int)tq1_0_digit(&b, i) - 1);
    }
}

static void tq1_0_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    (void)importance;
    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_tq1_0), x += K_BLOCK) {
        struct block_tq1_0 b = {.d = ternary_scale(x)};
        unsigned number[52] = {0};

        for (size_t i = 0; i < K_BLOCK; i++) {
            size_t digit, place = tq1_0_place(i, &digit);

            number[place] = number[place] * 3 + ternary(x[i], b.d); /* digits come in order */
        }
        for (size_t k = 0; k < 52; k++) { /* of 3^5 to a fraction of 256, rounded up */
            unsigned of_243 = k < 48 ? number[k] : number[k] * 3;
            uint8_t byte = (uint8_t)((of_243 * 256 + 242) / 243);

            *(k < 48 ? &b.five[k] : &b.four[k - 48]) = byte;
        }
        memcpy(at, &b, sizeof(b));
    }
}

/* ---- the table ---- */

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
    [DTYPE_Q2_K] = {"q2_K", 10, K_BLOCK, sizeof(struct block_q2_K), q2_k_to_row, q2_k_from_row},
    [DTYPE_Q3_K] = {"q3_K", 11, K_BLOCK, sizeof(struct block_q3_K), q3_k_to_row, q3_k_from_row},
    [DTYPE_Q5_K] = {"q5_K", 13, K_BLOCK, sizeof(struct block_q5_K), q5_k_to_row, q5_k_from_row},
    [DTYPE_IQ4_NL] = {"iq4_nl", 20, Q_BLOCK, sizeof(struct block_iq4_nl), iq4_nl_to_row,
                      iq4_nl_from_row},
    [DTYPE_IQ4_XS] = {"iq4_xs", 23, K_BLOCK, sizeof(struct block_iq4_xs), iq4_xs_to_row,
                      iq4_xs_from_row},
    [DTYPE_MXFP4] = {"mxfp4", 39, Q_BLOCK, sizeof(struct block_mxfp4), mxfp4_to_row,
                     mxfp4_from_row},
    [DTYPE_TQ1_0] = {"tq1_0", 34, K_BLOCK, sizeof(struct block_tq1_0), tq1_0_to_row,
                     tq1_0_from_row},
    [DTYPE_TQ2_0] = {"tq2_0", 35, K_BLOCK, sizeof(struct block_tq2_0), tq2_0_to_row,
                     tq2_0_from_row},
    [DTYPE_IQ1_S] = {"iq1_s", 19, K_BLOCK, sizeof(struct block_iq1_s), iq1_s_to_row,
                     iq1_s_from_row},
    [DTYPE_IQ1_M] = {"iq1_m", 29, K_BLOCK, sizeof(struct block_iq1_m), iq1_m_to_row,
                     iq1_m_from_row},
    [DTYPE_IQ2_XXS] = {"iq2_xxs", 16, K_BLOCK, sizeof(struct block_iq2_xxs), iq2_xxs_to_row,
                       iq2_xxs_from_row},
    [DTYPE_IQ2_XS] = {"iq2_xs", 17, K_BLOCK, sizeof(struct block_iq2_xs), iq2_xs_to_row,
                      iq2_xs_from_row},
    [DTYPE_IQ2_S] = {"iq2_s", 22, K_BLOCK, sizeof(struct block_iq2_s), iq2_s_to_row,
                     iq2_s_from_row},
    [DTYPE_IQ3_XXS] = {"iq3_xxs", 18, K_BLOCK, sizeof(struct block_iq3_xxs), iq3_xxs_to_row,
                       iq3_xxs_from_row},
    [DTYPE_IQ3_S] = {"iq3_s", 21, K_BLOCK, sizeof(struct block_iq3_s), iq3_s_to_row,
                     iq3_s_from_row},
};
_Static_assert(sizeof(struct block_q8_0) == 34 && sizeof(struct block_q4_0) == 18 &&
                   sizeof(struct block_q4_1) == 20 && sizeof(struct block_q5_0) == 22 &&
                   sizeof(struct block_q5_1) == 24 && sizeof(struct block_q4_K) == 144 &&
                   sizeof(struct block_q6_K) == 210 && sizeof(struct block_q2_K) == 84 &&
                   sizeof(struct block_q3_K) == 110 && sizeof(struct block_q5_K) == 176 &&
                   sizeof(struct block_iq4_nl) == 18 && sizeof(struct block_iq4_xs) == 136 &&
                   sizeof(struct block_mxfp4) == 17 && sizeof(struct block_tq1_0) == 54 &&
                   sizeof(struct block_tq2_0) == 66,
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
