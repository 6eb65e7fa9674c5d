/* SPDX-License-Identifier: Apache-2.0 */
/* tokentrie.h - the bytes of all tokens of a vocabulary as one tree, in the order of a walk.
 *
 * Whoever asks which tokens may come next walks the nodes in their order and jumps over what stands
 * below a byte that may not come.  12 bytes a node, two to three nodes a token.  Read-only once
 * made: any thread. */
#ifndef INFER_TOKENTRIE_H
#define INFER_TOKENTRIE_H

#include "base/fail.h"
#include "base/str.h"
#include "llmos/tokenizer.h"

#define TOKENTRIE_PIECE_MAX 1024 /* longer tokens are in no tree and never allowed */
#define TOKENTRIE_NONE      UINT32_MAX
/* A plain token has so many characters at most, no quote, backslash or control character, and is
 * whole characters: where any of them may come, most of a vocabulary may. */
#define TOKENTRIE_PLAIN_MAX 16

struct tokentrie_node {
    uint32_t end;   /* the first node behind those below this one */
    uint32_t token; /* the last token that ends here, TOKENTRIE_NONE: none */
    uint16_t depth; /* from 1 */
    uint8_t byte;
    bool is_plain; /* all tokens that end here or below are */
};

struct tokentrie {
    struct tokentrie_node *nodes;
    uint32_t node_count, token_count;
    struct str *pieces; /* of each token; empty: it gives no text and is never allowed */
    uint32_t *same;     /* of each token: another one of the same bytes; TOKENTRIE_NONE: none */
    uint64_t *ends;     /* a bit for each token: it ends a text */
    uint64_t *plain;    /* a bit for each token: it is plain */
    bool has_ends;      /* some do */
};

/* Of a model's vocabulary, which must outlive it. */
int tokentrie_create(struct tokentrie **trie, const llmos_tokenizer *t, struct llmos_error *err);
/* Of any pieces, which are copied as slices; `ends` says of each whether it ends a text. */
int tokentrie_of(struct tokentrie **trie, const struct str *pieces, const bool *ends,
                 uint32_t count, struct llmos_error *err);
void tokentrie_destroy(struct tokentrie *trie);       /* NULL is fine */
size_t tokentrie_bytes(const struct tokentrie *trie); /* of memory; NULL: 0 */

static inline bool tokentrie_ends(const struct tokentrie *t, uint32_t token)
{
    return t->ends[token / 64] >> (token % 64) & 1;
}

#endif
