/* SPDX-License-Identifier: Apache-2.0 */
/* tools_test.c - claims about functions that models call, over HTTP: models of random weights call
 * them as their schemas say, because they cannot do otherwise */
#include "with_daemon.h"

#include "base/jsontext.h"
#include "model/synth.h"

#define CHATS "/v1/chat/completions"
#define TALK                                                                                      \
    "\"messages\":[{\"role\":\"system\",\"content\":\"Be.\"},{\"role\":\"user\",\"content\":\"w?" \
    "\"},"                                                                                        \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"abcdefghi\",\"type\":"    \
    "\"function\",\"function\":{\"name\":\"weather\",\"arguments\":\"{\\\"days\\\": 3}\"}}]},"    \
    "{\"role\":\"tool\",\"tool_call_id\":\"abcdefghi\",\"content\":\"rain\"},"                    \
    "{\"role\":\"user\",\"content\":\"and?\"}]"
#define TOOLS                                                                                      \
    "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"description\":\"of "   \
    "days\","                                                                                      \
    "\"parameters\":{\"type\":\"object\",\"properties\":{\"days\":{\"type\":\"integer\","          \
    "\"minimum\":1,"                                                                               \
    "\"maximum\":9},\"unit\":{\"enum\":[\"C\",\"F\"]},\"where\":{\"$ref\":\"#/$defs/place\"}},"    \
    "\"required\":[\"days\",\"unit\"],\"$defs\":{\"place\":{\"type\":\"string\",\"maxLength\":8}}" \
    "}}},"                                                                                         \
    "{\"type\":\"function\",\"function\":{\"name\":\"stop\"}}]"

/* What a template gets: the tools, calls with arguments that are no text, and what they returned;
 * it refuses what it does not get. */
#define WANTS_THAT(tools)                                                                   \
    "{% if not (" tools ") or messages[2].tool_calls[0].function.arguments.days != 3 or "   \
    "messages[3].tool_call_id != 'abcdefghi' %}{{ raise_exception('not all of it came') }}" \
    "{% endif %}"
#define WANTS     WANTS_THAT("tools and tools[0].function.name == 'weather'")
#define DESCRIBED "not tools and 'You can call functions' in messages[0].content"
#define SAYS                                                                                   \
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" \
    "<|im_start|>assistant\n"

static const struct {
    const char *name, *template;
} models[] = {
    {"hermes", WANTS "{# <tool_call> #}" SAYS},
    {"mistral", WANTS "{# [TOOL_CALLS] #}" SAYS},
    {"ministral", WANTS "{# [TOOL_CALLS] [ARGS] #}" SAYS},
    {"granite",
     "{# <|tool_call|> <|start_of_role|> #}{% if not tools or messages[3].tool_call_id != "
     "'abcdefghi' %}{{ raise_exception('not all of it came') }}{% endif %}" SAYS},
    {"qwen3xml", WANTS "{# <tool_call> <function= #}" SAYS},
    {"phi4", "{# <|tool|> <|/tool|> #}{% if tools or not '\"weather\"' in messages[0].tools or not "
             "'<|tool_call|>[{\"name\": \"weather\"' in messages[2].content %}"
             "{{ raise_exception('not all of it came') }}{% endif %}" SAYS},
    {"nemotron", WANTS "{# <TOOLCALL> #}" SAYS},
    {"apriel", WANTS "{# <tool_calls>[ #}" SAYS},
    {"command", WANTS "{# <|START_ACTION|> tool_name #}" SAYS},
    {"seed", WANTS "{# <seed:tool_call> <function= #}" SAYS},
    {"functionary", WANTS "{# <function= </function> #}" SAYS},
    {"glm", WANTS "{# <tool_call> <arg_key> #}" SAYS},
    {"glm47", WANTS "{# <tool_call> </arg_key><arg_value> #}" SAYS},
    {"deepseek", WANTS_THAT(DESCRIBED) "{# <｜tool▁sep｜> ```json #}" SAYS},
    {"deepseek31", WANTS_THAT(DESCRIBED) "{# <｜tool▁sep｜> #}" SAYS},
    {"kimi", WANTS "{# <|tool_calls_section_begin|> #}" SAYS},
    {"llama3", WANTS "{# <|start_header_id|> \"parameters\": #}" SAYS},
    /* Knows no tools, and takes turns alone. */
    {"plain", "{% for m in messages %}{% if m.role == 'tool' or m.tool_calls or tools %}"
              "{{ raise_exception('what is that') }}{% endif %}{% endfor %}" SAYS},
};
#define MODELS (sizeof(models) / sizeof(models[0]))

