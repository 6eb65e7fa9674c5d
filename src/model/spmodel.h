/* SPDX-License-Identifier: Apache-2.0 */
/* spmodel.h - tokenizer.model: what SentencePiece writes, a message of protocol buffers.
 *
 * Read are pieces, their scores and kinds, and the few settings of the normalizer that matter
 * (google/sentencepiece, src/sentencepiece_model.proto).  Pieces are slices of the bytes. */
#ifndef MODEL_SPMODEL_H
#define MODEL_SPMODEL_H

#include "base/fail.h"
#include "base/str.h"

#include <stdint.h>

struct spmodel {
    uint32_t count;
    uint32_t model_type; /* 1 unigram, 2 BPE */
    bool adds_prefix, removes_spaces;
    struct str charsmap;
};

/* Called for each piece in order; kind as SentencePiece and GGUF number it: 1 to 6.  A negative
 * value ends the reading and is its result. */
typedef int (*spmodel_piece)(void *arg, uint32_t id, struct str text, float score, uint32_t kind,
                             struct llmos_error *err);

int spmodel_read(struct spmodel *m, struct str bytes, spmodel_piece piece, void *arg,
                 struct llmos_error *err);

#endif
