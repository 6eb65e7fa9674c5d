/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_run.c - llmos run: ask a model once */
#include "base/file.h"
#include "base/jsontext.h"
#include "base/mem.h"
#include "cli/aside.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/dialog.h"
#include "cli/halt.h"
#include "cli/talk.h"

#include <stdio.h>

#define PROMPT_MAX (8u << 20)  /* past every context, and within a frame */
#define ANSWER_MAX (64u << 20) /* of --json, which must hold it whole */

#define CHAT_TOKENS        64   /* what a chat format adds around two messages */
#define CONTEXT_RAISED_MAX 4096 /* the default for models that were trained with more */

struct run {
    bool raw, json;
    const char *system;
    struct talk_options room;
    struct ask_options ask;
};

static const struct run run_defaults = {.ask = ASK_OPTIONS_INIT};

static const struct opt run_options[] = {
    OPT_GROUP("Prompt"),
    OPT_FLAG('r', "raw", struct run, raw,
             "continue the prompt itself: no chat format around it; a first token as the model "
             "wants it"),
    OPT_STRING('S', "system", struct run, system, "TEXT", "what the model is told before all else",
               .may_be_empty = true),
    ASK_OPTIONS(struct run, ask),
    OPT_GROUP("Output"),
    OPT_FLAG('j', "json", struct run, json,
             "print one JSON object with the answer, token counts and times"),
    TALK_MODEL_OPTIONS(struct run, room),
    TALK_DRAFT_OPTIONS(struct run, room),
    TALK_ROOM_OPTIONS(struct run, room),
    OPT_GROUP("Other"),
    OPT_END,
};

static const struct opt_command run_command = {
    .name = "llmos run",
    .summary = "ask a model once and print its answer",
    .operands = "MODEL [PROMPT]",
    .operand_why = "a model file",
    .operands_min = 1,
    .operands_max = 2,
    .description =
        "Runs the model file in a virtual computing environment (VCE) of its own, hands it the "
        "prompt, and prints the answer while it is made. No daemon is needed. A model in several "
        "files (NAME-00001-of-00003.gguf) is named by any of them, here and in all other verbs.\n\n"
        "Without PROMPT, or if it is '-', the prompt is read from standard input. On a terminal "
        "the answer is cleaned of control sequences. Ctrl-C ends the answer.\n\n"
        "The exit code is 0 when an answer was given, 1 when something failed, 2 for a mistake in "
        "the command line, and 130 after Ctrl-C.",
    .examples = "llmos run model.gguf 'Why is the sky blue?'\n"
                "llmos run model.gguf --raw --temperature 0 --max-tokens 50 'Once upon a time'\n"
                "llmos run model.gguf 'Is it raining?' --choice yes --choice no\n"
                "llmos run model.gguf 'Name a city' --json-schema city.json\n"
                "git diff | llmos run model.gguf --system 'Write a commit message' -",
    .see_also = "llmos-chat(1), llmos-inspect(1), llmosd(8)",
    .options = run_options,
    .defaults = &run_defaults,
};

/* Where the pieces of an answer go. */
struct output {
    bool keep;     /* for --json; else printed at once */
    bool terminal; /* then it is cleaned */
    bool printed;  /* something */
    struct screen_filter filter;
    struct buf text, thought;
    int exit_code; /* of a write that failed */
};

static int flush_piece(struct output *o, struct llmos_error *err)
{
    int rc = buf_check(&o->text, "a piece of the answer", err);

    if (rc < 0 || o->text.len == 0)
        return rc;
    o->printed = true;
    o->exit_code = cli_print(buf_str(&o->text));
    buf_clear(&o->text);
    return o->exit_code == EXIT_OK ? 0 : fail(err, LLMOS_ECLOSED, "nobody reads the answer");
}

static int put_piece(void *cookie, struct str text, struct llmos_error *err)
{
    struct output *o = cookie;

    if (o->terminal)
        screen_clean(&o->filter, text, &o->text);
    else
        buf_put(&o->text, text.at, text.len);
    return o->keep ? buf_check(&o->text, "the answer", err) : flush_piece(o, err);
}

static int read_prompt(const struct opt_rest *rest, struct buf *prompt, struct llmos_error *err)
{
    const char *given = rest->count > 1 ? rest->at[1] : NULL;
    int rc;

    if (given && strcmp(given, "-") != 0) {
        buf_puts(prompt, given);
        return buf_check(prompt, "the prompt", err);
    }
    if (!given && isatty(STDIN_FILENO))
        return fail(err, LLMOS_EINVAL,
                    "a prompt is missing: llmos run MODEL PROMPT; or llmos chat MODEL");
    rc = file_read("-", prompt, err);
    if (rc < 0)
        return rc;
    /* What `echo` and editors add is not part of the question. */
    if (prompt->len > 0 && prompt->at[prompt->len - 1] == '\n')
        prompt->at[--prompt->len] = '\0';
    return 0;
}

