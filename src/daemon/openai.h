/* SPDX-License-Identifier: Apache-2.0 */
/* openai.h - a request in OpenAI's dialect, from JSON to what an engine is asked.
 *
 * Fail closed: a field that we do not implement and that would change the answer is an error that
 * names it; one that would not is accepted and named in `ignored`, which goes into the header
 * x-llmos-ignored; a field that nobody knows is an error with the nearest known name.  Pure: any
 * thread. */
#ifndef DAEMON_OPENAI_H
#define DAEMON_OPENAI_H

#include "base/json.h"
#include "daemon/toolcall.h"
#include "net/message.h"
#include "sched/thought.h"

#define OPENAI_CHOICES_MAX 128 /* prompts times n (or best_of): each is a sequence of its own */

struct openai_request {
    bool is_chat, is_stream, include_usage, has_seed;
    bool want_logprobs; /* in the answer; best_of asks the engine for them without this */
    struct str model;
    uint32_t n, best_of; /* best_of >= n sequences a prompt, the n best are returned */
    uint32_t prompt_count;
    struct message_generate *prompts; /* they differ only in the prompt; seed is set if has_seed */
    /* How calls are found in answers: all but hear and cookie.  format NULL: they are not. */
    struct toolcall_parser calls;
    uint32_t calls_before; /* in the conversation */
    const struct thought_format
        *thoughts;       /* that are told apart from answers; NULL: they are not */
    bool hides_thoughts; /* and not told at all */
    char ignored[256];   /* "user, metadata" */
};

/* What a request must know of the model that it names. */
struct openai_models {
    /* In which form it calls functions, and thinks; NULL: its template knows none, or there is no
     * such model. */
    const struct callform *(*tool_format)(void *owner, struct str model);
    const struct thought_format *(*thought_format)(void *owner, struct str model);
    void *owner;
};

/* What is told to the client. */
struct openai_fault {
    int status;       /* of HTTP */
    const char *type; /* "invalid_request_error" */
    const char *code; /* NULL: none */
    struct json_fault what;
};

/* What an error of the code means over HTTP; the text in fault->what.err is the caller's. */
void openai_fault_of(struct openai_fault *fault, int code);

/* A list that begins with a number is one of token ids. */
bool openai_is_tokens(const json_t *v);

/* Its ids, as many as it has, into the arena; a fault names the field `key`. */
int openai_take_tokens(const json_t *array, const char *key, struct arena *arena, int32_t **tokens,
                       struct json_fault *fault);

/* models may be NULL if it is no chat.  Everything in *r is in the arena.  Negative with the fault
 * filled, if not. */
int openai_parse(struct openai_request *r, bool is_chat, struct str body,
                 const struct json_limits *limits, const struct openai_models *models,
                 struct arena *arena, struct openai_fault *fault);

#endif
