/* SPDX-License-Identifier: Apache-2.0 */
/* gguf.c - see gguf.h */
#include "model/gguf.h"

#include "base/mem.h"
#include "base/reader.h"
#include "model/sortindex.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>

#define ALIGNMENT_DEFAULT 32
#define ALIGNMENT_MIN     8         /* the format says a multiple of 8; kernels count on 4 */
#define ALIGNMENT_MAX     (1 << 24) /* the largest page size of any processor we run on */
#define KEY_BYTES_MAX     65535     /* the format's own maximum */
#define NAME_BYTES_MAX    255       /* the format says 64; some writers are longer */

/* What a sparse file of terabytes could otherwise make us walk and allocate.  Published files have
 * some thousand tensors, about 50 keys and up to 300 thousand strings. */
#define VALUES_MAX  (1u << 20)
#define TENSORS_MAX (1u << 20)
#define STRINGS_MAX (1u << 24)

/* The fewest bytes that one value and one tensor take in a file: they bound the counts. */
#define VALUE_BYTES_MIN  (8 + 1 + 4 + 1)
#define TENSOR_BYTES_MIN (8 + 1 + 4 + 8 + 4 + 8)

static const struct {
    const char *name;
    unsigned bytes; /* 0: not of one size */
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

/* Block geometry of every ggml type, also of those that we cannot compute with: their place in the
 * file is checked all the same.  Values per block, bytes per block. */
static const struct {
    uint16_t values, bytes;
} blocks[] = {
    [0] = {1, 4},      [1] = {1, 2},      [2] = {32, 18},    [3] = {32, 20},    [6] = {32, 22},
    [7] = {32, 24},    [8] = {32, 34},    [9] = {32, 36},    [10] = {256, 84},  [11] = {256, 110},
    [12] = {256, 144}, [13] = {256, 176}, [14] = {256, 210}, [15] = {256, 292}, [16] = {256, 66},
    [17] = {256, 74},  [18] = {256, 98},  [19] = {256, 50},  [20] = {32, 18},   [21] = {256, 110},
    [22] = {256, 82},  [23] = {256, 136}, [24] = {1, 1},     [25] = {1, 2},     [26] = {1, 4},
    [27] = {1, 8},     [28] = {1, 8},     [29] = {256, 56},  [30] = {1, 2},     [34] = {256, 54},
    [35] = {256, 66},  [39] = {32, 17},
};

const char *gguf_type_name(enum gguf_type t)
{
    return (unsigned)t < GGUF_TYPE_COUNT ? types[t].name : "unknown";
}

size_t gguf_type_bytes(enum gguf_type t)
{
    return (unsigned)t < GGUF_TYPE_COUNT ? types[t].bytes : 0;
}

/* ---- header ---- */

static int check_magic(const unsigned char *at, size_t n, struct llmos_error *err)
{
    uint32_t version;

    if (n < 24)
        return fail(err, LLMOS_EFORMAT, "not a GGUF file: %zu bytes are too few for its header", n);
    if (memcmp(at, "tjgg", 4) == 0 || memcmp(at, "lmgg", 4) == 0 || memcmp(at, "fmgg", 4) == 0)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "the file has the old GGML format; convert it to GGUF version 3");
    if (memcmp(at, "GGUF", 4) != 0)
        return fail(err, LLMOS_EFORMAT,
                    "not a GGUF file: it begins with bytes %02x %02x %02x %02x, not with 'GGUF'",
                    at[0], at[1], at[2], at[3]);
    version =
        (uint32_t)at[4] | (uint32_t)at[5] << 8 | (uint32_t)at[6] << 16 | (uint32_t)at[7] << 24;
    if (version != 0 && (version & 0xffff) == 0)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "the file is big-endian; convert it to little-endian GGUF version 3");
    if (version == 1)
        return fail(err, LLMOS_EUNSUPPORTED,
                    "GGUF version 1 is not supported; convert the file to version 3");
    if (version != 2 && version != 3)
        return fail(err, LLMOS_EUNSUPPORTED, "GGUF version %" PRIu32 ", supported are 2 and 3",
                    version);
    return 0;
}

