/* SPDX-License-Identifier: Apache-2.0 */
/* schemamerge.c - see schemajob.h */
#include "sched/schemajob.h"

#define MERGES_MAX 4096

static json_t *union_of(const json_t *a, const json_t *b)
{
    json_t *all = json_copy((json_t *)(uintptr_t)a), *one, *other;
    size_t i, k;

    json_array_foreach(b, i, one)
    {
        bool is_new = true;

        json_array_foreach(all, k, other) is_new &= !json_equal(one, other);
        if (is_new)
            json_array_append(all, one);
    }
    return all;
}

json_t *schema_common_of(const json_t *a, const json_t *b)
{
    json_t *all = json_array(), *one, *other;
    size_t i, k;

    json_array_foreach(a, i, one)
    {
        bool is_common = false;

        json_array_foreach(b, k, other) is_common |= schema_is_equal(one, other);
        if (is_common)
            json_array_append(all, one);
    }
    return all;
}

json_t *schema_all_of(const json_t *a, const json_t *b)
{
    if (json_is_false(a) || json_is_false(b))
        return json_false();
    if (json_is_true(a) || json_is_true(b))
        return json_incref((json_t *)(uintptr_t)(json_is_true(a) ? b : a));
    return json_pack("{s:[O,O]}", "allOf", a, b);
}

static json_t *all_properties(const json_t *a, const json_t *b)
{
    json_t *all = json_copy((json_t *)(uintptr_t)a), *value;
    const char *name;

    json_object_foreach((json_t *)(uintptr_t)b, name, value)
    {
        const json_t *old = json_object_get(a, name);

        if (old && !json_equal(old, value))
            json_object_set_new(all, name, schema_all_of(old, value));
        else
            json_object_set(all, name, value);
    }
    return all;
}

/* Each branch of one with each of the other. */
static json_t *all_branches(const json_t *a, const json_t *b)
{
    json_t *all, *one, *other;
    size_t i, k;

    if (json_array_size(a) * json_array_size(b) > SCHEMA_BRANCHES_MAX)
        return NULL;
    all = json_array();
    json_array_foreach(a, i, one)
    {
        json_array_foreach(b, k, other) json_array_append_new(all, schema_all_of(one, other));
    }
    return all;
}

/* Patterns and formats that all must match: a list behind a null, which no schema has there. */
static json_t *all_regexes(const json_t *a, const json_t *b)
{
    json_t *all = json_pack("[n]");
    const json_t *one, *both[] = {a, b};

    for (int k = 0; k < 2; k++)
        for (size_t i = 0; (one = schema_regex_at(both[k], i)); i++)
            json_array_append(all, (json_t *)(uintptr_t)one);
    return all;
}

static json_t *common_multiple(const json_t *a, const json_t *b)
{
    json_int_t x = json_integer_value(a), y = json_integer_value(b), m = x;

    if (x <= 0 || y <= 0 || x > INT32_MAX || y > INT32_MAX)
        return NULL;
    while (m % y != 0)
        if ((m += x) > (json_int_t)INT32_MAX * 16 || m / x > 1000000)
            return NULL;
    return json_integer(m);
}

static json_t *any_of_two(const json_t *a, const json_t *b)
{
    return json_boolean(json_is_true(a) || json_is_true(b));
}

static json_t *lists_union(const json_t *a, const json_t *b)
{
    return json_is_array(a) && json_is_array(b) ? union_of(a, b) : NULL;
}

static json_t *lists_common(const json_t *a, const json_t *b)
{
    return json_is_array(a) && json_is_array(b) ? schema_common_of(a, b) : NULL;
}

static json_t *lists_branches(const json_t *a, const json_t *b)
{
    return json_is_array(a) && json_is_array(b) ? all_branches(a, b) : NULL;
}

static json_t *maps_properties(const json_t *a, const json_t *b)
{
    return json_is_object(a) && json_is_object(b) ? all_properties(a, b) : NULL;
}

static json_t *larger(const json_t *a, const json_t *b)
{
    bool is_less = json_number_value(a) < json_number_value(b);

    if (!json_is_number(a) || !json_is_number(b))
        return NULL;
    return json_incref((json_t *)(uintptr_t)(is_less ? b : a));
}

static json_t *smaller(const json_t *a, const json_t *b)
{
    bool is_less = json_number_value(a) < json_number_value(b);

    if (!json_is_number(a) || !json_is_number(b))
        return NULL;
    return json_incref((json_t *)(uintptr_t)(is_less ? a : b));
}

