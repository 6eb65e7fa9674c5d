/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors.c - see safetensors.h */
#include "model/safetensors.h"

#include "base/reader.h"
#include "model/jsondoc.h"
#include "model/sortindex.h"
#include "tensor/dtype.h"

#include <inttypes.h>
#include <math.h>

#define NAME_BYTES_MAX 512

static const struct {
    const char *name;
    unsigned bytes;
} types[SAFETENSORS_TYPE_COUNT] = {
    [SAFETENSORS_BOOL] = {"BOOL", 1},       [SAFETENSORS_U8] = {"U8", 1},
    [SAFETENSORS_I8] = {"I8", 1},           [SAFETENSORS_F8_E5M2] = {"F8_E5M2", 1},
    [SAFETENSORS_F8_E4M3] = {"F8_E4M3", 1}, [SAFETENSORS_F8_E8M0] = {"F8_E8M0", 1},
    [SAFETENSORS_I16] = {"I16", 2},         [SAFETENSORS_U16] = {"U16", 2},
    [SAFETENSORS_F16] = {"F16", 2},         [SAFETENSORS_BF16] = {"BF16", 2},
    [SAFETENSORS_I32] = {"I32", 4},         [SAFETENSORS_U32] = {"U32", 4},
    [SAFETENSORS_F32] = {"F32", 4},         [SAFETENSORS_F64] = {"F64", 8},
    [SAFETENSORS_I64] = {"I64", 8},         [SAFETENSORS_U64] = {"U64", 8},
};

const char *safetensors_type_name(enum safetensors_type type)
{
    return types[type].name;
}

unsigned safetensors_type_bytes(enum safetensors_type type)
{
    return types[type].bytes;
}

/* What is being read: the bytes behind the header, and how errors begin. */
struct reading {
    struct str data;
    const char *name;
    struct llmos_error *err;
};

static int read_type(const struct reading *r, struct jdoc_ref entry, struct safetensors_tensor *t)
{
    struct str dtype = jdoc_text(jdoc_get(entry, "dtype"));

    for (unsigned i = 0; dtype.at && i < SAFETENSORS_TYPE_COUNT; i++)
        if (str_is(dtype, types[i].name)) {
            t->type = i;
            return 0;
        }
    if (!dtype.at)
        return fail(r->err, LLMOS_EFORMAT, "'%s': tensor '%.*s' has no dtype", r->name,
                    STR_ARG(t->name));
    return fail(r->err, LLMOS_EUNSUPPORTED,
                "'%s': tensor '%.*s' has dtype '%.*s', which nobody "
                "has heard of",
                r->name, STR_ARG(t->name), (int)(dtype.len & 0x3f), dtype.at);
}

static int read_shape(const struct reading *r, struct jdoc_ref entry, struct safetensors_tensor *t)
{
    struct jdoc_ref shape = jdoc_get(entry, "shape");

    if (!jdoc_is(shape, JDOC_ARRAY) || jdoc_count(shape) > SAFETENSORS_DIMS_MAX)
        return fail(r->err, LLMOS_EFORMAT,
                    "'%s': the shape of tensor '%.*s' is not an array of at most %d numbers",
                    r->name, STR_ARG(t->name), SAFETENSORS_DIMS_MAX);
    t->values = 1;
    for (struct jdoc_ref v = jdoc_first(shape, NULL); jdoc_at(v); v = jdoc_next(shape, v, NULL)) {
        int64_t n;

        if (!jdoc_integer(v, &n) || n < 0 ||
            __builtin_mul_overflow(t->values, (uint64_t)n, &t->values) || t->values > INT64_MAX / 8)
            return fail(r->err, LLMOS_EFORMAT,
                        "'%s': a side of tensor '%.*s' is negative, no number or too large",
                        r->name, STR_ARG(t->name));
        t->shape[t->n_dims++] = (uint64_t)n;
    }
    t->bytes = t->values * types[t->type].bytes;
    return 0;
}

