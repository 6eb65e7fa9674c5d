/* SPDX-License-Identifier: Apache-2.0 */
/* schemavalue.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "sched/regex.h"

#include <stdio.h>
#include <stdlib.h>

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

static bool put_one_value(const json_t *v, unsigned bits, bool is_first, struct buf *body)
{
    CLEANUP(buf) struct buf text = {.at = NULL};

    if (!(schema_value_bits(v) & bits))
        return false;
    buf_init(&text, SCHEMA_GRAMMAR_MAX);
    put_value(&text, v);
    buf_puts(body, is_first ? "" : "| ");
    regex_put_literal(body, buf_str(&text));
    buf_putc(body, ' ');
    body->bad |= text.bad;
    return true;
}

/* enum and const, as far as the type lets them. */
int schema_put_listed(struct job *j, const json_t *schema, unsigned bits, const struct path *at,
                      struct buf *body)
{
    const json_t *list = json_object_get(schema, "enum"), *one = json_object_get(schema, "const");
    const json_t *v;
    bool any = false;
    size_t i;

    if (list && !json_is_array(list))
        return schema_refuse(j, LLMOS_EINVAL, at, "enum", "is not an array");
    buf_puts(body, "( ");
    if (list) {
        json_array_foreach(list, i, v)
        {
            if (!one || json_equal(one, v))
                any |= put_one_value(v, bits, !any, body);
        }
    } else {
        any = put_one_value(one, bits, true, body);
    }
    buf_puts(body, ") ");
    return any ? 0
               : schema_refuse(j, LLMOS_EINVAL, at, list ? "enum" : "const",
                               "leaves no value that the rest of the schema allows");
}
