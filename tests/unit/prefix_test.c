/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/prefix.h"

#include "base/mem.h"
#include "base/rng.h"
#include "test.h"

static const struct hparams shape = {.n_layer = 2, .n_head_kv = 1, .head_dim = 4};

struct pool_of_pages {
    struct kv kv;
    struct prefix prefix;
    void *block;
};

static void pages_init(struct pool_of_pages *p, uint32_t pages)
{
    struct carve c = {0};

    kv_carve(&p->kv, &shape, DTYPE_F16, pages, &c);
    prefix_carve(&p->prefix, pages, &c);
    c = (struct carve){.at = p->block = mem_aligned(c.used)};
    kv_carve(&p->kv, &shape, DTYPE_F16, pages, &c);
    prefix_carve(&p->prefix, pages, &c);
    kv_reset(&p->kv);
    prefix_reset(&p->prefix, &p->kv);
}

static void pages_fini(struct pool_of_pages *p)
{
    mem_free(p->block);
}

static int32_t *page_of(int32_t token)
{
    static int32_t tokens[KV_PAGE_TOKENS];

    for (int i = 0; i < KV_PAGE_TOKENS; i++)
        tokens[i] = token;
    return tokens;
}

static uint32_t put(struct pool_of_pages *p, uint64_t domain, uint32_t parent,
                    const int32_t *tokens)
{
    return prefix_put(&p->prefix, domain, parent, prefix_take(&p->prefix), tokens);
}

static uint32_t shared_with(struct pool_of_pages *p, uint64_t domain, uint32_t parent,
                            const int32_t *tokens, uint32_t count)
{
    uint32_t shared, page = prefix_find(&p->prefix, domain, parent, tokens, count, &shared);

    CHECK((page == KV_NO_PAGE) == (shared == 0));
    return shared;
}

TEST(prefix_finds_the_page_that_shares_most_and_compares_every_token)
{
    struct pool_of_pages p;
    int32_t tokens[KV_PAGE_TOKENS];
    uint32_t a, b, shared;

    pages_init(&p, 4);
    a = put(&p, 1, KV_NO_PAGE, page_of(7));
    memcpy(tokens, page_of(7), sizeof(tokens));
    tokens[63] = 8;
    b = put(&p, 1, KV_NO_PAGE, tokens);
    CHECK(a != b);
    CHECK(prefix_find(&p.prefix, 1, KV_NO_PAGE, tokens, 64, &shared) == b && shared == 64);
    CHECK(prefix_find(&p.prefix, 1, KV_NO_PAGE, page_of(7), 64, &shared) == a && shared == 64);
    for (uint32_t i = 0; i < 64; i++) {
        memcpy(tokens, page_of(7), sizeof(tokens));
        tokens[i] = -1;
        CHECK_INT(shared_with(&p, 1, KV_NO_PAGE, tokens, 64), i);
        CHECK_INT(shared_with(&p, 1, KV_NO_PAGE, page_of(7), i), i);
    }
    CHECK_INT(shared_with(&p, 1, a, page_of(7), 64), 0); /* nothing stands behind it */
    CHECK(put(&p, 1, a, page_of(7)) != a);
    CHECK_INT(shared_with(&p, 1, a, page_of(7), 64), 64);
    CHECK_INT(shared_with(&p, 1, b, page_of(7), 64), 0);
    pages_fini(&p);
}

TEST(prefix_keeps_domains_apart)
{
    struct pool_of_pages p;
    uint32_t of_one, of_two;

    pages_init(&p, 3);
    of_one = put(&p, 1, KV_NO_PAGE, page_of(5));
    CHECK_INT(shared_with(&p, 2, KV_NO_PAGE, page_of(5), 64), 0);
    of_two = put(&p, 2, KV_NO_PAGE, page_of(5));
    CHECK(of_one != of_two);
    CHECK_INT(shared_with(&p, 1ull << 63 | 1, KV_NO_PAGE, page_of(5), 64), 0);
    pages_fini(&p);
}

