/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h - a model in its VCE, seen from outside: start it, ask it, hear it, stop it.
 *
 * The daemon holds one worker a model; the CLI holds one for itself.  Nothing here knows HTTP.
 * Sending may come from any thread; receiving from one thread at a time; worker_stop from any
 * thread, after which receive says LLMOS_ECLOSED.  What arrives has been parsed and bounded
 * (message.h), not believed. */
#ifndef SCHED_WORKER_H
#define SCHED_WORKER_H

#include "net/message.h"
#include "vce/launch.h"

struct worker;

struct worker_options {
    const char *name;           /* of the model, for cgroup and host name; cleaned as needed */
    const char *model_path;     /* a regular file */
    struct message_setup setup; /* threads 0: one for every usable core */
    unsigned cpu_percent;       /* 0: no limit */
    uint64_t memory_max_bytes;  /* 0: the weights do not count; a generous share of what is free */
    unsigned skip_layers, required_layers; /* launch.h */
    bool require_default;
    const char *engine_path;   /* NULL: llmos-engine, found as vce_find_program does */
    const char *launcher_path; /* NULL: llmos-vce */
};

/* Opens the model, builds the VCE, sends SETUP.  Does not wait for READY: the first message
 * received is READY, or ERROR with id 0 which says what is wrong with the model. */
int worker_start(struct worker **w, const struct worker_options *options, struct llmos_error *err);

/* Queues nothing: writes the frame whole, or fails.  LLMOS_ECLOSED: the engine is gone. */
int worker_send(struct worker *w, const struct message *m, struct llmos_error *err);

/* The next message: 1; 0: none within timeout_ms (-1: wait); LLMOS_ECLOSED: the engine has ended,
 * and the text says how ("killed by SIGKILL (out of memory)"); LLMOS_EFORMAT: it broke the protocol
 * and was killed. Slices in *m are valid until the next call. */
int worker_receive(struct worker *w, struct message *m, int timeout_ms, struct llmos_error *err);

const struct vce *worker_vce(const struct worker *w); /* pid, layers */
uint64_t worker_memory_bytes(const struct worker *w); /* Pss of the engine now; 0 if unknown */

/* Kills the engine; a thread in worker_receive returns.  Idempotent. */
void worker_stop(struct worker *w);
/* Stops, reaps, frees. Nothing else may use w any more. NULL is fine. */
void worker_destroy(struct worker *w);

#endif
