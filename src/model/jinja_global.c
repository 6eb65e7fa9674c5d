/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_global.c - the functions that every chat template finds: Jinja's own, and the two that
 * transformers adds. */
#include "model/jinja_call.h"
#include "model/jinja_date.h"
#include "model/jinja_text.h"

#define RANGE_MAX 100000 /* as Jinja's sandbox has it */

#define GLOBAL(name)                                                                        \
    static struct jinja_value global_##name(struct jinja_store *s, struct jinja_value self, \
                                            struct jinja_args *a)

static int64_t items_between(int64_t from, int64_t to, int64_t step)
{
    uint64_t distance = step > 0 ? (uint64_t)to - (uint64_t)from : (uint64_t)from - (uint64_t)to;
    uint64_t stride = step > 0 ? (uint64_t)step : 0 - (uint64_t)step;

    if (step > 0 ? to <= from : to >= from)
        return 0;
    distance = (distance - 1) / stride;
    return distance < RANGE_MAX ? (int64_t)distance + 1 : RANGE_MAX + 1;
}

GLOBAL(range)
{
    int64_t from = jinja_arg_int(s, a, 0, "start", 0), to = jinja_arg_int(s, a, 1, "stop", from);
    int64_t step = jinja_arg_int(s, a, 2, "step", 1), n;
    struct jinja_value out;

    (void)self;
    for (size_t i = 0; i < a->count; i++)
        if (!jinja_defined(s, a->at[i]))
            return JINJA_NOTHING;
    if (a->count == 0 || step == 0)
        return jinja_fail(s, LLMOS_EINVAL, "range needs an end, and a step that is not 0");
    if (a->count == 1)
        from = 0;
    n = items_between(from, to, step);
    if (n > RANGE_MAX)
        return jinja_fail(s, LLMOS_ELIMIT, "a range of more than %d", RANGE_MAX);
    if (!jinja_work(s, (size_t)n * 16))
        return JINJA_NOTHING;
    out = jinja_list(s, ROW_RANGE, (size_t)n);
    for (int64_t i = 0; i < n && s->rc == 0; i++)
        jinja_append(s, out, JINJA_NUMBER((uint64_t)from + (uint64_t)i * (uint64_t)step));
    return out;
}

/* Entries of a dict or pairs, then the named arguments. */
GLOBAL(dict)
{
    struct jinja_value out = jinja_dict(s), from = jinja_arg(s, a, 0, "");
    struct jinja_list *list =
        from.kind == JINJA_UNDEFINED || from.kind == JINJA_DICT ? NULL : jinja_iterate(s, from);

    (void)self;
    for (size_t i = 0; from.kind == JINJA_DICT && i < from.dict->count; i++)
        jinja_set(s, out, from.dict->at[i].key, from.dict->at[i].value);
    for (size_t i = 0; list && i < list->count && s->rc == 0; i++) {
        struct jinja_list *pair = jinja_iterate(s, list->at[i]);

        if (!pair || pair->count != 2)
            return jinja_fail(s, LLMOS_EINVAL, "dict needs pairs");
        jinja_set(s, out, pair->at[0], pair->at[1]);
    }
    for (size_t i = 0; a->named.kind == JINJA_DICT && i < a->named.dict->count; i++)
        jinja_set(s, out, a->named.dict->at[i].key, a->named.dict->at[i].value);
    return out;
}

GLOBAL(namespace)
{
    struct jinja_value out = global_dict(s, self, a);

    if (out.kind == JINJA_DICT)
        out.kind = JINJA_NAMESPACE;
    return out;
}

/* Nothing at first, then the separator. */
GLOBAL(joined)
{
    struct jinja_list *used = self.list;

    (void)s;
    (void)a;
    if (used->count > 1)
        return used->at[0];
    used->at[used->count++] = JINJA_TRUTH(true);
    return jinja_copy(s, STR(""), false);
}

static const struct jinja_function joined = {"joiner", global_joined, 0, false};

GLOBAL(joiner)
{
    struct jinja_value used = jinja_list(s, ROW_LIST, 2);

    (void)self;
    jinja_append(s, used, jinja_string(s, jinja_arg_text(s, a, 0, "sep", ", ")));
    return s->rc < 0 ? JINJA_NOTHING : jinja_bind(s, &joined, used);
}

GLOBAL(raise_exception)
{
    struct jinja_str why = jinja_arg_text(s, a, 0, "message", "");

    (void)self;
    return jinja_fail(s, LLMOS_EINVAL, "%.*s", (int)(why.len < 200 ? why.len : 200), why.at);
}

#define DATE_BYTES_MAX 1024

GLOBAL(strftime_now)
{
    struct jinja_str format = jinja_arg_text(s, a, 0, "format", "");
    struct jinja_value v;
    struct buf text;

    (void)self;
    if (format.len > DATE_BYTES_MAX / 8)
        return jinja_fail(s, LLMOS_ELIMIT, "a format of time of more than %d bytes",
                          DATE_BYTES_MAX / 8);
    buf_init(&text, DATE_BYTES_MAX * 8);
    jinja_date_put(&text, (struct str){format.at, format.len}, &s->now);
    if (buf_check(&text, "a time", NULL) < 0)
        jinja_fail(s, LLMOS_ENOMEM, "no memory to tell the time");
    v = jinja_copy(s, buf_str(&text), format.said != NULL);
    buf_fini(&text);
    return v;
}

static const struct jinja_function globals[] = {
    JINJA_ROW(global, range, 3),
    {"dict", global_dict, 1, true},
    {"namespace", global_namespace, 1, true},
    JINJA_ROW(global, joiner, 1),
    JINJA_ROW(global, raise_exception, 1),
    JINJA_ROW(global, strftime_now, 1),
};

const struct jinja_function *jinja_global(struct str name)
{
    return jinja_find_function(globals, sizeof(globals) / sizeof(globals[0]), name);
}
