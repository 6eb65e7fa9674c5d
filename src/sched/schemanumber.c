/* SPDX-License-Identifier: Apache-2.0 */
/* schemanumber.c - see schemajob.h */
#include "sched/schemajob.h"

#include "sched/decimal.h"

static int take_bound(struct job *j, const json_t *schema, const struct path *at, const char *name,
                      struct decimal_bound *bound, bool exclusive, int sign)
{
    const json_t *v = json_object_get(schema, name);
    double number = json_number_value(v);

    if (!v)
        return 0;
    if (!json_is_number(v))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, name, "is not a number");
    if (number < -DECIMAL_MAX || number > DECIMAL_MAX)
        return schema_refuse(j, LLMOS_ELIMIT, at, name,
                             "is beyond 10^15, which is the most that is counted");
    if (bound->is_set && sign * number < sign * bound->value)
        return 0;
    if (bound->is_set && number == bound->value)
        exclusive |= bound->is_exclusive;
    *bound = (struct decimal_bound){true, exclusive, number};
    return 0;
}

int schema_put_numbers(struct job *j, const json_t *schema, bool is_integer, const struct path *at,
                       struct buf *body)
{
    struct decimal_bound low = {false}, high = {false};

    if (take_bound(j, schema, at, "minimum", &low, false, 1) < 0 ||
        take_bound(j, schema, at, "exclusiveMinimum", &low, true, 1) < 0 ||
        take_bound(j, schema, at, "maximum", &high, false, -1) < 0 ||
        take_bound(j, schema, at, "exclusiveMaximum", &high, true, -1) < 0)
        return LLMOS_EUNSUPPORTED;
    if (!low.is_set && !high.is_set) {
        buf_puts(body, is_integer ? "integer " : "number ");
        return 0;
    }
    if (!is_integer && !(decimal_is_whole(low) && decimal_is_whole(high)))
        return schema_refuse(j, LLMOS_EUNSUPPORTED, at, low.is_set ? "minimum" : "maximum",
                             "of a number is supported where it is a whole one");
    if (!decimal_put(body, low, high, is_integer))
        return schema_refuse(j, LLMOS_EINVAL, at, low.is_set ? "minimum" : "maximum",
                             "leaves no number that is possible");
    return 0;
}
