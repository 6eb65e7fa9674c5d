/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions with a grammar: what they say is one of its texts, and the same with guesses, with
 * others beside it, and after having taken something back. */
#include "base/buf.h"
#include "base/mem.h"
#include "infer/matcher.h"
#include "infer/session.h"
#include "model/synth.h"

#include "test.h"

#include <sys/mman.h>
#include <unistd.h>

static const char list[] = "root ::= \"[\" item (\", \" item){2,5} \"]\"\n"
                           "item ::= \"\\\"\" [a-z ]{1,12} \"\\\"\" | [1-9] [0-9]{0,3} | \"null\"";
static const char quote[] = "root ::= \"abcabcabcabc\"{1,4} \"!\"";

static llmos_model *the_model(void)
{
    static llmos_model *m;
    struct synth_options o;
    int fd;

    if (m)
        return m;
    fd = memfd_create("model", MFD_CLOEXEC);
    CHECK(synth_shape(&o, "tiny", NULL) == 0 && fd >= 0);
    CHECK_INT(synth_write(fd, &o, NULL), 0);
    CHECK_INT(llmos_model_open_fd(&m, fd, NULL), 0);
    close(fd);
    return m;
}

static llmos_context *context_with(uint32_t draft_max, bool with_twin)
{
    struct llmos_context_options o = {.context_tokens = 256,
                                      .sessions_max = 6,
                                      .threads = 2,
                                      .draft_max = draft_max,
                                      .draft_lookup = draft_max > 0,
                                      .draft_model = with_twin ? the_model() : NULL};
    struct llmos_error err = {0};
    llmos_context *c = NULL;

    if (llmos_context_create(&c, the_model(), &o, &err) < 0)
        TEST_FAIL("%s", err.text);
    if (draft_max)
        context_guess_always(c);
    return c;
}

static struct llmos_sampling sampling_of(size_t i)
{
    struct llmos_sampling o = {.top_p = 1, .repeat_penalty = 1, .seed = 9 + i};

    if (i % 3)
        o.temperature = 1.2f;
    if (i % 3 == 2) {
        o.top_k = 30;
        o.top_p = 0.9f;
        o.repeat_penalty = 1.2f;
    }
    return o;
}

#define GRAMMAR(of) ((struct llmos_grammar){.text = (of), .length = strlen(of)})

static llmos_session *session_of(llmos_context *c, size_t i, const char *grammar)
{
    struct llmos_sampling o = sampling_of(i);
    llmos_session *s = NULL;
    int32_t tokens[64];
    long n = llmos_tokenize(llmos_model_tokenizer(the_model()), "[1, \"abcabc\", null] abcabcabc",
                            29, LLMOS_TOKENIZE_ADD_BOS, tokens, 64, NULL);

    CHECK(n > 0 && n <= 64);
    CHECK_INT(llmos_session_create(&s, c, &o, NULL), 0);
    CHECK_INT(llmos_session_set_domain(s, LLMOS_DOMAIN_COMMON, NULL), 0);
    CHECK_INT(llmos_session_append(s, tokens, (size_t)n, NULL), 0);
    CHECK_INT(llmos_session_set_grammar(s, &GRAMMAR(grammar), NULL), 0);
    return s;
}

struct said {
    char text[512];
    size_t len;
    bool is_over;
};

static void say(struct said *a, int32_t token)
{
    const llmos_tokenizer *t = llmos_model_tokenizer(the_model());
    const char *piece;
    size_t n = llmos_token_piece(t, token, false, &piece);

    a->is_over |= llmos_token_ends_generation(t, token);
    CHECK(a->len + n < sizeof(a->text));
    memcpy(a->text + a->len, piece, n);
    a->len += n;
}

