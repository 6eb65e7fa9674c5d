/* SPDX-License-Identifier: Apache-2.0 */
/* vce_test.c - a hostile engine (probe.c) in the sandbox, watched from inside and from outside.
 *
 * Runs as whoever calls it; with LLMOS_VCE_USER in the environment root becomes nobody first.  What
 * this kernel does not grant is said in comment lines and its claims are not made. */
#include "test.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "vce/launch.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY   65534
#define ALL      (VCE_BIT(VCE_LAYER_COUNT) - 1)
#define B(layer) VCE_BIT(VCE_##layer)
#define MEMORY   ((uint64_t)64 << 20)

/* --- the world outside ---------------------------------------------------------------------- */

static struct {
    char folder[64], launcher[96], engine[96], model[96], unix_path[96], new_path[96];
    char outside_engine[96];
    char port[16], udp_port[16], abstract[64], victim[16], shm[16], proc[64], host[65];
    pid_t owner, victim_pid;
    int model_fd, shm_id;
    bool is_root;
    const char *problem; /* why nothing can be tested */
} world = {.model_fd = -1, .shm_id = -1};

static void load(struct buf *program, const char *build, const char *name)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", build, name);
    buf_init(program, 256 << 20);
    if (file_read(path, program, NULL) < 0)
        world.problem = "a program to test was not built";
}

static void put_program(const struct buf *program, const char *to)
{
    FILE *f = fopen(to, "we");

    if (!f || fwrite(program->at, 1, program->len, f) != program->len || fclose(f) != 0 ||
        chmod(to, 0755))
        world.problem = "cannot copy the programs to test";
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

static void clean_world(void)
{
    if (world.owner != getpid())
        return;
    if (world.victim_pid > 0) {
        kill(world.victim_pid, SIGKILL);
        waitpid(world.victim_pid, NULL, 0);
    }
    if (world.shm_id >= 0)
        shmctl(world.shm_id, IPC_RMID, NULL);
    if (world.folder[0])
        nftw(world.folder, remove_one, 8, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void listen_inet(int type, char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)&a, n) < 0 || (type == SOCK_STREAM && listen(fd, 100) < 0) ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        world.problem = "cannot listen on loopback";
    sprintf(port, "%d", ntohs(a.sin_port));
}

static void listen_unix(const char *path, bool is_abstract)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t n = (size_t)snprintf(a.sun_path + is_abstract, sizeof(a.sun_path) - 1, "%s", path);

    if (bind(fd, (struct sockaddr *)&a,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1)) < 0 ||
        listen(fd, 100) < 0)
        world.problem = "cannot listen on a unix socket";
    if (!is_abstract)
        chmod(path, 0777);
}

