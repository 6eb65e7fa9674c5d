/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - see config.h */
#include "daemon/config.h"

#include "base/file.h"
#include "base/mem.h"
#include "base/near.h"
#include "base/opt.h"
#include "base/utf8.h"
#include "sched/hfopen.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define ARENA_MAX        (4u << 20)
#define NAME_BYTES_MAX   128
#define TEXT_BYTES_MAX   4096
#define ENTRIES_MAX      64
#define CONTEXT_MAX      (1u << 24)
#define DEFAULT_DRAFT    8
#define DEFAULT_SESSIONS 4 /* each costs the KV cache of a whole context */

/* --- the schema ------------------------------------------------------------------------------- */

struct yaml_model {
    char *name, *path, *chat_format, *kv_type, *memory, *pack, *speculation, *draft, *encoder;
    uint32_t *draft_max, *context, *sessions, *threads, *cpu_percent;
};

struct yaml_config {
    struct {
        char *address;
        uint32_t *port;
    } listen;
    char *socket, *log, *cache, *cache_max_bytes, *cache_shared;
    char **hosts;
    uint32_t hosts_count;
    struct yaml_model *models;
    uint32_t models_count;
    struct {
        char **required, **skip;
        uint32_t required_count, skip_count;
    } isolation;
    struct {
        char *body;
        uint32_t *queue, *connections, *receive_seconds, *idle_seconds, *drain_seconds,
            *stall_seconds, *start_seconds;
    } limits;
};

#define OPTIONAL CYAML_FLAG_OPTIONAL
#define TEXT(key, type, member) \
    CYAML_FIELD_STRING_PTR(key, OPTIONAL, type, member, 1, TEXT_BYTES_MAX)
#define NUMBER(key, type, member) CYAML_FIELD_UINT_PTR(key, OPTIONAL, type, member)

typedef struct yaml_config yc; /* the macros below want one word, and a line has 100 columns */

static const cyaml_schema_value_t text_entry = {
    CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, TEXT_BYTES_MAX)};

static const cyaml_schema_field_t model_fields[] = {
    TEXT("name", struct yaml_model, name),
    TEXT("path", struct yaml_model, path),
    NUMBER("context", struct yaml_model, context),
    NUMBER("sessions", struct yaml_model, sessions),
    NUMBER("threads", struct yaml_model, threads),
    TEXT("memory", struct yaml_model, memory),
    NUMBER("cpu_percent", struct yaml_model, cpu_percent),
    TEXT("chat_format", struct yaml_model, chat_format),
    TEXT("pack", struct yaml_model, pack),
    TEXT("speculation", struct yaml_model, speculation),
    TEXT("draft", struct yaml_model, draft),
    NUMBER("draft_max", struct yaml_model, draft_max),
    TEXT("kv_type", struct yaml_model, kv_type),
    TEXT("encoder", struct yaml_model, encoder),
    CYAML_FIELD_END};

static const cyaml_schema_value_t model_entry = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct yaml_model, model_fields)};

static const cyaml_schema_field_t listen_fields[] = {
    TEXT("address", __typeof__(((yc *)0)->listen), address),
    NUMBER("port", __typeof__(((yc *)0)->listen), port), CYAML_FIELD_END};

static const cyaml_schema_field_t isolation_fields[] = {
    CYAML_FIELD_SEQUENCE("required", OPTIONAL | CYAML_FLAG_POINTER,
                         __typeof__(((yc *)0)->isolation), required, &text_entry, 0, ENTRIES_MAX),
    CYAML_FIELD_SEQUENCE("skip", OPTIONAL | CYAML_FLAG_POINTER, __typeof__(((yc *)0)->isolation),
                         skip, &text_entry, 0, ENTRIES_MAX),
    CYAML_FIELD_END};

static const cyaml_schema_field_t limits_fields[] = {
    TEXT("body", __typeof__(((yc *)0)->limits), body),
    NUMBER("queue", __typeof__(((yc *)0)->limits), queue),
    NUMBER("connections", __typeof__(((yc *)0)->limits), connections),
    NUMBER("receive_seconds", __typeof__(((yc *)0)->limits), receive_seconds),
    NUMBER("idle_seconds", __typeof__(((yc *)0)->limits), idle_seconds),
    NUMBER("drain_seconds", __typeof__(((yc *)0)->limits), drain_seconds),
    NUMBER("stall_seconds", __typeof__(((yc *)0)->limits), stall_seconds),
    NUMBER("start_seconds", __typeof__(((yc *)0)->limits), start_seconds),
    CYAML_FIELD_END};

