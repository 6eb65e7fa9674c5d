/* SPDX-License-Identifier: Apache-2.0 */
#include "with_worker.h"

#include "model/synth.h"
#include "sched/prepare.h"
#include "tensor/packed.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

static struct worker *start_rogue(const char *modes)
{
    struct worker_options o =
        worker_options_for("tests/e2e/rogue", work_file("modes", modes, strlen(modes)));

    return start_ready(&o);
}

/* Asks a rogue one thing and returns how that ended, with the sentence. */
static int ask_rogue(const char *modes, struct answer *a)
{
    struct worker *w = start_rogue(modes);
    struct message m = generate_request(7, "hello", 10);
    int rc;

    m.generate.want_logprob = true;
    answer_init(a);
    send_ok(w, &m);
    rc = answer_wait(a, w, 7);
    if (rc == 1) { /* the fault may lie behind the answer */
        struct message more;

        rc = worker_receive(w, &more, 300, &a->err);
    }
    worker_destroy(w);
    buf_fini(&a->text);
    return rc;
}

TEST(worker_brings_a_whole_answer)
{
    struct worker *w = start_rogue("");
    struct answer a;
    struct message m = generate_request(7, "hello", 4);

    answer_init(&a);
    send_ok(w, &m);
    CHECK_INT(answer_wait(&a, w, 7), 1);
    CHECK_INT(a.err.code, 0);
    CHECK_STR(a.text.at, "one two three four ");
    CHECK_INT(a.tokens, 4);
    CHECK_INT(a.done.finish, FINISH_LENGTH);
    CHECK(worker_memory_bytes(w) > 4096);
    CHECK(worker_vce(w)->pid > 0);
    worker_destroy(w);
    buf_fini(&a.text);
}

TEST(worker_waits_no_longer_than_told)
{
    struct worker *w = start_rogue("");
    uint64_t start = clock_ns();
    struct message m;

    CHECK_INT(worker_receive(w, &m, 50, NULL), 0);
    CHECK(clock_seconds_since(start) >= 0.05);
    CHECK_INT(worker_receive(w, &m, 0, NULL), 0);
    worker_destroy(w);
}

