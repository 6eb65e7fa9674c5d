/* SPDX-License-Identifier: Apache-2.0 */
/* automaton.c - see automaton.h */
#include "sched/automaton.h"

#include "base/utf8.h"

#include <stdlib.h>

#define NONE      UINT32_MAX
#define NODES_MAX 65536       /* of an expression, repetitions written out */
#define SETS_MAX  (16u << 20) /* bytes of the sets of nodes that states stand for */

static struct automaton_state *states(const struct automaton *a)
{
    return (struct automaton_state *)(void *)a->states.at;
}

static struct automaton_arc *arcs(const struct automaton *a)
{
    return (struct automaton_arc *)(void *)a->arcs.at;
}

static uint32_t state_count(const struct automaton *a)
{
    return (uint32_t)(a->states.len / sizeof(struct automaton_state));
}

/* --- building --- */

static void begin(struct automaton *a)
{
    buf_init(&a->states, AUTOMATON_STATES_MAX * sizeof(struct automaton_state));
    buf_init(&a->arcs, AUTOMATON_ARCS_MAX * sizeof(struct automaton_arc));
}

void automaton_fini(struct automaton *a)
{
    buf_fini(&a->states);
    buf_fini(&a->arcs);
}

/* Its arcs come next, in order. */
static void add_state(struct automaton *a, bool accepts)
{
    struct automaton_state s = {(uint32_t)(a->arcs.len / sizeof(struct automaton_arc)), 0, accepts};

    buf_put(&a->states, &s, sizeof(s));
}

static void add_arc(struct automaton *a, uint32_t low, uint32_t high, uint32_t to)
{
    struct automaton_state *s;
    struct automaton_arc *last;

    if (a->states.bad || a->arcs.bad)
        return;
    s = &states(a)[state_count(a) - 1];
    last = s->count ? &arcs(a)[s->first + s->count - 1] : NULL;
    if (last && last->to == to && last->high + 1 == low) {
        last->high = high;
        return;
    }
    buf_put(&a->arcs, &(struct automaton_arc){low, high, to}, sizeof(*last));
    s->count++;
}

/* From the accepting states backwards.  starts: of each state the place behind the states that lead
 * to it, in `from`. */
static void find_living(const struct automaton *a, uint32_t *starts, uint32_t *from, uint32_t *todo,
                        bool *lives)
{
    uint32_t count = state_count(a), waiting = 0;
    size_t arc_count = a->arcs.len / sizeof(struct automaton_arc);

    for (size_t k = 0; k < arc_count; k++)
        starts[arcs(a)[k].to]++;
    for (uint32_t i = 1; i < count; i++)
        starts[i] += starts[i - 1];
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t k = 0; k < states(a)[i].count; k++)
            from[--starts[arcs(a)[states(a)[i].first + k].to]] = i;
        if (states(a)[i].accepts)
            lives[todo[waiting++] = i] = true;
    }
    while (waiting > 0) {
        uint32_t to = todo[--waiting];
        size_t end = to + 1 < count ? starts[to + 1] : arc_count;

        for (size_t k = starts[to]; k < end; k++)
            if (!lives[from[k]])
                lives[todo[waiting++] = from[k]] = true;
    }
}

static void keep_living(struct automaton *a, const bool *lives, uint32_t *numbers)
{
    uint32_t kept = 0, kept_arcs = 0, count = state_count(a);

    for (uint32_t i = 0; i < count; i++)
        numbers[i] = lives[i] || i == 0 ? kept++ : NONE;
    for (uint32_t i = 0; i < count; i++) {
        struct automaton_state s = states(a)[i];
        uint32_t first = kept_arcs;

        if (numbers[i] == NONE)
            continue;
        for (uint32_t k = s.first; k < s.first + s.count; k++) {
            struct automaton_arc arc = arcs(a)[k];

            if (!lives[arc.to])
                continue;
            arc.to = numbers[arc.to];
            arcs(a)[kept_arcs++] = arc;
        }
        states(a)[numbers[i]] = (struct automaton_state){first, kept_arcs - first, s.accepts};
    }
    a->states.len = kept * sizeof(struct automaton_state);
    a->arcs.len = kept_arcs * sizeof(struct automaton_arc);
}

