/* SPDX-License-Identifier: Apache-2.0 */
/* schemanot.c - see schemajob.h
 *
 * The opposite of a schema is a schema: where one of several keywords must fail, there is a branch
 * for each.  What cannot be turned round stays in a "not" that those who write strings and numbers
 * take from what they write: listed values, patterns, multiples, integers. */
#include "sched/schemajob.h"

#include <stdio.h>

static bool is_kept(const json_t *s)
{
    const json_t *list = json_object_get(s, "enum");

    if (json_object_size(s) != 1)
        return false;
    return json_is_array(list) || json_is_string(json_object_get(s, "pattern")) ||
           json_is_number(json_object_get(s, "multipleOf")) ||
           schema_type_bits(json_object_get(s, "type")) == INTEGER;
}

bool schema_not_is_kept(const json_t *s)
{
    const json_t *any = json_object_get(s, "anyOf"), *one;
    size_t i;

    if (!any || json_object_size(s) != 1)
        return is_kept(s);
    json_array_foreach(any, i, one)
    {
        if (!is_kept(one))
            return false;
    }
    return json_array_size(any) > 0;
}

const json_t *schema_excluded(const json_t *schema, size_t i)
{
    const json_t *all = json_object_get(schema, "not"), *any = json_object_get(all, "anyOf");

    if (any)
        return json_array_get(any, i);
    return i == 0 ? all : NULL;
}

json_t *schema_not_both(const json_t *a, const json_t *b)
{
    const json_t *both[] = {a, b};
    json_t *all = json_array();

    for (int i = 0; i < 2; i++) {
        const json_t *any = json_object_get(both[i], "anyOf");

        if (any)
            json_array_extend(all, (json_t *)(uintptr_t)any);
        else
            json_array_append(all, (json_t *)(uintptr_t)both[i]);
    }
    return json_pack("{s:o}", "anyOf", all);
}

/* --- keyword by keyword: ways in which it fails, added to `ways` --- */

struct turn {
    struct job *j;
    const struct path *at;
    const json_t *schema; /* the one with the keyword */
    json_t *ways;
};

static int add(struct turn *t, json_t *way)
{
    return json_array_append_new(t->ways, way) < 0 ? schema_no_memory(t->j) : 0;
}

static json_t *other_types(unsigned bits)
{
    bits |= bits & NUMBER ? INTEGER : 0;
    return schema_types_of_bits((OBJECT | ARRAY | STRING | NUMBER | BOOLEAN | NIL) & ~bits &
                                ~(bits & INTEGER ? (unsigned)NUMBER : 0u));
}

static int turn_type(struct turn *t, const json_t *v)
{
    unsigned bits = schema_type_bits(v);
    json_t *others;

    if (!bits)
        return schema_refuse(t->j, LLMOS_EINVAL, t->at, "type",
                             "is none of object, array, string, number, integer, boolean, null");
    others = other_types(bits);
    if (json_array_size(others) > 0 && add(t, json_pack("{s:O}", "type", others)) < 0) {
        json_decref(others);
        return LLMOS_ENOMEM;
    }
    json_decref(others);
    if ((bits & (NUMBER | INTEGER)) == INTEGER)
        return add(t, json_pack("{s:s,s:{s:s}}", "type", "number", "not", "type", "integer"));
    return 0;
}

static int turn_listed(struct turn *t, const json_t *v)
{
    bool is_const = json_object_get(t->schema, "const") == v;

    if (is_const)
        return add(t, json_pack("{s:{s:[O]}}", "not", "enum", v));
    if (!json_is_array(v))
        return schema_refuse(t->j, LLMOS_EINVAL, t->at, "enum", "is not an array");
    return add(t, json_pack("{s:{s:O}}", "not", "enum", v));
}

static int turn_pattern(struct turn *t, const json_t *v)
{
    return add(t, json_pack("{s:s,s:{s:O}}", "type", "string", "not", "pattern", v));
}

