/* SPDX-License-Identifier: Apache-2.0 */
/* supervise_test.c - claims about supervise.h and runner.h, with workers that do as they are told
 */
#include "daemon/supervise.h"

#include "base/clock.h"
#include "base/log.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* --- a worker that does as it is told --------------------------------------------------------- */

#define SAID_MAX 64

struct worker {
    bool is_stopped;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct message says[SAID_MAX]; /* to be received, in order */
    unsigned says_first, says_end;
    struct message sent[SAID_MAX];
    unsigned sent_count;
    bool must_die, refuses_start, is_deaf, keeps_starting_silent;
    unsigned starts, alive;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER, .change = PTHREAD_COND_INITIALIZER};

static void tell(const struct message *m)
{
    pthread_mutex_lock(&fake.lock);
    fake.says[fake.says_end++ % SAID_MAX] = *m;
    pthread_cond_broadcast(&fake.change);
    pthread_mutex_unlock(&fake.lock);
}

static void set(bool *flag, bool value)
{
    pthread_mutex_lock(&fake.lock);
    *flag = value;
    pthread_cond_broadcast(&fake.change);
    pthread_mutex_unlock(&fake.lock);
}

static int fake_start(struct worker **w, const struct worker_options *o, struct llmos_error *err)
{
    (void)o;
    pthread_mutex_lock(&fake.lock);
    fake.starts++;
    fake.must_die = false;
    if (fake.refuses_start) {
        pthread_mutex_unlock(&fake.lock);
        return fail(err, LLMOS_EDENIED, "no room today");
    }
    *w = calloc(1, sizeof(**w));
    fake.alive++;
    fake.says_first = fake.says_end = 0;
    if (!fake.keeps_starting_silent)
        fake.says[fake.says_end++] = (struct message){
            .type = MESSAGE_READY, .ready = {.name = STR("fake"), .context_tokens = 64}};
    pthread_mutex_unlock(&fake.lock);
    return 0;
}

static int fake_send(struct worker *w, const struct message *m, struct llmos_error *err)
{
    int rc = 0;

    pthread_mutex_lock(&fake.lock);
    while (fake.is_deaf && !w->is_stopped)
        pthread_cond_wait(&fake.change, &fake.lock);
    if (w->is_stopped)
        rc = fail(err, LLMOS_ECLOSED, "closed");
    else
        fake.sent[fake.sent_count++ % SAID_MAX] = *m;
    pthread_cond_broadcast(&fake.change);
    pthread_mutex_unlock(&fake.lock);
    return rc;
}

static int fake_receive(struct worker *w, struct message *m, int timeout_ms,
                        struct llmos_error *err)
{
    int rc = 0;

    (void)timeout_ms;
    pthread_mutex_lock(&fake.lock);
    while (!w->is_stopped && !fake.must_die && fake.says_first == fake.says_end)
        pthread_cond_wait(&fake.change, &fake.lock);
    if (w->is_stopped || fake.must_die) {
        rc = fail(err, LLMOS_ECLOSED, "killed by SIGTEST");
    } else {
        *m = fake.says[fake.says_first++ % SAID_MAX];
        rc = 1;
    }
    pthread_mutex_unlock(&fake.lock);
    return rc;
}

static void fake_stop(struct worker *w)
{
    set(&w->is_stopped, true);
}

static void fake_destroy(struct worker *w)
{
    pthread_mutex_lock(&fake.lock);
    fake.alive--;
    pthread_mutex_unlock(&fake.lock);
    free(w);
}

static const struct vce *fake_vce(const struct worker *w)
{
    static const struct vce v = {.pid = 4711};

    (void)w;
    return &v;
}

static uint64_t fake_memory(const struct worker *w)
{
    (void)w;
    return 12345;
}

static const struct runner_ops fake_ops = {fake_start,   fake_send, fake_receive, fake_stop,
                                           fake_destroy, fake_vce,  fake_memory};

