/* SPDX-License-Identifier: Apache-2.0 */
/* tokenize_test.c - every kind of vocabulary: exactness, special tokens, bytes, hostile files and
 * texts. */
#include "test.h"

#include "model/loaded.h"
#include "model/vocab.h"
#include "modelfile.h"

#include <time.h>

#define SPACE    "\xe2\x96\x81"
#define LIST_MAX 64

struct entry {
    const char *text;
    int32_t kind;
    float score;
};

/* A vocabulary file to be; what is NULL or 0 is left out. */
struct plan {
    const char *model, *pre;
    struct entry tokens[LIST_MAX];
    const char *merges[LIST_MAX];
    uint32_t unknown;
    bool no_scores, no_kinds, keeps_spaces;
    size_t score_count;       /* if not as many as tokens */
    int32_t habits[LIST_MAX]; /* pairs */
    size_t habit_count;       /* numbers in them */
    const char *name;         /* "general.name" */
    const char *steps;        /* "llmos.wordpiece.steps" */
    const void *charsmap;
    size_t charsmap_bytes;
};

static size_t count_tokens(const struct plan *p)
{
    size_t n = 0;

    while (n < LIST_MAX && p->tokens[n].text)
        n++;
    return n;
}

static void write_arrays(struct ggufwrite *w, const struct plan *p)
{
    size_t n = count_tokens(p), scores = p->score_count ? p->score_count : n, merges = 0;

    ggufwrite_array(w, "tokenizer.ggml.tokens", GGUF_STRING, n);
    for (size_t i = 0; i < n; i++)
        ggufwrite_put_str(w, str_of(p->tokens[i].text));
    if (!p->no_scores) {
        ggufwrite_array(w, "tokenizer.ggml.scores", GGUF_F32, scores);
        for (size_t i = 0; i < scores; i++)
            ggufwrite_put_f32(w, i < n ? p->tokens[i].score : 0);
    }
    if (!p->no_kinds) {
        ggufwrite_array(w, "tokenizer.ggml.token_type", GGUF_I32, n);
        for (size_t i = 0; i < n; i++)
            ggufwrite_put_i32(w, p->tokens[i].kind);
    }
    if (p->habit_count)
        ggufwrite_array(w, "llmos.added_tokens", GGUF_I32, p->habit_count);
    for (size_t i = 0; i < p->habit_count; i++)
        ggufwrite_put_i32(w, p->habits[i]);
    if (p->unknown)
        ggufwrite_u32(w, "tokenizer.ggml.unknown_token_id", p->unknown);
    while (merges < LIST_MAX && p->merges[merges])
        merges++;
    if (merges) {
        ggufwrite_array(w, "tokenizer.ggml.merges", GGUF_STRING, merges);
        for (size_t i = 0; i < merges; i++)
            ggufwrite_put_str(w, str_of(p->merges[i]));
    }
    if (p->charsmap) {
        ggufwrite_array(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, p->charsmap_bytes);
        for (size_t i = 0; i < p->charsmap_bytes; i++)
            ggufwrite_put_u8(w, ((const uint8_t *)p->charsmap)[i]);
    }
}

static int open_plan(llmos_model **m, const struct plan *p, struct llmos_error *err)
{
    struct ggufwrite w;
    int fd = modelfile_fd("", 0), rc;

    ggufwrite_init(&w, fd);
    ggufwrite_str(&w, "tokenizer.ggml.model", str_of(p->model));
    if (p->name)
        ggufwrite_str(&w, "general.name", str_of(p->name));
    if (p->pre)
        ggufwrite_str(&w, "tokenizer.ggml.pre", str_of(p->pre));
    if (p->steps)
        ggufwrite_str(&w, "llmos.wordpiece.steps", str_of(p->steps));
    if (strcmp(p->model, "t5") == 0) {
        ggufwrite_bool(&w, "tokenizer.ggml.add_space_prefix", true);
        ggufwrite_bool(&w, "tokenizer.ggml.remove_extra_whitespaces", !p->keeps_spaces);
    }
    write_arrays(&w, p);
    CHECK_INT(ggufwrite_begin(&w, NULL), 0);
    CHECK_INT(ggufwrite_end(&w, NULL), 0);
    ggufwrite_fini(&w);
    *m = NULL;
    rc = llmos_model_open_vocabulary_fd(m, fd, err);
    close(fd);
    return rc;
}

