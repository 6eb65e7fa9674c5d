/* SPDX-License-Identifier: Apache-2.0 */
/* schema_test.c - claims about schema.h, regex.h, automaton.h and decimal.h. tools/check_schemas.py
 * asks somebody else's validators about thousands of random texts. */
#include "sched/schema.h"

#include "allows.h"
#include "base/mem.h"

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
    return grammar_allows(buf_str(&grammar), text);
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
    CHECK(!allows("{\"allOf\":[{\"additionalProperties\":false,\"properties\":{}},{\"properties\":"
                  "{\"a\":true}}]}",
                  "{\"a\":1}"));
    refused("{\"allOf\":[{\"additionalProperties\":false,\"properties\":{}},{\"properties\":{\"a\":"
            "true},\"required\":[\"a\"]}]}",
            LLMOS_EINVAL, "'required' at '#' names a property that cannot be");
}

TEST(one_of_takes_what_one_branch_alone_holds_for)
{
    const char *numbers = "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}";
    const char *either =
        "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"oneOf\":[{\"required\":["
        "\"a\"]},{\"required\":[\"b\"]}]}";
    const char *closed =
        "{\"oneOf\":[{\"properties\":{\"a\":{},\"c\":{}},\"additionalProperties\":false},"
        "{\"properties\":{\"a\":{\"type\":\"string\"}},\"additionalProperties\":false}]}";
    const char *ranges =
        "{\"type\":\"integer\",\"minimum\":0,\"oneOf\":[{\"maximum\":5},{\"minimum\":3}]}";
    const char *mixed =
        "{\"oneOf\":[{\"type\":\"string\"},{\"properties\":{\"a\":true},\"required\":[\"a\"]}]}";

    CHECK(allows(numbers, "1.5") && !allows(numbers, "1") && !allows(numbers, "2.0"));
    CHECK(allows(either, "{\"a\":1}") && allows(either, "{\"b\":1}"));
    CHECK(!allows(either, "{\"a\":1,\"b\":1}") && !allows(either, "{}"));
    CHECK(allows(closed, "{\"c\":1}") && allows(closed, "{\"a\":1}") && !allows(closed, "{}") &&
          !allows(closed, "{\"a\":\"x\"}"));
    CHECK(allows(ranges, "2") && allows(ranges, "6") && !allows(ranges, "4"));
    CHECK(allows(mixed, "{\"a\":1}") &&
          !allows(mixed, "\"x\"")); /* a string has no bad properties */
}

TEST(words_that_nobody_knows_are_annotations)
{
    CHECK(allows(
        "{\"id\":\"x\",\"type\":\"integer\",\"nullable\":true,\"javaType\":\"int\",\"format\":"
        "\"int32\",\"propertyOrdering\":[]}",
        "5"));
    CHECK(allows("{\"type\":\"string\",\"format\":\"color\",\"maxLength\":9000}", "\"a\""));
    CHECK(allows("{\"format\":\"json-pointer\"}", "\"/a~1b/0\""));
    CHECK(!allows("{\"format\":\"json-pointer\"}", "\"/~2\""));
}

