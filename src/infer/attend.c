/* SPDX-License-Identifier: Apache-2.0 */
/* attend.c - see attend.h */
#include "infer/attend.h"

#include <math.h>

/* Attention over k keys costs about as much as k + this, in the unit of one key. */
#define ATTEND_OVERHEAD 8
/* Heads times positions: enough to read the keys seldom, and to make tiles of them where a back end
 * does. */
#define TILE_ROWS 192
/* Parts that a thread's share of attention has at least, so that shares are nearly equal; tiles
 * larger than such a part are shared between threads if there is room for what joins them: for this
 * many rows, each with all of the context. */
#define SHARE_PARTS 4
#define SHARED_ROWS 4

void attend_carve(struct forward *f, struct carve *c)
{
    size_t threads = f->limits.threads, rows = f->limits.rows_max;

    f->page_at_stride = 2 * kv_pages_for(f->limits.context_tokens);
    f->page_at = carve_bytes(c, threads, f->page_at_stride * sizeof(*f->page_at));
    f->tiles = carve_array(c, struct attend_tile, rows);
    f->work = carve_array(c, uint64_t, rows + 1);
    if (threads > 1) {
        size_t blocks = (f->limits.context_tokens + ATTEND_BLOCK - 1) / ATTEND_BLOCK;

        f->partials_max = SHARED_ROWS * blocks * f->h->n_head * ((size_t)f->h->head_dim + 2);
        f->partials = carve_bytes(c, f->partials_max, sizeof(float));
    }
}

struct attend_thread {
    struct forward *f;
    const void **k_pages, **v_pages;
    const uint32_t *pages; /* the sequence and the head that the page lists are of */
    size_t kv_head, listed;
};

static void list_pages(struct attend_thread *a, const struct forward_row *last, size_t kv_head)
{
    size_t wanted = kv_pages_for((size_t)last->position + 1);

    if (last->pages != a->pages || kv_head != a->kv_head)
        a->listed = 0;
    a->pages = last->pages;
    a->kv_head = kv_head;
    for (; a->listed < wanted; a->listed++) {
        uint32_t page = last->pages[a->listed], head = (uint32_t)kv_head;
        a->k_pages[a->listed] = kv_at(a->f->kv, page, a->f->layer_now, false, head);
        a->v_pages[a->listed] = kv_at(a->f->kv, page, a->f->layer_now, true, head);
    }
}

static struct attention attention_shape(const struct forward *f, const struct attend_tile *tile)
{
    return (struct attention){
        .first = f->rows[tile->row].position,
        .positions = tile->count,
        .heads = f->h->n_head / f->h->n_head_kv,
        .head_dim = f->h->head_dim,
        .type = f->kv->type,
        .scale = f->h->attn_scale != 0 ? f->h->attn_scale : 1 / sqrtf((float)f->h->head_dim),
        .softcap = f->h->attn_softcap,
        .window = hparams_has_window(f->h, f->layer_now) ? f->h->window : 0,
    };
}

/* Without the pages. */
static struct attention attention_of(const struct forward *f, const struct attend_tile *tile,
                                     size_t kv_head)
{
    const struct arch_op *op = f->stage_now->linear;
    struct attention a = attention_shape(f, tile);
    size_t from = kv_head * a.heads * a.head_dim;
    const struct tensor *sinks = weights_get(f->w, f->layer_now, WEIGHT_SINKS);

    a.q = forward_slot(f, op->a, tile->row) + from;
    a.out = forward_slot(f, op->out, tile->row) + from;
    if (sinks)
        a.sinks = (const float *)sinks->data + kv_head * a.heads;
    a.q_stride = f->slot_stride[op->a];
    a.out_stride = f->slot_stride[op->out];
    return a;
}

static float *partials_of(const struct forward *f, const struct attend_tile *tile, size_t kv_head)
{
    return f->partials + kv_head * f->head_partials + tile->partials;
}

/* The blocks [begin, end) of a tile; all of it where its blocks are not shared. */
static void attend_some(struct attend_thread *a, const struct attend_tile *tile, size_t kv_head,
                        size_t begin, size_t end)
{
    const struct forward *f = a->f;
    struct attention job = attention_of(f, tile, kv_head);

    list_pages(a, &f->rows[tile->row + tile->count - 1], kv_head);
    job.k_pages = a->k_pages;
    job.v_pages = a->v_pages;
    if (!tile->blocks)
        f->backend->attend(&job);
    for (size_t b = begin; b < end; b++)
        f->backend->attend_block(&job, b,
                                 partials_of(f, tile, kv_head) + b * attention_floats(&job));
}

