/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_eights.h - AVX2: quantised weights as they lie in a file, and what meets them.
 *
 * Included by kernel_avx2.c only.
 *
 * A lane is a row: eight rows are transposed in groups of four values, so that one instruction
 * multiplies four values of eight rows with the same four of a vector.  The 32 products of a block
 * are added exactly, in whatever order; an element is then the sum over blocks, in order, of that
 * integer times both scales, one fused multiply-add each.
 *
 * Weights come unsigned, with a bias that their sums start from: minus the bias times the x that
 * they meet.  With VNNI a sum has 32 bits.  Without, it has 16 for two of the four values, and
 * keeps them for as long as a sum of (w - bias) * x fits: a block of 5 bits, 16 * 16 * 127 < 2^15,
 * half a block of 6, 8 * 32 * 127, a block of MXFP4's levels, 16 * 12 * 127.  On the way it may
 * wrap around, and no harm is done; two products of at most 6 bits do not saturate, 2 * 63 * 127.
 *
 * Weights of 8 bits, and levels of as many, would: 2 * 255 * 127.  But they do not if two
 * neighbours of x which one instruction multiplies are at most 128 together where they have one
 * sign: 255 * 128 < 2^15.  So the step of such x is that of the largest |x| or |x + its
 * neighbour|, at worst twice as large, and a sum has 32 bits: three instructions for four values,
 * where words would take four, and two sums of weights of 4 bits as well.
 *
 * Small scales of halves are whole numbers, and so a block's sum of both halves times theirs is
 * still exact, and below 2^24. */
#ifndef TENSOR_KERNEL_EIGHTS_H
#define TENSOR_KERNEL_EIGHTS_H

#define GROUP         8  /* rows of one register */
#define Q_TILE_T      6  /* 2 groups x 6 vectors of sums, 2 of weights, 1 of x, 1 product */
#define PANEL         16 /* blocks transposed at a time for many vectors: up to 20 KiB of stack */
#define X_BYTES(type) (IS_HALVES(type) ? sizeof(struct x_words) : sizeof(struct x_q8))

#define STREAM_T    4
#define LOOKS_AHEAD false

#define FOR_EACH_WORD_TYPE(F) F(f16_words, DTYPE_F16) F(bf16_words, DTYPE_BF16)

#include "tensor/kernel_job.h"
#include "tensor/kernel_unpack.h"

/* What adds products to a sum keeps the compiler to the order of the source: it would multiply all
 * of a tile first, and then add, for which there are not enough registers.  Nor may a sum leave its
 * register: compilers let them wander from add to add, and each step is a move. */
#define HOLD(v) __asm__ volatile("" : "+x"(v))
#define ADD_IN_PLACE(instruction, sum, v) \
    __asm__ volatile(instruction " %1, %0, %0" : "+x"(sum) : "x"(v))

#include "tensor/kernel_words.h"

/* Eight rows, an equal stride apart: two pointers and the stride fit the registers, eight pointers
 * do not.  Where fewer than eight rows follow, earlier ones are computed once more and not stored.
 */
struct rows {
    const char *half[2]; /* rows 0, 4 */
    size_t stride;
    size_t out; /* row of lane 0 */
    bool whole; /* all lanes are stored; else those of the mask */
    __m256i lanes;
};

/* The rows [r, min(r + 8, end)) in lanes of a group. */
INLINE struct rows plain_rows(const struct tensor *w, size_t r, size_t end)
{
    size_t rows = w->shape[1], count = r < end ? end - r : 0, from = r;
    struct rows g = {.stride = w->row_bytes};

    if (from + GROUP > rows)
        from = rows < GROUP ? 0 : rows - GROUP;
    if (rows < GROUP) { /* a tiny matrix: one row in all lanes */
        from = r < rows ? r : rows - 1;
        g.stride = 0;
        count = count > 1 ? 1 : count;
    }
    g.half[0] = tensor_row(w, from);
    g.half[1] = g.half[0] + 4 * g.stride;
    g.out = from;
    g.whole = count >= GROUP && from == r;
    if (count)
        g.lanes = _mm256_andnot_si256(first(r - from), first(r - from + count));
    return g;
}

