/* SPDX-License-Identifier: Apache-2.0 */
/* vectorapi.c - see vectorapi.h */
#include "daemon/vectorapi.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "base/near.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_BYTES 256

struct parse {
    struct vectorapi_request *r;
    struct openai_fault *fault;
    const json_t *in;
    struct arena *arena;
    struct message_encode common;
};

/* --- fields ----------------------------------------------------------------------------------- */

enum { EMBED = 1, RERANK = 2, BOTH = 3 };

static const struct field {
    const char *name;
    unsigned where;
    bool is_used; /* else it changes nothing, and is named as ignored */
} fields[] = {
    {"model", BOTH, true},
    {"input", EMBED, true},
    {"encoding_format", EMBED, true},
    {"dimensions", EMBED, true},
    {"normalize", EMBED, true},
    {"truncate", BOTH, true},
    {"query", RERANK, true},
    {"documents", RERANK, true},
    {"top_n", RERANK, true},
    {"return_documents", RERANK, true},
    {"user", BOTH, false},
};

static int check_field(struct parse *p, const char *key)
{
    unsigned where = p->r->is_rerank ? RERANK : EMBED;
    struct near near = {.word = key};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (!(fields[i].where & where))
            continue;
        if (strcmp(fields[i].name, key) != 0) {
            near_offer(&near, fields[i].name);
            continue;
        }
        if (!fields[i].is_used)
            snprintf(p->r->ignored, sizeof(p->r->ignored), "%s", key);
        return 0;
    }
    if (near.best)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", key,
                          "unknown field '%s'; did you mean '%s'?", key, near.best);
    return json_fault(&p->fault->what, LLMOS_EINVAL, "", key, "unknown field '%s'", key);
}

static int check_fields(struct parse *p)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)p->in, key, value)
    {
        int rc = check_field(p, key);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static int no_memory(struct parse *p)
{
    return json_fault(&p->fault->what, LLMOS_ENOMEM, "", "", "no memory for the request");
}

static int keep(struct parse *p, struct str text, struct str *out)
{
    char *copy = arena_strndup(p->arena, text.at, text.len);

    if (!copy)
        return no_memory(p);
    *out = (struct str){copy, text.len};
    return 0;
}

static int keep_string(struct parse *p, const json_t *v, struct str *out)
{
    return keep(p, (struct str){json_string_value(v), json_string_length(v)}, out);
}

static int need_string(struct parse *p, const char *key, size_t max, struct str *out)
{
    struct str text;
    int rc = json_take_string(p->in, "", key, max, &text, &p->fault->what);

    if (rc < 0)
        return rc;
    if (rc == 0)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", key, "'%s' is missing", key);
    return keep(p, text, out);
}

/* A list that is not empty, with room for what is asked. */
static int make_asks(struct parse *p, const char *key, size_t count)
{
    struct vectorapi_request *r = p->r;

    if (count == 0)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", key, "'%s' is empty", key);
    if (count > VECTORAPI_TEXTS_MAX)
        return json_fault(&p->fault->what, LLMOS_ELIMIT, "", key,
                          "'%s' has %zu texts, at most %d are accepted", key, count,
                          VECTORAPI_TEXTS_MAX);
    r->asks = arena_array(p->arena, struct message_encode, count);
    if (!r->asks)
        return no_memory(p);
    for (size_t i = 0; i < count; i++)
        r->asks[i] = p->common;
    r->count = (uint32_t)count;
    return 0;
}

/* --- embeddings ------------------------------------------------------------------------------- */

static int set_tokens(struct parse *p, const json_t *array, struct message_encode *to)
{
    int32_t *tokens;
    int rc = openai_take_tokens(array, "input", p->arena, &tokens, &p->fault->what);

    if (rc < 0)
        return rc;
    to->input = ENCODE_TOKENS;
    to->tokens = tokens;
    to->count = (uint32_t)json_array_size(array);
    return 0;
}

static int set_input(struct parse *p, const json_t *v, struct message_encode *to)
{
    if (openai_is_tokens(v))
        return set_tokens(p, v, to);
    if (!json_is_string(v))
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "input",
                          "'input' must be a string, an array of strings, an array of token ids, "
                          "or an array of such arrays");
    if (json_string_length(v) == 0)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "input",
                          "'input' has an empty string");
    return keep_string(p, v, &to->text);
}

