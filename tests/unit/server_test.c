/* SPDX-License-Identifier: Apache-2.0 */
/* server_test.c - claims about server.h, made by clients on real sockets */
#include "net/server.h"

#include "base/clock.h"
#include "base/mem.h"
#include "test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A server with one thread of its own, and what its handler saw. */
static struct {
    struct server *server;
    pthread_t thread;
    int port;
    atomic_bool stop, answer_kept;
    atomic_int gone, finished, handled;
    struct server_request *kept;
    bool kept_streams;
    char path[128];
} side;

static void reply_text(struct server_request *r, const char *text)
{
    struct buf body;

    buf_init(&body, 1 << 16);
    buf_puts(&body, text);
    server_reply(r, 200, "text/plain", &body);
}

static void on_gone(struct server_request *r)
{
    if (side.kept == r)
        side.kept = NULL;
    side.gone++;
}

static void handle(struct server_request *r, void *cookie)
{
    (void)cookie;
    side.handled++;
    snprintf(side.path, sizeof(side.path), "%.*s", STR_ARG(r->path));
    r->gone = on_gone;
    if (str_is(r->path, "/later") || str_is(r->path, "/stream")) {
        side.kept_streams = str_is(r->path, "/stream");
        side.kept = r;
        if (side.kept_streams) {
            server_stream_start(r, "text/event-stream");
            server_stream_put(r, STR("first;"));
        }
        return;
    }
    if (str_is(r->path, "/flood")) {
        static char block[1 << 16];

        server_stream_start(r, "text/event-stream");
        for (int i = 0; i < 64; i++)
            server_stream_put(r, (struct str){block, sizeof(block)});
        return;
    }
    server_add_header(r, "x-test", "one\r\nx-forged: two");
    reply_text(r, r->body.len ? r->body.at : "hello");
}

static void count_finished(const struct server_request *r, void *cookie)
{
    (void)r;
    (void)cookie;
    side.finished++;
}

static void *serve(void *arg)
{
    (void)arg;
    while (!side.stop) {
        server_poll(side.server, 20, NULL);
        if (side.kept && side.answer_kept) {
            struct server_request *r = side.kept;

            side.kept = NULL;
            if (side.kept_streams) {
                server_stream_put(r, STR("second;"));
                server_stream_end(r);
            } else {
                reply_text(r, "at last");
            }
        }
    }
    return NULL;
}

static void start(unsigned receive_seconds)
{
    const struct server_options o = {.body_max_bytes = 1000,
                                     .stream_max_bytes = 1 << 20,
                                     .connections_max = 16,
                                     .receive_seconds = receive_seconds,
                                     .idle_seconds = 30,
                                     .names = {"models.example"},
                                     .name_count = 1,
                                     .handle = handle,
                                     .finished = count_finished};

    memset(&side, 0, sizeof(side));
    CHECK_INT(server_create(&side.server, &o, NULL), 0);
    side.port = server_listen_tcp(side.server, "127.0.0.1", 0, NULL);
    CHECK(side.port > 0);
    pthread_create(&side.thread, NULL, serve, NULL);
}

static void stop(void)
{
    side.stop = true;
    server_wake(side.server);
    pthread_join(side.thread, NULL);
    server_destroy(side.server);
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)side.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {5, 0};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return fd;
}

static void say(int fd, const char *text)
{
    CHECK(send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text));
}

/* Everything until the other side closes, `until` was seen, or five seconds have passed. */
static const char *hear(int fd, const char *until)
{
    static char text[1 << 16];
    size_t n = 0;

    text[0] = '\0';
    while (n < sizeof(text) - 1 && !(until && strstr(text, until))) {
        ssize_t got = recv(fd, text + n, sizeof(text) - 1 - n, 0);

        if (got <= 0)
            break;
        n += (size_t)got;
        text[n] = '\0';
    }
    return text;
}

static const char *ask(const char *request)
{
    int fd = dial();
    const char *answer;

    CHECK(fd >= 0);
    say(fd, request);
    answer = hear(fd, NULL);
    close(fd);
    return answer;
}

static bool becomes(atomic_int *count, int wanted)
{
    for (int i = 0; i < 300 && *count != wanted; i++)
        usleep(10000);
    return *count == wanted;
}

