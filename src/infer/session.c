/* SPDX-License-Identifier: Apache-2.0 */
/* session.c - contexts and sessions: see llmos/session.h
 *
 * A context is one block of memory, cut at creation into the KV pool, the scratch of the forward
 * pass and of the sampler, and sessions_max slots.  Afterwards nothing is allocated: a step takes
 * pages, computes, samples, and only then changes the sessions, so that a step that fails can be
 * taken again.
 *
 * The pages of a session are first those of the tree (prefix.h), which it shares and only reads,
 * then its own.  At the end of a page it looks whether the tree has the next one, and puts its own
 * into the tree when it is full; so sessions find each other's pages while both still run.
 *
 * Guesses stand behind the tokens of a session while a step lasts.  Their rows are computed with
 * the row of the last token; then tokens are sampled one by one as long as each is the guess of
 * which the next row was computed.  The rows behind are not counted as computed, so what they
 * stored is overwritten before anything reads it. */
#include "infer/session.h"
#include "base/clock.h"
#include "base/mem.h"
#include "infer/draft.h"
#include "infer/forward.h"
#include "infer/grammars.h"
#include "infer/lookup.h"
#include "infer/prefix.h"
#include "infer/sampler.h"
#include "infer/twin.h"
#include "model/loaded.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CONTEXT_DEFAULT 4096
#define BATCH_DEFAULT   512
#define THREADS_MAX     1024
#define SESSIONS_MAX    4096
#define DOMAIN_LONG     (UINT64_C(1) << 63) /* of the tree; no session's has it */

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

/* --- sizes --- */

static uint32_t smaller(uint64_t a, uint64_t b)
{
    uint64_t least = a < b ? a : b;

    return least > UINT32_MAX ? UINT32_MAX : (uint32_t)least;
}

/* Every sequence of a step has one row that is sampled from, and its guesses have more. */
static uint32_t logits_max(const llmos_context *c)
{
    uint32_t guessing = smaller((uint64_t)c->sessions_max * (1 + c->draft_max), DRAFT_ROWS_MAX);

    return c->sessions_max > guessing ? c->sessions_max : guessing;
}

/* Everything in the block; c is complete except for its pointers. */
static void cut(llmos_context *c, uint32_t kv_pages, const struct arch *arch, struct carve *carve)
{
    struct forward_limits limits = {c->threads, c->rows_max, logits_max(c), c->context_tokens};
    const struct hparams *h = &c->model->hparams;

    kv_carve(&c->kv, h, c->kv_type, kv_pages, carve);
    c->kv_bytes = (uint64_t)kv_pages * kv_page_bytes(h, c->kv_type);
    prefix_carve(&c->prefix, kv_pages, carve);
    forward_carve(&c->forward, h, &c->model->weights, arch, forward_backend(h, &c->model->weights),
                  &limits, carve);
    c->rows = carve_array(carve, struct forward_row, c->rows_max);
    c->turns = carve_array(carve, struct turn, c->sessions_max);
    c->scratch = carve_array(carve, struct sampler_scratch, c->threads);
    for (uint32_t i = 0; i < c->threads; i++) {
        struct sampler_scratch scratch;

        sampler_carve(&scratch, c->n_vocab, carve);
        if (c->scratch)
            c->scratch[i] = scratch;
    }
    if (c->draft_model)
        twins_carve(&c->twins, c->sessions_max, carve);
    c->sessions = carve_array(carve, struct llmos_session, c->sessions_max);
    for (uint32_t i = 0; i < c->sessions_max; i++) {
        struct llmos_session s = {0};

        s.tokens = carve_array(carve, int32_t, c->context_tokens);
        s.generated = carve_array(carve, uint8_t, c->context_tokens);
        s.pages = carve_array(carve, uint32_t, kv_pages_for(c->context_tokens));
        s.bias = carve_array(carve, struct llmos_logit_bias, LLMOS_BIAS_MAX);
        if (c->draft_lookup)
            lookup_carve(&s.lookup, c->context_tokens, carve);
        if (c->sessions)
            c->sessions[i] = s;
    }
    c->bytes = carve->overflow ? UINT64_MAX : carve->used;
}

static bool is_f16(const char *kv_type)
{
    return !kv_type || !kv_type[0] || strcmp(kv_type, "f16") == 0;
}

