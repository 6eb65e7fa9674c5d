/* SPDX-License-Identifier: Apache-2.0 */
/* kquant.c - see kquant.h
 *
 * Of each type a super-block is first taken apart into codes: a small scale (and minimum) for every
 * block, an integer for every value.  fit.h finds the scales; they are then rounded themselves, to
 * the neighbour that errs least, and the integers chosen for what is stored.  Larger weights count
 * for more unless the caller knows better: they are rarer and move a sum further. */
#include "tensor/kquant.h"
#include "tensor/fit.h"

#include <math.h>
#include <string.h>

#define PARTS_MAX (K_BLOCK / 16)
#define NEARBY    1 /* scales tried to either side of the nearest one */

const int8_t iq4_levels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113};

/* ---- reading ---- */

void q2_k_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q2_K b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t j = 0; j < K_BLOCK / 16; j++) {
            float d = f16_to_f32(b.d) * (float)(b.scales[j] & 15);
            float m = f16_to_f32(b.dmin) * (float)(b.scales[j] >> 4);
            const uint8_t *q = b.q + j / 8 * 32 + j % 2 * 16;

            for (size_t l = 0; l < 16; l++)
                out[16 * j + l] = d * (float)(q[l] >> j % 8 / 2 * 2 & 3) - m;
        }
    }
}

void q3_k_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q3_K b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t j = 0; j < K_BLOCK / 16; j++) {
            float d = f16_to_f32(b.d) * (float)q3_k_scale(b.scales, j);
            const uint8_t *q = b.q + j / 8 * 32 + j % 2 * 16, *high = b.high + j % 2 * 16;

            for (size_t l = 0; l < 16; l++)
                out[16 * j + l] =
                    d * (float)((q[l] >> j % 8 / 2 * 2 & 3) + (high[l] >> j / 2 & 1) * 4 - 4);
        }
    }
}

/* 32 values of a block with a scale and a minimum; high: NULL or the bytes that hold bit j. */
static void range_to_f32(const uint8_t *q, const uint8_t *high, size_t j, float d, float m,
                         float *out)
{
    for (size_t l = 0; l < 32; l++) {
        int v = j % 2 ? q[l] >> 4 : q[l] & 15;

        out[l] = d * (float)(high ? v + (high[l] >> j & 1) * 16 : v) - m;
    }
}

void q4_k_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q4_K b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t j = 0; j < K_BLOCK / 32; j++) {
            unsigned scale, min;

            q4_k_scale(b.scales, j, &scale, &min);
            range_to_f32(b.q + j / 2 * 32, NULL, j, f16_to_f32(b.d) * (float)scale,
                         f16_to_f32(b.dmin) * (float)min, out + 32 * j);
        }
    }
}

void q5_k_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q5_K b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t j = 0; j < K_BLOCK / 32; j++) {
            unsigned scale, min;

            q4_k_scale(b.scales, j, &scale, &min);
            range_to_f32(b.q + j / 2 * 32, b.high, j, f16_to_f32(b.d) * (float)scale,
                         f16_to_f32(b.dmin) * (float)min, out + 32 * j);
        }
    }
}

void q6_k_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q6_K b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        float d;

        memcpy(&b, at, sizeof(b));
        d = f16_to_f32(b.d);
        for (size_t i = 0; i < K_BLOCK; i++)
            out[i] = d * (float)b.scale[i / 16] * (float)((int)q6_k_quant(&b, i) - 32);
    }
}

void iq4_xs_to_row(const void *blocks, float *out, size_t n)
{
    struct block_iq4_xs b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t j = 0; j < K_BLOCK / 32; j++) {
            float d = f16_to_f32(b.d) * (float)iq4_xs_scale(&b, j);

            for (size_t l = 0; l < 16; l++) {
                out[32 * j + l] = d * (float)iq4_levels[b.q[16 * j + l] & 15];
                out[32 * j + l + 16] = d * (float)iq4_levels[b.q[16 * j + l] >> 4];
            }
        }
    }
}

/* ---- codes ---- */

struct codes {
    uint16_t d, dmin; /* f16 */
    int scale[PARTS_MAX], min[PARTS_MAX];
    uint8_t q[K_BLOCK]; /* from 0 */
};

