/* SPDX-License-Identifier: Apache-2.0 */
/* grammar.c - see grammar.h */
#include "infer/grammar.h"

#include "base/mem.h"
#include "infer/gbnf.h"

#include <string.h>

#define NODE_RETURN 0u
#define NODE_ACCEPT 1u
#define NODE_NONE   UINT32_MAX
#define PIECES_MAX  32 /* of one class, with different endings, before they are written out */

struct compile {
    struct grammar *g;
    struct gbnf tree;
    /* Of each rule, groups that became some included: what it was called and where it stands. */
    struct source {
        const struct gbnf_body *body;
        struct str name; /* of a group: that of the rule it stands in */
    } * sources;
    uint32_t rule_room, source_room;
    bool *is_needed; /* per rule: root can come to it */
    struct str name; /* of the rule that is emitted */
    struct llmos_error *err;
    struct arena scratch; /* gone when the grammar is made */
    uint32_t node_room, set_room;
    uint32_t *node_slots, *set_slots; /* hash tables: equal ones are one */
    uint32_t work_left;
    int rc;
};

static int refuse(struct compile *c, int code, const char *why)
{
    if (c->rc == 0)
        c->rc = fail(c->err, code, "the grammar %s", why);
    return c->rc;
}

static void *scratch_array(struct compile *c, size_t count, size_t size)
{
    void *at = arena_calloc(&c->scratch, count ? count : 1, size);

    if (!at)
        refuse(c, LLMOS_ENOMEM, "found no memory");
    return at;
}

static bool work(struct compile *c, uint32_t steps)
{
    if (c->work_left < steps) {
        c->work_left = 0;
        refuse(c, LLMOS_ELIMIT,
               "takes too long to compile: repetitions {m,n} in it multiply; use * or + where no "
               "number is needed");
        return false;
    }
    c->work_left -= steps;
    return c->rc == 0;
}

/* --- nodes and sets, each only once --- */

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 0x9E3779B1u;
    return h ^ h >> 15;
}

/* A bigger copy of the table; the hash table over it is made anew by the caller. */
static void *grown(struct compile *c, const void *old, uint32_t count, uint32_t *room, size_t size)
{
    void *table;

    *room = *room ? *room * 2 : 64;
    table = scratch_array(c, *room, size);
    if (table && count)
        memcpy(table, old, count * size);
    return table;
}

static uint32_t *new_slots(struct compile *c, uint32_t count)
{
    uint32_t *slots = scratch_array(c, count, sizeof(*slots));

    if (slots)
        memset(slots, 0xFF, count * sizeof(*slots));
    return slots;
}

static uint32_t hash_node(struct grammar_node n)
{
    return mix(mix(mix(7, n.kind), n.a), n.b);
}

static bool same_node(struct grammar_node a, struct grammar_node b)
{
    return a.kind == b.kind && a.a == b.a && a.b == b.b;
}

static bool grow_nodes(struct compile *c)
{
    struct grammar *g = c->g;

    if (g->node_count >= GRAMMAR_NODES_MAX)
        return refuse(c, LLMOS_ELIMIT, "is too large: its repetitions {m,n} multiply"), false;
    g->nodes = grown(c, g->nodes, g->node_count, &c->node_room, sizeof(*g->nodes));
    c->node_slots = new_slots(c, c->node_room * 2);
    for (uint32_t i = 0; c->rc == 0 && i < g->node_count; i++) {
        uint32_t at = hash_node(g->nodes[i]) & (c->node_room * 2 - 1);

        while (c->node_slots[at] != NODE_NONE)
            at = (at + 1) & (c->node_room * 2 - 1);
        c->node_slots[at] = i;
    }
    return c->rc == 0;
}

