/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_parse.c - see jinja_node.h.  The grammar and the precedence of operators are Jinja's:
 * https://jinja.palletsprojects.com/templates, and its parser where the page leaves it open. */
#include "model/jinja_call.h"
#include "model/jinja_lex.h"
#include "model/jinja_node.h"

struct parser {
    struct jinja_store *s;
    const struct jinja_token *at;
    unsigned loops; /* around this place */
    unsigned takes; /* what the macro around this place takes beyond its parameters */
};

static struct jinja_node *parse_expression(struct parser *p);
static struct jinja_node *parse_unary(struct parser *p, bool with_filter);
static struct jinja_node *parse_body(struct parser *p, const char *const *ends);

/* ---- tokens ---- */

static void next(struct parser *p)
{
    if (p->at->kind != TOKEN_END)
        p->at++;
    p->s->line = p->at->line;
}

static bool is_op(const struct parser *p, unsigned op)
{
    return p->at->kind == TOKEN_OPERATOR && p->at->op == op;
}

static bool is_name(const struct parser *p, const char *name)
{
    return p->at->kind == TOKEN_NAME && str_is(p->at->text, name);
}

static bool skip_op(struct parser *p, unsigned op)
{
    bool is = p->s->rc == 0 && is_op(p, op);

    if (is)
        next(p);
    return is;
}

static bool skip_name(struct parser *p, const char *name)
{
    bool is = p->s->rc == 0 && is_name(p, name);

    if (is)
        next(p);
    return is;
}

static void *unexpected(struct parser *p, const char *wanted)
{
    if (p->at->kind == TOKEN_END)
        jinja_fail(p->s, LLMOS_EFORMAT, "it ends where %s is expected", wanted);
    else
        jinja_fail(p->s, LLMOS_EFORMAT, "'%.*s' where %s is expected",
                   (int)(p->at->text.len < 40 ? p->at->text.len : 40), p->at->text.at, wanted);
    return NULL;
}

static void expect_op(struct parser *p, unsigned op)
{
    char text[8] = {'\'', (char)(op & 0xff), op > 0xff ? (char)(op >> 8) : '\'',
                    op > 0xff ? '\'' : '\0'};

    if (!skip_op(p, op))
        unexpected(p, text);
}

static void expect_name(struct parser *p, const char *name)
{
    if (!skip_name(p, name))
        unexpected(p, name);
}

static struct str take_name(struct parser *p)
{
    struct str name = p->at->text;

    if (p->at->kind != TOKEN_NAME) {
        unexpected(p, "a name");
        return (struct str){"", 0};
    }
    next(p);
    return name;
}

static void end_block(struct parser *p)
{
    if (p->s->rc == 0 && p->at->kind != TOKEN_BLOCK_END)
        unexpected(p, "the end of the block");
    next(p);
}

/* ---- nodes ---- */

static unsigned depth_of(const struct jinja_node *n)
{
    return n ? n->depth : 0;
}

static struct jinja_node *node(struct parser *p, enum jinja_node_kind kind, struct jinja_node *a,
                               struct jinja_node *b)
{
    struct jinja_node *n = jinja_alloc(p->s, 1, sizeof(*n));
    unsigned depth = depth_of(a) > depth_of(b) ? depth_of(a) : depth_of(b);

    if (!n)
        return NULL;
    if (depth + 1 > p->s->limits.depth) {
        jinja_fail(p->s, LLMOS_ELIMIT, "an expression is nested more than %u deep",
                   p->s->limits.depth);
        return NULL;
    }
    n->kind = (uint8_t)kind;
    n->depth = (uint16_t)(depth + 1);
    n->line = p->s->line;
    n->a = a;
    n->b = b;
    return n;
}

static struct jinja_node *named(struct parser *p, enum jinja_node_kind kind, struct str name,
                                struct jinja_node *a, struct jinja_node *b)
{
    struct jinja_node *n = node(p, kind, a, b);

    if (n)
        n->name = name;
    return n;
}

