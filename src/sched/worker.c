/* SPDX-License-Identifier: Apache-2.0 */
/* worker.c - see worker.h */
#include "sched/worker.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/mem.h"
#include "base/pagecache.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>

_Static_assert(GGUF_PARTS_MAX <= MESSAGE_PARTS_MAX, "SETUP can speak of all parts");

#define NAME_MAX_BYTES 32 /* launch.h */
#define SLACK_BYTES                                                               \
    (128u << 20) /* program, vocabulary, buffers: what the context does not count \
                  */
#define STACK_BYTES      (10u << 20) /* a thread's stack counts as private memory, touched or not */
#define STALL_MS         60000       /* a step of a large model on a slow machine takes seconds */
#define STALL_LOADING_MS 600000      /* a cold model of 100 GB comes from a disk */
#define END_WAIT_MS      2000        /* from a closed socket to the end of the process */
#define LIVE_MAX         65536
#define DATA_BYTES_MAX   (64u << 20) /* of an answer in JSON */
#define TOKEN_BYTES_MAX  4096 /* mean bytes of frames for one token: bounds an endless answer */
#define STATS_BURST      200
#define STATS_PER_SECOND 50 /* ten times what PROTOCOL.md allows */

/* A request that the engine has not yet finished, and what it may still say about it. */
struct live {
    uint64_t id, bytes_left;
    uint32_t tokens_left;
    uint16_t type;
    uint8_t encoding; /* of an ENCODE: enum message_encoding */
    uint32_t rows;    /* of its answer, so far */
};

struct worker {
    struct vce vce;
    char name[NAME_MAX_BYTES + 1];
    unsigned stall_ms;
    struct packcache *packcache; /* NULL: the engine was given no packed weights */
    struct modelhash hash;       /* of the model, if it was */
    int wake;                    /* eventfd, readable for good after worker_stop */

    pthread_mutex_t sending; /* one frame at a time; guards out */
    struct buf out;

    pthread_mutex_t lock; /* guards what follows */
    struct live *live;
    size_t live_count, live_room;
    bool is_ready, is_stopped;
    struct llmos_error end; /* why nothing more will come; code 0 while it lives */

    /* of the receiving thread */
    struct frame_reader in;
    struct arena arena;
    uint32_t context_tokens;
    uint32_t vector_width, label_count; /* of READY */
    uint8_t classifier;
    uint64_t stats_ns; /* token bucket: when the bucket would be full again */
    bool has_given_up;
};

/* ---- starting ---- */

static void clean_name(char *out, const char *name)
{
    size_t n = 0;

    for (; name && *name && n < NAME_MAX_BYTES; name++) {
        char c = (char)tolower((unsigned char)*name);
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

        if (is_plain || (n && out[n - 1] != '-'))
            out[n++] = is_plain ? c : '-';
    }
    while (n && out[n - 1] == '-')
        n--;
    out[n] = '\0';
    if (n == 0)
        strcpy(out, "model");
}

static int find(char *path, size_t size, const char *given, const char *name,
                struct llmos_error *err)
{
    if (!given)
        return vce_find_program(name, path, size, err);
    if (snprintf(path, size, "%s", given) >= (int)size)
        return fail(err, LLMOS_EINVAL, "the path of '%s' is too long", name);
    return 0;
}

/* What the engine may allocate for itself; the weights are mapped and do not count. */
static uint64_t memory_share(const struct worker_options *o)
{
    /* Three quarters of what is free: the rest is for the weights' pages and everybody else. */
    return o->memory_max_bytes ? o->memory_max_bytes : machine_memory().available_bytes / 4 * 3;
}

#define FURTHER_MAX                                                              \
    8 /* of worker_options.files beside a model: what it writes, importance data \
       */
#define LIST_MAX (VCE_FOLDER_FILES_MAX + FURTHER_MAX)

/* The models, and everything beside their first files. */
struct files {
    struct parts opened, draft;
    const struct parts *model;
    int packed;
    struct vce_file list[LIST_MAX];
    unsigned count;
};

static void cleanup_files(struct files *f)
{
    parts_close(&f->opened);
    parts_close(&f->draft);
    cleanup_fd(&f->packed);
}

