/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_tiles.h - AMX: weights of all types as bf16, in tiles that add up over the whole row.
 *
 * Included by kernel_avx512.c only.  A tile is a register of up to sixteen rows of 64 bytes. One
 * operand of a product has vectors as rows, 32 values of each; the other 32 values of sixteen rows
 * of weights, as pairs: row i has those of values 2 i and 2 i + 1, a lane for each row of weights.
 * The third has their sums so far, f32 (Intel's manual, volume 2, TDPBF16PS: in each product the
 * sixteen even and the sixteen odd terms are added up in order, then both, then to the sum).
 *
 * A quantised weight is rounded to bf16 once, behind scale and offset, and so is an activation:
 * both err by 2^-8 of themselves at most, less on average than 8 bits and a step that values share.
 * Weights of bf16 stay what they are, but for those that packed.h does not hold.  Those of f16 are
 * what kernel_pairs.h makes of them, as the sum of two bf16, and so are activations then; of the
 * four products the least is left out.
 *
 * A product of tiles takes sixteen cycles, and sums of others have nothing else to wait for, so
 * weights are unpacked for many vectors, and two tiles of these meet two of weights at a time. */
#ifndef TENSOR_KERNEL_TILES_H
#define TENSOR_KERNEL_TILES_H

#include "tensor/kernel_pairs.h"
#include "tensor/tile.h"

/* Blocks of 32 values, or half as many in two parts: three quarters of level 1. */
#define TILE_PANEL 18
/* Pairs of groups that meet a panel's worth of activations, in level 2, one after the other. */
#define TILE_PAIRS 8
/* So many tiles of vectors multiply for longer than memory takes to bring what comes next. */
#define TILES_LONG 8
/* Results of so many bytes go past the caches: a level 2 does not keep them until they are read. */
#define TILE_RESULTS_FAR (2u << 20)

/* Are numbers sums of two bf16?  Those of 32 values then lie beside each other, and three products
 * make one. */
INLINE bool splits(enum dtype weights)
{
    return weights == DTYPE_F16;
}

INLINE unsigned parts_of(const bool split)
{
    return split ? 2 : 1;
}

/* Tiles of weights of two groups of rows. */
typedef __m512i tile_pair[2][TILE_ROWS];

struct tile_panel {
    tile_pair tiles[TILE_PANEL];
};

/* Lines of the weights of two groups that come next: so many are asked for beside each block of
 * those that are there, since whatever waits for a cache waits behind many. */
struct tile_lines {
    const char *at[2];
    size_t count, each;
};

INLINE void ask_beside(const struct tile_lines *l, size_t block)
{
    size_t at = block * l->each, end = at + l->each < l->count ? at + l->each : l->count;

    for (; at < end; at++)
        for (unsigned g = 0; g < 2; g++)
            __builtin_prefetch(l->at[g] + at * 64, 0, 2);
}

/* ---- weights ---- */

/* bf16 of both, as pairs; halves are rounded away from zero.  NaN is the usual one: what follows
 * its first bit would be rounded too. */
INLINE __m512i bf16_pairs(vec even, vec odd)
{
    const __m512i half = _mm512_set1_epi32(0x8000), high = _mm512_set1_epi32((int)0xffff0000);
    __m512i e = _mm512_srli_epi32(_mm512_add_epi32(_mm512_castps_si512(even), half), 16);
    __m512i o = _mm512_add_epi32(_mm512_castps_si512(odd), half);
    enum { first_or_both_others = 0xf8 };

    return _mm512_ternarylogic_epi32(e, o, high, first_or_both_others);
}

/* Both as sums of two bf16, exactly: for numbers of f16, which have three bits more than one. */
INLINE __m512i split_pairs(vec even, vec odd, __m512i *low)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    __m512i high = bf16_pairs(even, odd);

    even = v_sub(even, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
    odd = v_sub(odd, _mm512_castsi512_ps(_mm512_and_si512(high, upper)));
    *low = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                   _mm512_castps_si512(odd));
    return high;
}

