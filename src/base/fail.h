/* SPDX-License-Identifier: Apache-2.0 */
/* fail.h - fill the caller's error and return its code, in one expression.
 *
 *     if (count > TENSORS_MAX)
 *         return fail(err, LLMOS_ELIMIT, "%zu tensors, at most %d are accepted", count,
 * TENSORS_MAX);
 *
 * Whoever knows more puts it in front on the way up:
 *
 *     return fail_while(err, rc, "model '%s'", path);      ->  model 'x.gguf': 70000 tensors, at
 * most ...
 *
 * err may be NULL everywhere.  Control characters in the text (names from hostile files) are
 * replaced by
 * '?', and a text that is too long is cut at a character boundary and ends in "...". */
#ifndef BASE_FAIL_H
#define BASE_FAIL_H

#include "llmos/error.h"

#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

/* Returns code, which must be negative. */
int fail(struct llmos_error *err, int code, const char *format, ...) PRINTF_LIKE(3, 4);

/* As fail, with ": " and the text of errno behind it.  The code follows from errno (ENOMEM ->
 * LLMOS_ENOMEM, ENOENT -> LLMOS_ENOTFOUND, EACCES/EPERM -> LLMOS_EDENIED, else LLMOS_EIO). */
int fail_errno(struct llmos_error *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Puts "context: " in front of what err already says.  Returns rc. */
int fail_while(struct llmos_error *err, int rc, const char *format, ...) PRINTF_LIKE(3, 4);

#endif
