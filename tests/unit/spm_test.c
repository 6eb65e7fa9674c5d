/* SPDX-License-Identifier: Apache-2.0 */
/* spm_test.c - text to tokens and back: exactness, bytes, spaces, special tokens, time. */
#include "test.h"

#include "model/loaded.h"
#include "model/vocab.h"
#include "modelfile.h"

#include <time.h>

#define SPACE "\xe2\x96\x81"

/* A vocabulary of one's own: text, kind, score. */
struct entry {
    const char *text;
    int32_t kind;
    float score;
};

struct small {
    llmos_model *m;
    const llmos_tokenizer *t;
};

static struct small vocabulary(const struct entry *entries, size_t count, bool space_prefix)
{
    struct llmos_error err = {0};
    struct small s = {0};
    struct ggufwrite w;
    int fd = modelfile_fd("", 0);

    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "tokenizer.ggml.model", STR("llama"));
    ggufwrite_bool(&w, "tokenizer.ggml.add_space_prefix", space_prefix);
    ggufwrite_array(&w, "tokenizer.ggml.tokens", GGUF_STRING, count);
    for (size_t i = 0; i < count; i++)
        ggufwrite_put_str(&w, str_of(entries[i].text));
    ggufwrite_array(&w, "tokenizer.ggml.scores", GGUF_F32, count);
    for (size_t i = 0; i < count; i++)
        ggufwrite_put_f32(&w, entries[i].score);
    ggufwrite_array(&w, "tokenizer.ggml.token_type", GGUF_I32, count);
    for (size_t i = 0; i < count; i++)
        ggufwrite_put_i32(&w, entries[i].kind);
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    if (llmos_model_open_vocabulary_fd(&s.m, fd, &err) < 0)
        TEST_FAIL("%s", err.text);
    close(fd);
    s.t = llmos_model_tokenizer(s.m);
    return s;
}

#define VOCABULARY(space_prefix, ...)                                                        \
    vocabulary(                                                                              \
        (const struct entry[]){{"<unk>", 2, 0}, {"<s>", 3, 0}, {"</s>", 3, 0}, __VA_ARGS__}, \
        3 + sizeof((struct entry[]){__VA_ARGS__}) / sizeof(struct entry), (space_prefix))

static void put_ids(struct buf *b, const llmos_tokenizer *t, const char *text, size_t n, int flags)
{
    int32_t ids[256];
    long count = llmos_tokenize(t, text, n, flags, ids, 256, NULL);

    buf_clear(b);
    buf_puts(b, "");
    for (long i = 0; i < count && i < 256; i++)
        buf_printf(b, "%s%d", i ? " " : "", ids[i]);
    if (count < 0)
        buf_printf(b, "error %ld", count);
}

#define CHECK_IDS(t, text, flags, expected)                 \
    do {                                                    \
        struct buf ids_;                                    \
        char got_[1024];                                    \
        buf_init(&ids_, 65536);                             \
        put_ids(&ids_, (t), (text), strlen(text), (flags)); \
        snprintf(got_, sizeof(got_), "%s", ids_.at);        \
        buf_fini(&ids_);                                    \
        CHECK_STR(got_, (expected));                        \
    } while (0)

/* ---- the rule ---- */

TEST(spm_merges_the_best_pair_first_and_the_leftmost_of_equals)
{
    struct small s = VOCABULARY(false, {"a", 1, -9}, {"b", 1, -9}, {"c", 1, -9}, {"ab", 1, -2},
                                {"bc", 1, -1}, {"aa", 1, -3});

    CHECK_IDS(s.t, "abc", 0, "3 7"); /* bc before ab */
    CHECK_IDS(s.t, "aaa", 0, "8 3"); /* the left aa */
    CHECK_IDS(s.t, "aaaaa", 0, "8 8 3");
    CHECK_IDS(s.t, "ababc", 0, "6 3 7");
    CHECK_IDS(s.t, "", 0, "");
    llmos_model_close(s.m);
}