static int check_count(const char *what, uint64_t count, uint64_t max, size_t left,
                       size_t bytes_min, struct llmos_error *err)
{
    if (count > left / bytes_min)
        return fail(err, LLMOS_EFORMAT,
                    "the header promises %" PRIu64 " %s, the %zu bytes behind it hold at most %zu",
                    count, what, left, left / bytes_min);
    if (count > max)
        return fail(err, LLMOS_ELIMIT, "%" PRIu64 " %s, at most %" PRIu64 " are accepted", count,
                    what, max);
    return 0;
}

/* ---- values ---- */

static struct str read_str(struct reader *r)
{
    uint64_t n = reader_u64(r);
    const char *at = reader_bytes(r, n);

    return at ? (struct str){at, n} : (struct str){"", 0};
}

static int cut_in(const struct reader *r, struct str key, struct llmos_error *err)
{
    return fail(err, LLMOS_EFORMAT, "the file ends at byte %zu, in the middle of key '%.*s'",
                (size_t)(r->end - r->start), STR_ARG(key));
}

static int read_array(struct gguf *g, struct reader *r, struct str key, struct gguf_array *a,
                      struct llmos_error *err)
{
    uint32_t type = reader_u32(r);
    uint64_t *offsets;

    a->count = reader_u64(r);
    if (r->bad)
        return cut_in(r, key, err);
    if (type == GGUF_ARRAY)
        return fail(err, LLMOS_EUNSUPPORTED, "key '%.*s' is an array of arrays", STR_ARG(key));
    if (type >= GGUF_TYPE_COUNT)
        return fail(err, LLMOS_EFORMAT, "key '%.*s' is an array of unknown type %" PRIu32,
                    STR_ARG(key), type);
    a->type = type;
    a->at = r->at;
    if (a->count > reader_left(r) / (type == GGUF_STRING ? 8 : types[type].bytes))
        return fail(err, LLMOS_EFORMAT,
                    "key '%.*s' promises %" PRIu64 " elements, %zu bytes are left", STR_ARG(key),
                    a->count, reader_left(r));
    if (type != GGUF_STRING) {
        reader_bytes(r, a->count * types[type].bytes);
        return 0;
    }
    if (a->count > STRINGS_MAX)
        return fail(err, LLMOS_ELIMIT,
                    "key '%.*s' has %" PRIu64 " strings, at most %u are accepted", STR_ARG(key),
                    a->count, STRINGS_MAX);
    a->string_offsets = offsets = arena_array(&g->arena, uint64_t, a->count);
    if (!offsets)
        return fail(err, LLMOS_ENOMEM, "no memory for the %" PRIu64 " strings of key '%.*s'",
                    a->count, STR_ARG(key));
    for (uint64_t i = 0; i < a->count; i++) {
        offsets[i] = (uint64_t)(r->at - a->at);
        read_str(r);
        if (r->bad)
            return fail(err, LLMOS_EFORMAT,
                        "string %" PRIu64 " of key '%.*s' is longer than the file", i,
                        STR_ARG(key));
    }
    return 0;
}

static int read_payload(struct gguf *g, struct reader *r, struct gguf_value *v,
                        struct llmos_error *err)
{
    switch (v->type) {
    case GGUF_U8:
        v->u = reader_u8(r);
        return 0;
    case GGUF_I8:
        v->i = (int8_t)reader_u8(r);
        return 0;
    case GGUF_U16:
        v->u = reader_u16(r);
        return 0;
    case GGUF_I16:
        v->i = (int16_t)reader_u16(r);
        return 0;
    case GGUF_U32:
        v->u = reader_u32(r);
        return 0;
    case GGUF_I32:
        v->i = (int32_t)reader_u32(r);
        return 0;
    case GGUF_F32:
        v->f = (double)reader_f32(r);
        return 0;
    case GGUF_BOOL:
        v->u = reader_u8(r);
        if (v->u > 1)
            return fail(err, LLMOS_EFORMAT, "key '%.*s' is %" PRIu64 ", a bool is 0 or 1",
                        STR_ARG(v->key), v->u);
        return 0;
    case GGUF_STRING:
        v->s = read_str(r);
        return 0;
    case GGUF_ARRAY:
        return read_array(g, r, v->key, &v->a, err);
    case GGUF_U64:
        v->u = reader_u64(r);
        return 0;
    case GGUF_I64:
        v->i = (int64_t)reader_u64(r);
        return 0;
    case GGUF_F64:
        v->f = reader_f64(r);
        return 0;
    default:
        return fail(err, LLMOS_EFORMAT, "key '%.*s' has unknown type %u", STR_ARG(v->key),
                    (unsigned)v->type);
    }
}

