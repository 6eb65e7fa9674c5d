/* SPDX-License-Identifier: Apache-2.0 */
/* openai.c - see openai.h */
#include "daemon/openai.h"

#include "base/mem.h"
#include "base/near.h"
#include "daemon/conversation.h"
#include "daemon/form.h"

#include <stdio.h>
#include <stdlib.h>

#define NAME_MAX_BYTES  256
#define TEMPERATURE_MAX 2.0
#define TOP_K_MAX       1000000
#define MAX_TOKENS_MAX  (1 << 24)
#define PENALTY_MAX     10.0 /* of repeat_penalty; beyond 2 nothing sensible is left */
#define PENALTY_MIN     0.01
#define REPEAT_LAST_MAX 65536
#define TOP_OLD_MAX     5    /* logprobs of /v1/completions */
#define DEFAULT_TOKENS  16   /* of /v1/completions, as the dialect says */
#define TOP_P_LEAST     1e-6 /* top_p 0 keeps the one most likely token, as this does */

struct parse {
    struct openai_request *r;
    struct openai_fault *fault;
    const json_t *in;
    struct arena *arena;
    const struct openai_models *models;
    const struct thought_format *thoughts; /* of the model */
    struct message_generate common;
};

/* --- faults ----------------------------------------------------------------------------------- */

void openai_fault_of(struct openai_fault *fault, int code)
{
    fault->status = 400;
    fault->type = "invalid_request_error";
    fault->code = NULL;
    switch (code) {
    case LLMOS_EINVAL:
    case LLMOS_EFORMAT:
    case LLMOS_ELIMIT:
        break;
    case LLMOS_EUNSUPPORTED:
        fault->code = "unsupported_parameter";
        break;
    case LLMOS_ECONTEXT:
        fault->code = "context_length_exceeded";
        break;
    case LLMOS_ENOTFOUND:
        fault->status = 404;
        fault->code = "model_not_found";
        break;
    case LLMOS_EBUSY:
        fault->status = 429;
        fault->type = "rate_limit_error";
        fault->code = "rate_limit_exceeded";
        break;
    case LLMOS_ECLOSED:
        fault->status = 503;
        fault->type = "server_error";
        fault->code = "model_unavailable";
        break;
    case LLMOS_ENOMEM:
        fault->status = 503;
        fault->type = "server_error";
        fault->code = "out_of_memory";
        break;
    default:
        fault->status = 500;
        fault->type = "server_error";
        fault->code = "internal_error";
        break;
    }
}

static int no_memory(struct parse *p)
{
    return json_fault(&p->fault->what, LLMOS_ENOMEM, "", "", "no memory for the request");
}

/* --- fields that are not ours ----------------------------------------------------------------- */

