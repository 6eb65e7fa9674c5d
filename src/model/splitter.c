/* SPDX-License-Identifier: Apache-2.0 */
/* splitter.c - see splitter.h */
#include "model/splitter.h"

#include "base/mem.h"
#include "model/unicode.h"

#define SETS_MAX    64 /* bits of a signature */
#define RANGES_MAX  1024
#define NODES_MAX   512
#define CODE_MAX    2048
#define STATES_MAX  2048
#define KERNELS_MAX (64 * 1024) /* places in all states */
#define CLASSES_MAX 128
#define STATE_DEAD  0 /* nothing can match any more */
#define STATE_START 1
#define NONE        UINT16_MAX
#define MANY        UINT16_MAX

/* ---- what is built ---- */

struct range {
    uint32_t first, last;
};

/* Some characters. */
struct set {
    uint32_t categories; /* bit per category */
    bool space, negated, at_end;
    uint16_t range_first, range_count;
};

enum node_kind { NODE_EMPTY, NODE_SET, NODE_AHEAD, NODE_CAT, NODE_ALT, NODE_REPEAT };

struct node {
    enum node_kind kind;
    uint16_t a, b;     /* parts; of SET and AHEAD the set */
    uint16_t min, max; /* of REPEAT; MANY: no end */
};

enum op { OP_SET, OP_AHEAD, OP_SPLIT, OP_JUMP, OP_MATCH };

struct code {
    enum op op;
    uint16_t a, b; /* the set; where to go on, the better one first */
};

struct state {
    uint32_t first, count; /* its places in `kernels` */
    uint32_t hash;
};

/* What making a splitter needs for a while. */
struct maker {
    const char *at; /* the rest of the expression */
    bool any_case, bad;
    struct set sets[SETS_MAX];
    struct range ranges[RANGES_MAX];
    struct node nodes[NODES_MAX];
    size_t set_count, range_count, node_count;
    uint64_t signatures[CLASSES_MAX]; /* per class: the sets it belongs to */
    size_t class_count;
    uint32_t bounds[2 * RANGES_MAX + 32];
    size_t bound_count;
    uint16_t roots[SPLITTER_STEPS_MAX];
    struct code code[CODE_MAX];
    size_t code_count;
    struct state states[STATES_MAX];
    size_t state_count;
    uint16_t kernels[KERNELS_MAX];
    size_t kernel_count;
    uint32_t seen[CODE_MAX], turn;
    uint16_t to[STATES_MAX * (CLASSES_MAX + 1)];
};

/* ---- sets of characters ---- */

static const struct {
    const char *name;
    uint32_t categories;
} properties[] = {
#define BIT(c) (1u << UNICODE_##c)
    {"L", BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO)},
    {"Lu", BIT(LU)},
    {"Ll", BIT(LL)},
    {"Lt", BIT(LT)},
    {"Lm", BIT(LM)},
    {"Lo", BIT(LO)},
    {"M", BIT(MN) | BIT(MC) | BIT(ME)},
    {"N", BIT(ND) | BIT(NL) | BIT(NO)},
    {"Nd", BIT(ND)},
    {"Nl", BIT(NL)},
    {"Pc", BIT(PC)},
    {"P", BIT(PC) | BIT(PD) | BIT(PS) | BIT(PE) | BIT(PI) | BIT(PF) | BIT(PO)},
    {"S", BIT(SM) | BIT(SC) | BIT(SK) | BIT(SO)},
};

static bool set_has(const struct maker *m, const struct set *set, uint32_t c,
                    enum unicode_category category)
{
    bool in = set->categories >> category & 1 || (set->space && unicode_is_space(c));

    for (size_t i = 0; i < set->range_count && !in; i++) {
        const struct range *r = &m->ranges[set->range_first + i];

        in = c >= r->first && c <= r->last;
    }
    return in != set->negated;
}

static void add_range(struct maker *m, struct set *set, uint32_t first, uint32_t last)
{
    if (m->range_count == RANGES_MAX) {
        m->bad = true;
        return;
    }
    m->ranges[m->range_count++] = (struct range){first, last};
    set->range_count++;
}

