/* SPDX-License-Identifier: Apache-2.0 */
#include "tinybert.h"
#include "with_worker.h"

#include "base/json.h"
#include "base/utf8.h"
#include "llmos/encoder.h"
#include "llmos/model.h"
#include "model/synth.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <sys/socket.h>

static const struct {
    const char *model, *expected;
} real_models[] = {
    {"models/stories260K/stories260K.gguf", "models/stories260K/stories260K.expected.jsonl"},
    {"models/stories260K/stories260K-F16.gguf",
     "models/stories260K/stories260K-F16.expected.jsonl"},
    {"models/babyllama/babyllama105-F32.gguf", "models/babyllama/babyllama105-F32.expected.jsonl"},
};
#define REAL_MODELS (sizeof(real_models) / sizeof(real_models[0]))

/* A small model that needs no file of others. */
static const char *synth_model(void)
{
    static char path[512];
    struct synth_options o;
    int fd;

    if (path[0])
        return path;
    snprintf(path, sizeof(path), "%s", work_path("synth.gguf"));
    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(fd >= 0);
    CHECK_INT(synth_write(fd, &o, NULL), 0);
    close(fd);
    return path;
}

static struct worker *start_engine_with(const char *model, const char *draft,
                                        const struct message_setup *setup)
{
    struct worker_options o = worker_options_for("llmos-engine", model);

    o.draft_path = draft;
    if (setup)
        o.setup = *setup;
    if (!o.setup.threads)
        o.setup.threads = 1;
    return start_ready(&o);
}

static struct worker *start_engine(const char *model, const struct message_setup *setup)
{
    return start_engine_with(model, NULL, setup);
}

/* Asks one thing and takes the whole answer; *a is zero or an older answer, its text the caller's
 * to fini. */
static void ask(struct worker *w, const struct message *m, struct answer *a)
{
    buf_fini(&a->text);
    answer_init(a);
    send_ok(w, m);
    if (answer_wait(a, w, m->id) != 1)
        TEST_FAIL("the engine ended: %s", a->err.text);
}

static void check_ok(const struct answer *a)
{
    if (a->err.code)
        TEST_FAIL("%s", a->err.text);
}

/* ---- the right text ---- */

struct expected {
    struct buf file;
    json_t *line[64];
    size_t count;
};

static void expected_read(struct expected *e, const char *path)
{
    struct json_limits limits = JSON_LIMITS_INIT;
    char *at, *end;

    buf_init(&e->file, 1 << 20);
    e->count = 0;
    CHECK_INT(file_read(path, &e->file, NULL), 0);
    for (at = e->file.at; (end = strchr(at, '\n')) && e->count < 64; at = end + 1)
        CHECK_INT(
            json_parse(&e->line[e->count++], (struct str){at, (size_t)(end - at)}, &limits, NULL),
            0);
    CHECK(e->count > 0);
}

static const char *expected_prompt(const struct expected *e, size_t i)
{
    return json_string_value(json_object_get(e->line[i], "prompt"));
}

static const char *expected_text(const struct expected *e, size_t i)
{
    return json_string_value(json_object_get(e->line[i], "text"));
}

static void expected_fini(struct expected *e)
{
    for (size_t i = 0; i < e->count; i++)
        json_decref(e->line[i]);
    buf_fini(&e->file);
}

static void check_expected(size_t model, uint32_t threads)
{
    const char *path = shared_path(real_models[model].model);
    /* 160 tokens are more than one of them was trained for. */
    struct message_setup setup = {.threads = threads, .context_tokens = 256};
    struct expected e;
    struct worker *w;

    if (!path)
        SKIP("no ../shared/models");
    expected_read(&e, shared_path(real_models[model].expected));
    w = start_engine(path, &setup);
    for (size_t i = 0; i < e.count; i++) {
        struct message m = generate_request(i + 1, expected_prompt(&e, i), 160);
        struct answer a = {0};

        ask(w, &m, &a);
        check_ok(&a);
        CHECK_STR(buf_str(&a.text).at, expected_text(&e, i));
        CHECK_INT(a.done.completion_tokens, 160);
        CHECK_INT(a.tokens, 160);
        buf_fini(&a.text);
    }
    worker_destroy(w);
    expected_fini(&e);
}

TEST(engine_continues_stories260k_as_expected)
{
    check_expected(0, 1);
}

TEST(engine_continues_stories260k_in_f16_as_expected)
{
    check_expected(1, 1);
}

TEST(engine_continues_babyllama_as_expected)
{
    check_expected(2, 1);
}

TEST(engine_says_the_same_with_two_threads)
{
    check_expected(0, 2);
}

TEST(engine_says_the_same_with_four_threads)
{
    check_expected(2, 4);
}

/* Everything at once and compared with each alone.  How many tokens the prompts had together. */
static uint32_t check_together(struct worker *alone, struct worker *together, uint32_t count,
                               uint32_t tokens)
{
    struct answer single[16] = {{{0}}}, joint[16];
    struct message m;
    uint32_t over = 0, prompts = 0;

    for (uint32_t i = 0; i < 2 * count; i++) {
        char prompt[64];

        snprintf(prompt, sizeof(prompt), "%s %u", i % 2 ? "Once upon a time" : "The cat",
                 i % count);
        m = generate_request(1 + i % count, prompt, tokens - i % count);
        m.generate.temperature = (float)(i % count) * 0.25f; /* the first is greedy */
        m.generate.seed = i % count;
        m.generate.text = str_of(prompt + (i % count) % 3);
        if (i < count) {
            ask(alone, &m, &single[i]);
            check_ok(&single[i]);
        } else {
            answer_init(&joint[i - count]);
            send_ok(together, &m);
        }
    }
    while (over < count) {
        struct llmos_error err = {0};

        if (worker_receive(together, &m, 60000, &err) != 1)
            TEST_FAIL("%s", err.text);
        if (m.id)
            over += answer_take(&joint[m.id - 1], &m);
    }
    for (uint32_t i = 0; i < count; i++) {
        check_ok(&joint[i]);
        CHECK(single[i].text.len > 0);
        CHECK_STR(buf_str(&joint[i].text).at, buf_str(&single[i].text).at);
        CHECK_INT(joint[i].tokens, single[i].tokens);
        prompts += joint[i].done.prompt_tokens;
        buf_fini(&single[i].text);
        buf_fini(&joint[i].text);
    }
    return prompts;
}

TEST(engine_gives_eight_at_once_the_bytes_of_each_alone)
{
    struct message_setup one = {.sessions_max = 1}, eight = {.sessions_max = 8, .threads = 2};
    const char *real = shared_path(real_models[0].model);
    struct worker *alone = start_engine(real ? real : synth_model(), &one);
    struct worker *together = start_engine(real ? real : synth_model(), &eight);

    check_together(alone, together, 8, 60);
    worker_destroy(alone);
    worker_destroy(together);
}

/* Who gave way reads its prompt again, and what it had said: more tokens than the prompts have. */
static void check_gave_way(struct worker *w, uint32_t prompts)
{
    struct message m;

    do {
        CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
    } while (m.type != MESSAGE_STATS || m.stats.running || m.stats.waiting);
    CHECK(m.stats.prompt_tokens > prompts);
}

TEST(engine_gives_the_same_bytes_to_those_who_give_way_when_the_cache_is_short)
{
    /* Eight sequences of up to 90 tokens, and pages for little more than one. */
    struct message_setup one = {.sessions_max = 1, .context_tokens = 128};
    struct message_setup eight = {.sessions_max = 8, .context_tokens = 128, .kv_tokens = 128};
    struct worker *alone = start_engine(synth_model(), &one);

    for (eight.threads = 1; eight.threads <= 4; eight.threads++) {
        struct worker *together = start_engine(synth_model(), &eight);

        check_gave_way(together, check_together(alone, together, 8, 90));
        worker_destroy(together);
    }
    worker_destroy(alone);
}

