/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_products.h - AVX-512: all of a product of quantised weights.
 *
 * Included by kernel_avx512.c only.  Rows in groups of sixteen, in streams or two by two in panels,
 * times all vectors. */
#ifndef TENSOR_KERNEL_PRODUCTS_H
#define TENSOR_KERNEL_PRODUCTS_H

#include "tensor/kernel_panels.h"

/* Two groups of rows, of one matrix or one of each of two: where their results go, and what comes
 * after each in memory. */
struct panel_rows {
    const struct tensor *w[2];
    struct rows16 rows[2];
    const char *next[2];
};

/* Rows of a group: of tiny matrices one, see sixteen_rows. */
INLINE size_t rows_of_group(const struct tensor *w)
{
    return w->is_packed || w->shape[1] >= GROUP ? GROUP : 1;
}

/* Rows of results that two groups make. */
INLINE size_t rows_of_pair(const struct quant_job *j)
{
    return j->up ? GROUP : 2 * rows_of_group(j->w);
}

/* Where the first group begins. */
INLINE size_t first_row(const struct quant_job *j)
{
    return j->w->is_packed ? j->row_begin / GROUP * GROUP : j->row_begin;
}

/* Pair `pair` from row r on. */
INLINE struct panel_rows two_groups(const struct quant_job *j, size_t r, size_t pair)
{
    struct panel_rows p;

    r += rows_of_pair(j) * pair;
    for (unsigned g = 0; g < 2; g++) {
        const size_t at = j->up ? r : r + rows_of_group(j->w) * g, next = at + rows_of_pair(j);

        p.w[g] = g && j->up ? j->up : j->w;
        p.next[g] = tensor_row(p.w[g], next < j->row_end ? next : r);
        if (!j->w->is_packed) {
            p.rows[g] = sixteen_rows(p.w[g], at, j->row_end);
        } else if (at < j->row_end) {
            p.rows[g] = (struct rows16){.out = at, .lanes = lanes_of(j, at)};
        } else { /* the same once more: not stored */
            p.rows[g] = p.rows[0];
            p.rows[g].lanes = 0;
        }
    }
    return p;
}

/* A line of results.  Past the caches: nothing is read before it is written, and nothing that is
 * needed sooner has to leave; whoever writes so ends by sfence. */
INLINE void put_line(float *out, __mmask16 lanes, vec v, const bool past_caches)
{
    if (past_caches && lanes == 0xffff && (uintptr_t)out % 64 == 0)
        _mm512_stream_ps(out, v);
    else
        _mm512_mask_storeu_ps(out, lanes, v);
}

INLINE void put_sums(const sums2 *sums, const struct rows16 rows[2], const struct quant_job *j,
                     size_t n, const bool past_caches)
{
    for (size_t t = 0; t < n; t++) {
        float *out = j->out + t * j->out_stride;

        if (j->up) {
            put_line(out + rows[0].out, rows[0].lanes, v_swiglu(sums[t][0], sums[t][1]),
                     past_caches);
            continue;
        }
        for (unsigned g = 0; g < 2; g++)
            put_line(out + rows[g].out, rows[g].lanes, sums[t][g], past_caches);
    }
}

/* How a type meets many vectors: two groups of rows become a panel, so many blocks at a time, and
 * all vectors pass it. */
struct panel_kind {
    size_t blocks;  /* of 32 values, of a panel */
    size_t x_bytes; /* of one of a vector */
    /* Fills `count` of them from b on, those of group g, which is w's rows of either layout. */
    void (*fill)(const struct quant_job *j, const struct tensor *w, const struct rows16 *rows,
                 unsigned g, size_t b, size_t count, void *panel);
    /* sums (+)= these times some vectors: tiles of as many as the registers hold, twos and one. */
    struct panel_tiles {
        void (*of)(const void *panel, size_t count, const struct panel_x *v, sums2 *sums,
                   bool is_first);
        size_t vectors;
    } tiles[3];
};

