/* SPDX-License-Identifier: Apache-2.0 */
/* evaluate.c - see evaluate.h */
#include "infer/evaluate.h"

#include "base/mem.h"
#include "infer/forward.h"
#include "model/loaded.h"
#include "model/vocab.h"

#include <math.h>

#define CHUNK_MAX (1 << 24) /* longer than any model reads; memory bounds it long before */

struct evaluator {
    const llmos_model *model;
    struct forward forward;
    struct kv kv;
    struct pool *pool;
    void *block;
    uint32_t *pages;
    struct forward_row *rows;
    size_t chunk_tokens;
    enum dtype kv_type;
    const int32_t *tokens; /* of the chunk */
    size_t done;           /* positions of it that were computed */
    size_t first, scored;  /* of the piece: its first scored position, and how many */
};

/* The first half is read in one piece; then come those that are scored. */
static size_t rows_max(const struct evaluator *e)
{
    size_t half = e->chunk_tokens / 2;

    return half > EVALUATE_PIECE ? half : EVALUATE_PIECE;
}

static void cut(struct evaluator *e, const struct evaluate_options *o, struct carve *c)
{
    const struct hparams *h = &e->model->hparams;
    struct forward_limits limits = {o->threads, rows_max(e), EVALUATE_PIECE, e->chunk_tokens};
    uint32_t pages = (uint32_t)kv_pages_for(e->chunk_tokens);

    kv_carve(&e->kv, h, e->kv_type, pages, c);
    forward_carve(&e->forward, h, &e->model->weights, arch_by_name(h->architecture),
                  o->backend ? o->backend : forward_backend(h, &e->model->weights), &limits, c);
    e->pages = carve_array(c, uint32_t, pages);
    e->rows = carve_array(c, struct forward_row, rows_max(e));
}

static int allocate(struct evaluator *e, const struct evaluate_options *o, struct llmos_error *err)
{
    struct carve c = {0};

    cut(e, o, &c);
    if (c.overflow || (o->memory_max_bytes && c.used > o->memory_max_bytes))
        return fail(err, LLMOS_ENOMEM,
                    "chunks of %zu tokens need %zu MiB, %llu MiB are free; try a smaller --context",
                    o->chunk_tokens, c.used >> 20, (unsigned long long)(o->memory_max_bytes >> 20));
    c = (struct carve){.at = e->block = mem_aligned(c.used)};
    if (!e->block)
        return fail(err, LLMOS_ENOMEM, "no memory for chunks of %zu tokens", o->chunk_tokens);
    cut(e, o, &c);
    return pool_create(&e->pool, o->threads, err);
}

int evaluator_create(struct evaluator **out, const llmos_model *m, const struct evaluate_options *o,
                     struct llmos_error *err)
{
    struct evaluator *e;
    int rc;

    if (m->hparams.is_encoder)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "a model of architecture '%s' reads whole texts and expects no next token",
                    m->hparams.architecture);
    if (o->chunk_tokens < 4 || o->chunk_tokens > CHUNK_MAX)
        return fail(err, LLMOS_EINVAL, "chunks of %zu tokens, from 4 to %d are possible",
                    o->chunk_tokens, CHUNK_MAX);
    e = mem_zalloc(1, sizeof(*e));
    if (!e)
        return fail(err, LLMOS_ENOMEM, "no memory for an evaluation");
    e->model = m;
    e->chunk_tokens = o->chunk_tokens;
    e->kv_type = o->kv_type;
    rc = allocate(e, o, err);
    if (rc < 0) {
        evaluator_destroy(e);
        return rc;
    }
    kv_reset(&e->kv);
    forward_init(&e->forward, e->pool, &e->kv);
    for (uint32_t i = 0; i < kv_pages_for(e->chunk_tokens); i++)
        e->pages[i] = kv_take(&e->kv);
    *out = e;
    return 0;
}

void evaluator_destroy(struct evaluator *e)
{
    if (!e)
        return;
    pool_destroy(e->pool);
    mem_free(e->block);
    mem_free(e);
}

void evaluator_begin(struct evaluator *e, const int32_t *tokens)
{
    e->tokens = tokens;
    e->done = 0;
}

static int32_t token_at(const struct evaluator *e, size_t position)
{
    const struct llmos_tokenizer *t = e->model->tokenizer;

    if (position == 0 && t->add_bos && t->bos >= 0)
        return t->bos;
    return e->tokens[position];
}

static void run(struct evaluator *e, size_t n, bool is_scored)
{
    for (size_t i = 0; i < n; i++)
        e->rows[i] =
            (struct forward_row){.token = token_at(e, e->done + i),
                                 .position = (uint32_t)(e->done + i),
                                 .pages = e->pages,
                                 .is_long = hparams_is_long(&e->model->hparams, e->chunk_tokens),
                                 .wants_logits = is_scored};
    forward_run(&e->forward, e->rows, n, FORWARD_PROMPT);
    e->done += n;
}

void evaluator_watch(struct evaluator *e, const int32_t *tokens, evaluate_observer observer,
                     void *arg)
{
    evaluator_begin(e, tokens);
    e->forward.observer = observer;
    e->forward.observer_arg = arg;
    while (e->done < e->chunk_tokens) {
        size_t left = e->chunk_tokens - e->done;

        /* Logits of all: rows without go no further than the last layer's keys and values. */
        run(e, left < EVALUATE_PIECE ? left : EVALUATE_PIECE, true);
    }
    e->forward.observer = NULL;
}

size_t evaluator_next(struct evaluator *e)
{
    size_t end = e->chunk_tokens - 1, left; /* the last token is only predicted */

    if (e->done == 0)
        run(e, e->chunk_tokens / 2, false);
    left = end - e->done;
    e->first = e->done;
    e->scored = left < EVALUATE_PIECE ? left : EVALUATE_PIECE;
    if (e->scored > 0)
        run(e, e->scored, true);
    return e->scored;
}

const float *evaluator_logits(const struct evaluator *e, size_t i)
{
    return forward_logits(&e->forward, i);
}

int32_t evaluator_token(const struct evaluator *e, size_t i)
{
    return e->tokens[e->first + i + 1];
}

double evaluate_surprise(const float *logits, size_t n_vocab, int32_t token)
{
    double most = -HUGE_VAL, sum = 0;

    for (size_t i = 0; i < n_vocab; i++)
        most = (double)logits[i] > most ? (double)logits[i] : most;
    for (size_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - most);
    return log(sum) + most - (double)logits[token];
}

double evaluate_divergence(const float *a, const float *b, size_t n_vocab)
{
    /* log(a_i / b_i) is the difference of logits and what normalises both. */
    double of_a = evaluate_surprise(a, n_vocab, 0) + (double)a[0];
    double of_b = evaluate_surprise(b, n_vocab, 0) + (double)b[0], sum = 0;

    for (size_t i = 0; i < n_vocab; i++)
        sum += exp((double)a[i] - of_a) * ((double)a[i] - of_a - (double)b[i] + of_b);
    return sum;
}
