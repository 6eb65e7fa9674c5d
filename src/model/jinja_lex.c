/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_lex.c - see jinja_lex.h */
#include "model/jinja_lex.h"

#include "base/utf8.h"
#include "model/jinja_text.h"

#include <errno.h>
#include <stdlib.h>

struct lexer {
    struct jinja_store *s;
    struct str source;
    size_t at;
    struct jinja_token *tokens;
    size_t count, room;
    unsigned open; /* brackets: }} and %} end nothing inside them */
};

static char peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->source.len ? l->source.at[l->at + ahead] : '\0';
}

static bool stands(const struct lexer *l, const char *text)
{
    size_t n = strlen(text);

    return l->source.len - l->at >= n && memcmp(l->source.at + l->at, text, n) == 0;
}

static void advance(struct lexer *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        l->s->line += l->source.at[l->at + i] == '\n';
    l->at += n;
}

static struct jinja_token *add(struct lexer *l, enum jinja_token_kind kind, size_t from, size_t to)
{
    struct jinja_token *grown;

    if (l->s->rc < 0)
        return NULL;
    if (l->count == l->room) {
        l->room = l->room ? l->room * 2 : 256;
        grown = jinja_alloc(l->s, l->room, sizeof(*grown));
        if (!grown)
            return NULL;
        if (l->count)
            memcpy(grown, l->tokens, l->count * sizeof(*grown));
        l->tokens = grown;
    }
    l->tokens[l->count] = (struct jinja_token){
        .kind = kind, .line = l->s->line, .text = {l->source.at + from, to - from}};
    return &l->tokens[l->count++];
}

static size_t space_at(const struct lexer *l)
{
    struct jinja_str rest = {.at = l->source.at + l->at, .len = l->source.len - l->at};

    return rest.len && jinja_is_space(jinja_char(rest, 0)) ? jinja_char_bytes(rest, 0) : 0;
}

static void skip_space(struct lexer *l)
{
    size_t n;

    while ((n = space_at(l)) > 0)
        advance(l, n);
}

/* ---- text ---- */

/* Where [from, to) ends when the tag behind it takes white space away. */
static size_t text_end(const struct lexer *l, size_t from, size_t to, char sign, bool is_print)
{
    struct jinja_str text = {.at = l->source.at + from, .len = to - from};
    size_t line = to;

    if (sign == '-')
        return from + jinja_strip(text, NULL, STRIP_RIGHT).len;
    if (sign == '+' || is_print)
        return to;
    while (line > from && l->source.at[line - 1] != '\n')
        line--;
    if (line == from && from > 0 && l->source.at[from - 1] != '\n')
        return to; /* something else stands in this line */
    text = jinja_part(text, line - from, to - from);
    return jinja_strip(text, NULL, STRIP_LEFT).len ? to : line;
}

static void add_text(struct lexer *l, size_t from, size_t to)
{
    if (to > from)
        add(l, TOKEN_TEXT, from, to);
}

/* Behind the mark that ends a block or comment. */
static void end_tag(struct lexer *l, char sign)
{
    if (sign == '-')
        skip_space(l);
    else if (sign != '+' && peek(l, 0) == '\n')
        advance(l, 1);
}

static void skip_comment(struct lexer *l)
{
    size_t from = l->at;

    while (l->at < l->source.len && !stands(l, "#}"))
        advance(l, 1);
    if (l->at >= l->source.len) {
        jinja_fail(l->s, LLMOS_EFORMAT, "a comment has no end");
        return;
    }
    advance(l, 2);
    end_tag(l, l->at - 2 > from ? l->source.at[l->at - 3] : '\0');
}

