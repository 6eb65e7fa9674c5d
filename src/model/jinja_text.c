/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_text.c - see jinja_text.h */
#include "model/jinja_text.h"

#include "base/utf8.h"
#include "model/unicode.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- characters ---- */

size_t jinja_char_bytes(struct jinja_str text, size_t at)
{
    unsigned char c = (unsigned char)text.at[at];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    return n > text.len - at ? text.len - at : n;
}

uint32_t jinja_char(struct jinja_str text, size_t at)
{
    size_t n = jinja_char_bytes(text, at);
    unsigned char c = (unsigned char)text.at[at];
    uint32_t code = n == 1 ? c : c & (0x7fu >> n);

    for (size_t i = 1; i < n; i++)
        code = code << 6 | ((unsigned char)text.at[at + i] & 0x3f);
    return code;
}

struct jinja_str jinja_part(struct jinja_str text, size_t from, size_t to)
{
    return (struct jinja_str){text.at + from, text.said ? text.said + from : NULL, to - from};
}

size_t jinja_offset(struct jinja_str text, size_t n)
{
    size_t at = 0;

    while (n-- > 0 && at < text.len)
        at += jinja_char_bytes(text, at);
    return at;
}

bool jinja_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 ||
           c == 0x202f || c == 0x205f || c == 0x3000;
}

/* ---- looking ---- */

static bool strips(struct jinja_str text, size_t at, size_t n, const struct jinja_str *chars)
{
    if (!chars)
        return jinja_is_space(jinja_char(text, at));
    for (size_t i = 0; i < chars->len; i += jinja_char_bytes(*chars, i))
        if (chars->len - i >= n && jinja_char_bytes(*chars, i) == n &&
            memcmp(chars->at + i, text.at + at, n) == 0)
            return true;
    return false;
}

struct jinja_str jinja_strip(struct jinja_str text, const struct jinja_str *chars, int sides)
{
    size_t from = 0, to = text.len;

    while ((sides & STRIP_LEFT) && from < to) {
        size_t n = jinja_char_bytes(text, from);

        if (!strips(text, from, n, chars))
            break;
        from += n;
    }
    while ((sides & STRIP_RIGHT) && to > from) {
        size_t at = to - 1;

        while (at > from && ((unsigned char)text.at[at] & 0xc0) == 0x80)
            at--;
        if (!strips(text, at, to - at, chars))
            break;
        to = at;
    }
    return jinja_part(text, from, to);
}

size_t jinja_find(struct jinja_str text, struct jinja_str what, size_t from)
{
    const char *at;

    if (from > text.len)
        return TEXT_NOT_FOUND;
    at = memmem(text.at + from, text.len - from, what.at, what.len);
    return at ? (size_t)(at - text.at) : TEXT_NOT_FOUND;
}

size_t jinja_find_last(struct jinja_str text, struct jinja_str what)
{
    for (size_t at = what.len > text.len ? 0 : text.len - what.len + 1; at-- > 0;)
        if (memcmp(text.at + at, what.at, what.len) == 0)
            return at;
    return TEXT_NOT_FOUND;
}

size_t jinja_count(struct jinja_store *s, struct jinja_str text, struct jinja_str what)
{
    size_t count = 0;

    if (!jinja_work(s, text.len))
        return 0;
    if (what.len == 0)
        return utf8_count((struct str){text.at, text.len}) + 1;
    for (size_t at = 0; (at = jinja_find(text, what, at)) != TEXT_NOT_FOUND; at += what.len)
        count++;
    return count;
}

/* ---- cutting and joining ---- */

/* An empty `old` stands before every character and at the end. */
static struct jinja_value insert_between(struct jinja_store *s, struct jinja_str text,
                                         struct jinja_str new, int64_t max)
{
    struct jinja_build b;
    size_t at = 0;

    jinja_build_init(&b, s);
    while (at < text.len && max != 0 && s->rc == 0) {
        size_t n = jinja_char_bytes(text, at);

        jinja_put(&b, new);
        jinja_put(&b, jinja_part(text, at, at + n));
        at += n;
        max -= max > 0;
    }
    if (at == text.len && max != 0)
        jinja_put(&b, new);
    jinja_put(&b, jinja_part(text, at, text.len));
    return jinja_built(&b);
}

struct jinja_value jinja_replace(struct jinja_store *s, struct jinja_str text, struct jinja_str old,
                                 struct jinja_str new, int64_t max)
{
    struct jinja_build b;
    size_t from = 0, at;

