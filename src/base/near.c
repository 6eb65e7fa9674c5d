/* SPDX-License-Identifier: Apache-2.0 */
/* near.c - see near.h */
#include "base/near.h"

#include <string.h>

static size_t min3(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Optimal string alignment: three rows of the table are enough. */
size_t near_distance(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    size_t rows[3][NEAR_WORD_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];

    if (n > NEAR_WORD_MAX || m > NEAR_WORD_MAX)
        return NEAR_WORD_MAX;
    for (size_t j = 0; j <= m; j++)
        last[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *spare = before;

        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            now[j] = min3(last[j] + 1, now[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                before[j - 2] + 1 < now[j])
                now[j] = before[j - 2] + 1;
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

void near_offer(struct near *n, const char *candidate)
{
    size_t length = strlen(n->word);
    size_t distance;

    if (length > 1 && strncmp(candidate, n->word, length) == 0)
        distance = 1;
    else
        distance = near_distance(n->word, candidate);
    if (distance > (length < 4 ? 1 : length / 3))
        return;
    if (n->best && distance >= n->distance)
        return;
    n->best = candidate;
    n->distance = distance;
}
