/* SPDX-License-Identifier: Apache-2.0 */
/* seal.h - the engine's first act: give up what starting needed.
 *
 * llmos-vce's filter must allow execveat and what libc does before main.  seal() stacks a second
 * seccomp filter, and a Landlock domain that allows nothing at all, on top.  After it, only
 * computing, memory, threads, futexes, time and the descriptors in hand remain.  Call it before any
 * thread exists and before reading anything from outside. */
#ifndef VCE_SEAL_H
#define VCE_SEAL_H

#include "base/fail.h"

/* Fails only if the room has seccomp on (the launcher's filter is there) and the second filter
 * cannot be had. */
int seal(struct llmos_error *err);

#endif
