/* SPDX-License-Identifier: Apache-2.0 */
/* route_metrics.c - what Prometheus collects */
#include "daemon/route.h"

#include "base/clock.h"

#include <stddef.h>
#include <stdio.h>

#define BODY_MAX (16u << 20)

/* One figure of every model. */
struct figure {
    const char *name, *type, *help;
    size_t at; /* of a uint64_t in struct served */
};

static const struct figure figures[] = {
    {"llmos_requests_total", "counter", "Requests for text that named the model.",
     offsetof(struct served, requests)},
    {"llmos_requests_failed_total", "counter", "Requests that ended in an error.",
     offsetof(struct served, failures)},
    {"llmos_requests_refused_total", "counter", "Requests refused because the queue was full.",
     offsetof(struct served, refusals)},
    {"llmos_sequences_canceled_total", "counter",
     "Sequences taken back before their end, because the client went or the request failed.",
     offsetof(struct served, cancels)},
    {"llmos_sequences_retried_total", "counter", "Sequences asked again after the VCE had died.",
     offsetof(struct served, retries)},
    {"llmos_prompt_tokens_total", "counter", "Prompt tokens computed.",
     offsetof(struct served, prompt_tokens)},
    {"llmos_generated_tokens_total", "counter", "Tokens generated.",
     offsetof(struct served, generated_tokens)},
    {"llmos_drafted_tokens_total", "counter", "Tokens guessed ahead, since the VCE began.",
     offsetof(struct served, stats.drafted_tokens)},
    {"llmos_accepted_tokens_total", "counter", "Of those, the ones that were right.",
     offsetof(struct served, stats.accepted_tokens)},
    {"llmos_vce_restarts_total", "counter", "Times the VCE was started again.",
     offsetof(struct served, restarts)},
};

/* Gauges that need a word of code. */
static double is_up(const struct served *m)
{
    return m->state == MODEL_READY;
}

static double memory(const struct served *m)
{
    return m->pid ? (double)runner_memory_bytes(m->runner) : 0;
}

static double in_flight(const struct served *m)
{
    return m->asks;
}

static double running(const struct served *m)
{
    return m->pid ? m->stats.running : 0;
}

static double waiting(const struct served *m)
{
    return m->pid ? m->stats.waiting : 0;
}

static double kv_used(const struct served *m)
{
    return m->pid ? m->stats.kv_tokens_used : 0;
}

static double kv_total(const struct served *m)
{
    return m->pid ? m->stats.kv_tokens_total : 0;
}

static double batch(const struct served *m)
{
    return m->stats.steps ? (double)m->stats.step_sequences / (double)m->stats.steps : 0;
}

static const struct gauge {
    const char *name, *help;
    double (*value)(const struct served *m);
} gauges[] = {
    {"llmos_vce_up", "1 if the model answers.", is_up},
    {"llmos_vce_memory_bytes", "Memory of the engine, its share of shared pages included.", memory},
    {"llmos_sequences_in_flight", "Sequences asked and not yet answered.", in_flight},
    {"llmos_sequences_running", "Sequences that the engine advances.", running},
    {"llmos_sequences_waiting", "Sequences that wait in the engine for a session.", waiting},
    {"llmos_kv_tokens_used", "Tokens held in the KV cache.", kv_used},
    {"llmos_kv_tokens_capacity", "Tokens that the KV cache can hold.", kv_total},
    {"llmos_batch_sequences_mean", "Sequences a step, since the VCE began.", batch},
};

static void put_models(struct buf *out, const struct routes *routes)
{
    unsigned count = supervise_count(routes->supervisor);

    for (size_t f = 0; f < sizeof(figures) / sizeof(figures[0]); f++) {
        metrics_family(out, figures[f].name, figures[f].type, figures[f].help);
        for (unsigned i = 0; i < count; i++) {
            const struct served *m = supervise_at(routes->supervisor, i);
            uint64_t v;

            memcpy(&v, (const char *)m + figures[f].at, sizeof(v));
            metrics_sample(out, figures[f].name, "model", m->name, (double)v);
        }
    }
    for (size_t g = 0; g < sizeof(gauges) / sizeof(gauges[0]); g++) {
        metrics_family(out, gauges[g].name, "gauge", gauges[g].help);
        for (unsigned i = 0; i < count; i++) {
            const struct served *m = supervise_at(routes->supervisor, i);

            metrics_sample(out, gauges[g].name, "model", m->name, gauges[g].value(m));
        }
    }
}

static void put_histograms(struct buf *out, const struct routes *routes)
{
    static const char first[] = "llmos_time_to_first_token_seconds";
    static const char whole[] = "llmos_request_duration_seconds";
    unsigned count = supervise_count(routes->supervisor);

    metrics_family(out, first, "histogram", "From a request to its first generated token.");
    for (unsigned i = 0; i < count; i++) {
        const struct served *m = supervise_at(routes->supervisor, i);

        metrics_histogram(out, first, "model", m->name, &m->first_token);
    }
    metrics_family(out, whole, "histogram", "From a request for text to the end of its answer.");
    for (unsigned i = 0; i < count; i++) {
        const struct served *m = supervise_at(routes->supervisor, i);

        metrics_histogram(out, whole, "model", m->name, &m->duration);
    }
}

static void put_daemon(struct buf *out, const struct routes *routes)
{
    char code[12];

    metrics_family(out, "llmos_build_info", "gauge", "The version, as a label.");
    metrics_sample(out, "llmos_build_info", "version", LLMOS_VERSION, 1);
    metrics_family(out, "llmos_uptime_seconds", "gauge", "Since the daemon began.");
    metrics_sample(out, "llmos_uptime_seconds", NULL, NULL, clock_seconds_since(routes->start_ns));
    metrics_family(out, "llmos_http_connections", "gauge", "Open connections.");
    metrics_sample(out, "llmos_http_connections", NULL, NULL, server_connections(routes->server));
    metrics_family(out, "llmos_http_requests_in_flight", "gauge",
                   "Requests for text, vectors or ranks that are not yet answered.");
    metrics_sample(out, "llmos_http_requests_in_flight", NULL, NULL, routes->jobs.count);
    metrics_family(out, "llmos_http_replies_total", "counter",
                   "Replies by status; 0: the client went before its reply.");
    for (int i = 0; i < 600; i++) {
        if (!routes->replies[i])
            continue;
        snprintf(code, sizeof(code), "%d", i);
        metrics_sample(out, "llmos_http_replies_total", "code", code, (double)routes->replies[i]);
    }
}

void route_metrics(struct routes *routes, struct server_request *r)
{
    struct buf body;

    if (!route_method(r, "GET"))
        return;
    buf_init(&body, BODY_MAX);
    put_daemon(&body, routes);
    put_models(&body, routes);
    put_histograms(&body, routes);
    server_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}
