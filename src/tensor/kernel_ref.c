/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_ref.c - every kernel in plain C: the specification the fast ones are tested against. */
#include "tensor/backend.h"
#include "tensor/kquant.h"
#include "tensor/plain.h"
#include "tensor/step.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Sums are kept in double, in index order: what is compared with this has errors of its own only.
 */

struct x_q8 {
    float d;
    int8_t q[Q_BLOCK];
};

static bool always(void)
{
    return true;
}

static enum form prepared_form(enum dtype weights)
{
    return dtype_is_integer(weights) ? FORM_Q8 : weights == DTYPE_BF16 ? FORM_BF16 : FORM_F32;
}

static size_t prepared_bytes(enum dtype weights, size_t inner)
{
    size_t bytes = prepared_form(weights) == FORM_Q8 ? inner / Q_BLOCK * sizeof(struct x_q8)
                                                     : inner * sizeof(float);

    return (bytes + 63) / 64 * 64;
}

/* q = x / d to nearest even, where d is the step (step.h).  Not finite: d is NaN and so is every
 * product. */
static void quantise_block(const float *x, struct x_q8 *out)
{
    struct step step;
    float most = 0, scale;

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < Q_BLOCK; i++) {
        if (!(fabsf(x[i]) < STEP_MOST)) {
            out->d = NAN;
            return;
        }
        most = fmaxf(most, fabsf(x[i]));
    }
    if (most < STEP_LEAST)
        return;
    step = step_for(most);
    out->d = step.power * step_factors[step.factor];
    scale = 1 / out->d;
    for (size_t i = 0; i < Q_BLOCK; i++)
        out->q[i] = (int8_t)rintf(x[i] * scale);
}

static void prepare(enum dtype weights, const float *x, size_t inner, void *out)
{
    struct x_q8 *blocks = out;

    if (prepared_form(weights) == FORM_F32) {
        memcpy(out, x, inner * sizeof(float));
        return;
    }
    if (prepared_form(weights) == FORM_BF16) {
        for (size_t i = 0; i < inner; i++)
            ((float *)out)[i] = bf16_to_f32(f32_to_bf16(x[i]));
        return;
    }
    for (size_t b = 0; b < inner / Q_BLOCK; b++)
        quantise_block(x + b * Q_BLOCK, &blocks[b]);
}

/* 32 weights: value i = d[i / 16] * q[i] + m[i / 16].  As in files they are one or several to a
 * block. */
struct w_block {
    float d[2], m[2];
    int8_t q[Q_BLOCK];
};

static void nibbles(const uint8_t *q, const uint8_t *high, int bias, struct w_block *out)
{
    for (size_t j = 0; j < Q_BLOCK; j++) {
        int v = (j < Q_BLOCK / 2 ? q[j] & 15 : q[j - Q_BLOCK / 2] >> 4) - bias;

        out->q[j] = (int8_t)(high ? v + ((high[j / 8] >> j % 8 & 1) << 4) : v);
    }
}

static void get_q2_k(const char *row, size_t b, struct w_block *out)
{
    struct block_q2_K k;

    memcpy(&k, row + b / 8 * sizeof(k), sizeof(k));
    for (size_t h = 0; h < 2; h++) {
        out->d[h] = f16_to_f32(k.d) * (float)(k.scales[b % 8 * 2 + h] & 15);
        out->m[h] = -f16_to_f32(k.dmin) * (float)(k.scales[b % 8 * 2 + h] >> 4);
    }
    for (size_t l = 0; l < Q_BLOCK; l++)
        out->q[l] = (int8_t)(k.q[b % 8 / 4 * 32 + l] >> 2 * (b % 4) & 3);
}

static void get_q3_k(const char *row, size_t b, struct w_block *out)
{
    struct block_q3_K k;

    memcpy(&k, row + b / 8 * sizeof(k), sizeof(k));
    for (size_t h = 0; h < 2; h++)
        out->d[h] = f16_to_f32(k.d) * (float)q3_k_scale(k.scales, b % 8 * 2 + h);
    for (size_t l = 0; l < Q_BLOCK; l++)
        out->q[l] = (int8_t)((k.q[b % 8 / 4 * 32 + l] >> 2 * (b % 4) & 3) +
                             (k.high[l] >> b % 8 & 1) * 4 - 4);
}