/* Somebody else's process, with the very user that an engine is outside: the hardest case. */
static void make_victim(void)
{
    int ready[2];
    char byte;

    if (pipe(ready) < 0)
        return;
    world.victim_pid = fork();
    if (world.victim_pid == 0) {
        if (geteuid() == 0 && (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
                               setresuid(NOBODY, NOBODY, NOBODY)))
            _exit(1);
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (write(ready[1], "", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    if (read(ready[0], &byte, 1) != 1)
        world.problem = "cannot make a process to attack";
    close(ready[0]);
    close(ready[1]);
    sprintf(world.victim, "%d", world.victim_pid);
    sprintf(world.proc, "/proc/%d/status", world.victim_pid);
}

static void become_nobody(void)
{
    if (!getenv("LLMOS_VCE_USER"))
        return;
    if (geteuid() != 0)
        world.problem = "this is an ordinary user already; the other run covers it";
    else if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
             setresuid(NOBODY, NOBODY, NOBODY))
        world.problem = "cannot become nobody";
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static void name_things(void)
{
    struct utsname u;

    uname(&u);
    snprintf(world.host, sizeof(world.host), "%s", u.nodename);
    snprintf(world.folder, sizeof(world.folder), "/tmp/llmos-vce-XXXXXX");
    if (!mkdtemp(world.folder))
        world.problem = "cannot make a folder in /tmp";
    chmod(world.folder, 0777);
    /* Upwards from here whoever runs the tests may go; from a clone below /root nobody may not. */
    if (chdir(world.folder) < 0)
        world.problem = "cannot enter a folder in /tmp";
    snprintf(world.launcher, sizeof(world.launcher), "%s/llmos-vce", world.folder);
    snprintf(world.engine, sizeof(world.engine), "%s/engine", world.folder);
    snprintf(world.outside_engine, sizeof(world.outside_engine), "%s/program", world.folder);
    snprintf(world.model, sizeof(world.model), "%s/model", world.folder);
    snprintf(world.unix_path, sizeof(world.unix_path), "%s/socket", world.folder);
    snprintf(world.new_path, sizeof(world.new_path), "%s/new", world.folder);
    snprintf(world.abstract, sizeof(world.abstract), "llmos-vce-test-%d", getpid());
}

__attribute__((constructor(101))) static void make_world(void)
{
    const char *build = getenv("LLMOS_BUILD");
    struct buf launcher, probe;

    if (getenv("LLMOS_SANITIZED")) {
        world.problem = "with a sanitizer the engine is linked dynamically and cannot live in an "
                        "empty room";
        return;
    }
    if (!build) {
        world.problem = "LLMOS_BUILD does not name the build folder";
        return;
    }
    /* While we still may: nobody cannot look into a build folder below /root. */
    load(&launcher, build, "llmos-vce");
    load(&probe, build, "tests/e2e/vce_probe");
    if (!world.problem)
        become_nobody();
    if (world.problem)
        return;
    world.owner = getpid();
    world.is_root = geteuid() == 0;
    umask(0022);
    atexit(clean_world);
    name_things();
    put_program(&launcher, world.launcher);
    put_program(&probe, world.engine);
    put_program(&probe, world.model);
    put_program(&probe, world.outside_engine);
    buf_fini(&launcher);
    buf_fini(&probe);
    world.model_fd = open(world.model, O_RDONLY | O_CLOEXEC);
    listen_inet(SOCK_STREAM, world.port);
    listen_inet(SOCK_DGRAM, world.udp_port);
    listen_unix(world.unix_path, false);
    listen_unix(world.abstract, true);
    world.shm_id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0666);
    sprintf(world.shm, "%d", world.shm_id);
    make_victim();
}

#define NEED_WORLD()             \
    do {                         \
        if (world.problem)       \
            SKIP(world.problem); \
    } while (0)

/* --- one start ------------------------------------------------------------------------------ */

static struct llmos_error err;

static struct vce_options options_without(unsigned skip)
{
    return (struct vce_options){.launcher_path = world.launcher,
                                .engine_path = world.engine,
                                .name = "probe",
                                .model_fd = world.model_fd,
                                .memory_max_bytes = MEMORY,
                                .skip = skip};
}

static int begin(struct vce *v, unsigned skip)
{
    struct vce_options o = options_without(skip);

    memset(&err, 0, sizeof(err));
    return vce_start(v, &o, &err);
}

static unsigned held(const struct vce *v)
{
    unsigned bits = 0;

    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        bits |= v->layers[i].holds ? VCE_BIT(i) : 0;
    return bits;
}

static int landlock_abi;

/* What this kernel grants this user, with nothing switched off; found once. */
static unsigned granted(void)
{
    static unsigned bits;
    static bool is_known;
    struct vce v;

    if (is_known)
        return bits;
    if (begin(&v, 0) < 0)
        TEST_FAIL("%s", err.text);
    bits = held(&v);
    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        if (!v.layers[i].holds)
            printf("# SKIP what needs layer '%s', which does not hold here: %s\n",
                   vce_layer_name(i), v.layers[i].detail);
    if (sscanf(v.layers[VCE_LANDLOCK].detail, "abi %d", &landlock_abi) == 1 && landlock_abi < 6)
        printf("# SKIP what this Landlock does not know: %s\n", v.layers[VCE_LANDLOCK].detail);
    vce_fini(&v);
    is_known = true;
    return bits;
}

enum outcome { SUCCEEDED, FAILED, ENDED };

/* Sends a line, reads the answer or the end. */
static enum outcome order(struct vce *v, const char *name, const char *argument, char *said,
                          size_t said_size)
{
    struct pollfd p = {.fd = v->socket, .events = POLLIN};
    char line[512];
    size_t n = (size_t)snprintf(line, sizeof(line), "%s %s\n", name, argument);
    ssize_t got;

    snprintf(said, said_size, "no answer in 20 s");
    if (send(v->socket, line, n, MSG_NOSIGNAL) < 0)
        return ENDED;
    if (poll(&p, 1, 20000) != 1)
        return SUCCEEDED; /* a hang is not a refusal */
    got = recv(v->socket, line, sizeof(line) - 1, 0);
    if (got <= 0) {
        p.fd = v->pidfd;
        poll(&p, 1, 20000);
        vce_ended(v, said, said_size);
        /* One of the attempts executes a program that does nothing. */
        return strcmp(said, "exited with 0") == 0 ? SUCCEEDED : ENDED;
    }
    line[got] = 0;
    line[strcspn(line, "\n")] = 0;
    snprintf(said, said_size, "%.*s", (int)said_size - 1, line);
    return strncmp(line, "succeeded", 9) == 0 ? SUCCEEDED : FAILED;
}

static int order_number(struct vce *v, const char *name)
{
    char said[256];

    return order(v, name, "", said, sizeof(said)) == SUCCEEDED ? atoi(said + 9) : -1;
}

/* --- the attempts --------------------------------------------------------------------------- */

enum {
    ROOT_ONLY = 1,   /* an ordinary user cannot do it even outside */
    NEVER = 2,       /* fails for everybody: that it does is the point */
    MAYBE = 4,       /* depends on how the kernel was built and set */
    NO_SECCOMP = 8,  /* what it does is allowed, only how much is not */
    ROOT_COVERS = 16 /* the layers beside seccomp cover it only where root started the engine */
};

static const struct attempt {
    const char *name, *argument;
    unsigned covers; /* layers, each of which stops it alone; seccomp besides */
    unsigned flags;
} attempts[] = {
    {"open", "/etc/passwd", B(MOUNT) | B(LANDLOCK), 0},
    {"open", "../../../../../../../etc/passwd", B(MOUNT) | B(LANDLOCK), 0},
    {"open", "/proc/self/status", B(MOUNT) | B(LANDLOCK), 0},
    {"open", world.proc, B(MOUNT) | B(LANDLOCK), 0},
    {"open", "/dev/zero", B(MOUNT) | B(LANDLOCK), 0},
    {"list_root", "", B(MOUNT) | B(LANDLOCK), 0},
    {"create", world.new_path, B(MOUNT) | B(LANDLOCK), 0},
    {"mkdir", world.new_path, B(MOUNT) | B(LANDLOCK), 0},
    {"write_model", "", 0, NEVER | NO_SECCOMP},
    {"chmod_model", "", B(USER), ROOT_COVERS},
    {"tcp", world.port, B(NET) | B(LANDLOCK), 0},
    {"tcp_listen", "", B(LANDLOCK), 0},
    {"udp", world.udp_port, B(NET), 0},
    {"unix", world.unix_path, B(MOUNT), 0},
    {"abstract", world.abstract, B(NET) | B(LANDLOCK), 0},
    {"netlink", "", 0, 0},
    {"interface", "", B(NET), 0},
    {"packet", "", B(USER) | B(CAPS), ROOT_ONLY | MAYBE},
    {"signal", world.victim, B(PID) | B(LANDLOCK), 0},
    {"see", world.victim, B(PID), 0},
    {"pidfd", world.victim, B(PID), 0},
    {"ptrace", world.victim, B(PID) | B(LANDLOCK) | B(USER), MAYBE},
    {"vm_read", world.victim, B(PID) | B(LANDLOCK) | B(USER), MAYBE},
    {"shm", world.shm, B(IPC), 0},
    {"host_name", world.host, B(UTS), 0},
    {"exec", world.outside_engine, B(MOUNT) | B(LANDLOCK), 0},
    {"exec_model", "", B(LANDLOCK), 0},
    {"mount", world.folder, B(USER) | B(CAPS) | B(LANDLOCK), ROOT_ONLY},
    {"chroot", "", B(CAPS), ROOT_ONLY},
    {"user_namespace", "", B(USER), MAYBE},
    {"mount_namespace", "", B(CAPS), ROOT_ONLY},
    {"setuid", "", B(USER) | B(CAPS), ROOT_ONLY},
    {"priority", "", B(USER) | B(CAPS), ROOT_ONLY},
    {"forget_parent", "", 0, 0},
    {"mmap_exec", "", B(MDWE), 0},
    {"mprotect_exec", "", B(MDWE), 0},
    {"mmap_model_exec", "", 0, 0},
    {"fork", "", 0, 0},
    {"fork_bomb", "", B(RLIMITS) | B(LIMITS), 0},
    {"memory", "", B(RLIMITS) | B(LIMITS), NO_SECCOMP},
    {"shared_memory", "", B(LIMITS), 0},
    {"mlock", "", B(RLIMITS), 0},
    {"descriptors", "", B(RLIMITS), 0},
    {"key", "", 0, MAYBE},
    {"io_uring", "", 0, MAYBE},
    {"bpf", "", B(USER) | B(CAPS), ROOT_ONLY | MAYBE},
    {"perf", "", B(USER) | B(CAPS), ROOT_ONLY | MAYBE},
    {"userfaultfd", "", 0, MAYBE},
    {"memfd", "", 0, MAYBE},
    {"tiocsti", "", 0, NEVER},
    {"personality", "", 0, 0},
    {"setown", "", 0, 0},
};
#define ATTEMPTS (sizeof(attempts) / sizeof(*attempts))

/* The layers beside seccomp that cover an attempt on this kernel. */
static unsigned covers_here(const struct attempt *a)
{
    unsigned bits = a->covers & granted();

    if (a->flags & ROOT_COVERS && !world.is_root)
        return 0;
    if ((landlock_abi < 4 && strncmp(a->name, "tcp", 3) == 0) ||
        (landlock_abi < 6 && (!strcmp(a->name, "abstract") || !strcmp(a->name, "signal"))))
        bits &= ~B(LANDLOCK);
    return bits;
}

/* What an attempt that succeeded has left in the world. */
static void tidy(void)
{
    if (world.is_root)
        while (umount2(world.folder, MNT_DETACH) == 0)
            ;
    if (remove(world.new_path) < 0 && errno != ENOENT)
        printf("# cannot remove %s\n", world.new_path);
    chmod(world.model, 0755);
}

static enum outcome attempt(const struct attempt *a, unsigned skip, bool is_sealed, char *said,
                            size_t said_size)
{
    enum outcome outcome;
    struct vce v;

    if (begin(&v, skip) < 0)
        TEST_FAIL("%s", err.text);
    if (is_sealed && order(&v, "seal", "", said, said_size) != SUCCEEDED) {
        vce_fini(&v);
        TEST_FAIL("seal: %s", said);
    }
    outcome = order(&v, a->name, a->argument, said, said_size);
    vce_fini(&v);
    tidy();
    return outcome;
}

/* Makes every attempt that `which` wants with skip; counts those that succeeded. */
static int successes(unsigned skip, bool is_sealed, bool only_covered)
{
    int count = 0;

    for (size_t i = 0; i < ATTEMPTS; i++) {
        const struct attempt *a = &attempts[i];
        char said[256];

        if (only_covered && !covers_here(a))
            continue;
        if (attempt(a, skip, is_sealed, said, sizeof(said)) == SUCCEEDED) {
            printf("# '%s %s' succeeded: %s\n", a->name, a->argument, said);
            count++;
        }
    }
    return count;
}

TEST(vce_every_layer_holds_or_says_why)
{
    NEED_WORLD();
    struct vce v;

    CHECK_INT(begin(&v, 0), 0);
    for (int i = 0; i < VCE_LAYER_COUNT; i++) {
        printf("# %-12s %s: %s\n", vce_layer_name(i), v.layers[i].holds ? "holds" : "does not hold",
               v.layers[i].detail);
        CHECK(v.layers[i].detail[0]);
        CHECK(strcmp(v.layers[i].detail, "not reached") != 0);
    }
    vce_fini(&v);
    CHECK(granted() & B(SECCOMP));
}

TEST(vce_nothing_succeeds_after_the_seal)
{
    NEED_WORLD();
    CHECK_INT(successes(0, true, false), 0);
}

TEST(vce_nothing_succeeds_before_the_seal)
{
    NEED_WORLD();
    CHECK_INT(successes(0, false, false), 0);
}

TEST(vce_other_layers_hold_without_seccomp)
{
    NEED_WORLD();
    CHECK_INT(successes(B(SECCOMP), false, true), 0);
}

/* What a layer needs beside itself to be had at all, or to mean something. */
static unsigned supports(int layer)
{
    const unsigned namespaces = B(MOUNT) | B(PID) | B(NET) | B(IPC) | B(UTS) | B(CGROUP);
    unsigned bits = VCE_BIT(layer);

    if (bits & (B(LANDLOCK) | B(SECCOMP)))
        bits |= B(NO_NEW_PRIVS);
    if ((bits & namespaces) && !world.is_root)
        bits |= B(USER);
    if (bits & B(RLIMITS)) /* real root is above them */
        bits |= B(USER);
    return bits;
}

TEST(vce_each_layer_alone_stops_what_it_covers)
{
    int failures = 0, stopped = 0;

    NEED_WORLD();
    for (size_t i = 0; i < ATTEMPTS; i++) {
        const struct attempt *a = &attempts[i];
        char said[256];

        for (int layer = 0; layer < VCE_LAYER_COUNT; layer++) {
            if (!(covers_here(a) & VCE_BIT(layer)))
                continue;
            if (attempt(a, ALL & ~supports(layer), false, said, sizeof(said)) == SUCCEEDED) {
                printf("# '%s %s' succeeded with only %s\n", a->name, a->argument,
                       vce_layer_name(layer));
                failures++;
            } else {
                stopped++;
            }
        }
    }
    printf("# %d times a layer alone stopped an attempt\n", stopped);
    CHECK_INT(failures, 0);
    CHECK(stopped > 20);
}

TEST(vce_seccomp_alone_ends_the_engine)
{
    int failures = 0;

    NEED_WORLD();
    for (int is_sealed = 0; is_sealed < 2; is_sealed++)
        for (size_t i = 0; i < ATTEMPTS; i++) {
            char said[256];

            if (attempts[i].flags & NO_SECCOMP)
                continue;
            attempt(&attempts[i], ALL & ~supports(VCE_SECCOMP), is_sealed, said, sizeof(said));
            if (strcmp(said, "killed by SIGSYS (forbidden system call)") != 0) {
                printf("# '%s %s' came to: %s\n", attempts[i].name, attempts[i].argument, said);
                failures++;
            }
        }
    CHECK_INT(failures, 0);
}

TEST(vce_attempts_succeed_when_every_layer_is_off)
{
    int failures = 0, succeeded = 0;

    NEED_WORLD();
    for (size_t i = 0; i < ATTEMPTS; i++) {
        const struct attempt *a = &attempts[i];
        char said[256];

        if (a->flags & NEVER || (a->flags & ROOT_ONLY && !world.is_root))
            continue;
        if (attempt(a, ALL, false, said, sizeof(said)) == SUCCEEDED) {
            succeeded++;
        } else {
            printf("# '%s %s' cannot be done here at all: %s\n", a->name, a->argument, said);
            failures += !(a->flags & MAYBE);
        }
    }
    printf("# %d attempts succeeded with every layer off\n", succeeded);
    CHECK_INT(failures, 0);
}

/* --- what can be seen ----------------------------------------------------------------------- */

static void read_proc(pid_t pid, const char *file, char *text, size_t size)
{
    char path[64];
    FILE *f;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
    f = fopen(path, "re");
    n = f ? fread(text, 1, size - 1, f) : 0;
    text[n] = 0;
    if (f)
        fclose(f);
}

static bool has_own(pid_t pid, const char *kind)
{
    char path[64], theirs[64] = "", ours[64] = "";

    snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, kind);
    if (readlink(path, theirs, sizeof(theirs) - 1) < 0)
        return false;
    snprintf(path, sizeof(path), "/proc/self/ns/%s", kind);
    return readlink(path, ours, sizeof(ours) - 1) > 0 && strcmp(theirs, ours) != 0;
}

static bool root_is_empty(pid_t pid)
{
    char path[64];
    struct dirent *e;
    DIR *dir;
    int names = 0;

    snprintf(path, sizeof(path), "/proc/%d/root/", pid);
    dir = opendir(path);
    while (dir && (e = readdir(dir)))
        names += e->d_name[0] != '.';
    if (!dir)
        return false;
    closedir(dir);
    return names == 0;
}

/* The layers that hold as far as anybody can see who does not believe the report. */
static unsigned visible(struct vce *v)
{
    static const struct {
        const char *kind;
        unsigned bit;
    } namespaces[] = {{"user", B(USER)}, {"mnt", B(MOUNT)}, {"pid", B(PID)},      {"net", B(NET)},
                      {"ipc", B(IPC)},   {"uts", B(UTS)},   {"cgroup", B(CGROUP)}};
    char text[8192];
    unsigned bits = 0;
    int depth;

    for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++)
        bits |= has_own(v->pid, namespaces[i].kind) ? namespaces[i].bit : 0;
    if (!root_is_empty(v->pid))
        bits &= ~B(MOUNT);
    read_proc(v->pid, "status", text, sizeof(text));
    if (strstr(text, "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
                     "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n"
                     "CapAmb:\t0000000000000000\n"))
        bits |= B(CAPS);
    bits |= strstr(text, "NoNewPrivs:\t1\n") ? B(NO_NEW_PRIVS) : 0;
    bits |= strstr(text, "Seccomp:\t2\n") ? B(SECCOMP) : 0;
    read_proc(v->pid, "limits", text, sizeof(text));
    if (strstr(text, "Max file size             0                    0 ") &&
        strstr(text, "Max core file size        0                    0 ") &&
        strstr(text, "Max open files            16                   16 "))
        bits |= B(RLIMITS);
    read_proc(v->pid, "cgroup", text, sizeof(text));
    bits |= strstr(text, "/llmos-") ? B(LIMITS) : 0;
    /* A kernel stacks at most 16 Landlock domains: one is on already. */
    depth = order_number(v, "landlock_depth");
    bits |= depth >= 0 && depth < 16 ? B(LANDLOCK) : 0;
    bits |= order_number(v, "mdwe") > 0 ? B(MDWE) : 0;
    return bits;
}

