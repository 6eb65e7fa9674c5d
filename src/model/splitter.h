/* SPDX-License-Identifier: Apache-2.0 */
/* splitter.h - cuts a text at the matches of expressions, in linear time.
 *
 * An expression becomes a table of states (subset construction over classes of characters, threads
 * in order of preference: Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009),
 * so that what matches is what a backtracking engine would find first, and nothing is tried twice.
 * Known are: literals, \r \n \t \s \S \d \p{..} \P{..}, \p{P8} (unicode_is_old_punctuation), [...]
 * and [^...] of those and ranges,
 * (...),
 * (?:...), (?i:...) of ASCII letters, |, ? * + {n} {n,m}, possessive ?+ *+ ++ (as if greedy: for
 * expressions in which that makes no difference), (?!x) and (?=x) for one character or class x, and
 * $ for the end of the piece.  Besides these two expressions that finitely many states cannot do
 * are done by counting: SPLITTER_THREES and SPLITTER_LAST_THREES.
 *
 * For expressions of our own, not those of files.  Read-only once made; any thread. */
#ifndef MODEL_SPLITTER_H
#define MODEL_SPLITTER_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/str.h"

#include <stdint.h>

#define SPLITTER_STEPS_MAX 6

/* In front of every three digits of a run, counted from its end. */
#define SPLITTER_THREES "(?=(\\d{3})+(?!\\d))"
/* The same of the run that the piece ends in. */
#define SPLITTER_LAST_THREES "(?=(\\d{3})+$)"

/* One expression as a machine: to[state * width + class] is the next state times two, plus one if
 * the text before this character matches.  Class width - 1 is the end. */
struct splitter_step {
    uint16_t *to; /* NULL: SPLITTER_THREES, or if at_end SPLITTER_LAST_THREES */
    bool at_end;
};

struct splitter {
    struct splitter_step steps[SPLITTER_STEPS_MAX];
    size_t step_count;
    uint32_t width;
    const uint8_t *blocks; /* class of a character: blocks[256 * block[c / 256] + c % 256] */
    const uint16_t *block;
    uint8_t ascii[128];
};

/* The tables come from the arena.  Zero expressions: the text stays whole. */
int splitter_init(struct splitter *s, const char *const *expressions, size_t count,
                  struct arena *arena, struct llmos_error *err);

/* What is called for each piece; a negative result ends the run and is its result. */
typedef int (*splitter_put)(void *to, struct str piece);

/* Every match is a piece, and what lies between matches is one; each piece is cut by the next
 * expression.  Bytes that are no UTF-8 are characters of their own, like U+FFFD. */
int splitter_run(const struct splitter *s, struct str text, splitter_put put, void *to);

#endif
