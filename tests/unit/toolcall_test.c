/* SPDX-License-Identifier: Apache-2.0 */
/* toolcall_test.c - claims about toolcall.h */
#include "daemon/toolcall.h"
#include "sched/schema.h"

#include "base/mem.h"
#include "test.h"

static const struct toolcall_parameter parameters[] = {{{"s", 1}, SCHEMA_STRING},
                                                       {{"n", 1}, SCHEMA_OTHERS},
                                                       {{"b", 1}, SCHEMA_STRING | SCHEMA_OTHERS}};
static const struct toolcall_function functions[] = {{.name = {"f", 1}},
                                                     {{"get_it", 6}, parameters, 3}};

/* What was told: text as it is, a call as {name|arguments}. */
static struct buf heard;
static bool in_call;

static void hear(void *cookie, enum toolcall_kind kind, uint32_t index, struct str text)
{
    (void)cookie;
    (void)index;
    if (kind == TOOLCALL_BEGIN)
        buf_printf(&heard, "%s{%.*s|", in_call ? "}" : "", STR_ARG(text));
    else if (kind == TOOLCALL_TEXT && in_call)
        buf_puts(&heard, "}");
    in_call = kind != TOOLCALL_TEXT;
    if (kind != TOOLCALL_BEGIN)
        buf_put(&heard, text.at, text.len);
}

static struct toolcall_parser parser_of(const char *format, bool is_strict)
{
    struct toolcall_parser p = {.format = callform_of(str_of(format)),
                                .functions = functions,
                                .function_count = 2,
                                .calls_max = TOOLCALL_CALLS_MAX,
                                .is_strict = is_strict,
                                .hear = hear};

    toolcall_init(&p);
    return p;
}

/* In two pieces, cut at `cut`. */
static const char *parse(const char *format, bool is_strict, const char *text, size_t cut)
{
    struct toolcall_parser p = parser_of(format, is_strict);

    buf_fini(&heard);
    buf_init(&heard, 8 << 20);
    in_call = false;
    toolcall_put(&p, (struct str){text, cut});
    toolcall_put(&p, str_of(text + cut));
    toolcall_end(&p);
    if (in_call)
        buf_puts(&heard, p.is_open ? "..." : "}");
    CHECK(toolcall_is_good(&p));
    toolcall_fini(&p);
    return heard.at ? heard.at : "";
}

#define DS(word) "<｜tool▁" word "｜>"

