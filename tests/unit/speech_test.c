/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "engine/speech.h"

static struct message_token_logprobs room[SPEECH_LOGPROBS_MAX];

/* Everything that an answer gives, joined; a bar after each message shows what came when. */
struct shown {
    struct buf text, joined;
    uint32_t tokens, logprobs, ids[64], offsets[64];
};

static void shown_init(struct shown *s)
{
    memset(s, 0, sizeof(*s));
    buf_init(&s->text, 1 << 20);
    buf_init(&s->joined, 1 << 26);
}

static void shown_fini(struct shown *s)
{
    buf_fini(&s->text);
    buf_fini(&s->joined);
}

static void show(struct shown *s, struct speech *a, bool is_last)
{
    struct message_text m;

    while (speech_take(a, &m, is_last, room)) {
        CHECK(m.logprob_count <= m.tokens);
        buf_put(&s->text, m.text.at, m.text.len);
        buf_putc(&s->text, '|');
        buf_put(&s->joined, m.text.at, m.text.len);
        s->tokens += m.tokens;
        for (uint32_t i = 0; i < m.logprob_count; i++) {
            s->ids[s->logprobs] = (uint32_t)m.logprobs[i].chosen.id;
            s->offsets[s->logprobs++] = m.logprobs[i].text_offset;
        }
    }
}

/* Puts pieces one by one, with the number of the piece as token id if log-probabilities are wanted.
 */
static void run(struct shown *s, struct speech *a, const char *const *pieces)
{
    for (int i = 0; pieces[i] && !a->is_stopped; i++) {
        struct message_token_logprobs l = {.chosen = {str_of(pieces[i]), i, -1}};

        speech_put(a, str_of(pieces[i]), a->want_logprobs ? &l : NULL);
        show(s, a, false);
    }
    speech_end(a);
    show(s, a, true);
    CHECK(!a->is_bad);
}

#define RUN(s, a, ...) run(s, a, (const char *const[]){__VA_ARGS__, NULL})

static void check(const char *expected, uint32_t tokens, const char *const *stops,
                  const char *const *pieces)
{
    struct str stop_strs[8] = {{0}};
    struct speech a;
    struct shown s;
    uint32_t n = 0;

    for (; stops && stops[n]; n++)
        stop_strs[n] = str_of(stops[n]);
    speech_init(&a, stop_strs, n, false);
    shown_init(&s);
    run(&s, &a, pieces);
    CHECK_STR(buf_str(&s.text).at, expected);
    CHECK_INT(s.tokens, tokens);
    speech_fini(&a);
    shown_fini(&s);
}

#define STOPS(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define PIECES(...) ((const char *const[]){__VA_ARGS__, NULL})

TEST(speech_shows_each_token_at_once)
{
    check("Once| upon| a|", 3, NULL, PIECES("Once", " upon", " a"));
}

TEST(speech_waits_for_whole_characters)
{
    check("a|\xe2\x82\xac|\xf0\x9f\x98\x80|", 8, NULL,
          PIECES("a", "\xe2", "\x82", "\xac", "\xf0", "\x9f", "\x98", "\x80"));
    check("a|\xc3\xa9|", 2, NULL, PIECES("a\xc3", "\xa9"));
    check("\xc3\xa9|b|", 3, NULL, PIECES("", "\xc3\xa9", "b"));
}

TEST(speech_replaces_what_is_no_text)
{
    check("\xef\xbf\xbd|", 1, NULL, PIECES("\xff"));
    check("\xef\xbf\xbd(|", 2, NULL, PIECES("\xc3", "("));
    check("\xef\xbf\xbd|", 2, NULL, PIECES("\xe2", "\x82")); /* cut off at the end: one fragment */
    check("\xef\xbf\xbd|\xc3\xa9|", 3, NULL, PIECES("\xe2", "\xc3", "\xa9"));
    check("\xef\xbf\xbd\xef\xbf\xbd|", 1, NULL, PIECES("\xc0\xaf")); /* overlong */
}