INLINE vec usual_nan(vec v)
{
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q), v_set1(NAN));
}

/* Byte i of each lane, a number without sign, and BYTE_BASE more: it stands in the second byte of
 * a float. */
#define BYTE_BASE 0x1p15f

INLINE vec byte_of(__m512i v, const int i)
{
    const __m512i base = _mm512_castps_si512(v_set1(BYTE_BASE));
    const __m512i from =
        _mm512_slli_epi32(_mm512_broadcast_i32x4(_mm_setr_epi32(i, 4 + i, 8 + i, 12 + i)), 8);
    enum { both_or_third = 0xea };

    if (i == 1)
        v = _mm512_ternarylogic_epi32(v, _mm512_set1_epi32(0xff00), base, both_or_third);
    else
        v = _mm512_mask_shuffle_epi8(base, 0x2222222222222222, v, from);
    return _mm512_castsi512_ps(v);
}

/* What byte_of says of a quant that counts as zero. */
INLINE float zero_of(enum dtype type)
{
    return (has_offset(type) ? 0 : 128) + BYTE_BASE;
}

/* Is that times d, an f16 alone, exact in f32?  One multiply-add then makes a weight. */
INLINE bool folds_zero(enum dtype type)
{
    return parts(type) == 1 && !has_offset(type) && type != DTYPE_MXFP4;
}

INLINE vec weight_of(enum dtype type, vec byte, vec d, vec plus)
{
    if (folds_zero(type))
        return v_fma(byte, d, plus);
    byte = v_sub(byte, v_set1(zero_of(type)));
    return has_offset(type) ? v_fma(byte, d, plus) : v_mul(byte, d);
}

/* NaN as usual; with folds_zero, zero too is in what is added. */
INLINE void ready_affine(enum dtype type, struct affine *a)
{
    for (unsigned i = 0; i < 2; i++) {
        a->d[i] = usual_nan(a->d[i]);
        a->plus[i] =
            folds_zero(type) ? v_mul(a->d[i], v_set1(-zero_of(type))) : usual_nan(a->plus[i]);
    }
}

/* A block of quants as unpack leaves them. */
INLINE void put_quants(enum dtype type, const __m512i w[8], const struct affine *s,
                       __m512i tile[TILE_ROWS])
{
#pragma GCC unroll 16
    for (int i = 0; i < TILE_ROWS; i++) {
        vec d = s->d[i / 8], plus = s->plus[i / 8];
        vec even = byte_of(w[i / 2], i % 2 * 2), odd = byte_of(w[i / 2], i % 2 * 2 + 1);

        tile[i] = bf16_pairs(weight_of(type, even, d, plus), weight_of(type, odd, d, plus));
    }
}

/* Fills `count` blocks from b on of group g; both are multiples of what lies together. */
INLINE void tile_fill_packed(enum dtype type, const struct tensor *w, size_t r, unsigned g,
                             size_t b, size_t count, const struct tile_lines *next,
                             tile_pair *tiles)
{
    const struct packed_unit u = packed_unit(type);
    const char *unit = (const char *)tensor_row(w, r) + b / u.blocks * u.bytes;

    for (size_t i = 0; i < count; i += u.blocks, unit += u.bytes) {
        const struct common common = unpack_common(type, unit);
        struct block_minima minima;

        if (has_block_minima(type))
            unpack_block_minima(unit, &common, &minima);
#pragma GCC unroll 8
        for (unsigned k = 0; k < u.blocks; k++) {
            struct affine s = affine_of(type, unpack_scales(type, unit, &common, k),
                                        unpack_minima(type, unit, &common, k), &minima, k);
            __m512i v[8];

            ready_affine(type, &s);
            ask_beside(next, i + k);
            unpack(type, unit, k, ASK_NOTHING, v);
            put_quants(type, v, &s, tiles[i + k][g]);
        }
    }
}

