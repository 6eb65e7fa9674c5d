/* SPDX-License-Identifier: Apache-2.0 */
/* decimal.c - see decimal.h */
#include "sched/decimal.h"

#include <stdio.h>
#include <stdlib.h>

/* --- digits --- */

/* The shortest digits that are this number again. */
static void print_real(char *text, size_t room, double v)
{
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(text, room, "%.*e", precision - 1, v);
        if (strtod(text, NULL) == v)
            break;
    }
}

/* Digits with the point behind the first `whole` of them, which may be below 0. */
static bool settle(struct decimal *d, const char *digits, int count, int whole)
{
    while (count > 0 && *digits == '0')
        digits++, count--, whole--;
    while (count > 0 && digits[count - 1] == '0')
        count--;
    if (count == 0)
        whole = 0;
    if (whole > DECIMAL_DIGITS_MAX || count - whole > DECIMAL_DIGITS_MAX)
        return false;
    d->whole = (uint8_t)(whole > 0 ? whole : 1);
    d->places = (uint8_t)(count > whole ? count - whole : 0);
    memset(d->digits, '0', sizeof(d->digits));
    memcpy(d->digits + (whole > 0 ? 0 : 1 - whole), digits, (size_t)count);
    d->is_negative &= count > 0;
    return true;
}

bool decimal_of(struct decimal *d, const json_t *number)
{
    char text[64], digits[64];
    const char *c = text;
    int count = 0, whole = -1;

    if (json_is_integer(number))
        snprintf(text, sizeof(text), "%lld", (long long)json_integer_value(number));
    else if (json_is_real(number))
        print_real(text, sizeof(text), json_real_value(number));
    else
        return false;
    *d = (struct decimal){.is_negative = *c == '-'};
    for (c += *c == '-'; *c && *c != 'e'; c++) {
        if (*c == '.')
            whole = count;
        else
            digits[count++] = *c;
    }
    whole = (whole < 0 ? count : whole) + (*c == 'e' ? atoi(c + 1) : 0);
    return settle(d, digits, count, whole);
}

static int digit_at(const struct decimal *d, int place)
{
    int at = d->whole + place;

    return at >= 0 && place < d->places ? d->digits[at] - '0' : 0;
}

int decimal_compare(const struct decimal *a, const struct decimal *b)
{
    int sign = a->is_negative ? -1 : 1;

    if (a->is_negative != b->is_negative)
        return sign;
    for (int place = -DECIMAL_DIGITS_MAX; place < DECIMAL_DIGITS_MAX; place++) {
        int x = digit_at(a, place), y = digit_at(b, place);

        if (x != y)
            return x < y ? -sign : sign;
    }
    return 0;
}

/* --- multiples --- */

bool decimal_multiple_of(struct decimal_multiple *m, const struct decimal *d)
{
    uint64_t factor = 0;

    *m = (struct decimal_multiple){.places = d->places};
    for (int i = 0; i < d->whole + d->places; i++) {
        factor = factor * 10 + (uint64_t)(d->digits[i] - '0');
        if (factor > UINT64_MAX / 100)
            return false;
    }
    while (factor && factor % 10 == 0) {
        factor /= 10;
        m->zeros++;
    }
    if (factor == 0 || factor > DECIMAL_FACTOR_MAX || d->is_negative)
        return false;
    m->factor = (uint32_t)factor;
    return true;
}

/* Of digits, zeros at the end do not count until another digit follows or there are enough. */
static uint32_t rest_with(const struct decimal_multiple *m, uint32_t rest, uint32_t *zeros,
                          uint32_t digit)
{
    if (digit == 0 && *zeros < m->zeros) {
        ++*zeros;
        return rest;
    }
    if (digit == 0)
        return rest * 10 % m->factor;
    for (; *zeros > 0; --*zeros)
        rest = rest * 10 % m->factor;
    return (rest * 10 + digit) % m->factor;
}

static bool is_multiple(const struct decimal_multiple *m, uint32_t rest, uint32_t zeros,
                        uint32_t places, bool is_zero)
{
    for (; places < m->places; places++)
        rest = rest * 10 % m->factor;
    return is_zero || (rest == 0 && zeros == m->zeros);
}

bool decimal_divides(const struct decimal_multiple *m, const struct decimal *d)
{
    uint32_t rest = 0, zeros = 0;
    bool is_zero = true;

    if (d->places > m->places)
        return false;
    for (int i = 0; i < d->whole + d->places; i++) {
        rest = rest_with(m, rest, &zeros, (uint32_t)(d->digits[i] - '0'));
        is_zero &= d->digits[i] == '0';
    }
    return is_multiple(m, rest, zeros, d->places, is_zero);
}

/* --- an automaton --- */

enum phase { START, SIGN, ZERO, WHOLE, POINT, PLACES };

/* Where the digits so far lead. */
struct spot {
    uint32_t phase, is_negative;
    uint32_t count; /* of digits, of the part that is written */
    uint32_t low,
        high; /* how the digits compare with the bound's so far: 0 less, 1 the same, 2 more */
    uint32_t rest, zeros;
    uint32_t is_whole;
};

_Static_assert(sizeof(struct spot) == AUTOMATON_WORDS_MAX * sizeof(uint32_t), "a place");

struct limits {
    const struct decimal_limits *l;
    uint32_t whole_max, places_max;
};

