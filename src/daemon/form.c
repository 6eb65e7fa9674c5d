/* SPDX-License-Identifier: Apache-2.0 */
/* form.c - see form.h */
#include "daemon/form.h"

#include "base/mem.h"
#include "sched/schema.h"

#include <stdio.h>

#define CHOICES_MAX 1024

struct form {
    const json_t *request; /* or the object that the fields stand in */
    const char *prefix;    /* of their names in errors */
    struct buf *out;
    struct json_fault *fault;
    const char *found; /* the field that was used; NULL: none yet */
};

static int faulty(struct form *f, const char *key, int code, const char *why)
{
    return json_fault(f->fault, code, f->prefix, key, "'%s%s': %s", f->prefix, key, why);
}

/* --- what a field may hold --- */

static int take_schema(struct form *f, const char *key, const json_t *v)
{
    struct llmos_error err = {0};
    int rc = schema_put(f->out, v, &err);

    return rc < 0 ? faulty(f, key, rc, err.text) : 1;
}

/* A schema, or the text of one. */
static int take_schema_or_text(struct form *f, const char *key, const json_t *v)
{
    const struct json_limits limits = JSON_LIMITS_INIT;
    struct llmos_error err = {0};
    json_t *parsed = NULL;
    int rc;

    if (!json_is_string(v))
        return take_schema(f, key, v);
    rc = json_parse(&parsed, (struct str){json_string_value(v), json_string_length(v)}, &limits,
                    &err);
    rc = rc < 0 ? faulty(f, key, rc, err.text) : take_schema(f, key, parsed);
    json_decref(parsed);
    return rc;
}

static int take_grammar(struct form *f, const char *key, const json_t *v)
{
    if (!json_is_string(v) || json_string_length(v) == 0)
        return faulty(f, key, LLMOS_EINVAL, "must be a grammar (GBNF), as a string");
    if (json_string_length(v) > SCHEMA_GRAMMAR_MAX)
        return faulty(f, key, LLMOS_ELIMIT, "a grammar has at most 1 MiB");
    buf_put(f->out, json_string_value(v), json_string_length(v));
    return 1;
}

static int take_regex(struct form *f, const char *key, const json_t *v)
{
    struct str text = {json_string_value(v), json_string_length(v)};
    struct llmos_error err = {0};
    int rc;

    if (!json_is_string(v))
        return faulty(f, key, LLMOS_EINVAL, "must be a regular expression, as a string");
    rc = schema_put_regex(f->out, text, &err);
    return rc < 0 ? faulty(f, key, rc, err.text) : 1;
}

static int take_choice(struct form *f, const char *key, const json_t *v)
{
    size_t count = json_array_size(v), i;
    CLEANUP(free) struct str *choices = mem_zalloc(count + 1, sizeof(*choices));
    struct llmos_error err = {0};
    const json_t *one;
    int rc;

    if (!choices)
        return faulty(f, key, LLMOS_ENOMEM, "no memory for the choices");
    if (!json_is_array(v) || count > CHOICES_MAX)
        return faulty(f, key, LLMOS_EINVAL, "must be an array of at most 1024 strings");
    json_array_foreach(v, i, one)
    {
        if (!json_is_string(one))
            return faulty(f, key, LLMOS_EINVAL, "must be an array of at most 1024 strings");
        choices[i] = (struct str){json_string_value(one), json_string_length(one)};
    }
    rc = schema_put_choice(f->out, choices, count, &err);
    return rc < 0 ? faulty(f, key, rc, err.text) : 1;
}

static int take_any_object(struct form *f, const char *key, const json_t *v)
{
    struct llmos_error err = {0};
    int rc;

    if (!json_is_boolean(v))
        return faulty(f, key, LLMOS_EINVAL, "must be true or false");
    if (json_is_false(v))
        return 0;
    rc = schema_put_object(f->out, &err);
    return rc < 0 ? faulty(f, key, rc, err.text) : 1;
}

/* --- OpenAI's response_format --- */

static int only_fields(struct form *f, const json_t *object, const char *const *names)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;

        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i])
            return faulty(f, key, LLMOS_EINVAL, "is not known here");
    }
    return 0;
}

