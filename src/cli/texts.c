/* SPDX-License-Identifier: Apache-2.0 */
/* texts.c - see texts.h */
#include "cli/texts.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES 65536

void texts_init(struct texts *t, int fd)
{
    struct stat st;
    off_t at = lseek(fd, 0, SEEK_CUR);

    *t = (struct texts){.fd = fd};
    buf_init(&t->buf, TEXTS_LINE_MAX + 2 * READ_BYTES);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && at >= 0 && st.st_size > at)
        t->total = (uint64_t)(st.st_size - at);
}

void texts_fini(struct texts *t)
{
    buf_fini(&t->buf);
}

/* What can be read now.  1: something came; 0: nothing. */
static int fill(struct texts *t, struct llmos_error *err)
{
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    char *room;
    ssize_t n;

    if (poll(&p, 1, 0) <= 0)
        return 0;
    buf_drop(&t->buf, t->at);
    t->seen -= t->at;
    t->at = 0;
    room = buf_reserve(&t->buf, READ_BYTES);
    if (!room)
        return buf_check(&t->buf, "the input", err);
    n = read(t->fd, room, READ_BYTES);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : fail_errno(err, "cannot read the input");
    t->buf.len += (size_t)n;
    t->is_closed = n == 0;
    return n > 0;
}

static struct str give(struct texts *t, size_t end, size_t next)
{
    struct str line = {t->buf.at + t->at, end - t->at};

    if (line.len > 0 && next > end && line.at[line.len - 1] == '\r')
        line.len--;
    t->done += next - t->at;
    t->count++;
    t->at = t->seen = next;
    return line;
}

/* True if the line that begins at t->at is whole. */
static bool find(struct texts *t, struct str *line)
{
    size_t left = t->buf.len - t->seen;
    const char *newline = left ? memchr(t->buf.at + t->seen, '\n', left) : NULL;

    if (newline) {
        size_t end = (size_t)(newline - t->buf.at);

        *line = give(t, end, end + 1);
        return true;
    }
    t->seen = t->buf.len;
    if (!t->is_closed)
        return false;
    t->has_ended = t->at == t->buf.len;
    if (t->has_ended)
        return false;
    *line = give(t, t->buf.len, t->buf.len);
    return true;
}

int texts_next(struct texts *t, struct str *line, struct llmos_error *err)
{
    unsigned long long number = t->count + 1;

    for (;;) {
        int rc;

        if (find(t, line)) {
            if (line->len <= TEXTS_LINE_MAX)
                return 1;
            break;
        }
        if (t->has_ended)
            return 0;
        if (t->buf.len - t->at > TEXTS_LINE_MAX + 1) /* and perhaps a carriage return */
            break;
        rc = fill(t, err);
        if (rc < 0 || (rc == 0 && !t->is_closed))
            return rc;
    }
    return fail(err, LLMOS_ELIMIT, "line %llu of the input has more than %u bytes", number,
                TEXTS_LINE_MAX);
}
