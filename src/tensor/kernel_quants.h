/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_quants.h - AVX-512: quantised weights as they lie in a file, and what meets them.
 *
 * Included by kernel_avx512.c only.
 *
 * A lane is a row: sixteen rows are transposed in groups of four values, so that one vpdpbusd
 * multiplies four values of sixteen rows with the same four of a vector.  The 32 products of a
 * block are added exactly, in whatever order; an element is then the sum over blocks, in order, of
 * that integer times both scales, one fused multiply-add each.
 *
 * vpdpbusd wants its first operand unsigned: weights that have no offset of their own, and so are
 * signed, get 128 added, after those of less than 8 bits were shifted up to 8 (and their scale
 * down). The integer sums start from -128 times the sum of x to make up for it.
 *
 * They start from more than that: from the bits of the float 1.5 * 2^23 * 2^e, where 2^e is the
 * power in the step of x (step.h).  Such floats are 2^e apart, so an integer added to the bits is
 * that integer times 2^e added to the float, and one subtraction, which is exact, is both the
 * conversion of the sum and its multiplication by 2^e.  It needs no unit that multiplies, and those
 * are what a product waits for. */
#ifndef TENSOR_KERNEL_QUANTS_H
#define TENSOR_KERNEL_QUANTS_H

#include "tensor/fixed.h"

#define GROUP         16 /* rows of one register */
#define Q_TILE_T      6  /* 2 groups x 6 vectors, twice (integers and sums): 24 registers */
#define PANEL         16 /* blocks transposed at a time for many vectors */
#define X_BYTES(type) sizeof(struct x_biased)

#define STREAM_T 8

#include "tensor/kernel_job.h"
#include "tensor/kernel_unpack.h"

/* A block of activations, of one line of the cache. */
struct x_biased {
    int8_t q[Q_BLOCK];
    float bias;                    /* 1.5 * 2^23 * 2^e */
    int32_t start;                 /* the bits of bias, less 128 times the sum of q */
    float factor;                  /* of the step */
    uint32_t factor_at;            /* its place in step_factors, in bytes of a panel's scales */
    int32_t start_low, start_high; /* as start, for the first and the last sixteen values */
    float d_sum;                   /* the step times the sum of q */
    int32_t sums;                  /* of a super-block: see sums_at */
};

/* Sums of q times the step in the eight blocks of a super-block, as integers of SUM_BITS bits and a
 * sign times a power of two: a pair in every second block, and in block 1 the float 1.5 * 2^23
 * times that power.  Minima of weights meet them two by two; 8 * 63 * 2^13 is below 2^22.  The
 * power is no less than that of sums with the exponent SUM_LEAST, as f32 has it, so as to be
 * normal. */
#define SUM_BITS  13
#define SUM_LEAST 20

INLINE int32_t sums_at(const struct x_biased *x, unsigned pair)
{
    return x[2 * pair].sums;
}

INLINE float sums_bias(const struct x_biased *x)
{
    float bias;

    memcpy(&bias, &x[1].sums, sizeof(bias));
    return bias;
}

/* Those, pairs of words, and the scale of all, less than zero. */
struct block_minima {
    __m512i pair[4];
    vec d;
};

/* Sixteen rows, an equal stride apart: four pointers and two distances fit the registers, sixteen
 * pointers do not.  Where fewer than sixteen rows follow, earlier ones are computed once more and
 * not stored. */
struct rows {
    const char *quarter[4]; /* rows 0, 4, 8, 12 */
    size_t stride;
    size_t out;      /* row of lane 0 */
    __mmask16 lanes; /* that are stored */
};

/* The rows [r, min(r + 16, end)) in lanes of a group. */
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
    for (unsigned i = 0; i < 4; i++)
        g.quarter[i] = (const char *)tensor_row(w, from) + 4 * i * g.stride;
    g.out = from;
    g.lanes = count ? (__mmask16)(first(count) << (r - from)) : 0;
    return g;
}

INLINE const char *row_at(const struct rows *rows, unsigned i, size_t offset)
{
    return rows->quarter[i / 4] + offset + i % 4 * rows->stride;
}

INLINE __m512i load16(const char *p)
{
    return _mm512_castsi128_si512(_mm_loadu_si128((const void *)p));
}