/* Drops what leads nowhere. */
static int end(struct automaton *a, struct llmos_error *err)
{
    CLEANUP(free) bool *lives = NULL;
    CLEANUP(free) uint32_t *numbers = NULL, *todo = NULL, *from = NULL;
    uint32_t count = state_count(a);
    int rc = 0;

    if (a->states.too_large || a->arcs.too_large)
        rc = fail(err, LLMOS_ELIMIT, "needs an automaton of more than %d states or %d arcs",
                  AUTOMATON_STATES_MAX, AUTOMATON_ARCS_MAX);
    else if (a->states.bad || a->arcs.bad)
        rc = fail(err, LLMOS_ENOMEM, "no memory for an automaton");
    if (rc == 0) {
        lives = mem_zalloc(count, sizeof(*lives));
        numbers = mem_zalloc(count, sizeof(*numbers));
        todo = mem_alloc(count * sizeof(*todo));
        from = mem_alloc(a->arcs.len / sizeof(struct automaton_arc) * sizeof(*from));
        if (!lives || !numbers || !todo || !from)
            rc = fail(err, LLMOS_ENOMEM, "no memory for an automaton");
    }
    if (rc < 0) {
        automaton_fini(a);
        return rc;
    }
    find_living(a, numbers, from, todo, lives);
    keep_living(a, lives, numbers);
    return 0;
}

/* --- sets of numbers that states stand for, each once --- */

struct numbering {
    struct buf sets;  /* length, numbers; length, ... */
    struct buf where; /* of each state: its set */
    uint32_t slots[2 * AUTOMATON_STATES_MAX];
};

static struct numbering *numbering_create(void)
{
    struct numbering *n = mem_alloc(sizeof(*n));

    if (n) {
        buf_init(&n->sets, SETS_MAX);
        buf_init(&n->where, AUTOMATON_STATES_MAX * sizeof(uint32_t));
        memset(n->slots, 0xFF, sizeof(n->slots));
    }
    return n;
}

static void numbering_destroy(struct numbering *n)
{
    if (n) {
        buf_fini(&n->sets);
        buf_fini(&n->where);
    }
    mem_free(n);
}

static const uint32_t *set_of(const struct numbering *n, uint32_t state)
{
    uint32_t at = ((const uint32_t *)(const void *)n->where.at)[state];

    return (const uint32_t *)(const void *)n->sets.at + at;
}

static uint32_t numbered(const struct numbering *n)
{
    return (uint32_t)(n->where.len / sizeof(uint32_t));
}

/* The number of a set; NONE: there is no room for another one. */
static uint32_t number_of(struct numbering *n, const uint32_t *set, uint32_t count)
{
    const uint32_t mask = 2 * AUTOMATON_STATES_MAX - 1;
    uint32_t hash = count, at = (uint32_t)(n->sets.len / sizeof(uint32_t));

    for (uint32_t i = 0; i < count; i++)
        hash = (hash ^ set[i]) * 0x9E3779B1u, hash ^= hash >> 15;
    for (hash &= mask; n->slots[hash] != NONE; hash = (hash + 1) & mask) {
        const uint32_t *s = set_of(n, n->slots[hash]);

        if (s[0] == count && memcmp(s + 1, set, count * sizeof(*set)) == 0)
            return n->slots[hash];
    }
    buf_put(&n->sets, &count, sizeof(count));
    buf_put(&n->sets, set, count * sizeof(*set));
    if (!n->sets.bad) /* else there is no whole set to be found */
        buf_put(&n->where, &at, sizeof(at));
    if (n->sets.bad || n->where.bad)
        return NONE;
    return n->slots[hash] = numbered(n) - 1;
}

/* What became of a construction. */
static int finish(struct automaton *a, struct numbering *n, bool is_too_much,
                  struct llmos_error *err)
{
    a->states.bad |= n->sets.bad || n->where.bad || is_too_much;
    a->states.too_large |= n->sets.too_large || n->where.too_large || is_too_much;
    numbering_destroy(n);
    return end(a, err);
}

/* --- from positions to states --- */

struct node {
    uint32_t ranges, count; /* a character of these, then `next`; no ranges: next or other */
    uint32_t next, other;
};

struct positions {
    const struct regex *r;
    struct buf nodes; /* the first one: the end */
    uint64_t *work;   /* steps that are left */
    /* Of one construction: */
    uint32_t *set, *todo, *seen, *edges; /* as many as nodes; of bounds twice and two */
    uint32_t set_count, step;
};

static struct node *nodes(const struct positions *p)
{
    return (struct node *)(void *)p->nodes.at;
}

static uint32_t node_count(const struct positions *p)
{
    return (uint32_t)(p->nodes.len / sizeof(struct node));
}

