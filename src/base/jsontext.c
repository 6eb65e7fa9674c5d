/* SPDX-License-Identifier: Apache-2.0 */
/* jsontext.c - see jsontext.h */
#include "base/jsontext.h"

#include "base/utf8.h"

#include <math.h>

static void put_escaped(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    const char *named = c == '"'    ? "\\\""
                        : c == '\\' ? "\\\\"
                        : c == '\n' ? "\\n"
                        : c == '\r' ? "\\r"
                        : c == '\t' ? "\\t"
                                    : NULL;

    if (named)
        buf_put(out, named, 2);
    else
        buf_put(out, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

void json_put_string(struct buf *out, struct str s)
{
    size_t from = 0, i;

    buf_putc(out, '"');
    for (i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f)
            continue;
        utf8_put(out, (struct str){s.at + from, i - from});
        put_escaped(out, c);
        from = i + 1;
    }
    utf8_put(out, (struct str){s.at + from, i - from});
    buf_putc(out, '"');
}

void json_put_number(struct buf *out, double v)
{
    if (!isfinite(v))
        v = v > 0 ? 9999.0 : -9999.0;
    buf_printf(out, "%.9g", v);
}