static int read_value(struct gguf *g, struct reader *r, struct gguf_value *v, size_t i,
                      struct llmos_error *err)
{
    int rc;

    v->key = read_str(r);
    if (r->bad || v->key.len == 0 || v->key.len > KEY_BYTES_MAX)
        return fail(err, LLMOS_EFORMAT, "key %zu of %zu is empty, too long or cut off", i,
                    g->value_count);
    v->type = reader_u32(r);
    if (r->bad)
        return cut_in(r, v->key, err);
    rc = read_payload(g, r, v, err);
    if (rc < 0)
        return rc;
    return r->bad ? cut_in(r, v->key, err) : 0;
}

/* ---- tensors ---- */

/* Bytes of the tensor if the type is known; checks that neither the number of values nor of bytes
 * wraps and that rows are whole blocks. */
static int measure(struct gguf_tensor *t, struct llmos_error *err)
{
    uint64_t values = 1;
    uint64_t per_block = 0, block_bytes = 0;

    for (unsigned d = 0; d < TENSOR_DIMS_MAX; d++)
        if (__builtin_mul_overflow(values, (uint64_t)t->t.shape[d], &values) || values > INT64_MAX)
            return fail(err, LLMOS_EFORMAT, "tensor '%.*s' has more values than 64 bits can count",
                        STR_ARG(t->name));
    if (t->type_id < sizeof(blocks) / sizeof(blocks[0])) {
        per_block = blocks[t->type_id].values;
        block_bytes = blocks[t->type_id].bytes;
    }
    if (per_block == 0)
        return 0; /* unheard of: listed, never touched */
    if (t->t.shape[0] % per_block != 0)
        return fail(err, LLMOS_EFORMAT,
                    "tensor '%.*s' has rows of %zu values, its type needs a multiple of %" PRIu64,
                    STR_ARG(t->name), t->t.shape[0], per_block);
    if (__builtin_mul_overflow(values / per_block, block_bytes, &t->bytes))
        return fail(err, LLMOS_EFORMAT, "tensor '%.*s' has more bytes than 64 bits can count",
                    STR_ARG(t->name));
    t->t.row_bytes = t->t.shape[0] / per_block * block_bytes;
    return 0;
}

static int read_tensor(struct reader *r, struct gguf_tensor *t, size_t i, struct llmos_error *err)
{
    uint32_t n_dims;

    t->name = read_str(r);
    n_dims = reader_u32(r);
    if (r->bad || t->name.len == 0 || t->name.len > NAME_BYTES_MAX)
        return fail(err, LLMOS_EFORMAT, "the name of tensor %zu is empty, too long or cut off", i);
    if (n_dims < 1 || n_dims > TENSOR_DIMS_MAX)
        return fail(err, LLMOS_EFORMAT,
                    "tensor '%.*s' has %" PRIu32 " dimensions, 1 to %d are possible",
                    STR_ARG(t->name), n_dims, TENSOR_DIMS_MAX);
    t->t.n_dims = n_dims;
    for (unsigned d = 0; d < TENSOR_DIMS_MAX; d++) {
        t->t.shape[d] = d < n_dims ? reader_u64(r) : 1;
        if (!r->bad && t->t.shape[d] == 0)
            return fail(err, LLMOS_EFORMAT, "tensor '%.*s' has a dimension of 0", STR_ARG(t->name));
    }
    t->type_id = reader_u32(r);
    t->offset = reader_u64(r); /* from the data section, until place_tensor */
    if (r->bad)
        return fail(err, LLMOS_EFORMAT, "the file ends at byte %zu, in the middle of tensor '%.*s'",
                    (size_t)(r->end - r->start), STR_ARG(t->name));
    t->dtype = dtype_by_gguf_id(t->type_id);
    t->t.type = t->dtype >= 0 ? (enum dtype)t->dtype : DTYPE_F32;
    return measure(t, err);
}

static int place_tensor(const struct gguf *g, const unsigned char *bytes, struct gguf_tensor *t,
                        struct llmos_error *err)
{
    uint64_t end;