TEST(speech_is_the_same_however_bytes_are_cut)
{
    struct rng rng;
    struct buf whole;

    rng_seed(&rng, 1);
    buf_init(&whole, 1000);
    for (int round = 0; round < 3000; round++) {
        static const char alphabet[] = "a\xe2\x82\xac\xf0\x9f\x98\x80\xc3\xa9\xed\xa0\xff";
        char bytes[24];
        size_t n = 1 + rng_below(&rng, sizeof(bytes) - 1), at = 0;
        struct speech a;
        struct shown s;

        for (size_t i = 0; i < n; i++)
            bytes[i] = alphabet[rng_below(&rng, sizeof(alphabet) - 1)];
        buf_clear(&whole);
        utf8_put(&whole, (struct str){bytes, n});
        speech_init(&a, NULL, 0, false);
        shown_init(&s);
        while (at < n) {
            size_t part = 1 + rng_below(&rng, n - at);
            char *copy = mem_strndup(bytes + at, part);

            speech_put(&a, (struct str){copy, part}, NULL);
            mem_free(copy);
            show(&s, &a, false);
            CHECK(utf8_valid_bytes(buf_str(&s.joined)) == s.joined.len);
            at += part;
        }
        speech_end(&a);
        show(&s, &a, true);
        CHECK_STR(buf_str(&s.joined).at, whole.at);
        speech_fini(&a);
        shown_fini(&s);
    }
    buf_fini(&whole);
}

TEST(speech_stops_at_a_string_across_tokens)
{
    check("one||", 3, STOPS("\n\n"), PIECES("one", "\n", "\n"));
    check("o||", 2, STOPS("ne t"), PIECES("one", " two"));
    check("a||", 4, STOPS("aab"), PIECES("a", "a", "a", "b"));
    check("|", 1, STOPS("whole"), PIECES("whole"));
    check("\xc3\xa9||", 4, STOPS("\xe2\x82\xac"), PIECES("\xc3\xa9", "\xe2", "\x82", "\xac"));
}

TEST(speech_gives_back_what_was_held_in_vain)
{
    check("one|\ntwo|", 3, STOPS("\n\n"), PIECES("one", "\n", "two"));
    check("a|a|aa|", 3, STOPS("aab"), PIECES("aaa", "a", ""));
    check("one|\n|", 2, STOPS("\n\n"), PIECES("one", "\n")); /* the answer ends first */
}

TEST(speech_stops_at_the_string_that_is_complete_first)
{
    /* However the bytes are cut: "c" is complete before "abcd". */
    check("ab|", 1, STOPS("abcd", "c"), PIECES("abcd"));
    check("ab|", 3, STOPS("abcd", "c"), PIECES("a", "b", "c"));
    check("a|", 1, STOPS("c", "bc"), PIECES("abc")); /* complete together: the longer one */
    check("x|", 1, STOPS("ab", "b"), PIECES("xabab"));
}

TEST(speech_finds_stops_wherever_tokens_are_cut)
{
    static const char text[] = "abaabbabaaabbabab";
    struct rng rng;

    rng_seed(&rng, 2);
    for (int round = 0; round < 3000; round++) {
        struct str stops[3];
        size_t count = 1 + rng_below(&rng, 3), at = 0, first_end = SIZE_MAX, first_at = 0;
        struct speech a;
        struct shown s;

        for (size_t i = 0; i < count; i++) {
            size_t from = rng_below(&rng, sizeof(text) - 1);
            size_t n = 1 + rng_below(&rng, sizeof(text) - 1 - from);
            const char *hit;

            stops[i] = (struct str){text + from, n > 5 ? 5 : n};
            hit = memmem(text, sizeof(text) - 1, stops[i].at, stops[i].len);
            if ((size_t)(hit - text) + stops[i].len < first_end ||
                ((size_t)(hit - text) + stops[i].len == first_end &&
                 (size_t)(hit - text) < first_at)) {
                first_at = (size_t)(hit - text);
                first_end = first_at + stops[i].len;
            }
        }
        speech_init(&a, stops, (uint32_t)count, false);
        shown_init(&s);
        while (at < sizeof(text) - 1 && !a.is_stopped) {
            size_t part = 1 + rng_below(&rng, 4);

            part = part < sizeof(text) - 1 - at ? part : sizeof(text) - 1 - at;
            speech_put(&a, (struct str){text + at, part}, NULL);
            show(&s, &a, false);
            at += part;
        }
        speech_end(&a);
        show(&s, &a, true);
        CHECK(a.is_stopped);
        CHECK(str_eq(buf_str(&s.joined), (struct str){text, first_at}));
        speech_fini(&a);
        shown_fini(&s);
    }
}

TEST(speech_drops_the_space_of_the_tokenizer_once)
{
    struct speech a;
    struct shown s;

    speech_init(&a, NULL, 0, false);
    shown_init(&s);
    a.drop_space = true;
    RUN(&s, &a, "", " Once", " upon");
    CHECK_STR(buf_str(&s.joined).at, "Once upon");
    speech_fini(&a);
    shown_fini(&s);
}

