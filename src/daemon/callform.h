/* SPDX-License-Identifier: Apache-2.0 */
/* callform.h - the forms in which models write calls of functions, as their chat templates show
 * them (model/toolformat.h).
 *
 *     form         what a model writes; as many calls as it likes where nothing else is said
 *     hermes       <tool_call>{"name": ..., "arguments": {...}}</tool_call>
 *     mistral      [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]
 *     ministral    [TOOL_CALLS]name[ARGS]{...}; [CALL_ID]... behind a name is skipped
 *     granite      <|tool_call|>[{"name": ..., "arguments": {...}}, ...]
 *     phi4         the same, and <|/tool_call|>
 *     nemotron     the same between <TOOLCALL> and </TOOLCALL>
 *     apriel       the same between <tool_calls> and </tool_calls>
 *     command      <|START_ACTION|>[{"tool_call_id": "0", "tool_name": ..., "parameters": {...}},
 *                  ...]<|END_ACTION|>
 *     llama3       {"name": ..., "parameters": {...}} and nothing before it, or <|python_tag|>
 *     harmony      <|channel|>commentary to=functions.name<|message|>{...}<|call|>, which
 *                  sched/thought.h makes of a message's head
 *     qwen3xml     <tool_call><function=name>, for each argument
 *                  <parameter=key>value</parameter>, </function></tool_call>
 *     seed         the same with <seed:tool_call>
 *     functionary  <function=name>{...}</function>
 *     glm          <tool_call>name, for each argument lines <arg_key>key</arg_key> and
 *                  <arg_value>value</arg_value>, </tool_call>
 *     glm47        the same without line feeds
 *     deepseek     <calls begin><call begin>function<sep>name, {...} as a block of code (```json),
 *                  <call end>, further calls, <calls end>; the marks are written
 *                  <｜tool▁calls▁begin｜>, <｜tool▁sep｜> ...
 *     deepseek31   <calls begin><call begin>name<sep>{...}<call end>, further calls, <calls end>
 *     kimi         <|tool_calls_section_begin|><|tool_call_begin|>functions.name:0
 *                  <|tool_call_argument_begin|>{...}<|tool_call_end|>, further calls,
 *                  <|tool_calls_section_end|>
 *
 * hermes is also what a model is asked for whose template knows no tools (tools.h).  Any thread. */
#ifndef DAEMON_CALLFORM_H
#define DAEMON_CALLFORM_H

#include "base/str.h"

#define CALLFORM_MARKS_MAX 6

/* What stands around the parts of a call whose arguments stand between tags. */
struct callform_tags {
    const char *name, *name_end; /* name_end "": a blank, or the tag that comes next */
    const char *key, *key_end;
    const char *value, *value_end; /* value "": right behind the key */
    const char *end;               /* of the call */
    bool has_feeds;                /* line feeds next to a value are none of it */
    /* Of the grammar, each a sequence of GBNF: between key_end and a value, and behind it. */
    const char *before_value, *behind_value;
};

struct callform {
    const char *name;
    enum callform_shape {
        CALLFORM_OBJECT, /* of JSON, with a member that is the name and one of arguments */
        CALLFORM_NAMED,  /* the name, then the arguments as JSON */
        CALLFORM_TAGGED, /* the name and each argument between tags */
    } shape;
    const char *opening, *closing; /* of a call; closing may be empty */
    /* Calls that stand together have an opening and this ending in common, and each call begins
     * with `each`.  NULL: every call has its own opening. */
    const char *each, *ending;
    const char *between;   /* two calls, nothing else said: "" or a character and blanks */
    const char *separator; /* NAMED: what ends the name and what is said beside it */
    const struct callform_tags *tags; /* TAGGED */
    const char *id; /* of a call: this, its name, ":", its number among all calls; NULL: any */
    bool is_array;  /* calls stand in brackets between one opening and one closing */
    bool is_bare;   /* one at the beginning of an answer needs no opening */
    bool is_single; /* one call is all of an answer */
    bool forgets;   /* the template leaves out what was called before */
    enum callform_telling {
        CALLFORM_BY_TEMPLATE, /* which functions there are: variable `tools` */
        CALLFORM_BY_SYSTEM,   /* member `tools` of the system's message, as text */
        CALLFORM_BY_WORDS,    /* the template does not say: in words */
    } telling;
    const char *example; /* of a call, in words; NULL: is never asked for so */
    const char *const marks[CALLFORM_MARKS_MAX]; /* that may be control tokens; NULL: no more */
    /* Of the grammar, each a sequence of GBNF: all calls stand between the first two, a call is
     * `before`, the name, `after`, its arguments, `end`.  NULL: just what stands above. */
    const char *first, *last, *before, *after, *end;
};

/* By the name that an engine tells; NULL: it tells none, or none that is known. */
const struct callform *callform_of(struct str name);
const struct callform *callform_generic(void);

#endif