/* If {% word %} stands here: the bytes up to its end, with the signs inside; else 0. */
static size_t word_tag(const struct lexer *l, const char *word, char *first, char *last)
{
    struct lexer look = *l;
    struct jinja_store none = {.line = 0};

    look.s = &none; /* lines are not counted twice */
    look.at += 2;
    *first = peek(&look, 0);
    if (*first == '-' || *first == '+')
        look.at++;
    skip_space(&look);
    if (!stands(&look, word))
        return 0;
    look.at += strlen(word);
    skip_space(&look);
    *last = peek(&look, 0);
    if (*last == '-' || *last == '+')
        look.at++;
    return stands(&look, "%}") ? look.at + 2 - l->at : 0;
}

static void lex_raw(struct lexer *l)
{
    size_t from = l->at, n = 0;
    char first, last;

    while (l->at < l->source.len &&
           !(stands(l, "{%") && (n = word_tag(l, "endraw", &first, &last)) > 0))
        advance(l, 1);
    if (l->at >= l->source.len) {
        jinja_fail(l->s, LLMOS_EFORMAT, "a raw block has no end");
        return;
    }
    add_text(l, from, text_end(l, from, l->at, first, false));
    advance(l, n);
    end_tag(l, last);
}

/* Text up to the next tag, and what opens it.  True: a token of {{ or {% was added. */
static bool lex_text(struct lexer *l)
{
    size_t from = l->at, n;
    char sign, last;

    while (l->at < l->source.len && !stands(l, "{{") && !stands(l, "{%") && !stands(l, "{#"))
        advance(l, 1);
    if (l->at >= l->source.len) {
        add_text(l, from, l->at);
        return false;
    }
    sign = peek(l, 2);
    if (sign != '-' && sign != '+')
        sign = '\0';
    add_text(l, from, text_end(l, from, l->at, sign, stands(l, "{{")));
    if (stands(l, "{%") && (n = word_tag(l, "raw", &sign, &last)) > 0) {
        advance(l, n);
        if (last == '-')
            skip_space(l);
        lex_raw(l);
        return false;
    }
    n = sign ? 3 : 2;
    if (stands(l, "{#")) {
        advance(l, n);
        skip_comment(l);
        return false;
    }
    add(l, stands(l, "{{") ? TOKEN_PRINT : TOKEN_BLOCK, l->at, l->at + n);
    advance(l, n);
    return l->s->rc == 0;
}

/* ---- what stands in a tag ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (unsigned char)c >= 0x80 || is_digit(c);
}

static size_t digits(const struct lexer *l, size_t ahead)
{
    size_t n = 0;

    while (is_digit(peek(l, ahead + n)) ||
           (n > 0 && peek(l, ahead + n) == '_' && is_digit(peek(l, ahead + n + 1))))
        n++;
    return n;
}

/* Bytes of ".5e-3" behind the digits of a number; 0: it is an integer. */
static size_t fraction(const struct lexer *l, size_t whole)
{
    size_t n = whole, more;

    if (peek(l, n) == '.' && is_digit(peek(l, n + 1)))
        n += 1 + digits(l, n + 1);
    if (peek(l, n) == 'e' || peek(l, n) == 'E') {
        more = 1 + (peek(l, n + 1) == '-' || peek(l, n + 1) == '+');
        if (is_digit(peek(l, n + more)))
            n += more + digits(l, n + more);
    }
    return n - whole;
}

static unsigned radix_of(const struct lexer *l)
{
    char c = peek(l, 0) == '0' ? peek(l, 1) : '\0';

    return c == 'x' || c == 'X' ? 16 : c == 'o' || c == 'O' ? 8 : c == 'b' || c == 'B' ? 2 : 10;
}

