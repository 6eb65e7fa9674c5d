/* SPDX-License-Identifier: Apache-2.0 */
/* carve.h - one block of memory cut into parts, measured before it is allocated.
 *
 * The same function cuts twice: first without a block, which only adds up the sizes, then with it.
 * So what is reported before the fact is what is used.  Parts begin at multiples of 64 bytes. */
#ifndef INFER_CARVE_H
#define INFER_CARVE_H

#include <stdbool.h>
#include <stddef.h>

struct carve {
    char *at; /* NULL: only measure */
    size_t used;
    bool overflow; /* the sum does not fit size_t: nothing that exists could hold it */
};

static inline void *carve_bytes(struct carve *c, size_t count, size_t size)
{
    size_t start = c->used, bytes;

    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, (size_t)63, &bytes) ||
        __builtin_add_overflow(c->used, bytes & ~(size_t)63, &c->used))
        c->overflow = true;
    return c->at && !c->overflow ? c->at + start : NULL;
}
#define carve_array(c, type, count) ((type *)carve_bytes((c), (count), sizeof(type)))

#endif