INLINE void put_lanes(float *out, const struct rows *rows, vec v)
{
    if (rows->whole)
        v_store(out + rows->out, v);
    else
        _mm256_maskstore_ps(out + rows->out, rows->lanes, v);
}

INLINE vec get_lanes(const float *out, const struct rows *rows)
{
    if (rows->whole)
        return v_load(out + rows->out);
    return _mm256_maskload_ps(out + rows->out, rows->lanes);
}

/* Sixteen bytes at `offset` of the rows i and i + 4, half a register each. */
INLINE __m256i half_rows(const struct rows *rows, unsigned i, size_t offset)
{
    const char *low = rows->half[0] + offset + i * rows->stride;
    const char *high = rows->half[1] + offset + i * rows->stride;

    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const void *)low)),
                                   _mm_loadu_si128((const void *)high), 1);
}

/* out[i] = bytes 4 i .. 4 i + 3, from offset on, of eight rows. */
INLINE void transpose8(const struct rows *rows, size_t offset, __m256i out[4])
{
    __m256i a = half_rows(rows, 0, offset), b = half_rows(rows, 1, offset);
    __m256i c = half_rows(rows, 2, offset), d = half_rows(rows, 3, offset);
    __m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
    __m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);

    out[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
    out[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
    out[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
    out[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}

/* What stands in a block of eight rows besides its quants. */
struct head {
    __m256i high;      /* q5: the fifth bits */
    __m256i scales[4]; /* super-blocks: their small scales, as they lie */
    vec d, m;
};

INLINE vec high_halves(__m256i v)
{
    v = _mm256_srli_epi32(v, 16);
    return _mm256_cvtph_ps(
        _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}

INLINE vec low_halves(__m256i v)
{
    return high_halves(_mm256_slli_epi32(v, 16));
}

/* 2^(e - 128); NaN for 255. */
INLINE vec exponents(__m256i e)
{
    const __m256i one = _mm256_set1_epi32(1);
    __m256i small =
        _mm256_sllv_epi32(_mm256_set1_epi32(1 << 21), e); /* subnormal: 2^-128, 2^-127 */
    __m256i bits = _mm256_slli_epi32(_mm256_sub_epi32(e, one), 23);

    bits = _mm256_blendv_epi8(small, bits, _mm256_cmpgt_epi32(e, one));
    bits = _mm256_blendv_epi8(bits, _mm256_set1_epi32(0x7fc00000),
                              _mm256_cmpeq_epi32(e, _mm256_set1_epi32(255)));
    return _mm256_castsi256_ps(bits);
}

/* a with what stands two bytes later. */
INLINE __m256i two_bytes_on(__m256i a, __m256i b)
{
    return _mm256_or_si256(_mm256_srli_epi32(a, 16), _mm256_slli_epi32(b, 16));
}

/* Of q2_K: what sums of minima times x are multiplied by, see minima_sum. */
INLINE vec minima_unit(vec m)
{
    return v_mul(m, v_set1(VNNI ? 1.0f / 128 : 1.0f / 32));
}

/* Of q4_K and q5_K: the offset of a block. */
INLINE vec block_minimum(vec m, __m256i small)
{
    return v_mul(m, v_sub(v_zero(), _mm256_cvtepi32_ps(small)));
}

/* Where d does not come first: the sixteen bytes that end with it. */
INLINE void get_super_head(enum dtype type, const struct rows *rows, size_t offset, struct head *h)
{
    __m256i v[4];

    transpose8(rows, offset + block_bytes(type) - 16, v);
    h->d = type == DTYPE_Q2_K ? low_halves(v[3]) : high_halves(v[3]);
    if (type == DTYPE_Q2_K)
        h->m = minima_unit(high_halves(v[3]));
    if (type == DTYPE_Q2_K)
        transpose8(rows, offset, h->scales);
    if (type == DTYPE_Q6_K)
        transpose8(rows, offset + offsetof(struct block_q6_K, scale), h->scales);
    for (unsigned i = 0; i < 3 && type == DTYPE_Q3_K; i++)
        h->scales[i] = two_bytes_on(v[i], v[i + 1]);
}

INLINE void get_head(enum dtype type, const struct rows *rows, size_t offset, struct head *h)
{
    __m256i v[4];

    if (has_halves(type)) {
        get_super_head(type, rows, offset, h);
        return;
    }
    transpose8(rows, offset, v);
    h->d = type == DTYPE_MXFP4 ? exponents(_mm256_and_si256(v[0], _mm256_set1_epi32(255)))
                               : low_halves(v[0]);
    if (has_offset(type))
        h->m = high_halves(v[0]);
    if (type == DTYPE_Q5_0)
        h->high = two_bytes_on(v[0], v[1]);
    if (type == DTYPE_Q5_1) {
        h->high = v[1];
        h->m = v_fma(v_set1(16), h->d, h->m); /* for the bias */
    }
    if (type == DTYPE_Q4_K || type == DTYPE_Q5_K || type == DTYPE_IQ4_XS)
        memcpy(h->scales, v, sizeof(v));
}

/* The lower word of each lane in both. */
INLINE __m256i two_words(__m256i v)
{
    return _mm256_blend_epi16(v, _mm256_slli_epi32(v, 16), 0xaa);
}

/* Have weights 8 bits, be they numbers or levels? */
INLINE bool has_bytes(enum dtype type)
{
    return type == DTYPE_Q8_0 || type == DTYPE_IQ4_NL || type == DTYPE_IQ4_XS ||
           type == DTYPE_IQ2_S;
}

/* 2^this is added to weights to make them unsigned; 0: nothing. */
INLINE unsigned bias_bits(enum dtype type)
{
    switch (type) {
    case DTYPE_Q8_0:
    case DTYPE_IQ4_NL:
    case DTYPE_IQ4_XS:
    case DTYPE_IQ2_S:
        return 7;
    case DTYPE_Q6_K:
        return 5;
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q5_K:
    case DTYPE_MXFP4:
        return 4;
    case DTYPE_Q4_0:
        return 3;
    case DTYPE_Q3_K:
        return 2;
    case DTYPE_TQ2_0:
        return 1;
    default:
        return 0;
    }
}

/* Have sums of weights times x 32 bits, and not 16 for two of four values each? */
INLINE bool has_wide_sums(enum dtype type)
{
    return VNNI || has_bytes(type);
}

/* A whole number as integer sums are multiplied by it. */
INLINE __m256i factor(enum dtype type, __m256i v)
{
    return has_wide_sums(type) ? v : two_words(v);
}

/* Of one 32-block: scale and offset; of types whose halves have their own, what the sums of these
 * are multiplied by before, and (q2_K) their minima. */
struct scales {
    vec d, m;
    __m256i by[2], minima[2];
};

/* Scale k of sixteen. */
INLINE __m256i sixteenth_scale(enum dtype type, const struct head *h, unsigned k)
{
    const __m256i *s = h->scales;
    __m256i scale;

    if (type == DTYPE_Q6_K)
        return factor(type, _mm256_srai_epi32(_mm256_slli_epi32(s[k / 4], 24 - 8 * (k % 4)), 24));
    if (type == DTYPE_Q2_K)
        return factor(type, bits(s[k / 4], k % 4 * 8, 4, 0));
    scale = _mm256_or_si256(bits(s[k % 8 / 4], k % 4 * 8 + k / 8 * 4, 4, 0),
                            bits(s[2], k % 4 * 8 + k / 4 * 2, 2, 4));
    return factor(type, _mm256_sub_epi32(scale, _mm256_set1_epi32(32)));
}

INLINE __m256i sixteenth_minimum(enum dtype type, const struct head *h, unsigned k)
{
    return type == DTYPE_Q2_K ? factor(type, bits(h->scales[k / 4], k % 4 * 8 + 4, 4, 0))
                              : _mm256_setzero_si256();
}

INLINE vec iq4_xs_scales(const struct head *h, unsigned part)
{
    __m256i scale = _mm256_or_si256(bits(h->scales[1], 4 * part, 4, 0),
                                    bits(h->scales[0], 16 + 2 * part, 2, 4));

    return v_mul(h->d, _mm256_cvtepi32_ps(_mm256_sub_epi32(scale, _mm256_set1_epi32(32))));
}

INLINE struct scales get_scales(enum dtype type, const struct head *h, unsigned part)
{
    const __m256i *s = h->scales;
    unsigned at = 8 * (part % 4);
    __m256i scale, min;
    vec d, h_m;

    if (has_halves(type))
        return (struct scales){
            .d = h->d,
            .m = type == DTYPE_Q2_K ? h->m : v_zero(),
            .by = {sixteenth_scale(type, h, 2 * part), sixteenth_scale(type, h, 2 * part + 1)},
            .minima = {sixteenth_minimum(type, h, 2 * part),
                       sixteenth_minimum(type, h, 2 * part + 1)}};
    if (type == DTYPE_IQ4_XS)
        return (struct scales){.d = iq4_xs_scales(h, part)};
    if (type != DTYPE_Q4_K && type != DTYPE_Q5_K)
        return (struct scales){.d = h->d, .m = has_offset(type) ? h->m : v_zero()};
    if (part < 4) {
        scale = bits(s[1], at, 6, 0);
        min = bits(s[2], at, 6, 0);
    } else {
        scale = _mm256_or_si256(bits(s[3], at, 4, 0), bits(s[1], at + 6, 2, 4));
        min = _mm256_or_si256(bits(s[3], at + 4, 4, 0), bits(s[2], at + 6, 2, 4));
    }
    d = v_mul(h->d, _mm256_cvtepi32_ps(scale));
    h_m = block_minimum(h->m, min);
    return (struct scales){.d = d, .m = type == DTYPE_Q5_K ? v_fma(v_set1(16), d, h_m) : h_m};
}

/* 32-blocks whose quants lie in the same bytes. */
INLINE unsigned together(enum dtype type)
{
    return type == DTYPE_Q4_K || type == DTYPE_Q5_K ? 2 : has_halves(type) ? 4 : 1;
}

#define TOGETHER_MAX 4

#define REGISTERS 8 /* of weights of a block */

/* Quants stay where they lie in their bytes. */
INLINE unsigned place_bits(enum dtype type)
{
    (void)type;
    return 0;
}

/* Small levels need no more than a small bias. */
INLINE ints unpacked_list(enum dtype type, ints list)
{
    return _mm256_sub_epi8(list, _mm256_set1_epi8((char)(128 - (1 << bias_bits(type)))));
}

/* Adds 16 to byte k of w[i] where bit 4 i + k of a row's dword is set. */
INLINE void add_fifth_bits(__m256i high, __m256i w[8])
{
    const __m256i bit = _mm256_set1_epi32((int)0x80402010), sixteen = _mm256_set1_epi8(16);

    for (unsigned i = 0; i < 8; i += 2) {
        const int at = (int)(i / 2 * 0x01010101);
        const __m256i spread = _mm256_broadcastsi128_si256(
            _mm_setr_epi32(at, 0x04040404 + at, 0x08080808 + at, 0x0c0c0c0c + at));
        __m256i odd = _mm256_shuffle_epi8(high, spread), even = _mm256_slli_epi16(odd, 4);

        even = _mm256_min_epu8(_mm256_and_si256(even, bit), sixteen);
        odd = _mm256_min_epu8(_mm256_and_si256(odd, bit), sixteen);
        w[i] = _mm256_or_si256(w[i], even);
        w[i + 1] = _mm256_or_si256(w[i + 1], odd);
    }
}

INLINE void get_nibbles(const struct rows *rows, size_t offset, __m256i w[8])
{
    __m256i v[4];

    transpose8(rows, offset, v);
    for (unsigned i = 0; i < 4; i++) {
        w[i] = byte_bits(v[i], 0, 4, 0);
        w[i + 4] = byte_bits(v[i], 4, 4, 0);
    }
}

INLINE void get_q8_0(const struct rows *rows, size_t offset, __m256i *w)
{
    transpose8(rows, offset, w);
    transpose8(rows, offset + 16, w + 4);
    for (unsigned i = 0; i < 8; i++)
        w[i] = _mm256_xor_si256(w[i], _mm256_set1_epi8(-128));
}

INLINE void get_levels(enum dtype type, const struct rows *rows, size_t offset, __m256i *w)
{
    const __m256i list = unpacked_list(type, levels_list(levels_of(type), true));

    get_nibbles(rows, offset, w);
    for (unsigned i = 0; i < 8; i++)
        w[i] = look_up(list, w[i]);
}

INLINE void get_q2_k(const struct rows *rows, size_t offset, __m256i w[][REGISTERS])
{
    __m256i v[8];

    transpose8(rows, offset, v);
    transpose8(rows, offset + 16, v + 4);
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < 8; i++)
            w[k][i] = byte_bits(v[i], 2 * k, 2, 0);
}

/* Further bits of quants: of values 32 part + l of a block, bit `part` of byte l. */
INLINE void add_high_bits(const struct rows *rows, size_t offset, unsigned part, unsigned count,
                          unsigned to, __m256i w[][REGISTERS])
{
    __m256i v[8];

    transpose8(rows, offset, v);
    transpose8(rows, offset + 16, v + 4);
    for (unsigned k = 0; k < count; k++)
        for (unsigned i = 0; i < 8; i++)
            w[k][i] = _mm256_or_si256(w[k][i], byte_bits(v[i], part + k, 1, to));
}

INLINE void get_q4_k(const struct rows *rows, size_t offset, __m256i w[][REGISTERS])
{
    __m256i v[8];

    transpose8(rows, offset, v);
    transpose8(rows, offset + 16, v + 4);
    for (unsigned i = 0; i < 8; i++) {
        w[0][i] = byte_bits(v[i], 0, 4, 0);
        w[1][i] = byte_bits(v[i], 4, 4, 0);
    }
}

INLINE void get_q6_k(const struct rows *rows, size_t low, size_t high, __m256i w[][REGISTERS])
{
    for (unsigned at = 0; at < 2; at++) { /* sixteen of 32 values */
        __m256i even[4], odd[4], top[4];

        transpose8(rows, low + 16 * at, even);
        transpose8(rows, low + 32 + 16 * at, odd);
        transpose8(rows, high + 16 * at, top);
        for (unsigned i = 0; i < 4; i++) {
            unsigned to = 4 * at + i;

            w[0][to] = _mm256_or_si256(byte_bits(even[i], 0, 4, 0), byte_bits(top[i], 0, 2, 4));
            w[1][to] = _mm256_or_si256(byte_bits(odd[i], 0, 4, 0), byte_bits(top[i], 2, 2, 4));
            w[2][to] = _mm256_or_si256(byte_bits(even[i], 4, 4, 0), byte_bits(top[i], 4, 2, 4));
            w[3][to] = _mm256_or_si256(byte_bits(odd[i], 4, 4, 0), byte_bits(top[i], 6, 2, 4));
        }
    }
}

/* w[k][i] = values 4 i .. 4 i + 3 of the 32-block part + k of eight rows, unsigned. */
INLINE void get_quants(enum dtype type, const struct rows *rows, size_t offset, unsigned part,
                       const struct head *h, __m256i w[][REGISTERS])
{
    switch (type) {
    case DTYPE_Q8_0:
        get_q8_0(rows, offset + 2, w[0]);
        break;
    case DTYPE_Q4_0:
        get_nibbles(rows, offset + 2, w[0]);
        break;
    case DTYPE_Q4_1:
        get_nibbles(rows, offset + 4, w[0]);
        break;
    case DTYPE_Q5_0:
        get_nibbles(rows, offset + 6, w[0]);
        add_fifth_bits(h->high, w[0]);
        break;
    case DTYPE_Q5_1:
        get_nibbles(rows, offset + 8, w[0]);
        add_fifth_bits(h->high, w[0]);
        break;
    case DTYPE_IQ4_NL:
        get_levels(type, rows, offset + 2, w[0]);
        break;
    case DTYPE_IQ4_XS:
        get_levels(type, rows, offset + 8 + 16 * part, w[0]);
        break;
    case DTYPE_MXFP4:
        get_levels(type, rows, offset + 1, w[0]);
        break;
    case DTYPE_Q2_K:
        get_q2_k(rows, offset + 16 + 8 * part, w);
        break;
    case DTYPE_Q3_K:
        get_q2_k(rows, offset + 32 + 8 * part, w);
        add_high_bits(rows, offset, part, 4, 2, w);
        break;
    case DTYPE_Q4_K:
        get_q4_k(rows, offset + 16 + 16 * part, w);
        break;
    case DTYPE_Q5_K:
        get_q4_k(rows, offset + 48 + 16 * part, w);
        add_high_bits(rows, offset + 16, part, 2, 4, w);
        break;
    default:
        get_q6_k(rows, offset + 16 * part, offset + K_BLOCK / 2 + 8 * part, w);
    }
}

/* Sums of x of 32 bits, of half k. */
INLINE __m256i minus_128_half(const struct x_q8 *x, unsigned k)
{
    return _mm256_set1_epi32(k == 0 ? x->minus_128_low : x->minus_128_sum - x->minus_128_low);
}

INLINE __m256i two_halves(const int16_t pair[2])
{
    int32_t v;

    memcpy(&v, pair, sizeof(v));
    return _mm256_set1_epi32(v);
}

/* The same of 16 bits, of two of four values each. */
INLINE __m256i minus_32_half(const struct x_q8 *x, unsigned k)
{
    __m256i low = two_halves(x->minus_32_low), all = two_halves(x->minus_16_sum);

    return k == 0 ? low : _mm256_sub_epi16(_mm256_add_epi16(all, all), low);
}

/* What sum k of a block starts from: minus the bias times the sum of x. */
INLINE __m256i sum_start(enum dtype type, const struct x_q8 *x, unsigned k)
{
    const int bias = (int)bias_bits(type);

    if (bias == 0)
        return _mm256_setzero_si256();
    if (has_wide_sums(type) && has_halves(type))
        return _mm256_srai_epi32(minus_128_half(x, k), 7 - bias);
    if (has_wide_sums(type))
        return _mm256_srai_epi32(_mm256_set1_epi32(x->minus_128_sum), 7 - bias);
    if (has_halves(type))
        return _mm256_srai_epi16(minus_32_half(x, k), 5 - bias);
    return _mm256_srai_epi16(two_halves(x->minus_16_sum), 4 - bias);
}

/* The largest |x| or |x + its neighbour|, as bits: NaN and infinity are the largest of all. */
INLINE int32_t most_of_pairs(const float *x)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256i most = _mm256_setzero_si256();

    for (unsigned i = 0; i < Q_BLOCK; i += 8) {
        vec one = v_load(x + i), both = v_add(one, _mm256_permute_ps(one, 0xb1));

        one = _mm256_and_ps(one, magnitude);
        both = _mm256_and_ps(both, magnitude);
        most = _mm256_max_epi32(most, _mm256_castps_si256(one));
        most = _mm256_max_epi32(most, _mm256_castps_si256(both));
    }
    return max_epi32(most);
}

/* Two neighbours of one sign are at most 127 steps together, and rounded 128. */
static void prepare_neighbours(const float *x, size_t inner, struct x_q8 *out)
{
    for (size_t b = 0; b < inner / Q_BLOCK; b++, x += Q_BLOCK) {
        int32_t most_bits = most_of_pairs(x);
        float most;

        memcpy(&most, &most_bits, sizeof(most));
        if (has_step(most))
            quantise_by(x, most / 127, &out[b]);
        else
            quantise_none(most, &out[b]);
    }
}

#if VNNI

INLINE __m256i add_products(enum dtype type, __m256i sum, __m256i w, __m256i x)
{
    (void)type;
#if defined(__AVXVNNI__)
    sum = _mm256_dpbusd_avx_epi32(sum, w, x);
#else
    sum = _mm256_dpbusd_epi32(sum, w, x);
#endif
    HOLD(sum);
    return sum;
}

#define PREPARE prepare

#else

INLINE __m256i add_products(enum dtype type, __m256i sum, __m256i w, __m256i x)
{
    __m256i pairs = _mm256_maddubs_epi16(w, x);

    if (has_wide_sums(type))
        ADD_IN_PLACE("vpaddd", sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    else
        ADD_IN_PLACE("vpaddw", sum, pairs);
    return sum;
}

/* Sums of x by their place in groups of four: what 16-bit sums start from. */
static void prepare_pairs(enum dtype weights, const float *x, size_t inner, void *out)
{
    struct x_q8 *blocks = out;

    prepare(weights, x, inner, out);
    for (size_t b = 0; prepared_form(weights) == FORM_Q8 && b < inner / Q_BLOCK; b++) {
        __m256i q = _mm256_loadu_si256((const void *)blocks[b].q);
        __m256i s = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
        __m128i low, all;

        s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0x4e));
        s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0xb1)); /* now of each half */
        low = _mm256_castsi256_si128(s);
        all = _mm_add_epi16(low, _mm256_extracti128_si256(s, 1));
        _mm_storeu_si32(blocks[b].minus_16_sum, _mm_mullo_epi16(all, _mm_set1_epi16(-16)));
        _mm_storeu_si32(blocks[b].minus_32_low, _mm_mullo_epi16(low, _mm_set1_epi16(-32)));
    }
}

