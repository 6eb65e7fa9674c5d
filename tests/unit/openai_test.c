/* SPDX-License-Identifier: Apache-2.0 */
/* openai_test.c - claims about openai.h */
#include "daemon/openai.h"

#include "allows.h"
#include "base/mem.h"

static struct arena arena;
static struct openai_request r;
static struct openai_fault fault;

static const char *template_form = "hermes"; /* what the model's template shows */

static const struct callform *tool_format(void *owner, struct str model)
{
    (void)owner;
    (void)model;
    return callform_of(str_of(template_form));
}

static const char *thought_form = "";

static const struct thought_format *thought_format(void *owner, struct str model)
{
    (void)owner;
    (void)model;
    return thought_format_of(str_of(thought_form));
}

static int parse(bool is_chat, const char *body)
{
    static const struct json_limits limits = {1 << 20, 16, 10000};
    static const struct openai_models models = {tool_format, thought_format, NULL};

    arena_fini(&arena);
    arena_init(&arena, 1 << 20);
    return openai_parse(&r, is_chat, str_of(body), &limits, &models, &arena, &fault);
}

#define TEXT(rest) parse(false, "{\"model\":\"m\",\"prompt\":\"p\"" rest "}")
#define CHAT(rest) \
    parse(true, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"c\"}]" rest "}")

/* What the chat template will see. */
static void says(const char *conversation)
{
    const struct message_generate *g = &r.prompts[0];

    CHECK_INT(g->prompt_kind, PROMPT_CHAT);
    CHECK_STR(arena_strndup(&arena, g->text.at, g->text.len), conversation);
}

TEST(openai_has_the_defaults_of_the_dialect)
{
    const struct message_generate *g;

    CHECK_INT(CHAT(""), 0);
    g = &r.prompts[0];
    CHECK_NEAR(g->temperature, 1, 0);
    CHECK_NEAR(g->top_p, 1, 0);
    CHECK_NEAR(g->min_p, 0, 0);
    CHECK_NEAR(g->repeat_penalty, 1, 0);
    CHECK_INT(g->top_k, 0);
    CHECK_INT(g->max_tokens, 0);
    CHECK(!r.is_stream && !r.has_seed && !r.want_logprobs && r.n == 1);
    says("{\"messages\": [\n{\"role\": \"user\", \"content\": \"c\"}]}");
    CHECK_INT(TEXT(""), 0);
    CHECK_INT(r.prompts[0].max_tokens, 16);
    CHECK(str_is(r.prompts[0].text, "p"));
}

TEST(openai_reads_every_field)
{
    const struct message_generate *g;

    CHECK_INT(CHAT(",\"temperature\":0.5,\"top_p\":0.25,\"top_k\":7,\"min_p\":0.125,"
                   "\"repetition_penalty\":1.5,\"presence_penalty\":-2,\"frequency_penalty\":2,"
                   "\"seed\":-3,\"stop\":[\"a\",\"b\"],\"max_completion_tokens\":9,\"n\":2,"
                   "\"logprobs\":true,\"top_logprobs\":5,\"logit_bias\":{\"12\":-100},"
                   "\"stream\":true,\"stream_options\":{\"include_usage\":true}"),
              0);
    g = &r.prompts[0];
    CHECK_NEAR(g->temperature, 0.5, 0);
    CHECK_NEAR(g->top_p, 0.25, 0);
    CHECK_INT(g->top_k, 7);
    CHECK_NEAR(g->min_p, 0.125, 0);
    CHECK_NEAR(g->repeat_penalty, 1.5, 0);
    CHECK_NEAR(g->presence_penalty, -2, 0);
    CHECK_NEAR(g->frequency_penalty, 2, 0);
    CHECK(r.has_seed && g->seed == (uint64_t)-3);
    CHECK_INT(g->stop_count, 2);
    CHECK(str_is(g->stops[1], "b"));
    CHECK_INT(g->max_tokens, 9);
    CHECK_INT(r.n, 2);
    CHECK(g->want_logprob && r.want_logprobs);
    CHECK_INT(g->top_logprobs, 5);
    CHECK_INT(g->bias_count, 1);
    CHECK_INT(g->bias[0].token, 12);
    CHECK_NEAR(g->bias[0].bias, -100, 0);
    CHECK(r.is_stream && r.include_usage);
}

TEST(openai_joins_text_parts_and_knows_developers)
{
    CHECK_INT(parse(true,
                    "{\"model\":\"m\",\"messages\":[{\"role\":\"developer\",\"content\":"
                    "[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},"
                    "{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null,"
                    "\"tool_calls\":[]}]}"),
              0);
    says("{\"messages\": [\n{\"role\": \"system\", \"content\": \"ab\"},\n"
         "{\"role\": \"assistant\", \"content\": \"\"}]}");
}

#define ASKED "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"w?\"},"