static void put_json(const struct talk *t, const struct message_generate *g,
                     const struct message_done *d, const struct output *o, struct buf *out)
{
    double made = (double)d->generate_us * 1e-6, read = (double)d->prompt_us * 1e-6;

    buf_puts(out, "{\"text\": ");
    json_put_string(out, buf_str(&o->text));
    if (o->thought.len) {
        buf_puts(out, ", \"thought\": ");
        json_put_string(out, buf_str(&o->thought));
    }
    buf_printf(out,
               ", \"finish_reason\": \"%s\", \"prompt_tokens\": %u, \"completion_tokens\": %u, "
               "\"drafted_tokens\": %u, \"accepted_tokens\": %u, "
               "\"seed\": %llu, \"context_tokens\": %u, ",
               message_finish_name(d->finish), d->prompt_tokens, d->completion_tokens,
               d->drafted_tokens, d->accepted_tokens, (unsigned long long)g->seed,
               t->ready.context_tokens);
    buf_printf(out,
               "\"load_seconds\": %.6f, \"prefill_seconds\": %.6f, \"decode_seconds\": %.6f}\n",
               (double)t->ready.load_us * 1e-6, read, made);
}

/* Nothing is cut silently: an answer that ended because the context is full says so. */
static void tell_full(const struct talk *t, const struct message_generate *g,
                      const struct message_done *d)
{
    if (d->finish != FINISH_LENGTH || (g->max_tokens && d->completion_tokens >= g->max_tokens))
        return;
    fprintf(stderr, "llmos: the answer was cut: the context of %u tokens is full",
            t->ready.context_tokens);
    if (t->ready.context_tokens < t->ready.context_trained)
        fprintf(stderr, "; the model can use --context %u", t->ready.context_trained);
    fputc('\n', stderr);
}

static int answer(struct talk *t, const struct run *r, struct message_generate *g, struct output *o,
                  struct llmos_error *err)
{
    struct message_done done = {.finish = FINISH_CANCELED};
    int rc;

    t->patience_seconds = 1; /* nothing comes behind this answer */
    rc = aside_generate(t, g, &r->ask, r->json ? &o->thought : NULL, put_piece, o, &done, err);
    if (rc == LLMOS_ECLOSED && halt_asked())
        rc = LLMOS_ECANCELED;
    if (o->exit_code != EXIT_OK)
        return o->exit_code;
    if (rc < 0 && rc != LLMOS_ECANCELED) {
        if (o->terminal && o->printed)
            cli_print(STR("\n")); /* the message begins at the left */
        return cli_error(err);
    }
    screen_clean_end(&o->filter, &o->text);
    if (r->json) {
        CLEANUP(buf) struct buf json = {.at = NULL};

        buf_init(&json, 12 * ANSWER_MAX + 4096); /* \u0001 is six bytes */
        put_json(t, g, &done, o, &json);
        o->exit_code = cli_print_buf(&json);
    } else {
        buf_putc(&o->text, '\n');
        o->exit_code = cli_print_buf(&o->text);
    }
    if (o->exit_code != EXIT_OK)
        return o->exit_code;
    if (rc == LLMOS_ECANCELED)
        return EXIT_SIGNAL + halt_asked();
    tell_full(t, g, &done);
    return EXIT_OK;
}

/* Whatever the vocabulary, a byte is at most three tokens: then nothing needs to be counted. */
static bool surely_fits(const struct talk *t, const struct run *r, struct str prompt)
{
    uint64_t bytes = prompt.len + (r->system ? strlen(r->system) : 0);

    return 3 * bytes + CHAT_TOKENS + r->ask.max_tokens <= t->ready.context_tokens;
}

/* Tokens of the prompt; a generous guess of what a chat format adds. */
static int count_tokens(struct talk *t, const struct run *r, struct str prompt, uint64_t *count,
                        struct llmos_error *err)
{
    const char *system = r->system ? r->system : "";
    CLEANUP(buf) struct buf text = {.limit_bytes = (size_t)2 * PROMPT_MAX};
    CLEANUP(buf) struct buf tokens = {.limit_bytes = TALK_REPLY_MAX};
    struct message q = {.type = MESSAGE_TOKENIZE, .tokenize.add_bos = true};
    int rc;

