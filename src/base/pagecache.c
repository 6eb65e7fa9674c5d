/* SPDX-License-Identifier: Apache-2.0 */
/* pagecache.c - PAGEMAP_SCAN (Linux 6.7) says what is mapped by a large page. */
#include "base/pagecache.h"

#include "base/file.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

/* As linux/fs.h has them since 6.7. */
#define IS_HUGE ((uint64_t)1 << 6)

struct region {
    uint64_t start, end, categories;
};

struct scan {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
    uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN _IOWR('f', 16, struct scan)

/* A file that is mapped, as `count` pieces of the size of a large page. */
struct view {
    const unsigned char *at;
    size_t count, small; /* small: bytes of a small page */
    int pagemap;
    unsigned char *resident; /* of the small pages of a piece */
};

enum lie { ABSENT, LARGE, SMALL, UNKNOWN };

/* Small pages of a piece that are in the cache. */
static size_t count_resident(const struct view *v, const unsigned char *at)
{
    size_t pages = MEM_LARGE_PAGE / v->small, n = 0;

    if (mincore((void *)(uintptr_t)at, MEM_LARGE_PAGE, v->resident) < 0)
        return 0;
    for (size_t i = 0; i < pages; i++)
        n += v->resident[i] & 1;
    return n;
}

static enum lie how_lies(const struct view *v, size_t i)
{
    const unsigned char *at = v->at + i * MEM_LARGE_PAGE;
    size_t resident = count_resident(v, at);
    struct region found = {0};
    struct scan s = {.size = sizeof(s),
                     .start = (uintptr_t)at,
                     .end = (uintptr_t)at + MEM_LARGE_PAGE,
                     .vec = (uintptr_t)&found,
                     .vec_len = 1,
                     .category_mask = IS_HUGE,
                     .return_mask = IS_HUGE};
    int regions;

    if (resident == 0)
        return ABSENT;
    if (resident < MEM_LARGE_PAGE / v->small)
        return SMALL;
    /* One page brings the whole into the map if it is one; an error where loading would be SIGBUS.
     */
    if (madvise((void *)(uintptr_t)at, v->small, MADV_POPULATE_READ) < 0)
        return UNKNOWN;
    regions = ioctl(v->pagemap, SCAN, &s);
    if (regions < 0)
        return UNKNOWN;
    return regions == 1 && found.end - found.start == MEM_LARGE_PAGE ? LARGE : SMALL;
}

/* Notes which pieces lie in small pages; how many do, or 0 if most do not lie in large ones. */
static size_t find_small(const struct view *v, bool *is_small)
{
    size_t count[UNKNOWN + 1] = {0};

    for (size_t i = 0; i < v->count && count[UNKNOWN] == 0; i++) {
        enum lie lie = how_lies(v, i);

        count[lie]++;
        is_small[i] = lie == SMALL;
    }
    return count[UNKNOWN] == 0 && count[LARGE] > count[SMALL] ? count[SMALL] : 0;
}

static size_t look(struct view *v, bool *is_small)
{
    size_t found = 0;

    v->resident = mem_alloc(MEM_LARGE_PAGE / v->small);
    v->pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (v->resident && v->pagemap >= 0)
        found = find_small(v, is_small);
    cleanup_fd(&v->pagemap);
    mem_free(v->resident);
    return found;
}

uint64_t pagecache_gather(int fd)
{
    struct view v = {.small = (size_t)sysconf(_SC_PAGESIZE)};
    struct file_map map;
    size_t found = 0;
    bool *is_small;

    if (file_map(&map, fd, NULL) < 0)
        return 0;
    v.at = map.at;
    v.count = (uintptr_t)map.at % MEM_LARGE_PAGE == 0 ? map.len / MEM_LARGE_PAGE : 0;
    is_small = mem_zalloc(v.count, sizeof(*is_small));
    if (is_small)
        found = look(&v, is_small);
    file_unmap(&map); /* what is mapped is not dropped */
    for (size_t i = 0; i < v.count && found > 0; i++)
        if (is_small[i])
            posix_fadvise(fd, (off_t)(i * MEM_LARGE_PAGE), MEM_LARGE_PAGE, POSIX_FADV_DONTNEED);
    mem_free(is_small);
    return (uint64_t)found * MEM_LARGE_PAGE;
}
