/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - see peer.h */
#include "cli/peer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/halt.h"
#include "cli/screen.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define TURN_MS      50
#define OUTPUT_MAX   (1u << 20)
#define ERRORS_KEPT  4096 /* of standard error: its last line is shown */
#define WORDS_MAX    64
#define HELP_SECONDS 20

extern char **environ;

/* ---- running a program ---- */

struct child {
    pid_t pid;
    int out, errors; /* read ends; -1: closed */
    struct buf output;
    char last[2 * ERRORS_KEPT]; /* of standard error */
    size_t last_len;
    int status; /* of waitpid */
};

static int spawn(struct child *c, char **argv, int out, int errors)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    int rc;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, errors, STDERR_FILENO);
    posix_spawnattr_init(&attr);
    /* A group of its own, so that its children can be ended with it. */
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                        POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    rc = posix_spawn(&c->pid, argv[0], &files, &attr, argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

static int start(struct child *c, char **argv, struct llmos_error *err)
{
    int out[2], errors[2], rc;

    if (pipe2(out, O_CLOEXEC) < 0)
        return fail_errno(err, "cannot make a pipe");
    if (pipe2(errors, O_CLOEXEC) < 0) {
        close(out[0]);
        close(out[1]);
        return fail_errno(err, "cannot make a pipe");
    }
    rc = spawn(c, argv, out[1], errors[1]);
    close(out[1]);
    close(errors[1]);
    c->out = out[0];
    c->errors = errors[0];
    if (rc == 0)
        return 0;
    close(out[0]);
    close(errors[0]);
    errno = rc;
    return fail_errno(err, "cannot run '%s'", argv[0]);
}

static void keep_last(struct child *c, const char *bytes, size_t n)
{
    if (n > ERRORS_KEPT) {
        bytes += n - ERRORS_KEPT;
        n = ERRORS_KEPT;
    }
    if (c->last_len > ERRORS_KEPT) {
        memmove(c->last, c->last + c->last_len - ERRORS_KEPT, ERRORS_KEPT);
        c->last_len = ERRORS_KEPT;
    }
    memcpy(c->last + c->last_len, bytes, n);
    c->last_len += n;
}

static void take_output(struct child *c, int *fd)
{
    char bytes[ERRORS_KEPT];
    ssize_t n = read(*fd, bytes, sizeof(bytes));

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        close(*fd);
        *fd = -1;
    } else if (fd == &c->out) {
        buf_put(&c->output, bytes, (size_t)n);
    } else {
        keep_last(c, bytes, (size_t)n);
    }
}

/* 1: it has ended; 0: not yet. */
static int turn(struct child *c)
{
    struct pollfd p[2] = {{.fd = c->out, .events = POLLIN}, {.fd = c->errors, .events = POLLIN}};

    if (poll(p, 2, TURN_MS) > 0) {
        if (p[0].revents)
            take_output(c, &c->out);
        if (p[1].revents)
            take_output(c, &c->errors);
    }
    return c->out < 0 && c->errors < 0 && waitpid(c->pid, &c->status, WNOHANG) == c->pid;
}

static void end(struct child *c)
{
    kill(-c->pid, SIGKILL);
    while (waitpid(c->pid, &c->status, 0) < 0 && errno == EINTR)
        ;
}

/* Runs to the end, whatever that is.  c->output is to be buf_fini'ed. */
static int run_program(struct child *c, char **argv, const char *name, uint32_t timeout_seconds,
                       struct llmos_error *err)
{
    uint64_t begin = clock_ns();
    struct spinner spinner;
    char what[96];
    int rc = start(c, argv, err);

    buf_init(&c->output, OUTPUT_MAX);
    if (rc < 0)
        return rc;
    snprintf(what, sizeof(what), "%s is measuring", name);
    spinner_start(&spinner, what);
    while (rc == 0 && !turn(c)) {
        spinner_turn(&spinner);
        if (halt_asked())
            rc = fail(err, LLMOS_ECANCELED, "interrupted");
        else if (c->output.bad)
            rc = buf_check(&c->output, "its output", err);
        else if (clock_seconds_since(begin) > timeout_seconds)
            rc =
                fail(err, LLMOS_EIO, "it did not end within %u s and was ended; see --peer-timeout",
                     timeout_seconds);
    }
    if (rc < 0)
        end(c);
    if (c->out >= 0)
        close(c->out);
    if (c->errors >= 0)
        close(c->errors);
    spinner_clear(&spinner);
    return rc;
}

/* The last line that says something. */
static struct str last_line(const struct child *c)
{
    size_t end_at = c->last_len, begin;

    while (end_at > 0 && (unsigned char)c->last[end_at - 1] <= ' ')
        end_at--;
    begin = end_at;
    while (begin > 0 && c->last[begin - 1] != '\n')
        begin--;
    if (end_at - begin > 200)
        end_at = begin + 200;
    return (struct str){c->last + begin, end_at - begin};
}

