/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - what a server has streamed, byte by byte and when, read afterwards.
 *
 * While the clock runs bytes are only kept (stream_take), so that whoever measures takes little of
 * the processor from the server beside it.  One thread; stream_fini gives everything back. */
#ifndef BENCH_STREAM_H
#define BENCH_STREAM_H

#include "base/buf.h"

struct stream {
    struct buf bytes; /* of the body */
    struct buf marks; /* of struct stream_mark */
};

struct stream_mark {
    size_t end; /* so many bytes had come */
    uint64_t ns;
};

void stream_init(struct stream *s);
void stream_fini(struct stream *s);
void stream_clear(struct stream *s); /* the memory stays */

/* More of the body, which arrived at `ns`; false if it cannot be kept. */
bool stream_take(struct stream *s, const void *bytes, size_t n, uint64_t ns);

struct stream_told {
    uint64_t tokens; /* usage.completion_tokens, or else the chunks that can be one */
    uint64_t prompt_tokens, cached_tokens; /* 0 if nobody says */
    uint64_t chunks;                       /* that brought text, or a token that has none */
    bool has_usage;                        /* the server counted, not we */
    uint64_t first_ns, last_ns;            /* of those chunks */
    char finish[32];                       /* finish_reason, as far as it fits */
};

/* Reads an OpenAI stream of text completions with one choice.  The times between chunks in
 * milliseconds, one fewer than chunks, are appended to gaps_ms as doubles.  LLMOS_EFORMAT if it is
 * none, or ended without its [DONE]; LLMOS_EIO with the words of the server if it sent an error. */
int stream_read(const struct stream *s, struct stream_told *told, struct buf *gaps_ms,
                struct llmos_error *err);

#endif
