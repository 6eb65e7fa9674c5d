/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - bounded reads of untrusted little-endian bytes.
 *
 * A read past the end gives zeros and marks the reader bad; it never touches memory outside [at,
 * end). Read a record, then ask `bad` once.  Counts that drive a loop must be checked against
 * reader_left() before the loop: a bad reader does not shorten it. */
#ifndef BASE_READER_H
#define BASE_READER_H

#include "base/str.h"

#include <stdint.h>

struct reader {
    const unsigned char *start, *at, *end;
    bool bad;
};

static inline struct reader reader_of(const void *bytes, size_t n)
{
    const unsigned char *at = bytes;

    return (struct reader){at, at, at ? at + n : at, false};
}

static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->at);
}

static inline size_t reader_offset(const struct reader *r)
{
    return (size_t)(r->at - r->start);
}

/* n bytes in place, or NULL (and bad) if there are fewer. */
static inline const void *reader_bytes(struct reader *r, uint64_t n)
{
    const void *at = r->at;

    if (r->bad || n > reader_left(r)) {
        r->bad = true;
        return NULL;
    }
    r->at += n;
    return at;
}

#define READER_INT(name, type)                                  \
    static inline type name(struct reader *r)                   \
    {                                                           \
        const unsigned char *p = reader_bytes(r, sizeof(type)); \
        type v = 0;                                             \
                                                                \
        for (size_t i = 0; p && i < sizeof(type); i++)          \
            v = (type)(v | (type)((type)p[i] << (8 * i)));      \
        return v;                                               \
    }
READER_INT(reader_u8, uint8_t)
READER_INT(reader_u16, uint16_t)
READER_INT(reader_u32, uint32_t)
READER_INT(reader_u64, uint64_t)
#undef READER_INT

static inline float reader_f32(struct reader *r)
{
    uint32_t bits = reader_u32(r);
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static inline double reader_f64(struct reader *r)
{
    uint64_t bits = reader_u64(r);
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

/* Bytes behind a u32 length; empty (and bad) if the length is a lie. */
static inline struct str reader_str(struct reader *r)
{
    uint32_t n = reader_u32(r);
    const char *at = reader_bytes(r, n);

    return at ? (struct str){at, n} : (struct str){"", 0};
}

#endif
