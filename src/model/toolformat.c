/* SPDX-License-Identifier: Apache-2.0 */
/* toolformat.c - see toolformat.h */
#include "model/toolformat.h"

#include "model/templatesign.h"

static const struct templatesign formats[] = {
    {"mistral", {"[TOOL_CALLS]"}, {"[ARGS]"}}, /* newer ones: a name, [ARGS], the arguments */
    {"hermes", {"<tool_call>"}, {"<function=", "<arg_key>"}}, /* XML of Qwen3-Coder, of GLM */
    {"llama3", {"\"parameters\":", "<|start_header_id|>"}, {NULL}},
};

const char *toolformat_of(struct str template)
{
    return templatesign_find(formats, sizeof(formats) / sizeof(formats[0]), template);
}
