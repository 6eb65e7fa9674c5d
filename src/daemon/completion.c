/* SPDX-License-Identifier: Apache-2.0 */
/* completion.c - see completion.h */
#include "daemon/completion.h"

#include "base/clock.h"
#include "base/utf8.h"
#include "daemon/reply.h"
#include "net/sse.h"

#include <stdio.h>
#include <sys/random.h>
#include <time.h>

#define ARENA_FACTOR 8          /* strings once, a control character as six; slices, some air */
#define ARENA_LEAST  (4u << 20) /* 128 sequences with 128 calls each, and a grammar */
#define EVENT_MAX    (8u << 20) /* a frame of 1 MiB, all of it escaped */

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
    struct buf thought;
    struct thought_parser thoughts; /* format NULL: they are not told apart */
    struct toolcall_parser parser;  /* format NULL: answers have no calls */
    struct call *calls;             /* whole answers: those found so far */
    uint32_t call_count;
    struct buf arguments; /* of all of them */
};

struct call {
    char id[REPLY_CALL_ID_MAX + 1];
    struct str name;
    size_t from; /* in the arguments */
};

struct completion {
    struct job job;
    struct openai_request request;
    struct reply_head head;
    struct choice *choices;
    uint32_t choice_count, done_count;
    bool is_streaming; /* something was sent */
    bool is_first_heard;
};

/* --- lifetime --------------------------------------------------------------------------------- */

static void end(struct job *j)
{
    struct completion *t = (struct completion *)j; /* its first member */

    for (uint32_t i = 0; i < t->choice_count; i++) {
        struct choice *c = &t->choices[i];

        supervise_cancel(&c->ask);
        buf_fini(&c->text);
        buf_fini(&c->thought);
        buf_fini(&c->arguments);
        thought_fini(&c->thoughts);
        toolcall_fini(&c->parser);
        reply_logprobs_fini(&c->logprobs);
    }
}

static bool breaks_off(struct job *j, const struct openai_fault *fault)
{
    struct buf out;

    if (!((struct completion *)j)->is_streaming)
        return false;
    buf_init(&out, 1 << 16);
    reply_event_error(&out, fault);
    server_stream_put(j->http, buf_str(&out));
    server_stream_end(j->http);
    buf_fini(&out);
    return true;
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
                                       .thought = buf_str(&c->thought),
                                       .calls = calls,
                                       .call_count = c->call_count,
                                       .logprobs = q->want_logprobs ? &c->logprobs : NULL,
                                       .finish = c->finish};

        list_calls(c, calls);
        reply_put_choice(&out, &j->head, &a, i == 0);
    }
    reply_end(&out, &usage);
    job_reply(&j->job, &out);
}

static void put_event(struct completion *j, struct buf *out)
{
    if (!j->is_streaming) {
        j->is_streaming = true;
        server_stream_start(j->job.http, SSE_CONTENT_TYPE);
    }
    server_stream_put(j->job.http, buf_str(out));
}

/* One piece of one sequence: its text, thought or a piece of a call, and its end if finish is set.
 */
static void stream_event(struct completion *j, struct choice *c, struct str text,
                         struct str thought, const struct reply_call *piece, const char *finish)
{
    const struct reply_choice a = {
        .index = c->index,
        .text = text,
        .thought = thought,
        .logprobs = j->request.want_logprobs && c->logprobs.count ? &c->logprobs : NULL,
        .finish = finish};
    struct buf out;

    buf_init(&out, EVENT_MAX);
    if (!c->has_begun)
        reply_event_role(&out, &j->head, c->index);
    c->has_begun = true;
    if (piece)
        reply_event_call(&out, &j->head, &a, c->call_count - 1, piece);
    else if (text.len || thought.len || a.logprobs || finish)
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
    server_stream_put(j->job.http, buf_str(&out));
    server_stream_end(j->job.http);
    buf_fini(&out);
    job_done(&j->job);
}

/* --- what engines say ------------------------------------------------------------------------- */

/* Letters and digits that nobody foresees: nine, since templates of Mistral take no other length.
 */
