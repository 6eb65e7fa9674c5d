/* SPDX-License-Identifier: Apache-2.0 */
/* matcher.c - see matcher.h */
#include "infer/matcher.h"

#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* What a row of steps holds: a state's number, or one of these. */
#define STEP_UNKNOWN 0u
#define STATE_DEAD   1u
#define STATE_FIRST  2u

#define NONE        UINT32_MAX
#define CELL_BOTTOM 0u /* behind it the text ends */

/* Places where the state may stand: what counts, what was accepted since, and a way through bytes.
 */
#define SLOT_COMMITTED 0
#define SLOT_ACCEPTED  1
#define SLOT_WALK      2
#define SLOTS          (SLOT_WALK + TOKENTRIE_PIECE_MAX)

#define KEEP_NODES 1024 /* a mask that met more is kept: some 10 microseconds */
#define SEEN_SLOTS (4 * MATCHER_PLACES_MAX)

struct place {
    uint32_t node, cell;
};

/* A call: the ways on behind it.  Those lie at edges[at], as places. */
struct cell {
    uint32_t at, count, depth, hash;
};

struct state {
    uint32_t at, count, hash;
    uint32_t row;        /* of its steps; NONE: none was taken */
    uint32_t mask;       /* of its tokens; NONE: not kept */
    uint32_t plain_next; /* where every plain character leads; STATE_DEAD: nowhere in common */
    bool may_end;
};

struct vec {
    void *at;
    uint32_t count, room;
};

struct call {
    struct place on; /* behind the call */
    uint32_t next;   /* another one of the same rule */
};

struct matcher {
    struct grammar *g;
    const struct tokentrie *trie;
    int failure;
    uint32_t first; /* the state in which texts begin */
    uint32_t slots[SLOTS];
    bool drops_space[2], has_ended[2]; /* of the first two slots */

    struct vec cells, edges, states, places, rows;
    size_t remember_max, bytes_max;
    uint32_t forgotten;                 /* times: numbers from before mean nothing */
    uint32_t *cell_slots, *state_slots; /* hash tables */
    uint32_t cell_slot_count, state_slot_count;

    struct matcher_mark marks[MATCHER_MARKS_MAX];
    uint32_t mark_count;

    uint64_t **masks;
    uint32_t mask_states[MATCHER_MASKS_MAX]; /* whose they are */
    uint32_t mask_next;
    uint64_t *mask_once; /* one that is not kept */

    /* Of one step: */
    struct place todo[MATCHER_PLACES_MAX], found[MATCHER_PLACES_MAX];
    uint32_t todo_count, found_count, seen_count;
    struct place seen[SEEN_SLOTS]; /* a hash table of all places of the step */
    uint32_t seen_step[SEEN_SLOTS], step;
    struct call calls[MATCHER_PLACES_MAX];
    uint32_t call_count;
    uint32_t *called;      /* per rule: its calls; NONE: none */
    uint64_t *called_bits; /* per place in the order of the rules */
    bool may_end, is_too_much;
};

#define CELLS(m)  ((struct cell *)(m)->cells.at)
#define EDGES(m)  ((struct place *)(m)->edges.at)
#define STATES(m) ((struct state *)(m)->states.at)
#define PLACES(m) ((struct place *)(m)->places.at)
#define ROWS(m)   ((uint32_t *)(m)->rows.at)

static uint32_t mix(uint32_t h, uint32_t v)
{
    h = (h ^ v) * 0x9E3779B1u;
    return h ^ h >> 15;
}

/* --- memory --- */

static bool vec_reserve(struct matcher *m, struct vec *v, uint32_t more, size_t size)
{
    uint32_t room = v->room ? v->room : 64;
    void *at;

    if (v->room - v->count >= more)
        return true;
    while (room - v->count < more)
        room *= 2; /* far from overflow: MATCHER_BYTES_MAX */
    at = mem_resize(v->at, room, size);
    if (!at) {
        m->failure = LLMOS_ENOMEM;
        return false;
    }
    v->at = at;
    v->room = room;
    return true;
}

static bool rehash(struct matcher *m, uint32_t **slots, uint32_t *slot_count, uint32_t wanted)
{
    uint32_t *at;

    at = mem_alloc((size_t)wanted * sizeof(*at));
    if (!at) {
        m->failure = LLMOS_ENOMEM;
        return false;
    }
    memset(at, 0xFF, (size_t)wanted * sizeof(*at));
    mem_free(*slots);
    *slots = at;
    *slot_count = wanted;
    return true;
}

static void put_slot(uint32_t *slots, uint32_t slot_count, uint32_t hash, uint32_t id)
{
    uint32_t at = hash & (slot_count - 1);

    while (slots[at] != NONE)
        at = (at + 1) & (slot_count - 1);
    slots[at] = id;
}

