/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_attend.h - attention over pages of the cache, over lanes of f32, and what is stored there.
 *
 * Included by kernel_lanes.h only.
 *
 * A score is a sum over dimensions in order, one lane a key; a weighted value is a sum over the
 * keys of a block in order, one lane a dimension.  So neither depends on the rows beside it, nor on
 * how many keys its neighbours see.  What is beyond a row's last key is computed with the rest and
 * dropped before it meets anything: NaN there, or infinity, does no harm.
 *
 * With q8_0 a score is a sum over blocks of dimensions, in order, of an exact integer times both
 * scales; and the weight of a key is multiplied with the scale of its value's block first, so that
 * the sum over keys takes quants as they are.
 *
 * Six rows share every vector of keys or values, which are widened as they are loaded: the units
 * that do it are not those that multiply.  A block's scores of six rows stay in the level-1 cache,
 * its keys and values (64 KiB at 64 dimensions) in level 2 while all rows of a job pass. */
#ifndef TENSOR_KERNEL_ATTEND_H
#define TENSOR_KERNEL_ATTEND_H

#define ROW_TILE     6
#define ROWS_MAX     48  /* rows that a block is kept for; further ones read it again */
#define TILED_ROWS   192 /* the same where blocks are made into tiles: kernel_tile_attention.h */
#define BLOCK_PAGES  (ATTEND_BLOCK / ATTEND_PAGE)
#define PAGE_VECS    (ATTEND_PAGE / LANES)
#define ACCUMULATORS (ROW_TILE * ATTEND_VECS)

/* Vectors that T rows take together: few rows take more, or what adds up waits for itself.  (A loop
 * would not be a constant in time.) */
#define VECS_FOR(T)                                        \
    (PAGE_VECS * (T) <= ACCUMULATORS       ? PAGE_VECS     \
     : PAGE_VECS / 2 * (T) <= ACCUMULATORS ? PAGE_VECS / 2 \
                                           : ATTEND_VECS)

/* 2^x for x <= 0: 2^n e^(r ln 2), |r| <= 1 / 2, by its series to r^7: the rest is below 2^-27.
 * From -152 on the result is 0 in any case. */
INLINE vec v_exp2(vec x)
{
    vec n, r, p;

    x = v_max(v_set1(-152), x);
    n = v_round(x);
    r = v_sub(x, n);
    p = v_set1(0x1.ffcbfcp-17f);
    p = v_fma(p, r, v_set1(0x1.430912p-13f));
    p = v_fma(p, r, v_set1(0x1.5d87fep-10f));
    p = v_fma(p, r, v_set1(0x1.3b2ab6p-7f));
    p = v_fma(p, r, v_set1(0x1.c6b08ep-5f));
    p = v_fma(p, r, v_set1(0x1.ebfbep-3f));
    p = v_fma(p, r, v_set1(0x1.62e43p-1f));
    p = v_fma(p, r, v_set1(1));
    return v_scale2(p, n);
}

/* Up to six rows in one block of keys. */
struct row_tile {
    const float *q[ROW_TILE];
    struct x_q8 x[ROW_TILE][ATTEND_DIM_MAX / Q_BLOCK]; /* the same for keys of q8_0 */
    size_t keys[ROW_TILE]; /* of this block, at least one; never fewer than the row before */
    const void *const *k_pages, *const *v_pages; /* of this block */
    /* What is fetched while a page of keys or values is used; NULL: nothing. */
    const char *fetch_k[BLOCK_PAGES], *fetch_v[BLOCK_PAGES];
    size_t head_dim;
    const struct attention *narrows; /* has a window or a cap on scores; NULL: neither */
    size_t hidden[ROW_TILE];         /* then: keys of this block before the window */

    float *out[ROW_TILE];
    bool joins; /* out is multiplied by `mine` and what is new by `its`; else out is set */
    float mine[ROW_TILE], its[ROW_TILE];
};

/* A part of a page to come is asked for with each part of one at hand, in order: whole lines, as
 * many at a time as memory can follow, whatever the order in which those at hand are used. */
INLINE void fetch_part(const char *next, size_t part, size_t bytes)
{
    if (next && part * bytes % 64 == 0)
        fetch_level2(next + part * bytes, bytes);
}

