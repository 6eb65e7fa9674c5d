/* SPDX-License-Identifier: Apache-2.0 */
/* tools.c - see tools.h */
#include "daemon/tools.h"

#include "base/jsontext.h"
#include "base/mem.h"
#include "daemon/toolparam.h"
#include "sched/gbnfput.h"
#include "sched/schema.h"

#include <stdio.h>

#define BARE_OPENING "{\"name\": \"" /* by which a call without an opening is known */

/* --- reading --- */

static struct str text_of(const json_t *v)
{
    return (struct str){json_string_value(v), json_string_length(v)};
}

static bool is_word(const json_t *v, const char *word)
{
    return json_is_string(v) && str_is(text_of(v), word);
}

static int refuse(struct json_fault *fault, const char *prefix, const char *key, const char *why)
{
    return json_fault(fault, LLMOS_EINVAL, prefix, key, "'%s%s' %s", prefix, key, why);
}

static int only_fields(const json_t *object, const char *prefix, const char *const *names,
                       struct json_fault *fault)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        size_t i = 0;

        while (names[i] && strcmp(names[i], key) != 0)
            i++;
        if (!names[i])
            return refuse(fault, prefix, key, "is not known here");
    }
    return 0;
}

/* Names stand in grammars, in templates and in what models write: none may need an escape. */
static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-' || c == '.'))
            return false;
    }
    return s.len > 0 && s.len <= TOOLCALL_NAME_MAX;
}

static int find(const struct tools *t, struct str name)
{
    for (uint32_t i = 0; i < t->count; i++)
        if (str_eq(t->functions[i].name, name))
            return (int)i;
    return -1;
}

static int check_parameters(const json_t *f, const char *prefix, struct json_fault *fault)
{
    const json_t *schema = json_object_get(f, "parameters");
    const json_t *type = json_object_get(schema, "type");

    if (!schema || json_is_null(schema))
        return 0;
    if (!json_is_object(schema) || (type && !is_word(type, "object")))
        return refuse(fault, prefix, "parameters", "must be a JSON schema of type 'object'");
    return 0;
}

static int take_function(struct tools *t, const json_t *f, const char *prefix, struct arena *arena,
                         struct json_fault *fault)
{
    static const char *const names[] = {"name", "description", "parameters", "strict", NULL};
    const json_t *name = json_object_get(f, "name");
    struct str text, about;
    bool strict;
    int rc = only_fields(f, prefix, names, fault);

    if (rc == 0 && (!json_is_string(name) || !is_name(text_of(name))))
        rc = refuse(fault, prefix, "name",
                    "must be 1 to 64 letters, digits, underscores, dots or dashes");
    if (rc == 0 && find(t, text_of(name)) >= 0)
        rc = refuse(fault, prefix, "name", "comes twice");
    if (rc == 0 && json_take_bool(f, prefix, "strict", &strict, fault) < 0)
        rc = LLMOS_EINVAL;
    if (rc == 0 && !is_word(json_object_get(f, "description"), "") &&
        json_take_string(f, prefix, "description", SIZE_MAX, &about, fault) < 0)
        rc = LLMOS_EINVAL;
    if (rc == 0)
        rc = check_parameters(f, prefix, fault);
    if (rc < 0)
        return rc;
    text.len = json_string_length(name);
    text.at = arena_strndup(arena, json_string_value(name), text.len);
    if (!text.at)
        return json_fault(fault, LLMOS_ENOMEM, "", "tools", "no memory for the tools");
    t->functions[t->count].name = text;
    if (t->format->shape == CALLFORM_TAGGED &&
        toolparam_take(&t->functions[t->count], json_object_get(f, "parameters"), arena) < 0)
        return json_fault(fault, LLMOS_ENOMEM, "", "tools", "no memory for the tools");
    t->count++;
    return 0;
}

static int take_list(struct tools *t, const json_t *list, struct arena *arena,
                     struct json_fault *fault)
{
    static const char *const names[] = {"type", "function", NULL};
    const json_t *tool;
    size_t i;

