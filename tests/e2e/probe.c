/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - a test engine that tries to get out of its sandbox, one attempt at a time.
 *
 * It reads lines "NAME ARGUMENT" from its socket and answers each with a line: "succeeded" if the
 * attempt did what it should not be able to, "failed N text" with errno otherwise.  No answer means
 * that the attempt ended it.  Linked like llmos-engine. */
#include "vce/landlock.h"
#include "vce/launch.h"
#include "vce/rights.h"
#include "vce/seal.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <net/if.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MIB          ((size_t)1 << 20)
#define FORKS        600 /* more than an engine may have threads */
#define MEMORY_TAKEN 320 /* MiB; the test allows 64 and what threads' stacks need */

/* Every attempt returns >= 0 if it succeeded, -1 and errno if it did not. */

/* --- files --------------------------------------------------------------------------------- */

static int open_path(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY);

    return fd < 0 ? -1 : (int)read(fd, &byte, 1);
}

static int list_root(const char *unused)
{
    DIR *dir = opendir("/");
    struct dirent *e;

    (void)unused;
    while (dir && (e = readdir(dir)))
        if (e->d_name[0] != '.')
            return 0;
    if (dir)
        errno = ENOENT; /* it may be looked at: it is empty */
    return -1;
}

static int create_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT, 0600);
}

static int make_folder(const char *path)
{
    return mkdir(path, 0700);
}

static int write_model(const char *unused)
{
    (void)unused;
    return (int)write(VCE_MODEL_FD, "x", 1);
}

static int change_model_mode(const char *unused)
{
    (void)unused;
    return fchmod(VCE_MODEL_FD, 0700);
}

static int write_packed(const char *unused)
{
    (void)unused;
    if (write(VCE_PACKED_FD, "x", 1) == 1)
        return 0;
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, VCE_PACKED_FD, 0) == MAP_FAILED ? -1
                                                                                                : 0;
}

static int read_output(const char *unused)
{
    char byte;

    (void)unused;
    if (read(VCE_OUTPUT_FD, &byte, 1) >= 0)
        return 0;
    return mmap(NULL, 4096, PROT_READ, MAP_SHARED, VCE_OUTPUT_FD, 0) == MAP_FAILED ? -1 : 0;
}

/* So many bytes from the beginning on, and the first one again: as packed weights are written. */
static int write_output(const char *bytes)
{
    static char piece[4096];
    long left = atol(bytes);

    lseek(VCE_OUTPUT_FD, 0, SEEK_SET);
    for (; left > 0; left -= (long)sizeof(piece))
        if (write(VCE_OUTPUT_FD, piece, sizeof(piece)) != sizeof(piece))
            return -1;
    return lseek(VCE_OUTPUT_FD, 0, SEEK_SET) == 0 ? (int)write(VCE_OUTPUT_FD, "x", 1) : -1;
}

static int write_output_at(const char *offset)
{
    return (int)pwrite(VCE_OUTPUT_FD, "x", 1, atol(offset));
}

static int write_packed_at(const char *offset)
{
    return (int)pwrite(VCE_PACKED_FD, "x", 1, atol(offset));
}

static int stretch_output(const char *unused)
{
    (void)unused;
    return ftruncate(VCE_OUTPUT_FD, 1 << 20);
}

/* --- network ------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int connect_tcp(const char *port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static int listen_tcp(const char *unused)
{
    struct sockaddr_in a = loopback("0");
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    (void)unused;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
        return -1;
    return listen(fd, 1);
}

static int send_udp(const char *port)
{
    struct sockaddr_in a = loopback(port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    return fd < 0 ? -1 : (int)sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof(a));
}

static int connect_unix(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
    return fd < 0 ? -1 : connect(fd, (struct sockaddr *)&a, sizeof(a));
}

static int connect_abstract(const char *name)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    int n = snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "%s", name);

    return fd < 0 ? -1
                  : connect(fd, (struct sockaddr *)&a,
                            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n));
}

static int open_netlink(const char *unused)
{
    (void)unused;
    return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static int find_interface(const char *unused)
{
    struct ifreq r = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    (void)unused;
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &r) < 0)
        return -1;
    errno = ENETDOWN;
    return r.ifr_flags & IFF_UP ? 0 : -1;
}

static int open_packet_socket(const char *unused)
{
    (void)unused;
    return socket(AF_PACKET, SOCK_RAW, 0);
}

/* --- other processes ----------------------------------------------------------------------- */

