/* SPDX-License-Identifier: Apache-2.0 */
/* llmos.h - the library: includes the rest. */
#ifndef LLMOS_LLMOS_H
#define LLMOS_LLMOS_H

#include "llmos/error.h"
#include "llmos/model.h"
#include "llmos/session.h"
#include "llmos/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

LLMOS_API const char *llmos_version(void); /* "0.1.0" */

#ifdef __cplusplus
}
#endif

#endif