static llmos_model *must_open(const struct plan *p)
{
    struct llmos_error err = {0};
    llmos_model *m;

    if (open_plan(&m, p, &err) < 0)
        TEST_FAIL("%s", err.text);
    return m;
}

/* The sentence with which the file is refused; valid until the next call. */
static const char *refusal(const struct plan *p)
{
    static struct llmos_error err;
    llmos_model *m;

    memset(&err, 0, sizeof(err));
    if (open_plan(&m, p, &err) == 0) {
        llmos_model_close(m);
        return "it was taken";
    }
    return err.text;
}

static const char *ids_of(const llmos_model *m, const char *text, size_t n, int flags)
{
    static char shown[8192];
    static int32_t ids[2048];
    struct llmos_error err = {0};
    long count = llmos_tokenize(llmos_model_tokenizer(m), text, n, flags, ids, 2048, &err);
    size_t used = 0;

    if (count < 0)
        return snprintf(shown, sizeof(shown), "%s", err.text), shown;
    CHECK(count <= 2048);
    shown[0] = '\0';
    for (long i = 0; i < count && used < sizeof(shown) - 16; i++)
        used += (size_t)snprintf(shown + used, 16, "%s%d", i ? " " : "", ids[i]);
    return shown;
}

static const char *ids(const llmos_model *m, const char *text, int flags)
{
    return ids_of(m, text, strlen(text), flags);
}

/* ---- real vocabularies ---- */

static char *read_beside(const char *model, const char *ending)
{
    char name[256];
    size_t n;
    int fd;

    snprintf(name, sizeof(name), "%s%s", model, ending);
    fd = open(modelfile_shared(name), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    n = (size_t)lseek(fd, 0, SEEK_END);
    char *text = malloc(n + 1);
    CHECK(text && pread(fd, text, n, 0) == (ssize_t)n);
    text[n] = '\0';
    close(fd);
    return text;
}

/* Texts and the tokens that their makers' tokenizers give. */
static void check_published(const char *model)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    char *texts = read_beside(model, ".inp"), *expected = read_beside(model, ".out");
    llmos_model *m = modelfile_open_vocabulary(model);
    char *text = texts, *line = expected, *end;
    size_t n = 0;

    for (; (end = strstr(text, mark)) != NULL; text = end + strlen(mark), n++) {
        char *line_end = strchr(line, '\n');

        CHECK(line_end);
        *end = *line_end = '\0';
        CHECK_STR(ids(m, text, 0), line + (*line == ' '));
        line = line_end + 1;
    }
    CHECK(n > 40);
    llmos_model_close(m);
    free(texts);
    free(expected);
}

TEST(tokenize_is_exact_for_gpt2)
{
    check_published("vocab/ggml-vocab-gpt-2.gguf");
}

TEST(tokenize_is_exact_for_falcon)
{
    check_published("vocab/ggml-vocab-falcon.gguf");
}

TEST(tokenize_is_exact_for_starcoder)
{
    check_published("vocab/ggml-vocab-starcoder.gguf");
}

TEST(tokenize_is_exact_for_bert)
{
    check_published("vocab/ggml-vocab-bert-bge.gguf");
}

TEST(tokenize_is_exact_for_llama)
{
    check_published("vocab/ggml-vocab-llama-spm.gguf");
}

/* ---- byte-level BPE ---- */

/* 0 a, 1 b, 2 c, 3 space, 4 ab, 5 bc, 6 " a", 7 a control token, 8 a user-defined one, 9 half an é
 */
static const struct plan bpe = {
    .model = "gpt2",
    .pre = "gpt-2",
    .tokens = {{"a", 1, 0},
               {"b", 1, 0},
               {"c", 1, 0},
               {"\xc4\xa0", 1, 0},
               {"ab", 1, 0},
               {"bc", 1, 0},
               {"\xc4\xa0"
                "a",
                1, 0},
               {"<|ab|>", 3, 0},
               {"  ", 4, 0},
               {"\xc3\x83", 1, 0},
               {"<unk>", 2, 0}},
    .unknown = 10,
    .merges = {"b c", "a b", "\xc4\xa0 a"},
    .no_scores = true,
};

TEST(bpe_merges_in_the_order_of_the_file_within_words)
{
    llmos_model *m = must_open(&bpe);

    CHECK_STR(ids(m, "abc", 0), "0 5");
    CHECK_STR(ids(m, "ab", 0), "4");
    CHECK_STR(ids(m, "a a", 0), "0 6");
    CHECK_STR(ids(m, "ab ab", 0), "4 3 4"); /* "a b" stands before " a" */
    CHECK_STR(ids(m, "", 0), "");
    llmos_model_close(m);
}