static const char *model_arg(size_t i)
{
    static char args[MODELS][600];
    struct synth_options o;
    char file[64];
    int fd;

    snprintf(file, sizeof(file), "%s.gguf", models[i].name);
    snprintf(args[i], sizeof(args[i]), "--model=%s=%s", models[i].name, work_path(file));
    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    o.chatml = true;
    o.context = 4096;
    o.chat_template = models[i].template;
    fd = open(work_path(file), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_INT(synth_write(fd, &o, NULL), 0);
    close(fd);
    return args[i];
}

static void start(void)
{
    const char *args[MODELS + 1] = {NULL};

    for (size_t i = 0; i < MODELS; i++)
        args[i] = model_arg(i);
    host_start("llmos-engine", args);
    for (size_t i = 0; i < MODELS; i++) {
        char ready[64];

        snprintf(ready, sizeof(ready), "model is ready model=%s ", models[i].name);
        CHECK(host_logs(ready, 30));
        snprintf(ready, sizeof(ready), " tools=%s ",
                 strcmp(models[i].name, "plain") == 0 ? "described" : models[i].name);
        CHECK(host_logs(ready, 1));
    }
}

static json_t *parsed(const char *text)
{
    const struct json_limits limits = JSON_LIMITS_INIT;
    struct llmos_error err = {0};
    json_t *v = NULL;

    if (json_parse(&v, str_of(text), &limits, &err) < 0)
        TEST_FAIL("%s: %s", err.text, text);
    return v;
}

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static const json_t *first_choice(const json_t *reply)
{
    return json_array_get(json_object_get(reply, "choices"), 0);
}

/* The call is one of the functions, and its arguments are what the schema wants. */
static void check_call(const char *name, const char *arguments)
{
    json_t *v = parsed(arguments);
    const json_t *days = json_object_get(v, "days"), *where = json_object_get(v, "where");

    if (strcmp(name, "stop") == 0) {
        CHECK(json_is_object(v) && json_object_size(v) == 0);
    } else {
        CHECK_STR(name, "weather");
        CHECK(json_is_integer(days) && json_integer_value(days) >= 1 &&
              json_integer_value(days) <= 9);
        CHECK(strcmp(text_at(v, "unit"), "C") == 0 || strcmp(text_at(v, "unit"), "F") == 0);
        CHECK(!where || json_is_string(where));
        CHECK_INT(json_object_size(v), where ? 3 : 2);
    }
    json_decref(v);
}

/* Whether ids of calls say which one it is. */
static bool has_numbers(size_t model)
{
    return strcmp(models[model].name, "kimi") == 0;
}

/* Calls as text, one a line: name and arguments. */
static const char *calls_of_reply(const json_t *choice, bool is_numbered)
{
    static char out[1 << 16];
    const json_t *message = json_object_get(choice, "message"), *call;
    size_t used = 0, i;

    out[0] = '\0';
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        const json_t *f = json_object_get(call, "function");

        CHECK_STR(text_at(call, "type"), "function");
        if (is_numbered) { /* the conversation has a call already */
            char id[80];

            snprintf(id, sizeof(id), "functions.%s:%zu", text_at(f, "name"), i + 1);
            CHECK_STR(text_at(call, "id"), id);
        } else {
            CHECK_INT(strlen(text_at(call, "id")), 9);
        }
        check_call(text_at(f, "name"), text_at(f, "arguments"));
        used += (size_t)snprintf(out + used, sizeof(out) - used, "%s %s\n", text_at(f, "name"),
                                 text_at(f, "arguments"));
    }
    return out;
}