/* acc[t][c] = q_t k_j, for C vectors of keys from `at` on. */
INLINE void score_f16(const unsigned T, const unsigned C, const struct row_tile *r, const void *run,
                      size_t at, const char *next, vec acc[ROW_TILE][PAGE_VECS])
{
    const uint16_t *k = (const uint16_t *)run + at;

    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            acc[t][c] = v_zero();
    for (size_t d = 0; d < r->head_dim; d++, k += ATTEND_PAGE) {
        vec kc[PAGE_VECS];

        fetch_part(next, at / (C * LANES) * r->head_dim + d, 2 * C * LANES);
        for (unsigned c = 0; c < C; c++)
            kc[c] = v_f16(k + c * LANES);
        for (unsigned t = 0; t < T; t++) {
            vec q = v_set1(r->q[t][d]);

            for (unsigned c = 0; c < C; c++)
                acc[t][c] = v_fma(q, kc[c], acc[t][c]);
        }
    }
}

INLINE int32_t four_of(const struct x_q8 *x, size_t i)
{
    int32_t four;

    memcpy(&four, x->q + 4 * i, sizeof(four));
    return four;
}

INLINE void score_q8(const unsigned T, const unsigned C, const struct row_tile *r, const void *run,
                     size_t at, const char *next, vec acc[ROW_TILE][PAGE_VECS])
{
    const size_t row = 4 * ATTEND_PAGE, groups = attend_groups_of(r->head_dim);
    const char *k = (const char *)run + 4 * at;
    const uint16_t *d = (const void *)((const char *)run + attend_scales_at(r->head_dim));

    d += at;
    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            acc[t][c] = v_zero();
    for (size_t b = 0; b * (Q_BLOCK / 4) < groups; b++, d += ATTEND_PAGE) {
        size_t left = groups - b * (Q_BLOCK / 4), n = left < Q_BLOCK / 4 ? left : Q_BLOCK / 4;
        ints sum[ROW_TILE][PAGE_VECS];

        for (unsigned t = 0; t < T; t++)
            for (unsigned c = 0; c < C; c++)
                sum[t][c] = i_start(r->x[t][b].minus_128_sum);
        for (size_t g = 0; g < n; g++, k += row) {
            keys4 kc[PAGE_VECS];

            fetch_part(next, at / (C * LANES) * groups + b * (Q_BLOCK / 4) + g, 4 * C * LANES);
            for (unsigned c = 0; c < C; c++)
                kc[c] = i_keys(k + 4 * c * LANES);
            for (unsigned t = 0; t < T; t++)
                for (unsigned c = 0; c < C; c++)
                    sum[t][c] = i_dot(sum[t][c], kc[c], four_of(&r->x[t][b], g));
        }
        for (unsigned c = 0; c < C; c++) {
            vec scale = v_f16(d + c * LANES);

            for (unsigned t = 0; t < T; t++)
                acc[t][c] =
                    v_fma(v_mul(v_of_ints(sum[t][c]), scale), v_set1(r->x[t][b].d), acc[t][c]);
        }
    }
}

/* p[t][j] = scale * q_t k_j, for C vectors of keys from `at` on. */
INLINE void score_keys(const unsigned T, const unsigned C, enum dtype type,
                       const struct row_tile *r, const void *run, size_t at, float scale,
                       const char *next, float *p)
{
    vec acc[ROW_TILE][PAGE_VECS];

    if (type == DTYPE_F16)
        score_f16(T, C, r, run, at, next, acc);
    else
        score_q8(T, C, r, run, at, next, acc);
    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            v_store(p + t * ATTEND_BLOCK + c * LANES, v_mul(acc[t][c], v_set1(scale)));
}

/* The scales of a page of q8_0, wanted at once when its quants are. */
INLINE void fetch_scales(const void *run, size_t head_dim)
{
    fetch((const char *)run + attend_scales_at(head_dim),
          attend_blocks_of(head_dim) * ATTEND_PAGE * sizeof(uint16_t));
}

