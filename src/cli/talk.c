/* SPDX-License-Identifier: Apache-2.0 */
/* talk.c - see talk.h */
#include "cli/talk.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/near.h"
#include "cli/converted.h"
#include "cli/halt.h"
#include "cli/prepared.h"
#include "cli/table.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define TURN_MS          50   /* how late a Ctrl-C or a frame of the spinner may be */
#define PATIENCE_SECONDS 10.0 /* a step of a large model may take seconds */
/* The longest that READY can have, with what keeping them costs. */
#define LABELS_BYTES_MAX ((size_t)MESSAGE_LABELS_MAX * (MESSAGE_LABEL_BYTES_MAX + 64))

static int layer_bits(const struct opt_list *names, unsigned *bits, struct llmos_error *err)
{
    *bits = 0;
    for (unsigned i = 0; i < names->count; i++) {
        struct near near = {.word = names->at[i]};
        int layer = vce_layer_by_name(names->at[i]);

        if (layer >= 0) {
            *bits |= VCE_BIT((unsigned)layer);
            continue;
        }
        for (unsigned l = 0; l < VCE_LAYER_COUNT; l++)
            near_offer(&near, vce_layer_name((enum vce_layer)l));
        if (near.best)
            return fail(err, LLMOS_EINVAL, "no layer of isolation is called '%.40s'; '%s' is",
                        names->at[i], near.best);
        return fail(err, LLMOS_EINVAL, "no layer of isolation is called '%.40s'; they are %s",
                    names->at[i], TALK_LAYERS);
    }
    return 0;
}

/* The default rule wants seccomp, and namespaces or Landlock.  Who skips these has decided. */
static bool overrules_default(unsigned skipped)
{
    unsigned spaces = VCE_BIT(VCE_USER) | VCE_BIT(VCE_MOUNT) | VCE_BIT(VCE_NET);

    return skipped & VCE_BIT(VCE_SECCOMP) ||
           ((skipped & spaces) && (skipped & VCE_BIT(VCE_LANDLOCK)));
}

/* "/models/Phi 3.gguf" -> "Phi 3": the worker makes a host name of it. */
static void name_of(const char *path, char *name, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t n;

    snprintf(name, size, "%s", slash ? slash + 1 : path);
    n = strlen(name);
    if (parts_stem(name)) /* of several files */
        name[parts_stem(name)] = '\0';
    else if (n > 5 && strcmp(name + n - 5, ".gguf") == 0)
        name[n - 5] = '\0';
}

/* Degrade aloud: what was wanted and could not be had is named, with the kernel's reason. */
static void tell_isolation(const struct talk *t, const struct talk_options *o, unsigned skipped)
{
    CLEANUP(buf) struct buf text = {.at = NULL};
    const struct vce *v = worker_vce(t->worker);

    buf_init(&text, 1 << 16);
    if (o->isolation)
        talk_put_isolation(t, &text);
    for (unsigned l = 0; !o->isolation && l < VCE_LAYER_COUNT; l++) {
        if (v->layers[l].holds || (skipped & VCE_BIT(l)))
            continue;
        buf_printf(&text, "llmos: isolation layer '%s' could not be had (",
                   vce_layer_name((enum vce_layer)l));
        screen_put_line(&text, str_of(v->layers[l].detail));
        buf_puts(&text, "), continuing without\n");
    }
    if (text.len && !text.bad)
        fputs(text.at, stderr);
}

static void copy_text(char *to, size_t size, struct str s)
{
    CLEANUP(buf) struct buf clean = {.at = NULL};

    buf_init(&clean, 4096);
    screen_put_line(&clean, (struct str){s.at, s.len < 1024 ? s.len : 1024});
    snprintf(to, size, "%s", clean.at && !clean.bad ? clean.at : "");
}

/* Bytes as they came: what prints them cleans them. */
static int keep_labels(struct talk *t, const struct message_ready *r, struct llmos_error *err)
{
    struct str *labels;

    arena_fini(&t->labels);
    arena_init(&t->labels, LABELS_BYTES_MAX);
    t->ready.labels = labels = arena_array(&t->labels, struct str, r->label_count);
    for (uint32_t i = 0; labels && i < r->label_count; i++) {
        labels[i].len = r->labels[i].len;
        labels[i].at = arena_strndup(&t->labels, r->labels[i].at, r->labels[i].len);
        if (!labels[i].at)
            labels = NULL;
    }
    if (r->label_count && !labels)
        return fail(err, LLMOS_ENOMEM, "no memory for %u labels", r->label_count);
    return 0;
}

