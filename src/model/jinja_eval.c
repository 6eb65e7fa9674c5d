/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_eval.c - see jinja.h: walks the tree. */
#include "model/jinja.h"

#include "base/mem.h"
#include "model/jinja_call.h"
#include "model/jinja_lex.h"
#include "model/jinja_node.h"
#include "model/jinja_text.h"

/* A parsed template takes about 60 times its bytes. */
#define TREE_LIMITS                                                            \
    {                                                                          \
        (size_t)96 << 20, JINJA_TEMPLATE_BYTES_MAX, UINT64_MAX, TREE_DEPTH_MAX \
    }
#define TREE_DEPTH_MAX 400

struct jinja_template {
    struct jinja_store store;
    struct jinja_node *body;
};

struct variable {
    struct str name;
    struct jinja_value value;
    struct variable *next;
};

/* What is assigned inside ends with it; what is around is seen. */
struct jinja_scope {
    struct jinja_scope *parent;
    struct variable *first;
};

struct render {
    struct jinja_store *s;
    struct jinja_value variables; /* a dict */
    struct jinja_build out;
};

enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

static struct jinja_value eval(struct render *r, const struct jinja_node *n,
                               struct jinja_scope *scope);
static enum flow run(struct render *r, const struct jinja_node *n, struct jinja_scope *scope);

/* ---- variables ---- */

static struct jinja_scope *scope_in(struct render *r, struct jinja_scope *parent)
{
    struct jinja_scope *scope = jinja_alloc(r->s, 1, sizeof(*scope));

    if (scope)
        scope->parent = parent;
    return scope;
}

static void set_variable(struct render *r, struct jinja_scope *scope, struct str name,
                         struct jinja_value value)
{
    struct variable *v;

    if (!scope || r->s->rc < 0)
        return;
    for (v = scope->first; v; v = v->next) {
        if (!str_eq(v->name, name))
            continue;
        v->value = value;
        return;
    }
    v = jinja_alloc(r->s, 1, sizeof(*v));
    if (!v)
        return;
    *v = (struct variable){name, value, scope->first};
    scope->first = v;
}

static struct jinja_value find_variable(struct render *r, const struct jinja_scope *scope,
                                        const struct str *name)
{
    const struct jinja_function *f;
    const struct jinja_value *given;

    for (; scope && jinja_work(r->s, 0); scope = scope->parent)
        for (const struct variable *v = scope->first; v; v = v->next)
            if (str_eq(v->name, *name))
                return v->value;
    given = jinja_get_name(r->s, r->variables, *name);
    if (given)
        return *given;
    f = jinja_global(*name);
    return f ? jinja_bind(r->s, f, JINJA_NOTHING)
             : (struct jinja_value){.kind = JINJA_UNDEFINED, .name = name};
}

static void assign(struct render *r, const struct jinja_node *target, struct jinja_value value,
                   struct jinja_scope *scope)
{
    struct jinja_list *items;
    struct jinja_value space;
    size_t i = 0;

    if (target->kind == NODE_NAME) {
        set_variable(r, scope, target->name, value);
        return;
    }
    if (target->kind == NODE_ATTRIBUTE) {
        space = eval(r, target->a, scope);
        if (space.kind != JINJA_NAMESPACE)
            jinja_fail(r->s, LLMOS_EINVAL, "only a namespace has attributes that can be set");
        else
            jinja_set(r->s, space,
                      jinja_string(
                          r->s, (struct jinja_str){.at = target->name.at, .len = target->name.len}),
                      value);
        return;
    }
    items = jinja_iterate(r->s, value);
    for (const struct jinja_node *part = target->a; items && part; part = part->next, i++)
        if (i < items->count)
            assign(r, part, items->at[i], scope);
        else
            jinja_fail(r->s, LLMOS_EINVAL, "%zu values for more names than that", items->count);
    if (items && i < items->count)
        jinja_fail(r->s, LLMOS_EINVAL, "%zu values for %zu names", items->count, i);
}

/* ---- calls ---- */

static void take_rest(struct render *r, struct jinja_value list, struct jinja_value from)
{
    struct jinja_list *more = jinja_iterate(r->s, from);

    for (size_t i = 0; more && i < more->count && r->s->rc == 0; i++)
        jinja_append(r->s, list, more->at[i]);
}

