/* SPDX-License-Identifier: Apache-2.0 */
/* http_test.c - claims about llmosd, made by its clients; engines misbehave on purpose */
#include "with_daemon.h"

#define CHAT(model, rest) \
    "{\"model\":\"" model "\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]" rest "}"
#define CHATS "/v1/chat/completions"
#define TEXTS "/v1/completions"

/* "name=path" of a model file that tells the rogue engine how to misbehave. */
static const char *rogue(const char *name, const char *mode)
{
    static char args[8][600];
    static int next;
    char *arg = args[next++ % 8];
    char file[32];

    snprintf(file, sizeof(file), "mode-%d", next);
    snprintf(arg, 600, "--model=%s=%s", name, work_file(file, mode, strlen(mode)));
    return arg;
}

/* --- the ordinary ----------------------------------------------------------------------------- */

TEST(http_lists_models_and_tells_its_health)
{
    HOST_START("tests/e2e/rogue", rogue("good", ""), rogue("org/good:1", ""));
    CHECK_CONTAINS(get("/health")->body, "\"status\":\"ok\"");
    CHECK_CONTAINS(get("/v1/models")->body, "\"id\":\"good\",\"object\":\"model\"");
    CHECK_INT(get("/v1/models/org/good:1")->status, 200);
    CHECK_INT(get("/v1/models/org%2Fgood%3a1")->status, 200);
    get("/v1/models/bad");
    check_error(404, "model_not_found");
    get("/v1/models/bad%zz");
    check_error(404, "model_not_found");
    get("/v1/models/bad%00");
    check_error(404, "model_not_found");
    get("/v2/nothing");
    check_error(404, "not_found");
    post("/v1/models", "{}");
    check_error(405, "method_not_allowed");
    CHECK_CONTAINS(got.text, "allow: GET");
    get(CHATS);
    check_error(405, "method_not_allowed");
    CHECK_INT(host_ask(host_dial(), "HEAD", "/health", "")->status, 200);
    host_stop();
}