static int signal_process(const char *pid)
{
    return kill(atoi(pid), 0);
}

static int see_process(const char *pid)
{
    return getpgid(atoi(pid));
}

static int open_process(const char *pid)
{
    return (int)syscall(__NR_pidfd_open, atoi(pid), 0);
}

static int trace_process(const char *pid)
{
    return (int)ptrace(PTRACE_SEIZE, atoi(pid), 0, 0);
}

static int read_process(const char *pid)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)16, 1};

    /* Nothing is mapped there: EFAULT means that the kernel was willing. */
    process_vm_readv(atoi(pid), &here, 1, &there, 1, 0);
    return errno == EFAULT ? 0 : -1;
}

static int attach_shared_memory(const char *id)
{
    return shmat(atoi(id), NULL, SHM_RDONLY) == (void *)-1 ? -1 : 0;
}

static int see_host_name(const char *name)
{
    struct utsname u;

    if (uname(&u) < 0)
        return -1;
    errno = ENOENT;
    return strcmp(u.nodename, name) == 0 ? 0 : -1;
}

/* --- programs and rights ------------------------------------------------------------------- */

static int execute_path(const char *path)
{
    static char name[] = "probe", end[] = "end";
    char *const arguments[] = {name, end, NULL}, *const environment[] = {NULL};

    return execve(path, arguments, environment);
}

static int execute_model(const char *unused)
{
    static char name[] = "probe", end[] = "end";
    char *const arguments[] = {name, end, NULL}, *const environment[] = {NULL};

    (void)unused;
    return (int)syscall(__NR_execveat, VCE_MODEL_FD, "", arguments, environment, AT_EMPTY_PATH);
}

static int mount_something(const char *folder)
{
    return mount("probe", folder, "tmpfs", 0, NULL);
}

static int change_root(const char *unused)
{
    (void)unused;
    return chroot("/");
}

static int make_user_namespace(const char *unused)
{
    (void)unused;
    return unshare(CLONE_NEWUSER);
}

static int make_mount_namespace(const char *unused)
{
    (void)unused;
    return unshare(CLONE_NEWNS);
}

static int change_user(const char *unused)
{
    (void)unused;
    return setresuid(1, 1, 1);
}

static int raise_priority(const char *unused)
{
    (void)unused;
    return setpriority(PRIO_PROCESS, 0, -5);
}

static int forget_parent(const char *unused)
{
    (void)unused;
    return prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
}

/* --- memory and processes ------------------------------------------------------------------ */

static int map_executable(const char *unused)
{
    (void)unused;
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) == MAP_FAILED
               ? -1
               : 0;
}

static int make_executable(const char *unused)
{
    void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)unused;
    return p == MAP_FAILED ? -1 : mprotect(p, 4096, PROT_READ | PROT_EXEC);
}

static int map_model_executable(const char *unused)
{
    (void)unused;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, VCE_MODEL_FD, 0) == MAP_FAILED ? -1
                                                                                               : 0;
}

static int fork_once(const char *unused)
{
    pid_t child = fork();

    (void)unused;
    if (child == 0)
        _exit(0);
    return child;
}

static int fork_without_end(const char *unused)
{
    (void)unused;
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();

        if (child < 0)
            return -1;
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
            alarm(20);
            for (;;)
                pause();
        }
    }
    return 0;
}

static int take(int flags)
{
    for (size_t taken = 0; taken < MEMORY_TAKEN; taken++) {
        char *p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            return -1;
        for (size_t i = 0; i < MIB; i += 4096)
            p[i] = 1;
    }
    return 0;
}

static int take_memory(const char *unused)
{
    (void)unused;
    return take(MAP_PRIVATE);
}

static int take_shared_memory(const char *unused)
{
    (void)unused;
    return take(MAP_SHARED);
}

static int lock_memory(const char *unused)
{
    static char page[8192];

    (void)unused;
    return mlock(page, sizeof(page));
}

static int open_many(const char *unused)
{
    int fd = 0;

    (void)unused;
    while (fd >= 0 && fd < 100)
        fd = dup(0);
    return fd;
}

