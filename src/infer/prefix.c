/* SPDX-License-Identifier: Apache-2.0 */
/* prefix.c - see prefix.h */
#include "infer/prefix.h"

#include <assert.h>
#include <string.h>

void prefix_carve(struct prefix *p, uint32_t pages, struct carve *c)
{
    *p = (struct prefix){.nodes = carve_array(c, struct prefix_node, pages)};
}

void prefix_reset(struct prefix *p, struct kv *kv)
{
    p->kv = kv;
    p->first = p->oldest = p->youngest = KV_NO_PAGE;
    p->idle_count = 0;
    for (uint32_t i = 0; i < kv->page_count; i++)
        p->nodes[i] = (struct prefix_node){0};
}

/* --- the list of pages that nobody holds --- */

static void idle_add(struct prefix *p, uint32_t page)
{
    struct prefix_node *n = &p->nodes[page];

    n->older = p->youngest;
    n->younger = KV_NO_PAGE;
    if (p->youngest != KV_NO_PAGE)
        p->nodes[p->youngest].younger = page;
    else
        p->oldest = page;
    p->youngest = page;
    p->idle_count++;
}

static void idle_remove(struct prefix *p, uint32_t page)
{
    const struct prefix_node *n = &p->nodes[page];

    if (n->older != KV_NO_PAGE)
        p->nodes[n->older].younger = n->younger;
    else
        p->oldest = n->younger;
    if (n->younger != KV_NO_PAGE)
        p->nodes[n->younger].older = n->older;
    else
        p->youngest = n->older;
    p->idle_count--;
}

void prefix_hold(struct prefix *p, uint32_t page)
{
    assert(p->nodes[page].count > 0);
    if (p->nodes[page].refs++ == 0)
        idle_remove(p, page);
}

void prefix_release(struct prefix *p, uint32_t page)
{
    assert(p->nodes[page].refs > 0);
    if (--p->nodes[page].refs == 0)
        idle_add(p, page);
}

/* --- the tree --- */

static uint32_t *children_of(struct prefix *p, uint32_t parent)
{
    return parent == KV_NO_PAGE ? &p->first : &p->nodes[parent].child;
}

static void link_page(struct prefix *p, uint64_t domain, uint32_t parent, uint32_t page,
                      const int32_t *tokens, uint32_t count)
{
    struct prefix_node *n = &p->nodes[page];
    uint32_t *head = children_of(p, parent);

    assert(n->count == 0 && count > 0 && count <= KV_PAGE_TOKENS);
    *n = (struct prefix_node){.domain = domain,
                              .count = count,
                              .parent = parent,
                              .child = KV_NO_PAGE,
                              .next = *head,
                              .prev = KV_NO_PAGE};
    memcpy(n->tokens, tokens, count * sizeof(*tokens));
    if (*head != KV_NO_PAGE)
        p->nodes[*head].prev = page;
    *head = page;
}

/* Takes a leaf that nobody holds out of tree and list, and forgets what stood there. */
static void drop(struct prefix *p, uint32_t page)
{
    struct prefix_node *n = &p->nodes[page];

    assert(n->count > 0 && n->refs == 0 && n->child == KV_NO_PAGE);
    idle_remove(p, page);
    if (n->prev != KV_NO_PAGE)
        p->nodes[n->prev].next = n->next;
    else
        *children_of(p, n->parent) = n->next;
    if (n->next != KV_NO_PAGE)
        p->nodes[n->next].prev = n->prev;
    *n = (struct prefix_node){0};
    kv_give(p->kv, page);
}

uint32_t prefix_take(struct prefix *p)
{
    if (p->kv->free_count == 0 && p->oldest != KV_NO_PAGE)
        drop(p, p->oldest);
    return kv_take(p->kv);
}

static uint32_t alike(const int32_t *a, const int32_t *b, uint32_t count)
{
    uint32_t n = 0;

    while (n < count && a[n] == b[n])
        n++;
    return n;
}

uint32_t prefix_find(const struct prefix *p, uint64_t domain, uint32_t parent,
                     const int32_t *tokens, uint32_t count, uint32_t *shared)
{
    uint32_t best = KV_NO_PAGE, most = 0;
    uint32_t page = parent == KV_NO_PAGE ? p->first : p->nodes[parent].child;

    for (; page != KV_NO_PAGE && most < KV_PAGE_TOKENS; page = p->nodes[page].next) {
        const struct prefix_node *n = &p->nodes[page];
        uint32_t k;

        if (n->domain != domain)
            continue;
        k = alike(n->tokens, tokens, n->count < count ? n->count : count);
        if (k > most) {
            most = k;
            best = page;
        }
    }
    *shared = most;
    return best;
}

/* Among the pages behind one parent none begins with all of another: the longer one stands for
 * both.  So at most one is a beginning of what comes, and no other shares as much with it. */
static bool replaces(const struct prefix *p, uint32_t old, uint32_t shared)
{
    return old != KV_NO_PAGE && shared == p->nodes[old].count;
}

uint32_t prefix_put(struct prefix *p, uint64_t domain, uint32_t parent, uint32_t page,
                    const int32_t *tokens)
{
    uint32_t shared, old = prefix_find(p, domain, parent, tokens, KV_PAGE_TOKENS, &shared);

    if (shared == KV_PAGE_TOKENS) {
        kv_give(p->kv, page);
        prefix_hold(p, old);
        return old;
    }
    if (replaces(p, old, shared))
        drop(p, old);
    link_page(p, domain, parent, page, tokens, KV_PAGE_TOKENS);
    p->nodes[page].refs = 1;
    return page;
}

void prefix_leave(struct prefix *p, uint64_t domain, uint32_t parent, uint32_t page,
                  const int32_t *tokens, uint32_t count)
{
    uint32_t shared, old = prefix_find(p, domain, parent, tokens, count, &shared);

    assert(count > 0 && count < KV_PAGE_TOKENS);
    if (shared == count) {
        kv_give(p->kv, page);
        return;
    }
    if (replaces(p, old, shared))
        drop(p, old);
    link_page(p, domain, parent, page, tokens, count);
    idle_add(p, page);
}
