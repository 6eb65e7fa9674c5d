/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - see json.h */
#include "base/json.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct scan {
    struct str text;
    const struct json_limits *limits;
    size_t depth, values;
    size_t line, line_start;
};

static int refuse(const struct scan *s, size_t at, struct llmos_error *err, int code,
                  const char *what, size_t limit)
{
    size_t column = utf8_count((struct str){s->text.at + s->line_start, at - s->line_start}) + 1;

    if (limit)
        return fail(err, code, "line %zu column %zu: %s, at most %zu are accepted", s->line, column,
                    what, limit);
    return fail(err, code, "line %zu column %zu: %s", s->line, column, what);
}

/* Index of the closing quote of the string whose opening quote is at i; text.len if there is none.
 */
static size_t string_end(struct str text, size_t i)
{
    for (i++; i < text.len && text.at[i] != '"'; i++)
        if (text.at[i] == '\\')
            i++;
    return i < text.len ? i : text.len;
}

/* Depth and number of values, counted without recursion and without memory.  Whether brackets match
 * is left to the parser: its recursion cannot go deeper than the openings counted here. */
static int scan(struct scan *s, struct llmos_error *err)
{
    for (size_t i = 0; i < s->text.len; i++) {
        switch (s->text.at[i]) {
        case '\n':
            s->line++;
            s->line_start = i + 1;
            break;
        case '"':
            i = string_end(s->text, i);
            break;
        case '[':
        case '{':
            if (++s->depth > s->limits->depth_max)
                return refuse(s, i, err, LLMOS_ELIMIT, "nested too deeply", s->limits->depth_max);
            __attribute__((fallthrough));
        case ',':
        case ':':
            if (++s->values > s->limits->values_max)
                return refuse(s, i, err, LLMOS_ELIMIT, "too many values", s->limits->values_max);
            break;
        case ']':
        case '}':
            s->depth -= s->depth > 0;
            break;
        default:
            break;
        }
    }
    return 0;
}

static int check_bytes(struct str text, const struct json_limits *limits, struct llmos_error *err)
{
    struct scan s = {.text = text, .limits = limits, .line = 1};
    size_t valid;

    if (text.len > limits->bytes_max)
        return fail(err, LLMOS_ELIMIT, "%zu bytes of JSON, at most %zu are accepted", text.len,
                    limits->bytes_max);
    valid = utf8_valid_bytes(text);
    if (valid < text.len) {
        for (size_t i = 0; i < valid; i++)
            if (text.at[i] == '\n') {
                s.line++;
                s.line_start = i + 1;
            }
        return refuse(&s, valid, err, LLMOS_EFORMAT, "this is not valid UTF-8", 0);
    }
    return scan(&s, err);
}

/* jansson does not always say that memory was what failed. */
static _Thread_local bool out_of_memory;

static void *jansson_alloc(size_t n)
{
    void *p = mem_alloc(n);

    out_of_memory |= !p;
    return p;
}

void json_memory_watch(void)
{
    out_of_memory = false;
}

bool json_memory_failed(void)
{
    return out_of_memory;
}

static void jansson_free(void *p)
{
    mem_free(p);
}

/* So that a failed allocation can be injected here as everywhere. */
static void use_own_memory(void)
{
    json_set_alloc_funcs(jansson_alloc, jansson_free);
}

int json_parse(json_t **value, struct str text, const struct json_limits *limits,
               struct llmos_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    json_error_t wrong;
    json_t *parsed;
    int rc;

    pthread_once(&once, use_own_memory);
    rc = check_bytes(text, limits, err);
    if (rc < 0)
        return rc;
    if (text.len == 0)
        return fail(err, LLMOS_EFORMAT, "no JSON: the text is empty");
    out_of_memory = false;
    parsed = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, &wrong);
    if (!parsed) {
        if (out_of_memory)
            return fail(err, LLMOS_ENOMEM, "no memory for %zu bytes of JSON", text.len);
        return fail(err, LLMOS_EFORMAT, "line %d column %d: %s", wrong.line, wrong.column,
                    wrong.text);
    }
    *value = parsed;
    return 0;
}

int json_fault(struct json_fault *fault, int code, const char *prefix, const char *key,
               const char *format, ...)
{
    char text[512];
    va_list args;

    if (!fault)
        return code;
    snprintf(fault->param, sizeof(fault->param), "%s%s", prefix, key);
    /* A name that was cut in mid-character is not text any more. */
    fault->param[utf8_valid_bytes(str_of(fault->param))] = '\0';
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    return fail(&fault->err, code, "%s", text);
}

const char *json_kind(const json_t *value)
{
    static const char *const kinds[] = {"an object", "an array", "a string", "a whole number",
                                        "a number",  "true",     "false",    "null"};

    return kinds[json_typeof(value)];
}

static const json_t *field(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return value && !json_is_null(value) ? value : NULL;
}