static int keep_ready(struct talk *t, const struct message_ready *r, struct llmos_error *err)
{
    copy_text(t->architecture, sizeof(t->architecture), r->architecture);
    copy_text(t->name, sizeof(t->name), r->name);
    copy_text(t->file_type, sizeof(t->file_type), r->file_type);
    copy_text(t->chat_format, sizeof(t->chat_format), r->chat_format);
    copy_text(t->thought_format, sizeof(t->thought_format), r->thought_format);
    copy_text(t->backend, sizeof(t->backend), r->backend);
    copy_text(t->kv_type, sizeof(t->kv_type), r->kv_type);
    t->ready = *r;
    t->ready.architecture = t->ready.name = t->ready.file_type = t->ready.chat_format =
        t->ready.tool_format = t->ready.thought_format = t->ready.backend = t->ready.kv_type =
            (struct str){"", 0};
    return keep_labels(t, r, err);
}

/* What an engine says of itself becomes an error of ours: its code only if we know it. */
static int engine_error(const struct message_error *e, struct llmos_error *err)
{
    int code = strcmp(llmos_error_name(e->code), "unknown") == 0 ? LLMOS_EINTERNAL : e->code;

    return fail(err, code, "%.*s", STR_ARG(e->text));
}

int talk_send(struct talk *t, struct message *question, struct llmos_error *err)
{
    question->id = ++t->id;
    return worker_send(t->worker, question, err);
}

int talk_hear(struct talk *t, struct message *m, struct llmos_error *err)
{
    int rc = worker_receive(t->worker, m, TURN_MS, err);

    if (rc < 0)
        return rc;
    if (rc == 1 && m->type == MESSAGE_ERROR && m->id == 0)
        return engine_error(&m->error, err);
    return rc;
}

static int wait_ready(struct talk *t, struct llmos_error *err)
{
    struct message m;

    for (;;) {
        int rc = talk_hear(t, &m, err);

        if (rc < 0)
            return rc;
        if (rc == 1 && m.type == MESSAGE_READY)
            return keep_ready(t, &m.ready, err);
        if (halt_asked())
            return fail(err, LLMOS_ECANCELED, "interrupted");
        spinner_turn(&t->spinner);
    }
}

int talk_fill(struct worker_options *w, const struct talk_options *o, const char *model_path,
              char *name, size_t name_size, struct llmos_error *err)
{
    bool lookup = o->draft_lookup && strcmp(o->draft_lookup, "on") == 0;
    int rc;

    *w = (struct worker_options){
        .name = name,
        .model_path = model_path,
        .draft_path = o->draft,
        .setup = {.threads = o->threads,
                  .context_tokens = o->context,
                  .sessions_max = o->sequences ? o->sequences : 1,
                  .chat_format = str_of(o->chat_format ? o->chat_format : ""),
                  .draft_max =
                      lookup || o->draft ? o->draft_max ? o->draft_max : TALK_DRAFT_MAX : 0,
                  .draft_lookup = lookup,
                  .kv_type = str_of(o->kv_type ? o->kv_type : "")},
        .memory_max_bytes = o->memory,
        .files = o->files,
        .file_count = o->file_count,
    };
    name_of(o->name ? o->name : model_path, name, name_size);
    rc = layer_bits(&o->skip_layers, &w->skip_layers, err);
    if (rc == 0)
        rc = layer_bits(&o->require_layers, &w->required_layers, err);
    w->require_default = !overrules_default(w->skip_layers);
    return rc;
}

static int start(struct talk *t, const struct worker_options *w, struct llmos_error *err)
{
    char what[300];
    int rc = worker_start(&t->worker, w, err);

    if (rc < 0)
        return rc;
    snprintf(what, sizeof(what), "loading %s", w->name);
    spinner_start(&t->spinner, what);
    rc = wait_ready(t, err);
    spinner_clear(&t->spinner);
    if (rc < 0 && rc != LLMOS_ECANCELED)
        return fail_while(err, rc, "model '%s'", t->path);
    return rc;
}

