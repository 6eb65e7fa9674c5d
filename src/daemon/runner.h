/* SPDX-License-Identifier: Apache-2.0 */
/* runner.h - a worker with threads of its own, so that nobody else ever waits for an engine.
 *
 * One thread starts the worker and hears it; a second one sends, because an engine that stops
 * reading would block whoever writes to it.  The daemon's thread only leaves letters and collects
 * events: both queues are bounded, and a flood from an engine waits in its socket.
 *
 * A runner lives through many lives of its worker: start, ended, start, ...  All calls come from
 * one thread; `wake` is called from any. */
#ifndef DAEMON_RUNNER_H
#define DAEMON_RUNNER_H

#include "sched/worker.h"

/* What a runner needs of a worker.  Tests bring their own. */
struct runner_ops {
    int (*start)(struct worker **w, const struct worker_options *o, struct llmos_error *err);
    int (*send)(struct worker *w, const struct message *m, struct llmos_error *err);
    int (*receive)(struct worker *w, struct message *m, int timeout_ms, struct llmos_error *err);
    void (*stop)(struct worker *w);
    void (*destroy)(struct worker *w);
    const struct vce *(*vce)(const struct worker *w);
    uint64_t (*memory_bytes)(const struct worker *w);
};
extern const struct runner_ops runner_real; /* worker.h; in runner_real.c */

enum runner_event_kind { RUNNER_STARTED, RUNNER_MESSAGE, RUNNER_ENDED };

struct runner_event {
    struct runner_event *next;
    size_t bytes;
    enum runner_event_kind kind;
    uint64_t life;    /* of the worker, counted from 1: what a dead one said late is known by it */
    struct message m; /* MESSAGE: its slices belong to the event */
    pid_t pid;        /* STARTED */
    struct vce_layer_state layers[VCE_LAYER_COUNT]; /* STARTED */
    struct llmos_error why;                         /* ENDED */
};

struct runner;

int runner_create(struct runner **r, const struct runner_ops *ops,
                  const struct worker_options *options, void (*wake)(void *), void *cookie,
                  struct llmos_error *err);
/* Stops the worker, ends the threads.  Letters that were not sent are released. */
void runner_destroy(struct runner *r);

/* Asks for a life.  ENDED is its last event, also if it never began. */
void runner_start(struct runner *r);
/* Ends this life.  The runner says ENDED when it is over. */
void runner_stop(struct runner *r);

/* Leaves a letter.  What m points to must stay until release(owner), which is called from another
 * thread once it is sent, or can not be.  LLMOS_EBUSY: too many letters wait. */
int runner_send(struct runner *r, const struct message *m, void (*release)(void *), void *owner,
                struct llmos_error *err);

/* The next event, for runner_event_free; NULL if there is none. */
struct runner_event *runner_next(struct runner *r);
void runner_event_free(struct runner_event *e);

uint64_t runner_memory_bytes(struct runner *r); /* of the engine now; 0: unknown */
uint64_t runner_sending_ns(struct runner *r); /* since when one letter is being sent; 0: none is */

#endif