TEST(worker_kills_engines_that_break_the_protocol)
{
    static const struct {
        const char *mode, *says;
    } cases[] = {
        {"garbage", "broke the protocol"},
        {"oversize", "a frame of 2147483648 bytes, at most 1048576 are accepted"},
        {"reserved", "reserved field"},
        {"wrong-type", "a frame of type 999, which an engine may not send"},
        {"host-type", "a frame of type 3, which an engine may not send"},
        {"ready-again", "READY a second time"},
        {"wrong-id", "an answer to request 1000007, which was not made or is over"},
        {"flood", "a flood of STATS"},
        {"flood-text", "an answer without end"},
        {"too-many-tokens", "more tokens than were asked for"},
        {"nan-logprob", "field 'logprob' is not a finite number"},
        {"done-twice", "an answer to request 7, which was not made or is over"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a;

        printf("# %s\n", cases[i].mode);
        CHECK_INT(ask_rogue(cases[i].mode, &a), LLMOS_EFORMAT);
        CHECK_CONTAINS(a.err.text, "the engine of 'test' broke the protocol and was killed: ");
        CHECK_CONTAINS(a.err.text, cases[i].says);
    }
}

/* Asks a rogue for a vector, or scores, and returns how that ended, with the sentence. */
static int encode_rogue(const char *modes, uint8_t kind, struct llmos_error *err)
{
    struct worker_options o =
        worker_options_for("tests/e2e/rogue", work_file("modes", modes, strlen(modes)));
    struct message m = {.type = MESSAGE_ENCODE, .id = 7, .encode = {kind, .text = STR("hello")}};
    struct worker *w;
    int rc;

    o.setup.purpose = PURPOSE_ENCODE;
    CHECK_INT(worker_start(&w, &o, NULL), 0);
    send_ok(w, &m); /* before READY, as may be */
    do
        rc = worker_receive(w, &m, 5000, err);
    while (rc == 1 && !(m.type == MESSAGE_VECTOR && m.vector.last));
    if (rc == 1) { /* the fault may lie behind the answer */
        rc = worker_receive(w, &m, 300, err);
    }
    worker_destroy(w);
    return rc;
}

TEST(worker_believes_no_vector_that_was_not_promised)
{
    static const struct {
        const char *modes, *says;
        uint8_t kind;
    } cases[] = {
        {"vector-wide", "a row of 4 numbers, READY promised 3", ENCODE_EMBED},
        {"vector-wide", "a row of 3 numbers, READY promised 2", ENCODE_CLASSIFY},
        {"vector-rows", "2 rows for a text, 1 were due", ENCODE_EMBED},
        {"vector-none", "field 'rows' is 0", ENCODE_EMBED},
        {"vector-endless", "1 rows for a text, 1 were due, and more are announced",
         ENCODE_CLASSIFY},
        {"vector-open", "1 rows for a text, 1 were due, and more are announced", ENCODE_EMBED},
        {"vector-nan", "field 'value' is not a finite number", ENCODE_EMBED},
        {"vector-tokens", "a text of 513 tokens, READY promised at most 512", ENCODE_EMBED},
        {"vector-twice", "an answer to request 7, which was not made or is over", ENCODE_EMBED},
        {"vector-data", "an answer of type 69 to a request of type 12", ENCODE_EMBED},
        {"ready-unlabelled", "READY speaks of a classifier with 0 labels", ENCODE_EMBED},
        {"ready-tokens\nvector-rows", "3 rows for a text, 2 were due", ENCODE_CLASSIFY},
        {"ready-tokens\nvector-short", "1 rows for a text, 2 were due", ENCODE_CLASSIFY},
        {"ready-tokens\nvector-endless", "2 rows for a text, 2 were due", ENCODE_CLASSIFY},
    };

    CHECK_INT(encode_rogue("", ENCODE_EMBED, NULL), 0);
    CHECK_INT(encode_rogue("", ENCODE_CLASSIFY, NULL), 0);
    CHECK_INT(encode_rogue("ready-tokens", ENCODE_CLASSIFY, NULL), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct llmos_error err;

        printf("# %s\n", cases[i].modes);
        CHECK_INT(encode_rogue(cases[i].modes, cases[i].kind, &err), LLMOS_EFORMAT);
        CHECK_CONTAINS(err.text, "the engine of 'test' broke the protocol and was killed: ");
        CHECK_CONTAINS(err.text, cases[i].says);
    }
}

TEST(worker_says_how_an_engine_ended)
{
    static const struct {
        const char *mode, *says;
        bool needs_seccomp;
    } cases[] = {
        {"die", "the engine of 'test' has ended: exited with 3", false},
        {"half", "exited with 3", false},
        {"die-after-tokens 2", "exited with 3", false},
        {"crash", "killed by SIGSEGV", false},
        {"crash-after-tokens 2", "killed by SIGSEGV", false},
        {"forbidden", "killed by SIGSYS (forbidden system call)", true},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct answer a;

        if (ROOM_SKIP && (cases[i].needs_seccomp || strstr(cases[i].mode, "crash")))
            continue; /* a sanitizer turns the signal into an exit */
        printf("# %s\n", cases[i].mode);
        CHECK_INT(ask_rogue(cases[i].mode, &a), LLMOS_ECLOSED);
        CHECK_CONTAINS(a.err.text, cases[i].says);
    }
}

TEST(worker_keeps_what_came_before_the_end)
{
    struct worker *w = start_rogue("die-after-tokens 2");
    struct message m = generate_request(7, "hello", 10);
    struct answer a;

    answer_init(&a);
    send_ok(w, &m);
    CHECK_INT(answer_wait(&a, w, 7), LLMOS_ECLOSED);
    CHECK_STR(a.text.at, "one two ");
    /* the same reason again, and no new request */
    CHECK_INT(worker_receive(w, &m, 1000, &a.err), LLMOS_ECLOSED);
    CHECK_CONTAINS(a.err.text, "exited with 3");
    m = generate_request(8, "hello", 10);
    CHECK_INT(worker_send(w, &m, &a.err), LLMOS_ECLOSED);
    worker_destroy(w);
    buf_fini(&a.text);
}

TEST(worker_hears_an_engine_that_dies_at_start)
{
    struct worker_options o =
        worker_options_for("tests/e2e/rogue", work_file("modes", "die-at-start", 12));
    struct llmos_error err;
    struct worker *w;
    struct message m;

    CHECK_INT(worker_start(&w, &o, &err), 0);
    CHECK_INT(worker_receive(w, &m, 5000, &err), LLMOS_ECLOSED);
    CHECK_CONTAINS(err.text, "exited with 7");
    worker_destroy(w);
}

TEST(worker_hands_on_what_is_wrong_with_the_model)
{
    struct worker_options o =
        worker_options_for("tests/e2e/rogue", work_file("modes", "refuse", 6));
    struct llmos_error err;
    struct worker *w;
    struct message m;

    CHECK_INT(worker_start(&w, &o, &err), 0);
    CHECK_INT(worker_receive(w, &m, 5000, &err), 1);
    CHECK_INT(m.type, MESSAGE_ERROR);
    CHECK_INT(m.id, 0);
    CHECK(str_is(m.error.text, "the model file is made of words"));
    CHECK_INT(worker_receive(w, &m, 5000, &err), LLMOS_ECLOSED);
    CHECK_CONTAINS(err.text, "exited with 1");
    worker_destroy(w);
}

TEST(worker_refuses_what_comes_before_ready)
{
    static const char *const modes[] = {"early-text", "garbage-ready"};

    for (int i = 0; i < 2; i++) {
        struct worker_options o =
            worker_options_for("tests/e2e/rogue", work_file("modes", modes[i], strlen(modes[i])));
        struct llmos_error err;
        struct worker *w;
        struct message m;

        CHECK_INT(worker_start(&w, &o, &err), 0);
        CHECK_INT(worker_receive(w, &m, 5000, &err), LLMOS_EFORMAT);
        worker_destroy(w);
    }
}

TEST(worker_passes_broken_text_on_for_the_host_to_judge)
{
    struct worker *w = start_rogue("bad-utf8");
    struct message m = generate_request(7, "hello", 1);
    struct answer a;

    answer_init(&a);
    send_ok(w, &m);
    CHECK_INT(answer_wait(&a, w, 7), 1);
    CHECK_STR(a.text.at, "\xff\xc3(\xe2\x82");
    worker_destroy(w);
    buf_fini(&a.text);
}

TEST(worker_cancels_and_forgets)
{
    struct worker *w = start_rogue("hang-after-tokens 2");
    struct message m = generate_request(7, "hello", 10), cancel = {.type = MESSAGE_CANCEL, .id = 7};
    struct answer a;

    answer_init(&a);
    send_ok(w, &m);
    while (a.tokens < 2) {
        CHECK_INT(worker_receive(w, &m, 5000, NULL), 1);
        CHECK(!answer_take(&a, &m));
    }
    CHECK_INT(worker_receive(w, &m, 50, NULL), 0);
    send_ok(w, &cancel);
    CHECK_INT(answer_wait(&a, w, 7), 1);
    CHECK_INT(a.done.finish, FINISH_CANCELED);
    send_ok(w, &cancel); /* over: nothing happens */
    CHECK_INT(worker_receive(w, &m, 50, NULL), 0);
    worker_destroy(w);
    buf_fini(&a.text);
}

TEST(worker_refuses_a_second_request_of_one_id)
{
    struct worker *w = start_rogue("silent");
    struct message m = generate_request(7, "hello", 10);
    struct llmos_error err;

    send_ok(w, &m);
    CHECK_INT(worker_send(w, &m, &err), LLMOS_EINVAL);
    CHECK_CONTAINS(err.text, "request 7 exists already");
    m.id = 0;
    CHECK_INT(worker_send(w, &m, &err), LLMOS_EINVAL);
    m.type = MESSAGE_TEXT;
    CHECK_INT(worker_send(w, &m, &err), LLMOS_EINVAL);
    worker_destroy(w);
}

TEST(worker_refuses_a_request_larger_than_a_frame)
{
    struct worker *w = start_rogue("");
    struct message m = generate_request(7, "", 1);
    struct llmos_error err;
    struct answer a;
    char *big = mem_zalloc(1, FRAME_TO_ENGINE_MAX + 1);

    answer_init(&a);
    m.generate.text = (struct str){big, FRAME_TO_ENGINE_MAX + 1};
    CHECK_INT(worker_send(w, &m, &err), LLMOS_ELIMIT);
    m.generate.text = STR("small");
    send_ok(w, &m); /* nothing of the other was sent */
    CHECK_INT(answer_wait(&a, w, 7), 1);
    worker_destroy(w);
    mem_free(big);
    buf_fini(&a.text);
}

TEST(worker_kills_an_engine_that_does_not_read)
{
    struct worker_options o = worker_options_for("tests/e2e/rogue", work_file("modes", "deaf", 4));
    struct llmos_error err = {0};
    struct worker *w;
    struct message m = generate_request(1, "", 1);
    char *big = mem_zalloc(1, 1 << 20);
    int rc = 0;

    o.stall_ms = 200;
    w = start_ready(&o);
    m.generate.text = (struct str){big, 1 << 20};
    for (; rc == 0 && m.id < 10; m.id++)
        rc = worker_send(w, &m, &err);
    CHECK_INT(rc, LLMOS_EBUSY);
    CHECK_CONTAINS(err.text, "has not read its requests for 200 ms and was killed");
    CHECK_INT(worker_receive(w, &m, 5000, &err), LLMOS_EBUSY); /* the first reason */
    worker_destroy(w);
    mem_free(big);
}

static void *stop_later(void *w)
{
    usleep(50000);
    worker_stop(w);
    worker_stop(w);
    return NULL;
}

TEST(worker_stop_wakes_a_thread_that_receives)
{
    struct worker *w = start_rogue("silent");
    struct llmos_error err;
    struct message m;
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, stop_later, w), 0);
    CHECK_INT(worker_receive(w, &m, -1, &err), LLMOS_ECLOSED);
    CHECK_STR(err.text, "the engine of 'test' was stopped");
    pthread_join(thread, NULL);
    worker_destroy(w);
}

