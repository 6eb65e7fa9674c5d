/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors and ranks over HTTP. */
#include "with_daemon.h"

#include "tinybert.h"

#include "base/json.h"

#define EMBEDDINGS "/v1/embeddings"
#define RERANK     "/v1/rerank"

#define INPUT(model, input) "{\"model\":\"" model "\",\"input\":" input "}"

static const char *flag(const char *option, const char *name, const char *path)
{
    static char args[8][700];
    static int next;
    char *arg = args[next++ % 8];

    snprintf(arg, 700, "--%s=%s=%s", option, name, path);
    return arg;
}

/* An encoder that the rogue engine plays. */
static const char *rogue(const char *name, const char *mode)
{
    return flag("encoder", name, work_file(name, mode, strlen(mode)));
}

static const char *tiny(const char *kind)
{
    const char *path = work_path(kind);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK(fd >= 0);
    CHECK_INT(tinybert_write(fd, tinybert_find(kind), NULL), 0);
    close(fd);
    return flag("encoder", kind, path);
}

/* What the last reply has at a path: "data", 0, "embedding".  For json_decref. */
static json_t *reply_json(void)
{
    static const struct json_limits limits = {4 << 20, 8, 1 << 18};
    json_t *v = NULL;

    if (got.status != 200)
        TEST_FAIL("status %d: %s", got.status, got.body);
    CHECK_INT(json_parse(&v, str_of(got.body), &limits, NULL), 0);
    return v;
}

static const json_t *vector_of(const json_t *reply, size_t i)
{
    const json_t *one = json_array_get(json_object_get(reply, "data"), i);

    CHECK_INT(json_integer_value(json_object_get(one, "index")), (long)i);
    return json_object_get(one, "embedding");
}

/* --- the ordinary ----------------------------------------------------------------------------- */

TEST(embedding_of_one_text_and_of_many)
{
    json_t *one, *two, *many;
    struct buf body;

    HOST_START("llmos-engine", tiny("embed"));
    post(EMBEDDINGS, INPUT("embed", "\"hello there\""));
    one = reply_json();
    CHECK_INT(json_array_size(vector_of(one, 0)), TINYBERT_WIDTH);
    CHECK_CONTAINS(got.body, "\"usage\":{\"prompt_tokens\":12,\"total_tokens\":12}");
    post(EMBEDDINGS, INPUT("embed", "\"you\""));
    two = reply_json();
    CHECK(!json_equal((json_t *)(uintptr_t)vector_of(one, 0),
                      (json_t *)(uintptr_t)vector_of(two, 0)));
    buf_init(&body, 1 << 20);
    buf_puts(&body, "{\"model\":\"embed\",\"input\":[");
    for (int i = 0; i < 2048; i++)
        buf_puts(&body, i % 3 ? ",\"you\"" : i ? ",\"hello there\"" : "\"hello there\"");
    buf_puts(&body, "]}");
    post(EMBEDDINGS, body.at);
    many = reply_json();
    CHECK_INT(json_array_size(json_object_get(many, "data")), 2048);
    for (size_t i = 0; i < 2048; i++)
        CHECK(json_equal((json_t *)(uintptr_t)vector_of(many, i),
                         (json_t *)(uintptr_t)vector_of(i % 3 ? two : one, 0)));
    json_decref(one);
    json_decref(two);
    json_decref(many);
    buf_fini(&body);
    CHECK_INT((int)figure("llmos_sequences_in_flight{model=\"embed\"}"), 0);
    CHECK(figure("llmos_prompt_tokens_total{model=\"embed\"}") > 2048 * 5);
    host_stop();
}

