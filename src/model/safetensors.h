/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors.h - a safetensors file as it lies in memory.
 *
 * Eight bytes with the length of a JSON header, the header, the values.  safetensors_parse checks
 * everything once: the length against the file, each tensor's type and shape against its bytes, its
 * place inside the file, that tensors neither overlap nor leave holes, and that no name stands
 * twice.  Slices point into the bytes and into the arena, which must outlive the struct.  Read-only
 * after parsing: any thread.  The format: huggingface/safetensors, README.md, "Format". */
#ifndef MODEL_SAFETENSORS_H
#define MODEL_SAFETENSORS_H

#include "base/arena.h"
#include "base/fail.h"
#include "base/str.h"

#include <stdint.h>

#define SAFETENSORS_HEADER_MAX  (100u << 20) /* as its own library has it */
#define SAFETENSORS_TENSORS_MAX (1u << 18)
#define SAFETENSORS_DIMS_MAX    8

enum safetensors_type {
    SAFETENSORS_BOOL,
    SAFETENSORS_U8,
    SAFETENSORS_I8,
    SAFETENSORS_F8_E5M2,
    SAFETENSORS_F8_E4M3,
    SAFETENSORS_F8_E8M0,
    SAFETENSORS_I16,
    SAFETENSORS_U16,
    SAFETENSORS_F16,
    SAFETENSORS_BF16,
    SAFETENSORS_I32,
    SAFETENSORS_U32,
    SAFETENSORS_F32,
    SAFETENSORS_F64,
    SAFETENSORS_I64,
    SAFETENSORS_U64,
    SAFETENSORS_TYPE_COUNT
};

struct safetensors_tensor {
    struct str name;
    enum safetensors_type type;
    unsigned n_dims;                      /* 0: a single value */
    uint64_t shape[SAFETENSORS_DIMS_MAX]; /* the slowest first, as the file has it */
    uint64_t values;
    const unsigned char *data; /* not aligned */
    uint64_t bytes;
};

struct safetensors {
    struct safetensors_tensor *tensors;
    uint32_t count;
};

/* `name` (of the file) stands in front of errors.  On failure *s stays. */
int safetensors_parse(struct safetensors *s, struct arena *arena, struct str file, const char *name,
                      struct llmos_error *err);

const char *safetensors_type_name(enum safetensors_type type); /* "BF16" */
unsigned safetensors_type_bytes(enum safetensors_type type);

/* Values at, at + step ... as f32: of F64, F32, F16, BF16, F8_E4M3 (OCP 8-bit Floating Point 1.0)
 * and F8_E8M0 (OCP Microscaling Formats 1.0); NaN of other types. */
void safetensors_read(const struct safetensors_tensor *t, uint64_t at, uint64_t step, float *out,
                      size_t n);

#endif
