/* SPDX-License-Identifier: Apache-2.0 */
/* hfsource.c - see hfsource.h */
#include "model/hfsource.h"

#include "model/hfmethod.h"
#include "model/sortindex.h"

static bool source_before(const void *table, uint32_t a, uint32_t b)
{
    const struct hfsource *s = table;

    return str_before(s[a].name, s[b].name);
}

static int sort_sources(struct hfsources *s, const struct hfsource *unsorted, struct arena *arena,
                        struct llmos_error *err)
{
    uint32_t *order = arena_array(arena, uint32_t, s->count);

    if (!order)
        return fail(err, LLMOS_ENOMEM, "no memory for the list of tensors");
    for (uint32_t i = 0; i < s->count; i++)
        order[i] = i;
    sortindex(order, s->count, source_before, unsorted);
    for (uint32_t i = 0; i < s->count; i++) {
        s->at[i] = unsorted[order[i]];
        if (i > 0 && str_eq(s->at[i - 1].name, s->at[i].name))
            return fail(err, LLMOS_EFORMAT, "tensor '%.*s' is there quantised and as it is",
                        STR_ARG(s->at[i].name));
    }
    return 0;
}

static struct hfsource plain(const struct safetensors_tensor *t)
{
    struct hfsource s = {.name = t->name, .n_dims = t->n_dims, .values = t->values, .tensor = t};

    memcpy(s.shape, t->shape, sizeof(s.shape));
    return s;
}

int hfsources_read(struct hfsources *s, const struct hffolder *f, struct arena *arena,
                   struct llmos_error *err)
{
    struct hfsource *unsorted = arena_array(arena, struct hfsource, f->tensor_count);
    struct hfmethod method;
    int rc;

    *s = (struct hfsources){arena_array(arena, struct hfsource, f->tensor_count), 0};
    if (!s->at || !unsorted)
        return fail(err, LLMOS_ENOMEM, "no memory for the list of tensors");
    rc = hfmethod_init(&method, f, arena, err);
    for (uint32_t i = 0; i < f->tensor_count && rc >= 0; i++) {
        rc = hfmethod_open(&method, i, &unsorted[s->count]);
        s->count += rc > 0;
    }
    for (uint32_t i = 0; i < f->tensor_count && rc >= 0; i++) {
        rc = hfmethod_takes(&method, i);
        if (rc == 0)
            unsorted[s->count++] = plain(f->tensors[i]);
    }
    return rc < 0 ? rc : sort_sources(s, unsorted, arena, err);
}

const struct hfsource *hfsources_find(const struct hfsources *s, const char *name)
{
    struct str wanted = str_of(name);
    uint32_t low = 0, high = s->count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (str_before(s->at[middle].name, wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->count && str_eq(s->at[low].name, wanted) ? &s->at[low] : NULL;
}
