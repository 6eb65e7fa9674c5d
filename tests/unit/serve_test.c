/* SPDX-License-Identifier: Apache-2.0 */
/* The engine without its room, where a sanitizer can look for leaks and allocations can fail.  What
 * it answers is the matter of tests/e2e/engine_test.c. */
#include "test.h"
#include "tinybert.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/reader.h"
#include "engine/serve.h"
#include "model/packfile.h"
#include "model/synth.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>

static int model_fd = -1, packed_fd = -1, encoder_fd = -1;

static void make_model(void)
{
    struct synth_options o;

    if (model_fd >= 0)
        return;
    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    o.type = DTYPE_Q8_0;
    model_fd = memfd_create("model", MFD_CLOEXEC);
    CHECK(model_fd >= 0);
    CHECK_INT(synth_write(model_fd, &o, NULL), 0);
}

struct host {
    int fd;
    uint32_t wanted, over; /* requests that must end, and have */
};

static bool read_all(int fd, void *bytes, size_t n)
{
    for (char *at = bytes; n > 0;) {
        ssize_t got = read(fd, at, n);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
    }
    return true;
}

/* Reads until all requests are over, then goes.  Allocates nothing: failures are for the engine. */
static void *host_run(void *arg)
{
    struct host *h = arg;
    unsigned char head[FRAME_HEAD_BYTES];
    static char payload[FRAME_TO_HOST_MAX];

    while (h->over < h->wanted && read_all(h->fd, head, sizeof(head))) {
        struct reader r = reader_of(head, sizeof(head));
        uint32_t bytes = reader_u32(&r);
        uint16_t type = reader_u16(&r);

        if (bytes > sizeof(payload) || !read_all(h->fd, payload, bytes))
            break;
        h->over += type == MESSAGE_DONE || type == MESSAGE_ERROR || type == MESSAGE_PACKED ||
                   ((type == MESSAGE_DATA || type == MESSAGE_TOKENS || type == MESSAGE_VECTOR) &&
                    payload[0] == 1);
    }
    close(h->fd);
    return NULL;
}

#define HELLO "[{\"role\": \"user\", \"content\": \"hello\"}]"

static struct message generate(uint64_t id, const char *prompt, uint32_t max_tokens)
{
    struct message m = {.type = MESSAGE_GENERATE,
                        .id = id,
                        .generate = {.prompt_kind = id % 2 ? PROMPT_TEXT : PROMPT_CHAT,
                                     .text = id % 2 ? str_of(prompt) : STR(HELLO),
                                     .max_tokens = max_tokens,
                                     .temperature = 0.5f,
                                     .top_p = 1,
                                     .repeat_penalty = 1,
                                     .echo = true,
                                     .want_logprob = true,
                                     .top_logprobs = 3,
                                     .stop_count = 1,
                                     .stops = {STR("never said")}}};

    return m;
}

static void put_requests(struct buf *b)
{
    struct message m;

    for (uint64_t id = 1; id <= 5; id++) {
        m = generate(id, "Once upon a time", 4 + (uint32_t)id);
        if (id == 4)
            m.generate.grammar = STR("root ::= \"[\" [a-z]{1,9} (\",\" root)* \"]\"");
        message_put(b, &m);
    }
    message_put(b, &(struct message){
                       .type = MESSAGE_TOKENIZE, .id = 6, .tokenize = {STR("text"), true, false}});
    message_put(b, &(struct message){.type = MESSAGE_INSPECT, .id = 7});
    message_put(b, &(struct message){.type = MESSAGE_CANCEL, .id = 5});
    m = generate(8, "", 1);
    m.generate.temperature = -1; /* refused */
    message_put(b, &m);
}

