/* SPDX-License-Identifier: Apache-2.0 */
/* The filters are run here by a small interpreter of the same instructions, so that every system
 * call can be asked about without making it. */
#include "test.h"

#include "vce/launch.h"
#include "vce/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define ARCH       AUDIT_ARCH_X86_64
#define OTHER_ARCH AUDIT_ARCH_I386
#else
#define ARCH       AUDIT_ARCH_AARCH64
#define OTHER_ARCH AUDIT_ARCH_ARM
#endif
#define SELF  77
#define ALLOW SECCOMP_RET_ALLOW
#define KILL  SECCOMP_RET_KILL_PROCESS

static uint32_t jump(const struct sock_filter *f, uint32_t a)
{
    bool is_true = BPF_OP(f->code) == BPF_JEQ ? a == f->k : a >= f->k;

    return is_true ? f->jt : f->jf;
}

static uint32_t decide_for(enum seccomp_stage stage, const struct seccomp_data *data)
{
    struct sock_filter f[SECCOMP_PROGRAM_MAX];
    size_t n = seccomp_program(stage, SELF, f, SECCOMP_PROGRAM_MAX);
    uint32_t a = 0;

    for (size_t i = 0; i < n; i++) {
        switch (f[i].code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)data + f[i].k, 4);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= f[i].k;
            break;
        case BPF_RET | BPF_K:
            return f[i].k;
        case BPF_JMP | BPF_JEQ | BPF_K:
        case BPF_JMP | BPF_JGE | BPF_K:
            i += jump(&f[i], a);
            break;
        default:
            return 0xbad;
        }
    }
    return 0xbad;
}

static uint32_t ask(enum seccomp_stage stage, long nr, uint64_t a0, uint64_t a1, uint64_t a2,
                    uint64_t a3)
{
    struct seccomp_data data = {.nr = (int)nr, .arch = ARCH, .args = {a0, a1, a2, a3}};

    return decide_for(stage, &data);
}

static uint32_t sealed(long nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3)
{
    return ask(SECCOMP_SEALED, nr, a0, a1, a2, a3);
}

TEST(seccomp_ends_the_process_on_everything_that_is_not_listed)
{
    static const long listed[] = {
        __NR_read, __NR_write, __NR_mmap, __NR_futex, __NR_exit_group, __NR_ppoll, __NR_getrandom,
    };
    int allowed = 0;

    for (long nr = 0; nr < SECCOMP_EVERY_SYSTEM_CALL; nr++)
        allowed += sealed(nr, 0, 0, 0, 0) == ALLOW;
    CHECK(allowed > 30 && allowed < 60);
    for (size_t i = 0; i < sizeof(listed) / sizeof(*listed); i++)
        CHECK_INT(sealed(listed[i], 0, 0, 0, 0), ALLOW);
    CHECK_INT(sealed(-1, 0, 0, 0, 0), KILL);
}

TEST(seccomp_forbids_what_reaches_outside)
{
    static const long forbidden[] = {
        __NR_openat,
        __NR_openat2,
        __NR_socket,
        __NR_connect,
        __NR_bind,
        __NR_execve,
        __NR_execveat,
        __NR_kill,
        __NR_tkill,
        __NR_ptrace,
        __NR_mount,
        __NR_unshare,
        __NR_setns,
        __NR_setuid,
        __NR_capset,
        __NR_keyctl,
        __NR_bpf,
        __NR_io_uring_setup,
        __NR_seccomp,
        __NR_userfaultfd,
        __NR_memfd_create,
        __NR_perf_event_open,
        __NR_process_vm_readv,
        __NR_pidfd_open,
        __NR_dup,
        __NR_pkey_mprotect,
        __NR_shmget,
        __NR_prlimit64,
        __NR_personality,
        __NR_fchmod,
        __NR_ftruncate,
        __NR_mlock,
        __NR_statx,
        __NR_name_to_handle_at,
        __NR_landlock_create_ruleset,
        __NR_process_madvise,
        __NR_pidfd_getfd,
    };

    for (size_t i = 0; i < sizeof(forbidden) / sizeof(*forbidden); i++)
        for (uint64_t a = 0; a < 3; a++)
            CHECK_INT(sealed(forbidden[i], a, a, a, a), KILL);
}

TEST(seccomp_refuses_other_architectures_and_x32)
{
    struct seccomp_data data = {.nr = __NR_read, .arch = OTHER_ARCH};

    CHECK_INT(decide_for(SECCOMP_SEALED, &data), KILL);
    CHECK_INT(decide_for(SECCOMP_START, &data), KILL);
    CHECK_INT(sealed(__NR_read | 0x40000000, 0, 0, 0, 0), KILL);
}

