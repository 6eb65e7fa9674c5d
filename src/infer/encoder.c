/* SPDX-License-Identifier: Apache-2.0 */
/* encoder.c - see llmos/encoder.h
 *
 * An encoder is one block of memory, cut at creation.  Models whose tokens see the whole text
 * compute it in one run; others read it in pieces, by way of a cache that is written anew for each
 * text. */
#include "llmos/encoder.h"

#include "base/mem.h"
#include "infer/forward.h"
#include "model/clean.h"
#include "model/loaded.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define TOKENS_DEFAULT_MAX 8192
#define PIECE              256 /* tokens that models with a cache compute together */
#define THREADS_MAX        1024
#define LABEL_BYTES        128 /* longer names are cut */

struct label {
    char name[LABEL_BYTES];
};

struct llmos_encoder {
    const llmos_model *model;
    struct llmos_encoder_info info;
    struct forward forward;
    struct kv kv;
    struct pool *pool;
    void *block;
    uint32_t *pages;
    struct forward_row *rows;
    double *sums; /* of vectors, to be their mean */
    struct label *labels;
};

static bool sees_text(const struct llmos_encoder *e)
{
    return e->model->hparams.is_encoder;
}

/* Tokens of one run. */
static uint32_t rows_max(const struct llmos_encoder *e)
{
    return sees_text(e) || e->info.tokens_max < PIECE ? e->info.tokens_max : PIECE;
}

/* Everything in the block. */
static void cut(struct llmos_encoder *e, struct carve *c)
{
    const struct hparams *h = &e->model->hparams;
    struct forward_limits limits = {
        .threads = e->info.threads,
        .rows_max = rows_max(e),
        .logits_max = e->info.classifier == LLMOS_CLASSIFIER_TOKEN ? e->info.tokens_max : 1,
        .context_tokens = e->info.tokens_max,
        .head = arch_head(arch_by_name(h->architecture), &e->model->weights),
    };
    uint32_t pages = (uint32_t)kv_pages_for(e->info.tokens_max);

    if (!sees_text(e)) {
        kv_carve(&e->kv, h, DTYPE_F16, pages, c);
        e->pages = carve_array(c, uint32_t, pages);
    }
    forward_carve(&e->forward, h, &e->model->weights, arch_by_name(h->architecture), backend_best(),
                  &limits, c);
    e->rows = carve_array(c, struct forward_row, rows_max(e));
    e->sums = carve_array(c, double, h->n_embd);
    e->labels = carve_array(c, struct label, h->n_labels);
    e->info.scratch_bytes = c->overflow ? UINT64_MAX : c->used;
}

/* --- creation --- */

static int check_options(const struct llmos_encoder *e, struct llmos_error *err)
{
    const struct hparams *h = &e->model->hparams;

    if (e->info.threads > THREADS_MAX)
        return fail(err, LLMOS_EINVAL, "%u threads, at most %d are possible", e->info.threads,
                    THREADS_MAX);
    if (e->info.tokens_max > HPARAMS_CONTEXT_MAX)
        return fail(err, LLMOS_EINVAL, "texts of %u tokens, at most %d are possible",
                    e->info.tokens_max, HPARAMS_CONTEXT_MAX);
    if (weights_get(&e->model->weights, 0, WEIGHT_POSITIONS) && e->info.tokens_max > h->n_ctx_train)
        return fail(err, LLMOS_EINVAL, "texts of %u tokens, but the model has learned %u positions",
                    e->info.tokens_max, h->n_ctx_train);
    return 0;
}

static enum llmos_pooling pooling_of(const struct hparams *h)
{
    switch (h->pooling == POOLING_RANK ? h->label_pooling : h->pooling) {
    case POOLING_MEAN:
        return LLMOS_POOLING_MEAN;
    case POOLING_CLS:
        return LLMOS_POOLING_CLS;
    case POOLING_LAST:
        return LLMOS_POOLING_LAST;
    default:
        return h->is_encoder ? LLMOS_POOLING_MEAN : LLMOS_POOLING_LAST;
    }
}

static enum llmos_classifier classifier_of(const struct hparams *h)
{
    if (h->n_labels == 0)
        return LLMOS_CLASSIFIER_NONE;
    if (h->labels_tokens)
        return LLMOS_CLASSIFIER_TOKEN;
    return h->n_labels == 1 ? LLMOS_CLASSIFIER_RANK : LLMOS_CLASSIFIER_SEQUENCE;
}

/* The settings that follow from options and model. */
static void settle(struct llmos_encoder *e, const struct llmos_encoder_options *o)
{
    const struct hparams *h = &e->model->hparams;
    uint32_t usual = h->n_ctx_train < TOKENS_DEFAULT_MAX ? h->n_ctx_train : TOKENS_DEFAULT_MAX;

    e->info = (struct llmos_encoder_info){
        .backend = backend_best()->name,
        .pooling = pooling_of(h),
        .classifier = classifier_of(h),
        .threads = o->threads ? o->threads : 1,
        .width = h->n_embd,
        .labels = h->n_labels,
        .tokens_max = o->tokens_max ? o->tokens_max : usual,
    };
}