TEST(server_answers_with_an_id_and_no_forged_header)
{
    const char *a;

    start(30);
    a = ask("GET /a%2fb:c?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    CHECK_CONTAINS(a, "HTTP/1.1 200");
    CHECK_CONTAINS(a, "x-request-id: req_");
    CHECK_CONTAINS(a, "x-test: one\r\n");
    CHECK(!strstr(a, "x-forged"));
    CHECK_CONTAINS(a, "hello");
    CHECK_STR(side.path, "/a%2fb:c");
    a = ask("POST /p HTTP/1.1\r\nHost: 127.0.0.1:80\r\nContent-Length: 4\r\nConnection: "
            "close\r\n\r\nbody");
    CHECK_CONTAINS(a, "\r\n\r\nbody");
    stop();
    CHECK_INT(side.finished, 2);
}

TEST(server_refuses_foreign_hosts_and_origins)
{
    start(30);
    CHECK_CONTAINS(ask("GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
                   "HTTP/1.1 403");
    CHECK_CONTAINS(
        ask("GET / HTTP/1.1\r\nHost: localhost.evil.example\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 403");
    CHECK_CONTAINS(ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), "HTTP/1.1 400");
    CHECK_CONTAINS(ask("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n"
                       "Connection: close\r\n\r\n"),
                   "HTTP/1.1 403");
    CHECK_CONTAINS(
        ask("GET / HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\nConnection: close\r\n\r\n"),
        "HTTP/1.1 403");
    CHECK_INT(side.handled, 0);
    CHECK_CONTAINS(ask("GET / HTTP/1.1\r\nHost: Models.Example:5000\r\nConnection: close\r\n\r\n"),
                   "HTTP/1.1 200");
    CHECK_CONTAINS(ask("GET / HTTP/1.1\r\nHost: [::1]:5000\r\nOrigin: http://localhost:3000\r\n"
                       "Connection: close\r\n\r\n"),
                   "HTTP/1.1 200");
    stop();
}

TEST(server_knows_which_hosts_are_loopback)
{
    static const char *const names[] = {"box"};

    CHECK(server_host_allowed(STR("127.0.0.1"), NULL, 0));
    CHECK(server_host_allowed(STR("127.8.8.8:1"), NULL, 0));
    CHECK(server_host_allowed(STR("[::1]"), NULL, 0));
    CHECK(server_host_allowed(STR("LOCALHOST:5000"), NULL, 0));
    CHECK(server_host_allowed(STR("box:1"), names, 1));
    CHECK(!server_host_allowed(STR("box"), NULL, 0));
    CHECK(!server_host_allowed(STR(""), names, 1));
    CHECK(!server_host_allowed(STR("[::1"), NULL, 0));
    CHECK(!server_host_allowed(STR("127.0.0.1.nip.example"), NULL, 0));
    CHECK(!server_host_allowed(STR("0.0.0.0"), NULL, 0));
    CHECK(!server_host_allowed(STR("10.0.0.1"), NULL, 0));
}

TEST(server_bounds_bodies_of_known_and_unknown_length)
{
    char text[4096];
    int n;

    start(30);
    CHECK_CONTAINS(ask("POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n"),
                   "HTTP/1.1 413");
    CHECK_CONTAINS(
        ask("POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        "HTTP/1.1 4");
    n = snprintf(text, sizeof(text),
                 "POST /p HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
                 "Connection: close\r\n\r\n5dc\r\n%01500d\r\n0\r\n\r\n",
                 7);
    CHECK(n < (int)sizeof(text));
    CHECK_CONTAINS(ask(text), "HTTP/1.1 413");
    CHECK_CONTAINS(ask("POST /p HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n"
                       "Content-Length: 4\r\n\r\nabcd"),
                   "HTTP/1.1 415");
    CHECK_INT(side.handled, 0);
    stop();
}

TEST(server_survives_huge_headers)
{
    char *text = malloc(300000);
    int fd;

    start(30);
    snprintf(text, 300000, "GET / HTTP/1.1\r\nHost: localhost\r\nx-big: %0250000d\r\n\r\n", 1);
    fd = dial();
    send(fd, text, strlen(text), MSG_NOSIGNAL);
    hear(fd, NULL);
    close(fd);
    CHECK_INT(side.handled, 0);
    CHECK_CONTAINS(ask("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), " 200 ");
    free(text);
    stop();
}

TEST(server_answers_later)
{
    int fd;

    start(30);
    fd = dial();
    say(fd, "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(becomes(&side.handled, 1));
    side.answer_kept = true;
    CHECK_CONTAINS(hear(fd, "at last"), "at last");
    say(fd, "GET /now HTTP/1.1\r\nHost: localhost\r\n\r\n"); /* the connection lives on */
    CHECK_CONTAINS(hear(fd, "hello"), "hello");
    close(fd);
    stop();
    CHECK_INT(side.gone, 0);
}

TEST(server_streams)
{
    int fd;

    start(30);
    fd = dial();
    say(fd, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK_CONTAINS(hear(fd, "first;"), "text/event-stream");
    side.answer_kept = true;
    CHECK_CONTAINS(hear(fd, "0\r\n\r\n"), "second;");
    close(fd);
    stop();
    CHECK_INT(side.gone, 0);
    CHECK_INT(side.finished, 1);
}

TEST(server_notices_a_client_that_goes_while_its_answer_is_made)
{
    int fd;

    start(30);
    fd = dial();
    say(fd, "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(becomes(&side.handled, 1));
    close(fd);
    CHECK(becomes(&side.gone, 1));
    CHECK(becomes(&side.finished, 1));
    stop();
}

TEST(server_notices_a_client_that_goes_in_mid_stream)
{
    int fd;

    start(30);
    fd = dial();
    say(fd, "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    hear(fd, "first;");
    close(fd);
    CHECK(becomes(&side.gone, 1));
    CHECK(becomes(&side.finished, 1));
    stop();
}

TEST(server_ends_a_stream_that_nobody_reads)
{
    int fd;

    start(30);
    fd = dial();
    say(fd, "GET /flood HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(becomes(&side.gone, 1));
    CHECK(becomes(&side.finished, 1));
    close(fd);
    stop();
}

TEST(server_ends_a_connection_that_trickles)
{
    uint64_t begun = clock_ns();
    int fd;

    start(1);
    fd = dial();
    say(fd, "GET / HTTP/1.1\r\nHo");
    CHECK_STR(hear(fd, NULL), "");
    CHECK(clock_seconds_since(begun) < 4.5);
    close(fd);
    stop();
}

TEST(server_stops_while_requests_wait)
{
    int fd;

    start(30);
    fd = dial();
    say(fd, "GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(becomes(&side.handled, 1));
    stop();
    CHECK_INT(side.gone, 1);
    close(fd);
}

TEST(server_says_when_a_port_or_socket_is_taken)
{
    char path[64];
    struct llmos_error err = {0};
    struct server *other;
    struct stat st;

    start(30);
    snprintf(path, sizeof(path), "/tmp/llmos-server-test-%d", (int)getpid());
    CHECK_INT(server_create(&other, &(struct server_options){.connections_max = 4}, &err), 0);
    CHECK_INT(server_listen_tcp(other, "127.0.0.1", (unsigned)side.port, &err), LLMOS_EBUSY);
    CHECK_CONTAINS(err.text, "another program does");
    CHECK_INT(server_listen_tcp(other, "example.org", 1, &err), LLMOS_EINVAL);
    CHECK_INT(server_listen_tcp(other, "127.0.0.1", 70000, &err), LLMOS_EINVAL);
    CHECK_INT(server_listen_unix(other, path, &err), 0);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    CHECK_INT(server_listen_unix(other, path, &err), LLMOS_EBUSY);
    CHECK_CONTAINS(err.text, "another llmosd");
    CHECK_INT(server_listen_unix(other, "/tmp", &err), LLMOS_EINVAL);
    server_destroy(other);
    CHECK(stat(path, &st) < 0);
    stop();
}

TEST(server_replaces_a_stale_socket)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    struct server *s;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(to.sun_path, sizeof(to.sun_path), "/tmp/llmos-server-stale-%d", (int)getpid());
    CHECK_INT(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    close(fd);
    CHECK_INT(server_create(&s, &(struct server_options){.connections_max = 4}, NULL), 0);
    CHECK_INT(server_listen_unix(s, to.sun_path, NULL), 0);
    server_destroy(s);
}

TEST(server_survives_every_failed_allocation_at_start)
{
    EVERY_ALLOCATION_FAILS
    {
        struct server *s = NULL;
        struct llmos_error err = {0};
        int rc = server_create(&s, &(struct server_options){.connections_max = 4}, &err);

        if (rc == 0)
            rc = server_listen_tcp(s, "::1", 0, &err);
        CHECK(rc >= 0 || err.code == LLMOS_ENOMEM || err.code == LLMOS_EIO);
        server_destroy(s);
    }
}
