/* SPDX-License-Identifier: Apache-2.0 */
/* chat.c - see chat.h.  What a template writes may be special tokens; what people say enters as
 * text, in which no control token is recognised. */
#include "model/chat.h"

#include "base/buf.h"
#include "base/mem.h"
#include "model/callshape.h"
#include "model/jinja.h"
#include "model/jinja_date.h"
#include "model/jinja_json.h"
#include "model/thoughtformat.h"
#include "model/tokenize.h"
#include "model/toolformat.h"

#include <time.h>

#define NAME_OF_FILE "template"

struct chat {
    const char *name, *tool_format, *thought_format;
    struct jinja_template *template; /* NULL: it cannot be used, and `why` says why */
    struct llmos_error why;
    struct callshape shape; /* of calls in the conversation */
};

/* ---- the built-in formats ---- */

#define NO_TOOLS(name)                                                                    \
    "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('message ' ~ "    \
    "loop.index0 ~ \" has role 'tool', which chat format '" name "' cannot express\") }}" \
    "{% endif %}{% endfor %}"

static const struct {
    const char *name, *source;
} formats[] = {
    {"chatml", "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ "
               "'<|im_end|>\\n' }}{% endfor %}"
               "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"},
    /* A system message is part of the question that follows it. */
    {"llama2",
     NO_TOOLS("llama2") "{% set open = namespace(asked=false) %}{% for m in messages %}"
                        "{% if m.role == 'assistant' %}"
                        "{{ (' [/INST] ' if open.asked else ' ') ~ m.content.strip() ~ ' ' ~ "
                        "eos_token }}{% set open.asked = false %}"
                        "{% else %}"
                        "{{ '' if open.asked else bos_token + '[INST] ' }}"
                        "{% set open.asked = true %}"
                        "{% if m.role == 'system' %}"
                        "{{ '<<SYS>>\\n' ~ m.content.strip() ~ '\\n<</SYS>>\\n\\n' }}"
                        "{% else %}"
                        "{{ m.content.strip() }}"
                        "{{ '\\n' if loop.nextitem and loop.nextitem.role != 'assistant' }}"
                        "{% endif %}{% endif %}{% endfor %}"
                        "{{ ' [/INST]' if open.asked }}"},
    {"llama3", "{{ bos_token }}{% for m in messages %}"
               "{{ '<|start_header_id|>' ~ ('ipython' if m.role == 'tool' else m.role) ~ "
               "'<|end_header_id|>\\n\\n' ~ m.content.strip() ~ '<|eot_id|>' }}{% endfor %}"
               "{% if add_generation_prompt %}"
               "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"},
    {"zephyr", NO_TOOLS("zephyr") "{% for m in messages %}{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ "
                                  "eos_token ~ '\\n' }}{% endfor %}"
                                  "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}"
                                  "{% endif %}"},
    /* For models that continue text and know no roles: what was said, line after line. */
    {"plain", "{{ messages|map(attribute='content')|join('\\n') }}"},
};

/* ---- which one ---- */

/* A template that is broken waits with its sentence for whoever needs it. */
static int use(struct llmos_tokenizer *t, const char *name, struct str source,
               struct llmos_error *err)
{
    struct chat *made = mem_zalloc(1, sizeof(*made));
    int rc;

    if (!made)
        return fail(err, LLMOS_ENOMEM, "no memory for a chat format");
    made->name = name;
    made->tool_format = toolformat_of(source);
    made->thought_format = thoughtformat_of(source);
    rc = jinja_create(&made->template, source, &made->why);
    if (rc == 0 && memmem(source.at, source.len, "tool_calls", strlen("tool_calls")))
        rc = callshape_find(&made->shape, made->template);
    if (rc == LLMOS_ENOMEM) {
        chat_destroy(made);
        return fail(err, rc, "no memory for a chat template of %zu bytes", source.len);
    }
    chat_destroy(t->chat);
    t->chat = made;
    return 0;
}

void chat_destroy(struct chat *chat)
{
    if (!chat)
        return;
    jinja_destroy(chat->template);
    mem_free(chat);
}

/* A format made of control tokens is only taken for one where they exist: as text, anybody could
 * type them. */
