/* SPDX-License-Identifier: Apache-2.0 */
/* rogue.c - an engine that misbehaves as its model file says: what the host must survive.
 *
 * The "model" is a text file with one word a line, some with a number; "#" begins a comment and an
 * empty file behaves well.  Words add up: "slow-tokens 20" and "die-after-tokens 3" go together.
 *
 *   before READY
 *     slow-ready MS        READY comes late
 *     never-ready          READY never comes
 *     refuse               ERROR with id 0 instead of READY, then it ends, as for a broken model
 *     die-at-start         ends with status 7 before READY
 *     early-text           TEXT before READY
 *     garbage-ready        noise instead of READY
 *     ready-packed         READY, but with packed weights that nobody gave it
 *     ready-unlabelled     READY speaks of a classifier without labels
 *     ready-tokens         READY speaks of a classifier of tokens
 *     ready-twins          READY has two labels of one name
 *   with the first request (GENERATE, TOKENIZE, INSPECT, BENCH, PACK or ENCODE)
 *     garbage              noise: bytes that are no frames
 *     oversize             the head of a frame of 2 GiB
 *     half                 half a frame, then it ends
 *     reserved             a frame whose reserved field is not zero
 *     wrong-type           a frame of a type that does not exist
 *     host-type            a frame that only hosts may send
 *     ready-again          a second READY
 *     wrong-id             TEXT for a request that nobody made
 *     flood                STATS without end
 *     flood-text           TEXT without tokens, without end
 *     deaf                 reads nothing any more, sends nothing
 *     die                  ends with status 3
 *     crash                ends by SIGSEGV
 *     forbidden            tries to open a file (the room ends it: SIGSYS)
 *     eat-memory           allocates until the room ends it
 *   while it answers
 *     slow-tokens MS       pauses before each token
 *     die-after-tokens N   ends with status 3 in the middle of an answer
 *     crash-after-tokens N the same by SIGSEGV
 *     hang-after-tokens N  is silent from there on (but reads, so that CANCEL works)
 *     too-many-tokens      goes on behind max_tokens, without end
 *     bad-utf8             texts that are no UTF-8
 *     escapes              texts that would control a terminal
 *     say-call             texts in which a function is called, and then another
 *     say-half-call        the same, and the second call has no end
 *     say-thought          texts that think, and then answer
 *     say-messages         messages of harmony: a thought, words, and a call
 *     nan-logprob          a log-probability that is not a number
 *     done-twice           a second DONE for each request
 *     silent               takes requests and never answers
 *     ignore-cancel        does not listen to CANCEL
 *     die-on-prompt        ends with status 3 if the prompt's text contains "crash", else behaves
 *   to an ENCODE
 *     vector-wide          a row with a number too many
 *     vector-rows          a row too many
 *     vector-none          no row
 *     vector-endless       rows without end
 *     vector-short         a row too few
 *     vector-open          all rows, and yet not the last of them
 *     vector-nan           a number that is none
 *     vector-tokens        more tokens than it has room for
 *     vector-twice         two answers
 *     vector-data          an answer that is no VECTOR
 *     vector-swapped       the second text is answered before the first
 *     slow-vector MS       pauses before each answer
 *     die-after-vectors N  ends with status 3 behind so many answers
 *
 * Well-behaved, it answers every prompt with "one two three ..." up to max_tokens (0: 5), and every
 * text with the vector 1, 0.5, -0.25 or with the scores 2 (no) and 1 ("yes"). */
#include "base/clock.h"
#include "base/file.h"
#include "net/message.h"
#include "vce/launch.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUESTS_MAX 64

struct request {
    uint64_t id;
    uint32_t sent, wanted;
    bool want_logprob;
};

static char modes[4096];
static struct buf out;
static struct frame_reader in;
static struct arena arena;
static struct request requests[REQUESTS_MAX];
static unsigned request_count;

/* -1: the word is not in the file; else its number, 0 without one. */
static long mode(const char *word)
{
    size_t n = strlen(word);

    for (const char *line = modes; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, word, n) == 0 && (line[n] == ' ' || line[n] == '\n' || line[n] == '\0'))
            return line[n] == ' ' ? atol(line + n) : 0;
    }
    return -1;
}

static void pause_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    if (ms > 0)
        nanosleep(&t, NULL);
}

