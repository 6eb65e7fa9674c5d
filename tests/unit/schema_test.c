/* SPDX-License-Identifier: Apache-2.0 */
/* schema_test.c - claims about schema.h, regex.h and decimal.h.  tools/check_schemas.py asks
 * somebody else's validators about thousands of random texts. */
#include "sched/schema.h"

#include "base/mem.h"
#include "infer/matcher.h"
#include "sched/decimal.h"
#include "test.h"

static struct buf grammar;
static struct llmos_error err;

static int put(const char *schema)
{
    const struct json_limits limits = JSON_LIMITS_INIT;
    json_t *v = NULL;
    int rc = json_parse(&v, str_of(schema), &limits, &err);

    if (rc < 0)
        TEST_FAIL("%s: %s", schema, err.text);
    buf_fini(&grammar);
    buf_init(&grammar, SCHEMA_GRAMMAR_MAX);
    rc = schema_put(&grammar, v, &err);
    json_decref(v);
    return rc;
}

static bool matches(const char *text)
{
    static struct tokentrie *trie;
    struct grammar *g = NULL;
    struct matcher *m = NULL;
    bool ok = true;

    if (!trie)
        CHECK_INT(tokentrie_of(&trie, NULL, NULL, 0, NULL), 0);
    if (grammar_compile(&g, buf_str(&grammar), &err) < 0 || matcher_create(&m, g, trie, &err) < 0)
        TEST_FAIL("%s\n%s", err.text, grammar.at);
    for (const char *c = text; *c && ok; c++)
        ok = matcher_accept_byte(m, (uint8_t)*c);
    ok = ok && matcher_may_end(m);
    matcher_destroy(m);
    return ok;
}

static bool allows(const char *schema, const char *text)
{
    if (put(schema) < 0)
        TEST_FAIL("%s: %s", schema, err.text);
    return matches(text);
}

static void refused(const char *schema, int code, const char *why)
{
    CHECK_INT(put(schema), code);
    CHECK_CONTAINS(err.text, why);
}

TEST(properties_come_in_their_order)
{
    const char *s = "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\"},\"b\":"
                    "{\"type\":\"integer\"},\"c\":{\"type\":\"null\"}},\"required\":[\"b\"]}";

    CHECK(allows(s, "{\"a\":\"x\",\"b\":1,\"c\":null}"));
    CHECK(allows(s, "{ \"a\": \"x\", \"b\": 1 }"));
    CHECK(allows(s, "{\"b\":-20}"));
    CHECK(!allows(s, "{\"a\":\"x\"}"));
    CHECK(!allows(s, "{\"b\":1,\"a\":\"x\"}"));
    CHECK(!allows(s, "{\"b\":1,\"d\":1}"));
    CHECK(!allows(s, "{\"b\":1,}"));
    CHECK(!allows(s, "{\"b\":01}"));
}

TEST(other_properties_are_none_of_those_that_are_named)
{
    const char *s = "{\"properties\":{\"ab\":{\"type\":\"null\"},\"abc\":{\"type\":\"null\"}},"
                    "\"additionalProperties\":{\"type\":\"integer\"}}";

    CHECK(allows(s, "{\"ab\":null,\"abc\":null,\"x\":1,\"a\":2,\"abcd\":3}"));
    CHECK(allows(s, "{\"b\":1}"));
    CHECK(allows(s, "{}"));
    CHECK(!allows(s, "{\"ab\":1}"));
    CHECK(!allows(s, "{\"abc\":1}"));
    CHECK(!allows(s, "{\"x\":null}"));
}

TEST(arrays_count)
{
    CHECK(allows("{\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", "[1, 2]"));
    CHECK(!allows("{\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", "[1]"));
    CHECK(!allows("{\"items\":{\"type\":\"integer\"},\"minItems\":2,\"maxItems\":3}", "[1,2,3,4]"));
    CHECK(allows("{\"prefixItems\":[{\"const\":1},{\"const\":\"a\"}]}", "[1,\"a\"]"));
    CHECK(!allows("{\"prefixItems\":[{\"const\":1},{\"const\":\"a\"}]}", "[1]"));
    CHECK(
        allows("{\"prefixItems\":[{\"const\":1}],\"items\":{\"type\":\"null\"}}", "[1,null,null]"));
    CHECK(allows("{\"type\":\"array\",\"items\":false}", "[]"));
    CHECK(!allows("{\"type\":\"array\",\"items\":false}", "[1]"));
    CHECK(allows("{\"type\":\"array\",\"minItems\":1}", "[{\"a\":[true]}]"));
}

