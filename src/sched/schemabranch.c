/* SPDX-License-Identifier: Apache-2.0 */
/* schemabranch.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/mem.h"

#include <stdio.h>

static const json_t *resolved(struct job *j, const json_t *schema, unsigned depth)
{
    while (depth-- > 0 && json_object_get(schema, "$ref"))
        if (schema_find_target(j, schema, NULL, &schema) < 0)
            return NULL;
    return schema;
}

/* The types that values of the schema may have, or those that are written for it; all if it is not
 * plain. */
static unsigned possible_bits(struct job *j, const json_t *schema, bool is_written, unsigned depth)
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

        json_array_foreach(any, i, one) bits |= possible_bits(j, one, is_written, depth - 1);
        if (is_written && json_object_get(s, "properties") && !any)
            bits = OBJECT; /* others would be valid, too */
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

/* Does it say in other ways than by `properties` which properties there may be? */
static bool has_more_properties(const json_t *s)
{
    static const char *const words[] = {"anyOf", "oneOf", "allOf", "$ref", "patternProperties"};
    const json_t *more = json_object_get(s, "additionalProperties");

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (json_object_get(s, words[i]))
            return true;
    return !json_object_get(s, "properties") || (more && !json_is_false(more));
}

/* Are no texts that are written for object a valid for object b? */
static bool object_excludes(struct job *j, const json_t *a, const json_t *b)
{
    const json_t *own = json_object_get(a, "properties"), *other = json_object_get(b, "properties");
    struct members ma = {own, json_object_get(a, "required"), NULL};
    struct members mb = {other, json_object_get(b, "required"), NULL};
    bool b_is_closed = json_is_false(json_object_get(b, "additionalProperties")) &&
                       !json_object_get(b, "patternProperties");
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)other, name, value)
    {
        const json_t *mine = json_object_get(own, name);

        if (!schema_is_required(&mb, name))
            continue;
        if (!mine && !has_more_properties(a) && !schema_is_required(&ma, name))
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

/* Is no text that is written for `written` valid for the other one? */
static bool excludes(struct job *j, const json_t *written, const json_t *other)
{
    unsigned x = possible_bits(j, written, true, 4), y = possible_bits(j, other, false, 4);

    other = resolved(j, other, 8);
    return !(x & y) || lists_are_apart(written, other) ||
           (x == OBJECT && object_excludes(j, written, other));
}

/* The branches as they are written: each with what stands beside it, NULL where that is nothing. */
static int flatten_branches(struct job *j, const json_t *base, const json_t *branches,
                            const struct path *at, json_t **flat)
{
    const json_t *branch;
    size_t i;

    json_array_foreach(branches, i, branch)
    {
        const struct path here = {at, "oneOf", 0}, there = {&here, NULL, i};
        json_t *both = schema_keep(j, schema_all_of(base, branch));
        int rc;

        if (!both)
            return schema_no_memory(j);
        if (json_is_false(both))
            continue;
        rc = schema_flatten(j, both, &there, &flat[i]);
        if (rc < 0 && !j->is_nothing)
            return rc;
        if (rc < 0)
            flat[i] = NULL;
    }
    return 0;
}

/* Objects of `written` that a closed object does not take for a property of theirs; NULL: none.
 * New.
 */
static json_t *with_others(const json_t *written, const json_t *closed)
{
    json_t *ways = json_array(), *value;
    const char *name;

    json_object_foreach(json_object_get(written, "properties"), name, value)
    {
        if (!json_is_false(value) && !json_object_get(json_object_get(closed, "properties"), name))
            json_array_append_new(ways,
                                  json_pack("{s:s,s:[s]}", "type", "object", "required", name));
    }
    return ways;
}

/* All that is written for `written` and not valid for the other one, or less: what is to stand
 * beside it.  New; NULL: that cannot be said. */
static json_t *not_that(struct job *j, const json_t *written, const json_t *other,
                        const struct path *at)
{
    const json_t *s = resolved(j, other, 8);
    bool is_closed = json_is_false(json_object_get(s, "additionalProperties")) &&
                     !json_object_get(s, "patternProperties");
    unsigned depth = j->depth;
    json_t *open, *opposite, *ways;

    if (!is_closed) {
        opposite = schema_opposite(j, other, at);
        j->depth = depth;
        return opposite;
    }
    open = json_copy((json_t *)(uintptr_t)s);
    json_object_del(open, "additionalProperties");
    opposite = schema_opposite(j, open, at);
    j->depth = depth;
    json_decref(open);
    if (!opposite)
        return NULL;
    ways = with_others(written, s);
    if (!json_is_false(opposite))
        json_array_append(ways, opposite);
    json_decref(opposite);
    return json_array_size(ways) ? json_pack("{s:o}", "anyOf", ways)
                                 : (json_decref(ways), json_false());
}

/* Puts what keeps the others away beside a branch that they may hold with. */
static int part_branch(struct job *j, json_t *const *flat, const json_t *branches, size_t i,
                       const struct path *at, json_t **parted)
{
    const struct path here = {at, "oneOf", 0}, there = {&here, NULL, i};
    json_t *all = json_pack("[O]", json_array_get(branches, i));
    char why[120];

    for (size_t k = 0; k < json_array_size(branches); k++) {
        const json_t *other = json_array_get(branches, k);
        json_t *away;

        if (k == i || !flat[i] || excludes(j, flat[i], other))
            continue;
        away = not_that(j, flat[i], other, &there);
        if (away) {
            json_array_append_new(all, away);
            continue;
        }
        json_decref(all);
        if (j->err->code == LLMOS_ENOMEM)
            return LLMOS_ENOMEM;
        snprintf(why, sizeof(why),
                 "has branches %zu and %zu that may both hold; if that is no harm, say anyOf",
                 i < k ? i : k, i < k ? k : i);
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "oneOf", why);
    }
    *parted = json_array_size(all) > 1 ? schema_keep(j, json_pack("{s:O}", "allOf", all))
                                       : (json_t *)(uintptr_t)json_array_get(branches, i);
    json_decref(all);
    return *parted ? 0 : schema_no_memory(j);
}

