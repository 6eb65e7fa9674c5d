/* SPDX-License-Identifier: Apache-2.0 */
/* toolformat.h - in which form a model calls functions, by what stands in its chat template.
 *
 *     template holds                        the form
 *     [TOOL_CALLS] and [ARGS]               ministral
 *     [TOOL_CALLS]                          mistral
 *     <|channel|> and <|call|>              harmony
 *     <|tool_call|> and <|start_of_role|>   granite
 *     <|tool|> and <|/tool|>                phi4
 *     <TOOLCALL>                            nemotron
 *     <tool_calls>[                         apriel
 *     <|START_ACTION|> and tool_name        command
 *     <seed:tool_call> and <function=       seed
 *     <tool_call>, </arg_key><arg_value>    glm47
 *     <tool_call> and <arg_key>             glm
 *     <tool_call> and <function=            qwen3xml
 *     <tool_call>                           hermes
 *     <function= and </function>            functionary
 *     <｜tool▁sep｜> and ```json            deepseek
 *     <｜tool▁sep｜>                        deepseek31
 *     <|tool_calls_section_begin|>          kimi
 *     "parameters": and <|start_header_id|> llama3
 *
 * The first that fits.  Whoever reads answers (daemon/callform.h) knows the forms by these names
 * and says what they are.  Any thread. */
#ifndef MODEL_TOOLFORMAT_H
#define MODEL_TOOLFORMAT_H

#include "base/str.h"

/* "" for a template that knows no tools, or writes them in a form that is not above. */
const char *toolformat_of(struct str template);

#endif