static void take_names(struct render *r, struct jinja_value *named, struct jinja_value from)
{
    if (from.kind != JINJA_DICT) {
        jinja_fail(r->s, LLMOS_EINVAL, "behind ** stands a %s", jinja_type(from));
        return;
    }
    for (size_t i = 0; i < from.dict->count && r->s->rc == 0; i++)
        jinja_set(r->s, *named, from.dict->at[i].key, from.dict->at[i].value);
}

/* The arguments of a call; more: one that the template did not write, named "caller". */
static struct jinja_args eval_args(struct render *r, const struct jinja_node *n,
                                   struct jinja_scope *scope, struct jinja_value caller)
{
    struct jinja_value list, named = JINJA_NOTHING;

    if (!n && caller.kind == JINJA_UNDEFINED)
        return (struct jinja_args){.named = named};
    list = jinja_list(r->s, ROW_TUPLE, 0);
    for (const struct jinja_node *i = n; i; i = i->next)
        if ((i->name.len || i->op == OP('*', '*')) && named.kind == JINJA_UNDEFINED)
            named = jinja_dict(r->s);
    for (; n && r->s->rc == 0; n = n->next) {
        struct jinja_value v = eval(r, n->a, scope);

        if (r->s->rc < 0)
            break;
        if (n->op == '*')
            take_rest(r, list, v);
        else if (n->op == OP('*', '*'))
            take_names(r, &named, v);
        else if (n->name.len)
            jinja_set(r->s, named,
                      jinja_string(r->s, (struct jinja_str){.at = n->name.at, .len = n->name.len}),
                      v);
        else
            jinja_append(r->s, list, v);
    }
    if (caller.kind != JINJA_UNDEFINED) {
        if (named.kind == JINJA_UNDEFINED)
            named = jinja_dict(r->s);
        jinja_set_name(r->s, named, "caller", caller);
    }
    if (r->s->rc < 0)
        return (struct jinja_args){.named = JINJA_NOTHING};
    return (struct jinja_args){.at = list.list->at, .count = list.list->count, .named = named};
}

/* Arguments beyond the parameters, for bodies that mention varargs and kwargs. */
static void bind_rest(struct render *r, const struct jinja_node *macro, struct jinja_args *args,
                      size_t used, struct jinja_scope *scope)
{
    struct jinja_value rest = jinja_list(r->s, ROW_TUPLE, 0), names = jinja_dict(r->s);
    const struct jinja_value *caller =
        args->named.kind == JINJA_DICT ? jinja_get_name(r->s, args->named, STR("caller")) : NULL;

    if (used < args->count && !(macro->op & MACRO_TAKES_MORE))
        jinja_fail(r->s, LLMOS_EINVAL, "macro '%.*s' takes %zu arguments, here are %zu",
                   STR_ARG(macro->name), used, args->count);
    for (size_t i = used; i < args->count; i++)
        jinja_append(r->s, rest, args->at[i]);
    if (caller)
        set_variable(r, scope, STR("caller"), *caller);
    set_variable(r, scope, STR("varargs"), rest);
    for (size_t i = 0; args->named.kind == JINJA_DICT && i < args->named.dict->count; i++) {
        const struct jinja_entry *e = &args->named.dict->at[i];
        bool is_parameter = e->key.kind == JINJA_STRING && caller == &e->value;

        for (const struct jinja_node *p = macro->a; p && e->key.kind == JINJA_STRING; p = p->next)
            is_parameter |= str_eq(p->name, (struct str){e->key.s->at, e->key.s->len});
        if (is_parameter)
            continue;
        if (!(macro->op & MACRO_TAKES_NAMES))
            jinja_fail(r->s, LLMOS_EINVAL, "macro '%.*s' has no such keyword argument",
                       STR_ARG(macro->name));
        jinja_set(r->s, names, e->key, e->value);
    }
    set_variable(r, scope, STR("kwargs"), names);
}

static struct jinja_value call_macro(struct render *r, const struct jinja_callable *c,
                                     struct jinja_args *args)
{
    const struct jinja_node *macro = c->macro;
    struct jinja_scope *scope = scope_in(r, c->scope);
    size_t i = 0, from = r->out.text.len;

