/* SPDX-License-Identifier: Apache-2.0 */
/* jsontext.c - see jsontext.h */
#include "base/jsontext.h"

#include "base/utf8.h"

#include <math.h>
#include <string.h>

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

/* Of [0.0001, 1), where vectors have nearly all of their numbers: nine digits by one product, whose
 * error is nothing to what floats are apart.  So no float rounds up to a tenth digit, either. */
static size_t put_fraction(char *to, double v)
{
    static const double powers[] = {1e9, 1e10, 1e11, 1e12};
    unsigned zeros = (v < 0.1) + (v < 0.01) + (v < 0.001);
    uint32_t digits = (uint32_t)(v * powers[zeros] + 0.5);
    size_t n = 2 + zeros + 9;

    memcpy(to, "0.000", 5);
    for (size_t i = n; i > 2 + zeros; digits /= 10)
        to[--i] = (char)('0' + digits % 10);
    while (to[n - 1] == '0')
        n--;
    return n;
}

void json_put_float(struct buf *out, float v)
{
    double magnitude = fabs((double)v);
    char text[16];
    size_t n = v < 0;

    if (!(magnitude >= 0.0001 && magnitude < 1)) {
        json_put_number(out, (double)v);
        return;
    }
    text[0] = '-';
    n += put_fraction(text + n, magnitude);
    buf_put(out, text, n);
}
