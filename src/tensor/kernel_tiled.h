/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_tiled.h - AMX: all of a product whose sums tiles make.
 *
 * Included by kernel_avx512.c only.  Few vectors meet weights as these stream by; more are the rows
 * of one tile; many meet panels of two groups of rows, several pairs of which take turns while
 * activations lie in a level-2 cache. */
#ifndef TENSOR_KERNEL_TILED_H
#define TENSOR_KERNEL_TILED_H

#include "tensor/kernel_products.h"

struct tiled_kind {
    /* Some vectors times a group of rows: of packed ones 1 to 8, of others 1, 2 or 4. */
    void (*packed[STREAM_T])(const struct quant_job *j, size_t r);
    void (*plain[3])(const struct quant_job *j, size_t r);
    /* A tile's vectors at most, from so many on, times so many rows; NULL: none. */
    void (*few)(const struct quant_job *j, size_t r, size_t n);
    size_t few_least, few_rows;
    panel_function panels;
};

/* At most n vectors; how many. */
static size_t tiled_stream_some(const struct tiled_kind *kind, const struct quant_job *j, size_t r,
                                size_t n)
{
    size_t some;

    if (j->w->is_packed) {
        some = n < STREAM_T ? n : STREAM_T;
        kind->packed[some - 1](j, r);
    } else {
        some = n >= 4 ? 4 : n >= 2 ? 2 : 1;
        kind->plain[some / 2](j, r);
    }
    return some;
}

/* Rows in groups of so many times so many vectors at a time at most. */
static void tiled_streams(const struct tiled_kind *kind, const struct quant_job *job, size_t r,
                          size_t rows, size_t n, size_t most)
{
    for (; r < job->row_end; r += rows) {
        struct quant_job j = *job;

        for (size_t t = 0, some; t < n; t += some) {
            some = tiled_stream_some(kind, &j, r, n - t < most ? n - t : most);
            j.x += some * j.x_bytes;
            j.out += some * j.out_stride;
        }
    }
}

static void tiled_few(const struct tiled_kind *kind, const struct quant_job *j, size_t r, size_t n)
{
    tiles_begin(n);
    for (; r < j->row_end; r += kind->few_rows)
        kind->few(j, r, n);
    _tile_release();
}

/* Whole tiles, so that what is left is one too. */
static size_t tiled_some(size_t left)
{
    if (left <= SUMS_MAX)
        return left;
    return left - SUMS_MAX < TILE_VECTORS ? SUMS_MAX - TILE_VECTORS : SUMS_MAX;
}

static void tiled_panels(const struct tiled_kind *kind, const struct quant_job *job, size_t r,
                         size_t n)
{
    tiles_begin(TILE_VECTORS);
    for (; r < job->row_end; r += rows_of_pair(job) * PAIRS_MAX) {
        struct quant_job j = *job;

        for (size_t t = 0, some; t < n; t += some) {
            some = tiled_some(n - t);
            kind->panels(&j, r, some);
            j.x += some * j.x_bytes;
            j.out += some * j.out_stride;
        }
    }
    _tile_release();
}

static void tiled_matmul(const struct tiled_kind *kind, const struct quant_job *j, size_t n)
{
    size_t r = j->w->is_packed ? j->row_begin / GROUP * GROUP : j->row_begin;

    if (!j->w->is_packed && j->w->shape[1] < GROUP) /* a tiny matrix: see sixteen_rows */
        tiled_streams(kind, j, r, 1, n, 1);
    else if (kind->few && n >= kind->few_least && n <= TILE_VECTORS)
        tiled_few(kind, j, r, n);
    else if (n < TILE_VECTORS)
        tiled_streams(kind, j, r, GROUP, n, STREAM_T);
    else
        tiled_panels(kind, j, r, n);
}

#endif
