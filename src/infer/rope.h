/* SPDX-License-Identifier: Apache-2.0 */
/* rope.h - angles of the rotary position embedding (Su et al. 2021), with the scalings that stretch
 * a model's context.
 *
 * Pair i of a head turns by position * frequency[i] with frequency[i] = base^(-2i / dims):
 *   linear  positions are divided by the factor (Chen et al. 2023)
 *   yarn    slow pairs are divided, fast ones kept, a ramp between, and the rotated vectors are
 *           lengthened to keep attention sharp (Peng et al. 2023, eq. 15 to 22)
 *   llama3  every frequency is divided by a factor that comes in the file (rope_freqs.weight)
 *   longrope  likewise, by factors for short or for long sequences, and vectors are lengthened as
 *           the file says (Ding et al. 2024); which ones is hparams_is_long's to say
 *
 * Read-only after rope_init. */
#ifndef INFER_ROPE_H
#define INFER_ROPE_H

#include "infer/carve.h"
#include "model/weights.h"

struct rope {
    size_t dims;
    float length; /* yarn, longrope: of the rotated vector; else 1 */
    double *frequency;
};

void rope_carve(struct rope *r, const struct hparams *h, struct carve *c);
void rope_init(struct rope *r, const struct hparams *h, const struct tensor *factors);

/* cos, sin alternating, dims / 2 pairs: what backend.rope wants. */
void rope_row(const struct rope *r, uint32_t position, float *table);

#endif