/* `count` blocks from b on, times all n vectors. */
static void panel_multiply(const struct panel_kind *kind, const struct quant_job *j,
                           const void *panel, size_t count, size_t b, size_t n, sums2 *sums)
{
    const struct panel_tiles *tile = kind->tiles;
    struct panel_x v = {.x_bytes = j->x_bytes};

    for (size_t t = 0; t < n; t += tile->vectors) {
        while (tile->vectors > n - t)
            tile++;
        v.x = j->x + t * j->x_bytes + b * kind->x_bytes;
        v.ahead = n - t >= 2 * tile->vectors ? tile->vectors : 0;
        tile->of(panel, count, &v, sums + t, b == 0);
    }
}

#define PANEL_BYTES sizeof(struct panel) /* no kind has more */

/* At most SUMS_MAX vectors times two groups of rows from r on. */
static void panel_rows(const struct panel_kind *kind, const struct quant_job *j, size_t r, size_t n)
{
    size_t blocks = blocks_of(j->w->shape[0]), bytes = GROUP * j->w->row_bytes, b = 0;
    struct panel_rows two = two_groups(j, r, 0);
    sums2 sums[SUMS_MAX];
    char panel[PANEL_BYTES] __attribute__((aligned(64)));

    do { /* once even if there are no blocks: the sum of nothing is 0 */
        size_t count = blocks - b < kind->blocks ? blocks - b : kind->blocks;

        for (unsigned g = 0; g < 2 && blocks > 0; g++) { /* as many of the rows that come next */
            const char *next = two.next[g] + bytes * b / blocks;

            if (j->w->is_packed)
                fetch_level2(next, bytes * count / blocks);
            else
                fetch(next, bytes * count / blocks);
            kind->fill(j, two.w[g], &two.rows[g], g, b, count, panel);
        }
        panel_multiply(kind, j, panel, count, b, n, sums);
        b += count;
    } while (b < blocks);
    put_sums(sums, two.rows, j, n, false);
}

/* All rows from r on. */
static void all_panels(const struct panel_kind *kind, const struct quant_job *job, size_t r,
                       size_t n)
{
    struct quant_job j = *job;

    for (; r < j.row_end; r += rows_of_pair(&j)) {
        j.x = job->x;
        j.out = job->out;
        for (size_t t = 0, some; t < n; t += some) {
            some = n - t < SUMS_MAX ? n - t : SUMS_MAX;
            panel_rows(kind, &j, r, some);
            j.x += some * j.x_bytes;
            j.out += some * j.out_stride;
        }
    }
}

/* At most n vectors; how many. */
INLINE size_t stream_some_packed(enum dtype type, const struct quant_job *j, size_t r, size_t n)
{
    if (n == 1)
        stream_packed(1, type, j, r);
    else if (n == 2)
        stream_packed(2, type, j, r);
    else if (n == 3)
        stream_packed(3, type, j, r);
    else if (n == 4)
        stream_packed(4, type, j, r);
    else if (n == 5)
        stream_packed(5, type, j, r);
    else if (n == 6)
        stream_packed(6, type, j, r);
    else if (n == 7)
        stream_packed(7, type, j, r);
    else
        stream_packed(STREAM_T, type, j, r);
    return n < STREAM_T ? n : STREAM_T;
}

/* The same of a layout that nobody uses for long: fewer cases, which take less time to compile. */
INLINE size_t stream_some_plain(enum dtype type, const struct quant_job *j, size_t r, size_t n)
{
    size_t some = n >= 4 ? 4 : n >= 2 ? 2 : 1;

    if (some == 1)
        stream_rows(1, type, j, r);
    else if (some == 2)
        stream_rows(2, type, j, r);
    else
        stream_rows(4, type, j, r);
    return some;
}

