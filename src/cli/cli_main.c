/* SPDX-License-Identifier: Apache-2.0 */
/* cli_main.c - llmos: finds the verb and hands it its words */
#include "base/mem.h"
#include "base/near.h"
#include "cli/cli.h"
#include "cli/commit.h"
#include "cli/screen.h"
#include "llmos/llmos.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

const char cli_commit[] = LLMOS_COMMIT;

static const struct cli_verb *const verbs[] = {
    &cli_run,        &cli_chat,    &cli_inspect, &cli_tokenize, &cli_template, &cli_serve,
    &cli_ps,         &cli_stop,    &cli_bench,   &cli_pack,     &cli_quantize, &cli_imatrix,
    &cli_perplexity, &cli_convert, &cli_embed,   &cli_classify, &cli_rerank,
};
#define VERB_COUNT (sizeof(verbs) / sizeof(verbs[0]))

static const struct {
    const char *name, *summary;
} small_verbs[] = {
    {"help", "show the options of a verb: llmos help run"},
    {"completion", "print a completion script: llmos completion bash"},
    {"version", "show the version"},
};
#define SMALL_VERB_COUNT (sizeof(small_verbs) / sizeof(small_verbs[0]))

static const struct opt_command main_command = {
    .name = "llmos",
    .summary = "run language models as an operating system runs programs",
    .operands = "VERB [WORD]...",
    .examples = "llmos run model.gguf 'Why is the sky blue?'\n"
                "llmos chat model.gguf\n"
                "llmos serve --model story=stories.gguf",
    .see_also = "llmosd(8), llmos-run(1), llmos-chat(1), llmos-inspect(1), llmos-tokenize(1), "
                "llmos-template(1), llmos-serve(1), llmos-ps(1), llmos-stop(1), llmos-bench(1), "
                "llmos-pack(1), "
                "llmos-quantize(1), llmos-imatrix(1), llmos-perplexity(1), "
                "llmos-convert(1), llmos-embed(1), llmos-classify(1), llmos-rerank(1)",
    .has_version = true,
};

static const struct cli_verb *find_verb(const char *name)
{
    for (size_t i = 0; i < VERB_COUNT; i++)
        if (strcmp(verbs[i]->name, name) == 0)
            return verbs[i];
    return NULL;
}

static int unknown_verb(const char *name)
{
    struct near near = {.word = name};
    struct llmos_error err;

    for (size_t i = 0; i < VERB_COUNT; i++)
        near_offer(&near, verbs[i]->name);
    for (size_t i = 0; i < SMALL_VERB_COUNT; i++)
        near_offer(&near, small_verbs[i].name);
    if (near.best)
        fail(&err, LLMOS_EINVAL, "unknown verb '%.40s'; did you mean '%s'?", name, near.best);
    else
        fail(&err, LLMOS_EINVAL, "unknown verb '%.40s'; llmos help lists them", name);
    cli_error(&err);
    return EXIT_USAGE;
}

static void put_overview(struct buf *out)
{
    buf_puts(out, "Runs language models, each in a virtual computing environment (VCE) of its own: "
                  "no network, no files, no way out, even for a model file from a stranger.\n\n"
                  "Verbs:\n");
    for (size_t i = 0; i < VERB_COUNT; i++)
        buf_printf(out, "  %-10s  %s\n", verbs[i]->name, verbs[i]->command->summary);
    for (size_t i = 0; i < SMALL_VERB_COUNT; i++)
        buf_printf(out, "  %-10s  %s\n", small_verbs[i].name, small_verbs[i].summary);
}

/* Help or the man page of a verb, or of llmos itself (verb NULL). */
static int show(const struct cli_verb *verb, bool man)
{
    struct opt_command command = verb ? *verb->command : main_command;
    CLEANUP(buf) struct buf overview = {.at = NULL};
    CLEANUP(buf) struct buf out = {.at = NULL};

    buf_init(&overview, 1 << 16);
    buf_init(&out, 1 << 20);
    if (!verb) {
        put_overview(&overview);
        command.description = overview.at;
        out.bad = overview.bad;
    }
    if (man)
        opt_man(&out, &command, llmos_version());
    else
        opt_help(&out, &command, screen_width(STDOUT_FILENO));
    return cli_print_buf(&out);
}

static int help(int argc, char **argv)
{
    const struct cli_verb *verb;
    bool man = argc > 1 && strcmp(argv[1], "--man") == 0; /* for the build */
    const char *name = argc > 1 + man ? argv[1 + man] : NULL;

    if (!name || strcmp(name, "llmos") == 0)
        return show(NULL, man);
    verb = find_verb(name);
    return verb ? show(verb, man) : unknown_verb(name);
}

static int completion(int argc, char **argv)
{
    const struct opt_command *commands[VERB_COUNT + 1] = {&main_command};
    CLEANUP(buf) struct buf out = {.at = NULL};

    if (argc != 2 || strcmp(argv[1], "bash") != 0) {
        fputs("llmos: completion knows one shell: llmos completion bash\n", stderr);
        return EXIT_USAGE;
    }
    for (size_t i = 0; i < VERB_COUNT; i++)
        commands[i + 1] = verbs[i]->command;
    buf_init(&out, 1 << 20);
    opt_completion(&out, "llmos", commands, VERB_COUNT + 1);
    return cli_print_buf(&out);
}

static int version(void)
{
    CLEANUP(buf) struct buf out = {.at = NULL};

    buf_init(&out, 100);
    buf_printf(&out, "llmos %s\n", llmos_version());
    return cli_print_buf(&out);
}

/* A program started without one of them would open a model as its standard output. */
static void hold_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            _exit(EXIT_FAILED);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    const struct cli_verb *verb;

    hold_standard_descriptors();
    signal(SIGPIPE, SIG_IGN); /* a reader that left is told by write */
    if (argc < 2) {
        fputs("llmos: a verb is missing; llmos help lists them\n", stderr);
        return EXIT_USAGE;
    }
    verb = find_verb(name);
    if (verb)
        return verb->run(argc - 1, argv + 1);
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        return version();
    if (strcmp(name, "completion") == 0)
        return completion(argc - 1, argv + 1);
    return unknown_verb(name);
}
