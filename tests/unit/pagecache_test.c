/* SPDX-License-Identifier: Apache-2.0 */
#include "base/pagecache.h"

#include "base/file.h"
#include "base/mem.h"
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LARGE MEM_LARGE_PAGE
#define SMALL 4096
#define COUNT 6

static char path[] = "/var/tmp/llmos-pagecache-XXXXXX";

/* The large page number i of a file, in pieces.  Each has a content of its own. */
static void write_page(int fd, unsigned char *bytes, size_t i, size_t piece)
{
    memset(bytes, (int)(i + 1), LARGE);
    for (size_t at = 0; at < LARGE; at += piece)
        CHECK(file_write_at(fd, bytes + at, piece, i * LARGE + at) == 0);
    CHECK(fsync(fd) == 0); /* what is not written yet cannot be dropped */
}

static void check_content(int fd)
{
    struct file_map map;

    CHECK_INT(file_map(&map, fd, NULL), 0);
    CHECK_INT(map.len, COUNT * LARGE);
    for (size_t i = 0; i < map.len; i += 64)
        CHECK_INT(map.at[i], i / LARGE + 1);
    file_unmap(&map);
}

static void check_cached(int fd, size_t i, bool is_cached)
{
    unsigned char pages[LARGE / SMALL];
    struct file_map map;

    CHECK_INT(file_map(&map, fd, NULL), 0);
    CHECK(mincore((void *)(uintptr_t)(map.at + i * LARGE), LARGE, pages) == 0);
    CHECK_INT(pages[0] & 1, is_cached);
    CHECK_INT(pages[LARGE / SMALL - 1] & 1, is_cached);
    file_unmap(&map);
}

/* Whether files lie in large pages here is for the file system to say. */
TEST(a_large_page_in_pieces_is_dropped_and_comes_back_whole)
{
    unsigned char *bytes = mem_aligned(LARGE);
    int fd = mkstemp(path);
    uint64_t small;

    CHECK(fd >= 0 && bytes);
    unlink(path);
    for (size_t i = 0; i < COUNT; i++)
        write_page(fd, bytes, i, LARGE);
    small = pagecache_gather(fd);
    CHECK_INT(small % LARGE, 0);
    if (small == 0) {
        write_page(fd, bytes, 2, LARGE);
        CHECK_INT(posix_fadvise(fd, 2 * LARGE, LARGE, POSIX_FADV_DONTNEED), 0);
        write_page(fd, bytes, 2, SMALL);
        small = pagecache_gather(fd);
        if (small == 0)
            SKIP("files lie in no large pages here, or the system does not say so");
        CHECK_INT(small, LARGE);
        check_cached(fd, 1, true);
        check_cached(fd, 2, false);
    }
    check_content(fd);
    close(fd);
    mem_free(bytes);
}

TEST(a_file_without_large_pages_is_left_alone)
{
    unsigned char *bytes = mem_aligned(LARGE);
    char other[] = "/var/tmp/llmos-pagecache-XXXXXX";
    int fd = mkstemp(other);

    CHECK(fd >= 0 && bytes);
    unlink(other);
    CHECK_INT(pagecache_gather(fd), 0); /* empty */
    for (size_t i = 0; i < COUNT; i++)
        write_page(fd, bytes, i, SMALL);
    CHECK_INT(pagecache_gather(fd), 0);
    check_content(fd);
    CHECK(ftruncate(fd, SMALL) == 0);
    CHECK_INT(pagecache_gather(fd), 0);
    CHECK_INT(pagecache_gather(-1), 0);
    close(fd);
    mem_free(bytes);
}
