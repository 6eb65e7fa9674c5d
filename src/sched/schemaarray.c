/* SPDX-License-Identifier: Apache-2.0 */
/* schemaarray.c - see schemajob.h */
#include "sched/schemajob.h"

#include "base/mem.h"

struct items {
    const json_t *first, *rest; /* of the first places, of all behind them; NULL: none */
    uint64_t least, most;
};

static int take_items(struct job *j, const json_t *schema, const struct path *at, struct items *t)
{
    const json_t *items = json_object_get(schema, "items");
    size_t count;
    int low, high;

    *t = (struct items){.first = json_object_get(schema, "prefixItems"), .most = UINT64_MAX};
    if (t->first && !json_is_array(t->first))
        return schema_refuse(j, LLMOS_EINVAL, at, "prefixItems", "is not an array");
    if (json_is_array(items) && !t->first)
        t->first = items; /* as it was written before 2020 */
    else if (items && !json_is_false(items))
        t->rest = items;
    else if (!items && !t->first && !json_is_false(json_object_get(schema, "unevaluatedItems")))
        t->rest = json_true();
    count = json_array_size(t->first);
    low = schema_take_size(j, schema, at, "minItems", &t->least);
    high = low < 0 ? low : schema_take_size(j, schema, at, "maxItems", &t->most);
    if (high < 0)
        return high;
    if (!t->rest && !items && t->least > count)
        t->rest = json_true();
    if (!t->rest && t->most > count)
        t->most = count;
    if (low == 0)
        t->least = count < t->most ? count : t->most;
    if (t->least > t->most)
        return schema_nothing(j, at, "minItems", "is more than the items that there may be");
    return 0;
}

static void put_counts(struct buf *body, uint64_t least, uint64_t most)
{
    if (most == UINT64_MAX)
        buf_printf(body, "{%llu,} ", (unsigned long long)least);
    else
        buf_printf(body, "{%llu,%llu} ", (unsigned long long)least, (unsigned long long)most);
}

/* The items from place i on, each with what must stand before it. */
static int put_items_from(struct job *j, const struct items *t, size_t i, const struct path *at,
                          struct buf *body)
{
    const json_t *item;
    unsigned open = 0;
    int rc = 0;

    for (; rc == 0 && i < t->most && (item = json_array_get(t->first, i)); i++) {
        const struct path here = {at, "prefixItems", 0}, there = {&here, NULL, i};

        if (i >= t->least) {
            buf_puts(body, "( ");
            open++;
        }
        if (open > SCHEMA_NESTED_MAX)
            return schema_refuse(j, LLMOS_ELIMIT, at, "prefixItems",
                                 "has too many that may be missing");
        buf_puts(body, i ? "\",\" ws " : "");
        rc = schema_put_part(j, item, &there, body);
    }
    if (rc == 0 && t->rest && i < t->most) {
        const struct path here = {at, "items", 0};
        uint64_t least = t->least > i ? t->least - i : 0;
        uint64_t most = t->most == UINT64_MAX ? t->most : t->most - i;
        unsigned rule = j->rules++;
        CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};

        rc = schema_put_part(j, t->rest, &here, &one);
        if (rc < 0)
            return rc;
        if (one.bad)
            return schema_no_memory(j);
        buf_printf(j->out, "r%u ::= %s\n", rule, one.at);
        if (i == 0) {
            buf_printf(body, least ? "r%u " : "( r%u ", rule);
            buf_printf(body, "(\",\" ws r%u)", rule);
            put_counts(body, least ? least - 1 : 0, most == UINT64_MAX ? most : most - 1);
            buf_puts(body, least ? "" : ")? ");
        } else {
            buf_printf(body, "(\",\" ws r%u)", rule);
            put_counts(body, least, most);
        }
    }
    while (open-- > 0)
        buf_puts(body, ")? ");
    return rc;
}

/* --- contains: items that count, between others --- */

struct counted {
    const struct items *items;
    const json_t *contains, *fails; /* what counts, and what does not; NULL: whatever counts not */
    uint64_t least, most;           /* of those that count */
    size_t places, counts;          /* that are told apart; the last one stands for all behind it */
    unsigned base;
    struct kinds {
        unsigned hit, other; /* rules of an item; 0: there is none */
    } * kinds;               /* of each place */
    bool *is_alive;
};

static size_t state_at(const struct counted *c, size_t i, size_t n)
{
    i = i < c->places ? i : c->places - 1;
    return i * c->counts + (n < c->counts ? n : c->counts - 1);
}

/* A rule, + 1; 0: no item can be. */
static int put_kind(struct job *j, const json_t *item, const json_t *more, const struct path *at,
                    unsigned *rule)
{
    CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    json_t *both = schema_keep(j, schema_all_of(item, more ? more : json_true()));
    int rc = both ? schema_put_part(j, both, at, &one) : schema_no_memory(j);

    *rule = 0;
    if (rc < 0)
        return j->is_nothing ? 0 : rc;
    if (one.bad)
        return schema_no_memory(j);
    *rule = ++j->rules;
    buf_printf(j->out, "r%u ::= %s\n", *rule - 1, one.at);
    return 0;
}

