/* SPDX-License-Identifier: Apache-2.0 */
/* machine.h - what this process may use of the machine: processors, memory, pages.
 *
 * Affinity, cpuset and the limits of control groups (version 2 or 1, of every group above us)
 * decide, not what the machine has.  Nothing is remembered: limits change, ask again.  Any thread
 * may call. The functions that take `root` read root/proc and the mount points named there below
 * root; "" is the real machine, tests bring a made-up tree. */
#ifndef BASE_MACHINE_H
#define BASE_MACHINE_H

#include <stddef.h>
#include <stdint.h>

/* At least 1.  A quota of a part of a processor is rounded to the nearest. */
unsigned machine_cpus(void);
/* usable: what affinity and cpuset allow. */
unsigned machine_cpus_at(const char *root, unsigned usable);

/* "Intel(R) Xeon(R) ..." as the kernel calls the first processor; where it does not (aarch64), the
 * architecture. */
void machine_cpu_name(const char *root, char *name, size_t size);

struct machine_memory {
    uint64_t total_bytes;     /* the least of the machine and every limit above us */
    uint64_t available_bytes; /* what can still be taken without swapping, page cache given back */
};

/* All zero if nothing could be read. */
struct machine_memory machine_memory(void);
struct machine_memory machine_memory_at(const char *root);

size_t machine_page_bytes(void);

/* The folder of the control group that this process is in, for a controller ("memory", "cpu",
 * "pids"), and its version: 1, 2, or 0 if there is none.  `mount_size` receives how many leading
 * characters are the mount point: groups above it are not ours to see.  */
int machine_cgroup(const char *root, const char *controller, char *folder, size_t folder_size,
                   size_t *mount_length);

/* The first line of a small file, without its newline; the length, or -1. */
int machine_read_line(const char *path, char *line, size_t size);

#endif
