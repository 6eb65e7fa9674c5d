/* SPDX-License-Identifier: Apache-2.0 */
/* thought.c - see thought.h */
#include "sched/thought.h"

#include "base/mem.h"
#include "sched/gbnfput.h"

#define HEAD_MAX 512 /* of a message of harmony; honest ones have a hundred bytes */

/* Of every mark the first character comes in it once. */
static const struct thought_format formats[] = {
    {"think", "<think>", "</think>", NULL, NULL, false, {"<think>", "</think>"}},
    {"mistral", "[THINK]", "[/THINK]", NULL, NULL, false, {"[THINK]", "[/THINK]"}},
    {"granite", "<think>", "</think>", "<response>", "</response>", false, {NULL}},
    {"command",
     "<|START_THINKING|>",
     "<|END_THINKING|>",
     "<|START_RESPONSE|>",
     "<|END_RESPONSE|>",
     false,
     {"<|START_THINKING|>", "<|END_THINKING|>", "<|START_RESPONSE|>", "<|END_RESPONSE|>"}},
    {"cohere2",
     "<|START_THINKING|>",
     "<|END_THINKING|>",
     "<|START_TEXT|>",
     "<|END_TEXT|>",
     false,
     {"<|START_THINKING|>", "<|END_THINKING|>", "<|START_TEXT|>", "<|END_TEXT|>"}},
    {"seed", "<seed:think>", "</seed:think>", NULL, NULL, false, {"<seed:think>", "</seed:think>"}},
    {"harmony",
     "<|channel|>analysis<|message|>",
     "<|end|>",
     NULL,
     NULL,
     true,
     {"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>", "<|call|>"}},
};

const struct thought_format *thought_format_of(struct str name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (str_is(name, formats[i].name))
            return &formats[i];
    return NULL;
}

void thought_ask(const struct thought_format *f, struct message_generate *g)
{
    g->begun = str_of(f->opening);
    for (size_t i = 0; i < THOUGHT_MARKS_MAX && f->marks[i] && g->mark_count < MESSAGE_MARKS_MAX;
         i++)
        g->marks[g->mark_count++] = str_of(f->marks[i]);
}

/* --- grammars --- */

static void put_harmony(struct str grammar, bool is_content, struct buf *out)
{
    buf_puts(out, "root ::= note* ");
    if (is_content)
        buf_puts(out, "\"<|channel|>final\" (\" \"? \"<|constrain|>json\")? \"<|message|>\" ");
    buf_puts(out, "answer-root\n"
                  "note ::= \"<|channel|>\" (\"analysis\" | \"commentary\") \"<|message|>\" "
                  "note-text \"<|end|><|start|>assistant\"\n");
    gbnfput_without(out, "note-text", "<|end|>");
    gbnfput_renamed(out, grammar, "answer-");
}

void thought_put_grammar(const struct thought_format *f, struct str grammar, bool is_content,
                         struct buf *out)
{
    if (f->is_messages) {
        put_harmony(grammar, is_content, out);
        return;
    }
    buf_puts(out, "root ::= thought? answer-root");
    if (f->answer_opening)
        buf_printf(out, " | thought? \"%s\" answer-root \"%s\"", f->answer_opening,
                   f->answer_closing);
    buf_printf(out, "\nthought ::= \"%s\" thought-text \"%s\" [ \\t\\n]{0,8}\n", f->opening,
               f->closing);
    gbnfput_without(out, "thought-text", f->closing);
    gbnfput_renamed(out, grammar, "answer-");
}

/* --- what is told --- */

/* Empty again; that memory failed is not forgotten. */
static void clear(struct thought_parser *p, struct buf *b)
{
    p->is_bad |= b->bad;
    buf_clear(b);
}

static void flush(struct thought_parser *p)
{
    if (p->told.len && !p->told.bad)
        p->hear(p->cookie, p->told_thought, buf_str(&p->told));
    clear(p, &p->told);
}

static void tell(struct thought_parser *p, struct str text)
{
    if (text.len == 0)
        return;
    if (p->told_thought != p->is_thought)
        flush(p);
    p->told_thought = p->is_thought;
    p->has_told[p->is_thought] = true;
    buf_put(&p->told, text.at, text.len);
}

