/* SPDX-License-Identifier: Apache-2.0 */
/* jinja_rowfilter.c - see jinja_rowfilter.h */
#include "model/jinja_rowfilter.h"

#include "model/jinja_text.h"

/* ---- what filters look at ---- */

/* One step of "a.b.0": a number is a place in a list. */
static struct jinja_value step_into(struct jinja_store *s, struct jinja_value v,
                                    struct jinja_str name)
{
    int64_t i = 0;
    bool is_number = name.len > 0 && name.len < 10;

    for (size_t k = 0; k < name.len && is_number; k++) {
        is_number = name.at[k] >= '0' && name.at[k] <= '9';
        i = i * 10 + (name.at[k] - '0');
    }
    return jinja_item(s, v, is_number ? JINJA_NUMBER(i) : jinja_string(s, name));
}

/* What `attribute` (a path, a number, or undefined: the item itself) says of an item. */
static struct jinja_value look_into(struct jinja_store *s, struct jinja_value item,
                                    struct jinja_value attribute)
{
    struct jinja_str path, dot = JINJA_STR(".");
    size_t at;

    if (attribute.kind == JINJA_UNDEFINED || attribute.kind == JINJA_NONE)
        return item;
    if (attribute.kind != JINJA_STRING)
        return jinja_item(s, item, attribute);
    path = *attribute.s;
    while ((at = jinja_find(path, dot, 0)) != TEXT_NOT_FOUND && s->rc == 0) {
        item = step_into(s, item, jinja_part(path, 0, at));
        path = jinja_part(path, at + 1, path.len);
    }
    return step_into(s, item, path);
}

/* Strings are compared in lower case unless told otherwise. */
static struct jinja_value folded(struct jinja_store *s, struct jinja_value v, bool case_sensitive)
{
    return v.kind == JINJA_STRING && !case_sensitive ? jinja_in_case(s, *v.s, CASE_LOWER) : v;
}

/* ---- order ---- */

struct sortable {
    struct jinja_value key, value;
};

/* Merges the sorted halves of at; equal ones stay in their order. */
static void merge(struct jinja_store *s, struct sortable *at, struct sortable *work, size_t half,
                  size_t count, bool reverse)
{
    size_t i = 0, k = half, n = 0;

    memcpy(work, at, count * sizeof(*at));
    while (i < half || k < count) {
        bool right = i == half;

        if (i < half && k < count) {
            int order = jinja_compare(s, work[k].key, work[i].key);

            right = reverse ? order > 0 : order < 0;
        }
        at[n++] = right ? work[k++] : work[i++];
    }
}

static void merge_sort(struct jinja_store *s, struct sortable *at, struct sortable *work,
                       size_t count, bool reverse)
{
    for (size_t half = 1; half < count && s->rc == 0; half *= 2)
        for (size_t i = 0; i + half < count && s->rc == 0; i += 2 * half)
            merge(s, at + i, work, half, count - i < 2 * half ? count - i : 2 * half, reverse);
}

/* The keys of the items: several attributes, parted by commas, make a list. */
static struct jinja_value sort_key(struct jinja_store *s, struct jinja_value item,
                                   struct jinja_value attribute, bool case_sensitive)
{
    struct jinja_value parts, key;

    if (attribute.kind != JINJA_STRING ||
        jinja_find(*attribute.s, JINJA_STR(","), 0) == TEXT_NOT_FOUND)
        return folded(s, look_into(s, item, attribute), case_sensitive);
    parts = jinja_split(s, *attribute.s, &JINJA_STR(","), -1);
    key = jinja_list(s, ROW_LIST, 0);
    for (size_t i = 0; s->rc == 0 && i < parts.list->count; i++)
        jinja_append(s, key, folded(s, look_into(s, item, parts.list->at[i]), case_sensitive));
    return key;
}

static struct jinja_value sorted(struct jinja_store *s, const struct jinja_list *list,
                                 struct jinja_value attribute, bool case_sensitive, bool reverse)
{
    size_t n = list ? list->count : 0;
    struct sortable *at = jinja_alloc(s, n + 1, sizeof(*at));
    struct sortable *work = jinja_alloc(s, n + 1, sizeof(*at));
    struct jinja_value out = jinja_list(s, ROW_LIST, n);

    for (size_t i = 0; i < n && s->rc == 0; i++)
        at[i] = (struct sortable){sort_key(s, list->at[i], attribute, case_sensitive), list->at[i]};
    if (s->rc < 0)
        return JINJA_NOTHING;
    merge_sort(s, at, work, n, reverse);
    for (size_t i = 0; i < n; i++)
        jinja_append(s, out, at[i].value);
    return out;
}

