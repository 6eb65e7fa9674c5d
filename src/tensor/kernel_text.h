/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_text.h - what models that read whole texts need besides products: GELU, LayerNorm, and
 * attention within a text.  Included by kernel_lanes.h, in whose words it is written. */
#ifndef TENSOR_KERNEL_TEXT_H
#define TENSOR_KERNEL_TEXT_H

_Static_assert(TEXT_ROWS >= ROW_TILE && TEXT_STEP % LANES == 0, "scratch is for tiles of rows");

/* gelu(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, which needs no choice between lanes; with
 * erfc(a) = t e^(P(t) - a^2), t = 1 / (1 + a / 2)         (Press et al. 1992, equation 6.2.12)
 * P was fitted anew, by Chebyshev's points between the clamp and 0, in powers of two: erfc is off
 * by at most 4e-8.  Beyond the clamp what is subtracted is below 1e-21. */
INLINE vec v_gelu(vec x)
{
    vec magnitude = v_max(v_sub(v_zero(), x), x), u = v_min(v_set1(10), magnitude);
    vec t = v_div(v_set1(1), v_fma(u, v_set1(0x1.6a09e6p-2f), v_set1(1)));
    vec p = v_set1(0x1.6ff0e2p-3f);

    p = v_fma(p, t, v_set1(-0x1.210534p+0f));
    p = v_fma(p, t, v_set1(0x1.68d4cap+1f));
    p = v_fma(p, t, v_set1(-0x1.b02f16p+1f));
    p = v_fma(p, t, v_set1(0x1.cc0e36p+0f));
    p = v_fma(p, t, v_set1(-0x1.2c725cp-1f));
    p = v_fma(p, t, v_set1(0x1.6544eep-1f));
    p = v_fma(p, t, v_set1(0x1.6c6698p+0f));
    p = v_fma(p, t, v_set1(-0x1.d32268p+0f));
    p = v_exp2(v_fma(v_mul(u, u), v_set1(-0x1.715476p-1f), p));
    return v_sub(v_max(v_zero(), x), v_mul(v_mul(v_mul(u, v_set1(0.5f)), t), p));
}

/* x / (1 + e^-2z): half of 1 + tanh z. */
INLINE vec v_gelu_tanh(vec x)
{
    vec z = v_mul(x, v_fma(v_mul(x, x), v_set1(0x1.2444f2p-5f), v_set1(0x1.988454p-1f)));

    return v_div(x, v_add(v_set1(1), v_exp(v_mul(z, v_set1(-2)))));
}

INLINE void to_each(vec (*f)(vec), float *x, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(x + i, f(v_load(x + i)));
    if (i < n)
        v_store_part(x + i, f(v_load_part(x + i, n - i)), n - i);
}

static void gelu(float *x, size_t n)
{
    to_each(v_gelu, x, n);
}

static void gelu_tanh(float *x, size_t n)
{
    to_each(v_gelu_tanh, x, n);
}

/* Sums of x - less and of its square: in double, lane i mod 8, added in order. */
INLINE void sum_row(const float *x, size_t n, double less, double *sum, double *squares)
{
    double lanes[8] = {0}, square_lanes[8] = {0};
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l++) {
            double v = (double)x[i + l] - less;

            lanes[l] += v;
            square_lanes[l] += v * v;
        }
    for (; i < n; i++) {
        double v = (double)x[i] - less;

        lanes[i % 8] += v;
        square_lanes[i % 8] += v * v;
    }
    *sum = *squares = 0;
    for (size_t l = 0; l < 8; l++) {
        *sum += lanes[l];
        *squares += square_lanes[l];
    }
}

static void layernorm(const float *x, const float *w, const float *bias, size_t n, float eps,
                      float *out)
{
    double sum, squares, mean, scale;

    sum_row(x, n, 0, &sum, &squares);
    mean = sum / (double)n;
    sum_row(x, n, mean, &sum, &squares);
    scale = 1 / sqrt(squares / (double)n + (double)eps);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(((double)x[i] - mean) * scale);
    for (size_t i = 0; i < n && w; i++)
        out[i] *= w[i];
    for (size_t i = 0; i < n && bias; i++)
        out[i] += bias[i];
}

/* ---- attention within a text ----
 *
 * As over the cache: a score is a sum over dimensions in order, one lane a key, and a weighted
 * value one over keys in order, one lane a dimension.  Rows are taken by ROW_TILE from the first of
 * the job, and the keys of a tile from a multiple of LANES on. */

struct text_tile {
    const struct text_attention *a;
    size_t row;
    size_t from, to; /* the keys that some row sees; from: rounded down */
};

