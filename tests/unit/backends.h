/* SPDX-License-Identifier: Apache-2.0 */
/* backends.h - the back ends that can be tested on this processor. */
#ifndef TEST_BACKENDS_H
#define TEST_BACKENDS_H

#include "tensor/backend.h"

#if defined(__x86_64__)
/* backend_avx2vnni in an encoding that more processors have, so that its arithmetic is tested. */
extern const struct backend backend_avx2vnni_evex;
#define BACKEND_MORE (&backend_avx2vnni_evex)
#else
#define BACKEND_MORE NULL
#endif

/* Those that may be chosen, and the one more. */
static const struct backend *tested_at(unsigned i)
{
    if (backend_at(i))
        return backend_at(i);
    return i == 0 || backend_at(i - 1) ? BACKEND_MORE : NULL;
}

#define FOR_EACH_BACKEND(b)                             \
    for (unsigned i_##b = 0; tested_at(i_##b); i_##b++) \
        for (const struct backend *b = tested_at(i_##b); b && b->usable(); b = NULL)

#endif