/* Sixteen bytes at `offset` of the rows i, i + 4, i + 8, i + 12, a quarter of the register each. */
INLINE __m512i quarter_rows(const struct rows *rows, unsigned i, size_t offset)
{
    __m512i v = load16(row_at(rows, i, offset));

    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, i + 4, offset)), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, i + 8, offset)), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)row_at(rows, i + 12, offset)), 3);
}

/* out[i] = bytes 4 i .. 4 i + 3, from offset on, of sixteen rows. */
INLINE void transpose16(const struct rows *rows, size_t offset, __m512i out[4])
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

/* What stands in a block of sixteen rows besides its quants. */
struct head {
    __m512i high;      /* q5: the fifth bits */
    __m512i scales[4]; /* super-blocks: their small scales, as they lie */
    vec d, m;
};

INLINE vec low_halves(__m512i v)
{
    return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
}

INLINE vec high_halves(__m512i v)
{
    return low_halves(_mm512_srli_epi32(v, 16));
}

/* 2^(e - 128); NaN for 255. */
INLINE vec exponents(__m512i e)
{
    const __m512i one = _mm512_set1_epi32(1);
    __m512i small =
        _mm512_sllv_epi32(_mm512_set1_epi32(1 << 21), e); /* subnormal: 2^-128, 2^-127 */
    __m512i bits = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);

    bits = _mm512_mask_mov_epi32(bits, _mm512_cmple_epi32_mask(e, one), small);
    bits = _mm512_mask_mov_epi32(bits, _mm512_cmpeq_epi32_mask(e, _mm512_set1_epi32(255)),
                                 _mm512_set1_epi32(0x7fc00000));
    return _mm512_castsi512_ps(bits);
}

/* Bits by which signed quants are shifted up in their bytes: they end at the highest one. */
INLINE unsigned place_bits(enum dtype type)
{
    return has_offset(type) || has_levels(type) ? 0 : 8 - packed_bits(type);
}

INLINE ints unpacked_list(enum dtype type, ints list)
{
    (void)type;
    return list;
}

/* What that multiplies them by. */
INLINE float place(enum dtype type)
{
    return (float)(1u << place_bits(type));
}

INLINE vec placed(enum dtype type, vec d)
{
    return place(type) == 1 ? d : v_mul(d, v_set1(1 / place(type)));
}

/* a[i] with what stands two bytes later. */
INLINE __m512i two_bytes_on(__m512i a, __m512i b)
{
    return _mm512_or_si512(_mm512_srli_epi32(a, 16), _mm512_slli_epi32(b, 16));
}

/* Where d does not come first: the sixteen bytes that end with it. */
INLINE void get_super_head(enum dtype type, const struct rows *rows, size_t offset, struct head *h)
{
    __m512i v[4];

    transpose16(rows, offset + block_bytes(type) - 16, v);
    h->d = type == DTYPE_Q2_K ? low_halves(v[3]) : placed(type, high_halves(v[3]));
    if (type == DTYPE_Q2_K)
        h->m = v_sub(v_zero(), high_halves(v[3]));
    if (type == DTYPE_Q2_K)
        transpose16(rows, offset, h->scales);
    if (type == DTYPE_Q6_K)
        transpose16(rows, offset + offsetof(struct block_q6_K, scale), h->scales);
    for (unsigned i = 0; i < 3 && type == DTYPE_Q3_K; i++)
        h->scales[i] = two_bytes_on(v[i], v[i + 1]);
}

INLINE void get_head(enum dtype type, const struct rows *rows, size_t offset, struct head *h)
{
    __m512i v[4];

    if (has_halves(type)) {
        get_super_head(type, rows, offset, h);
        return;
    }
    transpose16(rows, offset, v);
    h->d = type == DTYPE_MXFP4 ? exponents(_mm512_and_si512(v[0], _mm512_set1_epi32(255)))
                               : placed(type, low_halves(v[0]));
    if (has_offset(type))
        h->m = high_halves(v[0]);
    if (type == DTYPE_Q5_0)
        h->high = two_bytes_on(v[0], v[1]);
    if (type == DTYPE_Q5_1)
        h->high = v[1];
    if (type == DTYPE_Q4_K || type == DTYPE_Q5_K || type == DTYPE_IQ4_XS)
        memcpy(h->scales, v, sizeof(v));
}