    if (t->offset % g->alignment != 0)
        return fail(err, LLMOS_EFORMAT,
                    "tensor '%.*s' lies at offset %" PRIu64 ", not a multiple of %" PRIu32,
                    STR_ARG(t->name), t->offset, g->alignment);
    if (__builtin_add_overflow(t->offset, (uint64_t)g->data_offset, &t->offset) ||
        __builtin_add_overflow(t->offset, t->bytes, &end))
        return fail(err, LLMOS_EFORMAT, "tensor '%.*s' lies beyond what 64 bits can address",
                    STR_ARG(t->name));
    if (end > g->file_bytes)
        return fail(err, LLMOS_EFORMAT, "tensor '%.*s' ends at byte %" PRIu64 ", the file has %zu",
                    STR_ARG(t->name), end, g->file_bytes);
    t->t.data = bytes + t->offset;
    return 0;
}

/* ---- order: overlaps, duplicates, lookups ---- */

static bool value_before(const void *g, uint32_t a, uint32_t b)
{
    const struct gguf_value *v = ((const struct gguf *)g)->values;

    return str_before(v[a].key, v[b].key);
}

static bool name_before(const void *g, uint32_t a, uint32_t b)
{
    const struct gguf_tensor *t = ((const struct gguf *)g)->tensors;

    return str_before(t[a].name, t[b].name);
}

static bool offset_before(const void *g, uint32_t a, uint32_t b)
{
    const struct gguf_tensor *t = ((const struct gguf *)g)->tensors;

    return t[a].offset < t[b].offset;
}

static uint32_t *index_create(struct gguf *g, size_t n)
{
    uint32_t *index = arena_array(&g->arena, uint32_t, n);

    for (size_t i = 0; index && i < n; i++)
        index[i] = (uint32_t)i;
    return index;
}

static int index_values(struct gguf *g, struct llmos_error *err)
{
    g->value_index = index_create(g, g->value_count);
    if (!g->value_index)
        return fail(err, LLMOS_ENOMEM, "no memory for an index of %zu keys", g->value_count);
    sortindex(g->value_index, g->value_count, value_before, g);
    for (size_t i = 1; i < g->value_count; i++) {
        struct str key = g->values[g->value_index[i]].key;

        if (str_eq(g->values[g->value_index[i - 1]].key, key))
            return fail(err, LLMOS_EFORMAT, "key '%.*s' stands in the file twice", STR_ARG(key));
    }
    return 0;
}

static int check_overlaps(struct gguf *g, struct llmos_error *err)
{
    uint32_t *index = index_create(g, g->tensor_count);

    if (!index)
        return fail(err, LLMOS_ENOMEM, "no memory for an index of %zu tensors", g->tensor_count);
    sortindex(index, g->tensor_count, offset_before, g);
    for (size_t i = 1; i < g->tensor_count; i++) {
        const struct gguf_tensor *a = &g->tensors[index[i - 1]], *b = &g->tensors[index[i]];

        if (a->offset + a->bytes > b->offset)
            return fail(err, LLMOS_EFORMAT, "tensors '%.*s' and '%.*s' overlap", STR_ARG(a->name),
                        STR_ARG(b->name));
    }
    g->tensor_index = index;
    return 0;
}

/* Into the index that is there. */
static int index_names(struct gguf *g, struct llmos_error *err)
{
    uint32_t *index = g->tensor_index;

    sortindex(index, g->tensor_count, name_before, g);
    for (size_t i = 1; i < g->tensor_count; i++) {
        const struct gguf_tensor *a = &g->tensors[index[i - 1]], *b = &g->tensors[index[i]];

        if (!str_eq(a->name, b->name))
            continue;
        if (a->part == b->part)
            return fail(err, LLMOS_EFORMAT, "tensor '%.*s' stands in the file twice",
                        STR_ARG(a->name));
        return fail(err, LLMOS_EFORMAT,
                    "tensor '%.*s' stands in part %" PRIu32 " and part %" PRIu32, STR_ARG(a->name),
                    (a->part < b->part ? a->part : b->part) + 1,
                    (a->part < b->part ? b->part : a->part) + 1);
    }
    return 0;
}

/* ---- the whole file ---- */

static int parse_values(struct gguf *g, struct reader *r, struct llmos_error *err)
{
    g->values = arena_array(&g->arena, struct gguf_value, g->value_count);
    if (!g->values)
        return fail(err, LLMOS_ENOMEM, "no memory for %zu keys", g->value_count);
    for (size_t i = 0; i < g->value_count; i++) {
        int rc = read_value(g, r, &g->values[i], i, err);

        if (rc < 0)
            return rc;
    }
    return index_values(g, err);
}