TEST(prefix_keeps_one_of_two_equal_pages)
{
    struct pool_of_pages p;
    uint32_t a;

    pages_init(&p, 3);
    a = put(&p, 1, KV_NO_PAGE, page_of(5));
    CHECK_INT(put(&p, 1, KV_NO_PAGE, page_of(5)), a);
    CHECK_INT(p.kv.free_count, 2);
    CHECK_INT(p.prefix.nodes[a].refs, 2);
    pages_fini(&p);
}

TEST(prefix_gives_up_the_page_that_was_unused_longest_and_leaves_first)
{
    struct pool_of_pages p;
    uint32_t a, a2, b;

    pages_init(&p, 3);
    a = put(&p, 1, KV_NO_PAGE, page_of(1));
    a2 = put(&p, 1, a, page_of(2));
    b = put(&p, 1, KV_NO_PAGE, page_of(3));
    CHECK_INT(prefix_take(&p.prefix), KV_NO_PAGE); /* all are held */
    prefix_release(&p.prefix, a2);
    prefix_release(&p.prefix, a);
    prefix_release(&p.prefix, b);
    prefix_hold(&p.prefix, a); /* somebody comes back */
    prefix_hold(&p.prefix, a2);
    prefix_release(&p.prefix, a2);
    prefix_release(&p.prefix, a);
    CHECK_INT(prefix_take(&p.prefix), b);
    CHECK_INT(prefix_take(&p.prefix), a2);
    CHECK_INT(shared_with(&p, 1, a, page_of(2), 64), 0);
    CHECK_INT(shared_with(&p, 1, KV_NO_PAGE, page_of(1), 64), 64);
    CHECK_INT(prefix_take(&p.prefix), a);
    CHECK_INT(shared_with(&p, 1, KV_NO_PAGE, page_of(1), 64), 0);
    CHECK_INT(prefix_take(&p.prefix), KV_NO_PAGE);
    pages_fini(&p);
}

TEST(prefix_forgets_numbers_and_tokens_of_a_page_it_gives_up)
{
    struct pool_of_pages p;
    uint32_t a;

    pages_init(&p, 1);
    a = prefix_take(&p.prefix);
    memset(kv_at(&p.kv, a, 0, false, 0), 0x5a, kv_page_bytes(&shape, DTYPE_F16));
    prefix_put(&p.prefix, 1, KV_NO_PAGE, a, page_of(9));
    prefix_release(&p.prefix, a);
    CHECK_INT(prefix_take(&p.prefix), a);
    for (size_t i = 0; i < p.kv.page_bytes; i++)
        CHECK_INT(p.kv.data[i], 0);
    for (int i = 0; i < KV_PAGE_TOKENS; i++)
        CHECK_INT(p.prefix.nodes[a].tokens[i], 0);
    CHECK_INT(p.prefix.nodes[a].domain, 0);
    pages_fini(&p);
}

TEST(prefix_keeps_the_longer_of_two_pages_that_begin_alike)
{
    struct pool_of_pages p;
    uint32_t full;

    pages_init(&p, 4);
    prefix_leave(&p.prefix, 1, KV_NO_PAGE, prefix_take(&p.prefix), page_of(4), 10);
    CHECK_INT(shared_with(&p, 1, KV_NO_PAGE, page_of(4), 64), 10);
    prefix_leave(&p.prefix, 1, KV_NO_PAGE, prefix_take(&p.prefix), page_of(4), 9);
    CHECK_INT(p.kv.free_count, 3);
    prefix_leave(&p.prefix, 1, KV_NO_PAGE, prefix_take(&p.prefix), page_of(4), 11);
    CHECK_INT(p.kv.free_count, 3);
    CHECK_INT(shared_with(&p, 1, KV_NO_PAGE, page_of(4), 64), 11);
    full = put(&p, 1, KV_NO_PAGE, page_of(4));
    CHECK_INT(p.kv.free_count, 3);
    CHECK_INT(p.prefix.nodes[full].refs, 1);
    prefix_leave(&p.prefix, 1, KV_NO_PAGE, prefix_take(&p.prefix), page_of(4), 63);
    CHECK_INT(p.kv.free_count, 3);
    CHECK_INT(p.prefix.idle_count, 0);
    prefix_leave(&p.prefix, 2, KV_NO_PAGE, prefix_take(&p.prefix), page_of(4), 63);
    CHECK_INT(p.kv.free_count, 2); /* of another domain */
    pages_fini(&p);
}

