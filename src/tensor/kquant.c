/* SPDX-License-Identifier: Apache-2.0 */
/* kquant.c - see kquant.h
 *
 * A quantiser tries several steps for each block.  For each of them the quants are chosen, then the
 * scale (and minimum) that fit these quants best are solved for; the try with the least squared
 * error stays.  Larger weights count for more: they are rarer and move a sum further.
 * The scales are then quantised themselves, and the quants chosen anew for what is stored. */
#include "tensor/kquant.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#define TRIES 8 /* steps tried to either side of the plain one; more gave no smaller errors */

static int nearest(float x, int low, int high)
{
    float q = rintf(x);

    return !(q > (float)low) ? low : q > (float)high ? high : (int)q;
}

static bool all_finite(const float *x)
{
    for (size_t i = 0; i < K_BLOCK; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* ---- q4_K ---- */

void q4_k_to_row(const void *blocks, float *out, size_t n)
{
    struct block_q4_K b;

    for (const char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), out += K_BLOCK) {
        memcpy(&b, at, sizeof(b));
        for (size_t j = 0; j < K_BLOCK / 32; j++) {
            unsigned scale, min;
            float d, m;

            q4_k_scale(b.scales, j, &scale, &min);
            d = f16_to_f32(b.d) * (float)scale;
            m = f16_to_f32(b.dmin) * (float)min;
            for (size_t l = 0; l < 32; l++) {
                unsigned q = b.q[j / 2 * 32 + l];

                out[j * 32 + l] = d * (float)(j % 2 ? q >> 4 : q & 15u) - m;
            }
        }
    }
}

/* x = scale * q - min, q in [0, 15], min not below 0. */
struct fit {
    double scale, min, error;
};

/* The best scale and minimum for the quants that a step of `step` from -min gives. */
static struct fit fit_step(const float *x, const double *weight, float step, float min)
{
    double w = 0, q = 0, qq = 0, v = 0, vq = 0, vv = 0, det;
    struct fit f = {0};

    for (size_t i = 0; i < 32; i++) {
        double k = nearest((x[i] + min) / step, 0, 15), wi = weight[i], xi = (double)x[i];

        w += wi;
        q += wi * k;
        qq += wi * k * k;
        v += wi * xi;
        vq += wi * xi * k;
        vv += wi * xi * xi;
    }
    det = w * qq - q * q;
    if (det > 0) {
        f.scale = (w * vq - q * v) / det;
        f.min = (q * vq - qq * v) / det;
    }
    if (f.min < 0 || det <= 0) {
        f.min = 0;
        f.scale = qq > 0 ? vq / qq : 0;
    }
    /* sum of w (x - s k + m)^2, multiplied out */
    f.error = vv + f.scale * f.scale * qq + f.min * f.min * w - 2 * f.scale * vq + 2 * f.min * v -
              2 * f.scale * f.min * q;
    return f;
}

static struct fit fit_block(const float *x)
{
    struct fit best = {0, 0, HUGE_VAL};
    float low = 0, high = x[0], step;
    double weight[32], squares = 0;

    for (size_t i = 0; i < 32; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
        squares += (double)x[i] * (double)x[i];
    }
    step = (high - low) / 15;
    if (!(step > 0)) /* all equal and not positive: their minimum says it all */
        return (struct fit){0, -(double)low, 0};
    if (!isfinite(step))
        return (struct fit){HUGE_VAL, 0, 0}; /* beyond f16 in any case */
    for (size_t i = 0; i < 32; i++)
        weight[i] = sqrt(squares / 32) + fabs((double)x[i]);
    for (int t = -TRIES; t <= TRIES; t++) {
        struct fit f = fit_step(x, weight, step * (1 + (float)t * 0.025f), -low);

        if (f.error < best.error && f.scale >= 0)
            best = f;
    }
    return best;
}

static void put_scale(uint8_t scales[12], size_t j, unsigned scale, unsigned min)
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

static void q4_k_block(const float *x, struct block_q4_K *b)
{
    struct fit fits[K_BLOCK / 32];
    double scale_max = 0, min_max = 0;
    float d, dmin;

    memset(b, 0, sizeof(*b));
    if (!all_finite(x)) {
        b->d = f32_to_f16(NAN);
        return;
    }
    for (size_t j = 0; j < K_BLOCK / 32; j++) {
        fits[j] = fit_block(x + 32 * j);
        scale_max = fmax(scale_max, fits[j].scale);
        min_max = fmax(min_max, fits[j].min);
    }
    b->d = f32_to_f16((float)(scale_max / 63));
    b->dmin = f32_to_f16((float)(min_max / 63));
    d = f16_to_f32(b->d);
    dmin = f16_to_f32(b->dmin);
    if (!isfinite(d) || !isfinite(dmin)) {
        b->d = f32_to_f16(NAN);
        return;
    }
    for (size_t j = 0; j < K_BLOCK / 32; j++) {
        int scale = d > 0 ? nearest((float)fits[j].scale / d, 0, 63) : 0;
        int min = dmin > 0 ? nearest((float)fits[j].min / dmin, 0, 63) : 0;
        float step = d * (float)scale, offset = dmin * (float)min;

        put_scale(b->scales, j, (unsigned)scale, (unsigned)min);
        for (size_t l = 0; l < 32 && step > 0; l++) {
            int q = nearest((x[32 * j + l] + offset) / step, 0, 15);

            b->q[j / 2 * 32 + l] |= (uint8_t)(q << (j % 2 ? 4 : 0));
        }
    }
}

void q4_k_from_row(const float *x, void *blocks, size_t n)
{
    struct block_q4_K b;

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), x += K_BLOCK) {
        q4_k_block(x, &b);
        memcpy(at, &b, sizeof(b));
    }
}

