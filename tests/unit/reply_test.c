/* SPDX-License-Identifier: Apache-2.0 */
/* reply_test.c - claims about reply.h */
#include "daemon/reply.h"

#include "test.h"

static const struct reply_head chat = {true, "chatcmpl-1", 5, STR("m\"x")};
static const struct reply_head text = {false, "cmpl-1", 5, STR("m")};

/* The buffer holds JSON. */
static json_t *parsed(const struct buf *b)
{
    static const struct json_limits limits = {1 << 20, 16, 1000};
    json_t *v = NULL;

    CHECK_INT(json_parse(&v, buf_str(b), &limits, NULL), 0);
    return v;
}

static struct message_text some_logprobs(struct message_token_logprobs *l)
{
    *l = (struct message_token_logprobs){
        .chosen = {STR("\xc3"), 1, -0.5f},
        .top_count = 3,
        .top = {{STR("\xc3"), 1, -0.5f}, {STR("\xe2"), 2, -1}, {STR("b"), 3, -INFINITY}}};
    return (struct message_text){.tokens = 1, .logprob_count = 1, .logprobs = l};
}

TEST(reply_bodies_have_every_required_key)
{
    struct reply_usage usage = {3, 1, 2};
    struct buf out;
    json_t *v, *choice;

    buf_init(&out, 1 << 16);
    reply_begin(&out, &chat);
    reply_put_choice(&out, &chat, &(struct reply_choice){0, STR("a\xff"), NULL, "stop"}, true);
    reply_put_choice(&out, &chat, &(struct reply_choice){1, STR(""), NULL, "length"}, false);
    reply_end(&out, &usage);
    v = parsed(&out);
    CHECK_INT(json_integer_value(json_object_get(json_object_get(v, "usage"), "total_tokens")), 5);
    CHECK_STR(json_string_value(json_object_get(v, "model")), "m\"x");
    choice = json_array_get(json_object_get(v, "choices"), 0);
    CHECK(json_is_null(json_object_get(choice, "logprobs")));
    CHECK(json_is_null(json_object_get(json_object_get(choice, "message"), "refusal")));
    CHECK_STR(json_string_value(json_object_get(json_object_get(choice, "message"), "content")),
              "a\xef\xbf\xbd");
    json_decref(v);
    buf_fini(&out);
}

TEST(reply_logprobs_are_json_whatever_the_tokens_are)
{
    struct message_token_logprobs one;
    struct message_text t = some_logprobs(&one);
    struct reply_logprobs l;
    struct buf out;

    for (int i = 0; i < 2; i++) {
        const struct reply_head *h = i ? &chat : &text;

        reply_logprobs_init(&l, 1 << 16);
        reply_logprobs_add(&l, h->is_chat, &t);
        reply_logprobs_add(&l, h->is_chat, &t);
        CHECK_NEAR(l.sum, -1, 1e-6);
        buf_init(&out, 1 << 16);
        reply_begin(&out, h);
        reply_put_choice(&out, h, &(struct reply_choice){0, STR("x"), &l, "stop"}, true);
        reply_end(&out, &(struct reply_usage){0, 0, 0});
        json_decref(parsed(&out)); /* duplicates are refused: two tokens look alike as text */
        CHECK_CONTAINS(out.at, i ? "\"bytes\":[195]" : "\"text_offset\":[0,0]");
        CHECK_CONTAINS(out.at, "-9999");
        buf_fini(&out);
        reply_logprobs_fini(&l);
    }
}

TEST(reply_events_are_whole_and_usage_comes_alone)
{
    struct buf out;

    buf_init(&out, 1 << 16);
    reply_event_role(&out, &text, 0);
    CHECK_INT(out.len, 0);
    reply_event_role(&out, &chat, 2);
    reply_event_text(&out, &chat, &(struct reply_choice){2, STR("a\n\ndata: b"), NULL, NULL});
    reply_event_text(&out, &chat, &(struct reply_choice){2, STR(""), NULL, "length"});
    CHECK_CONTAINS(out.at, "\"delta\":{\"content\":\"a\\n\\ndata: b\"}");
    reply_event_text(&out, &chat, &(struct reply_choice){2, STR(""), .thought = STR("hm")});
    CHECK_CONTAINS(out.at, "\"delta\":{\"reasoning_content\":\"hm\"},\"logprobs\":null");
    CHECK_CONTAINS(out.at, "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\n");
    CHECK(!strstr(out.at, "usage"));
    buf_clear(&out);
    reply_event_usage(&out, &chat, &(struct reply_usage){1, 0, 1});
    CHECK_CONTAINS(out.at, "\"choices\":[],\"usage\":{");
    buf_clear(&out);
    reply_event_done(&out);
    CHECK_STR(out.at, "data: [DONE]\n\n");
    buf_fini(&out);
}

TEST(reply_errors_never_have_a_number_as_code)
{
    struct openai_fault fault = {.status = 400, .type = "invalid_request_error"};
    struct buf out;
    json_t *v;

    fail(&fault.what.err, LLMOS_EINVAL, "wrong \"thing\"");
    buf_init(&out, 1 << 16);
    reply_error(&out, &fault);
    v = parsed(&out);
    CHECK(json_is_null(json_object_get(json_object_get(v, "error"), "code")));
    CHECK(json_is_null(json_object_get(json_object_get(v, "error"), "param")));
    CHECK_STR(json_string_value(json_object_get(json_object_get(v, "error"), "message")),
              "wrong \"thing\"");
    json_decref(v);
    buf_fini(&out);
}
