/* SPDX-License-Identifier: Apache-2.0 */
/* rights.h - give up what a process may do: capabilities, gaining rights, executable memory,
 * rlimits.
 *
 * Every call concerns the calling process and cannot be undone.  Single-threaded callers only. */
#ifndef VCE_RIGHTS_H
#define VCE_RIGHTS_H

#include "base/fail.h"

#include <stdbool.h>
#include <stdint.h>

#define RIGHTS_THREADS_MAX 512 /* of one engine: four times the cores of a large machine */
#define RIGHTS_NOBODY      65534

/* Two steps, because Landlock and seccomp need either no_new_privs or CAP_SYS_ADMIN in between:
 * first what no later program could regain, then what is held now. */
int rights_drop_future_capabilities(struct llmos_error *err);
int rights_drop_capabilities(struct llmos_error *err);

int rights_no_new_privs(struct llmos_error *err);
int rights_no_executable_memory(struct llmos_error *err); /* PR_SET_MDWE, Linux 6.3 */

/* Becomes user and group `id` with no other group. */
int rights_become(unsigned id, struct llmos_error *err);

/* Hard and soft limits, never above what they are.  memory_max_bytes 0: memory is not bounded.
 * Processes are counted per user and namespace, so the bound on them needs a user namespace. */
struct rights_limits {
    uint64_t memory_max_bytes, mapped_bytes;
    uint64_t write_max_bytes; /* of every file that is open for writing; 0: none grows */
    bool has_user_namespace;
};
int rights_limit(const struct rights_limits *l, struct llmos_error *err);

/* Served last where processors are scarce (nice 19); nothing depends on it. */
void rights_yield_processors(void);

#endif