static struct jinja_node *binary(struct parser *p, unsigned op, struct jinja_node *a,
                                 struct jinja_node *b)
{
    struct jinja_node *n = node(p, NODE_BINARY, a, b);

    if (n)
        n->op = (uint16_t)op;
    return n;
}

static struct jinja_node *constant(struct parser *p, struct jinja_value v)
{
    struct jinja_node *n = node(p, NODE_CONST, NULL, NULL);

    if (n)
        n->value = v;
    return n;
}

/* A list of nodes that grows at its end; the first knows how deep they are. */
struct chain {
    struct jinja_node *first, **end;
};

static void chain_add(struct chain *c, struct jinja_node *n)
{
    if (!n)
        return;
    if (!c->first)
        c->first = n;
    else
        *c->end = n;
    if (n->depth > c->first->depth)
        c->first->depth = n->depth;
    c->end = &n->next;
}

/* ---- expressions ---- */

/* What stands between an opening bracket, already skipped, and `close`. */
static struct jinja_node *parse_items(struct parser *p, unsigned close)
{
    struct chain items = {NULL, NULL};

    while (p->s->rc == 0 && !is_op(p, close)) {
        if (items.first)
            expect_op(p, ',');
        if (is_op(p, close))
            break;
        chain_add(&items, parse_expression(p));
    }
    expect_op(p, close);
    return items.first;
}

static struct jinja_node *parse_dict(struct parser *p)
{
    struct chain pairs = {NULL, NULL};

    while (p->s->rc == 0 && !is_op(p, '}')) {
        struct jinja_node *key;

        if (pairs.first)
            expect_op(p, ',');
        if (is_op(p, '}'))
            break;
        key = parse_expression(p);
        expect_op(p, ':');
        chain_add(&pairs, node(p, NODE_PAIR, key, parse_expression(p)));
    }
    expect_op(p, '}');
    return node(p, NODE_DICT, pairs.first, NULL);
}

static bool ends_tuple(const struct parser *p)
{
    return p->at->kind == TOKEN_BLOCK_END || p->at->kind == TOKEN_PRINT_END || is_op(p, ')') ||
           is_name(p, "in");
}

/* One expression, or a tuple of those that commas part; `each` parses one. */
static struct jinja_node *parse_tuple(struct parser *p, struct jinja_node *(*each)(struct parser *),
                                      bool may_be_empty)
{
    struct chain items = {NULL, NULL};
    bool is_tuple = false;

    while (p->s->rc == 0 && !ends_tuple(p)) {
        chain_add(&items, each(p));
        if (!skip_op(p, ','))
            break;
        is_tuple = true;
    }
    if (!is_tuple && items.first)
        return items.first;
    if (!items.first && !may_be_empty)
        return unexpected(p, "an expression");
    return node(p, NODE_TUPLE, items.first, NULL);
}

static struct jinja_node *parse_string(struct parser *p)
{
    struct jinja_value v = p->at->value;
    struct jinja_build b;

    next(p);
    if (v.kind != JINJA_STRING || p->at->kind != TOKEN_CONST || p->at->value.kind != JINJA_STRING)
        return constant(p, v);
    jinja_build_init(&b, p->s);
    jinja_put(&b, *v.s);
    for (; p->at->kind == TOKEN_CONST && p->at->value.kind == JINJA_STRING; next(p))
        jinja_put(&b, *p->at->value.s);
    return constant(p, jinja_built(&b));
}

static struct jinja_node *parse_name(struct parser *p)
{
    static const struct {
        const char *name;
        struct jinja_value value;
    } words[] = {
        {"true", {.kind = JINJA_BOOL, .b = true}},
        {"True", {.kind = JINJA_BOOL, .b = true}},
        {"false", {.kind = JINJA_BOOL, .b = false}},
        {"False", {.kind = JINJA_BOOL, .b = false}},
        {"none", {.kind = JINJA_NONE}},
        {"None", {.kind = JINJA_NONE}},
    };
    struct str name = take_name(p);

