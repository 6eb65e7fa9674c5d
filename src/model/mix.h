/* SPDX-License-Identifier: Apache-2.0 */
/* mix.h - which number type each tensor of a model gets when it is quantised as "Q4_K_M", ...
 *
 * A mix is a type for most matrices, and rules that give more bits where they do most good.  The
 * rules are those of llama.cpp (llama-quant.cpp), so that a name means the same everywhere. */
#ifndef MODEL_MIX_H
#define MODEL_MIX_H

#include "base/fail.h"
#include "base/str.h"
#include "tensor/dtype.h"

struct mix {
    const char *name;
    uint32_t file_type; /* general.file_type of GGUF */
    enum dtype type;
};

/* What of a model the rules ask for. */
struct mix_model {
    uint32_t layers, heads, heads_kv, experts;
    bool tied_output;    /* no output.weight: the embedding is that, too */
    bool has_importance; /* data for the quantiser (imatrix.h) */
};

/* Case does not matter.  LLMOS_EINVAL lists them. */
int mix_by_name(const struct mix **mix, struct str name, struct llmos_error *err);
const struct mix *mix_at(unsigned i); /* NULL behind the last */

/* Only matrices of weights change their type; vectors, norms and routers stay as they are. */
bool mix_changes(struct str tensor, size_t inner, size_t rows);

/* The type for such a matrix.  Where its rows are no multiple of a super-block's 256 values, a type
 * of blocks of 32 with about as many bits stands in, and f16 where they are no multiple of that. */
enum dtype mix_type(const struct mix *mix, const struct mix_model *m, struct str tensor,
                    size_t inner);

#endif
