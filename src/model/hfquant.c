/* SPDX-License-Identifier: Apache-2.0 */
/* hfquant.c - see hfquant.h */
#include "model/hfquant.h"

#include <math.h>

#define RUN_MAX 256 /* values that are unpacked at once */

void hfquant_e4m3(float levels[256])
{
    for (unsigned b = 0; b < 256; b++) {
        unsigned char code = (unsigned char)b;
        const struct safetensors_tensor t = {.type = SAFETENSORS_F8_E4M3, .data = &code};

        safetensors_read(&t, 0, 1, &levels[b], 1);
    }
}

void hfquant_e2m1(float levels[16])
{
    for (unsigned b = 0; b < 16; b++)
        levels[b] = (float)mxfp4_levels[b] / 2;
}

/* ---- numbers of a few bits ---- */

static uint32_t word_at(const struct hfquant_pack *p, uint64_t i)
{
    uint32_t word;

    if (p->width == 8)
        return p->at[i];
    memcpy(&word, p->at + i * 4, sizeof(word));
    return word + p->ones;
}

uint32_t hfquant_packed(const struct hfquant_pack *p, uint64_t row, uint64_t column)
{
    uint64_t line = p->is_down ? column : row, i = p->is_down ? row : column, word;
    uint32_t value, shift;

    if (p->order)
        i = (i & ~(uint64_t)7) | p->order[i & 7];
    i *= p->bits;
    word = line * p->line_step + i / p->width * p->word_step;
    shift = (uint32_t)(i % p->width);
    value = word_at(p, word) >> shift;
    if (shift + p->bits > p->width)
        value |= word_at(p, word + p->word_step) << (p->width - shift);
    return ((value + p->add) & ((1u << p->bits) - 1)) ^ p->flip;
}

/* ---- scales and zeros ---- */

static float number(const struct safetensors_tensor *t, uint64_t i)
{
    float v;

    safetensors_read(t, i, 1, &v, 1);
    return v;
}

/* The group that a column belongs to, and how many columns from it on do. */
static uint64_t group_at(const struct hfquant *q, uint64_t row, uint64_t column, uint64_t *run)
{
    uint64_t at = q->is_flat ? row * q->columns + column : column;
    int32_t group;

    *run = q->block_columns - at % q->block_columns;
    if (!q->group_of)
        return at / q->block_columns;
    memcpy(&group, q->group_of + column * sizeof(group), sizeof(group));
    *run = 1;
    return (uint64_t)group;
}

static float scale_at(const struct hfquant *q, uint64_t row, uint64_t group)
{
    uint64_t i = row / q->block_rows * q->row_step + group * q->group_step;

    if (q->outer_scales)
        return number(q->outer_levels, q->scales->data[i]) *
                   number(q->outer_scales, i / q->outer_block) +
               q->outer_offset;
    if (q->has_exponents)
        return 2 * mxfp4_scale(q->scales->data[i]);
    return number(q->scales, i) / q->divisor;
}

static float zero_at(const struct hfquant *q, uint64_t row, uint64_t group)
{
    return q->zeros.at ? (float)hfquant_packed(&q->zeros, row / q->block_rows, group) : q->middle;
}

static void codes_at(const struct hfquant *q, uint64_t row, uint64_t from, uint8_t *out, size_t n)
{
    uint64_t at = q->is_flat ? row * q->columns + from : from;
    const struct hfquant_pack *p = &q->codes;

    if (p->bits == 8 && p->width == 8) { /* nothing to unpack */
        for (size_t i = 0; i < n; i++)
            out[i] = (uint8_t)(p->at[row * p->line_step + at + i] ^ p->flip);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)hfquant_packed(p, q->is_flat ? 0 : row, at + i);
}

void hfquant_read(const struct hfquant *q, uint64_t row, uint64_t from, float *out, size_t n)
{
    uint8_t codes[RUN_MAX];

    for (size_t done = 0; done < n;) {
        uint64_t run, group = group_at(q, row, from + done, &run);
        size_t count = n - done < RUN_MAX ? n - done : RUN_MAX;
        float scale = scale_at(q, row, group), zero = zero_at(q, row, group);

        count = run < count ? (size_t)run : count;
        codes_at(q, row, from + done, codes, count);
        for (size_t i = 0; q->levels && i < count; i++)
            out[done + i] = (q->levels[codes[i]] - zero) * scale;
        for (size_t i = 0; !q->levels && i < count; i++)
            out[done + i] = ((float)codes[i] - zero) * scale;
        done += count;
    }
}