/* With packed weights; should they be damaged, with new ones. */
static int start_packed(struct talk *t, struct worker_options *w, struct llmos_error *err)
{
    int rc;

    if (!prepared_find(&t->packcache, w))
        return fail(err, LLMOS_ECANCELED, "interrupted");
    w->packcache = t->packcache;
    rc = start(t, w, err);
    if (rc < 0 || t->ready.packing != PACKING_DAMAGED)
        return rc;
    worker_destroy(t->worker);
    t->worker = NULL;
    if (!prepared_again(t->packcache, w))
        return fail(err, LLMOS_ECANCELED, "interrupted");
    return start(t, w, err);
}

static int start_model(struct talk *t, struct worker_options *w, const struct talk_options *o,
                       struct llmos_error *err)
{
    bool computes = w->setup.purpose == PURPOSE_RUN || w->setup.purpose == PURPOSE_ENCODE;

    if (computes && !(o->pack && strcmp(o->pack, "off") == 0))
        return start_packed(t, w, err);
    return start(t, w, err);
}

/* False: there was nothing to forget. */
static bool forget_converted(const struct worker_options *w, const char *model, const char *draft)
{
    bool is_forgotten = w->model_path != model && unlink(w->model_path) == 0;

    return (w->draft_path != draft && unlink(w->draft_path) == 0) || is_forgotten;
}

/* A folder is converted first; should what was kept of it be damaged, once more. */
static int start_folder(struct talk *t, const char *folder, struct worker_options *w,
                        const struct talk_options *o, struct llmos_error *err)
{
    char made[PATH_MAX], made_draft[PATH_MAX];
    int rc = 0;

    for (unsigned tries = 0; tries < 2; tries++) {
        w->model_path = converted_find(folder, w, made, sizeof(made), err);
        if (w->model_path && o->draft)
            w->draft_path = converted_find(o->draft, w, made_draft, sizeof(made_draft), err);
        if (!w->model_path || (o->draft && !w->draft_path))
            return err->code;
        rc = start_model(t, w, o, err);
        if (rc != LLMOS_EFORMAT || !forget_converted(w, folder, o->draft))
            break;
        talk_end(t);
    }
    return rc;
}

int talk_start(struct talk *t, const char *model_path, enum message_purpose purpose,
               const struct talk_options *o, struct llmos_error *err)
{
    struct worker_options w;
    char name[256];
    int rc = talk_fill(&w, o, model_path, name, sizeof(name), err);

    *t =
        (struct talk){.path = o->name ? o->name : model_path, .patience_seconds = PATIENCE_SECONDS};
    if (rc < 0)
        return rc;
    w.setup.purpose = (uint8_t)purpose;
    rc = start_folder(t, model_path, &w, o, err);
    if (t->worker)
        tell_isolation(t, o, w.skip_layers);
    return rc;
}

void talk_end(struct talk *t)
{
    worker_destroy(t->worker);
    packcache_close(t->packcache);
    arena_fini(&t->labels);
    t->worker = NULL;
    t->packcache = NULL;
}

static int cancel(struct talk *t, struct llmos_error *err)
{
    struct message m = {.type = MESSAGE_CANCEL, .id = t->id};

    return worker_send(t->worker, &m, err);
}

/* How far an answer has come. */
struct listening {
    talk_sink sink;
    void *cookie;
    int verdict; /* why it was canceled: a code, 0 if it was not */
    uint64_t canceled_ns;
    unsigned halts; /* halt_count() then: one more means at once */
};

/* Cancels once; the engine answers with DONE. */
static int give_up(struct talk *t, struct listening *l, int verdict, struct llmos_error *err)
{
    l->verdict = verdict;
    l->canceled_ns = clock_ns();
    l->halts = halt_count();
    spinner_clear(&t->spinner);
    return cancel(t, err);
}

static int heed(struct talk *t, struct listening *l, struct llmos_error *err)
{
    if (l->verdict &&
        (clock_seconds_since(l->canceled_ns) > t->patience_seconds || halt_count() > l->halts)) {
        worker_stop(t->worker);
        return fail(err, LLMOS_ECLOSED, "the engine did not stop when asked, it was ended");
    }
    if (!l->verdict && halt_asked()) {
        int rc = give_up(t, l, LLMOS_ECANCELED, err);

        return rc < 0 ? rc : 0;
    }
    return 0;
}

/* 1: the answer is complete. */
static int listen_to(struct talk *t, struct listening *l, const struct message *m,
                     struct message_done *done, struct llmos_error *err)
{
    struct llmos_error why = {0};
    int rc;

