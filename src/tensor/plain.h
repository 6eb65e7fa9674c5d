/* SPDX-License-Identifier: Apache-2.0 */
/* plain.h - work on single rows that is too little, or too rare, to be written for each processor.
 *
 * Beside backend.h: the same code, and so the same bits, everywhere.  An element depends on its
 * row alone (norms) or on nothing but itself.  Allocates nothing; any thread. */
#ifndef TENSOR_PLAIN_H
#define TENSOR_PLAIN_H

#include <stddef.h>

/* out[i] = (x[i] - mean) / sqrt(variance + eps) * w[i] + bias[i]   (Ba et al. 2016, eq. 4); w and
 * bias may be NULL; out may be x. */
void plain_layernorm(const float *x, const float *w, const float *bias, size_t n, float eps,
                     float *out);

/* x = x / (1 + e^-x) */
void plain_silu(float *x, size_t n);

/* x = x / 2 * (1 + erf(x / sqrt(2)))                              (Hendrycks & Gimpel 2016) */
void plain_gelu(float *x, size_t n);

/* x = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))       (likewise, an approximation of
 * it) */
void plain_gelu_tanh(float *x, size_t n);

/* gate = (up + 1) * gate / (1 + e^(-1.702 gate)), gate at most 7 and up between -7 and 7 before
 * (OpenAI 2025, gpt-oss model card) */
void plain_swiglu_clamped(float *gate, const float *up, size_t n);

/* x *= 1 / (1 + e^-by) */
void plain_sigmoid_scale(float *x, float by, size_t n);

void plain_mul(float *x, const float *y, size_t n); /* x *= y */
void plain_tanh(float *x, size_t n);                /* x = tanh(x) */
void plain_scale(float *x, float factor, size_t n); /* x *= factor */
void plain_softcap(float *x, float cap, size_t n);  /* x = cap * tanh(x / cap) */

#endif
