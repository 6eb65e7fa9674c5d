/* SPDX-License-Identifier: Apache-2.0 */
/* chars.c - see chars.h */
#include "model/chars.h"

size_t chars_length(const char *text, size_t left)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned low = 0x80, high = 0xbf; /* of the second byte */
    size_t n;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0)
        low = 0xa0;
    if (s[0] == 0xed)
        high = 0x9f;
    if (s[0] == 0xf0)
        low = 0x90;
    if (s[0] == 0xf4)
        high = 0x8f;
    if (n > left || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

void chars_put_valid(struct buf *out, struct str text)
{
    size_t good = 0; /* bytes at the front that are known to be valid and not yet put */

    while (good < text.len) {
        size_t n = chars_length(text.at + good, text.len - good);

        if (n == 0) {
            buf_put(out, text.at, good);
            buf_puts(out, "\xef\xbf\xbd");
            text.at += good + 1;
            text.len -= good + 1;
            good = 0;
        }
        good += n;
    }
    buf_put(out, text.at, good);
}

void chars_clean(char *out, size_t room, struct str text)
{
    size_t used = 0;

    for (size_t i = 0; i < text.len;) {
        const unsigned char *s = (const unsigned char *)text.at + i;
        size_t n = chars_length(text.at + i, text.len - i);
        bool is_control =
            n == 1 ? s[0] < 0x20 || s[0] == 0x7f : n == 2 && s[0] == 0xc2 && s[1] < 0xa0;

        if (used + (n ? n : 1) >= room)
            break;
        if (n == 0 || is_control)
            out[used++] = '?';
        else
            for (size_t j = 0; j < n; j++)
                out[used++] = (char)s[j];
        i += n ? n : 1;
    }
    out[used] = '\0';
}
