/* SPDX-License-Identifier: Apache-2.0 */
/* chat.c - see chat.h.  Marks of a format enter as token ids; what people say enters as text, in
 * which no control token is recognised. */
#include "model/chat.h"

#include "base/buf.h"
#include "model/tokenize.h"

#include <stdio.h>

/* A conversation while it is written: text waits until the next mark, so that it is tokenized in
 * one piece whoever its parts came from. */
struct writer {
    const struct llmos_tokenizer *t;
    struct token_sink *out;
    struct buf text;
    bool after_control;
    int rc;
    struct llmos_error *err;
};

struct chat_format {
    const char *name;
    bool has_tool;
    void (*write)(struct writer *w, const struct llmos_message *messages, size_t count);
};

static void flush(struct writer *w)
{
    if (w->rc == 0)
        w->rc = buf_check(&w->text, "the conversation", w->err);
    if (w->rc == 0)
        w->rc = tokenize_marked(w->t, buf_str(&w->text), false, &w->after_control, w->out, w->err);
    buf_clear(&w->text);
}

static void put_id(struct writer *w, int32_t id)
{
    flush(w);
    token_sink_put(w->out, id);
    w->after_control = true;
}

/* A mark that the vocabulary lacks was text when the model learned it, and is text here. */
static void put_mark(struct writer *w, const char *name)
{
    int32_t id = vocab_find_control(w->t, name);

    if (id >= 0)
        put_id(w, id);
    else
        buf_puts(&w->text, name);
}

static void put_end(struct writer *w)
{
    if (w->t->eos >= 0)
        put_id(w, w->t->eos);
}

static void put_begin(struct writer *w)
{
    if (w->t->bos >= 0)
        put_id(w, w->t->bos);
}

static void put_content(struct writer *w, const struct llmos_message *m)
{
    buf_put(&w->text, m->content, m->content_length);
}

static void put_trimmed(struct writer *w, const struct llmos_message *m)
{
    const char *from = m->content_length ? m->content : "", *to = from + m->content_length;

    while (from < to && memchr(" \t\r\n\v\f", *from, 6))
        from++;
    while (to > from && memchr(" \t\r\n\v\f", to[-1], 6))
        to--;
    buf_put(&w->text, from, (size_t)(to - from));
}

static bool is_role(const struct llmos_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

/* ---- the formats ---- */

/* <|im_start|>user\n...<|im_end|>\n */
static void write_chatml(struct writer *w, const struct llmos_message *messages, size_t count)
{
    if (w->t->add_bos)
        put_begin(w);
    for (size_t i = 0; i < count; i++) {
        put_mark(w, "<|im_start|>");
        buf_printf(&w->text, "%s\n", messages[i].role);
        put_content(w, &messages[i]);
        put_mark(w, "<|im_end|>");
        buf_puts(&w->text, "\n");
    }
    put_mark(w, "<|im_start|>");
    buf_puts(&w->text, "assistant\n");
}

/* <s>[INST] <<SYS>>\n...\n<</SYS>>\n\n... [/INST] ... </s>; a system message is part of the
 * question that follows it. */
static void write_llama2(struct writer *w, const struct llmos_message *messages, size_t count)
{
    bool asked = false; /* "[INST] " stands open */

    for (size_t i = 0; i < count; i++) {
        if (is_role(&messages[i], "assistant")) {
            buf_puts(&w->text, asked ? " [/INST] " : " ");
            put_trimmed(w, &messages[i]);
            buf_puts(&w->text, " ");
            put_end(w);
            asked = false;
            continue;
        }
        if (!asked) {
            put_begin(w);
            buf_puts(&w->text, "[INST] ");
        }
        asked = true;
        if (is_role(&messages[i], "system")) {
            buf_puts(&w->text, "<<SYS>>\n");
            put_trimmed(w, &messages[i]);
            buf_puts(&w->text, "\n<</SYS>>\n\n");
        } else {
            put_trimmed(w, &messages[i]);
            if (i + 1 < count && !is_role(&messages[i + 1], "assistant"))
                buf_puts(&w->text, "\n");
        }
    }
    if (asked)
        buf_puts(&w->text, " [/INST]");
}

/* <|start_header_id|>user<|end_header_id|>\n\n...<|eot_id|> */
static void write_llama3(struct writer *w, const struct llmos_message *messages, size_t count)
{
    put_begin(w);
    for (size_t i = 0; i < count; i++) {
        put_mark(w, "<|start_header_id|>");
        buf_puts(&w->text, is_role(&messages[i], "tool") ? "ipython" : messages[i].role);
        put_mark(w, "<|end_header_id|>");
        buf_puts(&w->text, "\n\n");
        put_trimmed(w, &messages[i]);
        put_mark(w, "<|eot_id|>");
    }
    put_mark(w, "<|start_header_id|>");
    buf_puts(&w->text, "assistant");
    put_mark(w, "<|end_header_id|>");
    buf_puts(&w->text, "\n\n");
}

/* <|user|>\n...</s>\n */
static void write_zephyr(struct writer *w, const struct llmos_message *messages, size_t count)
{
    if (w->t->add_bos)
        put_begin(w);
    for (size_t i = 0; i < count; i++) {
        char mark[32];

        snprintf(mark, sizeof(mark), "<|%s|>", messages[i].role);
        put_mark(w, mark);
        buf_puts(&w->text, "\n");
        put_content(w, &messages[i]);
        put_end(w);
        buf_puts(&w->text, "\n");
    }
    put_mark(w, "<|assistant|>");
    buf_puts(&w->text, "\n");
}

/* For models that continue text and know no roles: what was said, line after line. */
static void write_plain(struct writer *w, const struct llmos_message *messages, size_t count)
{
    if (w->t->add_bos)
        put_begin(w);
    for (size_t i = 0; i < count; i++) {
        buf_puts(&w->text, i ? "\n" : "");
        put_content(w, &messages[i]);
    }
}

static const struct chat_format formats[] = {
    {"chatml", true, write_chatml}, {"llama2", false, write_llama2},
    {"llama3", true, write_llama3}, {"zephyr", false, write_zephyr},
    {"plain", true, write_plain},
};

static const struct chat_format *format_by_name(const char *name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].name, name) == 0)
            return &formats[i];
    return NULL;
}

