/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_filter.c - the filters of chat templates: those on single values, and the table of all. */
#include "model/jinja_json.h"
#include "model/jinja_rowfilter.h"
#include "model/jinja_text.h"
#include "model/unicode.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define FILTER static JINJA_FILTER

/* ---- texts ---- */

FILTER(trim)
{
    struct jinja_value chars = jinja_arg(s, a, 0, "chars");
    struct jinja_str text = jinja_str_of(s, self);
    struct jinja_value v;
    size_t cost = text.len;

    if (chars.kind == JINJA_STRING && chars.s->len > 16)
        cost = cost * (chars.s->len / 16);
    if (!jinja_work(s, cost))
        return JINJA_NOTHING;
    v = jinja_string(s, jinja_strip(text, chars.kind == JINJA_STRING ? chars.s : NULL,
                                    STRIP_LEFT | STRIP_RIGHT));
    v.is_safe = self.is_safe;
    return v;
}

static struct jinja_value in_case(struct jinja_store *s, struct jinja_value self,
                                  enum jinja_case which)
{
    struct jinja_value v = jinja_in_case(s, jinja_str_of(s, self), which);

    v.is_safe = self.is_safe;
    return v;
}

#define CASE_FILTER(name, which)        \
    FILTER(name)                        \
    {                                   \
        (void)a;                        \
        return in_case(s, self, which); \
    }
CASE_FILTER(upper, CASE_UPPER)
CASE_FILTER(lower, CASE_LOWER)
CASE_FILTER(capitalize, CASE_CAPITALIZE)
CASE_FILTER(title, CASE_WORDS)

FILTER(replace)
{
    return jinja_replace(s, jinja_str_of(s, self), jinja_arg_text(s, a, 0, "old", ""),
                         jinja_arg_text(s, a, 1, "new", ""), jinja_arg_int(s, a, 2, "count", -1));
}

FILTER(string)
{
    (void)a;
    return self.kind == JINJA_STRING ? self : jinja_string(s, jinja_str_of(s, self));
}

FILTER(safe)
{
    struct jinja_value v = filter_string(s, self, a);

    v.is_safe = true;
    return v;
}

FILTER(escape)
{
    (void)a;
    return self.is_safe ? self : jinja_escape(s, jinja_str_of(s, self));
}

FILTER(forceescape)
{
    (void)a;
    return jinja_escape(s, jinja_str_of(s, self));
}

FILTER(indent)
{
    struct jinja_value width = jinja_arg(s, a, 0, "width");
    bool first = jinja_arg_true(s, a, 1, "first", false);
    bool blank = jinja_arg_true(s, a, 2, "blank", false);
    struct jinja_value text = jinja_binary(s, '+', self, jinja_copy(s, STR("\n"), false)), by,
                       lines;
    struct jinja_build b;

    by = width.kind == JINJA_STRING
             ? width
             : jinja_binary(s, '*', jinja_copy(s, STR(" "), false),
                            width.kind == JINJA_UNDEFINED ? JINJA_NUMBER(4) : width);
    if (s->rc < 0)
        return JINJA_NOTHING;
    lines = jinja_split_lines(s, *text.s, false);
    jinja_build_init(&b, s);
    for (size_t i = 0; s->rc == 0 && i < lines.list->count; i++) {
        const struct jinja_str *line = lines.list->at[i].s;

        if (i)
            jinja_put_text(&b, STR("\n"), false);
        if (i ? blank || line->len : first)
            jinja_put(&b, *by.s);
        jinja_put(&b, *line);
    }
    return jinja_built(&b);
}

FILTER(center)
{
    static const struct str name = {"center", 6};
    int64_t width = jinja_arg_int(s, a, 0, "width", 80);
    struct jinja_value v = JINJA_NUMBER(width), text = jinja_string(s, jinja_str_of(s, self));
    struct jinja_args args = {.at = &v, .count = 1};

    return s->rc < 0 ? JINJA_NOTHING : jinja_call(s, jinja_method(text, name), text, &args);
}

