/* SPDX-License-Identifier: Apache-2.0 */
/* limits_test.c - what the machine can do is a number where it has the instructions, and absent
 * where not. */
#include "test.h"

#include "tensor/cpu.h"
#include "tensor/limits.h"

#include <math.h>
#include <stdlib.h>

TEST(limits_are_there_exactly_where_the_instructions_are)
{
    struct pool *pool;
    struct limits l;

    CHECK_INT(pool_create(&pool, 2, NULL), 0);
    limits_measure(&l, pool, (size_t)64 << 20);
    CHECK(l.read_gbs > 0 && isfinite(l.read_gbs));
    CHECK((l.int8_gops > 0) == cpu_has_avx512vnni());
    CHECK((l.bf16_gflops > 0) == cpu_has_avx512bf16());
    CHECK((l.f32_gflops > 0) == cpu_has_avx2());
    CHECK(isfinite(l.int8_gops) && isfinite(l.bf16_gflops) && isfinite(l.f32_gflops));
    pool_destroy(pool);
}

TEST(limits_do_not_read_less_than_a_cache_holds)
{
    struct pool *pool;
    struct limits l;

    CHECK_INT(pool_create(&pool, 1, NULL), 0);
    limits_measure(&l, pool, (size_t)63 << 20);
    CHECK(l.read_gbs == 0);
    pool_destroy(pool);
}
