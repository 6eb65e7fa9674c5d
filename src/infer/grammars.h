/* SPDX-License-Identifier: Apache-2.0 */
/* grammars.h - matchers of one vocabulary, kept for whoever comes with the same grammar again.
 *
 * Compiling takes microseconds to milliseconds, and a matcher that has been used knows its masks.
 * One that is given back waits for the next of its domain (llmos/session.h); those of a private
 * domain are gone.  Bounded: the ones that waited longest go first.
 *
 * All memory counts: the tree of the vocabulary, those that wait and those in use.  A grammar that
 * would pass the limit with nobody left to go first is refused.  While texts grow, what a matcher
 * remembers stays within what was left when it was taken; what it cannot forget (MATCHER_ALIVE_MAX)
 * may pass the limit: only the text decides that.  One thread at a time. */
#ifndef INFER_GRAMMARS_H
#define INFER_GRAMMARS_H

#include "infer/matcher.h"
#include "llmos/session.h"

#define GRAMMARS_IDLE_MAX       16
#define GRAMMARS_IDLE_BYTES_MAX (48u << 20)

struct grammars {
    const llmos_tokenizer *tokenizer;
    struct tokentrie *trie;      /* NULL until the first grammar */
    struct grammars_entry *idle; /* the last one that was given back first */
    struct grammars_entry *busy;
    size_t bytes_max; /* 0: no limit */
};

void grammars_init(struct grammars *g, const llmos_tokenizer *tokenizer);
void grammars_fini(struct grammars *g); /* all must have been given back */

int grammars_take(struct grammars *g, const struct llmos_grammar *wanted, uint64_t domain,
                  struct matcher **matcher, struct grammars_entry **entry, struct llmos_error *err);
void grammars_give(struct grammars *g, struct grammars_entry *entry);

size_t grammars_bytes(const struct grammars *g); /* of memory, now */

#endif
