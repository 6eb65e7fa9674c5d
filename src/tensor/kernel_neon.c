/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_neon.c - kernels for 64-bit ARM processors with dot products of int8, and, compiled a
 * second time, for those that multiply small matrices of int8 (FEAT_I8MM) as well.
 *
 * Both give the same bits: what differs is how integers are added, which is exact. */
#include "tensor/backend.h"
#include "tensor/cpu.h"
#include "tensor/kquant.h"

#include <arm_neon.h>
#include <string.h>

/* Two registers: two chains of sums for each row hide the latency of multiply-adds where there is
 * one vector, and halves are read a whole register at a time. */
typedef struct {
    float32x4_t low, high;
} vec;
#define LANES       8
#define TILE_T      3 /* 4 rows x 3 vectors of accumulators, 3 of x: 30 of 32 registers */
#define ATTEND_VECS 2 /* 6 rows x 2 vectors of accumulators, 2 of keys or values, 1 of q or p */

#define V               static inline __attribute__((always_inline))
#define BOTH(f, a)      ((vec){f((a).low), f((a).high)})
#define BOTH_2(f, a, b) ((vec){f((a).low, (b).low), f((a).high, (b).high)})

V vec v_set1(float f)
{
    return (vec){vdupq_n_f32(f), vdupq_n_f32(f)};
}

V vec v_zero(void)
{
    return v_set1(0);
}

V vec v_load(const float *p)
{
    return (vec){vld1q_f32(p), vld1q_f32(p + 4)};
}

V vec v_load_part(const float *p, size_t n)
{
    float f[LANES] = {0};

    memcpy(f, p, n * sizeof(*f));
    return v_load(f);
}

V void v_store(float *p, vec v)
{
    vst1q_f32(p, v.low);
    vst1q_f32(p + 4, v.high);
}

V void v_store_part(float *p, vec v, size_t n)
{
    float f[LANES];

    v_store(f, v);
    memcpy(p, f, n * sizeof(*f));
}

V vec v_add(vec a, vec b)
{
    return BOTH_2(vaddq_f32, a, b);
}

V vec v_sub(vec a, vec b)
{
    return BOTH_2(vsubq_f32, a, b);
}

V vec v_mul(vec a, vec b)
{
    return BOTH_2(vmulq_f32, a, b);
}

V vec v_div(vec a, vec b)
{
    return BOTH_2(vdivq_f32, a, b);
}

/* The instructions give NaN where either side is NaN. */
V float32x4_t lesser(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcltq_f32(a, b), a, b);
}

V float32x4_t greater(float32x4_t a, float32x4_t b)
{
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}

V vec v_min(vec a, vec b)
{
    return BOTH_2(lesser, a, b);
}

V vec v_max(vec a, vec b)
{
    return BOTH_2(greater, a, b);
}

V vec v_fma(vec a, vec b, vec c)
{
    return (vec){vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}

V vec v_round(vec v)
{
    return BOTH(vrndnq_f32, v);
}

V float32x4_t power_of_2(int32x4_t n)
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}

/* In two steps, since 2^n alone may be out of range. */
V float32x4_t scale2(float32x4_t p, float32x4_t n)
{
    int32x4_t i = vcvtnq_s32_f32(n), half = vshrq_n_s32(i, 1);

    return vmulq_f32(vmulq_f32(p, power_of_2(half)), power_of_2(vsubq_s32(i, half)));
}

V vec v_scale2(vec p, vec n)
{
    return BOTH_2(scale2, p, n);
}

V uint16x8_t halves_at(const void *p)
{
    return vreinterpretq_u16_u8(vld1q_u8(p));
}

V uint16x8_t halves_part(const void *p, size_t n)
{
    uint16_t h[LANES] = {0};

    memcpy(h, p, n * sizeof(*h));
    return vld1q_u16(h);
}