static void say_bits(const char *what, unsigned bits)
{
    printf("# %s:", what);
    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        if (bits & VCE_BIT(i))
            printf(" %s", vce_layer_name(i));
    printf("\n");
}

TEST(vce_report_is_what_can_be_seen)
{
    struct vce v;
    unsigned seen;

    NEED_WORLD();
    CHECK_INT(begin(&v, 0), 0);
    seen = visible(&v);
    if (seen != held(&v)) {
        say_bits("reported", held(&v));
        say_bits("seen", seen);
    }
    CHECK_INT(seen, held(&v));
    vce_fini(&v);
}

TEST(vce_switching_off_any_single_layer_is_noticed)
{
    int unnoticed = 0;

    NEED_WORLD();
    for (int layer = 0; layer < VCE_LAYER_COUNT; layer++) {
        struct vce v;
        unsigned seen;

        if (!(granted() & VCE_BIT(layer)))
            continue; /* said aloud by granted() */
        CHECK_INT(begin(&v, VCE_BIT(layer)), 0);
        seen = visible(&v);
        if (seen != held(&v) || seen & VCE_BIT(layer) ||
            strcmp(v.layers[layer].detail, "switched off") != 0) {
            printf("# without %s (%s)\n", vce_layer_name(layer), v.layers[layer].detail);
            say_bits("  reported", held(&v));
            say_bits("  seen", seen);
            unnoticed++;
        }
        /* Only what stands on it may go with it. */
        if (world.is_root || layer != VCE_USER)
            if (held(&v) != (granted() & ~VCE_BIT(layer))) {
                say_bits("left", held(&v));
                unnoticed++;
            }
        vce_fini(&v);
    }
    CHECK_INT(unnoticed, 0);
}

