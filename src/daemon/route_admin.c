/* SPDX-License-Identifier: Apache-2.0 */
/* route_admin.c - VCEs seen and handled by their owner, over the Unix socket */
#include "daemon/route.h"

#include "base/jsontext.h"

#include "base/clock.h"

#include <stdio.h>

#define BODY_MAX (4u << 20)

static void put_text(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, ",\"%s\":", name);
    json_put_string(out, value);
}

static void put_count(struct buf *out, const char *name, uint64_t value)
{
    buf_printf(out, ",\"%s\":%llu", name, (unsigned long long)value);
}

static void put_isolation(struct buf *out, const struct served *m)
{
    buf_puts(out, ",\"isolation\":[");
    for (int i = 0; m->pid && i < VCE_LAYER_COUNT; i++) {
        buf_puts(out, i ? ",{\"layer\":" : "{\"layer\":");
        json_put_string(out, str_of(vce_layer_name((enum vce_layer)i)));
        buf_printf(out, ",\"holds\":%s", m->layers[i].holds ? "true" : "false");
        put_text(out, "promise", str_of(vce_layer_promise((enum vce_layer)i)));
        put_text(out, "detail",
                 (struct str){m->layers[i].detail,
                              strnlen(m->layers[i].detail, sizeof(m->layers[i].detail))});
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

static void put_loaded(struct buf *out, const struct served *m)
{
    static const char *const packed[] = {
        [PACKING_NONE] = "no", [PACKING_USED] = "yes", [PACKING_DAMAGED] = "damaged"};
    const struct message_ready *r = &m->ready;

    put_text(out, "architecture", r->architecture);
    put_text(out, "title", r->name);
    put_text(out, "file_type", r->file_type);
    put_text(out, "chat_format", r->chat_format);
    put_text(out, "backend", r->backend);
    put_text(out, "packed", str_of(packed[r->packing]));
    put_text(out, "kv_type", r->kv_type);
    put_count(out, "context_tokens", r->context_tokens);
    put_count(out, "context_trained", r->context_trained);
    put_count(out, "vocabulary", r->vocabulary);
    put_count(out, "threads", r->threads);
    put_count(out, "parameters", r->parameters);
    put_count(out, "weight_bytes", r->weight_bytes);
    put_count(out, "kv_bytes", r->kv_bytes);
    put_count(out, "scratch_bytes", r->scratch_bytes);
    put_count(out, "load_ms", r->load_us / 1000);
    put_count(out, "uptime_seconds", (uint64_t)clock_seconds_since(m->ready_ns));
    put_count(out, "running", m->stats.running);
    put_count(out, "waiting", m->stats.waiting);
    put_count(out, "kv_tokens_used", m->stats.kv_tokens_used);
    put_count(out, "kv_tokens_total", m->stats.kv_tokens_total);
}

static void put_vce(struct buf *out, const struct served *m)
{
    bool is_ready = m->state == MODEL_READY;

    buf_puts(out, "{\"name\":");
    json_put_string(out, str_of(m->name));
    put_text(out, "path", str_of(m->options.model_path));
    put_text(out, "state", str_of(model_state_name(m->state)));
    put_text(out, "reason", str_of(m->why));
    put_count(out, "pid", (uint64_t)m->pid);
    put_count(out, "memory_bytes", m->pid ? runner_memory_bytes(m->runner) : 0);
    put_count(out, "memory_max_bytes", m->options.memory_max_bytes);
    put_count(out, "cpu_percent", m->options.cpu_percent);
    put_count(out, "sessions", m->options.setup.sessions_max);
    put_count(out, "requests", m->asks);
    put_count(out, "restarts", m->restarts);
    put_count(out, "prompt_tokens", m->prompt_tokens);
    put_count(out, "generated_tokens", m->generated_tokens);
    buf_puts(out, ",\"prompt_tokens_per_second\":");
    json_put_number(out, m->prompt_rate);
    buf_puts(out, ",\"tokens_per_second\":");
    json_put_number(out, m->generate_rate);
    if (is_ready)
        put_loaded(out, m);
    put_isolation(out, m);
    buf_putc(out, '}');
}

static void get_vces(struct routes *routes, struct server_request *r)
{
    struct buf body;

    if (!route_method(r, "GET"))
        return;
    buf_init(&body, BODY_MAX);
    buf_puts(&body, "{\"vces\":[");
    for (unsigned i = 0; i < supervise_count(routes->supervisor); i++) {
        buf_puts(&body, i ? "," : "");
        put_vce(&body, supervise_at(routes->supervisor, i));
    }
    buf_puts(&body, "]}\n");
    route_json(r, 200, &body);
}

/* POST /admin/v1/vces/NAME/stop or /start; the name may hold slashes, escaped or not. */
static void post_vce(struct routes *routes, struct server_request *r, struct str rest)
{
    static const struct str stop = STR("/stop"), start = STR("/start");
    bool is_stop =
        rest.len > stop.len && str_eq((struct str){rest.at + rest.len - stop.len, stop.len}, stop);
    bool is_start = rest.len > start.len &&
                    str_eq((struct str){rest.at + rest.len - start.len, start.len}, start);
    struct served *m = NULL;
    struct buf body;
    char name[512];

    if (!is_stop && !is_start) {
        route_fail(r, 404, "not_found",
                   "there is nothing here; a VCE can be told to stop and start");
        return;
    }
    if (!route_method(r, "POST"))
        return;
    rest.len -= is_stop ? stop.len : start.len;
    if (route_unescape(rest, name, sizeof(name)) == 0)
        m = supervise_find(routes->supervisor, str_of(name));
    if (!m) {
        route_fail(r, 404, "model_not_found", "there is no VCE of that name");
        return;
    }
    if (is_stop)
        supervise_stop(m);
    else
        supervise_start(m);
    buf_init(&body, BODY_MAX);
    put_vce(&body, m);
    buf_putc(&body, '\n');
    route_json(r, 200, &body);
}

void route_admin(struct routes *routes, struct server_request *r)
{
    static const struct str one = STR("/admin/v1/vces/");

    if (str_is(r->path, "/admin/v1/vces"))
        get_vces(routes, r);
    else if (str_starts(r->path, one))
        post_vce(routes, r, (struct str){r->path.at + one.len, r->path.len - one.len});
    else
        route_fail(r, 404, "not_found", "there is nothing here; try /admin/v1/vces");
}