struct point {
    size_t kv_head, tile, block;
};

/* The last tile at or before which `work` of one head's work lies. */
static size_t tile_at_work(const struct forward *f, uint64_t work)
{
    size_t low = 0, high = f->tile_count;

    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;

        if (f->work[middle] <= work)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Where a part of the work begins: in a shared tile at the first block at or behind the even share,
 * else at the beginning of the tile in which that lies. */
static struct point attend_begin(const struct forward *f, unsigned part, unsigned parts)
{
    uint64_t of_head = f->work[f->tile_count];
    uint64_t work = of_head * f->h->n_head_kv * part / parts;
    uint64_t rest = work % of_head, size;
    struct point p = {.kv_head = (size_t)(work / of_head), .tile = tile_at_work(f, rest)};

    rest -= f->work[p.tile];
    size = f->work[p.tile + 1] - f->work[p.tile];
    p.block = (size_t)((rest * f->tiles[p.tile].blocks + size - 1) / size);
    return p;
}

void attend_part(void *forward, unsigned part, unsigned parts)
{
    struct forward *f = forward;
    const void **page_at = f->page_at + part * f->page_at_stride;
    struct attend_thread a = {
        .f = f, .k_pages = page_at, .v_pages = page_at + f->page_at_stride / 2};
    struct point p = attend_begin(f, part, parts), end = attend_begin(f, part + 1, parts);

    for (; p.kv_head < end.kv_head || (p.kv_head == end.kv_head && p.tile <= end.tile);
         p.kv_head++, p.tile = 0) {
        size_t tiles = p.kv_head == end.kv_head ? end.tile : f->tile_count;

        for (; p.tile < tiles; p.tile++, p.block = 0)
            attend_some(&a, &f->tiles[p.tile], p.kv_head, p.block, f->tiles[p.tile].blocks);
        if (p.kv_head == end.kv_head && p.block < end.block)
            attend_some(&a, &f->tiles[p.tile], p.kv_head, p.block, end.block);
    }
}

void attend_join_part(void *forward, unsigned part, unsigned parts)
{
    struct forward *f = forward;
    size_t begin, end;

    pool_share(f->tile_count * f->h->n_head_kv, 1, part, parts, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const struct attend_tile *tile = &f->tiles[i % f->tile_count];
        size_t kv_head = i / f->tile_count;
        struct attention job = attention_of(f, tile, kv_head);

        if (tile->blocks)
            f->backend->attend_join(&job, partials_of(f, tile, kv_head));
    }
}

/* Shares the blocks of the tiles that are too large a part of the whole. */
static void share_tiles(struct forward *f)
{
    uint64_t parts = (uint64_t)f->limits.threads * SHARE_PARTS;
    uint64_t all = f->work[f->tile_count] * f->h->n_head_kv;
    size_t room = f->partials_max / f->h->n_head_kv;

    f->head_partials = 0;
    for (size_t i = 0; i < f->tile_count; i++) {
        struct attend_tile *tile = &f->tiles[i];
        struct attention job = attention_shape(f, tile);
        size_t blocks = attention_blocks(&job), floats = blocks * attention_floats(&job);

        if (f->limits.threads == 1 || blocks == 1 || floats > room - f->head_partials ||
            (f->work[i + 1] - f->work[i]) * parts <= all)
            continue;
        tile->blocks = blocks;
        tile->partials = f->head_partials;
        f->head_partials += floats;
    }
}

void attend_plan(struct forward *f)
{
    size_t most = TILE_ROWS / (f->h->n_head / f->h->n_head_kv);
    size_t even = f->n * f->h->n_head_kv / ((size_t)f->limits.threads * SHARE_PARTS);
    struct attend_tile *tile = NULL;

    if (f->limits.threads > 1 && even < most)
        most = even;
    f->tile_count = 0;
    f->work[0] = 0;
    for (size_t t = 0; t < f->n; t++) {
        if (!tile || tile->count >= most || !forward_row_follows(&f->rows[t], &f->rows[t - 1])) {
            tile = &f->tiles[f->tile_count++];
            *tile = (struct attend_tile){.row = t};
            f->work[f->tile_count] = f->work[f->tile_count - 1];
        }
        tile->count++;
        f->work[f->tile_count] += (uint64_t)f->rows[t].position + 1 + ATTEND_OVERHEAD;
    }
    share_tiles(f);
}
