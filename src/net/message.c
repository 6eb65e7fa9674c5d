/* SPDX-License-Identifier: Apache-2.0 */
/* message.c - see message.h; docs/PROTOCOL.md lists the fields in the order that stands here */
#include "net/message.h"

#include "base/reader.h"

#include <math.h>

#define THREADS_MAX  4096
#define SESSIONS_MAX 65536
#define DRAFT_MAX    1024       /* the library: 16 */
#define TOKENS_MAX   (1u << 30) /* of a context or a cache: sums of a few stay below 2^32 */

/* ---- writing ---- */

static void need(struct buf *b, bool ok)
{
    if (!ok)
        b->bad = b->too_large = true;
}

static void put_name(struct buf *b, struct str s, size_t max)
{
    need(b, s.len <= max);
    buf_put_str(b, s);
}

static void put_setup(struct buf *b, const struct message_setup *m)
{
    buf_put_u8(b, m->purpose);
    buf_put_u8(b, m->has_packed);
    buf_put_u32(b, m->threads);
    buf_put_u32(b, m->context_tokens);
    buf_put_u32(b, m->sessions_max);
    buf_put_u32(b, m->kv_tokens);
    buf_put_u32(b, m->batch_tokens);
    buf_put_u64(b, m->memory_max_bytes);
    put_name(b, m->chat_format, MESSAGE_NAME_BYTES_MAX);
    buf_put_u32(b, m->draft_max);
    buf_put_u8(b, m->draft_lookup);
    buf_put_u8(b, m->draft_model);
    put_name(b, m->kv_type, MESSAGE_NAME_BYTES_MAX);
    buf_put_u32(b, m->model_parts);
    buf_put_u32(b, m->draft_parts);
}

static void put_token_list(struct buf *b, const int32_t *tokens, uint32_t count, uint32_t most)
{
    need(b, count <= most);
    buf_put_u32(b, count);
    for (uint32_t i = 0; i < count && !b->bad; i++)
        buf_put_u32(b, (uint32_t)tokens[i]);
}

static void put_prompt(struct buf *b, const struct message_generate *m)
{
    buf_put_u8(b, m->prompt_kind);
    if (m->prompt_kind == PROMPT_TOKENS) {
        put_token_list(b, m->tokens, m->count, FRAME_TO_ENGINE_MAX / 4);
        return;
    }
    buf_put_str(b, m->text);
    if (m->prompt_kind == PROMPT_CHAT)
        put_name(b, m->begun, MESSAGE_MARK_BYTES_MAX);
}

static void put_generate(struct buf *b, const struct message_generate *m)
{
    put_prompt(b, m);
    buf_put_u32(b, m->max_tokens);
    buf_put_f32(b, m->temperature);
    buf_put_u32(b, m->top_k);
    buf_put_f32(b, m->top_p);
    buf_put_f32(b, m->min_p);
    buf_put_f32(b, m->repeat_penalty);
    buf_put_u32(b, m->repeat_last);
    buf_put_f32(b, m->presence_penalty);
    buf_put_f32(b, m->frequency_penalty);
    buf_put_u64(b, m->seed);
    buf_put_u8(b, m->echo);
    buf_put_u8(b, m->ignore_eos);
    buf_put_u8(b, m->want_logprob);
    need(b, m->top_logprobs <= MESSAGE_TOP_MAX && m->stop_count <= MESSAGE_STOPS_MAX &&
                m->bias_count <= MESSAGE_BIAS_MAX && m->mark_count <= MESSAGE_MARKS_MAX);
    buf_put_u32(b, m->top_logprobs);
    buf_put_u32(b, m->stop_count);
    for (uint32_t i = 0; i < m->stop_count && !b->bad; i++) {
        need(b, m->stops[i].len > 0);
        put_name(b, m->stops[i], MESSAGE_STOP_BYTES_MAX);
    }
    buf_put_u32(b, m->mark_count);
    for (uint32_t i = 0; i < m->mark_count && !b->bad; i++) {
        need(b, m->marks[i].len > 0);
        put_name(b, m->marks[i], MESSAGE_MARK_BYTES_MAX);
    }
    buf_put_u32(b, m->bias_count);
    for (uint32_t i = 0; i < m->bias_count && !b->bad; i++) {
        buf_put_u32(b, (uint32_t)m->bias[i].token);
        buf_put_f32(b, m->bias[i].bias);
    }
    put_name(b, m->grammar, MESSAGE_GRAMMAR_BYTES_MAX);
}

