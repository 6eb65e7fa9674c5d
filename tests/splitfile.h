/* SPDX-License-Identifier: Apache-2.0 */
/* splitfile.h - a model file written in parts, with the keys that llama.cpp's gguf-split gives
 * them, or with others. */
#ifndef TESTS_SPLITFILE_H
#define TESTS_SPLITFILE_H

#include "model/ggufwrite.h"

#include <stdio.h>

/* What a part says of itself. */
struct splitfile_keys {
    uint64_t no, count;
    int64_t tensors;   /* in all parts; -1: it does not say */
    bool has_values;   /* the model's own */
    const char *other; /* architecture; NULL: it does not say */
};

/* The tensors of part i of n are those from here on, to where the next part begins. */
static inline size_t splitfile_begin(const struct gguf *g, unsigned i, unsigned n)
{
    return g->tensor_count * i / n;
}

static inline struct splitfile_keys splitfile_keys(const struct gguf *g, unsigned i, unsigned n)
{
    return (struct splitfile_keys){i, n, (int64_t)g->tensor_count, i == 0, NULL};
}

/* Tensors [from, to) of a model; 0 or an error. */
static inline int splitfile_write(int fd, const struct gguf *g, const struct splitfile_keys *keys,
                                  size_t from, size_t to)
{
    struct ggufwrite w;
    int rc;

    ggufwrite_init(&w, fd);
    for (size_t i = 0; keys->has_values && i < g->value_count; i++)
        ggufwrite_value(&w, &g->values[i]);
    if (keys->other)
        ggufwrite_str(&w, "general.architecture", str_of(keys->other));
    ggufwrite_value(&w,
                    &(struct gguf_value){.key = STR("split.no"), .type = GGUF_U16, .u = keys->no});
    ggufwrite_value(
        &w, &(struct gguf_value){.key = STR("split.count"), .type = GGUF_U16, .u = keys->count});
    if (keys->tensors >= 0)
        ggufwrite_value(&w, &(struct gguf_value){.key = STR("split.tensors.count"),
                                                 .type = GGUF_I32,
                                                 .i = keys->tensors});
    for (size_t i = from; i < to; i++) {
        const struct gguf_tensor *t = &g->tensors[i];
        uint64_t shape[TENSOR_DIMS_MAX];
        char name[256];

        snprintf(name, sizeof(name), "%.*s", STR_ARG(t->name));
        for (unsigned d = 0; d < TENSOR_DIMS_MAX; d++)
            shape[d] = t->t.shape[d];
        ggufwrite_tensor(&w, name, t->t.type, shape, t->t.n_dims);
    }
    rc = ggufwrite_begin(&w, NULL);
    for (size_t i = from; rc == 0 && i < to; i++)
        rc = ggufwrite_blocks(&w, g->tensors[i].t.data, (size_t)g->tensors[i].bytes, NULL);
    if (rc == 0)
        rc = ggufwrite_end(&w, NULL);
    ggufwrite_fini(&w);
    return rc;
}

#endif