INLINE __m512i signed_byte(__m512i v, unsigned byte)
{
    return _mm512_srai_epi32(_mm512_slli_epi32(v, 24 - 8 * byte), 24);
}

/* Of 32-block `part`: its scale, and its offset or, where halves have their own, the scale of its
 * upper sixteen values. */
struct two {
    vec d, second;
};

INLINE __m512i sixteenth_scale(enum dtype type, const struct head *h, unsigned k)
{
    const __m512i *s = h->scales;
    __m512i scale;

    if (type == DTYPE_Q6_K)
        return signed_byte(s[k / 4], k % 4);
    if (type == DTYPE_Q2_K)
        return bits(s[k / 4], k % 4 * 8, 4, 0);
    scale = _mm512_or_si512(bits(s[k % 8 / 4], k % 4 * 8 + k / 8 * 4, 4, 0),
                            bits(s[2], k % 4 * 8 + k / 4 * 2, 2, 4));
    return _mm512_sub_epi32(scale, _mm512_set1_epi32(32));
}

INLINE struct small_scales get_small_scales(enum dtype type, const struct head *h, unsigned part)
{
    const __m512i *s = h->scales;
    unsigned at = 8 * (part % 4);
    __m512i scale;

    if (has_halves(type))
        return (struct small_scales){sixteenth_scale(type, h, 2 * part),
                                     sixteenth_scale(type, h, 2 * part + 1)};
    if (type == DTYPE_IQ4_XS)
        scale = _mm512_sub_epi32(
            _mm512_or_si512(bits(s[1], 4 * part, 4, 0), bits(s[0], 16 + 2 * part, 2, 4)),
            _mm512_set1_epi32(32));
    else if (part < 4)
        scale = bits(s[1], at, 6, 0);
    else
        scale = _mm512_or_si512(bits(s[3], at, 4, 0), bits(s[1], at + 6, 2, 4));
    return (struct small_scales){scale, scale};
}

INLINE struct two get_scales(enum dtype type, const struct head *h, unsigned part)
{
    struct small_scales s;

    if (parts(type) == 1)
        return (struct two){h->d, has_offset(type) ? h->m : v_zero()};
    s = get_small_scales(type, h, part);
    return (struct two){v_mul(h->d, _mm512_cvtepi32_ps(s.low)),
                        has_halves(type) ? v_mul(h->d, _mm512_cvtepi32_ps(s.high)) : v_zero()};
}

INLINE __m512i two_words(__m512i low, __m512i high)
{
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

INLINE void get_block_minima(const struct head *h, struct block_minima *m)
{
    const __m512i *s = h->scales;

    for (unsigned i = 0; i < 2; i++) {
        __m512i word[2], high[2];

        for (unsigned k = 0; k < 2; k++) {
            unsigned at = 8 * (2 * i + k);

            word[k] = bits(s[2], at, 6, 0);
            high[k] = _mm512_or_si512(bits(s[3], at + 4, 4, 0), bits(s[2], at + 6, 2, 4));
        }
        m->pair[i] = two_words(word[0], word[1]);
        m->pair[i + 2] = two_words(high[0], high[1]);
    }
    m->d = v_sub(v_zero(), h->m);
}

/* Of q2_K: the offsets of both halves of a block; and 0, so that others need not tell. */
INLINE struct two get_minima(enum dtype type, const struct head *h, unsigned part)
{
    __m512i s = h->scales[part / 2];

    if (type != DTYPE_Q2_K)
        return (struct two){v_zero(), v_zero()};
    return (struct two){v_mul(h->m, _mm512_cvtepi32_ps(bits(s, part % 2 * 16 + 4, 4, 0))),
                        v_mul(h->m, _mm512_cvtepi32_ps(bits(s, part % 2 * 16 + 12, 4, 0)))};
}

/* 32-blocks whose quants lie in the same bytes. */
INLINE unsigned together(enum dtype type)
{
    return type == DTYPE_Q4_K || type == DTYPE_Q5_K ? 2 : has_halves(type) ? 4 : 1;
}

#define TOGETHER_MAX 4

/* Adds `what` to byte k of w[i] where bit 4 i + k of a row's dword is set. */
INLINE void add_fifth_bits(__m512i high, int what, __m512i w[8])
{
    for (unsigned i = 0; i < 8; i++) {
        const __m512i spread = _mm512_set4_epi32(
            0x0c0c0c0c + (int)(i / 2 * 0x01010101), 0x08080808 + (int)(i / 2 * 0x01010101),
            0x04040404 + (int)(i / 2 * 0x01010101), (int)(i / 2 * 0x01010101));
        const __m512i bit = _mm512_set1_epi32((int)(i % 2 ? 0x80402010 : 0x08040201));
        __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(high, spread), bit);

        w[i] = _mm512_mask_add_epi8(w[i], set, w[i], _mm512_set1_epi8((char)what));
    }
}