#define PREPARE prepare_pairs

#endif

/* Sum k of a block, as a part of its whole sum of 32 bits. */
INLINE __m256i part_of_whole(enum dtype type, __m256i sum, const struct scales *s, unsigned k)
{
    if (has_wide_sums(type))
        return has_halves(type) ? _mm256_mullo_epi32(sum, s->by[k]) : sum;
    return _mm256_madd_epi16(sum, has_halves(type) ? s->by[k] : _mm256_set1_epi16(1));
}

/* Of q2_K: minima times the sums of x that they meet, which are larger and negative: see
 * minima_unit. */
INLINE __m256i minima_sum(const struct scales *s, const struct x_q8 *x)
{
    if (VNNI)
        return _mm256_add_epi32(_mm256_mullo_epi32(s->minima[0], minus_128_half(x, 0)),
                                _mm256_mullo_epi32(s->minima[1], minus_128_half(x, 1)));
    return _mm256_add_epi32(_mm256_madd_epi16(s->minima[0], minus_32_half(x, 0)),
                            _mm256_madd_epi16(s->minima[1], minus_32_half(x, 1)));
}

INLINE __m256i four_values(const struct x_q8 *x, unsigned i)
{
    int32_t v;

    memcpy(&v, x->q + 4 * i, sizeof(v));
    return _mm256_set1_epi32(v);
}

