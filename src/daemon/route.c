/* SPDX-License-Identifier: Apache-2.0 */
/* route.c - see route.h */
#include "daemon/route.h"

#include "base/jsontext.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "daemon/completion.h"
#include "daemon/embedding.h"

#include <stdarg.h>
#include <stdio.h>

#define BODY_MAX    (4u << 20)
#define MODELS_PATH "/v1/models"

/* --- helpers ---------------------------------------------------------------------------------- */

void route_json(struct server_request *r, int status, struct buf *body)
{
    server_reply(r, status, "application/json", body);
}

static const char *type_of(int status)
{
    return status == 403   ? "permission_error"
           : status == 429 ? "rate_limit_error"
           : status >= 500 ? "server_error"
                           : "invalid_request_error";
}

void route_fail(struct server_request *r, int status, const char *code, const char *format, ...)
{
    struct openai_fault fault = {.status = status, .type = type_of(status), .code = code};
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fail(&fault.what.err, LLMOS_EINVAL, "%s", text);
    job_refuse(r, &fault, 1);
}

bool route_method(struct server_request *r, const char *wanted)
{
    if (strcmp(r->method, wanted) == 0 ||
        (strcmp(wanted, "GET") == 0 && strcmp(r->method, "HEAD") == 0))
        return true;
    server_add_header(r, "allow", wanted);
    route_fail(r, 405, "method_not_allowed", "%s does not fit this path; use %s", r->method,
               wanted);
    return false;
}

static int hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

int route_unescape(struct str text, char *to, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.at[i];

        if (c == '%') {
            int high = i + 2 < text.len ? hex(text.at[i + 1]) : -1;
            int low = i + 2 < text.len ? hex(text.at[i + 2]) : -1;

            if (high < 0 || low < 0)
                return LLMOS_EINVAL;
            c = high << 4 | low;
            i += 2;
        }
        if (c < 0x20 || c == 0x7f || n + 1 >= size)
            return LLMOS_EINVAL;
        to[n++] = (char)c;
    }
    to[n] = '\0';
    return utf8_valid_bytes((struct str){to, n}) == n ? 0 : LLMOS_EINVAL;
}

/* --- small routes ----------------------------------------------------------------------------- */

/* 200 as long as somebody can be served; a balancer looks at the status, a person at the rest. */
static void get_health(struct routes *routes, struct server_request *r)
{
    unsigned ready = 0, count = supervise_count(routes->supervisor);
    bool draining = routes->jobs.is_draining;
    const char *status;
    struct buf body;

    if (!route_method(r, "GET"))
        return;
    buf_init(&body, BODY_MAX);
    for (unsigned i = 0; i < count; i++)
        ready += supervise_answers(supervise_at(routes->supervisor, i));
    status = draining ? "draining" : ready == count ? "ok" : ready > 0 ? "degraded" : "unavailable";
    buf_printf(&body, "{\"status\":\"%s\",\"models\":{", status);
    for (unsigned i = 0; i < count; i++) {
        const struct served *m = supervise_at(routes->supervisor, i);

        buf_puts(&body, i ? "," : "");
        json_put_string(&body, str_of(m->name));
        buf_printf(&body, ":\"%s\"", model_state_name(m->state));
    }
    buf_puts(&body, "}}\n");
    route_json(r, draining || ready == 0 ? 503 : 200, &body);
}

static void put_model(struct buf *out, const struct routes *routes, const struct served *m)
{
    buf_puts(out, "{\"id\":");
    json_put_string(out, str_of(m->name));
    buf_printf(out, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"llmos\"}",
               (long long)(m->loaded_at ? m->loaded_at : routes->started_at));
}

static void get_models(struct routes *routes, struct server_request *r)
{
    struct buf body;

    if (!route_method(r, "GET"))
        return;
    buf_init(&body, BODY_MAX);
    buf_puts(&body, "{\"object\":\"list\",\"data\":[");
    for (unsigned i = 0; i < supervise_count(routes->supervisor); i++) {
        buf_puts(&body, i ? "," : "");
        put_model(&body, routes, supervise_at(routes->supervisor, i));
    }
    buf_puts(&body, "]}\n");
    route_json(r, 200, &body);
}

static void get_model(struct routes *routes, struct server_request *r, struct str escaped)
{
    struct openai_fault fault;
    struct served *m = NULL;
    struct buf body;
    char name[512];

    if (!route_method(r, "GET"))
        return;
    if (route_unescape(escaped, name, sizeof(name)) == 0)
        m = supervise_find(routes->supervisor, str_of(name));
    else
        snprintf(name, sizeof(name), "?");
    if (!m) {
        job_unknown_model(&fault, str_of(name));
        job_refuse(r, &fault, 1);
        return;
    }
    buf_init(&body, BODY_MAX);
    put_model(&body, routes, m);
    buf_putc(&body, '\n');
    route_json(r, 200, &body);
}

static void post(struct routes *routes, struct server_request *r, const struct job_kind *kind)
{
    if (route_method(r, "POST"))
        job_start(&routes->jobs, kind, r);
}

/* --- dispatch --------------------------------------------------------------------------------- */

void route_handle(struct server_request *r, void *cookie)
{
    static const struct str models = STR(MODELS_PATH "/"), admin = STR("/admin/");
    struct routes *routes = cookie;

    if (str_is(r->path, "/v1/chat/completions"))
        post(routes, r, &completion_of_chat);
    else if (str_is(r->path, "/v1/completions"))
        post(routes, r, &completion_of_text);
    else if (str_is(r->path, "/v1/embeddings"))
        post(routes, r, &embedding_of_texts);
    else if (str_is(r->path, "/v1/rerank"))
        post(routes, r, &embedding_of_pairs);
    else if (str_is(r->path, MODELS_PATH))
        get_models(routes, r);
    else if (str_starts(r->path, models))
        get_model(routes, r, (struct str){r->path.at + models.len, r->path.len - models.len});
    else if (str_is(r->path, "/health"))
        get_health(routes, r);
    else if (str_is(r->path, "/metrics"))
        route_metrics(routes, r);
    else if (str_starts(r->path, admin) && r->is_local)
        route_admin(routes, r);
    else
        route_fail(r, 404, "not_found", "there is nothing at '%.*s'",
                   (int)(r->path.len > 200 ? 200 : r->path.len), r->path.at);
}

void route_refuse(struct server_request *r, int status, const char *why, void *cookie)
{
    (void)cookie;
    log_event(LOG_WARN, "request is refused request=%s status=%d why=\"%s\"", r->id, status, why);
    route_fail(r, status, NULL, "%s", why);
}

void route_finished(const struct server_request *r, void *cookie)
{
    struct routes *routes = cookie;

    if (r->status >= 0 && r->status < 600)
        routes->replies[r->status]++;
    LOG_DEBUG("http", "request request=%s method=%s path=%.*s body=%zu status=%d ms=%.1f", r->id,
              r->method ? r->method : "?", STR_ARG(r->path), r->body.len, r->status,
              clock_seconds_since(r->start_ns) * 1e3);
}
