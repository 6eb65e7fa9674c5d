/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_unpack.h - packed weights (packed.h) on their way from memory into registers.
 *
 * Included by the kernels for AVX-512 and for AVX2 after kernel_lanes.h, once they have defined
 * `ints` (LANES dwords) and the operations below.  A register of fewer than sixteen lanes holds
 * those of the rows that pointers were moved to: of lines by 4 bytes a row, of small scales by one,
 * of halves by two.
 *
 *   i_load(p) i_or(a, b) i_ones()     1 in every lane
 *   bits(v, at, count, to) byte_bits  bits [at, at + count) of every lane, of every byte, moved
 *   lane_bytes(p, is_signed)          a byte a lane
 *   lane_byte(v, k)                   byte k of every lane
 *   place_bits(type)                  by how many bits quants are shifted up in their bytes
 *   levels_list(p, is_signed)         a list of levels; 128 is added to signed ones
 *   unpacked_list(type, list)         as quants are to come out, where that is another bias
 *   look_up(list, w)                  places in it become its levels */
#ifndef TENSOR_KERNEL_UNPACK_H
#define TENSOR_KERNEL_UNPACK_H

#include "tensor/packed.h"

INLINE unsigned place_bits(enum dtype type);
INLINE ints unpacked_list(enum dtype type, ints list);

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

/* How far ahead of a line that is loaded others are asked for, in bytes, into level 2 and level 1;
 * 0: nothing is. */
struct ask {
    size_t level2, level1;
};
#define ASK_NOTHING ((struct ask){0, 0})

/* Where it is left to look ahead by itself, a processor does so while there is little to do for
 * each line; more arithmetic leaves it no room.  Those without AVX-512 do not even then: a Zen 3
 * reads packed weights at half of its speed (bench/NOTES.md). */
#define BUSY_AHEAD 8192
#ifndef LOOKS_AHEAD
#define LOOKS_AHEAD true
#endif

INLINE bool is_busy(const unsigned T, enum dtype type)
{
    bool is_float = type == DTYPE_F16 || type == DTYPE_BF16;

    return T > 1 && (is_float || 2 * T > packed_bits(type));
}

/* For T vectors; ahead: what lines_ahead says, or 0 where processors are not told. */
INLINE struct ask ask_for(const unsigned T, enum dtype type, size_t ahead)
{
    if (ahead)
        return (struct ask){ahead, NEAR};
    return (struct ask){!LOOKS_AHEAD || is_busy(T, type) ? BUSY_AHEAD : 0, 0};
}

/* Lines of packed weights, which are aligned.  Compilers load what they like first, and one load
 * ahead of others, or behind them, makes the processor lose the stream (bench/NOTES.md): so never
 * before what the source loads first. */
INLINE ints load_line(const char *p)
{
    return *(const volatile ints *)(const void *)p;
}

/* `count` of them; one question for all. */
INLINE void load_lines(const char *p, const unsigned count, struct ask ask, ints *to)
{
    if (!ask.level2) {
        for (unsigned i = 0; i < count; i++)
            to[i] = load_line(p + 64 * i);
        return;
    }
    for (unsigned i = 0; i < count; i++, p += 64) {
        __builtin_prefetch(p + ask.level2, 0, 2);
        if (ask.level1) {
            __builtin_prefetch(p + ask.level1);
            __asm__ volatile(REST ::: "memory"); /* nor does the compiler gather what asks */
        }
        to[i] = load_line(p);
    }
}

#define HEAD_LINES_MAX 5 /* of q2_K, q3_K and q6_K */

/* Loads the head of a unit, which is used in another order than that in which it lies, and late;
 * and sees that what comes behind the unit is brought near. */
INLINE void begin_unit(const struct packed_unit *u, const char *unit, struct ask ask)
{
    ints head[HEAD_LINES_MAX];

    if (!ask.level2)
        fetch_page(unit, u->bytes);
    load_lines(unit, (unsigned)u->first / 64, ask, head);
}

/* Does each unit hold the list of levels? */
INLINE bool lists_levels(enum dtype type)
{
    return has_levels(type) && parts(type) > 1;
}

INLINE const struct packed_levels *levels_in(const char *unit)
{
    return (const struct packed_levels *)(const void *)(unit + PACKED_LEVELS);
}