    if (m->id != t->id)
        return 0;
    switch (m->type) {
    case MESSAGE_TEXT:
        if (l->verdict || m->text.text.len == 0)
            return 0;
        spinner_clear(&t->spinner);
        t->spinner.on = false; /* from here on the answer shows that something happens */
        rc = l->sink(l->cookie, m->text.text, &why);
        if (rc < 0) {
            int sent = give_up(t, l, rc, err);

            if (err)
                *err = why;
            return sent < 0 ? rc : 0;
        }
        return 0;
    case MESSAGE_DONE:
        *done = m->done;
        return 1;
    case MESSAGE_ERROR:
        return engine_error(&m->error, err);
    default:
        return 0;
    }
}

int talk_generate(struct talk *t, struct message_generate *g, talk_sink sink, void *cookie,
                  struct message_done *done, struct llmos_error *err)
{
    struct message q = {.type = MESSAGE_GENERATE, .id = ++t->id, .generate = *g};
    struct listening l = {.sink = sink, .cookie = cookie};
    int rc = worker_send(t->worker, &q, err);

    spinner_start(&t->spinner, "reading the prompt");
    while (rc == 0) {
        struct message m;

        rc = talk_hear(t, &m, err);
        if (rc < 0)
            break;
        if (rc == 1)
            rc = listen_to(t, &l, &m, done, err);
        if (rc == 0)
            rc = heed(t, &l, err);
        spinner_turn(&t->spinner);
    }
    spinner_clear(&t->spinner);
    if (rc < 0)
        return rc;
    if (l.verdict == LLMOS_ECANCELED)
        return fail(err, LLMOS_ECANCELED, "interrupted");
    return l.verdict;
}

/* 1: that was the last piece. */
static int take_piece(const struct message *m, struct buf *out)
{
    if (m->type == MESSAGE_DATA) {
        buf_put(out, m->data.bytes.at, m->data.bytes.len);
        return m->data.last;
    }
    buf_put(out, m->tokens.tokens, (size_t)m->tokens.count * sizeof(m->tokens.tokens[0]));
    return m->tokens.last;
}

int talk_ask(struct talk *t, struct message *question, const char *what, struct buf *out,
             struct llmos_error *err)
{
    struct message_progress progress = {0};
    int rc;

    rc = talk_send(t, question, err);
    spinner_start(&t->spinner, what);
    while (rc == 0) {
        struct message m;

        if (progress.total)
            spinner_bar(&t->spinner, progress.done, progress.total);
        else
            spinner_turn(&t->spinner);
        rc = talk_hear(t, &m, err);
        if (rc < 0)
            break;
        if (rc == 1 && m.id == t->id && m.type == MESSAGE_PROGRESS)
            progress = m.progress;
        if (rc == 1 && m.id == t->id && m.type == MESSAGE_ERROR)
            rc = engine_error(&m.error, err);
        else if (rc == 1 && m.id == t->id && (m.type == MESSAGE_DATA || m.type == MESSAGE_TOKENS))
            rc = take_piece(&m, out);
        else
            rc = 0;
        if (rc == 0 && out->bad)
            rc = buf_check(out, "the engine's reply", err);
        if (rc == 0 && halt_asked())
            rc = fail(err, LLMOS_ECANCELED, "interrupted");
    }
    spinner_clear(&t->spinner);
    if (rc < 0 && rc != LLMOS_ECANCELED)
        return fail_while(err, rc, "model '%s'", t->path);
    return rc < 0 ? rc : buf_check(out, "the engine's reply", err);
}

void talk_put_isolation(const struct talk *t, struct buf *out)
{
    const struct vce *v = worker_vce(t->worker);
    struct table table;

    table_init(&table);
    table_column(&table, "LAYER", false);
    table_column(&table, "HOLDS", false);
    table_column(&table, "DETAIL", false);
    table_column(&table, "PROMISE", false);
    for (unsigned l = 0; l < VCE_LAYER_COUNT; l++) {
        table_cell(&table, str_of(vce_layer_name((enum vce_layer)l)));
        table_cell(&table, str_of(v->layers[l].holds ? "yes" : "NO"));
        table_cell(&table, str_of(v->layers[l].detail));
        table_cell(&table, str_of(vce_layer_promise((enum vce_layer)l)));
    }
    table_put(&table, "", out);
    table_fini(&table);
}
