/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_text.h - the strings of a chat template as Python handles them: valid UTF-8 in which every
 * byte knows whether somebody said it.
 *
 * Parts share the bytes of the whole.  What copies goes through a jinja_build and so pays for its
 * work. */
#ifndef MODEL_JINJA_TEXT_H
#define MODEL_JINJA_TEXT_H

#include "model/jinja_value.h"

#define TEXT_NOT_FOUND SIZE_MAX

/* Of the character at byte `at`, which must be inside. */
size_t jinja_char_bytes(struct jinja_str text, size_t at);
uint32_t jinja_char(struct jinja_str text, size_t at);
/* Bytes [from, to). */
struct jinja_str jinja_part(struct jinja_str text, size_t from, size_t to);
/* Where character number n begins; text.len if there are fewer. */
size_t jinja_offset(struct jinja_str text, size_t n);

/* What str.isspace() says of one character. */
bool jinja_is_space(uint32_t c);

enum { STRIP_LEFT = 1, STRIP_RIGHT = 2 };
/* chars NULL: white space. */
struct jinja_str jinja_strip(struct jinja_str text, const struct jinja_str *chars, int sides);

/* Byte offsets; TEXT_NOT_FOUND. */
size_t jinja_find(struct jinja_str text, struct jinja_str what, size_t from);
size_t jinja_find_last(struct jinja_str text, struct jinja_str what);
size_t jinja_count(struct jinja_store *s, struct jinja_str text, struct jinja_str what);

/* max < 0: all. */
struct jinja_value jinja_replace(struct jinja_store *s, struct jinja_str text, struct jinja_str old,
                                 struct jinja_str new, int64_t max);
/* separator NULL: at runs of white space. */
struct jinja_value jinja_split(struct jinja_store *s, struct jinja_str text,
                               const struct jinja_str *separator, int64_t max);
struct jinja_value jinja_split_right(struct jinja_store *s, struct jinja_str text,
                                     const struct jinja_str *separator, int64_t max);
struct jinja_value jinja_split_lines(struct jinja_store *s, struct jinja_str text, bool keep_ends);

enum jinja_case { CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE, CASE_SWAP, CASE_WORDS };
/* CASE_TITLE is str.title(), CASE_WORDS is the filter "title". */
struct jinja_value jinja_in_case(struct jinja_store *s, struct jinja_str text,
                                 enum jinja_case which);

/* In quotes, as repr() writes it. */
void jinja_put_quoted(struct jinja_build *b, struct jinja_str text);
/* For HTML: & < > " ' */
struct jinja_value jinja_escape(struct jinja_store *s, struct jinja_str text);

#endif