TEST(http_answers_chat_whole_and_streamed)
{
    HOST_START("tests/e2e/rogue", rogue("good", ""));
    CHECK_INT(post(CHATS, CHAT("good", ",\"max_tokens\":3"))->status, 200);
    CHECK_CONTAINS(got.body, "\"message\":{\"role\":\"assistant\",\"content\":\"one two three "
                             "\",\"refusal\":null},\"logprobs\":null,\"finish_reason\":");
    CHECK_CONTAINS(got.body, "\"completion_tokens\":3,\"total_tokens\":7");
    CHECK_CONTAINS(got.text, "x-request-id: req_");
    CHECK_INT(
        post(CHATS, CHAT("good", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}"))
            ->status,
        200);
    CHECK_CONTAINS(got.text, "text/event-stream");
    CHECK_CONTAINS(got.body, "\"delta\":{\"role\":\"assistant\",\"content\":\"\"}");
    CHECK_CONTAINS(got.body, "\"delta\":{\"content\":\"five \"}");
    CHECK_CONTAINS(got.body, "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"");
    CHECK_CONTAINS(got.body, "\"choices\":[],\"usage\":{\"prompt_tokens\":4");
    CHECK_CONTAINS(strstr(got.body, "\"usage\""), "data: [DONE]\n\n");
    post(CHATS, CHAT("good", ",\"stream\":true"));
    CHECK(!strstr(got.body, "usage"));
    host_stop();
}

TEST(http_answers_completions_of_every_prompt_form)
{
    static const char *const prompts[] = {"\"text\"", "[\"a\",\"b\"]", "[1,2,3]", "[[1],[2,3]]"};
    char body[256];

    HOST_START("tests/e2e/rogue", rogue("good", ""));
    for (int i = 0; i < 4; i++) {
        snprintf(body, sizeof(body), "{\"model\":\"good\",\"prompt\":%s,\"n\":2,\"logprobs\":1}",
                 prompts[i]);
        CHECK_INT(post(TEXTS, body)->status, 200);
        CHECK_CONTAINS(got.body, "\"object\":\"text_completion\"");
        CHECK_CONTAINS(got.body, i % 2 ? "\"index\":3" : "\"index\":1");
        CHECK_CONTAINS(got.body, "\"token_logprobs\":[-0.5");
    }
    CHECK_INT(post(TEXTS, "{\"model\":\"good\",\"prompt\":\"a\",\"best_of\":3}")->status, 200);
    CHECK(!strstr(got.body, "\"index\":1"));
    CHECK_INT(post(TEXTS, "{\"model\":\"good\",\"prompt\":\"a\",\"stream\":true}")->status, 200);
    CHECK_CONTAINS(got.body, "\"text\":\"two \"");
    CHECK_CONTAINS(got.body, "[DONE]");
    host_stop();
}

TEST(http_serves_many_clients_of_two_models_at_once)
{
    int fds[32];

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-tokens 5"), rogue("good", ""));
    for (int i = 0; i < 32; i++) {
        fds[i] = host_dial();
        host_send(fds[i], "POST", CHATS,
                  i % 2 ? STR(CHAT("slow", ",\"stream\":true")) : STR(CHAT("good", "")));
    }
    for (int i = 0; i < 32; i++) {
        host_hear(fds[i], NULL);
        CHECK_INT(got.status, 200);
        CHECK_CONTAINS(got.body, i % 2 ? "[DONE]" : "one two three four five");
        close(fds[i]);
    }
    host_stop();
}

TEST(http_serves_its_owner_over_a_unix_socket)
{
    struct stat st;

    HOST_START("tests/e2e/rogue", rogue("good", ""), rogue("a/b", ""));
    CHECK_INT(stat(host.socket, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    CHECK_INT(host_ask(host_dial_local(), "GET", "/v1/models", "")->status, 200);
    CHECK_INT(host_ask(host_dial_local(), "GET", "/admin/v1/vces", "")->status, 200);
    CHECK_CONTAINS(got.body, "\"isolation\":[{\"layer\":\"user\"");
    CHECK_CONTAINS(got.body, "\"state\":\"ready\"");
    get("/admin/v1/vces");
    check_error(404, "not_found");
    host_ask(host_dial_local(), "POST", "/admin/v1/vces/none/stop", "");
    check_error(404, "model_not_found");
    CHECK_INT(host_ask(host_dial_local(), "POST", "/admin/v1/vces/a%2fb/stop", "")->status, 200);
    CHECK(figure_becomes("llmos_vce_up{model=\"a/b\"}", 0, 5));
    post(CHATS, CHAT("a/b", ""));
    check_error(503, "model_unavailable");
    CHECK_CONTAINS(got.body, "stopped");
    CHECK_INT(post(CHATS, CHAT("good", ""))->status, 200);
    CHECK_CONTAINS(get("/health")->body, "degraded");
    CHECK_INT(host_ask(host_dial_local(), "POST", "/admin/v1/vces/a/b/start", "")->status, 200);
    CHECK(figure_becomes("llmos_vce_up{model=\"a/b\"}", 1, 5));
    CHECK_INT(post(CHATS, CHAT("a/b", ""))->status, 200);
    host_stop();
    CHECK(stat(host.socket, &st) < 0);
}

/* --- bad input -------------------------------------------------------------------------------- */

TEST(http_names_the_field_that_is_wrong)
{
    static const struct {
        const char *path, *body, *part;
        int status;
        const char *code;
    } cases[] = {
        {CHATS, "", "empty", 400, ""},
        {CHATS, "{\"model\"", "line 1 column", 400, ""},
        {CHATS, "[]", "must be a JSON object", 400, ""},
        {CHATS, "{}", "'model' is missing", 400, ""},
        {CHATS, "{\"model\":\"none\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}", "none",
         404, "model_not_found"},
        {CHATS, "{\"model\":\"good\"}", "\"param\":\"messages\"", 400, ""},
        {CHATS, "{\"model\":\"good\",\"messages\":[]}", "at least one", 400, ""},
        {CHATS, "{\"model\":\"good\",\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}",
         "messages[0].role", 400, ""},
        {CHATS,
         "{\"model\":\"good\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_"
         "url\"}]}]}",
         "messages[0].content", 400, "unsupported_parameter"},
        {CHATS, CHAT("good", ",\"temprature\":1"), "did you mean 'temperature'?", 400, ""},
        {CHATS, CHAT("good", ",\"tools\":[{\"type\":\"web\"}]"), "\"param\":\"tools[0].type\"", 400,
         "unsupported_parameter"},
        {CHATS, CHAT("good", ",\"response_format\":{\"type\":\"xml\"}"), "response_format.type",
         400, "unsupported_parameter"},
        {CHATS, CHAT("good", ",\"temperature\":NaN"), "line 1 column", 400, ""},
        {CHATS, CHAT("good", ",\"temperature\":1,\"temperature\":2"), "duplicate", 400, ""},
        {CHATS, CHAT("good", ",\"logit_bias\":{\"x\":1}"), "no token id", 400, ""},
        {CHATS, CHAT("good", ",\"max_tokens\":1,\"max_completion_tokens\":2"), "differ", 400, ""},
        {CHATS, CHAT("good", ",\"n\":129"), "it must be 1 to 128", 400, ""},
        {CHATS, "{\"model\":\"good\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}",
         "not valid UTF-8", 400, ""},
        {TEXTS, "{\"model\":\"good\",\"prompt\":\"\"}", "'prompt' is empty", 400, ""},
        {TEXTS, "{\"model\":\"good\",\"prompt\":[]}", "'prompt' is empty", 400, ""},
        {TEXTS, "{\"model\":\"good\"}", "'prompt' is missing", 400, ""},
        {TEXTS, "{\"model\":\"good\",\"prompt\":[1,-2]}", "no token id", 400, ""},
        {TEXTS, "{\"model\":\"good\",\"prompt\":\"a\",\"suffix\":\"b\"}", "suffix", 400,
         "unsupported_parameter"},
    };

    HOST_START("tests/e2e/rogue", rogue("good", ""));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        post(cases[i].path, cases[i].body);
        check_error(cases[i].status, cases[i].code);
        CHECK_CONTAINS(got.body, cases[i].part);
    }
    CHECK_INT(post(CHATS, CHAT("good", ",\"user\":\"u\",\"store\":false"))->status, 200);
    CHECK_CONTAINS(got.text, "x-llmos-ignored: ");
    host_stop();
}

/* CVE-2026-21869 and its kin: every number of the dialect, with everything a number must not be. */
TEST(http_survives_every_number_in_every_field)
{
    static const char *const names[] = {"temperature",
                                        "top_p",
                                        "top_k",
                                        "min_p",
                                        "repeat_penalty",
                                        "repetition_penalty",
                                        "repeat_last",
                                        "presence_penalty",
                                        "frequency_penalty",
                                        "max_tokens",
                                        "n",
                                        "best_of",
                                        "logprobs",
                                        "seed",
                                        "stop",
                                        "logit_bias",
                                        "echo",
                                        "stream",
                                        "stream_options"};
    static const char *const values[] = {"-1",
                                         "0",
                                         "-0.0",
                                         "0.5",
                                         "1e308",
                                         "-1e308",
                                         "1e-320",
                                         "1e999",
                                         "2147483648",
                                         "-2147483649",
                                         "9223372036854775807",
                                         "-9223372036854775808",
                                         "18446744073709551616",
                                         "\"1\"",
                                         "\"\"",
                                         "[]",
                                         "{}",
                                         "[null]",
                                         "{\"1\":1e300}",
                                         "true",
                                         "null"};
    char body[256];

    HOST_START("tests/e2e/rogue", rogue("good", ""));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            snprintf(body, sizeof(body), "{\"model\":\"good\",\"prompt\":\"a\",\"%s\":%s}",
                     names[i], values[v]);
            post(TEXTS, body);
            if (got.status != 200)
                check_error(400, NULL);
        }
    CHECK_INT((int)figure("llmos_vce_restarts_total{model=\"good\"}"), 0);
    CHECK_INT(post(CHATS, CHAT("good", ""))->status, 200);
    host_stop();
}

TEST(http_survives_huge_and_deep_requests)
{
    size_t n = 6u << 20;
    char *text = malloc(n + 1);
    int fd;

    HOST_START("tests/e2e/rogue", rogue("good", ""));
    memset(text, '[', n);
    text[n] = '\0';
    post(CHATS, text);
    CHECK_INT(got.status, 413);
    text[1 << 20] = '\0';
    post(CHATS, text);
    check_error(400, "");
    CHECK_CONTAINS(got.body, "nested too deeply");
    memset(text, ',', 1 << 20);
    text[0] = '[';
    post(CHATS, text);
    check_error(400, "");
    CHECK_CONTAINS(got.body, "too many values");
    fd = host_dial();
    memset(text, 'x', n);
    text[n] = '\0';
    memcpy(text, "GET /health HTTP/1.1\r\nHost: localhost\r\nx: ", 43);
    (void)!send(fd, text, 1 << 20, MSG_NOSIGNAL);
    host_hear(fd, NULL);
    CHECK(got.status == 0 || got.status == 431 || got.status == 413 || got.status == 414);
    close(fd);
    CHECK_INT(get("/health")->status, 200);
    free(text);
    host_stop();
}

TEST(http_checks_host_and_origin)
{
    static const char *const bad[] = {"Host: evil.example",
                                      "Host: localhost\r\nOrigin: https://evil.example"};

    HOST_START("tests/e2e/rogue", rogue("good", ""), "--host=models.lan");
    for (int i = 0; i < 2; i++) {
        char text[256];
        int fd = host_dial();

        snprintf(text, sizeof(text), "GET /health HTTP/1.1\r\n%s\r\nConnection: close\r\n\r\n",
                 bad[i]);
        CHECK(send(fd, text, strlen(text), 0) > 0);
        host_hear(fd, NULL);
        check_error(403, "");
        close(fd);
    }
    for (int i = 0; i < 1; i++) {
        static const char text[] =
            "GET /health HTTP/1.1\r\nHost: models.lan:80\r\nConnection: close\r\n\r\n";
        int fd = host_dial();

        CHECK(send(fd, text, strlen(text), 0) > 0);
        CHECK_INT(host_hear(fd, NULL)->status, 200);
        close(fd);
    }
    host_stop();
}

/* --- engines that misbehave ------------------------------------------------------------------- */

TEST(http_gives_clients_only_utf8)
{
    static const struct json_limits limits = {1 << 20, 16, 1000};
    json_t *v = NULL;

    HOST_START("tests/e2e/rogue", rogue("bad", "bad-utf8"));
    CHECK_INT(post(CHATS, CHAT("bad", ",\"logprobs\":true"))->status, 200);
    CHECK_INT(json_parse(&v, str_of(got.body), &limits, NULL), 0);
    json_decref(v);
    CHECK_CONTAINS(got.body, "\xef\xbf\xbd");
    host_stop();
}

TEST(http_ends_a_stream_with_an_error_when_the_engine_dies_in_it)
{
    HOST_START("tests/e2e/rogue", rogue("dies", "die-after-tokens 2\nslow-tokens 20"),
               rogue("good", ""));
    CHECK_INT(post(CHATS, CHAT("dies", ",\"stream\":true"))->status, 200);
    CHECK_CONTAINS(got.body, "\"content\":\"two \"");
    CHECK_CONTAINS(got.body, "data: {\"error\":{\"message\":\"model 'dies' died");
    CHECK(!strstr(got.body, "[DONE]"));
    CHECK_INT(post(CHATS, CHAT("good", ""))->status, 200);
    CHECK(figure_becomes("llmos_vce_up{model=\"dies\"}", 1, 5));
    CHECK_INT((int)figure("llmos_vce_restarts_total{model=\"good\"}"), 0);
    host_stop();
}

TEST(http_repeats_once_what_got_no_answer)
{
    HOST_START("tests/e2e/rogue", rogue("dies", "die"));
    post(CHATS, CHAT("dies", ",\"stream\":true"));
    check_error(503, "model_unavailable");
    CHECK_CONTAINS(got.text, "retry-after: ");
    CHECK(figure("llmos_sequences_retried_total{model=\"dies\"}") == 1);
    CHECK(figure("llmos_vce_restarts_total{model=\"dies\"}") >= 1);
    host_stop();
}

static int pid_of_engine(void)
{
    const char *at;

    host_ask(host_dial_local(), "GET", "/admin/v1/vces", "");
    at = strstr(got.body, "\"pid\":");
    return at ? atoi(at + 6) : 0;
}

/* The answer comes although the engine that was asked first was killed: nobody notices. */
TEST(http_hides_the_death_of_an_engine_that_had_sent_nothing)
{
    int fd, pid;

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-tokens 400"));
    fd = host_dial();
    host_send(fd, "POST", CHATS, STR(CHAT("slow", ",\"max_tokens\":1,\"stream\":true")));
    CHECK(figure_becomes("llmos_sequences_in_flight{model=\"slow\"}", 1, 5));
    pid = pid_of_engine();
    CHECK(pid > 0);
    CHECK_INT(kill(pid, SIGKILL), 0);
    host_hear(fd, NULL);
    CHECK_INT(got.status, 200);
    CHECK_CONTAINS(got.body, "\"content\":\"one \"");
    CHECK_CONTAINS(got.body, "[DONE]");
    close(fd);
    CHECK(figure("llmos_sequences_retried_total{model=\"slow\"}") == 1);
    host_stop();
}

TEST(http_survives_every_rogue_engine)
{
    static const char *const modes[] = {
        "garbage",  "oversize", "half",  "reserved",   "wrong-type",  "host-type",  "ready-again",
        "wrong-id", "die",      "crash", "done-twice", "nan-logprob", "flood-text", "flood"};
    char body[256];

    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        int fd;

        HOST_START("tests/e2e/rogue", rogue("rogue", modes[i]), rogue("good", ""));
        fd = host_dial();
        snprintf(body, sizeof(body), CHAT("rogue", ",\"logprobs\":true"));
        host_send(fd, "POST", CHATS, str_of(body));
        CHECK_INT(post(CHATS, CHAT("good", ""))->status, 200);
        close(fd); /* a flood never ends; its client goes */
        post(CHATS, CHAT("good", ",\"stream\":true"));
        CHECK_CONTAINS(got.body, "[DONE]");
        CHECK_INT((int)figure("llmos_vce_restarts_total{model=\"good\"}"), 0);
        kill(host.pid, SIGTERM);
        CHECK_INT(host_wait(10), 0);
    }
}

TEST(http_ends_an_engine_that_hangs)
{
    host.yaml = "limits: {stall_seconds: 1}\n";
    HOST_START("tests/e2e/rogue", rogue("silent", "silent"), rogue("good", ""));
    post(CHATS, CHAT("silent", ""));
    check_error(503, "model_unavailable");
    CHECK_CONTAINS(got.body, "said nothing for 1 seconds");
    CHECK_INT(post(CHATS, CHAT("good", ""))->status, 200);
    host_stop();
}

TEST(http_waits_longer_before_each_restart)
{
    double waits[4];
    uint64_t begun;

    HOST_START("tests/e2e/rogue", rogue("slow", ""));
    for (int i = 0; i < 4; i++) {
        CHECK(figure_becomes("llmos_vce_up{model=\"slow\"}", 1, 10));
        CHECK_INT(kill(pid_of_engine(), SIGKILL), 0);
        begun = clock_ns();
        CHECK(figure_becomes("llmos_vce_up{model=\"slow\"}", 0, 5));
        post(CHATS, CHAT("slow", ""));
        CHECK(got.status == 503 || got.status == 200);
        CHECK(figure_becomes("llmos_vce_up{model=\"slow\"}", 1, 10));
        waits[i] = clock_seconds_since(begun);
    }
    CHECK(waits[3] > 0.75);
    CHECK(waits[3] > waits[0]);
    host_stop();
}

/* --- clients that go, daemons that end -------------------------------------------------------- */

TEST(http_takes_back_the_work_of_a_client_that_goes)
{
    int fd;

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-tokens 50"));
    fd = host_dial();
    host_send(fd, "POST", CHATS, STR(CHAT("slow", ",\"stream\":true,\"max_tokens\":1000")));
    host_hear(fd, "\"one \"");
    close(fd);
    CHECK(figure_becomes("llmos_sequences_canceled_total{model=\"slow\"}", 1, 2));
    CHECK_INT((int)figure("llmos_sequences_in_flight{model=\"slow\"}"), 0);
    fd = host_dial(); /* before the first token, not streamed */
    host_send(fd, "POST", CHATS, STR(CHAT("slow", ",\"max_tokens\":1000")));
    CHECK(figure_becomes("llmos_sequences_in_flight{model=\"slow\"}", 1, 2));
    close(fd);
    CHECK(figure_becomes("llmos_sequences_canceled_total{model=\"slow\"}", 2, 2));
    CHECK_INT((int)figure("llmos_http_requests_in_flight"), 0);
    host_stop();
}

TEST(http_refuses_more_than_its_queue_holds)
{
    int fds[2];

    host.yaml = "limits: {queue: 2}\n";
    HOST_START("tests/e2e/rogue", rogue("slow", "slow-tokens 100"));
    for (int i = 0; i < 2; i++) {
        fds[i] = host_dial();
        host_send(fds[i], "POST", CHATS, STR(CHAT("slow", "")));
    }
    CHECK(figure_becomes("llmos_sequences_in_flight{model=\"slow\"}", 2, 5));
    post(CHATS, CHAT("slow", ""));
    check_error(429, "rate_limit_exceeded");
    CHECK_CONTAINS(got.text, "retry-after: 1");
    post(CHATS, CHAT("slow", ",\"n\":3"));
    CHECK_INT(got.status, 429);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(host_hear(fds[i], NULL)->status, 200);
        close(fds[i]);
    }
    host_stop();
}

