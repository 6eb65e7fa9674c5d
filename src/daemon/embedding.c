/* SPDX-License-Identifier: Apache-2.0 */
/* embedding.c - see embedding.h */
#include "daemon/embedding.h"

#include "base/mem.h"
#include "daemon/vectorapi.h"

#define ARENA_FACTOR 4          /* strings once, lists of tokens, some air */
#define ARENA_LEAST  (2u << 20) /* 2048 texts with what is known of each */
/* Texts of one request that are with the engine: as many as fill its steps if they are short, and
 * no more than a few when others would wait behind them or find no place. */
#define FLYING_LEAST     8
#define FLYING_MAX       128
#define FLYING_BYTES     8192
#define OTHERS_ROOM      64
#define VALUES_BYTES_MAX (64u << 20)
#define REPLY_BYTES_MAX  (4 * (size_t)VALUES_BYTES_MAX) /* 14 letters for a float of 4 bytes */

struct item {
    struct ask ask;
    struct embedding *job;
    bool is_repeated;
};

struct embedding {
    struct job job;
    struct vectorapi_request request;
    struct item *items;
    struct vectorapi_answer *answers;
    float *values;
    uint32_t width, asked, done;
    size_t flying_bytes;
};

static void end(struct job *j)
{
    struct embedding *t = (struct embedding *)j; /* its first member */

    for (uint32_t i = 0; i < t->asked; i++)
        supervise_cancel(&t->items[i].ask);
    mem_free(t->values);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void reply(struct embedding *j)
{
    struct buf out;

    buf_init(&out, REPLY_BYTES_MAX);
    vectorapi_reply(&out, &j->request, j->answers, j->width);
    job_reply(&j->job, &out);
}

static size_t bytes_of(const struct item *item)
{
    const struct message_encode *e = item->ask.encode;

    return e->text.len + e->second.len + e->count * sizeof(*e->tokens);
}

static bool may_ask(const struct embedding *j)
{
    uint32_t flying = j->asked - j->done;

    return flying < FLYING_LEAST || (flying < FLYING_MAX && j->flying_bytes < FLYING_BYTES &&
                                     supervise_has_room(j->job.model, OTHERS_ROOM));
}

/* Further texts, as many as may be with the engine. */
static int ask_more(struct embedding *j, struct llmos_error *err)
{
    while (j->asked < j->request.count && may_ask(j)) {
        int rc = supervise_ask(j->job.model, &j->items[j->asked].ask, err);

        if (rc == LLMOS_EBUSY && j->asked > j->done)
            return 0; /* when the next answer is there, so is its place */
        if (rc < 0)
            return rc;
        j->flying_bytes += bytes_of(&j->items[j->asked++]);
    }
    return 0;
}

static void hear_vector(struct embedding *j, struct item *item, const struct message_vector *v)
{
    struct vectorapi_answer *a = &j->answers[item - j->items];
    struct llmos_error err;

    if (v->width != j->width || v->rows != 1) { /* another life of the model, of another file */
        job_fail_code(&j->job, LLMOS_EINTERNAL, STR("the model has changed"));
        return;
    }
    memcpy(a->values, v->values, j->width * sizeof(float));
    a->tokens = v->tokens;
    j->flying_bytes -= bytes_of(item);
    if (++j->done == j->request.count)
        reply(j);
    else if (ask_more(j, &err) < 0)
        job_fail_code(&j->job, err.code, str_of(err.text));
}

static void hear(struct ask *a, const struct message *m)
{
    struct item *item = (struct item *)a; /* its first member */
    struct embedding *j = item->job;

    if (m->type == MESSAGE_VECTOR)
        hear_vector(j, item, &m->vector);
    else
        job_fail_heard(&j->job, m);
}

static bool lost(struct ask *a, const char *why, bool will_return)
{
    struct item *item = (struct item *)a;

    if (will_return && !item->is_repeated) {
        item->is_repeated = true;
        return true;
    }
    job_fail_lost(&item->job->job, why);
    return false;
}

/* --- start ------------------------------------------------------------------------------------ */

/* Is that a model that can do this?  Its READY says so, while it runs. */
static int check_model(const struct embedding *j, struct openai_fault *fault)
{
    const struct served *m = j->job.model;
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

    j->width = j->request.is_rerank ? 1 : j->job.model->ready.vector_width;
    if ((uint64_t)count * j->width * sizeof(float) > VALUES_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT, "%u vectors of %u numbers are more than a reply holds",
                    count, j->width);
    j->items = arena_array(&j->job.arena, struct item, count);
    j->answers = arena_array(&j->job.arena, struct vectorapi_answer, count);
    j->values = mem_zalloc((size_t)count * j->width, sizeof(float));
    if (!j->items || !j->answers || !j->values)
        return fail(err, LLMOS_ENOMEM, "no memory for %u texts", count);
    for (uint32_t i = 0; i < count; i++) {
        j->answers[i].values = j->values + (size_t)i * j->width;
        j->items[i] = (struct item){.job = j,
                                    .ask = {.encode = &j->request.asks[i],
                                            .hear = hear,
                                            .lost = lost,
                                            .hold = job_hold,
                                            .release = job_release,
                                            .owner = j}};
    }
    return 0;
}

static int parse(struct job *j, bool is_rerank, struct str *model, struct openai_fault *fault)
{
    struct embedding *t = (struct embedding *)j;
    int rc =
        vectorapi_parse(&t->request, is_rerank, j->http->body, &j->all->json, &j->arena, fault);

    *model = t->request.model;
    return rc;
}

static int parse_texts(struct job *j, struct str *model, struct openai_fault *fault)
{
    return parse(j, false, model, fault);
}

static int parse_pairs(struct job *j, struct str *model, struct openai_fault *fault)
{
    return parse(j, true, model, fault);
}

static int begin(struct job *job, struct openai_fault *fault)
{
    struct embedding *j = (struct embedding *)job;
    int rc;

    if (j->request.ignored[0])
        server_add_header(job->http, "x-llmos-ignored", j->request.ignored);
    rc = check_model(j, fault);
    if (rc == 0)
        rc = make_items(j, &fault->what.err);
    return rc < 0 ? rc : ask_more(j, &fault->what.err);
}

#define KIND(of_parse, of_param)                                                        \
    {                                                                                   \
        .bytes = sizeof(struct embedding), .arena_least = ARENA_LEAST,                  \
        .arena_factor = ARENA_FACTOR, .context_param = (of_param), .parse = (of_parse), \
        .begin = begin, .end = end                                                      \
    }

const struct job_kind embedding_of_texts = KIND(parse_texts, "input");
const struct job_kind embedding_of_pairs = KIND(parse_pairs, "documents");