TEST(bpe_keeps_special_tokens_apart)
{
    llmos_model *m = must_open(&bpe);

    CHECK_STR(ids(m, "a<|ab|>a", LLMOS_TOKENIZE_PARSE_SPECIAL), "0 7 0");
    CHECK_STR(ids(m, "<|ab|>", 0), "10 10 4 10 10");
    CHECK_STR(ids(m, "a  a", 0), "0 8 0");
    llmos_model_close(m);
}

/* ---- habits of special tokens; tools/judge_tokenizers.py has the rest of them ---- */

#define HABITS_OF(...)                                                                       \
    {                                                                                        \
        .model = "gpt2", .pre = "gpt-2", .no_scores = true, .unknown = 6, .merges = {"a b"}, \
        .tokens = {{"a", 1, 0},        {"b", 1, 0},        {"ab", 1, 0},                     \
                   {"\xc4\xa0", 1, 0}, {"\xc4\x8a", 1, 0}, {"<m>", 4, 0},                    \
                   {"<unk>", 2, 0},    {"m>b", 4, 0},      {"</s>", 3, 0}},                  \
        __VA_ARGS__                                                                          \
    }

static void check_habits(const struct plan *p, const char *text, const char *expected)
{
    llmos_model *m = must_open(p);

    CHECK_STR(ids(m, text, LLMOS_TOKENIZE_PARSE_SPECIAL), expected);
    llmos_model_close(m);
}

TEST(special_tokens_take_white_space_where_they_want_it)
{
    static const struct plan left = HABITS_OF(.habits = {5, TOKEN_LSTRIP}, .habit_count = 2);
    static const struct plan right = HABITS_OF(.habits = {5, TOKEN_RSTRIP}, .habit_count = 2);
    static const struct plan both =
        HABITS_OF(.habits = {5, TOKEN_LSTRIP | TOKEN_RSTRIP}, .habit_count = 2);

    check_habits(&left, "a \n<m>\n <m> a", "0 5 5 3 0");
    check_habits(&right, "a \n<m>\n <m> a", "0 3 4 5 5 0");
    check_habits(&both, " a\xe3\x80\x80<m>\xc2\xa0 ", "3 0 5");
    check_habits(&both, "<m>", "5");
}

TEST(special_tokens_are_not_seen_inside_a_word)
{
    static const struct plan one = HABITS_OF(.habits = {5, TOKEN_SINGLE}, .habit_count = 2);

    check_habits(&one, "<m> <m>", "5 3 5");
    check_habits(&one, "a<m>", "0 6 6 6");
    check_habits(&one, "<m>a", "6 6 6 0");
    check_habits(&one, "\n<m>\n", "4 5 4");
}

TEST(normalized_tokens_are_looked_for_between_the_others)
{
    static const struct plan plain = HABITS_OF(.no_kinds = false);
    static const struct plan later = HABITS_OF(.habits = {5, TOKEN_NORMALIZED}, .habit_count = 2);

    check_habits(&plain, "<m>b", "5 1");
    check_habits(&later, "<m>b<m>", "6 7 5");
}

TEST(phi_3_is_known_by_its_name)
{
    static const struct plan phi = HABITS_OF(.name = "Some Phi-3-mini");
    static const struct plan told =
        HABITS_OF(.name = "Phi3", .habits = {8, TOKEN_LSTRIP}, .habit_count = 2);

    check_habits(&phi, "a <m>\n</s> b", "0 3 5 8 1");
    check_habits(&told, "a <m> </s> b", "0 3 5 8 3 1");
}

TEST(habits_that_make_no_sense_are_refused)
{
    static const struct plan odd = HABITS_OF(.habits = {5}, .habit_count = 1);
    static const struct plan far = HABITS_OF(.habits = {9, 1}, .habit_count = 2);
    static const struct plan many = HABITS_OF(.habits = {5, 16}, .habit_count = 2);

    CHECK(strstr(refusal(&odd), "no pairs"));
    CHECK(strstr(refusal(&far), "token 9 the habits 1"));
    CHECK(strstr(refusal(&many), "there are 9 tokens"));
}