static bool all_finite(const float *x)
{
    for (size_t i = 0; i < K_BLOCK; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* Nothing but a scale that makes every value NaN. */
static void codes_nan(struct codes *c)
{
    *c = (struct codes){.d = f32_to_f16(NAN)};
}

/* Weights of the squared errors of a block.  By importance: times the size of the value, so that
 * what is large and important counts most (the importance is of columns, the same for all rows). */
static void weigh_by(const float *x, const float *importance, size_t n, float mean_square,
                     float *weight)
{
    for (size_t i = 0; i < n; i++)
        weight[i] = importance[i] * sqrtf(2 * mean_square + x[i] * x[i]);
}

static float mean_square(const float *x, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum / (float)n;
}

static int rounded(float x, float d, int low, int high)
{
    return d != 0 && isfinite(d) ? (int)fit_nearest(x / d, (float)low, (float)high) : 0;
}

/* ---- codes with minima ---- */

struct range_kind {
    size_t n; /* values of a block */
    int most; /* the largest integer */
    int scale_max;
};

/* Scale and minimum as they are stored: of those around the nearest the pair that errs least. */
static void round_range(const float *x, const float *weight, const struct range_kind *k,
                        struct fit_range f, float d, float dmin, int *scale, int *min)
{
    int s = rounded(f.scale, d, 0, k->scale_max), m = rounded(f.min, dmin, 0, k->scale_max);
    float least = HUGE_VALF;

    *scale = s;
    *min = m;
    for (int ds = -NEARBY; ds <= NEARBY; ds++)
        for (int dm = -NEARBY; dm <= NEARBY; dm++) {
            struct fit_range at = {d * (float)(s + ds), dmin * (float)(m + dm)};
            float error;

            if (s + ds < 0 || m + dm < 0 || s + ds > k->scale_max || m + dm > k->scale_max)
                continue;
            error = fit_range_error(x, weight, k->n, k->most, at);
            if (error < least) {
                least = error;
                *scale = s + ds;
                *min = m + dm;
            }
        }
}

static void range_weights(const float *x, const float *importance, const struct range_kind *k,
                          float of_all, float *weight)
{
    float size = sqrtf(mean_square(x, k->n));

    if (importance)
        weigh_by(x, importance, k->n, of_all, weight);
    for (size_t i = 0; i < k->n && !importance; i++)
        weight[i] = size + fabsf(x[i]);
}

static void put_range(const float *x, const struct range_kind *k, float step, float offset,
                      uint8_t *q)
{
    for (size_t i = 0; i < k->n; i++)
        q[i] = step > 0 ? (uint8_t)fit_nearest((x[i] + offset) / step, 0, (float)k->most) : 0;
}

static void range_codes(const float *x, const float *importance, const struct range_kind *k,
                        struct codes *c)
{
    struct fit_range fits[PARTS_MAX];
    float weight[PARTS_MAX][FIT_MAX], scale_max = 0, min_max = 0, d, dmin;
    size_t parts = K_BLOCK / k->n;

    codes_nan(c);
    if (!all_finite(x))
        return;
    for (size_t j = 0; j < parts; j++) {
        const float *by = importance ? importance + j * k->n : NULL;

        range_weights(x + j * k->n, by, k, mean_square(x, K_BLOCK), weight[j]);
        fits[j] = fit_range(x + j * k->n, weight[j], k->n, k->most);
        scale_max = fmaxf(scale_max, fits[j].scale);
        min_max = fmaxf(min_max, fits[j].min);
    }
    d = f16_to_f32(f32_to_f16(scale_max / (float)k->scale_max));
    dmin = f16_to_f32(f32_to_f16(min_max / (float)k->scale_max));
    if (!isfinite(d) || !isfinite(dmin))
        return;
    c->d = f32_to_f16(d);
    c->dmin = f32_to_f16(dmin);
    for (size_t j = 0; j < parts; j++) {
        round_range(x + j * k->n, weight[j], k, fits[j], d, dmin, &c->scale[j], &c->min[j]);
        put_range(x + j * k->n, k, d * (float)c->scale[j], dmin * (float)c->min[j],
                  c->q + j * k->n);
    }
}

/* ---- codes without ---- */

struct scale_kind {
    size_t n;
    struct fit_levels levels;
    int low, high; /* of the small scales */
};

static int round_scale(const float *x, const float *weight, const struct scale_kind *k, float scale,
                       float d)
{
    int nearest = rounded(scale, d, k->low, k->high), best = nearest;
    float least = HUGE_VALF;

    for (int s = nearest - NEARBY; s <= nearest + NEARBY; s++) {
        float error = fit_error(x, weight, k->n, &k->levels, d * (float)s);

        if (s >= k->low && s <= k->high && error < least) {
            least = error;
            best = s;
        }
    }
    return best;
}

static void scale_weights(const float *x, const float *importance, size_t n, float of_all,
                          float *weight)
{
    if (importance)
        weigh_by(x, importance, n, of_all, weight);
    for (size_t i = 0; i < n && !importance; i++)
        weight[i] = of_all / 4 + x[i] * x[i];
}

static void put_levels(const float *x, const struct scale_kind *k, float step, uint8_t *q)
{
    for (size_t i = 0; i < k->n; i++)
        q[i] = (uint8_t)fit_level(&k->levels, step != 0 && isfinite(step) ? x[i] / step : 0);
}

static void scale_codes(const float *x, const float *importance, const struct scale_kind *k,
                        struct codes *c)
{
    float weight[PARTS_MAX][FIT_MAX], scale[PARTS_MAX], most = 0, d;
    size_t parts = K_BLOCK / k->n;

    codes_nan(c);
    if (!all_finite(x))
        return;
    for (size_t j = 0; j < parts; j++) {
        const float *by = importance ? importance + j * k->n : NULL;

        scale_weights(x + j * k->n, by, k->n, mean_square(x, K_BLOCK), weight[j]);
        scale[j] = fit_scale(x + j * k->n, weight[j], k->n, &k->levels);
        if (fabsf(scale[j]) > fabsf(most))
            most = scale[j];
    }
    d = f16_to_f32(f32_to_f16(most / (float)k->low)); /* the extreme scale becomes the lowest */
    if (!isfinite(d))
        return;
    c->d = f32_to_f16(d);
    for (size_t j = 0; j < parts; j++) {
        c->scale[j] = round_scale(x + j * k->n, weight[j], k, scale[j], d);
        put_levels(x + j * k->n, k, d * (float)c->scale[j], c->q + j * k->n);
    }
}

/* ---- writing ---- */

/* The lower two bits of all values. */
static void put_twos(const uint8_t *q, uint8_t out[K_BLOCK / 4])
{
    for (size_t i = 0; i < K_BLOCK; i++)
        out[i / 128 * 32 + i % 32] |= (uint8_t)((q[i] & 3) << i % 128 / 32 * 2);
}

/* The lower four bits of all values, blocks of 32 in pairs. */
static void put_fours(const uint8_t *q, uint8_t out[K_BLOCK / 2])
{
    for (size_t i = 0; i < K_BLOCK; i++)
        out[i / 64 * 32 + i % 32] |= (uint8_t)((q[i] & 15) << (i / 32 % 2 ? 4 : 0));
}

void q2_k_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    static const struct range_kind kind = {16, 3, 15};

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_q2_K), x += K_BLOCK) {
        struct block_q2_K b = {.d = 0};
        struct codes c;

        range_codes(x, importance, &kind, &c);
        b.d = c.d;
        b.dmin = c.dmin;
        for (size_t j = 0; j < K_BLOCK / 16; j++)
            b.scales[j] = (uint8_t)(c.scale[j] | c.min[j] << 4);
        put_twos(c.q, b.q);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + K_BLOCK : NULL;
    }
}

