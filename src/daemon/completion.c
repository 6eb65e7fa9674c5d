/* SPDX-License-Identifier: Apache-2.0 */
/* completion.c - see completion.h */
#include "daemon/completion.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "net/sse.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#define ARENA_FACTOR   8          /* strings once, a control character as six; slices, some air */
#define ARENA_LEAST    (4u << 20) /* 128 sequences with 128 calls each, and a grammar */
#define EVENT_MAX      (8u << 20) /* a frame of 1 MiB, all of it escaped */
#define MEMORY_SECONDS 5          /* after which a client may try again */

struct choice {
    struct ask ask;
    struct completion *job;
    struct message_generate generate;
    uint32_t index; /* of the sequence: prompt * best_of + number */
    bool has_begun; /* its first event was written */
    bool is_done, is_repeated;
    const char *finish;
    struct message_done counts;
    struct buf text;
    struct reply_logprobs logprobs;
    struct toolcall_parser parser; /* format NULL: answers have no calls */
    struct call *calls;            /* whole answers: those found so far */
    uint32_t call_count;
    struct buf arguments; /* of all of them */
};

struct call {
    char id[REPLY_CALL_ID_BYTES + 1];
    struct str name;
    size_t from; /* in the arguments */
};

struct completion {
    atomic_int refs; /* ours, and one for each letter on its way to an engine */
    struct arena arena;
    struct completions *all;
    struct completion *next, **link;
    struct server_request *http; /* NULL: the client has gone, or has its answer */
    struct openai_request request;
    struct reply_head head;
    struct served *model;
    struct choice *choices;
    uint32_t choice_count, done_count;
    bool is_streaming; /* something was sent */
    bool is_first_heard;
    uint64_t start_ns;
};

/* --- lifetime --------------------------------------------------------------------------------- */

static void hold(void *owner)
{
    struct completion *j = owner;

    atomic_fetch_add(&j->refs, 1);
}

static void release(void *owner)
{
    struct completion *j = owner;

    if (atomic_fetch_sub(&j->refs, 1) > 1)
        return;
    arena_fini(&j->arena);
    mem_free(j);
}

static struct completion *job_new(struct completions *all, struct server_request *r)
{
    struct completion *j = mem_zalloc(1, sizeof(*j));

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
static void job_end(struct completion *j)
{
    for (uint32_t i = 0; i < j->choice_count; i++) {
        struct choice *c = &j->choices[i];

        supervise_cancel(&c->ask);
        buf_fini(&c->text);
        buf_fini(&c->arguments);
        toolcall_fini(&c->parser);
        reply_logprobs_fini(&c->logprobs);
    }
    if (j->model)
        histogram_add(&j->model->duration, clock_seconds_since(j->start_ns));
    *j->link = j->next;
    if (j->next)
        j->next->link = j->link;
    j->all->count--;
    release(j);
}

/* --- refusals and failures -------------------------------------------------------------------- */

void completion_refuse(struct server_request *r, const struct openai_fault *fault,
                       unsigned retry_seconds)
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

void completion_unknown_model(struct openai_fault *fault, struct str name)
{
    *fault = (struct openai_fault){0};
    json_fault(&fault->what, LLMOS_ENOTFOUND, "", "model",
               "there is no model '%.*s' here; GET /v1/models lists those there are",
               STR_ARG(name));
    openai_fault_of(fault, LLMOS_ENOTFOUND);
}

static void job_fail(struct completion *j, const struct openai_fault *fault)
{
    struct buf out;

    if (j->model)
        j->model->failures++;
    if (j->http && j->is_streaming) {
        buf_init(&out, 1 << 16);
        reply_event_error(&out, fault);
        server_stream_put(j->http, buf_str(&out));
        server_stream_end(j->http);
        buf_fini(&out);
    } else if (j->http) {
        completion_refuse(j->http, fault, j->model ? supervise_retry_seconds(j->model) : 1);
    }
    j->http = NULL;
    job_end(j);
}

static void job_fail_code(struct completion *j, int code, struct str text)
{
    struct openai_fault fault = {0};

    fail(&fault.what.err, code, "%.*s", STR_ARG(text));
    if (code == LLMOS_ECONTEXT)
        snprintf(fault.what.param, sizeof(fault.what.param), "%s",
                 j->request.is_chat ? "messages" : "prompt");
    openai_fault_of(&fault, code);
    job_fail(j, &fault);
}

static void client_gone(struct server_request *r)
{
    struct completion *j = r->job;

    LOG_DEBUG("http", "client has gone request=%s", r->id);
    j->http = NULL;
    job_end(j);
}

/* --- answers ---------------------------------------------------------------------------------- */

static struct reply_usage usage_of(const struct completion *j)
{
    struct reply_usage u = {0};

