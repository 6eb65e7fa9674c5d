/* SPDX-License-Identifier: Apache-2.0 */
/* encoder.c - see llmos/encoder.h
 *
 * An encoder is one block of memory, cut at creation.  The texts of a step are the rows of one run,
 * one behind the other.  Models whose tokens see the whole text compute it in one run whatever its
 * length; others read long ones in pieces, by way of a cache that is written anew in each step. */
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
#define BATCH_DEFAULT      512 /* as sessions have it */
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
    uint32_t *pages; /* enough for the longest text; the texts of a step share them */
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
    return sees_text(e) && e->info.tokens_max > e->info.batch_tokens ? e->info.tokens_max
                                                                     : e->info.batch_tokens;
}

static uint32_t texts_max(const struct llmos_encoder *e)
{
    return rows_max(e) < LLMOS_ENCODER_TEXTS_MAX ? rows_max(e) : LLMOS_ENCODER_TEXTS_MAX;
}

/* Everything in the block. */
static void cut(struct llmos_encoder *e, struct carve *c)
{
    const struct hparams *h = &e->model->hparams;
    struct forward_limits limits = {
        .threads = e->info.threads,
        .rows_max = rows_max(e),
        .logits_max = e->info.classifier == LLMOS_CLASSIFIER_TOKEN ? rows_max(e) : texts_max(e),
        .context_tokens = e->info.tokens_max,
        .head = arch_head(arch_by_name(h->architecture), &e->model->weights),
    };
    uint32_t pages = (uint32_t)kv_pages_for(e->info.tokens_max);

    if (!sees_text(e)) {
        kv_carve(&e->kv, h, DTYPE_F16, pages, c);
        e->pages = carve_array(c, uint32_t, pages);
    }
    forward_carve(&e->forward, h, &e->model->weights, arch_by_name(h->architecture),
                  forward_backend(h, &e->model->weights), &limits, c);
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
    if (e->info.batch_tokens > HPARAMS_CONTEXT_MAX)
        return fail(err, LLMOS_EINVAL, "steps of %u tokens, at most %d are possible",
                    e->info.batch_tokens, HPARAMS_CONTEXT_MAX);
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
        .backend = forward_backend(h, &e->model->weights)->name,
        .pooling = pooling_of(h),
        .classifier = classifier_of(h),
        .threads = o->threads ? o->threads : 1,
        .width = h->n_embd,
        .labels = h->n_labels,
        .tokens_max = o->tokens_max ? o->tokens_max : usual,
        .batch_tokens = o->batch_tokens ? o->batch_tokens : BATCH_DEFAULT,
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

static int check_text(const struct llmos_encoder *e, const struct llmos_encoder_text *text,
                      struct llmos_error *err)
{
    uint32_t n_vocab = e->model->hparams.n_vocab;

    if (text->classifies && e->info.classifier == LLMOS_CLASSIFIER_NONE)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "the model has no classifier: it makes vectors of texts");
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

/* A row of scores for each token? */
static bool scores_tokens(const struct llmos_encoder *e, const struct llmos_encoder_text *text)
{
    return text->classifies && e->info.classifier == LLMOS_CLASSIFIER_TOKEN;
}

static enum llmos_pooling pooling_for(const struct llmos_encoder *e,
                                      const struct llmos_encoder_text *text)
{
    if (!text->classifies)
        return e->info.pooling;
    if (scores_tokens(e, text) || e->model->hparams.label_pooling == POOLING_MEAN)
        return LLMOS_POOLING_MEAN;
    return LLMOS_POOLING_CLS;
}

/* Does what is pooled need the vector of token i? */
static bool counts(enum llmos_pooling pooling, const struct llmos_encoder_text *text, size_t i)
{
    return pooling == LLMOS_POOLING_MEAN || (pooling == LLMOS_POOLING_CLS && i == 0) ||
           (pooling == LLMOS_POOLING_LAST && i + 1 == text->count);
}

/* The tokens [begin, begin + n) of a text into the rows from `rows` on; how many vectors of them
 * count. */
static size_t fill_rows(const struct llmos_encoder *e, const struct llmos_encoder_text *text,
                        size_t begin, size_t n, const uint32_t *pages, struct forward_row *rows)
{
    enum llmos_pooling pooling = pooling_for(e, text);
    uint32_t segments = e->model->hparams.n_segments;
    size_t wanted = 0;

    for (size_t i = 0; i < n; i++) {
        bool is_second = begin + i >= text->segment_b && segments > 1;

        rows[i] = (struct forward_row){.token = text->tokens[begin + i],
                                       .position = (uint32_t)(begin + i),
                                       .pages = pages,
                                       .segment = is_second,
                                       .is_long = hparams_is_long(&e->model->hparams, text->count),
                                       .wants_logits = counts(pooling, text, begin + i)};
        wanted += rows[i].wants_logits;
    }
    return wanted;
}

static int run_rows(struct llmos_encoder *e, size_t n, struct llmos_error *err)
{
    return forward_run(&e->forward, e->rows, n, FORWARD_PROMPT)
               ? 0
               : fail(err, LLMOS_ECANCELED, "interrupted");
}

/* Vectors [first, first + n) of the last run. */
static void add_vectors(struct llmos_encoder *e, size_t first, size_t n)
{
    for (size_t i = first; i < first + n; i++) {
        const float *v = forward_vector(&e->forward, i);

        for (uint32_t k = 0; k < e->info.width; k++)
            e->sums[k] += (double)v[k];
    }
}

static void clear_sums(struct llmos_encoder *e)
{
    memset(e->sums, 0, e->info.width * sizeof(*e->sums));
}

/* The mean of n vectors: the one of an embedding, or what a classifier looks at. */
static void put_mean(struct llmos_encoder *e, const struct llmos_encoder_text *text, size_t n,
                     float *out)
{
    double squares = 0, scale;

    for (uint32_t k = 0; k < e->info.width; k++) {
        e->sums[k] /= (double)n;
        squares += e->sums[k] * e->sums[k];
    }
    scale = !text->classifies && text->normalizes && squares > 0 ? 1 / sqrt(squares) : 1;
    for (uint32_t k = 0; k < e->info.width; k++)
        out[k] = (float)(e->sums[k] * scale);
}

/* --- steps --- */

/* The first texts, as many as one run holds.  A longer one is alone. */
static long pick(const struct llmos_encoder *e, const struct llmos_encoder_text *texts,
                 size_t count, struct llmos_error *err)
{
    size_t tokens = 0, pages = 0, n = 0;

    for (; n < count && n < texts_max(e); n++) {
        struct llmos_error why;
        int rc = check_text(e, &texts[n], &why);

        if (rc < 0 && n == 0)
            return fail(err, rc, "%s", why.text);
        if (rc < 0)
            break;
        tokens += texts[n].count;
        pages += kv_pages_for(texts[n].count);
        if (n > 0 && (tokens > e->info.batch_tokens ||
                      (!sees_text(e) && pages > kv_pages_for(e->info.tokens_max))))
            break;
    }
    return (long)n;
}

/* Of the run that is done: the vectors of `text` are those from `first` on.  Vectors go out, and
 * what the classifier looks at into its rows from `head` on; how many rows. */
static size_t take_vectors(struct llmos_encoder *e, const struct llmos_encoder_text *text,
                           size_t first, size_t wanted, size_t head)
{
    if (scores_tokens(e, text)) {
        for (size_t i = 0; i < wanted; i++)
            memcpy(forward_head_row(&e->forward, head + i), forward_vector(&e->forward, first + i),
                   e->info.width * sizeof(float));
        return wanted;
    }
    clear_sums(e);
    add_vectors(e, first, wanted);
    put_mean(e, text, wanted, text->classifies ? forward_head_row(&e->forward, head) : text->out);
    return text->classifies;
}

/* Rows of scores from `head` on. */
static void put_scores(const struct llmos_encoder *e, size_t head, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * e->info.labels, forward_logits(&e->forward, head + i),
               e->info.labels * sizeof(float));
}

