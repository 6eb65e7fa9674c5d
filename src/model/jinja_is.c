/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_is.c - what a chat template can ask with `is`. */
#include "model/jinja_call.h"
#include "model/jinja_lex.h"
#include "model/jinja_text.h"
#include "model/unicode.h"

#define IS(name, claim)                                                              \
    static struct jinja_value is_##name(struct jinja_store *s, struct jinja_value v, \
                                        struct jinja_args *a)                        \
    {                                                                                \
        (void)s;                                                                     \
        (void)a;                                                                     \
        return JINJA_TRUTH(claim);                                                   \
    }

IS(defined, v.kind != JINJA_UNDEFINED)
IS(undefined, v.kind == JINJA_UNDEFINED)
IS(none, v.kind == JINJA_NONE)
IS(boolean, v.kind == JINJA_BOOL)
IS(true, v.kind == JINJA_BOOL && v.b)
IS(false, v.kind == JINJA_BOOL && !v.b)
IS(integer, v.kind == JINJA_INT)
IS(float, v.kind == JINJA_FLOAT)
IS(number, jinja_is_number(v))
IS(string, v.kind == JINJA_STRING)
IS(mapping, v.kind == JINJA_DICT)
IS(iterable, jinja_iterable(v))
IS(sequence, v.kind == JINJA_STRING || v.kind == JINJA_DICT || v.kind == JINJA_UNDEFINED ||
                 (v.kind == JINJA_LIST && v.list->row <= ROW_RANGE))
IS(callable, v.kind == JINJA_CALLABLE || v.kind == JINJA_UNDEFINED)
IS(escaped, v.is_safe)
IS(eq, jinja_equal(s, v, jinja_arg(s, a, 0, "other")))
IS(ne, !jinja_equal(s, v, jinja_arg(s, a, 0, "other")))
IS(in, jinja_contains(s, jinja_arg(s, a, 0, "seq"), v))
IS(filter, jinja_filter(v.kind == JINJA_STRING ? (struct str){v.s->at, v.s->len} : STR("")) != NULL)
IS(test, jinja_test(v.kind == JINJA_STRING ? (struct str){v.s->at, v.s->len} : STR("")) != NULL)

/* Order; op is '<' or '>', with or without '='. */
static struct jinja_value ordered(struct jinja_store *s, struct jinja_value v, struct jinja_args *a,
                                  char op, bool or_equal)
{
    struct jinja_value other = jinja_arg(s, a, 0, "other");
    int order;

    if (!jinja_defined(s, v) || !jinja_defined(s, other))
        return JINJA_NOTHING;
    order = jinja_compare(s, v, other);
    return JINJA_TRUTH(order == 0 ? or_equal : (order < 0) == (op == '<'));
}

#define IS_ORDER(name, op, or_equal)                                                 \
    static struct jinja_value is_##name(struct jinja_store *s, struct jinja_value v, \
                                        struct jinja_args *a)                        \
    {                                                                                \
        return ordered(s, v, a, op, or_equal);                                       \
    }
IS_ORDER(lt, '<', false)
IS_ORDER(le, '<', true)
IS_ORDER(gt, '>', false)
IS_ORDER(ge, '>', true)

static struct jinja_value rest(struct jinja_store *s, struct jinja_value v, int64_t by,
                               int64_t wanted)
{
    struct jinja_value r = jinja_binary(s, '%', v, JINJA_NUMBER(by));

    return JINJA_TRUTH(jinja_equal(s, r, JINJA_NUMBER(wanted)));
}

static struct jinja_value is_even(struct jinja_store *s, struct jinja_value v, struct jinja_args *a)
{
    (void)a;
    return rest(s, v, 2, 0);
}

static struct jinja_value is_odd(struct jinja_store *s, struct jinja_value v, struct jinja_args *a)
{
    (void)a;
    return rest(s, v, 2, 1);
}

static struct jinja_value is_divisibleby(struct jinja_store *s, struct jinja_value v,
                                         struct jinja_args *a)
{
    return rest(s, v, jinja_arg_int(s, a, 0, "num", 0), 0);
}

/* The same thing, not only an equal one. */
static struct jinja_value is_sameas(struct jinja_store *s, struct jinja_value v,
                                    struct jinja_args *a)
{
    struct jinja_value other = jinja_arg(s, a, 0, "other");

    if (v.kind != other.kind)
        return JINJA_TRUTH(false);
    if (v.kind == JINJA_LIST || v.kind == JINJA_DICT)
        return JINJA_TRUTH(v.list == other.list);
    return JINJA_TRUTH(jinja_equal(s, v, other));
}

static struct jinja_value in_case(struct jinja_store *s, struct jinja_value v,
                                  bool (*wanted)(uint32_t), bool (*unwanted)(uint32_t))
{
    struct jinja_str text = jinja_str_of(s, v);
    bool any = false;

    for (size_t i = 0; i < text.len; i += jinja_char_bytes(text, i)) {
        uint32_t c = jinja_char(text, i);

        if (unwanted(c))
            return JINJA_TRUTH(false);
        any |= wanted(c);
    }
    return JINJA_TRUTH(any);
}

static struct jinja_value is_lower(struct jinja_store *s, struct jinja_value v,
                                   struct jinja_args *a)
{
    (void)a;
    return in_case(s, v, unicode_is_lower, unicode_is_upper);
}

static struct jinja_value is_upper(struct jinja_store *s, struct jinja_value v,
                                   struct jinja_args *a)
{
    (void)a;
    return in_case(s, v, unicode_is_upper, unicode_is_lower);
}

static const struct jinja_function tests[] = {
    JINJA_ROW(is, defined, 0),
    JINJA_ROW(is, undefined, 0),
    JINJA_ROW(is, none, 0),
    JINJA_ROW(is, boolean, 0),
    JINJA_ROW(is, true, 0),
    JINJA_ROW(is, false, 0),
    JINJA_ROW(is, integer, 0),
    JINJA_ROW(is, float, 0),
    JINJA_ROW(is, number, 0),
    JINJA_ROW(is, string, 0),
    JINJA_ROW(is, mapping, 0),
    JINJA_ROW(is, iterable, 0),
    JINJA_ROW(is, sequence, 0),
    JINJA_ROW(is, callable, 0),
    JINJA_ROW(is, escaped, 0),
    JINJA_ROW(is, lower, 0),
    JINJA_ROW(is, upper, 0),
    JINJA_ROW(is, even, 0),
    JINJA_ROW(is, odd, 0),
    JINJA_ROW(is, divisibleby, 1),
    JINJA_ROW(is, sameas, 1),
    JINJA_ROW(is, in, 1),
    JINJA_ROW(is, filter, 0),
    JINJA_ROW(is, test, 0),
    JINJA_ROW(is, eq, 1),
    {"==", is_eq, 1, false},
    {"equalto", is_eq, 1, false},
    JINJA_ROW(is, ne, 1),
    {"!=", is_ne, 1, false},
    JINJA_ROW(is, lt, 1),
    {"<", is_lt, 1, false},
    {"lessthan", is_lt, 1, false},
    JINJA_ROW(is, le, 1),
    {"<=", is_le, 1, false},
    JINJA_ROW(is, gt, 1),
    {">", is_gt, 1, false},
    {"greaterthan", is_gt, 1, false},
    JINJA_ROW(is, ge, 1),
    {">=", is_ge, 1, false},
};

const struct jinja_function *jinja_test(struct str name)
{
    return jinja_find_function(tests, sizeof(tests) / sizeof(tests[0]), name);
}