static const struct {
    const char *format, *text, *told;
} cases[] = {
    {"hermes", "Hello, <b>you</b>\n", "Hello, <b>you</b>\n"},
    {"hermes", "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>",
     "{f|{\"a\": 1}}"},
    {"hermes",
     "Let me see.\n\n<tool_call>{\"arguments\":{\"s\":\"}\\\"]\",\"l\":[{}]},\"name\":\"get_it\"}"
     "</tool_call>\n<tool_call>{\"name\":\"f\"}</tool_call>\n",
     "Let me see.{get_it|{\"s\":\"}\\\"]\",\"l\":[{}]}}{f|{}}"},
    {"hermes", "<tool_call>{\"name\":\"f\"}</tool_call> Done. ", "{f|{}} Done."},
    {"hermes", "<tool_call>{\"name\":\"f\"}<tool_call>{\"name\":\"f\"}", "{f|{}}{f|{}}"},
    {"hermes", "<tool_call>{\"name\":\"f\"}</tool>", "{f|{}}</tool>"},
    {"hermes", "<tool_<tool_call> [1]", "<tool_<tool_call> [1]"},
    {"hermes", "<tool_call>{\"name\":\"other\",\"arguments\":{}}</tool_call>",
     "<tool_call>{\"name\":\"other\",\"arguments\":{}}</tool_call>"},
    {"hermes", "<tool_call>{\"name\":\"f\",\"arguments\":[]}",
     "<tool_call>{\"name\":\"f\","
     "\"arguments\":[]}"},
    {"hermes", "<tool_call>{\"name\":\"f\",\"name\":\"f\"}",
     "<tool_call>{\"name\":\"f\","
     "\"name\":\"f\"}"},
    {"hermes", "<tool_call>{\"name\":\"f\", \"x\": -1.5e3, \"y\" : null , \"z\":\"\\\"\"}",
     "{f|{}}"},
    {"hermes", "a <tool_call>{\"name\":\"f\",\"arg", "a <tool_call>{\"name\":\"f\",\"arg"},
    {"mistral",
     "[TOOL_CALLS] [{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"get_it\", "
     "\"arguments\": {\"a\": []}, \"id\": \"abcdefghi\"}]",
     "{f|{}}{get_it|{\"a\": []}}"},
    {"mistral", "[TOOL_CALLS]{\"name\": \"f\"}", "{f|{}}"},
    {"mistral", "[TOOL_CALLS][[{\"name\": \"f\"}]]", "[TOOL_CALLS][[{\"name\": \"f\"}]]"},
    {"mistral", "a [TOOL] [TOOL_CALLS][] b", "a [TOOL] [TOOL_CALLS][] b"},
    {"llama3", "{\"name\": \"f\", \"parameters\": {\"a\": true}}", "{f|{\"a\": true}}"},
    {"llama3", " {\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}; {\"name\": \"f\"}",
     "{f|{}}{f|{}}"},
    {"llama3", "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}", "{f|{}}"},
    {"llama3", "JSON: {\"name\": \"f\"}", "JSON: {\"name\": \"f\"}"},
    {"ministral", "So: [TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]get_it[CALL_ID]abcdefghi[ARGS]{}",
     "So:{f|{\"a\": 1}}{get_it|{}}"},
    {"ministral", "[TOOL_CALLS]g[ARGS]{}", "[TOOL_CALLS]g[ARGS]{}"},
    {"ministral", "[TOOL_CALLS]f[ARGS][]", "[TOOL_CALLS]f[ARGS][]"},
    {"ministral", "[TOOL_CALLS]f", "[TOOL_CALLS]f"},
    {"granite", "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\"}]",
     "{f|{}}{f|{}}"},
    {"harmony", "<|channel|>commentary to=functions.get_it<|message|>{\"a\": 2}<|call|>",
     "{get_it|{\"a\": 2}}"},
    {"harmony", "<|channel|>commentary to=functions.get_it<|message|>{\"a\": 2}",
     "{get_it|{\"a\": 2}}"},
    {"harmony", "<|channel|>commentary to=functions.no<|message|>{}",
     "<|channel|>commentary to=functions.no<|message|>{}"},
    {"qwen3xml",
     "Go.\n<tool_call>\n<function=get_it>\n<parameter=s>\n<b> "
     "5\n\n</parameter>\n<parameter=n>\n[1, "
     "true]\n</parameter>\n<parameter=b>\nx\n</parameter>\n<parameter=other>7</parameter>\n"
     "</function>\n</tool_call>\n<tool_call><function=f></function></tool_call>",
     "Go.{get_it|{\"s\": \"<b> 5\\n\", \"n\": [1, true], \"b\": \"x\", \"other\": 7}}{f|{}}"},
    {"qwen3xml",
     "<tool_call><function=get_it><parameter=b>None</parameter><parameter=b>1</parameter>"
     "<parameter=s>true</parameter></function></tool_call>",
     "{get_it|{\"b\": null, \"s\": \"true\"}}"},
    {"qwen3xml", "<tool_call><function=g></function>", "<tool_call><function=g></function>"},
    {"qwen3xml", "<tool_call>{\"name\": \"f\"}", "<tool_call>{\"name\": \"f\"}"},
    {"glm",
     "Go.\n<tool_call>get_it\n<arg_key>s</arg_key>\n<arg_value>\n<b> "
     "5</arg_value>\n<arg_key>n</arg_key>"
     "\n<arg_value>[1]</arg_value>\n</tool_call>\n<tool_call>f\n</tool_call>",
     "Go.{get_it|{\"s\": \"\\n<b> 5\", \"n\": [1]}}{f|{}}"},
    {"glm47",
     "<tool_call>get_it<arg_key>b</arg_key><arg_value>None</arg_value><arg_key>b</arg_key>"
     "<arg_value>1</arg_value></tool_call><tool_call>f</tool_call> Done.",
     "{get_it|{\"b\": null}}{f|{}} Done."},
    {"glm", "<tool_call>g\n</tool_call>", "<tool_call>g\n</tool_call>"},
    {"glm", "<tool_call></tool_call>", "<tool_call></tool_call>"},
    {"deepseek",
     "So:\n" DS("calls▁begin") DS("call▁begin") "function" DS(
         "sep") "f\n```json\n{\"a\": \"```\"}\n"
                "```" DS("call▁end") "\n" DS("call▁begin") "function" DS(
                    "sep") "get_it\n```json\n{}\n```" DS("call▁end") DS("calls▁end") "\n",
     "So:{f|{\"a\": \"```\"}}{get_it|{}}"},
    {"deepseek31",
     DS("calls▁begin") "\n" DS("call▁begin") "f" DS("sep") "{\"a\": 1}" DS("call▁end")
         DS("call▁begin") "get_it" DS("sep") "{}" DS("call▁end")
             DS("calls▁end") " Done." DS("calls▁begin") DS("call▁begin") "f" DS("sep") "{}",
     "{f|{\"a\": 1}}{get_it|{}} Done.{f|{}}"},
    {"deepseek31", DS("calls▁begin") DS("call▁begin") "g" DS("sep") "{}" DS("call▁end"),
     DS("calls▁begin") DS("call▁begin") "g" DS("sep") "{}" DS("call▁end")},
    {"deepseek31", DS("calls▁begin") " <｜tool▁call, he said",
     DS("calls▁begin") " <｜tool▁call, he said"},
    {"deepseek31", DS("calls▁begin") DS("calls▁begin") DS("call▁begin") "f" DS("sep") "{}",
     DS("calls▁begin") "{f|{}}"},
    {"deepseek31", DS("calls▁begin") DS("calls▁end"), ""},
    {"deepseek31",
     DS("calls▁begin") DS("call▁begin") "f" DS("sep") "{}" DS("call▁end") "\n<｜tool▁cal x",
     "{f|{}}\n<｜tool▁cal x"},
    {"phi4",
     "<|tool_call|>[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"get_it\", \"arguments\": "
     "{\"a\": []}}]<|/tool_call|>",
     "{f|{}}{get_it|{\"a\": []}}"},
    {"nemotron",
     "So:\n<TOOLCALL>[{\"name\": \"f\", \"arguments\": {}}]</TOOLCALL> Done.</TOOLCALL>",
     "So:{f|{}} Done.</TOOLCALL>"},
    {"nemotron", "<TOOLCALL>[{\"name\": \"f\"}] </TOOL", "{f|{}}"},
    {"apriel", "<tool_calls>[{\"name\": \"f\", \"arguments\": {}, \"id\": \"1\"}]</tool_calls>\n",
     "{f|{}}"},
    {"command",
     "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"get_it\", \"parameters\": "
     "{\"a\": 1}},\n    {\"tool_call_id\": \"1\", \"tool_name\": \"f\", \"parameters\": {}}\n]"
     "<|END_ACTION|>",
     "{get_it|{\"a\": 1}}{f|{}}"},
    {"seed",
     "<seed:tool_call>\n<function=get_it>\n<parameter=s>\na</parameter>\n</function>\n"
     "</seed:tool_call>",
     "{get_it|{\"s\": \"\\na\"}}"},
    {"functionary", "<function=f>{\"a\": 1}</function><function=get_it>{}</function>",
     "{f|{\"a\": 1}}{get_it|{}}"},
    {"functionary", "<function=g>{}</function>", "<function=g>{}</function>"},
    {"kimi",
     "So: <|tool_calls_section_begin|><|tool_call_begin|>functions.get_it:0"
     "<|tool_call_argument_begin|>{\"a\": 1}<|tool_call_end|><|tool_call_begin|>functions.f:12"
     "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
     "So:{get_it|{\"a\": 1}}{f|{}}"},
    {"kimi", "<|tool_calls_section_begin|><|tool_call_begin|>f:0<|tool_call_argument_begin|>{}",
     "<|tool_calls_section_begin|><|tool_call_begin|>f:0<|tool_call_argument_begin|>{}"},
    {"llama3", "{\"answer\": {\"name\": \"f\"}}", "{\"answer\": {\"name\": \"f\"}}"},
};