static uint32_t add_node(struct positions *p, struct node n)
{
    buf_put(&p->nodes, &n, sizeof(n));
    return p->nodes.bad ? 0 : node_count(p) - 1;
}

static void pay(uint64_t *work, uint64_t steps)
{
    *work -= steps < *work ? steps : *work;
}

static bool is_too_much(struct positions *p, uint64_t steps)
{
    pay(p->work, steps);
    return p->nodes.bad || *p->work == 0;
}

static uint32_t add_choices(struct positions *p, uint32_t from, uint32_t to, uint32_t next);

static uint32_t add_atom(struct positions *p, uint32_t from, uint32_t to, uint32_t next)
{
    const struct regex_part *part = regex_part(p->r, from);

    if (is_too_much(p, 1))
        return 0;
    if (part->kind == REGEX_OPEN)
        return add_choices(p, from + 1, to - 1, next);
    return add_node(p, (struct node){part->a, part->b, next, NONE});
}

/* As often as the repetition says, from the last time to the first. */
static uint32_t add_repeated(struct positions *p, uint32_t from, uint32_t to,
                             const struct regex_part *times, uint32_t next)
{
    uint32_t end = next;

    if (times->b == REGEX_NO_END) {
        next = add_node(p, (struct node){0, 0, end, NONE});
        end = add_atom(p, from, to, next);
        if (!p->nodes.bad)
            nodes(p)[next].other = end;
    }
    for (uint32_t i = times->a; times->b != REGEX_NO_END && i < times->b && !is_too_much(p, 1); i++)
        next = add_node(p, (struct node){0, 0, end, add_atom(p, from, to, next)});
    for (uint32_t i = 0; i < times->a && !is_too_much(p, 1); i++)
        next = add_atom(p, from, to, next);
    return next;
}

static uint32_t add_sequence(struct positions *p, uint32_t from, uint32_t to, uint32_t next)
{
    while (to > from && !is_too_much(p, 1)) {
        const struct regex_part *last = regex_part(p->r, to - 1);
        const struct regex_part *times = last->kind == REGEX_REPEAT ? last : NULL;
        uint32_t end = to - (times != NULL);

        last = regex_part(p->r, end - 1);
        to = last->kind == REGEX_CLOSE ? last->a : end - 1;
        next = times ? add_repeated(p, to, end, times, next) : add_atom(p, to, end, next);
    }
    return next;
}

/* Groups in groups are bounded (REGEX_GROUPS_MAX), so is this recursion. */
static uint32_t add_choices(struct positions *p, uint32_t from, uint32_t to, uint32_t next)
{
    uint32_t all = NONE;

    for (uint32_t i = from; i <= to && !is_too_much(p, 1); i++) {
        const struct regex_part *part = i < to ? regex_part(p->r, i) : NULL;
        uint32_t one;

        if (part && part->kind == REGEX_OPEN)
            i = part->a;
        if (part && part->kind != REGEX_BAR)
            continue;
        one = add_sequence(p, from, i, next);
        all = all == NONE ? one : add_node(p, (struct node){0, 0, all, one});
        from = i + 1;
    }
    return all == NONE ? next : all;
}

static int order_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* The nodes that want a character, and the end, that can be reached without one. */
static void reach(struct positions *p, uint32_t node)
{
    uint32_t count = 0;

    if (p->seen[node] == p->step)
        return;
    p->seen[node] = p->step;
    p->todo[count++] = node;
    while (count > 0) {
        uint32_t at = p->todo[--count];
        const struct node *n = &nodes(p)[at];
        const uint32_t on[] = {n->next, n->other};

        pay(p->work, 1);
        if (n->count || at == 0)
            p->set[p->set_count++] = at;
        for (int i = 0; i < 2 && !n->count && at != 0; i++)
            if (on[i] != NONE && p->seen[on[i]] != p->step) {
                p->seen[on[i]] = p->step;
                p->todo[count++] = on[i];
            }
    }
}

/* The state of what is reached with a character of all from low on, as far as no range begins or
 * ends. */
static uint32_t step_to(struct positions *p, struct numbering *n, const uint32_t *set, uint32_t low)
{
    p->step++;
    p->set_count = 0;
    for (uint32_t i = 1; i <= set[0]; i++) {
        const struct node *node = &nodes(p)[set[i]];

        pay(p->work, node->count + 1);
        for (uint32_t k = 0; k < node->count; k++) {
            const struct charset_range *r = &regex_ranges(p->r)[node->ranges + k];

            if (low >= r->low && low <= r->high)
                reach(p, node->next);
        }
    }
    if (p->set_count == 0)
        return NONE;
    qsort(p->set, p->set_count, sizeof(*p->set), order_numbers);
    return number_of(n, p->set, p->set_count);
}

