/* SPDX-License-Identifier: Apache-2.0 */
/* hfconvert.h - a Hugging Face folder becomes a GGUF file.
 *
 * The files' bytes are a stranger's; the caller has opened and mapped them.  One thread. */
#ifndef MODEL_HFCONVERT_H
#define MODEL_HFCONVERT_H

#include "model/hftensors.h"

struct hfconvert_options {
    int type;                    /* of matrices: an enum dtype, or HFTENSORS_AUTO */
    struct str name;             /* of the model, for people */
    hftensors_progress progress; /* may be NULL */
    void *arg;
};

/* "auto" "f32" "f16" "bf16" "q8_0"; false: another word. */
#define HFCONVERT_TYPES "auto|f16|bf16|f32|q8_0"
bool hfconvert_type(const char *name, int *type);

/* Writes to fd, which stays the caller's.  Memory: about thirty times the JSON, and nothing for the
 * tensors.  A negative value of `progress` ends the work. */
int hfconvert(const struct hffile *files, unsigned count, int fd,
              const struct hfconvert_options *options, struct llmos_error *err);

#endif
