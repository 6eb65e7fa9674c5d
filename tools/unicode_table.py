#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""unicode_table.py - writes src/model/unicode_table.h from what Python knows of Unicode.

usage: tools/unicode_table.py > src/model/unicode_table.h

Needs the package tokenizers: it has its own tables of punctuation and of marks, those of Unicode 8.
"""
import unicodedata

from tokenizers import normalizers, pre_tokenizers

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


CUT = pre_tokenizers.Punctuation("isolated")
STRIP = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
ALL_MARKS = normalizers.StripAccents()
CLEAN = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)


def is_mark(c):
    return STRIP.normalize_str(c) == ""


def bare(c):
    """Decomposed, without marks.  Hangul is arithmetic, and marks vanish: both are left alone."""
    return c if "\uac00" <= c <= "\ud7a3" or is_mark(c) else STRIP.normalize_str(c)


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


def put_ranges(name, what, claim):
    ranges = []
    for c in map(ord, filter(claim, CHARS)):
        if ranges and c == ranges[-1][1] + 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    print("/* %s */\nstatic const struct unicode_range %s[%d] = {" % (what, name, len(ranges)))
    put(["{0x%x, 0x%x}," % (a, b) for a, b in ranges], 6)
    print("};\n")


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
    put_ranges("old_punctuation", "What Hugging Face's tokenizers call punctuation.", lambda c: len(CUT.pre_tokenize_str("a" + c + "a")) == 3)
    put_ranges("old_marks", "The marks that their BERT strips.", is_mark)
    put_ranges("old_combining", "The marks that their StripAccents strips.", lambda c: ALL_MARKS.normalize_str(c) == "")
    put_ranges("old_controls", "The characters that their BERT removes before.", lambda c: CLEAN.normalize_str(c) == "")
    print("// clang-format on\n\n#endif")


main()
