/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.h - numbers as they are written: exactly, digit by digit, where binary ones would round;
 * and those between two bounds, or multiples of something, as an automaton.  Any thread. */
#ifndef SCHED_DECIMAL_H
#define SCHED_DECIMAL_H

#include "sched/automaton.h"

#include <jansson.h>

#define DECIMAL_DIGITS_MAX                                                \
    16 /* before and behind the point: beyond, JSON's numbers lose digits \
        */

/* The digits before the point, without zeros in front but for "0" itself, and those behind it, none
 * of them a zero at the end. */
struct decimal {
    bool is_negative; /* never zero itself */
    uint8_t whole, places;
    char digits[2 * DECIMAL_DIGITS_MAX];
};

/* False if it is no number or has too many digits. */
bool decimal_of(struct decimal *d, const json_t *number);
int decimal_compare(const struct decimal *a, const struct decimal *b); /* -1, 0, 1 */
static inline bool decimal_is_whole(const struct decimal *d)
{
    return d->places == 0;
}

struct decimal_bound {
    bool is_set, is_exclusive;
    struct decimal value;
};

/* What numbers are multiples of: `factor` * 10^zeros / 10^places.  Either zeros or places is 0. */
struct decimal_multiple {
    uint32_t factor; /* 0: of nothing */
    uint32_t places, zeros;
};

#define DECIMAL_FACTOR_MAX 1000
/* False if its factor would be above the maximum, or it is not above 0. */
bool decimal_multiple_of(struct decimal_multiple *m, const struct decimal *d);
/* Is it a multiple? */
bool decimal_divides(const struct decimal_multiple *m, const struct decimal *d);

struct decimal_limits {
    struct decimal_bound low, high;
    struct decimal_multiple multiple;
    bool is_integer;    /* no point is written */
    bool is_fractional; /* none that is an integer */
};

/* At most 16 digits before the point (fewer where the factor is large: 8 at least) and behind it,
 * no exponent.  Multiples have no more places than what they are multiples of. */
int automaton_of_decimals(struct automaton *a, const struct decimal_limits *limits, uint64_t *work,
                          struct llmos_error *err);

#endif
