/* SPDX-License-Identifier: Apache-2.0 */
/* ggufwrite.c - see ggufwrite.h */
#include "model/ggufwrite.h"

#include "base/mem.h"

#include <assert.h>

#define ALIGNMENT        32
#define HEADER_BYTES_MAX (1u << 30) /* a vocabulary of 4 million tokens has 100 MB */

struct ggufwrite_plan {
    enum dtype type;
    uint64_t bytes;
};

void ggufwrite_init(struct ggufwrite *w, int fd)
{
    *w = (struct ggufwrite){0};
    buf_init(&w->values, HEADER_BYTES_MAX);
    buf_init(&w->tensors, HEADER_BYTES_MAX);
    buf_init(&w->plan, HEADER_BYTES_MAX);
    pieces_init(&w->out, fd, NULL, NULL);
}

void ggufwrite_fini(struct ggufwrite *w)
{
    buf_fini(&w->values);
    buf_fini(&w->tensors);
    buf_fini(&w->plan);
    pieces_fini(&w->out);
}

/* ---- the header ---- */

static void put_str(struct buf *b, struct str s)
{
    buf_put_u64(b, s.len);
    buf_put(b, s.at, s.len);
}

static void put_key(struct ggufwrite *w, const char *key, enum gguf_type type)
{
    assert(w->elements_left == 0);
    put_str(&w->values, str_of(key));
    buf_put_u32(&w->values, type);
    w->value_count++;
}

void ggufwrite_u32(struct ggufwrite *w, const char *key, uint32_t v)
{
    put_key(w, key, GGUF_U32);
    buf_put_u32(&w->values, v);
}

void ggufwrite_f32(struct ggufwrite *w, const char *key, float v)
{
    put_key(w, key, GGUF_F32);
    buf_put_f32(&w->values, v);
}

void ggufwrite_bool(struct ggufwrite *w, const char *key, bool v)
{
    put_key(w, key, GGUF_BOOL);
    buf_put_u8(&w->values, v);
}

void ggufwrite_str(struct ggufwrite *w, const char *key, struct str v)
{
    put_key(w, key, GGUF_STRING);
    put_str(&w->values, v);
}

void ggufwrite_array(struct ggufwrite *w, const char *key, enum gguf_type type, uint64_t count)
{
    put_key(w, key, GGUF_ARRAY);
    buf_put_u32(&w->values, type);
    buf_put_u64(&w->values, count);
    w->elements_left = count;
}

void ggufwrite_put_str(struct ggufwrite *w, struct str v)
{
    assert(w->elements_left > 0);
    w->elements_left--;
    put_str(&w->values, v);
}

void ggufwrite_put_f32(struct ggufwrite *w, float v)
{
    assert(w->elements_left > 0);
    w->elements_left--;
    buf_put_f32(&w->values, v);
}

void ggufwrite_put_u8(struct ggufwrite *w, uint8_t v)
{
    assert(w->elements_left > 0);
    w->elements_left--;
    buf_put_u8(&w->values, v);
}

void ggufwrite_put_i32(struct ggufwrite *w, int32_t v)
{
    assert(w->elements_left > 0);
    w->elements_left--;
    buf_put_u32(&w->values, (uint32_t)v);
}

static void put_array(struct buf *b, const struct gguf_array *a)
{
    uint64_t bytes = a->count * gguf_type_bytes(a->type);

    if (a->type == GGUF_STRING && a->count > 0) {
        struct str last = gguf_array_str(a, a->count - 1);

        bytes = (uint64_t)((const unsigned char *)last.at + last.len - a->at);
    }
    buf_put_u32(b, a->type);
    buf_put_u64(b, a->count);
    buf_put(b, a->at, bytes);
}

static void put_scalar(struct buf *b, const struct gguf_value *v)
{
    uint64_t bits = v->u; /* little-endian, as are all our machines: the lower bytes first */
    float f = (float)v->f;

    if (v->type == GGUF_F32)
        buf_put_f32(b, f);
    else
        buf_put(b, &bits, gguf_type_bytes(v->type));
}

void ggufwrite_value(struct ggufwrite *w, const struct gguf_value *v)
{
    assert(w->elements_left == 0);
    put_str(&w->values, v->key);
    buf_put_u32(&w->values, v->type);
    w->value_count++;
    if (v->type == GGUF_STRING)
        put_str(&w->values, v->s);
    else if (v->type == GGUF_ARRAY)
        put_array(&w->values, &v->a);
    else
        put_scalar(&w->values, v);
}

