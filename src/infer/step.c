/* SPDX-License-Identifier: Apache-2.0 */
/* step.c - a step of a context: see llmos/session.h
 *
 * A step takes pages, computes, samples, and only then changes the sessions, so that a step that
 * fails can be taken again. */
#include "base/clock.h"
#include "infer/guess.h"
#include "infer/pages.h"

#include <string.h>

static int begin_turns(llmos_context *c, llmos_session *const *sessions, size_t count,
                       struct llmos_error *err)
{
    if (count > c->sessions_max)
        return fail(err, LLMOS_EINVAL, "%zu sequences in a step, the context has %u", count,
                    c->sessions_max);
    c->step++;
    for (size_t i = 0; i < count; i++) {
        if (!sessions[i] || sessions[i]->context != c)
            return fail(err, LLMOS_EINVAL, "sequence %zu of the step is of another context", i);
        if (sessions[i]->mark == c->step)
            return fail(err, LLMOS_EINVAL, "sequence %zu stands twice in the step", i);
        sessions[i]->mark = c->step;
        c->turns[i] = (struct turn){.session = sessions[i], .out = {.token = -1}};
    }
    c->turn_count = count;
    return 0;
}

/* With longrope a sequence that outgrows the context before scaling is rotated by other factors
 * from its first token on, so it is computed again, once; transformers does the same.  So what a
 * sequence says depends on its tokens alone, not on how many came at a time or how large the
 * context is. */
static void turn_over(struct llmos_session *s)
{
    bool is_long = hparams_is_long(&s->context->model->hparams, s->count);

    if (is_long == s->is_long)
        return;
    pages_leave(s);
    s->computed = s->cached = 0;
    s->is_long = is_long;
}

static void take_share(struct turn *t, uint32_t wanted)
{
    t->share = pages_reserve(t->session, wanted);
    t->out.starved = t->share == 0;
    t->out.computed = t->share;
}

static bool decodes(const struct llmos_session *s)
{
    return s->count - s->computed == 1;
}

static uint32_t share_with_prompts(llmos_context *c, uint32_t left)
{
    uint32_t shared = 0;

    for (size_t i = 0; i < c->turn_count && shared < left; i++) {
        struct llmos_session *s = c->turns[i].session;

        if (s->count - s->computed > 1 && !pages_are_underway(s)) {
            pages_copy_beginning(s);
            take_share(&c->turns[i], smaller(s->count - s->computed, left - shared));
            shared += c->turns[i].share;
        }
    }
    return shared;
}

/* One token for every session that decodes, then prompts, first sessions first.  At least one token
 * of a prompt always: a batch full of others' tokens must not stop it for good.  Guesses are made
 * where there is no prompt: a step with one is busy computing, others only wait for weights. */
static void share_batch(llmos_context *c)
{
    uint32_t decoding = 0, left;

    for (size_t i = 0; i < c->turn_count; i++) {
        turn_over(c->turns[i].session);
        pages_adopt(c->turns[i].session);
    }
    for (size_t i = 0; i < c->turn_count; i++)
        if (decodes(c->turns[i].session)) {
            take_share(&c->turns[i], 1);
            decoding += c->turns[i].share;
        }
    left = c->batch_tokens > decoding ? c->batch_tokens - decoding : 0;
    c->has_prompt = share_with_prompts(c, left ? left : 1) > 0;
    if (c->draft_max && !c->has_prompt)
        guesses_make(c, decoding, left);
}

/* The next rows of a turn, as many as there are of a kind.  Those whose logits it wants are all in
 * one run. */
static size_t fill_turn(llmos_context *c, struct turn *t, enum forward_kind kind, size_t n,
                        size_t *logits)
{
    const struct llmos_session *s = t->session;

    for (; t->done < t->share && turn_kind(c, t, t->done) == kind; t->done++) {
        bool wants_logits = t->done + 1 + t->guesses >= t->share;

        if (t->done + 1 + t->guesses == t->share)
            t->logits_at = *logits;
        *logits += wants_logits;
        c->rows[n++] = (struct forward_row){.token = s->tokens[s->computed + t->done],
                                            .position = s->computed + t->done,
                                            .pages = s->pages,
                                            .is_long = s->is_long,
                                            .wants_logits = wants_logits};
    }
    return n;
}

/* The next rows of all turns that go on with one kind; their logits follow those that are there. */
static size_t fill_rows(llmos_context *c, enum forward_kind kind, size_t *logits)
{
    size_t n = 0;

    for (size_t i = 0; i < c->turn_count; i++)
        n = fill_turn(c, &c->turns[i], kind, n, logits);
    return n;
}

/* The token behind the first `more` guesses, into out. */
static int sample_one(const llmos_context *c, struct turn *t, uint32_t more,
                      const struct sampler_scratch *scratch, struct llmos_step_out *out)
{
    struct llmos_session *s = t->session;
    struct sampler_history history = {s->tokens, s->generated, s->count + more};
    int rc;

    if (s->matcher && s->has_strayed)
        return LLMOS_ENOMEM;
    rc = sampler_pick(&s->sampling, forward_logits(&c->forward, t->logits_at + more), c->n_vocab,
                      &history, s->matcher, &t->rng, scratch, out);
    if (s->replay && s->count + more - s->replay_from < s->replay_count)
        out->token = s->replay[s->count + more - s->replay_from];
    if (rc == 0 && s->matcher && !matcher_accept(s->matcher, (uint32_t)out->token))
        return matcher_failure(s->matcher) < 0 ? matcher_failure(s->matcher) : LLMOS_ENOTFOUND;
    return rc;
}