TEST(worker_stop_wakes_a_thread_that_sends)
{
    struct worker *w = start_rogue("deaf");
    struct message m = generate_request(1, "", 1);
    char *big = mem_zalloc(1, 1 << 20);
    pthread_t thread;
    int rc = 0;

    m.generate.text = (struct str){big, 1 << 20};
    CHECK_INT(pthread_create(&thread, NULL, stop_later, w), 0);
    for (; rc == 0 && m.id < 10; m.id++)
        rc = worker_send(w, &m, NULL);
    CHECK_INT(rc, LLMOS_ECLOSED);
    pthread_join(thread, NULL);
    worker_destroy(w);
    mem_free(big);
}

struct sender {
    struct worker *w;
    uint64_t first;
};

static void *send_some(void *arg)
{
    struct sender *s = arg;

    for (uint64_t id = s->first; id < s->first + 8; id++) {
        struct message m = generate_request(id, "hello", 3);

        worker_send(s->w, &m, NULL);
    }
    return NULL;
}

TEST(worker_takes_requests_of_several_threads)
{
    struct sender senders[4];
    pthread_t threads[4];
    struct worker *w = start_rogue("");
    struct message m;
    int done = 0;

    for (int i = 0; i < 4; i++) {
        senders[i] = (struct sender){w, (uint64_t)(1 + i * 100)};
        CHECK_INT(pthread_create(&threads[i], NULL, send_some, &senders[i]), 0);
    }
    while (done < 32) {
        CHECK_INT(worker_receive(w, &m, 5000, NULL), 1);
        done += m.type == MESSAGE_DONE;
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    worker_destroy(w);
}

TEST(worker_names_what_cannot_be_a_model)
{
    static const struct {
        const char *path, *says;
    } cases[] = {
        {"/tmp", "it is a directory"},
        {"/dev/random", "it is a character device"},
        {"/no/such/model.gguf", "cannot open '/no/such/model.gguf': No such file or directory"},
    };
    struct llmos_error err;
    struct worker *w;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct worker_options o = worker_options_for("tests/e2e/rogue", cases[i].path);

        CHECK(worker_start(&w, &o, &err) < 0);
        CHECK_CONTAINS(err.text, cases[i].says);
    }
}

