/* SPDX-License-Identifier: Apache-2.0 */
/* hfmethod.c - see hfmethod.h */
#include "model/hfmethod.h"

#include <inttypes.h>
#include <stdio.h>

#define WORD_BITS     32
#define FP8_BLOCK     128 /* where config.json does not say */
#define AWQ_BITS      4
#define MXFP4_VALUES  32
#define BNB_STATE_MAX 4096 /* bytes of JSON; they have 150 */

/* ---- what config.json says ---- */

#define CONFIG "quantization_config."

static struct str config_text(const struct hfmethod *m, const char *paths)
{
    return jdoc_text(hffolder_config(m->folder, paths));
}

static int unread(const struct hfmethod *m, const char *what, struct str is, const char *reads)
{
    return fail(m->err, LLMOS_EUNSUPPORTED,
                "%s is '%.*s', this version reads %s; take the folder of the model before it was "
                "quantised",
                what, (int)(is.len < 40 ? is.len : 40), is.at, reads);
}

static int read_group_size(struct hfmethod *m)
{
    struct jdoc_ref v = hffolder_config(m->folder, CONFIG "group_size|" CONFIG "q_group_size");
    int64_t n;

    if (!jdoc_at(v))
        return 0;
    if (!jdoc_integer(v, &n) || n < -1 || n == 0 || n >= UINT32_MAX)
        return fail(m->err, LLMOS_EFORMAT,
                    "'" CONFIG "group_size' in '%s' is neither -1 nor a number of columns",
                    HFFOLDER_CONFIG);
    m->group_columns = n < 0 ? UINT32_MAX : (uint32_t)n;
    return 0;
}

static int read_gptq(struct hfmethod *m)
{
    struct str format = config_text(m, CONFIG "checkpoint_format|" CONFIG "format");
    struct str words = config_text(m, CONFIG "pack_dtype");

    if (format.at && !str_is(format, "gptq") && !str_is(format, "gptq_v2"))
        return unread(m, "the format of the quantised tensors", format, "gptq and gptq_v2");
    if (words.at && !str_is(words, "int32"))
        return unread(m, "the type of packed words", words, "int32");
    m->zeros_are_less_one = !format.at || str_is(format, "gptq");
    return read_group_size(m);
}

static int read_awq(struct hfmethod *m)
{
    struct str version = config_text(m, CONFIG "version|" CONFIG "format");
    uint32_t bits = AWQ_BITS;
    int rc =
        hffolder_u32(m->folder, CONFIG "bits|" CONFIG "w_bit", AWQ_BITS, AWQ_BITS, &bits, m->err);

    if (version.at && !str_is(version, "gemm") && !str_is(version, "GEMM"))
        return unread(m, "the version of AWQ", version, "gemm");
    return rc < 0 ? rc : read_group_size(m);
}

static int read_block(struct hfmethod *m, struct jdoc_ref size)
{
    struct jdoc_ref rows = jdoc_first(size, NULL);
    int64_t r, c;

    if (!jdoc_is(size, JDOC_ARRAY))
        return 0;
    if (jdoc_count(size) != 2 || !jdoc_integer(rows, &r) ||
        !jdoc_integer(jdoc_next(size, rows, NULL), &c) || r < 1 || r > 65536 || c < 1 || c > 65536)
        return fail(m->err, LLMOS_EFORMAT,
                    "the size of a block of FP8 in '%s' is not two numbers from 1 to 65536",
                    HFFOLDER_CONFIG);
    m->block_rows = (uint32_t)r;
    m->block_columns = (uint32_t)c;
    return 0;
}

static int read_fp8(struct hfmethod *m)
{
    return read_block(m, hffolder_config(m->folder, CONFIG "weight_block_size"));
}

static int check_format(const struct hfmethod *m, struct str format)
{
    static const char *const known[] = {
        "dense",           "pack-quantized",  "int-quantized",        "float-quantized",
        "naive-quantized", "mixed-precision", "nvfp4-pack-quantized", "mxfp4-pack-quantized",
        "mxfp8-quantized"};

    for (size_t i = 0; format.at && i < sizeof(known) / sizeof(known[0]); i++)
        if (str_is(format, known[i]))
            return 0;
    return format.at ? unread(m, "the format of the compressed tensors", format,
                              "pack-, int-, float-, naive-, nvfp4- and mxfp4-quantized")
                     : 0;
}