TEST(bpe_gives_bytes_back)
{
    llmos_model *m = must_open(&bpe);
    const char *piece;

    CHECK_INT(llmos_token_piece(llmos_model_tokenizer(m), 6, false, &piece), 2);
    CHECK(memcmp(piece, " a", 2) == 0);
    CHECK_INT(llmos_token_piece(llmos_model_tokenizer(m), 9, false, &piece), 1);
    CHECK(piece[0] == '\xc3');
    CHECK_INT(llmos_token_piece(llmos_model_tokenizer(m), 7, false, &piece), 0);
    CHECK_INT(llmos_token_piece(llmos_model_tokenizer(m), 8, false, &piece), 2);
    llmos_model_close(m);
}

TEST(bpe_takes_whole_tokens_before_merges_where_the_name_says_so)
{
    struct plan p = bpe;
    llmos_model *m;

    p.tokens[11] = (struct entry){"abc", 1, 0};
    m = must_open(&p);
    CHECK_STR(ids(m, "abc", 0), "0 5");
    llmos_model_close(m);
    p.pre = "llama-bpe";
    m = must_open(&p);
    CHECK_STR(ids(m, "abc", 0), "11");
    llmos_model_close(m);
}

TEST(bpe_never_makes_a_control_token_by_merging)
{
    struct plan p = bpe;
    llmos_model *m;

    p.tokens[4].kind = 3;
    m = must_open(&p);
    CHECK_STR(ids(m, "ab", 0), "0 1");
    CHECK_STR(ids(m, "ab", LLMOS_TOKENIZE_PARSE_SPECIAL), "4");
    llmos_model_close(m);
}

TEST(bpe_says_which_merge_is_wrong)
{
    struct plan p = bpe;

    p.merges[1] = "a x";
    CHECK_STR(refusal(&p), "merge 1 'a x' names a token that is not in the vocabulary");
    p.merges[1] = "c c";
    CHECK_STR(refusal(&p), "merge 1 'c c' makes a token that is not in the vocabulary");
    p.merges[1] = "ab";
    CHECK_STR(refusal(&p), "merge 1 'ab' is not two tokens");
    p.merges[1] = "";
    CHECK_STR(refusal(&p), "merge 1 '' is not two tokens");
    p.merges[1] = "a \xff";
    CHECK_CONTAINS(refusal(&p), "is not written in the characters that stand for bytes");
    p.merges[0] = NULL;
    CHECK_STR(refusal(&p), "the file lacks key 'tokenizer.ggml.merges'");
}

TEST(bpe_refuses_what_it_would_split_wrongly)
{
    struct plan p = bpe;

    p.pre = "no-such";
    CHECK_CONTAINS(refusal(&p), "pre-tokenizer 'no-such' is not known");
    p.pre = NULL;
    CHECK_STR(refusal(&p), "it was taken"); /* old files do not say */
}

TEST(bpe_refuses_two_tokens_of_the_same_bytes)
{
    struct plan p = bpe;

    p.tokens[2].text = "a";
    CHECK_STR(refusal(&p), "tokens 0 and 2 are both 'a'");
}

/* ---- BPE of characters ---- */

/* 0 <pad>, 1 <bos>, 2 to 5 bytes of which two are called normal, 6 space, 7 a, 8 b, 9 é, 10 " a",
 * 11 ab, 12 " ab", 13 a line end, 14 two of them, 15 two spaces, 16 <unk> */
static const struct plan spaced = {
    .model = "gemma4",
    .tokens = {{"<pad>", 3, 0},
               {"<bos>", 3, 0},
               {"<0xE4>", 6, 0},
               {"<0xB8>", 6, 0},
               {"<0xAD>", 1, 0},
               {"<0xFF>", 1, 0},
               {SPACE, 1, 0},
               {"a", 1, 0},
               {"b", 1, 0},
               {"\xc3\xa9", 1, 0},
               {SPACE "a", 1, 0},
               {"ab", 1, 0},
               {SPACE "ab", 1, 0},
               {"\n", 1, 0},
               {"\n\n", 1, 0},
               {SPACE SPACE, 4, 0},
               {"<unk>", 2, 0}},
    .unknown = 16,
    .merges = {"a b", SPACE " a", SPACE " ab", "\n \n", SPACE " " SPACE},
    .no_scores = true,
};