static void put_random_id(char *id)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    unsigned char random[9];

    if (getrandom(random, sizeof(random), 0) < 0)
        memset(random, 0, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        id[i] = letters[random[i] % (sizeof(letters) - 1)];
    id[sizeof(random)] = '\0';
}

static void make_call_id(const struct choice *c, struct str name, char *id)
{
    const struct openai_request *q = &c->job->request;
    const char *form = q->calls.format->id;

    if (form)
        snprintf(id, REPLY_CALL_ID_MAX + 1, "%s%.*s:%u", form, STR_ARG(name),
                 q->calls_before + c->call_count - 1);
    else
        put_random_id(id);
}

static void hear_call(struct choice *c, enum toolcall_kind kind, struct str text)
{
    struct reply_call piece = {.arguments = STR("")};
    struct completion *j = c->job;

    if (kind == TOOLCALL_BEGIN) {
        struct call *call = &c->calls[c->call_count++];

        make_call_id(c, text, call->id);
        call->name = text;
        call->from = c->arguments.len;
        memcpy(piece.id, call->id, sizeof(piece.id));
        piece.name = text;
    } else {
        piece.arguments = text;
    }
    if (j->request.is_stream)
        stream_event(j, c, STR(""), STR(""), &piece, NULL);
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
        stream_event(c->job, c, text, STR(""), NULL, NULL);
    else
        utf8_put(&c->text, text);
}

static void hear_thought(void *cookie, bool is_thought, struct str text)
{
    struct choice *c = cookie;

    if (!is_thought && c->parser.format)
        toolcall_put(&c->parser, text);
    else if (!is_thought)
        hear_found(c, TOOLCALL_TEXT, 0, text);
    else if (c->job->request.hides_thoughts)
        return;
    else if (c->job->request.is_stream)
        stream_event(c->job, c, STR(""), text, NULL, NULL);
    else
        utf8_put(&c->thought, text);
}

/* From the beginning of the answer. */
static void begin_parsers(struct choice *c)
{
    c->call_count = 0;
    buf_clear(&c->text);
    buf_clear(&c->thought);
    buf_clear(&c->arguments);
    thought_reset(&c->thoughts);
    toolcall_reset(&c->parser);
}

static void hear_text(struct completion *j, struct choice *c, const struct message_text *t)
{
    if (!j->is_first_heard && t->tokens > 0) {
        j->is_first_heard = true;
        histogram_add(&j->job.model->first_token, clock_seconds_since(j->job.start_ns));
    }
    if (c->generate.want_logprob)
        reply_logprobs_add(&c->logprobs, j->request.is_chat, t);
    if (t->text.len)
        thought_put(&c->thoughts, t->text);
    else if (!c->parser.format)
        hear_found(c, TOOLCALL_TEXT, 0, t->text);
    if (c->text.bad || c->thought.bad || c->arguments.bad || !thought_is_good(&c->thoughts) ||
        reply_logprobs_bad(&c->logprobs) || !toolcall_is_good(&c->parser))
        job_fail_code(&j->job, LLMOS_ENOMEM,
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
        job_fail_code(&j->job, LLMOS_EINTERNAL, STR("the engine gave up this request"));
        return;
    }
    thought_end(&c->thoughts);
    if (c->parser.format)
        toolcall_end(&c->parser);
    c->finish = finish_of(c, d);
    c->counts = *d;
    c->is_done = true;
    j->done_count++;
    if (j->request.is_stream)
        stream_event(j, c, STR(""), STR(""), NULL, c->finish);
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
        job_fail_heard(&j->job, m);
}

