/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp.c - see seccomp.h */
#include "vce/seccomp.h"

#include "vce/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "the table of system calls below was written for x86-64 and aarch64"
#endif

/* Newer than Debian 12's headers. */
#ifndef PR_GET_MDWE
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif
#define X32_BIT              0x40000000u /* the x32 ABI: other meanings under the same architecture */
#define ARCH_SET_FS_         0x1002
#define ARCH_REQ_XCOMP_PERM_ 0x1023
#define ARCH_CET_STATUS_     0x3001

#define ALLOW         SECCOMP_RET_ALLOW
#define KILL          SECCOMP_RET_KILL_PROCESS
#define ERROR(number) (SECCOMP_RET_ERRNO | (number))

#define BOTH  (SECCOMP_START | SECCOMP_SEALED)
#define START SECCOMP_START

/* What pthread_create asks for, no more and no less; a process, a namespace or a tracer needs other
 * bits.  0x400000 is CLONE_DETACHED, which musl adds and Linux ignores. */
#define THREAD_FLAGS                                                                    \
    (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | \
     CLONE_SETTLS | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

/* The first rule whose number and condition match decides.  A condition looks at the low half of
 * one argument, which is all the kernel itself reads of these: (argument & mask) == value. */
struct rule {
    uint16_t nr;
    uint8_t stages;
    uint8_t arg;
    bool has_condition, value_is_self;
    uint32_t mask, value, action;
};

#define YES(name)                                          \
    {                                                      \
        .nr = __NR_##name, .stages = BOTH, .action = ALLOW \
    }
#define AT_START(name)                                      \
    {                                                       \
        .nr = __NR_##name, .stages = START, .action = ALLOW \
    }
#define ALWAYS(name, a)                                  \
    {                                                    \
        .nr = __NR_##name, .stages = BOTH, .action = (a) \
    }
#define WHEN(name, s, n, m, v, a)                                                         \
    {                                                                                     \
        .nr = __NR_##name, .stages = (s), .arg = (n), .has_condition = true, .mask = (m), \
        .value = (v), .action = (a)                                                       \
    }
#define ANY 0xffffffffu

/* clang-format off */
static const struct rule rules[] = {
    /* computing and memory; never executable, and shared memory only of a file in hand: what is
     * shared and anonymous would escape the limit on private memory */
    YES(futex), YES(brk), YES(munmap), YES(mremap), YES(madvise),
    WHEN(mmap, BOTH, 2, PROT_EXEC, PROT_EXEC, KILL),
    WHEN(mmap, BOTH, 3, MAP_SHARED | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, KILL),
    YES(mmap),
    WHEN(mprotect, BOTH, 2, PROT_EXEC, PROT_EXEC, KILL),
    YES(mprotect),
    /* the descriptors in hand */
    YES(read), YES(write), YES(readv), YES(writev), YES(pread64), YES(lseek), YES(close),
    YES(recvfrom), YES(recvmsg), YES(sendto), YES(sendmsg), YES(ppoll),
#ifdef __NR_poll
    YES(poll),
#endif
    /* packed weights are written from the end to the head; no other VCE has this number open */
    WHEN(pwrite64, BOTH, 0, ANY, VCE_OUTPUT_FD, ALLOW),
    YES(fstat),
    /* glibc's fstat.  The path behind it cannot be seen from here, so with the mount namespace off
     * this can still ask whether a file exists, never open it. */
    WHEN(newfstatat, BOTH, 3, ANY, AT_EMPTY_PATH, ALLOW),
    WHEN(fcntl, BOTH, 1, ANY, F_GETFL, ALLOW),
    WHEN(fcntl, BOTH, 1, ANY, F_SETFL, ALLOW),
    WHEN(fcntl, BOTH, 1, ANY, F_GETFD, ALLOW),
    /* stdio asks whether it prints on a terminal */
    WHEN(ioctl, BOTH, 1, ANY, TCGETS, ERROR(ENOTTY)),
    /* time */
    YES(clock_gettime), YES(clock_getres), YES(clock_nanosleep), YES(nanosleep), YES(gettimeofday),
#ifdef __NR_time
    YES(time),
#endif
    /* threads: clone3 hides its flags from filters, so libc is told to use clone */
    WHEN(clone, BOTH, 0, ANY & ~0x400000u, THREAD_FLAGS, ALLOW),
    ALWAYS(clone3, ERROR(ENOSYS)),
    YES(set_robust_list), YES(rseq), YES(set_tid_address), YES(membarrier), YES(getcpu),
    YES(sched_yield), YES(sched_getaffinity), YES(sched_setaffinity), YES(getpid), YES(gettid),
    {.nr = __NR_tgkill, .stages = BOTH, .has_condition = true, .value_is_self = true, .mask = ANY, .action = ALLOW},
    YES(exit), YES(exit_group),
    /* signals of its own */
    YES(rt_sigaction), YES(rt_sigprocmask), YES(rt_sigreturn), YES(sigaltstack), YES(restart_syscall),
    /* the rest: qsort asks sysinfo how much memory there is */
    YES(getrandom), YES(getrusage), YES(sysinfo),
    WHEN(prctl, BOTH, 0, ANY, PR_SET_NAME, ALLOW),
    WHEN(prctl, BOTH, 0, ANY, PR_SET_VMA, ALLOW),
    /* until seal(): becoming the engine, libc before main, seal() itself */
    WHEN(execveat, START, 0, ANY, SECCOMP_ENGINE_FD, ALLOW),
    AT_START(capset),
#ifdef __NR_arch_prctl
    WHEN(arch_prctl, BOTH, 0, ANY, ARCH_REQ_XCOMP_PERM_, ALLOW), /* use tiles; see cpu.h */
    WHEN(arch_prctl, START, 0, ANY, ARCH_SET_FS_, ALLOW),
    WHEN(arch_prctl, START, 0, ANY, ARCH_CET_STATUS_, ERROR(EINVAL)),
#endif
#ifdef __NR_readlink
    ALWAYS(readlink, ERROR(ENOENT)),
#endif
    ALWAYS(readlinkat, ERROR(ENOENT)),
    WHEN(prlimit64, START, 2, ANY, 0, ALLOW),
    WHEN(prctl, START, 0, ANY, PR_SET_NO_NEW_PRIVS, ALLOW),
    WHEN(prctl, START, 0, ANY, PR_GET_SECCOMP, ALLOW),
    WHEN(prctl, START, 0, ANY, PR_SET_DUMPABLE, ALLOW),
    WHEN(prctl, START, 0, ANY, PR_GET_MDWE, ALLOW),
    AT_START(landlock_create_ruleset), AT_START(landlock_restrict_self),
    AT_START(seccomp),
};
/* clang-format on */

static size_t put_rule(struct sock_filter *at, const struct rule *r, pid_t self)
{
    const uint32_t value = r->value_is_self ? (uint32_t)self : r->value;
    const struct sock_filter plain[] = {
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, r->nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, r->action),
    };
    /* Both processors are little-endian: the low half of an argument comes first. */
    const struct sock_filter conditional[] = {
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, r->nr, 0, 5),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                 (uint32_t)(offsetof(struct seccomp_data, args) + 8u * r->arg)),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, r->mask),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, r->action),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
    };
    const struct sock_filter *from = r->has_condition ? conditional : plain;
    size_t n = r->has_condition ? sizeof(conditional) / sizeof(*conditional)
                                : sizeof(plain) / sizeof(*plain);

    for (size_t i = 0; i < n; i++)
        at[i] = from[i];
    return n;
}