static int add_file(struct files *f, const struct vce_file *file, struct llmos_error *err)
{
    if (f->count == LIST_MAX)
        return fail(err, LLMOS_ELIMIT, "more than %d files for one engine", LIST_MAX);
    f->list[f->count++] = *file;
    return 0;
}

/* All but the first, whose number is another. */
static int add_parts(struct files *f, const struct parts *p, const char *name, int *as,
                     struct llmos_error *err)
{
    int rc = 0;

    for (unsigned i = 1; rc == 0 && i < p->count; i++) {
        if (*as == VCE_FILE_FD_END)
            return fail(err, LLMOS_ELIMIT,
                        "the models are in too many files: beside the first of each at most %d are "
                        "accepted",
                        VCE_FOLDER_FILES_MAX);
        rc = add_file(f, &(struct vce_file){.name = name, .as = (*as)++, .fd = p->fds[i]}, err);
    }
    return rc;
}

/* That there are none is no error: the model runs from its own layout. */
static int find_packed(struct worker *w, struct packcache *c, struct files *f,
                       struct llmos_error *err)
{
    if (modelhash_find_parts(packcache_folder(c), f->model, &w->hash) == 1)
        f->packed = packcache_get(c, &w->hash, NULL);
    if (f->packed < 0)
        return 0;
    pagecache_gather(f->packed);
    w->packcache = c;
    return add_file(
        f, &(struct vce_file){.name = "packed weights", .as = VCE_PACKED_FD, .fd = f->packed}, err);
}

static int open_models(const struct worker_options *o, struct files *f, struct llmos_error *err)
{
    int rc = o->model_path ? parts_open(&f->opened, o->model_path, err) : 0, as = VCE_PARTS_FD;

    f->model = o->model_path ? &f->opened : o->model_files;
    if (rc < 0 || !f->model)
        return rc;
    if (o->draft_path) {
        rc = parts_open(&f->draft, o->draft_path, err);
        if (rc < 0)
            return fail_while(err, rc, "draft model");
    }
    rc = add_parts(f, f->model, "model", &as, err);
    return rc < 0 ? rc : add_parts(f, &f->draft, "draft model", &as, err);
}

static int open_files(struct worker *w, const struct worker_options *o, struct files *f,
                      struct llmos_error *err)
{
    int rc = open_models(o, f, err);

    for (unsigned i = 0; rc == 0 && i < o->file_count; i++)
        rc = add_file(f, &o->files[i], err);
    if (rc == 0 && f->model && o->packcache &&
        (o->setup.purpose == PURPOSE_RUN || o->setup.purpose == PURPOSE_ENCODE))
        rc = find_packed(w, o->packcache, f, err);
    return rc;
}

static int start_vce(struct worker *w, const struct worker_options *o, struct message_setup *setup,
                     struct llmos_error *err)
{
    char engine[4096], launcher[4096];
    CLEANUP(files) struct files files = {.packed = -1};
    struct vce_options v = {
        .launcher_path = launcher,
        .engine_path = engine,
        .name = w->name,
        .cpu_percent = o->cpu_percent,
        .skip = o->skip_layers,
        .required = o->required_layers,
        .require_default = o->require_default,
        .is_background = o->is_background,
    };
    int rc = find(engine, sizeof(engine), o->engine_path, "llmos-engine", err);

    if (rc == 0)
        rc = find(launcher, sizeof(launcher), o->launcher_path, "llmos-vce", err);
    if (rc == 0)
        rc = open_files(w, o, &files, err);
    if (rc < 0)
        return rc;
    v.model_fd = files.model ? files.model->fds[0] : -1;
    v.draft_fd = files.draft.count ? files.draft.fds[0] : -1;
    v.files = files.list;
    v.file_count = files.count;
    setup->has_packed = files.packed >= 0;
    setup->draft_model = files.draft.count > 0;
    setup->model_parts = files.model ? files.model->count : 0;
    setup->draft_parts = files.draft.count;
    if (!setup->threads)
        setup->threads = machine_cpus();
    if (!setup->memory_max_bytes)
        setup->memory_max_bytes = memory_share(o);
    if (setup->memory_max_bytes)
        v.memory_max_bytes =
            setup->memory_max_bytes + SLACK_BYTES + (uint64_t)setup->threads * STACK_BYTES;
    if (setup->memory_max_bytes && o->draft_path)
        v.memory_max_bytes += SLACK_BYTES; /* of a second vocabulary */
    return vce_start(&w->vce, &v, err);
}