TEST(spaced_bpe_merges_across_what_others_cut)
{
    llmos_model *m = must_open(&spaced);
    const char *piece;

    CHECK_STR(ids(m, "ab ab", 0), "11 12"); /* "a b" stands before " a" */
    CHECK_STR(ids(m, "a" SPACE "a\n\n\n", 0), "7 10 14 13");
    CHECK_STR(ids(m, "a   a", 0), "7 15 10");
    CHECK_STR(ids(m, "", 0), "");
    CHECK_INT(llmos_token_piece(llmos_model_tokenizer(m), 12, false, &piece), 3);
    CHECK(memcmp(piece, " ab", 3) == 0);
    llmos_model_close(m);
}

TEST(spaced_bpe_spells_what_is_no_token_in_bytes)
{
    llmos_model *m = must_open(&spaced);
    const char *piece;

    CHECK_STR(ids(m, "\xe4\xb8\xad\xff\xc3\xa9", 0), "2 3 4 5 9");
    CHECK_STR(ids(m, "<0xAD>z", 0), "16 16 16 16 16 16 16"); /* a name is no text */
    CHECK_INT(llmos_token_piece(llmos_model_tokenizer(m), 5, false, &piece), 1);
    CHECK(piece[0] == '\xff');
    llmos_model_close(m);
}

TEST(spaced_bpe_is_also_known_by_the_name_of_its_splits)
{
    static const char *const names[] = {"gemma4", "granite-embed-multi-311m", "sarvam-moe"};
    struct plan p = spaced;

    p.model = "gpt2";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        llmos_model *m;

        p.pre = names[i];
        m = must_open(&p);
        CHECK_STR(ids(m, "ab ab", 0), "11 12");
        llmos_model_close(m);
    }
    p.pre = "gpt-2";
    CHECK_CONTAINS(refusal(&p), "is not written in the characters that stand for bytes");
}

TEST(spaced_bpe_says_which_merge_is_wrong)
{
    struct plan p = spaced;

    p.merges[1] = "a x";
    CHECK_STR(refusal(&p), "merge 1 'a x' names a token that is not in the vocabulary");
    p.merges[1] = "b b";
    CHECK_STR(refusal(&p), "merge 1 'b b' makes a token that is not in the vocabulary");
    p.merges[1] = "a ";
    CHECK_STR(refusal(&p), "merge 1 'a ' is not two tokens");
    p.merges[0] = NULL;
    CHECK_STR(refusal(&p), "the file lacks key 'tokenizer.ggml.merges'");
}

/* ---- WordPiece ---- */

static const struct plan wordpiece = {
    .model = "bert",
    .tokens = {{"[PAD]", 3, 0},
               {"[UNK]", 2, 0},
               {"[CLS]", 3, 0},
               {"[SEP]", 3, 0},
               {SPACE "go", 1, 0},
               {"ing", 1, 0},
               {SPACE "!", 1, 0},
               {SPACE "\xe4\xb8\xad", 1, 0},
               {SPACE "e", 1, 0},
               {"g", 1, 0},
               {SPACE "g", 1, 0}},
    .unknown = 1,
    .no_scores = true,
};

TEST(wordpiece_takes_the_longest_piece_from_the_left)
{
    llmos_model *m = must_open(&wordpiece);

    CHECK_STR(ids(m, "going go", 0), "4 5 4");
    CHECK_STR(ids(m, "gg", 0), "10 9");
    CHECK_STR(ids(m, "goo going", 0), "1 4 5"); /* a word that cannot be made is unknown whole */
    llmos_model_close(m);
}

TEST(wordpiece_makes_a_text_plain)
{
    llmos_model *m = must_open(&wordpiece);

    CHECK_STR(ids(m, "GO!go\tGO", 0), "4 6 4 4");
    CHECK_STR(ids(m, "\xc3\x89 e\xcc\x81", 0), "8 8"); /* accents, either way */
    CHECK_STR(ids(m,
                  "go\xe4\xb8\xad"
                  "go",
                  0),
              "4 7 4");                              /* Chinese stands alone */
    CHECK_STR(ids(m, "g\xe2\x80\x8bo\x01", 0), "4"); /* what cannot be seen vanishes */
    CHECK_STR(ids(m, "g\xffo", 0), "4");
    CHECK_STR(ids(m, " ", 0), "");
    llmos_model_close(m);
}