static void put_q3_k_scale(uint8_t scales[12], size_t j, unsigned scale)
{
    scales[j % 8] |= (uint8_t)((scale & 15) << (j < 8 ? 0 : 4));
    scales[8 + j % 4] |= (uint8_t)(scale >> 4 << 2 * (j / 4));
}

void q3_k_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    static const struct scale_kind kind = {16, {.low = -4, .high = 3}, -32, 31};

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_q3_K), x += K_BLOCK) {
        struct block_q3_K b = {.d = 0};
        struct codes c;

        scale_codes(x, importance, &kind, &c);
        b.d = c.d;
        for (size_t j = 0; j < K_BLOCK / 16; j++)
            put_q3_k_scale(b.scales, j, (unsigned)(c.scale[j] + 32));
        put_twos(c.q, b.q);
        for (size_t i = 0; i < K_BLOCK; i++)
            b.high[i % 32] |= (uint8_t)(c.q[i] >> 2 << i / 32);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + K_BLOCK : NULL;
    }
}

static void put_q4_k_scale(uint8_t scales[12], size_t j, unsigned scale, unsigned min)
{
    if (j < 4) {
        scales[j] |= (uint8_t)scale;
        scales[j + 4] |= (uint8_t)min;
        return;
    }
    scales[j + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
    scales[j - 4] |= (uint8_t)(scale >> 4 << 6);
    scales[j] |= (uint8_t)(min >> 4 << 6);
}

void q4_k_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    static const struct range_kind kind = {32, 15, 63};

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_q4_K), x += K_BLOCK) {
        struct block_q4_K b = {.d = 0};
        struct codes c;

        range_codes(x, importance, &kind, &c);
        b.d = c.d;
        b.dmin = c.dmin;
        for (size_t j = 0; j < K_BLOCK / 32; j++)
            put_q4_k_scale(b.scales, j, (unsigned)c.scale[j], (unsigned)c.min[j]);
        put_fours(c.q, b.q);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + K_BLOCK : NULL;
    }
}