    p->takes |= str_is(name, "varargs") ? MACRO_TAKES_MORE : 0;
    p->takes |= str_is(name, "kwargs") ? MACRO_TAKES_NAMES : 0;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (str_is(name, words[i].name))
            return constant(p, words[i].value);
    return named(p, NODE_NAME, name, NULL, NULL);
}

static struct jinja_node *parse_primary(struct parser *p)
{
    struct jinja_node *n;

    if (p->at->kind == TOKEN_NAME)
        return parse_name(p);
    if (p->at->kind == TOKEN_CONST)
        return parse_string(p);
    if (skip_op(p, '(')) {
        n = parse_tuple(p, parse_expression, true);
        expect_op(p, ')');
        return n;
    }
    if (skip_op(p, '['))
        return node(p, NODE_LIST, parse_items(p, ']'), NULL);
    if (skip_op(p, '{'))
        return parse_dict(p);
    return unexpected(p, "an expression");
}

static struct jinja_node *parse_argument(struct parser *p)
{
    struct jinja_node *n;
    struct str name = {"", 0};
    unsigned op = 0;

    if (skip_op(p, OP('*', '*')))
        op = OP('*', '*');
    else if (skip_op(p, '*'))
        op = '*';
    else if (p->at->kind == TOKEN_NAME && p->at[1].kind == TOKEN_OPERATOR && p->at[1].op == '=') {
        name = take_name(p);
        next(p);
    }
    n = named(p, NODE_ARGUMENT, name, parse_expression(p), NULL);
    if (n)
        n->op = (uint16_t)op;
    return n;
}

/* The parenthesis is open. */
static struct jinja_node *parse_arguments(struct parser *p)
{
    struct chain arguments = {NULL, NULL};

    while (p->s->rc == 0 && !is_op(p, ')')) {
        if (arguments.first)
            expect_op(p, ',');
        if (is_op(p, ')'))
            break;
        chain_add(&arguments, parse_argument(p));
    }
    expect_op(p, ')');
    return arguments.first;
}

/* What stands in brackets: an expression, or from:to:step. */
static struct jinja_node *parse_subscript(struct parser *p)
{
    struct jinja_node *parts[3] = {NULL, NULL, NULL}, *n;

    if (!is_op(p, ':'))
        parts[0] = parse_expression(p);
    if (!skip_op(p, ':'))
        return parts[0];
    if (!is_op(p, ':') && !is_op(p, ']'))
        parts[1] = parse_expression(p);
    if (skip_op(p, ':') && !is_op(p, ']'))
        parts[2] = parse_expression(p);
    n = node(p, NODE_SLICE, parts[0], parts[1]);
    if (n) {
        n->c = parts[2];
        if (depth_of(n->c) >= n->depth)
            n->depth = (uint16_t)(depth_of(n->c) + 1);
    }
    return n;
}

static struct jinja_node *parse_dot(struct parser *p, struct jinja_node *n)
{
    struct jinja_value v = p->at->value;

    if (p->at->kind == TOKEN_CONST && v.kind == JINJA_INT) {
        next(p);
        return node(p, NODE_ITEM, n, constant(p, v));
    }
    return named(p, NODE_ATTRIBUTE, take_name(p), n, NULL);
}

static struct jinja_node *parse_postfix(struct parser *p, struct jinja_node *n)
{
    while (p->s->rc == 0) {
        if (skip_op(p, '.')) {
            n = parse_dot(p, n);
        } else if (skip_op(p, '[')) {
            n = node(p, NODE_ITEM, n, parse_subscript(p));
            expect_op(p, ']');
        } else if (skip_op(p, '(')) {
            n = node(p, NODE_CALL, n, parse_arguments(p));
        } else {
            break;
        }
    }
    return n;
}

/* The bar was skipped; a is NULL where a block is filtered. */
static struct jinja_node *parse_filter(struct parser *p, struct jinja_node *a)
{
    struct str name = take_name(p);
    struct jinja_node *n =
        named(p, NODE_FILTER, name, a, skip_op(p, '(') ? parse_arguments(p) : NULL);

