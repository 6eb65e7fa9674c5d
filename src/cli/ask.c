/* SPDX-License-Identifier: Apache-2.0 */
/* ask.c - see ask.h */
#include "cli/ask.h"

#include <sys/random.h>

static int random_seed(uint64_t *seed, struct llmos_error *err)
{
    if (getrandom(seed, sizeof(*seed), 0) != (ssize_t)sizeof(*seed))
        return fail_errno(err, "cannot get a random seed; give one with --seed");
    *seed >>= 11; /* below 2^53: --json shows it, and JSON readers keep it exact */
    return 0;
}

int ask_fill(struct message_generate *g, const struct ask_options *o, struct llmos_error *err)
{
    uint64_t seed = o->seed;

    if (o->stops.count > MESSAGE_STOPS_MAX)
        return fail(err, LLMOS_ELIMIT, "--stop was given %u times, at most %d are possible",
                    o->stops.count, MESSAGE_STOPS_MAX);
    for (unsigned i = 0; i < o->stops.count; i++) {
        g->stops[i] = str_of(o->stops.at[i]);
        if (g->stops[i].len > MESSAGE_STOP_BYTES_MAX)
            return fail(err, LLMOS_ELIMIT, "a --stop text has %zu bytes, at most %d are possible",
                        g->stops[i].len, MESSAGE_STOP_BYTES_MAX);
    }
    g->stop_count = o->stops.count;
    if (seed == ASK_SEED_RANDOM) {
        int rc = random_seed(&seed, err);

        if (rc < 0)
            return rc;
    }
    g->seed = seed;
    g->max_tokens = o->max_tokens;
    g->temperature = o->temperature;
    g->top_k = o->top_k;
    g->top_p = o->top_p;
    g->min_p = o->min_p;
    g->repeat_penalty = o->repeat_penalty;
    g->repeat_last = o->repeat_last;
    g->presence_penalty = o->presence_penalty;
    g->frequency_penalty = o->frequency_penalty;
    return 0;
}
