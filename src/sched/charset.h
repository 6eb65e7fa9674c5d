/* SPDX-License-Identifier: Apache-2.0 */
/* charset.h - a set of characters (code points), as regular expressions have them, and as a class
 * of a grammar (GBNF, infer/grammar.h).  Halves of characters in UTF-16 are in none.  Any thread.
 */
#ifndef SCHED_CHARSET_H
#define SCHED_CHARSET_H

#include "base/buf.h"

#define CHARSET_RANGES_MAX 512
#define CHARSET_CODE_MAX   0x10FFFFu

struct charset_range {
    uint32_t low, high;
};

struct charset {
    struct charset_range at[CHARSET_RANGES_MAX];
    size_t count;
    bool is_full; /* more were added than there is room for */
};

void charset_add(struct charset *s, uint32_t low, uint32_t high);
void charset_tidy(struct charset *s); /* in order and apart, without the halves */
void charset_negate(struct charset *s);
bool charset_has(const struct charset *s, uint32_t c);

/* Of a tidy set.  True if any character was written; if not, nothing was. */
bool charset_put(struct buf *out, const struct charset *s);
/* As they stand in a JSON string, where quotes, backslashes and control characters are escaped. */
bool charset_put_json(struct buf *out, const struct charset *s);

#endif
