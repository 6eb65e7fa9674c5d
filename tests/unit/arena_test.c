/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"
#include "base/mem.h"
#include "test.h"

#include <stdint.h>
#include <sys/mman.h>

TEST(arena_gives_zeroed_aligned_memory)
{
    struct arena a;

    arena_init(&a, 1 << 20);
    for (size_t n = 0; n < 300; n++) {
        unsigned char *p = arena_alloc(&a, n);

        CHECK(p && (uintptr_t)p % 16 == 0);
        for (size_t i = 0; i < n; i++)
            CHECK(p[i] == 0);
        memset(p, 0xff, n);
    }
    arena_fini(&a);
}

TEST(arena_gives_blocks_larger_than_its_own)
{
    struct arena a;
    char *p;

    arena_init(&a, 1 << 20);
    p = arena_alloc(&a, 500000);
    CHECK(p);
    p[499999] = 1;
    CHECK(arena_alloc(&a, 10));
    arena_fini(&a);
}

TEST(arena_stops_at_its_limit)
{
    struct arena a;

    arena_init(&a, 100);
    CHECK(arena_alloc(&a, 90)); /* rounded to 96 */
    CHECK(arena_alloc(&a, 16) == NULL);
    CHECK(arena_alloc(&a, 4) == NULL);
    CHECK(arena_alloc(&a, 0));
    arena_fini(&a);
}

TEST(arena_refuses_sizes_that_wrap)
{
    struct arena a;

    arena_init(&a, SIZE_MAX);
    CHECK(arena_calloc(&a, SIZE_MAX / 2, 3) == NULL);
    CHECK(arena_alloc(&a, SIZE_MAX) == NULL);
    CHECK(arena_strndup(&a, "", SIZE_MAX) == NULL);
    CHECK_STR(arena_strndup(&a, "words", 4), "word");
    arena_fini(&a);
}

TEST(arena_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        struct arena a;

        arena_init(&a, 1 << 20);
        for (int i = 0; i < 20; i++) {
            char *p = arena_alloc(&a, 10000);

            if (p)
                p[9999] = 1;
        }
        arena_fini(&a);
    }
}

TEST(aligned_memory_is_zeroed_whatever_its_size_and_was_used_before)
{
    const size_t sizes[] = {0, 1, 64, 100, 1 << 20, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};

    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
            unsigned char *p = mem_aligned(sizes[i]), bits = 0;

            CHECK(p && (uintptr_t)p % 64 == 0);
            for (size_t b = 0; b < sizes[i]; b++)
                bits |= p[b];
            CHECK_INT(bits, 0);
            memset(p, 0xff, sizes[i]);
            mem_free(p);
        }
}

TEST(reserved_memory_is_zero_and_what_is_taken_is_there)
{
    const size_t page = 4096, bytes = 1024 * page, now = 600 * page;
    unsigned char *p = mem_reserve(bytes, now), there[1024];
    size_t touched = 0;

    CHECK(p && mincore(p, bytes, there) == 0 && !(there[0] & 1));
    mem_take(p, now);
    CHECK(mincore(p, bytes, there) == 0);
    for (size_t i = 0; i < 1024; i++) {
        CHECK((there[i] & 1) || i >= now / page);
        touched += there[i] & 1;
    }
    CHECK(touched < 1024); /* the rest is not */
    for (size_t i = 0; i < bytes; i++)
        CHECK(p[i] == 0);
    mem_release(p, bytes);
    mem_release(NULL, bytes);
    CHECK(!mem_reserve(SIZE_MAX / 2, 0));
    mem_fail_at(1);
    CHECK(!mem_reserve(page, 0) && mem_failed());
    mem_fail_at(0);
}
