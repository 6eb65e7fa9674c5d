/* SPDX-License-Identifier: Apache-2.0 */
/* toolformat.c - see toolformat.h */
#include "model/toolformat.h"

#include "model/templatesign.h"

static const struct templatesign formats[] = {
    {"ministral", {"[TOOL_CALLS]", "[ARGS]"}, {NULL}},
    {"mistral", {"[TOOL_CALLS]"}, {NULL}},
    {"harmony", {"<|channel|>", "<|call|>"}, {NULL}},
    {"granite", {"<|tool_call|>", "<|start_of_role|>"}, {NULL}},
    {"qwen3xml", {"<tool_call>", "<function="}, {"<arg_key>"}},
    {"hermes", {"<tool_call>"}, {"<arg_key>"}}, /* XML of GLM */
    {"deepseek", {"<｜tool▁sep｜>", "```json"}, {NULL}},
    {"deepseek31", {"<｜tool▁sep｜>"}, {NULL}},
    {"llama3", {"\"parameters\":", "<|start_header_id|>"}, {NULL}},
};

const char *toolformat_of(struct str template)
{
    return templatesign_find(formats, sizeof(formats) / sizeof(formats[0]), template);
}
