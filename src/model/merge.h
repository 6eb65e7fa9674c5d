/* SPDX-License-Identifier: Apache-2.0 */
/* merge.h - byte pair merging: of all neighbours that may be joined the best pair is, until none is
 * left (Sennrich, Haddow and Birch 2016).
 *
 * What may be joined, and how good that is, the caller says.  A heap of pairs and a list of
 * symbols: n log n for a text of n symbols.  One thread at a time; the memory is kept for the next
 * text. */
#ifndef MODEL_MERGE_H
#define MODEL_MERGE_H

#include "base/str.h"

#include <stdint.h>

#define MERGE_NONE UINT32_MAX

/* A run of the text that is one piece so far; merged ones form a list. */
struct symbol {
    uint32_t at, len; /* len 0: merged into the one on its left */
    uint32_t previous, next;
    int32_t id; /* its token, -1: it is none */
};

struct merging;

/* Two neighbours that may be merged.  Stale if they no longer are `len` bytes together: symbols
 * only grow. */
struct pair {
    float score; /* higher is better; of equals the leftmost */
    uint32_t left, right, len;
    int32_t id; /* what they become */
};

/* Fills score and id of what a and b, neighbours, would become; false: they are not joined. */
typedef bool (*merge_join)(const struct merging *m, const struct symbol *a, const struct symbol *b,
                           struct pair *pair);

struct merging {
    merge_join join;
    const void *with; /* for join */
    const char *text;
    struct symbol *symbols;
    size_t symbol_count, symbol_room;
    struct pair *heap; /* the best on top */
    size_t heap_count, heap_room;
    bool no_memory;
};

void merge_fini(struct merging *m);

/* Room for the symbols of a text of so many bytes; -1: no memory. */
int merge_begin(struct merging *m, struct str text);
/* The next `bytes` of the text are a symbol. */
void merge_add(struct merging *m, size_t bytes, int32_t id);
/* Merges; what is left are symbols[0] and those behind it by `next`.  -1: no memory. */
int merge_run(struct merging *m);

#endif