/* The same, put together from the events of a stream. */
static const char *calls_of_stream(const char **finish)
{
    static char out[1 << 16], reason[32];
    size_t used = 0;
    int64_t open = -1;

    out[0] = reason[0] = '\0';
    for (char *line = strstr(got.text, "data: {"); line; line = strstr(line + 1, "data: {")) {
        char *end = strchr(line, '\n');
        const json_t *choice, *call;
        json_t *v;
        size_t i;

        *end = '\0';
        v = parsed(line + 6);
        *end = '\n';
        choice = first_choice(v);
        json_array_foreach(json_object_get(json_object_get(choice, "delta"), "tool_calls"), i, call)
        {
            const json_t *f = json_object_get(call, "function");
            int64_t index = json_integer_value(json_object_get(call, "index"));

            CHECK_INT(index == open + 1, json_object_get(call, "id") != NULL);
            if (index != open)
                used += (size_t)snprintf(out + used, sizeof(out) - used, "%s%s ",
                                         open >= 0 ? "\n" : "", text_at(f, "name"));
            open = index;
            used += (size_t)snprintf(out + used, sizeof(out) - used, "%s", text_at(f, "arguments"));
        }
        snprintf(reason, sizeof(reason), "%s", text_at(choice, "finish_reason"));
        json_decref(v);
    }
    snprintf(out + used, sizeof(out) - used, "%s", open >= 0 ? "\n" : "");
    *finish = reason;
    return out;
}

static const struct answered *ask(const char *model, const char *rest)
{
    char body[8192];

    snprintf(body, sizeof(body), "{\"model\":\"%s\"," TALK "," TOOLS "%s}", model, rest);
    return post(CHATS, body);
}

TEST(tools_are_called_as_their_schemas_say_whatever_the_weights)
{
    start();
    for (size_t i = 0; i < MODELS; i++)
        for (int seed = 0; seed < 2; seed++) {
            char rest[256], whole[1 << 14];
            const char *finish;
            size_t count;
            json_t *v;

            snprintf(rest, sizeof(rest),
                     ",\"tool_choice\":\"required\",\"max_tokens\":2000,\"parallel_tool_calls\":%s,"
                     "\"seed\":%d,\"temperature\":%d",
                     seed ? "true" : "false", seed, 2 * seed);
            CHECK_INT(ask(models[i].name, rest)->status, 200);
            v = parsed(got.body);
            snprintf(whole, sizeof(whole), "%s", calls_of_reply(first_choice(v), has_numbers(i)));
            CHECK_STR(text_at(first_choice(v), "finish_reason"), "tool_calls");
            CHECK(json_is_null(
                json_object_get(json_object_get(first_choice(v), "message"), "content")));
            count = json_array_size(
                json_object_get(json_object_get(first_choice(v), "message"), "tool_calls"));
            CHECK(count == 1 || (count > 1 && seed));
            json_decref(v);
            snprintf(rest + strlen(rest), sizeof(rest) - strlen(rest), ",\"stream\":true");
            ask(models[i].name, rest);
            CHECK_STR(calls_of_stream(&finish), whole);
            CHECK_CONTAINS(got.body, "\"finish_reason\":\"tool_calls\"");
        }
    host_stop();
}

TEST(tools_that_are_named_or_may_be_chosen)
{
    static const char named[] = ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":"
                                "\"weather\"}},\"max_tokens\":600,\"parallel_tool_calls\":false";

    start();
    for (size_t i = 0; i < MODELS; i++) {
        json_t *v;

        CHECK_INT(ask(models[i].name, named)->status, 200);
        v = parsed(got.body);
        CHECK_CONTAINS(calls_of_reply(first_choice(v), has_numbers(i)), "weather {");
        json_decref(v);
        CHECK_INT(
            ask(models[i].name, ",\"max_tokens\":12,\"logprobs\":true,\"n\":2,\"seed\":4")->status,
            200);
        CHECK_CONTAINS(got.body, "\"finish_reason\":\"length\"");
        CHECK_CONTAINS(got.body, "\"index\":1");
        CHECK_INT(ask(models[i].name, ",\"max_tokens\":5,\"stream\":true")->status, 200);
        CHECK_CONTAINS(got.body, "[DONE]");
    }
    /* Cut in the middle of a call. */
    CHECK_INT(ask("hermes", ",\"tool_choice\":\"required\",\"max_tokens\":9")->status, 200);
    CHECK_CONTAINS(got.body, "\"finish_reason\":\"length\"");
    host_stop();
}

