/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize.h - a text as tokens, whatever the kind of the vocabulary.
 *
 * Special tokens are found first; the text between them goes to the kind: spm.c, bpe.c, unigram.c,
 * wordpiece.c.  The public calls are in llmos/tokenizer.h. */
#ifndef MODEL_TOKENIZE_H
#define MODEL_TOKENIZE_H

#include "model/vocab.h"

/* A byte takes up to 81 bytes of work space: 1.3 GiB for this much, four million tokens or so. */
#define TOKENIZE_TEXT_BYTES_MAX (16u << 20)

/* Where tokens go: the first `room` are stored, all are counted. */
struct token_sink {
    int32_t *at;
    size_t room, count;
};

static inline void token_sink_put(struct token_sink *s, int32_t token)
{
    if (s->count < s->room)
        s->at[s->count] = token;
    s->count++;
}

/* Bytes that are no token by themselves: their byte tokens, or one unknown token. */
int tokenize_spell(const struct llmos_tokenizer *t, struct str text, struct token_sink *out,
                   struct llmos_error *err);

/* A text with special tokens in it, at most TOKENIZE_TEXT_BYTES_MAX.  User-defined tokens are
 * always recognised, control tokens if `control`.  *after_control says whether a control token (or
 * the beginning) stands in front: there the text gets its leading space, where the model wants one.
 */
int tokenize_marked(const struct llmos_tokenizer *t, struct str text, bool control,
                    bool *after_control, struct token_sink *out, struct llmos_error *err);

#endif
