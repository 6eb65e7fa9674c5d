/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rng.h"

#include "test.h"

TEST(rng_is_xoshiro256_starstar_as_published)
{
    struct rng r = {{1, 2, 3, 4}};
    const uint64_t expected[] = {11520u,
                                 0u,
                                 1509978240u,
                                 1215971899390074240u,
                                 1216172134540287360u,
                                 607988272756665600u,
                                 16172922978634559625u,
                                 8476171486693032832u,
                                 10595114339597558777u,
                                 2904607092377533576u};

    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        CHECK(rng_u64(&r) == expected[i]);
}

TEST(rng_is_seeded_by_splitmix64_as_published)
{
    struct rng r;
    const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u,
                                 4593380528125082431u};

    rng_seed(&r, 1234567);
    CHECK(memcmp(r.s, expected, sizeof(expected)) == 0);
}

TEST(rng_repeats_and_seeds_differ)
{
    struct rng a, b, c;

    rng_seed(&a, 0);
    rng_seed(&b, 0);
    rng_seed(&c, 1);
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_u64(&a);
        CHECK(x == rng_u64(&b));
        CHECK(x != rng_u64(&c));
    }
}

TEST(rng_uniform_and_normal_have_their_moments)
{
    struct rng r;
    double sum = 0, squares = 0, normal = 0, normal_squares = 0;
    const int n = 200000;

    rng_seed(&r, 7);
    for (int i = 0; i < n; i++) {
        double u = rng_uniform(&r), z = rng_normal(&r);

        CHECK(u >= 0 && u < 1);
        sum += u;
        squares += u * u;
        normal += z;
        normal_squares += z * z;
    }
    /* five standard errors */
    CHECK_NEAR(sum / n, 0.5, 5 * 0.2887 / sqrt(n));
    CHECK_NEAR(squares / n, 1.0 / 3, 5 * 0.2981 / sqrt(n));
    CHECK_NEAR(normal / n, 0, 5 / sqrt(n));
    CHECK_NEAR(normal_squares / n, 1, 5 * 1.4142 / sqrt(n));
}

TEST(rng_below_reaches_every_value_evenly)
{
    struct rng r;
    int seen[7] = {0};

    rng_seed(&r, 11);
    for (int i = 0; i < 70000; i++)
        seen[rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        CHECK_NEAR(seen[i], 10000, 500);
    CHECK_INT(rng_below(&r, 1), 0);
    for (int i = 0; i < 100; i++)
        CHECK(rng_below(&r, (1ull << 63) + 1) <= 1ull << 63);
}

TEST(csprng_fills_any_length_and_never_repeats)
{
    struct csprng c;
    unsigned char a[1000] = {0}, b[1000] = {0};
    int ones = 0;

    csprng_init(&c);
    for (size_t n = 0; n < 40; n++)
        CHECK_INT(csprng_fill(&c, a, n, NULL), 0);
    CHECK_INT(csprng_fill(&c, a, sizeof(a), NULL), 0);
    CHECK_INT(csprng_fill(&c, b, sizeof(b), NULL), 0);
    for (size_t i = 0; i + 16 <= sizeof(a); i++)
        CHECK(memcmp(a + i, b + i, 16) != 0);
    for (size_t i = 0; i < sizeof(a); i++)
        ones += __builtin_popcount(a[i]);
    CHECK_NEAR(ones, 4000, 270); /* six standard deviations */
    csprng_fini(&c);
}

TEST(csprng_wipes_what_it_gave_out)
{
    struct csprng c;
    unsigned char got[40];

    csprng_init(&c);
    CHECK_INT(csprng_fill(&c, got, sizeof(got), NULL), 0);
    CHECK_INT(c.left, sizeof(c.bytes) - sizeof(got));
    for (size_t i = c.left; i < sizeof(c.bytes); i++)
        CHECK_INT(c.bytes[i], 0);
    csprng_fini(&c);
    CHECK_INT(c.left, 0);
}
