/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c - see serve.h */
#include "engine/serve.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "engine/bench.h"
#include "engine/converter.h"
#include "engine/encoding.h"
#include "engine/examiner.h"
#include "engine/packer.h"
#include "engine/quantizer.h"
#include "engine/speech.h"
#include "infer/sampler.h"
#include "model/inspect.h"
#include "model/loaded.h"
#include "model/packfile.h"

#include <math.h>

#define STATS_EVERY_NS 250000000u
#define CHUNK_BYTES    (512u << 10) /* of DATA and TOKENS: half of what a frame may hold */
#define LOGPROB_LEAST  (-9999.0f)   /* what JSON clients know for "impossible" */
/* All that ask one engine share beginnings: a request does not say yet for whom it is.  Whose
 * requests must not be told apart by their time need engines of their own. */
#define SERVE_DOMAIN LLMOS_DOMAIN_COMMON

struct request {
    uint64_t id, arrival;
    struct arena arena; /* what stands here of the message */
    struct str echo, begun, grammar, stops[MESSAGE_STOPS_MAX];
    const char *marks[MESSAGE_MARKS_MAX];
    uint32_t mark_count;
    int32_t *prompt;
    uint32_t prompt_count, max_tokens;
    struct llmos_sampling sampling;
    bool ignore_eos, drops_space; /* drops: what begins with a space is said without */
    struct speech speech;
    llmos_session *session;          /* NULL while it waits */
    uint32_t generated, replay_left; /* shown; of these, to be said again unseen */
    uint32_t cached;                 /* of the prompt, when it first gave way */
    uint32_t drafted, accepted;
    bool gave_way;
    uint64_t queued_ns, begun_ns, first_ns;
    struct request *next; /* that waits behind it */
};

/* ---- a request comes ---- */

static void request_destroy(struct request *r)
{
    if (!r)
        return;
    llmos_session_destroy(r->session);
    speech_fini(&r->speech);
    arena_fini(&r->arena);
    mem_free(r);
}

/* The tokens of the prompt, into the scratch of s; their number, which may be more than fits. */
static long tokenize_prompt(struct serve *s, const struct message_generate *g,
                            struct llmos_error *err)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(s->model);
    size_t room = (size_t)s->context_tokens + 1;

    if (g->prompt_kind == PROMPT_TEXT)
        return llmos_tokenize(t, g->text.at, g->text.len, LLMOS_TOKENIZE_ADD_BOS, s->tokens, room,
                              err);
    if (g->prompt_kind == PROMPT_TOKENS) {
        if (g->count)
            memcpy(s->tokens, g->tokens, (g->count < room ? g->count : room) * sizeof(*g->tokens));
        return g->count;
    }
    return llmos_chat_encode(t, g->text.at, g->text.len, s->tokens, room, err);
}

static long prepare_prompt(struct serve *s, const struct message_generate *g,
                           struct llmos_error *err)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(s->model);
    long n = tokenize_prompt(s, g, err);

    if (n < 0)
        return n;
    if (n == 0 && g->prompt_kind == PROMPT_TEXT && llmos_token_bos(t) >= 0) {
        s->tokens[0] = llmos_token_bos(t); /* the only way to begin with nothing */
        n = 1;
    }
    if (n == 0)
        return fail(err, LLMOS_EINVAL,
                    "the prompt is empty and the model has no token to begin a text with");
    if (n >= (long)s->context_tokens)
        return fail(
            err, LLMOS_ECONTEXT,
            "the prompt has %ld tokens, the context holds %u and the answer needs at least 1; "
            "try a shorter prompt or a larger --context",
            n, s->context_tokens);
    for (long i = 0; i < n; i++) {
        if (s->tokens[i] < 0 || s->tokens[i] >= llmos_token_count(t))
            return fail(err, LLMOS_EINVAL, "token %d of the prompt is outside the vocabulary of %d",
                        s->tokens[i], llmos_token_count(t));
    }
    return n;
}

static struct str keep(struct request *r, struct str s, bool *failed)
{
    char *copy = arena_strndup(&r->arena, s.at, s.len);

    *failed |= !copy;
    return (struct str){copy, s.len};
}

static struct llmos_grammar grammar_of(const struct request *r)
{
    return (struct llmos_grammar){.text = r->grammar.at,
                                  .length = r->grammar.len,
                                  .drops_space = r->drops_space,
                                  .begun = r->begun.at,
                                  .begun_length = r->begun.len,
                                  .marks = r->marks,
                                  .mark_count = r->mark_count};
}

/* Wrong ones are refused at once, not when their turn comes. */
static int check_grammar(const struct serve *s, const struct request *r,
                         const struct message_generate *g, struct llmos_error *err)
{
    const struct llmos_grammar grammar = grammar_of(r);

    if (g->grammar.len == 0)
        return 0;
    if (g->ignore_eos)
        return fail(err, LLMOS_EINVAL,
                    "ignore_eos and a grammar exclude each other: a grammar says where the text "
                    "ends");
    return llmos_context_check_grammar(s->context, &grammar, SERVE_DOMAIN, err);
}

static int copy_sampling(struct request *r, const struct serve *s, const struct message_generate *g,
                         struct llmos_error *err)
{
    struct llmos_logit_bias *bias = arena_array(&r->arena, struct llmos_logit_bias, g->bias_count);

