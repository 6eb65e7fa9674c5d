/* SPDX-License-Identifier: Apache-2.0 */
/* quantizer.c - see quantizer.h */
#include "engine/quantizer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "model/quantize.h"

#define PROGRESS_EVERY_NS 50000000u
#define REPORT_BYTES_MAX  (60u << 20) /* what the host takes of an answer */

struct quantizer {
    struct serve *serve;
    uint64_t id, said_ns;
    struct buf json;
    uint64_t tensors, bytes, values;
    struct llmos_error why; /* it was stopped; code 0: it was not */
};

static int say_progress(void *arg, uint64_t done, uint64_t total)
{
    struct quantizer *q = arg;
    int rc;

    if (clock_ns() - q->said_ns < PROGRESS_EVERY_NS)
        return 0;
    q->said_ns = clock_ns();
    wire_put(q->serve->wire,
             &(struct message){.type = MESSAGE_PROGRESS, .id = q->id, .progress = {done, total}});
    rc = serve_hear(q->serve, 0, &q->why);
    if (rc == 0 && q->serve->alone_is_canceled)
        rc = fail(&q->why, LLMOS_ECANCELED, "quantising was canceled");
    return rc;
}

static int put_tensor(void *arg, const struct quantize_result *r)
{
    struct quantizer *q = arg;
    const struct tensor *t = &r->tensor->t;

    buf_puts(&q->json, q->tensors++ ? ",{\"name\":" : "{\"name\":");
    json_put_string(&q->json, r->tensor->name);
    buf_printf(&q->json, ",\"from\":\"%s\",\"to\":\"%s\",\"shape\":[", dtype_info(t->type)->name,
               dtype_info(r->type)->name);
    for (unsigned d = 0; d < t->n_dims; d++)
        buf_printf(&q->json, "%s%zu", d ? "," : "", t->shape[d]);
    buf_printf(&q->json, "],\"bytes\":%llu,\"importance\":%s", (unsigned long long)r->bytes,
               r->has_importance ? "true" : "false");
    if (!r->is_copy) {
        buf_puts(&q->json, ",\"rms_error\":");
        json_put_number(&q->json, r->rms);
        buf_puts(&q->json, ",\"largest_error\":");
        json_put_number(&q->json, r->largest);
    }
    buf_putc(&q->json, '}');
    q->bytes += r->bytes;
    q->values += (uint64_t)t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3];
    return 0;
}

static int write_model(struct quantizer *q, const struct gguf *g, struct quantize_options *o,
                       struct llmos_error *err)
{
    uint64_t before = 0;
    int rc;

    buf_printf(&q->json, "{\"type\":\"%s\",\"tensors\":[", o->mix->name);
    rc = quantize_write(q->serve->output_fd, g, o, err);
    for (size_t i = 0; i < g->tensor_count; i++)
        before += g->tensors[i].bytes;
    buf_printf(&q->json, "],\"bytes_before\":%llu,\"bytes\":%llu,\"parameters\":%llu}",
               (unsigned long long)before, (unsigned long long)q->bytes,
               (unsigned long long)q->values);
    if (rc < 0 && q->why.code)
        return fail(err, q->why.code, "%s", q->why.text);
    if (rc == 0)
        rc = buf_check(&q->json, "the report", err);
    return rc == 0 ? serve_say_data(q->serve, q->id, buf_str(&q->json), err) : rc;
}

static int with_importance(struct imatrix *im, const struct serve *s, struct llmos_error *err)
{
    struct file_map map;
    int rc = file_map(&map, s->importance_fd, err);

    if (rc < 0)
        return rc;
    rc = imatrix_parse(im, map.at, map.len, err);
    file_unmap(&map);
    return rc < 0 ? fail_while(err, rc, "importance data") : 0;
}

static int with_model(struct quantizer *q, struct quantize_options *o, struct llmos_error *err)
{
    const struct parts *files = &q->serve->model_files;
    CLEANUP(parts_map) struct parts_map map = {.count = 0};
    struct gguf g;
    int rc = parts_map(&map, files->fds, files->count, err);

    if (rc < 0)
        return rc;
    rc = gguf_parse_parts(&g, map.maps, map.count, err);
    if (rc == 0) {
        rc = pool_create(&o->pool, q->serve->threads, err);
        if (rc == 0)
            rc = write_model(q, &g, o, err);
        pool_destroy(o->pool);
        gguf_fini(&g);
    }
    return rc;
}

int quantizer_run(struct serve *s, uint64_t id, const struct quantizer_job *job,
                  struct llmos_error *err)
{
    struct quantizer q = {.serve = s, .id = id};
    struct imatrix im = {.entries = NULL};
    struct quantize_options o = {.mix = job->mix,
                                 .imatrix = job->has_importance ? &im : NULL,
                                 .requantize = job->requantize,
                                 .done = put_tensor,
                                 .progress = say_progress,
                                 .arg = &q};
    int rc = job->has_importance ? with_importance(&im, s, err) : 0;

    buf_init(&q.json, REPORT_BYTES_MAX);
    if (rc == 0)
        rc = with_model(&q, &o, err);
    buf_fini(&q.json);
    imatrix_fini(&im);
    return rc;
}
