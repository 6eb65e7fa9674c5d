/* SPDX-License-Identifier: Apache-2.0 */
/* screen.c - see screen.h */
#include "cli/screen.h"

#include "base/clock.h"
#include "base/opt.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REPLACEMENT "\xef\xbf\xbd"
#define MOMENT_NS   300000000u /* what is over before is not worth a line */
#define FRAME_NS    100000000u

static uint32_t code_point(const unsigned char *s, size_t n)
{
    static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = s[0] & mask[n];

    for (size_t i = 1; i < n; i++)
        c = c << 6 | (s[i] & 0x3f);
    return c;
}

static bool is_harmless(uint32_t c)
{
    if (c < 0x20)
        return c == '\n' || c == '\t';
    if (c >= 0x7f && c < 0xa0) /* DEL and C1, where U+009B begins a control sequence */
        return false;
    /* Embeddings, overrides and isolates: text that reads otherwise than it is. */
    return !(c >= 0x202a && c <= 0x202e) && !(c >= 0x2066 && c <= 0x2069);
}

/* Bytes that a character with this first byte has; 1 where it cannot begin one. */
static size_t promised_length(unsigned char first)
{
    return first >= 0xf0 && first < 0xf5 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1;
}

static bool may_continue(struct str s)
{
    size_t wanted = promised_length((unsigned char)s.at[0]);

    if (s.len >= wanted)
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (((unsigned char)s.at[i] & 0xc0) != 0x80)
            return false;
    return (unsigned char)s.at[0] < 0xf5;
}

/* Cleans whole characters; returns the bytes at the end that may be the front of one. */
static size_t clean_whole(struct str s, struct buf *out)
{
    while (s.len > 0) {
        size_t n = utf8_length(s);

        if (n == 0 && may_continue(s))
            return s.len;
        if (n == 0 || !is_harmless(code_point((const unsigned char *)s.at, n)))
            buf_puts(out, REPLACEMENT);
        else
            buf_put(out, s.at, n);
        n = n ? n : 1;
        s = (struct str){s.at + n, s.len - n};
    }
    return 0;
}

void screen_clean(struct screen_filter *f, struct str piece, struct buf *out)
{
    size_t left;

    /* Complete the kept character byte by byte: at most three rounds. */
    while (f->kept_len > 0 && piece.len > 0) {
        char joined[sizeof(f->kept) + 1];

        memcpy(joined, f->kept, f->kept_len);
        joined[f->kept_len] = piece.at[0];
        left = clean_whole((struct str){joined, f->kept_len + 1}, out);
        memmove(f->kept, joined + f->kept_len + 1 - left, left);
        f->kept_len = left;
        piece = (struct str){piece.at + 1, piece.len - 1};
    }
    if (piece.len == 0)
        return;
    left = clean_whole(piece, out);
    memcpy(f->kept, piece.at + piece.len - left, left);
    f->kept_len = left;
}

void screen_clean_end(struct screen_filter *f, struct buf *out)
{
    if (f->kept_len > 0)
        buf_puts(out, REPLACEMENT);
    f->kept_len = 0;
}

void screen_put_line(struct buf *out, struct str text)
{
    struct screen_filter f = {.kept_len = 0};
    size_t start = out->len;

    screen_clean(&f, text, out);
    screen_clean_end(&f, out);
    for (size_t i = start; i < out->len; i++)
        if (out->at[i] == '\n' || out->at[i] == '\t')
            out->at[i] = ' ';
}

unsigned screen_width(int fd)
{
    struct winsize size;

    if (isatty(fd) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return OPT_WIDTH_PLAIN;
}

void spinner_start(struct spinner *s, const char *what)
{
    const char *terminal = getenv("TERM");

    *s = (struct spinner){.what = what, .start_ns = clock_ns()};
    s->on = isatty(STDERR_FILENO) && terminal && *terminal && strcmp(terminal, "dumb") != 0;
}

/* Is it time for another frame? */
static bool is_due(struct spinner *s)
{
    uint64_t now = clock_ns();

    if (!s->on || now - s->start_ns < MOMENT_NS || now - s->last_ns < FRAME_NS)
        return false;
    s->last_ns = now;
    s->drawn = true;
    return true;
}

void spinner_turn(struct spinner *s)
{
    static const char frames[] = "|/-\\";

    if (is_due(s))
        fprintf(stderr, "\r\033[K%c %s", frames[s->turn++ % 4], s->what);
}

void spinner_bar(struct spinner *s, uint64_t done, uint64_t total)
{
    static const char full[] = "##############################";
    int cells = (int)sizeof(full) - 1;
    double share = total && done < total ? (double)done / (double)total : total ? 1 : 0;
    int n = (int)(share * cells);

    if (is_due(s))
        fprintf(stderr, "\r\033[K%s [%.*s%*s] %3d%%", s->what, n, full, cells - n, "",
                (int)(share * 100));
}

void spinner_clear(struct spinner *s)
{
    if (s->drawn)
        fputs("\r\033[K", stderr);
    s->drawn = false;
}
