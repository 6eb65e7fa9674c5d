/* SPDX-License-Identifier: Apache-2.0 */
/* model.h - open, inspect and close a model file.
 *
 * A model is mapped read-only and never copied; after opening it is immutable and any thread may
 * use it. The file is not trusted: everything is checked on opening.  Even so, open a stranger's
 * file in a process that holds no secrets (llmos does so in a VCE). */
#ifndef LLMOS_MODEL_H
#define LLMOS_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "llmos/error.h"
#include "llmos/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct llmos_model llmos_model;

/* A model in several files (NAME-00001-of-00003.gguf, ...) is opened by the path of any of them. */
LLMOS_API int llmos_model_open(llmos_model **model, const char *path, struct llmos_error *err);
/* fd stays the caller's and may be closed at once. */
LLMOS_API int llmos_model_open_fd(llmos_model **model, int fd, struct llmos_error *err);
/* Only the tokenizer: works for files without tensors or of an architecture that cannot be run.  A
 * context on such a model is refused; its info holds names, bytes and the vocabulary, the rest is
 * 0. */
LLMOS_API int llmos_model_open_vocabulary_fd(llmos_model **model, int fd, struct llmos_error *err);
LLMOS_API void
llmos_model_close(llmos_model *model); /* NULL is fine; nothing may use it any more */

LLMOS_API const llmos_tokenizer *llmos_model_tokenizer(const llmos_model *model);

struct llmos_model_info {
    const char *architecture, *name, *file_type; /* as long as the model */
    uint64_t file_bytes, weight_bytes, parameters;
    uint32_t layers, width, heads, heads_kv, vocabulary, context_trained;
    uint64_t kv_bytes_per_token; /* of a session's cache, f16 */
};

LLMOS_API void llmos_model_info(const llmos_model *model, struct llmos_model_info *info);

/* Everything about the file as JSON (UTF-8): metadata (long arrays shortened to their count and
 * first elements), hyperparameters, tensors, memory needed.  Works for files that can be parsed but
 * not run: fd is read, not a model. *json is the caller's: release it with llmos_free. */
LLMOS_API int llmos_inspect_fd(int fd, char **json, size_t *length, struct llmos_error *err);
LLMOS_API void llmos_free(void *p);

#ifdef __cplusplus
}
#endif

#endif
