/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/screen.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "test.h"

#define BAD "\xef\xbf\xbd"

/* Cleans text given in pieces of n bytes. */
static const char *clean(const char *text, size_t length, size_t n)
{
    static struct buf out;
    struct screen_filter f = {.kept_len = 0};

    buf_fini(&out);
    buf_init(&out, 1 << 20);
    for (size_t i = 0; i < length; i += n)
        screen_clean(&f, (struct str){text + i, length - i < n ? length - i : n}, &out);
    screen_clean_end(&f, &out);
    CHECK(!out.bad);
    return out.at ? out.at : "";
}

static const struct {
    const char *in, *out;
} cases[] = {
    {"plain text\n\twith a tab", "plain text\n\twith a tab"},
    {"Gr\xc3\xbc\xc3\x9f"
     "e \xe2\x82\xac \xf0\x9f\x98\x80 \xe6\xbc\xa2",
     "Gr\xc3\xbc\xc3\x9f"
     "e \xe2\x82\xac \xf0\x9f\x98\x80 \xe6\xbc\xa2"},
    {"\033]0;title\007", BAD "]0;title" BAD},
    {"\033[31mred\033[0m", BAD "[31mred" BAD "[0m"},
    {"back\b\b\bspace\rreturn\x7f", "back" BAD BAD BAD "space" BAD "return" BAD},
    {"\xc2\x9b"
     "31m \xc2\x9d \xc2\xa0",
     BAD "31m " BAD " \xc2\xa0"}, /* C1: CSI and OSC */
    {"a\xe2\x80\xae"
     "b\xe2\x81\xa6"
     "c",
     "a" BAD "b" BAD "c"}, /* turned around */
    {"\xff\xfe", BAD BAD},
    {"cut \xe2\x82", "cut " BAD},
    {"x\xe2\x82\033[2J", "x" BAD BAD BAD "[2J"},
    {"\xc0\x9b", BAD BAD},         /* an overlong form of a control character */
    {"\xed\xa0\x80", BAD BAD BAD}, /* a surrogate */
    {"\xf4\x90\x80\x80", BAD BAD BAD BAD},
    {"\xe2", BAD},
};

TEST(screen_lets_nothing_but_text_through)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        CHECK_STR(clean(cases[i].in, strlen(cases[i].in), 1 << 20), cases[i].out);
}

TEST(screen_does_not_care_where_a_stream_is_cut)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t n = 1; n <= 5; n++) {
            const char *pieces = clean(cases[i].in, strlen(cases[i].in), n);

            CHECK(!strpbrk(pieces, "\033\b\r\x7f\007"));
            CHECK_INT(utf8_valid_bytes(str_of(pieces)), strlen(pieces));
            if (utf8_valid_bytes(str_of(cases[i].in)) == strlen(cases[i].in))
                CHECK_STR(pieces, cases[i].out);
        }
}

TEST(screen_cleans_a_zero_byte)
{
    CHECK_STR(clean("a\0b", 3, 10), "a" BAD "b");
}

TEST(screen_never_shows_a_control_character_whatever_comes)
{
    unsigned seed = 1;

    for (int round = 0; round < 2000; round++) {
        char text[24];
        const char *out;

        for (size_t i = 0; i < sizeof(text); i++) {
            static const unsigned char often[] = "\x1b\x9b\xc2\xe2\x80\xae\xf0\x9f\x81\xa6\xed";

            seed = seed * 1103515245u + 12345u;
            text[i] = (char)((seed >> 16) & 3 ? often[(seed >> 20) % (sizeof(often) - 1)]
                                              : (seed >> 20) & 0xff);
        }
        out = clean(text, sizeof(text), 1 + (seed >> 24) % 7);
        CHECK_INT(utf8_valid_bytes(str_of(out)), strlen(out));
        for (const unsigned char *c = (const unsigned char *)out; *c; c++) {
            CHECK(*c >= 0x20 || *c == '\n' || *c == '\t');
            CHECK(*c != 0x7f);
            CHECK(!(c[0] == 0xc2 && c[1] < 0xa0));
        }
    }
}

TEST(screen_line_has_no_newline)
{
    CLEANUP(buf) struct buf out = {.at = NULL};

    buf_init(&out, 100);
    screen_put_line(&out, STR("a\nb\tc\033"));
    CHECK_STR(out.at, "a b c" BAD);
}