V vec widen_f16(uint16x8_t h)
{
    float16x8_t f = vreinterpretq_f16_u16(h);

    return (vec){vcvt_f32_f16(vget_low_f16(f)), vcvt_high_f32_f16(f)};
}

V vec v_f16(const void *p)
{
    return widen_f16(halves_at(p));
}

V vec v_f16_part(const void *p, size_t n)
{
    return widen_f16(halves_part(p, n));
}

V vec widen_bf16(uint16x8_t h)
{
    return (vec){vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(h), 16)),
                 vreinterpretq_f32_u32(vshll_high_n_u16(h, 16))};
}

V vec v_bf16(const void *p)
{
    return widen_bf16(halves_at(p));
}

V vec v_bf16_part(const void *p, size_t n)
{
    return widen_bf16(halves_part(p, n));
}

V uint16x8_t narrow(vec v)
{
    return vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(v.low), v.high));
}

V void v_to_f16(uint16_t *p, vec v)
{
    vst1q_u16(p, narrow(v));
}

V void v_to_f16_part(uint16_t *p, vec v, size_t n)
{
    uint16_t h[LANES];

    v_to_f16(h, v);
    memcpy(p, h, n * sizeof(*h));
}

V vec v_i8(const void *p)
{
    int16x8_t q = vmovl_s8(vld1_s8(p));

    return (vec){vcvtq_f32_s32(vmovl_s16(vget_low_s16(q))), vcvtq_f32_s32(vmovl_high_s16(q))};
}

V vec v_i8_part(const void *p, size_t n)
{
    int8_t q[LANES] = {0};

    memcpy(q, p, n);
    return v_i8(q);
}

typedef struct {
    int32x4_t low, high;
} ints;
typedef struct {
    int8x16_t low, high;
} keys4;

V ints i_start(int32_t minus_128_sum)
{
    (void)minus_128_sum; /* keys stay signed */
    return (ints){vdupq_n_s32(0), vdupq_n_s32(0)};
}

V keys4 i_keys(const void *p)
{
    const int8_t *k = p;

    return (keys4){vld1q_s8(k), vld1q_s8(k + 16)};
}

V ints i_dot(ints sum, keys4 k, int32_t q)
{
    int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(q));

    return (ints){vdotq_s32(sum.low, k.low, four), vdotq_s32(sum.high, k.high, four)};
}

V vec v_of_ints(ints i)
{
    return BOTH(vcvtq_f32_s32, i);
}

V vec v_if(bool yes, vec a, vec b)
{
    uint32x4_t mask = vdupq_n_u32(-(uint32_t)yes);

    return (vec){vbslq_f32(mask, a.low, b.low), vbslq_f32(mask, a.high, b.high)};
}

V float v_most(vec v)
{
    return vmaxvq_f32(vmaxq_f32(v.low, v.high));
}

typedef float32x4_t quad;

V quad quad_load(const float *p)
{
    return vld1q_f32(p);
}

V void quad_store(float *p, quad v)
{
    vst1q_f32(p, v);
}

V quad quad_add(quad a, quad b)
{
    return vaddq_f32(a, b);
}

V float quad_first(quad v)
{
    return vgetq_lane_f32(v, 0);
}

V quad v_sum4(vec a, vec b, vec c, vec d)
{
    return vpaddq_f32(vpaddq_f32(vaddq_f32(a.low, a.high), vaddq_f32(b.low, b.high)),
                      vpaddq_f32(vaddq_f32(c.low, c.high), vaddq_f32(d.low, d.high)));
}

V int32_t most_magnitude(const float *x)
{
    uint32x4_t most = vdupq_n_u32(0);

    for (int i = 0; i < 32; i += 4)
        most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
    return (int32_t)vmaxvq_u32(most);
}

