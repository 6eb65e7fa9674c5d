/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - see mem.h */
#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SMALL_PAGE 4096 /* or less than what the system has */

static unsigned long fail_countdown; /* 0: no failure wanted */
static bool failed;

void mem_fail_at(unsigned long n)
{
    __atomic_store_n(&failed, false, __ATOMIC_RELAXED);
    __atomic_store_n(&fail_countdown, n, __ATOMIC_RELAXED);
}

bool mem_failed(void)
{
    return __atomic_load_n(&failed, __ATOMIC_RELAXED);
}

bool mem_must_fail(void)
{
    if (__builtin_expect(__atomic_load_n(&fail_countdown, __ATOMIC_RELAXED) == 0, 1))
        return false;
    if (__atomic_sub_fetch(&fail_countdown, 1, __ATOMIC_RELAXED) != 0)
        return false;
    __atomic_store_n(&failed, true, __ATOMIC_RELAXED);
    return true;
}

void *mem_alloc(size_t bytes)
{
    return mem_must_fail() ? NULL : malloc(bytes ? bytes : 1);
}

void *mem_zalloc(size_t count, size_t size)
{
    return mem_must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void *mem_resize(void *old, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || mem_must_fail())
        return NULL;
    return realloc(old, bytes ? bytes : 1);
}

char *mem_strndup(const char *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : mem_alloc(length + 1);

    if (!copy)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

void *mem_aligned(size_t bytes)
{
    bool is_large = bytes >= MEM_LARGE_PAGE;
    void *p;

    if (bytes > SIZE_MAX - 63 || mem_must_fail())
        return NULL;
    bytes = bytes ? (bytes + 63) & ~(size_t)63 : 64;
    /* aligned_alloc would want a multiple of the alignment. */
    if (posix_memalign(&p, is_large ? MEM_LARGE_PAGE : 64, bytes) != 0)
        return NULL;
    /* One fault instead of 512.  The end of the block, less than a large page, stays as it is: no
     * more memory shall be taken than was asked for.  A system without large pages says no. */
    if (is_large)
        madvise(p, bytes / MEM_LARGE_PAGE * MEM_LARGE_PAGE, MADV_HUGEPAGE);
    return memset(p, 0, bytes);
}

void *mem_reserve(size_t bytes, size_t large)
{
    void *p;

    if (bytes == 0 || mem_must_fail())
        return NULL;
    p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    if (large >= MEM_LARGE_PAGE)
        madvise(p, large / MEM_LARGE_PAGE * MEM_LARGE_PAGE, MADV_HUGEPAGE);
    return p;
}

void mem_take(void *p, size_t bytes)
{
    volatile char *at = p; /* it is zeroed already */

    for (size_t i = 0; i < bytes; i += SMALL_PAGE)
        at[i] = 0;
}

void mem_release(void *p, size_t bytes)
{
    if (p)
        munmap(p, bytes);
}

void mem_free(void *p)
{
    free(p);
}
