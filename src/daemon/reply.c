/* SPDX-License-Identifier: Apache-2.0 */
/* reply.c - see reply.h */
#include "daemon/reply.h"

#include "base/jsontext.h"

#include "net/sse.h"

/* --- log-probabilities ------------------------------------------------------------------------ */

enum { TOKENS, LOGPROBS, TOPS, OFFSETS };

void reply_logprobs_init(struct reply_logprobs *l, size_t limit_bytes)
{
    *l = (struct reply_logprobs){.count = 0};
    for (int i = 0; i < 4; i++)
        buf_init(&l->part[i], limit_bytes);
}

void reply_logprobs_fini(struct reply_logprobs *l)
{
    for (int i = 0; i < 4; i++)
        buf_fini(&l->part[i]);
}

void reply_logprobs_clear(struct reply_logprobs *l)
{
    for (int i = 0; i < 4; i++)
        buf_clear(&l->part[i]);
    l->count = 0;
    l->sum = 0;
}

bool reply_logprobs_bad(const struct reply_logprobs *l)
{
    return l->part[0].bad || l->part[1].bad || l->part[2].bad || l->part[3].bad;
}

/* "token": ..., "logprob": ..., "bytes": [...]: the token as text may hold a part of a character,
 * the bytes say which. */
static void put_token(struct buf *out, const struct message_logprob *p)
{
    buf_puts(out, "\"token\":");
    json_put_string(out, p->token);
    buf_puts(out, ",\"logprob\":");
    json_put_number(out, (double)p->logprob);
    buf_puts(out, ",\"bytes\":[");
    for (size_t i = 0; i < p->token.len; i++)
        buf_printf(out, "%s%u", i ? "," : "", (unsigned char)p->token.at[i]);
    buf_putc(out, ']');
}

static void add_chat(struct reply_logprobs *l, const struct message_token_logprobs *t)
{
    struct buf *out = &l->part[TOKENS];

    buf_puts(out, l->count ? ",{" : "{");
    put_token(out, &t->chosen);
    buf_puts(out, ",\"top_logprobs\":[");
    for (uint32_t i = 0; i < t->top_count; i++) {
        buf_puts(out, i ? ",{" : "{");
        put_token(out, &t->top[i]);
        buf_putc(out, '}');
    }
    buf_puts(out, "]}");
}

/* Two tokens may look the same once they are text (parts of characters do); a key must not come
 * twice, so the first, which is the more likely, stays. */
static bool is_repeated(const struct message_token_logprobs *t, uint32_t i)
{
    bool repeated = false;
    struct buf a, b;

    buf_init(&a, SIZE_MAX / 2);
    buf_init(&b, SIZE_MAX / 2);
    json_put_string(&a, t->top[i].token);
    for (uint32_t j = 0; j < i && !repeated; j++) {
        buf_clear(&b);
        json_put_string(&b, t->top[j].token);
        repeated = a.bad || b.bad || str_eq(buf_str(&a), buf_str(&b));
    }
    buf_fini(&a);
    buf_fini(&b);
    return repeated;
}

static void add_text(struct reply_logprobs *l, const struct message_token_logprobs *t)
{
    const char *comma = l->count ? "," : "";
    struct buf *tops = &l->part[TOPS];

    buf_puts(&l->part[TOKENS], comma);
    json_put_string(&l->part[TOKENS], t->chosen.token);
    buf_puts(&l->part[LOGPROBS], comma);
    json_put_number(&l->part[LOGPROBS], (double)t->chosen.logprob);
    buf_printf(&l->part[OFFSETS], "%s%u", comma, t->text_offset);
    buf_puts(tops, comma);
    buf_putc(tops, '{');
    for (uint32_t i = 0; i < t->top_count; i++) {
        if (is_repeated(t, i))
            continue;
        buf_puts(tops, i ? "," : "");
        json_put_string(tops, t->top[i].token);
        buf_putc(tops, ':');
        json_put_number(tops, (double)t->top[i].logprob);
    }
    buf_putc(tops, '}');
}

