/* SPDX-License-Identifier: Apache-2.0 */
/* textattend.c - see textattend.h */
#include "infer/textattend.h"

#include "base/pool.h"

#include <math.h>

#define TILE 32 /* rows: enough to read keys and values seldom */

/* The scratch of one thread, and the head whose values it holds. */
struct bench {
    const struct textattend *t;
    const struct textattend_run *run;
    char *prepared;
    float *scores, *values;
    size_t kv_head;
};

struct range {
    size_t begin, end;
};

void textattend_carve(struct textattend *t, const struct hparams *h, const struct backend *backend,
                      unsigned threads, size_t rows_max, struct carve *c)
{
    size_t of_query = backend->prepared_bytes(DTYPE_F32, h->head_dim);
    size_t of_weights = backend->prepared_bytes(DTYPE_F32, rows_max);

    *t = (struct textattend){
        .backend = backend,
        .rows_max = rows_max,
        .head_dim = h->head_dim,
        .n_head = h->n_head,
        .n_head_kv = h->n_head_kv,
        .scale = h->attn_scale != 0 ? h->attn_scale : 1 / sqrtf((float)h->head_dim),
        .stride = (rows_max + 15) / 16 * 16,
        .prepared_bytes = of_query > of_weights ? of_query : of_weights,
    };
    t->prepared = carve_bytes(c, (size_t)threads * TILE, t->prepared_bytes);
    t->scores = carve_bytes(c, (size_t)threads * TILE, t->stride * sizeof(float));
    t->values = carve_bytes(c, threads * t->head_dim, t->stride * sizeof(float));
}

/* Values stand by rows; the product wants those of a dimension side by side. */
static void turn_values(struct bench *b, size_t kv_head)
{
    size_t head_dim = b->t->head_dim;

    for (size_t i = 0; i < b->run->n; i++) {
        const float *v = b->run->v + i * b->run->v_stride + kv_head * head_dim;

        for (size_t d = 0; d < head_dim; d++)
            b->values[d * b->t->stride + i] = v[d];
    }
    b->kv_head = kv_head;
}

static struct range seen_by(const struct textattend_run *run, size_t row)
{
    struct range r = {0, run->n};

    if (row > run->reach)
        r.begin = row - run->reach;
    if (run->reach < run->n - 1 - row)
        r.end = row + run->reach + 1;
    return r;
}

/* Scores in `seen` become weights, which add up to 1; the others, up to `end`, count for nothing.
 */
static void soften(float *scores, struct range seen, size_t end, float scale)
{
    float most = -INFINITY;
    double sum = 0;

    for (size_t i = seen.begin; i < seen.end; i++)
        most = scores[i] > most ? scores[i] : most;
    for (size_t i = seen.begin; i < seen.end; i++) {
        scores[i] = expf((scores[i] - most) * scale);
        sum += (double)scores[i];
    }
    for (size_t i = seen.begin; i < seen.end; i++)
        scores[i] = (float)((double)scores[i] / sum);
    for (size_t i = 0; i < seen.begin; i++)
        scores[i] = 0;
    for (size_t i = seen.end; i < end; i++)
        scores[i] = 0;
}

static struct tensor matrix(const float *at, size_t inner, size_t rows, size_t stride)
{
    return (struct tensor){.type = DTYPE_F32,
                           .n_dims = 2,
                           .shape = {inner, rows, 1, 1},
                           .row_bytes = stride * sizeof(float),
                           .data = at};
}

/* The rows of a tile of one head: prepared queries times keys, softmax, weights times values. */
static void attend_tile(struct bench *b, size_t head, struct range rows)
{
    const struct textattend *t = b->t;
    const struct textattend_run *run = b->run;
    size_t head_dim = t->head_dim, count = rows.end - rows.begin;
    size_t from = seen_by(run, rows.begin).begin, keys = seen_by(run, rows.end - 1).end - from;
    size_t query_bytes = t->backend->prepared_bytes(DTYPE_F32, head_dim);
    size_t weight_bytes = t->backend->prepared_bytes(DTYPE_F32, keys);
    struct tensor k = matrix(run->k + from * run->k_stride + b->kv_head * head_dim, head_dim, keys,
                             run->k_stride);
    struct tensor v = matrix(b->values + from, keys, head_dim, t->stride);

    for (size_t i = 0; i < count; i++)
        t->backend->prepare(DTYPE_F32, run->q + (rows.begin + i) * run->q_stride + head * head_dim,
                            head_dim, b->prepared + i * query_bytes);
    t->backend->matmul(&k, 0, keys, b->prepared, count, b->scores, t->stride);
    for (size_t i = 0; i < count; i++) {
        struct range seen = seen_by(run, rows.begin + i);

        seen.begin -= from;
        seen.end -= from;
        soften(b->scores + i * t->stride, seen, keys, t->scale);
        t->backend->prepare(DTYPE_F32, b->scores + i * t->stride, keys,
                            b->prepared + i * weight_bytes);
    }
    t->backend->matmul(&v, 0, head_dim, b->prepared, count,
                       run->out + rows.begin * run->out_stride + head * head_dim, run->out_stride);
}

void textattend_compute(const struct textattend *t, const struct textattend_run *run, unsigned part,
                        unsigned parts)
{
    struct bench b = {.t = t,
                      .run = run,
                      .prepared = t->prepared + part * TILE * t->prepared_bytes,
                      .scores = t->scores + part * TILE * t->stride,
                      .values = t->values + part * t->head_dim * t->stride,
                      .kv_head = SIZE_MAX};
    size_t tiles = (run->n + TILE - 1) / TILE, begin, end;

    pool_share(t->n_head * tiles, 1, part, parts, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t head = i / tiles, kv_head = head / (t->n_head / t->n_head_kv);
        struct range rows = {i % tiles * TILE, (i % tiles + 1) * TILE};

        if (kv_head != b.kv_head)
            turn_values(&b, kv_head);
        if (rows.end > run->n)
            rows.end = run->n;
        attend_tile(&b, head, rows);
    }
}
