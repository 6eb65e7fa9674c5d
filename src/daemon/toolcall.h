/* SPDX-License-Identifier: Apache-2.0 */
/* toolcall.h - the calls of functions that stand in what a model says, found while it comes.
 * Models write them in the forms of callform.h.  Members of an object may come in any order,
 * "tool_name" is "name", "parameters" is "arguments", and others are skipped.  A value between tags
 * is a string as it is where its parameter may be one and nothing else; else JSON, or a string
 * where it is no JSON of a type that the parameter may have (sched/schema.h).  Of a parameter that
 * comes twice the first counts.
 *
 * What is no call of a function that was offered (another name, broken JSON, arguments that are no
 * object) is text, as it was said; so is what is longer than a limit.  Blanks before a call, and
 * behind the last one, are dropped.
 *
 * Pieces may be cut anywhere: what is told, joined, is the same.  If is_strict, the answer keeps to
 * a grammar that allows calls only as they should be, and arguments are told as they come (between
 * tags, value by value); else a call is told when it is whole and its arguments have been read as
 * JSON.  Memory is bounded by TOOLCALL_HELD_MAX; time is linear.  One thread at a time. */
#ifndef DAEMON_TOOLCALL_H
#define DAEMON_TOOLCALL_H

#include "base/buf.h"
#include "base/json.h"
#include "daemon/callform.h"

#define TOOLCALL_CALLS_MAX 128        /* of one answer */
#define TOOLCALL_NAME_MAX  64         /* bytes of a function's name, as the dialect says */
#define TOOLCALL_HELD_MAX  (1u << 20) /* bytes that wait to be understood */

/* What may be said for a parameter, where calls are TAGGED. */
struct toolcall_parameter {
    struct str name;
    unsigned types; /* of sched/schema.h */
};

struct toolcall_function {
    struct str name;
    const struct toolcall_parameter *parameters; /* of others everything may be said */
    uint32_t parameter_count;
};

enum toolcall_kind {
    TOOLCALL_TEXT,      /* no call: content */
    TOOLCALL_BEGIN,     /* a call begins; text: the function's name, one of the caller's */
    TOOLCALL_ARGUMENTS, /* a piece of its arguments */
};

/* index: of the call, from 0; of text it says nothing.  No more calls begin than calls_max,
 * whatever is said.  The text is valid during the call. */
typedef void toolcall_hear(void *cookie, enum toolcall_kind kind, uint32_t index, struct str text);

struct toolcall_parser {
    const struct callform *format;
    const struct toolcall_function *functions; /* the caller's */
    uint32_t function_count;
    uint32_t calls_max;
    bool is_strict;
    toolcall_hear *hear;
    void *cookie;

    /* Of toolcall.c and its parts (callpart.h): */
    int state;
    bool has_begun;  /* something was said that is no blank */
    struct buf held; /* not told yet */
    struct buf told; /* of one kind, not handed out yet */
    enum toolcall_kind told_kind;
    size_t matched; /* bytes of the opening or closing */
    uint32_t calls; /* begun */
    bool is_open;   /* the last one has not ended */
    bool is_bad;    /* memory failed */
    struct toolcall_object {
        int state;
        unsigned depth; /* within a value */
        bool in_string, is_escaped;
        bool is_alone; /* the arguments are all */
        char key[16], name[TOOLCALL_NAME_MAX + 1];
        size_t key_len, name_len;
        int member;        /* which the value is of */
        size_t begin, end; /* of the arguments, in held; end 0: not yet */
        bool is_told;
        const struct toolcall_function *offered; /* of that name; NULL: none yet */
    } object;
    size_t item_from;         /* in held: where the head, tag or value begins */
    size_t key_from, key_len; /* in held: of TAGGED's last parameter */
    struct buf made;          /* TAGGED: the arguments as JSON, not told yet */
    json_t *said;             /* TAGGED: an object whose keys are the parameters that were said */
};

/* The first six members are set by the caller, the rest is zero. */
void toolcall_init(struct toolcall_parser *p);
void toolcall_fini(struct toolcall_parser *p);
void toolcall_reset(struct toolcall_parser *p); /* for the same answer, from its beginning */

void toolcall_put(struct toolcall_parser *p, struct str text);
/* Nothing more comes: what is held is told, as text where it is no call. */
void toolcall_end(struct toolcall_parser *p);
/* False: no memory; what was told is not all. */
bool toolcall_is_good(const struct toolcall_parser *p);

#endif
