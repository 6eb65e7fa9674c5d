/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/texts.h"

#include <sys/mman.h>
#include <unistd.h>

static int file_of(const char *bytes, size_t n)
{
    int fd = memfd_create("lines", MFD_CLOEXEC);

    CHECK(fd >= 0);
    CHECK_INT(file_write_all(fd, bytes, n), 0);
    CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void check_lines(const char *bytes, size_t n, const char *const *lines)
{
    int fd = file_of(bytes, n);
    struct texts t;
    struct str line;

    texts_init(&t, fd);
    CHECK_INT(t.total, n);
    for (; *lines; lines++) {
        CHECK_INT(texts_next(&t, &line, NULL), 1);
        CHECK(str_is(line, *lines));
    }
    CHECK_INT(texts_next(&t, &line, NULL), 0);
    CHECK(t.has_ended);
    CHECK_INT(t.done, n);
    texts_fini(&t);
    close(fd);
}

TEST(texts_end_with_a_newline_or_the_input)
{
    check_lines("", 0, (const char *const[]){NULL});
    check_lines("a", 1, (const char *const[]){"a", NULL});
    check_lines("a\n", 2, (const char *const[]){"a", NULL});
    check_lines("\n\nb c\n\nd", 8, (const char *const[]){"", "", "b c", "", "d", NULL});
    check_lines("a\r\n\r\nb\r", 7, (const char *const[]){"a", "", "b\r", NULL});
}

TEST(texts_hold_any_bytes)
{
    int fd = file_of("a\0b\xff\n\0\n", 7);
    struct texts t;
    struct str line;

    texts_init(&t, fd);
    CHECK_INT(texts_next(&t, &line, NULL), 1);
    CHECK(str_eq(line, (struct str){"a\0b\xff", 4}));
    CHECK_INT(texts_next(&t, &line, NULL), 1);
    CHECK(str_eq(line, (struct str){"\0", 1}));
    CHECK_INT(t.count, 2);
    texts_fini(&t);
    close(fd);
}

/* A line of n letters behind a short one; what the second call says. */
static int long_line(size_t n, bool has_return, struct llmos_error *err)
{
    struct buf bytes;
    struct texts t;
    struct str line;
    int fd, rc;

    buf_init(&bytes, 4 << 20);
    buf_puts(&bytes, "short\n");
    for (size_t i = 0; i < n; i++)
        buf_putc(&bytes, 'x');
    buf_puts(&bytes, has_return ? "\r\nend\n" : "\nend\n");
    fd = file_of(bytes.at, bytes.len);
    texts_init(&t, fd);
    CHECK_INT(texts_next(&t, &line, NULL), 1);
    rc = texts_next(&t, &line, err);
    if (rc == 1) {
        CHECK_INT(line.len, n);
        CHECK_INT(texts_next(&t, &line, NULL), 1);
        CHECK(str_is(line, "end"));
    }
    texts_fini(&t);
    buf_fini(&bytes);
    close(fd);
    return rc;
}

TEST(texts_longer_than_the_limit_are_named)
{
    struct llmos_error err;

    CHECK_INT(long_line(TEXTS_LINE_MAX, false, &err), 1);
    CHECK_INT(long_line(TEXTS_LINE_MAX, true, &err), 1);
    for (size_t more = 1; more < 4; more++) {
        CHECK_INT(long_line(TEXTS_LINE_MAX + more, false, &err), LLMOS_ELIMIT);
        CHECK_STR(err.text, "line 2 of the input has more than 1048576 bytes");
    }
    CHECK_INT(long_line(3 * TEXTS_LINE_MAX, true, &err), LLMOS_ELIMIT);
}

TEST(texts_of_a_pipe_come_as_far_as_they_are_there)
{
    struct texts t;
    struct str line;
    int ends[2];

    CHECK_INT(pipe(ends), 0);
    texts_init(&t, ends[0]);
    CHECK_INT(t.total, 0);
    CHECK_INT(texts_next(&t, &line, NULL), 0);
    CHECK(!t.has_ended);
    CHECK_INT(file_write_all(ends[1], "one\ntw", 6), 0);
    CHECK_INT(texts_next(&t, &line, NULL), 1);
    CHECK(str_is(line, "one"));
    CHECK_INT(texts_next(&t, &line, NULL), 0);
    CHECK_INT(file_write_all(ends[1], "o", 1), 0);
    CHECK_INT(texts_next(&t, &line, NULL), 0);
    CHECK(!t.has_ended);
    close(ends[1]);
    CHECK_INT(texts_next(&t, &line, NULL), 1);
    CHECK(str_is(line, "two"));
    CHECK_INT(texts_next(&t, &line, NULL), 0);
    CHECK(t.has_ended);
    texts_fini(&t);
    close(ends[0]);
}

TEST(texts_survive_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        int fd = file_of("one\ntwo\n", 8), rc;
        struct texts t;
        struct str line;

        texts_init(&t, fd);
        rc = texts_next(&t, &line, NULL);
        CHECK(rc == 1 || rc == LLMOS_ENOMEM);
        texts_fini(&t);
        close(fd);
    }
}
