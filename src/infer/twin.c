/* SPDX-License-Identifier: Apache-2.0 */
/* twin.c - see twin.h */
#include "infer/twin.h"

#include "base/clock.h"
#include "base/fail.h"
#include "model/loaded.h"

#include <string.h>

#define WEIGHT 0.125 /* of the newest in the moving average */

void twins_carve(struct twins *t, uint32_t sessions_max, struct carve *c)
{
    t->jobs = carve_array(c, struct twin_job, sessions_max);
    t->sessions = carve_array(c, llmos_session *, sessions_max);
    t->of = carve_array(c, struct twin_job *, sessions_max);
    t->outs = carve_array(c, struct llmos_step_out, sessions_max);
}

static bool is_same_piece(const llmos_tokenizer *a, const llmos_tokenizer *b, int32_t token)
{
    const char *one, *other;
    size_t n = llmos_token_piece(a, token, true, &one);

    return n == llmos_token_piece(b, token, true, &other) && (n == 0 || memcmp(one, other, n) == 0);
}

int twins_check(const llmos_model *model, const llmos_model *draft_model, struct llmos_error *err)
{
    const llmos_tokenizer *a = model->tokenizer, *b = draft_model->tokenizer;
    uint32_t count = model->hparams.n_vocab;

    if (draft_model->hparams.n_vocab != count)
        return fail(err, LLMOS_EINVAL,
                    "the draft model has %u tokens, the model %u; both must have the same "
                    "vocabulary, as models of one family do",
                    draft_model->hparams.n_vocab, count);
    for (uint32_t i = 0; a && b && i < count; i++)
        if (!is_same_piece(a, b, (int32_t)i))
            return fail(err, LLMOS_EINVAL,
                        "token %u of the draft model is another than that of the model; both must "
                        "have the same vocabulary, as models of one family do",
                        i);
    return 0;
}

int twin_create(struct twin *twin, struct twins *t, struct llmos_error *err)
{
    const struct llmos_sampling greedy = {.top_p = 1, .repeat_penalty = 1};

    twin->sure = 0;
    return llmos_session_create(&twin->session, t->context, &greedy, err);
}

void twin_destroy(struct twin *twin)
{
    llmos_session_destroy(twin->session);
    twin->session = NULL;
}

void twin_agree(struct twin *twin, uint32_t count)
{
    twin->sure = count;
}

/* The twin gets what it lacks, at least the last token: a step samples behind one that it computes.
 */
static bool catch_up(struct twin_job *j)
{
    struct twin *t = j->twin;
    uint32_t sure = t->sure < j->count ? t->sure : j->count - 1;

    llmos_session_truncate(t->session, sure);
    t->sure = j->count;
    return llmos_session_append(t->session, j->tokens + sure, j->count - sure, NULL) == 0;
}

static size_t gather(struct twins *t, size_t job_count)
{
    size_t n = 0;

    for (size_t i = 0; i < job_count; i++)
        if (t->jobs[i].made < t->jobs[i].wanted) {
            t->of[n] = &t->jobs[i];
            t->sessions[n++] = t->jobs[i].twin->session;
        }
    return n;
}

/* One more guess for each; who has none to give yet, or no page to go on, is done for this time. */
static void take(struct twins *t, size_t n, uint64_t ns)
{
    uint32_t computed = 0;

    for (size_t i = 0; i < n; i++) {
        struct twin_job *j = t->of[i];

        computed += t->outs[i].computed;
        if (t->outs[i].token >= 0)
            j->tokens[j->count + j->made++] = t->outs[i].token;
        else
            j->wanted = j->made;
    }
    if (computed == n) { /* nobody caught up */
        double each = (double)ns / (double)n;

        t->guess_ns += t->guess_ns > 0 ? (each - t->guess_ns) * WEIGHT : each;
    }
}

void twins_guess(struct twins *t, size_t job_count)
{
    size_t n;

    for (size_t i = 0; i < job_count; i++) {
        t->jobs[i].made = 0;
        if (!catch_up(&t->jobs[i]))
            t->jobs[i].wanted = 0;
    }
    while (!t->is_broken && (n = gather(t, job_count)) > 0) {
        uint64_t start = clock_ns();

        if (llmos_context_step(t->context, t->sessions, n, t->outs, NULL) < 0)
            t->is_broken = true;
        else
            take(t, n, clock_ns() - start);
    }
}
