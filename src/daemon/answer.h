/* SPDX-License-Identifier: Apache-2.0 */
/* answer.h - replies in OpenAI's dialect: bodies, chunks of a stream, errors.
 *
 * What an engine says is not believed: text that is not UTF-8 is made UTF-8, numbers that JSON
 * cannot say are replaced.  Everything is appended to a buffer of the caller.  Pure: any thread. */
#ifndef DAEMON_ANSWER_H
#define DAEMON_ANSWER_H

#include "daemon/openai.h"

/* What all replies to one request begin with. */
struct answer_head {
    bool is_chat;
    char id[48];
    int64_t created;
    struct str model;
};

/* Log-probabilities as they come, in the shape of the dialect: for chat one array, for completions
 * four that run in parallel. */
struct answer_logprobs {
    struct buf part[4];
    uint32_t count;
    double sum; /* of the chosen tokens, for best_of */
};

void answer_logprobs_init(struct answer_logprobs *l, size_t limit_bytes);
void answer_logprobs_fini(struct answer_logprobs *l);
void answer_logprobs_clear(struct answer_logprobs *l);
void answer_logprobs_add(struct answer_logprobs *l, bool is_chat, const struct message_text *t);
bool answer_logprobs_bad(const struct answer_logprobs *l);

struct answer_choice {
    uint32_t index;
    struct str text;
    const struct answer_logprobs *logprobs; /* NULL: not wanted */
    const char *finish;                     /* NULL in a chunk: not the end */
};

struct answer_usage {
    uint64_t prompt_tokens, cached_tokens, completion_tokens;
};

/* A whole body: begin, choices, end. */
void answer_begin(struct buf *out, const struct answer_head *h);
void answer_put_choice(struct buf *out, const struct answer_head *h, const struct answer_choice *c,
                       bool is_first);
void answer_end(struct buf *out, const struct answer_usage *u);

/* Events of a stream. */
void answer_event_role(struct buf *out, const struct answer_head *h, uint32_t index);
void answer_event_text(struct buf *out, const struct answer_head *h, const struct answer_choice *c);
void answer_event_usage(struct buf *out, const struct answer_head *h, const struct answer_usage *u);
void answer_event_done(struct buf *out);
void answer_event_error(struct buf *out, const struct openai_fault *fault);

/* The error object. */
void answer_error(struct buf *out, const struct openai_fault *fault);

#endif
