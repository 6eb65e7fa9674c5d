/* SPDX-License-Identifier: Apache-2.0 */
/* launch.c - see launch.h */
#include "vce/launch.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/mem.h"
#include "vce/rights.h"
#include "vce/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define START_TIMEOUT_MS 5000
#define FIRST_FD         3
#define CONTROL_FD       6 /* these two as in vce_main.c */
#define ENGINE_FD        7
#define FILES_MAX        (VCE_FILE_FD_END - VCE_FILE_FD_FIRST)
#define SAFE_FD \
    VCE_FILE_FD_END /* sources are moved up here, so that no target overwrites a source */

/* --- the thread that starts programs ------------------------------------------------------- *
 * The kernel ends an engine when the thread that started it ends (PR_SET_PDEATHSIG), not the
 * process.  So one thread, which lives as long as the process, starts them all: an engine then
 * survives the thread that asked for it, and nothing else survives a daemon that was killed. */

struct order {
    const char *path;
    int fds[VCE_FILE_FD_END]; /* by their numbers there; -1: closed there */
    pid_t pid;
    int rc; /* errno */
    bool is_done;
};

static struct starter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_running;
    struct order *order;
} starter = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* A forked child has no such thread, and a lock whose state nobody knows. */
static void starter_forget(void)
{
    starter =
        (struct starter){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

static int fill_actions(posix_spawn_file_actions_t *actions, const struct order *o)
{
    int rc = 0;

    for (int fd = FIRST_FD; fd < VCE_FILE_FD_END && rc == 0; fd++)
        rc = o->fds[fd] >= 0 ? posix_spawn_file_actions_adddup2(actions, o->fds[fd], fd)
                             : posix_spawn_file_actions_addclose(actions, fd);
    return rc;
}

static int fill_attributes(posix_spawnattr_t *attributes)
{
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    /* A session of its own: no terminal, and Ctrl-C of the CLI does not reach the engine. */
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                    POSIX_SPAWN_SETSID);
}

static void carry_out(struct order *o)
{
    static char name[] = "llmos-vce";
    char *const arguments[] = {name, NULL}, *const environment[] = {NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;

    o->rc = posix_spawn_file_actions_init(&actions);
    if (o->rc)
        return;
    o->rc = posix_spawnattr_init(&attributes);
    if (o->rc == 0) {
        o->rc = fill_actions(&actions, o);
        if (o->rc == 0)
            o->rc = fill_attributes(&attributes);
        if (o->rc == 0)
            o->rc = posix_spawn(&o->pid, o->path, &actions, &attributes, arguments, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
}

static void *starter_run(void *unused)
{
    (void)unused;
    pthread_mutex_lock(&starter.lock);
    for (;;) {
        while (!starter.order || starter.order->is_done)
            pthread_cond_wait(&starter.changed, &starter.lock);
        carry_out(starter.order);
        starter.order->is_done = true;
        pthread_cond_broadcast(&starter.changed);
    }
    return NULL;
}

/* With the lock held.  The thread takes no signals: they belong to the program's own threads. */
static int starter_ready(void)
{
    static bool is_prepared; /* inherited by forked children, like the handler itself */
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int rc;

    if (starter.is_running)
        return 0;
    if (!is_prepared && (rc = pthread_atfork(NULL, NULL, starter_forget)) != 0)
        return rc;
    is_prepared = true;
    rc = pthread_attr_init(&attributes);
    if (rc)
        return rc;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attributes, starter_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    starter.is_running = rc == 0;
    return rc;
}

static int spawn(struct order *o, struct llmos_error *err)
{
    int rc;

    pthread_mutex_lock(&starter.lock);
    rc = starter_ready();
    while (rc == 0 && starter.order) /* somebody else's */
        pthread_cond_wait(&starter.changed, &starter.lock);
    if (rc == 0) {
        starter.order = o;
        pthread_cond_broadcast(&starter.changed);
        while (!o->is_done)
            pthread_cond_wait(&starter.changed, &starter.lock);
        starter.order = NULL;
        pthread_cond_broadcast(&starter.changed);
        rc = o->rc;
    }
    pthread_mutex_unlock(&starter.lock);
    if (rc == 0)
        return 0;
    errno = rc;
    return fail_errno(err, "cannot start the sandbox launcher '%s'", o->path);
}

/* --- one start ----------------------------------------------------------------------------- */

struct starting {
    const struct vce_options *options;
    struct spec spec;
    struct vce_file files[2 + FILES_MAX]; /* the models are among them */
    unsigned file_count;
    pid_t launcher;
    int engine, socket[2], control[2]; /* [0] stays here, [1] goes there */
    struct report report;
};

static void cleanup_starting(struct starting *s)
{
    int *fds[] = {&s->engine, &s->socket[0], &s->socket[1], &s->control[0], &s->control[1]};

    for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
        cleanup_fd(fds[i]);
}

/* What an engine is handed cannot block, run a driver, or be used for more than was meant. */
static int check_file(struct starting *s, const struct vce_file *f, struct llmos_error *err)
{
    bool is_output = f->write_max_bytes > 0;
    struct stat st;

    if (fstat(f->fd, &st) < 0)
        return fail_errno(err, "cannot look at the %s", f->name);
    if (!S_ISREG(st.st_mode))
        return fail(err, LLMOS_EINVAL, "%s: not a regular file", f->name);
    if ((fcntl(f->fd, F_GETFL) & O_ACCMODE) != (is_output ? O_WRONLY : O_RDONLY))
        return fail(err, LLMOS_EINVAL, "%s: not opened %s", f->name,
                    is_output ? "write-only" : "read-only");
    if (is_output && f->write_max_bytes > s->spec.write_max_bytes)
        s->spec.write_max_bytes = f->write_max_bytes;
    if (!is_output)
        s->spec.mapped_bytes += (uint64_t)st.st_size;
    return 0;
}

static int list_files(struct starting *s, struct llmos_error *err)
{
    const struct vce_options *o = s->options;
    int rc = 0;

    if (o->model_fd >= 0)
        s->files[s->file_count++] =
            (struct vce_file){.name = "model", .as = VCE_MODEL_FD, .fd = o->model_fd};
    if (o->draft_fd > 0)
        s->files[s->file_count++] =
            (struct vce_file){.name = "draft model", .as = VCE_DRAFT_FD, .fd = o->draft_fd};
    for (unsigned i = 0; i < o->file_count; i++) {
        const struct vce_file *f = &o->files[i];

        if (f->as < VCE_FILE_FD_FIRST || f->as >= VCE_FILE_FD_END || i == FILES_MAX)
            return fail(err, LLMOS_EINVAL, "the %s cannot be descriptor %d: %d to %d are free",
                        f->name, f->as, VCE_FILE_FD_FIRST, VCE_FILE_FD_END - 1);
        s->files[s->file_count++] = *f;
    }
    for (unsigned i = 0; rc == 0 && i < s->file_count; i++)
        rc = check_file(s, &s->files[i], err);
    return rc;
}

/* Below SAFE_FD a descriptor of ours could be overwritten while the others are put in place. */
static int raise_fd(int *fd)
{
    int high = fcntl(*fd, F_DUPFD_CLOEXEC, SAFE_FD);

    if (high < 0)
        return -1;
    close(*fd);
    *fd = high;
    return 0;
}

static int open_descriptors(struct starting *s, struct llmos_error *err)
{
    s->engine = file_open_regular(s->options->engine_path, err);
    if (s->engine < 0)
        return fail_while(err, s->engine, "engine");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->socket) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->control) < 0 ||
        raise_fd(&s->engine) < 0 || raise_fd(&s->socket[1]) < 0 || raise_fd(&s->control[1]) < 0)
        return fail_errno(err, "cannot make a socket for the engine");
    return 0;
}

static void make_limits(struct starting *s)
{
    const struct vce_options *o = s->options;
    /* The pages of files are charged to whoever reads or writes them first. */
    struct cgroup_limits limits = {
        .memory_bytes = o->memory_max_bytes
                            ? o->memory_max_bytes + s->spec.mapped_bytes + s->spec.write_max_bytes
                            : 0,
        .cpu_percent = o->cpu_percent,
        .processes = RIGHTS_THREADS_MAX,
    };
    struct llmos_error why;

    if (o->skip & VCE_BIT(VCE_LIMITS))
        return;
    if (cgroup_create("", o->name, &limits, s->spec.cgroup, s->spec.limits_detail,
                      sizeof(s->spec.limits_detail), &why) < 0)
        spec_set_detail(s->spec.limits_problem, why.text);
}

/* A copy that no target overwrites; the caller closes it. */
static int hand_on(struct order *order, const struct vce_file *f, struct llmos_error *err)
{
    int *to = &order->fds[f->as];

    if (*to >= 0)
        return fail(err, LLMOS_EINVAL, "the %s has the number of another file", f->name);
    *to = fcntl(f->fd, F_DUPFD_CLOEXEC, SAFE_FD);
    return *to < 0 ? fail_errno(err, "cannot hand on the %s", f->name) : 0;
}

static int order_launcher(struct order *order, struct starting *s, struct llmos_error *err)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < s->file_count; i++)
        rc = hand_on(order, &s->files[i], err);
    order->fds[VCE_SOCKET_FD] = s->socket[1];
    order->fds[CONTROL_FD] = s->control[1];
    order->fds[ENGINE_FD] = s->engine;
    if (rc == 0)
        rc = spawn(order, err);
    for (unsigned i = 0; i < s->file_count; i++) {
        cleanup_fd(&order->fds[s->files[i].as]);
        order->fds[s->files[i].as] = -1;
    }
    return rc;
}