static void get_q5_k(const char *row, size_t b, struct w_block *out)
{
    struct block_q5_K k;
    unsigned scale, min;

    memcpy(&k, row + b / 8 * sizeof(k), sizeof(k));
    q4_k_scale(k.scales, b % 8, &scale, &min);
    out->d[0] = out->d[1] = f16_to_f32(k.d) * (float)scale;
    out->m[0] = out->m[1] = -f16_to_f32(k.dmin) * (float)min;
    for (size_t l = 0; l < Q_BLOCK; l++) {
        unsigned q = k.q[b % 8 / 2 * 32 + l];

        out->q[l] = (int8_t)((b % 2 ? q >> 4 : q & 15u) + (k.high[l] >> b % 8 & 1u) * 16);
    }
}

static void levels(const uint8_t *q, const int8_t *of, struct w_block *out)
{
    for (size_t j = 0; j < Q_BLOCK; j++)
        out->q[j] = of[j < Q_BLOCK / 2 ? q[j] & 15 : q[j - Q_BLOCK / 2] >> 4];
}

static void get_iq4_xs(const char *row, size_t b, struct w_block *out)
{
    struct block_iq4_xs k;
    size_t part = b % 8;

    memcpy(&k, row + b / 8 * sizeof(k), sizeof(k));
    out->d[0] = out->d[1] = f16_to_f32(k.d) * (float)iq4_xs_scale(&k, part);
    levels(k.q + part * Q_BLOCK / 2, iq4_levels, out);
}

static void get_q4_k(const char *row, size_t b, struct w_block *out)
{
    struct block_q4_K k;
    unsigned scale, min;

    memcpy(&k, row + b / 8 * sizeof(k), sizeof(k));
    q4_k_scale(k.scales, b % 8, &scale, &min);
    out->d[0] = out->d[1] = f16_to_f32(k.d) * (float)scale;
    out->m[0] = out->m[1] = -f16_to_f32(k.dmin) * (float)min;
    for (size_t l = 0; l < Q_BLOCK; l++) {
        unsigned q = k.q[b % 8 / 2 * 32 + l];

        out->q[l] = (int8_t)(b % 2 ? q >> 4 : q & 15u);
    }
}

static void get_q6_k(const char *row, size_t b, struct w_block *out)
{
    struct block_q6_K k;

    memcpy(&k, row + b / 8 * sizeof(k), sizeof(k));
    for (size_t h = 0; h < 2; h++)
        out->d[h] = f16_to_f32(k.d) * (float)k.scale[b % 8 * 2 + h];
    for (size_t l = 0; l < Q_BLOCK; l++)
        out->q[l] = (int8_t)((int)q6_k_quant(&k, b % 8 * 32 + l) - 32);
}

static void (*const super_block[DTYPE_COUNT])(const char *row, size_t b, struct w_block *out) = {
    [DTYPE_Q2_K] = get_q2_k, [DTYPE_Q3_K] = get_q3_k, [DTYPE_Q4_K] = get_q4_k,
    [DTYPE_Q5_K] = get_q5_k, [DTYPE_Q6_K] = get_q6_k, [DTYPE_IQ4_XS] = get_iq4_xs,
};