/* Sixteen of them; returns their sum. */
V int32_t quants16(const float *x, float scale, int8_t *out)
{
    int32x4_t q[4];
    int16x8_t low, high;

    for (int i = 0; i < 4; i++)
        q[i] = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4 * i), scale));
    low = vcombine_s16(vmovn_s32(q[0]), vmovn_s32(q[1]));
    high = vcombine_s16(vmovn_s32(q[2]), vmovn_s32(q[3]));
    vst1q_s8(out, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
    return vaddlvq_s16(vaddq_s16(low, high));
}

V void quants(const float *x, float scale, int8_t *out, int32_t *low, int32_t *high)
{
    *low = quants16(x, scale, out);
    *high = quants16(x + 16, scale, out + 16);
}

V uint16x8_t swap_words(uint16x8_t a, uint16x8_t b, bool second)
{
    uint32x4_t x = vreinterpretq_u32_u16(a), y = vreinterpretq_u32_u16(b);

    return vreinterpretq_u16_u32(second ? vtrn2q_u32(x, y) : vtrn1q_u32(x, y));
}

V uint16x8_t swap_longs(uint16x8_t a, uint16x8_t b, bool second)
{
    uint64x2_t x = vreinterpretq_u64_u16(a), y = vreinterpretq_u64_u16(b);

    return vreinterpretq_u16_u64(second ? vtrn2q_u64(x, y) : vtrn1q_u64(x, y));
}

/* b[i] and b[4 + i] hold the dimensions i and i + 4 of the positions 0 to 3 and 4 to 7. */
V void store_keys_8x8(const float *x, size_t stride, uint16_t *page)
{
    uint16x8_t a[8], b[8];

    for (unsigned i = 0; i < 8; i += 2) {
        uint16x8_t r = narrow(v_load(x + i * stride)), s = narrow(v_load(x + (i + 1) * stride));

        a[i] = vtrn1q_u16(r, s);
        a[i + 1] = vtrn2q_u16(r, s);
    }
    for (unsigned i = 0; i < 8; i += 4) {
        for (unsigned k = 0; k < 2; k++) {
            b[i + k] = swap_words(a[i + k], a[i + 2 + k], false);
            b[i + k + 2] = swap_words(a[i + k], a[i + 2 + k], true);
        }
    }
    for (unsigned i = 0; i < 4; i++) {
        vst1q_u16(page + i * ATTEND_PAGE, swap_longs(b[i], b[4 + i], false));
        vst1q_u16(page + (i + 4) * ATTEND_PAGE, swap_longs(b[i], b[4 + i], true));
    }
}

#include "tensor/kernel_lanes.h"

/* ---- quantised weights ----
 *
 * A lane is one of four rows.  The 32 products of a block are added exactly, in whatever order; an
 * element is then the sum over blocks, in order, of that integer times both scales, one fused
 * multiply-add each, and another one for the offset. */

#define Q_TILE_T 4 /* vectors that share the unpacked weights */

/* What stands in a block of four rows besides its quants; small scales as [scale][row]. */
struct head {
    quad d, m;
    int8_t scale[K_BLOCK / 16][4];
    uint8_t min[K_BLOCK / 16][4];
};

INLINE quad halves_of_rows(const char *const at[4], size_t offset)
{
    uint16_t h[4];

    for (unsigned r = 0; r < 4; r++)
        memcpy(&h[r], at[r] + offset, sizeof(*h));
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
}

INLINE uint8x8_t two_dwords(uint32_t low, uint32_t high)
{
    return vcreate_u8((uint64_t)high << 32 | low);
}

