/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "base/reader.h"
#include "net/message.h"

#include <float.h>

/* One message of each type with every field different from zero. */
static const int32_t tokens[3] = {1, 77, 2147483647};
static struct message_token_logprobs logprobs[2] = {
    {{STR("Li"), 5, -0.5f}, 0, 2, {{STR("Li"), 5, -0.5f}, {STR("\xff"), 9, -2.25f}}},
    {{STR("ly"), 6, 0.0f}, 2, 0, {{{0}}}},
};

static struct str labels[2] = {{"no", 2}, {"yes", 3}}, pieces[2] = {{"un", 2}, {"", 0}};
static float values[6] = {1, -2, 0.5f, 3e38f, -0.0f, 1e-45f};

static struct message example(uint16_t type)
{
    static __typeof__(*((struct message_generate *)0)->bias) bias[2] = {{3, -100.0f}, {4, 2.5f}};
    static struct str files[2] = {{"config.json", 11}, {"a.safetensors", 13}};
    struct message m = {.type = type, .id = 42};

    switch (type) {
    case MESSAGE_SETUP:
        m.id = 0;
        m.setup =
            (struct message_setup){PURPOSE_EVALUATE, true,          2, 3,    4,    5,          6,
                                   1ull << 40,       STR("chatml"), 7, true, true, STR("q8_0")};
        break;
    case MESSAGE_GENERATE:
        m.generate = (struct message_generate){.prompt_kind = PROMPT_TEXT,
                                               .text = STR("Once"),
                                               .max_tokens = 10,
                                               .temperature = 0.7f,
                                               .top_p = 0.9f,
                                               .min_p = 0.1f,
                                               .repeat_penalty = 1.1f,
                                               .presence_penalty = 1,
                                               .frequency_penalty = -1,
                                               .top_k = 40,
                                               .repeat_last = 64,
                                               .seed = 1ull << 63,
                                               .echo = true,
                                               .ignore_eos = true,
                                               .want_logprob = true,
                                               .top_logprobs = 20,
                                               .stop_count = 2,
                                               .stops = {STR("a"), STR("\n\n")},
                                               .bias_count = 2,
                                               .bias = bias,
                                               .grammar = STR("root ::= \"a\"")};
        break;
    case MESSAGE_TOKENIZE:
        m.tokenize = (struct message_tokenize){STR("text"), true, true};
        break;
    case MESSAGE_RENDER:
        m.render.conversation = STR("[]");
        break;
    case MESSAGE_BENCH:
        m.bench = (struct message_bench){512, 128, 2048, 4, true, STR("root ::= \"a\"")};
        break;
    case MESSAGE_QUANTIZE:
        m.quantize = (struct message_quantize){STR("Q4_K_M"), true, true};
        break;
    case MESSAGE_EVALUATE:
        m.evaluate =
            (struct message_evaluate){EVALUATE_IMPORTANCE, 512, 7, STR("a.txt"), STR("text")};
        break;
    case MESSAGE_CONVERT:
        m.convert = (struct message_convert){STR("auto"), STR("phi"), 2, files};
        break;
    case MESSAGE_ENCODE:
        m.encode = (struct message_encode){.kind = ENCODE_CLASSIFY,
                                           .input = ENCODE_PAIR,
                                           .normalizes = true,
                                           .cuts = true,
                                           .text = STR("a"),
                                           .second = STR("b")};
        break;
    case MESSAGE_READY:
        m.id = 0;
        m.ready = (struct message_ready){STR("llama"),
                                         STR("stories"),
                                         STR("F16"),
                                         STR("plain"),
                                         STR("hermes"),
                                         STR("think"),
                                         STR("avx2"),
                                         STR("q8_0"),
                                         512,
                                         1024,
                                         32000,
                                         2,
                                         260000,
                                         1 << 20,
                                         1 << 21,
                                         1 << 22,
                                         1500,
                                         PACKING_DAMAGED,
                                         CLASSIFIER_RANK,
                                         384,
                                         2,
                                         labels};
        break;
    case MESSAGE_TEXT:
        m.text = (struct message_text){STR("Lily"), 3, 2, logprobs};
        break;
    case MESSAGE_DONE:
        m.done = (struct message_done){FINISH_LENGTH, 7, 6, 5, 9, 8, 4, 3, 2};
        break;
    case MESSAGE_ERROR:
        m.error = (struct message_error){LLMOS_ECONTEXT, STR("the prompt has 600 tokens")};
        break;
    case MESSAGE_TOKENS:
        m.tokens = (struct message_tokens){tokens, 3, true};
        break;
    case MESSAGE_DATA:
        m.data = (struct message_data){STR("{}"), true};
        break;
    case MESSAGE_PROGRESS:
        m.progress = (struct message_progress){3, 5};
        break;
    case MESSAGE_STATS:
        m.id = 0;
        m.stats = (struct message_stats){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
        break;
    case MESSAGE_PACKED:
        m.packed = (struct message_packed){true, 1ull << 40};
        break;
    case MESSAGE_VECTOR:
        m.vector = (struct message_vector){true, 9, 4, 3, 2, pieces, values};
        break;
    default:
        break;
    }
    return m;
}

static const uint16_t types[] = {
    MESSAGE_SETUP,   MESSAGE_GENERATE, MESSAGE_CANCEL,   MESSAGE_TOKENIZE, MESSAGE_INSPECT,
    MESSAGE_BENCH,   MESSAGE_PACK,     MESSAGE_RENDER,   MESSAGE_QUANTIZE, MESSAGE_EVALUATE,
    MESSAGE_CONVERT, MESSAGE_READY,    MESSAGE_TEXT,     MESSAGE_DONE,     MESSAGE_ERROR,
    MESSAGE_TOKENS,  MESSAGE_DATA,     MESSAGE_PROGRESS, MESSAGE_STATS,    MESSAGE_PACKED,
    MESSAGE_ENCODE,  MESSAGE_VECTOR};
#define TYPES (sizeof(types) / sizeof(types[0]))

/* The frame of the only message in b. */
static struct frame frame_of(const struct buf *b)
{
    struct reader r = reader_of(b->at, b->len);
    struct frame f;

