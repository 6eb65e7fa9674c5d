/* SPDX-License-Identifier: Apache-2.0 */
/* schemachain.c - see schemajob.h
 *
 * Things that come in one order, of which some may be missing, and others behind them: a rule for
 * each place in the order and each number of things before it, as far as that counts. */
#include "sched/schemajob.h"

#include "base/mem.h"

struct places {
    const struct chain *c;
    bool *is_alive; /* can the rest be had? */
    size_t counts;
    unsigned base;
};

static size_t clamp(const struct places *p, size_t n)
{
    return n < p->counts ? n : p->counts - 1;
}

static bool *alive(const struct places *p, size_t i, size_t n)
{
    return &p->is_alive[i * p->counts + clamp(p, n)];
}

static unsigned rule(const struct places *p, size_t i, size_t n)
{
    return p->base + (unsigned)(i * p->counts + clamp(p, n));
}

/* Others are not known to differ from each other: one alone is sure to be one more. */
static bool rest_can_end(const struct chain *c, size_t n)
{
    return n >= c->least || (c->has_rest && n + 1 == c->least && n < c->most);
}

static void find_alive(struct places *p)
{
    const struct chain *c = p->c;

    for (size_t i = c->count + 1; i-- > 0;)
        for (size_t n = p->counts; n-- > 0;)
            *alive(p, i, n) = i == c->count ? rest_can_end(c, n)
                                            : (n < c->most && *alive(p, i + 1, n + 1)) ||
                                                  (!c->at[i].is_required && *alive(p, i + 1, n));
}

static void put_rest(struct job *j, const struct places *p, size_t n)
{
    const struct chain *c = p->c;
    uint64_t least = n < c->least ? c->least - n : 0;

    if (!c->has_rest || n >= c->most) {
        buf_puts(j->out, "\"\"");
        return;
    }
    if (n == 0)
        buf_printf(j->out, least ? "r%u " : "\"\" | r%u ", c->rest);
    /* As many as there may be behind the n, and behind the first one if there was none. */
    buf_printf(j->out, "(\",\" ws r%u)", c->rest);
    if (c->most == UINT64_MAX)
        buf_printf(j->out, "{%u,}", n > 0 && least ? 1 : 0);
    else
        buf_printf(j->out, "{%u,%llu}", n > 0 && least ? 1 : 0,
                   (unsigned long long)(c->most - n - (n == 0)));
}

static void put_place(struct job *j, const struct places *p, size_t i, size_t n)
{
    const struct chain *c = p->c;
    bool may_come = n < c->most && *alive(p, i + 1, n + 1);

    if (may_come)
        buf_printf(j->out, n ? "\",\" ws r%u r%u" : "r%u r%u", c->at[i].rule,
                   rule(p, i + 1, n + 1));
    if (!c->at[i].is_required && *alive(p, i + 1, n))
        buf_printf(j->out, may_come ? " | r%u" : "r%u", rule(p, i + 1, n));
}

int schema_put_chain(struct job *j, const struct chain *c, const struct path *at, struct buf *body)
{
    /* What counts: none or some, and up to a limit. */
    uint64_t counted = c->most < UINT64_MAX && c->most <= c->count ? c->most : c->least;
    struct places p = {.c = c, .base = j->rules};

    if (c->most < UINT64_MAX && c->most > c->count && c->has_rest)
        counted = c->count > c->least ? c->count : c->least;
    p.counts = (size_t)(counted > 1 ? counted : 1) + 1;
    if ((c->count + 1) * p.counts > SCHEMA_PLACES_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, NULL,
                             "counts too many things of too many: 8192 combinations are followed");
    p.is_alive = mem_zalloc((c->count + 1) * p.counts, sizeof(*p.is_alive));
    if (!p.is_alive)
        return schema_no_memory(j);
    j->rules += (unsigned)((c->count + 1) * p.counts);
    find_alive(&p);
    for (size_t i = 0; i <= c->count && !j->out->bad; i++)
        for (size_t n = 0; n < p.counts; n++) {
            if (!*alive(&p, i, n) || n > i)
                continue;
            buf_printf(j->out, "r%u ::= ", rule(&p, i, n));
            if (i == c->count)
                put_rest(j, &p, n);
            else
                put_place(j, &p, i, n);
            buf_putc(j->out, '\n');
        }
    buf_printf(body, "r%u ", rule(&p, 0, 0));
    counted = *alive(&p, 0, 0);
    mem_free(p.is_alive);
    return counted ? 0 : schema_nothing(j, at, NULL, "has a number of things that there cannot be");
}
