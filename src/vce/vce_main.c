/* SPDX-License-Identifier: Apache-2.0 */
/* vce_main.c - llmos-vce: builds a room, and becomes the engine in it.
 *
 * Not for people: llmosd and llmos start it (launch.c) with these descriptors and nothing else.
 *     3  the engine's socket          4, 5  the model and the draft model, if there are any
 *     6  control: a spec comes in until its end, a report goes out (spec.h)
 *     7  the engine's program         8 on  further files (launch.h)
 * The process forks once, into the new namespaces, and the child becomes a child of the daemon.
 * The first process gives the child its users and ends.  The second one closes the doors from the
 * inside, in the order that each step still permits the next, and executes the engine. */
#include "base/file.h"
#include "base/mem.h"
#include "vce/cgroup.h"
#include "vce/landlock.h"
#include "vce/mounts.h"
#include "vce/ns.h"
#include "vce/rights.h"
#include "vce/seccomp.h"
#include "vce/spec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CONTROL_FD 6
#define ENGINE_FD  SECCOMP_ENGINE_FD

/* Everything the steps need; filled before the fork and read on both sides of it. */
struct room {
    struct spec spec;
    struct vce_layer_state layers[VCE_LAYER_COUNT];
};

static void send_report(struct buf *report)
{
    if (!report->bad && report->len)
        file_write_all(CONTROL_FD, report->at, report->len);
    buf_fini(report);
}

/* Whoever calls this ends: the daemon reads why. */
__attribute__((noreturn)) static void give_up(const struct llmos_error *why)
{
    struct buf report;

    buf_init(&report, SPEC_BYTES_MAX);
    report_put_error(&report, why);
    send_report(&report);
    _exit(1);
}

static bool is_on(const struct room *r, enum vce_layer layer)
{
    return !(r->spec.skip & VCE_BIT(layer));
}

/* One layer's result.  rc > 0 is that layer's own number and counts as success. */
static bool note(struct room *r, enum vce_layer layer, int rc, const char *detail,
                 const struct llmos_error *why)
{
    struct vce_layer_state *state = &r->layers[layer];

    state->holds = rc >= 0;
    spec_set_detail(state->detail, rc >= 0 ? detail : why->text);
    return rc >= 0;
}

static void close_everything_else(void)
{
    if (syscall(__NR_close_range, VCE_FILE_FD_END, ~0u, 0) == 0)
        return;
    for (int fd = VCE_FILE_FD_END; fd < 65536; fd++) /* before Linux 5.9 */
        close(fd);
}

static int read_spec(struct spec *spec, struct llmos_error *err)
{
    struct buf text;
    ssize_t n;
    int rc;

    buf_init(&text, SPEC_BYTES_MAX);
    do {
        char chunk[4096];

        n = read(CONTROL_FD, chunk, sizeof(chunk));
        if (n > 0)
            buf_put(&text, chunk, (size_t)n);
    } while ((n > 0 && !text.bad) || (n < 0 && errno == EINTR));
    rc = n < 0 ? fail_errno(err, "cannot read the sandbox specification")
               : buf_check(&text, "the sandbox specification", err);
    if (rc == 0)
        rc = spec_parse(spec, buf_str(&text), err);
    buf_fini(&text);
    return rc;
}

/* --- the second process: inside ------------------------------------------------------------ */

static void enter_users(struct room *r, int go, struct llmos_error *err)
{
    char word = 0;
    ssize_t n;

    do
        n = read(go, &word, 1);
    while (n < 0 && errno == EINTR);
    close(go);
    if (n != 1) /* the first process said why */
        _exit(1);
    if (!r->layers[VCE_USER].holds)
        return;
    if (rights_become(0, err) < 0)
        give_up(err);
    note(r, VCE_USER, 0, ns_forbid_more() ? "own namespace, and no further one" : "own namespace",
         NULL);
}

static void close_files(struct room *r, struct llmos_error *err)
{
    if (r->layers[VCE_UTS].holds)
        sethostname(r->spec.name, strlen(r->spec.name));
    if (r->layers[VCE_MOUNT].holds) {
        int rc = mounts_empty_root(err);

        note(r, VCE_MOUNT, rc, rc > 0 ? "empty root by chroot" : "empty read-only root", err);
    }
    umask(0777);
}

/* Without a user namespace root would stay root: become nobody for good. */
static void leave_root(struct room *r, struct llmos_error *err)
{
    if (r->layers[VCE_USER].holds || !is_on(r, VCE_CAPS) || geteuid() != 0)
        return;
    if (rights_become(RIGHTS_NOBODY, err) < 0)
        give_up(err);
}

/* The engine must not outlive the daemon.  Changing users clears this request, so it comes after;
 * and a daemon that died before it was made is noticed by its end of the socket. */
static void die_with_daemon(void)
{
    struct pollfd daemon = {.fd = CONTROL_FD, .events = 0};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || poll(&daemon, 1, 0) < 0 ||
        (daemon.revents & (POLLHUP | POLLERR)))
        _exit(1);
}