/* Widths of groups that config.json describes: which of them a matrix has, its shape tells. */
static int read_scheme(struct hfmethod *m, struct jdoc_ref group)
{
    struct jdoc_ref weights = jdoc_get(group, "weights");
    int64_t bits;
    int rc = check_format(m, jdoc_text(jdoc_get(group, "format")));

    if (rc < 0)
        return rc;
    if (jdoc_integer(jdoc_get(weights, "num_bits"), &bits) && bits >= 1 && bits <= 8 &&
        m->bits_count < HFMETHOD_BITS_MAX)
        m->bits[m->bits_count++] = (uint32_t)bits;
    return read_block(m, jdoc_get(weights, "block_structure"));
}

static int read_compressed(struct hfmethod *m)
{
    struct jdoc_ref groups = hffolder_config(m->folder, CONFIG "config_groups");
    int rc = check_format(m, config_text(m, CONFIG "format"));

    if (rc == 0)
        rc = check_format(m, config_text(m, CONFIG "sparsity_config.format"));
    if (rc == 0 && jdoc_count(hffolder_config(m->folder, CONFIG "transform_config.config_groups")))
        return fail(m->err, LLMOS_EUNSUPPORTED,
                    "the compressed tensors are rotated ('transform_config'), which this version "
                    "does not compute; take the folder of the model before it was quantised");
    for (struct jdoc_ref g = jdoc_first(groups, NULL); rc == 0 && jdoc_at(g);
         g = jdoc_next(groups, g, NULL))
        rc = read_scheme(m, g);
    return rc;
}

static const struct {
    const char *name;
    int (*read)(struct hfmethod *m); /* NULL: nothing to know */
} methods[] = {
    {"mxfp4", NULL},        {"fp8", read_fp8}, {"fbgemm_fp8", NULL},
    {"gptq", read_gptq},    {"awq", read_awq}, {"compressed-tensors", read_compressed},
    {"bitsandbytes", NULL},
};
#define METHODS (sizeof(methods) / sizeof(methods[0]))

static int read_method(struct hfmethod *m)
{
    if (!m->name.at)
        return 0;
    for (size_t i = 0; i < METHODS; i++)
        if (str_is(m->name, methods[i].name))
            return methods[i].read ? methods[i].read(m) : 0;
    return fail(
        m->err, LLMOS_EUNSUPPORTED,
        "the tensors are quantised by '%.*s', this version reads gptq, awq, "
        "compressed-tensors, bitsandbytes, mxfp4 and fp8; take the folder of the model that "
        "it was made from",
        (int)(m->name.len < 40 ? m->name.len : 40), m->name.at);
}

int hfmethod_init(struct hfmethod *m, const struct hffolder *f, struct arena *arena,
                  struct llmos_error *err)
{
    float *e4m3 = arena_array(arena, float, 256), *e2m1 = arena_array(arena, float, 16);

    *m = (struct hfmethod){.folder = f,
                           .arena = arena,
                           .err = err,
                           .block_rows = FP8_BLOCK,
                           .block_columns = FP8_BLOCK,
                           .e4m3 = e4m3,
                           .e2m1 = e2m1};
    m->is_taken = arena_array(arena, bool, f->tensor_count);
    if (!e4m3 || !e2m1 || !m->is_taken)
        return fail(err, LLMOS_ENOMEM, "no memory for the list of tensors");
    hfquant_e4m3(e4m3);
    hfquant_e2m1(e2m1);
    m->name = config_text(m, CONFIG "quant_method");
    return read_method(m);
}

/* ---- tensors of a matrix ---- */

/* A matrix that is being found together. */
struct opening {
    struct hfmethod *m;
    const struct safetensors_tensor *codes;
    struct str base; /* of their name: what is common to all tensors of the matrix */
    struct hfquant *q;
    struct hfsource *out;
};

static int misfit(const struct opening *o, const struct safetensors_tensor *t, const char *why)
{
    return fail(o->m->err, LLMOS_EFORMAT, "tensor '%.*s' %s", STR_ARG(t->name), why);
}

/* The tensor of that ending, NULL: there is none.  It belongs to the matrix. */
static const struct safetensors_tensor *beside(const struct opening *o, const char *ending)
{
    char name[600];
    uint32_t i;

    if (snprintf(name, sizeof(name), "%.*s%s", STR_ARG(o->base), ending) >= (int)sizeof(name))
        return NULL;
    i = hffolder_find(o->m->folder, name);
    if (i == UINT32_MAX)
        return NULL;
    o->m->is_taken[i] = true;
    return o->m->folder->tensors[i];
}

static int need(const struct opening *o, const char *ending, const struct safetensors_tensor **t)
{
    *t = beside(o, ending);
    return *t ? 0
              : fail(o->m->err, LLMOS_EFORMAT, "tensor '%.*s' lacks its '%s'",
                     STR_ARG(o->codes->name), ending);
}

