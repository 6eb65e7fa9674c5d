/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_lanes.h - kernels over lanes of f32, written once and compiled for each instruction set.
 *
 * Included by kernel_avx2.c, kernel_avx512.c and kernel_neon.c only, after they have defined `vec`
 * (LANES floats, at least ROW_TILE), the operations below, TILE_T and ATTEND_VECS.  Everything is
 * static: no code compiled for one processor can be picked by the linker for another.
 *
 *   v_zero v_set1 v_load v_load_part v_store v_store_part v_add v_mul v_div v_min v_max v_fma
 *   v_round  to the nearest integer        v_scale2(p, n)  p * 2^n, n integral in [-152, 129]
 *   v_f16 v_f16_part v_bf16 v_bf16_part    load and widen
 *   v_i8 v_i8_part                         likewise, from signed bytes
 *   v_to_f16 v_to_f16_part                 narrow and store
 *   v_sum4(a, b, c, d)                     the four sums over lanes, by one fixed tree
 *   v_if(bool, a, b)                       a or b
 *   v_most(a)                              the largest lane, where none is NaN
 *   v_min, v_max give their second operand where one is NaN
 *   quad                                   four floats: quad_load quad_store quad_add quad_first
 *   most_magnitude(x)                      the largest of |x|, 32 of them, as the bits of a float
 *   quants(x, scale, out, &low, &high)     32 times x * scale to the nearest integer, which int8
 *                                          holds, and the sums of the first and the last sixteen
 *   store_keys_8x8(x, stride, page)        page[d * ATTEND_PAGE + i] = x[i * stride + d] as f16
 *
 * and for products of signed bytes in [-127, 127], four to a lane: `ints` and `keys4`,
 *   i_keys(p)           fours of LANES keys    i_start(minus_128_sum)  what sums begin with: x_q8's
 *   i_dot(sum, k, q)    + four products a lane, of the same four of q
 *   v_of_ints(sum)      as floats */
#ifndef TENSOR_KERNEL_LANES_H
#define TENSOR_KERNEL_LANES_H

#include "tensor/backend.h"
#include "tensor/step.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* ---- float weights ----
 *
 * An element is a sum over pieces of CHUNK values in order; within a piece lane l sums the values
 * l, l + LANES, ... in order, and v_sum4 adds the lanes.  A chunk of TILE_T vectors stays in the
 * level-1 cache while ROW_BLOCK rows pass, and those rows' chunks stay in level 2 for all vectors.
 */
#define CHUNK      1024
#define ROW_BLOCK  64
#define STREAM_MAX 16 /* vectors; with more the time goes into arithmetic */

/* Brings weights that are streamed nearer.  Rows are read several at a time, each
 * of them too short for the processor to notice a stream; the rows that come next are one piece of
 * memory, and are asked for in its order. */
INLINE void fetch(const char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + i);
}

INLINE void fetch_level2(const char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(p + i, 0, 2);
}

/* Four rows and the next four must leave room for the vectors in a level 1 of 32 KiB, or they push
 * each other out before they are used. */
#define SHORT_ROW 2048

INLINE size_t dtype_bytes(enum dtype type)
{
    return type == DTYPE_F32 ? 4 : 2;
}

INLINE vec v_weights(enum dtype type, const char *w)
{
    if (type == DTYPE_F32)
        return v_load((const float *)(const void *)w);
    return type == DTYPE_F16 ? v_f16(w) : v_bf16(w);
}

INLINE vec v_weights_part(enum dtype type, const char *w, size_t n)
{
    if (type == DTYPE_F32)
        return v_load_part((const float *)(const void *)w, n);
    return type == DTYPE_F16 ? v_f16_part(w, n) : v_bf16_part(w, n);
}

/* Four rows, and how to bring near what comes after them. */
struct four {
    const char *row[4];
    const char *next; /* the next four, to be fetched, or NULL */
    bool is_short;
};

