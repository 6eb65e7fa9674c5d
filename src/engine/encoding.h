/* SPDX-License-Identifier: Apache-2.0 */
/* encoding.h - the ENCODE request: a text becomes a vector, or scores.
 *
 * Texts wait in the order they came, and are answered in it.  A step computes as many of the first
 * together as fit, whoever asked for them; between its layers the engine hears what is new, so
 * that further texts wait already when it ends, and one that nobody wants any more is dropped. */
#ifndef ENGINE_ENCODING_H
#define ENGINE_ENCODING_H

#include "engine/serve.h"

/* What READY says of the encoder of s.  labels[MESSAGE_LABELS_MAX] holds those that it points to.
 * LLMOS_ELIMIT: more of them, or wider vectors, than a frame can say. */
int encoding_check(const struct serve *s, struct llmos_error *err);
void encoding_fill_ready(const struct serve *s, struct message_ready *ready,
                         struct str labels[MESSAGE_LABELS_MAX]);

/* Puts a text into the line.  What is wrong with it is answered when its turn comes.  LLMOS_EBUSY,
 * LLMOS_ENOMEM: it has no place there. */
int encoding_ask(struct serve *s, uint64_t id, const struct message_encode *want,
                 struct llmos_error *err);

/* Answers the first texts.  LLMOS_ECLOSED: the host is gone; else as serve_hear. */
int encoding_step(struct serve *s, struct llmos_error *err);

/* Takes a text out of the line, if it is there. */
void encoding_cancel(struct serve *s, uint64_t id);

void encoding_fini(struct serve *s);

#endif
