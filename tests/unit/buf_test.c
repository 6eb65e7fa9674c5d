/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/mem.h"
#include "test.h"

TEST(buf_grows_and_stays_terminated)
{
    struct buf b;

    buf_init(&b, 100000);
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "%d,", i);
    CHECK(buf_check(&b, "text", NULL) == 0);
    CHECK_INT(strlen(b.at), b.len);
    CHECK(strncmp(b.at, "0,1,2,", 6) == 0);
    buf_drop(&b, 4);
    CHECK(strncmp(b.at, "2,3,", 4) == 0);
    buf_fini(&b);
}

TEST(buf_past_its_limit_is_bad_and_keeps_what_it_had)
{
    struct llmos_error err = {0};
    struct buf b;

    buf_init(&b, 10);
    buf_puts(&b, "12345678");
    buf_puts(&b, "9abc");
    buf_putc(&b, 'x'); /* would fit, but the buffer is bad */
    CHECK(b.bad);
    CHECK_STR(b.at, "12345678");
    CHECK_INT(buf_check(&b, "the reply", &err), LLMOS_ELIMIT);
    CHECK_STR(err.text, "the reply is larger than 10 bytes");
    buf_clear(&b);
    buf_puts(&b, "1234567890");
    CHECK(!b.bad);
    buf_fini(&b);
}

TEST(buf_writes_integers_little_endian)
{
    struct buf b;

    buf_init(&b, 100);
    buf_put_u32(&b, 0x04030201);
    buf_put_u64(&b, 0x0807060504030201);
    buf_put_u16(&b, 0x0201);
    buf_put_str(&b, STR("ab"));
    CHECK_INT(b.len, 20);
    CHECK(memcmp(b.at, "\1\2\3\4\1\2\3\4\5\6\7\10\1\2\2\0\0\0ab", 20) == 0);
    buf_fini(&b);
}

TEST(buf_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        struct buf b;

        buf_init(&b, 1000);
        for (int i = 0; i < 50; i++)
            buf_puts(&b, "ten bytes.");
        CHECK(b.bad == mem_failed());
        CHECK(buf_check(&b, "it", NULL) == (b.bad ? LLMOS_ENOMEM : 0));
        buf_fini(&b);
    }
}
