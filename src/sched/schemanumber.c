/* SPDX-License-Identifier: Apache-2.0 */
/* schemanumber.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/mem.h"
#include "sched/decimal.h"

static int take_bound(struct job *j, const json_t *schema, const struct path *at, const char *name,
                      struct decimal_bound *bound, bool is_exclusive, int sign)
{
    const json_t *v = json_object_get(schema, name);
    struct decimal d;
    int order;

    if (!v)
        return 0;
    if (!json_is_number(v))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, name, "is not a number");
    if (!decimal_of(&d, v))
        return schema_refuse(
            j, LLMOS_ELIMIT, at, name,
            "has more than 16 digits before or behind the point, which is the most "
            "that is counted");
    order = bound->is_set ? sign * decimal_compare(&d, &bound->value) : 1;
    if (order == 0)
        bound->is_exclusive |= is_exclusive;
    if (order > 0)
        *bound = (struct decimal_bound){true, is_exclusive, d};
    return 0;
}

static int take_multiple(struct job *j, const json_t *multiple, const struct path *at,
                         struct decimal_multiple *m)
{
    struct decimal d;

    if (!decimal_of(&d, multiple) || !decimal_multiple_of(m, &d))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "multipleOf", SCHEMA_MULTIPLE_WHY);
    return 0;
}

static int take_limits(struct job *j, const json_t *schema, const struct path *at,
                       struct decimal_limits *l)
{
    const json_t *multiple = json_object_get(schema, "multipleOf"), *one;
    int rc = take_bound(j, schema, at, "minimum", &l->low, false, 1);

    if (rc == 0)
        rc = take_bound(j, schema, at, "exclusiveMinimum", &l->low, true, 1);
    if (rc == 0)
        rc = take_bound(j, schema, at, "maximum", &l->high, false, -1);
    if (rc == 0)
        rc = take_bound(j, schema, at, "exclusiveMaximum", &l->high, true, -1);
    if (rc == 0 && multiple)
        rc = take_multiple(j, multiple, at, &l->multiple);
    for (size_t i = 0; (one = schema_excluded(schema, i)); i++)
        l->is_fractional |= json_object_get(one, "type") != NULL;
    return rc;
}

/* All ways in which a number of the list may be written, as a regular expression. */
static void put_writings(struct buf *regex, const json_t *list)
{
    const json_t *v;
    struct decimal d;
    size_t i;

    json_array_foreach(list, i, v)
    {
        if (!decimal_of(&d, v))
            continue; /* nor can it be written */
        buf_puts(regex, regex->len ? "|" : "");
        buf_puts(regex, d.whole + d.places == 1 && d.digits[0] == '0' ? "-?"
                        : d.is_negative                               ? "-"
                                                                      : "");
        buf_printf(regex, "%.*s", d.whole, d.digits);
        if (d.places)
            buf_printf(regex, "\\.%.*s0*", d.places, d.digits + d.whole);
        else
            buf_puts(regex, "(\\.0*)?");
    }
}

static int listed_set(struct job *j, const json_t *list, const struct path *at, struct automaton *a)
{
    CLEANUP(buf) struct buf regex = {.limit_bytes = REGEX_BYTES_MAX};
    CLEANUP(regex) struct regex r = {.parts = {.at = NULL}};
    struct llmos_error why = {0};
    int rc;

    put_writings(&regex, list);
    rc = buf_check(&regex, "the numbers", &why);
    if (rc == 0 && regex.len == 0)
        rc = automaton_of_words(a, NULL, 0, &j->work, &why);
    else if (rc == 0)
        rc = regex_parse(&r, buf_str(&regex), false, &why);
    if (rc == 0 && regex.len)
        rc = automaton_of_regex(a, &r, &j->work, &why);
    return rc < 0 ? schema_refuse(j, rc, at, "not", why.text) : 0;
}

static int leave_out(struct job *j, const json_t *one, const struct path *at, struct automaton *a)
{
    const json_t *list = json_object_get(one, "enum"), *v = json_object_get(one, "multipleOf");
    struct decimal_limits l = {.is_integer = false};
    struct llmos_error why = {0};
    struct automaton by;
    int rc = 0;

    if (!list && !v)
        return 0;
    if (v)
        rc = take_multiple(j, v, at, &l.multiple);
    if (rc < 0)
        return rc;
    if (list)
        rc = listed_set(j, list, at, &by);
    else
        rc = automaton_of_decimals(&by, &l, &j->work, &why);
    if (rc < 0)
        return list ? rc : schema_refuse(j, rc, at, "multipleOf", why.text);
    rc = automaton_narrow(a, &by, AUTOMATON_AND_NOT, &j->work, &why);
    automaton_fini(&by);
    return rc < 0 ? schema_refuse(j, rc, at, "not", why.text) : 0;
}

static int put_set(struct job *j, const json_t *schema, const struct decimal_limits *l,
                   const struct path *at, struct buf *body)
{
    CLEANUP(automaton) struct automaton a = {.states = {.at = NULL}};
    struct llmos_error why = {0};
    const json_t *one;
    int rc = automaton_of_decimals(&a, l, &j->work, &why);

    if (rc < 0)
        return schema_refuse(j, rc, at, l->multiple.factor ? "multipleOf" : "minimum", why.text);
    for (size_t i = 0; rc == 0 && (one = schema_excluded(schema, i)); i++)
        rc = leave_out(j, one, at, &a);
    if (rc < 0)
        return rc;
    if (automaton_is_empty(&a))
        return schema_nothing(j, at,
                              l->low.is_set    ? "minimum"
                              : l->high.is_set ? "maximum"
                                               : NULL,
                              "leaves no number that is possible");
    buf_printf(body, "r%u ", j->rules);
    automaton_put(j->out, &a, false, NULL, &j->rules);
    return 0;
}

int schema_put_numbers(struct job *j, const json_t *schema, bool is_integer, const struct path *at,
                       struct buf *body)
{
    struct decimal_limits l = {.is_integer = is_integer};
    int rc = take_limits(j, schema, at, &l);

    if (rc < 0)
        return rc;
    if (l.low.is_set || l.high.is_set || l.multiple.factor || schema_excluded(schema, 0))
        return put_set(j, schema, &l, at, body);
    buf_puts(body, is_integer ? "integer " : "number ");
    return 0;
}