/* ---- which one ---- */

static bool contains(struct str text, const char *mark)
{
    return memmem(text.at, text.len, mark, strlen(mark)) != NULL;
}

/* A format made of control tokens is only taken for one where they exist: as text, anybody could
 * type them. */
static const char *recognise(const struct llmos_tokenizer *t, bool has_template, struct str text)
{
    bool chatml =
        vocab_find_control(t, "<|im_start|>") >= 0 && vocab_find_control(t, "<|im_end|>") >= 0;
    bool llama3 = vocab_find_control(t, "<|start_header_id|>") >= 0 &&
                  vocab_find_control(t, "<|end_header_id|>") >= 0 &&
                  vocab_find_control(t, "<|eot_id|>") >= 0;

    if (chatml && (!has_template || contains(text, "<|im_start|>")))
        return "chatml";
    if (llama3 && (!has_template || contains(text, "<|start_header_id|>")))
        return "llama3";
    if (!has_template || t->eos < 0)
        return "plain";
    if (contains(text, "<|user|>") && contains(text, "<|assistant|>") && !contains(text, "<|end|>"))
        return "zephyr";
    return contains(text, "[INST]") ? "llama2" : "plain";
}

int chat_recognise(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    struct str text = STR("");
    int rc = gguf_get_str(g, "tokenizer.chat_template", &text, err);

    if (rc < 0)
        return rc;
    t->chat = format_by_name(recognise(t, rc > 0, text));
    return 0;
}

const char *llmos_chat_format(const llmos_tokenizer *t)
{
    return t->chat->name;
}

int llmos_chat_set_format(llmos_tokenizer *t, const char *name, struct llmos_error *err)
{
    const struct chat_format *format = format_by_name(name);

    if (!format)
        return fail(err, LLMOS_EINVAL,
                    "chat format '%s' is unknown; there are: chatml llama2 llama3 zephyr plain",
                    name);
    t->chat = format;
    return 0;
}

/* ---- the public call ---- */

static int check(const struct llmos_tokenizer *t, const struct llmos_message *messages,
                 size_t count, struct llmos_error *err)
{
    if (count == 0)
        return fail(err, LLMOS_EINVAL, "a conversation needs at least one message");
    for (size_t i = 0; i < count; i++) {
        const struct llmos_message *m = &messages[i];

        if (!m->role || (!is_role(m, "system") && !is_role(m, "user") && !is_role(m, "assistant") &&
                         !is_role(m, "tool")))
            return fail(err, LLMOS_EINVAL,
                        "message %zu has role '%s'; there are: system user assistant tool", i,
                        m->role ? m->role : "");
        if (is_role(m, "tool") && !t->chat->has_tool)
            return fail(err, LLMOS_EUNSUPPORTED,
                        "message %zu has role 'tool', which chat format '%s' cannot express", i,
                        t->chat->name);
        if (m->content_length > 0 && !m->content)
            return fail(err, LLMOS_EINVAL, "message %zu has no content", i);
    }
    return 0;
}

long llmos_chat_tokenize(const llmos_tokenizer *t, const struct llmos_message *messages,
                         size_t count, int32_t *tokens, size_t room, struct llmos_error *err)
{
    struct token_sink out = {tokens, room, 0};
    struct writer w = {.t = t, .out = &out, .after_control = true, .err = err};

    w.rc = check(t, messages, count, err);
    if (w.rc < 0)
        return w.rc;
    buf_init(&w.text, TOKENIZE_TEXT_BYTES_MAX);
    t->chat->write(&w, messages, count);
    flush(&w);
    buf_fini(&w.text);
    return w.rc < 0 ? w.rc : (long)out.count;
}
