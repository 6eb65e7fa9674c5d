/* SPDX-License-Identifier: Apache-2.0 */
/* context.c - contexts: see llmos/session.h
 *
 * A context is one block of memory, cut at creation into the KV pool, the scratch of the forward
 * pass and of the sampler, and sessions_max slots.  Afterwards nothing is allocated. */
#include "infer/context.h"
#include "base/mem.h"

#include <assert.h>
#include <stdio.h>

#define CONTEXT_DEFAULT 4096
#define BATCH_DEFAULT   512
#define THREADS_MAX     1024
#define SESSIONS_MAX    4096

/* --- sizes --- */

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

/* --- see infer/session.h --- */

bool context_has_kinds(const llmos_context *c)
{
    return c->forward.prompts->generates && !c->shares_pool;
}

struct pool *context_pool(const llmos_context *c)
{
    return c->pool;
}

void context_guess_always(llmos_context *c)
{
    c->guesses_always = true;
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
