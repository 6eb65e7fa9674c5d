/* SPDX-License-Identifier: Apache-2.0 */
/* quantize.c - see quantize.h */
#include "model/quantize.h"

#include "base/mem.h"
#include "model/ggufwrite.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define SEGMENT              4096u /* values that are converted at a time, on a thread's stack */
#define SEGMENTS             256u  /* of a round: what all threads convert before it is written */
#define QUANTIZATION_VERSION 2     /* of the block formats: GGUF's key says so */

/* ---- one round: some segments of a tensor ---- */

struct segment_error {
    double squares, size, largest; /* sum of squared errors and values */
};

struct round {
    const struct gguf_tensor *from;
    const struct dtype_info *read, *write;
    const float *importance; /* [expert][column]; NULL: none */
    uint64_t first, count;   /* values, in the tensor as one row; segments do not cross rows */
    unsigned char *out;
    struct segment_error *errors; /* [SEGMENTS] */
};

/* The segment that begins at value `at` ends with its row at the latest. */
static size_t segment_values(const struct round *r, uint64_t at)
{
    uint64_t in_row = r->from->t.shape[0] - at % r->from->t.shape[0];

    return in_row < SEGMENT ? (size_t)in_row : SEGMENT;
}

static const float *importance_at(const struct round *r, uint64_t at)
{
    const size_t *shape = r->from->t.shape;

    if (!r->importance)
        return NULL;
    return r->importance + at / ((uint64_t)shape[0] * shape[1]) * shape[0] + at % shape[0];
}

static struct segment_error convert(const struct round *r, uint64_t at, size_t n)
{
    float x[SEGMENT], back[SEGMENT];
    struct segment_error e = {0, 0, 0};
    unsigned char *to = r->out + (at - r->first) / r->write->block * r->write->block_bytes;
    const char *from = r->from->t.data;

    r->read->to_f32(from + at / r->read->block * r->read->block_bytes, x, n);
    r->write->from_f32(x, importance_at(r, at), to, n);
    r->write->to_f32(to, back, n);
    for (size_t i = 0; i < n; i++) {
        double miss = (double)back[i] - (double)x[i];

        e.squares += miss * miss;
        e.size += (double)x[i] * (double)x[i];
        e.largest = fmax(e.largest, fabs(miss));
    }
    return e;
}

static void round_part(void *arg, unsigned part, unsigned parts)
{
    struct round *r = arg;
    uint64_t at = r->first;

    for (unsigned s = 0; at < r->first + r->count; s++) {
        size_t n = segment_values(r, at);

        if (s % parts == part)
            r->errors[s] = convert(r, at, n);
        at += n;
    }
}

/* Values of at most SEGMENTS segments from `at` on. */
static uint64_t round_values(const struct round *r, uint64_t at, uint64_t total)
{
    uint64_t end = at;

    for (unsigned s = 0; s < SEGMENTS && end < total; s++)
        end += segment_values(r, end);
    return end - at;
}

/* ---- the job ---- */

struct job {
    const struct gguf *g;
    const struct quantize_options *options;
    struct mix_model model;
    struct ggufwrite w;
    unsigned char *out;
    struct segment_error *errors;
    uint64_t done, total; /* bytes of the source */
    struct llmos_error *err;
};

static uint64_t values_of(const struct gguf_tensor *t)
{
    return (uint64_t)t->t.shape[0] * t->t.shape[1] * t->t.shape[2] * t->t.shape[3];
}

static int tell(struct job *j)
{
    int rc = j->options->progress ? j->options->progress(j->options->arg, j->done, j->total) : 0;

    return rc < 0 ? fail(j->err, rc, "quantising was interrupted") : 0;
}

static bool is_float(enum dtype t)
{
    return dtype_info(t)->block == 1;
}

