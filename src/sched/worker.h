/* SPDX-License-Identifier: Apache-2.0 */
/* worker.h - a model in its VCE, seen from outside: start it, ask it, hear it, stop it.
 *
 * The daemon holds one worker a model; the CLI holds one for itself.  Nothing here knows HTTP.
 * Sending may come from any thread; receiving from one thread at a time; worker_stop from any
 * thread, after which receive says LLMOS_ECLOSED.  What arrives has been parsed and bounded
 * (message.h), not believed. */
#ifndef SCHED_WORKER_H
#define SCHED_WORKER_H

#include "model/parts.h"
#include "net/message.h"
#include "sched/packcache.h"
#include "vce/launch.h"

struct worker;

struct worker_options {
    const char *name;                /* of the model, for cgroup and host name; cleaned as needed */
    const char *model_path;          /* a regular file, or any part of a model in several */
    const struct parts *model_files; /* if model_path is NULL; the caller's.  NULL: no model */
    const char *draft_path;          /* of a draft model; NULL: none.  Decides setup.draft_model */
    /* Packed weights of the model are used if they are there, and removed if the engine says that
     * they are damaged.  Outlives the worker; NULL: none. */
    struct packcache *packcache;
    /* Further files of the engine, under the numbers of launch.h: what it writes, and what it reads
     * beside a model.  They stay the caller's. */
    const struct vce_file *files;
    unsigned file_count;
    bool is_background;         /* launch.h */
    struct message_setup setup; /* threads 0: one for every usable core */
    unsigned cpu_percent;       /* 0: no limit */
    /* What the engine may allocate for caches and scratch; the weights, which are mapped, do not
     * count.  0: three quarters of what is free. */
    uint64_t memory_max_bytes;
    unsigned skip_layers, required_layers; /* launch.h */
    bool require_default;
    unsigned stall_ms;         /* an engine that reads no request for so long is killed; 0: 60000 */
    const char *engine_path;   /* NULL: llmos-engine, found as vce_find_program does */
    const char *launcher_path; /* NULL: llmos-vce */
};

/* Opens the model, builds the VCE, sends SETUP.  Does not wait for READY: the first message
 * received is READY, or ERROR with id 0 which says what is wrong with the model. */
int worker_start(struct worker **w, const struct worker_options *options, struct llmos_error *err);

/* Queues nothing: writes the frame whole, or fails.  LLMOS_ECLOSED: the engine is gone;
 * LLMOS_EBUSY: it did not read (stall_ms) and was killed; LLMOS_EINVAL: a request of that id is
 * alive; LLMOS_ELIMIT: the request is larger than a frame.  A CANCEL of a request that is over is
 * dropped. May be called before READY has come: the engine reads on when its model is loaded. */
int worker_send(struct worker *w, const struct message *m, struct llmos_error *err);

/* The next message: 1; 0: none within timeout_ms (-1: wait); LLMOS_ECLOSED: the engine has ended,
 * and the text says how ("killed by SIGKILL (out of memory)"); LLMOS_EFORMAT: it broke the protocol
 * and was killed.  Slices in *m are valid until the next call.  An answer comes only to a request
 * that is alive, of the kind it asked for, and within what it asked for; READY comes first and
 * once. After an end every call gives the first reason again. */
int worker_receive(struct worker *w, struct message *m, int timeout_ms, struct llmos_error *err);

const struct vce *worker_vce(const struct worker *w); /* pid, layers */
uint64_t worker_memory_bytes(const struct worker *w); /* Pss of the engine now; 0 if unknown */

/* Kills the engine; a thread in worker_receive returns.  Idempotent. */
void worker_stop(struct worker *w);
/* Stops, reaps, frees. Nothing else may use w any more. NULL is fine. */
void worker_destroy(struct worker *w);

#endif