INLINE void score_block(const unsigned T, enum dtype type, const struct row_tile *r, float scale,
                        float *p)
{
    /* Keys of q8_0 need accumulators of integers besides. */
    const unsigned C = type == DTYPE_F16   ? VECS_FOR(T)
                       : T <= ROW_TILE / 2 ? VECS_FOR(2 * T)
                                           : ATTEND_VECS / 2;
    size_t keys = r->keys[T - 1];

    for (size_t j = 0; j < keys; j += C * LANES) {
        size_t page = j / ATTEND_PAGE, at = j % ATTEND_PAGE;

        if (type != DTYPE_F16 && at == 0) {
            fetch_scales(r->v_pages[page], r->head_dim);
            if (r->fetch_k[page])
                fetch_scales(r->fetch_k[page], r->head_dim);
        }
        if (C == 1 || keys - j > C / 2 * LANES)
            score_keys(T, C, type, r, r->k_pages[page], at, scale, r->fetch_k[page], p + j);
        else
            score_keys(T, C / 2, type, r, r->k_pages[page], at, scale, r->fetch_k[page], p + j);
    }
}

/* cap * tanh(x / cap) with tanh(x) = 1 - 2 / (e^2x + 1); scores are in units of ln 2 here, and so
 * is the cap. */
INLINE void cap_scores(float cap, float *p, size_t keys)
{
    for (size_t j = 0; j < keys; j += LANES) {
        vec x = v_mul(v_load(p + j), v_set1(2 / cap));
        vec e = v_add(v_exp(x), v_set1(1));

        v_store(p + j, v_mul(v_sub(v_set1(1), v_div(v_set1(2), e)), v_set1(cap)));
    }
}

/* Scores of a row that sees so many keys of a block, the first `hidden` of which are before its
 * window.  Apart from the rest: few models have either, and the others shall not pay for it. */
static __attribute__((noinline)) void narrow_scores(const struct attention *a, float *p,
                                                    size_t keys, size_t hidden)
{
    if (a->softcap != 0)
        cap_scores(a->softcap * 0x1.715476p+0f, p, keys);
    for (size_t j = 0; j < hidden; j++)
        p[j] = -INFINITY;
}

/* Scores become weights, 2^(score - m); m and l are the largest score and the sum of weights. */
INLINE void weigh(const unsigned T, const struct row_tile *r, float *p, float *m, float *l)
{
    for (unsigned t = 0; t < T; t++, p += ATTEND_BLOCK) {
        /* Not infinity: scores of -infinity shall weigh nothing, not be NaN. */
        vec most = v_set1(-FLT_MAX), sum = v_zero();
        size_t keys = r->keys[t], end = (keys + LANES - 1) / LANES * LANES;

        for (size_t j = keys; j < end; j++)
            p[j] = -INFINITY;
        for (size_t j = 0; j < end; j += LANES)
            most = v_max(v_load(p + j), most);
        m[t] = v_most(most);
        most = v_set1(m[t]);
        for (size_t j = 0; j < end; j += LANES) {
            vec e = v_exp2(v_sub(v_load(p + j), most));

            v_store(p + j, e);
            sum = v_add(sum, e);
        }
        l[t] = quad_first(v_sum4(sum, sum, sum, sum));
    }
}

/* Brings both sides of n rows, at most LANES, to their larger scores. */
INLINE void join_sums(size_t n, float *m, float *l, const float *block_m, const float *block_l,
                      float *mine, float *its)
{
    vec m0 = v_load_part(m, n), m1 = v_load_part(block_m, n), most = v_max(m0, m1);
    vec x0 = v_exp2(v_sub(m0, most)), x1 = v_exp2(v_sub(m1, most));

    v_store_part(m, most, n);
    v_store_part(l, v_fma(v_load_part(block_l, n), x1, v_mul(v_load_part(l, n), x0)), n);
    v_store_part(mine, x0, n);
    v_store_part(its, x1, n);
}

/* The first `part` lanes of: out * mine + sum * its. */
INLINE void join_values(float *out, size_t part, float mine, float its, vec sum)
{
    if (part < LANES)
        v_store_part(out, v_fma(sum, v_set1(its), v_mul(v_load_part(out, part), v_set1(mine))),
                     part);
    else
        v_store(out, v_fma(sum, v_set1(its), v_mul(v_load(out), v_set1(mine))));
}