static int count_fds(pid_t pid)
{
    char path[64];
    DIR *dir;
    int count = -1; /* the folder itself, if it is ours */

    snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    dir = opendir(path);
    if (!dir)
        return -1;
    for (struct dirent *e; (e = readdir(dir));)
        count += e->d_name[0] != '.';
    closedir(dir);
    return pid == getpid() ? count : count + 1;
}

TEST(vce_engine_has_five_descriptors_and_no_environment)
{
    char text[4096];
    struct vce v;

    NEED_WORLD();
    CHECK_INT(begin(&v, 0), 0);
    CHECK(order_number(&v, "landlock_depth") >= 0); /* it runs: nothing is half way */
    CHECK_INT(count_fds(v.pid), 5);
    read_proc(v.pid, "environ", text, sizeof(text));
    CHECK_STR(text, "");
    vce_fini(&v);
}

TEST(vce_engine_is_an_unprivileged_user_outside)
{
    char text[8192], expected[64];
    unsigned id = world.is_root ? NOBODY : geteuid();
    struct vce v;

    NEED_WORLD();
    if (!(granted() & B(USER)))
        SKIP("user namespaces are not to be had here");
    CHECK_INT(begin(&v, 0), 0);
    read_proc(v.pid, "status", text, sizeof(text));
    snprintf(expected, sizeof(expected), "Uid:\t%u\t%u\t%u\t%u\n", id, id, id, id);
    CHECK_CONTAINS(text, expected);
    vce_fini(&v);
}

