/* SPDX-License-Identifier: Apache-2.0 */
/* examiner.c - see examiner.h */
#include "engine/examiner.h"

#include "base/clock.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "infer/evaluate.h"
#include "model/imatrix.h"
#include "model/loaded.h"

#include <math.h>

#define PROGRESS_EVERY_NS 100000000u
#define CHUNK_DEFAULT     512 /* as llama.cpp's tools; what is trained with less takes that */

struct sums { /* of what was measured at each position */
    double sum, squares, largest;
    uint64_t count;
};

struct examiner {
    struct serve *serve;
    uint64_t id, said_ns;
    uint8_t kind;
    uint32_t chunk_tokens, chunks_max;
    char name[MESSAGE_NAME_BYTES_MAX + 1]; /* of the text */
    int32_t *tokens;
    size_t token_count, chunks, done;
    struct evaluator *model, *base; /* base NULL: none */
    struct sums surprise, base_surprise, divergence;
    uint64_t same_top; /* positions where model and base expect the same token most */
    struct imatrix_sums *columns;
    size_t column_count;
};

static int say_progress(struct examiner *x, struct llmos_error *err)
{
    struct serve *s = x->serve;
    int rc;

    if (clock_ns() - x->said_ns < PROGRESS_EVERY_NS)
        return 0;
    x->said_ns = clock_ns();
    wire_put(s->wire, &(struct message){.type = MESSAGE_PROGRESS,
                                        .id = x->id,
                                        .progress = {x->done, x->chunks * x->chunk_tokens}});
    rc = serve_hear(s, 0, err);
    if (rc == 0 && s->alone_is_canceled)
        rc = fail(err, LLMOS_ECANCELED, "the evaluation was canceled");
    return rc;
}

/* ---- perplexity ---- */

static void add(struct sums *s, double v)
{
    s->sum += v;
    s->squares += v * v;
    s->largest = fmax(s->largest, v);
    s->count++;
}

static double mean(const struct sums *s)
{
    return s->count ? s->sum / (double)s->count : 0;
}

/* The standard error of the mean. */
static double error_of(const struct sums *s)
{
    double n = (double)s->count, variance = n > 1 ? s->squares / n - mean(s) * mean(s) : 0;

    return variance > 0 ? sqrt(variance / (n - 1)) : 0;
}

static size_t top_of(const float *logits, size_t n)
{
    size_t best = 0;

    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static void score(struct examiner *x, size_t i)
{
    size_t n = x->serve->model->hparams.n_vocab;
    const float *logits = evaluator_logits(x->model, i), *base;
    int32_t token = evaluator_token(x->model, i);

    add(&x->surprise, evaluate_surprise(logits, n, token));
    if (!x->base)
        return;
    base = evaluator_logits(x->base, i);
    add(&x->base_surprise, evaluate_surprise(base, n, token));
    add(&x->divergence, evaluate_divergence(base, logits, n));
    x->same_top += top_of(logits, n) == top_of(base, n);
}

static void put_number(struct buf *json, const char *key, double v)
{
    buf_printf(json, ",\"%s\":", key);
    json_put_number(json, v);
}

static void put_perplexity(struct buf *json, const struct examiner *x)
{
    double perplexity = exp(mean(&x->surprise));

    put_number(json, "perplexity", perplexity);
    put_number(json, "perplexity_error", perplexity * error_of(&x->surprise));
    put_number(json, "mean_surprise", mean(&x->surprise));
    put_number(json, "scored_tokens", (double)x->surprise.count);
    if (!x->base)
        return;
    put_number(json, "base_perplexity", exp(mean(&x->base_surprise)));
    put_number(json, "kl_divergence", mean(&x->divergence));
    put_number(json, "kl_divergence_error", error_of(&x->divergence));
    put_number(json, "kl_divergence_largest", x->divergence.largest);
    put_number(json, "same_top_token", (double)x->same_top / (double)x->divergence.count);
}

/* ---- importance ---- */

static struct imatrix_sums *sums_of(struct examiner *x, const struct tensor *w)
{
    const struct gguf *g = &x->serve->model->gguf;

    for (size_t i = 0; i < g->tensor_count; i++)
        if (&g->tensors[i].t == w)
            return x->columns[i].sums ? &x->columns[i] : NULL;
    return NULL;
}

static void observe(void *arg, const struct tensor *w, const float *v)
{
    struct imatrix_sums *s = sums_of(arg, w);

    if (!s)
        return;
    for (size_t i = 0; i < s->columns; i++)
        ((float *)s->sums)[i] += v[i] * v[i];
    s->count++;
}

/* Room for every matrix of a layer.  The output is left out, as llama.cpp does: it gets many bits
 * in any case. */
static int make_sums(struct examiner *x, struct llmos_error *err)
{
    const struct gguf *g = &x->serve->model->gguf;

    x->column_count = g->tensor_count;
    x->columns = mem_zalloc(g->tensor_count, sizeof(*x->columns));
    for (size_t i = 0; x->columns && i < g->tensor_count; i++) {
        const struct gguf_tensor *t = &g->tensors[i];

        if (t->t.n_dims < 2 || !str_starts(t->name, STR("blk.")))
            continue;
        x->columns[i] = (struct imatrix_sums){.name = t->name, .columns = t->t.shape[0]};
        x->columns[i].sums = mem_zalloc(t->t.shape[0], sizeof(float));
        if (!x->columns[i].sums)
            return fail(err, LLMOS_ENOMEM, "no memory for %zu columns", t->t.shape[0]);
    }
    return x->columns ? 0 : fail(err, LLMOS_ENOMEM, "no memory for %zu matrices", x->column_count);
}

static int write_sums(struct examiner *x, struct llmos_error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < x->column_count; i++) {
        struct imatrix_sums s = x->columns[i];

        x->columns[i] = (struct imatrix_sums){.sums = NULL};
        if (s.count > 0)
            x->columns[kept++] = s;
        else
            mem_free((void *)s.sums);
    }
    return imatrix_write(x->serve->output_fd, x->columns, kept, str_of(x->name),
                         (uint32_t)x->chunks, x->chunk_tokens, err);
}

