/* SPDX-License-Identifier: Apache-2.0 */
/* supervise.h - the models that the daemon serves: alive, dead, restarted, stopped; and what each
 * is asked.
 *
 * A model whose VCE dies is restarted with a growing pause; what it was asked is lost, and whoever
 * asked decides whether to ask again.  Other models notice nothing.  Everything here runs in the
 * daemon's thread; only the wake-up comes from others. */
#ifndef DAEMON_SUPERVISE_H
#define DAEMON_SUPERVISE_H

#include "daemon/metrics.h"
#include "daemon/runner.h"

#define SUPERVISE_MODELS_MAX       64
#define SUPERVISE_BACKOFF_FIRST_MS 100
#define SUPERVISE_BACKOFF_MOST_MS  30000
#define SUPERVISE_GOOD_RUN_SECONDS \
    10 /* a life this long makes the next pause the first one again */

enum model_state {
    MODEL_STOPPED,    /* by its owner */
    MODEL_STARTING,   /* the VCE is built, the model is read */
    MODEL_READY,      /* answers */
    MODEL_RESTARTING, /* died; the next life begins after a pause */
    MODEL_FAILED,     /* could not be started; tried again if it was ready once */
};
const char *model_state_name(enum model_state state);

struct supervise_options {
    unsigned queue_max;     /* requests of one model, running and waiting */
    unsigned start_seconds; /* from start to READY */
    unsigned stall_seconds; /* an engine that has work and says nothing for this long is ended */
    void (*wake)(void *cookie);
    void *cookie;
};

/* One sequence asked of a model.  The asker's memory; zeroed at first. */
struct ask {
    const struct message_generate *generate; /* or, of an encoder: */
    const struct message_encode *encode;
    /* TEXT, DONE, ERROR or VECTOR (of one row); after all but TEXT the ask is over. */
    void (*hear)(struct ask *a, const struct message *m);
    /* The engine died or was stopped.  True: ask again when the model is back; else it is over. */
    bool (*lost)(struct ask *a, const char *why, bool will_return);
    /* What is asked must stay from hold until release, which comes from another thread. */
    void (*hold)(void *owner), (*release)(void *owner);
    void *owner;

    /* Of supervise.c: */
    struct ask *next, **link;
    struct served *model;
    uint64_t id;
    bool is_waiting; /* for the model to come back */
};

/* A model, for others to read. */
struct served {
    const char *name;
    struct worker_options options; /* its strings belong to the configuration */
    enum model_state state;
    char why[256]; /* what the last life died of */
    unsigned asks; /* running and waiting */

    /* Of this life: */
    pid_t pid;
    struct vce_layer_state layers[VCE_LAYER_COUNT];
    struct message_ready ready; /* its strings point into ready_text */
    char ready_text[8][64];
    struct message_stats stats;
    uint64_t started_ns, ready_ns;
    int64_t loaded_at; /* seconds since 1970 */

    /* Of all lives: */
    uint64_t restarts, prompt_tokens, generated_tokens;
    double prompt_rate, generate_rate; /* tokens per second, of the last seconds of work */
    uint64_t requests, failures, cancels, retries, refusals;
    struct histogram first_token, duration;

    /* Of supervise.c: */
    struct supervisor *supervisor;
    struct runner *runner;
    struct ask *table[256];
    bool was_ready, is_alive, is_stopping, is_ending, must_start;
    /* Ended when it has nothing to do, and started anew; asks wait from REFRESH_ENDING on. */
    enum { REFRESH_NONE, REFRESH_WANTED, REFRESH_ENDING, REFRESH_STARTING } refresh;
    unsigned deaths; /* in a row, without a good run */
    uint64_t life, next_start_ns, heard_ns;
    struct message_stats rate_from;
};

struct supervisor;

int supervise_create(struct supervisor **s, const struct supervise_options *options,
                     struct llmos_error *err);
void supervise_destroy(struct supervisor *s);

/* Adds a model and starts it. */
int supervise_add(struct supervisor *s, const struct runner_ops *ops,
                  const struct worker_options *options, struct llmos_error *err);

struct served *supervise_find(struct supervisor *s, struct str name); /* NULL: there is none */
unsigned supervise_count(const struct supervisor *s);
struct served *supervise_at(struct supervisor *s, unsigned i);

/* It is ready, or started anew in this moment: asks are taken. */
bool supervise_answers(const struct served *m);

/* Room for so many more asks. */
bool supervise_has_room(const struct served *m, unsigned count);

/* LLMOS_ECLOSED: the model does not run now; LLMOS_EBUSY: queue_max requests are there. */
int supervise_ask(struct served *m, struct ask *a, struct llmos_error *err);
/* The asker hears nothing more of it; the engine stops working on it.  Any ask, also a finished
 * one. */
void supervise_cancel(struct ask *a);

/* For a client that is told to come back: seconds, at least 1. */
unsigned supervise_retry_seconds(const struct served *m);

void supervise_stop(struct served *m);  /* until supervise_start */
void supervise_start(struct served *m); /* also ends the pause before a restart */
/* Starts the engine anew as soon as it has nothing to do.  Nobody loses anything: who asks
 * meanwhile waits. */
void supervise_refresh(struct served *m);

/* Handles what has happened.  Returns the milliseconds after which it wants to be called again. */
int supervise_turn(struct supervisor *s);

#endif
