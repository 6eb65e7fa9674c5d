/* SPDX-License-Identifier: Apache-2.0 */
/* imatrix_fuzz.c - any bytes as importance data, and as blocks of every number type. */
#include "base/mem.h"
#include "model/imatrix.h"
#include "tensor/dtype.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CLAIM(claim)  \
    do {              \
        if (!(claim)) \
            abort();  \
    } while (0)

static void use(const struct imatrix *im)
{
    for (size_t i = 0; i < im->entry_count; i++) {
        const struct imatrix_entry *e = &im->entries[i];

        CLAIM(e->count > 0 && imatrix_find(im, e->name) == e);
        for (size_t k = 0; k < e->count; k++)
            CLAIM(isfinite(e->values[k]) && e->values[k] >= 0);
    }
}

/* Whatever the bits, reading stays inside the block and inside the numbers; finite ones can be
 * written again. */
static void decode(enum dtype type, const uint8_t *data, size_t size)
{
    const struct dtype_info *info = dtype_info(type);
    unsigned char *block = malloc(info->block_bytes), *again = malloc(info->block_bytes);
    float *out = malloc(info->block * sizeof(float)), *back = malloc(info->block * sizeof(float));
    bool is_finite = true;

    CLAIM(block && again && out && back);
    memset(block, 0, info->block_bytes);
    memcpy(block, data, size < info->block_bytes ? size : info->block_bytes);
    info->to_f32(block, out, info->block);
    for (size_t i = 0; i < info->block; i++)
        is_finite &= isfinite(out[i]);
    if (type < DTYPE_IQ1_S) { /* those are slow to write */
        info->from_f32(out, NULL, again, info->block);
        info->to_f32(again, back, info->block);
        for (size_t i = 0; i < info->block && !is_finite && info->block > 1; i++)
            CLAIM(isnan(back[i]));
    }
    free(block);
    free(again);
    free(out);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned char *bytes;
    struct imatrix im;

    if (size > 0 && data[0] < DTYPE_COUNT) { /* a file of so few entries begins with zeros, too */
        decode((enum dtype)data[0], data + 1, size - 1);
    }
    bytes = mem_alloc(size); /* aligned, and reads past its end are noticed */
    CLAIM(bytes);
    if (size > 0)
        memcpy(bytes, data, size);
    if (imatrix_parse(&im, bytes, size, NULL) == 0) {
        use(&im);
        imatrix_fini(&im);
    }
    mem_free(bytes);
    return 0;
}
