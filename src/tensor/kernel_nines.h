/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_nines.h - AMX: blocks of 32 weights with a scale each, and activations of nine bits.
 *
 * Included by kernel_avx512.c only.  What a tile wrote has to become a float and meet a scale, and
 * these operations are what a product of a block waits for, not the tiles.  So they are few:
 * one step holds for a span of up to 256 activations, and it is met once a span:
 *
 *   sum over spans of step (sum over blocks of d (sum of products, an integer))
 *
 * A block of 32 would leave half of a tile empty.  Instead activations have nine bits, which more
 * than makes up for the longer reach of their step: x = a + b, both of eight bits, and a tile's row
 * has 32 of a and 32 of b, where weights are there twice.  The integer is the same however it is
 * found, by tiles or, for few vectors, with vpdpbusd. */
#ifndef TENSOR_KERNEL_NINES_H
#define TENSOR_KERNEL_NINES_H

#include "tensor/kernel_supers.h"

#define NINE_MOST   254 /* of activations */
#define NINE_BLOCKS 8   /* of a span, at most */
#define NINE_BYTES  (2 * Q_BLOCK)

/* Scales of mxfp4 may be so small that they are lost; types with an offset for each block are
 * rare. */
INLINE bool has_nines(enum dtype type)
{
    return type == DTYPE_Q8_0 || type == DTYPE_Q4_0 || type == DTYPE_Q5_0 || type == DTYPE_IQ4_NL;
}

/* ---- activations ----
 *
 * Of each block, 32 times a and 32 times b; then of each block -128 times its sum, which makes up
 * for unsigned weights; then a step for each span. */

INLINE struct spans nine_spans(size_t inner)
{
    return spans_of(inner / Q_BLOCK, NINE_BLOCKS);
}

INLINE const char *nine_starts(const char *x, const struct spans *s)
{
    return x + s->units * NINE_BYTES;
}

INLINE int32_t nine_start(const char *x, const struct spans *s, size_t block)
{
    int32_t start;

    memcpy(&start, nine_starts(x, s) + block * sizeof(start), sizeof(start));
    return start;
}

INLINE float nine_step(const char *x, const struct spans *s, size_t span)
{
    float step;

    memcpy(&step, nine_starts(x, s) + (s->units + span) * sizeof(step), sizeof(step));
    return step;
}

/* An odd number of lines: the same block of the vectors of a tile would else be in few sets of the
 * cache. */
static size_t prepared_bytes_nines(size_t inner)
{
    const struct spans s = nine_spans(inner);
    size_t bytes = s.units * NINE_BYTES + (s.units + s.spans) * sizeof(float);

    return ((bytes + 63) / 64 | 1) * 64;
}

/* A block; returns its start. */
INLINE int32_t put_nines(const float *x, float inverse, char *to)
{
    __m512i sum = _mm512_setzero_si512();

    for (unsigned i = 0; i < Q_BLOCK; i += LANES) {
        __m512i q = _mm512_cvtps_epi32(v_mul(v_load(x + i), v_set1(inverse)));
        __m512i a = _mm512_srai_epi32(q, 1);

        _mm_storeu_si128((void *)(to + i), _mm512_cvtepi32_epi8(a));
        _mm_storeu_si128((void *)(to + Q_BLOCK + i), _mm512_cvtepi32_epi8(_mm512_sub_epi32(q, a)));
        sum = _mm512_add_epi32(sum, q);
    }
    return -128 * _mm512_reduce_add_epi32(sum);
}

/* A span of `blocks`; returns its step. */
INLINE float prepare_nine_span(const float *x, size_t blocks, char *to, char *starts)
{
    const float most = largest_magnitude(x, blocks * Q_BLOCK);
    float step;

    if (!(most >= STEP_LEAST && most < STEP_MOST)) {
        memset(to, 0, blocks * NINE_BYTES);
        memset(starts, 0, blocks * sizeof(int32_t));
        return most < STEP_LEAST ? 0 : NAN;
    }
    step = most / NINE_MOST;
    for (size_t b = 0; b < blocks; b++) {
        int32_t start = put_nines(x + b * Q_BLOCK, 1 / step, to + b * NINE_BYTES);

        memcpy(starts + b * sizeof(start), &start, sizeof(start));
    }
    return step;
}

