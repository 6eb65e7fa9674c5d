/* SPDX-License-Identifier: Apache-2.0 */
/* pieces_test.c - files that are written in pieces */
#include "test.h"

#include "base/mem.h"
#include "base/pieces.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct seen {
    uint64_t bytes, pieces;
    bool aligned;
    uint64_t fails_at;
};

static int see(void *arg, const char *piece, size_t bytes, uint64_t at, struct llmos_error *err)
{
    struct seen *s = arg;

    (void)piece;
    (void)err;
    s->aligned = s->aligned && at == s->bytes && at % PIECE_BYTES == 0;
    s->bytes += bytes;
    s->pieces++;
    return s->fails_at && s->pieces == s->fails_at ? LLMOS_ECANCELED : 0;
}

TEST(pieces_write_what_was_put_in_pieces_at_multiples)
{
    int fd = memfd_create("pieces", MFD_CLOEXEC);
    struct seen seen = {.aligned = true};
    struct llmos_error err;
    struct pieces p;
    char text[1000], back[1000];
    size_t n = 5000;

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7);
    pieces_init(&p, fd, see, &seen);
    for (size_t i = 0; i < n; i++)
        CHECK(pieces_put(&p, i % 5 == 4 ? NULL : text, sizeof(text), &err) == 0);
    CHECK(pieces_length(&p) == n * sizeof(text));
    CHECK(pieces_end(&p, &err) == 0);
    CHECK(pieces_end(&p, &err) == 0); /* nothing is left */
    pieces_fini(&p);
    CHECK(seen.aligned && seen.bytes == n * sizeof(text) && seen.pieces == 3);
    CHECK(lseek(fd, 0, SEEK_CUR) == 0 && lseek(fd, 0, SEEK_END) == (off_t)(n * sizeof(text)));
    for (size_t i = 0; i < n; i++) {
        static const char zeros[sizeof(text)];

        CHECK(pread(fd, back, sizeof(back), (off_t)(i * sizeof(text))) == sizeof(back));
        CHECK(memcmp(back, i % 5 == 4 ? zeros : text, sizeof(back)) == 0);
    }
    close(fd);
}

TEST(pieces_report_what_cannot_be_written)
{
    struct llmos_error err = {0};
    struct pieces p;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    pieces_init(&p, fd, NULL, NULL);
    CHECK(pieces_put(&p, "abc", 3, &err) == 0);
    CHECK(pieces_end(&p, &err) < 0 && strstr(err.text, "3 bytes behind 0: "));
    pieces_fini(&p);
    close(fd);
}

TEST(pieces_end_when_whoever_listens_says_so)
{
    int fd = memfd_create("pieces", MFD_CLOEXEC);
    struct seen seen = {.fails_at = 2, .aligned = true};
    struct llmos_error err;
    struct pieces p;

    pieces_init(&p, fd, see, &seen);
    CHECK(pieces_put(&p, NULL, PIECE_BYTES, &err) == 0);
    CHECK(pieces_put(&p, NULL, PIECE_BYTES, &err) == LLMOS_ECANCELED);
    pieces_fini(&p);
    close(fd);
}

TEST(pieces_without_memory_are_an_error)
{
    struct llmos_error err;
    struct pieces p;

    pieces_init(&p, -1, NULL, NULL);
    mem_fail_at(1);
    CHECK(pieces_put(&p, "abc", 3, &err) == LLMOS_ENOMEM);
    mem_fail_at(0);
    pieces_fini(&p);
}
