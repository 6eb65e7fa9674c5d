/* SPDX-License-Identifier: Apache-2.0 */
/* vocab.h - the insides of llmos_tokenizer: the pieces of a vocabulary and how to find them.
 *
 * Made from a GGUF whose bytes must outlive it (texts are slices of the file).  Read-only once
 * made, but for the chat format. */
#ifndef MODEL_VOCAB_H
#define MODEL_VOCAB_H

#include "llmos/tokenizer.h"
#include "model/gguf.h"

/* Longer pieces are refused: they bound the cost of looking at one position of a text. */
#define VOCAB_PIECE_MAX 1024

/* As numbered in "tokenizer.ggml.token_type". */
enum token_kind {
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL,
    TOKEN_USER_DEFINED,
    TOKEN_UNUSED,
    TOKEN_BYTE
};

struct token {
    struct str piece; /* spaces are spaces, <0x0A> is a line feed; a control token's is its name */
    float score;      /* pairs with the higher score are merged first */
    enum token_kind kind;
};

struct chat_format;

struct llmos_tokenizer {
    struct arena arena;
    struct token *tokens;
    uint32_t count;
    int32_t bos, eos, unknown; /* -1: none */
    bool add_bos, add_space_prefix;
    int32_t byte_token[256]; /* -1: none */
    bool *ends_generation;   /* per token */
    bool has_unused;         /* pieces that merging passes through but that must not come out */
    /* Hash table of the pieces that merging may make; UINT32_MAX: free.  slots is a power of two.
     */
    uint32_t *slots;
    uint32_t slot_mask;
    /* Control and user-defined tokens in the order of their pieces, for recognising them in a text:
     * those that begin with byte b are marks[mark_first[b]] up to marks[mark_first[b + 1]]. */
    uint32_t *marks;
    uint32_t mark_first[257];
    const struct chat_format *chat;
};

int vocab_create(struct llmos_tokenizer **tokenizer, const struct gguf *g, struct llmos_error *err);
void vocab_destroy(struct llmos_tokenizer *t);

/* The token with this piece among those that merging may make, -1 if there is none. */
int32_t vocab_find(const struct llmos_tokenizer *t, const char *text, size_t length);
/* The control token of this name, -1 if there is none. */
int32_t vocab_find_control(const struct llmos_tokenizer *t, const char *name);
/* The longest user-defined (and, if `control`, control) token whose piece text begins with; -1. */
int32_t vocab_mark_at(const struct llmos_tokenizer *t, const char *text, size_t length,
                      bool control);

#endif
