/* SPDX-License-Identifier: Apache-2.0 */
/* backend.h - where kernels meet the rest: one table per kind of processor.
 *
 * Promise: an output element is computed by the same operations in the same order whatever the
 * number of rows, vectors or threads of the call it is part of.  So results do not depend on batch
 * or thread count. (Between back ends the last bits may differ.)  Kernels allocate nothing, keep no
 * state, and may be called by any number of threads on disjoint outputs.  No pointer need be
 * aligned beyond its element, unless said so. NaN and infinity pass through;
 * nothing traps. */
#ifndef TENSOR_BACKEND_H
#define TENSOR_BACKEND_H

#include "tensor/tensor.h"

#include <stdbool.h>

#define ATTEND_PAGE    64   /* positions in a page of the cache */
#define ATTEND_BLOCK   256  /* keys that get one softmax; blocks are then added up in order */
#define ATTEND_DIM_MAX 1024 /* of a head */

/* Keys and values of one head in a page of the cache: a run of each.  Keys lie by dimension and
 * values by position, so that either product runs along memory, with no sum across lanes.
 *
 *   f16    keys [head_dim][ATTEND_PAGE], values [ATTEND_PAGE][head_dim]
 *   q8_0   int8 quants, and behind them the f16 scales of blocks of 32 dimensions, the last of
 * which may be shorter: [blocks][ATTEND_PAGE].  Quants of values [ATTEND_PAGE][head_dim]; of keys
 *          [groups][ATTEND_PAGE][4], groups of four dimensions filled up with zeros: what one
 *          instruction multiplies.
 *
 * Quants and scale of a block are those of the tensor type (dtype.h), in which zeros follow where a
 * block is short. */
static inline size_t attend_blocks_of(size_t head_dim)
{
    return (head_dim + Q_BLOCK - 1) / Q_BLOCK;
}

static inline size_t attend_groups_of(size_t head_dim)
{
    return (head_dim + 3) / 4;
}

/* Where the scales of a q8_0 run stand, in bytes; the same for keys and values. */
static inline size_t attend_scales_at(size_t head_dim)
{
    return attend_groups_of(head_dim) * 4 * ATTEND_PAGE;
}

static inline size_t attend_run_bytes(enum dtype type, size_t head_dim)
{
    if (type == DTYPE_F16)
        return head_dim * ATTEND_PAGE * sizeof(uint16_t);
    return attend_scales_at(head_dim) + attend_blocks_of(head_dim) * ATTEND_PAGE * sizeof(uint16_t);
}

/* The query heads that share one KV head (Ainslie et al. 2023), at consecutive positions of one
 * sequence: a row is one head at one position.  That of position p sees the keys [0, p], and of
 * these only the ones that are less than `window` away.
 *
 * Queries meet keys of q8_0 as x meets weights of q8_0 in a product: in blocks of 32 int8 with an
 * f32 scale.  A back end for prompts alone may round values of f16, and their weights, to bf16, and
 * queries and keys to integers of thirteen bits or more.
 *
 * Pages are readable to the end of their runs; what stands behind the last key is read but counts
 * for nothing. */
struct attention {
    const float *q; /* [position][head][head_dim], positions q_stride apart; out likewise */
    float *out;
    size_t q_stride, out_stride;
    size_t first, positions, heads, head_dim; /* first: the first position */
    enum dtype type;                          /* of keys and values: f16 or q8_0 */
    const void *const *k_pages, *const *v_pages;
    float scale;
    float softcap; /* scores become softcap * tanh(score / softcap) (Gemma Team 2024); 0: they stay
                    */
    size_t window; /* 0: all */
    const float *sinks; /* of each head, a score whose value is zero (OpenAI 2025); NULL: none */
};

static inline size_t attention_rows(const struct attention *a)
{
    return a->positions * a->heads;
}

/* The first key that a position sees; its own is the last. */
static inline size_t attention_first_key(const struct attention *a, size_t position)
{
    return a->window && position >= a->window ? position + 1 - a->window : 0;
}

/* Blocks of keys that some row sees: [first, blocks). */
static inline size_t attention_first_block(const struct attention *a)
{
    return attention_first_key(a, a->first) / ATTEND_BLOCK;
}