static bool is_neutral_empty(const json_t *v)
{
    return (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

static bool is_word(const json_t *v, const char *word)
{
    return json_is_string(v) && strcmp(json_string_value(v), word) == 0;
}

static bool is_neutral_choice(const json_t *v)
{
    return is_word(v, "none") || is_word(v, "auto");
}

static bool is_neutral_modalities(const json_t *v)
{
    return json_is_array(v) && json_array_size(v) == 1 && is_word(json_array_get(v, 0), "text");
}

static bool is_neutral_verbosity(const json_t *v)
{
    return is_word(v, "medium");
}

static bool is_neutral_false(const json_t *v)
{
    return json_is_false(v);
}

static bool is_never_neutral(const json_t *v)
{
    (void)v;
    return false;
}

enum { CHAT = 1, TEXT = 2, BOTH = 3 };

struct field {
    const char *name;
    unsigned where;
    bool is_used;                        /* read below */
    bool (*is_neutral)(const json_t *v); /* NULL: any value is harmless; else others are errors */
};

static const struct field fields[] = {
    {"model", BOTH, true, NULL},
    {"messages", CHAT, true, NULL}, /* these two are read by conversation.c */
    {"chat_template_kwargs", CHAT, true, NULL},
    {"prompt", TEXT, true, NULL},
    {"max_tokens", BOTH, true, NULL},
    {"max_completion_tokens", CHAT, true, NULL},
    {"temperature", BOTH, true, NULL},
    {"top_p", BOTH, true, NULL},
    {"top_k", BOTH, true, NULL},
    {"min_p", BOTH, true, NULL},
    {"repeat_penalty", BOTH, true, NULL},
    {"repetition_penalty", BOTH, true, NULL},
    {"repeat_last", BOTH, true, NULL},
    {"frequency_penalty", BOTH, true, NULL},
    {"presence_penalty", BOTH, true, NULL},
    {"logit_bias", BOTH, true, NULL},
    {"logprobs", BOTH, true, NULL},
    {"top_logprobs", CHAT, true, NULL},
    {"n", BOTH, true, NULL},
    {"best_of", TEXT, true, NULL},
    {"echo", TEXT, true, NULL},
    {"stop", BOTH, true, NULL},
    {"seed", BOTH, true, NULL},
    {"stream", BOTH, true, NULL},
    {"stream_options", BOTH, true, NULL},
    {"ignore_eos", BOTH, true, NULL},
    {"response_format", BOTH, true, NULL}, /* these are read by form.c */
    {"grammar", BOTH, true, NULL},
    {"json_schema", BOTH, true, NULL},
    {"guided_json", BOTH, true, NULL},
    {"guided_regex", BOTH, true, NULL},
    {"guided_choice", BOTH, true, NULL},
    {"guided_grammar", BOTH, true, NULL},
    {"structured_outputs", BOTH, true, NULL},
    {"suffix", TEXT, false, is_neutral_empty},
    {"tools", CHAT, true, NULL}, /* these three by tools.c */
    {"tool_choice", CHAT, true, NULL},
    {"parallel_tool_calls", CHAT, true, NULL},
    {"functions", CHAT, false, is_neutral_empty},
    {"function_call", CHAT, false, is_neutral_choice},
    {"modalities", CHAT, false, is_neutral_modalities},
    {"audio", CHAT, false, is_never_neutral},
    {"reasoning_effort", CHAT, true, NULL}, /* by conversation.c */
    {"enable_thinking", CHAT, true, NULL},
    {"reasoning_format", CHAT, true, NULL},
    {"include_reasoning", CHAT, true, NULL},
    {"verbosity", CHAT, false, is_neutral_verbosity},
    {"web_search_options", CHAT, false, is_never_neutral},
    {"moderation", CHAT, false, is_never_neutral},
    {"store", CHAT, false, is_neutral_false},
    {"prediction", CHAT, false, NULL}, /* a hint for speed; the answer is the same without */
    {"metadata", CHAT, false, NULL},
    {"user", BOTH, false, NULL},
    {"safety_identifier", CHAT, false, NULL},
    {"prompt_cache_key", CHAT, false, NULL},
    {"prompt_cache_options", CHAT, false, NULL},
    {"prompt_cache_retention", CHAT, false, NULL},
    {"service_tier", CHAT, false, NULL},
};

static void ignore(struct parse *p, const char *name)
{
    char *list = p->r->ignored;
    size_t n = strlen(list);

    if (!strstr(list, name) && n + strlen(name) + 3 < sizeof(p->r->ignored))
        snprintf(list + n, sizeof(p->r->ignored) - n, "%s%s", n ? ", " : "", name);
}

static int unknown_field(struct parse *p, const char *key, unsigned where)
{
    struct near near = {.word = key};

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (fields[i].where & where)
            near_offer(&near, fields[i].name);
    if (near.best)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", key,
                          "unknown field '%s'; did you mean '%s'?", key, near.best);
    return json_fault(&p->fault->what, LLMOS_EINVAL, "", key, "unknown field '%s'", key);
}

static int check_field(struct parse *p, const char *key, const json_t *value)
{
    unsigned where = p->r->is_chat ? CHAT : TEXT;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        const struct field *f = &fields[i];

        if (!(f->where & where) || strcmp(f->name, key) != 0)
            continue;
        if (f->is_used || json_is_null(value))
            return 0;
        if (f->is_neutral && !f->is_neutral(value))
            return json_fault(&p->fault->what, LLMOS_EUNSUPPORTED, "", key,
                              "'%s' with this value is not supported", key);
        ignore(p, f->name);
        return 0;
    }
    return unknown_field(p, key, where);
}

