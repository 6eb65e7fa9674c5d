/* SPDX-License-Identifier: Apache-2.0 */
/* callform.c - see callform.h */
#include "daemon/callform.h"

#define OBJECT_BEFORE "\"{\\\"name\\\": \\\"\""
#define OBJECT_AFTER  "\"\\\", \\\"arguments\\\": \""

/* Objects in brackets, behind a mark. */
#define ARRAY_AFTER(mark)                                                        \
    .opening = mark, .between = ", ", .is_array = true, .before = OBJECT_BEFORE, \
    .after = OBJECT_AFTER, .end = "\"}\""

#define FUNCTION_TAGS                                                                         \
    .name = "<function=", .name_end = ">", .key = "<parameter=", .key_end = ">", .value = "", \
    .value_end = "</parameter>", .end = "</function>"
static const struct callform_tags qwen3xml_tags = {FUNCTION_TAGS, .has_feeds = true,
                                                   .before_value = "\"\\n\"",
                                                   .behind_value = "\"\\n</parameter>\\n\""};
static const struct callform_tags seed_tags = {FUNCTION_TAGS, .before_value = "\"\"",
                                               .behind_value = "\"</parameter>\\n\""};

#define GLM_TAGS                                                             \
    .name = "", .name_end = "", .key = "<arg_key>", .key_end = "</arg_key>", \
    .value = "<arg_value>", .value_end = "</arg_value>", .end = "</tool_call>"
static const struct callform_tags glm_tags = {GLM_TAGS, .before_value = "\"\\n<arg_value>\"",
                                              .behind_value = "\"</arg_value>\\n\""};
static const struct callform_tags glm47_tags = {GLM_TAGS, .before_value = "\"<arg_value>\"",
                                                .behind_value = "\"</arg_value>\""};
#define GLM_MARKS                                                                               \
    {                                                                                           \
        "<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>" \
    }

/* Marks of DeepSeek; the bars and blanks are wide ones. */
#define DS(word) "<｜tool▁" word "｜>"
#define DS_MARKS                                                                        \
    {                                                                                   \
        DS("calls▁begin"), DS("calls▁end"), DS("call▁begin"), DS("call▁end"), DS("sep") \
    }