    if (g->bias_count && !bias)
        return fail(err, LLMOS_ENOMEM, "no memory for a request");
    for (uint32_t i = 0; i < g->bias_count; i++)
        bias[i] = (struct llmos_logit_bias){g->bias[i].token, g->bias[i].bias};
    r->sampling = (struct llmos_sampling){
        .temperature = g->temperature,
        .top_k = g->top_k,
        .top_p = g->top_p,
        .min_p = g->min_p,
        .repeat_penalty = g->repeat_penalty,
        .presence_penalty = g->presence_penalty,
        .frequency_penalty = g->frequency_penalty,
        .repeat_last = g->repeat_last,
        .seed = g->seed,
        .bias = bias,
        .bias_count = g->bias_count,
        .logprobs = g->top_logprobs,
        .want_logprob = g->want_logprob || g->top_logprobs,
    };
    return sampler_check(&r->sampling, (size_t)llmos_token_count(llmos_model_tokenizer(s->model)),
                         err);
}

/* Blanks behind it do not count.  Templates begin an answer's thought so. */
static bool prompt_ends_with(const struct serve *s, const struct request *r, struct str end)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(s->model);
    char text[2 * MESSAGE_MARK_BYTES_MAX];
    size_t room = sizeof(text), used;
    struct str have;

    for (uint32_t i = r->prompt_count; i > 0; i--) {
        const char *piece;
        size_t n = llmos_token_piece(t, r->prompt[i - 1], true, &piece);

        if (n > room)
            break;
        room -= n;
        memcpy(text + room, piece, n);
    }
    used = sizeof(text);
    while (used > room && (text[used - 1] == '\n' || text[used - 1] == ' '))
        used--;
    have = (struct str){text + room, used - room};
    return end.len > 0 && str_ends(have, end);
}

/* Everything that outlives the message. */
static int request_fill(struct request *r, struct serve *s, const struct message_generate *g,
                        struct llmos_error *err)
{
    long n = prepare_prompt(s, g, err);
    bool failed = false;
    uint32_t room;

    if (n < 0)
        return (int)n;
    r->prompt_count = (uint32_t)n;
    r->prompt = arena_array(&r->arena, int32_t, r->prompt_count);
    if (r->prompt)
        memcpy(r->prompt, s->tokens, r->prompt_count * sizeof(*r->prompt));
    failed = !r->prompt;
    for (uint32_t i = 0; i < g->stop_count; i++)
        r->stops[i] = keep(r, g->stops[i], &failed);
    for (r->mark_count = 0; r->mark_count < g->mark_count; r->mark_count++)
        r->marks[r->mark_count] = keep(r, g->marks[r->mark_count], &failed).at;
    if (g->echo && g->prompt_kind == PROMPT_TEXT)
        r->echo = keep(r, g->text, &failed);
    if (!failed && prompt_ends_with(s, r, g->begun))
        r->begun = keep(r, g->begun, &failed);
    r->grammar = keep(r, g->grammar, &failed);
    if (failed)
        return fail(err, LLMOS_ENOMEM, "no memory for a request");
    room = s->context_tokens - r->prompt_count;
    r->max_tokens = g->max_tokens && g->max_tokens < room ? g->max_tokens : room;
    r->ignore_eos = g->ignore_eos;
    speech_init(&r->speech, r->stops, g->stop_count, g->want_logprob || g->top_logprobs);
    n = copy_sampling(r, s, g, err);
    return n < 0 ? (int)n : check_grammar(s, r, g, err);
}

/* What the tokenizer puts in front of a text is no part of it: the first space of what begins a
 * text (nothing but BOS in front) or an assistant's turn. */
static bool begins_text(const struct serve *s, const struct request *r, uint8_t prompt_kind)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(s->model);

    if (!s->has_space_prefix || prompt_kind == PROMPT_CHAT)
        return s->has_space_prefix;
    return r->prompt_count == 1 && r->prompt[0] == llmos_token_bos(t);
}

static void echo_prompt(const struct serve *s, struct request *r, uint8_t prompt_kind)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(s->model);
    bool is_first = true;
    struct buf text;

    if (prompt_kind == PROMPT_TEXT) {
        speech_echo(&r->speech, r->echo);
        return;
    }
    buf_init(&text, 64u << 20);
    for (uint32_t i = 0; i < r->prompt_count; i++) {
        const char *piece;
        size_t n = llmos_token_piece(t, r->prompt[i], false, &piece);

        if (n && is_first && s->has_space_prefix && piece[0] == ' ') {
            piece++;
            n--;
        }
        is_first &= n == 0;
        buf_put(&text, piece, n);
    }
    r->speech.is_bad |= text.bad;
    speech_echo(&r->speech, buf_str(&text));
    buf_fini(&text);
}

static int request_create(struct request **out, struct serve *s, const struct message *m,
                          struct llmos_error *err)
{
    const struct message_generate *g = &m->generate;
    struct request *r;
    int rc;

