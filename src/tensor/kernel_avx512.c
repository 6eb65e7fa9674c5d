/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_avx512.c - kernels for x86-64 processors with AVX-512 F, BW, DQ, VL and VNNI. */
#include "tensor/backend.h"
#include "tensor/cpu.h"

#include <immintrin.h>
#include <string.h>

typedef __m512 vec;
#define LANES       16
#define TILE_T      6 /* 4 rows x 6 vectors of accumulators, 6 of x, 1 of w: 31 of 32 registers */
#define ATTEND_VECS 4 /* 6 rows x 4 vectors of accumulators, 4 of keys or values, 1 of q or p */

#define V static inline __attribute__((always_inline))

V vec v_zero(void)
{
    return _mm512_setzero_ps();
}

V vec v_set1(float f)
{
    return _mm512_set1_ps(f);
}

V vec v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

/* The first n of sixteen lanes. */
V __mmask16 first(size_t n)
{
    return n >= LANES ? (__mmask16)0xffff : (__mmask16)((1u << n) - 1);
}

V vec v_load_part(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(first(n), p);
}

V void v_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

V void v_store_part(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, first(n), v);
}

V vec v_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

V vec v_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

V vec v_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

V vec v_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

V vec v_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

V vec v_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

V vec v_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

V vec v_round(vec v)
{
    return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

V vec v_scale2(vec p, vec n)
{
    return _mm512_scalef_ps(p, n);
}

V vec v_f16(const void *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256(p));
}

V vec v_f16_part(const void *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
}

V vec widen_bf16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

V vec v_bf16(const void *p)
{
    return widen_bf16(_mm256_loadu_si256(p));
}

V vec v_bf16_part(const void *p, size_t n)
{
    return widen_bf16(_mm256_maskz_loadu_epi16(first(n), p));
}

V void v_to_f16(uint16_t *p, vec v)
{
    _mm256_storeu_si256((void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

V void v_to_f16_part(uint16_t *p, vec v, size_t n)
{
    _mm256_mask_storeu_epi16(p, first(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

V vec v_if(bool yes, vec a, vec b)
{
    return _mm512_mask_mov_ps(b, (__mmask16) - (int)yes, a);
}

V float v_most(vec v)
{
    __m256 m = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(m), _mm256_extractf128_ps(m, 1));

    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

V __m128 v_sum4(vec a, vec b, vec c, vec d)
{
    vec ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    vec cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    vec low = _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd)));
    vec high = _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(ab), _mm512_castps_pd(cd)));
    vec s = _mm512_add_ps(low, high);
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1));

    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

#include "tensor/kernel_lanes.h"

/* ---- quantised weights ----
 *
 * A lane is a row: sixteen rows are transposed in groups of four values, so that one vpdpbusd
 * multiplies four values of sixteen rows with the same four of a vector.  The 32 products of a
 * block are added exactly, in whatever order; an element is then the sum over blocks, in order, of
 * that integer times both scales, one fused multiply-add each.
 *
 * vpdpbusd wants its first operand unsigned: q8_0 weights get 128 added and q4_0 nibbles are left
 * as they are, 8 too large. The integer sums start from -128 or -8 times the sum of x to make up
 * for it. */

#define GROUP    16 /* rows of one register */
#define Q_TILE_T 6  /* 2 groups x 6 vectors, twice (integers and sums): 24 registers */
#define STREAM_T 8  /* vectors in one pass over streamed weights; more get panels */
#define PANEL    16 /* blocks transposed at a time for many vectors: 18 KiB of stack */

/* Sixteen rows, an equal stride apart: four pointers and two distances fit the registers, sixteen
 * pointers do not.  Where fewer than sixteen rows follow, earlier ones are computed once more and
 * not stored. */
struct rows16 {
    const char *quarter[4]; /* rows 0, 4, 8, 12 */
    size_t stride;
    size_t out;      /* row of lane 0 */
    __mmask16 lanes; /* that are stored */
};

