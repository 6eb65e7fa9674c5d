/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_eights_panels.h - AVX2: packed quantised weights, and many vectors for either layout.
 *
 * Included by kernel_avx2.c only.  Few vectors meet weights as these stream by; for many, blocks of
 * two groups of eight rows become a panel, in a level-1 cache, which tiles of vectors pass. */
#ifndef TENSOR_KERNEL_EIGHTS_PANELS_H
#define TENSOR_KERNEL_EIGHTS_PANELS_H

#include "tensor/kernel_eights.h"

/* Eight rows at r, half of a packed group; behind the end those before once more, not stored. */
INLINE struct rows packed_rows(const struct quant_job *j, size_t r)
{
    size_t begin = j->row_begin > r ? j->row_begin - r : 0;
    struct rows rows = {.out = r};

    if (r >= j->row_end) {
        rows.out -= GROUP;
        return rows;
    }
    rows.whole = begin == 0 && r + GROUP <= j->row_end;
    rows.lanes = _mm256_andnot_si256(first(begin), first(j->row_end - r));
    return rows;
}

INLINE void put_line(float *out, const struct rows *rows, vec v, const bool past_caches)
{
    (void)past_caches; /* never */
    put_lanes(out, rows, v);
}

/* Half g of the sixteen rows of a unit: where its bytes, halves and dwords begin, relative to those
 * of all. */
INLINE const char *half_of(const char *all, unsigned g, unsigned bytes)
{
    return all + bytes * GROUP * g;
}

/* What get_scales gives of block k of a unit, for half g of its rows, where halves of blocks have
 * scales of their own. */
INLINE struct scales unpack_half_scales(enum dtype type, const char *unit, unsigned g, unsigned k)
{
    struct small_scales by = unpack_small_scales(type, unit, g * GROUP, NULL, k);
    const char *small = half_of(unit + packed_unit(type).scales + 32 * k, g, 1);
    struct scales s = {.d = unpack_d(type, unit, g * GROUP),
                       .m = v_zero(),
                       .by = {factor(type, by.low), factor(type, by.high)},
                       .minima = {_mm256_setzero_si256(), _mm256_setzero_si256()}};

    if (type == DTYPE_Q2_K) {
        s.m = minima_unit(v_f16(half_of(unit + 32, g, 2)));
        s.minima[0] = factor(type, lane_nibbles(small, 4));
        s.minima[1] = factor(type, lane_nibbles(small + 16, 4));
    }
    return s;
}

/* sixes: of that half. */
INLINE struct scales unpack_scales(enum dtype type, const char *unit, unsigned g,
                                   const struct sixes *sixes, unsigned k)
{
    const bool is_five = type == DTYPE_Q5_1 || type == DTYPE_Q5_K;
    struct scales s = {.m = v_zero()};

    if (has_halves(type))
        return unpack_half_scales(type, unit, g, k);
    if (type == DTYPE_MXFP4) {
        s.d = exponents(lane_bytes(half_of(unit + 16 * k, g, 1), false));
    } else if (parts(type) == 1) {
        s.d = v_f16(half_of(unit + 32 * k, g, 2));
        if (has_offset(type))
            s.m = v_f16(half_of(unit + 64 + 32 * k, g, 2));
    } else {
        s.d = v_mul(unpack_d(type, unit, g * GROUP),
                    v_of_ints(unpack_small_scales(type, unit, g * GROUP, sixes, k).low));
        if (has_offset(type))
            s.m = block_minimum(v_f16(half_of(unit + 32, g, 2)),
                                lane_byte(sixes->four[2 + k / 4], (unsigned)packed_minimum(k) % 4));
    }
    if (is_five) /* for the bias */
        s.m = v_fma(v_set1(16), s.d, s.m);
    return s;
}

/* Its quants, as they lie. */
INLINE struct planes half_planes(enum dtype type, const char *unit, unsigned g, unsigned k)
{
    const struct packed_unit u = packed_unit(type);
    const char *block = half_of(unit + u.first + k * u.block, g, 4);
    struct planes p;

    load_lines(block, packed_bits(type), ASK_NOTHING, p.line);
    load_list(type, unit, &p);
    return p;
}

/* Line l of a block, of either half of its rows. */
INLINE void load_line_of_both(const char *block, unsigned l, struct ask ask, struct planes p[2])
{
    load_lines(block + 64 * l, 1, ask, &p[0].line[l]);
    p[1].line[l] = load_line(block + 64 * l + 4 * GROUP);
}

