/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_call.h - what a chat template can call: filters, tests, methods and the functions that are
 * always there.
 *
 * Each is a row of a table, and gets the value in front of it as `self`.  None sees anything but
 * its arguments; the time of day is one (store.now). */
#ifndef MODEL_JINJA_CALL_H
#define MODEL_JINJA_CALL_H

#include "model/jinja_value.h"

struct jinja_args {
    const struct jinja_value *at;
    size_t count;
    struct jinja_value named; /* a dict, or undefined */
    size_t taken;             /* of the named ones */
};

struct jinja_function {
    const char *name;
    struct jinja_value (*run)(struct jinja_store *s, struct jinja_value self,
                              struct jinja_args *args);
    uint8_t args_max;
    bool takes_names; /* any */
};
#define JINJA_ARGS_ANY 255

/* A row of a table whose functions are called `prefix`_name. */
#define JINJA_ROW(prefix, name, max)       \
    {                                      \
#name, prefix##_##name, max, false \
    }

struct jinja_loop {
    const struct jinja_list *list;
    size_t index, depth;
    const struct jinja_node *node; /* of one that calls itself */
    struct jinja_scope *scope;
    struct jinja_value seen; /* by changed(); undefined at first */
};

struct jinja_callable {
    const struct jinja_function *function; /* NULL: it is one of the others */
    struct jinja_value self;
    const struct jinja_node *macro;
    struct jinja_scope *scope; /* around the macro */
    struct jinja_loop *loop;
};

/* The table's row, NULL if there is none. */
const struct jinja_function *jinja_find_function(const struct jinja_function *table, size_t count,
                                                 struct str name);
const struct jinja_function *jinja_filter(struct str name);
const struct jinja_function *jinja_test(struct str name);
const struct jinja_function *jinja_method(struct jinja_value of, struct str name);
const struct jinja_function *jinja_global(struct str name);

/* Runs it, if the arguments are not too many. */
struct jinja_value jinja_call(struct jinja_store *s, const struct jinja_function *f,
                              struct jinja_value self, struct jinja_args *args);
struct jinja_value jinja_bind(struct jinja_store *s, const struct jinja_function *f,
                              struct jinja_value self);

/* Argument number i or the one of this name; undefined if there is none. */
struct jinja_value jinja_arg(struct jinja_store *s, struct jinja_args *args, size_t i,
                             const char *name);
struct jinja_str jinja_arg_text(struct jinja_store *s, struct jinja_args *args, size_t i,
                                const char *name, const char *otherwise);
int64_t jinja_arg_int(struct jinja_store *s, struct jinja_args *args, size_t i, const char *name,
                      int64_t otherwise);
bool jinja_arg_true(struct jinja_store *s, struct jinja_args *args, size_t i, const char *name,
                    bool otherwise);

/* v.name and v[key], as Jinja looks them up: undefined where there is nothing. */
struct jinja_value jinja_attribute(struct jinja_store *s, struct jinja_value v, struct str name);
struct jinja_value jinja_item(struct jinja_store *s, struct jinja_value v, struct jinja_value key);
/* Says that v is undefined, if it is. */
bool jinja_defined(struct jinja_store *s, struct jinja_value v);

/* a + b and so on; op as in jinja_lex.h. */
struct jinja_value jinja_binary(struct jinja_store *s, unsigned op, struct jinja_value a,
                                struct jinja_value b);
/* "%s of %d" % arguments. */
struct jinja_value jinja_format(struct jinja_store *s, struct jinja_str format,
                                struct jinja_value arguments);

void jinja_put_callable(struct jinja_build *b, const struct jinja_callable *c);

#endif
