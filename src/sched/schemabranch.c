/* SPDX-License-Identifier: Apache-2.0 */
/* schemabranch.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/mem.h"

#include <stdio.h>

static unsigned possible_bits(struct job *j, const json_t *schema, unsigned depth);

static const json_t *resolved(struct job *j, const json_t *schema, unsigned depth)
{
    while (depth-- > 0 && json_object_get(schema, "$ref"))
        if (schema_find_target(j, schema, NULL, &schema) < 0)
            return NULL;
    return schema;
}

/* The types that texts of the schema may have; all if it is not plain. */
static unsigned possible_bits(struct job *j, const json_t *schema, unsigned depth)
{
    const json_t *s = resolved(j, schema, 8), *list = json_object_get(s, "enum"), *one;
    unsigned bits = 0;
    size_t i;

    if (json_object_get(s, "const"))
        return schema_value_bits(json_object_get(s, "const"));
    json_array_foreach(list, i, one) bits |= schema_value_bits(one);
    if (bits)
        return bits;
    bits = schema_type_bits(json_object_get(s, "type"));
    if (!bits && depth > 0) {
        const json_t *any = json_object_get(s, "anyOf");

        json_array_foreach(any, i, one) bits |= possible_bits(j, one, depth - 1);
        if (json_object_get(s, "properties") && !any)
            bits = OBJECT; /* as it is written here */
    }
    bits |= bits & NUMBER ? INTEGER : 0;
    return bits ? bits : ~0u;
}

/* The values that a schema lists; NULL: it lists none.  New. */
static json_t *listed_values(const json_t *s)
{
    const json_t *one = json_object_get(s, "const");
    json_t *list = json_object_get(s, "enum");

    if (one)
        return json_pack("[O]", one);
    return json_is_array(list) ? json_incref(list) : NULL;
}

static bool lists_are_apart(const json_t *a, const json_t *b)
{
    json_t *x = listed_values(a), *y = listed_values(b), *both = NULL;
    bool apart = false;

    if (x && y) {
        both = schema_common_of(x, y);
        apart = json_array_size(both) == 0;
    }
    json_decref(x);
    json_decref(y);
    json_decref(both);
    return apart;
}

/* Are no texts that are written for object a valid for object b? */
static bool object_excludes(struct job *j, const json_t *a, const json_t *b)
{
    const json_t *own = json_object_get(a, "properties"), *other = json_object_get(b, "properties");
    const json_t *more = json_object_get(a, "additionalProperties");
    struct members ma = {own, json_object_get(a, "required"), NULL};
    struct members mb = {other, json_object_get(b, "required"), NULL};
    bool b_is_closed = json_is_false(json_object_get(b, "additionalProperties"));
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)other, name, value)
    {
        const json_t *mine = json_object_get(own, name);

        if (!schema_is_required(&mb, name))
            continue;
        if (!mine && own && (!more || json_is_false(more)) && !schema_is_required(&ma, name))
            return true;
        if (mine && schema_is_required(&ma, name) &&
            lists_are_apart(resolved(j, mine, 8), resolved(j, value, 8)))
            return true;
    }
    json_object_foreach((json_t *)(uintptr_t)own, name, value)
    {
        if (b_is_closed && schema_is_required(&ma, name) && !json_object_get(other, name))
            return true;
    }
    return false;
}

static bool are_apart(struct job *j, const json_t *a, const json_t *b)
{
    unsigned x = possible_bits(j, a, 4), y = possible_bits(j, b, 4);

    a = resolved(j, a, 8);
    b = resolved(j, b, 8);
    if (!(x & y) || lists_are_apart(a, b))
        return true;
    return x == OBJECT && y == OBJECT && object_excludes(j, a, b) && object_excludes(j, b, a);
}

static int check_one_of(struct job *j, const json_t *branches, const struct path *at)
{
    size_t n = json_array_size(branches);

    if (n > SCHEMA_BRANCHES_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, "oneOf", "has more than 512 branches");
    for (size_t i = 0; i < n; i++)
        for (size_t k = i + 1; k < n; k++)
            if (!are_apart(j, json_array_get(branches, i), json_array_get(branches, k))) {
                char why[120];

                snprintf(
                    why, sizeof(why),
                    "has branches %zu and %zu that may both hold; if that is no harm, say anyOf", i,
                    k);
                return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "oneOf", why);
            }
    return 0;
}

/* Each branch together with what stands beside it. */
int schema_put_branches(struct job *j, const json_t *schema, const char *name,
                        const struct path *at, struct buf *body)
{
    const json_t *branches = json_object_get(schema, name), *branch;
    json_t *base = schema_keep(j, json_copy((json_t *)(uintptr_t)schema));
    bool is_bare = true, any = false;
    const char *key;
    json_t *value;
    size_t i;
    int rc = base ? 0 : schema_no_memory(j), last = 0;

    if (rc == 0 && (!json_is_array(branches) || json_array_size(branches) == 0))
        rc = schema_refuse(j, LLMOS_EINVAL, at, name, "is not an array of schemas");
    if (rc == 0 && strcmp(name, "oneOf") == 0)
        rc = check_one_of(j, branches, at);
    json_object_del(base, name);
    json_object_foreach(base, key, value) is_bare &= schema_is_note(key);
    buf_puts(body, "( ");
    json_array_foreach(branches, i, branch)
    {
        const struct path here = {at, name, 0}, there = {&here, NULL, i};
        CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
        const json_t *both = branch;

        if (rc < 0)
            break;
        if (!is_bare)
            both = schema_keep(j, schema_all_of(base, branch));
        rc = both ? schema_put_part(j, both, &there, &one) : schema_no_memory(j);
        if (rc < 0 && j->is_nothing) { /* the others may still be */
            last = rc;
            rc = 0;
            continue;
        }
        buf_puts(body, any ? "| " : "");
        buf_put(body, one.at, one.len);
        body->bad |= one.bad;
        any = true;
    }
    buf_puts(body, ") ");
    return rc < 0 || any ? rc : last;
}