static void lex_number(struct lexer *l)
{
    unsigned radix = radix_of(l);
    size_t n = radix == 10 ? digits(l, 0) : 2, more = radix == 10 ? fraction(l, n) : 0, k = 0;
    char text[64], *end;
    struct jinja_token *t;

    while (radix != 10 && is_name(peek(l, n)))
        n++;
    n += more;
    t = add(l, TOKEN_CONST, l->at, l->at + n);
    for (size_t i = radix == 10 ? 0 : 2; i < n && k + 1 < sizeof(text); i++)
        if (peek(l, i) != '_')
            text[k++] = peek(l, i);
    text[k] = '\0';
    errno = 0;
    if (t && more)
        t->value = JINJA_REAL(strtod(text, &end));
    else if (t)
        t->value = JINJA_NUMBER(strtoll(text, &end, (int)radix));
    if (t && (errno == ERANGE || *end || k == 0 || k + 1 == sizeof(text)) && !(more && k))
        jinja_fail(l->s, LLMOS_EFORMAT, "the number '%.40s' is none, or does not fit 64 bits",
                   text);
    advance(l, n);
}

/* \x41 \u00e9 \U0001f600 \101: how many bytes follow the backslash, and the character. */
static size_t numbered_escape(const struct lexer *l, size_t ahead, uint32_t *c)
{
    char kind = peek(l, ahead), text[9] = "";
    size_t n = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0, k = 0;

    if (n == 0) {
        while (k < 3 && peek(l, ahead + k) >= '0' && peek(l, ahead + k) <= '7') {
            text[k] = peek(l, ahead + k);
            k++;
        }
        *c = (uint32_t)strtoul(text, NULL, 8);
        return k;
    }
    for (; k < n; k++) {
        text[k] = peek(l, ahead + 1 + k);
        if (!memchr("0123456789abcdefABCDEF", text[k] ? text[k] : '!', 22))
            return 0;
    }
    *c = (uint32_t)strtoul(text, NULL, 16);
    return 1 + n;
}

static void put_code_point(struct jinja_build *b, uint32_t c)
{
    unsigned char out[4];
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t n;

    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        c = 0xfffd;
    n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (unsigned char)(0x80 | (c & 0x3f));
    out[0] = (unsigned char)(lead[n] | c);
    jinja_put_text(b, (struct str){(const char *)out, n}, false);
}

/* The escape whose backslash stands here. */
static void lex_escape(struct lexer *l, struct jinja_build *b)
{
    static const char names[] = "ntrabfv\\'\"", meant[] = "\n\t\r\a\b\f\v\\'\"";
    char c = peek(l, 1);
    const char *name = c ? strchr(names, c) : NULL;
    uint32_t code = 0;
    size_t n = name || c == '\n' ? 0 : numbered_escape(l, 1, &code);

    if (name)
        jinja_put_text(b, (struct str){meant + (name - names), 1}, false);
    else if (n)
        put_code_point(b, code);
    else if (c != '\n')
        jinja_put_text(b, STR("\\"), false);
    advance(l, name || c == '\n' ? 2 : 1 + n);
}

static void lex_string(struct lexer *l)
{
    char quote = peek(l, 0);
    struct jinja_build b;
    struct jinja_token *t = add(l, TOKEN_CONST, l->at, l->at + 1);

    jinja_build_init(&b, l->s);
    advance(l, 1);
    while (l->at < l->source.len && peek(l, 0) != quote && l->s->rc == 0) {
        size_t from = l->at;

        if (peek(l, 0) == '\\') {
            lex_escape(l, &b);
            continue;
        }
        while (l->at < l->source.len && peek(l, 0) != quote && peek(l, 0) != '\\')
            advance(l, 1);
        jinja_put(&b, (struct jinja_str){.at = l->source.at + from, .len = l->at - from});
    }
    if (l->at >= l->source.len)
        jinja_fail(l->s, LLMOS_EFORMAT, "a string has no end");
    else
        advance(l, 1);
    if (t)
        t->value = jinja_built(&b);
    else
        jinja_build_fini(&b);
}