static void flush_out(void)
{
    if (file_write_all(VCE_SOCKET_FD, out.at, out.len) < 0)
        exit(4);
    buf_clear(&out);
}

static void say(const struct message *m)
{
    message_put(&out, m);
    flush_out();
}

static void say_ready(void)
{
    static struct str labels[] = {{"no", 2}, {"\"yes\"", 5}, {"no", 2}};

    say(&(struct message){
        .type = MESSAGE_READY,
        .ready = {.architecture = STR("rogue"),
                  .name = STR("rogue"),
                  .file_type = STR("text"),
                  .chat_format = STR("plain"),
                  .tool_format = mode("say-messages") >= 0 ? STR("harmony") : STR(""),
                  .thought_format = mode("say-messages") >= 0  ? STR("harmony")
                                    : mode("say-thought") >= 0 ? STR("think")
                                                               : STR(""),
                  .backend = STR("none"),
                  .context_tokens = 512,
                  .context_trained = 512,
                  .vocabulary = 256,
                  .threads = 1,
                  .packing = mode("ready-packed") >= 0,
                  .classifier = mode("ready-tokens") >= 0 ? CLASSIFIER_TOKEN : CLASSIFIER_SEQUENCE,
                  .vector_width = 3,
                  .label_count = mode("ready-unlabelled") >= 0 ? 0
                                 : mode("ready-twins") >= 0    ? 3
                                                               : 2,
                  .labels = labels}});
}

static void say_text(uint64_t id, const char *text, uint32_t tokens, bool want_logprob)
{
    struct message_token_logprobs l = {.chosen = {str_of(text), 5, -0.5f}};
    struct message m = {.type = MESSAGE_TEXT, .id = id, .text = {str_of(text), tokens, 0, &l}};

    m.text.logprob_count = tokens && want_logprob;
    message_put(&out, &m);
    if (m.text.logprob_count && mode("nan-logprob") >= 0) /* the float before offset and count */
        memset(out.at + out.len - 12, 0xff, 4);
    flush_out();
}

static void say_done(const struct request *r, uint8_t finish)
{
    say(&(struct message){
        .type = MESSAGE_DONE,
        .id = r->id,
        .done = {.finish = finish, .prompt_tokens = 4, .completion_tokens = r->sent}});
}

static void before_ready(void)
{
    pause_ms(mode("slow-ready"));
    if (mode("die-at-start") >= 0)
        exit(7);
    if (mode("never-ready") >= 0)
        pause_ms(3600000);
    if (mode("early-text") >= 0)
        say_text(1, "too early", 1, false);
    if (mode("garbage-ready") >= 0) {
        buf_puts(&out, "This is no frame, and it has never been one. READY!");
        flush_out();
    }
    if (mode("refuse") >= 0) {
        say(&(struct message){.type = MESSAGE_ERROR,
                              .error = {LLMOS_EFORMAT, STR("the model file is made of words")}});
        exit(1);
    }
}

static void put_head(uint32_t bytes, uint16_t type, uint16_t reserved, uint64_t id)
{
    buf_put_u32(&out, bytes);
    buf_put_u16(&out, type);
    buf_put_u16(&out, reserved);
    buf_put_u64(&out, id);
}

static void flood(bool is_text, uint64_t id)
{
    static char text[60000];

    memset(text, 'x', sizeof(text) - 1);
    for (;;) {
        if (is_text)
            say_text(id, text, 0, false);
        else
            say(&(struct message){.type = MESSAGE_STATS});
    }
}

/* A true one: as the first process of its namespace it would not hear a raise(). */
static void fault(void)
{
    volatile uintptr_t nowhere = 8; /* volatile: compilers warn of what they can see through */

    *(volatile int *)nowhere = 1;
}

static void eat_memory(void)
{
    for (;;) {
        char *p = malloc(1 << 20);

        if (!p)
            exit(5);
        memset(p, 1, 1 << 20);
    }
}

static void break_frames(uint64_t id)
{
    if (mode("garbage") >= 0)
        buf_puts(&out, "\x17\x2a garbage garbage garbage garbage garbage garbage");
    if (mode("oversize") >= 0)
        put_head(0x80000000u, MESSAGE_TEXT, 0, id);
    if (mode("half") >= 0)
        put_head(100, MESSAGE_TEXT, 0, id);
    if (mode("reserved") >= 0)
        put_head(0, MESSAGE_TEXT, 1, id);
    if (mode("wrong-type") >= 0)
        put_head(0, 999, 0, id);
    if (mode("host-type") >= 0)
        put_head(0, MESSAGE_CANCEL, 0, id);
    flush_out();
    if (mode("half") >= 0)
        exit(3);
}