/* ---- q6_K ---- */

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

/* The scale, of either sign, for sixteen values with quants in [-32, 31]. */
static float fit_sixteen(const float *x)
{
    double best = 0, best_gain = 0;
    float most = 0;

    for (size_t i = 0; i < 16; i++)
        if (fabsf(x[i]) > fabsf(most))
            most = x[i];
    if (fabsf(most) < 1e-30f) /* 1 / most must stay finite */
        return 0;
    for (int t = -TRIES; t <= TRIES; t++) {
        /* The extreme value becomes -32 or a little less or more. */
        float inverse = -(32 + (float)t * 0.125f) / most;
        double vq = 0, qq = 0;

        for (size_t i = 0; i < 16; i++) {
            double q = nearest(x[i] * inverse, -32, 31), w = (double)x[i] * (double)x[i];

            vq += w * (double)x[i] * q;
            qq += w * q * q;
        }
        /* With the scale vq / qq the squared error is a constant less vq^2 / qq. */
        if (qq > 0 && vq * vq > best_gain * qq) {
            best_gain = vq * vq / qq;
            best = vq / qq;
        }
    }
    return best_gain > 0 ? (float)best : most / -32; /* squares may have vanished */
}

static void q6_k_put(struct block_q6_K *b, size_t i, unsigned q)
{
    size_t half = i / 128, k = i / 32 % 4, l = i % 32;

    b->low[64 * half + 32 * (k % 2) + l] |= (uint8_t)((q & 15) << (k < 2 ? 0 : 4));
    b->high[32 * half + l] |= (uint8_t)(q >> 4 << 2 * k);
}

static void q6_k_block(const float *x, struct block_q6_K *b)
{
    float scales[K_BLOCK / 16], most = 0, d;

    memset(b, 0, sizeof(*b));
    if (!all_finite(x)) {
        b->d = f32_to_f16(NAN);
        return;
    }
    for (size_t j = 0; j < K_BLOCK / 16; j++) {
        scales[j] = fit_sixteen(x + 16 * j);
        if (fabsf(scales[j]) > fabsf(most))
            most = scales[j];
    }
    b->d = f32_to_f16(most / -128); /* the extreme scale becomes -128, whatever its sign */
    d = f16_to_f32(b->d);
    for (size_t j = 0; j < K_BLOCK / 16; j++)
        b->scale[j] = (int8_t)(d != 0 && isfinite(d) ? nearest(scales[j] / d, -128, 127) : 0);
    for (size_t i = 0; i < K_BLOCK; i++) {
        float step = d * (float)b->scale[i / 16];

        q6_k_put(b, i,
                 step != 0 && isfinite(step) ? (unsigned)(nearest(x[i] / step, -32, 31) + 32)
                                             : 32u);
    }
}

void q6_k_from_row(const float *x, void *blocks, size_t n)
{
    struct block_q6_K b;

    for (char *at = blocks; n > 0; n -= K_BLOCK, at += sizeof(b), x += K_BLOCK) {
        q6_k_block(x, &b);
        memcpy(at, &b, sizeof(b));
    }
}