/* Where the ranges of a state begin, and behind their ends, in order; NONE: too many. */
static uint32_t find_edges(struct positions *p, const uint32_t *set)
{
    uint32_t count = 0, kept = 0;

    for (uint32_t i = 1; i <= set[0]; i++)
        for (uint32_t k = 0; k < nodes(p)[set[i]].count; k++) {
            const struct charset_range *r = &regex_ranges(p->r)[nodes(p)[set[i]].ranges + k];

            if (count + 2 > 2 * NODES_MAX)
                return NONE;
            p->edges[count++] = r->low;
            p->edges[count++] = r->high + 1;
        }
    pay(p->work, count);
    qsort(p->edges, count, sizeof(*p->edges), order_numbers);
    for (uint32_t i = 0; i < count; i++)
        if (kept == 0 || p->edges[kept - 1] != p->edges[i])
            p->edges[kept++] = p->edges[i];
    return kept;
}

static bool add_arcs(struct positions *p, struct numbering *n, uint32_t state, struct automaton *a)
{
    uint32_t count = find_edges(p, set_of(n, state));

    for (uint32_t i = 0; count != NONE && i + 1 < count; i++) {
        /* Sets may move when there is a new one. */
        uint32_t to = step_to(p, n, set_of(n, state), p->edges[i]);

        if (is_too_much(p, 1) || (to == NONE && p->set_count > 0))
            return false;
        if (to != NONE)
            add_arc(a, p->edges[i], p->edges[i + 1] - 1, to);
    }
    return count != NONE;
}

static int determine(struct positions *p, uint32_t first, struct automaton *a,
                     struct llmos_error *err)
{
    struct numbering *n = numbering_create();
    uint32_t room = node_count(p);
    bool fits = true;

    p->set = mem_alloc(room * sizeof(*p->set));
    p->todo = mem_alloc(room * sizeof(*p->todo));
    p->seen = mem_zalloc(room, sizeof(*p->seen));
    p->edges = mem_alloc(2 * NODES_MAX * sizeof(*p->edges));
    if (!n || !p->set || !p->todo || !p->seen || !p->edges) {
        numbering_destroy(n);
        return fail(err, LLMOS_ENOMEM, "no memory for an automaton");
    }
    begin(a);
    p->step = 1;
    p->set_count = 0;
    reach(p, first);
    qsort(p->set, p->set_count, sizeof(*p->set), order_numbers);
    fits = number_of(n, p->set, p->set_count) != NONE;
    for (uint32_t i = 0; fits && i < numbered(n); i++) {
        const uint32_t *set = set_of(n, i);

        add_state(a, set[0] > 0 && set[1] == 0);
        fits = add_arcs(p, n, i, a) && !a->states.bad && !a->arcs.bad;
    }
    return finish(a, n, !fits && !n->sets.bad && !n->where.bad && !a->states.bad && !a->arcs.bad,
                  err);
}

static void positions_fini(struct positions *p)
{
    buf_fini(&p->nodes);
    mem_free(p->set);
    mem_free(p->todo);
    mem_free(p->seen);
    mem_free(p->edges);
}

int automaton_of_regex(struct automaton *a, const struct regex *r, uint64_t *work,
                       struct llmos_error *err)
{
    struct positions p = {.r = r, .work = work};
    uint32_t first;
    int rc = 0;

    buf_init(&p.nodes, NODES_MAX * sizeof(struct node));
    add_node(&p, (struct node){0, 0, NONE, NONE});
    first = add_choices(&p, 0, (uint32_t)regex_count(r), 0);
    if (p.nodes.bad && !p.nodes.too_large)
        rc = fail(err, LLMOS_ENOMEM, "no memory for an automaton");
    else if (is_too_much(&p, 0))
        rc = fail(err, LLMOS_ELIMIT, "is too large for an automaton");
    else
        rc = determine(&p, first, a, err);
    positions_fini(&p);
    return rc;
}

/* --- other sets --- */

/* Words as an expression of their characters. */
int automaton_of_words(struct automaton *a, const struct str *words, size_t count, uint64_t *work,
                       struct llmos_error *err)
{
    CLEANUP(regex) struct regex r = {.parts = {.at = NULL}};
    int rc;

