/* SPDX-License-Identifier: Apache-2.0 */
/* wire.h - the engine's end of the socket: messages in, messages out, nothing without a bound.
 *
 * Between two steps of a model the engine looks in here.  Nothing blocks while the model computes:
 * what the host does not take waits in `out`.  Past WIRE_CALM_BYTES nobody should compute more,
 * past WIRE_FULL_BYTES nothing is read either. */
#ifndef ENGINE_WIRE_H
#define ENGINE_WIRE_H

#include "net/message.h"

#define WIRE_CALM_BYTES (256u << 10)
#define WIRE_FULL_BYTES (4u << 20)

struct wire {
    int fd;
    struct frame_reader in;
    struct buf out;
    struct arena arena; /* of the message that was read last */
};

void wire_init(struct wire *w, int fd); /* fd becomes non-blocking and stays the caller's */
void wire_fini(struct wire *w);

void wire_put(struct wire *w, const struct message *m);
/* An ERROR message.  The text is cut to whole characters. */
void wire_put_error(struct wire *w, uint64_t id, int code, const char *text);

static inline bool wire_is_calm(const struct wire *w)
{
    return w->out.len < WIRE_CALM_BYTES;
}

/* Writes what the socket takes, and reads what it has.  If there is nothing to do for it, waits at
 * most timeout_ms (-1: until there is).  0; LLMOS_ECLOSED: the host is gone; LLMOS_ENOMEM: a
 * message did not fit into `out`. */
int wire_turn(struct wire *w, int timeout_ms, struct llmos_error *err);

/* Waits until the host has taken enough for wire_is_calm (`all`: everything), without reading. */
int wire_drain(struct wire *w, bool all, struct llmos_error *err);

/* 1: the next message, valid until the next call; 0: none is there.  LLMOS_EFORMAT with *m's id
 * set: that request is malformed, the connection goes on; with id 0: the host broke the rules. */
int wire_next(struct wire *w, struct message *m, struct llmos_error *err);

#endif