/* A letter in both cases; (?i) takes in what Unicode folds to it as well. */
static void add_letter(struct maker *m, struct set *set, uint32_t c)
{
    uint32_t other = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? c ^ 32 : c;

    add_range(m, set, c, c);
    if (!m->any_case || other == c)
        return;
    add_range(m, set, other, other);
    if ((c | 32) == 's')
        add_range(m, set, 0x17f, 0x17f);
}

static bool same_set(const struct maker *m, const struct set *a, const struct set *b)
{
    return a->categories == b->categories && a->space == b->space && a->negated == b->negated &&
           a->at_end == b->at_end && a->range_count == b->range_count &&
           memcmp(m->ranges + a->range_first, m->ranges + b->range_first,
                  a->range_count * sizeof(struct range)) == 0;
}

/* The number of this set, which may be one that is there already. */
static uint16_t keep_set(struct maker *m, const struct set *set)
{
    for (size_t i = 0; i < m->set_count; i++)
        if (same_set(m, &m->sets[i], set))
            return (uint16_t)i;
    if (m->set_count == SETS_MAX) {
        m->bad = true;
        return 0;
    }
    m->sets[m->set_count] = *set;
    return (uint16_t)m->set_count++;
}

/* ---- reading an expression ---- */

static uint16_t read_alternatives(struct maker *m);

static bool skip(struct maker *m, const char *text)
{
    size_t n = strlen(text);
    bool is_there = strncmp(m->at, text, n) == 0;

    m->at += is_there ? n : 0;
    return is_there;
}

static uint32_t read_character(struct maker *m)
{
    size_t bytes;
    uint32_t c;

    if (*m->at == '\0') {
        m->bad = true;
        return 0;
    }
    c = unicode_next(str_of(m->at), &bytes);
    m->at += bytes;
    return c;
}

/* What Hugging Face's tokenizers call punctuation. */
static void add_old_punctuation(struct maker *m, struct set *set)
{
    size_t count;
    const struct unicode_range *ranges = unicode_old_punctuation(&count);

    for (size_t i = 0; i < count; i++)
        add_range(m, set, ranges[i].first, ranges[i].last);
}

/* Behind "\p": "{Name}". */
static uint32_t read_property(struct maker *m)
{
    const char *end = *m->at == '{' ? strchr(m->at, '}') : NULL;

    for (size_t i = 0; end && i < sizeof(properties) / sizeof(properties[0]); i++)
        if (str_is((struct str){m->at + 1, (size_t)(end - m->at - 1)}, properties[i].name)) {
            m->at = end + 1;
            return properties[i].categories;
        }
    m->bad = true;
    return 0;
}

/* Behind "\": a class into `set`, or a character. */
static bool read_escape(struct maker *m, struct set *set, uint32_t *c)
{
    *c = read_character(m);
    switch (*c) {
    case 'p':
        if (skip(m, "{P8}"))
            add_old_punctuation(m, set);
        else
            set->categories |= read_property(m);
        return false;
    case 'P':
        set->categories |= ~read_property(m);
        return false;
    case 's':
        set->space = true;
        return false;
    case 'd':
        set->categories |= BIT(ND);
        return false;
    case 'r':
        *c = '\r';
        return true;
    case 'n':
        *c = '\n';
        return true;
    case 't':
        *c = '\t';
        return true;
    default:
        return true; /* a character that would mean something else */
    }
}

/* One of a class: false if it was \p{..} and the like, which cannot begin a range. */
static bool read_member(struct maker *m, struct set *set, uint32_t *c)
{
    *c = read_character(m);
    return *c == '\\' ? read_escape(m, set, c) : true;
}

