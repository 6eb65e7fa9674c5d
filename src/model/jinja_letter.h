/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_letter.h - what Python 3 knows of single characters: their cases, and which can be printed.
 *
 * The tables are made from Python's own by tools/make_letters.py.  Pure functions; any thread. */
#ifndef MODEL_JINJA_LETTER_H
#define MODEL_JINJA_LETTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LETTER_FORMS_MAX 3 /* one letter in capitals may be three: U+FB03 */

enum letter_form { LETTER_UPPER, LETTER_LOWER, LETTER_TITLE, LETTER_SAME };

/* The characters that c becomes; their number. */
size_t letter_in(uint32_t c, enum letter_form form, uint32_t out[LETTER_FORMS_MAX]);

bool letter_is_upper(uint32_t c); /* changes in lower case, or is in upper case for good */
bool letter_is_lower(uint32_t c);
bool letter_is_alpha(uint32_t c);
bool letter_is_digit(uint32_t c);
bool letter_is_printable(uint32_t c);

#endif
