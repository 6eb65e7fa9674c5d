/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp.h - the allow-list of system calls, in two stages.
 *
 * SECCOMP_START is what llmos-vce puts on: it still allows the one execveat that makes it the
 * engine, what a static libc does before main, and what seal() needs.  SECCOMP_SEALED is stacked on
 * top by seal().  Both come from one table, so the second can never allow what the first forbids.
 * Whatever is not in the table ends the process.
 *
 * The filter is written here instruction by instruction, without libseccomp: the engine would have
 * to link it, and a table with five columns says the same in fewer words than its calls. */
#ifndef VCE_SECCOMP_H
#define VCE_SECCOMP_H

#include "base/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct sock_filter;

enum seccomp_stage { SECCOMP_START = 1, SECCOMP_SEALED = 2 };

#define SECCOMP_ENGINE_FD         7 /* the only descriptor that SECCOMP_START lets execveat execute */
#define SECCOMP_PROGRAM_MAX       512  /* instructions; the table needs about half */
#define SECCOMP_EVERY_SYSTEM_CALL 1024 /* one more than any number in use on x86-64 and aarch64 */

/* Writes the filter of a stage for the process `self` (which may signal only its own threads) and
 * returns its length; 0 if it does not fit. */
size_t seccomp_program(enum seccomp_stage stage, pid_t self, struct sock_filter *out, size_t room);

/* Puts the filter on the calling thread, for ever.  Needs no_new_privs or CAP_SYS_ADMIN. */
int seccomp_restrict(enum seccomp_stage stage, struct llmos_error *err);

/* True if a filter is on. */
bool seccomp_is_on(void);

#endif