    reader_u32(&r);
    f.type = reader_u16(&r);
    reader_u16(&r);
    f.id = reader_u64(&r);
    f.payload = (struct str){b->at + FRAME_HEAD_BYTES, b->len - FRAME_HEAD_BYTES};
    return f;
}

static int parse(struct message *m, const struct frame *f, struct arena *arena,
                 struct llmos_error *err)
{
    return message_parse(m, f, f->type >= MESSAGE_READY, arena, err);
}

/* What the parser says of a message that our encoder would not refuse. */
static int verdict(const struct message *m, struct llmos_error *err)
{
    struct message back;
    struct arena arena;
    struct buf b;
    struct frame f;
    int rc;

    arena_init(&arena, MESSAGE_ARENA_BYTES);
    buf_init(&b, 4 << 20);
    message_put(&b, m);
    rc = b.bad ? LLMOS_ELIMIT : (f = frame_of(&b), parse(&back, &f, &arena, err));
    buf_fini(&b);
    arena_fini(&arena);
    return rc;
}

TEST(message_comes_back_as_it_was_sent)
{
    for (size_t i = 0; i < TYPES; i++) {
        struct message m = example(types[i]), back;
        struct llmos_error err = {0};
        struct arena arena;
        struct buf b, again;
        struct frame f;

        arena_init(&arena, MESSAGE_ARENA_BYTES);
        buf_init(&b, 1 << 20);
        buf_init(&again, 1 << 20);
        message_put(&b, &m);
        CHECK(!b.bad);
        f = frame_of(&b);
        parse(&back, &f, &arena, &err);
        CHECK_STR(err.text, "");
        message_put(&again, &back);
        CHECK(str_eq(buf_str(&b), buf_str(&again)));
        arena_fini(&arena);
        buf_fini(&b);
        buf_fini(&again);
    }
}

TEST(message_fields_arrive_in_their_places)
{
    struct message m = example(MESSAGE_GENERATE), back;
    struct arena arena;
    struct buf b;
    struct frame f;

    arena_init(&arena, MESSAGE_ARENA_BYTES);
    buf_init(&b, 1 << 20);
    message_put(&b, &m);
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, NULL), 0);
    CHECK_INT(back.id, 42);
    CHECK(str_is(back.generate.text, "Once"));
    CHECK_INT(back.generate.max_tokens, 10);
    CHECK(back.generate.temperature == 0.7f && back.generate.top_p == 0.9f &&
          back.generate.min_p == 0.1f);
    CHECK(back.generate.repeat_penalty == 1.1f && back.generate.presence_penalty == 1);
    CHECK(back.generate.frequency_penalty == -1);
    CHECK_INT(back.generate.top_k, 40);
    CHECK_INT(back.generate.repeat_last, 64);
    CHECK(back.generate.seed == 1ull << 63);
    CHECK(back.generate.echo && back.generate.ignore_eos && back.generate.want_logprob);
    CHECK(str_is(back.generate.stops[1], "\n\n"));
    CHECK_INT(back.generate.bias[0].token, 3);
    CHECK(back.generate.bias[1].bias == 2.5f);
    CHECK(str_is(back.generate.grammar, "root ::= \"a\""));
    buf_clear(&b);
    m = example(MESSAGE_GENERATE);
    m.generate.prompt_kind = PROMPT_CHAT;
    m.generate.text = STR("[{\"role\":\"user\"}]");
    m.generate.begun = STR("<think>");
    m.generate.mark_count = 1;
    m.generate.marks[0] = STR("[ARGS]");
    message_put(&b, &m);
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, NULL), 0);
    CHECK(str_eq(back.generate.text, m.generate.text));
    CHECK(str_is(back.generate.begun, "<think>"));
    CHECK(back.generate.mark_count == 1 && str_is(back.generate.marks[0], "[ARGS]"));
    buf_clear(&b);
    m.generate.prompt_kind = PROMPT_TOKENS;
    m.generate.tokens = tokens;
    m.generate.count = 3;
    message_put(&b, &m);
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, NULL), 0);
    CHECK_INT(back.generate.tokens[2], 2147483647);
    buf_clear(&b);
    m = example(MESSAGE_TEXT);
    message_put(&b, &m);
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, NULL), 0);
    CHECK_INT(back.text.tokens, 3);
    CHECK(str_is(back.text.logprobs[0].top[1].token, "\xff"));
    CHECK(back.text.logprobs[0].top[1].logprob == -2.25f);
    CHECK_INT(back.text.logprobs[1].text_offset, 2);
    arena_fini(&arena);
    buf_fini(&b);
}

