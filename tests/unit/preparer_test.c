/* SPDX-License-Identifier: Apache-2.0 */
/* preparer_test.c - claims about preparer.h; workers say what they are told, and nothing is packed
 */
#include "daemon/preparer.h"

#include "base/clock.h"
#include "base/log.h"
#include "test.h"

#include <stdatomic.h>
#include <unistd.h>

struct worker {
    atomic_bool is_stopped, has_said;
};

static atomic_int starts, makes, in_make;
static atomic_int says_packing, make_result;
static atomic_bool make_lasts;

static int fake_start(struct worker **w, const struct worker_options *o, struct llmos_error *err)
{
    (void)o;
    *w = calloc(1, sizeof(**w));
    starts++;
    return *w ? 0 : fail(err, LLMOS_ENOMEM, "no memory");
}

static int fake_send(struct worker *w, const struct message *m, struct llmos_error *err)
{
    (void)m;
    return w->is_stopped ? fail(err, LLMOS_ECLOSED, "closed") : 0;
}

static int fake_receive(struct worker *w, struct message *m, int timeout_ms,
                        struct llmos_error *err)
{
    if (!w->has_said) {
        w->has_said = true;
        *m = (struct message){.type = MESSAGE_READY, .ready = {.packing = (uint8_t)says_packing}};
        return 1;
    }
    for (int i = 0; i < timeout_ms && !w->is_stopped; i++)
        usleep(1000);
    return w->is_stopped ? fail(err, LLMOS_ECLOSED, "stopped") : 0;
}

static void fake_stop(struct worker *w)
{
    w->is_stopped = true;
}

static void fake_destroy(struct worker *w)
{
    free(w);
}

static const struct vce *fake_vce(const struct worker *w)
{
    (void)w;
    return NULL;
}

static uint64_t fake_memory(const struct worker *w)
{
    (void)w;
    return 0;
}

static const struct runner_ops fake_ops = {fake_start,   fake_send, fake_receive, fake_stop,
                                           fake_destroy, fake_vce,  fake_memory};

/* Makes nothing; from then on engines say that they use it. */
static int fake_make(const struct prepare_options *o, struct llmos_error *err)
{
    CHECK(o->is_background);
    makes++;
    in_make++;
    while (make_lasts && o->progress(o->arg, PREPARE_PACKING, 1, 2) == 0)
        usleep(1000);
    in_make--;
    if (make_lasts)
        return fail(err, LLMOS_ECANCELED, "interrupted");
    if (make_result == PREPARE_MADE)
        says_packing = PACKING_USED;
    return make_result < 0 ? fail(err, make_result, "no room") : make_result;
}

static void wake(void *cookie)
{
    (void)cookie;
}

static void no_log(enum log_level level, const char *line, void *cookie)
{
    (void)level;
    (void)line;
    (void)cookie;
}

static struct supervisor *s;
static struct preparer *p;
static struct served *m;

static void begin(enum message_packing packing, int result, bool has_cache, uint64_t least_bytes)
{
    static char cache; /* never looked at */
    const struct supervise_options o = {.queue_max = 4, .start_seconds = 5, .wake = wake};
    const struct preparer_options po = {
        .make = fake_make, .cache = (void *)&cache, .least_bytes = least_bytes, .wake = wake};
    const struct worker_options w = {.name = "m",
                                     .model_path = "/proc/self/exe",
                                     .packcache = has_cache ? (void *)&cache : NULL};

    log_set_sink(no_log, NULL);
    starts = makes = 0;
    make_lasts = false;
    says_packing = packing;
    make_result = result;
    CHECK_INT(supervise_create(&s, &o, NULL), 0);
    CHECK_INT(supervise_add(s, &fake_ops, &w, NULL), 0);
    CHECK_INT(preparer_create(&p, &po, NULL), 0);
    m = supervise_at(s, 0);
}

static void end(void)
{
    preparer_destroy(p);
    supervise_destroy(s);
    log_set_sink(NULL, NULL);
}

static void turn(void)
{
    supervise_turn(s);
    preparer_turn(p, s);
    usleep(1000);
}

#define BECOMES(claim)                                      \
    ({                                                      \
        uint64_t begun_ = clock_ns();                       \
        while (!(claim) && clock_seconds_since(begun_) < 5) \
            turn();                                         \
        (claim);                                            \
    })

static void turn_for_a_while(void)
{
    for (int i = 0; i < 100; i++)
        turn();
}

TEST(preparer_makes_what_is_wanting_and_starts_the_model_anew)
{
    begin(PACKING_NONE, PREPARE_MADE, true, 0);
    CHECK(BECOMES(starts == 2 && m->state == MODEL_READY && m->ready.packing == PACKING_USED));
    turn_for_a_while();
    CHECK_INT(makes, 1);
    CHECK_INT(starts, 2);
    end();
}

TEST(preparer_leaves_models_alone_that_need_nothing)
{
    begin(PACKING_USED, PREPARE_MADE, true, 0);
    turn_for_a_while();
    CHECK_INT(makes, 0);
    end();
    begin(PACKING_NONE, PREPARE_MADE, false, 0); /* switched off */
    turn_for_a_while();
    CHECK_INT(makes, 0);
    end();
    begin(PACKING_NONE, PREPARE_MADE, true, 1ull << 40); /* small */
    turn_for_a_while();
    CHECK_INT(makes, 0);
    CHECK_INT(m->state, MODEL_READY);
    end();
}

TEST(preparer_tries_once_if_it_fails_or_does_not_help)
{
    static const int results[] = {LLMOS_ELIMIT, PREPARE_USELESS};

    for (int i = 0; i < 2; i++) {
        begin(PACKING_NONE, results[i], true, 0);
        CHECK(BECOMES(makes == 1));
        turn_for_a_while();
        CHECK_INT(makes, 1);
        CHECK_INT(starts, 1);
        CHECK_INT(m->state, MODEL_READY);
        end();
    }
}

TEST(preparer_makes_damaged_ones_again_but_not_for_ever)
{
    begin(PACKING_DAMAGED, PREPARE_MADE, true, 1ull << 40); /* whatever its size: it was wanted */
    CHECK(BECOMES(m->state == MODEL_READY && m->ready.packing == PACKING_USED));
    CHECK_INT(makes, 1);
    end();
    begin(PACKING_DAMAGED, PREPARE_PRESENT, true, 0); /* and is damaged each time */
    CHECK(BECOMES(makes == 2 && starts == 3 && m->state == MODEL_READY));
    turn_for_a_while();
    CHECK_INT(makes, 2);
    CHECK_INT(starts, 3);
    end();
}

TEST(preparer_ends_in_the_middle_of_its_work)
{
    begin(PACKING_NONE, PREPARE_MADE, true, 0);
    make_lasts = true;
    CHECK(BECOMES(in_make == 1));
    end();
    CHECK_INT(in_make, 0);
}