/* ---- all of it ---- */

static int read_chunk(struct examiner *x, const int32_t *tokens, struct llmos_error *err)
{
    size_t n;
    int rc = 0;

    if (x->kind == EVALUATE_IMPORTANCE) {
        evaluator_watch(x->model, tokens, observe, x);
        x->done += x->chunk_tokens;
        return say_progress(x, err);
    }
    evaluator_begin(x->model, tokens);
    if (x->base)
        evaluator_begin(x->base, tokens);
    while (rc == 0 && (n = evaluator_next(x->model)) > 0) {
        if (x->base)
            evaluator_next(x->base);
        for (size_t i = 0; i < n; i++)
            score(x, i);
        x->done += n;
        rc = say_progress(x, err);
    }
    x->done += x->chunk_tokens - x->done % x->chunk_tokens;
    return rc;
}

static int tokenize(struct examiner *x, struct str text, struct llmos_error *err)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(x->serve->model);
    long n = llmos_tokenize(t, text.at, text.len, LLMOS_TOKENIZE_ADD_BOS, NULL, 0, err);

    if (n < 0)
        return (int)n;
    x->tokens = mem_zalloc((size_t)n + 1, sizeof(*x->tokens));
    if (!x->tokens)
        return fail(err, LLMOS_ENOMEM, "no memory for %ld tokens", n);
    n = llmos_tokenize(t, text.at, text.len, LLMOS_TOKENIZE_ADD_BOS, x->tokens, (size_t)n, err);
    x->token_count = n < 0 ? 0 : (size_t)n;
    x->chunks = x->token_count / x->chunk_tokens;
    if (x->chunks_max && x->chunks > x->chunks_max)
        x->chunks = x->chunks_max;
    if (n >= 0 && x->chunks == 0)
        return fail(err, LLMOS_EINVAL,
                    "the text has %ld tokens, one chunk needs %u; try a longer text or a smaller "
                    "--context",
                    n, x->chunk_tokens);
    return n < 0 ? (int)n : 0;
}

static int create(struct examiner *x, struct evaluator **e, const llmos_model *m,
                  struct llmos_error *err)
{
    const struct evaluate_options o = {.threads = x->serve->threads,
                                       .chunk_tokens = x->chunk_tokens,
                                       .kv_type = DTYPE_F16,
                                       .memory_max_bytes = x->serve->memory_left_bytes};

    return evaluator_create(e, m, &o, err);
}

static int check_base(const struct serve *s, struct llmos_error *err)
{
    uint32_t of_base = s->draft->hparams.n_vocab, own = s->model->hparams.n_vocab;

    if (of_base != own)
        return fail(err, LLMOS_EINVAL,
                    "the base model has %u tokens, this one %u: they cannot be compared", of_base,
                    own);
    return 0;
}

static int prepare(struct examiner *x, struct str text, struct llmos_error *err)
{
    const struct serve *s = x->serve;
    int rc = tokenize(x, text, err);

    if (rc == 0)
        rc = create(x, &x->model, s->model, err);
    if (rc == 0 && x->kind == EVALUATE_IMPORTANCE) {
        rc = make_sums(x, err);
    } else if (rc == 0 && s->draft) {
        rc = check_base(s, err);
        if (rc == 0)
            rc = create(x, &x->base, s->draft, err);
    }
    return rc;
}

static int report(struct examiner *x, struct llmos_error *err)
{
    struct buf json;
    int rc;

    buf_init(&json, 65536);
    buf_printf(&json, "{\"tokens\":%zu,\"context\":%u,\"chunks\":%zu", x->token_count,
               x->chunk_tokens, x->chunks);
    if (x->kind == EVALUATE_PERPLEXITY)
        put_perplexity(&json, x);
    buf_putc(&json, '}');
    rc = buf_check(&json, "the report", err);
    if (rc == 0)
        rc = serve_say_data(x->serve, x->id, buf_str(&json), err);
    buf_fini(&json);
    return rc;
}

static void fini(struct examiner *x)
{
    evaluator_destroy(x->model);
    evaluator_destroy(x->base);
    for (size_t i = 0; x->columns && i < x->column_count; i++)
        mem_free((void *)x->columns[i].sums);
    mem_free(x->columns);
    mem_free(x->tokens);
}

static uint32_t chunk_of(const struct serve *s, uint32_t wanted)
{
    uint32_t trained = s->model->hparams.n_ctx_train;

    return wanted ? wanted : trained < CHUNK_DEFAULT ? trained : CHUNK_DEFAULT;
}

int examiner_run(struct serve *s, uint64_t id, const struct message_evaluate *want,
                 struct llmos_error *err)
{
    struct examiner x = {.serve = s,
                         .id = id,
                         .kind = want->kind,
                         .chunk_tokens = chunk_of(s, want->chunk_tokens),
                         .chunks_max = want->chunks_max};
    int rc;

    memcpy(x.name, want->name.at, want->name.len); /* the message goes with the next one */
    rc = prepare(&x, want->text, err);
    for (size_t i = 0; rc == 0 && i < x.chunks; i++)
        rc = read_chunk(&x, x.tokens + i * x.chunk_tokens, err);
    if (rc == 0 && x.kind == EVALUATE_IMPORTANCE)
        rc = write_sums(&x, err);
    if (rc == 0)
        rc = report(&x, err);
    fini(&x);
    return rc;
}