/* Behind "[". */
static void read_class(struct maker *m, struct set *set)
{
    if (*m->at == '^') {
        set->negated = true;
        m->at++;
    }
    while (!m->bad && *m->at != ']') {
        uint32_t first, last;

        if (!read_member(m, set, &first))
            continue;
        if (*m->at != '-' || m->at[1] == ']') {
            add_letter(m, set, first);
            continue;
        }
        m->at++;
        if (!read_member(m, set, &last) || last < first)
            m->bad = true;
        add_range(m, set, first, last);
    }
    m->at += *m->at == ']';
}

static uint16_t put_node(struct maker *m, struct node node)
{
    if (m->node_count == NODES_MAX) {
        m->bad = true;
        return 0;
    }
    m->nodes[m->node_count] = node;
    return (uint16_t)m->node_count++;
}

/* A character or a class. */
static uint16_t read_set(struct maker *m)
{
    struct set set = {.range_first = (uint16_t)m->range_count};
    uint32_t c = read_character(m);

    if (c == '[')
        read_class(m, &set);
    else if (c == '\\' && *m->at == 'S') {
        m->at++;
        set.space = set.negated = true;
    } else if (c != '\\' || read_escape(m, &set, &c))
        add_letter(m, &set, c);
    return keep_set(m, &set);
}

/* Behind "(?!" or "(?=": the next character is none, or one, of a set. */
static uint16_t read_ahead(struct maker *m, bool is_negative)
{
    uint16_t set = read_set(m);
    struct set ahead = m->sets[set];

    ahead.negated ^= is_negative;
    ahead.at_end = is_negative;
    m->bad |= *m->at != ')';
    m->at += *m->at == ')';
    return put_node(m, (struct node){NODE_AHEAD, keep_set(m, &ahead), 0, 0, 0});
}

static uint16_t read_group(struct maker *m)
{
    bool any_case = m->any_case;
    uint16_t node;

    if (skip(m, "?!"))
        return read_ahead(m, true);
    if (skip(m, "?="))
        return read_ahead(m, false);
    if (skip(m, "?i:"))
        m->any_case = true;
    else
        skip(m, "?:");
    node = read_alternatives(m);
    m->any_case = any_case;
    m->bad |= *m->at != ')';
    m->at += *m->at == ')';
    return node;
}

static uint16_t read_number(struct maker *m)
{
    uint32_t n = 0;

    while (*m->at >= '0' && *m->at <= '9' && n < CODE_MAX)
        n = 10 * n + (uint32_t)(*m->at++ - '0');
    return (uint16_t)n;
}

/* The quantifier behind a node, if there is one. */
static uint16_t read_repeat(struct maker *m, uint16_t node)
{
    struct node repeat = {NODE_REPEAT, node, 0, 0, MANY};

    if (skip(m, "{")) {
        repeat.min = repeat.max = read_number(m);
        if (skip(m, ","))
            repeat.max = *m->at == '}' ? MANY : read_number(m);
        m->bad |= !skip(m, "}");
    } else if (skip(m, "?")) {
        repeat.max = 1;
    } else if (skip(m, "+")) {
        repeat.min = 1;
    } else if (!skip(m, "*")) {
        return node;
    }
    skip(m, "+"); /* possessive */
    return put_node(m, repeat);
}

static uint16_t read_item(struct maker *m)
{
    uint16_t node;

    m->bad |= *m->at && strchr(".^*+?{", *m->at); /* they mean something that is not known here */
    if (skip(m, "("))
        node = read_group(m);
    else if (skip(m, "$"))
        node = put_node(
            m, (struct node){.kind = NODE_AHEAD, .a = keep_set(m, &(struct set){.at_end = true})});
    else
        node = put_node(m, (struct node){.kind = NODE_SET, .a = read_set(m)});
    return read_repeat(m, node);
}

static uint16_t read_sequence(struct maker *m)
{
    uint16_t node = put_node(m, (struct node){.kind = NODE_EMPTY});

    while (!m->bad && *m->at && *m->at != '|' && *m->at != ')')
        node = put_node(m, (struct node){.kind = NODE_CAT, .a = node, .b = read_item(m)});
    return node;
}