static bool is_float(const struct safetensors_tensor *t)
{
    return t->type == SAFETENSORS_F32 || t->type == SAFETENSORS_BF16 ||
           t->type == SAFETENSORS_F16 || t->type == SAFETENSORS_F8_E8M0;
}

static bool has_shape(const struct safetensors_tensor *t, enum safetensors_type type, uint64_t a,
                      uint64_t b)
{
    return t->type == type && t->n_dims == 2 && t->shape[0] == a && t->shape[1] == b;
}

static bool is_matrix(const struct safetensors_tensor *t, enum safetensors_type type)
{
    return t->type == type && t->n_dims == 2 && t->values > 0;
}

static uint64_t blocks_in(uint64_t n, uint64_t block)
{
    return (n + block - 1) / block;
}

static int set_matrix(struct opening *o, uint64_t rows, uint64_t columns)
{
    o->q->rows = rows;
    o->q->columns = columns;
    o->out->n_dims = 2;
    o->out->shape[0] = rows;
    o->out->shape[1] = columns;
    o->out->values = rows * columns;
    return 0;
}

static int32_t group_of(const struct safetensors_tensor *t, uint64_t column)
{
    int32_t group;

    memcpy(&group, t->data + column * sizeof(group), sizeof(group));
    return group;
}

/* Groups of `size` columns, or as a tensor says: the order in which the columns were quantised is
 * none of the columns then. */
static int set_groups(struct opening *o, uint64_t size, uint64_t groups,
                      const struct safetensors_tensor *order)
{
    bool is_plain = true;

    o->q->block_columns = size < o->q->columns ? size : o->q->columns;
    if (!order)
        return blocks_in(o->q->columns, o->q->block_columns) == groups
                   ? 0
                   : misfit(o, o->q->scales, "has not the groups that 'config.json' says");
    if (order->type != SAFETENSORS_I32 || order->values != o->q->columns)
        return misfit(o, order, "has not one number for each column");
    for (uint64_t c = 0; c < o->q->columns; c++) {
        int32_t group = group_of(order, c);

        if (group < 0 || (uint64_t)group >= groups)
            return misfit(o, order, "names a group that has no scale");
        is_plain = is_plain && (uint64_t)group == c / o->q->block_columns;
    }
    o->q->group_of = is_plain ? NULL : order->data;
    return 0;
}

/* As config.json says, or so that they are equal. */
static uint64_t size_of_groups(const struct opening *o, uint64_t groups)
{
    return o->m->group_columns ? o->m->group_columns : blocks_in(o->q->columns, groups);
}

/* One scale for all, for each row, for each block, or for each group of a row. */
static int set_scales(struct opening *o, const struct safetensors_tensor *s)
{
    struct hfquant *q = o->q;
    uint64_t across = s->n_dims == 2 ? s->shape[1] : 1;
    bool is_column = s->n_dims == 1 || (s->n_dims == 2 && across == 1);

    if (s->values == 0)
        return misfit(o, s, "has no values");
    q->scales = s;
    q->block_rows = 1;
    q->block_columns = q->columns;
    q->row_step = across;
    q->group_step = 1;
    if (s->values == 1)
        q->block_rows = q->rows;
    else if (s->n_dims == 2 && s->shape[0] == blocks_in(q->rows, o->m->block_rows) &&
             across == blocks_in(q->columns, o->m->block_columns) && q->levels) {
        q->block_rows = o->m->block_rows;
        q->block_columns = o->m->block_columns;
    } else if (!(is_column && s->values == q->rows)) {
        if (s->n_dims != 2 || s->shape[0] != q->rows || q->columns % across != 0)
            return misfit(o, s, "does not fit the matrix that it scales");
        q->block_columns = q->columns / across;
    }
    return 0;
}

/* ---- GPTQ and AWQ ---- */

/* A stream of words along the outputs, a line for each group (or input). */
static struct hfquant_pack along_outputs(const struct safetensors_tensor *t, unsigned bits)
{
    return (struct hfquant_pack){.at = t->data,
                                 .bits = bits,
                                 .width = WORD_BITS,
                                 .is_down = true,
                                 .word_step = 1,
                                 .line_step = t->shape[1]};
}

