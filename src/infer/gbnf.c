/* SPDX-License-Identifier: Apache-2.0 */
/* gbnf.c - see gbnf.h */
#include "infer/gbnf.h"

#include "base/utf8.h"
#include "infer/grammar.h"

#include <string.h>

#define CODE_MAX     0x10FFFF
#define NAME_MAX_LEN 256
#define SLOT_FREE    UINT32_MAX

struct parse {
    struct str text;
    size_t at;
    unsigned line;
    struct arena *arena;
    struct llmos_error *err;
    struct gbnf *g;
    uint32_t rules_room;
    uint32_t *slots; /* hash table of the names */
    uint32_t slot_mask;
    /* The groups that are open: where to go on behind them. */
    struct gbnf_body *open[GRAMMAR_GROUPS_MAX];
    unsigned depth;
    /* Ranges of the class that is read. */
    struct gbnf_range *ranges;
    uint32_t range_count, range_room;
};

static int syntax(struct parse *p, const char *what)
{
    return fail(p->err, LLMOS_EFORMAT, "grammar, line %u: %s", p->line, what);
}

static int no_memory(struct parse *p)
{
    return fail(p->err, LLMOS_ELIMIT,
                "the grammar needs more than the %u MiB that one may have; make it shorter",
                GRAMMAR_BYTES_MAX >> 20);
}

/* --- characters --- */

static int peek(const struct parse *p)
{
    return p->at < p->text.len ? (unsigned char)p->text.at[p->at] : -1;
}

static int peek_behind(const struct parse *p, size_t n)
{
    return p->at + n < p->text.len ? (unsigned char)p->text.at[p->at + n] : -1;
}