static int read_alignment(struct gguf *g, struct llmos_error *err)
{
    uint64_t alignment = ALIGNMENT_DEFAULT;
    int rc = gguf_get_u64(g, "general.alignment", 0, UINT64_MAX, &alignment, err);

    if (rc < 0)
        return rc;
    if (alignment < ALIGNMENT_MIN || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)))
        return fail(err, LLMOS_EFORMAT,
                    "general.alignment is %" PRIu64 ", a power of two from %d to %d is needed",
                    alignment, ALIGNMENT_MIN, ALIGNMENT_MAX);
    g->alignment = (uint32_t)alignment;
    return 0;
}

static int parse_tensors(struct gguf *g, struct reader *r, struct llmos_error *err)
{
    int rc;

    g->tensors = arena_array(&g->arena, struct gguf_tensor, g->tensor_count);
    if (!g->tensors)
        return fail(err, LLMOS_ENOMEM, "no memory for %zu tensors", g->tensor_count);
    for (size_t i = 0; i < g->tensor_count; i++) {
        rc = read_tensor(r, &g->tensors[i], i, err);
        if (rc < 0)
            return rc;
    }
    /* Cannot wrap: offsets are below the file's length, the alignment below 2^25. */
    g->data_offset = (reader_offset(r) + g->alignment - 1) & ~(size_t)(g->alignment - 1);
    for (size_t i = 0; i < g->tensor_count; i++) {
        rc = place_tensor(g, r->start, &g->tensors[i], err);
        if (rc < 0)
            return rc;
    }
    rc = check_overlaps(g, err);
    return rc < 0 ? rc : index_names(g, err);
}

static int parse(struct gguf *g, struct reader *r, struct llmos_error *err)
{
    uint64_t tensors, values;
    int rc = check_magic(r->start, reader_left(r), err);

    if (rc < 0)
        return rc;
    reader_u32(r);
    g->version = reader_u32(r);
    tensors = reader_u64(r);
    values = reader_u64(r);
    rc = check_count("tensors", tensors, TENSORS_MAX, reader_left(r), TENSOR_BYTES_MIN, err);
    if (rc == 0)
        rc = check_count("keys", values, VALUES_MAX, reader_left(r), VALUE_BYTES_MIN, err);
    if (rc < 0)
        return rc;
    g->tensor_count = tensors;
    g->value_count = values;
    rc = parse_values(g, r, err);
    if (rc == 0)
        rc = read_alignment(g, err);
    return rc < 0 ? rc : parse_tensors(g, r, err);
}

int gguf_parse(struct gguf *g, const void *bytes, size_t n, struct llmos_error *err)
{
    struct gguf parsed = {.file_bytes = n, .part_count = 1, .part_bytes = {n}};
    struct reader r = reader_of(bytes, n);
    int rc;

    /* The tables of a file are at most 5 times its size (a value: 14 bytes there, 64 here). */
    arena_init(&parsed.arena, n > (SIZE_MAX >> 4) ? SIZE_MAX >> 1 : 6 * n + 4096);
    rc = parse(&parsed, &r, err);
    if (rc < 0) {
        arena_fini(&parsed.arena);
        return rc;
    }
    *g = parsed;
    return 0;
}

/* ---- parts ---- */

/* Which part of how many the file says that it is, from 0; *count 1: it says nothing. */
static int read_part(const struct gguf *g, uint64_t *no, uint64_t *count, struct llmos_error *err)
{
    int rc;

    *no = 0;
    *count = 1;
    rc = gguf_get_u64(g, "split.count", 0, UINT16_MAX, count, err);
    if (rc >= 0)
        rc = gguf_get_u64(g, "split.no", 0, UINT16_MAX, no, err);
    *count = *count ? *count : 1;
    return rc < 0 ? rc : 0;
}

static int check_part(const struct gguf *parts, unsigned i, unsigned count, struct llmos_error *err)
{
    struct str first = STR(""), own = STR("");
    uint64_t no, of;
    int rc = read_part(&parts[i], &no, &of, err);

    if (rc < 0)
        return rc;
    if (of != count || no != i)
        return fail(err, LLMOS_EFORMAT,
                    "by its keys it is part %" PRIu64 " of %" PRIu64
                    "; was a file renamed, or is it of another model?",
                    no + 1, of);
    rc = gguf_get_str(&parts[0], "general.architecture", &first, err);
    if (rc >= 0)
        rc = gguf_get_str(&parts[i], "general.architecture", &own, err);
    if (rc > 0 && !str_eq(first, own))
        return fail(err, LLMOS_EFORMAT,
                    "its architecture is '%.*s', that of the first part is '%.*s'", STR_ARG(own),
                    STR_ARG(first));
    return rc < 0 ? rc : 0;
}

