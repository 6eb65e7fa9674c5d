/* SPDX-License-Identifier: Apache-2.0 */
/* json_test.c - claims about json.h */
#include "base/json.h"
#include "base/jsontext.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "test.h"

static const struct json_limits limits = {4096, 8, 64};

static const char *refusal(struct str text, int code)
{
    static struct llmos_error err;
    json_t *value = NULL;

    err = (struct llmos_error){0};
    if (json_parse(&value, text, &limits, &err) == 0) {
        json_decref(value);
        return "accepted";
    }
    return err.code == code ? err.text : "refused with another code";
}

static json_t *parsed(const char *text)
{
    json_t *value = NULL;

    return json_parse(&value, str_of(text), &limits, NULL) == 0 ? value : NULL;
}

TEST(json_reads_an_object)
{
    json_t *v = parsed("{\"a\": [1, 2.5, \"x\\u00e9\", true, null]}");

    CHECK(v);
    CHECK_INT(json_array_size(json_object_get(v, "a")), 5);
    CHECK_STR(json_string_value(json_array_get(json_object_get(v, "a"), 2)), "x\xc3\xa9");
    json_decref(v);
}

TEST(json_says_where_it_is_broken)
{
    CHECK_CONTAINS(refusal(STR("{\n  \"a\" 1\n}"), LLMOS_EFORMAT), "line 2 column");
    CHECK_CONTAINS(refusal(STR(""), LLMOS_EFORMAT), "empty");
    CHECK_CONTAINS(refusal(STR("{\"a\": 1"), LLMOS_EFORMAT), "line 1");
    CHECK_CONTAINS(refusal(STR("{\"a"), LLMOS_EFORMAT), "line 1");
    CHECK_CONTAINS(refusal(STR("]]]]"), LLMOS_EFORMAT), "line 1");
    CHECK_CONTAINS(refusal(STR("7"), LLMOS_EFORMAT), "line 1");
}

TEST(json_refuses_what_the_standard_does_not_know)
{
    static const char *const bad[] = {"{\"a\": NaN}",         "{\"a\": Infinity}",
                                      "{\"a\": -Infinity}",   "{\"a\": 01}",
                                      "{\"a\": .5}",          "{\"a\": 0x10}",
                                      "{\"a\": 1,}",          "{'a': 1}",
                                      "{\"a\": 1} x",         "{\"a\": 1}{}",
                                      "{\"a\": 1e999}",       "{\"a\": 99999999999999999999}",
                                      "{\"a\": \"\\u0000\"}", "{\"a\": \"\\ud800\"}",
                                      "{\"a\": 1, \"a\": 2}"};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        CHECK_CONTAINS(refusal(str_of(bad[i]), LLMOS_EFORMAT), "line 1 column");
}

TEST(json_refuses_broken_utf8_with_its_place)
{
    CHECK_STR(refusal(STR("{\n \"\xc3\xa9\": \"\xff\"}"), LLMOS_EFORMAT),
              "line 2 column 8: this is not valid UTF-8");
}

TEST(json_bounds_depth_size_and_values_before_parsing)
{
    char deep[4000];
    char many[4000];

    memset(deep, '[', sizeof(deep));
    CHECK_CONTAINS(refusal((struct str){deep, sizeof(deep)}, LLMOS_ELIMIT),
                   "column 9: nested too deeply, at most 8 are accepted");
    CHECK_CONTAINS(refusal(STR("[[[[[[[[1]]]]]]]]"), LLMOS_EFORMAT), "accepted");
    CHECK_CONTAINS(refusal(STR("[\"[[[[[[[[[[[\\\"[[[\"]"), LLMOS_EFORMAT), "accepted");
    for (size_t i = 0; i < sizeof(many); i++)
        many[i] = i == 0 ? '[' : i % 2 ? '1' : ',';
    many[sizeof(many) - 1] = ']';
    CHECK_CONTAINS(refusal((struct str){many, sizeof(many)}, LLMOS_ELIMIT), "too many values");
    CHECK_CONTAINS(refusal((struct str){many, 5000}, LLMOS_ELIMIT), "at most 4096");
}

