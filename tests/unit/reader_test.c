/* SPDX-License-Identifier: Apache-2.0 */
#include "base/reader.h"

#include "test.h"

TEST(reader_reads_little_endian)
{
    const unsigned char bytes[] = {1, 2, 1, 4, 3, 2, 1, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 128, 63};
    struct reader r = reader_of(bytes, sizeof(bytes));

    CHECK_INT(reader_u8(&r), 1);
    CHECK_INT(reader_u16(&r), 0x0102);
    CHECK_INT(reader_u32(&r), 0x01020304);
    CHECK(reader_u64(&r) == 0x0102030405060708);
    CHECK(!r.bad);
}

TEST(reader_past_the_end_gives_zero_and_is_bad)
{
    struct reader r = reader_of("abc", 3);

    CHECK_INT(reader_u32(&r), 0);
    CHECK(r.bad);
    CHECK_INT(reader_u8(&r), 0); /* stays bad although a byte is left */
    CHECK_INT(reader_offset(&r), 0);
}

TEST(reader_refuses_a_string_longer_than_the_rest)
{
    const char bytes[] = "\xff\xff\xff\xff"
                         "abc";
    struct reader r = reader_of(bytes, sizeof(bytes) - 1);
    struct str s = reader_str(&r);

    CHECK(r.bad);
    CHECK_INT(s.len, 0);
}

TEST(reader_refuses_lengths_that_would_wrap)
{
    struct reader r = reader_of("abcdefgh", 8);

    CHECK(reader_bytes(&r, UINT64_MAX) == NULL);
    CHECK(r.bad);
}

TEST(reader_of_nothing_is_empty)
{
    struct reader r = reader_of(NULL, 0);

    CHECK_INT(reader_left(&r), 0);
    CHECK(reader_bytes(&r, 1) == NULL);
}
