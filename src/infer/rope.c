/* SPDX-License-Identifier: Apache-2.0 */
/* rope.c - see rope.h */
#include "infer/rope.h"

#include <math.h>

void rope_carve(struct rope *r, const struct hparams *h, struct carve *c)
{
    *r = (struct rope){.dims = h->rope_dims, .length = 1};
    r->frequency = carve_array(c, double, r->dims / 2);
}

/* The pair that turns `turns` times within the original context (Peng et al. 2023, section 3.2). */
static double yarn_pair(const struct hparams *h, double turns)
{
    return h->rope_dims * log(h->rope_ctx_orig / (turns * 2 * M_PI)) /
           (2 * log((double)h->rope_base));
}

/* How much of pair i keeps its frequency: 1 for those that turn often, 0 for the slow ones. */
static double yarn_kept(const struct hparams *h, size_t i)
{
    double last = (double)h->rope_dims - 1;
    double low = yarn_pair(h, (double)h->yarn_beta_fast);
    double high = yarn_pair(h, (double)h->yarn_beta_slow);
    double ramp;

    if (!h->yarn_between) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(0, low);
    high = fmin(last, high);
    ramp = ((double)i - low) / fmax(0.001, high - low);

    return 1 - fmin(1, fmax(0, ramp));
}

void rope_init(struct rope *r, const struct hparams *h, const struct tensor *factors)
{
    double factor = (double)h->rope_factor;

    for (size_t i = 0; i < r->dims / 2; i++) {
        double f = pow((double)h->rope_base, -2 * (double)i / (double)r->dims);

        if (factors) {
            float values[Q_BLOCK];
            const struct dtype_info *type = dtype_info(factors->type);
            size_t block = i / type->block;

            type->to_f32((const char *)factors->data + block * type->block_bytes, values,
                         type->block);
            f /= (double)values[i % type->block];
        }
        if (h->rope_scaling == ROPE_LINEAR) {
            f /= factor;
        } else if (h->rope_scaling == ROPE_YARN) {
            double kept = yarn_kept(h, i) * (double)h->yarn_ext;
            f = f / factor * (1 - kept) + f * kept;
        }
        r->frequency[i] = f;
    }
    r->length = 1;
    if (h->rope_scaling == ROPE_LONGROPE)
        r->length = h->yarn_attn;
    if (h->rope_scaling == ROPE_YARN)
        r->length = h->yarn_attn * (h->yarn_ext != 0 ? (float)(1 + 0.1 * log(factor)) : 1);
}

void rope_row(const struct rope *r, uint32_t position, float *table)
{
    for (size_t i = 0; i < r->dims / 2; i++) {
        double angle = (double)position * r->frequency[i];

        table[2 * i] = (float)cos(angle) * r->length;
        table[2 * i + 1] = (float)sin(angle) * r->length;
    }
}
