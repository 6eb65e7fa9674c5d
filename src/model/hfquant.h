/* SPDX-License-Identifier: Apache-2.0 */
/* hfquant.h - a quantised matrix of a Hugging Face folder, read as numbers.
 *
 * Whoever made it, a value is
 *
 *     (level[code[row][column]] - zero[row][group]) * scale[row][group]
 *
 * Codes have 1 to 8 bits.  What differs is how they and the zeros are packed, what the levels are
 * (whole numbers, or numbers of a small floating-point type), and which columns are a group.
 * hfsource.h finds the tensors and fills this in; everything is checked there.  Read-only: any
 * thread. */
#ifndef MODEL_HFQUANT_H
#define MODEL_HFQUANT_H

#include "model/safetensors.h"
#include "tensor/dtype.h"

/* A matrix of whole numbers of `bits` bits in words of `width` (8 or 32) bits.  Each line of it is
 * a stream of bits, the lowest of each word first; a line is a row or, if is_down, a column. */
struct hfquant_pack {
    const unsigned char *at; /* not aligned */
    unsigned bits, width;
    bool is_down;
    const uint8_t *order; /* where in 8 numbers of a line each of them lies; NULL: in order */
    uint32_t flip;        /* XORed: numbers with a sign become numbers from 0 */
    uint32_t ones;        /* added to each word */
    uint32_t add;         /* added to each number, which stays within its bits */
    uint64_t word_step;   /* from a word of a line to the next one, in words */
    uint64_t line_step;   /* from a line to the next one, in words */
};

struct hfquant {
    uint64_t rows, columns;
    struct hfquant_pack codes;
    const float *levels;       /* NULL: a code is its number */
    struct hfquant_pack zeros; /* by rows and groups; `at` NULL: all of them are `middle` */
    float middle;
    const struct safetensors_tensor *scales;
    bool has_exponents;                 /* scales of type U8 are powers of two, less 127 */
    float divisor;                      /* of all scales */
    uint64_t block_rows, block_columns; /* that share a scale */
    uint64_t row_step, group_step;      /* between scales of two blocks */
    const unsigned char *group_of;      /* int32 for each column, else a group is block_columns */
    /* Where blocks of so many values go on from row to row (bitsandbytes): block_columns of the
     * whole matrix in one line.  Its scales may themselves be codes of 8 bits. */
    bool is_flat;
    const struct safetensors_tensor *outer_scales, *outer_levels; /* NULL: they are none */
    uint64_t outer_block;
    float outer_offset;
    bool is_transposed; /* the file has inputs as rows: what is no matrix of a layer lies otherwise
                         */
};

/* E4M3 and E2M1 (OCP 8-bit Floating Point 1.0; OCP Microscaling Formats 1.0) by their codes. */
void hfquant_e4m3(float levels[256]);
void hfquant_e2m1(float levels[16]);

uint32_t hfquant_packed(const struct hfquant_pack *p, uint64_t row, uint64_t column);

/* n values of a row. */
void hfquant_read(const struct hfquant *q, uint64_t row, uint64_t from, float *out, size_t n);

/* The type of blocks that says the same, or -1: q4_0, q8_0 and mxfp4 without a loss (but that a
 * scale that is no f16 is rounded to one, as a value would be), q4_1 with zero times scale rounded
 * to f16: by 2^-11 of it, at most 0.8 % of a step. */
int hfquant_block_type(const struct hfquant *q);

/* n values as blocks of that type; or of q4_1 where it is q4_0.  from and n: multiples of 32. */
void hfquant_blocks(const struct hfquant *q, enum dtype type, uint64_t row, uint64_t from,
                    unsigned char *out, size_t n);

#endif
