/* SPDX-License-Identifier: Apache-2.0 */
/* hfmethod.h - how those who quantise folders lay out a matrix: a table of layouts.
 *
 * Sources of the layouts, which their programs define: AutoGPTQ and GPTQModel (qlinear), AutoAWQ
 * (modules/linear/gemm.py), compressed-tensors (compressors), bitsandbytes (functional.py,
 * nn/modules.py), transformers (integrations), gpt-oss.
 *
 *   gptq                  X.qweight int32 [inputs * bits / 32][outputs], X.qzeros [groups][outputs
 * * bits / 32] (each less one but in "gptq_v2"), X.scales [groups][outputs], X.g_idx [inputs]; 2,
 * 3, 4 or 8 bits awq, "gemm"           X.qweight int32 [inputs][outputs / 8], X.qzeros
 * [groups][outputs / 8], both with numbers 0 2 4 6 1 3 5 7 in a word; X.scales [groups][outputs]
 *   compressed-tensors    X.weight_packed int32 [outputs][inputs * bits / 32], X.weight_scale
 *                         [outputs][groups], X.weight_zero_point int32 [outputs * bits /
 * 32][groups], X.weight_g_idx, X.weight_shape; or X.weight int8 or FP8 with X.weight_scale; or
 * X.weight_packed uint8 with E2M1 (nvfp4, mxfp4) bitsandbytes          X.weight int8 with X.SCB
 * (largest of a row); or 4 bits with X.weight.absmax, .quant_map, .quant_state.bitsandbytes__nf4 or
 * __fp4, and .nested_absmax and .nested_quant_map for absmax that are codes mxfp4 (gpt-oss)
 * X_blocks uint8 [experts][rows][blocks][16], X_scales uint8 fp8, fbgemm_fp8       X float8_e4m3
 * with X_scale_inv or X_scale for all, rows or blocks */
#ifndef MODEL_HFMETHOD_H
#define MODEL_HFMETHOD_H

#include "model/hfsource.h"

#define HFMETHOD_BITS_MAX 16

/* What config.json says, and which tensors a matrix took.  Lives while a folder is read. */
struct hfmethod {
    const struct hffolder *folder;
    struct arena *arena;
    struct llmos_error *err;
    struct str name; /* `at` NULL: not said */
    bool zeros_are_less_one;
    uint32_t group_columns;             /* 0: not said; UINT32_MAX: all */
    uint32_t block_rows, block_columns; /* of FP8 */
    uint32_t bits[HFMETHOD_BITS_MAX];   /* that may be packed */
    uint32_t bits_count;
    const float *e4m3, *e2m1; /* levels */
    bool *is_taken;           /* of each tensor of the folder */
};

int hfmethod_init(struct hfmethod *m, const struct hffolder *f, struct arena *arena,
                  struct llmos_error *err);

/* 1: tensor i of the folder is the codes of a matrix, which is *out. */
int hfmethod_open(struct hfmethod *m, uint32_t i, struct hfsource *out);

/* After all were opened.  1: tensor i belongs to a matrix, or tells what is of no use here; 0: it
 * stands for itself. */
int hfmethod_takes(const struct hfmethod *m, uint32_t i);

#endif