static const cyaml_schema_field_t top_fields[] = {
    CYAML_FIELD_MAPPING("listen", OPTIONAL, yc, listen, listen_fields),
    TEXT("socket", yc, socket),
    CYAML_FIELD_SEQUENCE("hosts", OPTIONAL | CYAML_FLAG_POINTER, yc, hosts, &text_entry, 0,
                         SERVER_NAMES_MAX),
    TEXT("log", yc, log),
    TEXT("cache", yc, cache),
    TEXT("cache_max_bytes", yc, cache_max_bytes),
    TEXT("cache_shared", yc, cache_shared),
    CYAML_FIELD_SEQUENCE("models", OPTIONAL | CYAML_FLAG_POINTER, yc, models, &model_entry, 0,
                         SUPERVISE_MODELS_MAX),
    CYAML_FIELD_MAPPING("isolation", OPTIONAL, yc, isolation, isolation_fields),
    CYAML_FIELD_MAPPING("limits", OPTIONAL, yc, limits, limits_fields),
    CYAML_FIELD_END};

static const cyaml_schema_value_t schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, yc, top_fields)};

/* Numbers and their ranges; 0 means "as it comes" where the range begins with it. */
static const struct range {
    const char *key;
    uint32_t min, max;
} ranges[] = {
    {"port", 0, 65535},         {"context", 0, CONTEXT_MAX},  {"sessions", 1, 1024},
    {"threads", 0, 1024},       {"cpu_percent", 0, 102400},   {"queue", 1, 1024},
    {"connections", 1, 65536},  {"receive_seconds", 1, 3600}, {"idle_seconds", 1, 3600},
    {"drain_seconds", 0, 3600}, {"stall_seconds", 0, 86400},  {"start_seconds", 0, 86400},
    {"draft_max", 1, 16},
};

/* --- checks of single values ------------------------------------------------------------------ */

static int check_number(const char *key, const char *text, struct llmos_error *err)
{
    char *end = NULL;
    unsigned long v = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;

    if (!end || *end || (text[0] == '0' && text[1]))
        return fail(err, LLMOS_EINVAL, "'%s' is a whole number, not '%s'", key, text);
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (strcmp(ranges[i].key, key) == 0 && (v < ranges[i].min || v > ranges[i].max))
            return fail(err, LLMOS_EINVAL, "'%s' is %s, it must be %u to %u", key, text,
                        ranges[i].min, ranges[i].max);
    return 0;
}

int config_log_level(const char *name, enum log_level *level, struct llmos_error *err)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};

    for (int i = 0; i < 4; i++)
        if (strcmp(name, names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    return fail(err, LLMOS_EINVAL, "'%s' is no log level; error, warn, info and debug are", name);
}

static int check_kv_type(const char *name, struct llmos_error *err)
{
    if (strcmp(name, "f16") == 0 || strcmp(name, "q8_0") == 0)
        return 0;
    return fail(err, LLMOS_EINVAL, "'%s' is no type for a cache; f16 and q8_0 are", name);
}

/* Model names stand in URLs, labels and logs. */
static int check_name(const char *name, struct llmos_error *err)
{
    size_t n = strlen(name);

    if (n == 0 || n > NAME_BYTES_MAX)
        return fail(err, LLMOS_EINVAL, "the name of a model has 1 to %d characters",
                    NAME_BYTES_MAX);
    for (size_t i = 0; i < n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@+",
                    name[i]))
            return fail(err, LLMOS_EINVAL,
                        "'%s' is no name for a model: letters, digits and . _ - : / @ + are", name);
    return 0;
}

static int check_layer(const char *name, bool may_be_default, struct llmos_error *err)
{
    struct near near = {.word = name};

    if (vce_layer_by_name(name) >= 0 ||
        (may_be_default && (strcmp(name, "default") == 0 || strcmp(name, "none") == 0)))
        return 0;
    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        near_offer(&near, vce_layer_name((enum vce_layer)i));
    if (near.best)
        return fail(err, LLMOS_EINVAL, "'%s' is no layer of isolation; did you mean '%s'?", name,
                    near.best);
    return fail(err, LLMOS_EINVAL, "'%s' is no layer of isolation", name);
}

