/* SPDX-License-Identifier: Apache-2.0 */
/* frame.h - length-prefixed frames on a stream socket, and nothing about their meaning.
 *
 *     u32 payload_bytes | u16 type | u16 zero | u64 id | payload
 *
 * All little-endian; the head has 16 bytes.
 *
 * Both sides treat the other as hostile: a frame larger than the reader's limit, or a non-zero
 * reserved field, ends the conversation with an error.  docs/PROTOCOL.md is the full description.
 */
#ifndef NET_FRAME_H
#define NET_FRAME_H

#include "base/buf.h"

#define FRAME_HEAD_BYTES    16
#define FRAME_TO_ENGINE_MAX (16u << 20) /* a prompt of 16 MiB is past every context */
#define FRAME_TO_HOST_MAX   (1u << 20)  /* long answers are many frames */

struct frame {
    uint16_t type;
    uint64_t id;        /* of the request; 0: about the whole engine */
    struct str payload; /* valid until the next frame_fill of its reader */
};

/* Collects bytes and cuts frames out of them. */
struct frame_reader {
    struct buf buf;
    size_t consumed, payload_max;
};

void frame_reader_init(struct frame_reader *r, size_t payload_max);
void frame_reader_fini(struct frame_reader *r);
/* Takes what the socket has (one read, at most 64 KiB; blocking unless the socket is not).  Returns
 * bytes read, 0: would block, or LLMOS_ECLOSED / LLMOS_EIO / LLMOS_ENOMEM. */
long frame_fill(struct frame_reader *r, int fd, struct llmos_error *err);
/* 1: *f is the next frame; 0: more bytes are needed; negative: the other side broke the rules.
 * Take every frame before the next fill: the buffer holds little more than one. */
int frame_next(struct frame_reader *r, struct frame *f, struct llmos_error *err);

/* Begin a frame in a buffer, put the payload behind it, end it: several frames may follow each
 * other in one buffer and leave in one write.  A frame that made the buffer bad is taken out again
 * whole. */
size_t frame_begin(struct buf *out, uint16_t type,
                   uint64_t id); /* returns the mark for frame_end */
void frame_end(struct buf *out, size_t mark);

#endif
