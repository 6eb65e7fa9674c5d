/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/mem.h"
#include "daemon/vectorapi.h"

static const struct json_limits limits = {8 << 20, 16, 1 << 18};

struct parsed {
    struct arena arena;
    struct vectorapi_request r;
    struct openai_fault fault;
    int rc;
};

static struct parsed parse(bool is_rerank, const char *body)
{
    struct parsed p = {.rc = 0};

    arena_init(&p.arena, 16 << 20);
    p.rc = vectorapi_parse(&p.r, is_rerank, str_of(body), &limits, &p.arena, &p.fault);
    return p;
}

static struct parsed parse_ok(bool is_rerank, const char *body)
{
    struct parsed p = parse(is_rerank, body);

    if (p.rc < 0)
        TEST_FAIL("%s: %s", body, p.fault.what.err.text);
    return p;
}

static void check_refused(bool is_rerank, const char *body, const char *param, const char *says)
{
    struct parsed p = parse(is_rerank, body);

    CHECK(p.rc < 0);
    CHECK_INT(p.fault.status, 400);
    CHECK_STR(p.fault.what.param, param);
    CHECK_CONTAINS(p.fault.what.err.text, says);
    arena_fini(&p.arena);
}

TEST(vectorapi_of_every_form_of_input)
{
    struct parsed p = parse_ok(false, "{\"model\":\"m\",\"input\":\"one\"}");

    CHECK_INT(p.r.count, 1);
    CHECK(str_is(p.r.model, "m") && str_is(p.r.asks[0].text, "one"));
    CHECK(p.r.asks[0].kind == ENCODE_EMBED && p.r.asks[0].normalizes && !p.r.asks[0].cuts);
    arena_fini(&p.arena);
    p = parse_ok(false, "{\"model\":\"m\",\"input\":[\"one\",\"two\"],\"normalize\":false,"
                        "\"truncate\":true,\"encoding_format\":\"base64\",\"dimensions\":3,"
                        "\"user\":\"x\"}");
    CHECK_INT(p.r.count, 2);
    CHECK(str_is(p.r.asks[1].text, "two") && !p.r.asks[1].normalizes && p.r.asks[1].cuts);
    CHECK(p.r.is_base64 && p.r.dimensions == 3);
    CHECK_STR(p.r.ignored, "user");
    arena_fini(&p.arena);
    p = parse_ok(false, "{\"model\":\"m\",\"input\":[7,8]}");
    CHECK_INT(p.r.count, 1);
    CHECK(p.r.asks[0].input == ENCODE_TOKENS && p.r.asks[0].count == 2 &&
          p.r.asks[0].tokens[1] == 8);
    arena_fini(&p.arena);
    p = parse_ok(false, "{\"model\":\"m\",\"input\":[[7],[8,9]]}");
    CHECK(p.r.count == 2 && p.r.asks[1].count == 2);
    arena_fini(&p.arena);
}

TEST(vectorapi_ranks_are_of_pairs)
{
    struct parsed p = parse_ok(true, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\","
                                     "{\"text\":\"b\"},\"\"],\"top_n\":2}");

    CHECK(p.r.count == 3 && p.r.top == 2 && !p.r.wants_documents);
    CHECK(p.r.asks[1].input == ENCODE_PAIR && str_is(p.r.asks[1].text, "q") &&
          str_is(p.r.asks[1].second, "b"));
    arena_fini(&p.arena);
}