static void with_request(uint64_t id)
{
    break_frames(id);
    if (mode("ready-again") >= 0)
        say_ready();
    if (mode("wrong-id") >= 0)
        say_text(id + 1000000, "for nobody", 1, false);
    if (mode("flood") >= 0 || mode("flood-text") >= 0)
        flood(mode("flood-text") >= 0, id);
    if (mode("deaf") >= 0)
        pause_ms(3600000);
    if (mode("die") >= 0)
        exit(3);
    if (mode("crash") >= 0)
        fault();
    if (mode("forbidden") >= 0)
        close(open("/etc/passwd", O_RDONLY));
    if (mode("eat-memory") >= 0)
        eat_memory();
}

static void say_rows(uint64_t id, uint32_t width, uint32_t rows, bool is_last)
{
    static const float values[] = {1, 0.5f, -0.25f, 2, 1, 0, 2, 1, 1, 0.5f, 2};
    static const struct str pieces[] = {{"one ", 4}, {"two", 3}, {"", 0}};
    struct message m = {
        .type = MESSAGE_VECTOR, .id = id, .vector = {is_last, 2, 0, width, rows, pieces, values}};

    if (width == 2) /* scores */
        m.vector.values += 3;
    if (mode("vector-tokens") >= 0)
        m.vector.tokens = 513;
    message_put(&out, &m);
    if (mode("vector-nan") >= 0)
        memset(out.at + out.len - 4, 0xff, 4);
    flush_out();
}

static void say_no_row(uint64_t id, uint32_t width)
{
    put_head(17, MESSAGE_VECTOR, 0, id);
    buf_put_u8(&out, 1);
    buf_put_u32(&out, 2);
    buf_put_u32(&out, 0);
    buf_put_u32(&out, width);
    buf_put_u32(&out, 0);
    flush_out();
}

static void encode(const struct message *m)
{
    static uint64_t held;
    static long said;
    bool are_scores = m->encode.kind == ENCODE_CLASSIFY;
    uint32_t width = (are_scores ? 2 : 3) + (mode("vector-wide") >= 0);
    uint32_t rows = (are_scores && mode("ready-tokens") >= 0 ? 2 : 1) + (mode("vector-rows") >= 0);

    pause_ms(mode("slow-vector"));
    if (mode("die-after-vectors") == said++)
        exit(3);
    if (mode("vector-data") >= 0)
        say(&(struct message){.type = MESSAGE_DATA, .id = m->id, .data = {STR("{}"), true}});
    if (mode("vector-swapped") >= 0 && !held) {
        held = m->id;
        return;
    }
    while (mode("vector-endless") >= 0)
        say_rows(m->id, width, 1, false);
    if (mode("vector-none") >= 0)
        say_no_row(m->id, width);
    say_rows(m->id, width, mode("vector-short") >= 0 ? rows - 1 : rows, mode("vector-open") < 0);
    if (mode("vector-twice") >= 0)
        say_rows(m->id, width, rows, true);
    if (held)
        say_rows(held, width, rows, true);
}

static void take(const struct message *m)
{
    switch (m->type) {
    case MESSAGE_GENERATE:
        with_request(m->id);
        if (mode("die-on-prompt") >= 0 && m->generate.prompt_kind == PROMPT_TEXT &&
            memmem(m->generate.text.at, m->generate.text.len, "crash", 5))
            exit(3);
        if (request_count == REQUESTS_MAX)
            exit(6);
        requests[request_count++] =
            (struct request){m->id, 0, m->generate.max_tokens ? m->generate.max_tokens : 5,
                             m->generate.want_logprob};
        break;
    case MESSAGE_CANCEL:
        for (unsigned i = 0; i < request_count && mode("ignore-cancel") < 0; i++) {
            if (requests[i].id != m->id)
                continue;
            say_done(&requests[i], FINISH_CANCELED);
            requests[i] = requests[--request_count];
        }
        break;
    case MESSAGE_TOKENIZE:
        with_request(m->id);
        say(&(struct message){.type = MESSAGE_TOKENS, .id = m->id, .tokens = {.last = true}});
        break;
    case MESSAGE_INSPECT:
    case MESSAGE_BENCH:
    case MESSAGE_RENDER:
        with_request(m->id);
        say(&(struct message){.type = MESSAGE_DATA, .id = m->id, .data = {STR("{}"), true}});
        break;
    case MESSAGE_ENCODE:
        with_request(m->id);
        encode(m);
        break;
    case MESSAGE_PACK: /* a file of noise */
        with_request(m->id);
        if (write(VCE_OUTPUT_FD, modes, sizeof(modes)) != sizeof(modes))
            exit(5);
        say(&(struct message){.type = MESSAGE_PACKED, .id = m->id, .packed = {true, 1}});
        break;
    default:
        break;
    }
}

