/* SPDX-License-Identifier: Apache-2.0 */
/* quantize.h - a model's file written anew with smaller numbers.
 *
 * Keys are copied; general.file_type says what was made.  Every tensor keeps its name and place;
 * matrices get the type that the mix says (mix.h), computed by several threads; the bytes do not
 * depend on how many.  The result is written as a stream: some 30 MB of memory whatever the model.
 */
#ifndef MODEL_QUANTIZE_H
#define MODEL_QUANTIZE_H

#include "base/pool.h"
#include "model/gguf.h"
#include "model/imatrix.h"
#include "model/mix.h"

/* What became of a tensor.  Errors are those of reading back what was written: root mean square
 * over that of the values, and the largest difference; 0 where nothing changed. */
struct quantize_result {
    const struct gguf_tensor *tensor;
    enum dtype type;
    uint64_t bytes;
    bool is_copy; /* its bytes are those of the source */
    bool has_importance;
    double rms, largest;
};

struct quantize_options {
    const struct mix *mix;
    const struct imatrix *imatrix; /* NULL: none */
    bool requantize;               /* also from types that have lost something already */
    struct pool *pool;
    /* Called after each tensor, and now and then with bytes read so far and of all; a negative
     * value ends the work.  Either may be NULL. */
    int (*done)(void *arg, const struct quantize_result *result);
    int (*progress)(void *arg, uint64_t done, uint64_t total);
    void *arg;
};

/* The model's tensors must lie in memory (gguf_parse of a map).  Writes to fd from where it stands.
 */
int quantize_write(int fd, const struct gguf *g, const struct quantize_options *options,
                   struct llmos_error *err);

#endif