/* acc + a block's part of the result. */
INLINE vec add_block(enum dtype type, const struct scales *s, const struct x_q8 *x, __m256i sum,
                     vec acc)
{
    acc = v_fma(v_mul(_mm256_cvtepi32_ps(sum), s->d), v_set1(x->d), acc);
    if (type == DTYPE_Q2_K)
        return v_fma(v_mul(_mm256_cvtepi32_ps(minima_sum(s, x)), s->m), v_set1(x->d), acc);
    return has_offset(type) ? v_fma(s->m, v_set1(x->d_sum), acc) : acc;
}

/* Sum k of a block of G groups of rows, w[i * G + g], times T vectors. */
INLINE void block_sums(const unsigned G, const unsigned T, enum dtype type, const unsigned k,
                       const __m256i *w, const char *x, size_t x_bytes, __m256i sum[][Q_TILE_T])
{
    const unsigned groups = 8 / halves_of(type), from = k * groups, to = from + groups;

    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < G; g++)
            sum[g][t] = sum_start(type, x_block(x + t * x_bytes, 0), k);
#pragma GCC unroll 1
    for (unsigned i = from; i < to; i++) {
        for (unsigned t = 0; t < T; t++) {
            __m256i xt = four_values(x_block(x + t * x_bytes, 0), i);

            for (unsigned g = 0; g < G; g++)
                sum[g][t] = add_products(type, sum[g][t], w[i * G + g], xt);
        }
    }
}

