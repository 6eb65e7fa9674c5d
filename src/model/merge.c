/* SPDX-License-Identifier: Apache-2.0 */
/* merge.c - see merge.h */
#include "model/merge.h"

#include "base/mem.h"

/* ---- the heap ---- */

static bool better(const struct pair *a, const struct pair *b)
{
    return a->score != b->score ? a->score > b->score : a->left < b->left;
}

static void heap_push(struct merging *m, struct pair pair)
{
    size_t i = m->heap_count;

    if (i == m->heap_room) {
        size_t room = i < 64 ? 64 : i * 2;
        struct pair *grown = mem_resize(m->heap, room, sizeof(*grown));

        if (!grown) {
            m->no_memory = true;
            return;
        }
        m->heap = grown;
        m->heap_room = room;
    }
    m->heap_count++;
    while (i > 0 && better(&pair, &m->heap[(i - 1) / 2])) {
        m->heap[i] = m->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    m->heap[i] = pair;
}

static struct pair heap_pop(struct merging *m)
{
    struct pair top = m->heap[0], moving = m->heap[--m->heap_count];
    size_t i = 0;

    for (;;) {
        size_t child = 2 * i + 1;

        if (child >= m->heap_count)
            break;
        if (child + 1 < m->heap_count && better(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!better(&m->heap[child], &moving))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = moving;
    return top;
}

/* ---- merging ---- */

static void consider(struct merging *m, uint32_t left, uint32_t right)
{
    const struct symbol *a, *b;
    struct pair pair;

    if (left == MERGE_NONE || right == MERGE_NONE)
        return;
    a = &m->symbols[left];
    b = &m->symbols[right];
    pair = (struct pair){0, left, right, a->len + b->len, -1};
    if (m->join(m, a, b, &pair))
        heap_push(m, pair);
}

static void merge(struct merging *m, const struct pair *best)
{
    struct symbol *left = &m->symbols[best->left], *right = &m->symbols[best->right];

    if (left->len == 0 || right->len == 0 || left->len + right->len != best->len)
        return;
    left->len += right->len;
    left->id = best->id;
    right->len = 0;
    left->next = right->next;
    if (left->next != MERGE_NONE)
        m->symbols[left->next].previous = best->left;
    consider(m, left->previous, best->left);
    consider(m, best->left, left->next);
}

void merge_fini(struct merging *m)
{
    mem_free(m->symbols);
    mem_free(m->heap);
}

int merge_begin(struct merging *m, struct str text)
{
    m->text = text.at;
    m->symbol_count = m->heap_count = 0;
    if (text.len > m->symbol_room) {
        size_t room = text.len < 64 ? 64 : text.len;
        struct symbol *grown = mem_resize(m->symbols, room, sizeof(*grown));

        if (!grown)
            return -1;
        m->symbols = grown;
        m->symbol_room = room;
    }
    return 0;
}

void merge_add(struct merging *m, size_t bytes, int32_t id)
{
    uint32_t n = (uint32_t)m->symbol_count++;
    uint32_t at = n ? m->symbols[n - 1].at + m->symbols[n - 1].len : 0;

    m->symbols[n] = (struct symbol){at, (uint32_t)bytes, n - 1, n + 1, id};
}

int merge_run(struct merging *m)
{
    m->symbols[0].previous = MERGE_NONE;
    m->symbols[m->symbol_count - 1].next = MERGE_NONE;
    for (uint32_t i = 1; i < m->symbol_count; i++)
        consider(m, i - 1, i);
    while (m->heap_count > 0 && !m->no_memory) {
        struct pair best = heap_pop(m);

        merge(m, &best);
    }
    return m->no_memory ? -1 : 0;
}
