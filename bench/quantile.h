/* SPDX-License-Identifier: Apache-2.0 */
/* quantile.h - the middle and the tail of what was measured. */
#ifndef BENCH_QUANTILE_H
#define BENCH_QUANTILE_H

#include <stdlib.h>

static inline int quantile_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The value below which `part` (0 to 1) of the others lie: 0.5 is the median.  No interpolation: it
 * is one that was measured.  Sorts them; 0 if there is none. */
static inline double quantile(double *values, size_t count, double part)
{
    if (count == 0)
        return 0;
    qsort(values, count, sizeof(*values), quantile_order);
    return values[(size_t)(part * (double)(count - 1))];
}

#endif
