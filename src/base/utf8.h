/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h - is it text, and if not, make it text.
 *
 * Strict as RFC 3629 says: no overlong forms, no surrogates, nothing above U+10FFFF.  What an
 * engine or a client sends is checked here before it reaches JSON.  Pure functions; any thread. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/buf.h"

/* Bytes of the character at the front of s: 1 to 4; 0 if s is empty or does not begin with a whole,
 * valid character. */
size_t utf8_length(struct str s);

/* Bytes at the front of s that are valid; s.len if all are. */
size_t utf8_valid_bytes(struct str s);

/* Appends s with every maximal broken part replaced by U+FFFD, as the Unicode standard recommends:
 * "a\xff\xe2\x82" becomes a, U+FFFD, U+FFFD. */
void utf8_put(struct buf *out, struct str s);

/* The code point of a whole character of that many bytes (RFC 3629, section 3). */
uint32_t utf8_code(const char *at, size_t length);

/* Characters in a valid text. */
size_t utf8_count(struct str s);

#endif