static int check_fields(struct parse *p)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)p->in, key, value)
    {
        int rc = check_field(p, key, value);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* --- fields that are ours --------------------------------------------------------------------- */

static int take_f32(struct parse *p, const char *key, double min, double max, float *out)
{
    double v;
    int rc = json_take_number(p->in, "", key, min, max, &v, &p->fault->what);

    if (rc == 1)
        *out = (float)v;
    return rc;
}

static int take_u32(struct parse *p, const char *key, int64_t min, int64_t max, uint32_t *out)
{
    int64_t v;
    int rc = json_take_integer(p->in, "", key, min, max, &v, &p->fault->what);

    if (rc == 1)
        *out = (uint32_t)v;
    return rc;
}

static int take_sampling(struct parse *p)
{
    struct message_generate *g = &p->common;
    struct json_fault *fault = &p->fault->what;
    int64_t seed = 0;
    int rc;

    if (take_f32(p, "temperature", 0, TEMPERATURE_MAX, &g->temperature) < 0 ||
        take_f32(p, "top_p", 0, 1, &g->top_p) < 0 ||
        take_u32(p, "top_k", 0, TOP_K_MAX, &g->top_k) < 0 ||
        take_f32(p, "min_p", 0, 1, &g->min_p) < 0 ||
        take_f32(p, "repetition_penalty", PENALTY_MIN, PENALTY_MAX, &g->repeat_penalty) < 0 ||
        take_f32(p, "repeat_penalty", PENALTY_MIN, PENALTY_MAX, &g->repeat_penalty) < 0 ||
        take_u32(p, "repeat_last", 0, REPEAT_LAST_MAX, &g->repeat_last) < 0 ||
        take_f32(p, "presence_penalty", -2, 2, &g->presence_penalty) < 0 ||
        take_f32(p, "frequency_penalty", -2, 2, &g->frequency_penalty) < 0 ||
        json_take_bool(p->in, "", "ignore_eos", &g->ignore_eos, fault) < 0)
        return LLMOS_EINVAL;
    if (g->top_p < (float)TOP_P_LEAST)
        g->top_p = (float)TOP_P_LEAST;
    rc = json_take_integer(p->in, "", "seed", INT64_MIN, INT64_MAX, &seed, fault);
    g->seed = (uint64_t)seed;
    p->r->has_seed = rc == 1;
    return rc < 0 ? rc : 0;
}

static int take_max_tokens(struct parse *p)
{
    uint32_t old = 0, new = 0;

    if (take_u32(p, "max_tokens", 1, MAX_TOKENS_MAX, &old) < 0 ||
        take_u32(p, "max_completion_tokens", 1, MAX_TOKENS_MAX, &new) < 0)
        return LLMOS_EINVAL;
    if (old && new &&old != new)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "max_tokens",
                          "'max_tokens' and 'max_completion_tokens' differ; give one of them");
    p->common.max_tokens = new ? new : old ? old : p->r->is_chat ? 0 : DEFAULT_TOKENS;
    return 0;
}

static int take_counts(struct parse *p)
{
    struct openai_request *r = p->r;
    int rc;

    r->n = 1;
    if (take_u32(p, "n", 1, OPENAI_CHOICES_MAX, &r->n) < 0)
        return LLMOS_EINVAL;
    r->best_of = r->n;
    if (r->is_chat)
        return 0;
    rc = take_u32(p, "best_of", 1, 20, &r->best_of);
    if (rc < 0)
        return rc;
    if (r->best_of < r->n)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "best_of",
                          "'best_of' is %u, which is less than 'n', %u", r->best_of, r->n);
    if (r->best_of > r->n && r->is_stream)
        return json_fault(&p->fault->what, LLMOS_EUNSUPPORTED, "", "best_of",
                          "'best_of' above 'n' cannot be streamed");
    p->common.want_logprob |= r->best_of > r->n;
    return 0;
}

