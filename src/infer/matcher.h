/* SPDX-License-Identifier: Apache-2.0 */
/* matcher.h - where one text stands in a grammar, and which tokens may come next.
 *
 * All ways in which the text so far can be read are followed at once.  A way is a place: a node of
 * the grammar and what stands behind it, a stack of calls.  Stacks share their cells, and ways that
 * called the same rule at the same byte share one cell with several ways on (Tomita 1985; Scott and
 * Johnstone 2010), so an ambiguous grammar costs a polynomial, not a power.  Equal sets of places
 * are one state with one number, so steps are remembered in a table, as those of a lazy automaton,
 * and the tokens that a state allows are a bitmap that is kept.
 *
 * The limits depend on the text and the grammar alone, so that the same seed gives the same bytes
 * whatever was remembered: the places of a state and the depth of its stacks (a byte that would go
 * beyond is not allowed), the work of a mask, and the memory of the states that are alive.  What
 * was only remembered is dropped when memory comes to its end.
 *
 * A step that samples several tokens may fail and be taken again: what was accepted since
 * matcher_begin counts from matcher_commit on.  One thread at a time. */
#ifndef INFER_MATCHER_H
#define INFER_MATCHER_H

#include "infer/grammar.h"
#include "infer/tokentrie.h"

#define MATCHER_PLACES_MAX 4096        /* of one state; honest grammars have a dozen */
#define MATCHER_DEPTH_MAX  65536       /* calls in calls */
#define MATCHER_WORK_MAX   (1u << 24)  /* places of one mask's walk; honest ones need a tenth */
#define MATCHER_BYTES_MAX  (16u << 20) /* remembered, masks not counted */
#define MATCHER_BYTES_MIN  (1u << 20)
#define MATCHER_ALIVE_MAX  (256u << 20) /* of what cannot be forgotten, twice: then it fails */
#define MATCHER_MASKS_MAX  64           /* bitmaps: 19 KB each for 150,000 tokens */
#define MATCHER_MARKS_MAX  16

struct matcher;

/* A control token that is text where it may come: [TOOL_CALLS]. */
struct matcher_mark {
    uint32_t token;
    struct str piece;
};

/* Takes the grammar, also when it fails.  The trie must outlive it. */
int matcher_create(struct matcher **matcher, struct grammar *g, const struct tokentrie *trie,
                   struct llmos_error *err);
void matcher_destroy(struct matcher *m); /* NULL is fine */

/* Before anything is asked; the pieces must outlive it.  A mark may come where its bytes may,
 * unless they are nothing but more of the same text (in a string of any characters); where nothing
 * but marks may come, their bytes come as no other tokens. */
void matcher_set_marks(struct matcher *m, const struct matcher_mark *marks, uint32_t count);

/* At most so many bytes of what can be found again are remembered, at least MATCHER_BYTES_MIN and
 * at most MATCHER_BYTES_MAX: the less, the slower. */
void matcher_remember(struct matcher *m, size_t bytes);

/* At the beginning of a text again; what was remembered stays.  If drops_space, a space that begins
 * the text is none: the tokenizer put it there. */
void matcher_reset(struct matcher *m, bool drops_space);

void matcher_begin(struct matcher *m);  /* behind what was committed */
void matcher_commit(struct matcher *m); /* what was accepted stays */

/* May the token come next? */
bool matcher_allows(struct matcher *m, uint32_t token);
/* Which may: a bit each, valid until the next call; NULL: no memory, or no place is left in it. */
const uint64_t *matcher_mask(struct matcher *m);
/* The token comes; false if it may not, and nothing has changed. */
bool matcher_accept(struct matcher *m, uint32_t token);
/* As the token's, for bytes alone. */
bool matcher_accept_byte(struct matcher *m, uint8_t byte);

bool matcher_may_end(const struct matcher *m);  /* the text is complete as it is */
bool matcher_must_end(const struct matcher *m); /* and nothing more may come */
/* 0; or why something above could not be told: LLMOS_ENOMEM, LLMOS_ELIMIT.  Until matcher_begin. */
int matcher_failure(const struct matcher *m);

size_t matcher_bytes(const struct matcher *m); /* all that it has, its grammar included */

/* For tests: forgets all that was remembered, as when memory comes to its end. */
void matcher_forget(struct matcher *m);

#endif
