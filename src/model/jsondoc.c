/* SPDX-License-Identifier: Apache-2.0 */
/* jsondoc.c - see jsondoc.h */
#include "model/jsondoc.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "model/sortindex.h"
#include "model/unicode.h"

#include <math.h>
#include <stdlib.h>

struct parser {
    struct jsondoc *doc;
    struct arena *arena;
    struct str text;
    size_t at;
    uint32_t room;
    struct jdoc_value *values; /* on the heap until the end */
    uint32_t open[JSONDOC_DEPTH_MAX];
    unsigned depth;
    struct llmos_error *err;
    const char *name;
};

/* ---- where and what ---- */

static int refuse(struct parser *p, int code, const char *what)
{
    size_t line = 1, column = 1;

    for (size_t i = 0; i < p->at && i < p->text.len; i++) {
        column = p->text.at[i] == '\n' ? 1 : column + 1;
        line += p->text.at[i] == '\n';
    }
    return fail(p->err, code, "'%s', line %zu, column %zu: %s", p->name, line, column, what);
}

static int bad(struct parser *p, const char *what)
{
    return refuse(p, LLMOS_EFORMAT, what);
}

static int peek(const struct parser *p)
{
    return p->at < p->text.len ? (unsigned char)p->text.at[p->at] : -1;
}

static void skip_space(struct parser *p)
{
    while (p->at < p->text.len && memchr(" \t\r\n", p->text.at[p->at], 4))
        p->at++;
}

static int add(struct parser *p, struct jdoc_value v)
{
    uint32_t n = p->doc->count;

    if (n == p->room) {
        uint32_t room = p->room ? 2 * p->room : 64;
        struct jdoc_value *grown;

        if (room > JSONDOC_VALUES_MAX)
            return refuse(p, LLMOS_ELIMIT, "more than 8388608 values");
        grown = mem_resize(p->values, room, sizeof(*grown));
        if (!grown)
            return refuse(p, LLMOS_ENOMEM, "no memory for the values");
        p->values = grown;
        p->room = room;
    }
    v.end = n + 1;
    p->values[n] = v;
    p->doc->count++;
    return 0;
}

/* ---- strings ---- */

