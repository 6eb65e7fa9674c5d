/* SPDX-License-Identifier: Apache-2.0 */
/* choose.c - the best kernels for this processor, found once. */
#include "tensor/backend.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Best first, and what is only for the prompts of some models behind what generates for it; the
 * reference runs everywhere and stands last. */
static const struct backend *const backends[] = {
#if defined(__x86_64__)
    &backend_avx512amx,  &backend_avx512winograd, &backend_avx512winospans,
    &backend_avx512vnni, &backend_avx512spans,    &backend_avx2vnni,
    &backend_avx2,
#elif defined(__aarch64__)
    &backend_neon_i8mm,
    &backend_neon,
#endif
    &backend_ref,
};

const struct backend *backend_at(unsigned i)
{
    return i < sizeof(backends) / sizeof(*backends) ? backends[i] : NULL;
}

const struct backend *backend_by_name(const char *name)
{
    for (unsigned i = 0; backend_at(i); i++)
        if (strcmp(backend_at(i)->name, name) == 0)
            return backend_at(i)->usable() ? backend_at(i) : NULL;
    return NULL;
}

static bool wins(const struct backend *b)
{
    return b->usable() && !(b->is_slow && b->is_slow());
}

static const struct backend *choose(void)
{
    const char *wanted = getenv("LLMOS_BACKEND");
    const struct backend *named = wanted ? backend_by_name(wanted) : NULL;
    unsigned i = 0;

    if (named)
        return named;
    while (!wins(backend_at(i)))
        i++;
    return backend_at(i);
}

const struct backend *backend_best(void)
{
    static const struct backend *_Atomic best; /* two threads may both choose: they agree */
    const struct backend *found = atomic_load_explicit(&best, memory_order_acquire);

    if (!found) {
        found = choose();
        atomic_store_explicit(&best, found, memory_order_release);
    }
    return found;
}