INLINE void tile_fill_plain(enum dtype type, const struct rows *rows, unsigned g, size_t b,
                            size_t count, const struct tile_lines *next, tile_pair *tiles)
{
    for (size_t i = 0; i < count; i += parts(type)) {
        size_t offset = (b + i) / parts(type) * block_bytes(type);
        struct block_minima minima;
        struct head h;

        get_head(type, rows, offset, &h);
        if (has_block_minima(type))
            get_block_minima(&h, &minima);
#pragma GCC unroll 4
        for (unsigned part = 0; part < parts(type); part += together(type)) {
            __m512i w[TOGETHER_MAX][8];

            get_quants(type, rows, offset, part, &h, w);
#pragma GCC unroll 4
            for (unsigned k = part; k < part + together(type); k++) {
                struct affine s =
                    affine_of(type, get_scales(type, &h, k), get_minima(type, &h, k), &minima, k);

                ready_affine(type, &s);
                ask_beside(next, i + k);
                put_quants(type, w[k - part], &s, tiles[i + k][g]);
            }
        }
    }
}

/* A block of f16: integers of 16 bits times a step, as sums of two bf16. */
INLINE void put_f16(const struct tensor *w, const struct rows *rows, size_t block,
                    __m512i high[TILE_ROWS], __m512i low[TILE_ROWS])
{
    __m512i pairs[PAIRS];
    vec step = take_block(DTYPE_F16, w->is_packed, w, rows, block, ASK_NOTHING, pairs);

    for (unsigned i = 0; i < PAIRS; i++) {
        __m512i first = _mm512_srai_epi32(_mm512_slli_epi32(pairs[i], 16), 16);
        vec even = v_mul(_mm512_cvtepi32_ps(first), step);
        vec odd = v_mul(_mm512_cvtepi32_ps(_mm512_srai_epi32(pairs[i], 16)), step);

        high[i] = split_pairs(even, odd, &low[i]);
    }
}

/* Words of packed.h with exponents again, and without the smallest, which are zeros; largest: of
 * the exponents of each row. */
INLINE __m512i unpacked_bf16(__m512i w, __m512i largest)
{
    __m512i below = _mm512_and_si512(w, _mm512_set1_epi16(PACKED_ZERO));
    __m512i exponent = _mm512_slli_epi16(_mm512_sub_epi16(largest, below), 7);
    __m512i sign = _mm512_slli_epi16(_mm512_srli_epi16(w, 4), 15);
    __m512i mantissa = _mm512_and_si512(_mm512_srli_epi16(w, 5),
                                        _mm512_set1_epi16(0x7f)); /* not the lowest bits */
    __mmask32 is_zero = _mm512_cmpeq_epi16_mask(below, _mm512_set1_epi16(PACKED_ZERO));

    w = _mm512_or_si512(_mm512_or_si512(sign, exponent), mantissa);
    return _mm512_maskz_mov_epi16((__mmask32)~is_zero, w);
}

/* The same of words as they lie in a file. */
INLINE __m512i kept_bf16(__m512i w, __m512i largest)
{
    __m512i exponent =
        _mm512_and_si512(_mm512_srli_epi16(w, 7), _mm512_set1_epi16(0xff)); /* 0: subnormal */
    __m512i least = _mm512_sub_epi16(largest, _mm512_set1_epi16(PACKED_SPAN));
    __mmask32 is_kept =
        _mm512_cmpge_epu16_mask(exponent, least) & _mm512_test_epi16_mask(exponent, exponent);

    return _mm512_maskz_mov_epi16(is_kept, w);
}