/* --- corners of the kernel ----------------------------------------------------------------- */

static int add_a_key(const char *unused)
{
    (void)unused;
    return (int)syscall(__NR_add_key, "user", "llmos-probe", "x", 1, -2 /* of the process */);
}

static int set_up_io_uring(const char *unused)
{
    struct io_uring_params p;

    (void)unused;
    memset(&p, 0, sizeof(p));
    return (int)syscall(__NR_io_uring_setup, 1, &p);
}

static int make_bpf_map(const char *unused)
{
    union bpf_attr a;

    (void)unused;
    memset(&a, 0, sizeof(a));
    a.map_type = BPF_MAP_TYPE_ARRAY;
    a.key_size = a.value_size = 4;
    a.max_entries = 1;
    return (int)syscall(__NR_bpf, BPF_MAP_CREATE, &a, sizeof(a));
}

static int measure_others(const char *unused)
{
    struct perf_event_attr a;

    (void)unused;
    memset(&a, 0, sizeof(a));
    a.type = PERF_TYPE_SOFTWARE;
    a.size = sizeof(a);
    a.config = PERF_COUNT_SW_CPU_CLOCK;
    return (int)syscall(__NR_perf_event_open, &a, -1, 0, -1, 0);
}

static int handle_page_faults(const char *unused)
{
    (void)unused;
    return (int)syscall(__NR_userfaultfd, UFFD_USER_MODE_ONLY);
}

static int make_memory_file(const char *unused)
{
    (void)unused;
    return (int)syscall(__NR_memfd_create, "probe", 0);
}

static int type_into_terminal(const char *unused)
{
    int fd = open("/dev/tty", O_RDWR);

    (void)unused;
    return ioctl(fd < 0 ? 0 : fd, TIOCSTI, "x");
}

static int change_personality(const char *unused)
{
    (void)unused;
    return (int)syscall(__NR_personality, 0x0400000 /* READ_IMPLIES_EXEC */);
}

static int receive_signals_of_files(const char *unused)
{
    (void)unused;
    return fcntl(VCE_SOCKET_FD, F_SETOWN, 1);
}

/* --- not attempts: what the test asks and orders ------------------------------------------- */

static int how_deep_landlock(const char *unused)
{
    int depth = 0;

    (void)unused;
    while (depth < 64 && landlock_restrict(-1, NULL) > 0)
        depth++;
    return depth;
}

static int is_memory_guarded(const char *unused)
{
    (void)unused;
    return prctl(66 /* PR_GET_MDWE */, 0, 0, 0, 0);
}

static int seal_room(const char *unused)
{
    struct llmos_error err;
    int rc = seal(&err);

    (void)unused;
    errno = rc < 0 ? EPERM : 0;
    return rc;
}