    if (!s->context)
        return fail(err, LLMOS_EINVAL, "this engine was not started to answer");
    if (s->waiting_count >= SERVE_WAITING_MAX || s->waiting_bytes >= SERVE_WAITING_BYTES_MAX)
        return fail(err, LLMOS_EBUSY, "%u requests wait already; try again later",
                    s->waiting_count);
    r = mem_zalloc(1, sizeof(*r));
    if (!r)
        return fail(err, LLMOS_ENOMEM, "no memory for a request");
    r->id = m->id;
    r->arrival = s->arrivals++;
    r->queued_ns = clock_ns();
    arena_init(&r->arena, SERVE_WAITING_BYTES_MAX);
    rc = request_fill(r, s, g, err);
    if (rc < 0) {
        request_destroy(r);
        return rc;
    }
    if (g->echo)
        echo_prompt(s, r, g->prompt_kind);
    speech_echo(&r->speech, r->begun);
    r->drops_space = r->speech.drop_space = begins_text(s, r, g->prompt_kind);
    *out = r;
    return 0;
}

/* ---- waiting and running ---- */

static size_t request_bytes(const struct request *r)
{
    return sizeof(*r) + r->arena.used_bytes + r->speech.text.room;
}

static void wait_behind(struct serve *s, struct request *r)
{
    r->next = NULL;
    *s->waiting_end = r;
    s->waiting_end = &r->next;
    s->waiting_count++;
    s->waiting_bytes += request_bytes(r);
}

static void wait_in_front(struct serve *s, struct request *r)
{
    r->next = s->waiting;
    s->waiting = r;
    if (!r->next)
        s->waiting_end = &r->next;
    s->waiting_count++;
    s->waiting_bytes += request_bytes(r);
}

/* Takes *at, which is s->waiting or the `next` of one that waits, out of the line. */
static struct request *wait_no_more(struct serve *s, struct request **at)
{
    struct request *r = *at;

    *at = r->next;
    if (!r->next)
        s->waiting_end = at;
    r->next = NULL;
    s->waiting_count--;
    s->waiting_bytes -= request_bytes(r);
    return r;
}

static void refuse_request(struct serve *s, struct request *r, const struct llmos_error *why)
{
    wire_put_error(s->wire, r->id, why->code, why->text);
    request_destroy(r);
}

static int begin(struct serve *s, struct request *r, struct llmos_error *err)
{
    struct llmos_grammar grammar;
    int rc;

    retrace_yield(&s->retrace);
    rc = llmos_session_create(&r->session, s->context, &r->sampling, err);
    if (rc < 0)
        return rc;
    rc = llmos_session_set_domain(r->session, SERVE_DOMAIN, err);
    if (rc < 0)
        return rc;
    rc = llmos_session_append(r->session, r->prompt, r->prompt_count, err);
    grammar = grammar_of(r);
    if (rc == 0 && r->grammar.len)
        rc = llmos_session_set_grammar(r->session, &grammar, err);
    if (rc < 0)
        return rc;
    if (!r->begun_ns)
        r->begun_ns = clock_ns();
    s->running[s->running_count++] = r;
    return 0;
}

static void begin_waiting(struct serve *s)
{
    while (s->waiting && s->running_count < s->sessions_max && !s->alone_id &&
           (!s->is_crowded || s->running_count == 0)) {
        struct request *r = wait_no_more(s, &s->waiting);
        struct llmos_error err;

        if (begin(s, r, &err) < 0)
            refuse_request(s, r, &err);
    }
}

/* Of the prompt, the tokens that others had computed.  What a request finds when it begins again is
 * mostly its own. */
static uint32_t cached_tokens(const struct request *r)
{
    return r->gave_way || !r->session ? r->cached : (uint32_t)llmos_session_cached(r->session);
}

static void give_way(struct serve *s, uint32_t at)
{
    struct request *r = s->running[at];

    r->cached = cached_tokens(r);
    r->gave_way = true;

    memmove(s->running + at, s->running + at + 1,
            (--s->running_count - at) * sizeof(struct request *));
    llmos_session_destroy(r->session);
    r->session = NULL;
    r->replay_left = r->generated;
    wait_in_front(s, r);
    s->is_crowded = true;
}

static void make_room(struct serve *s)
{
    uint32_t youngest = 0;

    for (uint32_t i = 1; i < s->running_count; i++) {
        if (s->running[i]->arrival > s->running[youngest]->arrival)
            youngest = i;
    }
    give_way(s, youngest);
}

/* ---- answering ---- */

static void say_text(struct serve *s, struct request *r, bool is_last)
{
    struct message_token_logprobs room[SPEECH_LOGPROBS_MAX];
    struct message m = {.type = MESSAGE_TEXT, .id = r->id};

    while (speech_take(&r->speech, &m.text, is_last, room))
        wire_put(s->wire, &m);
}

static uint64_t us_between(uint64_t start_ns, uint64_t end_ns)
{
    return start_ns && end_ns > start_ns ? (end_ns - start_ns) / 1000 : 0;
}

static void refuse_for_memory(struct serve *s, struct request *r)
{
    struct llmos_error why;

    fail(&why, LLMOS_ENOMEM, "no memory for the answer");
    refuse_request(s, r, &why);
}

