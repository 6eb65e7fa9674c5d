/* SPDX-License-Identifier: Apache-2.0 */
/* clients.c - how a server of OpenAI's dialect serves many at once.
 *
 *     clients [OPTIONS] URL
 *
 * Every round N clients begin together, each with a prompt of its own, and stream an answer of
 * exactly G tokens; the round ends with the last of them.  A server that gives fewer tokens, or
 * reads a shorter prompt, is an error: speed is told for work that was done.  With --compare the
 * rounds go around the servers, all with the same prompts. */
#include "quantile.h"
#include "stream.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/rng.h"
#include "cli/table.h"

#include <curl/curl.h>
#include <stdio.h>

#define CLIENTS_MAX  1024
#define SPECIAL      3           /* <unk>, <s>, </s>: no prompt has them in its midst */
#define REQUEST_MAX  (16u << 20) /* a million tokens of a prompt */
#define REPLY_MAX    (1u << 20)
#define SERIES_MAX   (256u << 20)
#define EXCERPT      200 /* bytes of a refusal that are shown */
#define REPORT_MAX   (1u << 20)
#define POLL_MS      1000
#define FIRST_ROUNDS 1 /* not counted: connections, caches, clocks of the processor */

struct options {
    uint32_t clients, prompt, generate, rounds, shared_prefix, vocabulary, timeout_s;
    uint64_t seed;
    struct opt_list compare;
    const char *model;
    bool json;
};

static const struct options defaults = {
    .clients = 8, .prompt = 128, .generate = 64, .rounds = 5, .vocabulary = 256, .timeout_s = 600};

static const struct opt option_table[] = {
    OPT_GROUP("Work"),
    OPT_U32('c', "clients", struct options, clients, "N", 1, CLIENTS_MAX, "clients at once"),
    OPT_U32('p', "prompt", struct options, prompt, "N", 1, 1u << 20,
            "tokens of each prompt, made up"),
    OPT_U32('g', "generate", struct options, generate, "N", 1, 1u << 20, "tokens of each answer"),
    OPT_U32('r', "rounds", struct options, rounds, "N", 1, 10000,
            "rounds that count; one before them does not"),
    OPT_U32(0, "shared-prefix", struct options, shared_prefix, "N", 0, 1u << 20,
            "tokens with which all prompts begin alike; without it they part at the first or "
            "second"),
    OPT_U32(0, "vocabulary", struct options, vocabulary, "N", 8, 1u << 24,
            "token ids of prompts are 3 to N - 1: every model with so many tokens will do"),
    OPT_U64(0, "seed", struct options, seed, "N", 0, 1ull << 53, "the same prompts again",
            .default_text = "others each time, so that no server knows them"),
    OPT_GROUP("Servers"),
    OPT_LIST(0, "compare", struct options, compare, "URL",
             "go around this server too, round by round; may be given several times"),
    OPT_STRING('m', "model", struct options, model, "NAME", "ask every server for this model",
               .default_text = "the first that it lists"),
    OPT_U32(0, "timeout", struct options, timeout_s, "SECONDS", 1, 86400, "for one answer"),
    OPT_GROUP("Output"),
    OPT_FLAG('j', "json", struct options, json, "print one JSON object"),
    OPT_END,
};

static const struct opt_command command = {
    .name = "clients",
    .summary = "measure a server of OpenAI's dialect under the load of many clients",
    .operands = "URL",
    .operand_why = "the address of a server, as in http://127.0.0.1:5000",
    .operands_min = 1,
    .operands_max = 1,
    .description = "Posts streamed /v1/completions and prints tokens per second, the time to the "
                   "first token, and the time between chunks.",
    .examples = "clients http://127.0.0.1:5000\n"
                "clients http://127.0.0.1:5000 --compare http://127.0.0.1:8080 --clients 4",
    .options = option_table,
    .defaults = &defaults,
};

struct client {
    CURL *curl;
    struct buf body;
    struct stream stream;
    uint64_t begun_ns, ended_ns;
    CURLcode code;
    char why[CURL_ERROR_SIZE];
};

struct server {
    const char *url;
    char completions[1024], model[256];
    struct buf rates, first_ms, gaps_ms; /* of doubles */
    uint64_t tokens, chunks, cached;
    bool counts; /* it says how many tokens it made */
};

struct load {
    const struct options *o;
    CURLM *multi;
    struct curl_slist *headers;
    struct client *clients;
    struct server servers[1 + OPT_LIST_MAX];
    unsigned server_count;
};

