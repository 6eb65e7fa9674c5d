/* SPDX-License-Identifier: Apache-2.0 */
/* hftensors.h - the tensors of a folder as those of a GGUF file, by the tables of hfarch.h.
 *
 * What is quantised (hfsource.h) keeps its codes where GGUF has blocks that say the same, else it
 * becomes f16 (FP8: bf16) or the type that is asked for.
 *
 * First a plan: which tensors come of which, with what shape and type; all of it is checked.  Then
 * the values, row after row, so that memory does not depend on the model. */
#ifndef MODEL_HFTENSORS_H
#define MODEL_HFTENSORS_H

#include "model/hfmeta.h"

#define HFTENSORS_AUTO -1 /* matrices keep their type */

/* Called now and then with bytes written; a negative value ends the work and is its result. */
typedef int (*hftensors_progress)(void *arg, uint64_t done, uint64_t total);

struct hftensors_item; /* private to hftensors.c */

struct hftensors {
    const struct hffolder *folder;
    const struct hfmeta *meta;
    struct hftensors_item *items;
    uint32_t count;
    uint32_t file_type; /* as llama.cpp numbers it */
    uint32_t vocab;     /* rows of the embedding */
    uint64_t bytes;     /* of all values */
    struct arena arena;
};

/* type: of matrices, an enum dtype or HFTENSORS_AUTO; vectors and norms become f32.  On failure
 * nothing is left to free. */
int hftensors_plan(struct hftensors *t, const struct hffolder *f, const struct hfmeta *m, int type,
                   struct llmos_error *err);
void hftensors_fini(struct hftensors *t);

void hftensors_declare(const struct hftensors *t, struct ggufwrite *w);
int hftensors_write(const struct hftensors *t, struct ggufwrite *w, hftensors_progress progress,
                    void *arg, struct llmos_error *err);

#endif