TEST(openai_gives_whole_messages_to_the_template)
{
    CHECK_INT(parse(true, ASKED
                    "{\"role\":\"assistant\",\"content\":null,\"refusal\":null,\"tool_calls\":["
                    "{\"id\":\"a1\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                    "\"arguments\":\"{\\\"x\\\": 0.1}\"}},"
                    "{\"index\":1,\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},"
                    "{\"role\":\"tool\",\"tool_call_id\":\"a1\",\"name\":\"f\",\"content\":"
                    "[{\"type\":\"text\",\"text\":\"su\"},{\"type\":\"text\",\"text\":\"n\"}]},"
                    "{\"role\":\"assistant\",\"content\":\"!\",\"reasoning_content\":\"h\"}],"
                    "\"chat_template_kwargs\":{\"enable_thinking\":false}}"),
              0);
    says("{\"messages\": [\n{\"role\": \"user\", \"content\": \"w?\"},\n"
         "{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": ["
         "{\"type\": \"function\", \"id\": \"a1\", \"function\": {\"name\": \"f\", "
         "\"arguments\": {\"x\": 0.1}}}, "
         "{\"type\": \"function\", \"function\": {\"name\": \"g\", \"arguments\": {}}}]},\n"
         "{\"role\": \"tool\", \"content\": \"sun\", \"tool_call_id\": \"a1\", \"name\": \"f\"},\n"
         "{\"role\": \"assistant\", \"content\": \"!\", \"reasoning_content\": \"h\", "
         "\"thinking\": \"h\", \"tool_plan\": \"h\"}], "
         "\"enable_thinking\": false}");
}

TEST(openai_says_what_is_wrong_with_a_message)
{
    static const struct {
        const char *message, *param, *why;
    } bad[] = {
        {"{\"role\":\"king\",\"content\":\"\"}", "messages[1].role", "must be system"},
        {"{\"role\":\"user\"}", "messages[1].content", "must be a string or an array"},
        {"{\"role\":\"assistant\"}", "messages[1].content", "must be a string or an array"},
        {"{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}", "messages[1].content",
         "not plain text"},
        {"{\"role\":\"user\",\"content\":\"\",\"tool_call_id\":\"x\"}", "messages[1].tool_call_id",
         "not supported"},
        {"{\"role\":\"user\",\"content\":\"\",\"name\":1}", "messages[1].name", "a string"},
        {"{\"role\":\"tool\",\"content\":\"\"}", "messages[1].tool_call_id", "which call"},
        {"{\"role\":\"assistant\",\"tool_calls\":{\"a\":1}}", "messages[1].tool_calls",
         "must be an array"},
        {"{\"role\":\"assistant\",\"tool_calls\":[1]}", "messages[1].tool_calls[0].function",
         "is missing"},
        {"{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{}}]}",
         "messages[1].tool_calls[0].function.name", "is missing"},
        {"{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
         "\"arguments\":\"{a\"}}]}",
         "messages[1].tool_calls[0].function.arguments", "must be JSON: line 1 column"},
        {"{\"role\":\"assistant\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
         "\"arguments\":\"[]\"}}]}",
         "messages[1].tool_calls[0].function.arguments", "must be a JSON object"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char body[512];
        int rc;

        snprintf(body, sizeof(body), ASKED "%s]}", bad[i].message);
        rc = parse(true, body);
        CHECK(rc < 0 && fault.status == 400);
        CHECK_STR(fault.what.param, bad[i].param);
        CHECK_CONTAINS(fault.what.err.text, bad[i].why);
    }
    CHECK_INT(CHAT(",\"chat_template_kwargs\":{\"messages\":[]}"), LLMOS_EINVAL);
    CHECK_STR(fault.what.param, "chat_template_kwargs.messages");
    CHECK_INT(CHAT(",\"chat_template_kwargs\":[]"), LLMOS_EINVAL);
}

#define F_X                                                                                    \
    "{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":\"object\"," \
    "\"properties\":{\"x\":{\"type\":\"integer\"}},\"required\":[\"x\"]}}}"
#define G_NOTHING  "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}"
#define TOOLS      ",\"tools\":[" F_X "," G_NOTHING "]"
#define TOOLS_LIST "\"tools\":[" G_NOTHING "]"

/* Whether an answer may be that text. */
static bool allows(const char *text)
{
    return grammar_allows(r.prompts[0].grammar, text);
}

TEST(openai_holds_calls_that_are_required_to_their_schemas)
{
    template_form = "hermes";
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(r.calls.is_strict && r.calls.function_count == 2 && r.calls.calls_max > 1);
    CHECK(allows("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>"));
    CHECK(allows("<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>\n"
                 "<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": -20}}\n</tool_call>"));
    CHECK(!allows("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"));
    CHECK(!allows("<tool_call>\n{\"name\": \"h\", \"arguments\": {}}\n</tool_call>"));
    CHECK(!allows("No.") && !allows(""));
    CHECK_INT(CHAT(TOOLS ",\"parallel_tool_calls\":false,\"tool_choice\":{\"type\":\"function\","
                         "\"function\":{\"name\":\"g\"}}"),
              0);
    CHECK_INT(r.calls.calls_max, 1);
    CHECK(allows("<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>"));
    CHECK(!allows("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>"));
    CHECK(!allows("<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>\n"
                  "<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>"));
    template_form = "mistral";
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(r.prompts[0].mark_count == 1 && str_is(r.prompts[0].marks[0], "[TOOL_CALLS]"));
    CHECK(allows("[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"x\": 1}}, {\"name\": \"g\", "
                 "\"arguments\": {}}]"));
    CHECK(allows("[TOOL_CALLS] [{\"name\": \"g\", \"arguments\": {}}]") &&
          !allows("[TOOL_CALLS][]"));
    template_form = "llama3";
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(allows("{\"name\": \"f\", \"parameters\": {\"x\": 1}}"));
    CHECK(!allows("{\"name\": \"f\", \"parameters\": {\"x\": \"1\"}}"));
}

TEST(openai_lets_a_model_choose_and_holds_the_calls_it_makes)
{
    template_form = "hermes";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(r.calls.is_strict);
    CHECK(allows("") && allows("Hello!\n") && allows("a < b <tool <tool_call <<"));
    CHECK(allows("<t<tool_<tool_call>\n{\"name\": \"g\", \"arguments\": {}}\n</tool_call>\n"));
    CHECK(
        allows("I see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"x\": 1}}\n</tool_call>"));
    CHECK(!allows("<tool_call>") && !allows("a <tool_call>\nf(x)\n</tool_call>"));
    CHECK(!allows("<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>"));
    template_form = "llama3";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(!r.calls.is_strict && r.calls.calls_max == 1);
    CHECK(allows("") && allows("{\"a\": 1}") && allows("{\"name") &&
          allows("Hello {\"name\": \"x"));
    CHECK(allows("{\"name\": \"f\", \"parameters\": {\"x\": 1}}"));
    CHECK(!allows("{\"name\": \"f\", \"parameters\": {}}"));
    template_form = "mistral";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(r.calls.is_strict && allows("") && allows("Hi [1]"));
    CHECK(allows("So: [TOOL_CALLS][{\"name\": \"g\", \"arguments\": {}}]"));
    CHECK(!allows("[TOOL_CALLS]") && !allows("[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}]"));
    CHECK(r.prompts[0].mark_count == 1 && str_is(r.prompts[0].marks[0], "[TOOL_CALLS]"));
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"none\""), 0);
    CHECK(!r.calls.format && r.prompts[0].grammar.len == 0 && r.prompts[0].mark_count == 0);
    says("{\"messages\": [\n{\"role\": \"user\", \"content\": \"c\"}]}");
}

