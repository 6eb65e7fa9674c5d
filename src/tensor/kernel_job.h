/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_job.h - a product of weights that are integers, and how many vectors pass a panel of them.
 *
 * Included by the kernels for AVX-512 and for AVX2, after they have defined `vec`, Q_TILE_T and
 * what they include themselves. */
#ifndef TENSOR_KERNEL_JOB_H
#define TENSOR_KERNEL_JOB_H

#include "tensor/backend.h"
#include "tensor/packed.h"

struct rows; /* as many rows of a matrix as a register has lanes; each instruction set has its own
              */

struct quant_job {
    const struct tensor *w;
    enum form form; /* of x */
    const char *x;
    float *out;
    size_t x_bytes, out_stride, row_begin, row_end;
    size_t lines_ahead;      /* kernel_unpack.h */
    bool saves_products;     /* kernel_pairs.h */
    const struct tensor *up; /* then w is gate, and out is what swiglu makes of both; or NULL */
    bool makes_bf16;         /* of that, and out_stride counts pairs */
    bool adds;               /* few vectors: to what is in out, which earlier strips made */
};

INLINE size_t blocks_of(size_t inner)
{
    return (inner + Q_BLOCK - 1) / Q_BLOCK;
}

/* What block b of a row lies in: a strip of packed weights (packed.h), else all; and the block
 * that this begins with. */
struct strip {
    struct tensor w;
    size_t first;
};

INLINE struct strip strip_of(const struct tensor *w, size_t b)
{
    size_t first = b / (PACKED_STRIP / Q_BLOCK) * (PACKED_STRIP / Q_BLOCK);

    if (!w->is_packed)
        return (struct strip){.w = *w};
    return (struct strip){packed_strip(w, first * Q_BLOCK), first};
}

/* ---- weights that have kernels for a packed form only ---- */

/* Types of two bytes that are multiplied in the same way: none, unless the includer has some. */
#ifndef FOR_EACH_WORD_TYPE
#define FOR_EACH_WORD_TYPE(F)
#endif

/* F(name, type) for each type whose packed form has kernels. */
#define FOR_EACH_PACKED_TYPE(F) \
    FOR_EACH_INTEGER_TYPE(F) F(iq2_s, DTYPE_IQ2_S) F(tq2_0, DTYPE_TQ2_0) FOR_EACH_WORD_TYPE(F)

INLINE bool has_plain_kernel(enum dtype type)
{
    return type != DTYPE_IQ2_S && type != DTYPE_TQ2_0;
}

/* Do weights without kernels of their own come to those of this type? */
INLINE bool packs_others(enum dtype type)
{
    return type == DTYPE_IQ4_XS || !has_plain_kernel(type);
}

/* Are these such, and plain, so that their packed form is made on the way? */
INLINE bool is_made(enum dtype type, const struct tensor *w)
{
    return packs_others(type) && !w->is_packed && (w->type != type || !has_plain_kernel(type));
}

/* Sixteen rows of a strip: 4 bits with any head. */
#define MADE_BYTES ((64 + 256 + 8 * 64 * 4) * (PACKED_STRIP / K_BLOCK))

struct made {
    struct tensor w;
    char units[MADE_BYTES] __attribute__((aligned(64)));
};

/* Of at most sixteen rows from r on the blocks from b on, which are at most a strip. */
static void make_packed(const struct tensor *w, size_t r, size_t rows, size_t b, size_t blocks,
                        struct made *made)
{
    struct tensor part = *w;

    part.data = (const char *)tensor_row(w, r) + dtype_row_bytes(w->type, b * Q_BLOCK);
    part.shape[0] = blocks * Q_BLOCK;
    part.shape[1] = rows;
    packed_write(&part, 0, 0, 1, made->units);
    made->w = packed_form(&part, made->units);
}

struct packed_part {
    const struct tensor *w;
    size_t r, b;
};

/* Where `count` blocks from b on of a group of rows are packed; false: nowhere. */
INLINE bool find_packed(enum dtype type, const struct tensor *w, size_t r, size_t b, size_t count,
                        struct made *made, struct packed_part *part)
{
    *part = (struct packed_part){w, r, b};
    if (is_made(type, w)) {
        size_t rows = w->shape[1] - r;

        make_packed(w, r, rows < GROUP ? rows : GROUP, b, count, made);
        *part = (struct packed_part){&made->w, 0, 0};
    }
    return part->w->is_packed;
}

/* What of a product of few vectors, which have x_bytes for each block, lies in a strip. */
INLINE struct quant_job job_of_strip(const struct quant_job *job, const struct strip *s,
                                     size_t x_bytes)
{
    struct quant_job j = *job;

    j.w = &s->w;
    j.x += s->first * x_bytes;
    j.adds = s->first > 0;
    return j;
}

/* Sums of two groups of rows for as many vectors as meet a panel.  They rest here from panel to
 * panel, since results lie a row of them apart: where that is a power of two they would push each
 * other out of the caches. */
#define SUMS_MAX 528 /* of whole tiles, which are of 6 or of 16 */

typedef vec sums2[2];

/* Vectors of a tile, and how far on the next tile is, which is fetched. */
struct panel_x {
    const char *x;
    size_t x_bytes, ahead;
};

/* The sums of a tile so far; those of the next one are asked for. */
INLINE void take_sums(const unsigned T, const sums2 *sums, size_t ahead, bool is_first,
                      vec acc[2][Q_TILE_T])
{
    for (unsigned t = 0; t < T; t++) {
        for (unsigned g = 0; g < 2; g++) {
            acc[g][t] = is_first ? v_zero() : sums[t][g];
            __builtin_prefetch(&sums[t + ahead][g]);
        }
    }
}

INLINE void leave_sums(const unsigned T, sums2 *sums, vec acc[2][Q_TILE_T])
{
    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < 2; g++)
            sums[t][g] = acc[g][t];
}

/* How a type meets many vectors: two groups of rows become a panel, so many blocks at a time, and
 * all vectors pass it. */
struct panel_kind {
    size_t blocks;  /* of 32 values, of a panel */
    size_t x_bytes; /* of one of a vector */
    /* Fills `count` of them from b on, those of group g, which is w's rows of either layout. */
    void (*fill)(const struct quant_job *j, const struct tensor *w, const struct rows *rows,
                 unsigned g, size_t b, size_t count, void *panel);
    /* sums (+)= these times some vectors: tiles of as many as the registers hold, twos and one. */
    struct panel_tiles {
        void (*of)(const void *panel, size_t count, const struct panel_x *v, sums2 *sums,
                   bool is_first);
        size_t vectors;
    } tiles[3];
};

#endif
