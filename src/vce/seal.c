/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - see seal.h */
#include "vce/seal.h"

#include "vce/landlock.h"
#include "vce/seccomp.h"

#include <sys/prctl.h>

int seal(struct llmos_error *err)
{
    bool is_filtered = seccomp_is_on();

    /* Executed by descriptor, the process would otherwise be called "6" in ps. */
    prctl(PR_SET_NAME, "llmos-engine", 0, 0, 0);
    /* Each of these is one more lock on a door that should be closed already: where the kernel has
     * none, llmos-vce has said so and the owner's configuration has accepted it. */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    landlock_restrict(-1, NULL);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* nobody of the same user reads our memory; no core dump */
    return is_filtered ? seccomp_restrict(SECCOMP_SEALED, err) : 0;
}