/* d of a super-block, of the rows from `row` on. */
INLINE vec unpack_d(enum dtype type, const char *unit, unsigned row)
{
    vec d = v_f16(unit + 2 * row);

    return lists_levels(type) ? v_mul(d, v_set1(levels_in(unit)->factor)) : d;
}

/* A block of quants as it lies: the lines of its planes, one for each bit; and what they name. */
struct planes {
    ints line[8], list;
};

/* What quants of a unit name, where they name anything. */
INLINE void load_list(enum dtype type, const char *unit, struct planes *p)
{
    if (lists_levels(type))
        p->list = unpacked_list(type, levels_list(levels_in(unit)->level, false));
    else if (has_levels(type))
        p->list = unpacked_list(type, levels_list(levels_of(type), true));
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
    const ints *plane = p->line;
    ints w;

    if (bits == 8)
        return plane[i];
    if (bits == 6)
        return sixes_at(plane + i / 4 * 3, i % 4, to);
    if (bits & 4) {
        w = byte_bits(plane[i % 4], i / 4 * 4, 4, to);
        plane += 4;
    }
    if (bits & 2) {
        w = byte_bits(plane[i / 4], i % 4 * 2, 2, to);
        plane += 2;
    }
    if (bits & 1)
        w = i_or(w, byte_bits(*plane, i, 1, to + bits - 1));
    return has_levels(type) ? look_up(p->list, w) : w;
}

/* Block k of a unit: w[i] = values 4 i .. 4 i + 3 of all rows; those of one line after each other.
 */
INLINE void unpack(enum dtype type, const char *unit, size_t k, struct ask ask, ints w[8])
{
    const struct packed_unit u = packed_unit(type);
    struct planes p;

    load_lines(unit + u.first + k * u.block, packed_bits(type), ask, p.line);
    load_list(type, unit, &p);
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

/* 2 s + 1 */
INLINE ints odd_nibbles(const char *p, unsigned at)
{
    return i_or(bits(lane_bytes(p, false), at, 4, 1), i_ones());
}

/* Of super-blocks: the small scales of a block, of which the second is that of its upper half where
 * halves have their own. */
struct small_scales {
    ints low, high;
};

/* Those of 6 bits of the rows from `row` on, four bytes to a lane: of the blocks 0 to 3 and 4 to 7,
 * then minima (packed.h). */
struct sixes {
    ints four[4];
};

/* Have the blocks of a super-block scales and minima of their own, of 6 bits? */
INLINE bool has_block_minima(enum dtype type)
{
    return type == DTYPE_Q4_K || type == DTYPE_Q5_K;
}

INLINE struct sixes unpack_sixes(enum dtype type, const char *unit, unsigned row)
{
    const char *small = unit + packed_unit(type).scales + 4 * row;
    ints lines[3];
    struct sixes s;

    memset(&s, 0, sizeof(s));
    for (unsigned i = 0; i < 3 && has_block_minima(type); i++)
        lines[i] = i_load(small + 64 * i);
    for (unsigned i = 0; i < 4 && has_block_minima(type); i++)
        s.four[i] = sixes_at(lines, i, 0);
    return s;
}

/* Those of block k of a unit, of the rows from `row` on. */
INLINE struct small_scales unpack_small_scales(enum dtype type, const char *unit, unsigned row,
                                               const struct sixes *sixes, unsigned k)
{
    const char *small = unit + packed_unit(type).scales + row;
    ints one;

    if (type == DTYPE_Q2_K)
        return (struct small_scales){lane_nibbles(small + 32 * k, 0),
                                     lane_nibbles(small + 32 * k + 16, 0)};
    if (type == DTYPE_IQ2_S)
        return (struct small_scales){odd_nibbles(small + 16 * k, 0),
                                     odd_nibbles(small + 16 * k, 4)};
    if (has_halves(type))
        return (struct small_scales){lane_bytes(small + 32 * k, true),
                                     lane_bytes(small + 32 * k + 16, true)};
    one = type == DTYPE_TQ2_0    ? i_ones()
          : type == DTYPE_IQ4_XS ? lane_bytes(small + 16 * k, true)
                                 : lane_byte(sixes->four[k / 4], k % 4);
    return (struct small_scales){one, one};
}

#endif