#define DS(word) "<｜tool▁" word "｜>"

TEST(openai_holds_calls_in_each_form)
{
    template_form = "ministral";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(r.calls.is_strict && r.prompts[0].mark_count == 3);
    CHECK(allows("So: [TOOL_CALLS]f[ARGS]{\"x\": 1}[TOOL_CALLS]g[CALL_ID]abcdefghi[ARGS]{}"));
    CHECK(!allows("[TOOL_CALLS]f[ARGS]{}") && !allows("[TOOL_CALLS]h[ARGS]{}"));
    template_form = "granite";
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(allows("<|tool_call|>[{\"name\": \"g\", \"arguments\": {}}]") && !allows("g"));
    CHECK_INT(
        parse(true, ASKED
              "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":"
              "\"g\",\"arguments\":\"{}\"}},{\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]}]"
              "," TOOLS_LIST "}"),
        0);
    CHECK_CONTAINS(r.prompts[0].text.at,
                   "\"<|tool_call|>[{\\\"name\\\": \\\"g\\\", \\\"arguments\\\": {}}, "
                   "{\\\"name\\\": \\\"g\\\", \\\"arguments\\\": {}}]\"}");
    template_form = "deepseek";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(r.calls.is_strict && r.prompts[0].mark_count == 5);
    CHECK(
        allows("<｜tool▁cal <" DS("calls▁begin")
                   DS("call▁begin") "function" DS("sep") "f\n```json\n{\"x\": 1}\n```" DS(
                       "call▁end") "\n" DS("call▁begin") "function" DS("sep") "g\n```json\n{}\n``"
                                                                              "`" DS("call▁end")
                                                                                  DS("calls▁end")));
    CHECK(!allows(DS("calls▁begin")) && !allows(DS("calls▁begin") DS("calls▁end")));
    CHECK(!allows(DS("calls▁begin") DS("call▁begin") "function" DS("sep") "f\n```json\n{}\n```" DS(
        "call▁end") DS("calls▁end")));
    CHECK_CONTAINS(r.prompts[0].text.at, "\"content\": \"You can call functions.");
    CHECK_CONTAINS(r.prompts[0].text.at,
                   DS("sep") "NAME\\n```json\\n{\\\"PARAMETER\\\": \\\"VALUE\\\"}\\n```");
    CHECK(!strstr(r.prompts[0].text.at, "\"tools\"") && !strstr(r.prompts[0].text.at, "returns"));
    template_form = "deepseek31";
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(allows(DS("calls▁begin") DS("call▁begin") "f" DS("sep") "{\"x\": 1}" DS("call▁end")
                     DS("call▁begin") "g" DS("sep") "{}" DS("call▁end") DS("calls▁end")));
    CHECK(!allows("No.") && !allows(""));
    template_form = "nemotron";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(allows("a <TOOLCALL>[{\"name\": \"g\", \"arguments\": {}}, {\"name\": \"f\", "
                 "\"arguments\": {\"x\": 1}}]</TOOLCALL>"));
    CHECK(!allows("<TOOLCALL>[{\"name\": \"g\", \"arguments\": {}}]") && !allows("<TOOLCALL>"));
    template_form = "apriel";
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(allows("<tool_calls>[{\"name\": \"g\", \"arguments\": {}}]</tool_calls>"));
    template_form = "functionary";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(allows("a <function=f>{\"x\": 1}</function><function=g>{}</function>"));
    CHECK(!allows("<function=f>{}</function>") && !allows("<function="));
    template_form = "command";
    thought_form = "command";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(r.prompts[0].mark_count == 6);
    CHECK(allows("<|START_THINKING|>a<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": "
                 "\"0\", \"tool_name\": \"f\", \"parameters\": {\"x\": 1}},\n    "
                 "{\"tool_call_id\": \"1\", \"tool_name\": \"g\", \"parameters\": {}}\n]"
                 "<|END_ACTION|>"));
    CHECK(allows("<|START_RESPONSE|>Hi<|END_RESPONSE|>"));
    CHECK(!allows("<|START_ACTION|>[]<|END_ACTION|>"));
    thought_form = "";
    template_form = "phi4";
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(allows("<|tool_call|>[{\"name\": \"g\", \"arguments\": {}}]<|/tool_call|>"));
    CHECK(!allows("<|tool_call|>[]<|/tool_call|>") && !allows("g"));
    template_form = "kimi";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(allows("Hi <|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
                 "<|tool_call_argument_begin|>{\"x\": 1}<|tool_call_end|><|tool_call_begin|>"
                 "functions.g:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
                 "<|tool_calls_section_end|>"));
    CHECK(!allows("<|tool_calls_section_begin|><|tool_calls_section_end|>"));
    CHECK(!allows("<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
                  "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>"));
    CHECK_CONTAINS(r.prompts[0].text.at, "\"tools\": [");
    template_form = "harmony";
    thought_form = "harmony";
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(r.calls.calls_max == 1);
    CHECK(allows("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>commentary "
                 "to=functions.f <|constrain|>json<|message|>{\"x\": 1}"));
    CHECK(allows(" to=functions.g<|channel|>commentary json<|message|>{}"));
    CHECK(allows("<|channel|>final<|message|>Hi <|") && !allows("Hi"));
    CHECK(!allows("<|channel|>commentary to=functions.f<|message|>{}"));
    thought_form = "";
}

