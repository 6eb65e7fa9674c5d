/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - see stream.h */
#include "stream.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define BODY_MAX  (64u << 20) /* 100 000 tokens in chunks of 600 bytes */
#define MARKS_MAX (64u << 20)

void stream_init(struct stream *s)
{
    buf_init(&s->bytes, BODY_MAX);
    buf_init(&s->marks, MARKS_MAX);
}

void stream_fini(struct stream *s)
{
    buf_fini(&s->bytes);
    buf_fini(&s->marks);
}

void stream_clear(struct stream *s)
{
    buf_clear(&s->bytes);
    buf_clear(&s->marks);
}

bool stream_take(struct stream *s, const void *bytes, size_t n, uint64_t ns)
{
    struct stream_mark mark;

    buf_put(&s->bytes, bytes, n);
    mark = (struct stream_mark){s->bytes.len, ns};
    buf_put(&s->marks, &mark, sizeof(mark));
    return !s->bytes.bad && !s->marks.bad;
}

/* When the byte before `end` had come; *at only goes forward. */
static uint64_t time_of(const struct stream *s, size_t end, size_t *at)
{
    struct stream_mark mark;

    for (;; (*at)++) {
        memcpy(&mark, s->marks.at + *at * sizeof(mark), sizeof(mark));
        if (mark.end >= end)
            return mark.ns;
    }
}

static uint64_t count_in(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));

    return n > 0 ? (uint64_t)n : 0;
}

static void read_usage(const json_t *usage, struct stream_told *told)
{
    if (!json_is_object(usage))
        return;
    told->has_usage = true;
    told->tokens = count_in(usage, "completion_tokens");
    told->prompt_tokens = count_in(usage, "prompt_tokens");
    told->cached_tokens =
        count_in(json_object_get(usage, "prompt_tokens_details"), "cached_tokens");
}

/* A chunk with text is a token or several; one without is a token that has none (a control token,
 * half a character), unless it only says why the answer ends. */
static bool is_token(const json_t *choice, struct stream_told *told)
{
    const json_t *text = json_object_get(choice, "text");
    const char *finish = json_string_value(json_object_get(choice, "finish_reason"));

    if (finish)
        snprintf(told->finish, sizeof(told->finish), "%s", finish);
    return json_is_string(text) && (json_string_length(text) || !finish);
}

static void count_chunk(struct stream_told *told, uint64_t ns, struct buf *gaps_ms)
{
    double gap = (double)(ns - told->last_ns) * 1e-6;

    if (told->chunks++ == 0)
        told->first_ns = ns;
    else
        buf_put(gaps_ms, &gap, sizeof(gap));
    told->last_ns = ns;
}

static int read_event(struct str data, uint64_t ns, struct stream_told *told, struct buf *gaps_ms,
                      struct llmos_error *err)
{
    const json_t *error, *choice;
    json_error_t why;
    /* A model that says what comes into its head may say U+0000, which json_parse refuses. */
    json_t *event = json_loadb(data.at, data.len, JSON_ALLOW_NUL, &why);
    int rc = 0;

    if (!event)
        return fail(err, LLMOS_EFORMAT, "an event of the stream is no JSON: %s", why.text);
    error = json_object_get(event, "error");
    if (error) {
        const char *says = json_string_value(json_object_get(error, "message"));

        rc = fail(err, LLMOS_EIO, "the server says: %s", says ? says : "an error without words");
    }
    choice = json_array_get(json_object_get(event, "choices"), 0);
    if (choice && is_token(choice, told))
        count_chunk(told, ns, gaps_ms);
    read_usage(json_object_get(event, "usage"), told);
    json_decref(event);
    return rc;
}

int stream_read(const struct stream *s, struct stream_told *told, struct buf *gaps_ms,
                struct llmos_error *err)
{
    struct str rest = buf_str(&s->bytes);
    size_t mark = 0;

    *told = (struct stream_told){.tokens = 0};
    for (;;) {
        const char *end = memchr(rest.at, '\n', rest.len);
        struct str line = {rest.at, end ? (size_t)(end - rest.at) : 0};
        int rc;

        if (!end)
            return fail(err, LLMOS_EFORMAT, "the stream of %zu bytes ended without [DONE]",
                        s->bytes.len);
        rest.len -= line.len + 1;
        rest.at = end + 1;
        if (line.len && line.at[line.len - 1] == '\r')
            line.len--;
        if (!str_starts(line, STR("data:"))) /* blank, a comment, another field */
            continue;
        line.at += 5;
        line.len -= 5;
        if (str_starts(line, STR(" "))) {
            line.at++;
            line.len--;
        }
        if (str_is(line, "[DONE]"))
            break;
        rc = read_event(line, time_of(s, (size_t)(rest.at - s->bytes.at), &mark), told, gaps_ms,
                        err);
        if (rc < 0)
            return rc;
    }
    if (!told->has_usage)
        told->tokens = told->chunks;
    return buf_check(gaps_ms, "the times", err);
}