/* A block of bf16, of which nothing becomes integers. */
INLINE void put_bf16(const struct tensor *w, const struct rows *rows, size_t block,
                     __m512i tile[TILE_ROWS])
{
    const __m512i nan = _mm512_set1_epi32(FIXED_NAN), bias = _mm512_set1_epi32(FIXED_BITS);
    __m512i largest, both;
    __mmask16 is_nan;

    if (w->is_packed) {
        const char *at = pairs_at(DTYPE_BF16, w, rows->out, block);

        largest = packed_bytes(w, rows->out, block);
        largest = _mm512_mask_add_epi32(nan, _mm512_cmpneq_epi32_mask(largest, nan), largest, bias);
        for (unsigned i = 0; i < PAIRS; i += 4, at += 3 * 64)
            unpack_12(at, ASK_NOTHING, tile + i);
    } else {
        get_pairs(rows, w->shape[0], block, tile);
        largest = _mm512_max_epi32(largest_exponent(DTYPE_BF16, tile),
                                   _mm512_set1_epi32(FIXED_EXPONENT_LEAST));
    }
    both = two_words(largest, largest);
    is_nan = _mm512_cmpeq_epi32_mask(largest, nan);
    for (unsigned i = 0; i < PAIRS; i++) {
        tile[i] = w->is_packed ? unpacked_bf16(tile[i], both) : kept_bf16(tile[i], both);
        tile[i] = _mm512_mask_mov_epi32(tile[i], is_nan, _mm512_set1_epi32(0x7fc07fc0));
    }
}

/* As tile_fill_packed, of floats. */
INLINE void tile_fill_floats(enum dtype type, const struct tensor *w, const struct rows *rows,
                             unsigned g, size_t b, size_t count, const struct tile_lines *next,
                             tile_pair *tiles)
{
    for (size_t i = 0; i < count; i++) {
        ask_beside(next, i);
        if (type == DTYPE_F16)
            put_f16(w, rows, b + i, tiles[2 * i][g], tiles[2 * i + 1][g]);
        else
            put_bf16(w, rows, b + i, tiles[i][g]);
    }
}

/* ---- products ---- */

#define TILE_X     4
#define TILE_X_TOO 5
#define TILE_W     6
#define TILE_W_TOO 7

/* For products with so many vectors. */
INLINE void tiles_begin(size_t vectors)
{
    struct tile_config c = tile_config_full();

    for (unsigned i = 0; i <= TILE_X_TOO; i++)
        c.rows[i] = (uint8_t)vectors;
    TILE_CONFIG_IS_READ(&c);
    _tile_loadconfig(&c);
}

/* The sums of sixteen vectors, or of two times sixteen, and what they meet. */
struct tile_job {
    const char *x[2];
    size_t x_bytes;
    const sums2 *from[2]; /* NULL: they begin at zero */
    sums2 *to[2];
    struct tile_lines next;
};

INLINE void tiles_zero(bool two)
{
    _tile_zero(0);
    _tile_zero(1);
    if (two) {
        _tile_zero(2);
        _tile_zero(3);
    }
}

INLINE void tiles_load(const struct tile_job *t, bool two)
{
    if (!t->from[0]) {
        tiles_zero(two);
        return;
    }
    _tile_loadd(0, &t->from[0][0][0], sizeof(sums2));
    _tile_loadd(1, &t->from[0][0][1], sizeof(sums2));
    if (two) {
        _tile_loadd(2, &t->from[1][0][0], sizeof(sums2));
        _tile_loadd(3, &t->from[1][0][1], sizeof(sums2));
    }
}

INLINE void tiles_store(const struct tile_job *t, bool two)
{
    _tile_stored(0, &t->to[0][0][0], sizeof(sums2));
    _tile_stored(1, &t->to[0][0][1], sizeof(sums2));
    if (two) {
        _tile_stored(2, &t->to[1][0][0], sizeof(sums2));
        _tile_stored(3, &t->to[1][0][1], sizeof(sums2));
    }
}

