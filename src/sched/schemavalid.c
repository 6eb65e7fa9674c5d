/* SPDX-License-Identifier: Apache-2.0 */
/* schemavalid.c - see schemajob.h
 *
 * Does a value hold?  Asked of the values that a schema lists and of names.  Keywords mean what the
 * standard says; each look costs, so that a schema that leads to itself twice ends. */
#include "sched/schemajob.h"

#include "base/utf8.h"
#include "sched/decimal.h"

struct look {
    struct job *j;
    const json_t *schema;
    const struct path *at;
};

static const json_t *keyword(const struct look *l, const char *name)
{
    return json_object_get(l->schema, name);
}

static int holds(const struct look *l, const json_t *schema, const json_t *v)
{
    return schema_holds(l->j, schema, v, l->at);
}

/* 1 if `name` is absent, or v against the number there is as wanted: 0 not below, and so on. */
static int keeps_bound(const struct look *l, const char *name, const struct decimal *v, int sign,
                       bool may_equal)
{
    const json_t *bound = keyword(l, name);
    struct decimal d;
    int order;

    if (!bound)
        return 1;
    if (!decimal_of(&d, bound))
        return schema_refuse(l->j, LLMOS_ELIMIT, l->at, name, "has more digits than are counted");
    order = sign * decimal_compare(v, &d);
    return order > 0 || (may_equal && order == 0);
}

