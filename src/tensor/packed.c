/* SPDX-License-Identifier: Apache-2.0 */
/* packed.c - see packed.h; plain, since it runs once a model and memory is what it waits for. */
#include "tensor/packed.h"

#include "tensor/kquant.h"

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

static void get_quants(enum dtype type, const char *row, size_t b, uint8_t out[Q_BLOCK])
{
    const char *at = row + b / (dtype_info(type)->block / Q_BLOCK) * dtype_info(type)->block_bytes;
    const uint8_t *bytes = (const uint8_t *)at;
    struct block_q6_K k;

    switch (type) {
    case DTYPE_Q8_0:
        for (size_t j = 0; j < Q_BLOCK; j++)
            out[j] = bytes[2 + j] ^ 0x80;
        break;
    case DTYPE_Q4_0:
        nibbles(bytes + offsetof(struct block_q4_0, q), NULL, out);
        break;
    case DTYPE_Q4_1:
        nibbles(bytes + offsetof(struct block_q4_1, q), NULL, out);
        break;
    case DTYPE_Q5_0:
        nibbles(bytes + offsetof(struct block_q5_0, q), bytes + offsetof(struct block_q5_0, high),
                out);
        break;
    case DTYPE_Q5_1:
        nibbles(bytes + offsetof(struct block_q5_1, q), bytes + offsetof(struct block_q5_1, high),
                out);
        break;
    case DTYPE_Q4_K:
        bytes += offsetof(struct block_q4_K, q) + b % 8 / 2 * Q_BLOCK;
        for (size_t j = 0; j < Q_BLOCK; j++)
            out[j] = b % 2 ? bytes[j] >> 4 : bytes[j] & 15;
        break;
    default:
        memcpy(&k, at, sizeof(k));
        for (size_t j = 0; j < Q_BLOCK; j++)
            out[j] = (uint8_t)q6_k_quant(&k, b % 8 * Q_BLOCK + j);
    }
}

/* Row r of sixteen in a block at `to`. */
static void put_quants(enum dtype type, const uint8_t q[Q_BLOCK], size_t r, uint8_t *to)
{
    struct packed_unit u = packed_unit(type);

    for (size_t j = 0; j < Q_BLOCK; j++) {
        size_t dword = j / 4, byte = 4 * r + j % 4;

        if (type == DTYPE_Q8_0) {
            to[64 * dword + byte] = q[j];
            continue;
        }
        to[64 * (dword % 4) + byte] |= (uint8_t)((q[j] & 15) << (dword < 4 ? 0 : 4));
        if (type == DTYPE_Q6_K)
            to[u.second + 64 * (dword / 4) + byte] |= (uint8_t)(q[j] >> 4 << 2 * (dword % 4));
        else if (u.block > u.second)
            to[u.second + byte] |= (uint8_t)(q[j] >> 4 << dword);
    }
}

/* What a super-block of row r has besides its quants. */
static void put_super_head(enum dtype type, const char *at, size_t r, uint8_t *unit)
{
    uint8_t *scales = unit + packed_unit(type).scales;
    struct block_q6_K six;
    struct block_q4_K four;

    if (type == DTYPE_Q6_K) {
        memcpy(&six, at, sizeof(six));
        memcpy(unit + 2 * r, &six.d, 2);
        for (size_t i = 0; i < K_BLOCK / 16; i++)
            scales[PACKED_GROUP * i + r] = (uint8_t)six.scale[i];
        return;
    }
    memcpy(&four, at, sizeof(four));
    memcpy(unit + 2 * r, &four.d, 2);
    memcpy(unit + 2 * PACKED_GROUP + 2 * r, &four.dmin, 2);
    for (size_t i = 0; i < K_BLOCK / Q_BLOCK; i++) {
        unsigned scale, min;

        q4_k_scale(four.scales, i, &scale, &min);
        scales[PACKED_GROUP * i + r] = (uint8_t)scale;
        scales[PACKED_GROUP * (8 + i) + r] = (uint8_t)min;
    }
}

/* f16 scale, and offset behind it where the type has one, of block k of the unit. */
static void put_head(enum dtype type, const char *at, size_t k, size_t r, uint8_t *unit)
{
    memcpy(unit + 2 * (PACKED_GROUP * k + r), at, 2);
    if (type == DTYPE_Q4_1 || type == DTYPE_Q5_1)
        memcpy(unit + 64 + 2 * (PACKED_GROUP * k + r), at + 2, 2);
}

static void write_floats(const char *row, size_t inner, size_t r, char *group, size_t group_bytes)
{
    char *to =
        group + r / PACKED_FOUR * (group_bytes / PACKED_FOUR) + r % PACKED_FOUR * PACKED_STEP * 2;

    for (size_t i = 0; i < inner; i += PACKED_STEP) {
        size_t count = inner - i < PACKED_STEP ? inner - i : PACKED_STEP;

        memcpy(to + packed_float_at(i) * 2, row + i * 2, count * 2);
    }
}

static void write_blocks(enum dtype type, const char *row, size_t blocks, size_t r, uint8_t *group)
{
    const struct dtype_info *info = dtype_info(type);
    struct packed_unit u = packed_unit(type);

    for (size_t b = 0; b < blocks; b++) {
        uint8_t *unit = group + b / u.blocks * u.bytes, q[Q_BLOCK];

        get_quants(type, row, b, q);
        put_quants(type, q, r, unit + u.first + b % u.blocks * u.block);
        if (info->block == Q_BLOCK)
            put_head(type, row + b * info->block_bytes, b % u.blocks, r, unit);
        else if (b % u.blocks == 0)
            put_super_head(type, row + b / u.blocks * info->block_bytes, r, unit);
    }
}

bool packed_has(enum dtype type)
{
    static const bool has[DTYPE_COUNT] = {
        [DTYPE_F16] = true,  [DTYPE_BF16] = true, [DTYPE_Q8_0] = true,
        [DTYPE_Q4_0] = true, [DTYPE_Q4_1] = true, [DTYPE_Q5_0] = true,
        [DTYPE_Q5_1] = true, [DTYPE_Q4_K] = true, [DTYPE_Q6_K] = true,
    };

    return has[type];
}

void packed_write(const struct tensor *w, size_t begin, size_t end, void *out)
{
    size_t bytes = packed_group_bytes(w->type, w->shape[0]);

    memset(out, 0, (end - begin) * bytes);
    for (size_t g = begin; g < end; g++) {
        char *group = (char *)out + (g - begin) * bytes;

        for (size_t r = 0; r < PACKED_GROUP && g * PACKED_GROUP + r < w->shape[1]; r++) {
            const char *row = tensor_row(w, g * PACKED_GROUP + r);

            if (dtype_info(w->type)->block > 1)
                write_blocks(w->type, row, w->shape[0] / Q_BLOCK, r, (uint8_t *)group);
            else
                write_floats(row, w->shape[0], r, group, bytes);
        }
    }
}