    for (uint32_t i = 0; i < j->choice_count; i++) {
        const struct message_done *d = &j->choices[i].counts;

        u.completion_tokens += d->completion_tokens;
        if (i % j->request.best_of == 0) { /* a prompt counts once, however often it is continued */
            u.prompt_tokens += d->prompt_tokens;
            u.cached_tokens += d->cached_tokens;
        }
    }
    return u;
}

/* Which sequence of a prompt is better: the one whose tokens are likelier on average. */
static double goodness(const struct choice *c)
{
    return c->logprobs.count ? c->logprobs.sum / (double)c->logprobs.count : -1e9;
}

/* The k-th best sequence of a prompt; the first wins among equals. */
static const struct choice *kth_best(const struct completion *j, uint32_t prompt, uint32_t k)
{
    const struct choice *group = &j->choices[prompt * j->request.best_of];

    for (uint32_t i = 0; i < j->request.best_of; i++) {
        uint32_t better = 0;

        for (uint32_t o = 0; o < j->request.best_of; o++)
            better += goodness(&group[o]) > goodness(&group[i]) ||
                      (goodness(&group[o]) == goodness(&group[i]) && o < i);
        if (better == k)
            return &group[i];
    }
    return group;
}

/* The calls of one answer, for the reply; into a place for TOOLCALL_CALLS_MAX. */
static void list_calls(const struct choice *c, struct reply_call *out)
{
    for (uint32_t i = 0; i < c->call_count; i++) {
        size_t to = i + 1 < c->call_count ? c->calls[i + 1].from : c->arguments.len;

        memcpy(out[i].id, c->calls[i].id, sizeof(out[i].id));
        out[i].name = c->calls[i].name;
        out[i].arguments =
            (struct str){buf_str(&c->arguments).at + c->calls[i].from, to - c->calls[i].from};
    }
}

static void reply_whole(struct completion *j)
{
    const struct openai_request *q = &j->request;
    struct reply_call calls[TOOLCALL_CALLS_MAX];
    struct reply_usage usage = usage_of(j);
    struct buf out;

    buf_init(&out, SIZE_MAX / 2); /* the parts are bounded */
    reply_begin(&out, &j->head);
    for (uint32_t i = 0; i < q->prompt_count * q->n; i++) {
        const struct choice *c =
            q->best_of > q->n ? kth_best(j, i / q->n, i % q->n) : &j->choices[i];
        const struct reply_choice a = {.index = i,
                                       .text = buf_str(&c->text),
                                       .calls = calls,
                                       .call_count = c->call_count,
                                       .logprobs = q->want_logprobs ? &c->logprobs : NULL,
                                       .finish = c->finish};

        list_calls(c, calls);
        reply_put_choice(&out, &j->head, &a, i == 0);
    }
    reply_end(&out, &usage);
    if (out.bad) {
        buf_fini(&out);
        job_fail_code(j, LLMOS_ENOMEM, STR("no memory for the answer"));
        return;
    }
    server_reply(j->http, 200, "application/json", &out);
    j->http = NULL;
    job_end(j);
}

static void put_event(struct completion *j, struct buf *out)
{
    if (!j->is_streaming) {
        j->is_streaming = true;
        server_stream_start(j->http, SSE_CONTENT_TYPE);
    }
    server_stream_put(j->http, buf_str(out));
}

/* One piece of one sequence: its text or a piece of a call, and its end if finish is set. */
static void stream_event(struct completion *j, struct choice *c, struct str text,
                         const struct reply_call *piece, const char *finish)
{
    const struct reply_choice a = {
        .index = c->index,
        .text = text,
        .logprobs = j->request.want_logprobs && c->logprobs.count ? &c->logprobs : NULL,
        .finish = finish};
    struct buf out;

    buf_init(&out, EVENT_MAX);
    if (!c->has_begun)
        reply_event_role(&out, &j->head, c->index);
    c->has_begun = true;
    if (piece)
        reply_event_call(&out, &j->head, &a, c->call_count - 1, piece);
    else if (text.len || a.logprobs || finish)
        reply_event_text(&out, &j->head, &a);
    put_event(j, &out);
    buf_fini(&out);
    reply_logprobs_clear(&c->logprobs);
}

static void stream_end(struct completion *j)
{
    struct reply_usage usage = usage_of(j);
    struct buf out;

    buf_init(&out, EVENT_MAX);
    if (j->request.include_usage)
        reply_event_usage(&out, &j->head, &usage);
    reply_event_done(&out);
    server_stream_put(j->http, buf_str(&out));
    server_stream_end(j->http);
    buf_fini(&out);
    j->http = NULL;
    job_end(j);
}

/* --- what engines say ------------------------------------------------------------------------- */

/* Letters and digits that nobody foresees. */
static void make_call_id(char *id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    unsigned char random[REPLY_CALL_ID_BYTES];

    if (getrandom(random, sizeof(random), 0) < 0)
        memset(random, 0, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        id[i] = letters[random[i] % (sizeof(letters) - 1)];
    id[sizeof(random)] = '\0';
}

static void hear_call(struct choice *c, enum toolcall_kind kind, struct str text)
{
    struct reply_call piece = {.arguments = STR("")};
    struct completion *j = c->job;

    if (kind == TOOLCALL_BEGIN) {
        struct call *call = &c->calls[c->call_count++];

        make_call_id(call->id);
        call->name = text;
        call->from = c->arguments.len;
        memcpy(piece.id, call->id, sizeof(piece.id));
        piece.name = text;
    } else {
        piece.arguments = text;
    }
    if (j->request.is_stream)
        stream_event(j, c, STR(""), &piece, NULL);
    else
        utf8_put(&c->arguments, piece.arguments);
}

/* What was found in an answer in which there may be calls. */
static void hear_found(void *cookie, enum toolcall_kind kind, uint32_t index, struct str text)
{
    struct choice *c = cookie;

    (void)index; /* they come in order */
    if (kind != TOOLCALL_TEXT)
        hear_call(c, kind, text);
    else if (c->job->request.is_stream)
        stream_event(c->job, c, text, NULL, NULL);
    else
        utf8_put(&c->text, text);
}

/* The opening that stood in the prompt is a part of what is read. */
static void begin_parser(struct choice *c)
{
    c->call_count = 0;
    buf_clear(&c->arguments);
    if (!c->parser.format)
        return;
    toolcall_reset(&c->parser);
    toolcall_put(&c->parser, c->generate.opening);
}

static void hear_text(struct completion *j, struct choice *c, const struct message_text *t)
{
    if (!j->is_first_heard && t->tokens > 0) {
        j->is_first_heard = true;
        histogram_add(&j->model->first_token, clock_seconds_since(j->start_ns));
    }
    if (c->generate.want_logprob)
        reply_logprobs_add(&c->logprobs, j->request.is_chat, t);
    if (c->parser.format)
        toolcall_put(&c->parser, t->text);
    else
        hear_found(c, TOOLCALL_TEXT, 0, t->text);
    if (c->text.bad || c->arguments.bad || reply_logprobs_bad(&c->logprobs) ||
        !toolcall_is_good(&c->parser))
        job_fail_code(j, LLMOS_ENOMEM,
                      STR("the answer is larger than this server keeps; ask for a stream"));
}

/* An answer that has its last call needs no other end. */
static const char *finish_of(const struct choice *c, const struct message_done *d)
{
    bool has_all = c->call_count && c->call_count == c->parser.calls_max;

    if (c->call_count && !c->parser.is_open && (d->finish == FINISH_STOP || has_all))
        return "tool_calls";
    return d->finish == FINISH_LENGTH ? "length" : "stop";
}

static void hear_done(struct completion *j, struct choice *c, const struct message_done *d)
{
    if (d->finish == FINISH_CANCELED) {
        job_fail_code(j, LLMOS_EINTERNAL, STR("the engine gave up this request"));
        return;
    }
    if (c->parser.format)
        toolcall_end(&c->parser);
    c->finish = finish_of(c, d);
    c->counts = *d;
    c->is_done = true;
    j->done_count++;
    if (j->request.is_stream)
        stream_event(j, c, STR(""), NULL, c->finish);
    if (j->done_count < j->choice_count)
        return;
    if (j->request.is_stream)
        stream_end(j);
    else
        reply_whole(j);
}

static void hear(struct ask *a, const struct message *m)
{
    struct choice *c = (struct choice *)a; /* its first member */
    struct completion *j = c->job;

    if (m->type == MESSAGE_TEXT)
        hear_text(j, c, &m->text);
    else if (m->type == MESSAGE_DONE)
        hear_done(j, c, &m->done);
    else
        job_fail_code(j, m->error.code < 0 ? m->error.code : LLMOS_EINTERNAL, m->error.text);
}

static bool lost(struct ask *a, const char *why, bool will_return)
{
    struct choice *c = (struct choice *)a;
    struct completion *j = c->job;
    char text[300];

    if (will_return && !j->is_streaming && !c->is_repeated) {
        c->is_repeated = true;
        buf_clear(&c->text);
        reply_logprobs_clear(&c->logprobs);
        begin_parser(c);
        return true;
    }
    snprintf(text, sizeof(text), "model '%s' died: %s", j->model->name, why);
    job_fail_code(j, LLMOS_ECLOSED, str_of(text));
    return false;
}

/* --- start ------------------------------------------------------------------------------------ */

static int make_choices(struct completion *j, struct llmos_error *err)
{
    const struct openai_request *q = &j->request;
    uint32_t count = q->prompt_count * q->best_of;
    uint64_t seed = q->prompts[0].seed;

    if (!q->has_seed && getrandom(&seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return fail_errno(err, "no random numbers");
    j->choices = arena_array(&j->arena, struct choice, count);
    if (!j->choices)
        return fail(err, LLMOS_ENOMEM, "no memory for %u sequences", count);
    for (uint32_t i = 0; i < count; i++) {
        struct choice *c = &j->choices[i];

        c->job = j;
        c->index = i;
        c->generate = q->prompts[i / q->best_of];
        c->parser = q->calls;
        c->parser.hear = hear_found;
        c->parser.cookie = c;
        c->generate.seed = seed + i % q->best_of; /* the same seed again gives the same n answers */
        c->ask = (struct ask){.generate = &c->generate,
                              .hear = hear,
                              .lost = lost,
                              .hold = hold,
                              .release = release,
                              .owner = j};
        buf_init(&c->text, j->all->reply_max_bytes);
        buf_init(&c->arguments, j->all->reply_max_bytes);
        toolcall_init(&c->parser);
        reply_logprobs_init(&c->logprobs, j->all->reply_max_bytes);
    }
    j->choice_count = count;
    for (uint32_t i = 0; i < count && q->calls.format; i++) {
        j->choices[i].calls = arena_array(&j->arena, struct call, TOOLCALL_CALLS_MAX);
        if (!j->choices[i].calls)
            return fail(err, LLMOS_ENOMEM, "no memory for %u sequences", count);
        begin_parser(&j->choices[i]);
    }
    return 0;
}

static void make_head(struct completion *j)
{
    uint64_t random[2] = {0, 0};

    if (getrandom(random, sizeof(random), 0) < 0)
        random[0] = clock_ns();
    j->head = (struct reply_head){
        .is_chat = j->request.is_chat, .created = (int64_t)time(NULL), .model = j->request.model};
    snprintf(j->head.id, sizeof(j->head.id), "%s-%016llx%08x",
             j->request.is_chat ? "chatcmpl" : "cmpl", (unsigned long long)random[0],
             (unsigned)random[1]);
}

/* All asks or none: a queue with room for half of them is full. */
static int ask_all(struct completion *j, struct llmos_error *err)
{
    if (j->model->asks == 0 && !supervise_has_room(j->model, j->choice_count))
        return fail(err, LLMOS_ELIMIT, "%u sequences at a time are more than model '%s' takes",
                    j->choice_count, j->model->name);
    if (!supervise_has_room(j->model, j->choice_count))
        return fail(err, LLMOS_EBUSY, "model '%s' has %u requests already; try again later",
                    j->model->name, j->model->asks);
    for (uint32_t i = 0; i < j->choice_count; i++) {
        int rc = supervise_ask(j->model, &j->choices[i].ask, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static const struct toolcall_format *tool_format(void *owner, struct str model)
{
    const struct completions *all = owner;
    const struct served *m = supervise_find(all->supervisor, model);

    return m && m->was_ready ? toolcall_format_of(m->ready.tool_format) : NULL;
}

static int prepare(struct completion *j, bool is_chat, struct openai_fault *fault)
{
    struct completions *all = j->all;
    const struct openai_models models = {tool_format, all};
    int rc;

    rc = openai_parse(&j->request, is_chat, j->http->body, &all->json, &models, &j->arena, fault);
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
    if (j->model->options.setup.purpose == PURPOSE_ENCODE) {
        rc = json_fault(&fault->what, LLMOS_EUNSUPPORTED, "", "model",
                        "model '%s' is served as an encoder; /v1/embeddings makes vectors with it",
                        j->model->name);
        openai_fault_of(fault, rc);
        return rc;
    }
    make_head(j);
    if (j->request.ignored[0])
        server_add_header(j->http, "x-llmos-ignored", j->request.ignored);
    rc = make_choices(j, &fault->what.err);
    if (rc == 0)
        rc = ask_all(j, &fault->what.err);
    if (rc < 0)
        openai_fault_of(fault, rc);
    return rc;
}

void completion_start(struct completions *all, struct server_request *r, bool is_chat)
{
    struct openai_fault fault = {0};
    struct completion *j = job_new(all, r);
    int rc;

    if (!j) {
        fail(&fault.what.err, LLMOS_ENOMEM, "no memory for the request");
        openai_fault_of(&fault, LLMOS_ENOMEM);
        completion_refuse(r, &fault, MEMORY_SECONDS);
        return;
    }
    r->job = j;
    r->gone = client_gone;
    rc = prepare(j, is_chat, &fault);
    if (j->model)
        j->model->requests++;
    if (rc == LLMOS_EBUSY && j->model)
        j->model->refusals++;
    if (rc < 0)
        job_fail(j, &fault);
}

void completions_end(struct completions *all, const char *why)
{
    while (all->first)
        job_fail_code(all->first, LLMOS_ECLOSED, str_of(why));
}
