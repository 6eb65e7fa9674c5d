/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_tiles.h - AMX: what all products by tiles share.
 *
 * Included by kernel_avx512.c only.  A tile is a register of up to sixteen rows of 64 bytes. One
 * operand of a product has vectors as rows, in memory as they are prepared; the other groups of
 * four values, one row behind the other, of sixteen rows of weights, as unpack leaves them. Weights
 * of blocks with a scale each: kernel_nines.h; of super-blocks: kernel_supers.h; of two bytes:
 * kernel_digits.h.
 *
 * A product of tiles takes sixteen cycles, and so does writing one to memory, from where the other
 * registers have it (bench/NOTES.md).  Four are under way at a time. */
#ifndef TENSOR_KERNEL_TILES_H
#define TENSOR_KERNEL_TILES_H

#include "tensor/kernel_panels.h"
#include "tensor/tile.h"

#define TILE_VECTORS TILE_ROWS
#define IN_FLIGHT    4 /* products under way: tiles 0 to 3 */
#define TILE_SUMS    4 /* of minima, in kernel_supers.h */
#define TILE_X       5
#define TILE_W       6
#define TILE_W_TOO   7

/* For products with so many vectors. */
INLINE void tiles_begin(size_t vectors)
{
    struct tile_config c = tile_config_full();

    for (unsigned i = 0; i <= TILE_X; i++)
        c.rows[i] = (uint8_t)vectors;
    TILE_CONFIG_IS_READ(&c);
    _tile_loadconfig(&c);
}

/* Of n vectors, tiles of sixteen; the last one may begin before the one before it ends. */
INLINE size_t tiles_of(size_t n)
{
    return (n + TILE_VECTORS - 1) / TILE_VECTORS;
}

INLINE size_t tile_at(size_t n, size_t tile)
{
    return tile + 1 < tiles_of(n) ? tile * TILE_VECTORS : n - TILE_VECTORS;
}

/* Equal parts of a row, the last of which may be shorter, for each of which one step holds. */
struct spans {
    size_t units, spans, each; /* each: units of a span */
};

INLINE struct spans spans_of(size_t units, size_t most)
{
    struct spans s = {.units = units, .spans = (units + most - 1) / most};

    s.each = s.spans ? (units + s.spans - 1) / s.spans : 1;
    s.spans = (units + s.each - 1) / s.each;
    return s;
}

INLINE size_t units_in(const struct spans *s, size_t span)
{
    size_t left = s->units - span * s->each;

    return left < s->each ? left : s->each;
}

#endif