TEST(http_drains_when_told_to_end)
{
    int fd;

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-tokens 150"));
    fd = host_dial();
    host_send(fd, "POST", CHATS, STR(CHAT("slow", ",\"stream\":true")));
    host_hear(fd, "\"one \"");
    kill(host.pid, SIGTERM);
    CHECK(host_logs("draining", 5));
    post(CHATS, CHAT("slow", ""));
    check_error(503, "model_unavailable");
    CHECK_INT(get("/health")->status, 503);
    CHECK_CONTAINS(got.body, "draining");
    CHECK_CONTAINS(host_hear(fd, NULL)->text, "[DONE]");
    close(fd);
    CHECK_INT(host_wait(5), 0);
}

TEST(http_drains_no_longer_than_its_limit)
{
    int fd;

    HOST_START("tests/e2e/rogue", rogue("slow", "slow-tokens 200"), "--drain-seconds=0");
    fd = host_dial();
    host_send(fd, "POST", CHATS, STR(CHAT("slow", ",\"stream\":true,\"max_tokens\":500")));
    host_hear(fd, "\"one \"");
    kill(host.pid, SIGINT);
    CHECK_CONTAINS(host_hear(fd, NULL)->text, "shutting down");
    CHECK_INT(host_wait(5), 0);
    close(fd);
}

