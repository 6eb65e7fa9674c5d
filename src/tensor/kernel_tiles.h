/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_tiles.h - AMX: panels of quantised weights times sixteen vectors at once.
 *
 * Included by kernel_avx512.c only.  A tile is a register of up to sixteen rows of 64 bytes. Blocks
 * of a panel lie as one instruction wants its second operand: groups of four values, one row
 * behind the other, sixteen columns wide; blocks of activations are its first operand as they are.
 * Of each block it makes the same integers as elsewhere, for sixteen rows of weights and sixteen
 * vectors, and what follows is the same arithmetic:
 *
 *   acc + (sum 2^e) (d factor) = acc + sum (d (factor 2^e))
 *
 * to the bit, since a power of two changes no rounding as long as the product on the right is no
 * subnormal number, which STEP_LEAST sees to.
 *
 * A product of tiles takes sixteen cycles, and so does writing one to memory, from where the other
 * registers have it.  Four are under way at a time: each is written when the next one in its tile
 * begins. */
#ifndef TENSOR_KERNEL_TILES_H
#define TENSOR_KERNEL_TILES_H

#include "tensor/kernel_panels.h"
#include "tensor/tile.h"

#define TILE_VECTORS TILE_ROWS
#define IN_FLIGHT    4 /* products under way: tiles 0 to 3 */
#define TILE_SUMS    4 /* of minima, in kernel_supers.h */
#define TILE_X       5
#define TILE_W       6

/* Are blocks of a type multiplied so?  Scales of mxfp4 may be so small that products with a step
 * are subnormal; those with an offset for each block are rare; super-blocks have a way of their own
 * (kernel_supers.h). */
INLINE bool has_tiles(enum dtype type)
{
    return parts(type) == 1 && !has_offset(type) && type != DTYPE_MXFP4;
}

/* For products of 4 `fours` values with so many vectors: a block of 32 leaves half of a tile empty.
 */
INLINE void tiles_begin(unsigned fours, size_t vectors)
{
    struct tile_config c = tile_config_full();

    for (unsigned i = 0; i <= TILE_X; i++)
        c.rows[i] = (uint8_t)vectors;
    c.row_bytes[TILE_X] = (uint16_t)(4 * fours);
    c.rows[TILE_W] = (uint8_t)fours;
    TILE_CONFIG_IS_READ(&c);
    _tile_loadconfig(&c);
}

/* Steps of sixteen vectors, block by block of a panel: beside each other, where they are added. */
typedef float tile_steps[PANEL][TILE_VECTORS];

/* What a panel meets. */
struct tile_x {
    size_t x_bytes;
    size_t products; /* blocks of the panel */
};

/* Activations of a tile, from their first block in the panel on. */
struct tile_vectors {
    const char *x;
    const tile_steps *steps;
};

/* acc[t] += sums[t] d step; d: of sixteen rows, steps: of this block. */
INLINE void tile_add(const int32_t sums[TILE_VECTORS][LANES], vec d,
                     const float steps[TILE_VECTORS], vec acc[TILE_VECTORS])
{
#pragma GCC unroll 16
    for (unsigned t = 0; t < TILE_VECTORS; t++)
        acc[t] = v_fma(_mm512_cvtepi32_ps(_mm512_load_si512(sums[t])), v_mul(d, v_set1(steps[t])),
                       acc[t]);
}

/* Where a round of products begins, in a panel's group and in the vectors of a tile. */
struct tile_round {
    const char *x, *w;
    size_t products; /* of this round and those behind it */
};

/* Begins with product `at` of a round. */
#define TILE_BEGIN(at, r)                                                         \
    do {                                                                          \
        _tile_zero(at);                                                           \
        _tile_loadd(TILE_X, (r)->x + (at) * sizeof(struct x_biased), v->x_bytes); \
        _tile_loadd(TILE_W, (r)->w + (at) * sizeof(p->w[0]), 2 * sizeof(vec));    \
        _tile_dpbssd(at, TILE_X, TILE_W);                                         \
    } while (0)

/* Writes product `at` of this round and begins with that of the next. */
#define TILE_TURN(at)                            \
    do {                                         \
        _tile_stored(at, sums, sizeof(sums[0])); \
        if ((at) < next.products)                \
            TILE_BEGIN(at, &next);               \
    } while (0)

/* Adds product `at`, which was written. */
#define TILE_ADD(at)                                                          \
    do {                                                                      \
        if ((at) < now.products)                                              \
            tile_add(sums, p->d[b + (at)][0][g], (*x->steps)[b + (at)], acc); \
    } while (0)

/* Steps of blocks from b on, of the sixteen vectors at x. */
INLINE void get_steps(const struct quant_job *j, const char *x, size_t b, size_t count,
                      tile_steps *to)
{
    const char *from = x + steps_at(j->w->shape[0]) + b * sizeof(float);

    for (unsigned t = 0; t < TILE_VECTORS; t++, from += j->x_bytes)
        for (size_t i = 0; i < count; i++)
            memcpy(&(*to)[i][t], from + i * sizeof(float), sizeof(float));
}

INLINE struct tile_round first_round(const struct panel *p, unsigned g, const struct tile_x *v,
                                     const char *x)
{
    return (struct tile_round){x, (const char *)&p->w[0][0][g], v->products};
}

/* Begins with the first products, which tile_group wants to find. */
INLINE void tile_group_begin(const struct panel *p, const struct tile_x *v, const char *x)
{
    const struct tile_round next = first_round(p, 0, v, x);

    __asm__ volatile("" ::: "memory"); /* the panel is written */
    TILE_BEGIN(0, &next);
    if (next.products > 1)
        TILE_BEGIN(1, &next);
    if (next.products > 2)
        TILE_BEGIN(2, &next);
    if (next.products > 3)
        TILE_BEGIN(3, &next);
}

/* sums (+)= group g of the panel times the vectors x; begins with those of `behind`. */
INLINE void tile_group(const struct panel *p, unsigned g, const struct tile_x *v,
                       const struct tile_vectors *x, struct tile_round behind, sums2 *to,
                       bool is_first)
{
    int32_t sums[TILE_VECTORS][LANES] __attribute__((aligned(64)));
    struct tile_round now = first_round(p, g, v, x->x), next;
    vec acc[TILE_VECTORS];

#pragma GCC unroll 16
    for (unsigned t = 0; t < TILE_VECTORS; t++)
        acc[t] = is_first ? v_zero() : to[t][g];
    for (size_t b = 0;; b += IN_FLIGHT, now = next) {
        next = behind;
        if (now.products > IN_FLIGHT)
            next =
                (struct tile_round){now.x + IN_FLIGHT * sizeof(struct x_biased),
                                    now.w + IN_FLIGHT * sizeof(p->w[0]), now.products - IN_FLIGHT};
        TILE_TURN(0);
        TILE_ADD(0);
        TILE_TURN(1);
        TILE_ADD(1);
        TILE_TURN(2);
        TILE_ADD(2);
        TILE_TURN(3);
        TILE_ADD(3);
        if (now.products <= IN_FLIGHT)
            break;
    }
#pragma GCC unroll 16
    for (unsigned t = 0; t < TILE_VECTORS; t++)
        to[t][g] = acc[t];
}

#endif
