/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.c - see lookup.h */
#include "infer/lookup.h"

#include <string.h>

void lookup_carve(struct lookup *l, uint32_t tokens_max, struct carve *c)
{
    *l = (struct lookup){.bits = 6};
    while (l->bits < 24 && (UINT32_C(1) << l->bits) < tokens_max)
        l->bits++;
    l->heads = carve_array(c, uint32_t, (size_t)1 << l->bits);
    l->before = carve_array(c, uint32_t, tokens_max);
}

void lookup_reset(struct lookup *l)
{
    memset(l->heads, 0, sizeof(*l->heads) << l->bits);
    l->entered = 0;
}

/* Of the LOOKUP_LEAST tokens that end at `last`.  Odd constants (from the golden ratio), and the
 * high bits, which all of the tokens reach. */
static uint32_t *head_of(const struct lookup *l, const int32_t *tokens, uint32_t last)
{
    uint64_t h = 0;

    for (uint32_t i = 0; i < LOOKUP_LEAST; i++)
        h = (h + (uint32_t)tokens[last - i] + 1) * UINT64_C(0x9e3779b97f4a7c15);
    return &l->heads[h >> (64 - l->bits)];
}

static void enter(struct lookup *l, const int32_t *tokens, uint32_t end)
{
    for (; l->entered < end; l->entered++) {
        uint32_t *head;

        if (l->entered + 1 < LOOKUP_LEAST)
            continue;
        head = head_of(l, tokens, l->entered);
        l->before[l->entered] = *head;
        *head = l->entered + 1;
    }
}

/* How many tokens up to and with a are those up to and with b; a < b. */
static uint32_t common(const int32_t *tokens, uint32_t a, uint32_t b)
{
    uint32_t n = 0;

    while (n < LOOKUP_MATCH_MAX && n <= a && tokens[a - n] == tokens[b - n])
        n++;
    return n;
}

uint32_t lookup_find(struct lookup *l, const int32_t *tokens, uint32_t count, uint32_t *at)
{
    uint32_t best = LOOKUP_LEAST - 1, next, found;

    if (count <= LOOKUP_LEAST)
        return 0;
    enter(l, tokens, count - 1); /* not the end itself, which would find itself */
    next = *head_of(l, tokens, count - 1);
    for (int i = 0; next && i < LOOKUP_CHAIN_MAX && best < LOOKUP_MATCH_MAX; i++) {
        found = common(tokens, next - 1, count - 1);
        if (found > best) {
            best = found;
            *at = next;
        }
        next = l->before[next - 1];
    }
    return best < LOOKUP_LEAST ? 0 : best;
}

void lookup_truncate(struct lookup *l, const int32_t *tokens, uint32_t count)
{
    while (l->entered > count) {
        uint32_t last = --l->entered;

        if (last + 1 >= LOOKUP_LEAST)
            *head_of(l, tokens, last) = l->before[last];
    }
}
