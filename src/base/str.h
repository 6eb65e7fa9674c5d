/* SPDX-License-Identifier: Apache-2.0 */
/* str.h - a slice of bytes that somebody else owns; not zero-terminated. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *at;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
/* For printf("%.*s"): cut at INT_MAX, which no caller reaches. */
#define STR_ARG(s) (int)((s).len > 0x7fffffff ? 0x7fffffff : (s).len), (s).at

static inline struct str str_of(const char *text)
{
    return (struct str){text, strlen(text)};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline bool str_is(struct str a, const char *text)
{
    return str_eq(a, str_of(text));
}

static inline bool str_starts(struct str a, struct str prefix)
{
    return a.len >= prefix.len && memcmp(a.at, prefix.at, prefix.len) == 0;
}

static inline bool str_ends(struct str a, struct str end)
{
    return a.len >= end.len && memcmp(a.at + a.len - end.len, end.at, end.len) == 0;
}

static inline bool str_before(struct str a, struct str b)
{
    int c = memcmp(a.at, b.at, a.len < b.len ? a.len : b.len);

    return c != 0 ? c < 0 : a.len < b.len;
}

#endif