#define X_TOOLS                                                                               \
    ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true,"        \
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"s\":{\"type\":\"string\"},\"w\":{" \
    "\"enum\":"                                                                               \
    "[\"a\",\"b\"]},\"n\":{\"$ref\":\"#/$defs/"                                               \
    "few\"},\"o\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":"                               \
    "\"null\"}]}},\"required\":[\"s\",\"n\"],\"$defs\":{\"few\":{\"type\":\"integer\","       \
    "\"maximum\":"                                                                            \
    "9,\"minimum\":0}}}}},{\"type\":\"function\",\"function\":{\"name\":\"g\"}}]"
#define P(name, value) "<parameter=" name ">\n" value "\n</parameter>\n"
#define A(name, value) "<arg_key>" name "</arg_key>\n<arg_value>" value "</arg_value>\n"
#define F(parameters)  "<tool_call>\n<function=f>\n" parameters "</function>\n</tool_call>"

TEST(openai_holds_parameters_between_tags)
{
    template_form = "qwen3xml";
    CHECK_INT(CHAT(X_TOOLS), 0);
    CHECK(allows("Hi.\n" F(P("s", "a <b>\n") P("w", "a") P("n", "5") P("o", "null"))));
    CHECK(allows(F(P("s", "") P("n", "0") P("o", "Hello [1]"))));
    CHECK(allows(F(P("s", "{") P("n", "0") P("o", "\"1\""))));
    CHECK(!allows(F(P("s", "a") P("n", "0") P("o", "1"))) && !allows(F(P("s", "a") P("n", "x"))));
    CHECK(!allows(F(P("s", "a") P("n", "12"))) && !allows(F(P("n", "1"))));
    CHECK(!allows(F(P("s", "a") P("w", "c") P("n", "1"))));
    CHECK(!allows(F(P("s", "</parameter>") P("n", "1"))));
    CHECK(allows("<tool_call>\n<function=g>\n</function>\n</tool_call>"));
    CHECK_INT(r.calls.functions[0].parameter_count, 4);
    template_form = "glm";
    CHECK_INT(CHAT(X_TOOLS), 0);
    CHECK(allows("Hi.\n<tool_call>f\n" A("s", "\n<b>") A("n", "5")
                     A("o", "null") "</tool_call>\n<tool_call>g\n</tool_call>"));
    CHECK(!allows("<tool_call>f\n" A("s", "a") A("n", "12") "</tool_call>"));
    CHECK(!allows("<tool_call>f\n" A("n", "1") "</tool_call>"));
    template_form = "glm47";
    CHECK_INT(CHAT(X_TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(allows("<tool_call>f<arg_key>s</arg_key><arg_value>5</arg_value><arg_key>n</arg_key>"
                 "<arg_value>5</arg_value></tool_call><tool_call>g</tool_call>"));
    CHECK(!allows("<tool_call>f</tool_call>") && !allows(""));
    template_form = "qwen3xml";
    CHECK_INT(
        CHAT(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{"
             "\"minProperties\":1}}}]"),
        0);
    CHECK_STR(r.ignored, "tools[0].function.parameters");
    CHECK(allows(F(P("s", "a"))) && allows(F("")));
}

TEST(openai_begins_a_form_behind_the_thought)
{
    thought_form = "think";
    template_form = "hermes";
    CHECK_INT(CHAT(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{"
                   "\"enum\":[1,2]}}}"),
              0);
    CHECK(r.thoughts && !r.hides_thoughts && str_is(r.prompts[0].begun, "<think>"));
    CHECK(r.prompts[0].mark_count == 2 && str_is(r.prompts[0].marks[1], "</think>"));
    CHECK(allows("1") && allows("<think>\n3?\n</think>\n\n2") && !allows("<think>3</think>3"));
    CHECK(!allows("<think>1") && !allows("3"));
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"required\""), 0);
    CHECK(allows("<think><tool_call></think><tool_call>\n{\"name\": \"g\", \"arguments\": "
                 "{}}\n</tool_call>"));
    CHECK_INT(CHAT(TOOLS), 0);
    CHECK(allows("<think>a</think>b") && allows("b") && !allows("<think>a</think><tool_call>"));
    CHECK_INT(CHAT(",\"reasoning_format\":\"none\""), 0);
    CHECK(!r.thoughts && str_is(r.prompts[0].begun, "<think>"));
    CHECK_INT(CHAT(",\"include_reasoning\":false,\"reasoning_format\":\"auto\""), 0);
    CHECK(r.thoughts && r.hides_thoughts);
    CHECK_INT(TEXT(""), 0);
    CHECK(!r.thoughts && r.prompts[0].begun.len == 0);
    thought_form = "harmony";
    CHECK_INT(CHAT(",\"guided_choice\":[\"a\"],\"reasoning_format\":\"none\""), 0);
    CHECK(r.thoughts && allows("<|channel|>final<|message|>a") && !allows("a"));
    thought_form = "";
    CHECK_INT(CHAT(",\"guided_choice\":[\"a\"]"), 0);
    CHECK(!r.thoughts && allows("a"));
    CHECK_INT(CHAT(",\"reasoning_format\":\"deepseek-legacy\""), LLMOS_EINVAL);
    CHECK_STR(fault.what.param, "reasoning_format");
}

TEST(openai_tells_a_template_how_much_to_think)
{
    CHECK_INT(CHAT(",\"reasoning_effort\":\"low\""), 0);
    says("{\"messages\": [\n{\"role\": \"user\", \"content\": \"c\"}], \"reasoning_effort\": "
         "\"low\"}");
    CHECK_INT(CHAT(",\"reasoning_effort\":\"none\""), 0);
    says("{\"messages\": [\n{\"role\": \"user\", \"content\": \"c\"}], \"enable_thinking\": false, "
         "\"reasoning_effort\": \"none\"}");
    CHECK_INT(
        CHAT(",\"enable_thinking\":true,\"chat_template_kwargs\":{\"enable_thinking\":false}"), 0);
    says("{\"messages\": [\n{\"role\": \"user\", \"content\": \"c\"}], \"enable_thinking\": "
         "false}");
    CHECK_INT(CHAT(",\"reasoning_effort\":\"a lot\""), LLMOS_EINVAL);
    CHECK_STR(fault.what.param, "reasoning_effort");
    CHECK_INT(
        parse(true, ASKED "{\"role\":\"assistant\",\"content\":\"4\",\"reasoning\":\"2+2\"}]}"), 0);
    CHECK_CONTAINS(r.prompts[0].text.at,
                   "\"content\": \"4\", \"reasoning_content\": \"2+2\", \"thinking\": \"2+2\", "
                   "\"tool_plan\": \"2+2\"}");
}

TEST(openai_gives_tools_to_templates_that_know_them_and_describes_them_to_others)
{
    template_form = "hermes";
    CHECK_INT(CHAT(",\"tools\":[" G_NOTHING "]"), 0);
    says("{\"messages\": [\n{\"role\": \"user\", \"content\": \"c\"}], \"tools\": [{\"type\": "
         "\"function\", \"function\": {\"name\": \"g\"}}]}");
    template_form = "";
    CHECK_INT(parse(true, ASKED
                    "{\"role\":\"assistant\",\"content\":\"So:\",\"tool_calls\":[{\"id\":\"1\","
                    "\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]},"
                    "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"7\"},"
                    "{\"role\":\"tool\",\"tool_call_id\":\"2\",\"content\":\"8\"}],"
                    "\"tools\":[" G_NOTHING "]}"),
              0);
    CHECK(!r.calls.is_strict && r.prompts[0].grammar.len == 0);
    CHECK_STR(r.calls.format->name, "hermes");
    CHECK_CONTAINS(r.prompts[0].text.at,
                   "{\"role\": \"user\", \"content\": \"You can call functions.");
    CHECK_CONTAINS(r.prompts[0].text.at, "\\n{\\\"name\\\": \\\"g\\\"}\\n");
    CHECK_CONTAINS(r.prompts[0].text.at, "in words.\\n\\nw?\"},");
    CHECK_CONTAINS(
        r.prompts[0].text.at,
        "{\"role\": \"assistant\", \"content\": \"So:\\n<tool_call>\\n{\\\"name\\\": "
        "\\\"g\\\", \\\"arguments\\\": {}}\\n</tool_call>\"},\n{\"role\": \"user\", "
        "\"content\": "
        "\"<tool_response>\\n7\\n</tool_response>\\n<tool_response>\\n8\\n</tool_response>\"}]}");
    CHECK_INT(parse(true,
                    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be.\"},"
                    "{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[" G_NOTHING "]}"),
              0);
    CHECK_CONTAINS(r.prompts[0].text.at, "\"system\", \"content\": \"Be.\\n\\nYou can call");
    CHECK_CONTAINS(r.prompts[0].text.at, "{\"role\": \"user\", \"content\": \"x\"}]}");
}

TEST(openai_gives_tools_to_the_system_where_its_message_has_them)
{
    template_form = "phi4";
    CHECK_INT(CHAT("," TOOLS_LIST), 0);
    says("{\"messages\": [\n{\"role\": \"system\", \"content\": \"You are a helpful assistant with "
         "some tools.\", \"tools\": \"[{\\\"name\\\": \\\"g\\\"}]\"},\n{\"role\": \"user\", "
         "\"content\": \"c\"}]}");
    CHECK_INT(parse(true,
                    "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be.\"},"
                    "{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\","
                    "\"tool_calls\":[{\"function\":{\"name\":\"g\",\"arguments\":\"\"}}]},"
                    "{\"role\":\"tool\",\"tool_call_id\":\"1\",\"content\":\"7\"}]," TOOLS_LIST
                    "}"),
              0);
    says("{\"messages\": [\n{\"role\": \"system\", \"content\": \"Be.\", \"tools\": "
         "\"[{\\\"name\\\": \\\"g\\\"}]\"},\n{\"role\": \"user\", \"content\": \"x\"},\n{\"role\": "
         "\"assistant\", \"content\": \"<|tool_call|>[{\\\"name\\\": \\\"g\\\", "
         "\\\"arguments\\\": {}}]<|/tool_call|>\"},\n{\"role\": \"tool\", \"content\": \"7\", "
         "\"tool_call_id\": \"1\"}]}");
}

TEST(openai_says_what_is_wrong_with_tools)
{
    static const struct {
        const char *tools, *param, *why;
    } bad[] = {
        {"{}", "tools", "an array of at most 128"},
        {"[1]", "tools[0].type", "must be 'function'"},
        {"[{\"type\":\"web_search\"}]", "tools[0].type", "must be 'function'"},
        {"[{\"type\":\"function\"}]", "tools[0].function", "must be an object"},
        {"[{\"type\":\"function\",\"function\":{}}]", "tools[0].function.name", "1 to 64 letters"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"a\\\"b\"}}]", "tools[0].function.name",
         "1 to 64 letters"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":[]}}]",
         "tools[0].function.parameters", "must be a JSON schema"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":{\"type\":"
         "\"string\"}}}]",
         "tools[0].function.parameters", "of type 'object'"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"params\":{}}}]",
         "tools[0].function.params", "is not known"},
        {"[" G_NOTHING "," G_NOTHING "]", "tools[1].function.name", "comes twice"},
        {"[{\"type\":\"function\",\"function\":{\"name\":\"f\",\"strict\":true,\"parameters\":{"
         "\"unevaluatedItems\":{}}}}]",
         "tools[0].function.parameters", "keyword 'unevaluatedItems'"},
    };
    static const char odd[] = ",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
                              "\"parameters\":{\"unevaluatedItems\":{}}}}]";
    char body[1024];

    template_form = "hermes";
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        snprintf(body, sizeof(body), ASKED "{\"role\":\"user\",\"content\":\"\"}],\"tools\":%s}",
                 bad[i].tools);
        CHECK(parse(true, body) < 0 && fault.status == 400);
        CHECK_STR(fault.what.param, bad[i].param);
        CHECK_CONTAINS(fault.what.err.text, bad[i].why);
    }
    snprintf(body, sizeof(body), ASKED "{\"role\":\"user\",\"content\":\"\"}]%s}", odd);
    CHECK_INT(parse(true, body), 0); /* the model may choose, and nobody said strict */
    CHECK_STR(r.ignored, "tools[0].function.parameters");
    CHECK(allows("<tool_call>\n{\"name\": \"f\", \"arguments\": {\"y\": []}}\n</tool_call>"));
    snprintf(body, sizeof(body), ASKED "{\"role\":\"user\",\"content\":\"\"}]%s%s", odd,
             ",\"tool_choice\":\"required\"}");
    CHECK_INT(parse(true, body), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(fault.what.err.text, "keyword 'unevaluatedItems'");
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"h\"}}"),
              LLMOS_EINVAL);
    CHECK_CONTAINS(fault.what.err.text, "not among the tools");
    CHECK_INT(CHAT(TOOLS ",\"tool_choice\":\"some\""), LLMOS_EUNSUPPORTED);
    CHECK_INT(CHAT(TOOLS ",\"guided_choice\":[\"a\"]"), LLMOS_EUNSUPPORTED);
    CHECK_CONTAINS(fault.what.err.text, "exclude each other");
    CHECK_INT(CHAT(TOOLS ",\"guided_choice\":[\"a\"],\"tool_choice\":\"none\""), 0);
    CHECK_INT(CHAT(TOOLS ",\"ignore_eos\":true"), LLMOS_EINVAL);
}