FILTER(truncate)
{
    int64_t length = jinja_arg_int(s, a, 0, "length", 255), n;
    bool kills_words = jinja_arg_true(s, a, 1, "killwords", false);
    struct jinja_str end = jinja_arg_text(s, a, 2, "end", "..."), text = jinja_str_of(s, self);
    int64_t leeway = jinja_arg_int(s, a, 3, "leeway", 5), more;
    struct jinja_build b;
    size_t at;

    n = jinja_length(jinja_string(s, text));
    more = length - jinja_length(jinja_string(s, end));
    if (more < 0 || leeway < 0)
        return jinja_fail(s, LLMOS_EINVAL, "truncate needs room for its end");
    if (n <= length || n - length <= leeway)
        return jinja_string(s, text);
    text = jinja_part(text, 0, jinja_offset(text, (size_t)more));
    at = kills_words ? TEXT_NOT_FOUND : jinja_find_last(text, JINJA_STR(" "));
    jinja_build_init(&b, s);
    jinja_put(&b, at == TEXT_NOT_FOUND ? text : jinja_part(text, 0, at));
    jinja_put(&b, end);
    return jinja_built(&b);
}

FILTER(wordcount)
{
    struct jinja_str text = jinja_str_of(s, self);
    int64_t count = 0;
    bool inside = false;

    (void)a;
    if (!jinja_work(s, text.len))
        return JINJA_NOTHING;
    for (size_t i = 0; i < text.len; i += jinja_char_bytes(text, i)) {
        uint32_t c = jinja_char(text, i);
        bool is_word = c == '_' || unicode_is_alnum(c);

        count += is_word && !inside;
        inside = is_word;
    }
    return JINJA_NUMBER(count);
}

FILTER(urlencode)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/";
    static const char hex[] = "0123456789ABCDEF";
    struct jinja_str text = jinja_str_of(s, self);
    struct jinja_build b;

    (void)a;
    jinja_build_init(&b, s);
    for (size_t i = 0; i < text.len && s->rc == 0; i++) {
        unsigned char c = (unsigned char)text.at[i];
        char code[3] = {'%', hex[c >> 4], hex[c & 15]};

        if (c && strchr(plain, c))
            jinja_put(&b, jinja_part(text, i, i + 1));
        else
            jinja_put_text(&b, (struct str){code, 3}, text.said && text.said[i]);
    }
    return jinja_built(&b);
}

FILTER(format)
{
    struct jinja_value tuple = jinja_list(s, ROW_TUPLE, a->count);

    for (size_t i = 0; i < a->count; i++)
        jinja_append(s, tuple, a->at[i]);
    return s->rc < 0 ? JINJA_NOTHING : jinja_format(s, jinja_str_of(s, self), tuple);
}

/* As transformers defines it. */
FILTER(tojson)
{
    bool ascii = jinja_arg_true(s, a, 0, "ensure_ascii", false);
    struct jinja_value indent = jinja_arg(s, a, 1, "indent");
    struct jinja_value separators = jinja_arg(s, a, 2, "separators"), by = indent;
    struct jinja_json_style style = {.ascii = ascii,
                                     .sort_keys = jinja_arg_true(s, a, 3, "sort_keys", false),
                                     .item_separator = JINJA_STR(", "),
                                     .key_separator = JINJA_STR(": ")};
    struct jinja_build b;

    if (indent.kind == JINJA_INT || indent.kind == JINJA_BOOL)
        by = jinja_binary(s, '*', jinja_copy(s, STR(" "), false), indent);
    if (by.kind == JINJA_STRING) {
        style.indent = by.s;
        style.item_separator = JINJA_STR(",");
    }
    if (separators.kind == JINJA_LIST && separators.list->count == 2) {
        style.item_separator = jinja_str_of(s, separators.list->at[0]);
        style.key_separator = jinja_str_of(s, separators.list->at[1]);
    }
    jinja_build_init(&b, s);
    if (s->rc == 0)
        jinja_put_json(&b, self, &style);
    return jinja_built(&b);
}

/* ---- numbers ---- */

/* Digits of a radix with a sign, blanks around and _ between; false: they are no integer. */
static bool read_integer(struct jinja_str text, int radix, int64_t *out)
{
    char digits[80], *end;
    size_t n = 0;

    text = jinja_strip(text, NULL, STRIP_LEFT | STRIP_RIGHT);
    for (size_t i = 0; i < text.len; i++) {
        if (n + 1 >= sizeof(digits) || text.at[i] == '\0' ||
            jinja_is_space((unsigned char)text.at[i]))
            return false;
        if (text.at[i] == '_' && (i == 0 || i + 1 == text.len || text.at[i - 1] == '_'))
            return false;
        if (text.at[i] != '_')
            digits[n++] = text.at[i];
    }
    digits[n] = '\0';
    errno = 0;
    *out = strtoll(digits, &end, radix);
    return n > 0 && *end == '\0' && errno == 0;
}