int json_take_number(const json_t *object, const char *prefix, const char *key, double min,
                     double max, double *out, struct json_fault *fault)
{
    const json_t *value = field(object, key);
    double v;

    if (!value)
        return 0;
    if (!json_is_number(value))
        return json_fault(fault, LLMOS_EINVAL, prefix, key, "'%s%s' must be a number, not %s",
                          prefix, key, json_kind(value));
    v = json_number_value(value);
    if (!(v >= min && v <= max))
        return json_fault(fault, LLMOS_EINVAL, prefix, key, "'%s%s' is %g, it must be %g to %g",
                          prefix, key, v, min, max);
    *out = v;
    return 1;
}

/* 2.0 is a whole number too: several clients write every number with a point. */
static bool whole(const json_t *value, int64_t *out)
{
    double v;

    if (json_is_integer(value)) {
        *out = json_integer_value(value);
        return true;
    }
    v = json_real_value(value);
    if (!(fabs(v) <= 9007199254740992.0) ||
        v != floor(v)) /* 2^53: beyond it doubles skip numbers */
        return false;
    *out = (int64_t)v;
    return true;
}

int json_take_integer(const json_t *object, const char *prefix, const char *key, int64_t min,
                      int64_t max, int64_t *out, struct json_fault *fault)
{
    const json_t *value = field(object, key);
    int64_t v = 0;

    if (!value)
        return 0;
    if (!json_is_number(value))
        return json_fault(fault, LLMOS_EINVAL, prefix, key, "'%s%s' must be a whole number, not %s",
                          prefix, key, json_kind(value));
    if (!whole(value, &v))
        return json_fault(fault, LLMOS_EINVAL, prefix, key,
                          "'%s%s' is %g, it must be a whole number", prefix, key,
                          json_number_value(value));
    if (v < min || v > max)
        return json_fault(fault, LLMOS_EINVAL, prefix, key,
                          "'%s%s' is %lld, it must be %lld to %lld", prefix, key, (long long)v,
                          (long long)min, (long long)max);
    *out = v;
    return 1;
}

int json_take_bool(const json_t *object, const char *prefix, const char *key, bool *out,
                   struct json_fault *fault)
{
    const json_t *value = field(object, key);

    if (!value)
        return 0;
    if (!json_is_boolean(value))
        return json_fault(fault, LLMOS_EINVAL, prefix, key, "'%s%s' must be true or false, not %s",
                          prefix, key, json_kind(value));
    *out = json_is_true(value);
    return 1;
}

int json_take_string(const json_t *object, const char *prefix, const char *key, size_t max,
                     struct str *out, struct json_fault *fault)
{
    const json_t *value = field(object, key);
    size_t n;

    if (!value)
        return 0;
    if (!json_is_string(value))
        return json_fault(fault, LLMOS_EINVAL, prefix, key, "'%s%s' must be a string, not %s",
                          prefix, key, json_kind(value));
    n = json_string_length(value);
    if (n == 0)
        return json_fault(fault, LLMOS_EINVAL, prefix, key, "'%s%s' is empty", prefix, key);
    if (n > max)
        return json_fault(fault, LLMOS_EINVAL, prefix, key,
                          "'%s%s' has %zu bytes, at most %zu are accepted", prefix, key, n, max);
    *out = (struct str){json_string_value(value), n};
    return 1;
}

/* --- writing --- */

/* The fewest digits that read back as the same number. */
static void put_real(struct buf *out, double v)
{
    char text[40];

    snprintf(text, sizeof(text), "%.15g", v);
    if (strtod(text, NULL) != v)
        snprintf(text, sizeof(text), "%.17g", v);
    buf_puts(out, text);
    if (!strpbrk(text, ".e")) /* a real stays one */
        buf_puts(out, ".0");
}

static void put_array(struct buf *out, const json_t *array)
{
    const json_t *one;
    size_t i;

    buf_putc(out, '[');
    json_array_foreach(array, i, one)
    {
        buf_puts(out, i ? ", " : "");
        json_put(out, one);
    }
    buf_putc(out, ']');
}

static void put_object(struct buf *out, const json_t *object)
{
    const char *key, *comma = "";
    json_t *value;

    buf_putc(out, '{');
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        buf_puts(out, comma);
        json_put_string(out, str_of(key));
        buf_puts(out, ": ");
        json_put(out, value);
        comma = ", ";
    }
    buf_putc(out, '}');
}

void json_put(struct buf *out, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        put_object(out, value);
        break;
    case JSON_ARRAY:
        put_array(out, value);
        break;
    case JSON_STRING:
        json_put_string(out, (struct str){json_string_value(value), json_string_length(value)});
        break;
    case JSON_INTEGER:
        buf_printf(out, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        put_real(out, json_real_value(value));
        break;
    default:
        buf_puts(out, json_is_null(value) ? "null" : json_is_true(value) ? "true" : "false");
        break;
    }
}
