/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - see server.h */
#include "net/server.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define HEAD_BYTES_MAX (32u << 10)
#define STREAM_BLOCK   (16u << 10)
#define REPLY_HEADERS  8
#define SWEEP_NS       1000000000u
#define EVENTS_A_TURN  64
#define DISCARD_FACTOR 2 /* a body of unknown length is read on to twice its limit, to say 413 */
#define PATH_BYTES_MAX 4096
#define FIRST_LINE_MIN 1 /* MHD_DAEMON strictness: refuse what RFC 7230 refuses */

struct listener {
    struct server *server;
    struct MHD_Daemon *mhd;
    bool is_local, check_host;
    char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* A connection, from accept to close. */
struct peer {
    struct peer *next, **link;
    int fd;
    bool is_busy;      /* its request is complete: it waits for us, not we for it */
    uint64_t since_ns; /* when it began to owe us a request */
};

enum watch { WATCH_NONE, WATCH_ON, WATCH_FIRED };

/* A request with what the handler need not see. */
struct exchange {
    struct server_request pub;
    struct server *server;
    struct listener *listener;
    struct MHD_Connection *connection;
    struct peer *peer;
    char *uri;
    struct buf body;
    bool is_seen, is_handed, is_too_large, is_suspended, is_queued;
    bool is_final; /* the handler is done with it */
    bool is_dead;  /* the client has gone, or must go */
    size_t discarded;
    enum watch watch;
    struct exchange *next_dying;
    bool is_dying;

    struct MHD_Response *response;
    struct header {
        const char *name;
        char *value;
    } headers[REPLY_HEADERS];
    unsigned header_count;
    bool is_stream, is_ended;
    struct buf out; /* of a stream: not yet taken by the connection */
    size_t out_taken;
};

struct server {
    struct server_options options;
    struct listener *listeners[SERVER_LISTENERS_MAX];
    unsigned listener_count;
    struct peer *peers;
    unsigned peer_count;
    struct exchange *dying; /* gone is to be called */
    int epoll, wake;
    bool must_run; /* something was resumed */
    uint64_t swept_ns, next_id;
};

/* --- names ------------------------------------------------------------------------------------ */

static struct str without_port(struct str host)
{
    const char *colon;

    if (host.len > 0 && host.at[0] == '[') {
        const char *end = memchr(host.at, ']', host.len);

        return end ? (struct str){host.at + 1, (size_t)(end - host.at) - 1} : host;
    }
    colon = memchr(host.at, ':', host.len);
    return colon ? (struct str){host.at, (size_t)(colon - host.at)} : host;
}

static bool same_name(struct str a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.at, b, a.len) == 0;
}