static int allocate(struct llmos_encoder *e, uint64_t memory_max_bytes, struct llmos_error *err)
{
    struct carve c = {0};

    cut(e, &c);
    if (c.overflow || (memory_max_bytes && c.used > memory_max_bytes))
        return fail(err, LLMOS_ENOMEM,
                    "texts of %u tokens need %llu MiB, %llu MiB are free; try shorter texts",
                    e->info.tokens_max, (unsigned long long)(e->info.scratch_bytes >> 20),
                    (unsigned long long)(memory_max_bytes >> 20));
    e->block = mem_reserve(c.used, 0);
    if (!e->block)
        return fail(err, LLMOS_ENOMEM, "no memory for texts of %u tokens", e->info.tokens_max);
    c = (struct carve){.at = e->block};
    cut(e, &c);
    return pool_create(&e->pool, e->info.threads, err);
}

static int name_labels(struct llmos_encoder *e, struct llmos_error *err)
{
    const struct hparams *h = &e->model->hparams;
    struct gguf_array names = {.count = 0};
    char key[96];
    int rc;

    snprintf(key, sizeof(key), "%s.classifier.output_labels", h->architecture);
    rc = gguf_get_array(&e->model->gguf, key, GGUF_STRING, &names, err);
    if (rc < 0)
        return rc;
    if (rc == 1 && names.count != h->n_labels)
        return fail(err, LLMOS_EFORMAT, "key '%s' names %llu labels, the classifier has %u", key,
                    (unsigned long long)names.count, h->n_labels);
    for (uint32_t i = 0; i < h->n_labels; i++) {
        if (rc == 1)
            clean_name(e->labels[i].name, LABEL_BYTES, gguf_array_str(&names, i));
        else
            snprintf(e->labels[i].name, LABEL_BYTES, "LABEL_%u", i);
    }
    return 0;
}

static int begin(struct llmos_encoder *e, const struct llmos_encoder_options *o,
                 struct llmos_error *err)
{
    int rc;

    settle(e, o);
    rc = check_options(e, err);
    if (rc == 0)
        rc = allocate(e, o->memory_max_bytes, err);
    if (rc == 0)
        rc = name_labels(e, err);
    if (rc < 0)
        return rc;
    if (!sees_text(e)) {
        kv_reset(&e->kv);
        for (uint32_t i = 0; i < kv_pages_for(e->info.tokens_max); i++)
            e->pages[i] = kv_take(&e->kv);
    }
    forward_init(&e->forward, e->pool, sees_text(e) ? NULL : &e->kv);
    return 0;
}

int llmos_encoder_create(llmos_encoder **encoder, const llmos_model *model,
                         const struct llmos_encoder_options *options, struct llmos_error *err)
{
    const struct llmos_encoder_options none = LLMOS_ENCODER_OPTIONS_INIT;
    struct llmos_encoder *e;
    int rc;

    if (model->vocabulary_only)
        return fail(err, LLMOS_EINVAL, "the model was opened for its vocabulary and cannot be run");
    if (!arch_by_name(model->hparams.architecture))
        return fail(err, LLMOS_EUNSUPPORTED, "architecture '%s' cannot be run",
                    model->hparams.architecture);
    e = mem_zalloc(1, sizeof(*e));
    if (!e)
        return fail(err, LLMOS_ENOMEM, "no memory for an encoder");
    e->model = model;
    rc = begin(e, options ? options : &none, err);
    if (rc < 0) {
        llmos_encoder_destroy(e);
        return rc;
    }
    *encoder = e;
    return 0;
}

void llmos_encoder_destroy(llmos_encoder *e)
{
    if (!e)
        return;
    pool_destroy(e->pool);
    mem_release(e->block, e->block ? (size_t)e->info.scratch_bytes : 0);
    mem_free(e);
}

void llmos_encoder_info(const llmos_encoder *e, struct llmos_encoder_info *info)
{
    *info = e->info;
}

const char *llmos_encoder_label(const llmos_encoder *e, uint32_t label)
{
    return label < e->info.labels ? e->labels[label].name : NULL;
}

/* --- texts --- */

struct text {
    const int32_t *tokens;
    size_t count, segment_b;
};

static int check_text(const struct llmos_encoder *e, const struct text *text,
                      struct llmos_error *err)
{
    uint32_t n_vocab = e->model->hparams.n_vocab;