TEST(worker_gives_strange_names_a_plain_form)
{
    struct worker_options o = worker_options_for("tests/e2e/rogue", work_file("modes", "", 0));
    struct llmos_error err;
    struct worker *w;
    struct message m;

    o.name = "../../My Model: 7B (Q4)\n\xff this is far too long for a host name";
    w = start_ready(&o);
    worker_stop(w);
    CHECK_INT(worker_receive(w, &m, 1000, &err), LLMOS_ECLOSED);
    CHECK_STR(err.text, "the engine of 'my-model-7b-q4-this-is-far-too-l' was stopped");
    worker_destroy(w);
    o.name = "!!!";
    w = start_ready(&o);
    worker_destroy(w);
}

TEST(worker_survives_every_failed_allocation)
{
    struct worker_options o = worker_options_for("tests/e2e/rogue", work_file("modes", "", 0));

    EVERY_ALLOCATION_FAILS
    {
        struct message m = generate_request(7, "hello", 2);
        struct worker *w;
        int rc = worker_start(&w, &o, NULL);

        if (rc == 0) {
            rc = worker_receive(w, &m, 5000, NULL);
            if (rc == 1) {
                m = generate_request(7, "hello", 2);
                rc = worker_send(w, &m, NULL);
            }
            while (rc == 0 || (rc == 1 && m.type != MESSAGE_DONE))
                rc = worker_receive(w, &m, 5000, NULL);
            worker_destroy(w);
        }
        CHECK(rc == 1 || rc == LLMOS_ENOMEM);
    }
}

