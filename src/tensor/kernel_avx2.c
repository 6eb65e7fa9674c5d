/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_avx2.c - kernels for x86-64 processors with AVX2, FMA and F16C.
 *
 * Compiled twice: with -mavxvnni it is a backend of its own, whose quantised products take one
 * instruction where AVX2 takes three. Both give the same bits where their activations have the same
 * form. */
#include "tensor/backend.h"
#include "tensor/cpu.h"
#include "tensor/kernel_x86.h"

#include <immintrin.h>
#include <string.h>

typedef __m256 vec;
#define LANES       8
#define TILE_T      3 /* 4 rows x 3 vectors of accumulators, 3 of x, 1 of w: 16 registers */
#define ATTEND_VECS 2 /* 6 rows x 2 vectors of accumulators, 2 of keys or values, 1 of q or p */

V vec v_zero(void)
{
    return _mm256_setzero_ps();
}

V vec v_set1(float f)
{
    return _mm256_set1_ps(f);
}

V vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

/* The first n of eight lanes. */
V __m256i first(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

V vec v_load_part(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, first(n));
}

V void v_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

V void v_store_part(float *p, vec v, size_t n)
{
    _mm256_maskstore_ps(p, first(n), v);
}

V vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

V vec v_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

V vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

V vec v_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

V vec v_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

V vec v_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

V vec v_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

V vec v_round(vec v)
{
    return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* In two steps, since 2^n alone may be out of range. */
V vec v_scale2(vec p, vec n)
{
    __m256i i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1),
            bias = _mm256_set1_epi32(127);
    __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    __m256i b = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(i, half), bias), 23);

    return _mm256_mul_ps(_mm256_mul_ps(p, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}

V __m128i halves_part(const void *p, size_t n)
{
    uint16_t h[8] = {0};

    memcpy(h, p, n * sizeof(*h));
    return _mm_loadu_si128((const void *)h);
}

V vec v_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128(p));
}

V vec v_f16_part(const void *p, size_t n)
{
    return _mm256_cvtph_ps(halves_part(p, n));
}

V vec widen_bf16(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

V vec v_bf16(const void *p)
{
    return widen_bf16(_mm_loadu_si128(p));
}

V vec v_bf16_part(const void *p, size_t n)
{
    return widen_bf16(halves_part(p, n));
}

V void v_to_f16(uint16_t *p, vec v)
{
    _mm_storeu_si128((void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

V void v_to_f16_part(uint16_t *p, vec v, size_t n)
{
    uint16_t h[8];

    v_to_f16(h, v);
    memcpy(p, h, n * sizeof(*h));
}

V vec v_i8(const void *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p)));
}

V vec v_i8_part(const void *p, size_t n)
{
    int8_t q[8] = {0};

    memcpy(q, p, n);
    return v_i8(q);
}

/* Fours of keys as their sizes, which vpmaddubsw wants unsigned, and their signs, which q takes
 * over: two products are at most 2 * 127 * 127 < 2^15. */
typedef __m256i ints;
typedef struct {
    __m256i size, sign;
} keys4;

V ints i_start(int32_t minus_128_sum)
{
    (void)minus_128_sum;
    return _mm256_setzero_si256();
}

V keys4 i_keys(const void *p)
{
    __m256i k = _mm256_loadu_si256(p);

    return (keys4){_mm256_abs_epi8(k), k};
}

V ints i_dot(ints sum, keys4 k, int32_t q)
{
    __m256i pairs = _mm256_maddubs_epi16(k.size, _mm256_sign_epi8(_mm256_set1_epi32(q), k.sign));

    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

V vec v_of_ints(ints i)
{
    return _mm256_cvtepi32_ps(i);
}

V ints i_load(const void *p)
{
    return _mm256_loadu_si256(p);
}

V ints i_or(ints a, ints b)
{
    return _mm256_or_si256(a, b);
}

/* Bits [at, at + count) of every lane, moved to `to`. */
V ints bits(ints v, unsigned at, unsigned count, unsigned to)
{
    v = at >= to ? _mm256_srli_epi32(v, at - to) : _mm256_slli_epi32(v, to - at);
    return _mm256_and_si256(v, _mm256_set1_epi32((int)(((1u << count) - 1) << to)));
}

/* Bits [at, at + count) of every byte, moved to `to`. */
V ints byte_bits(ints v, unsigned at, unsigned count, unsigned to)
{
    v = at > to ? _mm256_srli_epi16(v, at - to) : at < to ? _mm256_slli_epi16(v, to - at) : v;
    return _mm256_and_si256(v, _mm256_set1_epi8((char)(((1u << count) - 1) << to)));
}

/* Byte k of every lane. */
V ints lane_byte(ints v, unsigned k)
{
    const int from = (int)0xffffff00;
    const __m256i place =
        _mm256_setr_epi32(from, from + 4, from + 8, from + 12, from, from + 4, from + 8, from + 12);

    return _mm256_shuffle_epi8(v, _mm256_add_epi32(place, _mm256_set1_epi32((int)k)));
}

V ints i_ones(void)
{
    return _mm256_set1_epi32(1);
}

/* Sixteen bytes, unsigned: 128 is added to signed ones. */
V ints levels_list(const void *p, bool is_signed)
{
    return _mm256_xor_si256(_mm256_broadcastsi128_si256(_mm_loadu_si128(p)),
                            _mm256_set1_epi8(is_signed ? -128 : 0));
}

/* Places in a list become what stands there. */
V ints look_up(ints list, ints w)
{
    return _mm256_shuffle_epi8(list, w);
}

/* A byte a lane. */
V ints lane_bytes(const void *p, bool is_signed)
{
    __m128i v = _mm_loadl_epi64(p);

    return is_signed ? _mm256_cvtepi8_epi32(v) : _mm256_cvtepu8_epi32(v);
}

V vec v_if(bool yes, vec a, vec b)
{
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(_mm256_set1_epi32(-(int)yes)));
}

V float v_most(vec v)
{
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

V __m128 v_sum4(vec a, vec b, vec c, vec d)
{
    vec ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    vec cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    vec low = _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd)));
    vec high = _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(ab), _mm256_castps_pd(cd)));
    vec s = _mm256_add_ps(low, high);

    return _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
}

