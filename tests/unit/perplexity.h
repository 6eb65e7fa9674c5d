/* SPDX-License-Identifier: Apache-2.0 */
/* perplexity.h - how surprised a model is by a text, by the convention of llama.cpp's tool: the
 * text is tokenized whole, with a BOS in front, and cut into chunks; each chunk begins with BOS in
 * the place of its first token, and the second half of each is predicted.
 *
 * Stands on forward.h, not on sessions: a session gives the logits of one position a step, and here
 * those of half a chunk are wanted at once. */
#ifndef TESTS_PERPLEXITY_H
#define TESTS_PERPLEXITY_H

#include "base/mem.h"
#include "infer/forward.h"
#include "model/loaded.h"

#include <math.h>
#include <stdlib.h>

static double perplexity_surprise(const float *logits, size_t n_vocab, int32_t token)
{
    double most = -HUGE_VAL, sum = 0;

    for (size_t i = 0; i < n_vocab; i++)
        most = fmax(most, (double)logits[i]);
    for (size_t i = 0; i < n_vocab; i++)
        sum += exp((double)logits[i] - most);
    return log(sum) + most - (double)logits[token];
}

struct perplexity {
    struct forward forward;
    struct kv kv;
    struct pool *pool;
    void *block;
    uint32_t *pages;
    struct forward_row *rows;
    size_t chunk;
    enum dtype kv_type;
};

static void perplexity_cut(struct perplexity *p, const llmos_model *m, const struct backend *b,
                           unsigned threads, struct carve *c)
{
    struct forward_limits limits = {threads, p->chunk, p->chunk, p->chunk};
    uint32_t pages = (uint32_t)kv_pages_for(p->chunk);

    kv_carve(&p->kv, &m->hparams, p->kv_type, pages, c);
    forward_carve(&p->forward, &m->hparams, &m->weights, arch_by_name(m->hparams.architecture), b,
                  &limits, c);
    p->pages = carve_array(c, uint32_t, pages);
    p->rows = carve_array(c, struct forward_row, p->chunk);
}

/* Positions whose next token is predicted: the first of them, and behind the last of them. */
static size_t perplexity_first(const struct perplexity *p)
{
    return p->chunk / 2;
}

static size_t perplexity_end(const struct perplexity *p)
{
    return p->chunk - 1; /* the last token is only predicted */
}

static void perplexity_forward(struct perplexity *p, const llmos_model *m, const int32_t *tokens)
{
    size_t first = perplexity_first(p), n = perplexity_end(p);

    for (size_t t = 0; t < n; t++)
        p->rows[t] = (struct forward_row){.token = t ? tokens[t] : llmos_token_bos(m->tokenizer),
                                          .position = (uint32_t)t,
                                          .pages = p->pages,
                                          .wants_logits = t >= first};
    forward_run(&p->forward, p->rows, n);
}

/* The summed surprise of the second half of one chunk that went forward. */
static double perplexity_chunk(const struct perplexity *p, size_t n_vocab, const int32_t *tokens)
{
    size_t first = perplexity_first(p);
    double sum = 0;

    for (size_t t = first; t < perplexity_end(p); t++)
        sum += perplexity_surprise(forward_logits(&p->forward, t - first), n_vocab, tokens[t + 1]);
    return sum;
}

/* p's chunk and type of cache are set.  False: there is no memory. */
static bool perplexity_init(struct perplexity *p, const llmos_model *m, const struct backend *b,
                            unsigned threads)
{
    struct carve c = {0};

    perplexity_cut(p, m, b, threads, &c);
    c = (struct carve){.at = p->block = mem_aligned(c.used)};
    if (!p->block || pool_create(&p->pool, threads, NULL) < 0)
        return false;
    perplexity_cut(p, m, b, threads, &c);
    kv_reset(&p->kv);
    forward_init(&p->forward, p->pool, &p->kv);
    for (uint32_t i = 0; i < kv_pages_for(p->chunk); i++)
        p->pages[i] = kv_take(&p->kv);
    return true;
}

static void perplexity_fini(struct perplexity *p)
{
    pool_destroy(p->pool);
    mem_free(p->block);
}

/* At most chunks_max chunks (0: all).  NAN if there is no memory or no whole chunk. */
static double perplexity_of(const llmos_model *m, const struct backend *b, const int32_t *tokens,
                            size_t count, size_t chunk, size_t chunks_max, unsigned threads)
{
    struct perplexity p = {.chunk = chunk, .kv_type = DTYPE_F16};
    size_t chunks = count / chunk;
    double sum = 0;

    chunks = chunks_max && chunks > chunks_max ? chunks_max : chunks;
    if (!perplexity_init(&p, m, b, threads))
        sum = (double)NAN;
    for (size_t i = 0; i < chunks && !isnan(sum); i++) {
        perplexity_forward(&p, m, tokens + i * chunk);
        sum += perplexity_chunk(&p, m->hparams.n_vocab, tokens + i * chunk);
    }
    sum /= (double)(chunks * (perplexity_end(&p) - perplexity_first(&p)));
    perplexity_fini(&p);
    return exp(sum);
}

/* The Kullback-Leibler divergence of two distributions: what predicting by b costs, in nats, where
 * a is the truth (Kullback & Leibler 1951, eq. 2.2). */
static double perplexity_divergence(const float *a, const float *b, size_t n_vocab)
{
    double shift = perplexity_surprise(b, n_vocab, 0) - perplexity_surprise(a, n_vocab, 0);
    double surprise = perplexity_surprise(a, n_vocab, 0) + (double)a[0], sum = 0;

    /* log(a_i / b_i) is the difference of logits and what normalises both. */
    shift += (double)b[0] - (double)a[0];
    for (size_t i = 0; i < n_vocab; i++)
        sum += exp((double)a[i] - surprise) * ((double)a[i] - (double)b[i] + shift);
    return sum;
}

struct perplexity_change {
    double divergence, largest; /* its mean and maximum over positions */
    double before, after;       /* perplexities with a cache of f16, and of `type` */
};

static struct perplexity_change perplexity_of_cache(const llmos_model *m, enum dtype type,
                                                    const int32_t *tokens, size_t count,
                                                    size_t chunk, unsigned threads)
{
    struct perplexity p[2] = {{.chunk = chunk, .kv_type = DTYPE_F16},
                              {.chunk = chunk, .kv_type = type}};
    struct perplexity_change change = {0};
    size_t n_vocab = m->hparams.n_vocab, scored = perplexity_end(p) - perplexity_first(p);
    double positions = (double)(count / chunk * scored);
    bool ready = perplexity_init(&p[0], m, backend_best(), threads) &&
                 perplexity_init(&p[1], m, backend_best(), threads);

    for (size_t i = 0; ready && i < count / chunk; i++, tokens += chunk) {
        perplexity_forward(&p[0], m, tokens);
        perplexity_forward(&p[1], m, tokens);
        change.before += perplexity_chunk(&p[0], n_vocab, tokens) / positions;
        change.after += perplexity_chunk(&p[1], n_vocab, tokens) / positions;
        for (size_t t = 0; t < scored; t++) {
            double d = perplexity_divergence(forward_logits(&p[0].forward, t),
                                             forward_logits(&p[1].forward, t), n_vocab);

            change.divergence += d / positions;
            change.largest = fmax(change.largest, d);
        }
    }
    change.before = exp(change.before);
    change.after = ready ? exp(change.after) : (double)NAN;
    perplexity_fini(&p[0]);
    perplexity_fini(&p[1]);
    return change;
}

#endif