/* Nibbles of sixteen bytes at offset, moved to bit `to`. */
INLINE void get_nibbles(const struct rows *rows, size_t offset, unsigned to, __m512i w[8])
{
    __m512i v[4];

    transpose16(rows, offset, v);
    for (unsigned i = 0; i < 4; i++) {
        w[i] = byte_bits(v[i], 0, 4, to);
        w[i + 4] = byte_bits(v[i], 4, 4, to);
    }
}

INLINE void get_q4_k(const struct rows *rows, size_t offset, __m512i w[][8])
{
    __m512i v[8];

    transpose16(rows, offset, v);
    transpose16(rows, offset + 16, v + 4);
    for (unsigned i = 0; i < 8; i++) {
        w[0][i] = byte_bits(v[i], 0, 4, 0);
        w[1][i] = byte_bits(v[i], 4, 4, 0);
    }
}

INLINE void get_q6_k(const struct rows *rows, size_t low, size_t high, __m512i w[][8])
{
    for (unsigned at = 0; at < 2; at++) { /* sixteen of 32 values */
        __m512i even[4], odd[4], top[4];

        transpose16(rows, low + 16 * at, even);
        transpose16(rows, low + 32 + 16 * at, odd);
        transpose16(rows, high + 16 * at, top);
        for (unsigned i = 0; i < 4; i++) {
            unsigned to = 4 * at + i;

            w[0][to] = _mm512_or_si512(byte_bits(even[i], 0, 4, 2), byte_bits(top[i], 0, 2, 6));
            w[1][to] = _mm512_or_si512(byte_bits(odd[i], 0, 4, 2), byte_bits(top[i], 2, 2, 6));
            w[2][to] = _mm512_or_si512(byte_bits(even[i], 4, 4, 2), byte_bits(top[i], 4, 2, 6));
            w[3][to] = _mm512_or_si512(byte_bits(odd[i], 4, 4, 2), byte_bits(top[i], 6, 2, 6));
        }
    }
}

/* The fifth bits of two blocks of q5_K. */
INLINE void add_high_bits(const struct rows *rows, size_t offset, unsigned part, __m512i w[][8])
{
    __m512i v[8];

    transpose16(rows, offset, v);
    transpose16(rows, offset + 16, v + 4);
    for (unsigned k = 0; k < 2; k++)
        for (unsigned i = 0; i < 8; i++)
            w[k][i] = _mm512_or_si512(w[k][i], byte_bits(v[i], part + k, 1, 4));
}

INLINE void get_q2_k(const struct rows *rows, size_t offset, __m512i w[][8])
{
    __m512i v[8];

    transpose16(rows, offset, v);
    transpose16(rows, offset + 16, v + 4);
    for (unsigned k = 0; k < 4; k++)
        for (unsigned i = 0; i < 8; i++)
            w[k][i] = byte_bits(v[i], 2 * k, 2, 0);
}

INLINE void get_q3_k(const struct rows *rows, size_t low, size_t high, unsigned part,
                     __m512i w[][8])
{
    for (unsigned at = 0; at < 2; at++) {
        __m512i v[4], top[4];

        transpose16(rows, low + 16 * at, v);
        transpose16(rows, high + 16 * at, top);
        for (unsigned k = 0; k < 4; k++)
            for (unsigned i = 0; i < 4; i++)
                w[k][4 * at + i] = _mm512_or_si512(byte_bits(v[i], 2 * k, 2, 5),
                                                   byte_bits(top[i], part + k, 1, 7));
    }
}

