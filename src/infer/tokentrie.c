/* SPDX-License-Identifier: Apache-2.0 */
/* tokentrie.c - see tokentrie.h */
#include "infer/tokentrie.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "model/sortindex.h"

static bool comes_before(const void *table, uint32_t a, uint32_t b)
{
    const struct str *pieces = table;
    size_t both = pieces[a].len < pieces[b].len ? pieces[a].len : pieces[b].len;
    int order = both ? memcmp(pieces[a].at, pieces[b].at, both) : 0;

    if (order != 0)
        return order < 0;
    return pieces[a].len != pieces[b].len ? pieces[a].len < pieces[b].len : a < b;
}

static size_t shared_bytes(struct str a, struct str b)
{
    size_t n = 0;

    while (n < a.len && n < b.len && a.at[n] == b.at[n])
        n++;
    return n;
}

/* Pieces in their order, each with what it does not share with the one before. */
static uint32_t count_nodes(const struct tokentrie *t, const uint32_t *index)
{
    uint64_t n = 0;
    struct str before = STR("");

    for (uint32_t i = 0; i < t->token_count; i++) {
        struct str piece = t->pieces[index[i]];

        n += piece.len - shared_bytes(before, piece);
        before = piece;
    }
    return n < TOKENTRIE_NONE ? (uint32_t)n : TOKENTRIE_NONE;
}

static void fill_nodes(struct tokentrie *t, const uint32_t *index)
{
    uint32_t open[TOKENTRIE_PIECE_MAX], n = 0; /* the nodes on the way to the last one */
    size_t depth = 0;
    struct str before = STR("");

    for (uint32_t i = 0; i < t->token_count; i++) {
        uint32_t token = index[i];
        struct str piece = t->pieces[token];
        size_t shared = shared_bytes(before, piece);

        t->same[token] = TOKENTRIE_NONE;
        if (piece.len == 0)
            continue;
        while (depth > shared)
            t->nodes[open[--depth]].end = n;
        for (; depth < piece.len; depth++) {
            open[depth] = n;
            t->nodes[n++] = (struct tokentrie_node){.token = TOKENTRIE_NONE,
                                                    .depth = (uint16_t)(depth + 1),
                                                    .byte = (uint8_t)piece.at[depth]};
        }
        t->same[token] = t->nodes[open[depth - 1]].token;
        t->nodes[open[depth - 1]].token = token;
        before = piece;
    }
    while (depth > 0)
        t->nodes[open[--depth]].end = n;
}

static bool is_plain(struct str piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        unsigned char c = (unsigned char)piece.at[i];

        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7F)
            return false;
    }
    return piece.len > 0 && utf8_valid_bytes(piece) == piece.len &&
           utf8_count(piece) <= TOKENTRIE_PLAIN_MAX;
}

/* From the last node to the first: those below a node come before it. */
static void find_plain(struct tokentrie *t)
{
    bool other[TOKENTRIE_PIECE_MAX + 2] = {false}; /* below the node that comes next, by depth */

    for (uint32_t k = 0; k < t->token_count; k++)
        t->plain[k / 64] |= (uint64_t)is_plain(t->pieces[k]) << (k % 64);
    for (uint32_t i = t->node_count; i-- > 0;) {
        struct tokentrie_node *n = &t->nodes[i];

        n->is_plain =
            !other[n->depth + 1] && (n->token == TOKENTRIE_NONE || is_plain(t->pieces[n->token]));
        other[n->depth + 1] = false;
        other[n->depth] |= !n->is_plain;
    }
}

static int fill(struct tokentrie *t, const struct str *pieces, const bool *ends, uint32_t count)
{
    CLEANUP(free) uint32_t *index = mem_alloc((size_t)count * sizeof(*index));

    t->token_count = count;
    t->pieces = mem_zalloc(count, sizeof(*t->pieces));
    t->same = mem_zalloc(count, sizeof(*t->same));
    t->ends = mem_zalloc(count / 64 + 1, sizeof(*t->ends));
    t->plain = mem_zalloc(count / 64 + 1, sizeof(*t->plain));
    if (!index || !t->pieces || !t->same || !t->ends || !t->plain)
        return LLMOS_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        bool counts = !ends[i] && pieces[i].len <= TOKENTRIE_PIECE_MAX;

        index[i] = i;
        t->pieces[i] = counts ? pieces[i] : STR("");
        t->ends[i / 64] |= (uint64_t)ends[i] << (i % 64);
        t->has_ends |= ends[i];
    }
    sortindex(index, count, comes_before, t->pieces);
    t->node_count = count_nodes(t, index);
    t->nodes = mem_zalloc((size_t)t->node_count + 1, sizeof(*t->nodes));
    if (!t->nodes)
        return LLMOS_ENOMEM;
    fill_nodes(t, index);
    find_plain(t);
    return 0;
}

int tokentrie_of(struct tokentrie **trie, const struct str *pieces, const bool *ends,
                 uint32_t count, struct llmos_error *err)
{
    struct tokentrie *t = mem_zalloc(1, sizeof(*t));

    if (!t || fill(t, pieces, ends, count) < 0) {
        tokentrie_destroy(t);
        return fail(err, LLMOS_ENOMEM, "no memory for the bytes of %u tokens as a tree", count);
    }
    *trie = t;
    return 0;
}

int tokentrie_create(struct tokentrie **trie, const llmos_tokenizer *t, struct llmos_error *err)
{
    uint32_t count = (uint32_t)llmos_token_count(t);
    CLEANUP(free) struct str *pieces = mem_zalloc(count, sizeof(*pieces));
    CLEANUP(free) bool *ends = mem_zalloc(count, sizeof(*ends));

    if (!pieces || !ends)
        return fail(err, LLMOS_ENOMEM, "no memory for the bytes of %u tokens", count);
    for (uint32_t i = 0; i < count; i++) {
        int32_t token = (int32_t)i;

        pieces[i].len = llmos_token_is_control(t, token)
                            ? 0
                            : llmos_token_piece(t, token, false, &pieces[i].at);
        ends[i] = llmos_token_ends_generation(t, token);
    }
    return tokentrie_of(trie, pieces, ends, count, err);
}

void tokentrie_destroy(struct tokentrie *t)
{
    if (!t)
        return;
    mem_free(t->nodes);
    mem_free(t->pieces);
    mem_free(t->same);
    mem_free(t->ends);
    mem_free(t->plain);
    mem_free(t);
}
