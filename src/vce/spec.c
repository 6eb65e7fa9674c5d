/* SPDX-License-Identifier: Apache-2.0 */
/* spec.c - see spec.h */
#include "vce/spec.h"

#include "base/mem.h"

#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>

static void cleanup_json(json_t **j)
{
    json_decref(*j);
}

static const struct {
    const char *name, *promise;
} layers_known[] = {
#define LAYER(id, name, promise) {name, promise},
    VCE_LAYERS(LAYER)
#undef LAYER
};

const char *vce_layer_name(enum vce_layer layer)
{
    return (unsigned)layer < VCE_LAYER_COUNT ? layers_known[layer].name : "unknown";
}

const char *vce_layer_promise(enum vce_layer layer)
{
    return (unsigned)layer < VCE_LAYER_COUNT ? layers_known[layer].promise : "unknown";
}

int vce_layer_by_name(const char *name)
{
    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        if (strcmp(layers_known[i].name, name) == 0)
            return i;
    return -1;
}

void spec_set_detail(char detail[SPEC_DETAIL_SIZE], const char *text)
{
    size_t n = strlen(text);

    if (n >= SPEC_DETAIL_SIZE) {
        n = SPEC_DETAIL_SIZE - 1;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) /* JSON takes only whole ones */
            n--;
    }
    memmove(detail, text, n);
    detail[n] = 0;
}

bool spec_name_is_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");

    return n > 0 && n <= SPEC_NAME_MAX && name[n] == 0;
}

/* --- writing ------------------------------------------------------------------------------- */

static void put_json(struct buf *out, json_t *j)
{
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

    if (text) {
        buf_puts(out, text);
        buf_putc(out, '\n');
    } else {
        out->bad = true; /* no memory; buf_check will say so */
    }
    free(text);
    json_decref(j);
}

static json_t *names_of(unsigned bits)
{
    json_t *list = json_array();

    for (int i = 0; list && i < VCE_LAYER_COUNT; i++)
        if (bits & VCE_BIT(i))
            json_array_append_new(list, json_string(layers_known[i].name));
    return list;
}

void spec_put(struct buf *out, const struct spec *s)
{
    put_json(out,
             json_pack("{s:s, s:o, s:o, s:b, s:b, s:I, s:I, s:I, s:s, s:s, s:s}", "name", s->name,
                       "skip", names_of(s->skip), "required", names_of(s->required),
                       "require_default", (int)s->require_default, "is_background",
                       (int)s->is_background, "memory_max_bytes", (json_int_t)s->memory_max_bytes,
                       "mapped_bytes", (json_int_t)s->mapped_bytes, "write_max_bytes",
                       (json_int_t)s->write_max_bytes, "cgroup", s->cgroup, "limits_problem",
                       s->limits_problem, "limits_detail", s->limits_detail));
}

void report_put_pid(struct buf *out, pid_t pid)
{
    put_json(out, json_pack("{s:i}", "pid", (int)pid));
}

void report_put_error(struct buf *out, const struct llmos_error *error)
{
    put_json(out, json_pack("{s:{s:i, s:s}}", "error", "code", error->code, "text", error->text));
}

void report_put_layers(struct buf *out, const struct vce_layer_state layers[VCE_LAYER_COUNT])
{
    json_t *all = json_object();

    for (int i = 0; all && i < VCE_LAYER_COUNT; i++)
        json_object_set_new(
            all, layers_known[i].name,
            json_pack("{s:b, s:s}", "holds", (int)layers[i].holds, "detail", layers[i].detail));
    put_json(out, json_pack("{s:o}", "layers", all));
}

/* --- reading ------------------------------------------------------------------------------- */

static int get_text(const json_t *value, const char *key, char *out, size_t size,
                    struct llmos_error *err)
{
    const char *text = json_string_value(value);
    size_t n = json_string_length(value);

    if (!text)
        return fail(err, LLMOS_EFORMAT, "'%s' is not a text", key);
    if (n >= size)
        return fail(err, LLMOS_ELIMIT, "'%s' has %zu bytes, at most %zu are accepted", key, n,
                    size - 1);
    if (memchr(text, 0, n))
        return fail(err, LLMOS_EFORMAT, "'%s' contains a zero byte", key);
    memcpy(out, text, n + 1);
    return 0;
}

static int get_bool(const json_t *value, const char *key, bool *out, struct llmos_error *err)
{
    if (!json_is_boolean(value))
        return fail(err, LLMOS_EFORMAT, "'%s' is neither true nor false", key);
    *out = json_is_true(value);
    return 0;
}