bool server_host_allowed(struct str host, const char *const *names, unsigned count)
{
    struct str name = without_port(host);
    struct in_addr v4;
    struct in6_addr v6;
    char text[64];

    for (unsigned i = 0; i < count; i++)
        if (same_name(name, names[i]))
            return true;
    if (same_name(name, "localhost"))
        return true;
    if (name.len >= sizeof(text))
        return false;
    memcpy(text, name.at, name.len);
    text[name.len] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

/* "http://name:port" -> "name:port"; "null" and other things stay as they are and match nothing. */
static struct str origin_host(const char *origin)
{
    const char *at = strstr(origin, "://");

    return str_of(at ? at + 3 : origin);
}

/* --- one request ------------------------------------------------------------------------------ */

static struct exchange *exchange_of(struct server_request *r)
{
    return (struct exchange *)r; /* pub is its first member */
}

const char *server_header(const struct server_request *r, const char *name)
{
    const struct exchange *x = (const struct exchange *)r;

    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

void server_add_header(struct server_request *r, const char *name, const char *value)
{
    struct exchange *x = exchange_of(r);
    size_t n = 0;
    char *copy;

    while ((unsigned char)value[n] >= 0x20 && value[n] != 0x7f)
        n++;
    copy = x->header_count < REPLY_HEADERS ? mem_strndup(value, n) : NULL;
    if (copy)
        x->headers[x->header_count++] = (struct header){name, copy};
}

static void resume(struct exchange *x)
{
    if (!x->is_suspended)
        return;
    x->is_suspended = false;
    x->server->must_run = true;
    MHD_resume_connection(x->connection);
}

/* The client of a request that we keep is watched: a connection that is suspended, or waits for
 * more of a stream, is not read by the library, so nobody else would notice. */
static void watch(struct exchange *x)
{
    struct epoll_event e = {.events = EPOLLRDHUP, .data.ptr = x};

    if (x->watch == WATCH_NONE && x->peer &&
        epoll_ctl(x->server->epoll, EPOLL_CTL_ADD, x->peer->fd, &e) == 0)
        x->watch = WATCH_ON;
}

static void unwatch(struct exchange *x, enum watch now)
{
    if (x->watch == WATCH_ON && x->peer)
        epoll_ctl(x->server->epoll, EPOLL_CTL_DEL, x->peer->fd, NULL);
    x->watch = now;
}

static void die_soon(struct exchange *x)
{
    if (x->is_dying || x->is_dead)
        return;
    x->is_dying = true;
    x->next_dying = x->server->dying;
    x->server->dying = x;
}

static void tell_gone(struct exchange *x)
{
    if (x->is_handed && !x->is_final && x->pub.gone)
        x->pub.gone(&x->pub);
    x->is_final = true;
}

static void bury(struct server *s)
{
    while (s->dying) {
        struct exchange *x = s->dying;

        s->dying = x->next_dying;
        x->is_dying = false;
        tell_gone(x);
        x->is_dead = true;
        resume(x);
    }
}

static void put_headers(struct exchange *x, const char *content_type)
{
    MHD_add_response_header(x->response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    MHD_add_response_header(x->response, "x-request-id", x->pub.id);
    MHD_add_response_header(x->response, "x-content-type-options", "nosniff");
    for (unsigned i = 0; i < x->header_count; i++)
        MHD_add_response_header(x->response, x->headers[i].name, x->headers[i].value);
}

void server_reply(struct server_request *r, int status, const char *content_type, struct buf *body)
{
    struct exchange *x = exchange_of(r);
    struct str bytes = buf_str(body);

    x->is_final = true;
    if (x->response || x->is_dead) {
        buf_fini(body);
        return;
    }
    r->status = body->bad ? 500 : status;
    if (body->bad || !body->at) {
        x->response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
        buf_fini(body);
    } else {
        x->response =
            MHD_create_response_from_buffer_with_free_callback(bytes.len, body->at, mem_free);
        if (!x->response)
            mem_free(body->at);
        *body = (struct buf){.limit_bytes = body->limit_bytes};
    }
    if (x->response)
        put_headers(x, content_type);
    else
        x->is_dead = true;
    resume(x);
}

/* Called by the library when it can send more. */
static ssize_t stream_read(void *cookie, uint64_t at, char *to, size_t max)
{
    struct exchange *x = cookie;
    size_t n = x->out.len - x->out_taken;

    (void)at;
    if (x->is_dead)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == 0 && x->is_ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == 0) {
        x->is_suspended = true;
        MHD_suspend_connection(x->connection);
        return 0;
    }
    if (n > max)
        n = max;
    memcpy(to, x->out.at + x->out_taken, n);
    x->out_taken += n;
    if (x->out_taken == x->out.len) {
        buf_clear(&x->out);
        x->out_taken = 0;
    }
    return (ssize_t)n;
}

void server_stream_start(struct server_request *r, const char *content_type)
{
    struct exchange *x = exchange_of(r);

    if (x->response || x->is_dead)
        return;
    r->status = 200;
    x->is_stream = true;
    buf_init(&x->out, x->server->options.stream_max_bytes);
    x->response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_read, x, NULL);
    if (!x->response) {
        die_soon(x);
        return;
    }
    put_headers(x, content_type);
    MHD_add_response_header(x->response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    resume(x);
}

void server_stream_put(struct server_request *r, struct str bytes)
{
    struct exchange *x = exchange_of(r);

    if (!x->is_stream || x->is_dead || x->is_dying)
        return;
    if (x->out_taken > 0) {
        buf_drop(&x->out, x->out_taken);
        x->out_taken = 0;
    }
    buf_put(&x->out, bytes.at, bytes.len);
    if (x->out.bad) {
        LOG_DEBUG("http", "a client does not read its stream request=%s", x->pub.id);
        die_soon(x);
        return;
    }
    if (x->is_queued)
        resume(x);
}

void server_stream_end(struct server_request *r)
{
    struct exchange *x = exchange_of(r);

    x->is_final = x->is_ended = true;
    if (x->is_queued)
        resume(x);
}

/* --- what the library calls ------------------------------------------------------------------- */

static void *begin(void *cookie, const char *uri, struct MHD_Connection *connection)
{
    struct listener *l = cookie;
    struct exchange *x = mem_zalloc(1, sizeof(*x));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    size_t n = strlen(uri);
    const char *mark;

    if (!x)
        return NULL;
    x->uri = mem_strndup(uri, n);
    if (!x->uri) {
        mem_free(x);
        return NULL;
    }
    mark = strchr(x->uri, '?');
    x->pub.path = (struct str){x->uri, mark ? (size_t)(mark - x->uri) : n};
    x->pub.query = mark ? str_of(mark + 1) : STR("");
    x->pub.is_local = l->is_local;
    x->pub.start_ns = clock_ns();
    snprintf(x->pub.id, sizeof(x->pub.id), "req_%016llx", (unsigned long long)l->server->next_id++);
    x->server = l->server;
    x->listener = l;
    x->connection = connection;
    x->peer = info ? info->socket_context : NULL;
    if (x->peer)
        x->peer->since_ns = x->pub.start_ns;
    buf_init(&x->body, l->server->options.body_max_bytes);
    return x;
}

static size_t keep_escapes(void *cookie, struct MHD_Connection *connection, char *text)
{
    (void)cookie;
    (void)connection;
    return strlen(text);
}

static void refuse(struct exchange *x, int status, const char *why)
{
    const struct server_options *o = &x->server->options;
    struct buf text;

    if (o->refuse)
        o->refuse(&x->pub, status, why, o->cookie);
    if (!x->response) {
        buf_init(&text, 1024);
        buf_printf(&text, "%s\n", why);
        server_reply(&x->pub, status, "text/plain; charset=utf-8", &text);
    }
}

/* Status and reason if the head of the request is enough to refuse it. */
static int head_fault(struct exchange *x, const char *version, const char **why)
{
    const struct server_options *o = &x->server->options;
    const char *host = server_header(&x->pub, MHD_HTTP_HEADER_HOST);
    const char *origin = server_header(&x->pub, MHD_HTTP_HEADER_ORIGIN);
    const char *length = server_header(&x->pub, MHD_HTTP_HEADER_CONTENT_LENGTH);
    const char *coding = server_header(&x->pub, MHD_HTTP_HEADER_CONTENT_ENCODING);

    if (!host && strcmp(version, MHD_HTTP_VERSION_1_1) == 0) {
        *why = "the request has no Host header";
        return 400;
    }
    if (x->listener->check_host && host &&
        !server_host_allowed(str_of(host), o->names, o->name_count)) {
        *why = "the Host header names another site; if that name is right, add it to 'hosts' in "
               "llmos.yaml";
        return 403;
    }
    if (!x->listener->is_local && origin &&
        !server_host_allowed(origin_host(origin), o->names, o->name_count)) {
        *why = "requests from pages of other sites are not accepted; to allow one, add its name to "
               "'hosts' in llmos.yaml";
        return 403;
    }
    if (coding && strcasecmp(coding, "identity") != 0) {
        *why = "compressed requests are not accepted";
        return 415;
    }
    if (length && strtoull(length, NULL, 10) > o->body_max_bytes) {
        *why = "the body is larger than this server accepts ('limits: body')";
        return 413;
    }
    if (x->pub.path.len > PATH_BYTES_MAX) {
        *why = "the path is too long";
        return 414;
    }
    return 0;
}

static enum MHD_Result queue(struct exchange *x)
{
    enum MHD_Result rc;

    if (!x->response)
        return MHD_NO;
    rc = MHD_queue_response(x->connection, (unsigned)x->pub.status, x->response);
    MHD_destroy_response(x->response);
    x->response = NULL;
    x->is_queued = true;
    if (x->is_stream)
        watch(x);
    return rc;
}

static enum MHD_Result take_upload(struct exchange *x, const char *bytes, size_t *count)
{
    size_t n = *count;

    *count = 0;
    if (x->is_too_large) {
        x->discarded += n;
        return x->discarded > DISCARD_FACTOR * x->server->options.body_max_bytes ? MHD_NO : MHD_YES;
    }
    buf_put(&x->body, bytes, n);
    if (x->body.bad && !x->body.too_large)
        return MHD_NO;
    if (x->body.bad) {
        x->is_too_large = true;
        buf_fini(&x->body);
    }
    return MHD_YES;
}

static void hand_over(struct exchange *x)
{
    const struct server_options *o = &x->server->options;

    x->is_handed = true;
    if (x->peer)
        x->peer->is_busy = true;
    if (x->is_too_large) {
        refuse(x, 413, "the body is larger than this server accepts ('limits: body')");
        return;
    }
    x->pub.body = buf_str(&x->body);
    o->handle(&x->pub, o->cookie);
}

static enum MHD_Result access_request(void *cookie, struct MHD_Connection *connection,
                                      const char *url, const char *method, const char *version,
                                      const char *upload, size_t *upload_size, void **context)
{
    struct exchange *x = *context;
    const char *why = NULL;
    int status;

    (void)cookie;
    (void)connection;
    (void)url;
    if (!x || x->is_dead)
        return MHD_NO;
    x->pub.method = method;
    if (!x->is_seen) {
        x->is_seen = true;
        status = head_fault(x, version, &why);
        if (status == 0)
            return MHD_YES;
        x->is_handed = true;
        refuse(x, status, why);
        return queue(x);
    }
    if (*upload_size > 0)
        return take_upload(x, upload, upload_size);
    if (!x->is_handed)
        hand_over(x);
    if (x->response)
        return queue(x);
    if (x->is_dead)
        return MHD_NO;
    x->is_suspended = true;
    MHD_suspend_connection(x->connection);
    watch(x);
    return MHD_YES;
}

static void completed(void *cookie, struct MHD_Connection *connection, void **context,
                      enum MHD_RequestTerminationCode code)
{
    struct exchange *x = *context;
    struct server *s;

    (void)cookie;
    (void)connection;
    (void)code;
    if (!x)
        return;
    s = x->server;
    *context = NULL;
    unwatch(x, WATCH_NONE);
    for (struct exchange **at = &s->dying; *at; at = &(*at)->next_dying)
        if (*at == x) {
            *at = x->next_dying;
            break;
        }
    tell_gone(x);
    if (x->is_handed && s->options.finished)
        s->options.finished(&x->pub, s->options.cookie);
    if (x->peer) {
        x->peer->is_busy = false;
        x->peer->since_ns = clock_ns();
    }
    if (x->response)
        MHD_destroy_response(x->response);
    for (unsigned i = 0; i < x->header_count; i++)
        mem_free(x->headers[i].value);
    buf_fini(&x->body);
    buf_fini(&x->out);
    mem_free(x->uri);
    mem_free(x);
}

static void connection_changes(void *cookie, struct MHD_Connection *connection, void **context,
                               enum MHD_ConnectionNotificationCode code)
{
    struct listener *l = cookie;
    struct server *s = l->server;
    struct peer *p = *context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        p = info ? mem_zalloc(1, sizeof(*p)) : NULL;
        if (!p)
            return;
        *p = (struct peer){
            .next = s->peers, .link = &s->peers, .fd = info->connect_fd, .since_ns = clock_ns()};
        if (p->next)
            p->next->link = &p->next;
        s->peers = p;
        s->peer_count++;
        *context = p;
        return;
    }
    if (!p)
        return;
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    s->peer_count--;
    *context = NULL;
    mem_free(p);
}

__attribute__((format(printf, 2, 0))) static void library_log(void *cookie, const char *format,
                                                              va_list args)
{
    char text[512];

    (void)cookie;
    if (!log_debug_on("http"))
        return;
    vsnprintf(text, sizeof(text), format, args);
    LOG_DEBUG("http", "library says: %s", text);
}

/* --- listeners -------------------------------------------------------------------------------- */

static int listener_start(struct server *s, int fd, bool is_local, bool check_host,
                          const char *socket_path, struct llmos_error *err)
{
    const struct server_options *o = &s->options;
    const union MHD_DaemonInfo *info;
    struct epoll_event e = {.events = EPOLLIN};
    struct listener *l;

    if (s->listener_count == SERVER_LISTENERS_MAX) {
        close(fd);
        return fail(err, LLMOS_ELIMIT, "more than %d listening sockets", SERVER_LISTENERS_MAX);
    }
    l = mem_zalloc(1, sizeof(*l));
    if (!l) {
        close(fd);
        return fail(err, LLMOS_ENOMEM, "no memory for a listening socket");
    }
    *l = (struct listener){.server = s, .is_local = is_local, .check_host = check_host};
    if (socket_path)
        snprintf(l->socket_path, sizeof(l->socket_path), "%s", socket_path);
    l->mhd = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, access_request,
        l, MHD_OPTION_EXTERNAL_LOGGER, library_log, NULL, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES_MAX, MHD_OPTION_CONNECTION_LIMIT,
        o->connections_max, MHD_OPTION_CONNECTION_TIMEOUT, o->idle_seconds,
        MHD_OPTION_URI_LOG_CALLBACK, begin, l, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL,
        MHD_OPTION_NOTIFY_COMPLETED, completed, l, MHD_OPTION_NOTIFY_CONNECTION, connection_changes,
        l, MHD_OPTION_STRICT_FOR_CLIENT, FIRST_LINE_MIN, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
        MHD_OPTION_END);
    info = l->mhd ? MHD_get_daemon_info(l->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || epoll_ctl(s->epoll, EPOLL_CTL_ADD, info->epoll_fd, &e) < 0) {
        if (l->mhd)
            MHD_stop_daemon(l->mhd);
        else
            close(fd);
        mem_free(l);
        return fail(err, LLMOS_EIO, "the HTTP library could not start");
    }
    s->listeners[s->listener_count++] = l;
    return 0;
}