static bool is_name_char(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static void skip_comment(struct parse *p)
{
    while (peek(p) >= 0 && peek(p) != '\n' && peek(p) != '\r')
        p->at++;
}

static void skip_blanks(struct parse *p, bool lines_too)
{
    for (;;) {
        int c = peek(p);

        if (c == '#')
            skip_comment(p);
        else if (c == ' ' || c == '\t' || (lines_too && (c == '\r' || c == '\n')))
            p->at++;
        else
            return;
        if (c == '\n')
            p->line++;
    }
}

static int hex_value(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_hex(struct parse *p, unsigned digits, uint32_t *code)
{
    uint32_t v = 0;

    for (unsigned i = 0; i < digits; i++, p->at++) {
        int d = hex_value(peek(p));

        if (d < 0)
            return syntax(p, "\\x wants 2 hexadecimal digits, \\u 4 and \\U 8");
        v = v << 4 | (uint32_t)d;
    }
    if (v > CODE_MAX || (v >= 0xD800 && v < 0xE000))
        return syntax(p, "an escape names no character: the last is \\U0010FFFF, and \\uD800 to "
                         "\\uDFFF are halves of one");
    *code = v;
    return 0;
}

static int read_escape(struct parse *p, uint32_t *code)
{
    static const char from[] = "trn\\\"[]-'/^.", to[] = "\t\r\n\\\"[]-'/^.";
    int c = peek(p);
    const char *found = c > 0 ? strchr(from, c) : NULL;

    if (c < 0)
        return syntax(p, "the text ends within an escape");
    p->at++;
    if (c == 'x')
        return read_hex(p, 2, code);
    if (c == 'u')
        return read_hex(p, 4, code);
    if (c == 'U')
        return read_hex(p, 8, code);
    if (!found)
        return syntax(p, "an escape that is not known; a backslash is written \\\\");
    *code = (unsigned char)to[found - from];
    return 0;
}

/* The text was found to be UTF-8. */
static int read_char(struct parse *p, uint32_t *code)
{
    unsigned char c = (unsigned char)p->text.at[p->at++];
    unsigned more = c >= 0xF0 ? 3 : c >= 0xE0 ? 2 : c >= 0xC0 ? 1 : 0;

    if (c == '\\')
        return read_escape(p, code);
    if (c == '\n')
        p->line++;
    *code = more ? c & (0x3Fu >> more) : c;
    for (; more > 0; more--)
        *code = *code << 6 | ((unsigned char)p->text.at[p->at++] & 0x3Fu);
    return 0;
}

/* --- names --- */

static uint32_t hash_of(struct str s)
{
    uint32_t h = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.at[i]) * 16777619u;
    return h ^ h >> 15;
}

static int rule_named(struct parse *p, struct str name, uint32_t *id)
{
    uint32_t slot = hash_of(name) & p->slot_mask;
    struct gbnf *g = p->g;

    for (; p->slots[slot] != SLOT_FREE; slot = (slot + 1) & p->slot_mask)
        if (str_eq(g->rules[p->slots[slot]].name, name)) {
            *id = p->slots[slot];
            return 0;
        }
    if (g->rule_count == GRAMMAR_RULES_MAX)
        return fail(p->err, LLMOS_ELIMIT, "the grammar has more than %d rules", GRAMMAR_RULES_MAX);
    if (g->rule_count == p->rules_room) {
        uint32_t room = p->rules_room ? p->rules_room * 2 : 64;
        struct gbnf_rule *rules = arena_array(p->arena, struct gbnf_rule, room);

        if (!rules)
            return no_memory(p);
        if (g->rule_count)
            memcpy(rules, g->rules, g->rule_count * sizeof(*rules));
        g->rules = rules;
        p->rules_room = room;
    }
    g->rules[g->rule_count] = (struct gbnf_rule){name, NULL, p->line};
    p->slots[slot] = *id = g->rule_count++;
    return 0;
}

static int read_name(struct parse *p, struct str *name)
{
    size_t start = p->at;

    while (is_name_char(peek(p)))
        p->at++;
    *name = (struct str){p->text.at + start, p->at - start};
    if (name->len == 0)
        return syntax(p, "a rule's name is missing here (letters, digits, '-' and '_')");
    if (name->len > NAME_MAX_LEN)
        return syntax(p, "a rule's name is longer than 256 bytes");
    return 0;
}

/* --- elements --- */

static struct gbnf_element *add_element(struct parse *p, struct gbnf_sequence *s,
                                        enum gbnf_kind kind)
{
    struct gbnf_element *e = arena_alloc(p->arena, sizeof(*e));

    if (!e)
        return NULL;
    *e = (struct gbnf_element){
        .kind = kind, .least = 1, .most = 1, .before = s->last, .rule = UINT32_MAX};
    s->last = e;
    return e;
}

static struct gbnf_body *new_body(struct parse *p)
{
    struct gbnf_body *b = arena_alloc(p->arena, sizeof(*b));

    if (b)
        b->last = arena_alloc(p->arena, sizeof(*b->last));
    return b && b->last ? b : NULL;
}

static bool add_class(struct parse *p, struct gbnf_sequence *s, const struct gbnf_range *ranges,
                      uint32_t count)
{
    struct gbnf_element *e = add_element(p, s, GBNF_CLASS);
    struct gbnf_range *copy = arena_array(p->arena, struct gbnf_range, count);

    if (!e || !copy)
        return false;
    memcpy(copy, ranges, count * sizeof(*copy));
    e->ranges = copy;
    e->range_count = count;
    return true;
}

static int read_literal(struct parse *p, struct gbnf_sequence *s)
{
    struct gbnf_element *e = add_element(p, s, GBNF_GROUP);

    p->at++;
    if (!e || !(e->group = new_body(p)))
        return no_memory(p);
    while (peek(p) != '"') {
        struct gbnf_range r;
        int rc;

        if (peek(p) < 0)
            return syntax(p, "a literal has no closing '\"'");
        rc = read_char(p, &r.low);
        if (rc < 0)
            return rc;
        r.high = r.low;
        if (!add_class(p, e->group->last, &r, 1))
            return no_memory(p);
    }
    p->at++;
    return 0;
}

static bool push_range(struct parse *p, struct gbnf_range r)
{
    if (p->range_count == p->range_room) {
        uint32_t room = p->range_room ? p->range_room * 2 : 32;
        struct gbnf_range *more = arena_array(p->arena, struct gbnf_range, room);

        if (!more)
            return false;
        if (p->range_count)
            memcpy(more, p->ranges, p->range_count * sizeof(*more));
        p->ranges = more;
        p->range_room = room;
    }
    p->ranges[p->range_count++] = r;
    return true;
}

/* Restores the heap below i: no parent begins before its children. */
static void sift(struct gbnf_range *r, uint32_t count, uint32_t i)
{
    for (uint32_t child; (child = 2 * i + 1) < count; i = child) {
        struct gbnf_range swap = r[i];

        if (child + 1 < count && r[child + 1].low > r[child].low)
            child++;
        if (r[i].low >= r[child].low)
            return;
        r[i] = r[child];
        r[child] = swap;
    }
}

/* In order, and no two touch. */
static void tidy_ranges(struct parse *p)
{
    struct gbnf_range *r = p->ranges;
    uint32_t n = p->range_count, kept = 0;

    for (uint32_t i = n / 2; i-- > 0;)
        sift(r, n, i);
    for (uint32_t left = n; left > 1; left--) {
        struct gbnf_range last = r[0];

        r[0] = r[left - 1];
        r[left - 1] = last;
        sift(r, left - 1, 0);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (kept && r[i].low <= r[kept - 1].high + 1)
            r[kept - 1].high = r[i].high > r[kept - 1].high ? r[i].high : r[kept - 1].high;
        else
            r[kept++] = r[i];
    }
    p->range_count = kept;
}

/* What the tidy ranges leave out. */
static bool negate_ranges(struct parse *p)
{
    uint32_t next = 0, n = p->range_count;

    if (!push_range(p, (struct gbnf_range){0, 0})) /* room for one more */
        return false;
    p->range_count = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct gbnf_range r = p->ranges[i];

        if (r.low > next)
            p->ranges[p->range_count++] = (struct gbnf_range){next, r.low - 1};
        next = r.high + 1;
    }
    if (next <= CODE_MAX)
        p->ranges[p->range_count++] = (struct gbnf_range){next, CODE_MAX};
    return true;
}

