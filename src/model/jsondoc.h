/* SPDX-License-Identifier: Apache-2.0 */
/* jsondoc.h - JSON of a model's folder as one table of values, read without a library.
 *
 * The engine reads these files, and what it links a hostile model could reach; so this is a loop of
 * our own, without recursion, over bytes that it never leaves.  A value takes 24 bytes; values
 * stand in the order of the text, so that what a container holds lies right behind it, and `end` is
 * the number of the first value that it does not hold.  In an object each member is two: key,
 * value. Strings are slices of the text, or of the arena where escapes were taken out: the text
 * must outlive the table.  Refused with line and column: broken UTF-8, U+0000 and lone halves of
 * surrogates, NaN and Infinity, numbers beyond double, keys that stand twice, trailing garbage, and
 * what is deeper than JSONDOC_DEPTH_MAX.  Read-only after parsing: any thread. */
#ifndef MODEL_JSONDOC_H
#define MODEL_JSONDOC_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/str.h"

#include <stdint.h>

#define JSONDOC_DEPTH_MAX 64
#define JSONDOC_BYTES_MAX (256u << 20)
#define JSONDOC_VALUES_MAX                                                 \
    (8u << 20) /* a tokenizer of 260 000 tokens and 580 000 merges has 2 M \
                */

enum jdoc_type {
    JDOC_NULL,
    JDOC_BOOL,
    JDOC_INTEGER, /* without fraction and exponent, within int64 */
    JDOC_NUMBER,
    JDOC_STRING,
    JDOC_ARRAY,
    JDOC_OBJECT,
};

struct jdoc_value {
    uint8_t type;
    uint32_t end;   /* of an array or object; else its own number + 1 */
    uint32_t count; /* of members or elements; of a string: bytes */
    union {
        int64_t i; /* and bool */
        double f;
        const char *at;
    };
};

struct jsondoc {
    struct jdoc_value *values; /* [0] is the root */
    uint32_t count;
};

/* `name` (of the file) stands in front of errors.  What is allocated lies in the arena. */
int jsondoc_parse(struct jsondoc *d, struct arena *arena, struct str text, const char *name,
                  struct llmos_error *err);

/* A value of a table: NULL stands for "absent", and every question about it has an answer. */
struct jdoc_ref {
    const struct jsondoc *doc;
    uint32_t at; /* UINT32_MAX: absent */
};

#define JDOC_ABSENT ((struct jdoc_ref){NULL, UINT32_MAX})

static inline struct jdoc_ref jdoc_root(const struct jsondoc *d)
{
    return d && d->count ? (struct jdoc_ref){d, 0} : JDOC_ABSENT;
}

static inline const struct jdoc_value *jdoc_at(struct jdoc_ref r)
{
    return r.at == UINT32_MAX ? NULL : &r.doc->values[r.at];
}

static inline bool jdoc_is(struct jdoc_ref r, enum jdoc_type type)
{
    return r.at != UINT32_MAX && r.doc->values[r.at].type == type;
}

/* Present, and not null. */
static inline bool jdoc_is_there(struct jdoc_ref r)
{
    return r.at != UINT32_MAX && r.doc->values[r.at].type != JDOC_NULL;
}

/* The member of an object; absent also if `object` is none. */
struct jdoc_ref jdoc_get(struct jdoc_ref object, const char *key);
/* A member by a path of names: "model.vocab". */
struct jdoc_ref jdoc_path(struct jdoc_ref object, const char *path);

/* Walks elements, or members: for an object *key is set and the value returned.
 *     for (struct jdoc_ref v = jdoc_first(list, NULL); jdoc_at(v); v = jdoc_next(list, v, NULL)) */
struct jdoc_ref jdoc_first(struct jdoc_ref container, struct str *key);
struct jdoc_ref jdoc_next(struct jdoc_ref container, struct jdoc_ref value, struct str *key);
uint32_t jdoc_count(struct jdoc_ref container); /* 0 of anything else */

/* The string, or an empty one with `at` NULL. */
struct str jdoc_text(struct jdoc_ref r);
/* False unless it is a number: *out stays.  An integer also if it is written as 5.0 or 1e6. */
bool jdoc_number(struct jdoc_ref r, double *out);
bool jdoc_integer(struct jdoc_ref r, int64_t *out);
bool jdoc_true(struct jdoc_ref r); /* false of anything but true */

const char *jdoc_type_name(struct jdoc_ref r); /* "a string", "nothing" */

#endif
