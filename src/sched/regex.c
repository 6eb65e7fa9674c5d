/* SPDX-License-Identifier: Apache-2.0 */
/* regex.c - see regex.h */
#include "sched/regex.h"

#include "base/utf8.h"

#include <stdio.h>

#define RANGES_MAX 512
#define CODE_MAX   0x10FFFFu

struct range {
    uint32_t low, high;
};

struct set {
    struct range at[RANGES_MAX];
    size_t count;
    bool is_full; /* too many */
};

struct parse {
    struct buf *out;
    struct str text;
    size_t at;
    enum regex_mode mode;
    struct llmos_error *err;
    unsigned depth;
    bool has_atom; /* something that a repetition may follow */
    bool at_start; /* of an alternative of the whole */
    struct set set;
};

static int broken(struct parse *p, const char *what)
{
    return fail(p->err, LLMOS_EFORMAT, "the regular expression, at byte %zu: %s", p->at, what);
}

static int unsupported(struct parse *p, const char *what)
{
    return fail(p->err, LLMOS_EUNSUPPORTED, "the regular expression, at byte %zu: %s", p->at, what);
}

static int peek(const struct parse *p, size_t n)
{
    return p->at + n < p->text.len ? (unsigned char)p->text.at[p->at + n] : -1;
}

/* --- sets of characters --- */

static void add(struct set *s, uint32_t low, uint32_t high)
{
    if (s->count == RANGES_MAX)
        s->is_full = true;
    else
        s->at[s->count++] = (struct range){low, high};
}

/* In order and apart.  Few: an insertion sort. */
static void tidy(struct set *s)
{
    size_t kept = 0;

    for (size_t i = 1; i < s->count; i++)
        for (size_t k = i; k > 0 && s->at[k].low < s->at[k - 1].low; k--) {
            struct range swap = s->at[k];

            s->at[k] = s->at[k - 1];
            s->at[k - 1] = swap;
        }
    for (size_t i = 0; i < s->count; i++) {
        if (kept && s->at[i].low <= s->at[kept - 1].high + 1) {
            if (s->at[i].high > s->at[kept - 1].high)
                s->at[kept - 1].high = s->at[i].high;
        } else {
            s->at[kept++] = s->at[i];
        }
    }
    s->count = kept;
}

static void negate(struct set *s)
{
    struct set was = *s;
    uint32_t next = 0;

    tidy(&was);
    *s = (struct set){.is_full = was.is_full};
    for (size_t i = 0; i < was.count; i++) {
        if (was.at[i].low > next)
            add(s, next, was.at[i].low - 1);
        next = was.at[i].high + 1;
    }
    if (next <= CODE_MAX)
        add(s, next, CODE_MAX);
}

static void remove_range(struct set *s, uint32_t low, uint32_t high)
{
    negate(s);
    add(s, low, high);
    negate(s);
}

static bool has(const struct set *s, uint32_t c)
{
    for (size_t i = 0; i < s->count; i++)
        if (c >= s->at[i].low && c <= s->at[i].high)
            return true;
    return false;
}

/* \d \w \s as ECMAScript has them; the capital is the opposite.  Not all dialects count the same
 * blanks: only those of ASCII are written, but where they are excluded, all are. */