/* The settings that follow from the options for a given length of context. */
static uint32_t settle(llmos_context *c, const llmos_model *model,
                       const struct llmos_context_options *o, uint32_t context_tokens)
{
    uint64_t pages =
        kv_pages_for(context_tokens) * (uint64_t)(o->sessions_max ? o->sessions_max : 1);

    *c = (llmos_context){
        .model = model,
        .grammars.tokenizer = model->tokenizer,
        .n_vocab = model->hparams.n_vocab,
        .threads = o->threads ? o->threads : 1,
        .context_tokens = context_tokens,
        .sessions_max = o->sessions_max ? o->sessions_max : 1,
        .draft_max = o->draft_max,
        .draft_lookup = o->draft_max && o->draft_lookup,
        .draft_model = o->draft_max ? o->draft_model : NULL,
        .kv_type = is_f16(o->kv_type) ? DTYPE_F16 : DTYPE_Q8_0,
    };
    if (o->kv_tokens)
        pages = kv_pages_for(o->kv_tokens);
    /* More rows than this cannot come together in one step. */
    c->batch_tokens = smaller(o->batch_tokens ? o->batch_tokens : BATCH_DEFAULT,
                              (uint64_t)context_tokens * c->sessions_max);
    c->rows_max = c->batch_tokens > c->sessions_max ? c->batch_tokens : c->sessions_max;
    return smaller(pages, KV_NO_PAGE - 1);
}

static uint64_t bytes_needed(const llmos_model *model, const struct llmos_context_options *o,
                             const struct arch *arch, uint32_t context_tokens)
{
    llmos_context c;
    struct carve carve = {0};
    uint32_t pages = settle(&c, model, o, context_tokens);

    cut(&c, pages, arch, &carve);
    return c.bytes;
}

struct size_text {
    char text[24];
};

static struct size_text size_text(uint64_t bytes)
{
    const char *units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double size = (double)bytes / 1024;
    struct size_text s;
    size_t unit = 0;

    while (size >= 1024 && unit < 5) {
        size /= 1024;
        unit++;
    }
    snprintf(s.text, sizeof(s.text), "%.1f %s", size, units[unit]);
    return s;
}

/* The longest context in whole pages that fits; 0: none. */
static uint32_t context_that_fits(const llmos_model *model, const struct llmos_context_options *o,
                                  const struct arch *arch, uint32_t context_tokens)
{
    size_t low = 0, high = (context_tokens - 1) / KV_PAGE_TOKENS;

    while (low < high) {
        size_t middle = high - (high - low) / 2;
        uint32_t tokens = (uint32_t)(middle * KV_PAGE_TOKENS);

        if (bytes_needed(model, o, arch, tokens) <= o->memory_max_bytes)
            low = middle;
        else
            high = middle - 1;
    }
    return (uint32_t)(low * KV_PAGE_TOKENS);
}

static int too_large(const llmos_model *model, const struct llmos_context_options *o,
                     const struct arch *arch, const llmos_context *c, struct llmos_error *err)
{
    struct size_text need = size_text(c->bytes), have = size_text(o->memory_max_bytes);
    uint32_t fits = context_that_fits(model, o, arch, c->context_tokens);

    if (fits)
        return fail(err, LLMOS_ENOMEM,
                    "%u tokens of context need %s, %s are free; try --context %u",
                    c->context_tokens, need.text, have.text, fits);
    return fail(err, LLMOS_ENOMEM,
                "%u tokens of context for %u sequences in batches of %u need %s, %s are free, "
                "which is not enough for a shorter context either; try a smaller batch, KV pool or "
                "number of sequences",
                c->context_tokens, c->sessions_max, c->rows_max, need.text, have.text);
}

/* --- contexts --- */