/* Goes on as long as what was sampled is what was guessed.  Where a row behind the first has no
 * number, the tokens before it stand, and the next step will meet it first. */
static void sample_turn(const llmos_context *c, struct turn *t,
                        const struct sampler_scratch *scratch)
{
    struct llmos_session *s = t->session;
    struct llmos_step_out next;
    uint32_t more = 0;

    t->rng = s->rng;
    if (s->matcher)
        matcher_begin(s->matcher);
    t->rc = sample_one(c, t, 0, scratch, &t->out);
    next.token = t->out.token;
    while (t->rc == 0 && more < t->guesses && next.token == s->tokens[s->count + more]) {
        s->generated[s->count + more++] = 1;
        if (sample_one(c, t, more, scratch, &next) < 0) {
            more--;
            break;
        }
        t->out.more[more - 1] = next.token;
    }
    t->out.more_count = more;
}

static void sample_part(void *arg, unsigned part, unsigned parts)
{
    llmos_context *c = arg;
    size_t begin, end;

    pool_share(c->turn_count, 1, part, parts, &begin, &end);
    for (size_t i = begin; i < end; i++)
        if (c->turns[i].samples)
            sample_turn(c, &c->turns[i], &c->scratch[part]);
}

static const char *why_no_token(int rc)
{
    switch (rc) {
    case LLMOS_EFORMAT:
        return "the model computes no number for the next token: its weights are damaged or "
               "overflow";
    case LLMOS_ENOTFOUND:
        return "none of the model's tokens may come next: its vocabulary or logit_bias has none "
               "that the grammar allows, or its text has ended";
    case LLMOS_ELIMIT:
        return "the grammar has too many readings of what was said to be followed on";
    default:
        return "no memory to follow the grammar";
    }
}

static int sample(llmos_context *c, struct llmos_error *err)
{
    size_t samples = 0;

    for (size_t i = 0; i < c->turn_count; i++) {
        struct turn *t = &c->turns[i];
        struct llmos_session *s = t->session;

        if (s->computed + t->share < s->count || s->count == 0)
            continue;
        t->samples = t->share > 0 && s->count < c->context_tokens;
        t->out.context_full = s->count == c->context_tokens;
        samples += t->samples;
    }
    if (samples > 1)
        pool_run(c->pool, sample_part, c);
    else if (samples == 1)
        sample_part(c, 0, 1);
    for (size_t i = 0; i < c->turn_count; i++)
        if (c->turns[i].rc < 0)
            return fail(err, c->turns[i].rc, "%s (position %u of sequence %zu)",
                        why_no_token(c->turns[i].rc), c->turns[i].session->count, i);
    return 0;
}

static void keep_token(struct llmos_session *s, int32_t token)
{
    s->tokens[s->count] = token;
    s->generated[s->count++] = 1;
}

static void end_turn(llmos_context *c, struct turn *t)
{
    struct llmos_session *s = t->session;
    uint32_t wrong = t->guesses - t->out.more_count;

    t->out.drafted = t->guesses;
    t->out.computed = t->share - wrong;
    s->computed += t->out.computed;
    s->logits = t->share ? forward_logits(&c->forward, t->logits_at + t->out.more_count) : NULL;
    s->logits_step = c->step;
    if (t->guesses)
        draft_odds_note(t->odds, t->guesses, t->out.more_count);
    if (t->job)
        twin_agree(&s->twin, s->count + t->out.more_count);
    if (t->samples) {
        s->rng = t->rng;
        if (s->matcher) {
            matcher_commit(s->matcher);
            t->out.complete = matcher_must_end(s->matcher);
        }
        keep_token(s, t->out.token);
        for (uint32_t i = 0; i < t->out.more_count; i++)
            keep_token(s, t->out.more[i]);
    }
    pages_share(s);
}

/* One run where all tokens are computed alike; else one for those of each kind, and more where
 * kinds take turns within a sequence, each of which needs what the one before has stored. */
static uint32_t run_all(llmos_context *c)
{
    size_t logits = 0, all = 0, rows;
    unsigned pauses = 0;

    for (enum forward_kind kind = FORWARD_GENERATED; pauses < 2; kind = 1 - kind) {
        rows = fill_rows(c, kind, &logits);
        pauses = rows ? 0 : pauses + 1;
        if (rows && all)
            forward_run_too(&c->forward, c->rows, rows, kind);
        else if (rows)
            forward_run(&c->forward, c->rows, rows, kind);
        all += rows;
    }
    return smaller(all, UINT32_MAX);
}

static void compute(llmos_context *c)
{
    uint64_t start = c->draft_max ? clock_ns() : 0;
    uint32_t rows = run_all(c);

    if (c->draft_max && !c->has_prompt)
        draft_cost_note(&c->cost, rows, clock_ns() - start);
}

int llmos_context_step(llmos_context *c, llmos_session *const *sessions, size_t count,
                       struct llmos_step_out *out, struct llmos_error *err)
{
    int rc = begin_turns(c, sessions, count, err);

    if (rc < 0)
        return rc;
    share_batch(c);
    compute(c);
    rc = sample(c, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        end_turn(c, &c->turns[i]);
        out[i] = c->turns[i].out;
    }
    return 0;
}
