/* SPDX-License-Identifier: Apache-2.0 */
/* runner.c - see runner.h */
#include "daemon/runner.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <signal.h>

#define LETTERS_MAX      4096       /* 1024 requests, each with its cancel, and room to spare */
#define EVENTS_BYTES_MAX (8u << 20) /* what an engine may say ahead of us */

struct letter {
    struct letter *next;
    struct message m;
    void (*release)(void *);
    void *owner;
};

struct runner {
    const struct runner_ops *ops;
    struct worker_options options;
    void (*wake)(void *);
    void *cookie;

    pthread_t hearer, sender;
    pthread_mutex_t lock;
    pthread_cond_t work; /* a life or a letter is wanted, or the end */
    pthread_cond_t calm; /* the sender let go of the worker; events were taken */
    bool has_hearer, has_sender;

    /* Under the lock: */
    bool must_end, is_wanted, is_living, is_stopping;
    struct worker *worker; /* NULL between lives */
    bool is_sending;
    uint64_t sending_since_ns, life;
    struct letter *letters, **letters_end;
    unsigned letter_count;
    struct runner_event *events, **events_end;
    size_t event_bytes;
};

/* --- events ----------------------------------------------------------------------------------- */

static struct str copy_str(char **at, struct str s)
{
    char *to = *at;

    if (s.len)
        memcpy(to, s.at, s.len);
    *at += s.len;
    return (struct str){to, s.len};
}

static size_t logprob_bytes(const struct message_text *t)
{
    size_t n = 0;

    for (uint32_t i = 0; i < t->logprob_count; i++) {
        n += t->logprobs[i].chosen.token.len;
        for (uint32_t j = 0; j < t->logprobs[i].top_count; j++)
            n += t->logprobs[i].top[j].token.len;
    }
    return n;
}

/* Bytes behind the event that its message points to. */
static size_t tail_bytes(const struct message *m)
{
    switch (m->type) {
    case MESSAGE_READY:
        return m->ready.architecture.len + m->ready.name.len + m->ready.file_type.len +
               m->ready.chat_format.len + m->ready.tool_format.len + m->ready.thought_format.len +
               m->ready.backend.len + m->ready.kv_type.len;
    case MESSAGE_TEXT:
        return m->text.logprob_count * sizeof(*m->text.logprobs) + m->text.text.len +
               logprob_bytes(&m->text);
    case MESSAGE_ERROR:
        return m->error.text.len;
    case MESSAGE_VECTOR:
        return (size_t)m->vector.rows * m->vector.width * sizeof(float);
    default:
        return 0;
    }
}

static void copy_text(struct message_text *to, const struct message_text *from, char *at)
{
    struct message_token_logprobs *l = (void *)at;

    at += from->logprob_count * sizeof(*l);
    to->logprobs = l;
    if (from->logprob_count)
        memcpy(l, from->logprobs, from->logprob_count * sizeof(*l));
    for (uint32_t i = 0; i < from->logprob_count; i++) {
        l[i].chosen.token = copy_str(&at, l[i].chosen.token);
        for (uint32_t j = 0; j < l[i].top_count; j++)
            l[i].top[j].token = copy_str(&at, l[i].top[j].token);
    }
    to->text = copy_str(&at, from->text);
}

static struct runner_event *event_new(enum runner_event_kind kind, const struct message *m)
{
    size_t bytes = sizeof(struct runner_event) + (m ? tail_bytes(m) : 0);
    struct runner_event *e = mem_alloc(bytes);
    char *at = (char *)(e + 1);

    if (!e)
        return NULL;
    memset(e, 0, sizeof(*e));
    e->bytes = bytes;
    e->kind = kind;
    if (!m)
        return e;
    e->m = *m;
    if (m->type == MESSAGE_TEXT) {
        copy_text(&e->m.text, &m->text, at);
    } else if (m->type == MESSAGE_ERROR) {
        e->m.error.text = copy_str(&at, m->error.text);
    } else if (m->type == MESSAGE_VECTOR) {
        e->m.vector.values = memcpy(at, m->vector.values, tail_bytes(m));
        e->m.vector.pieces = NULL; /* nobody asks here what tokens say */
    } else if (m->type == MESSAGE_READY) {
        e->m.ready.labels = NULL; /* nor what labels are called */
        e->m.ready.architecture = copy_str(&at, m->ready.architecture);
        e->m.ready.name = copy_str(&at, m->ready.name);
        e->m.ready.file_type = copy_str(&at, m->ready.file_type);
        e->m.ready.chat_format = copy_str(&at, m->ready.chat_format);
        e->m.ready.tool_format = copy_str(&at, m->ready.tool_format);
        e->m.ready.thought_format = copy_str(&at, m->ready.thought_format);
        e->m.ready.backend = copy_str(&at, m->ready.backend);
        e->m.ready.kv_type = copy_str(&at, m->ready.kv_type);
    }
    return e;
}

void runner_event_free(struct runner_event *e)
{
    mem_free(e);
}