/* --- packed weights --------------------------------------------------------------------------- */

static const char *synth_model_of(const char *name, enum dtype type)
{
    static char path[512];
    struct synth_options o;
    int fd;

    snprintf(path, sizeof(path), "%s", work_path(name));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK_INT(synth_shape(&o, "tiny", NULL), 0);
    o.type = type;
    if (dtype_info(type)->block == K_BLOCK) {
        o.width = K_BLOCK;
        o.hidden = 2 * K_BLOCK;
    }
    CHECK_INT(synth_write(fd, &o, NULL), 0);
    close(fd);
    return path;
}

static const char *synth_model(const char *name)
{
    return synth_model_of(name, DTYPE_Q8_0);
}

static struct packcache *open_cache_of(const char *name, uint64_t bytes_max)
{
    const struct packcache_options place = {.folder = work_path(name), .bytes_max = bytes_max};
    struct llmos_error err;
    struct packcache *c;

    if (packcache_open(&c, &place, &err) < 0)
        TEST_FAIL("%s", err.text);
    return c;
}

static struct packcache *open_cache(void)
{
    return open_cache_of("cache", 0);
}

static int prepare(struct packcache *c, const struct worker_options *o, struct llmos_error *err)
{
    const struct prepare_options p = {.cache = c, .worker = o, .is_background = true};

    return prepare_model(&p, err);
}

