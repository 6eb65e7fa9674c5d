/* SPDX-License-Identifier: Apache-2.0 */
/* supervise.c - see supervise.h */
#include "daemon/supervise.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <time.h>

#define TURN_MS_MOST    1000
#define EVENTS_A_TURN   1024 /* then the HTTP server gets its turn */
#define SENDING_SECONDS 30   /* an engine that does not read one letter for this long is ended */
#define RATE_WINDOW_US  3000000u

struct supervisor {
    struct supervise_options options;
    struct served *models[SUPERVISE_MODELS_MAX];
    unsigned count;
    uint64_t next_id;
};

const char *model_state_name(enum model_state state)
{
    static const char *const names[] = {"stopped", "starting", "ready", "restarting", "failed"};

    return names[state];
}

/* --- asks ------------------------------------------------------------------------------------- */

static struct ask **slot_of(struct served *m, uint64_t id)
{
    return &m->table[id % (sizeof(m->table) / sizeof(m->table[0]))];
}

static struct ask *find_ask(struct served *m, uint64_t id)
{
    struct ask *a = *slot_of(m, id);

    while (a && a->id != id)
        a = a->next;
    return a;
}

static void link_ask(struct served *m, struct ask *a)
{
    struct ask **slot;

    a->model = m;
    a->id = ++m->supervisor->next_id;
    slot = slot_of(m, a->id);
    a->next = *slot;
    a->link = slot;
    if (a->next)
        a->next->link = &a->next;
    *slot = a;
    m->asks++;
}

static void unlink_ask(struct ask *a)
{
    *a->link = a->next;
    if (a->next)
        a->next->link = a->link;
    a->model->asks--;
    a->model = NULL;
    a->is_waiting = false;
}

static int send_ask(struct ask *a, struct llmos_error *err)
{
    struct served *m = a->model;
    struct message letter = {.type = a->encode ? MESSAGE_ENCODE : MESSAGE_GENERATE, .id = a->id};
    int rc;

    if (a->encode)
        letter.encode = *a->encode;
    else
        letter.generate = *a->generate;

    a->hold(a->owner);
    rc = runner_send(m->runner, &letter, a->release, a->owner, err);
    if (rc < 0)
        a->release(a->owner);
    if (m->asks == 1)
        m->heard_ns = clock_ns(); /* from here on it has work */
    return rc;
}

unsigned supervise_retry_seconds(const struct served *m)
{
    uint64_t now = clock_ns();

    if (m->state != MODEL_RESTARTING || m->next_start_ns <= now)
        return 1;
    return (unsigned)((m->next_start_ns - now) / 1000000000u) + 1;
}

bool supervise_has_room(const struct served *m, unsigned count)
{
    return m->asks + count <= m->supervisor->options.queue_max;
}

static bool is_refreshing(const struct served *m)
{
    return m->refresh >= REFRESH_ENDING && !m->is_stopping;
}

bool supervise_answers(const struct served *m)
{
    return (m->state == MODEL_READY && !m->is_ending) || is_refreshing(m);
}

int supervise_ask(struct served *m, struct ask *a, struct llmos_error *err)
{
    int rc = 0;

    if (!supervise_answers(m))
        return fail(err, LLMOS_ECLOSED, "model '%s' is %s%s%s", m->name, model_state_name(m->state),
                    m->why[0] ? ": " : "", m->why);
    if (m->asks >= m->supervisor->options.queue_max)
        return fail(err, LLMOS_EBUSY, "model '%s' has %u requests already; try again later",
                    m->name, m->asks);
    link_ask(m, a);
    a->is_waiting = is_refreshing(m);
    if (!a->is_waiting)
        rc = send_ask(a, err);
    if (rc < 0)
        unlink_ask(a);
    return rc;
}

void supervise_cancel(struct ask *a)
{
    struct served *m = a->model;
    const struct message letter = {.type = MESSAGE_CANCEL, .id = a->id};

    if (!m)
        return;
    /* If it cannot be sent the engine is gone, or will be ended because it does not read. */
    if (!a->is_waiting)
        (void)runner_send(m->runner, &letter, NULL, NULL, NULL);
    m->cancels++;
    unlink_ask(a);
}

/* Calls lost for every ask.  The callback may cancel others, so the walk begins anew each time. */
static void lose_asks(struct served *m, bool will_return)
{
    uint64_t last_id = m->supervisor->next_id;

    for (size_t i = 0; i < sizeof(m->table) / sizeof(m->table[0]); i++) {
        struct ask *a = m->table[i];

        while (a) {
            if (a->is_waiting || a->id > last_id) {
                a = a->next;
                continue;
            }
            unlink_ask(a);
            if (a->lost(a, m->why, will_return)) {
                link_ask(m, a);
                a->is_waiting = true;
            }
            a = m->table[i];
        }
    }
}