static int put_kinds(struct job *j, struct counted *c, const struct path *at)
{
    const struct path here = {at, "contains", 0};
    size_t first = json_array_size(c->items->first);
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < c->places; i++) {
        const json_t *item = i < first ? json_array_get(c->items->first, i) : c->items->rest;

        if (i > first) {
            c->kinds[i] = c->kinds[first];
            continue;
        }
        if (!item)
            continue;
        rc = put_kind(j, item, c->contains, &here, &c->kinds[i].hit);
        if (rc == 0)
            rc = put_kind(j, item, c->fails, &here, &c->kinds[i].other);
    }
    return rc;
}

/* The rule behind an item of that kind, if the rest can be had; NULL: no such item may come. */
static bool leads_on(const struct counted *c, size_t i, size_t n, bool is_hit, size_t *to)
{
    size_t at = i < c->places ? i : c->places - 1;

    *to = state_at(c, i + 1, n + is_hit);
    return i < c->items->most && (is_hit ? c->kinds[at].hit && n < c->most : c->kinds[at].other) &&
           c->is_alive[*to];
}

static bool may_end(const struct counted *c, size_t i, size_t n)
{
    return i >= c->items->least && n >= c->least;
}

static void find_alive(struct counted *c)
{
    bool is_new = true;
    size_t to;

    while (is_new) { /* a place and a count more at a time: as often as there are places at most */
        is_new = false;
        for (size_t i = c->places; i-- > 0;)
            for (size_t n = c->counts; n-- > 0;) {
                bool *alive = &c->is_alive[state_at(c, i, n)];
                bool is = may_end(c, i, n) || leads_on(c, i, n, true, &to) ||
                          leads_on(c, i, n, false, &to);

                is_new |= is && !*alive;
                *alive |= is;
            }
    }
}

static void put_states(struct job *j, const struct counted *c)
{
    size_t to;

    for (size_t i = 0; i < c->places && !j->out->bad; i++)
        for (size_t n = 0; n < c->counts; n++) {
            const char *comma = i ? "\",\" ws " : "", *bar = "";

            if (!c->is_alive[state_at(c, i, n)])
                continue;
            buf_printf(j->out, "r%u ::= ", c->base + (unsigned)state_at(c, i, n));
            if (may_end(c, i, n)) {
                buf_puts(j->out, "\"\"");
                bar = " | ";
            }
            if (leads_on(c, i, n, true, &to)) {
                buf_printf(j->out, "%s%sr%u r%u", bar, comma, c->kinds[i].hit - 1,
                           c->base + (unsigned)to);
                bar = " | ";
            }
            if (leads_on(c, i, n, false, &to))
                buf_printf(j->out, "%s%sr%u r%u", bar, comma, c->kinds[i].other - 1,
                           c->base + (unsigned)to);
            buf_putc(j->out, '\n');
        }
}

static int put_counted(struct job *j, struct counted *c, const struct path *at, struct buf *body)
{
    size_t first = json_array_size(c->items->first), room;
    CLEANUP(free) struct kinds *kinds = NULL;
    CLEANUP(free) bool *is_alive = NULL;
    int rc;

    c->places = 2 + (c->items->most < UINT64_MAX ? (size_t)c->items->most
                     : c->items->least > first   ? (size_t)c->items->least
                                                 : first);
    c->counts = 1 + (size_t)(c->most < UINT64_MAX ? c->most : c->least);
    room = c->places * c->counts;
    if (room > SCHEMA_PLACES_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, "contains",
                             "counts too many items of too many: 8192 combinations are followed");
    c->kinds = kinds = mem_zalloc(c->places, sizeof(*kinds));
    c->is_alive = is_alive = mem_zalloc(room, sizeof(*is_alive));
    if (!kinds || !is_alive)
        return schema_no_memory(j);
    rc = put_kinds(j, c, at);
    if (rc < 0)
        return rc;
    find_alive(c);
    if (!is_alive[0])
        return schema_nothing(j, at, "contains", "wants items that there cannot be");
    c->base = j->rules;
    j->rules += (unsigned)room;
    put_states(j, c);
    buf_printf(body, "r%u ", c->base);
    return 0;
}

/* 1 if it was written, 0 if the schema says nothing of it. */
static int put_contains(struct job *j, const json_t *schema, const struct items *t,
                        const struct path *at, struct buf *body)
{
    struct counted c = {t, json_object_get(schema, "contains"), NULL, 1, UINT64_MAX, .base = 0};
    const struct path here = {at, "contains", 0};
    int rc = schema_take_size(j, schema, at, "minContains", &c.least);

    if (rc >= 0)
        rc = schema_take_size(j, schema, at, "maxContains", &c.most);
    if (rc < 0 || !c.contains || (c.least == 0 && c.most == UINT64_MAX))
        return rc < 0 ? rc : 0;
    if (c.most < UINT64_MAX) {
        json_t *fails = schema_opposite(j, c.contains, &here);

        if (!fails)
            return j->err->code;
        c.fails = schema_keep(j, fails);
        if (!c.fails)
            return schema_no_memory(j);
    }
    rc = put_counted(j, &c, at, body);
    return rc < 0 ? rc : 1;
}