/* A block comes in so many steps, of some lines each, which hold what no other step needs but for a
 * line of highest bits.  Two steps are half a block each. */
INLINE unsigned steps_of(enum dtype type)
{
    const unsigned bits = packed_bits(type);

    return bits == 8 ? 8 : bits == 4 || bits == 5 ? 4 : 2;
}

INLINE unsigned lines_of_step(enum dtype type)
{
    return steps_of(type) == 2 ? packed_bits(type) / 2 : 1;
}

/* Register `nth` of the weights that a step makes, see quants_at. */
INLINE unsigned register_of(enum dtype type, unsigned step, unsigned nth)
{
    return steps_of(type) == 4 ? step + 4 * nth : REGISTERS / steps_of(type) * step + nth;
}

/* acc += w * x of block k of a unit of sixteen rows, for T vectors.  Weights go from lines, which
 * are loaded when they are needed, to sums by way of a register or two, and what is loaded of
 * vectors meets all rows. */
INLINE void stream_block(const unsigned T, enum dtype type, const char *unit, size_t k,
                         const struct scales s[2], struct ask ask, const char *x, size_t x_bytes,
                         vec acc[2][Q_TILE_T])
{
    const struct packed_unit u = packed_unit(type);
    const unsigned steps = steps_of(type), lines = lines_of_step(type);
    const unsigned steps_of_sum = steps / halves_of(type);
    const char *block = unit + u.first + k * u.block;
    __m256i sum[2][Q_TILE_T], first_half[2][Q_TILE_T];
    struct planes p[2];

    for (unsigned g = 0; g < 2; g++)
        load_list(type, unit, &p[g]);
    if (packed_bits(type) % 2)
        load_line_of_both(block, steps * lines, ask, p);
#pragma GCC unroll 8
    for (unsigned step = 0; step < steps; step++) {
        const unsigned half = step / steps_of_sum;

        for (unsigned t = 0; t < T && step % steps_of_sum == 0; t++)
            sum[0][t] = sum[1][t] = sum_start(type, x_block(x + t * x_bytes, 0), half);
        for (unsigned l = 0; l < lines; l++)
            load_line_of_both(block, step * lines + l, ask, p);
#pragma GCC unroll 4
        for (unsigned nth = 0; nth < REGISTERS / steps; nth++) {
            const unsigned i = register_of(type, step, nth);
            __m256i w[2] = {quants_at(type, &p[0], i), quants_at(type, &p[1], i)};

            for (unsigned t = 0; t < T; t++) {
                __m256i xt = four_values(x_block(x + t * x_bytes, 0), i);

                for (unsigned g = 0; g < 2; g++)
                    sum[g][t] = add_products(type, sum[g][t], w[g], xt);
            }
        }
        if (has_halves(type) && step + 1 == steps_of_sum)
            for (unsigned g = 0; g < 2; g++)
                for (unsigned t = 0; t < T; t++)
                    first_half[g][t] = part_of_whole(type, sum[g][t], &s[g], 0);
    }
    for (unsigned g = 0; g < 2; g++) {
        for (unsigned t = 0; t < T; t++) {
            __m256i all = part_of_whole(type, sum[g][t], &s[g], halves_of(type) - 1);

            if (has_halves(type))
                all = _mm256_add_epi32(first_half[g][t], all);
            acc[g][t] = add_block(type, &s[g], x_block(x + t * x_bytes, 0), all, acc[g][t]);
        }
    }
}

/* Few vectors, sixteen rows from r on of a strip, which begin a group. */
INLINE void stream_packed_eights(const unsigned T, enum dtype type, const struct quant_job *j,
                                 size_t r)
{
    const struct packed_unit u = packed_unit(type);
    const struct ask ask = ask_for(T, type, j->lines_ahead);
    size_t blocks = j->w->shape[0] / Q_BLOCK;
    const char *unit = tensor_row(j->w, r);
    struct rows rows[2] = {packed_rows(j, r), packed_rows(j, r + GROUP)};
    vec acc[2][Q_TILE_T];

    for (unsigned t = 0; t < T; t++)
        for (unsigned g = 0; g < 2; g++)
            acc[g][t] = j->adds ? get_lanes(j->out + t * j->out_stride, &rows[g]) : v_zero();
    for (size_t b = 0; b < blocks; b += u.blocks, unit += u.bytes) {
        struct sixes sixes[2];

        begin_unit(&u, unit, ask);
        for (unsigned g = 0; g < 2; g++)
            sixes[g] = unpack_sixes(type, unit, g * GROUP);
        for (size_t k = 0; k < u.blocks && b + k < blocks; k++) {
            const char *x = j->x + (b + k) * X_BYTES(type);
            const struct scales s[2] = {unpack_scales(type, unit, 0, &sixes[0], k),
                                        unpack_scales(type, unit, 1, &sixes[1], k)};

            stream_block(T, type, unit, k, s, ask, x, j->x_bytes, acc);
        }
    }
    for (unsigned g = 0; g < 2; g++)
        for (unsigned t = 0; t < T; t++)
            put_lanes(j->out + t * j->out_stride, &rows[g], acc[g][t]);
}