static void prepare_nines(const float *x, size_t inner, char *out)
{
    const struct spans s = nine_spans(inner);
    char *starts = out + s.units * NINE_BYTES, *steps = starts + s.units * sizeof(int32_t);

    for (size_t span = 0; span < s.spans; span++) {
        size_t first = span * s.each;
        float step = prepare_nine_span(x + first * Q_BLOCK, units_in(&s, span),
                                       out + first * NINE_BYTES, starts + first * sizeof(int32_t));

        memcpy(steps + span * sizeof(step), &step, sizeof(step));
    }
}

/* ---- weights ---- */

/* Block b of sixteen rows, as unpack gives it; returns their scales.  Lines are asked for so far
 * ahead, if rows are packed. */
INLINE vec nine_block(enum dtype type, const bool is_packed, const struct tensor *w,
                      const struct rows16 *rows, size_t b, size_t ahead, __m512i v[8])
{
    const struct packed_unit u = packed_unit(type);
    const char *unit;
    struct head h;

    if (!is_packed) {
        get_head(type, rows, b * block_bytes(type), &h);
        get_quants(type, rows, b * block_bytes(type), 0, &h, (__m512i(*)[8])v);
        return h.d;
    }
    unit = (const char *)tensor_row(w, rows->out) + b / u.blocks * u.bytes;
    if (b % u.blocks == 0 && ahead)
        fetch_level2(unit + ahead, u.first);
    unpack(type, unit + u.first + b % u.blocks * u.block, ahead, v);
    return placed(type, sixteen_halves(unit + b % u.blocks * 32));
}

/* acc + d times the integers. */
INLINE vec nine_add(__m512i sum, vec d, vec acc)
{
    return v_fma(_mm512_cvtepi32_ps(sum), d, acc);
}

/* ---- few vectors ---- */

INLINE __m512i nine_dot(const __m512i w[8], const char *x, int32_t start)
{
    __m512i a = _mm512_set1_epi32(start), b = _mm512_setzero_si512();

    for (unsigned i = 0; i < 8; i++) {
        int32_t four[2];

        memcpy(&four[0], x + 4 * i, sizeof(four[0]));
        memcpy(&four[1], x + Q_BLOCK + 4 * i, sizeof(four[1]));
        a = _mm512_dpbusd_epi32(a, w[i], _mm512_set1_epi32(four[0]));
        b = _mm512_dpbusd_epi32(b, w[i], _mm512_set1_epi32(four[1]));
    }
    return _mm512_add_epi32(a, b);
}

/* Sixteen rows from r on, times T vectors. */
INLINE void nine_stream(const unsigned T, enum dtype type, const bool is_packed,
                        const struct quant_job *j, size_t r)
{
    const struct spans s = nine_spans(j->w->shape[0]);
    struct rows16 rows = {.out = r, .lanes = lanes_of(j, r)};
    vec all[STREAM_T];

    if (!is_packed)
        rows = sixteen_rows(j->w, r, j->row_end);
    for (unsigned t = 0; t < T; t++)
        all[t] = v_zero();
    for (size_t span = 0, b = 0; span < s.spans; span++) {
        const size_t end = b + units_in(&s, span);
        vec acc[STREAM_T];

        for (unsigned t = 0; t < T; t++)
            acc[t] = v_zero();
        for (; b < end; b++) {
            __m512i w[8];
            vec d = nine_block(type, is_packed, j->w, &rows, b, j->lines_ahead, w);

            for (unsigned t = 0; t < T; t++) {
                const char *x = j->x + t * j->x_bytes;

                acc[t] = nine_add(nine_dot(w, x + b * NINE_BYTES, nine_start(x, &s, b)), d, acc[t]);
            }
        }
        for (unsigned t = 0; t < T; t++)
            all[t] = v_fma(acc[t], v_set1(nine_step(j->x + t * j->x_bytes, &s, span)), all[t]);
    }
    for (unsigned t = 0; t < T; t++)
        _mm512_mask_storeu_ps(j->out + t * j->out_stride + rows.out, rows.lanes, all[t]);
}

/* ---- tiles ---- */

/* A block of sixteen rows, signed, twice. */
typedef __m512i nine_tile[16];

/* A span of two groups of rows. */
struct nine_panel {
    nine_tile w[2][NINE_BLOCKS];
    vec d[2][NINE_BLOCKS];
};

