/* SPDX-License-Identifier: Apache-2.0 */
/* pages.c - see pages.h */
#include "infer/pages.h"

#include <string.h>

/* Under which number its pages are found: those of long sequences are rotated by other factors. */
static uint64_t tree_domain(const struct llmos_session *s)
{
    return s->is_long ? s->domain | DOMAIN_LONG : s->domain;
}

static uint32_t last_tree_page(const struct llmos_session *s)
{
    return s->tree_pages ? s->pages[s->tree_pages - 1] : KV_NO_PAGE;
}

/* Under which tokens a page is found: those that were generated are others than the same ones of a
 * prompt where other kernels compute them. */
struct page_key {
    int32_t tokens[KV_PAGE_TOKENS];
};

static struct page_key page_key(const struct llmos_session *s, uint32_t from, uint32_t count)
{
    bool kinds = context_has_kinds(s->context);
    struct page_key key;

    for (uint32_t i = 0; i < count; i++) {
        int32_t token = s->tokens[from + i];

        key.tokens[i] = kinds && s->generated[from + i] ? ~token : token;
    }
    return key;
}

/* The last pages first: the tree wants it so. */
void pages_leave(struct llmos_session *s)
{
    struct prefix *tree = &s->context->prefix;
    uint32_t last = s->computed % KV_PAGE_TOKENS;

    while (s->page_count > s->tree_pages) {
        uint32_t at = --s->page_count;

        if (s->domain && last && at == s->computed / KV_PAGE_TOKENS)
            prefix_leave(tree, tree_domain(s), last_tree_page(s), s->pages[at],
                         page_key(s, s->computed - last, last).tokens, last);
        else
            kv_give(&s->context->kv, s->pages[at]);
    }
    while (s->page_count > 0)
        prefix_release(tree, s->pages[--s->page_count]);
    s->tree_pages = 0;
}

void pages_cut(struct llmos_session *s, uint32_t length)
{
    llmos_context *c = s->context;
    uint32_t whole = length / KV_PAGE_TOKENS, kept = (uint32_t)kv_pages_for(length);

    kept = s->tree_pages > whole ? whole : kept;
    while (s->page_count > kept && s->page_count > s->tree_pages)
        kv_give(&c->kv, s->pages[--s->page_count]);
    while (s->page_count > kept)
        prefix_release(&c->prefix, s->pages[--s->page_count]);
    if (s->tree_pages > kept) {
        s->tree_pages = kept;
        s->computed = kept * KV_PAGE_TOKENS;
    }
}

/* How many of the tokens to come may be taken from the tree: all but the last, whose logits nobody
 * has kept. */
static uint32_t wanted_from_tree(const struct llmos_session *s)
{
    uint32_t pending = s->count - s->computed;

    if (s->domain == 0 || s->computed % KV_PAGE_TOKENS || pending < 2)
        return 0;
    return smaller(pending - 1, KV_PAGE_TOKENS);
}

void pages_adopt(struct llmos_session *s)
{
    llmos_context *c = s->context;

    while (wanted_from_tree(s) == KV_PAGE_TOKENS) {
        uint32_t shared, page = prefix_find(&c->prefix, tree_domain(s), last_tree_page(s),
                                            page_key(s, s->computed, KV_PAGE_TOKENS).tokens,
                                            KV_PAGE_TOKENS, &shared);

        if (shared < KV_PAGE_TOKENS)
            break;
        prefix_hold(&c->prefix, page);
        if (s->page_count > s->tree_pages) /* taken for a step that failed */
            kv_give(&c->kv, s->pages[s->tree_pages]);
        else
            s->page_count++;
        s->pages[s->tree_pages++] = page;
        s->computed += KV_PAGE_TOKENS;
        s->cached += KV_PAGE_TOKENS;
    }
}

void pages_copy_beginning(struct llmos_session *s)
{
    llmos_context *c = s->context;
    uint32_t wanted = wanted_from_tree(s), shared, from, page = KV_NO_PAGE;

    if (wanted == 0)
        return;
    from = prefix_find(&c->prefix, tree_domain(s), last_tree_page(s),
                       page_key(s, s->computed, wanted).tokens, wanted, &shared);
    if (from == KV_NO_PAGE)
        return;
    prefix_hold(&c->prefix, from); /* else it might be the page that is given up for the copy */
    if (s->page_count > s->tree_pages)
        page = s->pages[s->tree_pages];
    else if ((page = prefix_take(&c->prefix)) != KV_NO_PAGE)
        s->pages[s->page_count++] = page;
    if (page != KV_NO_PAGE) {
        kv_copy(&c->kv, page, from, shared);
        s->computed += shared;
        s->cached += shared;
    }
    prefix_release(&c->prefix, from);
}

void pages_share(struct llmos_session *s)
{
    llmos_context *c = s->context;

    while (s->domain && (s->tree_pages + 1) * (uint64_t)KV_PAGE_TOKENS <= s->computed) {
        uint32_t at = s->tree_pages;

        s->pages[at] = prefix_put(&c->prefix, tree_domain(s), last_tree_page(s), s->pages[at],
                                  page_key(s, at * KV_PAGE_TOKENS, KV_PAGE_TOKENS).tokens);
        s->tree_pages++;
    }
}

uint32_t pages_reserve(struct llmos_session *s, uint32_t wanted)
{
    llmos_context *c = s->context;
    uint64_t room;

    while ((room = (uint64_t)s->page_count * KV_PAGE_TOKENS - s->computed) < wanted) {
        uint32_t page = prefix_take(&c->prefix);

        if (page == KV_NO_PAGE)
            break;
        s->pages[s->page_count++] = page;
    }
    return smaller(room, wanted);
}

bool pages_are_underway(const struct llmos_session *s)
{
    const llmos_context *c = s->context;
    size_t end = (size_t)(s->tree_pages + 1) * KV_PAGE_TOKENS;
    struct page_key key;

    if (wanted_from_tree(s) < KV_PAGE_TOKENS)
        return false;
    key = page_key(s, s->computed, KV_PAGE_TOKENS);
    for (size_t i = 0; i < c->turn_count; i++) {
        const struct llmos_session *o = c->turns[i].session;

        if (c->turns[i].share > 0 && tree_domain(o) == tree_domain(s) &&
            o->tree_pages == s->tree_pages && o->count >= end &&
            last_tree_page(o) == last_tree_page(s) &&
            memcmp(page_key(o, s->computed, KV_PAGE_TOKENS).tokens, key.tokens,
                   sizeof(key.tokens)) == 0)
            return true;
    }
    return false;
}
