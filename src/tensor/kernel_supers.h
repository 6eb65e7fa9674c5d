/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_supers.h - AMX: super-blocks, all of whose 256 products are added as integers.
 *
 * Included by kernel_avx512.c only.  A super-block's weights are d s q, with a small integer s for
 * each 32 or sixteen of them, and so integers of up to 13 bits times d.  Where one step holds for
 * 256 activations (as in llama.cpp), the sum of all 256 products is an integer times both, and is
 * the same however it is found:
 *
 *   few vectors   as elsewhere, sums of 32 or sixteen bytes, each times its s;
 *   tiles         two digits of s q, to the base of 128, which tiles multiply and add up over the
 *                 whole super-block: one sum is written to memory where other types have eight, and
 *                 no half of a tile is empty.
 *
 * Signed weights that were made unsigned, and minima, are made up for by sums of activations, as
 * integers too. */
#ifndef TENSOR_KERNEL_SUPERS_H
#define TENSOR_KERNEL_SUPERS_H

#include "tensor/kernel_tiled.h"

#define SUPER_BLOCKS (K_BLOCK / Q_BLOCK)

INLINE bool is_super(enum dtype type)
{
    return parts(type) == SUPER_BLOCKS && type != DTYPE_Q2_K;
}

/* 256 activations, q times step. */
struct x_super {
    int8_t q[K_BLOCK];
    int16_t sixteenths[16]; /* sums of q */
    int16_t blocks[SUPER_BLOCKS];
    float step;
    int32_t padding[3];
    /* Sums of blocks once more, as two bf16 that add up to them; zeros fill the row of a tile. */
    uint16_t halves[16][2];
};

INLINE const struct x_super *super_at(const char *x, size_t b)
{
    return (const struct x_super *)(const void *)x + b;
}

/* Words in both halves of lanes. */
INLINE __m512i signed_words(__m512i low, __m512i high)
{
    return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16));
}

/* ---- few vectors ---- */

/* Sums of a super-block for T vectors: of products, and of what they are off by. */
struct super_sums {
    __m512i dots[STREAM_T], off[STREAM_T];
};

INLINE __m512i super_dot(const __m512i *w, const int8_t *x, unsigned fours)
{
    __m512i even = _mm512_setzero_si512(), odd = even;

    for (unsigned i = 0; i < fours; i += 2) {
        int32_t v[2];

        memcpy(v, x + 4 * i, sizeof(v));
        even = _mm512_dpbusd_epi32(even, w[i], _mm512_set1_epi32(v[0]));
        odd = _mm512_dpbusd_epi32(odd, w[i + 1], _mm512_set1_epi32(v[1]));
    }
    return _mm512_add_epi32(even, odd);
}

/* Adds block k. */
INLINE void super_add(const unsigned T, enum dtype type, unsigned k, const __m512i w[8],
                      struct small_scales s, const struct x_super *const x[STREAM_T],
                      struct super_sums *sums)
{
    const __m512i both = signed_words(s.low, s.high);

    for (unsigned t = 0; t < T; t++) {
        const int8_t *q = x[t]->q + Q_BLOCK * k;
        __m512i dot;

        if (has_halves(type))
            dot = _mm512_add_epi32(_mm512_mullo_epi32(super_dot(w, q, 4), s.low),
                                   _mm512_mullo_epi32(super_dot(w + 4, q + 16, 4), s.high));
        else
            dot = _mm512_mullo_epi32(super_dot(w, q, 8), s.low);
        sums->dots[t] = _mm512_add_epi32(sums->dots[t], dot);
        if (!has_offset(type))
            sums->off[t] =
                _mm512_dpwssd_epi32(sums->off[t], both, two_values(x[t]->sixteenths + 2 * k));
    }
}

