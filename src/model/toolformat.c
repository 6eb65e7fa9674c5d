/* SPDX-License-Identifier: Apache-2.0 */
/* toolformat.c - see toolformat.h */
#include "model/toolformat.h"

#include "model/templatesign.h"

static const struct templatesign formats[] = {
    {"ministral", {"[TOOL_CALLS]", "[ARGS]"}},
    {"mistral", {"[TOOL_CALLS]"}},
    {"harmony", {"<|channel|>", "<|call|>"}},
    {"granite", {"<|tool_call|>", "<|start_of_role|>"}},
    {"phi4", {"<|tool|>", "<|/tool|>"}},
    {"nemotron", {"<TOOLCALL>"}},
    {"apriel", {"<tool_calls>["}},
    {"command", {"<|START_ACTION|>", "tool_name"}},
    {"seed", {"<seed:tool_call>", "<function="}},
    {"glm47", {"<tool_call>", "</arg_key><arg_value>"}},
    {"glm", {"<tool_call>", "<arg_key>"}},
    {"qwen3xml", {"<tool_call>", "<function="}},
    {"hermes", {"<tool_call>"}},
    {"functionary", {"<function=", "</function>"}},
    {"deepseek", {"<｜tool▁sep｜>", "```json"}},
    {"deepseek31", {"<｜tool▁sep｜>"}},
    {"kimi", {"<|tool_calls_section_begin|>"}},
    {"llama3", {"\"parameters\":", "<|start_header_id|>"}},
};

const char *toolformat_of(struct str template)
{
    return templatesign_find(formats, sizeof(formats) / sizeof(formats[0]), template);
}
