/* SPDX-License-Identifier: Apache-2.0 */
/* experts.c - see experts.h */
#include "infer/experts.h"

#include "tensor/plain.h"

#include <math.h>

#define COLUMNS 64 /* as in forward.c: elementwise work is split at multiples */

static const struct tensor *weight(const struct experts *e, uint32_t layer, enum weight_role role)
{
    return weights_get(e->w, layer, role);
}

static size_t used_of(const struct experts *e)
{
    return e->h->n_expert_used;
}

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void measure(struct experts *e, const struct backend *backend)
{
    static const enum weight_role roles[] = {WEIGHT_EXP_GATE, WEIGHT_EXP_UP, WEIGHT_EXP_DOWN};

    for (uint32_t l = 0; l < e->h->n_layer; l++)
        for (size_t i = 0; i < 3; i++) {
            const struct tensor *t = weight(e, l, roles[i]);

            for (int generated = 0; generated < 2; generated++)
                e->prepared_bytes =
                    most(e->prepared_bytes,
                         backend_for(backend, generated)->prepared_bytes(t->type, t->shape[0]));
        }
}

void experts_carve(struct experts *e, const struct hparams *h, const struct weights *w,
                   const struct backend *backend, size_t rows_max, struct carve *c)
{
    size_t entries = rows_max * h->n_expert_used;

    *e = (struct experts){.h = h, .w = w};
    if (!h->n_expert)
        return;
    measure(e, backend);
    e->ff_stride = (h->n_ff_exp + 15) / 16 * 16;
    e->width_stride = (h->n_embd + 15) / 16 * 16;
    e->routes = carve_array(c, struct route, entries);
    e->begin = carve_array(c, uint32_t, h->n_expert + 1);
    e->row_of = carve_array(c, uint32_t, entries);
    e->entry_of = carve_array(c, uint32_t, entries);
    e->gate = carve_bytes(c, entries, e->ff_stride * sizeof(float));
    e->up = carve_bytes(c, entries, e->ff_stride * sizeof(float));
    e->down = carve_bytes(c, entries, e->width_stride * sizeof(float));
    for (int i = 0; i < 2; i++)
        e->prepared[i] = carve_bytes(c, entries, e->prepared_bytes);
}

/* --- which --- */

static bool is_chosen(const struct route *routes, size_t count, uint32_t expert)
{
    for (size_t i = 0; i < count; i++)
        if (routes[i].expert == expert)
            return true;
    return false;
}

/* Always one that is not among those before, also where logits are NaN. */
static uint32_t best_but(const float *logits, uint32_t n, const struct route *routes, size_t count)
{
    uint32_t best = n;

    for (uint32_t x = 0; x < n; x++)
        if (!is_chosen(routes, count, x) && (best == n || logits[x] > logits[best]))
            best = x;
    return best;
}

void experts_route(struct experts *e, size_t row, const float *logits)
{
    struct route *routes = e->routes + row * used_of(e);
    uint32_t n = e->h->n_expert;
    double total = 0, chosen = 0;

    for (size_t i = 0; i < used_of(e); i++)
        routes[i].expert = best_but(logits, n, routes, i);
    for (uint32_t x = 0; x < n; x++)
        total += exp((double)logits[x] - (double)logits[routes[0].expert]);
    for (size_t i = 0; i < used_of(e); i++)
        chosen += exp((double)logits[routes[i].expert] - (double)logits[routes[0].expert]);
    for (size_t i = 0; i < used_of(e); i++)
        routes[i].weight =
            (float)(exp((double)logits[routes[i].expert] - (double)logits[routes[0].expert]) /
                    (e->h->experts_share_all ? total : chosen));
}

/* Entries: a row at one of its experts, sorted by expert, rows in order. */
static void sort_entries(struct experts *e)
{
    size_t routes = e->run.n * used_of(e);
    uint32_t n = e->h->n_expert, sum = 0;

    for (uint32_t x = 0; x <= n; x++)
        e->begin[x] = 0;
    for (size_t i = 0; i < routes; i++)
        e->begin[e->routes[i].expert]++;
    for (uint32_t x = 0; x < n; x++) {
        uint32_t count = e->begin[x];

        e->begin[x] = sum;
        sum += count;
    }
    for (size_t i = 0; i < routes; i++) {
        uint32_t at = e->begin[e->routes[i].expert]++;

        e->entry_of[i] = at;
        e->row_of[at] = (uint32_t)(i / used_of(e));
    }
    for (uint32_t x = n; x > 0; x--) /* each begins where the one before has ended */
        e->begin[x] = e->begin[x - 1];
    e->begin[0] = 0;
}

/* --- what --- */

static void prepare(const struct experts *e, const struct tensor *w, size_t entry, const float *x,
                    char *to)
{
    e->run.backend->prepare(w->type, x, w->shape[0],
                            to + entry * e->run.backend->prepared_bytes(w->type, w->shape[0]));
}

static bool is_alike(const struct experts *e, const struct tensor *a, const struct tensor *b)
{
    return e->run.backend->prepared_form(a->type) == e->run.backend->prepared_form(b->type);
}

