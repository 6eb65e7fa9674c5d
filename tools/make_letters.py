#!/usr/bin/env python3
"""make_letters.py - writes src/model/jinja_letter.c: what Python knows of single characters.

usage: python3 tools/make_letters.py > src/model/jinja_letter.c && clang-format-14 -i src/model/jinja_letter.c
"""
import sys
import textwrap
import unicodedata

LAST = 0x110000
CHARS = [chr(c) for c in range(LAST) if not 0xD800 <= c < 0xE000]


def put_rows(texts):
    print(textwrap.fill(", ".join(texts) + ",", 98, break_long_words=False))
    print("};\n")


def runs(codes):
    """(first, last, step) of a rising list; step is 1 or 2."""
    out = []
    for c in codes:
        if out and out[-1][2] == 0 and c - out[-1][1] in (1, 2):
            out[-1][1:] = [c, c - out[-1][1]]
        elif out and out[-1][2] and c - out[-1][1] == out[-1][2]:
            out[-1][1] = c
        else:
            out.append([c, c, 0])
    return [(a, b, s or 1) for a, b, s in out]


def table(name, claim):
    rows = runs([ord(c) for c in CHARS if claim(c)])
    print(f"static const struct run {name}[] = {{")
    put_rows("{0x%x,0x%x,%d}" % r for r in rows)


def shifts(name, form, changes=lambda c, f: f != c):
    """Characters that become another single one: runs with one distance."""
    rows = []
    by = {}
    for c in CHARS:
        f = form(c)
        if len(f) == 1 and changes(c, f):
            by.setdefault(ord(f) - ord(c), []).append(ord(c))
    for delta, codes in by.items():
        rows += [(a, b, s, delta) for a, b, s in runs(codes)]
    rows.sort()
    print(f"static const struct shift {name}[] = {{")
    put_rows("{0x%x,0x%x,%d,%d}" % r for r in rows)


def growths(name, form):
    print(f"static const struct growth {name}[] = {{")
    rows = [(c, form(c)) for c in CHARS if len(form(c)) > 1]
    put_rows("{0x%x,{%s}}" % (ord(c), ",".join(hex(ord(x)) for x in f)) for c, f in rows)


print(f"""/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_letter.c - see jinja_letter.h.  Made by tools/make_letters.py from Unicode {unicodedata.unidata_version};
 * do not edit the tables. */
#include "model/jinja_letter.h"

/* Characters first, first + step, ... last. */
struct run {{
    uint32_t first, last, step;
}};

struct shift {{
    uint32_t first, last, step;
    int32_t by;
}};

/* One character that becomes several; 0 behind the last. */
struct growth {{
    uint32_t from, to[LETTER_FORMS_MAX];
}};

/* clang-format off */""")
table("uppers", str.isupper)
table("lowers", str.islower)
table("alphas", str.isalpha)
table("digits", str.isdigit)
table("unprintables", lambda c: not c.isprintable())
shifts("to_upper", str.upper)
shifts("to_lower", str.lower)
shifts("to_title", str.title, lambda c, f: f != c.upper())
growths("grows_upper", str.upper)
growths("grows_lower", str.lower)
growths("grows_title", str.title)
sys.stdout.write("""/* clang-format on */

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static bool in_runs(const struct run *runs, size_t count, uint32_t c)
{
    size_t low = 0;

    while (count > 0) {
        size_t half = count / 2;

        if (runs[low + half].first <= c) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    runs += low;
    return low > 0 && c <= runs[-1].last && (c - runs[-1].first) % runs[-1].step == 0;
}

static bool shift(const struct shift *shifts, size_t count, uint32_t c, uint32_t *out)
{
    for (size_t i = 0; i < count && shifts[i].first <= c; i++) {
        if (c > shifts[i].last || (c - shifts[i].first) % shifts[i].step)
            continue;
        *out = c + (uint32_t)shifts[i].by;
        return true;
    }
    return false;
}

static size_t grown(const struct growth *g, size_t count, uint32_t c, uint32_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < count && g[i].from <= c; i++)
        if (g[i].from == c)
            for (n = 0; n < LETTER_FORMS_MAX && g[i].to[n]; n++)
                out[n] = g[i].to[n];
    return n;
}

static uint32_t to_ascii(uint32_t c, enum letter_form form)
{
    if (form == LETTER_LOWER)
        return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return c >= 'a' && c <= 'z' ? c - 32 : c;
}

size_t letter_in(uint32_t c, enum letter_form form, uint32_t out[LETTER_FORMS_MAX])
{
    size_t n = 0;

    out[0] = c;
    if (form == LETTER_SAME)
        return 1;
    if (c < 0x80) {
        out[0] = to_ascii(c, form);
        return 1;
    }
    if (form == LETTER_LOWER)
        n = grown(grows_lower, COUNT(grows_lower), c, out);
    else if (form == LETTER_UPPER)
        n = grown(grows_upper, COUNT(grows_upper), c, out);
    else
        n = grown(grows_title, COUNT(grows_title), c, out);
    if (n)
        return n;
    if (form == LETTER_LOWER)
        shift(to_lower, COUNT(to_lower), c, out);
    else if (form == LETTER_UPPER || !shift(to_title, COUNT(to_title), c, out))
        shift(to_upper, COUNT(to_upper), c, out);
    return 1;
}

bool letter_is_upper(uint32_t c)
{
    return in_runs(uppers, COUNT(uppers), c);
}

bool letter_is_lower(uint32_t c)
{
    return in_runs(lowers, COUNT(lowers), c);
}

bool letter_is_alpha(uint32_t c)
{
    return in_runs(alphas, COUNT(alphas), c);
}

bool letter_is_digit(uint32_t c)
{
    return in_runs(digits, COUNT(digits), c);
}

bool letter_is_printable(uint32_t c)
{
    return !in_runs(unprintables, COUNT(unprintables), c);
}
""")
