/* SPDX-License-Identifier: Apache-2.0 */
/* blocks.h - quantised blocks of any bits with chosen scales: what no quantiser makes, a file may
 * hold. */
#ifndef TESTS_BLOCKS_H
#define TESTS_BLOCKS_H

#include "tensor/dtype.h"
#include "tensor/packed.h"

#include <string.h>

/* Where the first f16 scale of a block stands; -1: the type has another kind of scale. */
static inline int blocks_scale_at(enum dtype type)
{
    static const int behind[DTYPE_COUNT] = {
        [DTYPE_Q2_K] = offsetof(struct block_q2_K, d),
        [DTYPE_Q3_K] = offsetof(struct block_q3_K, d),
        [DTYPE_Q6_K] = offsetof(struct block_q6_K, d),
        [DTYPE_TQ1_0] = offsetof(struct block_tq1_0, d),
        [DTYPE_TQ2_0] = offsetof(struct block_tq2_0, d),
        [DTYPE_MXFP4] = -1,
        [DTYPE_IQ1_M] = -1,
    };

    return behind[type];
}

/* Sets the scale of a block and, where the type has one, its offset: f16 numbers, of whose first
 * mxfp4 takes the power of two. */
static inline void blocks_set_scales(enum dtype type, char *block, const uint16_t halves[2])
{
    static const bool has_offset[DTYPE_COUNT] = {[DTYPE_Q4_1] = true,
                                                 [DTYPE_Q5_1] = true,
                                                 [DTYPE_Q2_K] = true,
                                                 [DTYPE_Q4_K] = true,
                                                 [DTYPE_Q5_K] = true};

    if (type == DTYPE_MXFP4)
        block[0] = (char)(128 - 15 + (halves[0] >> 10 & 31));
    else if (type == DTYPE_IQ1_M)
        for (int k = 0; k < 4; k++) /* four bits each, in the last of eight bytes */
            block[49 + 2 * k] = (char)((block[49 + 2 * k] & 15) | (halves[0] >> 4 * k & 15) << 4);
    else
        memcpy(block + blocks_scale_at(type), halves, has_offset[type] ? 4 : 2);
}

#endif
