/* SPDX-License-Identifier: Apache-2.0 */
/* daemon_main.c - llmosd: serves models over HTTP, each in its VCE */
#include "base/clock.h"
#include "base/mem.h"
#include "base/opt.h"
#include "base/paths.h"
#include "daemon/config.h"
#include "daemon/folders.h"
#include "daemon/preparer.h"
#include "daemon/route.h"
#include "tensor/backend.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define JSON_DEPTH_MAX  32
#define JSON_VALUES_MAX (1u << 18)
#define ANSWER_MAX      (8u << 20) /* of one sequence that is not streamed */
#define STREAM_MAX      (4u << 20) /* unread by a client: minutes of text */
#define FLUSH_SECONDS   2          /* for the last replies to leave */
#define PATH_MAX_BYTES  4096

/* --- command line ----------------------------------------------------------------------------- */

struct flags {
    const char *config, *address, *socket, *log, *pack, *kv_type;
    struct opt_list models, encoders, hosts;
    uint32_t port, context, sessions, threads, drain_seconds;
    bool check_config;
};

#define UNSET UINT32_MAX /* what a number is when the command line does not give it */

static const struct flags defaults = {
    .port = UNSET, .context = UNSET, .sessions = UNSET, .threads = UNSET, .drain_seconds = UNSET};

static const struct opt options[] = {
    OPT_GROUP("What to serve"),
    OPT_STRING('c', "config", struct flags, config, "FILE",
               "read this configuration; flags override it"),
    OPT_LIST('m', "model", struct flags, models, "NAME=PATH",
             "serve this model file under this name; may be given several times"),
    OPT_LIST('e', "encoder", struct flags, encoders, "NAME=PATH",
             "the same for vectors and ranks: /v1/embeddings and /v1/rerank"),
    OPT_U32(0, "context", struct flags, context, "N", 0, 1u << 24,
            "longest sequence of every model in tokens", .default_text = "as the model says"),
    OPT_U32(0, "sessions", struct flags, sessions, "N", 1, 1024,
            "sequences that each model advances together", .default_text = "4"),
    OPT_U32('t', "threads", struct flags, threads, "N", 0, 1024, "threads of each model",
            .default_text = "all usable cores"),
    OPT_STRING(0, "pack", struct flags, pack, "WHEN",
               "whether weights of models above 32 MiB are laid out for this processor, once, see "
               "llmos-pack(1)",
               .choices = "auto|off", .default_text = "as the configuration says, else auto"),
    OPT_STRING(0, "kv-type", struct flags, kv_type, "TYPE",
               "how each model keeps keys and values: q8_0 takes about half the memory of f16",
               .choices = "f16|q8_0", .default_text = "f16"),
    OPT_GROUP("Where"),
    OPT_STRING('a', "address", struct flags, address, "ADDRESS", "listen on this numeric address",
               .default_text = "127.0.0.1"),
    OPT_U32('p', "port", struct flags, port, "PORT", 0, 65535, "listen on this port; 0: any",
            .default_text = "5000"),
    OPT_STRING('s', "socket", struct flags, socket, "PATH",
               "the Unix socket for llmos ps and llmos stop",
               .default_text = "as llmos(1) looks for it"),
    OPT_LIST(0, "host", struct flags, hosts, "NAME", "accept this name in Host and Origin headers"),
    OPT_GROUP("How"),
    OPT_U32(0, "drain-seconds", struct flags, drain_seconds, "N", 0, 3600,
            "how long running requests may go on after SIGTERM", .default_text = "30"),
    OPT_STRING(0, "log", struct flags, log, "LEVEL", "log no more than this",
               .choices = "error|warn|info|debug", .default_text = "info"),
    OPT_FLAG(0, "check-config", struct flags, check_config,
             "check configuration and model paths, then exit"),
    OPT_END,
};

static const struct opt_command command = {
    .name = "llmosd",
    .summary = "serve language models over HTTP, each in a virtual computing environment",
    .description =
        "Starts a VCE for every model and answers OpenAI's HTTP dialect: /v1/models, "
        "/v1/completions, /v1/chat/completions, of encoders /v1/embeddings and /v1/rerank, and "
        "/health and /metrics beside it. A model whose VCE dies is restarted; the others notice "
        "nothing. A model in several files is named by any of them, a folder of Hugging Face is "
        "converted first.\n\nSIGTERM and SIGINT end it: new "
        "requests get 503, running ones go on for --drain-seconds. A second signal ends it at "
        "once.\n\nLLMOS_DEBUG=http logs every request; prompts and answers are never logged.",
    .examples = "llmosd --model story=stories.gguf --encoder small=all-minilm.gguf\nllmosd "
                "--config /etc/llmos/llmos.yaml",
    .see_also = "llmos(1), llmos-ps(1), llmos-stop(1)",
    .options = options,
    .defaults = &defaults,
    .section = 8,
    .has_version = true,
};

