/* SPDX-License-Identifier: Apache-2.0 */
/* packfile.h - the weights of one model once more, laid out for the kernels (tensor/packed.h).
 *
 * Made once from a GGUF file and then mapped read-only by every engine that runs the model.  The
 * file begins with a header and a table of the packed matrices (name, type, shape, offset); a
 * checksum covers every byte.  It is not trusted more than the model: every number is checked, and
 * values are only ever numbers.  Which model it belongs to says the size of the GGUF file and every
 * row of the table; that the bytes of both agree is promised by whoever names the files.
 *
 * Little-endian.  64 bytes: magic "LLMOSPK1"; u32 version (PACKED_VERSION), matrices; u64 bytes of
 * this file, bytes of the GGUF file, checksum of all that follows these 64 bytes; zeros.  Then for
 * each matrix 128 bytes: name[96], u32 type, zeros; u64 inner, rows (of all experts), offset.  Then
 * the matrices in the order in which a token meets them, each at a multiple of 4096, with zeros
 * between.  All of it but the checksum and the matrices follows from the model, so that reading is
 * comparing.
 *
 * The checksum (base/checksum.h) finds damage, not malice. */
#ifndef MODEL_PACKFILE_H
#define MODEL_PACKFILE_H

#include "base/pool.h"
#include "llmos/model.h"

#include <stdbool.h>

/* Does packing this model change anything on this processor?  False where the kernels here read no
 * packed weights or no matrix of the model has a packed form. */
bool packfile_helps(const llmos_model *model);

/* Bytes that packfile_write will write. */
uint64_t packfile_bytes(const llmos_model *model);

/* Called now and then with bytes done and in all; a negative value (LLMOS_ECANCELED) ends the work.
 */
typedef int (*packfile_progress)(void *arg, uint64_t done, uint64_t total);

/* Writes the packed form of a model to fd, from offset 0 on, in pieces of 2 MiB: file systems that
 * can then keep it in large pages, which are read up to twice as fast.  On failure the file is not
 * valid: its header is written last. */
int packfile_write(int fd, const llmos_model *model, packfile_progress progress, void *arg,
                   struct llmos_error *err);

/* Maps a packed file and lets the model compute with it; fd stays the caller's and may be closed.
 * LLMOS_EFORMAT: it is damaged, cut off, of another version or of another model; the model is
 * unchanged and runs from its own layout.  Reads every byte once (the checksum), with the threads
 * of a pool or, where that is NULL, the caller's.  Once at most, and before any context of the
 * model is made. */
int packfile_use(llmos_model *model, int fd, struct pool *pool, struct llmos_error *err);

#endif
