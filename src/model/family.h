/* SPDX-License-Identifier: Apache-2.0 */
/* family.h - what a file of each architecture holds: its tensors, and what its keys leave out.
 *
 * A family is a name of general.architecture.  Names of keys and tensors are those of llama.cpp; a
 * new family is one more row in family.c, and one in infer/arch.c that says how it is computed.
 * Constant; any thread. */
#ifndef MODEL_FAMILY_H
#define MODEL_FAMILY_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Sets of weight roles (weights.h): those of the model and those of a layer, a bit each. */
struct family_roles {
    uint64_t model, layer;
};

enum activation {
    ACTIVATION_SILU,
    ACTIVATION_GELU,
    ACTIVATION_GELU_TANH, /* what approximates it */
    ACTIVATIONS
};

struct family {
    const char *name;
    struct family_roles needs, may; /* what a file must have, and what it may have besides */
    uint64_t later;                 /* roles that layer 0 may lack */
    uint64_t expert_needs;          /* of a layer, where the model has experts; 0: it cannot */
    bool experts_only;              /* it must have some */
    bool experts_share_all;         /* their weights are shares of all, else of those chosen */
    enum activation activation;     /* where the file names none */
    /* Every token sees the whole text, and its vector is what comes out: nothing is generated. */
    bool is_encoder;
    bool clamps_swiglu;                /* of experts: plain_swiglu_clamped */
    bool yarn_between;                 /* the ramp of yarn begins and ends between pairs */
    bool layer_norm;                   /* LayerNorm (Ba et al. 2016), else RMSNorm */
    bool rope_halves;                  /* pairs (i, i + dims / 2), else (2i, 2i + 1) */
    bool no_rope;                      /* positions are learned */
    bool scales_embedding;             /* by the square root of the width */
    float attn_softcap, logit_softcap; /* where the file names none */
    uint32_t window;                   /* where the file names none */
    uint32_t window_pattern;           /* every n-th layer looks without limit; 0: none does */
    bool window_behind;                /* of n layers the first has no limit, else the last */
    bool labels_mean;                  /* classifiers look at the mean, else at the first token */
    float window_rope_base;            /* of layers with a window; 0: that of all layers, */
    bool window_unscaled;              /* without their scaling */
    uint32_t rope_pattern;             /* every n-th layer does not rotate; 0: all do */
    /* Models of so many layers divide scores by the root of width / heads, not of the head: no key
     * says so.  0: none. */
    uint32_t odd_scale_layers;
};

/* By the name that transformers has for it; false: it is none of these. */
#define ACTIVATION_NAMES "gelu gelu_new gelu_pytorch_tanh silu"
bool activation_by_name(struct str name, enum activation *out);

const struct family *family_by_name(struct str name); /* NULL: no such family */
const struct family *family_at(unsigned i);           /* NULL behind the last */

#endif