static int take_logprobs(struct parse *p)
{
    struct openai_request *r = p->r;
    struct message_generate *g = &p->common;
    int rc;

    if (!r->is_chat) {
        rc = take_u32(p, "logprobs", 0, TOP_OLD_MAX, &g->top_logprobs);
        r->want_logprobs = rc == 1;
        g->want_logprob |= r->want_logprobs;
        return rc < 0 ? rc : 0;
    }
    if (json_take_bool(p->in, "", "logprobs", &r->want_logprobs, &p->fault->what) < 0)
        return LLMOS_EINVAL;
    g->want_logprob |= r->want_logprobs;
    rc = take_u32(p, "top_logprobs", 0, MESSAGE_TOP_MAX, &g->top_logprobs);
    if (rc == 1 && !r->want_logprobs && g->top_logprobs > 0)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "top_logprobs",
                          "'top_logprobs' needs 'logprobs': true");
    return rc < 0 ? rc : 0;
}

static int take_stream(struct parse *p)
{
    static const char prefix[] = "stream_options.";
    const json_t *options = json_object_get(p->in, "stream_options");
    struct json_fault *fault = &p->fault->what;
    const char *key;
    json_t *value;
    bool hint;

    if (json_take_bool(p->in, "", "stream", &p->r->is_stream, fault) < 0)
        return LLMOS_EINVAL;
    if (!options || json_is_null(options))
        return 0;
    if (!json_is_object(options))
        return json_fault(fault, LLMOS_EINVAL, "", "stream_options",
                          "'stream_options' must be an object, not %s", json_kind(options));
    if (!p->r->is_stream)
        return json_fault(fault, LLMOS_EINVAL, "", "stream_options",
                          "'stream_options' needs 'stream': true");
    json_object_foreach((json_t *)(uintptr_t)options, key, value)
    {
        if (strcmp(key, "include_obfuscation") == 0)
            ignore(p, "stream_options.include_obfuscation");
        else if (strcmp(key, "include_usage") != 0)
            return json_fault(fault, LLMOS_EINVAL, prefix, key, "unknown field '%s%s'", prefix,
                              key);
    }
    return json_take_bool(options, prefix, "include_obfuscation", &hint, fault) < 0
               ? LLMOS_EINVAL
               : json_take_bool(options, prefix, "include_usage", &p->r->include_usage, fault);
}

/* A copy in the arena. */
static int keep(struct parse *p, const json_t *string, struct str *out)
{
    size_t n = json_string_length(string);
    char *copy = arena_strndup(p->arena, json_string_value(string), n);

    if (!copy)
        return no_memory(p);
    *out = (struct str){copy, n};
    return 0;
}

static int take_one_stop(struct parse *p, const json_t *v)
{
    struct message_generate *g = &p->common;
    size_t n = json_string_length(v);

    if (!json_is_string(v) || n == 0 || n > MESSAGE_STOP_BYTES_MAX)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "stop",
                          "'stop' must be a string of 1 to %d bytes or an array of such strings",
                          MESSAGE_STOP_BYTES_MAX);
    if (g->stop_count == MESSAGE_STOPS_MAX)
        return json_fault(&p->fault->what, LLMOS_ELIMIT, "", "stop",
                          "'stop' has more than %d strings", MESSAGE_STOPS_MAX);
    return keep(p, v, &g->stops[g->stop_count++]);
}