TEST(seccomp_never_lets_memory_become_executable)
{
    CHECK_INT(sealed(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS),
              ALLOW);
    CHECK_INT(sealed(__NR_mmap, 0, 4096, PROT_READ, MAP_SHARED), ALLOW);
    CHECK_INT(sealed(__NR_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE), KILL);
    CHECK_INT(sealed(__NR_mmap, 0, 4096, PROT_EXEC | 1ull << 32, MAP_PRIVATE), KILL);
    CHECK_INT(sealed(__NR_mprotect, 0, 4096, PROT_READ, 0), ALLOW);
    CHECK_INT(sealed(__NR_mprotect, 0, 4096, PROT_READ | PROT_EXEC, 0), KILL);
}

TEST(seccomp_refuses_shared_memory_that_no_limit_counts)
{
    CHECK_INT(sealed(__NR_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS), KILL);
    CHECK_INT(sealed(__NR_mmap, 0, 4096, PROT_READ, MAP_SHARED_VALIDATE | MAP_ANONYMOUS), KILL);
}

TEST(seccomp_allows_threads_and_nothing_like_them)
{
    const uint64_t thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                            CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                            CLONE_CHILD_CLEARTID;

    CHECK_INT(sealed(__NR_clone, thread, 0, 0, 0), ALLOW);
    CHECK_INT(sealed(__NR_clone, 17, 0, 0, 0), KILL); /* fork */
    CHECK_INT(sealed(__NR_clone, thread | CLONE_NEWUSER, 0, 0, 0), KILL);
    CHECK_INT(sealed(__NR_clone, thread | CLONE_PTRACE, 0, 0, 0), KILL);
    CHECK_INT(sealed(__NR_clone, thread & ~(uint64_t)CLONE_THREAD, 0, 0, 0), KILL);
    CHECK_INT(sealed(__NR_clone3, 0, 0, 0, 0), SECCOMP_RET_ERRNO | ENOSYS);
}

TEST(seccomp_lets_a_process_signal_only_itself)
{
    CHECK_INT(sealed(__NR_tgkill, SELF, 1, 6, 0), ALLOW);
    CHECK_INT(sealed(__NR_tgkill, SELF + 1, 1, 6, 0), KILL);
}

TEST(seccomp_looks_at_the_arguments_of_what_has_many_uses)
{
    CHECK_INT(sealed(__NR_prctl, PR_SET_NAME, 0, 0, 0), ALLOW);
    CHECK_INT(sealed(__NR_prctl, PR_SET_DUMPABLE, 1, 0, 0), KILL);
    CHECK_INT(sealed(__NR_prctl, PR_SET_PDEATHSIG, 0, 0, 0), KILL);
    CHECK_INT(sealed(__NR_fcntl, 3, F_SETFL, 0, 0), ALLOW);
    CHECK_INT(sealed(__NR_fcntl, 3, F_DUPFD, 0, 0), KILL);
    CHECK_INT(sealed(__NR_ioctl, 1, TCGETS, 0, 0), SECCOMP_RET_ERRNO | ENOTTY);
    CHECK_INT(sealed(__NR_ioctl, 1, TIOCSTI, 0, 0), KILL);
    CHECK_INT(sealed(__NR_pwrite64, VCE_OUTPUT_FD, 0, 0, 0), ALLOW);
    CHECK_INT(sealed(__NR_pwrite64, VCE_PACKED_FD, 0, 0, 0), KILL);
    CHECK_INT(sealed(__NR_pwrite64, VCE_MODEL_FD, 0, 0, 0), KILL);
    CHECK_INT(sealed(__NR_newfstatat, 3, 0, 0, AT_EMPTY_PATH), ALLOW);
    CHECK_INT(sealed(__NR_newfstatat, AT_FDCWD, 0, 0, 0), KILL);
#ifdef __NR_arch_prctl
    CHECK_INT(sealed(__NR_arch_prctl, 0x1023, 18, 0, 0), ALLOW); /* to use tiles */
    CHECK_INT(sealed(__NR_arch_prctl, 0x1002, 0, 0, 0), KILL);
    CHECK_INT(sealed(__NR_arch_prctl, 0x5001, 0, 0, 0), KILL);
#endif
}

TEST(seccomp_start_executes_only_the_engine)
{
    CHECK_INT(ask(SECCOMP_START, __NR_execveat, SECCOMP_ENGINE_FD, 0, 0, 0), ALLOW);
    CHECK_INT(ask(SECCOMP_START, __NR_execveat, 4, 0, 0, 0), KILL);
    CHECK_INT(ask(SECCOMP_START, __NR_execve, 0, 0, 0, 0), KILL);
    CHECK_INT(ask(SECCOMP_START, __NR_openat, 0, 0, 0, 0), KILL);
}

TEST(seccomp_seal_allows_nothing_that_start_forbids)
{
    for (long nr = 0; nr < SECCOMP_EVERY_SYSTEM_CALL; nr++)
        for (uint64_t a = 0; a < 12; a++)
            CHECK(sealed(nr, a, a, a, a) != ALLOW || ask(SECCOMP_START, nr, a, a, a, a) == ALLOW);
}

TEST(seccomp_says_when_a_filter_does_not_fit)
{
    struct sock_filter f[16];

    CHECK_INT(seccomp_program(SECCOMP_START, SELF, f, 16), 0);
}