static void tell_held(struct thought_parser *p)
{
    tell(p, buf_str(&p->held));
    clear(p, &p->held);
    p->matched = 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* --- thoughts between two marks --- */

enum { BEFORE, THOUGHT, BETWEEN, ANSWER, TAGGED_ANSWER, START, HEAD, BODY };

/* A byte of a mark, which is held with what stands before it: 1: the mark is complete; 0: it may
 * become it; -1: it is none, and the byte is not taken. */
static int mark_byte(struct thought_parser *p, const char *mark, char c)
{
    if (mark[p->matched] != c)
        return -1;
    buf_putc(&p->held, c);
    if (mark[++p->matched])
        return 0;
    p->matched = 0;
    return 1;
}

static void answer_byte(struct thought_parser *p, char c)
{
    tell(p, (struct str){&c, 1});
}

static void tagged_byte(struct thought_parser *p, char c)
{
    int rc = mark_byte(p, p->format->answer_closing, c);

    if (rc > 0) {
        clear(p, &p->held);
        p->state = ANSWER;
    } else if (rc < 0 && p->matched) {
        tell_held(p);
        tagged_byte(p, c);
    } else if (rc < 0) {
        tell(p, (struct str){&c, 1});
    }
}

/* One of the two openings; both may begin alike. */
static void before_byte(struct thought_parser *p, char c)
{
    const char *const marks[] = {p->format->opening, p->format->answer_opening};

    if (p->matched == 0 && is_blank(c)) {
        buf_putc(&p->held, c);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        if (!marks[i] || strncmp(marks[i], marks[p->mark], p->matched) != 0 ||
            mark_byte(p, marks[i], c) < 0)
            continue;
        p->mark = i;
        if (p->matched) /* not all of it yet */
            return;
        clear(p, &p->held);
        p->is_thought = i == 0;
        p->state = i == 0 ? THOUGHT : TAGGED_ANSWER;
        return;
    }
    p->state = ANSWER;
    tell_held(p);
    answer_byte(p, c);
}

/* Blanks wait: those at the end are none of the thought's. */
static void thought_byte(struct thought_parser *p, char c)
{
    int rc = mark_byte(p, p->format->closing, c);

    if (rc > 0) {
        clear(p, &p->held);
        p->is_thought = false;
        p->state = BETWEEN;
    } else if (rc < 0 && p->matched) {
        tell_held(p);
        thought_byte(p, c);
    } else if (rc < 0 && is_blank(c)) {
        if (p->has_told[true])
            buf_putc(&p->held, c);
    } else if (rc < 0) {
        tell_held(p);
        tell(p, (struct str){&c, 1});
    }
}

static void between_byte(struct thought_parser *p, char c)
{
    const char *opening = p->format->answer_opening;
    int rc = opening ? mark_byte(p, opening, c) : -1;

    if (rc > 0) {
        clear(p, &p->held);
        p->state = TAGGED_ANSWER;
    } else if (rc < 0 && (p->matched || !is_blank(c))) {
        p->state = ANSWER;
        tell_held(p);
        answer_byte(p, c);
    }
}

/* --- messages of harmony --- */

static const char *const starts[] = {"<|channel|>", "<|start|>", " to="};
static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>"};

/* 1: the text is one of the words, 0: it begins one, -1: neither. */
static int word_of(struct str text, const char *const *words, size_t count)
{
    int best = -1;

    for (size_t i = 0; i < count; i++) {
        struct str word = str_of(words[i]);

        if (str_eq(text, word))
            return 1;
        if (str_starts(word, text))
            best = 0;
    }
    return best;
}

static void begin_body(struct thought_parser *p, bool is_thought)
{
    p->is_thought = is_thought;
    p->state = BODY;
    if (p->has_told[is_thought]) /* messages of one kind are lines */
        tell(p, STR("\n"));
}

static void body_byte(struct thought_parser *p, char c);

/* What is held begins no message: it is the answer, and its last byte is looked at again. */
static void begin_without_head(struct thought_parser *p)
{
    char last = p->held.at ? p->held.at[p->held.len - 1] : ' ';

    p->held.len -= p->held.len > 0;
    begin_body(p, false);
    tell_held(p);
    body_byte(p, last);
}

/* What stands behind a word in a head, up to a blank or a mark; empty: nothing. */
static struct str behind(struct str head, const char *word)
{
    const char *at = memmem(head.at, head.len, word, strlen(word));
    size_t room, n = 0;

    if (!at)
        return STR("");
    at += strlen(word);
    room = (size_t)(head.at + head.len - at);
    while (n < room && at[n] != ' ' && at[n] != '<')
        n++;
    return (struct str){at, n};
}

static void read_head(struct thought_parser *p)
{
    static const struct str prefix = {"functions.", 10};
    CLEANUP(buf) struct buf call = {.limit_bytes = 2 * HEAD_MAX};
    struct str head = buf_str(&p->held), to = behind(head, " to=");
    bool is_analysis = str_is(behind(head, "<|channel|>"), "analysis");

    p->is_call = str_starts(to, prefix);
    if (p->is_call)
        buf_printf(&call, "<|channel|>commentary to=%.*s<|message|>", STR_ARG(to));
    p->is_bad |= call.bad;
    clear(p, &p->held);
    begin_body(p, is_analysis && !p->is_call);
    tell(p, buf_str(&call));
}

static void head_byte(struct thought_parser *p, char c)
{
    buf_putc(&p->held, c);
    if (c == '>' && str_ends(buf_str(&p->held), STR("<|message|>")))
        read_head(p);
    else if (p->held.len == HEAD_MAX)
        begin_without_head(p);
}

static void start_byte(struct thought_parser *p, char c)
{
    int rc;

    buf_putc(&p->held, c);
    rc = word_of(buf_str(&p->held), starts, sizeof(starts) / sizeof(starts[0]));
    if (rc > 0)
        p->state = HEAD;
    else if (rc < 0)
        begin_without_head(p);
}

static void end_body(struct thought_parser *p)
{
    bool goes_on = str_is(buf_str(&p->held), "<|start|>");

    clear(p, &p->held);
    if (p->is_call)
        tell(p, STR("<|call|>"));
    p->is_call = false;
    p->state = START;
    if (goes_on) {
        buf_puts(&p->held, "<|start|>");
        p->state = HEAD;
    }
}

static void body_byte(struct thought_parser *p, char c)
{
    int rc;

    buf_putc(&p->held, c);
    rc = word_of(buf_str(&p->held), ends, sizeof(ends) / sizeof(ends[0]));
    if (rc > 0)
        end_body(p);
    if (rc >= 0)
        return;
    p->held.len--; /* c may begin one */
    if (p->held.len > 0) {
        tell_held(p);
        body_byte(p, c);
        return;
    }
    clear(p, &p->held);
    tell(p, (struct str){&c, 1});
}

/* --- the whole text --- */

void thought_init(struct thought_parser *p)
{
    buf_init(&p->held, THOUGHT_HELD_MAX + 64);
    buf_init(&p->told, SIZE_MAX / 2);
    thought_reset(p);
}

void thought_fini(struct thought_parser *p)
{
    buf_fini(&p->held);
    buf_fini(&p->told);
}

void thought_reset(struct thought_parser *p)
{
    buf_clear(&p->held);
    buf_clear(&p->told);
    p->state = !p->format ? ANSWER : p->format->is_messages ? START : BEFORE;
    p->matched = p->mark = 0;
    p->is_thought = p->is_call = p->is_bad = p->has_told[0] = p->has_told[1] = false;
}

void thought_put(struct thought_parser *p, struct str text)
{
    static void (*const steps[])(struct thought_parser *, char) = {
        [BEFORE] = before_byte,
        [THOUGHT] = thought_byte,
        [BETWEEN] = between_byte,
        [ANSWER] = answer_byte,
        [TAGGED_ANSWER] = tagged_byte,
        [START] = start_byte,
        [HEAD] = head_byte,
        [BODY] = body_byte,
    };

    for (size_t i = 0; i < text.len; i++) {
        if (p->state == ANSWER) { /* the rest is nothing else */
            tell(p, (struct str){text.at + i, text.len - i});
            break;
        }
        if (p->held.len >= THOUGHT_HELD_MAX && !p->matched) { /* blanks */
            tell_held(p);
            if (p->state == BEFORE) {
                p->state = ANSWER;
                i--;
                continue;
            }
        }
        steps[p->state](p, text.at[i]);
    }
    flush(p);
}

void thought_end(struct thought_parser *p)
{
    if (p->state == THOUGHT) /* blanks that ended it */
        while (p->held.len && is_blank(p->held.at[p->held.len - 1]))
            p->held.len--;
    if (p->state != HEAD && p->state != START) /* no one's words */
        tell_held(p);
    else
        clear(p, &p->held);
    flush(p);
}

bool thought_is_good(const struct thought_parser *p)
{
    return !p->is_bad && !p->held.bad && !p->told.bad;
}