/* acc += the super-block. */
INLINE void super_end(const unsigned T, enum dtype type, vec d, const struct block_minima *m,
                      const struct x_super *const x[STREAM_T], struct super_sums *sums, vec *acc)
{
    for (unsigned t = 0; t < T; t++) {
        __m512i dot = sums->dots[t], off = _mm512_setzero_si512();
        vec sum;

        if (!has_offset(type))
            dot = _mm512_sub_epi32(dot, _mm512_slli_epi32(sums->off[t], 7));
        sum = v_mul(_mm512_cvtepi32_ps(dot), d);
        for (unsigned i = 0; i < 4 && has_block_minima(type); i++)
            off = _mm512_dpwssd_epi32(off, m->pair[i], two_values(x[t]->blocks + 2 * i));
        if (has_block_minima(type))
            sum = v_fma(_mm512_cvtepi32_ps(off), m->d, sum);
        acc[t] = v_fma(sum, v_set1(x[t]->step), acc[t]);
    }
}

INLINE void super_begin(const unsigned T, const struct quant_job *j, size_t b,
                        const struct x_super *x[STREAM_T], struct super_sums *sums)
{
    for (unsigned t = 0; t < T; t++) {
        x[t] = super_at(j->x + t * j->x_bytes, b);
        sums->dots[t] = sums->off[t] = _mm512_setzero_si512();
    }
}

/* Sixteen packed rows from r on, which begin a group. */
INLINE void super_stream_packed(const unsigned T, enum dtype type, const struct quant_job *j,
                                size_t r)
{
    const struct packed_unit u = packed_unit(type);
    const char *unit = tensor_row(j->w, r);
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = v_zero();
    for (size_t b = 0; b < j->w->shape[0] / K_BLOCK; b++, unit += u.bytes) {
        const struct x_super *x[STREAM_T];
        struct block_minima minima;
        struct super_sums sums;

        super_begin(T, j, b, x, &sums);
        fetch_level2(unit + j->lines_ahead, u.first);
#pragma GCC unroll 8
        for (unsigned k = 0; k < SUPER_BLOCKS; k++) {
            __m512i w[8];

            unpack(type, unit + u.first + k * u.block, j->lines_ahead, w);
            super_add(T, type, k, w, unpack_small_scales(type, unit, k), x, &sums);
        }
        if (has_block_minima(type))
            unpack_block_minima(type, unit, &minima);
        super_end(T, type, placed(type, sixteen_halves(unit)), &minima, x, &sums, acc);
    }
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(j->out + t * j->out_stride + r, lanes_of(j, r), acc[t]);
}

/* Rows as they lie in a file. */
INLINE void super_stream_rows(const unsigned T, enum dtype type, const struct quant_job *j,
                              size_t r)
{
    const size_t fetched = GROUP * block_bytes(type) / SUPER_BLOCKS;
    struct rows16 rows = sixteen_rows(j->w, r, j->row_end);
    const char *next = tensor_row(j->w, r + GROUP < j->row_end ? r + GROUP : r);
    vec acc[STREAM_T];

    for (unsigned t = 0; t < T; t++)
        acc[t] = v_zero();
    for (size_t b = 0; b < j->w->shape[0] / K_BLOCK; b++) {
        size_t offset = b * block_bytes(type);
        const struct x_super *x[STREAM_T];
        struct block_minima minima;
        struct super_sums sums;
        struct head h;

        super_begin(T, j, b, x, &sums);
        get_head(type, &rows, offset, &h);
#pragma GCC unroll 8
        for (unsigned part = 0; part < SUPER_BLOCKS; part += together(type)) {
            __m512i w[TOGETHER_MAX][8];

            get_quants(type, &rows, offset, part, &h, w);
#pragma GCC unroll 4
            for (unsigned k = 0; k < together(type); k++, next += fetched) {
                fetch(next, fetched);
                super_add(T, type, part + k, w[k], get_small_scales(type, &h, part + k), x, &sums);
            }
        }
        if (has_block_minima(type))
            get_block_minima(&h, &minima);
        super_end(T, type, h.d, &minima, x, &sums, acc);
    }
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(j->out + t * j->out_stride + rows.out, rows.lanes, acc[t]);
}

/* ---- tiles ---- */

#define SUPER_TILES 4 /* of 64 values, a row of a tile */