/* Length of the address in *to, 0 if the text is none. */
static socklen_t parse_address(const char *text, unsigned port, struct sockaddr_storage *to,
                               bool *is_loopback)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
    char bare[64];
    size_t n = strlen(text);

    memset(to, 0, sizeof(*to));
    if (strcmp(text, "localhost") == 0)
        text = "127.0.0.1";
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *is_loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
        return sizeof(*v4);
    }
    if (n > 2 && n < sizeof(bare) && text[0] == '[' && text[n - 1] == ']') {
        memcpy(bare, text + 1, n - 2);
        bare[n - 2] = '\0';
        text = bare;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        *is_loopback = IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
        return sizeof(*v6);
    }
    return 0;
}

int server_listen_tcp(struct server *s, const char *address, unsigned port, struct llmos_error *err)
{
    struct sockaddr_storage to;
    bool is_loopback = false;
    socklen_t n = port <= 65535 ? parse_address(address, port, &to, &is_loopback) : 0;
    CLEANUP(fd) int fd = -1;
    const int on = 1;
    int rc;

    if (n == 0)
        return fail(err, LLMOS_EINVAL,
                    "cannot listen on '%s' port %u: a numeric address and a port up to 65535 are "
                    "needed",
                    address, port);
    fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_errno(err, "cannot listen on '%s'", address);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (to.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&to, n) < 0 || listen(fd, 1024) < 0) {
        if (errno == EADDRINUSE)
            return fail(err, LLMOS_EBUSY,
                        "cannot listen on %s port %u: another program does; try another --port",
                        address, port);
        return fail_errno(err, "cannot listen on %s port %u", address, port);
    }
    n = sizeof(to);
    if (getsockname(fd, (struct sockaddr *)&to, &n) < 0)
        return fail_errno(err, "cannot listen on %s port %u", address, port);
    rc = listener_start(s, take_fd(&fd), false, is_loopback, NULL, err);
    if (rc < 0)
        return rc;
    return ntohs(to.ss_family == AF_INET ? ((struct sockaddr_in *)&to)->sin_port
                                         : ((struct sockaddr_in6 *)&to)->sin6_port);
}