/* The last words about a request that is in no list any more. */
static void finish(struct serve *s, struct request *r, uint8_t how)
{
    uint64_t now = clock_ns(), begun = r->begun_ns ? r->begun_ns : now;
    uint64_t first = r->first_ns ? r->first_ns : now;
    struct message m = {.type = MESSAGE_DONE, .id = r->id};

    s->is_crowded = false;
    speech_end(&r->speech);
    if (r->speech.is_bad) {
        refuse_for_memory(s, r);
        return;
    }
    say_text(s, r, true);
    m.done = (struct message_done){
        .finish = how,
        .prompt_tokens = r->prompt_count,
        .cached_tokens = cached_tokens(r),
        .completion_tokens = r->generated,
        .drafted_tokens = r->drafted,
        .accepted_tokens = r->accepted,
        .queue_us = us_between(r->queued_ns, begun),
        .prompt_us = us_between(begun, first),
        .generate_us = us_between(first, now),
    };
    wire_put(s->wire, &m);
    if (r->session)
        retrace_keep(&s->retrace, s->context, r->session, r->prompt_count);
    request_destroy(r);
}

static struct message_logprob logprob_of(const struct serve *s, int32_t token, float logprob)
{
    struct message_logprob l = {.id = token, .logprob = logprob};

    l.token.len = llmos_token_piece(llmos_model_tokenizer(s->model), token, true, &l.token.at);
    if (l.token.len > SPEECH_PIECE_MAX)
        l.token.len = SPEECH_PIECE_MAX;
    if (!(l.logprob >= LOGPROB_LEAST))
        l.logprob = LOGPROB_LEAST;
    if (l.logprob > 0) /* a rounding error above certainty */
        l.logprob = 0;
    return l;
}

/* The text of a token: none of a control token, unless it is one of those asked for. */
static struct str piece_of(const struct serve *s, const struct request *r, int32_t token)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(s->model);
    struct str piece, nothing = STR("");

    piece.len = llmos_token_piece(t, token, false, &piece.at);
    if (piece.len || r->mark_count == 0)
        return piece;
    piece.len = llmos_token_piece(t, token, true, &piece.at);
    for (uint32_t i = 0; i < r->mark_count; i++)
        if (str_is(piece, r->marks[i]))
            return piece;
    return nothing;
}

/* `token` is one of those in out; log-probabilities come only where it is the only one. */
static void put_token(struct serve *s, struct request *r, int32_t token,
                      const struct llmos_step_out *out)
{
    struct message_token_logprobs l;
    struct str piece = piece_of(s, r, token);

    if (!r->speech.want_logprobs) {
        speech_put(&r->speech, piece, NULL);
        return;
    }
    l.chosen = logprob_of(s, token, out->logprob);
    l.text_offset = 0; /* the answer knows */
    l.top_count = out->top_count < MESSAGE_TOP_MAX ? out->top_count : MESSAGE_TOP_MAX;
    for (uint32_t i = 0; i < l.top_count; i++)
        l.top[i] = logprob_of(s, out->top[i].token, out->top[i].logprob);
    speech_put(&r->speech, piece, &l);
}

/* How the request ends with this token; -1: it goes on. */
static int take_token(struct serve *s, struct request *r, int32_t token,
                      const struct llmos_step_out *out)
{
    if (r->replay_left > 0) {
        r->replay_left--;
        return -1;
    }
    if (!r->first_ns)
        r->first_ns = clock_ns();
    if (!r->ignore_eos && llmos_token_ends_generation(llmos_model_tokenizer(s->model), token))
        return FINISH_STOP;
    put_token(s, r, token, out);
    r->generated++;
    s->stats.generated_tokens++;
    if (r->speech.is_stopped)
        return FINISH_STOP;
    return r->generated == r->max_tokens ? FINISH_LENGTH : -1;
}

static void count_guesses(struct serve *s, struct request *r, const struct llmos_step_out *out)
{
    r->drafted += out->drafted;
    r->accepted += out->more_count;
    s->stats.drafted_tokens += out->drafted;
    s->stats.accepted_tokens += out->more_count;
}

/* True if the request is over: it is finished and gone. */
static bool take_out(struct serve *s, struct request *r, const struct llmos_step_out *out)
{
    int how = out->context_full ? FINISH_LENGTH : -1;
    uint32_t taken = 0;

    count_guesses(s, r, out);
    if (out->token >= 0)
        how = take_token(s, r, out->token, out);
    for (; taken < out->more_count && how < 0; taken++)
        how = take_token(s, r, out->more[taken], out);
    /* What is whole needs no end token, and was not cut. */
    if (out->complete && taken == out->more_count)
        how = FINISH_STOP;
    if (r->speech.is_bad) {
        refuse_for_memory(s, r);
        return true;
    }
    if (how >= 0)
        finish(s, r, (uint8_t)how);
    else
        say_text(s, r, false);
    return how >= 0;
}

/* Time of a step goes to prompts and answers by the tokens computed for each. */
static void count_step(struct serve *s, uint64_t ns)
{
    uint64_t prompt = 0, all = 0;

    for (uint32_t i = 0; i < s->running_count; i++) {
        const struct request *r = s->running[i];

        all += s->outs[i].computed;
        if (r->generated == 0 || r->replay_left > 0)
            prompt += s->outs[i].computed;
    }
    s->stats.steps++;
    s->stats.step_sequences += s->running_count;
    s->stats.prompt_tokens += prompt;
    if (all) {
        s->stats.prompt_us += ns / 1000 * prompt / all;
        s->stats.generate_us += ns / 1000 * (all - prompt) / all;
    }
}

/* The batch failed, which one of them spoils it?  A step that fails changes nothing, so each may be
 * tried by itself. */
