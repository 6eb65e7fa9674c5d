/* SPDX-License-Identifier: Apache-2.0 */
/* reply.h - replies in OpenAI's dialect: bodies, chunks of a stream, errors.
 *
 * What an engine says is not believed: text that is not UTF-8 is made UTF-8, numbers that JSON
 * cannot say are replaced.  Everything is appended to a buffer of the caller.  Pure: any thread. */
#ifndef DAEMON_REPLY_H
#define DAEMON_REPLY_H

#include "daemon/openai.h"

/* What all replies to one request begin with. */
struct reply_head {
    bool is_chat;
    char id[48];
    int64_t created;
    struct str model;
};

/* Log-probabilities as they come, in the shape of the dialect: for chat one array, for completions
 * four that run in parallel. */
struct reply_logprobs {
    struct buf part[4];
    uint32_t count;
    double sum; /* of the chosen tokens, for best_of */
};

void reply_logprobs_init(struct reply_logprobs *l, size_t limit_bytes);
void reply_logprobs_fini(struct reply_logprobs *l);
void reply_logprobs_clear(struct reply_logprobs *l);
void reply_logprobs_add(struct reply_logprobs *l, bool is_chat, const struct message_text *t);
bool reply_logprobs_bad(const struct reply_logprobs *l);

#define REPLY_CALL_ID_MAX 95 /* a function's name and what an id of Kimi has besides */

struct reply_call {
    char id[REPLY_CALL_ID_MAX + 1];
    struct str name, arguments;
};

struct reply_choice {
    uint32_t index;
    struct str text;
    const struct reply_logprobs *logprobs; /* NULL: not wanted */
    const char *finish;                    /* NULL in a chunk: not the end */
    const struct reply_call *calls;        /* of a whole answer */
    uint32_t call_count;
    struct str thought; /* what stood before the text; a chunk has one of both */
};

struct reply_usage {
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
};

/* A whole body: begin, choices, end. */
void reply_begin(struct buf *out, const struct reply_head *h);
void reply_put_choice(struct buf *out, const struct reply_head *h, const struct reply_choice *c,
                      bool is_first);
void reply_end(struct buf *out, const struct reply_usage *u);

/* Events of a stream. */
void reply_event_role(struct buf *out, const struct reply_head *h, uint32_t index);
void reply_event_text(struct buf *out, const struct reply_head *h, const struct reply_choice *c);
/* A piece of a call: with an id it begins there.  c: the index and logprobs alone. */
void reply_event_call(struct buf *out, const struct reply_head *h, const struct reply_choice *c,
                      uint32_t number, const struct reply_call *piece);
void reply_event_usage(struct buf *out, const struct reply_head *h, const struct reply_usage *u);
void reply_event_done(struct buf *out);
void reply_event_error(struct buf *out, const struct openai_fault *fault);

/* The error object. */
void reply_error(struct buf *out, const struct openai_fault *fault);

#endif
