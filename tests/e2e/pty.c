/* SPDX-License-Identifier: Apache-2.0 */
/* pty.c - plays a user at a terminal:  pty SCRIPT COMMAND [WORD]...
 *
 * Runs the command on a pseudo-terminal and prints what appears there.  Lines of SCRIPT:
 *     expect TEXT    waits until TEXT has appeared behind what was expected before
 *     ready          waits until the command reads key by key, as a line editor does
 *     send TEXT      types TEXT; \n is Return, \c Ctrl-C, \d Ctrl-D
 * Behind the last line it waits for the command to end and returns its exit code (128 + signal);
 * 99: something expected did not come, or it did not end. */
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define SECONDS 20

static char seen[1 << 20];
static size_t seen_len, expected;
static int master;

/* False at the end of the output. */
static bool look(int timeout_ms)
{
    struct pollfd p = {.fd = master, .events = POLLIN};
    ssize_t n;

    if (poll(&p, 1, timeout_ms) <= 0)
        return true;
    n = read(master, seen + seen_len, sizeof(seen) - 1 - seen_len);
    if (n <= 0)
        return false;
    if (write(STDOUT_FILENO, seen + seen_len, (size_t)n) < 0)
        return false;
    seen_len += (size_t)n;
    seen[seen_len] = '\0';
    return true;
}

static bool expect(const char *text)
{
    time_t end = time(NULL) + SECONDS;

    for (;;) {
        const char *at = memmem(seen + expected, seen_len - expected, text, strlen(text));

        if (at) {
            expected = (size_t)(at - seen) + strlen(text);
            return true;
        }
        if (time(NULL) > end || !look(100)) {
            fprintf(stderr, "pty: '%s' did not come\n", text);
            return false;
        }
    }
}

static void send(const char *text)
{
    for (; *text; text++) {
        char c = *text;

        if (c == '\\' && text[1]) {
            text++;
            c = *text == 'n' ? '\r' : *text == 'c' ? '\003' : *text == 'd' ? '\004' : *text;
        }
        if (write(master, &c, 1) < 0)
            return;
    }
}

/* Until the program reads key by key: what is typed before goes through the terminal's line mode,
 * which keeps an end of file (Ctrl-D) for itself. */
static bool ready(void)
{
    time_t end = time(NULL) + SECONDS;
    struct termios mode;

    while (time(NULL) <= end && look(10))
        if (tcgetattr(master, &mode) == 0 && !(mode.c_lflag & ICANON))
            return true;
    fprintf(stderr, "pty: the command does not read key by key\n");
    return false;
}

static bool play(FILE *script)
{
    char line[1024];

    while (fgets(line, sizeof(line), script)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "send ", 5) == 0)
            send(line + 5);
        else if (strcmp(line, "ready") == 0) {
            if (!ready())
                return false;
        } else if (strncmp(line, "expect ", 7) != 0 || !expect(line + 7))
            return false;
    }
    return true;
}

static int finish(pid_t child)
{
    time_t end = time(NULL) + SECONDS;
    int status = 0;

    while (look(50) && time(NULL) < end)
        if (waitpid(child, &status, WNOHANG) == child) {
            while (look(50) && poll(&(struct pollfd){.fd = master, .events = POLLIN}, 1, 0) > 0)
                ;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
    if (time(NULL) >= end) {
        fprintf(stderr, "pty: the command did not end\n");
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return 99;
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    FILE *script = argc > 2 ? fopen(argv[1], "r") : NULL;
    pid_t child;

    if (!script) {
        fprintf(stderr, "usage: pty SCRIPT COMMAND [WORD]...\n");
        return 99;
    }
    child = forkpty(&master, NULL, NULL, &size);
    if (child < 0)
        return 99;
    if (child == 0) {
        setenv("TERM", "xterm", 1);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    if (!play(script)) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        return 99;
    }
    fclose(script);
    return finish(child);
}