    if (count == 0) {
        begin(a);
        add_state(a, false);
        return end(a, err);
    }
    buf_init(&r.parts, SETS_MAX);
    buf_init(&r.ranges, SETS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (i)
            buf_put(&r.parts, &(struct regex_part){REGEX_BAR, 0, 0}, sizeof(struct regex_part));
        for (size_t k = 0; k < words[i].len;) {
            struct regex_part one = {REGEX_SET, 0, 1};
            struct charset_range range;
            size_t n = utf8_length((struct str){words[i].at + k, words[i].len - k});

            range.low = range.high = utf8_code(words[i].at + k, n);
            one.a = (uint32_t)(r.ranges.len / sizeof(range));
            buf_put(&r.parts, &one, sizeof(one));
            buf_put(&r.ranges, &range, sizeof(range));
            k += n ? n : 1;
        }
    }
    rc = buf_check(&r.parts, "the list of words", err);
    if (rc == 0)
        rc = buf_check(&r.ranges, "the list of words", err);
    return rc < 0 ? rc : automaton_of_regex(a, &r, work, err);
}

static void add_any(struct automaton *a, uint32_t to)
{
    add_arc(a, 0, 0xD7FF, to);
    add_arc(a, 0xE000, CHARSET_CODE_MAX, to);
}

int automaton_of_lengths(struct automaton *a, uint32_t least, uint32_t most,
                         struct llmos_error *err)
{
    uint32_t last = most == REGEX_NO_END ? least : most;

    begin(a);
    for (uint32_t i = 0; i <= last && !a->states.bad; i++) {
        add_state(a, i >= least && least <= most);
        if (i < last)
            add_any(a, i + 1);
        else if (most == REGEX_NO_END)
            add_any(a, i);
    }
    return end(a, err);
}

int automaton_of_walk(struct automaton *a, const struct automaton_walk *w, uint64_t *work,
                      struct llmos_error *err)
{
    struct numbering *n = numbering_create();
    uint32_t place[AUTOMATON_WORDS_MAX] = {0}, next[AUTOMATON_WORDS_MAX];
    bool fits;

    if (!n)
        return fail(err, LLMOS_ENOMEM, "no memory for an automaton");
    begin(a);
    fits = number_of(n, place, w->words) != NONE;
    for (uint32_t i = 0; fits && i < numbered(n) && !a->states.bad && *work; i++) {
        memcpy(place, set_of(n, i) + 1, w->words * sizeof(*place));
        add_state(a, w->accepts(w->about, place));
        for (const char *c = w->alphabet; *c && fits && !a->states.bad; c++) {
            uint32_t to = NONE;

            if (w->next(w->about, place, *c, next)) {
                to = number_of(n, next, w->words);
                fits = to != NONE;
            }
            if (to != NONE)
                add_arc(a, (unsigned char)*c, (unsigned char)*c, to);
        }
        pay(work, strlen(w->alphabet));
    }
    return finish(a, n, *work == 0, err);
}

/* Arcs of both over the characters from low on, up to where one of them ends. */
static uint32_t add_common(struct automaton *out, struct numbering *n, const struct automaton *a,
                           const struct automaton *b, const uint32_t *pair, enum automaton_how how)
{
    struct automaton_state x = states(a)[pair[0]], none = {0, 0, false};
    struct automaton_state y = pair[1] == NONE ? none : states(b)[pair[1]];
    uint32_t k = 0, work = 0;

    for (uint32_t i = 0; i < x.count; i++) {
        struct automaton_arc arc = arcs(a)[x.first + i];

        for (uint32_t low = arc.low, high; low <= arc.high; low = high + 1, work++) {
            uint32_t to[2] = {arc.to, NONE}, state;

            while (k < y.count && arcs(b)[y.first + k].high < low)
                k++;
            high = arc.high;
            if (k < y.count && arcs(b)[y.first + k].low <= low) {
                to[1] = arcs(b)[y.first + k].to;
                high = arcs(b)[y.first + k].high < high ? arcs(b)[y.first + k].high : high;
            } else if (k < y.count && arcs(b)[y.first + k].low <= high) {
                high = arcs(b)[y.first + k].low - 1;
            }
            if (to[1] == NONE && how == AUTOMATON_AND)
                continue;
            state = number_of(n, to, 2);
            if (state == NONE)
                return NONE;
            add_arc(out, low, high, state);
        }
    }
    return work;
}