INLINE void stream_all(enum dtype type, const bool is_packed, const struct quant_job *job, size_t r,
                       size_t rows, size_t n)
{
    struct quant_job j = *job;

    for (; r < j.row_end; r += rows) {
        for (size_t t = 0; t < n;) {
            j.x = job->x + t * j.x_bytes;
            j.out = job->out + t * j.out_stride;
            t += is_packed ? stream_some_packed(type, &j, r, n - t)
                           : stream_some_plain(type, &j, r, n - t);
        }
    }
}

INLINE void quant_matmul(enum dtype type, const struct panel_kind *panels,
                         const struct quant_job *j, size_t n)
{
    size_t rows = rows_of_group(j->w), r = first_row(j);

    if (n == 1 && type == DTYPE_Q8_0 && j->w->row_bytes >= LONG_ROW) {
        for (; r < j->row_end; r += 4)
            stream_four(j, r);
        return;
    }
    if (n > STREAM_T && rows == GROUP) {
        all_panels(panels, j, r, n);
        return;
    }
    stream_all(type, false, j, r, rows, n);
}

/* So many passes over sixteen packed rows, which stay in the caches, are faster than a panel, which
 * is written before it is read. */
#define STREAM_PASSES 4

INLINE void packed_matmul(enum dtype type, const struct panel_kind *panels,
                          const struct quant_job *j, size_t n)
{
    size_t r = first_row(j);

    if (n <= STREAM_PASSES * STREAM_T)
        stream_all(type, true, j, r, GROUP, n);
    else
        all_panels(panels, j, r, n);
}

#define PANEL_TILE(name, T, TYPE)                                                           \
    static void name(const void *panel, size_t count, const struct panel_x *v, sums2 *sums, \
                     bool is_first)                                                         \
    {                                                                                       \
        panel_tile(T, TYPE, panel, count, v, sums, is_first);                               \
    }
#define MATMUL(type, TYPE)                                                                        \
    static __attribute__((noinline)) void type##_fill(                                            \
        const struct quant_job *j, const struct tensor *w, const struct rows16 *rows, unsigned g, \
        size_t b, size_t count, void *panel)                                                      \
    {                                                                                             \
        (void)j;                                                                                  \
        if (w->is_packed)                                                                         \
            panel_unpack(TYPE, w, rows->out, g, b, count, panel);                                 \
        else                                                                                      \
            panel_fill(TYPE, rows, g, b, count, panel);                                           \
    }                                                                                             \
    PANEL_TILE(type##_tile, Q_TILE_T, TYPE)                                                       \
    PANEL_TILE(type##_tile2, 2, TYPE)                                                             \
    PANEL_TILE(type##_tile1, 1, TYPE)                                                             \
    static const struct panel_kind panels_##type = {                                              \
        PANEL,                                                                                    \
        sizeof(struct x_biased),                                                                  \
        type##_fill,                                                                              \
        {{type##_tile, Q_TILE_T}, {type##_tile2, 2}, {type##_tile1, 1}}};                         \
    static void matmul_##type(const struct quant_job *j, size_t n)                                \
    {                                                                                             \
        if (j->w->is_packed)                                                                      \
            packed_matmul(TYPE, &panels_##type, j, n);                                            \
        else                                                                                      \
            quant_matmul(TYPE, &panels_##type, j, n);                                             \
    }
MATMUL(q8_0, DTYPE_Q8_0)
MATMUL(q4_0, DTYPE_Q4_0)
MATMUL(q4_1, DTYPE_Q4_1)
MATMUL(q5_0, DTYPE_Q5_0)
MATMUL(q5_1, DTYPE_Q5_1)
MATMUL(q4_k, DTYPE_Q4_K)
MATMUL(q6_k, DTYPE_Q6_K)
MATMUL(q2_k, DTYPE_Q2_K)
MATMUL(q3_k, DTYPE_Q3_K)
MATMUL(q5_k, DTYPE_Q5_K)
MATMUL(iq4_nl, DTYPE_IQ4_NL)
MATMUL(iq4_xs, DTYPE_IQ4_XS)
MATMUL(mxfp4, DTYPE_MXFP4)

#endif
