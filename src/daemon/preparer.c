/* SPDX-License-Identifier: Apache-2.0 */
/* preparer.c - see preparer.h */
#include "daemon/preparer.h"

#include "base/log.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>

#define TRIES_MAX 2 /* the second for damaged ones; if these are damaged too it is no accident */

enum job_state { JOB_NONE, JOB_WAITING, JOB_DONE };

/* Of a model, by its number in the supervisor. */
struct job {
    struct worker_options worker; /* its strings belong to the configuration */
    int result;
    struct llmos_error why;
    enum job_state state; /* under the lock */
    unsigned tries;       /* of the daemon's thread */
};

struct preparer {
    struct preparer_options options;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool must_end; /* under the lock */
    struct job jobs[SUPERVISE_MODELS_MAX];
};

/* --- the thread ------------------------------------------------------------------------------- */

static int go_on(void *arg, enum prepare_step step, uint64_t done, uint64_t total)
{
    struct preparer *p = arg;
    bool must_end;

    (void)step;
    (void)done;
    (void)total;
    pthread_mutex_lock(&p->lock);
    must_end = p->must_end;
    pthread_mutex_unlock(&p->lock);
    return must_end ? LLMOS_ECANCELED : 0;
}

static struct job *first_waiting(struct preparer *p)
{
    for (unsigned i = 0; i < SUPERVISE_MODELS_MAX; i++)
        if (p->jobs[i].state == JOB_WAITING)
            return &p->jobs[i];
    return NULL;
}

static void work(struct preparer *p, struct job *j)
{
    const struct prepare_options o = {.cache = p->options.cache,
                                      .worker = &j->worker,
                                      .is_background = true,
                                      .progress = go_on,
                                      .arg = p};

    j->result = p->options.make(&o, &j->why);
}

static void *run(void *arg)
{
    struct preparer *p = arg;

    pthread_mutex_lock(&p->lock);
    while (!p->must_end) {
        struct job *j = first_waiting(p);

        if (!j) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        pthread_mutex_unlock(&p->lock);
        work(p, j); /* nobody else touches a job that waits */
        pthread_mutex_lock(&p->lock);
        j->state = JOB_DONE;
        p->options.wake(p->options.cookie);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --- the daemon's side ------------------------------------------------------------------------ */

static bool is_wanting(const struct preparer *p, const struct job *j, const struct served *m)
{
    if (!m->options.packcache || m->state != MODEL_READY || m->refresh != REFRESH_NONE)
        return false;
    if (m->ready.packing == PACKING_DAMAGED)
        return j->tries < TRIES_MAX;
    return m->ready.packing == PACKING_NONE && j->tries == 0 &&
           parts_bytes(m->options.model_path) >= p->options.least_bytes;
}

static void set_state(struct preparer *p, struct job *j, enum job_state state)
{
    pthread_mutex_lock(&p->lock);
    j->state = state;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

static enum job_state state_of(struct preparer *p, const struct job *j)
{
    enum job_state state;

    pthread_mutex_lock(&p->lock);
    state = j->state;
    pthread_mutex_unlock(&p->lock);
    return state;
}

static void begin(struct preparer *p, struct job *j, const struct served *m)
{
    j->tries++;
    j->worker = m->options;
    log_event(LOG_INFO, "preparing packed weights model=%s", m->name);
    set_state(p, j, JOB_WAITING);
}

static void finish(struct preparer *p, struct job *j, struct served *m)
{
    set_state(p, j, JOB_NONE);
    if (j->result == PREPARE_USELESS) {
        log_event(LOG_INFO, "packed weights are of no use on this processor model=%s", m->name);
    } else if (j->result < 0) {
        log_event(LOG_WARN, "model runs without packed weights model=%s why=\"%s\"", m->name,
                  j->why.text);
    } else {
        log_event(LOG_INFO, "packed weights are there model=%s", m->name);
        supervise_refresh(m);
    }
}

void preparer_turn(struct preparer *p, struct supervisor *s)
{
    for (unsigned i = 0; i < supervise_count(s); i++) {
        struct served *m = supervise_at(s, i);
        struct job *j = &p->jobs[i];
        enum job_state state = state_of(p, j);

        if (state == JOB_DONE)
            finish(p, j, m);
        else if (state == JOB_NONE && is_wanting(p, j, m))
            begin(p, j, m);
    }
}

int preparer_create(struct preparer **preparer, const struct preparer_options *o,
                    struct llmos_error *err)
{
    struct preparer *p = mem_zalloc(1, sizeof(*p));
    sigset_t all, old;

    if (!p)
        return fail(err, LLMOS_ENOMEM, "no memory for packing");
    p->options = *o;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    p->has_thread = pthread_create(&p->thread, NULL, run, p) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (!p->has_thread) {
        preparer_destroy(p);
        return fail(err, LLMOS_ENOMEM, "no thread for packing");
    }
    *preparer = p;
    return 0;
}

void preparer_destroy(struct preparer *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->must_end = true;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    if (p->has_thread)
        pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}
