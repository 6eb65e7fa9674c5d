/* SPDX-License-Identifier: Apache-2.0 */
/* embedding.c - see embedding.h */
#include "daemon/embedding.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/completion.h"

#include <stdatomic.h>
#include <stdio.h>

#define ARENA_FACTOR     4          /* strings once, lists of tokens, some air */
#define ARENA_LEAST      (2u << 20) /* 2048 texts with what is known of each */
#define FLYING_MAX       8          /* texts of one request that are with the engine */
#define VALUES_BYTES_MAX (64u << 20)
#define REPLY_BYTES_MAX  (4 * (size_t)VALUES_BYTES_MAX) /* 14 letters for a float of 4 bytes */
#define MEMORY_SECONDS   5                              /* after which a client may try again */

struct item {
    struct ask ask;
    struct embedding *job;
    bool is_repeated;
};

struct embedding {
    atomic_int refs; /* ours, and one for each letter on its way to an engine */
    struct arena arena;
    struct embeddings *all;
    struct embedding *next, **link;
    struct server_request *http; /* NULL: the client has gone, or has its answer */
    struct vectorapi_request request;
    struct served *model;
    struct item *items;
    struct vectorapi_answer *answers;
    float *values;
    uint32_t width, asked, done;
    uint64_t start_ns;
};

/* --- lifetime --------------------------------------------------------------------------------- */

static void hold(void *owner)
{
    struct embedding *j = owner;

    atomic_fetch_add(&j->refs, 1);
}

static void release(void *owner)
{
    struct embedding *j = owner;

    if (atomic_fetch_sub(&j->refs, 1) > 1)
        return;
    arena_fini(&j->arena);
    mem_free(j);
}

static struct embedding *job_new(struct embeddings *all, struct server_request *r)
{
    struct embedding *j = mem_zalloc(1, sizeof(*j));

    if (!j)
        return NULL;
    j->refs = 1;
    arena_init(&j->arena, ARENA_LEAST + r->body.len * ARENA_FACTOR);
    j->all = all;
    j->http = r;
    j->start_ns = clock_ns();
    j->next = all->first;
    j->link = &all->first;
    if (j->next)
        j->next->link = &j->next;
    all->first = j;
    all->count++;
    return j;
}

/* Takes back what is asked and lets go.  The client has its answer, or is gone. */
static void job_end(struct embedding *j)
{
    for (uint32_t i = 0; i < j->asked; i++)
        supervise_cancel(&j->items[i].ask);
    if (j->model)
        histogram_add(&j->model->duration, clock_seconds_since(j->start_ns));
    mem_free(j->values);
    *j->link = j->next;
    if (j->next)
        j->next->link = j->link;
    j->all->count--;
    release(j);
}

static void job_fail(struct embedding *j, const struct openai_fault *fault)
{
    if (j->model)
        j->model->failures++;
    if (j->http)
        completion_refuse(j->http, fault, j->model ? supervise_retry_seconds(j->model) : 1);
    j->http = NULL;
    job_end(j);
}

static void job_fail_code(struct embedding *j, int code, struct str text)
{
    struct openai_fault fault = {0};

    fail(&fault.what.err, code, "%.*s", STR_ARG(text));
    if (code == LLMOS_ECONTEXT)
        snprintf(fault.what.param, sizeof(fault.what.param), "%s",
                 j->request.is_rerank ? "documents" : "input");
    openai_fault_of(&fault, code);
    job_fail(j, &fault);
}

