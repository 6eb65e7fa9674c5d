/* SPDX-License-Identifier: Apache-2.0 */
/* tools.h - the functions that a request offers to a model, and what its answer may be therefore.
 *
 *     choice     form of calls (callform.h)  the answer
 *     required   all                         calls alone, by the grammar of their parameters
 *       (also a named function)
 *     auto       of the model's template     any text; from the opening on, calls by the grammar
 *     auto       llama3                      calls by the grammar where it begins {"name": "; any
 *                                            text else
 *     auto       templates that know no      any text; calls are read as JSON, but not held against
 *                tools                       the parameters
 *     none                                   any text, and the model is not told of functions
 *
 * A template that knows no tools, or writes them in a form that we do not read, is not told of
 * them: they are described in the first message instead, calls are asked for in the form of hermes,
 * and what was called and answered before is written so (conversation.h).  Those of DeepSeek know
 * calls, but not which functions there are, so these are described, too.  That of Phi-4-mini takes
 * them from the system's message, which is made where there is none.
 *
 * Parameters are a JSON schema (sched/schema.h).  One with a keyword that cannot be kept is refused
 * by its name; only where the model may choose and the function does not say `strict`, its
 * arguments are any object, and `unkept` names it.  Any thread. */
#ifndef DAEMON_TOOLS_H
#define DAEMON_TOOLS_H

#include "base/json.h"
#include "daemon/toolcall.h"

#define TOOLS_MAX 128 /* as the dialect says */

enum tools_choice { TOOLS_NONE, TOOLS_AUTO, TOOLS_REQUIRED };

struct tools {
    const json_t *list; /* of the request, which must outlive this; NULL: there are none */
    uint32_t count;
    struct toolcall_function *functions; /* in the arena */
    enum tools_choice choice;
    uint32_t named; /* the only one that may be called; count: any */
    uint32_t calls_max;
    uint32_t calls_before; /* in the conversation */
    const struct callform *format;
    bool is_native; /* the chat template knows them */
    enum callform_telling telling;
    bool is_strict; /* calls keep to a grammar */
    char unkept[64];
};

/* native: the form that the model's template shows, NULL: none.  0, or negative with the fault. */
int tools_take(struct tools *tools, const json_t *request, const struct callform *native,
               struct arena *arena, struct json_fault *fault);

/* Appends the grammar of the answer to out, or nothing if any text will do; sets is_strict and
 * unkept.  is_messages: answers are messages of harmony (sched/thought.h).  0, or negative with the
 * fault. */
int tools_put_grammar(struct tools *tools, bool is_messages, struct buf *out,
                      struct json_fault *fault);

/* Appends the functions, an array of JSON. */
void tools_list(const struct tools *tools, struct buf *out);
/* Appends what a model must know, in words. */
void tools_describe(const struct tools *tools, struct buf *out);

#endif