static unsigned seen(const unsigned *count)
{
    unsigned n;

    pthread_mutex_lock(&fake.lock);
    n = *count;
    pthread_mutex_unlock(&fake.lock);
    return n;
}

static struct message sent(unsigned i)
{
    struct message one;

    pthread_mutex_lock(&fake.lock);
    one = fake.sent[i];
    pthread_mutex_unlock(&fake.lock);
    return one;
}

static void forget_sent(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.sent_count = 0;
    pthread_mutex_unlock(&fake.lock);
}

/* --- one who asks ----------------------------------------------------------------------------- */

struct asker {
    struct ask ask;
    struct message_generate generate;
    float vector[2]; /* that was heard */
    unsigned texts, dones, vectors, errors, losses;
    bool asks_again, cancels_in_loss;
    struct asker *other;
    char why[128];
};

static atomic_int held;

static void hold(void *owner)
{
    (void)owner;
    held++;
}

static void release(void *owner)
{
    (void)owner;
    held--;
}

static void hear(struct ask *a, const struct message *m)
{
    struct asker *k = (struct asker *)a;

    k->texts += m->type == MESSAGE_TEXT;
    k->dones += m->type == MESSAGE_DONE;
    k->errors += m->type == MESSAGE_ERROR;
    if (m->type == MESSAGE_VECTOR) {
        memcpy(k->vector, m->vector.values, sizeof(k->vector));
        k->vectors++;
    }
}

static bool lost(struct ask *a, const char *why, bool will_return)
{
    struct asker *k = (struct asker *)a;

    k->losses++;
    snprintf(k->why, sizeof(k->why), "%s", why);
    if (k->cancels_in_loss)
        supervise_cancel(&k->other->ask);
    return will_return && k->asks_again && k->losses == 1;
}

static struct asker asker(void)
{
    return (struct asker){.ask = {.hear = hear, .lost = lost, .hold = hold, .release = release}};
}

/* --- the supervisor --------------------------------------------------------------------------- */

static struct supervisor *s;
static struct served *m;

static void no_log(enum log_level level, const char *line, void *cookie)
{
    (void)level;
    (void)line;
    (void)cookie;
}

static void wake(void *cookie)
{
    (void)cookie;
}

static void begin_with(unsigned stall_seconds, bool refuses_start)
{
    const struct supervise_options o = {
        .queue_max = 4, .stall_seconds = stall_seconds, .start_seconds = 1, .wake = wake};
    const struct worker_options w = {.name = "m"};

    log_set_sink(no_log, NULL);
    pthread_mutex_lock(&fake.lock);
    fake.starts = fake.sent_count = 0;
    fake.must_die = fake.is_deaf = fake.keeps_starting_silent = false;
    fake.refuses_start = refuses_start;
    pthread_mutex_unlock(&fake.lock);
    CHECK_INT(supervise_create(&s, &o, NULL), 0);
    CHECK_INT(supervise_add(s, &fake_ops, &w, NULL), 0);
    m = supervise_find(s, STR("m"));
    CHECK(m && m == supervise_at(s, 0) && supervise_count(s) == 1);
}

static void begin(unsigned stall_seconds)
{
    begin_with(stall_seconds, false);
}

static void end(void)
{
    supervise_destroy(s);
    CHECK_INT(seen(&fake.alive), 0);
    CHECK_INT(held, 0);
    log_set_sink(NULL, NULL);
}

/* Turns until the claim holds or five seconds have passed. */
#define BECOMES(claim)                                        \
    ({                                                        \
        uint64_t begun_ = clock_ns();                         \
        while (!(claim) && clock_seconds_since(begun_) < 5) { \
            supervise_turn(s);                                \
            usleep(1000);                                     \
        }                                                     \
        (claim);                                              \
    })

static void ask(struct asker *k)
{
    k->ask.generate = &k->generate;
    k->ask.owner = k;
    CHECK_INT(supervise_ask(m, &k->ask, NULL), 0);
}

