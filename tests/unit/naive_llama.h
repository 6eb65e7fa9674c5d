/* SPDX-License-Identifier: Apache-2.0 */
/* naive_llama.h - the llama forward pass in double precision, as one would write it on a
 * blackboard: the judge of the session's numbers.
 *
 * No cache, no batches, no blocks: every position is computed from all before it.  The one thing
 * taken over from the real one is that keys and values are rounded to f16, since the cache is. */
#ifndef TESTS_NAIVE_LLAMA_H
#define TESTS_NAIVE_LLAMA_H

#include "model/loaded.h"
#include "tensor/backend.h"

#include <math.h>
#include <stdlib.h>

static double *naive_weights(const struct tensor *w)
{
    size_t inner = w->shape[0], rows = w->shape[1];
    double *out = calloc(inner * rows, sizeof(*out));
    float *row = calloc(inner, sizeof(*row));

    for (size_t r = 0; r < rows; r++) {
        dtype_info(w->type)->to_f32(tensor_row(w, r), row, inner);
        for (size_t i = 0; i < inner; i++)
            out[r * inner + i] = (double)row[i];
    }
    free(row);
    return out;
}

static void naive_linear(const struct tensor *tensor, const double *x, double *out)
{
    size_t inner = tensor->shape[0], rows = tensor->shape[1];
    double *w = naive_weights(tensor), *rounded = calloc(inner, sizeof(*rounded));

    /* Weights of bf16 are multiplied by activations of bf16, unless both are made fixed (fixed.h),
     * as of f16. */
    bool is_rounded =
        tensor->type == DTYPE_BF16 && backend_best()->prepared_form(DTYPE_BF16) != FORM_FIXED;

    for (size_t i = 0; i < inner; i++)
        rounded[i] = is_rounded ? (double)bf16_to_f32(f32_to_bf16((float)x[i])) : x[i];
    for (size_t r = 0; r < rows; r++) {
        out[r] = 0;
        for (size_t i = 0; i < inner; i++)
            out[r] += w[r * inner + i] * rounded[i];
    }
    free(rounded);
    free(w);
}

static void naive_norm(const struct tensor *tensor, const double *x, double eps, double *out)
{
    size_t n = tensor->shape[0];
    double *w = naive_weights(tensor), squares = 0;

    for (size_t i = 0; i < n; i++)
        squares += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] / sqrt(squares / (double)n + eps) * w[i];
    free(w);
}

static double naive_yarn_kept(const struct hparams *h, double pair)
{
    double d = h->rope_dims, base = (double)h->rope_base, pi = acos(-1);
    double low =
        floor(d * log(h->rope_ctx_orig / ((double)h->yarn_beta_fast * 2 * pi)) / (2 * log(base)));
    double high =
        ceil(d * log(h->rope_ctx_orig / ((double)h->yarn_beta_slow * 2 * pi)) / (2 * log(base)));

    low = low < 0 ? 0 : low;
    high = high > d - 1 ? d - 1 : high;
    if (pair <= low)
        return 1;
    if (pair >= high)
        return 0;
    return 1 - (pair - low) / (high - low);
}

static void naive_rope(const struct hparams *h, const struct tensor *factors, size_t position,
                       double *head)
{
    double *factor = factors ? naive_weights(factors) : NULL;

    for (size_t i = 0; i < h->rope_dims / 2; i++) {
        double angle =
            (double)position * pow((double)h->rope_base, -2.0 * (double)i / h->rope_dims);
        double length = 1, x = head[2 * i], y = head[2 * i + 1];

        if (factor)
            angle /= factor[i];
        if (h->rope_scaling == ROPE_LINEAR)
            angle /= (double)h->rope_factor;
        if (h->rope_scaling == ROPE_YARN) {
            double kept = naive_yarn_kept(h, (double)i);
            angle = kept * angle + (1 - kept) * angle / (double)h->rope_factor;
            length = 0.1 * log((double)h->rope_factor) + 1;
        }
        head[2 * i] = length * (x * cos(angle) - y * sin(angle));
        head[2 * i + 1] = length * (x * sin(angle) + y * cos(angle));
    }
    free(factor);
}

static void naive_round_f16(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (double)f16_to_f32(f32_to_f16((float)x[i]));
}