/* The four rows from r on; beyond the end the last row stands in, its result is dropped. */
INLINE struct four four_rows(const struct tensor *w, size_t r, size_t row_end)
{
    struct four f = {.is_short = w->row_bytes <= SHORT_ROW};

    for (size_t i = 0; i < 4; i++)
        f.row[i] = tensor_row(w, r + i < row_end ? r + i : row_end - 1);
    return f;
}

/* sums[t] = the dot products of four rows with vector t, over values [begin, end). */
INLINE void dot_tile(const unsigned T, enum dtype type, const struct four *w, const float *x,
                     size_t x_stride, size_t begin, size_t end, quad *sums)
{
    vec acc[4][TILE_T];
    size_t i = begin;

    for (unsigned r = 0; r < 4; r++)
        for (unsigned t = 0; t < T; t++)
            acc[r][t] = v_zero();
    for (; i + LANES <= end; i += LANES) {
        const size_t bytes = 4 * LANES * dtype_bytes(type), at = (i - begin) / LANES * bytes;
        vec xt[TILE_T];

        if (w->next && w->is_short)
            fetch(w->next + at, bytes);
        else if (w->next)
            fetch_level2(w->next + at, bytes);
        for (unsigned t = 0; t < T; t++)
            xt[t] = v_load(x + t * x_stride + i);
        for (unsigned r = 0; r < 4; r++) {
            vec wr = v_weights(type, w->row[r] + i * dtype_bytes(type));

            for (unsigned t = 0; t < T; t++)
                acc[r][t] = v_fma(wr, xt[t], acc[r][t]);
        }
    }
    if (i < end) {
        for (unsigned r = 0; r < 4; r++) {
            vec wr = v_weights_part(type, w->row[r] + i * dtype_bytes(type), end - i);

            for (unsigned t = 0; t < T; t++)
                acc[r][t] = v_fma(wr, v_load_part(x + t * x_stride + i, end - i), acc[r][t]);
        }
    }
    for (unsigned t = 0; t < T; t++)
        sums[t] = v_sum4(acc[0][t], acc[1][t], acc[2][t], acc[3][t]);
}

/* `count` of the rows of four. */
INLINE void put_rows(quad sums, float *out, size_t count)
{
    float f[4];

    if (count >= 4) {
        quad_store(out, sums);
        return;
    }
    quad_store(f, sums);
    for (size_t i = 0; i < count; i++)
        out[i] = f[i];
}

INLINE quad get_rows(const float *out, size_t count)
{
    float f[4] = {0};

    if (count >= 4)
        return quad_load(out);
    for (size_t i = 0; i < count; i++)
        f[i] = out[i];
    return quad_load(f);
}

/* A piece's sums into the results. */
INLINE void add_rows(quad sums, float *out, size_t count, bool is_first)
{
    put_rows(is_first ? sums : quad_add(get_rows(out, count), sums), out, count);
}

struct float_job {
    const struct tensor *w;
    const float *x;
    float *out;
    size_t x_stride, out_stride, row_begin, row_end;
    bool streams; /* few vectors: rows are taken to their end, and the next ones fetched */
};

INLINE void float_tile(const unsigned T, enum dtype type, const struct float_job *j, size_t r,
                       size_t t, size_t begin, size_t end)
{
    struct four w = four_rows(j->w, r, j->row_end);
    quad sums[TILE_T];

    /* Chunks are fetched as they lie in memory, not as they will be used: all are, by the end. */
    if (j->streams && t == 0 && r + 4 < j->row_end)
        w.next = (const char *)tensor_row(j->w, r + 4) + begin * 4 * dtype_bytes(type);
    dot_tile(T, type, &w, j->x + t * j->x_stride, j->x_stride, begin, end, sums);
    for (unsigned i = 0; i < T; i++)
        add_rows(sums[i], j->out + (t + i) * j->out_stride + r, j->row_end - r, begin == 0);
}

/* T vectors, from t on, of one chunk of the rows [r, r_end). */
INLINE void float_rows(const unsigned T, enum dtype type, const struct float_job *j, size_t r,
                       size_t r_end, size_t t, size_t begin, size_t end)
{
    for (; r < r_end; r += 4)
        float_tile(T, type, j, r, t, begin, end);
}