    buf_puts(&text, system);
    buf_put(&text, prompt.at, prompt.len);
    rc = buf_check(&text, "the prompt", err);
    if (rc < 0)
        return rc;
    q.tokenize.text = buf_str(&text);
    rc = talk_ask(t, &q, "reading the prompt", &tokens, err);
    if (rc < 0)
        return rc;
    *count = tokens.len / sizeof(int32_t) + (r->raw ? 0 : CHAT_TOKENS);
    return 0;
}

/* Who asks for more tokens than the default context holds gets a larger one, within reason: a small
 * model may have been trained with fewer.  Whoever gave --context has decided. */
static int start_with_room(struct talk *t, const struct run *r, const char *model_path,
                           struct str prompt, struct llmos_error *err)
{
    struct talk_options room = r->room;
    uint64_t count, wanted;
    int rc = talk_start(t, model_path, PURPOSE_RUN, &room, err);

    if (rc < 0 || room.context || !r->ask.max_tokens || surely_fits(t, r, prompt) ||
        t->ready.context_tokens >= CONTEXT_RAISED_MAX)
        return rc;
    rc = count_tokens(t, r, prompt, &count, err);
    if (rc < 0)
        return rc;
    wanted = count + r->ask.max_tokens;
    if (wanted <= t->ready.context_tokens)
        return 0;
    room.context = wanted < CONTEXT_RAISED_MAX ? (uint32_t)wanted : CONTEXT_RAISED_MAX;
    fprintf(stderr, "llmos: a context of %u tokens, the model was trained with %u\n", room.context,
            t->ready.context_trained);
    talk_end(t);
    room.isolation = false; /* it was told */
    return talk_start(t, model_path, PURPOSE_RUN, &room, err);
}

/* The prompt as what is asked. */
static int put_conversation(const struct run *r, struct str prompt, struct buf *out,
                            struct llmos_error *err)
{
    struct dialog d;
    int rc;

    dialog_init(&d);
    d.thinks_not = !ask_wants_thoughts(&r->ask);
    rc = dialog_set_system(&d, str_of(r->system ? r->system : ""), err);
    if (rc == 0)
        rc = dialog_add(&d, "user", prompt, err);
    dialog_put_json(&d, out);
    dialog_fini(&d);
    return rc < 0 ? rc : buf_check(out, "the conversation", err);
}

static int ask_once(const struct run *r, const char *model_path, struct str prompt)
{
    struct message_generate g = {.prompt_kind = r->raw ? PROMPT_TEXT : PROMPT_CHAT};
    CLEANUP(buf) struct buf conversation = {.limit_bytes = FRAME_TO_ENGINE_MAX};
    struct output o = {.keep = r->json, .terminal = !r->json && isatty(STDOUT_FILENO)};
    struct llmos_error err = {0};
    struct talk t = {.worker = NULL};
    CLEANUP(buf) struct buf grammar = {.limit_bytes = 0};
    int code;

    buf_init(&o.text, ANSWER_MAX);
    buf_init(&o.thought, ANSWER_MAX);
    halt_catch();
    if ((!r->raw && put_conversation(r, prompt, &conversation, &err) < 0) ||
        ask_fill(&g, &r->ask, &grammar, &err) < 0)
        code = cli_error(&err);
    else if (start_with_room(&t, r, model_path, prompt, &err) < 0)
        code = halt_asked() ? EXIT_SIGNAL + halt_asked() : cli_error(&err);
    else {
        g.text = r->raw ? prompt : buf_str(&conversation);
        code = answer(&t, r, &g, &o, &err);
    }
    talk_end(&t);
    buf_fini(&o.text);
    buf_fini(&o.thought);
    return code;
}

static int run(int argc, char **argv)
{
    struct run r = run_defaults;
    CLEANUP(buf) struct buf prompt = {.at = NULL};
    struct llmos_error err;
    struct opt_rest rest;
    int code;

    if (!cli_parse(&cli_run, &r, argc, argv, &rest, &code))
        return code;
    if (r.raw && r.system) {
        fail(&err, LLMOS_EINVAL,
             "--system and --raw exclude each other: a raw prompt has no roles");
        cli_error(&err);
        return EXIT_USAGE;
    }
    buf_init(&prompt, PROMPT_MAX);
    if (read_prompt(&rest, &prompt, &err) < 0)
        return cli_error(&err);
    return ask_once(&r, rest.at[0], buf_str(&prompt));
}

const struct cli_verb cli_run = {"run", &run_command, run};
