/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_chat.c - llmos chat: a conversation with a model */
#include "base/file.h"
#include "base/mem.h"
#include "base/near.h"
#include "base/paths.h"
#include "cli/aside.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/dialog.h"
#include "cli/halt.h"
#include "cli/line.h"
#include "cli/talk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>

#define ANSWER_MAX (16u << 20)

struct chat {
    const char *system;
    bool no_history;
    struct talk_options room;
    struct ask_options ask;
};

static const struct chat chat_defaults = {.ask = ASK_OPTIONS_INIT};

static const struct opt chat_options[] = {
    OPT_GROUP("Conversation"),
    OPT_STRING('S', "system", struct chat, system, "TEXT", "what the model is told before all else",
               .may_be_empty = true),
    OPT_FLAG(0, "no-history", struct chat, no_history,
             "do not keep what you type in ~/.local/state/llmos/history"),
    ASK_OPTIONS(struct chat, ask),
    TALK_MODEL_OPTIONS(struct chat, room),
    TALK_DRAFT_OPTIONS(struct chat, room),
    TALK_ROOM_OPTIONS(struct chat, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command chat_command = {
    .name = "llmos chat",
    .summary = "talk with a model",
    .operands = "MODEL",
    .operand_why = "a model file",
    .operands_min = 1,
    .operands_max = 1,
    .description =
        "Runs the model file in a virtual computing environment (VCE) and converses with it. "
        "Lines can be edited, arrow keys bring back earlier ones, and a backslash at the end of a "
        "line continues it on the next. Ctrl-C stops the answer only; Ctrl-D leaves.\n\n"
        "In the conversation:\n"
        "  /help         show these commands\n"
        "  /reset        begin anew\n"
        "  /system TEXT  begin anew with other instructions; without TEXT, with none\n"
        "  /retry        drop the last answer and make another one\n"
        "  /save FILE    write the conversation to a new file, as JSON\n"
        "  /exit         leave\n\n"
        "When the context is full, chat says so and forgets nothing by itself.",
    .examples = "llmos chat model.gguf\n"
                "llmos chat model.gguf --system 'Answer in one sentence' --context 8192",
    .see_also = "llmos-run(1)",
    .options = chat_options,
    .defaults = &chat_defaults,
};

static const char commands_help[] = "/reset        begin anew\n"
                                    "/system TEXT  begin anew with other instructions\n"
                                    "/retry        drop the last answer and make another one\n"
                                    "/save FILE    write the conversation to a new file, as JSON\n"
                                    "/exit         leave; so does Ctrl-D\n"
                                    "Ctrl-C stops an answer; a backslash at the end of a line "
                                    "continues it.\n";

/* A running conversation. */
struct conversation {
    const struct chat *options;
    struct talk talk;
    struct dialog dialog;
    struct screen_filter filter;
    struct buf answer, shown;
    struct buf grammar; /* of all answers; made with the first */
    bool terminal;
    int exit_code; /* once it must end */
    bool over;
};

static void say(const char *text)
{
    fprintf(stderr, "%s", text);
}

static int hear_piece(void *cookie, struct str text, struct llmos_error *err)
{
    struct conversation *c = cookie;
    int rc;

    buf_put(&c->answer, text.at, text.len);
    rc = buf_check(&c->answer, "the answer", err);
    if (rc < 0)
        return rc;
    buf_clear(&c->shown);
    if (c->terminal)
        screen_clean(&c->filter, text, &c->shown);
    else
        buf_put(&c->shown, text.at, text.len);
    rc = buf_check(&c->shown, "a piece of the answer", err);
    if (rc < 0)
        return rc;
    c->exit_code = cli_print(buf_str(&c->shown));
    if (c->exit_code == EXIT_OK)
        return 0;
    c->over = true;
    return fail(err, LLMOS_ECLOSED, "nobody reads the answer");
}

static void end_answer(struct conversation *c)
{
    buf_clear(&c->shown);
    screen_clean_end(&c->filter, &c->shown);
    if (c->answer.len == 0 || c->answer.at[c->answer.len - 1] != '\n')
        buf_putc(&c->shown, '\n');
    if (c->terminal)
        buf_putc(&c->shown, '\n');
    c->exit_code = cli_print_buf(&c->shown);
    if (c->exit_code != EXIT_OK)
        c->over = true;
}

/* Was the answer cut because no more tokens fit? */
static void tell_full(const struct conversation *c, const struct message_generate *g,
                      const struct message_done *d)
{
    uint32_t room = c->talk.ready.context_tokens;

    if (d->finish != FINISH_LENGTH || (g->max_tokens && d->completion_tokens >= g->max_tokens))
        return;
    fprintf(stderr,
            "llmos: the context of %u tokens is full, the answer was cut; /reset begins anew%s\n",
            room, room < c->talk.ready.context_trained ? ", --context allows more" : "");
}

/* The engine cannot go on, or this answer cannot be had. */
static void tell_failure(struct conversation *c, int rc, const struct llmos_error *err)
{
    cli_error(err);
    if (rc == LLMOS_ECONTEXT) {
        say("llmos: your last message was not added; /reset begins anew, or ask something "
            "shorter\n");
        return;
    }
    if (rc == LLMOS_ECLOSED || rc == LLMOS_EFORMAT || rc == LLMOS_EINTERNAL) {
        c->over = true;
        c->exit_code = EXIT_FAILED;
    }
}

/* Asks what the dialog ends with; an answer that fails takes the question with it. */
static void answer(struct conversation *c)
{
    struct message_generate g = {.prompt_kind = PROMPT_CHAT};
    struct message_done done = {.finish = FINISH_CANCELED};
    CLEANUP(buf) struct buf prompt = {.limit_bytes = FRAME_TO_ENGINE_MAX};
    struct llmos_error err = {0};
    int rc = ask_fill(&g, &c->options->ask, &c->grammar, &err);

    buf_clear(&c->answer);
    c->filter.kept_len = 0;
    dialog_put_json(&c->dialog, &prompt);
    g.text = buf_str(&prompt);
    if (rc == 0)
        rc = buf_check(&prompt, "the conversation", &err);
    if (rc == 0)
        rc = aside_generate(&c->talk, &g, &c->options->ask, NULL, hear_piece, c, &done, &err);
    if (c->over)
        return;
    if (rc < 0 && rc != LLMOS_ECANCELED) {
        if (c->answer.len)
            end_answer(c);
        dialog_cut(&c->dialog, c->dialog.count - 1);
        tell_failure(c, rc, &err);
        return;
    }
    end_answer(c);
    if (halt_asked() == SIGINT)
        halt_forget();
    tell_full(c, &g, &done);
    if (dialog_add(&c->dialog, "assistant", buf_str(&c->answer), &err) < 0) {
        dialog_cut(&c->dialog, c->dialog.count - 1);
        cli_error(&err);
    }
}

static void ask(struct conversation *c, struct str text)
{
    struct llmos_error err;

    if (dialog_add(&c->dialog, "user", text, &err) < 0)
        cli_error(&err);
    else
        answer(c);
}

static void retry(struct conversation *c, struct str rest)
{
    (void)rest;
    if (c->dialog.count < 2 || !str_is(c->dialog.messages[c->dialog.count - 1].role, "assistant")) {
        say("llmos: there is no answer to retry\n");
        return;
    }
    dialog_cut(&c->dialog, c->dialog.count - 1);
    answer(c);
}

static void reset(struct conversation *c, struct str rest)
{
    (void)rest;
    dialog_reset(&c->dialog);
    say("the conversation begins anew\n");
}

static void set_system(struct conversation *c, struct str rest)
{
    struct llmos_error err;

    if (dialog_set_system(&c->dialog, rest, &err) < 0)
        cli_error(&err);
    else
        say("the conversation begins anew\n");
}

/* A new file, for its owner only: conversations are private, and nothing is overwritten. */
static int save_to(const char *path, struct str json, struct llmos_error *err)
{
    CLEANUP(fd) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

    if (fd < 0 || file_write_all(fd, json.at, json.len) < 0)
        return fail_errno(err, "cannot save to '%s'", path);
    return 0;
}

static void save(struct conversation *c, struct str rest)
{
    CLEANUP(buf) struct buf json = {.at = NULL};
    CLEANUP(free) char *path = mem_strndup(rest.at, rest.len);
    struct llmos_error err;

    buf_init(&json, UINT_MAX);
    if (rest.len == 0) {
        say("llmos: /save needs the name of a file\n");
        return;
    }
    dialog_put_json(&c->dialog, &json);
    if (!path || json.bad)
        say("llmos: no memory to save the conversation\n");
    else if (save_to(path, buf_str(&json), &err) < 0)
        cli_error(&err);
    else
        fprintf(stderr, "saved %u messages to '%s'\n", c->dialog.count, path);
}

static void show_help(struct conversation *c, struct str rest)
{
    (void)c;
    (void)rest;
    say(commands_help);
}

static void leave(struct conversation *c, struct str rest)
{
    (void)rest;
    c->over = true;
}

static const struct {
    const char *name;
    void (*run)(struct conversation *c, struct str rest);
} commands[] = {
    {"/help", show_help}, {"/reset", reset}, {"/system", set_system}, {"/retry", retry},
    {"/save", save},      {"/exit", leave},  {"/quit", leave},
};

static void run_command(struct conversation *c, struct str line)
{
    struct near near;
    char word[32];
    size_t n = 0;
    struct str rest;

    while (n < line.len && line.at[n] != ' ')
        n++;
    snprintf(word, sizeof(word), "%.*s", (int)(n < sizeof(word) ? n : sizeof(word) - 1), line.at);
    rest = (struct str){line.at + n, line.len - n};
    while (rest.len && rest.at[0] == ' ')
        rest = (struct str){rest.at + 1, rest.len - 1};
    near = (struct near){.word = word};
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, word) == 0) {
            commands[i].run(c, rest);
            return;
        }
        near_offer(&near, commands[i].name);
    }
    fprintf(stderr, "llmos: there is no such command; did you mean %s?\n",
            near.best ? near.best : "/help");
}

