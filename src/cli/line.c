/* SPDX-License-Identifier: Apache-2.0 */
/* line.c - see line.h */
#include "cli/line.h"

#include "base/mem.h"
#include "base/paths.h"
#include "cli/halt.h"

#include <errno.h>
#include <fcntl.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wchar.h>

#define HISTORY_LINES 1000

struct line_input {
    EditLine *edit; /* NULL: standard input is no terminal */
    History *history;
    char *history_path;
    const char *prompt;
};

static char *prompt_of(EditLine *edit)
{
    struct line_input *in = NULL;
    static char none[] = "";

    el_get(edit, EL_CLIENTDATA, &in);
    return in && in->prompt ? (char *)(uintptr_t)in->prompt : none;
}

/* libedit's own reader would miss a Ctrl-C that comes just before it begins to wait. */
static int get_char(EditLine *edit, wchar_t *out)
{
    mbstate_t state = {0};
    size_t used;

    (void)edit;
    for (;;) {
        char c;
        ssize_t n;

        if (halt_or_readable(STDIN_FILENO) <= 0)
            return -1;
        n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        used = mbrtowc(out, &c, 1, &state);
        if (used == (size_t)-1) { /* no character of this locale: forget it */
            memset(&state, 0, sizeof(state));
            continue;
        }
        if (used != (size_t)-2)
            return 1;
    }
}

/* Makes the file before libedit writes it, so that it is never readable for others. */
static void open_history(struct line_input *in)
{
    HistEvent event;
    int fd;

    if (path_make_parents(in->history_path, NULL) < 0)
        goto none;
    fd = open(in->history_path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0)
        goto none;
    if (fchmod(fd, 0600) < 0) {
        close(fd);
        goto none;
    }
    close(fd);
    history(in->history, &event, H_LOAD, in->history_path);
    return;
none:
    mem_free(in->history_path);
    in->history_path = NULL;
}

static int open_edit(struct line_input *in, const char *program, struct llmos_error *err)
{
    HistEvent event;

    /* Without a locale of the user's, as in containers, text is UTF-8 all the same. */
    if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
        setlocale(LC_CTYPE, "C.UTF-8");
    in->edit = el_init(program, stdin, stdout, stderr);
    in->history = history_init();
    if (!in->edit || !in->history)
        return fail(err, LLMOS_ENOMEM, "no memory to edit lines");
    el_set(in->edit, EL_CLIENTDATA, in);
    el_set(in->edit, EL_PROMPT, prompt_of);
    el_set(in->edit, EL_EDITOR, "emacs");
    el_set(in->edit, EL_SIGNAL, 0);
    el_set(in->edit, EL_GETCFN, get_char);
    el_set(in->edit, EL_HIST, history, in->history);
    el_set(in->edit, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(in->edit, NULL); /* the user's ~/.editrc */
    history(in->history, &event, H_SETSIZE, HISTORY_LINES);
    history(in->history, &event, H_SETUNIQUE, 1);
    if (in->history_path)
        open_history(in);
    return 0;
}

int line_open(struct line_input **in, const char *program, const char *history_path,
              struct llmos_error *err)
{
    struct line_input *made = mem_zalloc(1, sizeof(*made));
    int rc = 0;

    if (!made)
        return fail(err, LLMOS_ENOMEM, "no memory to read lines");
    if (history_path) {
        made->history_path = mem_strndup(history_path, strlen(history_path));
        if (!made->history_path)
            rc = fail(err, LLMOS_ENOMEM, "no memory to read lines");
    }
    if (rc == 0 && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO))
        rc = open_edit(made, program, err);
    if (rc < 0) {
        line_close(made);
        return rc;
    }
    *in = made;
    return 0;
}

void line_close(struct line_input *in)
{
    if (!in)
        return;
    if (in->edit)
        el_end(in->edit);
    if (in->history)
        history_end(in->history);
    mem_free(in->history_path);
    mem_free(in);
}

static void remember(struct line_input *in, const char *line)
{
    HistEvent event;

    history(in->history, &event, H_ENTER, line);
    if (in->history_path)
        history(in->history, &event, H_SAVE, in->history_path);
}

/* One line with its newline appended to text, or LINE_END, LINE_INTERRUPTED. */
static int read_edited(struct line_input *in, struct buf *text)
{
    int count = 0;
    const char *line = el_gets(in->edit, &count);

    if (halt_asked()) {
        el_reset(in->edit); /* what was typed is gone */
        fputc('\n', stdout);
        fflush(stdout);
        return LINE_INTERRUPTED;
    }
    if (!line || count <= 0)
        return LINE_END;
    buf_put(text, line, (size_t)count);
    return LINE_TEXT;
}

static int read_plain(struct buf *text, struct llmos_error *err)
{
    bool some = false;

    for (;;) {
        char c; /* byte by byte: nothing is taken from those behind us */
        ssize_t n = halt_or_readable(STDIN_FILENO);

        if (n == 0)
            return LINE_INTERRUPTED;
        if (n > 0)
            n = read(STDIN_FILENO, &c, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail_errno(err, "cannot read standard input");
        if (n == 0)
            return some ? LINE_TEXT : LINE_END;
        some = true;
        buf_putc(text, c);
        if (c == '\n' || text->bad)
            return LINE_TEXT;
    }
}

/* Strips the newline; true if the line goes on: a backslash was before it and is now a newline. */
static bool goes_on(struct buf *text)
{
    if (text->len > 0 && text->at[text->len - 1] == '\n')
        text->at[--text->len] = '\0';
    if (text->len == 0 || text->at[text->len - 1] != '\\')
        return false;
    text->at[text->len - 1] = '\n';
    return true;
}

int line_read(struct line_input *in, const char *prompt, struct buf *text, struct llmos_error *err)
{
    bool more;

    buf_clear(text);
    in->prompt = prompt;
    do {
        size_t before = text->len;
        int rc = in->edit ? read_edited(in, text) : read_plain(text, err);

        if (rc == LINE_END && before > 0)
            break;
        if (rc != LINE_TEXT)
            return rc;
        rc = buf_check(text, "the line", err);
        if (rc < 0)
            return rc;
        if (in->edit && text->len > before + 1)
            remember(in, text->at + before);
        more = goes_on(text);
        in->prompt = "... ";
    } while (more);
    return LINE_TEXT;
}