static int read_place(const struct reading *r, struct jdoc_ref entry, struct safetensors_tensor *t)
{
    struct jdoc_ref offsets = jdoc_get(entry, "data_offsets"), first = jdoc_first(offsets, NULL);
    int64_t from = -1, to = -1;

    if (jdoc_is(offsets, JDOC_ARRAY) && jdoc_count(offsets) == 2) {
        jdoc_integer(first, &from);
        jdoc_integer(jdoc_next(offsets, first, NULL), &to);
    }
    if (from < 0 || to < from)
        return fail(r->err, LLMOS_EFORMAT,
                    "'%s': the data_offsets of tensor '%.*s' are not two numbers that ascend",
                    r->name, STR_ARG(t->name));
    if ((uint64_t)to > r->data.len)
        return fail(r->err, LLMOS_EFORMAT,
                    "'%s': tensor '%.*s' ends at byte %" PRId64 " of the values, there are %zu",
                    r->name, STR_ARG(t->name), to, r->data.len);
    if ((uint64_t)(to - from) != t->bytes)
        return fail(r->err, LLMOS_EFORMAT,
                    "'%s': tensor '%.*s' has %" PRId64 " bytes, its shape and type need %" PRIu64,
                    r->name, STR_ARG(t->name), to - from, t->bytes);
    t->data = (const unsigned char *)r->data.at + from;
    return 0;
}

static int read_tensor(const struct reading *r, struct str name, struct jdoc_ref entry,
                       struct safetensors_tensor *t)
{
    int rc;

    t->name = name;
    if (name.len == 0 || name.len > NAME_BYTES_MAX)
        return fail(r->err, LLMOS_EFORMAT,
                    "'%s': a tensor's name has %zu bytes, 1 to %d are possible", r->name, name.len,
                    NAME_BYTES_MAX);
    if (!jdoc_is(entry, JDOC_OBJECT))
        return fail(r->err, LLMOS_EFORMAT, "'%s': tensor '%.*s' is described by %s, not an object",
                    r->name, STR_ARG(name), jdoc_type_name(entry));
    rc = read_type(r, entry, t);
    if (rc == 0)
        rc = read_shape(r, entry, t);
    return rc < 0 ? rc : read_place(r, entry, t);
}

static bool place_before(const void *table, uint32_t a, uint32_t b)
{
    const struct safetensors_tensor *x = (const struct safetensors_tensor *)table + a;
    const struct safetensors_tensor *y = (const struct safetensors_tensor *)table + b;

    return x->data != y->data ? x->data < y->data : x->bytes < y->bytes;
}

/* As its own library demands: each byte of the values belongs to one tensor. */
static int check_places(const struct reading *r, const struct safetensors *s, struct arena *arena)
{
    uint32_t *order = arena_array(arena, uint32_t, s->count);
    const unsigned char *at = (const unsigned char *)r->data.at;

    if (!order)
        return fail(r->err, LLMOS_ENOMEM, "'%s': no memory for %" PRIu32 " tensors", r->name,
                    s->count);
    for (uint32_t i = 0; i < s->count; i++)
        order[i] = i;
    sortindex(order, s->count, place_before, s->tensors);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct safetensors_tensor *t = &s->tensors[order[i]];

        if (t->data != at)
            return fail(r->err, LLMOS_EFORMAT, "'%s': tensor '%.*s' %s", r->name, STR_ARG(t->name),
                        t->data < at ? "overlaps another one" : "lies behind bytes of no tensor");
        at += t->bytes;
    }
    if (at != (const unsigned char *)r->data.at + r->data.len)
        return fail(r->err, LLMOS_EFORMAT, "'%s': the last bytes belong to no tensor", r->name);
    return 0;
}

static int read_header(struct safetensors *s, struct arena *arena, const struct reading *r,
                       struct jdoc_ref root)
{
    uint32_t most = jdoc_count(root);
    struct str key;

