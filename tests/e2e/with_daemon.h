/* SPDX-License-Identifier: Apache-2.0 */
/* with_daemon.h - what tests share that drive llmosd: a daemon on a free port, and HTTP to it. */
#ifndef TESTS_E2E_WITH_DAEMON_H
#define TESTS_E2E_WITH_DAEMON_H

#include "with_worker.h"

#include "base/json.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

extern char **environ;

static struct {
    pid_t pid; /* 0: none */
    int port;
    char socket[108], log[512];
    const char *yaml; /* more configuration for the next start */
} host;

static void host_kill(void)
{
    if (host.pid)
        kill(host.pid, SIGKILL);
    while (host.pid && waitpid(host.pid, NULL, 0) < 0 && errno == EINTR)
        ;
    host.pid = 0;
}

/* What the daemon has logged. */
static const char *host_log(void)
{
    static char text[1 << 16];
    struct buf bytes;

    buf_init(&bytes, sizeof(text) - 1);
    file_read(host.log, &bytes, NULL);
    snprintf(text, sizeof(text), "%s", buf_str(&bytes).at);
    buf_fini(&bytes);
    return text;
}

static bool host_logs(const char *part, double seconds)
{
    uint64_t begun = clock_ns();

    while (!strstr(host_log(), part)) {
        if (clock_seconds_since(begun) > seconds)
            return false;
        usleep(5000);
    }
    return true;
}

