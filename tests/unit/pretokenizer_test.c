/* SPDX-License-Identifier: Apache-2.0 */
/* pretokenizer_test.c - names, expressions, and what they do to a text. */
#include "test.h"

#include "base/buf.h"
#include "model/pretokenizer.h"

#include <time.h>

static int put(void *to, struct str piece)
{
    struct buf *b = to;

    buf_puts(b, b->len ? "|" : "");
    buf_put(b, piece.at, piece.len);
    return 0;
}

static const char *cut(const char *name, const char *text)
{
    static char shown[1024];
    const struct pretokenizer *p = pretokenizer_by_name(str_of(name));
    struct llmos_error err = {0};
    struct splitter s;
    struct arena arena;
    struct buf out;

    CHECK(p);
    arena_init(&arena, 1 << 20);
    if (pretokenizer_compile(p, &s, &arena, &err) < 0)
        TEST_FAIL("%s", err.text);
    buf_init(&out, sizeof(shown));
    CHECK_INT(splitter_run(&s, str_of(text), put, &out), 0);
    snprintf(shown, sizeof(shown), "%s", out.at ? out.at : "");
    buf_fini(&out);
    arena_fini(&arena);
    return shown;
}

TEST(pretokenizer_splits_as_each_family_does)
{
    static const char text[] = "Ein'S  x1234 WorLD\n\n中a";
    static const struct {
        const char *name, *pieces;
    } expected[] = {
        {"gpt-2", "Ein|'|S| | x|1234| WorLD|\n|\n|中a"},
        {"starcoder", "Ein|'|S| | x|1|2|3|4| WorLD|\n|\n|中a"},
        {"llama-bpe", "Ein|'S| | x|123|4| WorLD|\n\n|中a"},
        {"qwen2", "Ein|'S| | x|1|2|3|4| WorLD|\n\n|中a"},
        {"tekken", "Ein|'S| | x|1|2|3|4| Wor|LD|\n\n|中a"},
        {"gpt-4o", "Ein'S| | x|123|4| Wor|LD|\n\n|中a"},
        {"deepseek-llm", "Ein|'|S| | x|1234| WorLD|\n|\n|中|a"},
        {"deepseek-coder", "Ein|'|S| | x|1|2|3|4| WorLD|\n|\n|中|a"},
        {"deepseek-v3", "Ein|'S| | x|123|4| WorLD|\n\n|中|a"},
        {"falcon", "Ein|'|S| | x|123|4| WorLD|\n|\n|中a"},
        {"bloom", "Ein'S| | x1234| WorLD|\n\n|中a"},
        {"viking", "Ein'S| | x|1|2|3|4| WorLD|\n\n|中a"},
        {"superbpe", "Ein'S  x|1|234| WorLD\n\n中a"},
    };

    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        CHECK_STR(cut(expected[i].name, text), expected[i].pieces);
}

TEST(pretokenizer_knows_what_is_peculiar_to_one_family)
{
    static const struct {
        const char *name, *text, *pieces;
    } expected[] = {
        {"minicpm5", "a1234b", "a|123|4|b"},
        {"ufakzeka", "Ali'den 12", "Ali|'den| |1|2"},
        {"k2-horizon", "क्\u200dष", "क्\u200dष"},
        {"kimi-k2", "HelloWorld 中文ABc'S", "Hello|World| |中文|ABc'S"},
        {"laguna", "a!\r\n\r\n b\rc", "a|!|\r\n\r\n| b|\r|c"},
        {"qwen2", "a!\r\n\r\n b\rc", "a|!\r\n\r\n| b|\r|c"},
        {"spark2_5", "12!\n\nab", "1|2|!|\n|\n|ab"},
        /* From the end, and only where a word ends. */
        {"tiny_aya", "x12345, 12345x", "x|12|345|,| |123|45|x"},
        {"afmoe", "x12345, 12345x", "x|12|345|,| |12|345|x"},
        {"afmoe", "中あ한กa", "中あ|한|ก|a"},
    };

    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        CHECK_STR(cut(expected[i].name, expected[i].text), expected[i].pieces);
}

/* The lengths of the pieces of n spaces and a letter. */
static int put_length(void *to, struct str piece)
{
    char number[32];

    snprintf(number, sizeof(number), "%zu", piece.len);
    return put(to, str_of(number));
}

