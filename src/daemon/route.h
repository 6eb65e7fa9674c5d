/* SPDX-License-Identifier: Apache-2.0 */
/* route.h - which request goes where. */
#ifndef DAEMON_ROUTE_H
#define DAEMON_ROUTE_H

#include "daemon/job.h"

struct routes {
    struct supervisor *supervisor;
    struct jobs jobs;
    struct server *server;
    uint64_t start_ns;
    int64_t started_at;    /* seconds since 1970 */
    uint64_t replies[600]; /* by status */
};

/* For struct server_options; the cookie is the struct routes. */
void route_handle(struct server_request *r, void *cookie);
void route_refuse(struct server_request *r, int status, const char *why, void *cookie);
void route_finished(const struct server_request *r, void *cookie);

/* route_admin.c: everything under /admin/, for requests that came over the Unix socket. */
void route_admin(struct routes *routes, struct server_request *r);

/* route_metrics.c: GET /metrics. */
void route_metrics(struct routes *routes, struct server_request *r);

/* Helpers for the route files. */
void route_json(struct server_request *r, int status, struct buf *body);
void route_fail(struct server_request *r, int status, const char *code, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* True if the method is the one wanted (HEAD passes for GET); else it has been answered. */
bool route_method(struct server_request *r, const char *wanted);
/* The text without its percent-escapes.  LLMOS_EINVAL: a broken escape, a control character, or
 * longer than `size`. */
int route_unescape(struct str text, char *to, size_t size);

#endif