/* --- starts that fail ------------------------------------------------------------------------- */

static void check_start_fails(const char *part, int code)
{
    CHECK_INT(host_wait(10), code);
    CHECK_CONTAINS(host_log(), part);
}

#define HOST_SPAWN(engine, ...) host_spawn(engine, (const char *const[]){__VA_ARGS__, NULL})

TEST(http_says_why_it_does_not_start)
{
    char port[32], socket[160];
    pid_t first;

    HOST_SPAWN("tests/e2e/rogue", "--model=x=/nonexistent.gguf");
    check_start_fails("/nonexistent.gguf", 1);
    HOST_SPAWN("tests/e2e/rogue", "--model=x=/tmp");
    check_start_fails("no folder of Hugging Face", 1);
    HOST_SPAWN("tests/e2e/rogue", "--log=info");
    check_start_fails("no model to serve", 1);
    HOST_SPAWN("tests/e2e/rogue", "--modle=x");
    check_start_fails("did you mean '--model'", 2);
    HOST_SPAWN("tests/e2e/rogue", rogue("bad", "refuse"), rogue("good", ""));
    check_start_fails("model cannot be started model=bad", 1);
    HOST_SPAWN("tests/e2e/rogue", rogue("bad", "die-at-start"));
    check_start_fails("exited with 7", 1);

    HOST_START("tests/e2e/rogue", rogue("good", ""));
    first = host.pid;
    host.pid = 0;
    snprintf(port, sizeof(port), "--port=%d", host.port);
    snprintf(socket, sizeof(socket), "--socket=%s2", host.socket);
    HOST_SPAWN("tests/e2e/rogue", rogue("good", ""), port, socket);
    check_start_fails("another program does", 1);
    HOST_SPAWN("tests/e2e/rogue", rogue("good", ""));
    check_start_fails("another llmosd listens", 1);
    host.pid = first;
    host_stop();
}