    if (!json_is_array(list) || json_array_size(list) > TOOLS_MAX)
        return json_fault(fault, LLMOS_EINVAL, "", "tools",
                          "'tools' must be an array of at most %d functions", TOOLS_MAX);
    t->functions = arena_array(arena, struct toolcall_function, json_array_size(list));
    if (!t->functions)
        return json_fault(fault, LLMOS_ENOMEM, "", "tools", "no memory for the tools");
    json_array_foreach(list, i, tool)
    {
        const json_t *f = json_object_get(tool, "function");
        char prefix[64];
        int rc;

        snprintf(prefix, sizeof(prefix), "tools[%zu].", i);
        if (!json_is_object(tool) || !is_word(json_object_get(tool, "type"), "function"))
            return json_fault(fault, LLMOS_EUNSUPPORTED, prefix, "type",
                              "'%stype' must be 'function'", prefix);
        if (!json_is_object(f))
            return refuse(fault, prefix, "function", "must be an object");
        rc = only_fields(tool, prefix, names, fault);
        snprintf(prefix, sizeof(prefix), "tools[%zu].function.", i);
        if (rc == 0)
            rc = take_function(t, f, prefix, arena, fault);
        if (rc < 0)
            return rc;
    }
    t->list = list;
    return 0;
}

static int take_named(struct tools *t, const json_t *v, struct json_fault *fault)
{
    const json_t *name = json_object_get(json_object_get(v, "function"), "name");
    int at;

    if (!is_word(json_object_get(v, "type"), "function") || !json_is_string(name))
        return json_fault(fault, LLMOS_EUNSUPPORTED, "", "tool_choice",
                          "'tool_choice' must be none, auto, required, or a function with its "
                          "name");
    at = find(t, text_of(name));
    if (at < 0)
        return json_fault(fault, LLMOS_EINVAL, "", "tool_choice",
                          "'tool_choice' names a function that is not among the tools");
    t->choice = TOOLS_REQUIRED;
    t->named = (uint32_t)at;
    return 0;
}

static int take_choice(struct tools *t, const json_t *v, struct json_fault *fault)
{
    static const char *const words[] = {"none", "auto", "required"};

    t->choice = t->count ? TOOLS_AUTO : TOOLS_NONE;
    t->named = t->count;
    if (!v || json_is_null(v))
        return 0;
    for (int i = 0; i < 3; i++) {
        if (!is_word(v, words[i]))
            continue;
        if (i == TOOLS_REQUIRED && t->count == 0)
            return json_fault(fault, LLMOS_EINVAL, "", "tool_choice",
                              "'tool_choice' is 'required', but there are no 'tools'");
        if (t->count)
            t->choice = (enum tools_choice)i;
        return 0;
    }
    return take_named(t, v, fault);
}

static uint32_t count_calls(const json_t *messages)
{
    uint32_t count = 0;
    const json_t *m;
    size_t i;

    json_array_foreach(messages, i, m)
    {
        count += (uint32_t)json_array_size(json_object_get(m, "tool_calls"));
    }
    return count;
}

int tools_take(struct tools *tools, const json_t *request, const struct callform *native,
               struct arena *arena, struct json_fault *fault)
{
    const json_t *list = json_object_get(request, "tools");
    bool is_parallel = true;
    int rc = 0;

    *tools = (struct tools){.format = native ? native : callform_generic(),
                            .is_native = native != NULL,
                            .telling = native ? native->telling : CALLFORM_BY_WORDS};
    if (list && !json_is_null(list))
        rc = take_list(tools, list, arena, fault);
    if (rc == 0)
        rc = take_choice(tools, json_object_get(request, "tool_choice"), fault);
    if (rc == 0)
        rc = json_take_bool(request, "", "parallel_tool_calls", &is_parallel, fault);
    tools->calls_before = count_calls(json_object_get(request, "messages"));
    tools->calls_max = is_parallel && !tools->format->is_single ? TOOLCALL_CALLS_MAX : 1;
    return rc < 0 ? rc : 0;
}

