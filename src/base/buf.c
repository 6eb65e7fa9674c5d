/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - see buf.h */
#include "base/buf.h"

#include "base/mem.h"

#include <stdio.h>

void buf_init(struct buf *b, size_t limit_bytes)
{
    *b = (struct buf){.limit_bytes = limit_bytes};
}

void buf_fini(struct buf *b)
{
    mem_free(b->at);
    *b = (struct buf){.limit_bytes = b->limit_bytes};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->bad = b->too_large = false;
    if (b->at)
        b->at[0] = '\0';
}

char *buf_reserve(struct buf *b, size_t n)
{
    size_t room;
    char *grown;

    if (b->bad)
        return NULL;
    if (n > b->limit_bytes - b->len) {
        b->bad = b->too_large = true;
        return NULL;
    }
    if (b->at && n < b->room - b->len) /* strictly less: the zero byte */
        return b->at + b->len;
    room = b->room < 64 ? 64 : b->room;
    while (room <= b->len + n)
        room += room / 2;
    grown = mem_resize(b->at, room, 1);
    if (!grown) {
        b->bad = true;
        return NULL;
    }
    b->at = grown;
    b->room = room;
    return b->at + b->len;
}

void buf_put(struct buf *b, const void *bytes, size_t n)
{
    char *at = buf_reserve(b, n);

    if (!at)
        return;
    if (n)
        memcpy(at, bytes, n);
    b->len += n;
    b->at[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *text)
{
    buf_put(b, text, strlen(text));
}

void buf_putc(struct buf *b, char c)
{
    buf_put(b, &c, 1);
}

void buf_vprintf(struct buf *b, const char *format, va_list args)
{
    va_list again;
    int n;

    va_copy(again, args);
    n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (n < 0 || !buf_reserve(b, (size_t)n)) {
        b->bad = true;
        return;
    }
    vsnprintf(b->at + b->len, (size_t)n + 1, format, args);
    b->len += (size_t)n;
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    buf_vprintf(b, format, args);
    va_end(args);
}

void buf_drop(struct buf *b, size_t n)
{
    if (n == 0)
        return;
    memmove(b->at, b->at + n, b->len - n + 1);
    b->len -= n;
}

void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}

void buf_put_u16(struct buf *b, uint16_t v)
{
    buf_put(b, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8)}, 2);
}

void buf_put_u32(struct buf *b, uint32_t v)
{
    buf_put_u16(b, (uint16_t)v);
    buf_put_u16(b, (uint16_t)(v >> 16));
}

void buf_put_u64(struct buf *b, uint64_t v)
{
    buf_put_u32(b, (uint32_t)v);
    buf_put_u32(b, (uint32_t)(v >> 32));
}

void buf_put_f32(struct buf *b, float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    buf_put_u32(b, bits);
}

void buf_put_str(struct buf *b, struct str s)
{
    if (s.len > UINT32_MAX) {
        b->bad = b->too_large = true;
        return;
    }
    buf_put_u32(b, (uint32_t)s.len);
    buf_put(b, s.at, s.len);
}

int buf_check(const struct buf *b, const char *what, struct llmos_error *err)
{
    if (!b->bad)
        return 0;
    if (b->too_large)
        return fail(err, LLMOS_ELIMIT, "%s is larger than %zu bytes", what, b->limit_bytes);
    return fail(err, LLMOS_ENOMEM, "no memory for %s", what);
}
