/* SPDX-License-Identifier: Apache-2.0 */
/* tokentrie.c - see tokentrie.h */
#include "infer/tokentrie.h"

#include "base/mem.h"
#include "base/utf8.h"

/* --- in the order of their bytes ---
 *
 * Eight bytes at a time as one number, which is sorted by counting, so the time is linear in the
 * bytes whatever a file holds, and a piece that lies far away is fetched once for eight of them. */

#define KEY_BYTES 8
#define FEW       32 /* are sorted by insertion */

struct entry {
    uint64_t key; /* the next bytes of the piece, zeros behind its end */
    uint32_t token;
    uint32_t more; /* bytes from there on: as many, or KEY_BYTES + 1 for any more */
};

static void read_keys(struct entry *e, size_t n, const struct str *pieces, size_t depth)
{
    for (size_t i = 0; i < n; i++) {
        struct str piece = pieces[e[i].token];
        size_t left = piece.len - depth, bytes = left < KEY_BYTES ? left : KEY_BYTES;
        uint64_t key = 0;

        for (size_t k = 0; k < bytes; k++)
            key |= (uint64_t)(unsigned char)piece.at[depth + k] << (56 - 8 * k);
        e[i].key = key;
        e[i].more = left > KEY_BYTES ? KEY_BYTES + 1 : (uint32_t)left;
    }
}

static bool comes_before(const struct entry *a, const struct entry *b)
{
    return a->key != b->key ? a->key < b->key : a->more < b->more;
}

static void sort_few(struct entry *e, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        struct entry one = e[i];
        size_t k = i;

        for (; k > 0 && comes_before(&one, &e[k - 1]); k--)
            e[k] = e[k - 1];
        e[k] = one;
    }
}

static unsigned digit_of(const struct entry *e, unsigned pass)
{
    return pass == 0 ? e->more : (unsigned)(e->key >> (8 * (pass - 1))) & 0xFF;
}

/* From the last digit to the first, each time keeping the order of equals. */
static void sort_many(struct entry *e, struct entry *scratch, size_t n)
{
    for (unsigned pass = 0; pass <= KEY_BYTES; pass++) {
        size_t starts[257] = {0};

        for (size_t i = 0; i < n; i++)
            starts[digit_of(&e[i], pass) + 1]++;
        if (starts[digit_of(&e[0], pass) + 1] == n)
            continue; /* all have the same */
        for (unsigned d = 1; d < 256; d++)
            starts[d] += starts[d - 1];
        for (size_t i = 0; i < n; i++)
            scratch[starts[digit_of(&e[i], pass)]++] = e[i];
        memcpy(e, scratch, n * sizeof(*e));
    }
}

/* Those that share their first `depth` bytes; pieces are bounded, so is the recursion. */
static void sort_entries(struct entry *e, struct entry *scratch, size_t n, const struct str *pieces,
                         size_t depth)
{
    read_keys(e, n, pieces, depth);
    if (n <= FEW)
        sort_few(e, n);
    else
        sort_many(e, scratch, n);
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        while (end < n && !comes_before(&e[i], &e[end]))
            end++;
        if (end > i + 1 && e[i].more > KEY_BYTES)
            sort_entries(e + i, scratch, end - i, pieces, depth + KEY_BYTES);
    }
}

/* --- nodes --- */

/* The pieces in their order, one behind the other. */
struct ordered {
    uint32_t *tokens;
    uint16_t *shared; /* bytes that each has in common with the one before */
    char *bytes;
    size_t byte_count;
};

static void ordered_fini(struct ordered *o)
{
    mem_free(o->tokens);
    mem_free(o->shared);
    mem_free(o->bytes);
}

static int order_tokens(struct ordered *o, const struct tokentrie *t)
{
    uint32_t n = t->token_count;
    CLEANUP(free) struct entry *entries = mem_alloc((size_t)n * sizeof(*entries));
    CLEANUP(free) struct entry *scratch = mem_alloc((size_t)n * sizeof(*scratch));

    o->tokens = mem_alloc((size_t)n * sizeof(*o->tokens));
    o->shared = mem_alloc((size_t)n * sizeof(*o->shared));
    if (!entries || !scratch || !o->tokens || !o->shared)
        return LLMOS_ENOMEM;
    for (uint32_t i = 0; i < n; i++)
        entries[i].token = i;
    sort_entries(entries, scratch, n, t->pieces, 0);
    for (uint32_t i = 0; i < n; i++) {
        o->tokens[i] = entries[i].token;
        o->byte_count += t->pieces[entries[i].token].len;
    }
    return 0;
}

