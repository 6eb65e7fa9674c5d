/* SPDX-License-Identifier: Apache-2.0 */
/* dialog.h - the messages of a conversation, as chat sends them again each time.
 *
 * Owns copies of the texts.  The engine keeps what it has computed, so sending all of it costs
 * little. */
#ifndef CLI_DIALOG_H
#define CLI_DIALOG_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/str.h"

#define DIALOG_MESSAGES_MAX 4096

struct dialog_message {
    struct str role, content;
};

struct dialog {
    struct arena arena; /* texts that are dropped stay in it until dialog_reset */
    struct dialog_message messages[DIALOG_MESSAGES_MAX];
    uint32_t count;
    struct str system; /* empty: none */
    bool thinks_not;   /* the model is asked not to think; kept by dialog_reset */
};

void dialog_init(struct dialog *d);
void dialog_fini(struct dialog *d);
void dialog_reset(struct dialog *d); /* forgets everything but the system message */
/* For the conversation from here on: it begins anew.  Empty: none. */
int dialog_set_system(struct dialog *d, struct str text, struct llmos_error *err);

/* role: "user", "assistant"; a literal.  LLMOS_ELIMIT: too many messages, or too much text. */
int dialog_add(struct dialog *d, const char *role, struct str text, struct llmos_error *err);
/* Takes back messages until `count` are left. */
void dialog_cut(struct dialog *d, uint32_t count);

/* {"messages": [{"role": "user", "content": "..."}]}, and "enable_thinking": false if it thinks
 * not. */
void dialog_put_json(const struct dialog *d, struct buf *out);

#endif
