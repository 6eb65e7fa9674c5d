/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_avx512.c - kernels for x86-64 processors with AVX-512 F, BW, DQ, VL and VNNI; for those of
 * them that add beside multiplying, the same with fewer products; for those with AMX, tiles for
 * prompts, which make other sums. */
#include "tensor/backend.h"
#include "tensor/cpu.h"
#include "tensor/kernel_x86.h"
#include "tensor/packed.h"

#include <immintrin.h>
#include <string.h>

typedef __m512 vec;
#define LANES       16
#define TILE_T      6 /* 4 rows x 6 vectors of accumulators, 6 of x, 1 of w: 31 of 32 registers */
#define ATTEND_VECS 4 /* 6 rows x 4 vectors of accumulators, 4 of keys or values, 1 of q or p */

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

V vec v_i8(const void *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p)));
}

V vec v_i8_part(const void *p, size_t n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first(n), p)));
}

V vec v_if(bool yes, vec a, vec b)
{
    return _mm512_mask_mov_ps(b, (__mmask16) - (int)yes, a);
}

/* Fours of keys made unsigned for vpdpbusd: sums start from what that is off by. */
typedef __m512i ints;
typedef __m512i keys4;

V ints i_start(int32_t minus_128_sum)
{
    return _mm512_set1_epi32(minus_128_sum);
}

V keys4 i_keys(const void *p)
{
    return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(-128));
}

V ints i_dot(ints sum, keys4 k, int32_t q)
{
    return _mm512_dpbusd_epi32(sum, k, _mm512_set1_epi32(q));
}

V vec v_of_ints(ints i)
{
    return _mm512_cvtepi32_ps(i);
}

V ints i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}

V ints i_or(ints a, ints b)
{
    return _mm512_or_si512(a, b);
}

V ints i_ones(void)
{
    return _mm512_set1_epi32(1);
}

/* Bits [at, at + count) of every lane, moved to `to`. */
V ints bits(ints v, unsigned at, unsigned count, unsigned to)
{
    v = at >= to ? _mm512_srli_epi32(v, at - to) : _mm512_slli_epi32(v, to - at);
    return _mm512_and_si512(v, _mm512_set1_epi32((int)(((1u << count) - 1) << to)));
}

/* Bits [at, at + count) of every byte, moved to `to`. */
V ints byte_bits(ints v, unsigned at, unsigned count, unsigned to)
{
    v = at > to ? _mm512_srli_epi16(v, at - to) : at < to ? _mm512_slli_epi16(v, to - at) : v;
    return _mm512_and_si512(v, _mm512_set1_epi8((char)(((1u << count) - 1) << to)));
}

/* Byte k of every lane. */
V ints lane_byte(ints v, unsigned k)
{
    const int from = (int)0xffffff00;
    const __m512i place = _mm512_set4_epi32(from + 12, from + 8, from + 4, from);

    return _mm512_shuffle_epi8(v, _mm512_add_epi32(place, _mm512_set1_epi32((int)k)));
}

/* A byte a lane. */
V ints lane_bytes(const void *p, bool is_signed)
{
    __m128i v = _mm_loadu_si128(p);

    return is_signed ? _mm512_cvtepi8_epi32(v) : _mm512_cvtepu8_epi32(v);
}

/* Sixteen bytes, unsigned: 128 is added to signed ones. */
V ints levels_list(const void *p, bool is_signed)
{
    return _mm512_xor_si512(_mm512_broadcast_i32x4(_mm_loadu_si128(p)),
                            _mm512_set1_epi8(is_signed ? -128 : 0));
}