TEST(openai_takes_prompts_in_four_forms)
{
    CHECK_INT(parse(false, "{\"model\":\"m\",\"prompt\":[\"a\",\"b\"]}"), 0);
    CHECK_INT(r.prompt_count, 2);
    CHECK_INT(parse(false, "{\"model\":\"m\",\"prompt\":[4,5,6]}"), 0);
    CHECK_INT(r.prompt_count, 1);
    CHECK_INT(r.prompts[0].prompt_kind, PROMPT_TOKENS);
    CHECK_INT(r.prompts[0].count, 3);
    CHECK_INT(r.prompts[0].tokens[2], 6);
    CHECK_INT(parse(false, "{\"model\":\"m\",\"prompt\":[[4],[5,6]]}"), 0);
    CHECK_INT(r.prompts[1].count, 2);
    CHECK_INT(parse(false, "{\"model\":\"m\",\"prompt\":[[4],\"x\",[]]}"), LLMOS_EINVAL);
    CHECK_INT(parse(false, "{\"model\":\"m\",\"prompt\":[1,\"x\"]}"), LLMOS_EINVAL);
    CHECK_INT(parse(false, "{\"model\":\"m\",\"prompt\":[2147483648]}"), LLMOS_EINVAL);
    CHECK_INT(parse(false, "{\"model\":\"m\",\"prompt\":{}}"), LLMOS_EINVAL);
}

