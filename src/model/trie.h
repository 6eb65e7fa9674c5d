/* SPDX-License-Identifier: Apache-2.0 */
/* trie.h - which pieces a text begins with, found byte by byte.
 *
 * Made once, in an arena; read-only then: any thread. */
#ifndef MODEL_TRIE_H
#define MODEL_TRIE_H

#include "base/arena.h"
#include "base/str.h"

#include <stdint.h>

#define TRIE_ROOT      0
#define TRIE_NODES_MAX (1u << 24) /* a node and a byte are one number of 32 bits */

struct trie_edge {
    uint32_t from;  /* node << 8 | byte */
    uint32_t child; /* 0: free */
};

/* Add to a zeroed struct, then keep. */
struct trie {
    struct trie_edge *edges; /* a hash table; slots are a power of two */
    int32_t *values;         /* per node, -1: no piece ends here */
    uint32_t edge_mask, node_count, node_room;
};

/* 0, or -1: no memory or too many nodes.  The later of two equal pieces counts. */
int trie_add(struct trie *t, struct str piece, int32_t value);
/* Moves what was added to the arena; 0, or -1: no memory.  Either way nothing is left to free but
 * the arena. */
int trie_keep(struct trie *t, struct arena *arena);
void trie_drop(struct trie *t); /* instead of keeping it */

/* The node behind `node` by this byte; 0: there is none. */
static inline uint32_t trie_next(const struct trie *t, uint32_t node, unsigned char byte)
{
    uint32_t from = node << 8 | byte, i = (from * 0x9e3779b1u >> 7) & t->edge_mask;

    while (t->edges[i].child && t->edges[i].from != from)
        i = (i + 1) & t->edge_mask;
    return t->edges[i].child;
}

#endif
