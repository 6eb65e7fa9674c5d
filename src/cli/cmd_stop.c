/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_stop.c - llmos stop: end a model's VCE */
#include "base/mem.h"
#include "cli/admin.h"
#include "cli/cli.h"

struct stop {
    const char *socket;
};

static const struct stop stop_defaults = {.socket = NULL};

static const struct opt stop_options[] = {
    ADMIN_OPTIONS(struct stop, socket),
    OPT_END,
};

static const struct opt_command stop_command = {
    .name = "llmos stop",
    .summary = "end the VCE of a model",
    .operands = "NAME",
    .operand_why = "the name of a model",
    .operands_min = 1,
    .operands_max = 1,
    .description = "Asks the daemon to end the model's virtual computing environment. Its requests "
                   "get an error; the other models go on. llmos ps shows the names.",
    .examples = "llmos stop story",
    .see_also = "llmos-ps(1), llmosd(8)",
    .options = stop_options,
    .defaults = &stop_defaults,
};

static int run(int argc, char **argv)
{
    struct stop o = stop_defaults;
    CLEANUP(buf) struct buf path = {.at = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    json_t *reply;
    int code;

    if (!cli_parse(&cli_stop, &o, argc, argv, &rest, &code))
        return code;
    if (!*rest.at[0]) {
        fail(&err, LLMOS_EINVAL, "the name of a model must not be empty");
        cli_error(&err);
        return EXIT_USAGE;
    }
    buf_init(&path, 4096);
    buf_puts(&path, "/admin/v1/vces/");
    client_put_segment(&path, rest.at[0]);
    buf_puts(&path, "/stop");
    if (buf_check(&path, "the name of the model", &err) < 0)
        return cli_error(&err);
    if (admin_call(o.socket, "POST", path.at, &reply, NULL, &err) < 0) {
        fail_while(&err, err.code, "cannot stop '%.60s'", rest.at[0]);
        return cli_error(&err);
    }
    json_decref(reply);
    return EXIT_OK;
}

const struct cli_verb cli_stop = {"stop", &stop_command, run};