/* The rows [r, min(r + 16, end)) in lanes of a group. */
INLINE struct rows16 sixteen_rows(const struct tensor *w, size_t r, size_t end)
{
    size_t rows = w->shape[1], count = r < end ? end - r : 0, from = r;
    struct rows16 g = {.stride = w->row_bytes};

    if (from + GROUP > rows)
        from = rows < GROUP ? 0 : rows - GROUP;
    if (rows < GROUP) { /* a tiny matrix: one row in all lanes */
        from = r < rows ? r : rows - 1;
        g.stride = 0;
        count = count > 1 ? 1 : count;
    }
    for (unsigned i = 0; i < 4; i++)
        g.quarter[i] = (const char *)tensor_row(w, from) + 4 * i * g.stride;
    g.out = from;
    g.lanes = count ? (__mmask16)(first(count) << (r - from)) : 0;
    return g;
}

INLINE const char *row_at(const struct rows16 *rows, unsigned i, size_t offset)
{
    return rows->quarter[i / 4] + offset + i % 4 * rows->stride;
}

INLINE __m512i load16(const char *p)
{
    return _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
}

/* Sixteen bytes at `offset` of the rows i, i + 4, i + 8, i + 12, a quarter of the register each. */
INLINE __m512i quarter_rows(const struct rows16 *rows, unsigned i, size_t offset)
{
    __m512i v = load16(row_at(rows, i, offset));

    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, i + 4, offset)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, i + 8, offset)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, i + 12, offset)), 3);
}