static int check_options(const struct llmos_context_options *o, uint32_t context_tokens,
                         struct llmos_error *err)
{
    if (o->threads > THREADS_MAX)
        return fail(err, LLMOS_EINVAL, "%u threads, at most %d are possible", o->threads,
                    THREADS_MAX);
    if (o->sessions_max > SESSIONS_MAX)
        return fail(err, LLMOS_EINVAL, "%u sequences at a time, at most %d are possible",
                    o->sessions_max, SESSIONS_MAX);
    if (context_tokens > HPARAMS_CONTEXT_MAX)
        return fail(err, LLMOS_EINVAL, "a context of %u tokens, at most %d are possible",
                    context_tokens, HPARAMS_CONTEXT_MAX);
    if (o->draft_max > LLMOS_DRAFT_MAX)
        return fail(err, LLMOS_EINVAL, "drafts of %u tokens, at most %d are possible", o->draft_max,
                    LLMOS_DRAFT_MAX);
    if (!is_f16(o->kv_type) && strcmp(o->kv_type, "q8_0") != 0)
        return fail(err, LLMOS_EINVAL, "the cache cannot be kept as '%.40s', only as f16 or q8_0",
                    o->kv_type);
    /* Else a sequence could wait for ever for a page that nobody else holds. */
    if (o->kv_tokens && o->kv_tokens < context_tokens)
        return fail(err, LLMOS_EINVAL,
                    "a KV pool of %u tokens cannot hold one sequence of %u tokens; enlarge it or "
                    "shorten the context",
                    o->kv_tokens, context_tokens);
    return 0;
}

/* Learned positions end; others go on, for better or worse. */
static int check_positions(const llmos_model *model, uint32_t context_tokens,
                           struct llmos_error *err)
{
    const struct hparams *h = &model->hparams;

    if (!weights_get(&model->weights, 0, WEIGHT_POSITIONS) || context_tokens <= h->n_ctx_train)
        return 0;
    return fail(err, LLMOS_EINVAL,
                "a context of %u tokens, but the model has learned %u positions; try --context %u",
                context_tokens, h->n_ctx_train, h->n_ctx_train);
}

/* Its memory comes now, not when a request needs it: the system zeroes it, which takes longer than
 * all else at the start of a small model. */
static void take_cache(void *arg, unsigned part, unsigned parts)
{
    llmos_context *c = arg;
    size_t begin, end;

    pool_share((size_t)c->kv_bytes, 2 << 20, part, parts, &begin, &end);
    mem_take((char *)c->block + begin, end - begin);
}

static int context_start(llmos_context *c, uint32_t pages, const struct arch *arch,
                         struct pool *shared, struct llmos_error *err)
{
    uint64_t bytes = c->bytes;
    struct carve carve = {0};
    int rc;

    /* The cache is first in the block and is taken at once; of the scratch, which is for the
     * largest batch, what requests come to need. */
    c->block = bytes > SIZE_MAX / 2 ? NULL : mem_reserve((size_t)bytes, (size_t)c->kv_bytes);
    if (!c->block)
        return fail(err, LLMOS_ENOMEM,
                    "%u tokens of context need %s, which the system does not give; try --context "
                    "%u",
                    c->context_tokens, size_text(bytes).text, c->context_tokens / 2);
    carve.at = c->block;
    cut(c, pages, arch, &carve);
    assert(c->bytes == bytes);
    c->shares_pool = shared != NULL;
    c->pool = shared;
    rc = shared ? 0 : pool_create(&c->pool, c->threads, err);
    if (rc < 0)
        return rc;
    pool_run(c->pool, take_cache, c);
    kv_reset(&c->kv);
    prefix_reset(&c->prefix, &c->kv);
    forward_init(&c->forward, c->pool, &c->kv);
    return 0;
}

/* With threads of its own, or those of another that computes at other times. */
static int create(llmos_context **context, const llmos_model *model,
                  const struct llmos_context_options *o, struct pool *shared,
                  struct llmos_error *err)
{
    const struct arch *arch = arch_by_name(model->hparams.architecture);
    uint32_t tokens = o->context_tokens, pages;
    struct carve measure = {0};
    llmos_context *c;
    int rc;

    if (model->vocabulary_only)
        return fail(err, LLMOS_EINVAL, "the model was opened for its vocabulary and cannot be run");
    if (!arch)
        return fail(err, LLMOS_EUNSUPPORTED, "architecture '%s' cannot be run",
                    model->hparams.architecture);
    if (model->hparams.is_encoder)
        return fail(
            err, LLMOS_EUNSUPPORTED,
            "a model of architecture '%s' reads whole texts and generates none; it embeds or "
            "classifies them",
            model->hparams.architecture);
    if (tokens == 0)
        tokens = smaller(model->hparams.n_ctx_train, CONTEXT_DEFAULT);
    rc = check_options(o, tokens, err);
    if (rc == 0)
        rc = check_positions(model, tokens, err);
    if (rc < 0)
        return rc;
    c = mem_zalloc(1, sizeof(*c));
    if (!c)
        return fail(err, LLMOS_ENOMEM, "no memory for a context");
    pages = settle(c, model, o, tokens);
    cut(c, pages, arch, &measure);
    if (o->memory_max_bytes && c->bytes > o->memory_max_bytes)
        rc = too_large(model, o, arch, c, err);
    else
        rc = context_start(c, pages, arch, shared, err);
    if (rc < 0) {
        llmos_context_destroy(c);
        return rc;
    }
    *context = c;
    return 0;
}

