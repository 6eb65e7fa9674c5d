/* SPDX-License-Identifier: Apache-2.0 */
/* schemaraw.c - see schema.h: values that a model writes as plain text, strings without quotes */
#include "sched/schema.h"

#include "base/mem.h"
#include "sched/gbnfput.h"
#include "sched/schemajob.h"

#include <stdio.h>

#define EVERYTHING (2 * NIL - 1)

_Static_assert(SCHEMA_STRING == STRING && SCHEMA_OTHERS == (EVERYTHING & ~STRING), "the same bits");

/* --- types --- */

static unsigned types_of(struct job *j, const json_t *schema, unsigned depth);

static unsigned types_of_branches(struct job *j, const json_t *branches, unsigned depth)
{
    unsigned bits = 0;
    const json_t *one;
    size_t i;

    json_array_foreach(branches, i, one) bits |= types_of(j, one, depth + 1);
    return bits;
}

static unsigned types_of(struct job *j, const json_t *schema, unsigned depth)
{
    const json_t *listed, *v;
    unsigned bits = 0;
    json_t *flat;
    size_t i;

    if (json_is_false(schema))
        return 0;
    if (!json_is_object(schema) || depth > SCHEMA_NESTED_MAX ||
        schema_flatten(j, schema, NULL, &flat) < 0)
        return EVERYTHING;
    listed = json_object_get(flat, "enum");
    if (listed) {
        json_array_foreach(listed, i, v) bits |= schema_value_bits(v);
        return bits;
    }
    if (json_object_get(flat, "const"))
        return schema_value_bits(json_object_get(flat, "const"));
    if (json_object_get(flat, "type"))
        bits = schema_type_bits(json_object_get(flat, "type"));
    bits = bits ? bits : EVERYTHING;
    if (json_object_get(flat, "anyOf"))
        bits &= types_of_branches(j, json_object_get(flat, "anyOf"), depth);
    if (json_object_get(flat, "oneOf"))
        bits &= types_of_branches(j, json_object_get(flat, "oneOf"), depth);
    return bits;
}

static struct job *job_of(struct buf *out, const json_t *root, struct llmos_error *err)
{
    struct job *j = mem_zalloc(1, sizeof(*j));

    if (!j)
        return NULL;
    json_memory_watch();
    *j = (struct job){
        .out = out, .root = root, .err = err, .made = json_array(), .work = AUTOMATON_WORK_MAX};
    if (j->made)
        return j;
    mem_free(j);
    return NULL;
}

/* The code, or that of memory that failed meanwhile. */
static int job_end(struct job *j, int rc)
{
    if (json_memory_failed())
        rc = schema_no_memory(j);
    json_decref(j->made);
    mem_free(j);
    return rc;
}

unsigned schema_types(const json_t *schema, const json_t *root)
{
    struct llmos_error err;
    struct buf out = {.limit_bytes = 0};
    struct job *j = job_of(&out, root, &err);
    unsigned bits = j ? types_of(j, schema, 0) : EVERYTHING;

    if (j)
        job_end(j, 0);
    if (bits & (NUMBER | INTEGER))
        bits |= NUMBER | INTEGER; /* an integer may be written as a number */
    return bits;
}

bool schema_has_type(unsigned types, const json_t *v)
{
    return (types & schema_value_bits(v)) != 0;
}

/* --- strings --- */

static int words_set(struct job *j, const json_t *list, struct automaton *a)
{
    CLEANUP(free) struct str *words = mem_alloc((json_array_size(list) + 1) * sizeof(*words));
    size_t count = 0, i;
    const json_t *v;

    if (!words)
        return schema_no_memory(j);
    json_array_foreach(list, i, v)
    {
        if (json_is_string(v))
            words[count++] = (struct str){json_string_value(v), json_string_length(v)};
    }
    return automaton_of_words(a, words, count, &j->work, j->err);
}

/* Takes out the texts in which the regular expression matches something. */
static int take_out(struct job *j, struct automaton *a, const char *word)
{
    CLEANUP(regex) struct regex r = {.parts = {.at = NULL}};
    struct automaton with;
    int rc = regex_parse(&r, str_of(word), true, j->err);

    if (rc == 0)
        rc = automaton_of_regex(&with, &r, &j->work, j->err);
    if (rc < 0)
        return rc;
    rc = automaton_narrow(a, &with, AUTOMATON_AND_NOT, &j->work, j->err);
    automaton_fini(&with);
    return rc;
}

/* Is a string all that is said of it? */
static bool is_plain(const json_t *flat)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)flat, key, value)
    {
        if (strcmp(key, "type") != 0 && strcmp(key, "$defs") != 0 &&
            strcmp(key, "definitions") != 0 && !schema_is_note(key))
            return false;
    }
    return true;
}

static int put_set(struct job *j, const json_t *flat, const char *without)
{
    CLEANUP(automaton) struct automaton a = {.states = {.at = NULL}};
    json_t *listed;
    unsigned rules = 0;
    int rc = 0;

    listed = schema_listed(j, flat, NULL, &rc);
    if (rc == 0)
        rc = listed ? words_set(j, listed, &a) : schema_string_set(j, flat, NULL, &a);
    json_decref(listed);
    if (rc == 0)
        rc = take_out(j, &a, without); /* which needs no escapes */
    if (rc == 0)
        rc = take_out(j, &a, "\\x00"); /* JSON that we read may not have it */
    if (rc < 0)
        return rc;
    if (automaton_is_empty(&a))
        return schema_nothing(j, NULL, NULL, "leaves no string that is possible");
    buf_puts(j->out, "root ::= r0\n");
    automaton_put(j->out, &a, false, NULL, &rules);
    return 0;
}

int schema_put_text(struct buf *out, const json_t *schema, const json_t *root, const char *without,
                    struct llmos_error *err)
{
    struct job *j = job_of(out, root, err);
    json_t *flat = NULL;
    int rc;

    if (!j)
        return fail(err, LLMOS_ENOMEM, "no memory for the schema");
    rc = json_is_object(schema) ? schema_check_keywords(j, schema, NULL)
                                : schema_refuse(j, LLMOS_EINVAL, NULL, NULL, "is not an object");
    if (rc == 0)
        rc = schema_flatten(j, schema, NULL, &flat);
    if (rc == 0 && (json_object_get(flat, "anyOf") || json_object_get(flat, "oneOf")))
        rc = schema_refuse(j, LLMOS_EUNSUPPORTED, NULL, NULL, "is of several strings");
    if (rc == 0 && is_plain(flat))
        gbnfput_without(out, "root", without);
    else if (rc == 0)
        rc = put_set(j, flat, without);
    rc = job_end(j, rc);
    return rc < 0 ? rc : buf_check(out, "the grammar of the schema", err);
}
