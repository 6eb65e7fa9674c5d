/* SPDX-License-Identifier: Apache-2.0 */
/* embedding.h - one HTTP request for vectors or ranks, from its JSON to its last byte.
 *
 * Each text is an ask of its own, and a few of a request are with the engine at a time: it answers
 * in order, and whoever comes second waits behind a few texts, not behind thousands.  A VCE that
 * dies costs nothing but time: what it had not answered is asked once more.  A client that goes
 * takes its asks with it.  Everything runs in the daemon's thread. */
#ifndef DAEMON_EMBEDDING_H
#define DAEMON_EMBEDDING_H

#include "daemon/supervise.h"
#include "daemon/vectorapi.h"
#include "net/server.h"

struct embedding;

/* All that run. */
struct embeddings {
    struct supervisor *supervisor;
    struct json_limits json;
    bool is_draining; /* new ones are refused */
    struct embedding *first;
    unsigned count;
};

/* Answers r, now or later. */
void embedding_start(struct embeddings *all, struct server_request *r, bool is_rerank);

/* Ends what still runs with an error. */
void embeddings_end(struct embeddings *all, const char *why);

#endif