static bool grow_cell_slots(struct matcher *m)
{
    if (2 * m->cells.count < m->cell_slot_count)
        return true;
    if (!rehash(m, &m->cell_slots, &m->cell_slot_count, 2 * m->cell_slot_count))
        return false;
    for (uint32_t i = 0; i < m->cells.count; i++)
        put_slot(m->cell_slots, m->cell_slot_count, CELLS(m)[i].hash, i);
    return true;
}

static bool grow_state_slots(struct matcher *m)
{
    if (2 * m->states.count < m->state_slot_count)
        return true;
    if (!rehash(m, &m->state_slots, &m->state_slot_count, 2 * m->state_slot_count))
        return false;
    for (uint32_t i = STATE_FIRST; i < m->states.count; i++)
        put_slot(m->state_slots, m->state_slot_count, STATES(m)[i].hash, i);
    return true;
}

static size_t bytes_used(const struct matcher *m)
{
    return m->cells.count * (sizeof(struct cell) + 8) + m->edges.count * sizeof(struct place) +
           m->states.count * (sizeof(struct state) + 8) + m->places.count * sizeof(struct place) +
           m->rows.count * sizeof(uint32_t);
}

/* --- cells and states, each only once --- */

static int order_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return x->cell != y->cell ? (x->cell < y->cell ? -1 : 1) : 0;
}

/* In order, each once; their new number.  Few as a rule. */
static uint32_t tidy(struct place *p, uint32_t n)
{
    uint32_t kept = 0;

    if (n > 16)
        qsort(p, n, sizeof(*p), order_places);
    for (uint32_t i = 1; i < n && n <= 16; i++)
        for (uint32_t k = i; k > 0 && order_places(&p[k], &p[k - 1]) < 0; k--) {
            struct place swap = p[k];

            p[k] = p[k - 1];
            p[k - 1] = swap;
        }
    for (uint32_t i = 0; i < n; i++)
        if (kept == 0 || order_places(&p[i], &p[kept - 1]) != 0)
            p[kept++] = p[i];
    return kept;
}

static uint32_t hash_places(const struct place *p, uint32_t n)
{
    uint32_t h = n;

    for (uint32_t i = 0; i < n; i++)
        h = mix(mix(h, p[i].node), p[i].cell);
    return h;
}

static uint32_t depth_behind(const struct matcher *m, const struct place *on, uint32_t n)
{
    uint32_t most = 0;

    for (uint32_t i = 0; i < n; i++)
        if (CELLS(m)[on[i].cell].depth > most)
            most = CELLS(m)[on[i].cell].depth;
    return most + 1;
}

/* The cell with these ways on, which are tidy; NONE on failure. */
static uint32_t cell_of(struct matcher *m, const struct place *on, uint32_t n)
{
    uint32_t hash = hash_places(on, n), at, id;
    struct cell c = {m->edges.count, n, depth_behind(m, on, n), hash};

    if (c.depth > MATCHER_DEPTH_MAX) {
        m->is_too_much = true;
        return NONE;
    }
    for (at = hash & (m->cell_slot_count - 1); (id = m->cell_slots[at]) != NONE;
         at = (at + 1) & (m->cell_slot_count - 1))
        if (CELLS(m)[id].hash == hash && CELLS(m)[id].count == n &&
            memcmp(EDGES(m) + CELLS(m)[id].at, on, n * sizeof(*on)) == 0)
            return id;
    if (!vec_reserve(m, &m->cells, 1, sizeof(c)) || !vec_reserve(m, &m->edges, n, sizeof(*on)) ||
        !grow_cell_slots(m))
        return NONE;
    memcpy(EDGES(m) + m->edges.count, on, n * sizeof(*on));
    m->edges.count += n;
    CELLS(m)[m->cells.count] = c;
    put_slot(m->cell_slots, m->cell_slot_count, hash, m->cells.count);
    return m->cells.count++;
}

static uint32_t state_of(struct matcher *m, const struct place *p, uint32_t n, bool may_end)
{
    uint32_t hash = hash_places(p, n) + may_end, at, id;

    if (n == 0 && !may_end)
        return STATE_DEAD;
    for (at = hash & (m->state_slot_count - 1); (id = m->state_slots[at]) != NONE;
         at = (at + 1) & (m->state_slot_count - 1)) {
        const struct state *s = &STATES(m)[id];

        if (s->hash == hash && s->count == n && s->may_end == may_end &&
            (n == 0 || memcmp(PLACES(m) + s->at, p, n * sizeof(*p)) == 0))
            return id;
    }
    if (!vec_reserve(m, &m->states, 1, sizeof(struct state)) ||
        !vec_reserve(m, &m->places, n, sizeof(*p)) || !grow_state_slots(m))
        return STATE_DEAD;
    if (n)
        memcpy(PLACES(m) + m->places.count, p, n * sizeof(*p));
    STATES(m)
    [m->states.count] = (struct state){m->places.count, n, hash, NONE, NONE, STEP_UNKNOWN, may_end};
    m->places.count += n;
    put_slot(m->state_slots, m->state_slot_count, hash, m->states.count);
    return m->states.count++;
}

