/* SPDX-License-Identifier: Apache-2.0 */
/* unicode_test.c - what characters are and become, as The Unicode Standard and Python have it. */
#include "test.h"

#include "model/unicode.h"

static bool becomes(uint32_t c, enum unicode_form form, uint32_t a, uint32_t b, uint32_t d)
{
    uint32_t wanted[UNICODE_FORM_MAX] = {a, b, d}, out[UNICODE_FORM_MAX] = {0};
    size_t n = unicode_in(c, form, out);

    for (size_t i = 0; i < UNICODE_FORM_MAX; i++)
        if ((i < n ? out[i] : 0) != wanted[i])
            return false;
    return true;
}

TEST(letters_change_their_case)
{
    CHECK(becomes('a', UNICODE_UPPER, 'A', 0, 0));
    CHECK(becomes('Z', UNICODE_LOWER, 'z', 0, 0));
    CHECK(becomes('1', UNICODE_UPPER, '1', 0, 0));
    CHECK(becomes('a', UNICODE_SAME, 'a', 0, 0));
    CHECK(becomes(0xff, UNICODE_UPPER, 0x178, 0, 0));
    CHECK(becomes(0x10400, UNICODE_LOWER, 0x10428, 0, 0));
}

TEST(one_letter_becomes_several)
{
    CHECK(becomes(0xdf, UNICODE_UPPER, 'S', 'S', 0));
    CHECK(becomes(0xdf, UNICODE_TITLE, 'S', 's', 0));
    CHECK(becomes(0xfb03, UNICODE_UPPER, 'F', 'F', 'I'));
    CHECK(becomes(0x130, UNICODE_LOWER, 'i', 0x307, 0));
}

TEST(title_case_is_not_always_upper_case)
{
    CHECK(becomes(0x1c6, UNICODE_TITLE, 0x1c5, 0, 0));
    CHECK(becomes(0x1c6, UNICODE_UPPER, 0x1c4, 0, 0));
    CHECK(becomes(0x10d0, UNICODE_TITLE, 0x10d0, 0, 0)); /* Georgian has no title case */
    CHECK(becomes(0x10d0, UNICODE_UPPER, 0x1c90, 0, 0));
    CHECK(becomes(0x1fbc, UNICODE_TITLE, 0x1fbc, 0, 0));
}

TEST(claims_are_those_of_python)
{
    CHECK(unicode_is_upper('A') && !unicode_is_upper('a') && unicode_is_upper(0x2160));
    CHECK(!unicode_is_upper(0x1c5) && !unicode_is_lower(0x1c5));
    CHECK(unicode_is_lower(0xaa) && unicode_is_lower(0x1d41a) && !unicode_is_lower(0x2160));
    CHECK(unicode_is_alpha(0x4e2d) && !unicode_is_alpha('1') && !unicode_is_alpha(0x301));
    CHECK(unicode_is_digit(0xb2) && unicode_is_digit(0x663) && !unicode_is_digit(0xbd));
    CHECK(unicode_is_alnum(0xbd) && unicode_is_alnum('z') && !unicode_is_alnum('_'));
    CHECK(unicode_is_printable(' ') && unicode_is_printable(0x301) && !unicode_is_printable(0xa0));
    CHECK(!unicode_is_printable(0x378) && !unicode_is_printable(UNICODE_LAST));
    CHECK(unicode_is_space(0x3000) && !unicode_is_space(0x200b));
}

TEST(what_an_uncased_model_sees)
{
    uint32_t out[UNICODE_FORM_MAX];

    CHECK_INT(unicode_fold(0xc9, out), 1); /* E with acute */
    CHECK_INT(out[0], 'e');
    CHECK_INT(unicode_fold(0x301, out), 0);
    CHECK_INT(unicode_fold(0x130, out), 1);
    CHECK_INT(out[0], 'i');
    CHECK_INT(unicode_fold(0xac01, out), 3);
    CHECK_INT(out[2], 0x11a8);
    CHECK_INT(unicode_fold(0xac00, out), 2);
}

/* U+2E43 is punctuation since Unicode 9, U+111C9 is a mark since Unicode 11, U+1734 is none since
 * 14, U+08E2 is a control character since 9. */
TEST(tokenizers_have_the_tables_of_unicode_8)
{
    CHECK(unicode_is_old_punctuation('$') && unicode_is_old_punctuation(0x2e42));
    CHECK(!unicode_is_old_punctuation(0x2e43) && unicode_is_old_punctuation(0x111c9));
    CHECK(unicode_is_old_mark(0x1734) && !unicode_is_old_mark(0x111c9));
    CHECK(unicode_is_old_control(0xad) && !unicode_is_old_control(0x8e2));
    CHECK(!unicode_is_old_control('\n') && unicode_is_old_control(0x10fffd));
}

TEST(code_points_past_the_last_are_nothing)
{
    CHECK_INT(unicode_category(UNICODE_LAST + 1), UNICODE_CN);
    CHECK_INT(unicode_category(UINT32_MAX), UNICODE_CN);
    CHECK(!unicode_is_upper(UINT32_MAX) && !unicode_is_printable(UINT32_MAX));
    CHECK(becomes(UINT32_MAX, UNICODE_UPPER, UINT32_MAX, 0, 0));
}
