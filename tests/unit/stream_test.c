/* SPDX-License-Identifier: Apache-2.0 */
/* stream_test.c - claims about bench/stream.h: tokens and times are those of the bytes. */
#include "stream.h"

#include "test.h"

#define CHUNK(text, finish) \
    "data: {\"choices\":[{\"index\":0,\"text\":" text ",\"finish_reason\":" finish "}]}\n\n"
#define USAGE                                                                       \
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":7," \
    "\"prompt_tokens_details\":{\"cached_tokens\":4}}}\n\n"
#define DONE "data: [DONE]\n\n"
#define MS   1000000u

static struct stream_told told;
static double gaps[16];
static size_t gap_count;
static struct llmos_error err;

/* Reads what has been taken, and forgets it. */
static int read_all(struct stream *s)
{
    struct buf out;
    int rc;

    buf_init(&out, sizeof(gaps));
    rc = stream_read(s, &told, &out, &err);
    gap_count = out.len / sizeof(double);
    if (out.len)
        memcpy(gaps, out.at, out.len);
    buf_fini(&out);
    stream_fini(s);
    return rc;
}

static int read_text(const char *text)
{
    struct stream s;

    stream_init(&s);
    CHECK(stream_take(&s, text, strlen(text), 5 * MS));
    return read_all(&s);
}

TEST(a_stream_is_counted_by_the_server_if_it_does)
{
    CHECK_INT(read_text(CHUNK("\"a\"", "null") CHUNK("\"b\"", "\"length\"") USAGE DONE), 0);
    CHECK(told.has_usage);
    CHECK_INT(told.tokens, 7);
    CHECK_INT(told.chunks, 2);
    CHECK_INT(told.prompt_tokens, 9);
    CHECK_INT(told.cached_tokens, 4);
    CHECK_STR(told.finish, "length");
}

TEST(a_stream_without_usage_is_counted_by_its_chunks)
{
    CHECK_INT(read_text(": hello\r\n\r\n" CHUNK("\"\\u0000\"", "null") CHUNK("\"\"", "null")
                            CHUNK("\"\"", "\"stop\"") DONE),
              0);
    CHECK(!told.has_usage);
    CHECK_INT(told.tokens, 2); /* the last only says why it ends */
    CHECK_STR(told.finish, "stop");
}

TEST(a_chunk_has_come_when_its_last_byte_has)
{
    const char text[] = CHUNK("\"a\"", "null") CHUNK("\"b\"", "null") DONE;
    struct stream s;

    stream_init(&s);
    for (size_t i = 0; i < sizeof(text) - 1; i++) /* a millisecond each */
        CHECK(stream_take(&s, text + i, 1, (i + 1) * MS));
    CHECK_INT(read_all(&s), 0);
    CHECK_INT(told.first_ns, (sizeof(CHUNK("\"a\"", "null")) - 2) * MS); /* of its first "\n" */
    CHECK_INT(gap_count, 1);
    CHECK_NEAR(gaps[0], sizeof(CHUNK("\"b\"", "null")) - 1, 1e-9);
    CHECK_INT(told.last_ns - told.first_ns, (sizeof(CHUNK("\"b\"", "null")) - 1) * MS);
}

TEST(a_stream_that_was_cut_or_is_none_is_no_answer)
{
    CHECK_INT(read_text(""), LLMOS_EFORMAT);
    CHECK_INT(read_text(CHUNK("\"a\"", "null")), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "without [DONE]");
    CHECK_INT(read_text(CHUNK("\"a\"", "null") "data: {\n\n" DONE), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "an event of the stream");
}

TEST(an_error_in_a_stream_is_told_in_the_words_of_the_server)
{
    CHECK_INT(read_text(CHUNK("\"a\"", "null") "data: {\"error\":{\"message\":\"it died\"}}\n\n"),
              LLMOS_EIO);
    CHECK_STR(err.text, "the server says: it died");
}