/* Until all have said a whole text. */
static void run(llmos_context *c, llmos_session **s, struct said *said, size_t count)
{
    for (int steps = 0; steps < 400; steps++) {
        llmos_session *alive[6];
        struct llmos_step_out out[6];
        struct llmos_error err = {0};
        size_t of[6], n = 0;

        for (size_t i = 0; i < count; i++)
            if (!said[i].is_over) {
                of[n] = i;
                alive[n++] = s[i];
            }
        if (n == 0)
            return;
        if (llmos_context_step(c, alive, n, out, &err) < 0)
            TEST_FAIL("%s", err.text);
        for (size_t k = 0; k < n; k++) {
            struct said *a = &said[of[k]];

            if (out[k].token < 0)
                continue;
            say(a, out[k].token);
            for (uint32_t m = 0; m < out[k].more_count && !a->is_over; m++)
                say(a, out[k].more[m]);
            a->is_over |= out[k].complete;
        }
    }
    TEST_FAIL("no end after 400 steps");
}

static bool matches(const char *grammar, const struct said *a)
{
    struct grammar *g = NULL;
    struct tokentrie *trie = NULL;
    struct matcher *m = NULL;
    bool ok;

    CHECK_INT(grammar_compile(&g, str_of(grammar), NULL), 0);
    CHECK_INT(tokentrie_create(&trie, llmos_model_tokenizer(the_model()), NULL), 0);
    CHECK_INT(matcher_create(&m, g, trie, NULL), 0);
    for (size_t i = 0; i < a->len; i++)
        CHECK(matcher_accept_byte(m, (uint8_t)a->text[i]));
    ok = matcher_may_end(m);
    matcher_destroy(m);
    tokentrie_destroy(trie);
    return ok;
}

static void say_six(uint32_t draft_max, bool with_twin, bool together, struct said *said)
{
    llmos_context *c = context_with(draft_max, with_twin);
    llmos_session *s[6];

    memset(said, 0, 6 * sizeof(*said));
    for (size_t i = 0; i < 6; i++) {
        s[i] = session_of(c, i, i < 3 ? list : quote);
        if (!together)
            run(c, &s[i], &said[i], 1);
    }
    if (together)
        run(c, s, said, 6);
    for (size_t i = 0; i < 6; i++)
        llmos_session_destroy(s[i]);
    llmos_context_destroy(c);
}

TEST(what_is_said_is_a_text_of_the_grammar)
{
    struct said said[6];

    say_six(0, false, true, said);
    for (size_t i = 0; i < 6; i++)
        CHECK(matches(i < 3 ? list : quote, &said[i]));
}

TEST(guesses_and_others_beside_it_change_nothing)
{
    struct said alone[6], other[6];

    say_six(0, false, false, alone);
    for (int i = 0; i < 4; i++) {
        say_six(i < 2 ? 4 : 8, i % 2, i > 1, other);
        for (size_t k = 0; k < 6; k++)
            CHECK_STR(other[k].text, alone[k].text);
    }
}

/* Greedy: what was cut comes again, also where the last token that stays is given by us. */
TEST(what_is_cut_is_said_again)
{
    llmos_context *c = context_with(0, false);
    llmos_session *s = session_of(c, 0, list);
    size_t prompt = llmos_session_length(s);
    struct said first = {.len = 0}, again = {.len = 0};
    struct llmos_step_out out;
    int32_t tokens[3];

    for (int i = 0; i < 3;) {
        CHECK_INT(llmos_context_step(c, &s, 1, &out, NULL), 0);
        if (out.token >= 0)
            tokens[i++] = out.token;
    }
    for (int i = 0; i < 3; i++) {
        say(&first, tokens[i]);
        say(&again, tokens[i]);
    }
    run(c, &s, &first, 1);
    llmos_session_truncate(s, prompt + 2);
    CHECK_INT(llmos_session_append(s, &tokens[0], 1, NULL), LLMOS_EINVAL); /* "[" again */
    CHECK_INT(llmos_session_append(s, &tokens[2], 1, NULL), 0);
    run(c, &s, &again, 1);
    CHECK_STR(again.text, first.text);
    CHECK(matches(list, &again));
    llmos_session_destroy(s);
    llmos_context_destroy(c);
}