/* --- the grammar of an answer --- */

/* No parameters: an empty object.  Any: any object.  A schema without type is one of an object. */
static int put_schema(struct buf *out, const json_t *schema, struct llmos_error *err)
{
    json_t *typed;
    int rc;

    if (schema && !json_is_null(schema) && json_object_size(schema) == 0)
        return schema_put_object(out, err);
    typed = schema && !json_is_null(schema) ? json_copy((json_t *)(uintptr_t)schema)
                                            : json_pack("{s:{}}", "properties");
    if (!typed || json_object_set_new(typed, "type", json_string("object")) < 0)
        rc = fail(err, LLMOS_ENOMEM, "no memory for the schema");
    else
        rc = schema_put(out, typed, err);
    json_decref(typed);
    return rc;
}

/* The rule NAME-root: arguments that keep to the parameters, or any. */
static int put_arguments(const struct tools *t, const char *name, const json_t *parameters,
                         bool is_kept, struct buf *out, struct llmos_error *err)
{
    CLEANUP(buf) struct buf own = {.limit_bytes = SCHEMA_GRAMMAR_MAX};
    char prefix[40];
    int rc = 0;

    if (t->format->shape == CALLFORM_TAGGED) {
        bool is_any = !is_kept || (json_is_object(parameters) && !json_object_size(parameters));

        if (is_any)
            toolparam_put_any(&own, name, t->format->tags);
        else
            rc = toolparam_put(&own, name, t->format->tags, parameters, err);
        buf_put(out, buf_str(&own).at, own.len);
    } else {
        rc = is_kept ? put_schema(&own, parameters, err) : schema_put_object(&own, err);
        snprintf(prefix, sizeof(prefix), "%s-", name);
        gbnfput_renamed(out, buf_str(&own), prefix);
    }
    out->bad |= own.bad;
    return rc;
}

/* A part of the grammar: as the form says it, else a text. */
static void put_part(struct buf *out, const char *said, const char *text)
{
    buf_putc(out, ' ');
    if (said)
        buf_puts(out, said);
    else
        json_put_string(out, str_of(text));
    buf_putc(out, ' ');
}

/* The rule call-N, and those of its arguments. */
static int put_call(struct tools *t, uint32_t i, struct buf *out, struct json_fault *fault)
{
    const json_t *f = json_object_get(json_array_get(t->list, i), "function");
    const json_t *parameters = json_object_get(f, "parameters");
    bool must_keep = t->choice == TOOLS_REQUIRED || json_is_true(json_object_get(f, "strict"));
    const struct callform *form = t->format;
    struct llmos_error err = {0};
    char prefix[64], name[16];
    size_t from = out->len;
    int rc;

    snprintf(name, sizeof(name), "t%u", i);
    snprintf(prefix, sizeof(prefix), "tools[%u].function.", i);
    rc = put_arguments(t, name, parameters, true, out, &err);
    if (rc < 0 && rc != LLMOS_ENOMEM && !must_keep) {
        if (!t->unkept[0])
            snprintf(t->unkept, sizeof(t->unkept), "tools[%u].function.parameters", i);
        out->len = from;
        rc = put_arguments(t, name, parameters, false, out, &err);
    }
    if (rc < 0)
        return json_fault(fault, rc, prefix, "parameters", "'%sparameters': %s", prefix, err.text);
    buf_printf(out, "\ncall-%u ::=", i);
    put_part(out, form->before, form->each ? form->each : form->opening);
    buf_printf(out, "\"%.*s\"", STR_ARG(t->functions[i].name));
    put_part(out, form->after, form->separator);
    buf_puts(out, name);
    buf_puts(out, "-root");
    put_part(out, form->end, form->closing);
    buf_putc(out, '\n');
    return 0;
}

