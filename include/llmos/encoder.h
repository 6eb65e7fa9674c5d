/* SPDX-License-Identifier: Apache-2.0 */
/* encoder.h - a whole text at once: a vector for what it says, or scores for what it is.
 *
 * A session goes on from token to token; an encoder reads all tokens of a text, each of which may
 * look at every other where the model does so (bert, roberta, modern-bert and their kin), and
 * answers once.  Nothing is kept between texts.  Models that generate can be embedded as well:
 * their tokens look back only, and the file says how they are pooled (llama.cpp's key
 * pooling_type), else the last token stands for the text.
 *
 * The result of a text depends on its tokens alone: not on threads, nor on the texts before it or
 * beside it.
 *
 * One thread at a time uses an encoder. */
#ifndef LLMOS_ENCODER_H
#define LLMOS_ENCODER_H

#include "llmos/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llmos_encoder llmos_encoder;

struct llmos_encoder_options {
    uint32_t threads;          /* 0: 1 */
    uint32_t tokens_max;       /* of a text; 0: what the model was trained with, at most 8192 */
    uint64_t memory_max_bytes; /* everything the encoder may allocate; 0: no limit */
    uint32_t batch_tokens;     /* most tokens computed in one step, but for a text that must be
                                  computed as a whole and has more; 0: 512 */
};
#define LLMOS_ENCODER_OPTIONS_INIT \
    {                              \
        0, 0, 0, 0                 \
    }

/* All memory is reserved here and reported before the fact, as that of a context.  The model must
 * outlive the encoder. */
LLMOS_API int llmos_encoder_create(llmos_encoder **encoder, const llmos_model *model,
                                   const struct llmos_encoder_options *options,
                                   struct llmos_error *err);
LLMOS_API void llmos_encoder_destroy(llmos_encoder *encoder); /* NULL is fine */

/* What one vector is made of the tokens' vectors. */
enum llmos_pooling {
    LLMOS_POOLING_MEAN,
    LLMOS_POOLING_CLS, /* the first token */
    LLMOS_POOLING_LAST
};

/* What the scores of a model with a classifier are about. */
enum llmos_classifier {
    LLMOS_CLASSIFIER_NONE,
    LLMOS_CLASSIFIER_SEQUENCE, /* one row of scores for a text */
    LLMOS_CLASSIFIER_TOKEN,    /* one for each token */
    LLMOS_CLASSIFIER_RANK      /* how well a second text answers the first: one score */
};

struct llmos_encoder_info {
    const char *backend;
    enum llmos_pooling pooling;
    enum llmos_classifier classifier;
    uint32_t threads;
    uint32_t width;      /* of a vector */
    uint32_t labels;     /* scores in a row; 0: no classifier */
    uint32_t tokens_max; /* of a text, special tokens included */
    uint64_t scratch_bytes;
    uint32_t batch_tokens; /* most of a step */
};
LLMOS_API void llmos_encoder_info(const llmos_encoder *encoder, struct llmos_encoder_info *info);

/* Its name, as the file has it, or "LABEL_3"; as long as the encoder.  NULL: no such label. */
LLMOS_API const char *llmos_encoder_label(const llmos_encoder *encoder, uint32_t label);

/* The vector of a text, `width` floats; normalize: of length 1 (L2).  tokens: as llmos_tokenize
 * makes them with LLMOS_TOKENIZE_ADD_BOS and ADD_EOS, which add what the model wants at the ends.
 * LLMOS_ECONTEXT: too many tokens, the text names both numbers; LLMOS_EINVAL: none, or an id
 * outside the vocabulary; nothing is written then. */
LLMOS_API int llmos_encoder_embed(llmos_encoder *encoder, const int32_t *tokens, size_t count,
                                  bool normalize, float *vector, struct llmos_error *err);

/* Scores before any softmax or sigmoid: `labels` floats, or count * labels where each token is
 * classified.  segment_b: from this token on the tokens are the second text of a pair (their
 * segment, where the model has such, is the second); count: there is one text only.
 * LLMOS_EUNSUPPORTED: the model has no classifier. */
LLMOS_API int llmos_encoder_classify(llmos_encoder *encoder, const int32_t *tokens, size_t count,
                                     size_t segment_b, float *scores, struct llmos_error *err);

/* A text of a step, and what is wanted of it. */
struct llmos_encoder_text {
    const int32_t *tokens;
    size_t count;
    size_t segment_b; /* as above */
    bool classifies;  /* scores, instead of a vector */
    bool normalizes;  /* of a vector */
    float *out;       /* as much as above */
};
#define LLMOS_ENCODER_TEXTS_MAX 256 /* of a step */

/* Computes the first of these texts together, which takes less time than one after the other: as
 * many as fit into batch_tokens, at least one.  Returns how many.  One that cannot be read (see
 * above) ends the step before it; if it is the first, that is the error.
 *
 * goes_on, if it is not NULL, is asked before each layer, by the thread that called: false ends the
 * step with LLMOS_ECANCELED. */
LLMOS_API long llmos_encoder_step(llmos_encoder *encoder, const struct llmos_encoder_text *texts,
                                  size_t count, bool (*goes_on)(void *arg), void *arg,
                                  struct llmos_error *err);

#ifdef __cplusplus
}
#endif

#endif