INLINE void put_values(const struct row_tile *r, unsigned t, size_t from, size_t part, vec sum)
{
    if (r->joins)
        join_values(r->out[t] + from, part, r->mine[t], r->its[t], sum);
    else if (part < LANES)
        v_store_part(r->out[t] + from, sum, part);
    else
        v_store(r->out[t] + from, sum);
}

INLINE size_t value_bytes(enum dtype type)
{
    return type == DTYPE_F16 ? 2 : 1;
}

INLINE void load_values(const unsigned C, enum dtype type, const char *v, size_t part, vec *to)
{
    for (unsigned c = 0; c < C; c++, v += LANES * value_bytes(type)) {
        if (type == DTYPE_F16)
            to[c] = part < LANES ? v_f16_part(v, part) : v_f16(v);
        else
            to[c] = part < LANES ? v_i8_part(v, part) : v_i8(v);
    }
}

/* Vectors of dimensions that share their weights, of C. */
INLINE unsigned vecs_alike(const unsigned C, enum dtype type)
{
    return type == DTYPE_F16 || C < Q_BLOCK / LANES ? C : Q_BLOCK / LANES;
}

#define WEIGHTS (ROW_TILE * ATTEND_BLOCK) /* of one block of dimensions: p[t][j] */

/* acc[t][c] += the values of `count` keys, which all rows see, times their weights. */
INLINE void mix_keys(const unsigned T, const unsigned C, enum dtype type, const char *v, size_t row,
                     size_t part, const char *next, size_t part_of_next, const float *p,
                     size_t count, vec acc[ROW_TILE][PAGE_VECS])
{
    const unsigned alike = vecs_alike(C, type);

    for (size_t j = 0; j < count; j++, v += row) {
        vec vc[PAGE_VECS];

        fetch_part(next, part_of_next + j, C * LANES * value_bytes(type));
        load_values(C, type, v, part, vc);
        for (unsigned t = 0; t < T; t++) {
            vec w = v_zero();

            for (unsigned c = 0; c < C; c++) {
                if (c % alike == 0)
                    w = v_set1(p[c / alike * WEIGHTS + t * ATTEND_BLOCK + j]);
                acc[t][c] = v_fma(w, vc[c], acc[t][c]);
            }
        }
    }
}

/* The weighted values of C vectors of dimensions from `from` on, each of `part` lanes. */
INLINE void mix_values(const unsigned T, const unsigned C, enum dtype type,
                       const struct row_tile *r, size_t from, size_t part, const float *p)
{
    const unsigned alike = vecs_alike(C, type);
    const size_t row = r->head_dim * value_bytes(type), offset = from * value_bytes(type);
    vec acc[ROW_TILE][PAGE_VECS];
    size_t all = r->keys[0], most = r->keys[T - 1]; /* keys that all rows see, that any sees */

    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            acc[t][c] = v_zero();
    for (size_t begin = 0; begin < most; begin += ATTEND_PAGE) {
        const char *v = (const char *)r->v_pages[begin / ATTEND_PAGE] + offset;
        const char *next = r->fetch_v[begin / ATTEND_PAGE];
        size_t column = from / (C * LANES) * ATTEND_PAGE;
        size_t page_end = begin + ATTEND_PAGE, end = page_end < most ? page_end : most;
        size_t shared_end = end < all ? end : all;
        size_t shared = shared_end > begin ? shared_end - begin : 0;

        if (next) /* asked here, it is no question for every key */
            mix_keys(T, C, type, v, row, part, next, column, p + begin, shared, acc);
        else
            mix_keys(T, C, type, v, row, part, NULL, 0, p + begin, shared, acc);
        v += shared * row;
        for (size_t j = begin + shared; j < end; j++, v += row) {
            vec vc[PAGE_VECS];

            load_values(C, type, v, part, vc);
            for (unsigned t = 0; t < T; t++) {
                for (unsigned c = 0; c < C; c++) {
                    vec w = v_set1(p[c / alike * WEIGHTS + t * ATTEND_BLOCK + j]);

                    acc[t][c] = v_if(j < r->keys[t], v_fma(w, vc[c], acc[t][c]), acc[t][c]);
                }
            }
        }
    }
    for (unsigned t = 0; t < T; t++)
        for (unsigned c = 0; c < C; c++)
            put_values(r, t, from + c * LANES, part, acc[t][c]);
}

