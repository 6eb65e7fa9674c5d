/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/clock.h"
#include "base/shares.h"

#define PARTS 4

/* What threads of these speeds do with their shares of `count` items. */
static void work(const float *learned, const double *speed, unsigned parts, size_t count,
                 struct share_done *done)
{
    for (unsigned i = 0; i < parts; i++) {
        size_t begin, end;

        shares_cut(learned, i, parts, count, &begin, &end);
        done[i].items = end - begin;
        done[i].end = 1000 + (uint64_t)((double)(end - begin) * 1000 / speed[i]);
    }
}

static void learn(float *learned, const double *speed, unsigned parts, size_t count, int times)
{
    struct share_done done[PARTS];

    while (times-- > 0) {
        work(learned, speed, parts, count, done);
        shares_learn(learned, done, parts, 1000);
    }
}

static size_t items_of(const float *learned, unsigned part, unsigned parts, size_t count)
{
    size_t begin, end;

    shares_cut(learned, part, parts, count, &begin, &end);
    return end - begin;
}

TEST(shares_are_equal_first)
{
    float s[PARTS];

    shares_begin(s, PARTS);
    for (unsigned i = 0; i < PARTS; i++)
        CHECK_INT(items_of(s, i, PARTS, 100), 25);
}

/* Each item falls to one part, whatever was learned. */
TEST(shares_lie_end_to_end)
{
    const double speed[PARTS] = {1, 0.3, 2.7, 0.01};
    float s[PARTS];

    shares_begin(s, PARTS);
    for (int round = 0; round < 50; round++) {
        for (size_t count = 0; count < 40; count++) {
            size_t at = 0;

            for (unsigned i = 0; i < PARTS; i++) {
                size_t begin, end;

                shares_cut(s, i, PARTS, count, &begin, &end);
                CHECK_INT(begin, at);
                CHECK(end >= begin);
                at = end;
            }
            CHECK_INT(at, count);
        }
        learn(s, speed, PARTS, 1000, 1);
    }
}

TEST(a_thread_that_is_half_as_fast_gets_half_as_much)
{
    const double speed[PARTS] = {2, 1, 2, 1};
    float s[PARTS];

    shares_begin(s, PARTS);
    learn(s, speed, PARTS, 6000, 60);
    CHECK(items_of(s, 0, PARTS, 600) > 195 && items_of(s, 0, PARTS, 600) < 205);
    CHECK(items_of(s, 1, PARTS, 600) > 95 && items_of(s, 1, PARTS, 600) < 105);
}

/* Shares of few items are coarse; speeds are not. */
TEST(few_items_do_not_disturb_what_is_learned)
{
    const double speed[2] = {1, 1};
    float s[2];

    shares_begin(s, 2);
    learn(s, speed, 2, 3, 100);
    CHECK(s[0] > 0.99f && s[0] < 1.01f);
    CHECK_INT(items_of(s, 0, 2, 100), 50);
}

/* As of a thread whose core was somebody else's for a while. */
TEST(one_long_wait_costs_little_and_is_forgotten)
{
    const double speed[2] = {1, 1};
    struct share_done done[2];
    float s[2];

    shares_begin(s, 2);
    work(s, speed, 2, 1000, done);
    done[1].end += 1000000000;
    shares_learn(s, done, 2, 1000);
    CHECK(items_of(s, 1, 2, 1000) > 450 && items_of(s, 1, 2, 1000) < 500);
    learn(s, speed, 2, 1000, 40);
    CHECK(items_of(s, 1, 2, 1000) > 497);
}

TEST(a_thread_that_got_nothing_is_tried_again)
{
    const double slow[2] = {1, 1e-6}, fast[2] = {1, 1};
    float s[2];

    shares_begin(s, 2);
    learn(s, slow, 2, 8, 1000);
    CHECK(items_of(s, 1, 2, 8) <= 1);
    learn(s, fast, 2, 8, 1000);
    CHECK_INT(items_of(s, 1, 2, 8), 4);
}

/* Clocks of two cores may differ. */
TEST(an_end_before_the_start_says_nothing)
{
    struct share_done done[2] = {{.items = 10, .end = 5}, {.items = 10, .end = 2000}};
    float s[2];

    shares_begin(s, 2);
    for (int i = 0; i < 100; i++)
        shares_learn(s, done, 2, 1000);
    CHECK_INT(items_of(s, 0, 2, 100), 50);
}

TEST(ticks_go_on)
{
    uint64_t before = clock_ticks(), start = clock_ns();

    while (clock_ns() - start < 1000000)
        ;
    CHECK(clock_ticks() > before);
}
