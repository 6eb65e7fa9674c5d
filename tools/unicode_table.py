#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""unicode_table.py - writes src/model/unicode_table.h from what Python knows of Unicode.

usage: tools/unicode_table.py > src/model/unicode_table.h
"""
import unicodedata

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
LAST = 0x10FFFF


def category_runs():
    """(first code point << 5 | category), where the category changes."""
    runs, before = [], None
    for c in range(LAST + 1):
        k = CATEGORIES.index(unicodedata.category(chr(c)))
        if k != before:
            runs.append(c << 5 | k)
        before = k
    return runs


def folded(c):
    """Decomposed, without marks, in lower case: what an uncased BERT sees."""
    parts = unicodedata.normalize("NFD", chr(c))
    return "".join(p for p in parts if unicodedata.category(p) != "Mn").lower()


def fold_tables():
    """Runs of equal distance (first, last, step, distance), and those that become several."""
    runs, several = [], []
    for c in range(LAST + 1):
        if 0xAC00 <= c <= 0xD7A3 or 0xD800 <= c <= 0xDFFF or unicodedata.category(chr(c)) == "Mn":
            continue  # Hangul is arithmetic; marks vanish
        f = folded(c)
        if f == chr(c):
            continue
        if len(f) != 1:
            several.append([c] + [ord(p) for p in f] + [0] * (3 - len(f)))
            continue
        distance = ord(f) - c
        if runs:
            first, last, step, d = runs[-1]
            gap = c - last
            if d == distance and gap <= 2 and step in (0, gap):
                runs[-1] = (first, c, gap, d)
                continue
        runs.append((c, c, 0, distance))
    return runs, several


def put(items, per_line):
    for i in range(0, len(items), per_line):
        print("    " + " ".join(items[i:i + per_line]))


def main():
    runs = category_runs()
    folds, several = fold_tables()
    print("/* SPDX-License-Identifier: Apache-2.0 */")
    print("/* unicode_table.h - Unicode %s, written by tools/unicode_table.py; do not edit. */" % unicodedata.unidata_version)
    print("#ifndef MODEL_UNICODE_TABLE_H\n#define MODEL_UNICODE_TABLE_H\n\n#include <stdint.h>\n")
    print("// clang-format off")
    print("/* Where the category changes: first code point << 5 | category. */")
    print("static const uint32_t category_runs[%d] = {" % len(runs))
    put(["0x%x," % r for r in runs], 11)
    print("};\n")
    print("/* Code points first, first + step, ... up to last move by distance. */")
    print("static const struct fold_run {\n    uint32_t first, last;\n    int32_t distance;\n    uint32_t step;\n} fold_runs[%d] = {" % len(folds))
    put(["{0x%x, 0x%x, %d, %d}," % (a, b, d, s or 1) for a, b, s, d in folds], 4)
    print("};\n")
    print("/* Those that become several; 0: no more. */")
    print("static const uint32_t fold_several[%d][4] = {" % len(several))
    put(["{%s}," % ", ".join("0x%x" % x for x in s) for s in several], 2)
    print("};")
    print("// clang-format on\n\n#endif")


main()