TEST(openai_fails_closed)
{
    CHECK_INT(CHAT(",\"functions\":[{}]"), LLMOS_EUNSUPPORTED);
    CHECK_INT(fault.status, 400);
    CHECK_STR(fault.code, "unsupported_parameter");
    CHECK_STR(fault.what.param, "functions");
    CHECK_INT(CHAT(",\"response_format\":{\"type\":\"xml\"}"), LLMOS_EUNSUPPORTED);
    CHECK_INT(CHAT(",\"response_format\":{\"type\":\"text\"}"), 0);
    CHECK_INT(CHAT(",\"tools\":[],\"tool_choice\":\"auto\",\"modalities\":[\"text\"]"), 0);
    CHECK_INT(CHAT(",\"tool_choice\":\"required\""), LLMOS_EINVAL);
    CHECK_INT(CHAT(",\"store\":true"), LLMOS_EUNSUPPORTED);
    CHECK_INT(CHAT(",\"user\":\"u\",\"metadata\":{}"), 0);
    CHECK_STR(r.ignored, "user, metadata");
    CHECK_INT(CHAT(",\"best_of\":2"), LLMOS_EINVAL);
    CHECK_INT(CHAT(",\"top_kk\":2"), LLMOS_EINVAL);
    CHECK_CONTAINS(fault.what.err.text, "did you mean 'top_k'?");
    CHECK_INT(TEXT(",\"suffix\":\"x\""), LLMOS_EUNSUPPORTED);
    CHECK_INT(TEXT(",\"echo\":true,\"logprobs\":1"), LLMOS_EUNSUPPORTED);
    CHECK_INT(CHAT(",\"top_logprobs\":1"), LLMOS_EINVAL);
    CHECK_INT(CHAT(",\"stream_options\":{}"), LLMOS_EINVAL);
}

