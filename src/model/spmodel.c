/* SPDX-License-Identifier: Apache-2.0 */
/* spmodel.c - see spmodel.h */
#include "model/spmodel.h"

#include "base/reader.h"

#include <math.h>

#define PIECES_MAX (4u << 20)

enum wire { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_32 = 5 };

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value; /* of a varint or a fixed number */
    struct str bytes;
};

static uint64_t varint(struct reader *r)
{
    uint64_t v = 0;

    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = reader_u8(r);

        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return v;
    }
    r->bad = true;
    return 0;
}

/* False at the end, and if the bytes are no message: then the reader is bad. */
static bool next_field(struct reader *r, struct field *f)
{
    uint64_t tag;

    if (r->bad || reader_left(r) == 0)
        return false;
    tag = varint(r);
    f->number = (uint32_t)(tag >> 3);
    f->wire = (enum wire)(tag & 7);
    f->value = 0;
    f->bytes = (struct str){NULL, 0};
    if (f->wire == WIRE_VARINT) {
        f->value = varint(r);
    } else if (f->wire == WIRE_64) {
        f->value = reader_u64(r);
    } else if (f->wire == WIRE_32) {
        f->value = reader_u32(r);
    } else if (f->wire == WIRE_BYTES) {
        f->bytes.len = varint(r);
        f->bytes.at = reader_bytes(r, f->bytes.len);
    } else {
        r->bad = true;
    }
    r->bad |= tag >> 3 == 0 || tag >> 3 > UINT32_MAX;
    return !r->bad;
}

static bool read_piece(struct str bytes, struct str *text, float *score, uint32_t *kind)
{
    struct reader r = reader_of(bytes.at, bytes.len);
    struct field f;
    uint32_t bits;

    *text = (struct str){"", 0};
    *score = 0;
    *kind = 1;
    while (next_field(&r, &f)) {
        if (f.number == 1 && f.wire == WIRE_BYTES)
            *text = f.bytes;
        if (f.number == 2 && f.wire == WIRE_32) {
            bits = (uint32_t)f.value;
            memcpy(score, &bits, sizeof(*score));
        }
        if (f.number == 3 && f.wire == WIRE_VARINT)
            *kind = f.value <= 6 ? (uint32_t)f.value : 0;
    }
    return !r.bad && isfinite(*score) && *kind >= 1;
}

static bool read_normalizer(struct spmodel *m, struct str bytes)
{
    struct reader r = reader_of(bytes.at, bytes.len);
    struct field f;

    while (next_field(&r, &f)) {
        if (f.number == 2 && f.wire == WIRE_BYTES)
            m->charsmap = f.bytes;
        if (f.number == 3 && f.wire == WIRE_VARINT)
            m->adds_prefix = f.value != 0;
        if (f.number == 4 && f.wire == WIRE_VARINT)
            m->removes_spaces = f.value != 0;
    }
    return !r.bad;
}

static bool read_trainer(struct spmodel *m, struct str bytes)
{
    struct reader r = reader_of(bytes.at, bytes.len);
    struct field f;

    while (next_field(&r, &f))
        if (f.number == 3 && f.wire == WIRE_VARINT)
            m->model_type = f.value <= 4 ? (uint32_t)f.value : 0;
    return !r.bad;
}

static int broken(struct llmos_error *err)
{
    return fail(err, LLMOS_EFORMAT, "'tokenizer.model' is not a SentencePiece model");
}

int spmodel_read(struct spmodel *m, struct str bytes, spmodel_piece piece, void *arg,
                 struct llmos_error *err)
{
    struct spmodel made = {.model_type = 1, .adds_prefix = true, .removes_spaces = true};
    struct reader r = reader_of(bytes.at, bytes.len);
    struct field f;

    while (next_field(&r, &f)) {
        struct str text;
        float score;
        uint32_t kind;
        int rc = 0;

        if (f.wire != WIRE_BYTES)
            continue;
        if ((f.number == 2 && !read_trainer(&made, f.bytes)) ||
            (f.number == 3 && !read_normalizer(&made, f.bytes)))
            return broken(err);
        if (f.number != 1)
            continue;
        if (!read_piece(f.bytes, &text, &score, &kind))
            return broken(err);
        if (made.count == PIECES_MAX)
            return fail(err, LLMOS_ELIMIT, "'tokenizer.model' has more than %u pieces", PIECES_MAX);
        rc = piece(arg, made.count++, text, score, kind, err);
        if (rc < 0)
            return rc;
    }
    if (r.bad || made.count == 0)
        return broken(err);
    *m = made;
    return 0;
}