static inline size_t attention_blocks(const struct attention *a)
{
    return (a->first + a->positions - 1) / ATTEND_BLOCK + 1;
}

/* The first row that sees a block, as all behind it do but for their windows. */
static inline size_t attention_first_row(const struct attention *a, size_t block)
{
    size_t begin = block * ATTEND_BLOCK;

    return begin > a->first ? (begin - a->first) * a->heads : 0;
}

/* Of one block: the weighted values of each row, then the largest scores, then the sums of
 * weights. */
static inline size_t attention_floats(const struct attention *a)
{
    return attention_rows(a) * (a->head_dim + 2);
}

/* One head of a text that is there as a whole: rows [first, first + rows) of `count` tokens, each
 * over the keys at most `reach` away from it. */
#define TEXT_ROWS 6  /* of scratch */
#define TEXT_STEP 16 /* floats that keys are filled up to */

struct text_attention {
    const float *q;      /* [row][head_dim], rows q_stride apart; out likewise */
    const float *k;      /* turned: [head_dim][count], k_stride apart, a multiple of TEXT_STEP */
    const float *v;      /* [count][head_dim] */
    float *out, *scores; /* scores: scratch [TEXT_ROWS][k_stride] */
    size_t q_stride, k_stride, v_stride, out_stride;
    size_t first, rows, count, head_dim, reach;
    float scale;
};

/* The keys that a row of the job sees: [first, end). */
static inline size_t text_first_key(const struct text_attention *a, size_t row)
{
    return a->first + row > a->reach ? a->first + row - a->reach : 0;
}

static inline size_t text_end_key(const struct text_attention *a, size_t row)
{
    size_t behind = a->count - a->first - row; /* itself among them */

    return a->reach < behind ? a->first + row + a->reach + 1 : a->count;
}

/* How activations are prepared: as they are; rounded to bf16; blocks of 32 int8 with an f32 scale,
 * or with one by which neighbours are small enough together (kernel_eights.h); of 16 bits
 * (fixed.h); 128 int8 with a scale, for weights that are rounded so too (kernel_spans.h); bf16 in
 * tiles, or the sum of two (kernel_tiles.h). */
enum form {
    FORM_F32,
    FORM_BF16,
    FORM_Q8,
    FORM_NEIGHBOURS,
    FORM_FIXED,
    FORM_SPANS,
    FORM_TILES,
    FORM_SPLIT
};

struct backend {
    const char *name; /* "ref", "avx2", "avx2vnni", "avx512vnni", "avx512winograd", ... */
    bool (*usable)(
        void); /* does this processor have the instructions (feature bits and OS support) */
    bool (*is_slow)(void); /* it has, but the next in line is faster here; NULL: never */

    /* What multiplies the tokens that a model generates, a few at a time, where this one is for the
     * many of prompts: other sums, of the same weights.  NULL: this one does all. */
    const struct backend *generates;
    /* The other way round: what is faster for the prompts of models that have weights of another
     * prepared form there, and generates by this one.  NULL: nothing is. */
    const struct backend *prompts;

    /* Activations are prepared once per vector for the type of the weights that will multiply it,
     * and types of equal form share them. */
    enum form (*prepared_form)(enum dtype weights);
    size_t (*prepared_bytes)(enum dtype weights, size_t inner); /* a multiple of 64 */
    void (*prepare)(enum dtype weights, const float *x, size_t inner, void *out);

    /* Does matmul take packed weights of the type (packed.h)?  It gives the same bits.  NULL: of
     * none. */
    bool (*reads_packed)(enum dtype weights);

    /* out[t * out_stride + r] = sum_i w[r][i] * x[t][i], r in [row_begin, row_end), t in [0, n).
     * x: n prepared vectors, prepared_bytes apart, 64-byte aligned. */
    void (*matmul)(const struct tensor *w, size_t row_begin, size_t row_end, const void *x,
                   size_t n, float *out, size_t out_stride);

