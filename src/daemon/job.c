/* SPDX-License-Identifier: Apache-2.0 */
/* job.c - see job.h */
#include "daemon/job.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "daemon/reply.h"

#include <stdio.h>

#define MEMORY_SECONDS 5 /* after which a client may try again */

/* --- lifetime --------------------------------------------------------------------------------- */

void job_hold(void *job)
{
    struct job *j = job;

    atomic_fetch_add(&j->refs, 1);
}

void job_release(void *job)
{
    struct job *j = job;

    if (atomic_fetch_sub(&j->refs, 1) > 1)
        return;
    arena_fini(&j->arena);
    mem_free(j);
}

static struct job *job_create(struct jobs *all, const struct job_kind *kind,
                              struct server_request *r)
{
    struct job *j = mem_zalloc(1, kind->bytes);

    if (!j)
        return NULL;
    j->kind = kind;
    j->refs = 1;
    arena_init(&j->arena, kind->arena_least + r->body.len * kind->arena_factor);
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

void job_done(struct job *j)
{
    j->http = NULL;
    j->kind->end(j);
    if (j->model)
        histogram_add(&j->model->duration, clock_seconds_since(j->start_ns));
    *j->link = j->next;
    if (j->next)
        j->next->link = j->link;
    j->all->count--;
    job_release(j);
}

static void client_gone(struct server_request *r)
{
    LOG_DEBUG("http", "client has gone request=%s", r->id);
    job_done(r->job);
}

void job_reply(struct job *j, struct buf *out)
{
    if (out->bad) {
        buf_fini(out);
        job_fail_code(j, LLMOS_ENOMEM, STR("no memory for the answer"));
        return;
    }
    server_reply(j->http, 200, "application/json", out);
    job_done(j);
}

/* --- refusals and failures -------------------------------------------------------------------- */

void job_refuse(struct server_request *r, const struct openai_fault *fault, unsigned retry_seconds)
{
    char seconds[16];
    struct buf body;

    buf_init(&body, 1 << 16);
    reply_error(&body, fault);
    if (fault->status == 429 || fault->status == 503) {
        snprintf(seconds, sizeof(seconds), "%u", retry_seconds ? retry_seconds : 1);
        server_add_header(r, "retry-after", seconds);
    }
    server_reply(r, fault->status, "application/json", &body);
}

void job_unknown_model(struct openai_fault *fault, struct str name)
{
    *fault = (struct openai_fault){0};
    json_fault(&fault->what, LLMOS_ENOTFOUND, "", "model",
               "there is no model '%.*s' here; GET /v1/models lists those there are",
               STR_ARG(name));
    openai_fault_of(fault, LLMOS_ENOTFOUND);
}

static void job_fail(struct job *j, const struct openai_fault *fault)
{
    if (j->model)
        j->model->failures++;
    if (j->http && !(j->kind->breaks_off && j->kind->breaks_off(j, fault)))
        job_refuse(j->http, fault, j->model ? supervise_retry_seconds(j->model) : 1);
    job_done(j);
}

void job_fail_code(struct job *j, int code, struct str text)
{
    struct openai_fault fault = {0};

    fail(&fault.what.err, code, "%.*s", STR_ARG(text));
    if (code == LLMOS_ECONTEXT)
        snprintf(fault.what.param, sizeof(fault.what.param), "%s", j->kind->context_param);
    openai_fault_of(&fault, code);
    job_fail(j, &fault);
}

void job_fail_heard(struct job *j, const struct message *m)
{
    job_fail_code(j, m->error.code < 0 ? m->error.code : LLMOS_EINTERNAL, m->error.text);
}

void job_fail_lost(struct job *j, const char *why)
{
    char text[300];

    snprintf(text, sizeof(text), "model '%s' died: %s", j->model->name, why);
    job_fail_code(j, LLMOS_ECLOSED, str_of(text));
}

/* --- start ------------------------------------------------------------------------------------ */

static int prepare(struct job *j, struct openai_fault *fault)
{
    struct str model;
    int rc = j->kind->parse(j, &model, fault);

    if (rc < 0)
        return rc;
    if (j->all->is_draining) {
        rc = json_fault(&fault->what, LLMOS_ECLOSED, "", "", "the server is shutting down");
        openai_fault_of(fault, rc);
        return rc;
    }
    j->model = supervise_find(j->all->supervisor, model);
    if (!j->model) {
        job_unknown_model(fault, model);
        return LLMOS_ENOTFOUND;
    }
    rc = j->kind->begin(j, fault);
    if (rc < 0)
        openai_fault_of(fault, rc);
    return rc;
}

void job_start(struct jobs *all, const struct job_kind *kind, struct server_request *r)
{
    struct openai_fault fault = {0};
    struct job *j = job_create(all, kind, r);
    int rc;

    if (!j) {
        fail(&fault.what.err, LLMOS_ENOMEM, "no memory for the request");
        openai_fault_of(&fault, LLMOS_ENOMEM);
        job_refuse(r, &fault, MEMORY_SECONDS);
        return;
    }
    r->job = j;
    r->gone = client_gone;
    rc = prepare(j, &fault);
    if (j->model)
        j->model->requests++;
    if (rc == LLMOS_EBUSY && j->model)
        j->model->refusals++;
    if (rc < 0)
        job_fail(j, &fault);
}

void jobs_end(struct jobs *all, const char *why)
{
    while (all->first)
        job_fail_code(all->first, LLMOS_ECLOSED, str_of(why));
}