/* A node of its own, also if there is an equal one: its parts will be changed. */
static uint32_t fresh_node(struct compile *c, uint32_t kind, uint32_t a, uint32_t b)
{
    struct grammar *g = c->g;

    if (!work(c, 1) || (g->node_count == c->node_room && !grow_nodes(c)))
        return NODE_RETURN;
    g->nodes[g->node_count] = (struct grammar_node){kind, a, b};
    return g->node_count++;
}

static uint32_t node(struct compile *c, uint32_t kind, uint32_t a, uint32_t b)
{
    struct grammar_node n = {kind, a, b};
    uint32_t at, id;

    if (c->rc < 0 || (c->g->node_count == c->node_room && !grow_nodes(c)))
        return NODE_RETURN;
    at = hash_node(n) & (c->node_room * 2 - 1);
    for (; (id = c->node_slots[at]) != NODE_NONE; at = (at + 1) & (c->node_room * 2 - 1))
        if (same_node(c->g->nodes[id], n))
            return work(c, 1) ? id : NODE_RETURN;
    id = fresh_node(c, kind, a, b);
    if (c->rc == 0)
        c->node_slots[at] = id;
    return id;
}

static uint32_t split(struct compile *c, uint32_t a, uint32_t b)
{
    if (a == NODE_NONE || a == b)
        return b;
    return b == NODE_NONE ? a : node(c, GRAMMAR_SPLIT, a, b);
}

static uint32_t hash_set(const struct grammar_set *s)
{
    uint32_t h = 3;

    for (int i = 0; i < 4; i++)
        h = mix(mix(h, (uint32_t)s->bits[i]), (uint32_t)(s->bits[i] >> 32));
    return h;
}

static uint32_t set_id(struct compile *c, const struct grammar_set *s)
{
    struct grammar *g = c->g;
    uint32_t at, id;

    if (g->set_count == c->set_room) {
        g->sets = grown(c, g->sets, g->set_count, &c->set_room, sizeof(*g->sets));
        c->set_slots = new_slots(c, c->set_room * 2);
        for (uint32_t i = 0; c->rc == 0 && i < g->set_count; i++) {
            at = hash_set(&g->sets[i]) & (c->set_room * 2 - 1);
            while (c->set_slots[at] != NODE_NONE)
                at = (at + 1) & (c->set_room * 2 - 1);
            c->set_slots[at] = i;
        }
    }
    if (c->rc < 0)
        return 0;
    at = hash_set(s) & (c->set_room * 2 - 1);
    for (; (id = c->set_slots[at]) != NODE_NONE; at = (at + 1) & (c->set_room * 2 - 1))
        if (memcmp(&g->sets[id], s, sizeof(*s)) == 0)
            return id;
    g->sets[g->set_count] = *s;
    return c->set_slots[at] = g->set_count++;
}

/* --- characters as bytes ---
 *
 * A range of code points is cut where the bytes of UTF-8 (RFC 3629) carry over, so that each piece
 * is one range of leading bytes before the same continuations. */

struct piece {
    struct grammar_set set;
    uint32_t next;
};

struct pieces {
    struct piece at[PIECES_MAX];
    unsigned count;
    uint32_t done; /* those that were written out; NODE_NONE: none */
};

static uint32_t join_pieces(struct compile *c, struct pieces *p)
{
    for (unsigned i = 0; i < p->count; i++)
        p->done =
            split(c, node(c, GRAMMAR_BYTES, set_id(c, &p->at[i].set), p->at[i].next), p->done);
    p->count = 0;
    return p->done;
}

static void add_piece(struct compile *c, struct pieces *p, uint32_t low, uint32_t high,
                      uint32_t next)
{
    struct piece *one = NULL;

    if (!work(c, 1))
        return;
    for (unsigned i = 0; i < p->count && !one; i++)
        if (p->at[i].next == next)
            one = &p->at[i];
    if (!one) {
        if (p->count == PIECES_MAX)
            join_pieces(c, p);
        one = &p->at[p->count++];
        *one = (struct piece){.next = next};
    }
    for (uint32_t b = low; b <= high; b++)
        one->set.bits[b / 64] |= (uint64_t)1 << (b % 64);
}

