/* SPDX-License-Identifier: Apache-2.0 */
/* textattend.c - see textattend.h */
#include "infer/textattend.h"

#include <math.h>

/* Rows of a job: enough to read keys and values seldom, few enough to share a text. */
#define JOB_ROWS (8 * TEXT_ROWS)
/* What a job costs besides its pairs of rows and keys, in these: keys are turned, scores summed. */
#define JOB_OVERHEAD 64

/* The scratch of one thread, and the head whose keys it holds. */
struct bench {
    const struct textattend *t;
    const struct textattend_run *run;
    float *scores, *keys;
    const struct textattend_text *text;
    size_t kv_head;
};

void textattend_carve(struct textattend *t, const struct hparams *h, const struct backend *backend,
                      unsigned threads, size_t rows_max, struct carve *c)
{
    *t = (struct textattend){
        .backend = backend,
        .head_dim = h->head_dim,
        .n_head = h->n_head,
        .n_head_kv = h->n_head_kv,
        .scale = h->attn_scale != 0 ? h->attn_scale : 1 / sqrtf((float)h->head_dim),
        .stride = (rows_max + TEXT_STEP - 1) / TEXT_STEP * TEXT_STEP,
    };
    t->scores = carve_bytes(c, (size_t)threads * TEXT_ROWS, t->stride * sizeof(float));
    t->keys = carve_bytes(c, threads * t->head_dim, t->stride * sizeof(float));
    t->texts = carve_array(c, struct textattend_text, rows_max + 1);
}

void textattend_begin(struct textattend *t)
{
    t->count = 0;
    t->texts[0] = (struct textattend_text){.row = 0};
}

static size_t jobs_of(const struct textattend *t, const struct textattend_text *text)
{
    return (text->count + JOB_ROWS - 1) / JOB_ROWS * t->n_head;
}

static uint64_t work_of_job(const struct textattend_text *text)
{
    size_t rows = text->count < JOB_ROWS ? text->count : JOB_ROWS;

    return rows * ((uint64_t)text->count + JOB_OVERHEAD);
}

void textattend_add(struct textattend *t, size_t count)
{
    struct textattend_text *text = &t->texts[t->count++];

    text->count = count;
    text[1] = (struct textattend_text){.row = text->row + count,
                                       .work = text->work + jobs_of(t, text) * work_of_job(text)};
}

/* Keys stand by rows; scores want those of a dimension side by side.  In blocks, so that what is
 * read and what is written stay in the level-1 cache. */
static void turn_keys(struct bench *b, const struct textattend_text *text, size_t kv_head)
{
    size_t head_dim = b->t->head_dim, stride = b->t->stride, row = b->run->k_stride;
    const float *k = b->run->k + text->row * row + kv_head * head_dim;

    for (size_t i = 0; i < text->count; i += TEXT_STEP) {
        size_t n = text->count - i < TEXT_STEP ? text->count - i : TEXT_STEP;

        for (size_t d = 0; d < head_dim; d++)
            for (size_t l = 0; l < n; l++)
                b->keys[d * stride + i + l] = k[(i + l) * row + d];
    }
    b->text = text;
    b->kv_head = kv_head;
}

static void attend_job(struct bench *b, const struct textattend_text *text, size_t job)
{
    const struct textattend *t = b->t;
    const struct textattend_run *run = b->run;
    size_t parts = jobs_of(t, text) / t->n_head, head = job / parts;
    size_t kv_head = head / (t->n_head / t->n_head_kv), first = job % parts * JOB_ROWS;
    size_t left = text->count - first, row = text->row + first;

    if (text != b->text || kv_head != b->kv_head)
        turn_keys(b, text, kv_head);
    t->backend->attend_text(&(struct text_attention){
        .q = run->q + row * run->q_stride + head * t->head_dim,
        .k = b->keys,
        .v = run->v + text->row * run->v_stride + kv_head * t->head_dim,
        .out = run->out + row * run->out_stride + head * t->head_dim,
        .scores = b->scores,
        .q_stride = run->q_stride,
        .k_stride = t->stride,
        .v_stride = run->v_stride,
        .out_stride = run->out_stride,
        .first = first,
        .rows = left < JOB_ROWS ? left : JOB_ROWS,
        .count = text->count,
        .head_dim = t->head_dim,
        .reach = run->reach,
        .scale = t->scale,
    });
}

struct point {
    size_t text, job;
};

/* The first job at or behind an even share of the work. */
static struct point begin_of(const struct textattend *t, unsigned part, unsigned parts)
{
    uint64_t work = t->texts[t->count].work * part / parts, size;
    size_t low = 0, high = t->count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (t->texts[middle].work <= work)
            low = middle;
        else
            high = middle;
    }
    if (work >= t->texts[t->count].work)
        return (struct point){t->count, 0};
    size = work_of_job(&t->texts[low]);
    return (struct point){low, (size_t)((work - t->texts[low].work + size - 1) / size)};
}

void textattend_compute(const struct textattend *t, const struct textattend_run *run, unsigned part,
                        unsigned parts)
{
    struct bench b = {.t = t,
                      .run = run,
                      .scores = t->scores + part * TEXT_ROWS * t->stride,
                      .keys = t->keys + part * t->head_dim * t->stride};
    struct point p = begin_of(t, part, parts), end = begin_of(t, part + 1, parts);

    for (; p.text <= end.text && p.text < t->count; p.text++, p.job = 0) {
        const struct textattend_text *text = &t->texts[p.text];
        size_t jobs = p.text == end.text ? end.job : jobs_of(t, text);

        for (; p.job < jobs; p.job++)
            attend_job(&b, text, p.job);
    }
}