/* The rule block: one call or several. */
static void put_calls(const struct tools *t, struct buf *out)
{
    const struct callform *f = t->format;

    buf_puts(out, "call ::= ");
    for (uint32_t i = 0, n = 0; i < t->count; i++)
        if (t->named == t->count || t->named == i)
            buf_printf(out, "%scall-%u", n++ ? " | " : "", i);
    buf_puts(out, "\nblock ::=");
    put_part(out, f->first, f->each ? f->opening : "");
    buf_puts(out, "call");
    if (t->calls_max > 1) {
        buf_puts(out, " (");
        json_put_string(out, str_of(f->between));
        buf_printf(out, " call){0,%u}", t->calls_max - 1);
    }
    put_part(out, f->last, f->each ? f->ending : "");
    buf_putc(out, '\n');
}

static void put_char(struct buf *out, char c)
{
    json_put_string(out, (struct str){&c, 1}); /* the escapes are the same */
}

/* Texts that do not begin so; restN: behind N characters of it. */
static void put_text_beginning_otherwise(struct buf *out, const char *beginning)
{
    size_t n = strlen(beginning);

    buf_puts(out, "text ::= rest0\n");
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, "rest%zu ::= ([^%c] .*", i, beginning[i]);
        if (i + 1 < n) {
            buf_puts(out, " | ");
            put_char(out, beginning[i]);
            buf_printf(out, " rest%zu", i + 1);
        }
        buf_puts(out, ")?\n");
    }
}

static void put_root(const struct tools *t, bool is_messages, struct buf *out)
{
    if (t->choice == TOOLS_REQUIRED) {
        buf_puts(out, "root ::= block\n");
    } else if (is_messages) {
        buf_puts(out, "root ::= block | \"<|channel|>final<|message|>\" text\n");
        gbnfput_without(out, "text", "<|end|>");
    } else if (t->format->is_bare) {
        buf_puts(out, "root ::= block | text\n");
        put_text_beginning_otherwise(out, BARE_OPENING);
    } else {
        buf_puts(out, "root ::= text (block [ \\n]{0,8})?\n");
        gbnfput_without(out, "text", t->format->opening);
    }
}

int tools_put_grammar(struct tools *t, bool is_messages, struct buf *out, struct json_fault *fault)
{
    bool is_free = t->choice == TOOLS_AUTO && !t->is_native;

    if (t->choice == TOOLS_NONE || is_free)
        return 0;
    /* What llama3 says otherwise may hold a call all the same, which nothing vouches for. */
    t->is_strict = t->choice == TOOLS_REQUIRED || !t->format->is_bare;
    put_root(t, is_messages, out);
    put_calls(t, out);
    for (uint32_t i = 0; i < t->count; i++) {
        int rc = t->named == t->count || t->named == i ? put_call(t, i, out, fault) : 0;

        if (rc < 0)
            return rc;
    }
    if (buf_check(out, "the grammar of the calls", &fault->err) < 0)
        return json_fault(fault, fault->err.code, "", "tools", "'tools': %s",
                          "the parameters make a grammar of more than 1 MiB");
    return 0;
}

/* --- what a model must know --- */

void tools_list(const struct tools *t, struct buf *out)
{
    const json_t *tool;
    size_t i;

    json_array_foreach(t->list, i, tool)
    {
        buf_puts(out, i ? ", " : "[");
        json_put(out, json_object_get(tool, "function"));
    }
    buf_putc(out, ']');
}

void tools_describe(const struct tools *t, struct buf *out)
{
    const json_t *tool;
    size_t i;

    buf_puts(out, "You can call functions. Each line describes one, with a JSON schema of its "
                  "parameters:\n");
    json_array_foreach(t->list, i, tool)
    {
        json_put(out, json_object_get(tool, "function"));
        buf_putc(out, '\n');
    }
    buf_printf(out,
               "To call a function, answer with its name and arguments as JSON, like this:\n%s\n",
               t->format->example);
    if (!t->is_native)
        buf_puts(out, "What it returns comes in <tool_response></tool_response>. ");
    buf_puts(out, "Call functions only when they help; else answer in words.");
}