static void add_range(struct compile *c, struct pieces *p, uint32_t lead, uint32_t low,
                      uint32_t high, unsigned more, uint32_t next);

/* The last `more` bytes of the characters from low to high. */
static uint32_t continuation(struct compile *c, uint32_t low, uint32_t high, unsigned more,
                             uint32_t next)
{
    struct pieces p = {.count = 0, .done = NODE_NONE};

    if (more == 0)
        return next;
    add_range(c, &p, 0x80, low, high, more - 1, next);
    return join_pieces(c, &p);
}

/* `more` bytes follow the leading one, which is `lead` and the bits that they leave. */
static void add_range(struct compile *c, struct pieces *p, uint32_t lead, uint32_t low,
                      uint32_t high, unsigned more, uint32_t next)
{
    uint32_t mask = (1u << 6 * more) - 1;
    uint32_t first = low >> 6 * more, last = high >> 6 * more;

    if (first == last) {
        add_piece(c, p, lead | first, lead | first,
                  continuation(c, low & mask, high & mask, more, next));
        return;
    }
    if (low & mask) {
        add_piece(c, p, lead | first, lead | first, continuation(c, low & mask, mask, more, next));
        first++;
    }
    if ((high & mask) != mask) {
        add_piece(c, p, lead | last, lead | last, continuation(c, 0, high & mask, more, next));
        last--;
    }
    if (first <= last)
        add_piece(c, p, lead | first, lead | last, continuation(c, 0, mask, more, next));
}

static const struct {
    uint32_t low, high, lead;
    unsigned more;
} utf8_forms[] = {
    {0, 0x7F, 0, 0},
    {0x80, 0x7FF, 0xC0, 1},
    {0x800, 0xD7FF, 0xE0, 2},
    {0xE000, 0xFFFF, 0xE0, 2}, /* between them: halves of characters in UTF-16 */
    {0x10000, 0x10FFFF, 0xF0, 3},
};

/* --- the tree as nodes --- */

static uint32_t emit_class(struct compile *c, const struct gbnf_element *e, uint32_t next)
{
    struct pieces p = {.count = 0, .done = NODE_NONE};

    for (uint32_t i = 0; i < e->range_count && c->rc == 0; i++)
        for (size_t k = 0; k < sizeof(utf8_forms) / sizeof(utf8_forms[0]); k++) {
            uint32_t low = e->ranges[i].low, high = e->ranges[i].high;

            low = low > utf8_forms[k].low ? low : utf8_forms[k].low;
            high = high < utf8_forms[k].high ? high : utf8_forms[k].high;
            if (low <= high)
                add_range(c, &p, utf8_forms[k].lead, low, high, utf8_forms[k].more, next);
        }
    if (join_pieces(c, &p) == NODE_NONE)
        refuse(c, LLMOS_EFORMAT, "has a class that no character is in");
    return p.done;
}

static uint32_t emit_body(struct compile *c, const struct gbnf_body *b, uint32_t next);

static uint32_t emit_once(struct compile *c, const struct gbnf_element *e, uint32_t next)
{
    if (e->kind == GBNF_CLASS)
        return emit_class(c, e, next);
    if (e->rule != NODE_NONE)
        return node(c, GRAMMAR_CALL, e->rule, next);
    return emit_body(c, e->group, next);
}

static uint32_t add_rule(struct compile *c, const struct gbnf_body *body, struct str name)
{
    struct grammar *g = c->g;

    if (g->rule_count == GRAMMAR_RULES_MAX)
        refuse(c, LLMOS_ELIMIT, "has too many rules and groups that are repeated by number");
    if (c->rc == 0 && g->rule_count == c->rule_room) {
        g->rules = grown(c, g->rules, g->rule_count, &c->rule_room, sizeof(*g->rules));
        c->sources = grown(c, c->sources, g->rule_count, &c->source_room, sizeof(*c->sources));
    }
    if (c->rc < 0)
        return 0;
    c->sources[g->rule_count] = (struct source){body, name};
    return g->rule_count++;
}