TEST(wordpiece_reads_vocabularies_as_their_makers_write_them)
{
    struct plan p = wordpiece;
    llmos_model *m;

    p.tokens[4].text = "go";
    p.tokens[5].text = "##ing";
    p.tokens[6].text = "!";
    p.tokens[7].text = "\xe4\xb8\xad";
    p.tokens[8].text = "E";
    p.tokens[9].text = "##g";
    p.tokens[10].text = "g";
    m = must_open(&p);
    CHECK_STR(ids(m, "going!", 0), "4 5 6");
    CHECK_STR(ids(m, "gg E e", 0), "10 9 8 1"); /* with capitals in it, case matters */
    llmos_model_close(m);
}

TEST(wordpiece_does_to_a_text_what_the_file_says)
{
    struct plan p = wordpiece;
    llmos_model *m;

    p.steps = "lowercase";
    m = must_open(&p);
    CHECK_STR(ids(m, "GO \xc3\x89 E", 0), "4 1 8"); /* accents stay */
    CHECK_STR(ids(m, "g\x01o go!", 0), "1 1");      /* nothing vanishes, marks are letters */
    CHECK_STR(ids(m,
                  "go\xe4\xb8\xad"
                  "go",
                  0),
              "1"); /* so are Chinese ones */
    llmos_model_close(m);
    p.steps = "strip_accents runs";
    m = must_open(&p);
    CHECK_STR(ids(m, "GO \xc3\xa9 e\xcc\x81", 0), "1 8 8");
    CHECK_STR(ids(m, "go!go!!", 0), "4 6 4 1"); /* several marks are one word */
    llmos_model_close(m);
    p.steps = "glitter";
    CHECK_CONTAINS(refusal(&p), "'glitter'");
}

TEST(wordpiece_begins_and_ends_as_bert_does)
{
    struct plan p = wordpiece;
    llmos_model *m;

    m = must_open(&p);
    CHECK_STR(ids(m, "go", LLMOS_TOKENIZE_ADD_BOS | LLMOS_TOKENIZE_ADD_EOS), "4"); /* not said */
    llmos_model_close(m);
    m = modelfile_open_vocabulary("vocab/ggml-vocab-bert-bge.gguf");
    CHECK_STR(ids(m, "go", LLMOS_TOKENIZE_ADD_BOS | LLMOS_TOKENIZE_ADD_EOS), "101 2175 102");
    CHECK_STR(ids(m, "go", LLMOS_TOKENIZE_ADD_BOS), "101 2175");
    llmos_model_close(m);
}

TEST(wordpiece_gives_up_on_words_of_more_than_a_hundred_letters)
{
    llmos_model *m = must_open(&wordpiece);
    char text[102];

    memset(text, 'g', 101);
    text[101] = '\0';
    CHECK_STR(ids(m, text, 0), "1");
    text[100] = '\0';
    CHECK_CONTAINS(ids(m, text, 0), "10 9 9");
    llmos_model_close(m);
}

/* ---- unigram ---- */

static const struct plan unigram = {
    .model = "t5",
    .tokens = {{"<pad>", 3, 0},
               {"</s>", 3, 0},
               {"<unk>", 2, 0},
               {SPACE, 1, -3},
               {"a", 1, -4},
               {"b", 1, -4},
               {"ab", 1, -5},
               {SPACE "a", 1, -4},
               {SPACE "ab", 1, -9}},
};

TEST(unigram_takes_the_likeliest_spelling)
{
    llmos_model *m = must_open(&unigram);

    CHECK_STR(ids(m, "ab", 0), "3 6"); /* as likely as " a" "b", and found first */
    CHECK_STR(ids(m, "a ab", 0), "7 3 6");
    CHECK_STR(ids(m, "bab", 0), "3 5 6");
    llmos_model_close(m);
}

TEST(unigram_merges_spaces_where_the_model_wants_it)
{
    struct plan p = unigram;
    llmos_model *m = must_open(&p);

    CHECK_STR(ids(m, "  a   a ", 0), "7 7");
    CHECK_STR(ids(m, "   ", 0), "");
    llmos_model_close(m);
    p.keeps_spaces = true;
    m = must_open(&p);
    CHECK_STR(ids(m, " a  a", 0), "3 7 3 7");
    llmos_model_close(m);
}

TEST(unigram_has_one_unknown_token_for_a_run)
{
    struct plan p = unigram;
    llmos_model *m = must_open(&p);

    CHECK_STR(ids(m, "axyza", 0), "7 2 4");
    CHECK_STR(ids(m, "x y", 0), "3 2 3 2");
    llmos_model_close(m);
    p.tokens[9] = (struct entry){"<0x78>", 6, 0};
    p.tokens[10] = (struct entry){"<0x79>", 6, 0};
    m = must_open(&p);
    CHECK_STR(ids(m, "axya", 0), "7 9 10 4"); /* spelled */
    CHECK_STR(ids(m, "axza", 0), "7 2 4");
    llmos_model_close(m);
}