#define UP_TO_TILE(t) ((t) < TILE_T ? (t) : TILE_T)

INLINE void float_block(enum dtype type, const struct float_job *j, size_t r, size_t r_end,
                        size_t n, size_t begin, size_t end)
{
    size_t t = 0;

    for (; t + TILE_T <= n; t += TILE_T)
        float_rows(TILE_T, type, j, r, r_end, t, begin, end);
    if (n - t == 1)
        float_rows(1, type, j, r, r_end, t, begin, end);
    else if (n - t == 2)
        float_rows(2, type, j, r, r_end, t, begin, end);
    else if (n - t == 3)
        float_rows(UP_TO_TILE(3), type, j, r, r_end, t, begin, end);
    else if (n - t == 4)
        float_rows(UP_TO_TILE(4), type, j, r, r_end, t, begin, end);
    else if (n - t == 5)
        float_rows(UP_TO_TILE(5), type, j, r, r_end, t, begin, end);
}

INLINE void float_matmul(enum dtype type, const struct float_job *j, size_t n)
{
    size_t inner = j->w->shape[0];
    size_t block = j->streams ? 4 : ROW_BLOCK;

    for (size_t r = j->row_begin; r < j->row_end; r += block) {
        size_t r_end = j->row_end - r < block ? j->row_end : r + block;
        size_t i = 0;

        do { /* once even if inner is 0: the sum of nothing is 0 */
            size_t end = inner - i < CHUNK ? inner : i + CHUNK;

            float_block(type, j, r, r_end, n, i, end);
            i = end;
        } while (i < inner);
    }
}

static void matmul_f32(const struct float_job *j, size_t n)
{
    float_matmul(DTYPE_F32, j, n);
}

static void matmul_f16(const struct float_job *j, size_t n)
{
    float_matmul(DTYPE_F16, j, n);
}

static void matmul_bf16(const struct float_job *j, size_t n)
{
    float_matmul(DTYPE_BF16, j, n);
}

/* ---- weights that are decoded first ----
 *
 * A tile of four rows becomes f32 and meets all vectors: the sums are those of f32 weights. */

static void decode_tile(const struct tensor *w, size_t r, size_t row_end, size_t begin, size_t end,
                        float tile[4][CHUNK])
{
    const struct dtype_info *type = dtype_info(w->type);

    for (size_t k = 0; k < 4; k++) {
        const char *row = tensor_row(w, r + k < row_end ? r + k : row_end - 1);

        type->to_f32(row + begin / type->block * type->block_bytes, tile[k], end - begin);
    }
}

INLINE void decoded_tile(const unsigned T, const struct float_job *j, float (*tile)[CHUNK],
                         size_t r, size_t t, size_t begin, size_t end)
{
    struct four w = {.next = NULL};
    quad sums[TILE_T];

    for (size_t k = 0; k < 4; k++)
        w.row[k] = (const char *)tile[k];
    dot_tile(T, DTYPE_F32, &w, j->x + t * j->x_stride + begin, j->x_stride, 0, end - begin, sums);
    for (unsigned i = 0; i < T; i++)
        add_rows(sums[i], j->out + (t + i) * j->out_stride + r, j->row_end - r, begin == 0);
}

static void matmul_decoded(const struct float_job *j, size_t n)
{
    size_t inner = j->w->shape[0];
    float tile[4][CHUNK];

    for (size_t r = j->row_begin; r < j->row_end; r += 4)
        for (size_t i = 0; i < inner; i += CHUNK) {
            size_t end = inner - i < CHUNK ? inner : i + CHUNK, t = 0;

            decode_tile(j->w, r, j->row_end, i, end, tile);
            for (; t + TILE_T <= n; t += TILE_T)
                decoded_tile(TILE_T, j, tile, r, t, i, end);
            for (; t < n; t++)
                decoded_tile(1, j, tile, r, t, i, end);
        }
}

