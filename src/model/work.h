/* SPDX-License-Identifier: Apache-2.0 */
/* work.h - what computing a token costs at least: bytes of weights that are read, products that are
 * made.  Attention comes on top: it grows with the context. */
#ifndef MODEL_WORK_H
#define MODEL_WORK_H

#include "llmos/model.h"

/* The units of a processor that multiply weights of a type in prompts: bf16 where they do in tiles;
 * integers for quantised ones that have kernels for it, f32 for those that are decoded first.
 * Where f16 (or bf16) becomes integers of 16 bits a product counts as two of 8, where f16 becomes
 * sums of two bf16 as three of these. */
enum work_unit { WORK_INT8, WORK_BF16, WORK_F32, WORK_UNITS };

struct work {
    uint64_t decode_bytes; /* of all weights that one step reads, however many sequences it serves;
                              of experts, those of one token */
    uint64_t layers[WORK_UNITS]; /* multiply-adds for every token */
    uint64_t output[WORK_UNITS]; /* multiply-adds more where logits are wanted */
};

/* Of a model that can be run. */
void work_of(struct work *work, const llmos_model *model);

#endif