/* A super-block of two groups of rows.  Sums have a tile for each group and digit. */
struct super_panel {
    struct {
        __m512i high[16], low[16]; /* digits of fours of values */
    } w[SUPER_TILES][2];
    __m512i minima[2][16]; /* of blocks, each twice, as bf16; zeros fill the tile */
    vec d[2], minima_d[2];
};

/* Four values of sixteen rows, signed, times their scale, in both halves of lanes. */
INLINE void put_digits(enum dtype type, __m512i v, __m512i scale, __m512i *high, __m512i *low)
{
    const unsigned shift = place_bits(type);
    const __m512i even_bytes = _mm512_set1_epi16(0xff);
    enum { first_or_third = 0xca }; /* where the first operand is set the second, else the third */
    __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8 + shift);
    __m512i odd = _mm512_srai_epi16(v, 8 + shift);

    even = _mm512_mullo_epi16(even, scale);
    odd = _mm512_mullo_epi16(odd, scale);
    *low = _mm512_and_si512(
        _mm512_ternarylogic_epi32(even_bytes, even, _mm512_slli_epi16(odd, 8), first_or_third),
        _mm512_set1_epi8(127));
    *high = _mm512_ternarylogic_epi32(even_bytes, _mm512_srai_epi16(even, 7),
                                      _mm512_slli_epi16(odd, 1), first_or_third);
}

/* Block k of group g. */
INLINE void super_put(enum dtype type, struct super_panel *p, unsigned g, unsigned k,
                      const __m512i w[8], struct small_scales s)
{
    const __m512i flip = _mm512_set1_epi8(has_offset(type) ? 0 : -128);
    const __m512i low = signed_words(s.low, s.low), high = signed_words(s.high, s.high);
    const unsigned at = k % 2 * 8;

    for (unsigned i = 0; i < 8; i++)
        put_digits(type, _mm512_xor_si512(w[i], flip), i < 4 ? low : high,
                   &p->w[k / 2][g].high[at + i], &p->w[k / 2][g].low[at + i]);
}

INLINE void super_put_head(enum dtype type, struct super_panel *p, unsigned g, vec d,
                           const struct block_minima *m)
{
    p->d[g] = v_mul(d, v_set1(place(type)));
    if (!has_block_minima(type))
        return;
    p->minima_d[g] = m->d;
    for (unsigned i = 0; i < 4; i++) {
        p->minima[g][2 * i] = twice_bf16(bits(m->pair[i], 0, 16, 0));
        p->minima[g][2 * i + 1] = twice_bf16(bits(m->pair[i], 16, 16, 0));
    }
}

INLINE void super_unpack(enum dtype type, const struct tensor *w, size_t r, unsigned g, size_t b,
                         struct super_panel *p)
{
    const struct packed_unit u = packed_unit(type);
    const char *unit = (const char *)tensor_row(w, r) + b * u.bytes;
    struct block_minima minima;

    fetch_level2(unit + u.bytes, u.bytes); /* when the other pairs are done */
#pragma GCC unroll 8
    for (unsigned k = 0; k < SUPER_BLOCKS; k++) {
        __m512i v[8];

        unpack(type, unit + u.first + k * u.block, 0, v);
        super_put(type, p, g, k, v, unpack_small_scales(type, unit, k));
    }
    if (has_block_minima(type))
        unpack_block_minima(type, unit, &minima);
    super_put_head(type, p, g, placed(type, sixteen_halves(unit)), &minima);
}

INLINE void super_fill(enum dtype type, const struct rows16 *rows, unsigned g, size_t b,
                       struct super_panel *p)
{
    size_t offset = b * block_bytes(type);
    struct block_minima minima;
    struct head h;

    get_head(type, rows, offset, &h);
#pragma GCC unroll 8
    for (unsigned part = 0; part < SUPER_BLOCKS; part += together(type)) {
        __m512i w[TOGETHER_MAX][8];

        get_quants(type, rows, offset, part, &h, w);
#pragma GCC unroll 4
        for (unsigned k = 0; k < together(type); k++)
            super_put(type, p, g, part + k, w[k], get_small_scales(type, &h, part + k));
    }
    if (has_block_minima(type))
        get_block_minima(&h, &minima);
    super_put_head(type, p, g, h.d, &minima);
}

