/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h - memory that is given back all at once.
 *
 * The model, the session and the request each own an arena; what belongs to a lifetime is allocated
 * there and nothing is freed singly.  Every arena has a limit, because what fills it may come from
 * outside: reaching it is an error of that request, never the end of the process.  One thread at a
 * time. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    size_t used_bytes;          /* given out, padding included */
    size_t limit_bytes;
};

void arena_init(struct arena *a, size_t limit_bytes);
void arena_fini(struct arena *a);

/* Zeroed, aligned to 16 bytes.  NULL when memory or the limit is exhausted. */
void *arena_alloc(struct arena *a, size_t bytes);
void *arena_calloc(struct arena *a, size_t count,
                   size_t size); /* NULL also if count * size wraps */
#define arena_array(a, type, count) ((type *)arena_calloc((a), (count), sizeof(type)))
/* A zero-terminated copy of length bytes. */
char *arena_strndup(struct arena *a, const char *text, size_t length);

#endif
