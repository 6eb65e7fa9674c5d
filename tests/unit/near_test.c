/* SPDX-License-Identifier: Apache-2.0 */
#include "base/near.h"

#include "test.h"

TEST(near_counts_insertions_deletions_changes_and_swaps)
{
    CHECK_INT(near_distance("", ""), 0);
    CHECK_INT(near_distance("abc", ""), 3);
    CHECK_INT(near_distance("", "abc"), 3);
    CHECK_INT(near_distance("kitten", "sitting"), 3);
    CHECK_INT(near_distance("serve", "sevre"), 1);
    CHECK_INT(near_distance("stop", "stop"), 0);
}

TEST(near_does_not_measure_words_of_any_length)
{
    char word[1000];

    memset(word, 'a', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    CHECK_INT(near_distance(word, "a"), NEAR_WORD_MAX);
    CHECK_INT(near_distance("a", word), NEAR_WORD_MAX);
}

TEST(near_takes_the_best_candidate_and_none_that_is_far)
{
    struct near n = {.word = "inspct"};

    near_offer(&n, "install");
    CHECK(!n.best);
    near_offer(&n, "inspects");
    near_offer(&n, "inspect");
    near_offer(&n, "inspects");
    CHECK_STR(n.best, "inspect");
    n = (struct near){.word = "xyzzy"};
    near_offer(&n, "run");
    near_offer(&n, "");
    CHECK(!n.best);
    n = (struct near){.word = "tok"};
    near_offer(&n, "tokenize");
    CHECK_STR(n.best, "tokenize");
}
