/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - worker threads that run one function in parallel and meet again.
 *
 * Workers spin briefly for the next job (a step of inference has hundreds, microseconds apart),
 * then sleep on a futex: spinning on loses a factor of 3 to 10 as soon as another process wants the
 * core.  With more threads than usable cores there is no spinning at all.  A running pool makes no
 * system call but futex and allocates nothing. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/fail.h"

#include <stddef.h>

struct pool;

/* threads >= 1 counts the caller: 1 creates none and pool_run is a plain call. */
int pool_create(struct pool **pool, unsigned threads, struct llmos_error *err);
void pool_destroy(struct pool *pool); /* NULL is fine */
unsigned pool_threads(const struct pool *pool);

typedef void (*pool_fn)(void *arg, unsigned part, unsigned parts);

/* Calls fn(arg, part, parts) for part = 0 .. parts - 1 with parts = pool_threads(), one part a
 * thread, and returns when all are done; what they wrote is then visible.  One thread drives a
 * pool; fn must not call it. */
void pool_run(struct pool *pool, pool_fn fn, void *arg);

/* The share [begin, end) of `count` items, in multiples of `grain`, that falls to a part. */
static inline void pool_share(size_t count, size_t grain, unsigned part, unsigned parts,
                              size_t *begin, size_t *end)
{
    size_t grains = (count + grain - 1) / grain;
    size_t b = grains * part / parts * grain, e = grains * (part + 1) / parts * grain;

    *begin = b < count ? b : count;
    *end = e < count ? e : count;
}

#endif