/* ---- requests ---- */

/* The prompts of one run differ in the first token behind the shared ones, or, where there are more
 * prompts than ids, in the second. */
static void put_prompt(struct buf *out, const struct options *o, uint64_t index)
{
    const uint64_t span = o->vocabulary - SPECIAL, number = o->seed + index;
    struct rng common, own;

    rng_seed(&common, o->seed);
    rng_seed(&own, number ^ (1ull << 60));
    for (uint32_t i = 0; i < o->prompt; i++) {
        uint64_t id = i < o->shared_prefix        ? rng_below(&common, span)
                      : i == o->shared_prefix     ? number % span
                      : i == o->shared_prefix + 1 ? number / span % span
                                                  : rng_below(&own, span);

        buf_printf(out, "%s%llu", i ? "," : "", (unsigned long long)(SPECIAL + id));
    }
}

static int put_request(struct buf *out, const struct options *o, const struct server *s,
                       uint64_t index, struct llmos_error *err)
{
    buf_clear(out);
    buf_puts(out, "{\"model\":");
    json_put_string(out, str_of(s->model));
    buf_puts(out, ",\"prompt\":[");
    put_prompt(out, o, index);
    buf_printf(out,
               "],\"max_tokens\":%u,\"ignore_eos\":true,\"temperature\":0,\"stream\":true,"
               "\"stream_options\":{\"include_usage\":true}}",
               o->generate);
    return buf_check(out, "a request", err);
}

static size_t receive_stream(char *bytes, size_t size, size_t count, void *cookie)
{
    struct client *c = cookie;

    return stream_take(&c->stream, bytes, size * count, clock_ns()) ? size * count : 0;
}

static size_t receive_reply(char *bytes, size_t size, size_t count, void *cookie)
{
    struct buf *reply = cookie;

    buf_put(reply, bytes, size * count);
    return reply->bad ? 0 : size * count;
}

/* What every transfer has in common: nothing but the server is ever asked. */
static CURL *curl_open(const struct load *l, curl_write_callback receive, void *cookie, char *why)
{
    CURL *curl = curl_easy_init();

    if (!curl)
        return NULL;
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)l->o->timeout_s);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, l->headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, cookie);
    return curl;
}

/* 0 if the transfer succeeded and the status is 200. */
static int check_reply(CURL *curl, CURLcode code, const char *why, struct str body,
                       struct llmos_error *err)
{
    long status = 0;

    if (code != CURLE_OK)
        return fail(err, LLMOS_EIO, "%s", *why ? why : curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return fail(err, LLMOS_EIO, "it refuses with status %ld: %.*s", status,
                    (int)(body.len > EXCERPT ? EXCERPT : body.len), body.at);
    return 0;
}

/* ---- which model ---- */

static int first_model(struct str reply, char *model, size_t room, struct llmos_error *err)
{
    const struct json_limits limits = JSON_LIMITS_INIT;
    const char *id;
    json_t *list;
    int rc = json_parse(&list, reply, &limits, err);

    if (rc < 0)
        return fail_while(err, rc, "its list of models");
    id = json_string_value(json_object_get(json_array_get(json_object_get(list, "data"), 0), "id"));
    if (!id || strlen(id) >= room)
        rc = fail(err, LLMOS_EFORMAT, "/v1/models lists no model; try --model");
    else
        memcpy(model, id, strlen(id) + 1);
    json_decref(list);
    return rc;
}

static int ask_model(const struct load *l, struct server *s, struct llmos_error *err)
{
    CLEANUP(buf) struct buf reply = {.limit_bytes = REPLY_MAX};
    char why[CURL_ERROR_SIZE] = "", url[1024];
    CURL *curl = curl_open(l, receive_reply, &reply, why);
    int rc;

    if (!curl)
        return fail(err, LLMOS_ENOMEM, "no memory to ask a server");
    snprintf(url, sizeof(url), "%s/v1/models", s->url);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    rc = check_reply(curl, curl_easy_perform(curl), why, buf_str(&reply), err);
    if (rc == 0)
        rc = first_model(buf_str(&reply), s->model, sizeof(s->model), err);
    curl_easy_cleanup(curl);
    return rc < 0 ? fail_while(err, rc, "server '%s'", s->url) : 0;
}

static int server_init(const struct load *l, struct server *s, const char *url,
                       struct llmos_error *err)
{
    size_t n = strlen(url);

