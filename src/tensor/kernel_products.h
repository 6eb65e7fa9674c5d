/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_products.h - all of a product of quantised weights.
 *
 * Included by the kernels for AVX-512 and for AVX2.  Rows in groups of as many as a register has
 * lanes, in streams or two by two in panels, times all vectors.  What differs is theirs:
 *
 *   GROUP                    rows of a group
 *   STREAM_T stream_passes   vectors in one pass over streamed weights; so many passes over packed
 *                            ones, which stay in the caches, are faster than a panel, which is
 *                            written before it is read
 *   struct rows              a group: `out`, the first of its rows, and which of them are stored
 *   plain_rows packed_rows   that of a layout     put_line  stores it
 *   stream_rows stream_packed stream_alone        few vectors
 *   struct panel panel_fill panel_unpack panel_tile, PANEL blocks, X_BYTES(type) of a block of x */
#ifndef TENSOR_KERNEL_PRODUCTS_H
#define TENSOR_KERNEL_PRODUCTS_H

#include "tensor/kernel_job.h"

/* Two groups of rows, of one matrix or one of each of two: where their results go, and the rows
 * that come after each. */
struct panel_rows {
    const struct tensor *w[2];
    struct rows rows[2];
    size_t next[2];
};

/* Rows of a group: of tiny matrices one, see plain_rows. */
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
        p.next[g] = next < j->row_end ? next : r;
        p.rows[g] = j->w->is_packed ? packed_rows(j, at) : plain_rows(p.w[g], at, j->row_end);
    }
    return p;
}

/* Where the blocks of the rows at r lie, from b on, which lies in this strip. */
INLINE const char *blocks_at(const struct strip *s, size_t r, size_t b)
{
    size_t blocks = blocks_of(s->w.shape[0]);
    const char *at = tensor_row(&s->w, r);

    return blocks ? at + GROUP * s->w.row_bytes * (b - s->first) / blocks : at;
}

INLINE void put_sums(const sums2 *sums, const struct rows rows[2], const struct quant_job *j,
                     size_t n, const bool past_caches)
{
    for (size_t t = 0; t < n; t++) {
        float *out = j->out + t * j->out_stride;

        if (j->up) {
            put_line(out, &rows[0], v_swiglu(sums[t][0], sums[t][1]), past_caches);
            continue;
        }
        for (unsigned g = 0; g < 2; g++)
            put_line(out, &rows[g], sums[t][g], past_caches);
    }
}

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
            struct strip s = strip_of(two.w[g], b);
            const char *next = blocks_at(&s, two.next[g], b);

            if (j->w->is_packed)
                fetch_level2(next, bytes * count / blocks);
            else
                fetch(next, bytes * count / blocks);
            kind->fill(j, &s.w, &two.rows[g], g, b - s.first, count, panel);
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
    else if (STREAM_T > 4 && n == 4)
        stream_packed(4, type, j, r);
    else if (STREAM_T > 4 && n == 5)
        stream_packed(5, type, j, r);
    else if (STREAM_T > 4 && n == 6)
        stream_packed(6, type, j, r);
    else if (STREAM_T > 4 && n == 7)
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

/* All rows from r on of a matrix, or of a strip. */
INLINE void stream_strip(enum dtype type, const bool is_packed, const struct quant_job *job,
                         size_t r, size_t rows, size_t n)
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

INLINE void stream_packed_strips(enum dtype type, const struct quant_job *job, size_t n)
{
    size_t r = job->row_begin / PACKED_GROUP * PACKED_GROUP, b = 0;

    do { /* once even if there are no blocks: the sum of nothing is 0 */
        struct strip s = strip_of(job->w, b);
        struct quant_job j = job_of_strip(job, &s, X_BYTES(type));

        stream_strip(type, true, &j, r, PACKED_GROUP, n);
        b += blocks_of(s.w.shape[0]);
    } while (b < blocks_of(job->w->shape[0]));
}

/* Few vectors times weights whose packed form is made on the way. */
INLINE void stream_made(enum dtype type, const struct quant_job *job, size_t n)
{
    const size_t blocks = blocks_of(job->w->shape[0]), most = PACKED_STRIP / Q_BLOCK;

    for (size_t r = job->row_begin; r < job->row_end; r += PACKED_GROUP) {
        size_t rows = job->row_end - r < PACKED_GROUP ? job->row_end - r : PACKED_GROUP, b = 0;

        do { /* once even if there are no blocks: the sum of nothing is 0 */
            struct quant_job j = *job;
            struct made made;

            make_packed(job->w, r, rows, b, blocks - b < most ? blocks - b : most, &made);
            j.w = &made.w;
            j.row_begin = 0;
            j.row_end = rows;
            j.out += r;
            j.x += b * X_BYTES(type);
            j.adds = b > 0;
            stream_strip(type, true, &j, 0, PACKED_GROUP, n);
            b += most;
        } while (b < blocks);
    }
}

