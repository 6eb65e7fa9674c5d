/* SPDX-License-Identifier: Apache-2.0 */
/* thought_test.c - claims about thought.h */
#include "sched/thought.h"

#include "allows.h"
#include "base/mem.h"

/* What was told: thoughts in braces. */
static struct buf heard;
static bool in_thought;

static void hear(void *cookie, bool is_thought, struct str text)
{
    (void)cookie;
    CHECK(text.len > 0);
    if (is_thought != in_thought)
        buf_putc(&heard, is_thought ? '{' : '}');
    in_thought = is_thought;
    buf_put(&heard, text.at, text.len);
}

static struct thought_parser parser_of(const char *format)
{
    struct thought_parser p = {.format = thought_format_of(str_of(format)), .hear = hear};

    thought_init(&p);
    return p;
}

/* In two pieces, cut at `cut`. */
static const char *parse(const char *format, const char *text, size_t cut)
{
    struct thought_parser p = parser_of(format);

    buf_fini(&heard);
    buf_init(&heard, 8 << 20);
    in_thought = false;
    thought_put(&p, (struct str){text, cut});
    thought_put(&p, str_of(text + cut));
    thought_end(&p);
    if (in_thought)
        buf_putc(&heard, '}');
    CHECK(thought_is_good(&p));
    thought_fini(&p);
    return heard.at ? heard.at : "";
}

static const struct {
    const char *format, *text, *told;
} cases[] = {
    {"", "<think>a</think>b", "<think>a</think>b"},
    {"think", "<think>\nLet me see.\n\n</think>\n\nIt is 4.", "{Let me see.}It is 4."},
    {"think", "It is <think>4</think>.", "It is <think>4</think>."},
    {"think", " \n It is 4.\n", " \n It is 4.\n"},
    {"think", "\n<think>a b", "{a b}"},
    {"think", "<think>a b \n", "{a b}"},
    {"think", "<think></think>x", "x"},
    {"think", "<think> \n </think>", ""},
    {"think", "<think>a <think> b</think>c</think>d", "{a <think> b}c</think>d"},
    {"think", "<think>a < b </thin </th</think>c", "{a < b </thin </th}c"},
    {"think", "<think>a</thi", "{a</thi}"},
    {"think", "<thin", "<thin"},
    {"think", "<thing>", "<thing>"},
    {"think", "<think>a</think>", "{a}"},
    {"think", "", ""},
    {"mistral", "[THINK]a [1] b[/THINK]c [2]", "{a [1] b}c [2]"},
    {"granite", "<think>a</think> <response>b</response>", "{a}b"},
    {"granite", "<think>a</think><resp>b</response>", "{a}<resp>b</response>"},
    {"granite", "<think>a</think><response>b</res </respo", "{a}b</res </respo"},
    {"granite", "b", "b"},
    {"granite", "<response>b</response>", "b"},
    {"granite", "<re<response>b", "<re<response>b"},
    {"command", "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "{a}b"},
    {"command", " <|START_RESPONSE|>b<|END_RESPONSE|>", "b"},
    {"command", "<|START_THINKING|>a<|END_THINKING|><|START_ACTION|>[]<|END_ACTION|>",
     "{a}<|START_ACTION|>[]<|END_ACTION|>"},
    {"command", "<|START_ACTION|>[]", "<|START_ACTION|>[]"},
    {"command", "<|START_TH", "<|START_TH"},
    {"cohere2", "<|START_THINKING|>a<|END_THINKING|><|START_TEXT|>b<|END_TEXT|>", "{a}b"},
    {"seed", "<seed:think>a</seed:think>b", "{a}b"},
    {"harmony",
     "<|channel|>analysis<|message|>a <|b\n<|end|><|start|>assistant<|channel|>final"
     "<|message|>c<|return|>",
     "{a <|b\n}c"},
    {"harmony", "<|channel|>final <|constrain|>json<|message|>{}", "{}"},
    {"harmony",
     "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis"
     "<|message|>b<|start|>assistant<|channel|>final<|message|>c",
     "{a\nb}c"},
    {"harmony",
     "<|channel|>commentary to=functions.f <|constrain|>json<|message|>{\"a\":1}<|call|>",
     "<|channel|>commentary to=functions.f<|message|>{\"a\":1}<|call|>"},
    {"harmony", " to=functions.f<|channel|>analysis json<|message|>{}",
     "<|channel|>commentary to=functions.f<|message|>{}"},
    {"harmony", "<|channel|>commentary<|message|>So:<|end|><|start|>assistant<|channel|>comm",
     "So:"},
    {"harmony", "Hello <|end|>", "Hello "},
    {"harmony", "<|channel|>analysis<|message|>a<|en", "{a<|en}"},
};

TEST(thought_is_told_apart_wherever_the_text_is_cut)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t cut = 0; cut <= strlen(cases[i].text); cut++)
            CHECK_STR(parse(cases[i].format, cases[i].text, cut), cases[i].told);
}