INLINE void nine_put(const __m512i v[8], nine_tile to)
{
    for (unsigned i = 0; i < 8; i++)
        to[i] = to[i + 8] = _mm512_xor_si512(v[i], _mm512_set1_epi8(-128));
}

/* `count` blocks from b on. */
INLINE void nine_fill(enum dtype type, const struct tensor *w, const struct rows16 *rows, size_t b,
                      size_t count, nine_tile to[], vec d[])
{
    for (size_t i = 0; i < count; i++) {
        __m512i v[8];

        d[i] = w->is_packed ? nine_block(type, true, w, rows, b + i, 0, v)
                            : nine_block(type, false, w, rows, b + i, 0, v);
        nine_put(v, to[i]);
    }
}

/* Asks for `count` blocks of packed rows from b on, which are met when all other pairs were. */
INLINE void nine_fetch(enum dtype type, const struct tensor *w, size_t r, size_t b, size_t count)
{
    const struct packed_unit u = packed_unit(type);

    fetch_level2((const char *)tensor_row(w, r) + b * u.bytes / u.blocks,
                 count * u.bytes / u.blocks);
}

/* Where a round of at most IN_FLIGHT products begins, in activations and in a panel's group. */
struct nine_round {
    const char *x;
    const nine_tile *w;
    size_t products; /* of this round and those behind it */
};

/* Begins with product `at` of a round. */
#define NINE_BEGIN(at, r)                                       \
    do {                                                        \
        _tile_zero(at);                                         \
        _tile_loadd(TILE_X, (r)->x + (at)*NINE_BYTES, x_bytes); \
        _tile_loadd(TILE_W, (r)->w[at], sizeof((r)->w[0][0]));  \
        _tile_dpbssd(at, TILE_X, TILE_W);                       \
    } while (0)

/* Writes product `at` of this round and begins with that of the next; adds what was written. */
#define NINE_TURN(at)                                  \
    do {                                               \
        _tile_stored(at, sums, sizeof(sums[0]));       \
        if ((at) < next.products)                      \
            NINE_BEGIN(at, &next);                     \
        if ((at) < now.products)                       \
            nine_take(TILE_VECTORS, sums, d[at], acc); \
    } while (0)

/* Adds what a tile of so many vectors wrote. */
INLINE void nine_take(const unsigned T, const int32_t sums[TILE_VECTORS][LANES], vec d,
                      vec acc[TILE_VECTORS])
{
#pragma GCC unroll 16
    for (unsigned t = 0; t < T; t++)
        acc[t] = nine_add(_mm512_load_si512(sums[t]), d, acc[t]);
}

/* Begins with the first products of a round. */
INLINE void nine_begin(const struct nine_round *r, size_t x_bytes)
{
    NINE_BEGIN(0, r);
    if (r->products > 1)
        NINE_BEGIN(1, r);
    if (r->products > 2)
        NINE_BEGIN(2, r);
    if (r->products > 3)
        NINE_BEGIN(3, r);
}

/* Group g of sums += (a group of rows of a panel times the vectors of a tile) steps.  Its first
 * products have begun; begins with those of `behind`. */
INLINE void nine_group(struct nine_round now, struct nine_round behind, size_t x_bytes,
                       const vec *d, const float steps[TILE_VECTORS], sums2 *sums_of, unsigned g)
{
    int32_t sums[TILE_VECTORS][LANES] __attribute__((aligned(64)));
    struct nine_round next;
    vec acc[TILE_VECTORS];

#pragma GCC unroll 16
    for (unsigned t = 0; t < TILE_VECTORS; t++)
        acc[t] = v_zero();
    for (;; d += IN_FLIGHT, now = next) {
        next = behind;
        if (now.products > IN_FLIGHT)
            next = (struct nine_round){now.x + IN_FLIGHT * NINE_BYTES, now.w + IN_FLIGHT,
                                       now.products - IN_FLIGHT};
        NINE_TURN(0);
        NINE_TURN(1);
        NINE_TURN(2);
        NINE_TURN(3);
        if (now.products <= IN_FLIGHT)
            break;
    }
#pragma GCC unroll 16
    for (unsigned t = 0; t < TILE_VECTORS; t++)
        sums_of[t][g] = v_fma(acc[t], v_set1(steps[t]), sums_of[t][g]);
}