/* Each says how many tensors there are in all of them; the first one must. */
static int check_promise(const struct gguf *parts, unsigned i, size_t tensors,
                         struct llmos_error *err)
{
    uint64_t promised = tensors;
    int rc = gguf_get_u64(&parts[i], "split.tensors.count", 0, UINT32_MAX, &promised, err);

    if (rc == 0 && i == 0)
        return fail(err, LLMOS_EFORMAT, "it has no key 'split.tensors.count'");
    if (promised != tensors)
        return fail(err, LLMOS_EFORMAT,
                    "it promises %" PRIu64 " tensors in all parts, there are %zu", promised,
                    tensors);
    return rc < 0 ? rc : 0;
}

static int check_parts(const struct gguf *parts, unsigned count, size_t tensors,
                       struct llmos_error *err)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < count; i++) {
        rc = check_part(parts, i, count, err);
        if (rc == 0)
            rc = check_promise(parts, i, tensors, err);
        if (rc < 0)
            return fail_while(err, rc, "part %u of %u", i + 1, count);
    }
    if (tensors > TENSORS_MAX)
        return fail(err, LLMOS_ELIMIT, "%zu tensors in all parts, at most %u are accepted", tensors,
                    TENSORS_MAX);
    return 0;
}

/* The tables of all parts become those of the first. */
static int join(struct gguf *parts, unsigned count, size_t tensors, struct llmos_error *err)
{
    struct gguf *g = &parts[0];
    struct gguf_tensor *all;
    size_t at = 0;

    g->arena.limit_bytes += tensors * (sizeof(*all) + sizeof(uint32_t)) + 64;
    all = arena_array(&g->arena, struct gguf_tensor, tensors);
    if (!all)
        return fail(err, LLMOS_ENOMEM, "no memory for %zu tensors", tensors);
    for (unsigned i = 0; i < count; i++) {
        for (size_t k = 0; k < parts[i].tensor_count; k++) {
            all[at] = parts[i].tensors[k];
            all[at++].part = i;
        }
        g->file_bytes += i ? parts[i].file_bytes : 0; /* they are mapped: it cannot wrap */
        g->part_bytes[i] = parts[i].part_bytes[0];
    }
    g->tensors = all;
    g->tensor_count = tensors;
    g->part_count = count;
    g->tensor_index = index_create(g, tensors);
    if (!g->tensor_index)
        return fail(err, LLMOS_ENOMEM, "no memory for an index of %zu tensors", tensors);
    return index_names(g, err);
}

static int parse_parts(struct gguf *parts, const struct file_map *at, unsigned count,
                       struct llmos_error *err)
{
    size_t tensors = 0;
    int rc;

    for (unsigned i = 0; i < count; i++) {
        rc = gguf_parse(&parts[i], at[i].at, at[i].len, err);
        if (rc < 0)
            return fail_while(err, rc, "part %u of %u", i + 1, count);
        tensors += parts[i].tensor_count;
    }
    rc = check_parts(parts, count, tensors, err);
    return rc < 0 ? rc : join(parts, count, tensors, err);
}

int gguf_parse_parts(struct gguf *g, const struct file_map *at, unsigned count,
                     struct llmos_error *err)
{
    struct gguf *parts;
    int rc;

    if (count == 1)
        return gguf_parse(g, at[0].at, at[0].len, err);
    assert(count > 1 && count <= GGUF_PARTS_MAX);
    parts = mem_zalloc(count, sizeof(*parts));
    if (!parts)
        return fail(err, LLMOS_ENOMEM, "no memory for %u parts", count);
    rc = parse_parts(parts, at, count, err);
    for (unsigned i = rc == 0; i < count; i++)
        gguf_fini(&parts[i]);
    if (rc == 0)
        *g = parts[0];
    mem_free(parts);
    return rc;
}

void gguf_fini(struct gguf *g)
{
    arena_fini(&g->arena);
    *g = (struct gguf){0};
}

