/* SPDX-License-Identifier: Apache-2.0 */
/* backend.h - where kernels meet the rest: one table per kind of processor.
 *
 * Promise: an output element is computed by the same operations in the same order whatever the
 * number of rows, vectors or threads of the call it is part of.  So results do not depend on batch
 * or thread count. (Between back ends the last bits may differ.)  Kernels allocate nothing, keep no
 * state, and may be called by any number of threads on disjoint outputs.  No pointer need be
 * aligned beyond its element, unless said so. NaN and infinity pass through; nothing traps. */
#ifndef TENSOR_BACKEND_H
#define TENSOR_BACKEND_H

#include "tensor/tensor.h"

#include <stdbool.h>

struct backend {
    const char *name; /* "ref", "avx2", "avx512vnni" */
    bool (*usable)(
        void); /* does this processor have the instructions (CPUID bits and OS support) */

    /* Activations are prepared once per vector for the type of the weights that will multiply it:
     * f32 stays f32; for all quantised weights x is quantised to blocks of 32 int8 with an f32
     * scale.  Weight types of equal prepared form share it: prepared_form(q8_0) ==
     * prepared_form(q4_K). */
    unsigned (*prepared_form)(enum dtype weights);
    size_t (*prepared_bytes)(enum dtype weights, size_t inner); /* a multiple of 64 */
    void (*prepare)(enum dtype weights, const float *x, size_t inner, void *out);

    /* out[t * out_stride + r] = sum_i w[r][i] * x[t][i], r in [row_begin, row_end), t in [0, n).
     * x: n prepared vectors, prepared_bytes apart, 64-byte aligned. */
    void (*matmul)(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride);

    /* out[i] = x[i] * w[i] / sqrt(mean(x^2) + eps)      (Zhang & Sennrich 2019, eq. 4); out may be
     * x */
    void (*rmsnorm)(const float *x, const float *w, size_t n, float eps, float *out);
    void (*add)(float *x, const float *y, size_t n);        /* x += y */
    void (*swiglu)(float *gate, const float *up, size_t n); /* gate = silu(gate) * up */
    /* Rotates pairs of one head in place.  table: cos, sin alternating, dims / 2 pairs.
     * interleaved: pairs (2i, 2i + 1), llama's GGUF layout; else (i, i + dims / 2), "neox".
     * (Su et al. 2021, eq. 34).  Elements from dims on stay. */
    void (*rope)(float *head, const float *table, size_t dims, bool interleaved);

    /* Attention of one query head over `keys` cached positions, f16 cache, in pages.
     * k_pages[p], v_pages[p]: [page_tokens][head_dim] f16 of this KV head, row stride `stride`
     * elements. out[head_dim] = softmax(scale * q k^T) v; scores: scratch of `keys` f32.  Keys are
     * summed in position order in fixed blocks, whatever the pages. */
    void (*attend)(const float *q, const uint16_t *const *k_pages, const uint16_t *const *v_pages,
                   size_t page_tokens, size_t stride, size_t keys, size_t head_dim, float scale,
                   float *scores, float *out);

    void (*f32_to_f16_row)(const float *x, uint16_t *out, size_t n);
    void (*row_to_f32)(enum dtype type, const void *row, float *out,
                       size_t n); /* embedding lookup */
};

/* The best one for this processor, found once by CPUID feature bits, never by family.
 * LLMOS_BACKEND=name in the environment overrides (tests, benchmarks) where that one is usable. */
const struct backend *backend_best(void);
const struct backend *backend_by_name(const char *name); /* NULL if unknown or not usable here */
const struct backend *backend_at(unsigned i); /* i-th compiled in, best first; NULL at the end */

extern const struct backend backend_ref; /* plain C: the specification */
#if defined(__x86_64__)
extern const struct backend backend_avx2, backend_avx512vnni;
#endif

#endif
