/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_json.c - see jinja_json.h; RFC 8259 */
#include "model/jinja_json.h"

#include "base/utf8.h"
#include "model/jinja_text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- reading ---- */

struct reading {
    struct jinja_store *s;
    struct str text;
    size_t at;
    unsigned depth;
};

static struct jinja_value read_value(struct reading *r);

static struct jinja_value refuse(struct reading *r, const char *why)
{
    return jinja_fail(r->s, LLMOS_EFORMAT, "byte %zu of the JSON: %s", r->at, why);
}

static char look(const struct reading *r)
{
    return r->at < r->text.len ? r->text.at[r->at] : '\0';
}

static void skip_blanks(struct reading *r)
{
    while (r->at < r->text.len && strchr(" \t\r\n", r->text.at[r->at]) && r->text.at[r->at])
        r->at++;
}

static bool skip(struct reading *r, char c)
{
    bool is;

    skip_blanks(r);
    is = r->s->rc == 0 && look(r) == c && r->at < r->text.len;
    r->at += is;
    return is;
}

/* Four digits behind \u; -1: they are none. */
static int32_t read_unit(struct reading *r)
{
    uint32_t unit = 0;

    for (int i = 0; i < 4; i++, r->at++) {
        static const char hex[] = "0123456789abcdef";
        char c = look(r);
        const char *digit = c ? strchr(hex, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;

        if (!digit)
            return -1;
        unit = unit << 4 | (uint32_t)(digit - hex);
    }
    return (int32_t)unit;
}

static void put_character(struct jinja_build *b, uint32_t c)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    char out[4];

    if (c >= 0xd800 && c < 0xe000)
        c = 0xfffd; /* half a pair */
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(lead[n] | c);
    jinja_put_text(b, (struct str){out, n}, true);
}

static void read_escape(struct reading *r, struct jinja_build *b)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    char c = look(r);
    const char *name = c ? strchr(names, c) : NULL;
    int32_t unit, low;
    size_t back;

    r->at++;
    if (name) {
        jinja_put_text(b, (struct str){meant + (name - names), 1}, true);
        return;
    }
    unit = c == 'u' ? read_unit(r) : -1;
    if (unit < 0) {
        refuse(r, "a backslash with nothing that may follow it");
        return;
    }
    back = r->at;
    if (unit >= 0xd800 && unit < 0xdc00 && look(r) == '\\' && r->at + 1 < r->text.len &&
        r->text.at[r->at + 1] == 'u') {
        r->at += 2;
        low = read_unit(r);
        if (low >= 0xdc00 && low < 0xe000)
            unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        else
            r->at = back;
    }
    put_character(b, (uint32_t)unit);
}

/* The quote is skipped. */
static struct jinja_value read_string(struct reading *r)
{
    struct jinja_build b;

    jinja_build_init(&b, r->s);
    while (r->s->rc == 0 && look(r) != '"') {
        size_t from = r->at;

        if (look(r) == '\\') {
            r->at++;
            read_escape(r, &b);
            continue;
        }
        while ((unsigned char)look(r) >= 0x20 && look(r) != '"' && look(r) != '\\')
            r->at++;
        if (r->at == from)
            refuse(r, "a string has no end, or a control character in it");
        jinja_put_text(&b, (struct str){r->text.at + from, r->at - from}, true);
    }
    r->at++;
    return jinja_built(&b);
}

static size_t count_digits(struct reading *r)
{
    size_t from = r->at;

    while (look(r) >= '0' && look(r) <= '9')
        r->at++;
    return r->at - from;
}

static struct jinja_value read_number(struct reading *r)
{
    size_t from = r->at, n;
    bool is_real = false;
    char text[400];
    struct jinja_value v;

    r->at += look(r) == '-';
    n = count_digits(r);
    if (n == 0 || (n > 1 && r->text.at[r->at - n] == '0'))
        return refuse(r, "no value");
    if (look(r) == '.') {
        is_real = true;
        r->at++;
        if (count_digits(r) == 0)
            return refuse(r, "a number ends in its point");
    }
    if (look(r) == 'e' || look(r) == 'E') {
        is_real = true;
        r->at++;
        r->at += look(r) == '+' || look(r) == '-';
        if (count_digits(r) == 0)
            return refuse(r, "a number ends in its exponent");
    }
    n = r->at - from;
    if (n >= sizeof(text))
        return refuse(r, "a number of more than 400 digits");
    memcpy(text, r->text.at + from, n);
    text[n] = '\0';
    errno = 0;
    v = is_real ? JINJA_REAL(strtod(text, NULL)) : JINJA_NUMBER(strtoll(text, NULL, 10));
    v.said = true;
    if (is_real ? !isfinite(v.f) : errno == ERANGE)
        return refuse(r, "a number that is too large");
    return v;
}