TEST(json_names_the_field_and_its_range)
{
    json_t *v =
        parsed("{\"t\": 3.5, \"n\": 2.5, \"m\": 1e300, \"s\": \"\", \"w\": 2.0, \"z\": null,"
               " \"b\": 1}");
    struct json_fault f = {0};
    struct str s;
    double d = 7;
    int64_t i = 7;
    bool b;

    CHECK(v);
    CHECK_INT(json_take_number(v, "", "t", 0, 2, &d, &f), LLMOS_EINVAL);
    CHECK_STR(f.err.text, "'t' is 3.5, it must be 0 to 2");
    CHECK_STR(f.param, "t");
    CHECK_NEAR(d, 7, 0);
    CHECK_INT(json_take_integer(v, "options.", "n", 0, 9, &i, &f), LLMOS_EINVAL);
    CHECK_STR(f.err.text, "'options.n' is 2.5, it must be a whole number");
    CHECK_STR(f.param, "options.n");
    CHECK_INT(json_take_integer(v, "", "m", 0, 9, &i, &f), LLMOS_EINVAL);
    CHECK_INT(json_take_integer(v, "", "w", 3, 9, &i, &f), LLMOS_EINVAL);
    CHECK_INT(json_take_integer(v, "", "w", 0, 9, &i, &f), 1);
    CHECK_INT(i, 2);
    CHECK_INT(json_take_integer(v, "", "z", 0, 9, &i, &f), 0);
    CHECK_INT(json_take_integer(v, "", "absent", 0, 9, &i, &f), 0);
    CHECK_INT(json_take_string(v, "", "s", 9, &s, &f), LLMOS_EINVAL);
    CHECK_STR(f.err.text, "'s' is empty");
    CHECK_INT(json_take_string(v, "", "t", 9, &s, &f), LLMOS_EINVAL);
    CHECK_STR(f.err.text, "'t' must be a string, not a number");
    CHECK_INT(json_take_bool(v, "", "b", &b, &f), LLMOS_EINVAL);
    json_decref(v);
}

TEST(json_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        json_t *v = NULL;
        int rc = json_parse(&v, STR("{\"a\": [1, {\"b\": \"text\"}, 3]}"), &limits, NULL);

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        if (rc == 0)
            json_decref(v);
    }
}

TEST(json_writes_any_bytes_as_a_string)
{
    struct buf out;

    buf_init(&out, 4096);
    json_put_string(&out, STR("a\"b\\c\n\x01\x7f\xff\xc3\xa9"));
    CHECK_STR(out.at, "\"a\\\"b\\\\c\\n\\u0001\\u007f\xef\xbf\xbd\xc3\xa9\"");
    buf_clear(&out);
    json_put_number(&out, -(double)INFINITY);
    buf_putc(&out, ' ');
    json_put_number(&out, (double)NAN);
    buf_putc(&out, ' ');
    json_put_number(&out, -0.25);
    CHECK_STR(out.at, "-9999 -9999 -0.25");
    buf_fini(&out);
}

TEST(json_writes_values_as_python_does)
{
    static const char text[] = "{\"b\": [1, -2.5, 0.1, 1e+300, 3.0, \"x\\n\"], \"a\": {}, "
                               "\"c\": [true, false, null]}";
    json_t *v = parsed(text);
    struct buf out;

    buf_init(&out, 4096);
    json_put(&out, v);
    CHECK_STR(out.at, text);
    buf_fini(&out);
    json_decref(v);
}

/* Whether the text is printf's, for each float that is a multiple of a large prime apart. */
TEST(json_floats_come_back_and_read_as_printf_writes_them)
{
    struct buf out;

    buf_init(&out, 64);
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 40009) {
        uint32_t b = (uint32_t)bits;
        char text[32];
        float v;

        memcpy(&v, &b, sizeof(v));
        if (!isfinite(v))
            continue;
        buf_clear(&out);
        json_put_float(&out, v);
        buf_putc(&out, '\0');
        snprintf(text, sizeof(text), "%.9g", (double)v);
        CHECK_STR(buf_str(&out).at, text);
        CHECK(strtof(buf_str(&out).at, NULL) == v);
    }
    buf_clear(&out);
    json_put_float(&out, -INFINITY);
    CHECK(str_is(buf_str(&out), "-9999"));
    buf_fini(&out);
}

TEST(json_reads_back_every_byte_it_wrote)
{
    struct buf out;
    char all[255];
    json_t *v = NULL;

    for (int i = 1; i < 128; i++)
        all[i - 1] = (char)i;
    buf_init(&out, 8192);
    buf_putc(&out, '[');
    json_put_string(&out, (struct str){all, 127});
    buf_putc(&out, ']');
    CHECK_INT(json_parse(&v, buf_str(&out), &limits, NULL), 0);
    CHECK(
        str_eq((struct str){json_string_value(json_array_get(v, 0)), 127}, (struct str){all, 127}));
    json_decref(v);
    buf_fini(&out);
}