    if (old.len == 0)
        return insert_between(s, text, new, max);
    jinja_build_init(&b, s);
    while (max != 0 && s->rc == 0 && (at = jinja_find(text, old, from)) != TEXT_NOT_FOUND) {
        jinja_put(&b, jinja_part(text, from, at));
        jinja_put(&b, new);
        from = at + old.len;
        max -= max > 0;
    }
    jinja_put(&b, jinja_part(text, from, text.len));
    return jinja_built(&b);
}

static void append_part(struct jinja_store *s, struct jinja_value list, struct jinja_str text,
                        size_t from, size_t to)
{
    if (jinja_work(s, 0))
        jinja_append(s, list, jinja_string(s, jinja_part(text, from, to)));
}

static struct jinja_value split_at_spaces(struct jinja_store *s, struct jinja_str text, int64_t max)
{
    struct jinja_value list = jinja_list(s, ROW_LIST, 0);

    text = jinja_strip(text, NULL, STRIP_LEFT);
    while (text.len && max != 0 && s->rc == 0) {
        size_t to = 0;

        while (to < text.len && !jinja_is_space(jinja_char(text, to)))
            to += jinja_char_bytes(text, to);
        append_part(s, list, text, 0, to);
        text = jinja_strip(jinja_part(text, to, text.len), NULL, STRIP_LEFT);
        max -= max > 0;
    }
    if (text.len)
        append_part(s, list, text, 0, text.len);
    return list;
}

struct jinja_value jinja_split(struct jinja_store *s, struct jinja_str text,
                               const struct jinja_str *separator, int64_t max)
{
    struct jinja_value list;
    size_t from = 0, at;

    if (!jinja_work(s, text.len))
        return JINJA_NOTHING;
    if (!separator)
        return split_at_spaces(s, text, max);
    if (separator->len == 0)
        return jinja_fail(s, LLMOS_EINVAL, "an empty separator");
    list = jinja_list(s, ROW_LIST, 0);
    while (max != 0 && s->rc == 0 && (at = jinja_find(text, *separator, from)) != TEXT_NOT_FOUND) {
        append_part(s, list, text, from, at);
        from = at + separator->len;
        max -= max > 0;
    }
    append_part(s, list, text, from, text.len);
    return list;
}

/* The last separator in front of `text`'s end, and where it begins in *from. */
static bool last_separator(struct jinja_str text, const struct jinja_str *separator, size_t *from,
                           size_t *to)
{
    struct jinja_str rest;

    if (separator) {
        *from = jinja_find_last(text, *separator);
        *to = *from + separator->len;
        return *from != TEXT_NOT_FOUND;
    }
    *to = text.len;
    while (*to > 0) {
        size_t at = *to - 1;

        while (at > 0 && ((unsigned char)text.at[at] & 0xc0) == 0x80)
            at--;
        if (jinja_is_space(jinja_char(text, at)))
            break;
        *to = at;
    }
    rest = jinja_strip(jinja_part(text, 0, *to), NULL, STRIP_RIGHT);
    *from = rest.len;
    return rest.len > 0;
}

struct jinja_value jinja_split_right(struct jinja_store *s, struct jinja_str text,
                                     const struct jinja_str *separator, int64_t max)
{
    struct jinja_value parts, list;
    size_t from, to;

    if (max < 0)
        return jinja_split(s, text, separator, max);
    if (separator && separator->len == 0)
        return jinja_fail(s, LLMOS_EINVAL, "an empty separator");
    if (!separator)
        text = jinja_strip(text, NULL, STRIP_RIGHT);
    parts = jinja_list(s, ROW_LIST, 0);
    for (; max > 0 && last_separator(text, separator, &from, &to); max--) {
        if (!jinja_work(s, text.len - from))
            break;
        append_part(s, parts, text, to, text.len);
        text = jinja_part(text, 0, from);
    }
    if (!separator && max > 0) /* nothing is left to part */
        text = jinja_strip(text, NULL, STRIP_LEFT);
    if (separator || text.len)
        append_part(s, parts, text, 0, text.len);
    list = jinja_list(s, ROW_LIST, 0);
    for (size_t i = s->rc < 0 ? 0 : parts.list->count; i-- > 0;)
        jinja_append(s, list, parts.list->at[i]);
    return list;
}

