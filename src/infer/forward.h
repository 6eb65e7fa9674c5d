/* SPDX-License-Identifier: Apache-2.0 */
/* forward.h - walks an architecture's tables for a batch of rows, one row a token, of any number of
 * sequences.
 *
 * A run ends with logits; or with vectors, to which a head (arch.h) may then be applied.  Where
 * tokens see the whole text, the rows of a run are whole texts, and nothing is stored.
 *
 * Operations are grouped into stages (stages.h), in which every thread needs only its own part of
 * what the stage made, so that threads meet about five times a layer.  Everything is allocated
 * beforehand; a run makes no system call but the pool's futex.
 *
 * The numbers of a row depend on its token, its position and what its sequence has stored, never on
 * the rows beside it or on the threads: each element is made by one kernel call whose result does
 * not depend on its share of the work (backend.h), and elementwise kernels that approximate are
 * split at multiples of 64, so that an element is at the same place of a vector register whoever
 * computes it. */
#ifndef INFER_FORWARD_H
#define INFER_FORWARD_H

#include "base/pool.h"
#include "base/shares.h"
#include "infer/arch.h"
#include "infer/experts.h"
#include "infer/kv.h"
#include "infer/rope.h"
#include "infer/stages.h"
#include "infer/textattend.h"
#include "tensor/backend.h"

struct forward_row {
    int32_t token;
    uint32_t position;     /* the positions before it are stored or are rows before it; a whole text
                            * begins with 0 */
    const uint32_t *pages; /* of its sequence; rows of one sequence stand together */
    uint32_t segment;      /* which text of a pair it is of, in models that ask */
    bool is_long;          /* its sequence is: hparams_is_long */
    bool wants_logits;     /* or its vector, where that is the end */
};

static inline bool forward_row_follows(const struct forward_row *row,
                                       const struct forward_row *before)
{
    return row->pages == before->pages && row->position == before->position + 1;
}

struct forward_limits {
    unsigned threads;
    size_t rows_max, logits_max; /* in one run */
    size_t context_tokens;
    /* Instead of what makes logits of the vocabulary: may be empty.  NULL: runs end with logits. */
    const struct arch_ops *head;
};

_Static_assert(KV_PAGE_TOKENS == ATTEND_PAGE, "what is stored is what is read");

/* Angles: of most layers, and of those with a window where they have a base of their own. */
#define FORWARD_ROPES 2

/* Attention of the rows [row, row + count): consecutive positions of one sequence.  Where a tile is
 * a large part of all, its blocks of keys are shared between threads, and joined afterwards. */
struct attend_tile {
    size_t row, count;
    size_t blocks;   /* of keys; 0: computed as a whole, by one thread */
    size_t partials; /* where those of this tile begin, in floats, among those of one head */
};

struct forward {
    const struct hparams *h;
    const struct weights *w;
    const struct arch *arch;
    const struct backend *prompts, *backend; /* backend: of the run in progress */
    struct pool *pool;
    const struct kv *kv;
    struct rope ropes[FORWARD_ROPES];
    struct rope rope_long; /* longrope: in place of the first, of rows of long sequences */
    struct experts experts;
    struct textattend textattend;
    bool sees_text; /* and does without a cache */
    struct forward_limits limits;
    struct stages before, layer, after, head;
    enum arch_slot end; /* where the vectors of a run are */

    /* scratch: rows of every slot, 16 floats aligned */
    size_t slot_stride[SLOT_COUNT], slot_width[SLOT_COUNT];
    float *slots[SLOT_COUNT];
    float *rope_rows[FORWARD_ROPES];
    char *prepared;         /* of all rows: [form][row] */
    char *prepared_private; /* of a few rows, for each thread: [thread][form][row] */
    size_t prepared_bytes;  /* the largest vector of any stage */
    size_t forms_max, private_rows;
    float *normed;        /* one row a thread */
    const void **page_at; /* a sequence's pages of one head, keys and values, for each thread */
    size_t normed_stride, page_at_stride;
    struct attend_tile *tiles;
    uint64_t *work;  /* attention work of the tiles before each tile */
    float *partials; /* of blocks that are shared: [kv head][tile][block] */
    size_t partials_max;
    float *speeds;           /* of threads, in products: [few, many rows][stage][thread] */
    struct share_done *done; /* by each thread, of the stage in progress */
    size_t stages;           /* of all layers */

    /* Called, if it is set, with every vector that a matrix is multiplied with, by the thread that
     * drives the run. */
    void (*observer)(void *arg, const struct tensor *w, const float *x);
    void *observer_arg;
    /* Asked between layers, if it is set, by the same thread: shall the run go on? */
    bool (*goes_on)(void *arg);
    void *goes_on_arg;

    /* the run in progress */
    struct forward_row *rows;
    size_t n;
    uint32_t layer_now;
    const struct stage *stage_now;
    float *speeds_now;
    bool is_prepared, makes_prepared; /* what the stage reads; what it leaves to the next */
    size_t logits_from;               /* rows of logits that are there from runs before it */
    unsigned rope_now;
    size_t tile_count, head_partials; /* head_partials: floats of one KV head; 0: none is shared */
};

/* Row t of a slot, in the run in progress. */
static inline float *forward_slot(const struct forward *f, enum arch_slot slot, size_t t)
{
    return f->slots[slot] + t * f->slot_stride[slot];
}

/* The best kernels here for a model: those for prompts of some kinds of weights (backend.h) if at
 * least half of what its layers multiply is of them.  They cost something too: what was generated
 * is computed once more as a prompt, and rows of both kinds are not one run. */
const struct backend *forward_backend(const struct hparams *h, const struct weights *w);

/* Cuts the scratch out of a block; called twice (carve.h), the second time followed by
 * forward_init. The pool and the cache are the caller's; kv NULL: the model needs none. */
void forward_carve(struct forward *f, const struct hparams *h, const struct weights *w,
                   const struct arch *arch, const struct backend *backend,
                   const struct forward_limits *limits, struct carve *c);
void forward_init(struct forward *f, struct pool *pool, const struct kv *kv);

/* What the tokens of a run are.  Those of prompts and those that were generated may be computed by
 * other kernels (backend.h), so that a token's numbers depend on which it is. */
enum forward_kind { FORWARD_PROMPT, FORWARD_GENERATED };

/* Computes n rows of one kind, at most rows_max, and the logits of those that want them, in order,
 * at most logits_max.  rows is scratch of the run: it comes back changed.  False: it did not go on.
 */
bool forward_run(struct forward *f, struct forward_row *rows, size_t n, enum forward_kind kind);
/* The same, and keeps the logits of the runs since the last forward_run: those of this one come
 * behind them. */
bool forward_run_too(struct forward *f, struct forward_row *rows, size_t n, enum forward_kind kind);

/* Logits of the i-th row that wanted them in the last run, and those before it that it kept. */
const float *forward_logits(const struct forward *f, size_t i);

/* Where there is a head: the vector of the i-th row that wanted it, n_embd floats; where the head
 * reads its rows from, to be filled; and it is computed, as forward_logits then says. */
const float *forward_vector(const struct forward *f, size_t i);
float *forward_head_row(struct forward *f, size_t i);
void forward_head(struct forward *f, size_t n);

#endif