/* --- sequences at random, on few pages --- */

#define PAGES     9
#define SEQUENCES 4
#define LONGEST   (4 * KV_PAGE_TOKENS)

struct sequence {
    bool is_alive;
    uint64_t domain;
    int32_t tokens[LONGEST];
    uint32_t pages[LONGEST / KV_PAGE_TOKENS];
    uint32_t count, page_count, tree_pages;
};

/* What a page must hold at a position: a sum of everything before it. */
static uint16_t trace_of(const struct sequence *s, uint32_t position)
{
    uint64_t sum = s->domain * 977;

    for (uint32_t i = 0; i <= position; i++)
        sum = sum * 31 + (uint64_t)s->tokens[i] + 1;
    return (uint16_t)(sum >> 7 | 1);
}

static uint16_t *trace_at(struct pool_of_pages *p, const struct sequence *s, uint32_t position)
{
    return (uint16_t *)kv_at(&p->kv, s->pages[position / KV_PAGE_TOKENS], 1, true, 0) +
           position % KV_PAGE_TOKENS * shape.head_dim + 3;
}

static void check_traces(struct pool_of_pages *p, const struct sequence *s)
{
    for (uint32_t i = 0; i < s->count; i++)
        CHECK_INT(*trace_at(p, s, i), trace_of(s, i));
}

static uint32_t last_page(const struct sequence *s)
{
    return s->tree_pages ? s->pages[s->tree_pages - 1] : KV_NO_PAGE;
}

/* Adopts, copies, computes, puts: what pages.c and a step do with a prompt. */
static bool sequence_begin(struct pool_of_pages *p, struct sequence *s, uint32_t wanted)
{
    while (s->count < wanted) {
        uint32_t shared = 0, page = KV_NO_PAGE, left = wanted - s->count;

        if (s->count % KV_PAGE_TOKENS == 0) {
            uint32_t from = prefix_find(&p->prefix, s->domain, last_page(s), s->tokens + s->count,
                                        left < KV_PAGE_TOKENS ? left : KV_PAGE_TOKENS, &shared);
            if (from != KV_NO_PAGE)
                prefix_hold(&p->prefix, from);
            if (shared == KV_PAGE_TOKENS) {
                s->pages[s->page_count++] = from;
                s->tree_pages++;
                s->count += KV_PAGE_TOKENS;
                continue;
            }
            page = prefix_take(&p->prefix);
            if (from != KV_NO_PAGE && page != KV_NO_PAGE)
                kv_copy(&p->kv, page, from, shared);
            if (from != KV_NO_PAGE)
                prefix_release(&p->prefix, from);
            if (page == KV_NO_PAGE)
                return false;
            s->pages[s->page_count++] = page;
            s->count += shared;
        }
        if (s->count < wanted) {
            *trace_at(p, s, s->count) = trace_of(s, s->count);
            s->count++;
        }
        if (s->count % KV_PAGE_TOKENS == 0) {
            s->pages[s->tree_pages] =
                prefix_put(&p->prefix, s->domain, last_page(s), s->pages[s->tree_pages],
                           s->tokens + s->count - KV_PAGE_TOKENS);
            s->tree_pages++;
        }
    }
    return true;
}

static void sequence_end(struct pool_of_pages *p, struct sequence *s, bool leaves)
{
    uint32_t last = s->count % KV_PAGE_TOKENS;

    if (s->page_count > s->tree_pages) {
        if (leaves && last)
            prefix_leave(&p->prefix, s->domain, last_page(s), s->pages[s->tree_pages],
                         s->tokens + s->count - last, last);
        else
            kv_give(&p->kv, s->pages[s->tree_pages]);
    }
    while (s->tree_pages > 0)
        prefix_release(&p->prefix, s->pages[--s->tree_pages]);
    *s = (struct sequence){0};
}

