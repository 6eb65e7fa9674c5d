/* SPDX-License-Identifier: Apache-2.0 */
/* trie.c - see trie.h */
#include "model/trie.h"

#include "base/mem.h"

static struct trie_edge *find_edge(struct trie_edge *edges, uint32_t mask, uint32_t from)
{
    uint32_t i = (from * 0x9e3779b1u >> 7) & mask;

    while (edges[i].child && edges[i].from != from)
        i = (i + 1) & mask;
    return &edges[i];
}

/* Twice as many nodes, and twice as many edges as nodes. */
static int grow(struct trie *t)
{
    uint32_t room = t->node_room ? 2 * t->node_room : 256, slots = 2 * room;
    int32_t *values;
    struct trie_edge *edges;

    if (room > TRIE_NODES_MAX)
        return -1;
    values = mem_resize(t->values, room, sizeof(*values));
    if (!values)
        return -1;
    t->values = values;
    edges = mem_zalloc(slots, sizeof(*edges));
    if (!edges)
        return -1;
    for (uint32_t i = 0; t->edges && i <= t->edge_mask; i++)
        if (t->edges[i].child)
            *find_edge(edges, slots - 1, t->edges[i].from) = t->edges[i];
    mem_free(t->edges);
    t->edges = edges;
    t->edge_mask = slots - 1;
    t->node_room = room;
    if (t->node_count == 0)
        t->values[t->node_count++] = -1;
    return 0;
}

int trie_add(struct trie *t, struct str piece, int32_t value)
{
    uint32_t node = TRIE_ROOT;

    for (size_t i = 0; i < piece.len; i++) {
        uint32_t from = node << 8 | (unsigned char)piece.at[i];
        struct trie_edge *edge;

        if (t->node_count == t->node_room && grow(t) < 0)
            return -1;
        edge = find_edge(t->edges, t->edge_mask, from);
        if (!edge->child) {
            *edge = (struct trie_edge){from, t->node_count};
            t->values[t->node_count++] = -1;
        }
        node = edge->child;
    }
    if (piece.len)
        t->values[node] = value;
    return 0;
}

int trie_keep(struct trie *t, struct arena *arena)
{
    struct trie kept = *t;
    size_t slots;

    if (t->node_count == 0 && grow(t) < 0) {
        trie_drop(t);
        return -1;
    }
    kept = *t;
    slots = (size_t)t->edge_mask + 1;
    kept.edges = arena_array(arena, struct trie_edge, slots);
    kept.values = arena_array(arena, int32_t, t->node_count);
    if (kept.edges && kept.values) {
        memcpy(kept.edges, t->edges, slots * sizeof(*kept.edges));
        memcpy(kept.values, t->values, t->node_count * sizeof(*kept.values));
    }
    trie_drop(t);
    *t = kept;
    return kept.edges && kept.values ? 0 : -1;
}

void trie_drop(struct trie *t)
{
    mem_free(t->edges);
    mem_free(t->values);
    *t = (struct trie){0};
}