static void step_alone(struct serve *s)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < s->running_count; i++) {
        struct request *r = s->running[i];
        struct llmos_step_out out;
        struct llmos_error err;

        if (llmos_context_step(s->context, &r->session, 1, &out, &err) < 0)
            refuse_request(s, r, &err);
        else if (!take_out(s, r, &out))
            s->running[kept++] = r;
    }
    s->running_count = kept;
    s->is_crowded = false;
}

static void step(struct serve *s)
{
    uint64_t start = clock_ns();
    uint32_t kept = 0, count = s->running_count;
    bool all_starved = true;

    for (uint32_t i = 0; i < count; i++)
        s->sessions[i] = s->running[i]->session;
    if (llmos_context_step(s->context, s->sessions, count, s->outs, NULL) < 0) {
        step_alone(s);
        return;
    }
    count_step(s, clock_ns() - start);
    for (uint32_t i = 0; i < count; i++) {
        struct request *r = s->running[i];

        all_starved &= s->outs[i].starved;
        if (!take_out(s, r, &s->outs[i]))
            s->running[kept++] = r;
    }
    s->running_count = kept;
    if (all_starved)
        make_room(s);
}

/* ---- what the host says ---- */

static void cancel(struct serve *s, uint64_t id)
{
    if (id == s->alone_id)
        s->alone_is_canceled = true;
    encoding_cancel(s, id);
    for (uint32_t i = 0; i < s->running_count; i++) {
        struct request *r = s->running[i];

        if (r->id == id) {
            memmove(s->running + i, s->running + i + 1,
                    (--s->running_count - i) * sizeof(struct request *));
            finish(s, r, FINISH_CANCELED);
            return;
        }
    }
    for (struct request **at = &s->waiting; *at; at = &(*at)->next) {
        if ((*at)->id == id) {
            finish(s, wait_no_more(s, at), FINISH_CANCELED);
            return;
        }
    }
}

static int generate(struct serve *s, const struct message *m, struct llmos_error *err)
{
    struct request *r = NULL;
    int rc = request_create(&r, s, m, err);

    if (rc == 0) {
        wait_behind(s, r);
        begin_waiting(s);
    }
    return rc;
}

/* A long answer goes out in chunks, and memory for no more than one stands in the wire. */
static int say_tokens(struct serve *s, uint64_t id, const int32_t *tokens, size_t count,
                      struct llmos_error *err)
{
    const size_t chunk = CHUNK_BYTES / sizeof(*tokens);
    size_t at = 0;
    int rc = 0;

    do {
        size_t n = count - at < chunk ? count - at : chunk;

        wire_put(s->wire, &(struct message){.type = MESSAGE_TOKENS,
                                            .id = id,
                                            .tokens = {tokens + at, (uint32_t)n, at + n == count}});
        at += n;
        if (at < count)
            rc = wire_drain(s->wire, false, err);
    } while (rc == 0 && at < count);
    return rc;
}

static int tokenize(struct serve *s, const struct message *m, struct llmos_error *err)
{
    const struct message_tokenize *q = &m->tokenize;
    int flags = (q->add_bos ? LLMOS_TOKENIZE_ADD_BOS | LLMOS_TOKENIZE_ADD_EOS : 0) |
                (q->parse_special ? LLMOS_TOKENIZE_PARSE_SPECIAL : 0);
    const llmos_tokenizer *t;
    int32_t *tokens;
    long n;
    int rc;

    if (!s->model)
        return fail(err, LLMOS_EINVAL, "this engine was not started to tokenize");
    t = llmos_model_tokenizer(s->model);
    n = llmos_tokenize(t, q->text.at, q->text.len, flags, NULL, 0, err);
    if (n < 0)
        return (int)n;
    tokens = mem_zalloc((size_t)n, sizeof(*tokens));
    if (!tokens)
        return fail(err, LLMOS_ENOMEM, "no memory for %ld tokens", n);
    n = llmos_tokenize(t, q->text.at, q->text.len, flags, tokens, (size_t)n, err);
    rc = n < 0 ? (int)n : say_tokens(s, m->id, tokens, (size_t)n, err);
    mem_free(tokens);
    return rc;
}

int serve_say_data(struct serve *s, uint64_t id, struct str bytes, struct llmos_error *err)
{
    size_t at = 0;
    int rc = 0;

    do {
        size_t n = bytes.len - at < CHUNK_BYTES ? bytes.len - at : CHUNK_BYTES;

        wire_put(s->wire, &(struct message){.type = MESSAGE_DATA,
                                            .id = id,
                                            .data = {{bytes.at + at, n}, at + n == bytes.len}});
        at += n;
        if (at < bytes.len)
            rc = wire_drain(s->wire, false, err);
    } while (rc == 0 && at < bytes.len);
    return rc;
}

/* Frees the text. */
static int give_text(struct serve *s, uint64_t id, char *text, size_t length,
                     struct llmos_error *err)
{
    int rc = serve_say_data(s, id, (struct str){text, length}, err);

    llmos_free(text);
    return rc;
}

static int inspect(struct serve *s, uint64_t id, struct llmos_error *err)
{
    size_t length;
    char *json;
    int rc = inspect_parts(s->model_files.fds, s->model_files.count, &json, &length, err);

    return rc < 0 ? rc : give_text(s, id, json, length, err);
}

