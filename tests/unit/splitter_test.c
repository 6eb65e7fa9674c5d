/* SPDX-License-Identifier: Apache-2.0 */
/* splitter_test.c - expressions cut as a backtracking engine would, in linear time. */
#include "test.h"

#include "base/buf.h"
#include "base/mem.h"
#include "model/splitter.h"

#include <time.h>

static int put(void *to, struct str piece)
{
    struct buf *b = to;

    buf_puts(b, b->len ? "|" : "");
    buf_put(b, piece.at, piece.len);
    return 0;
}

static int count(void *to, struct str piece)
{
    *(size_t *)to += piece.len > 0;
    return 0;
}

/* The pieces with | between them; valid until the next call. */
static const char *cut(const char *text, const char *a, const char *b)
{
    static char shown[1024];
    const char *expressions[] = {a, b};
    struct llmos_error err = {0};
    struct splitter s;
    struct arena arena;
    struct buf out;

    arena_init(&arena, 1 << 20);
    if (splitter_init(&s, expressions, b ? 2 : a ? 1 : 0, &arena, &err) < 0)
        TEST_FAIL("%s", err.text);
    buf_init(&out, sizeof(shown));
    CHECK_INT(splitter_run(&s, str_of(text), put, &out), 0);
    snprintf(shown, sizeof(shown), "%s", out.at ? out.at : "");
    buf_fini(&out);
    arena_fini(&arena);
    return shown;
}

TEST(splitter_takes_the_first_alternative_not_the_longest)
{
    CHECK_STR(cut("abab", "a|ab", NULL), "a|b|a|b");
    CHECK_STR(cut("abab", "ab|a", NULL), "ab|ab");
    CHECK_STR(cut("aab", "a+b|a", NULL), "aab");
    CHECK_STR(cut("aaa", "a+b|a", NULL), "a|a|a");
}

TEST(splitter_repeats_as_often_as_it_may)
{
    CHECK_STR(cut("1234567", "\\d{1,3}", NULL), "123|456|7");
    CHECK_STR(cut("1234567", "\\d{3}", NULL), "123|456|7");
    CHECK_STR(cut("1234567", "\\d{2,}", NULL), "1234567");
    CHECK_STR(cut("xaay", "xa?", NULL), "xa|ay");
    CHECK_STR(cut("abcabcx", "(?:abc)+", NULL), "abcabc|x");
    CHECK_STR(cut("IMGIMGABZ", "(IMGIMG)((A|B){1,4})Z", NULL), "IMGIMGABZ");
}

TEST(splitter_keeps_what_lies_between_matches_in_one_piece)
{
    CHECK_STR(cut("ab12cd", "\\d", NULL), "ab|1|2|cd");
    CHECK_STR(cut("", "\\d", NULL), "");
    CHECK_STR(cut("whole", NULL, NULL), "whole");
}

TEST(splitter_cuts_pieces_again_by_the_next_expression)
{
    CHECK_STR(cut("ab12cd", "\\d+", "[a-c]|1"), "a|b|1|2|c|d");
}

TEST(splitter_knows_classes_of_characters)
{
    CHECK_STR(cut("aé中1²_\xcc\x81", "\\p{L}+|\\p{N}+|\\p{M}|\\p{P}", NULL), "aé中|1²|_|\xcc\x81");
    CHECK_STR(cut("aBc", "\\p{Lu}", NULL), "a|B|c");
    CHECK_STR(cut("a\xe2\x80\xa8z", "\\s", NULL), "a|\xe2\x80\xa8|z");
    CHECK_STR(cut("a]-z", "[\\]\\-]+", NULL), "a|]-|z");
    CHECK_STR(cut("aÖz", "[À-ÖØ-öø-ƺ]", NULL), "a|Ö|z");
    CHECK_STR(cut("x y", "[^\\S]", NULL), "x| |y");
}