/* Removes a socket that nobody listens on any more. */
static int replace_stale(const struct sockaddr_un *to, struct llmos_error *err)
{
    struct stat st;
    CLEANUP(fd) int fd = -1;

    if (lstat(to->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : fail_errno(err, "cannot look at '%s'", to->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return fail(err, LLMOS_EINVAL,
                    "'%s' is there and is not a socket; remove it or choose "
                    "another --socket",
                    to->sun_path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_errno(err, "cannot make a socket");
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) == 0 || errno == EAGAIN)
        return fail(err, LLMOS_EBUSY,
                    "another llmosd listens on '%s'; stop it or choose another --socket",
                    to->sun_path);
    return unlink(to->sun_path) < 0 ? fail_errno(err, "cannot replace '%s'", to->sun_path) : 0;
}

int server_listen_unix(struct server *s, const char *path, struct llmos_error *err)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    CLEANUP(fd) int fd = -1;
    mode_t old;
    int rc;

    if (strlen(path) >= sizeof(to.sun_path))
        return fail(err, LLMOS_ELIMIT, "the socket path '%s' is longer than %zu bytes", path,
                    sizeof(to.sun_path) - 1);
    memcpy(to.sun_path, path, strlen(path) + 1);
    rc = replace_stale(&to, err);
    if (rc < 0)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fail_errno(err, "cannot listen on '%s'", path);
    old = umask(0177); /* nobody else may connect, not even for a moment */
    rc = bind(fd, (struct sockaddr *)&to, sizeof(to));
    umask(old);
    if (rc < 0 || listen(fd, 128) < 0)
        return fail_errno(err, "cannot listen on '%s'", path);
    rc = listener_start(s, take_fd(&fd), true, false, path, err);
    if (rc < 0)
        unlink(path);
    return rc;
}

/* --- the server ------------------------------------------------------------------------------- */

int server_create(struct server **server, const struct server_options *options,
                  struct llmos_error *err)
{
    struct server *s = mem_zalloc(1, sizeof(*s));
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};

    if (!s)
        return fail(err, LLMOS_ENOMEM, "no memory for the HTTP server");
    s->options = *options;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll < 0 || s->wake < 0 || epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->wake, &e) < 0 ||
        getrandom(&s->next_id, sizeof(s->next_id), 0) != (ssize_t)sizeof(s->next_id)) {
        int rc = fail_errno(err, "cannot make the HTTP server");

        server_destroy(s);
        return rc;
    }
    *server = s;
    return 0;
}

