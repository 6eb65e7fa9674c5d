/* SPDX-License-Identifier: Apache-2.0 */
/* kv.c - see kv.h */
#include "infer/kv.h"

#include <assert.h>
#include <string.h>

_Static_assert(HPARAMS_HEAD_DIM_MAX <= ATTEND_DIM_MAX, "kernels keep a query of that size");

/* hparams_read bounds every factor: at most 2 * 2^10 * 2^10 * 64 * 2^10 numbers of 2 bytes. */
size_t kv_page_bytes(const struct hparams *h, enum dtype type)
{
    return (size_t)2 * h->n_layer * h->n_head_kv * attend_run_bytes(type, h->head_dim);
}

void kv_carve(struct kv *kv, const struct hparams *h, enum dtype type, uint32_t pages,
              struct carve *c)
{
    *kv = (struct kv){
        .page_count = pages,
        .n_head_kv = h->n_head_kv,
        .head_dim = h->head_dim,
        .type = type,
        .run_bytes = attend_run_bytes(type, h->head_dim),
        .page_bytes = kv_page_bytes(h, type),
    };
    kv->data = carve_bytes(c, pages, kv->page_bytes);
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
    memset(kv->data + page * kv->page_bytes, 0, kv->page_bytes);
    return page;
}

void kv_give(struct kv *kv, uint32_t page)
{
    assert(page < kv->page_count && kv->free_count < kv->page_count);
    kv->free_list[kv->free_count++] = page;
}

/* The first `count` columns of rows that have one for each position, `bytes` wide. */
static void copy_columns(char *to, const char *from, size_t rows, size_t bytes, size_t count)
{
    for (size_t i = 0; i < rows; i++, to += KV_PAGE_TOKENS * bytes, from += KV_PAGE_TOKENS * bytes)
        memcpy(to, from, count * bytes);
}

static void copy_run(const struct kv *kv, bool is_value, char *to, const char *from, size_t count)
{
    size_t dim = kv->head_dim, scales = attend_scales_at(dim);
    bool is_half = kv->type == DTYPE_F16;

    if (is_value)
        memcpy(to, from, count * dim * (is_half ? sizeof(uint16_t) : 1));
    else if (is_half)
        copy_columns(to, from, dim, sizeof(uint16_t), count);
    else
        copy_columns(to, from, attend_groups_of(dim), 4, count);
    if (!is_half)
        copy_columns(to + scales, from + scales, attend_blocks_of(dim), sizeof(uint16_t), count);
}

void kv_copy(const struct kv *kv, uint32_t to, uint32_t from, uint32_t count)
{
    const char *source = kv->data + from * kv->page_bytes;
    char *out = kv->data + to * kv->page_bytes;
    size_t runs = kv->page_bytes / kv->run_bytes;

    assert(count <= KV_PAGE_TOKENS);
    for (size_t r = 0; r < runs; r++)
        copy_run(kv, r / kv->n_head_kv % 2, out + r * kv->run_bytes, source + r * kv->run_bytes,
                 count);
}
