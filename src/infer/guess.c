/* SPDX-License-Identifier: Apache-2.0 */
/* guess.c - see guess.h */
#include "infer/guess.h"
#include "infer/pages.h"

#include <assert.h>

/* At first a guess is believed the more, the longer the match that it follows. */
void guesses_begin(struct llmos_session *s)
{
    if (s->context->draft_lookup)
        lookup_reset(&s->lookup);
    draft_odds_init(&s->odds[DRAFT_SHORT_MATCH], 0.4);
    draft_odds_init(&s->odds[DRAFT_MATCH], 0.6);
    draft_odds_init(&s->odds[DRAFT_LONG_MATCH], 0.8);
    draft_odds_init(&s->odds[DRAFT_MODEL], 0.7);
}

/* How many guesses a session may have for what memory there is: a page is taken for them only if
 * nobody would lose it.  None are behind the place where it turns over. */
static uint32_t draft_room(llmos_context *c, struct llmos_session *s)
{
    const struct hparams *h = &c->model->hparams;
    uint64_t most = smaller(c->draft_max, c->context_tokens - 1 - s->count);
    uint64_t pages = s->page_count + (uint64_t)(c->kv.free_count > 0);

    if (h->rope_scaling == ROPE_LONGROPE && !s->is_long)
        most = smaller(most, h->rope_ctx_orig - s->count);
    return smaller(most, pages * KV_PAGE_TOKENS - s->computed - 1);
}

/* What a step has so far. */
struct plan {
    uint32_t rows, left; /* left: that still fit into the batch */
    double tokens;       /* that it will give, on average */
};

/* How many guesses of one source pay for s. */
static uint32_t guesses_for(llmos_context *c, struct llmos_session *s, enum draft_source source,
                            double guess_ns, const struct plan *p)
{
    uint32_t most = smaller(p->left, draft_room(c, s));

    if (c->guesses_always)
        return smaller(most, DRAFT_ROWS_MAX - smaller(p->rows, DRAFT_ROWS_MAX));
    return draft_length(&s->odds[source], &c->cost, p->rows, p->tokens, most, guess_ns);
}

static void plan_guesses(struct plan *p, const struct llmos_session *s, enum draft_source source,
                         uint32_t guesses)
{
    p->rows += guesses;
    p->left -= guesses;
    p->tokens += draft_tokens(&s->odds[source], guesses);
}

static void take_guesses(struct turn *t, enum draft_source source, uint32_t guesses, struct plan *p)
{
    t->guesses = guesses;
    t->odds = &t->session->odds[source];
    t->share = pages_reserve(t->session, 1 + guesses);
    assert(t->share == 1 + guesses);
    plan_guesses(p, t->session, source, guesses);
}

static enum draft_source source_of(uint32_t shared)
{
    if (shared < 5)
        return DRAFT_SHORT_MATCH;
    return shared < 12 ? DRAFT_MATCH : DRAFT_LONG_MATCH;
}

/* What the sequence said behind the same tokens before.  Where it says the end of that already, it
 * goes on with the guesses themselves: a loop goes on as a loop. */
static void look_up(llmos_context *c, struct turn *t, struct plan *p)
{
    struct llmos_session *s = t->session;
    uint32_t from, shared = lookup_find(&s->lookup, s->tokens, s->count, &from), guesses;

    if (shared == 0)
        return;
    guesses = guesses_for(c, s, source_of(shared), 0, p);
    for (uint32_t i = 0; i < guesses; i++)
        s->tokens[s->count + i] = s->tokens[from + i];
    take_guesses(t, source_of(shared), guesses, p);
}

static bool may_guess(const llmos_context *c, const struct turn *t)
{
    const struct llmos_session *s = t->session;

    return t->share == 1 && turn_kind(c, t, 0) == turn_kind(c, t, 1) &&
           s->count < c->context_tokens && !s->sampling.want_logprob && s->sampling.logprobs == 0;
}

/* What the draft model says, for those who have no guesses yet, all together. */
static void ask_twins(llmos_context *c, struct plan *p)
{
    struct plan wanted = *p;
    size_t count = 0;

    for (size_t i = 0; i < c->turn_count; i++) {
        struct turn *t = &c->turns[i];
        struct llmos_session *s = t->session;
        uint32_t guesses = 0;

        if (may_guess(c, t))
            guesses = guesses_for(c, s, DRAFT_MODEL, c->twins.guess_ns, &wanted);
        if (guesses == 0)
            continue;
        plan_guesses(&wanted, s, DRAFT_MODEL, guesses);
        t->job = &c->twins.jobs[count++];
        *t->job = (struct twin_job){&s->twin, s->tokens, s->count, guesses, 0};
    }
    twins_guess(&c->twins, count);
    for (size_t i = 0; i < c->turn_count; i++) {
        struct turn *t = &c->turns[i];

        /* Others may have got the page that was free. */
        if (t->job)
            take_guesses(t, DRAFT_MODEL, smaller(t->job->made, draft_room(c, t->session)), p);
    }
}

void guesses_make(llmos_context *c, uint32_t rows, uint32_t left)
{
    struct plan p = {rows, left, rows};

    for (size_t i = 0; i < c->turn_count && c->draft_lookup; i++)
        if (may_guess(c, &c->turns[i]))
            look_up(c, &c->turns[i], &p);
    if (c->twins.context)
        ask_twins(c, &p);
}