static const char *format_of_tokens(const struct llmos_tokenizer *t)
{
    if (vocab_find_control(t, "<|im_start|>") >= 0 && vocab_find_control(t, "<|im_end|>") >= 0)
        return "chatml";
    if (vocab_find_control(t, "<|start_header_id|>") >= 0 &&
        vocab_find_control(t, "<|end_header_id|>") >= 0 && vocab_find_control(t, "<|eot_id|>") >= 0)
        return "llama3";
    return "plain";
}

int chat_create(struct llmos_tokenizer *t, const struct gguf *g, struct llmos_error *err)
{
    struct str source = STR("");
    int rc = gguf_get_str(g, "tokenizer.chat_template", &source, err);

    if (rc < 0)
        return rc;
    if (rc > 0 && source.len > 0)
        return use(t, NAME_OF_FILE, source, err);
    return llmos_chat_set_format(t, format_of_tokens(t), err);
}

const char *llmos_chat_format(const llmos_tokenizer *t)
{
    return t->chat->name;
}

const char *llmos_chat_tool_format(const llmos_tokenizer *t)
{
    return t->chat->tool_format;
}

const char *llmos_chat_thought_format(const llmos_tokenizer *t)
{
    return t->chat->thought_format;
}

int llmos_chat_set_format(llmos_tokenizer *t, const char *name, struct llmos_error *err)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcmp(formats[i].name, name) == 0)
            return use(t, formats[i].name, str_of(formats[i].source), err);
    return fail(err, LLMOS_EINVAL,
                "chat format '%s' is unknown; there are: chatml llama2 llama3 zephyr plain", name);
}

/* ---- what a template sees ---- */

static void begin_store(struct jinja_store *s, struct llmos_error *err)
{
    static const struct jinja_limits limits = JINJA_LIMITS_INIT;
    struct timespec now;

    jinja_store_init(s, &limits, err);
    clock_gettime(CLOCK_REALTIME, &now);
    jinja_date_of(now.tv_sec, &s->now); /* UTC: the engine knows no other time zone */
}

static void set_default(struct jinja_store *s, struct jinja_value variables, const char *name,
                        struct jinja_value value)
{
    if (s->rc == 0 && !jinja_get_name(s, variables, str_of(name)))
        jinja_set_name(s, variables, name, value);
}

static void set_token(struct jinja_store *s, struct jinja_value variables,
                      const struct llmos_tokenizer *t, const char *name, int32_t token)
{
    struct str piece = STR("");

    if (token >= 0)
        piece = t->tokens[token].piece;
    set_default(s, variables, name, jinja_copy(s, piece, false));
}

/* What transformers gives every template, where the conversation does not say otherwise. */
static void set_defaults(struct jinja_store *s, struct jinja_value variables,
                         const struct llmos_tokenizer *t)
{
    set_default(s, variables, "tools", JINJA_NIL);
    set_default(s, variables, "documents", JINJA_NIL);
    set_default(s, variables, "add_generation_prompt", JINJA_TRUTH(true));
    if (!t)
        return;
    set_token(s, variables, t, "bos_token", t->bos);
    set_token(s, variables, t, "eos_token", t->eos);
    set_token(s, variables, t, "unk_token", t->unknown);
}

static int render(const struct chat *chat, struct jinja_store *s, struct jinja_value variables,
                  struct jinja_str *out)
{
    if (s->rc < 0)
        return s->rc;
    if (!chat->template)
        return fail(s->err, LLMOS_EUNSUPPORTED,
                    "the chat template in the file cannot be used, try --chat-format chatml: %s",
                    chat->why.text);
    return jinja_render(chat->template, s, variables, out);
}

/* ---- a conversation as JSON ---- */

static struct jinja_value read_conversation(struct jinja_store *s, struct str json)
{
    struct jinja_value v = jinja_read_json(s, json), variables;

    if (s->rc < 0)
        return JINJA_NOTHING;
    if (v.kind == JINJA_DICT && jinja_get_name(s, v, STR("messages")))
        return v;
    if (v.kind != JINJA_LIST)
        return jinja_fail(s, LLMOS_EINVAL,
                          "a conversation is a list of messages, or an object with \"messages\"");
    variables = jinja_dict(s);
    jinja_set_name(s, variables, "messages", v);
    return variables;
}

static int render_json(const struct chat *chat, const struct llmos_tokenizer *t, struct str json,
                       struct buf *out, struct llmos_error *err)
{
    struct jinja_store s;
    struct jinja_value variables;
    struct jinja_str text;
    int rc;