static void say_done(uint64_t id)
{
    tell(
        &(struct message){.type = MESSAGE_TEXT, .id = id, .text = {.text = STR("x"), .tokens = 1}});
    tell(&(struct message){.type = MESSAGE_DONE, .id = id});
}

TEST(supervise_asks_and_hears)
{
    struct asker k = asker();
    struct llmos_error err;

    begin(0);
    CHECK_INT(supervise_ask(m, &k.ask, &err), LLMOS_ECLOSED);
    CHECK_CONTAINS(err.text, "model 'm' is starting");
    CHECK(BECOMES(m->state == MODEL_READY));
    CHECK_INT(m->pid, 4711);
    CHECK_INT(runner_memory_bytes(m->runner), 12345);
    CHECK(str_is(m->ready.name, "fake"));
    ask(&k);
    CHECK_INT(m->asks, 1);
    CHECK(BECOMES(seen(&fake.sent_count) == 1));
    say_done(99999); /* nobody asked that */
    say_done(k.ask.id);
    CHECK(BECOMES(k.dones == 1));
    CHECK_INT(k.texts, 1);
    CHECK_INT(m->asks, 0);
    say_done(k.ask.id); /* a second end is nobody's */
    tell(&(struct message){.type = MESSAGE_STATS,
                           .stats = {.generated_tokens = 7, .generate_us = 1000000}});
    CHECK(BECOMES(m->generated_tokens == 7));
    CHECK_INT(k.dones, 1);
    CHECK_NEAR(m->generate_rate, 7, 1e-9);
    end();
}

TEST(supervise_asks_an_encoder_and_hears_its_vector)
{
    static const struct message_encode text = {.kind = ENCODE_EMBED, .text = STR("hello")};
    static const struct str piece = {"", 0};
    static const float vector[2] = {0.5f, -2};
    struct asker k = asker();

    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    k.ask.encode = &text;
    k.ask.owner = &k;
    CHECK_INT(supervise_ask(m, &k.ask, NULL), 0);
    CHECK(BECOMES(seen(&fake.sent_count) == 1));
    CHECK_INT(sent(0).type, MESSAGE_ENCODE);
    CHECK(str_is(sent(0).encode.text, "hello"));
    tell(&(struct message){
        .type = MESSAGE_VECTOR, .id = k.ask.id, .vector = {true, 7, 0, 2, 1, &piece, vector}});
    CHECK(BECOMES(k.vectors == 1));
    CHECK(memcmp(k.vector, vector, sizeof(vector)) == 0);
    CHECK_INT(m->asks, 0);
    CHECK_INT(m->prompt_tokens, 7);
    end();
}

TEST(supervise_does_not_believe_totals_that_shrink)
{
    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    tell(
        &(struct message){.type = MESSAGE_STATS, .stats = {.generated_tokens = 100, .running = 1}});
    tell(&(struct message){.type = MESSAGE_STATS, .stats = {.generated_tokens = 5, .running = 2}});
    CHECK(BECOMES(m->stats.running == 2));
    CHECK_INT(m->generated_tokens, 100);
    end();
}

TEST(supervise_refuses_more_than_its_queue)
{
    struct asker k[5];
    struct llmos_error err;

    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    for (int i = 0; i < 5; i++)
        k[i] = asker();
    CHECK(supervise_has_room(m, 4) && !supervise_has_room(m, 5));
    for (int i = 0; i < 4; i++)
        ask(&k[i]);
    k[4].ask.generate = &k[4].generate;
    CHECK_INT(supervise_ask(m, &k[4].ask, &err), LLMOS_EBUSY);
    for (int i = 0; i < 4; i++)
        supervise_cancel(&k[i].ask);
    supervise_cancel(&k[0].ask); /* again, and one that never was */
    supervise_cancel(&k[4].ask);
    CHECK_INT(m->asks, 0);
    CHECK(BECOMES(seen(&fake.sent_count) == 8));
    CHECK_INT(sent(4).type, MESSAGE_CANCEL);
    CHECK_INT((long long)m->cancels, 4);
    end();
}