/* A context like c for the smaller model, from what c left of the memory. */
static int create_twins(llmos_context *c, const struct llmos_context_options *o,
                        struct llmos_error *err)
{
    struct llmos_context_options like = {
        .threads = c->threads,
        .context_tokens = c->context_tokens,
        .sessions_max = c->sessions_max,
        .kv_tokens = o->kv_tokens,
        .batch_tokens = o->batch_tokens,
        .memory_max_bytes = o->memory_max_bytes,
        .kv_type = o->kv_type,
    };
    int rc = twins_check(c->model, o->draft_model, err);

    if (rc < 0)
        return rc;
    if (like.memory_max_bytes) /* not 0, which is no limit */
        like.memory_max_bytes -= like.memory_max_bytes > c->bytes ? c->bytes : c->bytes - 1;
    rc = create(&c->twins.context, o->draft_model, &like, c->pool, err);
    return rc < 0 ? fail_while(err, rc, "draft model") : 0;
}

/* What both contexts leave is for grammars; not 0, which is no limit. */
static void leave_to_grammars(llmos_context *c, uint64_t memory_max_bytes)
{
    uint64_t used = c->bytes + (c->twins.context ? c->twins.context->bytes : 0);

    if (memory_max_bytes)
        c->grammars.bytes_max = memory_max_bytes > used ? (size_t)(memory_max_bytes - used) : 1;
}

int llmos_context_create(llmos_context **context, const llmos_model *model,
                         const struct llmos_context_options *options, struct llmos_error *err)
{
    const struct llmos_context_options none = LLMOS_CONTEXT_OPTIONS_INIT;
    const struct llmos_context_options *o = options ? options : &none;
    llmos_context *c;
    int rc = create(&c, model, o, NULL, err);

    if (rc < 0)
        return rc;
    if (c->draft_model)
        rc = create_twins(c, o, err);
    if (rc < 0) {
        llmos_context_destroy(c);
        return rc;
    }
    leave_to_grammars(c, o->memory_max_bytes);
    *context = c;
    return 0;
}

void llmos_context_destroy(llmos_context *c)
{
    if (!c)
        return;
    assert(c->sessions_alive == 0);
    llmos_context_destroy(c->twins.context);
    grammars_fini(&c->grammars);
    if (!c->shares_pool)
        pool_destroy(c->pool);
    mem_release(c->block, (size_t)c->bytes);
    mem_free(c);
}

static uint32_t page_tokens(uint64_t pages)
{
    return smaller(pages * KV_PAGE_TOKENS, UINT32_MAX);
}

void llmos_context_info(const llmos_context *c, struct llmos_context_info *info)
{
    *info = (struct llmos_context_info){
        .context_tokens = c->context_tokens,
        .threads = c->threads,
        .kv_bytes = c->kv_bytes,
        .scratch_bytes = c->bytes - c->kv_bytes,
        .grammar_bytes = grammars_bytes(&c->grammars),
        .kv_tokens_total = page_tokens(c->kv.page_count),
        .kv_tokens_free = page_tokens((uint64_t)c->kv.free_count + c->prefix.idle_count),
        .kv_tokens_cached = page_tokens(c->prefix.idle_count),
        .backend = c->forward.prompts->name,
        .kv_type = dtype_info(c->kv_type)->name,
    };
    if (c->twins.context) {
        struct llmos_context_info twins;

        llmos_context_info(c->twins.context, &twins);
        info->kv_bytes += twins.kv_bytes;
        info->scratch_bytes += twins.scratch_bytes;
    }
}

/* --- sessions --- */

/* At first a guess is believed the more, the longer the match that it follows. */
static void begin_drafts(struct llmos_session *s)
{
    if (s->context->draft_lookup)
        lookup_reset(&s->lookup);
    draft_odds_init(&s->odds[DRAFT_SHORT_MATCH], 0.4);
    draft_odds_init(&s->odds[DRAFT_MATCH], 0.6);
    draft_odds_init(&s->odds[DRAFT_LONG_MATCH], 0.8);
    draft_odds_init(&s->odds[DRAFT_MODEL], 0.7);
}

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
    begin_drafts(s);
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