/* A panel is written for 8 to 16 instructions that multiply a vector: it pays late where few do. */
INLINE size_t stream_passes(enum dtype type)
{
    if (IS_HALVES(type)) /* a word of bf16 takes three times as many instructions to unpack */
        return type == DTYPE_F16 ? 3 : 2;
    if (VNNI)
        return parts(type) == 1 ? 4 : 2;
    if (type == DTYPE_Q8_0) /* nothing is unpacked */
        return 16;
    return steps_of(type) > 2 ? 4 : 2;
}

/* Blocks of 2 groups of rows, transposed. */
struct eights_panel {
    __m256i w[PANEL * REGISTERS * 2]; /* block after block */
    struct scales scales[PANEL][2];
};

/* `count` blocks from b on; both are multiples of a super-block's. */
INLINE void eights_panel_fill(enum dtype type, const struct rows *rows, unsigned g, size_t b,
                              size_t count, struct eights_panel *p)
{
    for (size_t i = 0; i < count; i += parts(type)) {
        size_t offset = (b + i) / parts(type) * block_bytes(type);
        struct head h;

        get_head(type, rows, offset, &h);
#pragma GCC unroll 4
        for (unsigned part = 0; part < parts(type); part += together(type)) {
            __m256i w[TOGETHER_MAX][REGISTERS];

            get_quants(type, rows, offset, part, &h, w);
#pragma GCC unroll 4
            for (unsigned k = 0; k < together(type); k++) {
                for (unsigned v = 0; v < REGISTERS; v++)
                    p->w[((i + part + k) * REGISTERS + v) * 2 + g] = w[k][v];
                p->scales[i + part + k][g] = get_scales(type, &h, part + k);
            }
        }
    }
}

/* The same from packed weights, of the eight rows at r; a unit at a time. */
INLINE void eights_panel_unpack(enum dtype type, const struct tensor *w, size_t r, unsigned g,
                                size_t b, size_t count, struct eights_panel *p)
{
    const struct packed_unit u = packed_unit(type);
    const unsigned half = r / GROUP % 2;
    const char *unit =
        (const char *)tensor_row(w, r / PACKED_GROUP * PACKED_GROUP) + b / u.blocks * u.bytes;

    for (size_t i = 0; i < count; i += u.blocks, unit += u.bytes) {
        const struct sixes sixes = unpack_sixes(type, unit, half * GROUP);

        for (size_t k = 0; k < u.blocks; k++) {
            struct planes planes = half_planes(type, unit, half, k);

            for (unsigned c = 0; c < REGISTERS; c++)
                p->w[((i + k) * REGISTERS + c) * 2 + g] = quants_at(type, &planes, c);
            p->scales[i + k][g] = unpack_scales(type, unit, half, &sixes, k);
        }
    }
}

/* sums (+)= panel * x for T vectors. */
INLINE void eights_tile(const unsigned T, enum dtype type, const struct eights_panel *p,
                        size_t count, const struct panel_x *v, sums2 *sums, bool is_first)
{
    vec acc[2][Q_TILE_T];

    take_sums(T, sums, v->ahead, is_first, acc);
    for (size_t b = 0; b < count; b++) {
        const char *x = v->x + b * X_BYTES(type);

        for (unsigned t = 0; t < T; t++)
            _mm_prefetch(x + (v->ahead + t) * v->x_bytes, _MM_HINT_T0);
        multiply_block(2, T, type, p->w + b * REGISTERS * 2, p->scales[b], x, v->x_bytes, acc);
    }
    leave_sums(T, sums, acc);
}

#endif