static bool has_limits(const struct look *l)
{
    static const char *const words[] = {"minimum", "maximum", "exclusiveMinimum",
                                        "exclusiveMaximum", "multipleOf"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (keyword(l, words[i]))
            return true;
    return false;
}

static int number_holds(const struct look *l, const json_t *v)
{
    const json_t *multiple = keyword(l, "multipleOf");
    struct decimal_multiple m;
    struct decimal d, step;
    int rc;

    if (!has_limits(l)) /* any digits will do */
        return 1;
    if (!decimal_of(&d, v))
        return schema_refuse(l->j, LLMOS_ELIMIT, l->at, NULL,
                             "lists a number of more digits than are counted");
    rc = keeps_bound(l, "minimum", &d, 1, true);
    if (rc == 1)
        rc = keeps_bound(l, "exclusiveMinimum", &d, 1, false);
    if (rc == 1)
        rc = keeps_bound(l, "maximum", &d, -1, true);
    if (rc == 1)
        rc = keeps_bound(l, "exclusiveMaximum", &d, -1, false);
    if (rc != 1 || !multiple)
        return rc;
    if (!decimal_of(&step, multiple) || !decimal_multiple_of(&m, &step))
        return schema_refuse(l->j, LLMOS_EUNSUPPORTED, l->at, "multipleOf", SCHEMA_MULTIPLE_WHY);
    return decimal_divides(&m, &d);
}

/* 1 if the number of things is between both. */
static int counts(const struct look *l, const char *low, const char *high, uint64_t count)
{
    uint64_t least = 0, most = UINT64_MAX;
    int rc = schema_take_size(l->j, l->schema, l->at, low, &least);

    if (rc >= 0)
        rc = schema_take_size(l->j, l->schema, l->at, high, &most);
    return rc < 0 ? rc : count >= least && count <= most;
}

/* Patterns and formats are looked at one by one, lengths apart: those may be long. */
static int matches(const struct look *l, const char *name, struct str text)
{
    const json_t *parts = keyword(l, name), *one;
    int rc = 1;

    for (size_t i = 0; rc == 1 && (one = schema_regex_at(parts, i)); i++) {
        CLEANUP(automaton) struct automaton a = {.states = {.at = NULL}};

        rc = schema_regex_set(l->j, name, one, l->at, &a);
        if (rc == 0)
            rc = automaton_has(&a, text);
    }
    return rc;
}

static int string_holds(const struct look *l, const json_t *v)
{
    struct str text = {json_string_value(v), json_string_length(v)};
    int rc = counts(l, "minLength", "maxLength", utf8_count(text));

    if (rc == 1)
        rc = matches(l, "pattern", text);
    if (rc == 1)
        rc = matches(l, "format", text);
    return rc;
}

static int contains_holds(const struct look *l, const json_t *v)
{
    const json_t *contains = keyword(l, "contains"), *item;
    uint64_t least = 1, most = UINT64_MAX, found = 0;
    int rc = schema_take_size(l->j, l->schema, l->at, "minContains", &least);
    size_t i;

    if (rc >= 0)
        rc = schema_take_size(l->j, l->schema, l->at, "maxContains", &most);
    json_array_foreach(v, i, item)
    {
        int one = contains && rc >= 0 ? holds(l, contains, item) : 0;

        if (one < 0)
            rc = one;
        found += one == 1;
    }
    if (rc < 0)
        return rc;
    return !contains || (found >= least && found <= most);
}

static bool are_unique(const json_t *v)
{
    const json_t *a, *b;
    size_t i, k;

    json_array_foreach(v, i, a)
    {
        json_array_foreach(v, k, b)
        {
            if (k < i && schema_is_equal(a, b))
                return false;
        }
    }
    return true;
}

static int array_holds(const struct look *l, const json_t *v)
{
    const json_t *first = keyword(l, "prefixItems"), *rest = keyword(l, "items"), *item;
    int rc = counts(l, "minItems", "maxItems", json_array_size(v));
    size_t i;

    if (json_is_array(rest) && !first) {
        first = rest;
        rest = keyword(l, "additionalItems");
    }
    json_array_foreach(v, i, item)
    {
        const json_t *schema = i < json_array_size(first) ? json_array_get(first, i) : rest;

        if (rc == 1 && schema)
            rc = holds(l, schema, item);
    }
    if (rc == 1)
        rc = contains_holds(l, v);
    if (rc == 1 && json_is_true(keyword(l, "uniqueItems")))
        rc = schema_pay(l->j, json_array_size(v) * json_array_size(v)) ? are_unique(v) : 0;
    return rc;
}

/* One property: by its name, by patterns, or by what is said of all others. */
static int property_holds(const struct look *l, const char *name, const json_t *v)
{
    const json_t *names = keyword(l, "propertyNames"), *more = keyword(l, "additionalProperties");
    const json_t *own = json_object_get(keyword(l, "properties"), name);
    const char *pattern;
    json_t *schema;
    bool is_named = own != NULL;
    int rc = own ? holds(l, own, v) : 1;

    json_object_foreach((json_t *)(uintptr_t)keyword(l, "patternProperties"), pattern, schema)
    {
        int one = rc == 1 ? schema_name_matches(l->j, pattern, name, l->at) : 0;

        is_named |= one == 1;
        rc = one < 0 ? one : one == 1 ? holds(l, schema, v) : rc;
    }
    if (rc == 1 && !is_named && more)
        rc = holds(l, more, v);
    return rc == 1 && names ? schema_name_holds(l->j, names, name, l->at) : rc;
}

static int dependents_hold(const struct look *l, const char *name, const json_t *v)
{
    static const char *const words[] = {"dependentRequired", "dependentSchemas", "dependencies"};
    int rc = 1;

    for (int i = 0; rc == 1 && i < 3; i++) {
        const json_t *more = json_object_get(keyword(l, words[i]), name), *one;
        size_t k;

        if (more && !json_is_array(more))
            rc = holds(l, more, v);
        json_array_foreach(json_is_array(more) ? more : NULL, k, one)
        {
            rc &= json_object_get(v, json_string_value(one)) != NULL;
        }
    }
    return rc;
}

static int object_holds(const struct look *l, const json_t *v)
{
    int rc = counts(l, "minProperties", "maxProperties", json_object_size(v));
    const char *name;
    json_t *value;
    size_t i;

    json_array_foreach(keyword(l, "required"), i, value)
    {
        if (rc == 1)
            rc = json_object_get(v, json_string_value(value)) != NULL;
    }
    json_object_foreach((json_t *)(uintptr_t)v, name, value)
    {
        if (rc == 1)
            rc = property_holds(l, name, value);
        if (rc == 1)
            rc = dependents_hold(l, name, v);
    }
    return rc;
}

/* --- of any type --- */

static int listed_holds(const struct look *l, const json_t *v)
{
    const json_t *list = keyword(l, "enum"), *one = keyword(l, "const"), *type = keyword(l, "type");
    bool is_in = !list;
    size_t i;
    const json_t *value;

    json_array_foreach(list, i, value) is_in |= schema_is_equal(value, v);
    return is_in && (!one || schema_is_equal(one, v)) &&
           (!type || schema_type_bits(type) & schema_value_bits(v));
}

/* How many of a list of schemas hold; stops at an error. */
static int count_holding(const struct look *l, const char *name, const json_t *v, size_t *count)
{
    const json_t *one;
    size_t i;

    *count = 0;
    json_array_foreach(keyword(l, name), i, one)
    {
        int rc = holds(l, one, v);

        if (rc < 0)
            return rc;
        *count += rc == 1;
    }
    return 1;
}

static int parts_hold(const struct look *l, const json_t *v)
{
    size_t all, any, exactly, i;
    const json_t *target, *one;
    int rc = count_holding(l, "allOf", v, &all);

    if (rc == 1)
        rc = count_holding(l, "anyOf", v, &any);
    if (rc == 1)
        rc = count_holding(l, "oneOf", v, &exactly);
    if (rc < 0)
        return rc;
    if (all < json_array_size(keyword(l, "allOf")) || (keyword(l, "anyOf") && any == 0) ||
        (keyword(l, "oneOf") && exactly != 1))
        return 0;
    for (i = 0; rc == 1 && (one = schema_excluded(l->schema, i)); i++) {
        rc = holds(l, one, v);
        rc = rc < 0 ? rc : !rc;
    }
    if (rc == 1 && keyword(l, "$ref")) {
        rc = schema_find_target(l->j, l->schema, l->at, &target);
        rc = rc < 0 ? rc : holds(l, target, v);
    }
    if (rc == 1 && keyword(l, "if")) {
        rc = holds(l, keyword(l, "if"), v);
        one = rc < 0 ? NULL : keyword(l, rc ? "then" : "else");
        rc = rc < 0 ? rc : one ? holds(l, one, v) : 1;
    }
    return rc;
}

static int kind_holds(const struct look *l, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return object_holds(l, v);
    case JSON_ARRAY:
        return array_holds(l, v);
    case JSON_STRING:
        return string_holds(l, v);
    case JSON_INTEGER:
    case JSON_REAL:
        return number_holds(l, v);
    default:
        return 1;
    }
}

int schema_holds(struct job *j, const json_t *schema, const json_t *v, const struct path *at)
{
    struct look l = {j, schema, at};
    int rc;

    if (json_is_boolean(schema))
        return json_is_true(schema);
    if (!json_is_object(schema))
        return schema_refuse(j, LLMOS_EINVAL, at, NULL, "is not a schema");
    if (++j->depth > SCHEMA_NESTED_MAX || !schema_pay(j, 16 + json_object_size(schema)))
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL,
                             "refers to itself without end, or is nested too deep");
    rc = schema_check_keywords(j, schema, at);
    if (rc == 0)
        rc = listed_holds(&l, v);
    if (rc == 1)
        rc = kind_holds(&l, v);
    if (rc == 1)
        rc = parts_hold(&l, v);
    j->depth--;
    return rc;
}