/* What tiles wrote, for the sixteen vectors at x and both groups; steps and sums of these. */
struct super_written {
    int32_t high[2][TILE_VECTORS][LANES], low[2][TILE_VECTORS][LANES];
    float minima[2][TILE_VECTORS][LANES];
    const char *x;
    const float *steps;
    sums2 *to;
} __attribute__((aligned(64)));

/* Adds what is written of group g for four vectors from t on. */
INLINE void super_take(enum dtype type, const struct super_panel *p, unsigned g, unsigned from,
                       const struct super_written *f)
{
#pragma GCC unroll 4
    for (unsigned t = from; t < from + 4; t++) {
        __m512i dot = _mm512_add_epi32(_mm512_slli_epi32(_mm512_load_si512(f->high[g][t]), 7),
                                       _mm512_load_si512(f->low[g][t]));
        vec sum = v_mul(_mm512_cvtepi32_ps(dot), p->d[g]);

        if (has_block_minima(type))
            sum = v_fma(_mm512_load_ps(f->minima[g][t]), p->minima_d[g], sum);
        f->to[t][g] = v_fma(sum, v_set1(f->steps[t]), f->to[t][g]);
    }
}

#define SUPER_PRODUCT(sum, tile, from)        \
    do {                                      \
        _tile_loadd(tile, from, sizeof(vec)); \
        _tile_dpbssd(sum, TILE_X, tile);      \
    } while (0)

/* Multiplies 64 values, and meanwhile adds four vectors of what was written before. */
#define SUPER_QUARTER(k)                              \
    do {                                              \
        _tile_loadd(TILE_X, x + 64 * (k), x_bytes);   \
        SUPER_PRODUCT(0, TILE_W, p->w[k][0].high);    \
        SUPER_PRODUCT(1, TILE_W_TOO, p->w[k][0].low); \
        if (before)                                   \
            super_take(type, p, 0, 4 * (k), before);  \
        SUPER_PRODUCT(2, TILE_W, p->w[k][1].high);    \
        SUPER_PRODUCT(3, TILE_W_TOO, p->w[k][1].low); \
        if (before)                                   \
            super_take(type, p, 1, 4 * (k), before);  \
    } while (0)

#define SUPER_MINIMA(g)                                       \
    do {                                                      \
        _tile_zero(TILE_SUMS);                                \
        _tile_loadd(TILE_W, p->minima[g], sizeof(vec));       \
        _tile_dpbf16ps(TILE_SUMS, TILE_X, TILE_W);            \
        _tile_stored(TILE_SUMS, out->minima[g], sizeof(vec)); \
    } while (0)

/* The panel times the vectors of `out`; adds what was written `before`, if that is not NULL. */
INLINE void super_multiply(enum dtype type, const struct super_panel *p, size_t x_bytes,
                           struct super_written *out, const struct super_written *before)
{
    const char *x = out->x;

    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    SUPER_QUARTER(0);
    SUPER_QUARTER(1);
    SUPER_QUARTER(2);
    SUPER_QUARTER(3);
    if (has_block_minima(type)) {
        _tile_loadd(TILE_X, x + offsetof(struct x_super, halves), x_bytes);
        SUPER_MINIMA(0);
        SUPER_MINIMA(1);
    }
    _tile_stored(0, out->high[0], sizeof(vec));
    _tile_stored(1, out->low[0], sizeof(vec));
    _tile_stored(2, out->high[1], sizeof(vec));
    _tile_stored(3, out->low[1], sizeof(vec));
}

/* A part of what comes after a super-block of the vectors at x: each of so many pairs of groups
 * asks for its share, since level 3 is far. */
INLINE void fetch_next_super(const char *x, size_t x_bytes, size_t pair, size_t pairs)
{
    for (size_t t = TILE_VECTORS * pair / pairs; t < TILE_VECTORS * (pair + 1) / pairs; t++)
        fetch_level2(x + t * x_bytes + sizeof(struct x_super), sizeof(struct x_super));
}

