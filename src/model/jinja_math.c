/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_math.c - the operators of a chat template, as Python has them; but an integer that does not
 * fit 64 bits is a failure. */
#include "model/jinja_call.h"
#include "model/jinja_lex.h"
#include "model/jinja_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static struct jinja_value too_large(struct jinja_store *s)
{
    return jinja_fail(s, LLMOS_ELIMIT, "a number does not fit 64 bits");
}

static struct jinja_value no_zero(struct jinja_store *s)
{
    return jinja_fail(s, LLMOS_EINVAL, "division by zero");
}

/* Rounds down, as Python does; b is not 0. */
static struct jinja_value divide_down(struct jinja_store *s, int64_t a, int64_t b, bool rest)
{
    int64_t q, r;

    if (b == -1)
        return rest ? JINJA_NUMBER(0) : a == INT64_MIN ? too_large(s) : JINJA_NUMBER(-a);
    q = a / b;
    r = a % b;
    if (r != 0 && (r < 0) != (b < 0)) {
        q--;
        r += b;
    }
    return JINJA_NUMBER(rest ? r : q);
}

static struct jinja_value power(struct jinja_store *s, int64_t a, int64_t b)
{
    int64_t v = 1;

    if (b < 0)
        return a == 0 ? no_zero(s) : JINJA_REAL(pow((double)a, (double)b));
    while (b > 0) {
        if ((b & 1) && __builtin_mul_overflow(v, a, &v))
            return too_large(s);
        b >>= 1;
        if (b > 0 && __builtin_mul_overflow(a, a, &a))
            return too_large(s);
    }
    return JINJA_NUMBER(v);
}

static struct jinja_value on_integers(struct jinja_store *s, unsigned op, int64_t a, int64_t b)
{
    int64_t v = 0;
    bool wraps = false;

    switch (op) {
    case '+':
        wraps = __builtin_add_overflow(a, b, &v);
        break;
    case '-':
        wraps = __builtin_sub_overflow(a, b, &v);
        break;
    case '*':
        wraps = __builtin_mul_overflow(a, b, &v);
        break;
    case '/':
        return b == 0 ? no_zero(s) : JINJA_REAL((double)a / (double)b);
    case OP('*', '*'):
        return power(s, a, b);
    default:
        return b == 0 ? no_zero(s) : divide_down(s, a, b, op == '%');
    }
    return wraps ? too_large(s) : JINJA_NUMBER(v);
}

/* The rest has the sign of b. */
static double rest_of(double a, double b)
{
    double r = fmod(a, b);

    return r != 0 && (r < 0) != (b < 0) ? r + b : r == 0 ? copysign(0, b) : r;
}

static struct jinja_value on_reals(struct jinja_store *s, unsigned op, double a, double b)
{
    if (b == 0 && op != '+' && op != '-' && op != '*' && op != OP('*', '*'))
        return no_zero(s);
    switch (op) {
    case '+':
        return JINJA_REAL(a + b);
    case '-':
        return JINJA_REAL(a - b);
    case '*':
        return JINJA_REAL(a * b);
    case '/':
        return JINJA_REAL(a / b);
    case '%':
        return JINJA_REAL(rest_of(a, b));
    case OP('/', '/'):
        return JINJA_REAL(floor((a - rest_of(a, b)) / b + 0.5));
    default:
        return JINJA_REAL(pow(a, b));
    }
}

static struct jinja_value join_lists(struct jinja_store *s, const struct jinja_list *a,
                                     const struct jinja_list *b)
{
    struct jinja_value v = jinja_list(s, a->row, a->count + b->count);

    if (!jinja_work(s, (a->count + b->count) * sizeof(v)))
        return JINJA_NOTHING;
    for (size_t i = 0; i < a->count; i++)
        jinja_append(s, v, a->at[i]);
    for (size_t i = 0; i < b->count; i++)
        jinja_append(s, v, b->at[i]);
    return v;
}

/* With | safe on one side, the other is escaped first. */
static struct jinja_value join_strings(struct jinja_store *s, struct jinja_value a,
                                       struct jinja_value b)
{
    bool is_safe = a.is_safe || b.is_safe;
    struct jinja_build build;
    struct jinja_value v;