TEST(spm_puts_a_space_in_front_where_the_model_wants_one)
{
    struct small with =
        VOCABULARY(true, {SPACE, 1, -1}, {"a", 1, -2}, {SPACE "a", 1, 0}, {SPACE SPACE, 1, -1});
    struct small without = VOCABULARY(false, {SPACE, 1, -1}, {"a", 1, -2}, {SPACE "a", 1, 0});

    CHECK_IDS(with.t, "a", 0, "5");
    CHECK_IDS(with.t, " a", 0, "3 5");
    CHECK_IDS(with.t, "a a", 0, "5 5");
    CHECK_IDS(with.t, " ", 0, "6");
    CHECK_IDS(with.t, "", 0, "");
    CHECK_IDS(without.t, "a", 0, "4");
    CHECK_IDS(without.t, " a", 0, "5");
    llmos_model_close(with.m);
    llmos_model_close(without.m);
}

TEST(spm_begins_with_bos_only_when_asked_and_as_the_model_says)
{
    struct small s = VOCABULARY(false, {"a", 1, 0});
    llmos_tokenizer *t = s.m->tokenizer;

    CHECK_IDS(s.t, "a", LLMOS_TOKENIZE_ADD_BOS, "1 3");
    CHECK_IDS(s.t, "", LLMOS_TOKENIZE_ADD_BOS, "1");
    CHECK_IDS(s.t, "a", 0, "3");
    t->add_bos = false;
    CHECK_IDS(s.t, "a", LLMOS_TOKENIZE_ADD_BOS, "3");
    llmos_model_close(s.m);
}

TEST(spm_spells_in_bytes_what_is_no_piece)
{
    struct small s =
        VOCABULARY(false, {"<0xC3>", 6, 0}, {"<0xA9>", 6, 0}, {"<0xff>", 6, 0}, {"a", 1, 0});
    const char *piece;

    CHECK_IDS(s.t, "a\xc3\xa9", 0, "6 3 4");
    CHECK_IDS(s.t, "\xff\xc3", 0, "5 3");   /* no UTF-8, but bytes */
    CHECK_IDS(s.t, "z", 0, "0");            /* a byte without a token: unknown */
    CHECK_IDS(s.t, "\xe2\x82\xac", 0, "0"); /* one for the character */
    CHECK_INT(llmos_token_piece(s.t, 4, false, &piece), 1);
    CHECK(piece[0] == '\xa9');
    llmos_model_close(s.m);
}

TEST(spm_never_makes_a_control_token_by_merging)
{
    /* With pieces that lead there, and the best score. */
    struct small s = VOCABULARY(false, {"<", 1, -1}, {"s", 1, -1}, {">", 1, -1}, {"<s", 1, -1},
                                {"/", 1, -1}, {"</", 1, -1}, {"</s", 1, -1});

    CHECK_IDS(s.t, "<s>", 0, "6 5");
    CHECK_IDS(s.t, "</s>", 0, "9 5");
    llmos_model_close(s.m);
}

TEST(spm_takes_special_tokens_for_text_unless_told)
{
    struct small s = VOCABULARY(true, {SPACE, 1, 0}, {"a", 1, 0}, {"<", 1, 0}, {"/", 1, 0},
                                {"s", 1, 0}, {">", 1, 0});

    CHECK_IDS(s.t, "a</s>", 0, "3 4 5 6 7 8");
    CHECK_IDS(s.t, "a</s>", LLMOS_TOKENIZE_PARSE_SPECIAL, "3 4 2");
    CHECK_IDS(s.t, "<s>a</s>a", LLMOS_TOKENIZE_PARSE_SPECIAL, "1 3 4 2 3 4");
    CHECK_IDS(s.t, "</s", LLMOS_TOKENIZE_PARSE_SPECIAL, "3 5 6 7");
    llmos_model_close(s.m);
}