static void put_convert(struct buf *b, const struct message_convert *m)
{
    put_name(b, m->type, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->name, MESSAGE_NAME_BYTES_MAX);
    need(b, m->count <= MESSAGE_FILES_MAX);
    buf_put_u32(b, m->count);
    for (uint32_t i = 0; i < m->count && !b->bad; i++)
        put_name(b, m->files[i], MESSAGE_NAME_BYTES_MAX);
}

static void put_encode(struct buf *b, const struct message_encode *m)
{
    buf_put_u8(b, m->kind);
    buf_put_u8(b, m->normalizes);
    buf_put_u8(b, m->cuts);
    buf_put_u8(b, m->input);
    if (m->input == ENCODE_TOKENS) {
        put_token_list(b, m->tokens, m->count, FRAME_TO_ENGINE_MAX / 4);
        return;
    }
    buf_put_str(b, m->text);
    if (m->input == ENCODE_PAIR)
        buf_put_str(b, m->second);
}

static void put_ready(struct buf *b, const struct message_ready *m)
{
    put_name(b, m->architecture, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->name, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->file_type, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->chat_format, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->tool_format, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->thought_format, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->backend, MESSAGE_NAME_BYTES_MAX);
    put_name(b, m->kv_type, MESSAGE_NAME_BYTES_MAX);
    buf_put_u32(b, m->context_tokens);
    buf_put_u32(b, m->context_trained);
    buf_put_u32(b, m->vocabulary);
    buf_put_u32(b, m->threads);
    buf_put_u64(b, m->parameters);
    buf_put_u64(b, m->weight_bytes);
    buf_put_u64(b, m->kv_bytes);
    buf_put_u64(b, m->scratch_bytes);
    buf_put_u32(b, m->load_us);
    buf_put_u8(b, m->packing);
    buf_put_u8(b, m->classifier);
    buf_put_u32(b, m->vector_width);
    need(b, m->label_count <= MESSAGE_LABELS_MAX);
    buf_put_u32(b, m->label_count);
    for (uint32_t i = 0; i < m->label_count && !b->bad; i++)
        put_name(b, m->labels[i], MESSAGE_LABEL_BYTES_MAX);
}

static void put_logprob(struct buf *b, const struct message_logprob *l)
{
    buf_put_str(b, l->token);
    buf_put_u32(b, (uint32_t)l->id);
    buf_put_f32(b, l->logprob);
}

static void put_text(struct buf *b, const struct message_text *m)
{
    buf_put_str(b, m->text);
    buf_put_u32(b, m->tokens);
    need(b, m->logprob_count <= m->tokens && m->logprob_count <= MESSAGE_LOGPROBS_MAX);
    buf_put_u32(b, m->logprob_count);
    for (uint32_t i = 0; i < m->logprob_count && !b->bad; i++) {
        const struct message_token_logprobs *l = &m->logprobs[i];

        put_logprob(b, &l->chosen);
        buf_put_u32(b, l->text_offset);
        need(b, l->top_count <= MESSAGE_TOP_MAX);
        buf_put_u32(b, l->top_count);
        for (uint32_t j = 0; j < l->top_count && !b->bad; j++)
            put_logprob(b, &l->top[j]);
    }
}

static void put_done(struct buf *b, const struct message_done *m)
{
    buf_put_u8(b, m->finish);
    buf_put_u32(b, m->prompt_tokens);
    buf_put_u32(b, m->cached_tokens);
    buf_put_u32(b, m->completion_tokens);
    buf_put_u32(b, m->drafted_tokens);
    buf_put_u32(b, m->accepted_tokens);
    buf_put_u64(b, m->queue_us);
    buf_put_u64(b, m->prompt_us);
    buf_put_u64(b, m->generate_us);
}

static void put_tokens(struct buf *b, const struct message_tokens *m)
{
    buf_put_u8(b, m->last);
    put_token_list(b, m->tokens, m->count, FRAME_TO_HOST_MAX / 4);
}

static void put_stats(struct buf *b, const struct message_stats *m)
{
    buf_put_u32(b, m->running);
    buf_put_u32(b, m->waiting);
    buf_put_u32(b, m->kv_tokens_used);
    buf_put_u32(b, m->kv_tokens_total);
    buf_put_u64(b, m->prompt_tokens);
    buf_put_u64(b, m->generated_tokens);
    buf_put_u64(b, m->prompt_us);
    buf_put_u64(b, m->generate_us);
    buf_put_u64(b, m->steps);
    buf_put_u64(b, m->step_sequences);
    buf_put_u64(b, m->drafted_tokens);
    buf_put_u64(b, m->accepted_tokens);
}