TEST(strings_are_what_they_say_not_how_they_are_written)
{
    CHECK(allows("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"\\n\xc3\xa9\""));
    CHECK(!allows("{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}", "\"abcd\""));
    CHECK(allows("{\"pattern\":\"^a\\\"+$\"}", "\"a\\\"\\\"\""));
    CHECK(!allows("{\"pattern\":\"^a\\\"+$\"}", "\"a\"\""));
    CHECK(allows("{\"pattern\":\"b|^c\"}", "\"xxbyy\""));
    CHECK(allows("{\"pattern\":\"b|^c\"}", "\"cy\""));
    CHECK(!allows("{\"pattern\":\"b|^c\"}", "\"xc\""));
    CHECK(allows("{\"format\":\"date\"}", "\"2024-02-29\""));
    CHECK(!allows("{\"format\":\"date\"}", "\"2023-02-29\""));
    CHECK(!allows("{\"format\":\"date\"}", "\"2023-13-01\""));
    CHECK(allows("{\"format\":\"uuid\"}", "\"123e4567-e89b-12d3-a456-426614174000\""));
    CHECK(!allows("{\"type\":\"string\"}", "\"\\ud800\""));
}

TEST(types_are_lists_or_follow_from_keywords)
{
    CHECK(allows("{\"type\":[\"null\",\"boolean\"]}", "true"));
    CHECK(allows("{\"type\":[\"null\",\"boolean\"]}", "null"));
    CHECK(!allows("{\"type\":[\"null\",\"boolean\"]}", "1"));
    CHECK(allows("{\"maxLength\":2}", "\"ab\""));
    CHECK(!allows("{\"maxLength\":2}", "12"));
    CHECK(allows("{\"title\":\"t\",\"x-y\":1}", "[1.5e3,\"\\u00e9\"]"));
    CHECK(allows("{\"type\":\"string\",\"enum\":[1,\"a\",\"b\"]}", "\"b\""));
    CHECK(!allows("{\"type\":\"string\",\"enum\":[1,\"a\",\"b\"]}", "1"));
    CHECK(allows("{\"const\":{\"k\":[0.1,null]}}", "{\"k\": [0.1, null]}"));
}

TEST(references_may_come_back)
{
    const char *s = "{\"$ref\":\"#/$defs/n\",\"$defs\":{\"n\":{\"type\":\"object\",\"properties\":"
                    "{\"n\":{\"anyOf\":[{\"$ref\":\"#/$defs/n\"},{\"type\":\"null\"}]}},"
                    "\"required\":[\"n\"]}}}";

    CHECK(allows(s, "{\"n\":{\"n\":{\"n\":null}}}"));
    CHECK(!allows(s, "{\"n\":{\"n\":{}}}"));
    CHECK(allows("{\"items\":{\"$ref\":\"#\"}}", "[[],[[]]]"));
}

TEST(parts_of_all_of_are_one)
{
    const char *s =
        "{\"allOf\":[{\"properties\":{\"a\":{\"type\":\"integer\"}},\"required\":[\"a\"]},"
        "{\"properties\":{\"a\":{\"minimum\":5},\"b\":{\"const\":1}}}]}";
    const char *either = "{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"anyOf\":"
                         "[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}";

    CHECK(allows(s, "{\"a\":7,\"b\":1}"));
    CHECK(!allows(s, "{\"a\":4}"));
    CHECK(allows(either, "{\"a\":1}"));
    CHECK(allows(either, "{\"b\":2}"));
    CHECK(!allows(either, "{}"));
    refused("{\"allOf\":[{\"additionalProperties\":false,\"properties\":{}},{\"properties\":{\"a\":"
            "true}}]}",
            LLMOS_EUNSUPPORTED, "'additionalProperties' at '#/allOf/1' forbids");
}

TEST(what_cannot_be_kept_is_named_with_its_place)
{
    refused("{\"properties\":{\"a\":{\"items\":{\"not\":{}}}}}", LLMOS_EUNSUPPORTED,
            "keyword 'not' at '#/properties/a/items' is not supported");
    refused("{\"anyOf\":[{},{\"uniqueItems\":true}]}", LLMOS_EUNSUPPORTED,
            "'uniqueItems' at '#/anyOf/1'");
    refused("{\"minLenght\":1}", LLMOS_EUNSUPPORTED, "did you mean 'minLength'?");
    refused("{\"type\":\"text\"}", LLMOS_EINVAL, "'type' at '#' is none of");
    refused("{\"$ref\":\"x.json\"}", LLMOS_EUNSUPPORTED, "leads out of the schema");
    refused("{\"$ref\":\"#/a\"}", LLMOS_EINVAL, "leads to nothing");
    refused("{\"format\":\"regex\"}", LLMOS_EUNSUPPORTED, "'format'");
    refused("{\"pattern\":\"(?!a)b\"}", LLMOS_EUNSUPPORTED, "looking ahead");
    refused("{\"pattern\":\"(a)\\\\1\"}", LLMOS_EUNSUPPORTED, "reference back");
    refused("{\"pattern\":\"a\",\"maxLength\":3}", LLMOS_EUNSUPPORTED, "together with another");
    refused("{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", LLMOS_EUNSUPPORTED,
            "branches 0 and 1 that may both hold");
    refused("{\"minItems\":3,\"maxItems\":2}", LLMOS_EINVAL, "'minItems'");
    refused("{\"maxLength\":70000}", LLMOS_ELIMIT, "'maxLength'");
    refused("{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}", LLMOS_EINVAL, "leaves no number");
    refused("{\"enum\":[1],\"type\":\"string\"}", LLMOS_EINVAL, "leaves no value");
    refused("{\"additionalProperties\":false,\"required\":[\"a\"]}", LLMOS_EINVAL, "forbids");
    refused("{\"allOf\":[{\"$ref\":\"#\"}]}", LLMOS_ELIMIT, "without end");
    refused("{\"properties\":{\"a\":false},\"required\":[\"a\"]}", LLMOS_EINVAL, "cannot be");
}