    /* The same of two matrices of one shape at once, and out = swiglu of both results, with the
     * same bits.  False, and nothing done, where it would not be faster: of few vectors, or of
     * matrices that differ in type or layout.  NULL: never. */
    bool (*matmul_swiglu)(const struct tensor *gate, const struct tensor *up, size_t row_begin,
                          size_t row_end, const void *x, size_t n, float *out, size_t out_stride);
    /* The same, and out: n vectors prepared for `weights`, with the same bits as prepare of those
     * results; of each vector only [row_begin, row_end) is written.  Without vectors it only says
     * whether it would.  NULL: never. */
    bool (*matmul_swiglu_prepared)(const struct tensor *gate, const struct tensor *up,
                                   size_t row_begin, size_t row_end, const void *x, size_t n,
                                   enum dtype weights, void *out);

    /* out[i] = x[i] * w[i] / sqrt(mean(x^2) + eps)      (Zhang & Sennrich 2019, eq. 4); out may be
     * x */
    void (*rmsnorm)(const float *x, const float *w, size_t n, float eps, float *out);
    void (*add)(float *x, const float *y, size_t n);        /* x += y */
    void (*swiglu)(float *gate, const float *up, size_t n); /* gate = silu(gate) * up */
    /* Rotates pairs of one head in place.  table: cos, sin alternating, dims / 2 pairs.
     * interleaved: pairs (2i, 2i + 1), llama's GGUF layout; else (i, i + dims / 2), "neox".
     * (Su et al. 2021, eq. 34).  Elements from dims on stay. */
    void (*rope)(float *head, const float *table, size_t dims, bool interleaved);

    /* Attention: out = softmax(scale * q k^T) v for every row of the job. */
    void (*attend)(const struct attention *a);
    /* The same in two steps, to share a long context between threads: blocks of ATTEND_BLOCK keys
     * in any order, each into attention_floats of its own, and then all of them together, in
     * order: block b at partials + b * attention_floats.  The result is that of attend, to the
     * bit. */
    void (*attend_block)(const struct attention *a, size_t block, float *partial);
    void (*attend_join)(const struct attention *a, const float *partials);
    /* One head at n positions, x[i * stride + d], into the positions at + i of a run; `at` + n is
     * at most ATTEND_PAGE, and nothing else of the run changes. */
    void (*store_keys)(enum dtype type, const float *x, size_t stride, size_t n, size_t head_dim,
                       void *run, size_t at);
    void (*store_values)(enum dtype type, const float *x, size_t stride, size_t n, size_t head_dim,
                         void *run, size_t at);

    /* Of models that read whole texts; the first three are those of plain.h. */
    void (*gelu)(float *x, size_t n);
    void (*gelu_tanh)(float *x, size_t n);
    void (*layernorm)(const float *x, const float *w, const float *bias, size_t n, float eps,
                      float *out);
    /* out = softmax(scale * q k^T) v for every row of the job.  A row's bits depend on its text,
     * and on where in it the job begins. */
    void (*attend_text)(const struct text_attention *a);

    void (*row_to_f32)(enum dtype type, const void *row, float *out,
                       size_t n); /* embedding lookup */
};

static inline const struct backend *backend_for(const struct backend *b, bool generated)
{
    return generated && b->generates ? b->generates : b;
}

static inline bool backend_reads_packed(const struct backend *b, enum dtype weights)
{
    return b->reads_packed && b->reads_packed(weights);
}

/* Are weights and activations rounded to bf16, as what generates tokens does not; of f16, to the
 * sum of two? */
static inline bool backend_has_tiles(const struct backend *b, enum dtype weights)
{
    enum form form = b->prepared_form(weights);

    return form == FORM_TILES || form == FORM_SPLIT;
}

/* The best one for this processor, found once by feature bits, and by is_slow between two that
 * both run.
 * LLMOS_BACKEND=name in the environment overrides (tests, benchmarks) where that one is usable. */
const struct backend *backend_best(void);
const struct backend *backend_by_name(const char *name); /* NULL if unknown or not usable here */
const struct backend *backend_at(unsigned i); /* i-th compiled in, best first; NULL at the end */

extern const struct backend backend_ref; /* plain C: the specification */
#if defined(__x86_64__)
extern const struct backend backend_avx2, backend_avx2vnni, backend_avx512vnni,
    backend_avx512winograd, backend_avx512spans, backend_avx512winospans, backend_avx512amx;
#elif defined(__aarch64__)
extern const struct backend backend_neon, backend_neon_i8mm;
#endif

#endif
