/* SPDX-License-Identifier: Apache-2.0 */
/* synth.h - a model file of any shape with random weights: for tests, fuzzing and measuring speed.
 *
 * The file is a real one: a vocabulary that tokenizes English, weights scaled so that activations
 * keep their size from layer to layer.  What it says is nonsense.  Same options, same bytes.  It is
 * written as a stream; memory needed is some ten megabytes whatever the shape. */
#ifndef MODEL_SYNTH_H
#define MODEL_SYNTH_H

#include "tensor/dtype.h"

#include "llmos/error.h"

#include <stdbool.h>

struct synth_options {
    uint32_t layers, width, heads, heads_kv, hidden, vocabulary, context;
    enum dtype type; /* of the matrices; norms are f32 */
    uint64_t seed;
    bool tied_output; /* no output.weight */
    bool no_bytes;    /* leaves the 256 byte tokens out: for very small files */
    bool chatml;      /* adds the marks of ChatML and a template that names them */
    bool k_mix;       /* q4_K with more bits where llama.cpp's quantiser spends them: "q4_k_m" */
    /* Called now and then with the bytes of tensors written so far and of all; false: no more is
     * wanted (LLMOS_ECANCELED).  NULL: not. */
    bool (*progress)(void *cookie, uint64_t done, uint64_t total);
    void *cookie;
    const char *chat_template; /* with chatml; NULL: a simple one */
};

/* What a shape says of layers, sizes and tied output; f32 and seed 1.  Shapes: "tiny" (a test),
 * "135m", "0.5b", "1b".  LLMOS_EINVAL lists them. */
int synth_shape(struct synth_options *o, const char *name, struct llmos_error *err);

/* Sets type and k_mix from the name of a number type in small letters, or "q4_k_m".  LLMOS_EINVAL
 * lists them. */
int synth_type(struct synth_options *o, const char *name, struct llmos_error *err);

/* The type of a matrix under k_mix: q4_K, or q6_K for the output (the embedding, where it is tied)
 * and for attn_v and ffn_down in the first and last eighth of the layers and every third between;
 * rows that are no multiple of 256 get q5_0 and q8_0 instead (llama-quant.cpp of llama.cpp,
 * LLAMA_FTYPE_MOSTLY_Q4_K_M).  `name` as in files. */
enum dtype synth_mix(const struct synth_options *o, const char *name, uint32_t layer,
                     uint64_t inner);

/* Writes to fd from where it stands.  LLMOS_EINVAL when sizes do not fit each other or the type. */
int synth_write(int fd, const struct synth_options *o, struct llmos_error *err);

#endif