static int worker_create(struct worker **out, const struct worker_options *o,
                         struct llmos_error *err)
{
    struct worker *w = mem_zalloc(1, sizeof(*w));

    if (!w)
        return fail(err, LLMOS_ENOMEM, "no memory for a worker");
    pthread_mutex_init(&w->sending, NULL);
    pthread_mutex_init(&w->lock, NULL);
    buf_init(&w->out, FRAME_HEAD_BYTES + FRAME_TO_ENGINE_MAX);
    frame_reader_init(&w->in, FRAME_TO_HOST_MAX);
    arena_init(&w->arena, MESSAGE_ARENA_BYTES);
    clean_name(w->name, o->name);
    w->stall_ms = o->stall_ms ? o->stall_ms : STALL_MS;
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake < 0) {
        fail_errno(err, "cannot make an event descriptor");
        worker_destroy(w);
        return LLMOS_EIO;
    }
    *out = w;
    return 0;
}

int worker_start(struct worker **out, const struct worker_options *o, struct llmos_error *err)
{
    struct message setup = {.type = MESSAGE_SETUP, .setup = o->setup};
    struct worker *w = NULL;
    int rc = worker_create(&w, o, err);

    if (rc < 0)
        return rc;
    rc = start_vce(w, o, &setup.setup, err);
    if (rc == 0) {
        rc = worker_send(w, &setup, err);
        /* An engine that is gone already: worker_receive says how it ended, which we cannot. */
        if (rc == LLMOS_ECLOSED)
            rc = 0;
    }
    if (rc < 0) {
        worker_destroy(w);
        return rc;
    }
    *out = w;
    return 0;
}

/* ---- ending ---- */

static void kill_engine(struct worker *w)
{
    syscall(SYS_pidfd_send_signal, w->vce.pidfd, SIGKILL, NULL, 0);
}

/* The first reason stays: what follows from it is no news.  Wakes whoever waits. */
static int end_with(struct worker *w, const struct llmos_error *why, struct llmos_error *err)
{
    struct llmos_error first;
    uint64_t one = 1;
    ssize_t n;

    kill_engine(w);
    pthread_mutex_lock(&w->lock);
    if (!w->end.code)
        w->end = *why;
    first = w->end;
    pthread_mutex_unlock(&w->lock);
    n = write(w->wake, &one, sizeof(one)); /* can only fail if it is readable already */
    (void)n;
    return fail(err, first.code, "%s", first.text);
}

static bool has_ended(struct worker *w, struct llmos_error *end)
{
    pthread_mutex_lock(&w->lock);
    *end = w->end;
    pthread_mutex_unlock(&w->lock);
    return end->code != 0;
}

static int broke_protocol(struct worker *w, int code, const struct llmos_error *what,
                          struct llmos_error *err)
{
    struct llmos_error why;

    /* Whatever rule it broke, to the caller it is an engine that cannot be understood. */
    if (code != LLMOS_ENOMEM)
        code = LLMOS_EFORMAT;
    fail(&why, code, "the engine of '%s' broke the protocol and was killed: %s", w->name,
         what->text);
    return end_with(w, &why, err);
}

/* The socket is closed: wait for the process to follow, and tell how it ended. */
static int tell_end(struct worker *w, struct llmos_error *err)
{
    struct pollfd p = {.fd = w->vce.pidfd, .events = POLLIN};
    struct llmos_error why;
    char how[128];

    while (poll(&p, 1, END_WAIT_MS) < 0 && errno == EINTR)
        ;
    if (vce_ended(&w->vce, how, sizeof(how)))
        fail(&why, LLMOS_ECLOSED, "the engine of '%s' has ended: %s", w->name, how);
    else
        fail(&why, LLMOS_ECLOSED,
             "the engine of '%s' closed its socket, did not end and was killed", w->name);
    return end_with(w, &why, err);
}