static struct jinja_value read_array(struct reading *r)
{
    struct jinja_value list = jinja_list(r->s, ROW_LIST, 0);

    if (skip(r, ']'))
        return list;
    do
        jinja_append(r->s, list, read_value(r));
    while (skip(r, ','));
    return skip(r, ']') ? list : refuse(r, "an array has no end");
}

static struct jinja_value read_object(struct reading *r)
{
    struct jinja_value dict = jinja_dict(r->s), key;

    if (skip(r, '}'))
        return dict;
    do {
        if (!skip(r, '"'))
            return refuse(r, "a key in quotes is expected");
        key = read_string(r);
        if (r->s->rc == 0 && jinja_get(r->s, dict, key))
            return refuse(r, "a key comes twice");
        if (!skip(r, ':'))
            return refuse(r, "a colon is expected");
        jinja_set(r->s, dict, key, read_value(r));
    } while (skip(r, ','));
    return skip(r, '}') ? dict : refuse(r, "an object has no end");
}

static struct jinja_value read_word(struct reading *r)
{
    static const struct {
        const char *name;
        struct jinja_value value;
    } words[] = {{"true", {.kind = JINJA_BOOL, .b = true}},
                 {"false", {.kind = JINJA_BOOL, .b = false}},
                 {"null", {.kind = JINJA_NONE}}};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct str word = str_of(words[i].name);

        if (!str_starts((struct str){r->text.at + r->at, r->text.len - r->at}, word))
            continue;
        r->at += word.len;
        return words[i].value;
    }
    return read_number(r);
}

static struct jinja_value read_value(struct reading *r)
{
    struct jinja_value v;

    if (r->depth >= JINJA_JSON_DEPTH_MAX)
        return refuse(r, "nested too deep");
    if (!jinja_enter(r->s))
        return JINJA_NOTHING;
    r->depth++;
    if (skip(r, '"'))
        v = read_string(r);
    else if (skip(r, '['))
        v = read_array(r);
    else if (skip(r, '{'))
        v = read_object(r);
    else
        v = read_word(r);
    r->depth--;
    jinja_leave(r->s);
    return r->s->rc < 0 ? JINJA_NOTHING : v;
}

struct jinja_value jinja_read_json(struct jinja_store *s, struct str text)
{
    struct reading r = {.s = s, .text = text};
    struct jinja_value v;

    if (utf8_valid_bytes(text) != text.len)
        return jinja_fail(s, LLMOS_EFORMAT, "the JSON is not UTF-8");
    v = read_value(&r);
    skip_blanks(&r);
    return s->rc == 0 && r.at < text.len ? refuse(&r, "something follows the value") : v;
}

/* ---- writing ---- */

struct writing {
    struct jinja_build *b;
    const struct jinja_json_style *style;
    unsigned depth;
};

static void put_value(struct writing *w, struct jinja_value v);