/* Of q8_0 dimensions are taken together in whole blocks: their weights are one behind the other. */
INLINE const float *weights_for(enum dtype type, const float *p, size_t dims_before)
{
    return type == DTYPE_F16 ? p : p + dims_before / Q_BLOCK * WEIGHTS;
}

/* The dimensions [begin, end). */
INLINE void mix_dims(const unsigned T, enum dtype type, const struct row_tile *r, size_t begin,
                     size_t end, const float *p)
{
    const unsigned C = VECS_FOR(T);
    size_t from = begin;

    for (; from + C * LANES <= end; from += C * LANES)
        mix_values(T, C, type, r, from, LANES, weights_for(type, p, from - begin));
    for (; C > ATTEND_VECS && from + ATTEND_VECS * LANES <= end; from += ATTEND_VECS * LANES)
        mix_values(T, ATTEND_VECS, type, r, from, LANES, weights_for(type, p, from - begin));
    for (; from + LANES <= end; from += LANES)
        mix_values(T, 1, type, r, from, LANES, weights_for(type, p, from - begin));
    if (from < end)
        mix_values(T, 1, type, r, from, end - from, weights_for(type, p, from - begin));
}

/* Weights times the scales of one block of dimensions.  Behind a row's last key they mean nothing.
 */
INLINE void scale_weights(const unsigned T, const struct row_tile *r, size_t block, const float *p,
                          float *out)
{
    size_t scales = attend_scales_at(r->head_dim) + block * ATTEND_PAGE * sizeof(uint16_t);

    for (size_t j = 0; j < r->keys[T - 1]; j += LANES) {
        const char *v = r->v_pages[j / ATTEND_PAGE];
        vec d = v_f16(v + scales + j % ATTEND_PAGE * sizeof(uint16_t));

        for (unsigned t = 0; t < T; t++)
            v_store(out + t * ATTEND_BLOCK + j, v_mul(v_load(p + t * ATTEND_BLOCK + j), d));
    }
}

INLINE void mix_block(const unsigned T, enum dtype type, const struct row_tile *r, const float *p)
{
    const size_t most = VECS_FOR(T) * LANES > Q_BLOCK ? VECS_FOR(T) * LANES : Q_BLOCK;
    _Alignas(64) float scaled[ATTEND_PAGE / Q_BLOCK * WEIGHTS];

    if (type == DTYPE_F16) {
        mix_dims(T, type, r, 0, r->head_dim, p);
        return;
    }
    for (size_t from = 0, end; from < r->head_dim; from = end) {
        end = r->head_dim - from < most ? r->head_dim : from + most;
        for (size_t b = 0; from + b * Q_BLOCK < end; b++)
            scale_weights(T, r, from / Q_BLOCK + b, p, scaled + b * WEIGHTS);
        mix_dims(T, type, r, from, end, scaled);
    }
}

/* One block for T rows, whose sums so far are m and l. */
INLINE void tile_in_block(const unsigned T, enum dtype type, struct row_tile *r, float scale,
                          float *m, float *l)
{
    _Alignas(64) float p[WEIGHTS];
    float block_m[ROW_TILE], block_l[ROW_TILE];

    score_block(T, type, r, scale, p);
    for (unsigned t = 0; t < T && r->narrows; t++)
        narrow_scores(r->narrows, p + t * ATTEND_BLOCK, r->keys[t], r->hidden[t]);
    if (r->joins) {
        weigh(T, r, p, block_m, block_l);
        join_sums(T, m, l, block_m, block_l, r->mine, r->its);
    } else {
        weigh(T, r, p, m, l);
    }
    mix_block(T, type, r, p);
}

