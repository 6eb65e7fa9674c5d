/* SPDX-License-Identifier: Apache-2.0 */
/* sortindex.c - see sortindex.h */
#include "model/sortindex.h"

static void sift(uint32_t *index, size_t root, size_t n, sortindex_before before, const void *table)
{
    uint32_t moving = index[root];

    for (;;) {
        size_t child = 2 * root + 1;

        if (child >= n)
            break;
        if (child + 1 < n && before(table, index[child], index[child + 1]))
            child++;
        if (!before(table, moving, index[child]))
            break;
        index[root] = index[child];
        root = child;
    }
    index[root] = moving;
}

void sortindex(uint32_t *index, size_t n, sortindex_before before, const void *table)
{
    for (size_t i = n / 2; i-- > 0;)
        sift(index, i, n, before, table);
    while (n > 1) {
        uint32_t last = index[--n];

        index[n] = index[0];
        index[0] = last;
        sift(index, 0, n, before, table);
    }
}