static int take_input(struct parse *p)
{
    const json_t *v = json_object_get(p->in, "input");
    bool is_list = json_is_array(v) && !openai_is_tokens(v);
    int rc;

    if (!v || json_is_null(v))
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "input", "'input' is missing");
    rc = make_asks(p, "input", is_list ? json_array_size(v) : 1);
    for (uint32_t i = 0; rc == 0 && i < p->r->count; i++)
        rc = set_input(p, is_list ? json_array_get(v, i) : v, &p->r->asks[i]);
    return rc;
}

static int take_format(struct parse *p)
{
    struct str format = {NULL, 0};
    int rc =
        json_take_string(p->in, "", "encoding_format", NAME_MAX_BYTES, &format, &p->fault->what);

    if (rc <= 0)
        return rc;
    p->r->is_base64 = str_is(format, "base64");
    if (!p->r->is_base64 && !str_is(format, "float"))
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "encoding_format",
                          "'encoding_format' must be 'float' or 'base64'");
    return 0;
}

static int take_embeddings(struct parse *p)
{
    struct json_fault *fault = &p->fault->what;
    int64_t dimensions = 0;
    int rc;

    p->common = (struct message_encode){.kind = ENCODE_EMBED, .normalizes = true};
    if (json_take_bool(p->in, "", "normalize", &p->common.normalizes, fault) < 0 ||
        json_take_bool(p->in, "", "truncate", &p->common.cuts, fault) < 0 ||
        json_take_integer(p->in, "", "dimensions", 1, MESSAGE_WIDTH_MAX, &dimensions, fault) < 0)
        return LLMOS_EINVAL;
    p->r->dimensions = (uint32_t)dimensions;
    rc = take_format(p);
    return rc < 0 ? rc : take_input(p);
}

/* --- ranks ------------------------------------------------------------------------------------ */

/* A string, or an object with one as `text`. */
static int set_document(struct parse *p, const json_t *v, size_t i, struct message_encode *to)
{
    const json_t *text = json_is_object(v) ? json_object_get(v, "text") : v;

    if (!json_is_string(text))
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "documents",
                          "'documents' has something that is no text at place %zu", i);
    return keep_string(p, text, &to->second);
}

static int take_rerank(struct parse *p)
{
    const json_t *documents = json_object_get(p->in, "documents");
    struct json_fault *fault = &p->fault->what;
    int64_t top = VECTORAPI_TEXTS_MAX;
    int rc;

    p->common = (struct message_encode){.kind = ENCODE_CLASSIFY, .input = ENCODE_PAIR};
    if (json_take_bool(p->in, "", "truncate", &p->common.cuts, fault) < 0 ||
        json_take_bool(p->in, "", "return_documents", &p->r->wants_documents, fault) < 0 ||
        json_take_integer(p->in, "", "top_n", 1, INT32_MAX, &top, fault) < 0)
        return LLMOS_EINVAL;
    rc = need_string(p, "query", FRAME_TO_ENGINE_MAX, &p->common.text);
    if (rc < 0)
        return rc;
    if (!json_is_array(documents))
        return json_fault(fault, LLMOS_EINVAL, "", "documents", "'documents' must be an array");
    rc = make_asks(p, "documents", json_array_size(documents));
    for (uint32_t i = 0; rc == 0 && i < p->r->count; i++)
        rc = set_document(p, json_array_get(documents, i), i, &p->r->asks[i]);
    p->r->top = top < p->r->count ? (uint32_t)top : p->r->count;
    return rc;
}

int vectorapi_parse(struct vectorapi_request *r, bool is_rerank, struct str body,
                    const struct json_limits *limits, struct arena *arena,
                    struct openai_fault *fault)
{
    struct vectorapi_request made = {.is_rerank = is_rerank};
    struct parse p = {.r = &made, .fault = fault, .arena = arena};
    json_t *in = NULL;
    int rc;