/* ---- guesses ---- */

static void check_same_answer(const struct answer *a, const struct answer *b)
{
    check_ok(a);
    check_ok(b);
    CHECK_STR(buf_str(&a->text).at, buf_str(&b->text).at);
    CHECK_INT(a->tokens, b->tokens);
    CHECK_INT(a->done.prompt_tokens, b->done.prompt_tokens);
}

/* A text that says the same again and again, with stop strings, seeds, limits and log-probabilities
 * as they come: every answer is what an engine that does not guess says. */
static void check_guesses(const char *model, const char *draft, struct message_setup guessing,
                          uint64_t *accepted)
{
    struct message_setup plain = guessing;
    struct worker *w[2];
    uint64_t id = 0;

    plain.draft_max = 0;
    w[0] = start_engine(model, &plain);
    w[1] = start_engine_with(model, draft, &guessing);
    *accepted = 0;
    for (uint32_t i = 0; i < 12; i++) {
        struct answer a[2] = {{{0}}};

        for (int k = 0; k < 2; k++) {
            struct message m = generate_request(
                ++id,
                "Lily has a red ball. Tom has a red ball. Lily has a red ball. Tom has a red ball. "
                "Lily has a red",
                i == 3 ? 1 : 40 + i);

            m.generate.temperature = i % 3 == 2 ? 0.7f : 0;
            m.generate.seed = i;
            m.generate.repeat_penalty = i == 4 ? 1.2f : 1;
            m.generate.stop_count = i % 4 == 1;
            m.generate.stops[0] = STR("has a");
            m.generate.want_logprob = i == 7;
            m.generate.ignore_eos = i % 2;
            ask(w[k], &m, &a[k]);
        }
        check_same_answer(&a[0], &a[1]);
        CHECK_INT(a[0].done.finish, a[1].done.finish);
        CHECK_INT(a[0].logprobs, a[1].logprobs);
        CHECK_INT(a[0].done.completion_tokens, a[1].done.completion_tokens);
        CHECK_INT(a[0].done.drafted_tokens, 0);
        if (i == 7)
            CHECK_INT(a[1].done.drafted_tokens, 0);
        *accepted += a[1].done.accepted_tokens;
        for (int k = 0; k < 2; k++)
            buf_fini(&a[k].text);
    }
    worker_destroy(w[0]);
    worker_destroy(w[1]);
}

TEST(engine_says_the_same_with_guesses)
{
    struct message_setup guessing = {.draft_max = 8, .draft_lookup = true};
    const char *real = shared_path(real_models[0].model);
    uint64_t accepted;

    check_guesses(synth_model(), NULL, guessing, &accepted);
    if (!real)
        SKIP("no real model: whether a text that repeats itself is guessed was not seen");
    check_guesses(real, NULL, guessing, &accepted);
    CHECK(accepted > 0); /* whether it pays is not known before it was tried */
}

/* Its own draft model, which is too slow to pay but tried at times. */
TEST(engine_says_the_same_with_a_draft_model)
{
    struct message_setup guessing = {.draft_max = 4};
    uint64_t accepted;

    check_guesses(synth_model(), synth_model(), guessing, &accepted);
    CHECK(accepted > 0);
}

TEST(engine_refuses_a_draft_model_of_another_vocabulary)
{
    const char *real = shared_path(real_models[0].model);
    struct worker_options o = worker_options_for("llmos-engine", synth_model());
    struct llmos_error err = {0};
    struct worker *w;
    struct message m;

    if (!real)
        SKIP("no second model with another vocabulary");
    o.setup.draft_max = 4;
    o.draft_path = real;
    CHECK_INT(worker_start(&w, &o, &err), 0);
    CHECK_INT(worker_receive(w, &m, 60000, &err), 1);
    CHECK_INT(m.type, MESSAGE_ERROR);
    CHECK_INT(m.error.code, LLMOS_EINVAL);
    CHECK(memmem(m.error.text.at, m.error.text.len, "same vocabulary", 15));
    worker_destroy(w);
}

TEST(engine_with_guesses_says_the_same_together_and_when_the_cache_is_short)
{
    struct message_setup one = {.sessions_max = 1, .context_tokens = 128};
    struct message_setup eight = {.sessions_max = 8,
                                  .context_tokens = 128,
                                  .kv_tokens = 128,
                                  .draft_max = 4,
                                  .draft_lookup = true};
    struct worker *alone = start_engine(synth_model(), &one);
    struct worker *together = start_engine(synth_model(), &eight);

    check_together(alone, together, 8, 90);
    worker_destroy(alone);
    worker_destroy(together);
}

TEST(engine_repeats_itself_for_the_same_seed_only)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(1, "Once", 30);
    struct answer a[3] = {{{0}}};

    m.generate.temperature = 1;
    for (int i = 0; i < 3; i++) {
        m.generate.seed = i == 2 ? 8 : 7;
        m.id++;
        ask(w, &m, &a[i]);
        check_ok(&a[i]);
    }
    CHECK_STR(a[0].text.at, a[1].text.at);
    CHECK(strcmp(a[0].text.at, a[2].text.at) != 0);
    for (int i = 0; i < 3; i++)
        buf_fini(&a[i].text);
    worker_destroy(w);
}

/* ---- prompts that begin alike ---- */

static struct message tokens_request(uint64_t id, const int32_t *tokens, uint32_t count)
{
    struct message m = generate_request(id, "", 20);

    m.generate.prompt_kind = PROMPT_TOKENS;
    m.generate.tokens = tokens;
    m.generate.count = count;
    m.generate.temperature = 0.9f;
    m.generate.seed = 5;
    m.generate.ignore_eos = true;
    return m;
}

/* Prompts of 330 tokens that share the first 300. */
static void sharing_prompts(int32_t one[330], int32_t other[330])
{
    for (int i = 0; i < 330; i++) {
        one[i] = 5 + i * 7 % 200;
        other[i] = i < 300 ? one[i] : one[i] + 1;
    }
}

TEST(engine_does_not_compute_a_beginning_twice)
{
    struct message_setup setup = {.context_tokens = 512, .sessions_max = 2};
    struct worker *used = start_engine(synth_model(), &setup);
    struct worker *fresh = start_engine(synth_model(), &setup);
    struct answer a = {0}, expected = {0};
    int32_t one[330], other[330];
    struct message m;

    sharing_prompts(one, other);
    m = tokens_request(1, one, 330);
    ask(used, &m, &a);
    check_ok(&a);
    CHECK_INT(a.done.cached_tokens, 0);
    m = tokens_request(2, other, 330);
    ask(used, &m, &a);
    ask(fresh, &m, &expected);
    check_same_answer(&a, &expected);
    CHECK_INT(a.done.cached_tokens, 300);
    CHECK_INT(expected.done.cached_tokens, 0);
    m.id = 3;
    ask(used, &m, &a);
    check_same_answer(&a, &expected);
    CHECK_INT(a.done.cached_tokens, 329);
    buf_fini(&a.text);
    buf_fini(&expected.text);
    worker_destroy(used);
    worker_destroy(fresh);
}

/* Asks, and says which tokens came. */
static uint32_t ask_for_tokens(struct worker *w, struct message *m, int32_t *tokens)
{
    uint64_t id = m->id;
    uint32_t n = 0;

    m->generate.want_logprob = true;
    send_ok(w, m);
    do {
        CHECK_INT(worker_receive(w, m, 60000, NULL), 1);
        for (uint32_t i = 0; m->type == MESSAGE_TEXT && i < m->text.logprob_count; i++)
            tokens[n++] = m->text.logprobs[i].chosen.id;
    } while (m->id != id || m->type != MESSAGE_DONE);
    return n;
}

/* Where answers are computed by other kernels than prompts, it takes a while until they are found:
 * the engine computes them again when it has nothing else to do. */
