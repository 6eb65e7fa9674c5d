/* SPDX-License-Identifier: Apache-2.0 */
/* chars.h - where the characters of a text begin, and making text valid. */
#ifndef MODEL_CHARS_H
#define MODEL_CHARS_H

#include "base/buf.h"

/* Bytes of the character at text (1 to 4), 0 if these bytes are not valid UTF-8: overlong forms,
 * surrogates and numbers above 10FFFF are not.  left must not be 0. */
size_t chars_length(const char *text, size_t left);

/* Puts text with every invalid byte replaced by U+FFFD. */
void chars_put_valid(struct buf *out, struct str text);

/* A zero-terminated copy for people, cut at a character to fit `room` bytes: what is not valid, and
 * control characters, become '?'. */
void chars_clean(char *out, size_t room, struct str text);

#endif
