/* SPDX-License-Identifier: Apache-2.0 */
/* schemavalue.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "sched/regex.h"

#include <stdio.h>
#include <stdlib.h>

#define INTEGERS_FEW 64 /* what lists of them are made of: ratings, weekdays, hours */
#define INTEGERS_FAR 1000000000

/* The shortest digits that are this number again. */
static void put_real(struct buf *text, double v)
{
    char digits[40];

    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof(digits), "%.*g", precision, v);
        if (strtod(digits, NULL) == v)
            break;
    }
    buf_puts(text, digits);
}

static void put_value(struct buf *text, const json_t *v)
{
    const char *name;
    json_t *part;
    size_t i;

    switch (json_typeof(v)) {
    case JSON_STRING:
        json_put_string(text, (struct str){json_string_value(v), json_string_length(v)});
        break;
    case JSON_INTEGER:
        buf_printf(text, "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        put_real(text, json_real_value(v));
        break;
    case JSON_ARRAY:
        json_array_foreach(v, i, part)
        {
            buf_puts(text, i ? ", " : "[");
            put_value(text, part);
        }
        buf_puts(text, json_array_size(v) ? "]" : "[]");
        break;
    case JSON_OBJECT:
        i = 0;
        json_object_foreach((json_t *)(uintptr_t)v, name, part)
        {
            buf_puts(text, i++ ? ", " : "{");
            json_put_string(text, str_of(name));
            buf_puts(text, ": ");
            put_value(text, part);
        }
        buf_puts(text, i ? "}" : "{}");
        break;
    default:
        buf_puts(text, json_is_null(v) ? "null" : json_is_true(v) ? "true" : "false");
    }
}

static void put_one_value(const json_t *v, bool is_first, struct buf *body)
{
    CLEANUP(buf) struct buf text = {.at = NULL};

    buf_init(&text, SCHEMA_GRAMMAR_MAX);
    put_value(&text, v);
    buf_puts(body, is_first ? "" : "| ");
    regex_put_literal(body, buf_str(&text));
    buf_putc(body, ' ');
    body->bad |= text.bad;
}

/* The integers between two limits, if they are few; NULL: they are not.  New. */
static json_t *few_integers(const json_t *schema)
{
    const json_t *low = json_object_get(schema, "minimum"),
                 *high = json_object_get(schema, "maximum");
    json_int_t from = json_integer_value(low), to = json_integer_value(high);
    json_t *all;

    if (!json_is_integer(low) || !json_is_integer(high) || from < -INTEGERS_FAR ||
        to > INTEGERS_FAR || to - from >= INTEGERS_FEW)
        return NULL;
    all = json_array();
    for (json_int_t i = from; i <= to; i++)
        json_array_append_new(all, json_integer(i));
    return all;
}

json_t *schema_listed(struct job *j, const json_t *schema, const struct path *at, int *rc)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    json_t *found = json_array(), *all = NULL, *v;
    unsigned bits = schema_type_bits(json_object_get(schema, "type"));
    size_t i;

    *rc = 0;
    if (list && !json_is_array(list))
        *rc = schema_refuse(j, LLMOS_EINVAL, at, "enum", "is not an array");
    else if (list || one)
        all = list ? json_incref((json_t *)(uintptr_t)list) : json_pack("[O]", one);
    else if (bits && (bits & ~(unsigned)(BOOLEAN | NIL)) == 0)
        all = bits == NIL       ? json_pack("[n]")
              : bits == BOOLEAN ? json_pack("[b,b]", 1, 0)
                                : json_pack("[b,b,n]", 1, 0);
    else if (bits == INTEGER)
        all = few_integers(schema);
    json_array_foreach(all, i, v)
    {
        int holds = *rc == 0 ? schema_holds(j, schema, v, at) : 0;

        if (holds < 0)
            *rc = holds;
        if (holds == 1 && json_array_append(found, v) < 0)
            *rc = schema_no_memory(j);
    }
    if (!all || *rc < 0) {
        json_decref(found);
        found = NULL;
    }
    json_decref(all);
    return found;
}

int schema_put_listed(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    bool is_enum = json_object_get(schema, "enum") != NULL;
    int rc = 0;
    json_t *list = schema_listed(j, schema, at, &rc), *v;
    size_t i, count = json_array_size(list);

    if (!list)
        return rc < 0 ? rc : schema_no_memory(j);
    buf_puts(body, "( ");
    json_array_foreach(list, i, v) put_one_value(v, i == 0, body);
    buf_puts(body, ") ");
    json_decref(list);
    return count ? 0
                 : schema_nothing(j, at, is_enum ? "enum" : "const",
                                  "leaves no value that the rest of the schema allows");
}