static void prepare_part(void *arg, unsigned part, unsigned parts)
{
    struct experts *e = arg;
    const struct tensor *gate = weight(e, e->run.layer, WEIGHT_EXP_GATE);
    const struct tensor *up = weight(e, e->run.layer, WEIGHT_EXP_UP);
    size_t begin, end;

    pool_share(e->run.n * used_of(e), 1, part, parts, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const float *x = e->run.x + e->row_of[i] * e->run.x_stride;

        prepare(e, gate, i, x, e->prepared[0]);
        if (!is_alike(e, gate, up))
            prepare(e, up, i, x, e->prepared[1]);
    }
}

/* The columns [begin, end) of one expert's product for its entries, and of its bias. */
static void multiply(const struct experts *e, enum weight_role role, enum weight_role bias,
                     uint32_t expert, size_t begin, size_t end, const char *prepared, float *out,
                     size_t stride)
{
    const struct tensor *all = weight(e, e->run.layer, role);
    const struct tensor *biases = weight(e, e->run.layer, bias);
    struct tensor w = *all;
    uint32_t first = e->begin[expert], n = e->begin[expert + 1] - first;
    size_t bytes = e->run.backend->prepared_bytes(w.type, w.shape[0]);

    w.n_dims = 2;
    w.shape[2] = 1;
    w.data = tensor_row(all, expert * all->shape[1]);
    e->run.backend->matmul(&w, begin, end, prepared + first * bytes, n, out + first * stride,
                           stride);
    for (uint32_t i = first; biases && i < first + n; i++)
        e->run.backend->add(out + i * stride + begin,
                            (const float *)tensor_row(biases, expert) + begin, end - begin);
}

static void gate_part(void *arg, unsigned part, unsigned parts)
{
    struct experts *e = arg;
    bool alike = is_alike(e, weight(e, e->run.layer, WEIGHT_EXP_GATE),
                          weight(e, e->run.layer, WEIGHT_EXP_UP));
    size_t begin, end;

    pool_share(e->h->n_ff_exp, COLUMNS, part, parts, &begin, &end);
    for (uint32_t x = 0; begin < end && x < e->h->n_expert; x++) {
        if (e->begin[x] == e->begin[x + 1])
            continue;
        multiply(e, WEIGHT_EXP_GATE, WEIGHT_EXP_GATE_BIAS, x, begin, end, e->prepared[0], e->gate,
                 e->ff_stride);
        multiply(e, WEIGHT_EXP_UP, WEIGHT_EXP_UP_BIAS, x, begin, end, e->prepared[!alike], e->up,
                 e->ff_stride);
        for (uint32_t i = e->begin[x]; i < e->begin[x + 1]; i++) {
            float *gate = e->gate + i * e->ff_stride + begin,
                  *up = e->up + i * e->ff_stride + begin;

            if (e->h->family->clamps_swiglu)
                plain_swiglu_clamped(gate, up, end - begin);
            else
                e->run.backend->swiglu(gate, up, end - begin);
        }
    }
}

static void prepare_down_part(void *arg, unsigned part, unsigned parts)
{
    struct experts *e = arg;
    const struct tensor *down = weight(e, e->run.layer, WEIGHT_EXP_DOWN);
    size_t begin, end;

    pool_share(e->run.n * used_of(e), 1, part, parts, &begin, &end);
    for (size_t i = begin; i < end; i++)
        prepare(e, down, i, e->gate + i * e->ff_stride, e->prepared[0]);
}

/* The columns [begin, end) of a row: its experts by its weights, in the order of its liking. */
static void add_up(const struct experts *e, size_t row, size_t begin, size_t end)
{
    float *out = e->run.out + row * e->run.out_stride;

    for (size_t k = 0; k < used_of(e); k++) {
        const float *x = e->down + e->entry_of[row * used_of(e) + k] * e->width_stride;
        float by = e->routes[row * used_of(e) + k].weight;

        for (size_t i = begin; i < end; i++)
            out[i] = (k ? out[i] : 0) + by * x[i];
    }
}

static void down_part(void *arg, unsigned part, unsigned parts)
{
    struct experts *e = arg;
    size_t begin, end;

    pool_share(e->h->n_embd, COLUMNS, part, parts, &begin, &end);
    for (uint32_t x = 0; begin < end && x < e->h->n_expert; x++)
        if (e->begin[x] < e->begin[x + 1])
            multiply(e, WEIGHT_EXP_DOWN, WEIGHT_EXP_DOWN_BIAS, x, begin, end, e->prepared[0],
                     e->down, e->width_stride);
    for (size_t t = 0; t < e->run.n; t++)
        add_up(e, t, begin, end);
}

void experts_compute(struct experts *e, struct pool *pool, const struct experts_run *run)
{
    e->run = *run;
    sort_entries(e);
    pool_run(pool, prepare_part, e);
    pool_run(pool, gate_part, e);
    pool_run(pool, prepare_down_part, e);
    pool_run(pool, down_part, e);
}