static int render(struct serve *s, const struct message *m, struct llmos_error *err)
{
    struct str json = m->render.conversation;
    size_t length;
    char *text;
    int rc;

    if (!s->model)
        return fail(err, LLMOS_EINVAL, "this engine was not started to render");
    rc = llmos_chat_render(llmos_model_tokenizer(s->model), json.at, json.len, &text, &length, err);
    return rc < 0 ? rc : give_text(s, m->id, text, length, err);
}

/* The request has the engine for itself until it is over. */
static int begin_alone(struct serve *s, uint64_t id, struct llmos_error *err)
{
    if (s->alone_id || s->running_count || s->waiting)
        return fail(err, LLMOS_EBUSY, "this needs the model for itself, it has other work");
    retrace_yield(&s->retrace);
    s->alone_id = id;
    s->alone_is_canceled = false;
    return 0;
}

static int bench(struct serve *s, const struct message *m, struct llmos_error *err)
{
    struct message_bench want = m->bench; /* the message goes with the next one that is heard */
    uint64_t id = m->id;
    int rc;

    if (!s->context)
        return fail(err, LLMOS_EINVAL, "this engine was not started to answer");
    rc = begin_alone(s, id, err);
    if (rc < 0)
        return rc;
    rc = bench_run(s, id, &want, err);
    s->alone_id = 0;
    begin_waiting(s);
    return rc;
}

static int pack(struct serve *s, uint64_t id, struct llmos_error *err)
{
    int rc;

    if (s->purpose != PURPOSE_PACK)
        return fail(err, LLMOS_EINVAL, "this engine was not started to pack");
    rc = begin_alone(s, id, err);
    if (rc < 0)
        return rc;
    rc = packer_run(s, id, err);
    s->alone_id = 0;
    return rc;
}

static int evaluate(struct serve *s, const struct message *m, struct llmos_error *err)
{
    uint64_t id = m->id;
    int rc;

    if (s->purpose != PURPOSE_EVALUATE)
        return fail(err, LLMOS_EINVAL, "this engine was not started to evaluate");
    rc = begin_alone(s, id, err);
    if (rc < 0)
        return rc;
    rc = examiner_run(s, id, &m->evaluate, err);
    s->alone_id = 0;
    return rc;
}

static int quantize(struct serve *s, const struct message *m, struct llmos_error *err)
{
    struct quantizer_job job = {.has_importance = m->quantize.has_importance,
                                .requantize = m->quantize.requantize};
    uint64_t id = m->id;
    int rc;

    if (s->purpose != PURPOSE_QUANTIZE)
        return fail(err, LLMOS_EINVAL, "this engine was not started to quantise");
    rc = mix_by_name(&job.mix, m->quantize.type, err);
    if (rc == 0)
        rc = begin_alone(s, id, err);
    if (rc < 0)
        return rc;
    rc = quantizer_run(s, id, &job, err);
    s->alone_id = 0;
    return rc;
}

static int convert(struct serve *s, const struct message *m, struct llmos_error *err)
{
    uint64_t id = m->id; /* the message goes with the next one that is heard */
    int rc;

    if (s->purpose != PURPOSE_CONVERT)
        return fail(err, LLMOS_EINVAL, "this engine was not started to convert");
    rc = begin_alone(s, id, err);
    if (rc < 0)
        return rc;
    rc = converter_run(s, id, &m->convert, err);
    s->alone_id = 0;
    return rc;
}

/* Negative: of this request, except LLMOS_ECLOSED. */
static int dispatch(struct serve *s, const struct message *m, struct llmos_error *err)
{
    switch (m->type) {
    case MESSAGE_GENERATE:
        return generate(s, m, err);
    case MESSAGE_CANCEL:
        cancel(s, m->id);
        return 0;
    case MESSAGE_TOKENIZE:
        return tokenize(s, m, err);
    case MESSAGE_INSPECT:
        return inspect(s, m->id, err);
    case MESSAGE_RENDER:
        return render(s, m, err);
    case MESSAGE_BENCH:
        return bench(s, m, err);
    case MESSAGE_PACK:
        return pack(s, m->id, err);
    case MESSAGE_QUANTIZE:
        return quantize(s, m, err);
    case MESSAGE_EVALUATE:
        return evaluate(s, m, err);
    case MESSAGE_CONVERT:
        return convert(s, m, err);
    case MESSAGE_ENCODE:
        return encoding_ask(s, m->id, &m->encode, err);
    default:
        return fail(err, LLMOS_EFORMAT, "SETUP came a second time");
    }
}

int serve_hear(struct serve *s, int timeout_ms, struct llmos_error *err)
{
    int rc = wire_turn(s->wire, timeout_ms, err);

    while (rc == 0) {
        struct llmos_error why;
        struct message m;
        uint64_t id;

        rc = wire_next(s->wire, &m, &why);
        if (rc == 0)
            return 0;
        id = m.id;
        if (rc == 1)
            rc = dispatch(s, &m, &why);
        if (rc < 0 && (id == 0 || rc == LLMOS_ECLOSED))
            return fail(err, rc, "%s", why.text);
        if (rc < 0)
            wire_put_error(s->wire, id, rc, why.text);
        rc = 0;
    }
    return rc;
}

/* ---- the whole ---- */

