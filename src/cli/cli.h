/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - the verbs of llmos: one table, one file each.
 *
 * A verb's run gets its own words (argv[0] is the verb) and returns the exit code.  Here, and only
 * here, errors are printed: "llmos: cannot open 'x.gguf': No such file or directory". */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "base/opt.h"

enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = OPT_EXIT_USAGE,
    EXIT_OUTPUT_CLOSED = 141, /* as if SIGPIPE had ended us */
    EXIT_SIGNAL = 128,        /* + the number of the signal */
};

struct cli_verb {
    const char *name; /* "run" */
    const struct opt_command *command;
    int (*run)(int argc, char **argv);
};

extern const struct cli_verb cli_run, cli_chat, cli_inspect, cli_tokenize, cli_template, cli_serve,
    cli_ps, cli_stop, cli_bench, cli_pack, cli_quantize, cli_imatrix, cli_perplexity, cli_convert,
    cli_embed, cli_classify, cli_rerank;

/* The commit that was built, or the version: in cli_main.c, so that a commit links one program anew
 * and not every test. */
extern const char cli_commit[];

/* Parses a verb's words.  True: go on; otherwise *code is the exit code (--help was shown, or the
 * mistake was told). */
bool cli_parse(const struct cli_verb *verb, void *to, int argc, char **argv, struct opt_rest *rest,
               int *code);

/* Tells an error and returns the exit code for it. */
int cli_error(const struct llmos_error *err);

/* Writes to standard output; the exit code: EXIT_OK, EXIT_OUTPUT_CLOSED, or EXIT_FAILED, told. */
int cli_print(struct str text);
/* The same for a finished text, which may be bad. */
int cli_print_buf(const struct buf *text);

#endif
