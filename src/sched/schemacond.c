/* SPDX-License-Identifier: Apache-2.0 */
/* schemacond.c - see schemajob.h
 *
 * Conditions: if, then, else, dependentRequired, dependentSchemas, not.  Each becomes a schema that
 * joins the others of allOf: a branch in which the condition holds, one in which it does not. */
#include "sched/schemajob.h"

static const char *const conditions[] = {
    "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "not"};
#define CONDITIONS (sizeof(conditions) / sizeof(conditions[0]))

static bool is_to_do(const char *name, const json_t *v)
{
    return v && !(strcmp(name, "not") == 0 && schema_not_is_kept(v));
}

bool schema_has_conditions(const json_t *schema)
{
    for (size_t i = 0; i < CONDITIONS; i++)
        if (is_to_do(conditions[i], json_object_get(schema, conditions[i])))
            return true;
    return false;
}

void schema_drop_conditions(json_t *schema)
{
    for (size_t i = 0; i < CONDITIONS; i++)
        if (is_to_do(conditions[i], json_object_get(schema, conditions[i])))
            json_object_del(schema, conditions[i]);
}

static int add(struct job *j, json_t *parts, json_t *part)
{
    return json_array_append_new(parts, part) < 0 ? schema_no_memory(j) : 0;
}

static int add_if(struct job *j, const json_t *schema, const struct path *at, json_t *parts)
{
    const json_t *condition = json_object_get(schema, "if");
    const json_t *then = json_object_get(schema, "then"), *other = json_object_get(schema, "else");
    const struct path here = {at, "if", 0};
    json_t *fails, *yes, *no;

    if (!condition || (!then && !other))
        return 0;
    fails = schema_opposite(j, condition, &here);
    if (!fails)
        return j->err->code;
    yes = then ? schema_all_of(condition, then) : json_incref((json_t *)(uintptr_t)condition);
    no = other ? schema_all_of(fails, other) : json_incref(fails);
    json_decref(fails);
    return add(j, parts, json_pack("{s:[o,o]}", "anyOf", yes, no));
}

/* Either the property is not there, or more must hold. */
static int add_dependent(struct job *j, const char *name, const json_t *more, const struct path *at,
                         json_t *parts)
{
    const struct path here = {at, "dependentSchemas", 0}, there = {&here, name, 0};
    json_t *with;

    if (json_is_array(more))
        with = json_pack("{s:O}", "required", more);
    else if (json_is_object(more) || json_is_boolean(more))
        with = json_incref((json_t *)(uintptr_t)more);
    else
        return schema_refuse(j, LLMOS_EINVAL, &there, NULL, "is neither a schema nor a list");
    return add(j, parts,
               json_pack("{s:[{s:{s:b}},{s:[{s:[s]},o]}]}", "anyOf", "properties", name, 0, "allOf",
                         "required", name, with));
}

static int add_dependents(struct job *j, const json_t *schema, const char *keyword,
                          const struct path *at, json_t *parts)
{
    const json_t *all = json_object_get(schema, keyword);
    const char *name;
    json_t *more;
    int rc = 0;

    if (all && !json_is_object(all))
        return schema_refuse(j, LLMOS_EINVAL, at, keyword, "is not an object");
    json_object_foreach((json_t *)(uintptr_t)all, name, more)
    {
        if (rc == 0)
            rc = add_dependent(j, name, more, at, parts);
    }
    return rc;
}

int schema_add_conditions(struct job *j, const json_t *schema, const struct path *at, json_t *parts)
{
    const json_t *not = json_object_get(schema, "not");
    const struct path here = {at, "not", 0};
    int rc = add_if(j, schema, at, parts);

    if (rc == 0)
        rc = add_dependents(j, schema, "dependentRequired", at, parts);
    if (rc == 0)
        rc = add_dependents(j, schema, "dependentSchemas", at, parts);
    if (rc == 0)
        rc = add_dependents(j, schema, "dependencies", at, parts);
    if (rc == 0 && not &&!schema_not_is_kept(not )) {
        json_t *other = schema_opposite(j, not, &here);

        rc = other ? add(j, parts, other) : j->err->code;
    }
    return rc;
}