static uint16_t read_alternatives(struct maker *m)
{
    uint16_t node = read_sequence(m);

    while (!m->bad && skip(m, "|"))
        node = put_node(m, (struct node){.kind = NODE_ALT, .a = node, .b = read_sequence(m)});
    return node;
}

/* ---- classes: characters that belong to the same sets ---- */

static void add_bound(struct maker *m, uint32_t c)
{
    size_t i = m->bound_count++;

    while (i > 0 && m->bounds[i - 1] > c) {
        m->bounds[i] = m->bounds[i - 1];
        i--;
    }
    m->bounds[i] = c;
}

static void find_bounds(struct maker *m)
{
    static const struct range spaces[] = {
        {'\t', '\r'},     {' ', ' '},       {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
        {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};

    for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++) {
        add_bound(m, spaces[i].first);
        add_bound(m, spaces[i].last + 1);
    }
    for (size_t i = 0; i < m->range_count; i++) {
        add_bound(m, m->ranges[i].first);
        add_bound(m, m->ranges[i].last + 1);
    }
    add_bound(m, UNICODE_LAST + 1);
}

static uint8_t class_of(struct maker *m, uint32_t c, enum unicode_category category)
{
    uint64_t signature = 0;

    for (size_t i = 0; i < m->set_count; i++)
        signature |= (uint64_t)set_has(m, &m->sets[i], c, category) << i;
    for (size_t i = 0; i < m->class_count; i++)
        if (m->signatures[i] == signature)
            return (uint8_t)i;
    if (m->class_count == CLASSES_MAX) {
        m->bad = true;
        return 0;
    }
    m->signatures[m->class_count] = signature;
    return (uint8_t)m->class_count++;
}

/* classes[UNICODE_LAST + 1]. */
static void find_classes(struct maker *m, uint8_t *classes)
{
    size_t run = 0, bound = 0;

    find_bounds(m);
    for (uint32_t c = 0; c <= UNICODE_LAST && !m->bad;) {
        uint32_t next = m->bounds[bound];

        if (next <= c) {
            bound++;
            continue;
        }
        if (run + 1 < unicode_run_count() && unicode_run_first(run + 1) <= c) {
            run++;
            continue;
        }
        if (run + 1 < unicode_run_count() && unicode_run_first(run + 1) < next)
            next = unicode_run_first(run + 1);
        memset(classes + c, class_of(m, c, unicode_run_category(run)), next - c);
        c = next;
    }
}

/* The same in blocks of which equal neighbours are kept once, and those of a single class once
 * each. */
static int keep_classes(struct splitter *s, const uint8_t *classes, struct arena *arena)
{
    enum { BLOCKS = (UNICODE_LAST + 1) / 256 };
    uint16_t *block = arena_array(arena, uint16_t, BLOCKS);
    uint16_t whole[CLASSES_MAX], count = 0;
    uint8_t *blocks;

    if (!block)
        return -1;
    memset(whole, 0xff, sizeof(whole));
    for (size_t i = 0; i < BLOCKS; i++) {
        const uint8_t *here = classes + 256 * i;
        bool is_whole = memcmp(here, here + 1, 255) == 0;

        block[i] = is_whole && whole[*here] != NONE ? whole[*here] : count++;
        if (is_whole)
            whole[*here] = block[i];
    }
    blocks = arena_alloc(arena, (size_t)count * 256);
    if (!blocks)
        return -1;
    for (size_t i = 0; i < BLOCKS; i++)
        memcpy(blocks + (size_t)256 * block[i], classes + 256 * i, 256);
    s->block = block;
    s->blocks = blocks;
    memcpy(s->ascii, classes, sizeof(s->ascii));
    return 0;
}

/* ---- from nodes to code ---- */

static uint16_t put_code(struct maker *m, enum op op, uint16_t a, uint16_t b)
{
    if (m->code_count == CODE_MAX) {
        m->bad = true;
        return 0;
    }
    m->code[m->code_count] = (struct code){op, a, b};
    return (uint16_t)m->code_count++;
}

static uint16_t here(const struct maker *m)
{
    return (uint16_t)m->code_count;
}

static void emit(struct maker *m, uint16_t node);

static void emit_repeat(struct maker *m, const struct node *n)
{
    uint16_t first = here(m), split;

    for (uint16_t i = 0; i < n->min && !m->bad; i++)
        emit(m, n->a);
    first = here(m);
    if (n->max == MANY) {
        split = put_code(m, OP_SPLIT, (uint16_t)(first + 1), 0);
        emit(m, n->a);
        put_code(m, OP_JUMP, first, 0);
        m->code[split].b = here(m);
        return;
    }
    for (uint16_t i = n->min; i < n->max && !m->bad; i++) {
        split = put_code(m, OP_SPLIT, (uint16_t)(here(m) + 1), NONE);
        emit(m, n->a);
    }
    for (uint16_t i = first; i < here(m); i++)
        if (m->code[i].op == OP_SPLIT && m->code[i].b == NONE)
            m->code[i].b = here(m);
}

static void emit_alternatives(struct maker *m, const struct node *n)
{
    uint16_t split = put_code(m, OP_SPLIT, (uint16_t)(here(m) + 1), 0), jump;

    emit(m, n->a);
    jump = put_code(m, OP_JUMP, 0, 0);
    m->code[split].b = here(m);
    emit(m, n->b);
    m->code[jump].a = here(m);
}

static void emit(struct maker *m, uint16_t node)
{
    const struct node *n = &m->nodes[node];

    switch (n->kind) {
    case NODE_EMPTY:
        break;
    case NODE_SET:
        put_code(m, OP_SET, n->a, 0);
        break;
    case NODE_AHEAD:
        put_code(m, OP_AHEAD, n->a, 0);
        break;
    case NODE_CAT:
        emit(m, n->a);
        emit(m, n->b);
        break;
    case NODE_ALT:
        emit_alternatives(m, n);
        break;
    case NODE_REPEAT:
        emit_repeat(m, n);
        break;
    }
}

/* ---- from code to states: a state is the places that threads wait at, the preferred first ---- */

static bool class_in(const struct maker *m, uint16_t set, size_t class)
{
    return class == m->class_count ? m->sets[set].at_end : m->signatures[class] >> set & 1;
}

/* Follows one thread until it has read a character of the class; true if it matches before that,
 * and then less preferred threads are of no interest. */
static bool follow(struct maker *m, uint16_t at, size_t class)
{
    const struct code *code = &m->code[at];

    if (m->seen[at] == m->turn)
        return false;
    m->seen[at] = m->turn;
    switch (code->op) {
    case OP_MATCH:
        return true;
    case OP_JUMP:
        return follow(m, code->a, class);
    case OP_SPLIT:
        return follow(m, code->a, class) || follow(m, code->b, class);
    case OP_AHEAD:
        return class_in(m, code->a, class) && follow(m, (uint16_t)(at + 1), class);
    case OP_SET:
        if (class == m->class_count || !class_in(m, code->a, class))
            return false;
        for (size_t i = m->states[m->state_count].first; i < m->kernel_count; i++)
            if (m->kernels[i] == at + 1)
                return false;
        if (m->kernel_count == KERNELS_MAX)
            m->bad = true;
        else
            m->kernels[m->kernel_count++] = (uint16_t)(at + 1);
    }
    return false;
}

/* The places behind kernels[first] as a state, new or known; those of a known one are dropped. */
static uint16_t keep_state(struct maker *m, uint32_t first)
{
    struct state new = {first, (uint32_t)m->kernel_count - first, 0};

    for (uint32_t i = 0; i < new.count; i++)
        new.hash = (new.hash ^ m->kernels[first + i]) * 0x01000193u;
    for (size_t i = 0; i < m->state_count; i++)
        if (m->states[i].hash == new.hash &&
            m->states[i].count ==
                new.count &&memcmp(m->kernels + m->states[i].first, m->kernels + first,
                                   new.count * sizeof(m->kernels[0])) == 0) {
            m->kernel_count = first;
            return (uint16_t)i;
        }
    if (m->state_count == STATES_MAX - 1) {
        m->bad = true;
        return STATE_DEAD;
    }
    m->states[m->state_count] = new;
    return (uint16_t)m->state_count++;
}

static uint16_t step(struct maker *m, size_t state, size_t class)
{
    const struct state *from = &m->states[state];
    uint32_t first = (uint32_t)m->kernel_count;
    bool matched = false;

    m->states[m->state_count].first = first;
    m->turn++;
    for (uint32_t i = 0; i < from->count && !matched; i++)
        matched = follow(m, m->kernels[from->first + i], class);
    return (uint16_t)(keep_state(m, first) << 1 | matched);
}

/* to[state * width + class] for one expression. */
static void make_states(struct maker *m, uint16_t root)
{
    size_t width = m->class_count + 1;

    m->code_count = m->state_count = m->kernel_count = m->turn = 0;
    memset(m->seen, 0, sizeof(m->seen));
    emit(m, root);
    put_code(m, OP_MATCH, 0, 0);
    keep_state(m, 0); /* STATE_DEAD: no place */
    m->kernels[m->kernel_count++] = 0;
    keep_state(m, 0); /* STATE_START */
    for (size_t state = 0; state < m->state_count && !m->bad; state++)
        for (size_t class = 0; class < width; class ++)
            m->to[state * width + class] = step(m, state, class);
}

static int make_steps(struct splitter *s, struct maker *m, struct arena *arena)
{
    s->width = (uint32_t)m->class_count + 1;
    for (size_t i = 0; i < s->step_count; i++) {
        size_t bytes;

        if (m->roots[i] == NONE)
            continue;
        make_states(m, m->roots[i]);
        bytes = m->state_count * s->width * sizeof(m->to[0]);
        s->steps[i].to = m->bad ? NULL : arena_alloc(arena, bytes);
        if (!s->steps[i].to)
            return -1;
        memcpy(s->steps[i].to, m->to, bytes);
    }
    return 0;
}

static int make(struct splitter *s, struct maker *m, uint8_t *classes,
                const char *const *expressions, struct arena *arena, struct llmos_error *err)
{
    for (size_t i = 0; i < s->step_count; i++) {
        m->roots[i] = NONE;
        m->at = expressions[i];
        s->steps[i].at_end = strcmp(m->at, SPLITTER_LAST_THREES) == 0;
        if (s->steps[i].at_end || strcmp(m->at, SPLITTER_THREES) == 0)
            continue;
        m->roots[i] = read_alternatives(m);
        if (m->bad || *m->at)
            return fail(err, LLMOS_EUNSUPPORTED, "expression '%.80s' cannot be read at '%.20s'",
                        expressions[i], m->at);
    }
    find_classes(m, classes);
    if (!m->bad && (keep_classes(s, classes, arena) < 0 || make_steps(s, m, arena) < 0) && !m->bad)
        return fail(err, LLMOS_ENOMEM, "no memory for the expressions that split a text");
    if (m->bad)
        return fail(err, LLMOS_ELIMIT, "the expressions that split a text are too large");
    return 0;
}

int splitter_init(struct splitter *s, const char *const *expressions, size_t count,
                  struct arena *arena, struct llmos_error *err)
{
    CLEANUP(free) struct maker *m = NULL;
    CLEANUP(free) uint8_t *classes = NULL;
    struct splitter made = {.step_count = count};
    int rc;

    if (count > SPLITTER_STEPS_MAX)
        return fail(err, LLMOS_ELIMIT, "%zu expressions split a text, at most %d are accepted",
                    count, SPLITTER_STEPS_MAX);
    m = mem_zalloc(1, sizeof(*m));
    classes = mem_alloc(UNICODE_LAST + 1);
    if (!m || !classes)
        return fail(err, LLMOS_ENOMEM, "no memory to read expressions");
    rc = make(&made, m, classes, expressions, arena, err);
    if (rc == 0)
        *s = made;
    return rc;
}

/* ---- cutting ---- */

/* Where a machine in this state finds nothing more: found while looking past a match, so that
 * nobody looks there twice.  Without it a mile of spaces would be a mile squared. */
struct barren {
    size_t state, from, to;
};

struct cut {
    const struct splitter *s;
    splitter_put put;
    void *to;
};

static size_t class_at(const struct splitter *s, struct str text, size_t at, size_t *bytes)
{
    unsigned char first = (unsigned char)text.at[at];
    uint32_t c;

    if (first < 0x80) {
        *bytes = 1;
        return s->ascii[first];
    }
    c = unicode_next((struct str){text.at + at, text.len - at}, bytes);
    return s->blocks[256 * s->block[c >> 8] + (c & 255)];
}

/* The end of the match that begins at `from`; `from` if there is none. */
static size_t match(const struct splitter *s, const uint16_t *to, struct str text, size_t from,
                    struct barren *barren)
{
    size_t state = STATE_START, at = from, end = from, run_from = from, bytes = 0;

    for (;;) {
        size_t class = s->width - 1, next;

        if (at <= barren->to && at >= barren->from && state == barren->state)
            return end;
        if (at < text.len)
            class = class_at(s, text, at, &bytes);
        next = to[state * s->width + class];
        if (next & 1)
            end = at;
        if (next >> 1 == STATE_DEAD)
            break;
        at += bytes;
        if (next >> 1 != state)
            run_from = at;
        state = next >> 1;
    }
    if (at > end + 16)
        *barren = (struct barren){state, run_from > end ? run_from : end + 1, at};
    return end;
}

static int run_step(const struct cut *c, size_t step, struct str text);

static int put_piece(const struct cut *c, size_t step, struct str text, size_t from, size_t to)
{
    return from < to ? run_step(c, step + 1, (struct str){text.at + from, to - from}) : 0;
}

static int split_threes(const struct cut *c, size_t step, struct str text)
{
    size_t from = 0, at = 0, bytes;
    int rc = 0;

    while (at < text.len && rc == 0) {
        size_t digits = 0, end = at;
        struct str rest = {text.at + at, text.len - at};

        while (end < text.len) {
            rest = (struct str){text.at + end, text.len - end};
            if (unicode_category(unicode_next(rest, &bytes)) != UNICODE_ND)
                break;
            end += bytes;
            digits++;
        }
        for (; digits > 0 && rc == 0; digits--) {
            if (digits % 3 == 0 && (end == text.len || !c->s->steps[step].at_end)) {
                rc = put_piece(c, step, text, from, at);
                from = at;
            }
            unicode_next((struct str){text.at + at, text.len - at}, &bytes);
            at += bytes;
        }
        if (at < text.len) {
            unicode_next((struct str){text.at + at, text.len - at}, &bytes);
            at += bytes;
        }
    }
    return rc < 0 ? rc : put_piece(c, step, text, from, text.len);
}

static int run_step(const struct cut *c, size_t step, struct str text)
{
    const uint16_t *to = step < c->s->step_count ? c->s->steps[step].to : NULL;
    struct barren barren = {STATE_DEAD, 1, 0};
    size_t gap = 0, at = 0;
    int rc = 0;

    if (step == c->s->step_count)
        return c->put(c->to, text);
    if (!to)
        return split_threes(c, step, text);
    while (at < text.len && rc == 0) {
        size_t end = match(c->s, to, text, at, &barren), bytes;

        if (end == at) {
            class_at(c->s, text, at, &bytes);
            at += bytes;
            continue;
        }
        rc = put_piece(c, step, text, gap, at);
        if (rc == 0)
            rc = put_piece(c, step, text, at, end);
        gap = at = end;
    }
    return rc < 0 ? rc : put_piece(c, step, text, gap, text.len);
}

int splitter_run(const struct splitter *s, struct str text, splitter_put put, void *to)
{
    struct cut c = {s, put, to};

    return run_step(&c, 0, text);
}