static bool add_named(struct set *s, int name, bool is_excluded)
{
    static const struct range digit[] = {{'0', '9'}};
    static const struct range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct range space[] = {
        {9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    const struct {
        int name;
        const struct range *at;
        size_t count;
    } names[] = {
        {'d', digit, 1}, {'w', word, 4}, {'s', space, is_excluded || name == 'S' ? 10 : 2}};
    struct set one = {.count = 0};

    for (size_t i = 0; i < 3; i++) {
        if (names[i].name != (name | 0x20))
            continue;
        for (size_t k = 0; k < names[i].count; k++)
            add(&one, names[i].at[k].low, names[i].at[k].high);
        if (name != names[i].name)
            negate(&one);
        for (size_t k = 0; k < one.count; k++)
            add(s, one.at[k].low, one.at[k].high);
        return true;
    }
    return false;
}

/* --- what is written --- */

static void put_code(struct buf *out, uint32_t c)
{
    bool is_plain =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == ' ';

    if (is_plain)
        buf_putc(out, (char)c);
    else
        buf_printf(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

void regex_put_literal(struct buf *out, struct str text)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];

        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
            buf_printf(out, "\\x%02x", c);
        else
            buf_putc(out, (char)c);
    }
    buf_putc(out, '"');
}

/* The last byte is taken back; a bad buffer may have none. */
static void drop_last(struct buf *out)
{
    if (!out->bad)
        out->len--;
}

static void put_range(struct buf *out, uint32_t low, uint32_t high)
{
    if (low > high)
        return;
    put_code(out, low);
    if (low < high) {
        buf_putc(out, '-');
        put_code(out, high);
    }
}

/* Halves of characters in UTF-16 are none. */
static bool put_class(struct buf *out, const struct set *s)
{
    size_t before;

    buf_putc(out, '[');
    before = out->len;
    for (size_t i = 0; i < s->count; i++) {
        uint32_t low = s->at[i].low, high = s->at[i].high;

        put_range(out, low, high < 0xD7FF ? high : 0xD7FF);
        put_range(out, low > 0xE000 ? low : 0xE000, high);
    }
    if (out->len == before) {
        drop_last(out);
        return out->bad;
    }
    buf_putc(out, ']');
    return true;
}

/* In a JSON string quotes, backslashes and control characters are escaped.  A control character
 * without a short name is written only where the set has nothing else: nobody wants it. */
static bool put_json_set(struct buf *out, struct set *s)
{
    static const char codes[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    struct set raw = *s;
    char short_names[8];
    size_t count = 0;
    bool any;

    for (size_t i = 0; i < sizeof(codes) - 1; i++)
        if (has(s, (unsigned char)codes[i]))
            short_names[count++] = names[i];
    remove_range(&raw, 0, 0x1F);
    remove_range(&raw, '"', '"');
    remove_range(&raw, '\\', '\\');
    buf_putc(out, '(');
    any = put_class(out, &raw);
    if (count) {
        buf_puts(out, any ? " | \"\\\\\" [" : "\"\\\\\" [");
        for (size_t i = 0; i < count; i++)
            put_code(out, (unsigned char)short_names[i]);
        buf_putc(out, ']');
        any = true;
    }
    for (uint32_t c = 0; c < 0x20 && !any && count == 0; c++)
        if (has(s, c)) {
            buf_printf(out, "\"\\\\u%04x\"", c);
            any = true;
        }
    buf_putc(out, ')');
    return any;
}

static int put_set(struct parse *p)
{
    struct set *s = &p->set;
    bool any;

    if (s->is_full)
        return fail(p->err, LLMOS_ELIMIT, "the regular expression has a class of too many ranges");
    tidy(s);
    any = p->mode == REGEX_WHOLE ? put_class(p->out, s) : put_json_set(p->out, s);
    if (!any)
        return broken(p, "a class that no character is in");
    buf_putc(p->out, ' ');
    p->has_atom = true;
    return 0;
}

static void put_anything(struct parse *p)
{
    struct set all = {.count = 1, .at = {{0, CODE_MAX}}};

    p->set = all;
    put_set(p);
    drop_last(p->out); /* the repetition follows */
    buf_puts(p->out, "* ");
}

/* --- characters --- */

static int hex_digits(struct parse *p, size_t count, uint32_t *code)
{
    uint32_t v = 0;

    for (size_t i = 0; i < count; i++, p->at++) {
        int c = peek(p, 0), low = c | 0x20;

        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if (low >= 'a' && low <= 'f')
            v = v << 4 | (uint32_t)(low - 'a' + 10);
        else
            return broken(p, "\\x wants 2 hexadecimal digits and \\u 4");
    }
    *code = v;
    return 0;
}

/* Behind a backslash. */
static int read_escape(struct parse *p, bool in_class, uint32_t *code)
{
    static const char names[] = "tnrfv0", codes[] = "\t\n\r\f\v";
    int c = peek(p, 0);
    const char *found = c > 0 ? strchr(names, c) : NULL;

    if (c < 0)
        return broken(p, "the pattern ends with a backslash");
    p->at++;
    if (c == 'x')
        return hex_digits(p, 2, code);
    if (c == 'u')
        return hex_digits(p, 4, code);
    if (c == 'b' && in_class) {
        *code = 8;
        return 0;
    }
    if (found && !(c == '0' && peek(p, 0) >= '0' && peek(p, 0) <= '9')) {
        *code = (unsigned char)codes[found - names];
        return 0;
    }
    if ((c >= '0' && c <= '9') || c == 'k')
        return unsupported(p, "a reference back to a group is not supported");
    if (c == 'b' || c == 'B' || c == 'A' || c == 'Z' || c == 'z' || c == 'G')
        return unsupported(p, "\\b, \\A and the like say where something stands, which is not "
                              "supported");
    if (c == 'p' || c == 'P')
        return unsupported(p, "\\p{...} is not supported; write the characters as a class");
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c > 0x7F)
        return broken(p, "an escape that is not known");
    *code = (uint32_t)c;
    return 0;
}

static int read_code(struct parse *p, bool in_class, uint32_t *code)
{
    size_t n = utf8_length((struct str){p->text.at + p->at, p->text.len - p->at});
    unsigned char c = (unsigned char)p->text.at[p->at];

    if (c == '\\') {
        p->at++;
        return read_escape(p, in_class, code);
    }
    *code = n > 1 ? c & (0x7Fu >> n) : c;
    for (size_t i = 1; i < n; i++)
        *code = *code << 6 | ((unsigned char)p->text.at[p->at + i] & 0x3Fu);
    p->at += n;
    return 0;
}

static int read_class_part(struct parse *p, bool is_negated)
{
    uint32_t low, high;
    int rc;

    if (peek(p, 0) == '[' && (peek(p, 1) == ':' || peek(p, 1) == '.' || peek(p, 1) == '='))
        return unsupported(p, "[:name:] is not supported; write the characters");
    if (peek(p, 0) == '\\' && peek(p, 1) > 0 && add_named(&p->set, peek(p, 1), is_negated)) {
        p->at += 2;
        return 0;
    }
    rc = read_code(p, true, &low);
    high = low;
    if (rc == 0 && peek(p, 0) == '-' && peek(p, 1) >= 0 && peek(p, 1) != ']') {
        p->at++;
        if (peek(p, 0) == '\\' && strchr("dwsDWS", peek(p, 1)))
            return broken(p, "a range in a class has no end");
        rc = read_code(p, true, &high);
    }
    if (rc < 0)
        return rc;
    if (high < low)
        return broken(p, "a range in a class ends before it begins");
    add(&p->set, low, high);
    return 0;
}

static int read_class(struct parse *p)
{
    bool is_negated = peek(p, 1) == '^';

    p->at += is_negated ? 2 : 1;
    p->set = (struct set){.count = 0};
    while (peek(p, 0) != ']') {
        int rc;

        if (peek(p, 0) < 0)
            return broken(p, "a class has no closing ']'");
        rc = read_class_part(p, is_negated);
        if (rc < 0)
            return rc;
        if (p->set.count > RANGES_MAX / 2)
            tidy(&p->set);
    }
    p->at++;
    if (is_negated)
        negate(&p->set);
    return put_set(p);
}

static int read_character(struct parse *p)
{
    uint32_t code;
    int rc;

    p->set = (struct set){.count = 0};
    if (peek(p, 0) == '\\' && peek(p, 1) > 0 && add_named(&p->set, peek(p, 1), false)) {
        p->at += 2;
        return put_set(p);
    }
    rc = read_code(p, false, &code);
    if (rc < 0)
        return rc;
    add(&p->set, code, code);
    return put_set(p);
}

static int read_dot(struct parse *p)
{
    p->at++;
    p->set = (struct set){.count = 0};
    add(&p->set, '\n', '\n');
    add(&p->set, '\r', '\r');
    add(&p->set, 0x2028, 0x2029);
    negate(&p->set);
    return put_set(p);
}

/* --- repetitions and groups --- */

static int read_count(struct parse *p, uint64_t *out)
{
    if (peek(p, 0) < '0' || peek(p, 0) > '9')
        return broken(p, "'{' begins a repetition {m,n} here; the character is written \\{");
    for (*out = 0; peek(p, 0) >= '0' && peek(p, 0) <= '9'; p->at++)
        *out = *out > 1000000 ? *out : *out * 10 + (uint64_t)(peek(p, 0) - '0');
    return 0;
}

static int read_counts(struct parse *p)
{
    uint64_t least, most;
    int rc;

    p->at++;
    rc = read_count(p, &least);
    if (rc < 0)
        return rc;
    buf_printf(p->out, "{%llu", (unsigned long long)least);
    if (peek(p, 0) == ',') {
        p->at++;
        buf_putc(p->out, ',');
        if (peek(p, 0) != '}') {
            rc = read_count(p, &most);
            if (rc < 0)
                return rc;
            if (most < least)
                return broken(p, "a repetition whose most is less than its least");
            buf_printf(p->out, "%llu", (unsigned long long)most);
        }
    }
    if (peek(p, 0) != '}')
        return broken(p, "a repetition has no closing '}'");
    p->at++;
    buf_putc(p->out, '}');
    return 0;
}

static int read_repetition(struct parse *p)
{
    int rc = 0;

    if (!p->has_atom)
        return broken(p, "a repetition stands behind nothing that it could repeat");
    drop_last(p->out); /* the blank */
    if (peek(p, 0) == '{') {
        rc = read_counts(p);
    } else {
        buf_putc(p->out, (char)peek(p, 0));
        p->at++;
    }
    if (rc == 0 && peek(p, 0) == '+')
        return unsupported(p, "possessive repetitions are not supported");
    if (rc == 0 && peek(p, 0) == '?')
        p->at++; /* lazy: the same texts match */
    buf_putc(p->out, ' ');
    p->has_atom = false;
    return rc;
}

/* What may stand behind "(": nothing, ?: or a name. */
static int read_group_kind(struct parse *p)
{
    size_t name;

    if (peek(p, 0) != '?')
        return 0;
    if (peek(p, 1) == ':') {
        p->at += 2;
        return 0;
    }
    name = peek(p, 1) == 'P' ? 2 : 1;
    if (peek(p, 1) == '=' || peek(p, 1) == '!' ||
        (peek(p, name) == '<' && (peek(p, name + 1) == '=' || peek(p, name + 1) == '!')))
        return unsupported(p, "looking ahead or behind is not supported");
    if (peek(p, name) != '<')
        return unsupported(p, "(?...) is not supported but for (?:...) and names");
    for (p->at += name + 1; peek(p, 0) != '>'; p->at++)
        if (peek(p, 0) < 0)
            return broken(p, "the name of a group has no end");
    p->at++;
    return 0;
}

static int open_group(struct parse *p)
{
    if (++p->depth > REGEX_GROUPS_MAX)
        return fail(p->err, LLMOS_ELIMIT,
                    "the regular expression has more than %d groups in groups", REGEX_GROUPS_MAX);
    p->at++;
    buf_puts(p->out, "( ");
    p->has_atom = false;
    return read_group_kind(p);
}

static int close_group(struct parse *p)
{
    if (p->depth == 0)
        return broken(p, "a ')' that closes nothing");
    p->depth--;
    p->at++;
    buf_puts(p->out, ") ");
    p->has_atom = true;
    return 0;
}

/* --- alternatives of the whole --- */

static void begin_alternative(struct parse *p)
{
    p->has_atom = false;
    if (peek(p, 0) == '^')
        p->at++;
    else if (p->mode == REGEX_JSON_PART)
        put_anything(p);
    p->has_atom = false;
}

static void end_alternative(struct parse *p, bool is_anchored)
{
    if (!is_anchored && p->mode == REGEX_JSON_PART)
        put_anything(p);
}

static int read_bar(struct parse *p)
{
    p->at++;
    if (p->depth == 0)
        end_alternative(p, false);
    buf_puts(p->out, "| ");
    p->has_atom = false;
    if (p->depth == 0)
        begin_alternative(p);
    return 0;
}

/* "$" ends an alternative of the whole; what follows is read here, too. */
static int read_end(struct parse *p)
{
    if (p->depth > 0 || (peek(p, 1) >= 0 && peek(p, 1) != '|'))
        return unsupported(p, "'$' is supported at the end of the whole only");
    p->at++;
    if (peek(p, 0) != '|')
        return 0;
    p->at++;
    buf_puts(p->out, "| ");
    begin_alternative(p);
    return 0;
}

static int read_one(struct parse *p)
{
    switch (peek(p, 0)) {
    case '|':
        return read_bar(p);
    case '(':
        return open_group(p);
    case ')':
        return close_group(p);
    case '[':
        return read_class(p);
    case '.':
        return read_dot(p);
    case '*':
    case '+':
    case '?':
    case '{':
        return read_repetition(p);
    case '^':
        return unsupported(p, "'^' is supported at the beginning of the whole only");
    case '$':
        return read_end(p);
    default:
        return read_character(p);
    }
}

int regex_put(struct buf *out, struct str pattern, enum regex_mode mode, struct llmos_error *err)
{
    struct parse p = {.out = out, .text = pattern, .mode = mode, .err = err};
    bool is_anchored = false;
    int rc = 0;

    if (pattern.len > REGEX_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "the regular expression has %zu bytes, at most %d are accepted", pattern.len,
                    REGEX_BYTES_MAX);
    if (utf8_valid_bytes(pattern) < pattern.len)
        return fail(err, LLMOS_EFORMAT, "the regular expression is not UTF-8 at byte %zu",
                    utf8_valid_bytes(pattern));
    buf_puts(out, "( ");
    begin_alternative(&p);
    while (rc == 0 && p.at < pattern.len && !out->bad) {
        is_anchored = peek(&p, 0) == '$';
        rc = read_one(&p);
    }
    if (rc == 0 && p.depth > 0)
        rc = broken(&p, "a group has no closing ')'");
    if (rc < 0)
        return rc;
    end_alternative(&p, is_anchored && pattern.at[pattern.len - 1] == '$');
    buf_puts(out, ")");
    return buf_check(out, "the grammar of the regular expression", err);
}
