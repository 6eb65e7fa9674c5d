/* SPDX-License-Identifier: Apache-2.0 */
/* hftokens.h - the tokenizer of a folder as keys of GGUF.
 *
 * Read are tokenizer.json (BPE over bytes, BPE in SentencePiece's manner, Unigram, WordPiece), else
 * tokenizer.model (SentencePiece), vocab.json with merges.txt, or vocab.txt; and what
 * tokenizer_config.json, special_tokens_map.json, generation_config.json and chat_template.jinja
 * say beside it.  Slices point into the folder's files and the arena. */
#ifndef MODEL_HFTOKENS_H
#define MODEL_HFTOKENS_H

#include "model/ggufwrite.h"
#include "model/hffolder.h"

#define HFTOKENS_MERGES_MAX (4u << 20)

enum hftokens_id {
    HFTOKENS_BOS,
    HFTOKENS_EOS,
    HFTOKENS_UNK,
    HFTOKENS_SEP,
    HFTOKENS_PAD,
    HFTOKENS_CLS,
    HFTOKENS_MASK,
    HFTOKENS_EOT, /* further ends that generation_config.json lists */
    HFTOKENS_EOM,
    HFTOKENS_ID_COUNT
};

struct hftoken {
    struct str text;
    float score;
    uint8_t kind;   /* as GGUF numbers it: 1 normal ... 6 byte */
    uint8_t habits; /* enum token_habit */
    bool is_set;
};

enum hftokens_answer { HFTOKENS_UNSAID, HFTOKENS_NO, HFTOKENS_YES };

struct hftokens {
    const char *model; /* "llama" "gpt2" "bert" "t5" */
    const char *pre;   /* NULL: none */
    struct hftoken *tokens;
    uint32_t count;
    uint32_t *sorted; /* by text */
    bool has_scores;
    struct str *merges; /* "left right" */
    uint32_t merge_count;
    struct str charsmap, chat_template;
    uint8_t add_bos, add_eos, add_space_prefix, remove_spaces, lowercase; /* hftokens_answer */
    int64_t ids[HFTOKENS_ID_COUNT];                                       /* -1: none */
    uint32_t type_count; /* of segments; 0: not said */
    unsigned word_steps; /* of "bert": enum wordstep */
    struct arena arena;
    struct jsondoc doc; /* tokenizer.json, if it was read */
};

/* count: rows of the embedding; tokens that nobody names become "[PAD7]", unused.  On failure
 * nothing is left to free. */
int hftokens_read(struct hftokens *t, const struct hffolder *f, uint32_t count,
                  struct llmos_error *err);
void hftokens_fini(struct hftokens *t);

void hftokens_put(struct ggufwrite *w, const struct hftokens *t);

#endif