/* --- forgetting --- */

static void forget_masks(struct matcher *m)
{
    for (uint32_t i = 0; i < MATCHER_MASKS_MAX; i++)
        m->mask_states[i] = NONE;
}

/* States that stand in the first `live` slots, and that in which texts begin. */
static void mark_states(struct matcher *m, uint32_t live, uint32_t *numbers)
{
    numbers[m->first] = 0;
    for (uint32_t i = 0; i < live; i++)
        numbers[m->slots[i]] = 0;
}

static void keep_states(struct matcher *m, uint32_t *numbers, uint32_t *cell_numbers)
{
    uint32_t kept = STATE_FIRST, places = 0;

    for (uint32_t i = STATE_FIRST; i < m->states.count; i++) {
        struct state s = STATES(m)[i];

        if (numbers[i] == NONE)
            continue;
        memmove(PLACES(m) + places, PLACES(m) + s.at, s.count * sizeof(struct place));
        s.at = places;
        s.row = s.mask = NONE;
        s.plain_next = STEP_UNKNOWN;
        for (uint32_t k = 0; k < s.count; k++)
            cell_numbers[PLACES(m)[places + k].cell] = 0;
        places += s.count;
        numbers[i] = kept;
        STATES(m)[kept++] = s;
    }
    m->states.count = kept;
    m->places.count = places;
    m->rows.count = 0;
}

/* Ways on lead to older cells only, so one pass from the youngest finds all that are needed, and
 * one from the oldest can move them. */
static void keep_cells(struct matcher *m, uint32_t *numbers)
{
    uint32_t kept = 0, edges = 0;

    numbers[CELL_BOTTOM] = 0;
    for (uint32_t i = m->cells.count; i-- > 0;)
        for (uint32_t k = 0; numbers[i] != NONE && k < CELLS(m)[i].count; k++)
            numbers[EDGES(m)[CELLS(m)[i].at + k].cell] = 0;
    for (uint32_t i = 0; i < m->cells.count; i++) {
        struct cell c = CELLS(m)[i];

        if (numbers[i] == NONE)
            continue;
        memmove(EDGES(m) + edges, EDGES(m) + c.at, c.count * sizeof(struct place));
        c.at = edges;
        for (uint32_t k = 0; k < c.count; k++)
            EDGES(m)[edges + k].cell = numbers[EDGES(m)[edges + k].cell];
        c.hash = hash_places(EDGES(m) + edges, c.count);
        edges += c.count;
        numbers[i] = kept;
        CELLS(m)[kept++] = c;
    }
    m->cells.count = kept;
    m->edges.count = edges;
}

static void renumber(struct matcher *m, uint32_t live, const uint32_t *states,
                     const uint32_t *cells)
{
    for (uint32_t i = 0; i < m->places.count; i++)
        PLACES(m)[i].cell = cells[PLACES(m)[i].cell];
    for (uint32_t i = STATE_FIRST; i < m->states.count; i++) {
        struct state *s = &STATES(m)[i];

        s->hash = hash_places(PLACES(m) + s->at, s->count) + s->may_end;
    }
    m->first = states[m->first];
    m->forgotten++;
    for (uint32_t i = 0; i < live; i++)
        m->slots[i] = states[m->slots[i]];
    memset(m->cell_slots, 0xFF, m->cell_slot_count * sizeof(*m->cell_slots));
    for (uint32_t i = 0; i < m->cells.count; i++)
        put_slot(m->cell_slots, m->cell_slot_count, CELLS(m)[i].hash, i);
    memset(m->state_slots, 0xFF, m->state_slot_count * sizeof(*m->state_slots));
    for (uint32_t i = STATE_FIRST; i < m->states.count; i++)
        put_slot(m->state_slots, m->state_slot_count, STATES(m)[i].hash, i);
}

/* Order within a state or a cell stays: numbers that grow keep their order. */
static void forget(struct matcher *m, uint32_t live)
{
    CLEANUP(free) uint32_t *states = mem_alloc(m->states.count * sizeof(*states));
    CLEANUP(free) uint32_t *cells = mem_alloc(m->cells.count * sizeof(*cells));

    if (!states || !cells) {
        m->failure = LLMOS_ENOMEM;
        return;
    }
    memset(states, 0xFF, m->states.count * sizeof(*states));
    memset(cells, 0xFF, m->cells.count * sizeof(*cells));
    mark_states(m, live, states);
    states[STATE_DEAD] = STATE_DEAD;
    keep_states(m, states, cells);
    keep_cells(m, cells);
    renumber(m, live, states, cells);
    forget_masks(m);
    /* What is alive needs what it needs; room for as much again, or every step would forget. */
    m->bytes_max = 2 * bytes_used(m);
    if (m->bytes_max < m->remember_max)
        m->bytes_max = m->remember_max;
    if (m->bytes_max > MATCHER_ALIVE_MAX)
        m->failure = LLMOS_ELIMIT;
}