static const char *rogue(const char *mode)
{
    static char args[2][600];
    static int next;
    char *arg = args[next++ % 2];

    snprintf(arg, 600, "--model=%s=%s", mode, work_file(mode, mode, strlen(mode)));
    return arg;
}

TEST(tools_are_found_in_what_a_model_says)
{
    static const char fg[] =
        "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
        "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}},"
        "{\"type\":\"function\",\"function\":{\"name\":\"%s\"}}]%s}";
    char body[1024];

    HOST_START("tests/e2e/rogue", rogue("say-call"), rogue("say-half-call"));
    snprintf(body, sizeof(body), fg, "say-call", "g", "");
    CHECK_INT(post(CHATS, body)->status, 200);
    CHECK_CONTAINS(got.body, "\"content\":\"I see.\",\"refusal\":null,\"tool_calls\":[{\"id\":\"");
    CHECK_CONTAINS(got.body, "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}}");
    CHECK_CONTAINS(got.body, "\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}]}");
    CHECK_CONTAINS(got.body, "\"finish_reason\":\"tool_calls\"");
    snprintf(body, sizeof(body), fg, "say-call", "g", ",\"stream\":true");
    post(CHATS, body);
    CHECK_CONTAINS(got.body, "\"delta\":{\"content\":\"I see.\"}");
    CHECK_CONTAINS(got.body, "\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"");
    CHECK_CONTAINS(got.body, "\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":"
                             "\"{}\"}}]}");
    CHECK_CONTAINS(got.body, "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"tool_calls\"");
    snprintf(body, sizeof(body), fg, "say-call", "g", ",\"parallel_tool_calls\":false");
    post(CHATS, body);
    CHECK_CONTAINS(got.body, "\"name\":\"f\"");
    CHECK(!strstr(got.body, "\"name\":\"g\""));
    snprintf(body, sizeof(body), fg, "say-call", "other", ""); /* g was not offered */
    post(CHATS, body);
    CHECK_CONTAINS(got.body,
                   "\"content\":\"I see.<tool_call>{\\\"name\\\": \\\"g\\\"}</tool_call>\"");
    snprintf(body, sizeof(body), fg, "say-call", "g", ",\"tool_choice\":\"none\"");
    post(CHATS, body);
    CHECK_CONTAINS(got.body, "\"content\":\"I see.\\n<tool_call>");
    snprintf(body, sizeof(body), fg, "say-half-call", "g", ",\"max_tokens\":4");
    post(CHATS, body);
    CHECK_CONTAINS(got.body, "\"content\":\"I see.<tool_call>{\\\"name\\\": \\\"g\\\"\"");
    CHECK_CONTAINS(got.body, "\"name\":\"f\"");
    CHECK_CONTAINS(got.body, "\"finish_reason\":\"length\"");
    host_stop();
}

TEST(thoughts_are_told_apart_from_answers)
{
    static const char ask[] =
        "{\"model\":\"say-thought\",\"messages\":[{\"role\":\"user\",\"content\":"
        "\"a\"}]%s}";
    char body[1024];

    HOST_START("tests/e2e/rogue", rogue("say-thought"));
    CHECK(host_logs("thoughts=think", 30));
    snprintf(body, sizeof(body), ask, "");
    CHECK_INT(post(CHATS, body)->status, 200);
    CHECK_CONTAINS(got.body,
                   "\"content\":\"4.\",\"refusal\":null,\"reasoning_content\":\"2 and 2\"}");
    snprintf(body, sizeof(body), ask, ",\"stream\":true");
    post(CHATS, body);
    CHECK_CONTAINS(got.body, "\"delta\":{\"reasoning_content\":\"2 and\"}");
    CHECK_CONTAINS(got.body, "\"delta\":{\"reasoning_content\":\" 2\"}");
    CHECK_CONTAINS(got.body, "\"delta\":{\"content\":\"4\"}");
    CHECK(!strstr(got.body, "think>"));
    snprintf(body, sizeof(body), ask, ",\"include_reasoning\":false");
    post(CHATS, body);
    CHECK_CONTAINS(got.body, "\"content\":\"4.\",\"refusal\":null}");
    snprintf(body, sizeof(body), ask, ",\"reasoning_format\":\"none\"");
    post(CHATS, body);
    CHECK_CONTAINS(got.body,
                   "\"content\":\"<think>\\n2 and 2\\n</think>\\n\\n4.\",\"refusal\":null}");
    snprintf(body, sizeof(body), ask, ",\"max_tokens\":2");
    post(CHATS, body); /* cut within the thought */
    CHECK_CONTAINS(got.body, "\"content\":\"\",\"refusal\":null,\"reasoning_content\":\"2 and\"}");
    CHECK_CONTAINS(got.body, "\"finish_reason\":\"length\"");
    host_stop();
}

TEST(calls_among_messages_are_found)
{
    static const char ask[] = "{\"model\":\"say-messages\",\"messages\":[{\"role\":\"user\","
                              "\"content\":\"a\"}],\"tools\":[{"
                              "\"type\":\"function\",\"function\":{\"name\":\"f\"}}]%s}";
    char body[1024];

    HOST_START("tests/e2e/rogue", rogue("say-messages"));
    CHECK(host_logs("tools=harmony thoughts=harmony", 30));
    snprintf(body, sizeof(body), ask, "");
    CHECK_INT(post(CHATS, body)->status, 200);
    CHECK_CONTAINS(got.body,
                   "\"content\":\"I see.\",\"refusal\":null,\"reasoning_content\":\"Hm.\"");
    CHECK_CONTAINS(got.body, "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\": 1}\"}}]");
    CHECK_CONTAINS(got.body, "\"finish_reason\":\"tool_calls\"");
    snprintf(body, sizeof(body), ask, ",\"stream\":true");
    post(CHATS, body);
    CHECK_CONTAINS(got.body, "\"delta\":{\"reasoning_content\":\"Hm.\"}");
    CHECK_CONTAINS(got.body, "\"delta\":{\"content\":\"I see.\"}");
    CHECK_CONTAINS(got.body, "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}");
    host_stop();
}

TEST(tools_that_are_hostile_are_refused_with_a_sentence)
{
    static const char begin[] =
        "{\"model\":\"say-call\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"tools\":[";
    struct buf body;

    HOST_START("tests/e2e/rogue", rogue("say-call"));
    buf_init(&body, 16 << 20);
    buf_puts(&body, begin);
    for (int i = 0; i < 100000; i++)
        buf_puts(&body, i ? ",{}" : "{}");
    buf_puts(&body, "]}");
    post(CHATS, body.at);
    check_error(400, "");
    CHECK_CONTAINS(got.body, "at most 128 functions");
    buf_clear(&body);
    buf_printf(&body,
               "%s{\"type\":\"function\",\"function\":{\"name\":\"f\",\"parameters\":", begin);
    for (int i = 0; i < 20000; i++)
        buf_puts(&body, "{\"items\":");
    post(CHATS, body.at);
    check_error(400, "");
    CHECK_CONTAINS(got.body, "nested too deeply");
    buf_clear(&body);
    buf_puts(&body, begin);
    for (int i = 0; i < 128; i++)
        buf_printf(&body,
                   "%s{\"type\":\"function\",\"function\":{\"name\":\"f%d\",\"parameters\":{"
                   "\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":60000}}}}}",
                   i ? "," : "", i);
    buf_puts(&body, "],\"tool_choice\":\"required\",\"n\":128}");
    CHECK_INT(post(CHATS, body.at)->status, 200); /* an engine would judge the sum */
    buf_clear(&body);
    buf_printf(&body, "%s{\"type\":\"function\",\"function\":{\"name\":\"\\\"} root ::= \\\"\"}}]}",
               begin);
    post(CHATS, body.at);
    check_error(400, "");
    CHECK_CONTAINS(got.body, "tools[0].function.name");
    post(CHATS, "{\"model\":\"say-call\",\"messages\":[{\"role\":\"tool\",\"content\":\"a\"}]}");
    check_error(400, "");
    CHECK_CONTAINS(got.body, "messages[0].tool_call_id");
    post(CHATS,
         "{\"model\":\"say-call\",\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{\"id\":"
         "\"1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"nope\"}}]}]}");
    check_error(400, "");
    CHECK_CONTAINS(got.body, "messages[0].tool_calls[0].function.arguments");
    buf_fini(&body);
    host_stop();
}