/* Every range of small integers, one by one; and every bound of each kind for other numbers. */
TEST(numbers_keep_within_their_bounds)
{
    static const int bounds[] = {-1001, -100, -99, -10, -1, 0, 1, 9, 10, 57, 100, 999, 1234};
    const int n = sizeof(bounds) / sizeof(bounds[0]);

    for (int a = 0; a <= n; a++)
        for (int b = 0; b <= n; b++)
            for (int open = 0; open < 4; open++) {
                struct decimal_bound low = {a < n, open & 1, a < n ? bounds[a] : 0};
                struct decimal_bound high = {b < n, open & 2, b < n ? bounds[b] : 0};
                bool any;

                buf_fini(&grammar);
                buf_init(&grammar, SCHEMA_GRAMMAR_MAX);
                buf_puts(&grammar, "root ::= ");
                any = decimal_put(&grammar, low, high, true);
                for (int i = 0; i < 2 * n; i++) {
                    int v = bounds[i / 2] + i % 2;
                    bool inside = (a == n || v > bounds[a] || (v == bounds[a] && !(open & 1))) &&
                                  (b == n || v < bounds[b] || (v == bounds[b] && !(open & 2)));
                    char text[16];

                    snprintf(text, sizeof(text), "%d", v);
                    CHECK_INT(any && matches(text), inside);
                }
            }
}

TEST(choices_and_regular_expressions_are_grammars)
{
    const struct str choices[] = {STR("yes"), STR("no \"way\"\n"), STR("\xc3\xa9")};

    buf_fini(&grammar);
    buf_init(&grammar, SCHEMA_GRAMMAR_MAX);
    CHECK_INT(schema_put_choice(&grammar, choices, 3, &err), 0);
    CHECK(matches("yes") && matches("no \"way\"\n") && matches("\xc3\xa9") && !matches("n"));
    CHECK_INT(schema_put_choice(&grammar, choices, 0, &err), LLMOS_EINVAL);
    buf_clear(&grammar);
    CHECK_INT(schema_put_regex(&grammar, STR("^[A-Z]\\d{2,3}(?:-(a|b))?$"), &err), 0);
    CHECK(matches("A12") && matches("Z999-b") && !matches("A1") && !matches("xA12"));
    buf_clear(&grammar);
    CHECK_INT(schema_put_object(&grammar, &err), 0);
    CHECK(matches("{\"a\": [1, {}]}") && !matches("[1]"));
    buf_clear(&grammar);
    CHECK_INT(schema_put_regex(&grammar, STR("(a"), &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "no closing ')'");
    CHECK_INT(schema_put_regex(&grammar, STR("a**"), &err), LLMOS_EFORMAT);
    CHECK_INT(schema_put_regex(&grammar, STR("[b-a]"), &err), LLMOS_EFORMAT);
    CHECK_INT(schema_put_regex(&grammar, STR("a\\"), &err), LLMOS_EFORMAT);
    CHECK_INT(schema_put_regex(&grammar, STR("\\bx"), &err), LLMOS_EUNSUPPORTED);
    CHECK_INT(schema_put_regex(&grammar, STR("(?i)x"), &err), LLMOS_EUNSUPPORTED);
}

TEST(a_schema_survives_every_failed_allocation)
{
    json_t *v = json_loads("{\"allOf\":[{\"properties\":{\"a\":{\"pattern\":\"^x\"},\"b\":"
                           "{\"prefixItems\":[{\"enum\":[1]}]}}}],\"additionalProperties\":true}",
                           0, NULL);

    EVERY_ALLOCATION_FAILS
    {
        int rc;

        buf_fini(&grammar);
        buf_init(&grammar, SCHEMA_GRAMMAR_MAX);
        rc = schema_put(&grammar, v, &err);
        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
    }
    json_decref(v);
}
