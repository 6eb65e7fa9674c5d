/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.h - the numbers between two bounds, as digits of a grammar. */
#ifndef SCHED_DECIMAL_H
#define SCHED_DECIMAL_H

#include "base/buf.h"

#define DECIMAL_MAX 1e15 /* of a bound: beyond, JSON's numbers lose digits */

struct decimal_bound {
    bool is_set, is_exclusive;
    double value;
};

bool decimal_is_whole(struct decimal_bound b); /* or not set */

/* Appends one element of a sequence; false and nothing if there is no such number.  Integers have
 * 16 digits at most; other numbers have bounds that are whole, at most 16 digits behind the point,
 * and no exponent. */
bool decimal_put(struct buf *out, struct decimal_bound low, struct decimal_bound high,
                 bool is_integer);

#endif
