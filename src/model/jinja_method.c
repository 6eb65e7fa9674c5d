/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_method.c - what stands behind the dot of a string, a list and a dict. */
#include "model/jinja_call.h"
#include "model/jinja_text.h"
#include "model/unicode.h"

#include <string.h>

#define METHOD(name)                                                               \
    static struct jinja_value name(struct jinja_store *s, struct jinja_value self, \
                                   struct jinja_args *a)

/* A string made from self by a call that gives one: | safe stays. */
static struct jinja_value text_of(struct jinja_store *s, struct jinja_value self,
                                  struct jinja_str text)
{
    struct jinja_value v = jinja_string(s, text);

    v.is_safe = self.is_safe;
    return v;
}

/* ---- strings ---- */

static struct jinja_value strip(struct jinja_store *s, struct jinja_value self,
                                struct jinja_args *a, int sides)
{
    struct jinja_value chars = jinja_arg(s, a, 0, "chars");
    size_t cost = self.s->len;

    if (chars.kind != JINJA_STRING && chars.kind != JINJA_NONE && chars.kind != JINJA_UNDEFINED)
        return jinja_fail(s, LLMOS_EINVAL, "strip takes a str, not a %s", jinja_type(chars));
    if (chars.kind == JINJA_STRING && chars.s->len > 16)
        cost = cost * (chars.s->len / 16);
    if (!jinja_work(s, cost))
        return JINJA_NOTHING;
    return text_of(s, self,
                   jinja_strip(*self.s, chars.kind == JINJA_STRING ? chars.s : NULL, sides));
}

METHOD(str_strip)
{
    return strip(s, self, a, STRIP_LEFT | STRIP_RIGHT);
}

METHOD(str_lstrip)
{
    return strip(s, self, a, STRIP_LEFT);
}

METHOD(str_rstrip)
{
    return strip(s, self, a, STRIP_RIGHT);
}

typedef struct jinja_value (*splitter)(struct jinja_store *s, struct jinja_str text,
                                       const struct jinja_str *separator, int64_t max);

static struct jinja_value split(struct jinja_store *s, struct jinja_value self,
                                struct jinja_args *a, splitter how)
{
    struct jinja_value separator = jinja_arg(s, a, 0, "sep");
    int64_t max = jinja_arg_int(s, a, 1, "maxsplit", -1);

    if (separator.kind == JINJA_NONE || separator.kind == JINJA_UNDEFINED)
        return how(s, *self.s, NULL, max);
    if (separator.kind != JINJA_STRING)
        return jinja_fail(s, LLMOS_EINVAL, "split takes a str, not a %s", jinja_type(separator));
    return how(s, *self.s, separator.s, max);
}

METHOD(str_split)
{
    return split(s, self, a, jinja_split);
}

METHOD(str_rsplit)
{
    return split(s, self, a, jinja_split_right);
}

METHOD(str_splitlines)
{
    return jinja_split_lines(s, *self.s, jinja_arg_true(s, a, 0, "keepends", false));
}

/* A range of characters as bytes, as the arguments `from` and `from + 1` say. */
static struct jinja_str ranged(struct jinja_store *s, struct jinja_str text, struct jinja_args *a,
                               size_t from)
{
    int64_t n = (int64_t)jinja_length(jinja_string(s, text));
    int64_t start = jinja_arg_int(s, a, from, "start", 0),
            end = jinja_arg_int(s, a, from + 1, "end", n);

    start = start < 0 ? (start + n < 0 ? 0 : start + n) : start > n ? n : start;
    end = end < 0 ? (end + n < 0 ? 0 : end + n) : end > n ? n : end;
    if (end < start)
        end = start;
    return jinja_part(text, jinja_offset(text, (size_t)start), jinja_offset(text, (size_t)end));
}

static bool has_end(struct jinja_str text, struct jinja_str end, bool at_start)
{
    return end.len <= text.len &&
           memcmp(at_start ? text.at : text.at + text.len - end.len, end.at, end.len) == 0;
}

static struct jinja_value has_any_end(struct jinja_store *s, struct jinja_value self,
                                      struct jinja_args *a, bool at_start)
{
    struct jinja_value what = jinja_arg(s, a, 0, "prefix");
    struct jinja_str text = a->count > 1 ? ranged(s, *self.s, a, 1) : *self.s;