/* One text that is longer than a run, by way of the cache. */
static int compute_pieces(struct llmos_encoder *e, const struct llmos_encoder_text *text,
                          struct llmos_error *err)
{
    size_t n, total = 0, wanted;
    bool is_pooled = !scores_tokens(e, text);

    clear_sums(e);
    for (size_t begin = 0; begin < text->count; begin += n) {
        int rc;

        n = text->count - begin < rows_max(e) ? text->count - begin : rows_max(e);
        wanted = fill_rows(e, text, begin, n, e->pages, e->rows);
        rc = run_rows(e, n, err);
        if (rc < 0)
            return rc;
        total += wanted;
        if (is_pooled) {
            add_vectors(e, 0, wanted);
            continue;
        }
        forward_head(&e->forward, take_vectors(e, text, 0, wanted, 0));
        put_scores(e, 0, wanted, text->out + begin * e->info.labels);
    }
    if (!is_pooled)
        return 0;
    put_mean(e, text, total, text->classifies ? forward_head_row(&e->forward, 0) : text->out);
    if (text->classifies) {
        forward_head(&e->forward, 1);
        put_scores(e, 0, 1, text->out);
    }
    return 0;
}

/* Texts that are one run. */
static int compute_together(struct llmos_encoder *e, const struct llmos_encoder_text *texts,
                            size_t n, struct llmos_error *err)
{
    const uint32_t *pages = e->pages;
    size_t rows = 0, first = 0, head = 0;
    int rc;

    for (size_t i = 0; i < n; i++) {
        fill_rows(e, &texts[i], 0, texts[i].count, pages, e->rows + rows);
        rows += texts[i].count;
        pages += sees_text(e) ? 0 : kv_pages_for(texts[i].count);
    }
    rc = run_rows(e, rows, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        size_t wanted = pooling_for(e, &texts[i]) == LLMOS_POOLING_MEAN ? texts[i].count : 1;

        head += take_vectors(e, &texts[i], first, wanted, head);
        first += wanted;
    }
    if (head > 0)
        forward_head(&e->forward, head);
    head = 0;
    for (size_t i = 0; i < n; i++) {
        size_t count = scores_tokens(e, &texts[i]) ? texts[i].count : texts[i].classifies;

        put_scores(e, head, count, texts[i].out);
        head += count;
    }
    return 0;
}