    if (n)
        n->function = jinja_filter(name);
    return n;
}

static bool begins_argument(const struct parser *p)
{
    if (p->at->kind == TOKEN_NAME)
        return !is_name(p, "else") && !is_name(p, "or") && !is_name(p, "and");
    return p->at->kind == TOKEN_CONST || is_op(p, '[') || is_op(p, '{');
}

static struct jinja_node *parse_test(struct parser *p, struct jinja_node *a)
{
    bool negated = skip_name(p, "not");
    struct str name = take_name(p);
    struct jinja_node *n, *arguments = NULL;

    if (is_name(p, "is"))
        return unexpected(p, "one test");
    if (skip_op(p, '(')) {
        arguments = parse_arguments(p);
    } else if (begins_argument(p)) {
        arguments = parse_postfix(p, parse_primary(p));
        arguments = node(p, NODE_ARGUMENT, arguments, NULL);
    }
    n = named(p, NODE_TEST, name, a, arguments);
    if (n)
        n->function = jinja_test(name);
    return negated ? node(p, NODE_NOT, n, NULL) : n;
}

static struct jinja_node *parse_unary(struct parser *p, bool with_filter)
{
    struct jinja_node *n;
    unsigned op = is_op(p, '-') || is_op(p, '+') ? p->at->op : 0;

    if (!jinja_enter(p->s))
        return NULL;
    if (op) {
        next(p);
        n = node(p, NODE_SIGN, parse_unary(p, false), NULL);
        if (n)
            n->op = (uint16_t)op;
    } else {
        n = parse_primary(p);
    }
    n = parse_postfix(p, n);
    while (with_filter && p->s->rc == 0) {
        if (skip_op(p, '|'))
            n = parse_filter(p, n);
        else if (skip_name(p, "is"))
            n = parse_test(p, n);
        else if (skip_op(p, '('))
            n = node(p, NODE_CALL, n, parse_arguments(p));
        else
            break;
    }
    jinja_leave(p->s);
    return n;
}

static struct jinja_node *parse_power(struct parser *p)
{
    struct jinja_node *n = parse_unary(p, true);

    while (skip_op(p, OP('*', '*')))
        n = binary(p, OP('*', '*'), n, parse_unary(p, true));
    return n;
}

static struct jinja_node *parse_product(struct parser *p)
{
    struct jinja_node *n = parse_power(p);

    while (is_op(p, '*') || is_op(p, '/') || is_op(p, OP('/', '/')) || is_op(p, '%')) {
        unsigned op = p->at->op;

        next(p);
        n = binary(p, op, n, parse_power(p));
    }
    return n;
}

static struct jinja_node *parse_concat(struct parser *p)
{
    struct chain parts = {NULL, NULL};

    chain_add(&parts, parse_product(p));
    if (!is_op(p, '~'))
        return parts.first;
    while (skip_op(p, '~'))
        chain_add(&parts, parse_product(p));
    return node(p, NODE_CONCAT, parts.first, NULL);
}

static struct jinja_node *parse_sum(struct parser *p)
{
    struct jinja_node *n = parse_concat(p);

    while (is_op(p, '+') || is_op(p, '-')) {
        unsigned op = p->at->op;

        next(p);
        n = binary(p, op, n, parse_concat(p));
    }
    return n;
}

/* The operator that stands here: its characters, 'i' for in, 'n' for not in; 0: none.  Skips it. */
static unsigned take_comparison(struct parser *p)
{
    static const unsigned ops[] = {OP('=', '='), OP('!', '='), '<',
                                   '>',          OP('<', '='), OP('>', '=')};

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (skip_op(p, ops[i]))
            return ops[i];
    if (skip_name(p, "in"))
        return 'i';
    if (is_name(p, "not") && p->at[1].kind == TOKEN_NAME && str_is(p->at[1].text, "in")) {
        next(p);
        next(p);
        return 'n';
    }
    return 0;
}