    *s = (struct server){.url = url};
    buf_init(&s->rates, SERIES_MAX);
    buf_init(&s->first_ms, SERIES_MAX);
    buf_init(&s->gaps_ms, SERIES_MAX);
    if (n > 900 || strncmp(url, "http://", 7) != 0 || url[n - 1] == '/')
        return fail(err, LLMOS_EINVAL,
                    "server '%s' is no address like http://127.0.0.1:5000, without a path", url);
    snprintf(s->completions, sizeof(s->completions), "%s/v1/completions", url);
    if (!l->o->model)
        return ask_model(l, s, err);
    snprintf(s->model, sizeof(s->model), "%s", l->o->model);
    return 0;
}

/* ---- a round ---- */

static int begin_all(struct load *l, const struct server *s, uint64_t index,
                     struct llmos_error *err)
{
    for (uint32_t i = 0; i < l->o->clients; i++) {
        struct client *c = &l->clients[i];
        int rc = put_request(&c->body, l->o, s, index + i, err);

        if (rc < 0)
            return rc;
        stream_clear(&c->stream);
        c->why[0] = '\0';
        curl_easy_setopt(c->curl, CURLOPT_URL, s->completions);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.len);
        curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, c->body.at);
    }
    for (uint32_t i = 0; i < l->o->clients; i++) {
        l->clients[i].begun_ns = clock_ns();
        if (curl_multi_add_handle(l->multi, l->clients[i].curl) != CURLM_OK)
            return fail(err, LLMOS_ENOMEM, "no memory for %u clients", l->o->clients);
    }
    return 0;
}

static void end_some(struct load *l)
{
    CURLMsg *m;
    int left;

    while ((m = curl_multi_info_read(l->multi, &left))) {
        struct client *c;

        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        c->ended_ns = clock_ns();
        c->code = m->data.result;
        curl_multi_remove_handle(l->multi, c->curl);
    }
}

static int hear_all(struct load *l, struct llmos_error *err)
{
    int running = 1;

    while (running) {
        CURLMcode code = curl_multi_perform(l->multi, &running);

        end_some(l);
        if (code == CURLM_OK && running)
            code = curl_multi_poll(l->multi, NULL, 0, POLL_MS, NULL);
        if (code != CURLM_OK)
            return fail(err, LLMOS_EIO, "cannot wait for answers: %s", curl_multi_strerror(code));
    }
    return 0;
}

static int check_told(const struct options *o, const struct stream_told *told,
                      struct llmos_error *err)
{
    if (told->tokens != o->generate)
        return fail(err, LLMOS_EFORMAT,
                    "an answer has %llu tokens, %u were asked for (it ended with '%s')%s",
                    (unsigned long long)told->tokens, o->generate, told->finish,
                    told->has_usage ? ""
                                    : "; the server does not say how many it made, so its "
                                      "chunks were counted");
    if (told->prompt_tokens && told->prompt_tokens < o->prompt)
        return fail(err, LLMOS_EFORMAT, "it has read %llu tokens of a prompt of %u",
                    (unsigned long long)told->prompt_tokens, o->prompt);
    if (told->chunks == 0)
        return fail(err, LLMOS_EFORMAT, "an answer of %llu tokens came without a chunk",
                    (unsigned long long)told->tokens);
    return 0;
}

/* One answer into the figures of its server. */
static int add_answer(const struct options *o, struct server *s, const struct client *c,
                      struct llmos_error *err)
{
    struct stream_told told;
    double first_ms;
    int rc = check_reply(c->curl, c->code, c->why, buf_str(&c->stream.bytes), err);

    if (rc == 0)
        rc = stream_read(&c->stream, &told, &s->gaps_ms, err);
    if (rc == 0)
        rc = check_told(o, &told, err);
    if (rc < 0)
        return rc;
    first_ms = (double)(told.first_ns - c->begun_ns) * 1e-6;
    buf_put(&s->first_ms, &first_ms, sizeof(first_ms));
    s->tokens += told.tokens;
    s->chunks += told.chunks;
    s->cached += told.cached_tokens;
    s->counts = told.has_usage;
    return buf_check(&s->first_ms, "the times", err);
}