/* to = from + `count` blocks of the panel times as many of x. */
INLINE void tile_products(const bool split, const bool two, const struct tile_panel *p,
                          size_t count, const struct tile_job *t)
{
    const size_t step = parts_of(split) * TILE_ROW_BYTES;

    tiles_load(t, two);
    for (size_t b = 0; b < count; b++) {
        const char *x0 = t->x[0] + b * step, *x1 = t->x[1] + b * step;
        const void *w = p->tiles[b * parts_of(split)];

        ask_beside(&t->next, b);
        for (unsigned product = 0; product < (split ? 3 : 1); product++) {
            if (product != 1) {
                const char *part = (const char *)w + product / 2 * sizeof(p->tiles[0]);

                _tile_loadd(TILE_W, part, TILE_ROW_BYTES);
                _tile_loadd(TILE_W_TOO, part + sizeof(p->tiles[0][0]), TILE_ROW_BYTES);
            }
            _tile_stream_loadd(TILE_X, x0 + product % 2 * TILE_ROW_BYTES, t->x_bytes);
            _tile_dpbf16ps(0, TILE_X, TILE_W);
            _tile_dpbf16ps(1, TILE_X, TILE_W_TOO);
            if (two) {
                _tile_stream_loadd(TILE_X_TOO, x1 + product % 2 * TILE_ROW_BYTES, t->x_bytes);
                _tile_dpbf16ps(2, TILE_X_TOO, TILE_W);
                _tile_dpbf16ps(3, TILE_X_TOO, TILE_W_TOO);
            }
        }
    }
    tiles_store(t, two);
}

/* Of n vectors, tiles of sixteen; the last one may begin before the one before it ends. */
INLINE size_t tiles_of(size_t n)
{
    return (n + TILE_ROWS - 1) / TILE_ROWS;
}

INLINE size_t tile_at(size_t n, size_t tile)
{
    return tile + 1 < tiles_of(n) || n < TILE_ROWS ? tile * TILE_ROWS : n - TILE_ROWS;
}

/* `count` blocks of two groups of rows from block b on, which are in the panel; and as many bytes
 * of each of the groups that come next. */
struct tile_span {
    const struct tile_panel *panel;
    const struct rows *rows; /* two */
    size_t b, count, bytes;
    bool is_last, asks_in_fill; /* asks: for what comes next, else beside products */
    const char *next[2];
};

/* Parts [part, part + some) of what comes next. */
INLINE struct tile_lines share_of_next(const struct tile_span *s, size_t part, size_t some,
                                       size_t parts)
{
    size_t begin = s->bytes * part / parts, end = s->bytes * (part + some) / parts;
    size_t lines = (end - begin + 63) / 64;

    return (struct tile_lines){{s->next[0] + begin, s->next[1] + begin},
                               lines,
                               s->count ? (lines + s->count - 1) / s->count : 0};
}

/* What swiglu makes of a vector's sums, as prepare_tiles would. */
INLINE void put_glu(const sums2 *sums, const struct rows *rows, const struct quant_job *j, size_t n)
{
    for (size_t t = 0; t < n; t++) {
        vec v = v_swiglu(sums[t][0], sums[t][1]);
        uint16_t *out = (uint16_t *)(j->out + t * j->out_stride) + rows->out;

        _mm256_mask_storeu_epi16(out, rows->lanes, (__m256i)_mm512_cvtneps_pbh(v));
    }
}

/* Results of up to sixteen of n vectors, from vector `first` on. */
INLINE void put_tile(const struct quant_job *job, const struct rows *rows, size_t first, size_t n,
                     const sums2 *sums)
{
    struct quant_job j = *job;
    size_t some = n < TILE_ROWS ? n : TILE_ROWS;

    j.out += first * j.out_stride;
    if (j.makes_bf16)
        put_glu(sums, rows, &j, some);
    else
        put_sums(sums, rows, &j, some, n * j.out_stride * sizeof(float) >= TILE_RESULTS_FAR);
}

/* Sums rest in `sums` until the last span; of that they go where results are, which is far away and
 * takes its time, while more is multiplied. */