static int get_size(const json_t *value, const char *key, uint64_t *out, struct llmos_error *err)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return fail(err, LLMOS_EFORMAT, "'%s' is not a number of bytes", key);
    *out = (uint64_t)json_integer_value(value);
    return 0;
}

static int get_layers(const json_t *value, const char *key, unsigned *out, struct llmos_error *err)
{
    unsigned bits = 0;
    size_t i;
    json_t *name;

    if (!json_is_array(value))
        return fail(err, LLMOS_EFORMAT, "'%s' is not a list", key);
    json_array_foreach(value, i, name)
    {
        int layer = json_is_string(name) ? vce_layer_by_name(json_string_value(name)) : -1;

        if (layer < 0)
            return fail(err, LLMOS_EFORMAT, "'%s' names a layer that does not exist", key);
        bits |= VCE_BIT(layer);
    }
    *out = bits;
    return 0;
}

static json_t *load(struct str text, struct llmos_error *err)
{
    json_error_t where;
    json_t *j;

    if (text.len > SPEC_BYTES_MAX) {
        fail(err, LLMOS_ELIMIT, "%zu bytes, at most %d are accepted", text.len, SPEC_BYTES_MAX);
        return NULL;
    }
    j = json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES, &where);
    if (!j && json_error_code(&where) == json_error_out_of_memory)
        fail(err, LLMOS_ENOMEM, "no memory for %zu bytes of JSON", text.len);
    else if (!j)
        fail(err, LLMOS_EFORMAT, "not JSON: %s", where.text);
    else if (!json_is_object(j)) {
        fail(err, LLMOS_EFORMAT, "not a JSON object");
        json_decref(j);
        j = NULL;
    }
    return j;
}

static int get_member(struct spec *s, const char *key, const json_t *v, struct llmos_error *err)
{
    if (strcmp(key, "name") == 0) {
        int rc = get_text(v, key, s->name, sizeof(s->name), err);

        if (rc == 0 && !spec_name_is_valid(s->name))
            rc = fail(err, LLMOS_EFORMAT, "'name' may have only a-z, 0-9 and '-'");
        return rc;
    }
    if (strcmp(key, "skip") == 0)
        return get_layers(v, key, &s->skip, err);
    if (strcmp(key, "required") == 0)
        return get_layers(v, key, &s->required, err);
    if (strcmp(key, "require_default") == 0)
        return get_bool(v, key, &s->require_default, err);
    if (strcmp(key, "memory_max_bytes") == 0)
        return get_size(v, key, &s->memory_max_bytes, err);
    if (strcmp(key, "mapped_bytes") == 0)
        return get_size(v, key, &s->mapped_bytes, err);
    if (strcmp(key, "write_max_bytes") == 0)
        return get_size(v, key, &s->write_max_bytes, err);
    if (strcmp(key, "is_background") == 0)
        return get_bool(v, key, &s->is_background, err);
    if (strcmp(key, "cgroup") == 0)
        return get_text(v, key, s->cgroup, sizeof(s->cgroup), err);
    if (strcmp(key, "limits_problem") == 0)
        return get_text(v, key, s->limits_problem, sizeof(s->limits_problem), err);
    if (strcmp(key, "limits_detail") == 0)
        return get_text(v, key, s->limits_detail, sizeof(s->limits_detail), err);
    return fail(err, LLMOS_EFORMAT, "'%s' is not known", key);
}

int spec_parse(struct spec *s, struct str text, struct llmos_error *err)
{
    CLEANUP(json) json_t *j = load(text, err);
    struct spec read = {.require_default = true};
    struct llmos_error why;
    const char *key;
    json_t *value;

    if (!j)
        return fail_while(err, err ? err->code : LLMOS_EFORMAT, "sandbox specification");
    json_object_foreach(j, key, value)
    {
        int rc = get_member(&read, key, value, &why);

        if (rc < 0)
            return fail(err, rc, "sandbox specification: %s", why.text);
    }
    if (!read.name[0])
        return fail(err, LLMOS_EFORMAT, "sandbox specification: 'name' is missing");
    *s = read;
    return 0;
}

static int get_pid(struct report *r, const json_t *v, struct llmos_error *err)
{
    json_int_t n = json_integer_value(v);

    if (!json_is_integer(v) || n <= 0 || n > INT_MAX)
        return fail(err, LLMOS_EFORMAT, "'pid' is not a process");
    r->pid = (pid_t)n;
    return 0;
}

