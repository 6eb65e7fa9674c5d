/* SPDX-License-Identifier: Apache-2.0 */
/* wire.c - see wire.h */
#include "engine/wire.h"

#include "base/utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

void wire_init(struct wire *w, int fd)
{
    *w = (struct wire){.fd = fd};
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    frame_reader_init(&w->in, FRAME_TO_ENGINE_MAX);
    buf_init(&w->out,
             WIRE_FULL_BYTES + (8u << 20)); /* a step of many sequences, a flood of errors */
    arena_init(&w->arena, MESSAGE_ARENA_BYTES);
}

void wire_fini(struct wire *w)
{
    frame_reader_fini(&w->in);
    buf_fini(&w->out);
    arena_fini(&w->arena);
}

void wire_put(struct wire *w, const struct message *m)
{
    message_put(&w->out, m);
}

void wire_put_error(struct wire *w, uint64_t id, int code, const char *text)
{
    struct str s = str_of(text);

    if (s.len > MESSAGE_ERROR_BYTES_MAX)
        s.len = MESSAGE_ERROR_BYTES_MAX;
    s.len = utf8_valid_bytes(s);
    wire_put(w, &(struct message){.type = MESSAGE_ERROR, .id = id, .error = {code, s}});
}

static int gone(struct llmos_error *err)
{
    return fail(err, LLMOS_ECLOSED, "the host has closed the connection");
}

static int flush(struct wire *w, struct llmos_error *err)
{
    size_t done = 0;
    int rc = buf_check(&w->out, "the answers that wait for the host", err);

    while (rc == 0 && done < w->out.len) {
        ssize_t n = send(w->fd, w->out.at + done, w->out.len - done, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n >= 0)
            done += (size_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        else if (errno != EINTR)
            rc = gone(err);
    }
    buf_drop(&w->out, done);
    if (w->out.len == 0 && w->out.room > WIRE_FULL_BYTES)
        buf_fini(&w->out);
    return rc;
}

static int wait_for(struct wire *w, short events, int timeout_ms, short *ready,
                    struct llmos_error *err)
{
    struct pollfd p = {.fd = w->fd, .events = events};
    int rc = poll(&p, 1, timeout_ms);

    if (rc < 0 && errno != EINTR)
        return fail_errno(err, "cannot wait for the host");
    *ready = rc > 0 ? p.revents : 0;
    return 0;
}

int wire_turn(struct wire *w, int timeout_ms, struct llmos_error *err)
{
    short ready = 0, events;
    int rc = flush(w, err);

    if (rc < 0)
        return rc;
    events = (short)((w->out.len ? POLLOUT : 0) | (w->out.len < WIRE_FULL_BYTES ? POLLIN : 0));
    rc = wait_for(w, events, timeout_ms, &ready, err);
    if (rc < 0)
        return rc;
    if (ready & POLLIN) {
        long n = frame_fill(&w->in, w->fd, err);

        return n < 0 ? (int)n : 0;
    }
    if (ready & (POLLERR | POLLNVAL | POLLHUP))
        return gone(err);
    return ready & POLLOUT ? flush(w, err) : 0;
}

int wire_drain(struct wire *w, bool all, struct llmos_error *err)
{
    for (;;) {
        short ready;
        int rc = flush(w, err);

        if (rc < 0 || w->out.len == 0 || (!all && wire_is_calm(w)))
            return rc;
        rc = wait_for(w, POLLOUT, -1, &ready, err);
        if (rc < 0)
            return rc;
        if (ready & (POLLERR | POLLNVAL | POLLHUP))
            return gone(err);
    }
}

int wire_next(struct wire *w, struct message *m, struct llmos_error *err)
{
    struct frame f;
    int rc = frame_next(&w->in, &f, err);

    m->id = 0;
    if (rc <= 0)
        return rc;
    arena_fini(&w->arena);
    rc = message_parse(m, &f, false, &w->arena, err);
    if (rc < 0) {
        bool is_known = f.type >= MESSAGE_SETUP && f.type <= MESSAGE_ENCODE;

        m->id = is_known ? f.id : 0;
        return rc;
    }
    return 1;
}