static void put_vector(struct buf *b, const struct message_vector *m)
{
    const float *v = m->values;

    buf_put_u8(b, m->last);
    buf_put_u32(b, m->tokens);
    buf_put_u32(b, m->cut);
    need(b, m->width > 0 && m->width <= MESSAGE_WIDTH_MAX && m->rows > 0);
    buf_put_u32(b, m->width);
    buf_put_u32(b, m->rows);
    for (uint32_t i = 0; i < m->rows && !b->bad; i++) {
        put_name(b, m->pieces[i], MESSAGE_PIECE_BYTES_MAX);
        for (uint32_t j = 0; j < m->width && !b->bad; j++)
            buf_put_f32(b, *v++);
    }
}

static void put_payload(struct buf *b, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_SETUP:
        put_setup(b, &m->setup);
        break;
    case MESSAGE_GENERATE:
        put_generate(b, &m->generate);
        break;
    case MESSAGE_TOKENIZE:
        buf_put_str(b, m->tokenize.text);
        buf_put_u8(b, m->tokenize.add_bos);
        buf_put_u8(b, m->tokenize.parse_special);
        break;
    case MESSAGE_RENDER:
        buf_put_str(b, m->render.conversation);
        break;
    case MESSAGE_BENCH:
        buf_put_u32(b, m->bench.prompt);
        buf_put_u32(b, m->bench.generate);
        buf_put_u32(b, m->bench.depth);
        buf_put_u32(b, m->bench.sequences);
        buf_put_u8(b, m->bench.want_limits);
        put_name(b, m->bench.grammar, MESSAGE_GRAMMAR_BYTES_MAX);
        break;
    case MESSAGE_QUANTIZE:
        put_name(b, m->quantize.type, MESSAGE_NAME_BYTES_MAX);
        buf_put_u8(b, m->quantize.has_importance);
        buf_put_u8(b, m->quantize.requantize);
        break;
    case MESSAGE_EVALUATE:
        buf_put_u8(b, m->evaluate.kind);
        buf_put_u32(b, m->evaluate.chunk_tokens);
        buf_put_u32(b, m->evaluate.chunks_max);
        put_name(b, m->evaluate.name, MESSAGE_NAME_BYTES_MAX);
        buf_put_str(b, m->evaluate.text);
        break;
    case MESSAGE_CONVERT:
        put_convert(b, &m->convert);
        break;
    case MESSAGE_ENCODE:
        put_encode(b, &m->encode);
        break;
    case MESSAGE_READY:
        put_ready(b, &m->ready);
        break;
    case MESSAGE_TEXT:
        put_text(b, &m->text);
        break;
    case MESSAGE_DONE:
        put_done(b, &m->done);
        break;
    case MESSAGE_ERROR:
        buf_put_u32(b, (uint32_t)m->error.code);
        put_name(b, m->error.text, MESSAGE_ERROR_BYTES_MAX);
        break;
    case MESSAGE_TOKENS:
        put_tokens(b, &m->tokens);
        break;
    case MESSAGE_DATA:
        buf_put_u8(b, m->data.last);
        buf_put_str(b, m->data.bytes);
        break;
    case MESSAGE_PROGRESS:
        buf_put_u64(b, m->progress.done);
        buf_put_u64(b, m->progress.total);
        break;
    case MESSAGE_STATS:
        put_stats(b, &m->stats);
        break;
    case MESSAGE_PACKED:
        buf_put_u8(b, m->packed.helps);
        buf_put_u64(b, m->packed.bytes);
        break;
    case MESSAGE_VECTOR:
        put_vector(b, &m->vector);
        break;
    default: /* CANCEL and INSPECT say everything with their type */
        break;
    }
}

void message_put(struct buf *out, const struct message *m)
{
    size_t max = m->type >= MESSAGE_READY ? FRAME_TO_HOST_MAX : FRAME_TO_ENGINE_MAX;
    size_t mark = frame_begin(out, m->type, m->id);

    put_payload(out, m);
    need(out, out->bad || out->len - mark - FRAME_HEAD_BYTES <= max);
    frame_end(out, mark);
}

/* ---- reading ---- */

/* The first field that is wrong decides the sentence; reading on is harmless, because a bad reader
 * gives zeros and every loop asks `rc`. */