/* out[i] = bytes 4 i .. 4 i + 3, from offset on, of sixteen rows. */
INLINE void transpose16(const struct rows16 *rows, size_t offset, __m512i out[4])
{
    __m512i a = quarter_rows(rows, 0, offset), b = quarter_rows(rows, 1, offset);
    __m512i c = quarter_rows(rows, 2, offset), d = quarter_rows(rows, 3, offset);
    __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
    __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);

    out[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
    out[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
    out[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
    out[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

/* w[i] = values 4 i .. 4 i + 3 of block b of sixteen rows, unsigned. */
INLINE void block_quants(enum dtype type, const struct rows16 *rows, size_t offset, __m512i w[8])
{
    const __m512i low = _mm512_set1_epi8(15), top = _mm512_set1_epi8(-128);

    transpose16(rows, offset + 2, w);
    if (type == DTYPE_Q8_0) {
        transpose16(rows, offset + 2 + 16, w + 4);
        for (unsigned i = 0; i < 8; i++)
            w[i] = _mm512_xor_si512(w[i], top);
        return;
    }
    for (unsigned i = 0; i < 4; i++) {
        w[i + 4] = _mm512_and_si512(_mm512_srli_epi16(w[i], 4), low);
        w[i] = _mm512_and_si512(w[i], low);
    }
}

INLINE vec block_scales(const struct rows16 *rows, size_t offset)
{
    uint16_t d[GROUP];

    for (unsigned i = 0; i < GROUP; i++)
        memcpy(&d[i], row_at(rows, i, offset), sizeof(d[i]));
    return _mm512_cvtph_ps(_mm256_set_epi16((short)d[15], (short)d[14], (short)d[13], (short)d[12],
                                            (short)d[11], (short)d[10], (short)d[9], (short)d[8],
                                            (short)d[7], (short)d[6], (short)d[5], (short)d[4],
                                            (short)d[3], (short)d[2], (short)d[1], (short)d[0]));
}

INLINE size_t block_bytes(enum dtype type)
{
    return type == DTYPE_Q8_0 ? sizeof(struct block_q8_0) : sizeof(struct block_q4_0);
}

INLINE __m512i correction(enum dtype type, const struct x_q8 *x)
{
    return _mm512_set1_epi32(type == DTYPE_Q8_0 ? x->minus_128_sum : x->minus_8_sum);
}

INLINE __m512i four_values(const struct x_q8 *x, unsigned i)
{
    int32_t v;

    memcpy(&v, x->q + 4 * i, sizeof(v));
    return _mm512_set1_epi32(v);
}

struct quant_job {
    const struct tensor *w;
    const char *x;
    float *out;
    size_t x_bytes, out_stride, row_end;
};

/* Few vectors: weights go from memory through registers to sums. */
INLINE void stream_rows(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    struct rows16 rows = sixteen_rows(j->w, r, j->row_end);
    const char *next = tensor_row(j->w, r + GROUP < j->row_end ? r + GROUP : r);
    size_t blocks = j->w->shape[0] / Q_BLOCK;
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = v_zero();
    for (size_t b = 0; b < blocks; b++) {
        size_t offset = b * block_bytes(type);
        vec scales = block_scales(&rows, offset);
        __m512i w[8];

        fetch(next + GROUP * offset, GROUP * block_bytes(type));
        block_quants(type, &rows, offset, w);
        for (unsigned t = 0; t < T; t++) {
            const struct x_q8 *x = x_block(j->x + t * j->x_bytes, b);
            __m512i even = correction(type, x), odd = _mm512_setzero_si512();

            for (unsigned i = 0; i < 8; i += 2) {
                even = _mm512_dpbusd_epi32(even, w[i], four_values(x, i));
                odd = _mm512_dpbusd_epi32(odd, w[i + 1], four_values(x, i + 1));
            }
            acc[t] = v_fma(_mm512_cvtepi32_ps(_mm512_add_epi32(even, odd)),
                           v_mul(scales, v_set1(x->d)), acc[t]);
        }
    }
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(j->out + t * j->out_stride + rows.out, rows.lanes, acc[t]);
}

/* Blocks of 2 groups of rows, transposed. */
struct panel {
    __m512i w[PANEL][8][2];
    vec scales[PANEL][2];
};

INLINE void panel_fill(enum dtype type, const struct rows16 rows[2], size_t b, size_t count,
                       const char *next, struct panel *p)
{
    for (size_t i = 0; i < count; i++) {
        size_t offset = (b + i) * block_bytes(type);

        fetch(next + 2 * GROUP * offset, 2 * GROUP * block_bytes(type));
        for (unsigned g = 0; g < 2; g++) {
            __m512i w[8];

            block_quants(type, &rows[g], offset, w);
            for (unsigned k = 0; k < 8; k++)
                p->w[i][k][g] = w[k];
            p->scales[i][g] = block_scales(&rows[g], offset);
        }
    }
}

/* out += panel * x for T vectors; the sums rest in out between panels, which rounds nothing. */
INLINE void panel_tile(const unsigned T, enum dtype type, const struct panel *p, size_t count,
                       const char *x, size_t x_bytes, float *out, size_t out_stride,
                       const struct rows16 rows[2], bool is_first)
{
    vec acc[2][Q_TILE_T];

    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < 2; g++)
            acc[g][t] =
                is_first ? v_zero()
                         : _mm512_maskz_loadu_ps(rows[g].lanes, out + t * out_stride + rows[g].out);
    for (size_t b = 0; b < count; b++) {
        __m512i sum[2][Q_TILE_T];

        for (unsigned t = 0; t < T; t++)
            sum[0][t] = sum[1][t] = correction(type, x_block(x + t * x_bytes, b));
        for (unsigned i = 0; i < 8; i++) {
            __m512i w0 = p->w[b][i][0], w1 = p->w[b][i][1];

            for (unsigned t = 0; t < T; t++) {
                __m512i xt = four_values(x_block(x + t * x_bytes, b), i);

                sum[0][t] = _mm512_dpbusd_epi32(sum[0][t], w0, xt);
                sum[1][t] = _mm512_dpbusd_epi32(sum[1][t], w1, xt);
            }
        }
        for (unsigned t = 0; t < T; t++) {
            vec d = v_set1(x_block(x + t * x_bytes, b)->d);

            for (unsigned g = 0; g < 2; g++)
                acc[g][t] =
                    v_fma(_mm512_cvtepi32_ps(sum[g][t]), v_mul(p->scales[b][g], d), acc[g][t]);
        }
    }
    for (unsigned t = 0; t < T; t++) {
        for (unsigned g = 0; g < 2; g++)
            _mm512_mask_storeu_ps(out + t * out_stride + rows[g].out, rows[g].lanes, acc[g][t]);
    }
}

INLINE void panel_rows(enum dtype type, const struct quant_job *j, size_t r, size_t n)
{
    struct rows16 rows[2] = {sixteen_rows(j->w, r, j->row_end),
                             sixteen_rows(j->w, r + GROUP, j->row_end)};
    const char *next = tensor_row(j->w, r + 2 * GROUP < j->row_end ? r + 2 * GROUP : r);
    size_t blocks = j->w->shape[0] / Q_BLOCK, b = 0;
    struct panel p;

    do { /* once even if there are no blocks: the sum of nothing is 0 */
        size_t count = blocks - b < PANEL ? blocks - b : PANEL, t = 0;
        const char *x = j->x + b * sizeof(struct x_q8);

        panel_fill(type, rows, b, count, next, &p);
        for (; t + Q_TILE_T <= n; t += Q_TILE_T)
            panel_tile(Q_TILE_T, type, &p, count, x + t * j->x_bytes, j->x_bytes,
                       j->out + t * j->out_stride, j->out_stride, rows, b == 0);
        for (; t + 2 <= n; t += 2)
            panel_tile(2, type, &p, count, x + t * j->x_bytes, j->x_bytes,
                       j->out + t * j->out_stride, j->out_stride, rows, b == 0);
        if (t < n)
            panel_tile(1, type, &p, count, x + t * j->x_bytes, j->x_bytes,
                       j->out + t * j->out_stride, j->out_stride, rows, b == 0);
        b += count;
    } while (b < blocks);
}

/* The first n vectors, STREAM_T at most. */
INLINE void stream_some(enum dtype type, const struct quant_job *j, size_t r, size_t n)
{
    if (n == 1)
        stream_rows(1, type, j, r);
    else if (n == 2)
        stream_rows(2, type, j, r);
    else if (n == 3)
        stream_rows(3, type, j, r);
    else if (n == 4)
        stream_rows(4, type, j, r);
    else if (n == 5)
        stream_rows(5, type, j, r);
    else if (n == 6)
        stream_rows(6, type, j, r);
    else if (n == 7)
        stream_rows(7, type, j, r);
    else
        stream_rows(8, type, j, r);
}

INLINE void quant_matmul(enum dtype type, const struct quant_job *job, size_t row_begin, size_t n)
{
    struct quant_job j = *job;
    size_t rows = j.w->shape[1] < GROUP ? 1 : GROUP; /* in a group; see sixteen_rows */
    size_t r = row_begin;

    if (n > STREAM_T && rows == GROUP) {
        for (; r < j.row_end; r += 2 * GROUP)
            panel_rows(type, &j, r, n);
        return;
    }
    for (; r < j.row_end; r += rows) {
        for (size_t t = 0; t < n; t += STREAM_T) {
            j.x = job->x + t * j.x_bytes;
            j.out = job->out + t * j.out_stride;
            stream_some(type, &j, r, n - t);
        }
    }
}

static void matmul_q8_0(const struct quant_job *j, size_t row_begin, size_t n)
{
    quant_matmul(DTYPE_Q8_0, j, row_begin, n);
}

static void matmul_q4_0(const struct quant_job *j, size_t row_begin, size_t n)
{
    quant_matmul(DTYPE_Q4_0, j, row_begin, n);
}

static void matmul(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride)
{
    size_t x_bytes = prepared_bytes(w->type, w->shape[0]);
    struct quant_job j = {w, x, out, x_bytes, out_stride, row_end};

    if (w->type == DTYPE_Q8_0)
        matmul_q8_0(&j, row_begin, n);
    else if (w->type == DTYPE_Q4_0)
        matmul_q4_0(&j, row_begin, n);
    else
        matmul_floats(w, row_begin, row_end, x, x_bytes, n, out, out_stride);
}

const struct backend backend_avx512vnni = {
    .name = "avx512vnni", .usable = cpu_has_avx512vnni, BACKEND_LANES};
