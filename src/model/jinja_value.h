/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_value.h - what a chat template computes with: the values of Python that Jinja shows.
 *
 * All values of a rendering lie in one store and go with it.  A failure sticks: the first one is
 * kept, every later call gives "undefined" at once, and whoever began the rendering asks store.rc
 * at the end.  Strings know, byte by byte, which of their bytes somebody said (messages, tools) and
 * which the template wrote; that survives every operation, so that what is said never becomes a
 * special token.  Strings are UTF-8; positions and lengths that a template sees count code points.
 * One thread at a time. */
#ifndef MODEL_JINJA_VALUE_H
#define MODEL_JINJA_VALUE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

#include <stdint.h>
#include <time.h>

/* What one rendering may cost.  The published templates need, for a hundred messages, less than a
 * hundredth of each. */
struct jinja_limits {
    size_t memory_bytes; /* of all values together */
    size_t output_bytes;
    uint64_t work; /* expressions, rounds of loops, and one more for each 16 bytes handled */
    unsigned
        depth; /* calls, blocks and parentheses in each other: each costs some 500 bytes of stack */
};
#define JINJA_LIMITS_INIT                                  \
    {                                                      \
        (size_t)512 << 20, (size_t)16 << 20, 50000000, 400 \
    }

struct jinja_store {
    struct arena arena;
    struct jinja_limits limits;
    uint64_t work_left;
    unsigned depth;
    uint32_t line; /* of the template, for sentences; 0: before it runs */
    struct tm now; /* what strftime_now tells */
    int rc;        /* 0, or the first failure */
    struct llmos_error *err;
};

/* said: a byte for each of `at`, not 0 if somebody said it; NULL: the template wrote them all. */
struct jinja_str {
    const char *at;
    const unsigned char *said;
    size_t len;
};

enum jinja_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST, /* and what else is a row of values: see jinja_row */
    JINJA_DICT,
    JINJA_NAMESPACE,
    JINJA_CALLABLE,
};

struct jinja_value {
    uint8_t kind;
    bool said;    /* a number that somebody said: so are the digits it is written with */
    bool is_safe; /* a string that | safe has marked: + escapes what is not */
    union {
        bool b;
        int64_t i;
        double f;
        const struct jinja_str *s;
        struct jinja_list *list;
        struct jinja_dict *dict;
        struct jinja_callable *call;
        const struct str *name; /* of an undefined one, NULL if it has none */
    };
};

/* Python has a type for each; they differ in how they print and in what may be done with them. */
enum jinja_row { ROW_LIST, ROW_TUPLE, ROW_RANGE, ROW_KEYS, ROW_VALUES, ROW_ITEMS, ROW_GENERATOR };

struct jinja_list {
    struct jinja_value *at;
    size_t count, room;
    enum jinja_row row;
};

struct jinja_entry {
    struct jinja_value key, value;
};

struct jinja_dict { /* in the order of insertion */
    struct jinja_entry *at;
    size_t count, room;
};

#define JINJA_NOTHING        ((struct jinja_value){.kind = JINJA_UNDEFINED})
#define JINJA_NIL            ((struct jinja_value){.kind = JINJA_NONE})
#define JINJA_TRUTH(claim)   ((struct jinja_value){.kind = JINJA_BOOL, .b = (claim)})
#define JINJA_NUMBER(number) ((struct jinja_value){.kind = JINJA_INT, .i = (int64_t)(number)})
#define JINJA_REAL(number)   ((struct jinja_value){.kind = JINJA_FLOAT, .f = (number)})
#define JINJA_STR(literal)   ((struct jinja_str){.at = (literal), .len = sizeof(literal) - 1})

void jinja_store_init(struct jinja_store *s, const struct jinja_limits *limits,
                      struct llmos_error *err);
void jinja_store_fini(struct jinja_store *s);

/* Records the failure, with the line of the template in front. */
struct jinja_value jinja_fail(struct jinja_store *s, int code, const char *format, ...)
    PRINTF_LIKE(3, 4);