TEST(spm_matches_user_defined_tokens_before_merging)
{
    struct small s = VOCABULARY(true, {SPACE, 1, 0}, {"a", 1, -5}, {"b", 1, -5}, {"ab", 1, 0},
                                {"bab", 4, 0}, {"ba", 4, 0}, {SPACE "b", 4, 0});

    CHECK_IDS(s.t, "abab", 0, "3 4 7"); /* the longest */
    CHECK_IDS(s.t, "baab", 0, "8 6");   /* no space behind it */
    CHECK_IDS(s.t, "a b", 0, "3 4 9");  /* with a space of its own */
    llmos_model_close(s.m);
}

TEST(spm_never_lets_a_chat_mark_be_typed_even_if_the_file_calls_it_user_defined)
{
    struct small s = VOCABULARY(false, {"<|im_end|>", 4, 0}, {"<|secret|>", 4, 0},
                                {"<|im_start|>", 1, 0}, {"<word>", 4, 0});
    const char *piece;

    CHECK_IDS(s.t, "<|im_end|>", LLMOS_TOKENIZE_PARSE_SPECIAL, "3");
    CHECK_IDS(s.t, "<|im_end|>", 0, "0 0 0 0 0 0 0 0 0 0");
    CHECK_IDS(s.t, "<|secret|>", 0, "0 0 0 0 0 0 0 0 0 0");
    CHECK_IDS(s.t, "<word>", 0, "6");
    CHECK(llmos_token_is_control(s.t, 3));
    CHECK(llmos_token_is_control(s.t, 5));
    CHECK(llmos_token_ends_generation(s.t, 3));
    CHECK(!llmos_token_ends_generation(s.t, 5));
    CHECK(llmos_token_ends_generation(s.t, 2));
    CHECK_INT(llmos_token_piece(s.t, 3, false, &piece), 0);
    CHECK_INT(llmos_token_piece(s.t, 3, true, &piece), 10);
    llmos_model_close(s.m);
}

TEST(spm_prefers_the_control_token_where_a_file_has_two_of_a_name)
{
    struct small s = VOCABULARY(false, {"<word>", 4, 0}, {"<word>", 3, 0}, {"<word>", 4, 0});

    CHECK_IDS(s.t, "<word>", 0, "0 0 0 0 0 0");
    CHECK_IDS(s.t, "<word>", LLMOS_TOKENIZE_PARSE_SPECIAL, "4");
    llmos_model_close(s.m);
}

/* As many scores and kinds as given, for 3 tokens. */
static int open_uneven(uint64_t scores, uint64_t kinds, struct llmos_error *err)
{
    llmos_model *m = NULL;
    struct ggufwrite w;
    int fd = modelfile_fd("", 0), rc;

    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "tokenizer.ggml.model", STR("llama"));
    ggufwrite_array(&w, "tokenizer.ggml.tokens", GGUF_STRING, 3);
    for (int i = 0; i < 3; i++)
        ggufwrite_put_str(&w, STR("x"));
    ggufwrite_array(&w, "tokenizer.ggml.scores", GGUF_F32, scores);
    for (uint64_t i = 0; i < scores; i++)
        ggufwrite_put_f32(&w, 0);
    ggufwrite_array(&w, "tokenizer.ggml.token_type", GGUF_I32, kinds);
    for (uint64_t i = 0; i < kinds; i++)
        ggufwrite_put_i32(&w, 1);
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    rc = llmos_model_open_vocabulary_fd(&m, fd, err);
    llmos_model_close(m);
    close(fd);
    return rc;
}

TEST(spm_refuses_arrays_of_another_length_than_the_vocabulary)
{
    static const uint64_t wrong[] = {0, 2, 4};
    struct llmos_error err = {0};

    CHECK_INT(open_uneven(3, 3, &err), 0);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(open_uneven(wrong[i], 3, &err), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, "'tokenizer.ggml.scores' has");
        CHECK_INT(open_uneven(3, wrong[i], &err), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, "'tokenizer.ggml.token_type' has");
        CHECK_CONTAINS(err.text, "the vocabulary has 3 tokens");
    }
}