static int take_stops(struct parse *p)
{
    const json_t *stop = json_object_get(p->in, "stop");
    const json_t *one;
    size_t i;

    if (!stop || json_is_null(stop))
        return 0;
    if (!json_is_array(stop))
        return take_one_stop(p, stop);
    json_array_foreach(stop, i, one)
    {
        int rc = take_one_stop(p, one);

        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The answer's grammar begins behind the thought of a model that thinks. */
static int keep_grammar(struct parse *p, const struct buf *grammar, bool is_content,
                        const char *what)
{
    CLEANUP(buf) struct buf all = {.limit_bytes = MESSAGE_GRAMMAR_BYTES_MAX};
    char *copy;

    if (p->common.ignore_eos)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "ignore_eos",
                          "'ignore_eos' and %s exclude each other: it says where the answer ends",
                          what);
    if (p->thoughts) {
        thought_put_grammar(p->thoughts, buf_str(grammar), is_content, &all);
        if (buf_check(&all, "the grammar of the answer", &p->fault->what.err) < 0)
            return json_fault(&p->fault->what, p->fault->what.err.code, "", "",
                              "%s: the grammar has more than 1 MiB", what);
        grammar = &all;
    }
    copy = arena_strndup(p->arena, grammar->at, grammar->len);
    if (!copy)
        return no_memory(p);
    p->common.grammar = (struct str){copy, grammar->len};
    return 0;
}

static void add_mark(struct parse *p, const char *mark)
{
    struct message_generate *g = &p->common;

    if (g->mark_count < MESSAGE_MARKS_MAX)
        g->marks[g->mark_count++] = str_of(mark);
}

/* How the model thinks, and whether it is told. */
static int take_thoughts(struct parse *p)
{
    static const char *const formats[] = {"auto", "deepseek", "none"};
    const json_t *format = json_object_get(p->in, "reasoning_format");
    bool is_included = true, is_known = !format || json_is_null(format);
    const struct thought_format *f;

    if (!p->r->is_chat)
        return 0;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        is_known |= is_word(format, formats[i]);
    if (!is_known)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "reasoning_format",
                          "'reasoning_format' must be auto, deepseek or none");
    if (json_take_bool(p->in, "", "include_reasoning", &is_included, &p->fault->what) < 0)
        return LLMOS_EINVAL;
    f = p->thoughts = p->models->thought_format(p->models->owner, p->r->model);
    if (!f)
        return 0;
    p->r->hides_thoughts = !is_included;
    /* Messages must be taken apart in any case. */
    p->r->thoughts = is_word(format, "none") && !f->is_messages ? NULL : f;
    thought_ask(f, &p->common);
    return 0;
}

static int take_form(struct parse *p)
{
    CLEANUP(buf) struct buf grammar = {.limit_bytes = MESSAGE_GRAMMAR_BYTES_MAX};
    int rc = form_take(p->in, &grammar, &p->fault->what);

    return rc <= 0 ? rc : keep_grammar(p, &grammar, true, "a form of the answer");
}

/* A token id written as an object key: digits, nothing else. */
static bool token_of(const char *key, int32_t *token)
{
    int64_t v = 0;

    if (!key[0] || strlen(key) > 10)
        return false;
    for (const char *c = key; *c; c++) {
        if (*c < '0' || *c > '9')
            return false;
        v = v * 10 + (*c - '0');
    }
    *token = (int32_t)v;
    return v <= INT32_MAX;
}

static int take_bias(struct parse *p)
{
    static const char prefix[] = "logit_bias.";
    json_t *map = json_object_get(p->in, "logit_bias");
    struct message_generate *g = &p->common;
    const char *key;
    json_t *value;
    size_t count;

    if (!map || json_is_null(map))
        return 0;
    count = json_object_size(map);
    if (!json_is_object(map) || count > MESSAGE_BIAS_MAX)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "logit_bias",
                          "'logit_bias' must be an object with at most %d token ids",
                          MESSAGE_BIAS_MAX);
    g->bias = arena_calloc(p->arena, count ? count : 1, sizeof(*g->bias));
    if (!g->bias)
        return no_memory(p);
    json_object_foreach(map, key, value)
    {
        double bias = 0;
        int32_t token;

        if (!token_of(key, &token))
            return json_fault(&p->fault->what, LLMOS_EINVAL, prefix, key,
                              "'logit_bias' has the key '%s', which is no token id", key);
        if (json_take_number(map, prefix, key, -100, 100, &bias, &p->fault->what) < 0)
            return LLMOS_EINVAL;
        g->bias[g->bias_count].token = token;
        g->bias[g->bias_count++].bias = (float)bias;
    }
    return 0;
}

/* --- prompts ---------------------------------------------------------------------------------- */