JINJA_FILTER(sort)
{
    bool reverse = jinja_arg_true(s, a, 0, "reverse", false);
    bool case_sensitive = jinja_arg_true(s, a, 1, "case_sensitive", false);

    return sorted(s, jinja_iterate(s, self), jinja_arg(s, a, 2, "attribute"), case_sensitive,
                  reverse);
}

static struct jinja_value pairs_of(struct jinja_store *s, struct jinja_value dict,
                                   enum jinja_row row)
{
    struct jinja_value out = jinja_list(s, row, dict.dict->count);

    for (size_t i = 0; i < dict.dict->count && jinja_work(s, 0); i++)
        jinja_append(s, out, jinja_pair(s, dict.dict->at[i].key, dict.dict->at[i].value));
    return out;
}

JINJA_FILTER(dictsort)
{
    bool case_sensitive = jinja_arg_true(s, a, 0, "case_sensitive", false);
    struct jinja_str by = jinja_arg_text(s, a, 1, "by", "key");
    bool reverse = jinja_arg_true(s, a, 2, "reverse", false);
    bool by_value = by.len == 5 && memcmp(by.at, "value", 5) == 0;
    struct jinja_value pairs;

    if (self.kind != JINJA_DICT)
        return jinja_fail(s, LLMOS_EINVAL, "dictsort needs a dict, not a %s", jinja_type(self));
    pairs = pairs_of(s, self, ROW_LIST);
    return s->rc < 0 ? JINJA_NOTHING
                     : sorted(s, pairs.list, JINJA_NUMBER(by_value), case_sensitive, reverse);
}

/* min and max */
static struct jinja_value extreme(struct jinja_store *s, struct jinja_value self,
                                  struct jinja_args *a, int sign)
{
    bool case_sensitive = jinja_arg_true(s, a, 0, "case_sensitive", false);
    struct jinja_value attribute = jinja_arg(s, a, 1, "attribute"), best = JINJA_NOTHING, key, low;
    struct jinja_list *list = jinja_iterate(s, self);

    for (size_t i = 0; list && i < list->count && s->rc == 0; i++) {
        key = folded(s, look_into(s, list->at[i], attribute), case_sensitive);
        if (i > 0 && jinja_compare(s, key, low) * sign <= 0)
            continue;
        low = key;
        best = list->at[i];
    }
    return best;
}

JINJA_FILTER(min)
{
    return extreme(s, self, a, -1);
}

JINJA_FILTER(max)
{
    return extreme(s, self, a, 1);
}

JINJA_FILTER(unique)
{
    bool case_sensitive = jinja_arg_true(s, a, 0, "case_sensitive", false);
    struct jinja_value attribute = jinja_arg(s, a, 1, "attribute");
    struct jinja_value seen = jinja_dict(s), out = jinja_list(s, ROW_GENERATOR, 0);
    struct jinja_list *list = jinja_iterate(s, self);

    for (size_t i = 0; list && i < list->count && s->rc == 0; i++) {
        struct jinja_value key = folded(s, look_into(s, list->at[i], attribute), case_sensitive);

        if (s->rc == 0 && jinja_get(s, seen, key))
            continue;
        jinja_set(s, seen, key, JINJA_NIL);
        jinja_append(s, out, list->at[i]);
    }
    return out;
}

JINJA_FILTER(groupby)
{
    struct jinja_value attribute = jinja_arg(s, a, 0, "attribute");
    struct jinja_value otherwise = jinja_arg(s, a, 1, "default");
    bool case_sensitive = jinja_arg_true(s, a, 2, "case_sensitive", false);
    struct jinja_value all = sorted(s, jinja_iterate(s, self), attribute, case_sensitive, false);
    struct jinja_value out = jinja_list(s, ROW_LIST, 0), group = JINJA_NOTHING,
                       last = JINJA_NOTHING;

    for (size_t i = 0; s->rc == 0 && i < all.list->count; i++) {
        struct jinja_value name = look_into(s, all.list->at[i], attribute), key;

        if (name.kind == JINJA_UNDEFINED)
            name = otherwise;
        key = folded(s, name, case_sensitive);
        if (i == 0 || !jinja_equal(s, key, last)) {
            group = jinja_list(s, ROW_LIST, 0);
            jinja_append(s, out, jinja_pair(s, name, group));
        }
        jinja_append(s, group, all.list->at[i]);
        last = key;
    }
    return out;
}

/* ---- choosing ---- */

/* The arguments behind the first `taken` ones. */
static struct jinja_args rest_of(const struct jinja_args *a, size_t taken)
{
    struct jinja_args rest = *a;