size_t seccomp_program(enum seccomp_stage stage, pid_t self, struct sock_filter *out, size_t room)
{
    const struct sock_filter head[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, KILL),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_BIT, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, KILL),
    };
    const size_t head_length = sizeof(head) / sizeof(*head);
    const size_t count = sizeof(rules) / sizeof(*rules);
    size_t n = 0;

    if (room < head_length + 6 * count + 1) /* 6: the longest rule */
        return 0;
    for (; n < head_length; n++)
        out[n] = head[n];
    for (size_t i = 0; i < count; i++)
        if (rules[i].stages & stage)
            n += put_rule(out + n, &rules[i], self);
    out[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, KILL);
    return n;
}

int seccomp_restrict(enum seccomp_stage stage, struct llmos_error *err)
{
    struct sock_filter filter[SECCOMP_PROGRAM_MAX];
    size_t n = seccomp_program(stage, getpid(), filter, SECCOMP_PROGRAM_MAX);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = filter};

    if (n == 0)
        return fail(err, LLMOS_EINTERNAL, "the system call filter has more than %d instructions",
                    SECCOMP_PROGRAM_MAX);
    if (syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return fail_errno(err, "cannot put on the system call filter");
    return 0;
}

bool seccomp_is_on(void)
{
    return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_MODE_FILTER;
}
