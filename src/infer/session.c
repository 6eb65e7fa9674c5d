/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - sessions: see llmos/session.h */
#include "infer/guess.h"
#include "infer/pages.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

int llmos_session_create(llmos_session **session, llmos_context *c,
                         const struct llmos_sampling *sampling, struct llmos_error *err)
{
    const struct llmos_sampling usual = LLMOS_SAMPLING_INIT;
    const struct llmos_sampling *o = sampling ? sampling : &usual;
    struct llmos_session *s = c->sessions;
    int rc = sampler_check(o, c->n_vocab, err);

    if (rc < 0)
        return rc;
    if (c->sessions_alive == c->sessions_max)
        return fail(err, LLMOS_EBUSY, "all %u sequences are in use", c->sessions_max);
    while (s->context)
        s++;
    if (c->twins.context) {
        rc = twin_create(&s->twin, &c->twins, err);
        if (rc < 0)
            return rc;
    }
    c->sessions_alive++;
    s->context = c;
    s->count = s->computed = s->page_count = 0;
    s->is_long = false;
    s->domain = s->tree_pages = s->cached = 0;
    s->logits = NULL;
    s->mark = 0;
    s->grammar = NULL;
    s->matcher = NULL;
    s->replay = NULL;
    s->sampling = *o;
    if (o->bias_count)
        memcpy(s->bias, o->bias, o->bias_count * sizeof(*o->bias));
    s->sampling.bias = s->bias;
    rng_seed(&s->rng, o->seed);
    guesses_begin(s);
    *session = s;
    return 0;
}

int llmos_session_set_domain(llmos_session *s, uint64_t domain, struct llmos_error *err)
{
    if (s->count > 0)
        return fail(err, LLMOS_EINVAL,
                    "the sequence has %u tokens already; say with whom it shares before the first",
                    s->count);
    if (domain & DOMAIN_LONG)
        return fail(err, LLMOS_EINVAL, "domain %" PRIu64 ", they end below 2^63", domain);
    s->domain = domain;
    if (s->twin.session) {
        llmos_session_truncate(s->twin.session, 0);
        return llmos_session_set_domain(s->twin.session, domain, err);
    }
    return 0;
}

/* What somebody wrote does not stay behind, nor what was guessed to follow it. */
static void wipe_tokens(struct llmos_session *s, uint32_t length)
{
    uint32_t end = smaller((uint64_t)s->count + LLMOS_DRAFT_MAX, s->context->context_tokens);

    memset(s->tokens + length, 0, (end - length) * sizeof(*s->tokens));
}

static void leave_grammar(struct llmos_session *s)
{
    if (s->grammar)
        grammars_give(&s->context->grammars, s->grammar);
    s->grammar = NULL;
    s->matcher = NULL;
    s->replay = NULL;
}

/* All or none. */
static bool grammar_takes(struct llmos_session *s, const int32_t *tokens, size_t count)
{
    matcher_begin(s->matcher);
    for (size_t i = 0; i < count; i++)
        if (s->has_strayed || !matcher_accept(s->matcher, (uint32_t)tokens[i]))
            return false;
    matcher_commit(s->matcher);
    return true;
}

/* From the beginning of its text to behind all tokens since the grammar was set. */
static void follow_grammar(struct llmos_session *s)
{
    matcher_reset(s->matcher, s->drops_space);
    s->has_strayed = false;
    for (size_t i = 0; i < s->begun_length; i++)
        s->has_strayed |= !matcher_accept_byte(s->matcher, (uint8_t)s->begun[i]);
    matcher_commit(s->matcher);
    s->has_strayed = !grammar_takes(s, s->tokens + s->grammar_from, s->count - s->grammar_from);
}

static int check_wanted(const struct llmos_grammar *g, struct llmos_error *err)
{
    if (g->begun_length > LLMOS_BEGUN_MAX || g->mark_count > LLMOS_MARKS_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "a grammar's text can have begun with %d bytes, and have %d marks",
                    LLMOS_BEGUN_MAX, LLMOS_MARKS_MAX);
    return 0;
}

int llmos_session_set_grammar(llmos_session *s, const struct llmos_grammar *grammar,
                              struct llmos_error *err)
{
    struct grammars_entry *entry;
    struct matcher *matcher;
    int rc = check_wanted(grammar, err);