TEST(grammars_that_are_none_are_refused_by_name)
{
    llmos_context *c = context_with(0, false);
    llmos_session *s = session_of(c, 0, list);
    struct llmos_error err = {0};

    CHECK_INT(llmos_session_set_grammar(s, &GRAMMAR("root ::= x"), &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "rule 'x' is not defined");
    CHECK_INT(llmos_context_check_grammar(c, &GRAMMAR("root"), LLMOS_DOMAIN_COMMON, &err),
              LLMOS_EFORMAT);
    CHECK_INT(llmos_context_check_grammar(c, &GRAMMAR(quote), LLMOS_DOMAIN_COMMON, &err), 0);
    llmos_session_destroy(s);
    llmos_context_destroy(c);
}

TEST(a_session_without_a_token_to_say_fails_alone)
{
    llmos_context *c = context_with(0, false);
    llmos_session *s[2] = {session_of(c, 0, list),
                           session_of(c, 1, "root ::= \"\\x00\\x00\\x00\"")};
    struct llmos_step_out out[2];
    struct llmos_error err = {0};
    int rc = 0;

    /* The vocabulary of the model has a token for every byte, so its end is what is missing. */
    for (int i = 0; i < 40 && rc == 0; i++)
        rc = llmos_context_step(c, &s[1], 1, out, &err);
    CHECK_INT(rc, LLMOS_ENOTFOUND);
    CHECK_CONTAINS(err.text, "none of the model's tokens");
    CHECK_INT(llmos_context_step(c, &s[0], 1, out, &err), 0);
    llmos_session_destroy(s[0]);
    llmos_session_destroy(s[1]);
    llmos_context_destroy(c);
}

static llmos_context *context_of_bytes(uint64_t memory_max_bytes)
{
    struct llmos_context_options o = {
        .context_tokens = 256, .sessions_max = 4, .memory_max_bytes = memory_max_bytes};
    llmos_context *c = NULL;

    CHECK_INT(llmos_context_create(&c, the_model(), &o, NULL), 0);
    return c;
}

static uint64_t grammar_bytes_of(llmos_context *c)
{
    struct llmos_context_info info;

    llmos_context_info(c, &info);
    return info.grammar_bytes;
}

TEST(grammars_count_in_the_memory_of_a_context)
{
    llmos_context *c = context_of_bytes(0);
    struct llmos_context_info info;
    llmos_session *s, *other = NULL;
    struct llmos_error err;
    uint64_t one;

    CHECK_INT(grammar_bytes_of(c), 0);
    s = session_of(c, 0, list);
    one = grammar_bytes_of(c);
    CHECK(one > 0);
    llmos_session_destroy(s);
    CHECK_INT(grammar_bytes_of(c), one); /* it waits for the next one */
    llmos_context_info(c, &info);
    llmos_context_destroy(c);

    /* Room for one and a half: the second goes in when the first is not in use. */
    c = context_of_bytes(info.kv_bytes + info.scratch_bytes + one + one / 4);
    s = session_of(c, 0, list);
    CHECK_INT(llmos_session_create(&other, c, NULL, NULL), 0);
    CHECK_INT(llmos_session_set_domain(other, LLMOS_DOMAIN_COMMON, NULL), 0);
    CHECK_INT(llmos_session_set_grammar(other, &GRAMMAR(quote), &err), LLMOS_ENOMEM);
    CHECK_CONTAINS(err.text, "those in use need");
    llmos_session_destroy(s);
    CHECK_INT(llmos_session_set_grammar(other, &GRAMMAR(quote), &err), 0);
    CHECK(grammar_bytes_of(c) <= one + one / 4);
    llmos_session_destroy(other);
    llmos_context_destroy(c);
}
