/* SPDX-License-Identifier: Apache-2.0 */
/* context.h - what contexts and their sessions are made of, for the files that make a step of them.
 *
 * context.c cuts a context into its parts, session.c keeps one sequence, pages.c its part of the
 * cache, guess.c says how it might go on, and step.c computes and samples.  A context is used by
 * one thread at a time. */
#ifndef INFER_CONTEXT_H
#define INFER_CONTEXT_H

#include "infer/draft.h"
#include "infer/forward.h"
#include "infer/grammars.h"
#include "infer/lookup.h"
#include "infer/prefix.h"
#include "infer/sampler.h"
#include "infer/session.h"
#include "infer/twin.h"
#include "model/loaded.h"

/* Where guesses come from: how often they are right is counted for each. */
enum draft_source { DRAFT_SHORT_MATCH, DRAFT_MATCH, DRAFT_LONG_MATCH, DRAFT_MODEL, DRAFT_SOURCES };

struct llmos_session {
    llmos_context *context; /* NULL: the slot is free */
    int32_t *tokens;        /* seen and queued */
    uint8_t *generated;     /* 1 where the token was sampled */
    uint32_t *pages;
    uint32_t count, computed, page_count;
    bool is_long;        /* what it has computed was rotated so: hparams_is_long */
    uint64_t domain;     /* 0: its pages are its own */
    uint32_t tree_pages; /* the first of its pages are of the tree */
    uint32_t cached;     /* of the computed tokens, those found there */
    struct llmos_sampling sampling;
    struct llmos_logit_bias *bias;
    struct rng rng;
    const float *logits; /* of the step `logits_step` */
    uint64_t logits_step;
    uint64_t mark;                  /* the step that holds this session: each may be in it once */
    struct grammars_entry *grammar; /* NULL: none */
    struct matcher *matcher;
    uint32_t grammar_from;       /* tokens that were there before it */
    char begun[LLMOS_BEGUN_MAX]; /* of its text, before those */
    size_t begun_length;
    bool drops_space, has_strayed; /* strayed: its matcher could not be put where the tokens are */
    struct lookup lookup;
    struct twin twin;
    struct draft_odds odds[DRAFT_SOURCES];
    const int32_t *replay; /* what it says, of the benchmark; NULL: what it samples */
    uint32_t replay_from, replay_count;
};

/* What a step does with one session. */
struct turn {
    struct llmos_session *session;
    uint32_t share;   /* rows */
    uint32_t guesses; /* of these, the last ones */
    uint32_t done;    /* of these, in runs so far */
    struct draft_odds *odds;
    struct twin_job *job; /* the guesses are of the draft model; NULL: they are not */
    size_t logits_at;     /* of the first row that has any */
    bool samples;
    int rc;
    struct rng rng;
    struct llmos_step_out out;
};

struct llmos_context {
    const llmos_model *model;
    size_t n_vocab;
    uint32_t threads, context_tokens, sessions_max, batch_tokens, rows_max;
    enum dtype kv_type;
    uint64_t bytes, kv_bytes;
    void *block;
    struct pool *pool;
    struct kv kv;
    struct prefix prefix;
    struct forward forward;
    struct forward_row *rows;
    struct sampler_scratch *scratch; /* one a thread */
    struct llmos_session *sessions;
    uint32_t sessions_alive;
    struct turn *turns;
    size_t turn_count;
    uint64_t step;
    bool has_prompt; /* the step */
    uint32_t draft_max;
    bool draft_lookup;
    bool guesses_always; /* a test wants it */
    bool shares_pool;    /* with the context that it is a draft model of */
    const llmos_model *draft_model;
    struct twins twins; /* context NULL: there is no draft model */
    struct draft_cost cost;
    struct grammars grammars;
};

static inline uint32_t smaller(uint64_t a, uint64_t b)
{
    uint64_t least = a < b ? a : b;

    return least > UINT32_MAX ? UINT32_MAX : (uint32_t)least;
}

/* How row k of a turn is computed, which is a guess where there is no token yet. */
static inline enum forward_kind turn_kind(const llmos_context *c, const struct turn *t, uint32_t k)
{
    const struct llmos_session *s = t->session;
    bool is_prompt = s->computed + k < s->count && !s->generated[s->computed + k];

    if (!c->forward.prompts->generates)
        return FORWARD_PROMPT;
    if (c->shares_pool) /* guesses may come from either: from what is faster for so many */
        is_prompt = t->share > DRAFT_ROWS_MAX;
    return is_prompt ? FORWARD_PROMPT : FORWARD_GENERATED;
}

#endif
