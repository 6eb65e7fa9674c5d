/* SPDX-License-Identifier: Apache-2.0 */
/* fit.c - see fit.h */
#include "tensor/fit.h"

#include <math.h>

#define TRIES      9      /* steps tried to either side of the plain one */
#define TURNS      3      /* times that integers and scale are fitted to each other */
#define TINY       1e-30f /* 1 / x of what is larger stays finite */
#define STEP_RANGE 0.1f   /* between tries, in integers; finer ones gave no smaller errors */

/* ---- scale and minimum ---- */

/* The best scale and minimum for the integers that `now` gives. */
static struct fit_range solve_range(const float *x, const float *weight, size_t n, int most,
                                    struct fit_range now)
{
    float w = 0, q = 0, qq = 0, v = 0, vq = 0, inverse = 1 / now.scale, det;
    struct fit_range f = {0, 0};

    for (size_t i = 0; i < n; i++) {
        float k = fit_nearest((x[i] + now.min) * inverse, 0, (float)most), wi = weight[i];

        w += wi;
        q += wi * k;
        qq += wi * k * k;
        v += wi * x[i];
        vq += wi * x[i] * k;
    }
    det = w * qq - q * q;
    if (det > 0) {
        f.scale = (w * vq - q * v) / det;
        f.min = (q * vq - qq * v) / det;
    }
    if (!(f.min > 0)) {
        f.min = 0;
        f.scale = qq > 0 ? vq / qq : 0;
    }
    return f;
}

float fit_range_error(const float *x, const float *weight, size_t n, int most, struct fit_range f)
{
    float sum = 0, inverse = f.scale > TINY ? 1 / f.scale : 0;

    for (size_t i = 0; i < n; i++) {
        float k = fit_nearest((x[i] + f.min) * inverse, 0, (float)most);
        float e = x[i] - f.scale * k + f.min;

        sum += weight[i] * e * e;
    }
    return sum;
}

/* Alternates from `now` on; the best of what was met is in *best. */
static void improve_range(const float *x, const float *weight, size_t n, int most,
                          struct fit_range now, struct fit_range *best, float *least)
{
    for (int turn = 0; turn < TURNS; turn++) {
        struct fit_range next = solve_range(x, weight, n, most, now);
        float error;

        if (!(next.scale > TINY) || !isfinite(next.scale) || !isfinite(next.min))
            return;
        error = fit_range_error(x, weight, n, most, next);
        if (!(error < *least))
            return;
        *least = error;
        *best = now = next;
    }
}

struct fit_range fit_range(const float *x, const float *weight, size_t n, int most)
{
    float low = 0, high = x[0], least;
    struct fit_range best;

    for (size_t i = 0; i < n; i++) {
        low = fminf(low, x[i]);
        high = fmaxf(high, x[i]);
    }
    best = (struct fit_range){(high - low) / (float)most, -low};
    if (!isfinite(best.scale) || !(best.scale > TINY)) /* all equal, tiny, or beyond every scale */
        return best;
    least = fit_range_error(x, weight, n, most, best);
    for (int t = -TRIES; t <= TRIES; t++) {
        struct fit_range from = {(high - low) / ((float)most + STEP_RANGE * (float)t), -low};

        improve_range(x, weight, n, most, from, &best, &least);
    }
    return best;
}

/* ---- scale alone ---- */

static float level_value(const struct fit_levels *l, int place)
{
    return (float)(l->levels ? l->levels[place] : l->low + place);
}

int fit_level(const struct fit_levels *l, float x)
{
    int place = 0;

    if (!l->levels)
        return (int)fit_nearest(x, (float)l->low, (float)l->high) - l->low;
    for (int k = 0; k + 1 < l->count; k++)
        place += 2 * x > (float)(l->levels[k] + l->levels[k + 1]);
    return place;
}

static float nearest_level(const struct fit_levels *l, float x)
{
    if (!l->levels)
        return fit_nearest(x, (float)l->low, (float)l->high);
    return level_value(l, fit_level(l, x));
}

float fit_error(const float *x, const float *weight, size_t n, const struct fit_levels *l,
                float scale)
{
    float sum = 0, inverse = fabsf(scale) > TINY ? 1 / scale : 0;

    for (size_t i = 0; i < n; i++) {
        float e = x[i] - scale * nearest_level(l, x[i] * inverse);

        sum += weight[i] * e * e;
    }
    return sum;
}

/* With the best scale vq / qq for the levels that `inverse` gives, the squared error is a constant
 * less vq^2 / qq: the gain. */
static float gain_of(const float *x, const float *weight, size_t n, const struct fit_levels *l,
                     float inverse, float *scale)
{
    float vq = 0, qq = 0;

    for (size_t i = 0; i < n; i++) {
        float k = nearest_level(l, x[i] * inverse);

        vq += weight[i] * x[i] * k;
        qq += weight[i] * k * k;
    }
    *scale = qq > 0 ? vq / qq : 0;
    return *scale * vq;
}

float fit_scale(const float *x, const float *weight, size_t n, const struct fit_levels *l)
{
    float most = 0, best = 0, best_gain = 0, end = level_value(l, 0);
    float unit = l->levels ? -end / 64 : 1; /* levels lie about so far apart */

    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(most))
            most = x[i];
    if (!(fabsf(most) > TINY))
        return 0;
    for (int t = -TRIES; t <= TRIES; t++) {
        /* The extreme number comes to the end of the levels, or a little before or behind it. */
        float inverse = (end + unit * 0.125f * (float)t) / most;

        for (int turn = 0; turn < TURNS; turn++) {
            float scale, gain = gain_of(x, weight, n, l, inverse, &scale);

            if (!(gain > best_gain) || !isfinite(gain))
                break;
            best_gain = gain;
            best = scale;
            inverse = 1 / scale;
            if (!isfinite(inverse))
                break;
        }
    }
    return best_gain > 0 ? best : most / end; /* squares may have vanished */
}
