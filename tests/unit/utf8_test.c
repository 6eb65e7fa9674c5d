/* SPDX-License-Identifier: Apache-2.0 */
/* utf8_test.c - claims about utf8.h */
#include "base/utf8.h"

#include "test.h"

static const char *replaced(struct str s)
{
    static char text[256];
    struct buf out;

    buf_init(&out, sizeof(text) - 1);
    utf8_put(&out, s);
    snprintf(text, sizeof(text), "%s", buf_str(&out).at);
    buf_fini(&out);
    return text;
}

TEST(utf8_knows_characters_of_every_length)
{
    CHECK_INT(utf8_length(STR("a")), 1);
    CHECK_INT(utf8_length(STR("\xc3\xa9")), 2);
    CHECK_INT(utf8_length(STR("\xe4\xb8\xad")), 3);
    CHECK_INT(utf8_length(STR("\xf0\x9f\x98\x80")), 4);
    CHECK_INT(utf8_length(STR("")), 0);
    CHECK_INT(utf8_count(STR("a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80")), 4);
}

TEST(utf8_refuses_overlong_forms_surrogates_and_what_is_beyond_unicode)
{
    static const struct str bad[] = {
        STR("\x80"),
        STR("\xc0\x80"),
        STR("\xc1\xbf"),
        STR("\xe0\x9f\xbf"),
        STR("\xed\xa0\x80"),
        STR("\xf0\x8f\xbf\xbf"),
        STR("\xf4\x90\x80\x80"),
        STR("\xf5\x80\x80\x80"),
        STR("\xff"),
        STR("\xe4\xb8"),
        STR("\xf0\x9f\x98"),
        STR("\xc3"),
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_INT(utf8_valid_bytes(bad[i]), 0);
    CHECK_INT(utf8_length(STR("\xed\x9f\xbf")), 3);
    CHECK_INT(utf8_length(STR("\xf4\x8f\xbf\xbf")), 4);
    CHECK_INT(utf8_length(STR("\xf0\x90\x80\x80")), 4);
}

TEST(utf8_says_where_text_stops_being_text)
{
    CHECK_INT(utf8_valid_bytes(STR("abc\xff xyz")), 3);
    CHECK_INT(utf8_valid_bytes(STR("ab\xe4\xb8")), 2);
    CHECK_INT(utf8_valid_bytes(STR("all is well")), 11);
}

TEST(utf8_replaces_each_maximal_broken_part_once)
{
    CHECK_STR(replaced(STR("a\xff\xe2\x82")), "a\xef\xbf\xbd\xef\xbf\xbd");
    CHECK_STR(replaced(STR("\xf0\x9f\x98z")), "\xef\xbf\xbdz");
    CHECK_STR(replaced(STR("\xe0\x80\x80")), "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    CHECK_STR(replaced(STR("good")), "good");
    CHECK_STR(replaced(STR("")), "");
}

/* Every pair and triple of interesting bytes comes out valid, and valid input unchanged. */
TEST(utf8_output_is_always_valid)
{
    static const unsigned char bytes[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f,
                                          0xa0, 0xbf, 0xc0, 0xc2, 0xdf, 0xe0, 0xed,
                                          0xef, 0xf0, 0xf4, 0xf5, 0xff};
    const size_t n = sizeof(bytes);

    for (size_t i = 0; i < n * n * n * n; i++) {
        char in[4] = {(char)bytes[i % n], (char)bytes[i / n % n], (char)bytes[i / n / n % n],
                      (char)bytes[i / n / n / n]};
        struct str s = {in, 4};
        struct buf out;
        bool same;

        buf_init(&out, 64);
        utf8_put(&out, s);
        CHECK_INT(utf8_valid_bytes(buf_str(&out)), out.len);
        same = str_eq(buf_str(&out), s);
        CHECK(same == (utf8_valid_bytes(s) == 4));
        buf_fini(&out);
    }
}