TEST(toolcall_finds_calls_wherever_the_text_is_cut)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (size_t cut = 0; cut <= strlen(cases[i].text); cut++) {
            CHECK_STR(parse(cases[i].format, false, cases[i].text, cut), cases[i].told);
            CHECK_STR(parse(cases[i].format, true, cases[i].text, cut), cases[i].told);
        }
}

TEST(toolcall_takes_nothing_for_a_parameter_that_it_cannot_be)
{
    static const char text[] =
        "<tool_call><function=get_it><parameter=n>x</parameter></function></tool_call>";

    CHECK_STR(parse("qwen3xml", false, text, 0), text);
    CHECK_STR(parse("qwen3xml", false, "<tool_call><function=f><param>", 0),
              "<tool_call><function=f><param>");
    CHECK_STR(parse("glm", false, "<tool_call>f\n<arg_key>s</arg_key>\n<s", 0),
              "<tool_call>f\n<arg_key>s</arg_key>\n<s");
}

TEST(toolcall_reads_arguments_as_json_unless_a_grammar_vouches_for_them)
{
    static const char text[] = "<tool_call>{\"name\": \"f\", \"arguments\": {a}}</tool_call>";

    CHECK_STR(parse("hermes", false, text, 0), text);
    CHECK_STR(parse("hermes", true, text, 0), "{f|{a}}");
}