int automaton_of_two(struct automaton *out, const struct automaton *a, const struct automaton *b,
                     enum automaton_how how, uint64_t *work, struct llmos_error *err)
{
    struct numbering *n = numbering_create();
    const uint32_t first[2] = {0, 0};
    uint32_t steps;

    if (!n)
        return fail(err, LLMOS_ENOMEM, "no memory for an automaton");
    begin(out);
    number_of(n, first, 2);
    for (uint32_t i = 0; i < numbered(n) && !out->states.bad && !out->arcs.bad && *work; i++) {
        const uint32_t pair[2] = {set_of(n, i)[1], set_of(n, i)[2]};
        bool other = pair[1] != NONE && states(b)[pair[1]].accepts;

        add_state(out, states(a)[pair[0]].accepts && other == (how == AUTOMATON_AND));
        steps = out->states.bad ? NONE : add_common(out, n, a, b, pair, how);
        if (steps == NONE)
            break;
        pay(work, steps + 1);
    }
    return finish(out, n, *work == 0, err);
}

int automaton_narrow(struct automaton *a, const struct automaton *by, enum automaton_how how,
                     uint64_t *work, struct llmos_error *err)
{
    struct automaton both;
    int rc = automaton_of_two(&both, a, by, how, work, err);

    if (rc < 0)
        return rc;
    automaton_fini(a);
    *a = both;
    return 0;
}

/* --- what it says --- */

bool automaton_is_empty(const struct automaton *a)
{
    return states(a)[0].count == 0 && !states(a)[0].accepts;
}

bool automaton_has(const struct automaton *a, struct str text)
{
    uint32_t state = 0;

    for (size_t i = 0; i < text.len;) {
        struct automaton_state s = states(a)[state];
        size_t n = utf8_length((struct str){text.at + i, text.len - i});
        uint32_t code = utf8_code(text.at + i, n), k = 0;

        while (k < s.count && arcs(a)[s.first + k].high < code)
            k++;
        if (k == s.count || arcs(a)[s.first + k].low > code)
            return false;
        state = arcs(a)[s.first + k].to;
        i += n ? n : 1;
    }
    return states(a)[state].accepts;
}

/* Does every text go on from here? */
static bool is_any(const struct automaton *a, uint32_t state)
{
    struct automaton_state s = states(a)[state];
    const struct automaton_arc *arc;

    if (!s.accepts || s.count != 2)
        return false;
    arc = arcs(a) + s.first;
    return arc[0].low == 0 && arc[0].high == 0xD7FF && arc[1].low == 0xE000 &&
           arc[1].high == CHARSET_CODE_MAX && arc[0].to == state && arc[1].to == state;
}

/* The arcs of a state that lead where its arc `first` leads, unless an earlier one did. */
static bool arcs_to(const struct automaton *a, struct automaton_state s, uint32_t first,
                    struct charset *set)
{
    uint32_t to = arcs(a)[s.first + first].to;

    *set = (struct charset){.count = 0};
    for (uint32_t k = 0; k < first; k++)
        if (arcs(a)[s.first + k].to == to)
            return false;
    for (uint32_t k = first; k < s.count; k++)
        if (arcs(a)[s.first + k].to == to)
            charset_add(set, arcs(a)[s.first + k].low, arcs(a)[s.first + k].high);
    return true;
}

static void put_state(struct buf *out, const struct automaton *a, uint32_t state, bool is_json,
                      unsigned first_rule)
{
    struct automaton_state s = states(a)[state];
    struct charset set;
    bool any = s.accepts;

    buf_puts(out, s.accepts ? "\"\" " : "");
    for (uint32_t k = 0; k < s.count; k++) {
        if (!arcs_to(a, s, k, &set))
            continue;
        buf_puts(out, any ? "| " : "");
        any = true;
        if (is_json)
            charset_put_json(out, &set);
        else
            charset_put(out, &set);
        buf_printf(out, " r%u ", first_rule + arcs(a)[s.first + k].to);
    }
}

void automaton_put(struct buf *out, const struct automaton *a, bool is_json, const char *any,
                   unsigned *rules)
{
    uint32_t count = state_count(a);
    unsigned first = *rules;

    *rules += count;
    for (uint32_t i = 0; i < count && !out->bad; i++) {
        buf_printf(out, "r%u ::= ", first + i);
        if (any && is_any(a, i))
            buf_puts(out, any);
        else
            put_state(out, a, i, is_json, first);
        buf_putc(out, '\n');
    }
}