struct parse {
    struct reader r;
    struct arena *arena;
    struct llmos_error *err;
    int rc;
};

static void refuse(struct parse *p, const char *field, const char *why)
{
    if (p->rc == 0)
        p->rc = fail(p->err, LLMOS_EFORMAT, "field '%s' %s", field, why);
}

static void check_cut(struct parse *p, const char *field)
{
    if (p->r.bad)
        refuse(p, field, "lies behind the end of its frame");
}

static uint32_t get_u32(struct parse *p, const char *field, uint32_t max)
{
    uint32_t v = reader_u32(&p->r);

    check_cut(p, field);
    if (v > max && p->rc == 0)
        p->rc =
            fail(p->err, LLMOS_EFORMAT, "field '%s' is %u, at most %u is allowed", field, v, max);
    return v;
}

static uint64_t get_u64(struct parse *p, const char *field)
{
    uint64_t v = reader_u64(&p->r);

    check_cut(p, field);
    return v;
}

static uint8_t get_u8(struct parse *p, const char *field, uint8_t max)
{
    uint8_t v = reader_u8(&p->r);

    check_cut(p, field);
    if (v > max && p->rc == 0)
        p->rc =
            fail(p->err, LLMOS_EFORMAT, "field '%s' is %u, at most %u is allowed", field, v, max);
    return v;
}

static bool get_bool(struct parse *p, const char *field)
{
    return get_u8(p, field, 1) == 1;
}

static float get_f32(struct parse *p, const char *field)
{
    float v = reader_f32(&p->r);

    check_cut(p, field);
    if (!isfinite(v))
        refuse(p, field, "is not a finite number");
    return v;
}

static struct str get_str(struct parse *p, const char *field, size_t max)
{
    struct str s = reader_str(&p->r);

    check_cut(p, field);
    if (s.len > max && p->rc == 0)
        p->rc = fail(p->err, LLMOS_EFORMAT, "field '%s' has %zu bytes, at most %zu are allowed",
                     field, s.len, max);
    return s;
}

/* A count of things that take at least `least` bytes each in the frame. */
static uint32_t get_count(struct parse *p, const char *field, uint32_t max, size_t least)
{
    uint32_t n = get_u32(p, field, max);

    if (p->rc == 0 && n > reader_left(&p->r) / least)
        p->rc = fail(p->err, LLMOS_EFORMAT, "field '%s' is %u, but only %zu bytes follow", field, n,
                     reader_left(&p->r));
    return p->rc == 0 ? n : 0;
}

static void *get_array(struct parse *p, const char *what, size_t count, size_t size)
{
    void *at = count ? arena_calloc(p->arena, count, size) : NULL;

    if (count && !at && p->rc == 0)
        p->rc = fail(p->err, LLMOS_ENOMEM, "no memory for %zu %s", count, what);
    return at;
}

static const int32_t *get_tokens(struct parse *p, uint32_t count)
{
    int32_t *tokens = get_array(p, "tokens", count, sizeof(*tokens));

    for (uint32_t i = 0; tokens && i < count; i++)
        tokens[i] = (int32_t)reader_u32(&p->r);
    return tokens;
}

static void get_setup(struct parse *p, struct message_setup *m)
{
    m->purpose = get_u8(p, "purpose", PURPOSE_ENCODE);
    m->has_packed = get_bool(p, "has_packed");
    m->threads = get_u32(p, "threads", THREADS_MAX);
    m->context_tokens = get_u32(p, "context_tokens", TOKENS_MAX);
    m->sessions_max = get_u32(p, "sessions_max", SESSIONS_MAX);
    m->kv_tokens = get_u32(p, "kv_tokens", TOKENS_MAX);
    m->batch_tokens = get_u32(p, "batch_tokens", TOKENS_MAX);
    m->memory_max_bytes = get_u64(p, "memory_max_bytes");
    m->chat_format = get_str(p, "chat_format", MESSAGE_NAME_BYTES_MAX);
    m->draft_max = get_u32(p, "draft_max", DRAFT_MAX);
    m->draft_lookup = get_bool(p, "draft_lookup");
    m->draft_model = get_bool(p, "draft_model");
    m->kv_type = get_str(p, "kv_type", MESSAGE_NAME_BYTES_MAX);
    m->model_parts = get_u32(p, "model_parts", MESSAGE_PARTS_MAX);
    m->draft_parts = get_u32(p, "draft_parts", MESSAGE_PARTS_MAX);
}