/* A file with one token of n letters. */
static int open_long(size_t n, struct llmos_error *err)
{
    llmos_model *m = NULL;
    struct ggufwrite w;
    char *text = malloc(n);
    int fd = modelfile_fd("", 0), rc;

    CHECK(text);
    memset(text, 'a', n);
    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "tokenizer.ggml.model", STR("llama"));
    ggufwrite_array(&w, "tokenizer.ggml.tokens", GGUF_STRING, 1);
    ggufwrite_put_str(&w, (struct str){text, n});
    ggufwrite_array(&w, "tokenizer.ggml.scores", GGUF_F32, 1);
    ggufwrite_put_f32(&w, 0);
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    free(text);
    rc = llmos_model_open_vocabulary_fd(&m, fd, err);
    llmos_model_close(m);
    close(fd);
    return rc;
}

TEST(spm_refuses_a_piece_that_is_too_long)
{
    struct llmos_error err = {0};

    CHECK_INT(open_long(1024, &err), 0);
    CHECK_INT(open_long(1025, &err), LLMOS_ELIMIT);
    CHECK_STR(err.text, "token 0 is 1025 bytes long, at most 1024 are accepted");
    CHECK_INT(open_long(10 << 20, &err), LLMOS_ELIMIT);
}

TEST(spm_takes_unused_pieces_apart_again)
{
    struct small s =
        VOCABULARY(false, {"a", 1, -5}, {"b", 1, -5}, {"ab", 5, -1}, {"abab", 5, 0}, {"c", 5, 0});

    CHECK_IDS(s.t, "ab", 0, "3 4");
    CHECK_IDS(s.t, "abab", 0, "3 4 3 4");
    CHECK_IDS(s.t, "c", 0, "7"); /* it has no parts */
    llmos_model_close(s.m);
}

TEST(spm_writes_at_most_room_tokens_and_counts_all)
{
    struct small s = VOCABULARY(false, {"a", 1, 0});
    int32_t ids[3] = {-7, -7, -7};

    CHECK_INT(llmos_tokenize(s.t, "aaaa", 4, 0, NULL, 0, NULL), 4);
    CHECK_INT(llmos_tokenize(s.t, "aaaa", 4, 0, ids, 2, NULL), 4);
    CHECK(ids[1] == 3 && ids[2] == -7);
    llmos_model_close(s.m);
}

TEST(spm_refuses_a_text_that_is_too_long)
{
    struct small s = VOCABULARY(false, {"a", 1, 0});
    struct llmos_error err = {0};

    CHECK_INT(llmos_tokenize(s.t, "", SIZE_MAX, 0, NULL, 0, &err), LLMOS_ELIMIT);
    CHECK_CONTAINS(err.text, "at most 16777216 are accepted");
    llmos_model_close(s.m);
}