    if (!jdoc_is(root, JDOC_OBJECT))
        return fail(r->err, LLMOS_EFORMAT, "'%s': its header is not an object", r->name);
    if (most > SAFETENSORS_TENSORS_MAX)
        return fail(r->err, LLMOS_ELIMIT, "'%s': %" PRIu32 " tensors, at most %u are accepted",
                    r->name, most, SAFETENSORS_TENSORS_MAX);
    s->tensors = arena_array(arena, struct safetensors_tensor, most);
    if (!s->tensors)
        return fail(r->err, LLMOS_ENOMEM, "'%s': no memory for %" PRIu32 " tensors", r->name, most);
    for (struct jdoc_ref v = jdoc_first(root, &key); jdoc_at(v); v = jdoc_next(root, v, &key)) {
        int rc;

        if (str_is(key, "__metadata__"))
            continue;
        rc = read_tensor(r, key, v, &s->tensors[s->count++]);
        if (rc < 0)
            return rc;
    }
    return check_places(r, s, arena);
}

int safetensors_parse(struct safetensors *s, struct arena *arena, struct str file, const char *name,
                      struct llmos_error *err)
{
    struct reader bytes = reader_of(file.at, file.len);
    uint64_t length = reader_u64(&bytes);
    struct safetensors made = {.tensors = NULL};
    struct reading r = {.name = name, .err = err};
    struct jsondoc header;
    int rc;

    if (bytes.bad || length > reader_left(&bytes))
        return fail(err, LLMOS_EFORMAT,
                    "'%s' is not a safetensors file: its header should have %" PRIu64
                    " bytes, the file has %zu; is the download complete?",
                    name, length, file.len);
    if (length > SAFETENSORS_HEADER_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "'%s': its header has %" PRIu64 " bytes, at most %u are accepted", name, length,
                    SAFETENSORS_HEADER_MAX);
    r.data = (struct str){file.at + 8 + length, file.len - 8 - length};
    rc = jsondoc_parse(&header, arena, (struct str){file.at + 8, length}, name, err);
    if (rc == 0)
        rc = read_header(&made, arena, &r, jdoc_root(&header));
    if (rc == 0)
        *s = made;
    return rc;
}

/* ---- values ---- */

/* 1 sign, 4 bits of exponent less 7, 3 of mantissa; no infinity, one NaN. */
static float e4m3_to_f32(uint8_t b)
{
    uint32_t magnitude = b & 0x7f, bits = (uint32_t)(b & 0x80) << 24;
    float f;

    if (magnitude < 8) /* a multiple of 2^-9 */
        return (b & 0x80 ? -0x1p-9f : 0x1p-9f) * (float)magnitude;
    bits |= magnitude == 0x7f ? 0x7fc00000 : ((magnitude << 20) + (120u << 23));
    memcpy(&f, &bits, sizeof(f));
    return f;
}

static float value_at(enum safetensors_type type, const unsigned char *at)
{
    uint16_t half;
    double d;
    float f;

    switch (type) {
    case SAFETENSORS_F32:
        memcpy(&f, at, sizeof(f));
        return f;
    case SAFETENSORS_F64:
        memcpy(&d, at, sizeof(d));
        return (float)d;
    case SAFETENSORS_F16:
        memcpy(&half, at, sizeof(half));
        return f16_to_f32(half);
    case SAFETENSORS_BF16:
        memcpy(&half, at, sizeof(half));
        return bf16_to_f32(half);
    case SAFETENSORS_F8_E4M3:
        return e4m3_to_f32(*at);
    case SAFETENSORS_F8_E8M0:
        return 2 * mxfp4_scale(*at);
    default:
        return NAN;
    }
}

void safetensors_read(const struct safetensors_tensor *t, uint64_t at, uint64_t step, float *out,
                      size_t n)
{
    uint64_t width = safetensors_type_bytes(t->type);
    const unsigned char *from = t->data + at * width;

    for (size_t i = 0; i < n; i++, from += step * width)
        out[i] = value_at(t->type, from);
}