TEST(engine_finds_what_it_said_in_the_next_turn)
{
    struct message_setup setup = {.context_tokens = 512, .sessions_max = 2};
    struct worker *used = start_engine(synth_model(), &setup);
    struct worker *fresh = start_engine(synth_model(), &setup);
    struct answer a = {0}, expected = {0};
    int32_t tokens[380], other[330];
    uint32_t wait_ms = 1;

    do {
        struct message m;

        CHECK(wait_ms < 60000);
        sharing_prompts(tokens, other);
        tokens[0] = 5 + (int32_t)wait_ms % 200; /* a conversation that nobody knows */
        m = tokens_request(1, tokens, 330);
        CHECK_INT(ask_for_tokens(used, &m, tokens + 330), 20);
        usleep(1000 * wait_ms);
        memcpy(tokens + 350, other, 30 * sizeof(*other));
        m = tokens_request(2, tokens, 380);
        ask(used, &m, &a);
        m.id = 3;
        ask(fresh, &m, &expected);
        check_same_answer(&a, &expected);
        CHECK(a.done.cached_tokens >= 330);
        wait_ms *= 2;
    } while (a.done.cached_tokens < 349);
    buf_fini(&a.text);
    buf_fini(&expected.text);
    worker_destroy(used);
    worker_destroy(fresh);
}

TEST(engine_keeps_what_a_canceled_request_has_computed)
{
    struct message_setup setup = {.context_tokens = 2048};
    struct worker *w = start_engine(synth_model(), &setup);
    struct answer a = {0};
    int32_t one[330], other[330];
    struct message m;

    sharing_prompts(one, other);
    m = tokens_request(1, one, 330);
    m.generate.max_tokens = 0;
    send_ok(w, &m);
    do { /* its prompt is done when it says something */
        CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
    } while (m.type != MESSAGE_TEXT);
    send_ok(w, &(struct message){.type = MESSAGE_CANCEL, .id = 1});
    do {
        CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
    } while (m.type != MESSAGE_DONE);
    m = tokens_request(2, other, 330);
    ask(w, &m, &a);
    check_ok(&a);
    CHECK_INT(a.done.cached_tokens, 300);
    buf_fini(&a.text);
    worker_destroy(w);
}

TEST(engine_gives_the_same_bytes_to_many_that_begin_alike_when_the_cache_is_short)
{
    /* Six that share 300 tokens with one another, pages for little more than one. */
    struct message_setup setup = {.context_tokens = 384, .sessions_max = 6, .kv_tokens = 448};
    struct worker *w = start_engine(synth_model(), &setup);
    struct answer expected = {0}, a[12];
    int32_t one[330], other[330];
    struct message m;
    uint32_t over = 0, cached = 0;

    sharing_prompts(one, other);
    for (uint64_t i = 0; i < 12; i++) {
        answer_init(&a[i]);
        m = tokens_request(i + 1, i % 2 ? other : one, 330);
        m.generate.max_tokens = 40;
        send_ok(w, &m);
    }
    while (over < 12) {
        CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
        if (m.id)
            over += answer_take(&a[m.id - 1], &m);
    }
    worker_destroy(w);
    for (uint64_t i = 0; i < 12; i++) {
        if (i < 2) {
            w = start_engine(synth_model(), &setup);
            m = tokens_request(1, i % 2 ? other : one, 330);
            m.generate.max_tokens = 40;
            ask(w, &m, &expected);
            worker_destroy(w);
            for (uint64_t k = i; k < 12; k += 2)
                check_same_answer(&a[k], &expected);
        }
        CHECK(a[i].done.cached_tokens < 330);
        cached += a[i].done.cached_tokens > 0;
        buf_fini(&a[i].text);
    }
    CHECK(cached >= 6); /* those that came later */
    buf_fini(&expected.text);
}

/* ---- the parts of an answer ---- */

TEST(engine_stops_at_a_string_wherever_it_lies)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(1, "Once", 40);
    struct answer whole = {0}, cut = {0};

    ask(w, &m, &whole);
    check_ok(&whole);
    CHECK(whole.text.len > 30);
    /* Every string of 7 bytes of the first 30: token boundaries lie everywhere in them. */
    for (size_t at = 0; at + 7 < 30; at++) {
        struct str stop = {whole.text.at + at, 7};
        const char *first;

        while (((unsigned char)stop.at[0] & 0xc0) == 0x80)
            stop.at++;
        while (stop.len && utf8_valid_bytes(stop) != stop.len)
            stop.len--;
        if (!stop.len)
            continue;
        first = memmem(whole.text.at, whole.text.len, stop.at, stop.len);
        m.id++;
        m.generate.stop_count = 1;
        m.generate.stops[0] = stop;
        ask(w, &m, &cut);
        check_ok(&cut);
        CHECK_INT(cut.done.finish, FINISH_STOP);
        CHECK(str_eq(buf_str(&cut.text),
                     (struct str){whole.text.at, (size_t)(first - whole.text.at)}));
        CHECK_INT(cut.tokens, cut.done.completion_tokens);
        buf_fini(&cut.text);
    }
    buf_fini(&whole.text);
    worker_destroy(w);
}

TEST(engine_echoes_the_prompt_first)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(1, "Once  upon\xc3\xa9", 5);
    struct answer plain = {0}, echo = {0};

    ask(w, &m, &plain);
    m.id = 2;
    m.generate.echo = true;
    ask(w, &m, &echo);
    check_ok(&echo);
    CHECK(str_starts(buf_str(&echo.text), m.generate.text));
    CHECK_STR(echo.text.at + m.generate.text.len, buf_str(&plain.text).at);
    CHECK_INT(echo.done.completion_tokens, 5);
    buf_fini(&plain.text);
    buf_fini(&echo.text);
    worker_destroy(w);
}

/* What one token's report must be, whatever the model says. */
static void check_logprobs(const struct message_token_logprobs *l)
{
    double sum = 0;

    CHECK_INT(l->top_count, 20);
    CHECK_INT(l->top[0].id, l->chosen.id); /* greedy takes the most likely */
    CHECK(l->top[0].logprob == l->chosen.logprob);
    for (uint32_t i = 0; i < l->top_count; i++) {
        sum += exp((double)l->top[i].logprob);
        CHECK(i == 0 || l->top[i].logprob <= l->top[i - 1].logprob);
    }
    CHECK(sum > 0 && sum <= 1.0001);
}

TEST(engine_reports_logprobs_of_every_token)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(1, "Once", 60);
    struct answer a;
    struct buf pieces;
    uint32_t offsets[60], starts[61] = {0}, seen = 0, found = 0;

    answer_init(&a);
    buf_init(&pieces, 1 << 16);
    m.generate.want_logprob = true;
    m.generate.top_logprobs = 20;
    send_ok(w, &m);
    do {
        CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
        for (uint32_t i = 0; m.type == MESSAGE_TEXT && i < m.text.logprob_count; i++) {
            check_logprobs(&m.text.logprobs[i]);
            CHECK(seen < 60);
            offsets[seen] = m.text.logprobs[i].text_offset;
            buf_put(&pieces, m.text.logprobs[i].chosen.token.at,
                    m.text.logprobs[i].chosen.token.len);
            starts[++seen] = (uint32_t)pieces.len;
        }
    } while (!answer_take(&a, &m));
    CHECK_INT(seen, a.done.completion_tokens);
    /* A token that is text by itself stands in the answer where its offset says. */
    for (uint32_t i = 0; i < seen; i++) {
        struct str piece = {pieces.at + starts[i], starts[i + 1] - starts[i]};

        CHECK(offsets[i] <= a.text.len && (i == 0 || offsets[i] >= offsets[i - 1]));
        /* control tokens ("<s>") have a name, but say nothing */
        if (piece.len == 0 || piece.at[0] == '<' || (unsigned char)piece.at[0] >= 0x80 ||
            utf8_valid_bytes(piece) != piece.len)
            continue;
        CHECK(offsets[i] + piece.len <= a.text.len);
        /* behind a character that was never completed stands U+FFFD */
        CHECK(memcmp(a.text.at + offsets[i], piece.at, piece.len) == 0 ||
              memcmp(a.text.at + offsets[i], "\xef\xbf\xbd", 3) == 0);
        found++;
    }
    CHECK(found > 5);
    buf_fini(&pieces);
    buf_fini(&a.text);
    worker_destroy(w);
}

