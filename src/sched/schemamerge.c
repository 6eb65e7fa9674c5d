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

        json_array_foreach(b, k, other) is_common |= json_equal(one, other);
        if (is_common)
            json_array_append(all, one);
    }
    return all;
}

json_t *schema_all_of(const json_t *a, const json_t *b)
{
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

/* One value of a keyword for two; NULL: there is none that we know. */
static json_t *merged_value(const char *name, const json_t *a, const json_t *b)
{
    static const char *const larger[] = {"minimum", "exclusiveMinimum", "minItems", "minLength"};
    static const char *const smaller[] = {"maximum", "exclusiveMaximum", "maxItems", "maxLength"};

    if (json_equal(a, b) || schema_is_note(name))
        return json_incref((json_t *)(uintptr_t)a);
    for (size_t i = 0; i < 4 && json_is_number(a) && json_is_number(b); i++) {
        bool a_less = json_number_value(a) < json_number_value(b);

        if (strcmp(name, larger[i]) == 0)
            return json_incref((json_t *)(uintptr_t)(a_less ? b : a));
        if (strcmp(name, smaller[i]) == 0)
            return json_incref((json_t *)(uintptr_t)(a_less ? a : b));
    }
    if (strcmp(name, "type") == 0)
        return schema_both_types(a, b);
    if (strcmp(name, "properties") == 0 && json_is_object(a) && json_is_object(b))
        return all_properties(a, b);
    if (strcmp(name, "required") == 0 && json_is_array(a) && json_is_array(b))
        return union_of(a, b);
    if (strcmp(name, "enum") == 0 && json_is_array(a) && json_is_array(b))
        return schema_common_of(a, b);
    if (strcmp(name, "anyOf") == 0 && json_is_array(a) && json_is_array(b))
        return all_branches(a, b);
    if (strcmp(name, "items") == 0 || strcmp(name, "additionalProperties") == 0)
        return json_is_false(a) || json_is_false(b) ? json_false()
               : json_is_true(a)                    ? json_incref((json_t *)(uintptr_t)b)
               : json_is_true(b)                    ? json_incref((json_t *)(uintptr_t)a)
                                                    : schema_all_of(a, b);
    return NULL;
}

/* Does one forbid what only the other names?  Then the union of names would be too much. */
static bool forbids_names(const json_t *a, const json_t *b)
{
    const json_t *own = json_object_get(a, "properties");
    const char *name;
    json_t *value;

    if (!json_is_false(json_object_get(a, "additionalProperties")))
        return false;
    json_object_foreach(json_object_get(b, "properties"), name, value)
    {
        if (!json_object_get(own, name))
            return true;
    }
    return false;
}

static int merge(struct job *j, json_t *into, const json_t *other, const struct path *at)
{
    const char *name;
    json_t *value;

    if (++j->merges > MERGES_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL, "has too many parts to be merged");
    if (forbids_names(into, other) || forbids_names(other, into))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "additionalProperties",
                             "forbids properties that another part of allOf names");
    json_object_foreach((json_t *)(uintptr_t)other, name, value)
    {
        const json_t *old = json_object_get(into, name);
        json_t *both;

        if (!old) {
            if (json_object_set(into, name, value) < 0)
                return schema_no_memory(j);
            continue;
        }
        both = merged_value(name, old, value);
        if (!both)
            return schema_refuse(
                j, LLMOS_EUNSUPPORTED, at, name,
                "is said twice (allOf, $ref or anyOf beside it), which cannot be joined");
        if (json_object_set_new(into, name, both) < 0)
            return schema_no_memory(j);
    }
    return 0;
}

/* The schema without $ref and allOf, which are merged into it. */
int schema_flatten(struct job *j, const json_t *schema, const struct path *at, json_t **flat)
{
    const json_t *all = json_object_get(schema, "allOf"), *part, *target = NULL;
    json_t *made = schema_keep(j, json_copy((json_t *)(uintptr_t)schema)), *piece = NULL;
    size_t i;
    int rc = 0;

    if (!made)
        return schema_no_memory(j);
    if (++j->depth > SCHEMA_NESTED_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL,
                             "refers to itself without end, or is nested too deep");
    json_object_del(made, "allOf");
    json_object_del(made, "$ref");
    if (json_object_get(schema, "$ref")) {
        rc = schema_find_target(j, schema, at, &target);
        if (rc == 0 && !json_is_object(target))
            rc = schema_refuse(j, LLMOS_EUNSUPPORTED, at, "$ref",
                               "leads to something that is no object");
        if (rc == 0)
            rc = schema_flatten(j, target, at, &piece);
        if (rc == 0)
            rc = merge(j, made, piece, at);
    }
    if (rc == 0 && all && !json_is_array(all))
        rc = schema_refuse(j, LLMOS_EINVAL, at, "allOf", "is not an array");
    json_array_foreach(all, i, part)
    {
        const struct path here = {at, "allOf", 0}, there = {&here, NULL, i};

        if (rc == 0 && json_is_true(part))
            continue;
        if (rc == 0 && !json_is_object(part))
            rc = schema_refuse(j, LLMOS_EINVAL, &there, NULL,
                               "is not a schema that something is valid for");
        if (rc == 0)
            rc = schema_check_keywords(j, part, &there);
        if (rc == 0)
            rc = schema_flatten(j, part, &there, &piece);
        if (rc == 0)
            rc = merge(j, made, piece, &there);
    }
    j->depth--;
    *flat = made;
    return rc;
}
