/* SPDX-License-Identifier: Apache-2.0 */
/* ns.h - a process in namespaces of its own.
 *
 * For the single-threaded launcher only. */
#ifndef VCE_NS_H
#define VCE_NS_H

#include "base/fail.h"
#include "vce/launch.h"

#include <sys/types.h>

/* Like fork, into every namespace that is not in `skip` (VCE_BITs) and that the kernel grants;
 * layers says which.  The child is a child of our parent, not ours. */
pid_t ns_fork(unsigned skip, struct vce_layer_state layers[VCE_LAYER_COUNT],
              struct llmos_error *err);

/* Called by ns_fork's parent: makes user and group 0 of the child's user namespace an unprivileged
 * user outside: 65534 if we are root, else ourselves. */
int ns_map_users(pid_t child, struct llmos_error *err);

/* In the child, as user 0 of its user namespace and with /proc still there: no further user
 * namespace, and so none of the kernel code that only its owner can reach.  False if the kernel
 * does not count them. */
bool ns_forbid_more(void);

#endif