/* Nobody is kept waiting for a model that did not come back. */
static void wait_no_longer(struct served *m)
{
    for (size_t i = 0; i < sizeof(m->table) / sizeof(m->table[0]); i++)
        for (struct ask *a = m->table[i]; a; a = a->next)
            a->is_waiting = false;
}

/* --- a life ----------------------------------------------------------------------------------- */

static void start_life(struct served *m)
{
    m->state = MODEL_STARTING;
    m->is_alive = true;
    m->is_stopping = m->is_ending = m->must_start = false;
    m->started_ns = m->heard_ns = clock_ns();
    m->pid = 0;
    m->life++;
    runner_start(m->runner);
}

/* Ends a life for a reason of ours; ENDED will follow. */
static void end_life(struct served *m, const char *why)
{
    if (!m->is_alive || m->is_ending)
        return;
    m->is_ending = true;
    snprintf(m->why, sizeof(m->why), "%s", why);
    runner_stop(m->runner);
}

static struct str keep_text(char *to, size_t size, struct str s)
{
    struct buf text;

    buf_init(&text, size - 1);
    utf8_put(&text, s.len < size / 3 ? s : (struct str){s.at, size / 3});
    snprintf(to, size, "%s", text.bad ? "" : buf_str(&text).at);
    buf_fini(&text);
    return str_of(to);
}

static void resend(struct served *m)
{
    for (size_t i = 0; i < sizeof(m->table) / sizeof(m->table[0]); i++)
        for (struct ask *a = m->table[i]; a; a = a->next)
            if (a->is_waiting && send_ask(a, NULL) == 0) {
                a->is_waiting = false;
                m->retries++;
            }
}

static void on_ready(struct served *m, const struct message_ready *r)
{
    if (m->state != MODEL_STARTING) {
        end_life(m, "the engine said twice that it is ready");
        return;
    }
    m->ready = *r;
    m->ready.architecture = keep_text(m->ready_text[0], sizeof(m->ready_text[0]), r->architecture);
    m->ready.name = keep_text(m->ready_text[1], sizeof(m->ready_text[1]), r->name);
    m->ready.file_type = keep_text(m->ready_text[2], sizeof(m->ready_text[2]), r->file_type);
    m->ready.chat_format = keep_text(m->ready_text[3], sizeof(m->ready_text[3]), r->chat_format);
    m->ready.backend = keep_text(m->ready_text[4], sizeof(m->ready_text[4]), r->backend);
    m->ready.tool_format = keep_text(m->ready_text[6], sizeof(m->ready_text[6]), r->tool_format);
    m->ready.kv_type = keep_text(m->ready_text[5], sizeof(m->ready_text[5]), r->kv_type);
    m->ready.thought_format =
        keep_text(m->ready_text[7], sizeof(m->ready_text[7]), r->thought_format);
    m->state = MODEL_READY;
    m->refresh = REFRESH_NONE;
    m->was_ready = true;
    m->ready_ns = clock_ns();
    m->loaded_at = (int64_t)time(NULL);
    m->why[0] = '\0';
    m->stats = m->rate_from = (struct message_stats){.running = 0};
    log_event(LOG_INFO, "model is ready model=%s pid=%d after_ms=%u tools=%s thoughts=%s", m->name,
              (int)m->pid, (unsigned)((m->ready_ns - m->started_ns) / 1000000u),
              m->ready.tool_format.len ? m->ready_text[6] : "described",
              m->ready.thought_format.len ? m->ready_text[7] : "none");
    resend(m);
}