static void get_prompt(struct parse *p, struct message_generate *m)
{
    m->prompt_kind = get_u8(p, "prompt_kind", PROMPT_CHAT);
    if (m->prompt_kind == PROMPT_TOKENS) {
        m->count = get_count(p, "token_count", FRAME_TO_ENGINE_MAX / 4, 4);
        m->tokens = get_tokens(p, m->count);
        return;
    }
    m->text = get_str(p, "text", FRAME_TO_ENGINE_MAX);
    if (m->prompt_kind == PROMPT_CHAT)
        m->begun = get_str(p, "begun", MESSAGE_MARK_BYTES_MAX);
}

static void get_generate(struct parse *p, struct message_generate *m)
{
    get_prompt(p, m);
    m->max_tokens = get_u32(p, "max_tokens", UINT32_MAX);
    m->temperature = get_f32(p, "temperature");
    m->top_k = get_u32(p, "top_k", UINT32_MAX);
    m->top_p = get_f32(p, "top_p");
    m->min_p = get_f32(p, "min_p");
    m->repeat_penalty = get_f32(p, "repeat_penalty");
    m->repeat_last = get_u32(p, "repeat_last", UINT32_MAX);
    m->presence_penalty = get_f32(p, "presence_penalty");
    m->frequency_penalty = get_f32(p, "frequency_penalty");
    m->seed = get_u64(p, "seed");
    m->echo = get_bool(p, "echo");
    m->ignore_eos = get_bool(p, "ignore_eos");
    m->want_logprob = get_bool(p, "want_logprob");
    m->top_logprobs = get_u32(p, "top_logprobs", MESSAGE_TOP_MAX);
    m->stop_count = get_count(p, "stop_count", MESSAGE_STOPS_MAX, 5);
    for (uint32_t i = 0; p->rc == 0 && i < m->stop_count; i++) {
        m->stops[i] = get_str(p, "stop", MESSAGE_STOP_BYTES_MAX);
        if (m->stops[i].len == 0)
            refuse(p, "stop", "is empty");
    }
    m->mark_count = get_count(p, "mark_count", MESSAGE_MARKS_MAX, 5);
    for (uint32_t i = 0; p->rc == 0 && i < m->mark_count; i++) {
        m->marks[i] = get_str(p, "mark", MESSAGE_MARK_BYTES_MAX);
        if (m->marks[i].len == 0)
            refuse(p, "mark", "is empty");
    }
    m->bias_count = get_count(p, "bias_count", MESSAGE_BIAS_MAX, 8);
    m->bias = get_array(p, "biases", m->bias_count, sizeof(*m->bias));
    for (uint32_t i = 0; p->rc == 0 && i < m->bias_count; i++) {
        m->bias[i].token = (int32_t)reader_u32(&p->r);
        m->bias[i].bias = get_f32(p, "bias");
    }
    m->grammar = get_str(p, "grammar", MESSAGE_GRAMMAR_BYTES_MAX);
}

static void get_convert(struct parse *p, struct message_convert *m)
{
    m->type = get_str(p, "type", MESSAGE_NAME_BYTES_MAX);
    m->name = get_str(p, "name", MESSAGE_NAME_BYTES_MAX);
    m->count = get_count(p, "file_count", MESSAGE_FILES_MAX, 4);
    m->files = get_array(p, "names of files", m->count, sizeof(*m->files));
    for (uint32_t i = 0; p->rc == 0 && i < m->count; i++)
        m->files[i] = get_str(p, "file", MESSAGE_NAME_BYTES_MAX);
}

static void get_encode(struct parse *p, struct message_encode *m)
{
    m->kind = get_u8(p, "kind", ENCODE_CLASSIFY);
    m->normalizes = get_bool(p, "normalizes");
    m->cuts = get_bool(p, "cuts");
    m->input = get_u8(p, "input", ENCODE_TOKENS);
    if (m->input == ENCODE_TOKENS) {
        m->count = get_count(p, "token_count", FRAME_TO_ENGINE_MAX / 4, 4);
        m->tokens = get_tokens(p, m->count);
        return;
    }
    m->text = get_str(p, "text", FRAME_TO_ENGINE_MAX);
    if (m->input == ENCODE_PAIR)
        m->second = get_str(p, "second", FRAME_TO_ENGINE_MAX);
}