long llmos_encoder_step(llmos_encoder *e, const struct llmos_encoder_text *texts, size_t count,
                        bool (*goes_on)(void *arg), void *arg, struct llmos_error *err)
{
    long n = pick(e, texts, count, err);
    int rc;

    if (n <= 0)
        return n;
    e->forward.goes_on = goes_on;
    e->forward.goes_on_arg = arg;
    rc = texts->count > rows_max(e) ? compute_pieces(e, texts, err)
                                    : compute_together(e, texts, (size_t)n, err);
    return rc < 0 ? rc : n;
}

int llmos_encoder_embed(llmos_encoder *e, const int32_t *tokens, size_t count, bool normalize,
                        float *vector, struct llmos_error *err)
{
    const struct llmos_encoder_text text = {tokens, count, count, false, normalize, vector};
    long rc = llmos_encoder_step(e, &text, 1, NULL, NULL, err);

    return rc < 0 ? (int)rc : 0;
}

int llmos_encoder_classify(llmos_encoder *e, const int32_t *tokens, size_t count, size_t segment_b,
                           float *scores, struct llmos_error *err)
{
    const struct llmos_encoder_text text = {tokens, count, segment_b, true, false, scores};
    long rc = llmos_encoder_step(e, &text, 1, NULL, NULL, err);

    return rc < 0 ? (int)rc : 0;
}