/* The scores of C vectors of keys from j on, in units of ln 2. */
INLINE void text_scores(const unsigned T, const unsigned C, const struct text_tile *tile, size_t j)
{
    const struct text_attention *a = tile->a;
    const float *q = a->q + tile->row * a->q_stride, *k = a->k + j;
    const vec scale = v_set1(a->scale * 0x1.715476p+0f);
    vec acc[ROW_TILE][ATTEND_VECS];

    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            acc[t][c] = v_zero();
    for (size_t d = 0; d < a->head_dim; d++, k += a->k_stride) {
        vec kc[ATTEND_VECS];

        for (unsigned c = 0; c < C; c++)
            kc[c] = v_load(k + c * LANES);
        for (unsigned t = 0; t < T; t++) {
            vec qt = v_set1(q[t * a->q_stride + d]);

            for (unsigned c = 0; c < C; c++)
                acc[t][c] = v_fma(qt, kc[c], acc[t][c]);
        }
    }
    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            v_store(a->scores + t * a->k_stride + j + c * LANES, v_mul(acc[t][c], scale));
}

/* Scores of row t of the tile become weights; returns what they add up to. */
INLINE float text_weigh(const struct text_tile *tile, size_t t)
{
    const struct text_attention *a = tile->a;
    size_t row = tile->row + t, end = (tile->to + LANES - 1) / LANES * LANES;
    float *p = a->scores + t * a->k_stride;
    vec most = v_set1(-FLT_MAX), sum = v_zero();

    for (size_t j = tile->from; j < text_first_key(a, row); j++)
        p[j] = -INFINITY;
    for (size_t j = text_end_key(a, row); j < end; j++)
        p[j] = -INFINITY;
    for (size_t j = tile->from; j < end; j += LANES)
        most = v_max(v_load(p + j), most);
    most = v_set1(v_most(most));
    for (size_t j = tile->from; j < end; j += LANES) {
        vec e = v_exp2(v_sub(v_load(p + j), most));

        v_store(p + j, e);
        sum = v_add(sum, e);
    }
    return quad_first(v_sum4(sum, sum, sum, sum));
}

/* The mean values of C vectors of dimensions from `from` on, each of `part` lanes. */
INLINE void text_mix(const unsigned T, const unsigned C, const struct text_tile *tile,
                     const float *totals, size_t from, size_t part)
{
    const struct text_attention *a = tile->a;
    const float *v = a->v + tile->from * a->v_stride + from;
    vec acc[ROW_TILE][ATTEND_VECS];

    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            acc[t][c] = v_zero();
    for (size_t j = tile->from; j < tile->to; j++, v += a->v_stride) {
        vec vc[ATTEND_VECS];

        for (unsigned c = 0; c < C; c++)
            vc[c] = part < LANES ? v_load_part(v, part) : v_load(v + c * LANES);
        for (unsigned t = 0; t < T; t++) {
            vec w = v_set1(a->scores[t * a->k_stride + j]);

            for (unsigned c = 0; c < C; c++)
                acc[t][c] = v_fma(w, vc[c], acc[t][c]);
        }
    }
    for (unsigned t = 0; t < T; t++) {
        float *out = a->out + (tile->row + t) * a->out_stride + from;

        for (unsigned c = 0; c < C; c++) {
            vec mean = v_div(acc[t][c], v_set1(totals[t]));

            if (part < LANES)
                v_store_part(out, mean, part);
            else
                v_store(out + c * LANES, mean);
        }
    }
}

INLINE void text_rows(const unsigned T, const struct text_tile *tile)
{
    const struct text_attention *a = tile->a;
    float totals[ROW_TILE];
    size_t j = tile->from, d = 0;

    for (; j + ATTEND_VECS * LANES <= tile->to; j += ATTEND_VECS * LANES)
        text_scores(T, ATTEND_VECS, tile, j);
    for (; j < tile->to; j += LANES)
        text_scores(T, 1, tile, j);
    for (size_t t = 0; t < T; t++)
        totals[t] = text_weigh(tile, t);
    for (; d + ATTEND_VECS * LANES <= a->head_dim; d += ATTEND_VECS * LANES)
        text_mix(T, ATTEND_VECS, tile, totals, d, LANES);
    if (d + ATTEND_VECS / 2 * LANES <= a->head_dim) {
        text_mix(T, ATTEND_VECS / 2, tile, totals, d, LANES);
        d += ATTEND_VECS / 2 * LANES;
    }
    for (; d + LANES <= a->head_dim; d += LANES)
        text_mix(T, 1, tile, totals, d, LANES);
    if (d < a->head_dim)
        text_mix(T, 1, tile, totals, d, a->head_dim - d);
}

static void attend_text(const struct text_attention *a)
{
    for (size_t row = 0; row < a->rows; row += ROW_TILE) {
        size_t n = a->rows - row < ROW_TILE ? a->rows - row : ROW_TILE;
        struct text_tile tile = {.a = a,
                                 .row = row,
                                 .from = text_first_key(a, row) / LANES * LANES,
                                 .to = text_end_key(a, row + n - 1)};

        if (n == 1)
            text_rows(1, &tile);
        else if (n == 2)
            text_rows(2, &tile);
        else if (n == 3)
            text_rows(3, &tile);
        else if (n == 4)
            text_rows(4, &tile);
        else if (n == 5)
            text_rows(5, &tile);
        else
            text_rows(6, &tile);
    }
}

#endif