bool openai_is_tokens(const json_t *v)
{
    return json_is_array(v) && json_is_number(json_array_get(v, 0));
}

int openai_take_tokens(const json_t *array, const char *key, struct arena *arena, int32_t **tokens,
                       struct json_fault *fault)
{
    size_t count = json_array_size(array), i;
    int32_t *ids = arena_array(arena, int32_t, count ? count : 1);
    const json_t *one;

    if (!ids)
        return fail(&fault->err, LLMOS_ENOMEM, "no memory for %zu tokens", count);
    json_array_foreach(array, i, one)
    {
        if (!json_is_integer(one) || json_integer_value(one) < 0 ||
            json_integer_value(one) > INT32_MAX)
            return json_fault(fault, LLMOS_EINVAL, "", key,
                              "'%s' has something that is no token id at place %zu", key, i);
        ids[i] = (int32_t)json_integer_value(one);
    }
    *tokens = ids;
    return 0;
}

static int set_tokens(struct parse *p, const json_t *array, struct message_generate *g)
{
    int32_t *tokens;
    int rc = openai_take_tokens(array, "prompt", p->arena, &tokens, &p->fault->what);

    if (rc < 0)
        return rc;
    g->prompt_kind = PROMPT_TOKENS;
    g->tokens = tokens;
    g->count = (uint32_t)json_array_size(array);
    return 0;
}

static int set_prompt(struct parse *p, const json_t *v, struct message_generate *g)
{
    static const char wanted[] =
        "'prompt' must be a string, an array of strings, an array of token "
        "ids, or an array of such arrays";

    if (json_is_string(v) && json_string_length(v) == 0)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "prompt", "'prompt' is empty");
    if (openai_is_tokens(v))
        return set_tokens(p, v, g);
    if (!json_is_string(v))
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "prompt", "%s", wanted);
    g->prompt_kind = PROMPT_TEXT;
    return keep(p, v, &g->text);
}

static int take_prompts(struct parse *p)
{
    const json_t *v = json_object_get(p->in, "prompt");
    bool is_list = json_is_array(v) && !openai_is_tokens(v);
    size_t count = is_list ? json_array_size(v) : 1;
    struct openai_request *r = p->r;

    if (!v || json_is_null(v))
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "prompt", "'prompt' is missing");
    if (count == 0)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "prompt", "'prompt' is empty");
    if (count * r->best_of > OPENAI_CHOICES_MAX)
        return json_fault(&p->fault->what, LLMOS_ELIMIT, "", "prompt",
                          "%zu prompts with %u answers each, together at most %d are accepted",
                          count, r->best_of, OPENAI_CHOICES_MAX);
    r->prompts = arena_array(p->arena, struct message_generate, count);
    if (!r->prompts)
        return no_memory(p);
    for (size_t i = 0; i < count; i++) {
        int rc;

        r->prompts[i] = p->common;
        rc = set_prompt(p, is_list ? json_array_get(v, i) : v, &r->prompts[i]);
        if (rc < 0)
            return rc;
    }
    r->prompt_count = (uint32_t)count;
    return 0;
}

static int keep_conversation(struct parse *p, const struct tools *tools)
{
    struct openai_request *r = p->r;
    CLEANUP(buf) struct buf text = {.limit_bytes = FRAME_TO_ENGINE_MAX};
    int rc = conversation_take(p->in, tools, &text, &p->fault->what);
    char *copy;

    if (rc < 0)
        return rc;
    r->prompts = arena_array(p->arena, struct message_generate, 1);
    copy = arena_strndup(p->arena, text.at, text.len);
    if (!r->prompts || !copy)
        return no_memory(p);
    r->prompts[0] = p->common;
    r->prompts[0].prompt_kind = PROMPT_CHAT;
    r->prompts[0].text = (struct str){copy, text.len};
    r->prompt_count = 1;
    return 0;
}