TEST(vce_engine_can_work_after_the_seal)
{
    char said[256];
    struct vce v;

    NEED_WORLD();
    CHECK_INT(begin(&v, 0), 0);
    CHECK_INT(order(&v, "seal", "", said, sizeof(said)), SUCCEEDED);
    if (order(&v, "work", "", said, sizeof(said)) != SUCCEEDED)
        TEST_FAIL("%s", said);
    vce_fini(&v);
}

TEST(vce_seal_is_a_second_lock)
{
    char said[256], text[8192];
    struct vce v;

    NEED_WORLD();
    CHECK_INT(begin(&v, 0), 0);
    CHECK_INT(order(&v, "seal", "", said, sizeof(said)), SUCCEEDED);
    read_proc(v.pid, "status", text, sizeof(text));
    CHECK_CONTAINS(text, "Seccomp_filters:\t2\n");
    CHECK_CONTAINS(text, "Name:\tllmos-engine\n");
    /* What it could still ask before, it cannot any more. */
    CHECK_INT(order(&v, "mdwe", "", said, sizeof(said)), ENDED);
    CHECK_STR(said, "killed by SIGSYS (forbidden system call)");
    vce_fini(&v);
}

/* --- how it ends ----------------------------------------------------------------------------- */

static void expect_end(const char *order_name, const char *argument, unsigned skip, const char *how)
{
    char said[256] = "";
    struct vce v;

    CHECK_INT(begin(&v, skip), 0);
    CHECK(!vce_ended(&v, said, sizeof(said)));
    order(&v, order_name, argument, said, sizeof(said));
    CHECK_STR(said, how);
    CHECK(vce_ended(&v, said, sizeof(said))); /* and still, when asked again */
    CHECK_STR(said, how);
    vce_fini(&v);
    CHECK(vce_ended(&v, said, sizeof(said)));
    CHECK_STR(said, "not running");
}