static void becomes(const char *field, const char *part)
{
    char body[512];

    snprintf(body, sizeof(body), "{\"model\":\"m\",\"prompt\":\"p\",%s}", field);
    if (parse(false, body) < 0)
        TEST_FAIL("%s: %s", field, fault.what.err.text);
    CHECK_CONTAINS(r.prompts[0].grammar.at, part);
}

TEST(openai_makes_grammars_of_all_forms)
{
    CHECK_INT(TEXT(""), 0);
    CHECK_INT(r.prompts[0].grammar.len, 0);
    CHECK_INT(TEXT(",\"response_format\":{\"type\":\"text\"},\"grammar\":null"), 0);
    CHECK_INT(r.prompts[0].grammar.len, 0);
    becomes("\"response_format\":{\"type\":\"json_object\"}", "root ::= object");
    becomes("\"response_format\":{\"type\":\"json_object\",\"schema\":{\"const\":7}}", "\"7\"");
    becomes("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"n\","
            "\"strict\":true,\"schema\":{\"const\":8}}}",
            "\"8\"");
    becomes("\"grammar\":\"root ::= [a-z]\"", "root ::= [a-z]");
    becomes("\"json_schema\":{\"const\":9}", "\"9\"");
    becomes("\"guided_json\":\"{\\\"const\\\":10}\"", "\"10\"");
    becomes("\"guided_regex\":\"[0-3]\"", "[0-3]");
    becomes("\"guided_choice\":[\"yes\",\"no\"]", "\"yes\" | \"no\"");
    becomes("\"guided_grammar\":\"root ::= [x]\"", "[x]");
    becomes("\"structured_outputs\":{\"choice\":[\"a\"]}", "\"a\"");
    becomes("\"structured_outputs\":{\"json_object\":true}", "root ::= object");
}

