/* SPDX-License-Identifier: Apache-2.0 */
/* grammar.h - which texts an answer may be: a context-free grammar, compiled to steps over bytes.
 *
 * The notation is GBNF, that of llama.cpp (its file grammars/README.md): rules `name ::= ...` of
 * "literals", [classes], ., other rules, (groups), | and the repetitions * + ? {m} {m,} {m,n}; the
 * text is what rule `root` makes.  Characters are code points and become UTF-8 here.
 *
 * A rule becomes a graph of nodes (Thompson 1968), built from its end to its beginning so that
 * equal endings are one; another rule in it is a call.  Refused with a sentence: what is no GBNF,
 * rules that are missing, that begin with themselves (left recursion) or that cannot end, and
 * whatever passes a limit below.  Time and memory are linear in the text but for counted
 * repetitions, which are written out and pay for it from a budget.
 *
 * Read-only once made: any thread. */
#ifndef INFER_GRAMMAR_H
#define INFER_GRAMMAR_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/str.h"

#include <stdint.h>

#define GRAMMAR_TEXT_MAX   (1u << 20) /* bytes */
#define GRAMMAR_RULES_MAX  32768      /* groups that are repeated by number count as rules */
#define GRAMMAR_NODES_MAX  (1u << 19)
#define GRAMMAR_WORK_MAX   (1u << 23)  /* steps of compiling; a tenth of a second */
#define GRAMMAR_GROUPS_MAX 128         /* groups in groups */
#define GRAMMAR_REPEAT_MAX 65536       /* of {m,n} */
#define GRAMMAR_BYTES_MAX  (64u << 20) /* of one grammar, its making included */

enum grammar_kind {
    GRAMMAR_RETURN, /* the rule ends */
    GRAMMAR_ACCEPT, /* the text ends */
    GRAMMAR_BYTES,  /* one byte of set a, then node b */
    GRAMMAR_SPLIT,  /* node a or node b */
    GRAMMAR_CALL,   /* rule a, then node b */
};

struct grammar_node {
    uint32_t kind, a, b;
};

struct grammar_rule {
    uint32_t start;
    uint32_t order;   /* a rule stands behind all that may begin with it */
    bool is_nullable; /* may be empty */
};

struct grammar_set {
    uint64_t bits[4]; /* of bytes */
};

struct grammar {
    struct arena arena;
    struct grammar_node *nodes; /* the first two: RETURN, ACCEPT */
    struct grammar_rule *rules;
    struct grammar_set *sets;
    uint32_t *by_order; /* rules */
    uint32_t node_count, rule_count, set_count, root;
    /* Bytes that no set tells apart are of one class. */
    uint8_t byte_class[256];
    uint32_t class_count;
};

int grammar_compile(struct grammar **grammar, struct str text, struct llmos_error *err);
void grammar_destroy(struct grammar *grammar); /* NULL is fine */

static inline bool grammar_set_has(const struct grammar_set *s, unsigned byte)
{
    return s->bits[byte / 64] >> (byte % 64) & 1;
}

#endif