static int get_states(struct report *r, json_t *v, struct llmos_error *err)
{
    const char *key;
    json_t *state;
    int rc;

    if (!json_is_object(v) || json_object_size(v) != VCE_LAYER_COUNT)
        return fail(err, LLMOS_EFORMAT, "'layers' does not name every layer");
    json_object_foreach(v, key, state)
    {
        int layer = vce_layer_by_name(key);
        struct vce_layer_state *to;

        if (layer < 0 || json_object_size(state) != 2)
            return fail(err, LLMOS_EFORMAT, "'layers' has a strange member");
        to = &r->layers[layer];
        rc = get_bool(json_object_get(state, "holds"), "holds", &to->holds, err);
        if (rc == 0)
            rc = get_text(json_object_get(state, "detail"), "detail", to->detail,
                          sizeof(to->detail), err);
        if (rc < 0)
            return rc;
    }
    r->is_complete = true;
    return 0;
}

static int get_error(struct report *r, const json_t *v, struct llmos_error *err)
{
    json_int_t code = json_integer_value(json_object_get(v, "code"));
    char text[sizeof(r->error.text)];
    int rc = get_text(json_object_get(v, "text"), "text", text, sizeof(text), err);

    if (rc < 0)
        return rc;
    if (code >= 0 || code < -1000)
        return fail(err, LLMOS_EFORMAT, "'code' is not an error");
    fail(&r->error, (int)code, "%s", text);
    return 0;
}

static int get_report_line(struct report *r, struct str line, struct llmos_error *err)
{
    CLEANUP(json) json_t *j = load(line, err);
    const char *key;
    json_t *value;
    int rc;

    if (!j)
        return err->code;
    json_object_foreach(j, key, value)
    {
        if (strcmp(key, "pid") == 0)
            rc = get_pid(r, value, err);
        else if (strcmp(key, "layers") == 0)
            rc = get_states(r, value, err);
        else if (strcmp(key, "error") == 0)
            rc = get_error(r, value, err);
        else
            rc = fail(err, LLMOS_EFORMAT, "'%s' is not known", key);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int report_parse(struct report *r, struct str text, struct llmos_error *err)
{
    struct report read;
    struct llmos_error why = {0};
    int rc = 0;

    memset(&read, 0, sizeof(read));
    if (text.len > SPEC_BYTES_MAX)
        return fail(err, LLMOS_ELIMIT, "report of the sandbox: %zu bytes, at most %d are accepted",
                    text.len, SPEC_BYTES_MAX);
    while (rc == 0 && text.len > 0) {
        const char *end = memchr(text.at, '\n', text.len);
        size_t n = end ? (size_t)(end - text.at) : text.len;

        rc = get_report_line(&read, (struct str){text.at, n}, &why);
        n += end ? 1 : 0;
        text.at += n;
        text.len -= n;
    }
    if (rc < 0) {
        r->pid = read.pid; /* whoever has to clean up needs it */
        return fail(err, rc, "report of the sandbox: %s", why.text);
    }
    *r = read;
    return 0;
}

/* --- the rule ------------------------------------------------------------------------------ */

int spec_check_required(const struct spec *s, const struct vce_layer_state layers[VCE_LAYER_COUNT],
                        struct llmos_error *err)
{
    unsigned missing = 0;
    struct buf list;
    int rc;

    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        missing |= (s->required & VCE_BIT(i)) && !layers[i].holds ? VCE_BIT(i) : 0;
    if (s->require_default) {
        bool is_apart = layers[VCE_USER].holds && layers[VCE_MOUNT].holds && layers[VCE_NET].holds;

        if (!layers[VCE_SECCOMP].holds)
            missing |= VCE_BIT(VCE_SECCOMP);
        if (!is_apart && !layers[VCE_LANDLOCK].holds)
            for (int i = 0; i < VCE_LAYER_COUNT; i++)
                missing |= (i == VCE_USER || i == VCE_MOUNT || i == VCE_NET || i == VCE_LANDLOCK) &&
                                   !layers[i].holds
                               ? VCE_BIT(i)
                               : 0;
    }
    if (!missing)
        return 0;
    buf_init(&list, 4096);
    for (int i = 0; i < VCE_LAYER_COUNT; i++)
        if (missing & VCE_BIT(i))
            buf_printf(&list, "%s%s (%s)", list.len ? ", " : "", layers_known[i].name,
                       layers[i].detail);
    rc = fail(err, LLMOS_EDENIED, "required isolation is missing: %s",
              list.bad ? "no memory to say which" : buf_str(&list).at);
    buf_fini(&list);
    return rc;
}
