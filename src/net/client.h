/* SPDX-License-Identifier: Apache-2.0 */
/* client.h - one HTTP request to a daemon on a Unix socket, and its bounded reply.
 *
 * Over libcurl.  No redirects are followed, no proxy and no user configuration is heeded, and
 * nothing but the socket is ever connected to.  A reply that is larger than the caller allows, or
 * slower, is an error.  One thread at a time. */
#ifndef NET_CLIENT_H
#define NET_CLIENT_H

#include "base/buf.h"

struct client_request {
    const char *socket_path;
    const char *method;     /* "GET", "POST" */
    const char *path;       /* "/admin/v1/vces", escaped where necessary */
    struct str body;        /* JSON; sent with POST */
    size_t reply_max_bytes; /* 0: 1 MiB */
    unsigned timeout_ms;    /* for the whole of it; 0: 10000 */
};

/* The HTTP status, with the reply's body appended to `reply` (whose own limit holds as well).
 * LLMOS_ENOTFOUND: nobody listens there, and the text says how to start a daemon; LLMOS_EDENIED:
 * the socket belongs to another user; LLMOS_ELIMIT; LLMOS_EIO; LLMOS_ENOMEM. */
int client_call(const struct client_request *q, struct buf *reply, struct llmos_error *err);

/* Appends a name so that it is one segment of a path: "a/b" becomes "a%2Fb". */
void client_put_segment(struct buf *out, const char *name);

#endif
