/* SPDX-License-Identifier: Apache-2.0 */
/* regex.c - see regex.h */
#include "sched/regex.h"

#include "base/utf8.h"

#define MEMORY_MAX (16u << 20) /* of the parts of one expression: honest ones have kilobytes */

struct parse {
    struct regex *out;
    struct str text;
    size_t at;
    bool is_part; /* of a text, unless ^ and $ say otherwise */
    struct llmos_error *err;
    uint32_t open[REGEX_GROUPS_MAX]; /* groups that are not closed: their parts */
    unsigned depth;
    bool has_atom; /* something that a repetition may follow */
    struct charset set;
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

static uint32_t put(struct parse *p, enum regex_kind kind, uint32_t a, uint32_t b)
{
    const struct regex_part part = {kind, a, b};

    buf_put(&p->out->parts, &part, sizeof(part));
    return (uint32_t)regex_count(p->out) - 1;
}

/* --- sets of characters --- */

/* \d \w \s as ECMAScript has them; the capital is the opposite.  Not all dialects count the same
 * blanks: only those of ASCII are written, but where they are excluded, all are. */
static bool add_named(struct charset *s, int name, bool is_excluded)
{
    static const struct charset_range digit[] = {{'0', '9'}};
    static const struct charset_range word[] = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    static const struct charset_range space[] = {
        {9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    const struct {
        int name;
        const struct charset_range *at;
        size_t count;
    } names[] = {
        {'d', digit, 1}, {'w', word, 4}, {'s', space, is_excluded || name == 'S' ? 10 : 2}};
    struct charset one = {.count = 0};

    for (size_t i = 0; i < 3; i++) {
        if (names[i].name != (name | 0x20))
            continue;
        for (size_t k = 0; k < names[i].count; k++)
            charset_add(&one, names[i].at[k].low, names[i].at[k].high);
        if (name != names[i].name)
            charset_negate(&one);
        for (size_t k = 0; k < one.count; k++)
            charset_add(s, one.at[k].low, one.at[k].high);
        return true;
    }
    return false;
}

static int put_set(struct parse *p)
{
    struct charset *s = &p->set;
    uint32_t first = (uint32_t)(p->out->ranges.len / sizeof(*s->at));

    /* Room is left for what JSON makes of it. */
    if (s->is_full || s->count > CHARSET_RANGES_MAX - 8)
        return fail(p->err, LLMOS_ELIMIT, "the regular expression has a class of too many ranges");
    charset_tidy(s);
    if (s->count == 0)
        return broken(p, "a class that no character is in");
    buf_put(&p->out->ranges, s->at, s->count * sizeof(*s->at));
    put(p, REGEX_SET, first, (uint32_t)s->count);
    p->has_atom = true;
    return 0;
}

static void put_anything(struct parse *p)
{
    p->set = (struct charset){.count = 1, .at = {{0, CHARSET_CODE_MAX}}};
    put_set(p);
    put(p, REGEX_REPEAT, 0, REGEX_NO_END);
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
    *code = utf8_code(p->text.at + p->at, n);
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
    charset_add(&p->set, low, high);
    return 0;
}

static int read_class(struct parse *p)
{
    bool is_negated = peek(p, 1) == '^';

    p->at += is_negated ? 2 : 1;
    p->set = (struct charset){.count = 0};
    while (peek(p, 0) != ']') {
        int rc;

        if (peek(p, 0) < 0)
            return broken(p, "a class has no closing ']'");
        rc = read_class_part(p, is_negated);
        if (rc < 0)
            return rc;
        if (p->set.count > CHARSET_RANGES_MAX / 2)
            charset_tidy(&p->set);
    }
    p->at++;
    if (is_negated)
        charset_negate(&p->set);
    return put_set(p);
}

static int read_character(struct parse *p)
{
    uint32_t code;
    int rc;

    p->set = (struct charset){.count = 0};
    if (peek(p, 0) == '\\' && peek(p, 1) > 0 && add_named(&p->set, peek(p, 1), false)) {
        p->at += 2;
        return put_set(p);
    }
    rc = read_code(p, false, &code);
    if (rc < 0)
        return rc;
    charset_add(&p->set, code, code);
    return put_set(p);
}

static int read_dot(struct parse *p)
{
    p->at++;
    p->set = (struct charset){.count = 0};
    charset_add(&p->set, '\n', '\n');
    charset_add(&p->set, '\r', '\r');
    charset_add(&p->set, 0x2028, 0x2029);
    charset_negate(&p->set);
    return put_set(p);
}

/* --- repetitions and groups --- */

static int read_count(struct parse *p, uint32_t *out)
{
    if (peek(p, 0) < '0' || peek(p, 0) > '9')
        return broken(p, "'{' begins a repetition {m,n} here; the character is written \\{");
    for (*out = 0; peek(p, 0) >= '0' && peek(p, 0) <= '9'; p->at++)
        *out = *out > 1000000 ? *out : *out * 10 + (uint32_t)(peek(p, 0) - '0');
    return 0;
}

static int read_counts(struct parse *p, uint32_t *least, uint32_t *most)
{
    int rc;

    p->at++;
    rc = read_count(p, least);
    if (rc < 0)
        return rc;
    *most = *least;
    if (peek(p, 0) == ',') {
        p->at++;
        *most = REGEX_NO_END;
        if (peek(p, 0) != '}') {
            rc = read_count(p, most);
            if (rc < 0)
                return rc;
            if (*most < *least)
                return broken(p, "a repetition whose most is less than its least");
        }
    }
    if (peek(p, 0) != '}')
        return broken(p, "a repetition has no closing '}'");
    p->at++;
    return 0;
}

static int read_repetition(struct parse *p)
{
    int c = peek(p, 0), rc = 0;
    uint32_t least = c == '+', most = c == '?' ? 1 : REGEX_NO_END;

    if (!p->has_atom)
        return broken(p, "a repetition stands behind nothing that it could repeat");
    if (c == '{')
        rc = read_counts(p, &least, &most);
    else
        p->at++;
    if (rc == 0 && peek(p, 0) == '+')
        return unsupported(p, "possessive repetitions are not supported");
    if (rc == 0 && peek(p, 0) == '?')
        p->at++; /* lazy: the same texts match */
    put(p, REGEX_REPEAT, least, most);
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
    p->open[p->depth - 1] = put(p, REGEX_OPEN, 0, 0);
    p->has_atom = false;
    return read_group_kind(p);
}

static int close_group(struct parse *p)
{
    uint32_t open, close;

    if (p->depth == 0)
        return broken(p, "a ')' that closes nothing");
    open = p->open[--p->depth];
    p->at++;
    close = put(p, REGEX_CLOSE, open, 0);
    if (!p->out->parts.bad)
        ((struct regex_part *)(void *)p->out->parts.at)[open].a = close;
    p->has_atom = true;
    return 0;
}

/* --- alternatives of the whole --- */

static void begin_alternative(struct parse *p)
{
    p->has_atom = false;
    if (peek(p, 0) == '^')
        p->at++;
    else if (p->is_part)
        put_anything(p);
    p->has_atom = false;
}

static void end_alternative(struct parse *p, bool is_anchored)
{
    if (!is_anchored && p->is_part)
        put_anything(p);
}

static int read_bar(struct parse *p)
{
    p->at++;
    if (p->depth == 0)
        end_alternative(p, false);
    put(p, REGEX_BAR, 0, 0);
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
    put(p, REGEX_BAR, 0, 0);
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

static int parse(struct parse *p)
{
    bool is_anchored = false;
    int rc = 0;

    begin_alternative(p);
    while (rc == 0 && p->at < p->text.len && !p->out->parts.bad && !p->out->ranges.bad) {
        is_anchored = peek(p, 0) == '$';
        rc = read_one(p);
    }
    if (rc == 0 && p->depth > 0)
        rc = broken(p, "a group has no closing ')'");
    if (rc == 0)
        end_alternative(p, is_anchored && p->text.at[p->text.len - 1] == '$');
    return rc;
}

int regex_parse(struct regex *out, struct str pattern, bool is_part, struct llmos_error *err)
{
    struct parse p = {.out = out, .text = pattern, .is_part = is_part, .err = err};
    int rc;

    buf_init(&out->parts, MEMORY_MAX);
    buf_init(&out->ranges, MEMORY_MAX);
    if (pattern.len > REGEX_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "the regular expression has %zu bytes, at most %d are accepted", pattern.len,
                    REGEX_BYTES_MAX);
    if (utf8_valid_bytes(pattern) < pattern.len)
        return fail(err, LLMOS_EFORMAT, "the regular expression is not UTF-8 at byte %zu",
                    utf8_valid_bytes(pattern));
    rc = parse(&p);
    if (rc == 0)
        rc = buf_check(&out->parts, "the regular expression", err);
    if (rc == 0)
        rc = buf_check(&out->ranges, "the regular expression", err);
    if (rc < 0)
        regex_fini(out);
    return rc;
}

void regex_fini(struct regex *r)
{
    buf_fini(&r->parts);
    buf_fini(&r->ranges);
}

/* --- as a grammar --- */

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

static void put_repeat(struct buf *out, uint32_t least, uint32_t most)
{
    if (most == REGEX_NO_END && least <= 1)
        buf_puts(out, least ? "+ " : "* ");
    else if (most == REGEX_NO_END)
        buf_printf(out, "{%u,} ", least);
    else if (least == 0 && most == 1)
        buf_puts(out, "? ");
    else
        buf_printf(out, "{%u,%u} ", least, most);
}

static void put_part(struct buf *out, const struct regex *r, size_t i, bool is_json)
{
    const struct regex_part *p = regex_part(r, i);
    bool is_repeated = i + 1 < regex_count(r) && p[1].kind == REGEX_REPEAT;
    struct charset set = {.count = 0};

    switch (p->kind) {
    case REGEX_SET:
        set.count = p->b;
        memcpy(set.at, regex_ranges(r) + p->a, p->b * sizeof(*set.at));
        if (is_json)
            charset_put_json(out, &set);
        else
            charset_put(out, &set);
        break;
    case REGEX_OPEN:
        buf_puts(out, "( ");
        return;
    case REGEX_CLOSE:
        buf_puts(out, ")");
        break;
    case REGEX_BAR:
        buf_puts(out, "| ");
        return;
    default:
        put_repeat(out, p->a, p->b);
        return;
    }
    buf_puts(out, is_repeated ? "" : " ");
}

int regex_put(struct buf *out, struct str pattern, enum regex_mode mode, struct llmos_error *err)
{
    CLEANUP(regex) struct regex r = {.parts = {.at = NULL}};
    int rc = regex_parse(&r, pattern, mode == REGEX_JSON_PART, err);

    if (rc < 0)
        return rc;
    buf_puts(out, "( ");
    for (size_t i = 0; i < regex_count(&r) && !out->bad; i++)
        put_part(out, &r, i, mode != REGEX_WHOLE);
    buf_puts(out, ")");
    return buf_check(out, "the grammar of the regular expression", err);
}
