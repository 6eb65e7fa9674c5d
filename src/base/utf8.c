/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.c - see utf8.h */
#include "base/utf8.h"

/* How long the character that begins with `lead` is, and which second bytes it may have: this is
 * where overlong forms, surrogates and the end of Unicode are decided (RFC 3629, section 4). */
static size_t lead_length(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xbf;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *low = 0xa0;
        if (lead == 0xed)
            *high = 0x9f;
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *low = 0x90;
        if (lead == 0xf4)
            *high = 0x8f;
        return 4;
    }
    return 0;
}

/* Bytes at the front of s that belong to one character, whole or not; *whole says which. */
static size_t one(struct str s, bool *whole)
{
    const unsigned char *at = (const unsigned char *)s.at;
    unsigned char low, high;
    size_t n, i;

    *whole = false;
    if (s.len == 0)
        return 0;
    n = lead_length(at[0], &low, &high);
    for (i = 1; i < n; i++) {
        if (i >= s.len || at[i] < low || at[i] > high)
            return i;
        low = 0x80;
        high = 0xbf;
    }
    *whole = n > 0;
    return n ? n : 1;
}

size_t utf8_length(struct str s)
{
    bool whole;
    size_t n = one(s, &whole);

    return whole ? n : 0;
}

size_t utf8_valid_bytes(struct str s)
{
    size_t i = 0, n;

    while (i < s.len) {
        if ((unsigned char)s.at[i] < 0x80) {
            i++;
            continue;
        }
        n = utf8_length((struct str){s.at + i, s.len - i});
        if (n == 0)
            break;
        i += n;
    }
    return i;
}

void utf8_put(struct buf *out, struct str s)
{
    while (s.len > 0) {
        size_t n = utf8_valid_bytes(s);
        bool whole;

        buf_put(out, s.at, n);
        s.at += n;
        s.len -= n;
        if (s.len == 0)
            break;
        n = one(s, &whole);
        buf_puts(out, "\xef\xbf\xbd");
        s.at += n;
        s.len -= n;
    }
}

size_t utf8_count(struct str s)
{
    size_t count = 0;

    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.at[i] & 0xc0) != 0x80;
    return count;
}

uint32_t utf8_code(const char *at, size_t length)
{
    uint32_t code = (unsigned char)at[0];

    if (length > 1)
        code &= 0x7Fu >> length;
    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((unsigned char)at[i] & 0x3Fu);
    return code;
}
