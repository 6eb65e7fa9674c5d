/* SPDX-License-Identifier: Apache-2.0 */
/* schemajob.h - one JSON schema on its way to a grammar: what the schema*.c share, and nobody else.
 *
 * A file for each thing that schemas are made of.  A schema becomes a rule; what writes a part of
 * it appends one element of a sequence to `body`, and rules that this needs to j->out.  Calls
 * return 0 or a negative LLMOS_E* with a sentence in j->err. */
#ifndef SCHED_SCHEMAJOB_H
#define SCHED_SCHEMAJOB_H

#include "sched/schema.h"

#define SCHEMA_REFS_MAX     1024 /* of different places */
#define SCHEMA_NESTED_MAX   64   /* schemas in schemas, references that are merged included */
#define SCHEMA_BRANCHES_MAX 512  /* of one anyOf, all combinations counted */
#define SCHEMA_LENGTH_MAX   65536

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
    struct llmos_error *err;
};

/* --- schema.c: rules, and what cannot be one --- */

/* "the schema's keyword '...' at '...' <why>"; without a keyword "the schema at '...' <why>". */
int schema_refuse(struct job *j, int code, const struct path *at, const char *keyword,
                  const char *why);
int schema_no_memory(struct job *j);
/* A value is kept as long as the job and given back; NULL: no memory. */
json_t *schema_keep(struct job *j, json_t *v);
int schema_put_part(struct job *j, const json_t *schema, const struct path *at, struct buf *body);

/* --- schemaword.c: keywords --- */

bool schema_is_note(const char *name); /* changes nothing */
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

/* --- schemaref.c: references --- */

int schema_find_target(struct job *j, const json_t *schema, const struct path *at,
                       const json_t **target);
int schema_put_ref(struct job *j, const json_t *schema, const struct path *at, struct buf *body);

/* --- schemamerge.c: several schemas in one.  What is made is new --- */

json_t *schema_common_of(const json_t *a, const json_t *b); /* values that both lists have */
json_t *schema_all_of(const json_t *a, const json_t *b);
/* The schema without $ref and allOf, which are merged into it; the job keeps it. */
int schema_flatten(struct job *j, const json_t *schema, const struct path *at, json_t **flat);

/* --- values, strings, numbers, arrays, objects, branches: a file for each --- */

/* enum and const, as far as the types let them. */
int schema_put_listed(struct job *j, const json_t *schema, unsigned bits, const struct path *at,
                      struct buf *body);
int schema_put_strings(struct job *j, const json_t *schema, const struct path *at,
                       struct buf *body);
int schema_put_numbers(struct job *j, const json_t *schema, bool is_integer, const struct path *at,
                       struct buf *body);
int schema_put_arrays(struct job *j, const json_t *schema, const struct path *at, struct buf *body);
int schema_put_objects(struct job *j, const json_t *schema, const struct path *at,
                       struct buf *body);
/* anyOf or oneOf: each branch together with what stands beside it. */
int schema_put_branches(struct job *j, const json_t *schema, const char *name,
                        const struct path *at, struct buf *body);

struct members {
    const json_t *properties, *required; /* NULL: none */
    const json_t *rest; /* of properties that are not named; NULL: there are none */
};

bool schema_is_required(const struct members *m, const char *name);

#endif