TEST(spm_says_when_a_byte_cannot_be_expressed)
{
    struct entry e[] = {{"a", 1, 0}};
    struct small s = vocabulary(e, 1, false);
    struct llmos_error err = {0};

    CHECK_INT(llmos_tokenize(s.t, "b", 1, 0, NULL, 0, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "no token for byte 0x62");
    llmos_model_close(s.m);
}

TEST(spm_lets_messages_of_one_answer_end)
{
    struct small s = VOCABULARY(false, {"<|end|>", 3, 0}, {"<|channel|>", 3, 0},
                                {"<|return|>", 3, 0}, {"<|call|>", 3, 0}),
                 phi = VOCABULARY(false, {"<|end|>", 3, 0}, {"<|call|>", 3, 0});

    CHECK(!llmos_token_ends_generation(s.t, 3));
    CHECK(llmos_token_ends_generation(s.t, 5) && llmos_token_ends_generation(s.t, 6));
    CHECK(llmos_token_ends_generation(phi.t, 3));
    llmos_model_close(s.m);
    llmos_model_close(phi.m);
}

TEST(spm_answers_questions_about_tokens_that_are_none)
{
    struct small s = VOCABULARY(false, {"a", 1, 0});
    const char *piece = NULL;

    CHECK_INT(llmos_token_count(s.t), 4);
    CHECK_INT(llmos_token_piece(s.t, -1, true, &piece), 0);
    CHECK_INT(llmos_token_piece(s.t, 4, true, &piece), 0);
    CHECK_INT(llmos_token_piece(s.t, INT32_MIN, true, &piece), 0);
    CHECK(piece);
    CHECK(!llmos_token_ends_generation(s.t, 4));
    CHECK(!llmos_token_is_control(s.t, -1));
    CHECK_INT(llmos_token_bos(s.t), 1);
    CHECK_INT(llmos_token_eos(s.t), 2);
    llmos_model_close(s.m);
}

/* ---- there and back ---- */

static void check_round_trip(const llmos_tokenizer *t, const char *text, size_t n)
{
    int32_t *ids = malloc((n + 8) * 4 * sizeof(*ids));
    long count = llmos_tokenize(t, text, n, 0, ids, (n + 8) * 4, NULL);
    struct buf b;
    size_t skip;
    bool same;

    buf_init(&b, 1 << 24);
    for (long i = 0; i < count; i++) {
        const char *piece;
        size_t length = llmos_token_piece(t, ids[i], false, &piece);

        buf_put(&b, piece, length);
    }
    free(ids);
    skip = b.len == n + 1; /* the space in front */
    same = count >= 0 && b.len == n + skip && memcmp(buf_str(&b).at + skip, text, n) == 0;
    if (!same)
        printf("# '%.*s' came back as '%.*s'\n", (int)n, text, (int)b.len, buf_str(&b).at);
    buf_fini(&b);
    CHECK(same);
}

static const char *const texts[] = {
    "",
    "a",
    " ",
    "  ",
    "\n",
    "\t\n \r",
    "Hello, World!",
    " leading",
    "trailing ",
    "  two  spaces  ",
    "caf\xc3\xa9 \xe2\x82\xac",
    "\xf0\x9f\x98\xb6\xe2\x80\x8d\xf0\x9f\x8c\xab\xef\xb8\x8f",
    "\xe1\x9e\x80\xe1\x9e\xb6",
    "</s><s><unk><0x0A>",
    "invalid \xff\xc3(\xf0\x9f end",
    "\xc3",
    "zero",
    "The quick brown fox jumps over the lazy dog and that is the end of it.",
};

static void check_round_trips(const llmos_tokenizer *t)
{
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_round_trip(t, texts[i], strlen(texts[i]));
    check_round_trip(t, "a\0b", 3);
}

TEST(spm_gives_back_the_text_that_it_took)
{
    struct synth_options o;
    llmos_model *m;

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    m = modelfile_open_synth(&o);
    check_round_trips(llmos_model_tokenizer(m));
    llmos_model_close(m);
}

TEST(spm_gives_back_the_text_with_real_vocabularies)
{
    llmos_model *m = modelfile_open_vocabulary("vocab/ggml-vocab-llama-spm.gguf");

    check_round_trips(llmos_model_tokenizer(m));
    llmos_model_close(m);
    m = modelfile_open_vocabulary("stories260K/stories260K.gguf");
    check_round_trips(llmos_model_tokenizer(m));
    llmos_model_close(m);
}

TEST(spm_knows_what_a_vocabulary_without_bytes_cannot_say)
{
    llmos_model *m = modelfile_open_vocabulary("babyllama/babyllama105-F32.gguf");
    const llmos_tokenizer *t = llmos_model_tokenizer(m);

    check_round_trip(t, "Once upon a time, there was a caf\xc3\xa9", 35);
    CHECK_IDS(t, "e\n\xf0\x9f\x98\xb6@", 0, "3 4 0 0 0");
    llmos_model_close(m);
}

/* ---- against llama.cpp ---- */

TEST(spm_agrees_with_llama_cpp_on_its_own_tests)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    llmos_model *m = modelfile_open_vocabulary("vocab/ggml-vocab-llama-spm.gguf");
    struct buf in, out, ids;
    char *text, *line;
    int count = 0;

    buf_init(&in, 1 << 20);
    buf_init(&out, 1 << 20);
    buf_init(&ids, 1 << 20);
    CHECK_INT(file_read(modelfile_shared("vocab/ggml-vocab-llama-spm.gguf.inp"), &in, NULL), 0);
    CHECK_INT(file_read(modelfile_shared("vocab/ggml-vocab-llama-spm.gguf.out"), &out, NULL), 0);
    text = in.at;
    line = out.at;
    for (char *next; (next = strstr(text, mark)); text = next + strlen(mark), count++) {
        char *end = strchr(line, '\n');

        CHECK(end);
        *end = '\0';
        put_ids(&ids, llmos_model_tokenizer(m), text, (size_t)(next - text), 0);
        CHECK_STR(ids.at, line + (*line == ' '));
        line = end + 1;
    }
    CHECK_INT(count, 46);
    CHECK_INT(*line, '\0');
    buf_fini(&in);
    buf_fini(&out);
    buf_fini(&ids);
    llmos_model_close(m);
}