/* Steps of a span of all tiles' vectors, beside each other. */
INLINE void get_nine_steps(const struct quant_job *j, const struct spans *s, size_t span, size_t n,
                           float *to)
{
    for (size_t tile = 0; tile < tiles_of(n); tile++)
        for (size_t t = tile_at(n, tile), end = t + TILE_VECTORS; t < end; t++)
            *to++ = nine_step(j->x + t * j->x_bytes, s, span);
}

/* The panel times n vectors, which begin with its span at x. */
INLINE void nine_multiply(const struct nine_panel *p, size_t count, const char *x, size_t x_bytes,
                          size_t n, const float *steps, sums2 *sums)
{
    const struct nine_round none = {.products = 0};
    struct nine_round first = {x, p->w[0], count}, second, next;

    __asm__ volatile("" ::: "memory"); /* the panel is written */
    nine_begin(&first, x_bytes);
    for (size_t tile = 0; tile < tiles_of(n); tile++, first = next) {
        second = (struct nine_round){first.x, p->w[1], count};
        next = none;
        if (tile + 1 < tiles_of(n))
            next = (struct nine_round){x + tile_at(n, tile + 1) * x_bytes, p->w[0], count};
        nine_group(first, second, x_bytes, p->d[0], steps, sums, 0);
        nine_group(second, next, x_bytes, p->d[1], steps, sums, 1);
        steps += TILE_VECTORS;
        sums += TILE_VECTORS;
    }
}

/* SUMS_MAX vectors at most, a tile at least, times PAIRS_MAX pairs of groups at most. */
INLINE void nine_panels(enum dtype type, const struct quant_job *j, size_t r, size_t n)
{
    const struct spans s = nine_spans(j->w->shape[0]);
    const size_t pairs = pairs_from(j, r, PAIRS_MAX);
    sums2 sums[PAIRS_MAX][SUMS_MAX];
    float steps[SUMS_MAX];
    struct nine_panel p;

    for (size_t pair = 0; pair < pairs; pair++)
        memset(sums[pair], 0, tiles_of(n) * TILE_VECTORS * sizeof(sums[0][0]));
    for (size_t span = 0; span < s.spans; span++) {
        const size_t b = span * s.each, count = units_in(&s, span);

        get_nine_steps(j, &s, span, n, steps);
        for (size_t pair = 0; pair < pairs; pair++) {
            struct panel_rows two = two_groups(j, r, pair);

            for (unsigned g = 0; g < 2; g++) {
                if (j->w->is_packed)
                    nine_fetch(type, two.w[g], two.rows[g].out, b + count, count);
                nine_fill(type, two.w[g], &two.rows[g], b, count, p.w[g], p.d[g]);
            }
            nine_multiply(&p, count, j->x + b * NINE_BYTES, j->x_bytes, n, steps, sums[pair]);
        }
    }
    for (size_t pair = 0; pair < pairs; pair++)
        put_tiles(sums[pair], two_groups(j, r, pair).rows, j, n);
}

/* ---- a tile of vectors at most ---- */

#define FEW_LEAST 5 /* fewer are streamed */

/* A group of rows meets a tile of vectors: blocks that are made, multiplied, written and added up,
 * each step a few blocks behind the one before, since memory has to be written before tiles read
 * it. */
struct nine_few {
    const struct quant_job *j;
    struct spans spans;
    struct rows16 rows;
    size_t n;
    size_t span, end; /* that is added up, and where it ends */
    vec all[TILE_VECTORS], d[IN_FLIGHT];
    nine_tile w[IN_FLIGHT];
    int32_t sums[IN_FLIGHT][TILE_VECTORS][LANES];
} __attribute__((aligned(64)));

INLINE void nine_few_make(enum dtype type, struct nine_few *f, size_t b, unsigned at)
{
    const struct quant_job *j = f->j;
    __m512i v[8];

    f->d[at] = j->w->is_packed ? nine_block(type, true, j->w, &f->rows, b, j->lines_ahead, v)
                               : nine_block(type, false, j->w, &f->rows, b, 0, v);
    nine_put(v, f->w[at]);
    __asm__ volatile("" ::: "memory"); /* it is written */
}

