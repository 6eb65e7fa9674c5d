/* SPDX-License-Identifier: Apache-2.0 */
/* loaded.h - the insides of llmos_model, for the folders above that compute with it. */
#ifndef MODEL_LOADED_H
#define MODEL_LOADED_H

#include "llmos/model.h"
#include "model/parts.h"
#include "model/weights.h"

struct llmos_model {
    bool vocabulary_only; /* no hparams (but n_vocab and names) and no weights: cannot be run */
    struct parts_map map;
    struct file_map packed_map; /* at NULL: the weights are read as the file has them */
    struct gguf gguf;
    struct hparams hparams;
    struct weights weights;
    struct llmos_tokenizer *tokenizer;
    struct arena arena;
};

/* As llmos_model_open_fd and llmos_model_open_vocabulary_fd, of a model in `count` files. */
int model_open_parts(llmos_model **model, const int *fds, unsigned count, bool vocabulary_only,
                     struct llmos_error *err);

#endif