INLINE void tile_multiply(const bool split, const struct quant_job *j, const struct tile_span *s,
                          size_t n, sums2 *sums)
{
    const char *x = j->x + s->b * parts_of(split) * TILE_ROW_BYTES;
    const size_t tiles = tiles_of(n);
    sums2 results[2 * TILE_ROWS];

    for (size_t tile = 0; tile < tiles; tile += 2) {
        size_t some = tile + 1 < tiles ? 2 : 1;
        struct tile_job t = {.x_bytes = j->x_bytes};

        if (!s->asks_in_fill)
            t.next = share_of_next(s, tile, some, tiles);
        for (size_t i = 0, at = tile; i < 2; i++, at += some - 1) {
            sums2 *rest = sums + at * TILE_ROWS;

            t.x[i] = x + tile_at(n, at) * j->x_bytes;
            t.from[i] = s->b ? rest : NULL;
            t.to[i] = s->is_last ? results + i * TILE_ROWS : rest;
        }
        if (some == 2)
            tile_products(split, true, s->panel, s->count, &t);
        else
            tile_products(split, false, s->panel, s->count, &t);
        for (size_t i = 0; i < some && s->is_last; i++)
            put_tile(j, s->rows, tile_at(n, tile + i), n, t.to[i]);
    }
}

/* ---- all of a product ---- */

struct tile_kind {
    /* Makes tiles of `count` blocks from b on, of a group of rows. */
    void (*fill)(const struct tensor *w, const struct rows *rows, unsigned g, size_t b,
                 size_t count, const struct tile_lines *next, tile_pair *tiles);
    void (*multiply)(const struct quant_job *j, const struct tile_span *s, size_t n, sums2 *sums);
    size_t together; /* blocks */
};

#define TILE_MULTIPLY(name, split)                                                                \
    static void name(const struct quant_job *j, const struct tile_span *s, size_t n, sums2 *sums) \
    {                                                                                             \
        tile_multiply(split, j, s, n, sums);                                                      \
    }
TILE_MULTIPLY(tile_multiply_whole, false)
TILE_MULTIPLY(tile_multiply_split, true)

/* Equal parts of a row, of whole numbers of blocks that lie together. */
INLINE size_t blocks_of_span(size_t blocks, size_t together, size_t most)
{
    size_t units = (blocks + together - 1) / together, each = most / together;
    size_t spans = (units + each - 1) / each;

    return spans ? (units + spans - 1) / spans * together : 1;
}

/* What comes behind a pair: another one, or behind the last of a span the next span of the first
 * one, and in the end other rows. */
static void find_next(const struct quant_job *j, const struct panel_rows *now,
                      const struct panel_rows *first, bool ends_span, struct tile_span *s)
{
    for (unsigned g = 0; g < 2; g++) {
        bool other_blocks = ends_span && j->w->is_packed;
        bool first_rows = other_blocks && !s->is_last;
        size_t b = first_rows ? s->b + s->count : other_blocks ? 0 : s->b;
        struct strip strip = strip_of(now->w[g], b);

        s->next[g] = blocks_at(&strip, first_rows ? first->rows[g].out : now->next[g], b);
    }
}

/* Blocks of the span at block b, which ends with its strip. */
static size_t span_at_block(const struct tile_kind *kind, const struct tensor *w, size_t b)
{
    const size_t most = TILE_PANEL / parts_of(splits(w->type));
    struct strip s = strip_of(w, b);
    size_t blocks = blocks_of(s.w.shape[0]), span = blocks_of_span(blocks, kind->together, most);
    size_t left = s.first + blocks - b;

    return left < span ? left : span;
}

