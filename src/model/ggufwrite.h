/* SPDX-License-Identifier: Apache-2.0 */
/* ggufwrite.h - writes a GGUF file, version 3, as a stream: only its header is held in memory.
 *
 *     ggufwrite_init(&w, fd);
 *     ggufwrite_str(&w, "general.architecture", STR("llama"));
 *     ggufwrite_array(&w, "tokenizer.ggml.scores", GGUF_F32, 320);
 *     ... 320 times ggufwrite_put_f32
 *     ggufwrite_tensor(&w, "output_norm.weight", DTYPE_F32, (uint64_t[]){64}, 1);
 *     rc = ggufwrite_begin(&w, &err);               header and table of tensors
 *     rc = ggufwrite_values(&w, x, 64, &err);       the tensors' values, in the order declared
 *     rc = ggufwrite_end(&w, &err);
 *     ggufwrite_fini(&w);
 *
 * What cannot be put (no memory) is remembered and reported by begin.  The caller's shapes and
 * counts are asserted, not checked: they are our own.  fd stays the caller's.  One thread at a
 * time. */
#ifndef MODEL_GGUFWRITE_H
#define MODEL_GGUFWRITE_H

#include "base/buf.h"
#include "base/pieces.h"
#include "model/gguf.h"

struct ggufwrite {
    uint64_t value_count, tensor_count;
    uint64_t elements_left;       /* of the array that is being put */
    uint64_t offset;              /* of the next tensor in the data section */
    struct buf values, tensors;   /* as they will stand in the file */
    struct buf plan;              /* struct ggufwrite_plan of each tensor */
    uint64_t current, bytes_left; /* the tensor whose values come next, and what it lacks */
    struct pieces out;
};

void ggufwrite_init(struct ggufwrite *w, int fd);
void ggufwrite_fini(struct ggufwrite *w);

void ggufwrite_u32(struct ggufwrite *w, const char *key, uint32_t v);
void ggufwrite_f32(struct ggufwrite *w, const char *key, float v);
void ggufwrite_bool(struct ggufwrite *w, const char *key, bool v);
void ggufwrite_str(struct ggufwrite *w, const char *key, struct str v);
void ggufwrite_array(struct ggufwrite *w, const char *key, enum gguf_type type, uint64_t count);
/* A value of another file, as it is there. */
void ggufwrite_value(struct ggufwrite *w, const struct gguf_value *v);
void ggufwrite_put_str(struct ggufwrite *w, struct str v);
void ggufwrite_put_f32(struct ggufwrite *w, float v);
void ggufwrite_put_u8(struct ggufwrite *w, uint8_t v);
void ggufwrite_put_i32(struct ggufwrite *w, int32_t v);

/* shape[0] is a multiple of the type's block. */
void ggufwrite_tensor(struct ggufwrite *w, const char *name, enum dtype type, const uint64_t *shape,
                      unsigned n_dims);

int ggufwrite_begin(struct ggufwrite *w, struct llmos_error *err);
/* The next n values of the current tensor, converted to its type; n is a multiple of its block. */
int ggufwrite_values(struct ggufwrite *w, const float *x, size_t n, struct llmos_error *err);
/* The same for bytes that have the tensor's type already. */
int ggufwrite_blocks(struct ggufwrite *w, const void *blocks, size_t bytes,
                     struct llmos_error *err);
int ggufwrite_end(struct ggufwrite *w, struct llmos_error *err);

#endif