    for (const struct jinja_node *p = macro->a; p && r->s->rc == 0; p = p->next, i++) {
        const struct jinja_value *named = i >= args->count && args->named.kind == JINJA_DICT
                                              ? jinja_get_name(r->s, args->named, p->name)
                                              : NULL;
        struct jinja_value v = {.kind = JINJA_UNDEFINED, .name = &p->name};

        if (i < args->count)
            v = args->at[i];
        else if (named)
            v = *named;
        else if (p->a)
            v = eval(r, p->a, scope);
        set_variable(r, scope, p->name, v);
    }
    if (r->s->rc == 0)
        bind_rest(r, macro, args, i < args->count ? i : args->count, scope);
    run(r, macro->b, scope);
    return r->s->rc < 0 ? JINJA_NOTHING : jinja_cut(&r->out, from);
}

static struct jinja_value run_loop(struct render *r, const struct jinja_node *n,
                                   struct jinja_value over, struct jinja_scope *scope, size_t depth,
                                   enum flow *flow);

/* loop(items), in a loop that is recursive */
static struct jinja_value call_loop(struct render *r, const struct jinja_loop *loop,
                                    const struct jinja_args *args)
{
    size_t from = r->out.text.len;
    enum flow flow;

    if (!loop->node->op || args->count != 1)
        return jinja_fail(r->s, LLMOS_EINVAL, "this loop cannot be called: it is not recursive");
    run_loop(r, loop->node, args->at[0], loop->scope, loop->depth + 1, &flow);
    return r->s->rc < 0 ? JINJA_NOTHING : jinja_cut(&r->out, from);
}

static struct jinja_value call(struct render *r, struct jinja_value callee, struct jinja_args *args)
{
    const struct jinja_callable *c = callee.call;

    if (r->s->rc < 0 || !jinja_defined(r->s, callee))
        return JINJA_NOTHING;
    if (callee.kind != JINJA_CALLABLE)
        return jinja_fail(r->s, LLMOS_EINVAL, "a %s cannot be called", jinja_type(callee));
    if (c->function)
        return jinja_call(r->s, c->function, c->self, args);
    return c->macro ? call_macro(r, c, args) : call_loop(r, c->loop, args);
}

static struct jinja_value eval_call(struct render *r, const struct jinja_node *n,
                                    struct jinja_scope *scope, struct jinja_value caller)
{
    struct jinja_value callee = eval(r, n->a, scope);
    struct jinja_args args = eval_args(r, n->b, scope, caller);

    r->s->line = n->line;
    return call(r, callee, &args);
}

/* The filter n, and those in front of it, on v; n->a is what they work on, or NULL for v. */
static struct jinja_value eval_filter(struct render *r, const struct jinja_node *n,
                                      struct jinja_value v, struct jinja_scope *scope)
{
    struct jinja_args args;

    if (n->a && n->a->kind == NODE_FILTER)
        v = eval_filter(r, n->a, v, scope);
    else if (n->a)
        v = eval(r, n->a, scope);
    args = eval_args(r, n->b, scope, JINJA_NOTHING);
    if (r->s->rc < 0)
        return JINJA_NOTHING;
    r->s->line = n->line;
    if (!n->function)
        return jinja_fail(r->s, LLMOS_EUNSUPPORTED, "there is no filter '%.*s'",
                          (int)(n->name.len < 60 ? n->name.len : 60), n->name.at);
    return jinja_call(r->s, n->function, v, &args);
}

static struct jinja_value eval_test(struct render *r, const struct jinja_node *n,
                                    struct jinja_scope *scope)
{
    struct jinja_value v = eval(r, n->a, scope);
    struct jinja_args args = eval_args(r, n->b, scope, JINJA_NOTHING);

    if (r->s->rc < 0)
        return JINJA_NOTHING;
    if (!n->function)
        return jinja_fail(r->s, LLMOS_EUNSUPPORTED, "there is no test '%.*s'",
                          (int)(n->name.len < 60 ? n->name.len : 60), n->name.at);
    return jinja_call(r->s, n->function, v, &args);
}

/* ---- expressions ---- */

static struct jinja_value eval_items(struct render *r, const struct jinja_node *n,
                                     struct jinja_scope *scope)
{
    struct jinja_value list = jinja_list(r->s, n->kind == NODE_LIST ? ROW_LIST : ROW_TUPLE, 0);