/* Sends everything, waits for `wanted` ends, goes. */
static int serve_once(const struct buf *requests, uint32_t wanted,
                      const struct message_setup *setup, uint32_t *over)
{
    const struct serve_files files = {setup->purpose == PURPOSE_ENCODE ? encoder_fd : model_fd,
                                      model_fd, packed_fd, packed_fd, -1};
    struct host host = {.wanted = wanted};
    struct llmos_error err;
    struct serve s;
    struct wire w;
    pthread_t thread;
    int pair[2], rc;

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK_INT(file_write_all(pair[1], requests->at, requests->len), 0);
    host.fd = pair[1];
    CHECK_INT(pthread_create(&thread, NULL, host_run, &host), 0);
    wire_init(&w, pair[0]);
    rc = serve_init(&s, &w, &files, setup, &err);
    if (rc == 0)
        rc = serve_run(&s, &err);
    serve_fini(&s);
    wire_fini(&w);
    close(pair[0]);
    pthread_join(thread, NULL);
    if (over)
        *over = host.over;
    return rc;
}

TEST(serve_leaves_nothing_behind)
{
    const struct message_setup setup = {.sessions_max = 2, .context_tokens = 64, .kv_tokens = 64};
    uint32_t over = 0;
    struct buf b;

    make_model();
    buf_init(&b, 1 << 20);
    put_requests(&b);
    CHECK_INT(serve_once(&b, 8, &setup, &over), 0);
    CHECK_INT(over, 8);
    CHECK_INT(serve_once(&b, 1, &setup, NULL), 0); /* goes while others run and wait */
    CHECK_INT(serve_once(&b, 0, &setup, NULL), 0);
    buf_fini(&b);
}

TEST(serve_survives_every_failed_allocation)
{
    const struct message_setup setup = {.sessions_max = 2, .context_tokens = 64, .kv_tokens = 64};
    struct buf b;

    make_model();
    buf_init(&b, 1 << 20);
    put_requests(&b);
    EVERY_ALLOCATION_FAILS
    {
        uint32_t over = 0;
        int rc = serve_once(&b, 8, &setup, &over);

        /* Either one request fails, or the engine cannot go on; nobody is left without an end. */
        CHECK(rc == 0 ? over == 8 : rc == LLMOS_ENOMEM);
    }
    buf_fini(&b);
}

/* --- texts that become vectors -------------------------------------------------------------------
 */

static void put_texts(struct buf *b)
{
    static const int32_t tokens[] = {2, 9, 3};
    static const struct message_encode texts[] = {
        {.kind = ENCODE_EMBED, .normalizes = true, .text = STR("hello there")},
        {.kind = ENCODE_CLASSIFY, .text = STR("hello"), .input = ENCODE_PAIR, .second = STR("you")},
        {.kind = ENCODE_EMBED, .cuts = true, .text = STR("a b c d e f g h i j k l m n o p q r s")},
        {.kind = ENCODE_EMBED, .text = STR("too long a text for the room that there is")},
        {.kind = ENCODE_EMBED, .text = STR("no"), .input = ENCODE_PAIR, .second = STR("pair")},
        {.kind = ENCODE_CLASSIFY, .text = STR("")},
        {.kind = ENCODE_EMBED, .input = ENCODE_TOKENS, .tokens = tokens, .count = 3},
    };

    if (encoder_fd < 0) {
        encoder_fd = memfd_create("encoder", MFD_CLOEXEC);
        CHECK(encoder_fd >= 0);
        CHECK_INT(tinybert_write(encoder_fd, tinybert_find("classify"), NULL), 0);
    }
    for (uint64_t i = 0; i < 7; i++)
        message_put(b, &(struct message){.type = MESSAGE_ENCODE, .id = i + 1, .encode = texts[i]});
    message_put(b, &(struct message){.type = MESSAGE_GENERATE, .id = 8}); /* refused */
}

TEST(serve_encodes_and_leaves_nothing_behind)
{
    const struct message_setup setup = {.purpose = PURPOSE_ENCODE, .context_tokens = 16};
    uint32_t over = 0;
    struct buf b;

    buf_init(&b, 1 << 20);
    put_texts(&b);
    CHECK_INT(serve_once(&b, 8, &setup, &over), 0);
    CHECK_INT(over, 8);
    CHECK_INT(serve_once(&b, 1, &setup, NULL), 0); /* goes while others wait */
    buf_fini(&b);
}