static struct jinja_node *parse_compare(struct parser *p)
{
    struct jinja_node *n = parse_sum(p);
    struct chain operands = {NULL, NULL};
    unsigned op;

    while (p->s->rc == 0 && (op = take_comparison(p)) != 0) {
        struct jinja_node *operand = node(p, NODE_OPERAND, parse_sum(p), NULL);

        if (operand)
            operand->op = (uint16_t)op;
        chain_add(&operands, operand);
    }
    return operands.first ? node(p, NODE_COMPARE, n, operands.first) : n;
}

static struct jinja_node *parse_not(struct parser *p)
{
    unsigned count = 0;
    struct jinja_node *n;

    while (skip_name(p, "not"))
        count++;
    n = parse_compare(p);
    if (count > 0)
        n = node(p, NODE_NOT, n, NULL);
    return count > 0 && count % 2 == 0 ? node(p, NODE_NOT, n, NULL) : n;
}

static struct jinja_node *parse_and(struct parser *p)
{
    struct jinja_node *n = parse_not(p);

    while (skip_name(p, "and"))
        n = node(p, NODE_AND, n, parse_not(p));
    return n;
}

static struct jinja_node *parse_or(struct parser *p)
{
    struct jinja_node *n = parse_and(p);

    while (skip_name(p, "or"))
        n = node(p, NODE_OR, n, parse_and(p));
    return n;
}

/* a if b else c, from the right */
static struct jinja_node *parse_expression(struct parser *p)
{
    struct jinja_node *n, *condition;

    if (!jinja_enter(p->s))
        return NULL;
    n = parse_or(p);
    while (skip_name(p, "if")) {
        condition = parse_or(p);
        n = node(p, NODE_COND, condition, n);
        if (n && skip_name(p, "else")) {
            n->c = parse_expression(p);
            if (depth_of(n->c) >= n->depth)
                n->depth = (uint16_t)(depth_of(n->c) + 1);
        }
    }
    jinja_leave(p->s);
    return n;
}

/* ---- statements ---- */

/* A name, name.attribute, or some of them; what {% set %} and {% for %} assign to. */
static struct jinja_node *parse_target_part(struct parser *p)
{
    struct jinja_node *n;

    if (skip_op(p, '(')) {
        if (!jinja_enter(p->s))
            return NULL;
        n = parse_tuple(p, parse_target_part, false);
        jinja_leave(p->s);
        expect_op(p, ')');
        return n;
    }
    n = parse_name(p);
    if (n && n->kind != NODE_NAME)
        return unexpected(p, "the name of a variable");
    if (n && skip_op(p, '.'))
        n = named(p, NODE_ATTRIBUTE, take_name(p), n, NULL);
    return n;
}

static struct jinja_node *parse_target(struct parser *p)
{
    return parse_tuple(p, parse_target_part, false);
}

static struct jinja_node *parse_if(struct parser *p)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    struct jinja_node *first = NULL, **at = &first;

    for (;;) {
        struct jinja_node *n = node(p, NODE_IF, parse_expression(p), NULL);

        *at = n;
        end_block(p);
        if (!n || p->s->rc < 0)
            return NULL;
        n->b = parse_body(p, ends);
        if (skip_name(p, "elif")) {
            n->op = 1;
            at = &n->c;
            continue;
        }
        if (skip_name(p, "else")) {
            end_block(p);
            n->c = parse_body(p, ends + 2);
        }
        expect_name(p, "endif");
        return first;
    }
}

static struct jinja_node *parse_for(struct parser *p)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    struct jinja_node *target = parse_target(p), *n;

    expect_name(p, "in");
    n = node(p, NODE_FOR, target, parse_tuple(p, parse_or, false));
    if (!n)
        return NULL;
    if (skip_name(p, "if"))
        n->e = parse_expression(p);
    n->op = skip_name(p, "recursive");
    end_block(p);
    p->loops++;
    n->c = parse_body(p, ends);
    p->loops--;
    if (skip_name(p, "else")) {
        end_block(p);
        n->d = parse_body(p, ends + 1);
    }
    expect_name(p, "endfor");
    return n;
}