static void close_rights(struct room *r, struct llmos_error *err)
{
    const struct spec *s = &r->spec;
    const struct rights_limits limits = {
        .memory_max_bytes = s->memory_max_bytes,
        .mapped_bytes = s->mapped_bytes,
        .write_max_bytes = s->write_max_bytes,
        .has_user_namespace = r->layers[VCE_USER].holds,
    };
    char detail[160];
    int abi;

    if (s->is_background)
        rights_yield_processors();
    if (is_on(r, VCE_MDWE))
        note(r, VCE_MDWE, rights_no_executable_memory(err), "for good", err);
    if (is_on(r, VCE_RLIMITS))
        note(r, VCE_RLIMITS, rights_limit(&limits, err),
             s->memory_max_bytes ? "core dump, files, memory"
                                 : "core dump, files; memory unbounded",
             err);
    if (is_on(r, VCE_NO_NEW_PRIVS))
        note(r, VCE_NO_NEW_PRIVS, rights_no_new_privs(err), "for good", err);
    if (is_on(r, VCE_CAPS))
        note(r, VCE_CAPS, rights_drop_future_capabilities(err), "none", err);
    leave_root(r, err);
    if (is_on(r, VCE_LANDLOCK)) {
        abi = landlock_restrict(ENGINE_FD, err);
        snprintf(detail, sizeof(detail), "abi %d%s%s", abi, *landlock_gaps(abi) ? ": " : "",
                 landlock_gaps(abi));
        note(r, VCE_LANDLOCK, abi, detail, err);
    }
    die_with_daemon();
    if (is_on(r, VCE_SECCOMP))
        note(r, VCE_SECCOMP, seccomp_restrict(SECCOMP_START, err), "allow-list", err);
    if (is_on(r, VCE_CAPS) && rights_drop_capabilities(err) < 0)
        note(r, VCE_CAPS, LLMOS_EDENIED, "", err);
}

static void become_engine(struct room *r)
{
    static char name[] = "llmos-engine";
    char *const arguments[] = {name, NULL}, *const environment[] = {NULL};
    struct llmos_error err;
    struct buf report;

    if (spec_check_required(&r->spec, r->layers, &err) < 0)
        give_up(&err);
    buf_init(&report, SPEC_BYTES_MAX);
    report_put_layers(&report, r->layers);
    if (buf_check(&report, "the report", &err) < 0)
        give_up(&err);
    send_report(&report);
    syscall(__NR_execveat, ENGINE_FD, "", arguments, environment, AT_EMPTY_PATH);
    fail_errno(&err, "cannot execute the engine in the sandbox");
    give_up(&err);
}

static void live_inside(struct room *r, int go)
{
    struct llmos_error err;

    enter_users(r, go, &err);
    close_files(r, &err);
    close_rights(r, &err);
    become_engine(r);
}

/* --- the first process: outside ------------------------------------------------------------ */

static void prepare_layers(struct room *r)
{
    struct llmos_error err;

    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        spec_set_detail(r->layers[i].detail, is_on(r, i) ? "not reached" : "switched off");
    if (!is_on(r, VCE_LIMITS))
        return;
    /* Before the fork: the cgroup namespace begins where we are. */
    if (cgroup_join(r->spec.cgroup, &err) < 0)
        note(r, VCE_LIMITS, LLMOS_EDENIED, "", &err);
    else if (r->spec.limits_problem[0])
        spec_set_detail(r->layers[VCE_LIMITS].detail, r->spec.limits_problem);
    else
        note(r, VCE_LIMITS, 0, r->spec.limits_detail, NULL);
}

/* Standard streams lead nowhere: what an engine has to say goes over its socket, and a terminal
 * obeys what is written to it. */
static void close_streams(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int fd = 0; fd <= 2; fd++)
        if (null < 0 || dup2(null, fd) < 0)
            close(fd);
    if (null > 2)
        close(null);
}

static void start(struct room *r, struct llmos_error *err)
{
    struct buf report;
    int go[2];
    pid_t child;

    if (pipe2(go, O_CLOEXEC) < 0) {
        fail_errno(err, "cannot make a pipe");
        give_up(err);
    }
    child = ns_fork(r->spec.skip, r->layers, err);
    if (child < 0)
        give_up(err);
    if (child == 0) {
        close(go[1]);
        live_inside(r, go[0]);
        _exit(1);
    }
    buf_init(&report, SPEC_BYTES_MAX);
    report_put_pid(&report, child);
    send_report(&report);
    if (r->layers[VCE_USER].holds && ns_map_users(child, err) < 0)
        give_up(err);
    if (write(go[1], "", 1) != 1) {
        fail_errno(err, "cannot wake the engine's process");
        give_up(err);
    }
}

int main(void)
{
    struct llmos_error err;
    static struct room room;

    close_everything_else();
    if (fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0 || fcntl(ENGINE_FD, F_SETFD, FD_CLOEXEC) < 0) {
        static const char text[] = "llmos-vce is started by llmosd and llmos, not by hand\n";

        return write(STDERR_FILENO, text, sizeof(text) - 1) < 0 ? 2 : 2;
    }
    if (read_spec(&room.spec, &err) < 0)
        give_up(&err);
    prepare_layers(&room);
    close_streams();
    start(&room, &err);
    _exit(0);
}
