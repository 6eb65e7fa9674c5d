/* SPDX-License-Identifier: Apache-2.0 */
/* clean.c - see clean.h */
#include "model/clean.h"

#include "base/utf8.h"

void clean_name(char *out, size_t room, struct str text)
{
    size_t used = 0;

    for (size_t i = 0; i < text.len;) {
        const unsigned char *s = (const unsigned char *)text.at + i;
        size_t n = utf8_length((struct str){text.at + i, text.len - i});
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