/* What would be written out several times is called instead. */
static bool is_worth_a_rule(const struct gbnf_element *e)
{
    return e->kind == GBNF_GROUP && e->rule == NODE_NONE &&
           (e->least > 1 || (e->most != GBNF_NO_END && e->most > 1));
}

static uint32_t emit_element(struct compile *c, struct gbnf_element *e, uint32_t next)
{
    uint32_t at = next, least = e->least, once;

    if (is_worth_a_rule(e))
        e->rule = add_rule(c, e->group, c->name);
    if (e->most == GBNF_NO_END) {
        uint32_t loop = fresh_node(c, GRAMMAR_SPLIT, next, next);

        once = emit_once(c, e, loop);
        if (c->rc < 0)
            return next;
        c->g->nodes[loop].a = once;
        at = least ? once : loop;
        least -= least > 0;
    }
    for (uint32_t i = e->least; e->most != GBNF_NO_END && i < e->most && c->rc == 0; i++) {
        once = emit_once(c, e, at);
        if (once == at) /* it is empty */
            break;
        at = split(c, once, next);
    }
    for (; least > 0 && c->rc == 0; least--) {
        once = emit_once(c, e, at);
        if (once == at)
            break;
        at = once;
    }
    return at;
}

static uint32_t emit_sequence(struct compile *c, const struct gbnf_sequence *s, uint32_t next)
{
    for (struct gbnf_element *e = s->last; e && c->rc == 0; e = e->before)
        next = emit_element(c, e, next);
    return next;
}

static uint32_t emit_body(struct compile *c, const struct gbnf_body *b, uint32_t next)
{
    uint32_t all = NODE_NONE;

    for (const struct gbnf_sequence *s = b->last; s && c->rc == 0; s = s->before)
        all = split(c, emit_sequence(c, s, next), all);
    return all;
}

static void emit_rules(struct compile *c)
{
    /* Groups become rules on the way and stand behind those there were. */
    for (uint32_t i = 0; i < c->g->rule_count && c->rc == 0; i++) {
        uint32_t start;

        c->name = c->sources[i].name;
        start = emit_body(c, c->sources[i].body, NODE_RETURN);
        if (c->rc == 0)
            c->g->rules[i].start = start;
    }
}

/* --- which nodes come to the end of their rule --- */

/* Who goes on to a node: the sources of its edges, as lists. */
struct backwards {
    uint32_t *first, *next; /* of node n: first[n]; edges 2n and 2n + 1 are those of node n */
    uint32_t *callers; /* of a rule: first of the CALL nodes; other_callers[node] is the next */
    uint32_t *other_callers;
    bool *ends; /* per node */
    bool *rule_ends;
    uint32_t *todo;
    uint32_t todo_count;
};

static void add_edge(struct backwards *w, uint32_t edge, uint32_t to)
{
    w->next[edge] = w->first[to];
    w->first[to] = edge;
}

static bool make_backwards(struct compile *c, struct backwards *w, bool through_bytes)
{
    const struct grammar *g = c->g;

    w->first = new_slots(c, g->node_count);
    w->next = scratch_array(c, (size_t)2 * g->node_count, sizeof(*w->next));
    w->callers = new_slots(c, g->rule_count);
    w->other_callers = scratch_array(c, g->node_count, sizeof(*w->other_callers));
    w->ends = scratch_array(c, g->node_count, sizeof(*w->ends));
    w->rule_ends = scratch_array(c, g->rule_count, sizeof(*w->rule_ends));
    w->todo = scratch_array(c, g->node_count, sizeof(*w->todo));
    for (uint32_t i = 0; i < g->node_count && c->rc == 0; i++) {
        const struct grammar_node *n = &g->nodes[i];

        if (n->kind == GRAMMAR_SPLIT)
            add_edge(w, 2 * i, n->a);
        if (n->kind == GRAMMAR_SPLIT || n->kind == GRAMMAR_CALL ||
            (n->kind == GRAMMAR_BYTES && through_bytes))
            add_edge(w, 2 * i + 1, n->b);
        if (n->kind == GRAMMAR_CALL) {
            w->other_callers[i] = w->callers[n->a];
            w->callers[n->a] = i;
        }
    }
    return c->rc == 0;
}