static int spawn_launcher(struct starting *s, struct llmos_error *err)
{
    struct order order = {.path = s->options->launcher_path};
    int rc;

    memset(order.fds, -1, sizeof(order.fds));
    rc = order_launcher(&order, s, err);
    if (rc < 0)
        return rc;
    s->launcher = order.pid;
    /* Ours must be closed, or the end of the report would never be seen. */
    close(take_fd(&s->socket[1]));
    close(take_fd(&s->control[1]));
    return 0;
}

static int send_spec(struct starting *s, struct llmos_error *err)
{
    struct buf text;
    int rc;

    buf_init(&text, SPEC_BYTES_MAX);
    spec_put(&text, &s->spec);
    rc = buf_check(&text, "the sandbox specification", err);
    /* It fits the socket's buffer, so this does not block.  A launcher that has ended already is
     * noticed when its report is missing. */
    if (rc == 0 && send(s->control[0], text.at, text.len, MSG_NOSIGNAL) < 0 && errno != EPIPE)
        rc = fail_errno(err, "cannot tell the sandbox launcher what to build");
    buf_fini(&text);
    if (rc == 0)
        shutdown(s->control[0], SHUT_WR);
    return rc;
}

/* Reads until every end there is closed: the launcher has ended and the engine is executed. */
static int read_report(struct starting *s, struct buf *text, struct llmos_error *err)
{
    unsigned limit_ms =
        s->options->start_timeout_ms ? s->options->start_timeout_ms : START_TIMEOUT_MS;
    uint64_t end = clock_ns() + (uint64_t)limit_ms * 1000000;

    for (;;) {
        struct pollfd p = {.fd = s->control[0], .events = POLLIN};
        uint64_t now = clock_ns();
        int left_ms = now >= end ? 0 : (int)((end - now) / 1000000) + 1;
        char chunk[4096];
        ssize_t n;
        int ready = left_ms ? poll(&p, 1, left_ms) : 0;

        if (ready == 0)
            return fail(err, LLMOS_EBUSY, "the sandbox was not ready after %u ms", limit_ms);
        n = ready < 0 ? -1 : recv(s->control[0], chunk, sizeof(chunk), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) /* reset: it ended without reading its spec */
            return 0;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return fail_errno(err, "cannot read the report of the sandbox");
        if (n > 0)
            buf_put(text, chunk, (size_t)n);
        if (text->bad)
            return buf_check(text, "the report of the sandbox", err);
    }
}