void q5_k_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    static const struct range_kind kind = {32, 31, 63};

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_q5_K), x += K_BLOCK) {
        struct block_q5_K b = {.d = 0};
        struct codes c;

        range_codes(x, importance, &kind, &c);
        b.d = c.d;
        b.dmin = c.dmin;
        for (size_t j = 0; j < K_BLOCK / 32; j++)
            put_q4_k_scale(b.scales, j, (unsigned)c.scale[j], (unsigned)c.min[j]);
        put_fours(c.q, b.q);
        for (size_t i = 0; i < K_BLOCK; i++)
            b.high[i % 32] |= (uint8_t)(c.q[i] >> 4 << i / 32);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + K_BLOCK : NULL;
    }
}

static void put_q6_k(struct block_q6_K *b, size_t i, unsigned q)
{
    size_t half = i / 128, k = i / 32 % 4, l = i % 32;

    b->low[64 * half + 32 * (k % 2) + l] |= (uint8_t)((q & 15) << (k < 2 ? 0 : 4));
    b->high[32 * half + l] |= (uint8_t)(q >> 4 << 2 * k);
}

void q6_k_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    static const struct scale_kind kind = {16, {.low = -32, .high = 31}, -128, 127};

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_q6_K), x += K_BLOCK) {
        struct block_q6_K b = {.d = 0};
        struct codes c;

        scale_codes(x, importance, &kind, &c);
        b.d = c.d;
        for (size_t j = 0; j < K_BLOCK / 16; j++)
            b.scale[j] = (int8_t)c.scale[j];
        for (size_t i = 0; i < K_BLOCK; i++)
            put_q6_k(&b, i, c.q[i]);
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + K_BLOCK : NULL;
    }
}

void iq4_xs_from_row(const float *x, const float *importance, void *blocks, size_t n)
{
    static const struct scale_kind kind = {32, {iq4_levels, 16, 0, 0}, -32, 31};

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(struct block_iq4_xs), x += K_BLOCK) {
        struct block_iq4_xs b = {.d = 0};
        struct codes c;

        scale_codes(x, importance, &kind, &c);
        b.d = c.d;
        for (size_t j = 0; j < K_BLOCK / 32; j++) {
            unsigned scale = (unsigned)(c.scale[j] + 32);

            b.low[j / 2] |= (uint8_t)((scale & 15) << 4 * (j % 2));
            b.high |= (uint16_t)(scale >> 4 << 2 * j);
        }
        for (size_t i = 0; i < K_BLOCK; i++)
            b.q[i / 32 * 16 + i % 16] |= (uint8_t)(c.q[i] << (i % 32 < 16 ? 0 : 4));
        memcpy(at, &b, sizeof(b));
        importance = importance ? importance + K_BLOCK : NULL;
    }
}
