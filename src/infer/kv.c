/* SPDX-License-Identifier: Apache-2.0 */
/* kv.c - see kv.h */
#include "infer/kv.h"

#include <assert.h>
#include <string.h>

/* hparams_read bounds every factor: at most 2 * 2^10 * 2^10 * 64 * 2^17 elements. */
static size_t page_elements(const struct hparams *h)
{
    return (size_t)2 * h->n_layer * h->n_head_kv * KV_PAGE_TOKENS * h->head_dim;
}

size_t kv_page_bytes(const struct hparams *h)
{
    return page_elements(h) * sizeof(uint16_t);
}

void kv_carve(struct kv *kv, const struct hparams *h, uint32_t pages, struct carve *c)
{
    *kv = (struct kv){
        .page_count = pages,
        .n_head_kv = h->n_head_kv,
        .head_dim = h->head_dim,
        .page_elements = page_elements(h),
    };
    kv->data = carve_bytes(c, pages, kv_page_bytes(h));
    kv->free_list = carve_array(c, uint32_t, pages);
}

void kv_reset(struct kv *kv)
{
    /* Low numbers first: a short-lived process touches few pages. */
    for (uint32_t i = 0; i < kv->page_count; i++)
        kv->free_list[i] = kv->page_count - 1 - i;
    kv->free_count = kv->page_count;
}

uint32_t kv_take(struct kv *kv)
{
    uint32_t page;

    if (kv->free_count == 0)
        return KV_NO_PAGE;
    page = kv->free_list[--kv->free_count];
    memset(kv->data + page * kv->page_elements, 0, kv->page_elements * sizeof(uint16_t));
    return page;
}

void kv_give(struct kv *kv, uint32_t page)
{
    assert(page < kv->page_count && kv->free_count < kv->page_count);
    kv->free_list[kv->free_count++] = page;
}

static void copy_keys(uint16_t *to, const uint16_t *from, size_t head_dim, size_t count)
{
    for (size_t i = 0; i < head_dim * KV_PAGE_TOKENS; i += KV_PAGE_TOKENS)
        memcpy(to + i, from + i, count * sizeof(*to));
}

void kv_copy(const struct kv *kv, uint32_t to, uint32_t from, uint32_t count)
{
    size_t head_dim = kv->head_dim, run = KV_PAGE_TOKENS * head_dim, heads = kv->n_head_kv * run;
    const uint16_t *source = kv->data + from * kv->page_elements;
    uint16_t *out = kv->data + to * kv->page_elements;

    assert(count <= KV_PAGE_TOKENS);
    for (size_t layer = 0; layer < kv->page_elements; layer += 2 * heads) {
        for (size_t at = layer; at < layer + heads; at += run)
            copy_keys(out + at, source + at, head_dim, count);
        for (size_t at = layer + heads; at < layer + 2 * heads; at += run)
            memcpy(out + at, source + at, count * head_dim * sizeof(*out));
    }
}
