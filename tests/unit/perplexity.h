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
};

static void perplexity_cut(struct perplexity *p, const llmos_model *m, const struct backend *b,
                           unsigned threads, struct carve *c)
{
    struct forward_limits limits = {threads, p->chunk, p->chunk, p->chunk};
    uint32_t pages = (uint32_t)kv_pages_for(p->chunk);

    kv_carve(&p->kv, &m->hparams, pages, c);
    forward_carve(&p->forward, &m->hparams, &m->weights, arch_by_name(m->hparams.architecture), b,
                  &limits, c);
    p->pages = carve_array(c, uint32_t, pages);
    p->rows = carve_array(c, struct forward_row, p->chunk);
}

/* The summed surprise of the second half of one chunk. */
static double perplexity_chunk(struct perplexity *p, const llmos_model *m, const int32_t *tokens)
{
    size_t first = p->chunk / 2, n = p->chunk - 1; /* the last token is only predicted */
    double sum = 0;

    for (size_t t = 0; t < n; t++)
        p->rows[t] = (struct forward_row){.token = t ? tokens[t] : llmos_token_bos(m->tokenizer),
                                          .position = (uint32_t)t,
                                          .pages = p->pages,
                                          .wants_logits = t >= first};
    forward_run(&p->forward, p->rows, n);
    for (size_t t = first; t < n; t++)
        sum += perplexity_surprise(forward_logits(&p->forward, t - first), m->hparams.n_vocab,
                                   tokens[t + 1]);
    return sum;
}

/* At most chunks_max chunks (0: all).  NAN if there is no memory or no whole chunk. */
static double perplexity_of(const llmos_model *m, const struct backend *b, const int32_t *tokens,
                            size_t count, size_t chunk, size_t chunks_max, unsigned threads)
{
    struct perplexity p = {.chunk = chunk};
    struct carve c = {0};
    size_t chunks = count / chunk, scored = chunk - 1 - chunk / 2;
    double sum = 0;

    chunks = chunks_max && chunks > chunks_max ? chunks_max : chunks;
    perplexity_cut(&p, m, b, threads, &c);
    c = (struct carve){.at = p.block = mem_aligned(c.used)};
    if (!p.block || pool_create(&p.pool, threads, NULL) < 0) {
        mem_free(p.block);
        return (double)NAN;
    }
    perplexity_cut(&p, m, b, threads, &c);
    kv_reset(&p.kv);
    forward_init(&p.forward, p.pool, &p.kv);
    for (uint32_t i = 0; i < kv_pages_for(chunk); i++)
        p.pages[i] = kv_take(&p.kv);
    for (size_t i = 0; i < chunks; i++)
        sum += perplexity_chunk(&p, m, tokens + i * chunk);
    pool_destroy(p.pool);
    mem_free(p.block);
    return exp(sum / (double)(chunks * scored));
}

#endif