static int check_status(const struct child *c, struct llmos_error *err)
{
    struct str line = last_line(c);
    const char *colon = line.len ? ": " : "";

    if (WIFSIGNALED(c->status))
        return fail(err, LLMOS_EIO, "it was killed by signal %d (%s)%s%.*s", WTERMSIG(c->status),
                    strsignal(WTERMSIG(c->status)), colon, STR_ARG(line));
    if (WEXITSTATUS(c->status))
        return fail(err, LLMOS_EIO, "it exited with %d%s%.*s", WEXITSTATUS(c->status), colon,
                    STR_ARG(line));
    return 0;
}

/* ---- what it says ---- */

static const json_t *find_test(const json_t *tests, uint32_t prompt, uint32_t generate)
{
    const json_t *test;
    size_t i;

    json_array_foreach((json_t *)(uintptr_t)tests, i, test)
    {
        const json_t *p = json_object_get(test, "n_prompt"), *g = json_object_get(test, "n_gen");

        if (json_is_integer(p) && json_integer_value(p) == prompt && json_is_integer(g) &&
            json_integer_value(g) == generate)
            return test;
    }
    return NULL;
}

static int take_speed(const json_t *tests, uint32_t prompt, uint32_t generate, double *speed,
                      struct llmos_error *err)
{
    const json_t *test = find_test(tests, prompt, generate);
    double v = json_number_value(json_object_get(test, "avg_ts"));

    if (!(v > 0))
        return fail(err, LLMOS_EFORMAT,
                    "its JSON has no speed ('avg_ts') for n_prompt %u and n_gen %u", prompt,
                    generate);
    *speed = v;
    return 0;
}

static void take_version(const json_t *tests, struct peer_speed *speed)
{
    const char *commit =
        json_string_value(json_object_get(json_array_get(tests, 0), "build_commit"));

    snprintf(speed->version, sizeof(speed->version), "%s", commit ? commit : "");
}

/* Its libraries may chat on standard output: the list begins a line. */
static struct str find_list(struct str text)
{
    const char *begin = NULL, *end_at = memrchr(text.at, ']', text.len);

    for (const char *at = text.at; !begin && end_at && at && at < end_at;) {
        if (*at == '[')
            begin = at;
        at = memchr(at, '\n', (size_t)(end_at - at));
        at = at ? at + 1 : NULL;
    }
    return begin ? (struct str){begin, (size_t)(end_at - begin) + 1} : (struct str){"", 0};
}

static bool measures_prefill(const struct peer *p, const struct peer_job *job)
{
    return job->prompt > 0 && !(job->depth && p->depth == PEER_DECODE_DEPTH);
}

static int read_speed(const struct peer *p, const struct peer_job *job, struct str output,
                      struct peer_speed *speed, struct llmos_error *err)
{
    static const struct json_limits limits = {OUTPUT_MAX, 8, 1u << 14};
    bool is_pair = job->depth && p->depth == PEER_DECODE_DEPTH;
    struct str list = find_list(output);
    json_t *tests;
    int rc;

    if (list.len == 0)
        return fail(err, LLMOS_EFORMAT, "it printed no list of tests as llama-bench -o json does");
    rc = json_parse(&tests, list, &limits, err);
    if (rc < 0)
        return fail_while(err, rc, "its JSON");
    take_version(tests, speed);
    if (measures_prefill(p, job))
        rc = take_speed(tests, job->prompt, 0, &speed->prefill, err);
    if (rc == 0 && job->generate > 0)
        rc = take_speed(tests, is_pair ? job->depth : 0, job->generate, &speed->decode, err);
    json_decref(tests);
    return rc;
}

/* ---- one peer ---- */

/* "a/ik_llama.cpp/build/bin/llama-bench" -> "ik_llama.cpp" */
static void name_of(const char *path, char *name, size_t size)
{
    static const char *const dull[] = {"bin", "build", "Release", ".", ".."};
    const char *end_at = strrchr(path, '/');

    while (end_at) {
        const char *begin = end_at;
        size_t n;
        bool is_dull = false;

        while (begin > path && begin[-1] != '/')
            begin--;
        n = (size_t)(end_at - begin);
        for (size_t i = 0; i < sizeof(dull) / sizeof(dull[0]); i++)
            is_dull = is_dull || (n == strlen(dull[i]) && memcmp(begin, dull[i], n) == 0);
        if (n > 0 && !is_dull) {
            snprintf(name, size, "%.*s", (int)(n < 60 ? n : 60), begin);
            return;
        }
        end_at = begin > path ? begin - 1 : NULL;
    }
    snprintf(name, size, "peer");
}

