/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - HTTP requests in, replies and streams out; one thread, one epoll set.
 *
 * A thin wrapper over libmicrohttpd.  Everything here, handlers and callbacks included, runs in the
 * thread that calls server_poll; other threads reach it with server_wake.  A request is handed to
 * the handler when its body is complete, and never if it broke a limit or came with a wrong Host.
 * The handler answers at once, or keeps the request and answers later; a client that disappears in
 * between is noticed at once and `gone` is called, after which the request must not be used.
 *
 * Limits: headers 32 KiB (431), body (413), connections, time to receive one request.  Against DNS
 * rebinding a listener on loopback accepts only known names as Host, and against other web sites
 * every listener accepts only known names as Origin (403). */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "base/buf.h"

#define SERVER_LISTENERS_MAX 8
#define SERVER_NAMES_MAX     16

struct server;
struct server_request;

struct server_options {
    size_t body_max_bytes;
    size_t stream_max_bytes; /* unsent bytes of a stream whose client does not read: then it ends */
    unsigned connections_max;
    unsigned receive_seconds;            /* for one request, its head and body together */
    unsigned idle_seconds;               /* between requests, and for a client that does not read */
    const char *names[SERVER_NAMES_MAX]; /* more names that a Host header may carry; they live on */
    unsigned name_count;

    void (*handle)(struct server_request *r, void *cookie);
    /* The reply of a request that is refused before the handler sees it, to be given with
     * server_reply.  May be NULL: plain text. */
    void (*refuse)(struct server_request *r, int status, const char *why, void *cookie);
    /* Once for each finished request, for metrics and logs. */
    void (*finished)(const struct server_request *r, void *cookie);
    void *cookie;
};

int server_create(struct server **s, const struct server_options *options, struct llmos_error *err);
void server_destroy(struct server *s); /* ends what still runs; NULL is fine */

/* Address: numeric, IPv4 or IPv6 (with or without brackets), or "localhost".  Port 0: any free one.
 * Returns the port. */
int server_listen_tcp(struct server *s, const char *address, unsigned port,
                      struct llmos_error *err);
/* Mode 0600.  A socket file nobody listens on is replaced. */
int server_listen_unix(struct server *s, const char *path, struct llmos_error *err);

/* One turn: waits at most timeout_ms (-1: no limit) for something to do and does it. */
int server_poll(struct server *s, int timeout_ms, struct llmos_error *err);
/* Makes server_poll return.  Any thread, also a signal handler. */
void server_wake(struct server *s);

/* A request, for the handler to read. */
struct server_request {
    const char *method;
    struct str path;  /* as sent: percent-escapes are still in it */
    struct str query; /* behind '?', or empty */
    struct str body;
    bool is_local; /* came over the Unix socket */
    char id[24];   /* x-request-id */

    /* The handler's, for requests that it answers later. */
    void *job;
    void (*gone)(struct server_request *r);

    int status; /* of the reply; 0: none yet */
    uint64_t start_ns;
};

/* A header of the request, or NULL. */
const char *server_header(const struct server_request *r, const char *name);
/* A header of the reply; before the reply.  Values are cut at the first control character. */
void server_add_header(struct server_request *r, const char *name, const char *value);

/* The whole reply.  The bytes of *body are taken over, *body is empty afterwards. */
void server_reply(struct server_request *r, int status, const char *content_type, struct buf *body);

/* A reply of unknown length: start, put, put, ..., end.  After a stream has overflowed or its
 * client has gone, `gone` is called once and puts do nothing. */
void server_stream_start(struct server_request *r, const char *content_type);
void server_stream_put(struct server_request *r, struct str bytes);
void server_stream_end(struct server_request *r);

unsigned server_connections(const struct server *s);
/* True while a request is being answered, its last bytes included. */
bool server_busy(const struct server *s);

/* True if `host` ("name", "name:port", "[::1]:port") is loopback or one of the names. */
bool server_host_allowed(struct str host, const char *const *names, unsigned count);

#endif
