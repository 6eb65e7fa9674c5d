/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors_fuzz.c - any bytes as a safetensors file: refused with a sentence, or every tensor
 * lies inside the file and touches no other. */
#include "model/safetensors.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct llmos_error err = {0};
    struct safetensors s;
    struct arena arena;
    volatile uint8_t seen = 0;
    uint64_t sum = 0;

    arena_init(&arena, 16u << 20);
    if (safetensors_parse(&s, &arena, (struct str){(const char *)data, size}, "f", &err) < 0) {
        if (err.code == 0 || err.text[0] == '\0')
            abort();
        arena_fini(&arena);
        return 0;
    }
    for (uint32_t i = 0; i < s.count; i++) {
        const struct safetensors_tensor *t = &s.tensors[i];

        if (t->bytes != t->values * safetensors_type_bytes(t->type) || t->data < data ||
            t->data + t->bytes > data + size)
            abort();
        for (uint64_t b = 0; b < t->bytes; b++)
            seen ^= t->data[b];
        sum += t->bytes;
    }
    if (sum > size)
        abort();
    arena_fini(&arena);
    return 0;
}