static void say_stats(struct serve *s)
{
    struct llmos_context_info info;

    if (!s->context)
        return;
    llmos_context_info(s->context, &info);
    s->stats.running = s->running_count;
    s->stats.waiting = s->waiting_count;
    s->stats.kv_tokens_total = info.kv_tokens_total;
    s->stats.kv_tokens_used = info.kv_tokens_total - info.kv_tokens_free;
    s->stats_sent_ns = clock_ns();
    wire_put(s->wire, &(struct message){.type = MESSAGE_STATS, .stats = s->stats});
}

static struct str short_name(const char *text)
{
    struct str s = str_of(text ? text : "");

    if (s.len > MESSAGE_NAME_BYTES_MAX)
        s.len = MESSAGE_NAME_BYTES_MAX;
    s.len = utf8_valid_bytes(s);
    return s;
}

static void say_ready(struct serve *s)
{
    struct message m = {.type = MESSAGE_READY};
    struct str labels[MESSAGE_LABELS_MAX];
    struct llmos_context_info context = {0};
    struct llmos_model_info model = {0};

    if (s->model)
        llmos_model_info(s->model, &model);
    if (s->context)
        llmos_context_info(s->context, &context);
    m.ready = (struct message_ready){
        .architecture = short_name(model.architecture),
        .name = short_name(model.name),
        .file_type = short_name(model.file_type),
        .chat_format =
            short_name(s->model ? llmos_chat_format(llmos_model_tokenizer(s->model)) : NULL),
        .tool_format =
            short_name(s->model ? llmos_chat_tool_format(llmos_model_tokenizer(s->model)) : NULL),
        .thought_format = short_name(
            s->model ? llmos_chat_thought_format(llmos_model_tokenizer(s->model)) : NULL),
        .backend = short_name(context.backend),
        .kv_type = short_name(context.kv_type),
        .context_tokens = context.context_tokens,
        .context_trained = model.context_trained,
        .vocabulary = model.vocabulary,
        .threads = context.threads,
        .parameters = model.parameters,
        .weight_bytes = model.weight_bytes,
        .kv_bytes = context.kv_bytes,
        .scratch_bytes = context.scratch_bytes,
        .load_us = s->load_us > UINT32_MAX ? UINT32_MAX : (uint32_t)s->load_us,
        .packing = s->packing,
    };
    if (s->encoder)
        encoding_fill_ready(s, &m.ready, labels);
    wire_put(s->wire, &m);
}

static bool find_space_prefix(const llmos_tokenizer *t)
{
    int32_t tokens[8];
    long n = llmos_tokenize(t, "a", 1, 0, tokens, 8, NULL);

    for (long i = 0; i < n && i < 8; i++) {
        const char *piece;

        if (llmos_token_piece(t, tokens[i], false, &piece) > 0)
            return piece[0] == ' ';
    }
    return false;
}

/* A name of a SETUP, ended. */
struct setup_name {
    char text[MESSAGE_NAME_BYTES_MAX + 1];
};

static struct setup_name setup_name(struct str s)
{
    struct setup_name name = {""};

    if (s.len)
        memcpy(name.text, s.at, s.len);
    return name;
}

static int set_chat_format(struct serve *s, struct str format, struct llmos_error *err)
{
    if (format.len == 0)
        return 0;
    /* The model is ours and nobody else looks at it: its tokenizer may be changed. */
    return llmos_chat_set_format((llmos_tokenizer *)llmos_model_tokenizer(s->model),
                                 setup_name(format).text, err);
}

static int create_context(struct serve *s, const struct message_setup *setup,
                          struct llmos_error *err)
{
    const struct setup_name kv_type = setup_name(setup->kv_type);
    const struct llmos_context_options options = {
        .threads = setup->threads,
        .context_tokens = setup->context_tokens,
        .sessions_max = setup->sessions_max,
        .kv_tokens = setup->kv_tokens,
        .batch_tokens = setup->batch_tokens,
        .memory_max_bytes = setup->memory_max_bytes,
        .draft_max = setup->draft_max,
        .draft_lookup = setup->draft_lookup,
        .draft_model = s->draft,
        .kv_type = kv_type.text,
    };
    struct llmos_context_info info;
    int rc;

    if (s->model->hparams.family->is_encoder)
        return fail(
            err, LLMOS_EUNSUPPORTED,
            "it is an encoder (%s), which reads whole texts and writes none; try llmos embed, "
            "llmos classify or llmos rerank",
            s->model->hparams.architecture);
    rc = llmos_context_create(&s->context, s->model, &options, err);

    if (rc < 0)
        return rc;
    llmos_context_info(s->context, &info);
    s->context_tokens = info.context_tokens;
    s->memory_left_bytes = setup->memory_max_bytes
                               ? setup->memory_max_bytes - info.kv_bytes - info.scratch_bytes
                               : UINT64_MAX;
    s->sessions_max = setup->sessions_max ? setup->sessions_max : 1;
    s->running = mem_zalloc(s->sessions_max, sizeof(struct request *));
    s->sessions = mem_zalloc(s->sessions_max, sizeof(llmos_session *));
    s->outs = mem_zalloc(s->sessions_max, sizeof(*s->outs));
    s->tokens = mem_zalloc((size_t)s->context_tokens + 1, sizeof(*s->tokens));
    if (!s->running || !s->sessions || !s->outs || !s->tokens)
        return fail(err, LLMOS_ENOMEM, "no memory for %u sequences", s->sessions_max);
    return 0;
}