/* The type that the tensor will have. */
static int choose(const struct job *j, const struct gguf_tensor *t, enum dtype *type)
{
    size_t rows = t->t.shape[1] * t->t.shape[2] * t->t.shape[3];

    if (t->dtype < 0)
        return fail(j->err, LLMOS_EUNSUPPORTED,
                    "tensor '%.*s' has a type that this version does not know (number %" PRIu32 ")",
                    STR_ARG(t->name), t->type_id);
    *type = t->t.type;
    if (!mix_changes(t->name, t->t.shape[0], rows))
        return 0;
    *type = mix_type(j->options->mix, &j->model, t->name, t->t.shape[0]);
    if (*type != t->t.type && !is_float(t->t.type) && !j->options->requantize)
        return fail(j->err, LLMOS_EINVAL,
                    "tensor '%.*s' is %s already, and each time something is lost; start from a "
                    "file of f32, f16 or bf16, or say --requantize",
                    STR_ARG(t->name), dtype_info(t->t.type)->name);
    return 0;
}

static int find_importance(const struct job *j, const struct gguf_tensor *t, enum dtype type,
                           const float **values)
{
    const struct imatrix_entry *e;
    uint64_t needed = (uint64_t)t->t.shape[0] * t->t.shape[2] * t->t.shape[3];

    *values = NULL;
    if (!j->options->imatrix || is_float(type))
        return 0;
    e = imatrix_find(j->options->imatrix, t->name);
    if (!e)
        return 0;
    if (e->count != needed)
        return fail(j->err, LLMOS_EFORMAT,
                    "the importance data have %zu columns for '%.*s', the model has %" PRIu64
                    "; they are of another model",
                    e->count, STR_ARG(t->name), needed);
    *values = e->values;
    return 0;
}