/* scales[group][output] */
static int set_transposed(struct opening *o, uint64_t outputs, const char *zeros_name,
                          const struct safetensors_tensor **zeros,
                          const struct safetensors_tensor **order)
{
    const struct safetensors_tensor *scales;
    int rc = need(o, "scales", &scales);

    if (rc == 0)
        rc = need(o, zeros_name, zeros);
    if (rc < 0)
        return rc;
    *order = beside(o, "g_idx");
    if (!is_float(scales) || scales->n_dims != 2 || scales->shape[1] != outputs ||
        scales->values == 0)
        return misfit(o, scales, "has not a number for each group and output");
    if (!is_matrix(*zeros, SAFETENSORS_I32) || (*zeros)->shape[0] != scales->shape[0])
        return misfit(o, *zeros, "is not of int32 for each group");
    o->q->scales = scales;
    o->q->block_rows = 1;
    o->q->row_step = 1;
    o->q->group_step = outputs;
    o->q->is_transposed = true;
    return 0;
}

static unsigned gptq_bits(uint64_t words, uint64_t outputs)
{
    static const unsigned known[] = {2, 3, 4, 8};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (words * WORD_BITS == outputs * known[i])
            return known[i];
    return 0;
}

static int open_gptq(struct opening *o)
{
    const struct safetensors_tensor *w = o->codes, *zeros, *order;
    uint64_t outputs = w->n_dims == 2 ? w->shape[1] : 0, groups;
    unsigned bits;
    int rc;

    if (!is_matrix(w, SAFETENSORS_I32))
        return misfit(o, w, "is no matrix of int32");
    rc = set_transposed(o, outputs, "qzeros", &zeros, &order);
    if (rc < 0)
        return rc;
    bits = gptq_bits(zeros->shape[1], outputs);
    if (bits == 0 || w->shape[0] * WORD_BITS % bits != 0)
        return misfit(o, zeros, "has not 2, 3, 4 or 8 bits for each output");
    set_matrix(o, outputs, w->shape[0] * WORD_BITS / bits);
    o->q->codes = (struct hfquant_pack){
        .at = w->data, .bits = bits, .width = WORD_BITS, .word_step = outputs, .line_step = 1};
    o->q->zeros = along_outputs(zeros, bits);
    if (o->m->zeros_are_less_one) { /* subtracted from whole words, where their numbers fill them */
        o->q->zeros.ones = WORD_BITS % bits == 0 ? UINT32_MAX / ((1u << bits) - 1) : 0;
        o->q->zeros.add = WORD_BITS % bits != 0;
    }
    groups = o->q->scales->shape[0];
    return set_groups(o, size_of_groups(o, groups), groups, order);
}

