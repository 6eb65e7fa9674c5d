/* SPDX-License-Identifier: Apache-2.0 */
/* schemajob.h - one JSON schema on its way to a grammar: what the schema*.c share, and nobody else.
 *
 * A file for each thing that schemas are made of.  A schema becomes a rule; what writes a part of
 * it appends one element of a sequence to `body`, and rules that this needs to j->out.  Calls
 * return 0 or a negative LLMOS_E* with a sentence in j->err. */
#ifndef SCHED_SCHEMAJOB_H
#define SCHED_SCHEMAJOB_H

#include "sched/automaton.h"
#include "sched/schema.h"

#define SCHEMA_REFS_MAX     1024 /* of different places */
#define SCHEMA_NESTED_MAX   64   /* schemas in schemas, references that are merged included */
#define SCHEMA_BRANCHES_MAX 512  /* of one anyOf, all combinations counted */
#define SCHEMA_LENGTH_MAX   65536
#define SCHEMA_PLACES_MAX   8192 /* of things in an order, each with what was counted before it */
#define SCHEMA_LISTED_MAX   8    /* different items in any order; more come in that of the list */

#define SCHEMA_MULTIPLE_WHY \
    "is supported from above 0 to 1000, and as such a number times a power of 10"

/* Where in the schema, from the innermost part to the root, which is NULL. */
struct path {
    const struct path *up;
    const char *key; /* NULL: an index */
    size_t index;
};

struct ref {
    const json_t *target;
    unsigned rule;
};

struct job {
    struct buf *out;
    const json_t *root;
    json_t *made; /* an array that owns schemas that were merged */
    struct ref refs[SCHEMA_REFS_MAX];
    size_t ref_count, refs_done;
    unsigned rules, merges, depth;
    uint64_t work;   /* steps that are left for automata and looks at values */
    bool is_nothing; /* what was refused last is a schema that nothing is valid for */
    struct llmos_error *err;
};

/* --- schema.c: rules, and what cannot be one --- */

/* "the schema's keyword '...' at '...' <why>"; without a keyword "the schema at '...' <why>". */
int schema_refuse(struct job *j, int code, const struct path *at, const char *keyword,
                  const char *why);
/* Likewise, and says so in j->is_nothing: an anyOf goes on without this branch. */
int schema_nothing(struct job *j, const struct path *at, const char *keyword, const char *why);
int schema_no_memory(struct job *j);
bool schema_pay(struct job *j, uint64_t steps); /* false: there are none left */
/* A value is kept as long as the job and given back; NULL: no memory. */
json_t *schema_keep(struct job *j, json_t *v);
int schema_put_part(struct job *j, const json_t *schema, const struct path *at, struct buf *body);

/* --- schemaword.c: keywords --- */

bool schema_is_note(const char *name); /* changes nothing */
bool schema_says_nothing(const char *name, const json_t *v);
int schema_check_keywords(struct job *j, const json_t *schema, const struct path *at);
/* 1 and *out, or 0 if it is not there. */
int schema_take_size(struct job *j, const json_t *schema, const struct path *at, const char *name,
                     uint64_t *out);
/* Types that the keywords of a schema are about. */
unsigned schema_untyped_bits(const json_t *schema);

/* --- schematype.c: types, as bits; 0: there is no such type --- */

enum { OBJECT = 1, ARRAY = 2, STRING = 4, NUMBER = 8, INTEGER = 16, BOOLEAN = 32, NIL = 64 };

unsigned schema_type_bits(const json_t *type); /* a name or a list of them */
unsigned schema_value_bits(const json_t *v);
json_t *schema_both_types(const json_t *a, const json_t *b); /* new; NULL: no value has both */
json_t *schema_types_of_bits(unsigned bits);                 /* new */
bool schema_is_equal(const json_t *a, const json_t *b);      /* as values: 1 is 1.0 */

/* --- schemaref.c: references --- */

int schema_find_target(struct job *j, const json_t *schema, const struct path *at,
                       const json_t **target);