INLINE uint32_t dword_at(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

INLINE void get_q4_k_scales(const char *const at[4], struct head *h)
{
    const uint32_t low6 = 0x3f3f3f3f, low4 = 0x0f0f0f0f, upper2 = 0x30303030;
    uint8x8x4_t scale, min;

    for (unsigned r = 0; r < 4; r++) {
        uint32_t a = dword_at(at[r] + 4), b = dword_at(at[r] + 8), c = dword_at(at[r] + 12);

        scale.val[r] = two_dwords(a & low6, (c & low4) | (a >> 2 & upper2));
        min.val[r] = two_dwords(b & low6, (c >> 4 & low4) | (b >> 2 & upper2));
    }
    vst4_u8((uint8_t *)h->scale, scale);
    vst4_u8((uint8_t *)h->min, min);
}

INLINE void get_q6_k_scales(const char *const at[4], struct head *h)
{
    int8x16x4_t scale;

    for (unsigned r = 0; r < 4; r++)
        scale.val[r] = vld1q_s8((const int8_t *)at[r] + offsetof(struct block_q6_K, scale));
    vst4q_s8((int8_t *)h->scale, scale);
}

/* Types with rarer scales: a row at a time. */
INLINE void get_row_scales(enum dtype type, const char *at, unsigned r, struct head *h)
{
    struct block_iq4_xs iq4;

    if (type == DTYPE_IQ4_XS)
        memcpy(&iq4, at, offsetof(struct block_iq4_xs, q));
    for (unsigned k = 0; k < K_BLOCK / 16; k++) {
        if (type == DTYPE_Q2_K) {
            h->scale[k][r] = at[k] & 15;
            h->min[k][r] = (uint8_t)at[k] >> 4;
        }
        if (type == DTYPE_Q3_K)
            h->scale[k][r] =
                (int8_t)q3_k_scale((const uint8_t *)at + offsetof(struct block_q3_K, scales), k);
        if (type == DTYPE_IQ4_XS && k < 8)
            h->scale[k][r] = (int8_t)iq4_xs_scale(&iq4, k);
    }
}

INLINE quad exponents(const char *const at[4])
{
    float d[4];

    for (unsigned r = 0; r < 4; r++)
        d[r] = mxfp4_scale((uint8_t)at[r][0]);
    return vld1q_f32(d);
}

INLINE size_t d_at(enum dtype type)
{
    return type == DTYPE_Q6_K   ? offsetof(struct block_q6_K, d)
           : type == DTYPE_Q3_K ? offsetof(struct block_q3_K, d)
           : type == DTYPE_Q2_K ? offsetof(struct block_q2_K, d)
                                : 0;
}

INLINE void get_head(enum dtype type, const char *const at[4], struct head *h)
{
    h->d = type == DTYPE_MXFP4 ? exponents(at) : halves_of_rows(at, d_at(type));
    h->m = has_offset(type) ? halves_of_rows(at, d_at(type) + 2) : vdupq_n_f32(0);
    if (type == DTYPE_Q4_K || type == DTYPE_Q5_K)
        get_q4_k_scales(at, h);
    if (type == DTYPE_Q6_K)
        get_q6_k_scales(at, h);
    if (type == DTYPE_Q2_K || type == DTYPE_Q3_K || type == DTYPE_IQ4_XS)
        for (unsigned r = 0; r < 4; r++)
            get_row_scales(type, at[r], r, h);
}

/* Of a 32-block of four rows. */
struct scales {
    quad d, m;
    /* Where halves have their own: of the first and the last sixteen products; q2_K's minima. */
    int32x4_t low, high, min_low, min_high;
};

INLINE int32x4_t widen_signed(const int8_t p[4])
{
    uint32_t bytes = dword_at((const char *)p);

    return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(bytes))));
}

INLINE quad widen_unsigned(const void *p)
{
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(dword_at(p))))));
}

INLINE struct scales get_scales(enum dtype type, const struct head *h, size_t part)
{
    struct scales s = {.d = h->d, .m = h->m};

    if (type == DTYPE_Q4_K || type == DTYPE_Q5_K) {
        s.d = vmulq_f32(h->d, widen_unsigned(h->scale[part]));
        s.m = vnegq_f32(vmulq_f32(h->m, widen_unsigned(h->min[part])));
    }
    if (type == DTYPE_IQ4_XS)
        s.d = vmulq_f32(h->d, vcvtq_f32_s32(widen_signed(h->scale[part])));
    if (has_halves(type)) {
        s.low = widen_signed(h->scale[2 * part]);
        s.high = widen_signed(h->scale[2 * part + 1]);
    }
    if (type == DTYPE_Q2_K) {
        s.m = vmulq_n_f32(h->m, 1.0f / 128);
        s.min_low = widen_signed((const int8_t *)h->min[2 * part]);
        s.min_high = widen_signed((const int8_t *)h->min[2 * part + 1]);
    }
    return s;
}