    if (is_safe && !a.is_safe)
        a = jinja_escape(s, *a.s);
    if (is_safe && !b.is_safe)
        b = jinja_escape(s, *b.s);
    if (s->rc < 0)
        return JINJA_NOTHING;
    jinja_build_init(&build, s);
    jinja_put(&build, *a.s);
    jinja_put(&build, *b.s);
    v = jinja_built(&build);
    v.is_safe = is_safe;
    return v;
}

static struct jinja_value repeat(struct jinja_store *s, struct jinja_value v, int64_t times)
{
    struct jinja_build b;
    struct jinja_value out;

    if (v.kind == JINJA_LIST) {
        out = jinja_list(s, v.list->row, 0);
        for (int64_t i = 0; i < times && v.list->count && s->rc == 0; i++)
            for (size_t k = 0; k < v.list->count && jinja_work(s, 0); k++)
                jinja_append(s, out, v.list->at[k]);
        return out;
    }
    jinja_build_init(&b, s);
    for (int64_t i = 0; i < times && v.s->len && s->rc == 0; i++)
        jinja_put(&b, *v.s);
    out = jinja_built(&b);
    out.is_safe = v.is_safe;
    return out;
}

static bool is_row(struct jinja_value v)
{
    return v.kind == JINJA_LIST && v.list->row <= ROW_TUPLE;
}

static bool is_whole(struct jinja_value v)
{
    return v.kind == JINJA_INT || v.kind == JINJA_BOOL;
}

struct jinja_value jinja_binary(struct jinja_store *s, unsigned op, struct jinja_value a,
                                struct jinja_value b)
{
    char name[3] = {(char)(op & 0xff), (char)(op >> 8), '\0'};
    struct jinja_value v;

    if (!jinja_defined(s, a) || (!(op == '%' && a.kind == JINJA_STRING) && !jinja_defined(s, b)) ||
        !jinja_work(s, 0))
        return JINJA_NOTHING;
    if (jinja_is_number(a) && jinja_is_number(b)) {
        v = is_whole(a) && is_whole(b) ? on_integers(s, op, jinja_integer(a), jinja_integer(b))
                                       : on_reals(s, op, jinja_real(a), jinja_real(b));
        v.said = a.said || b.said;
        return v;
    }
    if (op == '+' && a.kind == JINJA_STRING && b.kind == JINJA_STRING)
        return join_strings(s, a, b);
    if (op == '+' && is_row(a) && is_row(b) && a.list->row == b.list->row)
        return join_lists(s, a.list, b.list);
    if (op == '*' && (a.kind == JINJA_STRING || is_row(a)) && is_whole(b))
        return repeat(s, a, jinja_integer(b));
    if (op == '*' && (b.kind == JINJA_STRING || is_row(b)) && is_whole(a))
        return repeat(s, b, jinja_integer(a));
    if (op == '%' && a.kind == JINJA_STRING)
        return jinja_format(s, *a.s, b);
    return jinja_fail(s, LLMOS_EINVAL, "a %s %s a %s cannot be computed", jinja_type(a), name,
                      jinja_type(b));
}

/* ---- "%s of %d" ---- */

struct formatting {
    struct jinja_store *s;
    struct jinja_build b;
    struct jinja_value arguments;
    size_t taken;
};

static struct jinja_value next_argument(struct formatting *f)
{
    struct jinja_value v = f->arguments;

    if (v.kind == JINJA_LIST && v.list->row == ROW_TUPLE) {
        if (f->taken < v.list->count)
            return v.list->at[f->taken++];
    } else if (f->taken++ == 0) {
        return v;
    }
    return jinja_fail(f->s, LLMOS_EINVAL, "not enough arguments for a format string");
}

