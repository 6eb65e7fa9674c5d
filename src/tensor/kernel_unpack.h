/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_unpack.h - packed weights (packed.h) on their way from memory into registers.
 *
 * Included by the kernels for AVX-512 and for AVX2 after kernel_lanes.h, once they have defined
 * `ints` (LANES dwords) and the operations below.  A register of fewer than sixteen lanes holds
 * those of the rows that pointers were moved to: of lines by 4 bytes a row, of small scales by one,
 * of halves by two.
 *
 *   i_load(p) i_or(a, b)
 *   bits(v, at, count, to) byte_bits  bits [at, at + count) of every lane, of every byte, moved
 *   lane_bytes(p, is_signed)          a byte a lane
 *   place_bits(type)                  by how many bits quants are shifted up in their bytes
 *   look_up(type, w)                  places in the list of levels become these */
#ifndef TENSOR_KERNEL_UNPACK_H
#define TENSOR_KERNEL_UNPACK_H

#include "tensor/packed.h"

INLINE unsigned place_bits(enum dtype type);
INLINE ints look_up(enum dtype type, ints w);

/* Bytes that several vectors fetch ahead, into level 2: arithmetic then leaves the processor no
 * room to look so far by itself.  With one vector it does, within a page (bench/NOTES.md). */
#define AHEAD 16384

/* The processor follows a stream by itself, but stops at the end of each page and has to find it
 * again.  Asks for the beginning of the second page behind the present one, if the next `bytes`
 * leave that (bench/NOTES.md). */
INLINE void fetch_page(const char *at, size_t bytes)
{
    const uintptr_t page = 4096;

    if (((uintptr_t)at ^ ((uintptr_t)at + bytes)) / page)
        __builtin_prefetch((const char *)(((uintptr_t)at / page + 2) * page), 0, 2);
}

/* Intel's processors follow the stream less well than they can be told to: there each line is asked
 * for into level 2 so many bytes before it is loaded, and into level 1 NEAR bytes before, with any
 * number of vectors.  They look ahead by themselves as well, as many instructions as they hold, and
 * the more lines that spans, the more they ask for at once and then wait: so some instructions that
 * do nothing lie between (bench/NOTES.md). */
#define LINES_AHEAD  6144
#define CACHED_AHEAD 8192 /* where weights stay in level 3 */
#define NEAR         3072
#define REST         ".rept 10\n\tnop\n\t.endr"

INLINE size_t lines_ahead(const struct tensor *w)
{
    return w->stays_cached ? CACHED_AHEAD : LINES_AHEAD;
}

/* ahead: what lines_ahead says, or 0 to ask for nothing. */
INLINE void ask_ahead(const char *p, size_t ahead)
{
    if (!ahead)
        return;
    __builtin_prefetch(p + ahead, 0, 2);
    __builtin_prefetch(p + NEAR);
    __asm__ volatile(REST ::: "memory"); /* nor does the compiler gather what asks */
}

INLINE ints load_line(const char *p, size_t ahead)
{
    ask_ahead(p, ahead);
    return i_load(p);
}

/* The same of packed weights, which are aligned, never before what the source loads first: one load
 * ahead of others makes the processor lose the stream (bench/NOTES.md). */
INLINE ints next_line(const char *p, size_t ahead)
{
    ask_ahead(p, ahead);
    return *(const volatile ints *)(const void *)p;
}

/* Brings near what comes behind a unit, whose lines are asked for one by one or not. */
INLINE void fetch_unit(const unsigned T, const struct packed_unit *u, const char *unit,
                       size_t ahead)
{
    if (ahead) {
        fetch_level2(unit + ahead, u->first);
        fetch(unit + NEAR, u->first);
    } else if (T > 1)
        fetch_level2(unit + AHEAD, u->bytes);
    else
        fetch_page(unit, u->bytes);
}

/* A block of quants as it lies: the lines of its planes. */
struct planes {
    ints four[4], two[2], one;
    ints bytes[8]; /* of 8 bits; six of 6 bits */
};

/* Lines are asked for so far ahead. */
INLINE struct planes load_planes(enum dtype type, const char *block, size_t ahead)
{
    const unsigned bits = packed_bits(type), bytes = bits >= 6 ? bits : 0;
    const unsigned fours = !bytes && bits & 4 ? 4 : 0, twos = !bytes && bits & 2 ? 2 : 0;
    struct planes p;

#pragma GCC unroll 8
    for (unsigned i = 0; i < bytes; i++)
        p.bytes[i] =
            bits == 8 ? load_line(block + 64 * i, ahead) : next_line(block + 64 * i, ahead);
    for (unsigned i = 0; i < fours; i++)
        p.four[i] = bits == 4 ? load_line(block + 64 * i, ahead) : next_line(block + 64 * i, ahead);
    for (unsigned i = 0; i < twos; i++)
        p.two[i] = next_line(block + 64 * (fours + i), ahead);
    if (bits & 1)
        p.one = next_line(block + 64 * (fours + twos), ahead);
    return p;
}

/* Those of 6 bits. */
INLINE ints sixes_at(const ints *lines, unsigned i, unsigned to)
{
    if (i < 3)
        return byte_bits(lines[i], 2, 6, to);
    return i_or(i_or(byte_bits(lines[0], 0, 2, to), byte_bits(lines[1], 0, 2, to + 2)),
                byte_bits(lines[2], 0, 2, to + 4));
}

/* Values 4 i .. 4 i + 3 of all rows, unsigned, at their place in the byte. */
INLINE ints quants_at(enum dtype type, const struct planes *p, unsigned i)
{
    const unsigned bits = packed_bits(type), to = place_bits(type);
    ints w;

    if (bits == 8)
        return p->bytes[i];
    if (bits == 6)
        return sixes_at(p->bytes + i / 4 * 3, i % 4, to);
    if (bits & 4)
        w = byte_bits(p->four[i % 4], i / 4 * 4, 4, to);
    if (bits & 2)
        w = byte_bits(p->two[i / 4], i % 4 * 2, 2, to);
    if (bits & 1)
        w = i_or(w, byte_bits(p->one, i, 1, to + bits - 1));
    return levels_of(type) ? look_up(type, w) : w;
}

/* A block: w[i] = values 4 i .. 4 i + 3 of all rows; those of one line after each other. */
INLINE void unpack(enum dtype type, const char *block, size_t ahead, ints w[8])
{
    struct planes p = load_planes(type, block, ahead);

#pragma GCC unroll 4
    for (unsigned i = 0; i < 4; i++) {
        w[i] = quants_at(type, &p, i);
        w[i + 4] = quants_at(type, &p, i + 4);
    }
}

INLINE ints lane_nibbles(const char *p, unsigned at)
{
    return bits(lane_bytes(p, false), at, 4, 0);
}

/* Of super-blocks: the small scales of a block, of which the second is that of its upper half where
 * halves have their own. */
struct small_scales {
    ints low, high;
};

/* Those of block k of a unit. */
INLINE struct small_scales unpack_small_scales(enum dtype type, const char *unit, unsigned k)
{
    const char *small = unit + packed_unit(type).scales;
    ints one;

    if (type == DTYPE_Q2_K)
        return (struct small_scales){lane_nibbles(small + 32 * k, 0),
                                     lane_nibbles(small + 32 * k + 16, 0)};
    if (has_halves(type))
        return (struct small_scales){lane_bytes(small + 32 * k, true),
                                     lane_bytes(small + 32 * k + 16, true)};
    one = lane_bytes(small + 16 * k, type == DTYPE_IQ4_XS);
    return (struct small_scales){one, one};
}

#endif
