/* SPDX-License-Identifier: Apache-2.0 */
/* thought.h - what a model thinks before it answers, told apart from the answer while it comes.
 *
 *     form      what a model writes
 *     think     <think>thought</think>answer
 *     mistral   [THINK]thought[/THINK]answer
 *     granite   <think>thought</think><response>answer</response>
 *     command   <|START_THINKING|>thought<|END_THINKING|><|START_RESPONSE|>answer<|END_RESPONSE|>
 *     cohere2   <|START_THINKING|>thought<|END_THINKING|><|START_TEXT|>answer<|END_TEXT|>
 *     seed      <seed:think>thought</seed:think>answer
 *     harmony   messages: <|channel|>analysis<|message|>thought<|end|><|start|>assistant<|channel|>
 *               final<|message|>answer
 *
 * A thought stands at the beginning, or there is none: what opens later is text of the answer.
 * Where a template has opened it already, the engine says the opening first (`begun` of
 * net/message.h).  The first closing ends it, whatever stands in it; one that is not closed is a
 * thought to the end.  Blanks around it are dropped.  The marks of an answer may be there or not.
 *
 * harmony: the channel analysis is thought, others are the answer; what is said to a recipient
 * "functions.NAME", in whatever channel, becomes "<|channel|>commentary
 * to=functions.NAME<|message|> text<|call|>" in the answer, which daemon/toolcall.h reads.
 *
 * Pieces may be cut anywhere: what is told, joined, is the same.  Memory is bounded by
 * THOUGHT_HELD_MAX; time is linear.  One thread at a time. */
#ifndef SCHED_THOUGHT_H
#define SCHED_THOUGHT_H

#include "base/buf.h"
#include "net/message.h"

#define THOUGHT_HELD_MAX  4096 /* bytes that wait to be understood: blanks, or a message's head */
#define THOUGHT_MARKS_MAX 6

struct thought_format {
    const char *name;
    const char *opening, *closing;
    const char *answer_opening, *answer_closing; /* NULL: none */
    bool is_messages;                            /* harmony */
    const char *const marks[THOUGHT_MARKS_MAX];  /* that may be control tokens; NULL: no more */
};

/* By the name that an engine tells; NULL: it tells none, or none that is known. */
const struct thought_format *thought_format_of(struct str name);

/* What the engine must know to let a model think so: how a thought begins, and its marks. */
void thought_ask(const struct thought_format *f, struct message_generate *g);

/* A grammar of the answer (GBNF) becomes one of all that is said, thoughts first.  If is_content,
 * it is of an answer's text; else of all that comes behind the thoughts (harmony: messages). */
void thought_put_grammar(const struct thought_format *f, struct str grammar, bool is_content,
                         struct buf *out);

/* The text is valid during the call, and not empty. */
typedef void thought_hear(void *cookie, bool is_thought, struct str text);

struct thought_parser {
    const struct thought_format *format;
    thought_hear *hear;
    void *cookie;

    /* Of thought.c: */
    int state;
    size_t matched;        /* bytes of a mark at the end of held */
    size_t mark;           /* of which opening */
    struct buf held, told; /* not told yet; of one kind, not handed out yet */
    bool told_thought, is_thought, is_call;
    bool has_told[2]; /* the answer, a thought: something of it */
    bool is_bad;      /* memory failed */
};

/* The first three members are set by the caller, the rest is zero. */
void thought_init(struct thought_parser *p);
void thought_fini(struct thought_parser *p);
void thought_reset(struct thought_parser *p); /* for the same answer, from its beginning */

void thought_put(struct thought_parser *p, struct str text);
/* Nothing more comes: what is held is told. */
void thought_end(struct thought_parser *p);
/* False: no memory; what was told is not all. */
bool thought_is_good(const struct thought_parser *p);

#endif