static int hex4(const struct parser *p, size_t at)
{
    int v = 0;

    if (at > p->text.len || p->text.len - at < 4)
        return -1;
    for (size_t i = 0; i < 4; i++) {
        char c = p->text.at[at + i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;

        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* Behind "\u"; the bytes written, at most 4, which is less than was read; 0 if it is wrong. */
static size_t take_unicode(struct parser *p, char *to)
{
    int high = hex4(p, p->at), low;

    if (high <= 0 || (high >= 0xdc00 && high < 0xe000))
        return 0;
    p->at += 4;
    if (high < 0xd800 || high >= 0xe000)
        return unicode_put((uint32_t)high, to);
    if (p->text.len - p->at < 6 || p->text.at[p->at] != '\\' || p->text.at[p->at + 1] != 'u')
        return 0;
    low = hex4(p, p->at + 2);
    if (low < 0xdc00 || low >= 0xe000)
        return 0;
    p->at += 6;
    return unicode_put(0x10000 + (((uint32_t)high - 0xd800) << 10) + ((uint32_t)low - 0xdc00), to);
}

/* Behind the backslash. */
static size_t take_escape(struct parser *p, char *to)
{
    static const char from[] = "\"\\/bfnrt", plain[] = "\"\\/\b\f\n\r\t";
    int c = peek(p);
    const char *known = c > 0 ? strchr(from, c) : NULL;

    if (c < 0)
        return 0;
    p->at++;
    if (c == 'u')
        return take_unicode(p, to);
    if (!known)
        return 0;
    *to = plain[known - from];
    return 1;
}

/* The length of the raw string whose first byte is at p->at, its closing quote not counted. */
static int scan_string(struct parser *p, size_t *length, bool *has_escapes)
{
    size_t start = p->at;

    *has_escapes = false;
    for (;;) {
        int c = peek(p);
        size_t n = 1;

        if (c < 0)
            return bad(p, "the text ends within a string");
        if (c == '"')
            break;
        if (c < 0x20)
            return bad(p, "a control character in a string");
        if (c == '\\') {
            *has_escapes = true;
            n = p->text.len - p->at >= 2 ? 2 : 1;
        } else if (c >= 0x80) {
            n = utf8_length((struct str){p->text.at + p->at, p->text.len - p->at});
            if (n == 0)
                return bad(p, "bytes that are not UTF-8");
        }
        p->at += n;
    }
    *length = p->at - start;
    p->at = start;
    return 0;
}

static int unescape(struct parser *p, size_t length, struct jdoc_value *v)
{
    size_t end = p->at + length, n = 0;
    char *to = arena_alloc(p->arena, length ? length : 1);

    if (!to)
        return refuse(p, LLMOS_ENOMEM, "no memory for a string");
    while (p->at < end) {
        size_t wrote = 1;

        if (p->text.at[p->at] != '\\') {
            to[n++] = p->text.at[p->at++];
            continue;
        }
        p->at++;
        wrote = take_escape(p, to + n);
        if (wrote == 0 || p->at > end)
            return bad(p, "an escape that JSON does not know, U+0000 or half a surrogate pair");
        n += wrote;
    }
    v->at = to;
    v->count = (uint32_t)n;
    return 0;
}

static int take_string(struct parser *p)
{
    struct jdoc_value v = {.type = JDOC_STRING};
    bool has_escapes;
    size_t length = 0;
    int rc;

    p->at++;
    rc = scan_string(p, &length, &has_escapes);
    if (rc < 0)
        return rc;
    if (has_escapes) {
        rc = unescape(p, length, &v);
        if (rc < 0)
            return rc;
    } else {
        v.at = p->text.at + p->at;
        v.count = (uint32_t)length;
        p->at += length;
    }
    p->at++;
    return add(p, v);
}

/* ---- numbers and words ---- */

static size_t digits(struct parser *p)
{
    size_t start = p->at;

    while (peek(p) >= '0' && peek(p) <= '9')
        p->at++;
    return p->at - start;
}

/* True if it has the form that JSON demands; *is_integer: neither fraction nor exponent. */
static bool scan_number(struct parser *p, bool *is_integer)
{
    size_t n, first;

    *is_integer = true;
    p->at += peek(p) == '-';
    first = p->at;
    n = digits(p);
    if (n == 0 || (n > 1 && p->text.at[first] == '0'))
        return false;
    if (peek(p) == '.') {
        *is_integer = false;
        p->at++;
        if (digits(p) == 0)
            return false;
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        *is_integer = false;
        p->at++;
        p->at += peek(p) == '-' || peek(p) == '+';
        if (digits(p) == 0)
            return false;
    }
    return true;
}

static int take_number(struct parser *p)
{
    char copy[400]; /* 2^1023 has 309 digits */
    size_t start = p->at, n;
    struct jdoc_value v = {.type = JDOC_NUMBER};
    bool is_integer;

    if (!scan_number(p, &is_integer))
        return bad(p, "not a number");
    n = p->at - start;
    if (n >= sizeof(copy))
        return bad(p, "a number of more than 399 characters");
    memcpy(copy, p->text.at + start, n);
    copy[n] = '\0';
    v.f = strtod(copy, NULL);
    if (!isfinite(v.f))
        return bad(p, "a number that is too large");
    if (is_integer && fabs(v.f) < 9.2e18) {
        v.type = JDOC_INTEGER;
        v.i = strtoll(copy, NULL, 10);
    }
    return add(p, v);
}

static int take_word(struct parser *p)
{
    static const struct {
        const char *word;
        struct jdoc_value value;
    } words[] = {{"null", {.type = JDOC_NULL}},
                 {"true", {.type = JDOC_BOOL, .i = 1}},
                 {"false", {.type = JDOC_BOOL, .i = 0}}};

    for (size_t i = 0; i < 3; i++) {
        size_t n = strlen(words[i].word);

        if (p->text.len - p->at >= n && memcmp(p->text.at + p->at, words[i].word, n) == 0) {
            p->at += n;
            return add(p, words[i].value);
        }
    }
    return bad(p, peek(p) < 0 ? "the text ends where a value should stand"
                              : "neither a value nor a word that JSON knows");
}

/* ---- containers ---- */

static int open_container(struct parser *p, int c)
{
    int rc;

    if (p->depth == JSONDOC_DEPTH_MAX)
        return refuse(p, LLMOS_ELIMIT, "nested more than 64 levels deep");
    p->open[p->depth++] = p->doc->count;
    p->at++;
    rc = add(p, (struct jdoc_value){.type = c == '{' ? JDOC_OBJECT : JDOC_ARRAY});
    return rc;
}

static bool key_before(const void *table, uint32_t a, uint32_t b)
{
    const struct jdoc_value *x = (const struct jdoc_value *)table + a;
    const struct jdoc_value *y = (const struct jdoc_value *)table + b;
    int c = memcmp(x->at, y->at, x->count < y->count ? x->count : y->count);

    return c != 0 ? c < 0 : x->count < y->count;
}

/* Sorted, because a table by hash could be made slow by whoever chose the keys. */
static int check_keys(struct parser *p, uint32_t object)
{
    const struct jdoc_value *v = p->values;
    uint32_t n = v[object].count, i = 0;
    CLEANUP(free) uint32_t *keys = n > 1 ? mem_alloc(n * sizeof(*keys)) : NULL;

    if (n < 2)
        return 0;
    if (!keys)
        return refuse(p, LLMOS_ENOMEM, "no memory to compare the keys of an object");
    for (uint32_t at = object + 1; at < v[object].end; at = v[at + 1].end)
        keys[i++] = at;
    sortindex(keys, n, key_before, v);
    for (i = 1; i < n; i++)
        if (!key_before(v, keys[i - 1], keys[i]))
            return fail(p->err, LLMOS_EFORMAT, "'%s': key '%.*s' stands twice in one object",
                        p->name, (int)(v[keys[i]].count & 0xff), v[keys[i]].at);
    return 0;
}

static int close_container(struct parser *p)
{
    uint32_t at = p->open[--p->depth];

    p->at++;
    p->values[at].end = p->doc->count;
    return p->values[at].type == JDOC_OBJECT ? check_keys(p, at) : 0;
}

static int take_key(struct parser *p)
{
    int rc;

    skip_space(p);
    if (peek(p) != '"')
        return bad(p, "a key in quotes should stand here");
    rc = take_string(p);
    if (rc < 0)
        return rc;
    skip_space(p);
    if (peek(p) != ':')
        return bad(p, "':' should stand here");
    p->at++;
    return 0;
}

/* One value, or the beginning of a container. */
static int take_value(struct parser *p)
{
    int c;

    skip_space(p);
    c = peek(p);
    if (c == '{' || c == '[')
        return open_container(p, c);
    if (c == '"')
        return take_string(p);
    return c == '-' || (c >= '0' && c <= '9') ? take_number(p) : take_word(p);
}

/* Within the innermost container: its end, or what leads to its next value.  1: a value follows. */
static int go_on(struct parser *p)
{
    struct jdoc_value *open = &p->values[p->open[p->depth - 1]];
    bool is_object = open->type == JDOC_OBJECT;

    skip_space(p);
    if (peek(p) == (is_object ? '}' : ']'))
        return close_container(p);
    if (open->count > 0) {
        if (peek(p) != ',')
            return bad(p,
                       is_object ? "',' or '}' should stand here" : "',' or ']' should stand here");
        p->at++;
    }
    open->count++;
    if (is_object) {
        int rc = take_key(p);

        if (rc < 0)
            return rc;
    }
    return 1;
}

static int parse(struct parser *p)
{
    int rc = take_value(p);

    while (rc >= 0 && p->depth > 0) {
        rc = go_on(p);
        if (rc == 1)
            rc = take_value(p);
    }
    skip_space(p);
    if (rc == 0 && p->at < p->text.len)
        rc = bad(p, "something follows the end of the value");
    return rc;
}

int jsondoc_parse(struct jsondoc *d, struct arena *arena, struct str text, const char *name,
                  struct llmos_error *err)
{
    struct jsondoc made = {.values = NULL};
    struct parser p = {.doc = &made, .arena = arena, .text = text, .err = err, .name = name};
    int rc;

    if (text.len > JSONDOC_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT, "'%s' has %zu bytes, at most %u are accepted", name,
                    text.len, JSONDOC_BYTES_MAX);
    if (text.len >= 3 && memcmp(text.at, "\xef\xbb\xbf", 3) == 0)
        p.at = 3; /* a mark of Windows editors */
    rc = parse(&p);
    if (rc == 0) {
        made.values = arena_array(arena, struct jdoc_value, made.count);
        if (made.values)
            memcpy(made.values, p.values, made.count * sizeof(*made.values));
        else
            rc = refuse(&p, LLMOS_ENOMEM, "no memory for the values");
    }
    mem_free(p.values);
    if (rc == 0)
        *d = made;
    return rc;
}

/* ---- questions ---- */

struct jdoc_ref jdoc_first(struct jdoc_ref c, struct str *key)
{
    const struct jdoc_value *v = jdoc_at(c);
    uint32_t at = c.at + 1;

    if (!v || v->type < JDOC_ARRAY || v->count == 0)
        return JDOC_ABSENT;
    if (v->type == JDOC_OBJECT) {
        if (key)
            *key = jdoc_text((struct jdoc_ref){c.doc, at});
        at++;
    }
    return (struct jdoc_ref){c.doc, at};
}

struct jdoc_ref jdoc_next(struct jdoc_ref c, struct jdoc_ref value, struct str *key)
{
    const struct jdoc_value *v = jdoc_at(c);
    uint32_t at = jdoc_at(value)->end;

    if (at >= v->end)
        return JDOC_ABSENT;
    if (v->type == JDOC_OBJECT) {
        if (key)
            *key = jdoc_text((struct jdoc_ref){c.doc, at});
        at++;
    }
    return (struct jdoc_ref){c.doc, at};
}

uint32_t jdoc_count(struct jdoc_ref c)
{
    const struct jdoc_value *v = jdoc_at(c);

    return v && v->type >= JDOC_ARRAY ? v->count : 0;
}

static struct jdoc_ref get(struct jdoc_ref object, struct str name)
{
    struct str key;

    if (!jdoc_is(object, JDOC_OBJECT))
        return JDOC_ABSENT;
    for (struct jdoc_ref v = jdoc_first(object, &key); jdoc_at(v); v = jdoc_next(object, v, &key))
        if (str_eq(key, name))
            return v;
    return JDOC_ABSENT;
}

struct jdoc_ref jdoc_get(struct jdoc_ref object, const char *key)
{
    return get(object, str_of(key));
}

struct jdoc_ref jdoc_path(struct jdoc_ref object, const char *path)
{
    while (*path && jdoc_at(object)) {
        size_t n = strcspn(path, ".");

        object = get(object, (struct str){path, n});
        path += n + (path[n] == '.');
    }
    return object;
}

struct str jdoc_text(struct jdoc_ref r)
{
    const struct jdoc_value *v = jdoc_at(r);

    return v && v->type == JDOC_STRING ? (struct str){v->at, v->count} : (struct str){NULL, 0};
}

bool jdoc_number(struct jdoc_ref r, double *out)
{
    const struct jdoc_value *v = jdoc_at(r);

    if (!v || (v->type != JDOC_INTEGER && v->type != JDOC_NUMBER))
        return false;
    *out = v->type == JDOC_INTEGER ? (double)v->i : v->f;
    return true;
}

bool jdoc_integer(struct jdoc_ref r, int64_t *out)
{
    const struct jdoc_value *v = jdoc_at(r);
    double whole;

    if (v && v->type == JDOC_INTEGER) {
        *out = v->i;
        return true;
    }
    if (!jdoc_number(r, &whole) || fabs(whole) > 9e15 || floor(whole) != whole)
        return false;
    *out = (int64_t)whole;
    return true;
}

bool jdoc_true(struct jdoc_ref r)
{
    return jdoc_is(r, JDOC_BOOL) && jdoc_at(r)->i;
}

const char *jdoc_type_name(struct jdoc_ref r)
{
    static const char *const names[] = {"null",     "a truth value", "a number", "a number",
                                        "a string", "an array",      "an object"};
    const struct jdoc_value *v = jdoc_at(r);

    return v ? names[v->type] : "nothing";
}