static struct str trimmed(struct str s)
{
    while (s.len && (s.at[s.len - 1] == ' ' || s.at[s.len - 1] == '\t'))
        s.len--;
    while (s.len && (s.at[0] == ' ' || s.at[0] == '\t'))
        s = (struct str){s.at + 1, s.len - 1};
    return s;
}

static int converse(struct conversation *c, struct line_input *in)
{
    CLEANUP(buf) struct buf line = {.at = NULL};
    struct llmos_error err;

    buf_init(&line, LINE_MAX_BYTES);
    while (!c->over) {
        int rc = line_read(in, "> ", &line, &err);
        struct str text = trimmed(buf_str(&line));

        if (rc == LINE_INTERRUPTED && halt_asked() == SIGINT) {
            halt_forget();
            say("Ctrl-D leaves\n");
            if (!isatty(STDIN_FILENO))
                return EXIT_SIGNAL + SIGINT;
            continue;
        }
        if (halt_asked() || rc == LINE_INTERRUPTED)
            return EXIT_SIGNAL + halt_asked();
        if (rc == LINE_END) {
            if (c->terminal && isatty(STDIN_FILENO))
                cli_print(STR("\n"));
            break;
        }
        if (rc < 0)
            cli_error(&err);
        else if (text.len && text.at[0] == '/')
            run_command(c, text);
        else if (text.len)
            ask(c, text);
    }
    return c->exit_code;
}