TEST(supervise_restarts_and_asks_again_once)
{
    struct asker again = asker(), once = asker();

    begin(0);
    again.asks_again = true;
    CHECK(BECOMES(m->state == MODEL_READY));
    ask(&again);
    ask(&once);
    set(&fake.must_die, true);
    CHECK(BECOMES(once.losses == 1));
    CHECK_INT(m->state, MODEL_RESTARTING);
    CHECK_STR(once.why, "killed by SIGTEST");
    CHECK_INT(m->asks, 1);
    CHECK(supervise_retry_seconds(m) >= 1);
    forget_sent();
    CHECK(BECOMES(m->state == MODEL_READY && seen(&fake.sent_count) == 1));
    CHECK_INT(sent(0).id, again.ask.id);
    CHECK_INT(m->restarts, 1);
    CHECK_INT(m->retries, 1);
    set(&fake.must_die, true);
    CHECK(BECOMES(again.losses == 2));
    CHECK_INT(m->asks, 0);
    end();
}

TEST(supervise_lets_one_loss_cancel_another_ask)
{
    struct asker a = asker(), b = asker();

    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    a.cancels_in_loss = b.cancels_in_loss = true;
    a.other = &b;
    b.other = &a;
    ask(&a);
    ask(&b);
    set(&fake.must_die, true);
    CHECK(BECOMES(a.losses + b.losses == 1));
    CHECK_INT(m->asks, 0);
    end();
}

TEST(supervise_doubles_the_pause)
{
    uint64_t pause[4];

    begin(0);
    for (int i = 0; i < 4; i++) {
        CHECK(BECOMES(m->state == MODEL_READY));
        set(&fake.must_die, true);
        CHECK(BECOMES(m->state == MODEL_RESTARTING));
        pause[i] = m->next_start_ns - clock_ns();
    }
    for (int i = 0; i < 4; i++)
        CHECK_NEAR((double)pause[i] * 1e-6, 100 << i, 30);
    end();
}

TEST(supervise_says_when_a_model_never_came_up)
{
    begin_with(0, true);
    CHECK(BECOMES(m->state == MODEL_FAILED));
    CHECK_STR(m->why, "no room today");
    usleep(300000); /* it is not tried again by itself */
    supervise_turn(s);
    CHECK_INT(seen(&fake.starts), 1);
    set(&fake.refuses_start, false);
    supervise_start(m);
    CHECK(BECOMES(m->state == MODEL_READY));
    end();
}

TEST(supervise_gives_up_an_engine_that_never_is_ready)
{
    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    set(&fake.keeps_starting_silent, true);
    set(&fake.must_die, true);
    CHECK(BECOMES(m->state == MODEL_FAILED));
    CHECK_STR(m->why, "it was not ready after 1 seconds");
    set(&fake.keeps_starting_silent, false);
    CHECK(BECOMES(m->state == MODEL_READY)); /* it was ready once: it is tried again */
    end();
}

TEST(supervise_ends_an_engine_that_is_silent_at_work)
{
    struct asker k = asker();

    begin(1);
    CHECK(BECOMES(m->state == MODEL_READY));
    usleep(1200000); /* silence without work is no fault */
    supervise_turn(s);
    CHECK_INT(m->state, MODEL_READY);
    ask(&k);
    CHECK(BECOMES(k.losses == 1));
    CHECK_STR(k.why, "it had work and said nothing for 1 seconds");
    end();
}