/* A character that may not stand in a JSON string as it is. */
static void put_json_escape(struct jinja_build *b, uint32_t c, bool said)
{
    static const char names[] = "\"\\\n\r\t\f\b", letters[] = "\"\\nrtfb";
    const char *name = c && c < 0x80 ? strchr(names, (int)c) : NULL;
    char text[16];

    if (name)
        snprintf(text, sizeof(text), "\\%c", letters[name - names]);
    else if (c < 0x10000)
        snprintf(text, sizeof(text), "\\u%04" PRIx32, c);
    else
        snprintf(text, sizeof(text), "\\u%04" PRIx32 "\\u%04" PRIx32,
                 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
    jinja_put_text(b, str_of(text), said);
}

static void put_string(struct writing *w, struct jinja_str text)
{
    size_t from = 0, at = 0;

    jinja_put_text(w->b, STR("\""), false);
    while (at < text.len && w->b->store->rc == 0) {
        size_t n = jinja_char_bytes(text, at);
        uint32_t c = jinja_char(text, at);

        if (c < 0x20 || c == '"' || c == '\\' || (w->style->ascii && c >= 0x7f)) {
            jinja_put(w->b, jinja_part(text, from, at));
            put_json_escape(w->b, c, text.said && text.said[at]);
            from = at + n;
        }
        at += n;
    }
    jinja_put(w->b, jinja_part(text, from, text.len));
    jinja_put_text(w->b, STR("\""), false);
}

static void put_line(struct writing *w)
{
    if (!w->style->indent)
        return;
    jinja_put_text(w->b, STR("\n"), false);
    for (unsigned i = 0; i < w->depth; i++)
        jinja_put(w->b, *w->style->indent);
}

static void put_array(struct writing *w, const struct jinja_list *list)
{
    jinja_put_text(w->b, STR("["), false);
    w->depth++;
    for (size_t i = 0; i < list->count && w->b->store->rc == 0; i++) {
        if (i)
            jinja_put(w->b, w->style->item_separator);
        put_line(w);
        put_value(w, list->at[i]);
    }
    w->depth--;
    if (list->count)
        put_line(w);
    jinja_put_text(w->b, STR("]"), false);
}

/* Keys that are no strings are written as ones. */
static void put_key(struct writing *w, struct jinja_value key)
{
    if (key.kind == JINJA_STRING) {
        put_string(w, *key.s);
        return;
    }
    if (key.kind >= JINJA_LIST || key.kind == JINJA_UNDEFINED) {
        jinja_fail(w->b->store, LLMOS_EINVAL, "a %s cannot be a key in JSON", jinja_type(key));
        return;
    }
    jinja_put_text(w->b, STR("\""), false);
    put_value(w, key);
    jinja_put_text(w->b, STR("\""), false);
}

/* The entries in the order of their keys, which must be strings or numbers. */
static struct jinja_dict *sorted(struct jinja_store *s, const struct jinja_dict *dict)
{
    struct jinja_dict *out = jinja_alloc(s, 1, sizeof(*out));

    if (!out)
        return NULL;
    out->at = jinja_alloc(s, dict->count + 1, sizeof(*out->at));
    for (size_t i = 0; out->at && i < dict->count; i++) {
        size_t k = out->count++;

        for (; k > 0 && jinja_compare(s, out->at[k - 1].key, dict->at[i].key) > 0; k--)
            out->at[k] = out->at[k - 1];
        out->at[k] = dict->at[i];
    }
    return out;
}

static void put_object(struct writing *w, const struct jinja_dict *dict)
{
    if (w->style->sort_keys)
        dict = sorted(w->b->store, dict);
    jinja_put_text(w->b, STR("{"), false);
    w->depth++;
    for (size_t i = 0; w->b->store->rc == 0 && i < dict->count; i++) {
        if (i)
            jinja_put(w->b, w->style->item_separator);
        put_line(w);
        put_key(w, dict->at[i].key);
        jinja_put(w->b, w->style->key_separator);
        put_value(w, dict->at[i].value);
    }
    w->depth--;
    if (w->b->store->rc == 0 && dict->count)
        put_line(w);
    jinja_put_text(w->b, STR("}"), false);
}

static void put_real(struct writing *w, struct jinja_value v)
{
    if (isnan(v.f))
        jinja_put_text(w->b, STR("NaN"), v.said);
    else if (isinf(v.f))
        jinja_put_text(w->b, v.f > 0 ? STR("Infinity") : STR("-Infinity"), v.said);
    else
        jinja_put_str(w->b, v);
}

static void put_value(struct writing *w, struct jinja_value v)
{
    if (!jinja_enter(w->b->store))
        return;
    if (v.kind == JINJA_NONE)
        jinja_put_text(w->b, STR("null"), false);
    else if (v.kind == JINJA_BOOL)
        jinja_put_text(w->b, v.b ? STR("true") : STR("false"), false);
    else if (v.kind == JINJA_INT)
        jinja_put_str(w->b, v);
    else if (v.kind == JINJA_FLOAT)
        put_real(w, v);
    else if (v.kind == JINJA_STRING)
        put_string(w, *v.s);
    else if (v.kind == JINJA_LIST && v.list->row <= ROW_TUPLE)
        put_array(w, v.list);
    else if (v.kind == JINJA_DICT)
        put_object(w, v.dict);
    else
        jinja_fail(w->b->store, LLMOS_EINVAL, "a value of type %s cannot be written as JSON",
                   jinja_type(v));
    jinja_leave(w->b->store);
}

void jinja_put_json(struct jinja_build *b, struct jinja_value v,
                    const struct jinja_json_style *style)
{
    struct writing w = {.b = b, .style = style};

    put_value(&w, v);
}
