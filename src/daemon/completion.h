/* SPDX-License-Identifier: Apache-2.0 */
/* completion.h - one HTTP request for text, from its JSON to its last byte.
 *
 * A request becomes one ask for each sequence (prompts times n).  Nothing is sent to the client
 * before an engine says something, so until then a failure is a plain status, and a VCE that dies
 * costs nothing but time: the asks are repeated once with the same seeds.  After that a failure is
 * an error event at the end of the stream.  A client that goes takes its asks with it.  Everything
 * runs in the daemon's thread. */
#ifndef DAEMON_COMPLETION_H
#define DAEMON_COMPLETION_H

#include "daemon/reply.h"
#include "daemon/supervise.h"
#include "net/server.h"

struct completion;

/* All that run. */
struct completions {
    struct supervisor *supervisor;
    struct json_limits json;
    size_t reply_max_bytes; /* of one sequence that is not streamed */
    bool is_draining;       /* new ones are refused */
    struct completion *first;
    unsigned count;
};

/* Answers r, now or later. */
void completion_start(struct completions *all, struct server_request *r, bool is_chat);

/* Ends what still runs with an error. */
void completions_end(struct completions *all, const char *why);

/* Replies with the error object; 429 and 503 carry retry-after. */
void completion_refuse(struct server_request *r, const struct openai_fault *fault,
                       unsigned retry_seconds);

/* The fault of an unknown model. */
void completion_unknown_model(struct openai_fault *fault, struct str name);

#endif
