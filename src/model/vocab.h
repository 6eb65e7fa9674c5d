/* SPDX-License-Identifier: Apache-2.0 */
/* vocab.h - the insides of llmos_tokenizer: the pieces of a vocabulary and how to find them.
 *
 * Made from a GGUF whose bytes must outlive it (texts are slices of the file).  Read-only once
 * made, but for the chat format.
 *
 * What the metadata mean ("tokenizer.ggml." in front of each), for those who write them:
 *
 *   model      llama   SentencePiece's BPE: pairs merge by the score of what they make
 *              gpt2    byte-level BPE: `merges`, behind the splits named by `pre` (pretokenizer.h)
 *              gemma4  BPE of characters: `merges`; "gpt2" with `pre` gemma4, sarvam-moe or
 *                      granite-embed-multi-311m is the same
 *              t5      SentencePiece's unigram: scores are log probabilities
 *              bert    WordPiece; case and accents count unless normalizer.lowercase is true or,
 *                      if that is missing, no token has a capital letter
 *   tokens     "gpt2": normal ones in the characters that stand for bytes, others as they are;
 *              "llama", "gemma4", "t5": U+2581 for a space; "bert": U+2581 in front of what
 *              begins a word or, if no token has it, "##" in front of what goes on
 *   scores     needed for "llama" and "t5"
 *   token_type enum token_kind; where missing, told from the names
 *   merges     "left right" in order of rank; all three tokens must be there (with a control token
 *              among them a merge is ignored)
 *   bos_token_id, eos_token_id, unknown_token_id, eot_token_id, eom_token_id
 *              "bert": cls_token_id is its BOS, seperator_token_id (so spelled) ends a text
 *   add_bos_token, add_eos_token, add_sep_token ("bert")
 *   add_space_prefix          "llama" (true where missing), "t5" (false)
 *   remove_extra_whitespaces  "t5": spaces are stripped and merged (false)
 *   precompiled_charsmap      "t5": bytes of SentencePiece's normalizer
 *
 * and "llmos.added_tokens", which only we write: pairs of a token and enum token_habit, of those
 * special tokens that have any; where it is missing, phi-3 and jina-v2 are known by their names.
 * Also only ours: "llmos.wordpiece.steps" (wordsteps.h), which says all of it for "bert". */
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

/* What Hugging Face's tokenizers do where a special token stands. */
enum token_habit {
    TOKEN_LSTRIP = 1, /* white space in front of it vanishes */
    TOKEN_RSTRIP = 2, /* and behind it */
    TOKEN_SINGLE = 4, /* inside a word it is not one */
    TOKEN_NORMALIZED =
        8 /* it is looked for between the others, in the normal text; here: the text */
};

struct token {
    struct str piece; /* spaces are spaces, <0x0A> is a line feed; a control token's is its name */
    float score;      /* pairs with the higher score are merged first; 0 where there are none */
    enum token_kind kind : 8;
    bool is_literal; /* it can be said, but no text becomes it */
    uint8_t habits;  /* enum token_habit */
};

struct chat;
struct token_sink;

/* A kind of vocabulary, by "tokenizer.ggml.model"; one file each.  What the metadata do not say is
 * as given here. */
struct vocab_kind {
    const char *name;
    const char *splittings[4];    /* of "tokenizer.ggml.pre": "gpt2" with these is this kind */
    bool needs_scores, is_unique; /* of equal pieces: refused, or the later counts */
    bool has_named_bytes;         /* "<0x0A>" is a byte even if the file calls it normal */
    bool add_bos, add_end, end_is_separator, add_space_prefix;
    /* Tokens that have this id if they have this name. */
    struct {
        struct vocab_named {
            const char *name;
            uint32_t id;
        } bos, eos, unknown, separator;
    } names;
    /* Looks at all texts before that; may be NULL. */
    void (*look)(struct llmos_tokenizer *t, const struct gguf_array *texts);
    /* Sets token->piece from the text in the file; its kind is known.  -1: no memory. */
    int (*piece)(struct llmos_tokenizer *t, struct token *token, struct str text);
    /* Makes t->own and what else is needed, when tokens and tables are there; may be NULL. */
    int (*make)(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err);
    /* A text (not empty) without special tokens; with_space: as if a space stood in front. */
    int (*tokenize)(const struct llmos_tokenizer *t, struct str text, bool with_space,
                    struct token_sink *out, struct llmos_error *err);
};