int peer_init(struct peer *p, const char *word, struct llmos_error *err)
{
    const char *equals = strchr(word, '='), *slash = strchr(word, '/');
    bool has_name = equals && equals > word && (!slash || equals < slash);
    struct stat st;

    *p = (struct peer){.path = has_name ? equals + 1 : word};
    if (has_name)
        snprintf(p->name, sizeof(p->name), "%.*s", (int)(equals - word < 60 ? equals - word : 60),
                 word);
    else
        name_of(word, p->name, sizeof(p->name));
    if (stat(p->path, &st) < 0)
        return fail_errno(err, "cannot run '%s'", p->path);
    if (!S_ISREG(st.st_mode) || access(p->path, X_OK) < 0)
        return fail(err, LLMOS_EINVAL, "cannot run '%s': it is no program; name a llama-bench",
                    p->path);
    return 0;
}

int peer_ask_depth(struct peer *p, struct llmos_error *err)
{
    char *argv[] = {(char *)(uintptr_t)p->path, (char[]){"--help"}, NULL};
    CLEANUP(free) struct child *c = mem_zalloc(1, sizeof(*c));
    int rc;

    if (!c)
        return fail(err, LLMOS_ENOMEM, "no memory for peer '%s'", p->name);
    rc = run_program(c, argv, p->name, HELP_SECONDS, err);
    if (rc == 0 && strstr(buf_str(&c->output).at, "--n-depth"))
        p->depth = PEER_DEPTH;
    else if (rc == 0 && strstr(buf_str(&c->output).at, "-gp "))
        p->depth = PEER_DECODE_DEPTH;
    buf_fini(&c->output);
    return rc < 0 && rc != LLMOS_ECANCELED ? fail_while(err, rc, "peer '%s'", p->name) : rc;
}

/* The words of its command line; text holds what they point to. */
struct words {
    char *at[WORDS_MAX + 1];
    size_t count;
    struct buf text;
    size_t starts[WORDS_MAX];
};

static void put_word(struct words *w, const char *word)
{
    if (w->count < WORDS_MAX)
        w->starts[w->count] = w->text.len;
    else
        w->text.bad = w->text.too_large = true;
    w->count++;
    buf_puts(&w->text, word);
    buf_putc(&w->text, '\0');
}

static void put_option(struct words *w, const char *option, uint32_t value)
{
    char number[16];

    snprintf(number, sizeof(number), "%u", value);
    put_word(w, option);
    put_word(w, number);
}

static void put_blank_parted(struct words *w, const char *args)
{
    char word[256];

    while (args && *args) {
        size_t skip = strspn(args, " \t"), n = strcspn(args + skip, " \t");

        if (n >= sizeof(word))
            w->text.bad = w->text.too_large = true;
        snprintf(word, sizeof(word), "%.*s", (int)(n < 255 ? n : 255), args + skip);
        if (n > 0)
            put_word(w, word);
        args += skip + n;
    }
}

static int put_job(struct words *w, const struct peer *p, const struct peer_job *job,
                   struct llmos_error *err)
{
    bool is_pair = job->depth && p->depth == PEER_DECODE_DEPTH;
    char pair[32];
    int rc;

    buf_init(&w->text, 65536);
    put_word(w, p->path);
    put_word(w, "-m");
    put_word(w, job->model_path);
    put_option(w, "-p", is_pair ? 0 : job->prompt);
    put_option(w, "-n", is_pair ? 0 : job->generate);
    put_option(w, "-t", job->threads);
    put_option(w, "-r", 1);
    put_word(w, "-o");
    put_word(w, "json");
    if (is_pair) {
        snprintf(pair, sizeof(pair), "%u,%u", job->depth, job->generate);
        put_word(w, "-gp");
        put_word(w, pair);
    } else if (job->depth) {
        put_option(w, "-d", job->depth);
    }
    put_blank_parted(w, job->args);
    rc = buf_check(&w->text, "its options", err);
    for (size_t i = 0; rc == 0 && i < w->count; i++)
        w->at[i] = w->text.at + w->starts[i];
    return rc;
}

int peer_run(const struct peer *p, const struct peer_job *job, struct peer_speed *speed,
             struct llmos_error *err)
{
    CLEANUP(free) struct child *c = mem_zalloc(1, sizeof(*c));
    struct words words = {.count = 0};
    int rc;

    *speed = (struct peer_speed){.prefill = 0};
    if (!c)
        return fail(err, LLMOS_ENOMEM, "no memory for peer '%s'", p->name);
    rc = put_job(&words, p, job, err);
    if (rc == 0)
        rc = run_program(c, words.at, p->name, job->timeout_seconds, err);
    if (rc == 0)
        rc = check_status(c, err);
    if (rc == 0)
        rc = read_speed(p, job, buf_str(&c->output), speed, err);
    buf_fini(&c->output);
    buf_fini(&words.text);
    return rc < 0 && rc != LLMOS_ECANCELED ? fail_while(err, rc, "peer '%s'", p->name) : rc;
}