TEST(pretokenizer_jais_2_takes_white_space_by_powers_of_two)
{
    static const struct {
        size_t spaces;
        const char *lengths;
    } expected[] = {{1, "2"}, {3, "2|2"}, {6, "4|1|2"}, {700, "512|128|32|16|8|2|1|2"}};
    const struct pretokenizer *p = pretokenizer_by_name(STR("jais-2"));
    struct splitter s;
    struct arena arena;
    char text[1024];

    arena_init(&arena, 1 << 20);
    CHECK_INT(pretokenizer_compile(p, &s, &arena, NULL), 0);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct buf out;

        buf_init(&out, 1024);
        memset(text, ' ', sizeof(text));
        text[expected[i].spaces] = 'x';
        CHECK_INT(splitter_run(&s, (struct str){text, expected[i].spaces + 1}, put_length, &out),
                  0);
        CHECK_STR(out.at, expected[i].lengths);
        buf_fini(&out);
    }
    arena_fini(&arena);
}

TEST(pretokenizer_compiles_every_name_and_names_are_unique)
{
    const struct pretokenizer *p;

    for (size_t i = 0; (p = pretokenizer_at(i)) != NULL; i++) {
        CHECK(pretokenizer_by_name(str_of(p->name)) == p);
        CHECK(strcmp(cut(p->name, "a"), "a") == 0);
    }
    CHECK(!pretokenizer_by_name(STR("no-such")));
    CHECK(!pretokenizer_by_name(STR("")));
}

static int count(void *to, struct str piece)
{
    *(size_t *)to += piece.len;
    return 0;
}

/* A letter, a joiner of emojis, a mark, spaces, line ends, digits and bytes that are no text, over
 * and over. */
TEST(pretokenizer_needs_no_quadratic_time_whatever_its_name)
{
    static const char *const units[] = {"a",
                                        "A",
                                        "aA",
                                        "\xf0\x9f\x91\xa8\xe2\x80\x8d",
                                        "\xcc\x81",
                                        " ",
                                        "\n",
                                        " \n",
                                        "1",
                                        "1 ",
                                        "\xff",
                                        "'l",
                                        "\xe4\xb8\xad",
                                        "a ",
                                        "IMG",
                                        "!"};
    enum { BYTES = 1 << 16 };
    static char text[BYTES];
    const struct pretokenizer *p;
    clock_t start = clock();

    for (size_t i = 0; (p = pretokenizer_at(i)) != NULL; i++) {
        struct splitter s;
        struct arena arena;

        arena_init(&arena, 1 << 20);
        CHECK_INT(pretokenizer_compile(p, &s, &arena, NULL), 0);
        for (size_t k = 0; k < sizeof(units) / sizeof(units[0]); k++) {
            size_t bytes = 0;

            for (size_t b = 0; b < BYTES; b++)
                text[b] = units[k][b % strlen(units[k])];
            CHECK_INT(splitter_run(&s, (struct str){text, BYTES}, count, &bytes), 0);
            CHECK_INT(bytes, BYTES);
            text[BYTES - 1] = 'x';
            CHECK_INT(splitter_run(&s, (struct str){text, BYTES}, count, &bytes), 0);
        }
        arena_fini(&arena);
    }
    CHECK(clock() - start < 60 * CLOCKS_PER_SEC); /* squared one of them takes ten seconds */
}

TEST(pretokenizer_is_found_by_its_expressions)
{
    const struct str gpt[] = {STR(PRETOKENIZER_BYTE_LEVEL)};
    const struct str digits[] = {STR(PRETOKENIZER_DIGIT), STR(PRETOKENIZER_BYTE_LEVEL)};
    const struct str llama[] = {
        STR("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|"
            " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")};
    const struct str bloom[] = {STR(" ?[^(\\s|[.,!?…。，、।۔،])]+")};
    const struct str deepseek[] = {
        STR("\\p{N}{1,3}"), STR("[一-龥぀-ゟ゠-ヿ]+"),
        STR("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
            "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")};

    CHECK_STR(pretokenizer_by_expressions(gpt, 1, false)->name, "gpt-2");
    CHECK_STR(pretokenizer_by_expressions(digits, 2, false)->name, "starcoder");
    CHECK_STR(pretokenizer_by_expressions(llama, 1, true)->name, "llama-bpe");
    CHECK_STR(pretokenizer_by_expressions(llama, 1, false)->name, "dbrx");
    CHECK_STR(pretokenizer_by_expressions(bloom, 1, false)->name, "bloom");
    CHECK_STR(pretokenizer_by_expressions(deepseek, 3, false)->name, "deepseek-v3");
    CHECK(!pretokenizer_by_expressions(deepseek, 2, false));
    CHECK(!pretokenizer_by_expressions(gpt, 1, true));
    CHECK(!pretokenizer_by_expressions(gpt, 0, false));
}
