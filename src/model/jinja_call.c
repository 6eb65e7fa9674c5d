/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_call.c - see jinja_call.h: arguments, and how a name behind a dot is looked up. */
#include "model/jinja_call.h"

#include "model/jinja_node.h"
#include "model/jinja_text.h"

const struct jinja_function *jinja_find_function(const struct jinja_function *table, size_t count,
                                                 struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_is(name, table[i].name))
            return &table[i];
    return NULL;
}

struct jinja_value jinja_call(struct jinja_store *s, const struct jinja_function *f,
                              struct jinja_value self, struct jinja_args *args)
{
    struct jinja_value v;

    if (!jinja_enter(s))
        return JINJA_NOTHING;
    if (f->args_max != JINJA_ARGS_ANY && args->count > f->args_max)
        jinja_fail(s, LLMOS_EINVAL, "'%s' takes at most %u arguments, here are %zu", f->name,
                   f->args_max, args->count);
    v = f->run(s, self, args);
    jinja_leave(s);
    if (!f->takes_names && args->named.kind == JINJA_DICT && args->taken < args->named.dict->count)
        jinja_fail(s, LLMOS_EINVAL, "'%s' has no argument of one of the names given", f->name);
    return s->rc < 0 ? JINJA_NOTHING : v;
}

struct jinja_value jinja_bind(struct jinja_store *s, const struct jinja_function *f,
                              struct jinja_value self)
{
    struct jinja_callable *c = jinja_alloc(s, 1, sizeof(*c));

    if (!c)
        return JINJA_NOTHING;
    c->function = f;
    c->self = self;
    return (struct jinja_value){.kind = JINJA_CALLABLE, .call = c};
}

/* ---- arguments ---- */

struct jinja_value jinja_arg(struct jinja_store *s, struct jinja_args *args, size_t i,
                             const char *name)
{
    struct jinja_value *v;

    if (i < args->count)
        return args->at[i];
    if (args->named.kind != JINJA_DICT)
        return JINJA_NOTHING;
    v = jinja_get_name(s, args->named, str_of(name));
    args->taken += v != NULL;
    return v ? *v : JINJA_NOTHING;
}

struct jinja_str jinja_arg_text(struct jinja_store *s, struct jinja_args *args, size_t i,
                                const char *name, const char *otherwise)
{
    struct jinja_value v = jinja_arg(s, args, i, name);

    if (v.kind == JINJA_UNDEFINED)
        return (struct jinja_str){.at = otherwise, .len = strlen(otherwise)};
    return jinja_str_of(s, v);
}

int64_t jinja_arg_int(struct jinja_store *s, struct jinja_args *args, size_t i, const char *name,
                      int64_t otherwise)
{
    struct jinja_value v = jinja_arg(s, args, i, name);

    if (v.kind == JINJA_UNDEFINED || v.kind == JINJA_NONE)
        return otherwise;
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL)
        jinja_fail(s, LLMOS_EINVAL, "'%s' must be an int, here it is a %s", name, jinja_type(v));
    return jinja_integer(v);
}

bool jinja_arg_true(struct jinja_store *s, struct jinja_args *args, size_t i, const char *name,
                    bool otherwise)
{
    struct jinja_value v = jinja_arg(s, args, i, name);

    return v.kind == JINJA_UNDEFINED ? otherwise : jinja_true(v);
}

/* ---- attributes and items ---- */

bool jinja_defined(struct jinja_store *s, struct jinja_value v)
{
    if (v.kind != JINJA_UNDEFINED)
        return true;
    if (v.name)
        jinja_fail(s, LLMOS_EINVAL, "'%.*s' is undefined",
                   (int)(v.name->len < 60 ? v.name->len : 60), v.name->at);
    else
        jinja_fail(s, LLMOS_EINVAL, "a value is undefined");
    return false;
}

static struct jinja_value loop_item(const struct jinja_loop *l, size_t i)
{
    return i < l->list->count ? l->list->at[i] : JINJA_NOTHING;
}

static struct jinja_value run_cycle(struct jinja_store *s, struct jinja_value self,
                                    struct jinja_args *args)
{
    if (args->count == 0)
        return jinja_fail(s, LLMOS_EINVAL, "no items for cycling given");
    return args->at[self.call->loop->index % args->count];
}

static struct jinja_value run_changed(struct jinja_store *s, struct jinja_value self,
                                      struct jinja_args *args)
{
    struct jinja_loop *l = self.call->loop;
    struct jinja_value now = jinja_list(s, ROW_TUPLE, args->count);

