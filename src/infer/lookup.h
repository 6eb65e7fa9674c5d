/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.h - where a sequence has said before what it says now: the source of drafts that costs no
 * model (prompt lookup, Saxena 2023: a text that quotes goes on as it went on before).
 *
 * Every position is entered once, under the hash of the last LOOKUP_LEAST tokens; those of one hash
 * are a chain, the latest first.  A search compares the tokens themselves, at most LOOKUP_MATCH_MAX
 * of at most LOOKUP_CHAIN_MAX positions, so neither a collision nor a text made for it (one token a
 * million times) costs more than that a step, or hands out what is not there.
 *
 * The tokens are the caller's and must not change below the length last given, except through
 * lookup_truncate.  Nothing is allocated.  One thread. */
#ifndef INFER_LOOKUP_H
#define INFER_LOOKUP_H

#include "infer/carve.h"

#include <stdint.h>

/* Fewer tokens in common are an accident as a rule: ", and the" is everywhere. */
#define LOOKUP_LEAST     3
#define LOOKUP_MATCH_MAX 32 /* longer ones are equally good: the latest of them */
#define LOOKUP_CHAIN_MAX 32

struct lookup {
    uint32_t *heads;  /* by hash: the last position entered, + 1; 0: none */
    uint32_t *before; /* by position: the one before it of the same hash, + 1 */
    uint32_t bits;    /* of the hash */
    uint32_t entered; /* positions below are */
};

void lookup_carve(struct lookup *l, uint32_t tokens_max, struct carve *c);
void lookup_reset(struct lookup *l); /* of an empty sequence */

/* The earlier position behind which the sequence goes on: the tokens before *at are, as far back as
 * the result says, those at its end; the longest such place, of equals the latest, *at < count.
 * 0: there is none of LOOKUP_LEAST tokens. */
uint32_t lookup_find(struct lookup *l, const int32_t *tokens, uint32_t count, uint32_t *at);

/* The sequence is cut to `count` tokens; those behind may change from now on. */
void lookup_truncate(struct lookup *l, const int32_t *tokens, uint32_t count);

#endif