    for (n = n->a; n && r->s->rc == 0; n = n->next)
        jinja_append(r->s, list, eval(r, n, scope));
    return list;
}

static struct jinja_value eval_dict(struct render *r, const struct jinja_node *n,
                                    struct jinja_scope *scope)
{
    struct jinja_value dict = jinja_dict(r->s);

    for (n = n->a; n && r->s->rc == 0; n = n->next) {
        struct jinja_value key = eval(r, n->a, scope);

        jinja_set(r->s, dict, key, eval(r, n->b, scope));
    }
    return dict;
}

static bool compare(struct render *r, unsigned op, struct jinja_value a, struct jinja_value b)
{
    int order;

    if (op == OP('=', '='))
        return jinja_equal(r->s, a, b);
    if (op == OP('!', '='))
        return !jinja_equal(r->s, a, b);
    if (op == 'i' || op == 'n')
        return jinja_contains(r->s, b, a) == (op == 'i');
    if (!jinja_defined(r->s, a) || !jinja_defined(r->s, b))
        return false;
    order = jinja_compare(r->s, a, b);
    if (order == 0)
        return op > 0xff;
    return (order < 0) == ((op & 0xff) == '<');
}

/* a < b < c: all of them */
static struct jinja_value eval_compare(struct render *r, const struct jinja_node *n,
                                       struct jinja_scope *scope)
{
    struct jinja_value left = eval(r, n->a, scope), right;

    for (n = n->b; n && r->s->rc == 0; n = n->next) {
        right = eval(r, n->a, scope);
        if (r->s->rc < 0 || !compare(r, n->op, left, right))
            return JINJA_TRUTH(false);
        left = right;
    }
    return JINJA_TRUTH(true);
}

static struct jinja_value eval_concat(struct render *r, const struct jinja_node *n,
                                      struct jinja_scope *scope)
{
    struct jinja_build b;

    jinja_build_init(&b, r->s);
    for (n = n->a; n && r->s->rc == 0; n = n->next)
        jinja_put_str(&b, eval(r, n, scope));
    return jinja_built(&b);
}

static struct jinja_value eval_sign(struct render *r, const struct jinja_node *n,
                                    struct jinja_scope *scope)
{
    struct jinja_value v = eval(r, n->a, scope);

    if (v.kind == JINJA_FLOAT && n->op == '-')
        return JINJA_REAL(-v.f);
    return jinja_binary(r->s, n->op, JINJA_NUMBER(0), v);
}

/* One end of a slice, clamped as Python does it. */
static int64_t slice_end(struct render *r, const struct jinja_node *n, struct jinja_scope *scope,
                         int64_t otherwise, int64_t count, int64_t least, int64_t most)
{
    struct jinja_value v = n ? eval(r, n, scope) : JINJA_NIL;
    int64_t i;

    if (v.kind == JINJA_NONE || r->s->rc < 0)
        return otherwise;
    if (v.kind != JINJA_INT && v.kind != JINJA_BOOL) {
        jinja_fail(r->s, LLMOS_EINVAL, "a slice is made with ints, not with a %s", jinja_type(v));
        return otherwise;
    }
    i = jinja_integer(v);
    if (i < 0)
        i = i < -count ? least : i + count;
    return i < least ? least : i > most ? most : i;
}

