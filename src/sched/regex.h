/* SPDX-License-Identifier: Apache-2.0 */
/* regex.h - regular expressions: their parts, and these as a part of a grammar (GBNF,
 * infer/grammar.h).
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

#include "base/mem.h"
#include "sched/charset.h"

#define REGEX_BYTES_MAX  65536
#define REGEX_GROUPS_MAX 64 /* groups in groups */

enum regex_kind {
    REGEX_SET,    /* a character of the ranges from a on, b of them, which are tidy */
    REGEX_OPEN,   /* a group; part a closes it */
    REGEX_CLOSE,  /* part a opened it */
    REGEX_BAR,    /* or */
    REGEX_REPEAT, /* the set or group before it, a to b times */
};
#define REGEX_NO_END UINT32_MAX

struct regex_part {
    uint32_t kind, a, b;
};

struct regex {
    struct buf parts, ranges;
};

/* is_part: found anywhere in a text unless ^ and $ say otherwise; else the whole text.  On failure
 * (LLMOS_EFORMAT, LLMOS_EUNSUPPORTED, LLMOS_ELIMIT, LLMOS_ENOMEM) there is nothing to be finished.
 */
int regex_parse(struct regex *r, struct str pattern, bool is_part, struct llmos_error *err);
void regex_fini(struct regex *r);

static inline size_t regex_count(const struct regex *r)
{
    return r->parts.len / sizeof(struct regex_part);
}

static inline const struct regex_part *regex_part(const struct regex *r, size_t i)
{
    return (const struct regex_part *)(const void *)r->parts.at + i;
}

static inline const struct charset_range *regex_ranges(const struct regex *r)
{
    return (const struct charset_range *)(const void *)r->ranges.at;
}

static inline void cleanup_regex(struct regex *r)
{
    regex_fini(r);
}

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