TEST(engine_bans_and_forces_tokens_by_bias)
{
    __typeof__(*((struct message_generate *)0)->bias) bias[1];
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(1, "Once", 1);
    struct answer a = {0};
    int32_t first = -1, second = -1;

    m.generate.want_logprob = true;
    for (int round = 0; round < 2; round++) {
        struct message got;

        send_ok(w, &m);
        do {
            CHECK_INT(worker_receive(w, &got, 10000, NULL), 1);
            if (got.type == MESSAGE_TEXT && got.text.logprob_count) {
                second = got.text.logprobs[0].chosen.id;
                if (round == 0)
                    first = second;
            }
        } while (got.type != MESSAGE_DONE);
        m.id++;
        bias[0].token = first;
        bias[0].bias = -100;
        m.generate.bias = bias;
        m.generate.bias_count = 1;
    }
    CHECK(first != second);
    bias[0].token = 1 << 30;
    ask(w, &m, &a);
    CHECK_INT(a.err.code, LLMOS_EINVAL);
    buf_fini(&a.text);
    worker_destroy(w);
}

TEST(engine_sends_control_tokens_that_are_asked_for)
{
    __typeof__(*((struct message_generate *)0)->bias) bias[] = {{1, 100}}; /* <s> ends nothing */
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(1, "Once", 3);
    struct answer a = {0};

    m.generate.bias = bias;
    m.generate.bias_count = 1;
    ask(w, &m, &a);
    check_ok(&a);
    CHECK_INT(a.text.len, 0);
    CHECK_INT(a.done.completion_tokens, 3);
    m.id = 2;
    m.generate.marks[0] = STR("<unk>");
    m.generate.marks[1] = STR("<s>");
    m.generate.mark_count = 2;
    ask(w, &m, &a);
    check_ok(&a);
    CHECK_STR(buf_str(&a.text).at, "<s><s><s>");
    buf_fini(&a.text);
    worker_destroy(w);
}

TEST(engine_says_what_the_prompt_has_begun_of_an_answer)
{
    static const char *const begun[] = {"", "Hi", "Ho"};
    struct worker *w = start_engine(synth_model(), NULL);
    char text[3][64];

    for (uint32_t i = 0; i < 3; i++) {
        struct message m = generate_request(1 + i, "[{\"role\":\"user\",\"content\":\"Hi \"}]", 3);
        struct answer a = {0};

        m.generate.prompt_kind = PROMPT_CHAT;
        m.generate.begun = str_of(begun[i]);
        m.generate.grammar = STR("root ::= (\"Hi\" [ab]* \"c\" | [ab]* \"d\")");
        ask(w, &m, &a);
        check_ok(&a);
        snprintf(text[i], sizeof(text[i]), "%s", buf_str(&a.text).at);
        buf_fini(&a.text);
    }
    CHECK(strncmp(text[1], "Hi", 2) == 0 && strspn(text[1] + 2, "abc") == strlen(text[1] + 2));
    CHECK_STR(text[2], text[0]); /* the prompt ends otherwise */
    worker_destroy(w);
}

TEST(engine_says_marks_where_a_grammar_has_them)
{
    struct worker *w = start_engine(synth_model(), NULL);
    uint32_t tokens[2];

    for (uint32_t i = 0; i < 2; i++) {
        struct message m = generate_request(1 + i, "Once", 20);
        struct answer a = {0};

        m.generate.grammar = STR("root ::= \"a<s>b\"");
        m.generate.marks[0] = STR("<s>");
        m.generate.mark_count = i;
        ask(w, &m, &a);
        check_ok(&a);
        CHECK_STR(buf_str(&a.text).at, "a<s>b");
        tokens[i] = a.done.completion_tokens;
        buf_fini(&a.text);
    }
    CHECK_INT(tokens[1], 3); /* a mark is one, its letters are not */
    CHECK(tokens[0] > tokens[1]);
    worker_destroy(w);
}

TEST(engine_answers_as_much_as_fits_when_no_length_is_given)
{
    struct message_setup setup = {.context_tokens = 32};
    struct worker *w = start_engine(synth_model(), &setup);
    struct message m = generate_request(1, "Once", 0);
    struct answer a = {0};

    m.generate.ignore_eos = true;
    ask(w, &m, &a);
    check_ok(&a);
    CHECK_INT(a.done.finish, FINISH_LENGTH);
    CHECK_INT(a.done.prompt_tokens + a.done.completion_tokens, 32);
    buf_fini(&a.text);
    worker_destroy(w);
}

/* ---- bad requests ---- */

TEST(engine_names_both_lengths_of_a_prompt_too_long)
{
    struct message_setup setup = {.context_tokens = 32};
    struct worker *w = start_engine(synth_model(), &setup);
    char *big = mem_zalloc(1, 1 << 20);
    struct message m = generate_request(1, "", 1);
    struct answer a = {0};
    unsigned long prompt = 0;

    memset(big, 'a', 1 << 20);
    m.generate.text = (struct str){big, 1 << 20};
    ask(w, &m, &a);
    CHECK_INT(a.err.code, LLMOS_ECONTEXT);
    CHECK(sscanf(a.err.text, "the prompt has %lu tokens", &prompt) == 1);
    CHECK(prompt > 10000);
    CHECK_CONTAINS(a.err.text, "the context holds 32");
    m = generate_request(2, "a b", 1); /* and it goes on */
    ask(w, &m, &a);
    check_ok(&a);
    buf_fini(&a.text);
    worker_destroy(w);
    mem_free(big);
}

TEST(engine_refuses_what_makes_no_sense_and_goes_on)
{
    static const int32_t outside[] = {1, 1 << 30}, negative[] = {-1};
    struct worker *w = start_engine(synth_model(), NULL);
    struct message bad[6], m;
    struct answer a = {0};

    for (int i = 0; i < 6; i++)
        bad[i] = generate_request((uint64_t)i + 1, "Once", 3);
    bad[0].generate.temperature = -1;
    bad[1].generate.top_p = 2;
    bad[2].generate.prompt_kind = bad[3].generate.prompt_kind = PROMPT_TOKENS;
    bad[2].generate.tokens = outside;
    bad[2].generate.count = 2;
    bad[3].generate.tokens = negative;
    bad[3].generate.count = 1;
    bad[4].generate.prompt_kind = PROMPT_CHAT;
    bad[4].generate.text = STR("[{\"role\":\"emperor\",\"content\":\"hello\"}]");
    bad[5].generate.temperature = NAN; /* does not even pass as a message */
    for (int i = 0; i < 6; i++) {
        ask(w, &bad[i], &a);
        CHECK(a.err.code == LLMOS_EINVAL || a.err.code == LLMOS_EFORMAT);
        CHECK(strlen(a.err.text) > 10);
    }
    m = generate_request(100, "Once", 3);
    ask(w, &m, &a);
    check_ok(&a);
    buf_fini(&a.text);
    worker_destroy(w);
}

TEST(engine_begins_an_empty_prompt_with_the_first_token)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(1, "", 3);
    struct answer a = {0};

    ask(w, &m, &a);
    check_ok(&a);
    CHECK_INT(a.done.prompt_tokens, 1);
    m.id = 2;
    m.generate.prompt_kind = PROMPT_TOKENS; /* no tokens at all */
    ask(w, &m, &a);
    CHECK_INT(a.err.code, LLMOS_EINVAL);
    CHECK_CONTAINS(a.err.text, "the prompt is empty");
    buf_fini(&a.text);
    worker_destroy(w);
}

