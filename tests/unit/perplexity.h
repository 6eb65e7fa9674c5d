/* SPDX-License-Identifier: Apache-2.0 */
/* perplexity.h - how surprised a model is by a text (infer/evaluate.h), summed up for tests. */
#ifndef TESTS_PERPLEXITY_H
#define TESTS_PERPLEXITY_H

#include "infer/evaluate.h"
#include "model/loaded.h"

#include <math.h>

static struct evaluator *perplexity_reader(const llmos_model *m, const struct backend *b,
                                           enum dtype kv_type, size_t chunk, unsigned threads)
{
    const struct evaluate_options o = {
        .threads = threads, .chunk_tokens = chunk, .kv_type = kv_type, .backend = b};
    struct evaluator *e = NULL;

    return evaluator_create(&e, m, &o, NULL) < 0 ? NULL : e;
}

/* At most chunks_max chunks (0: all).  NAN if there is no memory or no whole chunk. */
static double perplexity_of(const llmos_model *m, const struct backend *b, const int32_t *tokens,
                            size_t count, size_t chunk, size_t chunks_max, unsigned threads)
{
    struct evaluator *e = perplexity_reader(m, b, DTYPE_F16, chunk, threads);
    size_t chunks = count / chunk, scored = 0, n;
    double sum = 0;

    chunks = chunks_max && chunks > chunks_max ? chunks_max : chunks;
    for (size_t k = 0; e && k < chunks; k++) {
        evaluator_begin(e, tokens + k * chunk);
        while ((n = evaluator_next(e)) > 0) {
            for (size_t i = 0; i < n; i++)
                sum += evaluate_surprise(evaluator_logits(e, i), m->hparams.n_vocab,
                                         evaluator_token(e, i));
            scored += n;
        }
    }
    evaluator_destroy(e);
    return exp(sum / (double)scored);
}

struct perplexity_change {
    double divergence, largest; /* its mean and maximum over positions */
    double before, after;       /* perplexities with a cache of f16, and of `type` */
};

static void perplexity_compare(const struct evaluator *a, const struct evaluator *b, size_t i,
                               size_t n_vocab, struct perplexity_change *sum)
{
    double d = evaluate_divergence(evaluator_logits(a, i), evaluator_logits(b, i), n_vocab);

    sum->before += evaluate_surprise(evaluator_logits(a, i), n_vocab, evaluator_token(a, i));
    sum->after += evaluate_surprise(evaluator_logits(b, i), n_vocab, evaluator_token(b, i));
    sum->divergence += d;
    sum->largest = fmax(sum->largest, d);
}

static struct perplexity_change perplexity_of_cache(const llmos_model *m, enum dtype type,
                                                    const int32_t *tokens, size_t count,
                                                    size_t chunk, unsigned threads)
{
    struct evaluator *a = perplexity_reader(m, NULL, DTYPE_F16, chunk, threads);
    struct evaluator *b = perplexity_reader(m, NULL, type, chunk, threads);
    struct perplexity_change sum = {0};
    size_t scored = 0, n;

    for (size_t k = 0; a && b && k < count / chunk; k++, tokens += chunk) {
        evaluator_begin(a, tokens);
        evaluator_begin(b, tokens);
        while ((n = evaluator_next(a)) > 0) {
            evaluator_next(b);
            for (size_t i = 0; i < n; i++)
                perplexity_compare(a, b, i, m->hparams.n_vocab, &sum);
            scored += n;
        }
    }
    evaluator_destroy(a);
    evaluator_destroy(b);
    sum.divergence /= (double)scored;
    sum.before = exp(sum.before / (double)scored);
    sum.after = exp(sum.after / (double)scored);
    return sum;
}

#endif
