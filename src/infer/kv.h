/* SPDX-License-Identifier: Apache-2.0 */
/* kv.h - the cache of keys and values: pages in a pool that all sequences share.
 *
 * A page holds 64 positions of one sequence, all layers: [layer][k, v][kv head] runs, laid out as
 * tensor/backend.h says for f16 and q8_0.  So what attention reads of one head lies together, and a
 * sequence is a list of page numbers; but the first keys of a page do not: they are a column.  Why
 * 64: a sequence wastes 63 positions at most, the run of one head is still 8 KiB (head_dim 64, f16)
 * for the prefetcher, and the list of a sequence is short enough to rebuild for every head.
 *
 * No sequence sees what another wrote: a page is wiped when it is taken, and attention reads only
 * positions that its sequence has stored, or that the tree of prefix.h has handed to it.  One
 * thread takes and gives; any may read and write positions that no other touches. */
#ifndef INFER_KV_H
#define INFER_KV_H

#include "infer/carve.h"
#include "model/hparams.h"
#include "tensor/backend.h"

#define KV_PAGE_TOKENS ATTEND_PAGE
#define KV_NO_PAGE     UINT32_MAX

struct kv {
    char *data;
    uint32_t *free_list; /* page numbers; the last one is taken next */
    uint32_t page_count, free_count;
    uint32_t n_head_kv, head_dim;
    enum dtype type; /* f16 or q8_0 */
    size_t run_bytes, page_bytes;
};

static inline size_t kv_pages_for(size_t tokens)
{
    return (tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
}

size_t kv_page_bytes(const struct hparams *h, enum dtype type);

/* Cuts the pool out of a block; usable once the carve has memory and kv_reset was called. */
void kv_carve(struct kv *kv, const struct hparams *h, enum dtype type, uint32_t pages,
              struct carve *c);
void kv_reset(struct kv *kv); /* all pages free */

uint32_t kv_take(struct kv *kv); /* zeroed; KV_NO_PAGE if there is none */
void kv_give(struct kv *kv, uint32_t page);

/* The first `count` positions of a page, all layers and heads: of keys, columns. */
void kv_copy(const struct kv *kv, uint32_t to, uint32_t from, uint32_t count);

/* The run of one head. */
static inline void *kv_at(const struct kv *kv, uint32_t page, uint32_t layer, bool is_value,
                          uint32_t head)
{
    size_t run = ((size_t)layer * 2 + is_value) * kv->n_head_kv + head;

    return kv->data + page * kv->page_bytes + run * kv->run_bytes;
}

#endif