static void client_gone(struct server_request *r)
{
    struct embedding *j = r->job;

    LOG_DEBUG("http", "client has gone request=%s", r->id);
    j->http = NULL;
    job_end(j);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void reply(struct embedding *j)
{
    struct buf out;

    buf_init(&out, REPLY_BYTES_MAX);
    vectorapi_reply(&out, &j->request, j->answers, j->width);
    if (out.bad) {
        buf_fini(&out);
        job_fail_code(j, LLMOS_ENOMEM, STR("no memory for the answer"));
        return;
    }
    server_reply(j->http, 200, "application/json", &out);
    j->http = NULL;
    job_end(j);
}

/* Further texts, as many as may be with the engine. */
static int ask_more(struct embedding *j, struct llmos_error *err)
{
    while (j->asked < j->request.count && j->asked - j->done < FLYING_MAX) {
        int rc = supervise_ask(j->model, &j->items[j->asked].ask, err);

        if (rc == LLMOS_EBUSY && j->asked > j->done)
            return 0; /* when the next answer is there, so is its place */
        if (rc < 0)
            return rc;
        j->asked++;
    }
    return 0;
}

static void hear_vector(struct embedding *j, struct item *item, const struct message_vector *v)
{
    struct vectorapi_answer *a = &j->answers[item - j->items];
    struct llmos_error err;

    if (v->width != j->width || v->rows != 1) { /* another life of the model, of another file */
        job_fail_code(j, LLMOS_EINTERNAL, STR("the model has changed"));
        return;
    }
    memcpy(a->values, v->values, j->width * sizeof(float));
    a->tokens = v->tokens;
    if (++j->done == j->request.count)
        reply(j);
    else if (ask_more(j, &err) < 0)
        job_fail_code(j, err.code, str_of(err.text));
}

static void hear(struct ask *a, const struct message *m)
{
    struct item *item = (struct item *)a; /* its first member */
    struct embedding *j = item->job;

    if (m->type == MESSAGE_VECTOR)
        hear_vector(j, item, &m->vector);
    else
        job_fail_code(j, m->error.code < 0 ? m->error.code : LLMOS_EINTERNAL, m->error.text);
}

static bool lost(struct ask *a, const char *why, bool will_return)
{
    struct item *item = (struct item *)a;
    char text[300];

    if (will_return && !item->is_repeated) {
        item->is_repeated = true;
        return true;
    }
    snprintf(text, sizeof(text), "model '%s' died: %s", item->job->model->name, why);
    job_fail_code(item->job, LLMOS_ECLOSED, str_of(text));
    return false;
}

/* --- start ------------------------------------------------------------------------------------ */

/* Is that a model that can do this?  Its READY says so, while it runs. */
static int check_model(const struct embedding *j, struct openai_fault *fault)
{
    const struct served *m = j->model;
    const struct vectorapi_request *q = &j->request;

    if (m->options.setup.purpose != PURPOSE_ENCODE)
        return json_fault(&fault->what, LLMOS_EUNSUPPORTED, "", "model",
                          "model '%s' is served to generate; serve it with --encoder for this",
                          m->name);
    if (!supervise_answers(m))
        return 0; /* supervise_ask says how it is */
    if (q->is_rerank && (m->ready.label_count != 1 || m->ready.classifier == CLASSIFIER_TOKEN))
        return json_fault(&fault->what, LLMOS_EUNSUPPORTED, "", "model",
                          "model '%s' is no reranker: it does not give a pair of texts one score",
                          m->name);
    if (q->dimensions && q->dimensions != m->ready.vector_width)
        return json_fault(&fault->what, LLMOS_EUNSUPPORTED, "", "dimensions",
                          "'dimensions' is %u, the vectors of model '%s' have %u", q->dimensions,
                          m->name, m->ready.vector_width);
    return 0;
}

static int make_items(struct embedding *j, struct llmos_error *err)
{
    uint32_t count = j->request.count;

    j->width = j->request.is_rerank ? 1 : j->model->ready.vector_width;
    if ((uint64_t)count * j->width * sizeof(float) > VALUES_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT, "%u vectors of %u numbers are more than a reply holds",
                    count, j->width);
    j->items = arena_array(&j->arena, struct item, count);
    j->answers = arena_array(&j->arena, struct vectorapi_answer, count);
    j->values = mem_zalloc((size_t)count * j->width, sizeof(float));
    if (!j->items || !j->answers || !j->values)
        return fail(err, LLMOS_ENOMEM, "no memory for %u texts", count);
    for (uint32_t i = 0; i < count; i++) {
        j->answers[i].values = j->values + (size_t)i * j->width;
        j->items[i] = (struct item){.job = j,
                                    .ask = {.encode = &j->request.asks[i],
                                            .hear = hear,
                                            .lost = lost,
                                            .hold = hold,
                                            .release = release,
                                            .owner = j}};
    }
    return 0;
}

static int prepare(struct embedding *j, bool is_rerank, struct openai_fault *fault)
{
    struct embeddings *all = j->all;
    int rc;

    rc = vectorapi_parse(&j->request, is_rerank, j->http->body, &all->json, &j->arena, fault);
    if (rc < 0)
        return rc;
    if (all->is_draining) {
        rc = json_fault(&fault->what, LLMOS_ECLOSED, "", "", "the server is shutting down");
        openai_fault_of(fault, rc);
        return rc;
    }
    j->model = supervise_find(all->supervisor, j->request.model);
    if (!j->model) {
        completion_unknown_model(fault, j->request.model);
        return LLMOS_ENOTFOUND;
    }
    if (j->request.ignored[0])
        server_add_header(j->http, "x-llmos-ignored", j->request.ignored);
    rc = check_model(j, fault);
    if (rc == 0)
        rc = make_items(j, &fault->what.err);
    if (rc == 0)
        rc = ask_more(j, &fault->what.err);
    if (rc < 0)
        openai_fault_of(fault, rc);
    return rc;
}

void embedding_start(struct embeddings *all, struct server_request *r, bool is_rerank)
{
    struct openai_fault fault = {0};
    struct embedding *j = job_new(all, r);
    int rc;

    if (!j) {
        fail(&fault.what.err, LLMOS_ENOMEM, "no memory for the request");
        openai_fault_of(&fault, LLMOS_ENOMEM);
        completion_refuse(r, &fault, MEMORY_SECONDS);
        return;
    }
    r->job = j;
    r->gone = client_gone;
    rc = prepare(j, is_rerank, &fault);
    if (j->model)
        j->model->requests++;
    if (rc == LLMOS_EBUSY && j->model)
        j->model->refusals++;
    if (rc < 0)
        job_fail(j, &fault);
}

void embeddings_end(struct embeddings *all, const char *why)
{
    while (all->first)
        job_fail_code(all->first, LLMOS_ECLOSED, str_of(why));
}
