/* SPDX-License-Identifier: Apache-2.0 */
/* gbnf.h - the text of a grammar as a tree; grammar.c makes steps of it.
 *
 * The tree lies in the caller's arena and points into the text. */
#ifndef INFER_GBNF_H
#define INFER_GBNF_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/str.h"

#include <stdint.h>

#define GBNF_NO_END UINT32_MAX /* of a repetition */

struct gbnf_range {
    uint32_t low, high; /* code points, inclusive */
};

enum gbnf_kind { GBNF_CLASS, GBNF_RULE, GBNF_GROUP };

/* One element of a sequence.  A literal is a sequence of classes in a group of its own. */
struct gbnf_element {
    enum gbnf_kind kind;
    uint32_t least, most; /* repetitions */
    bool is_repeated;     /* they were written down */
    struct gbnf_element *before;
    uint32_t rule; /* RULE, and a GROUP that grammar.c made one of; UINT32_MAX: not yet */
    uint32_t range_count;
    const struct gbnf_range *ranges; /* CLASS: in order, apart from each other */
    struct gbnf_body *group;
};

struct gbnf_sequence {
    struct gbnf_element *last;
    struct gbnf_sequence *before;
};

struct gbnf_body {
    struct gbnf_sequence *last; /* of its alternatives */
};

struct gbnf_rule {
    struct str name;
    struct gbnf_body *body; /* NULL: not defined */
    unsigned line;          /* where it was named first */
};

struct gbnf {
    struct gbnf_rule *rules;
    uint32_t rule_count, root;
};

/* LLMOS_EFORMAT with the line for what is no GBNF, LLMOS_ELIMIT for what is too much of it. */
int gbnf_parse(struct gbnf *g, struct str text, struct arena *arena, struct llmos_error *err);

#endif