/* ---- lookups ---- */

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    struct str wanted = str_of(key);
    size_t low = 0, high = g->value_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct gguf_value *v = &g->values[g->value_index[middle]];

        if (str_eq(v->key, wanted))
            return v;
        if (str_before(v->key, wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name)
{
    struct str wanted = str_of(name);
    size_t low = 0, high = g->tensor_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct gguf_tensor *t = &g->tensors[g->tensor_index[middle]];

        if (str_eq(t->name, wanted))
            return t;
        if (str_before(t->name, wanted))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int wrong_type(const struct gguf_value *v, const char *needed, struct llmos_error *err)
{
    return fail(err, LLMOS_EFORMAT, "key '%.*s' has type %s, %s is needed", STR_ARG(v->key),
                gguf_type_name(v->type), needed);
}

int gguf_get_u64(const struct gguf *g, const char *key, uint64_t min, uint64_t max, uint64_t *out,
                 struct llmos_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);
    uint64_t u;

    if (!v)
        return 0;
    switch (v->type) {
    case GGUF_U8:
    case GGUF_U16:
    case GGUF_U32:
    case GGUF_U64:
        u = v->u;
        break;
    case GGUF_I8:
    case GGUF_I16:
    case GGUF_I32:
    case GGUF_I64:
        if (v->i < 0)
            return fail(err, LLMOS_EFORMAT, "key '%s' is %" PRId64 ", from %" PRIu64 " is possible",
                        key, v->i, min);
        u = (uint64_t)v->i;
        break;
    default:
        return wrong_type(v, "an integer", err);
    }
    if (u < min || u > max)
        return fail(err, LLMOS_EFORMAT,
                    "key '%s' is %" PRIu64 ", %" PRIu64 " to %" PRIu64 " is possible", key, u, min,
                    max);
    *out = u;
    return 1;
}

int gguf_get_f32(const struct gguf *g, const char *key, float *out, struct llmos_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);

    if (!v)
        return 0;
    if (v->type != GGUF_F32 && v->type != GGUF_F64)
        return wrong_type(v, "a floating-point number", err);
    if (!isfinite(v->f) || !isfinite((float)v->f))
        return fail(err, LLMOS_EFORMAT, "key '%s' is not a finite number", key);
    *out = (float)v->f;
    return 1;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct llmos_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);

    if (!v)
        return 0;
    if (v->type != GGUF_BOOL)
        return wrong_type(v, "a bool", err);
    *out = v->u != 0;
    return 1;
}

int gguf_get_str(const struct gguf *g, const char *key, struct str *out, struct llmos_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);

    if (!v)
        return 0;
    if (v->type != GGUF_STRING)
        return wrong_type(v, "a string", err);
    *out = v->s;
    return 1;
}

int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type type,
                   struct gguf_array *out, struct llmos_error *err)
{
    const struct gguf_value *v = gguf_find(g, key);

    if (!v)
        return 0;
    if (v->type != GGUF_ARRAY)
        return wrong_type(v, "an array", err);
    if (v->a.type != type)
        return fail(err, LLMOS_EFORMAT, "key '%s' is an array of %s, one of %s is needed", key,
                    gguf_type_name(v->a.type), gguf_type_name(type));
    *out = v->a;
    return 1;
}

int gguf_check_whole(const struct gguf *g, struct llmos_error *err)
{
    uint64_t part, count;
    int rc = read_part(g, &part, &count, err);

    if (rc < 0 || count <= g->part_count)
        return rc;
    return fail(err, LLMOS_EINVAL,
                "the file is part %" PRIu64 " of %" PRIu64
                " of a model; the others are found by name, so keep all in one folder as "
                "NAME-%05" PRIu64 "-of-%05" PRIu64 ".gguf",
                part + 1, count, part + 1, count);
}

struct str gguf_array_str(const struct gguf_array *a, uint64_t i)
{
    const unsigned char *at = a->at + a->string_offsets[i];
    struct reader length = reader_of(at, 8); /* checked when the file was parsed */

    return (struct str){(const char *)at + 8, reader_u64(&length)};
}

float gguf_array_f32(const struct gguf_array *a, uint64_t i)
{
    float v;

    memcpy(&v, a->at + i * sizeof(v), sizeof(v));
    return v;
}

int32_t gguf_array_i32(const struct gguf_array *a, uint64_t i)
{
    int32_t v;

    if (a->type == GGUF_BOOL)
        return a->at[i] != 0;
    memcpy(&v, a->at + i * sizeof(v), sizeof(v));
    return v;
}
