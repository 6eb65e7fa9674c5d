/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c - workers that wait for a job number to change, spinning first and asleep later. */
#include "base/pool.h"

#include "base/mem.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS_MAX 1024u
/* Some 20 to 100 microseconds, by processor: longer than the gaps between the jobs of one step of
 * inference, far shorter than a time slice that another process could have had. */
#define SPINS       2000u
#define STACK_BYTES (1024u * 1024)

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned part;
};

/* What the caller writes and what the workers write live on different cache lines. */
struct pool {
    _Alignas(64) _Atomic uint32_t job; /* number of the job; the futex that workers sleep on */
    pool_fn fn;                        /* NULL: end */
    void *arg;
    unsigned threads, started, spins;
    _Alignas(64) _Atomic uint32_t pending; /* workers not done; the futex the caller sleeps on */
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic uint32_t sleepers;
    struct worker *workers;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t seen)
{
    int saved = errno; /* EAGAIN and EINTR are ordinary; every caller looks again */

    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
    errno = saved;
}

static void futex_wake(_Atomic uint32_t *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* waits some 10 ns; "yield" does nothing on most of them */
#endif
}

/* Waits until *word differs from seen. */
static uint32_t wait_change(_Atomic uint32_t *word, uint32_t seen, _Atomic uint32_t *sleepers,
                            unsigned spins)
{
    uint32_t now = atomic_load_explicit(word, memory_order_acquire);

    for (unsigned i = 0; now == seen && i < spins; i++) {
        relax();
        now = atomic_load_explicit(word, memory_order_acquire);
    }
    if (now != seen)
        return now;
    /* Announced before the last look, which the kernel takes; whoever changes the word looks for
     * sleepers afterwards.  Sequentially consistent both, so one of the two sees the other. */
    atomic_fetch_add(sleepers, 1);
    while ((now = atomic_load(word)) == seen)
        futex_wait(word, seen);
    atomic_fetch_sub(sleepers, 1);
    return now;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct pool *pool = w->pool;
    uint32_t job = 0;

    for (;;) {
        job = wait_change(&pool->job, job, &pool->sleepers, pool->spins);
        if (!pool->fn)
            return NULL;
        pool->fn(pool->arg, w->part, pool->threads);
        if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_sleeps))
            futex_wake(&pool->pending, 1);
    }
}

static void post(struct pool *pool, pool_fn fn, void *arg)
{
    pool->fn = fn;
    pool->arg = arg;
    atomic_store_explicit(&pool->pending, pool->started, memory_order_relaxed);
    atomic_fetch_add(&pool->job, 1);
    if (atomic_load(&pool->sleepers))
        futex_wake(&pool->job, INT_MAX);
}

void pool_run(struct pool *pool, pool_fn fn, void *arg)
{
    uint32_t left;

    if (pool->started == 0) {
        fn(arg, 0, 1);
        return;
    }
    post(pool, fn, arg);
    fn(arg, 0, pool->threads);
    left = atomic_load_explicit(&pool->pending, memory_order_acquire);
    while (left)
        left = wait_change(&pool->pending, left, &pool->caller_sleeps, pool->spins);
}

static unsigned usable_cpus(void)
{
    cpu_set_t set;

    /* Fails where there are more than 1024 processors: then there is room enough. */
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : THREADS_MAX;
}

/* Signals are for the threads of the program: workers are started with all of them blocked. */
static int start_workers(struct pool *pool, struct llmos_error *err)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int rc = pthread_attr_init(&attr);

    if (rc)
        return fail(err, LLMOS_ENOMEM, "no memory for thread attributes");
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (rc == 0 && pool->started < pool->threads - 1) {
        struct worker *w = &pool->workers[pool->started];

        *w = (struct worker){.pool = pool, .part = pool->started + 1};
        /* A thread's stack is an allocation, and fails like one under test. */
        rc = mem_must_fail() ? EAGAIN : pthread_create(&w->thread, &attr, work, w);
        pool->started += rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (rc)
        return fail(err, LLMOS_ENOMEM,
                    "cannot start thread %u of %u: no memory, or the limit of processes is reached",
                    pool->started + 1, pool->threads - 1);
    return 0;
}

int pool_create(struct pool **out, unsigned threads, struct llmos_error *err)
{
    struct pool *pool;
    int rc;

    if (threads < 1 || threads > THREADS_MAX)
        return fail(err, LLMOS_EINVAL, "%u threads, 1 to %u are possible", threads, THREADS_MAX);
    pool = mem_aligned(sizeof(*pool));
    if (!pool)
        return fail(err, LLMOS_ENOMEM, "no memory for %u threads", threads);
    pool->threads = threads;
    pool->spins = threads <= usable_cpus() ? SPINS : 0;
    pool->workers = mem_zalloc(threads, sizeof(*pool->workers));
    rc = pool->workers ? start_workers(pool, err)
                       : fail(err, LLMOS_ENOMEM, "no memory for %u threads", threads);
    if (rc < 0) {
        pool_destroy(pool);
        return rc;
    }
    *out = pool;
    return 0;
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    post(pool, NULL, NULL);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    mem_free(pool->workers);
    mem_free(pool);
}

unsigned pool_threads(const struct pool *pool)
{
    return pool->threads;
}