/* --- the real engine -------------------------------------------------------------------------- */

static const char *tiny_model(void)
{
    static char arg[600];
    char command[1400];

    snprintf(command, sizeof(command), "'%s' tiny '%s' chatml", build_path("tests/e2e/synth_model"),
             work_path("tiny.gguf"));
    CHECK_INT(system(command), 0);
    snprintf(arg, sizeof(arg), "--model=tiny=%s", work_path("tiny.gguf"));
    return arg;
}

TEST(http_answers_from_a_real_engine)
{
    char first[4096];

    HOST_START("llmos-engine", tiny_model(), "--context=128");
    CHECK_INT(post(CHATS, CHAT("tiny",
                               ",\"max_tokens\":8,\"seed\":7,\"logprobs\":true,\"top_logprobs\":3"))
                  ->status,
              200);
    CHECK_CONTAINS(got.body, "\"completion_tokens\":");
    CHECK(strstr(got.body, "\"choices\""));
    snprintf(first, sizeof(first), "%s", strstr(got.body, "\"choices\""));
    post(CHATS, CHAT("tiny", ",\"max_tokens\":8,\"seed\":7,\"logprobs\":true,\"top_logprobs\":3"));
    CHECK(strncmp(first, strstr(got.body, "\"choices\""), 300) == 0);
    post(CHATS, CHAT("tiny", ",\"stream\":true,\"max_tokens\":8,\"n\":3"));
    CHECK_CONTAINS(got.body, "\"index\":2");
    CHECK_CONTAINS(got.body, "[DONE]");
    CHECK(figure_becomes("llmos_sequences_running{model=\"tiny\"}", 0, 5));
    CHECK(figure("llmos_generated_tokens_total{model=\"tiny\"}") > 0);
    host_stop();
}