/* As float() reads it: no hexadecimal. */
static bool read_real(struct jinja_str text, double *out)
{
    char digits[400], *end;

    text = jinja_strip(text, NULL, STRIP_LEFT | STRIP_RIGHT);
    if (text.len == 0 || text.len >= sizeof(digits) || memchr(text.at, 'x', text.len) ||
        memchr(text.at, 'X', text.len) || memchr(text.at, '(', text.len) ||
        memchr(text.at, 0, text.len) || jinja_is_space((unsigned char)text.at[0]))
        return false;
    memcpy(digits, text.at, text.len);
    digits[text.len] = '\0';
    *out = strtod(digits, &end);
    return *end == '\0';
}

FILTER(int)
{
    struct jinja_value otherwise = jinja_arg(s, a, 0, "default");
    int64_t radix = jinja_arg_int(s, a, 1, "base", 10);
    struct jinja_value v = JINJA_NUMBER(0);
    double real = NAN;
    bool is = false;

    if (!jinja_defined(s, self))
        return JINJA_NOTHING;
    if (self.kind == JINJA_INT || self.kind == JINJA_BOOL)
        v.i = jinja_integer(self), is = true;
    else if (self.kind == JINJA_FLOAT)
        real = self.f;
    else if (self.kind == JINJA_STRING && radix >= 0 && radix <= 36 && radix != 1)
        is = read_integer(*self.s, (int)radix, &v.i) || (read_real(*self.s, &real), false);
    if (!is && fabs(real) < 9.2e18)
        v.i = (int64_t)real, is = true;
    v.said = self.said || (self.kind == JINJA_STRING && self.s->said);
    return is ? v : otherwise.kind == JINJA_UNDEFINED ? JINJA_NUMBER(0) : otherwise;
}

FILTER(float)
{
    struct jinja_value otherwise = jinja_arg(s, a, 0, "default"), v = JINJA_REAL(0);
    bool is = jinja_is_number(self);

    if (!jinja_defined(s, self))
        return JINJA_NOTHING;
    if (is)
        v.f = jinja_real(self);
    else if (self.kind == JINJA_STRING)
        is = read_real(*self.s, &v.f);
    v.said = self.said || (self.kind == JINJA_STRING && self.s->said);
    return is ? v : otherwise.kind == JINJA_UNDEFINED ? JINJA_REAL(0) : otherwise;
}

FILTER(abs)
{
    struct jinja_value v = self;

    (void)a;
    if (!jinja_is_number(self))
        return jinja_fail(s, LLMOS_EINVAL, "abs needs a number, not a %s", jinja_type(self));
    if (self.kind == JINJA_FLOAT)
        v.f = fabs(v.f);
    else
        v = jinja_integer(self) < 0 ? jinja_binary(s, '-', JINJA_NUMBER(0), self)
                                    : JINJA_NUMBER(jinja_integer(self));
    return v;
}

/* To `precision` digits behind the point; halves go to the even neighbour. */
static double rounded(double v, int64_t precision, struct jinja_str method)
{
    double scale = pow(10, (double)precision);
    char text[400];

    if (method.len == 4)
        return ceil(v * scale) / scale;
    if (method.len == 5)
        return floor(v * scale) / scale;
    if (!isfinite(v) || precision > 300 || precision < -300)
        return v;
    if (precision < 0)
        return rint(v * scale) / scale;
    snprintf(text, sizeof(text), "%.*f", (int)(precision > 20 ? 20 : precision), v);
    return strtod(text, NULL);
}

FILTER(round)
{
    int64_t precision = jinja_arg_int(s, a, 0, "precision", 0);
    struct jinja_str method = jinja_arg_text(s, a, 1, "method", "common");
    struct jinja_value v = self;

    if (!jinja_is_number(self))
        return jinja_fail(s, LLMOS_EINVAL, "round needs a number, not a %s", jinja_type(self));
    if (!(method.len == 6 && memcmp(method.at, "common", 6) == 0) &&
        !(method.len == 4 && memcmp(method.at, "ceil", 4) == 0) &&
        !(method.len == 5 && memcmp(method.at, "floor", 5) == 0))
        return jinja_fail(s, LLMOS_EINVAL, "round knows the methods common, ceil and floor");
    if (self.kind != JINJA_FLOAT && method.len == 6 && precision >= 0)
        return JINJA_NUMBER(jinja_integer(self));
    v = JINJA_REAL(rounded(jinja_real(self), precision, method));
    v.said = self.said;
    return v;
}

