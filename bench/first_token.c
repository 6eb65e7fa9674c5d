/* SPDX-License-Identifier: Apache-2.0 */
/* first_token.c - how long programs take from their start to the first byte that they print.
 *
 *     first_token 'llmos run --raw --max-tokens 1 M "..."' 'llama-cli --no-display-prompt ...'
 *
 * Commands run through a shell, in turn, round after round; the first round, which also brings
 * files into the page cache, does not count.  What counts as the first token is for the caller to
 * see to: a program that greets or repeats its prompt is told not to.  The bytes that came first
 * are shown for that reason. */
#include "quantile.h"

#include "base/clock.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "base/opt.h"
#include "cli/table.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define COMMANDS_MAX 8
#define RUNS_MAX     1000
#define FIRST_BYTES  60  /* shown of an output */
#define LAST_BYTES   400 /* shown of the complaints of a program that failed */
#define REPORT_MAX   (1u << 20)

extern char **environ;

struct options {
    uint32_t runs, timeout_s;
    bool json;
};

static const struct options defaults = {.runs = 10, .timeout_s = 120};

static const struct opt option_table[] = {
    OPT_U32('r', "runs", struct options, runs, "N", 1, RUNS_MAX, "runs of each that count"),
    OPT_U32(0, "timeout", struct options, timeout_s, "SECONDS", 1, 3600, "for one run"),
    OPT_FLAG('j', "json", struct options, json, "print one JSON object"),
    OPT_END,
};

static const struct opt_command command = {
    .name = "first_token",
    .summary = "measure the time from the start of programs to what they print first",
    .operands = "COMMAND [COMMAND ...]",
    .operand_why = "a command, one word of the shell",
    .operands_min = 1,
    .operands_max = COMMANDS_MAX,
    .description = "Commands run in turn; medians, minima and maxima are shown, and the time to "
                   "the end of the program beside that to its first byte.",
    .examples = "first_token \"build/llmos run --raw --max-tokens 1 m.gguf 'Once upon a time'\"",
    .options = option_table,
    .defaults = &defaults,
};

struct contender {
    const char *command;
    double first_ms[RUNS_MAX], end_ms[RUNS_MAX];
    size_t count;
    char first[FIRST_BYTES + 1]; /* of the last run */
};

/* A run that goes on. */
struct run {
    pid_t pid;
    int out;        /* what it prints */
    int complaints; /* a file without a name, so that nobody waits for a reader */
};

static int start(struct run *r, const char *text, struct llmos_error *err)
{
    char shell[] = "sh", dash_c[] = "-c";
    char *const arguments[] = {shell, dash_c, (char *)(uintptr_t)text, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    int out[2], rc;

    r->complaints = memfd_create("stderr", MFD_CLOEXEC);
    if (r->complaints < 0 || pipe2(out, O_CLOEXEC) < 0)
        return fail_errno(err, "cannot make a pipe");
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out[1], 1);
    posix_spawn_file_actions_adddup2(&files, r->complaints, 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP); /* to be ended as a whole */
    rc = posix_spawn(&r->pid, "/bin/sh", &files, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    close(out[1]);
    r->out = out[0];
    errno = rc;
    return rc ? fail_errno(err, "cannot start a shell") : 0;
}

/* Reads to the end: when the first byte came, and what the first ones were. */
static int hear(const struct run *r, uint64_t begun, uint32_t timeout_s, double *first_ms,
                char *first, struct llmos_error *err)
{
    size_t kept = 0;
    bool is_first = true;

    for (;;) {
        struct pollfd p = {.fd = r->out, .events = POLLIN};
        double left = timeout_s - clock_seconds_since(begun);
        char bytes[4096];
        ssize_t n;

        if (left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) == 0)
            return fail(err, LLMOS_EIO, "it has not ended after %u seconds; try --timeout",
                        timeout_s);
        n = read(r->out, bytes, sizeof(bytes));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        if (is_first)
            *first_ms = clock_seconds_since(begun) * 1e3;
        is_first = false;
        for (ssize_t i = 0; i < n && kept < FIRST_BYTES; i++)
            first[kept++] = bytes[i];
    }
    first[kept] = '\0';
    return is_first ? fail(err, LLMOS_EFORMAT, "it prints nothing") : 0;
}

/* The end of what it complained about, in front of which stands what we have to say. */
static int explain(const struct run *r, int rc, struct llmos_error *err)
{
    char text[LAST_BYTES + 1];
    off_t length = lseek(r->complaints, 0, SEEK_END);
    ssize_t n =
        pread(r->complaints, text, LAST_BYTES, length > LAST_BYTES ? length - LAST_BYTES : 0);

    if (n > 0) {
        struct llmos_error why = *err;

        fail(err, rc, "%s: %.*s", why.text, (int)n, text);
    }
    return rc;
}

