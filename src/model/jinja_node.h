/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_node.h - a chat template as a tree.
 *
 * Read-only once parsed; any number of renderings may walk it at the same time. */
#ifndef MODEL_JINJA_NODE_H
#define MODEL_JINJA_NODE_H

#include "model/jinja_value.h"

/* What stands in a, b, c, d of each; lists are linked by next. */
enum jinja_node_kind {
    /* expressions */
    NODE_CONST, /* value */
    NODE_NAME,
    NODE_LIST,  /* a: items */
    NODE_TUPLE, /* a: items */
    NODE_DICT,  /* a: NODE_PAIR */
    NODE_PAIR,  /* a: key, b: value */
    NODE_COND,  /* a ? b : c; c may be missing */
    NODE_OR,
    NODE_AND,
    NODE_NOT,
    NODE_COMPARE,   /* a, b: NODE_OPERAND */
    NODE_OPERAND,   /* op, a */
    NODE_BINARY,    /* a op b */
    NODE_CONCAT,    /* a: parts */
    NODE_SIGN,      /* op a */
    NODE_ATTRIBUTE, /* a.name */
    NODE_ITEM,      /* a[b] */
    NODE_SLICE,     /* [a:b:c], only as b of NODE_ITEM; each may be missing */
    NODE_CALL,      /* a(b: NODE_ARGUMENT) */
    NODE_ARGUMENT,  /* a; name: of a keyword; op: '*' for *a, OP('*','*') for **a */
    NODE_FILTER,    /* a | name(b); a is missing where a block is filtered */
    NODE_TEST,      /* a is name(b) */
    /* statements */
    NODE_TEXT,       /* value */
    NODE_PRINT,      /* a */
    NODE_IF,         /* a: condition, b: then, c: else; op 1: c is the NODE_IF of an {% elif %} */
    NODE_FOR,        /* a: target, b: over what, c: body, d: else, e: condition; op 1: recursive */
    NODE_SET,        /* a: target, b: value */
    NODE_SET_BLOCK,  /* a: target, b: filter, c: body */
    NODE_MACRO,      /* name, a: NODE_PARAMETER, b: body; op: MACRO_TAKES_* */
    NODE_PARAMETER,  /* name, a: default */
    NODE_CALL_BLOCK, /* a: call, b: NODE_MACRO */
    NODE_FILTER_BLOCK, /* a: filter, b: body */
    NODE_WITH,         /* a: NODE_SET, b: body; {% generation %} is one without sets */
    NODE_BREAK,
    NODE_CONTINUE,
};

enum { MACRO_TAKES_MORE = 1, MACRO_TAKES_NAMES = 2 }; /* its body mentions varargs, kwargs */

struct jinja_function;

struct jinja_node {
    uint8_t kind;
    uint16_t op;
    uint16_t depth; /* of the tree below */
    uint32_t line;
    struct jinja_node *a, *b, *c, *d, *e, *next;
    struct str name;
    struct jinja_value value;
    const struct jinja_function *function; /* of a filter or test; NULL: there is none */
};

/* The statements of a template, in the store.  NULL: empty, or failed. */
struct jinja_node *jinja_parse_source(struct jinja_store *s, struct str source);

#endif