/* Totals of an engine only grow; one that says otherwise is not believed. */
static uint64_t grown(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static double rate(uint64_t tokens, uint64_t us)
{
    return us ? (double)tokens * 1e6 / (double)us : 0;
}

static void on_stats(struct served *m, const struct message_stats *s)
{
    uint64_t prompt_us = grown(s->prompt_us, m->rate_from.prompt_us);
    uint64_t generate_us = grown(s->generate_us, m->rate_from.generate_us);

    m->prompt_tokens += grown(s->prompt_tokens, m->stats.prompt_tokens);
    m->generated_tokens += grown(s->generated_tokens, m->stats.generated_tokens);
    m->stats = *s;
    if (prompt_us)
        m->prompt_rate = rate(grown(s->prompt_tokens, m->rate_from.prompt_tokens), prompt_us);
    if (generate_us)
        m->generate_rate =
            rate(grown(s->generated_tokens, m->rate_from.generated_tokens), generate_us);
    if (prompt_us + generate_us > RATE_WINDOW_US)
        m->rate_from = *s;
}

static void on_message(struct served *m, const struct message *msg)
{
    struct ask *a;

    m->heard_ns = clock_ns();
    if (msg->type == MESSAGE_READY) {
        on_ready(m, &msg->ready);
        return;
    }
    if (msg->type == MESSAGE_STATS) {
        on_stats(m, &msg->stats);
        return;
    }
    if (msg->type == MESSAGE_ERROR && msg->id == 0) {
        char text[sizeof(m->why)];

        keep_text(text, sizeof(text), (struct str){msg->error.text.at, msg->error.text.len});
        end_life(m, text);
        return;
    }
    a = find_ask(m, msg->id);
    if (!a || a->is_waiting)
        return; /* canceled, or invented */
    if (msg->type != MESSAGE_TEXT)
        unlink_ask(a);
    if (msg->type == MESSAGE_VECTOR) /* an encoder sends no STATS */
        m->prompt_tokens += msg->vector.tokens;
    a->hear(a, msg);
}

static uint64_t backoff_ms(unsigned deaths)
{
    uint64_t ms = SUPERVISE_BACKOFF_FIRST_MS;

    while (--deaths > 0 && ms < SUPERVISE_BACKOFF_MOST_MS)
        ms *= 2;
    return ms < SUPERVISE_BACKOFF_MOST_MS ? ms : SUPERVISE_BACKOFF_MOST_MS;
}

static void on_ended(struct served *m, const struct llmos_error *why)
{
    uint64_t now = clock_ns(), pause = 0;
    bool was_ready = m->state == MODEL_READY;

    m->is_alive = false;
    m->pid = 0;
    if (!m->is_ending)
        snprintf(m->why, sizeof(m->why), "%s", why->text);
    m->is_ending = false;
    if (m->is_stopping) {
        m->state = MODEL_STOPPED;
        m->deaths = 0;
        log_event(LOG_INFO, "model is stopped model=%s", m->name);
        wait_no_longer(m);
        lose_asks(m, false);
        if (m->must_start)
            start_life(m);
        return;
    }
    if (m->refresh == REFRESH_ENDING) {
        m->refresh = REFRESH_STARTING;
        start_life(m);
        return;
    }
    m->refresh = REFRESH_NONE;
    if (was_ready && now - m->ready_ns > SUPERVISE_GOOD_RUN_SECONDS * 1000000000ull)
        m->deaths = 0;
    m->deaths++;
    m->state = was_ready ? MODEL_RESTARTING : MODEL_FAILED;
    if (m->was_ready) {
        pause = backoff_ms(m->deaths);
        m->next_start_ns = now + pause * 1000000u;
        log_event(LOG_WARN, "model has died, will restart model=%s why=\"%s\" after_ms=%llu",
                  m->name, m->why, (unsigned long long)pause);
    } else {
        log_event(LOG_ERROR, "model cannot be started model=%s why=\"%s\"", m->name, m->why);
    }
    if (!was_ready)
        wait_no_longer(m);
    lose_asks(m, was_ready);
}

static void on_event(struct served *m, const struct runner_event *e)
{
    if (e->life != m->life)
        return;
    switch (e->kind) {
    case RUNNER_STARTED:
        m->pid = e->pid;
        memcpy(m->layers, e->layers, sizeof(m->layers));
        break;
    case RUNNER_MESSAGE:
        if (!m->is_ending)
            on_message(m, &e->m);
        break;
    case RUNNER_ENDED:
        on_ended(m, &e->why);
        break;
    }
}

/* --- time ------------------------------------------------------------------------------------- */

static bool past(uint64_t since_ns, unsigned seconds, uint64_t now)
{
    return seconds && now > since_ns && now - since_ns > seconds * 1000000000ull;
}

static void check_life(struct served *m, uint64_t now)
{
    const struct supervise_options *o = &m->supervisor->options;
    uint64_t sending = runner_sending_ns(m->runner);
    char why[128];

    if (m->state == MODEL_STARTING && past(m->started_ns, o->start_seconds, now)) {
        snprintf(why, sizeof(why), "it was not ready after %u seconds", o->start_seconds);
        end_life(m, why);
    } else if (m->state == MODEL_READY && m->asks > 0 && past(m->heard_ns, o->stall_seconds, now)) {
        snprintf(why, sizeof(why), "it had work and said nothing for %u seconds", o->stall_seconds);
        end_life(m, why);
    } else if (sending && past(sending, SENDING_SECONDS, now)) {
        snprintf(why, sizeof(why), "it read nothing for %u seconds", SENDING_SECONDS);
        end_life(m, why);
    }
}

static void refresh(struct served *m)
{
    if (m->refresh != REFRESH_WANTED || m->state != MODEL_READY || m->asks > 0 || m->is_ending)
        return;
    m->refresh = REFRESH_ENDING;
    log_event(LOG_INFO, "model is started anew model=%s", m->name);
    end_life(m, "started anew");
}

/* Milliseconds until this model wants attention. */
static int tend(struct served *m, uint64_t now)
{
    if (m->is_alive) {
        check_life(m, now);
        refresh(m);
        return TURN_MS_MOST;
    }
    if (!m->was_ready || (m->state != MODEL_RESTARTING && m->state != MODEL_FAILED))
        return TURN_MS_MOST;
    if (m->next_start_ns > now) {
        uint64_t ms = (m->next_start_ns - now) / 1000000u + 1;

        return ms < TURN_MS_MOST ? (int)ms : TURN_MS_MOST;
    }
    m->restarts++;
    start_life(m);
    return TURN_MS_MOST;
}

int supervise_turn(struct supervisor *s)
{
    int wait = TURN_MS_MOST, events = 0;

    for (unsigned i = 0; i < s->count; i++) {
        struct served *m = s->models[i];
        struct runner_event *e;
        int ms;

        for (int n = 0; n < EVENTS_A_TURN && (e = runner_next(m->runner)); n++, events++) {
            on_event(m, e);
            runner_event_free(e);
        }
        ms = tend(m, clock_ns());
        wait = ms < wait ? ms : wait;
    }
    return events >= EVENTS_A_TURN ? 0 : wait;
}

/* --- the owner's wishes ----------------------------------------------------------------------- */

void supervise_stop(struct served *m)
{
    m->must_start = false;
    m->refresh = REFRESH_NONE;
    if (!m->is_alive) {
        m->state = MODEL_STOPPED;
        wait_no_longer(m);
        lose_asks(m, false);
        return;
    }
    m->is_stopping = true;
    end_life(m, "stopped by its owner");
}

void supervise_start(struct served *m)
{
    if (m->is_alive) {
        m->must_start = m->is_stopping;
        return;
    }
    m->deaths = 0;
    start_life(m);
}

void supervise_refresh(struct served *m)
{
    if (m->refresh == REFRESH_NONE && m->is_alive && !m->is_stopping)
        m->refresh = REFRESH_WANTED; /* tend looks when it is idle */
}

/* --- the supervisor --------------------------------------------------------------------------- */

int supervise_create(struct supervisor **supervisor, const struct supervise_options *options,
                     struct llmos_error *err)
{
    struct supervisor *s = mem_zalloc(1, sizeof(*s));

    if (!s)
        return fail(err, LLMOS_ENOMEM, "no memory for the supervisor");
    s->options = *options;
    *supervisor = s;
    return 0;
}

int supervise_add(struct supervisor *s, const struct runner_ops *ops,
                  const struct worker_options *options, struct llmos_error *err)
{
    struct served *m;
    int rc;

    if (s->count == SUPERVISE_MODELS_MAX)
        return fail(err, LLMOS_ELIMIT, "more than %d models", SUPERVISE_MODELS_MAX);
    m = mem_zalloc(1, sizeof(*m));
    if (!m)
        return fail(err, LLMOS_ENOMEM, "no memory for model '%s'", options->name);
    m->name = options->name;
    m->options = *options;
    m->supervisor = s;
    rc = runner_create(&m->runner, ops, options, s->options.wake, s->options.cookie, err);
    if (rc < 0) {
        mem_free(m);
        return rc;
    }
    s->models[s->count++] = m;
    start_life(m);
    return 0;
}

void supervise_destroy(struct supervisor *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->count; i++) {
        struct served *m = s->models[i];

        runner_destroy(m->runner);
        snprintf(m->why, sizeof(m->why), "the daemon ends");
        lose_asks(m, false);
        mem_free(m);
    }
    mem_free(s);
}

struct served *supervise_find(struct supervisor *s, struct str name)
{
    for (unsigned i = 0; i < s->count; i++)
        if (str_is(name, s->models[i]->name))
            return s->models[i];
    return NULL;
}

unsigned supervise_count(const struct supervisor *s)
{
    return s->count;
}

struct served *supervise_at(struct supervisor *s, unsigned i)
{
    return i < s->count ? s->models[i] : NULL;
}
