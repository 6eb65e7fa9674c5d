/* SPDX-License-Identifier: Apache-2.0 */
/* preparer.h - makes packed weights for the models that are served, in the background.
 *
 * A model starts at once from its own layout.  When it is ready and has no packed weights, a thread
 * makes them, one model after the other, in a VCE that takes one core at most and what others leave
 * of it (prepare.h).  Then the model's engine is started anew when it has nothing to do, and finds
 * them; who asks meanwhile waits.  Damaged ones are made again, once.
 *
 * All calls come from the daemon's thread; `wake` comes from the other. */
#ifndef DAEMON_PREPARER_H
#define DAEMON_PREPARER_H

#include "daemon/supervise.h"
#include "sched/prepare.h"

struct preparer;

/* prepare_model; tests bring their own. */
typedef int (*preparer_make)(const struct prepare_options *options, struct llmos_error *err);

struct preparer_options {
    preparer_make make;
    struct packcache *cache;
    uint64_t least_bytes; /* smaller models are left alone */
    void (*wake)(void *cookie);
    void *cookie;
};

int preparer_create(struct preparer **p, const struct preparer_options *options,
                    struct llmos_error *err);
/* Interrupts what is being made.  NULL is fine. */
void preparer_destroy(struct preparer *p);

/* Looks what is wanting and what is finished.  Models whose options have no packcache are left
 * alone. */
void preparer_turn(struct preparer *p, struct supervisor *s);

#endif