TEST(unigram_ends_in_eos_when_asked)
{
    llmos_model *m = must_open(&unigram);

    CHECK_STR(ids(m, "a", LLMOS_TOKENIZE_ADD_BOS | LLMOS_TOKENIZE_ADD_EOS), "7 1");
    llmos_model_close(m);
}

TEST(unigram_needs_scores_that_are_numbers)
{
    struct plan p = unigram;

    p.no_scores = true;
    CHECK_STR(refusal(&p), "the file lacks key 'tokenizer.ggml.scores'");
    p.no_scores = false;
    p.score_count = 3;
    CHECK_CONTAINS(refusal(&p), "'tokenizer.ggml.scores' has 3 elements");
    p.score_count = 0;
    p.tokens[5].score = NAN;
    CHECK_STR(refusal(&p), "the score of token 5 is not a number");
    p.tokens[5].score = -INFINITY;
    CHECK_STR(refusal(&p), "the score of token 5 is not a finite number");
}

/* A map that turns b into a: root, then the unit at (offset of the root) ^ 'b'. */
static void make_charsmap(uint8_t out[4 + 4 * 256 + 4], uint32_t leaf_value)
{
    uint32_t units[256] = {0}, bytes = sizeof(units);

    units[0] = 1 << 10;                                  /* children at 1 ^ byte */
    units[1 ^ 'b'] = 'b' | 1 << 8 | (1 ^ 'b' ^ 7) << 10; /* a leaf; its value at 7 */
    units[7] = leaf_value | 1u << 31;
    memcpy(out, &bytes, 4);
    memcpy(out + 4, units, sizeof(units));
    memcpy(out + 4 + sizeof(units), "z\0a", 4);
}

TEST(unigram_replaces_characters_first)
{
    uint8_t map[4 + 4 * 256 + 4];
    struct plan p = unigram;
    llmos_model *m;

    make_charsmap(map, 2);
    p.charsmap = map;
    p.charsmap_bytes = sizeof(map);
    m = must_open(&p);
    CHECK_STR(ids(m, "b", 0), "7");
    CHECK_STR(ids(m, "\xff", 0), "3 2");
    llmos_model_close(m);
    make_charsmap(map, 4000); /* behind the texts */
    m = must_open(&p);
    CHECK_CONTAINS(ids(m, "b", 0), "the replacement at 4000");
    CHECK_STR(ids(m, "a", 0), "7");
    llmos_model_close(m);
    p.charsmap_bytes = 100;
    CHECK_CONTAINS(refusal(&p), "its first part is said to have 1024");
    p.charsmap_bytes = 3;
    CHECK_CONTAINS(refusal(&p), "precompiled_charsmap");
}

/* ---- all kinds ---- */

static const struct plan *const plans[] = {&bpe, &wordpiece, &unigram, &spaced};
#define PLANS (sizeof(plans) / sizeof(plans[0]))

TEST(tokenize_refuses_kinds_it_does_not_know)
{
    struct plan p = bpe;

    p.model = "rwkv";
    CHECK_STR(refusal(&p),
              "tokenizer 'rwkv' is not supported; this version knows: llama gpt2 gemma4 t5 bert");
}

TEST(tokenize_counts_what_there_is_no_room_for)
{
    for (size_t i = 0; i < PLANS; i++) {
        llmos_model *m = must_open(plans[i]);
        const llmos_tokenizer *t = llmos_model_tokenizer(m);
        int32_t some[3] = {-7, -7, -7};
        long n = llmos_tokenize(t, "a b ab go going", 15, 0, NULL, 0, NULL);

        CHECK(n > 2);
        CHECK_INT(llmos_tokenize(t, "a b ab go going", 15, 0, some, 2, NULL), n);
        CHECK(some[1] != -7 && some[2] == -7);
        llmos_model_close(m);
    }
}