void matcher_forget(struct matcher *m)
{
    forget(m, SLOT_WALK);
}

/* --- one step --- */

/* A place of the step, if it is a new one. */
static void go(struct matcher *m, uint32_t node, uint32_t cell)
{
    uint32_t at = mix(mix(11, node), cell) & (SEEN_SLOTS - 1);

    for (; m->seen_step[at] == m->step; at = (at + 1) & (SEEN_SLOTS - 1))
        if (m->seen[at].node == node && m->seen[at].cell == cell)
            return;
    if (m->seen_count == MATCHER_PLACES_MAX) {
        m->is_too_much = true;
        return;
    }
    m->seen_count++;
    m->seen_step[at] = m->step;
    m->seen[at] = (struct place){node, cell};
    m->todo[m->todo_count++] = (struct place){node, cell}; /* not more than were seen */
}

static void add_call(struct matcher *m, uint32_t rule, struct place on)
{
    uint32_t order = m->g->rules[rule].order;

    if (m->call_count == MATCHER_PLACES_MAX) {
        m->is_too_much = true;
        return;
    }
    m->calls[m->call_count] = (struct call){on, m->called[rule]};
    m->called[rule] = m->call_count++;
    m->called_bits[order / 64] |= (uint64_t)1 << (order % 64);
}

/* A rule whose last part is another is left for good: who called it is who waits for that. */
static void call(struct matcher *m, uint32_t rule, uint32_t next, uint32_t cell)
{
    if (m->g->nodes[next].kind != GRAMMAR_RETURN) {
        add_call(m, rule, (struct place){next, cell});
        return;
    }
    for (uint32_t i = 0; i < CELLS(m)[cell].count; i++)
        add_call(m, rule, EDGES(m)[CELLS(m)[cell].at + i]);
}

/* From all that is to do to the places where a byte is wanted.  A rule that was called in this step
 * and is over at once was stepped over by who called it. */
static void follow(struct matcher *m, bool returns)
{
    const struct grammar *g = m->g;

    while (m->todo_count > 0 && !m->is_too_much) {
        struct place p = m->todo[--m->todo_count];
        const struct grammar_node *n = &g->nodes[p.node];

        switch (n->kind) {
        case GRAMMAR_RETURN:
            for (uint32_t i = 0; returns && i < CELLS(m)[p.cell].count; i++) {
                struct place on = EDGES(m)[CELLS(m)[p.cell].at + i];

                go(m, on.node, on.cell);
            }
            break;
        case GRAMMAR_ACCEPT:
            m->may_end = true;
            break;
        case GRAMMAR_BYTES:
            m->found[m->found_count++] = p; /* not more than were seen */
            break;
        case GRAMMAR_SPLIT:
            go(m, n->a, p.cell);
            go(m, n->b, p.cell);
            break;
        default:
            call(m, n->a, n->b, p.cell);
            if (g->rules[n->a].is_nullable)
                go(m, n->b, p.cell);
        }
    }
}

/* The rules that were called, those first that others may begin with, so that each is entered when
 * all its callers are known. */
static void enter(struct matcher *m)
{
    struct place on[MATCHER_PLACES_MAX];
    uint32_t words = (m->g->rule_count + 63) / 64;

    for (uint32_t w = 0; w < words && !m->is_too_much && !m->failure; w++)
        while (m->called_bits[w] && !m->is_too_much && !m->failure) {
            uint32_t rule = m->g->by_order[w * 64 + (uint32_t)__builtin_ctzll(m->called_bits[w])];
            uint32_t n = 0, cell;

            m->called_bits[w] &= m->called_bits[w] - 1;
            for (uint32_t i = m->called[rule]; i != NONE; i = m->calls[i].next)
                on[n++] = m->calls[i].on;
            m->called[rule] = NONE;
            cell = cell_of(m, on, tidy(on, n));
            if (cell == NONE)
                break;
            go(m, m->g->rules[rule].start, cell);
            follow(m, false);
        }
}

static void begin_step(struct matcher *m)
{
    if (++m->step == 0) { /* once in 2^32 */
        memset(m->seen_step, 0, sizeof(m->seen_step));
        m->step = 1;
    }
    m->todo_count = m->found_count = m->seen_count = m->call_count = 0;
    m->may_end = m->is_too_much = false;
}

static uint32_t end_step(struct matcher *m)
{
    enter(m);
    if (m->is_too_much || m->failure) {
        memset(m->called, 0xFF, m->g->rule_count * sizeof(*m->called));
        memset(m->called_bits, 0, (m->g->rule_count + 63) / 64 * sizeof(*m->called_bits));
        return STATE_DEAD;
    }
    return state_of(m, m->found, tidy(m->found, m->found_count), m->may_end);
}