TEST(splitter_ignores_case_where_told)
{
    CHECK_STR(cut("'S's'T", "(?i:'s)|'t", NULL), "'S|'s|'T");
    CHECK_STR(cut("a'\xc5\xbf", "(?i:'s)", NULL), "a|'\xc5\xbf"); /* the long s is an s */
}

TEST(splitter_looks_one_character_ahead)
{
    CHECK_STR(cut("a   b", "\\s+(?!\\S)", NULL), "a|  | b");
    CHECK_STR(cut("a   ", "\\s+(?!\\S)", NULL), "a|   ");
    CHECK_STR(cut("ab ac", "a(?=c)", NULL), "ab |a|c");
    CHECK_STR(cut("a  b  ", "\\s+$", NULL), "a  b|  ");
}

TEST(splitter_counts_threes_from_the_end_of_digits)
{
    CHECK_STR(cut("x1234567y12", SPLITTER_THREES, NULL), "x1|234|567y12");
    CHECK_STR(cut("123456", SPLITTER_THREES, NULL), "123|456");
    CHECK_STR(cut("a123²456", SPLITTER_THREES, NULL), "a|123²|456");
}

TEST(splitter_counts_threes_of_the_last_digits_alone)
{
    CHECK_STR(cut("12345", SPLITTER_LAST_THREES, NULL), "12|345");
    CHECK_STR(cut("1234x567890", SPLITTER_LAST_THREES, NULL), "1234x|567|890");
    CHECK_STR(cut("123456x", SPLITTER_LAST_THREES, NULL), "123456x");
    CHECK_STR(cut("1234 1234x", "\\d+(?![\\p{Nd}x])", SPLITTER_LAST_THREES), "1|234| 1234x");
}

TEST(splitter_takes_bytes_that_are_no_text_one_by_one)
{
    CHECK_STR(cut("a\xff\xe2\x82z", "\\p{L}|\\p{S}|\\P{L}", NULL), "a|\xff|\xe2|\x82|z");
}

TEST(splitter_says_which_expression_it_cannot_read)
{
    static const char *const bad[] = {"a)",  "(a", "[a", "\\p{Klingon}", "a|*", "[z-a]",
                                      "a{2", ".",  "\\"};
    struct llmos_error err;
    struct splitter s;
    struct arena arena;

    arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        err.text[0] = '\0';
        CHECK_INT(splitter_init(&s, &bad[i], 1, &arena, &err), LLMOS_EUNSUPPORTED);
        CHECK_CONTAINS(err.text, bad[i]);
    }
    CHECK_INT(splitter_init(&s, (const char *const[]){"(a{512}){9}"}, 1, &arena, &err),
              LLMOS_ELIMIT);
    CHECK_INT(splitter_init(&s, bad, 7, &arena, &err), LLMOS_ELIMIT);
    arena_fini(&arena);
}

TEST(splitter_needs_no_quadratic_time)
{
    enum { BYTES = 1 << 20 };
    static char text[BYTES];
    const char *expressions[] = {"\\s+$", "\\s+x|a+b|a"};
    struct splitter s;
    struct arena arena;
    clock_t start = clock();
    size_t pieces = 0;

    arena_init(&arena, 1 << 20);
    CHECK_INT(splitter_init(&s, expressions, 2, &arena, NULL), 0);
    memset(text, ' ', BYTES);
    memset(text + BYTES / 2, 'a', BYTES / 2);
    CHECK_INT(splitter_run(&s, (struct str){text, BYTES}, count, &pieces), 0);
    CHECK_INT(pieces, 1 + BYTES / 2);
    CHECK(clock() - start < 30 * CLOCKS_PER_SEC); /* squared it would be hours */
    arena_fini(&arena);
}

TEST(splitter_survives_every_failed_allocation)
{
    const char *expressions[] = {"\\p{L}+", "\\s"};

    EVERY_ALLOCATION_FAILS
    {
        struct splitter s;
        struct arena arena;
        int rc;

        arena_init(&arena, 1 << 20);
        rc = splitter_init(&s, expressions, 2, &arena, NULL);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        arena_fini(&arena);
    }
}