/* w[k][i] = values 4 i .. 4 i + 3 of the 32-block part + k of sixteen rows, unsigned. */
INLINE void get_quants(enum dtype type, const struct rows *rows, size_t offset, unsigned part,
                       const struct head *h, __m512i w[][8])
{
    switch (type) {
    case DTYPE_Q8_0:
        transpose16(rows, offset + 2, w[0]);
        transpose16(rows, offset + 2 + 16, w[0] + 4);
        for (unsigned i = 0; i < 8; i++)
            w[0][i] = _mm512_xor_si512(w[0][i], _mm512_set1_epi8(-128));
        break;
    case DTYPE_Q4_0:
        get_nibbles(rows, offset + 2, 4, w[0]);
        break;
    case DTYPE_Q4_1:
        get_nibbles(rows, offset + 4, 0, w[0]);
        break;
    case DTYPE_Q5_0:
        get_nibbles(rows, offset + 6, 3, w[0]);
        add_fifth_bits(h->high, 128, w[0]);
        break;
    case DTYPE_Q5_1:
        get_nibbles(rows, offset + 8, 0, w[0]);
        add_fifth_bits(h->high, 16, w[0]);
        break;
    case DTYPE_IQ4_NL:
        get_nibbles(rows, offset + 2, 0, w[0]);
        break;
    case DTYPE_IQ4_XS:
        get_nibbles(rows, offset + 8 + 16 * part, 0, w[0]);
        break;
    case DTYPE_MXFP4:
        get_nibbles(rows, offset + 1, 0, w[0]);
        break;
    case DTYPE_Q2_K:
        get_q2_k(rows, offset + 16 + 8 * part, w);
        break;
    case DTYPE_Q3_K:
        get_q3_k(rows, offset + 32 + 8 * part, offset, part, w);
        break;
    case DTYPE_Q4_K:
        get_q4_k(rows, offset + 16 + 16 * part, w);
        break;
    case DTYPE_Q5_K:
        get_q4_k(rows, offset + 48 + 16 * part, w);
        add_high_bits(rows, offset + 16, part, w);
        break;
    default:
        get_q6_k(rows, offset + 16 * part, offset + K_BLOCK / 2 + 8 * part, w);
    }
    for (unsigned i = 0; i < 8 && has_levels(type); i++)
        w[0][i] = look_up(levels_list(levels_of(type), true), w[0][i]);
}

INLINE const struct x_biased *x_at(const char *x, size_t b)
{
    return (const struct x_biased *)(const void *)x + b;
}

/* What integer sums start from: of a block, or of its halves. */
INLINE __m512i start_from(enum dtype type, const struct x_biased *x, const int32_t *start)
{
    return has_offset(type) ? _mm512_castps_si512(v_set1(x->bias)) : _mm512_set1_epi32(*start);
}

/* A sum that began so, times 2^e. */
INLINE vec unbiased(__m512i sum, const struct x_biased *x)
{
    return v_sub(_mm512_castsi512_ps(sum), v_set1(x->bias));
}

/* acc + a block's part of the result; d: the scale, times the factor of x. */
INLINE vec add_block(enum dtype type, vec d, vec offset, const struct x_biased *x, __m512i sum,
                     vec acc)
{
    acc = v_fma(unbiased(sum, x), d, acc);
    return has_offset(type) && !has_block_minima(type) ? v_fma(offset, v_set1(x->d_sum), acc) : acc;
}

/* acc + the minima of a super-block times its sums. */
INLINE vec add_block_minima(const struct block_minima *m, const struct x_biased *x, vec acc)
{
    vec bias = v_set1(sums_bias(x));
    __m512i sum = _mm512_castps_si512(bias);

    for (unsigned i = 0; i < 4; i++)
        sum = _mm512_dpwssd_epi32(sum, m->pair[i], _mm512_set1_epi32(sums_at(x, i)));
    return v_fma(v_sub(_mm512_castsi512_ps(sum), bias), m->d, acc);
}

/* The step times the sum of the first sixteen values. */
INLINE float low_sum(const struct x_biased *x)
{
    int32_t bits;

    memcpy(&bits, &x->bias, sizeof(bits));
    return (float)(x->start_low - bits) * x->factor * (x->bias * (-0x1p-30f / 1.5f));
}