static void need_packing(struct packcache *c, const struct worker_options *o)
{
    struct llmos_error err = {0};
    int rc = prepare(c, o, &err);

    if (rc < 0)
        TEST_FAIL("%s", err.text);
    if (rc == PREPARE_USELESS)
        SKIP("this processor reads no packed weights");
}

/* The answer to one prompt, and what READY said of packed weights. */
static int answer_with(const struct worker_options *o, struct answer *a)
{
    struct message m = generate_request(1, "Once upon a time", 20), ready;
    struct worker *w;
    int packing;

    answer_init(a);
    CHECK_INT(worker_start(&w, o, NULL), 0);
    CHECK_INT(worker_receive(w, &ready, 60000, &a->err), 1);
    CHECK_INT(ready.type, MESSAGE_READY);
    packing = ready.ready.packing;
    send_ok(w, &m);
    CHECK_INT(answer_wait(a, w, 1), 1);
    worker_destroy(w);
    return packing;
}

/* Of all that is in the cache there is at most one entry. */
static bool entry(char path[600])
{
    struct packcache *c = open_cache();
    struct packcache_item *items;
    size_t count;

    CHECK_INT(packcache_list(c, &items, &count, NULL), 0);
    CHECK(count <= 1);
    if (count)
        snprintf(path, 600, "%s/packed/%s-%s.pack", work_path("cache"), items[0].model.hex,
                 PACKCACHE_LAYOUT);
    mem_free(items);
    packcache_close(c);
    return count == 1;
}

TEST(worker_believes_no_packed_weights_that_it_did_not_give)
{
    struct worker_options o =
        worker_options_for("tests/e2e/rogue", work_file("modes", "ready-packed", 12));
    struct llmos_error err = {0};
    struct worker *w;
    struct message m;

    CHECK_INT(worker_start(&w, &o, &err), 0);
    CHECK_INT(worker_receive(w, &m, 60000, &err), LLMOS_EFORMAT);
    CHECK_CONTAINS(err.text, "READY speaks of packed weights that were not given");
    worker_destroy(w);
}

static void check_same_from_packed(enum dtype type, const char *cache)
{
    struct worker_options o =
        worker_options_for("llmos-engine", synth_model_of("packed.gguf", type));
    struct packcache *c = open_cache_of(cache, 0);
    struct llmos_error err = {0};
    struct answer plain, packed;

    CHECK_INT(answer_with(&o, &plain), PACKING_NONE);
    o.packcache = c;
    CHECK_INT(answer_with(&o, &packed), PACKING_NONE); /* there are none yet */
    buf_fini(&packed.text);
    need_packing(c, &o);
    CHECK_INT(prepare(c, &o, &err), PREPARE_PRESENT);
    CHECK_INT(answer_with(&o, &packed), PACKING_USED);
    CHECK(plain.text.len > 0 && str_eq(buf_str(&plain.text), buf_str(&packed.text)));
    buf_fini(&plain.text);
    buf_fini(&packed.text);
    packcache_close(c);
}

TEST(worker_runs_from_packed_weights_and_says_the_same)
{
    check_same_from_packed(DTYPE_Q8_0, "cache");
}

TEST(worker_says_the_same_from_points_and_digits_that_were_packed_value_by_value)
{
    static const enum dtype types[] = {DTYPE_IQ3_XXS, DTYPE_IQ2_XS, DTYPE_IQ1_M, DTYPE_TQ1_0};

    for (size_t k = 0; k < sizeof(types) / sizeof(types[0]); k++)
        check_same_from_packed(types[k], "values");
}