    if (what.kind == JINJA_STRING)
        return JINJA_TRUTH(has_end(text, *what.s, at_start));
    if (what.kind != JINJA_LIST || what.list->row != ROW_TUPLE)
        return jinja_fail(s, LLMOS_EINVAL, "startswith and endswith take a str or a tuple of them");
    for (size_t i = 0; i < what.list->count; i++)
        if (what.list->at[i].kind == JINJA_STRING && has_end(text, *what.list->at[i].s, at_start))
            return JINJA_TRUTH(true);
    return JINJA_TRUTH(false);
}

METHOD(str_startswith)
{
    return has_any_end(s, self, a, true);
}

METHOD(str_endswith)
{
    return has_any_end(s, self, a, false);
}

static struct jinja_value without_end(struct jinja_store *s, struct jinja_value self,
                                      struct jinja_args *a, bool at_start)
{
    struct jinja_str end = jinja_arg_text(s, a, 0, "prefix", ""), text = *self.s;

    if (has_end(text, end, at_start))
        text = at_start ? jinja_part(text, end.len, text.len)
                        : jinja_part(text, 0, text.len - end.len);
    return text_of(s, self, text);
}

METHOD(str_removeprefix)
{
    return without_end(s, self, a, true);
}

METHOD(str_removesuffix)
{
    return without_end(s, self, a, false);
}