INLINE void some_in_block(size_t n, enum dtype type, struct row_tile *r, float scale, float *m,
                          float *l)
{
    if (n == 1)
        tile_in_block(1, type, r, scale, m, l);
    else if (n == 2)
        tile_in_block(2, type, r, scale, m, l);
    else if (n == 3)
        tile_in_block(3, type, r, scale, m, l);
    else if (n == 4)
        tile_in_block(4, type, r, scale, m, l);
    else if (n == 5)
        tile_in_block(5, type, r, scale, m, l);
    else
        tile_in_block(6, type, r, scale, m, l);
}

static void some_in_block_f16(size_t n, struct row_tile *r, float scale, float *m, float *l)
{
    some_in_block(n, DTYPE_F16, r, scale, m, l);
}

static void some_in_block_q8_0(size_t n, struct row_tile *r, float scale, float *m, float *l)
{
    some_in_block(n, DTYPE_Q8_0, r, scale, m, l);
}

INLINE float *attention_out(const struct attention *a, size_t row)
{
    return a->out + row / a->heads * a->out_stride + row % a->heads * a->head_dim;
}

/* The last tile of a block fetches the next block, page by page.  A tile that is alone also meets
 * its own pages for the first time: while it uses keys it fetches their values, and while it uses
 * values the next block's keys.  keys: from this block on. */
INLINE void plan_fetches(struct row_tile *r, size_t keys, bool is_alone)
{
    size_t pages = (keys - 1) / ATTEND_PAGE + 1;
    size_t own = pages < BLOCK_PAGES ? pages : BLOCK_PAGES;

    for (size_t p = 0; p < own; p++) {
        if (BLOCK_PAGES + p < pages) {
            r->fetch_k[p] = r->v_pages[BLOCK_PAGES + p];
            r->fetch_v[p] = r->k_pages[BLOCK_PAGES + p];
        }
        if (is_alone)
            r->fetch_k[p] = r->v_pages[p];
    }
}

/* Nobody fetched the keys of the first block. */
INLINE void fetch_keys(const struct row_tile *r, size_t keys, size_t run_bytes)
{
    for (size_t p = 0; p < BLOCK_PAGES && p * ATTEND_PAGE < keys; p++)
        fetch_level2(r->k_pages[p], run_bytes);
}

static void quantise_query(const float *q, size_t head_dim, struct x_q8 *x)
{
    size_t i = 0;

    for (; i + Q_BLOCK <= head_dim; i += Q_BLOCK)
        quantise_block(q + i, x++);
    if (i < head_dim) {
        float padded[Q_BLOCK] = {0};

        memcpy(padded, q + i, (head_dim - i) * sizeof(*q));
        quantise_block(padded, x);
    }
}

/* Of the first `keys` of a block those before the window of a position. */
INLINE size_t hidden_keys(const struct attention *a, size_t position, size_t begin, size_t keys)
{
    size_t first = attention_first_key(a, position);

    if (first <= begin)
        return 0;
    return first - begin < keys ? first - begin : keys;
}

/* One block for the rows [row, end), all of which see it.  Their values go to `partial`, or where
 * that is NULL to out, joined to what is there from the blocks before. */
static void rows_in_block(const struct attention *a, size_t row, size_t end, size_t block,
                          float *partial, float *m, float *l)
{
    size_t tiles = (end - row + ROW_TILE - 1) / ROW_TILE, begin = block * ATTEND_BLOCK;
    struct row_tile r;
    bool is_alone = tiles == 1;

    r.k_pages = a->k_pages + block * BLOCK_PAGES;
    r.v_pages = a->v_pages + block * BLOCK_PAGES;
    r.head_dim = a->head_dim;
    r.joins = !partial && block > attention_first_block(a);
    r.narrows = a->window || a->softcap != 0 ? a : NULL;
    memset(r.fetch_k, 0, sizeof(r.fetch_k));
    memset(r.fetch_v, 0, sizeof(r.fetch_v));

    for (; tiles > 0; tiles--) {
        size_t n = (end - row + tiles - 1) / tiles; /* seven are four and three */

        if (tiles == 1)
            plan_fetches(&r, a->first + a->positions - begin, is_alone);
        if (is_alone && block == attention_first_block(a))
            fetch_keys(&r, a->first + a->positions - begin, attend_run_bytes(a->type, a->head_dim));
        for (size_t t = 0; t < n; t++) {
            size_t position = (row + t) / a->heads, head = (row + t) % a->heads;
            size_t keys = a->first + position + 1 - begin;

            r.q[t] = a->q + position * a->q_stride + head * a->head_dim;
            if (a->type != DTYPE_F16)
                quantise_query(r.q[t], a->head_dim, r.x[t]);
            r.out[t] = partial ? partial + (row + t) * a->head_dim : attention_out(a, row + t);
            r.keys[t] = keys < ATTEND_BLOCK ? keys : ATTEND_BLOCK;
            r.hidden[t] = hidden_keys(a, a->first + position, begin, r.keys[t]);
        }
        /* 1 / ln 2: powers of two from here on */
        if (a->type == DTYPE_F16)
            some_in_block_f16(n, &r, a->scale * 0x1.715476p+0f, m, l);
        else
            some_in_block_q8_0(n, &r, a->scale * 0x1.715476p+0f, m, l);
        row += n;
        m += n;
        l += n;
    }
}