static int create_encoder(struct serve *s, const struct message_setup *setup,
                          struct llmos_error *err)
{
    const struct llmos_encoder_options options = {.threads = s->threads,
                                                  .tokens_max = setup->context_tokens,
                                                  .memory_max_bytes = setup->memory_max_bytes,
                                                  .batch_tokens = setup->batch_tokens};
    int rc = llmos_encoder_create(&s->encoder, s->model, &options, err);

    return rc < 0 ? rc : encoding_check(s, err);
}

/* A file that cannot be used is no reason not to run, nor are threads that are not to be had. */
static void use_packed(struct serve *s, int fd)
{
    struct pool *pool = NULL;
    int rc;

    if (!packfile_helps(s->model))
        return;
    pool_create(&pool, s->threads, NULL);
    rc = packfile_use(s->model, fd, pool, NULL);
    pool_destroy(pool);
    s->packing = rc == 0 ? PACKING_USED : rc == LLMOS_EFORMAT ? PACKING_DAMAGED : PACKING_NONE;
}

static int load(struct serve *s, int packed_fd, const struct message_setup *setup,
                struct llmos_error *err)
{
    bool has_weights = setup->purpose != PURPOSE_TOKENIZE;
    int rc =
        model_open_parts(&s->model, s->model_files.fds, s->model_files.count, !has_weights, err);

    if (rc < 0 || setup->purpose == PURPOSE_PACK)
        return rc;
    s->has_space_prefix = find_space_prefix(llmos_model_tokenizer(s->model));
    rc = set_chat_format(s, setup->chat_format, err);
    if (rc < 0 || setup->purpose == PURPOSE_TOKENIZE)
        return rc;
    if (setup->has_packed)
        use_packed(s, packed_fd);
    if (setup->draft_model) {
        rc = model_open_parts(&s->draft, s->draft_files.fds, s->draft_files.count, false, err);
        if (rc < 0)
            return fail_while(err, rc,
                              setup->purpose == PURPOSE_EVALUATE ? "base model" : "draft model");
    }
    if (setup->purpose == PURPOSE_ENCODE)
        return create_encoder(s, setup, err);
    return setup->purpose == PURPOSE_RUN ? create_context(s, setup, err) : 0;
}

/* The first of a model's files has its own number, the others stand behind each other. */
static void list_parts(struct parts *p, int first, int others, uint32_t count)
{
    p->count = count ? count : 1;
    p->fds[0] = first;
    for (unsigned i = 1; i < p->count; i++)
        p->fds[i] = others + (int)i - 1;
}

int serve_init(struct serve *s, struct wire *wire, const struct serve_files *files,
               const struct message_setup *setup, struct llmos_error *err)
{
    uint64_t start = clock_ns();
    int rc = 0;

    *s = (struct serve){.wire = wire,
                        .output_fd = files->output,
                        .importance_fd = files->importance,
                        .folder_fd = files->folder,
                        .purpose = setup->purpose,
                        .threads = setup->threads ? setup->threads : 1,
                        .memory_left_bytes = setup->memory_max_bytes};
    s->waiting_end = &s->waiting;
    s->encodings_end = &s->encodings;
    list_parts(&s->model_files, files->model, files->folder, setup->model_parts);
    list_parts(&s->draft_files, files->draft, files->folder + (int)s->model_files.count - 1,
               setup->draft_parts);
    if (setup->purpose != PURPOSE_INSPECT && setup->purpose != PURPOSE_QUANTIZE &&
        setup->purpose != PURPOSE_CONVERT)
        rc = load(s, files->packed, setup, err);
    s->load_us = (clock_ns() - start) / 1000;
    return rc;
}

void serve_fini(struct serve *s)
{
    for (uint32_t i = 0; i < s->running_count; i++)
        request_destroy(s->running[i]);
    while (s->waiting)
        request_destroy(wait_no_more(s, &s->waiting));
    encoding_fini(s);
    retrace_fini(&s->retrace);
    llmos_context_destroy(s->context);
    llmos_encoder_destroy(s->encoder);
    llmos_model_close(s->draft);
    llmos_model_close(s->model);
    mem_free(s->running);
    mem_free(s->sessions);
    mem_free(s->outs);
    mem_free(s->tokens);
}

int serve_run(struct serve *s, struct llmos_error *err)
{
    bool was_busy = false;

    say_ready(s);
    for (;;) {
        bool has_work =
            s->running_count > 0 || s->encodings_count > 0 || retrace_has_work(&s->retrace);
        int rc = serve_hear(s, has_work && wire_is_calm(s->wire) ? 0 : -1, err);

        if (rc == 0 && s->encodings_count > 0 && wire_is_calm(s->wire))
            rc = encoding_step(s, err);

        if (rc == LLMOS_ECLOSED)
            return 0;
        if (rc < 0)
            return rc;
        begin_waiting(s);
        if (s->running_count > 0 && wire_is_calm(s->wire))
            step(s);
        else if (s->running_count == 0 && wire_is_calm(s->wire))
            retrace_step(&s->retrace, s->context, SERVE_DOMAIN);
        begin_waiting(s); /* a place became free: nobody waits for another round */
        if (s->running_count ? clock_ns() - s->stats_sent_ns > STATS_EVERY_NS : was_busy)
            say_stats(s);
        was_busy = s->running_count > 0;
    }
}
