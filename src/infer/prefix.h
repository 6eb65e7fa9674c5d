/* SPDX-License-Identifier: Apache-2.0 */
/* prefix.h - pages of the cache that sequences share: a tree in which the way to a page spells the
 * tokens of a beginning.
 *
 * A node is a page: its tokens, and as parent the page before it.  What sequences have computed
 * stays here when they end, and one that begins with the same tokens goes on behind them.  Tokens
 * are compared one by one; no hash is trusted, so no collision can hand a sequence the past of
 * another.  A lookup compares each page once at most, whatever the tree looks like.
 *
 * Every page is in one state: free (in the list of kv.h), private (taken by one sequence, which may
 * write it), or in the tree (read only).  A page of the tree counts the sequences that hold it; who
 * holds a page holds those before it as well.  Pages that nobody holds stand in a list, the longest
 * unused first, and are given up when a page is needed.  A page enters that list after the pages
 * behind it, so the first of the list is always a leaf.
 *
 * Domains do not see each other: pages of one are never found from another, and a page that changes
 * hands is wiped (kv.h).  A lookup steps over the first pages of other domains by their number
 * alone: its time tells at most how many there are, not what they say.
 *
 * Nothing is allocated: there are as many nodes as pages.  One thread. */
#ifndef INFER_PREFIX_H
#define INFER_PREFIX_H

#include "infer/kv.h"

struct prefix_node {
    int32_t tokens[KV_PAGE_TOKENS];
    uint64_t domain;
    uint32_t count;  /* tokens; 0: the page is not in the tree.  Fewer than a page: a leaf, never
                        held, of which others take copies */
    uint32_t refs;   /* sequences that hold it */
    uint32_t parent; /* KV_NO_PAGE: the first page of a beginning */
    uint32_t child, next, prev; /* one of its children; its siblings */
    uint32_t older, younger;    /* in the list of those that nobody holds */
};

struct prefix {
    struct kv *kv;
    struct prefix_node *nodes; /* by number of the page */
    uint32_t first;            /* of the pages without parent */
    uint32_t oldest, youngest, idle_count;
};

void prefix_carve(struct prefix *p, uint32_t pages, struct carve *c);
void prefix_reset(struct prefix *p, struct kv *kv); /* empty; kv was reset too */

/* A private page: a free one, else the one that was unused longest; KV_NO_PAGE if all are held. */
uint32_t prefix_take(struct prefix *p);

/* The page behind `parent` (KV_NO_PAGE: at the beginning) that shares the most of `count` tokens
 * with those given, at most a page of them; *shared says how many.  KV_NO_PAGE: none shares any. */
uint32_t prefix_find(const struct prefix *p, uint64_t domain, uint32_t parent,
                     const int32_t *tokens, uint32_t count, uint32_t *shared);

void prefix_hold(struct prefix *p, uint32_t page);
void prefix_release(struct prefix *p, uint32_t page); /* those behind it first */

/* Puts a private page, full, into the tree behind `parent`, which the caller holds, and holds it.
 * If the tree has such a page already, the private one is given back; the result is the page that
 * now stands for both. */
uint32_t prefix_put(struct prefix *p, uint64_t domain, uint32_t parent, uint32_t page,
                    const int32_t *tokens);

/* The same for the last page of a sequence that ends, of which only `count` positions are written:
 * it is held by nobody, and given back if another page begins with the same tokens. */
void prefix_leave(struct prefix *p, uint64_t domain, uint32_t parent, uint32_t page,
                  const int32_t *tokens, uint32_t count);

#endif