/* What a long text becomes does not depend on what came before: words are remembered in it. */
TEST(tokenize_is_the_same_for_long_and_short_texts)
{
    for (size_t i = 0; i < PLANS; i++) {
        llmos_model *m = must_open(plans[i]);
        char unit[] = "ab a  bc go! \xe4\xb8\xad x y abababababababababab ";
        char text[20 * sizeof(unit)] = "", one[1024];

        if (plans[i] == &spaced)
            unit[sizeof(unit) - 2] = '\n'; /* a space would join what follows */
        snprintf(one, sizeof(one), "%s", ids(m, unit, 0));
        for (int k = 0; k < 20; k++)
            strcat(text, unit);
        CHECK(strncmp(ids(m, text, 0), one, strlen(one) - (i == 0 ? 3 : 0)) == 0);
        CHECK(strstr(strstr(ids(m, text, 0) + strlen(one), one) + strlen(one), one));
        llmos_model_close(m);
    }
}

static void check_quick(const llmos_tokenizer *t, const char *unit, size_t bytes)
{
    char *text = malloc(bytes);
    clock_t before = clock();
    long n;

    CHECK(text);
    for (size_t i = 0; i < bytes; i++)
        text[i] = unit[i % strlen(unit)];
    n = llmos_tokenize(t, text, bytes, 0, NULL, 0, NULL);
    free(text);
    CHECK(n >= 0 || n == LLMOS_EFORMAT); /* falcon has no token for 0xff */
    /* Quadratic time would take minutes; sanitizers cost a factor of 20. */
    if (clock() - before > 30 * CLOCKS_PER_SEC)
        TEST_FAIL("%zu bytes of '%s' took more than 30 s", bytes, unit);
}

/* A letter, a joiner of emojis, a mark, spaces, line ends, digits, bytes that are no text, and a
 * letter that comes apart. */
static const char *const hostile[] = {"a",
                                      "\xf0\x9f\x91\xa8\xe2\x80\x8d",
                                      "\xcc\x81",
                                      " ",
                                      "\n",
                                      " \n",
                                      "1",
                                      "\xff",
                                      "\xed\x95\x9c",
                                      "a'",
                                      "ab ",
                                      "\xe4\xb8\xad"};

TEST(tokenize_needs_no_quadratic_time)
{
    for (size_t i = 0; i < PLANS; i++) {
        llmos_model *m = must_open(plans[i]);

        for (size_t k = 0; k < sizeof(hostile) / sizeof(hostile[0]); k++)
            check_quick(llmos_model_tokenizer(m), hostile[k], 1 << 18);
        llmos_model_close(m);
    }
}

TEST(tokenize_needs_no_quadratic_time_with_real_vocabularies)
{
    static const char *const names[] = {"vocab/ggml-vocab-gpt-2.gguf",
                                        "vocab/ggml-vocab-falcon.gguf",
                                        "vocab/ggml-vocab-bert-bge.gguf"};

    for (size_t i = 0; i < 3; i++) {
        llmos_model *m = modelfile_open_vocabulary(names[i]);

        for (size_t k = 0; k < sizeof(hostile) / sizeof(hostile[0]); k++)
            check_quick(llmos_model_tokenizer(m), hostile[k], 1 << 18);
        llmos_model_close(m);
    }
}

TEST(tokenize_survives_every_failed_allocation)
{
    for (size_t i = 0; i < PLANS; i++) {
        llmos_model *m = must_open(plans[i]);

        EVERY_ALLOCATION_FAILS
        {
            char text[400];
            long n;

            memset(text, 'a', sizeof(text));
            n = llmos_tokenize(llmos_model_tokenizer(m), text, sizeof(text), 0, NULL, 0, NULL);
            CHECK(n > 0 || n == LLMOS_ENOMEM);
        }
        llmos_model_close(m);
    }
}

TEST(tokenizers_are_made_or_refused_when_allocations_fail)
{
    for (size_t i = 0; i < PLANS; i++) {
        struct llmos_error err;
        llmos_model *m;
        int fd = modelfile_fd("", 0);
        struct ggufwrite w;

        ggufwrite_init(&w, fd);
        ggufwrite_str(&w, "tokenizer.ggml.model", str_of(plans[i]->model));
        write_arrays(&w, plans[i]);
        CHECK_INT(ggufwrite_begin(&w, NULL), 0);
        CHECK_INT(ggufwrite_end(&w, NULL), 0);
        ggufwrite_fini(&w);
        EVERY_ALLOCATION_FAILS
        {
            int rc = llmos_model_open_vocabulary_fd(&m, fd, &err);

            CHECK(rc == 0 || rc == LLMOS_ENOMEM);
            if (rc == 0)
                llmos_model_close(m);
        }
        close(fd);
    }
}
