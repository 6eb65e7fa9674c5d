/* SPDX-License-Identifier: Apache-2.0 */
/* rights.c - see rights.h */
#include "vce/rights.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than Debian 12's headers. */
#ifndef PR_SET_MDWE
#define PR_SET_MDWE              65
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

#define MIB ((uint64_t)1 << 20)

int rights_drop_future_capabilities(struct llmos_error *err)
{
    bool may = true;

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return fail_errno(err, "cannot drop ambient capabilities");
    for (int cap = 0; may && prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
        may = prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0;
        if (!may && errno != EPERM)
            return fail_errno(err, "cannot drop capability %d", cap);
    }
    if (!may)
        return fail(err, LLMOS_EDENIED,
                    "none is held, but an ordinary user cannot empty the bounding set outside a "
                    "user namespace");
    /* User 0 of the namespace is an ordinary user from now on. */
    if (prctl(PR_SET_SECUREBITS,
              SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                  SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED,
              0, 0, 0) < 0)
        return fail_errno(err, "cannot take the rights of root from user 0");
    return 0;
}

int rights_drop_capabilities(struct llmos_error *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2];

    memset(none, 0, sizeof(none));
    if (syscall(__NR_capset, &head, none) < 0)
        return fail_errno(err, "cannot drop capabilities");
    return 0;
}

int rights_no_new_privs(struct llmos_error *err)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail_errno(err, "cannot set no_new_privs");
    return 0;
}

int rights_no_executable_memory(struct llmos_error *err)
{
    if (prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0)
        return 0;
    if (errno == EINVAL)
        return fail(err, LLMOS_EUNSUPPORTED, "this kernel cannot (Linux 6.3 can)");
    return fail_errno(err, "cannot forbid executable memory");
}

int rights_become(unsigned id, struct llmos_error *err)
{
    /* A user namespace made by an ordinary user may not change groups; those that remain mean
     * nothing inside. */
    if (setgroups(0, NULL) < 0 && errno != EPERM)
        return fail_errno(err, "cannot leave the groups");
    if (setresgid(id, id, id) < 0 || setresuid(id, id, id) < 0)
        return fail_errno(err, "cannot become user %u", id);
    return 0;
}

static int lower(int resource, uint64_t most)
{
    struct rlimit limit;

    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return -1;
    if (limit.rlim_max > most)
        limit.rlim_max = most;
    if (limit.rlim_cur > limit.rlim_max)
        limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit);
}

static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void rights_yield_processors(void)
{
    setpriority(PRIO_PROCESS, 0, 19);
}

int rights_limit(const struct rights_limits *l, struct llmos_error *err)
{
    long cpus = sysconf(_SC_NPROCESSORS_CONF);
    /* Writable private memory: the budget, and stacks of 8 MiB that are reserved, not used. */
    uint64_t data = add(l->memory_max_bytes, 64 * MIB + 8 * MIB * (uint64_t)(cpus > 0 ? cpus : 1));
    /* Address space besides: the model, and 64 MiB that libc reserves for each of 8 arenas a core.
     */
    uint64_t space =
        add(add(data, l->mapped_bytes), 1024 * MIB + 512 * MIB * (uint64_t)(cpus > 0 ? cpus : 1));
    const struct {
        int resource;
        uint64_t most;
        bool wanted;
    } limits[] = {
        {RLIMIT_CORE, 0, true},
        {RLIMIT_FSIZE, l->write_max_bytes, true},
        {RLIMIT_NOFILE, 16, true}, /* it holds six or seven */
        {RLIMIT_MEMLOCK, 0, true},
        {RLIMIT_MSGQUEUE, 0, true},
        {RLIMIT_NICE, 0, true},
        {RLIMIT_RTPRIO, 0, true},
        {RLIMIT_STACK, 8 * MIB, true}, /* also the size of a thread's stack */
        {RLIMIT_NPROC, RIGHTS_THREADS_MAX, l->has_user_namespace},
        {RLIMIT_DATA, data, l->memory_max_bytes > 0},
        {RLIMIT_AS, space, l->memory_max_bytes > 0},
    };

    for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++)
        if (limits[i].wanted && lower(limits[i].resource, limits[i].most) < 0)
            return fail_errno(err, "cannot lower resource limit %d", limits[i].resource);
    return 0;
}