TEST(embedding_in_base64_holds_the_same_floats)
{
    float values[TINYBERT_WIDTH];
    const char *text;
    json_t *plain, *packed;
    unsigned char *to = (unsigned char *)values;
    uint32_t bits = 0;
    size_t n = 0;

    HOST_START("llmos-engine", tiny("embed"));
    post(EMBEDDINGS, INPUT("embed", "[[2,13,10,3]]"));
    plain = reply_json();
    post(EMBEDDINGS, "{\"model\":\"embed\",\"input\":\"h e\",\"encoding_format\":\"base64\"}");
    packed = reply_json();
    text = json_string_value(vector_of(packed, 0));
    CHECK_INT(strlen(text), (TINYBERT_WIDTH * 4 + 2) / 3 * 4);
    for (size_t i = 0; text[i] && text[i] != '='; i++) {
        static const char letters[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

        bits = bits << 6 | (uint32_t)(strchr(letters, text[i]) - letters);
        if (i % 4 && n < sizeof(values)) /* so many bits wait: 4, 2, 0 */
            to[n++] = (unsigned char)(bits >> (6 - 2 * (i % 4)));
    }
    CHECK_INT(n, sizeof(values));
    for (size_t i = 0; i < TINYBERT_WIDTH; i++)
        CHECK((float)json_real_value(json_array_get(vector_of(plain, 0), i)) == values[i] ||
              json_is_integer(json_array_get(vector_of(plain, 0), i)));
    json_decref(plain);
    json_decref(packed);
    host_stop();
}

TEST(embedding_ranks_documents)
{
    const json_t *results;
    double last = 1;
    json_t *v;

    HOST_START("llmos-engine", tiny("rank"));
    post(RERANK, "{\"model\":\"rank\",\"query\":\"where\",\"documents\":[\"here\",\"you\",\"a\"],"
                 "\"return_documents\":true}");
    v = reply_json();
    results = json_object_get(v, "results");
    CHECK_INT(json_array_size(results), 3);
    for (size_t i = 0; i < 3; i++) {
        static const char *const documents[] = {"here", "you", "a"};
        const json_t *r = json_array_get(results, i), *d = json_object_get(r, "document");
        double score = json_real_value(json_object_get(r, "relevance_score"));

        CHECK(score > 0 && score <= last);
        CHECK_STR(json_string_value(json_object_get(d, "text")),
                  documents[json_integer_value(json_object_get(r, "index"))]);
        last = score;
    }
    json_decref(v);
    post(RERANK, "{\"model\":\"rank\",\"query\":\"where\",\"documents\":[\"here\",\"you\"],"
                 "\"top_n\":1}");
    v = reply_json();
    CHECK_INT(json_array_size(json_object_get(v, "results")), 1);
    CHECK(!strstr(got.body, "document"));
    json_decref(v);
    host_stop();
}

TEST(embedding_names_what_is_wrong)
{
    char command[1200];

    snprintf(command, sizeof(command), "'%s' tiny '%s'", build_path("tests/e2e/synth_model"),
             work_path("tiny.gguf"));
    CHECK_INT(system(command), 0);
    HOST_START("llmos-engine", tiny("embed"), tiny("classify"),
               flag("model", "story", work_path("tiny.gguf")));
    post(EMBEDDINGS, INPUT("nobody", "\"a\""));
    check_error(404, "model_not_found");
    post(EMBEDDINGS, INPUT("story", "\"a\""));
    check_error(400, "unsupported_parameter");
    CHECK_CONTAINS(got.body, "serve it with --encoder");
    post("/v1/completions", "{\"model\":\"embed\",\"prompt\":\"a\"}");
    check_error(400, "unsupported_parameter");
    CHECK_CONTAINS(got.body, EMBEDDINGS);
    post(RERANK, "{\"model\":\"classify\",\"query\":\"a\",\"documents\":[\"b\"]}");
    check_error(400, "unsupported_parameter");
    CHECK_CONTAINS(got.body, "is no reranker");
    post(EMBEDDINGS, "{\"model\":\"embed\",\"input\":\"a\",\"dimensions\":8}");
    check_error(400, "unsupported_parameter");
    CHECK_CONTAINS(got.body, "'dimensions' is 8, the vectors of model 'embed' have 16");
    post(EMBEDDINGS, INPUT("embed", "[\"a\",\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"]"));
    check_error(400, "context_length_exceeded");
    CHECK_CONTAINS(got.body, "the text has 42 tokens, the model takes 32");
    CHECK_CONTAINS(got.body, "\"param\":\"input\"");
    post(EMBEDDINGS, "{\"model\":\"embed\",\"truncate\":true,\"input\":\"aaaaaaaaaaaaaaaaaaaaaaaaa"
                     "aaaaaaaaaaaaaaa\"}");
    CHECK_INT(got.status, 200);
    post(EMBEDDINGS, INPUT("embed", "[4711]"));
    check_error(400, NULL);
    host_ask(host_dial(), "GET", EMBEDDINGS, "");
    check_error(405, "method_not_allowed");
    host_stop();
}

/* --- engines that die, lie and hang -------------------------------------------------------------
 */

TEST(embedding_hides_one_death_of_an_engine)
{
    int fd, pid;
    const char *at;

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-vector 300"));
    fd = host_dial();
    host_send(fd, "POST", EMBEDDINGS, STR(INPUT("slow", "[\"a\",\"b\",\"c\"]")));
    CHECK(figure_becomes("llmos_sequences_in_flight{model=\"slow\"}", 3, 5));
    host_ask(host_dial_local(), "GET", "/admin/v1/vces", "");
    at = strstr(got.body, "\"pid\":");
    pid = at ? atoi(at + 6) : 0;
    CHECK(pid > 0);
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK_INT(host_hear(fd, NULL)->status, 200);
    CHECK_CONTAINS(got.body, "{\"object\":\"embedding\",\"index\":2,\"embedding\":[1,0.5,-0.25]}");
    close(fd);
    CHECK(figure("llmos_sequences_retried_total{model=\"slow\"}") >= 1);
    host_stop();
}

TEST(embedding_survives_every_rogue_engine)
{
    static const char *const modes[] = {
        "die",        "crash",       "garbage",     "vector-wide",   "vector-rows",   "vector-none",
        "vector-nan", "vector-open", "vector-data", "vector-tokens", "vector-endless"};

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        HOST_START("tests/e2e/rogue", rogue("rogue", modes[i]), rogue("good", ""));
        post(EMBEDDINGS, INPUT("rogue", "[\"a\",\"b\"]"));
        check_error(503, "model_unavailable");
        post(EMBEDDINGS, INPUT("good", "[\"a\",\"b\"]"));
        CHECK_INT(got.status, 200);
        kill(host.pid, SIGTERM);
        CHECK_INT(host_wait(10), 0);
    }
}

TEST(embedding_waits_for_its_place_and_refuses_the_next)
{
    int fd;

    host.yaml = "limits: {queue: 2}\n";
    HOST_START("tests/e2e/rogue", rogue("slow", "slow-vector 100"));
    fd = host_dial(); /* more texts than the queue holds: they go one behind the other */
    host_send(fd, "POST", EMBEDDINGS,
              STR(INPUT("slow", "[\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\"]")));
    CHECK(figure_becomes("llmos_sequences_in_flight{model=\"slow\"}", 2, 5));
    post(EMBEDDINGS, INPUT("slow", "\"a\""));
    check_error(429, "rate_limit_exceeded");
    CHECK_CONTAINS(got.text, "retry-after: 1");
    CHECK_INT(host_hear(fd, NULL)->status, 200);
    CHECK_CONTAINS(got.body, "\"index\":9");
    close(fd);
    host_stop();
}

TEST(embedding_takes_back_the_work_of_a_client_that_goes)
{
    int fd;

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-vector 100"));
    fd = host_dial();
    host_send(fd, "POST", EMBEDDINGS, STR(INPUT("slow", "[\"a\",\"b\",\"c\",\"d\"]")));
    CHECK(figure_becomes("llmos_http_requests_in_flight", 1, 5));
    close(fd);
    CHECK(figure_becomes("llmos_http_requests_in_flight", 0, 5));
    CHECK_INT((int)figure("llmos_sequences_in_flight{model=\"slow\"}"), 0);
    CHECK(figure("llmos_sequences_canceled_total{model=\"slow\"}") > 0);
    CHECK_INT(post(EMBEDDINGS, INPUT("slow", "\"a\""))->status, 200);
    host_stop();
}

TEST(embedding_is_finished_when_the_daemon_drains)
{
    int fd;

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-vector 150"));
    fd = host_dial();
    host_send(fd, "POST", EMBEDDINGS, STR(INPUT("slow", "[\"a\",\"b\",\"c\",\"d\"]")));
    CHECK(figure_becomes("llmos_http_requests_in_flight", 1, 5));
    kill(host.pid, SIGTERM);
    CHECK(host_logs("draining", 5));
    post(EMBEDDINGS, INPUT("slow", "\"a\""));
    check_error(503, "model_unavailable");
    CHECK_INT(host_hear(fd, NULL)->status, 200);
    CHECK_CONTAINS(got.body, "\"index\":3");
    close(fd);
    CHECK_INT(host_wait(5), 0);
}