static int copy_tensor(struct job *j, const struct gguf_tensor *t)
{
    const char *at = t->t.data;

    for (uint64_t done = 0; done < t->bytes;) {
        uint64_t n = t->bytes - done < (4u << 20) ? t->bytes - done : 4u << 20;
        int rc = ggufwrite_blocks(&j->w, at + done, (size_t)n, j->err);

        done += n;
        j->done += n;
        if (rc == 0)
            rc = tell(j);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Adds up in order: the sums do not depend on threads. */
static void add_errors(const struct round *r, struct segment_error *sum)
{
    uint64_t at = r->first;

    for (unsigned s = 0; at < r->first + r->count; s++) {
        sum->squares += r->errors[s].squares;
        sum->size += r->errors[s].size;
        sum->largest = fmax(sum->largest, r->errors[s].largest);
        at += segment_values(r, at);
    }
}

static int convert_tensor(struct job *j, const struct gguf_tensor *t,
                          struct quantize_result *result, const float *importance)
{
    struct round r = {.from = t,
                      .read = dtype_info(t->t.type),
                      .write = dtype_info(result->type),
                      .importance = importance,
                      .out = j->out,
                      .errors = j->errors};
    struct segment_error sum = {0, 0, 0};
    uint64_t total = values_of(t);

    for (; r.first < total; r.first += r.count) {
        int rc;

        r.count = round_values(&r, r.first, total);
        pool_run(j->options->pool, round_part, &r);
        add_errors(&r, &sum);
        rc = ggufwrite_blocks(&j->w, r.out,
                              (size_t)(r.count / r.write->block * r.write->block_bytes), j->err);
        j->done += r.count / r.read->block * r.read->block_bytes;
        if (rc == 0)
            rc = tell(j);
        if (rc < 0)
            return rc;
    }
    result->rms = sum.size > 0 ? sqrt(sum.squares / sum.size) : 0;
    result->largest = sum.largest;
    return 0;
}

/* A weight that is not a number would be hidden by the block it spoils. */
static int check_result(const struct job *j, const struct quantize_result *r)
{
    if (isfinite(r->rms) && isfinite(r->largest))
        return 0;
    return fail(j->err, LLMOS_EFORMAT,
                "tensor '%.*s' has values that are not numbers, or too large for %s",
                STR_ARG(r->tensor->name), dtype_info(r->type)->name);
}

static int write_tensor(struct job *j, const struct gguf_tensor *t)
{
    struct quantize_result result = {.tensor = t};
    const float *importance = NULL;
    int rc = choose(j, t, &result.type);

    if (rc == 0)
        rc = find_importance(j, t, result.type, &importance);
    if (rc < 0)
        return rc;
    result.is_copy = result.type == t->t.type;
    result.has_importance = importance && !result.is_copy;
    result.bytes =
        values_of(t) / dtype_info(result.type)->block * dtype_info(result.type)->block_bytes;
    rc = result.is_copy ? copy_tensor(j, t) : convert_tensor(j, t, &result, importance);
    if (rc == 0 && !result.is_copy)
        rc = check_result(j, &result);
    if (rc == 0 && j->options->done)
        rc = j->options->done(j->options->arg, &result);
    return rc;
}

/* ---- the head ---- */

/* Keys that say what the file is made of, and are written anew or no longer true. */
static bool is_replaced(struct str key)
{
    return str_is(key, "general.file_type") || str_is(key, "general.quantization_version") ||
           str_is(key, "general.alignment") || str_starts(key, STR("split.")) ||
           str_starts(key, STR("quantize.imatrix."));
}

static int declare(struct job *j)
{
    for (size_t i = 0; i < j->g->value_count; i++)
        if (!is_replaced(j->g->values[i].key))
            ggufwrite_value(&j->w, &j->g->values[i]);
    ggufwrite_u32(&j->w, "general.file_type", j->options->mix->file_type);
    ggufwrite_u32(&j->w, "general.quantization_version", QUANTIZATION_VERSION);
    if (j->options->imatrix) {
        ggufwrite_u32(&j->w, "quantize.imatrix.entries_count",
                      (uint32_t)j->options->imatrix->entry_count);
        ggufwrite_u32(&j->w, "quantize.imatrix.chunks_count", j->options->imatrix->chunks);
    }
    for (size_t i = 0; i < j->g->tensor_count; i++) {
        const struct gguf_tensor *t = &j->g->tensors[i];
        char name[256];
        uint64_t shape[TENSOR_DIMS_MAX];
        enum dtype type;
        int rc = choose(j, t, &type);

        if (rc < 0)
            return rc;
        snprintf(name, sizeof(name), "%.*s", STR_ARG(t->name));
        for (unsigned d = 0; d < TENSOR_DIMS_MAX; d++)
            shape[d] = t->t.shape[d];
        ggufwrite_tensor(&j->w, name, type, shape, t->t.n_dims);
        j->total += t->bytes;
    }
    return ggufwrite_begin(&j->w, j->err);
}

/* "llama.block_count" and the like; what is not there stays 0. */
static uint32_t number_of(const struct gguf *g, const char *what)
{
    struct str architecture = STR("");
    uint64_t v = 0;
    char key[128];

    gguf_get_str(g, "general.architecture", &architecture, NULL);
    snprintf(key, sizeof(key), "%.*s.%s", (int)(architecture.len < 64 ? architecture.len : 64),
             architecture.at, what);
    return gguf_get_u64(g, key, 0, UINT32_MAX, &v, NULL) > 0 ? (uint32_t)v : 0;
}

static int write_all(struct job *j)
{
    int rc = declare(j);

    for (size_t i = 0; rc == 0 && i < j->g->tensor_count; i++)
        rc = write_tensor(j, &j->g->tensors[i]);
    return rc == 0 ? ggufwrite_end(&j->w, j->err) : rc;
}

int quantize_write(int fd, const struct gguf *g, const struct quantize_options *options,
                   struct llmos_error *err)
{
    struct job j = {.g = g, .options = options, .err = err};
    int rc = gguf_check_whole(g, err);

    if (rc < 0)
        return rc;

    j.model = (struct mix_model){.layers = number_of(g, "block_count"),
                                 .heads = number_of(g, "attention.head_count"),
                                 .heads_kv = number_of(g, "attention.head_count_kv"),
                                 .experts = number_of(g, "expert_count"),
                                 .tied_output = !gguf_find_tensor(g, "output.weight"),
                                 .has_importance = options->imatrix != NULL};
    if (!j.model.heads_kv)
        j.model.heads_kv = j.model.heads;
    j.out = mem_alloc((size_t)SEGMENT * SEGMENTS * sizeof(float));
    j.errors = mem_zalloc(SEGMENTS, sizeof(*j.errors));
    ggufwrite_init(&j.w, fd);
    rc = j.out && j.errors ? write_all(&j)
                           : fail(err, LLMOS_ENOMEM, "no memory for a round of quantising");
    ggufwrite_fini(&j.w);
    mem_free(j.out);
    mem_free(j.errors);
    return rc;
}