/* Steps of super-block b of all tiles' vectors, beside each other. */
INLINE void get_super_steps(const struct quant_job *j, size_t b, size_t n, float *to)
{
    for (size_t tile = 0; tile < tiles_of(n); tile++) {
        const char *x = j->x + tile_at(n, tile) * j->x_bytes;

        for (unsigned t = 0; t < TILE_VECTORS; t++)
            *to++ = super_at(x + t * j->x_bytes, b)->step;
    }
}

/* At most SUMS_MAX vectors, at least those of a tile, times at most PAIRS_MAX pairs of groups. */
INLINE void super_rows(enum dtype type, const struct quant_job *j, size_t r, size_t n)
{
    const size_t pairs = pairs_from(j, r, PAIRS_MAX);
    sums2 sums[PAIRS_MAX][SUMS_MAX];
    struct super_written written[2];
    float steps[SUMS_MAX];
    struct super_panel p;

    memset(p.minima, 0, sizeof(p.minima));
    for (size_t pair = 0; pair < pairs; pair++)
        memset(sums[pair], 0, tiles_of(n) * TILE_VECTORS * sizeof(sums[0][0]));
    for (size_t b = 0; b < j->w->shape[0] / K_BLOCK; b++) {
        get_super_steps(j, b, n, steps);
        for (size_t pair = 0; pair < pairs; pair++) {
            struct panel_rows two = two_groups(j, r, pair);
            struct super_written *before = NULL;

            for (unsigned g = 0; g < 2; g++) {
                if (j->w->is_packed)
                    super_unpack(type, two.w[g], two.rows[g].out, g, b, &p);
                else
                    super_fill(type, &two.rows[g], g, b, &p);
            }
            __asm__ volatile("" ::: "memory"); /* the panel is written */
            for (size_t tile = 0; tile < tiles_of(n); tile++) {
                struct super_written *now = &written[tile % 2];

                now->x = (const char *)super_at(j->x + tile_at(n, tile) * j->x_bytes, b);
                now->steps = steps + tile * TILE_VECTORS;
                now->to = sums[pair] + tile * TILE_VECTORS;
                fetch_next_super(now->x, j->x_bytes, pair, pairs);
                super_multiply(type, &p, j->x_bytes, now, before);
                before = now;
            }
            for (unsigned t = 0; t < TILE_VECTORS; t += 4) {
                super_take(type, &p, 0, t, before);
                super_take(type, &p, 1, t, before);
            }
        }
    }
    for (size_t pair = 0; pair < pairs; pair++)
        put_tiles(sums[pair], two_groups(j, r, pair).rows, j, n);
}

/* ---- all of a product ---- */

#define SUPER_STREAM(type, TYPE, layout, T)                                     \
    static void super_##type##_##layout##T(const struct quant_job *j, size_t r) \
    {                                                                           \
        super_stream_##layout(T, TYPE, j, r);                                   \
    }