static void listen_to(int timeout_ms)
{
    struct pollfd p = {VCE_SOCKET_FD, POLLIN, 0};
    struct message m;
    struct frame f;

    if (poll(&p, 1, timeout_ms) <= 0)
        return;
    if (frame_fill(&in, VCE_SOCKET_FD, NULL) < 0)
        exit(0);
    while (frame_next(&in, &f, NULL) == 1) {
        arena_fini(&arena);
        if (message_parse(&m, &f, false, &arena, NULL) == 0)
            take(&m);
    }
}

/* True if the request is over. */
static bool say_token(struct request *r)
{
    static const char *const words[] = {"one ", "two ", "three ", "four ", "five "};
    static const char *const calls[] = {
        "I see.\n<tool_", "call>\n{\"name\": \"f\", \"argum",
        "ents\": {\"x\": ", "1}}\n</tool_call><tool_call>{\"name\": \"g\"", "}</tool_call>"};
    static const char *const thought[] = {"<thi", "nk>\n2 and", " 2\n</th", "ink>\n\n4", "."};
    static const char *const messages[] = {
        "<|channel|>analysis<|mess", "age|>Hm.<|end|><|start|>assistant<|channel|>commentary",
        "<|message|>I see.<|end|><|st", "art|>assistant<|channel|>commentary to=functions.f ",
        "<|constrain|>json<|message|>{\"x\": 1}"};
    long sent = r->sent;

    if (mode("die-after-tokens") == sent)
        exit(3);
    if (mode("crash-after-tokens") == sent)
        fault();
    if (mode("hang-after-tokens") == sent || mode("silent") >= 0)
        return false;
    pause_ms(mode("slow-tokens"));
    if (r->sent >= r->wanted && mode("too-many-tokens") < 0) {
        say_done(r,
                 mode("say-call") >= 0 || mode("say-messages") >= 0 ? FINISH_STOP : FINISH_LENGTH);
        if (mode("done-twice") >= 0)
            say_done(r, FINISH_LENGTH);
        return true;
    }
    say_text(r->id,
             mode("bad-utf8") >= 0        ? "\xff\xc3(\xe2\x82"
             : mode("escapes") >= 0       ? "\033[31mred\033]0;title\007\xc2\x9b\r"
             : mode("say-call") >= 0      ? calls[r->sent % 5]
             : mode("say-messages") >= 0  ? messages[r->sent % 5]
             : mode("say-thought") >= 0   ? thought[r->sent % 5]
             : mode("say-half-call") >= 0 ? calls[r->sent % 4]
                                          : words[r->sent % 5],
             1, r->want_logprob);
    r->sent++;
    return false;
}

static bool has_work(void)
{
    return request_count && mode("silent") < 0 &&
           (mode("hang-after-tokens") < 0 || requests[0].sent != mode("hang-after-tokens"));
}

int main(void)
{
    ssize_t n = pread(VCE_MODEL_FD, modes, sizeof(modes) - 1, 0);

    modes[n > 0 ? n : 0] = '\0';
    buf_init(&out, 4 << 20);
    frame_reader_init(&in, FRAME_TO_ENGINE_MAX);
    arena_init(&arena, MESSAGE_ARENA_BYTES);
    before_ready();
    say_ready();
    for (;;) {
        listen_to(has_work() ? 0 : -1);
        for (unsigned i = 0; i < request_count;) {
            if (say_token(&requests[i]))
                requests[i] = requests[--request_count];
            else
                i++;
        }
    }
}
