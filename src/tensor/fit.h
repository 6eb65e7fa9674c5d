/* SPDX-License-Identifier: Apache-2.0 */
/* fit.h - the scale of a block of numbers that a few integers are to stand for.
 *
 * Several steps are tried.  For each the integers are chosen, then the scale (and minimum) that fit
 * these integers best are solved for (weighted least squares), and both once more from there (Lloyd
 * 1982); the try with the least weighted squared error stays.  Numbers are finite, weights finite
 * and not negative.  Nothing is kept; any thread. */
#ifndef TENSOR_FIT_H
#define TENSOR_FIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FIT_MAX 32 /* numbers of one block */

/* The nearest integer (ties to even) within [low, high], which lie within 2^22; low for NaN. */
static inline float fit_nearest(float x, float low, float high)
{
    x = x > low ? x : low;
    x = x < high ? x : high;
    /* In [2^23, 2^24) the last place is 1: the addition rounds, in any vector of any processor. */
    return x + 0x1.8p23f - 0x1.8p23f;
}

/* x[i] = scale * q - min, q in [0, most], scale and min not below 0. */
struct fit_range {
    float scale, min;
};
struct fit_range fit_range(const float *x, const float *weight, size_t n, int most);

/* What integers stand for: `count` levels in ascending order, or themselves from low to high where
 * levels is NULL. */
struct fit_levels {
    const int8_t *levels;
    int count;
    int low, high;
};

/* The place of the level nearest to x. */
int fit_level(const struct fit_levels *l, float x);

/* x[i] = scale * level: a scale of either sign; 0 where all of x are as good as 0. */
float fit_scale(const float *x, const float *weight, size_t n, const struct fit_levels *l);

/* The weighted squared error that is left with that scale. */
float fit_error(const float *x, const float *weight, size_t n, const struct fit_levels *l,
                float scale);
float fit_range_error(const float *x, const float *weight, size_t n, int most, struct fit_range f);

#endif
