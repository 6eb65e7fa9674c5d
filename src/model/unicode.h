/* SPDX-License-Identifier: Apache-2.0 */
/* unicode.h - what a character is and becomes: for tokenizers and for templates.
 *
 * The tables are those of Unicode 14, written by tools/unicode_table.py.  Pure functions; any
 * thread. */
#ifndef MODEL_UNICODE_H
#define MODEL_UNICODE_H

#include "base/str.h"

#include <stdint.h>

#define UNICODE_LAST     0x10ffffu
#define UNICODE_NO_TEXT  0xfffdu /* U+FFFD stands for a byte that is no UTF-8 */
#define UNICODE_FORM_MAX 3       /* characters that one becomes: U+FB03 in capitals */

/* General categories, in the order of the table. */
enum unicode_category {
    UNICODE_LU,
    UNICODE_LL,
    UNICODE_LT,
    UNICODE_LM,
    UNICODE_LO,
    UNICODE_MN,
    UNICODE_MC,
    UNICODE_ME,
    UNICODE_ND,
    UNICODE_NL,
    UNICODE_NO,
    UNICODE_PC,
    UNICODE_PD,
    UNICODE_PS,
    UNICODE_PE,
    UNICODE_PI,
    UNICODE_PF,
    UNICODE_PO,
    UNICODE_SM,
    UNICODE_SC,
    UNICODE_SK,
    UNICODE_SO,
    UNICODE_ZS,
    UNICODE_ZL,
    UNICODE_ZP,
    UNICODE_CC,
    UNICODE_CF,
    UNICODE_CS,
    UNICODE_CO,
    UNICODE_CN,
    UNICODE_CATEGORY_COUNT
};

/* Runs of code points of one category, in order: run i begins at unicode_run_first(i) and ends
 * before the next one. */
size_t unicode_run_count(void);
uint32_t unicode_run_first(size_t i);
enum unicode_category unicode_run_category(size_t i);

enum unicode_category unicode_category(uint32_t c);
bool unicode_is_space(uint32_t c); /* White_Space */

/* What Hugging Face's tokenizers call punctuation, ASCII's symbols among it, and marks that they
 * strip: their tables are those of Unicode 8. */
struct unicode_range {
    uint32_t first, last;
};
const struct unicode_range *unicode_old_punctuation(size_t *count);
bool unicode_is_old_punctuation(uint32_t c);
bool unicode_is_old_mark(uint32_t c);
bool unicode_is_old_combining(uint32_t c); /* spacing ones, too */
bool unicode_is_old_control(uint32_t c);

/* As Python 3 has them: a capital letter is Lu or Other_Uppercase, a digit has a digit's value, and
 * a number any value. */
bool unicode_is_upper(uint32_t c);
bool unicode_is_lower(uint32_t c);
bool unicode_is_alpha(uint32_t c);
bool unicode_is_digit(uint32_t c);
bool unicode_is_alnum(uint32_t c);
bool unicode_is_printable(uint32_t c);
/* \w of regular expressions: UTS #18, annex C. */
bool unicode_is_word(uint32_t c);

enum unicode_form { UNICODE_SAME, UNICODE_UPPER, UNICODE_LOWER, UNICODE_TITLE };

/* The characters that c becomes; their number, at least 1. */
size_t unicode_in(uint32_t c, enum unicode_form form, uint32_t out[UNICODE_FORM_MAX]);
/* Canonically decomposed, without marks, in lower case, as Hugging Face's BERT does it: 0 to
 * UNICODE_FORM_MAX characters. */
size_t unicode_fold(uint32_t c, uint32_t out[UNICODE_FORM_MAX]);
/* The same with the case left as it is. */
size_t unicode_bare(uint32_t c, uint32_t out[UNICODE_FORM_MAX]);

/* The character at the front of s (not empty) and its bytes; what is no UTF-8 is one byte and
 * UNICODE_NO_TEXT. */
uint32_t unicode_next(struct str s, size_t *bytes);
/* Writes c as UTF-8; the number of bytes. */
size_t unicode_put(uint32_t c, char out[4]);

#endif