void ggufwrite_tensor(struct ggufwrite *w, const char *name, enum dtype type, const uint64_t *shape,
                      unsigned n_dims)
{
    struct ggufwrite_plan plan = {type, dtype_row_bytes(type, shape[0])};

    assert(n_dims >= 1 && n_dims <= TENSOR_DIMS_MAX && shape[0] % dtype_info(type)->block == 0);
    put_str(&w->tensors, str_of(name));
    buf_put_u32(&w->tensors, n_dims);
    for (unsigned d = 0; d < n_dims; d++) {
        buf_put_u64(&w->tensors, shape[d]);
        plan.bytes *= d ? shape[d] : 1;
    }
    buf_put_u32(&w->tensors, dtype_info(type)->gguf_id);
    buf_put_u64(&w->tensors, w->offset);
    buf_put(&w->plan, &plan, sizeof(plan));
    w->offset += (plan.bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    w->tensor_count++;
}

/* ---- the data ---- */

static int put(struct ggufwrite *w, const void *bytes, size_t n, struct llmos_error *err)
{
    int rc = pieces_put(&w->out, bytes, n, err);

    return rc < 0 ? fail_while(err, rc, "cannot write the model file") : 0;
}

static int pad(struct ggufwrite *w, uint64_t written, struct llmos_error *err)
{
    return put(w, NULL, (ALIGNMENT - written % ALIGNMENT) % ALIGNMENT, err);
}

static const struct ggufwrite_plan *plan_at(const struct ggufwrite *w, uint64_t i)
{
    return (const struct ggufwrite_plan *)(const void *)w->plan.at + i;
}

static int put_header(struct ggufwrite *w, struct llmos_error *err)
{
    const struct {
        char magic[4];
        uint32_t version;
        uint64_t tensors, values;
    } head = {"GGUF", 3, w->tensor_count, w->value_count};
    int rc = put(w, &head, sizeof(head), err);

    if (rc == 0)
        rc = put(w, buf_str(&w->values).at, w->values.len, err);
    if (rc == 0)
        rc = put(w, buf_str(&w->tensors).at, w->tensors.len, err);
    return rc == 0 ? pad(w, pieces_length(&w->out), err) : rc;
}

int ggufwrite_begin(struct ggufwrite *w, struct llmos_error *err)
{
    int rc;

    assert(w->elements_left == 0);
    rc = buf_check(&w->values, "the keys of the model file", err);
    if (rc == 0)
        rc = buf_check(&w->tensors, "the table of tensors", err);
    if (rc == 0)
        rc = buf_check(&w->plan, "the table of tensors", err);
    if (rc == 0)
        rc = put_header(w, err);
    if (rc == 0)
        w->bytes_left = w->tensor_count ? plan_at(w, 0)->bytes : 0;
    return rc;
}

int ggufwrite_blocks(struct ggufwrite *w, const void *blocks, size_t bytes, struct llmos_error *err)
{
    int rc = put(w, blocks, bytes, err);

    assert(w->current < w->tensor_count && bytes <= w->bytes_left);
    w->bytes_left -= bytes;
    if (rc == 0 && w->bytes_left == 0) {
        rc = pad(w, plan_at(w, w->current)->bytes, err);
        w->current++;
        w->bytes_left = w->current < w->tensor_count ? plan_at(w, w->current)->bytes : 0;
    }
    return rc;
}

int ggufwrite_values(struct ggufwrite *w, const float *x, size_t n, struct llmos_error *err)
{
    const struct dtype_info *type = dtype_info(plan_at(w, w->current)->type);
    /* A whole number of blocks of any type, small enough for the stack. */
    unsigned char blocks[2048 * sizeof(float)] __attribute__((aligned(16)));

    assert(n % type->block == 0);
    while (n > 0) {
        size_t part = n < 2048 ? n : 2048;
        int rc;

        type->from_f32(x, NULL, blocks, part);
        rc = ggufwrite_blocks(w, blocks, part / type->block * type->block_bytes, err);
        if (rc < 0)
            return rc;
        x += part;
        n -= part;
    }
    return 0;
}

int ggufwrite_end(struct ggufwrite *w, struct llmos_error *err)
{
    int rc = pieces_end(&w->out, err);

    assert(w->current == w->tensor_count);
    return rc < 0 ? fail_while(err, rc, "cannot write the model file") : 0;
}