static int apply(struct config *c, const struct flags *f, struct llmos_error *err)
{
    if (f->config) {
        int rc = config_load_file(c, f->config, err);

        if (rc < 0)
            return rc;
    }
    for (unsigned i = 0; i < f->models.count; i++) {
        int rc = config_add_model(c, f->models.at[i], err);

        if (rc < 0)
            return fail_while(err, rc, "--model");
    }
    for (unsigned i = 0; i < f->encoders.count; i++) {
        int rc = config_add_encoder(c, f->encoders.at[i], err);

        if (rc < 0)
            return fail_while(err, rc, "--encoder");
    }
    for (unsigned i = 0; i < f->hosts.count; i++) {
        if (c->host_count == SERVER_NAMES_MAX)
            return fail(err, LLMOS_ELIMIT, "more than %d hosts", SERVER_NAMES_MAX);
        c->hosts[c->host_count++] = f->hosts.at[i];
    }
    c->address = f->address ? f->address : c->address;
    c->socket = f->socket ? f->socket : c->socket;
    c->port = f->port != UNSET ? f->port : c->port;
    c->drain_seconds = f->drain_seconds != UNSET ? f->drain_seconds : c->drain_seconds;
    if (f->log && config_log_level(f->log, &c->log, err) < 0)
        return LLMOS_EINVAL;
    for (unsigned i = 0; i < c->model_count; i++) {
        struct worker_options *m = &c->models[i];

        if (f->context != UNSET)
            m->setup.context_tokens = f->context;
        if (f->sessions != UNSET)
            m->setup.sessions_max = f->sessions;
        if (f->threads != UNSET)
            m->setup.threads = f->threads;
        if (f->pack)
            c->runs_plain[i] = strcmp(f->pack, "off") == 0;
        if (f->kv_type)
            m->setup.kv_type = str_of(f->kv_type);
        m->skip_layers = c->skip;
        m->required_layers = c->required;
        m->require_default = c->require_default;
    }
    return config_check(c, err);
}

/* --- the daemon ------------------------------------------------------------------------------- */

struct daemon {
    struct config config;
    struct routes routes;
    struct packcache *cache;   /* NULL: models run from their own layout */
    struct preparer *preparer; /* likewise */
    char socket[PATH_MAX_BYTES];
    bool is_up;  /* every model was ready once */
    int wait_ms; /* after which the supervisor wants its turn */
};

static volatile sig_atomic_t signals;
static struct server *signal_server;

static void on_signal(int number)
{
    (void)number;
    signals++;
    server_wake(signal_server);
}

