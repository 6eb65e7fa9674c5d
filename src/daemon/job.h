/* SPDX-License-Identifier: Apache-2.0 */
/* job.h - one HTTP request that engines work on, from its arrival to its last byte.
 *
 * A kind of job is a struct that begins with a struct job, and a few calls: what is particular
 * about it.  What all have in common is here: a job is read, finds its model, asks it, and ends
 * when it is answered, when it fails, or when its client goes, which takes what it asked along.
 * Its memory stays until no letter on its way to an engine needs it.  Everything but job_hold and
 * job_release runs in the daemon's thread. */
#ifndef DAEMON_JOB_H
#define DAEMON_JOB_H

#include "daemon/openai.h"
#include "daemon/supervise.h"
#include "net/server.h"

#include <stdatomic.h>

struct job;

/* All that run. */
struct jobs {
    struct supervisor *supervisor;
    struct json_limits json;
    size_t reply_max_bytes; /* of one sequence that is not streamed */
    bool is_draining;       /* new ones are refused */
    struct job *first;
    unsigned count;
};

/* Calls that return an int are negative with the fault filled if the request cannot be served. */
struct job_kind {
    size_t bytes; /* of the whole struct */
    size_t arena_least, arena_factor;
    const char *context_param; /* the field that is too long when a context is */
    /* Reads the body; *model is the one that it names. */
    int (*parse)(struct job *j, struct str *model, struct openai_fault *fault);
    /* Asks the model, which is there; the fault needs no more than its error. */
    int (*begin)(struct job *j, struct openai_fault *fault);
    /* If a part of the answer is sent, ends it with the failure; NULL: nothing is sent before all
     * is there. */
    bool (*breaks_off)(struct job *j, const struct openai_fault *fault);
    /* Takes back what is asked, and frees what is not in the arena. */
    void (*end)(struct job *j);
};

struct job {
    const struct job_kind *kind;
    atomic_int refs; /* ours, and one for each letter on its way to an engine */
    struct arena arena;
    struct jobs *all;
    struct job *next, **link;
    struct server_request *http; /* NULL: the client has gone, or has its answer */
    struct served *model;
    uint64_t start_ns;
};

/* Answers r, now or later. */
void job_start(struct jobs *all, const struct job_kind *kind, struct server_request *r);

/* Ends what still runs with an error. */
void jobs_end(struct jobs *all, const char *why);

/* For asks, whose owner is the job. */
void job_hold(void *job);
void job_release(void *job);

/* Each of these ends the job: it is gone when they return. */
void job_done(struct job *j);                   /* the client has its answer */
void job_reply(struct job *j, struct buf *out); /* the whole answer, which is taken */
void job_fail_code(struct job *j, int code, struct str text);
void job_fail_heard(struct job *j, const struct message *m); /* an engine's ERROR */
void job_fail_lost(struct job *j, const char *why);          /* the engine died of it */

/* Replies with the error object; 429 and 503 carry retry-after. */
void job_refuse(struct server_request *r, const struct openai_fault *fault, unsigned retry_seconds);

/* The fault of an unknown model. */
void job_unknown_model(struct openai_fault *fault, struct str name);

#endif