static uint32_t compute_step(struct matcher *m, uint32_t from, uint8_t byte)
{
    const struct state s = STATES(m)[from];

    begin_step(m);
    for (uint32_t i = 0; i < s.count; i++) {
        struct place p = PLACES(m)[s.at + i];
        const struct grammar_node *n = &m->g->nodes[p.node];

        if (grammar_set_has(&m->g->sets[n->a], byte))
            go(m, n->b, p.cell);
    }
    follow(m, true);
    return end_step(m);
}

static bool give_row(struct matcher *m, uint32_t state)
{
    uint32_t n = m->g->class_count;

    if (!vec_reserve(m, &m->rows, n, sizeof(uint32_t)))
        return false;
    STATES(m)[state].row = m->rows.count;
    memset(ROWS(m) + m->rows.count, 0, n * sizeof(uint32_t));
    m->rows.count += n;
    return true;
}

/* From the state in a slot to the one in the next; slots up to the first are alive. */
static bool step(struct matcher *m, uint32_t from, uint32_t to, uint8_t byte)
{
    uint32_t class = m->g->byte_class[byte];
    const struct state *s = &STATES(m)[m->slots[from]];
    uint32_t next;

    if (s->row != NONE && (next = ROWS(m)[s->row + class]) != STEP_UNKNOWN) {
        m->slots[to] = next;
        return next != STATE_DEAD;
    }
    if (bytes_used(m) > m->bytes_max)
        forget(m, from + 1);
    if (m->failure || (STATES(m)[m->slots[from]].row == NONE && !give_row(m, m->slots[from])))
        return false;
    next = compute_step(m, m->slots[from], byte);
    if (m->failure)
        return false;
    ROWS(m)[STATES(m)[m->slots[from]].row + class] = next;
    m->slots[to] = next;
    return next != STATE_DEAD;
}

/* --- lifetime --- */

static bool make_tables(struct matcher *m)
{
    uint32_t rules = m->g->rule_count;

    m->called = mem_alloc(rules * sizeof(*m->called));
    m->called_bits = mem_zalloc((rules + 63) / 64, sizeof(*m->called_bits));
    m->masks = mem_zalloc(MATCHER_MASKS_MAX, sizeof(*m->masks));
    if (!m->called || !m->called_bits || !m->masks ||
        !rehash(m, &m->cell_slots, &m->cell_slot_count, 256) ||
        !rehash(m, &m->state_slots, &m->state_slot_count, 256) ||
        !vec_reserve(m, &m->states, STATE_FIRST, sizeof(struct state)))
        return false;
    memset(m->called, 0xFF, rules * sizeof(*m->called));
    memset(m->states.at, 0, STATE_FIRST * sizeof(struct state));
    m->states.count = STATE_FIRST; /* numbers that are no state's */
    forget_masks(m);
    return true;
}

/* The bottom, whose way on is the end of the text, and the state before all texts. */
static void make_first(struct matcher *m)
{
    static const uint32_t accept = 1;
    uint32_t root = m->g->root;

    if (!vec_reserve(m, &m->cells, 1, sizeof(struct cell)))
        return;
    CELLS(m)[0] = (struct cell){0, 0, 0, hash_places(NULL, 0)};
    m->cells.count = 1;
    put_slot(m->cell_slots, m->cell_slot_count, CELLS(m)[0].hash, 0);
    begin_step(m);
    add_call(m, root, (struct place){accept, CELL_BOTTOM});
    m->may_end = m->g->rules[root].is_nullable;
    m->first = end_step(m);
}

int matcher_create(struct matcher **matcher, struct grammar *g, const struct tokentrie *trie,
                   struct llmos_error *err)
{
    struct matcher *m = mem_zalloc(1, sizeof(*m));

    if (!m) {
        grammar_destroy(g);
        return fail(err, LLMOS_ENOMEM, "no memory for a grammar");
    }
    m->g = g;
    m->trie = trie;
    m->remember_max = m->bytes_max = MATCHER_BYTES_MAX;
    if (make_tables(m))
        make_first(m);
    if (m->failure || !m->masks || m->cells.count == 0) {
        matcher_destroy(m);
        return fail(err, LLMOS_ENOMEM, "no memory for a grammar");
    }
    if (m->is_too_much) {
        matcher_destroy(m);
        return fail(err, LLMOS_ELIMIT,
                    "the grammar can begin in more than %d ways, which is more than is followed",
                    MATCHER_PLACES_MAX);
    }
    matcher_reset(m, false);
    *matcher = m;
    return 0;
}

void matcher_destroy(struct matcher *m)
{
    if (!m)
        return;
    for (uint32_t i = 0; m->masks && i < MATCHER_MASKS_MAX; i++)
        mem_free(m->masks[i]);
    mem_free(m->masks);
    mem_free(m->mask_once);
    mem_free(m->called);
    mem_free(m->called_bits);
    mem_free(m->cell_slots);
    mem_free(m->state_slots);
    mem_free(m->cells.at);
    mem_free(m->edges.at);
    mem_free(m->states.at);
    mem_free(m->places.at);
    mem_free(m->rows.at);
    grammar_destroy(m->g);
    mem_free(m);
}