static int turn_multiple(struct turn *t, const json_t *v)
{
    return add(t, json_pack("{s:s,s:{s:O}}", "type", "number", "not", "multipleOf", v));
}

static int turn_required(struct turn *t, const json_t *v)
{
    const json_t *one;
    size_t i;
    int rc = 0;

    json_array_foreach(v, i, one)
    {
        if (rc == 0 && json_is_string(one))
            rc = add(t, json_pack("{s:s,s:{s:b}}", "type", "object", "properties",
                                  json_string_value(one), 0));
    }
    return rc;
}

static int turn_properties(struct turn *t, const json_t *v)
{
    const char *name;
    json_t *one;
    int rc = 0;

    json_object_foreach((json_t *)(uintptr_t)v, name, one)
    {
        const struct path here = {t->at, "properties", 0}, there = {&here, name, 0};
        json_t *other = rc == 0 ? schema_opposite(t->j, one, &there) : NULL;

        if (!other)
            return t->j->err->code;
        if (!json_is_false(other))
            rc = add(t, json_pack("{s:s,s:[s],s:{s:O}}", "type", "object", "required", name,
                                  "properties", name, other));
        json_decref(other);
    }
    return rc;
}

static int turn_items(struct turn *t, const json_t *v)
{
    const struct path here = {t->at, "items", 0};
    json_t *other;
    int rc = 0;

    if (json_is_array(v) || json_object_get(t->schema, "prefixItems"))
        return schema_refuse(t->j, LLMOS_EUNSUPPORTED, t->at, "items",
                             "of single places cannot be turned round by 'not' or 'if'");
    other = schema_opposite(t->j, v, &here);
    if (!other)
        return t->j->err->code;
    if (!json_is_false(other))
        rc = add(t, json_pack("{s:s,s:O}", "type", "array", "contains", other));
    json_decref(other);
    return rc;
}

static int turn_contains(struct turn *t, const json_t *v)
{
    const struct path here = {t->at, "contains", 0};
    json_t *other;
    int rc;

    if (json_object_get(t->schema, "minContains") || json_object_get(t->schema, "maxContains"))
        return schema_refuse(t->j, LLMOS_EUNSUPPORTED, t->at, "contains",
                             "that counts cannot be turned round by 'not' or 'if'");
    other = schema_opposite(t->j, v, &here);
    if (!other)
        return t->j->err->code;
    rc = add(t, json_pack("{s:s,s:O}", "type", "array", "items", other));
    json_decref(other);
    return rc;
}

/* All of anyOf fail, one of allOf does. */
static int turn_any(struct turn *t, const json_t *v)
{
    json_t *all = json_array();
    const json_t *one;
    size_t i;

    json_array_foreach(v, i, one)
    {
        const struct path here = {t->at, "anyOf", 0}, there = {&here, NULL, i};
        json_t *other = schema_opposite(t->j, one, &there);

        if (!other) {
            json_decref(all);
            return t->j->err->code;
        }
        json_array_append_new(all, other);
    }
    return add(t, json_pack("{s:o}", "allOf", all));
}

static int turn_all(struct turn *t, const json_t *v)
{
    const json_t *one;
    size_t i;
    int rc = 0;

    json_array_foreach(v, i, one)
    {
        const struct path here = {t->at, "allOf", 0}, there = {&here, NULL, i};
        json_t *other = rc == 0 ? schema_opposite(t->j, one, &there) : NULL;

        if (!other)
            return t->j->err->code;
        rc = add(t, other);
    }
    return rc;
}

static int turn_not(struct turn *t, const json_t *v)
{
    return add(t, json_incref((json_t *)(uintptr_t)v));
}

static int turn_ref(struct turn *t, const json_t *v)
{
    const json_t *target;
    json_t *other;
    int rc = schema_find_target(t->j, t->schema, t->at, &target);

    (void)v;
    if (rc < 0)
        return rc;
    other = schema_opposite(t->j, target, t->at);
    return other ? add(t, other) : t->j->err->code;
}