/* 32 quants of a row. */
struct row_quants {
    int8x16_t low, high;
};

INLINE struct row_quants shifted(uint8x16_t low, uint8x16_t high, unsigned by)
{
    return (struct row_quants){vsubq_s8(vreinterpretq_s8_u8(low), vdupq_n_s8((int8_t)by)),
                               vsubq_s8(vreinterpretq_s8_u8(high), vdupq_n_s8((int8_t)by))};
}

INLINE struct row_quants nibbles(const char *p, unsigned bias)
{
    uint8x16_t q = vld1q_u8((const uint8_t *)p);

    return shifted(vandq_u8(q, vdupq_n_u8(15)), vshrq_n_u8(q, 4), bias);
}

/* 16 in byte i where bit `first` + i of the dword is set. */
INLINE uint8x16_t fifth_bits(uint32_t dword, unsigned first)
{
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201));
    uint8x16_t bytes = vcombine_u8(vdup_n_u8((uint8_t)(dword >> first)),
                                   vdup_n_u8((uint8_t)(dword >> (first + 8))));

    return vandq_u8(vtstq_u8(bytes, bit), vdupq_n_u8(16));
}

INLINE struct row_quants five_bits(const char *high, const char *p, unsigned bias)
{
    uint8x16_t q = vld1q_u8((const uint8_t *)p);
    uint32_t dword = dword_at(high);

    return shifted(vorrq_u8(vandq_u8(q, vdupq_n_u8(15)), fifth_bits(dword, 0)),
                   vorrq_u8(vshrq_n_u8(q, 4), fifth_bits(dword, 16)), bias);
}

/* Bits [at, at + count) of sixteen bytes. */
INLINE uint8x16_t byte_bits(const char *p, unsigned at, unsigned count)
{
    uint8x16_t v = vshlq_u8(vld1q_u8((const uint8_t *)p), vdupq_n_s8((int8_t) - (int)at));

    return vandq_u8(v, vdupq_n_u8((uint8_t)((1u << count) - 1)));
}

INLINE struct row_quants q4_k_quants(const char *block, size_t part)
{
    const char *p = block + offsetof(struct block_q4_K, q) + part / 2 * 32;
    unsigned at = part % 2 * 4;

    return shifted(byte_bits(p, at, 4), byte_bits(p + 16, at, 4), 0);
}

INLINE uint8x16_t six_bits(const char *low, unsigned low_at, const char *high, unsigned high_at)
{
    return vorrq_u8(byte_bits(low, low_at, 4), vshlq_n_u8(byte_bits(high, high_at, 2), 4));
}

INLINE struct row_quants q6_k_quants(const char *block, size_t part)
{
    unsigned half = part / 4, k = part % 4;
    const char *low = block + 64 * half + 32 * (k % 2), *high = block + K_BLOCK / 2 + 32 * half;

    return shifted(six_bits(low, k / 2 * 4, high, 2 * k),
                   six_bits(low + 16, k / 2 * 4, high + 16, 2 * k), 32);
}

INLINE struct row_quants q2_k_quants(const char *p, size_t part)
{
    unsigned at = part % 4 * 2;

    p += part / 4 * 32;
    return shifted(byte_bits(p, at, 2), byte_bits(p + 16, at, 2), 0);
}