/* One query head over the keys and values of positions 0 .. last, `width` apart. */
static void naive_attend(const double *q, const double *k, const double *v, size_t last,
                         size_t width, size_t head_dim, double *out)
{
    double *p = calloc(last + 1, sizeof(*p)), total = 0, top = -HUGE_VAL;

    for (size_t j = 0; j <= last; j++) {
        for (size_t i = 0; i < head_dim; i++)
            p[j] += q[i] * k[j * width + i] / sqrt((double)head_dim);
        top = p[j] > top ? p[j] : top;
    }
    for (size_t j = 0; j <= last; j++)
        total += p[j] = exp(p[j] - top);
    for (size_t i = 0; i < head_dim; i++) {
        out[i] = 0;
        for (size_t j = 0; j <= last; j++)
            out[i] += p[j] / total * v[j * width + i];
    }
    free(p);
}

static void naive_layer(const struct llmos_model *m, uint32_t l, size_t n, double *x)
{
    const struct hparams *h = &m->hparams;
    const struct weights *w = &m->weights;
    const struct tensor *factors = weights_get(w, 0, WEIGHT_ROPE_FREQS);
    size_t e = h->n_embd, d = h->head_dim, qw = h->n_head * d, kw = h->n_head_kv * d;
    double *q = calloc(n * qw, sizeof(*q)), *k = calloc(n * kw, sizeof(*k));
    double *v = calloc(n * kw, sizeof(*v)), *a = calloc(qw, sizeof(*a));
    double *norm = calloc(e, sizeof(*norm)), *y = calloc(e, sizeof(*y));
    double *gate = calloc(h->n_ff, sizeof(*gate)), *up = calloc(h->n_ff, sizeof(*up));

    for (size_t t = 0; t < n; t++) {
        naive_norm(weights_get(w, l, WEIGHT_ATTN_NORM), x + t * e, (double)h->rms_eps, norm);
        naive_linear(weights_get(w, l, WEIGHT_Q), norm, q + t * qw);
        naive_linear(weights_get(w, l, WEIGHT_K), norm, k + t * kw);
        naive_linear(weights_get(w, l, WEIGHT_V), norm, v + t * kw);
        for (size_t i = 0; i < h->n_head; i++)
            naive_rope(h, factors, t, q + t * qw + i * d);
        for (size_t i = 0; i < h->n_head_kv; i++)
            naive_rope(h, factors, t, k + t * kw + i * d);
    }
    naive_round_f16(k, n * kw);
    naive_round_f16(v, n * kw);
    for (size_t t = 0; t < n; t++) {
        for (size_t i = 0; i < h->n_head; i++) {
            size_t kv = i / (h->n_head / h->n_head_kv);
            naive_attend(q + t * qw + i * d, k + kv * d, v + kv * d, t, kw, d, a + i * d);
        }
        naive_linear(weights_get(w, l, WEIGHT_ATTN_OUT), a, y);
        for (size_t i = 0; i < e; i++)
            x[t * e + i] += y[i];
        naive_norm(weights_get(w, l, WEIGHT_FFN_NORM), x + t * e, (double)h->rms_eps, norm);
        naive_linear(weights_get(w, l, WEIGHT_GATE), norm, gate);
        naive_linear(weights_get(w, l, WEIGHT_UP), norm, up);
        for (size_t i = 0; i < h->n_ff; i++)
            gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
        naive_linear(weights_get(w, l, WEIGHT_DOWN), gate, y);
        for (size_t i = 0; i < e; i++)
            x[t * e + i] += y[i];
    }
    free(q), free(k), free(v), free(a), free(norm), free(y), free(gate), free(up);
}

/* logits[n][vocabulary] of every position. */
static void naive_llama(const struct llmos_model *m, const int32_t *tokens, size_t n,
                        double *logits)
{
    const struct hparams *h = &m->hparams;
    size_t e = h->n_embd;
    double *x = calloc(n * e, sizeof(*x)), *norm = calloc(e, sizeof(*norm));
    double *embed = naive_weights(weights_get(&m->weights, 0, WEIGHT_EMBED));

    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < e; i++)
            x[t * e + i] = embed[(size_t)tokens[t] * e + i];
    for (uint32_t l = 0; l < h->n_layer; l++)
        naive_layer(m, l, n, x);
    for (size_t t = 0; t < n; t++) {
        naive_norm(weights_get(&m->weights, 0, WEIGHT_OUTPUT_NORM), x + t * e, (double)h->rms_eps,
                   norm);
        naive_linear(weights_get(&m->weights, 0, WEIGHT_OUTPUT), norm, logits + t * h->n_vocab);
    }
    free(x), free(norm), free(embed);
}

#endif