static int add_round(const struct load *l, struct server *s, struct llmos_error *err)
{
    uint64_t begun = UINT64_MAX, ended = 0, before = s->tokens;
    double rate;

    for (uint32_t i = 0; i < l->o->clients; i++) {
        const struct client *c = &l->clients[i];
        int rc = add_answer(l->o, s, c, err);

        if (rc < 0)
            return rc;
        begun = c->begun_ns < begun ? c->begun_ns : begun;
        ended = c->ended_ns > ended ? c->ended_ns : ended;
    }
    rate = (double)(s->tokens - before) / ((double)(ended - begun) * 1e-9);
    buf_put(&s->rates, &rate, sizeof(rate));
    return buf_check(&s->rates, "the times", err);
}

static void forget(struct server *s)
{
    buf_clear(&s->rates);
    buf_clear(&s->first_ms);
    buf_clear(&s->gaps_ms);
    s->tokens = s->chunks = s->cached = 0;
}

static int run_rounds(struct load *l, struct llmos_error *err)
{
    for (uint32_t round = 0; round < FIRST_ROUNDS + l->o->rounds; round++) {
        for (unsigned i = 0; i < l->server_count; i++) {
            struct server *s = &l->servers[i];
            int rc = begin_all(l, s, (uint64_t)round * l->o->clients, err);

            if (rc == 0)
                rc = hear_all(l, err);
            if (rc == 0)
                rc = add_round(l, s, err);
            if (rc < 0)
                return fail_while(err, rc, "server '%s'", s->url);
            if (round < FIRST_ROUNDS)
                forget(s);
        }
    }
    return 0;
}

/* ---- what comes out ---- */

static double of(const struct buf *series, double part)
{
    return quantile((double *)(void *)series->at, series->len / sizeof(double), part);
}

static double per_chunk(const struct server *s)
{
    return (double)s->tokens / (double)s->chunks;
}

static void put_server_json(struct buf *out, const struct server *s)
{
    buf_puts(out, "{\"url\": ");
    json_put_string(out, str_of(s->url));
    buf_puts(out, ", \"model\": ");
    json_put_string(out, str_of(s->model));
    buf_printf(out,
               ", \"tokens_per_second\": %.3f, \"tokens_per_second_min\": %.3f, "
               "\"tokens_per_second_max\": %.3f, \"first_token_ms_median\": %.3f, "
               "\"first_token_ms_p95\": %.3f, \"between_chunks_ms_median\": %.3f, "
               "\"between_chunks_ms_p95\": %.3f, ",
               of(&s->rates, 0.5), of(&s->rates, 0), of(&s->rates, 1), of(&s->first_ms, 0.5),
               of(&s->first_ms, 0.95), of(&s->gaps_ms, 0.5), of(&s->gaps_ms, 0.95));
    buf_printf(out,
               "\"tokens_per_chunk\": %.3f, \"tokens\": %llu, \"cached_prompt_tokens\": %llu, "
               "\"counted_by\": \"%s\"}",
               per_chunk(s), (unsigned long long)s->tokens, (unsigned long long)s->cached,
               s->counts ? "server" : "chunks");
}

static void put_json(struct buf *out, const struct load *l)
{
    const struct options *o = l->o;

    buf_printf(out,
               "{\"clients\": %u, \"prompt\": %u, \"generate\": %u, \"rounds\": %u, "
               "\"shared_prefix\": %u, \"seed\": %llu, \"servers\": [",
               o->clients, o->prompt, o->generate, o->rounds, o->shared_prefix,
               (unsigned long long)o->seed);
    for (unsigned i = 0; i < l->server_count; i++) {
        buf_puts(out, i ? ", " : "");
        put_server_json(out, &l->servers[i]);
    }
    buf_puts(out, "]}\n");
}

static void put_table(struct buf *out, const struct load *l)
{
    static const char *const titles[] = {"server",       "tokens/s", "min",        "max",
                                         "first ms",     "p95",      "chunk ms",   "p95",
                                         "tokens/chunk", "cached",   "tokens (by)"};
    struct table t;

    table_init(&t);
    for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++)
        table_column(&t, titles[i], i > 0);
    for (unsigned i = 0; i < l->server_count; i++) {
        const struct server *s = &l->servers[i];
        const double values[] = {of(&s->rates, 0.5),     of(&s->rates, 0),
                                 of(&s->rates, 1),       of(&s->first_ms, 0.5),
                                 of(&s->first_ms, 0.95), of(&s->gaps_ms, 0.5),
                                 of(&s->gaps_ms, 0.95),  per_chunk(s)};

        table_cell(&t, str_of(s->url));
        for (size_t v = 0; v < sizeof(values) / sizeof(*values); v++)
            table_cellf(&t, "%.2f", values[v]);
        table_cellf(&t, "%llu", (unsigned long long)s->cached);
        table_cellf(&t, "%llu (%s)", (unsigned long long)s->tokens,
                    s->counts ? "server" : "chunks");
    }
    buf_printf(out, "%u clients, prompts of %u tokens (%u shared), answers of %u, %u rounds\n",
               l->o->clients, l->o->prompt, l->o->shared_prefix, l->o->generate, l->o->rounds);
    table_put(&t, "", out);
    table_fini(&t);
}