void reply_logprobs_add(struct reply_logprobs *l, bool is_chat, const struct message_text *t)
{
    for (uint32_t i = 0; i < t->logprob_count; i++) {
        if (is_chat)
            add_chat(l, &t->logprobs[i]);
        else
            add_text(l, &t->logprobs[i]);
        l->sum += (double)t->logprobs[i].chosen.logprob;
        l->count++;
    }
}

static void put_part(struct buf *out, const char *name, const struct buf *part)
{
    buf_printf(out, "\"%s\":[", name);
    buf_put(out, buf_str(part).at, part->len);
    buf_putc(out, ']');
}

static void put_logprobs(struct buf *out, bool is_chat, const struct reply_logprobs *l)
{
    buf_puts(out, "\"logprobs\":");
    if (!l) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '{');
    if (is_chat) {
        put_part(out, "content", &l->part[TOKENS]);
        buf_puts(out, ",\"refusal\":null}");
        return;
    }
    put_part(out, "tokens", &l->part[TOKENS]);
    buf_putc(out, ',');
    put_part(out, "token_logprobs", &l->part[LOGPROBS]);
    buf_putc(out, ',');
    put_part(out, "top_logprobs", &l->part[TOPS]);
    buf_putc(out, ',');
    put_part(out, "text_offset", &l->part[OFFSETS]);
    buf_putc(out, '}');
}

/* --- bodies ----------------------------------------------------------------------------------- */

static void put_head(struct buf *out, const struct reply_head *h, const char *object)
{
    buf_printf(out, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", h->id, object,
               (long long)h->created);
    json_put_string(out, h->model);
    buf_puts(out, ",\"choices\":[");
}

static void put_finish(struct buf *out, const char *finish)
{
    if (finish)
        buf_printf(out, ",\"finish_reason\":\"%s\"}", finish);
    else
        buf_puts(out, ",\"finish_reason\":null}");
}

static void put_usage(struct buf *out, const struct reply_usage *u)
{
    buf_printf(out,
               "\"usage\":{\"prompt_tokens\":%llu,\"completion_tokens\":%llu,\"total_tokens\":%llu,"
               "\"prompt_tokens_details\":{\"cached_tokens\":%llu}}",
               (unsigned long long)u->prompt_tokens, (unsigned long long)u->completion_tokens,
               (unsigned long long)(u->prompt_tokens + u->completion_tokens),
               (unsigned long long)u->cached_tokens);
}

void reply_begin(struct buf *out, const struct reply_head *h)
{
    put_head(out, h, h->is_chat ? "chat.completion" : "text_completion");
}

static void put_calls(struct buf *out, const struct reply_choice *c)
{
    buf_puts(out, ",\"tool_calls\":[");
    for (uint32_t i = 0; i < c->call_count; i++) {
        buf_printf(out,
                   "%s{\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", i ? "," : "",
                   c->calls[i].id);
        json_put_string(out, c->calls[i].name);
        buf_puts(out, ",\"arguments\":");
        json_put_string(out, c->calls[i].arguments);
        buf_puts(out, "}}");
    }
    buf_putc(out, ']');
}

static void put_message(struct buf *out, const struct reply_choice *c)
{
    buf_puts(out, "\"message\":{\"role\":\"assistant\",\"content\":");
    if (c->call_count && c->text.len == 0)
        buf_puts(out, "null");
    else
        json_put_string(out, c->text);
    buf_puts(out, ",\"refusal\":null");
    if (c->thought.len) {
        buf_puts(out, ",\"reasoning_content\":");
        json_put_string(out, c->thought);
    }
    if (c->call_count)
        put_calls(out, c);
    buf_puts(out, "},");
}

void reply_put_choice(struct buf *out, const struct reply_head *h, const struct reply_choice *c,
                      bool is_first)
{
    buf_printf(out, "%s{\"index\":%u,", is_first ? "" : ",", c->index);
    if (h->is_chat) {
        put_message(out, c);
    } else {
        buf_puts(out, "\"text\":");
        json_put_string(out, c->text);
        buf_putc(out, ',');
    }
    put_logprobs(out, h->is_chat, c->logprobs);
    put_finish(out, c->finish);
}