TEST(worker_packs_nothing_that_takes_more_than_there_is_room_for)
{
    struct worker_options o =
        worker_options_for("llmos-engine", synth_model_of("packed.gguf", DTYPE_IQ1_S));
    uint64_t model_bytes = parts_bytes(o.model_path);
    struct packcache *c = open_cache_of("roomy", 0);
    struct llmos_error err = {0};
    struct packcache_item *items;
    size_t count;

    need_packing(c, &o);
    packcache_close(c);
    c = open_cache_of("narrow", model_bytes + model_bytes / 8);
    if (prepare(c, &o, &err) != LLMOS_ELIMIT)
        TEST_FAIL("%s", err.text);
    CHECK_CONTAINS(err.text, "packed weights would take 0.5 MiB, and may take 0.3: ");
    CHECK_INT(packcache_list(c, &items, &count, NULL), 0);
    CHECK_INT(count, 0);
    mem_free(items);
    packcache_close(c);
}

TEST(worker_throws_damaged_packed_weights_away_and_answers)
{
    struct worker_options o = worker_options_for("llmos-engine", synth_model("packed.gguf"));
    struct packcache *c = open_cache();
    struct llmos_error err = {0};
    struct answer first, second;
    char path[600], byte;
    int fd;

    o.packcache = c;
    need_packing(c, &o);
    CHECK_INT(answer_with(&o, &first), PACKING_USED);
    CHECK(entry(path));
    fd = open(path, O_RDWR | O_CLOEXEC);
    CHECK(pread(fd, &byte, 1, 5000) == 1);
    byte ^= 4;
    CHECK(pwrite(fd, &byte, 1, 5000) == 1);
    close(fd);
    CHECK_INT(answer_with(&o, &second), PACKING_DAMAGED);
    CHECK(str_eq(buf_str(&first.text), buf_str(&second.text)));
    CHECK(!entry(path));
    CHECK_INT(prepare(c, &o, &err), PREPARE_MADE);
    buf_fini(&second.text);
    CHECK_INT(answer_with(&o, &second), PACKING_USED);
    buf_fini(&first.text);
    buf_fini(&second.text);
    packcache_close(c);
}

TEST(worker_survives_what_a_hostile_engine_has_packed)
{
    struct worker_options o = worker_options_for("tests/e2e/rogue", synth_model("packed.gguf"));
    struct packcache *c = open_cache();
    struct llmos_error err = {0};
    struct answer a;
    char path[600];

    o.packcache = c;
    need_packing(c, &(struct worker_options){.name = "test",
                                             .model_path = o.model_path,
                                             .skip_layers = ROOM_SKIP,
                                             .engine_path = build_path("llmos-engine"),
                                             .launcher_path = o.launcher_path});
    CHECK(entry(path));
    CHECK_INT(unlink(path), 0);
    CHECK_INT(prepare(c, &o, &err), PREPARE_MADE); /* noise */
    o.engine_path = build_path("llmos-engine");
    CHECK_INT(answer_with(&o, &a), PACKING_DAMAGED);
    CHECK(!entry(path));
    buf_fini(&a.text);
    packcache_close(c);
}

TEST(worker_that_fails_to_pack_leaves_nothing)
{
    static const struct {
        const char *modes, *says;
    } cases[] = {
        {"refuse", "made of words"},
        {"die", "exited with 3"},
        {"garbage", "broke the protocol"},
        {"wrong-type", "broke the protocol"},
    };
    struct packcache *c = open_cache();
    struct llmos_error err;
    char path[600];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct worker_options o = worker_options_for(
            "tests/e2e/rogue", work_file("bad", cases[i].modes, strlen(cases[i].modes)));
        uint64_t bytes;

        CHECK_INT(packcache_clean(c, &bytes, NULL), 0);
        CHECK(prepare(c, &o, &err) < 0);
        CHECK_CONTAINS(err.text, cases[i].says);
        CHECK(!entry(path));
        snprintf(path, sizeof(path), "ls '%s/packed' | grep -q part", work_path("cache"));
        CHECK(system(path) != 0);
    }
    packcache_close(c);
}
