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
    else if (!items && !t->first)
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
        return schema_refuse(j, LLMOS_EINVAL, at, "minItems",
                             "is more than the items that there may be");
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

int schema_put_arrays(struct job *j, const json_t *schema, const struct path *at, struct buf *body)
{
    struct items t;
    int rc = take_items(j, schema, at, &t);

    if (rc < 0)
        return rc;
    if (json_is_true(t.rest) && !t.first && t.least == 0 && t.most == UINT64_MAX) {
        buf_puts(body, "array ");
        return 0;
    }
    buf_puts(body, "\"[\" ws ");
    rc = put_items_from(j, &t, 0, at, body);
    buf_puts(body, "ws \"]\" ");
    return rc;
}
