/* SPDX-License-Identifier: Apache-2.0 */
/* synth.h - a model file of any shape with random weights: for tests, fuzzing and measuring speed.
 *
 * The file is a real one: a vocabulary that tokenizes English, weights scaled so that activations
 * keep their size from layer to layer.  What it says is nonsense.  Same options, same bytes.  It is
 * written as a stream; memory needed is some megabytes whatever the shape. */
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
};

/* What a shape says of layers, sizes and tied output; f32 and seed 1.  Shapes: "tiny" (a test),
 * "135m", "0.5b", "1b".  False if there is none of this name. */
bool synth_shape(struct synth_options *o, const char *name);

/* Writes to fd from where it stands.  LLMOS_EINVAL when sizes do not fit each other or the type. */
int synth_write(int fd, const struct synth_options *o, struct llmos_error *err);

#endif