static void lex_operator(struct lexer *l)
{
    static const char *const pairs[] = {"==", "!=", "<=", ">=", "//", "**"};
    char c = peek(l, 0);
    unsigned op = OP(c, 0);
    struct jinja_token *t;

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (stands(l, pairs[i]))
            op = OP(pairs[i][0], pairs[i][1]);
    if (!c || !strchr("+-*/%~<>=!.:,|()[]{};", c) || op == OP('!', 0)) {
        jinja_fail(l->s, LLMOS_EFORMAT, "unexpected character '%c'", c);
        return;
    }
    if (strchr("([{", c))
        l->open++;
    if (strchr(")]}", c)) {
        if (l->open == 0) {
            jinja_fail(l->s, LLMOS_EFORMAT, "unexpected '%c'", c);
            return;
        }
        l->open--;
    }
    t = add(l, TOKEN_OPERATOR, l->at, l->at + (op > 0xff ? 2 : 1));
    if (t)
        t->op = op;
    advance(l, op > 0xff ? 2 : 1);
}

/* The mark that ends the tag, if it stands here. */
static bool lex_end(struct lexer *l, bool is_print)
{
    char sign = peek(l, 0);
    size_t n = sign == '-' || (sign == '+' && !is_print) ? 1 : 0;

    if (l->open > 0 || peek(l, n) != (is_print ? '}' : '%') || peek(l, n + 1) != '}')
        return false;
    add(l, is_print ? TOKEN_PRINT_END : TOKEN_BLOCK_END, l->at, l->at + n + 2);
    advance(l, n + 2);
    if (!is_print || n)
        end_tag(l, n ? sign : '\0');
    return true;
}

static void lex_tag(struct lexer *l)
{
    bool is_print = l->tokens[l->count - 1].kind == TOKEN_PRINT;
    size_t from;

    l->open = 0;
    for (;;) {
        skip_space(l);
        if (l->s->rc < 0 || lex_end(l, is_print))
            return;
        if (l->at >= l->source.len) {
            jinja_fail(l->s, LLMOS_EFORMAT, "a tag has no end");
            return;
        }
        from = l->at;
        if (is_digit(peek(l, 0))) {
            lex_number(l);
        } else if (is_name(peek(l, 0))) {
            while (is_name(peek(l, 0)))
                l->at++;
            add(l, TOKEN_NAME, from, l->at);
        } else if (peek(l, 0) == '"' || peek(l, 0) == '\'') {
            lex_string(l);
        } else {
            lex_operator(l);
        }
    }
}

/* A copy with line feeds at the ends of lines and none at the very end. */
static struct str one_line_feed(struct jinja_store *s, struct str source)
{
    char *copy = jinja_alloc(s, source.len + 1, 1);
    size_t n = 0;

    if (!copy)
        return (struct str){"", 0};
    for (size_t i = 0; i < source.len; i++) {
        if (source.at[i] == '\r' && i + 1 < source.len && source.at[i + 1] == '\n')
            continue;
        copy[n++] = source.at[i] == '\r' ? '\n' : source.at[i];
    }
    if (n && copy[n - 1] == '\n')
        n--;
    return (struct str){copy, n};
}

struct jinja_token *jinja_lex(struct jinja_store *s, struct str source)
{
    struct lexer l = {.s = s};

    s->line = 0;
    if (source.len > JINJA_TEMPLATE_BYTES_MAX) {
        jinja_fail(s, LLMOS_ELIMIT, "the chat template has %zu bytes, at most %u are accepted",
                   source.len, JINJA_TEMPLATE_BYTES_MAX);
        return NULL;
    }
    if (utf8_valid_bytes(source) != source.len) {
        jinja_fail(s, LLMOS_EFORMAT, "the chat template is not UTF-8");
        return NULL;
    }
    l.source = one_line_feed(s, source);
    s->line = 1;
    while (s->rc == 0 && l.at < l.source.len)
        if (lex_text(&l))
            lex_tag(&l);
    add(&l, TOKEN_END, l.source.len, l.source.len);
    return s->rc < 0 ? NULL : l.tokens;
}