/* Where the halves of a block have minima of their own, m. */
INLINE vec add_minima(enum dtype type, struct two m, const struct x_biased *x, vec acc)
{
    if (!has_halves(type) || !has_offset(type))
        return acc;
    return v_fma(m.second, v_set1(x->d_sum - low_sum(x)), v_fma(m.d, v_set1(low_sum(x)), acc));
}

/* Four bytes at p, in all lanes. */
INLINE __m512i word_at(const void *p)
{
    int32_t v;

    memcpy(&v, p, sizeof(v));
    return _mm512_set1_epi32(v);
}

INLINE __m512i four_values(const struct x_biased *x, unsigned i)
{
    return word_at(x->q + 4 * i);
}

INLINE __m512i dot16(__m512i sum, const __m512i *w, const struct x_biased *x, unsigned first_group)
{
    for (unsigned i = 0; i < 4; i++)
        sum = _mm512_dpbusd_epi32(sum, w[first_group + i], four_values(x, first_group + i));
    return sum;
}

INLINE vec stream_block(enum dtype type, const __m512i w[8], struct two s, struct two m,
                        const struct x_biased *x, vec acc)
{
    vec factor = v_set1(x->factor), d = v_mul(s.d, factor);

    if (has_halves(type)) {
        __m512i low = dot16(start_from(type, x, &x->start_low), w, x, 0);
        __m512i high = dot16(start_from(type, x, &x->start_high), w, x, 4);

        acc = v_fma(unbiased(low, x), d, acc);
        acc = v_fma(unbiased(high, x), v_mul(s.second, factor), acc);
        return add_minima(type, m, x, acc);
    }
    return add_block(type, d, s.second, x,
                     _mm512_add_epi32(dot16(start_from(type, x, &x->start), w, x, 0),
                                      dot16(_mm512_setzero_si512(), w, x, 4)),
                     acc);
}

/* Few vectors: weights go from memory through registers to sums. */
INLINE void stream_rows(const unsigned T, enum dtype type, const struct quant_job *j, size_t r)
{
    const size_t fetched = GROUP * block_bytes(type) / parts(type);
    struct rows rows = plain_rows(j->w, r, j->row_end);
    const char *next = tensor_row(j->w, r + GROUP < j->row_end ? r + GROUP : r);
    size_t blocks = j->w->shape[0] / Q_BLOCK;
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = v_zero();
    for (size_t b = 0; b < blocks; b += parts(type)) {
        size_t offset = b / parts(type) * block_bytes(type);
        struct block_minima minima;
        struct head h;

        get_head(type, &rows, offset, &h);
#pragma GCC unroll 4
        for (unsigned part = 0; part < parts(type); part += together(type)) {
            __m512i w[TOGETHER_MAX][8];

            get_quants(type, &rows, offset, part, &h, w);
#pragma GCC unroll 4
            for (unsigned k = 0; k < together(type); k++, next += fetched) {
                struct two s = get_scales(type, &h, part + k), m = get_minima(type, &h, part + k);

                fetch(next, fetched);
                for (unsigned t = 0; t < T; t++)
                    acc[t] = stream_block(type, w[k], s, m,
                                          x_at(j->x + t * j->x_bytes, b + part + k), acc[t]);
            }
        }
        if (!has_block_minima(type))
            continue;
        get_block_minima(&h, &minima);
        for (unsigned t = 0; t < T; t++)
            acc[t] = add_block_minima(&minima, x_at(j->x + t * j->x_bytes, b), acc[t]);
    }
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(j->out + t * j->out_stride + rows.out, rows.lanes, acc[t]);
}

/* ---- one vector, long rows of q8_0: as they lie ----
 *
 * Sixteen rows at once are more streams than the processor follows, if they and the next sixteen
 * are more than the level-1 cache.  Here four rows by four blocks fill a register with integer
 * sums, a quarter for each block and a lane of it for each row; what follows is done in the same
 * order as elsewhere, so that the result is the same. */

#define LONG_ROW 1024 /* bytes; 32 such rows leave some of the cache */

/* Two blocks of a row, unsigned. */
INLINE __m512i two_blocks(const char *a, const char *b)
{
    __m512i v = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(a + 2)));

    v = _mm512_inserti64x4(v, _mm256_loadu_si256((const void *)(b + 2)), 1);
    return _mm512_xor_si512(v, _mm512_set1_epi8(-128));
}