static bool ends_line(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

struct jinja_value jinja_split_lines(struct jinja_store *s, struct jinja_str text, bool keep_ends)
{
    struct jinja_value list = jinja_list(s, ROW_LIST, 0);
    size_t from = 0, at = 0;

    if (!jinja_work(s, text.len))
        return JINJA_NOTHING;
    while (at < text.len && s->rc == 0) {
        size_t n = jinja_char_bytes(text, at);
        uint32_t c = jinja_char(text, at);

        if (!ends_line(c)) {
            at += n;
            continue;
        }
        if (c == '\r' && at + 1 < text.len && text.at[at + 1] == '\n')
            n = 2;
        append_part(s, list, text, from, keep_ends ? at + n : at);
        from = at = at + n;
    }
    if (from < text.len)
        append_part(s, list, text, from, text.len);
    return list;
}

/* ---- letters ---- */

/* One character in another case: who said it said all that it becomes. */
static void put_letter(struct jinja_build *b, struct jinja_str text, size_t at,
                       enum unicode_form form)
{
    uint32_t in = jinja_char(text, at), forms[UNICODE_FORM_MAX];
    size_t count = unicode_in(in, form, forms), n = 0;
    char out[4 * UNICODE_FORM_MAX];
    unsigned char said[sizeof(out)];

    for (size_t i = 0; i < count; i++)
        n += unicode_put(forms[i], out + n);
    memset(said, text.said && text.said[at], n);
    jinja_put(b, (struct jinja_str){out, text.said ? said : NULL, n});
}

/* Does the filter "title" begin a word behind this one? */
static bool parts_words(uint32_t c)
{
    return jinja_is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

static enum unicode_form form_of(enum jinja_case which, uint32_t c, bool begins)
{
    switch (which) {
    case CASE_UPPER:
        return UNICODE_UPPER;
    case CASE_LOWER:
        return UNICODE_LOWER;
    case CASE_SWAP:
        return unicode_is_lower(c)   ? UNICODE_UPPER
               : unicode_is_upper(c) ? UNICODE_LOWER
                                     : UNICODE_SAME;
    case CASE_WORDS:
        return begins ? UNICODE_UPPER : UNICODE_LOWER;
    default:
        return begins ? UNICODE_TITLE : UNICODE_LOWER;
    }
}

struct jinja_value jinja_in_case(struct jinja_store *s, struct jinja_str text,
                                 enum jinja_case which)
{
    struct jinja_build b;
    bool begins = true;

    jinja_build_init(&b, s);
    for (size_t at = 0; at < text.len && s->rc == 0; at += jinja_char_bytes(text, at)) {
        uint32_t c = jinja_char(text, at);

        put_letter(&b, text, at, form_of(which, c, begins));
        begins = which == CASE_TITLE   ? !unicode_is_upper(c) && !unicode_is_lower(c)
                 : which == CASE_WORDS ? parts_words(c)
                                       : false;
    }
    return jinja_built(&b);
}

/* ---- quoting ---- */

static void put_escape(struct jinja_build *b, uint32_t c, bool said)
{
    char text[16];

    if (c == '\n' || c == '\r' || c == '\t')
        snprintf(text, sizeof(text), "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c < 0x100)
        snprintf(text, sizeof(text), "\\x%02" PRIx32, c);
    else
        snprintf(text, sizeof(text), c < 0x10000 ? "\\u%04" PRIx32 : "\\U%08" PRIx32, c);
    jinja_put_text(b, str_of(text), said);
}

void jinja_put_quoted(struct jinja_build *b, struct jinja_str text)
{
    bool doubled = text.len && memchr(text.at, '\'', text.len) && !memchr(text.at, '"', text.len);
    struct str quote = doubled ? STR("\"") : STR("'");
    size_t from = 0, at = 0;

    jinja_put_text(b, quote, false);
    while (at < text.len && b->store->rc == 0) {
        size_t n = jinja_char_bytes(text, at);
        uint32_t c = jinja_char(text, at);
        bool is_plain = unicode_is_printable(c),
             is_slashed = c == '\\' || c == (uint32_t)quote.at[0];

        if (is_plain && !is_slashed) {
            at += n;
            continue;
        }
        jinja_put(b, jinja_part(text, from, at));
        if (is_slashed) {
            jinja_put_text(b, STR("\\"), false);
            jinja_put(b, jinja_part(text, at, at + n));
        } else {
            put_escape(b, c, text.said && text.said[at]);
        }
        from = at = at + n;
    }
    jinja_put(b, jinja_part(text, from, text.len));
    jinja_put_text(b, quote, false);
}

struct jinja_value jinja_escape(struct jinja_store *s, struct jinja_str text)
{
    static const char marks[] = "&<>\"'";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
    struct jinja_build b;
    struct jinja_value v;
    size_t from = 0;

    jinja_build_init(&b, s);
    for (size_t at = 0; at < text.len && s->rc == 0; at++) {
        const char *mark = text.at[at] ? strchr(marks, text.at[at]) : NULL;

        if (!mark)
            continue;
        jinja_put(&b, jinja_part(text, from, at));
        jinja_put_text(&b, str_of(names[mark - marks]), text.said && text.said[at]);
        from = at + 1;
    }
    jinja_put(&b, jinja_part(text, from, text.len));
    v = jinja_built(&b);
    v.is_safe = true;
    return v;
}