static int crash(const char *unused)
{
    (void)unused;
    return *(volatile int *)mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static int fail_assertion(const char *unused)
{
    (void)unused;
    abort();
}

static int leave(const char *status)
{
    _exit(atoi(status));
}

static void *count_up(void *sum)
{
    for (int i = 0; i < 1000; i++)
        __atomic_add_fetch((int *)sum, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int use_threads(void)
{
    pthread_t threads[8];
    cpu_set_t set;
    int sum = 0;

    for (int i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, count_up, &sum) != 0)
            return -1;
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    if (sched_getaffinity(0, sizeof(set), &set) < 0 || sched_setaffinity(0, sizeof(set), &set) < 0)
        return -1;
    return sum == 8000 ? 0 : -1;
}

static int use_memory(void)
{
    const size_t count = 500000;
    int *numbers = malloc(count * sizeof(*numbers));

    if (!numbers)
        return -1;
    for (size_t i = 0; i < count; i++)
        numbers[i] = (int)((i * 7919) % count);
    qsort(numbers, count, sizeof(*numbers), compare);
    numbers = realloc(numbers, 2 * count * sizeof(*numbers));
    if (!numbers || numbers[1000] != 1000)
        return -1;
    free(numbers);
    return 0;
}

static int use_model(void)
{
    char byte, *map;
    struct stat st;

    if (fstat(VCE_MODEL_FD, &st) < 0 || pread(VCE_MODEL_FD, &byte, 1, 0) != 1)
        return -1;
    map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, VCE_MODEL_FD, 0);
    if (map == MAP_FAILED || madvise(map, (size_t)st.st_size, MADV_WILLNEED) < 0)
        return -1;
    return map[0] == byte ? 0 : -1;
}

/* What an engine does all day, to show that the seal leaves it alone. */
static int work(const char *unused)
{
    struct timespec t = {0, 1000};
    char bytes[16], text[64];

    (void)unused;
    errno = 0;
    if (use_threads() < 0 || use_memory() < 0 || use_model() < 0)
        return -1;
    if (clock_gettime(CLOCK_MONOTONIC, &t) < 0 ||
        nanosleep(&(struct timespec){0, 1000}, NULL) < 0 || getentropy(bytes, sizeof(bytes)) < 0)
        return -1;
    snprintf(text, sizeof(text), "%ld %g", (long)t.tv_sec, 1.5);
    printf("%s\n", text); /* into /dev/null */
    fflush(stdout);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const char *argument);
} attempts[] = {
    {"open", open_path},
    {"list_root", list_root},
    {"create", create_file},
    {"mkdir", make_folder},
    {"write_model", write_model},
    {"chmod_model", change_model_mode},
    {"write_packed", write_packed},
    {"read_output", read_output},
    {"write_output", write_output},
    {"write_output_at", write_output_at},
    {"write_packed_at", write_packed_at},
    {"stretch_output", stretch_output},
    {"tcp", connect_tcp},
    {"tcp_listen", listen_tcp},
    {"udp", send_udp},
    {"unix", connect_unix},
    {"abstract", connect_abstract},
    {"netlink", open_netlink},
    {"interface", find_interface},
    {"packet", open_packet_socket},
    {"signal", signal_process},
    {"see", see_process},
    {"pidfd", open_process},
    {"ptrace", trace_process},
    {"vm_read", read_process},
    {"shm", attach_shared_memory},
    {"host_name", see_host_name},
    {"exec", execute_path},
    {"exec_model", execute_model},
    {"mount", mount_something},
    {"chroot", change_root},
    {"user_namespace", make_user_namespace},
    {"mount_namespace", make_mount_namespace},
    {"setuid", change_user},
    {"priority", raise_priority},
    {"forget_parent", forget_parent},
    {"mmap_exec", map_executable},
    {"mprotect_exec", make_executable},
    {"mmap_model_exec", map_model_executable},
    {"fork", fork_once},
    {"fork_bomb", fork_without_end},
    {"memory", take_memory},
    {"shared_memory", take_shared_memory},
    {"mlock", lock_memory},
    {"descriptors", open_many},
    {"key", add_a_key},
    {"io_uring", set_up_io_uring},
    {"bpf", make_bpf_map},
    {"perf", measure_others},
    {"userfaultfd", handle_page_faults},
    {"memfd", make_memory_file},
    {"tiocsti", type_into_terminal},
    {"personality", change_personality},
    {"setown", receive_signals_of_files},
    /* orders */
    {"landlock_depth", how_deep_landlock},
    {"mdwe", is_memory_guarded},
    {"seal", seal_room},
    {"crash", crash},
    {"abort", fail_assertion},
    {"exit", leave},
    {"work", work},
};

static void answer(char *line)
{
    char *argument = strchr(line, ' '), text[128];
    int n = snprintf(text, sizeof(text), "unknown\n");

    if (argument)
        *argument++ = 0;
    for (size_t i = 0; i < sizeof(attempts) / sizeof(*attempts); i++)
        if (strcmp(attempts[i].name, line) == 0) {
            int rc = attempts[i].run(argument ? argument : "");

            n = rc < 0 ? snprintf(text, sizeof(text), "failed %d %s\n", errno, strerror(errno))
                       : snprintf(text, sizeof(text), "succeeded %d\n", rc);
        }
    if (write(VCE_SOCKET_FD, text, (size_t)n) != n)
        _exit(2);
}

int main(int argc, char **argv)
{
    char line[512];
    size_t n = 0;

    (void)argv;
    if (argc != 1) /* executed by one of the attempts */
        return 0;
    while (n < sizeof(line) && read(VCE_SOCKET_FD, line + n, 1) == 1) {
        if (line[n] == '\n') {
            line[n] = 0;
            answer(line);
            n = 0;
        } else {
            n++;
        }
    }
    return 0;
}