TEST(engine_bounds_its_queue)
{
    struct worker *w = start_engine(synth_model(), NULL);
    uint32_t busy = 0, done = 0, sent = 1100;
    struct message m;

    for (uint32_t i = 0; i < sent; i++) {
        m = generate_request(i + 1, "Once", 20);
        send_ok(w, &m);
    }
    while (busy + done < sent) {
        CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
        done += m.type == MESSAGE_DONE;
        if (m.type == MESSAGE_ERROR) {
            busy++;
            CHECK_INT(m.error.code, LLMOS_EBUSY);
        }
    }
    CHECK(done >= 1024);
    CHECK(busy > 0);
    worker_destroy(w);
}

TEST(engine_answers_in_the_order_of_asking)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m;
    uint64_t next = 1;

    for (uint64_t id = 1; id <= 5; id++) {
        m = generate_request(id, "Once", 5);
        send_ok(w, &m);
    }
    while (next <= 5) {
        CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
        if (m.type == MESSAGE_DONE)
            CHECK_INT(m.id, next++);
    }
    worker_destroy(w);
}

TEST(engine_cancels_what_runs_and_what_waits)
{
    struct message_setup setup = {.context_tokens = 256};
    struct worker *w = start_engine(synth_model(), &setup);
    struct message m, first = generate_request(1, "Once", 0),
                      second = generate_request(2, "Once", 0);
    uint32_t canceled = 0;

    first.generate.ignore_eos = second.generate.ignore_eos = true;
    send_ok(w, &first);
    send_ok(w, &second); /* one sequence only: it waits */
    send_ok(w, &(struct message){.type = MESSAGE_CANCEL, .id = 2});
    do
        CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
    while (m.type != MESSAGE_DONE);
    if (m.id == 1)
        SKIP("the machine was faster than the test");
    CHECK_INT(m.id, 2);
    CHECK_INT(m.done.finish, FINISH_CANCELED);
    CHECK_INT(m.done.completion_tokens, 0);
    send_ok(w, &(struct message){.type = MESSAGE_CANCEL, .id = 1});
    do {
        CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
        canceled += m.type == MESSAGE_DONE && m.done.finish == FINISH_CANCELED;
    } while (m.type != MESSAGE_DONE);
    CHECK_INT(m.id, 1);
    CHECK(canceled == 1 || m.done.completion_tokens > 200);
    worker_destroy(w);
}

/* Processor time of the engine so far, in ticks. */
static unsigned long ticks_of(const struct worker *w)
{
    unsigned long user = 0, kernel = 0;
    struct buf text;
    char path[64];

    buf_init(&text, 4096);
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)worker_vce(w)->pid);
    CHECK_INT(file_read(path, &text, NULL), 0);
    CHECK_INT(sscanf(strrchr(text.at, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                     &user, &kernel),
              2);
    buf_fini(&text);
    return user + kernel;
}

TEST(engine_stops_working_for_a_host_that_does_not_read)
{
    struct message_setup setup = {.sessions_max = 8, .context_tokens = 512};
    struct worker *w = start_engine(synth_model(), &setup);
    uint32_t over = 0, canceled = 0;
    unsigned long before, now;
    struct message m;

    /* 19200 tokens with about 6 MiB of log-probabilities: more than socket and engine keep. */
    for (uint64_t id = 1; id <= 64; id++) {
        m = generate_request(id, "Once", 300);
        m.generate.want_logprob = m.generate.ignore_eos = true;
        m.generate.top_logprobs = 20;
        send_ok(w, &m);
    }
    now = ticks_of(w);
    do {
        before = now;
        usleep(200000);
        now = ticks_of(w);
    } while (now != before);
    /* It rests, but not because all is done; and it listens. */
    for (uint64_t id = 1; id <= 64; id++)
        send_ok(w, &(struct message){.type = MESSAGE_CANCEL, .id = id});
    while (over < 64) {
        CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
        over += m.type == MESSAGE_DONE;
        canceled += m.type == MESSAGE_DONE && m.done.finish == FINISH_CANCELED;
    }
    CHECK(canceled > 16);
    worker_destroy(w);
}

/* ---- hosts that break the rules, and hosts that go ---- */

/* Writes raw bytes on the socket of a worker that is ready; what the engine says to that. */
static void check_ends(const struct buf *bytes, const char *says)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct llmos_error err = {0};
    struct message m;

    CHECK(!bytes->bad);
    CHECK_INT(file_write_all(worker_vce(w)->socket, bytes->at, bytes->len), 0);
    CHECK_INT(worker_receive(w, &m, 10000, &err), 1);
    CHECK_INT(m.type, MESSAGE_ERROR);
    CHECK_INT(m.id, 0);
    fail(&err, m.error.code, "%.*s", STR_ARG(m.error.text));
    CHECK_CONTAINS(err.text, says);
    CHECK_INT(worker_receive(w, &m, 10000, &err), LLMOS_ECLOSED);
    CHECK_CONTAINS(err.text, "exited with 1");
    worker_destroy(w);
}

TEST(engine_ends_when_its_host_breaks_the_rules)
{
    struct buf b;

    buf_init(&b, 1000);
    message_put(&b, &(struct message){.type = MESSAGE_SETUP});
    check_ends(&b, "SETUP came a second time");
    buf_clear(&b);
    frame_end(&b, frame_begin(&b, 999, 1));
    check_ends(&b, "a frame of type 999, which a host may not send");
    buf_clear(&b);
    frame_end(&b, frame_begin(&b, MESSAGE_TEXT, 1));
    check_ends(&b, "which a host may not send");
    buf_clear(&b);
    buf_put_u32(&b, FRAME_TO_ENGINE_MAX + 1);
    buf_put_u32(&b, MESSAGE_GENERATE);
    buf_put_u64(&b, 1);
    check_ends(&b, "a frame of 16777217 bytes, at most 16777216 are accepted");
    buf_fini(&b);
}

TEST(engine_forgives_a_malformed_request)
{
    struct worker *w = start_engine(synth_model(), NULL);
    struct message m = generate_request(7, "Once", 0);
    struct answer a = {0};
    struct buf b;

    /* The worker expects answers to what it sent itself: so 7 runs, and the broken frame is about 7
     * too. */
    buf_init(&b, 1000);
    message_put(&b, &m);
    b.at[FRAME_HEAD_BYTES] = 9; /* the kind of prompt */
    m.generate.ignore_eos = true;
    CHECK_INT(kill(worker_vce(w)->pid, SIGSTOP), 0); /* or it may be done with 7 between the two */
    send_ok(w, &m);
    CHECK_INT(file_write_all(worker_vce(w)->socket, b.at, b.len), 0);
    CHECK_INT(kill(worker_vce(w)->pid, SIGCONT), 0);
    answer_init(&a);
    CHECK_INT(answer_wait(&a, w, 7), 1);
    CHECK_INT(a.err.code, LLMOS_EFORMAT);
    CHECK_STR(a.err.text, "GENERATE frame: field 'prompt_kind' is 9, at most 2 is allowed");
    buf_fini(&b);
    buf_fini(&a.text);
    worker_destroy(w);
}

TEST(engine_ends_when_its_host_goes)
{
    for (int is_busy = 0; is_busy < 2; is_busy++) {
        struct worker *w = start_engine(synth_model(), NULL);
        struct message m = generate_request(1, "Once", 0);
        struct llmos_error err = {0};
        int rc;

        m.generate.ignore_eos = true;
        if (is_busy)
            send_ok(w, &m);
        CHECK_INT(shutdown(worker_vce(w)->socket, SHUT_WR), 0);
        while ((rc = worker_receive(w, &m, 10000, &err)) == 1)
            CHECK(m.type != MESSAGE_DONE || m.done.completion_tokens > 0);
        CHECK_INT(rc, LLMOS_ECLOSED);
        CHECK_CONTAINS(err.text, "exited with 0");
        worker_destroy(w);
    }
}