static int read_range(struct parse *p, struct gbnf_range *r)
{
    int rc = read_char(p, &r->low);

    r->high = r->low;
    if (rc < 0 || peek(p) != '-' || peek_behind(p, 1) == ']')
        return rc;
    p->at++;
    if (peek(p) < 0)
        return syntax(p, "a class has no closing ']'");
    rc = read_char(p, &r->high);
    if (rc == 0 && r->high < r->low)
        return syntax(p, "a range in a class ends before it begins");
    return rc;
}

static int read_class(struct parse *p, struct gbnf_sequence *s)
{
    bool is_negated = peek_behind(p, 1) == '^';

    p->at += is_negated ? 2 : 1;
    p->range_count = 0;
    while (peek(p) != ']') {
        struct gbnf_range r;
        int rc;

        if (peek(p) < 0)
            return syntax(p, "a class has no closing ']'");
        rc = read_range(p, &r);
        if (rc < 0)
            return rc;
        if (!push_range(p, r))
            return no_memory(p);
    }
    p->at++;
    tidy_ranges(p);
    if (is_negated && !negate_ranges(p))
        return no_memory(p);
    if (p->range_count == 0)
        return syntax(p, "a class that no character is in");
    return add_class(p, s, p->ranges, p->range_count) ? 0 : no_memory(p);
}

static int read_number(struct parse *p, uint32_t *out)
{
    uint64_t v = 0;

    if (peek(p) < '0' || peek(p) > '9')
        return syntax(p, "a repetition wants a number: {2}, {2,} or {2,5}");
    for (; peek(p) >= '0' && peek(p) <= '9'; p->at++)
        v = v > GRAMMAR_REPEAT_MAX ? v : v * 10 + (uint64_t)(peek(p) - '0');
    if (v > GRAMMAR_REPEAT_MAX)
        return fail(p->err, LLMOS_ELIMIT,
                    "grammar, line %u: a repetition of more than %d times; leave its end open: "
                    "{m,}",
                    p->line, GRAMMAR_REPEAT_MAX);
    *out = (uint32_t)v;
    return 0;
}

