/* SPDX-License-Identifier: Apache-2.0 */
/* plain.c - see plain.h */
#include "tensor/plain.h"

#include <math.h>

void plain_layernorm(const float *x, const float *w, const float *bias, size_t n, float eps,
                     float *out)
{
    double sum = 0, squares = 0, mean, scale;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i];
    mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += ((double)x[i] - mean) * ((double)x[i] - mean);
    scale = 1 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++) {
        float normal = (float)(((double)x[i] - mean) * scale);

        out[i] = normal * (w ? w[i] : 1) + (bias ? bias[i] : 0);
    }
}

void plain_silu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] / (1 + expf(-x[i]));
}

void plain_gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 0.5f * x[i] * (1 + erff(x[i] * 0x1.6a09e6p-1f)); /* 1 / sqrt(2) */
}

void plain_gelu_tanh(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float inner = 0x1.988454p-1f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);

        x[i] = 0.5f * x[i] * (1 + tanhf(inner)); /* 0.79788456 = sqrt(2 / pi) */
    }
}

void plain_swiglu_clamped(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = gate[i] > 7 ? 7 : gate[i];
        float u = up[i] > 7 ? 7 : up[i] < -7 ? -7 : up[i];

        gate[i] = (u + 1) * (g / (1 + expf(-1.702f * g)));
    }
}

void plain_sigmoid_scale(float *x, float by, size_t n)
{
    plain_scale(x, 1 / (1 + expf(-by)), n);
}

void plain_mul(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= y[i];
}

void plain_tanh(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = tanhf(x[i]);
}

void plain_scale(float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

void plain_softcap(float *x, float cap, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = cap * tanhf(x[i] / cap);
}