TEST(serve_encoding_survives_every_failed_allocation)
{
    const struct message_setup setup = {.purpose = PURPOSE_ENCODE, .context_tokens = 16};
    struct buf b;

    buf_init(&b, 1 << 20);
    put_texts(&b);
    EVERY_ALLOCATION_FAILS
    {
        uint32_t over = 0;
        int rc = serve_once(&b, 8, &setup, &over);

        CHECK(rc == 0 ? over == 8 : rc == LLMOS_ENOMEM);
    }
    buf_fini(&b);
}

/* --- packed weights --------------------------------------------------------------------------- */

static void make_packed(void)
{
    const struct message_setup setup = {.purpose = PURPOSE_PACK};
    uint32_t over = 0;
    struct buf b;

    make_model();
    if (packed_fd < 0)
        packed_fd = memfd_create("packed", MFD_CLOEXEC);
    CHECK(packed_fd >= 0);
    buf_init(&b, 1 << 20);
    message_put(&b, &(struct message){.type = MESSAGE_PACK, .id = 1});
    CHECK_INT(serve_once(&b, 1, &setup, &over), 0);
    CHECK_INT(over, 1);
    buf_fini(&b);
}

/* What READY says of packed weights. */
static int packing_with(bool has_packed)
{
    const struct serve_files files = {model_fd, model_fd, packed_fd, packed_fd, -1};
    const struct message_setup setup = {.has_packed = has_packed, .context_tokens = 64};
    struct serve s;
    struct wire w;
    int pair[2], packing;

    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    wire_init(&w, pair[0]);
    CHECK_INT(serve_init(&s, &w, &files, &setup, NULL), 0);
    packing = s.packing;
    serve_fini(&s);
    wire_fini(&w);
    close(pair[0]);
    close(pair[1]);
    return packing;
}

static void need_packing(void)
{
    llmos_model *model;
    bool helps;

    make_model();
    CHECK_INT(llmos_model_open_fd(&model, model_fd, NULL), 0);
    helps = packfile_helps(model);
    llmos_model_close(model);
    if (!helps)
        SKIP("the kernels of this processor read no packed weights");
}

TEST(serve_uses_packed_weights_that_it_has_written)
{
    need_packing();
    make_packed();
    CHECK_INT(packing_with(true), PACKING_USED);
    CHECK_INT(packing_with(false), PACKING_NONE);
}

TEST(serve_runs_from_the_model_if_packed_weights_are_damaged)
{
    char byte;
    off_t end;

    need_packing();
    make_packed();
    end = lseek(packed_fd, 0, SEEK_END);
    CHECK_INT(pread(packed_fd, &byte, 1, end - 1), 1);
    byte ^= 1;
    CHECK_INT(pwrite(packed_fd, &byte, 1, end - 1), 1);
    CHECK_INT(packing_with(true), PACKING_DAMAGED);
    CHECK_INT(ftruncate(packed_fd, 100), 0);
    CHECK_INT(packing_with(true), PACKING_DAMAGED);
    CHECK_INT(ftruncate(packed_fd, 0), 0);
    CHECK_INT(packing_with(true), PACKING_DAMAGED);
}

TEST(serve_packs_only_if_it_was_started_to)
{
    const struct message_setup setup = {.context_tokens = 64};
    uint32_t over = 0;
    struct buf b;

    make_model();
    buf_init(&b, 1 << 20);
    message_put(&b, &(struct message){.type = MESSAGE_PACK, .id = 1}); /* refused */
    CHECK_INT(serve_once(&b, 1, &setup, &over), 0);
    CHECK_INT(over, 1);
    buf_fini(&b);
}

TEST(serve_packing_survives_every_failed_allocation)
{
    const struct message_setup setup = {.purpose = PURPOSE_PACK};
    struct buf b;

    make_packed();
    buf_init(&b, 1 << 20);
    message_put(&b, &(struct message){.type = MESSAGE_PACK, .id = 1});
    EVERY_ALLOCATION_FAILS
    {
        uint32_t over = 0;
        int rc = serve_once(&b, 1, &setup, &over);

        CHECK(rc == 0 ? over == 1 : rc == LLMOS_ENOMEM);
    }
    buf_fini(&b);
}
