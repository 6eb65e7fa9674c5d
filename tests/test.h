/* SPDX-License-Identifier: Apache-2.0 */
/* test.h - claims about the code, printed as TAP.
 *
 *     TEST(arena_stops_at_its_limit)
 *     {
 *         CHECK(arena_alloc(&a, 100) == NULL);
 *     }
 *
 * TEST registers itself; the one source file of a test includes this header once and needs no main.
 * A failed CHECK ends its test.  SKIP("why") ends a test that cannot run here, aloud.  A name given
 * on the command line runs only tests whose name contains it. */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
    struct test *next;
};

static struct test *test_first;
__attribute__((unused)) static struct test **test_last = &test_first;
static jmp_buf test_end;
static const char *test_skipped = "";
static int test_number, test_failures;

/* Where programs run many times slower, under sanitizers and emulators, some of many cases that are
 * alike do: LLMOS_TEST_BRIEF says so. */
static inline bool test_is_brief(void)
{
    return getenv("LLMOS_TEST_BRIEF") != NULL;
}

#define TEST(test_name)                                                 \
    static void test_name(void);                                        \
    __attribute__((constructor)) static void test_name##_register(void) \
    {                                                                   \
        static struct test t = {#test_name, test_name, NULL};           \
        *test_last = &t;                                                \
        test_last = &t.next;                                            \
    }                                                                   \
    static void test_name(void)

#define TEST_FAIL(...)                           \
    do {                                         \
        printf("# %s:%d: ", __FILE__, __LINE__); \
        printf(__VA_ARGS__);                     \
        printf("\n");                            \
        longjmp(test_end, 1);                    \
    } while (0)

#define CHECK(claim)                 \
    do {                             \
        if (!(claim))                \
            TEST_FAIL("%s", #claim); \
    } while (0)

#define CHECK_INT(actual, expected)                                     \
    do {                                                                \
        long long a_ = (long long)(actual), e_ = (long long)(expected); \
        if (a_ != e_)                                                   \
            TEST_FAIL("%s is %lld, expected %lld", #actual, a_, e_);    \
    } while (0)

#define CHECK_STR(actual, expected)                                                      \
    do {                                                                                 \
        const char *a_ = (actual), *e_ = (expected);                                     \
        if (!a_ || strcmp(a_, e_) != 0)                                                  \
            TEST_FAIL("%s is \"%s\", expected \"%s\"", #actual, a_ ? a_ : "(null)", e_); \
    } while (0)

#define CHECK_CONTAINS(actual, part)                                                        \
    do {                                                                                    \
        const char *a_ = (actual), *p_ = (part);                                            \
        if (!a_ || !strstr(a_, p_))                                                         \
            TEST_FAIL("%s is \"%s\", which lacks \"%s\"", #actual, a_ ? a_ : "(null)", p_); \
    } while (0)

#define CHECK_NEAR(actual, expected, tolerance)                                \
    do {                                                                       \
        double a_ = (double)(actual), e_ = (expected), t_ = (tolerance);       \
        if (!(fabs(a_ - e_) <= t_))                                            \
            TEST_FAIL("%s is %.9g, expected %.9g +- %g", #actual, a_, e_, t_); \
    } while (0)

#define SKIP(why)             \
    do {                      \
        test_skipped = (why); \
        longjmp(test_end, 2); \
    } while (0)

/* Makes the 1st, 2nd, ... allocation inside the block fail until none fails any more:
 *
 *     EVERY_ALLOCATION_FAILS {
 *         rc = thing_create(&thing, &err);
 *         CHECK(rc == 0 || rc == LLMOS_ENOMEM);
 *         if (rc == 0)
 *             thing_destroy(thing);
 *     }
 * Needs base/mem.h. */
#define EVERY_ALLOCATION_FAILS                                              \
    for (unsigned long nth_ = 1, on_ = 1; on_ && (mem_fail_at(nth_), true); \
         on_ = mem_failed(), mem_fail_at(0), nth_++)

int main(int argc, char **argv)
{
    int wanted = 0;

    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test *t = test_first; t; t = t->next)
        wanted += argc < 2 || strstr(t->name, argv[1]);
    printf("1..%d\n", wanted);
    for (struct test *t = test_first; t; t = t->next) {
        if (argc > 1 && !strstr(t->name, argv[1]))
            continue;
        test_number++;
        switch (setjmp(test_end)) {
        case 0:
            t->run();
            printf("ok %d - %s\n", test_number, t->name);
            break;
        case 2:
            printf("ok %d - %s # SKIP %s\n", test_number, t->name, test_skipped);
            break;
        default:
            printf("not ok %d - %s\n", test_number, t->name);
            test_failures++;
        }
    }
    return test_failures ? 1 : 0;
}

#endif
