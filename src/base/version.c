/* SPDX-License-Identifier: Apache-2.0 */
/* version.c - which release is this */
#include "llmos/llmos.h"

const char *llmos_version(void)
{
    return LLMOS_VERSION;
}