/* ---- other questions ---- */

TEST(engine_tokenizes_as_the_library_does)
{
    const char *path = synth_model();
    struct message_setup setup = {.purpose = PURPOSE_TOKENIZE};
    struct worker *w = start_engine(path, &setup);
    struct message m = {
        .type = MESSAGE_TOKENIZE, .id = 1, .tokenize = {STR("Once upon \xff</s>"), true, true}};
    llmos_model *model;
    struct answer a = {0};
    int32_t tokens[64];
    long n;

    CHECK_INT(llmos_model_open(&model, path, NULL), 0);
    for (int flags = 0; flags < 4; flags++) {
        m.id++;
        m.type = MESSAGE_TOKENIZE;
        m.tokenize = (struct message_tokenize){STR("Once upon \xff</s>"), flags & 1, flags & 2};
        n = llmos_tokenize(llmos_model_tokenizer(model), m.tokenize.text.at, m.tokenize.text.len,
                           flags, tokens, 64, NULL);
        CHECK(n > 2 && n < 64);
        send_ok(w, &m);
        CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
        CHECK_INT(m.type, MESSAGE_TOKENS);
        CHECK(m.tokens.last);
        CHECK_INT(m.tokens.count, n);
        CHECK(memcmp(m.tokens.tokens, tokens, (size_t)n * sizeof(*tokens)) == 0);
    }
    m = generate_request(100, "Once", 3);
    ask(w, &m, &a);
    CHECK_INT(a.err.code, LLMOS_EINVAL);
    CHECK_CONTAINS(a.err.text, "was not started to answer");
    buf_fini(&a.text);
    llmos_model_close(model);
    worker_destroy(w);
}

