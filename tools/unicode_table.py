#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""unicode_table.py - writes src/model/unicode_table.h from what Python knows of Unicode.

usage: tools/unicode_table.py > src/model/unicode_table.h
"""
import unicodedata

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
LAST = 0x10FFFF
CHARS = [chr(c) for c in range(LAST + 1) if not 0xD800 <= c <= 0xDFFF]


def category_runs():
    """(first code point << 5 | category), where the category changes."""
    runs, before = [], None
    for c in range(LAST + 1):
        k = CATEGORIES.index(unicodedata.category(chr(c)))
        if k != before:
            runs.append(c << 5 | k)
        before = k
    return runs


def runs(pairs):
    """[first, last, step, distance] of rising (character, distance): a step of 1 or 2, none overlaps another."""
    out = []
    for c, distance in pairs:
        if out:
            first, last, step, d = out[-1]
            if d == distance and c - last <= 2 and step in (0, c - last):
                out[-1] = [first, c, c - last, d]
                continue
        out.append([c, c, 0, distance])
    return ["{0x%x, 0x%x, %d, %d}," % (a, b, s or 1, d) for a, b, s, d in out]


def bare(c):
    """Decomposed, without marks.  Hangul is arithmetic, and marks vanish: both are left alone."""
    if "\uac00" <= c <= "\ud7a3" or unicodedata.category(c) == "Mn":
        return c
    return "".join(p for p in unicodedata.normalize("NFD", c) if unicodedata.category(p) != "Mn")


def put(items, per_line):
    for i in range(0, len(items), per_line):
        print("    " + " ".join(items[i:i + per_line]))


def put_runs(name, what, pairs):
    rows = runs(pairs)
    if what:
        print("/* %s */" % what)
    print("static const struct unicode_run %s[%d] = {" % (name, len(rows)))
    put(rows, 4)
    print("};\n")


def put_form(name, what, form, stays=lambda c: c):
    """form: what a character becomes; it is left out where that is what `stays` says."""
    changed = [c for c in CHARS if form(c) != stays(c)]
    put_runs("one_" + name, what, [(ord(c), ord(form(c)) - ord(c)) for c in changed if len(form(c)) == 1])
    several = [c for c in changed if len(form(c)) > 1]
    print("static const uint32_t several_%s[%d][1 + UNICODE_FORM_MAX] = {" % (name, len(several)))
    put(["{%s}," % ", ".join("0x%x" % ord(x) for x in c + form(c)) for c in several], 2)
    print("};\n")


def put_claim(name, what, claim):
    put_runs(name, what, [(ord(c), 0) for c in CHARS if claim(c)])


def main():
    categories = category_runs()
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* unicode_table.h - Unicode %s, written by tools/unicode_table.py; do not edit. */" % unicodedata.unidata_version)
    print("#ifndef MODEL_UNICODE_TABLE_H\n#define MODEL_UNICODE_TABLE_H\n\n#include <stdint.h>\n")
    print("// clang-format off")
    print("/* Code points first, first + step, ... up to last; what they become is `distance` further. */")
    print("struct unicode_run {\n    uint32_t first, last, step;\n    int32_t distance;\n};\n")
    print("/* Where the category changes: first code point << 5 | category. */")
    print("static const uint32_t category_runs[%d] = {" % len(categories))
    put(["0x%x," % r for r in categories], 11)
    print("};\n")
    put_claim("other_upper", "Capital letters that are not Lu, small ones that are not Ll, digits that are not Nd.",
              lambda c: c.isupper() and unicodedata.category(c) != "Lu")
    put_claim("other_lower", "", lambda c: c.islower() and unicodedata.category(c) != "Ll")
    put_claim("other_digits", "", lambda c: c.isdigit() and unicodedata.category(c) != "Nd")
    put_form("bare", "Decomposed and without marks; those that become several: itself, then they, 0 behind the last.", bare)
    put_form("lower", "In lower case.", str.lower)
    put_form("upper", "In upper case.", str.upper)
    put_form("title", "In title case, where that is not upper case.", str.title, str.upper)
    print("// clang-format on\n\n#endif")


main()