static int take_named_schema(struct form *f, const json_t *v)
{
    static const char *const names[] = {"name", "description", "schema", "strict", NULL};
    struct form inner = {v, "response_format.json_schema.", f->out, f->fault, NULL};
    bool strict;
    int rc;

    if (!json_is_object(v))
        return faulty(f, "json_schema", LLMOS_EINVAL, "must be an object with a schema");
    rc = only_fields(&inner, v, names);
    /* Strict or not, the answer keeps to it. */
    if (rc == 0)
        rc = json_take_bool(v, inner.prefix, "strict", &strict, f->fault);
    if (rc < 0)
        return rc;
    if (!json_object_get(v, "schema"))
        return faulty(&inner, "schema", LLMOS_EINVAL, "is missing");
    return take_schema(&inner, "schema", json_object_get(v, "schema"));
}

static int take_response_format(struct form *f, const char *key, const json_t *v)
{
    static const char *const names[] = {"type", "json_schema", "schema", NULL};
    struct form inner = {v, "response_format.", f->out, f->fault, NULL};
    const char *type = json_string_value(json_object_get(v, "type"));
    int rc;

    if (!json_is_object(v) || !type)
        return faulty(f, key, LLMOS_EINVAL, "must be an object with a 'type'");
    rc = only_fields(&inner, v, names);
    if (rc < 0)
        return rc;
    if (strcmp(type, "text") == 0)
        return 0;
    if (strcmp(type, "json_schema") == 0)
        return take_named_schema(&inner, json_object_get(v, "json_schema"));
    if (strcmp(type, "json_object") != 0)
        return faulty(&inner, "type", LLMOS_EUNSUPPORTED,
                      "is none of text, json_object, json_schema");
    if (json_object_get(v, "schema")) /* as llama.cpp has it */
        return take_schema(&inner, "schema", json_object_get(v, "schema"));
    return take_any_object(&inner, "type", json_true());
}

/* --- all of them --- */

static int take_structured(struct form *f, const char *key, const json_t *v);

static const struct field {
    const char *name;
    int (*read)(struct form *f, const char *key, const json_t *v);
} fields[] =
    {
        {"response_format", take_response_format},
        {"grammar", take_grammar},
        {"json_schema", take_schema},
        {"guided_json", take_schema_or_text},
        {"guided_regex", take_regex},
        {"guided_choice", take_choice},
        {"guided_grammar", take_grammar},
        {"structured_outputs", take_structured},
},
  structured_fields[] = {
      {"json", take_schema_or_text},    {"regex", take_regex},
      {"choice", take_choice},          {"grammar", take_grammar},
      {"json_object", take_any_object},
};

static int take_fields(struct form *f, const struct field *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *v = json_object_get(f->request, table[i].name);
        int rc = v && !json_is_null(v) ? table[i].read(f, table[i].name, v) : 0;

        if (rc < 0)
            return rc;
        if (rc > 0 && f->found)
            return json_fault(
                f->fault, LLMOS_EINVAL, f->prefix, table[i].name,
                "'%s%s' and '%s%s' both say what the answer must be; give one of them", f->prefix,
                f->found, f->prefix, table[i].name);
        if (rc > 0)
            f->found = table[i].name;
    }
    return f->found != NULL;
}

static int take_structured(struct form *f, const char *key, const json_t *v)
{
    static const char *const names[] = {"json", "regex", "choice", "grammar", "json_object", NULL};
    struct form inner = {v, "structured_outputs.", f->out, f->fault, NULL};
    int rc;

    if (!json_is_object(v))
        return faulty(f, key, LLMOS_EINVAL, "must be an object");
    rc = only_fields(&inner, v, names);
    return rc < 0 ? rc
                  : take_fields(&inner, structured_fields,
                                sizeof(structured_fields) / sizeof(structured_fields[0]));
}

int form_take(const json_t *request, struct buf *out, struct json_fault *fault)
{
    struct form f = {request, "", out, fault, NULL};
    int rc = take_fields(&f, fields, sizeof(fields) / sizeof(fields[0]));

    if (rc > 0 && buf_check(out, "the grammar of the answer", &fault->err) < 0)
        return faulty(&f, f.found, LLMOS_ELIMIT, "makes a grammar of more than 1 MiB");
    return rc;
}