/* Scales of the blocks at the offsets at[0] .. at[3] of four rows, a quarter for each block. */
INLINE vec four_scales(const char *const rows[4], const size_t at[4])
{
    short d[16];

    for (unsigned i = 0; i < 16; i++)
        memcpy(&d[i], rows[i % 4] + at[i / 4], sizeof(d[i]));
    return _mm512_cvtph_ps(_mm256_set_epi16(d[15], d[14], d[13], d[12], d[11], d[10], d[9], d[8],
                                            d[7], d[6], d[5], d[4], d[3], d[2], d[1], d[0]));
}

/* Quarters of four rows' registers added up: lane r of quarter k is the sum of quarter k of v[r].
 */
INLINE __m512i sum_quarters(const __m512i v[4])
{
    __m512i ab =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
    __m512i cd =
        _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));

    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* bias, start and factor of four blocks, a quarter each. */
INLINE __m512i four_heads(const struct x_biased *const x[4])
{
    __m512i v = load16((const char *)&x[0]->bias);

    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)&x[1]->bias), 1);
    v = _mm512_inserti32x4(v, _mm_loadu_si128((const void *)&x[2]->bias), 2);
    return _mm512_inserti32x4(v, _mm_loadu_si128((const void *)&x[3]->bias), 3);
}

/* acc + the products of the first `count` quarters, in order. */
INLINE __m128 add_quarters(vec v, vec d, size_t count, __m128 acc)
{
    acc = _mm_fmadd_ps(_mm512_castps512_ps128(v), _mm512_castps512_ps128(d), acc);
    if (count > 1)
        acc = _mm_fmadd_ps(_mm512_extractf32x4_ps(v, 1), _mm512_extractf32x4_ps(d, 1), acc);
    if (count > 2)
        acc = _mm_fmadd_ps(_mm512_extractf32x4_ps(v, 2), _mm512_extractf32x4_ps(d, 2), acc);
    if (count > 3)
        acc = _mm_fmadd_ps(_mm512_extractf32x4_ps(v, 3), _mm512_extractf32x4_ps(d, 3), acc);
    return acc;
}

/* Blocks b .. b + 3 (count of them; beyond the end the last stands in) of four rows, times x. */
INLINE __m128 four_by_four(const char *const rows[4], const struct x_biased *x, size_t b,
                           size_t count, __m128 acc)
{
    __m512i sums[2], even, odd, heads;
    const struct x_biased *xb[4];
    size_t at[4];
    vec v, d;

    for (unsigned k = 0; k < 4; k++) {
        at[k] = b + (k < count ? k : count - 1);
        xb[k] = x + at[k];
        at[k] *= sizeof(struct block_q8_0);
    }
    for (unsigned h = 0; h < 2; h++) {
        __m512i xq = _mm512_castsi256_si512(_mm256_loadu_si256((const void *)xb[2 * h]->q));
        __m512i dots[4];

        xq = _mm512_inserti64x4(xq, _mm256_loadu_si256((const void *)xb[2 * h + 1]->q), 1);
        for (unsigned r = 0; r < 4; r++)
            dots[r] =
                _mm512_dpbusd_epi32(_mm512_setzero_si512(),
                                    two_blocks(rows[r] + at[2 * h], rows[r] + at[2 * h + 1]), xq);
        sums[h] = sum_quarters(dots);
    }
    even = _mm512_shuffle_i32x4(sums[0], sums[1], 0x88);
    odd = _mm512_shuffle_i32x4(sums[0], sums[1], 0xdd);
    heads = four_heads(xb);
    even = _mm512_add_epi32(_mm512_add_epi32(even, odd), _mm512_shuffle_epi32(heads, 0x55));
    v = v_sub(_mm512_castsi512_ps(even), _mm512_castsi512_ps(_mm512_shuffle_epi32(heads, 0)));
    d = v_mul(four_scales(rows, at), _mm512_castsi512_ps(_mm512_shuffle_epi32(heads, 0xaa)));
    return add_quarters(v, d, count, acc);
}

