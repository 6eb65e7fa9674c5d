/* SPDX-License-Identifier: Apache-2.0 */
/* toolparam.c - see toolparam.h */
#include "daemon/toolparam.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "sched/gbnfput.h"
#include "sched/schema.h"

#include <stdio.h>

int toolparam_take(struct toolcall_function *f, const json_t *schema, struct arena *arena)
{
    json_t *properties = json_object_get(schema, "properties"), *one;
    struct toolcall_parameter *made;
    const char *key;
    uint32_t count = 0;

    made = arena_array(arena, struct toolcall_parameter, json_object_size(properties));
    if (!made && json_object_size(properties))
        return LLMOS_ENOMEM;
    json_object_foreach(properties, key, one)
    {
        made[count].name = (struct str){arena_strndup(arena, key, strlen(key)), strlen(key)};
        if (!made[count].name.at)
            return LLMOS_ENOMEM;
        made[count++].types = schema_types(one, schema);
    }
    f->parameters = made;
    f->parameter_count = count;
    return 0;
}

/* Does the schema of an object say nothing but which properties there are? */
static int check_keywords(const json_t *schema, struct llmos_error *err)
{
    static const char *const known[] = {
        "type",    "properties",  "required", "additionalProperties",
        "$defs",   "definitions", "title",    "description",
        "$schema", "$id",         "default",  "examples",
        "$comment"};
    const char *key;
    json_t *value;
    size_t i;

    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        for (i = 0; i < sizeof(known) / sizeof(known[0]) && strcmp(known[i], key) != 0; i++)
            ;
        if (i == sizeof(known) / sizeof(known[0]))
            return fail(err, LLMOS_EUNSUPPORTED,
                        "the schema's keyword '%s' is not supported beside parameters that are "
                        "written between tags",
                        key);
    }
    json_array_foreach(json_object_get(schema, "required"), i, value)
    {
        if (!json_is_string(value) ||
            !json_object_get(json_object_get(schema, "properties"), json_string_value(value)))
            return fail(err, LLMOS_EUNSUPPORTED,
                        "the schema requires a property that it does not describe");
    }
    return 0;
}

static bool is_required(const json_t *schema, const char *key)
{
    const json_t *one;
    size_t i;

    json_array_foreach(json_object_get(schema, "required"), i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), key) == 0)
            return true;
    }
    return false;
}

/* Names stand in tags as they are. */
static int check_name(const char *key, struct llmos_error *err)
{
    if (!key[0] || strlen(key) > 200 || strpbrk(key, "<>\n\r"))
        return fail(err, LLMOS_EUNSUPPORTED, "a property's name cannot stand in a tag");
    return 0;
}

/* A string as it is, if strings of the schema may be any, that cannot be taken for JSON. */
static void put_bare(struct buf *out, const char *name, const struct callform_tags *tags)
{
    char rest[64];

    buf_printf(out, "%s-bare ::= [^-\\x000-9\\x22{\\x5B\\x5DtfnTFN<\\x09\\x0A\\x0D ] %s-rest\n",
               name, name);
    snprintf(rest, sizeof(rest), "%s-rest", name);
    gbnfput_without(out, rest, tags->value_end);
}

/* Is a branch of the schema any string? */
static bool has_any_string(const json_t *schema)
{
    static const char *const lists[] = {"anyOf", "oneOf"};
    const json_t *one;
    const char *key;
    json_t *value;
    size_t k;

    for (size_t i = 0; i < 2; i++)
        json_array_foreach(json_object_get(schema, lists[i]), k, one)
        {
            if (has_any_string(one) && json_object_size(schema) <= 4)
                return true;
        }
    json_object_foreach((json_t *)(uintptr_t)schema, key, value)
    {
        if (strcmp(key, "type") != 0 && strcmp(key, "description") != 0 &&
            strcmp(key, "title") != 0 && strcmp(key, "default") != 0)
            return false;
    }
    return json_is_object(schema) && (schema_types(schema, schema) & SCHEMA_STRING);
}

static int put_value(struct buf *out, const char *name, const struct callform_tags *tags,
                     const json_t *schema, const json_t *root, struct llmos_error *err)
{
    CLEANUP(buf) struct buf own = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    unsigned types = schema_types(schema, root);
    char prefix[64];
    int rc;

    if (types == SCHEMA_STRING)
        rc = schema_put_text(&own, schema, root, tags->value_end, err);
    else
        rc = schema_put_within(&own, schema, root, err);
    if (rc < 0)
        return rc;
    snprintf(prefix, sizeof(prefix), "%s-", name);
    gbnfput_renamed(out, buf_str(&own), prefix);
    buf_printf(out, "\n%s ::= %s-root", name, name);
    if (types != SCHEMA_STRING && has_any_string(schema)) {
        buf_printf(out, " | %s-bare\n", name);
        put_bare(out, name, tags);
    }
    buf_putc(out, '\n');
    return 0;
}

static void put_tags(struct buf *out, const struct callform_tags *tags, const char *key,
                     const char *value)
{
    CLEANUP(buf) struct buf opening = {.limit_bytes = 4096};

    buf_printf(&opening, "%s%s%s", tags->key, key, tags->key_end);
    json_put_string(out, buf_str(&opening));
    buf_printf(out, " %s %s %s", tags->before_value, value, tags->behind_value);
    out->bad |= opening.bad;
}

int toolparam_put(struct buf *out, const char *name, const struct callform_tags *tags,
                  const json_t *schema, struct llmos_error *err)
{
    json_t *properties = json_object_get(schema, "properties"), *one;
    CLEANUP(buf) struct buf all = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    const char *key;
    unsigned i = 0;
    int rc = check_keywords(schema, err);

    json_object_foreach(properties, key, one)
    {
        bool must = is_required(schema, key);
        char value[48];

        if (rc == 0)
            rc = check_name(key, err);
        snprintf(value, sizeof(value), "%s-p%u", name, i++);
        if (rc < 0 || (!must && json_is_false(one)))
            continue;
        rc = put_value(out, value, tags, one, schema, err);
        buf_puts(&all, must ? "" : "(");
        put_tags(&all, tags, key, value);
        buf_puts(&all, must ? " " : ")? ");
    }
    buf_printf(out, "%s-root ::= %s\n", name, all.len ? all.at : "\"\"");
    out->bad |= all.bad;
    return rc;
}

void toolparam_put_any(struct buf *out, const char *name, const struct callform_tags *tags)
{
    char value[48];

    snprintf(value, sizeof(value), "%s-any", name);
    buf_printf(out, "%s-root ::= (", name);
    json_put_string(out, str_of(tags->key));
    buf_puts(out, " [a-zA-Z0-9_.-]{1,64} ");
    json_put_string(out, str_of(tags->key_end));
    buf_printf(out, " %s %s %s)*\n", tags->before_value, value, tags->behind_value);
    gbnfput_without(out, value, tags->value_end);
}