/* One value of a keyword for two: new; NULL: there is none that we know. */
static const struct {
    const char *name;
    json_t *(*join)(const json_t *a, const json_t *b);
} joins[] = {
    {"minimum", larger},
    {"exclusiveMinimum", larger},
    {"minItems", larger},
    {"minLength", larger},
    {"minProperties", larger},
    {"maximum", smaller},
    {"exclusiveMaximum", smaller},
    {"maxItems", smaller},
    {"maxLength", smaller},
    {"maxProperties", smaller},
    {"type", schema_both_types},
    {"properties", maps_properties},
    {"patternProperties", maps_properties},
    {"required", lists_union},
    {"enum", lists_common},
    {"anyOf", lists_branches},
    {"items", schema_all_of},
    {"additionalProperties", schema_all_of},
    {"propertyNames", schema_all_of},
    {"pattern", all_regexes},
    {"format", all_regexes},
    {"multipleOf", common_multiple},
    {"uniqueItems", any_of_two},
    {"not", schema_not_both},
};

static json_t *merged_value(const char *name, const json_t *a, const json_t *b)
{
    if (json_equal(a, b) || schema_is_note(name))
        return json_incref((json_t *)(uintptr_t)a);
    if (strcmp(name, "const") == 0 && schema_is_equal(a, b))
        return json_incref((json_t *)(uintptr_t)a);
    for (size_t i = 0; i < sizeof(joins) / sizeof(joins[0]); i++)
        if (strcmp(joins[i].name, name) == 0)
            return joins[i].join(a, b);
    if (schema_says_nothing(name, a) && schema_says_nothing(name, b))
        return json_false();
    return NULL;
}

/* --- keywords that say what others leave: they must not reach what only the other part names ---
 */

/* What a says of all other properties, said of those that only b names.  `of_b`: b's properties;
 * replaced. */
static int reach_properties(struct job *j, const json_t *a, const json_t *b, json_t **of_b,
                            const struct path *at)
{
    const json_t *own = json_object_get(a, "properties"), *patterns;
    const json_t *more = json_object_get(a, "additionalProperties");
    const char *name;
    json_t *value, *copy;

    if (!more || json_is_true(more))
        return 0;
    patterns = json_object_get(b, "patternProperties");
    if (patterns && !json_equal(patterns, json_object_get(a, "patternProperties")))
        return schema_refuse(
            j, LLMOS_EUNSUPPORTED, at, "additionalProperties",
            "limits properties that another part of allOf has by patternProperties");
    copy = schema_keep(j, *of_b ? json_copy(*of_b) : json_object());
    if (!copy)
        return schema_no_memory(j);
    json_object_foreach(*of_b, name, value)
    {
        if (json_object_get(own, name) || json_is_false(value))
            continue;
        if (json_object_set_new(copy, name, schema_all_of(value, more)) < 0)
            return schema_no_memory(j);
    }
    if (*of_b)
        *of_b = copy;
    return 0;
}

static const json_t *places_of(const json_t *s)
{
    const json_t *items = json_object_get(s, "items");

    return json_is_array(items) ? items : json_object_get(s, "prefixItems");
}

static json_t *place_of(const json_t *s, size_t i)
{
    json_t *items = json_object_get(s, "items"), *place = json_array_get(places_of(s), i);

    return place ? place : items && !json_is_array(items) ? items : json_true();
}

/* The first places of both, each what both say of it.  Leaves what was there to be merged. */
static int merge_places(struct job *j, json_t *into, json_t *other)
{
    size_t a = json_array_size(places_of(into)), b = json_array_size(places_of(other));
    json_t *all;

    if ((a == 0 && b == 0) || (!places_of(into) && !json_object_get(into, "items")) ||
        (!places_of(other) && !json_object_get(other, "items")))
        return 0;
    all = schema_keep(j, json_array());
    for (size_t i = 0; all && i < (a > b ? a : b); i++)
        if (json_array_append_new(all, schema_all_of(place_of(into, i), place_of(other, i))) < 0)
            all = NULL;
    if (!all || json_object_set(into, "prefixItems", all) < 0 ||
        json_object_set(other, "prefixItems", all) < 0)
        return schema_no_memory(j);
    if (json_is_array(json_object_get(into, "items")))
        json_object_del(into, "items");
    if (json_is_array(json_object_get(other, "items")))
        json_object_del(other, "items");
    return 0;
}

static bool same_contains(const json_t *a, const json_t *b)
{
    static const char *const words[] = {"contains", "minContains", "maxContains"};
    bool same = true, has_a = false, has_b = false;

    for (int i = 0; i < 3; i++) {
        const json_t *x = json_object_get(a, words[i]), *y = json_object_get(b, words[i]);

        has_a |= x != NULL;
        has_b |= y != NULL;
        same &= (!x && !y) || (x && y && json_equal(x, y));
    }
    return same || !has_a || !has_b;
}

