/* SPDX-License-Identifier: Apache-2.0 */
/* sortindex.h - sorts numbers that stand for something else: table indexes by what they point at.
 *
 * A heap sort: in place, no allocation (qsort may allocate), n log n comparisons whatever a hostile
 * file holds.  Not stable: let `before` break ties by the index itself. */
#ifndef MODEL_SORTINDEX_H
#define MODEL_SORTINDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef bool (*sortindex_before)(const void *table, uint32_t a, uint32_t b);

void sortindex(uint32_t *index, size_t n, sortindex_before before, const void *table);

#endif