INLINE void made_matmul(enum dtype type, const struct panel_kind *panels, const struct quant_job *j,
                        size_t n)
{
    if (n > STREAM_T && j->w->shape[1] >= GROUP)
        all_panels(panels, j, j->row_begin, n);
    else
        stream_made(type, j, n);
}

INLINE void quant_matmul(enum dtype type, const struct panel_kind *panels,
                         const struct quant_job *j, size_t n)
{
    size_t rows = rows_of_group(j->w), r = first_row(j);

    if (n == 1 && stream_alone(type, j))
        return;
    if (n > STREAM_T && rows == GROUP)
        all_panels(panels, j, r, n);
    else
        stream_strip(type, false, j, r, rows, n);
}

INLINE void packed_matmul(enum dtype type, const struct panel_kind *panels,
                          const struct quant_job *j, size_t n)
{
    if (n <= stream_passes(type) * STREAM_T)
        stream_packed_strips(type, j, n);
    else
        all_panels(panels, j, first_row(j), n);
}

/* More vectors than any type streams. */
#define SWIGLU_LEAST 65

/* Are products of both, which meet x of this form, computed by pairs of groups, one of each? */
INLINE bool makes_pairs(enum form form, const struct tensor *gate, const struct tensor *up)
{
    return gate->type == up->type && gate->is_packed == up->is_packed && form != FORM_F32 &&
           form != FORM_BF16 && gate->shape[1] >= GROUP;
}

#define PANEL_TILE(name, T, TYPE)                                                           \
    static void name(const void *panel, size_t count, const struct panel_x *v, sums2 *sums, \
                     bool is_first)                                                         \
    {                                                                                       \
        panel_tile(T, TYPE, panel, count, v, sums, is_first);                               \
    }
#define MATMUL(type, TYPE)                                                                      \
    static __attribute__((noinline)) void type##_fill(                                          \
        const struct quant_job *j, const struct tensor *w, const struct rows *rows, unsigned g, \
        size_t b, size_t count, void *panel)                                                    \
    {                                                                                           \
        struct packed_part part;                                                                \
        struct made made;                                                                       \
                                                                                                \
        (void)j;                                                                                \
        if (find_packed(TYPE, w, rows->out, b, count, &made, &part))                            \
            panel_unpack(TYPE, part.w, part.r, g, part.b, count, panel);                        \
        else if (has_plain_kernel(TYPE))                                                        \
            panel_fill(TYPE, w, rows, g, b, count, panel);                                      \
    }                                                                                           \
    PANEL_TILE(type##_tile, Q_TILE_T, TYPE)                                                     \
    PANEL_TILE(type##_tile2, 2, TYPE)                                                           \
    PANEL_TILE(type##_tile1, 1, TYPE)                                                           \
    static const struct panel_kind panels_##type = {                                            \
        PANEL,                                                                                  \
        X_BYTES(TYPE),                                                                          \
        type##_fill,                                                                            \
        {{type##_tile, Q_TILE_T}, {type##_tile2, 2}, {type##_tile1, 1}}};                       \
    static void matmul_##type(const struct quant_job *j, size_t n)                              \
    {                                                                                           \
        if (j->w->is_packed)                                                                    \
            packed_matmul(TYPE, &panels_##type, j, n);                                          \
        else if (is_made(TYPE, j->w))                                                           \
            made_matmul(TYPE, &panels_##type, j, n);                                            \
        else if (has_plain_kernel(TYPE))                                                        \
            quant_matmul(TYPE, &panels_##type, j, n);                                           \
    }
FOR_EACH_PACKED_TYPE(MATMUL)
#define MATMUL_OF(type, TYPE) [TYPE] = matmul_##type,

/* Of a type whose activations have FORM_Q8. */
static void quant_multiply(const struct quant_job *j, size_t n)
{
    static void (*const quantised[DTYPE_COUNT])(const struct quant_job *,
                                                size_t) = {FOR_EACH_PACKED_TYPE(MATMUL_OF)};

    quantised[packed_as(j->w->type)](j, n);
}

#endif