    begin_store(&s, err);
    variables = read_conversation(&s, json);
    set_defaults(&s, variables, t);
    rc = render(chat, &s, variables, &text);
    if (rc == 0) {
        buf_put(out, text.at, text.len);
        rc = buf_check(out, "the conversation", err);
    }
    jinja_store_fini(&s);
    return rc;
}

int chat_render_source(struct str source, struct str json, struct buf *out, struct llmos_error *err)
{
    struct chat chat = {.name = NAME_OF_FILE};
    int rc = jinja_create(&chat.template, source, err);

    if (rc < 0)
        return rc;
    rc = render_json(&chat, NULL, json, out, err);
    jinja_destroy(chat.template);
    return rc;
}

int llmos_chat_render(const llmos_tokenizer *t, const char *json, size_t length, char **text,
                      size_t *text_length, struct llmos_error *err)
{
    struct buf out;
    int rc;

    buf_init(&out, TOKENIZE_TEXT_BYTES_MAX);
    rc = render_json(t->chat, t, (struct str){length ? json : "", length}, &out, err);
    if (rc == 0 && !buf_reserve(&out, 0))
        rc = buf_check(&out, "the conversation", err);
    if (rc < 0) {
        buf_fini(&out);
        return rc;
    }
    *text = out.at;
    *text_length = out.len;
    return 0;
}

/* ---- a conversation as tokens ---- */

#define ROLES "; there are: system user assistant tool"

/* A role is one of four words, so nobody said it: templates make marks of it.  NULL: it is none. */
static const char *role_of(struct str text)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};

    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++)
        if (str_is(text, roles[i]))
            return roles[i];
    return NULL;
}

static int check(const struct llmos_message *messages, size_t count, struct llmos_error *err)
{
    if (count == 0)
        return fail(err, LLMOS_EINVAL, "a conversation needs at least one message");
    for (size_t i = 0; i < count; i++) {
        const struct llmos_message *m = &messages[i];

        if (!m->role || !role_of(str_of(m->role)))
            return fail(err, LLMOS_EINVAL, "message %zu has role '%s'" ROLES, i,
                        m->role ? m->role : "");
        if (m->content_length > 0 && !m->content)
            return fail(err, LLMOS_EINVAL, "message %zu has no content", i);
    }
    return 0;
}

static struct jinja_value conversation_of(struct jinja_store *s,
                                          const struct llmos_message *messages, size_t count)
{
    struct jinja_value list = jinja_list(s, ROW_LIST, count), variables = jinja_dict(s);

    for (size_t i = 0; i < count && s->rc == 0; i++) {
        const struct llmos_message *m = &messages[i];
        struct str content = {m->content_length ? m->content : "", m->content_length};
        struct jinja_value message = jinja_dict(s);

        jinja_set_name(s, message, "role", jinja_copy(s, str_of(m->role), false));
        jinja_set_name(s, message, "content", jinja_copy(s, content, true));
        jinja_append(s, list, message);
    }
    jinja_set_name(s, variables, "messages", list);
    return variables;
}

/* The roles of a conversation that was read are checked, and nobody's words any more. */
static void unsay_roles(struct jinja_store *s, struct jinja_value variables)
{
    const struct jinja_value *list =
        s->rc == 0 ? jinja_get_name(s, variables, STR("messages")) : NULL;

    if (s->rc < 0)
        return;
    if (!list || list->kind != JINJA_LIST || list->list->count == 0) {
        jinja_fail(s, LLMOS_EINVAL, "a conversation needs at least one message");
        return;
    }
    for (size_t i = 0; i < list->list->count && s->rc == 0; i++) {
        struct jinja_value *role = list->list->at[i].kind == JINJA_DICT
                                       ? jinja_get_name(s, list->list->at[i], STR("role"))
                                       : NULL;
        struct str text = STR("");

        if (role && role->kind == JINJA_STRING)
            text = (struct str){role->s->at, role->s->len};
        if (!role_of(text))
            jinja_fail(s, LLMOS_EINVAL, "message %zu has role '%.*s'" ROLES, i,
                       text.len > 64 ? 64 : (int)text.len, text.at);
        else
            *role = jinja_copy(s, str_of(role_of(text)), false);
    }
}