TEST(toolcall_tells_arguments_as_they_come_under_a_grammar)
{
    static const char text[] = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"b";

    CHECK_STR(parse("hermes", true, text, 0), "{f|{\"a\": \"b...");
    CHECK_STR(parse("hermes", false, text, 0), text);
}

TEST(toolcall_hears_no_more_than_it_may)
{
    struct toolcall_parser p = parser_of("hermes", false);

    p.calls_max = 1;
    buf_fini(&heard);
    buf_init(&heard, 1 << 20);
    in_call = false;
    for (int i = 0; i < 3; i++)
        toolcall_put(&p, STR("<tool_call>{\"name\":\"f\"}</tool_call>x"));
    toolcall_end(&p);
    CHECK_STR(heard.at, "{f|{}");
    CHECK_INT(p.calls, 1);
    toolcall_reset(&p);
    toolcall_put(&p, STR("y"));
    CHECK_INT(p.calls, 0);
    CHECK_STR(heard.at, "{f|{}}y");
    toolcall_fini(&p);
}

TEST(toolcall_counts_a_call_that_breaks_off_under_a_grammar)
{
    struct toolcall_parser p = parser_of("llama3", true);

    p.calls_max = 1;
    buf_fini(&heard);
    buf_init(&heard, 1 << 20);
    in_call = false;
    toolcall_put(&p, STR("{\"name\": \"f\", \"parameters\": {}x <|python_tag|>{\"name\": \"f\"}"));
    toolcall_end(&p);
    CHECK_INT(p.calls, 1);
    CHECK_STR(heard.at, "{f|{}");
    toolcall_fini(&p);
}

TEST(toolcall_holds_no_more_than_its_limit)
{
    struct toolcall_parser p = parser_of("hermes", false);
    char blanks[4096];

    memset(blanks, ' ', sizeof(blanks));
    buf_fini(&heard);
    buf_init(&heard, 8 << 20);
    in_call = false;
    toolcall_put(&p, STR("<tool_call>"));
    for (int i = 0; i < 512; i++)
        toolcall_put(&p, (struct str){blanks, sizeof(blanks)});
    CHECK(p.held.room <= 2 * TOOLCALL_HELD_MAX);
    toolcall_end(&p);
    CHECK_INT(heard.len, 11 + 512 * sizeof(blanks));
    CHECK(toolcall_is_good(&p));
    toolcall_fini(&p);
}

TEST(toolcall_knows_its_formats_by_name)
{
    CHECK(!callform_of(STR("")) && !callform_of(STR("xml")));
    CHECK_STR(callform_generic()->name, "hermes");
}

TEST(toolcall_survives_every_failed_allocation)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        EVERY_ALLOCATION_FAILS
        {
            struct toolcall_parser p = parser_of(cases[i].format, i % 2);

            buf_clear(&heard);
            in_call = false;
            toolcall_put(&p, str_of(cases[i].text));
            toolcall_end(&p);
            if (in_call)
                buf_puts(&heard, "}");
            if (toolcall_is_good(&p) && !heard.bad)
                CHECK_STR(heard.at ? heard.at : "", cases[i].told);
            toolcall_fini(&p);
        }
    buf_fini(&heard);
}