static void matmul_floats(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                          size_t x_bytes, size_t n, float *out, size_t out_stride)
{
    struct float_job j = {w,          x,         out,     x_bytes / sizeof(float),
                          out_stride, row_begin, row_end, n <= STREAM_MAX};

    if (w->type == DTYPE_F32)
        matmul_f32(&j, n);
    else if (w->type == DTYPE_F16)
        matmul_f16(&j, n);
    else if (w->type == DTYPE_BF16)
        matmul_bf16(&j, n);
    else
        matmul_decoded(&j, n);
}

/* ---- activations for quantised weights ---- */

struct x_q8 {
    int8_t q[Q_BLOCK];
    float d;
    float d_sum; /* d times the sum of q: what an offset of all weights is multiplied by */
    /* What weights made unsigned are off by. */
    union {
        struct {
            int32_t minus_128_sum; /* of q */
            int32_t minus_128_low; /* of the first sixteen */
        };
        struct { /* of the places 0 and 1, and of 2 and 3, in groups of four */
            int16_t minus_16_sum[2];
            int16_t minus_32_low[2];
        };
    };
};

INLINE const struct x_q8 *x_block(const char *x, size_t b)
{
    return (const struct x_q8 *)(const void *)x + b;
}

/* Blocks of 32 weights in a block of the file: they have a scale each. */
INLINE size_t parts(enum dtype type)
{
    return type == DTYPE_Q4_K || type == DTYPE_Q6_K || type == DTYPE_Q2_K || type == DTYPE_Q3_K ||
                   type == DTYPE_Q5_K || type == DTYPE_IQ4_XS || type == DTYPE_IQ2_S ||
                   type == DTYPE_TQ2_0
               ? K_BLOCK / Q_BLOCK
               : 1;
}

/* The offset that weights have, besides their scale. */
INLINE bool has_offset(enum dtype type)
{
    return type == DTYPE_Q4_1 || type == DTYPE_Q5_1 || type == DTYPE_Q4_K || type == DTYPE_Q5_K ||
           type == DTYPE_Q2_K;
}

/* The halves of a block of 32 have scales (and offsets) of their own. */
INLINE bool has_halves(enum dtype type)
{
    return type == DTYPE_Q6_K || type == DTYPE_Q3_K || type == DTYPE_Q2_K || type == DTYPE_IQ2_S;
}

INLINE unsigned halves_of(enum dtype type)
{
    return has_halves(type) ? 2 : 1;
}

/* Quants are places in a list of sixteen levels, else numbers. */
INLINE bool has_levels(enum dtype type)
{
    return type == DTYPE_IQ4_NL || type == DTYPE_IQ4_XS || type == DTYPE_MXFP4 ||
           type == DTYPE_IQ2_S || type == DTYPE_TQ2_0;
}

/* That list, of weights as they lie in a file. */
INLINE const int8_t *levels_of(enum dtype type)
{
    return type == DTYPE_MXFP4 ? mxfp4_levels : iq4_levels;
}

INLINE size_t block_bytes(enum dtype type)
{
    switch (type) {
    case DTYPE_Q8_0:
        return sizeof(struct block_q8_0);
    case DTYPE_Q4_0:
        return sizeof(struct block_q4_0);
    case DTYPE_Q4_1:
        return sizeof(struct block_q4_1);
    case DTYPE_Q5_0:
        return sizeof(struct block_q5_0);
    case DTYPE_Q5_1:
        return sizeof(struct block_q5_1);
    case DTYPE_IQ4_NL:
        return sizeof(struct block_iq4_nl);
    case DTYPE_MXFP4:
        return sizeof(struct block_mxfp4);
    case DTYPE_Q2_K:
        return sizeof(struct block_q2_K);
    case DTYPE_Q3_K:
        return sizeof(struct block_q3_K);
    case DTYPE_Q4_K:
        return sizeof(struct block_q4_K);
    case DTYPE_Q5_K:
        return sizeof(struct block_q5_K);
    case DTYPE_IQ4_XS:
        return sizeof(struct block_iq4_xs);
    default:
        return sizeof(struct block_q6_K);
    }
}