/* Every suspended connection must run before the library stops: that is its rule. */
static void end_all(struct server *s)
{
    for (struct peer *p = s->peers; p; p = p->next)
        shutdown(p->fd, SHUT_RDWR);
    for (int turn = 0; turn < 50 && s->peers; turn++)
        if (server_poll(s, 10, NULL) < 0)
            break;
}

void server_destroy(struct server *s)
{
    if (!s)
        return;
    end_all(s);
    for (unsigned i = 0; i < s->listener_count; i++) {
        struct listener *l = s->listeners[i];

        if (l->socket_path[0])
            unlink(l->socket_path);
        MHD_stop_daemon(l->mhd);
        mem_free(l);
    }
    cleanup_fd(&s->epoll);
    cleanup_fd(&s->wake);
    mem_free(s);
}

void server_wake(struct server *s)
{
    const uint64_t one = 1;

    /* It fails only when a wake-up is already waiting. */
    if (write(s->wake, &one, sizeof(one)) < 0)
        return;
}

unsigned server_connections(const struct server *s)
{
    return s->peer_count;
}

bool server_busy(const struct server *s)
{
    for (const struct peer *p = s->peers; p; p = p->next)
        if (p->is_busy)
            return true;
    return false;
}

/* Ends connections that have owed us a request for too long, however busily they trickle. */
static void sweep(struct server *s)
{
    uint64_t now = clock_ns();

    if (now - s->swept_ns < SWEEP_NS)
        return;
    s->swept_ns = now;
    for (struct peer *p = s->peers; p; p = p->next)
        if (!p->is_busy && now - p->since_ns > s->options.receive_seconds * 1000000000ull)
            shutdown(p->fd, SHUT_RDWR);
}

