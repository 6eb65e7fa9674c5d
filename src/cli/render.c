/* SPDX-License-Identifier: Apache-2.0 */
/* render.c - see render.h */
#include "cli/render.h"

#include "base/mem.h"
#include "cli/screen.h"
#include "cli/table.h"

#include <ctype.h>

#define LIST_SHOWN 8 /* elements of a list in a cell */

static bool ends_in(const char *key, const char *end)
{
    size_t n = strlen(key), m = strlen(end);

    return n >= m && strcmp(key + n - m, end) == 0;
}

/* "bytes", "weight_bytes", "kv_bytes_per_token" */
static bool counts_bytes(const char *key)
{
    const char *at = strstr(key, "bytes");

    return at && (at == key || at[-1] == '_') && (!at[5] || at[5] == '_');
}

static void render_number(const char *key, const json_t *value, struct buf *out)
{
    json_int_t v = json_integer_value(value);

    if (!json_is_integer(value))
        buf_printf(out, "%g", json_real_value(value));
    else if (counts_bytes(key) && v >= 0)
        put_bytes(out, (uint64_t)v);
    else if (ends_in(key, "_us"))
        buf_printf(out, "%.1f ms", (double)v / 1000);
    else
        buf_printf(out, "%lld", (long long)v);
}

static void render_list(const char *key, const json_t *value, struct buf *out)
{
    size_t count = json_array_size(value);

    buf_putc(out, '[');
    for (size_t i = 0; i < count && i < LIST_SHOWN; i++) {
        const json_t *element = json_array_get(value, i);

        buf_puts(out, i ? ", " : "");
        if (json_is_array(element) || json_is_object(element))
            buf_puts(out, "...");
        else
            render_cell(key, element, out);
    }
    if (count > LIST_SHOWN)
        buf_printf(out, ", ... %zu in all", count);
    buf_putc(out, ']');
}

/* A long list of which only the front is here: {"type": "string", "count": 32000, "first": [..]} */
static void render_front(const json_t *value, struct buf *out)
{
    buf_printf(out, "%lld of ", (long long)json_integer_value(json_object_get(value, "count")));
    render_cell("", json_object_get(value, "type"), out);
    buf_puts(out, ": ");
    render_list("", json_object_get(value, "first"), out);
}

void render_cell(const char *key, const json_t *value, struct buf *out)
{
    if (json_is_string(value))
        screen_put_line(out, (struct str){json_string_value(value), json_string_length(value)});
    else if (json_is_number(value))
        render_number(key, value, out);
    else if (json_is_boolean(value))
        buf_puts(out, json_is_true(value) ? "yes" : "no");
    else if (json_is_array(value))
        render_list(key, value, out);
    else if (json_is_array(json_object_get(value, "first")))
        render_front(value, out);
    else if (json_is_object(value))
        buf_puts(out, "{...}");
    else
        buf_puts(out, "-");
}

static void cell(struct table *t, const char *key, const json_t *value)
{
    CLEANUP(buf) struct buf text = {.at = NULL};

    buf_init(&text, 1 << 20);
    if (value)
        render_cell(key, value, &text);
    if (text.bad)
        t->cells.bad = true;
    table_cell(t, buf_str(&text));
}

static bool is_section(const json_t *value)
{
    return (json_is_object(value) && json_object_size(value) > 0) ||
           (json_is_array(value) && json_is_object(json_array_get(value, 0)));
}

/* "weight_bytes" -> "weight", "file_type" -> "file type": the unit is in the value. */
static void put_key(struct buf *out, const char *key)
{
    size_t start = out->len;

    screen_put_line(out, str_of(key));
    if (ends_in(key, "_bytes") || ends_in(key, "_us")) {
        size_t unit = ends_in(key, "_bytes") ? 6 : 3;

        if (!out->bad && out->len - start > unit)
            out->len -= unit;
    }
    for (size_t i = start; i < out->len; i++)
        if (out->at[i] == '_')
            out->at[i] = ' ';
    if (out->at)
        out->at[out->len] = '\0';
}

static void put_heading(struct buf *out, const char *key)
{
    size_t start;

    if (out->len)
        buf_putc(out, '\n');
    start = out->len;
    put_key(out, key);
    for (size_t i = start; i < out->len; i++)
        out->at[i] = (char)toupper((unsigned char)out->at[i]);
    buf_putc(out, '\n');
}

/* The columns are the keys of the first element. */
static void render_rows(const json_t *rows, struct buf *out)
{
    const json_t *first = json_array_get(rows, 0);
    CLEANUP(buf) struct buf titles = {.at = NULL};
    struct table t;
    const char *keys[TABLE_COLUMNS_MAX];
    size_t starts[TABLE_COLUMNS_MAX];
    const json_t *value;
    const char *key;
    unsigned columns = 0;

    table_init(&t);
    buf_init(&titles, 1 << 20);
    json_object_foreach((json_t *)(uintptr_t)first, key, value)
    {
        if (columns == TABLE_COLUMNS_MAX)
            break;
        keys[columns] = key;
        starts[columns++] = titles.len;
        put_key(&titles, key);
        buf_putc(&titles, '\0');
    }
    for (unsigned c = 0; c < columns && !titles.bad; c++)
        table_column(&t, titles.at + starts[c], json_is_number(json_object_get(first, keys[c])));
    for (size_t i = 0; i < json_array_size(rows) && !titles.bad; i++)
        for (unsigned c = 0; c < columns; c++)
            cell(&t, keys[c], json_object_get(json_array_get(rows, i), keys[c]));
    out->bad = out->bad || titles.bad;
    if (!out->bad)
        table_put(&t, "  ", out);
    table_fini(&t);
}

static void render_keys(const json_t *object, bool with_units, struct buf *out)
{
    const json_t *value;
    struct table t;
    const char *key;

    table_init(&t);
    table_column(&t, NULL, false);
    table_column(&t, NULL, false);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        CLEANUP(buf) struct buf name = {.at = NULL};

        if (with_units && is_section(value))
            continue;
        buf_init(&name, 1 << 20);
        if (with_units)
            put_key(&name, key);
        else
            screen_put_line(&name, str_of(key));
        out->bad = out->bad || name.bad;
        table_cell(&t, buf_str(&name));
        cell(&t, with_units ? key : "", value);
    }
    if (!out->bad)
        table_put(&t, "  ", out);
    table_fini(&t);
}

void render(const json_t *value, struct buf *out)
{
    const json_t *part;
    const char *key;

    render_keys(value, true, out);
    json_object_foreach((json_t *)(uintptr_t)value, key, part)
    {
        if (!is_section(part))
            continue;
        put_heading(out, key);
        if (json_is_array(part))
            render_rows(part, out);
        else /* a file's own keys are shown as they are spelled */
            render_keys(part, strcmp(key, "metadata") != 0, out);
    }
}