void matcher_remember(struct matcher *m, size_t bytes)
{
    m->remember_max = bytes < MATCHER_BYTES_MIN   ? MATCHER_BYTES_MIN
                      : bytes > MATCHER_BYTES_MAX ? MATCHER_BYTES_MAX
                                                  : bytes;
    m->bytes_max = m->remember_max;
}

void matcher_set_marks(struct matcher *m, const struct matcher_mark *marks, uint32_t count)
{
    for (uint32_t i = 0; i < count && m->mark_count < MATCHER_MARKS_MAX; i++)
        if (marks[i].piece.len > 0 && marks[i].piece.len <= TOKENTRIE_PIECE_MAX)
            m->marks[m->mark_count++] = marks[i];
}

void matcher_reset(struct matcher *m, bool drops_space)
{
    m->slots[SLOT_COMMITTED] = m->first;
    m->drops_space[SLOT_COMMITTED] = drops_space;
    m->has_ended[SLOT_COMMITTED] = false;
    matcher_begin(m);
}

static void copy_slot(struct matcher *m, unsigned to, unsigned from)
{
    m->slots[to] = m->slots[from];
    m->drops_space[to] = m->drops_space[from];
    m->has_ended[to] = m->has_ended[from];
}

void matcher_begin(struct matcher *m)
{
    m->failure = 0;
    copy_slot(m, SLOT_ACCEPTED, SLOT_COMMITTED);
}

void matcher_commit(struct matcher *m)
{
    copy_slot(m, SLOT_COMMITTED, SLOT_ACCEPTED);
}

/* --- tokens --- */

/* The slot in which the bytes end; 0: they may not come. */
static uint32_t walk(struct matcher *m, struct str bytes)
{
    uint32_t at = SLOT_ACCEPTED;

    for (size_t i = 0; i < bytes.len; i++) {
        if (i == 0 && m->drops_space[SLOT_ACCEPTED] && bytes.at[0] == ' ')
            m->slots[at + 1] = m->slots[at];
        else if (!step(m, at, at + 1, (uint8_t)bytes.at[i]))
            return 0;
        at++;
    }
    return bytes.len ? at : 0;
}

/* The slot in which a mark ends; 0: it may not come. */
static uint32_t walk_mark(struct matcher *m, const struct matcher_mark *mark)
{
    uint32_t at = walk(m, mark->piece);

    return at && m->slots[at] != m->slots[SLOT_ACCEPTED] ? at : 0;
}

/* A bit for each mark that may come. */
static uint32_t fitting_marks(struct matcher *m)
{
    uint32_t fitting = 0;

    for (uint32_t i = 0; i < m->mark_count; i++)
        fitting |= (uint32_t)(walk_mark(m, &m->marks[i]) != 0) << i;
    return fitting;
}

/* Does a fitting mark that begins like this one have the byte at k? */
static bool mark_goes_on(const struct matcher *m, uint32_t fitting, struct str like, size_t k,
                         uint8_t byte)
{
    for (uint32_t i = 0; i < m->mark_count; i++) {
        struct str piece = m->marks[i].piece;

        if ((fitting >> i & 1) && piece.len > k && (uint8_t)piece.at[k] == byte &&
            memcmp(piece.at, like.at, k) == 0)
            return true;
    }
    return false;
}

/* Within the fitting mark no byte may come that is none of a fitting mark's. */
static bool is_only_way(struct matcher *m, uint32_t fitting, struct str piece)
{
    for (uint32_t k = 0; k < piece.len; k++) {
        uint32_t at = SLOT_ACCEPTED + k;

        if (STATES(m)[m->slots[at]].may_end)
            return false;
        for (uint32_t b = 0; b < 256; b++)
            if (!mark_goes_on(m, fitting, piece, k, (uint8_t)b) && step(m, at, at + 1, (uint8_t)b))
                return false;
        step(m, at, at + 1, (uint8_t)piece.at[k]);
    }
    return true;
}

/* Nothing but marks may come: then they do not come as letters. */
static bool must_be_marks(struct matcher *m, uint32_t fitting)
{
    for (uint32_t i = 0; i < m->mark_count; i++)
        if ((fitting >> i & 1) && !is_only_way(m, fitting, m->marks[i].piece))
            return false;
    return fitting != 0;
}

/* The slot in which the token, which ends no text, leads; 0: it may not come. */
static uint32_t walk_token(struct matcher *m, uint32_t token)
{
    for (uint32_t i = 0; i < m->mark_count; i++)
        if (m->marks[i].token == token)
            return walk_mark(m, &m->marks[i]);
    if (m->mark_count && must_be_marks(m, fitting_marks(m)))
        return 0;
    return walk(m, m->trie->pieces[token]);
}