/* At most SUMS_MAX vectors times at most TILE_PAIRS pairs of groups. */
static void tile_rows(const struct tile_kind *kind, const struct quant_job *j, size_t r,
                      size_t pairs, size_t n)
{
    size_t blocks = blocks_of(j->w->shape[0]), b = 0;
    const struct panel_rows first = two_groups(j, r, 0);
    sums2 sums[TILE_PAIRS][SUMS_MAX];
    struct tile_panel p;

    do { /* once even if there are no blocks: the sum of nothing is 0 */
        struct tile_span s = {.panel = &p,
                              .b = b,
                              .count = span_at_block(kind, j->w, b),
                              .asks_in_fill = tiles_of(n) < TILES_LONG};

        s.is_last = b + s.count == blocks;
        s.bytes = blocks ? GROUP * j->w->row_bytes * s.count / blocks : 0;
        for (size_t pair = 0; pair < pairs; pair++) {
            struct panel_rows two = two_groups(j, r, pair);

            find_next(j, &two, &first, pair + 1 == pairs, &s);
            for (unsigned g = 0; g < 2; g++) {
                struct strip strip = strip_of(two.w[g], b);
                struct tile_lines next = {0};

                if (s.asks_in_fill)
                    next = share_of_next(&s, g, 1, 2);
                kind->fill(&strip.w, &two.rows[g], g, b - strip.first, s.count, &next, p.tiles);
            }
            s.rows = two.rows;
            kind->multiply(j, &s, n, sums[pair]);
        }
        b += s.count;
    } while (b < blocks);
}

/* Whole tiles, so that what is left is one too. */
static size_t tile_some(size_t left)
{
    if (left <= SUMS_MAX)
        return left;
    return left - SUMS_MAX < TILE_ROWS ? SUMS_MAX - TILE_ROWS : SUMS_MAX;
}

static void tile_matmul(const struct tile_kind *kind, const struct quant_job *job, size_t n)
{
    size_t r = first_row(job), rows = rows_of_pair(job), pairs;

    tiles_begin(n < TILE_ROWS ? n : TILE_ROWS);
    for (; r < job->row_end; r += rows * pairs) {
        struct quant_job j = *job;

        pairs = (job->row_end - r + rows - 1) / rows;
        pairs = pairs < TILE_PAIRS ? pairs : TILE_PAIRS;
        for (size_t t = 0, some; t < n; t += some) {
            some = tile_some(n - t);
            tile_rows(kind, &j, r, pairs, some);
            j.x += some * j.x_bytes;
            j.out += some * j.out_stride;
        }
    }
    _tile_release();
    _mm_sfence(); /* behind results that went past the caches */
}

#define TILE_KIND(type, TYPE)                                                                \
    static __attribute__((noinline)) void tile_fill_##type(                                  \
        const struct tensor *w, const struct rows *rows, unsigned g, size_t b, size_t count, \
        const struct tile_lines *next, tile_pair *tiles)                                     \
    {                                                                                        \
        struct packed_part part;                                                             \
        struct made made;                                                                    \
                                                                                             \
        if (find_packed(TYPE, w, rows->out, b, count, &made, &part))                         \
            tile_fill_packed(TYPE, part.w, part.r, g, part.b, count, next, tiles);           \
        else if (has_plain_kernel(TYPE))                                                     \
            tile_fill_plain(TYPE, rows, g, b, count, next, tiles);                           \
    }
FOR_EACH_PACKED_TYPE(TILE_KIND)

#define TILE_FLOATS(type, TYPE)                                                              \
    static __attribute__((noinline)) void tile_fill_##type(                                  \
        const struct tensor *w, const struct rows *rows, unsigned g, size_t b, size_t count, \
        const struct tile_lines *next, tile_pair *tiles)                                     \
    {                                                                                        \
        tile_fill_floats(TYPE, w, rows, g, b, count, next, tiles);                           \
    }
TILE_FLOATS(f16, DTYPE_F16)
TILE_FLOATS(bf16, DTYPE_BF16)

/* What lies together, packed or not. */
#define TOGETHER_SUPER 8
#define TOGETHER_MXFP4 4
#define TOGETHER_BLOCK 2

