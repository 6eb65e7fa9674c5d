/* SPDX-License-Identifier: Apache-2.0 */
/* shares.h - work cut by how fast each thread was before.
 *
 * Of equal shares all wait for the slowest: for a core of another kind, one that somebody else uses
 * as well, memory that is further away or lies in smaller pages.  So each thread has a speed,
 * relative to the others', for each kind of work; it follows what is measured by an eighth each
 * time, so that what a thread was kept from once is soon forgotten.
 *
 * Whoever drives the threads learns while none of them works; any may cut. */
#ifndef BASE_SHARES_H
#define BASE_SHARES_H

#include <stddef.h>
#include <stdint.h>

/* What one thread did: a cache line each. */
struct share_done {
    _Alignas(64) size_t items;
    uint64_t end; /* clock_ticks when it had done them */
};

/* All of `parts` threads are as fast. */
void shares_begin(float *speeds, unsigned parts);

/* The share [begin, end) of `count` items that falls to a part. */
void shares_cut(const float *speeds, unsigned part, unsigned parts, size_t count, size_t *begin,
                size_t *end);

/* All began at `start`.  Parts that had nothing to do come nearer to the others: they may have
 * become faster since. */
void shares_learn(float *speeds, const struct share_done *done, unsigned parts, uint64_t start);

#endif
