/* SPDX-License-Identifier: Apache-2.0 */
/* landlock.h - forbid every file, TCP port, abstract socket and foreign process by Landlock.
 *
 * Domains stack: a later one can only take away.  Single-threaded callers only. */
#ifndef VCE_LANDLOCK_H
#define VCE_LANDLOCK_H

#include "base/fail.h"

/* Everything this kernel's Landlock knows is forbidden, except executing the file behind
 * `execute_fd` (-1: no exception).  Needs no_new_privs or CAP_SYS_ADMIN.  Returns the ABI in use
 * (at least 1). */
int landlock_restrict(int execute_fd, struct llmos_error *err);

/* What an ABI does not cover yet, for people: "" from ABI 6 on. */
const char *landlock_gaps(int abi);

#endif