/* Adds block b; at the end of a span, that. */
INLINE void nine_few_take(const unsigned T, struct nine_few *f, size_t b, unsigned at,
                          vec acc[TILE_VECTORS])
{
    nine_take(T, f->sums[at], f->d[at], acc);
    if (b + 1 < f->end)
        return;
    for (unsigned t = 0; t < T; t++) {
        const char *x = f->j->x + (t < f->n ? t : 0) * f->j->x_bytes;

        f->all[t] = v_fma(acc[t], v_set1(nine_step(x, &f->spans, f->span)), f->all[t]);
        acc[t] = v_zero();
    }
    f->end += units_in(&f->spans, ++f->span);
}

/* Block b is made in slot `at`; others, so many before, are written, added and multiplied. */
#define NINE_FEW(at, written, multiplied)                                      \
    do {                                                                       \
        if (b + (at) >= 3)                                                     \
            _tile_stored(written, f.sums[written], sizeof(f.sums[0][0]));      \
        if (b + (at) >= 4 && b + (at)-4 < f.spans.units)                       \
            nine_few_take(T, &f, b + (at)-4, at, acc);                         \
        if (b + (at) < f.spans.units)                                          \
            nine_few_make(type, &f, b + (at), at);                             \
        if (b + (at) >= 2 && b + (at)-2 < f.spans.units) {                     \
            _tile_zero(multiplied);                                            \
            _tile_loadd(TILE_X, j->x + (b + (at)-2) * NINE_BYTES, j->x_bytes); \
            _tile_loadd(TILE_W, f.w[multiplied], sizeof(f.w[0][0]));           \
            _tile_dpbssd(multiplied, TILE_X, TILE_W);                          \
        }                                                                      \
    } while (0)

/* Sixteen rows from r on times n vectors, at most T. */
INLINE void nine_few(const unsigned T, enum dtype type, const struct quant_job *j, size_t r,
                     size_t n)
{
    vec acc[TILE_VECTORS]; /* apart: registers */
    struct nine_few f;

    f.j = j;
    f.n = n;
    f.spans = nine_spans(j->w->shape[0]);
    f.span = 0;
    for (unsigned t = 0; t < T; t++)
        f.all[t] = acc[t] = v_zero();
    for (unsigned i = 0; i < IN_FLIGHT && n < T; i++) /* what no vector writes stays zero */
        memset(f.sums[i][n], 0, (T - n) * sizeof(f.sums[i][n]));
    f.rows = (struct rows16){.out = r, .lanes = lanes_of(j, r)};
    if (!j->w->is_packed)
        f.rows = sixteen_rows(j->w, r, j->row_end);
    f.end = f.spans.units ? units_in(&f.spans, 0) : 0;
    for (size_t b = 0; b < f.spans.units + 4; b += 4) {
        NINE_FEW(0, 1, 2);
        NINE_FEW(1, 2, 3);
        NINE_FEW(2, 3, 0);
        NINE_FEW(3, 0, 1);
    }
    for (unsigned t = 0; t < n; t++)
        _mm512_mask_storeu_ps(j->out + t * j->out_stride + f.rows.out, f.rows.lanes, f.all[t]);
}

/* ---- one vector, long rows of q8_0: as they lie (kernel_quants.h) ---- */

/* Blocks b to b + 3 (count of them; beyond the end the last stands in) of four rows, times x. */
INLINE __m128 nine_four_by_four(const char *const rows[4], const char *x, const struct spans *s,
                                size_t b, size_t count, __m128 acc)
{
    const __m512i quarters = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    int32_t starts[4];
    __m512i sums[2], sum;
    size_t at[4];
    vec v;

    for (unsigned k = 0; k < 4; k++) {
        at[k] = b + (k < count ? k : count - 1);
        starts[k] = nine_start(x, s, at[k]);
    }
    for (unsigned h = 0; h < 2; h++) {
        const char *first = x + at[2 * h] * NINE_BYTES, *second = x + at[2 * h + 1] * NINE_BYTES;
        __m512i one = _mm512_loadu_si512(first), other = _mm512_loadu_si512(second);
        __m512i xa = _mm512_shuffle_i64x2(one, other, 0x44);
        __m512i xb = _mm512_shuffle_i64x2(one, other, 0xee), dots[4];

        for (unsigned r = 0; r < 4; r++) {
            __m512i w = two_blocks(rows[r] + at[2 * h] * sizeof(struct block_q8_0),
                                   rows[r] + at[2 * h + 1] * sizeof(struct block_q8_0));

            dots[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w, xa);
            dots[r] = _mm512_dpbusd_epi32(dots[r], w, xb);
        }
        sums[h] = sum_quarters(dots);
    }
    sum = _mm512_add_epi32(_mm512_shuffle_i32x4(sums[0], sums[1], 0x88),
                           _mm512_shuffle_i32x4(sums[0], sums[1], 0xdd));
    sum = _mm512_add_epi32(sum, _mm512_permutexvar_epi32(quarters, load16((const char *)starts)));
    for (unsigned k = 0; k < 4; k++)
        at[k] *= sizeof(struct block_q8_0);
    v = _mm512_cvtepi32_ps(sum);
    return add_quarters(v, four_scales(rows, at), count, acc);
}

