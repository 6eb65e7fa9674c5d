/* SPDX-License-Identifier: Apache-2.0 */
#include "net/client.h"

#include "base/clock.h"
#include "base/mem.h"
#include "test.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A server of one connection: reads a request's head, sends what it was told to, and hangs up. */
struct server {
    char folder[64], path[80];
    int fd;
    pthread_t thread;
    const char *reply;
    size_t reply_len;
    unsigned wait_ms;
    char seen[4096];
};

static void *serve_one(void *arg)
{
    struct server *s = arg;
    int fd = accept(s->fd, NULL, NULL);
    size_t n = 0;

    while (n < sizeof(s->seen) - 1) {
        ssize_t got = read(fd, s->seen + n, sizeof(s->seen) - 1 - n);

        if (got <= 0)
            break;
        n += (size_t)got;
        s->seen[n] = '\0';
        if (strstr(s->seen, "\r\n\r\n") && (strncmp(s->seen, "POST", 4) || strchr(s->seen, '}')))
            break;
    }
    if (s->wait_ms)
        usleep(s->wait_ms * 1000);
    for (size_t sent = 0; sent < s->reply_len;) {
        ssize_t w = send(fd, s->reply + sent, s->reply_len - sent, MSG_NOSIGNAL);

        if (w <= 0)
            break;
        sent += (size_t)w;
    }
    close(fd);
    return NULL;
}

static void server_begin(struct server *s, const char *reply, size_t length)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};

    *s = (struct server){.reply = reply, .reply_len = length};
    strcpy(s->folder, "/tmp/llmos-client-XXXXXX");
    CHECK(mkdtemp(s->folder) != NULL);
    snprintf(s->path, sizeof(s->path), "%s/s", s->folder);
    snprintf(a.sun_path, sizeof(a.sun_path), "%s", s->path);
    s->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(s->fd, (struct sockaddr *)&a, sizeof(a)) == 0 && listen(s->fd, 4) == 0);
}

static void server_run(struct server *s)
{
    CHECK(pthread_create(&s->thread, NULL, serve_one, s) == 0);
}

static void server_end(struct server *s)
{
    pthread_join(s->thread, NULL);
    close(s->fd);
    unlink(s->path);
    rmdir(s->folder);
}

static int call(struct server *s, const char *method, const char *body, size_t most,
                unsigned timeout_ms, struct buf *reply, struct llmos_error *err)
{
    struct client_request q = {.socket_path = s->path,
                               .method = method,
                               .path = "/admin/v1/vces",
                               .body = str_of(body),
                               .reply_max_bytes = most,
                               .timeout_ms = timeout_ms};

    return client_call(&q, reply, err);
}

TEST(client_brings_status_and_body)
{
    static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"vces\": []}\n";
    struct llmos_error err = {0};
    CLEANUP(buf) struct buf reply = {.at = NULL};
    struct server s;

    buf_init(&reply, 1000);
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* is not heeded */
    server_begin(&s, text, sizeof(text) - 1);
    server_run(&s);
    CHECK_INT(call(&s, "GET", "", 0, 0, &reply, &err), 200);
    server_end(&s);
    CHECK_STR(reply.at, "{\"vces\": []}\n");
    CHECK_CONTAINS(s.seen, "GET /admin/v1/vces HTTP/1.1\r\n");
    CHECK_CONTAINS(s.seen, "Host: localhost\r\n");
}