TEST(openai_says_what_is_wrong_with_a_form)
{
    CHECK_INT(TEXT(",\"json_schema\":{\"properties\":{\"a\":{\"unevaluatedItems\":{}}}}"),
              LLMOS_EUNSUPPORTED);
    CHECK_INT(fault.status, 400);
    CHECK_STR(fault.what.param, "json_schema");
    CHECK_CONTAINS(fault.what.err.text,
                   "keyword 'unevaluatedItems' at '#/properties/a' is not supported");
    CHECK_INT(CHAT(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}"),
              LLMOS_EINVAL);
    CHECK_STR(fault.what.param, "response_format.json_schema.schema");
    CHECK_INT(TEXT(",\"grammar\":\"root ::= [x]\",\"guided_choice\":[\"a\"]"), LLMOS_EINVAL);
    CHECK_CONTAINS(fault.what.err.text, "'grammar' and 'guided_choice' both say");
    CHECK_INT(TEXT(",\"guided_choice\":[1]"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"guided_choice\":[]"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"guided_regex\":\"(\""), LLMOS_EFORMAT);
    CHECK_INT(TEXT(",\"structured_outputs\":{\"jsn\":1}"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"grammar\":\"root ::= [x]\",\"ignore_eos\":true"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"grammer\":\"root ::= [x]\""), LLMOS_EINVAL);
    CHECK_CONTAINS(fault.what.err.text, "did you mean 'grammar'?");
}

TEST(openai_bounds_what_one_request_costs)
{
    char body[8192];
    int n = snprintf(body, sizeof(body), "{\"model\":\"m\",\"n\":2,\"prompt\":[\"a\"");

    CHECK_INT(CHAT(",\"n\":128"), 0);
    CHECK_INT(CHAT(",\"n\":129"), LLMOS_EINVAL);
    CHECK_INT(CHAT(",\"n\":0"), LLMOS_EINVAL);
    for (int i = 0; i < 64; i++)
        n += snprintf(body + n, sizeof(body) - (size_t)n, ",\"a\"");
    snprintf(body + n, sizeof(body) - (size_t)n, "]}");
    CHECK_INT(parse(false, body), LLMOS_ELIMIT);
    CHECK_CONTAINS(fault.what.err.text, "65 prompts with 2 answers each");
    n = snprintf(body, sizeof(body), "{\"model\":\"m\",\"prompt\":\"a\",\"stop\":[\"a\"");
    for (int i = 0; i < MESSAGE_STOPS_MAX; i++)
        n += snprintf(body + n, sizeof(body) - (size_t)n, ",\"a\"");
    snprintf(body + n, sizeof(body) - (size_t)n, "]}");
    CHECK_INT(parse(false, body), LLMOS_ELIMIT);
    CHECK_INT(TEXT(",\"stop\":\"\""), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"best_of\":1,\"n\":2"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"best_of\":3,\"stream\":true"), LLMOS_EUNSUPPORTED);
    CHECK_INT(TEXT(",\"logit_bias\":{\"-1\":1}"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"logit_bias\":{\"99999999999\":1}"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"logit_bias\":{\"1\":101}"), LLMOS_EINVAL);
    CHECK_STR(fault.what.param, "logit_bias.1");
}

TEST(openai_never_asks_an_engine_for_less_than_one_token)
{
    CHECK_INT(TEXT(",\"max_tokens\":0"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"max_tokens\":-5"), LLMOS_EINVAL);
    CHECK_INT(TEXT(",\"top_p\":0"), 0);
    CHECK(r.prompts[0].top_p > 0);
}

TEST(openai_maps_codes_to_statuses)
{
    static const int statuses[][2] = {
        {LLMOS_EINVAL, 400},  {LLMOS_ECONTEXT, 400}, {LLMOS_ENOTFOUND, 404}, {LLMOS_EBUSY, 429},
        {LLMOS_ECLOSED, 503}, {LLMOS_ENOMEM, 503},   {LLMOS_EINTERNAL, 500}, {-99, 500}};

    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        openai_fault_of(&fault, statuses[i][0]);
        CHECK_INT(fault.status, statuses[i][1]);
    }
}

TEST(openai_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        int rc = CHAT(",\"stop\":[\"a\",\"b\"],\"logit_bias\":{\"1\":2}");

        CHECK(rc == 0 || (rc == LLMOS_ENOMEM && fault.status == 503));
    }
    EVERY_ALLOCATION_FAILS
    {
        int rc = parse(false, "{\"model\":\"m\",\"prompt\":[[1,2],[3]]}");

        CHECK(rc == 0 || rc == LLMOS_ENOMEM);
    }
    EVERY_ALLOCATION_FAILS
    {
        int rc = CHAT(TOOLS ",\"tool_choice\":\"required\"");

        CHECK(rc == 0 || (rc == LLMOS_ENOMEM && fault.status == 503));
    }
    arena_fini(&arena);
}