/* Bytes from `at` on that the template wrote. */
static size_t unsaid(struct jinja_str text, size_t at)
{
    const unsigned char *end = text.said ? memchr(text.said + at, 1, text.len - at) : NULL;

    return end ? (size_t)(end - text.said) - at : text.len - at;
}

/* The special token that the template wrote at `at`, -1 if there is none.  Of `room` bytes from
 * there nobody said one. */
static int32_t mark_at(const struct llmos_tokenizer *t, const char *at, size_t room)
{
    const int32_t known[] = {t->bos, t->eos};
    int32_t id = vocab_mark_at(t, at, room, VOCAB_ALL_MARKS);

    for (size_t i = 0; i < 2 && id < 0; i++) {
        struct str piece = known[i] >= 0 ? t->tokens[known[i]].piece : STR("");

        if (piece.len > 0 && str_starts((struct str){at, room}, piece))
            id = known[i];
    }
    return id;
}

/* Marks become their tokens; the text between two of them is tokenized in one piece, whoever its
 * parts came from. */
static int tokenize(const struct llmos_tokenizer *t, struct jinja_str text, struct token_sink *out,
                    struct llmos_error *err)
{
    size_t from = 0, at = 0, clean = 0; /* nobody said a byte from `at` to `clean` */
    bool after_control = true;
    int rc = 0;

    while (rc == 0 && at < text.len) {
        struct str whole = {text.at, text.len};
        struct mark_span span;
        int32_t id;

        if (at >= clean)
            clean = at + unsaid(text, at);
        id = clean > at ? mark_at(t, text.at + at, clean - at) : -1;
        if (id < 0 || t->tokens[id].kind == TOKEN_USER_DEFINED ||
            !tokenize_mark_span(t, id, whole, from, at, &span)) {
            at += id < 0 ? 1 : t->tokens[id].piece.len;
            continue;
        }
        rc = tokenize_marked(t, tokenize_between(whole, from, span.from), false, &after_control,
                             out, err);
        token_sink_put(out, id);
        after_control = true;
        from = span.to;
        at += t->tokens[id].piece.len;
    }
    if (rc == 0)
        rc = tokenize_marked(t, (struct str){text.at + from, text.len - from}, false,
                             &after_control, out, err);
    return rc;
}

/* Models that want a BOS get one, if the template does not write it. */
static void put_begin(const struct llmos_tokenizer *t, struct jinja_str text,
                      struct token_sink *out)
{
    struct str piece;

    if (!t->add_bos || t->bos < 0)
        return;
    piece = t->tokens[t->bos].piece;
    if (piece.len == 0 || unsaid(text, 0) < piece.len ||
        !str_starts((struct str){text.at, text.len}, piece))
        token_sink_put(out, t->bos);
}

static int put_tokens(const struct llmos_tokenizer *t, struct jinja_str text,
                      struct token_sink *out, struct llmos_error *err)
{
    put_begin(t, text, out);
    return tokenize(t, text, out, err);
}

long llmos_chat_tokenize(const llmos_tokenizer *t, const struct llmos_message *messages,
                         size_t count, int32_t *tokens, size_t room, struct llmos_error *err)
{
    struct token_sink out = {tokens, room, 0};
    struct jinja_store s;
    struct jinja_value variables;
    struct jinja_str text;
    int rc = check(messages, count, err);

    if (rc < 0)
        return rc;
    begin_store(&s, err);
    variables = conversation_of(&s, messages, count);
    set_defaults(&s, variables, t);
    rc = render(t->chat, &s, variables, &text);
    if (rc == 0)
        rc = put_tokens(t, text, &out, err);
    jinja_store_fini(&s);
    return rc < 0 ? rc : (long)out.count;
}

long llmos_chat_encode(const llmos_tokenizer *t, const char *json, size_t length, int32_t *tokens,
                       size_t room, struct llmos_error *err)
{
    struct token_sink out = {tokens, room, 0};
    struct jinja_store s;
    struct jinja_value variables;
    struct jinja_str text;
    int rc;

    begin_store(&s, err);
    variables = read_conversation(&s, (struct str){length ? json : "", length});
    unsay_roles(&s, variables);
    callshape_apply(&s, &t->chat->shape, variables);
    set_defaults(&s, variables, t);
    rc = render(t->chat, &s, variables, &text);
    if (rc == 0)
        rc = put_tokens(t, text, &out, err);
    jinja_store_fini(&s);
    return rc < 0 ? rc : (long)out.count;
}