TEST(what_cannot_be_kept_is_named_with_its_place)
{
    refused("{\"properties\":{\"a\":{\"items\":{\"unevaluatedItems\":{}}}}}", LLMOS_EUNSUPPORTED,
            "keyword 'unevaluatedItems' at '#/properties/a/items' is not supported");
    refused("{\"$dynamicRef\":\"#a\"}", LLMOS_EUNSUPPORTED, "'$ref' to a place in the schema is");
    refused("{\"anyOf\":[{},{\"uniqueItems\":true}]}", LLMOS_EUNSUPPORTED,
            "'uniqueItems' at '#/anyOf/1'");
    refused("{\"minLenght\":1}", LLMOS_EUNSUPPORTED, "did you mean 'minLength'?");
    refused("{\"type\":\"text\"}", LLMOS_EINVAL, "'type' at '#' is none of");
    refused("{\"$ref\":\"x.json\"}", LLMOS_EUNSUPPORTED, "leads out of the schema");
    refused("{\"$ref\":\"#/a\"}", LLMOS_EINVAL, "leads to nothing");
    refused("{\"oneof\":[{}]}", LLMOS_EUNSUPPORTED, "did you mean 'oneOf'?");
    refused("{\"format\":\"datetime\"}", LLMOS_EUNSUPPORTED, "'format'");
    refused("{\"pattern\":\"(?!a)b\"}", LLMOS_EUNSUPPORTED, "looking ahead");
    refused("{\"pattern\":\"(a)\\\\1\"}", LLMOS_EUNSUPPORTED, "reference back");
    refused("{\"pattern\":\"a\",\"maxLength\":9000}", LLMOS_ELIMIT, "automaton");
    refused("{\"oneOf\":[{\"type\":\"string\"},{\"format\":\"date\"}]}", LLMOS_EUNSUPPORTED,
            "branches 0 and 1 that may both hold");
    refused("{\"oneOf\":[{\"type\":\"string\"},{\"type\":[\"string\",\"null\"],\"enum\":[\"a\"]},"
            "{\"const\":\"a\"}],\"enum\":[\"a\"]}",
            LLMOS_EINVAL, "leaves");
    refused("{\"minItems\":3,\"maxItems\":2}", LLMOS_EINVAL, "'minItems'");
    refused("{\"maxLength\":70000}", LLMOS_ELIMIT, "'maxLength'");
    refused("{\"type\":\"integer\",\"minimum\":2,\"maximum\":1}", LLMOS_EINVAL, "leaves no number");
    refused("{\"enum\":[1],\"type\":\"string\"}", LLMOS_EINVAL, "leaves no value");
    refused("{\"additionalProperties\":false,\"required\":[\"a\"]}", LLMOS_EINVAL, "forbids");
    refused("{\"allOf\":[{\"$ref\":\"#\"}]}", LLMOS_ELIMIT, "without end");
    refused("{\"properties\":{\"a\":false},\"required\":[\"a\"]}", LLMOS_EINVAL, "cannot be");
}

