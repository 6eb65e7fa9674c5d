/* SPDX-License-Identifier: Apache-2.0 */
/* regex.h - regular expressions as a part of a grammar (GBNF, infer/grammar.h).
 *
 * The notation is the common part of ECMAScript, Python and PCRE that means a regular language:
 * characters, classes, \d \w \s and their opposites, groups, |, * + ? {m,n} (lazy ones too: what
 * matches is the same), and ^ $ around a whole alternative.  Look-around, back-references, flags,
 * \b and \p are refused by name.  \d \w \s mean what they do in ECMAScript.  No recursion; linear.
 *
 * Here and not in the engine: it takes grammars alone, and what it does not have cannot be reached
 * by a hostile request or model there. */
#ifndef SCHED_REGEX_H
#define SCHED_REGEX_H

#include "base/buf.h"

#define REGEX_BYTES_MAX  65536
#define REGEX_GROUPS_MAX 64 /* groups in groups */

enum regex_mode {
    REGEX_WHOLE,      /* the text as it is, all of it */
    REGEX_JSON_WHOLE, /* what a JSON string says: in the text, some characters are escaped */
    REGEX_JSON_PART,  /* likewise, found anywhere in it unless ^ and $ say otherwise */
};

/* Appends one element of a sequence.  LLMOS_EFORMAT, LLMOS_EUNSUPPORTED, LLMOS_ELIMIT; out may then
 * have a part of it. */
int regex_put(struct buf *out, struct str pattern, enum regex_mode mode, struct llmos_error *err);

/* A literal of the grammar with these bytes, which are UTF-8. */
void regex_put_literal(struct buf *out, struct str text);

#endif