#include "tensor/kernel_lanes.h"

#include "tensor/kernel_halves.h"
#include "tensor/kernel_products.h"

static enum form form_of(enum dtype weights)
{
    if (IS_HALVES(weights))
        return FORM_FIXED;
    return !VNNI && has_bytes(packed_as(weights)) ? FORM_NEIGHBOURS : prepared_form(weights);
}

static size_t bytes_of(enum dtype weights, size_t inner)
{
    return form_of(weights) == FORM_FIXED ? words_bytes(inner) : prepared_bytes(weights, inner);
}

static void prepare_256(enum dtype weights, const float *x, size_t inner, void *out)
{
    switch (form_of(weights)) {
    case FORM_FIXED:
        prepare_words(x, inner, out);
        break;
    case FORM_NEIGHBOURS:
        prepare_neighbours(x, inner, out);
        break;
    default:
        PREPARE(weights, x, inner, out);
    }
}

static void matmul(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride)
{
    enum form form = form_of(w->type);
    size_t x_bytes = bytes_of(w->type, w->shape[0]),
           ahead = cpu_wants_lines_asked() ? lines_ahead(w) : 0;

    if (form != FORM_F32)
        quant_multiply(
            &(struct quant_job){w, form, x, out, x_bytes, out_stride, row_begin, row_end, ahead},
            n);
    else
        matmul_floats(w, row_begin, row_end, x, x_bytes, n, out, out_stride);
}

static bool matmul_swiglu(const struct tensor *gate, const struct tensor *up, size_t row_begin,
                          size_t row_end, const void *x, size_t n, float *out, size_t out_stride)
{
    enum form form = form_of(gate->type);
    size_t x_bytes = bytes_of(gate->type, gate->shape[0]);

    if (n < SWIGLU_LEAST || !makes_pairs(form, gate, up))
        return false;
    quant_multiply(&(struct quant_job){.w = gate,
                                       .form = form,
                                       .x = x,
                                       .out = out,
                                       .x_bytes = x_bytes,
                                       .out_stride = out_stride,
                                       .row_begin = row_begin,
                                       .row_end = row_end,
                                       .up = up},
                   n);
    return true;
}

#define BACKEND_EIGHTS(usable_here)                                                    \
    .usable = usable_here, .reads_packed = packed_has, .matmul_swiglu = matmul_swiglu, \
    BACKEND_LANES_OF(form_of, bytes_of, prepare_256, matmul)

#if defined(__AVXVNNI__)
const struct backend backend_avx2vnni = {.name = "avx2vnni", BACKEND_EIGHTS(cpu_has_avx2vnni)};
#elif VNNI /* the same in the encoding of AVX-512, for tests on processors that have only that */
const struct backend backend_avx2vnni_evex = {.name = "avx2vnni in EVEX",
                                              BACKEND_EIGHTS(cpu_has_avx512vnni)};
#else
const struct backend backend_avx2 = {.name = "avx2", BACKEND_EIGHTS(cpu_has_avx2)};
#endif
