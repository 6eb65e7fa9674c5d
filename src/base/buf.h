/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - growing bytes with a stated maximum.
 *
 * A buffer that cannot grow (no memory, or past its limit) becomes "bad": it keeps what it had,
 * ignores further puts and says so at the end, so that twenty puts need one check.  The data is
 * always followed by a zero byte that does not count.  One thread at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/fail.h"
#include "base/str.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

struct buf {
    char *at; /* NULL until the first put */
    size_t len, room, limit_bytes;
    bool bad;
    bool too_large; /* why it is bad: its limit rather than memory */
};

void buf_init(struct buf *b, size_t limit_bytes);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* empty and good again, the memory stays */

void buf_put(struct buf *b, const void *bytes, size_t n);
void buf_puts(struct buf *b, const char *text);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
void buf_vprintf(struct buf *b, const char *format, va_list args) PRINTF_LIKE(2, 0);
/* Room for n more bytes, to be filled by the caller, who then adds n to len; NULL if bad. */
char *buf_reserve(struct buf *b, size_t n);
void buf_drop(struct buf *b, size_t n); /* removes the first n bytes */

/* Little-endian integers and length-prefixed bytes (u32 length), as frames and files want them. */
void buf_put_u8(struct buf *b, uint8_t v);
void buf_put_u16(struct buf *b, uint16_t v);
void buf_put_u32(struct buf *b, uint32_t v);
void buf_put_u64(struct buf *b, uint64_t v);
void buf_put_f32(struct buf *b, float v);
void buf_put_str(struct buf *b, struct str s);

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->at ? b->at : "", b->len};
}

/* 0, or LLMOS_ENOMEM / LLMOS_ELIMIT with a sentence that names the thing. */
int buf_check(const struct buf *b, const char *what, struct llmos_error *err);

static inline void cleanup_buf(struct buf *b)
{
    buf_fini(b);
}

#endif