/* What the answer must be, and how it is read. */
static int prepare_calls(struct parse *p, struct tools *tools)
{
    CLEANUP(buf) struct buf grammar = {.limit_bytes = MESSAGE_GRAMMAR_BYTES_MAX};
    struct message_generate *g = &p->common;
    int rc;

    if (g->grammar.len)
        return json_fault(&p->fault->what, LLMOS_EUNSUPPORTED, "", "tools",
                          "'tools' and a form of the answer exclude each other; with "
                          "'tool_choice': 'none' there may be both");
    rc = tools_put_grammar(tools, p->thoughts && p->thoughts->is_messages, &grammar,
                           &p->fault->what);
    if (rc == 0 && grammar.len)
        rc = keep_grammar(p, &grammar, false, "functions that may be called");
    if (rc < 0)
        return rc;
    if (tools->unkept[0])
        ignore(p, tools->unkept);
    for (size_t i = 0; i < CALLFORM_MARKS_MAX && tools->format->marks[i]; i++)
        add_mark(p, tools->format->marks[i]);
    p->r->calls_before = tools->calls_before;
    p->r->calls = (struct toolcall_parser){.format = tools->format,
                                           .functions = tools->functions,
                                           .function_count = tools->count,
                                           .calls_max = tools->calls_max,
                                           .is_strict = tools->is_strict};
    return 0;
}

static int take_conversation(struct parse *p)
{
    const struct callform *native = p->models->tool_format(p->models->owner, p->r->model);
    struct tools tools;
    int rc = tools_take(&tools, p->in, native, p->arena, &p->fault->what);

    if (rc == 0 && tools.choice != TOOLS_NONE)
        rc = prepare_calls(p, &tools);
    return rc < 0 ? rc : keep_conversation(p, &tools);
}

/* --- the request ------------------------------------------------------------------------------ */

static int take_model(struct parse *p)
{
    struct str name;
    int rc = json_take_string(p->in, "", "model", NAME_MAX_BYTES, &name, &p->fault->what);

    if (rc == 0)
        return json_fault(&p->fault->what, LLMOS_EINVAL, "", "model", "'model' is missing");
    return rc < 0 ? rc : keep(p, json_object_get(p->in, "model"), &p->r->model);
}

static int take_echo(struct parse *p)
{
    if (p->r->is_chat)
        return 0;
    if (json_take_bool(p->in, "", "echo", &p->common.echo, &p->fault->what) < 0)
        return LLMOS_EINVAL;
    if (p->common.echo && p->r->want_logprobs)
        return json_fault(&p->fault->what, LLMOS_EUNSUPPORTED, "", "echo",
                          "'echo' together with 'logprobs' is not supported");
    return 0;
}

static int take_all(struct parse *p)
{
    static int (*const steps[])(struct parse *) = {
        take_model, take_stream, take_sampling, take_max_tokens, take_logprobs, take_counts,
        take_stops, take_bias,   take_echo,     check_fields,    take_thoughts, take_form,
    };

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int rc = steps[i](p);

        if (rc < 0)
            return rc;
    }
    return p->r->is_chat ? take_conversation(p) : take_prompts(p);
}

int openai_parse(struct openai_request *r, bool is_chat, struct str body,
                 const struct json_limits *limits, const struct openai_models *models,
                 struct arena *arena, struct openai_fault *fault)
{
    struct openai_request made = {.is_chat = is_chat};
    struct parse p = {.r = &made, .fault = fault, .models = models, .arena = arena};
    json_t *in = NULL;
    int rc;

    *fault = (struct openai_fault){0};
    /* The dialect's defaults, not the library's: what a client omits means what OpenAI says. */
    p.common = (struct message_generate){.temperature = 1, .top_p = 1, .repeat_penalty = 1};
    rc = json_parse(&in, body, limits, &fault->what.err);
    if (rc < 0)
        rc = fail_while(&fault->what.err, rc, "the body is not JSON that this server accepts");
    else if (!json_is_object(in))
        rc = json_fault(&fault->what, LLMOS_EINVAL, "", "",
                        "the body must be a JSON object, not %s", json_kind(in));
    if (rc == 0) {
        p.in = in;
        rc = take_all(&p);
    }
    json_decref(in);
    if (rc < 0)
        openai_fault_of(fault, rc);
    else
        *r = made;
    return rc;
}
