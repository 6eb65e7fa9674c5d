/* SPDX-License-Identifier: Apache-2.0 */
/* ns.c - see ns.h */
#include "vce/ns.h"

#include "base/file.h"
#include "base/mem.h"
#include "vce/rights.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static const struct {
    enum vce_layer layer;
    int flag;
} namespaces[] = {
    {VCE_USER, CLONE_NEWUSER},     {VCE_MOUNT, CLONE_NEWNS}, {VCE_PID, CLONE_NEWPID},
    {VCE_NET, CLONE_NEWNET},       {VCE_IPC, CLONE_NEWIPC},  {VCE_UTS, CLONE_NEWUTS},
    {VCE_CGROUP, CLONE_NEWCGROUP},
};
#define NAMESPACES (sizeof(namespaces) / sizeof(*namespaces))

/* The old call: clone3 is refused by the filters of many containers and adds nothing here.  With a
 * zero stack the arguments are in the same order on every processor we know. */
static pid_t fork_with(int flags)
{
    return (pid_t)syscall(__NR_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

/* 0, or errno of a child that could not be made with these flags. */
static int try_flags(int flags)
{
    pid_t child = fork_with(flags);
    int why = errno;

    if (child == 0)
        _exit(0);
    if (child < 0)
        return why;
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return 0;
}

static void say_refused(struct vce_layer_state *state, int why)
{
    char text[64];

    snprintf(state->detail, sizeof(state->detail), "refused: %s%s",
             strerror_r(why, text, sizeof(text)),
             why == EPERM || why == EACCES ? " (in a container or chroot, or user namespaces are "
                                             "switched off)"
             : why == ENOSPC               ? " (too many namespaces, see /proc/sys/user)"
                                           : "");
}

/* Something was refused: find out one by one what. */
static int grant_singly(int wanted, struct vce_layer_state layers[VCE_LAYER_COUNT])
{
    int granted = 0;

    for (size_t i = 0; i < NAMESPACES; i++) { /* the user namespace is the first */
        int why;

        if (!(wanted & namespaces[i].flag))
            continue;
        why = try_flags(namespaces[i].flag | (granted & CLONE_NEWUSER));
        if (why == 0)
            granted |= namespaces[i].flag;
        else
            say_refused(&layers[namespaces[i].layer], why);
    }
    return granted;
}

static void say_held(int granted, struct vce_layer_state layers[VCE_LAYER_COUNT])
{
    for (size_t i = 0; i < NAMESPACES; i++) {
        struct vce_layer_state *state = &layers[namespaces[i].layer];

        state->holds = (granted & namespaces[i].flag) != 0;
        if (state->holds)
            snprintf(state->detail, sizeof(state->detail), "own namespace");
    }
}

pid_t ns_fork(unsigned skip, struct vce_layer_state layers[VCE_LAYER_COUNT],
              struct llmos_error *err)
{
    int wanted = 0;
    pid_t child;

    for (size_t i = 0; i < NAMESPACES; i++)
        if (!(skip & VCE_BIT(namespaces[i].layer)))
            wanted |= namespaces[i].flag;
    say_held(wanted, layers); /* the child sees what it is told before the clone */
    child = fork_with(wanted | CLONE_PARENT);
    if (child < 0) {
        wanted = grant_singly(wanted, layers);
        say_held(wanted, layers);
        child = fork_with(wanted | CLONE_PARENT);
    }
    if (child < 0)
        return fail_errno(err, "cannot make a process for the engine");
    return child;
}

static int put(pid_t child, const char *file, const char *text)
{
    CLEANUP(fd) int fd = -1;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", child, file);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ? -1 : 0;
}

static int map_to(pid_t child, unsigned uid, unsigned gid)
{
    char line[32];

    snprintf(line, sizeof(line), "0 %u 1", gid);
    if (put(child, "gid_map", line) < 0)
        return -1;
    snprintf(line, sizeof(line), "0 %u 1", uid);
    return put(child, "uid_map", line);
}

int ns_map_users(pid_t child, struct llmos_error *err)
{
    if (geteuid() == 0 && map_to(child, RIGHTS_NOBODY, RIGHTS_NOBODY) == 0)
        return 0;
    /* An ordinary user, or root of a container that has no user 65534. */
    if (put(child, "setgroups", "deny") < 0 && errno != ENOENT)
        return fail_errno(err, "cannot forbid changing groups in the user namespace");
    if (map_to(child, geteuid(), getegid()) < 0)
        return fail_errno(err, "cannot map users into the user namespace");
    return 0;
}

bool ns_forbid_more(void)
{
    CLEANUP(fd) int fd = open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, "0", 1) == 1;
}