static void get_block(enum dtype type, const char *row, size_t b, struct w_block *out)
{
    const char *at = row + b * dtype_info(type)->block_bytes;
    union {
        struct block_q8_0 q8_0;
        struct block_q4_0 q4_0;
        struct block_q4_1 q4_1;
        struct block_q5_0 q5_0;
        struct block_q5_1 q5_1;
        struct block_iq4_nl iq4_nl;
        struct block_mxfp4 mxfp4;
    } w;

    out->m[0] = out->m[1] = 0;
    if (super_block[type]) {
        super_block[type](row, b, out);
        return;
    }
    memcpy(&w, at, dtype_info(type)->block_bytes);
    /* d comes first in all of them */
    out->d[0] = out->d[1] = type == DTYPE_MXFP4 ? mxfp4_scale(w.mxfp4.e) : f16_to_f32(w.q8_0.d);
    if (type == DTYPE_Q4_1 || type == DTYPE_Q5_1)
        out->m[0] = out->m[1] = f16_to_f32(w.q4_1.m);
    if (type == DTYPE_Q8_0)
        memcpy(out->q, w.q8_0.q, Q_BLOCK);
    else if (type == DTYPE_Q4_0)
        nibbles(w.q4_0.q, NULL, 8, out);
    else if (type == DTYPE_Q4_1)
        nibbles(w.q4_1.q, NULL, 0, out);
    else if (type == DTYPE_Q5_0)
        nibbles(w.q5_0.q, w.q5_0.high, 16, out);
    else if (type == DTYPE_Q5_1)
        nibbles(w.q5_1.q, w.q5_1.high, 0, out);
    else if (type == DTYPE_IQ4_NL)
        levels(w.iq4_nl.q, iq4_levels, out);
    else
        levels(w.mxfp4.q, mxfp4_levels, out);
}

#define TILE  16  /* vectors that share a decoded piece of a row */
#define PIECE 256 /* decoded weights at a time; a multiple of Q_BLOCK */

/* The sum of 32 values (d q + m) * x_d x_q: integers are added exactly, for each scale. */
static double block_dot(const struct w_block *w, const struct x_q8 *x)
{
    int32_t sums[2] = {0}, x_sums[2] = {0};
    double sum = 0;

    for (size_t i = 0; i < Q_BLOCK; i++) {
        sums[i / (Q_BLOCK / 2)] += w->q[i] * x->q[i];
        x_sums[i / (Q_BLOCK / 2)] += x->q[i];
    }
    for (size_t h = 0; h < 2; h++)
        sum += (double)w->d[h] * sums[h] + (double)w->m[h] * x_sums[h];
    return (double)x->d * sum;
}

static void dots_q8(enum dtype type, const char *row, size_t inner, const char *x, size_t x_bytes,
                    size_t n, double *sums)
{
    for (size_t b = 0; b < inner / Q_BLOCK; b++) {
        struct w_block w;

        get_block(type, row, b, &w);
        for (size_t t = 0; t < n; t++)
            sums[t] += block_dot(&w, (const struct x_q8 *)(const void *)(x + t * x_bytes) + b);
    }
}

static void dots_f32(enum dtype type, const char *row, size_t inner, const char *x, size_t x_bytes,
                     size_t n, double *sums)
{
    const struct dtype_info *info = dtype_info(type);

    for (size_t i = 0; i < inner; i += PIECE) {
        size_t count = inner - i < PIECE ? inner - i : PIECE;
        float w[PIECE];

        info->to_f32(row + i / info->block * info->block_bytes, w, count);
        for (size_t t = 0; t < n; t++) {
            const float *xt = (const float *)(const void *)(x + t * x_bytes) + i;

            for (size_t k = 0; k < count; k++)
                sums[t] += (double)w[k] * (double)xt[k];
        }
    }
}

static void matmul(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride)
{
    size_t inner = w->shape[0], x_bytes = prepared_bytes(w->type, inner);

    for (size_t r = row_begin; r < row_end; r++) {
        for (size_t t = 0; t < n; t += TILE) {
            size_t count = n - t < TILE ? n - t : TILE;
            const char *xt = (const char *)x + t * x_bytes;
            double sums[TILE] = {0};

            if (prepared_form(w->type) == FORM_Q8)
                dots_q8(w->type, tensor_row(w, r), inner, xt, x_bytes, count, sums);
            else
                dots_f32(w->type, tensor_row(w, r), inner, xt, x_bytes, count, sums);
            for (size_t i = 0; i < count; i++)
                out[(t + i) * out_stride + r] = (float)sums[i];
        }
    }
}