/* Puts the event into the queue; while that is full of an engine's words, waits. */
static void post(struct runner *r, struct runner_event *e)
{
    bool was_empty;

    pthread_mutex_lock(&r->lock);
    while (e->kind == RUNNER_MESSAGE && r->event_bytes > EVENTS_BYTES_MAX && !r->must_end &&
           !r->is_stopping)
        pthread_cond_wait(&r->calm, &r->lock);
    e->life = r->life;
    was_empty = !r->events;
    *r->events_end = e;
    r->events_end = &e->next;
    r->event_bytes += e->bytes;
    pthread_mutex_unlock(&r->lock);
    if (was_empty)
        r->wake(r->cookie);
}

struct runner_event *runner_next(struct runner *r)
{
    struct runner_event *e;

    pthread_mutex_lock(&r->lock);
    e = r->events;
    if (e) {
        r->events = e->next;
        if (!r->events)
            r->events_end = &r->events;
        r->event_bytes -= e->bytes;
        pthread_cond_broadcast(&r->calm);
    }
    pthread_mutex_unlock(&r->lock);
    return e;
}

/* --- letters ---------------------------------------------------------------------------------- */

static struct letter *take_letter(struct runner *r)
{
    struct letter *l = r->letters;

    if (l) {
        r->letters = l->next;
        r->letter_count--;
        if (!r->letters)
            r->letters_end = &r->letters;
    }
    return l;
}

static void letter_free(struct letter *l)
{
    if (l->release)
        l->release(l->owner);
    mem_free(l);
}