TEST(vce_says_how_an_engine_ended)
{
    NEED_WORLD();
    expect_end("exit", "3", 0, "exited with 3");
    expect_end("fork", "", 0, "killed by SIGSYS (forbidden system call)");
    expect_end("crash", "", 0, "killed by SIGSEGV");
    expect_end("abort", "", B(PID), "killed by SIGABRT");
}

TEST(vce_says_that_memory_ran_out)
{
    NEED_WORLD();
    if (!(granted() & B(LIMITS)))
        SKIP("no cgroup can be made here");
    expect_end("memory", "", 0, "killed by SIGKILL (out of memory)");
}

TEST(vce_rlimits_bound_memory_where_cgroups_are_missing)
{
    char said[256];
    struct vce v;

    NEED_WORLD();
    CHECK_INT(begin(&v, B(LIMITS)), 0);
    CHECK_INT(order(&v, "memory", "", said, sizeof(said)), FAILED);
    CHECK_CONTAINS(said, "Cannot allocate memory");
    vce_fini(&v);
}

TEST(vce_fini_ends_a_running_engine_and_leaves_nothing)
{
    char folder[CGROUP_FOLDERS_SIZE];
    struct vce v;
    pid_t pid;

    NEED_WORLD();
    CHECK_INT(begin(&v, 0), 0);
    pid = v.pid;
    snprintf(folder, sizeof(folder), "%s", v.cgroup);
    folder[strcspn(folder, "\n")] = 0;
    CHECK(!folder[0] || access(folder, F_OK) == 0);
    vce_fini(&v);
    CHECK(kill(pid, 0) < 0 && errno == ESRCH);
    CHECK(!folder[0] || access(folder, F_OK) < 0);
    vce_fini(&v);
    memset(&v, 0, sizeof(v));
    vce_fini(&v);
    CHECK(fcntl(0, F_GETFD) >= 0); /* descriptor 0 of a zeroed struct is not its own */
}

TEST(vce_starts_leak_no_descriptor_and_no_process)
{
    int before;
    struct vce v;

    NEED_WORLD();
    granted();
    before = count_fds(getpid());
    for (int i = 0; i < 10; i++) {
        CHECK_INT(begin(&v, 0), 0);
        vce_fini(&v);
        struct vce_options o = options_without(0);
        o.engine_path = world.folder;
        CHECK(vce_start(&v, &o, &err) < 0);
        o = options_without(B(NET));
        o.required = B(NET);
        CHECK(vce_start(&v, &o, &err) < 0);
    }
    CHECK_INT(count_fds(getpid()), before);
    CHECK(waitpid(-1, NULL, WNOHANG) <= 0); /* only the victim is left, alive */
}

/* --- the daemon's side ----------------------------------------------------------------------- */

static void *begin_in_thread(void *v)
{
    struct vce_options o = options_without(0);

    return vce_start(v, &o, NULL) == 0 ? v : NULL;
}

TEST(vce_engine_survives_the_thread_that_started_it)
{
    char said[256];
    pthread_t thread;
    void *result;
    struct vce v;

    NEED_WORLD();
    CHECK_INT(pthread_create(&thread, NULL, begin_in_thread, &v), 0);
    pthread_join(thread, &result);
    CHECK(result);
    usleep(50000);
    CHECK_INT(order(&v, "work", "", said, sizeof(said)), SUCCEEDED);
    vce_fini(&v);
}

TEST(vce_several_threads_start_engines_at_once)
{
    pthread_t threads[8];
    struct vce vces[8];
    int started = 0;

    NEED_WORLD();
    for (int i = 0; i < 8; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, begin_in_thread, &vces[i]), 0);
    for (int i = 0; i < 8; i++) {
        void *result;

        pthread_join(threads[i], &result);
        started += result != NULL;
        if (result)
            vce_fini(&vces[i]);
    }
    CHECK_INT(started, 8);
}

static bool is_gone(pid_t pid, int wait_ms)
{
    for (int waited = 0; waited < wait_ms; waited += 10) {
        if (kill(pid, 0) < 0 && errno == ESRCH)
            return true;
        usleep(10000);
    }
    return false;
}