static int read_counts(struct parse *p, uint32_t *least, uint32_t *most)
{
    int rc = 0;

    p->at++;
    skip_blanks(p, true);
    *least = 0;
    if (peek(p) != ',')
        rc = read_number(p, least);
    skip_blanks(p, true);
    *most = *least;
    if (rc == 0 && peek(p) == ',') {
        p->at++;
        skip_blanks(p, true);
        *most = GBNF_NO_END;
        if (peek(p) != '}')
            rc = read_number(p, most);
        skip_blanks(p, true);
    }
    if (rc < 0)
        return rc;
    if (peek(p) != '}')
        return syntax(p, "a repetition has no closing '}'");
    p->at++;
    return *most < *least ? syntax(p, "a repetition whose most is less than its least") : 0;
}

static int repeat(struct parse *p, struct gbnf_sequence *s, uint32_t least, uint32_t most)
{
    struct gbnf_element *e = s->last;

    if (!e)
        return syntax(p, "a repetition stands behind nothing that it could repeat");
    if (e->is_repeated)
        return syntax(p, "a repetition of a repetition; put the first into a group: (x*)+");
    e->is_repeated = true;
    e->least = least;
    e->most = most;
    return 0;
}

static int read_repetition(struct parse *p, struct gbnf_sequence *s)
{
    int c = peek(p), rc;
    uint32_t least, most;

    if (c == '{') {
        rc = read_counts(p, &least, &most);
        return rc < 0 ? rc : repeat(p, s, least, most);
    }
    p->at++;
    return repeat(p, s, c == '+', c == '?' ? 1 : GBNF_NO_END);
}

static int read_reference(struct parse *p, struct gbnf_sequence *s)
{
    struct gbnf_element *e = add_element(p, s, GBNF_RULE);
    struct str name;
    int rc = read_name(p, &name);

    if (rc < 0)
        return rc;
    return e ? rule_named(p, name, &e->rule) : no_memory(p);
}

static int open_group(struct parse *p, struct gbnf_sequence *s)
{
    struct gbnf_element *e = add_element(p, s, GBNF_GROUP);

    if (p->depth + 1 >= GRAMMAR_GROUPS_MAX)
        return fail(p->err, LLMOS_ELIMIT,
                    "grammar, line %u: more than %d groups in groups; make rules of some", p->line,
                    GRAMMAR_GROUPS_MAX - 1);
    if (!e || !(e->group = new_body(p)))
        return no_memory(p);
    p->at++;
    p->open[++p->depth] = e->group;
    return 0;
}

static int add_alternative(struct parse *p)
{
    struct gbnf_sequence *s = arena_alloc(p->arena, sizeof(*s));

    if (!s)
        return no_memory(p);
    p->at++;
    s->before = p->open[p->depth]->last;
    p->open[p->depth]->last = s;
    skip_blanks(p, true);
    return 0;
}

static int read_element(struct parse *p, struct gbnf_sequence *s)
{
    static const struct gbnf_range any = {0, CODE_MAX};
    int c = peek(p);

    switch (c) {
    case '"':
        return read_literal(p, s);
    case '[':
        return read_class(p, s);
    case '(':
        return open_group(p, s);
    case '.':
        p->at++;
        return add_class(p, s, &any, 1) ? 0 : no_memory(p);
    case '*':
    case '+':
    case '?':
    case '{':
        return read_repetition(p, s);
    case '<':
    case '!':
        return syntax(p, "tokens by name (<...>) are not supported, only text");
    default:
        return is_name_char(c) ? read_reference(p, s)
                               : syntax(p, "a character that belongs to no rule; literals stand in "
                                           "quotes: \"text\"");
    }
}