static int hear_report(struct starting *s, struct llmos_error *err)
{
    struct llmos_error why;
    struct buf text;
    int rc, parsed;

    buf_init(&text, SPEC_BYTES_MAX);
    rc = read_report(s, &text, err);
    parsed = report_parse(&s->report, buf_str(&text), &why);
    buf_fini(&text);
    if (rc < 0)
        return rc;
    if (parsed < 0)
        return fail(err, parsed, "%s", why.text);
    if (s->report.error.code)
        return fail(err, s->report.error.code, "%s", s->report.error.text);
    if (!s->report.is_complete || s->report.pid <= 0)
        return fail(err, LLMOS_EINTERNAL, "the sandbox launcher '%s' ended without a report",
                    s->options->launcher_path);
    return 0;
}

static void reap(pid_t pid)
{
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

/* The launcher leads a session and a process group; whatever it forked is in that group. */
static void kill_all(struct starting *s)
{
    if (s->launcher <= 0)
        return;
    kill(-s->launcher, SIGKILL);
    for (;;) {
        pid_t pid = waitpid(-s->launcher, NULL, 0);

        if (pid < 0 && errno != EINTR)
            break;
    }
}

static int start(struct starting *s, struct llmos_error *err)
{
    int rc = open_descriptors(s, err);

    if (rc == 0)
        rc = list_files(s, err);
    if (rc < 0)
        return rc;
    make_limits(s);
    rc = spawn_launcher(s, err);
    if (rc == 0)
        rc = send_spec(s, err);
    if (rc == 0)
        rc = hear_report(s, err);
    if (rc == 0)
        rc = spec_check_required(&s->spec, s->report.layers, err);
    return rc;
}

static int fill_spec(struct spec *spec, const struct vce_options *o, struct llmos_error *err)
{
    if (!o->name || !spec_name_is_valid(o->name))
        return fail(err, LLMOS_EINVAL, "'%s' is no name for a sandbox: 1 to %d of a-z, 0-9 and '-'",
                    o->name ? o->name : "", SPEC_NAME_MAX);
    if (o->memory_max_bytes > INT64_MAX / 2)
        return fail(err, LLMOS_EINVAL, "a memory limit of %llu bytes is too large",
                    (unsigned long long)o->memory_max_bytes);
    snprintf(spec->name, sizeof(spec->name), "%s", o->name);
    spec->skip = o->skip;
    spec->required = o->required;
    spec->require_default = o->require_default;
    spec->memory_max_bytes = o->memory_max_bytes;
    spec->is_background = o->is_background;
    return 0;
}

static void remove_stale(void)
{
    cgroup_remove_stale("");
}

int vce_start(struct vce *v, const struct vce_options *options, struct llmos_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    CLEANUP(starting)
    struct starting s = {.options = options, .engine = -1, .socket = {-1, -1}, .control = {-1, -1}};
    struct llmos_error why;
    int rc, pidfd = -1;

    pthread_once(&once, remove_stale);
    rc = fill_spec(&s.spec, options, &why);
    if (rc == 0)
        rc = start(&s, &why);
    if (rc == 0) {
        reap(s.launcher);
        /* Ours, and nobody else reaps it: the number cannot have been given to another. */
        pidfd = (int)syscall(__NR_pidfd_open, s.report.pid, 0);
        if (pidfd < 0)
            rc = fail_errno(&why, "cannot watch the engine");
    }
    if (rc < 0) {
        kill_all(&s);
        cgroup_remove(s.spec.cgroup);
        return fail(err, rc, "cannot start the sandbox '%s': %s", options->name, why.text);
    }
    memset(v, 0, sizeof(*v));
    v->pid = s.report.pid;
    v->pidfd = pidfd;
    v->socket = take_fd(&s.socket[0]);
    memcpy(v->cgroup, s.spec.cgroup, sizeof(v->cgroup));
    memcpy(v->layers, s.report.layers, sizeof(v->layers));
    return 0;
}

/* --- afterwards ---------------------------------------------------------------------------- */

static const char *reason_of(const struct vce *v, int signal_number)
{
    switch (signal_number) {
    case SIGSYS:
        return " (forbidden system call)";
    case SIGKILL:
        return cgroup_ran_out_of_memory(v->cgroup) ? " (out of memory)" : "";
    case SIGBUS:
        return " (the model file changed or could not be read)";
    default:
        return "";
    }
}

bool vce_ended(struct vce *v, char *how, size_t how_size)
{
    const char *name;
    siginfo_t info;

    memset(&info, 0, sizeof(info));
    if (v->pid <= 0) {
        snprintf(how, how_size, "not running");
        return true;
    }
    /* It stays a zombie until vce_fini, so that this may be asked again. */
    if (waitid(P_PIDFD, (id_t)v->pidfd, &info, WEXITED | WNOHANG | WNOWAIT) < 0) {
        snprintf(how, how_size, "ended, nobody knows how");
        return errno == ECHILD;
    }
    if (info.si_pid == 0)
        return false;
    if (info.si_code == CLD_EXITED) {
        snprintf(how, how_size, "exited with %d", info.si_status);
        return true;
    }
    name = sigabbrev_np(info.si_status);
    snprintf(how, how_size, "killed by %s%s%s", name ? "SIG" : "signal ", name ? name : "?",
             reason_of(v, info.si_status));
    return true;
}

void vce_fini(struct vce *v)
{
    siginfo_t info;

    if (v->pid <= 0)
        return;
    syscall(__NR_pidfd_send_signal, v->pidfd, SIGKILL, NULL, 0);
    while (waitid(P_PIDFD, (id_t)v->pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
    close(v->pidfd);
    close(v->socket);
    cgroup_remove(v->cgroup);
    memset(v, 0, sizeof(*v));
    v->pidfd = v->socket = -1;
}

/* --- finding helpers ----------------------------------------------------------------------- */

static bool is_program(const char *folder, const char *between, const char *name, char *path,
                       size_t size)
{
    int n = snprintf(path, size, "%s%s%s", folder, between, name);

    return n > 0 && (size_t)n < size && access(path, X_OK) == 0;
}

int vce_find_program(const char *name, char *path, size_t size, struct llmos_error *err)
{
    const char *chosen = secure_getenv("LLMOS_LIBEXEC");
    char folder[4096];
    ssize_t n;

    if (chosen && *chosen) {
        if (is_program(chosen, "/", name, path, size))
            return 0;
        return fail(err, LLMOS_ENOTFOUND, "cannot find '%s' in '%s' (LLMOS_LIBEXEC)", name, chosen);
    }
    n = readlink("/proc/self/exe", folder, sizeof(folder) - 1);
    if (n <= 0)
        return fail_errno(err, "cannot find '%s' beside this program: set LLMOS_LIBEXEC", name);
    folder[n] = 0;
    *strrchr(folder, '/') = 0;
    if (is_program(folder, "/", name, path, size) ||
        is_program(folder, "/../libexec/llmos/", name, path, size))
        return 0;
    return fail(
        err, LLMOS_ENOTFOUND,
        "cannot find '%s' in '%s' or '%s/../libexec/llmos'; LLMOS_LIBEXEC may name the folder",
        name, folder, folder);
}