static void get_ready(struct parse *p, struct message_ready *m)
{
    m->architecture = get_str(p, "architecture", MESSAGE_NAME_BYTES_MAX);
    m->name = get_str(p, "name", MESSAGE_NAME_BYTES_MAX);
    m->file_type = get_str(p, "file_type", MESSAGE_NAME_BYTES_MAX);
    m->chat_format = get_str(p, "chat_format", MESSAGE_NAME_BYTES_MAX);
    m->tool_format = get_str(p, "tool_format", MESSAGE_NAME_BYTES_MAX);
    m->thought_format = get_str(p, "thought_format", MESSAGE_NAME_BYTES_MAX);
    m->backend = get_str(p, "backend", MESSAGE_NAME_BYTES_MAX);
    m->kv_type = get_str(p, "kv_type", MESSAGE_NAME_BYTES_MAX);
    m->context_tokens = get_u32(p, "context_tokens", TOKENS_MAX);
    m->context_trained = get_u32(p, "context_trained", UINT32_MAX);
    m->vocabulary = get_u32(p, "vocabulary", INT32_MAX);
    m->threads = get_u32(p, "threads", THREADS_MAX);
    m->parameters = get_u64(p, "parameters");
    m->weight_bytes = get_u64(p, "weight_bytes");
    m->kv_bytes = get_u64(p, "kv_bytes");
    m->scratch_bytes = get_u64(p, "scratch_bytes");
    m->load_us = get_u32(p, "load_us", UINT32_MAX);
    m->packing = get_u8(p, "packing", PACKING_DAMAGED);
    m->classifier = get_u8(p, "classifier", CLASSIFIER_RANK);
    m->vector_width = get_u32(p, "vector_width", MESSAGE_WIDTH_MAX);
    m->label_count = get_count(p, "label_count", MESSAGE_LABELS_MAX, 4);
    m->labels = get_array(p, "labels", m->label_count, sizeof(*m->labels));
    for (uint32_t i = 0; p->rc == 0 && i < m->label_count; i++)
        m->labels[i] = get_str(p, "label", MESSAGE_LABEL_BYTES_MAX);
}

static void get_logprob(struct parse *p, struct message_logprob *l)
{
    l->token = get_str(p, "token", FRAME_TO_HOST_MAX);
    l->id = (int32_t)get_u32(p, "token_id", INT32_MAX);
    l->logprob = get_f32(p, "logprob");
    if (l->logprob > 0)
        refuse(p, "logprob", "is above 0");
}

static void get_text(struct parse *p, struct message_text *m)
{
    m->text = get_str(p, "text", FRAME_TO_HOST_MAX);
    m->tokens = get_u32(p, "tokens", TOKENS_MAX);
    m->logprob_count = get_count(p, "logprob_count", MESSAGE_LOGPROBS_MAX, 20);
    if (m->logprob_count > m->tokens)
        refuse(p, "logprob_count", "is above the number of tokens");
    m->logprobs = get_array(p, "log-probabilities", m->logprob_count, sizeof(*m->logprobs));
    for (uint32_t i = 0; p->rc == 0 && i < m->logprob_count; i++) {
        struct message_token_logprobs *l = &m->logprobs[i];

        get_logprob(p, &l->chosen);
        l->text_offset = get_u32(p, "text_offset", UINT32_MAX);
        l->top_count = get_count(p, "top_count", MESSAGE_TOP_MAX, 12);
        for (uint32_t j = 0; p->rc == 0 && j < l->top_count; j++)
            get_logprob(p, &l->top[j]);
    }
}

static void get_done(struct parse *p, struct message_done *m)
{
    m->finish = get_u8(p, "finish", FINISH_CANCELED);
    m->prompt_tokens = get_u32(p, "prompt_tokens", UINT32_MAX);
    m->cached_tokens = get_u32(p, "cached_tokens", m->prompt_tokens);
    m->completion_tokens = get_u32(p, "completion_tokens", UINT32_MAX);
    m->drafted_tokens = get_u32(p, "drafted_tokens", UINT32_MAX);
    m->accepted_tokens = get_u32(p, "accepted_tokens", m->drafted_tokens);
    m->queue_us = get_u64(p, "queue_us");
    m->prompt_us = get_u64(p, "prompt_us");
    m->generate_us = get_u64(p, "generate_us");
}

static void get_error(struct parse *p, struct message_error *m)
{
    m->code = (int32_t)reader_u32(&p->r);
    check_cut(p, "code");
    if (strcmp(llmos_error_name(m->code), "unknown") == 0)
        refuse(p, "code", "is no error code");
    m->text = get_str(p, "text", MESSAGE_ERROR_BYTES_MAX);
}

