/* SPDX-License-Identifier: Apache-2.0 */
/* shares.c - see shares.h */
#include "base/shares.h"

#define GAIN  0.125f
#define SWING 2.0f /* how far a measurement counts: one thread may have been away for long */
#define LEAST 0.05f

void shares_begin(float *speeds, unsigned parts)
{
    for (unsigned i = 0; i < parts; i++)
        speeds[i] = 1;
}

static double sum_of(const float *speeds, unsigned n)
{
    double sum = 0;

    for (unsigned i = 0; i < n; i++)
        sum += (double)speeds[i];
    return sum;
}

/* Where part `part` begins; the last one ends where all do. */
static size_t boundary(const float *speeds, unsigned part, unsigned parts, size_t count)
{
    double at = (double)count * sum_of(speeds, part) / sum_of(speeds, parts) + 0.5;

    return part < parts && at < (double)count ? (size_t)at : count;
}

void shares_cut(const float *speeds, unsigned part, unsigned parts, size_t count, size_t *begin,
                size_t *end)
{
    *begin = boundary(speeds, part, parts, count);
    *end = boundary(speeds, part + 1, parts, count);
}

/* Items a tick; 0: nothing is known. */
static float rate_of(const struct share_done *d, uint64_t start)
{
    return d->end > start ? (float)d->items / (float)(d->end - start) : 0;
}

static float limited(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v;
}

void shares_learn(float *speeds, const struct share_done *done, unsigned parts, uint64_t start)
{
    float rates = 0, known = 0, mean = (float)(sum_of(speeds, parts) / parts);

    for (unsigned i = 0; i < parts; i++) {
        float rate = rate_of(&done[i], start);

        rates += rate;
        known += rate > 0 ? speeds[i] : 0;
    }
    for (unsigned i = 0; i < parts; i++) {
        float rate = rate_of(&done[i], start);
        float now = rate > 0 ? rate / rates * known : mean;

        now = limited(now, speeds[i] / SWING, speeds[i] * SWING);
        speeds[i] = limited(speeds[i] + GAIN * (now - speeds[i]), LEAST, (float)parts);
    }
}
