/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "base/pool.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SLOW 1
#endif
#endif
#ifndef SLOW
#define SLOW 0
#endif

#define PARTS_MAX 64

struct sheet {
    long runs[PARTS_MAX][8]; /* a cache line each; plain: what the pool orders need no atomics */
    unsigned parts[PARTS_MAX];
    pthread_t thread[PARTS_MAX];
    long input, seen[PARTS_MAX];
};

static void note(void *arg, unsigned part, unsigned parts)
{
    struct sheet *s = arg;

    s->runs[part][0]++;
    s->parts[part] = parts;
    s->thread[part] = pthread_self();
    s->seen[part] = s->input;
}

static void check_pool(unsigned threads, long jobs)
{
    static struct sheet s;
    struct pool *pool;

    memset(&s, 0, sizeof(s));
    CHECK_INT(pool_create(&pool, threads, NULL), 0);
    CHECK_INT(pool_threads(pool), threads);
    for (long job = 1; job <= jobs; job++) {
        s.input = job;
        pool_run(pool, note, &s);
        for (unsigned i = 0; i < threads; i++)
            if (s.runs[i][0] != job || s.seen[i] != job || s.parts[i] != threads)
                TEST_FAIL("part %u of %u ran %ld times after %ld jobs", i, threads, s.runs[i][0],
                          job);
    }
    CHECK(pthread_equal(s.thread[0], pthread_self()));
    for (unsigned i = 0; i < threads; i++)
        for (unsigned j = 0; j < i; j++)
            CHECK(!pthread_equal(s.thread[i], s.thread[j]));
    pool_destroy(pool);
}

TEST(every_part_runs_once_a_job_on_its_own_thread)
{
    for (unsigned threads = 1; threads <= 8; threads++)
        check_pool(threads, 500);
}

TEST(many_more_threads_than_processors_work)
{
    check_pool(PARTS_MAX, 20);
}

TEST(a_hundred_thousand_small_jobs_lose_nothing)
{
    check_pool(2, SLOW ? 5000 : 100000);
}

TEST(jobs_with_sleeping_workers_lose_nothing)
{
    check_pool(4,
               SLOW ? 1000 : 10000); /* more than the two cores of a small machine: no spinning */
}

static void sleep_by_part(void *arg, unsigned part, unsigned parts)
{
    long *done = arg;

    usleep(part % 2 ? 3000 : 0);
    done[part * 8] = parts;
}

TEST(a_late_worker_is_waited_for_and_a_sleeping_one_woken)
{
    struct pool *pool;

    CHECK_INT(pool_create(&pool, 2, NULL), 0);
    for (int i = 0; i < 20; i++) {
        long done[16] = {0};

        pool_run(pool, sleep_by_part, done);
        CHECK_INT(done[0], 2);
        CHECK_INT(done[8], 2);
        usleep(3000); /* far beyond the spinning */
    }
    pool_destroy(pool);
}

TEST(a_pool_on_one_processor_sleeps_at_once)
{
    cpu_set_t before, one;

    CHECK_INT(sched_getaffinity(0, sizeof(before), &before), 0);
    CPU_ZERO(&one);
    for (unsigned i = 0; CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0)
        SKIP("cannot pin to one processor");
    check_pool(3, SLOW ? 200 : 2000);
    CHECK_INT(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(create_survives_every_failed_allocation)
{
    int created = 0, refused = 0;

    EVERY_ALLOCATION_FAILS
    {
        struct pool *pool = NULL;
        struct llmos_error err = {0};
        int rc = pool_create(&pool, 4, &err);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        CHECK((rc == 0) == (pool != NULL));
        if (rc == 0)
            created++;
        else
            refused++;
        if (rc < 0)
            CHECK(err.text[0] != '\0');
        pool_destroy(pool);
    }
    CHECK_INT(created, 1);
    CHECK_INT(refused, 5); /* the pool, its workers, three threads */
}

TEST(senseless_thread_counts_are_refused)
{
    struct pool *pool = NULL;
    struct llmos_error err;

    CHECK_INT(pool_create(&pool, 0, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "0 threads");
    CHECK_INT(pool_create(&pool, 1u << 30, &err), LLMOS_EINVAL);
    CHECK(pool == NULL);
    pool_destroy(NULL);
}

TEST(shares_cover_everything_once)
{
    for (size_t count = 0; count < 70; count++) {
        for (unsigned parts = 1; parts < 9; parts++) {
            for (size_t grain = 1; grain < 20; grain += 3) {
                size_t at = 0;

                for (unsigned p = 0; p < parts; p++) {
                    size_t begin, end;

                    pool_share(count, grain, p, parts, &begin, &end);
                    CHECK_INT(begin, at);
                    CHECK(begin % grain == 0 || begin == count);
                    at = end;
                }
                CHECK_INT(at, count);
            }
        }
    }
}