static struct jinja_node *parse_filters(struct parser *p)
{
    struct jinja_node *n = NULL;

    do
        n = parse_filter(p, n);
    while (skip_op(p, '|'));
    return n;
}

static struct jinja_node *parse_set(struct parser *p)
{
    static const char *const ends[] = {"endset", NULL};
    struct jinja_node *target = parse_target(p), *n;

    if (skip_op(p, '='))
        return node(p, NODE_SET, target, parse_tuple(p, parse_expression, false));
    n = node(p, NODE_SET_BLOCK, target, skip_op(p, '|') ? parse_filters(p) : NULL);
    end_block(p);
    if (!n)
        return NULL;
    n->c = parse_body(p, ends);
    expect_name(p, "endset");
    return n;
}

/* The parenthesis is open. */
static struct jinja_node *parse_parameters(struct parser *p)
{
    struct chain parameters = {NULL, NULL};

    while (p->s->rc == 0 && !is_op(p, ')')) {
        struct str name;

        if (parameters.first)
            expect_op(p, ',');
        if (is_op(p, ')'))
            break;
        name = take_name(p);
        chain_add(&parameters, named(p, NODE_PARAMETER, name,
                                     skip_op(p, '=') ? parse_expression(p) : NULL, NULL));
    }
    expect_op(p, ')');
    return parameters.first;
}

/* A macro's body, up to its end; a loop around it is not around what it says. */
static struct jinja_node *parse_macro_body(struct parser *p, struct str name,
                                           struct jinja_node *parameters, const char *end)
{
    const char *const ends[] = {end, NULL};
    struct jinja_node *n = named(p, NODE_MACRO, name, parameters, NULL);
    unsigned loops = p->loops, takes = p->takes;

    p->loops = p->takes = 0;
    end_block(p);
    if (n)
        n->b = parse_body(p, ends);
    if (n)
        n->op = (uint16_t)p->takes;
    expect_name(p, end);
    p->loops = loops;
    p->takes = takes;
    return n;
}

static struct jinja_node *parse_macro(struct parser *p)
{
    struct str name = take_name(p);

    expect_op(p, '(');
    return parse_macro_body(p, name, parse_parameters(p), "endmacro");
}

static struct jinja_node *parse_call_block(struct parser *p)
{
    struct jinja_node *parameters = skip_op(p, '(') ? parse_parameters(p) : NULL;
    struct jinja_node *call = parse_expression(p);

    if (call && call->kind != NODE_CALL)
        return unexpected(p, "a call");
    return node(p, NODE_CALL_BLOCK, call,
                parse_macro_body(p, STR("caller"), parameters, "endcall"));
}

static struct jinja_node *parse_filter_block(struct parser *p)
{
    static const char *const ends[] = {"endfilter", NULL};
    struct jinja_node *n = node(p, NODE_FILTER_BLOCK, parse_filters(p), NULL);

    end_block(p);
    if (!n)
        return NULL;
    n->b = parse_body(p, ends);
    expect_name(p, "endfilter");
    return n;
}

static struct jinja_node *parse_with(struct parser *p)
{
    static const char *const ends[] = {"endwith", NULL};
    struct chain sets = {NULL, NULL};
    struct jinja_node *n;

    while (p->s->rc == 0 && p->at->kind != TOKEN_BLOCK_END) {
        struct jinja_node *target;

        if (sets.first)
            expect_op(p, ',');
        target = parse_target_part(p);
        expect_op(p, '=');
        chain_add(&sets, node(p, NODE_SET, target, parse_expression(p)));
    }
    n = node(p, NODE_WITH, sets.first, NULL);
    end_block(p);
    if (!n)
        return NULL;
    n->b = parse_body(p, ends);
    expect_name(p, "endwith");
    return n;
}