/* Those of a life that is over: whoever wrote them hears ENDED. */
static void drop_letters(struct runner *r)
{
    struct letter *l;

    pthread_mutex_lock(&r->lock);
    while ((l = take_letter(r))) {
        pthread_mutex_unlock(&r->lock);
        letter_free(l);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
}

int runner_send(struct runner *r, const struct message *m, void (*release)(void *), void *owner,
                struct llmos_error *err)
{
    struct letter *l = mem_alloc(sizeof(*l));
    int rc = 0;

    if (!l)
        return fail(err, LLMOS_ENOMEM, "no memory for the request");
    *l = (struct letter){.m = *m, .release = release, .owner = owner};
    pthread_mutex_lock(&r->lock);
    if (!r->worker || r->is_stopping) {
        rc = fail(err, LLMOS_ECLOSED, "the model is not running");
    } else if (r->letter_count >= LETTERS_MAX) {
        rc = fail(err, LLMOS_EBUSY, "%d messages wait for the model; try again later", LETTERS_MAX);
    } else {
        *r->letters_end = l;
        r->letters_end = &l->next;
        r->letter_count++;
        pthread_cond_broadcast(&r->work);
    }
    pthread_mutex_unlock(&r->lock);
    if (rc < 0)
        mem_free(l);
    return rc;
}

static void *send_letters(void *cookie)
{
    struct runner *r = cookie;

    pthread_mutex_lock(&r->lock);
    while (!r->must_end) {
        struct letter *l = r->worker && !r->is_stopping ? take_letter(r) : NULL;
        struct worker *w = r->worker;

        if (!l) {
            pthread_cond_wait(&r->work, &r->lock);
            continue;
        }
        r->is_sending = true;
        r->sending_since_ns = clock_ns();
        pthread_mutex_unlock(&r->lock);
        /* A failure needs no words here: the engine is gone, and the hearer is about to say so. */
        (void)r->ops->send(w, &l->m, NULL);
        letter_free(l);
        pthread_mutex_lock(&r->lock);
        r->is_sending = false;
        r->sending_since_ns = 0;
        pthread_cond_broadcast(&r->calm);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* --- lives ------------------------------------------------------------------------------------ */

static int begin_life(struct runner *r, struct llmos_error *why)
{
    struct runner_event *e = event_new(RUNNER_STARTED, NULL);
    struct worker *w = NULL;
    const struct vce *v;
    int rc = e ? r->ops->start(&w, &r->options, why) : LLMOS_ENOMEM;

    if (rc < 0) {
        mem_free(e);
        return e ? rc : fail(why, rc, "no memory to start the model");
    }
    v = r->ops->vce(w);
    if (v) {
        e->pid = v->pid;
        memcpy(e->layers, v->layers, sizeof(e->layers));
    }
    pthread_mutex_lock(&r->lock);
    r->worker = w;
    pthread_mutex_unlock(&r->lock);
    post(r, e);
    return 0;
}

static bool is_over(struct runner *r)
{
    bool over;

    pthread_mutex_lock(&r->lock);
    over = r->must_end || r->is_stopping;
    pthread_mutex_unlock(&r->lock);
    return over;
}

/* Types that nobody asked for are dropped: an engine cannot make us remember them. */
static bool is_wanted_type(uint16_t type)
{
    return type == MESSAGE_READY || type == MESSAGE_TEXT || type == MESSAGE_DONE ||
           type == MESSAGE_ERROR || type == MESSAGE_STATS || type == MESSAGE_VECTOR;
}

static void hear(struct runner *r, struct llmos_error *why)
{
    /* The worker is ours until end_life: only this thread takes it away. */
    struct worker *w = r->worker;

    while (!is_over(r)) {
        struct runner_event *e;
        struct message m;
        int rc = r->ops->receive(w, &m, 500, why);

        if (rc < 0)
            return;
        if (rc == 0 || !is_wanted_type(m.type))
            continue;
        e = event_new(RUNNER_MESSAGE, &m);
        if (!e) {
            fail(why, LLMOS_ENOMEM, "no memory to hear the model");
            return;
        }
        post(r, e);
    }
    fail(why, LLMOS_ECANCELED, "stopped");
}

static void end_life(struct runner *r)
{
    struct worker *w;

    r->ops->stop(r->worker); /* also frees a sender that is stuck in a write */
    pthread_mutex_lock(&r->lock);
    w = r->worker;
    r->worker = NULL;
    while (r->is_sending)
        pthread_cond_wait(&r->calm, &r->lock);
    pthread_mutex_unlock(&r->lock);
    drop_letters(r);
    r->ops->destroy(w);
}

static void live(struct runner *r, struct runner_event *end)
{
    struct llmos_error why = {0};

    if (begin_life(r, &why) == 0) {
        hear(r, &why);
        end_life(r);
    }
    pthread_mutex_lock(&r->lock);
    r->is_living = r->is_stopping = false;
    pthread_mutex_unlock(&r->lock);
    end->kind = RUNNER_ENDED;
    end->bytes = sizeof(*end);
    end->why = why;
    post(r, end);
}

static void *hear_lives(void *cookie)
{
    struct runner *r = cookie;

    pthread_mutex_lock(&r->lock);
    while (!r->must_end) {
        struct runner_event *end;

        if (!r->is_wanted) {
            pthread_cond_wait(&r->work, &r->lock);
            continue;
        }
        /* The news of the end is made first, so that want of memory cannot swallow it. */
        end = mem_zalloc(1, sizeof(*end));
        if (!end) {
            struct timespec t;

            clock_gettime(CLOCK_REALTIME, &t);
            t.tv_sec++;
            pthread_cond_timedwait(&r->work, &r->lock, &t);
            continue;
        }
        r->is_wanted = false;
        r->is_living = true;
        r->life++;
        pthread_mutex_unlock(&r->lock);
        live(r, end);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

void runner_start(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->is_wanted = true;
    pthread_cond_broadcast(&r->work);
    pthread_mutex_unlock(&r->lock);
}

void runner_stop(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->is_stopping = r->is_wanted || r->is_living;
    if (r->worker)
        r->ops->stop(r->worker);
    pthread_cond_broadcast(&r->calm);
    pthread_mutex_unlock(&r->lock);
}

uint64_t runner_memory_bytes(struct runner *r)
{
    uint64_t bytes;

    pthread_mutex_lock(&r->lock);
    bytes = r->worker ? r->ops->memory_bytes(r->worker) : 0;
    pthread_mutex_unlock(&r->lock);
    return bytes;
}

uint64_t runner_sending_ns(struct runner *r)
{
    uint64_t since;

    pthread_mutex_lock(&r->lock);
    since = r->sending_since_ns;
    pthread_mutex_unlock(&r->lock);
    return since;
}

/* --- the runner ------------------------------------------------------------------------------- */

/* Signals are the main thread's. */
static bool start_thread(pthread_t *thread, void *(*run)(void *), struct runner *r)
{
    sigset_t all, old;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_create(thread, NULL, run, r);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0;
}

int runner_create(struct runner **runner, const struct runner_ops *ops,
                  const struct worker_options *options, void (*wake)(void *), void *cookie,
                  struct llmos_error *err)
{
    struct runner *r = mem_zalloc(1, sizeof(*r));

    if (!r)
        return fail(err, LLMOS_ENOMEM, "no memory for a model");
    r->ops = ops;
    r->options = *options;
    r->wake = wake;
    r->cookie = cookie;
    r->letters_end = &r->letters;
    r->events_end = &r->events;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->work, NULL);
    pthread_cond_init(&r->calm, NULL);
    r->has_hearer = start_thread(&r->hearer, hear_lives, r);
    r->has_sender = start_thread(&r->sender, send_letters, r);
    if (!r->has_hearer || !r->has_sender) {
        runner_destroy(r);
        return fail(err, LLMOS_ENOMEM, "no thread for a model");
    }
    *runner = r;
    return 0;
}

void runner_destroy(struct runner *r)
{
    struct runner_event *e;

    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->must_end = true;
    if (r->worker)
        r->ops->stop(r->worker);
    pthread_cond_broadcast(&r->work);
    pthread_cond_broadcast(&r->calm);
    pthread_mutex_unlock(&r->lock);
    if (r->has_hearer)
        pthread_join(r->hearer, NULL);
    if (r->has_sender)
        pthread_join(r->sender, NULL);
    drop_letters(r);
    while ((e = runner_next(r)))
        runner_event_free(e);
    pthread_cond_destroy(&r->calm);
    pthread_cond_destroy(&r->work);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}