/* Are weights of all types of blocks multiplied as integers, if need be as packed.h has them? */
#ifndef MAKES_PACKED
#define MAKES_PACKED false
#endif

static enum form prepared_form(enum dtype weights)
{
    bool is_integer = MAKES_PACKED ? weights >= DTYPE_Q8_0 : dtype_is_integer(weights);

    return is_integer ? FORM_Q8 : weights == DTYPE_BF16 ? FORM_BF16 : FORM_F32;
}

static size_t prepared_bytes(enum dtype weights, size_t inner)
{
    size_t bytes = prepared_form(weights) == FORM_Q8 ? inner / Q_BLOCK * sizeof(struct x_q8)
                                                     : inner * sizeof(float);

    return (bytes + 63) / 64 * 64;
}

/* Has a block with this largest magnitude a step?  Else it is of zeros, or of no numbers. */
INLINE bool has_step(float most)
{
    return most >= STEP_LEAST && most < STEP_MOST;
}

/* A block without; returns its step, 0 or NaN. */
INLINE float quantise_none(float most, struct x_q8 *out)
{
    float d = most < STEP_LEAST ? 0 : NAN;

    *out = (struct x_q8){.d = d, .d_sum = d};
    return d;
}

INLINE void quantise_by(const float *x, float d, struct x_q8 *out)
{
    int32_t low, high;

    out->d = d;
    quants(x, 1 / d, out->q, &low, &high);
    out->d_sum = d * (float)(low + high);
    out->minus_128_sum = -128 * (low + high);
    out->minus_128_low = -128 * low;
}

/* As the reference does it, to the bit: magnitudes compare like integers, and NaN and infinity are
 * the largest of them.  Returns the step, of which a power that is NaN stands for no number. */
INLINE struct step quantise_block(const float *x, struct x_q8 *out)
{
    int32_t most_bits = most_magnitude(x);
    struct step step = {1, 0};
    float most;

    memcpy(&most, &most_bits, sizeof(most));
    if (!has_step(most)) {
        step.power += quantise_none(most, out);
        return step;
    }
    step = step_for(most);
    quantise_by(x, step.power * step_factors[step.factor], out);
    return step;
}

/* The nearest bf16, as f32: what f32_to_bf16 gives, where a compiler can see it. */
INLINE float rounded_to_bf16(float f)
{
    uint32_t u, rounded;

    memcpy(&u, &f, sizeof(u));
    rounded = u + 0x7fffu + (u >> 16 & 1u);
    u = (u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000u : rounded;
    u &= 0xffff0000u;
    memcpy(&f, &u, sizeof(f));
    return f;
}

static void prepare(enum dtype weights, const float *x, size_t inner, void *out)
{
    struct x_q8 *blocks = out;

    for (size_t i = 0; i < inner && prepared_form(weights) == FORM_BF16; i++)
        ((float *)out)[i] = rounded_to_bf16(x[i]);
    if (prepared_form(weights) == FORM_BF16)
        return;

    if (prepared_form(weights) == FORM_F32) {
        memcpy(out, x, inner * sizeof(float));
        return;
    }
    for (size_t b = 0; b < inner / Q_BLOCK; b++)
        quantise_block(x + b * Q_BLOCK, &blocks[b]);
}

/* ---- the rest of a layer ---- */

/* e^x = 2^n e^r with |r| <= ln 2 / 2, e^r by its series to r^7: the rest is below 2^-27.  Beyond
 * the clamps the result is 0 or infinity in any case. */
INLINE vec v_exp(vec x)
{
    vec n, r, p;

    x = v_min(v_set1(89), v_max(v_set1(-105), x));
    n = v_round(v_mul(x, v_set1(0x1.715476p+0f)));
    r = v_fma(n, v_set1(-0x1.62ep-1f), x); /* the upper 13 bits of ln 2: the product is exact */
    r = v_fma(n, v_set1(-0x1.0bfbe8p-15f), r);
    p = v_set1(1.0f / 5040);
    p = v_fma(p, r, v_set1(1.0f / 720));
    p = v_fma(p, r, v_set1(1.0f / 120));
    p = v_fma(p, r, v_set1(1.0f / 24));
    p = v_fma(p, r, v_set1(1.0f / 6));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1));
    p = v_fma(p, r, v_set1(1));
    return v_scale2(p, n);
}