/* The sum of a row's weights, of which m is the largest score, with that of its sink. */
static float total_of(const struct attention *a, size_t row, float m, float l)
{
    return a->sinks ? l + exp2f(a->sinks[row % a->heads] * 0x1.715476p+0f - m) : l;
}

static void divide_row(float *out, size_t n, float total)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_store(out + i, v_div(v_load(out + i), v_set1(total)));
    if (i < n)
        v_store_part(out + i, v_div(v_load_part(out + i, n - i), v_set1(total)), n - i);
}

/* How the rows [row, end) meet a block: see rows_in_block. */
typedef void (*rows_function)(const struct attention *a, size_t row, size_t end, size_t block,
                              float *partial, float *m, float *l);

/* A block is kept for rows_max rows, TILED_ROWS at most. */
INLINE void attend_by(rows_function in_block, const unsigned rows_max, const struct attention *a)
{
    size_t rows = attention_rows(a);
    float m[TILED_ROWS], l[TILED_ROWS];

    for (size_t row = 0; row < rows; row += rows_max) {
        size_t end = rows - row < rows_max ? rows : row + rows_max;

        for (size_t b = attention_first_block(a); attention_first_row(a, b) < end; b++) {
            size_t from = attention_first_row(a, b);

            from = from > row ? from : row;
            in_block(a, from, end, b, NULL, m + (from - row), l + (from - row));
        }
        for (size_t r = row; r < end; r++)
            divide_row(attention_out(a, r), a->head_dim, total_of(a, r, m[r - row], l[r - row]));
    }
}

static void attend(const struct attention *a)
{
    attend_by(rows_in_block, ROWS_MAX, a);
}

INLINE void attend_block_by(rows_function in_block, const struct attention *a, size_t block,
                            float *partial)
{
    size_t rows = attention_rows(a), from = attention_first_row(a, block);
    float *m = partial + rows * a->head_dim;

    if (from < rows && block >= attention_first_block(a))
        in_block(a, from, rows, block, partial, m + from, m + rows + from);
}

static void attend_block(const struct attention *a, size_t block, float *partial)
{
    attend_block_by(rows_in_block, a, block, partial);
}

static void join_row(const struct attention *a, size_t row, const float *partials)
{
    size_t rows = attention_rows(a), dim = a->head_dim;
    size_t first = attention_first_block(a);
    const float *o = partials + first * attention_floats(a) + row * dim;
    const float *m = partials + first * attention_floats(a) + rows * dim + row;
    float *out = attention_out(a, row), most = *m, total = m[rows], mine, its;

    memcpy(out, o, dim * sizeof(*out));
    for (size_t b = first + 1; attention_first_row(a, b) <= row; b++) {
        size_t i = 0;

        o += attention_floats(a);
        m += attention_floats(a);
        join_sums(1, &most, &total, m, m + rows, &mine, &its);
        for (; i + LANES <= dim; i += LANES)
            join_values(out + i, LANES, mine, its, v_load(o + i));
        if (i < dim)
            join_values(out + i, dim - i, mine, its, v_load_part(o + i, dim - i));
    }
    divide_row(out, dim, total_of(a, row, most, total));
}

