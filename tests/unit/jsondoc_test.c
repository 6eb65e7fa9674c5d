/* SPDX-License-Identifier: Apache-2.0 */
/* jsondoc_test.c - JSON of a model's folder: what is read, and what is refused with a place */
#include "model/jsondoc.h"

#include "base/buf.h"
#include "base/mem.h"
#include "test.h"

static struct arena arena;
static struct jsondoc doc;
static struct llmos_error err;

static int parse(const char *text)
{
    arena_fini(&arena);
    arena_init(&arena, 64u << 20);
    err = (struct llmos_error){0};
    return jsondoc_parse(&doc, &arena, str_of(text), "x.json", &err);
}

TEST(jsondoc_reads_every_kind_of_value)
{
    struct jdoc_ref root;
    int64_t i;
    double f;

    CHECK_INT(parse("\xef\xbb\xbf {\"a\": [1, -2.5e1, true, false, null, \"x\"], \"b\": {\"c\": "
                    "{\"d\": 7}}, "
                    "\"e\": 9e3}\n"),
              0);
    root = jdoc_root(&doc);
    CHECK_INT(jdoc_count(root), 3);
    CHECK_INT(jdoc_count(jdoc_get(root, "a")), 6);
    CHECK(jdoc_integer(jdoc_path(root, "b.c.d"), &i) && i == 7);
    CHECK(jdoc_integer(jdoc_get(root, "e"), &i) && i == 9000);
    CHECK(jdoc_number(jdoc_next(jdoc_get(root, "a"), jdoc_first(jdoc_get(root, "a"), NULL), NULL),
                      &f));
    CHECK(f == -25.0);
    CHECK(!jdoc_at(jdoc_path(root, "b.c.x")));
    CHECK(!jdoc_at(jdoc_path(root, "a.c")));
    CHECK(!jdoc_integer(jdoc_get(root, "b"), &i) && !jdoc_true(jdoc_get(root, "b")));
    CHECK(jdoc_text(jdoc_get(root, "b")).at == NULL);
}

TEST(jsondoc_takes_escapes_out)
{
    struct str s;

    CHECK_INT(parse("[\"\\u0120a\\n\\\"\\\\\\/\\ud83d\\ude80\", \"\xc4\xa0\"]"), 0);
    s = jdoc_text(jdoc_first(jdoc_root(&doc), NULL));
    CHECK(str_is(s, "\xc4\xa0"
                    "a\n\"\\/\xf0\x9f\x9a\x80"));
}

static void refuses(const char *text, const char *why)
{
    if (parse(text) == 0)
        TEST_FAIL("accepted: %s", text);
    if (!strstr(err.text, why))
        TEST_FAIL("'%s' does not say '%s'", err.text, why);
}

TEST(jsondoc_says_what_is_wrong_and_where)
{
    refuses("", "the text ends");
    refuses("[1,\n 2,, 3]", "line 2, column 4");
    refuses("[1 2]", "',' or ']'");
    refuses("{\"a\" 1}", "':'");
    refuses("{\"a\": 1,}", "a key in quotes");
    refuses("{1: 1}", "a key in quotes");
    refuses("[1] x", "something follows");
    refuses("[01]", "not a number");
    refuses("[NaN]", "neither");
    refuses("[1e999]", "too large");
    refuses("[\"\\ud800\"]", "half a surrogate");
    refuses("[\"\\u0000\"]", "U+0000");
    refuses("[\"\\x\"]", "an escape");
    refuses("[\"\x80\"]", "not UTF-8");
    refuses("[\"a\nb\"]", "control character");
    refuses("[\"a", "ends within a string");
    refuses("{\"a\": {\"k\": 1, \"l\": 2, \"k\": 3}}", "'k' stands twice");
    refuses("[\"\\", "ends within a string");
    refuses("[\"\\u12\"]", "an escape");
}

TEST(jsondoc_bounds_the_depth)
{
    size_t n = 100000;
    char *text = malloc(n + 1);

    CHECK(text);
    memset(text, '[', n);
    text[n] = '\0';
    CHECK_INT(parse(text), LLMOS_ELIMIT);
    for (size_t i = 0; i < n; i += 5)
        memcpy(text + i, "{\"a\":", 5);
    CHECK_INT(parse(text), LLMOS_ELIMIT);
    free(text);
}

TEST(jsondoc_survives_every_failed_allocation)
{
    const char *text = "{\"a\": [1, 2, {\"b\\n\": 3, \"c\": \"\\t\"}], \"d\": {}}";
    unsigned long n = 0;
    int rc;

    do {
        mem_fail_at(++n);
        rc = parse(text);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
    } while (mem_failed());
    mem_fail_at(0);
    CHECK_INT(rc, 0);
    arena_fini(&arena);
}