    if (text->count == 0)
        return fail(err, LLMOS_EINVAL, "the text has no tokens");
    if (text->count > e->info.tokens_max)
        return fail(err, LLMOS_ECONTEXT, "the text has %zu tokens, at most %u are read",
                    text->count, e->info.tokens_max);
    for (size_t i = 0; i < text->count; i++)
        if (text->tokens[i] < 0 || (uint32_t)text->tokens[i] >= n_vocab)
            return fail(err, LLMOS_EINVAL, "token %d is outside the vocabulary of %u",
                        text->tokens[i], n_vocab);
    return 0;
}

/* Does what is pooled need the vector of token i? */
static bool counts(enum llmos_pooling pooling, const struct text *text, size_t i)
{
    return pooling == LLMOS_POOLING_MEAN || (pooling == LLMOS_POOLING_CLS && i == 0) ||
           (pooling == LLMOS_POOLING_LAST && i + 1 == text->count);
}

/* Computes the tokens [begin, begin + n); the vectors of those that count are those of the run. */
static size_t compute(struct llmos_encoder *e, const struct text *text, size_t begin, size_t n,
                      enum llmos_pooling pooling)
{
    uint32_t segments = e->model->hparams.n_segments;
    size_t wanted = 0;

    for (size_t i = 0; i < n; i++) {
        bool is_second = begin + i >= text->segment_b && segments > 1;

        e->rows[i] = (struct forward_row){.token = text->tokens[begin + i],
                                          .position = (uint32_t)(begin + i),
                                          .pages = e->pages,
                                          .segment = is_second,
                                          .wants_logits = counts(pooling, text, begin + i)};
        wanted += e->rows[i].wants_logits;
    }
    forward_run(&e->forward, e->rows, n);
    return wanted;
}

/* One vector of the text, in e->sums. */
static void pool_text(struct llmos_encoder *e, const struct text *text, enum llmos_pooling pooling)
{
    uint32_t width = e->info.width;
    size_t n, total = 0;

    memset(e->sums, 0, width * sizeof(*e->sums));
    for (size_t begin = 0; begin < text->count; begin += n) {
        size_t wanted;

        n = text->count - begin < rows_max(e) ? text->count - begin : rows_max(e);
        wanted = compute(e, text, begin, n, pooling);
        for (size_t i = 0; i < wanted; i++)
            for (uint32_t k = 0; k < width; k++)
                e->sums[k] += (double)forward_vector(&e->forward, i)[k];
        total += wanted;
    }
    for (uint32_t k = 0; k < width; k++)
        e->sums[k] /= (double)total;
}

int llmos_encoder_embed(llmos_encoder *e, const int32_t *tokens, size_t count, bool normalize,
                        float *vector, struct llmos_error *err)
{
    struct text text = {tokens, count, count};
    double squares = 0, scale;
    int rc = check_text(e, &text, err);

    if (rc < 0)
        return rc;
    pool_text(e, &text, e->info.pooling);
    for (uint32_t k = 0; k < e->info.width; k++)
        squares += e->sums[k] * e->sums[k];
    scale = normalize && squares > 0 ? 1 / sqrt(squares) : 1;
    for (uint32_t k = 0; k < e->info.width; k++)
        vector[k] = (float)(e->sums[k] * scale);
    return 0;
}

/* What the classifier looks at, into its rows; how many there are. */
static size_t fill_head(struct llmos_encoder *e, const struct text *text)
{
    uint32_t width = e->info.width;

    if (e->info.classifier == LLMOS_CLASSIFIER_TOKEN) {
        size_t n = compute(e, text, 0, text->count, LLMOS_POOLING_MEAN);

        for (size_t i = 0; i < n; i++)
            memcpy(forward_head_row(&e->forward, i), forward_vector(&e->forward, i),
                   width * sizeof(float));
        return n;
    }
    pool_text(e, text,
              e->model->hparams.label_pooling == POOLING_MEAN ? LLMOS_POOLING_MEAN
                                                              : LLMOS_POOLING_CLS);
    for (uint32_t k = 0; k < width; k++)
        forward_head_row(&e->forward, 0)[k] = (float)e->sums[k];
    return 1;
}

int llmos_encoder_classify(llmos_encoder *e, const int32_t *tokens, size_t count, size_t segment_b,
                           float *scores, struct llmos_error *err)
{
    struct text text = {tokens, count, segment_b};
    int rc;
    size_t n;

    if (e->info.classifier == LLMOS_CLASSIFIER_NONE)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "the model has no classifier: it makes vectors of texts");
    rc = check_text(e, &text, err);
    if (rc < 0)
        return rc;
    n = fill_head(e, &text);
    forward_head(&e->forward, n);
    for (size_t i = 0; i < n; i++)
        memcpy(scores + i * e->info.labels, forward_logits(&e->forward, i),
               e->info.labels * sizeof(*scores));
    return 0;
}