/* Eight sums in double, lane i mod 8, added in order. */
static void rmsnorm(const float *x, const float *w, size_t n, float eps, float *out)
{
    double lanes[8] = {0}, sum = 0;
    size_t i = 0;
    float scale;

    for (; i + 8 <= n; i += 8)
        for (size_t l = 0; l < 8; l++)
            lanes[l] += (double)x[i + l] * (double)x[i + l];
    for (; i < n; i++)
        lanes[i % 8] += (double)x[i] * (double)x[i];
    for (size_t l = 0; l < 8; l++)
        sum += lanes[l];
    scale = (float)(1 / sqrt(sum / (double)n + (double)eps));
    for (i = 0; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

INLINE vec v_swiglu(vec gate, vec up)
{
    vec e = v_exp(v_sub(v_zero(), gate));

    return v_mul(v_div(gate, v_add(v_set1(1), e)), up);
}

static void swiglu(float *gate, const float *up, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(gate + i, v_swiglu(v_load(gate + i), v_load(up + i)));
    if (i < n)
        v_store_part(gate + i, v_swiglu(v_load_part(gate + i, n - i), v_load_part(up + i, n - i)),
                     n - i);
}

static void rope(float *restrict head, const float *restrict table, size_t dims, bool interleaved)
{
    if (interleaved) {
        for (size_t i = 0; i < dims / 2; i++) {
            float c = table[2 * i], s = table[2 * i + 1], x = head[2 * i], y = head[2 * i + 1];

            head[2 * i] = x * c - y * s;
            head[2 * i + 1] = x * s + y * c;
        }
        return;
    }
    for (size_t i = 0; i < dims / 2; i++) {
        float c = table[2 * i], s = table[2 * i + 1], x = head[i], y = head[i + dims / 2];

        head[i] = x * c - y * s;
        head[i + dims / 2] = x * s + y * c;
    }
}

static void row_to_f32(enum dtype type, const void *row, float *out, size_t n)
{
    size_t i = 0;

    if (type != DTYPE_F16 && type != DTYPE_BF16) {
        backend_ref.row_to_f32(type, row, out, n);
        return;
    }
    for (; i + LANES <= n; i += LANES)
        v_store(out + i, v_weights(type, (const char *)row + i * dtype_bytes(type)));
    if (i < n)
        v_store_part(out + i,
                     v_weights_part(type, (const char *)row + i * dtype_bytes(type), n - i), n - i);
}

#include "tensor/kernel_attend.h"
#include "tensor/kernel_text.h"

#define BACKEND_LANES            BACKEND_LANES_WITH(prepare)
#define BACKEND_LANES_WITH(prep) BACKEND_LANES_OF(prepared_form, prepared_bytes, prep, matmul)
#define BACKEND_LANES_OF(form, bytes, prep, product) \
    BACKEND_LANES_AND(form, bytes, prep, product, attend, attend_block)
#define BACKEND_LANES_AND(form, bytes, prep, product, whole, part)                                \
    .prepared_form = form, .prepared_bytes = bytes, .prepare = prep, .matmul = product,           \
    .rmsnorm = rmsnorm, .add = add, .swiglu = swiglu, .rope = rope, .attend = whole,              \
    .attend_block = part, .attend_join = attend_join, .store_keys = store_keys,                   \
    .store_values = store_values, .row_to_f32 = row_to_f32, .gelu = gelu, .gelu_tanh = gelu_tanh, \
    .layernorm = layernorm, .attend_text = attend_text

#endif