TEST(http_names_both_lengths_of_a_prompt_that_does_not_fit)
{
    struct buf body;

    HOST_START("llmos-engine", tiny_model(), "--context=64");
    buf_init(&body, 1 << 16);
    buf_puts(&body, "{\"model\":\"tiny\",\"prompt\":[");
    for (int i = 0; i < 100; i++)
        buf_puts(&body, i ? ",5" : "5");
    buf_puts(&body, "]}");
    post(TEXTS, body.at);
    check_error(400, "context_length_exceeded");
    CHECK_CONTAINS(got.body, "100");
    CHECK_CONTAINS(got.body, "64");
    CHECK_CONTAINS(got.body, "\"param\":\"prompt\"");
    post(TEXTS, "{\"model\":\"tiny\",\"prompt\":[99999999]}");
    check_error(400, NULL);
    buf_fini(&body);
    host_stop();
}

TEST(http_stops_a_real_engine_when_the_client_goes)
{
    static const char generated[] = "llmos_generated_tokens_total{model=\"tiny\"}";
    double before;
    int fd;

    HOST_START("llmos-engine", tiny_model(), "--context=100000", "--sessions=1", "--threads=1");
    fd = host_dial();
    host_send(fd, "POST", CHATS,
              STR(CHAT("tiny", ",\"stream\":true,\"max_tokens\":90000,\"ignore_eos\":true")));
    host_hear(fd, "\"content\":\"");
    close(fd);
    CHECK(figure_becomes("llmos_sequences_canceled_total{model=\"tiny\"}", 1, 2));
    CHECK(figure_becomes("llmos_sequences_running{model=\"tiny\"}", 0, 5));
    before = figure(generated);
    usleep(300000);
    CHECK_NEAR(figure(generated), before, 0);
    CHECK(before < 50000);
    host_stop();
}