TEST(thought_keeps_little_however_much_is_said)
{
    static const char *const fills[] = {
        " ", "<", "a", "<think>", "</thin", "<|channel|>", "<|start|>assistant<|message|>"};
    static const char *const formats[] = {"think", "granite", "harmony"};
    CLEANUP(buf) struct buf text = {.limit_bytes = 8 << 20};

    for (size_t f = 0; f < 3; f++)
        for (size_t i = 0; i < sizeof(fills) / sizeof(fills[0]); i++) {
            struct thought_parser p = parser_of(formats[f]);

            buf_fini(&heard);
            buf_init(&heard, 8 << 20);
            buf_clear(&text);
            buf_puts(&text, f == 2 ? "<|channel|>analysis<|message|>" : "<think>");
            while (text.len < 1 << 20)
                buf_puts(&text, fills[i]);
            for (size_t at = 0; at < text.len; at += 1000) {
                size_t n = text.len - at < 1000 ? text.len - at : 1000;

                thought_put(&p, (struct str){text.at + at, n});
                CHECK(p.held.room <= 3 * THOUGHT_HELD_MAX);
            }
            thought_end(&p);
            CHECK(thought_is_good(&p));
            thought_fini(&p);
        }
}

TEST(thought_says_when_memory_fails)
{
    EVERY_ALLOCATION_FAILS
    {
        struct thought_parser p = parser_of("harmony");

        buf_fini(&heard);
        buf_init(&heard, 1 << 20);
        for (size_t i = 0; i < 3; i++)
            thought_put(&p, STR("<|channel|>analysis<|message|>abcd<|end|><|start|>"));
        thought_end(&p);
        if (thought_is_good(&p) && !heard.bad)
            CHECK_CONTAINS(heard.at, "abcd\nabcd\nabcd");
        thought_fini(&p);
    }
}

static bool allows(const char *format, const char *inner, bool is_content, const char *text)
{
    CLEANUP(buf) struct buf grammar = {.limit_bytes = 1 << 20};

    thought_put_grammar(thought_format_of(str_of(format)), str_of(inner), is_content, &grammar);
    return grammar_allows(buf_str(&grammar), text);
}

TEST(thought_comes_before_what_a_grammar_says)
{
    static const char inner[] = "root ::= x root | thought # it's \"odd\"\n"
                                "x ::= \"root\" | [x\\]]{2}\nthought ::= \".\"\n";

    CHECK(allows("think", inner, true, "rootx]."));
    CHECK(allows("think", inner, true, "<think>a <b </thin x</think>\n\nroot."));
    CHECK(!allows("think", inner, true, "<think>a") && !allows("think", inner, true, "a"));
    CHECK(!allows("think", inner, true, "<think></think><think></think>."));
    CHECK(allows("mistral", inner, true, "[THINK]a[1][/THINK]."));
    CHECK(allows("granite", inner, true, "<think>a</think><response>.</response>"));
    CHECK(allows("granite", inner, true, "<think>a</think>."));
    CHECK(allows("harmony", inner, true, "<|channel|>final<|message|>."));
    CHECK(allows("harmony", inner, true,
                 "<|channel|>analysis<|message|>a<|b<|end|><|start|>assistant<|channel|>final "
                 "<|constrain|>json<|message|>xx."));
    CHECK(!allows("harmony", inner, true, "<|channel|>analysis<|message|>."));
    CHECK(allows("harmony", inner, false,
                 "<|channel|>analysis<|message|>a<|end|><|start|>assistant."));
}
