/* SPDX-License-Identifier: Apache-2.0 */
/* landlock.c - see landlock.h */
#include "vce/landlock.h"

#include "base/file.h"
#include "base/mem.h"

#include <errno.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* Debian 12's headers stop at ABI 2: the newer constants are here, from the kernel's documentation
 * of its interface. */
enum {
    FS_EXECUTE = 1 << 0,
    FS_READ_FILE = 1 << 2,
    FS_ABI_1 = (1 << 13) - 1, /* execute, write, read, make and remove of every kind */
    FS_REFER = 1 << 13,       /* ABI 2 */
    FS_TRUNCATE = 1 << 14,    /* ABI 3 */
    FS_IOCTL_DEV = 1 << 15,   /* ABI 5 */
    NET_TCP = 3,              /* ABI 4: bind and connect */
    SCOPES = 3,               /* ABI 6: abstract unix sockets, signals */
    CREATE_VERSION = 1,
    RULE_PATH_BENEATH = 1,
};

struct ruleset_attr {
    uint64_t fs, net, scoped;
};

struct path_beneath_attr {
    uint64_t allowed;
    int32_t parent_fd;
} __attribute__((packed));

static struct ruleset_attr everything(int abi)
{
    struct ruleset_attr a = {.fs = FS_ABI_1};

    a.fs |= abi >= 2 ? FS_REFER : 0;
    a.fs |= abi >= 3 ? FS_TRUNCATE : 0;
    a.net = abi >= 4 ? NET_TCP : 0;
    a.fs |= abi >= 5 ? FS_IOCTL_DEV : 0;
    a.scoped = abi >= 6 ? SCOPES : 0;
    return a;
}

/* A kernel refuses a structure longer than it knows only if the rest is not zero; short is safest.
 */
static size_t attr_size(int abi)
{
    return abi >= 6   ? sizeof(struct ruleset_attr)
           : abi >= 4 ? offsetof(struct ruleset_attr, scoped)
                      : offsetof(struct ruleset_attr, net);
}

const char *landlock_gaps(int abi)
{
    return abi >= 6   ? ""
           : abi == 5 ? "signals and abstract sockets not covered"
           : abi == 4 ? "signals, abstract sockets and device ioctls not covered"
                      : "TCP, signals, abstract sockets and device ioctls not covered";
}

int landlock_restrict(int execute_fd, struct llmos_error *err)
{
    CLEANUP(fd) int ruleset = -1;
    struct ruleset_attr attr;
    /* Executing opens the file, and opening reads. */
    struct path_beneath_attr rule = {.allowed = FS_EXECUTE | FS_READ_FILE, .parent_fd = execute_fd};
    int abi = (int)syscall(__NR_landlock_create_ruleset, NULL, 0, CREATE_VERSION);

    if (abi < 1 && errno == ENOSYS)
        return fail(err, LLMOS_EUNSUPPORTED, "this kernel has no Landlock");
    if (abi < 1 && errno == EOPNOTSUPP)
        return fail(err, LLMOS_EUNSUPPORTED, "Landlock is switched off at boot (lsm=)");
    if (abi < 1)
        return fail_errno(err, "cannot ask for Landlock");
    attr = everything(abi);
    ruleset = (int)syscall(__NR_landlock_create_ruleset, &attr, attr_size(abi), 0);
    if (ruleset < 0)
        return fail_errno(err, "cannot make a Landlock ruleset");
    if (execute_fd >= 0 &&
        syscall(__NR_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0)
        return fail_errno(err, "cannot except the engine from Landlock");
    if (syscall(__NR_landlock_restrict_self, ruleset, 0) < 0)
        return fail_errno(err, "cannot enter a Landlock domain");
    return abi;
}
