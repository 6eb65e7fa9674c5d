/* SPDX-License-Identifier: Apache-2.0 */
/* spm.h - byte pair merging by scores, as SentencePiece does it (Kudo & Richardson 2018).
 *
 * A text begins as its characters; of all neighbours whose union is a piece the pair with the
 * highest score is merged, the leftmost among equals, until none is left.  What is no piece then is
 * spelled in byte tokens, or is one unknown token where the vocabulary has no bytes. */
#ifndef MODEL_SPM_H
#define MODEL_SPM_H

#include "model/vocab.h"

/* A byte takes up to 65 bytes of work space: 1 GiB for this much, four million tokens or so. */
#define SPM_TEXT_BYTES_MAX (16u << 20)

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

/* text: any bytes, at most SPM_TEXT_BYTES_MAX; with_space: as if a space stood in front. */
int spm_tokenize(const struct llmos_tokenizer *t, struct str text, bool with_space,
                 struct token_sink *out, struct llmos_error *err);

/* A text with special tokens in it.  User-defined tokens are always recognised, control tokens if
 * `control`.  *after_control says whether a control token (or the beginning) stands in front: there
 * the text gets its leading space, where the model wants one. */
int spm_tokenize_marked(const struct llmos_tokenizer *t, struct str text, bool control,
                        bool *after_control, struct token_sink *out, struct llmos_error *err);

#endif
