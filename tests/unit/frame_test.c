/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "net/frame.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void put_frame(struct buf *out, uint16_t type, uint64_t id, const char *text)
{
    size_t mark = frame_begin(out, type, id);

    buf_puts(out, text);
    frame_end(out, mark);
}

TEST(frame_has_the_documented_bytes)
{
    static const unsigned char expected[] = {2, 0, 0, 0, 7, 0, 0, 0,   8,
                                             7, 6, 5, 4, 3, 2, 1, 'h', 'i'};
    struct buf b;

    buf_init(&b, 100);
    put_frame(&b, 7, 0x0102030405060708, "hi");
    CHECK_INT(b.len, sizeof(expected));
    CHECK(memcmp(b.at, expected, sizeof(expected)) == 0);
    buf_fini(&b);
}

TEST(frame_arrives_whole_however_the_stream_is_cut)
{
    struct buf b;
    struct frame_reader r;
    struct frame f;
    int pair[2], seen = 0;

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    buf_init(&b, 1000);
    put_frame(&b, 1, 10, "one");
    put_frame(&b, 2, 20, "");
    put_frame(&b, 3, 30, "three");
    frame_reader_init(&r, 100);
    CHECK_INT(frame_fill(&r, pair[0], NULL), 0); /* would block */
    for (size_t i = 0; i < b.len; i++) {
        CHECK_INT(write(pair[1], b.at + i, 1), 1);
        CHECK_INT(frame_fill(&r, pair[0], NULL), 1);
        while (frame_next(&r, &f, NULL) == 1) {
            seen++;
            CHECK_INT(f.type, seen);
            CHECK_INT(f.id, seen * 10);
            CHECK(str_is(f.payload, seen == 1 ? "one" : seen == 2 ? "" : "three"));
        }
    }
    CHECK_INT(seen, 3);
    close(pair[1]);
    CHECK_INT(frame_fill(&r, pair[0], NULL), LLMOS_ECLOSED);
    close(pair[0]);
    frame_reader_fini(&r);
    buf_fini(&b);
}

TEST(frame_slices_of_one_fill_stay_valid_together)
{
    struct buf b;
    struct frame_reader r;
    struct frame first, second;
    int pair[2];

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    buf_init(&b, 1000);
    put_frame(&b, 1, 1, "first");
    put_frame(&b, 1, 2, "second");
    CHECK_INT(write(pair[1], b.at, b.len), b.len);
    frame_reader_init(&r, 100);
    CHECK_INT(frame_fill(&r, pair[0], NULL), b.len);
    CHECK_INT(frame_next(&r, &first, NULL), 1);
    CHECK_INT(frame_next(&r, &second, NULL), 1);
    CHECK(str_is(first.payload, "first"));
    CHECK(str_is(second.payload, "second"));
    CHECK_INT(frame_next(&r, &second, NULL), 0);
    close(pair[0]);
    close(pair[1]);
    frame_reader_fini(&r);
    buf_fini(&b);
}

TEST(frame_larger_than_the_limit_is_refused_by_its_head)
{
    struct llmos_error err;
    struct frame_reader r;
    struct frame f;

    frame_reader_init(&r, 100);
    buf_put_u32(&r.buf, 101);
    buf_put_u32(&r.buf, 1);
    buf_put_u64(&r.buf, 0);
    CHECK_INT(frame_next(&r, &f, &err), LLMOS_ELIMIT);
    CHECK_STR(err.text, "a frame of 101 bytes, at most 100 are accepted");
    frame_reader_fini(&r);
}

TEST(frame_with_a_reserved_field_is_refused)
{
    struct llmos_error err;
    struct frame_reader r;
    struct frame f;

    frame_reader_init(&r, 100);
    buf_put_u32(&r.buf, 0);
    buf_put_u16(&r.buf, 1);
    buf_put_u16(&r.buf, 9);
    buf_put_u64(&r.buf, 0);
    CHECK_INT(frame_next(&r, &f, &err), LLMOS_EFORMAT);
    CHECK_STR(err.text, "a frame whose reserved field is 9 instead of 0");
    frame_reader_fini(&r);
}

TEST(frame_that_does_not_fit_its_buffer_leaves_no_half)
{
    struct buf b;

    buf_init(&b, 40);
    put_frame(&b, 1, 1, "fits");
    CHECK_INT(b.len, 20);
    put_frame(&b, 1, 2, "does not fit any more");
    CHECK(b.bad);
    CHECK_INT(b.len, 20);
    buf_fini(&b);
}

TEST(frame_reader_bounds_what_nobody_takes)
{
    static char zeros[65536];
    struct llmos_error err;
    struct frame_reader r;
    int fds[2], rounds = 0;
    long n;

    CHECK_INT(pipe(fds), 0);
    frame_reader_init(&r, 100);
    do {
        CHECK(write(fds[1], zeros, 4096) == 4096);
        n = frame_fill(&r, fds[0], &err);
    } while (n > 0 && ++rounds < 100);
    CHECK_INT(n, LLMOS_ELIMIT);
    CHECK(r.buf.room <= 2 * r.buf.limit_bytes);
    close(fds[0]);
    close(fds[1]);
    frame_reader_fini(&r);
}

TEST(frame_reader_survives_every_failed_allocation)
{
    struct buf b;
    int fds[2];

    buf_init(&b, 1000);
    put_frame(&b, 5, 6, "payload");
    EVERY_ALLOCATION_FAILS
    {
        struct frame_reader r;
        struct frame f;
        long n;

        CHECK_INT(pipe(fds), 0);
        CHECK(write(fds[1], b.at, b.len) == (long)b.len);
        frame_reader_init(&r, 100);
        n = frame_fill(&r, fds[0], NULL);
        CHECK(n == (long)b.len || n == LLMOS_ENOMEM);
        if (n > 0)
            CHECK_INT(frame_next(&r, &f, NULL), 1);
        frame_reader_fini(&r);
        close(fds[0]);
        close(fds[1]);
    }
    buf_fini(&b);
}
