/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.h - a control group of its own for each engine, in version 2, version 1 or not at all.
 *
 * Folders are made below the group that this process is in, never elsewhere, and are called
 * llmos-PID-START-N-NAME after the process that made them, so that a later one can tell which were
 * left behind by a process that was killed.  Version 1 needs one folder per controller; a list of
 * folders is one string, separated by newlines.  `root` is the folder that stands for "/" ("" in
 * earnest, a made-up tree in tests).  Calls come from one thread at a time. */
#ifndef VCE_CGROUP_H
#define VCE_CGROUP_H

#include "base/fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CGROUP_FOLDERS_SIZE 1024 /* three folders of a container in a cluster, about 300 each */

struct cgroup_limits {
    uint64_t
        memory_bytes; /* everything charged to the group, the model's cached pages too; 0: none */
    unsigned cpu_percent; /* of one core; 0: none */
    unsigned processes;
};

/* Makes a group with these limits.  On success folders names what to remove and detail says which
 * controllers hold ("cgroup v1: memory, pids, cpu").  If only some of the limits could be had the
 * result is LLMOS_EUNSUPPORTED, err says which are missing, and folders still holds the others. */
int cgroup_create(const char *root, const char *name, const struct cgroup_limits *limits,
                  char folders[CGROUP_FOLDERS_SIZE], char *detail, size_t detail_size,
                  struct llmos_error *err);

/* Moves the calling process there, which has one thread. */
int cgroup_join(const char *folders, struct llmos_error *err);

/* True if the kernel killed a process of the group because the memory limit was reached. */
bool cgroup_ran_out_of_memory(const char *folders);

/* Removes the folders, which must be empty; waits up to 200 ms for the kernel to agree. */
void cgroup_remove(const char *folders);

/* Removes empty groups of processes that no longer exist. */
void cgroup_remove_stale(const char *root);

#endif