void worker_stop(struct worker *w)
{
    struct llmos_error why;

    fail(&why, LLMOS_ECLOSED, "the engine of '%s' was stopped", w->name);
    end_with(w, &why, NULL);
}

void worker_destroy(struct worker *w)
{
    if (!w)
        return;
    vce_fini(&w->vce);
    if (w->wake >= 0)
        close(w->wake);
    frame_reader_fini(&w->in);
    arena_fini(&w->arena);
    buf_fini(&w->out);
    mem_free(w->live);
    pthread_mutex_destroy(&w->sending);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

/* ---- what is asked for ---- */

static struct live *live_find(struct worker *w, uint64_t id)
{
    for (size_t i = 0; i < w->live_count; i++) {
        if (w->live[i].id == id)
            return &w->live[i];
    }
    return NULL;
}

static void live_remove(struct worker *w, uint64_t id)
{
    struct live *l = live_find(w, id);

    if (l)
        *l = w->live[--w->live_count];
}

/* A generous bound on all frames of an answer: an honest engine never meets it, an endless one
 * does. */
static uint64_t answer_bytes(const struct message_generate *g)
{
    uint64_t bytes = 1u << 20, per_token = TOKEN_BYTES_MAX;

    if (g->want_logprob)
        per_token *= 2 + g->top_logprobs;
    if (g->echo) {
        bytes += 3 * (uint64_t)g->text.len; /* a broken byte becomes three */
        if (g->prompt_kind == PROMPT_CHAT)  /* a message has 16 bytes at least */
            bytes += (uint64_t)g->text.len / 16 * TOKEN_BYTES_MAX;
        if (g->prompt_kind == PROMPT_TOKENS)
            bytes += (uint64_t)g->count * TOKEN_BYTES_MAX;
    }
    return bytes + per_token * (g->max_tokens ? g->max_tokens : 1u << 24);
}

static struct live live_of(const struct message *m)
{
    struct live l = {.id = m->id, .type = m->type};

    switch (m->type) {
    case MESSAGE_GENERATE:
        l.tokens_left = m->generate.max_tokens ? m->generate.max_tokens : UINT32_MAX;
        l.bytes_left = answer_bytes(&m->generate);
        break;
    case MESSAGE_TOKENIZE:
        /* At worst three tokens for a space (a character of three bytes to SentencePiece); BOS. */
        l.tokens_left = 3 * (uint32_t)m->tokenize.text.len + 16;
        l.bytes_left = (uint64_t)l.tokens_left * 32 + 65536;
        break;
    case MESSAGE_ENCODE:
        l.encoding = m->encode.kind;
        l.bytes_left = DATA_BYTES_MAX;
        break;
    default:
        l.bytes_left = DATA_BYTES_MAX;
        break;
    }
    return l;
}

static int live_add(struct worker *w, const struct message *m, struct llmos_error *err)
{
    if (live_find(w, m->id))
        return fail(err, LLMOS_EINVAL, "request %llu exists already", (unsigned long long)m->id);
    if (w->live_count == w->live_room) {
        size_t room = w->live_room ? 2 * w->live_room : 16;
        struct live *grown;

        if (room > LIVE_MAX)
            return fail(err, LLMOS_EBUSY, "%d requests wait for the model already", LIVE_MAX);
        grown = mem_resize(w->live, room, sizeof(*grown));
        if (!grown)
            return fail(err, LLMOS_ENOMEM, "no memory for a request");
        w->live = grown;
        w->live_room = room;
    }
    w->live[w->live_count++] = live_of(m);
    return 0;
}

/* ---- sending ---- */

/* All of the frame, or the engine is killed: half a frame would make the rest meaningless. */
static int write_frame(struct worker *w, struct llmos_error *err)
{
    struct pollfd p[2] = {{.fd = w->vce.socket, .events = POLLOUT},
                          {.fd = w->wake, .events = POLLIN}};
    struct llmos_error why;
    size_t done = 0;

    while (done < w->out.len) {
        ssize_t n =
            send(w->vce.socket, w->out.at + done, w->out.len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
        bool is_ready;
        int rc;

        if (n > 0) {
            done += (size_t)n;
            continue;
        }
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return fail(err, LLMOS_ECLOSED, "the engine of '%s' has ended", w->name);
        pthread_mutex_lock(&w->lock);
        is_ready = w->is_ready;
        pthread_mutex_unlock(&w->lock);
        rc = poll(p, 2, is_ready ? (int)w->stall_ms : STALL_LOADING_MS);
        if (rc < 0 && errno == EINTR)
            continue;
        if (rc <= 0) {
            fail(&why, LLMOS_EBUSY,
                 "the engine of '%s' has not read its requests for %u ms and was killed", w->name,
                 w->stall_ms);
            return end_with(w, &why, err);
        }
        if (has_ended(w, &why))
            return fail(err, LLMOS_ECLOSED, "%s", why.text);
    }
    return 0;
}

/* 1: send it; 0: a CANCEL of something that is over. */
static int register_request(struct worker *w, const struct message *m, struct llmos_error *err)
{
    int rc = 1;

    pthread_mutex_lock(&w->lock);
    if (w->end.code)
        rc = fail(err, LLMOS_ECLOSED, "%s", w->end.text);
    else if (m->type == MESSAGE_CANCEL)
        rc = live_find(w, m->id) != NULL;
    else if (m->type != MESSAGE_SETUP && (rc = live_add(w, m, err)) == 0)
        rc = 1;
    pthread_mutex_unlock(&w->lock);
    return rc;
}

int worker_send(struct worker *w, const struct message *m, struct llmos_error *err)
{
    int rc;

    if (m->type < MESSAGE_SETUP || m->type > MESSAGE_ENCODE ||
        (m->id == 0) != (m->type == MESSAGE_SETUP))
        return fail(err, LLMOS_EINVAL, "no message for an engine: type %u with id %llu", m->type,
                    (unsigned long long)m->id);
    pthread_mutex_lock(&w->sending);
    buf_clear(&w->out);
    message_put(&w->out, m);
    rc = buf_check(&w->out, "the request", err);
    /* Before the write: the answer may be there before send() returns. */
    if (rc == 0)
        rc = register_request(w, m, err);
    if (rc > 0) {
        rc = write_frame(w, err);
        if (rc < 0 && m->id && m->type != MESSAGE_CANCEL) {
            pthread_mutex_lock(&w->lock);
            live_remove(w, m->id);
            pthread_mutex_unlock(&w->lock);
        }
    }
    if (w->out.room > 1u << 20) /* do not keep the longest prompt's memory for good */
        buf_fini(&w->out);
    pthread_mutex_unlock(&w->sending);
    return rc < 0 ? rc : 0;
}

/* ---- receiving ---- */

/* A bucket that holds STATS_BURST and is refilled STATS_PER_SECOND times a second. */
static bool too_many_stats(struct worker *w)
{
    const uint64_t each = 1000000000u / STATS_PER_SECOND;
    uint64_t now = clock_ns();

    w->stats_ns = (w->stats_ns > now ? w->stats_ns : now) + each;
    return w->stats_ns > now + each * STATS_BURST;
}

static int check_whole(struct worker *w, const struct message *m, struct llmos_error *err)
{
    switch (m->type) {
    case MESSAGE_READY:
        if (w->is_ready)
            return fail(err, LLMOS_EFORMAT, "READY a second time");
        pthread_mutex_lock(&w->lock);
        w->is_ready = true;
        pthread_mutex_unlock(&w->lock);
        w->context_tokens = m->ready.context_tokens;
        w->vector_width = m->ready.vector_width;
        w->label_count = m->ready.label_count;
        w->classifier = m->ready.classifier;
        if ((m->ready.classifier != CLASSIFIER_NONE) != (m->ready.label_count > 0))
            return fail(err, LLMOS_EFORMAT, "READY speaks of a classifier with %u labels",
                        m->ready.label_count);
        if (m->ready.packing != PACKING_NONE && !w->packcache)
            return fail(err, LLMOS_EFORMAT, "READY speaks of packed weights that were not given");
        if (m->ready.packing == PACKING_DAMAGED)
            packcache_remove(w->packcache, &w->hash);
        return 0;
    case MESSAGE_STATS:
        return too_many_stats(w) ? fail(err, LLMOS_EFORMAT, "a flood of STATS") : 0;
    default: /* ERROR */
        w->has_given_up = true;
        return 0;
    }
}

/* Rows as READY promised them: one for a text, or one for each token. */
static int check_vector(const struct worker *w, const struct message_vector *v, struct live *l,
                        struct llmos_error *err)
{
    bool are_scores = l->encoding == ENCODE_CLASSIFY;
    uint32_t width = are_scores ? w->label_count : w->vector_width;
    uint32_t due = are_scores && w->classifier == CLASSIFIER_TOKEN ? v->tokens : 1;
    uint32_t rows = l->rows + v->rows;

    if (v->width != width)
        return fail(err, LLMOS_EFORMAT, "a row of %u numbers, READY promised %u", v->width, width);
    if (v->tokens == 0 || v->tokens > w->context_tokens)
        return fail(err, LLMOS_EFORMAT, "a text of %u tokens, READY promised at most %u", v->tokens,
                    w->context_tokens);
    if (rows > due || v->last != (rows == due))
        return fail(err, LLMOS_EFORMAT, "%u rows for a text, %u were due%s", rows, due,
                    v->last ? "" : ", and more are announced");
    l->rows = rows;
    return 0;
}

/* May this be said about that request, and is it over with it? */
static int check_answer(const struct worker *w, const struct message *m, struct live *l,
                        bool *is_over, struct llmos_error *err)
{
    bool fits = true;
    uint32_t tokens = 0;

    switch (m->type) {
    case MESSAGE_TEXT:
        fits = l->type == MESSAGE_GENERATE;
        tokens = m->text.tokens;
        if (fits && l->tokens_left > w->context_tokens)
            l->tokens_left = w->context_tokens;
        break;
    case MESSAGE_DONE:
        fits = l->type == MESSAGE_GENERATE;
        *is_over = true;
        break;
    case MESSAGE_TOKENS:
        fits = l->type == MESSAGE_TOKENIZE;
        tokens = m->tokens.count;
        *is_over = m->tokens.last;
        break;
    case MESSAGE_DATA:
        fits = l->type == MESSAGE_INSPECT || l->type == MESSAGE_BENCH ||
               l->type == MESSAGE_RENDER || l->type == MESSAGE_QUANTIZE ||
               l->type == MESSAGE_EVALUATE;
        *is_over = m->data.last;
        break;
    case MESSAGE_PROGRESS:
        fits = l->type == MESSAGE_BENCH || l->type == MESSAGE_PACK || l->type == MESSAGE_QUANTIZE ||
               l->type == MESSAGE_EVALUATE || l->type == MESSAGE_CONVERT;
        break;
    case MESSAGE_PACKED:
        fits = l->type == MESSAGE_PACK || l->type == MESSAGE_CONVERT;
        *is_over = true;
        break;
    case MESSAGE_VECTOR:
        fits = l->type == MESSAGE_ENCODE;
        *is_over = m->vector.last;
        break;
    default: /* ERROR fits every request */
        *is_over = true;
        break;
    }
    if (!fits)
        return fail(err, LLMOS_EFORMAT, "an answer of type %u to a request of type %u", m->type,
                    l->type);
    if (m->type == MESSAGE_VECTOR)
        return check_vector(w, &m->vector, l, err);
    if (tokens > l->tokens_left)
        return fail(err, LLMOS_EFORMAT, "more tokens than were asked for");
    l->tokens_left -= tokens;
    return 0;
}

static int check_request(struct worker *w, const struct message *m, size_t bytes,
                         struct llmos_error *err)
{
    bool is_over = false;
    struct live *l;
    int rc;

    pthread_mutex_lock(&w->lock);
    l = live_find(w, m->id);
    if (!l)
        rc = fail(err, LLMOS_EFORMAT, "an answer to request %llu, which was not made or is over",
                  (unsigned long long)m->id);
    else if (bytes > l->bytes_left)
        rc = fail(err, LLMOS_EFORMAT, "an answer without end");
    else
        rc = check_answer(w, m, l, &is_over, err);
    if (rc == 0) {
        l->bytes_left -= bytes;
        if (is_over)
            live_remove(w, m->id);
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

static int check_message(struct worker *w, const struct message *m, size_t bytes,
                         struct llmos_error *err)
{
    if (w->has_given_up)
        return fail(err, LLMOS_EFORMAT, "a frame after the engine gave up");
    if (!w->is_ready && m->type != MESSAGE_READY && !(m->type == MESSAGE_ERROR && m->id == 0))
        return fail(err, LLMOS_EFORMAT, "a frame of type %u before READY", m->type);
    return m->id == 0 ? check_whole(w, m, err) : check_request(w, m, bytes, err);
}

/* 1, 0: no whole frame yet, or negative. */
static int take_frame(struct worker *w, struct message *m, struct llmos_error *err)
{
    struct llmos_error what;
    struct frame f;
    int rc = frame_next(&w->in, &f, &what);

    if (rc == 0)
        return 0;
    if (rc == 1) {
        arena_fini(&w->arena);
        rc = message_parse(m, &f, true, &w->arena, &what);
        if (rc == 0)
            rc = check_message(w, m, FRAME_HEAD_BYTES + f.payload.len, &what);
    }
    return rc < 0 ? broke_protocol(w, rc, &what, err) : 1;
}

/* 1: something can be read; 0: time is over; negative: stopped. */
static int wait_for_bytes(struct worker *w, uint64_t end_ns, struct llmos_error *err)
{
    struct pollfd p[2] = {{.fd = w->vce.socket, .events = POLLIN},
                          {.fd = w->wake, .events = POLLIN}};

    for (;;) {
        uint64_t now = clock_ns(), left_ns = end_ns > now ? end_ns - now : 0;
        /* Rounded up: a caller who waits in a loop must not spin through the last millisecond. */
        uint64_t left_ms = (left_ns + 999999) / 1000000;
        int timeout = end_ns == UINT64_MAX ? -1 : left_ms > 1000000 ? 1000000 : (int)left_ms;
        int rc = poll(p, 2, timeout);
        struct llmos_error why;

        if (rc < 0 && errno != EINTR)
            return fail_errno(err, "cannot wait for the engine of '%s'", w->name);
        if (has_ended(w, &why))
            return fail(err, why.code, "%s", why.text);
        if (rc > 0 && p[0].revents)
            return 1;
        if (rc == 0 && left_ms <= 1000000)
            return 0;
    }
}

int worker_receive(struct worker *w, struct message *m, int timeout_ms, struct llmos_error *err)
{
    uint64_t end = timeout_ms < 0 ? UINT64_MAX : clock_ns() + (uint64_t)timeout_ms * 1000000;
    struct llmos_error why;

    if (has_ended(w, &why))
        return fail(err, why.code, "%s", why.text);
    for (;;) {
        int rc = take_frame(w, m, err);
        long n;

        if (rc != 0)
            return rc;
        rc = wait_for_bytes(w, end, err);
        if (rc <= 0)
            return rc;
        n = frame_fill(&w->in, w->vce.socket, &why);
        if (n == LLMOS_ECLOSED)
            return tell_end(w, err);
        if (n < 0)
            return broke_protocol(w, (int)n, &why, err);
    }
}

/* ---- looking ---- */

const struct vce *worker_vce(const struct worker *w)
{
    return &w->vce;
}

/* The number behind "Pss:" in kB, in bytes; 0 if it is not there. */
static uint64_t pss_of(const char *text)
{
    const char *line = strstr(text, "\nPss:");

    return line ? strtoull(line + 5, NULL, 10) * 1024 : 0;
}

uint64_t worker_memory_bytes(const struct worker *w)
{
    char path[64];
    struct buf text;
    uint64_t bytes = 0;

    buf_init(&text, 65536);
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)w->vce.pid);
    if (file_read(path, &text, NULL) == 0)
        bytes = pss_of(buf_str(&text).at);
    if (!bytes) { /* another user's: its resident pages are public, shared ones count fully */
        unsigned long long pages = 0;

        buf_clear(&text);
        snprintf(path, sizeof(path), "/proc/%d/statm", (int)w->vce.pid);
        if (file_read(path, &text, NULL) == 0 && sscanf(buf_str(&text).at, "%*u %llu", &pages) == 1)
            bytes = pages * machine_page_bytes();
    }
    buf_fini(&text);
    return bytes;
}