static void attend_join(const struct attention *a, const float *partials)
{
    for (size_t r = 0; r < attention_rows(a); r++)
        join_row(a, r, partials);
}

static void store_key(const float *x, size_t head_dim, uint16_t *page)
{
    for (size_t d = 0; d < head_dim; d += LANES) {
        size_t n = head_dim - d < LANES ? head_dim - d : LANES;
        uint16_t h[LANES];

        v_to_f16(h, v_load_part(x + d, n));
        for (size_t i = 0; i < n; i++)
            page[(d + i) * ATTEND_PAGE] = h[i];
    }
}

static void store_keys_f16(const float *x, size_t stride, size_t n, size_t head_dim, uint16_t *page,
                           size_t at)
{
    size_t whole = head_dim / 8 * 8;

    for (; n >= 8; n -= 8, x += 8 * stride, at += 8) {
        for (size_t d = 0; d < whole; d += 8)
            store_keys_8x8(x + d, stride, page + d * ATTEND_PAGE + at);
        for (size_t i = 0; i < 8 && whole < head_dim; i++)
            store_key(x + i * stride + whole, head_dim - whole,
                      page + whole * ATTEND_PAGE + at + i);
    }
    for (; n > 0; n--, x += stride, at++)
        store_key(x, head_dim, page + at);
}

/* As the type's own from_f32 does it, to the bit: by division.  Returns the scale. */
INLINE uint16_t store_block(const float *x, int8_t q[Q_BLOCK])
{
    const int32_t most_bits = most_magnitude(x);
    float most, d, quotients[Q_BLOCK];
    int32_t low, high;
    uint16_t half;

    memcpy(&most, &most_bits, sizeof(most));
    half = f32_to_f16(most_bits >= 0x7f800000 ? NAN : most / 127);
    d = f16_to_f32(half);
    if (!(d > 0 && d < INFINITY)) {
        memset(q, 0, Q_BLOCK);
        return half;
    }
    for (size_t i = 0; i < Q_BLOCK; i += LANES) {
        vec quotient = v_div(v_load(x + i), v_set1(d));

        v_store(quotients + i, v_max(v_min(quotient, v_set1(127)), v_set1(-127)));
    }
    quants(quotients, 1, q, &low, &high);
    return half;
}

/* One position of a head. */
INLINE void store_q8(const float *x, size_t head_dim, bool is_value, char *run, size_t at)
{
    uint16_t *d = (void *)(run + attend_scales_at(head_dim));

    d += at;
    for (size_t i = 0; i < head_dim; i += Q_BLOCK, d += ATTEND_PAGE) {
        size_t n = head_dim - i < Q_BLOCK ? head_dim - i : Q_BLOCK;
        float padded[Q_BLOCK] = {0};
        int8_t q[Q_BLOCK];

        memcpy(padded, x + i, n * sizeof(*x));
        *d = store_block(padded, q);
        if (is_value)
            memcpy(run + at * head_dim + i, q, n);
        for (size_t k = 0; k < n && !is_value; k += 4)
            memcpy(run + (i + k) * ATTEND_PAGE + 4 * at, q + k, 4);
    }
}

static void store_keys(enum dtype type, const float *x, size_t stride, size_t n, size_t head_dim,
                       void *run, size_t at)
{
    if (type == DTYPE_F16) {
        store_keys_f16(x, stride, n, head_dim, run, at);
        return;
    }
    for (size_t i = 0; i < n; i++)
        store_q8(x + i * stride, head_dim, false, run, at + i);
}

static void store_value_f16(const float *x, uint16_t *out, size_t n)
{
    size_t i = 0;

    for (; i + LANES <= n; i += LANES)
        v_to_f16(out + i, v_load(x + i));
    if (i < n)
        v_to_f16_part(out + i, v_load_part(x + i, n - i), n - i);
}

static void store_values(enum dtype type, const float *x, size_t stride, size_t n, size_t head_dim,
                         void *run, size_t at)
{
    for (size_t i = 0; i < n; i++) {
        if (type == DTYPE_F16)
            store_value_f16(x + i * stride, (uint16_t *)run + (at + i) * head_dim, head_dim);
        else
            store_q8(x + i * stride, head_dim, true, run, at + i);
    }
}

#endif