/* ---- values ---- */

FILTER(default)
{
    struct jinja_value otherwise = jinja_arg(s, a, 0, "default_value");
    bool also_false = jinja_arg_true(s, a, 1, "boolean", false);

    if (self.kind != JINJA_UNDEFINED && (!also_false || jinja_true(self)))
        return self;
    return a->count > 0 || otherwise.kind != JINJA_UNDEFINED ? otherwise
                                                             : jinja_copy(s, STR(""), false);
}

FILTER(length)
{
    int64_t n = jinja_length(self);

    (void)a;
    if (n < 0)
        return jinja_fail(s, LLMOS_EINVAL, "a %s has no length", jinja_type(self));
    return JINJA_NUMBER(n);
}

FILTER(attr)
{
    struct jinja_value v;

    /* only what Python calls an attribute, not an item */
    if (self.kind == JINJA_DICT && !jinja_method(self, STR("get")))
        return JINJA_NOTHING;
    v = jinja_arg(s, a, 0, "name");
    if (v.kind != JINJA_STRING)
        return JINJA_NOTHING;
    if (self.kind == JINJA_DICT && !jinja_method(self, (struct str){v.s->at, v.s->len}))
        return JINJA_NOTHING;
    return jinja_attribute(s, self, (struct str){v.s->at, v.s->len});
}

static const struct jinja_function filters[] = {
    JINJA_ROW(filter, abs, 0),
    JINJA_ROW(filter, attr, 1),
    JINJA_ROW(filter, batch, 2),
    JINJA_ROW(filter, capitalize, 0),
    JINJA_ROW(filter, center, 1),
    {"count", filter_length, 0, false},
    {"d", filter_default, 2, false},
    JINJA_ROW(filter, default, 2),
    JINJA_ROW(filter, dictsort, 3),
    {"e", filter_escape, 0, false},
    JINJA_ROW(filter, escape, 0),
    JINJA_ROW(filter, first, 0),
    JINJA_ROW(filter, float, 1),
    JINJA_ROW(filter, forceescape, 0),
    {"format", filter_format, JINJA_ARGS_ANY, false},
    JINJA_ROW(filter, groupby, 3),
    JINJA_ROW(filter, indent, 3),
    JINJA_ROW(filter, int, 2),
    JINJA_ROW(filter, items, 0),
    JINJA_ROW(filter, join, 2),
    JINJA_ROW(filter, last, 0),
    JINJA_ROW(filter, length, 0),
    JINJA_ROW(filter, list, 0),
    JINJA_ROW(filter, lower, 0),
    {"map", filter_map, JINJA_ARGS_ANY, true},
    JINJA_ROW(filter, max, 2),
    JINJA_ROW(filter, min, 2),
    {"reject", filter_reject, JINJA_ARGS_ANY, true},
    {"rejectattr", filter_rejectattr, JINJA_ARGS_ANY, true},
    JINJA_ROW(filter, replace, 3),
    JINJA_ROW(filter, reverse, 0),
    JINJA_ROW(filter, round, 2),
    JINJA_ROW(filter, safe, 0),
    {"select", filter_select, JINJA_ARGS_ANY, true},
    {"selectattr", filter_selectattr, JINJA_ARGS_ANY, true},
    JINJA_ROW(filter, slice, 2),
    JINJA_ROW(filter, sort, 3),
    JINJA_ROW(filter, string, 0),
    JINJA_ROW(filter, sum, 2),
    JINJA_ROW(filter, title, 0),
    JINJA_ROW(filter, tojson, 4),
    JINJA_ROW(filter, trim, 1),
    JINJA_ROW(filter, truncate, 4),
    JINJA_ROW(filter, unique, 2),
    JINJA_ROW(filter, upper, 0),
    JINJA_ROW(filter, urlencode, 0),
    JINJA_ROW(filter, wordcount, 0),
};

const struct jinja_function *jinja_filter(struct str name)
{
    return jinja_find_function(filters, sizeof(filters) / sizeof(filters[0]), name);
}
