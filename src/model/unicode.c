/* SPDX-License-Identifier: Apache-2.0 */
/* unicode.c - see unicode.h */
#include "model/unicode.h"

#include "base/utf8.h"
#include "model/unicode_table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Hangul syllables are arithmetic (The Unicode Standard, section 3.12). */
#define HANGUL_FIRST    0xac00u
#define HANGUL_LAST     0xd7a3u
#define HANGUL_LEADING  0x1100u
#define HANGUL_VOWEL    0x1161u
#define HANGUL_TRAILING 0x11a7u
#define HANGUL_VOWELS   21
#define HANGUL_TRAILERS 28

size_t unicode_run_count(void)
{
    return COUNT(category_runs);
}

uint32_t unicode_run_first(size_t i)
{
    return category_runs[i] >> 5;
}

enum unicode_category unicode_run_category(size_t i)
{
    return (enum unicode_category)(category_runs[i] & 31);
}

enum unicode_category unicode_category(uint32_t c)
{
    size_t from = 0, to = COUNT(category_runs); /* the run is in [from, to) */

    if (c > UNICODE_LAST)
        return UNICODE_CN;
    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;

        if (unicode_run_first(middle) <= c)
            from = middle;
        else
            to = middle;
    }
    return unicode_run_category(from);
}

bool unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static size_t fold_hangul(uint32_t c, uint32_t out[FOLD_MAX])
{
    uint32_t i = c - HANGUL_FIRST, trailing = i % HANGUL_TRAILERS;

    out[0] = HANGUL_LEADING + i / (HANGUL_VOWELS * HANGUL_TRAILERS);
    out[1] = HANGUL_VOWEL + i / HANGUL_TRAILERS % HANGUL_VOWELS;
    out[2] = HANGUL_TRAILING + trailing;
    return trailing ? 3 : 2;
}

static uint32_t fold_one(uint32_t c)
{
    size_t from = 0, to = COUNT(fold_runs);
    const struct fold_run *run;

    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;

        if (fold_runs[middle].first <= c)
            from = middle;
        else
            to = middle;
    }
    run = &fold_runs[from];
    if (c < run->first || c > run->last || (c - run->first) % run->step != 0)
        return c;
    return c + (uint32_t)run->distance;
}

size_t unicode_fold(uint32_t c, uint32_t out[FOLD_MAX])
{
    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    if (c >= HANGUL_FIRST && c <= HANGUL_LAST)
        return fold_hangul(c, out);
    if (unicode_category(c) == UNICODE_MN)
        return 0;
    for (size_t i = 0; i < COUNT(fold_several) && fold_several[i][0] <= c; i++)
        if (fold_several[i][0] == c) {
            size_t n = 0;

            while (n < FOLD_MAX && fold_several[i][1 + n]) {
                out[n] = fold_several[i][1 + n];
                n++;
            }
            return n;
        }
    out[0] = fold_one(c);
    return 1;
}

uint32_t unicode_next(struct str s, size_t *bytes)
{
    const unsigned char *at = (const unsigned char *)s.at;

    if (at[0] < 0x80) {
        *bytes = 1;
        return at[0];
    }
    switch (*bytes = utf8_length(s)) {
    case 2:
        return (at[0] & 0x1fu) << 6 | (at[1] & 0x3fu);
    case 3:
        return (at[0] & 0x0fu) << 12 | (at[1] & 0x3fu) << 6 | (at[2] & 0x3fu);
    case 4:
        return (at[0] & 7u) << 18 | (at[1] & 0x3fu) << 12 | (at[2] & 0x3fu) << 6 | (at[3] & 0x3fu);
    default:
        *bytes = 1;
        return UNICODE_NO_TEXT;
    }
}

size_t unicode_put(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}
