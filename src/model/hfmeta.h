/* SPDX-License-Identifier: Apache-2.0 */
/* hfmeta.h - config.json as keys of GGUF, by the tables of hfarch.h. */
#ifndef MODEL_HFMETA_H
#define MODEL_HFMETA_H

#include "model/ggufwrite.h"
#include "model/hffolder.h"

struct hfmeta {
    uint32_t heads, heads_kv, layers, width, head_dim, vocab; /* vocab 0: not said */
    uint32_t rope_dims;       /* of a head, those that are rotated */
    uint32_t position_offset; /* rows of position_embd in front of position 0 */
};

/* What the conversion of tensors needs to know, checked. */
int hfmeta_read(struct hfmeta *m, const struct hffolder *f, struct llmos_error *err);

/* general.*, ARCH.* and the sampling that generation_config.json suggests.  file_type as
 * llama.cpp numbers it; name: of the model, for people. */
int hfmeta_put(struct ggufwrite *w, const struct hffolder *f, const struct hfmeta *m,
               struct str name, uint32_t file_type, struct llmos_error *err);

/* Factors of rotation that stand in config.json and become tensors.  The number of values, 0: there
 * is no such tensor.  which: 0 rope_freqs.weight, 1 rope_factors_long.weight, 2
 * rope_factors_short.weight. */
#define HFMETA_FACTORS     3
#define HFMETA_FACTORS_MAX 512
int hfmeta_factors(const struct hffolder *f, const struct hfmeta *m, unsigned which, float *out,
                   const char **tensor, struct llmos_error *err);

#endif
