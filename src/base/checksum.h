/* SPDX-License-Identifier: Apache-2.0 */
/* checksum.h - finds damage, not malice: eight lanes of 64-bit words, each with its upper half
 * mixed into the lower and summed twice (Fletcher 1982). */
#ifndef BASE_CHECKSUM_H
#define BASE_CHECKSUM_H

#include "base/pool.h"

#include <stdint.h>

#define CHECKSUM_LANES 8
#define CHECKSUM_GRAIN 64 /* bytes: all that is added is a multiple */

struct checksum {
    uint64_t sum[CHECKSUM_LANES], sums[CHECKSUM_LANES]; /* zeros: of nothing */
};

void checksum_add(struct checksum *c, const void *p, size_t bytes);

/* first becomes what it would be had all of second's bytes been added to it. */
void checksum_join(struct checksum *first, const struct checksum *second, size_t bytes);

/* Of bytes that lie in memory, by all threads of a pool (NULL: by the caller alone). */
void checksum_of(struct checksum *c, const void *p, size_t bytes, struct pool *pool);

uint64_t checksum_end(const struct checksum *c);

#endif