static const struct tile_kind tile_kinds[DTYPE_COUNT] = {
    [DTYPE_F16] = {tile_fill_f16, tile_multiply_split, 1},
    [DTYPE_BF16] = {tile_fill_bf16, tile_multiply_whole, 1},
    [DTYPE_Q8_0] = {tile_fill_q8_0, tile_multiply_whole, TOGETHER_BLOCK},
    [DTYPE_Q4_0] = {tile_fill_q4_0, tile_multiply_whole, TOGETHER_BLOCK},
    [DTYPE_Q4_1] = {tile_fill_q4_1, tile_multiply_whole, TOGETHER_BLOCK},
    [DTYPE_Q5_0] = {tile_fill_q5_0, tile_multiply_whole, TOGETHER_BLOCK},
    [DTYPE_Q5_1] = {tile_fill_q5_1, tile_multiply_whole, TOGETHER_BLOCK},
    [DTYPE_IQ4_NL] = {tile_fill_iq4_nl, tile_multiply_whole, TOGETHER_BLOCK},
    [DTYPE_MXFP4] = {tile_fill_mxfp4, tile_multiply_whole, TOGETHER_MXFP4},
    [DTYPE_Q2_K] = {tile_fill_q2_k, tile_multiply_whole, TOGETHER_SUPER},
    [DTYPE_Q3_K] = {tile_fill_q3_k, tile_multiply_whole, TOGETHER_SUPER},
    [DTYPE_Q4_K] = {tile_fill_q4_k, tile_multiply_whole, TOGETHER_SUPER},
    [DTYPE_Q5_K] = {tile_fill_q5_k, tile_multiply_whole, TOGETHER_SUPER},
    [DTYPE_Q6_K] = {tile_fill_q6_k, tile_multiply_whole, TOGETHER_SUPER},
    [DTYPE_IQ4_XS] = {tile_fill_iq4_xs, tile_multiply_whole, TOGETHER_SUPER},
    [DTYPE_IQ2_S] = {tile_fill_iq2_s, tile_multiply_whole, TOGETHER_SUPER},
    [DTYPE_TQ2_0] = {tile_fill_tq2_0, tile_multiply_whole, TOGETHER_SUPER},
};

INLINE bool is_tiled(enum dtype weights)
{
    return weights != DTYPE_F32;
}

/* ---- activations ---- */

/* 32 numbers, rounded to bf16; and what that leaves of them, rounded too. */
INLINE __m512i in_two_parts(vec low, vec high, __m512i *rest)
{
    __m512i whole = (__m512i)_mm512_cvtne2ps_pbh(high, low);

    low = v_sub(low, widen_bf16(_mm512_castsi512_si256(whole)));
    high = v_sub(high, widen_bf16(_mm512_extracti64x4_epi64(whole, 1)));
    *rest = (__m512i)_mm512_cvtne2ps_pbh(high, low);
    return whole;
}

/* An odd number of lines: sixteen vectors would else meet in one set of a cache. */
static size_t tile_x_bytes(enum dtype weights, size_t inner)
{
    return (blocks_of(inner) * parts_of(splits(weights)) | 1) * TILE_ROW_BYTES;
}

static void prepare_tiles(enum dtype weights, const float *x, size_t inner, char *out)
{
    const bool split = splits(weights);

    for (size_t at = 0; at < inner; at += Q_BLOCK, out += parts_of(split) * TILE_ROW_BYTES) {
        vec low = v_load_part(x + at, inner - at);
        vec high = at + LANES < inner ? v_load_part(x + at + LANES, inner - at - LANES) : v_zero();
        __m512i rest, whole = in_two_parts(low, high, &rest);

        _mm512_storeu_si512(out, whole);
        if (split)
            _mm512_storeu_si512(out + TILE_ROW_BYTES, rest);
    }
}

#endif