TEST(message_cut_anywhere_is_refused)
{
    for (size_t i = 0; i < TYPES; i++) {
        struct message m = example(types[i]), back;
        struct buf b;

        buf_init(&b, 1 << 20);
        message_put(&b, &m);
        for (size_t n = 0; n < b.len - FRAME_HEAD_BYTES; n++) {
            struct llmos_error err;
            struct arena arena;
            struct frame f = frame_of(&b);
            /* A copy of exactly n bytes: a sanitizer sees a read behind them. */
            char *cut = mem_alloc(n);

            memcpy(cut, f.payload.at, n);
            f.payload = (struct str){cut, n};
            arena_init(&arena, MESSAGE_ARENA_BYTES);
            CHECK_INT(parse(&back, &f, &arena, &err), LLMOS_EFORMAT);
            CHECK_CONTAINS(err.text, " frame: ");
            arena_fini(&arena);
            mem_free(cut);
        }
        buf_fini(&b);
    }
}

TEST(message_with_bytes_behind_it_is_refused)
{
    for (size_t i = 0; i < TYPES; i++) {
        struct message m = example(types[i]), back;
        struct llmos_error err;
        struct arena arena;
        struct buf b;
        struct frame f;

        arena_init(&arena, MESSAGE_ARENA_BYTES);
        buf_init(&b, 1 << 20);
        message_put(&b, &m);
        buf_putc(&b, 'x');
        f = frame_of(&b);
        CHECK_INT(parse(&back, &f, &arena, &err), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, "1 bytes too many");
        arena_fini(&arena);
        buf_fini(&b);
    }
}

TEST(message_of_the_wrong_side_is_refused)
{
    for (unsigned type = 0; type < 300; type++) {
        struct frame f = {(uint16_t)type, 42, {"", 0}};
        struct llmos_error err;
        struct arena arena;
        struct message m;

        arena_init(&arena, MESSAGE_ARENA_BYTES);
        if (type < MESSAGE_SETUP || type > MESSAGE_ENCODE) {
            CHECK_INT(message_parse(&m, &f, false, &arena, &err), LLMOS_EFORMAT);
            CHECK_CONTAINS(err.text, "which a host may not send");
        }
        if (type < MESSAGE_READY || type > MESSAGE_VECTOR) {
            CHECK_INT(message_parse(&m, &f, true, &arena, &err), LLMOS_EFORMAT);
            CHECK_CONTAINS(err.text, "which an engine may not send");
        }
        arena_fini(&arena);
    }
}

