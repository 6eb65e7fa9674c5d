/* SPDX-License-Identifier: Apache-2.0 */
/* tile.h - what the instruction that configures AMX's tiles reads (Intel's manual, volume 1,
 * "Programming with Intel Advanced Matrix Extensions").  A tile is a register of up to sixteen rows
 * of 64 bytes. */
#ifndef TENSOR_TILE_H
#define TENSOR_TILE_H

#include <stdint.h>

#define TILES          8
#define TILE_ROWS      16
#define TILE_ROW_BYTES 64

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* All tiles of full size. */
static inline struct tile_config tile_config_full(void)
{
    struct tile_config c = {.palette = 1};

    for (unsigned i = 0; i < TILES; i++) {
        c.rows[i] = TILE_ROWS;
        c.row_bytes[i] = TILE_ROW_BYTES;
    }
    return c;
}

/* Some compilers do not see that the instruction reads more than the first word. */
#define TILE_CONFIG_IS_READ(c) __asm__ volatile("" ::"r"(c) : "memory")

#endif
