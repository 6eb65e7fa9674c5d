/* SPDX-License-Identifier: Apache-2.0 */
/* cli.c - see cli.h */
#include "cli/cli.h"

#include "base/file.h"
#include "base/mem.h"
#include "cli/screen.h"

#include <errno.h>
#include <stdio.h>

int cli_error(const struct llmos_error *err)
{
    fprintf(stderr, "llmos: %s\n", err->text);
    return EXIT_FAILED;
}

int cli_print(struct str text)
{
    if (file_write_all(STDOUT_FILENO, text.at, text.len) == 0)
        return EXIT_OK;
    if (errno == EPIPE)
        return EXIT_OUTPUT_CLOSED;
    fprintf(stderr, "llmos: cannot write the output: %s\n", strerror(errno));
    return EXIT_FAILED;
}

int cli_print_buf(const struct buf *text)
{
    struct llmos_error err;

    return buf_check(text, "the output", &err) < 0 ? cli_error(&err) : cli_print(buf_str(text));
}

static int show_help(const struct opt_command *command)
{
    CLEANUP(buf) struct buf text = {.at = NULL};

    buf_init(&text, 1 << 20);
    opt_help(&text, command, screen_width(STDOUT_FILENO));
    return cli_print_buf(&text);
}

bool cli_parse(const struct cli_verb *verb, void *to, int argc, char **argv, struct opt_rest *rest,
               int *code)
{
    struct llmos_error err;
    int result = opt_parse(verb->command, to, argc, argv, rest, &err);

    if (result == OPT_GO)
        return true;
    if (result == OPT_HELP) {
        *code = show_help(verb->command);
        return false;
    }
    cli_error(&err);
    *code = EXIT_USAGE;
    return false;
}