int schema_put_ref(struct job *j, const json_t *schema, const struct path *at, struct buf *body);

/* --- schemamerge.c: several schemas in one.  What is made is new --- */

json_t *schema_common_of(const json_t *a, const json_t *b); /* values that both lists have */
json_t *schema_all_of(const json_t *a, const json_t *b);
/* The schema without $ref and allOf, which are merged into it; the job keeps it. */
int schema_flatten(struct job *j, const json_t *schema, const struct path *at, json_t **flat);

/* --- schemacond.c: what becomes a part of allOf --- */

bool schema_has_conditions(const json_t *schema);
void schema_drop_conditions(json_t *schema);
int schema_add_conditions(struct job *j, const json_t *schema, const struct path *at,
                          json_t *parts);

/* --- schemanot.c: the opposite --- */

/* All that is not valid for the schema, or less; new, NULL: an error. */
json_t *schema_opposite(struct job *j, const json_t *schema, const struct path *at);
/* Is this value of "not" one that stays?  {"enum"}, {"pattern"}, {"multipleOf"}, {"type":
 * "integer"}, or an anyOf of such. */
bool schema_not_is_kept(const json_t *s);
const json_t *schema_excluded(const json_t *schema, size_t i); /* the i-th of them; NULL: no more */
json_t *schema_not_both(const json_t *a, const json_t *b);     /* new */

/* --- schemavalid.c --- */

/* 1: the value is valid for the schema, 0: it is not. */
int schema_holds(struct job *j, const json_t *schema, const json_t *v, const struct path *at);

/* --- values, strings, numbers, arrays, objects, branches: a file for each --- */

/* The values that a schema lists by enum, const, types or limits that leave few, as far as they are
 * valid for all of it.  New; NULL: an error, or with *rc 0 it lists none. */
json_t *schema_listed(struct job *j, const json_t *schema, const struct path *at, int *rc);
int schema_put_listed(struct job *j, const json_t *schema, const struct path *at, struct buf *body);
int schema_put_strings(struct job *j, const json_t *schema, const struct path *at,
                       struct buf *body);
/* The texts that strings of the schema may be; and one pattern or format. */
int schema_string_set(struct job *j, const json_t *schema, const struct path *at,
                      struct automaton *a);
int schema_regex_set(struct job *j, const char *keyword, const json_t *value, const struct path *at,
                     struct automaton *a);
/* A pattern or format as it stands in the schema: one, or those of several schemas that were
 * merged, as a list behind a null.  NULL: there is no i-th one. */
const json_t *schema_regex_at(const json_t *parts, size_t i);
int schema_put_numbers(struct job *j, const json_t *schema, bool is_integer, const struct path *at,
                       struct buf *body);
int schema_put_arrays(struct job *j, const json_t *schema, const struct path *at, struct buf *body);
int schema_put_objects(struct job *j, const json_t *schema, const struct path *at,
                       struct buf *body);
/* anyOf or oneOf: each branch together with what stands beside it. */
int schema_put_branches(struct job *j, const json_t *schema, const char *name,
                        const struct path *at, struct buf *body);

/* --- schemachain.c --- */

struct chain {
    const struct link {
        unsigned rule;
        bool is_required;
    } * at;
    size_t count;
    uint64_t least, most; /* of all things; most UINT64_MAX: no end */
    bool has_rest;
    unsigned rest; /* the rule of others, which come behind */
};

/* Appends the things with commas between them, nothing if there may be none. */
int schema_put_chain(struct job *j, const struct chain *c, const struct path *at, struct buf *body);

/* --- objects, for branches and values --- */

int schema_name_holds(struct job *j, const json_t *names, const char *name, const struct path *at);
int schema_name_matches(struct job *j, const char *pattern, const char *name,
                        const struct path *at);

struct members {
    const json_t *properties, *required; /* NULL: none */
    const json_t *rest; /* of properties that are not named; NULL: there are none */
};

bool schema_is_required(const struct members *m, const char *name);

#endif
