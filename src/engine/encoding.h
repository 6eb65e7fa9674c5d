/* SPDX-License-Identifier: Apache-2.0 */
/* encoding.h - the ENCODE request: a text becomes a vector, or scores.
 *
 * Each text is computed to its end before the next is looked at; they are answered in the order
 * they came. */
#ifndef ENGINE_ENCODING_H
#define ENGINE_ENCODING_H

#include "engine/serve.h"

/* What READY says of the encoder of s.  labels[MESSAGE_LABELS_MAX] holds those that it points to.
 * LLMOS_ELIMIT: more of them, or wider vectors, than a frame can say. */
int encoding_check(const struct serve *s, struct llmos_error *err);
void encoding_fill_ready(const struct serve *s, struct message_ready *ready,
                         struct str labels[MESSAGE_LABELS_MAX]);

/* Answers request `id` with VECTOR frames, or says what is wrong with it; LLMOS_ECLOSED: the host
 * is gone. */
int encoding_run(struct serve *s, uint64_t id, const struct message_encode *want,
                 struct llmos_error *err);

#endif