static void node_ends(struct backwards *w, uint32_t n)
{
    if (!w->ends[n]) {
        w->ends[n] = true;
        w->todo[w->todo_count++] = n;
    }
}

static void rule_ends(const struct grammar *g, struct backwards *w, uint32_t rule)
{
    if (w->rule_ends[rule])
        return;
    w->rule_ends[rule] = true;
    for (uint32_t i = w->callers[rule]; i != NODE_NONE; i = w->other_callers[i])
        if (w->ends[g->nodes[i].b])
            node_ends(w, i);
}

/* Rules may share their first node: those of a node are found through `rules_at`. */
static bool find_ends(struct compile *c, struct backwards *w, bool through_bytes)
{
    const struct grammar *g = c->g;
    uint32_t *rules_at = new_slots(c, g->node_count);
    uint32_t *other_rules = scratch_array(c, g->rule_count, sizeof(*other_rules));

    if (!make_backwards(c, w, through_bytes) || !rules_at || !other_rules)
        return false;
    for (uint32_t r = 0; r < g->rule_count; r++) {
        other_rules[r] = rules_at[g->rules[r].start];
        rules_at[g->rules[r].start] = r;
    }
    node_ends(w, NODE_RETURN);
    while (w->todo_count > 0) {
        uint32_t n = w->todo[--w->todo_count];

        for (uint32_t r = rules_at[n]; r != NODE_NONE; r = other_rules[r])
            rule_ends(g, w, r);
        for (uint32_t e = w->first[n]; e != NODE_NONE; e = w->next[e])
            if (g->nodes[e / 2].kind != GRAMMAR_CALL || w->rule_ends[g->nodes[e / 2].a])
                node_ends(w, e / 2);
    }
    return true;
}

static int find_nullable(struct compile *c)
{
    struct backwards w = {.todo_count = 0};

    if (find_ends(c, &w, false))
        for (uint32_t r = 0; r < c->g->rule_count; r++)
            c->g->rules[r].is_nullable = w.rule_ends[r];
    return c->rc;
}

static int fail_rule(struct compile *c, uint32_t rule, const char *why)
{
    if (c->rc == 0)
        c->rc = fail(c->err, LLMOS_EFORMAT, "the grammar's rule '%.*s' %s",
                     STR_ARG(c->sources[rule].name), why);
    return c->rc;
}

/* All that root can come to must be able to end: then no sequence is ever lost in it. */
static int check_ends(struct compile *c)
{
    const struct grammar *g = c->g;
    struct backwards w = {.todo_count = 0};
    bool *seen = scratch_array(c, g->node_count, sizeof(*seen));

    c->is_needed = scratch_array(c, g->rule_count, sizeof(*c->is_needed));
    if (!seen || !c->is_needed || !find_ends(c, &w, true))
        return c->rc;
    c->is_needed[g->root] = true;
    w.todo_count = 0;
    w.todo[w.todo_count++] = g->rules[g->root].start;
    seen[g->rules[g->root].start] = true;
    if (!w.rule_ends[g->root])
        fail_rule(c, g->root, "can never end: every way through it needs itself again");
    while (w.todo_count > 0 && c->rc == 0) {
        const struct grammar_node *n = &g->nodes[w.todo[--w.todo_count]];
        uint32_t to[2] = {n->b, n->b};
        unsigned count = n->kind > GRAMMAR_ACCEPT ? 2 : 0;

        if (n->kind == GRAMMAR_SPLIT)
            to[0] = n->a;
        if (n->kind == GRAMMAR_CALL) {
            to[0] = g->rules[n->a].start;
            c->is_needed[n->a] = true;
            if (!w.rule_ends[n->a])
                fail_rule(c, n->a, "can never end: every way through it needs itself again");
        }
        for (unsigned i = 0; i < count; i++)
            if (!seen[to[i]]) {
                seen[to[i]] = true;
                w.todo[w.todo_count++] = to[i];
            }
    }
    return c->rc;
}

