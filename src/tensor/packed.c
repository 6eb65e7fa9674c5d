/* SPDX-License-Identifier: Apache-2.0 */
/* packed.c - see packed.h; plain, since it runs once a model and memory is what it waits for. */
#include "tensor/packed.h"

#include "tensor/fixed.h"
#include "tensor/iquant.h"
#include "tensor/kquant.h"

#include <math.h>
#include <string.h>

/* 32 quants of a row, unsigned. */
static void nibbles(const uint8_t *q, const uint8_t *high, uint8_t out[Q_BLOCK])
{
    for (size_t j = 0; j < Q_BLOCK / 2; j++) {
        out[j] = q[j] & 15;
        out[j + Q_BLOCK / 2] = q[j] >> 4;
    }
    for (size_t j = 0; j < Q_BLOCK && high; j++)
        out[j] = (uint8_t)(out[j] | (high[j / 8] >> j % 8 & 1) << 4);
}

static void get_q8_0(const char *at, size_t part, uint8_t out[Q_BLOCK])
{
    (void)part;
    for (size_t j = 0; j < Q_BLOCK; j++)
        out[j] = (uint8_t)at[offsetof(struct block_q8_0, q) + j] ^ 0x80;
}

/* Types of 4 or 5 bits that differ in where these stand. */
#define NIBBLES(type)                                                               \
    static void get_##type(const char *at, size_t part, uint8_t out[Q_BLOCK])       \
    {                                                                               \
        (void)part;                                                                 \
        nibbles((const uint8_t *)at + offsetof(struct block_##type, q), NULL, out); \
    }
#define FIVE_BITS(type)                                                          \
    static void get_##type(const char *at, size_t part, uint8_t out[Q_BLOCK])    \
    {                                                                            \
        (void)part;                                                              \
        nibbles((const uint8_t *)at + offsetof(struct block_##type, q),          \
                (const uint8_t *)at + offsetof(struct block_##type, high), out); \
    }
NIBBLES(q4_0)
NIBBLES(q4_1)
FIVE_BITS(q5_0)
FIVE_BITS(q5_1)
NIBBLES(iq4_nl)
NIBBLES(mxfp4)

static void get_iq4_xs(const char *at, size_t part, uint8_t out[Q_BLOCK])
{
    nibbles((const uint8_t *)at + offsetof(struct block_iq4_xs, q) + part * Q_BLOCK / 2, NULL, out);
}

static void get_q2_k(const char *at, size_t part, uint8_t out[Q_BLOCK])
{
    const uint8_t *q = (const uint8_t *)at + offsetof(struct block_q2_K, q) + part / 4 * Q_BLOCK;

    for (size_t j = 0; j < Q_BLOCK; j++)
        out[j] = q[j] >> 2 * (part % 4) & 3;
}

static void get_q3_k(const char *at, size_t part, uint8_t out[Q_BLOCK])
{
    const uint8_t *q = (const uint8_t *)at + offsetof(struct block_q3_K, q) + part / 4 * Q_BLOCK;
    const uint8_t *high = (const uint8_t *)at + offsetof(struct block_q3_K, high);

    for (size_t j = 0; j < Q_BLOCK; j++)
        out[j] = (uint8_t)((q[j] >> 2 * (part % 4) & 3) | (high[j] >> part & 1) << 2);
}

static void get_q4_k(const char *at, size_t part, uint8_t out[Q_BLOCK])
{
    const uint8_t *q = (const uint8_t *)at + offsetof(struct block_q4_K, q) + part / 2 * Q_BLOCK;

    for (size_t j = 0; j < Q_BLOCK; j++)
        out[j] = part % 2 ? q[j] >> 4 : q[j] & 15;
}

static void get_q5_k(const char *at, size_t part, uint8_t out[Q_BLOCK])
{
    const uint8_t *q = (const uint8_t *)at + offsetof(struct block_q5_K, q) + part / 2 * Q_BLOCK;
    const uint8_t *high = (const uint8_t *)at + offsetof(struct block_q5_K, high);

    for (size_t j = 0; j < Q_BLOCK; j++)
        out[j] = (uint8_t)((part % 2 ? q[j] >> 4 : q[j] & 15) | (high[j] >> part & 1) << 4);
}

static void get_q6_k(const char *at, size_t part, uint8_t out[Q_BLOCK])
{
    struct block_q6_K k;

    memcpy(&k, at, sizeof(k));
    for (size_t j = 0; j < Q_BLOCK; j++)
        out[j] = (uint8_t)q6_k_quant(&k, part * Q_BLOCK + j);
}

/* The 32 quants of a part of a block, unsigned. */
static void (*const get_quants[DTYPE_COUNT])(const char *at, size_t part, uint8_t out[Q_BLOCK]) = {
    [DTYPE_Q8_0] = get_q8_0,   [DTYPE_Q4_0] = get_q4_0,     [DTYPE_Q4_1] = get_q4_1,
    [DTYPE_Q5_0] = get_q5_0,   [DTYPE_Q5_1] = get_q5_1,     [DTYPE_Q2_K] = get_q2_k,
    [DTYPE_Q3_K] = get_q3_k,   [DTYPE_Q4_K] = get_q4_k,     [DTYPE_Q5_K] = get_q5_k,
    [DTYPE_Q6_K] = get_q6_k,   [DTYPE_IQ4_NL] = get_iq4_nl, [DTYPE_IQ4_XS] = get_iq4_xs,
    [DTYPE_MXFP4] = get_mxfp4,
};

/* Of six bits: what byte `byte` of a dword stands for. */
static void put_six(unsigned quant, size_t dword, size_t byte, uint8_t *block)
{
    uint8_t *first = block + 64 * (dword / 4 * 3) + byte;

    if (dword % 4 < 3)
        first[64 * (dword % 4)] |= (uint8_t)(quant << 2);
    for (size_t k = 0; k < 3 && dword % 4 == 3; k++)
        first[64 * k] |= (uint8_t)(quant >> 2 * k & 3);
}

/* Lane r of line `line`. */
static void put_dword(uint8_t *block, size_t line, size_t r, uint32_t dword)
{
    memcpy(block + 64 * line + 4 * r, &dword, sizeof(dword));
}

/* The lowest of the bits of each byte, as many as `mask` has. */
static uint32_t lowest(uint32_t dword, uint32_t mask)
{
    return dword & 0x01010101u * mask;
}

/* Row r of sixteen in a block at `to`: four quants at a time, of which none needs another's bits.
 */
static void put_quants(enum dtype type, const uint8_t q[Q_BLOCK], size_t r, uint8_t *to)
{
    const unsigned bits = packed_bits(type);
    uint32_t d[Q_BLOCK / 4], line;

    memcpy(d, q, sizeof(d));
    for (size_t i = 0; i < 8 && bits == 8; i++)
        put_dword(to, i, r, d[i]);
    for (size_t i = 0; i < 6 && bits == 6; i++)
        put_dword(to, i, r, d[i / 3 * 4 + i % 3] << 2 | lowest(d[i / 3 * 4 + 3] >> 2 * (i % 3), 3));
    if (bits > 5)
        return;
    for (size_t i = 0; i < 4 && bits & 4; i++)
        put_dword(to, i, r, lowest(d[i], 15) | lowest(d[i + 4], 15) << 4);
    to += 64 * (bits & 4);
    for (size_t h = 0; h < 2 && bits & 2; h++) {
        line = 0;
        for (size_t i = 0; i < 4; i++)
            line |= lowest(d[4 * h + i], 3) << 2 * i;
        put_dword(to, h, r, line);
    }
    to += 64 * (bits & 2);
    line = 0;
    for (size_t i = 0; i < 8 && bits & 1; i++)
        line |= lowest(d[i] >> (bits - 1), 1) << i;
    if (bits & 1)
        put_dword(to, 0, r, line);
}

/* Small scales of a super-block. */
static void put_scales(enum dtype type, const char *at, size_t r, uint8_t *scales)
{
    union {
        struct block_q2_K q2;
        struct block_q3_K q3;
        struct block_q4_K q4; /* as q5 begins */
        struct block_q6_K q6;
        struct block_iq4_xs iq4;
    } b;
    unsigned scale, min;

    memcpy(&b, at, type == DTYPE_Q5_K ? sizeof(b.q4) : dtype_info(type)->block_bytes);
    for (size_t i = 0; i < K_BLOCK / 16; i++) {
        uint8_t *to = scales + PACKED_GROUP * i + r;

        if (type == DTYPE_Q2_K)
            *to = b.q2.scales[i];
        else if (type == DTYPE_Q3_K)
            *to = (uint8_t)q3_k_scale(b.q3.scales, i);
        else if (type == DTYPE_Q6_K)
            *to = (uint8_t)b.q6.scale[i];
    }
    for (size_t i = 0; i < K_BLOCK / Q_BLOCK; i++) {
        uint8_t *to = scales + PACKED_GROUP * i + r;

        if (type == DTYPE_IQ4_XS)
            *to = (uint8_t)iq4_xs_scale(&b.iq4, i);
        if (type != DTYPE_Q4_K && type != DTYPE_Q5_K)
            continue;
        q4_k_scale(b.q4.scales, i, &scale, &min);
        put_six(scale, i / 4, 4 * r + i % 4, scales);
        put_six(min, 2 + i / 4, 4 * r + packed_minimum(i) % 4, scales);
    }
}

static bool is_ternary(enum dtype type)
{
    return packed_as(type) == DTYPE_TQ2_0;
}

/* Of types whose quants are places in a list that their units hold. */
static void put_levels(enum dtype type, uint8_t *unit)
{
    static const int8_t ternary[16] = {-1, 0, 1};
    struct iquant_levels of_type = {.factor = 1};
    struct packed_levels levels = {.largest = 0};

    if (type == DTYPE_IQ4_XS)
        memcpy(of_type.level, iq4_levels, sizeof(iq4_levels));
    else if (is_ternary(type))
        memcpy(of_type.level, ternary, sizeof(ternary));
    else
        iquant_levels(type, &of_type);
    levels.factor = of_type.factor;
    for (size_t i = 0; i < sizeof(levels.level); i++) {
        levels.level[i] = (uint8_t)(of_type.level[i] + 128);
        levels.largest = fmaxf(levels.largest, fabsf((float)of_type.level[i]));
    }
    memcpy(unit + PACKED_LEVELS, &levels, sizeof(levels));
}

/* What a super-block of row r has besides its quants. */
static void put_super_head(enum dtype type, const char *at, size_t r, uint8_t *unit)
{
    /* Where d and, if the type has it, dmin is. */
    static const struct {
        size_t d, min;
    } from[DTYPE_COUNT] = {
        [DTYPE_Q2_K] = {offsetof(struct block_q2_K, d), offsetof(struct block_q2_K, dmin)},
        [DTYPE_Q3_K] = {offsetof(struct block_q3_K, d), 0},
        [DTYPE_Q4_K] = {offsetof(struct block_q4_K, d), offsetof(struct block_q4_K, dmin)},
        [DTYPE_Q5_K] = {offsetof(struct block_q5_K, d), offsetof(struct block_q5_K, dmin)},
        [DTYPE_Q6_K] = {offsetof(struct block_q6_K, d), 0},
        [DTYPE_IQ4_XS] = {offsetof(struct block_iq4_xs, d), 0},
    };

    memcpy(unit + 2 * r, at + from[type].d, 2);
    if (from[type].min)
        memcpy(unit + 2 * PACKED_GROUP + 2 * r, at + from[type].min, 2);
    if (type == DTYPE_IQ4_XS && r == 0)
        put_levels(type, unit);
    put_scales(type, at, r, unit + packed_unit(type).scales);
}

/* A super-block of digits, value by value. */
static void ternary_places(enum dtype type, const char *at, struct iquant_places *p)
{
    struct block_tq1_0 one;
    struct block_tq2_0 two;

    if (type == DTYPE_TQ1_0)
        memcpy(&one, at, sizeof(one));
    else
        memcpy(&two, at, sizeof(two));
    p->d = type == DTYPE_TQ1_0 ? one.d : two.d;
    for (size_t i = 0; i < K_BLOCK; i++)
        p->place[i] = (uint8_t)(type == DTYPE_TQ1_0 ? tq1_0_digit(&one, i) : tq2_0_digit(&two, i));
}

/* A digit of two bits may be 3 in a file that no quantiser made: then such steps as others have do
 * not hold it. */
static void allow_three(uint8_t *unit)
{
    struct packed_levels levels;

    memcpy(&levels, unit + PACKED_LEVELS, sizeof(levels));
    levels.level[3] = 128 + 2;
    levels.largest = 2;
    memcpy(unit + PACKED_LEVELS, &levels, sizeof(levels));
}

/* A super-block that names points, or has digits. */
static void put_places(enum dtype type, const char *at, size_t r, uint8_t *unit)
{
    const struct packed_unit u = packed_unit(type);
    struct iquant_places p;

    if (is_ternary(type))
        ternary_places(type, at, &p);
    else
        iquant_places(type, at, &p);
    memcpy(unit + 2 * r, &p.d, 2);
    if (r == 0)
        put_levels(type, unit);
    if (is_ternary(type) && memchr(p.place, 3, sizeof(p.place)))
        allow_three(unit);
    for (size_t k = 0; k < u.blocks; k++) {
        uint8_t *scale = &unit[u.scales + PACKED_GROUP * k + r];

        if (packed_as(type) == DTYPE_IQ2_S)
            *scale = (uint8_t)(p.scale[2 * k] | p.scale[2 * k + 1] << 4);
        else if (!is_ternary(type))
            *scale = (uint8_t)(2 * p.scale[2 * k] + 1);
        put_quants(type, p.place + Q_BLOCK * k, r, unit + u.first + k * u.block);
    }
}

/* Scale, and offset behind it where the type has one, of block k of the unit. */
static void put_head(enum dtype type, const char *at, size_t k, size_t r, uint8_t *unit)
{
    if (type == DTYPE_MXFP4) {
        unit[PACKED_GROUP * k + r] = (uint8_t)at[0];
        return;
    }
    memcpy(unit + 2 * (PACKED_GROUP * k + r), at, 2);
    if (type == DTYPE_Q4_1 || type == DTYPE_Q5_1)
        memcpy(unit + 64 + 2 * (PACKED_GROUP * k + r), at + 2, 2);
}

/* Of f16: the integers of a block, and the byte that stands for their power of two. */
static void to_fixed(uint16_t v[Q_BLOCK], uint8_t *power)
{
    float f[Q_BLOCK], most = 0;
    int e;

    for (size_t i = 0; i < Q_BLOCK; i++) {
        f[i] = f16_to_f32(v[i]);
        if (!isfinite(f[i])) {
            *power = FIXED_NAN;
            memset(v, 0, Q_BLOCK * sizeof(*v));
            return;
        }
        most = fmaxf(most, fabsf(f[i]));
    }
    e = fixed_power(most);
    *power = (uint8_t)(e + FIXED_BIAS);
    for (size_t i = 0; i < Q_BLOCK; i++)
        v[i] = (uint16_t)lrintf(f[i] * fixed_step(-e));
}

/* Puts the word of value i of row r, values in pairs, into planes: as many pairs as there are
 * planes lie in one each, and the next is spread over the bits that these leave, from `spare` on.
 */
static void put_word(unsigned word, size_t i, size_t r, size_t planes, unsigned spare,
                     uint8_t *block)
{
    size_t pair = i / 2, plane = pair % (planes + 1), bits = 16 / (planes + 1);
    uint8_t *first = block + 64 * (pair / (planes + 1) * planes) + 4 * r + 2 * (i % 2);

    for (size_t k = 0; k < planes; k++) {
        uint16_t *to = (uint16_t *)(void *)(first + 64 * k);

        if (plane == planes)
            *to |= (uint16_t)((word >> bits * k & ((1u << bits) - 1)) << spare);
        else if (plane == k)
            *to |= (uint16_t)(word << (spare ? 0 : bits));
    }
}

/* Of row r: integers, in the upper bits of words. */
static void put_f16(uint16_t v[Q_BLOCK], size_t r, uint8_t *power, uint8_t *block)
{
    to_fixed(v, power);
    for (size_t i = 0; i < Q_BLOCK; i++)
        put_word(v[i], i, r, 7, 0, block);
}

static unsigned bf16_exponent(uint16_t v)
{
    return v >> 7 & 0xff;
}

/* A mantissa, a sign, and how far the exponent is below the largest: 12 bits. */
static unsigned relative(uint16_t v, unsigned largest)
{
    unsigned below = largest - bf16_exponent(v);

    if (bf16_exponent(v) == 0 || below > PACKED_SPAN || largest == FIXED_NAN)
        below = PACKED_ZERO;
    return (v & 0x7fu) << 5 | (unsigned)v >> 15 << 4 | below;
}

/* Of row r: those, in the lower bits of words. */
static void put_bf16(const uint16_t v[Q_BLOCK], size_t r, uint8_t *power, uint8_t *block)
{
    unsigned largest = FIXED_EXPONENT_LEAST;

    for (size_t i = 0; i < Q_BLOCK; i++)
        if (bf16_exponent(v[i]) > largest)
            largest = bf16_exponent(v[i]);
    *power = (uint8_t)(largest == FIXED_NAN ? FIXED_NAN : largest - FIXED_BITS);
    for (size_t i = 0; i < Q_BLOCK; i++)
        put_word(relative(v[i], largest), i, r, 3, 12, block);
}

static void write_floats(enum dtype type, const char *row, size_t inner, size_t r, uint8_t *group)
{
    uint8_t *block = group + packed_front(type, inner), *front = group + r;

    for (size_t i = 0; i < inner; i += Q_BLOCK) {
        size_t count = inner - i < Q_BLOCK ? inner - i : Q_BLOCK;
        uint16_t v[Q_BLOCK] = {0};

        memcpy(v, row + 2 * i, 2 * count);
        if (type == DTYPE_F16)
            put_f16(v, r, front, block);
        else
            put_bf16(v, r, front, block);
        block += packed_unit(type).bytes;
        front += PACKED_GROUP;
    }
}

static void write_blocks(enum dtype type, const char *row, size_t blocks, size_t r, uint8_t *group)
{
    const struct dtype_info *info = dtype_info(type);
    struct packed_unit u = packed_unit(type);

    const size_t parts = info->block / Q_BLOCK;

    for (size_t b = 0; b < blocks; b++) {
        uint8_t *unit = group + b / u.blocks * u.bytes, q[Q_BLOCK];
        const char *at = row + b / parts * info->block_bytes;

        if (!get_quants[type]) {
            if (b % parts == 0)
                put_places(type, at, r, unit);
            continue;
        }
        get_quants[type](at, b % parts, q);
        put_quants(type, q, r, unit + u.first + b % u.blocks * u.block);
        if (parts == 1)
            put_head(type, at, b % u.blocks, r, unit);
        else if (b % parts == 0)
            put_super_head(type, at, r, unit);
    }
}

bool packed_has(enum dtype type)
{
    return type != DTYPE_F32;
}

void packed_write(const struct tensor *w, size_t first, size_t begin, size_t end, void *out)
{
    size_t columns = packed_columns(w->shape[0], first);
    size_t bytes = packed_group_bytes(w->type, columns);

    memset(out, 0, (end - begin) * bytes);
    for (size_t g = begin; g < end; g++) {
        char *group = (char *)out + (g - begin) * bytes;

        for (size_t r = 0; r < PACKED_GROUP && g * PACKED_GROUP + r < w->shape[1]; r++) {
            const char *row =
                (const char *)tensor_row(w, g * PACKED_GROUP + r) + dtype_row_bytes(w->type, first);

            if (dtype_info(w->type)->block > 1)
                write_blocks(w->type, row, columns / Q_BLOCK, r, (uint8_t *)group);
            else
                write_floats(w->type, row, columns, r, (uint8_t *)group);
        }
    }
}
