/* SPDX-License-Identifier: Apache-2.0 */
/* aside.h - an answer of a model that thinks before it: the thought goes to standard error, so that
 * what a script reads is the answer. */
#ifndef CLI_ASIDE_H
#define CLI_ASIDE_H

#include "cli/ask.h"
#include "cli/talk.h"

/* talk_generate, with the thought told apart as --thoughts says.  A form of the answer begins
 * behind the thought.  thought: gets it if it is shown, as it came; NULL: standard error does. */
int aside_generate(struct talk *t, struct message_generate *g, const struct ask_options *o,
                   struct buf *thought, talk_sink sink, void *cookie, struct message_done *done,
                   struct llmos_error *err);

#endif
