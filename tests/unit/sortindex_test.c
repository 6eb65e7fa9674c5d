/* SPDX-License-Identifier: Apache-2.0 */
/* sortindex_test.c - the heap sort sorts. */
#include "test.h"

#include "model/sortindex.h"

static unsigned long comparisons;

static bool smaller(const void *table, uint32_t a, uint32_t b)
{
    const int *numbers = table;

    comparisons++;
    return numbers[a] < numbers[b];
}

TEST(sortindex_sorts_every_length_and_pattern)
{
    static int numbers[1000];
    static uint32_t index[1000];

    for (size_t n = 0; n < 1000; n = n * 2 + 1)
        for (int pattern = 0; pattern < 5; pattern++) {
            unsigned char seen[1000] = {0};

            for (size_t i = 0; i < n; i++) {
                numbers[i] = pattern == 0   ? (int)i
                             : pattern == 1 ? -(int)i
                             : pattern == 2 ? 7
                             : pattern == 3 ? (int)(i % 3)
                                            : (int)(i * 7919 % 1000);
                index[i] = (uint32_t)i;
            }
            sortindex(index, n, smaller, numbers);
            for (size_t i = 0; i < n; i++) {
                CHECK(index[i] < n && !seen[index[i]]);
                seen[index[i]] = 1;
                CHECK(i == 0 || numbers[index[i - 1]] <= numbers[index[i]]);
            }
        }
}

TEST(sortindex_needs_n_log_n_comparisons_at_worst)
{
    enum { N = 1 << 16 };
    int *numbers = calloc(N, sizeof(*numbers));
    uint32_t *index = calloc(N, sizeof(*index));

    CHECK(numbers && index);
    for (uint32_t i = 0; i < N; i++) {
        numbers[i] = (int)i;
        index[i] = i;
    }
    comparisons = 0;
    sortindex(index, N, smaller, numbers);
    CHECK(comparisons < 2ul * N * 17);
    free(numbers);
    free(index);
}
