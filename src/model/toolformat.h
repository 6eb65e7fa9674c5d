/* SPDX-License-Identifier: Apache-2.0 */
/* toolformat.h - in which form a model calls functions, by what stands in its chat template.
 *
 *     template holds              and not                   the form
 *     [TOOL_CALLS]                [ARGS]                    mistral
 *     <tool_call>                 <function=  <arg_key>     hermes
 *     "parameters":                                         llama3
 *       and <|start_header_id|>
 *
 * The first that fits.  mistral: [TOOL_CALLS] and a JSON array of objects with name and arguments.
 * hermes: <tool_call>, an object with name and arguments, </tool_call>, any number of times; Qwen
 * writes it too.  llama3: an object with name and parameters and nothing else, or <|python_tag|>
 * before it.  Whoever reads answers (daemon/toolcall.h) knows the forms by these names.  Any
 * thread. */
#ifndef MODEL_TOOLFORMAT_H
#define MODEL_TOOLFORMAT_H

#include "base/str.h"

/* "" for a template that knows no tools, or writes them in a form that is not above. */
const char *toolformat_of(struct str template);

#endif