static int check_word(const char *key, const char *text, const char *one, const char *other,
                      struct llmos_error *err)
{
    if (strcmp(text, one) == 0 || strcmp(text, other) == 0)
        return 0;
    return fail(err, LLMOS_EINVAL, "'%s' is '%s', it must be %s or %s", key, text, one, other);
}

static int check_text(const char *key, const char *text, struct llmos_error *err)
{
    enum log_level level;
    uint64_t bytes;

    if (strcmp(key, "log") == 0)
        return config_log_level(text, &level, err);
    if (strcmp(key, "kv_type") == 0)
        return check_kv_type(text, err);
    if (strcmp(key, "name") == 0)
        return check_name(text, err);
    if (strcmp(key, "required") == 0 || strcmp(key, "skip") == 0)
        return check_layer(text, key[0] == 'r', err);
    if (strcmp(key, "speculation") == 0 && strcmp(text, "lookup") != 0 && strcmp(text, "off") != 0)
        return fail(err, LLMOS_EINVAL, "'%s' is no kind of speculation; lookup and off are", text);
    if (strcmp(key, "pack") == 0)
        return check_word(key, text, "auto", "off", err);
    if (strcmp(key, "cache_shared") == 0 || strcmp(key, "encoder") == 0)
        return check_word(key, text, "true", "false", err);
    if (strcmp(key, "cache") == 0 && text[0] != '/')
        return fail(err, LLMOS_EINVAL, "'cache' is a folder's whole path, it begins with '/'");
    if (strcmp(key, "memory") == 0 || strcmp(key, "body") == 0 ||
        strcmp(key, "cache_max_bytes") == 0) {
        int rc = opt_size(text, &bytes, err);

        if (rc == 0 && key[0] == 'b' && (bytes < 1024 || bytes > FRAME_TO_ENGINE_MAX / 2))
            return fail(err, LLMOS_EINVAL, "'body' is %s, it must be 1K to %uM", text,
                        FRAME_TO_ENGINE_MAX / 2 >> 20);
        return rc < 0 ? fail_while(err, rc, "'%s'", key) : 0;
    }
    return 0;
}

/* --- the walk over the file ------------------------------------------------------------------- */

struct walk {
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
    const char *file;
    struct llmos_error *err;
};

static int wrong(struct walk *w, int code, const char *format, ...) PRINTF_LIKE(3, 4);

static int wrong(struct walk *w, int code, const char *format, ...)
{
    struct llmos_error inner = {0};
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    fail(&inner, code, "%s", text);
    return fail(w->err, code, "%s line %zu column %zu: %s", w->file, w->event.start_mark.line + 1,
                w->event.start_mark.column + 1, inner.text);
}

/* The next event; aliases, anchors and tags are refused here, so nothing can multiply. */
static int next(struct walk *w)
{
    const yaml_char_t *anchor = NULL;

    if (w->has_event)
        yaml_event_delete(&w->event);
    w->has_event = false;
    if (!yaml_parser_parse(&w->parser, &w->event)) {
        if (w->parser.error == YAML_MEMORY_ERROR)
            return fail(w->err, LLMOS_ENOMEM, "no memory to read '%s'", w->file);
        return fail(w->err, LLMOS_EFORMAT, "%s line %zu column %zu: %s", w->file,
                    w->parser.problem_mark.line + 1, w->parser.problem_mark.column + 1,
                    w->parser.problem ? w->parser.problem : "this is not YAML");
    }
    w->has_event = true;
    if (w->event.type == YAML_SCALAR_EVENT)
        anchor = w->event.data.scalar.anchor;
    else if (w->event.type == YAML_SEQUENCE_START_EVENT)
        anchor = w->event.data.sequence_start.anchor;
    else if (w->event.type == YAML_MAPPING_START_EVENT)
        anchor = w->event.data.mapping_start.anchor;
    if (anchor || w->event.type == YAML_ALIAS_EVENT)
        return wrong(w, LLMOS_EUNSUPPORTED, "anchors and aliases are not accepted here");
    return 0;
}

static const char *kind_of(cyaml_type_e type)
{
    return type == CYAML_MAPPING    ? "keys with values"
           : type == CYAML_SEQUENCE ? "a list"
           : type == CYAML_UINT     ? "a whole number"
                                    : "a text";
}

static int walk_value(struct walk *w, const char *key, const cyaml_schema_value_t *v);

