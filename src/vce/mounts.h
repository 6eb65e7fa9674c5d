/* SPDX-License-Identifier: Apache-2.0 */
/* mounts.h - an empty read-only root in place of everybody's files.
 *
 * For a process that is alone in a new mount namespace and has CAP_SYS_ADMIN over it. */
#ifndef VCE_MOUNTS_H
#define VCE_MOUNTS_H

#include "base/fail.h"

/* Returns 0 if the old root is gone from the namespace, 1 if it could only be hidden by chroot (the
 * caller itself lives in a chroot or an initramfs, where pivot_root cannot work). */
int mounts_empty_root(struct llmos_error *err);

#endif
