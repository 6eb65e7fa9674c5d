/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.h - makes a model's packed weights: once, in a VCE that can write them and nothing else.
 *
 * The file is read for its hash here, and parsed only there, from the same descriptor.  May take
 * minutes; the calling thread does nothing else. */
#ifndef SCHED_PREPARE_H
#define SCHED_PREPARE_H

#include "sched/packcache.h"
#include "sched/worker.h"

/* Smaller models answer faster than they could be prepared: they are left alone unless asked for.
 */
#define PREPARE_LEAST_BYTES ((uint64_t)32 << 20)

enum prepare_result {
    PREPARE_MADE,
    PREPARE_PRESENT, /* they were there already */
    PREPARE_USELESS, /* this processor reads the model as it is, and that is remembered */
};

enum prepare_step { PREPARE_READING, PREPARE_PACKING };

struct prepare_options {
    struct packcache *cache;
    /* Of the model: name, path, layers, programs, memory.  The rest is filled in here. */
    const struct worker_options *worker;
    bool is_background; /* one core at most, and only what others leave of it */
    /* Called several times a second; a negative value (LLMOS_ECANCELED) ends the work.  May be
     * NULL. */
    int (*progress)(void *arg, enum prepare_step step, uint64_t done, uint64_t total);
    void *arg;
};

/* A prepare_result or an error.  Whatever fails, nothing half-made is left. */
int prepare_model(const struct prepare_options *options, struct llmos_error *err);

#endif
