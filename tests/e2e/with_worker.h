/* SPDX-License-Identifier: Apache-2.0 */
/* with_worker.h - what tests share that drive a worker: paths, temporary files, whole answers. */
#ifndef TESTS_E2E_WITH_WORKER_H
#define TESTS_E2E_WITH_WORKER_H

#include "test.h"
#include "unit/sanitizer.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "sched/worker.h"

#include <errno.h>
#include <sys/stat.h>

#define UNUSED __attribute__((unused))

static char work_folder[256];

static void work_folder_remove(void)
{
    char command[512];

    snprintf(command, sizeof(command), "rm -rf '%s'", work_folder);
    if (work_folder[0] && system(command) != 0)
        fprintf(stderr, "cannot remove %s\n", work_folder);
}

/* A path inside a folder that goes with the test; a few are valid at a time. */
UNUSED static const char *work_path(const char *name)
{
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];

    if (!work_folder[0]) {
        snprintf(work_folder, sizeof(work_folder), "/tmp/llmos-test-XXXXXX");
        CHECK(mkdtemp(work_folder));
        atexit(work_folder_remove);
    }
    snprintf(path, 512, "%s/%s", work_folder, name);
    return path;
}

UNUSED static const char *work_file(const char *name, const void *bytes, size_t n)
{
    const char *path = work_path(name);

    CHECK_INT(file_replace(path, (struct str){bytes, n}, NULL), 0);
    return path;
}

UNUSED static const char *build_path(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    const char *build = getenv("LLMOS_BUILD");

    if (!build)
        SKIP("LLMOS_BUILD does not say where the programs are: run meson test");
    snprintf(path, 512, "%s/%s", build, name);
    return path;
}

/* A file of the shared models, or NULL. */
UNUSED static const char *shared_path(const char *name)
{
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    const char *shared = getenv("LLMOS_SHARED"), *source = getenv("LLMOS_SOURCE");

    if (shared)
        snprintf(path, 512, "%s/%s", shared, name);
    else
        snprintf(path, 512, "%s/../shared/%s", source ? source : ".", name);
    return access(path, R_OK) == 0 ? path : NULL;
}

/* The sanitizers need system calls and memory that the room does not give. */
#if HAS_SANITIZER
#define ROOM_SKIP                                                                                \
    (VCE_BIT(VCE_SECCOMP) | VCE_BIT(VCE_RLIMITS) | VCE_BIT(VCE_LIMITS) | VCE_BIT(VCE_LANDLOCK) | \
     VCE_BIT(VCE_MOUNT) | VCE_BIT(VCE_MDWE))
#else
#define ROOM_SKIP 0
#endif

/* Options for an engine of the build folder.  Layers that this kernel lacks are no concern of these
 * tests. */
UNUSED static struct worker_options worker_options_for(const char *engine, const char *model)
{
    return (struct worker_options){.name = "test",
                                   .model_path = model,
                                   .setup = {.threads = 1},
                                   .skip_layers = ROOM_SKIP,
                                   .engine_path = build_path(engine),
                                   .launcher_path = build_path("llmos-vce")};
}

/* One whole answer. */
struct answer {
    struct buf text;
    struct message_done done;
    struct llmos_error err; /* code 0: DONE came */
    uint32_t tokens, frames, logprobs;
    double logprob_sum;
};

UNUSED static void answer_init(struct answer *a)
{
    memset(a, 0, sizeof(*a));
    buf_init(&a->text, 64 << 20);
}

/* Takes one message into the answer it belongs to; true if that is over now. */
UNUSED static bool answer_take(struct answer *a, const struct message *m)
{
    switch (m->type) {
    case MESSAGE_TEXT:
        a->frames++;
        a->tokens += m->text.tokens;
        for (uint32_t i = 0; i < m->text.logprob_count; i++)
            a->logprob_sum += (double)m->text.logprobs[i].chosen.logprob;
        a->logprobs += m->text.logprob_count;
        buf_put(&a->text, m->text.text.at, m->text.text.len);
        return false;
    case MESSAGE_DATA:
        buf_put(&a->text, m->data.bytes.at, m->data.bytes.len);
        return m->data.last;
    case MESSAGE_DONE:
        a->done = m->done;
        return true;
    case MESSAGE_ERROR:
        fail(&a->err, m->error.code, "%.*s", STR_ARG(m->error.text));
        return true;
    default:
        return false;
    }
}

/* Waits for the answer to one request, the only one alive.  What receive says when it is not 1. */
UNUSED static int answer_wait(struct answer *a, struct worker *w, uint64_t id)
{
    struct message m;

    for (;;) {
        int rc = worker_receive(w, &m, 60000, &a->err);

        if (rc != 1)
            return rc;
        if (m.id == id && answer_take(a, &m))
            return 1;
    }
}

/* Waits for READY; fails the test if it does not come. */
UNUSED static void wait_ready(struct worker *w)
{
    struct llmos_error err = {0};
    struct message m;

    if (worker_receive(w, &m, 60000, &err) != 1)
        TEST_FAIL("no READY: %s", err.text);
    if (m.type == MESSAGE_ERROR)
        TEST_FAIL("no READY: %.*s", STR_ARG(m.error.text));
    CHECK_INT(m.type, MESSAGE_READY);
}

UNUSED static struct worker *start_ready(const struct worker_options *o)
{
    struct llmos_error err = {0};
    struct worker *w;

    if (worker_start(&w, o, &err) < 0)
        TEST_FAIL("%s", err.text);
    wait_ready(w);
    return w;
}

/* Greedy, no surprises. */
UNUSED static struct message generate_request(uint64_t id, const char *prompt, uint32_t max_tokens)
{
    return (struct message){.type = MESSAGE_GENERATE,
                            .id = id,
                            .generate = {.prompt_kind = PROMPT_TEXT,
                                         .text = str_of(prompt),
                                         .max_tokens = max_tokens,
                                         .top_p = 1,
                                         .repeat_penalty = 1}};
}

UNUSED static void send_ok(struct worker *w, const struct message *m)
{
    struct llmos_error err = {0};

    if (worker_send(w, m, &err) < 0)
        TEST_FAIL("%s", err.text);
}

#endif