static void get_stats(struct parse *p, struct message_stats *m)
{
    m->running = get_u32(p, "running", UINT32_MAX);
    m->waiting = get_u32(p, "waiting", UINT32_MAX);
    m->kv_tokens_used = get_u32(p, "kv_tokens_used", UINT32_MAX);
    m->kv_tokens_total = get_u32(p, "kv_tokens_total", UINT32_MAX);
    m->prompt_tokens = get_u64(p, "prompt_tokens");
    m->generated_tokens = get_u64(p, "generated_tokens");
    m->prompt_us = get_u64(p, "prompt_us");
    m->generate_us = get_u64(p, "generate_us");
    m->steps = get_u64(p, "steps");
    m->step_sequences = get_u64(p, "step_sequences");
    m->drafted_tokens = get_u64(p, "drafted_tokens");
    m->accepted_tokens = get_u64(p, "accepted_tokens");
}

static void get_vector(struct parse *p, struct message_vector *m)
{
    struct str *pieces;
    float *values;

    m->last = get_bool(p, "last");
    m->tokens = get_u32(p, "tokens", TOKENS_MAX);
    m->cut = get_u32(p, "cut", TOKENS_MAX);
    m->width = get_u32(p, "width", MESSAGE_WIDTH_MAX);
    if (m->width == 0)
        refuse(p, "width", "is 0");
    m->rows = get_count(p, "rows", FRAME_TO_HOST_MAX, 4 + 4 * (size_t)m->width);
    if (m->rows == 0)
        refuse(p, "rows", "is 0");
    m->pieces = pieces = get_array(p, "tokens", m->rows, sizeof(*pieces));
    m->values = values = get_array(p, "numbers", (size_t)m->rows * m->width, sizeof(*values));
    for (uint32_t i = 0; p->rc == 0 && i < m->rows; i++) {
        pieces[i] = get_str(p, "piece", MESSAGE_PIECE_BYTES_MAX);
        for (uint32_t j = 0; p->rc == 0 && j < m->width; j++)
            *values++ = get_f32(p, "value");
    }
}

static void get_payload(struct parse *p, struct message *m)
{
    switch (m->type) {
    case MESSAGE_SETUP:
        get_setup(p, &m->setup);
        break;
    case MESSAGE_GENERATE:
        get_generate(p, &m->generate);
        break;
    case MESSAGE_TOKENIZE:
        m->tokenize.text = get_str(p, "text", FRAME_TO_ENGINE_MAX);
        m->tokenize.add_bos = get_bool(p, "add_bos");
        m->tokenize.parse_special = get_bool(p, "parse_special");
        break;
    case MESSAGE_RENDER:
        m->render.conversation = get_str(p, "conversation", FRAME_TO_ENGINE_MAX);
        break;
    case MESSAGE_BENCH:
        m->bench.prompt = get_u32(p, "prompt", TOKENS_MAX);
        m->bench.generate = get_u32(p, "generate", TOKENS_MAX);
        m->bench.depth = get_u32(p, "depth", TOKENS_MAX);
        m->bench.sequences = get_u32(p, "sequences", SESSIONS_MAX);
        m->bench.want_limits = get_bool(p, "want_limits");
        m->bench.grammar = get_str(p, "grammar", MESSAGE_GRAMMAR_BYTES_MAX);
        break;
    case MESSAGE_QUANTIZE:
        m->quantize.type = get_str(p, "type", MESSAGE_NAME_BYTES_MAX);
        m->quantize.has_importance = get_bool(p, "has_importance");
        m->quantize.requantize = get_bool(p, "requantize");
        break;
    case MESSAGE_EVALUATE:
        m->evaluate.kind = get_u8(p, "kind", EVALUATE_IMPORTANCE);
        m->evaluate.chunk_tokens = get_u32(p, "chunk_tokens", TOKENS_MAX);
        m->evaluate.chunks_max = get_u32(p, "chunks_max", UINT32_MAX);
        m->evaluate.name = get_str(p, "name", MESSAGE_NAME_BYTES_MAX);
        m->evaluate.text = get_str(p, "text", FRAME_TO_ENGINE_MAX);
        break;
    case MESSAGE_CONVERT:
        get_convert(p, &m->convert);
        break;
    case MESSAGE_ENCODE:
        get_encode(p, &m->encode);
        break;
    case MESSAGE_READY:
        get_ready(p, &m->ready);
        break;
    case MESSAGE_TEXT:
        get_text(p, &m->text);
        break;
    case MESSAGE_DONE:
        get_done(p, &m->done);
        break;
    case MESSAGE_ERROR:
        get_error(p, &m->error);
        break;
    case MESSAGE_TOKENS:
        m->tokens.last = get_bool(p, "last");
        m->tokens.count = get_count(p, "count", FRAME_TO_HOST_MAX / 4, 4);
        m->tokens.tokens = get_tokens(p, m->tokens.count);
        break;
    case MESSAGE_DATA:
        m->data.last = get_bool(p, "last");
        m->data.bytes = get_str(p, "bytes", FRAME_TO_HOST_MAX);
        break;
    case MESSAGE_PROGRESS:
        m->progress.done = get_u64(p, "done");
        m->progress.total = get_u64(p, "total");
        if (m->progress.done > m->progress.total)
            refuse(p, "done", "is above 'total'");
        break;
    case MESSAGE_STATS:
        get_stats(p, &m->stats);
        break;
    case MESSAGE_PACKED:
        m->packed.helps = get_bool(p, "helps");
        m->packed.bytes = get_u64(p, "bytes");
        break;
    case MESSAGE_VECTOR:
        get_vector(p, &m->vector);
        break;
    default:
        break;
    }
}

