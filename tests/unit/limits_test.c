/* SPDX-License-Identifier: Apache-2.0 */
/* limits_test.c - what the machine can do is a number where it has the instructions, and absent
 * where not. */
#include "test.h"

#include "tensor/cpu.h"
#include "tensor/limits.h"

#include <math.h>
#include <stdlib.h>

/* With so many threads and so much memory at most. */
static struct limits measured(unsigned threads, size_t memory_max_bytes)
{
    struct limit_memory m;
    struct pool *pool;
    struct limits l;

    CHECK_INT(pool_create(&pool, threads, NULL), 0);
    limit_memory_init(&m, pool, memory_max_bytes);
    limits_measure(&l, pool, &m);
    limit_memory_fini(&m);
    pool_destroy(pool);
    return l;
}

TEST(limits_are_there_exactly_where_the_instructions_are)
{
    struct limits l = measured(2, (size_t)64 << 20);

    CHECK(l.read_gbs > 0 && isfinite(l.read_gbs));
    CHECK((l.int8_gops > 0) == cpu_has_avx2());
    CHECK((l.bf16_gflops > 0) == cpu_has_avx512bf16());
    CHECK((l.f32_gflops > 0) == cpu_has_avx2());
    CHECK(isfinite(l.int8_gops) && isfinite(l.bf16_gflops) && isfinite(l.f32_gflops));
}

TEST(limits_do_not_read_less_than_a_cache_holds)
{
    CHECK(measured(1, (size_t)63 << 20).read_gbs == 0);
}

TEST(memory_is_read_piece_after_piece)
{
    struct limit_memory m;
    struct pool *pool;

    CHECK_INT(pool_create(&pool, 2, NULL), 0);
    limit_memory_init(&m, pool, (size_t)130 << 20);
    CHECK_INT(m.bytes, (size_t)128 << 20);
    for (size_t i = 1; i < 20; i++) {
        CHECK(limit_memory_read(&m, pool) > 0);
        CHECK_INT(m.next, 2 * i % 16 * (m.bytes / 16));
    }
    limit_memory_fini(&m);
    CHECK(limit_memory_read(&m, pool) == 0);
    pool_destroy(pool);
}