TEST(vectorapi_faults_name_the_field)
{
    char many[VECTORAPI_TEXTS_MAX * 4 + 64];
    size_t n = (size_t)snprintf(many, sizeof(many), "{\"model\":\"m\",\"input\":[");

    check_refused(false, "[]", "", "must be a JSON object");
    check_refused(false, "{\"input\":\"a\"}", "model", "'model' is missing");
    check_refused(false, "{\"model\":\"m\"}", "input", "'input' is missing");
    check_refused(false, "{\"model\":\"m\",\"input\":[]}", "input", "'input' is empty");
    check_refused(false, "{\"model\":\"m\",\"input\":\"\"}", "input", "an empty string");
    check_refused(false, "{\"model\":\"m\",\"input\":[1,-1]}", "input", "no token id at place 1");
    check_refused(false, "{\"model\":\"m\",\"input\":[\"a\",1]}", "input", "must be a string");
    check_refused(false, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"int8\"}",
                  "encoding_format", "'float' or 'base64'");
    check_refused(false, "{\"model\":\"m\",\"input\":\"a\",\"dimension\":1}", "dimension",
                  "did you mean 'dimensions'?");
    check_refused(false, "{\"model\":\"m\",\"input\":\"a\",\"top_n\":1}", "top_n", "unknown field");
    check_refused(true, "{\"model\":\"m\",\"documents\":[\"a\"]}", "query", "'query' is missing");
    check_refused(true, "{\"model\":\"m\",\"query\":\"q\"}", "documents", "must be an array");
    check_refused(true, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",{}]}", "documents",
                  "no text at place 1");
    for (int i = 0; i <= VECTORAPI_TEXTS_MAX; i++)
        n += (size_t)snprintf(many + n, sizeof(many) - n, i ? ",\"\"" : "\"\"");
    snprintf(many + n, sizeof(many) - n, "]}");
    check_refused(false, many, "input", "has 2049 texts, at most 2048");
}

static void check_reply(const struct parsed *p, uint32_t width, const char *expected)
{
    static float values[3][3] = {{0, -1, 0.25f}, {2, 0.1f, 1e-9f}, {0, 3, 4}};
    const struct vectorapi_answer answers[3] = {{values[0], 3}, {values[1], 4}, {values[2], 5}};
    struct buf out;

    buf_init(&out, 1 << 20);
    vectorapi_reply(&out, &p->r, answers, width);
    CHECK_STR(out.at, expected);
    buf_fini(&out);
}

TEST(vectorapi_replies_are_the_dialects)
{
    struct parsed p = parse_ok(false, "{\"model\":\"m\",\"input\":[\"a\",\"b\"]}");

    check_reply(&p, 3,
                "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                "\"embedding\":[0,-1,0.25]},{\"object\":\"embedding\",\"index\":1,\"embedding\":"
                "[2,0.100000001,9.99999972e-10]}],\"model\":\"m\",\"usage\":{\"prompt_tokens\":7,"
                "\"total_tokens\":7}}\n");
    arena_fini(&p.arena);
    p = parse_ok(false, "{\"model\":\"m\",\"input\":\"a\",\"encoding_format\":\"base64\"}");
    check_reply(&p, 3,
                "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                "\"embedding\":\"AAAAAAAAgL8AAIA+\"}],\"model\":\"m\",\"usage\":"
                "{\"prompt_tokens\":3,\"total_tokens\":3}}\n");
    check_reply(&p, 2,
                "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                "\"embedding\":\"AAAAAAAAgL8=\"}],\"model\":\"m\",\"usage\":"
                "{\"prompt_tokens\":3,\"total_tokens\":3}}\n");
    check_reply(&p, 1,
                "{\"object\":\"list\",\"data\":[{\"object\":\"embedding\",\"index\":0,"
                "\"embedding\":\"AAAAAA==\"}],\"model\":\"m\",\"usage\":"
                "{\"prompt_tokens\":3,\"total_tokens\":3}}\n");
    arena_fini(&p.arena);
    p = parse_ok(true, "{\"model\":\"m\",\"query\":\"q\",\"documents\":[\"a\",\"b\\\"\",\"c\"],"
                       "\"return_documents\":true,\"top_n\":2}");
    check_reply(&p, 1,
                "{\"object\":\"list\",\"results\":[{\"index\":1,\"relevance_score\":"
                "0.880797078,\"document\":{\"text\":\"b\\\"\"}},{\"index\":0,"
                "\"relevance_score\":0.5,\"document\":{\"text\":\"a\"}}],\"model\":\"m\","
                "\"usage\":{\"prompt_tokens\":12,\"total_tokens\":12}}\n");
    arena_fini(&p.arena);
}

TEST(vectorapi_survive_every_failed_allocation)
{
    EVERY_ALLOCATION_FAILS
    {
        struct parsed p = parse(false, "{\"model\":\"m\",\"input\":[\"a\",\"b\",\"c\"]}");

        CHECK(p.rc == 0 || p.rc == LLMOS_ENOMEM || p.rc == LLMOS_EINVAL || p.rc == LLMOS_EFORMAT);
        arena_fini(&p.arena);
    }
}