static int open_awq(struct opening *o)
{
    static const uint8_t order_of_words[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    const struct safetensors_tensor *w = o->codes, *zeros, *order;
    uint64_t per_word = WORD_BITS / AWQ_BITS, groups;
    int rc;

    if (!is_matrix(w, SAFETENSORS_I32))
        return misfit(o, w, "is no matrix of int32");
    rc = set_transposed(o, w->shape[1] * per_word, "qzeros", &zeros, &order);
    if (rc < 0)
        return rc;
    if (order)
        return misfit(o, order, "orders groups, which AWQ does not");
    if (zeros->shape[1] != w->shape[1])
        return misfit(o, zeros, "has not 4 bits for each output");
    set_matrix(o, w->shape[1] * per_word, w->shape[0]);
    o->q->codes = along_outputs(w, AWQ_BITS);
    o->q->zeros = along_outputs(zeros, AWQ_BITS);
    o->q->codes.order = o->q->zeros.order = order_of_words;
    groups = o->q->scales->shape[0];
    return set_groups(o, size_of_groups(o, groups), groups, NULL);
}

/* ---- compressed-tensors ---- */

static struct hfquant_pack bytes_of(const struct safetensors_tensor *t, unsigned bits,
                                    uint64_t line_step)
{
    return (struct hfquant_pack){
        .at = t->data, .bits = bits, .width = 8, .word_step = 1, .line_step = line_step};
}

/* Numbers with a sign, as bytes or in words; none: all are 0. */
static int set_zeros(struct opening *o, const struct safetensors_tensor *z, unsigned bits)
{
    const struct safetensors_tensor *s = o->q->scales;
    uint64_t groups = s->n_dims == 2 ? s->shape[1] : 1;

    o->q->middle = (float)(1u << (bits - 1));
    if (!z)
        return 0;
    if (bits == 8 && z->type == SAFETENSORS_I8 && z->values == s->values) {
        o->q->zeros = bytes_of(z, 8, groups);
        o->q->zeros.flip = 0x80;
        return 0;
    }
    if (!has_shape(z, SAFETENSORS_I32, blocks_in(o->q->rows * bits, WORD_BITS), groups) ||
        o->q->block_rows != 1)
        return misfit(o, z, "has not a zero for each scale");
    o->q->zeros = (struct hfquant_pack){.at = z->data,
                                        .bits = bits,
                                        .width = WORD_BITS,
                                        .is_down = true,
                                        .word_step = groups,
                                        .line_step = 1};
    return 0;
}

/* Which of the widths that config.json knows makes that many words of a row. */
static unsigned packed_bits(const struct opening *o, uint64_t columns, uint64_t words)
{
    for (uint32_t i = 0; i < o->m->bits_count; i++)
        if (blocks_in(columns * o->m->bits[i], WORD_BITS) == words)
            return o->m->bits[i];
    return 0;
}

static bool read_sides(const struct safetensors_tensor *t, uint64_t sides[2])
{
    unsigned width = t->type == SAFETENSORS_I64 ? 8 : 4;

    if ((t->type != SAFETENSORS_I64 && t->type != SAFETENSORS_I32) || t->values != 2)
        return false;
    for (unsigned i = 0; i < 2; i++) {
        sides[i] = 0;
        memcpy(&sides[i], t->data + i * width, width);
    }
    return true;
}

static int open_words(struct opening *o)
{
    const struct safetensors_tensor *w = o->codes, *scales, *shape, *order;
    uint64_t sides[2], across;
    unsigned bits;
    int rc = need(o, "weight_shape", &shape);

    if (rc == 0)
        rc = need(o, "weight_scale", &scales);
    if (rc < 0)
        return rc;
    if (!is_matrix(w, SAFETENSORS_I32))
        return misfit(o, w, "is no matrix of int32");
    /* A word has at least 4 numbers and at most 32. */
    if (!read_sides(shape, sides) || sides[0] != w->shape[0] || sides[1] < 1 ||
        sides[1] / WORD_BITS > w->shape[1])
        return misfit(o, shape, "is not the two sides of the matrix that is packed");
    bits = packed_bits(o, sides[1], w->shape[1]);
    if (bits == 0)
        return misfit(o, w, "has not the bits for each column that 'config.json' says");
    if (!is_float(scales))
        return misfit(o, scales, "scales and is no floating-point number");
    set_matrix(o, sides[0], sides[1]);
    o->q->codes = bytes_of(w, bits, w->shape[1]);
    o->q->codes.width = WORD_BITS;
    rc = set_scales(o, scales);
    if (rc == 0)
        rc = set_zeros(o, beside(o, "weight_zero_point"), bits);
    order = beside(o, "weight_g_idx");
    if (rc < 0 || !order ||
        (order->values > 0 && order->type == SAFETENSORS_I32 &&
         group_of(order, 0) < 0)) /* as if there were none */
        return rc;
    across = scales->n_dims == 2 ? scales->shape[1] : 1;
    return set_groups(o, o->q->block_columns, across, order);
}

/* E2M1, two in a byte. */
static int open_fp4(struct opening *o)
{
    const struct safetensors_tensor *w = o->codes, *scales,
                                    *whole = beside(o, "weight_global_scale");
    float all = 1;
    int rc = need(o, "weight_scale", &scales);

    if (rc < 0)
        return rc;
    if (!is_matrix(w, SAFETENSORS_U8))
        return misfit(o, w, "is no matrix of bytes");
    if (scales->type != SAFETENSORS_U8 && scales->type != SAFETENSORS_F8_E4M3 && !is_float(scales))
        return misfit(o, scales, "scales and is no floating-point number");
    if (whole && (whole->type != SAFETENSORS_F32 || whole->values != 1))
        return misfit(o, whole, "is not one f32");
    if (whole)
        safetensors_read(whole, 0, 1, &all, 1);
    set_matrix(o, w->shape[0], w->shape[1] * 2);
    o->q->codes = bytes_of(w, 4, w->shape[1]);
    o->q->levels = o->m->e2m1;
    o->q->divisor = all;
    o->q->has_exponents = scales->type == SAFETENSORS_U8;
    return set_scales(o, scales);
}

static int open_int8(struct opening *o)
{
    const struct safetensors_tensor *w = o->codes, *scales;
    int rc = need(o, "weight_scale", &scales);

    if (rc < 0)
        return rc;
    if (!is_matrix(w, SAFETENSORS_I8))
        return misfit(o, w, "is no matrix of int8");
    if (!is_float(scales))
        return misfit(o, scales, "scales and is no floating-point number");
    set_matrix(o, w->shape[0], w->shape[1]);
    o->q->codes = bytes_of(w, 8, w->shape[1]);
    o->q->codes.flip = 0x80;
    rc = set_scales(o, scales);
    return rc < 0 ? rc : set_zeros(o, beside(o, "weight_zero_point"), 8);
}

/* ---- FP8 and MXFP4 ---- */

/* Some that are symmetric say so once more. */
static int check_no_zeros(const struct opening *o, const struct safetensors_tensor *z)
{
    for (uint64_t i = 0; z && i < z->bytes; i++)
        if (z->data[i] & 0x7f)
            return misfit(o, z, "has zeros other than 0, which FP8 does not");
    return 0;
}

static int open_fp8(struct opening *o)
{
    const struct safetensors_tensor *w = o->codes, *scales = beside(o, "_scale_inv");
    bool has_exponents;
    int rc;

    if (!scales)
        scales = beside(o, "_scale");
    if (!scales)
        return misfit(o, w, "is FP8 and lacks its '_scale_inv' or '_scale'");
    has_exponents = scales->type == SAFETENSORS_U8 && !str_is(o->m->name, "fp8");
    if (!is_float(scales) && !has_exponents)
        return misfit(o, scales, "scales and is no floating-point number");
    if (!is_matrix(w, SAFETENSORS_F8_E4M3))
        return misfit(o, scales, "does not fit the matrix that it scales");
    set_matrix(o, w->shape[0], w->shape[1]);
    o->q->codes = bytes_of(w, 8, w->shape[1]);
    o->q->levels = o->m->e4m3;
    o->q->has_exponents = has_exponents;
    rc = set_scales(o, scales);
    return rc < 0 ? rc : check_no_zeros(o, beside(o, "_zero_point"));
}

/* All rows of all experts are the rows of one matrix here. */
static int open_mxfp4(struct opening *o)
{
    const struct safetensors_tensor *w = o->codes, *scales = beside(o, "_scales");

    if (!scales)
        return misfit(o, w, "lacks its '_scales'");
    if (w->type != SAFETENSORS_U8 || w->n_dims != 4 || w->shape[3] != MXFP4_VALUES / 2 ||
        w->values == 0)
        return misfit(o, w, "is not of blocks of 16 bytes");
    if (scales->type != SAFETENSORS_U8 || scales->n_dims != 3 ||
        memcmp(scales->shape, w->shape, 3 * sizeof(w->shape[0])) != 0)
        return misfit(o, scales, "has not one byte for each block");
    set_matrix(o, w->shape[0] * w->shape[1], w->shape[2] * MXFP4_VALUES);
    o->out->n_dims = 3;
    o->out->shape[0] = w->shape[0];
    o->out->shape[1] = w->shape[1];
    o->out->shape[2] = o->q->columns;
    o->q->codes = bytes_of(w, 4, o->q->columns / 2);
    o->q->levels = o->m->e2m1;
    o->q->has_exponents = true;
    o->q->scales = scales;
    o->q->block_rows = 1;
    o->q->block_columns = MXFP4_VALUES;
    o->q->row_step = w->shape[2];
    o->q->group_step = 1;
    return 0;
}

/* ---- bitsandbytes ---- */

/* LLM.int8(): the largest magnitude of a row is 127. */
static int open_llm_int8(struct opening *o)
{
    const struct safetensors_tensor *w = o->codes, *scales, *format = beside(o, "weight_format");
    int rc = need(o, "SCB", &scales);

    if (rc < 0)
        return rc;
    if (!is_matrix(w, SAFETENSORS_I8))
        return misfit(o, w, "is no matrix of int8");
    if (format && (format->bytes == 0 || format->data[0] != 0))
        return misfit(o, format, "says that the rows of the matrix are in an order of their own");
    if (!is_float(scales) || scales->values != w->shape[0])
        return misfit(o, scales, "has not a number for each row");
    set_matrix(o, w->shape[0], w->shape[1]);
    o->q->codes = bytes_of(w, 8, w->shape[1]);
    o->q->codes.flip = 0x80;
    o->q->middle = 128;
    o->q->divisor = 127;
    o->q->scales = scales;
    o->q->block_rows = 1;
    o->q->block_columns = w->shape[1];
    o->q->row_step = 1;
    return 0;
}

/* Sixteen numbers, of the maker's choice. */
static int set_levels(struct opening *o, const struct safetensors_tensor *map)
{
    float *levels = arena_array(o->m->arena, float, 16);

    if (!levels)
        return fail(o->m->err, LLMOS_ENOMEM, "no memory for the list of tensors");
    safetensors_read(map, 0, 1, levels, 16);
    o->q->levels = levels;
    return 0;
}

/* What stands in the JSON beside a matrix of 4 bits. */
struct bnb_state {
    int64_t rows, columns, block, outer_block;
    double outer_offset;
};

static bool fill_state(struct jdoc_ref root, struct bnb_state *s)
{
    struct jdoc_ref shape = jdoc_get(root, "shape"), rows = jdoc_first(shape, NULL);

    *s = (struct bnb_state){.outer_block = 1};
    jdoc_integer(jdoc_get(root, "nested_blocksize"), &s->outer_block);
    jdoc_number(jdoc_get(root, "nested_offset"), &s->outer_offset);
    return jdoc_count(shape) == 2 && jdoc_integer(rows, &s->rows) &&
           jdoc_integer(jdoc_next(shape, rows, NULL), &s->columns) &&
           jdoc_integer(jdoc_get(root, "blocksize"), &s->block) && s->rows > 0 && s->columns > 0 &&
           s->block > 0 && s->outer_block > 0;
}

static int read_state(const struct opening *o, const struct safetensors_tensor *t,
                      struct bnb_state *s)
{
    struct str text = {(const char *)t->data, t->bytes};
    struct jsondoc doc;
    struct arena arena;
    int rc;

    if (t->type != SAFETENSORS_U8 || t->bytes > BNB_STATE_MAX)
        return misfit(o, t, "is no JSON of at most 4096 bytes");
    arena_init(&arena, 64 * BNB_STATE_MAX);
    rc = jsondoc_parse(&doc, &arena, text, "quant_state", o->m->err);
    if (rc < 0)
        rc = fail_while(o->m->err, rc, "tensor '%.*s'", STR_ARG(t->name));
    else if (!fill_state(jdoc_root(&doc), s))
        rc = misfit(o, t, "does not say the shape and the size of blocks");
    arena_fini(&arena);
    return rc;
}

static int need_floats(const struct opening *o, const char *ending, uint64_t n,
                       const struct safetensors_tensor **t)
{
    int rc = need(o, ending, t);

    return rc < 0 ? rc
           : (*t)->type == SAFETENSORS_F32 && (*t)->values == n
               ? 0
               : misfit(o, *t, "has another type or size than its matrix needs");
}

static int set_absmax(struct opening *o, const struct bnb_state *s)
{
    uint64_t n = blocks_in(o->out->values, (uint64_t)s->block);
    const struct safetensors_tensor *absmax;
    int rc = need(o, ".absmax", &absmax);

    if (rc < 0)
        return rc;
    o->q->scales = absmax;
    if (absmax->type != SAFETENSORS_U8)
        return need_floats(o, ".absmax", n, &absmax);
    if (absmax->values != n)
        return misfit(o, absmax, "has not a byte for each block");
    o->q->outer_block = (uint64_t)s->outer_block;
    o->q->outer_offset = (float)s->outer_offset;
    rc = need_floats(o, ".nested_quant_map", 256, &o->q->outer_levels);
    return rc < 0 ? rc
                  : need_floats(o, ".nested_absmax", blocks_in(n, o->q->outer_block),
                                &o->q->outer_scales);
}

static int open_bnb4(struct opening *o)
{
    static const uint8_t high_first[8] = {1, 0, 3, 2, 5, 4, 7, 6};
    const struct safetensors_tensor *state = beside(o, ".quant_state.bitsandbytes__nf4"), *map;
    struct bnb_state s;
    uint64_t values;
    int rc;

    if (!state)
        state = beside(o, ".quant_state.bitsandbytes__fp4");
    if (!state)
        return 1; /* it is not quantised */
    rc = read_state(o, state, &s);
    if (rc < 0)
        return rc;
    if (__builtin_mul_overflow((uint64_t)s.rows, (uint64_t)s.columns, &values) || values % 2 != 0 ||
        values / 2 != o->codes->bytes)
        return misfit(o, o->codes, "has not 4 bits for each value of its shape");
    set_matrix(o, (uint64_t)s.rows, (uint64_t)s.columns);
    rc = need_floats(o, ".quant_map", 16, &map);
    if (rc == 0)
        rc = set_absmax(o, &s);
    if (rc < 0)
        return rc;
    o->q->codes = bytes_of(o->codes, 4, 0);
    o->q->codes.order = high_first;
    o->q->is_flat = true;
    o->q->block_rows = 1;
    o->q->block_columns = (uint64_t)s.block;
    o->q->group_step = 1;
    return set_levels(o, map);
}

/* ---- the table ---- */

/* open: 1 means that the tensor is none of codes after all. */
static const struct layout {
    const char *method;  /* NULL: whatever config.json says */
    const char *end;     /* of the name of the codes; what is in front is the base */
    const char *becomes; /* in its place */
    int type;            /* of the codes, -1: any */
    int (*open)(struct opening *o);
} layouts[] = {
    {"gptq", "qweight", "weight", -1, open_gptq},
    {"awq", "qweight", "weight", -1, open_awq},
    {"compressed-tensors", "weight_packed", "weight", SAFETENSORS_I32, open_words},
    {"compressed-tensors", "weight_packed", "weight", SAFETENSORS_U8, open_fp4},
    {"compressed-tensors", "weight", "weight", SAFETENSORS_I8, open_int8},
    {"bitsandbytes", "", "", -1, open_bnb4},
    {"bitsandbytes", "weight", "weight", SAFETENSORS_I8, open_llm_int8},
    {NULL, "_blocks", "_blocks", SAFETENSORS_U8, open_mxfp4},
    {NULL, "", "", SAFETENSORS_F8_E4M3, open_fp8},
};
#define LAYOUTS (sizeof(layouts) / sizeof(layouts[0]))

static bool is_laid_out(const struct hfmethod *m, const struct safetensors_tensor *t,
                        const struct layout *l)
{
    return (!l->method || str_is(m->name, l->method)) && (l->type < 0 || (int)t->type == l->type) &&
           str_ends(t->name, str_of(l->end));
}

static int name_source(struct opening *o, const char *becomes)
{
    char name[600];
    int n = snprintf(name, sizeof(name), "%.*s%s", STR_ARG(o->base), becomes);
    char *kept = arena_strndup(o->m->arena, name, (size_t)n);

    if (!kept)
        return fail(o->m->err, LLMOS_ENOMEM, "no memory for the list of tensors");
    o->out->name = str_of(kept);
    o->out->tensor = o->codes;
    o->out->quant = o->q;
    return 1;
}

static int open_layout(struct hfmethod *m, const struct layout *l,
                       const struct safetensors_tensor *t, struct hfsource *out)
{
    struct opening o = {.m = m, .codes = t, .out = out};
    int rc;

    *out = (struct hfsource){.n_dims = 0};
    o.base = (struct str){t->name.at, t->name.len - strlen(l->end)};
    o.q = arena_alloc(m->arena, sizeof(*o.q));
    if (!o.q)
        return fail(m->err, LLMOS_ENOMEM, "no memory for the list of tensors");
    o.q->divisor = 1;
    rc = l->open(&o);
    return rc != 0 ? (rc < 0 ? rc : 0) : name_source(&o, l->becomes);
}

int hfmethod_open(struct hfmethod *m, uint32_t i, struct hfsource *out)
{
    const struct safetensors_tensor *t = m->folder->tensors[i];

    for (size_t k = 0; k < LAYOUTS && !m->is_taken[i]; k++)
        if (is_laid_out(m, t, &layouts[k])) {
            int rc = open_layout(m, &layouts[k], t, out);

            if (rc > 0)
                m->is_taken[i] = true;
            if (rc != 0)
                return rc;
        }
    return 0;
}

/* How what inputs are multiplied with was quantised, or the cache: we keep both as they come. */
static const char *const of_no_use[] = {
    ".input_scale",  ".input_scale_ub",    ".input_zero_point", ".input_global_scale",
    ".output_scale", ".output_zero_point", ".k_scale",          ".v_scale",
    ".q_scale",      ".k_zero_point",      ".v_zero_point"};
static const char *const parts[] = {
    ".qweight",     ".qzeros",          ".scales",           ".g_idx",       "weight_packed",
    "weight_scale", "weight_scale_inv", "weight_zero_point", "weight_g_idx", "weight_global_scale",
    ".SCB",         ".absmax",          ".quant_map"};

int hfmethod_takes(const struct hfmethod *m, uint32_t i)
{
    struct str name = m->folder->tensors[i]->name;

    if (m->is_taken[i])
        return 1;
    for (size_t k = 0; k < sizeof(of_no_use) / sizeof(of_no_use[0]); k++)
        if (str_ends(name, str_of(of_no_use[k])))
            return 1;
    for (size_t k = 0; k < sizeof(parts) / sizeof(parts[0]); k++)
        if (str_ends(name, str_of(parts[k])))
            return fail(m->err, LLMOS_EFORMAT,
                        "tensor '%.*s' is part of a quantised matrix, but %s", STR_ARG(name),
                        m->name.at ? "the matrix is not there"
                                   : "'config.json' has no 'quantization_config.quant_method'");
    return 0;
}