TEST(message_id_must_fit_its_type)
{
    struct llmos_error err;
    struct message m = example(MESSAGE_SETUP);

    m.id = 1;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    CHECK_STR(err.text, "SETUP frame with an id");
    m = example(MESSAGE_TEXT);
    m.id = 0;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    CHECK_STR(err.text, "TEXT frame with no id");
    m = example(MESSAGE_ERROR);
    m.id = 0;
    CHECK_INT(verdict(&m, &err), 0);
}

TEST(message_numbers_must_be_finite)
{
    static const size_t offsets[] = {offsetof(struct message, generate.temperature),
                                     offsetof(struct message, generate.top_p),
                                     offsetof(struct message, generate.min_p),
                                     offsetof(struct message, generate.repeat_penalty),
                                     offsetof(struct message, generate.presence_penalty),
                                     offsetof(struct message, generate.frequency_penalty)};
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        for (int j = 0; j < 3; j++) {
            struct message m = example(MESSAGE_GENERATE);
            struct llmos_error err;

            memcpy((char *)&m + offsets[i], &bad[j], sizeof(float));
            CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
            CHECK_CONTAINS(err.text, "is not a finite number");
        }
    }
}

TEST(message_tokens_may_stand_for_a_text)
{
    struct message m = example(MESSAGE_ENCODE), back;
    struct arena arena;
    struct buf b;
    struct frame f;

    arena_init(&arena, MESSAGE_ARENA_BYTES);
    buf_init(&b, 1 << 20);
    m.encode.input = ENCODE_TOKENS;
    m.encode.tokens = tokens;
    m.encode.count = 3;
    message_put(&b, &m);
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, NULL), 0);
    CHECK_INT(back.encode.count, 3);
    CHECK_INT(back.encode.tokens[2], 2147483647);
    CHECK(back.encode.text.len == 0 && back.encode.second.len == 0);
    arena_fini(&arena);
    buf_fini(&b);
}

TEST(message_vectors_are_finite)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    for (int i = 0; i < 3; i++) {
        struct message m = example(MESSAGE_VECTOR);
        float spoilt[6] = {1, 2, 3, 4, 5, bad[i]};
        struct llmos_error err;

        m.vector.values = spoilt;
        CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
        CHECK_STR(err.text, "VECTOR frame: field 'value' is not a finite number");
    }
}

TEST(message_vectors_arrive_row_by_row)
{
    struct message m = example(MESSAGE_VECTOR), back;
    struct arena arena;
    struct buf b;
    struct frame f;

    arena_init(&arena, MESSAGE_ARENA_BYTES);
    buf_init(&b, 1 << 20);
    message_put(&b, &m);
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, NULL), 0);
    CHECK(back.vector.last && back.vector.tokens == 9 && back.vector.cut == 4);
    CHECK_INT(back.vector.rows, 2);
    CHECK_INT(back.vector.width, 3);
    CHECK(str_is(back.vector.pieces[0], "un") && back.vector.pieces[1].len == 0);
    CHECK(memcmp(back.vector.values, values, sizeof(values)) == 0);
    arena_fini(&arena);
    buf_fini(&b);
}

TEST(message_fields_out_of_range_are_named)
{
    struct llmos_error err;
    struct message m = example(MESSAGE_SETUP);

    m.setup.purpose = 8;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    CHECK_STR(err.text, "SETUP frame: field 'purpose' is 8, at most 7 is allowed");
    m = example(MESSAGE_READY);
    m.ready.packing = 3;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_SETUP);
    m.setup.context_tokens = (1u << 30) + 1;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_DONE);
    m.done.finish = 3;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_DONE);
    m.done.cached_tokens = m.done.prompt_tokens + 1;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_DONE);
    m.done.accepted_tokens = m.done.drafted_tokens + 1;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_SETUP);
    m.setup.draft_max = 1025;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_ERROR);
    m.error.code = -1000;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "is no error code");
    m = example(MESSAGE_ERROR);
    m.error.code = 0;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_ENCODE);
    m.encode.kind = 2;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_READY);
    m.ready.classifier = 4;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_READY);
    m.ready.vector_width = MESSAGE_WIDTH_MAX + 1;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_PROGRESS);
    m.progress.done = 6;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    m = example(MESSAGE_TEXT);
    logprobs[1].chosen.logprob = FLT_MIN;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    logprobs[1].chosen.logprob = NAN;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    logprobs[1].chosen.logprob = 0;
    logprobs[1].chosen.id = -1;
    CHECK_INT(verdict(&m, &err), LLMOS_EFORMAT);
    logprobs[1].chosen.id = 6;
    CHECK_INT(verdict(&m, &err), 0);
}