/* Bit `part` of each of 32 bytes, moved to `to`, is added. */
INLINE struct row_quants with_high_bits(struct row_quants q, const char *high, size_t part, int to,
                                        unsigned bias)
{
    int8x16_t by = vdupq_n_s8((int8_t)to);
    uint8x16_t low = vshlq_u8(byte_bits(high, (unsigned)part, 1), by);
    uint8x16_t top = vshlq_u8(byte_bits(high + 16, (unsigned)part, 1), by);

    return shifted(vorrq_u8(vreinterpretq_u8_s8(q.low), low),
                   vorrq_u8(vreinterpretq_u8_s8(q.high), top), bias);
}

INLINE struct row_quants level_quants(enum dtype type, const char *p)
{
    int8x16_t list = vld1q_s8(levels_of(type));
    struct row_quants q = nibbles(p, 0);

    return (struct row_quants){vqtbl1q_s8(list, vreinterpretq_u8_s8(q.low)),
                               vqtbl1q_s8(list, vreinterpretq_u8_s8(q.high))};
}

INLINE struct row_quants weight_quants(enum dtype type, const char *block, size_t part)
{
    switch (type) {
    case DTYPE_IQ4_NL:
        return level_quants(type, block + offsetof(struct block_iq4_nl, q));
    case DTYPE_IQ4_XS:
        return level_quants(type, block + offsetof(struct block_iq4_xs, q) + part * 16);
    case DTYPE_MXFP4:
        return level_quants(type, block + offsetof(struct block_mxfp4, q));
    case DTYPE_Q2_K:
        return q2_k_quants(block + offsetof(struct block_q2_K, q), part);
    case DTYPE_Q3_K:
        return with_high_bits(q2_k_quants(block + offsetof(struct block_q3_K, q), part),
                              block + offsetof(struct block_q3_K, high), part, 2, 4);
    case DTYPE_Q5_K:
        return with_high_bits(
            q4_k_quants(block + offsetof(struct block_q5_K, q) - offsetof(struct block_q4_K, q),
                        part),
            block + offsetof(struct block_q5_K, high), part, 4, 0);
    case DTYPE_Q8_0:
        return shifted(vld1q_u8((const uint8_t *)block + 2), vld1q_u8((const uint8_t *)block + 18),
                       0);
    case DTYPE_Q4_0:
        return nibbles(block + 2, 8);
    case DTYPE_Q4_1:
        return nibbles(block + 4, 0);
    case DTYPE_Q5_0:
        return five_bits(block + 2, block + 6, 16);
    case DTYPE_Q5_1:
        return five_bits(block + 4, block + 8, 0);
    case DTYPE_Q4_K:
        return q4_k_quants(block, part);
    default:
        return q6_k_quants(block, part);
    }
}