TEST(client_sends_a_body_with_post_and_brings_errors_of_the_daemon)
{
    static const char text[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno";
    CLEANUP(buf) struct buf reply = {.at = NULL};
    struct server s;

    buf_init(&reply, 1000);
    server_begin(&s, text, sizeof(text) - 1);
    server_run(&s);
    CHECK_INT(call(&s, "POST", "{\"a\": 1}", 0, 0, &reply, NULL), 404);
    server_end(&s);
    CHECK_STR(reply.at, "no");
    CHECK_CONTAINS(s.seen, "POST /admin/v1/vces HTTP/1.1\r\n");
    CHECK_CONTAINS(s.seen, "\r\n\r\n{\"a\": 1}");
}

TEST(client_does_not_follow_a_redirect)
{
    static const char text[] =
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n";
    CLEANUP(buf) struct buf reply = {.at = NULL};
    struct server s;

    buf_init(&reply, 1000);
    server_begin(&s, text, sizeof(text) - 1);
    server_run(&s);
    CHECK_INT(call(&s, "GET", "", 0, 0, &reply, NULL), 302);
    server_end(&s);
}

TEST(client_refuses_a_reply_that_is_too_large)
{
    static char text[200000];
    struct llmos_error err = {0};
    CLEANUP(buf) struct buf reply = {.at = NULL};
    struct server s;

    buf_init(&reply, 1 << 20);
    memset(text, 'x', sizeof(text));
    memcpy(text, "HTTP/1.1 200 OK\r\n\r\n", 19);
    server_begin(&s, text, sizeof(text));
    server_run(&s);
    CHECK_INT(call(&s, "GET", "", 50000, 0, &reply, &err), LLMOS_ELIMIT);
    server_end(&s);
    CHECK_STR(err.text, "the daemon's reply to GET /admin/v1/vces is too large");
    CHECK(reply.len <= 50000);
}

TEST(client_says_who_hung_up_and_what_is_not_http)
{
    static const struct {
        const char *text;
        int rc;
    } cases[] = {
        {"", LLMOS_ECLOSED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", LLMOS_ECLOSED},
        {"hello\r\n", LLMOS_EIO},
        {"HTTP/1.1 999999 what\r\n\r\n", LLMOS_EIO},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct llmos_error err = {0};
        CLEANUP(buf) struct buf reply = {.at = NULL};
        struct server s;
        int rc;

        buf_init(&reply, 1000);
        server_begin(&s, cases[i].text, strlen(cases[i].text));
        server_run(&s);
        rc = call(&s, "GET", "", 0, 0, &reply, &err);
        server_end(&s);
        CHECK_INT(rc, cases[i].rc);
        CHECK_CONTAINS(err.text, "the daemon at '/tmp/");
    }
}

TEST(client_does_not_wait_for_ever)
{
    struct llmos_error err = {0};
    CLEANUP(buf) struct buf reply = {.at = NULL};
    uint64_t start = clock_ns();
    struct server s;

    buf_init(&reply, 1000);
    server_begin(&s, "", 0);
    s.wait_ms = 400;
    server_run(&s);
    CHECK_INT(call(&s, "GET", "", 0, 100, &reply, &err), LLMOS_EIO);
    CHECK_CONTAINS(err.text, "did not answer GET /admin/v1/vces within 100 ms");
    CHECK(clock_seconds_since(start) < 0.39);
    server_end(&s);
}

TEST(client_says_how_to_start_a_daemon_where_there_is_none)
{
    struct llmos_error err = {0};
    CLEANUP(buf) struct buf reply = {.at = NULL};
    struct client_request q = {.method = "GET", .path = "/"};

    buf_init(&reply, 1000);
    q.socket_path = "/nonexistent/llmosd.sock";
    CHECK_INT(client_call(&q, &reply, &err), LLMOS_ENOTFOUND);
    CHECK_STR(err.text, "no daemon listens at '/nonexistent/llmosd.sock'; start one with: llmos "
                        "serve --model NAME=FILE");
    q.socket_path = "/etc/passwd";
    CHECK_INT(client_call(&q, &reply, &err), LLMOS_EINVAL);
    CHECK_STR(err.text, "'/etc/passwd' is not a socket");
}

TEST(client_makes_any_name_one_segment_of_a_path)
{
    CLEANUP(buf) struct buf b = {.at = NULL};

    buf_init(&b, 100);
    client_put_segment(&b, "a-b_1.2/../?x=#%\xc3\xa9 y");
    CHECK_STR(b.at, "a-b_1.2%2F..%2F%3Fx%3D%23%25%C3%A9%20y");
}
