/* SPDX-License-Identifier: Apache-2.0 */
/* gguf.h - a GGUF file (v2, v3, little-endian), or the parts of a split one, as it lies in memory.
 *
 * gguf_parse walks untrusted bytes once and checks everything: counts against the bytes that are
 * left, strings, nesting, alignment, every tensor's type, shape, size and place (inside the file,
 * not overlapping). Afterwards lookups cannot leave the bytes.  Keys, names and values are slices
 * of the file: the bytes must outlive the struct.  Read-only after parsing: any thread. The format:
 * ggml-org/ggml docs/gguf.md; its parts: the keys split.no, split.count and split.tensors.count, as
 * llama.cpp's gguf-split writes them. */
#ifndef MODEL_GGUF_H
#define MODEL_GGUF_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/str.h"
#include "tensor/tensor.h"

#include <stdbool.h>
#include <stdint.h>

#define GGUF_PARTS_MAX 128 /* of one model; the largest published ones have about 60 */

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPE_COUNT
};

struct gguf_array {
    enum gguf_type type; /* of the elements; arrays of arrays are refused */
    uint64_t count;
    const unsigned char *at;        /* the first element */
    const uint64_t *string_offsets; /* for strings: offset from `at` of each u64 length, in the
                                       arena; else NULL */
};

struct gguf_value {
    struct str key;
    enum gguf_type type;
    union {
        uint64_t u; /* unsigned kinds and bool */
        int64_t i;
        double f;
        struct str s;
        struct gguf_array a;
    };
};

struct gguf_tensor {
    struct str name;
    uint32_t type_id; /* ggml type number */
    int dtype; /* enum dtype, or -1: a type that we cannot compute with (still listed by inspect) */
    struct tensor t;        /* data points into the file; valid only if dtype >= 0 */
    uint64_t offset, bytes; /* from the start of its file; bytes 0 if the type is unheard of */
    uint32_t part;          /* the file that it is in, from 0 */
};

struct gguf {
    uint32_t version, alignment; /* of the first part, which has the values */
    size_t value_count, tensor_count;
    struct gguf_value *values;
    struct gguf_tensor *tensors;    /* part behind part */
    size_t file_bytes, data_offset; /* of all parts; of the first */
    unsigned part_count;            /* 1: one file */
    size_t part_bytes[GGUF_PARTS_MAX];
    struct arena arena; /* tables; limited in proportion to the file */
    /* sorted indexes for lookups, internal */
    uint32_t *value_index, *tensor_index;
};

/* bytes: aligned to 8, as mapped and allocated memory is.  On failure nothing is left to free.
 * Errors say what, which and where: "tensor 'blk.3.ffn_up.weight' ends at byte 812646400, the file
 * has 799014912". */
int gguf_parse(struct gguf *g, const void *bytes, size_t n, struct llmos_error *err);
/* The parts of one model in their order, 1 to GGUF_PARTS_MAX of them.  Several are refused unless
 * their keys say that they are exactly these, tensors are as many as they promise and none stands
 * in two. */
int gguf_parse_parts(struct gguf *g, const struct file_map *parts, unsigned count,
                     struct llmos_error *err);
void gguf_fini(struct gguf *g);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key); /* NULL if absent */
const struct gguf_tensor *gguf_find_tensor(const struct gguf *g, const char *name);

/* Typed reads.  Absent: *out stays and 0 is returned; present: 1; wrong type or out of [min, max]:
 * LLMOS_EFORMAT. Integers of every width and sign are accepted for u64. */
int gguf_get_u64(const struct gguf *g, const char *key, uint64_t min, uint64_t max, uint64_t *out,
                 struct llmos_error *err);
int gguf_get_f32(const struct gguf *g, const char *key, float *out,
                 struct llmos_error *err); /* finite only */
int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct llmos_error *err);
int gguf_get_str(const struct gguf *g, const char *key, struct str *out, struct llmos_error *err);
int gguf_get_array(const struct gguf *g, const char *key, enum gguf_type type,
                   struct gguf_array *out, struct llmos_error *err);

/* 0, or LLMOS_EINVAL: it is one of several parts of a model, and the others were not given. */
int gguf_check_whole(const struct gguf *g, struct llmos_error *err);

struct str gguf_array_str(const struct gguf_array *a, uint64_t i);
float gguf_array_f32(const struct gguf_array *a, uint64_t i);
int32_t gguf_array_i32(const struct gguf_array *a, uint64_t i); /* also for u32 and bool */

const char *gguf_type_name(enum gguf_type t);
size_t gguf_type_bytes(enum gguf_type t); /* of one element; 0 for strings and arrays */

#endif
