/* SPDX-License-Identifier: Apache-2.0 */
/* gbnfput.c - see gbnfput.h */
#include "sched/gbnfput.h"

#include "base/jsontext.h"
#include "base/utf8.h"

#include <assert.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* The end of what begins at i and holds no names: quotes, brackets, braces. */
static size_t end_of_other(struct str grammar, size_t i, char close)
{
    for (i++; i < grammar.len && grammar.at[i] != close; i++)
        i += grammar.at[i] == '\\';
    i++;
    return i < grammar.len ? i : grammar.len;
}

static size_t end_of_comment(struct str grammar, size_t i)
{
    while (i < grammar.len && grammar.at[i] != '\n' && grammar.at[i] != '\r')
        i++;
    return i;
}

void gbnfput_renamed(struct buf *out, struct str grammar, const char *prefix)
{
    static const char open[] = "\"[{", close[] = "\"]}";

    for (size_t i = 0, from; i < grammar.len; buf_put(out, grammar.at + from, i - from)) {
        const char *quote = memchr(open, grammar.at[i], 3);

        from = i;
        if (quote) {
            i = end_of_other(grammar, i, close[quote - open]);
        } else if (grammar.at[i] == '#') {
            i = end_of_comment(grammar, i);
        } else if (is_letter(grammar.at[i])) {
            while (i < grammar.len && is_letter(grammar.at[i]))
                i++;
            buf_puts(out, prefix);
        } else {
            i++;
        }
    }
}

/* The escapes of literals are those of JSON. */
static void put_char(struct buf *out, struct str c)
{
    json_put_string(out, c);
}

/* The same in a class, where brackets would need a backslash. */
static void put_in_class(struct buf *out, struct str c)
{
    if (c.len == 1)
        buf_printf(out, "\\x%02X", (unsigned char)c.at[0]);
    else
        buf_put(out, c.at, c.len);
}

/* Behind i characters of the word: what goes on otherwise, and what goes on in it but not to its
 * end. */
static void put_behind(struct buf *out, const char *name, const struct str *word, size_t i,
                       size_t n)
{
    buf_printf(out, "%s-miss%zu ::= [^\\x00", name, i);
    put_in_class(out, word[0]);
    put_in_class(out, word[i]);
    buf_putc(out, ']');
    if (i + 1 < n) {
        buf_puts(out, " | ");
        put_char(out, word[i]);
        buf_printf(out, " %s-miss%zu", name, i + 1);
    }
    buf_printf(out, "\n%s-more%zu ::= ", name, i);
    if (i + 1 < n) {
        buf_putc(out, '(');
        put_char(out, word[i]);
        buf_printf(out, " %s-more%zu)?\n", name, i + 1);
    } else {
        buf_puts(out, "\"\"\n");
    }
}

/* The word's first character comes in it once, so who meets that begins to look anew, and begins
 * with nothing else. */
void gbnfput_without(struct buf *out, const char *name, const char *word)
{
    struct str chars[GBNFPUT_WORD_MAX], rest = str_of(word);
    size_t n = 0;

    for (; rest.len > 0 && n < GBNFPUT_WORD_MAX; n++) {
        size_t len = utf8_length(rest);

        chars[n] = (struct str){rest.at, len ? len : 1};
        rest = (struct str){rest.at + chars[n].len, rest.len - chars[n].len};
    }
    assert(rest.len == 0 && n > 1);
    buf_printf(out, "%s ::= ([^\\x00", name);
    put_in_class(out, chars[0]);
    buf_printf(out, "] | %s-begun* ", name);
    put_char(out, chars[0]);
    buf_printf(out, " %s-miss1)* %s-begun*\n%s-begun ::= ", name, name, name);
    put_char(out, chars[0]);
    buf_printf(out, " %s-more1\n", name);
    for (size_t i = 1; i < n; i++)
        put_behind(out, name, chars, i, n);
}
