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

/* Where a special token stands in a text, and what goes with it. */
struct mark_span {
    size_t from, to;
};

/* The span of token `id` that begins at `at`, with the white space that it takes, none in front of
 * `floor`; false if it does not count there, being inside a word. */
bool tokenize_mark_span(const struct llmos_tokenizer *t, int32_t id, struct str text, size_t floor,
                        size_t at, struct mark_span *span);

/* What lies between two of them: nothing, if one took white space that the other begins in. */
static inline struct str tokenize_between(struct str text, size_t from, size_t to)
{
    return (struct str){text.at + from, to > from ? to - from : 0};
}

/* A text with special tokens in it, at most TOKENIZE_TEXT_BYTES_MAX.  User-defined tokens are
 * always recognised, control tokens if `control`.  *after_control says whether a control token (or
 * the beginning) stands in front: there the text gets its leading space, where the model wants one.
 */
int tokenize_marked(const struct llmos_tokenizer *t, struct str text, bool control,
                    bool *after_control, struct token_sink *out, struct llmos_error *err);

#endif
