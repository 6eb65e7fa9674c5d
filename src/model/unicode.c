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

/* ---- categories ---- */

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

/* ---- claims ---- */

/* The run that c is one of, NULL if there is none. */
static const struct unicode_run *run_of(const struct unicode_run *runs, size_t count, uint32_t c)
{
    size_t from = 0, to = count;
    const struct unicode_run *run;

    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;

        if (runs[middle].first <= c)
            from = middle;
        else
            to = middle;
    }
    run = &runs[from];
    return c >= run->first && c <= run->last && (c - run->first) % run->step == 0 ? run : NULL;
}

bool unicode_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static bool in_ranges(const struct unicode_range *ranges, size_t count, uint32_t c)
{
    size_t from = 0, to = count;

    while (to - from > 1) {
        size_t middle = from + (to - from) / 2;

        if (ranges[middle].first <= c)
            from = middle;
        else
            to = middle;
    }
    return c >= ranges[from].first && c <= ranges[from].last;
}

const struct unicode_range *unicode_old_punctuation(size_t *count)
{
    *count = COUNT(old_punctuation);
    return old_punctuation;
}

bool unicode_is_old_punctuation(uint32_t c)
{
    return in_ranges(old_punctuation, COUNT(old_punctuation), c);
}

bool unicode_is_old_mark(uint32_t c)
{
    return in_ranges(old_marks, COUNT(old_marks), c);
}

bool unicode_is_old_combining(uint32_t c)
{
    return in_ranges(old_combining, COUNT(old_combining), c);
}

bool unicode_is_old_control(uint32_t c)
{
    return in_ranges(old_controls, COUNT(old_controls), c);
}

bool unicode_is_upper(uint32_t c)
{
    return unicode_category(c) == UNICODE_LU || run_of(other_upper, COUNT(other_upper), c);
}

bool unicode_is_lower(uint32_t c)
{
    return unicode_category(c) == UNICODE_LL || run_of(other_lower, COUNT(other_lower), c);
}

bool unicode_is_alpha(uint32_t c)
{
    return unicode_category(c) <= UNICODE_LO;
}

bool unicode_is_digit(uint32_t c)
{
    return unicode_category(c) == UNICODE_ND || run_of(other_digits, COUNT(other_digits), c);
}

bool unicode_is_alnum(uint32_t c)
{
    enum unicode_category k = unicode_category(c);

    return k <= UNICODE_LO || (k >= UNICODE_ND && k <= UNICODE_NO);
}

bool unicode_is_printable(uint32_t c)
{
    return c == ' ' || unicode_category(c) < UNICODE_ZS;
}

/* Letters by their category, and those that are letters in a circle or a square. */
bool unicode_is_word(uint32_t c)
{
    enum unicode_category k = unicode_category(c);

    return k <= UNICODE_NL || k == UNICODE_PC || c == 0x200c || c == 0x200d ||
           (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* ---- forms ---- */

#define SEVERAL (1 + UNICODE_FORM_MAX)

static const struct form {
    const struct unicode_run *one;
    size_t one_count;
    const uint32_t (*several)[SEVERAL];
    size_t several_count;
} bare = {one_bare, COUNT(one_bare), several_bare, COUNT(several_bare)},
  lower = {one_lower, COUNT(one_lower), several_lower, COUNT(several_lower)},
  upper = {one_upper, COUNT(one_upper), several_upper, COUNT(several_upper)},
  title = {one_title, COUNT(one_title), several_title, COUNT(several_title)};

/* How many characters c becomes, 0 if the tables do not know it. */
static size_t become(const struct form *f, uint32_t c, uint32_t out[UNICODE_FORM_MAX])
{
    const struct unicode_run *run = run_of(f->one, f->one_count, c);
    size_t n = 0;

    if (run) {
        out[0] = c + (uint32_t)run->distance;
        return 1;
    }
    for (size_t i = 0; i < f->several_count && f->several[i][0] <= c; i++)
        if (f->several[i][0] == c)
            for (n = 0; n < UNICODE_FORM_MAX && f->several[i][1 + n]; n++)
                out[n] = f->several[i][1 + n];
    return n;
}

size_t unicode_in(uint32_t c, enum unicode_form form, uint32_t out[UNICODE_FORM_MAX])
{
    size_t n = 0;

    if (form == UNICODE_LOWER)
        n = become(&lower, c, out);
    if (form == UNICODE_TITLE)
        n = become(&title, c, out);
    if (form == UNICODE_UPPER || (form == UNICODE_TITLE && n == 0))
        n = become(&upper, c, out);
    if (n == 0)
        out[0] = c;
    return n ? n : 1;
}

static size_t fold_hangul(uint32_t c, uint32_t out[UNICODE_FORM_MAX])
{
    uint32_t i = c - HANGUL_FIRST, trailing = i % HANGUL_TRAILERS;

    out[0] = HANGUL_LEADING + i / (HANGUL_VOWELS * HANGUL_TRAILERS);
    out[1] = HANGUL_VOWEL + i / HANGUL_TRAILERS % HANGUL_VOWELS;
    out[2] = HANGUL_TRAILING + trailing;
    return trailing ? 3 : 2;
}

size_t unicode_bare(uint32_t c, uint32_t out[UNICODE_FORM_MAX])
{
    size_t n;

    if (c >= HANGUL_FIRST && c <= HANGUL_LAST)
        return fold_hangul(c, out);
    if (unicode_is_old_mark(c))
        return 0;
    n = become(&bare, c, out);
    if (n == 0)
        out[n++] = c;
    return n;
}

size_t unicode_fold(uint32_t c, uint32_t out[UNICODE_FORM_MAX])
{
    size_t n;

    if (c < 0x80) {
        out[0] = c >= 'A' && c <= 'Z' ? c + 32 : c;
        return 1;
    }
    n = unicode_bare(c, out);
    for (size_t i = 0; i < n; i++) { /* without its dot U+0130 is a plain I: each becomes one */
        const struct unicode_run *run = run_of(one_lower, COUNT(one_lower), out[i]);

        out[i] += run ? (uint32_t)run->distance : 0;
    }
    return n;
}

/* ---- UTF-8 ---- */

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
