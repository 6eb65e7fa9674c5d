/* SPDX-License-Identifier: Apache-2.0 */
/* hfarch.h - how the architectures of Hugging Face are called in GGUF: tables, and nothing else.
 *
 * An architecture is a name of ours, rules that turn keys of config.json into keys of GGUF, and
 * rules that turn names of tensors.  hfmeta.c and hftensors.c interpret them.  The names are those
 * of llama.cpp (gguf-py/gguf/constants.py and tensor_mapping.py), which the running side reads. */
#ifndef MODEL_HFARCH_H
#define MODEL_HFARCH_H

#include "base/str.h"

enum hfkey_kind {
    HFKEY_U32,
    HFKEY_F32,
    HFKEY_BOOL,
    HFKEY_INVERSE_ROOT, /* f32: of a whole number, where that is not the width of a head */
    HFKEY_ROPE_DIMS,    /* u32: of a head, those that are rotated */
    HFKEY_CONTEXT,      /* u32: positions, less those that padding takes (RoBERTa) */
};

/* What this version computes only in one way: where config.json says otherwise, the folder is
 * refused. */
struct hfneed {
    const char *key;    /* paths as in hfkey */
    const char *value;  /* as JSON writes it, texts without quotes; null and absent are fine too */
    const char *except; /* of this architecture of ours it may be anything; NULL: of none */
};

struct hfkey {
    const char *to;   /* behind "ARCH.", or a whole key that begins with "general." */
    const char *from; /* a path in config.json; several, divided by '|': the first that is there */
    enum hfkey_kind kind;
    bool is_needed;
    double
        fallback; /* if it is not there; 0: then the key is left out.  An F32 that is null is 0 */
};

enum hftensor_how {
    HFTENSOR_AS_IS,
    HFTENSOR_SKIP,      /* of no use to us */
    HFTENSOR_TRANSPOSE, /* Conv1D of GPT-2 keeps its matrices the other way round */
    HFTENSOR_PERMUTE_Q, /* rows of a head: halves for rotation side by side become pairs */
    HFTENSOR_PERMUTE_K,
    HFTENSOR_STACK,          /* experts, {x} in the name, become one tensor */
    HFTENSOR_CUT_PADS,       /* positions begin behind pad_token_id + 1 rows that are never used */
    HFTENSOR_EACH_TRANSPOSE, /* experts in one tensor, each the other way round */
    HFTENSOR_EVEN_ROWS,      /* of each expert: gate and up interleaved; biases likewise */
    HFTENSOR_ODD_ROWS,
    HFTENSOR_MXFP4, /* NAME_blocks and NAME_scales: experts in blocks of 32 numbers of 4 bits */
    HFTENSOR_MXFP4_EVEN, /* likewise, gate and up interleaved */
    HFTENSOR_MXFP4_ODD,
};

struct hftensor {
    /* {} is the number of a layer, {x} that of an expert, * the rest, whatever it is.  ".weight"
     * and ".bias" are no part of it and stay as they are, unless the name of the file ends
     * otherwise: it becomes ".weight". */
    const char *from, *to;
    enum hftensor_how how;
};

enum hftokens_wish {
    HFTOKENS_ANY,
    HFTOKENS_BERT, /* token_type_count is needed, and it begins and ends with special tokens */
};

enum hfarch_labels { HFARCH_NO_LABELS, HFARCH_LABELS_TEXTS, HFARCH_LABELS_TOKENS };

#define HFARCH_SETS 3

struct hfarch {
    const char *hf, *gguf; /* "LlamaForCausalLM", "llama" */
    const char *prefix;    /* of tensors, may be missing: "model."; several, divided by '|' */
    const struct hfkey *keys[HFARCH_SETS];       /* ended by NULL */
    const struct hftensor *tensors[HFARCH_SETS]; /* the first rule that fits decides */
    bool adds_one_to_norms;                      /* Gemma keeps weights of norms less 1 */
    bool is_encoder;                             /* not causal */
    enum hfarch_labels labels;                   /* what a classifier says something about */
    enum hftokens_wish tokens;
    bool labels_relu; /* of texts: the dense layer in front of them ends with relu */
};

/* NULL: we do not know it. */
const struct hfarch *hfarch_find(struct str name);
/* Number i, NULL behind the last one: for lists in sentences and tests. */
const struct hfarch *hfarch_at(unsigned i);
/* Of models that generate; likewise. */
const struct hfneed *hfarch_need(unsigned i);
/* The first rule that makes this key; NULL: none does. */
const struct hfkey *hfarch_key(const struct hfarch *a, const char *to);

#endif
