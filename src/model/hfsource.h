/* SPDX-License-Identifier: Apache-2.0 */
/* hfsource.h - the tensors of a folder as if nobody had quantised it: by name, shape and numbers.
 *
 * A quantised matrix is several tensors: codes, scales, perhaps zeros and the order of groups. Here
 * it is one, with the name that its layer knows ("model.layers.0.mlp.up_proj.weight").  What is
 * read (hfmethod.h): GPTQ, AWQ, compressed-tensors, bitsandbytes, MXFP4 and FP8.  Each tensor's
 * type, shape and companions are checked here.  Read-only afterwards: any thread. */
#ifndef MODEL_HFSOURCE_H
#define MODEL_HFSOURCE_H

#include "model/hffolder.h"
#include "model/hfquant.h"

struct hfsource {
    struct str name;
    unsigned n_dims;
    uint64_t shape[SAFETENSORS_DIMS_MAX]; /* the slowest first */
    uint64_t values;
    const struct safetensors_tensor *tensor; /* the values, or codes */
    const struct hfquant *quant;             /* NULL: they are as they are */
};

struct hfsources {
    struct hfsource *at; /* sorted by name */
    uint32_t count;
};

/* Arena bytes that a tensor of the folder takes at most, half a kilobyte of them its name. */
#define HFSOURCE_BYTES_MAX 1536

/* The folder's bytes and the arena must outlive *s. */
int hfsources_read(struct hfsources *s, const struct hffolder *f, struct arena *arena,
                   struct llmos_error *err);
/* NULL if absent. */
const struct hfsource *hfsources_find(const struct hfsources *s, const char *name);

#endif