/* ---- the program ---- */

static int load_init(struct load *l, const char *url, struct llmos_error *err)
{
    int rc;

    l->multi = curl_multi_init();
    l->headers = curl_slist_append(NULL, "Content-Type: application/json");
    l->clients = mem_zalloc(l->o->clients, sizeof(*l->clients));
    if (!l->multi || !l->headers || !l->clients)
        return fail(err, LLMOS_ENOMEM, "no memory for %u clients", l->o->clients);
    for (uint32_t i = 0; i < l->o->clients; i++) {
        struct client *c = &l->clients[i];

        stream_init(&c->stream);
        buf_init(&c->body, REQUEST_MAX);
        c->curl = curl_open(l, receive_stream, c, c->why);
        if (!c->curl)
            return fail(err, LLMOS_ENOMEM, "no memory for %u clients", l->o->clients);
        curl_easy_setopt(c->curl, CURLOPT_PRIVATE, c);
        curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
    }
    rc = server_init(l, &l->servers[l->server_count++], url, err);
    for (unsigned i = 0; rc == 0 && i < l->o->compare.count; i++)
        rc = server_init(l, &l->servers[l->server_count++], l->o->compare.at[i], err);
    return rc;
}

static void load_fini(struct load *l)
{
    for (uint32_t i = 0; l->clients && i < l->o->clients; i++) {
        struct client *c = &l->clients[i];

        curl_multi_remove_handle(l->multi, c->curl); /* in the midst of an answer after an error */
        curl_easy_cleanup(c->curl);
        buf_fini(&c->body);
        stream_fini(&c->stream);
    }
    for (unsigned i = 0; i < l->server_count; i++) {
        buf_fini(&l->servers[i].rates);
        buf_fini(&l->servers[i].first_ms);
        buf_fini(&l->servers[i].gaps_ms);
    }
    mem_free(l->clients);
    curl_slist_free_all(l->headers);
    curl_multi_cleanup(l->multi);
}

static int measure(const struct options *o, const char *url)
{
    CLEANUP(buf) struct buf out = {.limit_bytes = REPORT_MAX};
    struct llmos_error err = {0};
    static struct load l;
    int rc;

    l.o = o;
    rc = load_init(&l, url, &err);
    if (rc == 0)
        rc = run_rounds(&l, &err);
    if (rc == 0) {
        (o->json ? put_json : put_table)(&out, &l);
        rc = buf_check(&out, "the report", &err);
    }
    if (rc == 0)
        fputs(out.at, stdout);
    else
        fprintf(stderr, "clients: %s\n", err.text);
    load_fini(&l);
    return rc < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
    CLEANUP(buf) struct buf text = {.limit_bytes = REPORT_MAX};
    struct options o = defaults;
    struct llmos_error err;
    struct opt_rest rest;
    int rc;

    o.seed = clock_ns() >> 11;
    rc = opt_parse(&command, &o, argc, argv, &rest, &err);
    if (rc > OPT_GO) {
        opt_show(&text, &command, (enum opt_result)rc, OPT_WIDTH_PLAIN, "");
        fputs(buf_str(&text).at, stdout);
        return 0;
    }
    if (rc == OPT_GO && o.shared_prefix >= o.prompt)
        rc = fail(&err, LLMOS_EINVAL,
                  "prompts of %u tokens cannot share %u and differ; try a longer --prompt",
                  o.prompt, o.shared_prefix);
    if (rc < 0) {
        fprintf(stderr, "clients: %s\n", err.text);
        return OPT_EXIT_USAGE;
    }
    curl_global_init(CURL_GLOBAL_ALL);
    rc = measure(&o, rest.at[0]);
    curl_global_cleanup();
    return rc;
}