bool matcher_allows(struct matcher *m, uint32_t token)
{
    if (m->failure || m->has_ended[SLOT_ACCEPTED])
        return false;
    if (tokentrie_ends(m->trie, token))
        return matcher_may_end(m);
    return walk_token(m, token) != 0;
}

bool matcher_accept(struct matcher *m, uint32_t token)
{
    uint32_t at;

    if (m->failure || m->has_ended[SLOT_ACCEPTED])
        return false;
    if (tokentrie_ends(m->trie, token))
        return m->has_ended[SLOT_ACCEPTED] = matcher_may_end(m);
    at = walk_token(m, token);
    if (at == 0)
        return false;
    m->slots[SLOT_ACCEPTED] = m->slots[at];
    m->drops_space[SLOT_ACCEPTED] = false;
    return true;
}

bool matcher_accept_byte(struct matcher *m, uint8_t byte)
{
    char c = (char)byte;
    uint32_t at;

    if (m->failure || m->has_ended[SLOT_ACCEPTED])
        return false;
    at = walk(m, (struct str){&c, 1});
    if (at == 0)
        return false;
    m->slots[SLOT_ACCEPTED] = m->slots[at];
    m->drops_space[SLOT_ACCEPTED] = false;
    return true;
}

/* --- plain characters ---
 *
 * Within a JSON string nearly all tokens may come, and to walk through all of them for each place
 * of each string is what a mask would cost most.  Where all plain characters lead to one state, and
 * from there again as far as plain tokens are long, all plain tokens may come without a look. */

/* Do `more` bytes, the first of them from low to high, all lead from a slot to the state `to`? */
static bool all_lead_to(struct matcher *m, uint32_t from, unsigned more, uint32_t low,
                        uint32_t high, uint32_t to)
{
    uint32_t checked = STATE_DEAD; /* bytes of one class lead to the same state */

    for (uint32_t b = low; b <= high; b++) {
        if (b == '"' || b == '\\')
            continue;
        if (!step(m, from, from + 1, (uint8_t)b))
            return false;
        if (more == 1 && m->slots[from + 1] != to)
            return false;
        if (more > 1 && m->slots[from + 1] != checked &&
            !all_lead_to(m, from + 1, more - 1, 0x80, 0xBF, to))
            return false;
        if (more > 1)
            checked = m->slots[from + 1];
    }
    return true;
}

/* The bytes of all characters but quote, backslash and controls (RFC 3629). */
static bool plain_lead_to(struct matcher *m, uint32_t from, uint32_t to)
{
    static const struct {
        uint8_t lead, last, low, high; /* of the leading byte, and of the one behind it */
        unsigned more;
    } forms[] = {
        {0xC2, 0xDF, 0x80, 0xBF, 1}, {0xE0, 0xE0, 0xA0, 0xBF, 2}, {0xE1, 0xEC, 0x80, 0xBF, 2},
        {0xED, 0xED, 0x80, 0x9F, 2}, {0xEE, 0xEF, 0x80, 0xBF, 2}, {0xF0, 0xF0, 0x90, 0xBF, 3},
        {0xF1, 0xF3, 0x80, 0xBF, 3}, {0xF4, 0xF4, 0x80, 0x8F, 3},
    };

    if (!all_lead_to(m, from, 1, 0x20, 0x7E, to))
        return false;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        for (uint32_t lead = forms[i].lead; lead <= forms[i].last; lead++)
            if (!step(m, from, from + 1, (uint8_t)lead) ||
                !all_lead_to(m, from + 1, forms[i].more, forms[i].low, forms[i].high, to))
                return false;
    return true;
}

/* Into the next slot; false if there is no such state. */
static bool plain_step(struct matcher *m, uint32_t from)
{
    uint32_t next = STATES(m)[m->slots[from]].plain_next, forgotten = m->forgotten;

    if (next == STEP_UNKNOWN) {
        next = step(m, from, from + 1, ' ') ? m->slots[from + 1] : STATE_DEAD;
        if (next != STATE_DEAD && !plain_lead_to(m, from, next))
            next = STATE_DEAD;
        if (m->failure || m->forgotten != forgotten) /* slots behind this one were lost */
            return false;
        STATES(m)[m->slots[from]].plain_next = next;
    }
    m->slots[from + 1] = next;
    return next != STATE_DEAD;
}

static bool may_all_plain(struct matcher *m)
{
    for (uint32_t i = 0; i < TOKENTRIE_PLAIN_MAX; i++) {
        if (!plain_step(m, SLOT_ACCEPTED + i))
            return false;
        if (m->slots[SLOT_ACCEPTED + i + 1] == m->slots[SLOT_ACCEPTED + i])
            break;
    }
    return true;
}

