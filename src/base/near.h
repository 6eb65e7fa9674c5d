/* SPDX-License-Identifier: Apache-2.0 */
/* near.h - which known word did the user mean?
 *
 * For "unknown option '--temprature'; did you mean '--temperature'?".  Used for options, verbs and
 * configuration keys.  Allocates nothing, keeps no state: any thread. */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include <stddef.h>

#define NEAR_WORD_MAX 64 /* longer words resemble nothing */

/* Insertions, deletions, changes and swaps of neighbours that turn one word into the other; words
 * longer than NEAR_WORD_MAX are NEAR_WORD_MAX apart. */
size_t near_distance(const char *a, const char *b);

/* The best of the candidates offered so far.  Zeroed but for word: nothing was offered. */
struct near {
    const char *word; /* what was typed */
    const char *best; /* NULL: nothing resembles it */
    size_t distance;  /* of best */
};

/* Takes the candidate if it is nearer than the best one and near enough: a third of the letters may
 * differ, and at least one may. A candidate that begins with the word counts as one change. */
void near_offer(struct near *n, const char *candidate);

#endif