/* The first byte of every opening comes in it once. */
static const struct callform forms[] = {
    {.name = "hermes",
     .opening = "<tool_call>",
     .closing = "</tool_call>",
     .between = "\n",
     .example = "<tool_call>\n"
                "{\"name\": \"NAME\", \"arguments\": {\"PARAMETER\": \"VALUE\"}}\n"
                "</tool_call>",
     .before = "\"<tool_call>\\n\" " OBJECT_BEFORE,
     .after = OBJECT_AFTER,
     .end = "\"}\\n</tool_call>\""},
    {.name = "mistral",
     ARRAY_AFTER("[TOOL_CALLS]"),
     .closing = "",
     .marks = {"[TOOL_CALLS]"},
     .first = "\"[TOOL_CALLS]\" \" \"? \"[\"",
     .last = "\"]\""},
    {.name = "ministral",
     .shape = CALLFORM_NAMED,
     .opening = "[TOOL_CALLS]",
     .closing = "",
     .between = "",
     .separator = "[ARGS]",
     .marks = {"[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"},
     .after = "(\"[CALL_ID]\" [a-zA-Z0-9]{9})? \"[ARGS]\""},
    {.name = "granite",
     ARRAY_AFTER("<|tool_call|>"),
     .closing = "",
     .forgets = true,
     .marks = {"<|tool_call|>"},
     .first = "\"<|tool_call|>\" \" \"? \"[\"",
     .last = "\"]\""},
    {.name = "phi4",
     ARRAY_AFTER("<|tool_call|>"),
     .closing = "<|/tool_call|>",
     .forgets = true,
     .telling = CALLFORM_BY_SYSTEM,
     .marks = {"<|tool_call|>", "<|/tool_call|>"},
     .first = "\"<|tool_call|>[\"",
     .last = "\"]<|/tool_call|>\""},
    {.name = "nemotron",
     ARRAY_AFTER("<TOOLCALL>"),
     .closing = "</TOOLCALL>",
     .marks = {"<TOOLCALL>", "</TOOLCALL>"},
     .first = "\"<TOOLCALL>[\"",
     .last = "\"]</TOOLCALL>\""},
    {.name = "apriel",
     ARRAY_AFTER("<tool_calls>"),
     .closing = "</tool_calls>",
     .marks = {"<tool_calls>", "</tool_calls>"},
     .first = "\"<tool_calls>[\"",
     .last = "\"]</tool_calls>\""},
    {.name = "command",
     .opening = "<|START_ACTION|>",
     .closing = "<|END_ACTION|>",
     .between = ",\n    ",
     .is_array = true,
     .marks = {"<|START_ACTION|>", "<|END_ACTION|>"},
     .first = "\"<|START_ACTION|>[\\n    \"",
     .last = "\"\\n]<|END_ACTION|>\"",
     .before = "\"{\\\"tool_call_id\\\": \\\"\" [0-9]{1,4} \"\\\", \\\"tool_name\\\": \\\"\"",
     .after = "\"\\\", \\\"parameters\\\": \"",
     .end = "\"}\""},
    {.name = "llama3",
     .opening = "<|python_tag|>",
     .closing = "",
     .between = "; ",
     .is_bare = true,
     .is_single = true,
     .before = OBJECT_BEFORE,
     .after = "\"\\\", \\\"parameters\\\": \"",
     .end = "\"}\""},
    {.name = "harmony",
     .shape = CALLFORM_NAMED,
     .opening = "<|channel|>commentary to=functions.",
     .closing = "<|call|>",
     .between = "",
     .separator = "<|message|>",
     .is_single = true,
     .before = "(\"<|channel|>commentary to=functions.\" | \" to=functions.\")",
     .after = "\"<|channel|>commentary\"? (\" \"? \"<|constrain|>json\" | \" json\")? "
              "\"<|message|>\"",
     .end = "\"\""},
    {.name = "qwen3xml",
     .shape = CALLFORM_TAGGED,
     .opening = "<tool_call>",
     .closing = "</tool_call>",
     .between = "\n",
     .tags = &qwen3xml_tags,
     .before = "\"<tool_call>\\n<function=\"",
     .after = "\">\\n\"",
     .end = "\"</function>\\n</tool_call>\""},
    {.name = "seed",
     .shape = CALLFORM_TAGGED,
     .opening = "<seed:tool_call>",
     .closing = "</seed:tool_call>",
     .between = "\n",
     .tags = &seed_tags,
     .marks = {"<seed:tool_call>", "</seed:tool_call>"},
     .before = "\"<seed:tool_call>\\n<function=\"",
     .after = "\">\\n\"",
     .end = "\"</function>\\n</seed:tool_call>\""},
    {.name = "functionary",
     .shape = CALLFORM_NAMED,
     .opening = "<function=",
     .closing = "</function>",
     .between = "",
     .separator = ">"},
    {.name = "glm",
     .shape = CALLFORM_TAGGED,
     .opening = "<tool_call>",
     .closing = "",
     .between = "\n",
     .tags = &glm_tags,
     .marks = GLM_MARKS,
     .after = "\"\\n\"",
     .end = "\"</tool_call>\""},
    {.name = "glm47",
     .shape = CALLFORM_TAGGED,
     .opening = "<tool_call>",
     .closing = "",
     .between = "",
     .tags = &glm47_tags,
     .marks = GLM_MARKS,
     .after = "\"\"",
     .end = "\"</tool_call>\""},
    {.name = "deepseek",
     .shape = CALLFORM_NAMED,
     .opening = DS("calls▁begin"),
     .closing = "\n```" DS("call▁end"),
     .each = DS("call▁begin") "function" DS("sep"),
     .ending = DS("calls▁end"),
     .between = "\n",
     .separator = "\n```json\n",
     .telling = CALLFORM_BY_WORDS,
     .example = DS("calls▁begin") DS("call▁begin") "function" DS(
         "sep") "NAME\n```json\n"
                "{\"PARAMETER\": \"VALUE\"}\n```" DS("call▁end") DS("calls▁end"),
     .marks = DS_MARKS},
    {.name = "deepseek31",
     .shape = CALLFORM_NAMED,
     .opening = DS("calls▁begin"),
     .closing = DS("call▁end"),
     .each = DS("call▁begin"),
     .ending = DS("calls▁end"),
     .between = "",
     .separator = DS("sep"),
     .telling = CALLFORM_BY_WORDS,
     .example = DS("calls▁begin") DS("call▁begin") "NAME" DS("sep") "{\"PARAMETER\": \"VALUE\"}" DS(
         "call▁end") DS("calls▁end"),
     .marks = DS_MARKS},
    {.name = "kimi",
     .shape = CALLFORM_NAMED,
     .opening = "<|tool_calls_section_begin|>",
     .closing = "<|tool_call_end|>",
     .each = "<|tool_call_begin|>functions.",
     .ending = "<|tool_calls_section_end|>",
     .between = "",
     .separator = "<|tool_call_argument_begin|>",
     .id = "functions.",
     .marks = {"<|tool_calls_section_begin|>", "<|tool_calls_section_end|>", "<|tool_call_begin|>",
               "<|tool_call_argument_begin|>", "<|tool_call_end|>"},
     .after = "\":\" [0-9]{1,4} \"<|tool_call_argument_begin|>\""},
};

const struct callform *callform_of(struct str name)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (str_is(name, forms[i].name))
            return &forms[i];
    return NULL;
}

const struct callform *callform_generic(void)
{
    return &forms[0];
}