/* Fetches each piece once more; all that follows reads them in a row. */
static int gather(struct ordered *o, struct tokentrie *t)
{
    size_t at = 0, before = 0, before_length = 0;
    uint64_t nodes = 0;

    o->bytes = mem_alloc(o->byte_count);
    if (!o->bytes)
        return LLMOS_ENOMEM;
    for (uint32_t i = 0; i < t->token_count; i++) {
        struct str piece = t->pieces[o->tokens[i]];
        size_t shared = 0;

        if (piece.len)
            memcpy(o->bytes + at, piece.at, piece.len);
        while (shared < piece.len && shared < before_length &&
               o->bytes[at + shared] == o->bytes[before + shared])
            shared++;
        o->shared[i] = (uint16_t)shared;
        nodes += piece.len - shared;
        before = at;
        before_length = piece.len;
        at += piece.len;
    }
    t->node_count = nodes < TOKENTRIE_NONE ? (uint32_t)nodes : TOKENTRIE_NONE;
    return 0;
}

static void fill_nodes(struct tokentrie *t, const struct ordered *o)
{
    uint32_t open[TOKENTRIE_PIECE_MAX], n = 0; /* the nodes on the way to the last one */
    const char *at = o->bytes;
    size_t depth = 0;

    for (uint32_t i = 0; i < t->token_count; i++) {
        uint32_t token = o->tokens[i];
        size_t length = t->pieces[token].len;

        t->same[token] = TOKENTRIE_NONE;
        if (length == 0)
            continue;
        while (depth > o->shared[i])
            t->nodes[open[--depth]].end = n;
        for (; depth < length; depth++) {
            open[depth] = n;
            t->nodes[n++] = (struct tokentrie_node){.token = TOKENTRIE_NONE,
                                                    .depth = (uint16_t)(depth + 1),
                                                    .byte = (uint8_t)at[depth]};
        }
        t->same[token] = t->nodes[open[depth - 1]].token;
        t->nodes[open[depth - 1]].token = token;
        at += length;
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

static void mark_plain(struct tokentrie *t, const struct ordered *o)
{
    const char *at = o->bytes;

    for (uint32_t i = 0; i < t->token_count; i++) {
        uint32_t token = o->tokens[i];
        struct str piece = {at, t->pieces[token].len};

        t->plain[token / 64] |= (uint64_t)is_plain(piece) << (token % 64);
        at += piece.len;
    }
}

/* From the last node to the first: those below a node come before it. */
static void find_plain(struct tokentrie *t)
{
    bool other[TOKENTRIE_PIECE_MAX + 2] = {false}; /* below the node that comes next, by depth */

    for (uint32_t i = t->node_count; i-- > 0;) {
        struct tokentrie_node *n = &t->nodes[i];

        n->is_plain = !other[n->depth + 1] && (n->token == TOKENTRIE_NONE ||
                                               t->plain[n->token / 64] >> (n->token % 64) & 1);
        other[n->depth + 1] = false;
        other[n->depth] |= !n->is_plain;
    }
}

static int make_nodes(struct tokentrie *t)
{
    struct ordered o = {.tokens = NULL};
    int rc = order_tokens(&o, t);

    if (rc == 0)
        rc = gather(&o, t);
    if (rc == 0) {
        t->nodes = mem_alloc(((size_t)t->node_count + 1) * sizeof(*t->nodes));
        rc = t->nodes ? 0 : LLMOS_ENOMEM;
    }
    if (rc == 0) {
        fill_nodes(t, &o);
        mark_plain(t, &o);
        find_plain(t);
    }
    ordered_fini(&o);
    return rc;
}

static int fill(struct tokentrie *t, const struct str *pieces, const bool *ends, uint32_t count)
{
    t->token_count = count;
    t->pieces = mem_zalloc(count, sizeof(*t->pieces));
    t->same = mem_zalloc(count, sizeof(*t->same));
    t->ends = mem_zalloc(count / 64 + 1, sizeof(*t->ends));
    t->plain = mem_zalloc(count / 64 + 1, sizeof(*t->plain));
    if (!t->pieces || !t->same || !t->ends || !t->plain)
        return LLMOS_ENOMEM;
    for (uint32_t i = 0; i < count; i++) {
        bool counts = !ends[i] && pieces[i].len <= TOKENTRIE_PIECE_MAX;

        t->pieces[i] = counts ? pieces[i] : STR("");
        t->ends[i / 64] |= (uint64_t)ends[i] << (i % 64);
        t->has_ends |= ends[i];
    }
    return make_nodes(t);
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

size_t tokentrie_bytes(const struct tokentrie *t)
{
    if (!t)
        return 0;
    return sizeof(*t) + ((size_t)t->node_count + 1) * sizeof(*t->nodes) +
           t->token_count * (sizeof(*t->pieces) + sizeof(*t->same)) +
           (t->token_count / 64 + 1) * (sizeof(*t->ends) + sizeof(*t->plain));
}
