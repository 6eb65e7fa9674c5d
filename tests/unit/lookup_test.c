/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/lookup.h"

#include "base/rng.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>

#define MAX 4096

static void *block;

static struct lookup lookup_of(uint32_t tokens_max)
{
    struct carve c = {0};
    struct lookup l;

    lookup_carve(&l, tokens_max, &c);
    block = aligned_alloc(64, c.used);
    memset(block, 0xAA, c.used);
    c = (struct carve){.at = block};
    lookup_carve(&l, tokens_max, &c);
    lookup_reset(&l);
    return l;
}

/* The slow, obvious search. */
static uint32_t search(const int32_t *tokens, uint32_t count, uint32_t *at)
{
    uint32_t best = LOOKUP_LEAST - 1;

    for (uint32_t i = count - 1; i-- > 0;) {
        uint32_t n = 0;

        while (n <= i && n < LOOKUP_MATCH_MAX && tokens[i - n] == tokens[count - 1 - n])
            n++;
        if (n > best) {
            best = n;
            *at = i + 1;
        }
    }
    return best < LOOKUP_LEAST ? 0 : best;
}

TEST(lookup_finds_what_the_slow_search_finds)
{
    /* Eight tokens: a chain is seldom longer than what is looked at, matches are frequent. */
    static int32_t tokens[MAX];
    struct lookup l = lookup_of(600);
    struct rng rng;
    uint32_t found = 0;

    rng_seed(&rng, 7);
    for (int i = 0; i < 600; i++)
        tokens[i] = (int32_t)rng_below(&rng, 8);
    for (uint32_t n = 1; n <= 600; n++) {
        uint32_t at = 0, slow_at = 0, shared = lookup_find(&l, tokens, n, &at);

        CHECK_INT(shared, search(tokens, n, &slow_at));
        CHECK_INT(at, slow_at);
        found += shared > 0;
    }
    CHECK(found > 100);
    free(block);
}

TEST(lookup_prefers_the_longest_and_of_equals_the_latest)
{
    const int32_t tokens[] = {9, 1, 2, 3, 40, 1, 2, 3, 50, 1, 2, 3, 60, 9, 1, 2, 3};
    struct lookup l = lookup_of(32);
    uint32_t at = 0;

    CHECK_INT(lookup_find(&l, tokens, 12, &at), 3);
    CHECK_INT(tokens[at], 50);
    CHECK_INT(lookup_find(&l, tokens, 17, &at), 4); /* 9 1 2 3 stood at the beginning alone */
    CHECK_INT(tokens[at], 40);
    free(block);
}

TEST(lookup_finds_nothing_in_fewer_tokens_than_it_compares)
{
    const int32_t tokens[] = {5, 5, 5, 5, 6, 7};
    struct lookup l = lookup_of(6);
    uint32_t at = 0;

    CHECK_INT(lookup_find(&l, tokens, 0, &at), 0);
    CHECK_INT(lookup_find(&l, tokens, 1, &at), 0);
    CHECK_INT(lookup_find(&l, tokens, 3, &at), 0);
    CHECK_INT(lookup_find(&l, tokens, 4, &at), 3);
    CHECK_INT(at, 3); /* behind the first three: the last of the sequence itself */
    CHECK_INT(lookup_find(&l, tokens, 6, &at), 0);
    free(block);
}

/* One token for ever: every position has the same hash.  What is looked at stays bounded, which
 * shows in what is found: the latest places, as if the others were not there. */
TEST(lookup_looks_at_a_bounded_number_of_places)
{
    static int32_t tokens[MAX];
    struct lookup l = lookup_of(MAX);
    uint32_t at = 0;

    for (int i = 0; i < LOOKUP_LEAST; i++)
        tokens[100 + i] = 1; /* far away: 2 1 1 1 among zeros */
    tokens[99] = 2;
    for (uint32_t n = 1; n <= MAX; n++) {
        uint32_t shared = lookup_find(&l, tokens, n, &at);

        if (n > 200) {
            CHECK_INT(shared, LOOKUP_MATCH_MAX);
            CHECK_INT(at, n - 1);
        }
    }
    for (uint32_t i = 0; i < LOOKUP_CHAIN_MAX + 1; i++) { /* a better place behind many others */
        int32_t *t = tokens + 1000 + 8 * i;

        memcpy(t, (int32_t[]){30 + (int32_t)i, 5, 6, 7, 8, 9, 10, 11}, 8 * sizeof(*t));
    }
    lookup_truncate(&l, tokens, 900);
    memcpy(tokens + 1500, (int32_t[]){30, 5, 6, 7}, 4 * sizeof(*tokens));
    CHECK_INT(lookup_find(&l, tokens, 1504, &at), 3); /* not the four with the 30 */
    memcpy(tokens + 1504, (int32_t[]){31, 5, 6, 7}, 4 * sizeof(*tokens));
    CHECK_INT(lookup_find(&l, tokens, 1508, &at), 3);
    free(block);
}

TEST(a_lookup_that_was_cut_knows_what_is_left_and_no_more)
{
    static int32_t tokens[MAX];
    struct lookup l = lookup_of(400);
    struct rng rng;
    uint32_t n = 0;

    rng_seed(&rng, 8);
    for (int round = 0; round < 200; round++) {
        uint32_t end = n + 1 + (uint32_t)rng_below(&rng, 400 - n), at = 0, slow_at = 0;

        for (; n < end; n++)
            tokens[n] = (int32_t)rng_below(&rng, 6);
        CHECK_INT(lookup_find(&l, tokens, n, &at), search(tokens, n, &slow_at));
        CHECK_INT(at, slow_at);
        n = (uint32_t)rng_below(&rng, n);
        lookup_truncate(&l, tokens, n);
    }
    free(block);
}