#define CASE_METHOD(name, which)                                 \
    METHOD(str_##name)                                           \
    {                                                            \
        struct jinja_value v = jinja_in_case(s, *self.s, which); \
                                                                 \
        (void)a;                                                 \
        v.is_safe = self.is_safe;                                \
        return v;                                                \
    }
CASE_METHOD(upper, CASE_UPPER)
CASE_METHOD(lower, CASE_LOWER)
CASE_METHOD(title, CASE_TITLE)
CASE_METHOD(capitalize, CASE_CAPITALIZE)
CASE_METHOD(swapcase, CASE_SWAP)

METHOD(str_replace)
{
    struct jinja_value old = jinja_arg(s, a, 0, "old"), new = jinja_arg(s, a, 1, "new");

    if (old.kind != JINJA_STRING || new.kind != JINJA_STRING)
        return jinja_fail(s, LLMOS_EINVAL, "replace takes two strs");
    return jinja_replace(s, *self.s, *old.s, *new.s, jinja_arg_int(s, a, 2, "count", -1));
}

METHOD(str_count)
{
    struct jinja_str what = jinja_arg_text(s, a, 0, "sub", "");

    return JINJA_NUMBER(jinja_count(s, ranged(s, *self.s, a, 1), what));
}

/* The place of a part as a number of characters, -1 if it is not there. */
static int64_t place(struct jinja_store *s, struct jinja_value self, struct jinja_args *a,
                     bool last)
{
    struct jinja_str what = jinja_arg_text(s, a, 0, "sub", ""), text = ranged(s, *self.s, a, 1);
    size_t at;

    if (!jinja_work(s, last ? text.len * 4 : text.len))
        return -1;
    at = last ? jinja_find_last(text, what) : jinja_find(text, what, 0);
    if (at == TEXT_NOT_FOUND)
        return -1;
    at += (size_t)(text.at - self.s->at);
    return jinja_length(jinja_string(s, jinja_part(*self.s, 0, at)));
}

METHOD(str_find)
{
    return JINJA_NUMBER(place(s, self, a, false));
}

METHOD(str_rfind)
{
    return JINJA_NUMBER(place(s, self, a, true));
}

METHOD(str_index)
{
    int64_t at = place(s, self, a, false);

    return at < 0 ? jinja_fail(s, LLMOS_EINVAL, "substring not found") : JINJA_NUMBER(at);
}

METHOD(str_join)
{
    struct jinja_list *list = jinja_iterate(s, jinja_arg(s, a, 0, "iterable"));
    struct jinja_build b;

    jinja_build_init(&b, s);
    for (size_t i = 0; list && i < list->count && s->rc == 0; i++) {
        if (list->at[i].kind != JINJA_STRING)
            jinja_fail(s, LLMOS_EINVAL, "join needs strs, here is a %s", jinja_type(list->at[i]));
        if (i)
            jinja_put(&b, *self.s);
        jinja_put_str(&b, list->at[i]);
    }
    return jinja_built(&b);
}

/* partition and rpartition */
static struct jinja_value part_in_three(struct jinja_store *s, struct jinja_value self,
                                        struct jinja_args *a, bool last)
{
    struct jinja_str what = jinja_arg_text(s, a, 0, "sep", ""), text = *self.s,
                     none = JINJA_STR("");
    struct jinja_value out = jinja_list(s, ROW_TUPLE, 3);
    size_t at;

    if (what.len == 0)
        return jinja_fail(s, LLMOS_EINVAL, "an empty separator");
    if (!jinja_work(s, last ? text.len * 4 : text.len))
        return JINJA_NOTHING;
    at = last ? jinja_find_last(text, what) : jinja_find(text, what, 0);
    if (at == TEXT_NOT_FOUND) {
        jinja_append(s, out, jinja_string(s, last ? none : text));
        jinja_append(s, out, jinja_string(s, none));
        jinja_append(s, out, jinja_string(s, last ? text : none));
        return out;
    }
    jinja_append(s, out, jinja_string(s, jinja_part(text, 0, at)));
    jinja_append(s, out, jinja_string(s, jinja_part(text, at, at + what.len)));
    jinja_append(s, out, jinja_string(s, jinja_part(text, at + what.len, text.len)));
    return out;
}

METHOD(str_partition)
{
    return part_in_three(s, self, a, false);
}

METHOD(str_rpartition)
{
    return part_in_three(s, self, a, true);
}

static struct jinja_value all_are(struct jinja_str text, bool (*claim)(uint32_t))
{
    for (size_t i = 0; i < text.len; i += jinja_char_bytes(text, i))
        if (!claim(jinja_char(text, i)))
            return JINJA_TRUTH(false);
    return JINJA_TRUTH(text.len > 0);
}

#define CLAIM_METHOD(name, claim)        \
    METHOD(str_##name)                   \
    {                                    \
        (void)a;                         \
        if (!jinja_work(s, self.s->len)) \
            return JINJA_NOTHING;        \
        return all_are(*self.s, claim);  \
    }
CLAIM_METHOD(isdigit, unicode_is_digit)
CLAIM_METHOD(isalpha, unicode_is_alpha)
CLAIM_METHOD(isalnum, unicode_is_alnum)
CLAIM_METHOD(isspace, jinja_is_space)

METHOD(str_isupper)
{
    return jinja_call(s, jinja_test(STR("upper")), self, a);
}

METHOD(str_islower)
{
    return jinja_call(s, jinja_test(STR("lower")), self, a);
}

/* ljust, rjust, center, zfill: how many of the missing characters go to the left. */
static struct jinja_value pad(struct jinja_store *s, struct jinja_value self, int64_t width,
                              struct jinja_str fill, int64_t left, int64_t missing)
{
    struct jinja_build b;

    (void)width;
    jinja_build_init(&b, s);
    for (int64_t i = 0; i < left && s->rc == 0; i++)
        jinja_put(&b, fill);
    jinja_put(&b, *self.s);
    for (int64_t i = left; i < missing && s->rc == 0; i++)
        jinja_put(&b, fill);
    return jinja_built(&b);
}

METHOD(str_ljust)
{
    int64_t width = jinja_arg_int(s, a, 0, "width", 0), missing = width - jinja_length(self);

    return pad(s, self, width, jinja_arg_text(s, a, 1, "fillchar", " "), 0, missing);
}

METHOD(str_rjust)
{
    int64_t width = jinja_arg_int(s, a, 0, "width", 0), missing = width - jinja_length(self);

    return pad(s, self, width, jinja_arg_text(s, a, 1, "fillchar", " "), missing, missing);
}

METHOD(str_center)
{
    int64_t width = jinja_arg_int(s, a, 0, "width", 0), missing = width - jinja_length(self);
    int64_t left = missing / 2 + (missing & width & 1);

    return pad(s, self, width, jinja_arg_text(s, a, 1, "fillchar", " "), left, missing);
}

METHOD(str_zfill)
{
    int64_t missing = jinja_arg_int(s, a, 0, "width", 0) - jinja_length(self);
    bool is_signed = self.s->len && (self.s->at[0] == '-' || self.s->at[0] == '+');
    struct jinja_build b;

    jinja_build_init(&b, s);
    jinja_put(&b, jinja_part(*self.s, 0, is_signed));
    for (; missing > 0 && s->rc == 0; missing--)
        jinja_put_text(&b, STR("0"), false);
    jinja_put(&b, jinja_part(*self.s, is_signed, self.s->len));
    return jinja_built(&b);
}

/* One {} of str.format, without a format of its own. */
static struct jinja_value field(struct jinja_store *s, struct jinja_str name, size_t *next,
                                struct jinja_args *a)
{
    size_t i = 0;
    struct jinja_value *v;

    if (name.len == 0)
        i = (*next)++;
    else if (name.at[0] >= '0' && name.at[0] <= '9' && name.len < 4)
        for (size_t k = 0; k < name.len; k++)
            i = i * 10 + (size_t)(unsigned char)(name.at[k] - '0');
    else {
        v = a->named.kind == JINJA_DICT
                ? jinja_get_name(s, a->named, (struct str){name.at, name.len})
                : NULL;
        return v ? *v
                 : jinja_fail(s, LLMOS_EINVAL, "format has no argument '%.*s'",
                              (int)(name.len < 40 ? name.len : 40), name.at);
    }
    return i < a->count ? a->at[i] : jinja_fail(s, LLMOS_EINVAL, "format has too few arguments");
}

METHOD(str_format)
{
    struct jinja_build b;
    size_t next = 0, from = 0;

    jinja_build_init(&b, s);
    for (size_t at = 0; at < self.s->len && s->rc == 0; at++) {
        char c = self.s->at[at];
        size_t end;

        if (c != '{' && c != '}')
            continue;
        jinja_put(&b, jinja_part(*self.s, from, at));
        if (at + 1 < self.s->len && self.s->at[at + 1] == c) {
            from = ++at;
            continue;
        }
        end = jinja_find(*self.s, JINJA_STR("}"), at);
        if (c == '}' || end == TEXT_NOT_FOUND) {
            jinja_fail(s, LLMOS_EINVAL, "a single '%c' in a format string", c);
            break;
        }
        jinja_put_str(&b, field(s, jinja_part(*self.s, at + 1, end), &next, a));
        at = end;
        from = end + 1;
    }
    jinja_put(&b, jinja_part(*self.s, from, self.s->len));
    return jinja_built(&b);
}

static const struct jinja_function str_methods[] = {
    JINJA_ROW(str, strip, 1),          JINJA_ROW(str, lstrip, 1),
    JINJA_ROW(str, rstrip, 1),         JINJA_ROW(str, split, 2),
    JINJA_ROW(str, rsplit, 2),         JINJA_ROW(str, splitlines, 1),
    JINJA_ROW(str, startswith, 3),     JINJA_ROW(str, endswith, 3),
    JINJA_ROW(str, removeprefix, 1),   JINJA_ROW(str, removesuffix, 1),
    JINJA_ROW(str, upper, 0),          JINJA_ROW(str, lower, 0),
    JINJA_ROW(str, title, 0),          JINJA_ROW(str, capitalize, 0),
    JINJA_ROW(str, swapcase, 0),       JINJA_ROW(str, replace, 3),
    JINJA_ROW(str, count, 3),          JINJA_ROW(str, find, 3),
    JINJA_ROW(str, rfind, 3),          JINJA_ROW(str, index, 3),
    JINJA_ROW(str, join, 1),           JINJA_ROW(str, partition, 1),
    JINJA_ROW(str, rpartition, 1),     JINJA_ROW(str, isdigit, 0),
    JINJA_ROW(str, isalpha, 0),        JINJA_ROW(str, isalnum, 0),
    JINJA_ROW(str, isspace, 0),        JINJA_ROW(str, isupper, 0),
    JINJA_ROW(str, islower, 0),        JINJA_ROW(str, ljust, 2),
    JINJA_ROW(str, rjust, 2),          JINJA_ROW(str, center, 2),
    JINJA_ROW(str, zfill, 1),          {"format", str_format, JINJA_ARGS_ANY, true},
    {"casefold", str_lower, 0, false},
};

/* ---- dicts ---- */

METHOD(dict_get)
{
    struct jinja_value *v = jinja_get(s, self, jinja_arg(s, a, 0, "key"));
    struct jinja_value otherwise = a->count > 1 ? a->at[1] : JINJA_NIL;

    return v ? *v : otherwise;
}

METHOD(dict_keys)
{
    struct jinja_value out = jinja_list(s, ROW_KEYS, self.dict->count);

    (void)a;
    for (size_t i = 0; i < self.dict->count && s->rc == 0; i++)
        jinja_append(s, out, self.dict->at[i].key);
    return out;
}

METHOD(dict_values)
{
    struct jinja_value out = jinja_list(s, ROW_VALUES, self.dict->count);

    (void)a;
    for (size_t i = 0; i < self.dict->count && s->rc == 0; i++)
        jinja_append(s, out, self.dict->at[i].value);
    return out;
}

METHOD(dict_items)
{
    struct jinja_value out = jinja_list(s, ROW_ITEMS, self.dict->count);

    (void)a;
    for (size_t i = 0; i < self.dict->count && jinja_work(s, 0); i++)
        jinja_append(s, out, jinja_pair(s, self.dict->at[i].key, self.dict->at[i].value));
    return out;
}

METHOD(dict_copy)
{
    struct jinja_value out = jinja_dict(s);

    (void)a;
    for (size_t i = 0; i < self.dict->count && s->rc == 0; i++)
        jinja_set(s, out, self.dict->at[i].key, self.dict->at[i].value);
    return out;
}

/* The sandbox of transformers lets no template change a list or a dict, not even its own; nor does
 * this, and so no list is ever inside itself. */
METHOD(refused)
{
    (void)a;
    return jinja_fail(s, LLMOS_EDENIED, "a template may not change a %s in this way",
                      jinja_type(self));
}

static const struct jinja_function dict_methods[] = {
    JINJA_ROW(dict, get, 2),
    JINJA_ROW(dict, keys, 0),
    JINJA_ROW(dict, values, 0),
    JINJA_ROW(dict, items, 0),
    JINJA_ROW(dict, copy, 0),
    {"update", refused, JINJA_ARGS_ANY, true},
    {"pop", refused, JINJA_ARGS_ANY, true},
    {"popitem", refused, JINJA_ARGS_ANY, true},
    {"setdefault", refused, JINJA_ARGS_ANY, true},
    {"clear", refused, JINJA_ARGS_ANY, true},
    {"fromkeys", refused, JINJA_ARGS_ANY, true},
};

/* ---- lists ---- */

METHOD(list_index)
{
    for (size_t i = 0; i < self.list->count && s->rc == 0; i++)
        if (jinja_equal(s, self.list->at[i], jinja_arg(s, a, 0, "value")))
            return JINJA_NUMBER(i);
    return jinja_fail(s, LLMOS_EINVAL, "the value is not in the list");
}

METHOD(list_count)
{
    int64_t n = 0;

    for (size_t i = 0; i < self.list->count && s->rc == 0; i++)
        n += jinja_equal(s, self.list->at[i], jinja_arg(s, a, 0, "value"));
    return JINJA_NUMBER(n);
}

METHOD(list_copy)
{
    struct jinja_value out = jinja_list(s, ROW_LIST, self.list->count);

    (void)a;
    for (size_t i = 0; i < self.list->count && s->rc == 0; i++)
        jinja_append(s, out, self.list->at[i]);
    return out;
}

/* The first two serve tuples and ranges as well. */
static const struct jinja_function list_methods[] = {
    JINJA_ROW(list, index, 1),
    JINJA_ROW(list, count, 1),
    JINJA_ROW(list, copy, 0),
    {"append", refused, JINJA_ARGS_ANY, true},
    {"pop", refused, JINJA_ARGS_ANY, true},
    {"extend", refused, JINJA_ARGS_ANY, true},
    {"insert", refused, JINJA_ARGS_ANY, true},
    {"remove", refused, JINJA_ARGS_ANY, true},
    {"reverse", refused, JINJA_ARGS_ANY, true},
    {"sort", refused, JINJA_ARGS_ANY, true},
    {"clear", refused, JINJA_ARGS_ANY, true},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

const struct jinja_function *jinja_method(struct jinja_value of, struct str name)
{
    if (of.kind == JINJA_STRING)
        return jinja_find_function(str_methods, COUNT(str_methods), name);
    if (of.kind == JINJA_DICT)
        return jinja_find_function(dict_methods, COUNT(dict_methods), name);
    if (of.kind == JINJA_LIST && of.list->row == ROW_LIST)
        return jinja_find_function(list_methods, COUNT(list_methods), name);
    if (of.kind == JINJA_LIST && of.list->row <= ROW_RANGE)
        return jinja_find_function(list_methods, 2, name);
    return NULL;
}