static void greet(const struct conversation *c, const char *path)
{
    const struct talk *t = &c->talk;

    if (!isatty(STDERR_FILENO))
        return;
    fprintf(stderr, "%s: %s %s, context %u tokens, chat format %s, in a VCE of its own\n",
            *t->name ? t->name : path, t->architecture, t->file_type, t->ready.context_tokens,
            t->chat_format);
    say("/help shows the commands, Ctrl-C stops an answer, Ctrl-D leaves\n");
}

static const char *history_file(const struct chat *o, char *path, size_t size)
{
    char folder[PATH_MAX - 16];

    if (o->no_history || path_state(folder, sizeof(folder), NULL) < 0)
        return NULL;
    snprintf(path, size, "%s/history", folder);
    return path;
}

static int chat(struct conversation *c, const char *model_path)
{
    struct line_input *in = NULL;
    struct llmos_error err;
    char path[PATH_MAX];
    int code;

    halt_catch();
    if (talk_start(&c->talk, model_path, PURPOSE_RUN, &c->options->room, &err) < 0)
        return halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    if (dialog_set_system(&c->dialog, str_of(c->options->system ? c->options->system : ""), &err) <
            0 ||
        line_open(&in, "llmos", history_file(c->options, path, sizeof(path)), &err) < 0)
        return cli_error(&err);
    greet(c, model_path);
    code = converse(c, in);
    line_close(in);
    return code;
}

static int run(int argc, char **argv)
{
    static struct conversation c; /* the dialog's table is 128 KiB */
    struct chat options = chat_defaults;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_chat, &options, argc, argv, &rest, &code))
        return code;
    c.options = &options;
    c.terminal = isatty(STDOUT_FILENO);
    dialog_init(&c.dialog);
    c.dialog.thinks_not = !ask_wants_thoughts(&options.ask);
    buf_init(&c.answer, ANSWER_MAX);
    buf_init(&c.shown, (size_t)4 * ANSWER_MAX);
    code = chat(&c, rest.at[0]);
    talk_end(&c.talk);
    dialog_fini(&c.dialog);
    buf_fini(&c.answer);
    buf_fini(&c.shown);
    buf_fini(&c.grammar);
    return code;
}

const struct cli_verb cli_chat = {"chat", &chat_command, run};