TEST(message_a_bool_is_zero_or_one)
{
    struct message m = example(MESSAGE_DATA), back;
    struct llmos_error err;
    struct arena arena;
    struct buf b;
    struct frame f;

    arena_init(&arena, 1000);
    buf_init(&b, 1000);
    message_put(&b, &m);
    b.at[FRAME_HEAD_BYTES] = 2;
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "field 'last' is 2");
    arena_fini(&arena);
    buf_fini(&b);
}

TEST(message_encoder_refuses_what_the_parser_would)
{
    static char big[FRAME_TO_HOST_MAX + 1];
    struct message m = example(MESSAGE_GENERATE);
    struct buf b;

    buf_init(&b, 40 << 20);
    m.generate.stop_count = MESSAGE_STOPS_MAX + 1;
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    buf_clear(&b);
    m = example(MESSAGE_GENERATE);
    m.generate.stops[0].len = 0;
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    buf_clear(&b);
    m.generate.stops[0] = (struct str){big, MESSAGE_STOP_BYTES_MAX + 1};
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    buf_clear(&b);
    m = example(MESSAGE_DATA);
    m.data.bytes = (struct str){big, sizeof(big)};
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    CHECK_INT(buf_check(&b, "the answer", NULL), LLMOS_ELIMIT);
    buf_clear(&b);
    m = example(MESSAGE_TOKENIZE);
    m.tokenize.text = (struct str){big, sizeof(big)}; /* this direction has more room */
    message_put(&b, &m);
    CHECK(!b.bad);
    buf_clear(&b);
    m = example(MESSAGE_READY);
    m.ready.name = (struct str){big, MESSAGE_NAME_BYTES_MAX + 1};
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    buf_clear(&b);
    m = example(MESSAGE_READY);
    m.ready.label_count = MESSAGE_LABELS_MAX + 1;
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    buf_clear(&b);
    m = example(MESSAGE_VECTOR);
    m.vector.width = 0;
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    buf_clear(&b);
    m = example(MESSAGE_VECTOR);
    m.vector.rows = 0;
    message_put(&b, &m);
    CHECK(b.bad && b.len == 0);
    buf_fini(&b);
}

TEST(message_lying_counts_allocate_nothing)
{
    struct message m = example(MESSAGE_TOKENS), back;
    struct llmos_error err;
    struct arena arena;
    struct buf b;
    struct frame f;

    arena_init(&arena, MESSAGE_ARENA_BYTES);
    buf_init(&b, 1000);
    message_put(&b, &m);
    b.at[FRAME_HEAD_BYTES + 2] = 2; /* 515 tokens, 3 follow */
    f = frame_of(&b);
    CHECK_INT(parse(&back, &f, &arena, &err), LLMOS_EFORMAT);
    CHECK_STR(err.text, "TOKENS frame: field 'count' is 515, but only 12 bytes follow");
    CHECK_INT(arena.used_bytes, 0);
    arena_fini(&arena);
    buf_fini(&b);
}

TEST(message_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        struct message m = example(MESSAGE_GENERATE), back;
        struct arena arena;
        struct buf b;
        struct frame f;
        int rc;

        m.generate.prompt_kind = PROMPT_CHAT;
        arena_init(&arena, MESSAGE_ARENA_BYTES);
        buf_init(&b, 1 << 20);
        message_put(&b, &m);
        if (b.bad) {
            CHECK_INT(buf_check(&b, "a message", NULL), LLMOS_ENOMEM);
            CHECK_INT(b.len, 0);
        } else {
            f = frame_of(&b);
            rc = parse(&back, &f, &arena, NULL);
            CHECK(rc == 0 || rc == LLMOS_ENOMEM);
        }
        buf_fini(&b);
        arena_fini(&arena);
    }
}

TEST(message_finish_has_the_names_of_the_api)
{
    CHECK_STR(message_finish_name(FINISH_STOP), "stop");
    CHECK_STR(message_finish_name(FINISH_LENGTH), "length");
    CHECK_STR(message_finish_name(FINISH_CANCELED), "canceled");
    CHECK_STR(message_finish_name(-1), "unknown");
}
