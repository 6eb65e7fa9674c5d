/* SPDX-License-Identifier: Apache-2.0 */
/* lattice.h - the points that the iq1, iq2 and iq3 types can name: facts of the GGUF format.
 *
 * A point has four or eight coordinates, each one of a few levels.  Only some of the points of that
 * lattice are in the list, and their order is that of a number whose digits are the coordinates,
 * the first one least significant.  Any thread. */
#ifndef TENSOR_LATTICE_H
#define TENSOR_LATTICE_H

#include <stddef.h>
#include <stdint.h>

enum lattice_id {
    LATTICE_IQ1,     /* 2048 points of eight, -1 to 1 */
    LATTICE_IQ2_XXS, /*  256 points of eight, 8, 25, 43 */
    LATTICE_IQ2_XS,  /*  512 */
    LATTICE_IQ2_S,   /* 1024 */
    LATTICE_IQ3_XXS, /*  256 points of four, 4 to 62 */
    LATTICE_IQ3_S,   /*  512 points of four, 1 to 15 */
    LATTICE_COUNT
};

struct lattice {
    size_t dims, count;
    const int8_t *points; /* [count][dims] */
};

const struct lattice *lattice_get(enum lattice_id id);

#endif