/* Copies of both, in which each says what it says of what only the other one names. */
static int prepare(struct job *j, json_t *into, json_t *other, const struct path *at)
{
    json_t *mine = json_object_get(into, "properties"), *its = json_object_get(other, "properties");
    int rc = reach_properties(j, into, other, &its, at);

    if (rc == 0)
        rc = reach_properties(j, other, into, &mine, at);
    if (rc == 0 && its && json_object_set(other, "properties", its) < 0)
        rc = schema_no_memory(j);
    if (rc == 0 && mine && json_object_set(into, "properties", mine) < 0)
        rc = schema_no_memory(j);
    if (rc == 0 && !same_contains(into, other))
        rc =
            schema_refuse(j, LLMOS_EUNSUPPORTED, at, "contains",
                          "is said twice (allOf, $ref or anyOf beside it), which cannot be joined");
    return rc < 0 ? rc : merge_places(j, into, other);
}

static int merge(struct job *j, json_t *into, const json_t *part, const struct path *at)
{
    json_t *other = schema_keep(j, json_copy((json_t *)(uintptr_t)part)), *value;
    const char *name;
    int rc;

    if (!other)
        return schema_no_memory(j);
    if (++j->merges > MERGES_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL, "has too many parts to be merged");
    rc = prepare(j, into, other, at);
    if (rc < 0)
        return rc;
    json_object_foreach(other, name, value)
    {
        const json_t *old = json_object_get(into, name);
        json_t *both;

        if (!old) {
            if (json_object_set(into, name, value) < 0)
                return schema_no_memory(j);
            continue;
        }
        both = merged_value(name, old, value);
        if (!both && (strcmp(name, "type") == 0 || strcmp(name, "const") == 0))
            return schema_nothing(j, at, name, "is said twice, and no value is both");
        if (!both)
            return schema_refuse(
                j, LLMOS_EUNSUPPORTED, at, name,
                "is said twice (allOf, $ref or anyOf beside it), which cannot be joined");
        if (json_object_set_new(into, name, both) < 0)
            return schema_no_memory(j);
    }
    return 0;
}

/* Each part without its own, merged into `made`. */
static int merge_parts(struct job *j, json_t *made, const json_t *parts, const struct path *at,
                       const char *keyword)
{
    const json_t *part;
    json_t *piece;
    size_t i;
    int rc = 0;

    json_array_foreach(parts, i, part)
    {
        const struct path here = {at, keyword, 0}, there = {&here, NULL, i};

        if (rc < 0 || json_is_true(part))
            continue;
        if (json_is_false(part))
            rc = schema_nothing(j, &there, NULL, "is false: nothing is valid for it");
        else if (!json_is_object(part))
            rc = schema_refuse(j, LLMOS_EINVAL, &there, NULL, "is not an object");
        if (rc == 0)
            rc = schema_check_keywords(j, part, &there);
        if (rc == 0)
            rc = schema_flatten(j, part, &there, &piece);
        if (rc == 0)
            rc = merge(j, made, piece, &there);
    }
    return rc;
}

static int merge_ref(struct job *j, json_t *made, const json_t *schema, const struct path *at)
{
    const json_t *target;
    json_t *piece;
    int rc = schema_find_target(j, schema, at, &target);

    if (rc == 0 && !json_is_object(target))
        rc = schema_refuse(j, LLMOS_EUNSUPPORTED, at, "$ref",
                           "leads to something that is no object");
    if (rc == 0)
        rc = schema_check_keywords(j, target, at);
    if (rc == 0)
        rc = schema_flatten(j, target, at, &piece);
    return rc < 0 ? rc : merge(j, made, piece, at);
}

int schema_flatten(struct job *j, const json_t *schema, const struct path *at, json_t **flat)
{
    const json_t *all = json_object_get(schema, "allOf");
    json_t *made = schema_keep(j, json_copy((json_t *)(uintptr_t)schema));
    json_t *conditions = schema_keep(j, json_array());
    int rc = 0;

    if (!made || !conditions)
        return schema_no_memory(j);
    if (++j->depth > SCHEMA_NESTED_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL,
                             "refers to itself without end, or is nested too deep");
    json_object_del(made, "allOf");
    json_object_del(made, "$ref");
    schema_drop_conditions(made);
    if (json_object_get(schema, "$ref"))
        rc = merge_ref(j, made, schema, at);
    if (rc == 0 && all && !json_is_array(all))
        rc = schema_refuse(j, LLMOS_EINVAL, at, "allOf", "is not an array");
    if (rc == 0)
        rc = merge_parts(j, made, all, at, "allOf");
    if (rc == 0)
        rc = schema_add_conditions(j, schema, at, conditions);
    if (rc == 0)
        rc = merge_parts(j, made, conditions, at, "if");
    j->depth--;
    *flat = made;
    return rc;
}