static void check_children(struct pool_of_pages *p, uint32_t first, uint32_t parent)
{
    const struct prefix_node *nodes = p->prefix.nodes;

    for (uint32_t a = first; a != KV_NO_PAGE; a = nodes[a].next) {
        CHECK_INT(nodes[a].parent, parent);
        CHECK(nodes[a].next == KV_NO_PAGE || nodes[nodes[a].next].prev == a);
        CHECK(nodes[a].count == KV_PAGE_TOKENS || nodes[a].child == KV_NO_PAGE);
        CHECK(parent == KV_NO_PAGE || nodes[parent].refs >= nodes[a].refs);
        CHECK(parent == KV_NO_PAGE || nodes[parent].domain == nodes[a].domain);
        for (uint32_t b = first; b != KV_NO_PAGE; b = nodes[b].next)
            CHECK(a == b || nodes[a].domain != nodes[b].domain ||
                  memcmp(nodes[a].tokens, nodes[b].tokens, nodes[a].count * sizeof(int32_t)) != 0);
        check_children(p, nodes[a].child, a);
    }
}

static void check_states(struct pool_of_pages *p, const struct sequence *s)
{
    bool was_older[PAGES] = {false};
    uint32_t states[PAGES] = {0}, held[PAGES] = {0}, idle = 0;

    for (uint32_t i = 0; i < p->kv.free_count; i++)
        states[p->kv.free_list[i]]++;
    for (int i = 0; i < SEQUENCES; i++)
        for (uint32_t k = 0; k < s[i].page_count; k++) {
            held[s[i].pages[k]] += k < s[i].tree_pages;
            states[s[i].pages[k]] += k >= s[i].tree_pages;
        }
    for (uint32_t at = p->prefix.oldest; at != KV_NO_PAGE; at = p->prefix.nodes[at].younger) {
        uint32_t parent = p->prefix.nodes[at].parent;

        CHECK_INT(p->prefix.nodes[at].refs, 0);
        CHECK(parent == KV_NO_PAGE || !was_older[parent]);
        was_older[at] = true;
        idle++;
    }
    CHECK_INT(p->prefix.idle_count, idle);
    for (uint32_t i = 0; i < PAGES; i++) {
        CHECK_INT(states[i] + (p->prefix.nodes[i].count > 0), 1);
        CHECK_INT(p->prefix.nodes[i].refs, held[i]);
        CHECK(was_older[i] == (p->prefix.nodes[i].count > 0 && held[i] == 0));
    }
    check_children(p, p->prefix.first, KV_NO_PAGE);
}

TEST(prefix_hands_out_the_right_past_whatever_comes_and_goes)
{
    static struct sequence s[SEQUENCES];
    struct pool_of_pages p;
    struct rng rng;
    uint64_t found = 0, starved = 0;

    pages_init(&p, PAGES);
    rng_seed(&rng, 5);
    for (int round = 0; round < 20000; round++) {
        struct sequence *one = &s[rng_below(&rng, SEQUENCES)];
        uint32_t wanted = 1 + (uint32_t)rng_below(&rng, LONGEST);

        if (one->is_alive) {
            check_traces(&p, one);
            sequence_end(&p, one, rng_below(&rng, 4) != 0);
        } else {
            /* Few words, so that many begin alike and part anywhere. */
            one->domain = 1 + rng_below(&rng, 2);
            for (uint32_t i = 0; i < LONGEST; i++)
                one->tokens[i] = rng_below(&rng, 50) == 0;
            one->is_alive = true;
            if (rng_below(&rng, 3))
                memset(one->tokens, 0, wanted / 2 * sizeof(int32_t));
            found += shared_with(&p, one->domain, KV_NO_PAGE, one->tokens, 64) == 64;
            if (!sequence_begin(&p, one, wanted)) {
                starved++;
                sequence_end(&p, one, true);
            }
        }
        check_states(&p, s);
    }
    printf("# %llu began in the tree, %llu starved\n", (unsigned long long)found,
           (unsigned long long)starved);
    CHECK(found > 1000 && starved > 100);
    pages_fini(&p);
}