/* acc[g][t] += w * x of one block. */
INLINE void multiply_block(const unsigned G, const unsigned T, enum dtype type, const __m256i *w,
                           const struct scales *s, const char *x, size_t x_bytes,
                           vec acc[][Q_TILE_T])
{
    __m256i sum[2][Q_TILE_T], more[2][Q_TILE_T];

    block_sums(G, T, type, 0, w, x, x_bytes, sum);
    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < G; g++)
            sum[g][t] = part_of_whole(type, sum[g][t], &s[g], 0);
    for (unsigned k = 1; k < halves_of(type); k++) {
        block_sums(G, T, type, k, w, x, x_bytes, more);
        for (unsigned t = 0; t < T; t++)
            for (unsigned g = 0; g < G; g++)
                sum[g][t] = _mm256_add_epi32(sum[g][t], part_of_whole(type, more[g][t], &s[g], k));
    }
    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < G; g++)
            acc[g][t] = add_block(type, &s[g], x_block(x + t * x_bytes, 0), sum[g][t], acc[g][t]);
}

/* Few vectors: weights go from memory through registers to sums. */
INLINE void stream_eights(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    const size_t fetched = GROUP * block_bytes(type) / parts(type);
    struct rows rows = plain_rows(j->w, r, j->row_end);
    const char *next = tensor_row(j->w, r + GROUP < j->row_end ? r + GROUP : r);
    size_t blocks = j->w->shape[0] / Q_BLOCK;
    vec acc[1][Q_TILE_T];

    for (unsigned t = 0; t < T; t++)
        acc[0][t] = v_zero();
    for (size_t b = 0; b < blocks; b += parts(type)) {
        size_t offset = b / parts(type) * block_bytes(type);
        struct head h;

        get_head(type, &rows, offset, &h);
#pragma GCC unroll 4
        for (unsigned part = 0; part < parts(type); part += together(type)) {
            __m256i w[TOGETHER_MAX][REGISTERS];

            get_quants(type, &rows, offset, part, &h, w);
#pragma GCC unroll 4
            for (unsigned k = 0; k < together(type); k++, next += fetched) {
                struct scales s = get_scales(type, &h, part + k);

                fetch_level2(next, fetched);
                multiply_block(1, T, type, w[k], &s, j->x + (b + part + k) * X_BYTES(type),
                               j->x_bytes, acc);
            }
        }
    }
    for (unsigned t = 0; t < T; t++)
        put_lanes(j->out + t * j->out_stride, &rows, acc[0][t]);
}

/* Nobody has a way of its own. */
INLINE bool stream_alone(enum dtype type, const struct quant_job *j)
{
    (void)type;
    (void)j;
    return false;
}

#endif