/* Under which number its pages are found: those of long sequences are rotated by other factors. */
static uint64_t tree_domain(const struct llmos_session *s)
{
    return s->is_long ? s->domain | DOMAIN_LONG : s->domain;
}

static uint32_t last_tree_page(const struct llmos_session *s)
{
    return s->tree_pages ? s->pages[s->tree_pages - 1] : KV_NO_PAGE;
}

bool context_has_kinds(const llmos_context *c)
{
    return c->forward.prompts->generates && !c->shares_pool;
}

/* Under which tokens a page is found: those that were generated are others than the same ones of a
 * prompt where other kernels compute them. */
struct page_key {
    int32_t tokens[KV_PAGE_TOKENS];
};

static struct page_key page_key(const struct llmos_session *s, uint32_t from, uint32_t count)
{
    bool kinds = context_has_kinds(s->context);
    struct page_key key;

    for (uint32_t i = 0; i < count; i++) {
        int32_t token = s->tokens[from + i];

        key.tokens[i] = kinds && s->generated[from + i] ? ~token : token;
    }
    return key;
}

/* The last pages first: the tree wants it so. */
static void leave_pages(struct llmos_session *s)
{
    struct prefix *tree = &s->context->prefix;
    uint32_t last = s->computed % KV_PAGE_TOKENS;

    while (s->page_count > s->tree_pages) {
        uint32_t at = --s->page_count;

        if (s->domain && last && at == s->computed / KV_PAGE_TOKENS)
            prefix_leave(tree, tree_domain(s), last_tree_page(s), s->pages[at],
                         page_key(s, s->computed - last, last).tokens, last);
        else
            kv_give(&s->context->kv, s->pages[at]);
    }
    while (s->page_count > 0)
        prefix_release(tree, s->pages[--s->page_count]);
    s->tree_pages = 0;
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
    leave_pages(s);
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

/* Pages behind `length` positions go back.  One of the tree that holds more is given up as well: it
 * cannot be written, and the next step finds a copy of its beginning (copy_beginning). */
static void cut_pages(struct llmos_session *s, uint32_t length)
{
    llmos_context *c = s->context;
    uint32_t whole = length / KV_PAGE_TOKENS, kept = (uint32_t)kv_pages_for(length);

    kept = s->tree_pages > whole ? whole : kept;
    while (s->page_count > kept && s->page_count > s->tree_pages)
        kv_give(&c->kv, s->pages[--s->page_count]);
    while (s->page_count > kept)
        prefix_release(&c->prefix, s->pages[--s->page_count]);
    if (s->tree_pages > kept) {
        s->tree_pages = kept;
        s->computed = kept * KV_PAGE_TOKENS;
    }
}

void llmos_session_truncate(llmos_session *s, size_t length)
{
    if (length >= s->count)
        return;
    cut_pages(s, (uint32_t)length);
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

/* --- a step --- */

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
    leave_pages(s);
    s->computed = s->cached = 0;
    s->is_long = is_long;
}

/* How many of the tokens to come may be taken from the tree: all but the last, whose logits nobody
 * has kept. */
static uint32_t wanted_from_tree(const struct llmos_session *s)
{
    uint32_t pending = s->count - s->computed;

    if (s->domain == 0 || s->computed % KV_PAGE_TOKENS || pending < 2)
        return 0;
    return smaller(pending - 1, KV_PAGE_TOKENS);
}

/* Goes on behind the pages that others have computed of the same tokens. */
static void adopt_pages(llmos_context *c, struct llmos_session *s)
{
    while (wanted_from_tree(s) == KV_PAGE_TOKENS) {
        uint32_t shared, page = prefix_find(&c->prefix, tree_domain(s), last_tree_page(s),
                                            page_key(s, s->computed, KV_PAGE_TOKENS).tokens,
                                            KV_PAGE_TOKENS, &shared);

        if (shared < KV_PAGE_TOKENS)
            break;
        prefix_hold(&c->prefix, page);
        if (s->page_count > s->tree_pages) /* taken for a step that failed */
            kv_give(&c->kv, s->pages[s->tree_pages]);
        else
            s->page_count++;
        s->pages[s->tree_pages++] = page;
        s->computed += KV_PAGE_TOKENS;
        s->cached += KV_PAGE_TOKENS;
    }
}

/* Copies the beginning of a page that goes on differently.  It always pays: a position of a page is
 * copied in about a hundredth of the time in which a small model computes it. */
static void copy_beginning(llmos_context *c, struct llmos_session *s)
{
    uint32_t wanted = wanted_from_tree(s), shared, from, page = KV_NO_PAGE;

    if (wanted == 0)
        return;
    from = prefix_find(&c->prefix, tree_domain(s), last_tree_page(s),
                       page_key(s, s->computed, wanted).tokens, wanted, &shared);
    if (from == KV_NO_PAGE)
        return;
    prefix_hold(&c->prefix, from); /* else it might be the page that is given up for the copy */
    if (s->page_count > s->tree_pages)
        page = s->pages[s->tree_pages];
    else if ((page = prefix_take(&c->prefix)) != KV_NO_PAGE)
        s->pages[s->page_count++] = page;
    if (page != KV_NO_PAGE) {
        kv_copy(&c->kv, page, from, shared);
        s->computed += shared;
        s->cached += shared;
    }
    prefix_release(&c->prefix, from);
}

/* Full pages go into the tree, for others. */
static void share_pages(llmos_context *c, struct llmos_session *s)
{
    while (s->domain && (s->tree_pages + 1) * (uint64_t)KV_PAGE_TOKENS <= s->computed) {
        uint32_t at = s->tree_pages;

        s->pages[at] = prefix_put(&c->prefix, tree_domain(s), last_tree_page(s), s->pages[at],
                                  page_key(s, at * KV_PAGE_TOKENS, KV_PAGE_TOKENS).tokens);
        s->tree_pages++;
    }
}

/* Takes pages for up to `wanted` more positions; returns for how many there is room. */
static uint32_t reserve(llmos_context *c, struct llmos_session *s, uint32_t wanted)
{
    uint64_t room;

    while ((room = (uint64_t)s->page_count * KV_PAGE_TOKENS - s->computed) < wanted) {
        uint32_t page = prefix_take(&c->prefix);

        if (page == KV_NO_PAGE)
            break;
        s->pages[s->page_count++] = page;
    }
    return smaller(room, wanted);
}

static void take_share(llmos_context *c, struct turn *t, uint32_t wanted)
{
    t->share = reserve(c, t->session, wanted);
    t->out.starved = t->share == 0;
    t->out.computed = t->share;
}

/* Does somebody compute, in this step, the page with which s would go on?  Then s waits for it: to
 * compute it twice would take as long and help nobody. */
static bool is_underway(const llmos_context *c, const struct llmos_session *s)
{
    size_t end = (size_t)(s->tree_pages + 1) * KV_PAGE_TOKENS;
    struct page_key key;

    if (wanted_from_tree(s) < KV_PAGE_TOKENS)
        return false;
    key = page_key(s, s->computed, KV_PAGE_TOKENS);
    for (size_t i = 0; i < c->turn_count; i++) {
        const struct llmos_session *o = c->turns[i].session;

        if (c->turns[i].share > 0 && tree_domain(o) == tree_domain(s) &&
            o->tree_pages == s->tree_pages && o->count >= end &&
            last_tree_page(o) == last_tree_page(s) &&
            memcmp(page_key(o, s->computed, KV_PAGE_TOKENS).tokens, key.tokens,
                   sizeof(key.tokens)) == 0)
            return true;
    }
    return false;
}

static bool decodes(const struct llmos_session *s)
{
    return s->count - s->computed == 1;
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

static void take_guesses(llmos_context *c, struct turn *t, enum draft_source source,
                         uint32_t guesses, struct plan *p)
{
    t->guesses = guesses;
    t->odds = &t->session->odds[source];
    t->share = reserve(c, t->session, 1 + guesses);
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
    take_guesses(c, t, source_of(shared), guesses, p);
}

/* How row k of a turn is computed, which is a guess where there is no token yet. */
static enum forward_kind kind_of(const llmos_context *c, const struct turn *t, uint32_t k)
{
    const struct llmos_session *s = t->session;
    bool is_prompt = s->computed + k < s->count && !s->generated[s->computed + k];

    if (!c->forward.prompts->generates)
        return FORWARD_PROMPT;
    if (c->shares_pool) /* guesses may come from either: from what is faster for so many */
        is_prompt = t->share > DRAFT_ROWS_MAX;
    return is_prompt ? FORWARD_PROMPT : FORWARD_GENERATED;
}

static bool may_guess(const llmos_context *c, const struct turn *t)
{
    const struct llmos_session *s = t->session;

    return t->share == 1 && kind_of(c, t, 0) == kind_of(c, t, 1) && s->count < c->context_tokens &&
           !s->sampling.want_logprob && s->sampling.logprobs == 0;
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
            take_guesses(c, t, DRAFT_MODEL, smaller(t->job->made, draft_room(c, t->session)), p);
    }
}

/* All of the rows are of sessions that decode, and `left` more fit into the batch. */
static void guess(llmos_context *c, uint32_t rows, uint32_t left)
{
    struct plan p = {rows, left, rows};

    for (size_t i = 0; i < c->turn_count && c->draft_lookup; i++)
        if (may_guess(c, &c->turns[i]))
            look_up(c, &c->turns[i], &p);
    if (c->twins.context)
        ask_twins(c, &p);
}

static uint32_t share_with_prompts(llmos_context *c, uint32_t left)
{
    uint32_t shared = 0;

    for (size_t i = 0; i < c->turn_count && shared < left; i++) {
        struct llmos_session *s = c->turns[i].session;

        if (s->count - s->computed > 1 && !is_underway(c, s)) {
            copy_beginning(c, s);
            take_share(c, &c->turns[i], smaller(s->count - s->computed, left - shared));
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
        adopt_pages(c, c->turns[i].session);
    }
    for (size_t i = 0; i < c->turn_count; i++)
        if (decodes(c->turns[i].session)) {
            take_share(c, &c->turns[i], 1);
            decoding += c->turns[i].share;
        }
    left = c->batch_tokens > decoding ? c->batch_tokens - decoding : 0;
    c->has_prompt = share_with_prompts(c, left ? left : 1) > 0;
    if (c->draft_max && !c->has_prompt)
        guess(c, decoding, left);
}

/* The next rows of a turn, as many as there are of a kind.  Those whose logits it wants are all in
 * one run. */
static size_t fill_turn(llmos_context *c, struct turn *t, enum forward_kind kind, size_t n,
                        size_t *logits)
{
    const struct llmos_session *s = t->session;

    for (; t->done < t->share && kind_of(c, t, t->done) == kind; t->done++) {
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
    share_pages(c, s);
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

/* --- see infer/session.h --- */

void context_limits(llmos_context *c, size_t memory_max_bytes, struct limits *limits)
{
    limits_measure(limits, c->pool, memory_max_bytes);
}

const int32_t *session_tokens(const llmos_session *s)
{
    return s->tokens;
}

void context_guess_always(llmos_context *c)
{
    c->guesses_always = true;
}

void session_replay(llmos_session *s, const int32_t *tokens, uint32_t count)
{
    s->replay = tokens;
    s->replay_from = s->count;
    s->replay_count = count;
}

bool context_is_sound(const llmos_context *c, struct llmos_error *why)
{
    for (uint32_t page = 0; page < c->kv.page_count; page++) {
        const struct prefix_node *n = &c->prefix.nodes[page];
        uint32_t is_free = 0, own = 0, held = 0, is_idle = 0;

        for (uint32_t i = 0; i < c->kv.free_count; i++)
            is_free += c->kv.free_list[i] == page;
        for (uint32_t i = 0; i < c->sessions_max; i++) {
            const struct llmos_session *s = &c->sessions[i];

            for (uint32_t k = 0; s->context && k < s->page_count; k++) {
                own += s->pages[k] == page && k >= s->tree_pages;
                held += s->pages[k] == page && k < s->tree_pages;
            }
        }
        for (uint32_t at = c->prefix.oldest; at != KV_NO_PAGE; at = c->prefix.nodes[at].younger)
            is_idle += at == page;
        if (is_free + own + (n->count > 0) != 1 || n->refs != held ||
            is_idle != (n->count > 0 && held == 0))
            return fail(why, LLMOS_EINVAL,
                        "page %u: free %u times, private %u, in the tree %d, held %u of %u, idle "
                        "%u",
                        page, is_free, own, n->count > 0, held, n->refs, is_idle),
                   false;
    }
    return true;
}
