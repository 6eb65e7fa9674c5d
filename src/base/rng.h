/* SPDX-License-Identifier: Apache-2.0 */
/* rng.h - random numbers of two kinds that cannot be mixed up.
 *
 * struct rng repeats: the same seed gives the same numbers for ever, on every machine; who knows a
 * few of them knows the rest.  It is for sampling, shuffling, initial weights.
 * struct csprng comes from the kernel and cannot be predicted or repeated.  It is for keys, ids and
 * the noise of differential privacy, whose functions take nothing else.
 * Both belong to one thread at a time. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include "base/fail.h"

#include <stddef.h>
#include <stdint.h>

/* xoshiro256** 1.0 (Blackman & Vigna 2018), its state filled by SplitMix64 (Steele, Lea & Flood
 * 2014) as its authors advise: any seed is a good one, 0 too. */
struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed);
uint64_t rng_u64(struct rng *r);
double rng_uniform(struct rng *r); /* [0, 1), 53 bits */
/* [0, bound), every value equally likely; bound > 0. */
uint64_t rng_below(struct rng *r, uint64_t bound);
/* Normal with mean 0 and variance 1 (polar method, Marsaglia & Bray 1964). */
double rng_normal(struct rng *r);

/* getrandom(2), fetched some hundred bytes at a time; bytes are wiped as they are given out.  After
 * fork the child must begin with csprng_init, or both would hand out the same bytes. */
struct csprng {
    size_t left;
    unsigned char bytes[256];
};

void csprng_init(struct csprng *c);
int csprng_fill(struct csprng *c, void *out, size_t n, struct llmos_error *err);
void csprng_fini(struct csprng *c); /* wipes what is left */

#endif