TEST(supervise_never_waits_for_an_engine_that_does_not_read)
{
    struct asker k[4];
    uint64_t begun = clock_ns();

    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    set(&fake.is_deaf, true);
    for (int i = 0; i < 4; i++) {
        k[i] = asker();
        ask(&k[i]);
        supervise_cancel(&k[i].ask);
    }
    CHECK(clock_seconds_since(begun) < 3);
    CHECK(BECOMES(runner_sending_ns(m->runner) > 0));
    supervise_stop(m);
    CHECK(BECOMES(m->state == MODEL_STOPPED));
    CHECK_INT(held, 0);
    end();
}

TEST(supervise_stops_and_starts_as_told)
{
    struct asker k = asker();
    unsigned starts;

    begin(0);
    k.asks_again = true;
    CHECK(BECOMES(m->state == MODEL_READY));
    ask(&k);
    supervise_stop(m);
    CHECK(BECOMES(m->state == MODEL_STOPPED));
    CHECK_INT(k.losses, 1);
    CHECK_INT(m->asks, 0);
    usleep(300000);
    supervise_turn(s);
    CHECK_INT(m->state, MODEL_STOPPED);
    supervise_start(m);
    CHECK(BECOMES(m->state == MODEL_READY));
    starts = seen(&fake.starts);
    supervise_stop(m);
    supervise_start(m); /* before it has ended */
    CHECK(BECOMES(seen(&fake.starts) == starts + 1 && m->state == MODEL_READY));
    end();
}

TEST(supervise_ends_an_engine_that_is_ready_twice)
{
    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    tell(&(struct message){.type = MESSAGE_READY});
    CHECK(BECOMES(m->state == MODEL_RESTARTING));
    CHECK_CONTAINS(m->why, "twice");
    end();
}

TEST(supervise_refreshes_when_idle_and_loses_nothing)
{
    struct asker k = asker(), late = asker(), third = asker();
    unsigned starts;

    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    starts = seen(&fake.starts);
    ask(&k);
    supervise_refresh(m);
    CHECK(BECOMES(seen(&fake.sent_count) == 1));
    usleep(20000);
    supervise_turn(s);
    CHECK_INT(m->state, MODEL_READY); /* it has work */
    say_done(k.ask.id);
    CHECK(BECOMES(k.dones == 1 && m->refresh == REFRESH_ENDING));
    CHECK(supervise_answers(m));
    ask(&late); /* in between */
    CHECK(BECOMES(m->refresh >= REFRESH_STARTING || m->state == MODEL_READY));
    ask(&third);
    CHECK(BECOMES(m->state == MODEL_READY && seen(&fake.sent_count) == 3));
    CHECK_INT(seen(&fake.starts), starts + 1);
    say_done(late.ask.id);
    say_done(third.ask.id);
    CHECK(BECOMES(late.dones == 1 && third.dones == 1));
    CHECK_INT(k.losses + late.losses + third.losses, 0);
    CHECK_INT(m->refresh, REFRESH_NONE);
    CHECK_INT(m->deaths, 0);
    end();
}

TEST(supervise_that_cannot_refresh_keeps_nobody_waiting)
{
    struct asker k = asker();

    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    set(&fake.refuses_start, true);
    supervise_refresh(m);
    CHECK(BECOMES(m->refresh == REFRESH_ENDING));
    ask(&k);
    CHECK(BECOMES(k.losses == 1 && m->state == MODEL_FAILED));
    CHECK_INT(m->asks, 0);
    set(&fake.refuses_start, false);
    CHECK(BECOMES(m->state == MODEL_READY));
    end();
}

TEST(supervise_stop_during_a_refresh_is_a_stop)
{
    struct asker k = asker();

    begin(0);
    CHECK(BECOMES(m->state == MODEL_READY));
    supervise_refresh(m);
    CHECK(BECOMES(m->refresh == REFRESH_ENDING));
    ask(&k);
    supervise_stop(m);
    CHECK(BECOMES(m->state == MODEL_STOPPED));
    CHECK_INT(k.losses, 1);
    CHECK_INT(m->asks, 0);
    end();
}