/* The tree of all tokens, but nothing below a byte that may not come; the nodes that were met. */
static uint32_t walk_all(struct matcher *m, uint64_t *bits, bool skips_plain)
{
    const struct tokentrie *t = m->trie;
    uint64_t places = 0; /* counted whether their steps were remembered or not */
    uint32_t met = 0;

    for (uint32_t i = 0; i < t->node_count && !m->failure; met++) {
        const struct tokentrie_node *n = &t->nodes[i];
        uint32_t from = SLOT_ACCEPTED - 1 + n->depth;

        if (skips_plain && n->is_plain) {
            i = n->end;
            continue;
        }
        places += STATES(m)[m->slots[from]].count;
        if (places > MATCHER_WORK_MAX)
            m->failure = LLMOS_ELIMIT;
        if (n->depth == 1 && m->drops_space[SLOT_ACCEPTED] && n->byte == ' ') {
            m->slots[from + 1] = m->slots[from];
        } else if (!step(m, from, from + 1, n->byte)) {
            i = n->end;
            continue;
        }
        for (uint32_t k = n->token; k != TOKENTRIE_NONE; k = t->same[k])
            bits[k / 64] |= (uint64_t)1 << (k % 64);
        i++;
    }
    return met;
}

static void add_marks(struct matcher *m, uint64_t *bits, size_t words)
{
    uint32_t fitting = fitting_marks(m);

    if (must_be_marks(m, fitting))
        memset(bits, 0, words * sizeof(*bits));
    for (uint32_t i = 0; i < m->mark_count; i++)
        if (fitting >> i & 1)
            bits[m->marks[i].token / 64] |= (uint64_t)1 << (m->marks[i].token % 64);
}

/* Is it worth to be kept? */
static bool fill_mask(struct matcher *m, uint64_t *bits)
{
    size_t words = m->trie->token_count / 64 + 1;
    bool all_plain, is_long;

    memset(bits, 0, words * sizeof(*bits));
    if (m->has_ended[SLOT_ACCEPTED])
        return false;
    if (matcher_may_end(m))
        memcpy(bits, m->trie->ends, words * sizeof(*bits));
    if (STATES(m)[m->slots[SLOT_ACCEPTED]].count == 0)
        return false;
    all_plain = !m->drops_space[SLOT_ACCEPTED] && may_all_plain(m);
    for (size_t i = 0; all_plain && i < words; i++)
        bits[i] |= m->trie->plain[i];
    is_long = walk_all(m, bits, all_plain) > KEEP_NODES;
    add_marks(m, bits, words);
    return is_long;
}

/* A mask that took long moves into the place of the oldest one that is kept. */
static const uint64_t *keep_mask(struct matcher *m)
{
    uint32_t at = m->mask_next, state = m->slots[SLOT_ACCEPTED];
    uint64_t *bits = m->mask_once;

    if (m->mask_states[at] != NONE)
        STATES(m)[m->mask_states[at]].mask = NONE;
    m->mask_once = m->masks[at];
    m->masks[at] = bits;
    m->mask_states[at] = state;
    STATES(m)[state].mask = at;
    m->mask_next = (at + 1) % MATCHER_MASKS_MAX;
    return bits;
}

const uint64_t *matcher_mask(struct matcher *m)
{
    bool is_usual = !m->drops_space[SLOT_ACCEPTED] && !m->has_ended[SLOT_ACCEPTED];
    uint32_t mask = STATES(m)[m->slots[SLOT_ACCEPTED]].mask;
    bool keep;

    if (is_usual && mask != NONE)
        return m->masks[mask];
    if (!m->mask_once)
        m->mask_once = mem_alloc((m->trie->token_count / 64 + 1) * sizeof(*m->mask_once));
    if (!m->mask_once) {
        m->failure = LLMOS_ENOMEM;
        return NULL;
    }
    keep = fill_mask(m, m->mask_once);
    if (m->failure)
        return NULL;
    return keep && is_usual ? keep_mask(m) : m->mask_once;
}

bool matcher_may_end(const struct matcher *m)
{
    return STATES(m)[m->slots[SLOT_ACCEPTED]].may_end;
}

bool matcher_must_end(const struct matcher *m)
{
    const struct state *s = &STATES(m)[m->slots[SLOT_ACCEPTED]];

    return m->has_ended[SLOT_ACCEPTED] || (s->may_end && s->count == 0);
}

int matcher_failure(const struct matcher *m)
{
    return m->failure;
}

size_t matcher_bytes(const struct matcher *m)
{
    size_t bytes = sizeof(*m) + m->g->arena.used_bytes;

    bytes += m->cells.room * sizeof(struct cell) + m->edges.room * sizeof(struct place) +
             m->states.room * sizeof(struct state) + m->places.room * sizeof(struct place) +
             m->rows.room * sizeof(uint32_t) +
             ((size_t)m->cell_slot_count + m->state_slot_count) * sizeof(uint32_t);
    for (uint32_t i = 0; i < MATCHER_MASKS_MAX; i++)
        bytes += m->masks[i] ? m->trie->token_count / 8 : 0;
    return bytes;
}