INLINE int32x4_t sum_rows(const int32x4_t v[4])
{
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

/* Scaled integers, still exact: 16 * 32 * 127 * 128 is below 2^23, and so each is a float too. */
INLINE int32x4_t add_halves(const struct scales *s, int32x4_t low, int32x4_t high)
{
    return vmlaq_s32(vmulq_s32(low, s->low), high, s->high);
}

/* acc + a block's part of the result. */
INLINE quad add_block(enum dtype type, const struct scales *s, const struct x_q8 *x, int32x4_t sum,
                      quad acc)
{
    acc = vfmaq_n_f32(acc, vmulq_f32(vcvtq_f32_s32(sum), s->d), x->d);
    if (type == DTYPE_Q2_K) {
        int32x4_t minima = vmlaq_n_s32(vmulq_n_s32(s->min_low, x->minus_128_low), s->min_high,
                                       x->minus_128_sum - x->minus_128_low);

        return vfmaq_n_f32(acc, vmulq_f32(vcvtq_f32_s32(minima), s->m), x->d);
    }
    return has_offset(type) ? vfmaq_n_f32(acc, s->m, x->d_sum) : acc;
}

/* A block of four rows with one vector. */
INLINE int32x4_t dots(enum dtype type, const struct row_quants w[4], const struct scales *s,
                      const struct x_q8 *x)
{
    int8x16_t low = vld1q_s8(x->q), high = vld1q_s8(x->q + 16);
    int32x4_t sums[4], tops[4];

    for (unsigned r = 0; r < 4; r++) {
        sums[r] = vdotq_s32(vdupq_n_s32(0), w[r].low, low);
        tops[r] = vdotq_s32(has_halves(type) ? vdupq_n_s32(0) : sums[r], w[r].high, high);
    }
    return has_halves(type) ? add_halves(s, sum_rows(sums), sum_rows(tops)) : sum_rows(tops);
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
/* Eights of two rows or vectors side by side: values 0 to 7 of both, 8 to 15, ... */
INLINE void side_by_side(struct row_quants a, struct row_quants b, int8x16_t out[4])
{
    const int64x2_t a0 = vreinterpretq_s64_s8(a.low), a1 = vreinterpretq_s64_s8(a.high);
    const int64x2_t b0 = vreinterpretq_s64_s8(b.low), b1 = vreinterpretq_s64_s8(b.high);

    out[0] = vreinterpretq_s8_s64(vzip1q_s64(a0, b0));
    out[1] = vreinterpretq_s8_s64(vzip2q_s64(a0, b0));
    out[2] = vreinterpretq_s8_s64(vzip1q_s64(a1, b1));
    out[3] = vreinterpretq_s8_s64(vzip2q_s64(a1, b1));
}

/* sums[i] = the products [from, to) of eights, of four rows with vector i of two. */
INLINE void multiply_eights(int8x16_t w[2][4], const int8x16_t x[4], unsigned from, unsigned to,
                            int32x4_t sums[2])
{
    int32x4_t m[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};

    for (unsigned i = from; i < to; i++)
        for (unsigned p = 0; p < 2; p++)
            m[p] = vmmlaq_s32(m[p], w[p][i], x[i]);
    sums[0] = vuzp1q_s32(m[0], m[1]);
    sums[1] = vuzp2q_s32(m[0], m[1]);
}

/* A block of four rows with two vectors. */
INLINE void dots_of_two(enum dtype type, int8x16_t w[2][4], const struct scales *s,
                        const struct x_q8 *x0, const struct x_q8 *x1, int32x4_t sums[2])
{
    struct row_quants q0 = {vld1q_s8(x0->q), vld1q_s8(x0->q + 16)};
    struct row_quants q1 = {vld1q_s8(x1->q), vld1q_s8(x1->q + 16)};
    int32x4_t tops[2];
    int8x16_t x[4];

    side_by_side(q0, q1, x);
    multiply_eights(w, x, 0, has_halves(type) ? 2 : 4, sums);
    if (!has_halves(type))
        return;
    multiply_eights(w, x, 2, 4, tops);
    for (unsigned i = 0; i < 2; i++)
        sums[i] = add_halves(s, sums[i], tops[i]);
}

/* A block of four rows with T vectors, 1 or an even number. */
INLINE void dots_of_all(const unsigned T, enum dtype type, const struct row_quants w[4],
                        const struct scales *s, const char *x, size_t x_bytes,
                        int32x4_t sums[Q_TILE_T])
{
    int8x16_t pairs[2][4];

    if (T == 1) {
        sums[0] = dots(type, w, s, x_block(x, 0));
        return;
    }
    side_by_side(w[0], w[1], pairs[0]);
    side_by_side(w[2], w[3], pairs[1]);
    for (unsigned t = 0; t < T; t += 2)
        dots_of_two(type, pairs, s, x_block(x + t * x_bytes, 0), x_block(x + (t + 1) * x_bytes, 0),
                    sums + t);
}
#else
INLINE void dots_of_all(const unsigned T, enum dtype type, const struct row_quants w[4],
                        const struct scales *s, const char *x, size_t x_bytes,
                        int32x4_t sums[Q_TILE_T])
{
    for (unsigned t = 0; t < T; t++)
        sums[t] = dots(type, w, s, x_block(x + t * x_bytes, 0));
}
#endif

/* One 32-block, `part` of what lies at `at` in each of four rows. */
INLINE void quant_block(const unsigned T, enum dtype type, const char *const at[4], size_t part,
                        const struct head *h, const char *x, size_t x_bytes, quad acc[Q_TILE_T])
{
    struct scales s = get_scales(type, h, part);
    int32x4_t sums[Q_TILE_T];
    struct row_quants w[4];

    for (unsigned r = 0; r < 4; r++)
        w[r] = weight_quants(type, at[r], part);
    dots_of_all(T, type, w, &s, x, x_bytes, sums);
    for (unsigned t = 0; t < T; t++)
        acc[t] = add_block(type, &s, x_block(x + t * x_bytes, 0), sums[t], acc[t]);
}

struct quant_job {
    const struct tensor *w;
    const char *x;
    float *out;
    size_t x_bytes, out_stride, row_end;
};

/* Four rows from r on, T vectors from t on. */
INLINE void quant_tile(const unsigned T, enum dtype type, const struct quant_job *j, size_t r,
                       size_t t)
{
    size_t blocks = j->w->shape[0] / (parts(type) * Q_BLOCK);
    struct four w = four_rows(j->w, r, j->row_end);
    const char *x = j->x + t * j->x_bytes;
    quad acc[Q_TILE_T];

    for (unsigned i = 0; i < T; i++)
        acc[i] = vdupq_n_f32(0);
    for (size_t b = 0; b < blocks; b++) {
        struct head h;

        get_head(type, w.row, &h);
        for (size_t part = 0; part < parts(type); part++, x += sizeof(struct x_q8))
            quant_block(T, type, w.row, part, &h, x, j->x_bytes, acc);
        for (unsigned i = 0; i < 4; i++)
            w.row[i] += block_bytes(type);
    }
    for (unsigned i = 0; i < T; i++)
        put_rows(acc[i], j->out + (t + i) * j->out_stride + r, j->row_end - r);
}

INLINE void quant_matmul(enum dtype type, const struct quant_job *j, size_t row_begin, size_t n)
{
    for (size_t r = row_begin; r < j->row_end; r += 4) {
        size_t t = 0;

        for (; t + Q_TILE_T <= n; t += Q_TILE_T)
            quant_tile(Q_TILE_T, type, j, r, t);
        if (n - t >= 2) {
            quant_tile(2, type, j, r, t);
            t += 2;
        }
        if (t < n)
            quant_tile(1, type, j, r, t);
    }
}

#define MATMUL(type, TYPE)                                                           \
    static void matmul_##type(const struct quant_job *j, size_t row_begin, size_t n) \
    {                                                                                \
        quant_matmul(TYPE, j, row_begin, n);                                         \
    }
FOR_EACH_INTEGER_TYPE(MATMUL)
#define MATMUL_OF(type, TYPE) [TYPE] = matmul_##type,

static void matmul(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride)
{
    static void (*const quantised[DTYPE_COUNT])(const struct quant_job *, size_t,
                                                size_t) = {FOR_EACH_INTEGER_TYPE(MATMUL_OF)};
    size_t x_bytes = prepared_bytes(w->type, w->shape[0]);
    struct quant_job j = {w, x, out, x_bytes, out_stride, row_end};

    if (quantised[w->type])
        quantised[w->type](&j, row_begin, n);
    else
        matmul_floats(w, row_begin, row_end, x, x_bytes, n, out, out_stride);
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
const struct backend backend_neon_i8mm = {
    .name = "neon-i8mm", .usable = cpu_has_i8mm, BACKEND_LANES};
#else
const struct backend backend_neon = {.name = "neon", .usable = cpu_has_dotprod, BACKEND_LANES};
#endif