    if (taken >= a->count) {
        rest.at = NULL;
        rest.count = 0;
        return rest;
    }
    rest.at += taken;
    rest.count -= taken;
    return rest;
}

static struct str name_of(struct jinja_value v)
{
    return v.kind == JINJA_STRING ? (struct str){v.s->at, v.s->len} : STR("");
}

static struct jinja_value choose(struct jinja_store *s, struct jinja_value self,
                                 struct jinja_args *a, bool by_attribute, bool wanted)
{
    struct jinja_value out = jinja_list(s, ROW_GENERATOR, 0);
    size_t test_at = by_attribute ? 1 : 0;
    struct jinja_value attribute = by_attribute ? jinja_arg(s, a, 0, "attribute") : JINJA_NOTHING;
    const struct jinja_function *test = NULL;
    struct jinja_list *list;

    if (by_attribute && a->count == 0)
        return jinja_fail(s, LLMOS_EINVAL, "the name of an attribute is missing");
    if (!jinja_true(self))
        return out;
    list = jinja_iterate(s, self);
    if (a->count > test_at) {
        test = jinja_test(name_of(a->at[test_at]));
        if (!test)
            return jinja_fail(s, LLMOS_EUNSUPPORTED, "there is no test '%.*s'",
                              STR_ARG(name_of(a->at[test_at])));
    }
    for (size_t i = 0; list && i < list->count && jinja_work(s, 0); i++) {
        struct jinja_value v = look_into(s, list->at[i], attribute);
        struct jinja_args rest = rest_of(a, test_at + 1);

        if (test)
            v = jinja_call(s, test, v, &rest);
        if (s->rc == 0 && jinja_true(v) == wanted)
            jinja_append(s, out, list->at[i]);
    }
    return out;
}

JINJA_FILTER(select)
{
    return choose(s, self, a, false, true);
}

JINJA_FILTER(reject)
{
    return choose(s, self, a, false, false);
}

JINJA_FILTER(selectattr)
{
    return choose(s, self, a, true, true);
}

JINJA_FILTER(rejectattr)
{
    return choose(s, self, a, true, false);
}

JINJA_FILTER(map)
{
    struct jinja_value out = jinja_list(s, ROW_GENERATOR, 0), attribute = JINJA_NOTHING;
    struct jinja_value otherwise = JINJA_NOTHING;
    const struct jinja_function *filter = NULL;
    struct jinja_list *list;

    if (!jinja_true(self))
        return out;
    if (a->count > 0) {
        filter = jinja_filter(name_of(a->at[0]));
        if (!filter)
            return jinja_fail(s, LLMOS_EUNSUPPORTED, "there is no filter '%.*s'",
                              STR_ARG(name_of(a->at[0])));
    } else {
        attribute = jinja_arg(s, a, 0, "attribute");
        otherwise = jinja_arg(s, a, 1, "default");
        if (attribute.kind == JINJA_UNDEFINED)
            return jinja_fail(s, LLMOS_EINVAL, "map needs a filter or an attribute");
    }
    list = jinja_iterate(s, self);
    for (size_t i = 0; list && i < list->count && jinja_work(s, 0); i++) {
        struct jinja_args rest = rest_of(a, 1);
        struct jinja_value v = filter ? jinja_call(s, filter, list->at[i], &rest)
                                      : look_into(s, list->at[i], attribute);

        jinja_append(s, out, v.kind == JINJA_UNDEFINED ? otherwise : v);
    }
    return out;
}

/* ---- rows as wholes ---- */

JINJA_FILTER(list)
{
    struct jinja_list *list = jinja_iterate(s, self);
    struct jinja_value out = jinja_list(s, ROW_LIST, list ? list->count : 0);

    (void)a;
    if (list && !jinja_work(s, list->count * 16))
        return JINJA_NOTHING;
    for (size_t i = 0; list && i < list->count && s->rc == 0; i++)
        jinja_append(s, out, list->at[i]);
    return out;
}

JINJA_FILTER(first)
{
    struct jinja_value v = JINJA_NOTHING;
    struct jinja_list *list;

    (void)a;
    if (self.kind == JINJA_STRING)
        return jinja_item(s, self, JINJA_NUMBER(0));
    if (self.kind != JINJA_LIST || self.list->row != ROW_GENERATOR) {
        list = jinja_iterate(s, self);
        return list && list->count ? list->at[0] : v;
    }
    list = self.list; /* a generator loses what is taken */
    if (list->count == 0)
        return v;
    v = list->at[0];
    list->at++;
    list->count--;
    list->room--;
    return v;
}