/* Every range of small integers, one by one, with both kinds of bounds. */
TEST(numbers_keep_within_their_bounds)
{
    static const int bounds[] = {-1001, -100, -99, -10, -1, 0, 1, 9, 10, 57, 100, 999, 1234};
    const int n = sizeof(bounds) / sizeof(bounds[0]);

    for (int a = 0; a <= n; a++)
        for (int b = 0; b <= n; b++)
            for (int open = 0; open < 4; open++) {
                char schema[160], low[60] = "", high[60] = "";
                bool any;

                if (a < n)
                    snprintf(low, sizeof(low), ",\"%s\":%d",
                             open & 1 ? "exclusiveMinimum" : "minimum", bounds[a]);
                if (b < n)
                    snprintf(high, sizeof(high), ",\"%s\":%d",
                             open & 2 ? "exclusiveMaximum" : "maximum", bounds[b]);
                snprintf(schema, sizeof(schema), "{\"type\":\"integer\"%s%s}", low, high);
                any = put(schema) == 0;
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

TEST(numbers_are_compared_digit_by_digit)
{
    const char *s = "{\"type\":\"number\",\"minimum\":0.5,\"exclusiveMaximum\":12.25}";
    const char *below = "{\"type\":\"number\",\"maximum\":-0.001}";

    CHECK(allows(s, "0.5") && matches("0.50") && matches("12.2499") && matches("3"));
    CHECK(!matches("0.49") && !matches("0") && !matches("12.25") && !matches("12.250"));
    CHECK(!matches("-1") && !matches("100") && !matches("13"));
    CHECK(allows(below, "-0.001") && matches("-5") && matches("-0.01"));
    CHECK(!matches("-0.0009") && !matches("0") && !matches("1"));
    CHECK(allows("{\"type\":\"number\",\"maximum\":1e-3,\"minimum\":-1E2}", "0.001"));
    CHECK(matches("-100") && !matches("-100.1") && !matches("0.0011"));
    refused("{\"type\":\"number\",\"minimum\":1e-30}", LLMOS_ELIMIT, "more than 16 digits");
}

TEST(multiples_are_counted_in_digits)
{
    static const struct {
        const char *step;
        unsigned of, hundredths; /* the same in hundredths */
    } steps[] = {{"1", 1, 100},       {"3", 3, 300},   {"10", 10, 1000},
                 {"250", 250, 25000}, {"7", 7, 700},   {"0.01", 0, 1},
                 {"0.25", 0, 25},     {"1.5", 0, 150}, {"365", 365, 36500}};

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char schema[80], text[32];

        snprintf(schema, sizeof(schema), "{\"type\":\"number\",\"multipleOf\":%s}", steps[i].step);
        CHECK_INT(put(schema), 0);
        for (unsigned v = 0; v <= 1200; v += v < 200 ? 1 : 25) {
            snprintf(text, sizeof(text), v % 3 ? "%u.%02u" : "-%u.%02u", v / 100, v % 100);
            if (!steps[i].of)
                CHECK_INT(matches(text),
                          v % steps[i].hundredths == 0 &&
                              (steps[i].hundredths != 150 || v % 10 == 0) &&
                              strlen(strchr(text, '.')) <= (steps[i].hundredths == 150 ? 2 : 3));
            snprintf(text, sizeof(text), "%u", v);
            if (steps[i].of)
                CHECK_INT(matches(text), v % steps[i].of == 0);
        }
    }
    CHECK(allows("{\"type\":\"integer\",\"multipleOf\":1000000,\"minimum\":1}", "3000000"));
    CHECK(!matches("3100000") && !matches("0") && !matches("300000"));
    CHECK(allows("{\"type\":\"integer\",\"multipleOf\":2.5}", "5") && !matches("2"));
    refused("{\"multipleOf\":1009}", LLMOS_EUNSUPPORTED, "times a power of 10");
    refused("{\"multipleOf\":0}", LLMOS_EUNSUPPORTED, "above 0");
}

TEST(names_follow_patterns)
{
    const char *s = "{\"properties\":{\"ab\":{\"minimum\":3}},\"patternProperties\":{\"^a\":"
                    "{\"type\":\"integer\"},\"z$\":{\"maximum\":9}},\"additionalProperties\":"
                    "{\"type\":\"null\"}}";

    CHECK(allows(s, "{\"ab\":4,\"ac\":-1,\"az\":9,\"z\":1.5,\"b\":null}"));
    CHECK(!matches("{\"ab\":2}") && !matches("{\"ab\":3.5}") && !matches("{\"ac\":null}"));
    CHECK(!matches("{\"az\":10}") && !matches("{\"az\":1.5}") && !matches("{\"b\":1}"));
    CHECK(allows("{\"patternProperties\":{\"^x\":{\"type\":\"null\"}}}", "{\"xy\":null}"));
    CHECK(!matches("{\"y\":null}") && matches("{}"));
    CHECK(allows("{\"propertyNames\":{\"maxLength\":2,\"pattern\":\"^[a-c]\"}}", "{\"ab\":1}"));
    CHECK(!matches("{\"abc\":1}") && !matches("{\"d\":1}"));
    CHECK(allows("{\"propertyNames\":{\"enum\":[\"x\",\"y\"]},\"additionalProperties\":{\"type\":"
                 "\"null\"},\"minProperties\":2}",
                 "{\"x\":null,\"y\":null}"));
    CHECK(!matches("{\"x\":null}") && !matches("{\"x\":1,\"y\":1}") && !matches("{\"z\":null}"));
    CHECK(allows("{\"propertyNames\":false}", "{}") && !matches("{\"a\":1}"));
    CHECK(allows("{\"properties\":{\"a\":{},\"bb\":{}},\"propertyNames\":{\"maxLength\":1}}",
                 "{\"a\":1}"));
    CHECK(!matches("{\"bb\":1}"));
}

TEST(properties_are_counted)
{
    const char *s = "{\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2},\"c\":{\"const\":"
                    "3}},\"required\":[\"b\"],\"minProperties\":2,\"maxProperties\":2}";

    CHECK(allows(s, "{\"a\":1,\"b\":2}") && matches("{\"b\":2,\"c\":3}"));
    CHECK(!matches("{\"b\":2}") && !matches("{\"a\":1,\"b\":2,\"c\":3}"));
    CHECK(!matches("{\"a\":1,\"c\":3}"));
    CHECK(allows("{\"type\":\"object\",\"minProperties\":1,\"maxProperties\":2}", "{\"a\":1}"));
    CHECK(!matches("{}") && !matches("{\"a\":1,\"b\":1,\"c\":1}") && matches("{\"a\":1,\"b\":1}"));
    CHECK(allows("{\"maxProperties\":0}", "{}") && !matches("{\"a\":1}"));
    refused("{\"type\":\"object\",\"minProperties\":2}", LLMOS_EUNSUPPORTED, "the same one twice");
    refused("{\"properties\":{\"a\":{}},\"minProperties\":2}", LLMOS_EINVAL, "cannot be");
}

TEST(arrays_contain_what_they_must)
{
    const char *s = "{\"items\":{\"type\":\"integer\"},\"contains\":{\"minimum\":10},"
                    "\"minContains\":2,\"maxContains\":3,\"maxItems\":5}";

    CHECK(allows("{\"type\":\"array\",\"contains\":{\"const\":7}}", "[\"a\",7,null]"));
    CHECK(matches("[7]") && !matches("[]") && !matches("[70,6]"));
    CHECK(allows(s, "[10,1,20]") && matches("[1,11,2,12,13]") && matches("[10,10]"));
    CHECK(!matches("[10,1]") && !matches("[10,11,12,13]") && !matches("[10,20,1,1,1,1]"));
    CHECK(allows("{\"prefixItems\":[{\"const\":1},{\"const\":2}],\"contains\":{\"const\":2}}",
                 "[1,2]"));
    CHECK(allows("{\"items\":{\"type\":\"null\"},\"contains\":{\"const\":1},\"minContains\":0}",
                 "[null]"));
    refused("{\"items\":{\"type\":\"null\"},\"contains\":{\"const\":1}}", LLMOS_EINVAL,
            "wants items that there cannot be");
}

TEST(listed_items_come_once)
{
    const char *s = "{\"items\":{\"enum\":[1,\"a\",1.0,null]},\"uniqueItems\":true,\"minItems\":2}";
    const char *many = "{\"items\":{\"enum\":[0,1,2,3,4,5,6,7,8,9]},\"uniqueItems\":true}";

    CHECK(allows(s, "[\"a\",1]") && matches("[null,1,\"a\"]") && matches("[1,null]"));
    CHECK(!matches("[1,1]") && !matches("[1]") && !matches("[1,\"a\",1]"));
    CHECK(allows(many, "[0,3,9]") && matches("[]") && !matches("[3,3]"));
    CHECK(allows("{\"items\":{\"type\":\"boolean\"},\"uniqueItems\":true}", "[false,true]"));
    CHECK(!matches("[true,true]"));
    CHECK(allows("{\"type\":\"array\",\"uniqueItems\":true,\"maxItems\":1}", "[{}]"));
    s = "{\"items\":{\"type\":\"integer\",\"minimum\":-1,\"maximum\":3,\"not\":{\"const\":2}},"
        "\"uniqueItems\":true}";
    CHECK(allows(s, "[3,-1,0]") && !allows(s, "[3,3]") && !allows(s, "[2]") && !allows(s, "[4]"));
    refused("{\"type\":\"array\",\"uniqueItems\":true}", LLMOS_EUNSUPPORTED, "values of an enum");
}

TEST(the_opposite_of_a_schema_is_one)
{
    CHECK(allows("{\"type\":\"string\",\"not\":{\"enum\":[\"a\",\"ab\"]}}", "\"abc\""));
    CHECK(matches("\"\"") && matches("\"b\"") && !matches("\"a\"") && !matches("\"ab\""));
    CHECK(allows("{\"type\":\"integer\",\"not\":{\"const\":5}}", "6") && matches("55"));
    CHECK(!matches("5"));
    CHECK(allows("{\"type\":\"number\",\"not\":{\"const\":0}}", "0.5") && !matches("-0.0"));
    CHECK(!matches("0") && !matches("0.000") && matches("10"));
    CHECK(allows("{\"not\":{\"type\":[\"string\",\"number\"]}}", "true") && matches("[1]"));
    CHECK(!matches("\"a\"") && !matches("1") && !matches("1.5"));
    CHECK(allows("{\"not\":{\"type\":\"integer\"},\"type\":\"number\"}", "1.5"));
    CHECK(!matches("1") && !matches("1.0"));
    CHECK(allows("{\"type\":\"string\",\"not\":{\"pattern\":\"b\"}}", "\"aca\""));
    CHECK(!matches("\"aba\""));
    CHECK(allows("{\"type\":[\"boolean\",\"null\"],\"not\":{\"const\":true}}", "false"));
    CHECK(matches("null") && !matches("true"));
    CHECK(allows("{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}},\"not\":{\"required\":"
                 "[\"a\",\"b\"]}}",
                 "{\"a\":1}"));
    CHECK(matches("{\"b\":1}") && matches("{}") && !matches("{\"a\":1,\"b\":1}"));
    CHECK(allows("{\"type\":\"integer\",\"not\":{\"multipleOf\":3}}", "4") && !matches("9"));
    CHECK(allows("{\"type\":\"integer\",\"not\":{\"minimum\":3,\"maximum\":5}}", "2"));
    CHECK(matches("6") && !matches("4"));
    refused("{\"not\":{}}", LLMOS_EINVAL, "nothing is valid");
    refused("{\"type\":\"array\",\"not\":{\"const\":[1]}}", LLMOS_EUNSUPPORTED,
            "arrays or objects by their value");
    refused("{\"not\":{\"format\":\"date\"}}", LLMOS_EUNSUPPORTED, "cannot be turned round");
}

TEST(conditions_are_branches)
{
    const char *s =
        "{\"properties\":{\"kind\":{\"enum\":[\"a\",\"b\"]},\"x\":{\"type\":\"integer\"}},"
        "\"required\":[\"kind\"],\"if\":{\"properties\":{\"kind\":{\"const\":\"a\"}}},"
        "\"then\":{\"required\":[\"x\"]},\"else\":{\"properties\":{\"x\":false}}}";
    const char *card = "{\"properties\":{\"card\":{\"type\":\"null\"},\"street\":{\"type\":"
                       "\"null\"}},\"dependentRequired\":{\"card\":[\"street\"]}}";
    const char *more = "{\"properties\":{\"a\":{\"type\":\"null\"},\"b\":{\"type\":\"integer\"}},"
                       "\"dependentSchemas\":{\"a\":{\"properties\":{\"b\":{\"minimum\":5}}}}}";

    CHECK(allows(s, "{\"kind\":\"a\",\"x\":1}") && matches("{\"kind\":\"b\"}"));
    CHECK(!matches("{\"kind\":\"a\"}") && !matches("{\"kind\":\"b\",\"x\":1}"));
    CHECK(allows(card, "{\"card\":null,\"street\":null}") && matches("{\"street\":null}"));
    CHECK(matches("{}") && !matches("{\"card\":null}"));
    CHECK(allows(more, "{\"a\":null,\"b\":5}") && matches("{\"b\":1}") && matches("{\"a\":null}"));
    CHECK(!matches("{\"a\":null,\"b\":4}"));
    CHECK(allows("{\"type\":\"integer\",\"if\":{\"minimum\":10},\"then\":{\"multipleOf\":10}}",
                 "20"));
    CHECK(matches("7") && !matches("15"));
}

TEST(listed_values_hold_for_the_rest_of_the_schema)
{
    CHECK(allows("{\"enum\":[1,5,\"a\",\"abc\",[1],[1,1]],\"minimum\":3,\"minLength\":2,"
                 "\"uniqueItems\":true}",
                 "5"));
    CHECK(!matches("1") && matches("\"abc\"") && !matches("\"a\"") && matches("[1]"));
    CHECK(!matches("[1, 1]"));
    CHECK(allows("{\"enum\":[0.12345678901234568,1e300]}", "1e+300") &&
          matches("0.12345678901234568"));
    CHECK(allows("{\"anyOf\":[{\"const\":1},{\"const\":\"x\"}],\"type\":\"integer\"}", "1"));
    CHECK(!matches("\"x\""));
    CHECK(
        allows("{\"pattern\":\"^a\",\"maxLength\":3,\"allOf\":[{\"pattern\":\"z$\"}]}", "\"abz\""));
    CHECK(!matches("\"abcz\"") && !matches("\"ab\""));
    CHECK(allows("{\"allOf\":[{\"prefixItems\":[{\"type\":\"string\"},{\"minimum\":2}]},{\"items\":"
                 "{\"type\":[\"string\",\"integer\"]}}]}",
                 "[\"a\",2]"));
    CHECK(!matches("[1,2]") && !matches("[\"a\",2.5]"));
    CHECK(allows("{\"allOf\":[{\"properties\":{},\"additionalProperties\":{\"type\":\"integer\"}},"
                 "{\"properties\":{\"b\":{\"minimum\":1}}}]}",
                 "{\"b\":1}"));
    CHECK(!matches("{\"b\":1.5}"));
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
                           "{\"prefixItems\":[{\"enum\":[1]}]}}}],\"additionalProperties\":true,"
                           "\"patternProperties\":{\"y\":{\"multipleOf\":2,\"not\":{\"const\":4}}},"
                           "\"dependentRequired\":{\"a\":[\"b\"]},\"maxProperties\":4}",
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