/* --- which rules a rule may begin with --- */

struct begins {
    uint32_t *at, *rules; /* those of rule r: rules[at[r]] up to rules[at[r + 1]] */
    uint32_t count, room;
    uint32_t *seen; /* per node: the rule + 1 that came here last */
    uint32_t *todo;
};

static void add_begin(struct compile *c, struct begins *b, uint32_t rule)
{
    if (b->count == b->room)
        b->rules = grown(c, b->rules, b->count, &b->room, sizeof(*b->rules));
    if (c->rc == 0)
        b->rules[b->count++] = rule;
}

static void find_begins_of(struct compile *c, struct begins *b, uint32_t rule)
{
    const struct grammar *g = c->g;
    uint32_t count = 0;

#define VISIT(n)                      \
    do {                              \
        if (b->seen[n] != rule + 1) { \
            b->seen[n] = rule + 1;    \
            b->todo[count++] = (n);   \
        }                             \
    } while (0)
    VISIT(g->rules[rule].start);
    while (count > 0 && work(c, 1)) {
        const struct grammar_node *n = &g->nodes[b->todo[--count]];

        if (n->kind == GRAMMAR_SPLIT)
            VISIT(n->a);
        if (n->kind == GRAMMAR_CALL)
            add_begin(c, b, n->a);
        if (n->kind == GRAMMAR_SPLIT || (n->kind == GRAMMAR_CALL && g->rules[n->a].is_nullable))
            VISIT(n->b);
    }
#undef VISIT
}

static bool find_begins(struct compile *c, struct begins *b)
{
    const struct grammar *g = c->g;

    b->at = scratch_array(c, (size_t)g->rule_count + 1, sizeof(*b->at));
    b->seen = scratch_array(c, g->node_count, sizeof(*b->seen));
    b->todo = scratch_array(c, g->node_count, sizeof(*b->todo));
    for (uint32_t r = 0; r < g->rule_count && c->rc == 0; r++) {
        b->at[r] = b->count;
        if (c->is_needed[r])
            find_begins_of(c, b, r);
    }
    if (c->rc == 0)
        b->at[g->rule_count] = b->count;
    return c->rc == 0;
}

/* A rule comes before all that it may begin with (Tarjan 1976: the order in which a walk leaves
 * them, from its end); a rule met again before it was left begins with itself. */
static int order_rules(struct compile *c)
{
    enum { NEW, OPEN, LEFT };
    struct grammar *g = c->g;
    struct begins b = {.count = 0};
    uint8_t *state = scratch_array(c, g->rule_count, 1);
    uint32_t *path = scratch_array(c, g->rule_count, sizeof(*path)), left = g->rule_count;
    uint32_t *cursor = scratch_array(c, g->rule_count, sizeof(*cursor));

    if (!state || !path || !cursor || !find_begins(c, &b))
        return c->rc;
    memcpy(cursor, b.at, g->rule_count * sizeof(*cursor));
    g->by_order = scratch_array(c, g->rule_count, sizeof(*g->by_order));
    for (uint32_t r = 0; r < g->rule_count && c->rc == 0; r++) {
        uint32_t depth = 0;

        if (state[r] == NEW)
            state[path[depth++] = r] = OPEN;
        while (depth > 0 && c->rc == 0) {
            uint32_t top = path[depth - 1], next;

            if (cursor[top] == b.at[top + 1]) {
                state[top] = LEFT;
                g->rules[top].order = --left;
                g->by_order[left] = top;
                depth--;
                continue;
            }
            next = b.rules[cursor[top]++];
            if (state[next] == OPEN)
                fail_rule(c, next,
                          "may begin with itself (left recursion); write it as a repetition");
            if (state[next] == NEW)
                state[path[depth++] = next] = OPEN;
        }
    }
    return c->rc;
}