/* Places in a list become what stands there. */
V ints look_up(ints list, ints w)
{
    return _mm512_shuffle_epi8(list, w);
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

#include "tensor/kernel_spans.h"
#include "tensor/kernel_tile_attention.h"
#include "tensor/kernel_tiles.h"

/* ---- the back ends ---- */

static enum form form_of(enum dtype weights)
{
    return weights == DTYPE_F16 || weights == DTYPE_BF16 ? FORM_FIXED : prepared_form(weights);
}

/* A line more than there are blocks: the same block of the vectors of a tile would else be in the
 * same set of the cache, where rows are powers of two. */
static size_t bytes_of(enum dtype weights, size_t inner)
{
    switch (form_of(weights)) {
    case FORM_Q8:
        return prepared_bytes_biased(inner);
    case FORM_FIXED:
        return fixed_bytes(inner);
    default:
        return prepared_bytes(weights, inner);
    }
}

static void prepare_512(enum dtype weights, const float *x, size_t inner, void *out)
{
    switch (form_of(weights)) {
    case FORM_Q8:
        prepare_biased(x, inner, out);
        break;
    case FORM_FIXED:
        prepare_fixed(x, inner, out);
        break;
    default:
        prepare(weights, x, inner, out);
    }
}

static enum form form_with_spans(enum dtype weights)
{
    return has_spans(weights) ? FORM_SPANS : form_of(weights);
}

static size_t bytes_with_spans(enum dtype weights, size_t inner)
{
    return has_spans(weights) ? span_x_bytes(inner) : bytes_of(weights, inner);
}

static void prepare_with_spans(enum dtype weights, const float *x, size_t inner, void *out)
{
    if (has_spans(weights))
        prepare_spans(x, inner, out);
    else
        prepare_512(weights, x, inner, out);
}

static enum form form_for_tiles(enum dtype weights)
{
    if (!is_tiled(weights))
        return form_of(weights);
    return splits(weights) ? FORM_SPLIT : FORM_TILES;
}

static size_t bytes_for_tiles(enum dtype weights, size_t inner)
{
    return is_tiled(weights) ? tile_x_bytes(weights, inner) : bytes_of(weights, inner);
}

static void prepare_for_tiles(enum dtype weights, const float *x, size_t inner, void *out)
{
    if (is_tiled(weights))
        prepare_tiles(weights, x, inner, out);
    else
        prepare_512(weights, x, inner, out);
}

static void multiply(const struct quant_job *j, size_t n)
{
    enum dtype type = j->w->type;

    switch (j->form) {
    case FORM_TILES:
    case FORM_SPLIT:
        tile_matmul(&tile_kinds[packed_as(type)], j, n);
        break;
    case FORM_SPANS:
        span_matmul(type, j, n);
        break;
    case FORM_Q8:
        quant_multiply(j, n);
        break;
    case FORM_FIXED:
        pair_matmul(type == DTYPE_F16 ? &pairs_f16 : &pairs_bf16, j, n);
        break;
    default:
        matmul_floats(j->w, j->row_begin, j->row_end, j->x, j->x_bytes, n, j->out, j->out_stride);
    }
}

#define MATMUL_512(name, form, bytes, asks_ahead, saves_products)                               \
    static void name(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,   \
                     size_t n, float *out, size_t out_stride)                                   \
    {                                                                                           \
        size_t x_bytes = bytes(w->type, w->shape[0]);                                           \
                                                                                                \
        multiply(&(struct quant_job){w, form(w->type), x, out, x_bytes, out_stride, row_begin,  \
                                     row_end, asks_ahead ? lines_ahead(w) : 0, saves_products}, \
                 n);                                                                            \
    }                                                                                           \
    static bool name##_swiglu(const struct tensor *gate, const struct tensor *up,               \
                              size_t row_begin, size_t row_end, const void *x, size_t n,        \
                              float *out, size_t out_stride)                                    \
    {                                                                                           \
        size_t x_bytes = bytes(gate->type, gate->shape[0]);                                     \
                                                                                                \
        if (n < SWIGLU_LEAST || !makes_pairs(form(gate->type), gate, up))                       \
            return false;                                                                       \
        multiply(&(struct quant_job){gate, form(gate->type), x, out, x_bytes, out_stride,       \
                                     row_begin, row_end, 0, saves_products, up},                \
                 n);                                                                            \
        return true;                                                                            \
    }