static const char *type_name(uint16_t type, bool from_engine)
{
    static const char *const host[] = {
        [MESSAGE_SETUP] = "SETUP",       [MESSAGE_GENERATE] = "GENERATE",
        [MESSAGE_CANCEL] = "CANCEL",     [MESSAGE_TOKENIZE] = "TOKENIZE",
        [MESSAGE_INSPECT] = "INSPECT",   [MESSAGE_BENCH] = "BENCH",
        [MESSAGE_PACK] = "PACK",         [MESSAGE_RENDER] = "RENDER",
        [MESSAGE_QUANTIZE] = "QUANTIZE", [MESSAGE_EVALUATE] = "EVALUATE",
        [MESSAGE_CONVERT] = "CONVERT",   [MESSAGE_ENCODE] = "ENCODE",
    };
    static const char *const engine[] = {
        [MESSAGE_READY] = "READY",   [MESSAGE_TEXT] = "TEXT",         [MESSAGE_DONE] = "DONE",
        [MESSAGE_ERROR] = "ERROR",   [MESSAGE_TOKENS] = "TOKENS",     [MESSAGE_DATA] = "DATA",
        [MESSAGE_STATS] = "STATS",   [MESSAGE_PROGRESS] = "PROGRESS", [MESSAGE_PACKED] = "PACKED",
        [MESSAGE_VECTOR] = "VECTOR",
    };

    if (from_engine)
        return type < sizeof(engine) / sizeof(engine[0]) ? engine[type] : NULL;
    return type < sizeof(host) / sizeof(host[0]) ? host[type] : NULL;
}

/* What speaks of the whole engine has id 0, what speaks of a request has not. */
static bool id_fits(uint16_t type, uint64_t id)
{
    if (type == MESSAGE_ERROR)
        return true;
    return (id == 0) == (type == MESSAGE_SETUP || type == MESSAGE_READY || type == MESSAGE_STATS);
}

int message_parse(struct message *m, const struct frame *f, bool from_engine, struct arena *arena,
                  struct llmos_error *err)
{
    struct parse p = {reader_of(f->payload.at, f->payload.len), arena, err, 0};
    struct message out = {.type = f->type, .id = f->id};
    const char *name = type_name(f->type, from_engine);

    if (!name)
        return fail(err, LLMOS_EFORMAT, "a frame of type %u, which %s may not send", f->type,
                    from_engine ? "an engine" : "a host");
    if (!id_fits(f->type, f->id))
        return fail(err, LLMOS_EFORMAT, "%s frame with %s id", name, f->id ? "an" : "no");
    get_payload(&p, &out);
    if (p.rc == 0 && reader_left(&p.r))
        p.rc = fail(err, LLMOS_EFORMAT, "%zu bytes too many", reader_left(&p.r));
    if (p.rc < 0)
        return fail_while(err, p.rc, "%s frame", name);
    *m = out;
    return 0;
}

const char *message_finish_name(int finish)
{
    static const char *const names[] = {"stop", "length", "canceled"};

    return finish >= 0 && finish <= FINISH_CANCELED ? names[finish] : "unknown";
}
