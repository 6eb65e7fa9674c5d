/* SPDX-License-Identifier: Apache-2.0 */
/* charset.c - see charset.h */
#include "sched/charset.h"

void charset_add(struct charset *s, uint32_t low, uint32_t high)
{
    if (s->count == CHARSET_RANGES_MAX)
        s->is_full = true;
    else
        s->at[s->count++] = (struct charset_range){low, high};
}

/* In order and apart.  Few: an insertion sort. */
static void join(struct charset *s)
{
    size_t kept = 0;

    for (size_t i = 1; i < s->count; i++)
        for (size_t k = i; k > 0 && s->at[k].low < s->at[k - 1].low; k--) {
            struct charset_range swap = s->at[k];

            s->at[k] = s->at[k - 1];
            s->at[k - 1] = swap;
        }
    for (size_t i = 0; i < s->count; i++) {
        if (kept && s->at[i].low <= s->at[kept - 1].high + 1) {
            if (s->at[i].high > s->at[kept - 1].high)
                s->at[kept - 1].high = s->at[i].high;
        } else {
            s->at[kept++] = s->at[i];
        }
    }
    s->count = kept;
}

static void invert(struct charset *s)
{
    struct charset was = *s;
    uint32_t next = 0;

    join(&was);
    *s = (struct charset){.is_full = was.is_full};
    for (size_t i = 0; i < was.count; i++) {
        if (was.at[i].low > next)
            charset_add(s, next, was.at[i].low - 1);
        next = was.at[i].high + 1;
    }
    if (next <= CHARSET_CODE_MAX)
        charset_add(s, next, CHARSET_CODE_MAX);
}

static void remove_range(struct charset *s, uint32_t low, uint32_t high)
{
    invert(s);
    charset_add(s, low, high);
    invert(s);
}

void charset_tidy(struct charset *s)
{
    remove_range(s, 0xD800, 0xDFFF);
}

void charset_negate(struct charset *s)
{
    invert(s);
    charset_tidy(s);
}

bool charset_has(const struct charset *s, uint32_t c)
{
    for (size_t i = 0; i < s->count; i++)
        if (c >= s->at[i].low && c <= s->at[i].high)
            return true;
    return false;
}

/* --- what is written --- */

static void put_code(struct buf *out, uint32_t c)
{
    bool is_plain =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == ' ';

    if (is_plain)
        buf_putc(out, (char)c);
    else
        buf_printf(out, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
}

bool charset_put(struct buf *out, const struct charset *s)
{
    if (s->count == 0)
        return false;
    buf_putc(out, '[');
    for (size_t i = 0; i < s->count; i++) {
        put_code(out, s->at[i].low);
        if (s->at[i].low < s->at[i].high) {
            buf_putc(out, '-');
            put_code(out, s->at[i].high);
        }
    }
    buf_putc(out, ']');
    return true;
}

/* A control character without a short name is written only where the set has nothing else: nobody
 * wants it. */
bool charset_put_json(struct buf *out, const struct charset *s)
{
    static const char codes[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    struct charset raw = *s;
    char short_names[8];
    size_t count = 0;
    bool any;

    if (s->count == 0)
        return false;
    for (size_t i = 0; i < sizeof(codes) - 1; i++)
        if (charset_has(s, (unsigned char)codes[i]))
            short_names[count++] = names[i];
    remove_range(&raw, 0, 0x1F);
    remove_range(&raw, '"', '"');
    remove_range(&raw, '\\', '\\');
    buf_putc(out, '(');
    any = charset_put(out, &raw);
    if (count) {
        buf_puts(out, any ? " | \"\\\\\" [" : "\"\\\\\" [");
        for (size_t i = 0; i < count; i++)
            put_code(out, (unsigned char)short_names[i]);
        buf_putc(out, ']');
        any = true;
    }
    for (uint32_t c = 0; c < 0x20 && !any; c++)
        if (charset_has(s, c)) {
            buf_printf(out, "\"\\\\u%04x\"", c);
            any = true;
        }
    buf_putc(out, ')');
    return true;
}