    for (size_t i = 0; i < args->count; i++)
        jinja_append(s, now, args->at[i]);
    if (l->seen.kind != JINJA_UNDEFINED && jinja_equal(s, l->seen, now))
        return JINJA_TRUTH(false);
    l->seen = now;
    return JINJA_TRUTH(true);
}

static const struct jinja_function loop_functions[] = {
    {"cycle", run_cycle, JINJA_ARGS_ANY, false},
    {"changed", run_changed, JINJA_ARGS_ANY, false},
};

static struct jinja_value loop_attribute(struct jinja_store *s, struct jinja_value v,
                                         struct str name)
{
    const struct jinja_loop *l = v.call->loop;
    size_t n = l->list->count;
    const struct {
        const char *name;
        struct jinja_value value;
    } all[] = {
        {"index", JINJA_NUMBER(l->index + 1)},
        {"index0", JINJA_NUMBER(l->index)},
        {"first", JINJA_TRUTH(l->index == 0)},
        {"last", JINJA_TRUTH(l->index + 1 >= n)},
        {"length", JINJA_NUMBER(n)},
        {"revindex", JINJA_NUMBER((int64_t)n - (int64_t)l->index)},
        {"revindex0", JINJA_NUMBER((int64_t)n - (int64_t)l->index - 1)},
        {"previtem", l->index ? loop_item(l, l->index - 1) : JINJA_NOTHING},
        {"nextitem", loop_item(l, l->index + 1)},
        {"depth", JINJA_NUMBER(l->depth + 1)},
        {"depth0", JINJA_NUMBER(l->depth)},
    };
    const struct jinja_function *f = jinja_find_function(loop_functions, 2, name);

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (str_is(name, all[i].name))
            return all[i].value;
    return f ? jinja_bind(s, f, v) : JINJA_NOTHING;
}

struct jinja_value jinja_attribute(struct jinja_store *s, struct jinja_value v, struct str name)
{
    const struct jinja_function *f;
    struct jinja_value *found = NULL;

    if (!jinja_defined(s, v))
        return JINJA_NOTHING;
    if (v.kind == JINJA_CALLABLE && v.call->loop)
        return loop_attribute(s, v, name);
    if (v.kind == JINJA_CALLABLE && v.call->macro && str_is(name, "name"))
        return jinja_copy(s, v.call->macro->name, false);
    f = jinja_method(v, name);
    if (f)
        return jinja_bind(s, f, v);
    if (v.kind == JINJA_DICT || v.kind == JINJA_NAMESPACE)
        found = jinja_get_name(s, v, name);
    return found ? *found : JINJA_NOTHING;
}

static struct jinja_value item_at(struct jinja_store *s, struct jinja_value v, int64_t i)
{
    int64_t n = jinja_length(v);
    size_t from;

    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return JINJA_NOTHING;
    if (v.kind == JINJA_LIST)
        return v.list->at[i];
    if (!jinja_work(s, v.s->len))
        return JINJA_NOTHING;
    from = jinja_offset(*v.s, (size_t)i);
    return jinja_string(s, jinja_part(*v.s, from, from + jinja_char_bytes(*v.s, from)));
}

struct jinja_value jinja_item(struct jinja_store *s, struct jinja_value v, struct jinja_value key)
{
    struct jinja_value *found = NULL;
    bool is_row = v.kind == JINJA_STRING || (v.kind == JINJA_LIST && v.list->row <= ROW_RANGE);

    if (!jinja_defined(s, v))
        return JINJA_NOTHING;
    if (is_row && (key.kind == JINJA_INT || key.kind == JINJA_BOOL))
        return item_at(s, v, jinja_integer(key));
    if (v.kind == JINJA_DICT)
        found = jinja_get(s, v, key);
    if (found)
        return *found;
    return key.kind == JINJA_STRING ? jinja_attribute(s, v, (struct str){key.s->at, key.s->len})
                                    : JINJA_NOTHING;
}

void jinja_put_callable(struct jinja_build *b, const struct jinja_callable *c)
{
    jinja_put_text(b, STR("<"), false);
    jinja_put_text(b,
                   c->macro  ? STR("Macro '")
                   : c->loop ? STR("LoopContext")
                             : STR("function "),
                   false);
    if (c->macro)
        jinja_put_text(b, c->macro->name, false);
    else if (c->function)
        jinja_put_text(b, str_of(c->function->name), false);
    jinja_put_text(b, c->macro ? STR("'>") : STR(">"), false);
}
