/* SPDX-License-Identifier: Apache-2.0 */
#include "infer/draft.h"

#include "test.h"

#include <math.h>

/* A step of r rows takes 100 + each * (r - 1). */
static struct draft_cost cost_of(double each)
{
    struct draft_cost c = {0};

    for (uint32_t r = 1; r <= DRAFT_ROWS_MAX; r++)
        draft_cost_note(&c, r, (uint64_t)(100 + each * (r - 1)));
    return c;
}

static uint32_t length_at(double right, double each, double guess_ns)
{
    struct draft_cost c = cost_of(each);
    struct draft_odds o;

    draft_odds_init(&o, right);
    return draft_length(&o, &c, 1, 1, 16, guess_ns);
}

TEST(the_tokens_of_a_draft_are_those_of_the_formula)
{
    struct draft_odds o;

    for (double a = 0.1; a < 1; a += 0.2) {
        draft_odds_init(&o, a);
        for (uint32_t k = 0; k <= 16; k++)
            CHECK_NEAR(1 + draft_tokens(&o, k), (1 - pow(a, k + 1)) / (1 - a), 1e-9);
    }
}

TEST(the_length_of_a_draft_maximises_tokens_over_time)
{
    for (double each = 2; each < 60; each *= 1.5)
        for (double a = 0.05; a < 1; a += 0.05) {
            uint32_t best = 0;
            double most = 1.03;

            for (uint32_t k = 1; k <= 16; k++) {
                double rate = (1 - pow(a, k + 1)) / (1 - a) / (floor(100 + each * k) / 100);

                if (rate > most) {
                    most = rate;
                    best = k;
                }
            }
            CHECK_INT(length_at(a, each, 0), best);
        }
}

TEST(guesses_are_longer_where_they_are_right_and_rows_are_cheap)
{
    CHECK_INT(length_at(0.99, 2, 0), 16);
    CHECK_INT(length_at(0.99, 200, 0), 0); /* two steps are cheaper than one of two rows */
    CHECK_INT(length_at(0.02, 5, 0), 0);
    CHECK(length_at(0.5, 5, 0) > 0 && length_at(0.5, 5, 0) < length_at(0.9, 5, 0));
    CHECK(length_at(0.9, 5, 20) < length_at(0.9, 5, 0)); /* what a guess costs counts */
    CHECK_INT(length_at(0.9, 5, 100), 0);
}

TEST(many_rows_leave_no_room_for_guesses)
{
    struct draft_cost c = cost_of(1);
    struct draft_odds o;

    draft_odds_init(&o, 0.99);
    CHECK_INT(draft_length(&o, &c, DRAFT_ROWS_MAX, DRAFT_ROWS_MAX, 16, 0), 0);
    CHECK_INT(draft_length(&o, &c, DRAFT_ROWS_MAX + 500, DRAFT_ROWS_MAX + 500, 16, 0), 0);
    CHECK(draft_length(&o, &c, DRAFT_ROWS_MAX - 1, 1, 16, 0) <= 1);
    CHECK_INT(draft_length(&o, &c, 1, 1, 0, 0), 0);
}

TEST(the_odds_follow_what_was_right)
{
    struct draft_odds o;

    draft_odds_init(&o, 0.5);
    for (int i = 0; i < 20; i++)
        draft_odds_note(&o, 8, 8);
    CHECK(o.right > 0.95);
    for (int i = 0; i < 40; i++)
        draft_odds_note(&o, 4, 0); /* one was tried, three never had their turn */
    CHECK(o.right < 0.01);
    for (int i = 0; i < 400; i++)
        draft_odds_note(&o, 4, 3); /* three of four */
    CHECK(o.right > 0.6 && o.right < 0.9);
    draft_odds_note(&o, 0, 0);
}

/* The tokens lost to guesses that are never right, of so many chances. */
static uint32_t tries(uint32_t chances)
{
    struct draft_cost c = cost_of(10);
    struct draft_odds o;
    uint32_t count = 0;

    draft_odds_init(&o, 0.4);
    for (uint32_t i = 0; i < chances; i++) {
        uint32_t k = draft_length(&o, &c, 1, 1, 16, 0);

        count += k;
        if (k)
            draft_odds_note(&o, k, 0);
    }
    return count;
}

TEST(guesses_that_are_never_right_become_rare)
{
    CHECK(tries(50) > 0);
    CHECK(tries(1000) < 60);
    CHECK(tries(100000) - tries(50000) < 150); /* two every 1024 chances */
    CHECK(tries(100000) > tries(50000));       /* but they do not end */
}

TEST(guesses_come_back_when_they_are_right_again)
{
    struct draft_cost c = cost_of(10);
    struct draft_odds o;
    uint32_t chances = 0;

    draft_odds_init(&o, 0);
    while (chances < 10000 && o.right < 0.9) {
        uint32_t k = draft_length(&o, &c, 1, 1, 16, 0);

        draft_odds_note(&o, k, k);
        chances++;
    }
    CHECK(chances < 100);
}

TEST(costs_that_nobody_measured_lie_between_their_neighbours)
{
    struct draft_cost c = {0};

    CHECK(draft_cost_of(&c, 5) > draft_cost_of(&c, 1)); /* in no unit yet */
    draft_cost_note(&c, 3, 120);
    CHECK(draft_cost_of(&c, 1) < 120 && draft_cost_of(&c, 1) > 60);
    CHECK(draft_cost_of(&c, 9) > 120 && draft_cost_of(&c, 9) < 240);
    draft_cost_note(&c, 7, 200);
    CHECK_NEAR(draft_cost_of(&c, 4), 140, 1e-9);
    CHECK_NEAR(draft_cost_of(&c, 7), 200, 1e-9);
    draft_cost_note(&c, 1000, 5); /* more rows than anybody asks about */
    draft_cost_note(&c, 0, 5);
}

TEST(a_step_that_was_interrupted_changes_its_cost_little_and_an_old_one_is_forgotten)
{
    struct draft_cost c = {0};

    draft_cost_note(&c, 2, 100);
    draft_cost_note(&c, 2, 1000000);
    CHECK(draft_cost_of(&c, 2) < 120);
    draft_cost_note(&c, 6, 900);
    for (int i = 0; i < 2000; i++)
        draft_cost_note(&c, 2, 100);
    CHECK(draft_cost_of(&c, 6) < 200);
}