/* ---- time and memory ---- */

static void check_quick(const llmos_tokenizer *t, const char *unit, size_t bytes)
{
    char *text = malloc(bytes);
    clock_t before = clock();
    double seconds;

    CHECK(text);
    for (size_t i = 0; i < bytes; i++)
        text[i] = unit[i % strlen(unit)];
    CHECK(llmos_tokenize(t, text, bytes, 0, NULL, 0, NULL) > 0);
    seconds = (double)(clock() - before) / CLOCKS_PER_SEC;
    free(text);
    /* Quadratic time would take hours; sanitizers cost a factor of 20. */
    if (seconds > 30)
        TEST_FAIL("%zu bytes of '%s' took %.1f s", bytes, unit, seconds);
}

static void check_all_quick(const llmos_tokenizer *t)
{
    static const char *const units[] = {"a",    " ",   "\n", "the ", "\xf0\x9f\x98\xb6\xe2\x80\x8d",
                                        "\xff", "<s>", "ab"};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        check_quick(t, units[i], 1 << 20);
}

TEST(spm_needs_no_quadratic_time)
{
    struct small s =
        VOCABULARY(true, {SPACE, 1, 0}, {"a", 1, 0}, {"aa", 1, 0}, {"aaaa", 1, 0},
                   {"aaaaaaaa", 1, 0}, {SPACE SPACE, 1, 0}, {SPACE SPACE SPACE SPACE, 1, 0},
                   {"ab", 1, 0}, {"ba", 1, 0}, {"b", 1, 0}, {"abab", 1, 0});

    check_all_quick(s.t);
    llmos_model_close(s.m);
}

TEST(spm_needs_no_quadratic_time_with_a_real_vocabulary)
{
    llmos_model *m = modelfile_open_vocabulary("vocab/ggml-vocab-llama-spm.gguf");

    check_all_quick(llmos_model_tokenizer(m));
    llmos_model_close(m);
}

TEST(spm_survives_every_failed_allocation)
{
    struct small s = VOCABULARY(true, {SPACE, 1, 0}, {"a", 1, 0}, {"aa", 1, 0}, {"b", 5, 0});

    EVERY_ALLOCATION_FAILS
    {
        long count = llmos_tokenize(s.t, "aaa aab", 7, 0, NULL, 0, NULL);

        CHECK(count > 0 || count == LLMOS_ENOMEM);
    }
    llmos_model_close(s.m);
}