extern const struct vocab_kind vocab_kind_spm, vocab_kind_bpe, vocab_kind_spaced,
    vocab_kind_unigram, vocab_kind_wordpiece;

struct llmos_tokenizer {
    struct arena arena;
    const struct vocab_kind *kind;
    void *own;             /* the kind's */
    const char *splitting; /* the pre-tokenizer's name, "" where there is none */
    struct token *tokens;
    uint32_t count;
    int32_t bos, eos, unknown; /* -1: none */
    int32_t end;               /* what a whole text ends in: the separator of "bert", else EOS */
    bool add_bos, add_end, add_space_prefix;
    bool is_hashed; /* "bert" that writes "##ing", not U+2581 in front of what begins a word */
    int32_t byte_token[256]; /* -1: none */
    bool *ends_generation;   /* per token */
    bool splits_words;       /* no piece has a space behind something else */
    bool splits_lines;       /* no piece has a line end and something else */
    bool has_normalized;     /* some special token is TOKEN_NORMALIZED */
    bool has_unused;         /* pieces that merging passes through but that must not come out */
    /* Hash table of the pieces that merging may make; a power of two.  The key is odd, and nobody
     * who writes a file knows it: he cannot have all pieces meet in one place. */
    uint64_t hash_key;
    uint32_t *slots;
    uint32_t slot_mask;
    /* Control and user-defined tokens in the order of their pieces, for recognising them in a text:
     * those that begin with byte b are marks[mark_first[b]] up to marks[mark_first[b + 1]]. */
    uint32_t *marks;
    uint32_t mark_first[257];
    struct chat *chat; /* how conversations are written; its own */
};

/* A word's bits, all of which depend on all of them and on the key. */
uint64_t vocab_mix(uint64_t word, uint64_t key);

int vocab_create(struct llmos_tokenizer **tokenizer, const struct gguf *g, struct llmos_error *err);
void vocab_destroy(struct llmos_tokenizer *t);

/* For kinds that write a space as U+2581 and a byte as <0x0A>: vocab_kind.piece, and the same for a
 * text: with spaces where it has U+2581, and one in front if with_space.  out: text.len + 1 bytes;
 * returns how many it used. */
int vocab_piece_spaced(struct llmos_tokenizer *t, struct token *token, struct str text);
size_t vocab_spaces(struct str text, bool with_space, char *out);
/* Finds out at which places of a text nothing is ever joined, for vocab_word. */
void vocab_find_splits(struct llmos_tokenizer *t);
/* The bytes of text (not empty) up to the first such place: what stands before it can be looked at
 * by itself. */
size_t vocab_word(const struct llmos_tokenizer *t, struct str text);

/* The token with this piece among those that merging may make, -1 if there is none. */
int32_t vocab_find(const struct llmos_tokenizer *t, const char *text, size_t length);
/* The same for many texts, in four steps with other questions' steps between them: memory is on
 * its way meanwhile.  The text must stay. */
struct vocab_question {
    struct str text;
    uint64_t hash;
};
void vocab_ask(const struct llmos_tokenizer *t, struct vocab_question *q);
void vocab_come_near(const struct llmos_tokenizer *t, const struct vocab_question *q, bool nearer);
int32_t vocab_answer(const struct llmos_tokenizer *t, const struct vocab_question *q);
/* The control, user-defined or unknown token with exactly this piece; -1. */
int32_t vocab_find_mark(const struct llmos_tokenizer *t, const char *text, size_t length);
/* The control token of this name, -1 if there is none. */
int32_t vocab_find_control(const struct llmos_tokenizer *t, const char *name);
/* The longest special token of some kinds whose piece text begins with; -1. */
enum vocab_marks {
    VOCAB_USER_DEFINED = 1,
    VOCAB_CONTROL = 2,
    VOCAB_NOT_NORMALIZED = 4,
    VOCAB_NORMALIZED = 8,
    VOCAB_ALL_MARKS = 15
};
int32_t vocab_mark_at(const struct llmos_tokenizer *t, const char *text, size_t length,
                      unsigned which);

#endif
