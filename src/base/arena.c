/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c - see arena.h */
#include "base/arena.h"

#include "base/mem.h"

#include <stdint.h>
#include <string.h>

#define BLOCK_BYTES 65536 /* large enough that malloc is rare, small enough for an idle request */

struct arena_block {
    struct arena_block *next;
    size_t used, size;
    _Alignas(16) unsigned char data[];
};

void arena_init(struct arena *a, size_t limit_bytes)
{
    *a = (struct arena){.limit_bytes = limit_bytes};
}

void arena_fini(struct arena *a)
{
    while (a->blocks) {
        struct arena_block *next = a->blocks->next;

        mem_free(a->blocks);
        a->blocks = next;
    }
    a->used_bytes = 0;
}

static struct arena_block *block_create(size_t bytes)
{
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
    struct arena_block *block = mem_zalloc(1, sizeof(*block) + size);

    if (block)
        block->size = size;
    return block;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    struct arena_block *block = a->blocks;
    void *p;

    if (bytes > SIZE_MAX / 2 || mem_must_fail())
        return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > a->limit_bytes - a->used_bytes)
        return NULL;
    if (!block || bytes > block->size - block->used) {
        block = block_create(bytes);
        if (!block)
            return NULL;
        block->next = a->blocks;
        a->blocks = block;
    }
    p = block->data + block->used;
    block->used += bytes;
    a->used_bytes += bytes;
    return p;
}

void *arena_calloc(struct arena *a, size_t count, size_t size)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : arena_alloc(a, bytes);
}

char *arena_strndup(struct arena *a, const char *text, size_t length)
{
    char *copy = length == SIZE_MAX ? NULL : arena_alloc(a, length + 1);

    if (copy)
        memcpy(copy, text, length);
    return copy;
}