static bool lost(struct ask *a, const char *why, bool will_return)
{
    struct choice *c = (struct choice *)a;
    struct completion *j = c->job;

    if (will_return && !j->is_streaming && !c->is_repeated) {
        c->is_repeated = true;
        reply_logprobs_clear(&c->logprobs);
        begin_parsers(c);
        return true;
    }
    job_fail_lost(&j->job, why);
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
    j->choices = arena_array(&j->job.arena, struct choice, count);
    if (!j->choices)
        return fail(err, LLMOS_ENOMEM, "no memory for %u sequences", count);
    for (uint32_t i = 0; i < count; i++) {
        struct choice *c = &j->choices[i];

        c->job = j;
        c->index = i;
        c->generate = q->prompts[i / q->best_of];
        c->thoughts =
            (struct thought_parser){.format = q->thoughts, .hear = hear_thought, .cookie = c};
        c->parser = q->calls;
        c->parser.hear = hear_found;
        c->parser.cookie = c;
        c->generate.seed = seed + i % q->best_of; /* the same seed again gives the same n answers */
        c->ask = (struct ask){.generate = &c->generate,
                              .hear = hear,
                              .lost = lost,
                              .hold = job_hold,
                              .release = job_release,
                              .owner = j};
        buf_init(&c->text, j->job.all->reply_max_bytes);
        buf_init(&c->thought, j->job.all->reply_max_bytes);
        buf_init(&c->arguments, j->job.all->reply_max_bytes);
        thought_init(&c->thoughts);
        toolcall_init(&c->parser);
        reply_logprobs_init(&c->logprobs, j->job.all->reply_max_bytes);
    }
    j->choice_count = count;
    for (uint32_t i = 0; i < count && q->calls.format; i++) {
        j->choices[i].calls = arena_array(&j->job.arena, struct call, TOOLCALL_CALLS_MAX);
        if (!j->choices[i].calls)
            return fail(err, LLMOS_ENOMEM, "no memory for %u sequences", count);
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
    if (j->job.model->asks == 0 && !supervise_has_room(j->job.model, j->choice_count))
        return fail(err, LLMOS_ELIMIT, "%u sequences at a time are more than model '%s' takes",
                    j->choice_count, j->job.model->name);
    if (!supervise_has_room(j->job.model, j->choice_count))
        return fail(err, LLMOS_EBUSY, "model '%s' has %u requests already; try again later",
                    j->job.model->name, j->job.model->asks);
    for (uint32_t i = 0; i < j->choice_count; i++) {
        int rc = supervise_ask(j->job.model, &j->choices[i].ask, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static const struct callform *tool_format(void *owner, struct str model)
{
    const struct jobs *all = owner;
    const struct served *m = supervise_find(all->supervisor, model);

    return m && m->was_ready ? callform_of(m->ready.tool_format) : NULL;
}

static const struct thought_format *thought_format(void *owner, struct str model)
{
    const struct jobs *all = owner;
    const struct served *m = supervise_find(all->supervisor, model);

    return m && m->was_ready ? thought_format_of(m->ready.thought_format) : NULL;
}

static int parse(struct job *j, bool is_chat, struct str *model, struct openai_fault *fault)
{
    const struct openai_models models = {tool_format, thought_format, j->all};
    struct completion *t = (struct completion *)j;
    int rc =
        openai_parse(&t->request, is_chat, j->http->body, &j->all->json, &models, &j->arena, fault);

    *model = t->request.model;
    return rc;
}

static int parse_chat(struct job *j, struct str *model, struct openai_fault *fault)
{
    return parse(j, true, model, fault);
}

static int parse_text(struct job *j, struct str *model, struct openai_fault *fault)
{
    return parse(j, false, model, fault);
}

static int begin(struct job *job, struct openai_fault *fault)
{
    struct completion *j = (struct completion *)job;
    int rc;

    if (job->model->options.setup.purpose == PURPOSE_ENCODE)
        return json_fault(
            &fault->what, LLMOS_EUNSUPPORTED, "", "model",
            "model '%s' is served as an encoder; /v1/embeddings makes vectors with it",
            job->model->name);
    make_head(j);
    if (j->request.ignored[0])
        server_add_header(job->http, "x-llmos-ignored", j->request.ignored);
    rc = make_choices(j, &fault->what.err);
    return rc < 0 ? rc : ask_all(j, &fault->what.err);
}

#define KIND(of_parse, of_param)                                                        \
    {                                                                                   \
        .bytes = sizeof(struct completion), .arena_least = ARENA_LEAST,                 \
        .arena_factor = ARENA_FACTOR, .context_param = (of_param), .parse = (of_parse), \
        .begin = begin, .breaks_off = breaks_off, .end = end                            \
    }

const struct job_kind completion_of_chat = KIND(parse_chat, "messages");
const struct job_kind completion_of_text = KIND(parse_text, "prompt");