/* Exit code, -1 if it did not end in time, 128 + signal if one ended it. */
static int host_wait(double seconds)
{
    uint64_t begun = clock_ns();
    int status;

    while (waitpid(host.pid, &status, WNOHANG) == 0) {
        if (clock_seconds_since(begun) > seconds)
            return -1;
        usleep(5000);
    }
    host.pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Starts llmosd with these arguments behind --port 0 and a socket of its own; its engine is the
 * program of that name in the build folder. Does not wait. */
static void host_spawn(const char *engine, const char *const *args)
{
    static char config[512], yaml[1024];
    const char *argv[32] = {build_path("llmosd"), "--port", "0", "--socket", host.socket};
    char folder[512], path[600];
    posix_spawn_file_actions_t files;
    int n = 5;

    host_kill();
    atexit(host_kill);
    snprintf(folder, sizeof(folder), "%s", work_path("libexec"));
    mkdir(folder, 0755);
    snprintf(path, sizeof(path), "%s/llmos-engine", folder);
    unlink(path);
    CHECK_INT(symlink(build_path(engine), path), 0);
    snprintf(path, sizeof(path), "%s/llmos-vce", folder);
    unlink(path);
    CHECK_INT(symlink(build_path("llmos-vce"), path), 0);
    setenv("LLMOS_LIBEXEC", folder, 1);
    setenv("LLMOS_CACHE", work_path("cache"), 1);
    snprintf(host.socket, sizeof(host.socket), "%s", work_path("sock"));
    snprintf(host.log, sizeof(host.log), "%s", work_path("log"));
    unlink(host.log);
    snprintf(yaml, sizeof(yaml), "%s%s",
             ROOM_SKIP ? "isolation: {required: [none], skip: [seccomp, rlimits, limits, landlock, "
                         "mount, mdwe]}\n"
                       : "# nothing\n",
             host.yaml ? host.yaml : "");
    host.yaml = NULL;
    snprintf(config, sizeof(config), "%s", work_file("llmos.yaml", yaml, strlen(yaml)));
    argv[n++] = "--config";
    argv[n++] = config;
    for (; *args && n < 31; args++)
        argv[n++] = *args;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 2, host.log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK_INT(posix_spawn(&host.pid, argv[0], &files, NULL, (char **)(uintptr_t)argv, environ), 0);
    posix_spawn_file_actions_destroy(&files);
}

#define HOST_START(engine, ...) host_start(engine, (const char *const[]){__VA_ARGS__, NULL})

static void host_start(const char *engine, const char *const *args)
{
    const char *port;

    host_spawn(engine, args);
    if (!host_logs("serving models", 30))
        TEST_FAIL("llmosd does not start: %s", host_log());
    port = strstr(host_log(), " port=");
    CHECK(port);
    host.port = atoi(port + 6);
}

static void host_stop(void)
{
    kill(host.pid, SIGTERM);
    CHECK_INT(host_wait(10), 0);
}

/* --- HTTP ------------------------------------------------------------------------------------- */

static int host_dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)host.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {20, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

UNUSED static int host_dial_local(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(to.sun_path, host.socket, sizeof(host.socket));
    CHECK(connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

/* Sends one request; the connection will be closed behind its reply. */
static void host_send(int fd, const char *method, const char *path, struct str body)
{
    struct buf out;

    buf_init(&out, 64 << 20);
    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, path);
    if (body.len || strcmp(method, "POST") == 0)
        buf_printf(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body.len);
    buf_puts(&out, "\r\n");
    buf_put(&out, body.at, body.len);
    for (size_t at = 0; at < out.len;) {
        ssize_t n = send(fd, out.at + at, out.len - at, MSG_NOSIGNAL);

        if (n <= 0)
            break; /* refused before the end: the reply says why */
        at += (size_t)n;
    }
    buf_fini(&out);
}

struct answered {
    int status;
    char text[1 << 20]; /* head and body, chunks still framed */
    const char *body;
};
static struct answered got;

/* Reads until the connection ends, or `until` has come. */
static const struct answered *host_hear(int fd, const char *until)
{
    size_t n = 0;

    memset(&got, 0, sizeof(got));
    while (n < sizeof(got.text) - 1 && !(until && strstr(got.text, until))) {
        ssize_t one = recv(fd, got.text + n, sizeof(got.text) - 1 - n, 0);

        if (one <= 0)
            break;
        n += (size_t)one;
    }
    got.status = strncmp(got.text, "HTTP/1.1 ", 9) == 0 ? atoi(got.text + 9) : 0;
    got.body = strstr(got.text, "\r\n\r\n");
    got.body = got.body ? got.body + 4 : "";
    return &got;
}

static const struct answered *host_ask(int fd, const char *method, const char *path,
                                       const char *body)
{
    host_send(fd, method, path, str_of(body));
    host_hear(fd, NULL);
    close(fd);
    return &got;
}

static const struct answered *get(const char *path)
{
    return host_ask(host_dial(), "GET", path, "");
}

static const struct answered *post(const char *path, const char *body)
{
    return host_ask(host_dial(), "POST", path, body);
}

/* A figure of one model from /metrics, by "name{model=\"m\"}"; -1 if it is not there. */
static double figure(const char *name)
{
    char line[256];
    const char *at;

    snprintf(line, sizeof(line), "\n%s ", name);
    at = strstr(get("/metrics")->body, line);
    return at ? atof(at + strlen(line)) : -1;
}

UNUSED static bool figure_becomes(const char *name, double wanted, double seconds)
{
    uint64_t begun = clock_ns();

    while (figure(name) != wanted) {
        if (clock_seconds_since(begun) > seconds)
            return false;
        usleep(20000);
    }
    return true;
}

/* The body is the error object, all four members of it, with this code ("" for null). */
static void check_error(int status, const char *code)
{
    static const struct json_limits limits = {1 << 20, 8, 64};
    const char *members[] = {"message", "type", "param", "code"};
    json_t *v = NULL, *e;
    const char *has;

    if (got.status != status)
        TEST_FAIL("status is %d, expected %d: %s", got.status, status, got.body);
    CHECK_INT(json_parse(&v, str_of(got.body), &limits, NULL), 0);
    e = json_object_get(v, "error");
    for (int i = 0; i < 4; i++)
        CHECK(json_object_get(e, members[i]));
    CHECK(json_string_length(json_object_get(e, "message")) > 0);
    has = json_string_value(json_object_get(e, "code"));
    if (code)
        CHECK_STR(has ? has : "", code);
    json_decref(v);
}

#endif