/* Characters or items from, from + step, ... of v, as long as they are in front of `to`. */
static struct jinja_value pick(struct render *r, struct jinja_value v, int64_t from, int64_t to,
                               int64_t step)
{
    struct jinja_list *list;
    struct jinja_value out;
    struct jinja_build b;

    if (v.kind == JINJA_STRING && step == 1) {
        size_t at = jinja_offset(*v.s, (size_t)from), end = at;

        if (to > from)
            end += jinja_offset(jinja_part(*v.s, at, v.s->len), (size_t)(to - from));
        out = jinja_string(r->s, jinja_part(*v.s, at, end));
        out.is_safe = v.is_safe;
        return out;
    }
    list = jinja_iterate(r->s, v);
    out = jinja_list(r->s, v.kind == JINJA_LIST ? v.list->row : ROW_LIST, 0);
    for (int64_t i = from; list && r->s->rc == 0 && (step > 0 ? i < to : i > to);) {
        jinja_append(r->s, out, list->at[i]);
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    if (v.kind != JINJA_STRING || r->s->rc < 0)
        return out;
    jinja_build_init(&b, r->s);
    for (size_t i = 0; i < out.list->count; i++)
        jinja_put(&b, *out.list->at[i].s);
    return jinja_built(&b);
}

static struct jinja_value eval_slice(struct render *r, struct jinja_value v,
                                     const struct jinja_node *n, struct jinja_scope *scope)
{
    int64_t count = jinja_length(v), from, to, step;
    struct jinja_value by = n->c ? eval(r, n->c, scope) : JINJA_NIL;

    if (!jinja_defined(r->s, v) ||
        !(v.kind == JINJA_STRING || (v.kind == JINJA_LIST && v.list->row <= ROW_RANGE)))
        return JINJA_NOTHING;
    if (by.kind != JINJA_NONE && by.kind != JINJA_INT)
        return jinja_fail(r->s, LLMOS_EINVAL, "the step of a slice is a %s", jinja_type(by));
    step = by.kind == JINJA_INT ? by.i : 1;
    if (step == 0)
        return jinja_fail(r->s, LLMOS_EINVAL, "the step of a slice is 0");
    from = slice_end(r, n->a, scope, step > 0 ? 0 : count - 1, count, step > 0 ? 0 : -1,
                     step > 0 ? count : count - 1);
    to = slice_end(r, n->b, scope, step > 0 ? count : -1, count, step > 0 ? 0 : -1,
                   step > 0 ? count : count - 1);
    if (!jinja_work(r->s, v.kind == JINJA_STRING ? v.s->len : (size_t)count))
        return JINJA_NOTHING;
    return pick(r, v, from, to, step);
}

static struct jinja_value eval_item(struct render *r, const struct jinja_node *n,
                                    struct jinja_scope *scope)
{
    struct jinja_value v = eval(r, n->a, scope);

    if (!n->b)
        return JINJA_NOTHING;
    if (n->b->kind == NODE_SLICE)
        return eval_slice(r, v, n->b, scope);
    return jinja_item(r->s, v, eval(r, n->b, scope));
}

static struct jinja_value eval_attribute(struct render *r, const struct jinja_node *n,
                                         struct jinja_scope *scope)
{
    struct jinja_value v = eval(r, n->a, scope);

    r->s->line = n->line;
    v = jinja_attribute(r->s, v, n->name);
    if (v.kind == JINJA_UNDEFINED)
        v.name = &n->name;
    return v;
}

static struct jinja_value eval_logic(struct render *r, const struct jinja_node *n,
                                     struct jinja_scope *scope)
{
    struct jinja_value v = eval(r, n->a, scope);

    if (n->kind == NODE_NOT)
        return JINJA_TRUTH(!jinja_true(v));
    if (n->kind == NODE_COND)
        return jinja_true(v) ? eval(r, n->b, scope) : n->c ? eval(r, n->c, scope) : JINJA_NOTHING;
    return jinja_true(v) == (n->kind == NODE_OR) ? v : eval(r, n->b, scope);
}

static struct jinja_value eval_binary(struct render *r, const struct jinja_node *n,
                                      struct jinja_scope *scope)
{
    struct jinja_value a = eval(r, n->a, scope), b = eval(r, n->b, scope);

    r->s->line = n->line;
    return jinja_binary(r->s, n->op, a, b);
}

static struct jinja_value eval_any(struct render *r, const struct jinja_node *n,
                                   struct jinja_scope *scope)
{
    switch ((enum jinja_node_kind)n->kind) {
    case NODE_CONST:
        return n->value;
    case NODE_NAME:
        return find_variable(r, scope, &n->name);
    case NODE_LIST:
    case NODE_TUPLE:
        return eval_items(r, n, scope);
    case NODE_DICT:
        return eval_dict(r, n, scope);
    case NODE_COND:
    case NODE_OR:
    case NODE_AND:
    case NODE_NOT:
        return eval_logic(r, n, scope);
    case NODE_COMPARE:
        return eval_compare(r, n, scope);
    case NODE_BINARY:
        return eval_binary(r, n, scope);
    case NODE_CONCAT:
        return eval_concat(r, n, scope);
    case NODE_SIGN:
        return eval_sign(r, n, scope);
    case NODE_ATTRIBUTE:
        return eval_attribute(r, n, scope);
    case NODE_ITEM:
        return eval_item(r, n, scope);
    case NODE_CALL:
        return eval_call(r, n, scope, JINJA_NOTHING);
    case NODE_FILTER:
        return eval_filter(r, n, JINJA_NOTHING, scope);
    case NODE_TEST:
        return eval_test(r, n, scope);
    default:
        return jinja_fail(r->s, LLMOS_EFORMAT, "this is no expression");
    }
}

static struct jinja_value eval(struct render *r, const struct jinja_node *n,
                               struct jinja_scope *scope)
{
    struct jinja_value v;

    if (!n || !jinja_work(r->s, 0) || !jinja_enter(r->s))
        return JINJA_NOTHING;
    v = eval_any(r, n, scope);
    jinja_leave(r->s);
    return r->s->rc < 0 ? JINJA_NOTHING : v;
}

/* ---- statements ---- */

/* The items that the loop's condition lets through. */
static struct jinja_list *chosen(struct render *r, const struct jinja_node *n,
                                 struct jinja_list *list, struct jinja_scope *scope)
{
    struct jinja_value out = jinja_list(r->s, ROW_LIST, 0);

    for (size_t i = 0; list && i < list->count && jinja_work(r->s, 0); i++) {
        struct jinja_scope *inner = scope_in(r, scope);

        assign(r, n->a, list->at[i], inner);
        if (r->s->rc == 0 && jinja_true(eval(r, n->e, inner)))
            jinja_append(r->s, out, list->at[i]);
    }
    return r->s->rc < 0 ? NULL : out.list;
}

static struct jinja_value loop_value(struct render *r, const struct jinja_node *n,
                                     const struct jinja_list *list, struct jinja_scope *scope,
                                     size_t depth)
{
    struct jinja_callable *c = jinja_alloc(r->s, 1, sizeof(*c));
    struct jinja_loop *loop = jinja_alloc(r->s, 1, sizeof(*loop));

    if (!c || !loop)
        return JINJA_NOTHING;
    *loop = (struct jinja_loop){.list = list, .depth = depth, .node = n, .scope = scope};
    c->loop = loop;
    return (struct jinja_value){.kind = JINJA_CALLABLE, .call = c};
}

static struct jinja_value run_loop(struct render *r, const struct jinja_node *n,
                                   struct jinja_value over, struct jinja_scope *scope, size_t depth,
                                   enum flow *flow)
{
    struct jinja_list *list = jinja_iterate(r->s, over);
    struct jinja_value loop;

    *flow = FLOW_ON;
    if (n->e)
        list = chosen(r, n, list, scope);
    if (list && list->count == 0)
        *flow = run(r, n->d, scope_in(r, scope));
    if (!list || list->count == 0)
        return JINJA_NOTHING;
    loop = loop_value(r, n, list, scope, depth);
    for (size_t i = 0; i < list->count && jinja_work(r->s, 0); i++) {
        struct jinja_scope *inner = scope_in(r, scope);

        loop.call->loop->index = i;
        set_variable(r, inner, STR("loop"), loop);
        assign(r, n->a, list->at[i], inner);
        if (run(r, n->c, inner) == FLOW_BREAK)
            break;
    }
    return JINJA_NOTHING;
}

static enum flow run_for(struct render *r, const struct jinja_node *n, struct jinja_scope *scope)
{
    enum flow flow = FLOW_ON;
    struct jinja_value over = eval(r, n->b, scope);

    if (r->s->rc == 0)
        run_loop(r, n, over, scope, 0, &flow);
    return flow;
}

static enum flow run_if(struct render *r, const struct jinja_node *n, struct jinja_scope *scope)
{
    for (;;) {
        if (jinja_true(eval(r, n->a, scope)))
            return run(r, n->b, scope);
        if (r->s->rc < 0 || !n->c)
            return FLOW_ON;
        if (!n->op)
            return run(r, n->c, scope);
        n = n->c;
    }
}

static struct jinja_value run_apart(struct render *r, const struct jinja_node *body,
                                    struct jinja_scope *scope)
{
    size_t from = r->out.text.len;

    run(r, body, scope_in(r, scope));
    return r->s->rc < 0 ? JINJA_NOTHING : jinja_cut(&r->out, from);
}

static void run_set_block(struct render *r, const struct jinja_node *n, struct jinja_scope *scope)
{
    struct jinja_value v = run_apart(r, n->c, scope);

    if (n->b)
        v = eval_filter(r, n->b, v, scope);
    if (r->s->rc == 0)
        assign(r, n->a, v, scope);
}

static struct jinja_value macro_value(struct render *r, const struct jinja_node *n,
                                      struct jinja_scope *scope)
{
    struct jinja_callable *c = jinja_alloc(r->s, 1, sizeof(*c));

    if (!c)
        return JINJA_NOTHING;
    c->macro = n;
    c->scope = scope;
    return (struct jinja_value){.kind = JINJA_CALLABLE, .call = c};
}

static void run_with(struct render *r, const struct jinja_node *n, struct jinja_scope *scope)
{
    struct jinja_scope *inner = scope_in(r, scope);

    for (const struct jinja_node *set = n->a; set && r->s->rc == 0; set = set->next)
        assign(r, set->a, eval(r, set->b, scope), inner);
    run(r, n->b, inner);
}

static enum flow run_one(struct render *r, const struct jinja_node *n, struct jinja_scope *scope)
{
    r->s->line = n->line;
    switch ((enum jinja_node_kind)n->kind) {
    case NODE_TEXT:
        jinja_put(&r->out, *n->value.s);
        break;
    case NODE_PRINT:
        jinja_put_str(&r->out, eval(r, n->a, scope));
        break;
    case NODE_IF:
        return run_if(r, n, scope);
    case NODE_FOR:
        return run_for(r, n, scope);
    case NODE_SET:
        assign(r, n->a, eval(r, n->b, scope), scope);
        break;
    case NODE_SET_BLOCK:
        run_set_block(r, n, scope);
        break;
    case NODE_MACRO:
        set_variable(r, scope, n->name, macro_value(r, n, scope));
        break;
    case NODE_CALL_BLOCK:
        jinja_put_str(&r->out, eval_call(r, n->a, scope, macro_value(r, n->b, scope)));
        break;
    case NODE_FILTER_BLOCK:
        jinja_put_str(&r->out, eval_filter(r, n->a, run_apart(r, n->b, scope), scope));
        break;
    case NODE_WITH:
        run_with(r, n, scope);
        break;
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    default:
        jinja_fail(r->s, LLMOS_EFORMAT, "this is no statement");
    }
    return FLOW_ON;
}

static enum flow run(struct render *r, const struct jinja_node *n, struct jinja_scope *scope)
{
    enum flow flow = FLOW_ON;

    if (!n || !jinja_enter(r->s))
        return FLOW_ON;
    for (; n && flow == FLOW_ON && jinja_work(r->s, 0); n = n->next)
        flow = run_one(r, n, scope);
    jinja_leave(r->s);
    return flow;
}

/* ---- the whole ---- */

int jinja_create(struct jinja_template **t, struct str source, struct llmos_error *err)
{
    static const struct jinja_limits limits = TREE_LIMITS;
    struct jinja_template *made = mem_zalloc(1, sizeof(*made));
    int rc;

    if (!made)
        return fail(err, LLMOS_ENOMEM, "no memory for a chat template");
    jinja_store_init(&made->store, &limits, err);
    made->body = jinja_parse_source(&made->store, source);
    rc = made->store.rc;
    made->store.err = NULL;
    if (rc < 0)
        jinja_destroy(made);
    else
        *t = made;
    return rc;
}

void jinja_destroy(struct jinja_template *t)
{
    if (!t)
        return;
    jinja_store_fini(&t->store);
    mem_free(t);
}

int jinja_render(const struct jinja_template *t, struct jinja_store *store,
                 struct jinja_value variables, struct jinja_str *out)
{
    struct render r = {.s = store, .variables = variables};
    struct jinja_value v;

    if (store->rc < 0)
        return store->rc;
    jinja_build_init(&r.out, store);
    r.out.text.limit_bytes = store->limits.output_bytes;
    run(&r, t->body, scope_in(&r, NULL));
    v = jinja_built(&r.out);
    if (store->rc == 0)
        *out = *v.s;
    return store->rc;
}
