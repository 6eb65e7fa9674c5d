/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - the only door to malloc.
 *
 * Below the programs nobody may die for want of memory: every call here returns NULL and the caller
 * passes LLMOS_ENOMEM on.  Tests make the n-th allocation fail (mem_fail_at); the arena asks the
 * same question for every allocation of its own, since most of those never reach malloc.  Any
 * thread may call. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>

/* Frees what a local pointer owns when it goes out of scope:  CLEANUP(free) char *name = NULL; */
#define CLEANUP(what) __attribute__((cleanup(cleanup_##what)))

/* Of x86-64, and of aarch64 where pages have 4 KiB. */
#define MEM_LARGE_PAGE ((size_t)2 << 20)

void *mem_alloc(size_t bytes); /* uninitialised; 0 bytes give a pointer that may be freed */
void *mem_zalloc(size_t count, size_t size);            /* zeroed; NULL if count * size wraps */
void *mem_resize(void *old, size_t count, size_t size); /* old stays valid on failure */
char *mem_strndup(const char *text, size_t length);     /* zero-terminated copy */
void mem_free(void *p);                                 /* NULL is fine */

/* Aligned to 64 bytes (a cache line, an AVX-512 register), zeroed, which takes the memory at once;
 * large blocks in large pages where the system has them.  Free with mem_free. */
void *mem_aligned(size_t bytes);

/* Zeroed pages straight from the system, which come when they are first written: for memory that
 * may never be needed.  The first `large` bytes come in large pages where there are any.  Given
 * back with mem_release and the same number of bytes; NULL is fine there. */
void *mem_reserve(size_t bytes, size_t large);
/* Has a part of such memory come now, before anything is in it.  Any thread, on parts of their own.
 */
void mem_take(void *p, size_t bytes);
void mem_release(void *p, size_t bytes);

/* Fault injection: the n-th allocation from now on (1 = the next) fails, once; 0 switches it off.
 * For tests; counts all threads. */
void mem_fail_at(unsigned long n);
/* True if a failure was injected since mem_fail_at.  A test loops until this is false. */
bool mem_failed(void);
/* For allocators that stand on this one: true if this allocation must fail. */
bool mem_must_fail(void);

static inline void cleanup_free(void *p)
{
    mem_free(*(void **)p);
}

/* Hands ownership on: returns *p and leaves NULL behind. */
#define take(p)                     \
    ({                              \
        __typeof__(p) taken_ = (p); \
        (p) = NULL;                 \
        taken_;                     \
    })

#endif