static const struct {
    const char *name;
    int (*turn)(struct turn *t, const json_t *v);
} turns[] = {
    {"type", turn_type},           {"enum", turn_listed},       {"const", turn_listed},
    {"pattern", turn_pattern},     {"required", turn_required}, {"properties", turn_properties},
    {"items", turn_items},         {"contains", turn_contains}, {"anyOf", turn_any},
    {"allOf", turn_all},           {"not", turn_not},           {"$ref", turn_ref},
    {"multipleOf", turn_multiple},
};

/* Limits whose opposite is another limit: beyond it, or one more or less. */
static const struct {
    const char *name, *type, *opposite;
    int more;
} limits[] = {
    {"minimum", "number", "exclusiveMaximum", 0},
    {"maximum", "number", "exclusiveMinimum", 0},
    {"exclusiveMinimum", "number", "maximum", 0},
    {"exclusiveMaximum", "number", "minimum", 0},
    {"minLength", "string", "maxLength", -1},
    {"maxLength", "string", "minLength", 1},
    {"minItems", "array", "maxItems", -1},
    {"maxItems", "array", "minItems", 1},
    {"minProperties", "object", "maxProperties", -1},
    {"maxProperties", "object", "minProperties", 1},
};

static int turn_limit(struct turn *t, const char *name, const json_t *v)
{
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        json_int_t other = json_integer_value(v) + limits[i].more;

        if (strcmp(limits[i].name, name) != 0)
            continue;
        if (limits[i].more == 0)
            return add(t, json_pack("{s:s,s:O}", "type", limits[i].type, limits[i].opposite, v));
        if (!json_is_integer(v) || other > SCHEMA_LENGTH_MAX)
            break;
        return other < 0 ? 0
                         : add(t, json_pack("{s:s,s:I}", "type", limits[i].type, limits[i].opposite,
                                            other));
    }
    return schema_refuse(t->j, LLMOS_EUNSUPPORTED, t->at, name,
                         "cannot be turned round by 'not' or 'if'");
}

static int turn(struct turn *t, const char *name, const json_t *v)
{
    for (size_t i = 0; i < sizeof(turns) / sizeof(turns[0]); i++)
        if (strcmp(turns[i].name, name) == 0)
            return turns[i].turn(t, v);
    if (schema_is_note(name) || schema_says_nothing(name, v))
        return 0;
    return turn_limit(t, name, v);
}

/* New; NULL: an error. */
json_t *schema_opposite(struct job *j, const json_t *schema, const struct path *at)
{
    struct turn t = {j, at, schema, json_array()};
    const char *name;
    json_t *v;
    int rc = 0;

    if (json_is_boolean(schema)) {
        json_decref(t.ways);
        return json_boolean(json_is_false(schema));
    }
    if (!json_is_object(schema))
        rc = schema_refuse(j, LLMOS_EINVAL, at, NULL, "is not a schema");
    if (rc == 0 && (++j->depth > SCHEMA_NESTED_MAX || !schema_pay(j, 64)))
        rc = schema_refuse(j, LLMOS_ELIMIT, at, NULL,
                           "refers to itself without end, or is nested too deep");
    json_object_foreach((json_t *)(uintptr_t)schema, name, v)
    {
        if (rc == 0)
            rc = turn(&t, name, v);
    }
    if (rc < 0) {
        json_decref(t.ways);
        return NULL;
    }
    j->depth--;
    v = json_array_size(t.ways) == 0   ? json_false()
        : json_array_size(t.ways) == 1 ? json_incref(json_array_get(t.ways, 0))
                                       : json_pack("{s:O}", "anyOf", t.ways);
    json_decref(t.ways);
    if (!v)
        schema_no_memory(j);
    return v;
}