MATMUL_512(matmul, form_of, bytes_of, true, false)
MATMUL_512(matmul_winograd, form_of, bytes_of, false, true)
MATMUL_512(matmul_spans, form_with_spans, bytes_with_spans, true, false)
MATMUL_512(matmul_winograd_spans, form_with_spans, bytes_with_spans, false, true)
MATMUL_512(matmul_tiles, form_for_tiles, bytes_for_tiles, true, false)

/* Prepared is half as large, and nobody reads the floats. */
static bool matmul_tiles_swiglu_prepared(const struct tensor *gate, const struct tensor *up,
                                         size_t row_begin, size_t row_end, const void *x, size_t n,
                                         enum dtype weights, void *out)
{
    const struct quant_job j = {
        .w = gate,
        .form = form_for_tiles(gate->type),
        .x = x,
        .out = out,
        .x_bytes = bytes_for_tiles(gate->type, gate->shape[0]),
        .out_stride = bytes_for_tiles(weights, gate->shape[1]) / sizeof(float),
        .row_begin = row_begin,
        .row_end = row_end,
        .up = up,
        .makes_bf16 = true,
    };

    if (!is_tiled(gate->type) || !makes_pairs(FORM_TILES, gate, up) || gate->shape[1] % Q_BLOCK ||
        form_for_tiles(weights) != FORM_TILES)
        return false;
    if (n > 0)
        tile_matmul(&tile_kinds[packed_as(gate->type)], &j, n);
    return true;
}

const struct backend backend_avx512vnni = {.name = "avx512vnni",
                                           .prompts = &backend_avx512spans,
                                           .usable = cpu_has_avx512vnni,
                                           .reads_packed = packed_has,
                                           BACKEND_LANES_OF(form_of, bytes_of, prepare_512, matmul),
                                           .matmul_swiglu = matmul_swiglu};

const struct backend backend_avx512spans = {
    .name = "avx512spans",
    .generates = &backend_avx512vnni,
    .usable = cpu_has_avx512vnni,
    .reads_packed = packed_has,
    BACKEND_LANES_OF(form_with_spans, bytes_with_spans, prepare_with_spans, matmul_spans),
    .matmul_swiglu = matmul_spans_swiglu};

const struct backend backend_avx512winograd = {
    .name = "avx512winograd",
    .prompts = &backend_avx512winospans,
    .usable = cpu_has_avx512vnni,
    .is_slow = cpu_adds_where_it_multiplies,
    .reads_packed = packed_has,
    BACKEND_LANES_OF(form_of, bytes_of, prepare_512, matmul_winograd),
    .matmul_swiglu = matmul_winograd_swiglu};

const struct backend backend_avx512winospans = {
    .name = "avx512winospans",
    .generates = &backend_avx512winograd,
    .usable = cpu_has_avx512bf16,
    .is_slow = cpu_adds_where_it_multiplies,
    .reads_packed = packed_has,
    BACKEND_LANES_AND(form_with_spans, bytes_with_spans, prepare_with_spans, matmul_winograd_spans,
                      attend_paired, attend_block_paired),
    .matmul_swiglu = matmul_winograd_spans_swiglu};

const struct backend backend_avx512amx = {.name = "avx512amx",
                                          .generates = &backend_avx512vnni,
                                          .usable = cpu_has_amx,
                                          .reads_packed = packed_has,
                                          BACKEND_LANES_AND(form_for_tiles, bytes_for_tiles,
                                                            prepare_for_tiles, matmul_tiles,
                                                            attend_tiled, attend_block_tiled),
                                          .matmul_swiglu = matmul_tiles_swiglu,
                                          .matmul_swiglu_prepared = matmul_tiles_swiglu_prepared};