/* --- packed weights --------------------------------------------------------------------------- */

static bool owner_sees(const char *part)
{
    host_ask(host_dial_local(), "GET", "/admin/v1/vces", "");
    return strstr(got.body, part);
}

TEST(http_changes_to_packed_weights_while_it_serves)
{
    static const char ask[] = CHAT("big", ",\"max_tokens\":8,\"seed\":7");
    char command[700], arg[600], first[256];
    uint64_t begun;

    snprintf(command, sizeof(command), "'%s' packable '%s'", build_path("tests/e2e/synth_model"),
             work_path("big.gguf"));
    CHECK_INT(system(command), 0);
    snprintf(arg, sizeof(arg), "--model=big=%s", work_path("big.gguf"));
    HOST_START("llmos-engine", arg, "--context=128", "--pack=off");
    CHECK_INT(post(CHATS, ask)->status, 200);
    snprintf(first, sizeof(first), "%s", strstr(got.body, "\"choices\""));
    CHECK(owner_sees("\"packed\":\"no\""));
    host_stop();
    HOST_START("llmos-engine", arg, "--context=128");
    if (!host_logs("preparing packed weights", 5)) {
        host_stop();
        SKIP("this processor reads no packed weights");
    }
    /* Whenever somebody asks, there is an answer, and it is the same. */
    for (begun = clock_ns(); !owner_sees("\"packed\":\"yes\"");) {
        CHECK_INT(post(CHATS, ask)->status, 200);
        CHECK(strncmp(first, strstr(got.body, "\"choices\""), 200) == 0);
        if (clock_seconds_since(begun) > 60)
            TEST_FAIL("no packed weights: %s", host_log());
    }
    CHECK_CONTAINS(host_log(), "packed weights are there model=big");
    CHECK_CONTAINS(host_log(), "model is started anew model=big");
    CHECK_INT(post(CHATS, ask)->status, 200);
    CHECK(strncmp(first, strstr(got.body, "\"choices\""), 200) == 0);
    host_stop();
    HOST_START("llmos-engine", arg, "--context=128"); /* they are found at once */
    CHECK(owner_sees("\"packed\":\"yes\""));
    host_stop();
}

TEST(http_serves_without_a_cache_that_cannot_be_had)
{
    host.yaml = "cache: /proc/llmos\n";
    HOST_START("llmos-engine", tiny_model(), "--context=128");
    if (strstr(host_log(), "models run without packed weights"))
        CHECK_CONTAINS(host_log(), "cannot make the folder '/proc/llmos'");
    CHECK_INT(post(CHATS, CHAT("tiny", ",\"max_tokens\":8"))->status, 200);
    host_stop();
}
