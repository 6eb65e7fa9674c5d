/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.c - see decimal.h */
#include "sched/decimal.h"

#include "base/mem.h"

#include <math.h>
#include <stdio.h>

#define DIGITS_MAX 16
#define NO_BOUND   INT64_MAX

/* Everything is a list of alternatives in parentheses. */
struct list {
    struct buf *out;
    bool any;
};

static void next(struct list *l)
{
    buf_puts(l->out, l->any ? "| " : "( ");
    l->any = true;
}

static bool end(struct list *l)
{
    if (l->any)
        buf_puts(l->out, ") ");
    return l->any;
}

static void put_digits(struct buf *out, char low, char high, size_t count)
{
    if (count == 0)
        return;
    if (low == high)
        buf_printf(out, "\"%c\"", low);
    else
        buf_printf(out, "[%c-%c]", low, high);
    if (count > 1)
        buf_printf(out, "{%zu}", count);
    buf_putc(out, ' ');
}

static void put_prefix(struct buf *out, const char *digits, size_t n)
{
    if (n)
        buf_printf(out, "\"%.*s\" ", (int)n, digits);
}

/* Numbers of `n` digits from low on, or up to high: the same first digits, then one that is
 * beyond, then any. */
static void put_side(struct list *l, const char *bound, size_t from, size_t n, bool is_low,
                     const char *tail)
{
    for (size_t i = from; i < n; i++) {
        char first = is_low ? (char)(bound[i] + 1) : '0',
             last = is_low ? '9' : (char)(bound[i] - 1);

        if (first > last)
            continue;
        next(l);
        put_prefix(l->out, bound, i);
        put_digits(l->out, first, last, 1);
        put_digits(l->out, '0', '9', n - 1 - i);
        buf_puts(l->out, tail);
    }
    next(l);
    buf_printf(l->out, "\"%s\" %s", bound, tail);
}

/* From low to high, which have as many digits. */
static void put_same_length(struct list *l, int64_t low, int64_t high, const char *tail)
{
    char a[32], b[32];
    size_t n = (size_t)snprintf(a, sizeof(a), "%lld", (long long)low), i = 0;

    snprintf(b, sizeof(b), "%lld", (long long)high);
    while (i < n && a[i] == b[i])
        i++;
    if (i == n) {
        next(l);
        buf_printf(l->out, "\"%s\" %s", a, tail);
        return;
    }
    if (b[i] - a[i] > 1) {
        next(l);
        put_prefix(l->out, a, i);
        put_digits(l->out, (char)(a[i] + 1), (char)(b[i] - 1), 1);
        put_digits(l->out, '0', '9', n - 1 - i);
        buf_puts(l->out, tail);
    }
    put_side(l, a, i + 1, n, true, tail);
    put_side(l, b, i + 1, n, false, tail);
}

/* From low >= 0 to high, each with the tail behind it. */
static void put_whole(struct list *l, int64_t low, int64_t high, const char *tail)
{
    int64_t top = 9;
    size_t digits = 1;

    for (; top < low; digits++)
        top = top * 10 + 9;
    while (low <= high && digits <= DIGITS_MAX) {
        if (high == NO_BOUND && (low == 0 || low == top / 10 + 1)) {
            if (low == 0) {
                next(l);
                buf_printf(l->out, "\"0\" %s", tail);
            }
            next(l);
            buf_printf(l->out, "[1-9] [0-9]{%zu,%d} %s", digits - 1, DIGITS_MAX - 1, tail);
            return;
        }
        put_same_length(l, low, high < top ? high : top, tail);
        low = top + 1;
        top = top * 10 + 9;
        digits++;
    }
}

/* Not below 0: from low to high. */
static void put_positive(struct list *l, int64_t low, bool above_low, int64_t high, bool below_high,
                         bool is_integer)
{
    static const char fraction[] = "(\".\" [0-9]{1,16})? ";

    if (is_integer) {
        low += above_low;
        high -= below_high && high != NO_BOUND;
        if (low <= high)
            put_whole(l, low, high, "");
        return;
    }
    if (low > high || (low == high && (above_low || below_high)))
        return;
    if (above_low) {
        next(l);
        buf_printf(l->out, "\"%lld.\" [0-9]{0,15} [1-9] ", (long long)low++);
    }
    if (low < high)
        put_whole(l, low, high == NO_BOUND ? high : high - 1, fraction);
    if (high != NO_BOUND && !below_high && low <= high) {
        next(l);
        buf_printf(l->out, "\"%lld\" (\".\" \"0\"{1,16})? ", (long long)high);
    }
}

bool decimal_is_whole(struct decimal_bound b)
{
    return !b.is_set || b.value == floor(b.value);
}

/* The next integer that is within. */
static struct decimal_bound whole(struct decimal_bound b, bool is_low)
{
    if (decimal_is_whole(b))
        return b;
    return (struct decimal_bound){true, false, is_low ? ceil(b.value) : floor(b.value)};
}

bool decimal_put(struct buf *out, struct decimal_bound low, struct decimal_bound high,
                 bool is_integer)
{
    struct list l = {out, false};
    struct list negative = {out, false};
    bool has_negative, has_positive;
    CLEANUP(buf) struct buf below = {.limit_bytes = 1 << 16};

    low = whole(low, true);
    high = whole(high, false);
    has_positive = !high.is_set || high.value > 0 || (high.value == 0 && !high.is_exclusive);
    has_negative = !low.is_set || low.value < 0;
    if (has_positive) {
        bool from_zero = !low.is_set || low.value < 0;

        put_positive(&l, from_zero ? 0 : (int64_t)low.value, !from_zero && low.is_exclusive,
                     high.is_set ? (int64_t)high.value : NO_BOUND, high.is_exclusive, is_integer);
    }
    if (has_negative) {
        bool to_zero = !high.is_set || high.value >= 0;

        negative.out = &below;
        put_positive(&negative, to_zero ? 0 : (int64_t)-high.value, to_zero || high.is_exclusive,
                     low.is_set ? (int64_t)-low.value : NO_BOUND, low.is_exclusive, is_integer);
        if (end(&negative)) {
            next(&l);
            buf_puts(out, "\"-\" ");
            buf_puts(out, below.at ? below.at : "");
            out->bad |= below.bad;
        }
    }
    return end(&l);
}