    *fault = (struct openai_fault){0};
    rc = json_parse(&in, body, limits, &fault->what.err);
    if (rc < 0)
        rc = fail_while(&fault->what.err, rc, "the body is not JSON that this server accepts");
    else if (!json_is_object(in))
        rc = json_fault(&fault->what, LLMOS_EINVAL, "", "",
                        "the body must be a JSON object, not %s", json_kind(in));
    p.in = in;
    if (rc == 0)
        rc = check_fields(&p);
    if (rc == 0)
        rc = need_string(&p, "model", NAME_MAX_BYTES, &made.model);
    if (rc == 0)
        rc = is_rerank ? take_rerank(&p) : take_embeddings(&p);
    json_decref(in);
    if (rc < 0)
        openai_fault_of(fault, rc);
    else
        *r = made;
    return rc;
}

/* --- replies ---------------------------------------------------------------------------------- */

/* The floats as they lie in memory, little-endian, in base64 (RFC 4648). */
static void put_base64(struct buf *out, const float *values, uint32_t width)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = (const unsigned char *)values;
    size_t n = (size_t)width * sizeof(float);

    buf_putc(out, '"');
    for (size_t i = 0; i < n; i += 3) {
        uint32_t three = (uint32_t)at[i] << 16 | (i + 1 < n ? (uint32_t)at[i + 1] << 8 : 0) |
                         (i + 2 < n ? at[i + 2] : 0);
        const char four[4] = {letters[three >> 18], letters[three >> 12 & 63],
                              i + 1 < n ? letters[three >> 6 & 63] : '=',
                              i + 2 < n ? letters[three & 63] : '='};

        buf_put(out, four, 4);
    }
    buf_putc(out, '"');
}

static void put_vector(struct buf *out, const float *values, uint32_t width, bool is_base64)
{
    if (is_base64) {
        put_base64(out, values, width);
        return;
    }
    buf_putc(out, '[');
    for (uint32_t i = 0; i < width; i++) {
        if (i)
            buf_putc(out, ',');
        json_put_float(out, values[i]);
    }
    buf_putc(out, ']');
}

static void put_embeddings(struct buf *out, const struct vectorapi_request *r,
                           const struct vectorapi_answer *answers, uint32_t width)
{
    buf_puts(out, "\"data\":[");
    for (uint32_t i = 0; i < r->count && !out->bad; i++) {
        buf_printf(out, "%s{\"object\":\"embedding\",\"index\":%u,\"embedding\":", i ? "," : "", i);
        put_vector(out, answers[i].values, width, r->is_base64);
        buf_putc(out, '}');
    }
    buf_puts(out, "],");
}

struct rank {
    float score;
    uint32_t index;
};

static int by_score(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void put_ranks(struct buf *out, const struct vectorapi_request *r,
                      const struct vectorapi_answer *answers)
{
    struct rank ranks[VECTORAPI_TEXTS_MAX];

    for (uint32_t i = 0; i < r->count; i++)
        ranks[i] = (struct rank){answers[i].values[0], i};
    qsort(ranks, r->count, sizeof(ranks[0]), by_score);
    buf_puts(out, "\"results\":[");
    for (uint32_t i = 0; i < r->top; i++) {
        buf_printf(out, "%s{\"index\":%u,\"relevance_score\":", i ? "," : "", ranks[i].index);
        json_put_number(out, 1 / (1 + exp(-(double)ranks[i].score)));
        if (r->wants_documents) {
            buf_puts(out, ",\"document\":{\"text\":");
            json_put_string(out, r->asks[ranks[i].index].second);
            buf_putc(out, '}');
        }
        buf_putc(out, '}');
    }
    buf_puts(out, "],");
}

void vectorapi_reply(struct buf *out, const struct vectorapi_request *r,
                     const struct vectorapi_answer *answers, uint32_t width)
{
    unsigned long long tokens = 0;

    for (uint32_t i = 0; i < r->count; i++)
        tokens += answers[i].tokens;
    buf_puts(out, "{\"object\":\"list\",");
    if (r->is_rerank)
        put_ranks(out, r, answers);
    else
        put_embeddings(out, r, answers, width);
    buf_puts(out, "\"model\":");
    json_put_string(out, r->model);
    buf_printf(out, ",\"usage\":{\"prompt_tokens\":%llu,\"total_tokens\":%llu}}\n", tokens, tokens);
}
