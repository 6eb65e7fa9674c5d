/* SPDX-License-Identifier: Apache-2.0 */
/* prepared.h - packed weights for a verb: those that are there, or made now, with a bar.
 *
 * Nothing here keeps a model from running: what could not be had is one line on standard error. */
#ifndef CLI_PREPARED_H
#define CLI_PREPARED_H

#include "cli/screen.h"
#include "sched/prepare.h"

/* A prepare_result or an error, after a bar on standard error.  LLMOS_ECANCELED: the user halted
 * it. */
int prepared_make(struct packcache *cache, const struct worker_options *worker,
                  struct llmos_error *err);

/* The cache that a worker is to be given, for packcache_close; NULL: the model runs without.  Makes
 * what is missing for a large model.  False: the user halted it. */
bool prepared_find(struct packcache **cache, const struct worker_options *worker);

/* After an engine said that packed weights are damaged: makes them again.  False: halted. */
bool prepared_again(struct packcache *cache, const struct worker_options *worker);

#endif