void *jinja_alloc(struct jinja_store *s, size_t count, size_t size); /* NULL: failed */
/* Pays for a step and some bytes; false: failed. */
bool jinja_work(struct jinja_store *s, size_t bytes);
/* One level deeper; false: failed, and no level was taken. */
bool jinja_enter(struct jinja_store *s);
static inline void jinja_leave(struct jinja_store *s)
{
    s->depth--;
}

/* ---- making values ---- */

struct jinja_value jinja_string(struct jinja_store *s, struct jinja_str text);
/* A copy; all of it said, or none.  Broken UTF-8 becomes U+FFFD. */
struct jinja_value jinja_copy(struct jinja_store *s, struct str text, bool said);
struct jinja_value jinja_list(struct jinja_store *s, enum jinja_row row, size_t room);
void jinja_append(struct jinja_store *s, struct jinja_value list, struct jinja_value item);
struct jinja_value jinja_pair(struct jinja_store *s, struct jinja_value a, struct jinja_value b);
struct jinja_value jinja_dict(struct jinja_store *s);
void jinja_set(struct jinja_store *s, struct jinja_value dict, struct jinja_value key,
               struct jinja_value value);
void jinja_set_name(struct jinja_store *s, struct jinja_value dict, const char *name,
                    struct jinja_value value);
/* NULL if there is none. */
struct jinja_value *jinja_get(struct jinja_store *s, struct jinja_value dict,
                              struct jinja_value key);
struct jinja_value *jinja_get_name(struct jinja_store *s, struct jinja_value dict, struct str name);

/* A text in the making. */
struct jinja_build {
    struct jinja_store *store;
    struct buf text, said; /* said is shorter where nobody said the rest */
};
void jinja_build_init(struct jinja_build *b, struct jinja_store *s);
void jinja_build_fini(struct jinja_build *b);
void jinja_put(struct jinja_build *b, struct jinja_str text);
void jinja_put_text(struct jinja_build *b, struct str text, bool said);
/* What was put since `from`, as a value; it is cut off. */
struct jinja_value jinja_cut(struct jinja_build *b, size_t from);
/* The whole, and the end of b. */
struct jinja_value jinja_built(struct jinja_build *b);

/* ---- asking them, as Python does ---- */

static inline bool jinja_is_number(struct jinja_value v)
{
    return v.kind == JINJA_INT || v.kind == JINJA_FLOAT || v.kind == JINJA_BOOL;
}
/* A bool is 0 or 1. */
static inline int64_t jinja_integer(struct jinja_value v)
{
    return v.kind == JINJA_BOOL ? v.b : v.i;
}
double jinja_real(struct jinja_value v);
const char *jinja_type(struct jinja_value v); /* "str", "list" ... for sentences */
bool jinja_true(struct jinja_value v);
bool jinja_equal(struct jinja_store *s, struct jinja_value a, struct jinja_value b);
/* < 0, 0, > 0; fails on what has no order. */
int jinja_compare(struct jinja_store *s, struct jinja_value a, struct jinja_value b);
bool jinja_contains(struct jinja_store *s, struct jinja_value in, struct jinja_value what);
/* -1: it has none. */
int64_t jinja_length(struct jinja_value v);
/* What a loop over it sees: a list of its own that may be changed, or the list itself, which may
 * not.  A generator is empty afterwards.  Fails on what cannot be iterated. */
struct jinja_list *jinja_iterate(struct jinja_store *s, struct jinja_value v);
bool jinja_iterable(struct jinja_value v);

/* str(v) and repr(v). */
void jinja_put_str(struct jinja_build *b, struct jinja_value v);
void jinja_put_repr(struct jinja_build *b, struct jinja_value v);
struct jinja_str jinja_str_of(struct jinja_store *s, struct jinja_value v);
/* The shortest text that reads back as the same number, as Python writes it; at most 40 bytes. */
void jinja_float_text(char *out, double v);

#endif