/* --- uniqueItems: values that are listed, each once --- */

static json_t *each_once(struct job *j, json_t *list)
{
    json_t *once = schema_keep(j, json_array()), *v, *other;
    size_t i, k;

    json_array_foreach(list, i, v)
    {
        bool is_new = true;

        json_array_foreach(once, k, other) is_new &= !schema_is_equal(v, other);
        if (is_new)
            json_array_append(once, v);
    }
    return once;
}

/* In any order: a rule for each set of values that came already. */
static int put_sets(struct job *j, const struct link *links, size_t count, const struct items *t,
                    struct buf *body)
{
    unsigned base = j->rules;

    j->rules += 1u << count;
    for (unsigned set = 0; set < 1u << count; set++) {
        unsigned came = (unsigned)__builtin_popcount(set);
        const char *bar = "";

        buf_printf(j->out, "r%u ::= ", base + set);
        if (came >= t->least || came >= t->most) {
            buf_puts(j->out, "\"\"");
            bar = " | ";
        }
        for (unsigned i = 0; i < count && came < t->most; i++) {
            if (set >> i & 1)
                continue;
            buf_printf(j->out, "%s%sr%u r%u", bar, set ? "\",\" ws " : "", links[i].rule,
                       base + (set | 1u << i));
            bar = " | ";
        }
        buf_putc(j->out, '\n');
    }
    buf_printf(body, "r%u ", base);
    return 0;
}

static int put_once(struct job *j, const json_t *values, const struct items *t,
                    const struct path *at, struct buf *body)
{
    size_t count = json_array_size(values), i;
    CLEANUP(free) struct link *links = mem_zalloc(count + 1, sizeof(*links));
    struct chain c = {links, count, t->least, t->most, .has_rest = false};
    const json_t *v;
    int rc = links ? 0 : schema_no_memory(j);

    if (rc == 0 && t->least > count)
        return schema_nothing(j, at, "minItems", "is more than the different items that there are");
    json_array_foreach(values, i, v)
    {
        CLEANUP(buf) struct buf one = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
        json_t *schema = rc == 0 ? schema_keep(j, json_pack("{s:O}", "const", v)) : NULL;

        if (rc == 0)
            rc = schema ? schema_put_listed(j, schema, at, &one) : schema_no_memory(j);
        if (rc < 0 || one.bad)
            return rc < 0 ? rc : schema_no_memory(j);
        links[i].rule = j->rules++;
        buf_printf(j->out, "r%u ::= %s\n", links[i].rule, one.at);
    }
    return rc < 0                       ? rc
           : count <= SCHEMA_LISTED_MAX ? put_sets(j, links, count, t, body)
                                        : schema_put_chain(j, &c, at, body);
}

static int put_unique(struct job *j, const struct items *t, const struct path *at, struct buf *body)
{
    const struct path here = {at, "items", 0};
    json_t *list = NULL, *once, *flat;
    int rc = 0;

    if (!t->first && json_is_object(t->rest)) {
        rc = schema_flatten(j, t->rest, &here, &flat);
        list = rc < 0 ? NULL : schema_listed(j, flat, &here, &rc);
    }
    if (rc < 0)
        return rc;
    if (!list)
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "uniqueItems",
                             "is supported where the items are values of an enum, or at most one");
    once = each_once(j, list);
    json_decref(list);
    return once ? put_once(j, once, t, at, body) : schema_no_memory(j);
}

static int put_items(struct job *j, const json_t *schema, const struct items *t,
                     const struct path *at, struct buf *body)
{
    bool is_unique = json_is_true(json_object_get(schema, "uniqueItems")) && t->most > 1;
    int rc = put_contains(j, schema, t, at, body);

    if (rc == 1 && is_unique)
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, "uniqueItems",
                             "together with 'contains' is not supported");
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return is_unique ? put_unique(j, t, at, body) : put_items_from(j, t, 0, at, body);
}

int schema_put_arrays(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    bool is_any = !json_object_get(schema, "contains") && !json_object_get(schema, "uniqueItems");
    struct items t;
    int rc = take_items(j, schema, at, &t);

    if (rc < 0)
        return rc;
    if (is_any && json_is_true(t.rest) && !t.first && t.least == 0 && t.most == UINT64_MAX) {
        buf_puts(body, "array ");
        return 0;
    }
    buf_puts(body, "\"[\" ws ");
    rc = put_items(j, schema, &t, at, body);
    buf_puts(body, "ws \"]\" ");
    return rc;
}