#define SUPER_KIND(type, TYPE)                                                       \
    SUPER_STREAM(type, TYPE, packed, 1)                                              \
    SUPER_STREAM(type, TYPE, packed, 2)                                              \
    SUPER_STREAM(type, TYPE, packed, 3)                                              \
    SUPER_STREAM(type, TYPE, packed, 4)                                              \
    SUPER_STREAM(type, TYPE, packed, 5)                                              \
    SUPER_STREAM(type, TYPE, packed, 6)                                              \
    SUPER_STREAM(type, TYPE, packed, 7)                                              \
    SUPER_STREAM(type, TYPE, packed, 8)                                              \
    SUPER_STREAM(type, TYPE, rows, 1)                                                \
    SUPER_STREAM(type, TYPE, rows, 2)                                                \
    SUPER_STREAM(type, TYPE, rows, 4)                                                \
    static void super_##type##_panels(const struct quant_job *j, size_t r, size_t n) \
    {                                                                                \
        super_rows(TYPE, j, r, n);                                                   \
    }                                                                                \
    static const struct tiled_kind supers_##type = {                                 \
        {super_##type##_packed1, super_##type##_packed2, super_##type##_packed3,     \
         super_##type##_packed4, super_##type##_packed5, super_##type##_packed6,     \
         super_##type##_packed7, super_##type##_packed8},                            \
        {super_##type##_rows1, super_##type##_rows2, super_##type##_rows4},          \
        .panels = super_##type##_panels};

SUPER_KIND(q3_k, DTYPE_Q3_K)
SUPER_KIND(q4_k, DTYPE_Q4_K)
SUPER_KIND(q5_k, DTYPE_Q5_K)
SUPER_KIND(q6_k, DTYPE_Q6_K)
SUPER_KIND(iq4_xs, DTYPE_IQ4_XS)

/* ---- activations ---- */

static size_t prepared_bytes_supers(size_t inner)
{
    return inner / K_BLOCK * sizeof(struct x_super) + 64; /* see prepared_bytes_biased */
}

/* Sums of q, which are those of its sixteenths and blocks. */
INLINE void put_super_sums(struct x_super *x)
{
    __m256i sums;
    __m128i blocks;
    __m512i wide, low, high;

    for (unsigned i = 0; i < 4; i++) {
        __m512i s = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_set1_epi8(1),
                                        _mm512_loadu_si512(x->q + 64 * i));

        s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, 0xb1));
        s = _mm512_add_epi32(s, _mm512_shuffle_epi32(s, 0x4e));
        _mm_storel_epi64(
            (void *)(x->sixteenths + 4 * i),
            _mm_packs_epi32(_mm512_castsi512_si128(_mm512_maskz_compress_epi32(0x1111, s)),
                            _mm_setzero_si128()));
    }
    sums = _mm256_loadu_si256((const void *)x->sixteenths);
    sums = _mm256_madd_epi16(sums, _mm256_set1_epi16(1));
    blocks = _mm_packs_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    _mm_storeu_si128((void *)x->blocks, blocks);
    wide = _mm512_zextsi256_si512(sums);
    low = _mm512_sub_epi32(
        _mm512_and_si512(_mm512_add_epi32(wide, _mm512_set1_epi32(64)), _mm512_set1_epi32(127)),
        _mm512_maskz_set1_epi32(0xff, 64));
    high = _mm512_sub_epi32(wide, low);
    low = _mm512_castps_si512(_mm512_cvtepi32_ps(low)); /* both have zeros below their bf16 */
    high = _mm512_castps_si512(_mm512_cvtepi32_ps(high));
    _mm512_storeu_si512(x->halves, _mm512_maskz_or_epi32(0xff, _mm512_srli_epi32(low, 16), high));
}

/* The largest magnitude of n numbers; NaN, as an integer the largest of all, if there is one. */
INLINE float largest_magnitude(const float *x, size_t n)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    __m512i most_bits = _mm512_setzero_si512();
    int32_t bits;
    float most;

    for (size_t i = 0; i < n; i += LANES)
        most_bits = _mm512_max_epi32(
            most_bits, _mm512_and_si512(_mm512_castps_si512(v_load_part(x + i, n - i)), magnitude));
    bits = _mm512_reduce_max_epi32(most_bits);
    memcpy(&most, &bits, sizeof(most));
    return most;
}

INLINE void prepare_super(const float *x, struct x_super *out)
{
    const float most = largest_magnitude(x, K_BLOCK);

    if (!(most >= STEP_LEAST && most < STEP_MOST)) {
        *out = (struct x_super){.step = most < STEP_LEAST ? 0 : NAN};
        return;
    }
    out->step = most / 127;
    for (unsigned i = 0; i < K_BLOCK; i += LANES) {
        __m512i q = _mm512_cvtps_epi32(v_mul(v_load(x + i), v_set1(1 / out->step)));

        _mm_storeu_si128((void *)(out->q + i), _mm512_cvtsepi32_epi8(q));
    }
    put_super_sums(out);
}

static void prepare_supers(const float *x, size_t inner, struct x_super *out)
{
    for (size_t b = 0; b < inner / K_BLOCK; b++)
        prepare_super(x + b * K_BLOCK, out + b);
}

#endif