static void rmsnorm(const float *x, const float *w, size_t n, float eps, float *out)
{
    double sum = 0;
    float scale;

    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    scale = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void swiglu(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

static void rope(float *head, const float *table, size_t dims, bool interleaved)
{
    size_t step = interleaved ? 2 : 1, apart = interleaved ? 1 : dims / 2;

    for (size_t i = 0; i < dims / 2; i++) {
        float *a = head + i * step, *b = a + apart;
        float c = table[2 * i], s = table[2 * i + 1], x = *a, y = *b;

        *a = x * c - y * s;
        *b = x * s + y * c;
    }
}

/* ---- attention ----
 *
 * A block of keys gives a row its largest score m, the sum l of its weights e^(score - m), and the
 * values weighted likewise, o.  Blocks are added up in order, both sides brought to the larger m
 * (Milakov & Gimelshein 2018, eq. 4). */

struct sums {
    float m, l, *o;
};

struct weights {
    float p[ATTEND_BLOCK], m, l;
    size_t begin, count;
};

static size_t keys_of(const struct attention *a, size_t row)
{
    return a->first + row / a->heads + 1;
}

static float scale_at(const void *run, size_t head_dim, size_t block, size_t at)
{
    const uint16_t *d = (const void *)((const char *)run + attend_scales_at(head_dim));

    return f16_to_f32(d[block * ATTEND_PAGE + at]);
}

static const int8_t *key_quant(const void *run, size_t at, size_t i)
{
    return (const int8_t *)run + i / 4 * 4 * ATTEND_PAGE + at * 4 + i % 4;
}

/* Of a query and a key, dimensions [i, i + Q_BLOCK) or as many as there are. */
static double score_q8_block(const float *q, const void *k, size_t head_dim, size_t at, size_t i)
{
    size_t n = head_dim - i < Q_BLOCK ? head_dim - i : Q_BLOCK;
    float padded[Q_BLOCK] = {0};
    struct x_q8 x;
    int32_t sum = 0;

    memcpy(padded, q + i, n * sizeof(*q));
    quantise_block(padded, &x);
    for (size_t l = 0; l < n; l++)
        sum += x.q[l] * *key_quant(k, at, i + l);
    return (double)x.d * (double)scale_at(k, head_dim, i / Q_BLOCK, at) * sum;
}

static float score(const struct attention *a, size_t row, size_t key)
{
    const float *q = a->q + row / a->heads * a->q_stride + row % a->heads * a->head_dim;
    const void *k = a->k_pages[key / ATTEND_PAGE];
    size_t at = key % ATTEND_PAGE;
    double sum = 0;

    if (a->type == DTYPE_F16)
        for (size_t i = 0; i < a->head_dim; i++)
            sum += (double)q[i] * (double)f16_to_f32(((const uint16_t *)k)[i * ATTEND_PAGE + at]);
    else
        for (size_t i = 0; i < a->head_dim; i += Q_BLOCK)
            sum += score_q8_block(q, k, a->head_dim, at, i);
    sum = (double)((float)sum * a->scale);
    if (a->softcap != 0)
        sum = (double)a->softcap * tanh(sum / (double)a->softcap);
    return (float)sum;
}

static void weigh(const struct attention *a, size_t row, size_t block, struct weights *w)
{
    size_t keys = keys_of(a, row), first = attention_first_key(a, a->first + row / a->heads);
    double total = 0;

    w->begin = block * ATTEND_BLOCK;
    w->count = keys - w->begin < ATTEND_BLOCK ? keys - w->begin : ATTEND_BLOCK;
    w->m = -FLT_MAX; /* not infinity: scores of -infinity shall weigh nothing, not be NaN */
    for (size_t j = 0; j < w->count; j++) {
        w->p[j] = w->begin + j < first ? -INFINITY : score(a, row, w->begin + j);
        w->m = fmaxf(w->m, w->p[j]);
    }
    for (size_t j = 0; j < w->count; j++) {
        w->p[j] = expf(w->p[j] - w->m);
        total += (double)w->p[j];
    }
    w->l = (float)total;
}

static float value_at(const struct attention *a, size_t key, size_t i)
{
    const void *v = a->v_pages[key / ATTEND_PAGE];
    size_t at = key % ATTEND_PAGE, n = at * a->head_dim + i;

    if (a->type == DTYPE_F16)
        return f16_to_f32(((const uint16_t *)v)[n]);
    return scale_at(v, a->head_dim, i / Q_BLOCK, at) * (float)((const int8_t *)v)[n];
}

static float weighted_value(const struct attention *a, const struct weights *w, size_t i)
{
    double sum = 0;

    for (size_t j = 0; j < w->count; j++)
        sum += (double)w->p[j] * (double)value_at(a, w->begin + j, i);
    return (float)sum;
}

/* Brings both sides to the larger score; returns what the values are to be multiplied by. */
static float join_sums(struct sums *s, float m, float l, float *its)
{
    float most = fmaxf(s->m, m), mine = expf(s->m - most);

    *its = expf(m - most);
    s->m = most;
    s->l = s->l * mine + l * *its;
    return mine;
}

static struct sums start(const struct attention *a, size_t row)
{
    return (struct sums){.o = a->out + row / a->heads * a->out_stride +
                              row % a->heads * a->head_dim};
}

/* Weights sum up to one, the sink's among them. */
static void finish(const struct attention *a, size_t row, struct sums *s)
{
    if (a->sinks)
        s->l += expf(a->sinks[row % a->heads] - s->m);
    for (size_t i = 0; i < a->head_dim; i++)
        s->o[i] /= s->l;
}

static void attend(const struct attention *a)
{
    for (size_t r = 0; r < attention_rows(a); r++) {
        struct sums s = start(a, r);
        size_t first = attention_first_block(a);

        for (size_t b = first; b * ATTEND_BLOCK < keys_of(a, r); b++) {
            struct weights w;
            float mine, its;

            weigh(a, r, b, &w);
            if (b == first) {
                s.m = w.m;
                s.l = w.l;
                for (size_t i = 0; i < a->head_dim; i++)
                    s.o[i] = weighted_value(a, &w, i);
                continue;
            }
            mine = join_sums(&s, w.m, w.l, &its);
            for (size_t i = 0; i < a->head_dim; i++)
                s.o[i] = s.o[i] * mine + weighted_value(a, &w, i) * its;
        }
        finish(a, r, &s);
    }
}

static void attend_block(const struct attention *a, size_t block, float *partial)
{
    size_t rows = attention_rows(a);
    float *m = partial + rows * a->head_dim, *l = m + rows;

    for (size_t r = 0; r < rows; r++) {
        struct weights w;

        if (keys_of(a, r) <= block * ATTEND_BLOCK || block < attention_first_block(a))
            continue;
        weigh(a, r, block, &w);
        m[r] = w.m;
        l[r] = w.l;
        for (size_t i = 0; i < a->head_dim; i++)
            partial[r * a->head_dim + i] = weighted_value(a, &w, i);
    }
}

static void attend_join(const struct attention *a, const float *partials)
{
    size_t rows = attention_rows(a), dim = a->head_dim, first = attention_first_block(a);

    for (size_t r = 0; r < rows; r++) {
        struct sums s = start(a, r);

        for (size_t b = first; b * ATTEND_BLOCK < keys_of(a, r); b++) {
            const float *o = partials + b * attention_floats(a) + r * dim;
            const float *m = partials + b * attention_floats(a) + rows * dim + r, *l = m + rows;
            float mine, its;

            if (b == first) {
                s.m = *m;
                s.l = *l;
                memcpy(s.o, o, dim * sizeof(*o));
                continue;
            }
            mine = join_sums(&s, *m, *l, &its);
            for (size_t i = 0; i < dim; i++)
                s.o[i] = s.o[i] * mine + o[i] * its;
        }
        finish(a, r, &s);
    }
}

/* Block b of one head, to be stored. */
static struct block_q8_0 stored_block(const float *x, size_t head_dim, size_t b)
{
    size_t i = b * Q_BLOCK, n = head_dim - i < Q_BLOCK ? head_dim - i : Q_BLOCK;
    float padded[Q_BLOCK] = {0};
    struct block_q8_0 block;

    memcpy(padded, x + i, n * sizeof(*x));
    dtype_info(DTYPE_Q8_0)->from_f32(padded, NULL, &block, Q_BLOCK);
    return block;
}

static void store_q8(const float *x, size_t head_dim, bool is_value, void *run, size_t at)
{
    uint16_t *d = (void *)((char *)run + attend_scales_at(head_dim));
    int8_t *quants = run;

    for (size_t b = 0; b < attend_blocks_of(head_dim); b++) {
        struct block_q8_0 block = stored_block(x, head_dim, b);
        size_t whole = is_value ? head_dim : attend_groups_of(head_dim) * 4;

        d[b * ATTEND_PAGE + at] = block.d;
        for (size_t l = 0; l < Q_BLOCK && b * Q_BLOCK + l < whole; l++) {
            size_t i = b * Q_BLOCK + l;

            quants[is_value ? at * head_dim + i : i / 4 * 4 * ATTEND_PAGE + at * 4 + i % 4] =
                block.q[l];
        }
    }
}

static void store(enum dtype type, const float *x, size_t head_dim, bool is_value, void *run,
                  size_t at)
{
    uint16_t *halves = run;

    if (type == DTYPE_F16)
        for (size_t i = 0; i < head_dim; i++)
            halves[is_value ? at * head_dim + i : i * ATTEND_PAGE + at] = f32_to_f16(x[i]);
    else
        store_q8(x, head_dim, is_value, run, at);
}

static void store_keys(enum dtype type, const float *x, size_t stride, size_t n, size_t head_dim,
                       void *run, size_t at)
{
    for (size_t i = 0; i < n; i++)
        store(type, x + i * stride, head_dim, false, run, at + i);
}

static void store_values(enum dtype type, const float *x, size_t stride, size_t n, size_t head_dim,
                         void *run, size_t at)
{
    for (size_t i = 0; i < n; i++)
        store(type, x + i * stride, head_dim, true, run, at + i);
}

static void weigh_text(const struct text_attention *a, size_t row)
{
    size_t begin = text_first_key(a, row), end = text_end_key(a, row);
    float most = -FLT_MAX;
    double total = 0;

    for (size_t j = begin; j < end; j++) {
        double sum = 0;

        for (size_t i = 0; i < a->head_dim; i++)
            sum += (double)a->q[row * a->q_stride + i] * (double)a->k[i * a->k_stride + j];
        a->scores[j] = (float)sum * a->scale;
        most = fmaxf(most, a->scores[j]);
    }
    for (size_t j = begin; j < end; j++) {
        a->scores[j] = expf(a->scores[j] - most);
        total += (double)a->scores[j];
    }
    for (size_t j = begin; j < end; j++)
        a->scores[j] = (float)((double)a->scores[j] / total);
}

static void attend_text(const struct text_attention *a)
{
    for (size_t row = 0; row < a->rows; row++) {
        weigh_text(a, row);
        for (size_t i = 0; i < a->head_dim; i++) {
            double sum = 0;

            for (size_t j = text_first_key(a, row); j < text_end_key(a, row); j++)
                sum += (double)a->scores[j] * (double)a->v[j * a->v_stride + i];
            a->out[row * a->out_stride + i] = (float)sum;
        }
    }
}

static void row_to_f32(enum dtype type, const void *row, float *out, size_t n)
{
    dtype_info(type)->to_f32(row, out, n);
}

const struct backend backend_ref = {
    .name = "ref",
    .usable = always,
    .prepared_form = prepared_form,
    .prepared_bytes = prepared_bytes,
    .prepare = prepare,
    .matmul = matmul,
    .rmsnorm = rmsnorm,
    .add = add,
    .swiglu = swiglu,
    .rope = rope,
    .attend = attend,
    .attend_block = attend_block,
    .attend_join = attend_join,
    .store_keys = store_keys,
    .store_values = store_values,
    .row_to_f32 = row_to_f32,
    .gelu = plain_gelu,
    .gelu_tanh = plain_gelu_tanh,
    .layernorm = plain_layernorm,
    .attend_text = attend_text,
};
