/* SPDX-License-Identifier: Apache-2.0 */
/* attend.h - attention of the rows of a run over what their sequences have stored, shared by
 * threads.
 *
 * Rows make tiles.  Those of one KV head follow each other, so that a thread stays with its keys;
 * threads get equal work, not equal numbers of tiles, since later positions look back further. */
#ifndef INFER_ATTEND_H
#define INFER_ATTEND_H

#include "infer/forward.h"

/* The scratch that it needs. */
void attend_carve(struct forward *f, struct carve *c);
/* The rows of the run into tiles.  Few rows make small tiles, so that there are some for every
 * thread. */
void attend_plan(struct forward *f);
/* For the pool: the stage in progress, and then, where blocks of a tile are shared between threads
 * (f->head_partials), what joins them. */
void attend_part(void *forward, unsigned part, unsigned parts);
void attend_join_part(void *forward, unsigned part, unsigned parts);

#endif