/* The branches, each without what others hold for, too. */
static int part_branches(struct job *j, const json_t *base, const json_t *branches,
                         const struct path *at, json_t **parted)
{
    size_t n = json_array_size(branches);
    CLEANUP(free) json_t **flat = mem_zalloc(n, sizeof(*flat));
    json_t *one = NULL, *list = schema_keep(j, json_array());
    int rc;

    if (!flat || !list)
        return schema_no_memory(j);
    if (n > SCHEMA_BRANCHES_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, "oneOf", "has more than 512 branches");
    rc = flatten_branches(j, base, branches, at, flat);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = part_branch(j, flat, branches, i, at, &one);
        if (rc == 0 && json_array_append(list, one) < 0)
            rc = schema_no_memory(j);
    }
    *parted = list;
    return rc;
}

/* Each branch together with what stands beside it. */
int schema_put_branches(struct job *j, const json_t *schema, const char *name,
                        const struct path *at, struct buf *body)
{
    const json_t *branches = json_object_get(schema, name), *branch;
    json_t *base = schema_keep(j, json_copy((json_t *)(uintptr_t)schema));
    bool is_bare = true, any = false;
    json_t *parted = NULL, *value;
    const char *key;
    size_t i;
    int rc = base ? 0 : schema_no_memory(j), last = 0;

    if (rc == 0 && (!json_is_array(branches) || json_array_size(branches) == 0))
        rc = schema_refuse(j, LLMOS_EINVAL, at, name, "is not an array of schemas");
    json_object_del(base, name);
    if (rc == 0 && strcmp(name, "oneOf") == 0) {
        rc = part_branches(j, base, branches, at, &parted);
        branches = parted;
    }
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