static void put_padded(struct formatting *f, struct jinja_str text, const char *spec)
{
    int64_t width = 0, n = (int64_t)jinja_length(jinja_string(f->s, text));
    bool left = false;

    for (; *spec && strchr("-+ #0", *spec); spec++)
        left |= *spec == '-';
    for (; *spec >= '0' && *spec <= '9'; spec++)
        width = width * 10 + (*spec - '0');
    if (*spec == '.')
        text = jinja_part(text, 0, jinja_offset(text, strtoul(spec + 1, NULL, 10)));
    n = *spec == '.' ? (int64_t)jinja_length(jinja_string(f->s, text)) : n;
    if (left)
        jinja_put(&f->b, text);
    for (; n < width && f->s->rc == 0; n++)
        jinja_put_text(&f->b, STR(" "), false);
    if (!left)
        jinja_put(&f->b, text);
}

/* spec: flags, width and precision, at most 16 bytes. */
static void put_number(struct formatting *f, const char *spec, char kind, struct jinja_value v)
{
    char format[32], text[1024];

    if (!jinja_is_number(v)) {
        jinja_fail(f->s, LLMOS_EINVAL, "%%%c needs a number, here is a %s", kind, jinja_type(v));
        return;
    }
    if (strchr("di", kind))
        v = v.kind == JINJA_FLOAT ? JINJA_NUMBER(fabs(v.f) < 9e18 ? (int64_t)v.f : 0) : v;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (strchr("dixXo", kind)) {
        snprintf(format, sizeof(format), "%%%s%s%c", spec, PRId64, kind);
        format[strlen(format) - 2] = kind;
        format[strlen(format) - 1] = '\0';
        snprintf(text, sizeof(text), format, jinja_integer(v));
    } else {
        snprintf(format, sizeof(format), "%%%s%c", spec, kind);
        snprintf(text, sizeof(text), format, jinja_real(v));
    }
#pragma GCC diagnostic pop
    jinja_put_text(&f->b, str_of(text), v.said);
}

/* The conversion behind a '%' at `at`; the bytes it takes. */
static size_t convert(struct formatting *f, struct jinja_str format, size_t at)
{
    char spec[17] = "";
    size_t n = 0;
    struct jinja_value v;
    char kind;

    while (at + n < format.len && n < 16 && strchr("-+ #0123456789.", format.at[at + n]) &&
           format.at[at + n]) {
        spec[n] = format.at[at + n];
        n++;
    }
    kind = at + n < format.len ? format.at[at + n] : '\0';
    if (kind == '%') {
        jinja_put_text(&f->b, STR("%"), false);
        return n + 1;
    }
    if (!kind || !strchr("srdixXofFeEgG", kind) ||
        strtoul(spec + strspn(spec, "-+ #0"), NULL, 10) > 999) {
        jinja_fail(f->s, LLMOS_EUNSUPPORTED, "a format string with '%%%s%c'", spec,
                   kind ? kind : ' ');
        return n;
    }
    v = next_argument(f);
    if (kind == 'r') {
        struct jinja_build b;

        jinja_build_init(&b, f->s);
        jinja_put_repr(&b, v);
        v = jinja_built(&b);
    }
    if (f->s->rc < 0)
        return n;
    if (kind == 's' || kind == 'r')
        put_padded(f, jinja_str_of(f->s, v), spec);
    else
        put_number(f, spec, kind, v);
    return n + 1;
}

struct jinja_value jinja_format(struct jinja_store *s, struct jinja_str format,
                                struct jinja_value arguments)
{
    struct formatting f = {.s = s, .arguments = arguments};
    size_t from = 0, at;
    struct jinja_value v;

    jinja_build_init(&f.b, s);
    while (s->rc == 0 && (at = jinja_find(format, JINJA_STR("%"), from)) != TEXT_NOT_FOUND) {
        jinja_put(&f.b, jinja_part(format, from, at));
        from = at + 1 + convert(&f, format, at + 1);
    }
    if (s->rc == 0)
        jinja_put(&f.b, jinja_part(format, from, format.len));
    v = jinja_built(&f.b);
    if (arguments.kind == JINJA_LIST && arguments.list->row == ROW_TUPLE &&
        f.taken < arguments.list->count)
        return jinja_fail(s, LLMOS_EINVAL, "not all arguments fit into the format string");
    return v;
}