/* The orphan is nobody's child here: init reaps it, or we do if we ask to be its parent. */
TEST(vce_engine_dies_with_a_daemon_that_was_killed)
{
    char folders[CGROUP_FOLDERS_SIZE] = "";
    int news[2];
    pid_t daemon, engine = 0;

    NEED_WORLD();
    CHECK(pipe(news) == 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    daemon = fork();
    if (daemon == 0) {
        struct vce v;

        if (begin(&v, 0) < 0 || write(news[1], &v.pid, sizeof(v.pid)) < 0 ||
            write(news[1], v.cgroup, sizeof(v.cgroup)) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    CHECK(read(news[0], &engine, sizeof(engine)) == sizeof(engine));
    CHECK(read(news[0], folders, sizeof(folders)) == sizeof(folders));
    CHECK(kill(engine, 0) == 0);
    kill(daemon, SIGKILL);
    waitpid(daemon, NULL, 0);
    waitpid(engine, NULL, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
    CHECK(is_gone(engine, 2000));
    folders[strcspn(folders, "\n")] = 0;
    if (folders[0]) {
        CHECK(access(folders, F_OK) == 0);
        cgroup_remove_stale("");
        CHECK(access(folders, F_OK) < 0);
    }
    close(news[0]);
    close(news[1]);
}

static void expect_refusal(const struct vce_options *o, int code, const char *text)
{
    struct vce v;
    uint64_t start = clock_ns();

    CHECK_INT(vce_start(&v, o, &err), code);
    CHECK_CONTAINS(err.text, text);
    CHECK(clock_seconds_since(start) < 4.0);
}

/* --- files beside the model ------------------------------------------------------------------- */

#define OUTPUT_MAX 65536

static int open_in_world(const char *name, int flags)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", world.folder, name);
    return open(path, flags | O_CLOEXEC, 0600);
}

/* An engine that makes packed weights, or runs with them. */
static void begin_with_file(struct vce *v, unsigned skip, const struct vce_file *file)
{
    struct vce_options o = options_without(skip);

    o.files = file;
    o.file_count = 1;
    o.is_background = file->write_max_bytes > 0;
    if (vce_start(v, &o, &err) < 0)
        TEST_FAIL("%s", err.text);
}

TEST(vce_running_engine_reads_packed_weights_and_cannot_write_them)
{
    static const unsigned skips[] = {0, ALL};
    struct vce_file packed = {.name = "packed weights", .as = VCE_PACKED_FD};
    char said[256];
    struct stat st;
    struct vce v;

    NEED_WORLD();
    for (int i = 0; i < 2; i++) {
        int maker = open_in_world("packed", O_WRONLY | O_CREAT | O_TRUNC);

        CHECK_INT(ftruncate(maker, 8192), 0);
        close(maker);
        packed.fd = open_in_world("packed", O_RDONLY);
        begin_with_file(&v, skips[i], &packed);
        CHECK_INT(count_fds(v.pid), 6);
        CHECK_INT(order(&v, "write_packed", "", said, sizeof(said)), FAILED);
        CHECK_INT(order(&v, "write_output_at", "0", said, sizeof(said)), FAILED); /* EBADF */
        CHECK_INT(getpriority(PRIO_PROCESS, (id_t)v.pid), 0);
        CHECK_INT(order(&v, "write_packed_at", "0", said, sizeof(said)), i == 0 ? ENDED : FAILED);
        vce_fini(&v);
        CHECK(fstat(packed.fd, &st) == 0 && st.st_size == 8192);
        close(packed.fd);
    }
}

TEST(vce_making_engine_writes_its_output_and_cannot_read_it)
{
    char said[256], byte = 0;
    struct vce_file output = {.name = "output", .as = VCE_OUTPUT_FD, .write_max_bytes = OUTPUT_MAX};
    struct vce v;
    int reader;

    NEED_WORLD();
    output.fd = open_in_world("output", O_WRONLY | O_CREAT | O_TRUNC);
    reader = open_in_world("output", O_RDONLY);
    begin_with_file(&v, 0, &output);
    CHECK_INT(count_fds(v.pid), 6);
    CHECK_INT(getpriority(PRIO_PROCESS, (id_t)v.pid), 19);
    CHECK_INT(order(&v, "seal", "", said, sizeof(said)), SUCCEEDED);
    CHECK_INT(order(&v, "read_output", "", said, sizeof(said)), FAILED);
    CHECK_INT(order(&v, "write_output", "65536", said, sizeof(said)), SUCCEEDED);
    CHECK(pread(reader, &byte, 1, 0) == 1 && byte == 'x');
    CHECK_INT(lseek(reader, 0, SEEK_END), OUTPUT_MAX);
    CHECK_INT(order(&v, "write_output_at", "7", said, sizeof(said)), SUCCEEDED);
    CHECK(pread(reader, &byte, 1, 7) == 1 && byte == 'x');
    CHECK_INT(order(&v, "write_model", "", said, sizeof(said)), FAILED);
    CHECK_INT(order(&v, "stretch_output", "", said, sizeof(said)), ENDED);
    CHECK_STR(said, "killed by SIGSYS (forbidden system call)");
    vce_fini(&v);
    close(reader);
    close(output.fd);
}

TEST(vce_output_cannot_grow_beyond_its_limit)
{
    char said[256];
    struct vce_file output = {.name = "output", .as = VCE_OUTPUT_FD, .write_max_bytes = OUTPUT_MAX};
    struct vce v;

    NEED_WORLD();
    if (!(granted() & B(RLIMITS)))
        SKIP("rlimits are not to be had here");
    for (int is_sparse = 0; is_sparse < 2; is_sparse++) {
        output.fd = open_in_world("output", O_WRONLY | O_CREAT | O_TRUNC);
        begin_with_file(&v, is_sparse ? B(SECCOMP) : 0, &output);
        /* The first process of a namespace does not die of SIGXFSZ: it gets EFBIG. */
        if (order(&v, is_sparse ? "stretch_output" : "write_output", "131072", said,
                  sizeof(said)) == FAILED)
            CHECK_STR(said, "failed 27 File too large");
        else
            CHECK_STR(said, "killed by SIGXFSZ");
        CHECK_INT(lseek(output.fd, 0, SEEK_END), is_sparse ? 0 : OUTPUT_MAX);
        vce_fini(&v);
        close(output.fd);
    }
}

TEST(vce_hands_on_only_files_of_the_right_kind_under_the_right_number)
{
    struct vce_options o;
    struct vce_file files[2] = {{.name = "packed weights", .as = VCE_PACKED_FD}};
    int output;

    NEED_WORLD();
    o = options_without(0);
    o.files = files;
    o.file_count = 1;
    output = open_in_world("output", O_WRONLY | O_CREAT | O_TRUNC);
    files[0].fd = output;
    expect_refusal(&o, LLMOS_EINVAL, "packed weights: not opened read-only");
    files[0].write_max_bytes = 1;
    files[0].fd = world.model_fd;
    expect_refusal(&o, LLMOS_EINVAL, "packed weights: not opened write-only");
    files[0].fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    expect_refusal(&o, LLMOS_EINVAL, "not a regular file");
    close(files[0].fd);
    files[0].fd = output;
    files[0].as = VCE_MODEL_FD;
    expect_refusal(&o, LLMOS_EINVAL, "cannot be descriptor 4");
    files[0].as = VCE_FILE_FD_END;
    expect_refusal(&o, LLMOS_EINVAL, "cannot be descriptor 156");
    files[0].as = VCE_OUTPUT_FD;
    files[1] = files[0];
    o.file_count = 2;
    expect_refusal(&o, LLMOS_EINVAL, "has the number of another file");
    close(output);
}

TEST(vce_refuses_to_start_without_what_is_required)
{
    struct vce_options o;
    struct vce v;

    NEED_WORLD();
    o = options_without(B(SECCOMP));
    o.require_default = true;
    CHECK_INT(vce_start(&v, &o, &err), LLMOS_EDENIED);
    CHECK_CONTAINS(err.text, "required isolation is missing: seccomp (switched off)");
    CHECK_CONTAINS(err.text, "'probe'");
    o = options_without(B(NET) | B(LANDLOCK));
    o.require_default = true;
    CHECK_INT(vce_start(&v, &o, &err), LLMOS_EDENIED);
    CHECK_CONTAINS(err.text, "net (switched off), landlock (switched off)");
    o = options_without(B(MDWE));
    o.required = B(MDWE);
    CHECK_INT(vce_start(&v, &o, &err), LLMOS_EDENIED);
    CHECK_CONTAINS(err.text, "mdwe (switched off)");
    o = options_without(B(USER));
    o.require_default = true;
    if (granted() & B(LANDLOCK)) {
        CHECK_INT(vce_start(&v, &o, &err), 0);
        vce_fini(&v);
    }
}

TEST(vce_says_what_could_not_be_started)
{
    struct vce_options o;
    char text[128];
    int fd;

    NEED_WORLD();
    o = options_without(0);
    o.engine_path = "/nowhere/engine";
    expect_refusal(&o, LLMOS_ENOTFOUND, "engine: cannot open '/nowhere/engine': No such file");
    o.engine_path = world.folder;
    expect_refusal(&o, LLMOS_EINVAL, "it is a directory");
    snprintf(text, sizeof(text), "%s/text", world.folder);
    CHECK_INT(file_replace(text, STR("not a program\n"), NULL), 0);
    chmod(text, 0755);
    o.engine_path = text;
    expect_refusal(&o, LLMOS_EIO, "cannot execute the engine in the sandbox: Exec format error");
    chmod(text, 0644);
    expect_refusal(&o, LLMOS_EDENIED,
                   "cannot execute the engine in the sandbox: Permission denied");
    o = options_without(0);
    o.launcher_path = "/nowhere/llmos-vce";
    expect_refusal(&o, LLMOS_ENOTFOUND, "sandbox launcher '/nowhere/llmos-vce'");
    o.launcher_path = "/bin/true";
    expect_refusal(&o, LLMOS_EINTERNAL, "ended without a report");
    o.launcher_path = world.engine; /* waits for orders that never come */
    o.start_timeout_ms = 200;
    expect_refusal(&o, LLMOS_EBUSY, "not ready after 200 ms");
    o = options_without(0);
    o.name = "../escape";
    expect_refusal(&o, LLMOS_EINVAL, "'../escape' is no name");
    o = options_without(0);
    fd = o.model_fd = open(world.model, O_RDWR | O_CLOEXEC);
    expect_refusal(&o, LLMOS_EINVAL, "not opened read-only");
    close(fd);
    fd = o.model_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    expect_refusal(&o, LLMOS_EINVAL, "not a regular file");
    close(fd);
}

TEST(vce_launcher_started_by_hand_says_so)
{
    char command[256], text[256] = "";
    FILE *p;

    NEED_WORLD();
    snprintf(command, sizeof(command), "'%s' 2>&1 </dev/null", world.launcher);
    p = popen(command, "re");
    CHECK(p && fgets(text, sizeof(text), p));
    CHECK_INT(WEXITSTATUS(pclose(p)), 2);
    CHECK_CONTAINS(text, "not by hand");
}