/* --- the whole --- */

static void find_classes(struct grammar *g)
{
    g->class_count = 1;
    for (uint32_t i = 0; i < g->set_count && g->class_count < 256; i++) {
        int16_t inside[256]; /* what a class is called within the set; -1: not yet */
        uint32_t before = g->class_count;
        bool has_outside[256] = {false};

        memset(inside, 0xFF, sizeof(inside));
        for (unsigned b = 0; b < 256; b++)
            has_outside[g->byte_class[b]] |= !grammar_set_has(&g->sets[i], b);
        for (unsigned b = 0; b < 256; b++) {
            uint8_t old = g->byte_class[b];

            if (old >= before || !grammar_set_has(&g->sets[i], b) || !has_outside[old])
                continue;
            if (inside[old] < 0)
                inside[old] = (int16_t)g->class_count++;
            g->byte_class[b] = (uint8_t)inside[old];
        }
    }
}

static void *kept(struct compile *c, const void *table, size_t count, size_t size)
{
    void *copy = arena_calloc(&c->g->arena, count ? count : 1, size);

    if (!copy)
        refuse(c, LLMOS_ENOMEM, "found no memory");
    else if (count)
        memcpy(copy, table, count * size);
    return copy;
}

/* From the scratch into what stays. */
static void keep_all(struct compile *c)
{
    struct grammar *g = c->g;

    g->nodes = kept(c, g->nodes, g->node_count, sizeof(*g->nodes));
    g->rules = kept(c, g->rules, g->rule_count, sizeof(*g->rules));
    g->sets = kept(c, g->sets, g->set_count, sizeof(*g->sets));
    g->by_order = kept(c, g->by_order, g->rule_count, sizeof(*g->by_order));
}

static void begin_rules(struct compile *c)
{
    fresh_node(c, GRAMMAR_RETURN, 0, 0);
    fresh_node(c, GRAMMAR_ACCEPT, 0, 0);
    for (uint32_t i = 0; i < c->tree.rule_count && c->rc == 0; i++)
        add_rule(c, c->tree.rules[i].body, c->tree.rules[i].name);
    c->g->root = c->tree.root;
}

static int compile(struct compile *c, struct str text)
{
    c->rc = gbnf_parse(&c->tree, text, &c->scratch, c->err);
    if (c->rc < 0)
        return c->rc;
    begin_rules(c);
    emit_rules(c);
    if (c->rc < 0 || find_nullable(c) < 0 || check_ends(c) < 0 || order_rules(c) < 0)
        return c->rc;
    find_classes(c->g);
    keep_all(c);
    return c->rc;
}

int grammar_compile(struct grammar **grammar, struct str text, struct llmos_error *err)
{
    struct compile c = {.err = err, .work_left = GRAMMAR_WORK_MAX};
    int rc;

    c.g = mem_zalloc(1, sizeof(*c.g));
    if (!c.g)
        return fail(err, LLMOS_ENOMEM, "no memory for a grammar");
    arena_init(&c.g->arena, GRAMMAR_BYTES_MAX);
    arena_init(&c.scratch, GRAMMAR_BYTES_MAX);
    rc = compile(&c, text);
    arena_fini(&c.scratch);
    if (rc < 0)
        grammar_destroy(c.g);
    else
        *grammar = c.g;
    return rc;
}

void grammar_destroy(struct grammar *g)
{
    if (!g)
        return;
    arena_fini(&g->arena);
    mem_free(g);
}
