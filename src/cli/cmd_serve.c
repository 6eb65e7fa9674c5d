/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_serve.c - llmos serve: become the daemon */
#include "cli/cli.h"
#include "vce/launch.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* The daemon knows its options; whatever stands behind "serve" is handed on as it is, --help
 * included. */
static const struct opt_command serve_command = {
    .name = "llmos serve",
    .summary = "serve models over HTTP: start llmosd",
    .operands = "[LLMOSD-OPTION]...",
    .operands_max = UINT_MAX,
    .description = "Becomes llmosd, the daemon, with the same options: llmosd(8) describes them. "
                   "It stays in the foreground; Ctrl-C ends it when its answers are complete.",
    .examples = "llmos serve --model story=stories.gguf\n"
                "llmos serve --config llmos.yaml",
    .see_also = "llmosd(8), llmos-ps(1), llmos-stop(1)",
};

/* The daemon stands beside us, installed or not; $LLMOS_LIBEXEC may name another place. */
static int find_daemon(char *path, size_t size, struct llmos_error *err)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (n > 0) {
        self[n] = '\0';
        *strrchr(self, '/') = '\0';
        if ((size_t)snprintf(path, size, "%s/llmosd", self) < size && access(path, X_OK) == 0)
            return 0;
    }
    return vce_find_program("llmosd", path, size, err);
}

static int run(int argc, char **argv)
{
    struct llmos_error err;
    char path[PATH_MAX];

    (void)argc;
    if (find_daemon(path, sizeof(path), &err) < 0)
        return cli_error(&err);
    argv[0] = path;
    execv(path, argv);
    fail_errno(&err, "cannot start '%s'", path);
    return cli_error(&err);
}

const struct cli_verb cli_serve = {"serve", &serve_command, run};