/* Four rows from r on. */
INLINE void nine_stream_four(const struct quant_job *j, size_t r)
{
    const char *next = tensor_row(j->w, r + 4 < j->row_end ? r + 4 : r);
    const struct spans s = nine_spans(j->w->shape[0]);
    struct four w = four_rows(j->w, r, j->row_end);
    __m128 all = _mm_setzero_ps();

    for (size_t span = 0, b = 0; span < s.spans; span++) {
        const size_t end = b + units_in(&s, span);
        __m128 acc = _mm_setzero_ps();

        for (size_t count; b < end; b += count) {
            count = end - b < 4 ? end - b : 4;
            fetch(next + 4 * b * sizeof(struct block_q8_0), 4 * count * sizeof(struct block_q8_0));
            acc = nine_four_by_four(w.row, j->x, &s, b, count, acc);
        }
        all = _mm_fmadd_ps(acc, _mm_set1_ps(nine_step(j->x, &s, span)), all);
    }
    put_rows(all, j->out + r, j->row_end - r);
}

/* ---- all of a product ---- */

#define NINE_STREAM(type, TYPE, layout, is_packed, T)                          \
    static void nine_##type##_##layout##T(const struct quant_job *j, size_t r) \
    {                                                                          \
        nine_stream(T, TYPE, is_packed, j, r);                                 \
    }
#define NINE_KIND(type, TYPE)                                                           \
    NINE_STREAM(type, TYPE, packed, true, 1)                                            \
    NINE_STREAM(type, TYPE, packed, true, 2)                                            \
    NINE_STREAM(type, TYPE, packed, true, 3)                                            \
    NINE_STREAM(type, TYPE, packed, true, 4)                                            \
    NINE_STREAM(type, TYPE, rows, false, 1)                                             \
    NINE_STREAM(type, TYPE, rows, false, 2)                                             \
    NINE_STREAM(type, TYPE, rows, false, 4)                                             \
    static void nine_##type##_few(const struct quant_job *j, size_t r, size_t n)        \
    {                                                                                   \
        if (n <= TILE_VECTORS / 2)                                                      \
            nine_few(TILE_VECTORS / 2, TYPE, j, r, n);                                  \
        else                                                                            \
            nine_few(TILE_VECTORS, TYPE, j, r, n);                                      \
    }                                                                                   \
    static void nine_##type##_panels(const struct quant_job *j, size_t r, size_t n)     \
    {                                                                                   \
        nine_panels(TYPE, j, r, n);                                                     \
    }                                                                                   \
    static const struct tiled_kind nines_##type = {                                     \
        .packed = {nine_##type##_packed1, nine_##type##_packed2, nine_##type##_packed3, \
                   nine_##type##_packed4},                                              \
        .plain = {nine_##type##_rows1, nine_##type##_rows2, nine_##type##_rows4},       \
        .few = nine_##type##_few,                                                       \
        .few_least = FEW_LEAST,                                                         \
        .few_rows = GROUP,                                                              \
        .panels = nine_##type##_panels};

NINE_KIND(q8_0, DTYPE_Q8_0)
NINE_KIND(q4_0, DTYPE_Q4_0)
NINE_KIND(q5_0, DTYPE_Q5_0)
NINE_KIND(iq4_nl, DTYPE_IQ4_NL)

static void nine_matmul(const struct tiled_kind *kind, const struct quant_job *j, size_t n)
{
    if (n > 1 || j->w->type != DTYPE_Q8_0 || j->w->is_packed || j->w->row_bytes < LONG_ROW) {
        tiled_matmul(kind, j, n);
        return;
    }
    for (size_t r = j->row_begin; r < j->row_end; r += 4)
        nine_stream_four(j, r);
}

#endif
