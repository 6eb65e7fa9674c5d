/* SPDX-License-Identifier: Apache-2.0 */
/* What a step takes from the system: no memory, and no system call but futex.  Both are watched
 * where they cannot be missed, in malloc itself and in the kernel, and both watchmen are tried. */
#include "llmos/session.h"

#include "sanitizer.h"
#include "test.h"
#include "tiny_llama.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROMPT 70 /* more than two batches, more than a page of the cache */
#define BATCH  30
#define STEPS  60

/* ---- every allocation of the process, libc's own too ---- */

static _Atomic unsigned long allocations;

#if defined(__GLIBC__) && !HAS_SANITIZER
#define SEES_MALLOC 1
#define SHADOW      __attribute__((visibility("default"))) /* libc finds it instead of its own */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t count, size_t n);
void *__libc_realloc(void *old, size_t n);
void *__libc_memalign(size_t alignment, size_t n);
SHADOW void *memalign(size_t alignment, size_t n);

SHADOW void *malloc(size_t n)
{
    allocations++;
    return __libc_malloc(n);
}

SHADOW void *calloc(size_t count, size_t n)
{
    allocations++;
    return __libc_calloc(count, n);
}

SHADOW void *realloc(void *old, size_t n)
{
    allocations++;
    return __libc_realloc(old, n);
}

SHADOW void *memalign(size_t alignment, size_t n)
{
    allocations++;
    return __libc_memalign(alignment, n);
}

SHADOW void *aligned_alloc(size_t alignment, size_t n)
{
    return memalign(alignment, n);
}

SHADOW int posix_memalign(void **out, size_t alignment, size_t n)
{
    *out = memalign(alignment, n);
    return *out ? 0 : ENOMEM;
}
#else
#define SEES_MALLOC 0
#endif

/* ---- every system call of the process ---- */

/* All its threads: futex and exit_group, death for anything else. */
static bool allow_futex_only(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 1, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

/* ---- what is done under their eyes ---- */

enum offence { NONE, GETPID, GETPID_ELSEWHERE, MALLOC, MEM_ALLOC };
enum verdict { CLEAN, STEP_FAILED, NO_FILTER, ALLOCATED, MEM_ASKED };

static struct tiny_llama model;
static _Atomic bool is_watched;

/* A thread that was there before the filter, as a worker is. */
static void *call_elsewhere(void *unused)
{
    while (!is_watched)
        __asm__ volatile("");
    syscall(SYS_getpid);
    return unused;
}

static void offend(enum offence offence)
{
    void *volatile p = NULL; /* or the pair is optimised away */

    if (offence == GETPID)
        syscall(SYS_getpid);
    if (offence == MALLOC)
        p = malloc(100);
    if (offence == MEM_ALLOC)
        p = mem_alloc(100);
    free(p);
}

static bool begin(llmos_context *c, llmos_session **s, uint64_t seed)
{
    struct llmos_sampling o = LLMOS_SAMPLING_INIT;
    int32_t tokens[PROMPT];
    struct rng rng;

    rng_seed(&rng, seed);
    for (size_t i = 0; i < PROMPT; i++)
        tokens[i] = (int32_t)rng_below(&rng, tiny_hparams.n_vocab);
    o.seed = seed;
    o.frequency_penalty = 0.1f;
    o.repeat_penalty = 1.1f;
    o.logprobs = 5;
    return llmos_session_create(s, c, &o, NULL) == 0 &&
           llmos_session_set_domain(*s, LLMOS_DOMAIN_COMMON, NULL) == 0 &&
           llmos_session_append(*s, tokens, PROMPT, NULL) == 0;
}

/* The rest of two prompts and their answers; then a third that begins as the first did, which has
 * ended, so that pages are found, copied and given back as well. */
static bool live(llmos_context *c, llmos_session **s, enum offence offence)
{
    struct llmos_step_out out[2];
    bool fine = true;

    for (int i = 0; i < STEPS; i++) {
        fine &= llmos_context_step(c, s, 2, out, NULL) == 0;
        if (i == STEPS / 2)
            offend(offence);
    }
    llmos_session_destroy(s[0]);
    fine &= begin(c, &s[0], 1);
    for (int i = 0; i < STEPS && fine; i++)
        fine &= llmos_context_step(c, s, 2, out, NULL) == 0;
    return fine && llmos_session_cached(s[0]) == PROMPT - 1;
}

/* In a child of its own, which ends with a verdict or is killed. */
static void be_watched(uint32_t threads, enum offence offence, bool with_filter)
{
    struct llmos_context_options o = {.threads = threads, .sessions_max = 2, .batch_tokens = BATCH};
    struct llmos_step_out out[2];
    unsigned long before;
    llmos_context *c;
    llmos_session *s[2];
    pthread_t other;
    bool fine;

    if (offence == GETPID_ELSEWHERE)
        pthread_create(&other, NULL, call_elsewhere, NULL);
    if (llmos_context_create(&c, &model.model, &o, NULL) < 0 || !begin(c, &s[0], 1) ||
        !begin(c, &s[1], 2))
        _exit(STEP_FAILED);
    /* A thread makes calls of its own until it has begun: by the end of a step all have. */
    if (llmos_context_step(c, s, 2, out, NULL) < 0)
        _exit(STEP_FAILED);
    if (with_filter && !allow_futex_only())
        _exit(NO_FILTER);
    is_watched = true;
    mem_fail_at(1); /* arenas ask as well, though most of their allocations never reach malloc */
    before = allocations;
    fine = live(c, s, offence);
    if (allocations != before)
        _exit(ALLOCATED);
    if (mem_failed())
        _exit(MEM_ASKED);
    if (offence == GETPID_ELSEWHERE)
        pthread_join(other, NULL); /* futex */
    _exit(fine ? CLEAN : STEP_FAILED);
}

/* The verdict, or 128 and the signal. */
static int judge(uint32_t threads, enum offence offence, bool with_filter)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        be_watched(threads, offence, with_filter);
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void model_init(void)
{
    if (HAS_SANITIZER)
        SKIP("a sanitizer makes system calls and allocations of its own");
    tiny_llama_init(&model, &tiny_hparams, DTYPE_Q8_0, NULL, 4);
}

static int with_filter(uint32_t threads, enum offence offence)
{
    int verdict = judge(threads, offence, true);

    if (verdict == NO_FILTER) {
        tiny_llama_fini(&model);
        SKIP("no seccomp filter can be loaded here");
    }
    return verdict;
}

TEST(steps_make_no_system_call_but_futex_and_allocate_nothing)
{
    model_init();
    for (uint32_t threads = 1; threads <= 4; threads *= 2)
        CHECK_INT(with_filter(threads, NONE), CLEAN);
    tiny_llama_fini(&model);
}

TEST(a_system_call_between_steps_would_be_seen_in_every_thread)
{
    model_init();
    CHECK_INT(with_filter(2, GETPID), 128 + SIGSYS);
    CHECK_INT(with_filter(1, GETPID_ELSEWHERE), 128 + SIGSYS);
    tiny_llama_fini(&model);
}

TEST(an_allocation_between_steps_would_be_seen)
{
    model_init();
    if (SEES_MALLOC)
        CHECK_INT(judge(2, MALLOC, false), ALLOCATED);
    CHECK_INT(judge(2, MEM_ALLOC, false), MEM_ASKED);
    tiny_llama_fini(&model);
}
