/* SPDX-License-Identifier: Apache-2.0 */
/* aside.c - see aside.h */
#include "cli/aside.h"

#include "base/mem.h"
#include "sched/thought.h"

#include <stdio.h>
#include <unistd.h>

struct aside {
    struct thought_parser parser;
    struct screen_filter filter;
    struct buf clean, *kept;
    bool is_hidden, is_terminal, is_open; /* open: what was shown last was thought */
    talk_sink sink;
    void *cookie;
    struct llmos_error *err;
    int rc;
};

static void show(struct aside *a, struct str text)
{
    buf_clear(&a->clean);
    if (!a->is_open && a->is_terminal)
        buf_puts(&a->clean, "\033[2m"); /* faint */
    a->is_open = true;
    if (a->is_terminal)
        screen_clean(&a->filter, text, &a->clean);
    else
        buf_put(&a->clean, text.at, text.len);
    fwrite(buf_str(&a->clean).at, 1, a->clean.len, stderr);
}

/* The answer begins on a line of its own. */
static void end_thought(struct aside *a)
{
    if (!a->is_open)
        return;
    buf_clear(&a->clean);
    screen_clean_end(&a->filter, &a->clean);
    a->is_open = false;
    fwrite(buf_str(&a->clean).at, 1, a->clean.len, stderr);
    fputs(a->is_terminal ? "\033[0m\n\n" : "\n", stderr);
}

static void hear(void *cookie, bool is_thought, struct str text)
{
    struct aside *a = cookie;

    if (a->rc < 0)
        return;
    if (!is_thought) {
        end_thought(a);
        a->rc = a->sink(a->cookie, text, a->err);
    } else if (!a->is_hidden && a->kept) {
        buf_put(a->kept, text.at, text.len);
        a->rc = buf_check(a->kept, "the thought", a->err);
    } else if (!a->is_hidden) {
        show(a, text);
    }
}

static int take_piece(void *cookie, struct str text, struct llmos_error *err)
{
    struct aside *a = cookie;

    thought_put(&a->parser, text);
    if (a->rc == 0 && !thought_is_good(&a->parser))
        return fail(err, LLMOS_ENOMEM, "no memory for the answer");
    return a->rc;
}

/* What the engine must know to tell them apart. */
static int prepare(struct message_generate *g, const struct thought_format *f, struct buf *grammar,
                   struct llmos_error *err)
{
    thought_ask(f, g);
    if (g->grammar.len == 0)
        return 0;
    thought_put_grammar(f, g->grammar, true, grammar);
    g->grammar = buf_str(grammar);
    return buf_check(grammar, "the form of the answer", err);
}

int aside_generate(struct talk *t, struct message_generate *g, const struct ask_options *o,
                   struct buf *thought, talk_sink sink, void *cookie, struct message_done *done,
                   struct llmos_error *err)
{
    const struct thought_format *f = thought_format_of(str_of(t->thought_format));
    CLEANUP(buf) struct buf grammar = {.limit_bytes = MESSAGE_GRAMMAR_BYTES_MAX};
    struct aside a = {.parser = {.format = f, .hear = hear, .cookie = &a},
                      .clean = {.limit_bytes = 16u << 20},
                      .kept = thought,
                      .is_hidden = ask_hides_thoughts(o),
                      .is_terminal = isatty(STDERR_FILENO),
                      .sink = sink,
                      .cookie = cookie,
                      .err = err};
    int rc;

    if (!f || g->prompt_kind != PROMPT_CHAT)
        return talk_generate(t, g, sink, cookie, done, err);
    rc = prepare(g, f, &grammar, err);
    if (rc < 0)
        return rc;
    thought_init(&a.parser);
    rc = talk_generate(t, g, take_piece, &a, done, err);
    thought_end(&a.parser);
    end_thought(&a);
    thought_fini(&a.parser);
    buf_fini(&a.clean);
    return rc == 0 ? a.rc : rc;
}