static int wait_ms(struct server *s, int timeout_ms)
{
    long long wait = timeout_ms < 0 ? 1000000 : timeout_ms;

    if (s->must_run || s->dying)
        return 0;
    if (s->peers && wait > 1000)
        wait = 1000; /* for the sweep */
    for (unsigned i = 0; i < s->listener_count; i++) {
        MHD_UNSIGNED_LONG_LONG theirs;

        if (MHD_get_timeout(s->listeners[i]->mhd, &theirs) == MHD_YES && (long long)theirs < wait)
            wait = (long long)theirs;
    }
    return (int)wait;
}

int server_poll(struct server *s, int timeout_ms, struct llmos_error *err)
{
    struct epoll_event events[EVENTS_A_TURN];
    uint64_t count;
    int n = epoll_wait(s->epoll, events, EVENTS_A_TURN, wait_ms(s, timeout_ms));

    if (n < 0 && errno != EINTR)
        return fail_errno(err, "cannot wait for connections");
    /* No request is freed before MHD_run below, so the pointers of all events are good. */
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == s) {
            if (read(s->wake, &count, sizeof(count)) < 0)
                continue;
        } else if (events[i].data.ptr) {
            unwatch(events[i].data.ptr, WATCH_FIRED);
            die_soon(events[i].data.ptr);
        }
    }
    bury(s);
    s->must_run = false;
    for (unsigned i = 0; i < s->listener_count; i++)
        MHD_run(s->listeners[i]->mhd);
    bury(s);
    sweep(s);
    return 0;
}