void reply_end(struct buf *out, const struct reply_usage *u)
{
    buf_puts(out, "],");
    put_usage(out, u);
    buf_puts(out, "}\n");
}

/* --- streams ---------------------------------------------------------------------------------- */

static const char *chunk_object(const struct reply_head *h)
{
    return h->is_chat ? "chat.completion.chunk" : "text_completion";
}

void reply_event_role(struct buf *out, const struct reply_head *h, uint32_t index)
{
    if (!h->is_chat)
        return;
    sse_begin(out);
    put_head(out, h, chunk_object(h));
    buf_printf(out,
               "{\"index\":%u,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
               "\"logprobs\":null,\"finish_reason\":null}]}",
               index);
    sse_end(out);
}

void reply_event_text(struct buf *out, const struct reply_head *h, const struct reply_choice *c)
{
    sse_begin(out);
    put_head(out, h, chunk_object(h));
    buf_printf(out, "{\"index\":%u,", c->index);
    if (!h->is_chat) {
        buf_puts(out, "\"text\":");
        json_put_string(out, c->text);
    } else if (c->text.len + c->thought.len > 0) {
        buf_puts(out,
                 c->text.len ? "\"delta\":{\"content\":" : "\"delta\":{\"reasoning_content\":");
        json_put_string(out, c->text.len ? c->text : c->thought);
        buf_putc(out, '}');
    } else {
        buf_puts(out, "\"delta\":{}");
    }
    buf_putc(out, ',');
    put_logprobs(out, h->is_chat, c->logprobs);
    put_finish(out, c->finish);
    buf_puts(out, "]}");
    sse_end(out);
}

void reply_event_call(struct buf *out, const struct reply_head *h, const struct reply_choice *c,
                      uint32_t number, const struct reply_call *piece)
{
    sse_begin(out);
    put_head(out, h, chunk_object(h));
    buf_printf(out, "{\"index\":%u,\"delta\":{\"tool_calls\":[{\"index\":%u,", c->index, number);
    if (piece->id[0]) {
        buf_printf(out, "\"id\":\"%s\",\"type\":\"function\",\"function\":{\"name\":", piece->id);
        json_put_string(out, piece->name);
        buf_putc(out, ',');
    } else {
        buf_puts(out, "\"function\":{");
    }
    buf_puts(out, "\"arguments\":");
    json_put_string(out, piece->arguments);
    buf_puts(out, "}}]},");
    put_logprobs(out, h->is_chat, c->logprobs);
    put_finish(out, NULL);
    buf_puts(out, "]}");
    sse_end(out);
}

void reply_event_usage(struct buf *out, const struct reply_head *h, const struct reply_usage *u)
{
    sse_begin(out);
    put_head(out, h, chunk_object(h));
    buf_puts(out, "],");
    put_usage(out, u);
    buf_putc(out, '}');
    sse_end(out);
}

void reply_event_done(struct buf *out)
{
    sse_put(out, STR("[DONE]"));
}

/* --- errors ----------------------------------------------------------------------------------- */

static void put_error(struct buf *out, const struct openai_fault *f)
{
    buf_puts(out, "{\"error\":{\"message\":");
    json_put_string(out, str_of(f->what.err.text));
    buf_puts(out, ",\"type\":");
    json_put_string(out, str_of(f->type));
    buf_puts(out, ",\"param\":");
    if (f->what.param[0])
        json_put_string(out, str_of(f->what.param));
    else
        buf_puts(out, "null");
    buf_puts(out, ",\"code\":");
    if (f->code)
        json_put_string(out, str_of(f->code));
    else
        buf_puts(out, "null");
    buf_puts(out, "}}");
}

void reply_error(struct buf *out, const struct openai_fault *fault)
{
    put_error(out, fault);
    buf_putc(out, '\n');
}

void reply_event_error(struct buf *out, const struct openai_fault *fault)
{
    sse_begin(out);
    put_error(out, fault);
    sse_end(out);
}