TEST(engine_renders_a_conversation)
{
    struct message_setup setup = {.purpose = PURPOSE_TOKENIZE, .chat_format = STR("chatml")};
    struct worker *w = start_engine(synth_model(), &setup);
    struct message m = {.type = MESSAGE_RENDER,
                        .id = 1,
                        .render = {STR("[{\"role\": \"user\", \"content\": \"Hi\"}]")}};

    send_ok(w, &m);
    CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
    CHECK_INT(m.type, MESSAGE_DATA);
    CHECK(m.data.last);
    CHECK(str_is(m.data.bytes, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"));
    m = (struct message){.type = MESSAGE_RENDER, .id = 2, .render = {STR("[1")}};
    send_ok(w, &m);
    CHECK_INT(worker_receive(w, &m, 10000, NULL), 1);
    CHECK_INT(m.type, MESSAGE_ERROR);
    CHECK_INT(m.error.code, LLMOS_EFORMAT);
    worker_destroy(w);
}

TEST(engine_tokenizes_more_than_a_frame_of_tokens)
{
    struct message_setup setup = {.purpose = PURPOSE_TOKENIZE};
    struct worker *w = start_engine(synth_model(), &setup);
    char *big = mem_alloc(2 << 20);
    struct message m = {.type = MESSAGE_TOKENIZE, .id = 1};
    uint64_t count = 0, frames = 0;

    for (size_t i = 0; i < 2 << 20; i++)
        big[i] = (char)('a' + i * i % 26);
    m.tokenize.text = (struct str){big, 2 << 20};
    send_ok(w, &m);
    do {
        CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
        CHECK_INT(m.type, MESSAGE_TOKENS);
        count += m.tokens.count;
        frames++;
    } while (!m.tokens.last);
    CHECK(count > 200000);
    CHECK(frames > 1);
    worker_destroy(w);
    mem_free(big);
}

TEST(engine_inspects_without_running)
{
    struct message_setup setup = {.purpose = PURPOSE_INSPECT};
    struct worker *w = start_engine(synth_model(), &setup);
    struct json_limits limits = JSON_LIMITS_INIT;
    struct message m = {.type = MESSAGE_INSPECT, .id = 1};
    struct answer a = {0};
    json_t *json;

    ask(w, &m, &a);
    check_ok(&a);
    CHECK_INT(json_parse(&json, buf_str(&a.text), &limits, NULL), 0);
    json_decref(json);
    buf_fini(&a.text);
    worker_destroy(w);
}

/* ---- texts that become vectors ---- */

static const char *tiny_encoder(const char *kind)
{
    const char *path = work_path(kind);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    CHECK(fd >= 0);
    CHECK_INT(tinybert_write(fd, tinybert_find(kind), NULL), 0);
    close(fd);
    return path;
}

static struct worker *start_encoder(const char *kind)
{
    const struct message_setup setup = {.purpose = PURPOSE_ENCODE};

    return start_engine(tiny_encoder(kind), &setup);
}

/* The rows of one answer. */
struct rows {
    float values[64];
    uint32_t tokens, cut, width, count;
};

static struct rows encode(struct worker *w, uint64_t id, const struct message_encode *want,
                          struct llmos_error *err)
{
    struct message m = {.type = MESSAGE_ENCODE, .id = id, .encode = *want};
    struct rows r = {.count = 0};

    *err = (struct llmos_error){0};
    send_ok(w, &m);
    CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
    CHECK_INT(m.id, id);
    if (m.type == MESSAGE_ERROR) {
        fail(err, m.error.code, "%.*s", STR_ARG(m.error.text));
        return r;
    }
    CHECK_INT(m.type, MESSAGE_VECTOR);
    CHECK(m.vector.last && m.vector.rows * m.vector.width <= 64);
    r = (struct rows){.tokens = m.vector.tokens,
                      .cut = m.vector.cut,
                      .width = m.vector.width,
                      .count = m.vector.rows};
    memcpy(r.values, m.vector.values, r.count * r.width * sizeof(float));
    return r;
}

/* What the library makes of it, with the tokens [CLS] a [SEP] b [SEP]. */
static void check_library(const struct rows *r, const char *kind, const char *a, const char *b,
                          bool normalizes)
{
    llmos_model *model;
    llmos_encoder *e;
    int32_t tokens[64];
    float values[64];
    long n, second;

    CHECK_INT(llmos_model_open(&model, tiny_encoder(kind), NULL), 0);
    CHECK_INT(llmos_encoder_create(&e, model, NULL, NULL), 0);
    n = llmos_tokenize(llmos_model_tokenizer(model), a, strlen(a),
                       LLMOS_TOKENIZE_ADD_BOS | LLMOS_TOKENIZE_ADD_EOS, tokens, 64, NULL);
    second = n;
    if (b)
        n += llmos_tokenize(llmos_model_tokenizer(model), b, strlen(b), LLMOS_TOKENIZE_ADD_EOS,
                            tokens + n, 64 - (size_t)n, NULL);
    CHECK_INT(r->tokens, n);
    CHECK_INT(r->count, 1);
    if (r->width == TINYBERT_WIDTH)
        CHECK_INT(llmos_encoder_embed(e, tokens, (size_t)n, normalizes, values, NULL), 0);
    else
        CHECK_INT(llmos_encoder_classify(e, tokens, (size_t)n, (size_t)second, values, NULL), 0);
    CHECK(memcmp(values, r->values, r->width * sizeof(float)) == 0);
    llmos_encoder_destroy(e);
    llmos_model_close(model);
}

TEST(engine_embeds_as_the_library_does)
{
    struct message_encode want = {.kind = ENCODE_EMBED, .text = STR("where am i?")};
    struct worker *w = start_encoder("embed");
    struct llmos_error err;
    struct rows r = encode(w, 1, &want, &err);

    CHECK_INT(err.code, 0);
    check_library(&r, "embed", "where am i?", NULL, false);
    want.normalizes = true;
    r = encode(w, 2, &want, &err);
    check_library(&r, "embed", "where am i?", NULL, true);
    want.kind = ENCODE_CLASSIFY;
    encode(w, 3, &want, &err);
    CHECK_INT(err.code, LLMOS_EUNSUPPORTED);
    CHECK_STR(err.text, "the model has no classifier");
    worker_destroy(w);
}

TEST(engine_scores_texts_and_pairs_as_the_library_does)
{
    struct message_encode want = {.kind = ENCODE_CLASSIFY, .text = STR("where am i?")};
    struct worker *w = start_encoder("classify");
    struct llmos_error err;
    struct rows one = encode(w, 1, &want, &err), pair;

    check_library(&one, "classify", "where am i?", NULL, false);
    want.input = ENCODE_PAIR;
    want.second = STR("here");
    pair = encode(w, 2, &want, &err);
    check_library(&pair, "classify", "where am i?", "here", false);
    CHECK(memcmp(one.values, pair.values, sizeof(one.values)) != 0);
    want.kind = ENCODE_EMBED;
    encode(w, 3, &want, &err);
    CHECK_INT(err.code, LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "a vector is of one text");
    worker_destroy(w);
}

TEST(engine_says_how_long_a_text_is_or_cuts_it)
{
    /* each letter is a token */
    struct message_encode want = {.kind = ENCODE_EMBED,
                                  .text = STR("aaaaaaaaaa bbbbbbbbbb cccccccccc dddddddddd")};
    struct worker *w = start_encoder("classify");
    struct llmos_error err;
    struct rows r;

    encode(w, 1, &want, &err);
    CHECK_INT(err.code, LLMOS_ECONTEXT);
    CHECK_STR(err.text, "the text has 42 tokens, the model takes 32");
    want.cuts = true;
    r = encode(w, 2, &want, &err);
    CHECK_INT(r.cut, 10);
    check_library(&r, "classify", "aaaaaaaaaa bbbbbbbbbb cccccccccc", NULL, false);
    want = (struct message_encode){.kind = ENCODE_CLASSIFY,
                                   .cuts = true,
                                   .input = ENCODE_PAIR,
                                   .text = STR("aaaaaaaaaa"),
                                   .second = want.text};
    r = encode(w, 3, &want, &err);
    CHECK_INT(r.cut, 21);
    check_library(&r, "classify", "aaaaaaaaaa", "aaaaaaaaaa bbbbbbbbb", false);
    want.text = STR("aaaaaaaaaa bbbbbbbbbb ccccccccc"); /* with its marks 31 */
    encode(w, 4, &want, &err);
    CHECK_INT(err.code, LLMOS_ECONTEXT);
    CHECK_STR(err.text, "the first text of the pair has 31 tokens, the model takes 32 of both: "
                        "nothing is left of the second; try a shorter one");
    worker_destroy(w);
}

TEST(engine_scores_each_token)
{
    struct message m = {.type = MESSAGE_ENCODE,
                        .id = 1,
                        .encode = {.kind = ENCODE_CLASSIFY, .text = STR("is it?")}};
    static const char *const pieces[] = {"", " i", "s", " i", "t", "[UNK]", ""};
    struct worker *w = start_encoder("tags");

    send_ok(w, &m);
    CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
    CHECK_INT(m.type, MESSAGE_VECTOR);
    CHECK(m.vector.last && m.vector.tokens == 7);
    CHECK_INT(m.vector.rows, 7);
    CHECK_INT(m.vector.width, TINYBERT_LABELS);
    for (uint32_t i = 0; i < 7; i++)
        CHECK(str_is(m.vector.pieces[i], pieces[i]));
    worker_destroy(w);
}

TEST(engine_takes_tokens_as_they_are)
{
    static const int32_t tokens[] = {2, 13, 10, 3, 58}; /* [CLS] h e [SEP], and none */
    struct message_encode want = {
        .kind = ENCODE_EMBED, .input = ENCODE_TOKENS, .tokens = tokens, .count = 4};
    struct worker *w = start_encoder("embed");
    struct llmos_error err;
    struct rows r = encode(w, 1, &want, &err), word;

    CHECK_INT(r.tokens, 4);
    want = (struct message_encode){.kind = ENCODE_EMBED, .text = STR("h e")};
    word = encode(w, 2, &want, &err);
    CHECK(memcmp(r.values, word.values, r.width * sizeof(float)) == 0);
    want = (struct message_encode){.input = ENCODE_TOKENS, .tokens = tokens, .count = 5};
    encode(w, 3, &want, &err);
    CHECK_INT(err.code, LLMOS_EINVAL);
    CHECK_STR(err.text, "token 58 is outside the vocabulary of 58");
    want.count = 0;
    encode(w, 4, &want, &err);
    CHECK_INT(err.code, LLMOS_EINVAL);
    worker_destroy(w);
}

/* Texts of many lengths, some of which are refused, sent before an answer is read. */
#define MANY 300

static struct str many_text(uint64_t id)
{
    static const char letters[] = "the quick brown fox jumps over it"; /* 35 tokens, if all */

    return (struct str){letters + id % 3, 1 + id * 7 % 31};
}

TEST(engine_gives_many_texts_at_once_the_bytes_of_each_alone)
{
    static struct rows alone[MANY], many[MANY];
    struct message_encode want = {.kind = ENCODE_EMBED};
    struct worker *w = start_encoder("embed");
    struct llmos_error err[MANY];
    struct message m;

    for (uint64_t i = 0; i < MANY; i++) {
        want.text = many_text(i);
        alone[i] = encode(w, i + 1, &want, &err[i]);
    }
    for (uint64_t i = 0; i < MANY; i++) {
        want.text = many_text(i);
        m = (struct message){.type = MESSAGE_ENCODE, .id = MANY + i, .encode = want};
        send_ok(w, &m);
    }
    for (uint64_t i = 0; i < MANY; i++) { /* in this order, errors as well */
        CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
        CHECK_INT(m.id, MANY + i);
        CHECK_INT(m.type, err[i].code ? MESSAGE_ERROR : MESSAGE_VECTOR);
        if (err[i].code)
            continue;
        many[i] = (struct rows){.tokens = m.vector.tokens, .width = m.vector.width, .count = 1};
        memcpy(many[i].values, m.vector.values, many[i].width * sizeof(float));
        CHECK(memcmp(&alone[i], &many[i], sizeof(alone[i])) == 0);
    }
    worker_destroy(w);
}

TEST(engine_drops_texts_that_nobody_wants)
{
    struct message_encode want = {.kind = ENCODE_EMBED, .text = STR("where am i?")};
    struct worker *w = start_encoder("embed");
    unsigned vectors = 0, canceled = 0;
    struct message m;

    for (uint64_t id = 1; id <= 200; id++) {
        m = (struct message){.type = MESSAGE_ENCODE, .id = id, .encode = want};
        send_ok(w, &m);
    }
    for (uint64_t id = 200; id >= 2; id--) {
        m = (struct message){.type = MESSAGE_CANCEL, .id = id};
        send_ok(w, &m);
    }
    m = (struct message){.type = MESSAGE_ENCODE, .id = 201, .encode = want};
    send_ok(w, &m);
    do { /* each is answered once, whatever came first */
        CHECK_INT(worker_receive(w, &m, 60000, NULL), 1);
        vectors += m.type == MESSAGE_VECTOR;
        canceled += m.type == MESSAGE_ERROR && m.error.code == LLMOS_ECANCELED;
    } while (m.id != 201);
    CHECK_INT(vectors + canceled, 201);
    CHECK(canceled > 0);
    worker_destroy(w);
}

TEST(engine_embeds_with_a_model_that_generates)
{
    const struct message_setup setup = {.purpose = PURPOSE_ENCODE};
    struct message_encode want = {.kind = ENCODE_EMBED, .normalizes = true, .text = STR("Once")};
    struct worker *w = start_engine(synth_model(), &setup);
    struct message m = generate_request(2, "Once", 3);
    struct answer a = {0};
    struct llmos_error err;
    struct rows r = encode(w, 1, &want, &err);
    double squares = 0;

    CHECK_INT(err.code, 0);
    for (uint32_t i = 0; i < r.width; i++)
        squares += (double)(r.values[i] * r.values[i]);
    CHECK(fabs(squares - 1) < 1e-5);
    ask(w, &m, &a); /* but it does not generate: there is no context */
    CHECK_INT(a.err.code, LLMOS_EINVAL);
    buf_fini(&a.text);
    worker_destroy(w);
}

/* What the engine measured; the keys that must be above 0 end with NULL. */
static json_t *measured(struct worker *w, uint64_t id, const struct message_bench *want,
                        const char *const *positive)
{
    struct json_limits limits = JSON_LIMITS_INIT;
    struct message m = {.type = MESSAGE_BENCH, .id = id, .bench = *want};
    struct answer a = {0};
    json_t *json;

    ask(w, &m, &a);
    check_ok(&a);
    CHECK_INT(json_parse(&json, buf_str(&a.text), &limits, NULL), 0);
    for (; *positive; positive++)
        if (!(json_number_value(json_object_get(json, *positive)) > 0))
            TEST_FAIL("'%s' is not above 0", *positive);
    buf_fini(&a.text);
    return json;
}

static int refusal(struct worker *w, uint64_t id, const struct message_bench *want)
{
    struct message m = {.type = MESSAGE_BENCH, .id = id, .bench = *want};
    struct answer a = {0};

    ask(w, &m, &a);
    buf_fini(&a.text);
    return a.err.code;
}

TEST(engine_measures_itself)
{
    static const char *const both[] = {"prefill_tokens_per_second",
                                       "decode_tokens_per_second",
                                       "time_to_first_token_ms",
                                       "load_ms",
                                       "private_bytes",
                                       "threads",
                                       "decode_bytes_per_token",
                                       "prefill_f32_operations_per_token",
                                       NULL};
    static const char *const limited[] = {"limit_read_gb_per_second", "decode_tokens_per_second",
                                          NULL};
    struct message_setup setup = {.threads = 2, .sessions_max = 3};
    struct worker *w = start_engine(synth_model(), &setup);
    json_t *json = measured(w, 1, &(struct message_bench){20, 10, 0, 1, false}, both);

    CHECK(!json_object_get(json, "limit_read_gb_per_second"));
    json_decref(json);
    json = measured(w, 2, &(struct message_bench){0, 10, 0, 1, true}, limited);
    CHECK(!json_object_get(json, "prefill_tokens_per_second"));
    json_decref(json);
    /* a depth that ends within a page of the cache, twice: the second finds it there */
    for (uint64_t id = 3; id < 5; id++)
        json_decref(measured(w, id, &(struct message_bench){20, 10, 100, 3, false}, both));
    json_decref(measured(w, 5, &(struct message_bench){1, 1, 1, 2, false}, both));
    CHECK_INT(refusal(w, 6, &(struct message_bench){1u << 29, 1, 0, 1, false}), LLMOS_ECONTEXT);
    CHECK_INT(refusal(w, 7, &(struct message_bench){1, 1, 1u << 29, 1, false}), LLMOS_ECONTEXT);
    CHECK_INT(refusal(w, 8, &(struct message_bench){0, 0, 1, 1, false}), LLMOS_EINVAL);
    CHECK_INT(refusal(w, 9, &(struct message_bench){1, 1, 0, 0, false}), LLMOS_EINVAL);
    CHECK_INT(refusal(w, 10, &(struct message_bench){1, 1, 0, 4, false}), LLMOS_EINVAL);
    worker_destroy(w);
}

TEST(engine_stops_measuring_when_told)
{
    struct worker *w = start_engine(synth_model(), NULL);
    /* Looking for the limits takes half a second, in which the others have long come. */
    struct message m = {.type = MESSAGE_BENCH, .id = 1, .bench = {20, 100, 0, 1, true}};
    struct answer a = {0};

    answer_init(&a);
    send_ok(w, &m);
    m = generate_request(2, "Once", 3); /* waits for its end */
    send_ok(w, &m);
    m = (struct message){.type = MESSAGE_CANCEL, .id = 1};
    send_ok(w, &m);
    CHECK_INT(answer_wait(&a, w, 1), 1);
    CHECK_INT(a.err.code, LLMOS_ECANCELED);
    a.err.code = 0;
    CHECK_INT(answer_wait(&a, w, 2), 1);
    check_ok(&a);
    buf_fini(&a.text);
    worker_destroy(w);
}

/* ---- bad models ---- */

/* The sentence with which the engine refuses a file. */
static void check_refused(const char *path, const char *says)
{
    struct worker_options o = worker_options_for("llmos-engine", path);
    struct llmos_error err = {0};
    struct worker *w;
    struct message m;

    if (worker_start(&w, &o, &err) < 0) {
        CHECK_CONTAINS(err.text, says);
        return;
    }
    CHECK_INT(worker_receive(w, &m, 10000, &err), 1);
    CHECK_INT(m.type, MESSAGE_ERROR);
    CHECK_INT(m.id, 0);
    fail(&err, m.error.code, "%.*s", STR_ARG(m.error.text));
    printf("# %s\n", err.text);
    CHECK_CONTAINS(err.text, says);
    CHECK_INT(worker_receive(w, &m, 10000, &err), LLMOS_ECLOSED);
    CHECK_CONTAINS(err.text, "exited with 1");
    worker_destroy(w);
}

TEST(engine_says_what_is_wrong_with_a_model)
{
    struct buf bytes;
    const char *link = work_path("loop"), *fifo = work_path("fifo");

    buf_init(&bytes, 64 << 20);
    CHECK_INT(file_read(synth_model(), &bytes, NULL), 0);
    check_refused(work_file("empty", "", 0), "");
    check_refused(work_file("text", "Once upon a time there was no model", 35), "GGUF");
    check_refused(work_file("half", bytes.at, bytes.len / 2), "ends at byte");
    check_refused(work_file("four", bytes.at, 4), "");
    CHECK_INT(symlink(link, link), 0);
    check_refused(link, "Too many levels of symbolic links");
    CHECK_INT(mkfifo(fifo, 0600), 0);
    check_refused(fifo, "it is a pipe");
    check_refused("/dev/random", "it is a character device");
    check_refused("/tmp", "it is a directory");
    check_refused(work_path("nothing"), "No such file or directory");
    buf_fini(&bytes);
}

TEST(engine_sends_an_encoder_to_the_verbs_that_use_it)
{
    check_refused(tiny_encoder("embed"), "it is an encoder (bert), which reads whole texts and "
                                         "writes none; try llmos embed");
}

TEST(engine_says_how_much_memory_a_context_needs)
{
    struct worker_options o = worker_options_for("llmos-engine", synth_model());
    struct llmos_error err = {0};
    struct worker *w;
    struct message m;

    o.setup.memory_max_bytes = 1 << 20;
    o.setup.context_tokens = 100000;
    CHECK_INT(worker_start(&w, &o, &err), 0);
    CHECK_INT(worker_receive(w, &m, 10000, &err), 1);
    CHECK_INT(m.type, MESSAGE_ERROR);
    CHECK_INT(m.error.code, LLMOS_ENOMEM);
    fail(&err, m.error.code, "%.*s", STR_ARG(m.error.text));
    CHECK_CONTAINS(err.text, "100000 tokens of context need");
    worker_destroy(w);
}

TEST(engine_is_small)
{
    struct worker *w = start_engine(synth_model(), NULL);

    CHECK(ROOM_SKIP || worker_memory_bytes(w) < 24u << 20);
    printf("# %llu bytes\n", (unsigned long long)worker_memory_bytes(w));
    worker_destroy(w);
}