TEST(speech_echo_is_no_place_for_stops)
{
    static const struct str stop = {"stop", 4};
    struct speech a;
    struct shown s;

    speech_init(&a, &stop, 1, false);
    shown_init(&s);
    speech_echo(&a, STR("do not stop\xe2\x82"));
    RUN(&s, &a, "\xac", " st", "op", "never");
    CHECK_STR(buf_str(&s.joined).at, "do not stop\xef\xbf\xbd\xef\xbf\xbd ");
    speech_fini(&a);
    shown_fini(&s);
}

TEST(speech_sends_logprobs_with_their_text)
{
    static const struct str stop = {"END", 3};
    struct speech a;
    struct shown s;

    speech_init(&a, &stop, 1, true);
    shown_init(&s);
    speech_echo(&a, STR("Hi"));
    RUN(&s, &a, "a", "b\xc3",
        "\xa9"
        "E",
        "", "N", "o", "tE", "ND!");
    CHECK_STR(buf_str(&s.joined).at, "Hiab\xc3\xa9"
                                     "ENot");
    /* Token 7 lies in the stop string; 6 begins before it. */
    CHECK_INT(s.logprobs, 7);
    CHECK_INT(s.tokens, 8);
    for (uint32_t i = 0; i < s.logprobs; i++)
        CHECK_INT(s.ids[i], i);
    CHECK_INT(s.offsets[0], 2);
    CHECK_INT(s.offsets[1], 3);
    CHECK_INT(s.offsets[2], 4);
    CHECK_INT(s.offsets[3], 7);
    CHECK_INT(s.offsets[6], 9);
    speech_fini(&a);
    shown_fini(&s);
}

TEST(speech_counts_every_token)
{
    check("|", 3, NULL, PIECES("", "", ""));
    check("a||", 3, NULL, PIECES("a", "", ""));
}

TEST(speech_of_a_huge_token_fits_its_frames)
{
    size_t n = 3 * SPEECH_TEXT_MAX;
    char *big = mem_alloc(n + 1);
    struct speech a;
    struct shown s;

    for (size_t i = 0; i + 3 <= n; i += 3)
        memcpy(big + i, "\xe2\x82\xac", 3);
    speech_init(&a, NULL, 0, false);
    shown_init(&s);
    speech_put(&a, (struct str){big, n}, NULL);
    for (struct message_text m; speech_take(&a, &m, false, room);) {
        CHECK(m.text.len <= SPEECH_TEXT_MAX);
        CHECK_INT(utf8_valid_bytes(m.text), m.text.len);
        buf_put(&s.joined, m.text.at, m.text.len);
        s.tokens += m.tokens;
    }
    CHECK(str_eq(buf_str(&s.joined), (struct str){big, n}));
    CHECK_INT(s.tokens, 1);
    speech_fini(&a);
    shown_fini(&s);
    mem_free(big);
}

TEST(speech_messages_with_all_logprobs_fit_a_frame)
{
    static char piece[SPEECH_PIECE_MAX];
    struct message_token_logprobs l = {.chosen = {{piece, sizeof(piece)}, 1, -1},
                                       .top_count = MESSAGE_TOP_MAX};
    struct message m = {.type = MESSAGE_TEXT, .id = 1};
    struct speech a;
    struct buf out;

    memset(piece, 'x', sizeof(piece));
    for (int i = 0; i < MESSAGE_TOP_MAX; i++)
        l.top[i] = l.chosen;
    speech_init(&a, NULL, 0, true);
    buf_init(&out, FRAME_HEAD_BYTES + FRAME_TO_HOST_MAX);
    for (int i = 0; i < 500; i++)
        speech_put(&a, (struct str){piece, sizeof(piece)}, &l);
    speech_end(&a);
    while (speech_take(&a, &m.text, true, room)) {
        buf_clear(&out);
        message_put(&out, &m);
        CHECK(!out.bad);
    }
    speech_fini(&a);
    buf_fini(&out);
}

TEST(speech_survives_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        struct message_token_logprobs l = {.chosen = {STR("abc"), 1, -1}};
        struct message_text m;
        struct speech a;

        speech_init(&a, NULL, 0, true);
        for (int i = 0; i < 20; i++)
            speech_put(&a, STR("abcdefghij"), &l);
        speech_end(&a);
        CHECK(a.is_bad == mem_failed());
        while (speech_take(&a, &m, true, room))
            ;
        speech_fini(&a);
    }
}