static int run_once(struct contender *c, const struct options *o, struct llmos_error *err)
{
    uint64_t begun = clock_ns();
    struct run r = {.pid = -1, .out = -1, .complaints = -1};
    int status = 0, rc = start(&r, c->command, err);

    if (rc == 0) {
        rc = hear(&r, begun, o->timeout_s, &c->first_ms[c->count], c->first, err);
        if (rc < 0)
            kill(-r.pid, SIGKILL);
        while (waitpid(r.pid, &status, 0) < 0 && errno == EINTR)
            ;
        c->end_ms[c->count] = clock_seconds_since(begun) * 1e3;
        if (rc == 0 && status != 0)
            rc = fail(err, LLMOS_EIO, "it ends with %s %d",
                      WIFEXITED(status) ? "exit code" : "signal",
                      WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        if (rc < 0)
            explain(&r, rc, err);
    }
    close(r.out);
    close(r.complaints);
    c->count++;
    return rc < 0 ? fail_while(err, rc, "command '%s'", c->command) : 0;
}

static void put_json(struct buf *out, struct contender *c, size_t count)
{
    buf_printf(out, "{\"runs\": %zu, \"commands\": [", c->count);
    for (size_t i = 0; i < count; i++) {
        buf_puts(out, i ? ", {\"command\": " : "{\"command\": ");
        json_put_string(out, str_of(c[i].command));
        buf_puts(out, ", \"first\": ");
        json_put_string(out, str_of(c[i].first));
        buf_printf(out,
                   ", \"first_ms_median\": %.3f, \"first_ms_min\": %.3f, \"first_ms_max\": %.3f, "
                   "\"end_ms_median\": %.3f}",
                   quantile(c[i].first_ms, c[i].count, 0.5), quantile(c[i].first_ms, c[i].count, 0),
                   quantile(c[i].first_ms, c[i].count, 1), quantile(c[i].end_ms, c[i].count, 0.5));
    }
    buf_puts(out, "]}\n");
}

static void put_table(struct buf *out, struct contender *c, size_t count)
{
    static const char *const titles[] = {"first ms", "min",         "max",
                                         "end ms",   "first bytes", "command"};
    struct table t;

    table_init(&t);
    for (size_t i = 0; i < sizeof(titles) / sizeof(*titles); i++)
        table_column(&t, titles[i], i < 4);
    for (size_t i = 0; i < count; i++) {
        table_cellf(&t, "%.2f", quantile(c[i].first_ms, c[i].count, 0.5));
        table_cellf(&t, "%.2f", quantile(c[i].first_ms, c[i].count, 0));
        table_cellf(&t, "%.2f", quantile(c[i].first_ms, c[i].count, 1));
        table_cellf(&t, "%.2f", quantile(c[i].end_ms, c[i].count, 0.5));
        table_cellf(&t, "'%s'", c[i].first);
        table_cell(&t, str_of(c[i].command));
    }
    table_put(&t, "", out);
    table_fini(&t);
}

static int measure(const struct options *o, struct contender *c, size_t count, struct buf *out,
                   struct llmos_error *err)
{
    for (uint32_t run = 0; run <= o->runs; run++) {
        for (size_t i = 0; i < count; i++) {
            int rc = run_once(&c[i], o, err);

            if (rc < 0)
                return rc;
            if (run == 0)
                c[i].count = 0;
        }
    }
    (o->json ? put_json : put_table)(out, c, count);
    return buf_check(out, "the report", err);
}

int main(int argc, char **argv)
{
    CLEANUP(buf) struct buf text = {.limit_bytes = REPORT_MAX};
    static struct contender contenders[COMMANDS_MAX];
    struct options o = defaults;
    struct llmos_error err;
    struct opt_rest rest;
    int rc = opt_parse(&command, &o, argc, argv, &rest, &err);

    if (rc > OPT_GO) {
        opt_show(&text, &command, (enum opt_result)rc, OPT_WIDTH_PLAIN, "");
        fputs(buf_str(&text).at, stdout);
        return 0;
    }
    if (rc < 0) {
        fprintf(stderr, "first_token: %s\n", err.text);
        return OPT_EXIT_USAGE;
    }
    for (int i = 0; i < rest.count; i++)
        contenders[i].command = rest.at[i];
    rc = measure(&o, contenders, (size_t)rest.count, &text, &err);
    if (rc < 0)
        fprintf(stderr, "first_token: %s\n", err.text);
    else
        fputs(text.at, stdout);
    return rc < 0 ? 1 : 0;
}