static int walk_scalar(struct walk *w, const char *key, const cyaml_schema_value_t *v)
{
    const char *text = (const char *)w->event.data.scalar.value;
    size_t n = w->event.data.scalar.length;
    struct llmos_error err = {0};
    int rc;

    if (v->type != CYAML_UINT && v->type != CYAML_STRING)
        return wrong(w, LLMOS_EINVAL, "'%s' has %s, not a single value", key, kind_of(v->type));
    if (n == 0 || n > TEXT_BYTES_MAX || strlen(text) != n)
        return wrong(w, LLMOS_EINVAL, n ? "'%s' is too long or holds a zero byte" : "'%s' is empty",
                     key);
    rc = v->type == CYAML_UINT ? check_number(key, text, &err) : check_text(key, text, &err);
    return rc < 0 ? wrong(w, rc, "%s", err.text) : 0;
}

static int walk_sequence(struct walk *w, const char *key, const cyaml_schema_value_t *v)
{
    uint32_t count = 0;
    int rc;

    if (v->type != CYAML_SEQUENCE)
        return wrong(w, LLMOS_EINVAL, "'%s' has %s, not a list", key, kind_of(v->type));
    while ((rc = next(w)) == 0 && w->event.type != YAML_SEQUENCE_END_EVENT) {
        if (++count > v->sequence.max)
            return wrong(w, LLMOS_ELIMIT, "'%s' has more than %u entries", key, v->sequence.max);
        rc = walk_value(w, key, v->sequence.entry);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int find_key(struct walk *w, const char *parent, const cyaml_schema_field_t *fields,
                    unsigned *index)
{
    const char *key = (const char *)w->event.data.scalar.value;
    struct near near = {.word = key};

    if (w->event.type != YAML_SCALAR_EVENT)
        return wrong(w, LLMOS_EINVAL, "a key is a plain word");
    for (unsigned i = 0; fields[i].key; i++) {
        if (strcmp(fields[i].key, key) == 0) {
            *index = i;
            return 0;
        }
        near_offer(&near, fields[i].key);
    }
    if (near.best)
        return wrong(w, LLMOS_EINVAL, "unknown key '%s' in %s; did you mean '%s'?", key, parent,
                     near.best);
    return wrong(w, LLMOS_EINVAL, "unknown key '%s' in %s", key, parent);
}

static int walk_mapping(struct walk *w, const char *key, const cyaml_schema_value_t *v)
{
    uint32_t seen = 0; /* no mapping of the schema has 32 keys */
    unsigned i = 0;
    int rc;

    if (v->type != CYAML_MAPPING)
        return wrong(w, LLMOS_EINVAL, "'%s' is %s, not keys with values", key, kind_of(v->type));
    while ((rc = next(w)) == 0 && w->event.type != YAML_MAPPING_END_EVENT) {
        rc = find_key(w, key, v->mapping.fields, &i);
        if (rc < 0)
            return rc;
        if (seen & 1u << i)
            return wrong(w, LLMOS_EINVAL, "'%s' is given twice", v->mapping.fields[i].key);
        seen |= 1u << i;
        rc = next(w);
        if (rc == 0)
            rc = walk_value(w, v->mapping.fields[i].key, &v->mapping.fields[i].value);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* Recursion goes as deep as the schema, not as the file. */
static int walk_value(struct walk *w, const char *key, const cyaml_schema_value_t *v)
{
    if (w->event.type == YAML_SCALAR_EVENT)
        return walk_scalar(w, key, v);
    if (w->event.type == YAML_SEQUENCE_START_EVENT)
        return walk_sequence(w, key, v);
    if (w->event.type == YAML_MAPPING_START_EVENT)
        return walk_mapping(w, key, v);
    return wrong(w, LLMOS_EFORMAT, "something else was expected here");
}

/* 1: there is a document and it fits the schema; 0: there is none. */
static int walk_file(struct walk *w)
{
    int rc = next(w);

    if (rc == 0)
        rc = next(w);
    if (rc < 0 || w->event.type == YAML_STREAM_END_EVENT)
        return rc;
    rc = next(w);
    if (rc == 0 && w->event.type == YAML_SCALAR_EVENT && w->event.data.scalar.length == 0)
        return 0; /* "---" and comments */
    if (rc == 0)
        rc = walk_value(w, "the file", &schema);
    if (rc == 0)
        rc = next(w);
    if (rc == 0)
        rc = next(w);
    if (rc == 0 && w->event.type != YAML_STREAM_END_EVENT)
        return wrong(w, LLMOS_EINVAL, "only one document is accepted");
    return rc < 0 ? rc : 1;
}

static int check_file(struct str yaml, const char *file, struct llmos_error *err)
{
    struct walk w = {.file = file, .err = err};
    int rc;

    if (yaml.len > CONFIG_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT, "%s has %zu bytes, at most %u are accepted", file, yaml.len,
                    CONFIG_BYTES_MAX);
    if (utf8_valid_bytes(yaml) < yaml.len)
        return fail(err, LLMOS_EFORMAT, "%s is not valid UTF-8 from byte %zu on", file,
                    utf8_valid_bytes(yaml));
    if (!yaml_parser_initialize(&w.parser))
        return fail(err, LLMOS_ENOMEM, "no memory to read '%s'", file);
    yaml_parser_set_input_string(&w.parser, (const unsigned char *)yaml.at, yaml.len);
    rc = walk_file(&w);
    if (w.has_event)
        yaml_event_delete(&w.event);
    yaml_parser_delete(&w.parser);
    return rc;
}

/* --- from the file's struct to ours ----------------------------------------------------------- */

static int keep(struct config *c, const char *text, const char **to, struct llmos_error *err)
{
    char *copy;

    if (!text)
        return 0;
    copy = arena_strndup(&c->arena, text, strlen(text));
    if (!copy)
        return fail(err, LLMOS_ENOMEM, "no memory for the configuration");
    *to = copy;
    return 0;
}

static void set(uint32_t *to, const uint32_t *from)
{
    if (from)
        *to = *from;
}

static struct worker_options *new_model(struct config *c, struct llmos_error *err)
{
    struct worker_options *m;

    if (c->model_count == SUPERVISE_MODELS_MAX) {
        fail(err, LLMOS_ELIMIT, "more than %d models", SUPERVISE_MODELS_MAX);
        return NULL;
    }
    m = &c->models[c->model_count];
    c->runs_plain[c->model_count] = false;
    *m = (struct worker_options){.setup = {.purpose = PURPOSE_RUN,
                                           .sessions_max = DEFAULT_SESSIONS,
                                           .chat_format = STR(""),
                                           .kv_type = STR("")}};
    return m;
}

/* Counts the model if its name is new. */
static int end_model(struct config *c, struct llmos_error *err)
{
    const char *name = c->models[c->model_count].name;

    for (unsigned i = 0; i < c->model_count; i++)
        if (strcmp(c->models[i].name, name) == 0)
            return fail(err, LLMOS_EINVAL, "two models have the name '%s'", name);
    c->model_count++;
    return 0;
}

/* A path in the file is relative to the file, so that the daemon may start anywhere. */
static int keep_path(struct config *c, const char *path, const char *file, const char **to,
                     struct llmos_error *err)
{
    const char *slash = strrchr(file, '/');
    char joined[2 * TEXT_BYTES_MAX + 2];

    if (path[0] == '/' || !slash || strlen(file) > TEXT_BYTES_MAX)
        return keep(c, path, to, err);
    snprintf(joined, sizeof(joined), "%.*s/%s", (int)(slash - file), file, path);
    return keep(c, joined, to, err);
}

static int take_model(struct config *c, const struct yaml_model *y, const char *file,
                      struct llmos_error *err)
{
    struct worker_options *m = new_model(c, err);
    const char *format = NULL, *kv_type = NULL;

    if (!m)
        return LLMOS_ELIMIT;
    if (!y->name || !y->path)
        return fail(err, LLMOS_EINVAL, "%s: model %u has no %s", file, c->model_count + 1,
                    y->name ? "path" : "name");
    if (keep(c, y->name, &m->name, err) < 0 ||
        keep_path(c, y->path, file, &m->model_path, err) < 0 ||
        keep(c, y->chat_format, &format, err) < 0 || keep(c, y->kv_type, &kv_type, err) < 0)
        return LLMOS_ENOMEM;
    if (format)
        m->setup.chat_format = str_of(format);
    if (kv_type)
        m->setup.kv_type = str_of(kv_type);
    set(&m->setup.context_tokens, y->context);
    set(&m->setup.sessions_max, y->sessions);
    set(&m->setup.threads, y->threads);
    set(&m->cpu_percent, y->cpu_percent);
    c->runs_plain[c->model_count] = y->pack && strcmp(y->pack, "off") == 0;
    m->setup.draft_lookup = y->speculation && strcmp(y->speculation, "lookup") == 0;
    if (y->draft && keep_path(c, y->draft, file, &m->draft_path, err) < 0)
        return LLMOS_ENOMEM;
    if (m->setup.draft_lookup || m->draft_path)
        m->setup.draft_max = DEFAULT_DRAFT;
    if (m->setup.draft_max)
        set(&m->setup.draft_max, y->draft_max);
    if (y->memory && opt_size(y->memory, &m->memory_max_bytes, err) < 0)
        return LLMOS_EINVAL;
    if (y->encoder && strcmp(y->encoder, "true") == 0)
        m->setup.purpose = PURPOSE_ENCODE;
    if (m->setup.purpose == PURPOSE_ENCODE && m->setup.draft_max)
        return fail(err, LLMOS_EINVAL, "%s: model '%s' is an encoder: it guesses nothing ahead",
                    file, m->name);
    return end_model(c, err);
}

static void take_layers(struct config *c, const struct yaml_config *y)
{
    if (y->isolation.required_count)
        c->require_default = false;
    for (uint32_t i = 0; i < y->isolation.required_count; i++) {
        int layer = vce_layer_by_name(y->isolation.required[i]);

        if (layer >= 0)
            c->required |= VCE_BIT(layer);
        else if (strcmp(y->isolation.required[i], "default") == 0)
            c->require_default = true;
    }
    for (uint32_t i = 0; i < y->isolation.skip_count; i++) {
        int layer = vce_layer_by_name(y->isolation.skip[i]);

        if (layer >= 0)
            c->skip |= VCE_BIT(layer);
    }
}

static int take_file(struct config *c, const struct yaml_config *y, const char *file,
                     struct llmos_error *err)
{
    if (keep(c, y->listen.address, &c->address, err) < 0 || keep(c, y->socket, &c->socket, err) < 0)
        return LLMOS_ENOMEM;
    set(&c->port, y->listen.port);
    if (y->log && config_log_level(y->log, &c->log, err) < 0)
        return LLMOS_EINVAL;
    for (uint32_t i = 0; i < y->hosts_count && c->host_count < SERVER_NAMES_MAX; i++)
        if (keep(c, y->hosts[i], &c->hosts[c->host_count++], err) < 0)
            return LLMOS_ENOMEM;
    take_layers(c, y);
    if (keep(c, y->cache, &c->cache, err) < 0)
        return LLMOS_ENOMEM;
    if (y->cache_max_bytes && opt_size(y->cache_max_bytes, &c->cache_max_bytes, err) < 0)
        return LLMOS_EINVAL;
    c->cache_shared = y->cache_shared && strcmp(y->cache_shared, "true") == 0;
    if (y->limits.body && opt_size(y->limits.body, &c->body_bytes, err) < 0)
        return LLMOS_EINVAL;
    set(&c->queue, y->limits.queue);
    set(&c->connections, y->limits.connections);
    set(&c->receive_seconds, y->limits.receive_seconds);
    set(&c->idle_seconds, y->limits.idle_seconds);
    set(&c->drain_seconds, y->limits.drain_seconds);
    set(&c->stall_seconds, y->limits.stall_seconds);
    set(&c->start_seconds, y->limits.start_seconds);
    for (uint32_t i = 0; i < y->models_count; i++) {
        int rc = take_model(c, &y->models[i], file, err);

        if (rc < 0)
            return rc;
    }
    return 0;
}

static void *cyaml_memory(void *cookie, void *old, size_t size)
{
    (void)cookie;
    if (size > 0)
        return mem_resize(old, size, 1);
    mem_free(old);
    return NULL;
}

int config_load(struct config *c, struct str yaml, const char *file, struct llmos_error *err)
{
    const cyaml_config_t how = {
        .mem_fn = cyaml_memory, .log_level = CYAML_LOG_ERROR, .flags = CYAML_CFG_NO_ALIAS};
    struct yaml_config *y = NULL;
    cyaml_err_t bad;
    int rc = check_file(yaml, file, err);

    if (rc <= 0)
        return rc;
    bad = cyaml_load_data((const uint8_t *)yaml.at, yaml.len, &how, &schema, (cyaml_data_t **)&y,
                          NULL);
    if (bad == CYAML_ERR_OOM)
        return fail(err, LLMOS_ENOMEM, "no memory to read '%s'", file);
    if (bad != CYAML_OK)
        return fail(err, LLMOS_EFORMAT, "%s: %s", file, cyaml_strerror(bad));
    if (!y)
        return 0;
    rc = take_file(c, y, file, err);
    cyaml_free(&how, &schema, y, 0);
    return rc;
}

int config_load_file(struct config *c, const char *path, struct llmos_error *err)
{
    struct buf yaml;
    int rc;

    buf_init(&yaml, CONFIG_BYTES_MAX);
    rc = file_read(path, &yaml, err);
    if (rc == 0)
        rc = config_load(c, buf_str(&yaml), path, err);
    buf_fini(&yaml);
    return rc;
}

/* --- the rest --------------------------------------------------------------------------------- */

void config_init(struct config *c)
{
    *c = (struct config){.address = "127.0.0.1",
                         .port = CONFIG_PORT,
                         .log = LOG_INFO,
                         .require_default = true,
                         .body_bytes = 4u << 20,
                         .queue = 256,
                         .connections = 256,
                         .receive_seconds = 60,
                         .idle_seconds = 30,
                         .drain_seconds = 30,
                         .stall_seconds = 300,
                         .start_seconds = 600};
    arena_init(&c->arena, ARENA_MAX);
}

void config_fini(struct config *c)
{
    arena_fini(&c->arena);
    c->model_count = c->host_count = 0;
}

static int add_model(struct config *c, const char *text, struct worker_options **added,
                     struct llmos_error *err)
{
    const char *equals = strchr(text, '='), *slash = strrchr(text, '/');
    const char *path = equals ? equals + 1 : text;
    const char *name = equals ? text : slash ? slash + 1 : text;
    size_t n = equals ? (size_t)(equals - text) : strlen(name);
    struct worker_options *m = new_model(c, err);
    char *copy;
    int rc;

    if (!m)
        return LLMOS_ELIMIT;
    if (!equals && parts_stem(name))
        n = parts_stem(name);
    else if (!equals && n > 5 && strcmp(name + n - 5, ".gguf") == 0)
        n -= 5;
    copy = arena_strndup(&c->arena, name, n);
    if (!copy)
        return fail(err, LLMOS_ENOMEM, "no memory for the configuration");
    m->name = copy;
    rc = check_name(copy, err);
    if (rc == 0 && !path[0])
        rc = fail(err, LLMOS_EINVAL, "model '%s' has no path", copy);
    if (rc == 0)
        rc = keep(c, path, &m->model_path, err);
    if (rc < 0)
        return rc;
    /* One that the file knows keeps its settings and gets another path. */
    for (unsigned i = 0; i < c->model_count; i++)
        if (strcmp(c->models[i].name, copy) == 0) {
            c->models[i].model_path = m->model_path;
            *added = &c->models[i];
            return 0;
        }
    c->model_count++;
    *added = m;
    return 0;
}

static int can_open(const char *path, struct llmos_error *err)
{
    struct parts p;
    int rc;

    if (hfopen_is_folder(path)) /* folders.h looks into it */
        return 0;
    rc = parts_open(&p, path, err);

    if (rc == 0)
        parts_close(&p);
    return rc;
}

int config_add_model(struct config *c, const char *text, struct llmos_error *err)
{
    struct worker_options *m;

    return add_model(c, text, &m, err);
}

int config_add_encoder(struct config *c, const char *text, struct llmos_error *err)
{
    struct worker_options *m;
    int rc = add_model(c, text, &m, err);

    if (rc == 0)
        m->setup.purpose = PURPOSE_ENCODE;
    return rc;
}

int config_check(const struct config *c, struct llmos_error *err)
{
    if (c->model_count == 0)
        return fail(err, LLMOS_EINVAL,
                    "there is no model to serve; give --model NAME=PATH or 'models' in llmos.yaml");
    for (unsigned i = 0; i < c->model_count; i++) {
        int rc = can_open(c->models[i].model_path, err);

        if (rc < 0)
            return fail_while(err, rc, "model '%s'", c->models[i].name);
        rc = c->models[i].draft_path ? can_open(c->models[i].draft_path, err) : 0;
        if (rc < 0)
            return fail_while(err, rc, "draft model of '%s'", c->models[i].name);
    }
    return 0;
}