/* At the end of a line a rule ends, unless the next one goes on with another alternative. */
static bool rule_goes_on(struct parse *p)
{
    size_t at = p->at;
    unsigned line = p->line;

    skip_blanks(p, true);
    if (peek(p) == '|')
        return true;
    p->at = at;
    p->line = line;
    return false;
}

static int read_body(struct parse *p, struct gbnf_body *body)
{
    p->depth = 0;
    p->open[0] = body;
    for (;;) {
        int c, rc = 0;

        skip_blanks(p, p->depth > 0);
        c = peek(p);
        if (c == '|') {
            rc = add_alternative(p);
        } else if (c == ')' && p->depth > 0) {
            p->at++;
            p->depth--;
        } else if (c == '\n' || c == '\r' || c < 0) {
            if (p->depth > 0)
                return syntax(p, "a group has no closing ')'");
            if (c < 0 || !rule_goes_on(p))
                return 0;
        } else {
            rc = read_element(p, p->open[p->depth]->last);
        }
        if (rc < 0)
            return rc;
    }
}

static int read_rule(struct parse *p)
{
    struct gbnf_body *body = new_body(p);
    struct str name;
    uint32_t id = 0;
    int rc = read_name(p, &name);

    if (rc == 0)
        rc = rule_named(p, name, &id);
    if (rc < 0)
        return rc;
    skip_blanks(p, false);
    if (p->text.len - p->at < 3 || memcmp(p->text.at + p->at, "::=", 3) != 0)
        return syntax(p, "'::=' is missing behind a rule's name");
    p->at += 3;
    skip_blanks(p, true);
    if (p->g->rules[id].body)
        return fail(p->err, LLMOS_EFORMAT, "grammar, line %u: rule '%.*s' is defined twice",
                    p->line, STR_ARG(name));
    if (!body)
        return no_memory(p);
    p->g->rules[id].body = body;
    return read_body(p, body);
}

/* --- the whole --- */

static int check_defined(const struct parse *p)
{
    for (uint32_t i = 0; i < p->g->rule_count; i++) {
        const struct gbnf_rule *r = &p->g->rules[i];

        if (!r->body)
            return fail(p->err, LLMOS_EFORMAT, "grammar, line %u: rule '%.*s' is not defined",
                        r->line, STR_ARG(r->name));
    }
    return 0;
}

static int make_names(struct parse *p)
{
    uint32_t slots = 64;

    while (slots < 2 * GRAMMAR_RULES_MAX && slots < p->text.len) /* a name has a byte at least */
        slots *= 2;
    p->slots = arena_array(p->arena, uint32_t, slots);
    if (!p->slots)
        return no_memory(p);
    memset(p->slots, 0xFF, slots * sizeof(*p->slots));
    p->slot_mask = slots - 1;
    return 0;
}

int gbnf_parse(struct gbnf *g, struct str text, struct arena *arena, struct llmos_error *err)
{
    struct parse p = {.text = text, .line = 1, .arena = arena, .err = err, .g = g};
    int rc;

    *g = (struct gbnf){0};
    if (text.len > GRAMMAR_TEXT_MAX)
        return fail(err, LLMOS_ELIMIT, "the grammar has %zu bytes, at most %u are accepted",
                    text.len, GRAMMAR_TEXT_MAX);
    if (utf8_valid_bytes(text) < text.len)
        return fail(err, LLMOS_EFORMAT, "the grammar is not UTF-8 at byte %zu",
                    utf8_valid_bytes(text));
    rc = make_names(&p);
    for (skip_blanks(&p, true); rc == 0 && peek(&p) >= 0; skip_blanks(&p, true))
        rc = read_rule(&p);
    if (rc == 0)
        rc = check_defined(&p);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < g->rule_count; i++)
        if (str_is(g->rules[i].name, "root")) {
            g->root = i;
            return 0;
        }
    return fail(err, LLMOS_EFORMAT, "the grammar has no rule 'root' to begin with");
}