/* What transformers marks as said by the assistant: here, the text it is. */
static struct jinja_node *parse_generation(struct parser *p)
{
    static const char *const ends[] = {"endgeneration", NULL};
    struct jinja_node *n = node(p, NODE_WITH, NULL, NULL);

    end_block(p);
    if (!n)
        return NULL;
    n->b = parse_body(p, ends);
    expect_name(p, "endgeneration");
    return n;
}

static struct jinja_node *parse_print(struct parser *p)
{
    return node(p, NODE_PRINT, parse_tuple(p, parse_expression, false), NULL);
}

/* {% print a, b %}: one behind the other */
static struct jinja_node *parse_prints(struct parser *p)
{
    struct chain parts = {NULL, NULL};

    do
        chain_add(&parts, parse_expression(p));
    while (skip_op(p, ','));
    return node(p, NODE_PRINT, node(p, NODE_CONCAT, parts.first, NULL), NULL);
}

static struct jinja_node *parse_jump(struct parser *p, enum jinja_node_kind kind)
{
    if (p->loops == 0)
        jinja_fail(p->s, LLMOS_EFORMAT, "a break or continue outside of a loop");
    return node(p, kind, NULL, NULL);
}

static struct jinja_node *parse_break(struct parser *p)
{
    return parse_jump(p, NODE_BREAK);
}

static struct jinja_node *parse_continue(struct parser *p)
{
    return parse_jump(p, NODE_CONTINUE);
}

static const struct {
    const char *name;
    struct jinja_node *(*parse)(struct parser *p);
} statements[] = {
    {"if", parse_if},
    {"for", parse_for},
    {"set", parse_set},
    {"macro", parse_macro},
    {"call", parse_call_block},
    {"filter", parse_filter_block},
    {"with", parse_with},
    {"generation", parse_generation},
    {"print", parse_prints},
    {"break", parse_break},
    {"continue", parse_continue},
};

static struct jinja_node *parse_statement(struct parser *p)
{
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
        if (!skip_name(p, statements[i].name))
            continue;
        return statements[i].parse(p);
    }
    return unexpected(p, "a statement like 'if', 'for' or 'set'");
}

static bool is_any(const struct parser *p, const char *const *names)
{
    for (; *names; names++)
        if (is_name(p, *names))
            return true;
    return false;
}

static struct jinja_node *parse_piece(struct parser *p)
{
    struct jinja_node *n;

    if (p->at->kind == TOKEN_TEXT) {
        n = node(p, NODE_TEXT, NULL, NULL);
        if (n)
            n->value = jinja_string(
                p->s, (struct jinja_str){.at = p->at->text.at, .len = p->at->text.len});
        next(p);
        return n;
    }
    if (p->at->kind != TOKEN_PRINT)
        return unexpected(p, "text");
    next(p);
    n = parse_print(p);
    if (p->s->rc == 0 && p->at->kind != TOKEN_PRINT_END)
        return unexpected(p, "'}}'");
    next(p);
    return n;
}

/* Statements up to a block that begins with one of `ends`, at which the parser then stands; NULL:
 * to the end of the template. */
static struct jinja_node *parse_body(struct parser *p, const char *const *ends)
{
    struct chain body = {NULL, NULL};

    if (!jinja_enter(p->s))
        return NULL;
    while (p->s->rc == 0 && p->at->kind != TOKEN_END) {
        if (p->at->kind != TOKEN_BLOCK) {
            chain_add(&body, parse_piece(p));
            continue;
        }
        next(p);
        if (ends && is_any(p, ends))
            break;
        chain_add(&body, parse_statement(p));
        end_block(p);
    }
    if (ends && p->at->kind == TOKEN_END)
        unexpected(p, ends[0]);
    jinja_leave(p->s);
    return body.first;
}

struct jinja_node *jinja_parse_source(struct jinja_store *s, struct str source)
{
    struct parser p = {.s = s, .at = jinja_lex(s, source)};

    return p.at ? parse_body(&p, NULL) : NULL;
}
