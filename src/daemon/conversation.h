/* SPDX-License-Identifier: Apache-2.0 */
/* conversation.h - the messages of a chat request, as the JSON that an engine gives to the model's
 * chat template.
 *
 * Roles are system (developer is one, too), user, assistant and tool.  Parts of a content are
 * joined if they are text, and refused otherwise.  Calls of an assistant get their arguments as
 * JSON values, which is what templates want, and not as the text that the dialect has.  What is
 * null or empty is left out: templates ask whether it is there.  chat_template_kwargs are further
 * variables of the template.
 *
 * For a template that does not say which functions there are (tools.h) they are described in words,
 * behind the instructions or before the first question, or they are a member of the first system
 * message.  Where it does not know calls either, they are text of the assistant, and what they
 * returned are messages of the user, in <tool_response></tool_response>.  Any thread. */
#ifndef DAEMON_CONVERSATION_H
#define DAEMON_CONVERSATION_H

#include "daemon/tools.h"

#define CONVERSATION_MESSAGES_MAX 4096
#define CONVERSATION_CALLS_MAX    128 /* of one message */

/* Appends the conversation to out.  0, or negative with the fault. */
int conversation_take(const json_t *request, const struct tools *tools, struct buf *out,
                      struct json_fault *fault);

#endif
