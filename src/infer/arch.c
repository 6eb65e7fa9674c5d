/* SPDX-License-Identifier: Apache-2.0 */
/* arch.c - the families that we know: a new one is one more line here. */
#include "infer/arch.h"

#include <string.h>

static const struct arch *const families[] = {&arch_llama};

const struct arch *arch_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
        if (strcmp(families[i]->name, name) == 0)
            return families[i];
    return NULL;
}