static uint32_t compare_digit(const struct decimal_bound *b, uint32_t was, uint32_t place,
                              uint32_t digit, bool is_whole)
{
    const struct decimal *v = &b->value;
    uint32_t other;

    if (!b->is_set)
        return 1;
    if (is_whole && place >= v->whole)
        return 2;
    if (was != 1)
        return was;
    other = (uint32_t)digit_at(v, is_whole ? (int)place - v->whole : (int)place);
    return digit < other ? 0 : digit > other ? 2 : 1;
}

/* The part before the point is over: one with fewer digits is less. */
static uint32_t compare_length(const struct decimal_bound *b, uint32_t was, uint32_t count)
{
    return b->is_set && count < b->value.whole ? 0 : was;
}

/* -1, 0, 1: the number against the bound. */
static int against(const struct decimal_bound *b, const struct spot *s, uint32_t is)
{
    const struct decimal *v = &b->value;
    bool in_places = s->phase == POINT || s->phase == PLACES;
    int sign = s->is_negative ? -1 : 1, more;

    if (!in_places)
        is = compare_length(b, is, s->count);
    if (is == 1 && v->places > (in_places ? s->count : 0))
        is = 0;
    more = (int)is - 1;
    if (s->is_negative == v->is_negative)
        return sign * more;
    return more == 0 && v->whole == 1 && v->digits[0] == '0' && v->places == 0 ? 0 : sign;
}

static bool accepts(const void *about, const uint32_t *place)
{
    const struct limits *x = about;
    const struct decimal_limits *l = x->l;
    struct spot s;
    int low, high;

    memcpy(&s, place, sizeof(s));
    if (s.phase == START || s.phase == SIGN || s.phase == POINT)
        return false;
    low = l->low.is_set ? against(&l->low, &s, s.low) : 1;
    high = l->high.is_set ? against(&l->high, &s, s.high) : -1;
    if (low < 0 || (low == 0 && l->low.is_exclusive) || high > 0 ||
        (high == 0 && l->high.is_exclusive) || (l->is_fractional && s.is_whole))
        return false;
    return l->multiple.factor == 0 || is_multiple(&l->multiple, s.rest, s.zeros,
                                                  s.phase == PLACES ? s.count : 0, s.phase == ZERO);
}

/* No number that begins so is within. */
static bool is_beyond(const struct decimal_limits *l, const struct spot *s)
{
    const struct decimal_bound *b = s->is_negative ? &l->low : &l->high;

    if (b->is_set && b->value.is_negative != (bool)s->is_negative)
        return true;
    return b->is_set && (s->phase == WHOLE || s->phase == ZERO) && s->count > b->value.whole;
}

static bool take_digit(const struct limits *x, struct spot *s, uint32_t digit)
{
    const struct decimal_limits *l = x->l;
    bool is_whole = s->phase < POINT;

    if (s->phase == ZERO || s->count >= (is_whole ? x->whole_max : x->places_max))
        return false;
    s->phase = !is_whole ? PLACES : s->phase == WHOLE || digit ? WHOLE : ZERO;
    s->low = compare_digit(&l->low, s->low, s->count, digit, is_whole);
    s->high = compare_digit(&l->high, s->high, s->count, digit, is_whole);
    if (l->multiple.factor)
        s->rest = rest_with(&l->multiple, s->rest, &s->zeros, digit);
    if (l->is_fractional)
        s->is_whole &= is_whole || digit == 0;
    s->count++;
    return true;
}

static bool take_point(const struct limits *x, struct spot *s)
{
    if ((s->phase != ZERO && s->phase != WHOLE) || x->places_max == 0)
        return false;
    s->low = compare_length(&x->l->low, s->low, s->count);
    s->high = compare_length(&x->l->high, s->high, s->count);
    s->phase = POINT;
    s->count = 0;
    return true;
}

static bool next(const void *about, const uint32_t *from, char c, uint32_t *to)
{
    const struct limits *x = about;
    struct spot s;
    bool is_fine;

    memcpy(&s, from, sizeof(s));
    if (s.phase == START) {
        s.low = s.high = 1;
        s.is_whole = 1;
    }
    if (c == '-') {
        is_fine = s.phase == START;
        s.phase = SIGN;
        s.is_negative = x->l->low.is_set || x->l->high.is_set; /* else no matter */
    } else {
        is_fine = c == '.' ? take_point(x, &s) : take_digit(x, &s, (uint32_t)(c - '0'));
    }
    if (!is_fine || is_beyond(x->l, &s))
        return false;
    memcpy(to, &s, sizeof(s));
    return true;
}

int automaton_of_decimals(struct automaton *a, const struct decimal_limits *limits, uint64_t *work,
                          struct llmos_error *err)
{
    const struct decimal_multiple *m = &limits->multiple;
    struct limits x = {limits, DECIMAL_DIGITS_MAX, DECIMAL_DIGITS_MAX};
    struct automaton_walk w = {&x, AUTOMATON_WORDS_MAX, "-.0123456789", next, accepts};

    if (limits->is_integer)
        x.places_max = 0;
    else if (m->factor)
        x.places_max = m->places;
    if (m->factor * DECIMAL_DIGITS_MAX * 2 > AUTOMATON_STATES_MAX)
        x.whole_max = 8;
    return automaton_of_walk(a, &w, work, err);
}
