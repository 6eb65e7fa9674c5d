/* SPDX-License-Identifier: Apache-2.0 */
/* automaton.h - a set of texts as a finite automaton over characters, so that sets can be joined,
 * cut and taken from each other, which grammars cannot.
 *
 * Deterministic: a state has arcs for ranges of characters, in order and apart; where no arc leads,
 * no text goes on.  State 0 is the first.  From each state a text of the set can be ended, but the
 * first one of an empty set.  Subset construction (Rabin and Scott 1959) from the positions of a
 * regular expression (Thompson 1968); states, arcs and work are bounded, what would be larger is
 * refused.  Any thread; one automaton, one thread. */
#ifndef SCHED_AUTOMATON_H
#define SCHED_AUTOMATON_H

#include "sched/regex.h"

#define AUTOMATON_STATES_MAX 8192 /* each is a rule of the grammar */
#define AUTOMATON_ARCS_MAX   65536
#define AUTOMATON_WORK_MAX                                                 \
    (1u << 25) /* steps of all that one request needs; a tenth of a second \
                */

struct automaton_arc {
    uint32_t low, high, to;
};

struct automaton_state {
    uint32_t first, count; /* arcs */
    bool accepts;
};

struct automaton {
    struct buf states, arcs;
};

enum automaton_how { AUTOMATON_AND, AUTOMATON_AND_NOT };

/* Each fills an automaton that is not one yet, and takes its steps off *work (AUTOMATON_WORK_MAX at
 * first); on failure (LLMOS_ELIMIT, LLMOS_ENOMEM) there is nothing to be finished. */
int automaton_of_regex(struct automaton *a, const struct regex *r, uint64_t *work,
                       struct llmos_error *err);
int automaton_of_words(struct automaton *a, const struct str *words, size_t count, uint64_t *work,
                       struct llmos_error *err);
/* Texts of least to most characters; most REGEX_NO_END: no end. */
int automaton_of_lengths(struct automaton *a, uint32_t least, uint32_t most,
                         struct llmos_error *err);
int automaton_of_two(struct automaton *out, const struct automaton *a, const struct automaton *b,
                     enum automaton_how how, uint64_t *work, struct llmos_error *err);
void automaton_fini(struct automaton *a);

/* The same, of *a: takes its place. */
int automaton_narrow(struct automaton *a, const struct automaton *by, enum automaton_how how,
                     uint64_t *work, struct llmos_error *err);

bool automaton_is_empty(const struct automaton *a);
bool automaton_has(const struct automaton *a, struct str text); /* which is UTF-8 */

/* Rules r<*rules> and so on, the first of them for state 0; *rules is moved on.  As texts, or as
 * they stand in a JSON string.  Not of an empty set.  The rule `any` (NULL: none) is what stands
 * for a state from which every text goes on. */
void automaton_put(struct buf *out, const struct automaton *a, bool is_json, const char *any,
                   unsigned *rules);

/* Of any places that a text of ASCII leads to: a place is a few words, the first one is zeros. */
#define AUTOMATON_WORDS_MAX 8
struct automaton_walk {
    const void *about;
    uint32_t words;                                                              /* of a place */
    const char *alphabet;                                                        /* in order */
    bool (*next)(const void *about, const uint32_t *from, char c, uint32_t *to); /* false: none */
    bool (*accepts)(const void *about, const uint32_t *place);
};
int automaton_of_walk(struct automaton *a, const struct automaton_walk *w, uint64_t *work,
                      struct llmos_error *err);

static inline void cleanup_automaton(struct automaton *a)
{
    automaton_fini(a);
}

#endif