static void catch_signals(struct server *s)
{
    struct sigaction action = {.sa_handler = on_signal};

    signal_server = s;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void wake(void *cookie)
{
    struct daemon *d = cookie;

    server_wake(d->routes.server);
}

static int listen_all(struct daemon *d, struct llmos_error *err)
{
    const struct config *c = &d->config;
    struct server_options o = {.body_max_bytes = c->body_bytes,
                               .stream_max_bytes = STREAM_MAX,
                               .connections_max = c->connections,
                               .receive_seconds = c->receive_seconds,
                               .idle_seconds = c->idle_seconds,
                               .name_count = c->host_count,
                               .handle = route_handle,
                               .refuse = route_refuse,
                               .finished = route_finished,
                               .cookie = &d->routes};
    int rc, port;

    memcpy(o.names, c->hosts, sizeof(o.names));
    rc = server_create(&d->routes.server, &o, err);
    if (rc < 0)
        return rc;
    port = server_listen_tcp(d->routes.server, c->address, c->port, err);
    if (port < 0)
        return port;
    if (c->socket)
        snprintf(d->socket, sizeof(d->socket), "%s", c->socket);
    else
        rc = path_socket(d->socket, sizeof(d->socket), err);
    if (rc == 0)
        rc = path_make_parents(d->socket, err);
    if (rc == 0)
        rc = server_listen_unix(d->routes.server, d->socket, err);
    if (rc == 0)
        log_event(LOG_INFO, "listening address=%s port=%d socket=%s", c->address, port, d->socket);
    return rc;
}

/* Serving goes on without. */
static void open_cache(struct daemon *d)
{
    const struct config *c = &d->config;
    const struct packcache_options place = {
        .folder = c->cache, .bytes_max = c->cache_max_bytes, .is_shared = c->cache_shared};
    struct preparer_options o = {
        .make = prepare_model, .least_bytes = PREPARE_LEAST_BYTES, .wake = wake, .cookie = d};
    struct llmos_error err;
    bool is_wanted = false;
    int rc;

    for (unsigned i = 0; i < c->model_count; i++)
        is_wanted |= !c->runs_plain[i];
    if (!is_wanted || !backend_best()->reads_packed)
        return;
    rc = packcache_open(&d->cache, &place, &err);
    o.cache = d->cache;
    if (rc == 0)
        rc = preparer_create(&d->preparer, &o, &err);
    if (rc < 0)
        log_event(LOG_WARN, "models run without packed weights why=\"%s\"", err.text);
}

static int add_models(struct daemon *d, struct llmos_error *err)
{
    struct config *c = &d->config;
    const struct supervise_options o = {.queue_max = c->queue,
                                        .start_seconds = c->start_seconds,
                                        .stall_seconds = c->stall_seconds,
                                        .wake = wake,
                                        .cookie = d};
    int rc = supervise_create(&d->routes.supervisor, &o, err);

    open_cache(d);
    for (unsigned i = 0; rc == 0 && i < c->model_count; i++) {
        c->models[i].packcache = c->runs_plain[i] ? NULL : d->cache;
        rc = supervise_add(d->routes.supervisor, &runner_real, &c->models[i], err);
    }
    d->routes.jobs = (struct jobs){.supervisor = d->routes.supervisor,
                                   .json = {c->body_bytes, JSON_DEPTH_MAX, JSON_VALUES_MAX},
                                   .reply_max_bytes = ANSWER_MAX};
    return rc;
}

/* One turn of everything.  False: the server is broken. */
static bool turn(struct daemon *d, int wait_most)
{
    struct llmos_error err;

    if (server_poll(d->routes.server, d->wait_ms < wait_most ? d->wait_ms : wait_most, &err) < 0) {
        log_event(LOG_ERROR, "%s", err.text);
        return false;
    }
    d->wait_ms = supervise_turn(d->routes.supervisor);
    if (d->preparer)
        preparer_turn(d->preparer, d->routes.supervisor);
    return true;
}

/* A model that never was ready is a mistake of whoever started us: better to say so and end than to
 * serve half of what was asked for.  All of them are told. */
static int all_up(struct daemon *d)
{
    unsigned up = 0, failed = 0, count = supervise_count(d->routes.supervisor);

    for (unsigned i = 0; i < count; i++) {
        const struct served *m = supervise_at(d->routes.supervisor, i);

        up += m->was_ready || m->state == MODEL_STOPPED;
        failed += !m->was_ready && m->state == MODEL_FAILED;
    }
    return up + failed < count ? 0 : failed ? -1 : 1;
}

static int serve(struct daemon *d)
{
    while (signals == 0) {
        if (!turn(d, 1000))
            return EXIT_FAILURE;
        if (d->is_up)
            continue;
        switch (all_up(d)) {
        case -1:
            return EXIT_FAILURE;
        case 1:
            d->is_up = true;
            log_event(LOG_INFO, "serving models=%u", supervise_count(d->routes.supervisor));
        }
    }
    return EXIT_SUCCESS;
}

static unsigned in_flight(const struct daemon *d)
{
    return d->routes.jobs.count;
}

static void drain(struct daemon *d)
{
    uint64_t begun = clock_ns();

    d->routes.jobs.is_draining = true;
    log_event(LOG_INFO, "draining requests=%u seconds=%u", in_flight(d), d->config.drain_seconds);
    while (in_flight(d) > 0 && signals < 2 && clock_seconds_since(begun) < d->config.drain_seconds)
        if (!turn(d, 100))
            break;
    if (in_flight(d) > 0)
        log_event(LOG_WARN, "ending requests that are not finished requests=%u", in_flight(d));
    jobs_end(&d->routes.jobs, "the server is shutting down");
    begun = clock_ns();
    while (server_busy(d->routes.server) && clock_seconds_since(begun) < FLUSH_SECONDS)
        if (!turn(d, 20))
            break;
}

static int run(struct daemon *d)
{
    struct llmos_error err = {0};
    int code = EXIT_FAILURE;

    log_set_level(d->config.log);
    d->routes.start_ns = clock_ns();
    d->routes.started_at = (int64_t)time(NULL);
    if (folders_convert(&d->config, &err) == 0 && listen_all(d, &err) == 0) {
        catch_signals(d->routes.server);
        if (add_models(d, &err) == 0) {
            code = serve(d);
            if (code == EXIT_SUCCESS)
                drain(d);
        }
    }
    if (err.text[0])
        log_event(LOG_ERROR, "%s", err.text);
    jobs_end(&d->routes.jobs, "the server ends");
    preparer_destroy(d->preparer);
    supervise_destroy(d->routes.supervisor);
    packcache_close(d->cache);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    server_destroy(d->routes.server);
    log_event(LOG_INFO, "ended code=%d", code);
    return code;
}

static int print_text(const struct opt_command *c, int what)
{
    struct buf out;

    buf_init(&out, 1 << 20);
    opt_show(&out, c, (enum opt_result)what, OPT_WIDTH_PLAIN, LLMOS_VERSION);
    fputs(buf_str(&out).at, stdout);
    buf_fini(&out);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct daemon d;
    struct flags flags = defaults;
    struct llmos_error err = {0};
    struct opt_rest rest;
    int rc = opt_parse(&command, &flags, argc, argv, &rest, &err);
    int code = EXIT_FAILURE;

    if (rc > OPT_GO)
        return print_text(&command, rc);
    if (rc < 0) {
        fprintf(stderr, "llmosd: %s\n", err.text);
        return OPT_EXIT_USAGE;
    }
    config_init(&d.config);
    rc = apply(&d.config, &flags, &err);
    if (rc < 0)
        fprintf(stderr, "llmosd: %s\n", err.text);
    else if (flags.check_config)
        code = EXIT_SUCCESS;
    else
        code = run(&d);
    config_fini(&d.config);
    return code;
}