    if (rc == 0)
        rc = grammars_take(&s->context->grammars, grammar, s->domain, &matcher, &entry, err);
    if (rc < 0)
        return rc;
    leave_grammar(s);
    s->grammar = entry;
    s->matcher = matcher;
    s->grammar_from = s->count;
    s->drops_space = grammar->drops_space;
    s->begun_length = grammar->begun_length;
    if (s->begun_length)
        memcpy(s->begun, grammar->begun, s->begun_length);
    follow_grammar(s);
    if (!s->has_strayed)
        return 0;
    leave_grammar(s);
    return fail(err, LLMOS_EINVAL, "no text of the grammar begins with '%.*s'",
                (int)grammar->begun_length, grammar->begun);
}

int llmos_context_check_grammar(llmos_context *c, const struct llmos_grammar *grammar,
                                uint64_t domain, struct llmos_error *err)
{
    struct grammars_entry *entry;
    struct matcher *matcher;
    int rc = check_wanted(grammar, err);

    if (rc == 0)
        rc = grammars_take(&c->grammars, grammar, domain, &matcher, &entry, err);
    if (rc == 0)
        grammars_give(&c->grammars, entry);
    return rc;
}

void llmos_session_destroy(llmos_session *s)
{
    if (!s)
        return;
    assert(s->context);
    leave_grammar(s);
    twin_destroy(&s->twin);
    pages_leave(s);
    wipe_tokens(s, 0);
    s->context->sessions_alive--;
    s->context = NULL;
}

int llmos_session_append(llmos_session *s, const int32_t *tokens, size_t count,
                         struct llmos_error *err)
{
    uint32_t room = s->context->context_tokens - s->count;

    for (size_t i = 0; i < count; i++)
        if (tokens[i] < 0 || (size_t)tokens[i] >= s->context->n_vocab)
            return fail(err, LLMOS_EINVAL, "token %d is outside the vocabulary of %zu", tokens[i],
                        s->context->n_vocab);
    if (count > room && s->count == 0)
        return fail(err, LLMOS_ECONTEXT, "the prompt has %zu tokens, the context holds %u", count,
                    s->context->context_tokens);
    if (count > room)
        return fail(err, LLMOS_ECONTEXT,
                    "%zu tokens behind the %u that are there do not fit, the context holds %u",
                    count, s->count, s->context->context_tokens);
    if (s->matcher && !grammar_takes(s, tokens, count))
        return fail(err, LLMOS_EINVAL,
                    "the grammar of the sequence does not allow the %zu tokens that were appended",
                    count);
    if (count)
        memcpy(s->tokens + s->count, tokens, count * sizeof(*tokens));
    memset(s->generated + s->count, 0, count);
    s->count += (uint32_t)count;
    return 0;
}

void llmos_session_truncate(llmos_session *s, size_t length)
{
    if (length >= s->count)
        return;
    pages_cut(s, (uint32_t)length);
    s->computed = smaller(s->computed, length);
    s->cached = smaller(s->cached, s->computed);
    if (s->context->draft_lookup)
        lookup_truncate(&s->lookup, s->tokens, (uint32_t)length);
    twin_agree(&s->twin, smaller(s->twin.sure, length));
    wipe_tokens(s, (uint32_t)length);
    s->count = (uint32_t)length;
    s->logits = NULL;
    if (s->matcher) {
        s->grammar_from = smaller(s->grammar_from, length);
        follow_grammar(s);
    }
}

size_t llmos_session_length(const llmos_session *s)
{
    return s->count;
}

size_t llmos_session_pending(const llmos_session *s)
{
    return s->count - s->computed;
}

size_t llmos_session_cached(const llmos_session *s)
{
    return s->cached;
}

const float *llmos_session_logits(const llmos_session *s)
{
    return s->logits_step == s->context->step ? s->logits : NULL;
}

/* --- see infer/session.h --- */

const int32_t *session_tokens(const llmos_session *s)
{
    return s->tokens;
}

void session_replay(llmos_session *s, const int32_t *tokens, uint32_t count)
{
    s->replay = tokens;
    s->replay_from = s->count;
    s->replay_count = count;
}