JINJA_FILTER(last)
{
    struct jinja_list *list;

    (void)a;
    if (self.kind == JINJA_STRING)
        return jinja_item(s, self, JINJA_NUMBER(-1));
    if (self.kind == JINJA_UNDEFINED ||
        (self.kind == JINJA_LIST && self.list->row == ROW_GENERATOR))
        return jinja_fail(s, LLMOS_EINVAL, "a %s has no last item", jinja_type(self));
    list = jinja_iterate(s, self);
    return list && list->count ? list->at[list->count - 1] : JINJA_NOTHING;
}

/* A generator of the items; of a string, a string. */
JINJA_FILTER(reverse)
{
    struct jinja_list *list = jinja_iterate(s, self);
    struct jinja_value out = jinja_list(s, ROW_GENERATOR, list ? list->count : 0);
    struct jinja_build b;

    (void)a;
    if (self.kind != JINJA_STRING) {
        for (size_t i = list ? list->count : 0; i-- > 0 && s->rc == 0;)
            jinja_append(s, out, list->at[i]);
        return out;
    }
    jinja_build_init(&b, s);
    for (size_t i = list ? list->count : 0; i-- > 0 && s->rc == 0;)
        jinja_put(&b, *list->at[i].s);
    return jinja_built(&b);
}

JINJA_FILTER(items)
{
    (void)a;
    if (self.kind == JINJA_UNDEFINED)
        return jinja_list(s, ROW_GENERATOR, 0);
    if (self.kind != JINJA_DICT)
        return jinja_fail(s, LLMOS_EINVAL, "items needs a dict, not a %s", jinja_type(self));
    return pairs_of(s, self, ROW_GENERATOR);
}

JINJA_FILTER(join)
{
    struct jinja_str separator = jinja_arg_text(s, a, 0, "d", "");
    struct jinja_value attribute = jinja_arg(s, a, 1, "attribute");
    struct jinja_list *list = jinja_iterate(s, self);
    struct jinja_build b;

    jinja_build_init(&b, s);
    for (size_t i = 0; list && i < list->count && s->rc == 0; i++) {
        if (i)
            jinja_put(&b, separator);
        jinja_put_str(&b, look_into(s, list->at[i], attribute));
    }
    return jinja_built(&b);
}

JINJA_FILTER(sum)
{
    struct jinja_value attribute = jinja_arg(s, a, 0, "attribute"), v = jinja_arg(s, a, 1, "start");
    struct jinja_list *list = jinja_iterate(s, self);

    if (v.kind == JINJA_UNDEFINED)
        v = JINJA_NUMBER(0);
    for (size_t i = 0; list && i < list->count && s->rc == 0; i++)
        v = jinja_binary(s, '+', v, look_into(s, list->at[i], attribute));
    return v;
}

JINJA_FILTER(batch)
{
    int64_t size = jinja_arg_int(s, a, 0, "linecount", 0);
    struct jinja_value fill = jinja_arg(s, a, 1, "fill_with"), row = JINJA_NOTHING;
    struct jinja_value out = jinja_list(s, ROW_GENERATOR, 0);
    struct jinja_list *list = jinja_iterate(s, self);

    for (size_t i = 0; list && i < list->count && s->rc == 0; i++) {
        if (i == 0 || (int64_t)row.list->count == size) {
            row = jinja_list(s, ROW_LIST, 0);
            jinja_append(s, out, row);
        }
        jinja_append(s, row, list->at[i]);
    }
    if (row.kind == JINJA_LIST && fill.kind != JINJA_UNDEFINED && fill.kind != JINJA_NONE)
        while ((int64_t)row.list->count < size && jinja_work(s, 0))
            jinja_append(s, row, fill);
    return out;
}

/* As many rows as asked for, the first ones longer where it does not come out even. */
JINJA_FILTER(slice)
{
    int64_t rows = jinja_arg_int(s, a, 0, "slices", 1), at = 0;
    struct jinja_value fill = jinja_arg(s, a, 1, "fill_with");
    struct jinja_value out = jinja_list(s, ROW_GENERATOR, 0);
    struct jinja_list *list = jinja_iterate(s, self);

    if (rows < 1)
        return jinja_fail(s, LLMOS_EINVAL, "slice needs at least one row");
    for (int64_t i = 0; list && i < rows && jinja_work(s, 0); i++) {
        int64_t each = (int64_t)list->count / rows, longer = (int64_t)list->count % rows;
        struct jinja_value row = jinja_list(s, ROW_LIST, 0);

        for (int64_t k = each + (i < longer); k > 0; k--)
            jinja_append(s, row, list->at[at++]);
        if (fill.kind != JINJA_UNDEFINED && fill.kind != JINJA_NONE && i >= longer)
            jinja_append(s, row, fill);
        jinja_append(s, out, row);
    }
    return out;
}