/* ---- blocks ---- */

#define F16_NORMAL_MIN 0x1p-14f
#define F16_MAX        65504.0f

/* Rounded to f16 it loses no more than a value would. */
static bool is_f16(float f)
{
    float magnitude = fabsf(f);

    return f16_to_f32(f32_to_f16(f)) == f || (magnitude >= F16_NORMAL_MIN && magnitude <= F16_MAX);
}

/* What zeros there are; false: blocks would not do for the scales. */
static bool survey(const struct hfquant *q, float *lowest, float *highest)
{
    uint64_t down = (q->rows + q->block_rows - 1) / q->block_rows,
             across = (q->columns + q->block_columns - 1) / q->block_columns;

    *lowest = *highest = zero_at(q, 0, 0);
    for (uint64_t r = 0; r < down; r++)
        for (uint64_t g = 0; g < across; g++) {
            uint64_t row = r * q->block_rows;
            float scale = scale_at(q, row, g), zero = zero_at(q, row, g);

            if (!is_f16(scale) || !is_f16(scale * zero))
                return false;
            *lowest = zero < *lowest ? zero : *lowest;
            *highest = zero > *highest ? zero : *highest;
        }
    return true;
}

int hfquant_block_type(const struct hfquant *q)
{
    float top = (float)((1u << q->codes.bits) - 1), lowest, highest;

    if (q->columns % Q_BLOCK != 0 || q->is_flat || q->group_of ||
        (q->block_columns % Q_BLOCK != 0 && q->block_columns < q->columns))
        return -1;
    if (q->levels)
        return q->has_exponents && q->codes.bits == 4 ? DTYPE_MXFP4 : -1;
    if (!survey(q, &lowest, &highest))
        return -1;
    if (highest <= 8 && top - lowest <= 7)
        return DTYPE_Q4_0;
    if (q->codes.bits <= 4)
        return DTYPE_Q4_1;
    return highest <= 128 && top - lowest <= 127 ? DTYPE_Q8_0 : -1;
}

/* The lower half of the block in the lower halves of its bytes. */
static void pack_nibbles(const uint8_t codes[Q_BLOCK], int add, uint8_t out[Q_BLOCK / 2])
{
    for (unsigned j = 0; j < Q_BLOCK / 2; j++)
        out[j] = (uint8_t)((codes[j] + add) | (codes[j + Q_BLOCK / 2] + add) << 4);
}

static void put_block(const struct hfquant *q, enum dtype type, uint64_t row, uint64_t column,
                      unsigned char *out)
{
    uint64_t run, group = group_at(q, row, column, &run);
    float scale = scale_at(q, row, group), zero = zero_at(q, row, group);
    uint8_t codes[Q_BLOCK];
    union {
        struct block_q4_0 q4_0;
        struct block_q4_1 q4_1;
        struct block_q8_0 q8_0;
        struct block_mxfp4 mxfp4;
    } b;

    codes_at(q, row, column, codes, Q_BLOCK);
    switch (type) {
    case DTYPE_Q4_0:
        b.q4_0.d = f32_to_f16(scale);
        pack_nibbles(codes, 8 - (int)zero, b.q4_0.q);
        break;
    case DTYPE_Q4_1:
        b.q4_1.d = f32_to_f16(scale);
        b.q4_1.m = f32_to_f16(-scale * zero);
        pack_nibbles(codes, 0, b.q4_1.q);
        break;
    case DTYPE_MXFP4:
        b.mxfp4.e = q->scales->data[row / q->block_rows * q->row_step + group * q->group_step];
        pack_nibbles(codes, 0, b.mxfp4.q);
        break;
    default:
        b.q8_0.d = f32_to_f16(scale);
        for (unsigned j = 0; j < Q_BLOCK; j++)
            b.q8_0.q[j] = (int8_t)(codes[j] - (int)zero);
        break;
    }
    memcpy(out, &b, dtype_info(type)->block_bytes);
}

void hfquant_blocks(const struct hfquant *q, enum dtype type, uint64_t row, uint64_t from,
                    unsigned char *out, size_t n)
{
    for (size_t i = 0; i < n; i += Q_BLOCK, out += dtype_info(type)->block_bytes)
        put_block(q, type, row, from + i, out);
}