INLINE void stream_four(const struct quant_job *j, size_t r)
{
    const char *next = tensor_row(j->w, r + 4 < j->row_end ? r + 4 : r);
    struct four w = four_rows(j->w, r, j->row_end);
    const struct x_biased *x = x_at(j->x, 0);
    size_t blocks = j->w->shape[0] / Q_BLOCK, b = 0;
    __m128 acc = _mm_setzero_ps();

    for (; b + 4 <= blocks; b += 4) {
        fetch(next + 4 * b * sizeof(struct block_q8_0), 16 * sizeof(struct block_q8_0));
        acc = four_by_four(w.row, x, b, 4, acc);
    }
    if (b < blocks)
        acc = four_by_four(w.row, x, b, blocks - b, acc);
    put_rows(acc, j->out + r, j->row_end - r);
}

INLINE size_t stream_passes(enum dtype type)
{
    (void)type;
    return 4;
}

/* One vector times long rows of q8_0, in their own order: were there any? */
INLINE bool stream_alone(enum dtype type, const struct quant_job *j)
{
    if (type != DTYPE_Q8_0 || j->w->row_bytes < LONG_ROW)
        return false;
    for (size_t r = j->row_begin; r < j->row_end; r += 4)
        stream_four(j, r);
    return true;
}

/* ---- activations ---- */

/* Of n values, in whole registers; magnitudes compare like integers, and NaN is the largest. */
INLINE float largest_magnitude(const float *x, size_t n)
{
    __m512i most = _mm512_setzero_si512();
    int32_t bits;
    float largest;

    for (size_t i = 0; i < n; i += LANES)
        most = _mm512_max_epi32(most, _mm512_castps_si512(_mm512_abs_ps(v_load(x + i))));
    bits = _mm512_reduce_max_epi32(most);
    memcpy(&largest, &bits, sizeof(largest));
    return largest;
}

static size_t prepared_bytes_biased(size_t inner)
{
    return (inner / Q_BLOCK + 1) * sizeof(struct x_biased);
}

INLINE void bias_block(const float *x, struct x_biased *out)
{
    struct x_q8 plain;
    struct step step = quantise_block(x, &plain);
    int32_t bits;

    memcpy(out->q, plain.q, sizeof(out->q));
    out->bias = 0x1.8p+23f * step.power;
    memcpy(&bits, &out->bias, sizeof(bits));
    out->start = bits + plain.minus_128_sum;
    out->start_low = bits + plain.minus_128_low;
    out->start_high = out->start - plain.minus_128_low;
    out->factor = step_factors[step.factor];
    out->factor_at = step.factor * (uint32_t)sizeof(vec[2]);
    out->d_sum = plain.d_sum;
    out->sums = 0;
}

/* Of a super-block: see sums_at.  Of one with a NaN, as integers the largest of all, the float is
 * NaN too. */
INLINE void put_sums_of(struct x_biased x[8])
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 sums = _mm256_setr_ps(x[0].d_sum, x[1].d_sum, x[2].d_sum, x[3].d_sum, x[4].d_sum,
                                 x[5].d_sum, x[6].d_sum, x[7].d_sum);
    int32_t most = max_epi32(_mm256_castps_si256(_mm256_and_ps(sums, magnitude))), q[8];
    int exponent = (most >> 23 > SUM_LEAST ? most >> 23 : SUM_LEAST) - 127 - (SUM_BITS - 1);
    float bias = most > 0x7f800000 ? NAN : 1.5f * fixed_step(exponent + 23);

    memcpy(&x[1].sums, &bias, sizeof(bias));
    if (isnan(bias))
        return;
    sums = _mm256_mul_ps(sums, _mm256_set1_ps(fixed_step(-exponent)));
    _mm256_storeu_si256((void *)q, _mm256_cvtps_epi32(sums));
    for (unsigned b = 0; b < 8; b += 2)
        x[b].sums = (int32_t)((uint32_t)q[b + 1] << 16 | (uint16_t)q[b]);
}

static void prepare_biased(const float *x, size_t inner, struct x_biased *out)
{
    for (size_t b = 0; b < inner / Q_BLOCK; b++)
        bias_block(x + b * Q_BLOCK, out + b);
    for (size_t b = 0; b + 8 <= inner / Q_BLOCK; b += 8)
        put_sums_of(out + b);
}

#endif
